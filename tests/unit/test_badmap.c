/* SPDX-License-Identifier: GPL-2.0-or-later */
/* ddrescue mapfiles: what they call finished can be read, and nothing else. */
#include "dev_help.h"

#include <criterion/parameterized.h>

#define DEV_BYTES (1u << 20)
#define HEAD "# Mapfile. Created by GNU ddrescue version 1.23\n0x0 + 1\n"

TestSuite(badmap, .init = help_begin, .fini = help_end);

/* The device that map_text makes of lower; lower is freed when it makes none. */
static bcfmt_err make(struct bcfmt_dev *lower, const char *map_text, struct bcfmt_dev **out)
{
	char path[HELP_PATH_BYTES];
	bcfmt_err err;

	help_text("map", map_text);
	err = bcfmt_dev_badmap(help_ctx, lower, help_path(path, "map"), out);
	if (err) {
		cr_expect_null(*out);
		bcfmt_dev_free(lower);
	}
	return err;
}

Test(badmap, reads_only_what_is_finished)
{
	static const char map[] =
		"# Mapfile. Created by GNU ddrescue version 1.27\n"
		"# Command line: ddrescue -d /dev/sdx image map\n"
		"# current_pos  current_status  current_pass\n"
		"0x00012000     ?               1\n"
		"#      pos        size  status\n"
		"0x00000000  0x00001000  +\n"
		"0x00001000  0x00001000  +\r\n"
		"\n"
		"  0x00002000  0X200  -\n"
		"8704 01000 *\n"
		"0x2400 0xDC00 +\n"
		"0x10000 512 /\n"
		"0x10200 512 ?\n"
		"0x10400 0x7c00 +";
	struct bcfmt_dev *dev;
	uint8_t buf[8192];

	cr_assert_eq(make(help_mem(DEV_BYTES, 2), map, &dev), BCFMT_OK);
	cr_expect_eq(bcfmt_dev_bytes(dev), DEV_BYTES);
	cr_expect_eq(bcfmt_dev_read(dev, 0, buf, 0x2000), BCFMT_OK);
	cr_expect_eq(buf[0x1fff], help_byte(0x1fff, 2));
	cr_expect_eq(bcfmt_dev_read(dev, 0x1e00, buf, 513), BCFMT_E_IO);
	help_expect_fault("mem: sector 16: cannot read: not finished in the bad-sector map");
	cr_expect_eq(bcfmt_dev_read(dev, 0x2200, buf, 512), BCFMT_E_IO);
	cr_expect_eq(bcfmt_dev_read(dev, 0x2400, buf, 512), BCFMT_OK);
	cr_expect_eq(buf[0], help_byte(0x2400, 2));
	cr_expect_eq(bcfmt_dev_read(dev, 0x10000, buf, 1), BCFMT_E_IO);
	cr_expect_eq(bcfmt_dev_read(dev, 0x10200, buf, 1), BCFMT_E_IO);
	cr_expect_eq(bcfmt_dev_read(dev, 0x17e00, buf, 512), BCFMT_OK);
	/* What the map does not mention is not finished. */
	cr_expect_eq(bcfmt_dev_read(dev, 0x18000, buf, 512), BCFMT_E_IO);
	cr_expect_eq(bcfmt_dev_read(dev, DEV_BYTES, buf, 1), BCFMT_E_RANGE);
	bcfmt_dev_free(dev);
}

Test(badmap, salvage_finds_the_good_sectors)
{
	struct bcfmt_dev *dev;
	struct bcfmt_bad_read bad;
	static uint8_t buf[65536];
	size_t i;

	cr_assert_eq(make(help_mem(DEV_BYTES, 2), HEAD
			  "0 0x1200 +\n0x1200 0x400 -\n0x1600 0x5000 +\n0x6600 100 -\n"
			  "0x6664 0xf999c +\n", &dev), BCFMT_OK);
	cr_assert_eq(bcfmt_dev_read_salvage(dev, 512, buf, sizeof(buf), &bad), BCFMT_OK);
	cr_expect_eq(bad.first_sector, 0x1200 / 512);
	/* The last 100 bytes spoil the whole sector they begin. */
	cr_expect_eq(bad.sectors, 3);
	for (i = 0; i < sizeof(buf); i++) {
		uint64_t at = 512 + i;
		bool is_bad = (at >= 0x1200 && at < 0x1600) || (at >= 0x6600 && at < 0x6800);

		cr_assert_eq(buf[i], is_bad ? 0 : help_byte(at, 2), "byte %zu", i);
	}
	bcfmt_dev_free(dev);
}

