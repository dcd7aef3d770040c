/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Checks of made sets: what the verdict says, how sure it is, and what is never called safe. */
#include "check_help.h"

TestSuite(check_verdict, .init = begin, .fini = end);

/* ---- what the cache holds ---- */

Test(check_verdict, dirty_data)
{
	struct bcfmt_key keys[] = { set_kit_dirty(0, 16, 8, ptr_of(10)) };

	set_kit_backing(&kit, 0, BCFMT_BDEV_DIRTY, 4096);
	check_tree(leaf_of(0, keys, 1), 0);
	expect_none();
	expect_device(0, 8, BCFMT_EXACT, BCFMT_NOT_SAFE);
	cr_expect_eq(result.verdict.registers, BCFMT_REGISTERS_YES);
}

Test(check_verdict, a_volume_is_only_in_the_cache)
{
	kit.uuids[0].flags = BCFMT_UUID_FLASH_ONLY;
	kit.uuids[0].sectors = 100;
	check_tree(leaf_of(0, NULL, 0), 0);
	expect_none();
	expect_device(0, 0, BCFMT_EXACT, BCFMT_NOT_SAFE);
	cr_expect(set_kit_device(&result, 0)->is_flash_only);
}

/* The same key in an entry to replay and, cleaned in two steps, in the tree. */
Test(check_verdict, written_back_and_to_be_replayed)
{
	struct bcfmt_key journal[] = { set_kit_dirty(0, 16, 8, ptr_of(10)),
				       set_kit_dirty(0, 100, 4, ptr_of(11)) };
	struct bcfmt_key first[] = { set_kit_dirty(0, 16, 8, ptr_of(10)) };
	struct bcfmt_key second[] = { set_kit_clean(0, 16, 3, ptr_of(10)),
				      set_kit_clean(0, 19, 5, set_kit_ptr(&kit, nth(10), 3)) };
	struct set_kit_jset jset = {
		.ring_index = 1, .seq = 1, .root_ptr = ptr_of(0), .keys = journal, .n_keys = 1
	};

	set_kit_backing(&kit, 0, BCFMT_BDEV_CLEAN, 4096);
	set_kit_bset(&kit, ptr_of(0), set_kit_bset(&kit, ptr_of(0), 0, 77, first, 1), 77, second,
		     2);
	set_kit_tables(&kit);
	set_kit_jset(&kit, &jset);
	check(BCFMT_LEVEL_FULL);
	expect_none();
	expect_device(0, 0, BCFMT_EXACT, BCFMT_SAFE);
	cr_expect_eq(set_kit_device(&result, 0)->redirtied_bytes, 8 * 512);
	/* One more that is dirty for good. */
	jset.n_keys = 2;
	set_kit_jset(&kit, &jset);
	check(BCFMT_LEVEL_FULL);
	expect_only(BCFMT_P_BACKING_CLEAN_DIRTY, 1);
	expect_device(0, 4, BCFMT_EXACT, BCFMT_NOT_SAFE);
	cr_expect_eq(set_kit_device(&result, 0)->redirtied_bytes, 8 * 512);
	cr_expect_eq(result.verdict.replay_keys, 2);
}

Test(check_verdict, a_first_gap_with_discard_depends_on_the_kernel)
{
	struct bcfmt_check_params params = { .level = BCFMT_LEVEL_FULL };
	static const unsigned int kernels[] = { 6001, 6019, 0 };
	/* Before 6.19 it depends on whether the device can discard, which is not known here. */
	static const enum bcfmt_registers answers[] = { BCFMT_REGISTERS_UNKNOWN, BCFMT_REGISTERS_NO,
							BCFMT_REGISTERS_NO };

	kit.super.flags |= BCFMT_SUPER_FLAG_DISCARD;
	leaf_of(0, NULL, 0);
	set_kit_tables(&kit);
	write_entries(3, 6, 0, 1);
	for (unsigned int i = 0; i < 3; i++) {
		cr_assert_eq(set_kit_open(&kit), BCFMT_OK);
		set_kit_result_clear(&result);
		cr_assert_eq(bcfmt_report_new(kit.ctx, &result.report), BCFMT_OK);
		params.kernel = kernels[i];
		cr_assert_eq(bcfmt_check_run(kit.set, &params, result.report, &result.verdict, NULL,
					     NULL),
			     BCFMT_OK);
		cr_expect_eq(SET_KIT_TOTAL(&result, JOURNAL_GAP_DISCARD), 1);
		cr_expect_eq(result.verdict.registers, answers[i], "kernel %u", kernels[i]);
	}
}

