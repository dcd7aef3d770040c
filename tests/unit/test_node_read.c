/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Reading nodes from a device, and counting what is odd in them. */
#include <criterion/criterion.h>

#include <string.h>

#include "base/bytes.h"
#include "dev/dev_impl.h"
#include "kit/set_kit.h"
#include "read/read.h"
#include "set/set_impl.h"

static struct set_kit kit;
static struct node_reader reader;
static struct vec ranges;
static uint64_t bucket;

static void begin(void)
{
	struct set_kit_shape shape = { 0 };

	set_kit_init(&kit, &shape);
	bucket = kit.free_bucket;
}

static void end(void)
{
	node_reader_clear(&reader);
	vec_free(&ranges);
	set_kit_clear(&kit);
}

TestSuite(node_read, .init = begin, .fini = end);

static void read_node(uint64_t ptr, uint32_t sectors)
{
	cr_assert_eq(node_read(&reader, kit.dev, &kit.geo, ptr, sectors), BCFMT_OK);
}

static struct bcfmt_node_view count(uint8_t level)
{
	static struct bcfmt_node_ref ref;
	struct bcfmt_node_view view = { .ref = &ref, .node = &reader.node };

	ref.level = level;
	cr_assert_eq(node_view_count(&view, &reader.node, &ranges), BCFMT_OK);
	return view;
}

Test(node_read, several_bsets)
{
	struct bcfmt_key keys[] = { set_kit_clean(0, 0, 8, 0x10001), set_kit_hole(0, 8, 8) };
	uint64_t ptr = set_kit_ptr(&kit, bucket, 0);
	uint32_t block = 0;

	for (uint32_t i = 0; i < 5; i++)
		block = set_kit_bset(&kit, ptr, block, 77, keys, 1 + i % 2);
	read_node(ptr, 16);
	cr_expect_eq(reader.node.fault, BCFMT_BSET_OK);
	cr_expect_eq(reader.node.n_bsets, 5);
	cr_expect_eq(reader.bad.sectors, 0);
	cr_expect_eq(count(0).keys, 7);
}

Test(node_read, a_reader_is_used_for_nodes_of_all_sizes)
{
	struct bcfmt_key keys[100];
	uint64_t ptr = set_kit_ptr(&kit, bucket, 0);

	for (uint32_t i = 0; i < 100; i++)
		keys[i] = set_kit_hole(0, i * 8, 8);
	set_kit_bset(&kit, ptr, 0, 77, keys, 100);
	for (uint32_t sectors = 1; sectors <= 16; sectors++) {
		read_node(ptr, sectors);
		cr_expect_eq(reader.node.nblocks, sectors);
		cr_expect_eq(reader.node.fault, sectors < 4 ? BCFMT_BSET_OVERRUN : BCFMT_BSET_OK);
	}
	read_node(ptr, 2);
	cr_expect_eq(reader.node.fault, BCFMT_BSET_OVERRUN);
}

Test(node_read, another_gen_in_the_pointer_is_another_checksum)
{
	set_kit_node(&kit, bucket, NULL, 0);
	read_node(set_kit_ptr(&kit, bucket, 0) + 1, 16);
	cr_expect_eq(reader.node.fault, BCFMT_BSET_CSUM);
}

Test(node_read, a_node_past_the_end_reads_as_far_as_there_is_a_device)
{
	uint64_t last = kit.geo.nbuckets * 16;

	read_node(bcfmt_ptr_make(0, last - 3, 0), 16);
	cr_expect_eq(reader.bad.sectors, 13);
	cr_expect_eq(reader.bad.first_sector, last);
	read_node(bcfmt_ptr_make(0, 0x7ffffffffff, 0), 16);
	cr_expect_eq(reader.bad.sectors, 16);
	cr_expect_eq(reader.node.fault, BCFMT_BSET_ZERO_SEQ);
}

/* ---- sectors that fail ---- */

struct failing_dev {
	struct bcfmt_dev dev;
	uint64_t bad_sector;
};

static bcfmt_err failing_read(struct bcfmt_dev *dev, uint64_t offset_bytes, void *buf,
			      size_t len_bytes, struct io_fault *fault)
{
	uint64_t bad_bytes = ((const struct failing_dev *)dev)->bad_sector * 512;

	if (offset_bytes <= bad_bytes && offset_bytes + len_bytes > bad_bytes)
		return dev_io_fail(fault, BCFMT_E_IO, bad_bytes, 0, "made to fail");
	return dev_read_quiet(kit.dev, offset_bytes, buf, len_bytes, fault);
}

static void failing_free(struct bcfmt_dev *dev)
{
	(void)dev;
}

