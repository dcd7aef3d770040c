/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Undo files: what is saved comes back, byte for byte. */
#include "undo_help.h"

#include <fcntl.h>

#define DEV_SECTORS 4096u
#define DEV_BYTES (DEV_SECTORS * 512u)

TestSuite(undo, .init = help_begin, .fini = help_end);

/* Contents with runs of zeros of many lengths. */
static struct bcfmt_dev *patchy(unsigned int seed)
{
	struct bcfmt_dev *dev = help_mem(DEV_BYTES, seed);
	uint8_t *zeros = calloc(DEV_BYTES, 1);
	uint64_t state = seed + 1;

	for (unsigned int i = 0; i < 60; i++) {
		uint64_t sector = help_random(&state) % DEV_SECTORS;
		uint64_t sectors = help_random(&state) % (i % 4 ? 20 : 300);

		if (sectors > DEV_SECTORS - sector)
			sectors = DEV_SECTORS - sector;
		cr_assert_eq(bcfmt_dev_write(dev, sector * 512, zeros, sectors * 512), BCFMT_OK);
	}
	free(zeros);
	return dev;
}

static void change_at_random(struct bcfmt_undo *undo, struct bcfmt_dev *dev, uint64_t *state,
			     unsigned int step)
{
	uint64_t sector = help_random(state) % DEV_SECTORS;
	uint64_t sectors = 1 + help_random(state) % (step % 7 ? 40 : 2500);

	if (sectors > DEV_SECTORS - sector)
		sectors = DEV_SECTORS - sector;
	help_change(undo, dev, sector * 512, sectors * 512, step % 5 ? 100 + step : 0);
}

/* Two devices, changes that cover each other; all written, none, or some lost. */
Test(undo, random_changes_come_back, .timeout = 60)
{
	for (unsigned int round = 0; round < 20; round++) {
		struct bcfmt_dev *store = help_store();
		struct bcfmt_dev *devs[2] = { patchy(round), patchy(round + 50) };
		uint8_t *before[2] = { help_copy(devs[0]), help_copy(devs[1]) };
		struct bcfmt_undo *undo;
		struct bcfmt_undo_file *file;
		uint64_t state = round + 1;

		cr_assert_eq(bcfmt_undo_create_on(help_ctx, store, "a test", &undo), BCFMT_OK);
		for (unsigned int step = 0; step < 40; step++)
			change_at_random(undo, devs[help_random(&state) % 2], &state, step);
		cr_expect_not(help_holds(devs[0], before[0]));
		cr_expect_not(help_holds(devs[1], before[1]));
		if (round % 2)
			cr_assert_eq(bcfmt_undo_finish(undo), BCFMT_OK);
		bcfmt_undo_free(undo);
		cr_assert_eq(help_put_back(store, devs, 2, 0), BCFMT_OK, "%s",
			     bcfmt_ctx_fault(help_ctx));
		for (size_t i = 0; i < 2; i++)
			cr_expect(help_holds(devs[i], before[i]), "round %u, device %zu", round, i);

		/* Once more: there is nothing to do. */
		cr_assert_eq(bcfmt_undo_file_open_dev(help_ctx, store, &file), BCFMT_OK);
		cr_expect_eq(bcfmt_undo_file_info(file)->is_complete, round % 2);
		cr_expect_not(bcfmt_undo_file_info(file)->is_torn);
		cr_assert_eq(bcfmt_undo_file_match(file, devs, 2), BCFMT_OK);
		cr_assert_eq(bcfmt_undo_file_check(file, NULL, NULL), BCFMT_OK);
		cr_expect_gt(help_sectors(file, BCFMT_UNDO_AS_BEFORE), 100);
		cr_expect_eq(help_sectors(file, BCFMT_UNDO_WRITTEN), 0);
		cr_expect_eq(help_sectors(file, BCFMT_UNDO_FOREIGN), 0);
		cr_expect_eq(bcfmt_undo_file_apply(file, 0), BCFMT_OK);
		bcfmt_undo_file_free(file);
		for (size_t i = 0; i < 2; i++) {
			free(before[i]);
			bcfmt_dev_free(devs[i]);
		}
		bcfmt_dev_free(store);
	}
}

