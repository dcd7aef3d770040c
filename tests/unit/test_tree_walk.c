/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Walks over made trees: which nodes are followed, with which ranges, and what is told of others. */
#include <criterion/criterion.h>

#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "kit/set_kit.h"
#include "tree_help.h"

static struct set_kit kit;
static struct tree_events seen = { .lock = PTHREAD_MUTEX_INITIALIZER };
static struct bcfmt_tree *tree;
static volatile int cancelled;

static struct bcfmt_tree_visitor visitor;

static void begin(void)
{
	struct set_kit_shape shape = { .threads = 1, .cancelled = &cancelled };

	set_kit_init(&kit, &shape);
	visitor = tree_visitor(&seen);
}

static void end(void)
{
	bcfmt_tree_free(tree);
	set_kit_clear(&kit);
}

TestSuite(tree_walk, .init = begin, .fini = end);

static void forget(void)
{
	tree_forget(&seen);
}

/* Writes tables and entry, opens set and tree. */
static void open_tree(uint64_t root_ptr, uint16_t level)
{
	set_kit_tables(&kit);
	set_kit_first_jset(&kit, root_ptr, level);
	cr_assert_eq(set_kit_open(&kit), BCFMT_OK);
	bcfmt_tree_free(tree);
	tree = NULL;
	forget();
	cr_assert_eq(bcfmt_tree_open(kit.set, &visitor, &tree), BCFMT_OK);
}

static void walk(bool expect_again)
{
	bool again = !expect_again;

	cr_assert_eq(bcfmt_tree_walk_leaves(tree, &visitor, &again), BCFMT_OK);
	cr_assert_eq(again, expect_again);
}

static struct bcfmt_pos pos(uint32_t inode, uint64_t sector)
{
	return (struct bcfmt_pos){ inode, sector };
}

static void expect_ref(size_t i, uint64_t ptr, struct bcfmt_pos lo, struct bcfmt_pos hi)
{
	const struct bcfmt_node_ref *ref = bcfmt_tree_leaf(tree, i);

	cr_expect_eq(ref->ptr, ptr, "leaf %zu", i);
	cr_expect_eq(ref->sectors, ptr ? 16 : 0, "leaf %zu", i);
	cr_expect_eq(bcfmt_pos_cmp(ref->lo, lo), 0, "leaf %zu begins at %u:%llu", i, ref->lo.inode,
		     (unsigned long long)ref->lo.sector);
	cr_expect_eq(bcfmt_pos_cmp(ref->hi, hi), 0, "leaf %zu ends at %u:%llu", i, ref->hi.inode,
		     (unsigned long long)ref->hi.sector);
}

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

/* A leaf with one clean extent [start, start + 8) of inode 0 in bucket nth(data). */
static uint64_t leaf_with(uint64_t i, uint64_t start, uint64_t data)
{
	struct bcfmt_key key = set_kit_clean(0, start, 8, ptr_of(data));

	return set_kit_node(&kit, nth(i), &key, 1);
}

/* ---- trees as they should be ---- */

Test(tree_walk, a_leaf_as_root)
{
	open_tree(leaf_with(0, 100, 1), 0);
	cr_expect_eq(bcfmt_tree_leaves(tree), 1);
	cr_expect_eq(bcfmt_tree_nodes(tree), 1);
	cr_expect_eq(seen.n_node, 0, "leaves are not read yet");
	expect_ref(0, ptr_of(0), pos(0, 0), bcfmt_pos_max());
	cr_expect(bcfmt_tree_leaf(tree, 0)->is_root);
	walk(false);
	cr_expect_eq(seen.n_node, 1);
	cr_assert_eq(seen.n_extent, 1);
	cr_expect_eq(seen.extent[0].start_sector, 100);
	cr_expect_eq(seen.extent[0].stale, 0);
	cr_expect_eq(seen.n_with_history, 0);
	cr_expect_eq(kit.set->buckets[nth(0)].use, BCFMT_USE_NODE);
}

/* Root at level 2 over two nodes over two leaves each. */
static void make_level_2(void)
{
	struct bcfmt_key left[2], right[2], top[2];

	left[0] = set_kit_child(&kit, pos(0, 100), leaf_with(3, 50, 20));
	left[1] = set_kit_child(&kit, pos(0, 200), leaf_with(4, 150, 19));
	right[0] = set_kit_child(&kit, pos(1, 50), leaf_with(5, 250, 18));
	right[1] = set_kit_last_child(&kit, empty_leaf(6));
	top[0] = set_kit_child(&kit, pos(0, 200), set_kit_node(&kit, nth(1), left, 2));
	top[1] = set_kit_last_child(&kit, set_kit_node(&kit, nth(2), right, 2));
	set_kit_node(&kit, nth(0), top, 2);
}

