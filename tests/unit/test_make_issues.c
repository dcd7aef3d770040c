/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What speaks against a plan: every refusal and warning, at its limit and just beside it. */
#include "make_help.h"

#include <bcfmt/uuid.h>

#include "dev/dev_impl.h"
#include "ondisk/super.h"

TestSuite(make_issues, .init = help_make_begin, .fini = help_make_end);

/* The plan has this issue at this level, and its text names the words; nothing else is refused. */
static void expect(enum bcfmt_make_issue_id id, enum bcfmt_make_level level, const char *words)
{
	const struct bcfmt_make_issue *issue;

	help_make_plan();
	issue = help_issue(id);
	cr_expect_not_null(issue, "no %s%s", bcfmt_make_issue_name(id), help_issues());
	if (issue) {
		cr_expect_eq(issue->level, level, "%s", help_issues());
		cr_expect(strstr(issue->text, words), "'%s' does not name '%s'", issue->text,
			  words);
		cr_expect(strlen(issue->text) < sizeof(issue->text) - 1);
	}
	cr_expect_eq(help_plan->is_refused, level == BCFMT_MAKE_REFUSAL, "%s", help_issues());
	cr_expect_eq(help_plan->n_steps == 0, level == BCFMT_MAKE_REFUSAL);
	for (size_t i = 0; i < help_plan->n_issues; i++)
		cr_expect(help_plan->issues[i].id == id ||
				  help_plan->issues[i].level != BCFMT_MAKE_REFUSAL,
			  "%s", help_issues());
}

static void expect_none(void)
{
	help_make_plan();
	cr_expect_eq(help_plan->n_issues, 0, "%s", help_issues());
	cr_expect(help_plan->n_steps > 0);
}

#define REFUSED(id, words) expect(BCFMT_ISSUE_##id, BCFMT_MAKE_REFUSAL, words)
#define WARNED(id, words) expect(BCFMT_ISSUE_##id, BCFMT_MAKE_WARNING, words)
#define NOTED(id, words) expect(BCFMT_ISSUE_##id, BCFMT_MAKE_NOTE, words)

static struct bcfmt_make_device *sparse_cache(uint64_t bytes)
{
	return help_device(help_sparse("cache", bytes), false);
}

static struct bcfmt_make_device *sparse_backing(uint64_t bytes)
{
	return help_device(help_sparse("backing", bytes), true);
}

Test(make_issues, every_issue_has_a_name_of_its_own)
{
	for (int i = 0; i <= BCFMT_ISSUE_DISCARD_LEFT_OUT; i++) {
		const char *name = bcfmt_make_issue_name((enum bcfmt_make_issue_id)i);

		cr_expect(*name && strcmp(name, "unknown"));
		for (int j = 0; j < i; j++)
			cr_expect_str_neq(name, bcfmt_make_issue_name((enum bcfmt_make_issue_id)j));
	}
	cr_expect_str_eq(bcfmt_make_issue_name((enum bcfmt_make_issue_id)1000), "unknown");
}

Test(make_issues, a_pair_without_any)
{
	help_cache();
	help_backing();
	expect_none();
}

Test(make_issues, block_sizes)
{
	sparse_cache(64 << 20);
	help_params.bucket_bytes = 65536;
	help_params.block_bytes = 4096;
	expect_none();
	help_params.block_bytes = 8192;
	REFUSED(BLOCK_SIZE, "blocks of 8192 bytes: kernels with pages of 4096 bytes");
	help_params.block_bytes = 1536;
	REFUSED(BLOCK_SIZE, "blocks of 1536 bytes: the size has to be a power of 2");
	help_params.block_bytes = 256;
	REFUSED(BLOCK_SIZE, "blocks of 256 bytes: the size has to be a power of 2 and at least");
	help_params.block_bytes = 1ull << 40;
	REFUSED(BLOCK_SIZE, "blocks of 1099511627776 bytes");
}

Test(make_issues, bucket_sizes)
{
	sparse_cache(8ull << 40);
	help_params.bucket_bytes = 4096;
	WARNED(BUCKET_FEW_BLOCKS, "have only 8 blocks");
	help_params.bucket_bytes = 8192;
	expect_none();
	help_params.block_bytes = 4096;
	WARNED(BUCKET_FEW_BLOCKS, "use --bucket 65536 or more");
	help_params.bucket_bytes = 65536;
	expect_none();
	help_params.block_bytes = 0;
	help_params.bucket_bytes = 2ull << 30;
	expect_none();
	help_params.bucket_bytes = 4ull << 30;
	REFUSED(BUCKET_SIZE, "more than 2 GiB");
	help_params.bucket_bytes = 1ull << 50;
	REFUSED(BUCKET_SIZE, "more than 2 GiB");
	help_params.bucket_bytes = 12288;
	REFUSED(BUCKET_SIZE, "buckets of 12288 bytes: the size has to be a power of 2");
	help_params.bucket_bytes = 2048;
	REFUSED(BUCKET_BELOW_PAGE, "buckets of 2048 bytes are smaller than a page");
	help_params.block_bytes = 4096;
	REFUSED(BUCKET_SIZE, "buckets of 2048 bytes are smaller than blocks of 4096 bytes");
}

