/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Keys and pointers: words, rules, text, iteration. */
#include <criterion/criterion.h>

#include <stdlib.h>
#include <string.h>

#include <bcfmt/key.h>

#include "base/bytes.h"
#include "codec_kit.h"

static void expect_text(const struct bcfmt_key *key, const char *text)
{
	char out[BCFMT_KEY_TEXT_BYTES];

	cr_assert_eq(bcfmt_key_text(out, key), strlen(text));
	cr_assert_str_eq(out, text);
}

Test(key, words_of_typical_keys)
{
	struct bcfmt_key key = bcfmt_key_make(3, 136, 120, true, true, 0x5c40001);

	cr_assert_eq(key.high, 0x9000001000000000 | 120 << 20 | 3);
	key = bcfmt_key_make(3, 136, 120, false, true, 1);
	cr_assert_eq(key.high, 0x9000000000000000 | 120 << 20 | 3);
	key = bcfmt_key_make(3, 136, 120, false, false, 1);
	cr_assert_eq(key.high, 0x8000000000000000 | 120 << 20 | 3);
	cr_assert_eq(key.ptr, 0);
}

Test(key, fields_do_not_run_into_each_other)
{
	struct bcfmt_key key = { .high = 0xffff000000000000, .low = 7, .ptr = 0 };

	cr_assert_eq(bcfmt_key_inode(&key), 0);
	cr_assert_eq(bcfmt_key_sectors(&key), 0);
	cr_assert(!bcfmt_key_is_dirty(&key));
	cr_assert_eq(bcfmt_key_csum_type(&key), 3);
	cr_assert_eq(bcfmt_key_ptr_count(&key), 7);
	cr_assert_eq(bcfmt_key_words(&key), 9);
	key = bcfmt_key_make(UINT32_MAX, 0, 65535, false, false, 0);
	cr_assert_eq(bcfmt_key_inode(&key), BCFMT_KEY_MAX_INODE);
	cr_assert_eq(bcfmt_key_sectors(&key), 65535);
	cr_assert(!bcfmt_key_is_dirty(&key));
	cr_assert_eq(bcfmt_key_ptr_count(&key), 0);
}

Test(key, pointer_words)
{
	uint64_t ptr = bcfmt_ptr_make(7, 0x7ffffffffff, 255);

	cr_assert_eq(ptr, 7ull << 51 | 0x7ffffffffffull << 8 | 255);
	cr_assert_eq(bcfmt_ptr_dev(ptr), 7);
	cr_assert_eq(bcfmt_ptr_sector(ptr), 0x7ffffffffff);
	cr_assert_eq(bcfmt_ptr_gen(ptr), 255);
	cr_assert(bcfmt_ptr_is_available(ptr));
	cr_assert(!bcfmt_ptr_is_available(bcfmt_ptr_make(8, 0, 0)));
	cr_assert_eq(bcfmt_ptr_dev(UINT64_MAX), BCFMT_PTR_DEV_CHECK);
}

Test(key, generations_wrap)
{
	cr_assert_eq(bcfmt_gen_after(5, 5), 0);
	cr_assert_eq(bcfmt_gen_after(6, 5), 1);
	cr_assert_eq(bcfmt_gen_after(5, 6), 0);
	cr_assert_eq(bcfmt_gen_after(2, 250), 8);
	cr_assert_eq(bcfmt_gen_after(128, 0), 128);
	cr_assert_eq(bcfmt_gen_after(129, 0), 0);
}

Test(key, order_is_signed)
{
	struct bcfmt_key tombstone = bcfmt_key_make(0, 0, 1024, false, true, 1);
	struct bcfmt_pos zero = { 0, 0 };

	cr_assert(bcfmt_key_is_zero_pos(&tombstone));
	cr_assert_lt(bcfmt_pos_cmp(bcfmt_key_start(&tombstone), zero), 0);
	cr_assert_eq(bcfmt_pos_cmp(bcfmt_key_end(&tombstone), zero), 0);
	cr_assert_gt(bcfmt_pos_cmp(bcfmt_pos_max(), zero), 0);
	cr_assert_lt(bcfmt_pos_cmp((struct bcfmt_pos){ 1, 9 }, (struct bcfmt_pos){ 2, 0 }), 0);
}

