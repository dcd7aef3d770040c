/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The superblock: known checksums, round trips, every rule. */
#include <criterion/criterion.h>

#include <string.h>

#include "codec_kit.h"

static uint64_t csum_of(const struct bcfmt_super *super)
{
	uint8_t raw[BCFMT_SUPER_BYTES] = { 0 };
	struct bcfmt_super back;

	bcfmt_super_encode(super, raw);
	bcfmt_super_decode(raw, &back);
	cr_assert_eq(back.csum, back.csum_computed);
	return back.csum;
}

Test(super, checksum_of_a_fresh_cache)
{
	struct bcfmt_super super = kit_super();

	super.nbuckets_or_data_offset = 1024;
	super.block_sectors = 1;
	super.bucket_field = 1024;
	super.nr_in_set = 1;
	super.first_bucket = 1;
	cr_assert_eq(csum_of(&super), 0xded383d1f07be1ad);

	super.version = 3;
	super.flags = 1;
	super.seq = 1;
	super.last_mount = 0x60000000;
	super.keys = 8;
	for (unsigned int i = 0; i < 8; i++)
		super.journal_bucket[i] = 1 + i;
	cr_assert_eq(csum_of(&super), 0xef93d1e17d008f62);
}

Test(super, checksum_of_a_backing_device)
{
	struct bcfmt_super super = kit_super();

	super.version = 1;
	super.flags = 1;
	super.block_sectors = 1;
	super.bucket_field = 1024;
	cr_assert_eq(csum_of(&super), 0xd63f6b164c5d501c);
}

Test(super, checksum_of_a_cache_with_large_buckets)
{
	struct bcfmt_super super = kit_super();

	super.version = 5;
	super.feature_incompat = BCFMT_FEATURE_LARGE_BUCKET;
	super.bucket_field = 16;
	super.nbuckets_or_data_offset = 1024;
	super.block_sectors = 8;
	super.nr_in_set = 1;
	super.first_bucket = 1;
	cr_assert_eq(csum_of(&super), 0xfc60c73bff49ba5f);
}

Test(super, decode_and_encode_give_the_bytes_back)
{
	uint8_t raw[BCFMT_SUPER_BYTES], again[BCFMT_SUPER_BYTES];
	struct bcfmt_super super;

	for (unsigned int i = 0; i < sizeof(raw); i++)
		raw[i] = (uint8_t)(i * 31 + i / 251);
	raw[206] = 200; /* keys */
	raw[207] = 0;
	bcfmt_super_decode(raw, &super);
	memcpy(again, raw, sizeof(raw));
	bcfmt_super_encode(&super, again);
	cr_assert_arr_eq(again + 8, raw + 8, sizeof(raw) - 8);
	bcfmt_super_decode(again, &super);
	cr_assert_eq(super.csum, super.csum_computed);
}

Test(super, encode_keeps_the_bytes_that_are_no_field)
{
	struct bcfmt_super super = kit_cache_super();
	uint8_t raw[BCFMT_SUPER_BYTES];

	memset(raw, 0xa5, sizeof(raw));
	bcfmt_super_encode(&super, raw);
	for (unsigned int i = 144; i < 184; i++)
		cr_assert_eq(raw[i], 0xa5, "byte %u", i);
	for (unsigned int i = 2258; i < sizeof(raw); i++)
		cr_assert_eq(raw[i], 0xa5, "byte %u", i);
	cr_assert_eq(raw[2255], 0);
	cr_assert_eq(raw[2257], 0);
}

