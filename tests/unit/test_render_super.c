/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Superblocks as bcache-super-show prints them. */
#include <criterion/criterion.h>

#include "unit/codec_kit.h"
#include "unit/render_help.h"

#define UUIDS	 "00010203-0405-0607-0809-0a0b0c0d0e0f"
#define SET_UUID "10111213-1415-1617-1819-1a1b1c1d1e1f"

/* As it comes from a disk: checksum and derived fields set. */
static struct bcfmt_super settled(const struct bcfmt_super *super)
{
	uint8_t raw[BCFMT_SUPER_BYTES] = { 0 };
	struct bcfmt_super out;

	bcfmt_super_encode(super, raw);
	bcfmt_super_decode(raw, &out);
	return out;
}

/* Compares the first lines, those that bcache-super-show prints too. */
static void expect_lines(const struct bcfmt_super *super, const char *want)
{
	struct bcfmt_out *out = catch_begin(0);

	bcfmt_render_super(out, "sdb", super);
	catch_end(out);
	cr_expect(!strncmp(caught_text, want, strlen(want)), "got:\n%s", caught_text);
	catch_free();
}

static struct bcfmt_super cache_super(uint64_t version)
{
	struct bcfmt_super super = kit_super();

	super.version = version;
	super.nbuckets_or_data_offset = 1024;
	super.block_sectors = 1;
	super.bucket_field = 128;
	super.nr_in_set = 1;
	super.first_bucket = 1;
	return super;
}

Test(render_super, fresh_cache)
{
	struct bcfmt_super super = cache_super(0);

	super.flags = BCFMT_SUPER_FLAG_DISCARD | 1u << 2;
	super = settled(&super);
	super.csum = super.csum_computed = 0x00ab;
	expect_lines(&super, "sb.magic\t\tok\n"
			     "sb.first_sector\t\t8 [match]\n"
			     "sb.csum\t\t\tAB [match]\n"
			     "sb.version\t\t0 [cache device]\n"
			     "\n"
			     "dev.label\t\t(empty)\n"
			     "dev.uuid\t\t" UUIDS "\n"
			     "dev.sectors_per_block\t1\n"
			     "dev.sectors_per_bucket\t128\n"
			     "dev.cache.first_sector\t128\n"
			     "dev.cache.cache_sectors\t130944\n"
			     "dev.cache.total_sectors\t131072\n"
			     "dev.cache.ordered\tno\n"
			     "dev.cache.discard\tyes\n"
			     "dev.cache.pos\t\t0\n"
			     "dev.cache.replacement\t1 [fifo]\n"
			     "\n"
			     "cset.uuid\t\t" SET_UUID "\n");
}

Test(render_super, cache_in_use_with_an_unknown_policy)
{
	struct bcfmt_super super = cache_super(3);

	super.flags = BCFMT_SUPER_FLAG_SYNC | 5u << 2;
	super = settled(&super);
	super.csum = 1;
	super.csum_computed = 0xffffffffffffffff;
	super.nr_this_dev = 3;
	expect_lines(&super, "sb.magic\t\tok\n"
			     "sb.first_sector\t\t8 [match]\n"
			     "sb.csum\t\t\t1 [expected FFFFFFFFFFFFFFFF]\n"
			     "sb.version\t\t3 [cache device]\n"
			     "\n"
			     "dev.label\t\t(empty)\n"
			     "dev.uuid\t\t" UUIDS "\n"
			     "dev.sectors_per_block\t1\n"
			     "dev.sectors_per_bucket\t128\n"
			     "dev.cache.first_sector\t128\n"
			     "dev.cache.cache_sectors\t130944\n"
			     "dev.cache.total_sectors\t131072\n"
			     "dev.cache.ordered\tyes\n"
			     "dev.cache.discard\tno\n"
			     "dev.cache.pos\t\t3\n"
			     "dev.cache.replacement\t5\n");
}

Test(render_super, large_buckets)
{
	struct bcfmt_super super = cache_super(5);

	super.feature_incompat = BCFMT_FEATURE_LARGE_BUCKET;
	super.bucket_field = 16;
	super = settled(&super);
	super.csum = super.csum_computed = 0xc;
	expect_lines(&super, "sb.magic\t\tok\n"
			     "sb.first_sector\t\t8 [match]\n"
			     "sb.csum\t\t\tC [match]\n"
			     "sb.version\t\t5 [cache device]\n"
			     "\n"
			     "dev.label\t\t(empty)\n"
			     "dev.uuid\t\t" UUIDS "\n"
			     "dev.sectors_per_block\t1\n"
			     "dev.sectors_per_bucket\t65536\n"
			     "dev.cache.first_sector\t65536\n"
			     "dev.cache.cache_sectors\t67043328\n"
			     "dev.cache.total_sectors\t67108864\n");
}

