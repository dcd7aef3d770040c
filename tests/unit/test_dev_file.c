/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Image files, and who is named as the holder of a device or image. */
#include "dev_help.h"

#include <fcntl.h>
#include <pthread.h>
#include <sys/file.h>
#include <sys/sysmacros.h>

#include "dev/in_use.h"

TestSuite(dev_file, .init = help_begin, .fini = help_end);

/* A file of len_bytes help_byte(…, 6) and the device it opens as. */
static struct bcfmt_dev *make(size_t len_bytes, unsigned int flags)
{
	char path[HELP_PATH_BYTES];
	uint8_t *bytes = malloc(len_bytes);
	struct bcfmt_dev *dev;

	help_fill(bytes, 0, len_bytes, 6);
	help_file("image", bytes, len_bytes);
	free(bytes);
	cr_assert_eq(bcfmt_dev_open(help_ctx, help_path(path, "image"), flags, &dev), BCFMT_OK,
		     "%s", bcfmt_ctx_fault(help_ctx));
	return dev;
}

Test(dev_file, counts_whole_sectors_only)
{
	struct bcfmt_dev *dev = make(5 * 512 + 100, 0);
	uint8_t buf[2560];

	cr_expect_eq(bcfmt_dev_bytes(dev), 2560);
	cr_expect_eq(bcfmt_dev_logical_block_bytes(dev), 512);
	cr_expect_not(bcfmt_dev_was_in_use(dev));
	cr_expect_eq(bcfmt_dev_read(dev, 0, buf, 2560), BCFMT_OK);
	cr_expect_eq(buf[2559], help_byte(2559, 6));
	cr_expect_eq(bcfmt_dev_read(dev, 2559, buf, 2), BCFMT_E_RANGE);
	help_expect_fault("image: sector 4: cannot read 2 bytes: the device ends at sector 5");
	bcfmt_dev_free(dev);
}

Test(dev_file, without_write_there_is_no_way_to_write)
{
	struct bcfmt_dev *dev = make(4096, 0);
	uint8_t buf[4096] = { 0 };

	cr_expect_not(bcfmt_dev_is_writable(dev));
	cr_expect_eq(bcfmt_dev_write(dev, 0, buf, 512), BCFMT_E_ARG);
	help_expect_fault("opened for reading only");
	cr_expect_eq(bcfmt_dev_flush(dev), BCFMT_OK);
	cr_expect_eq(bcfmt_dev_read(dev, 0, buf, 4096), BCFMT_OK);
	cr_expect_eq(buf[0], help_byte(0, 6));
	bcfmt_dev_free(dev);
}

Test(dev_file, writes_reach_the_file)
{
	struct bcfmt_dev *dev = make(8192, BCFMT_OPEN_WRITE);
	char path[HELP_PATH_BYTES];
	uint8_t buf[8192];

	memset(buf, 0x5a, sizeof(buf));
	cr_expect(bcfmt_dev_is_writable(dev));
	cr_expect_eq(bcfmt_dev_write(dev, 1000, buf, 3000), BCFMT_OK);
	cr_expect_eq(bcfmt_dev_write(dev, 8000, buf, 193), BCFMT_E_RANGE);
	cr_expect_eq(bcfmt_dev_flush(dev), BCFMT_OK);
	bcfmt_dev_free(dev);
	cr_assert_eq(bcfmt_dev_open(help_ctx, help_path(path, "image"), 0, &dev), BCFMT_OK);
	cr_expect_eq(bcfmt_dev_bytes(dev), 8192);
	cr_expect_eq(bcfmt_dev_read(dev, 0, buf, 8192), BCFMT_OK);
	cr_expect_eq(buf[999], help_byte(999, 6));
	cr_expect_eq(buf[1000], 0x5a);
	cr_expect_eq(buf[3999], 0x5a);
	cr_expect_eq(buf[4000], help_byte(4000, 6));
	bcfmt_dev_free(dev);
}

Test(dev_file, what_cannot_be_a_device_is_refused)
{
	char path[HELP_PATH_BYTES];
	struct bcfmt_dev *dev;

	cr_expect_eq(bcfmt_dev_open(help_ctx, help_path(path, "none"), 0, &dev), BCFMT_E_SYSTEM);
	help_expect_fault("none: cannot open: No such file");
	cr_expect_null(dev);
	cr_expect_eq(bcfmt_dev_open(help_ctx, help_dir, 0, &dev), BCFMT_E_SYSTEM);
	help_expect_fault("neither block device nor file");
	cr_expect_eq(bcfmt_dev_open(help_ctx, "/dev/null", BCFMT_OPEN_WRITE, &dev), BCFMT_E_SYSTEM);
	help_expect_fault("/dev/null: neither block device nor file");
	cr_assert_eq(mkfifo(help_path(path, "pipe"), 0600), 0);
	cr_expect_eq(bcfmt_dev_open(help_ctx, path, 0, &dev), BCFMT_E_SYSTEM);
	help_expect_fault("pipe: neither block device nor file");
	help_text("small", "less than a sector");
	cr_expect_eq(bcfmt_dev_open(help_ctx, help_path(path, "small"), 0, &dev), BCFMT_E_SYSTEM);
	help_expect_fault("small: no sector long");
	cr_expect_eq(bcfmt_dev_open(help_ctx, path, BCFMT_OPEN_ALL + 1, &dev), BCFMT_E_ARG);
	help_expect_fault("unknown open flags 0x8");
	cr_expect_null(dev);
}

