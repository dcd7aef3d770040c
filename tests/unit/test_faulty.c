/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Devices that fail when told to, and what salvaging reads make of them. */
#include "dev_help.h"

#include <errno.h>

#include "dev/dev_impl.h"

#define DEV_BYTES (1u << 20)

TestSuite(faulty, .init = help_begin, .fini = help_end);

static struct bcfmt_dev *make(const struct bcfmt_dev_faults *faults)
{
	struct bcfmt_dev *dev;

	cr_assert_eq(bcfmt_dev_faulty(help_ctx, help_mem(DEV_BYTES, 5), faults, &dev), BCFMT_OK);
	return dev;
}

Test(faulty, zero_never_fails)
{
	struct bcfmt_dev *dev = make(&(struct bcfmt_dev_faults){ 0 });
	uint8_t buf[512];
	unsigned int i;

	for (i = 0; i < 50; i++) {
		cr_assert_eq(bcfmt_dev_read(dev, 512 * i, buf, 512), BCFMT_OK);
		cr_assert_eq(buf[3], help_byte(512 * i + 3, 5));
		cr_assert_eq(bcfmt_dev_write(dev, 512 * i, buf, 512), BCFMT_OK);
		cr_assert_eq(bcfmt_dev_flush(dev), BCFMT_OK);
	}
	cr_expect_eq(bcfmt_dev_bytes(dev), DEV_BYTES);
	cr_expect(bcfmt_dev_is_writable(dev));
	bcfmt_dev_free(dev);
}

Test(faulty, fails_from_the_chosen_operation_on)
{
	struct bcfmt_dev *dev = make(&(struct bcfmt_dev_faults){ .fail_read = 3 });
	uint8_t buf[512] = { 0 };

	cr_expect_eq(bcfmt_dev_read(dev, 0, buf, 512), BCFMT_OK);
	/* Neither writes nor refused and empty reads count as reads. */
	cr_expect_eq(bcfmt_dev_write(dev, 0, buf, 512), BCFMT_OK);
	cr_expect_eq(bcfmt_dev_read(dev, DEV_BYTES, buf, 512), BCFMT_E_RANGE);
	bcfmt_ctx_fault_clear(help_ctx);
	cr_expect_eq(bcfmt_dev_read(dev, 0, buf, 0), BCFMT_OK);
	cr_expect_eq(bcfmt_dev_read(dev, 0, buf, 512), BCFMT_OK);
	cr_expect_eq(bcfmt_dev_read(dev, 5120, buf, 512), BCFMT_E_IO);
	help_expect_fault("mem: sector 10: cannot read: injected failure");
	cr_expect_eq(bcfmt_dev_read(dev, 0, buf, 512), BCFMT_E_IO);
	bcfmt_dev_free(dev);
}

Test(faulty, once_fails_only_once)
{
	struct bcfmt_dev *dev = make(&(struct bcfmt_dev_faults){
		.fail_write = 2, .fail_flush = 1, .once = true });
	uint8_t buf[512] = { 0 };

	cr_expect_eq(bcfmt_dev_write(dev, 0, buf, 512), BCFMT_OK);
	cr_expect_eq(bcfmt_dev_write(dev, 512, buf, 512), BCFMT_E_IO);
	cr_expect_eq(bcfmt_dev_write(dev, 1024, buf, 512), BCFMT_OK);
	/* What failed was not written. */
	cr_expect_eq(bcfmt_dev_read(dev, 512, buf, 512), BCFMT_OK);
	cr_expect_eq(buf[7], help_byte(519, 5));
	bcfmt_ctx_fault_clear(help_ctx);
	cr_expect_eq(bcfmt_dev_flush(dev), BCFMT_E_IO);
	help_expect_fault("mem: cannot flush: injected failure");
	cr_expect_eq(bcfmt_dev_flush(dev), BCFMT_OK);
	bcfmt_dev_free(dev);
}

Test(faulty, salvage_recovers_from_one_failure)
{
	struct bcfmt_dev *dev = make(&(struct bcfmt_dev_faults){ .fail_read = 1, .once = true });
	struct bcfmt_bad_read bad;
	static uint8_t buf[65536];
	size_t i;

	cr_assert_eq(bcfmt_dev_read_salvage(dev, 512, buf, sizeof(buf), &bad), BCFMT_OK);
	cr_expect_eq(bad.sectors, 0);
	for (i = 0; i < sizeof(buf); i++)
		cr_assert_eq(buf[i], help_byte(512 + i, 5));
	cr_expect_str_eq(bcfmt_ctx_fault(help_ctx), "");
	bcfmt_dev_free(dev);
}

struct dead_dev {
	struct bcfmt_dev dev;
	unsigned int reads;
};

static bcfmt_err dead_read(struct bcfmt_dev *dev, uint64_t offset_bytes, void *buf,
			   size_t len_bytes, struct io_fault *fault)
{
	((struct dead_dev *)dev)->reads++;
	memset(buf, 0xee, len_bytes);
	return dev_io_fail(fault, BCFMT_E_IO, offset_bytes, EIO, NULL);
}

static void dead_free(struct bcfmt_dev *dev)
{
	free(dev);
}

static const struct dev_ops dead_ops = { .read = dead_read, .free = dead_free };

Test(faulty, salvage_of_a_dead_device_ends_soon)
{
	struct dead_dev *dead = calloc(1, sizeof(*dead));
	uint8_t *buf = malloc(DEV_BYTES);
	struct bcfmt_bad_read bad;

	cr_assert_eq(dev_init(&dead->dev, &dead_ops, help_ctx, "dead", DEV_BYTES), BCFMT_OK);
	cr_assert_eq(bcfmt_dev_read_salvage(&dead->dev, 0, buf, DEV_BYTES, &bad), BCFMT_OK);
	cr_expect_eq(bad.first_sector, 0);
	cr_expect_eq(bad.sectors, DEV_BYTES / 512);
	cr_expect(help_all_zero(buf, DEV_BYTES));
	/* The whole, then 64 pieces with 8 sectors each. */
	cr_expect_eq(dead->reads, 1 + 64 * 9);
	cr_expect_eq(bcfmt_dev_read(&dead->dev, 1024, buf, 512), BCFMT_E_IO);
	help_expect_fault("dead: sector 2: cannot read: ");
	cr_expect_eq(bcfmt_dev_write(&dead->dev, 0, buf, 512), BCFMT_E_ARG);
	help_expect_fault("dead: sector 0: cannot write: opened for reading only");
	bcfmt_dev_free(&dead->dev);
	free(buf);
}