Test(super, fields_lie_where_they_should)
{
	uint8_t raw[BCFMT_SUPER_BYTES];
	struct bcfmt_super super;

	for (unsigned int i = 0; i < sizeof(raw); i++)
		raw[i] = (uint8_t)i;
	bcfmt_super_decode(raw, &super);
	cr_assert_eq(super.csum, 0x0706050403020100);
	cr_assert_eq(super.offset_sector, 0x0f0e0d0c0b0a0908);
	cr_assert_eq(super.version, 0x1716151413121110);
	cr_assert_eq(super.magic[0], 24);
	cr_assert_eq(super.uuid[0], 40);
	cr_assert_eq(super.set_uuid[0], 56);
	cr_assert_eq(super.label[0], 72);
	cr_assert_eq(super.label[31], 103);
	cr_assert_eq(super.label[32], 0);
	cr_assert_eq(super.flags, 0x6f6e6d6c6b6a6968);
	cr_assert_eq(super.seq, 0x7776757473727170);
	cr_assert_eq(super.feature_compat, 0x7f7e7d7c7b7a7978);
	cr_assert_eq(super.feature_incompat, 0x8786858483828180);
	cr_assert_eq(super.feature_ro_compat, 0x8f8e8d8c8b8a8988);
	cr_assert_eq(super.nbuckets_or_data_offset, 0xbfbebdbcbbbab9b8);
	cr_assert_eq(super.block_sectors, 0xc1c0);
	cr_assert_eq(super.bucket_field, 0xc3c2);
	cr_assert_eq(super.nr_in_set, 0xc5c4);
	cr_assert_eq(super.nr_this_dev, 0xc7c6);
	cr_assert_eq(super.last_mount, 0xcbcac9c8);
	cr_assert_eq(super.first_bucket, 0xcdcc);
	cr_assert_eq(super.keys, 0xcfce);
	cr_assert_eq(super.journal_bucket[0], 0xd7d6d5d4d3d2d1d0);
	cr_assert_eq(super.journal_bucket[255], 0xcfcecdcccbcac9c8);
	cr_assert_eq(super.obso_bucket_hi, 0xd1d0);
	cr_assert_eq(super.csum_computed, super.csum); /* keys above 256: not known */
}

Test(super, bucket_size_follows_the_features_of_version_5_only)
{
	uint8_t raw[BCFMT_SUPER_BYTES] = { 0 };
	struct bcfmt_super super = kit_super(), back;
	static const struct {
		uint64_t version, incompat;
		uint16_t field, hi;
		uint32_t bucket_sectors;
	} rows[] = {
		{ 3, 0, 1024, 7, 1024 },          { 3, 3, 1024, 7, 1024 },
		{ 5, 0, 1024, 7, 1024 },          { 5, 1, 1024, 7, 7 << 16 | 1024 },
		{ 5, 1, 0, 0xffff, 0xffff0000 },  { 5, 2, 16, 7, 65536 },
		{ 5, 3, 16, 7, 65536 },           { 5, 2, 31, 0, 1u << 31 },
		{ 5, 2, 32, 0, 0 },               { 5, 3, 65535, 1, 0 },
	};

	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		super.version = rows[i].version;
		super.feature_incompat = rows[i].incompat;
		super.bucket_field = rows[i].field;
		super.obso_bucket_hi = rows[i].hi;
		bcfmt_super_encode(&super, raw);
		bcfmt_super_decode(raw, &back);
		cr_assert_eq(back.bucket_sectors, rows[i].bucket_sectors, "row %zu", i);
	}
}

Test(super, role_and_data_offset_follow_the_version)
{
	uint8_t raw[BCFMT_SUPER_BYTES] = { 0 };
	struct bcfmt_super super = kit_super(), back;

	super.nbuckets_or_data_offset = 4096;
	for (super.version = 0; super.version < 8; super.version++) {
		bool is_backing = super.version == 1 || super.version == 4 || super.version == 6;

		bcfmt_super_encode(&super, raw);
		bcfmt_super_decode(raw, &back);
		cr_assert_eq(back.is_backing, is_backing);
		cr_assert_eq(back.data_offset_sectors,
			     !is_backing ? 0u : super.version == 1 ? 16u : 4096u);
	}
}

Test(super, flags_are_read_by_role)
{
	struct bcfmt_super super = { .flags = 0x4000000000000001 };

	cr_assert_eq(bcfmt_super_bdev_state(&super), BCFMT_BDEV_DIRTY);
	cr_assert_eq(bcfmt_super_cache_mode(&super), 1);
	super.flags = 0x00000003ffffffa8; /* what a misspelt policy leaves */
	cr_assert_eq(bcfmt_super_replacement(&super), 2);
}