Test(make_issues, kernels_want_513_buckets)
{
	sparse_cache(513 * 8192);
	expect_none();
	bcfmt_dev_free(help_devices[0].dev);
	help_n_devices = 0;
	sparse_cache(513 * 8192 - 512);
	REFUSED(FEW_BUCKETS, "512 buckets of 8192 bytes: kernels register no cache of less than"
			     " 513; use --bucket 4k or less");
	bcfmt_dev_free(help_devices[0].dev);
	help_n_devices = 0;
	sparse_cache(513 * 4096 - 512);
	help_params.bucket_bytes = 4096;
	REFUSED(DEVICE_TOO_SMALL, "too small for a cache: kernels want at least 513 buckets");
}

Test(make_issues, tiny_devices)
{
	sparse_backing(8192);
	REFUSED(DEVICE_TOO_SMALL, "8192 bytes: there is no room");
	bcfmt_dev_free(help_devices[0].dev);
	help_n_devices = 0;
	sparse_backing(8704);
	expect_none();
	bcfmt_dev_free(help_devices[0].dev);
	help_n_devices = 0;
	sparse_backing(1 << 20);
	help_params.data_offset_sectors = 2048;
	REFUSED(DEVICE_TOO_SMALL, "ends with sector 2047, its data would begin at sector 2048");
	help_params.data_offset_sectors = 2047;
	expect_none();
	help_params.data_offset_sectors = 15;
	REFUSED(DATA_OFFSET, "data offset 15: at least 16 sectors");
}

Test(make_issues, device_blocks)
{
	struct bcfmt_make_device *cache = help_cache();

	cache->topology.physical_block_bytes = 4096;
	WARNED(BLOCK_BELOW_PHYSICAL, "--block 4096");
	help_params.block_bytes = 4096;
	help_make_plan();
	cr_expect_null(help_issue(BCFMT_ISSUE_BLOCK_BELOW_PHYSICAL));
	cache->topology.logical_block_bytes = 4096;
	WARNED(LARGE_BLOCKS, "logical blocks of 4096 bytes");
	help_params.block_bytes = 2048;
	cache->dev->logical_block_bytes = 4096;
	REFUSED(BLOCK_BELOW_DEVICE,
		"blocks of 2048 bytes are smaller than the logical blocks of the"
		" device: use --block 4096");
	help_params.block_bytes = 4096;
	cache->dev->logical_block_bytes = 8192;
	REFUSED(BLOCK_BELOW_DEVICE,
		"logical blocks of 8192 bytes: kernels with pages of 4096 bytes");
	cache->dev->logical_block_bytes = 4096;
	/* Backing devices of that kind are no news. */
	cache->is_backing = true;
	expect_none();
}

Test(make_issues, uuids)
{
	struct bcfmt_make_device *cache = help_cache();
	struct bcfmt_make_device *backing = help_backing();

	memcpy(backing->uuid, cache->uuid, BCFMT_UUID_BYTES);
	REFUSED(DUPLICATE_UUID, "has the uuid 00010203-0405-0607-0809-0a0b0c0d0e0f of mem");
	memset(backing->uuid, 0, BCFMT_UUID_BYTES);
	REFUSED(ZERO_UUID, "its uuid is all zeros");
	memcpy(backing->uuid, bcfmt_uuid_invalid(), BCFMT_UUID_BYTES);
	REFUSED(DUPLICATE_UUID, "mark a detached device");
	backing->uuid[0]++;
	memset(help_params.set_uuid, 0, BCFMT_UUID_BYTES);
	REFUSED(ZERO_UUID, "the set uuid is all zeros");
}

Test(make_issues, one_cache_a_set)
{
	help_cache();
	help_cache();
	REFUSED(SEVERAL_CACHES, "2 cache devices: a set has exactly one since kernel 5.10");
}