Test(tree_walk, two_levels_above_the_leaves)
{
	make_level_2();
	open_tree(ptr_of(0), 2);
	cr_expect_eq(seen.n_node, 3);
	cr_expect_eq(seen.n_child, 0);
	cr_expect_eq(seen.n_gap, 0);
	cr_expect_eq(bcfmt_tree_leaves(tree), 4);
	cr_expect_eq(bcfmt_tree_nodes(tree), 7);
	expect_ref(0, ptr_of(3), pos(0, 0), pos(0, 100));
	expect_ref(1, ptr_of(4), pos(0, 100), pos(0, 200));
	expect_ref(2, ptr_of(5), pos(0, 200), pos(1, 50));
	expect_ref(3, ptr_of(6), pos(1, 50), bcfmt_pos_max());
	for (size_t i = 0; i < 4; i++) {
		cr_expect_eq(bcfmt_tree_leaf(tree, i)->level, 0);
		cr_expect_not(bcfmt_tree_leaf(tree, i)->is_root);
	}
	walk(false);
	cr_expect_eq(seen.n_leaf, 4);
	cr_expect_eq(seen.n_extent, 3);
	cr_expect_eq(kit.set->buckets[nth(0)].sectors, 3, "level + 1");
}

Test(tree_walk, a_set_can_be_walked_again)
{
	make_level_2();
	open_tree(ptr_of(0), 2);
	walk(false);
	bcfmt_tree_free(tree);
	forget();
	cr_assert_eq(bcfmt_tree_open(kit.set, &visitor, &tree), BCFMT_OK);
	cr_expect_eq(seen.n_child, 0);
	walk(false);
	cr_expect_eq(seen.n_node, 7);
	cr_expect_eq(seen.n_extent, 3);
}

Test(tree_walk, a_range_in_key_order)
{
	make_level_2();
	open_tree(ptr_of(0), 2);
	walk(false);
	forget();
	cr_assert_eq(bcfmt_tree_range(tree, pos(0, 0), bcfmt_pos_max(), &visitor), BCFMT_OK);
	cr_assert_eq(seen.n_extent, 3);
	for (size_t i = 0; i < 3; i++)
		cr_expect_eq(seen.extent[i].start_sector, 50 + 100 * i);
	forget();
	cr_assert_eq(bcfmt_tree_range(tree, pos(0, 100), pos(0, 200), &visitor), BCFMT_OK);
	cr_expect_eq(seen.n_leaf, 1);
	forget();
	cr_assert_eq(bcfmt_tree_range(tree, pos(0, 199), pos(0, 201), &visitor), BCFMT_OK);
	cr_expect_eq(seen.n_leaf, 2);
	forget();
	cr_assert_eq(bcfmt_tree_range(tree, pos(0, 150), pos(0, 150), &visitor), BCFMT_OK);
	cr_expect_leq(seen.n_leaf, 1);
}

static bcfmt_err on_placed(void *arg, const struct bcfmt_extent *extent, uint64_t leaf_ptr)
{
	uint64_t *last_sector = arg;

	cr_assert_gt(bcfmt_ptr_sector(extent->ptr), *last_sector);
	*last_sector = bcfmt_ptr_sector(extent->ptr);
	cr_expect_eq(leaf_ptr, ptr_of(3 + extent->start_sector / 100));
	seen.n_extent++;
	return BCFMT_OK;
}

Test(tree_walk, the_physical_order)
{
	uint64_t last_sector = 0;

	make_level_2();
	open_tree(ptr_of(0), 2);
	walk(false);
	forget();
	cr_assert_eq(bcfmt_tree_physical(tree, pos(0, 0), bcfmt_pos_max(), on_placed, &last_sector),
		     BCFMT_OK);
	cr_expect_eq(seen.n_extent, 3);
	last_sector = 0;
	forget();
	cr_assert_eq(bcfmt_tree_physical(tree, pos(0, 58), pos(0, 251), on_placed, &last_sector),
		     BCFMT_OK);
	cr_expect_eq(seen.n_extent, 2);
}

static bcfmt_err count_lost(void *arg, const struct bcfmt_node_view *view,
			    const struct bcfmt_extent *extents, size_t n_extents)
{
	size_t *n_lost = arg;

	(void)extents;
	*n_lost += view->is_lost_since;
	cr_expect(!view->is_lost_since || !n_extents);
	return BCFMT_OK;
}

