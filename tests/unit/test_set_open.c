/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Opening a set: roles, geometry, the entry it is read by, cut-short devices. */
#include <criterion/criterion.h>

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "kit/set_kit.h"

static struct set_kit kit;

static void begin(void)
{
	struct set_kit_shape shape = { 0 };

	set_kit_init(&kit, &shape);
}

static void end(void)
{
	set_kit_clear(&kit);
}

TestSuite(set_open, .init = begin, .fini = end);

/* A set with an empty root leaf. */
static void make_empty(void)
{
	uint64_t root = set_kit_node(&kit, kit.free_bucket, NULL, 0);

	set_kit_tables(&kit);
	set_kit_first_jset(&kit, root, 0);
}

Test(set_open, a_healthy_set_is_read_whole)
{
	make_empty();
	cr_assert_eq(set_kit_open(&kit), BCFMT_OK);
	cr_expect(kit.set->has_cache);
	cr_expect(kit.set->cache.has_magic);
	cr_expect_eq(kit.set->cache.faults, 0u);
	cr_expect(kit.set->has_geometry);
	cr_expect_eq(kit.set->geo.nbuckets, 640);
	cr_expect(kit.set->has_newest);
	cr_expect_eq(kit.set->newest.seq, 1);
	cr_expect_null(kit.set->newest.keys);
	cr_expect(kit.set->has_all_prios);
	cr_expect_eq(kit.set->uuids_state, BCFMT_UUIDS_OK);
	cr_expect_eq(kit.set->uuids[0].uuid[0], 0xb0);
	cr_expect_eq(kit.set->buckets[0].use, BCFMT_USE_RESERVED);
	cr_expect_eq(kit.set->buckets[kit.geo.first_bucket].use, BCFMT_USE_JOURNAL);
	cr_expect_eq(kit.set->buckets[kit.prio_bucket].use, BCFMT_USE_PRIO);
	cr_expect_eq(kit.set->buckets[kit.uuid_bucket].use, BCFMT_USE_UUID);
	cr_expect_eq(kit.set->buckets[kit.free_bucket].gen, 1);
}

Test(set_open, no_device_is_refused)
{
	struct bcfmt_set *set;

	cr_assert_eq(bcfmt_set_open(kit.ctx, NULL, 0, NULL, &set), BCFMT_E_ARG);
	cr_assert_null(set);
}

Test(set_open, two_caches_are_refused_by_name)
{
	struct bcfmt_dev *devs[] = { kit.dev, NULL };
	uint8_t raw[8192];
	struct bcfmt_set *set;

	set_kit_tables(&kit);
	set_kit_read(&kit, 0, raw, sizeof(raw));
	cr_assert_eq(bcfmt_dev_mem(kit.ctx, "second", raw, sizeof(raw), &devs[1]), BCFMT_OK);
	cr_expect_eq(bcfmt_set_open(kit.ctx, devs, 2, NULL, &set), BCFMT_E_ARG);
	cr_expect(strstr(bcfmt_ctx_fault(kit.ctx), "cache and second are both cache devices"));
	bcfmt_dev_free(devs[1]);
}

Test(set_open, a_forced_role_takes_a_device_without_superblock)
{
	struct bcfmt_dev *devs[] = { NULL, kit.dev };
	const enum bcfmt_role roles[] = { BCFMT_ROLE_BACKING, BCFMT_ROLE_AUTO };
	struct bcfmt_set_params params = { .roles = roles };

	make_empty();
	cr_assert_eq(bcfmt_dev_mem(kit.ctx, "blank", NULL, 1 << 20, &devs[0]), BCFMT_OK);
	cr_assert_eq(bcfmt_set_open(kit.ctx, devs, 2, &params, &kit.set), BCFMT_OK);
	cr_expect_eq(kit.set->n_backing, 1);
	cr_expect_not(kit.set->backing[0].has_magic);
	cr_expect(kit.set->has_newest);
	bcfmt_set_free(kit.set);
	kit.set = NULL;
	bcfmt_dev_free(devs[0]);
}

Test(set_open, a_device_without_superblock_is_the_cache_only_if_nothing_is)
{
	struct bcfmt_dev *devs[] = { NULL, kit.dev };
	struct bcfmt_set *set;

	make_empty();
	cr_assert_eq(bcfmt_dev_mem(kit.ctx, "blank", NULL, 1 << 20, &devs[0]), BCFMT_OK);
	cr_assert_eq(bcfmt_set_open(kit.ctx, devs, 2, NULL, &set), BCFMT_OK);
	cr_expect_eq(set->cache.dev, kit.dev);
	cr_expect_eq(set->n_backing, 1);
	cr_expect(set->has_newest);
	bcfmt_set_free(set);
	cr_assert_eq(bcfmt_set_open(kit.ctx, devs, 1, NULL, &set), BCFMT_OK);
	cr_expect(set->has_cache);
	cr_expect_not(set->cache.has_magic);
	cr_expect_eq(set->n_backing, 0);
	bcfmt_set_free(set);
	bcfmt_dev_free(devs[0]);
}