/* No gen is known but those of the pointers: nothing is lost by that, and nothing is proved. */
Test(check_verdict, a_lost_prio_set_of_an_old_cache)
{
	struct bcfmt_key keys[] = { set_kit_clean(0, 16, 8, 0), set_kit_dirty(0, 32, 8, 0) };

	set_kit_backing(&kit, 0, BCFMT_BDEV_CLEAN, 4096);
	memset(kit.gens + nth(0), 200, 100);
	keys[0].ptr = ptr_of(10);
	keys[1].ptr = ptr_of(11);
	check_tree(two_leaves(keys, 1), 1);
	expect_none();
	set_kit_spoil(&kit, kit.prio_bucket, 100);
	check(BCFMT_LEVEL_FULL);
	expect_only(BCFMT_P_PRIO_BAD_CSUM, 1);
	expect_device(0, 0, BCFMT_AT_LEAST, BCFMT_SAFETY_UNKNOWN);
	leaf_of(1, keys, 2);
	check(BCFMT_LEVEL_FULL);
	cr_expect_eq(SET_KIT_TOTAL(&result, EXTENT_STALE_DIRTY), 0);
	expect_device(0, 8, BCFMT_AT_LEAST, BCFMT_NOT_SAFE);
}

Test(check_verdict, dirty_data_of_nobody_leaves_all_open)
{
	struct bcfmt_key keys[] = { set_kit_dirty(5, 16, 8, ptr_of(10)),
				    set_kit_clean(6, 16, 8, ptr_of(11)) };

	set_kit_backing(&kit, 0, BCFMT_BDEV_CLEAN, 4096);
	check_tree(leaf_of(0, keys, 2), 0);
	cr_expect_eq(SET_KIT_TOTAL(&result, UUID_STRANDED), 1);
	cr_expect_eq(SET_KIT_TOTAL(&result, UUID_LEFT_FREE), 1);
	expect_device(5, 8, BCFMT_EXACT, BCFMT_NOT_SAFE);
	expect_device(0, 0, BCFMT_EXACT, BCFMT_SAFETY_UNKNOWN);
	cr_expect_null(set_kit_device(&result, 6));
}

Test(check_verdict, inodes_beyond_the_table)
{
	struct bcfmt_key keys[] = { set_kit_dirty(64, 16, 8, ptr_of(10)),
				    set_kit_dirty(BCFMT_KEY_MAX_INODE, 16, 8, ptr_of(11)) };

	set_kit_backing(&kit, 0, BCFMT_BDEV_CLEAN, 4096);
	check_tree(leaf_of(0, keys, 2), 0);
	expect_only(BCFMT_P_UUID_INODE_RANGE, 1);
	cr_expect_eq(result.verdict.unplaced_dirty_bytes, 16 * 512);
	cr_expect_eq(result.verdict.unplaced_inodes, 2);
	expect_device(0, 0, BCFMT_EXACT, BCFMT_SAFETY_UNKNOWN);
}

Test(check_verdict, clean_data_beyond_the_table_is_no_dirty_inode)
{
	struct bcfmt_key keys[] = { set_kit_clean(64, 16, 8, ptr_of(10)) };

	check_tree(leaf_of(0, keys, 1), 0);
	expect_only(BCFMT_P_UUID_INODE_RANGE, 1);
	cr_expect_eq(result.verdict.unplaced_inodes, 0);
	cr_expect_eq(result.verdict.unplaced_dirty_bytes, 0);
	expect_device(0, 0, BCFMT_EXACT, BCFMT_SAFE);
}

