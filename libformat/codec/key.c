/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Keys and pointers: decoding, rules, text. */
#include <bcfmt/key.h>

#include "base/bytes.h"
#include "base/checked.h"
#include "codec/key_iter.h"

#define KEY_HIGH_USED (1ull << 63)
#define KEY_DIRTY_BIT 36
#define KEY_SECTORS_BIT 20
#define KERNEL_TEXT_CHARS 79u /* kernel: char buf[80] of every caller */

bool bcfmt_key_decode(const uint8_t *raw, size_t raw_words, struct bcfmt_key *out)
{
	unsigned int words;

	if (raw_words < 2)
		return false;
	out->high = load_le64(raw);
	words = key_words_of(out->high);
	if (raw_words < words)
		return false;
	out->low = load_le64(raw + 8);
	out->ptr = words > 2 ? load_le64(raw + 16) : 0;
	return true;
}

unsigned int bcfmt_key_encode(const struct bcfmt_key *key, uint8_t *raw)
{
	store_le64(raw, key->high);
	store_le64(raw + 8, key->low);
	if (!bcfmt_key_ptr_count(key))
		return 2;
	store_le64(raw + 16, key->ptr);
	return 3;
}

struct bcfmt_key bcfmt_key_make(uint32_t inode, uint64_t end_sector, uint32_t sectors,
				bool is_dirty, bool has_ptr, uint64_t ptr)
{
	struct bcfmt_key key = { .low = end_sector, .ptr = has_ptr ? ptr : 0 };

	key.high = KEY_HIGH_USED | (uint64_t)has_ptr << KEY_PTRS_BIT |
		   (uint64_t)is_dirty << KEY_DIRTY_BIT |
		   (uint64_t)(sectors & BCFMT_KEY_MAX_SECTORS) << KEY_SECTORS_BIT |
		   (inode & BCFMT_KEY_MAX_INODE);
	return key;
}

bool bcfmt_key_iter_next(struct bcfmt_key_iter *it, struct bcfmt_key *out)
{
	return key_iter_step(it, out);
}

/* kernel: the pointer rules of __ptr_invalid(), in the order of bch_ptr_status(). */
static enum bcfmt_key_fault ptr_fault(const struct bcfmt_geometry *geo, const struct bcfmt_key *key)
{
	uint64_t sector = bcfmt_ptr_sector(key->ptr);
	uint64_t bucket = sector >> geo->bucket_shift;

	if (!bcfmt_key_has_data(key))
		return BCFMT_KEY_OK;
	if (bcfmt_key_sectors(key) + (sector & (geo->bucket_sectors - 1)) > geo->bucket_sectors)
		return BCFMT_KEY_LENGTH;
	if (bucket < geo->first_bucket)
		return BCFMT_KEY_SHORT_OFFSET;
	if (bucket >= geo->nbuckets)
		return BCFMT_KEY_PAST_END;
	return BCFMT_KEY_OK;
}

enum bcfmt_key_fault bcfmt_key_fault_btree(const struct bcfmt_geometry *geo,
					   const struct bcfmt_key *key)
{
	enum bcfmt_key_fault fault = ptr_fault(geo, key);

	if (fault)
		return fault;
	if (!bcfmt_key_ptr_count(key))
		return BCFMT_KEY_NO_PTR;
	if (!bcfmt_key_sectors(key))
		return BCFMT_KEY_ZERO_SIZE;
	if (bcfmt_key_is_dirty(key))
		return BCFMT_KEY_DIRTY_NODE;
	return BCFMT_KEY_OK;
}

enum bcfmt_key_fault bcfmt_key_fault_extent(const struct bcfmt_geometry *geo,
					    const struct bcfmt_key *key)
{
	enum bcfmt_key_fault fault;

	if (!bcfmt_key_sectors(key))
		return BCFMT_KEY_ZERO_SIZE;
	fault = ptr_fault(geo, key);
	if (fault)
		return fault;
	return bcfmt_key_sectors(key) > key->low ? BCFMT_KEY_BEFORE_START : BCFMT_KEY_OK;
}

