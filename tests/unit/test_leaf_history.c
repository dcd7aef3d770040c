/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What a leaf takes from the journal: the replay window, or all that is left; lost ends. */
#include <criterion/criterion.h>

#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "kit/set_kit.h"
#include "set/set_impl.h"
#include "tree_help.h"

static struct set_kit kit;
static struct tree_events seen = { .lock = PTHREAD_MUTEX_INITIALIZER };
static struct bcfmt_tree *tree;
static struct bcfmt_tree_visitor visitor;

static void begin(void)
{
	struct set_kit_shape shape = { .threads = 1 };

	set_kit_init(&kit, &shape);
	visitor = tree_visitor(&seen);
}

static void end(void)
{
	bcfmt_tree_free(tree);
	set_kit_clear(&kit);
}

TestSuite(leaf_history, .init = begin, .fini = end);

/* Bucket i of those that no table has. */
static uint64_t nth(uint64_t i)
{
	return kit.free_bucket + i;
}

static uint64_t ptr_of(uint64_t i)
{
	return set_kit_ptr(&kit, nth(i), 0);
}

static uint64_t empty_leaf(uint64_t i)
{
	return set_kit_node(&kit, nth(i), NULL, 0);
}

/* Where the data of entry seq lies: two entries share a bucket, 4 and 5 among them. */
static uint64_t place_of(uint64_t seq)
{
	return ptr_of(10 + seq / 2) + ((seq % 2 * 8) << 8);
}

/* Entries 1..n with a dirty key each, at 8 * seq; the newest needs only itself. */
static void write_journal(uint64_t root_ptr, uint64_t first, uint64_t n)
{
	for (uint64_t seq = first; seq <= n; seq++) {
		struct bcfmt_key key =
			set_kit_dirty(0, seq * 8, 8, place_of(seq));
		struct set_kit_jset jset = { .ring_index = 1,
					     .sector = (uint32_t)(seq - first),
					     .seq = seq,
					     .root_ptr = root_ptr,
					     .keys = &key,
					     .n_keys = 1 };

		set_kit_jset(&kit, &jset);
	}
}

static void open_again(void)
{
	bool again = true;

	cr_assert_eq(set_kit_open(&kit), BCFMT_OK);
	bcfmt_tree_free(tree);
	tree = NULL;
	tree_forget(&seen);
	cr_assert_eq(bcfmt_tree_open(kit.set, &visitor, &tree), BCFMT_OK);
	for (unsigned int i = 0; i < 2 && again; i++) {
		tree_forget(&seen);
		cr_assert_eq(bcfmt_tree_walk_leaves(tree, &visitor, &again), BCFMT_OK);
	}
	cr_assert_not(again);
}

/* What write_journal() puts there, as a leaf has it; 1..n. */
static uint64_t journaled_leaf(uint64_t n, bool is_dirty)
{
	struct bcfmt_key keys[8];

	for (uint64_t seq = 1; seq <= n; seq++)
		keys[seq - 1] = bcfmt_key_make(0, seq * 8 + 8, 8, is_dirty, true, place_of(seq));
	return set_kit_node(&kit, nth(0), keys, (uint32_t)n);
}

Test(leaf_history, a_whole_leaf_takes_the_window_only)
{
	uint64_t root = journaled_leaf(5, false);

	set_kit_tables(&kit);
	write_journal(root, 1, 6);
	open_again();
	cr_expect_eq(seen.n_extent, 6);
	for (size_t i = 0; i < 5; i++)
		cr_expect(seen.extent[i].source == BCFMT_FROM_TREE && !seen.extent[i].is_dirty);
	cr_expect_eq(seen.extent[5].source, BCFMT_FROM_REPLAY);
	cr_expect_eq(seen.n_with_history, 0);
	cr_expect_eq(seen.lost_sectors, 0);
	cr_expect_eq(bcfmt_tree_replay_keys(tree), 1);
}

