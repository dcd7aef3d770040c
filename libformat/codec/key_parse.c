/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Reads the text of a key, as a kernel prints it. */
#include <bcfmt/key.h>

#include <string.h>

/* Digits at *at, past which it is moved; false without any, or when they overflow. */
static bool take_u64(const char **at, uint64_t *out)
{
	const char *text = *at;
	uint64_t value = 0;

	if (*text < '0' || *text > '9')
		return false;
	for (; *text >= '0' && *text <= '9'; text++) {
		unsigned int digit = (unsigned int)(*text - '0');

		if (value > (UINT64_MAX - digit) / 10)
			return false;
		value = value * 10 + digit;
	}
	*at = text;
	*out = value;
	return true;
}

static bool take_words(const char **at, const char *words)
{
	size_t n = strlen(words);

	if (strncmp(*at, words, n))
		return false;
	*at += n;
	return true;
}

/* "0:55296 gen 1" or "check dev". */
static bool take_ptr(const char **at, uint64_t *ptr)
{
	uint64_t dev, sector, gen;

	if (take_words(at, "check dev")) {
		*ptr = bcfmt_ptr_make(BCFMT_PTR_DEV_CHECK, 0, 0);
		return true;
	}
	if (!take_u64(at, &dev) || !take_words(at, ":") || !take_u64(at, &sector) ||
	    !take_words(at, " gen ") || !take_u64(at, &gen))
		return false;
	*ptr = bcfmt_ptr_make((unsigned int)(dev & 0xfff), sector, (unsigned int)(gen & 0xff));
	return dev <= 0xfff && gen <= 0xff && bcfmt_ptr_sector(*ptr) == sector;
}

const char *bcfmt_key_parse(const char *text, struct bcfmt_key *out)
{
	uint64_t inode, start, sectors, ptr = 0, other;
	const char *at = text, *range_end;
	bool has_ptr = false;

	if (!take_u64(&at, &inode) || !take_words(&at, ":") || !take_u64(&at, &start) ||
	    !take_words(&at, " len ") || !take_u64(&at, &sectors) || inode > BCFMT_KEY_MAX_INODE ||
	    sectors > BCFMT_KEY_MAX_SECTORS)
		return NULL;
	range_end = at;
	/* Kernels cut a long text: what is whole counts. */
	if (take_words(&at, " -> [") && take_ptr(&at, &ptr)) {
		has_ptr = true;
		while (take_words(&at, ", ") && take_ptr(&at, &other))
			;
	}
	if (take_words(&at, "]"))
		range_end = at;
	*out = bcfmt_key_make((uint32_t)inode, start + sectors, (uint32_t)sectors,
			      take_words(&range_end, " dirty"), has_ptr, ptr);
	return range_end;
}
