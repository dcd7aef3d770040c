/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Copy on write over a device that must never change. */
#include "dev_help.h"

/* Ends inside a block of 4 KiB. */
#define DEV_BYTES (300u * 1024 + 1536)

TestSuite(overlay, .init = help_begin, .fini = help_end);

static void expect_contents(struct bcfmt_dev *dev, const uint8_t *model)
{
	uint8_t *got = malloc(DEV_BYTES);

	cr_assert_eq(bcfmt_dev_read(dev, 0, got, DEV_BYTES), BCFMT_OK);
	cr_expect_arr_eq(got, model, DEV_BYTES);
	free(got);
}

Test(overlay, random_writes_of_any_alignment)
{
	struct bcfmt_dev *lower = help_mem(DEV_BYTES, 3), *dev;
	uint8_t *model = malloc(DEV_BYTES), *before = malloc(DEV_BYTES);
	uint8_t *buf = malloc(20000);
	uint64_t state = 99;
	unsigned int i;

	help_fill(model, 0, DEV_BYTES, 3);
	memcpy(before, model, DEV_BYTES);
	cr_assert_eq(bcfmt_dev_overlay(help_ctx, lower, &dev), BCFMT_OK);
	expect_contents(dev, model);
	for (i = 0; i < 600; i++) {
		uint64_t offset = help_random(&state) % DEV_BYTES;
		size_t len = help_random(&state) % (i % 3 ? 900 : 20000);

		/* Some are whole sectors, as most writes of the programs are. */
		if (i % 2) {
			offset -= offset % 512;
			len -= len % 512;
		}
		if (len > DEV_BYTES - offset)
			len = DEV_BYTES - offset;
		help_fill(buf, offset, len, 100 + i);
		cr_assert_eq(bcfmt_dev_write(dev, offset, buf, len), BCFMT_OK);
		memcpy(model + offset, buf, len);
		offset = help_random(&state) % DEV_BYTES;
		len = help_random(&state) % 9000;
		if (len > DEV_BYTES - offset)
			len = DEV_BYTES - offset;
		cr_assert_eq(bcfmt_dev_read(dev, offset, buf, len), BCFMT_OK);
		cr_assert_eq(memcmp(buf, model + offset, len), 0, "read %u", i);
	}
	expect_contents(dev, model);
	expect_contents(lower, before);
	cr_expect_eq(bcfmt_dev_flush(dev), BCFMT_OK);
	bcfmt_dev_free(dev);
	expect_contents(lower, before);
	bcfmt_dev_free(lower);
	free(model);
	free(before);
	free(buf);
}

Test(overlay, is_writable_over_what_is_not)
{
	char path[HELP_PATH_BYTES];
	struct bcfmt_dev *lower, *dev;
	uint8_t buf[512], zeros[512] = { 0 };

	help_fill(buf, 0, sizeof(buf), 4);
	help_file("image", buf, sizeof(buf));
	cr_assert_eq(bcfmt_dev_open(help_ctx, help_path(path, "image"), 0, &lower), BCFMT_OK);
	cr_assert_eq(bcfmt_dev_overlay(help_ctx, lower, &dev), BCFMT_OK);
	cr_expect_not(bcfmt_dev_is_writable(lower));
	cr_expect(bcfmt_dev_is_writable(dev));
	cr_expect_str_eq(bcfmt_dev_name(dev), path);
	cr_expect_eq(bcfmt_dev_write(dev, 0, zeros, 512), BCFMT_OK);
	cr_expect_eq(bcfmt_dev_write(dev, 1, zeros, 512), BCFMT_E_RANGE);
	cr_expect_eq(bcfmt_dev_read(dev, 0, buf, 512), BCFMT_OK);
	cr_expect(help_all_zero(buf, 512));
	cr_expect_eq(bcfmt_dev_read(lower, 0, buf, 512), BCFMT_OK);
	cr_expect_eq(buf[200], help_byte(200, 4));
	bcfmt_dev_free(dev);
	bcfmt_dev_free(lower);
}

Test(overlay, a_sector_beside_a_bad_one_can_be_written)
{
	struct bcfmt_dev *lower, *dev;
	uint8_t buf[1024];

	cr_assert_eq(bcfmt_dev_faulty(help_ctx, help_mem(8192, 3),
		     &(struct bcfmt_dev_faults){ .fail_read = 1 }, &lower), BCFMT_OK);
	cr_assert_eq(bcfmt_dev_overlay(help_ctx, lower, &dev), BCFMT_OK);
	help_fill(buf, 1024, 1024, 7);
	cr_expect_eq(bcfmt_dev_write(dev, 1024, buf, 1024), BCFMT_OK);
	memset(buf, 0, sizeof(buf));
	cr_expect_eq(bcfmt_dev_read(dev, 1024, buf, 1024), BCFMT_OK);
	cr_expect_eq(buf[1000], help_byte(2024, 7));
	cr_expect_eq(bcfmt_dev_read(dev, 1023, buf, 2), BCFMT_E_IO);
	help_expect_fault("mem: sector 1: cannot read: injected failure");
	/* Part of a sector needs the rest of it, and leaves nothing behind when that fails. */
	cr_expect_eq(bcfmt_dev_write(dev, 4096, buf, 100), BCFMT_E_IO);
	cr_expect_eq(bcfmt_dev_read(dev, 4096, buf, 100), BCFMT_E_IO);
	bcfmt_dev_free(dev);
	bcfmt_dev_free(lower);
}