static void expect_backing(uint64_t version, uint64_t flags, const char *want)
{
	struct bcfmt_super super = kit_super();
	struct bcfmt_out *out;

	super.version = version;
	super.flags = flags;
	super.block_sectors = 8;
	super.bucket_field = 1024;
	super.nbuckets_or_data_offset = 4096;
	super = settled(&super);
	out = catch_begin(0);
	bcfmt_render_super(out, "sdb", &super);
	catch_end(out);
	cr_expect(strstr(caught_text, want), "got:\n%s", caught_text);
	cr_expect(!strstr(caught_text, "dev.cache."));
	catch_free();
}

Test(render_super, backing_devices)
{
	expect_backing(1, 1 | 2ull << 61,
		       "\t1 [backing device]\n"
		       "\n"
		       "dev.label\t\t(empty)\n"
		       "dev.uuid\t\t" UUIDS "\n"
		       "dev.sectors_per_block\t8\n"
		       "dev.sectors_per_bucket\t1024\n"
		       "dev.data.first_sector\t16\n"
		       "dev.data.cache_mode\t1 [writeback]\n"
		       "dev.data.cache_state\t2 [dirty]\n"
		       "\n"
		       "cset.uuid\t\t" SET_UUID "\n");
	expect_backing(4, 3 | 3ull << 61,
		       "dev.data.first_sector\t4096\n"
		       "dev.data.cache_mode\t3 [no caching]\n"
		       "dev.data.cache_state\t3 [inconsistent]\n");
	expect_backing(4, 0,
		       "dev.data.cache_mode\t0 [writethrough]\n"
		       "dev.data.cache_state\t0 [detached]\n");
	expect_backing(1, 2 | 1ull << 61,
		       "dev.data.cache_mode\t2 [writearound]\n"
		       "dev.data.cache_state\t1 [clean]\n");
	expect_backing(1, 5, "dev.data.cache_mode\t5\n");
}

Test(render_super, labels_are_escaped)
{
	struct bcfmt_super super = cache_super(3);

	snprintf(super.label, sizeof(super.label), "%s", "a b%/_-.~\033[");
	expect_lines(&super, "sb.magic\t\tok\nsb.first_sector\t\t8 [match]\n"
			     "sb.csum\t\t\t0 [match]\nsb.version\t\t3 [cache device]\n\n"
			     "dev.label\t\ta%20b%25%2f_-.%7e%1b%5b\n");
}

Test(render_super, no_superblock_at_all)
{
	struct bcfmt_super super = { .keys = 400, .version = 7 };

	expect_lines(&super, "sb.magic\t\tbad magic\n"
			     "sb.first_sector\t\t0 [expected 8]\n"
			     "sb.csum\t\t\t0 [not computed]\n"
			     "sb.version\t\t7 [unknown]\n");
}

Test(render_super, json_has_all_fields)
{
	struct bcfmt_super super = cache_super(3);
	struct bcfmt_out *out;
	json_t *row;

	super.flags = BCFMT_SUPER_FLAG_SYNC;
	super.keys = 2;
	super.journal_bucket[0] = 1;
	super.journal_bucket[1] = 2;
	super.feature_incompat = 0;
	super = settled(&super);
	out = catch_begin(BCFMT_OUT_JSON);
	bcfmt_render_super(out, "sd\"b", &super);
	catch_end(out);
	row = catch_json(0);
	cr_expect_str_eq(catch_string(row, "kind"), "super");
	cr_expect_str_eq(catch_string(row, "device"), "sd\"b");
	cr_expect_str_eq(catch_string(row, "role"), "cache");
	cr_expect_str_eq(catch_string(row, "uuid"), UUIDS);
	cr_expect_str_eq(catch_string(row, "set_uuid"), SET_UUID);
	cr_expect_str_eq(catch_string(row, "flags"), "0x0000000000000001");
	cr_expect_str_eq(catch_string(row, "checksum"), catch_string(row, "checksum_computed"));
	cr_expect_eq(catch_number(row, "sector"), 8);
	cr_expect_eq(catch_number(row, "bucket_sectors"), 128);
	cr_expect_eq(catch_number(row, "buckets"), 1024);
	cr_expect_eq(json_array_size(json_object_get(row, "journal")), 2);
	cr_expect(json_is_true(json_object_get(row, "is_synchronized")));
	json_decref(row);
	catch_free();
}

Test(render_super, json_leaves_out_what_is_unknown)
{
	struct bcfmt_super super = { .keys = 400, .version = 7 };
	struct bcfmt_out *out = catch_begin(BCFMT_OUT_JSON);
	json_t *row;

	bcfmt_render_super(out, "sdb", &super);
	catch_end(out);
	row = catch_json(0);
	cr_expect_null(json_object_get(row, "role"));
	cr_expect_null(json_object_get(row, "checksum_computed"));
	json_decref(row);
	catch_free();
}
