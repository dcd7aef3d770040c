/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Dirty data is copied to its backing device: which, where to, and what is left out. */
#include "check_help.h"

#include <stdio.h>
#include <unistd.h>

#include <bcfmt/write_log.h>
#include <bcfmt/writeback.h>

#define BACKING_SECTORS 4096u
#define LEFT_MAX 16u
#define LOG_BYTES (4u << 20)

TestSuite(writeback, .init = begin, .fini = end);

static struct bcfmt_home *home;
static struct bcfmt_home_left left[LEFT_MAX];
static size_t n_left;
static struct bcfmt_writeback_sums sums;
/* Whether these are home is asked after a run. */
static struct bcfmt_extent asked[2];
static bool is_home[2];

static bcfmt_err note_left(void *arg, const struct bcfmt_home_left *one)
{
	(void)arg;
	cr_assert_lt(n_left, LEFT_MAX);
	left[n_left++] = *one;
	return BCFMT_OK;
}

/* A sector of data that names its place on the cache. */
static void fill(uint8_t raw[512], uint64_t cache_sector)
{
	for (size_t i = 0; i < 64; i++)
		memcpy(raw + 8 * i, &cache_sector, 8);
}

static void put_data(uint64_t ptr, uint32_t sectors)
{
	uint8_t raw[512];

	for (uint32_t i = 0; i < sectors; i++) {
		fill(raw, bcfmt_ptr_sector(ptr) + i);
		set_kit_write(&kit, bcfmt_ptr_sector(ptr) + i, raw, sizeof(raw));
	}
}

/* A dirty key over data that is there. */
static struct bcfmt_key dirty(uint32_t inode, uint64_t start, uint32_t sectors, uint64_t bucket,
			      uint32_t sector)
{
	uint64_t ptr = set_kit_ptr(&kit, nth(bucket), sector);

	put_data(ptr, sectors);
	return set_kit_dirty(inode, start, sectors, ptr);
}

/* Sectors [start, end) of the backing device are those of the cache from cache_sector on. */
static void expect_home(struct bcfmt_dev *dev, uint64_t start, uint64_t range_end, uint64_t bucket,
			uint32_t sector)
{
	uint64_t cache_sector = bcfmt_bucket_sector(&kit.geo, nth(bucket)) + sector;
	uint8_t is[512], should[512];

	for (uint64_t i = start; i < range_end; i++) {
		cr_assert_eq(bcfmt_dev_read(dev, i * 512, is, 512), BCFMT_OK);
		fill(should, cache_sector + i - start);
		cr_expect(!memcmp(is, should, 512), "sector %llu", (unsigned long long)i);
	}
}

static void expect_untouched(struct bcfmt_dev *dev, uint64_t start, uint64_t range_end)
{
	static const uint8_t zeros[512];
	uint8_t is[512];

	for (uint64_t i = start; i < range_end; i++) {
		cr_assert_eq(bcfmt_dev_read(dev, i * 512, is, 512), BCFMT_OK);
		cr_expect(!memcmp(is, zeros, 512), "sector %llu was written",
			  (unsigned long long)i);
	}
}

static bcfmt_err run(size_t device, struct bcfmt_writeback_params *params)
{
	struct bcfmt_home_done *done;
	bcfmt_err err;

	if (!home)
		cr_assert_eq(bcfmt_home_new(kit.set, NULL, 0, false, &home), BCFMT_OK);
	cr_assert_eq(bcfmt_home_done_new(kit.ctx, &home->devices[device], &done), BCFMT_OK);
	if (!params->target)
		params->target = kit.backing[device];
	params->left = note_left;
	n_left = 0;
	err = bcfmt_writeback_run(kit.set, &home->devices[device], params, done);
	sums = *bcfmt_home_done_sums(done);
	cr_expect_eq(bcfmt_home_done_is_whole(done), !err && !n_left);
	for (size_t i = 0; i < 2; i++)
		is_home[i] = bcfmt_home_done_has(done, &asked[i]);
	bcfmt_home_done_free(done);
	return err;
}

static void open_leaf(const struct bcfmt_key *keys, uint32_t n)
{
	set_kit_tables(&kit);
	set_kit_first_jset(&kit, leaf_of(0, keys, n), 0);
	cr_assert_eq(set_kit_open(&kit), BCFMT_OK);
}