/* Through names, as the programs do it; the image has holes and an odd end. */
Test(undo, files)
{
	const size_t image_bytes = 3u << 20;
	char path[HELP_PATH_BYTES], undo_path[HELP_PATH_BYTES];
	struct bcfmt_dev *dev;
	struct bcfmt_undo *undo;
	struct bcfmt_undo_file *file;
	struct stat st;
	uint8_t *before;

	help_text("image", "begin");
	help_path(path, "image");
	cr_assert_eq(truncate(path, (off_t)image_bytes + 100), 0);
	help_path(undo_path, "saved");
	cr_assert_eq(bcfmt_dev_open(help_ctx, path, BCFMT_OPEN_WRITE | BCFMT_OPEN_EXCLUSIVE, &dev),
		     BCFMT_OK);
	before = help_copy(dev);
	cr_assert_eq(bcfmt_undo_create(help_ctx, undo_path, "a test", &undo), BCFMT_OK);
	cr_expect_eq(stat(undo_path, &st), 0);
	cr_expect_eq(st.st_mode & 07777, 0600);
	help_change(undo, dev, 0, 8192, 1);
	help_change(undo, dev, image_bytes - 4096, 4096, 2);
	help_change(undo, dev, 1u << 20, 1u << 20, 3);
	cr_assert_eq(bcfmt_undo_finish(undo), BCFMT_OK);
	cr_expect_eq(stat(undo_path, &st), 0);
	cr_expect_eq((uint64_t)st.st_size, bcfmt_undo_bytes(undo));
	bcfmt_undo_free(undo);

	cr_assert_eq(bcfmt_undo_file_open(help_ctx, undo_path, &file), BCFMT_OK);
	cr_expect_eq((uint64_t)st.st_size, bcfmt_undo_file_info(file)->bytes);
	cr_assert_eq(bcfmt_undo_file_match(file, &dev, 1), BCFMT_OK);
	cr_expect_eq(bcfmt_undo_file_dev(file, 0), dev);
	cr_assert_eq(bcfmt_undo_file_check(file, NULL, NULL), BCFMT_OK);
	cr_expect_eq(help_sectors(file, BCFMT_UNDO_WRITTEN), 16 + 8 + 2048);
	cr_assert_eq(bcfmt_undo_file_apply(file, 0), BCFMT_OK);
	cr_expect(help_holds(dev, before));
	bcfmt_undo_file_free(file);
	bcfmt_dev_free(dev);
	free(before);
}

/* What the make-bcache of a large device wipes is mostly zeros: they are not stored. */
Test(undo, zeros_cost_nothing)
{
	const size_t big_bytes = 128u << 20;
	struct bcfmt_dev *store = help_store(), *dev;
	struct bcfmt_undo *undo;
	unsigned int index;
	uint64_t began_bytes;

	cr_assert_eq(bcfmt_dev_mem(help_ctx, "big", NULL, big_bytes, &dev), BCFMT_OK);
	cr_assert_eq(bcfmt_undo_create_on(help_ctx, store, "a test", &undo), BCFMT_OK);
	cr_assert_eq(bcfmt_undo_add_device(undo, dev, &index), BCFMT_OK);
	began_bytes = bcfmt_undo_bytes(undo);
	cr_expect_eq(bcfmt_undo_save(undo, index, 0, NULL, big_bytes), BCFMT_OK);
	cr_expect_eq(bcfmt_undo_bytes(undo), began_bytes + 512);
	/* Again, and with one sector that is not. */
	cr_expect_eq(bcfmt_undo_save(undo, index, 0, NULL, big_bytes), BCFMT_OK);
	cr_expect_eq(bcfmt_undo_bytes(undo), began_bytes + 1024);
	help_change(undo, dev, 40960, 512, 3);
	began_bytes = bcfmt_undo_bytes(undo);
	cr_expect_eq(bcfmt_undo_save(undo, index, 0, NULL, big_bytes), BCFMT_OK);
	cr_expect_eq(bcfmt_undo_bytes(undo), began_bytes + 512 + 1024 + 512);
	bcfmt_undo_free(undo);
	cr_expect_eq(help_put_back(store, &dev, 1, 0), BCFMT_OK);
	bcfmt_dev_free(dev);
	bcfmt_dev_free(store);
}