Test(dev_file, exclusive_keeps_other_exclusive_ones_out)
{
	struct bcfmt_dev *dev = make(4096, BCFMT_OPEN_WRITE | BCFMT_OPEN_EXCLUSIVE);
	struct bcfmt_dev *second;
	const char *path = bcfmt_dev_name(dev);
	char expected[64];

	cr_expect_eq(bcfmt_dev_open(help_ctx, path, BCFMT_OPEN_EXCLUSIVE, &second), BCFMT_E_BUSY);
	snprintf(expected, sizeof(expected), "(process %d)", (int)getpid());
	cr_expect(strstr(bcfmt_ctx_fault(help_ctx), "image: locked by "));
	help_expect_fault(access("/proc/locks", R_OK) ? "image" : expected);
	cr_expect_null(second);
	cr_expect_eq(bcfmt_dev_open(help_ctx, path, 0, &second), BCFMT_OK);
	bcfmt_dev_free(second);
	path = strdup(path);
	bcfmt_dev_free(dev);
	cr_expect_eq(bcfmt_dev_open(help_ctx, path, BCFMT_OPEN_EXCLUSIVE, &second), BCFMT_OK);
	bcfmt_dev_free(second);
	free((void *)(uintptr_t)path);
}

Test(dev_file, holes_are_told)
{
	struct bcfmt_dev *dev;
	char path[HELP_PATH_BYTES];
	uint64_t begin = 0, end = 0;
	uint8_t byte = 1;
	int fd;

	help_text("sparse", "");
	help_path(path, "sparse");
	cr_assert_eq(truncate(path, (8 << 20) + 700), 0);
	cr_assert_eq(bcfmt_dev_open(help_ctx, path, 0, &dev), BCFMT_OK);
	if (bcfmt_dev_next_data(dev, 0, &begin, &end) != BCFMT_END) {
		bcfmt_dev_free(dev);
		cr_skip_test("no holes here");
	}
	fd = open(path, O_WRONLY | O_CLOEXEC);
	cr_assert(fd >= 0);
	cr_assert_eq(pwrite(fd, &byte, 1, 3 << 20), 1);
	cr_assert_eq(fsync(fd), 0);
	cr_expect_eq(bcfmt_dev_next_data(dev, 0, &begin, &end), BCFMT_OK);
	cr_expect(begin <= 3 << 20 && begin > 2 << 20);
	cr_expect(end > 3 << 20 && end < 4 << 20);
	cr_expect_eq(begin % 512, 0);
	cr_expect_eq(end % 512, 0);
	cr_expect_eq(bcfmt_dev_next_data(dev, 3 << 20, &begin, &end), BCFMT_OK);
	cr_expect_eq(begin, 3 << 20);
	cr_expect_eq(bcfmt_dev_next_data(dev, end, &begin, &end), BCFMT_END);
	/* Data in the odd bytes at the end lies in no sector, or at most in the last whole one. */
	cr_assert_eq(pwrite(fd, &byte, 1, (8 << 20) + 600), 1);
	close(fd);
	if (bcfmt_dev_next_data(dev, 4 << 20, &begin, &end) == BCFMT_OK)
		cr_expect(begin < end && end == bcfmt_dev_bytes(dev));
	bcfmt_dev_free(dev);
}

Test(dev_file, a_file_that_shrinks_is_an_error)
{
	struct bcfmt_dev *dev = make(16384, 0);
	struct bcfmt_bad_read bad;
	uint8_t buf[16384];

	cr_assert_eq(truncate(bcfmt_dev_name(dev), 5000), 0);
	cr_expect_eq(bcfmt_dev_read(dev, 0, buf, 16384), BCFMT_E_IO);
	help_expect_fault("it has become shorter since it was opened");
	cr_expect_eq(bcfmt_dev_read_salvage(dev, 0, buf, 16384, &bad), BCFMT_OK);
	cr_expect_eq(bad.first_sector, 9);
	cr_expect_eq(bad.sectors, 23);
	cr_expect_eq(buf[9 * 512 - 1], help_byte(9 * 512 - 1, 6));
	cr_expect(help_all_zero(buf + 9 * 512, 23 * 512));
	bcfmt_dev_free(dev);
}