Test(check_verdict, a_damaged_leaf_leaves_open_what_it_held)
{
	struct bcfmt_key keys[] = { set_kit_clean(0, 16, 8, ptr_of(10)) };

	set_kit_backing(&kit, 0, BCFMT_BDEV_CLEAN, 4096);
	/* Many entries, so that the history does not begin with the first. */
	set_kit_tables(&kit);
	two_leaves(keys, 1);
	write_entries(5, 6, 0, 6);
	for (uint64_t seq = 5; seq <= 6; seq++) {
		struct set_kit_jset jset = { .ring_index = 1,
					     .seq = seq,
					     .root_ptr = ptr_of(0),
					     .level = 1,
					     .sector = (uint32_t)seq - 5 };

		set_kit_jset(&kit, &jset);
	}
	set_kit_spoil(&kit, nth(1), 50);
	check(BCFMT_LEVEL_FULL);
	cr_expect_eq(SET_KIT_TOTAL(&result, NODE_BAD_CSUM), 1);
	cr_expect_eq(SET_KIT_TOTAL(&result, LEAF_DOUBTFUL), 1);
	cr_expect_eq(set_kit_problems(&result, BCFMT_SEV_WASTE), 2);
	expect_device(0, 0, BCFMT_AT_LEAST, BCFMT_SAFETY_UNKNOWN);
	cr_expect_eq(result.verdict.registers, BCFMT_REGISTERS_NO);
	cr_expect_geq(result.verdict.n_first_lines, 1);
	cr_expect_not(result.verdict.is_complete);
	cr_expect(kit.set->buckets[nth(1)].use & BCFMT_USE_DAMAGED);
}

Test(check_verdict, a_stale_dirty_extent_is_lost)
{
	struct bcfmt_key keys[] = { set_kit_dirty(0, 16, 8, ptr_of(10)),
				    set_kit_clean(0, 40, 8, ptr_of(10) + 1) };

	set_kit_backing(&kit, 0, BCFMT_BDEV_DIRTY, 4096);
	check_tree(leaf_of(0, keys, 2), 0);
	cr_expect_eq(SET_KIT_TOTAL(&result, EXTENT_STALE_DIRTY), 1);
	/* The key that let its bucket be handed out is missing, and maybe others. */
	cr_expect_eq(SET_KIT_TOTAL(&result, LEAF_DOUBTFUL), 1);
	cr_expect_eq(set_kit_problems(&result, BCFMT_SEV_WASTE), 2);
	expect_device(0, 0, BCFMT_AT_LEAST, BCFMT_SAFETY_UNKNOWN);
	cr_expect_eq(set_kit_device(&result, 0)->lost_bytes, 8 * 512);
}

/* Overridden by a later key, a stale dirty one is nothing. */
Test(check_verdict, a_stale_dirty_extent_below_another_is_not_lost)
{
	struct bcfmt_key old[] = { set_kit_dirty(0, 16, 8, ptr_of(10)) };
	struct bcfmt_key new[] = { set_kit_clean(0, 8, 32, ptr_of(11)) };

	new[0] = set_kit_clean(0, 16, 8, ptr_of(10) + 1);
	set_kit_bset(&kit, ptr_of(0), set_kit_bset(&kit, ptr_of(0), 0, 77, old, 1), 77, new, 1);
	check_tree(ptr_of(0), 0);
	expect_none();
	expect_device(0, 0, BCFMT_EXACT, BCFMT_SAFE);
}

/* ---- what quick may say ---- */

