/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Checks of made sets: what each pass finds. */
#include "check_help.h"

TestSuite(check_passes, .init = begin, .fini = end);

/* ---- sets as they should be ---- */

Test(check_passes, a_healthy_set)
{
	struct bcfmt_key keys[] = { set_kit_clean(0, 16, 8, ptr_of(10)), set_kit_hole(0, 24, 8),
				    set_kit_clean(0, 32, 4, ptr_of(11)) };

	set_kit_backing(&kit, 0, BCFMT_BDEV_CLEAN, 4096);
	check_tree(two_leaves(keys, 3), 1);
	expect_none();
	expect_device(0, 0, BCFMT_EXACT, BCFMT_SAFE);
	cr_expect_eq(set_kit_device(&result, 0)->clean_bytes, 12 * 512);
	cr_expect_not_null(set_kit_device(&result, 0)->member);
	cr_expect_eq(result.verdict.registers, BCFMT_REGISTERS_YES);
	cr_expect_eq(result.verdict.n_first_lines, 0);
	cr_expect(result.verdict.is_complete);
	cr_expect_eq(result.verdict.nodes, 3);
	cr_expect_eq(result.verdict.leaves, 2);
	cr_expect_eq(result.verdict.extents, 2);
	cr_expect_eq(result.verdict.replay_entries, 1);
	/* 640 without what is below the journal, the ring, prios, uuids, nodes and data. */
	cr_expect_eq(result.verdict.free_buckets, 640 - 2 - 8 - 1 - 1 - 3 - 2);
}

Test(check_passes, an_unused_cache)
{
	kit.super.flags = 0;
	kit.super.keys = 0;
	set_kit_tables(&kit);
	check(BCFMT_LEVEL_FULL);
	expect_none();
	cr_expect_eq(SET_KIT_TOTAL(&result, SUPER_FRESH), 1);
}

/* ---- journal ---- */

Test(check_passes, a_missing_entry_of_the_window)
{
	leaf_of(0, NULL, 0);
	set_kit_backing(&kit, 0, BCFMT_BDEV_CLEAN, 4096);
	set_kit_tables(&kit);
	write_entries(1, 6, 3, 1);
	check(BCFMT_LEVEL_FULL);
	cr_expect_eq(SET_KIT_TOTAL(&result, JOURNAL_GAP), 1);
	expect_device(0, 0, BCFMT_AT_LEAST, BCFMT_SAFETY_UNKNOWN);
	/* A kernel stops reading at the hole, takes the entry before for the newest, and is content. */
	cr_expect_eq(result.verdict.registers, BCFMT_REGISTERS_YES);
}

/* One behind the window is none of anybody's business. */
Test(check_passes, a_missing_entry_before_the_window)
{
	leaf_of(0, NULL, 0);
	set_kit_tables(&kit);
	write_entries(1, 3, 2, 1);
	for (uint64_t seq = 4; seq <= 8; seq++) {
		struct set_kit_jset jset = { .ring_index = 2,
					     .seq = seq,
					     .last_seq = 4,
					     .root_ptr = ptr_of(0),
					     .sector = (uint32_t)(seq - 4) };

		set_kit_jset(&kit, &jset);
	}
	check(BCFMT_LEVEL_FULL);
	expect_none();
	expect_device(0, 0, BCFMT_EXACT, BCFMT_SAFE);
	cr_expect_eq(result.verdict.replay_entries, 5);
}

Test(check_passes, a_torn_tail_is_a_note)
{
	leaf_of(0, NULL, 0);
	set_kit_backing(&kit, 0, BCFMT_BDEV_CLEAN, 4096);
	set_kit_tables(&kit);
	write_entries(1, 6, 0, 1);
	set_kit_spoil(&kit, kit.geo.first_bucket + 1u, 5 * 512 + 60);
	check(BCFMT_LEVEL_FULL);
	expect_none();
	cr_expect_eq(SET_KIT_TOTAL(&result, JOURNAL_TORN), 1);
	expect_device(0, 0, BCFMT_EXACT, BCFMT_SAFE);
	cr_expect_eq(result.verdict.registers, BCFMT_REGISTERS_YES);
}

