/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What a kernel is foretold to do with the journal of made sets, and with buckets that run out. */
#include "predict_help.h"

TestSuite(predict_replay, .init = begin, .fini = end);

/* An entry with these keys over a root. */
static void check_keys(uint64_t root_ptr, uint16_t level, const struct bcfmt_key *keys, uint32_t n)
{
	struct set_kit_jset jset = { .ring_index = 1,
				     .seq = 1,
				     .root_ptr = root_ptr,
				     .level = level,
				     .keys = keys,
				     .n_keys = n };

	set_kit_tables(&kit);
	set_kit_jset(&kit, &jset);
	check(BCFMT_LEVEL_FULL);
}

/* Entries 3 to 6, all but one, with those from there on in the next ring bucket. */
static void write_ring(uint64_t left_out)
{
	struct set_kit_jset jset = { .ring_index = 1, .last_seq = 3, .root_ptr = ptr_of(0) };

	for (jset.seq = 3; jset.seq <= 6; jset.seq++) {
		if (jset.seq == left_out) {
			jset.ring_index = 2;
			jset.sector = 0;
			continue;
		}
		jset.sector = set_kit_jset(&kit, &jset);
	}
}

Test(predict_replay, a_gap_in_the_window)
{
	leaf_of(0, NULL, 0);
	set_kit_tables(&kit);
	write_ring(5);
	check(BCFMT_LEVEL_FULL);
	expect_told(cache_prediction(), BIT(STOPS_SET) | BIT(OOPS), BCFMT_STAGE_REPLAY,
		    "journal entries 5-5 missing! (replaying 3-6)", NULL);
	cr_expect_eq(cache_prediction()->outcome, BCFMT_OUTCOME_STOPS_SET);
	cr_expect_str_eq(cache_prediction()->follow_lines[0], "bcache: replay journal failed");
}

Test(predict_replay, a_first_gap_with_discards)
{
	static const unsigned int kernels[] = { 6001, 6012, 6018, 6019 };
	unsigned int stops = BIT(STOPS_SET) | BIT(OOPS);

	kit.super.flags |= BCFMT_SUPER_FLAG_DISCARD;
	leaf_of(0, NULL, 0);
	set_kit_tables(&kit);
	write_ring(3);
	for (size_t i = 0; i < 4; i++) {
		check_for(BCFMT_LEVEL_FULL, kernels[i]);
		expect_told(cache_prediction(), i == 3 ? stops : stops | BIT(REGISTERS),
			    BCFMT_STAGE_REPLAY, "journal entries 3-3 missing! (replaying 3-6)",
			    NULL);
	}
	/* A gap further on is forgiven by none. */
	set_kit_zero(&kit, bcfmt_bucket_sector(&kit.geo, kit.geo.first_bucket + 1u), 32);
	write_ring(5);
	check_for(BCFMT_LEVEL_FULL, 6001);
	expect_told(cache_prediction(), stops, BCFMT_STAGE_REPLAY,
		    "journal entries 5-5 missing! (replaying 3-6)", NULL);
}

/* A window that ends before it begins. */
Test(predict_replay, a_window_the_wrong_way_round)
{
	struct set_kit_jset jset = { .ring_index = 1, .seq = 7, .last_seq = 9 };

	jset.root_ptr = leaf_of(0, NULL, 0);
	set_kit_tables(&kit);
	set_kit_jset(&kit, &jset);
	check(BCFMT_LEVEL_FULL);
	expect_told(cache_prediction(), BIT(STOPS_SET) | BIT(OOPS), BCFMT_STAGE_REPLAY,
		    "journal entries 9-6 missing! (replaying 9-7)", NULL);
}

/* The kernel counts through all that lies between. */
Test(predict_replay, a_window_that_never_ends)
{
	struct set_kit_jset jset = { .ring_index = 1, .seq = 7, .last_seq = 7 };

	jset.root_ptr = leaf_of(0, NULL, 0);
	set_kit_tables(&kit);
	set_kit_jset(&kit, &jset);
	jset.ring_index = 2;
	jset.seq = 1ull << 50;
	set_kit_jset(&kit, &jset);
	check(BCFMT_LEVEL_FULL);
	expect_told(cache_prediction(), BIT(HANGS), BCFMT_STAGE_MARK, NULL);
}

