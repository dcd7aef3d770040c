/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Plans: superblocks byte for byte, steps in their order, and that nothing is written by them. */
#include "make_help.h"

#include <bcfmt/undo.h>

#include "base/bytes.h"

TestSuite(make_plan, .init = help_make_begin, .fini = help_make_end);

/* The superblock that the plan writes to a target. */
static const uint8_t *super_of(size_t target)
{
	for (size_t i = 0; i < help_plan->n_steps; i++) {
		const struct bcfmt_make_step *step = &help_plan->steps[i];

		if (step->target == target && step->offset_bytes == 4096 &&
		    step->action == BCFMT_MAKE_WRITE) {
			cr_assert_eq(step->len_bytes, 4096);
			return step->bytes;
		}
	}
	cr_assert_fail("no superblock for target %zu%s", target, help_issues());
	return NULL;
}

/* Only these sums of FORMAT are from others; they cover all fields in front of the journal. */
Test(make_plan, cache_superblock)
{
	const uint8_t *raw;

	help_params.bucket_bytes = 512 << 10;
	help_device(help_sparse("cache", 512 << 20), false);
	help_make_plan();
	raw = super_of(0);
	cr_expect_eq(load_le64(raw), 0xded383d1f07be1ad);
	cr_expect(help_all_zero(raw + 206, 4096 - 206));
	cr_expect_eq(help_plan->targets[0].super.nbuckets_or_data_offset, 1024);
	cr_expect_eq(help_plan->targets[0].journal_buckets, 8);
}

Test(make_plan, backing_superblock)
{
	const uint8_t *raw;

	help_params.bucket_bytes = 512 << 10;
	help_params.is_writeback = true;
	help_device(help_sparse("backing", 1 << 20), true);
	help_make_plan();
	raw = super_of(0);
	cr_expect_eq(load_le64(raw), 0xd63f6b164c5d501c);
	cr_expect(help_all_zero(raw + 196, 4096 - 196));
	cr_expect_eq(help_plan->targets[0].super.version, 1);
	cr_expect_eq(help_plan->targets[0].super.data_offset_sectors, 16);
	cr_expect_eq(help_plan->targets[0].journal_buckets, 0);
}

Test(make_plan, superblock_of_large_buckets)
{
	const uint8_t *raw;

	help_params.bucket_bytes = 32 << 20;
	help_params.block_bytes = 4096;
	help_device(help_sparse("cache", 32ull << 30), false);
	help_device(help_sparse("backing", 1 << 20), true);
	help_make_plan();
	raw = super_of(0);
	cr_expect_eq(load_le64(raw), 0xfc60c73bff49ba5f);
	cr_expect_eq(help_plan->targets[0].super.bucket_sectors, 65536);
	/* The field has no room for it. */
	cr_expect_eq(load_le16(super_of(1) + 194), 0);
}

Test(make_plan, options_reach_the_superblock)
{
	const uint8_t *raw;

	help_params.label = "0123456789012345678901234567890";
	help_params.replacement = BCFMT_REPLACE_RANDOM;
	help_params.is_discard = true;
	help_params.data_offset_sectors = 2048;
	help_cache();
	help_device(help_sparse("backing", 2 << 20), true);
	help_make_plan();
	raw = super_of(0);
	cr_expect_eq(load_le64(raw + 104), 2 | 2 << 2);
	cr_expect_arr_eq(raw + 72, help_params.label, 32);
	raw = super_of(1);
	cr_expect_eq(load_le64(raw + 16), 4);
	cr_expect_eq(load_le64(raw + 184), 2048);
	cr_expect_eq(load_le64(raw + 104), 0);
	cr_expect_arr_eq(raw + 72, help_params.label, 32);
}

Test(make_plan, first_buckets)
{
	const struct {
		uint32_t bucket_bytes;
		uint16_t first_bucket;
	} rows[] = { { 4096, 3 }, { 8192, 2 }, { 16384, 1 }, { 65536, 1 } };

	help_device(help_sparse("cache", 64 << 20), false);
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		help_params.bucket_bytes = rows[i].bucket_bytes;
		help_make_plan();
		cr_expect_eq(help_plan->targets[0].super.first_bucket, rows[i].first_bucket);
	}
}

