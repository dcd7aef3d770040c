/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The bucket map: its colours, what of a set is marked, and the words of its text. */
#include "unit/check_help.h"
#include "unit/render_help.h"

#include <math.h>

#include <bcfmt/map.h>

TestSuite(map, .init = begin, .fini = end);

/* ---- colours ---- */

/* How eyes without one kind of cone see linear RGB: protan, deutan, tritan (Machado 2009). */
static const double sight[4][3][3] = {
	{ { 1, 0, 0 }, { 0, 1, 0 }, { 0, 0, 1 } },
	{ { 0.152286, 1.052583, -0.204868 },
	  { 0.114503, 0.786281, 0.099216 },
	  { -0.003882, -0.048116, 1.051998 } },
	{ { 0.367322, 0.860646, -0.227968 },
	  { 0.280085, 0.672501, 0.047413 },
	  { -0.011820, 0.042940, 0.968881 } },
	{ { 1.255528, -0.076749, -0.178779 },
	  { -0.078411, 0.930809, 0.147602 },
	  { 0.004733, 0.691367, 0.303900 } },
};

static double linear(unsigned int byte)
{
	double value = byte / 255.0;

	return value <= 0.04045 ? value / 12.92 : pow((value + 0.055) / 1.055, 2.4);
}

static double cube_root(double value)
{
	return value > 0.008856 ? cbrt(value) : 7.787 * value + 16.0 / 116;
}

static void lab_of(uint32_t rgb, unsigned int eyes, double lab[3])
{
	double in[3] = { linear(rgb >> 16), linear(rgb >> 8 & 0xff), linear(rgb & 0xff) };
	double seen[3], x, y, z;

	for (unsigned int i = 0; i < 3; i++) {
		seen[i] = sight[eyes][i][0] * in[0] + sight[eyes][i][1] * in[1] +
			  sight[eyes][i][2] * in[2];
		seen[i] = seen[i] < 0 ? 0 : seen[i] > 1 ? 1 : seen[i];
	}
	x = cube_root((0.4124 * seen[0] + 0.3576 * seen[1] + 0.1805 * seen[2]) / 0.9505);
	y = cube_root(0.2126 * seen[0] + 0.7152 * seen[1] + 0.0722 * seen[2]);
	z = cube_root((0.0193 * seen[0] + 0.1192 * seen[1] + 0.9505 * seen[2]) / 1.089);
	lab[0] = 116 * y - 16;
	lab[1] = 500 * (x - y);
	lab[2] = 200 * (y - z);
}

Test(map, colors_can_be_told_apart)
{
	double a[3], b[3];

	for (unsigned int eyes = 0; eyes < 4; eyes++)
		for (unsigned int i = 0; i < BCFMT_MAP_USES; i++)
			for (unsigned int k = 0; k < i; k++) {
				lab_of(bcfmt_map_color((enum bcfmt_map_use)i), eyes, a);
				lab_of(bcfmt_map_color((enum bcfmt_map_use)k), eyes, b);
				cr_expect_gt(hypot(hypot(a[0] - b[0], a[1] - b[1]), a[2] - b[2]),
					     20, "%s and %s, eyes %u",
					     bcfmt_map_use_name((enum bcfmt_map_use)i),
					     bcfmt_map_use_name((enum bcfmt_map_use)k), eyes);
			}
}

/* ---- what is marked ---- */

static struct bcfmt_map *make(void)
{
	struct bcfmt_map *map;

	cr_assert_eq(set_kit_open(&kit), BCFMT_OK);
	cr_assert_eq(bcfmt_map_make(kit.set, &map), BCFMT_OK, "%s", bcfmt_ctx_fault(kit.ctx));
	return map;
}

static void expect_place(const struct bcfmt_map *map, uint64_t bucket, enum bcfmt_map_use shows,
			 enum bcfmt_map_use base)
{
	struct bcfmt_map_place place = bcfmt_map_place(map, (uint32_t)bucket);