/* The disk fails while it is read: what was there in the first walk is missed, not forgotten. */
Test(tree_walk, a_leaf_that_cannot_be_read_again)
{
	struct bcfmt_dev_faults faults = { .fail_read = 1 };
	struct bcfmt_dev *mem, *dying, *healthy;
	struct bcfmt_tree_visitor counter = { .leaf = count_lost };
	uint64_t last_sector = 0;
	size_t n_lost = 0;

	make_level_2();
	open_tree(ptr_of(0), 2);
	walk(false);
	counter.arg = &n_lost;
	cr_assert_eq(bcfmt_tree_range(tree, pos(0, 0), bcfmt_pos_max(), &counter), BCFMT_OK);
	cr_expect_eq(n_lost, 0);
	cr_assert_eq(bcfmt_dev_mem(kit.ctx, "dying", NULL, 1 << 20, &mem), BCFMT_OK);
	cr_assert_eq(bcfmt_dev_faulty(kit.ctx, mem, &faults, &dying), BCFMT_OK);
	healthy = kit.set->cache.dev;
	kit.set->cache.dev = dying;
	cr_assert_eq(bcfmt_tree_range(tree, pos(0, 0), bcfmt_pos_max(), &counter), BCFMT_OK);
	cr_expect_gt(n_lost, 0);
	cr_expect_eq(bcfmt_tree_physical(tree, pos(0, 0), bcfmt_pos_max(), on_placed, &last_sector),
		     BCFMT_E_IO);
	cr_expect_str_not_empty(bcfmt_ctx_fault(kit.ctx));
	kit.set->cache.dev = healthy;
	bcfmt_dev_free(dying);
}

/* After a split the old pointer stays at its key and a tombstone makes it stale. */
Test(tree_walk, a_freed_child_is_not_followed)
{
	struct bcfmt_key first[] = { set_kit_child(&kit, pos(0, 100), empty_leaf(1)),
				     set_kit_last_child(&kit, empty_leaf(2)) };
	struct bcfmt_key second[3];
	uint64_t root = ptr_of(0);
	uint32_t block = set_kit_bset(&kit, root, 0, 77, first, 2);

	second[0] = set_kit_child(&kit, pos(0, 0), ptr_of(1) + 1); /* gen 2 at 0:0 */
	second[1] = set_kit_child(&kit, pos(0, 60), empty_leaf(3));
	second[2] = set_kit_child(&kit, pos(0, 100), empty_leaf(4));
	set_kit_bset(&kit, root, block, 77, second, 3);
	open_tree(root, 1);
	cr_expect_eq(seen.n_child, 0);
	cr_expect_eq(seen.n_gap, 0);
	cr_assert_eq(bcfmt_tree_leaves(tree), 3);
	expect_ref(0, ptr_of(3), pos(0, 0), pos(0, 60));
	expect_ref(1, ptr_of(4), pos(0, 60), pos(0, 100));
	expect_ref(2, ptr_of(2), pos(0, 100), bcfmt_pos_max());
}

/* The tombstone may stand in a node that comes later. */
Test(tree_walk, a_tombstone_counts_on_its_whole_level)
{
	struct bcfmt_key left[] = { set_kit_child(&kit, pos(0, 40), empty_leaf(3)),
				    set_kit_child(&kit, pos(0, 100), empty_leaf(4)) };
	struct bcfmt_key right[] = { set_kit_child(&kit, pos(0, 0), ptr_of(3) + 1),
				     set_kit_last_child(&kit, empty_leaf(5)) };
	struct bcfmt_key top[2];

	top[0] = set_kit_child(&kit, pos(0, 100), set_kit_node(&kit, nth(1), left, 2));
	top[1] = set_kit_last_child(&kit, set_kit_node(&kit, nth(2), right, 2));
	open_tree(set_kit_node(&kit, nth(0), top, 2), 2);
	cr_expect_eq(seen.n_child, 0);
	cr_assert_eq(bcfmt_tree_leaves(tree), 2);
	expect_ref(0, ptr_of(4), pos(0, 0), pos(0, 100));
}

Test(tree_walk, a_child_of_an_older_gen_is_stale)
{
	uint64_t old = empty_leaf(1);
	struct bcfmt_key keys[] = { set_kit_child(&kit, pos(0, 0), old + 1),
				    set_kit_child(&kit, pos(0, 50), old),
				    set_kit_last_child(&kit, empty_leaf(2)) };

	set_kit_node(&kit, nth(0), keys, 3);
	kit.gens[nth(1)] = 4;
	open_tree(ptr_of(0), 1);
	cr_expect_eq(seen.n_child, 0);
	cr_assert_eq(bcfmt_tree_leaves(tree), 1);
	expect_ref(0, ptr_of(2), pos(0, 0), bcfmt_pos_max());
}

