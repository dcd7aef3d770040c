/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Holds keys of any bytes against what their decoder, rules and texts promise. */
#include <stdio.h>

#include "base/bytes.h"
#include "fuzz/codec.h"

/* The rules once more, from the positions of the bits. */
static void check_rules(const struct bcfmt_geometry *geo, const struct bcfmt_key *key)
{
	enum bcfmt_key_fault extent = bcfmt_key_fault_extent(geo, key);
	uint64_t sectors = key->high >> 20 & 0xffff, sector = key->ptr >> 8 & ((1ull << 43) - 1);
	bool has_data = (key->high >> 60 & 7) && (key->ptr >> 51 & 0xfff) < 8;
	bool is_placed = sector % geo->bucket_sectors + sectors <= geo->bucket_sectors &&
			 sector / geo->bucket_sectors >= geo->first_bucket &&
			 sector / geo->bucket_sectors < geo->nbuckets;

	assert((extent == BCFMT_KEY_ZERO_SIZE) == !sectors);
	assert((extent == BCFMT_KEY_OK) ==
	       (sectors && (!has_data || is_placed) && sectors <= key->low));
	assert((bcfmt_key_fault_btree(geo, key) == BCFMT_KEY_OK) ==
	       (sectors && (key->high >> 60 & 7) && !(key->high >> 36 & 1) &&
		(!has_data || is_placed)));
}

static void check_text(const struct bcfmt_key *key, const uint8_t *raw, size_t raw_words)
{
	char whole[BCFMT_KEY_TEXT_BYTES], cut[BCFMT_KEY_TEXT_BYTES], begin[80];
	size_t len = bcfmt_key_text_raw(whole, raw, raw_words, false);

	assert(strlen(whole) == len && len < BCFMT_KEY_TEXT_BYTES);
	assert(bcfmt_key_text_raw(cut, raw, raw_words, true) == (len < 79 ? len : 79));
	assert(!strncmp(whole, cut, strlen(cut)));
	snprintf(begin, sizeof(begin), "%u:%llu len %u -> [", (unsigned int)(key->high & 0xfffff),
		 (unsigned long long)(key->low - (key->high >> 20 & 0xffff)),
		 (unsigned int)(key->high >> 20 & 0xffff));
	assert(!strncmp(whole, begin, strlen(begin)));
	assert(bcfmt_key_text(cut, key) == strlen(cut));
}

/* A key of at most one pointer is the same bytes when it is written again. */
static void check_again(const struct bcfmt_key *key, const uint8_t *raw)
{
	uint8_t again[24];
	unsigned int words;

	if (bcfmt_key_ptr_count(key) > 1)
		return;
	words = bcfmt_key_encode(key, again);
	assert(words == bcfmt_key_words(key));
	assert(!memcmp(again, raw, (size_t)words * 8));
}

void check_keys(const struct bcfmt_geometry *geo, const uint8_t *keys, uint32_t words)
{
	struct bcfmt_key_iter it = bcfmt_key_iter_init(keys, words);
	struct bcfmt_key key, same;
	uint32_t seen = 0;

	while (bcfmt_key_iter_next(&it, &key)) {
		assert(it.word == seen && it.raw == keys + 8 * (size_t)seen);
		assert(bcfmt_key_decode(it.raw, words - it.word, &same));
		assert(same.high == key.high && same.low == key.low && same.ptr == key.ptr);
		assert(key.high == load_le64(it.raw) && key.low == load_le64(it.raw + 8));
		seen += bcfmt_key_words(&key);
		assert(seen <= words);
		check_rules(geo, &key);
		bcfmt_key_status_text(geo, &key, false);
		bcfmt_key_status_text(geo, &key, true);
		check_text(&key, it.raw, words - it.word);
		check_again(&key, it.raw);
	}
	assert(it.is_overrun == (seen != words));
}