Test(predict_replay, a_key_without_size)
{
	struct bcfmt_key keys[] = { set_kit_dirty(0, 16, 8, ptr_of(10)),
				    bcfmt_key_make(0, 100, 0, true, true, ptr_of(10)) };

	check_keys(leaf_of(0, NULL, 0), 0, keys, 2);
	expect_told(cache_prediction(), BIT(OOPS), BCFMT_STAGE_REPLAY,
		    "kernel BUG at drivers/md/bcache/bset.c:%i!", NULL);
}

/* Marked are the newest entries first, replayed the oldest. */
Test(predict_replay, the_newest_bad_key_is_marked_first)
{
	struct bcfmt_key old = set_kit_dirty(0, 16, 8, bcfmt_ptr_make(0, 0, 1));
	struct bcfmt_key new = set_kit_dirty(0, 32, 8, bcfmt_ptr_make(0, 1, 1));
	struct set_kit_jset jset = { .ring_index = 1, .seq = 1, .keys = &old, .n_keys = 1 };

	jset.root_ptr = leaf_of(0, NULL, 0);
	set_kit_tables(&kit);
	jset.sector = set_kit_jset(&kit, &jset);
	jset.seq = 2;
	jset.last_seq = 1;
	jset.keys = &new;
	set_kit_jset(&kit, &jset);
	check(BCFMT_LEVEL_FULL);
	expect_told(cache_prediction(), BIT(STOPS_SET) | BIT(OOPS), BCFMT_STAGE_MARK,
		    "spotted extent 0:32 len 8 -> [0:1 gen 1] dirty: bad, short offset", NULL);
}

/* Behind an error the registration goes on to a BUG, which is not the first line then. */
Test(predict_replay, a_bug_behind_an_error)
{
	struct set_kit_shape shape = { .nbuckets = 530 };
	struct bcfmt_key keys[] = { set_kit_dirty(0, 32, 8, bcfmt_ptr_make(0, 1, 1)),
				    bcfmt_key_make(0, 100, 0, true, true, 0) };

	set_kit_clear(&kit);
	set_kit_init(&kit, &shape);
	check_keys(leaf_of(0, NULL, 0), 0, keys, 2);
	cr_expect_eq(cache_prediction()->n_first_lines, 1);
	cr_expect_str_eq(cache_prediction()->first_lines[0],
			 "spotted extent 0:32 len 8 -> [0:1 gen 1] dirty: bad, short offset");
	cr_expect(cache_prediction()->outcomes & BIT(OOPS));
	cr_expect_eq(cache_prediction()->outcome, BCFMT_OUTCOME_OOPS);
}

Test(predict_replay, a_key_of_an_inode_that_has_no_counter)
{
	struct bcfmt_key keys[] = { set_kit_dirty(99999, 16, 8, ptr_of(10)) };

	check_keys(leaf_of(0, NULL, 0), 0, keys, 1);
	expect_told(cache_prediction(), BIT(REGISTERS) | BIT(OOPS), BCFMT_STAGE_REPLAY, NULL);
	/* Clean data is not counted. */
	keys[0] = set_kit_clean(99999, 16, 8, ptr_of(10));
	check_keys(ptr_of(0), 0, keys, 1);
	expect_told(cache_prediction(), BIT(REGISTERS), BCFMT_STAGE_RUNNING, NULL);
}

Test(predict_replay, a_key_into_the_bucket_of_a_node)
{
	struct bcfmt_key keys[] = { set_kit_dirty(0, 16, 4, ptr_of(2)) };

	check_keys(two_leaves(NULL, 0), 1, keys, 1);
	expect_told(cache_prediction(), BIT(STOPS_SET) | BIT(OOPS), BCFMT_STAGE_MARK,
		    "inconsistent ptrs: mark = 3, level = 0", NULL);
	/* Once the bucket was handed out again nobody looks at it. */
	kit.gens[nth(2)] = 2;
	check_keys(two_leaves(NULL, 0), 1, keys, 1);
	expect_told(cache_prediction(), BIT(REGISTERS), BCFMT_STAGE_RUNNING, NULL);
}