struct reader {
	pthread_t thread;
	struct bcfmt_dev *dev;
	uint64_t seed;
	unsigned int wrong;
};

static void *read_at_random(void *arg)
{
	struct reader *reader = arg;
	uint8_t buf[300];
	unsigned int i;

	for (i = 0; i < 2000; i++) {
		uint64_t at = help_random(&reader->seed) % (65536 - sizeof(buf));
		size_t at_end = sizeof(buf) - 1;

		if (bcfmt_dev_read(reader->dev, at, buf, sizeof(buf)) ||
		    buf[0] != help_byte(at, 6) || buf[at_end] != help_byte(at + at_end, 6))
			reader->wrong++;
	}
	return NULL;
}

Test(dev_file, threads_read_at_once)
{
	struct bcfmt_dev *dev = make(65536, 0);
	struct reader readers[4];
	unsigned int i;

	for (i = 0; i < 4; i++) {
		readers[i] = (struct reader){ .dev = dev, .seed = i + 1 };
		cr_assert_eq(pthread_create(&readers[i].thread, NULL, read_at_random, &readers[i]),
			     0);
	}
	for (i = 0; i < 4; i++) {
		pthread_join(readers[i].thread, NULL);
		cr_expect_eq(readers[i].wrong, 0);
	}
	bcfmt_dev_free(dev);
}

/* ---- holders, told by folders that look like /proc and /sys ---- */

static char view_paths[3][HELP_PATH_BYTES];

static struct host_view make_view(void)
{
	help_text("proc/swaps", "Filename\tType\tSize\tUsed\tPriority\n");
	help_text("proc/self/mountinfo",
		  "27 1 254:0 / / rw,relatime - ext4 /dev/vda rw\n"
		  "28 27 0:25 / /run rw shared:7 - tmpfs tmpfs rw\n");
	help_text("sys/dev/block/7:3/dev", "7:3\n");
	help_text("sys/dev/block/7:3/holders/.keep", "");
	help_text("sys/block/loop3/dev", "7:3\n");
	help_text("dev/.keep", "");
	help_path(view_paths[0], "proc");
	help_path(view_paths[1], "sys");
	help_path(view_paths[2], "dev");
	return (struct host_view){ view_paths[0], view_paths[1], view_paths[2] };
}

static void expect_holder(dev_t rdev, const char *text)
{
	struct host_view view = { view_paths[0], view_paths[1], view_paths[2] };
	struct holder holder;

	cr_expect(in_use_block(&view, rdev, &holder));
	cr_expect_str_eq(holder.text, text);
}

Test(dev_file, nobody_holds_a_free_device)
{
	struct host_view view = make_view();
	struct holder holder;

	cr_expect_not(in_use_block(&view, makedev(7, 3), &holder));
	cr_expect_not(in_use_block(&view, makedev(9, 9), &holder));
	/* The number of a mounted device in a folder that is no partition. */
	help_text("sys/dev/block/7:3/device/dev", "254:0\n");
	cr_expect_not(in_use_block(&view, makedev(7, 3), &holder));
	view = (struct host_view){ "/nonexistent", "/nonexistent", "/nonexistent" };
	cr_expect_not(in_use_block(&view, makedev(7, 3), &holder));
}

Test(dev_file, mounts_are_named)
{
	make_view();
	help_text("proc/self/mountinfo",
		  "27 1 254:0 / / rw,relatime - ext4 /dev/vda rw\n"
		  "short line\n"
		  "40 27 7:3 / /srv/my\\040data rw - ext4 /dev/loop3 rw\n");
	expect_holder(makedev(7, 3), "mounted at /srv/my\\040data");
	/* Known by number alone, without a folder in sysfs. */
	expect_holder(makedev(254, 0), "mounted at /");
}

Test(dev_file, bcache_is_named_with_its_set)
{
	char path[HELP_PATH_BYTES];

	make_view();
	help_text("sys/dev/block/7:3/bcache/running", "0\n");
	expect_holder(makedev(7, 3), "registered with bcache");
	help_path(path, "sys/dev/block/7:3/bcache/cache");
	cr_assert_eq(symlink("../../../../fs/bcache/6f1d", path), 0);
	expect_holder(makedev(7, 3), "registered with bcache, set 6f1d");
	help_path(path, "sys/dev/block/7:3/bcache/set");
	cr_assert_eq(symlink("../../../../fs/bcache/c0de", path), 0);
	expect_holder(makedev(7, 3), "registered with bcache, set c0de");
}