Test(check_verdict, quick_reads_the_root_alone)
{
	struct bcfmt_key keys[] = { set_kit_clean(0, 16, 8, ptr_of(10)) };

	set_kit_backing(&kit, 0, BCFMT_BDEV_CLEAN, 4096);
	check_tree(two_leaves(keys, 1), 1);
	check(BCFMT_LEVEL_QUICK);
	expect_none();
	expect_device(0, 0, BCFMT_UNKNOWN, BCFMT_SAFETY_UNKNOWN);
	cr_expect_eq(result.verdict.registers, BCFMT_REGISTERS_UNKNOWN);
	cr_expect_not(result.verdict.is_complete);
	set_kit_spoil(&kit, nth(1), 8); /* a leaf: not seen */
	check(BCFMT_LEVEL_QUICK);
	expect_none();
	set_kit_spoil(&kit, nth(0), 8);
	check(BCFMT_LEVEL_QUICK);
	expect_only(BCFMT_P_NODE_BAD_MAGIC, 1);
	cr_expect_eq(result.verdict.registers, BCFMT_REGISTERS_NO);
}

/* A root that is a leaf is all there is to read: then safe is proved. */
Test(check_verdict, quick_proves_what_a_single_leaf_holds)
{
	set_kit_backing(&kit, 0, BCFMT_BDEV_CLEAN, 4096);
	check_tree(leaf_of(0, NULL, 0), 0);
	check(BCFMT_LEVEL_QUICK);
	expect_none();
	expect_device(0, 0, BCFMT_EXACT, BCFMT_SAFE);
}

/* Whatever is broken, a tree that was not read makes nothing safe. */
Test(check_verdict, quick_never_says_safe_of_a_tree)
{
	struct bcfmt_key dirty[] = { set_kit_dirty(0, 16, 8, ptr_of(10)) };

	for (unsigned int kind = 0; kind < 7; kind++) {
		set_kit_result_clear(&result);
		set_kit_clear(&kit);
		begin();
		set_kit_backing(&kit, 0, BCFMT_BDEV_CLEAN, 4096);
		set_kit_tables(&kit);
		set_kit_first_jset(&kit, two_leaves(kind & 1 ? dirty : NULL, kind & 1), 1);
		if (kind == 2)
			set_kit_spoil(&kit, nth(0), 8);
		if (kind == 3)
			set_kit_spoil(&kit, kit.prio_bucket, 8);
		if (kind == 4)
			set_kit_zero(&kit, nth(0) * 16, 16);
		if (kind == 5)
			set_kit_spoil(&kit, kit.uuid_bucket, 300);
		if (kind == 6)
			set_kit_first_jset(&kit, 1, 1);
		check(BCFMT_LEVEL_QUICK);
		for (size_t i = 0; i < result.verdict.n_devices; i++)
			cr_expect_neq(result.verdict.devices[i].safe_alone, BCFMT_SAFE, "kind %u",
				      kind);
		cr_expect_neq(result.verdict.registers, BCFMT_REGISTERS_YES, "kind %u", kind);
	}
}

/* ---- backing devices ---- */

Test(check_verdict, states_of_a_backing_device_with_dirty_data)
{
	static const enum bcfmt_problem_id problems[] = {
		[BCFMT_BDEV_NONE] = BCFMT_P_BACKING_DETACHED_DIRTY,
		[BCFMT_BDEV_CLEAN] = BCFMT_P_BACKING_CLEAN_DIRTY,
		[BCFMT_BDEV_STALE] = BCFMT_P_BACKING_STALE_DIRTY,
	};

	for (unsigned int state = BCFMT_BDEV_NONE; state <= BCFMT_BDEV_STALE; state++) {
		struct bcfmt_key keys[] = { set_kit_dirty(0, 16, 8, 0) };

		set_kit_result_clear(&result);
		set_kit_clear(&kit);
		begin();
		keys[0].ptr = ptr_of(10);
		set_kit_backing(&kit, 0, (enum bcfmt_bdev_state)state, 4096);
		check_tree(leaf_of(0, keys, 1), 0);
		if (problems[state])
			expect_only(problems[state], 1);
		else
			expect_none();
		cr_expect_eq(set_kit_device(&result, 0)->dirty_bytes, 8 * 512);
		cr_expect_neq(set_kit_device(&result, 0)->safe_alone, BCFMT_SAFE);
	}
}