/* How much the process has open in unlinked files of the test's folder. */
static uint64_t unlinked_bytes(void)
{
	uint64_t bytes = 0;
	int fd;

	for (fd = 3; fd < 64; fd++) {
		char link[64], target[HELP_PATH_BYTES];
		struct stat st;
		ssize_t len;

		snprintf(link, sizeof(link), "/proc/self/fd/%d", fd);
		len = readlink(link, target, sizeof(target) - 1);
		if (len <= 0 || fstat(fd, &st) || !S_ISREG(st.st_mode) || st.st_nlink)
			continue;
		target[len] = '\0';
		if (!strncmp(target, help_dir, strlen(help_dir)))
			bytes += (uint64_t)st.st_size;
	}
	return bytes;
}

Test(overlay, beyond_64_mib_goes_to_an_unlinked_file)
{
	const uint64_t dev_bytes = 160u << 20, step = 1u << 20;
	char path[HELP_PATH_BYTES];
	struct bcfmt_dev *lower, *dev;
	uint8_t *buf = malloc(step);
	uint64_t at;
	size_t i;

	help_text("image", "");
	cr_assert_eq(truncate(help_path(path, "image"), (off_t)dev_bytes), 0);
	cr_assert_eq(bcfmt_dev_open(help_ctx, path, 0, &lower), BCFMT_OK);
	cr_assert_eq(bcfmt_dev_overlay(help_ctx, lower, &dev), BCFMT_OK);
	/* Downwards and with gaps, so that slots are not in the order of blocks. */
	for (at = dev_bytes; at; at -= 2 * step) {
		help_fill(buf, at - step, step, 8);
		cr_assert_eq(bcfmt_dev_write(dev, at - step, buf, step), BCFMT_OK);
		if (at == dev_bytes - 126 * step)
			cr_expect_eq(unlinked_bytes(), 0);
	}
	cr_expect_eq(unlinked_bytes(), 16u << 20);
	/* Written again, nothing grows. */
	help_fill(buf, step, step, 9);
	cr_assert_eq(bcfmt_dev_write(dev, step, buf, step), BCFMT_OK);
	cr_expect_eq(unlinked_bytes(), 16u << 20);
	cr_assert_eq(bcfmt_dev_write(dev, 0, buf, 4096), BCFMT_OK);
	cr_expect_eq(unlinked_bytes(), (16u << 20) + 4096);
	memset(buf, 0, 4096);
	cr_assert_eq(bcfmt_dev_write(dev, 0, buf, 4096), BCFMT_OK);
	for (at = 0; at < dev_bytes; at += step) {
		bool is_written = at / step % 2;
		unsigned int seed = at == step ? 9 : 8;

		cr_assert_eq(bcfmt_dev_read(dev, at, buf, step), BCFMT_OK);
		if (!is_written)
			cr_assert(help_all_zero(buf, step));
		for (i = 0; is_written && i < step; i++)
			cr_assert_eq(buf[i], help_byte(at + i, seed));
	}
	bcfmt_dev_free(dev);
	bcfmt_dev_free(lower);
	free(buf);
}

Test(overlay, without_a_temporary_folder_the_write_fails)
{
	struct bcfmt_ctx_params params = { .tmp_dir = "/nonexistent/folder" };
	struct bcfmt_dev *lower, *dev;
	struct bcfmt_ctx *ctx;
	const size_t step = 1u << 20;
	uint8_t *buf = calloc(1, step);
	uint64_t at;

	cr_assert_eq(bcfmt_ctx_new(&params, &ctx), BCFMT_OK);
	cr_assert_eq(bcfmt_dev_mem(ctx, "big", NULL, 65 * step, &lower), BCFMT_OK);
	cr_assert_eq(bcfmt_dev_overlay(ctx, lower, &dev), BCFMT_OK);
	memset(buf, 1, step);
	for (at = 0; at < 64 * step; at += step)
		cr_assert_eq(bcfmt_dev_write(dev, at, buf, step), BCFMT_OK);
	cr_expect_eq(bcfmt_dev_write(dev, at, buf, step), BCFMT_E_SYSTEM);
	cr_expect(strstr(bcfmt_ctx_fault(ctx), "/nonexistent/folder"), "%s", bcfmt_ctx_fault(ctx));
	/* What could not be kept is not there, what was is. */
	cr_expect_eq(bcfmt_dev_read(dev, at - step, buf, 2), BCFMT_OK);
	cr_expect_eq(buf[1], 1);
	cr_expect_eq(bcfmt_dev_read(dev, at, buf, step), BCFMT_OK);
	cr_expect(help_all_zero(buf, step));
	bcfmt_dev_free(dev);
	bcfmt_dev_free(lower);
	bcfmt_ctx_free(ctx);
	free(buf);
}

