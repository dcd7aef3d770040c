/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The one rule of a superblock that a kernel tells, and what becomes of backing devices. */
#include "predict_help.h"

TestSuite(predict_super, .init = begin, .fini = end);

static void check_super(void)
{
	set_kit_tables(&kit);
	check_for(BCFMT_LEVEL_FULL, 6001);
}

static void expect_refused(enum bcfmt_stage stage, const char *line)
{
	check_super();
	expect_told(cache_prediction(), BIT(REFUSES_DEVICE), stage, line, NULL);
	cr_expect_eq(cache_prediction()->registers, BCFMT_REGISTERS_NO);
	cr_expect_eq(result.verdict.registers, BCFMT_REGISTERS_NO);
}

/* Faults are added from the last rule to the first: each time another one is told. */
Test(predict_super, the_first_rule_that_fails_is_told)
{
	leaf_of(0, NULL, 0);
	set_kit_tables(&kit);
	set_kit_first_jset(&kit, ptr_of(0), 0);
	check_super();
	expect_told(cache_prediction(), BIT(REGISTERS), BCFMT_STAGE_RUNNING, NULL);

	kit.super.nbuckets_or_data_offset = 512;
	expect_refused(BCFMT_STAGE_ALLOC, "ca->sb.nbuckets is too small");
	cr_expect_str_eq(cache_prediction()->follow_lines[0],
			 "cache_alloc(): cache device is too small");
	kit.super.first_bucket = 0;
	for (unsigned int i = 0; i < kit.super.keys; i++)
		kit.super.journal_bucket[i] = i;
	expect_refused(BCFMT_STAGE_SUPER,
		       "Invalid superblock: first bucket comes before end of super");
	kit.super.journal_bucket[2] = 77;
	expect_refused(BCFMT_STAGE_SUPER, "Journal buckets not sequential");
	kit.super.nr_in_set = 0;
	expect_refused(BCFMT_STAGE_SUPER, "Bad cache device number in set");
	memset(kit.super.set_uuid, 0, sizeof(kit.super.set_uuid));
	expect_refused(BCFMT_STAGE_SUPER, "Bad UUID");
	kit.super.nbuckets_or_data_offset = 100000;
	expect_refused(BCFMT_STAGE_SUPER, "Invalid superblock: device too small");
	kit.super.bucket_field = 4;
	expect_refused(BCFMT_STAGE_SUPER, "Bad bucket size (smaller than page size)");
	kit.super.bucket_field = 12;
	expect_refused(BCFMT_STAGE_SUPER, "Bad bucket size (not power of 2)");
	kit.super.block_sectors = 16;
	expect_refused(BCFMT_STAGE_SUPER, "Bad block size (larger than page size)");
	kit.super.block_sectors = 24;
	expect_refused(BCFMT_STAGE_SUPER, "Bad block size (not power of 2)");
	kit.super.nbuckets_or_data_offset = 127;
	expect_refused(BCFMT_STAGE_SUPER, "Not enough buckets");
	kit.super.nbuckets_or_data_offset = 1ull << 63;
	expect_refused(BCFMT_STAGE_SUPER, "Too many buckets");
	kit.super.version = 7;
	expect_refused(BCFMT_STAGE_SUPER, "Unsupported superblock version");
	kit.super.block_sectors = 0;
	expect_refused(BCFMT_STAGE_SUPER, "Superblock block size smaller than device block size");
	memset(kit.super.uuid, 0, sizeof(kit.super.uuid));
	expect_refused(BCFMT_STAGE_SUPER, "Bad UUID");
	set_kit_tables(&kit);
	set_kit_spoil(&kit, 0, 4096 + 80);
	check_for(BCFMT_LEVEL_FULL, 6001);
	expect_told(cache_prediction(), BIT(REFUSES_DEVICE), BCFMT_STAGE_SUPER, "Bad checksum",
		    NULL);
	set_kit_spoil(&kit, 0, 4096 + 24);
	check_for(BCFMT_LEVEL_FULL, 6001);
	expect_told(cache_prediction(), BIT(REFUSES_DEVICE), BCFMT_STAGE_SUPER,
		    "Not a bcache superblock (bad magic)", NULL);
	set_kit_spoil(&kit, 0, 4096 + 8);
	check_for(BCFMT_LEVEL_FULL, 6001);
	expect_told(cache_prediction(), BIT(REFUSES_DEVICE), BCFMT_STAGE_SUPER,
		    "Not a bcache superblock (bad offset)", NULL);
}