/* A hole of a terabyte is one record and is not read. */
Test(undo, holes_cost_nothing, .timeout = 60)
{
	const uint64_t huge_bytes = 1ull << 40;
	struct bcfmt_dev *store = help_store(), *dev;
	struct bcfmt_undo *undo;
	struct bcfmt_undo_file *file;
	unsigned int index;
	char path[HELP_PATH_BYTES];

	help_text("huge", "");
	help_path(path, "huge");
	cr_assert_eq(truncate(path, (off_t)huge_bytes), 0);
	cr_assert_eq(bcfmt_dev_open(help_ctx, path, BCFMT_OPEN_WRITE, &dev), BCFMT_OK);
	cr_assert_eq(bcfmt_undo_create_on(help_ctx, store, "a test", &undo), BCFMT_OK);
	cr_assert_eq(bcfmt_undo_add_device(undo, dev, &index), BCFMT_OK);
	cr_expect_eq(bcfmt_undo_save(undo, index, 0, NULL, huge_bytes), BCFMT_OK);
	cr_expect_leq(bcfmt_undo_bytes(undo), 12288 + 2 * 512);
	bcfmt_undo_free(undo);
	cr_assert_eq(bcfmt_undo_file_open_dev(help_ctx, store, &file), BCFMT_OK);
	cr_expect_eq(bcfmt_undo_file_device(file, 0)->saved_sectors, huge_bytes / 512);
	cr_assert_eq(bcfmt_undo_file_match(file, &dev, 1), BCFMT_OK);
	cr_assert_eq(bcfmt_undo_file_check(file, NULL, NULL), BCFMT_OK);
	cr_expect_eq(help_sectors(file, BCFMT_UNDO_AS_BEFORE), huge_bytes / 512);
	bcfmt_undo_file_free(file);
	bcfmt_dev_free(dev);
	bcfmt_dev_free(store);
}

Test(undo, what_a_file_tells_of_itself)
{
	struct bcfmt_dev *store = help_store(), *devs[2], *dev;
	struct bcfmt_undo *undo;
	struct bcfmt_undo_file *file;
	const struct bcfmt_undo_info *info;
	const struct bcfmt_undo_device *device;
	uint8_t super[BCFMT_SUPER_BYTES + 4096] = { 0 };
	char name[600];
	unsigned int index;

	memset(name, 'x', sizeof(name));
	memcpy(name + sizeof(name) - 9, "/the-end", 9);
	cr_assert_eq(bcfmt_dev_mem(help_ctx, name, NULL, 1u << 20, &devs[0]), BCFMT_OK);
	cr_assert_eq(bcfmt_dev_mem(help_ctx, "sdb", NULL, 1u << 21, &devs[1]), BCFMT_OK);
	help_super(super + 4096, true, 7, "old label");
	cr_assert_eq(bcfmt_dev_write(devs[1], 4096, super + 4096, 4096), BCFMT_OK);
	cr_assert_eq(bcfmt_undo_create_on(help_ctx, store,
					  "a reason that is longer than the room that there is"
					  " for it in the file",
					  &undo),
		     BCFMT_OK);
	for (unsigned int i = 0; i < 4; i++) {
		cr_assert_eq(bcfmt_undo_add_device(undo, devs[i % 2], &index), BCFMT_OK);
		cr_expect_eq(index, i % 2);
	}
	help_super(super + 4096, false, 9, "new label");
	cr_assert_eq(bcfmt_undo_save(undo, 1, 0, super, sizeof(super)), BCFMT_OK);
	cr_assert_eq(bcfmt_dev_undo(help_ctx, devs[1], undo, 1, &dev), BCFMT_OK);
	help_super(super + 4096, false, 10, "newer label");
	cr_assert_eq(bcfmt_dev_write(dev, 4096, super + 4096, 4096), BCFMT_OK);
	cr_expect_eq(bcfmt_dev_flush(dev), BCFMT_OK);
	bcfmt_dev_free(dev);
	cr_assert_eq(bcfmt_undo_finish(undo), BCFMT_OK);
	bcfmt_undo_free(undo);

	cr_assert_eq(bcfmt_undo_file_open_dev(help_ctx, store, &file), BCFMT_OK);
	info = bcfmt_undo_file_info(file);
	cr_expect_eq(info->version, 1);
	cr_expect_str_eq(info->reason,
			 "a reason that is longer than the room that there is for it in t");
	cr_expect_str_eq(info->program_version, bcfmt_version());
	cr_expect(info->created_seconds > 1700000000);
	cr_expect(info->is_complete && info->n_devices == 2);
	device = bcfmt_undo_file_device(file, 0);
	cr_expect_eq(strlen(device->name), BCFMT_UNDO_NAME_BYTES - 1);
	cr_expect_str_eq(device->name + BCFMT_UNDO_NAME_BYTES - 9, "/the-end");
	cr_expect_eq(device->before.role, BCFMT_UNDO_OTHER);
	cr_expect_not(device->is_needed);
	cr_expect_eq(device->saved_sectors, 0);
	device = bcfmt_undo_file_device(file, 1);
	cr_expect_str_eq(device->name, "sdb");
	cr_expect_eq(device->bytes, 1u << 21);
	cr_expect_eq(device->logical_block_bytes, 512);
	cr_expect_eq(device->saved_sectors, 16);
	cr_expect(device->is_needed);
	cr_expect_eq(device->before.role, BCFMT_UNDO_BACKING);
	cr_expect_eq(device->before.uuid[3], 7);
	cr_expect_eq(device->before.set_uuid[3], 0x5e);
	cr_expect_str_eq(device->before.label, "old label");
	cr_expect_eq(device->after.role, BCFMT_UNDO_CACHE);
	cr_expect_eq(device->after.uuid[3], 10);
	cr_expect_str_eq(device->after.label, "newer label");
	bcfmt_undo_file_free(file);
	bcfmt_dev_free(devs[0]);
	bcfmt_dev_free(devs[1]);
	bcfmt_dev_free(store);
}