/* Then the gen is wrong, or a write to the parent is lost: the neighbour does not reach so far. */
Test(tree_walk, a_stale_child_that_left_no_trace_leaves_its_range_open)
{
	struct bcfmt_key data = set_kit_dirty(0, 8, 8, set_kit_ptr(&kit, nth(5), 0));
	uint64_t old = set_kit_node(&kit, nth(1), &data, 1);
	struct bcfmt_key keys[] = { set_kit_child(&kit, pos(0, 50), old),
				    set_kit_last_child(&kit, empty_leaf(2)) };

	set_kit_node(&kit, nth(0), keys, 2);
	kit.gens[nth(1)] = 4;
	open_tree(ptr_of(0), 1);
	cr_assert_eq(bcfmt_tree_leaves(tree), 2);
	cr_expect_eq(bcfmt_pos_cmp(bcfmt_tree_leaf(tree, 0)->hi, pos(0, 50)), 0);
	cr_expect(bcfmt_tree_leaf(tree, 0)->is_found || !bcfmt_tree_leaf(tree, 0)->sectors);
	expect_ref(1, ptr_of(2), pos(0, 50), bcfmt_pos_max());
}

/* ---- trees as they should not be ---- */

static void expect_child(size_t i, uint64_t ptr, enum bcfmt_child_fault fault)
{
	cr_assert_lt(i, seen.n_child);
	cr_expect_eq(seen.child[i].ptr, ptr, "child %zu", i);
	cr_expect_eq(seen.child[i].fault, fault, "child %zu: %u", i, seen.child[i].fault);
}

/* A root with one child at MAX that is not right, and nothing else. */
static void open_with_child(struct bcfmt_key key)
{
	set_kit_node(&kit, nth(0), &key, 1);
	open_tree(ptr_of(0), 1);
	cr_assert_eq(seen.n_child, 1);
	cr_expect_eq(seen.child[0].parent_ptr, ptr_of(0));
	cr_expect_eq(seen.n_gap, 1);
	cr_assert_eq(bcfmt_tree_leaves(tree), 1);
	expect_ref(0, 0, pos(0, 0), bcfmt_pos_max());
	walk(false);
}

Test(tree_walk, children_that_are_not_followed)
{
	uint64_t past = bcfmt_ptr_make(0, kit.geo.nbuckets * 16, 1);

	open_with_child(set_kit_last_child(&kit, ptr_of(0)));
	expect_child(0, ptr_of(0), BCFMT_CHILD_OTHER_LEVEL);
	open_with_child(set_kit_last_child(&kit, set_kit_ptr(&kit, kit.uuid_bucket, 0)));
	expect_child(0, set_kit_ptr(&kit, kit.uuid_bucket, 0), BCFMT_CHILD_METADATA);
	open_with_child(set_kit_last_child(&kit, set_kit_ptr(&kit, kit.prio_bucket, 0)));
	expect_child(0, set_kit_ptr(&kit, kit.prio_bucket, 0), BCFMT_CHILD_METADATA);
	open_with_child(set_kit_last_child(&kit, set_kit_ptr(&kit, kit.geo.first_bucket, 0)));
	expect_child(0, set_kit_ptr(&kit, kit.geo.first_bucket, 0), BCFMT_CHILD_METADATA);
	open_with_child(set_kit_last_child(&kit, bcfmt_ptr_make(3, nth(1) * 16, 1)));
	expect_child(0, bcfmt_ptr_make(3, nth(1) * 16, 1), BCFMT_CHILD_OTHER_MEMBER);
	open_with_child(set_kit_last_child(&kit, past));
	expect_child(0, past, BCFMT_CHILD_INVALID);
	cr_expect_eq(seen.child[0].key_fault, BCFMT_KEY_PAST_END);
	open_with_child(set_kit_last_child(&kit, bcfmt_ptr_make(0, 0, 1)));
	cr_expect_eq(seen.child[0].key_fault, BCFMT_KEY_SHORT_OFFSET);
	open_with_child(set_kit_last_child(&kit, set_kit_ptr(&kit, nth(1), 1)));
	cr_expect_eq(seen.child[0].key_fault, BCFMT_KEY_LENGTH);
	open_with_child(bcfmt_key_make(BCFMT_KEY_MAX_INODE, BCFMT_KEY_MAX_OFFSET, 16, true, true,
				       ptr_of(1)));
	cr_expect_eq(seen.child[0].key_fault, BCFMT_KEY_DIRTY_NODE);
	open_with_child(bcfmt_key_make(BCFMT_KEY_MAX_INODE, BCFMT_KEY_MAX_OFFSET, 0, false, true,
				       ptr_of(1)));
	cr_expect_eq(seen.child[0].key_fault, BCFMT_KEY_ZERO_SIZE);
	open_with_child(
		bcfmt_key_make(BCFMT_KEY_MAX_INODE, BCFMT_KEY_MAX_OFFSET, 16, false, false, 0));
	cr_expect_eq(seen.child[0].key_fault, BCFMT_KEY_NO_PTR);
	/* A placeholder passes the kernel's tests of a pointer. */
	open_with_child(set_kit_last_child(&kit, bcfmt_ptr_make(BCFMT_PTR_DEV_CHECK, 5, 1)));
	cr_expect_eq(seen.child[0].fault, BCFMT_CHILD_OTHER_MEMBER);
}