/* ---- decode and encode ---- */

Test(key, decode_and_encode)
{
	struct bcfmt_key key = bcfmt_key_make(1, 500, 8, true, true, 0xa00001), back;
	uint8_t raw[24];

	cr_assert_eq(bcfmt_key_encode(&key, raw), 3);
	cr_assert(bcfmt_key_decode(raw, 3, &back));
	cr_assert_eq(memcmp(&key, &back, sizeof(key)), 0);
	cr_assert(!bcfmt_key_decode(raw, 2, &back));
	cr_assert(!bcfmt_key_decode(raw, 1, &back));
	cr_assert(!bcfmt_key_decode(raw, 0, &back));
	key = bcfmt_key_make(1, 500, 8, false, false, 0);
	cr_assert_eq(bcfmt_key_encode(&key, raw), 2);
	cr_assert(bcfmt_key_decode(raw, 2, &back));
	cr_assert_eq(back.ptr, 0);
}

/* ---- iteration ---- */

Test(key_iter, walks_keys_of_several_lengths)
{
	uint8_t raw[8 * 14] = { 0 };
	struct bcfmt_key_iter it = bcfmt_key_iter_init(raw, 14);
	struct bcfmt_key key;

	store_le64(raw, 0xf000000000000000);          /* 7 pointers: 9 words */
	store_le64(raw + 16, 111);
	store_le64(raw + 72, 0x8000000000000000);     /* none: 2 words */
	store_le64(raw + 88, 0x9000000000000000);     /* one: 3 words */
	store_le64(raw + 104, 333);
	cr_assert(bcfmt_key_iter_next(&it, &key));
	cr_assert_eq(it.word, 0);
	cr_assert_eq(it.raw, raw);
	cr_assert_eq(key.ptr, 111);
	cr_assert(bcfmt_key_iter_next(&it, &key));
	cr_assert_eq(it.word, 9);
	cr_assert_eq(key.ptr, 0);
	cr_assert(bcfmt_key_iter_next(&it, &key));
	cr_assert_eq(it.word, 11);
	cr_assert_eq(it.raw, raw + 88);
	cr_assert_eq(key.ptr, 333);
	cr_assert(!bcfmt_key_iter_next(&it, &key));
	cr_assert(!it.is_overrun);
	cr_assert_eq(it.next_word, 14);
}

Test(key_iter, nothing_to_walk)
{
	struct bcfmt_key_iter it = bcfmt_key_iter_init(NULL, 0);
	struct bcfmt_key key;

	cr_assert(!bcfmt_key_iter_next(&it, &key));
	cr_assert(!it.is_overrun);
}

Test(key_iter, a_key_that_does_not_fit_is_an_overrun)
{
	/* On the heap and no longer than it has to be, so that a sanitizer sees a step too far. */
	for (uint32_t words = 1; words < 9; words++) {
		uint8_t *raw = calloc(words, 8);
		struct bcfmt_key_iter it = bcfmt_key_iter_init(raw, words);
		struct bcfmt_key key;

		store_le64(raw, 0xffffffffffffffff);
		cr_assert(!bcfmt_key_iter_next(&it, &key));
		cr_assert(it.is_overrun);
		cr_assert_eq(it.next_word, 0);
		cr_assert(!bcfmt_key_iter_next(&it, &key));
		cr_assert(it.is_overrun);
		free(raw);
	}
}

/* ---- rules ---- */

/* A good extent of 8 sectors at bucket 41, changed by the tests. */
static struct bcfmt_key extent_at(uint32_t sectors, uint64_t sector)
{
	return bcfmt_key_make(0, 100000, sectors, false, true, bcfmt_ptr_make(0, sector, 1));
}

