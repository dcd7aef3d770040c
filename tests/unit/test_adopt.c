/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Stranded keys become keys of their device, and what is newer stays on top. */
#include "check_help.h"

#include <bcfmt/repair.h>

#define BACKING_SECTORS 4096u

TestSuite(adopt, .init = begin, .fini = end);

/* What a sector of the device's inode is taken from afterwards. */
struct content {
	uint64_t cache_sector[BACKING_SECTORS]; /* 0: nothing */
	bool is_dirty[BACKING_SECTORS];
	uint32_t inode;
	uint64_t other_extents; /* of any other inode */
};
static struct content content;

static bcfmt_err see_leaf(void *arg, const struct bcfmt_node_view *view,
			  const struct bcfmt_extent *extents, size_t n_extents)
{
	(void)arg;
	(void)view;
	for (size_t i = 0; i < n_extents; i++) {
		const struct bcfmt_extent *extent = &extents[i];

		if (extent->inode != content.inode) {
			content.other_extents++;
			continue;
		}
		for (uint64_t j = extent->start_sector; j < extent->end_sector; j++) {
			cr_assert_lt(j, BACKING_SECTORS);
			content.cache_sector[j] =
				bcfmt_ptr_sector(extent->ptr) + (j - extent->start_sector);
			content.is_dirty[j] = extent->is_dirty;
		}
	}
	return BCFMT_OK;
}

static void read_content(uint32_t inode)
{
	struct bcfmt_tree_visitor visitor = { .leaf = see_leaf };
	struct bcfmt_tree *tree;
	bool again = true;

	cr_assert_eq(bcfmt_tree_open(kit.set, &visitor, &tree), BCFMT_OK);
	while (again) {
		memset(&content, 0, sizeof(content));
		content.inode = inode;
		cr_assert_eq(bcfmt_tree_walk_leaves(tree, &visitor, &again), BCFMT_OK);
	}
	bcfmt_tree_free(tree);
}

/* Sectors [start, end) come from the bucket, from this sector of it on. */
static void expect_from(uint64_t start, uint64_t range_end, uint64_t bucket, uint32_t sector,
			bool is_dirty)
{
	for (uint64_t i = start; i < range_end; i++) {
		cr_expect_eq(content.cache_sector[i],
			     bcfmt_bucket_sector(&kit.geo, nth(bucket)) + sector + (i - start),
			     "sector %llu", (unsigned long long)i);
		cr_expect_eq(content.is_dirty[i], is_dirty, "sector %llu", (unsigned long long)i);
	}
}

static void expect_nothing(uint64_t start, uint64_t range_end)
{
	for (uint64_t i = start; i < range_end; i++)
		cr_expect_eq(content.cache_sector[i], 0, "sector %llu", (unsigned long long)i);
}

static struct bcfmt_key dirty(uint32_t inode, uint64_t start, uint32_t sectors, uint64_t bucket)
{
	return set_kit_dirty(inode, start, sectors, set_kit_ptr(&kit, nth(bucket), 0));
}

static struct bcfmt_key clean(uint32_t inode, uint64_t start, uint32_t sectors, uint64_t bucket)
{
	return set_kit_clean(inode, start, sectors, set_kit_ptr(&kit, nth(bucket), 0));
}

/* Adopts for the device 0xb4, in the devices, and opens the set anew. */
static void adopt(const uint32_t *inodes, size_t n)
{
	struct bcfmt_repair_params params = { .check.level = BCFMT_LEVEL_FULL };
	struct bcfmt_dev *devs[] = { kit.dev, kit.backing[0] };
	struct bcfmt_adoption words[4];
	enum bcfmt_rehearsal rehearsal;
	struct bcfmt_repair_run *run;
	struct bcfmt_home *home;

	for (size_t i = 0; i < n; i++) {
		words[i].inode = inodes[i];
		memset(words[i].uuid, 0xb4, BCFMT_UUID_BYTES);
	}
	cr_assert_eq(bcfmt_repair_open(kit.ctx, devs, 2, &params, &run), BCFMT_OK);
	bcfmt_repair_agree_all(run, BCFMT_CONSENT_AUTO);
	cr_assert_eq(bcfmt_home_new(bcfmt_repair_set(run), words, n, false, &home), BCFMT_OK, "%s",
		     bcfmt_ctx_fault(kit.ctx));
	cr_assert_null(bcfmt_repair_why_no_orders(run));
	cr_assert_eq(bcfmt_repair_order_adoption(run, home), BCFMT_OK);
	bcfmt_home_free(home);
	cr_assert_eq(bcfmt_repair_rehearse(run, &rehearsal), BCFMT_OK, "%s",
		     bcfmt_ctx_fault(kit.ctx));
	cr_assert_eq(rehearsal, BCFMT_REHEARSAL_READY, "%s", bcfmt_ctx_fault(kit.ctx));
	cr_expect_eq(bcfmt_repair_counts(run)->dropped_sectors, 0);
	cr_assert_eq(bcfmt_repair_commit(run), BCFMT_OK);
	bcfmt_repair_free(run);
	check(BCFMT_LEVEL_FULL);
	expect_none();
}

static void open_keys(const struct bcfmt_key *keys, uint32_t n)
{
	memset(&kit.uuids[0], 0, sizeof(kit.uuids[0]));
	for (uint32_t i = 1; i < 4; i++)
		memcpy(kit.uuids[i].uuid, bcfmt_uuid_invalid(), BCFMT_UUID_BYTES);
	set_kit_tables(&kit);
	set_kit_first_jset(&kit, leaf_of(0, keys, n), 0);
	cr_assert_eq(set_kit_open(&kit), BCFMT_OK);
}

