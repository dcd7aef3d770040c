/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Which bucket, key, entry or structure a line of dmesg speaks of. */
#include <bcfmt/problem.h>

#include <ctype.h>
#include <string.h>

/* Longer lines are not looked at to their end; no kernel prints as much. */
#define LINE_BYTES 2048u

const char *bcfmt_place_kind_name(enum bcfmt_place_kind kind)
{
	switch (kind) {
	case BCFMT_PLACE_SUPER:
		return "superblock";
	case BCFMT_PLACE_JOURNAL:
		return "journal";
	case BCFMT_PLACE_PRIOS:
		return "prios";
	case BCFMT_PLACE_UUIDS:
		return "uuids";
	case BCFMT_PLACE_ROOT:
		return "root";
	case BCFMT_PLACE_NODE:
		return "node";
	case BCFMT_PLACE_CHILD:
		return "pointer";
	case BCFMT_PLACE_EXTENT:
		return "extent";
	case BCFMT_PLACE_SECTOR:
		return "sector";
	case BCFMT_PLACE_NONE:
		break;
	}
	return "none";
}

/*
 * Words and values of the parts of lines that name a place, the longer ones first. In them stand
 * for a number: %b bucket, %k block, %j index in the journal ring, %f %l first and last entry,
 * %s sector, %n any other; %K for the text of a key, %d for the name of a device. A blank matches
 * any run of them.
 */
static const struct {
	const char *words;
	enum bcfmt_place_kind kind;
} forms[] = {
	{ "at bucket %b, block %k", BCFMT_PLACE_NODE },
	{ "io error reading bucket %b", BCFMT_PLACE_NODE },
	{ "at bucket %b", BCFMT_PLACE_NODE },
	{ "inconsistent btree pointer %K: bucket %b", BCFMT_PLACE_CHILD },
	{ "inconsistent btree pointer %K", BCFMT_PLACE_CHILD },
	{ "spotted btree ptr %K", BCFMT_PLACE_CHILD },
	{ "inconsistent extent pointer %K: bucket %b", BCFMT_PLACE_EXTENT },
	{ "inconsistent extent pointer %K", BCFMT_PLACE_EXTENT },
	{ "spotted extent %K", BCFMT_PLACE_EXTENT },
	{ "stale dirty pointer, stale %n, key: %K", BCFMT_PLACE_EXTENT },
	{ "block %n key %n/%n: %K bucket %b", BCFMT_PLACE_EXTENT },
	{ "block %n key %n/%n: %K", BCFMT_PLACE_EXTENT },
	{ "%j: bad csum, %n bytes, offset %s", BCFMT_PLACE_JOURNAL },
	{ "%j: bad csum, %n bytes", BCFMT_PLACE_JOURNAL },
	{ "%j: too big, %n bytes, offset %s", BCFMT_PLACE_JOURNAL },
	{ "%j: too big, %n bytes", BCFMT_PLACE_JOURNAL },
	{ "journal entries %f-%l m", BCFMT_PLACE_JOURNAL },
	{ "dev %d, sector %s", BCFMT_PLACE_SECTOR },
	{ "no journal entries found", BCFMT_PLACE_JOURNAL },
	{ "replay journal failed", BCFMT_PLACE_JOURNAL },
	{ "reading priorities", BCFMT_PLACE_PRIOS },
	{ "accessing priorities", BCFMT_PLACE_PRIOS },
	{ "accessing uuids", BCFMT_PLACE_UUIDS },
	{ "bad uuid pointer", BCFMT_PLACE_UUIDS },
	{ "no room for UUID", BCFMT_PLACE_UUIDS },
	{ "Couldn't find uuid for", BCFMT_PLACE_UUIDS },
	{ "btree root", BCFMT_PLACE_ROOT },
	{ "Tried to allocate bucket that was in btree cache", BCFMT_PLACE_ROOT },
};

static bool is_word(char c)
{
	return isalnum((unsigned char)c) || c == '_';
}