	cr_expect(place.shows == shows && place.base == base, "bucket %llu: %s, is %s",
		  (unsigned long long)bucket, bcfmt_map_use_name(place.shows),
		  bcfmt_map_use_name(place.base));
}

static void expect_total(const struct bcfmt_map *map, enum bcfmt_map_use use, uint64_t buckets,
			 uint64_t sectors)
{
	const struct bcfmt_map_total *total = &bcfmt_map_totals(map)[use];

	cr_expect(total->buckets == buckets && total->bytes == sectors * 512,
		  "%s: %llu buckets, %llu bytes", bcfmt_map_use_name(use),
		  (unsigned long long)total->buckets, (unsigned long long)total->bytes);
}

Test(map, of_a_sound_set)
{
	struct bcfmt_key keys[] = { set_kit_clean(0, 0, 8, ptr_of(3)),
				    set_kit_dirty(0, 8, 8, ptr_of(4)),
				    set_kit_clean(0, 16, 8, ptr_of(4) + (8ull << 8)) };
	struct bcfmt_map *map;

	set_kit_tables(&kit);
	set_kit_first_jset(&kit, leaf_of(0, keys, 3), 0);
	map = make();
	cr_expect_eq(bcfmt_map_places(map), 640);
	cr_expect_not(bcfmt_map_is_partial(map));
	expect_place(map, 0, BCFMT_MAP_SUPER, BCFMT_MAP_SUPER);
	expect_place(map, kit.geo.first_bucket, BCFMT_MAP_JOURNAL, BCFMT_MAP_JOURNAL);
	expect_place(map, kit.uuid_bucket, BCFMT_MAP_UUIDS, BCFMT_MAP_UUIDS);
	expect_place(map, kit.prio_bucket, BCFMT_MAP_PRIOS, BCFMT_MAP_PRIOS);
	expect_place(map, nth(0), BCFMT_MAP_NODE, BCFMT_MAP_NODE);
	expect_place(map, nth(3), BCFMT_MAP_CLEAN, BCFMT_MAP_CLEAN);
	expect_place(map, nth(4), BCFMT_MAP_DIRTY, BCFMT_MAP_DIRTY);
	expect_place(map, nth(5), BCFMT_MAP_FREE, BCFMT_MAP_FREE);
	/* What is clean in a bucket of dirty data is clean all the same. */
	expect_total(map, BCFMT_MAP_CLEAN, 1, 16);
	expect_total(map, BCFMT_MAP_DIRTY, 1, 8);
	expect_total(map, BCFMT_MAP_JOURNAL, 8, 8 * 16);
	expect_total(map, BCFMT_MAP_DAMAGED, 0, 0);
	expect_total(map, BCFMT_MAP_DOUBTFUL, 0, 0);
	bcfmt_map_free(map);
}

Test(map, of_sectors_used_twice)
{
	struct bcfmt_key keys[] = { set_kit_dirty(0, 0, 8, ptr_of(3)),
				    set_kit_dirty(0, 8, 8, ptr_of(3) + (4ull << 8)),
				    set_kit_dirty(0, 16, 8, ptr_of(4)) };
	struct bcfmt_map *map;

	set_kit_tables(&kit);
	set_kit_first_jset(&kit, leaf_of(0, keys, 3), 0);
	map = make();
	expect_place(map, nth(3), BCFMT_MAP_DOUBTFUL, BCFMT_MAP_DIRTY);
	expect_place(map, nth(4), BCFMT_MAP_DIRTY, BCFMT_MAP_DIRTY);
	expect_total(map, BCFMT_MAP_DOUBTFUL, 1, 16);
	bcfmt_map_free(map);
}