Test(dev_file, devices_above_are_named)
{
	make_view();
	help_text("sys/dev/block/7:3/holders/md0", "");
	expect_holder(makedev(7, 3), "held by md0");
	help_text("sys/class/block/md0/dm/name", "vg-home\n");
	expect_holder(makedev(7, 3), "held by md0 (vg-home)");
}

Test(dev_file, partitions_and_disks_hold_each_other)
{
	char path[HELP_PATH_BYTES];

	make_view();
	help_text("sys/dev/block/8:0/dev", "8:0\n");
	help_text("sys/dev/block/8:0/sda1/dev", "8:1\n");
	help_text("sys/dev/block/8:0/sda1/partition", "1\n");
	help_text("sys/dev/block/8:0/sda2/dev", "8:2\n");
	help_text("sys/dev/block/8:0/sda2/partition", "2\n");
	help_text("sys/dev/block/8:0/sda2/holders/dm-4", "");
	expect_holder(makedev(8, 0), "partition sda2 is held by dm-4");

	help_text("sys/dev/block/9:1/sdb/dev", "8:16\n");
	help_text("sys/dev/block/9:1/sdb/holders/md7", "");
	help_text("sys/dev/block/9:1/sdb/sdb1/dev", "8:17\n");
	help_text("sys/dev/block/9:1/sdb/sdb1/partition", "1\n");
	cr_assert_eq(symlink("9:1/sdb/sdb1", help_path(path, "sys/dev/block/8:17")), 0);
	expect_holder(makedev(8, 17), "its disk sdb is held by md7");
}

/* What the view tells about the file of this name. */
static enum image_use use_of(const struct host_view *view, const char *name, struct holder *holder)
{
	char path[HELP_PATH_BYTES];
	struct stat st;

	cr_assert_eq(stat(help_path(path, name), &st), 0);
	return in_use_image(view, &st, holder);
}

Test(dev_file, images_of_loop_devices)
{
	struct host_view view = make_view();
	struct holder holder;
	char path[HELP_PATH_BYTES], line[HELP_PATH_BYTES + 1];

	help_text("image", "x");
	help_text("other", "x");
	cr_expect_eq(use_of(&view, "image", &holder), IMAGE_FREE);
	snprintf(line, sizeof(line), "%s\n", help_path(path, "image"));
	help_text("sys/block/loop3/loop/backing_file", line);
	cr_expect_eq(use_of(&view, "other", &holder), IMAGE_FREE);
	cr_expect_eq(use_of(&view, "image", &holder), IMAGE_ATTACHED);
	cr_expect_str_eq(holder.text, "attached to loop3");
	/* Another name of the same file. */
	cr_assert_eq(link(path, help_path(line, "alias")), 0);
	cr_expect_eq(use_of(&view, "alias", &holder), IMAGE_ATTACHED);
	help_text("proc/self/mountinfo", "40 27 7:3 / /srv rw - ext4 /dev/loop3 rw\n");
	cr_expect_eq(use_of(&view, "image", &holder), IMAGE_HELD);
	cr_expect_str_eq(holder.text, "attached to loop3, which is mounted at /srv");
}

Test(dev_file, swap_files)
{
	struct host_view view = make_view();
	struct holder holder;
	char line[HELP_PATH_BYTES + 64], path[HELP_PATH_BYTES];

	help_text("swap file", "x");
	help_path(path, "swap\\040file");
	snprintf(line, sizeof(line), "Filename Type\n%s file 1024 0 -2\n", path);
	help_text("proc/swaps", line);
	cr_expect_eq(use_of(&view, "swap file", &holder), IMAGE_HELD);
	cr_expect_str_eq(holder.text, "in use as swap");
	help_text("image", "x");
	cr_expect_eq(use_of(&view, "image", &holder), IMAGE_FREE);
}

Test(dev_file, locks_are_told_by_process)
{
	struct host_view view = make_view();
	struct holder holder;
	struct stat st = { .st_dev = makedev(0xfe, 1), .st_ino = 1234 };

	cr_expect_not(in_use_lock(&view, &st, &holder));
	help_text("proc/locks",
		  "1: POSIX  ADVISORY  WRITE 7 fe:01:1234 0 EOF\n"
		  "2: FLOCK  ADVISORY  WRITE 8 fe:01:12345 0 EOF\n"
		  "3: -> FLOCK  ADVISORY  WRITE 9 fe:01:1234 0 EOF\n"
		  "4: FLOCK  ADVISORY  WRITE 10 fe:01:1234 0 EOF\n");
	cr_expect(in_use_lock(&view, &st, &holder));
	cr_expect_str_eq(holder.text, "locked by process 10");
	help_text("proc/10/comm", "bcache-fsck\n");
	cr_expect(in_use_lock(&view, &st, &holder));
	cr_expect_str_eq(holder.text, "locked by bcache-fsck (process 10)");
}
