/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Memory devices, and the bounds and salvaging reads that all devices share. */
#include "dev_help.h"

#define DEV_BYTES 8192u

TestSuite(dev_mem, .init = help_begin, .fini = help_end);

Test(dev_mem, is_a_private_copy)
{
	uint8_t bytes[1024], got[1024];
	struct bcfmt_dev *dev;

	help_fill(bytes, 0, sizeof(bytes), 1);
	cr_assert_eq(bcfmt_dev_mem(help_ctx, "copy", bytes, sizeof(bytes), &dev), BCFMT_OK);
	memset(bytes, 0, sizeof(bytes));
	cr_assert_eq(bcfmt_dev_read(dev, 0, got, sizeof(got)), BCFMT_OK);
	cr_expect_eq(got[700], help_byte(700, 1));
	cr_expect_eq(bcfmt_dev_bytes(dev), 1024);
	cr_expect_eq(bcfmt_dev_logical_block_bytes(dev), 512);
	cr_expect(bcfmt_dev_is_writable(dev));
	cr_expect_not(bcfmt_dev_was_in_use(dev));
	cr_expect_str_eq(bcfmt_dev_name(dev), "copy");
	bcfmt_dev_free(dev);
}

Test(dev_mem, without_bytes_is_zeros_and_keeps_what_is_written)
{
	uint8_t got[DEV_BYTES], put[3] = { 1, 2, 3 };
	struct bcfmt_dev *dev;

	cr_assert_eq(bcfmt_dev_mem(help_ctx, "zeros", NULL, DEV_BYTES, &dev), BCFMT_OK);
	cr_assert_eq(bcfmt_dev_read(dev, 0, got, sizeof(got)), BCFMT_OK);
	cr_expect(help_all_zero(got, sizeof(got)));
	cr_assert_eq(bcfmt_dev_write(dev, DEV_BYTES - 3, put, 3), BCFMT_OK);
	cr_assert_eq(bcfmt_dev_read(dev, 0, got, sizeof(got)), BCFMT_OK);
	cr_expect(help_all_zero(got, DEV_BYTES - 3));
	cr_expect_arr_eq(got + DEV_BYTES - 3, put, 3);
	cr_expect_eq(bcfmt_dev_flush(dev), BCFMT_OK);
	bcfmt_dev_free(dev);
}

Test(dev_mem, counts_whole_sectors_only)
{
	uint8_t byte = 0;
	struct bcfmt_dev *dev;

	cr_assert_eq(bcfmt_dev_mem(help_ctx, "odd", NULL, 1025, &dev), BCFMT_OK);
	cr_expect_eq(bcfmt_dev_bytes(dev), 1024);
	cr_expect_eq(bcfmt_dev_read(dev, 1024, &byte, 1), BCFMT_E_RANGE);
	bcfmt_dev_free(dev);
	cr_assert_eq(bcfmt_dev_mem(help_ctx, "empty", &byte, 0, &dev), BCFMT_OK);
	cr_expect_eq(bcfmt_dev_bytes(dev), 0);
	cr_expect_eq(bcfmt_dev_next_data(dev, 0, &(uint64_t){ 0 }, &(uint64_t){ 0 }), BCFMT_END);
	bcfmt_dev_free(dev);
	bcfmt_dev_free(NULL);
}

Test(dev_mem, refuses_ranges_beyond_the_end)
{
	struct bcfmt_dev *dev = help_mem(DEV_BYTES, 1);
	uint8_t buf[16] = { 0 };

	cr_expect_eq(bcfmt_dev_read(dev, DEV_BYTES - 15, buf, 16), BCFMT_E_RANGE);
	help_expect_fault("mem: sector 15: cannot read 16 bytes: the device ends at sector 16");
	cr_expect_eq(bcfmt_dev_write(dev, DEV_BYTES, buf, 1), BCFMT_E_RANGE);
	help_expect_fault("sector 16: cannot write");
	/* Offset plus length wraps to a small number. */
	cr_expect_eq(bcfmt_dev_read(dev, UINT64_MAX - 7, buf, 16), BCFMT_E_RANGE);
	cr_expect_eq(bcfmt_dev_write(dev, 16, buf, SIZE_MAX - 8), BCFMT_E_RANGE);
	cr_expect_eq(bcfmt_dev_read(dev, DEV_BYTES, buf, 0), BCFMT_OK);
	cr_expect_eq(bcfmt_dev_read(dev, DEV_BYTES - 16, buf, 16), BCFMT_OK);
	bcfmt_dev_free(dev);
}

Test(dev_mem, all_is_data)
{
	struct bcfmt_dev *dev = help_mem(DEV_BYTES, 1);
	uint64_t begin = 0, end = 0;

	cr_expect_eq(bcfmt_dev_next_data(dev, 513, &begin, &end), BCFMT_OK);
	cr_expect_eq(begin, 513);
	cr_expect_eq(end, DEV_BYTES);
	cr_expect_eq(bcfmt_dev_next_data(dev, DEV_BYTES, &begin, &end), BCFMT_END);
	cr_expect_eq(bcfmt_dev_next_data(dev, UINT64_MAX, &begin, &end), BCFMT_END);
	bcfmt_dev_free(dev);
}

Test(dev_mem, salvage_zeroes_what_lies_beyond_the_end)
{
	struct bcfmt_dev *dev = help_mem(DEV_BYTES, 1);
	struct bcfmt_bad_read bad;
	uint8_t buf[4096];

	memset(buf, 0xff, sizeof(buf));
	cr_assert_eq(bcfmt_dev_read_salvage(dev, DEV_BYTES - 1024, buf, sizeof(buf), &bad),
		     BCFMT_OK);
	cr_expect_eq(bad.first_sector, 16);
	cr_expect_eq(bad.sectors, 6);
	cr_expect_eq(buf[1023], help_byte(DEV_BYTES - 1, 1));
	cr_expect(help_all_zero(buf + 1024, 3072));

	memset(buf, 0xff, sizeof(buf));
	cr_assert_eq(bcfmt_dev_read_salvage(dev, 1ull << 63, buf, sizeof(buf), &bad), BCFMT_OK);
	cr_expect_eq(bad.first_sector, 1ull << 54);
	cr_expect_eq(bad.sectors, 8);
	cr_expect(help_all_zero(buf, sizeof(buf)));

	cr_assert_eq(bcfmt_dev_read_salvage(dev, 0, buf, sizeof(buf), &bad), BCFMT_OK);
	cr_expect_eq(bad.sectors, 0);
	cr_expect_eq(buf[9], help_byte(9, 1));
	cr_expect_str_eq(bcfmt_ctx_fault(help_ctx), "");
	bcfmt_dev_free(dev);
}

Test(dev_mem, salvage_wants_whole_sectors)
{
	struct bcfmt_dev *dev = help_mem(DEV_BYTES, 1);
	struct bcfmt_bad_read bad;
	uint8_t buf[1024];

	cr_expect_eq(bcfmt_dev_read_salvage(dev, 1, buf, 512, &bad), BCFMT_E_ARG);
	cr_expect_eq(bcfmt_dev_read_salvage(dev, 512, buf, 511, &bad), BCFMT_E_ARG);
	bcfmt_dev_free(dev);
}
