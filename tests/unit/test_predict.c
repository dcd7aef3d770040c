/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What a kernel is foretold to do with made sets, stage by stage. The rules and lines were seen in
 * kernels 6.1 and 6.12 too: tests/kernel.
 */
#include "predict_help.h"

TestSuite(predict, .init = begin, .fini = end);

/* A leaf as the root, and one entry. */
static void make_plain(void)
{
	struct bcfmt_key keys[] = { set_kit_dirty(0, 16, 8, ptr_of(10)) };

	set_kit_backing(&kit, 0, BCFMT_BDEV_DIRTY, 4096);
	set_kit_tables(&kit);
	set_kit_first_jset(&kit, leaf_of(0, keys, 1), 0);
}

static void check_full(void)
{
	check(BCFMT_LEVEL_FULL);
}

/* ---- what is in order ---- */

Test(predict, a_set_in_order_registers)
{
	make_plain();
	check_for(BCFMT_LEVEL_FULL, 0);
	cr_expect_eq(result.verdict.n_predictions, 6, "two devices, three series");
	for (size_t i = 0; i < result.verdict.n_predictions; i++) {
		const struct bcfmt_prediction *prediction = &result.verdict.predictions[i];

		expect_told(prediction, BIT(REGISTERS), BCFMT_STAGE_RUNNING, NULL);
		cr_expect_eq(prediction->registers, BCFMT_REGISTERS_YES);
		cr_expect_eq(prediction->outcome, BCFMT_OUTCOME_REGISTERS);
		cr_expect_eq(prediction->n_effects, 0);
		cr_expect_eq(prediction->page_bytes, 4096);
	}
	cr_expect_eq(result.verdict.predictions[0].kernel, 6001);
	cr_expect_eq(result.verdict.predictions[1].kernel, 6012);
	cr_expect_eq(result.verdict.predictions[2].kernel, 6019);
}

Test(predict, level_quick_proves_refusals_only)
{
	make_plain();
	check_for(BCFMT_LEVEL_QUICK, 6001);
	expect_told(cache_prediction(), BIT(REGISTERS), BCFMT_STAGE_RUNNING, NULL);
	set_kit_first_jset(&kit, two_leaves(NULL, 0), 1);
	check_for(BCFMT_LEVEL_QUICK, 6001);
	expect_told(cache_prediction(), BIT(REGISTERS) | BIT(UNKNOWN), BCFMT_STAGE_TREE, NULL);
	cr_expect_eq(cache_prediction()->registers, BCFMT_REGISTERS_UNKNOWN);
	set_kit_spoil(&kit, kit.prio_bucket, 100);
	check_for(BCFMT_LEVEL_QUICK, 6001);
	expect_told(cache_prediction(), BIT(STOPS_SET), BCFMT_STAGE_PRIOS,
		    "bad csum reading priorities", NULL);
	cr_expect_eq(cache_prediction()->registers, BCFMT_REGISTERS_NO);
}

Test(predict, a_fresh_cache_is_made_anew)
{
	make_plain();
	kit.super.flags = 0;
	set_kit_tables(&kit);
	set_kit_spoil(&kit, kit.prio_bucket, 100);
	check_full();
	expect_told(cache_prediction(), BIT(REGISTERS), BCFMT_STAGE_RUNNING, NULL);
	cr_expect(
		has_effect(cache_prediction(), BCFMT_EFFECT_LOSES_WRITES, BCFMT_P_SUPER_NOT_SYNC));
	/* It knows no device any more, and this one says that it is dirty. */
	expect_told(backing_prediction(0), BIT(WAITS), BCFMT_STAGE_ATTACH,
		    "Couldn't find uuid for %pg in set", NULL);
}

/* ---- stage after stage ---- */