/* The device that saves by itself: an order in which no write goes before what it overwrites. */
Test(undo, a_device_that_saves)
{
	struct bcfmt_dev *store = help_store(), *lower = patchy(4), *dev;
	struct bcfmt_undo *undo;
	uint8_t *before = help_copy(lower), buf[1024], *now;
	unsigned int index;
	uint64_t state = 5;

	cr_assert_eq(bcfmt_undo_create_on(help_ctx, store, "a test", &undo), BCFMT_OK);
	cr_assert_eq(bcfmt_undo_add_device(undo, lower, &index), BCFMT_OK);
	cr_assert_eq(bcfmt_dev_undo(help_ctx, lower, undo, index, &dev), BCFMT_OK);
	cr_expect_eq(bcfmt_dev_bytes(dev), DEV_BYTES);
	for (unsigned int i = 0; i < 200; i++) {
		uint64_t offset = help_random(&state) % (DEV_SECTORS - 1) * 512;

		help_fill(buf, offset, sizeof(buf), 300 + i);
		cr_assert_eq(bcfmt_dev_write(dev, offset, buf, sizeof(buf)), BCFMT_OK);
	}
	now = help_copy(dev);
	cr_expect(help_holds(lower, now));
	cr_expect_eq(bcfmt_dev_write(dev, 100, buf, 512), BCFMT_E_ARG);
	help_expect_fault("mem: byte 100, length 512: not whole sectors");
	cr_expect_eq(bcfmt_dev_write(dev, 512, buf, 100), BCFMT_E_ARG);
	bcfmt_ctx_fault_clear(help_ctx);
	bcfmt_dev_free(dev);
	bcfmt_undo_free(undo);
	cr_expect(help_holds(lower, now));
	cr_assert_eq(help_put_back(store, &lower, 1, 0), BCFMT_OK);
	cr_expect(help_holds(lower, before));
	free(now);
	free(before);
	bcfmt_dev_free(lower);
	bcfmt_dev_free(store);
}