Test(check_passes, a_damaged_entry_of_the_window)
{
	leaf_of(0, NULL, 0);
	set_kit_tables(&kit);
	write_entries(1, 6, 0, 1);
	set_kit_spoil(&kit, kit.geo.first_bucket + 1u, 2 * 512 + 60);
	check(BCFMT_LEVEL_FULL);
	cr_expect_eq(SET_KIT_TOTAL(&result, JOURNAL_BAD_CSUM), 1);
	cr_expect_eq(SET_KIT_TOTAL(&result, JOURNAL_GAP), 1);
	cr_expect_eq(result.verdict.registers, BCFMT_REGISTERS_YES);
}

/* Entries that the kernel does not reach: it would come up with an older state. */
Test(check_passes, entries_behind_a_hole_in_a_bucket)
{
	/* At even sectors alone they would speak for blocks of two sectors. */
	static const uint32_t sectors[] = { 0, 2, 5 };

	leaf_of(0, NULL, 0);
	set_kit_tables(&kit);
	for (uint64_t seq = 1; seq <= 3; seq++) {
		struct set_kit_jset jset = { .ring_index = 1,
					     .seq = seq,
					     .root_ptr = ptr_of(0),
					     .sector = sectors[seq - 1] };

		set_kit_jset(&kit, &jset);
	}
	check(BCFMT_LEVEL_FULL);
	expect_only(BCFMT_P_JOURNAL_KERNEL_MISSES, 1);
}

Test(check_passes, keys_of_the_window_that_stop_a_kernel)
{
	struct bcfmt_key keys[] = { bcfmt_key_make(0, 100, 0, true, true, ptr_of(10)),
				    bcfmt_key_make(0, 4, 8, true, true, ptr_of(10)),
				    bcfmt_key_make(0, 100, 8, true, true, bcfmt_ptr_make(0, 0, 1)),
				    bcfmt_key_make(70, 100, 8, true, true, ptr_of(11)) };
	struct set_kit_jset jset = {
		.ring_index = 1, .seq = 1, .root_ptr = ptr_of(0), .keys = keys, .n_keys = 4
	};

	leaf_of(0, NULL, 0);
	set_kit_tables(&kit);
	set_kit_jset(&kit, &jset);
	check(BCFMT_LEVEL_FULL);
	cr_expect_eq(SET_KIT_TOTAL(&result, JOURNAL_ZERO_KEY), 1);
	cr_expect_eq(SET_KIT_TOTAL(&result, JOURNAL_BAD_KEY), 2);
	cr_expect_eq(SET_KIT_TOTAL(&result, JOURNAL_INODE_RANGE), 1);
	cr_expect_eq(result.verdict.unplaced_dirty_bytes, 8 * 512);
	cr_expect_eq(result.verdict.unplaced_inodes, 1);
}

/* ---- tree ---- */

Test(check_passes, sectors_used_twice)
{
	struct bcfmt_key keys[] = { set_kit_clean(0, 16, 8, ptr_of(10)),
				    set_kit_clean(0, 40, 8, set_kit_ptr(&kit, nth(10), 6)),
				    set_kit_clean(0, 60, 8, ptr_of(11)),
				    set_kit_clean(0, 80, 4, set_kit_ptr(&kit, nth(11), 8)) };

	check_tree(leaf_of(0, keys, 4), 0);
	expect_only(BCFMT_P_EXTENT_TWICE, 1);
	cr_assert_geq(bcfmt_report_count(result.report), 1);
	for (size_t i = 0; i < bcfmt_report_count(result.report); i++) {
		const struct bcfmt_finding *finding = bcfmt_report_at(result.report, i);

		if (finding->problem->id != BCFMT_P_EXTENT_TWICE)
			continue;
		cr_expect_eq(finding->args[0].u64, 2, "%llu sectors",
			     (unsigned long long)finding->args[0].u64);
		cr_expect_eq(finding->where.sector, nth(10) * 16 + 6);
	}
}