Test(predict, an_empty_ring)
{
	make_plain();
	set_kit_zero(&kit, bcfmt_bucket_sector(&kit.geo, kit.geo.first_bucket),
		     kit.geo.journal_buckets * kit.geo.bucket_sectors);
	check_full();
	expect_told(cache_prediction(), BIT(STOPS_SET), BCFMT_STAGE_JOURNAL,
		    "no journal entries found", NULL);
	expect_told(backing_prediction(0), BIT(WAITS), BCFMT_STAGE_ATTACH, NULL);
}

Test(predict, the_first_stage_that_fails_is_told)
{
	uint8_t raw[4096];
	struct bcfmt_jset jset;

	make_plain();
	/* Root and uuid table are wrong too, but a kernel does not get there. */
	jset = first_jset(raw);
	jset.btree_root.high |= 1ull << 36;
	jset.uuid_bucket.ptr = bcfmt_ptr_make(0, 1u << 30, 1);
	put_first_jset(&jset, raw);
	check_full();
	expect_told(
		cache_prediction(), BIT(STOPS_SET), BCFMT_STAGE_ROOT_PTR,
		line("spotted btree ptr 1048575:9223372036854775791 len 16 -> [0:%u gen 1] dirty: ",
		     bucket_of(0) * 16),
		NULL);
	set_kit_spoil(&kit, kit.prio_bucket, 100);
	check_full();
	expect_told(cache_prediction(), BIT(STOPS_SET), BCFMT_STAGE_PRIOS,
		    "bad csum reading priorities", NULL);
	cr_assert_eq(cache_prediction()->n_follow_lines, 3);
	cr_expect_str_eq(cache_prediction()->follow_lines[0], "IO error reading priorities");
}

Test(predict, prio_buckets_are_not_checked_but_read)
{
	uint64_t beyond = kit.geo.nbuckets * 2;
	uint8_t raw[4096];
	struct bcfmt_jset jset;

	make_plain();
	jset = first_jset(raw);
	jset.prio_bucket[0] = beyond;
	put_first_jset(&jset, raw);
	check_full();
	expect_told(cache_prediction(), BIT(STOPS_SET), BCFMT_STAGE_PRIOS, "accessing priorities",
		    NULL);
	jset.prio_bucket[0] = kit.geo.first_bucket;
	put_first_jset(&jset, raw);
	check_full();
	expect_told(cache_prediction(), BIT(STOPS_SET), BCFMT_STAGE_PRIOS,
		    "bad csum reading priorities", NULL);
	/* By the product of 64 bits this is the chain. */
	jset.prio_bucket[0] = kit.prio_bucket | 1ull << (64 - kit.geo.bucket_shift);
	put_first_jset(&jset, raw);
	check_full();
	expect_told(cache_prediction(), BIT(REGISTERS), BCFMT_STAGE_RUNNING, NULL);
}

/* A prio set that another machine wrote, with another size. */
Test(predict, prios_count_in_the_layout_of_the_kernel)
{
	struct set_kit_shape shape = { .bucket_sectors = 16384,
				       .page_bytes = 16384,
				       .nbuckets = 640 };

	set_kit_clear(&kit);
	set_kit_init(&kit, &shape);
	make_plain();
	check_full();
	cr_expect_eq(SET_KIT_TOTAL(&result, PRIO_OTHER_PAGES), 1);
	expect_told(cache_prediction(), BIT(STOPS_SET), BCFMT_STAGE_PRIOS,
		    "bad csum reading priorities", NULL);
}

Test(predict, a_root_that_is_damaged)
{
	make_plain();
	set_kit_spoil(&kit, nth(0), 40);
	check_full();
	expect_told(cache_prediction(), BIT(STOPS_SET), BCFMT_STAGE_ROOT,
		    line("bad checksum at bucket %u, block 0, 3 keys", bucket_of(0)), NULL);
	set_kit_zero(&kit, bcfmt_bucket_sector(&kit.geo, nth(0)), 16);
	check_full();
	expect_told(cache_prediction(), BIT(STOPS_SET), BCFMT_STAGE_ROOT,
		    line("bad btree header at bucket %u, block 0, 0 keys", bucket_of(0)), NULL);
}

