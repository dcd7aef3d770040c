/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The time line of a range: what is collected, what is proved of its order, and what is not. */
#include <criterion/criterion.h>

#include <stdlib.h>
#include <string.h>

#include <bcfmt/history.h>

#include "kit/set_kit.h"

#define PASTS_MAX 64u

static struct set_kit kit;
static struct bcfmt_tree *tree;
static struct bcfmt_past pasts[PASTS_MAX];
static size_t n_pasts;
static size_t fail_at;

static void begin(void)
{
	struct set_kit_shape shape = { .threads = 1 };

	set_kit_init(&kit, &shape);
	n_pasts = 0;
	fail_at = 0;
}

static void end(void)
{
	bcfmt_tree_free(tree);
	set_kit_clear(&kit);
}

TestSuite(history, .init = begin, .fini = end);

static uint64_t place(uint64_t bucket, uint32_t sector)
{
	return set_kit_ptr(&kit, kit.free_bucket + bucket, sector);
}

static uint64_t with_gen(uint64_t ptr, unsigned int gen)
{
	return bcfmt_ptr_make(bcfmt_ptr_dev(ptr), bcfmt_ptr_sector(ptr), gen);
}

static void entry(uint64_t seq, uint64_t last_seq, uint64_t root, struct bcfmt_key key)
{
	struct set_kit_jset jset = {
		.ring_index = 1,
		.sector = (uint32_t)seq - 1,
		.seq = seq,
		.last_seq = last_seq,
		.root_ptr = root,
		.keys = &key,
		.n_keys = 1,
	};

	set_kit_jset(&kit, &jset);
}

static bcfmt_err see(void *arg, const struct bcfmt_past *past)
{
	(void)arg;
	cr_assert_lt(n_pasts, PASTS_MAX);
	pasts[n_pasts++] = *past;
	return n_pasts == fail_at ? BCFMT_E_IO : BCFMT_OK;
}

static bcfmt_err look(uint64_t start_sector, uint64_t end_sector)
{
	struct bcfmt_history_gaps gaps = { .entries = 1 };
	bcfmt_err err;

	cr_assert_eq(set_kit_open(&kit), BCFMT_OK);
	cr_assert_eq(bcfmt_tree_open(kit.set, NULL, &tree), BCFMT_OK);
	cr_assert_eq(bcfmt_tree_settle(tree), BCFMT_OK);
	err = bcfmt_history_each(tree, 0, start_sector, end_sector, see, NULL, &gaps);
	cr_expect(!gaps.entries && !gaps.nodes && !gaps.is_search_partial);
	return err;
}

Test(history, a_key_of_the_leaf_is_dated_by_the_entry_that_is_the_same_write)
{
	struct bcfmt_key first = set_kit_dirty(0, 64, 8, place(5, 0));
	struct bcfmt_key second = set_kit_dirty(0, 64, 8, place(5, 8));
	struct bcfmt_key both[] = { first, second };
	uint64_t leaf = set_kit_node(&kit, kit.free_bucket, both, 2);

	set_kit_tables(&kit);
	entry(1, 1, leaf, first);
	entry(2, 2, leaf, second);
	cr_assert_eq(look(64, 72), BCFMT_OK);
	cr_assert_eq(n_pasts, 4);
	cr_expect(pasts[0].source == BCFMT_PAST_JOURNAL && pasts[0].seq == 1);
	cr_expect_eq(pasts[0].entry, BCFMT_PAST_HISTORY);
	cr_expect(pasts[1].source == BCFMT_PAST_JOURNAL && pasts[1].seq == 2);
	cr_expect_eq(pasts[1].entry, BCFMT_PAST_TO_REPLAY);
	/* The bset holds what entry 2 says, so all of it was written after that. */
	for (size_t i = 2; i < 4; i++) {
		cr_expect_eq(pasts[i].source, BCFMT_PAST_LEAF);
		cr_expect_eq(pasts[i].order, BCFMT_PAST_SAME_WRITE);
		cr_expect_eq(pasts[i].seq, i - 1);
		cr_expect_eq(pasts[i].after_seq, 2);
	}
}

Test(history, bsets_are_dated_one_by_one_and_never_before_those_in_front_of_them)
{
	struct bcfmt_key first = set_kit_dirty(0, 64, 8, place(5, 0));
	struct bcfmt_key second = set_kit_dirty(0, 64, 8, place(5, 8));
	struct bcfmt_key filled = set_kit_clean(0, 68, 4, place(6, 0));
	uint64_t leaf = place(0, 0);
	uint32_t block = set_kit_bset(&kit, leaf, 0, 77, &first, 1);

	block = set_kit_bset(&kit, leaf, block, 77, &second, 1);
	set_kit_bset(&kit, leaf, block, 77, &filled, 1);
	set_kit_tables(&kit);
	entry(1, 1, leaf, first);
	entry(2, 2, leaf, second);
	cr_assert_eq(look(64, 72), BCFMT_OK);
	cr_assert_eq(n_pasts, 5);
	cr_expect_eq(pasts[0].seq, 1);
	cr_expect(pasts[1].source == BCFMT_PAST_LEAF && pasts[1].after_seq == 1);
	cr_expect(pasts[2].source == BCFMT_PAST_JOURNAL && pasts[2].seq == 2);
	cr_expect(pasts[3].source == BCFMT_PAST_LEAF && pasts[3].after_seq == 2);
	cr_expect(pasts[4].source == BCFMT_PAST_LEAF && pasts[4].after_seq == 2);
	cr_expect_eq(pasts[4].order, BCFMT_PAST_NOT_PROVED);
	cr_expect_eq(pasts[4].seq, 0);
}