Test(make_issues, set_uuids_that_were_given)
{
	help_cache();
	help_params.is_set_uuid_given = true;
	NOTED(SET_UUID_REUSED, "10111213-1415-1617-1819-1a1b1c1d1e1f");
	help_params.is_set_running = true;
	REFUSED(SET_RUNNING, "the kernel runs the set 10111213-1415-1617-1819-1a1b1c1d1e1f");
	/* A backing device joins a running set, if its blocks are large enough. */
	help_devices[0].is_backing = true;
	expect_none();
	help_params.set_block_bytes = 4096;
	REFUSED(BLOCK_BELOW_SET, "use --block 4096");
	help_params.block_bytes = 4096;
	expect_none();
}

static void put_super(struct bcfmt_dev *dev, struct bcfmt_super *super)
{
	static const uint8_t magic[16] = DISK_SUPER_MAGIC;
	uint8_t raw[BCFMT_SUPER_BYTES] = { 0 };

	memcpy(super->magic, magic, sizeof(magic));
	bcfmt_super_encode(super, raw);
	/* A superblock that is wrong is one all the same. */
	raw[0] ^= 1;
	cr_assert_eq(bcfmt_dev_write(dev, 4096, raw, sizeof(raw)), BCFMT_OK);
}

Test(make_issues, bcache_superblocks)
{
	struct bcfmt_super old = { .version = 3, .uuid = { 0xaa }, .set_uuid = { 0xbb } };
	struct bcfmt_make_device *device = help_cache();

	put_super(device->dev, &old);
	REFUSED(IS_BCACHE,
		"already a bcache cache device, uuid aa000000-0000-0000-0000-000000000000"
		", set bb000000-0000-0000-0000-000000000000: overwrite it with"
		" --wipe-bcache");
	cr_expect(help_plan->targets[0].has_old);
	/* That is what --force of bcache-tools 1.1 implies, so here it is a matter of options. */
	help_params.may_overwrite = true;
	REFUSED(IS_BCACHE, "--wipe-bcache");
	help_params.may_overwrite = false;
	help_params.may_wipe_bcache = true;
	WARNED(IS_BCACHE, "overwritten: a bcache cache device, uuid aa000000-0000-0000-0000-"
			  "000000000000, set bb000000-");
	memcpy(old.set_uuid, help_params.set_uuid, BCFMT_UUID_BYTES);
	put_super(device->dev, &old);
	WARNED(IS_BCACHE, "of the same set 10111213-");
}

Test(make_issues, volumes_that_would_move)
{
	struct bcfmt_super old = { .version = 4, .nbuckets_or_data_offset = 100 };
	struct bcfmt_make_device *device = help_backing();

	help_params.may_wipe_bcache = true;
	put_super(device->dev, &old);
	WARNED(DATA_OFFSET, "its data began at sector 100, and will be looked for at sector 16:"
			    " --data-offset 100 keeps the volume");
	help_params.data_offset_sectors = 100;
	help_make_plan();
	cr_expect_null(help_issue(BCFMT_ISSUE_DATA_OFFSET), "%s", help_issues());
}

Test(make_issues, signatures)
{
	const struct bcfmt_signature found[] = {
		{ .type = "ext4",
		  .label = "home",
		  .uuid = "1-2",
		  .offset_bytes = 1080,
		  .magic_bytes = 2 },
		{ .type = "gpt", .is_partition_table = true },
	};
	struct bcfmt_make_device *device = help_backing();

	device->signatures = found;
	device->n_signatures = 1;
	REFUSED(SIGNATURE, "holds ext4 at byte 1080, label home, uuid 1-2: remove it with wipefs -a"
			   ", or overwrite it with --force");
	help_params.may_wipe_bcache = true;
	REFUSED(SIGNATURE, "holds ext4");
	help_params.may_overwrite = true;
	WARNED(SIGNATURE, "overwritten: ext4 at byte 1080, label home, uuid 1-2");
	help_params.may_overwrite = false;
	device->signatures = found + 1;
	REFUSED(SIGNATURE, "holds gpt partition table: remove");
	device->n_signatures = 0;
	expect_none();
}

Test(make_issues, no_bcache_on_bcache)
{
	struct bcfmt_make_device *device = help_backing();

	snprintf(device->topology.bcache_name, sizeof(device->topology.bcache_name), "bcache7");
	help_params.may_overwrite = true;
	help_params.may_wipe_bcache = true;
	REFUSED(ON_BCACHE, "is bcache7, or stands on it");
}

static void next_backing(struct bcfmt_dev *dev)
{
	bcfmt_dev_free(help_devices[0].dev);
	help_n_devices = 0;
	help_device(dev, true);
}