Test(badmap, salvage_gives_up_after_64_bad_pieces)
{
	struct bcfmt_dev *dev;
	struct bcfmt_bad_read bad;
	uint8_t *buf = malloc(DEV_BYTES);

	/* 63 bad pieces in a row are got over, and the good ones behind them are read. */
	cr_assert_eq(make(help_mem(DEV_BYTES, 2), HEAD "0 0x1000 +\n0x40000 0xc0000 +\n", &dev),
		     BCFMT_OK);
	cr_assert_eq(bcfmt_dev_read_salvage(dev, 0, buf, DEV_BYTES, &bad), BCFMT_OK);
	cr_expect_eq(bad.sectors, 0x3f000 / 512);
	cr_expect_eq(bad.first_sector, 8);
	cr_expect_eq(buf[0x40000], help_byte(0x40000, 2));
	bcfmt_dev_free(dev);

	cr_assert_eq(make(help_mem(DEV_BYTES, 2), HEAD "0x40000 0xc0000 +\n", &dev), BCFMT_OK);
	cr_assert_eq(bcfmt_dev_read_salvage(dev, 0, buf, DEV_BYTES, &bad), BCFMT_OK);
	cr_expect_eq(bad.sectors, DEV_BYTES / 512);
	cr_expect(help_all_zero(buf, DEV_BYTES));
	bcfmt_dev_free(dev);
	free(buf);
}

Test(badmap, what_is_written_can_be_read)
{
	struct bcfmt_dev *dev;
	uint8_t buf[2048] = { 42 };

	cr_assert_eq(make(help_mem(DEV_BYTES, 2), HEAD "0 0x1000 +\n0x1000 0x1000 -\n", &dev),
		     BCFMT_OK);
	cr_expect(bcfmt_dev_is_writable(dev));
	cr_expect_eq(bcfmt_dev_write(dev, 0x1000, buf, 512), BCFMT_OK);
	cr_expect_eq(bcfmt_dev_read(dev, 0xe00, buf, 1024), BCFMT_OK);
	cr_expect_eq(buf[512], 42);
	cr_expect_eq(bcfmt_dev_read(dev, 0x1000, buf, 513), BCFMT_E_IO);
	/* Joined on both sides. */
	cr_expect_eq(bcfmt_dev_write(dev, 0x1400, buf, 512), BCFMT_OK);
	cr_expect_eq(bcfmt_dev_write(dev, 0x1200, buf, 512), BCFMT_OK);
	cr_expect_eq(bcfmt_dev_read(dev, 0xe00, buf, 2048), BCFMT_OK);
	cr_expect_eq(bcfmt_dev_read(dev, 0x1600, buf, 1), BCFMT_E_IO);
	cr_expect_eq(bcfmt_dev_flush(dev), BCFMT_OK);
	bcfmt_dev_free(dev);
}

Test(badmap, bad_ranges_are_no_holes)
{
	char path[HELP_PATH_BYTES];
	struct bcfmt_dev *lower, *dev;
	uint64_t begin, end, at = 0;
	unsigned int n = 0;

	/* All hole: a file system that knows holes shows only what is not finished. */
	help_text("image", "");
	cr_assert_eq(truncate(help_path(path, "image"), DEV_BYTES), 0);
	cr_assert_eq(bcfmt_dev_open(help_ctx, path, 0, &lower), BCFMT_OK);
	if (bcfmt_dev_next_data(lower, 0, &begin, &end) != BCFMT_END) {
		bcfmt_dev_free(lower);
		cr_skip_test("no holes here");
	}
	cr_assert_eq(make(lower, HEAD "0 0x8000 +\n0x8000 0x600 -\n0x8600 0x7a00 +\n", &dev),
		     BCFMT_OK);
	while (bcfmt_dev_next_data(dev, at, &begin, &end) == BCFMT_OK) {
		cr_expect_eq(begin, n ? 0x10000 : 0x8000);
		cr_expect_eq(end, n ? DEV_BYTES : 0x8600);
		at = end;
		cr_assert_lt(++n, 3);
	}
	cr_expect_eq(n, 2);
	cr_expect_eq(bcfmt_dev_next_data(dev, 0x8200, &begin, &end), BCFMT_OK);
	cr_expect_eq(begin, 0x8200);
	bcfmt_dev_free(dev);
	cr_assert_eq(bcfmt_dev_open(help_ctx, path, 0, &lower), BCFMT_OK);
	cr_assert_eq(make(lower, HEAD "0 512 -\n512 0xffe00 +\n", &dev), BCFMT_OK);
	cr_expect_eq(bcfmt_dev_next_data(dev, 0, &begin, &end), BCFMT_OK);
	cr_expect(begin == 0 && end == 512);
	cr_expect_eq(bcfmt_dev_next_data(dev, 512, &begin, &end), BCFMT_END);
	bcfmt_dev_free(dev);
}

Test(badmap, data_ends_where_bad_begins)
{
	struct bcfmt_dev *dev;
	uint64_t begin = 0, end = 0;

	cr_assert_eq(make(help_mem(DEV_BYTES, 2), HEAD "0 0x8000 +\n0x8000 0x600 -\n", &dev),
		     BCFMT_OK);
	cr_expect_eq(bcfmt_dev_next_data(dev, 0, &begin, &end), BCFMT_OK);
	cr_expect(begin == 0 && end == 0x8000);
	cr_expect_eq(bcfmt_dev_next_data(dev, end, &begin, &end), BCFMT_OK);
	cr_expect(begin == 0x8000 && end == DEV_BYTES);
	bcfmt_dev_free(dev);
}

