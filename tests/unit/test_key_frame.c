/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Keys of an entry that do not tile: which explanation is taken, and when none is. */
#include <criterion/criterion.h>

#include "base/bytes.h"
#include "codec/key_frame.h"

static uint8_t raw[8 * 64];
static uint32_t words;

static void put(uint64_t word)
{
	store_le64(raw + 8 * (size_t)words++, word);
}

static void put_key(uint64_t end_sector, bool has_ptr)
{
	struct bcfmt_key key = bcfmt_key_make(1, end_sector, 8, true, has_ptr,
					      bcfmt_ptr_make(0, 4096 + end_sector, 1));

	words += bcfmt_key_encode(&key, raw + 8 * (size_t)words);
}

/* Keys ending at 100, 200, 300: data, a hole, data. */
static void put_three(void)
{
	words = 0;
	put_key(100, true);
	put_key(200, false);
	put_key(300, true);
}

static void set_ptrs(uint32_t word, uint64_t ptrs)
{
	uint64_t high = load_le64(raw + 8 * (size_t)word);

	store_le64(raw + 8 * (size_t)word, (high & ~(7ull << 60)) | ptrs << 60);
}

static struct key_frame find(bool is_known)
{
	struct key_frame frame;

	cr_assert_eq(key_frame_find(raw, words, &frame), is_known);
	return frame;
}

/* The keys that the frame gives end at 100, 200, 300. */
static void expect_three(const struct key_frame *frame)
{
	struct bcfmt_key key;
	uint32_t word = 0;

	for (uint32_t i = 1; i <= 3; i++) {
		cr_assert(key_frame_next(frame, raw, &word, &key));
		cr_expect_eq(key.low, 100 * i);
	}
	cr_expect_not(key_frame_next(frame, raw, &word, &key));
}

Test(key_frame, keys_that_tile)
{
	struct key_frame frame;

	put_three();
	frame = find(true);
	cr_expect(frame.words == 8 && frame.odd_word == KEY_FRAME_NONE);
	expect_three(&frame);
	words = 0;
	frame = find(true);
	cr_expect_eq(frame.words, 0);
}

Test(key_frame, a_key_that_says_more_pointers)
{
	struct key_frame frame;

	for (uint64_t ptrs = 2; ptrs <= 7; ptrs++) {
		put_three();
		set_ptrs(0, ptrs);
		frame = find(true);
		cr_expect(frame.odd_word == 0 && frame.odd_words == 3);
		expect_three(&frame);
		put_three();
		set_ptrs(3, ptrs);
		frame = find(true);
		cr_expect(frame.odd_word == 3 && frame.odd_words == 2);
		expect_three(&frame);
		put_three();
		set_ptrs(5, ptrs);
		frame = find(true);
		cr_expect(frame.odd_word == 5 && frame.odd_words == 3);
		expect_three(&frame);
	}
	/* A hole that says it has one. */
	put_three();
	set_ptrs(3, 1);
	frame = find(true);
	cr_expect(frame.odd_word == 3 && frame.odd_words == 2);
	expect_three(&frame);
}

Test(key_frame, a_key_that_says_no_pointer)
{
	struct key_frame frame;

	put_three();
	set_ptrs(0, 0);
	frame = find(true);
	cr_expect(frame.odd_word == 0 && frame.odd_words == 3);
	expect_three(&frame);
	put_three();
	set_ptrs(5, 0);
	frame = find(true);
	cr_expect(frame.odd_word == 5 && frame.odd_words == 3);
	expect_three(&frame);
}

Test(key_frame, a_word_behind_the_last)
{
	struct key_frame frame;

	put_three();
	put(12345);
	frame = find(true);
	cr_expect(frame.words == 8 && frame.odd_word == KEY_FRAME_NONE);
	expect_three(&frame);
	/* It may be the first word of another key. */
	put_three();
	put(load_le64(raw));
	find(false);
	/* Or what is left of one. */
	put_three();
	put(12345);
	put(6789);
	find(false);
}

Test(key_frame, what_nothing_explains)
{
	put_three();
	store_le64(raw, 5);
	find(false);
	put_three();
	set_ptrs(0, 4);
	set_ptrs(3, 4);
	find(false);
	put_three();
	store_le64(raw + 8 * 3, load_le64(raw + 8 * 3) | 1ull << 40);
	find(false);
}

Test(key_frame, an_entry_that_ends_within_a_key)
{
	struct key_frame frame;
	struct bcfmt_key key;

	put_three();
	put_key(400, true);
	for (uint32_t cut = 1; cut < 3; cut++) {
		cr_assert(key_frame_find_tail(raw, words - cut, words, &frame, &key));
		cr_expect_eq(frame.words, words - 3);
		cr_expect_eq(key.low, 400);
		expect_three(&frame);
		cr_expect_not(key_frame_find_tail(raw, words - cut, words - 1, &frame, &key));
	}
	cr_expect_not(key_frame_find_tail(raw, words, words, &frame, &key));
	/* A hole says nothing of a place. */
	put_three();
	put_key(400, false);
	cr_expect_not(key_frame_find_tail(raw, words - 1, words, &frame, &key));
}