Test(overlay, written_blocks_are_data_in_holes_of_lower)
{
	const uint64_t expected[] = { 8192, 12288, 1048576, 1052672, 4190208, 4194304 - 512 };
	char path[HELP_PATH_BYTES];
	struct bcfmt_dev *lower, *dev;
	uint64_t begin = 0, end = 0;
	uint8_t buf[4096] = { 1 };
	size_t i;

	help_text("image", "");
	cr_assert_eq(truncate(help_path(path, "image"), 4194304 - 512), 0);
	cr_assert_eq(bcfmt_dev_open(help_ctx, path, 0, &lower), BCFMT_OK);
	if (bcfmt_dev_next_data(lower, 0, &begin, &end) != BCFMT_END) {
		bcfmt_dev_free(lower);
		cr_skip_test("no holes here");
	}
	cr_assert_eq(bcfmt_dev_overlay(help_ctx, lower, &dev), BCFMT_OK);
	cr_expect_eq(bcfmt_dev_next_data(dev, 0, &begin, &end), BCFMT_END);
	cr_assert_eq(bcfmt_dev_write(dev, 1048576, buf, 512), BCFMT_OK);
	cr_assert_eq(bcfmt_dev_write(dev, 4194304 - 1024, buf, 512), BCFMT_OK);
	cr_assert_eq(bcfmt_dev_write(dev, 8192, buf, 4096), BCFMT_OK);
	end = 0;
	for (i = 0; i < 6; i += 2) {
		cr_assert_eq(bcfmt_dev_next_data(dev, end, &begin, &end), BCFMT_OK);
		cr_expect_eq(begin, expected[i]);
		cr_expect_eq(end, expected[i + 1]);
	}
	cr_expect_eq(bcfmt_dev_next_data(dev, end, &begin, &end), BCFMT_END);
	cr_expect_eq(bcfmt_dev_next_data(dev, 8200, &begin, &end), BCFMT_OK);
	cr_expect(begin == 8200 && end == 12288);
	bcfmt_dev_free(dev);
	bcfmt_dev_free(lower);
}

Test(overlay, written_blocks_and_data_of_lower_come_in_order)
{
	static const uint64_t written[] = { 1 << 20, 5 << 20 };
	char path[HELP_PATH_BYTES];
	struct bcfmt_dev *lower, *dev;
	uint64_t lower_begin, lower_end, begin = 0, end = 0;
	uint8_t buf[512] = { 1 };
	FILE *file;
	size_t i;

	help_text("image", "");
	cr_assert_eq(truncate(help_path(path, "image"), 8 << 20), 0);
	file = fopen(path, "r+e");
	cr_assert_not_null(file);
	cr_assert_eq(fseek(file, 3 << 20, SEEK_SET), 0);
	cr_assert_eq(fwrite(buf, 1, 512, file), 512);
	fclose(file);
	cr_assert_eq(bcfmt_dev_open(help_ctx, path, 0, &lower), BCFMT_OK);
	cr_assert_eq(bcfmt_dev_next_data(lower, 0, &lower_begin, &lower_end), BCFMT_OK);
	if (lower_end - lower_begin > 1 << 20) {
		bcfmt_dev_free(lower);
		cr_skip_test("no holes here");
	}
	cr_assert_eq(bcfmt_dev_overlay(help_ctx, lower, &dev), BCFMT_OK);
	for (i = 0; i < 2; i++)
		cr_assert_eq(bcfmt_dev_write(dev, written[i], buf, 512), BCFMT_OK);
	cr_expect_eq(bcfmt_dev_next_data(dev, 0, &begin, &end), BCFMT_OK);
	cr_expect(begin == written[0] && end == written[0] + 4096);
	cr_expect_eq(bcfmt_dev_next_data(dev, end, &begin, &end), BCFMT_OK);
	cr_expect(begin == lower_begin && end == lower_end);
	cr_expect_eq(bcfmt_dev_next_data(dev, end, &begin, &end), BCFMT_OK);
	cr_expect(begin == written[1] && end == written[1] + 4096);
	cr_expect_eq(bcfmt_dev_next_data(dev, end, &begin, &end), BCFMT_END);
	bcfmt_dev_free(dev);
	bcfmt_dev_free(lower);
}