Test(undo, what_is_there_is_not_overwritten)
{
	char path[HELP_PATH_BYTES];
	struct bcfmt_undo *undo;
	struct stat st;

	help_text("there", "mine");
	cr_expect_eq(bcfmt_undo_create(help_ctx, help_path(path, "there"), "x", &undo),
		     BCFMT_E_ARG);
	cr_expect_null(undo);
	help_expect_fault("there: is there already, and is not overwritten");
	cr_expect(!stat(path, &st) && st.st_size == 4);
	cr_assert_eq(symlink("nowhere", help_path(path, "link")), 0);
	cr_expect_eq(bcfmt_undo_create(help_ctx, path, "x", &undo), BCFMT_E_ARG);
	bcfmt_ctx_fault_clear(help_ctx);
	cr_expect_eq(bcfmt_undo_create(help_ctx, help_path(path, "no/folder"), "x", &undo),
		     BCFMT_E_SYSTEM);
	help_expect_fault("no/folder: cannot make the file: No such file or directory");
	/* In the folder where one is. */
	cr_assert_eq(chdir(help_dir), 0);
	cr_expect_eq(bcfmt_undo_create(help_ctx, "here", "x", &undo), BCFMT_OK);
	bcfmt_undo_free(undo);
	cr_expect_eq(stat("here", &st), 0);
}

/* As a power cut leaves it that comes right behind the begin. */
Test(undo, a_file_with_nothing_in_it)
{
	char path[HELP_PATH_BYTES];
	struct bcfmt_undo *undo;
	struct bcfmt_undo_file *file;
	struct bcfmt_dev *dev = help_mem(8192, 1);

	cr_assert_eq(bcfmt_undo_create(help_ctx, help_path(path, "new"), "x", &undo), BCFMT_OK);
	bcfmt_undo_free(undo);
	cr_assert_eq(bcfmt_undo_file_open(help_ctx, path, &file), BCFMT_OK, "%s",
		     bcfmt_ctx_fault(help_ctx));
	cr_expect_eq(bcfmt_undo_file_info(file)->n_devices, 0);
	cr_expect_eq(bcfmt_undo_file_info(file)->records, 0);
	cr_expect_not(bcfmt_undo_file_info(file)->is_complete);
	cr_assert_eq(bcfmt_undo_file_match(file, &dev, 1), BCFMT_OK);
	cr_assert_eq(bcfmt_undo_file_check(file, NULL, NULL), BCFMT_OK);
	cr_expect_eq(bcfmt_undo_file_apply(file, 0), BCFMT_OK);
	bcfmt_undo_file_free(file);
	bcfmt_dev_free(dev);
}

/* A file that cannot be begun does not stay. */
Test(undo, no_room_for_the_begin)
{
	struct bcfmt_dev *store;
	struct bcfmt_undo *undo;

	cr_assert_eq(bcfmt_dev_mem(help_ctx, "small", NULL, 100, &store), BCFMT_OK);
	cr_expect_eq(bcfmt_undo_create_on(help_ctx, store, "x", &undo), BCFMT_E_RANGE);
	cr_expect_null(undo);
	help_expect_fault("small: sector 0: cannot write 12288 bytes");
	bcfmt_dev_free(store);
}

