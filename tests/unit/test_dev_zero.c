/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Zeroing and discarding: by the device's own means, by writing, and without filling holes. */
#include "dev_help.h"

#include <fcntl.h>

#define BYTES (4u << 20)

TestSuite(dev_zero, .init = help_begin, .fini = help_end);

static struct bcfmt_dev *open_image(unsigned int flags)
{
	char path[HELP_PATH_BYTES];
	struct bcfmt_dev *dev;

	cr_assert_eq(bcfmt_dev_open(help_ctx, help_path(path, "image"), flags, &dev), BCFMT_OK);
	return dev;
}

static void expect_zeroed(struct bcfmt_dev *dev, uint64_t offset_bytes, uint64_t len_bytes)
{
	uint8_t *buf = malloc(BYTES);

	cr_assert_eq(bcfmt_dev_read(dev, 0, buf, BYTES), BCFMT_OK);
	for (uint64_t i = 0; i < BYTES; i++) {
		bool is_zeroed = i >= offset_bytes && i - offset_bytes < len_bytes;

		cr_assert_eq(buf[i], is_zeroed ? 0 : help_byte(i, 3), "byte %llu",
			     (unsigned long long)i);
	}
	free(buf);
}

static void fill_image(void)
{
	uint8_t *buf = malloc(BYTES);

	help_fill(buf, 0, BYTES, 3);
	help_file("image", buf, BYTES);
	free(buf);
}

static int64_t blocks_of_image(void)
{
	char path[HELP_PATH_BYTES];
	struct stat st;

	cr_assert_eq(stat(help_path(path, "image"), &st), 0);
	return st.st_blocks;
}

Test(dev_zero, a_file_is_zeroed_exactly)
{
	struct bcfmt_dev *dev;

	fill_image();
	dev = open_image(BCFMT_OPEN_WRITE);
	cr_expect_eq(bcfmt_dev_zero(dev, 1536, (1 << 20) + 512), BCFMT_OK);
	cr_expect_eq(bcfmt_dev_zero(dev, 100, 0), BCFMT_OK);
	expect_zeroed(dev, 1536, (1 << 20) + 512);
	cr_expect_eq(bcfmt_dev_flush(dev), BCFMT_OK);
	bcfmt_dev_forget(dev);
	expect_zeroed(dev, 1536, (1 << 20) + 512);
	bcfmt_dev_free(dev);
}

Test(dev_zero, memory_is_zeroed_by_writing)
{
	struct bcfmt_dev *dev = help_mem(BYTES, 3);

	/* More than one piece of zeros, and an end inside a piece. */
	cr_expect_eq(bcfmt_dev_zero(dev, 512, 200000), BCFMT_OK);
	expect_zeroed(dev, 512, 200000);
	bcfmt_dev_forget(dev);
	bcfmt_dev_free(dev);
}

Test(dev_zero, holes_stay_holes)
{
	char path[HELP_PATH_BYTES];
	uint8_t page[4096];
	struct bcfmt_dev *dev;
	uint64_t begin, end;
	int64_t blocks;

	help_text("image", "");
	cr_assert_eq(truncate(help_path(path, "image"), BYTES), 0);
	dev = open_image(BCFMT_OPEN_WRITE);
	if (bcfmt_dev_next_data(dev, 0, &begin, &end) != BCFMT_END) {
		bcfmt_dev_free(dev);
		cr_skip_test("no holes here");
	}
	memset(page, 0x5a, sizeof(page));
	cr_assert_eq(bcfmt_dev_write(dev, 1 << 20, page, sizeof(page)), BCFMT_OK);
	cr_assert_eq(bcfmt_dev_flush(dev), BCFMT_OK);
	blocks = blocks_of_image();
	cr_expect_eq(bcfmt_dev_zero(dev, 0, BYTES), BCFMT_OK);
	cr_expect_eq(bcfmt_dev_flush(dev), BCFMT_OK);
	cr_expect(blocks_of_image() <= blocks, "%lld blocks, before %lld",
		  (long long)blocks_of_image(), (long long)blocks);
	cr_expect_eq(bcfmt_dev_read(dev, 1 << 20, page, sizeof(page)), BCFMT_OK);
	cr_expect(help_all_zero(page, sizeof(page)));
	bcfmt_dev_free(dev);
}

Test(dev_zero, what_must_not_be_written_is_not_zeroed)
{
	struct bcfmt_dev *dev;

	fill_image();
	dev = open_image(0);
	cr_expect_eq(bcfmt_dev_zero(dev, 0, 512), BCFMT_E_ARG);
	help_expect_fault("image: sector 0: cannot zero: opened for reading only");
	cr_expect_eq(bcfmt_dev_discard(dev, 512, 512), BCFMT_E_ARG);
	help_expect_fault("image: sector 1: cannot discard: opened for reading only");
	expect_zeroed(dev, 0, 0);
	bcfmt_dev_free(dev);
}

Test(dev_zero, beyond_the_end_nothing_is_done)
{
	struct bcfmt_dev *dev;

	fill_image();
	dev = open_image(BCFMT_OPEN_WRITE);
	cr_expect_eq(bcfmt_dev_zero(dev, BYTES - 512, 1024), BCFMT_E_RANGE);
	help_expect_fault("cannot zero 1024 bytes: the device ends at sector 8192");
	cr_expect_eq(bcfmt_dev_zero(dev, 512, UINT64_MAX), BCFMT_E_RANGE);
	help_expect_fault("cannot zero 18446744073709551615 bytes");
	cr_expect_eq(bcfmt_dev_discard(dev, BYTES, 512), BCFMT_E_RANGE);
	help_expect_fault("cannot discard 512 bytes");
	expect_zeroed(dev, 0, 0);
	bcfmt_dev_free(dev);
}

Test(dev_zero, a_file_takes_no_discards)
{
	struct bcfmt_dev *dev;

	fill_image();
	dev = open_image(BCFMT_OPEN_WRITE);
	cr_expect_eq(bcfmt_dev_discard(dev, 0, 4096), BCFMT_E_UNSUPPORTED);
	cr_expect_str_eq(bcfmt_ctx_fault(help_ctx), "");
	expect_zeroed(dev, 0, 0);
	bcfmt_dev_free(dev);
}

Test(dev_zero, a_failed_write_is_an_error)
{
	struct bcfmt_dev_faults faults = { .fail_write = 2 };
	struct bcfmt_dev *mem = help_mem(BYTES, 3);
	struct bcfmt_dev *dev;

	cr_assert_eq(bcfmt_dev_faulty(help_ctx, mem, &faults, &dev), BCFMT_OK);
	cr_expect_eq(bcfmt_dev_zero(dev, 0, BYTES), BCFMT_E_IO);
	help_expect_fault("mem: sector 128: cannot zero: injected failure");
	bcfmt_dev_free(dev);
}