Test(make_issues, stripes)
{
	struct bcfmt_make_device *device = sparse_backing((8ull << 40) + 4096);

	device->topology.optimal_io_bytes = 512 << 10;
	help_params.data_offset_sectors = 2048;
	WARNED(STRIPES_MANY, "makes 16777215 stripes of it: kernels before 6.7 need 65 MiB");
	device->topology.optimal_io_bytes = 1 << 20;
	help_params.data_offset_sectors = 4096;
	expect_none();
	device->topology.optimal_io_bytes = 2 << 20;
	help_params.data_offset_sectors = 2048;
	WARNED(STRIPE_MISALIGNED,
	       "data would begin at sector 2048, inside a stripe of 4096 sectors:"
	       " --data-offset 4096 begins with one");
	/* The limit of kernels, and one more. */
	device->topology.optimal_io_bytes = 4096;
	help_params.data_offset_sectors = 16;
	WARNED(STRIPES_MANY, "makes 2147483647 stripes");
	next_backing(help_sparse("larger", (8ull << 40) + 8192));
	device->topology.optimal_io_bytes = 4096;
	REFUSED(STRIPES_OVERFLOW, "makes 2147483648 stripes of it: kernels before 6.7 take at most"
				  " 2147483647 and will not register it; --force");
	help_params.may_overwrite = true;
	WARNED(STRIPES_OVERFLOW, "will not register it");
	help_params.may_overwrite = false;
	device->topology.optimal_io_bytes = 511;
	expect_none();
	device->topology.optimal_io_bytes = 33553920;
	WARNED(STRIPE_ODD, "its optimal i/o size of 33553920 bytes is no power of 2");
	/* A cache has no stripes. */
	device->is_backing = false;
	help_params.bucket_bytes = 1 << 20;
	expect_none();
}

Test(make_issues, alignment)
{
	struct bcfmt_make_device *device = help_backing();

	help_params.block_bytes = 4096;
	device->topology.physical_block_bytes = 4096;
	device->topology.start_sector = 2048;
	expect_none();
	device->topology.start_sector = 2049;
	WARNED(DEVICE_MISALIGNED, "begins at sector 2049 of its disk, inside a physical block of"
				  " 4096 bytes");
	device->topology.misaligned_bytes = 512;
	WARNED(DEVICE_MISALIGNED, "begins 512 bytes off its physical blocks of 4096 bytes");
	device->topology.misaligned_bytes = 0;
	device->topology.start_sector = 0;
	help_params.data_offset_sectors = 17;
	WARNED(DEVICE_MISALIGNED, "data would begin at sector 17");
}

Test(make_issues, zones)
{
	struct bcfmt_make_device *device = sparse_backing(64 << 20);

	device->topology.zone_sectors = 8192;
	NOTED(ZONED_OFFSET, "the first one, of 8192 sectors, is for the superblock");
	cr_expect_eq(help_plan->targets[0].super.version, 4);
	cr_expect_eq(help_plan->targets[0].super.data_offset_sectors, 8192);
	help_params.data_offset_sectors = 8191;
	REFUSED(ZONED_OFFSET, "data offset 8191: the first zone of 8192 sectors");
	help_params.data_offset_sectors = 8200;
	WARNED(ZONED_OFFSET, "data offset 8200 is no multiple of its zones");
	help_params.data_offset_sectors = 16384;
	expect_none();
	help_params.is_writeback = true;
	WARNED(ZONED_WRITETHROUGH, "formatted for writethrough");
	cr_expect_eq(bcfmt_super_cache_mode(&help_plan->targets[0].super), 0);
	device->is_backing = false;
	WARNED(ZONED_CACHE, "written anywhere, which is slow");
	device->topology.is_host_managed = true;
	REFUSED(ZONED_CACHE, "written in order only");
}

Test(make_issues, discard_and_pages_of_the_host)
{
	help_cache();
	help_params.host_page_bytes = 8192;
	expect_none();
	help_params.host_page_bytes = 16384;
	WARNED(BUCKET_BELOW_PAGE, "smaller than a page of this machine (16384 bytes)");
	help_params.host_page_bytes = 0;
	help_params.is_discard = true;
	WARNED(DISCARD_LEFT_OUT, "no backup can bring back");
	WARNED(DISCARD, "discard is switched on");
	help_params.may_discard = true;
	help_make_plan();
	cr_expect_not_null(help_issue(BCFMT_ISSUE_DISCARD));
	cr_expect_null(help_issue(BCFMT_ISSUE_DISCARD_LEFT_OUT));
	/* The flag is for caches. */
	help_devices[0].is_backing = true;
	expect_none();
}