/* A kernel looks at every key of an interior node, those of freed children included. */
Test(tree_walk, impossible_pointers_are_told_even_if_stale)
{
	struct bcfmt_key keys[] = {
		bcfmt_key_make(0, 0, 0, false, true, ptr_of(5)),
		set_kit_child(&kit, pos(0, 50), set_kit_ptr(&kit, nth(4), 1) - 1),
		set_kit_last_child(&kit, empty_leaf(1)),
	};

	open_tree(set_kit_node(&kit, nth(0), keys, 3), 1);
	cr_assert_eq(seen.n_child, 2);
	expect_child(0, ptr_of(5), BCFMT_CHILD_INVALID);
	cr_expect_eq(seen.child[0].key_fault, BCFMT_KEY_ZERO_SIZE);
	expect_child(1, keys[1].ptr, BCFMT_CHILD_INVALID);
	cr_expect_eq(seen.child[1].key_fault, BCFMT_KEY_LENGTH);
	expect_ref(0, 0, pos(0, 0), pos(0, 50));
	expect_ref(1, ptr_of(1), pos(0, 50), bcfmt_pos_max());
}

Test(tree_walk, one_leaf_under_two_keys)
{
	uint64_t leaf = empty_leaf(1);
	struct bcfmt_key keys[] = { set_kit_child(&kit, pos(0, 50), leaf),
				    set_kit_child(&kit, pos(0, 80), leaf),
				    set_kit_last_child(&kit, empty_leaf(2)) };

	open_tree(set_kit_node(&kit, nth(0), keys, 3), 1);
	cr_assert_eq(seen.n_child, 1);
	expect_child(0, leaf, BCFMT_CHILD_SEEN);
	cr_assert_eq(bcfmt_tree_leaves(tree), 3);
	expect_ref(0, leaf, pos(0, 0), pos(0, 50));
	expect_ref(1, 0, pos(0, 50), pos(0, 80));
	expect_ref(2, ptr_of(2), pos(0, 80), bcfmt_pos_max());
}

Test(tree_walk, two_nodes_in_one_bucket)
{
	struct bcfmt_key keys[] = { bcfmt_key_make(0, 50, 8, false, true, ptr_of(1)),
				    bcfmt_key_make(0, 80, 8, false, true,
						   set_kit_ptr(&kit, nth(1), 8)),
				    set_kit_last_child(&kit, empty_leaf(2)) };

	set_kit_bset(&kit, ptr_of(1), 0, 5, NULL, 0);
	set_kit_bset(&kit, set_kit_ptr(&kit, nth(1), 8), 0, 5, NULL, 0);
	open_tree(set_kit_node(&kit, nth(0), keys, 3), 1);
	cr_assert_eq(seen.n_child, 1);
	expect_child(0, set_kit_ptr(&kit, nth(1), 8), BCFMT_CHILD_SEEN);
}

Test(tree_walk, of_two_live_pointers_at_one_key_the_newer_is_followed)
{
	struct bcfmt_key first[] = { set_kit_child(&kit, pos(0, 50), empty_leaf(1)),
				     set_kit_last_child(&kit, empty_leaf(2)) };
	struct bcfmt_key second[] = { set_kit_child(&kit, pos(0, 50), empty_leaf(3)) };
	uint64_t root = ptr_of(0);

	set_kit_bset(&kit, root, set_kit_bset(&kit, root, 0, 77, first, 2), 77, second, 1);
	open_tree(root, 1);
	cr_assert_eq(seen.n_child, 1);
	expect_child(0, ptr_of(1), BCFMT_CHILD_DUPLICATE);
	cr_assert_eq(bcfmt_tree_leaves(tree), 2);
	expect_ref(0, ptr_of(3), pos(0, 0), pos(0, 50));
}

