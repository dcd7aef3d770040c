/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Undo files, and devices, that fail: every read, write, flush and allocation in turn, once and
 * from then on. The error comes through, nothing is written that is not saved, and what the file
 * says by then puts everything back.
 */
#include "undo_help.h"

#include "alloc_help.h"
#include "dev/dev_impl.h"

#define DEV_SECTORS 700u
#define DEV_BYTES (DEV_SECTORS * 512u)

/* Stands on a device that it does not own, and may forget what it is told about one sector. */
#define NO_SECTOR UINT64_MAX
struct lying_dev {
	struct bcfmt_dev dev;
	struct bcfmt_dev *lower;
	uint64_t sector;
};

static bcfmt_err lying_read(struct bcfmt_dev *dev, uint64_t offset_bytes, void *buf,
			    size_t len_bytes, struct io_fault *fault)
{
	return dev_read_quiet(((struct lying_dev *)dev)->lower, offset_bytes, buf, len_bytes,
			      fault);
}

static bcfmt_err lying_write(struct bcfmt_dev *dev, uint64_t offset_bytes, const void *buf,
			     size_t len_bytes, struct io_fault *fault)
{
	struct lying_dev *lying = (struct lying_dev *)dev;
	uint8_t sector[512];
	uint64_t at_bytes = lying->sector * 512;
	bcfmt_err err;

	if (lying->sector == NO_SECTOR)
		return dev_write_quiet(lying->lower, offset_bytes, buf, len_bytes, fault);
	err = dev_read_quiet(lying->lower, at_bytes, sector, sizeof(sector), fault);
	if (!err)
		err = dev_write_quiet(lying->lower, offset_bytes, buf, len_bytes, fault);
	return err ? err : dev_write_quiet(lying->lower, at_bytes, sector, sizeof(sector), fault);
}

static void lying_free(struct bcfmt_dev *dev)
{
	free(dev);
}

static const struct dev_ops lying_ops = { .read = lying_read,
					  .write = lying_write,
					  .free = lying_free };

static struct bcfmt_dev *borrow(struct bcfmt_dev *lower, uint64_t lying_sector)
{
	struct lying_dev *lying = calloc(1, sizeof(*lying));

	cr_assert_eq(dev_init_above(&lying->dev, &lying_ops, help_ctx, lower), BCFMT_OK);
	lying->lower = lower;
	lying->sector = lying_sector;
	return &lying->dev;
}

/* ---- the scene ---- */

static struct bcfmt_dev *raw_disks[2], *raw_store; /* never fail */
static struct bcfmt_dev *disks[2], *store;
static uint8_t *before[2];

static void end_scene(void)
{
	for (size_t i = 0; i < 2; i++) {
		bcfmt_dev_free(disks[i]);
		bcfmt_dev_free(raw_disks[i]);
		free(before[i]);
		disks[i] = NULL;
		raw_disks[i] = NULL;
		before[i] = NULL;
	}
	bcfmt_dev_free(store);
	bcfmt_dev_free(raw_store);
	store = NULL;
	raw_store = NULL;
}

static struct bcfmt_dev *faulty(struct bcfmt_dev *raw, const struct bcfmt_dev_faults *faults)
{
	struct bcfmt_dev *dev;

	cr_assert_eq(bcfmt_dev_faulty(help_ctx, borrow(raw, NO_SECTOR), faults, &dev), BCFMT_OK);
	return dev;
}

/* Two old devices, and an empty place for the file, that fail as told. */
static void begin_scene(const struct bcfmt_dev_faults *of_disks,
			const struct bcfmt_dev_faults *of_store)
{
	uint8_t super[BCFMT_SUPER_BYTES], zeros[40 * 512] = { 0 };

	end_scene();
	for (size_t i = 0; i < 2; i++) {
		raw_disks[i] = help_mem(DEV_BYTES, (unsigned int)i + 1);
		help_super(super, i, (uint8_t)(1 + i), "old");
		cr_assert_eq(bcfmt_dev_write(raw_disks[i], 4096, super, sizeof(super)), BCFMT_OK);
		cr_assert_eq(bcfmt_dev_write(raw_disks[i], 300 * 512, zeros, sizeof(zeros)),
			     BCFMT_OK);
		before[i] = help_copy(raw_disks[i]);
		disks[i] = faulty(raw_disks[i], of_disks);
	}
	raw_store = help_store();
	store = faulty(raw_store, of_store);
}

static bool is_as_before(void)
{
	return help_holds(raw_disks[0], before[0]) && help_holds(raw_disks[1], before[1]);
}

static void end(void)
{
	is_counting = false;
	end_scene();
	help_end();
}

TestSuite(undo_fail, .init = help_begin, .fini = end);

static const struct bcfmt_dev_faults no_faults;

/* ---- what a program does, up to its first error ---- */

