/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Power cuts while dirty data is brought home, marked clean and the device detached. Cache, backing
 * device and undo file lie on one timeline. After every write, with what was not flushed kept, lost,
 * lost in part or torn, a second run completes it and no dirty sector is lost; and the undo file
 * gives the old state back.
 */
#include "check_help.h"

#include <stdio.h>

#include <bcfmt/repair.h>

#define BACKING_SECTORS 4096u
#define LOG_BYTES (96u << 20)
#define STORE_BYTES (8u << 20)
#define ROUNDS 2u

enum { CACHE, BACKING, STORE, N_DISKS };

#include "timeline_help.h"

TestSuite(home_cuts, .init = begin, .fini = end, .timeout = 600);

static uint8_t *before[2]; /* cache and backing device */
static uint8_t *truth;	   /* the backing device with all that is dirty laid over it */
static bool is_detach;

static uint8_t *bytes_of(struct bcfmt_dev *dev)
{
	uint8_t *bytes = malloc(bcfmt_dev_bytes(dev));

	cr_assert_not_null(bytes);
	cr_assert_eq(bcfmt_dev_read(dev, 0, bytes, bcfmt_dev_bytes(dev)), BCFMT_OK);
	return bytes;
}

/* ---- what a run does ---- */

static void order(struct bcfmt_repair_run *run, const struct bcfmt_home_device *device,
		  const struct bcfmt_home_done *done, bool is_last, struct bcfmt_undo *undo)
{
	struct bcfmt_home_order one = { .device = device,
					.done = done,
					.is_clean = is_last,
					.is_detached = is_last && is_detach,
					.is_slot_freed = is_last && is_detach };
	enum bcfmt_rehearsal rehearsal;
	bool has_marks = !bcfmt_repair_why_no_orders(run);

	/* Only when its slot is freed already, and then there is nothing to mark. */
	cr_assert(has_marks || (is_detach && !device->has_slot));
	cr_assert_eq(bcfmt_repair_order_home(run, &one, 1, has_marks), BCFMT_OK);
	cr_assert_eq(bcfmt_repair_rehearse(run, &rehearsal), BCFMT_OK, "%s",
		     bcfmt_ctx_fault(kit.ctx));
	cr_assert_eq(rehearsal, BCFMT_REHEARSAL_READY, "%s", bcfmt_ctx_fault(kit.ctx));
	if (undo)
		cr_assert_eq(bcfmt_repair_save(run, undo), BCFMT_OK, "%s",
			     bcfmt_ctx_fault(kit.ctx));
	cr_assert_eq(bcfmt_repair_commit(run), BCFMT_OK, "%s", bcfmt_ctx_fault(kit.ctx));
}

/* Marks after every leaf, as a long run does now and then. */
static void bring_home(struct bcfmt_dev *cache, struct bcfmt_dev *backing, struct bcfmt_undo *undo)
{
	struct bcfmt_writeback_params params = { .target = backing, .undo = undo, .stop_bytes = 1 };
	struct bcfmt_repair_params repair = { .check.level = BCFMT_LEVEL_FULL };
	struct bcfmt_dev *devs[] = { cache, backing };
	struct bcfmt_home_done *done = NULL;
	bool is_through = false;

	while (!is_through) {
		struct bcfmt_repair_run *run;
		struct bcfmt_home *home;

		cr_assert_eq(bcfmt_repair_open(kit.ctx, devs, 2, &repair, &run), BCFMT_OK);
		bcfmt_repair_agree_all(run, BCFMT_CONSENT_AUTO);
		cr_assert_eq(bcfmt_home_new(bcfmt_repair_set(run), NULL, 0, false, &home),
			     BCFMT_OK);
		if (!done)
			cr_assert_eq(bcfmt_home_done_new(kit.ctx, &home->devices[0], &done),
				     BCFMT_OK);
		if (undo)
			cr_assert_eq(bcfmt_undo_add_device(undo, backing, &params.undo_index),
				     BCFMT_OK);
		/* One that is detached already has nothing more to come. */
		if (home->devices[0].refusal == BCFMT_HOME_DETACHED) {
			cr_expect(is_detach);
			is_through = true;
		} else {
			cr_assert_eq(bcfmt_repair_writeback(run, &home->devices[0], &params, done),
				     BCFMT_OK, "%s", bcfmt_ctx_fault(kit.ctx));
			is_through = bcfmt_home_done_is_through(done);
			order(run, &home->devices[0], done, is_through, undo);
		}
		bcfmt_home_free(home);
		bcfmt_repair_free(run);
	}
	bcfmt_home_done_free(done);
}