Test(tree_walk, a_child_beyond_its_parent_is_cut)
{
	struct bcfmt_key left[] = { set_kit_child(&kit, pos(0, 900), empty_leaf(3)) };
	struct bcfmt_key right[] = { set_kit_child(&kit, pos(0, 70), empty_leaf(4)),
				     set_kit_last_child(&kit, empty_leaf(5)) };
	struct bcfmt_key top[2];

	top[0] = set_kit_child(&kit, pos(0, 100), set_kit_node(&kit, nth(1), left, 1));
	top[1] = set_kit_last_child(&kit, set_kit_node(&kit, nth(2), right, 2));
	open_tree(set_kit_node(&kit, nth(0), top, 2), 2);
	cr_assert_eq(bcfmt_tree_leaves(tree), 2);
	expect_ref(0, ptr_of(3), pos(0, 0), pos(0, 100));
	expect_ref(1, ptr_of(5), pos(0, 100), bcfmt_pos_max());
	cr_assert_eq(seen.n_child, 1);
	expect_child(0, ptr_of(4), BCFMT_CHILD_DUPLICATE);
}

Test(tree_walk, ranges_that_no_child_covers)
{
	struct bcfmt_key left[] = { set_kit_child(&kit, pos(0, 60), empty_leaf(3)) };
	struct bcfmt_key top[2];

	top[0] = set_kit_child(&kit, pos(0, 100), set_kit_node(&kit, nth(1), left, 1));
	top[1] = set_kit_last_child(&kit, set_kit_node(&kit, nth(2), NULL, 0));
	open_tree(set_kit_node(&kit, nth(0), top, 2), 2);
	cr_assert_eq(seen.n_gap, 2);
	cr_expect_eq(bcfmt_pos_cmp(seen.gap[0].lo, pos(0, 60)), 0);
	cr_expect_eq(bcfmt_pos_cmp(seen.gap[0].hi, pos(0, 100)), 0);
	cr_expect_eq(seen.gap[0].parent_ptr, ptr_of(1));
	cr_expect_eq(bcfmt_pos_cmp(seen.gap[1].lo, pos(0, 100)), 0);
	cr_expect_eq(bcfmt_pos_cmp(seen.gap[1].hi, bcfmt_pos_max()), 0);
	cr_assert_eq(bcfmt_tree_leaves(tree), 3);
	cr_expect_eq(bcfmt_tree_nodes(tree), 4);
	expect_ref(1, 0, pos(0, 60), pos(0, 100));
	walk(false);
	cr_expect_eq(seen.n_leaf, 3);
	cr_expect_eq(seen.n_with_history, 2, "what has no leaf is taken from the journal");
}

Test(tree_walk, a_gap_high_up_is_told_once)
{
	open_tree(set_kit_node(&kit, nth(0), NULL, 0), 3);
	cr_expect_eq(seen.n_gap, 1);
	cr_assert_eq(bcfmt_tree_leaves(tree), 1);
	cr_expect_eq(bcfmt_tree_leaf(tree, 0)->level, 0);
}

Test(tree_walk, the_journal_speaks_where_no_leaf_does)
{
	struct bcfmt_key key = set_kit_dirty(0, 100, 8, ptr_of(9));
	struct set_kit_jset jset = { .ring_index = 1, .seq = 1, .keys = &key, .n_keys = 1 };

	set_kit_tables(&kit);
	jset.root_ptr = bcfmt_ptr_make(0, 0, 1); /* no root that could be read */
	set_kit_jset(&kit, &jset);
	cr_assert_eq(set_kit_open(&kit), BCFMT_OK);
	cr_assert_eq(bcfmt_tree_open(kit.set, &visitor, &tree), BCFMT_OK);
	cr_assert_eq(seen.n_child, 1);
	cr_expect_eq(seen.child[0].parent_ptr, 0);
	cr_expect_eq(seen.child[0].fault, BCFMT_CHILD_INVALID);
	cr_expect_eq(seen.n_gap, 0);
	walk(false);
	cr_assert_eq(seen.n_extent, 1);
	cr_expect(seen.extent[0].is_dirty);
	cr_expect_eq(seen.extent[0].source, BCFMT_FROM_REPLAY);
}