static void expect_state(enum bcfmt_bdev_state state)
{
	const struct bcfmt_super *super = &kit.set->backing[0].super;

	cr_expect_eq(bcfmt_super_bdev_state(super), state);
	cr_expect(!memcmp(super->set_uuid, kit.super.set_uuid, BCFMT_UUID_BYTES));
}

Test(adopt, keys_of_the_device_stay_on_top_whatever_they_are)
{
	uint32_t inodes[] = { 2, 3 };

	set_kit_backing(&kit, 4, BCFMT_BDEV_CLEAN, BACKING_SECTORS);
	open_keys((struct bcfmt_key[]){ dirty(2, 100, 16, 5), dirty(2, 200, 16, 6),
					clean(2, 300, 16, 7), dirty(3, 104, 8, 8),
					clean(3, 208, 16, 9), dirty(3, 3000, 8, 10),
					dirty(4, 110, 4, 11), clean(4, 212, 8, 12) },
		  8);
	adopt(inodes, 2);
	read_content(4);
	cr_expect_eq(content.other_extents, 0);
	expect_from(100, 104, 5, 0, true);
	expect_from(104, 110, 8, 0, true);
	expect_from(110, 114, 11, 0, true);
	expect_from(114, 116, 5, 14, true);
	expect_from(200, 208, 6, 0, true);
	/* The clean key of inode 3 is newer than inode 2: the device has that, or newer data. */
	expect_nothing(208, 212);
	expect_from(212, 220, 12, 0, false);
	expect_nothing(220, 224);
	expect_nothing(300, 316);
	expect_from(3000, 3008, 10, 0, true);
	expect_state(BCFMT_BDEV_DIRTY);
}

Test(adopt, a_device_without_a_slot_gets_its_old_one_back)
{
	uint32_t inodes[] = { 1, 2 };

	set_kit_backing(&kit, 4, BCFMT_BDEV_NONE, BACKING_SECTORS);
	memset(&kit.uuids[4], 0, sizeof(kit.uuids[4]));
	open_keys((struct bcfmt_key[]){ dirty(1, 100, 16, 5), dirty(2, 108, 16, 6),
					clean(2, 300, 16, 7) },
		  3);
	adopt(inodes, 2);
	cr_expect_eq(bcfmt_uuid_state(&kit.set->uuids[2]), BCFMT_UUID_LIVE);
	cr_expect_eq(kit.set->uuids[2].uuid[0], 0xb4);
	cr_expect_eq(bcfmt_uuid_state(&kit.set->uuids[1]), BCFMT_UUID_DETACHED);
	read_content(2);
	cr_expect_eq(content.other_extents, 0);
	expect_from(100, 108, 5, 0, true);
	expect_from(108, 124, 6, 0, true);
	expect_nothing(300, 316);
	expect_state(BCFMT_BDEV_DIRTY);
}

Test(adopt, of_a_stale_device_only_dirty_data_is_kept)
{
	uint32_t inodes[] = { 4 };

	set_kit_backing(&kit, 4, BCFMT_BDEV_STALE, BACKING_SECTORS);
	open_keys((struct bcfmt_key[]){ dirty(4, 100, 16, 5), clean(4, 200, 16, 6) }, 2);
	adopt(inodes, 1);
	read_content(4);
	expect_from(100, 116, 5, 0, true);
	expect_nothing(200, 216);
	expect_state(BCFMT_BDEV_DIRTY);
}

/* Over more than one leaf, so that gaps end where leaves do. */
Test(adopt, keys_of_many_leaves_are_laid_below_those_of_others)
{
	struct bcfmt_key old[3][4], new[2][2], top[5];
	uint32_t inodes[] = { 2 };

	set_kit_backing(&kit, 4, BCFMT_BDEV_CLEAN, BACKING_SECTORS);
	for (uint32_t i = 0; i < 3; i++)
		for (uint32_t j = 0; j < 4; j++)
			old[i][j] = dirty(2, 100 + 1000 * i + 64 * j, 16, 20 + 4 * i + j);
	for (uint32_t i = 0; i < 2; i++)
		for (uint32_t j = 0; j < 2; j++)
			new[i][j] = dirty(4, 104 + 2000 * i + 64 * j, 4, 40 + 2 * i + j);
	top[0] = set_kit_child(&kit, pos(2, 1000), leaf_of(1, old[0], 4));
	top[1] = set_kit_child(&kit, pos(2, 2000), leaf_of(2, old[1], 4));
	top[2] = set_kit_child(&kit, pos(3, 0), leaf_of(3, old[2], 4));
	top[3] = set_kit_child(&kit, pos(4, 1500), leaf_of(4, new[0], 2));
	top[4] = set_kit_last_child(&kit, leaf_of(5, new[1], 2));
	memset(&kit.uuids[0], 0, sizeof(kit.uuids[0]));
	memcpy(kit.uuids[2].uuid, bcfmt_uuid_invalid(), BCFMT_UUID_BYTES);
	set_kit_tables(&kit);
	set_kit_first_jset(&kit, set_kit_node(&kit, nth(0), top, 5), 1);
	cr_assert_eq(set_kit_open(&kit), BCFMT_OK);
	adopt(inodes, 1);
	read_content(4);
	cr_expect_eq(content.other_extents, 0);
	for (uint32_t i = 0; i < 3; i++)
		for (uint32_t j = 0; j < 4; j++) {
			uint64_t start = 100 + 1000 * i + 64 * j;
			bool is_covered = i != 1 && j < 2;

			expect_from(start, start + 4, 20 + 4 * i + j, 0, true);
			if (is_covered)
				expect_from(start + 4, start + 8, 40 + 2 * (i / 2) + j, 0, true);
			else
				expect_from(start + 4, start + 8, 20 + 4 * i + j, 4, true);
			expect_from(start + 8, start + 16, 20 + 4 * i + j, 8, true);
		}
}