/* ---- what must be true afterwards ---- */

static void expect_home(struct bcfmt_dev *const disks[N_DISKS], const char *name)
{
	struct bcfmt_dev *devs[] = { disks[CACHE], disks[BACKING] };
	struct bcfmt_check_params params = { .level = BCFMT_LEVEL_FULL };
	struct bcfmt_verdict verdict = { 0 };
	struct bcfmt_report *report;
	struct bcfmt_set *set;
	enum bcfmt_bdev_state state;
	uint8_t *is;

	bring_home(disks[CACHE], disks[BACKING], NULL);
	is = bytes_of(disks[BACKING]);
	for (uint64_t i = 16; i < BACKING_SECTORS; i++)
		cr_assert(!memcmp(is + i * 512, truth + i * 512, 512), "%s: sector %llu", name,
			  (unsigned long long)i);
	free(is);
	cr_assert_eq(bcfmt_set_open(kit.ctx, devs, 2, NULL, &set), BCFMT_OK);
	cr_assert_eq(bcfmt_report_new(kit.ctx, &report), BCFMT_OK);
	cr_assert_eq(bcfmt_check_run(set, &params, report, &verdict, NULL, NULL), BCFMT_OK);
	bcfmt_report_finish(report);
	for (size_t i = 0; i < bcfmt_report_count(report); i++)
		cr_assert_eq(bcfmt_report_at(report, i)->problem->severity, BCFMT_SEV_NOTE,
			     "%s: %s", name, bcfmt_report_at(report, i)->problem->slug);
	for (size_t i = 0; i < verdict.n_devices; i++)
		cr_assert_eq(verdict.devices[i].dirty_bytes, 0, "%s", name);
	state = bcfmt_super_bdev_state(&set->backing[0].super);
	cr_assert_eq(state, is_detach ? BCFMT_BDEV_NONE : BCFMT_BDEV_CLEAN, "%s: state %u", name,
		     state);
	cr_assert_eq(bcfmt_uuid_state(&set->uuids[0]),
		     is_detach ? BCFMT_UUID_DETACHED : BCFMT_UUID_LIVE, "%s", name);
	bcfmt_verdict_clear(&verdict);
	bcfmt_report_free(report);
	bcfmt_set_free(set);
}

static bool is_as_before(struct bcfmt_dev *const disks[N_DISKS])
{
	bool is_same = true;

	for (size_t i = 0; i < 2; i++) {
		uint8_t *is = bytes_of(disks[i]);

		is_same &= !memcmp(is, before[i], bcfmt_dev_bytes(disks[i]));
		free(is);
	}
	return is_same;
}

/* An undo file that says nothing yet belongs to devices that nothing was written to. */
static void expect_undone(struct bcfmt_dev *const disks[N_DISKS], const char *name)
{
	struct bcfmt_dev *devs[] = { disks[CACHE], disks[BACKING] };
	struct bcfmt_undo_file *file;
	bcfmt_err err = bcfmt_undo_file_open_dev(kit.ctx, disks[STORE], &file);

	if (!err) {
		err = bcfmt_undo_file_match(file, devs, 2);
		if (!err)
			err = bcfmt_undo_file_check(file, NULL, NULL);
		if (!err)
			err = bcfmt_undo_file_apply(file, 0);
		bcfmt_undo_file_free(file);
	}
	cr_assert(is_as_before(disks), "%s: %s %s", name, bcfmt_err_name(err),
		  bcfmt_ctx_fault(kit.ctx));
	bcfmt_ctx_fault_clear(kit.ctx);
}