Test(undo, arguments)
{
	struct bcfmt_dev *store = help_store(), *dev = help_mem(8192, 1), *many[257];
	struct bcfmt_undo *undo;
	unsigned int index = 99;
	uint8_t buf[512] = { 0 };

	cr_assert_eq(bcfmt_undo_create_on(help_ctx, store, "x", &undo), BCFMT_OK);
	cr_expect_eq(bcfmt_undo_save(undo, 0, 0, NULL, 512), BCFMT_E_ARG);
	help_expect_fault("device 0 is not in the undo file");
	cr_assert_eq(bcfmt_undo_add_device(undo, dev, &index), BCFMT_OK);
	cr_expect_eq(index, 0);
	cr_expect_eq(bcfmt_undo_save(undo, 0, 1, buf, 512), BCFMT_E_ARG);
	help_expect_fault("mem: byte 1, length 512: not whole sectors");
	cr_expect_eq(bcfmt_undo_save(undo, 0, 0, buf, 511), BCFMT_E_ARG);
	bcfmt_ctx_fault_clear(help_ctx);
	cr_expect_eq(bcfmt_undo_save(undo, 0, 8192, buf, 512), BCFMT_E_RANGE);
	help_expect_fault("mem: sector 16: cannot save 512 bytes: the device ends at sector 16");
	cr_expect_eq(bcfmt_undo_save(undo, 0, UINT64_MAX - 511, buf, 1024), BCFMT_E_RANGE);
	bcfmt_ctx_fault_clear(help_ctx);
	cr_expect_eq(bcfmt_undo_save(undo, 0, 8192, buf, 0), BCFMT_OK);
	for (unsigned int i = 0; i < 257; i++) {
		many[i] = help_mem(512, i);
		cr_expect_eq(bcfmt_undo_add_device(undo, many[i], &index),
			     i < 255 ? BCFMT_OK : BCFMT_E_ARG, "device %u", i);
	}
	help_expect_fault("mem: more than 256 devices in an undo file");
	cr_expect_eq(bcfmt_undo_finish(undo), BCFMT_OK);
	cr_expect_eq(bcfmt_undo_finish(undo), BCFMT_E_ARG);
	help_expect_fault("the undo file is finished");
	cr_expect_eq(bcfmt_undo_save(undo, 0, 0, buf, 512), BCFMT_E_ARG);
	cr_expect_eq(bcfmt_undo_sync(undo), BCFMT_E_ARG);
	cr_expect_eq(bcfmt_undo_add_device(undo, dev, &index), BCFMT_E_ARG);
	bcfmt_undo_free(undo);
	bcfmt_undo_free(NULL);
	bcfmt_undo_file_free(NULL);
	for (unsigned int i = 0; i < 257; i++)
		bcfmt_dev_free(many[i]);
	bcfmt_dev_free(dev);
	bcfmt_dev_free(store);
}

/* Of sectors that are saved again and again, the last ones count, and the first contents. */
Test(undo, saved_more_often_than_can_be_told_apart)
{
	struct bcfmt_dev *store = help_store(), *dev = help_mem(65536, 1);
	uint8_t *before = help_copy(dev);
	struct bcfmt_undo *undo;

	cr_assert_eq(bcfmt_undo_create_on(help_ctx, store, "x", &undo), BCFMT_OK);
	for (unsigned int i = 0; i < 600; i++)
		help_change(undo, dev, (i % 3) * 512, (1 + i % 5) * 512, 1000 + i);
	bcfmt_undo_free(undo);
	cr_assert_eq(help_put_back(store, &dev, 1, 0), BCFMT_OK, "%s", bcfmt_ctx_fault(help_ctx));
	cr_expect(help_holds(dev, before));
	free(before);
	bcfmt_dev_free(dev);
	bcfmt_dev_free(store);
}

/* What cannot be read cannot be saved; what was saved before is still good. */
Test(undo, an_unreadable_sector)
{
	struct bcfmt_dev *store = help_store(), *good = help_mem(65536, 1), *bad;
	struct bcfmt_undo *undo;
	char path[HELP_PATH_BYTES];
	uint8_t *before = help_copy(good), buf[4096] = { 0 };
	unsigned int index;

	help_text("map", "0x0 +\n0x0 0x8000 +\n0x8000 0x200 -\n0x8200 0x7e00 +\n");
	cr_assert_eq(bcfmt_dev_badmap(help_ctx, good, help_path(path, "map"), &bad), BCFMT_OK);
	cr_assert_eq(bcfmt_undo_create_on(help_ctx, store, "x", &undo), BCFMT_OK);
	cr_assert_eq(bcfmt_undo_add_device(undo, bad, &index), BCFMT_OK);
	cr_expect_eq(bcfmt_undo_save(undo, index, 0, buf, 4096), BCFMT_OK);
	cr_expect_eq(bcfmt_undo_save(undo, index, 0x7000, buf, 4096), BCFMT_OK);
	cr_expect_eq(bcfmt_undo_save(undo, index, 0x7800, buf, 4096), BCFMT_E_IO);
	help_expect_fault("mem: sector 64: cannot read");
	cr_expect_eq(bcfmt_undo_save(undo, index, 0x8200, buf, 4096), BCFMT_OK);
	cr_expect_eq(bcfmt_undo_finish(undo), BCFMT_OK);
	bcfmt_undo_free(undo);
	cr_expect_eq(bcfmt_dev_write(bad, 0x7000, buf, 4096), BCFMT_OK);
	cr_expect_eq(help_put_back(store, &bad, 1, 0), BCFMT_OK);
	cr_expect(help_holds(good, before));
	free(before);
	bcfmt_dev_free(bad);
	bcfmt_dev_free(store);
}