/* The gen rises when the second leaf is read: the first walk's marks are forgotten. */
Test(map, of_a_bucket_that_was_reused)
{
	struct bcfmt_key first[] = { set_kit_dirty(0, 0, 8, set_kit_ptr(&kit, nth(5), 0)) };
	struct bcfmt_key second[] = { set_kit_dirty(0, 1008, 8, set_kit_ptr(&kit, nth(5), 8) + 1) };
	struct bcfmt_key top[] = { set_kit_child(&kit, pos(0, 1000), leaf_of(1, first, 1)),
				   set_kit_last_child(&kit, leaf_of(2, second, 1)) };
	struct bcfmt_map *map;

	set_kit_tables(&kit);
	set_kit_first_jset(&kit, set_kit_node(&kit, nth(0), top, 2), 1);
	map = make();
	expect_place(map, nth(5), BCFMT_MAP_DOUBTFUL, BCFMT_MAP_DIRTY);
	expect_total(map, BCFMT_MAP_DIRTY, 1, 8);
	bcfmt_map_free(map);
}

Test(map, of_a_damaged_leaf)
{
	struct bcfmt_key keys[] = { set_kit_dirty(0, 0, 8, ptr_of(3)) };
	struct bcfmt_map *map;

	set_kit_tables(&kit);
	set_kit_first_jset(&kit, leaf_of(0, keys, 1), 0);
	set_kit_spoil(&kit, nth(0), 40);
	map = make();
	expect_place(map, nth(0), BCFMT_MAP_DAMAGED, BCFMT_MAP_NODE);
	expect_total(map, BCFMT_MAP_DAMAGED, 1, 16);
	expect_total(map, BCFMT_MAP_NODE, 1, 16);
	bcfmt_map_free(map);
}

Test(map, without_a_tree)
{
	struct bcfmt_map *map;

	set_kit_tables(&kit);
	map = make();
	cr_expect(bcfmt_map_is_partial(map));
	expect_total(map, BCFMT_MAP_JOURNAL, 8, 8 * 16);
	expect_total(map, BCFMT_MAP_CLEAN, 0, 0);
	bcfmt_map_free(map);
}

/* ---- what is written ---- */

static bcfmt_err write_some(void *arg, const void *bytes, size_t len_bytes)
{
	size_t *room = arg;

	(void)bytes;
	if (len_bytes > *room)
		return BCFMT_E_IO;
	*room -= len_bytes;
	return BCFMT_OK;
}

Test(map, picture_that_cannot_be_written)
{
	size_t room = SIZE_MAX, all;
	struct bcfmt_map *map;

	set_kit_tables(&kit);
	set_kit_first_jset(&kit, leaf_of(0, NULL, 0), 0);
	map = make();
	cr_expect_eq(bcfmt_map_png(map, write_some, &room), BCFMT_OK);
	all = SIZE_MAX - room;
	cr_expect_gt(all, 1000);
	for (size_t step = 0; step < 10; step++) {
		room = all * step / 10;
		cr_expect_eq(bcfmt_map_png(map, write_some, &room), BCFMT_E_IO, "%zu", step);
	}
	bcfmt_map_free(map);
}

Test(map, text_is_as_wide_as_the_terminal)
{
	static const unsigned int widths[] = { 0, 40, 80, 200, 100000 };
	struct bcfmt_out *out;
	struct bcfmt_map *map;

	set_kit_tables(&kit);
	set_kit_first_jset(&kit, leaf_of(0, NULL, 0), 0);
	map = make();
	for (size_t i = 0; i < sizeof(widths) / sizeof(widths[0]); i++) {
		size_t longest = 0;

		out = catch_begin(0);
		bcfmt_render_map(out, map, widths[i], true);
		catch_end(out);
		/* Behind the legend come lines of a number and letters. */
		for (const char *at = strstr(caught_text, "each letter is"); *at; at++) {
			size_t len = strcspn(at, "\n");

			if (*at == ' ' || (*at >= '0' && *at <= '9'))
				longest = len > longest ? len : longest;
			at += len;
		}
		cr_expect(longest > 16 && longest <= (widths[i] < 20 ? 20 : widths[i]), "%zu of %u",
			  longest, widths[i]);
		catch_free();
	}
	bcfmt_map_free(map);
}
