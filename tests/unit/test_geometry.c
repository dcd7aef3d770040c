/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Sizes derived from a superblock. */
#include <criterion/criterion.h>

#include "codec_kit.h"

Test(geometry, derived_sizes_with_4k_pages)
{
	static const struct {
		uint32_t bucket_bytes, meta_bytes, nr_uuids, prios, node_sectors;
	} rows[] = {
		{ 4096, 4096, 32, 1352, 8 },
		{ 65536, 65536, 512, 21832, 128 },
		{ 131072, 131072, 1024, 43677, 256 },
		{ 262144, 262144, 2048, 87368, 512 },
		{ 524288, 524288, 4096, 174749, 512 },
		{ 1048576, 1048576, 8192, 349512, 512 },
		{ 2097152, 2097152, 16384, 699037, 1024 },
		{ 4194304, 4194304, 32768, 1398088, 2048 },
		{ 8388608, 4194304, 32768, 1398088, 2048 },
		{ 1u << 31, 4194304, 32768, 1398088, 2048 },
	};

	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct bcfmt_super super = kit_cache_super();
		struct bcfmt_geometry geo;

		super.bucket_sectors = rows[i].bucket_bytes / 512;
		cr_assert_eq(bcfmt_geometry_init(&super, 123456789, 4096, &geo), BCFMT_OK);
		cr_assert_eq(geo.meta_bytes, rows[i].meta_bytes, "row %zu", i);
		cr_assert_eq(geo.nr_uuids, rows[i].nr_uuids, "row %zu", i);
		cr_assert_eq(geo.prios_per_bucket, rows[i].prios, "row %zu", i);
		cr_assert_eq(geo.node_sectors, rows[i].node_sectors, "row %zu", i);
		cr_assert_eq(1u << geo.bucket_shift, geo.bucket_sectors);
	}
}

Test(geometry, fields_come_from_the_superblock)
{
	struct bcfmt_geometry geo = kit_geometry();

	cr_assert_eq(geo.set_magic, 0x1716151413121110);
	cr_assert_eq(geo.nbuckets, 1024);
	cr_assert_eq(geo.dev_sectors, 1024 * 1024);
	cr_assert_eq(geo.first_bucket, 1);
	cr_assert_eq(geo.journal_buckets, 8);
	cr_assert_eq(geo.block_sectors, 1);
	cr_assert_eq(geo.bucket_sectors, 1024);
	cr_assert_eq(geo.page_bytes, 4096);
	cr_assert_eq(bcfmt_bucket_sector(&geo, 1ull << 33), 1ull << 43);
	cr_assert(!bcfmt_bucket_is_journal(&geo, 0));
	cr_assert(bcfmt_bucket_is_journal(&geo, 1));
	cr_assert(bcfmt_bucket_is_journal(&geo, 8));
	cr_assert(!bcfmt_bucket_is_journal(&geo, 9));
}

Test(geometry, larger_pages_have_larger_meta_buckets)
{
	cr_assert_eq(bcfmt_geometry_meta_bytes(65536, 4096), 4u << 20);
	cr_assert_eq(bcfmt_geometry_meta_bytes(65536, 16384), 16u << 20);
	cr_assert_eq(bcfmt_geometry_meta_bytes(65536, 65536), 16u << 20);
	cr_assert_eq(bcfmt_geometry_meta_bytes(1024, 65536), 512u << 10);
	cr_assert_eq(bcfmt_geometry_node_sectors(65536, 65536), 8192u);
	cr_assert_eq(bcfmt_geometry_node_sectors(1024, 65536), 512u);
	cr_assert_eq(bcfmt_geometry_node_sectors(1, 4096), 1u);
}

Test(geometry, prio_chain_length_is_rounded_up)
{
	struct bcfmt_geometry geo = kit_geometry();

	cr_assert_eq(bcfmt_geometry_prio_buckets(&geo), 1);
	geo.nbuckets = geo.prios_per_bucket;
	cr_assert_eq(bcfmt_geometry_prio_buckets(&geo), 1);
	geo.nbuckets++;
	cr_assert_eq(bcfmt_geometry_prio_buckets(&geo), 2);
}

static void expect_refused(const struct bcfmt_super *super, int line)
{
	struct bcfmt_geometry geo = { .nbuckets = 5 };

	cr_assert_eq(bcfmt_geometry_init(super, KIT_DEV_BYTES, 4096, &geo), BCFMT_E_DAMAGED,
		     "line %d", line);
	cr_assert_eq(geo.nbuckets, 0);
}

#define EXPECT_REFUSED(field, value)                          \
	do {                                                  \
		struct bcfmt_super super = kit_cache_super(); \
		super.field = (value);                        \
		expect_refused(&super, __LINE__);             \
	} while (0)

Test(geometry, sizes_without_arithmetic_are_refused)
{
	EXPECT_REFUSED(block_sectors, 0);
	EXPECT_REFUSED(block_sectors, 3);
	EXPECT_REFUSED(block_sectors, 2048); /* above the bucket */
	EXPECT_REFUSED(bucket_sectors, 0);
	EXPECT_REFUSED(bucket_sectors, 1000);
	EXPECT_REFUSED(bucket_sectors, 1u << 23);
	EXPECT_REFUSED(nbuckets_or_data_offset, 0);
	EXPECT_REFUSED(nbuckets_or_data_offset, (1ull << 33) + 1);
	EXPECT_REFUSED(nbuckets_or_data_offset, UINT64_MAX);
	EXPECT_REFUSED(nbuckets_or_data_offset, 8); /* journal past the end */
	EXPECT_REFUSED(first_bucket, 1024);
	EXPECT_REFUSED(keys, 257);
	EXPECT_REFUSED(nr_this_dev, 8);
	EXPECT_REFUSED(is_backing, true);
}

Test(geometry, largest_pointer_is_taken_and_odd_pages_are_not)
{
	struct bcfmt_super super = kit_cache_super();
	struct bcfmt_geometry geo;

	super.nbuckets_or_data_offset = 1ull << 33;
	cr_assert_eq(bcfmt_geometry_init(&super, KIT_DEV_BYTES, 4096, &geo), BCFMT_OK);
	cr_assert_eq(bcfmt_geometry_init(&super, KIT_DEV_BYTES, 0, &geo), BCFMT_E_ARG);
	cr_assert_eq(bcfmt_geometry_init(&super, KIT_DEV_BYTES, 5000, &geo), BCFMT_E_ARG);
	cr_assert_eq(bcfmt_geometry_init(&super, KIT_DEV_BYTES, 2048, &geo), BCFMT_E_ARG);
	cr_assert_eq(bcfmt_geometry_init(&super, KIT_DEV_BYTES, 131072, &geo), BCFMT_E_ARG);
}