/* Both from what the cut left: what is written after it is lost again. */
static void expect_both(void *arg, const struct cut *cut, struct bcfmt_dev *const disks[N_DISKS])
{
	struct bcfmt_dev *again[N_DISKS];
	char name[CUT_NAME_BYTES];

	(void)arg;
	for (size_t i = 0; i < N_DISKS; i++)
		cr_assert_eq(bcfmt_dev_overlay(kit.ctx, disks[i], &again[i]), BCFMT_OK);
	expect_home(again, cut_name(cut, name));
	for (size_t i = 0; i < N_DISKS; i++)
		bcfmt_dev_free(again[i]);
	expect_undone(disks, cut_name(cut, name));
}

/* ---- the scene ---- */

static struct bcfmt_key dirty(uint64_t start, uint32_t sectors, uint64_t bucket, uint32_t sector)
{
	uint64_t ptr = set_kit_ptr(&kit, nth(bucket), sector);

	for (uint32_t i = 0; i < sectors; i++) {
		uint8_t raw[512];

		memset(raw, (int)(start + i) & 0xff, sizeof(raw));
		memcpy(raw, &ptr, sizeof(ptr));
		set_kit_write(&kit, bcfmt_ptr_sector(ptr) + i, raw, sizeof(raw));
		memcpy(truth + (start + i) * 512, raw, sizeof(raw));
	}
	return set_kit_dirty(0, start, sectors, ptr);
}

/* Two leaves, and a journal that changes both. */
static void build(void)
{
	struct bcfmt_key one[3], two[2], replay[2], top[2];
	struct set_kit_jset jset = { .ring_index = 1, .seq = 5, .level = 1, .n_keys = 2 };
	uint8_t old[512];

	set_kit_backing(&kit, 0, BCFMT_BDEV_DIRTY, BACKING_SECTORS);
	memset(old, 0x11, sizeof(old));
	for (uint64_t i = 16; i < BACKING_SECTORS; i++)
		cr_assert_eq(bcfmt_dev_write(kit.backing[0], i * 512, old, sizeof(old)), BCFMT_OK);
	truth = bytes_of(kit.backing[0]);
	one[0] = dirty(100, 8, 10, 0);
	one[1] = dirty(108, 4, 11, 4);
	one[2] = dirty(200, 16, 12, 0);
	two[0] = dirty(1200, 16, 13, 0);
	two[1] = dirty(3000, 8, 14, 0);
	replay[0] = dirty(104, 8, 15, 0);
	replay[1] = dirty(2000, 8, 16, 8);
	top[0] = set_kit_child(&kit, pos(0, 1000), leaf_of(1, one, 3));
	top[1] = set_kit_last_child(&kit, leaf_of(2, two, 2));
	set_kit_tables(&kit);
	jset.root_ptr = set_kit_node(&kit, nth(0), top, 2);
	jset.keys = replay;
	set_kit_jset(&kit, &jset);
	before[CACHE] = bytes_of(kit.dev);
	before[BACKING] = bytes_of(kit.backing[0]);
}

static void try_all(void)
{
	struct bcfmt_dev *lower[N_DISKS] = { kit.dev, kit.backing[0] };
	struct timeline line;
	struct bcfmt_undo *undo;
	unsigned int moments;

	cr_assert_eq(bcfmt_dev_mem(kit.ctx, "store", NULL, STORE_BYTES, &lower[STORE]), BCFMT_OK);
	timeline_begin(kit.ctx, &line, lower);
	cr_assert_eq(bcfmt_undo_create_on(kit.ctx, line.dev[STORE], "test", &undo), BCFMT_OK);
	bring_home(line.dev[CACHE], line.dev[BACKING], undo);
	cr_assert_eq(bcfmt_undo_finish(undo), BCFMT_OK);
	bcfmt_undo_free(undo);
	timeline_end(&line);
	moments = timeline_every_moment(&line, expect_both, NULL);
	cr_log_info("%u power cuts in %u writes", moments, line.end - line.first);
	cr_expect_gt(moments, 100, "%u", moments);
	timeline_free(&line);
	bcfmt_dev_free(lower[STORE]);
	free(before[CACHE]);
	free(before[BACKING]);
	free(truth);
}

Test(home_cuts, writeback)
{
	build();
	try_all();
}

Test(home_cuts, writeback_and_detach)
{
	is_detach = true;
	build();
	try_all();
}