static bcfmt_err save_and_write(struct bcfmt_undo *undo, struct bcfmt_dev *dev, uint64_t sector,
				uint64_t sectors, unsigned int seed)
{
	static uint8_t bytes[64 * 512];
	unsigned int index;
	bcfmt_err err = bcfmt_undo_add_device(undo, dev, &index);

	memset(bytes, 0, sizeof(bytes));
	if (seed)
		help_fill(bytes, sector * 512, sectors * 512, seed);
	if (!err)
		err = bcfmt_undo_save(undo, index, sector * 512, seed ? bytes : NULL,
				      sectors * 512);
	if (!err)
		err = bcfmt_undo_sync(undo);
	if (!err)
		err = bcfmt_dev_write(dev, sector * 512, bytes, sectors * 512);
	return err;
}

static bcfmt_err work(struct bcfmt_undo *undo)
{
	uint8_t buf[2048];
	struct bcfmt_dev *saving = NULL;
	unsigned int index;
	bcfmt_err err = save_and_write(undo, disks[0], 0, 16, 3);

	if (!err)
		err = save_and_write(undo, disks[1], 8, 8, 0);
	if (!err)
		err = save_and_write(undo, disks[0], 290, 64, 4);
	if (!err)
		err = bcfmt_undo_add_device(undo, disks[0], &index);
	if (!err)
		err = bcfmt_dev_undo(help_ctx, disks[0], undo, index, &saving);
	help_fill(buf, 0, sizeof(buf), 5);
	for (unsigned int i = 0; i < 4 && !err; i++)
		err = bcfmt_dev_write(saving, (298 + 3 * i) * 512, buf, sizeof(buf));
	if (!err)
		err = bcfmt_dev_flush(saving);
	bcfmt_dev_free(saving);
	return err;
}

static bcfmt_err change_all(struct bcfmt_undo **undo)
{
	bcfmt_err err = bcfmt_undo_create_on(help_ctx, store, "a test", undo);

	if (!err)
		err = work(*undo);
	return err ? err : bcfmt_undo_finish(*undo);
}

/* Whatever went wrong: as the file is now, the devices can be put back, or were not touched. */
static void expect_recoverable(uint64_t at)
{
	bool is_untouched = is_as_before();
	bcfmt_err err = help_put_back(raw_store, raw_disks, 2, 0);

	cr_assert(!err || (is_untouched && err == BCFMT_E_DAMAGED), "operation %llu: %s",
		  (unsigned long long)at, bcfmt_ctx_fault(help_ctx));
	bcfmt_ctx_fault_clear(help_ctx);
	cr_assert(is_as_before(), "operation %llu", (unsigned long long)at);
}

enum operation { READ, WRITE, FLUSH };

static struct bcfmt_dev_faults fault_at(enum operation operation, uint64_t at, bool once)
{
	struct bcfmt_dev_faults faults = { .once = once };

	if (operation == READ)
		faults.fail_read = at;
	else if (operation == WRITE)
		faults.fail_write = at;
	else
		faults.fail_flush = at;
	return faults;
}

static void fail_each_of_store(enum operation operation, bool once, uint64_t least)
{
	uint64_t at;

	for (at = 1;; at++) {
		struct bcfmt_dev_faults faults = fault_at(operation, at, once);
		struct bcfmt_undo *undo = NULL;
		unsigned int index;
		bcfmt_err err;

		begin_scene(&no_faults, &faults);
		err = change_all(&undo);
		bcfmt_ctx_fault_clear(help_ctx);
		if (err && undo) {
			/* Once it failed, it stays so. */
			cr_assert_eq(err, BCFMT_E_IO);
			cr_assert_neq(bcfmt_undo_save(undo, 0, 0, NULL, 512), BCFMT_OK);
			cr_assert_neq(bcfmt_undo_sync(undo), BCFMT_OK);
			cr_assert_neq(bcfmt_undo_finish(undo), BCFMT_OK);
			cr_assert_neq(bcfmt_undo_add_device(undo, disks[1], &index), BCFMT_OK);
			help_expect_fault("the undo file could not be written before");
		}
		bcfmt_undo_free(undo);
		expect_recoverable(at);
		if (!err)
			break;
	}
	cr_expect_gt(at, least, "%llu", (unsigned long long)at);
}

Test(undo_fail, each_write_of_the_file, .timeout = 60)
{
	fail_each_of_store(WRITE, true, 30);
	fail_each_of_store(WRITE, false, 30);
}

Test(undo_fail, each_flush_of_the_file, .timeout = 60)
{
	fail_each_of_store(FLUSH, true, 14);
	fail_each_of_store(FLUSH, false, 14);
}

/* Reads that save, writes and flushes of the program that is at work. */
Test(undo_fail, each_operation_of_the_devices, .timeout = 60)
{
	static const uint64_t failures[] = { 6, 6, 1 };

	for (enum operation operation = READ; operation <= FLUSH; operation++) {
		uint64_t n = 0;

		for (uint64_t at = 1; at < 30; at++) {
			struct bcfmt_dev_faults faults = fault_at(operation, at, true);
			struct bcfmt_undo *undo = NULL;
			bcfmt_err err;

			begin_scene(&faults, &no_faults);
			err = change_all(&undo);
			bcfmt_ctx_fault_clear(help_ctx);
			bcfmt_undo_free(undo);
			cr_assert(err == BCFMT_OK || err == BCFMT_E_IO);
			n += err == BCFMT_E_IO;
			expect_recoverable(at);
		}
		/* Whether a device has a superblock is the one thing that need not be known. */
		cr_expect_eq(n, failures[operation], "%llu", (unsigned long long)n);
	}
}