Test(check_verdict, a_dirty_device_that_the_table_does_not_know)
{
	set_kit_backing(&kit, 3, BCFMT_BDEV_DIRTY, 4096);
	memset(kit.uuids[3].uuid, 0, 16);
	check_tree(leaf_of(0, NULL, 0), 0);
	expect_only(BCFMT_P_BACKING_NO_ENTRY, 1);
	for (size_t i = 0; i < result.verdict.n_devices; i++)
		if (result.verdict.devices[i].member)
			cr_expect_neq(result.verdict.devices[i].safe_alone, BCFMT_SAFE);
}

Test(check_verdict, one_device_given_twice)
{
	set_kit_backing(&kit, 0, BCFMT_BDEV_CLEAN, 4096);
	set_kit_backing(&kit, 0, BCFMT_BDEV_CLEAN, 4096);
	check_tree(leaf_of(0, NULL, 0), 0);
	expect_only(BCFMT_P_BACKING_DUPLICATE, 1);
}

/* ---- what could be read when the set was opened, and not any more ---- */

static void lose_entry(uint32_t ring_index)
{
	set_kit_zero(&kit, kit.super.journal_bucket[ring_index] * kit.geo.bucket_sectors, 1);
	set_kit_result_clear(&result);
	set_kit_check(&kit, BCFMT_LEVEL_FULL, &result);
	cr_assert_eq(result.err, BCFMT_OK, "%s", bcfmt_ctx_fault(kit.ctx));
}

Test(check_verdict, an_entry_to_replay_that_is_gone_since)
{
	struct bcfmt_key keys[] = { set_kit_dirty(0, 16, 8, ptr_of(10)) };
	struct set_kit_jset jset = { .ring_index = 1,
				     .seq = 1,
				     .root_ptr = leaf_of(0, NULL, 0),
				     .keys = keys,
				     .n_keys = 1 };

	set_kit_backing(&kit, 0, BCFMT_BDEV_DIRTY, 4096);
	set_kit_tables(&kit);
	set_kit_jset(&kit, &jset);
	check(BCFMT_LEVEL_FULL);
	expect_device(0, 8, BCFMT_EXACT, BCFMT_NOT_SAFE);
	lose_entry(1);
	cr_expect_neq(set_kit_device(&result, 0)->certainty, BCFMT_EXACT);
	cr_expect_neq(set_kit_device(&result, 0)->safe_alone, BCFMT_SAFE);
	cr_expect(bcfmt_losses_has_any(result.verdict.losses));
}

/* The journal knows every write, and stands in for a leaf; but not without one of its entries. */
Test(check_verdict, an_older_entry_that_is_gone_since)
{
	struct bcfmt_key keys[] = { set_kit_dirty(0, 16, 8, ptr_of(10)) };
	struct set_kit_jset jset = {
		.ring_index = 1, .seq = 1, .root_ptr = leaf_of(0, keys, 1), .prio_bucket = nth(40)
	};

	set_kit_backing(&kit, 0, BCFMT_BDEV_DIRTY, 4096);
	kit.prio_seq = 2;
	set_kit_tables(&kit);
	set_kit_jset(&kit, &jset);
	jset = (struct set_kit_jset){ .ring_index = 2, .seq = 2, .root_ptr = jset.root_ptr };
	jset.keys = keys;
	jset.n_keys = 1;
	set_kit_jset(&kit, &jset);
	jset = (struct set_kit_jset){ .ring_index = 3, .seq = 3, .root_ptr = jset.root_ptr };
	set_kit_jset(&kit, &jset);
	set_kit_spoil(&kit, nth(0), 40);
	check(BCFMT_LEVEL_FULL);
	expect_device(0, 8, BCFMT_EXACT, BCFMT_NOT_SAFE);
	lose_entry(2);
	cr_expect_neq(set_kit_device(&result, 0)->certainty, BCFMT_EXACT);
	cr_expect_neq(set_kit_device(&result, 0)->safe_alone, BCFMT_SAFE);
}