Test(writeback, dirty_extents_go_home_and_nothing_else_is_written)
{
	struct bcfmt_writeback_params params = { .undo = NULL };

	set_kit_backing(&kit, 0, BCFMT_BDEV_DIRTY, BACKING_SECTORS);
	open_leaf((struct bcfmt_key[]){ dirty(0, 100, 8, 5, 8), dirty(0, 108, 4, 5, 0),
					set_kit_clean(0, 112, 8, set_kit_ptr(&kit, nth(6), 0)),
					dirty(0, 4080, 16, 7, 0), dirty(1, 200, 8, 8, 0) },
		  5);
	cr_assert_eq(run(0, &params), BCFMT_OK, "%s", bcfmt_ctx_fault(kit.ctx));
	cr_expect_eq(sums.copied_bytes, 28 * 512);
	cr_expect_eq(n_left, 0);
	expect_untouched(kit.backing[0], 16, 100);
	expect_home(kit.backing[0], 100, 108, 5, 8);
	expect_home(kit.backing[0], 108, 112, 5, 0);
	expect_untouched(kit.backing[0], 112, 4080);
	expect_home(kit.backing[0], 4080, 4096, 7, 0);
	bcfmt_home_free(home);
}

/* What lies side by side at home is one write, wherever it lay; and they ascend. */
Test(writeback, it_writes_in_the_order_of_the_device_and_as_much_as_goes_on_at_once)
{
	struct bcfmt_writeback_params params = { .undo = NULL };
	struct bcfmt_write_log_entry entry;
	struct bcfmt_recording *recording;
	struct bcfmt_write_log *writes;
	struct bcfmt_dev *log_dev;
	struct bcfmt_key keys[64];
	uint64_t at = 0, n_writes = 0;
	uint32_t begin, i;

	/* Two stretches of 32 extents, whose places on the cache run against them. */
	for (i = 0; i < 64; i++)
		keys[i] = dirty(0, (i < 32 ? 100 : 2000) + 8ull * (i % 32), 8, 40 - i / 2,
				8 * (1 - i % 2));
	set_kit_backing(&kit, 0, BCFMT_BDEV_DIRTY, BACKING_SECTORS);
	open_leaf(keys, 64);
	cr_assert_eq(bcfmt_recording_new(kit.ctx, &recording), BCFMT_OK);
	cr_assert_eq(bcfmt_dev_mem(kit.ctx, "log", NULL, LOG_BYTES, &log_dev), BCFMT_OK);
	cr_assert_eq(bcfmt_dev_recording(kit.ctx, recording, kit.backing[0], log_dev,
					 &params.target),
		     BCFMT_OK);
	begin = bcfmt_recording_entries(recording);
	cr_assert_eq(run(0, &params), BCFMT_OK, "%s", bcfmt_ctx_fault(kit.ctx));
	cr_expect_eq(sums.copied_bytes, 64 * 8 * 512);
	cr_assert_eq(bcfmt_write_log_open(kit.ctx, log_dev, BACKING_SECTORS * 512, &writes),
		     BCFMT_OK);
	for (i = begin; i < bcfmt_write_log_entries(writes); i++) {
		cr_assert_eq(bcfmt_write_log_entry(writes, i, &entry), BCFMT_OK);
		if (!entry.is_write)
			continue;
		cr_expect_eq(entry.start_sector, n_writes ? 2000 : 100);
		cr_expect_eq(entry.sectors, 256);
		cr_expect_geq(entry.start_sector, at);
		at = entry.start_sector + entry.sectors;
		n_writes++;
	}
	cr_expect_eq(n_writes, 2);
	/* The last thing is that all of it is durable. */
	cr_expect(!entry.is_write && entry.flags & BCFMT_WRITE_LOG_FLUSH);
	bcfmt_write_log_free(writes);
	bcfmt_dev_free(params.target);
	bcfmt_dev_free(log_dev);
	bcfmt_recording_free(recording);
	bcfmt_home_free(home);
}

Test(writeback, what_is_replayed_goes_home_too)
{
	struct bcfmt_writeback_params params = { .undo = NULL };
	struct bcfmt_key old = dirty(0, 100, 8, 5, 0), new = dirty(0, 104, 8, 6, 0);
	struct set_kit_jset jset = { .ring_index = 1, .seq = 1, .keys = &new, .n_keys = 1 };

	set_kit_backing(&kit, 0, BCFMT_BDEV_DIRTY, BACKING_SECTORS);
	set_kit_tables(&kit);
	jset.root_ptr = leaf_of(0, &old, 1);
	set_kit_jset(&kit, &jset);
	cr_assert_eq(set_kit_open(&kit), BCFMT_OK);
	cr_assert_eq(run(0, &params), BCFMT_OK);
	expect_home(kit.backing[0], 100, 104, 5, 0);
	expect_home(kit.backing[0], 104, 112, 6, 0);
	bcfmt_home_free(home);
}