/* Keys that touch are merged in a node: the entries begin before, in and at it. */
Test(history, a_merged_key_is_all_the_writes_in_it)
{
	struct bcfmt_key merged = set_kit_dirty(0, 64, 12, place(5, 0));
	uint64_t leaf = set_kit_node(&kit, kit.free_bucket, &merged, 1);

	set_kit_tables(&kit);
	entry(1, 1, leaf, set_kit_dirty(0, 64, 4, place(5, 0)));
	entry(2, 1, leaf, set_kit_dirty(0, 68, 4, place(5, 4)));
	entry(3, 3, leaf, set_kit_dirty(0, 72, 4, place(5, 8)));
	cr_assert_eq(look(64, 76), BCFMT_OK);
	cr_assert_eq(n_pasts, 4);
	cr_expect(pasts[3].source == BCFMT_PAST_LEAF && pasts[3].seq == 3);
	/* Of a part of the range only what touches it counts. */
	bcfmt_tree_free(tree);
	tree = NULL;
	n_pasts = 0;
	cr_assert_eq(look(64, 68), BCFMT_OK);
	cr_assert_eq(n_pasts, 2);
	cr_expect(pasts[1].source == BCFMT_PAST_LEAF && pasts[1].seq == 1);
}

Test(history, another_generation_or_place_is_another_write)
{
	uint64_t ptr = place(5, 0);
	struct bcfmt_key keys[] = {
		set_kit_clean(0, 64, 8, with_gen(ptr, 0)),
		set_kit_clean(0, 72, 8, place(6, 0)),
	};
	uint64_t leaf = set_kit_node(&kit, kit.free_bucket, keys, 2);

	set_kit_tables(&kit);
	entry(1, 1, leaf, set_kit_dirty(0, 64, 8, ptr));
	entry(2, 2, leaf, set_kit_dirty(0, 72, 8, place(6, 8)));
	cr_assert_eq(look(0, 128), BCFMT_OK);
	cr_assert_eq(n_pasts, 4);
	/* Not dated: before all that is. */
	for (size_t i = 0; i < 2; i++) {
		cr_expect_eq(pasts[i].source, BCFMT_PAST_LEAF);
		cr_expect_eq(pasts[i].order, BCFMT_PAST_NOT_PROVED);
		cr_expect_eq(pasts[i].after_seq, 0);
	}
	cr_expect_eq(pasts[0].stale, 1);
	cr_expect_eq(pasts[1].stale, 0);
}

Test(history, nodes_that_nothing_reaches_are_found)
{
	struct bcfmt_key old = set_kit_dirty(0, 64, 8, place(5, 0));
	struct bcfmt_key other = set_kit_dirty(0, 640, 8, place(6, 0));
	uint64_t leaf = set_kit_node(&kit, kit.free_bucket, &other, 1);
	uint64_t given_up = set_kit_node(&kit, kit.free_bucket + 1, &old, 1);

	/* A node whose keys are elsewhere says nothing of the range. */
	set_kit_node(&kit, kit.free_bucket + 2, &other, 1);
	set_kit_tables(&kit);
	entry(1, 1, leaf, old);
	entry(2, 2, leaf, set_kit_hole(0, 64, 8));
	cr_assert_eq(look(64, 72), BCFMT_OK);
	cr_assert_eq(n_pasts, 3);
	cr_expect(pasts[0].source == BCFMT_PAST_JOURNAL && pasts[0].seq == 1);
	cr_expect(pasts[1].source == BCFMT_PAST_OLD_NODE && pasts[1].node_ptr == given_up);
	cr_expect_eq(pasts[1].seq, 1);
	cr_expect(pasts[2].source == BCFMT_PAST_JOURNAL && pasts[2].seq == 2);
	cr_expect_not(bcfmt_key_has_data(&pasts[2].key));
}

Test(history, entries_behind_a_hole_are_told_as_such)
{
	struct bcfmt_key key = set_kit_dirty(0, 64, 8, place(5, 0));
	uint64_t leaf = set_kit_node(&kit, kit.free_bucket, &key, 1);

	set_kit_tables(&kit);
	entry(1, 1, leaf, key);
	entry(2, 1, leaf, set_kit_dirty(0, 64, 8, place(5, 8)));
	set_kit_zero(&kit, bcfmt_bucket_sector(&kit.geo, kit.geo.first_bucket + 1) + 1, 1);
	entry(3, 3, leaf, set_kit_dirty(0, 64, 8, place(6, 0)));
	entry(4, 4, leaf, set_kit_dirty(0, 64, 8, place(6, 8)));
	cr_assert_eq(look(64, 72), BCFMT_OK);
	cr_assert_eq(n_pasts, 4);
	cr_expect_eq(pasts[0].entry, BCFMT_PAST_CUT_OFF);
	cr_expect(pasts[1].source == BCFMT_PAST_LEAF && pasts[1].seq == 1);
	cr_expect_eq(pasts[2].entry, BCFMT_PAST_HISTORY);
	cr_expect_eq(pasts[3].entry, BCFMT_PAST_TO_REPLAY);
}

Test(history, what_the_caller_returns_ends_it)
{
	struct bcfmt_key key = set_kit_dirty(0, 64, 8, place(5, 0));
	uint64_t leaf = set_kit_node(&kit, kit.free_bucket, &key, 1);

	set_kit_tables(&kit);
	entry(1, 1, leaf, key);
	fail_at = 1;
	cr_expect_eq(look(64, 72), BCFMT_E_IO);
	cr_expect_eq(n_pasts, 1);
}