/* Many short ones inside a long one are each a finding, behind one another they are not. */
Test(check_passes, a_long_extent_over_many)
{
	struct bcfmt_key keys[9];

	keys[0] = set_kit_clean(0, 16, 16, ptr_of(10));
	for (uint32_t i = 0; i < 8; i++)
		keys[1 + i] = set_kit_clean(0, 100 + i * 10, 2, set_kit_ptr(&kit, nth(10), i * 2));
	check_tree(leaf_of(0, keys, 9), 0);
	expect_only(BCFMT_P_EXTENT_TWICE, 8);
}

Test(check_passes, stale_extents_share_sectors_with_nobody)
{
	struct bcfmt_key keys[] = { set_kit_clean(0, 16, 8, ptr_of(10)),
				    set_kit_clean(0, 40, 8, ptr_of(10) + 1) };

	check_tree(leaf_of(0, keys, 2), 0);
	expect_none();
	cr_expect_eq(set_kit_device(&result, 0)->clean_bytes, 8 * 512);
}

Test(check_passes, stale_beyond_what_gc_allows)
{
	struct bcfmt_key keys[] = { set_kit_clean(0, 16, 8, ptr_of(10)),
				    set_kit_clean(0, 40, 8, ptr_of(11)) };

	leaf_of(0, keys, 2);
	kit.gens[nth(10)] += 96;
	check_tree(ptr_of(0), 0);
	expect_none();
	kit.gens[nth(10)]++;
	check_tree(ptr_of(0), 0);
	expect_only(BCFMT_P_EXTENT_TOO_STALE, 1);
}

Test(check_passes, extents_in_buckets_of_metadata)
{
	struct bcfmt_key keys[] = {
		set_kit_clean(0, 16, 8, set_kit_ptr(&kit, kit.geo.first_bucket + 1u, 0)),
		set_kit_clean(0, 32, 8, set_kit_ptr(&kit, kit.prio_bucket, 0)),
		set_kit_clean(0, 48, 8, set_kit_ptr(&kit, kit.uuid_bucket, 0)),
		set_kit_dirty(0, 64, 8, ptr_of(0)),
	};

	set_kit_backing(&kit, 0, BCFMT_BDEV_DIRTY, 4096);
	check_tree(leaf_of(0, keys, 4), 0);
	cr_expect_eq(SET_KIT_TOTAL(&result, EXTENT_IN_JOURNAL), 1);
	cr_expect_eq(SET_KIT_TOTAL(&result, EXTENT_IN_METADATA), 3);
	expect_device(0, 8, BCFMT_EXACT, BCFMT_NOT_SAFE);
}

Test(check_passes, extents_outside_their_device)
{
	struct bcfmt_key keys[] = { set_kit_clean(0, 8, 16, ptr_of(10)),
				    set_kit_clean(0, 4090, 6, ptr_of(11)),
				    set_kit_clean(0, 4096, 8, ptr_of(12)),
				    set_kit_dirty(1, 90, 10, ptr_of(13)),
				    set_kit_dirty(1, 99, 2, ptr_of(14)) };

	memset(kit.uuids[1].uuid, 0x11, 16);
	kit.uuids[1].flags = BCFMT_UUID_FLASH_ONLY;
	kit.uuids[1].sectors = 100;
	set_kit_backing(&kit, 0, BCFMT_BDEV_CLEAN, 4096);
	check_tree(leaf_of(0, keys, 4), 0);
	cr_expect_eq(SET_KIT_TOTAL(&result, EXTENT_BEFORE_DATA), 1);
	cr_expect_eq(SET_KIT_TOTAL(&result, EXTENT_PAST_DEVICE), 1);
	leaf_of(0, keys, 5);
	check(BCFMT_LEVEL_FULL);
	cr_expect_eq(SET_KIT_TOTAL(&result, EXTENT_PAST_DEVICE), 2);
}

Test(check_passes, a_stale_root)
{
	leaf_of(0, NULL, 0);
	kit.gens[nth(0)]++;
	set_kit_tables(&kit);
	set_kit_first_jset(&kit, ptr_of(0) - 1, 0);
	check(BCFMT_LEVEL_FULL);
	expect_only(BCFMT_P_ROOT_STALE, 1);
	expect_device(0, 0, BCFMT_AT_LEAST, BCFMT_SAFETY_UNKNOWN);
}