Test(set_open, a_backing_device_alone_is_a_set_without_cache)
{
	set_kit_backing(&kit, 0, BCFMT_BDEV_DIRTY, 4096);
	cr_assert_eq(bcfmt_set_open(kit.ctx, &kit.backing[0], 1, NULL, &kit.set), BCFMT_OK);
	cr_expect_not(kit.set->has_cache);
	cr_expect_not(kit.set->has_geometry);
	cr_expect_eq(kit.set->n_backing, 1);
	cr_expect_eq(bcfmt_super_bdev_state(&kit.set->backing[0].super), BCFMT_BDEV_DIRTY);
}

Test(set_open, backing_devices_are_found_by_uuid)
{
	uint8_t stranger[BCFMT_UUID_BYTES] = { 1 };
	uint32_t inode = 77;

	set_kit_backing(&kit, 3, BCFMT_BDEV_CLEAN, 4096);
	make_empty();
	cr_assert_eq(set_kit_open(&kit), BCFMT_OK);
	cr_expect_eq(bcfmt_set_backing(kit.set, kit.uuids[3].uuid), &kit.set->backing[0]);
	cr_expect_null(bcfmt_set_backing(kit.set, stranger));
	cr_expect_eq(bcfmt_set_inode(kit.set, kit.uuids[3].uuid, &inode), BCFMT_OK);
	cr_expect_eq(inode, 3);
	cr_expect_eq(bcfmt_set_inode(kit.set, stranger, &inode), BCFMT_END);
}

Test(set_open, of_two_live_slots_with_one_uuid_the_first_counts)
{
	uint32_t inode;

	kit.uuids[2] = kit.uuids[5] = kit.uuids[0];
	memset(kit.uuids[0].uuid, 0, BCFMT_UUID_BYTES);
	make_empty();
	cr_assert_eq(set_kit_open(&kit), BCFMT_OK);
	cr_assert_eq(bcfmt_set_inode(kit.set, kit.uuids[5].uuid, &inode), BCFMT_OK);
	cr_assert_eq(inode, 2);
}

Test(set_open, an_invalid_slot_belongs_to_nobody)
{
	uint32_t inode;

	memcpy(kit.uuids[0].uuid, bcfmt_uuid_invalid(), BCFMT_UUID_BYTES);
	make_empty();
	cr_assert_eq(set_kit_open(&kit), BCFMT_OK);
	cr_assert_eq(bcfmt_set_inode(kit.set, bcfmt_uuid_invalid(), &inode), BCFMT_END);
}

Test(set_open, without_a_journal_nothing_else_is_read)
{
	set_kit_tables(&kit);
	cr_assert_eq(set_kit_open(&kit), BCFMT_OK);
	cr_expect(kit.set->has_geometry);
	cr_expect_not(kit.set->has_newest);
	cr_expect_not(kit.set->has_all_prios);
	cr_expect_eq(kit.set->uuids_state, BCFMT_UUIDS_ABSENT);
	cr_expect_eq(kit.set->n_prio_links, 0);
}

Test(set_open, an_incarnation_is_read_by_its_entry)
{
	uint64_t root = set_kit_node(&kit, kit.free_bucket, NULL, 0);
	struct set_kit_jset jset = { .ring_index = 1, .root_ptr = root };
	struct bcfmt_set_params params = { 0 };
	struct bcfmt_set *set;

	set_kit_tables(&kit);
	for (jset.seq = 1; jset.seq <= 4; jset.seq++)
		jset.sector = set_kit_jset(&kit, &jset);
	params.incarnation_seq = 3;
	cr_assert_eq(bcfmt_set_open(kit.ctx, &kit.dev, 1, &params, &set), BCFMT_OK);
	cr_expect_eq(set->newest.seq, 3);
	bcfmt_set_free(set);
	params.incarnation_seq = 5;
	cr_assert_eq(bcfmt_set_open(kit.ctx, &kit.dev, 1, &params, &set), BCFMT_E_ARG);
	cr_expect_null(set);
	cr_expect(strstr(bcfmt_ctx_fault(kit.ctx), "no entry 5"));
}

Test(set_open, a_device_cut_short_keeps_the_buckets_that_are_left)
{
	uint64_t kept_bytes = 100ull * 16 * BCFMT_SECTOR_BYTES;
	uint8_t *bytes = malloc(kept_bytes);
	struct bcfmt_dev *cut;
	struct bcfmt_set *set;

	make_empty();
	set_kit_read(&kit, 0, bytes, kept_bytes);
	cr_assert_eq(bcfmt_dev_mem(kit.ctx, "cut", bytes, kept_bytes, &cut), BCFMT_OK);
	free(bytes);
	cr_assert_eq(bcfmt_set_open(kit.ctx, &cut, 1, NULL, &set), BCFMT_OK);
	cr_expect_eq(set->geo.nbuckets, 100);
	cr_expect(set->has_newest);
	cr_expect(set->has_all_prios);
	cr_expect(set->cache.faults & BCFMT_SUPER_DEVICE_TOO_SMALL);
	bcfmt_set_free(set);
	bcfmt_dev_free(cut);
}