Test(writeback, superblock_and_end_of_the_device_are_bounds)
{
	struct bcfmt_writeback_params params = { .undo = NULL };
	uint8_t before[512], after[512];

	set_kit_backing(&kit, 0, BCFMT_BDEV_DIRTY, BACKING_SECTORS);
	open_leaf((struct bcfmt_key[]){ dirty(0, 8, 16, 5, 0), dirty(0, 4090, 16, 6, 0),
					dirty(0, 5000, 8, 7, 0) },
		  3);
	cr_assert_eq(bcfmt_dev_read(kit.backing[0], 8 * 512, before, 512), BCFMT_OK);
	cr_assert_eq(run(0, &params), BCFMT_OK);
	cr_assert_eq(bcfmt_dev_read(kit.backing[0], 8 * 512, after, 512), BCFMT_OK);
	cr_expect(!memcmp(before, after, 512));
	expect_untouched(kit.backing[0], 9, 16);
	expect_home(kit.backing[0], 16, 24, 5, 8);
	expect_home(kit.backing[0], 4090, 4096, 6, 0);
	cr_expect_eq(sums.outside_bytes, (8 + 10 + 8) * 512);
	cr_assert_eq(n_left, 3);
	cr_expect_eq(left[0].why, BCFMT_HOME_OUTSIDE);
	cr_expect_eq(left[0].start_sector, 8);
	cr_expect_eq(left[0].sectors, 8);
	cr_expect_eq(left[1].start_sector, 4096);
	cr_expect_eq(left[1].sectors, 10);
	cr_expect_eq(left[2].start_sector, 5000);
	bcfmt_home_free(home);
}

Test(writeback, data_in_a_bucket_of_metadata_is_no_data)
{
	struct bcfmt_writeback_params params = { .undo = NULL };

	set_kit_backing(&kit, 0, BCFMT_BDEV_DIRTY, BACKING_SECTORS);
	open_leaf((struct bcfmt_key[]){ set_kit_dirty(0, 100, 8,
						      set_kit_ptr(&kit, kit.uuid_bucket, 0)) },
		  1);
	cr_assert_eq(run(0, &params), BCFMT_OK);
	expect_untouched(kit.backing[0], 16, 4096);
	cr_assert_eq(n_left, 1);
	cr_expect_eq(left[0].why, BCFMT_HOME_PLACE);
	bcfmt_home_free(home);
}

Test(writeback, stale_data_stays_where_it_is)
{
	struct bcfmt_writeback_params params = { .undo = NULL };
	struct bcfmt_key key = dirty(0, 100, 8, 5, 0);

	set_kit_backing(&kit, 0, BCFMT_BDEV_DIRTY, BACKING_SECTORS);
	kit.gens[nth(5)]++;
	open_leaf(&key, 1);
	cr_assert_eq(run(0, &params), BCFMT_OK);
	expect_untouched(kit.backing[0], 16, 4096);
	cr_expect_eq(sums.copied_bytes, 0);
	bcfmt_home_free(home);
}

Test(writeback, a_refused_device_is_not_touched)
{
	struct bcfmt_writeback_params params = { .undo = NULL };
	struct bcfmt_key key = dirty(0, 100, 8, 5, 0);

	set_kit_backing(&kit, 0, BCFMT_BDEV_STALE, BACKING_SECTORS);
	open_leaf(&key, 1);
	cr_expect_eq(run(0, &params), BCFMT_E_ARG);
	cr_expect_not_null(strstr(bcfmt_ctx_fault(kit.ctx), "backing0: not written to, it was run "
							    "without its cache"));
	expect_untouched(kit.backing[0], 16, 4096);
	bcfmt_home_free(home);
}

/* ---- sectors that cannot be read ---- */