Test(check_passes, a_stale_table)
{
	struct set_kit_jset jset = { .ring_index = 1, .seq = 1 };

	jset.root_ptr = leaf_of(0, NULL, 0);
	kit.gens[kit.uuid_bucket]++;
	set_kit_tables(&kit);
	jset.uuid_ptr = set_kit_ptr(&kit, kit.uuid_bucket, 0) - 1;
	set_kit_jset(&kit, &jset);
	check(BCFMT_LEVEL_FULL);
	expect_only(BCFMT_P_UUIDS_STALE, 1);
}

Test(check_passes, a_bucket_with_two_owners)
{
	struct set_kit_jset jset = { .ring_index = 1, .seq = 1 };

	jset.root_ptr = leaf_of(0, NULL, 0);
	set_kit_tables(&kit);
	jset.uuid_ptr = set_kit_ptr(&kit, kit.prio_bucket, 0);
	set_kit_jset(&kit, &jset);
	check(BCFMT_LEVEL_FULL);
	cr_expect_eq(SET_KIT_TOTAL(&result, BUCKET_TWO_USES), 1);
}

/* Every bucket but one used: 640 entries fit one prio set. */
Test(check_passes, too_few_free_buckets)
{
	uint64_t n = kit.geo.nbuckets - nth(3);
	struct bcfmt_key *keys = malloc(n * sizeof(*keys));
	uint32_t half = (uint32_t)n / 2;
	struct bcfmt_key top[2];

	for (uint64_t i = 0; i < n; i++)
		keys[i] = set_kit_clean(0, 16 + i * 8, 8, set_kit_ptr(&kit, nth(3) + i, 0));
	top[0] = set_kit_child(&kit, pos(0, 16 + half * 8), leaf_of(1, keys, half));
	top[1] = set_kit_last_child(&kit, leaf_of(2, keys + half, (uint32_t)n - half));
	check_tree(set_kit_node(&kit, nth(0), top, 2), 1);
	expect_only(BCFMT_P_FREE_TOO_FEW, 1);
	cr_expect_eq(result.verdict.free_buckets, 0);
	/* Kernels of today give up clean data. */
	cr_expect_eq(result.verdict.registers, BCFMT_REGISTERS_YES);
	top[1] = set_kit_last_child(&kit, leaf_of(2, keys + half, (uint32_t)n - half - 1));
	check(BCFMT_LEVEL_FULL);
	expect_none();
	cr_expect_eq(result.verdict.free_buckets, 1);
	free(keys);
}

/* Findings that hang on gens are made once, although the leaves are read twice. */
Test(check_passes, a_gen_that_rises_late)
{
	struct bcfmt_key early[] = { set_kit_dirty(0, 100, 8, ptr_of(10)),
				     set_kit_clean(0, 200, 8, ptr_of(11)) };
	struct bcfmt_key late[] = { set_kit_clean(0, 1100, 8, ptr_of(10) + 1),
				    set_kit_clean(0, 1200, 8, set_kit_ptr(&kit, nth(11), 4)),
				    set_kit_clean(0, 1300, 8,
						  set_kit_ptr(&kit, kit.prio_bucket, 0)) };
	struct bcfmt_key top[2];

	set_kit_backing(&kit, 0, BCFMT_BDEV_DIRTY, 4096);
	top[0] = set_kit_child(&kit, pos(0, 1000), leaf_of(1, early, 2));
	top[1] = set_kit_last_child(&kit, leaf_of(2, late, 3));
	check_tree(set_kit_node(&kit, nth(0), top, 2), 1);
	cr_expect_eq(SET_KIT_TOTAL(&result, EXTENT_STALE_DIRTY), 1);
	cr_expect_eq(SET_KIT_TOTAL(&result, EXTENT_TWICE), 1);
	cr_expect_eq(SET_KIT_TOTAL(&result, EXTENT_IN_METADATA), 1);
	/* Newer keys than the stale one are missing, and maybe not only there. */
	cr_expect_eq(SET_KIT_TOTAL(&result, LEAF_DOUBTFUL), 1);
	cr_expect_eq(set_kit_problems(&result, BCFMT_SEV_WASTE), 4);
	expect_device(0, 0, BCFMT_AT_LEAST, BCFMT_SAFETY_UNKNOWN);
	cr_expect_eq(set_kit_device(&result, 0)->lost_bytes, 8 * 512);
	/* At 200, 1100, 1200, and in the prio set. */
	cr_expect_eq(set_kit_device(&result, 0)->clean_bytes, 4 * 8 * 512);
	cr_expect_eq(kit.set->buckets[nth(11)].sectors, 16, "counted once");
}

