/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The order in which a kernel gets to see the keys of a node: made bsets through the simulated
 * merge, against what every sector must have in the end.
 */
#include <criterion/criterion.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/bytes.h"
#include "check/predict_merge.h"

#define NODE_BYTES (64u * 512)
#define SECTORS 512u /* of the inode, that random keys cover */
#define BSETS_MAX 12u

/* A node in memory; bsets are pushed one after the other. */
static uint8_t buf[NODE_BYTES];
static struct bcfmt_bset bsets[BSETS_MAX];
static struct bcfmt_node node;
static struct bcfmt_geometry geo;

static void begin(void)
{
	memset(buf, 0, sizeof(buf));
	memset(bsets, 0, sizeof(bsets));
	geo = (struct bcfmt_geometry){ .nbuckets = 1024,
				       .first_bucket = 1,
				       .block_sectors = 1,
				       .bucket_sectors = 128,
				       .bucket_shift = 7 };
	node = (struct bcfmt_node){ .buf = buf, .block_bytes = 512, .nblocks = 64, .bsets = bsets };
}

TestSuite(predict_merge, .init = begin);

static struct bcfmt_key key_of(uint64_t start, uint32_t sectors, bool is_dirty, uint64_t cache)
{
	return bcfmt_key_make(0, start + sectors, sectors, is_dirty, true,
			      bcfmt_ptr_make(0, cache, 1));
}

static void push_bset(const struct bcfmt_key *keys, uint32_t n)
{
	struct bcfmt_bset *bset = &bsets[node.n_bsets];
	uint8_t *at;

	cr_assert_lt(node.n_bsets, BSETS_MAX);
	bset->block = node.n_bsets ? bset[-1].block + bset[-1].blocks : 0;
	bset->keys = buf + 512 * bset->block + 32;
	at = buf + 512 * bset->block + 32;
	for (uint32_t i = 0; i < n; i++)
		bset->words += bcfmt_key_encode(&keys[i], at + 8 * bset->words);
	bset->blocks = (32 + 8 * bset->words + 511) / 512;
	node.n_bsets++;
}

/* Text of all keys that come out, one behind the other. */
static const char *merged(bool is_leaf, struct merge *merge)
{
	static char text[4096];
	struct merge_key key;
	size_t at = 0;

	text[0] = 0;
	cr_assert_eq(merge_begin(merge, &node, is_leaf), BCFMT_OK);
	while (merge_next(merge, &key)) {
		uint8_t raw[MERGE_KEY_WORDS * 8];
		char one[BCFMT_KEY_TEXT_BYTES];

		bcfmt_key_text_raw(one, raw, merge_key_raw(&key, raw), false);
		at += (size_t)snprintf(text + at, sizeof(text) - at, "%s%s", at ? "; " : "", one);
		cr_assert_lt(at, sizeof(text));
	}
	merge_clear(merge);
	return text;
}

Test(predict_merge, nothing_and_one_bset)
{
	struct bcfmt_key keys[] = { key_of(16, 8, true, 256), key_of(8, 8, false, 512) };
	struct merge merge;

	cr_expect_str_eq(merged(true, &merge), "");
	/* A single bset comes out as it lies there, order or not. */
	push_bset(keys, 2);
	cr_expect_str_eq(merged(true, &merge),
			 "0:16 len 8 -> [0:256 gen 1] dirty; 0:8 len 8 -> [0:512 gen 1]");
	cr_expect_not(merge.is_corrupt || merge.is_lost);
}

Test(predict_merge, newer_keys_cut_older_ones)
{
	struct bcfmt_key old[] = { key_of(0, 32, false, 256) };
	struct bcfmt_key middle[] = { key_of(8, 8, true, 512) };
	struct bcfmt_key ends[] = { key_of(0, 4, true, 640), key_of(28, 8, true, 768) };
	struct merge merge;

	push_bset(old, 1);
	push_bset(middle, 1);
	cr_expect_str_eq(merged(true, &merge),
			 "0:0 len 8 -> [0:256 gen 1]; 0:8 len 8 -> [0:512 gen 1] dirty; "
			 "0:16 len 16 -> [0:272 gen 1]");
	push_bset(ends, 2);
	cr_expect_str_eq(merged(true, &merge),
			 "0:0 len 4 -> [0:640 gen 1] dirty; 0:4 len 4 -> [0:260 gen 1]; "
			 "0:8 len 8 -> [0:512 gen 1] dirty; 0:16 len 12 -> [0:272 gen 1]; "
			 "0:28 len 8 -> [0:768 gen 1] dirty");
}

/* A newer key that was overwritten before it was written has no size, and cuts nothing. */
Test(predict_merge, keys_without_size_are_passed_by)
{
	struct bcfmt_key old[] = { key_of(0, 32, false, 256) };
	struct bcfmt_key empty[] = { key_of(8, 0, true, 512), key_of(40, 0, true, 512) };
	struct merge merge;

	push_bset(old, 1);
	push_bset(empty, 2);
	cr_expect_str_eq(merged(true, &merge),
			 "0:0 len 32 -> [0:256 gen 1]; 0:40 len 0 -> [0:512 gen 1] dirty");
}

/* Interior keys are put in order and nothing else; of equal ones the newer comes first. */
Test(predict_merge, interior_keys_are_not_cut)
{
	struct bcfmt_key old[] = { key_of(0, 16, false, 256), key_of(32, 16, false, 384) };
	struct bcfmt_key new[] = { key_of(0, 16, false, 512), key_of(16, 16, false, 640) };
	struct merge merge;

	push_bset(old, 2);
	push_bset(new, 2);
	cr_expect_str_eq(merged(false, &merge),
			 "0:0 len 16 -> [0:512 gen 1]; 0:0 len 16 -> [0:256 gen 1]; "
			 "0:16 len 16 -> [0:640 gen 1]; 0:32 len 16 -> [0:384 gen 1]");
}