Test(writeback, unreadable_sectors_are_told_and_the_rest_comes_home)
{
	struct bcfmt_writeback_params params = { .undo = NULL };
	uint64_t at = bcfmt_bucket_sector(&kit.geo, nth(5));
	char path[] = "/tmp/bcfmt-map-XXXXXX";
	struct bcfmt_dev *devs[2];
	FILE *map = fdopen(mkstemp(path), "w");

	set_kit_backing(&kit, 0, BCFMT_BDEV_DIRTY, BACKING_SECTORS);
	set_kit_tables(&kit);
	set_kit_first_jset(
		&kit,
		leaf_of(0, (struct bcfmt_key[]){ dirty(0, 100, 16, 5, 0), dirty(0, 116, 8, 6, 0) },
			2),
		0);
	cr_assert_not_null(map);
	/* Sectors 3, 4 and 9 of the bucket. */
	fprintf(map, "0 +\n0 %llu +\n%llu 1024 -\n%llu 2048 +\n%llu 512 -\n%llu 0x10000000 +\n",
		(unsigned long long)(at + 3) * 512, (unsigned long long)(at + 3) * 512,
		(unsigned long long)(at + 5) * 512, (unsigned long long)(at + 9) * 512,
		(unsigned long long)(at + 10) * 512);
	fclose(map);
	cr_assert_eq(bcfmt_dev_badmap(kit.ctx, kit.dev, path, &kit.dev), BCFMT_OK, "%s",
		     bcfmt_ctx_fault(kit.ctx));
	unlink(path);
	devs[0] = kit.dev;
	devs[1] = kit.backing[0];
	cr_assert_eq(bcfmt_set_open(kit.ctx, devs, 2, NULL, &kit.set), BCFMT_OK);
	asked[0] = (struct bcfmt_extent){ .start_sector = 100, .end_sector = 116 };
	asked[1] = (struct bcfmt_extent){ .start_sector = 116, .end_sector = 124 };
	cr_assert_eq(run(0, &params), BCFMT_OK);
	cr_expect_not(is_home[0]);
	cr_expect(is_home[1]);
	expect_home(kit.backing[0], 100, 103, 5, 0);
	expect_untouched(kit.backing[0], 103, 105);
	expect_home(kit.backing[0], 105, 109, 5, 5);
	expect_untouched(kit.backing[0], 109, 110);
	expect_home(kit.backing[0], 110, 116, 5, 10);
	expect_home(kit.backing[0], 116, 124, 6, 0);
	cr_expect_eq(sums.copied_bytes, 21 * 512);
	cr_expect_eq(sums.unreadable_bytes, 3 * 512);
	cr_assert_eq(n_left, 2);
	cr_expect_eq(left[0].why, BCFMT_HOME_UNREADABLE);
	cr_expect_eq(left[0].start_sector, 103);
	cr_expect_eq(left[0].sectors, 2);
	cr_expect_eq(left[0].cache_sector, at + 3);
	cr_expect_eq(left[1].start_sector, 109);
	bcfmt_home_free(home);
}

/* ---- adopted data ---- */

Test(writeback, adopted_data_yields_to_what_newer_inodes_have)
{
	struct bcfmt_adoption words[] = { { .inode = 2 }, { .inode = 3 } };
	struct bcfmt_writeback_params params = { .undo = NULL };

	set_kit_backing(&kit, 4, BCFMT_BDEV_CLEAN, BACKING_SECTORS);
	for (size_t i = 0; i < 2; i++)
		memset(words[i].uuid, 0xb4, BCFMT_UUID_BYTES);
	open_leaf((struct bcfmt_key[]){ dirty(2, 100, 16, 5, 0), dirty(2, 200, 16, 6, 0),
					dirty(3, 208, 16, 7, 0),
					set_kit_clean(4, 104, 4, set_kit_ptr(&kit, nth(8), 0)),
					dirty(4, 220, 8, 9, 0) },
		  5);
	cr_assert_eq(bcfmt_home_new(kit.set, words, 2, false, &home), BCFMT_OK);
	cr_assert_eq(run(0, &params), BCFMT_OK, "%s", bcfmt_ctx_fault(kit.ctx));
	expect_home(kit.backing[0], 100, 104, 5, 0);
	expect_untouched(kit.backing[0], 104, 108);
	expect_home(kit.backing[0], 108, 116, 5, 8);
	expect_home(kit.backing[0], 200, 208, 6, 0);
	expect_home(kit.backing[0], 208, 220, 7, 0);
	expect_home(kit.backing[0], 220, 228, 9, 0);
	cr_expect_eq(sums.covered_bytes, (4 + 4 + 8) * 512);
	bcfmt_home_free(home);
}

/* ---- undo, stops ---- */

