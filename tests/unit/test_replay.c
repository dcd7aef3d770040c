/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The keys of the journal by place: what is taken, what a leaf gets of it, in which order. */
#include <criterion/criterion.h>

#include <stdlib.h>
#include <string.h>

#include <bcfmt/crc64.h>

#include "base/bytes.h"
#include "kit/set_kit.h"
#include "set/set_impl.h"

static struct set_kit kit;
static struct replay *replay;
static struct vec slice;

static void begin(void)
{
	struct set_kit_shape shape = { .bucket_sectors = 64 };

	set_kit_init(&kit, &shape);
	set_kit_tables(&kit);
	set_kit_node(&kit, kit.free_bucket, NULL, 0);
}

static void end(void)
{
	replay_free(replay);
	vec_free(&slice);
	set_kit_clear(&kit);
}

TestSuite(replay, .init = begin, .fini = end);

static void put(uint64_t seq, uint64_t last_seq, uint32_t ring_index, uint32_t sector,
		const struct bcfmt_key *keys, uint32_t n_keys)
{
	struct set_kit_jset jset = { .ring_index = ring_index,
				     .sector = sector,
				     .seq = seq,
				     .last_seq = last_seq,
				     .keys = keys,
				     .n_keys = n_keys };

	jset.root_ptr = set_kit_ptr(&kit, kit.free_bucket, 0);
	set_kit_jset(&kit, &jset);
}

static void load_with(bool with_history)
{
	bool gen_rose = true;

	replay_free(replay);
	replay = NULL;
	cr_assert_eq(set_kit_open(&kit), BCFMT_OK);
	gen_rose = false;
	cr_assert_eq(replay_load(kit.set, with_history, &gen_rose, &replay), BCFMT_OK);
	cr_assert_not(gen_rose, "nothing was judged yet");
}

static size_t take(uint32_t lo_inode, uint64_t lo_sector, uint32_t hi_inode, uint64_t hi_sector)
{
	struct bcfmt_pos lo = { lo_inode, lo_sector }, hi = { hi_inode, hi_sector };

	cr_assert_eq(replay_slice(replay, lo, hi, &slice), BCFMT_OK);
	return slice.n;
}

static const struct bcfmt_replay_key *at(size_t i)
{
	return VEC_AT(&slice, struct bcfmt_replay_key, i);
}

static uint64_t data(uint32_t sector)
{
	return set_kit_ptr(&kit, kit.free_bucket + 1 + sector / 64, sector % 64);
}

static struct bcfmt_key key_at(uint64_t start, uint32_t sectors)
{
	return set_kit_dirty(1, start, sectors, data(0));
}

Test(replay, only_entries_of_the_window_are_taken)
{
	for (uint64_t seq = 1; seq <= 10; seq++) {
		struct bcfmt_key key = key_at(seq * 100, 8);

		put(seq, seq > 4 ? seq - 3 : 1, 1, (uint32_t)seq - 1, &key, 1);
	}
	load_with(false);
	cr_expect_eq(replay_count(replay), 4);
	cr_expect_not(replay_is_whole(replay));
	cr_assert_eq(take(0, 0, 5, 0), 4);
	for (size_t i = 0; i < 4; i++)
		cr_expect_eq(at(i)->seq, 7 + i);
	load_with(true);
	cr_expect_eq(replay_count(replay), 10);
	cr_expect(replay_is_whole(replay));
}

Test(replay, history_ends_at_a_hole)
{
	for (uint64_t seq = 1; seq <= 10; seq++) {
		struct bcfmt_key key = key_at(seq * 100, 8);

		if (seq != 4)
			put(seq, seq > 4 ? seq - 1 : 1, 1, (uint32_t)seq - 1, &key, 1);
	}
	load_with(true);
	cr_expect_eq(replay_count(replay), 6);
	cr_expect_not(replay_is_whole(replay));
}

Test(replay, a_hole_inside_the_window_does_not_make_it_shorter)
{
	for (uint64_t seq = 1; seq <= 10; seq++) {
		struct bcfmt_key key = key_at(seq * 100, 8);

		if (seq != 4)
			put(seq, seq > 4 ? 2 : 1, 1, (uint32_t)seq - 1, &key, 1);
	}
	load_with(true);
	cr_expect_eq(replay_count(replay), 8);
}

/* Ten entries with these numbers in the three last; where the window then begins. */
static uint64_t window_of(uint64_t eighth, uint64_t ninth, uint64_t tenth)
{
	for (uint64_t seq = 1; seq <= 10; seq++) {
		struct bcfmt_key key = key_at(seq * 100, 8);

		put(seq,
		    seq < 8    ? 1
		    : seq == 8 ? eighth
		    : seq == 9 ? ninth
			       : tenth,
		    1, (uint32_t)seq - 1, &key, 1);
	}
	load_with(false);
	return kit.set->window_seq;
}