Test(tree_walk, a_damaged_interior_node_is_a_gap_and_a_damaged_leaf_is_no_end)
{
	struct bcfmt_key left[] = { set_kit_child(&kit, pos(0, 100), empty_leaf(3)) };
	struct bcfmt_key top[2];

	top[0] = set_kit_child(&kit, pos(0, 100), set_kit_node(&kit, nth(1), left, 1));
	top[1] = set_kit_last_child(&kit, empty_leaf(2));
	set_kit_node(&kit, nth(0), top, 2);
	set_kit_spoil(&kit, nth(1), 40);
	set_kit_spoil(&kit, nth(2), 4); /* its checksum, as an interior node */
	open_tree(ptr_of(0), 2);
	cr_expect_eq(seen.n_node, 3);
	cr_expect_eq(seen.n_gap, 2);
	walk(false);
	cr_expect_eq(seen.n_with_history, 2);
	open_tree(ptr_of(2), 0);
	walk(false);
	cr_expect_eq(seen.n_node, 1);
	cr_expect_eq(seen.n_with_history, 1);
}

Test(tree_walk, levels_without_end_end)
{
	struct bcfmt_key self = set_kit_last_child(&kit, ptr_of(0));

	set_kit_node(&kit, nth(0), &self, 1);
	open_tree(ptr_of(0), 255);
	cr_expect_eq(seen.n_node, 1);
	cr_expect_eq(seen.n_child, 1);
	cr_expect_eq(bcfmt_tree_leaves(tree), 1);
	/* Every node the child of the one before: as deep as there are buckets. */
	for (uint64_t i = 0; i < 255; i++) {
		struct bcfmt_key next = set_kit_last_child(&kit, ptr_of(i + 1));

		set_kit_node(&kit, nth(i), &next, 1);
	}
	empty_leaf(255);
	open_tree(ptr_of(0), 255);
	cr_expect_eq(seen.n_node, 255);
	cr_expect_eq(bcfmt_tree_nodes(tree), 256);
	expect_ref(0, ptr_of(255), pos(0, 0), bcfmt_pos_max());
}

Test(tree_walk, without_a_superblock_there_is_no_tree)
{
	cr_assert_eq(set_kit_open(&kit), BCFMT_OK);
	cr_assert_eq(bcfmt_tree_open(kit.set, NULL, &tree), BCFMT_E_DAMAGED);
	cr_expect_null(tree);
	cr_expect(strstr(bcfmt_ctx_fault(kit.ctx), "no usable cache superblock"));
}

Test(tree_walk, without_an_entry_the_tree_is_one_gap)
{
	bool again;

	set_kit_tables(&kit);
	cr_assert_eq(set_kit_open(&kit), BCFMT_OK);
	cr_assert_eq(bcfmt_tree_open(kit.set, NULL, &tree), BCFMT_OK);
	cr_expect_eq(bcfmt_tree_nodes(tree), 0);
	cr_assert_eq(bcfmt_tree_walk_leaves(tree, &visitor, &again), BCFMT_OK);
	cr_expect_not(again);
	cr_expect_eq(seen.n_extent, 0);
}

/* ---- generations ---- */

/* Two leaves; the second in the order of the device knows a higher gen of the bucket of both. */
static void make_late_gen(unsigned int gen_behind)
{
	struct bcfmt_key early = set_kit_clean(0, 10, 8, ptr_of(9));
	struct bcfmt_key late = set_kit_clean(0, 60, 8, set_kit_ptr(&kit, nth(9), 8) + gen_behind);
	struct bcfmt_key top[2];

	top[0] = set_kit_child(&kit, pos(0, 50), set_kit_node(&kit, nth(1), &early, 1));
	top[1] = set_kit_last_child(&kit, set_kit_node(&kit, nth(2), &late, 1));
	open_tree(set_kit_node(&kit, nth(0), top, 2), 1);
}

static uint8_t stale_at(uint64_t start_sector)
{
	for (size_t i = 0; i < seen.n_extent; i++)
		if (seen.extent[i].start_sector == start_sector)
			return seen.extent[i].stale;
	return 255;
}

Test(tree_walk, a_gen_that_rises_late_needs_a_second_walk)
{
	make_late_gen(3);
	walk(true);
	forget();
	walk(false);
	cr_expect_eq(stale_at(10), 3);
	cr_expect_eq(stale_at(60), 0);
	forget();
	cr_assert_eq(bcfmt_tree_range(tree, pos(0, 0), bcfmt_pos_max(), &visitor), BCFMT_OK);
	cr_expect_eq(stale_at(10), 3);
}