Test(predict, a_uuid_pointer_that_is_impossible)
{
	uint8_t raw[4096];
	struct bcfmt_jset jset;

	make_plain();
	jset = first_jset(raw);
	jset.uuid_bucket.ptr = bcfmt_ptr_make(0, 1u << 30, 1);
	put_first_jset(&jset, raw);
	check_full();
	expect_told(cache_prediction(), BIT(STOPS_SET), BCFMT_STAGE_UUIDS,
		    "spotted btree ptr 0:18446744073709551600 len 16 -> [0:1073741824 gen 1]: bad, "
		    "offset past end of device",
		    NULL);
}

/* The status goes by the generations on the disk, before the tree was gone through. */
Test(predict, a_pointer_that_is_impossible_and_stale)
{
	uint8_t raw[4096];
	struct bcfmt_jset jset;

	make_plain();
	kit.gens[nth(0)] = 5;
	set_kit_tables(&kit);
	jset = first_jset(raw);
	jset.btree_root.high |= 1ull << 36;
	put_first_jset(&jset, raw);
	check_full();
	expect_told(
		cache_prediction(), BIT(STOPS_SET), BCFMT_STAGE_ROOT_PTR,
		line("spotted btree ptr 1048575:9223372036854775791 len 16 -> [0:%u gen 1] dirty: "
		     "stale",
		     bucket_of(0) * 16),
		NULL);
}

/* ---- the tree ---- */

Test(predict, any_of_two_leaves_can_be_first)
{
	check_tree(two_leaves(NULL, 0), 1);
	set_kit_spoil(&kit, nth(1), 4);
	set_kit_zero(&kit, bcfmt_bucket_sector(&kit.geo, nth(2)), 16);
	check_full();
	expect_told(cache_prediction(), BIT(STOPS_SET), BCFMT_STAGE_TREE,
		    line("bad checksum at bucket %u, block 0, 0 keys", bucket_of(1)),
		    line("bad btree header at bucket %u, block 0, 0 keys", bucket_of(2)), NULL);
}

/* Below a node that fails no other is read, although the check does. */
Test(predict, nodes_below_a_failing_one_are_not_met)
{
	struct bcfmt_key low[] = { set_kit_child(&kit, pos(0, 1000), leaf_of(2, NULL, 0)) };
	struct bcfmt_key high[] = { set_kit_last_child(&kit, leaf_of(4, NULL, 0)) };
	struct bcfmt_key top[2];
	uint64_t root;

	top[0] = set_kit_child(&kit, pos(0, 1000), set_kit_node(&kit, nth(1), low, 1));
	top[1] = set_kit_last_child(&kit, set_kit_node(&kit, nth(3), high, 1));
	root = set_kit_node(&kit, nth(0), top, 2);
	/* A second bset that is torn: the first still leads to the leaf. */
	set_kit_bset(&kit, set_kit_ptr(&kit, nth(1), 0), 1, 77, low, 1);
	check_tree(root, 2);
	set_kit_zero(&kit, bcfmt_bucket_sector(&kit.geo, nth(2)), 16);
	check_full();
	expect_told(cache_prediction(), BIT(STOPS_SET), BCFMT_STAGE_TREE,
		    line("bad btree header at bucket %u, block 0, 0 keys", bucket_of(2)), NULL);
	set_kit_spoil(&kit, nth(1), 4);
	check_full();
	expect_told(cache_prediction(), BIT(STOPS_SET), BCFMT_STAGE_TREE,
		    line("bad checksum at bucket %u, block 0, 3 keys", bucket_of(1)), NULL);
	set_kit_spoil(&kit, nth(4), 4);
	check_full();
	expect_told(cache_prediction(), BIT(STOPS_SET), BCFMT_STAGE_TREE,
		    line("bad checksum at bucket %u, block 0, 3 keys", bucket_of(1)),
		    line("bad checksum at bucket %u, block 0, 0 keys", bucket_of(4)), NULL);
}