Test(replay, a_window_begins_where_the_newest_entry_says)
{
	cr_expect_eq(window_of(3, 5, 6), 6);
	cr_expect_eq(replay_count(replay), 5);
	cr_expect_eq(window_of(3, 5, 3), 3);
}

Test(replay, where_a_window_begins_never_falls)
{
	/* Two agree that all before 3 was done with, one alone is no witness. */
	cr_expect_eq(window_of(3, 5, 2), 3);
	cr_expect_eq(replay_count(replay), 8);
	cr_expect_eq(window_of(1, 9, 1), 1);
	cr_expect_eq(replay_count(replay), 10);
}

Test(replay, a_window_that_cannot_be_is_that_of_the_entries_before)
{
	cr_expect_eq(window_of(3, 4, 11), 3);
	cr_expect_eq(replay_count(replay), 8);
	/* One that cannot be either tells nothing. */
	cr_expect_eq(window_of(4, 10, 11), 1);
	cr_expect_eq(replay_count(replay), 10);
}

Test(replay, a_window_longer_than_the_ring_is_what_the_ring_has)
{
	struct bcfmt_key key = key_at(0, 8);

	put(900, 1, 1, 0, &key, 1);
	put(901, 1, 1, 1, &key, 1);
	load_with(false);
	cr_expect_eq(replay_count(replay), 2);
}

Test(replay, a_window_that_ends_before_it_begins)
{
	struct bcfmt_key key = key_at(0, 8);

	put(7, 9, 1, 0, &key, 1);
	load_with(false);
	cr_expect_eq(replay_count(replay), 1);
}

Test(replay, of_entries_with_one_number_the_first_counts)
{
	struct bcfmt_key first = key_at(100, 8), second = key_at(200, 8);

	put(1, 1, 1, 0, &first, 1);
	put(2, 1, 1, 1, NULL, 0);
	put(1, 1, 5, 3, &second, 1);
	load_with(false);
	cr_assert_eq(take(0, 0, 9, 0), 1);
	cr_expect_eq(bcfmt_key_start_sector(&at(0)->key), 100);
}

Test(replay, entries_after_the_one_it_is_read_by_are_left_out)
{
	struct bcfmt_key key = key_at(0, 8);
	struct bcfmt_set_params params = { .incarnation_seq = 2 };
	bool gen_rose = false;

	for (uint64_t seq = 1; seq <= 4; seq++)
		put(seq, 1, 1, (uint32_t)seq - 1, &key, 1);
	cr_assert_eq(bcfmt_set_open(kit.ctx, &kit.dev, 1, &params, &kit.set), BCFMT_OK);
	cr_assert_eq(replay_load(kit.set, false, &gen_rose, &replay), BCFMT_OK);
	cr_expect_eq(replay_count(replay), 2);
}

Test(replay, keys_that_change_nothing_are_left_out)
{
	struct bcfmt_key keys[] = {
		key_at(0, 8),
		set_kit_hole(1, 8, 8),
		bcfmt_key_make(1, 100, 0, true, true, data(0)),
		bcfmt_key_make(1, 4, 8, true, true, data(0)),	 /* before sector 0 */
		bcfmt_key_make(1, 100, 65, true, true, data(0)), /* longer than a bucket */
		bcfmt_key_make(1, 100, 8, true, true, bcfmt_ptr_make(0, 640 * 64, 1)),
		bcfmt_key_make(1, 100, 8, false, true, UINT64_MAX >> 1), /* placeholder */
	};

	put(1, 1, 1, 0, keys, 7);
	load_with(false);
	cr_expect_eq(replay_count(replay), 3);
	cr_assert_eq(take(0, 0, 9, 0), 3);
	cr_expect_eq(at(0)->word, 0);
	cr_expect_eq(at(1)->word, 3);
	cr_expect_eq(at(2)->word, 17);
}

Test(replay, pointers_raise_gens)
{
	struct bcfmt_key keys[] = { key_at(0, 8), key_at(64, 8), key_at(128, 8) };
	uint64_t bucket = kit.free_bucket + 1;

	keys[0].ptr += 4;	    /* gen 5 of disk gen 1 */
	keys[1].ptr += 2;	    /* gen 3 */
	keys[2].ptr = data(64) - 1; /* gen 0: stale */
	put(1, 1, 1, 0, keys, 3);
	load_with(false);
	cr_expect_eq(kit.set->buckets[bucket].gen, 5);
	cr_expect_eq(kit.set->buckets[bucket + 1].gen, 1);
}