Test(node_read, a_sector_that_fails_spares_the_bsets_before_and_behind_it)
{
	static const struct dev_ops ops = { .read = failing_read, .free = failing_free };
	struct failing_dev failing = { .bad_sector = 0 };
	struct bcfmt_key key = set_kit_hole(0, 0, 8);
	uint64_t ptr = set_kit_ptr(&kit, bucket, 0);

	for (uint32_t block = 0; block < 6;)
		block = set_kit_bset(&kit, ptr, block, 77, &key, 1);
	failing.bad_sector = bcfmt_ptr_sector(ptr) + 2;
	cr_assert_eq(dev_init_above(&failing.dev, &ops, kit.ctx, kit.dev), BCFMT_OK);
	cr_assert_eq(node_read(&reader, &failing.dev, &kit.geo, ptr, 16), BCFMT_OK);
	bcfmt_dev_free(&failing.dev);
	cr_expect_eq(reader.bad.sectors, 1);
	cr_expect_eq(reader.bad.first_sector, failing.bad_sector);
	cr_expect_eq(reader.node.fault, BCFMT_BSET_HOLE);
	cr_expect_eq(count(0).keys, 5);
}

/* ---- counting ---- */

static struct bcfmt_node_view count_keys(uint8_t level, const struct bcfmt_key *keys, uint32_t n)
{
	read_node(set_kit_node(&kit, bucket, keys, n), 16);
	cr_assert_eq(reader.node.fault, BCFMT_BSET_OK);
	return count(level);
}

Test(node_read, an_empty_node_is_in_order)
{
	struct bcfmt_node_view view = count_keys(0, NULL, 0);

	cr_expect_eq(view.keys, 0);
	cr_expect_not(view.is_disordered);
	cr_expect_not(view.is_overrun);
}

Test(node_read, extents_that_touch_are_in_order_and_those_that_overlap_are_not)
{
	struct bcfmt_key keys[] = { set_kit_hole(0, 0, 8), set_kit_hole(0, 8, 8),
				    set_kit_hole(0, 15, 8), set_kit_hole(1, 0, 8),
				    set_kit_hole(0, 100, 8) };
	struct bcfmt_node_view view;

	view = count_keys(0, keys, 2);
	cr_expect_not(view.is_disordered);
	view = count_keys(0, keys, 3);
	cr_expect_eq(view.skipped_backwards, 1);
	view = count_keys(0, keys, 4);
	cr_expect_eq(view.skipped_backwards, 1);
	view = count_keys(0, keys, 5);
	cr_expect_eq(view.skipped_backwards, 2);
	cr_expect(view.is_disordered);
	cr_expect_eq(reader.node.bsets[0].skipped_backwards, 2);
	cr_expect_eq(reader.node.bsets[0].key_count, 5);
}

Test(node_read, interior_keys_are_ordered_by_their_end_alone)
{
	struct bcfmt_key keys[] = { set_kit_child(&kit, (struct bcfmt_pos){ 0, 0 }, 1),
				    set_kit_child(&kit, (struct bcfmt_pos){ 0, 10 }, 1),
				    set_kit_child(&kit, (struct bcfmt_pos){ 0, 10 }, 1),
				    set_kit_child(&kit, (struct bcfmt_pos){ 0, 12 }, 1),
				    set_kit_child(&kit, (struct bcfmt_pos){ 0, 11 }, 1) };

	cr_expect_eq(count_keys(1, keys, 4).skipped_backwards, 0);
	cr_expect_eq(count_keys(1, keys, 5).skipped_backwards, 1);
}

/* Order counts within a bset; a later one may begin anywhere. */
Test(node_read, every_bset_has_an_order_of_its_own)
{
	struct bcfmt_key high = set_kit_hole(9, 0, 8), low = set_kit_hole(0, 0, 8);
	uint64_t ptr = set_kit_ptr(&kit, bucket, 0);

	set_kit_bset(&kit, ptr, set_kit_bset(&kit, ptr, 0, 77, &high, 1), 77, &low, 1);
	read_node(ptr, 16);
	cr_expect_not(count(0).is_disordered);
}

Test(node_read, odd_keys_are_counted)
{
	struct bcfmt_key keys[] = {
		bcfmt_key_make(0, 8, 0, false, true, 0x20001),
		set_kit_clean(0, 8, 8, (uint64_t)BCFMT_PTR_DEV_CHECK << 51 | 99),
		set_kit_clean(0, 16, 8, 0x30001),
		set_kit_clean(0, 16, 8, 0x40001),
		set_kit_clean(0, 16, 8, 0x40001),
		set_kit_hole(0, 16, 8),
	};
	struct bcfmt_node_view view = count_keys(0, keys, 6);

	cr_expect_eq(view.keys, 6);
	cr_expect_eq(view.zero_size_keys, 1);
	cr_expect_eq(view.placeholders, 1);
	cr_expect_eq(view.skipped_backwards, 3);
	cr_expect_eq(view.same_range_keys, 1);
}

Test(node_read, keys_that_do_not_tile_are_told)
{
	struct bcfmt_key keys[] = { set_kit_hole(0, 0, 8), set_kit_clean(0, 8, 8, 0x30001) };
	uint64_t ptr = set_kit_node(&kit, bucket, keys, 2);
	struct bcfmt_node_view view;
	uint8_t raw[512];

	set_kit_read(&kit, bcfmt_ptr_sector(ptr), raw, sizeof(raw));
	bcfmt_bset_encode(&kit.geo, raw, 77, 4, ptr); /* the last word is cut off */
	set_kit_write(&kit, bcfmt_ptr_sector(ptr), raw, sizeof(raw));
	read_node(ptr, 16);
	view = count(0);
	cr_expect(view.is_overrun);
	cr_expect_eq(view.keys, 1);
}