/* More nodes than lines are kept for: then the line without numbers stands for all. */
Test(predict, many_leaves_are_one_pattern)
{
	struct bcfmt_key top[40];

	for (uint32_t i = 0; i < 40; i++)
		top[i] = set_kit_child(&kit, pos(0, (i + 1) * 100), leaf_of(i + 1, NULL, 0));
	top[39] = set_kit_last_child(&kit, ptr_of(40));
	check_tree(set_kit_node(&kit, nth(0), top, 40), 1);
	for (uint32_t i = 0; i < 40; i++)
		set_kit_spoil(&kit, nth(i + 1), 4);
	check_full();
	cr_expect_eq(cache_prediction()->outcomes, BIT(STOPS_SET));
	cr_expect_eq(cache_prediction()->n_first_lines, 17);
	cr_expect_str_eq(cache_prediction()->first_lines[16],
			 "bad checksum at bucket %zu, block %u, %u keys");
}

Test(predict, a_root_without_children)
{
	struct bcfmt_key gone = bcfmt_key_make(0, 0, 16, false, true, ptr_of(3));

	check_tree(set_kit_node(&kit, nth(0), &gone, 1), 1);
	expect_told(cache_prediction(), BIT(OOPS), BCFMT_STAGE_TREE,
		    "kernel BUG at drivers/md/bcache/btree.c:%i!", NULL);
}

/* A child in a bucket of the journal: the check does not go there, a kernel does. */
Test(predict, a_child_that_the_check_does_not_follow)
{
	struct bcfmt_key top[2];

	top[0] = set_kit_child(&kit, pos(0, 1000), set_kit_ptr(&kit, kit.geo.first_bucket + 1u, 0));
	top[1] = set_kit_last_child(&kit, leaf_of(1, NULL, 0));
	check_tree(set_kit_node(&kit, nth(0), top, 2), 1);
	cr_expect_eq(SET_KIT_TOTAL(&result, NODE_IN_METADATA), 1);
	expect_told(cache_prediction(), BIT(STOPS_SET), BCFMT_STAGE_TREE,
		    line("bad magic at bucket %u, block 0, 0 keys",
			 (unsigned int)kit.geo.first_bucket + 1),
		    NULL);
}

Test(predict, the_root_is_its_own_child)
{
	uint64_t root = ptr_of(0);
	struct bcfmt_key top = set_kit_last_child(&kit, root);

	check_tree(set_kit_node(&kit, nth(0), &top, 1), 2);
	expect_told(cache_prediction(), BIT(OOPS), BCFMT_STAGE_TREE,
		    "kernel BUG at drivers/md/bcache/btree.c:%i!", NULL);
	/* Taken for a leaf it is locked twice, and nothing is said. */
	check_tree(root, 1);
	expect_told(cache_prediction(), BIT(HANGS), BCFMT_STAGE_TREE, NULL);
}

/* ---- keys ---- */

/*
 * The error is not handed on, and the allocator that starts all the same gets no bucket. Where
 * there are hardly any buckets it may not come that far.
 */
Test(predict, an_impossible_extent_in_the_root_crashes)
{
	struct set_kit_shape shape = { .nbuckets = 530 };
	struct bcfmt_key keys[] = { set_kit_dirty(0, 16, 8, bcfmt_ptr_make(0, 1u << 30, 1)) };
	static const char told[] = "spotted extent 0:16 len 8 -> [0:1073741824 gen 1] dirty: bad, "
				   "offset past end of device";

	set_kit_backing(&kit, 0, BCFMT_BDEV_DIRTY, 4096);
	check_tree(leaf_of(0, keys, 1), 0);
	expect_told(cache_prediction(), BIT(STOPS_SET) | BIT(OOPS), BCFMT_STAGE_ROOT, told, NULL);
	expect_told(backing_prediction(0), BIT(WAITS) | BIT(HANGS), BCFMT_STAGE_ATTACH, NULL);
	set_kit_result_clear(&result);
	set_kit_clear(&kit);
	set_kit_init(&kit, &shape);
	check_tree(leaf_of(0, keys, 1), 0);
	expect_told(cache_prediction(), BIT(STOPS_SET) | BIT(OOPS), BCFMT_STAGE_ROOT, told, NULL);
	cr_expect_eq(cache_prediction()->outcome, BCFMT_OUTCOME_STOPS_SET);
}