Test(replay, a_slice_has_what_touches_the_range_in_the_order_of_the_journal)
{
	struct bcfmt_key first[] = { key_at(100, 10), key_at(50, 10), key_at(0, 10) };
	struct bcfmt_key second[] = { key_at(5, 60), key_at(300, 10) };

	put(1, 1, 1, 0, first, 3);
	put(2, 1, 1, 1, second, 2);
	load_with(false);
	cr_assert_eq(take(1, 60, 1, 105), 2);
	cr_expect_eq(bcfmt_key_start_sector(&at(0)->key), 100);
	cr_expect_eq(bcfmt_key_start_sector(&at(1)->key), 5);
	cr_expect_eq(take(1, 110, 1, 300), 0);
	cr_expect_eq(take(1, 109, 1, 301), 2);
	cr_expect_eq(take(0, 0, 1, 0), 0);
	cr_expect_eq(take(0, 0, 1, 1), 1);
	cr_expect_eq(take(2, 0, 9, 0), 0);
	cr_assert_eq(take(0, 0, 2, 0), 5);
	for (size_t i = 1; i < 5; i++)
		cr_expect(at(i - 1)->seq < at(i)->seq ||
			  (at(i - 1)->seq == at(i)->seq && at(i - 1)->word < at(i)->word));
}

Test(replay, the_longest_key_reaches_far)
{
	struct bcfmt_key keys[] = { set_kit_hole(1, 0, 65535), set_kit_hole(1, 1, 65535) };

	put(1, 1, 1, 0, keys, 2);
	load_with(false);
	cr_expect_eq(take(1, 65534, 1, 70000), 2);
	cr_expect_eq(take(1, 65535, 1, 70000), 1);
	cr_expect_eq(take(1, 65536, 1, 70000), 0);
}

/* Writes entry `seq` again with another number of words. */
static void set_words(uint32_t sector, uint32_t words)
{
	uint64_t at = bcfmt_bucket_sector(&kit.geo, kit.geo.first_bucket + 1u) + sector;
	uint8_t raw[512];

	set_kit_read(&kit, at, raw, sizeof(raw));
	store_le32(raw + 28, words);
	store_le64(raw, bcfmt_crc64(raw + 8, 240 + 8ull * words - 8));
	set_kit_write(&kit, at, raw, sizeof(raw));
}

/* Entry 2 has a key, and behind it lies another one, of which it says a word or two. */
Test(replay, an_entry_that_ends_within_an_older_key)
{
	struct bcfmt_key older[] = { key_at(100, 8), key_at(200, 8) };
	struct bcfmt_key newer[] = { key_at(300, 8), key_at(200, 8) };

	for (uint32_t round = 0; round < 4; round++) {
		if (round == 2)
			newer[1] = key_at(201, 8);
		put(1, 1, 1, 0, older, 2);
		put(2, 1, 1, 1, newer, 2);
		set_words(1, 4 + round % 2);
		load_with(true);
		cr_expect_eq(replay_count(replay), 3);
		cr_assert_eq(replay_settle_tails(replay, replay, 1), BCFMT_OK);
		/* Of two words it may be a hole that says it has a pointer. */
		cr_expect_eq(replay_is_garbled(replay), round == 2);
		cr_expect_eq(replay_has_impossible(replay), round == 2);
		cr_expect_eq(replay_doubts(replay)->n, round == 3);
	}
}

/* Entries 1 to 4 that give a root these levels; the root of the first is another one. */
static uint16_t level_of(const uint16_t levels[4])
{
	for (uint32_t i = 0; i < 4; i++) {
		struct set_kit_jset jset = { .ring_index = 1,
					     .sector = i,
					     .seq = i + 1,
					     .last_seq = 1,
					     .root_ptr = set_kit_ptr(&kit, kit.free_bucket + !i, 0),
					     .level = levels[i] };

		set_kit_jset(&kit, &jset);
	}
	cr_assert_eq(set_kit_open(&kit), BCFMT_OK);
	cr_expect_eq(kit.set->is_level_mended, kit.set->newest.btree_level != levels[3]);
	return kit.set->newest.btree_level;
}

Test(replay, a_root_keeps_its_level)
{
	cr_expect_eq(level_of((uint16_t[]){ 0, 1, 1, 1 }), 1);
	cr_expect_eq(level_of((uint16_t[]){ 0, 1, 1, 0 }), 1);
	cr_expect_eq(kit.set->said_level, 0);
	cr_expect_eq(level_of((uint16_t[]){ 0, 1, 1, 700 }), 1);
	cr_expect_eq(kit.set->said_level, 700);
	/* One alone is no witness, and neither are two that differ. */
	cr_expect_eq(level_of((uint16_t[]){ 0, 2, 1, 0 }), 0);
	cr_expect_eq(level_of((uint16_t[]){ 1, 1, 2, 0 }), 0);
}