/* ---- data ---- */

Test(check_passes, clean_data_against_the_backing_device)
{
	struct bcfmt_key keys[] = { set_kit_clean(0, 16, 8, ptr_of(10)),
				    set_kit_clean(0, 24, 8, ptr_of(11)),
				    set_kit_dirty(0, 40, 8, ptr_of(12)),
				    set_kit_clean(0, 60, 8, ptr_of(13) - 1) };
	uint8_t other[2 * 512];

	memset(other, 0xaa, sizeof(other));
	set_kit_backing(&kit, 0, BCFMT_BDEV_DIRTY, 4096);
	set_kit_write(&kit, nth(11) * 16 + 3, other, sizeof(other));
	set_kit_write(&kit, nth(12) * 16, other, sizeof(other)); /* dirty: may differ */
	set_kit_write(&kit, nth(13) * 16, other, sizeof(other)); /* stale: nobody's */
	check_tree(leaf_of(0, keys, 4), 0);
	expect_none();
	check(BCFMT_LEVEL_DATA);
	cr_expect_eq(SET_KIT_TOTAL(&result, BACKING_DIFFERS), 1);
	for (size_t i = 0; i < bcfmt_report_count(result.report); i++)
		if (bcfmt_report_at(result.report, i)->problem->id == BCFMT_P_BACKING_DIFFERS)
			cr_expect_eq(bcfmt_report_at(result.report, i)->args[0].u64, 2);
}

/* ---- the run itself ---- */

Test(check_passes, passes_are_timed)
{
	struct bcfmt_check_params params = { .level = BCFMT_LEVEL_DATA };
	struct bcfmt_pass_stat stats[BCFMT_PASSES_MAX];
	size_t n_stats = 99;

	set_kit_tables(&kit);
	set_kit_first_jset(&kit, leaf_of(0, NULL, 0), 0);
	cr_assert_eq(set_kit_open(&kit), BCFMT_OK);
	cr_assert_eq(bcfmt_report_new(kit.ctx, &result.report), BCFMT_OK);
	cr_assert_eq(bcfmt_check_run(kit.set, &params, result.report, &result.verdict, stats,
				     &n_stats),
		     BCFMT_OK);
	cr_assert_eq(n_stats, 8);
	cr_expect_str_eq(stats[0].name, "super");
	cr_expect_str_eq(stats[3].name, "tree");
	cr_expect_eq(stats[3].read_bytes, 16 * 512);
	for (size_t i = 0; i < n_stats; i++)
		cr_expect_geq(stats[i].seconds, 0.0);
}

Test(check_passes, a_cancelled_check_gives_no_verdict)
{
	set_kit_tables(&kit);
	set_kit_first_jset(&kit, leaf_of(0, NULL, 0), 0);
	cr_assert_eq(set_kit_open(&kit), BCFMT_OK);
	cancelled = 1;
	set_kit_check(&kit, BCFMT_LEVEL_FULL, &result);
	cr_expect_eq(result.err, BCFMT_E_CANCELLED);
	cr_expect_null(result.verdict.devices);
}

/* A superblock of no use, or none: the check says so and ends. */
Test(check_passes, without_a_geometry)
{
	check(BCFMT_LEVEL_DATA);
	cr_expect_eq(SET_KIT_TOTAL(&result, SUPER_BAD_MAGIC), 1);
	cr_expect_eq(result.verdict.registers, BCFMT_REGISTERS_NO);
	cr_expect_eq(result.verdict.n_devices, 0);
	kit.super.block_sectors = 3;
	set_kit_tables(&kit);
	check(BCFMT_LEVEL_DATA);
	cr_expect_eq(SET_KIT_TOTAL(&result, SUPER_BLOCK_NOT_POW2), 1);
	cr_expect_eq(result.verdict.registers, BCFMT_REGISTERS_NO);
}