/* What a newer bset covers is never looked at, and what it leaves is told as it is left. */
Test(predict, only_what_comes_out_of_the_merge_is_judged)
{
	uint64_t bad = bcfmt_ptr_make(0, 1u << 30, 1);
	struct bcfmt_key old[] = { set_kit_dirty(0, 16, 8, bad) };
	struct bcfmt_key cover[] = { set_kit_dirty(0, 16, 8, ptr_of(10)) };
	struct bcfmt_key part[] = { set_kit_dirty(0, 12, 8, ptr_of(10)) };
	uint32_t block = set_kit_bset(&kit, ptr_of(0), 0, 77, old, 1);

	set_kit_bset(&kit, ptr_of(0), block, 77, cover, 1);
	check_tree(ptr_of(0), 0);
	cr_expect_eq(SET_KIT_TOTAL(&result, EXTENT_INVALID), 1);
	expect_told(cache_prediction(), BIT(REGISTERS), BCFMT_STAGE_RUNNING, NULL);
	set_kit_bset(&kit, ptr_of(0), block, 77, part, 1);
	check_full();
	expect_told(cache_prediction(), BIT(STOPS_SET) | BIT(OOPS), BCFMT_STAGE_ROOT,
		    "spotted extent 0:20 len 4 -> [0:1073741828 gen 1] dirty: bad, offset past end "
		    "of device",
		    NULL);
}

Test(predict, an_extent_before_the_start_of_its_volume)
{
	struct bcfmt_key keys[] = { bcfmt_key_make(0, 4, 8, false, true, ptr_of(10)) };

	check_tree(leaf_of(0, keys, 1), 0);
	expect_told(cache_prediction(), BIT(STOPS_SET) | BIT(OOPS), BCFMT_STAGE_ROOT,
		    line("spotted extent 0:18446744073709551612 len 8 -> [0:%u gen 1]: ",
			 bucket_of(10) * 16),
		    NULL);
}

/* The root's pointers are marked first, so it is always the extent that is inconsistent. */
Test(predict, an_extent_in_the_bucket_of_a_node)
{
	struct bcfmt_key keys[] = { set_kit_dirty(0, 16, 8, ptr_of(2)) };

	check_tree(two_leaves(keys, 1), 1);
	expect_told(cache_prediction(), BIT(STOPS_SET) | BIT(OOPS), BCFMT_STAGE_TREE,
		    "inconsistent ptrs: mark = 3, level = 0", NULL);
}

Test(predict, an_extent_in_the_bucket_of_its_own_root)
{
	struct bcfmt_key keys[] = { set_kit_dirty(0, 16, 4, set_kit_ptr(&kit, nth(0), 8)) };

	check_tree(leaf_of(0, keys, 1), 0);
	expect_told(cache_prediction(), BIT(STOPS_SET) | BIT(OOPS), BCFMT_STAGE_TREE,
		    "inconsistent ptrs: mark = 2, level = 1", NULL);
}

/* Of two nodes further down either can be met first. */
Test(predict, an_extent_in_the_bucket_of_a_deeper_node)
{
	struct bcfmt_key data[] = { set_kit_clean(0, 16, 8, ptr_of(4)) };
	struct bcfmt_key low[] = { set_kit_child(&kit, pos(0, 1000), leaf_of(2, data, 1)) };
	struct bcfmt_key high[] = { set_kit_last_child(&kit, leaf_of(4, NULL, 0)) };
	struct bcfmt_key top[2];

	top[0] = set_kit_child(&kit, pos(0, 1000), set_kit_node(&kit, nth(1), low, 1));
	top[1] = set_kit_last_child(&kit, set_kit_node(&kit, nth(3), high, 1));
	check_tree(set_kit_node(&kit, nth(0), top, 2), 2);
	expect_told(cache_prediction(), BIT(STOPS_SET) | BIT(OOPS), BCFMT_STAGE_TREE,
		    "inconsistent ptrs: mark = 3, level = 0",
		    "inconsistent ptrs: mark = 1, level = 1", NULL);
}