static bcfmt_err note_span(void *arg, struct bcfmt_pos lo, struct bcfmt_pos hi)
{
	struct vec *spans = arg;
	struct bcfmt_span *span = vec_push(spans, sizeof(*span));

	cr_assert(span);
	*span = (struct bcfmt_span){ lo, hi };
	return BCFMT_OK;
}

Test(replay, what_later_entries_do_not_name_is_told_in_order)
{
	struct bcfmt_key first[] = { key_at(0, 10) };
	struct bcfmt_key second[] = { key_at(300, 10), key_at(100, 60), key_at(120, 20),
				      key_at(160, 8) };
	struct vec spans = { 0 };
	const struct bcfmt_span *span;

	put(1, 1, 1, 0, first, 1);
	put(2, 1, 1, 1, second, 4);
	load_with(false);
	cr_assert_eq(replay_each_silent(replay, 2, note_span, &spans), BCFMT_OK);
	cr_assert_eq(spans.n, 3);
	span = spans.items;
	cr_expect(!span[0].lo.inode && !span[0].lo.sector && span[0].hi.sector == 100);
	cr_expect(span[1].lo.sector == 168 && span[1].hi.sector == 300);
	cr_expect(span[2].lo.sector == 310 && !bcfmt_pos_cmp(span[2].hi, bcfmt_pos_max()));
	spans.n = 0;
	cr_assert_eq(replay_each_silent(replay, 3, note_span, &spans), BCFMT_OK);
	cr_assert_eq(spans.n, 1);
	vec_free(&spans);
}

/* Entries 1 to 3: the prio sets are written anew before the second and the third. */
static void live(uint64_t prio_seq, uint64_t first_seq)
{
	uint64_t buckets[] = { kit.free_bucket + 30, kit.free_bucket + 31, kit.prio_bucket };

	kit.prio_seq = prio_seq;
	set_kit_tables(&kit);
	for (uint32_t i = 0; i < 3; i++) {
		struct set_kit_jset jset = { .ring_index = 1,
					     .sector = i,
					     .seq = first_seq + i,
					     .last_seq = first_seq,
					     .root_ptr = set_kit_ptr(&kit, kit.free_bucket, 0),
					     .prio_bucket = buckets[i] };

		set_kit_jset(&kit, &jset);
	}
	cr_assert_eq(set_kit_open(&kit), BCFMT_OK);
	cr_assert(kit.set->has_all_prios);
}

Test(replay, a_ring_with_as_many_prio_writes_as_there_were_is_whole)
{
	live(3, 1);
	cr_expect(set_has_whole_life(kit.set));
	live(4, 1);
	cr_expect_not(set_has_whole_life(kit.set));
	live(3, 2);
	cr_expect_not(set_has_whole_life(kit.set));
}

/* Random keys against a plain search, over entries of many sizes. */
Test(replay, slices_of_many_keys, .timeout = 60)
{
	static struct bcfmt_key all[8 * 60];
	uint64_t state = 0xabcdef;

	for (uint32_t i = 0; i < 8; i++) {
		struct bcfmt_key *keys = all + 60 * i;

		for (uint32_t k = 0; k < 60; k++)
			keys[k] =
				set_kit_hole(set_kit_below(&state, 3), set_kit_below(&state, 90000),
					     1 + set_kit_below(&state, 65535));
		put(1 + i, 1, 1 + i / 4, i % 4 * 8, keys, 60);
	}
	load_with(false);
	cr_assert_eq(replay_count(replay), 8 * 60);
	for (uint32_t round = 0; round < 2000; round++) {
		struct bcfmt_pos lo = { set_kit_below(&state, 3), set_kit_below(&state, 150000) };
		struct bcfmt_pos hi = { set_kit_below(&state, 3), set_kit_below(&state, 150000) };
		size_t n = 0;

		if (bcfmt_pos_cmp(lo, hi) >= 0)
			continue;
		cr_assert_eq(replay_slice(replay, lo, hi, &slice), BCFMT_OK);
		for (size_t i = 0; i < 8 * 60; i++) {
			if (bcfmt_pos_cmp(bcfmt_key_start(&all[i]), hi) >= 0 ||
			    bcfmt_pos_cmp(bcfmt_key_end(&all[i]), lo) <= 0)
				continue;
			cr_assert_lt(n, slice.n);
			cr_assert(at(n)->key.high == all[i].high && at(n)->key.low == all[i].low &&
					  at(n)->seq == 1 + i / 60,
				  "round %u key %zu", round, n);
			n++;
		}
		cr_assert_eq(n, slice.n, "round %u", round);
	}
}

Test(replay, without_a_journal_there_is_nothing)
{
	load_with(false);
	cr_expect_eq(replay_count(replay), 0);
	cr_expect_eq(take(0, 0, BCFMT_KEY_MAX_INODE, BCFMT_KEY_MAX_OFFSET), 0);
	cr_expect_not(replay_is_whole(replay));
}