/* ---- rules ---- */

static struct bcfmt_super backing_super(void)
{
	struct bcfmt_super super = kit_super();

	super.version = 4;
	super.flags = 0x2000000000000001;
	super.nbuckets_or_data_offset = 16;
	super.block_sectors = 1;
	return super;
}

/* As a device would hold it: encoded with a right checksum and decoded again. */
static uint32_t faults_of(const struct bcfmt_super *super, uint64_t dev_bytes,
			  uint32_t logical_block_bytes)
{
	uint8_t raw[BCFMT_SUPER_BYTES] = { 0 };
	struct bcfmt_super back;

	bcfmt_super_encode(super, raw);
	bcfmt_super_decode(raw, &back);
	return bcfmt_super_faults(&back, dev_bytes, logical_block_bytes, 4096);
}

#define EXPECT_FAULTS(super, faults) \
	cr_assert_eq(faults_of(&(super), KIT_DEV_BYTES, 512), (uint32_t)(faults))

Test(super_faults, good_ones_break_no_rule)
{
	struct bcfmt_super super = kit_cache_super();

	EXPECT_FAULTS(super, 0);
	super.version = 0;
	super.keys = 0;
	EXPECT_FAULTS(super, 0);
	super = backing_super();
	EXPECT_FAULTS(super, 0);
	super.version = 1;
	super.nbuckets_or_data_offset = 0;
	EXPECT_FAULTS(super, 0);
}

Test(super_faults, bad_offset)
{
	struct bcfmt_super super = kit_cache_super();

	super.offset_sector = 9;
	EXPECT_FAULTS(super, BCFMT_SUPER_BAD_OFFSET);
}

Test(super_faults, bad_magic_leaves_the_rest_unsaid)
{
	struct bcfmt_super super = kit_cache_super();

	super.magic[15] ^= 1;
	super.block_sectors = 0;
	EXPECT_FAULTS(super, BCFMT_SUPER_BAD_MAGIC);
	super = (struct bcfmt_super){ 0 };
	EXPECT_FAULTS(super, BCFMT_SUPER_BAD_MAGIC | BCFMT_SUPER_BAD_OFFSET);
}

Test(super_faults, bad_csum)
{
	struct bcfmt_super super = kit_cache_super(), back;
	uint8_t raw[BCFMT_SUPER_BYTES] = { 0 };

	bcfmt_super_encode(&super, raw);
	raw[271] ^= 0x80; /* last byte of d[7] */
	bcfmt_super_decode(raw, &back);
	cr_assert_eq(bcfmt_super_faults(&back, KIT_DEV_BYTES, 512, 4096),
		     (uint32_t)(BCFMT_SUPER_BAD_CSUM | BCFMT_SUPER_JOURNAL_NOT_SEQ));
	raw[271] ^= 0x80;
	raw[272] ^= 0x80; /* d[8] is not covered */
	bcfmt_super_decode(raw, &back);
	cr_assert_eq(bcfmt_super_faults(&back, KIT_DEV_BYTES, 512, 4096), 0u);
}

Test(super_faults, zero_uuid)
{
	struct bcfmt_super super = kit_cache_super();

	memset(super.uuid, 0, sizeof(super.uuid));
	EXPECT_FAULTS(super, BCFMT_SUPER_ZERO_UUID);
}

Test(super_faults, block_below_device)
{
	struct bcfmt_super super = kit_cache_super();

	cr_assert_eq(faults_of(&super, KIT_DEV_BYTES, 4096),
		     (uint32_t)BCFMT_SUPER_BLOCK_BELOW_DEVICE);
	super.block_sectors = 8;
	cr_assert_eq(faults_of(&super, KIT_DEV_BYTES, 4096), 0u);
}