Test(predict_super, features_that_nobody_knows)
{
	kit.super.version = 5;
	kit.super.feature_incompat = 4;
	expect_refused(BCFMT_STAGE_SUPER, "Unsupported incompatible feature found");
	kit.super.feature_ro_compat = 1;
	expect_refused(BCFMT_STAGE_SUPER, "Unsupported read-only compatible feature found");
	kit.super.feature_compat = 1;
	expect_refused(BCFMT_STAGE_SUPER, "Unsupported compatible feature found");
	/* Only version 5 has them. */
	kit.super.version = 3;
	leaf_of(0, NULL, 0);
	set_kit_first_jset(&kit, ptr_of(0), 0);
	check_super();
	expect_told(cache_prediction(), BIT(REGISTERS), BCFMT_STAGE_RUNNING, NULL);
}

/* 1 << 36 comes out as 1 << 4, which is what the set has. The complaint is all there is. */
Test(predict_super, a_bucket_size_that_overflows)
{
	leaf_of(0, NULL, 0);
	set_kit_first_jset(&kit, ptr_of(0), 0);
	kit.super.version = 5;
	kit.super.feature_incompat = BCFMT_FEATURE_LARGE_BUCKET;
	kit.super.bucket_field = 34;
	check_super();
	expect_told(cache_prediction(), BIT(REFUSES_DEVICE), BCFMT_STAGE_SUPER,
		    "Bucket size (1 << 34) overflows", "Bad bucket size (smaller than page size)",
		    NULL);
	kit.super.bucket_field = 36;
	check_super();
	expect_told(cache_prediction(), BIT(REGISTERS) | BIT(UNKNOWN), BCFMT_STAGE_SUPER,
		    "Bucket size (1 << 36) overflows", NULL);
}

/* Without a range for the checksum it is wrong almost for certain. */
Test(predict_super, more_journal_buckets_than_places)
{
	struct bcfmt_super super = kit.super;
	uint8_t raw[BCFMT_SUPER_BYTES];

	set_kit_tables(&kit);
	set_kit_read(&kit, 8, raw, sizeof(raw));
	raw[206] = 0xff;
	raw[207] = 0x01;
	set_kit_write(&kit, 8, raw, sizeof(raw));
	check_for(BCFMT_LEVEL_FULL, 6001);
	expect_told(cache_prediction(), BIT(REFUSES_DEVICE), BCFMT_STAGE_SUPER, "Bad checksum",
		    "Too many journal buckets", NULL);
	kit.super = super;
}

/* ---- backing devices ---- */

/* A device of the set, changed by the caller. */
static void with_backing(enum bcfmt_bdev_state state)
{
	struct bcfmt_key keys[] = { set_kit_dirty(0, 16, 8, ptr_of(10)) };

	set_kit_backing(&kit, 0, state, 4096);
	set_kit_tables(&kit);
	set_kit_first_jset(&kit, leaf_of(0, keys, 1), 0);
}

static void change_backing(size_t i, void (*change)(struct bcfmt_super *super))
{
	uint8_t raw[BCFMT_SUPER_BYTES];
	struct bcfmt_super super;

	cr_assert_eq(bcfmt_dev_read(kit.backing[i], 4096, raw, sizeof(raw)), BCFMT_OK);
	bcfmt_super_decode(raw, &super);
	change(&super);
	bcfmt_super_encode(&super, raw);
	cr_assert_eq(bcfmt_dev_write(kit.backing[i], 4096, raw, sizeof(raw)), BCFMT_OK);
	check_for(BCFMT_LEVEL_FULL, 6001);
}

static void other_uuid(struct bcfmt_super *super)
{
	super->uuid[0] ^= 0x55;
}

static void other_set(struct bcfmt_super *super)
{
	super->set_uuid[0] ^= 0x55;
}

static void short_offset(struct bcfmt_super *super)
{
	super->version = 4;
	super->nbuckets_or_data_offset = 8;
}

static void far_offset(struct bcfmt_super *super)
{
	super->version = 4;
	super->nbuckets_or_data_offset = 4096;
}

Test(predict_super, a_dirty_device_that_the_cache_does_not_know)
{
	with_backing(BCFMT_BDEV_DIRTY);
	change_backing(0, other_uuid);
	expect_told(cache_prediction(), BIT(REGISTERS), BCFMT_STAGE_RUNNING, NULL);
	expect_told(backing_prediction(0), BIT(WAITS), BCFMT_STAGE_ATTACH,
		    "Couldn't find uuid for %pg in set", NULL);
	cr_expect_eq(backing_prediction(0)->registers, BCFMT_REGISTERS_YES);
}