Test(key_fault, good_keys)
{
	struct bcfmt_geometry geo = kit_geometry();
	struct bcfmt_key key = extent_at(8, 41984);

	cr_assert_eq(bcfmt_key_fault_extent(&geo, &key), BCFMT_KEY_OK);
	cr_assert_eq(bcfmt_key_fault_btree(&geo, &key), BCFMT_KEY_OK);
	key = extent_at(1024, 1024); /* first bucket, all of it */
	cr_assert_eq(bcfmt_key_fault_extent(&geo, &key), BCFMT_KEY_OK);
	key = extent_at(1, 1024 * 1024 - 1); /* last sector */
	cr_assert_eq(bcfmt_key_fault_extent(&geo, &key), BCFMT_KEY_OK);
}

Test(key_fault, pointer_rules_in_the_order_of_the_kernel)
{
	struct bcfmt_geometry geo = kit_geometry();
	static const struct {
		uint32_t sectors;
		uint64_t sector;
		enum bcfmt_key_fault fault;
	} rows[] = {
		{ 1025, 41984, BCFMT_KEY_LENGTH },
		{ 1024, 41985, BCFMT_KEY_LENGTH },
		{ 1025, 0, BCFMT_KEY_LENGTH },        /* before the short offset */
		{ 8, 1016, BCFMT_KEY_SHORT_OFFSET },
		{ 8, 1024 * 1024, BCFMT_KEY_PAST_END },
		{ 8, 0x7fffffffff8, BCFMT_KEY_PAST_END },
	};

	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct bcfmt_key key = extent_at(rows[i].sectors, rows[i].sector);

		cr_assert_eq(bcfmt_key_fault_extent(&geo, &key), rows[i].fault, "row %zu", i);
		cr_assert_eq(bcfmt_key_fault_btree(&geo, &key), rows[i].fault, "row %zu", i);
	}
}

Test(key_fault, unavailable_pointers_are_not_judged)
{
	struct bcfmt_geometry geo = kit_geometry();
	struct bcfmt_key key = extent_at(8, 0);

	key.ptr = UINT64_MAX; /* placeholder */
	cr_assert(bcfmt_key_is_placeholder(&key));
	cr_assert_eq(bcfmt_key_fault_extent(&geo, &key), BCFMT_KEY_OK);
	key.ptr = bcfmt_ptr_make(8, 0, 0);
	cr_assert_eq(bcfmt_key_fault_extent(&geo, &key), BCFMT_KEY_OK);
	cr_assert_eq(bcfmt_key_fault_btree(&geo, &key), BCFMT_KEY_OK);
}

Test(key_fault, extents)
{
	struct bcfmt_geometry geo = kit_geometry();
	struct bcfmt_key key = extent_at(0, 0);

	cr_assert_eq(bcfmt_key_fault_extent(&geo, &key), BCFMT_KEY_ZERO_SIZE);
	key = bcfmt_key_make(0, 65535, 65535, false, false, 0); /* holes pass bucket sizes */
	cr_assert_eq(bcfmt_key_fault_extent(&geo, &key), BCFMT_KEY_OK);
	key = bcfmt_key_make(0, 65534, 65535, false, false, 0);
	cr_assert_eq(bcfmt_key_fault_extent(&geo, &key), BCFMT_KEY_BEFORE_START);
	key = bcfmt_key_make(0, 7, 8, true, true, bcfmt_ptr_make(0, 1024, 0));
	cr_assert_eq(bcfmt_key_fault_extent(&geo, &key), BCFMT_KEY_BEFORE_START);
	key.ptr = bcfmt_ptr_make(0, 0, 0);
	cr_assert_eq(bcfmt_key_fault_extent(&geo, &key), BCFMT_KEY_SHORT_OFFSET);
}