Test(super_faults, bad_data_offset)
{
	struct bcfmt_super super = backing_super();

	super.nbuckets_or_data_offset = 15;
	EXPECT_FAULTS(super, BCFMT_SUPER_BAD_DATA_OFFSET);
	super.version = 6;
	EXPECT_FAULTS(super, BCFMT_SUPER_BAD_DATA_OFFSET);
	super.version = 1;
	EXPECT_FAULTS(super, 0);
}

Test(super_faults, bad_version)
{
	struct bcfmt_super super = kit_cache_super();

	super.version = 2;
	EXPECT_FAULTS(super, BCFMT_SUPER_BAD_VERSION);
	super.version = 7;
	EXPECT_FAULTS(super, BCFMT_SUPER_BAD_VERSION);
	super.version = UINT64_MAX;
	EXPECT_FAULTS(super, BCFMT_SUPER_BAD_VERSION);
}

Test(super_faults, unknown_features_of_version_5)
{
	struct bcfmt_super super = kit_cache_super();

	super.feature_compat = super.feature_ro_compat = super.feature_incompat = UINT64_MAX;
	EXPECT_FAULTS(super, 0);
	super.version = 5;
	super.bucket_field = 10;
	super.feature_incompat = BCFMT_FEATURE_LARGE_BUCKET;
	EXPECT_FAULTS(super, BCFMT_SUPER_UNKNOWN_COMPAT | BCFMT_SUPER_UNKNOWN_RO_COMPAT);
	super.feature_compat = 0;
	EXPECT_FAULTS(super, BCFMT_SUPER_UNKNOWN_RO_COMPAT);
	super.feature_ro_compat = 0;
	super.feature_compat = 1;
	EXPECT_FAULTS(super, BCFMT_SUPER_UNKNOWN_COMPAT);
	super.feature_compat = 0;
	super.feature_incompat |= 4;
	EXPECT_FAULTS(super, BCFMT_SUPER_UNKNOWN_INCOMPAT);
}

Test(super_faults, many_journal_buckets)
{
	struct bcfmt_super super = kit_cache_super();

	super.keys = 257;
	EXPECT_FAULTS(super, BCFMT_SUPER_MANY_JOURNAL);
	super.keys = 65535;
	EXPECT_FAULTS(super, BCFMT_SUPER_MANY_JOURNAL | BCFMT_SUPER_JOURNAL_PAST_END);
}

Test(super_faults, many_buckets)
{
	struct bcfmt_super super = kit_cache_super();

	super.nbuckets_or_data_offset = 1ull << 63;
	EXPECT_FAULTS(super, BCFMT_SUPER_MANY_BUCKETS | BCFMT_SUPER_DEVICE_TOO_SMALL);
}

Test(super_faults, few_buckets)
{
	struct bcfmt_super super = kit_cache_super();

	super.nbuckets_or_data_offset = 512;
	EXPECT_FAULTS(super, BCFMT_SUPER_FEW_BUCKETS);
	super.nbuckets_or_data_offset = 513;
	EXPECT_FAULTS(super, 0);
}

Test(super_faults, block_not_pow2)
{
	struct bcfmt_super super = kit_cache_super();

	super.block_sectors = 6;
	EXPECT_FAULTS(super, BCFMT_SUPER_BLOCK_NOT_POW2);
	super.block_sectors = 0;
	EXPECT_FAULTS(super, BCFMT_SUPER_BLOCK_NOT_POW2 | BCFMT_SUPER_BLOCK_BELOW_DEVICE);
}

Test(super_faults, block_above_page)
{
	struct bcfmt_super super = kit_cache_super();

	super.block_sectors = 16;
	EXPECT_FAULTS(super, BCFMT_SUPER_BLOCK_ABOVE_PAGE);
	cr_assert_eq(bcfmt_super_faults(&super, KIT_DEV_BYTES, 512, 16384), 0u);
}

Test(super_faults, bucket_not_pow2)
{
	struct bcfmt_super super = kit_cache_super();

	super.bucket_field = 1000;
	EXPECT_FAULTS(super, BCFMT_SUPER_BUCKET_NOT_POW2);
}