Test(tree_walk, a_gen_that_does_not_rise_needs_none)
{
	make_late_gen(0);
	walk(false);
	cr_expect_eq(stale_at(10), 0);
}

/* Overwritten keys existed too: their gens count. */
Test(tree_walk, an_overwritten_key_raises_gens)
{
	struct bcfmt_key old[] = { set_kit_clean(0, 10, 8, ptr_of(9) + 2),
				   set_kit_clean(0, 60, 8, ptr_of(9)) };
	struct bcfmt_key hole = set_kit_hole(0, 10, 8);
	uint64_t root = ptr_of(0);

	set_kit_bset(&kit, root, set_kit_bset(&kit, root, 0, 77, old, 2), 77, &hole, 1);
	open_tree(root, 0);
	walk(false);
	cr_assert_eq(seen.n_extent, 1);
	cr_expect_eq(seen.extent[0].stale, 2);
}

Test(tree_walk, a_key_into_metadata_raises_no_gen)
{
	struct bcfmt_key keys[] = {
		set_kit_clean(0, 10, 8, ptr_of(0) + 5),
		set_kit_clean(0, 20, 8, set_kit_ptr(&kit, kit.uuid_bucket, 0) + 5),
	};

	open_tree(set_kit_node(&kit, nth(0), keys, 2), 0);
	walk(false);
	cr_expect_eq(bcfmt_set_stale(kit.set, ptr_of(0)), 0);
	cr_expect_eq(kit.set->buckets[kit.uuid_bucket].gen, 1);
}

/* Pointers all around the circle: every one of them is ahead of another. */
Test(tree_walk, gens_that_chase_each_other_come_to_rest, .timeout = 20)
{
	struct bcfmt_key keys[6];
	bool again = true;

	for (uint32_t i = 0; i < 6; i++)
		keys[i] = set_kit_clean(0, i * 8, 8, (ptr_of(9) & ~0xffull) | (i * 85 % 256));
	open_tree(set_kit_node(&kit, nth(0), keys, 6), 0);
	for (unsigned int i = 0; i < 2 && again; i++)
		cr_assert_eq(bcfmt_tree_walk_leaves(tree, &visitor, &again), BCFMT_OK);
	cr_expect_not(again);
	set_kit_spoil(&kit, kit.prio_bucket, 500);
	cr_assert_eq(set_kit_open(&kit), BCFMT_OK);
	bcfmt_tree_free(tree);
	cr_assert_eq(bcfmt_tree_open(kit.set, &visitor, &tree), BCFMT_OK);
	again = true;
	for (unsigned int i = 0; i < 2 && again; i++)
		cr_assert_eq(bcfmt_tree_walk_leaves(tree, &visitor, &again), BCFMT_OK);
	cr_expect_not(again);
}

/* ---- stops ---- */

Test(tree_walk, what_a_visitor_returns_stops_it)
{
	bool again;

	make_level_2();
	open_tree(ptr_of(0), 2);
	forget();
	seen.fail_with = BCFMT_E_SYSTEM;
	seen.fail_at_node = 2;
	cr_expect_eq(bcfmt_tree_walk_leaves(tree, &visitor, &again), BCFMT_E_SYSTEM);
	cr_expect_not(again);
	cr_expect_eq(seen.n_node, 2);
	forget();
	cr_expect_eq(bcfmt_tree_range(tree, pos(0, 0), bcfmt_pos_max(), &visitor), BCFMT_E_SYSTEM);
	bcfmt_tree_free(tree);
	forget();
	cr_expect_eq(bcfmt_tree_open(kit.set, &visitor, &tree), BCFMT_E_SYSTEM);
	cr_expect_null(tree);
}

Test(tree_walk, a_cancelled_context_stops_it)
{
	bool again;

	make_level_2();
	open_tree(ptr_of(0), 2);
	forget();
	seen.cancel_at_leaf = &cancelled;
	cr_expect_eq(bcfmt_tree_range(tree, pos(0, 0), bcfmt_pos_max(), &visitor),
		     BCFMT_E_CANCELLED);
	cr_expect_eq(seen.n_leaf, 1);
	cr_expect_eq(bcfmt_tree_walk_leaves(tree, &visitor, &again), BCFMT_E_CANCELLED);
	bcfmt_tree_free(tree);
	cr_expect_eq(bcfmt_tree_open(kit.set, &visitor, &tree), BCFMT_E_CANCELLED);
	cr_expect_null(tree);
}