Test(writeback, what_is_overwritten_can_be_put_back)
{
	struct bcfmt_writeback_params params = { .undo_index = 0 };
	struct bcfmt_key key = dirty(0, 100, 16, 5, 0);
	struct bcfmt_dev *store;
	uint8_t old[512], is[512];

	set_kit_backing(&kit, 0, BCFMT_BDEV_DIRTY, BACKING_SECTORS);
	memset(old, 0x17, sizeof(old));
	cr_assert_eq(bcfmt_dev_write(kit.backing[0], 105 * 512, old, sizeof(old)), BCFMT_OK);
	open_leaf(&key, 1);
	cr_assert_eq(bcfmt_dev_mem(kit.ctx, "undo", NULL, 1 << 20, &store), BCFMT_OK);
	cr_assert_eq(bcfmt_undo_create_on(kit.ctx, store, "test", &params.undo), BCFMT_OK);
	cr_assert_eq(bcfmt_undo_add_device(params.undo, kit.backing[0], &params.undo_index),
		     BCFMT_OK);
	cr_assert_eq(run(0, &params), BCFMT_OK);
	expect_home(kit.backing[0], 100, 116, 5, 0);
	cr_assert_eq(bcfmt_undo_finish(params.undo), BCFMT_OK);
	bcfmt_undo_free(params.undo);
	{
		struct bcfmt_undo_file *file;
		struct bcfmt_dev *devs[] = { kit.backing[0] };

		cr_assert_eq(bcfmt_undo_file_open_dev(kit.ctx, store, &file), BCFMT_OK);
		cr_assert_eq(bcfmt_undo_file_match(file, devs, 1), BCFMT_OK);
		cr_assert_eq(bcfmt_undo_file_check(file, NULL, NULL), BCFMT_OK);
		cr_assert_eq(bcfmt_undo_file_apply(file, 0), BCFMT_OK, "%s",
			     bcfmt_ctx_fault(kit.ctx));
		bcfmt_undo_file_free(file);
	}
	cr_assert_eq(bcfmt_dev_read(kit.backing[0], 105 * 512, is, sizeof(is)), BCFMT_OK);
	cr_expect(!memcmp(is, old, sizeof(old)));
	expect_untouched(kit.backing[0], 100, 105);
	bcfmt_dev_free(store);
	bcfmt_home_free(home);
}

Test(writeback, it_stops_between_leaves_and_goes_on)
{
	struct bcfmt_writeback_params params = { .stop_bytes = 1 };
	const struct bcfmt_extent first = { .start_sector = 100, .end_sector = 108 };
	const struct bcfmt_extent second = { .start_sector = 1100, .end_sector = 1108 };
	struct bcfmt_home_done *done;
	struct bcfmt_key one = dirty(0, 100, 8, 5, 0), two = dirty(0, 1100, 8, 6, 0);
	struct bcfmt_key top[2];

	set_kit_backing(&kit, 0, BCFMT_BDEV_DIRTY, BACKING_SECTORS);
	top[0] = set_kit_child(&kit, pos(0, 1000), leaf_of(1, &one, 1));
	top[1] = set_kit_last_child(&kit, leaf_of(2, &two, 1));
	set_kit_tables(&kit);
	set_kit_first_jset(&kit, set_kit_node(&kit, nth(0), top, 2), 1);
	cr_assert_eq(set_kit_open(&kit), BCFMT_OK);
	cr_assert_eq(bcfmt_home_new(kit.set, NULL, 0, false, &home), BCFMT_OK);
	params.target = kit.backing[0];
	cr_assert_eq(bcfmt_home_done_new(kit.ctx, &home->devices[0], &done), BCFMT_OK);
	cr_expect_not(bcfmt_home_done_has(done, &first));
	/* A batch is larger than the first leaf: what was read of it is written all the same. */
	cr_assert_eq(bcfmt_writeback_run(kit.set, &home->devices[0], &params, done), BCFMT_OK);
	cr_expect_not(bcfmt_home_done_is_through(done));
	cr_expect(bcfmt_home_done_has(done, &first));
	cr_expect_not(bcfmt_home_done_has(done, &second));
	expect_home(kit.backing[0], 100, 108, 5, 0);
	expect_untouched(kit.backing[0], 1000, 4096);
	cr_assert_eq(bcfmt_writeback_run(kit.set, &home->devices[0], &params, done), BCFMT_OK);
	cr_expect(bcfmt_home_done_is_whole(done));
	cr_expect(bcfmt_home_done_has(done, &second));
	cr_expect_eq(bcfmt_home_done_sums(done)->copied_bytes, 16 * 512);
	expect_home(kit.backing[0], 1100, 1108, 6, 0);
	bcfmt_home_done_free(done);
	bcfmt_home_free(home);
}