Test(super_faults, bucket_below_page)
{
	struct bcfmt_super super = kit_cache_super();

	super.bucket_field = 4;
	super.first_bucket = 4;
	for (unsigned int i = 0; i < 8; i++)
		super.journal_bucket[i] = 4 + i;
	EXPECT_FAULTS(super, BCFMT_SUPER_BUCKET_BELOW_PAGE);
}

Test(super_faults, device_too_small)
{
	struct bcfmt_super super = kit_cache_super();

	cr_assert_eq(faults_of(&super, KIT_DEV_BYTES - 1, 512),
		     (uint32_t)BCFMT_SUPER_DEVICE_TOO_SMALL);
	cr_assert_eq(faults_of(&super, 0, 512), (uint32_t)BCFMT_SUPER_DEVICE_TOO_SMALL);
	super.nbuckets_or_data_offset = 1ull << 54; /* times 1024 is 2^64 */
	EXPECT_FAULTS(super, BCFMT_SUPER_DEVICE_TOO_SMALL);
}

Test(super_faults, zero_set_uuid)
{
	struct bcfmt_super super = kit_cache_super();

	memset(super.set_uuid, 0, sizeof(super.set_uuid));
	EXPECT_FAULTS(super, BCFMT_SUPER_ZERO_SET_UUID);
}

Test(super_faults, bad_member)
{
	struct bcfmt_super super = kit_cache_super();

	super.nr_in_set = 0;
	EXPECT_FAULTS(super, BCFMT_SUPER_BAD_MEMBER);
	super.nr_in_set = 9;
	EXPECT_FAULTS(super, BCFMT_SUPER_BAD_MEMBER);
	super.nr_in_set = 8;
	super.nr_this_dev = 8;
	EXPECT_FAULTS(super, BCFMT_SUPER_BAD_MEMBER);
	super.nr_this_dev = 7;
	EXPECT_FAULTS(super, 0);
}

Test(super_faults, journal_not_sequential)
{
	struct bcfmt_super super = kit_cache_super();

	super.journal_bucket[7] = 9;
	EXPECT_FAULTS(super, BCFMT_SUPER_JOURNAL_NOT_SEQ);
	super.keys = 7;
	EXPECT_FAULTS(super, 0);
}

Test(super_faults, journal_past_end)
{
	struct bcfmt_super super = kit_cache_super();

	super.first_bucket = 1017;
	for (unsigned int i = 0; i < 8; i++)
		super.journal_bucket[i] = 1017 + i;
	EXPECT_FAULTS(super, BCFMT_SUPER_JOURNAL_PAST_END);
}

Test(super_faults, first_bucket_low)
{
	struct bcfmt_super super = kit_cache_super();

	super.first_bucket = 0;
	super.keys = 0;
	EXPECT_FAULTS(super, BCFMT_SUPER_FIRST_BUCKET_LOW);
	super.first_bucket = 1;
	super.bucket_field = 8;
	EXPECT_FAULTS(super, BCFMT_SUPER_FIRST_BUCKET_LOW);
	super.first_bucket = 2;
	EXPECT_FAULTS(super, 0);
}

Test(super_faults, first_bucket_product_wraps_as_in_the_kernel)
{
	struct bcfmt_super super = kit_cache_super();

	super.version = 5;
	super.feature_incompat = BCFMT_FEATURE_LARGE_BUCKET;
	super.bucket_field = 31;
	super.first_bucket = 2;
	super.keys = 0;
	EXPECT_FAULTS(super, BCFMT_SUPER_FIRST_BUCKET_LOW | BCFMT_SUPER_DEVICE_TOO_SMALL);
}

Test(super_faults, bucket_overflow)
{
	struct bcfmt_super super = kit_cache_super();

	super.version = 5;
	super.feature_incompat = BCFMT_FEATURE_LARGE_BUCKET;
	super.bucket_field = 32;
	EXPECT_FAULTS(super, BCFMT_SUPER_BUCKET_OVERFLOW);
}