Test(make_plan, the_journal_is_as_long_as_kernels_make_it)
{
	const struct {
		uint64_t bytes;
		uint32_t buckets;
	} rows[] = { { 520ull << 12, 4 },
		     { 2048ull << 12, 16 },
		     { 32767ull << 12, 255 },
		     { 32768ull << 12, 256 },
		     { 100000ull << 12, 256 } };

	help_params.bucket_bytes = 4096;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		help_n_devices = 0;
		help_device(help_sparse("cache", rows[i].bytes), false);
		help_make_plan();
		cr_expect_eq(help_plan->targets[0].journal_buckets, rows[i].buckets);
		bcfmt_dev_free(help_devices[0].dev);
	}
	help_n_devices = 0;
}

Test(make_plan, default_block_is_the_largest_of_all)
{
	struct bcfmt_make_device *cache = help_cache();
	struct bcfmt_make_device *backing = help_backing();

	help_make_plan();
	cr_expect_eq(help_plan->targets[0].super.block_sectors, 1);
	backing->topology.preferred_block_bytes = 2048;
	help_make_plan();
	cr_expect_eq(help_plan->targets[0].super.block_sectors, 4);
	cr_expect_eq(help_plan->targets[1].super.block_sectors, 4);
	/* No kernel takes what some file systems call their block. */
	cache->topology.preferred_block_bytes = 131072;
	help_make_plan();
	cr_expect_eq(help_plan->targets[1].super.block_sectors, 8);
}

/* "zero 0+8192, flush, ..." of one target. */
static const char *steps_of(size_t target)
{
	static const char *const actions[] = { "zero", "discard", "write", "flush" };
	static char text[1024];
	size_t len = 0;

	text[0] = '\0';
	for (size_t i = 0; i < help_plan->n_steps; i++) {
		const struct bcfmt_make_step *step = &help_plan->steps[i];

		if (step->target != target)
			continue;
		len += (size_t)snprintf(text + len, sizeof(text) - len, "%s %llu+%llu, ",
					actions[step->action],
					(unsigned long long)step->offset_bytes,
					(unsigned long long)step->len_bytes);
	}
	return text;
}

Test(make_plan, steps_of_a_pair)
{
	help_backing();
	help_cache();
	help_make_plan();
	cr_expect_not(help_plan->is_refused, "%s", help_issues());
	/* Caches come first, whatever the order on the command line. */
	cr_expect_eq(help_plan->targets[0].dev, help_devices[1].dev);
	cr_expect_str_eq(steps_of(0), "zero 0+8192, flush 0+0, zero 16384+131072, flush 0+0, "
				      "write 4096+4096, flush 0+0, ");
	cr_expect_str_eq(steps_of(1), "zero 0+8192, flush 0+0, write 4096+4096, flush 0+0, ");
	for (size_t i = 1; i < help_plan->n_steps; i++)
		cr_expect(help_plan->steps[i].target >= help_plan->steps[i - 1].target);
}

Test(make_plan, discarding_comes_before_wiping)
{
	help_params.is_discard = true;
	help_params.may_discard = true;
	help_backing();
	help_cache()->topology.is_block_device = true;
	help_devices[0].topology.is_block_device = true;
	help_make_plan();
	cr_expect_str_eq(steps_of(0), "zero 0+8192, flush 0+0, discard 8192+16769024, "
				      "zero 16384+131072, flush 0+0, write 4096+4096, flush 0+0, ");
	cr_expect_str_eq(steps_of(1), "zero 0+8192, flush 0+0, write 4096+4096, flush 0+0, ");
	help_params.may_discard = false;
	help_make_plan();
	cr_expect_null(strstr(steps_of(0), "discard"));
	/* Image files take none. */
	help_params.may_discard = true;
	help_devices[1].topology.is_block_device = false;
	help_make_plan();
	cr_expect_null(strstr(steps_of(0), "discard"));
}