/* ---- putting back ---- */

/* The devices as they were after all of it, and the file. */
static uint8_t *after[2], *file_bytes;

static void begin_put_back(const struct bcfmt_dev_faults *of_disks,
			   const struct bcfmt_dev_faults *of_store)
{
	if (!file_bytes) {
		struct bcfmt_undo *undo;

		begin_scene(&no_faults, &no_faults);
		cr_assert_eq(change_all(&undo), BCFMT_OK);
		bcfmt_undo_free(undo);
		after[0] = help_copy(disks[0]);
		after[1] = help_copy(disks[1]);
		file_bytes = help_copy(store);
	}
	begin_scene(of_disks, of_store);
	for (size_t i = 0; i < 2; i++)
		cr_assert_eq(bcfmt_dev_write(raw_disks[i], 0, after[i], DEV_BYTES), BCFMT_OK);
	cr_assert_eq(bcfmt_dev_write(raw_store, 0, file_bytes, HELP_UNDO_BYTES), BCFMT_OK);
}

static void end_put_back(void)
{
	free(after[0]);
	free(after[1]);
	free(file_bytes);
}

/* Fails once; the next run, with the devices as they are then, comes to the end. */
static void fail_each_of_put_back(enum operation operation, bool is_store, uint64_t least)
{
	uint64_t at;

	for (at = 1;; at++) {
		struct bcfmt_dev_faults faults = fault_at(operation, at, true);
		bcfmt_err err;

		begin_put_back(is_store ? &no_faults : &faults, is_store ? &faults : &no_faults);
		err = help_put_back(store, disks, 2, 0);
		if (!err)
			break;
		cr_assert_eq(err, BCFMT_E_IO, "operation %llu: %s", (unsigned long long)at,
			     bcfmt_ctx_fault(help_ctx));
		help_expect_fault("injected failure");
		cr_assert_eq(help_put_back(raw_store, raw_disks, 2, 0), BCFMT_OK);
		cr_assert(is_as_before(), "operation %llu", (unsigned long long)at);
	}
	cr_expect(is_as_before());
	cr_expect_gt(at, least, "%llu", (unsigned long long)at);
}

Test(undo_fail, each_operation_of_putting_back, .timeout = 60)
{
	fail_each_of_put_back(READ, true, 60);
	fail_each_of_put_back(READ, false, 30);
	fail_each_of_put_back(WRITE, false, 4);
	fail_each_of_put_back(FLUSH, false, 4);
	end_put_back();
}

Test(undo_fail, what_comes_back_is_compared)
{
	static const uint64_t sectors[] = { 0, 8, 15, 295 };

	for (size_t i = 0; i < sizeof(sectors) / sizeof(sectors[0]); i++) {
		struct bcfmt_dev *devs[2];
		char fault[100];

		begin_put_back(&no_faults, &no_faults);
		devs[0] = borrow(raw_disks[0], sectors[i]);
		devs[1] = disks[1];
		cr_expect_eq(help_put_back(store, devs, 2, 0), BCFMT_E_IO);
		snprintf(fault, sizeof(fault),
			 "mem: sector %u: something else comes back than was written",
			 (unsigned int)sectors[i]);
		help_expect_fault(fault);
		bcfmt_dev_free(devs[0]);
	}
	end_put_back();
}

/* ---- memory ---- */

static uint64_t count_failures(bool is_on, bool is_putting_back)
{
	uint64_t failures = 0;

	is_failing_on = is_on;
	for (fail_at = 1;; fail_at++) {
		struct bcfmt_undo *undo = NULL;
		bcfmt_err err;

		if (is_putting_back)
			begin_put_back(&no_faults, &no_faults);
		else
			begin_scene(&no_faults, &no_faults);
		n_allocations = 0;
		is_counting = true;
		if (is_putting_back)
			err = help_put_back(store, disks, 2, 0);
		else
			err = change_all(&undo);
		is_counting = false;
		bcfmt_ctx_fault_clear(help_ctx);
		bcfmt_undo_free(undo);
		if (n_allocations < fail_at) {
			cr_assert_eq(err, BCFMT_OK);
			break;
		}
		/* What can do without memory may succeed all the same. */
		cr_assert(err == BCFMT_E_NOMEM || err == BCFMT_OK, "allocation %llu: %s",
			  (unsigned long long)fail_at, bcfmt_err_name(err));
		failures += err == BCFMT_E_NOMEM;
		if (!is_putting_back || err)
			expect_recoverable(fail_at);
		else
			cr_assert(is_as_before());
	}
	return failures;
}

Test(undo_fail, each_allocation, .timeout = 60)
{
	cr_expect_gt(count_failures(false, false), 8);
	cr_expect_gt(count_failures(true, false), 8);
	cr_expect_gt(count_failures(false, true), 8);
	cr_expect_gt(count_failures(true, true), 8);
	end_put_back();
}