/* Entry 5 is no more to be replayed, so its key has to be in the leaf. */
Test(leaf_history, a_leaf_without_the_newest_older_key_has_lost_its_end)
{
	uint64_t root = journaled_leaf(4, true);

	set_kit_tables(&kit);
	write_journal(root, 1, 6);
	open_again();
	cr_expect_eq(seen.lost_sectors, 8);
	cr_expect_eq(seen.n_with_history, 1);
	cr_expect_eq(seen.n_extent, 6);
}

/* Nothing dirty shares its bucket, which can have been given up after cleaning. */
Test(leaf_history, a_key_that_was_alone_in_its_bucket_proves_nothing)
{
	uint64_t root = journaled_leaf(3, true);

	set_kit_tables(&kit);
	write_journal(root, 1, 4);
	for (uint32_t i = 4; i <= 6; i++) {
		struct bcfmt_key key = set_kit_dirty(0, 8 * i, 8, ptr_of(20 + i));
		struct set_kit_jset jset = { .ring_index = 1, .sector = i - 1, .seq = i,
					     .root_ptr = root, .keys = &key, .n_keys = i < 6 };

		set_kit_jset(&kit, &jset);
	}
	open_again();
	cr_expect_eq(seen.lost_sectors, 0);
	cr_expect_eq(seen.n_extent, 3);
}

/* An older key alone can be missing: its bucket was given up a moment ago. */
Test(leaf_history, a_leaf_without_an_older_key_has_lost_nothing)
{
	struct bcfmt_key newest = set_kit_dirty(0, 5 * 8, 8, set_kit_ptr(&kit, nth(15), 0));
	uint64_t root = set_kit_node(&kit, nth(0), &newest, 1);

	set_kit_tables(&kit);
	write_journal(root, 1, 6);
	open_again();
	cr_expect_eq(seen.lost_sectors, 0);
	cr_expect_eq(seen.n_extent, 2);
}

/* The leaf has what an even older entry put there: the newest word is lost all the same. */
Test(leaf_history, a_leaf_with_an_older_version_has_lost_its_end)
{
	uint64_t older = set_kit_ptr(&kit, nth(11), 0), newer = set_kit_ptr(&kit, nth(12), 0);
	struct bcfmt_key keys[] = { set_kit_dirty(0, 8, 8, older), set_kit_dirty(0, 8, 8, newer) };
	struct bcfmt_key leaf[] = { keys[0], set_kit_dirty(0, 64, 8, newer + (8 << 8)) };
	uint64_t root = set_kit_node(&kit, nth(0), leaf, 2);

	set_kit_tables(&kit);
	for (uint32_t i = 0; i < 3; i++) {
		struct set_kit_jset jset = { .ring_index = 1, .sector = i, .seq = i + 1,
					     .root_ptr = root, .keys = &keys[i],
					     .n_keys = i < 2 };

		set_kit_jset(&kit, &jset);
	}
	open_again();
	cr_expect_eq(seen.lost_sectors, 8);
	cr_assert_eq(seen.n_extent, 2);
	cr_expect_eq(seen.extent[0].ptr, newer);
}

/* Entries 4 and 5 share a bucket: that the one is live proves that the other was not given up. */
Test(leaf_history, a_leaf_without_a_key_in_between_has_lost_it)
{
	struct bcfmt_key keys[4];
	uint64_t root;
	uint32_t n = 0;

	for (uint64_t seq = 1; seq <= 5; seq++)
		if (seq != 4)
			keys[n++] = set_kit_dirty(0, seq * 8, 8, place_of(seq));
	root = set_kit_node(&kit, nth(0), keys, n);
	set_kit_tables(&kit);
	write_journal(root, 1, 6);
	open_again();
	cr_expect_eq(seen.lost_sectors, 8);
	cr_expect_eq(seen.n_with_history, 1);
	cr_expect_eq(seen.n_extent, 6);
}