/* No leaf takes a key behind the last one. In any other gap the next leaf does. */
Test(predict_replay, a_key_behind_the_last_leaf)
{
	struct bcfmt_key behind[] = { set_kit_dirty(0, 2000, 4, ptr_of(10)) };
	struct bcfmt_key before[] = { set_kit_dirty(0, 100, 4, ptr_of(10)) };
	struct bcfmt_key top[] = { set_kit_child(&kit, pos(0, 1000), leaf_of(1, NULL, 0)) };

	check_keys(set_kit_node(&kit, nth(0), top, 1), 1, behind, 1);
	expect_told(cache_prediction(), BIT(STOPS_SET) | BIT(OOPS), BCFMT_STAGE_REPLAY, "error 1",
		    NULL);
	check_keys(ptr_of(0), 1, before, 1);
	expect_told(cache_prediction(), BIT(REGISTERS), BCFMT_STAGE_RUNNING, NULL);
}

Test(predict_replay, a_key_beyond_a_root_that_is_a_leaf)
{
	struct bcfmt_key keys[] = { set_kit_dirty(0, 1000, 4, ptr_of(10)) };
	struct bcfmt_jset jset;
	uint8_t raw[4096];

	check_keys(leaf_of(0, NULL, 0), 0, keys, 1);
	jset = first_jset(raw);
	jset.btree_root.low = 1002;
	jset.btree_root.high &= ~(uint64_t)BCFMT_KEY_MAX_INODE;
	put_first_jset(&jset, raw);
	check(BCFMT_LEVEL_FULL);
	expect_told(cache_prediction(), BIT(HANGS), BCFMT_STAGE_REPLAY, NULL);
	jset.btree_root.low = 1004;
	put_first_jset(&jset, raw);
	check(BCFMT_LEVEL_FULL);
	expect_told(cache_prediction(), BIT(REGISTERS), BCFMT_STAGE_RUNNING, NULL);
}

/* The -ESRCH of kernels: a key over the end of a leaf that has no room. */
Test(predict_replay, a_key_across_a_full_leaf)
{
	struct bcfmt_key across[] = { set_kit_dirty(0, 990, 16, ptr_of(10)) };
	struct bcfmt_key full[320];

	for (uint32_t i = 0; i < 320; i++)
		full[i] = set_kit_clean(0, 16 + i * 2, 1, set_kit_ptr(&kit, nth(11), 0));
	check_keys(two_leaves(full, 320), 1, across, 1);
	expect_told(cache_prediction(), BIT(REGISTERS) | BIT(STOPS_SET) | BIT(OOPS),
		    BCFMT_STAGE_REPLAY, "bcache: replay journal failed", NULL);
	check_keys(two_leaves(full, 100), 1, across, 1);
	expect_told(cache_prediction(), BIT(REGISTERS), BCFMT_STAGE_RUNNING, NULL);
}

/* The newest entry lies behind a hole: a kernel comes up with the one before, if it can. */
Test(predict_replay, an_older_state)
{
	leaf_of(0, NULL, 0);
	set_kit_tables(&kit);
	write_entries(1, 6, 0, 1);
	set_kit_spoil(&kit, kit.geo.first_bucket + 1u, 4 * 512 + 60);
	check(BCFMT_LEVEL_FULL);
	cr_expect_eq(SET_KIT_TOTAL(&result, JOURNAL_KERNEL_MISSES), 1);
	expect_told(cache_prediction(), BIT(REGISTERS), BCFMT_STAGE_RUNNING, NULL);
	cr_expect(has_effect(cache_prediction(), BCFMT_EFFECT_LOSES_WRITES,
			     BCFMT_P_JOURNAL_KERNEL_MISSES));
}