/* It gets a slot, unless there is none. */
Test(predict_super, a_clean_device_that_the_cache_does_not_know)
{
	with_backing(BCFMT_BDEV_CLEAN);
	change_backing(0, other_uuid);
	expect_told(backing_prediction(0), BIT(REGISTERS), BCFMT_STAGE_RUNNING, NULL);
}

Test(predict_super, a_device_of_another_set)
{
	with_backing(BCFMT_BDEV_DIRTY);
	change_backing(0, other_set);
	expect_told(backing_prediction(0), BIT(WAITS), BCFMT_STAGE_ATTACH, NULL);
}

Test(predict_super, devices_that_run_without_a_cache)
{
	with_backing(BCFMT_BDEV_NONE);
	change_backing(0, other_set);
	expect_told(backing_prediction(0), BIT(UNCACHED), BCFMT_STAGE_ATTACH, NULL);
}

/* The slot is given up, and the dirty data with it. */
Test(predict_super, a_detached_device_with_dirty_data)
{
	static const enum bcfmt_bdev_state states[] = { BCFMT_BDEV_NONE, BCFMT_BDEV_STALE,
							BCFMT_BDEV_CLEAN };
	static const enum bcfmt_problem_id ids[] = { BCFMT_P_BACKING_DETACHED_DIRTY,
						     BCFMT_P_BACKING_STALE_DIRTY,
						     BCFMT_P_BACKING_CLEAN_DIRTY };

	for (size_t i = 0; i < 3; i++) {
		set_kit_result_clear(&result);
		end();
		begin();
		with_backing(states[i]);
		check_for(BCFMT_LEVEL_FULL, 6001);
		expect_told(backing_prediction(0), BIT(REGISTERS), BCFMT_STAGE_RUNNING, NULL);
		cr_expect(has_effect(backing_prediction(0), BCFMT_EFFECT_LOSES_WRITES, ids[i]));
	}
}

Test(predict_super, backing_superblocks_that_are_refused)
{
	with_backing(BCFMT_BDEV_DIRTY);
	change_backing(0, short_offset);
	expect_told(backing_prediction(0), BIT(REFUSES_DEVICE), BCFMT_STAGE_SUPER,
		    "Bad data offset", NULL);
	change_backing(0, far_offset);
	expect_told(backing_prediction(0), BIT(REFUSES_DEVICE), BCFMT_STAGE_ALLOC,
		    "nr_stripes too large or invalid: %llu (start sector beyond end of disk?)",
		    NULL);
	cr_expect_str_eq(backing_prediction(0)->follow_lines[0], "cannot allocate memory");
}

/* Whichever comes first is joined. */
Test(predict_super, twins)
{
	with_backing(BCFMT_BDEV_CLEAN);
	set_kit_backing(&kit, 0, BCFMT_BDEV_CLEAN, 4096);
	check_for(BCFMT_LEVEL_FULL, 6001);
	for (size_t i = 0; i < 2; i++)
		expect_told(backing_prediction(i), BIT(REGISTERS) | BIT(WAITS), BCFMT_STAGE_RUNNING,
			    "Tried to attach %pg but duplicate UUID already attached", NULL);
}

/* Without its cache nobody knows what it lacks, but what becomes of it is known. */
Test(predict_super, a_backing_device_alone)
{
	struct bcfmt_check_params params = { .level = BCFMT_LEVEL_FULL, .kernel = 6012 };
	struct bcfmt_set *set;

	with_backing(BCFMT_BDEV_DIRTY);
	cr_assert_eq(bcfmt_set_open(kit.ctx, kit.backing, 1, NULL, &set), BCFMT_OK);
	kit.set = set;
	cr_assert_eq(bcfmt_report_new(kit.ctx, &result.report), BCFMT_OK);
	cr_assert_eq(bcfmt_check_run(set, &params, result.report, &result.verdict, NULL, NULL),
		     BCFMT_OK);
	cr_expect_eq(result.verdict.n_predictions, 1);
	expect_told(backing_prediction(0), BIT(WAITS), BCFMT_STAGE_ATTACH, NULL);
}

Test(predict_super, names_of_stages_and_outcomes)
{
	cr_expect_str_eq(bcfmt_stage_name(BCFMT_STAGE_SUPER), "superblock");
	cr_expect_str_eq(bcfmt_stage_name(BCFMT_STAGE_RUNNING), "running");
	cr_expect_str_eq(bcfmt_stage_name((enum bcfmt_stage)99), "unknown");
	cr_expect_str_eq(bcfmt_outcome_name(BCFMT_OUTCOME_STOPS_SET), "stops-set");
	cr_expect_str_eq(bcfmt_outcome_name((enum bcfmt_outcome)99), "unknown");
}