/* Nothing moves data within a bucket: the key was changed. The journal has what it was. */
Test(leaf_history, another_place_in_the_same_bucket_is_no_place)
{
	struct bcfmt_key key = set_kit_dirty(0, 8, 8, ptr_of(11) + (2 << 8));
	uint64_t root = set_kit_node(&kit, nth(0), &key, 1);

	set_kit_tables(&kit);
	key = set_kit_dirty(0, 8, 8, ptr_of(11));
	for (uint32_t i = 0; i < 2; i++) {
		struct set_kit_jset jset = { .ring_index = 1, .sector = i, .seq = i + 1,
					     .root_ptr = root, .keys = &key, .n_keys = !i };

		set_kit_jset(&kit, &jset);
	}
	open_again();
	cr_expect_eq(seen.lost_sectors, 8);
	cr_assert_eq(seen.n_extent, 1);
	cr_expect_eq(seen.extent[0].ptr, ptr_of(11));
}

/* A place that no entry knows: moving gc was there. */
Test(leaf_history, a_moved_extent_is_not_lost)
{
	struct bcfmt_key key = set_kit_dirty(0, 8, 8, set_kit_ptr(&kit, nth(20), 0));
	uint64_t root = set_kit_node(&kit, nth(0), &key, 1);

	set_kit_tables(&kit);
	key = set_kit_dirty(0, 8, 8, set_kit_ptr(&kit, nth(11), 0));
	for (uint32_t i = 0; i < 2; i++) {
		struct set_kit_jset jset = { .ring_index = 1, .sector = i, .seq = i + 1,
					     .root_ptr = root, .keys = &key, .n_keys = !i };

		set_kit_jset(&kit, &jset);
	}
	open_again();
	cr_expect_eq(seen.lost_sectors, 0);
	cr_assert_eq(seen.n_extent, 1);
	cr_expect_eq(bcfmt_ptr_bucket(&kit.set->geo, seen.extent[0].ptr), nth(20));
}

Test(leaf_history, a_damaged_leaf_takes_all_there_is)
{
	uint64_t root = empty_leaf(0);

	set_kit_tables(&kit);
	write_journal(root, 1, 6);
	set_kit_spoil(&kit, nth(0), 3);
	open_again();
	cr_expect_eq(seen.n_with_history, 1);
	cr_expect_eq(seen.n_with_all_history, 1);
	cr_assert_eq(seen.n_extent, 6);
	for (size_t i = 0; i < 6; i++)
		cr_expect_eq(seen.extent[i].source, i < 5 ? BCFMT_FROM_HISTORY : BCFMT_FROM_REPLAY);
	/* Not from the first entry on: more may have been written before. */
	set_kit_zero(&kit, bcfmt_bucket_sector(&kit.geo, kit.geo.first_bucket + 1u), 16);
	write_journal(root, 4, 9);
	open_again();
	cr_expect_eq(seen.n_with_history, 1);
	cr_expect_eq(seen.n_with_all_history, 0);
	cr_expect_eq(seen.n_extent, 6);
}

/* A dirty key that the journal does not have was written before it begins, or not by a kernel. */
Test(leaf_history, a_damaged_leaf_may_know_more_than_the_journal)
{
	struct bcfmt_key keys[] = { set_kit_dirty(0, 16, 4, place_of(2)),
				    set_kit_dirty(0, 500, 8, ptr_of(30)) };
	uint64_t root = ptr_of(0);

	set_kit_tables(&kit);
	write_journal(root, 1, 6);
	for (uint32_t n = 1; n <= 2; n++) {
		uint32_t block = set_kit_bset(&kit, root, 0, 77, keys, n);

		set_kit_bset(&kit, root, block, 77, keys, 1);
		set_kit_spoil(&kit, nth(0), 512ull * block + 40);
		open_again();
		cr_expect_eq(seen.n_with_history, 1);
		cr_expect_eq(seen.n_with_all_history, n == 1);
		cr_expect_eq(seen.n_extent, n == 1 ? 6 : 7);
	}
}

/* A kernel joins keys that go on at each other's place. */
Test(leaf_history, a_key_of_the_leaf_may_be_several_of_the_journal)
{
	struct bcfmt_key joined = set_kit_dirty(0, 16, 16, place_of(2));
	struct bcfmt_key longer = set_kit_dirty(0, 48, 16, place_of(6)); /* there is no entry 7 */
	uint64_t root = ptr_of(0);

	set_kit_tables(&kit);
	write_journal(root, 1, 6);
	for (uint32_t i = 0; i < 2; i++) {
		uint32_t block = set_kit_bset(&kit, root, 0, 77, i ? &longer : &joined, 1);

		set_kit_bset(&kit, root, block, 77, &joined, 1);
		set_kit_spoil(&kit, nth(0), 512ull * block + 40);
		open_again();
		cr_expect_eq(seen.n_with_history, 1);
		cr_expect_eq(seen.n_with_all_history, i == 0);
	}
}