/* A bucket that data was in before: by the gens on the disk the key is stale. */
Test(predict, a_stale_extent_in_the_bucket_of_a_node)
{
	struct bcfmt_key keys[] = { set_kit_clean(0, 16, 8, ptr_of(2)) };

	kit.gens[nth(2)] = 2;
	check_tree(two_leaves(keys, 1), 1);
	expect_told(cache_prediction(), BIT(REGISTERS), BCFMT_STAGE_RUNNING, NULL);
}

/* The metadata that is no node is marked last, and marks are not compared then. */
Test(predict, an_extent_in_the_prios_is_not_noticed)
{
	struct bcfmt_key keys[] = { set_kit_clean(0, 16, 8,
						  set_kit_ptr(&kit, kit.prio_bucket, 0)) };

	check_tree(leaf_of(0, keys, 1), 0);
	cr_expect_eq(SET_KIT_TOTAL(&result, EXTENT_IN_METADATA), 1);
	expect_told(cache_prediction(), BIT(REGISTERS), BCFMT_STAGE_RUNNING, NULL);
	cr_expect(has_effect(cache_prediction(), BCFMT_EFFECT_SERVES_WRONG,
			     BCFMT_P_EXTENT_IN_METADATA));
}

/* Fewer than 28 words have no search tree, and nothing is compared. */
Test(predict, a_key_behind_its_node)
{
	struct bcfmt_key keys[12];

	for (uint32_t i = 0; i < 12; i++)
		keys[i] = set_kit_clean(0, 900 + i * 16, 8, set_kit_ptr(&kit, nth(10), 0));
	check_tree(two_leaves(keys, 8), 1);
	expect_told(cache_prediction(), BIT(REGISTERS), BCFMT_STAGE_RUNNING, NULL);
	check_tree(two_leaves(keys, 12), 1);
	expect_told(cache_prediction(), BIT(STOPS_SET), BCFMT_STAGE_TREE,
		    line("short btree key at bucket %u, block 0, 36 keys", bucket_of(1)), NULL);
}

/* Keys that a kernel makes one of do not count twice. */
Test(predict, merged_keys_are_counted_once)
{
	struct bcfmt_key keys[12];

	for (uint32_t i = 0; i < 12; i++)
		keys[i] = set_kit_clean(0, 996 + i, 1, set_kit_ptr(&kit, nth(10), i));
	check_tree(two_leaves(keys, 12), 1);
	cr_expect_eq(SET_KIT_TOTAL(&result, NODE_SHORT_KEY), 1);
	expect_told(cache_prediction(), BIT(REGISTERS), BCFMT_STAGE_RUNNING, NULL);
}

Test(predict, a_key_that_is_too_stale)
{
	struct bcfmt_key keys[] = { set_kit_clean(0, 16, 8, ptr_of(10)) };

	set_kit_backing(&kit, 0, BCFMT_BDEV_CLEAN, 4096);
	kit.gens[nth(10)] = 120;
	check_tree(two_leaves(keys, 1), 1);
	expect_told(cache_prediction(), BIT(REGISTERS) | BIT(STOPS_SET) | BIT(OOPS),
		    BCFMT_STAGE_ATTACH, "key too stale: 119, need_gc %u", NULL);
	/* Where nothing is joined with it, the garbage collection finds it later. */
	kit.n_backing = 0;
	check_full();
	expect_told(cache_prediction(), BIT(REGISTERS), BCFMT_STAGE_RUNNING, NULL);
	cr_expect(has_effect(cache_prediction(), BCFMT_EFFECT_STOPS_SET, BCFMT_P_EXTENT_TOO_STALE));
	kit.n_backing = 1;
}