Test(super_faults, bad_replacement)
{
	struct bcfmt_super super = kit_cache_super();

	for (uint64_t policy = 0; policy < 8; policy++) {
		super.flags = policy << 2;
		EXPECT_FAULTS(super, policy > 2 ? BCFMT_SUPER_BAD_REPLACEMENT : 0);
	}
}

Test(super_faults, bad_cache_mode)
{
	struct bcfmt_super super = backing_super();

	for (uint64_t mode = 0; mode < 16; mode++) {
		super.flags = mode;
		EXPECT_FAULTS(super, mode > 3 ? BCFMT_SUPER_BAD_CACHE_MODE : 0);
	}
}

Test(super_faults, obsolete_large_buckets)
{
	struct bcfmt_super super = kit_cache_super();

	super.version = 5;
	super.feature_incompat = BCFMT_FEATURE_OBSO_LARGE_BUCKET;
	EXPECT_FAULTS(super, BCFMT_SUPER_OBSO_LARGE);
	super.feature_incompat |= BCFMT_FEATURE_LARGE_BUCKET;
	super.bucket_field = 10;
	EXPECT_FAULTS(super, 0);
}

Test(super_faults, data_past_end)
{
	struct bcfmt_super super = backing_super();

	super.nbuckets_or_data_offset = KIT_DEV_BYTES / 512;
	EXPECT_FAULTS(super, BCFMT_SUPER_DATA_PAST_END);
	super.nbuckets_or_data_offset--;
	EXPECT_FAULTS(super, 0);
	super.nbuckets_or_data_offset = UINT64_MAX;
	EXPECT_FAULTS(super, BCFMT_SUPER_DATA_PAST_END);
	super.version = 1;
	cr_assert_eq(faults_of(&super, 8192, 512), (uint32_t)BCFMT_SUPER_DATA_PAST_END);
}

/* Kernels write uninitialised memory to these places of backing devices. */
Test(super_faults, junk_in_a_backing_superblock_is_no_fault)
{
	uint8_t raw[BCFMT_SUPER_BYTES] = { 0 };
	struct bcfmt_super super = backing_super();

	super.version = 6;
	super.feature_compat = super.feature_incompat = UINT64_MAX;
	super.feature_ro_compat = super.seq = UINT64_MAX;
	super.bucket_field = super.nr_in_set = super.nr_this_dev = super.first_bucket = 0xfff3;
	memset(super.set_uuid, 0, sizeof(super.set_uuid));
	bcfmt_super_encode(&super, raw);
	bcfmt_super_decode(raw, &super);
	cr_assert_eq(bcfmt_super_faults(&super, KIT_DEV_BYTES, 512, 4096), 0u);
}

/* Whatever the bytes, judging them ends and has no undefined arithmetic. */
Test(super_faults, hostile_bytes_are_judged)
{
	uint8_t raw[BCFMT_SUPER_BYTES];
	struct bcfmt_super super = kit_cache_super();
	uint64_t state = 88172645463325252u;

	for (unsigned int round = 0; round < 3000; round++) {
		for (unsigned int i = 0; i < sizeof(raw); i++) {
			state ^= state << 13;
			state ^= state >> 7;
			state ^= state << 17;
			raw[i] = (uint8_t)state;
		}
		memcpy(raw + 24, super.magic, 16);
		memset(raw + 16, 0, 8);
		raw[16] = (uint8_t)(state >> 8 & 7);
		memset(raw + 129, round & 1 ? 0 : 0xff, 7);
		struct bcfmt_super back;
		struct bcfmt_geometry geo;

		bcfmt_super_decode(raw, &back);
		cr_assert(bcfmt_super_faults(&back, state, (uint32_t)state, 4096) &
			  (BCFMT_SUPER_BAD_CSUM | BCFMT_SUPER_MANY_JOURNAL));
		if (!bcfmt_geometry_init(&back, state, 4096, &geo))
			cr_assert_gt(geo.prios_per_bucket, 0);
	}
}
