/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What was written to an overlay, told, brought to a device, and whole copies with their holes. */
#include "dev_help.h"

/* Ends inside a block of 4 KiB. */
#define DEV_BYTES (3u * 1024 * 1024 + 1536)
#define DEV_SECTORS (DEV_BYTES / 512)

TestSuite(overlay_commit, .init = help_begin, .fini = help_end);

static struct bcfmt_dev *lower, *overlay;
static uint8_t *is_written; /* a sector */

static void start(void)
{
	lower = help_mem(DEV_BYTES, 3);
	is_written = calloc(1, DEV_SECTORS);
	cr_assert_eq(bcfmt_dev_overlay(help_ctx, lower, &overlay), BCFMT_OK);
}

static void stop(void)
{
	bcfmt_dev_free(overlay);
	bcfmt_dev_free(lower);
	free(is_written);
}

static void put(struct bcfmt_dev *dev, uint64_t sector, uint64_t sectors, unsigned int seed)
{
	uint8_t *buf = malloc(sectors * 512);

	help_fill(buf, sector * 512, sectors * 512, seed);
	cr_assert_eq(bcfmt_dev_write(dev, sector * 512, buf, sectors * 512), BCFMT_OK);
	free(buf);
	if (dev == overlay)
		memset(is_written + sector, 1, sectors);
}

static void put_some(void)
{
	uint64_t state = 5;

	put(overlay, DEV_SECTORS - 1, 1, 9);
	put(overlay, 2048, 3000, 9); /* more than a piece */
	for (unsigned int i = 0; i < 200; i++) {
		uint64_t sector = help_random(&state) % (DEV_SECTORS - 20);

		put(overlay, sector, 1 + help_random(&state) % 19, i);
	}
}

Test(overlay_commit, runs_are_what_was_written)
{
	uint64_t at = 0, begin, end, last = UINT64_MAX;

	start();
	cr_expect_eq(bcfmt_dev_overlay_next(overlay, 0, &begin, &end), BCFMT_END);
	put_some();
	while (bcfmt_dev_overlay_next(overlay, at, &begin, &end) == BCFMT_OK) {
		cr_assert(begin >= at && end > begin && end <= DEV_BYTES);
		/* Two runs never touch. */
		cr_assert_neq(begin, last);
		for (uint64_t i = at / 512; i < begin / 512; i++)
			cr_assert_not(is_written[i], "sector %llu", (unsigned long long)i);
		for (uint64_t i = begin / 512; i < end / 512; i++)
			cr_assert(is_written[i], "sector %llu", (unsigned long long)i);
		at = last = end;
	}
	for (uint64_t i = at / 512; i < DEV_SECTORS; i++)
		cr_assert_not(is_written[i]);
	/* From the middle of a run on. */
	cr_assert_eq(bcfmt_dev_overlay_next(overlay, 2100 * 512, &begin, &end), BCFMT_OK);
	cr_expect_eq(begin, 2100 * 512);
	cr_expect_eq(bcfmt_dev_overlay_next(lower, 0, &begin, &end), BCFMT_E_ARG);
	help_expect_fault("no overlay");
	stop();
}

static void expect_equal(struct bcfmt_dev *a, struct bcfmt_dev *b)
{
	uint8_t *x = malloc(DEV_BYTES), *y = malloc(DEV_BYTES);

	cr_assert_eq(bcfmt_dev_read(a, 0, x, DEV_BYTES), BCFMT_OK);
	cr_assert_eq(bcfmt_dev_read(b, 0, y, DEV_BYTES), BCFMT_OK);
	cr_expect(!memcmp(x, y, DEV_BYTES));
	free(x);
	free(y);
}

Test(overlay_commit, a_commit_writes_that_and_nothing_else)
{
	struct bcfmt_dev *to, *above;
	uint64_t at = 0, begin, end;

	start();
	put_some();
	to = help_mem(DEV_BYTES, 3);
	cr_assert_eq(bcfmt_dev_overlay(help_ctx, to, &above), BCFMT_OK);
	cr_assert_eq(bcfmt_dev_overlay_commit(overlay, above), BCFMT_OK);
	expect_equal(overlay, above);
	while (bcfmt_dev_overlay_next(above, at, &begin, &end) == BCFMT_OK) {
		for (uint64_t i = begin / 512; i < end / 512; i++)
			cr_assert(is_written[i]);
		at = end;
	}
	bcfmt_dev_free(above);
	bcfmt_dev_free(to);
	stop();
}