/* No prefix of a cache may do worse than leave things out. */
Test(set_open, any_length_of_a_device_can_be_opened)
{
	static const uint64_t lengths[] = { 0,	      511,	512,	  4095,	    4096,
					    8191,     8192,	12 << 10, 16 << 10, 40 << 10,
					    88 << 10, 89 << 10, 96 << 10 };
	uint8_t *bytes = malloc(96 << 10);

	make_empty();
	set_kit_read(&kit, 0, bytes, 96 << 10);
	for (size_t i = 0; i < sizeof(lengths) / sizeof(lengths[0]); i++) {
		struct bcfmt_dev *cut;
		struct bcfmt_set *set;

		cr_assert_eq(bcfmt_dev_mem(kit.ctx, "cut", bytes, lengths[i], &cut), BCFMT_OK);
		cr_assert_eq(bcfmt_set_open(kit.ctx, &cut, 1, NULL, &set), BCFMT_OK);
		cr_expect_eq(set->cache.is_readable, lengths[i] >= 8192, "%llu bytes",
			     (unsigned long long)lengths[i]);
		cr_expect(!set->has_geometry || set->geo.nbuckets * 8192 <= lengths[i]);
		bcfmt_set_free(set);
		bcfmt_dev_free(cut);
	}
	free(bytes);
}

Test(set_open, a_superblock_that_carries_no_arithmetic_gives_no_geometry)
{
	uint8_t raw[BCFMT_SUPER_BYTES] = { 0 };

	make_empty();
	kit.super.bucket_field = 17;
	bcfmt_super_encode(&kit.super, raw);
	set_kit_write(&kit, 8, raw, sizeof(raw));
	cr_assert_eq(set_kit_open(&kit), BCFMT_OK);
	cr_expect(kit.set->cache.has_magic);
	cr_expect_not(kit.set->has_geometry);
	cr_expect_null(kit.set->buckets);
	cr_expect_eq(kit.set->n_uuids, 0);
	/* Whatever is asked of such a set ends well. */
	cr_expect_eq(bcfmt_set_stale(kit.set, set_kit_ptr(&kit, kit.free_bucket, 0)), 0);
	bcfmt_set_raise_gen(kit.set, set_kit_ptr(&kit, kit.free_bucket, 0));
}

Test(set_open, a_cancelled_context_stops_it)
{
	static volatile int cancelled = 1;
	struct bcfmt_ctx_params params = { .threads = 1, .cancelled = &cancelled };
	struct bcfmt_ctx *ctx;
	struct bcfmt_set *set;

	make_empty();
	cr_assert_eq(bcfmt_ctx_new(&params, &ctx), BCFMT_OK);
	cr_expect_eq(bcfmt_set_open(ctx, &kit.dev, 1, NULL, &set), BCFMT_E_CANCELLED);
	cr_expect_null(set);
	bcfmt_ctx_free(ctx);
}

/* A sparse file can hold a superblock that claims any number of buckets. */
Test(set_open, a_map_beyond_the_memory_is_refused_by_name)
{
	uint64_t ram_bytes = (uint64_t)sysconf(_SC_PHYS_PAGES) * (uint64_t)sysconf(_SC_PAGESIZE);
	uint64_t nbuckets = ram_bytes / sizeof(struct bcfmt_bucket);
	char path[] = "/tmp/set-open-XXXXXX";
	uint8_t raw[BCFMT_SUPER_BYTES] = { 0 };
	int fd = mkstemp(path);
	bool is_made;
	struct bcfmt_dev *dev;
	struct bcfmt_set *set;

	cr_assert_geq(fd, 0);
	kit.super.bucket_field = 8;
	kit.super.nbuckets_or_data_offset = nbuckets;
	bcfmt_super_encode(&kit.super, raw);
	is_made = !ftruncate(fd, (off_t)(nbuckets * 8 * BCFMT_SECTOR_BYTES)) &&
		  pwrite(fd, raw, sizeof(raw), BCFMT_SUPER_OFFSET_BYTES) == sizeof(raw);
	if (is_made)
		cr_assert_eq(bcfmt_dev_open(kit.ctx, path, 0, &dev), BCFMT_OK);
	close(fd);
	unlink(path);
	if (!is_made)
		cr_skip_test("no sparse file of that size to be had");
	cr_expect_eq(bcfmt_set_open(kit.ctx, &dev, 1, NULL, &set), BCFMT_E_NOMEM);
	cr_expect_null(set);
	cr_expect(strstr(bcfmt_ctx_fault(kit.ctx), "of memory, more than is here"));
	bcfmt_dev_free(dev);
}