Test(key_fault, btree_pointers)
{
	struct bcfmt_geometry geo = kit_geometry();
	struct bcfmt_key key = bcfmt_key_make(0, 0, 1024, false, true,
					      bcfmt_ptr_make(0, 37888, 1));

	cr_assert_eq(bcfmt_key_fault_btree(&geo, &key), BCFMT_KEY_OK); /* uuid bucket */
	key = bcfmt_key_make(0, 100, 8, false, false, 0);
	cr_assert_eq(bcfmt_key_fault_btree(&geo, &key), BCFMT_KEY_NO_PTR);
	key = extent_at(0, 41984);
	cr_assert_eq(bcfmt_key_fault_btree(&geo, &key), BCFMT_KEY_ZERO_SIZE);
	key = bcfmt_key_make(0, 100, 8, true, true, bcfmt_ptr_make(0, 41984, 1));
	cr_assert_eq(bcfmt_key_fault_btree(&geo, &key), BCFMT_KEY_DIRTY_NODE);
	key = bcfmt_key_make(0, 100, 0, true, false, 0);
	cr_assert_eq(bcfmt_key_fault_btree(&geo, &key), BCFMT_KEY_NO_PTR);
}

Test(key_fault, texts)
{
	cr_assert_str_eq(bcfmt_key_fault_text(BCFMT_KEY_OK), "");
	cr_assert_str_eq(bcfmt_key_fault_text(BCFMT_KEY_LENGTH), "bad, length too big");
	cr_assert_str_eq(bcfmt_key_fault_text(BCFMT_KEY_SHORT_OFFSET), "bad, short offset");
	cr_assert_str_eq(bcfmt_key_fault_text(BCFMT_KEY_PAST_END),
			 "bad, offset past end of device");
	cr_assert_str_eq(bcfmt_key_fault_text(BCFMT_KEY_NO_PTR), "bad, no pointers");
	cr_assert_str_eq(bcfmt_key_fault_text(BCFMT_KEY_ZERO_SIZE), "zeroed key");
	cr_assert_str_eq(bcfmt_key_fault_text(BCFMT_KEY_DIRTY_NODE), "");
	cr_assert_str_eq(bcfmt_key_fault_text(BCFMT_KEY_BEFORE_START), "");
}

Test(key_fault, status_texts)
{
	struct bcfmt_geometry geo = kit_geometry();
	struct bcfmt_key key = extent_at(8, 41984);

	cr_assert_str_eq(bcfmt_key_status_text(&geo, &key, false), "");
	cr_assert_str_eq(bcfmt_key_status_text(&geo, &key, true), "stale");
	key = extent_at(8, 0);
	cr_assert_str_eq(bcfmt_key_status_text(&geo, &key, true), "bad, short offset");
	key = extent_at(0, 41984);
	cr_assert_str_eq(bcfmt_key_status_text(&geo, &key, false), "zeroed key");
	key = bcfmt_key_make(0, 9, 9, false, false, 0);
	cr_assert_str_eq(bcfmt_key_status_text(&geo, &key, false), "bad, no pointers");
	key = bcfmt_key_make(0, 0, 8, false, true, bcfmt_ptr_make(0, 41984, 1));
	cr_assert_str_eq(bcfmt_key_status_text(&geo, &key, false), "bad, null key");
	cr_assert_str_eq(bcfmt_key_status_text(&geo, &key, true), "stale");
	key.ptr = UINT64_MAX;
	key.low = 8;
	cr_assert_str_eq(bcfmt_key_status_text(&geo, &key, true), "");
}

/* ---- text ---- */

Test(key_text, forms_of_the_kernel)
{
	struct bcfmt_key key = bcfmt_key_make(0, 136, 120, true, true,
					      bcfmt_ptr_make(0, 377856, 1));

	expect_text(&key, "0:16 len 120 -> [0:377856 gen 1] dirty");
	key = bcfmt_key_make(0, 171448, 64, false, true, bcfmt_ptr_make(0, 55496, 1));
	expect_text(&key, "0:171384 len 64 -> [0:55496 gen 1]");
	key = bcfmt_key_make(5, 136, 120, false, false, 0);
	expect_text(&key, "5:16 len 120 -> []");
	key = bcfmt_key_make(5, 136, 120, false, true, UINT64_MAX);
	expect_text(&key, "5:16 len 120 -> [check dev]");
	key = bcfmt_key_make(0, 0, 1024, false, true, bcfmt_ptr_make(0, 37888, 1));
	expect_text(&key, "0:18446744073709550592 len 1024 -> [0:37888 gen 1]");
	key = bcfmt_key_make(BCFMT_KEY_MAX_INODE, BCFMT_KEY_MAX_OFFSET, 512, false, true, 0x900001);
	expect_text(&key, "1048575:9223372036854775295 len 512 -> [0:36864 gen 1]");
}