struct bad_map {
	char text[160];
	char fault[80];
};

ParameterizedTestParameters(badmap, malformed_maps)
{
	static struct bad_map rows[] = {
		{ "", "line 0: no status line" },
		{ "# only comments\n", "line 1: no status line" },
		{ "0 0x1000 +\n", "line 1: not a status line" },
		{ "0x0 + 1 2\n", "line 1: not a status line" },
		{ "0x0 ++\n", "line 1: not a status line" },
		{ "0x0 X\n", "line 1: not a status line" },
		{ "zero +\n", "line 1: not a status line" },
		{ HEAD "0 0x1000\n", "line 3: not 'position size status'" },
		{ HEAD "0 0x1000 F\n", "line 3: not 'position size status'" },
		{ HEAD "0 0x1000 + +\n", "line 3: not 'position size status'" },
		{ HEAD "0 -1 +\n", "line 3: not 'position size status'" },
		{ HEAD "0 0x +\n", "line 3: not 'position size status'" },
		{ HEAD "0 0x10g +\n", "line 3: not 'position size status'" },
		{ HEAD "0 09 +\n", "line 3: not 'position size status'" },
		{ HEAD "0 0x10000000000000000 +\n", "line 3: not 'position size status'" },
		{ HEAD "0 99999999999999999999 +\n", "line 3: not 'position size status'" },
		{ HEAD "0x7fffffffffffffff 1 +\n", "line 3: range ends beyond 2^63" },
		{ HEAD "0xffffffffffffffff 0xffffffffffffffff +\n", "line 3: range ends beyond" },
		{ HEAD "0 0x1000 +\n\n0xfff 1 +\n", "line 5: range begins before the end" },
		{ HEAD "0x1000 0x1000 -\n0 0x1000 +\n", "line 4: range begins before the end" },
	};

	return cr_make_param_array(struct bad_map, rows, sizeof(rows) / sizeof(rows[0]));
}

ParameterizedTest(struct bad_map *row, badmap, malformed_maps)
{
	struct bcfmt_dev *dev;

	cr_expect_eq(make(help_mem(DEV_BYTES, 2), row->text, &dev), BCFMT_E_ARG);
	help_expect_fault(row->fault);
}

Test(badmap, limits_of_lines)
{
	size_t len_bytes = 3u << 20, i;
	char *text = malloc(len_bytes + 1);
	struct bcfmt_dev *dev;

	/* 2^20 lines are read, one more is too many. */
	for (i = 0; i < len_bytes; i += 2)
		memcpy(text + i, "#\n", 2);
	memcpy(text, "0 +\n", 4);
	text[(2u << 20) + 2] = '\0';
	cr_expect_eq(make(help_mem(512, 2), text, &dev), BCFMT_OK);
	bcfmt_dev_free(dev);
	text[(2u << 20) + 2] = '#';
	text[(2u << 20) + 4] = '\0';
	cr_expect_eq(make(help_mem(512, 2), text, &dev), BCFMT_E_ARG);
	help_expect_fault("line 1048577: more than 2^20 lines");

	/* A comment may be long, another line may not. */
	memset(text, 'x', 1u << 20);
	text[0] = '#';
	strcpy(text + (1u << 20), "\n0 +\n0 512 +\n");
	cr_expect_eq(make(help_mem(512, 2), text, &dev), BCFMT_OK);
	cr_expect_eq(bcfmt_dev_read(dev, 0, text, 512), BCFMT_OK);
	bcfmt_dev_free(dev);
	memset(text, ' ', 1000);
	strcpy(text + 1000, "0 +\n");
	cr_expect_eq(make(help_mem(512, 2), text, &dev), BCFMT_E_ARG);
	help_expect_fault("line 1: line too long");
	free(text);
}

Test(badmap, zero_bytes_and_missing_files)
{
	struct bcfmt_dev *lower = help_mem(512, 2), *dev;
	char path[HELP_PATH_BYTES];

	help_file("map", "0 +\n\0\n", 6);
	cr_expect_eq(bcfmt_dev_badmap(help_ctx, lower, help_path(path, "map"), &dev), BCFMT_E_ARG);
	help_expect_fault("line 2: a zero byte");
	cr_expect_eq(bcfmt_dev_badmap(help_ctx, lower, help_path(path, "none"), &dev),
		     BCFMT_E_SYSTEM);
	help_expect_fault("none: cannot open the mapfile: No such file");
	cr_expect_eq(bcfmt_dev_badmap(help_ctx, lower, help_dir, &dev), BCFMT_E_SYSTEM);
	help_expect_fault("cannot read the mapfile");
	bcfmt_dev_free(lower);
}