/* Its root is another one, which the check reads for that alone. */
Test(predict_replay, an_older_state_with_another_root)
{
	struct set_kit_jset jset = { .ring_index = 1, .seq = 1, .root_ptr = ptr_of(5) };

	leaf_of(0, NULL, 0);
	leaf_of(5, NULL, 0);
	set_kit_tables(&kit);
	jset.sector = set_kit_jset(&kit, &jset) + 1;
	jset.seq = 2;
	jset.root_ptr = ptr_of(0);
	set_kit_jset(&kit, &jset);
	check(BCFMT_LEVEL_FULL);
	expect_told(cache_prediction(), BIT(REGISTERS) | BIT(UNKNOWN), BCFMT_STAGE_TREE, NULL);
	set_kit_spoil(&kit, nth(5), 4);
	check(BCFMT_LEVEL_FULL);
	expect_told(cache_prediction(), BIT(STOPS_SET), BCFMT_STAGE_ROOT,
		    line("bad checksum at bucket %u, block 0, 0 keys", bucket_of(5)), NULL);
}

/* ---- buckets ---- */

/* Leaves that have an extent in every bucket but so many. */
static void fill_all(bool is_dirty, uint32_t left_over)
{
	uint64_t n = kit.geo.nbuckets - nth(3) - left_over;
	struct bcfmt_key *keys = malloc(n * sizeof(*keys));
	uint32_t half = (uint32_t)n / 2;
	struct bcfmt_key top[2];

	for (uint64_t i = 0; i < n; i++)
		keys[i] = (is_dirty ? set_kit_dirty : set_kit_clean)(
			0, 16 + i * 8, 8, set_kit_ptr(&kit, nth(3) + i, 0));
	top[0] = set_kit_child(&kit, pos(0, 16 + half * 8), leaf_of(1, keys, half));
	top[1] = set_kit_last_child(&kit, leaf_of(2, keys + half, (uint32_t)n - half));
	check_tree(set_kit_node(&kit, nth(0), top, 2), 1);
	free(keys);
}

/* One prio set; the uuid table needs a bucket more when a device is joined. */
Test(predict_replay, no_bucket_for_the_uuid_table)
{
	set_kit_backing(&kit, 0, BCFMT_BDEV_DIRTY, 65536);
	fill_all(true, 1);
	/* A cache that comes before the device is registered, and the device hangs. */
	expect_told(cache_prediction(), BIT(REGISTERS) | BIT(HANGS), BCFMT_STAGE_ATTACH, NULL);
	expect_told(backing_prediction(0), BIT(HANGS), BCFMT_STAGE_ATTACH, NULL);
	fill_all(true, 2);
	expect_told(cache_prediction(), BIT(REGISTERS), BCFMT_STAGE_RUNNING, NULL);
	kit.n_backing = 0;
	fill_all(true, 0);
	expect_told(cache_prediction(), BIT(REGISTERS), BCFMT_STAGE_RUNNING, NULL);
	cr_expect(has_effect(cache_prediction(), BCFMT_EFFECT_HANGS, BCFMT_P_FREE_TOO_FEW));
	kit.n_backing = 1;
}

Test(predict_replay, clean_data_is_given_up)
{
	set_kit_backing(&kit, 0, BCFMT_BDEV_CLEAN, 65536);
	fill_all(false, 0);
	expect_told(cache_prediction(), BIT(REGISTERS), BCFMT_STAGE_RUNNING, NULL);
	cr_expect(has_effect(cache_prediction(), BCFMT_EFFECT_SERVES_WRONG, BCFMT_P_FREE_TOO_FEW));
	/* Old kernels waited for the prios to be written first. */
	check_for(BCFMT_LEVEL_FULL, 5003);
	expect_told(cache_prediction(), BIT(HANGS), BCFMT_STAGE_START, NULL);
}

Test(predict_replay, a_policy_without_a_branch)
{
	kit.super.flags |= 7u << 2;
	check_tree(leaf_of(0, NULL, 0), 0);
	expect_told(cache_prediction(), BIT(HANGS), BCFMT_STAGE_START, NULL);
}