Test(overlay_commit, writes_that_fail_end_it)
{
	struct bcfmt_dev_faults faults = { .fail_write = 3 };
	struct bcfmt_dev *to, *faulty;

	start();
	put_some();
	to = help_mem(DEV_BYTES, 3);
	cr_assert_eq(bcfmt_dev_faulty(help_ctx, to, &faults, &faulty), BCFMT_OK);
	cr_expect_eq(bcfmt_dev_overlay_commit(overlay, faulty), BCFMT_E_IO);
	bcfmt_ctx_fault_clear(help_ctx);
	bcfmt_dev_free(faulty);
	stop();
}

Test(overlay_commit, nothing_written_is_nothing_flushed)
{
	struct bcfmt_dev_faults faults = { .fail_write = 1, .fail_flush = 1 };
	struct bcfmt_dev *to, *faulty;

	start();
	to = help_mem(DEV_BYTES, 3);
	cr_assert_eq(bcfmt_dev_faulty(help_ctx, to, &faults, &faulty), BCFMT_OK);
	cr_expect_eq(bcfmt_dev_overlay_commit(overlay, faulty), BCFMT_OK);
	bcfmt_dev_free(faulty);
	stop();
}

Test(overlay_commit, zeros_of_a_copy_stay_holes)
{
	static uint8_t zeros[64 * 512];
	struct bcfmt_bad_read bad;
	struct bcfmt_dev *empty, *to;
	uint64_t at = 0, begin, end;

	start();
	cr_assert_eq(bcfmt_dev_write(overlay, 1024 * 512, zeros, sizeof(zeros)), BCFMT_OK);
	cr_assert_eq(bcfmt_dev_mem(help_ctx, "to", NULL, DEV_BYTES, &empty), BCFMT_OK);
	cr_assert_eq(bcfmt_dev_overlay(help_ctx, empty, &to), BCFMT_OK);
	cr_assert_eq(bcfmt_dev_copy(overlay, to, &bad), BCFMT_OK);
	cr_expect_eq(bad.sectors, 0);
	expect_equal(overlay, to);
	while (bcfmt_dev_overlay_next(to, at, &begin, &end) == BCFMT_OK) {
		cr_expect(end <= 1024 * 512 || begin >= 1088 * 512);
		at = end;
	}
	bcfmt_dev_free(to);
	bcfmt_dev_free(empty);
	stop();
}

Test(overlay_commit, what_a_copy_cannot_read_is_zero_and_told)
{
	char path[HELP_PATH_BYTES];
	struct bcfmt_bad_read bad;
	struct bcfmt_dev *from, *to;
	uint8_t sector[512];

	help_text("map", "0x0 +\n0x0 0x100000 +\n0x100000 0x400 -\n0x100400 0x200000 +\n");
	from = help_mem(DEV_BYTES, 3);
	cr_assert_eq(bcfmt_dev_badmap(help_ctx, from, help_path(path, "map"), &from), BCFMT_OK);
	cr_assert_eq(bcfmt_dev_mem(help_ctx, "to", NULL, DEV_BYTES, &to), BCFMT_OK);
	cr_assert_eq(bcfmt_dev_copy(from, to, &bad), BCFMT_OK);
	cr_expect_geq(bad.sectors, 2);
	cr_expect_eq(bad.first_sector, 2048);
	cr_assert_eq(bcfmt_dev_read(to, 2049 * 512, sector, 512), BCFMT_OK);
	cr_expect(help_all_zero(sector, 512));
	cr_assert_eq(bcfmt_dev_read(to, 2050 * 512, sector, 512), BCFMT_OK);
	cr_expect_not(help_all_zero(sector, 512));
	bcfmt_dev_free(to);
	bcfmt_dev_free(from);
}