/* What lies behind the end is taken for the rest of the last key. */
Test(predict_merge, a_key_past_the_end_of_its_bset)
{
	struct bcfmt_key keys[] = { key_of(16, 8, true, 256) };
	struct merge merge;

	push_bset(keys, 1);
	bsets[0].words = 2;
	cr_expect_str_eq(merged(true, &merge), "0:16 len 8 -> [0:256 gen 1] dirty");
	cr_expect(merge.is_corrupt);
	cr_expect_not(merge.is_lost);
	/* Behind the end of the node lies nothing that is known. */
	begin();
	node.nblocks = 1;
	bsets[0] = (struct bcfmt_bset){ .keys = buf + 512 - 16, .words = 2, .blocks = 1 };
	node.n_bsets = 1;
	store_le64(buf + 512 - 16, 7ull << 60);
	cr_expect_str_eq(merged(true, &merge), "");
	cr_expect(merge.is_lost);
}

/* A kernel with many pointers in a key cuts all of them. */
Test(predict_merge, all_pointers_are_cut)
{
	struct merge_key last = { .high = 2ull << 60 | 8ull << 20, .low = 8 };
	uint8_t raw[MERGE_KEY_WORDS * 8];
	struct merge_key key;

	last.ptr[0] = bcfmt_ptr_make(0, 256, 1);
	last.ptr[1] = bcfmt_ptr_make(0, 512, 3);
	cr_assert_eq(merge_key_raw(&last, raw), 4);
	merge_key_load(&key, raw, 4);
	cr_expect_eq(memcmp(&key, &last, sizeof(key)), 0);
	key.low = 16;
	key.ptr[0] = bcfmt_ptr_make(0, 264, 1);
	key.ptr[1] = bcfmt_ptr_make(0, 520, 3);
	cr_expect(merge_keys(&geo, &last, &key));
	cr_expect_eq(last.low, 16);
	/* One of them in another place, or in another bucket, and they stay two. */
	key.low = 24;
	key.ptr[0] = bcfmt_ptr_make(0, 272, 1);
	key.ptr[1] = bcfmt_ptr_make(0, 529, 3);
	cr_expect_not(merge_keys(&geo, &last, &key));
}

Test(predict_merge, keys_that_become_one)
{
	struct merge_key first = { .high = 1ull << 63 | 60000ull << 20, .low = 60000 };
	struct merge_key second = { .high = 1ull << 63 | 10000ull << 20, .low = 70000 };

	/* Holes have no bucket, but a size has 16 bits. */
	cr_expect_not(merge_keys(&geo, &first, &second));
	cr_expect_eq(first.low, 65535);
	cr_expect_eq(second.low, 70000);
	cr_expect_eq(second.high >> 20 & 0xffff, 70000 - 65535);
}

/* ---- random bsets ---- */

static uint64_t draw(uint64_t *state, uint64_t n)
{
	*state = *state * 6364136223846793005ull + 1442695040888963407ull;
	return (*state >> 33) % n;
}

/* Sorted keys that do not overlap, as a kernel writes them. */
static uint32_t make_keys(uint64_t *state, struct bcfmt_key *keys, uint32_t most)
{
	uint64_t at = draw(state, 40);
	uint32_t n = 0;

	while (n < most && at + 16 < SECTORS) {
		uint32_t sectors = (uint32_t)draw(state, 16);

		keys[n] = key_of(at, sectors, draw(state, 2), 128 + draw(state, 100) * 128);
		at += sectors + draw(state, 3) * draw(state, 20);
		n++;
	}
	return n;
}

static void paint(uint64_t *sectors, const struct bcfmt_key *key)
{
	for (uint32_t i = 0; i < bcfmt_key_sectors(key); i++)
		sectors[bcfmt_key_start_sector(key) + i] =
			(bcfmt_ptr_sector(key->ptr) + i) << 1 | bcfmt_key_is_dirty(key);
}

Test(predict_merge, the_last_writer_wins_every_sector)
{
	uint64_t state = 7;

	for (unsigned int round = 0; round < 2000; round++) {
		uint64_t want[SECTORS] = { 0 }, got[SECTORS] = { 0 }, end = 0;
		struct merge_key key;
		struct merge merge;

		begin();
		for (uint32_t i = 0, n = 1 + (uint32_t)draw(&state, BSETS_MAX); i < n; i++) {
			struct bcfmt_key keys[20];
			uint32_t n_keys = make_keys(&state, keys, (uint32_t)draw(&state, 20));

			push_bset(keys, n_keys);
			for (uint32_t j = 0; j < n_keys; j++)
				paint(want, &keys[j]);
		}
		cr_assert_eq(merge_begin(&merge, &node, true), BCFMT_OK);
		while (merge_next(&merge, &key)) {
			struct bcfmt_key plain = merge_key_at(&key, 0);

			if (!bcfmt_key_sectors(&plain))
				continue;
			cr_assert_geq(bcfmt_key_start_sector(&plain), end, "round %u", round);
			end = plain.low;
			paint(got, &plain);
		}
		cr_assert_not(merge.is_lost || merge.is_corrupt);
		merge_clear(&merge);
		cr_assert_arr_eq(got, want, sizeof(want), "round %u", round);
	}
}