/* Cancels when the first thing is told: between two leaves. */
static bcfmt_err cancel_now(void *arg, const struct bcfmt_home_left *one)
{
	(void)arg;
	(void)one;
	cancelled = 1;
	return BCFMT_OK;
}

Test(writeback, a_run_that_was_cancelled_goes_on)
{
	struct bcfmt_writeback_params params = { .left = cancel_now };
	const struct bcfmt_extent first = { .start_sector = 100, .end_sector = 108 };
	struct bcfmt_key one[] = { dirty(0, 8, 8, 7, 0), dirty(0, 100, 8, 5, 0) };
	struct bcfmt_key two = dirty(0, 1100, 8, 6, 0), top[2];
	struct bcfmt_home_done *done;

	set_kit_backing(&kit, 0, BCFMT_BDEV_DIRTY, BACKING_SECTORS);
	top[0] = set_kit_child(&kit, pos(0, 1000), leaf_of(1, one, 2));
	top[1] = set_kit_last_child(&kit, leaf_of(2, &two, 1));
	set_kit_tables(&kit);
	set_kit_first_jset(&kit, set_kit_node(&kit, nth(0), top, 2), 1);
	cr_assert_eq(set_kit_open(&kit), BCFMT_OK);
	cr_assert_eq(bcfmt_home_new(kit.set, NULL, 0, false, &home), BCFMT_OK);
	cr_assert_eq(bcfmt_home_done_new(kit.ctx, &home->devices[0], &done), BCFMT_OK);
	params.target = kit.backing[0];
	cr_expect_eq(bcfmt_writeback_run(kit.set, &home->devices[0], &params, done),
		     BCFMT_E_CANCELLED);
	cr_expect_not(bcfmt_home_done_is_through(done));
	cr_expect_not(bcfmt_home_done_has(done, &first));
	cancelled = 0;
	params.left = NULL;
	cr_expect_eq(bcfmt_writeback_run(kit.set, &home->devices[0], &params, done), BCFMT_OK);
	cr_expect(bcfmt_home_done_is_through(done));
	cr_expect(bcfmt_home_done_has(done, &first));
	expect_home(kit.backing[0], 100, 108, 5, 0);
	expect_home(kit.backing[0], 1100, 1108, 6, 0);
	bcfmt_home_done_free(done);
	bcfmt_home_free(home);
}

Test(writeback, a_failed_write_or_flush_is_an_error)
{
	const struct bcfmt_extent extent = { .start_sector = 100, .end_sector = 108 };
	struct bcfmt_key key = dirty(0, 100, 8, 5, 0);

	set_kit_backing(&kit, 0, BCFMT_BDEV_DIRTY, BACKING_SECTORS);
	open_leaf(&key, 1);
	for (int i = 0; i < 2; i++) {
		struct bcfmt_dev_faults faults = { .fail_write = i == 0, .fail_flush = i == 1 };
		struct bcfmt_writeback_params params = { .undo = NULL };
		struct bcfmt_home_done *done;

		cr_assert_eq(bcfmt_dev_mem(kit.ctx, "target", NULL, BACKING_SECTORS * 512,
					   &params.target),
			     BCFMT_OK);
		cr_assert_eq(bcfmt_dev_faulty(kit.ctx, params.target, &faults, &params.target),
			     BCFMT_OK);
		if (!home)
			cr_assert_eq(bcfmt_home_new(kit.set, NULL, 0, false, &home), BCFMT_OK);
		cr_assert_eq(bcfmt_home_done_new(kit.ctx, &home->devices[0], &done), BCFMT_OK);
		bcfmt_ctx_fault_clear(kit.ctx);
		cr_expect_eq(bcfmt_writeback_run(kit.set, &home->devices[0], &params, done),
			     BCFMT_E_IO);
		cr_expect_not_null(strstr(bcfmt_ctx_fault(kit.ctx), "target"));
		cr_expect_not(bcfmt_home_done_has(done, &extent));
		bcfmt_home_done_free(done);
		bcfmt_dev_free(params.target);
	}
	bcfmt_home_free(home);
}