/* Nothing was written before entry 1: what no entry has was never there. */
Test(leaf_history, with_the_whole_life_in_the_ring_nothing_else_was_written)
{
	struct bcfmt_key keys[] = { set_kit_dirty(0, 16, 4, place_of(2)),
				    set_kit_dirty(0, 500, 8, ptr_of(30)),
				    set_kit_clean(0, 600, 8, ptr_of(31)) };
	struct set_kit_jset first = {
		.ring_index = 1, .seq = 1, .root_ptr = ptr_of(0), .prio_bucket = nth(40)
	};
	uint32_t block = set_kit_bset(&kit, ptr_of(0), 0, 77, keys, 3);

	set_kit_bset(&kit, ptr_of(0), block, 77, keys, 1);
	set_kit_spoil(&kit, nth(0), 512ull * block + 40);
	for (uint64_t prio_seq = 2; prio_seq < 4; prio_seq++) {
		kit.prio_seq = prio_seq;
		set_kit_tables(&kit);
		write_journal(ptr_of(0), 1, 6);
		set_kit_jset(&kit, &first);
		open_again();
		cr_expect_eq(seen.n_with_history, 1);
		cr_expect_eq(seen.n_with_all_history, prio_seq == 2);
		cr_expect_eq(seen.n_extent, prio_seq == 2 ? 6 : 7);
	}
}

/* A sound leaf with a key that no kernel puts there, of a set that the ring tells all of. */
Test(leaf_history, a_foreign_key_makes_a_leaf_ask_the_whole_life)
{
	struct bcfmt_key keys[] = { set_kit_dirty(0, 16, 8, place_of(2)),
				    set_kit_dirty(0, 24, 8, place_of(3)) };
	uint64_t wrong[] = { bcfmt_ptr_make(0, 640 * 16, 1), /* behind the last bucket */
			     set_kit_ptr(&kit, nth(0), 4),   /* in the leaf itself */
			     place_of(3) };
	struct set_kit_jset first = { .ring_index = 1,
				      .seq = 1,
				      .root_ptr = ptr_of(0),
				      .prio_bucket = nth(40),
				      .keys = NULL };

	kit.prio_seq = 2;
	set_kit_tables(&kit);
	for (uint32_t i = 0; i < 3; i++) {
		keys[1].ptr = wrong[i];
		set_kit_node(&kit, nth(0), keys, 2);
		write_journal(ptr_of(0), 1, 6);
		set_kit_jset(&kit, &first);
		open_again();
		cr_expect_eq(seen.n_with_history, i < 2);
		cr_expect_eq(seen.n_with_all_history, i < 2);
		cr_assert_eq(seen.n_extent, i < 2 ? 5 : 3);
		cr_expect_eq(seen.extent[1].ptr, place_of(3));
	}
}

Test(leaf_history, who_put_a_sector_there_last)
{
	uint64_t seq;

	set_kit_tables(&kit);
	write_journal(empty_leaf(0), 1, 6);
	open_again();
	for (uint64_t i = 1; i <= 6; i++) {
		cr_assert_eq(tree_put_seq(tree, 0, i * 8 + 7, bcfmt_ptr_sector(place_of(i)) + 7,
					  &seq),
			     BCFMT_OK);
		cr_expect_eq(seq, i);
		cr_assert_eq(tree_put_seq(tree, 0, i * 8 + 7, bcfmt_ptr_sector(place_of(i)) + 6,
					  &seq),
			     BCFMT_OK);
		cr_expect_eq(seq, 0);
	}
	cr_assert_eq(tree_put_seq(tree, 1, 16, bcfmt_ptr_sector(place_of(2)), &seq), BCFMT_OK);
	cr_expect_eq(seq, 0);
}