const char *bcfmt_key_fault_text(enum bcfmt_key_fault fault)
{
	switch (fault) {
	case BCFMT_KEY_LENGTH:
		return "bad, length too big";
	case BCFMT_KEY_SHORT_OFFSET:
		return "bad, short offset";
	case BCFMT_KEY_PAST_END:
		return "bad, offset past end of device";
	case BCFMT_KEY_NO_PTR:
		return "bad, no pointers";
	case BCFMT_KEY_ZERO_SIZE:
		return "zeroed key";
	case BCFMT_KEY_OK:
	case BCFMT_KEY_DIRTY_NODE:
	case BCFMT_KEY_BEFORE_START:
		break;
	}
	return "";
}

const char *bcfmt_key_status_text(const struct bcfmt_geometry *geo, const struct bcfmt_key *key,
				  bool is_stale)
{
	enum bcfmt_key_fault fault = ptr_fault(geo, key);

	if (fault)
		return bcfmt_key_fault_text(fault);
	if (is_stale && bcfmt_key_has_data(key))
		return "stale";
	if (bcfmt_key_is_zero_pos(key))
		return "bad, null key";
	if (!bcfmt_key_ptr_count(key))
		return bcfmt_key_fault_text(BCFMT_KEY_NO_PTR);
	return bcfmt_key_sectors(key) ? "" : bcfmt_key_fault_text(BCFMT_KEY_ZERO_SIZE);
}

/* ---- text ---- */

/* The longest text is 265 characters: each part has a fixed longest form, so nothing is checked. */
struct text {
	char *at;
};

static void put_str(struct text *text, const char *str)
{
	while (*str)
		*text->at++ = *str++;
}

static void put_u64(struct text *text, uint64_t value, unsigned int base)
{
	char digits[20];
	unsigned int n = 0;

	do {
		digits[n++] = "0123456789abcdef"[value % base];
		value /= base;
	} while (value);
	while (n)
		*text->at++ = digits[--n];
}

static void put_ptr(struct text *text, uint64_t ptr)
{
	if (bcfmt_ptr_dev(ptr) == BCFMT_PTR_DEV_CHECK) {
		put_str(text, "check dev");
		return;
	}
	put_u64(text, bcfmt_ptr_dev(ptr), 10);
	put_str(text, ":");
	put_u64(text, bcfmt_ptr_sector(ptr), 10);
	put_str(text, " gen ");
	put_u64(text, bcfmt_ptr_gen(ptr), 10);
}

size_t bcfmt_key_text_raw(char out[BCFMT_KEY_TEXT_BYTES], const uint8_t *raw, size_t raw_words,
			  bool as_kernel)
{
	struct bcfmt_key key = { .high = load_le64(raw), .low = load_le64(raw + 8) };
	size_t ptrs = (size_t)min_u64(bcfmt_key_ptr_count(&key), raw_words - 2);
	struct text text = { out };
	size_t len;

	put_u64(&text, bcfmt_key_inode(&key), 10);
	put_str(&text, ":");
	put_u64(&text, bcfmt_key_start_sector(&key), 10);
	put_str(&text, " len ");
	put_u64(&text, bcfmt_key_sectors(&key), 10);
	put_str(&text, " -> [");
	for (size_t i = 0; i < ptrs; i++) {
		if (i)
			put_str(&text, ", ");
		put_ptr(&text, load_le64(raw + 16 + 8 * i));
	}
	put_str(&text, "]");
	if (bcfmt_key_is_dirty(&key))
		put_str(&text, " dirty");
	if (bcfmt_key_csum_type(&key)) {
		put_str(&text, " cs");
		put_u64(&text, bcfmt_key_csum_type(&key), 10);
		/* The kernel prints whatever lies at ptr[1]; here only what was given is known. */
		if (raw_words > 3) {
			put_str(&text, " ");
			put_u64(&text, load_le64(raw + 24), 16);
		}
	}
	len = (size_t)(text.at - out);
	if (as_kernel && len > KERNEL_TEXT_CHARS)
		len = KERNEL_TEXT_CHARS;
	out[len] = 0;
	return len;
}

size_t bcfmt_key_text(char out[BCFMT_KEY_TEXT_BYTES], const struct bcfmt_key *key)
{
	uint8_t raw[24];

	return bcfmt_key_text_raw(out, raw, bcfmt_key_encode(key, raw), false);
}