Test(make_plan, only_the_magic_of_signatures_is_erased)
{
	const struct bcfmt_signature found[] = {
		{ .type = "ext4", .offset_bytes = 1080, .magic_bytes = 2 },
		{ .type = "btrfs", .offset_bytes = 65600, .magic_bytes = 8 },
		{ .type = "odd", .offset_bytes = 65535, .magic_bytes = 3 },
		{ .type = "journal", .offset_bytes = 20000, .magic_bytes = 4 },
		{ .type = "nowhere", .magic_bytes = 0 },
		{ .type = "past", .offset_bytes = 1 << 20, .magic_bytes = 4 },
	};
	struct bcfmt_make_device *device = help_backing();
	uint8_t sectors[1024], want[1024];

	device->signatures = found;
	device->n_signatures = 6;
	help_params.may_overwrite = true;
	help_make_plan();
	cr_assert_not(help_plan->is_refused, "%s", help_issues());
	cr_expect_str_eq(steps_of(0), "zero 0+8192, flush 0+0, write 65536+512, write 65024+1024, "
				      "write 19968+512, flush 0+0, write 4096+4096, flush 0+0, ");
	cr_assert_eq(bcfmt_make_commit(help_plan), BCFMT_OK);
	help_read(device->dev, 65024, sectors, 1024);
	help_fill(want, 65024, 1024, 2);
	memset(want + 511, 0, 3);
	memset(want + 576, 0, 8);
	cr_expect_arr_eq(sectors, want, 1024);
	cr_expect_eq(bcfmt_make_verify(help_plan), BCFMT_OK);
}

Test(make_plan, a_plan_writes_nothing)
{
	uint8_t *buf = malloc(HELP_CACHE_BYTES), *want = malloc(HELP_CACHE_BYTES);

	help_cache();
	help_backing();
	help_make_plan();
	cr_expect_not(help_plan->is_refused);
	help_read(help_devices[0].dev, 0, buf, HELP_CACHE_BYTES);
	help_fill(want, 0, HELP_CACHE_BYTES, 1);
	cr_expect_arr_eq(buf, want, HELP_CACHE_BYTES);
	help_read(help_devices[1].dev, 0, buf, 1 << 20);
	help_fill(want, 0, 1 << 20, 2);
	cr_expect_arr_eq(buf, want, 1 << 20);
	free(buf);
	free(want);
}

Test(make_plan, a_refused_plan_can_do_nothing)
{
	help_cache();
	help_params.bucket_bytes = 512 << 10;
	help_make_plan();
	cr_expect(help_plan->is_refused);
	cr_expect_eq(help_plan->n_steps, 0);
	cr_expect_eq(bcfmt_make_commit(help_plan), BCFMT_E_ARG);
	help_expect_fault("the plan is refused");
	cr_expect_eq(bcfmt_make_verify(help_plan), BCFMT_E_ARG);
	help_expect_fault("the plan is refused");
	cr_expect_eq(bcfmt_make_save(help_plan, NULL), BCFMT_E_ARG);
	help_expect_fault("the plan is refused");
}

Test(make_plan, arguments_out_of_range)
{
	struct bcfmt_make_plan *plan;

	cr_expect_eq(bcfmt_make_plan_new(help_ctx, &help_params, NULL, 0, &plan), BCFMT_E_ARG);
	help_expect_fault("no device to format");
	help_cache();
	help_params.label = "01234567890123456789012345678901";
	cr_expect_eq(bcfmt_make_plan_new(help_ctx, &help_params, help_devices, 1, &plan),
		     BCFMT_E_ARG);
	help_expect_fault("a label has at most 31 bytes");
	cr_expect_null(plan);
}

Test(make_plan, a_device_that_cannot_be_read_is_an_error)
{
	struct bcfmt_dev_faults faults = { .fail_read = 1 };
	struct bcfmt_make_plan *plan;
	struct bcfmt_dev *dev;

	cr_assert_eq(bcfmt_dev_faulty(help_ctx, help_mem(HELP_CACHE_BYTES, 1), &faults, &dev),
		     BCFMT_OK);
	help_device(dev, false);
	cr_expect_eq(bcfmt_make_plan_new(help_ctx, &help_params, help_devices, 1, &plan),
		     BCFMT_E_IO);
	help_expect_fault("mem: sector 8: cannot read: injected failure");
	cr_expect_null(plan);
}

Test(make_plan, random_uuids_differ)
{
	uint8_t one[BCFMT_UUID_BYTES], two[BCFMT_UUID_BYTES];

	bcfmt_make_uuid(one);
	bcfmt_make_uuid(two);
	cr_expect_arr_neq(one, two, BCFMT_UUID_BYTES);
	cr_expect_eq(one[6] >> 4, 4);
}