Test(key_text, several_pointers_and_what_is_there_of_them)
{
	char out[BCFMT_KEY_TEXT_BYTES];
	uint8_t raw[40];

	store_le64(raw, 0xb000000000000000 | 8 << 20);
	store_le64(raw + 8, 24);
	store_le64(raw + 16, bcfmt_ptr_make(0, 1024, 1));
	store_le64(raw + 24, UINT64_MAX);
	store_le64(raw + 32, bcfmt_ptr_make(2, 4096, 255));
	bcfmt_key_text_raw(out, raw, 5, false);
	cr_assert_str_eq(out, "0:16 len 8 -> [0:1024 gen 1, check dev, 2:4096 gen 255]");
	bcfmt_key_text_raw(out, raw, 3, false);
	cr_assert_str_eq(out, "0:16 len 8 -> [0:1024 gen 1]");
	bcfmt_key_text_raw(out, raw, 2, false);
	cr_assert_str_eq(out, "0:16 len 8 -> []");
}

Test(key_text, data_checksums)
{
	char out[BCFMT_KEY_TEXT_BYTES];
	uint8_t raw[32];

	store_le64(raw, 0x9100001000000000 | 8 << 20);
	store_le64(raw + 8, 24);
	store_le64(raw + 16, bcfmt_ptr_make(0, 1024, 1));
	store_le64(raw + 24, 0xabcdef0123456789);
	bcfmt_key_text_raw(out, raw, 4, true);
	cr_assert_str_eq(out, "0:16 len 8 -> [0:1024 gen 1] dirty cs1 abcdef0123456789");
	bcfmt_key_text_raw(out, raw, 3, true);
	cr_assert_str_eq(out, "0:16 len 8 -> [0:1024 gen 1] dirty cs1");
}

/* The longest key there is fits, and the kernel's buffer cuts it. */
Test(key_text, cut_to_79_characters_for_the_kernel)
{
	char out[BCFMT_KEY_TEXT_BYTES], cut[BCFMT_KEY_TEXT_BYTES];
	uint8_t raw[72];
	size_t len;

	memset(raw, 0xff, sizeof(raw));
	store_le64(raw + 8, 0xfffe); /* below its size: wraps to 20 digits */
	for (unsigned int i = 0; i < 7; i++)
		store_le64(raw + 16 + 8 * i, bcfmt_ptr_make(0xffe, 0x7ffffffffff, 255));
	len = bcfmt_key_text_raw(out, raw, 9, false);
	cr_assert_eq(len, strlen(out));
	cr_assert_eq(len, 265);
	cr_assert_eq(strncmp(out, "1048575:18446744073709551615 len 65535 -> [4094:8796093022207 "
			     "gen 255, ", 71), 0);
	cr_assert_eq(bcfmt_key_text_raw(cut, raw, 9, true), 79);
	cr_assert_eq(strlen(cut), 79);
	cr_assert_eq(strncmp(cut, out, 79), 0);
}

Test(key_text, a_text_of_79_characters_is_not_cut)
{
	char out[BCFMT_KEY_TEXT_BYTES];
	uint8_t raw[24];
	struct bcfmt_key key = bcfmt_key_make(1048575, 65535, 65535, true, true,
					      bcfmt_ptr_make(7, 0x7ffffffffff, 255));

	bcfmt_key_encode(&key, raw);
	cr_assert_lt(bcfmt_key_text_raw(out, raw, 3, true), 79);
	cr_assert_str_eq(out, "1048575:0 len 65535 -> [7:8796093022207 gen 255] dirty");
}