/* A write that went wrong left something else: it was there when the next one was saved. */
Test(undo, what_a_failed_write_left)
{
	struct bcfmt_dev *store = help_store(), *dev = help_mem(65536, 1);
	uint8_t *before = help_copy(dev), buf[2048];
	struct bcfmt_undo *undo;

	cr_assert_eq(bcfmt_undo_create_on(help_ctx, store, "x", &undo), BCFMT_OK);
	help_change(undo, dev, 4096, 2048, 3);
	memset(buf, 0, 512);
	help_fill(buf + 512, 0, 1536, 99);
	cr_assert_eq(bcfmt_dev_write(dev, 4096, buf, 2048), BCFMT_OK);
	cr_expect_eq(help_put_back(store, &dev, 1, 0), BCFMT_E_ARG);
	help_expect_fault("mem: 4 sectors were changed since, the first is 8");
	help_fill(buf, 0, 2048, 5);
	cr_assert_eq(bcfmt_undo_save(undo, 0, 4096, buf, 2048), BCFMT_OK);
	cr_assert_eq(bcfmt_undo_sync(undo), BCFMT_OK);
	cr_expect_eq(help_put_back(store, &dev, 1, 0), BCFMT_OK, "%s", bcfmt_ctx_fault(help_ctx));
	cr_expect(help_holds(dev, before));
	bcfmt_undo_free(undo);
	free(before);
	bcfmt_dev_free(dev);
	bcfmt_dev_free(store);
}

/* Whoever cancels gets devices as they are; what began to be put back is not left in the middle. */
Test(undo, cancelled)
{
	volatile int is_cancelled = 0;
	struct bcfmt_ctx_params params = { .threads = 1, .cancelled = &is_cancelled };
	struct bcfmt_dev *store, *dev;
	struct bcfmt_undo *undo;
	struct bcfmt_undo_file *file;
	struct bcfmt_ctx *ctx;
	uint8_t *before, *after;

	cr_assert_eq(bcfmt_ctx_new(&params, &ctx), BCFMT_OK);
	store = help_store();
	dev = help_mem(DEV_BYTES, 1);
	before = help_copy(dev);
	cr_assert_eq(bcfmt_undo_create_on(ctx, store, "x", &undo), BCFMT_OK);
	help_change(undo, dev, 0, 65536, 2);
	cr_assert_eq(bcfmt_undo_finish(undo), BCFMT_OK);
	bcfmt_undo_free(undo);
	after = help_copy(dev);
	is_cancelled = 1;
	cr_expect_eq(bcfmt_undo_file_open_dev(ctx, store, &file), BCFMT_E_CANCELLED);
	cr_expect_null(file);
	is_cancelled = 0;
	cr_assert_eq(bcfmt_undo_file_open_dev(ctx, store, &file), BCFMT_OK);
	is_cancelled = 1;
	cr_expect_eq(bcfmt_undo_file_match(file, &dev, 1), BCFMT_E_CANCELLED);
	is_cancelled = 0;
	cr_assert_eq(bcfmt_undo_file_match(file, &dev, 1), BCFMT_OK);
	is_cancelled = 1;
	cr_expect_eq(bcfmt_undo_file_check(file, NULL, NULL), BCFMT_E_CANCELLED);
	cr_expect_eq(bcfmt_undo_file_apply(file, 0), BCFMT_E_ARG);
	cr_expect(help_holds(dev, after));
	is_cancelled = 0;
	cr_assert_eq(bcfmt_undo_file_check(file, NULL, NULL), BCFMT_OK);
	is_cancelled = 1;
	cr_expect_eq(bcfmt_undo_file_apply(file, 0), BCFMT_OK);
	cr_expect(help_holds(dev, before));
	bcfmt_undo_file_free(file);
	bcfmt_ctx_free(ctx);
	free(before);
	free(after);
	bcfmt_dev_free(dev);
	bcfmt_dev_free(store);
}