static bool take_number(const char **at, uint64_t *out)
{
	const char *text = *at;
	uint64_t value = 0;

	for (; isdigit((unsigned char)*text); text++) {
		unsigned int digit = (unsigned int)(*text - '0');

		if (value > (UINT64_MAX - digit) / 10)
			return false;
		value = value * 10 + digit;
	}
	if (text == *at || is_word(*text))
		return false;
	*at = text;
	*out = value;
	return true;
}

static bool take_device(const char **at, char out[BCFMT_PLACE_DEVICE_BYTES])
{
	size_t n = strcspn(*at, ", \t");

	if (!n || n >= BCFMT_PLACE_DEVICE_BYTES)
		return false;
	memcpy(out, *at, n);
	out[n] = '\0';
	*at += n;
	return true;
}

static bool take_value(const char **at, char what, struct bcfmt_kernel_place *out)
{
	uint64_t ignored;
	const char *end;

	switch (what) {
	case 'b':
		return take_number(at, &out->bucket);
	case 'k':
		return take_number(at, &out->block);
	case 'j':
		return take_number(at, &out->ring_index);
	case 'f':
		return take_number(at, &out->first_seq);
	case 'l':
		return take_number(at, &out->last_seq);
	case 's':
		return take_number(at, &out->sector);
	case 'd':
		return take_device(at, out->device);
	case 'K':
		end = bcfmt_key_parse(*at, &out->key);
		out->has_key = end != NULL;
		*at = end ? end : *at;
		return out->has_key;
	default:
		return take_number(at, &ignored);
	}
}

static const struct bcfmt_kernel_place nowhere = {
	.kind = BCFMT_PLACE_NONE,
	.bucket = BCFMT_NO_NUMBER,
	.block = BCFMT_NO_NUMBER,
	.ring_index = BCFMT_NO_NUMBER,
	.first_seq = BCFMT_NO_NUMBER,
	.last_seq = BCFMT_NO_NUMBER,
	.sector = BCFMT_NO_NUMBER,
};

static bool match_at(const char *at, const char *words, struct bcfmt_kernel_place *out)
{
	*out = nowhere;
	for (; *words; words++) {
		if (*words == '%') {
			if (!take_value(&at, *++words, out))
				return false;
		} else if (*words == ' ') {
			if (!isspace((unsigned char)*at))
				return false;
			while (isspace((unsigned char)*at))
				at++;
		} else if (*at++ != *words) {
			return false;
		}
	}
	return true;
}

static bool match(const char *line, const char *words, struct bcfmt_kernel_place *out)
{
	for (const char *at = line; *at; at++)
		if ((at == line || !is_word(at[-1])) && match_at(at, words, out))
			return true;
	return false;
}

/* Structures have their own hundred of problem numbers. */
static enum bcfmt_place_kind kind_of(enum bcfmt_problem_id id)
{
	switch ((int)id / 100) {
	case 1:
		return BCFMT_PLACE_SUPER;
	case 2:
		return BCFMT_PLACE_JOURNAL;
	case 3:
		return BCFMT_PLACE_PRIOS;
	case 4:
		return BCFMT_PLACE_UUIDS;
	default:
		return BCFMT_PLACE_NONE;
	}
}

void bcfmt_kernel_line_place(const char *dmesg_line, struct bcfmt_kernel_place *out)
{
	const struct bcfmt_kernel_line *row;
	char line[LINE_BYTES];
	size_t n = dmesg_line ? strnlen(dmesg_line, sizeof(line) - 1) : 0;

	if (n)
		memcpy(line, dmesg_line, n);
	line[n] = '\0';
	for (size_t i = 0; i < sizeof(forms) / sizeof(forms[0]); i++) {
		if (match(line, forms[i].words, out)) {
			out->kind = forms[i].kind;
			return;
		}
	}
	*out = nowhere;
	row = bcfmt_kernel_line_find(dmesg_line);
	if (row)
		out->kind = kind_of(row->id);
}
