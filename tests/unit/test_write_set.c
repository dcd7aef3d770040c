/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Whole caches: layouts, what is left of an old one, every failing write, and what is refused. */
#include "write_help.h"

#include "kit/extents.h"

TestSuite(write_set, .init = write_begin, .fini = write_end);

#define N_KEYS 400u

static struct bcfmt_new_set_params params;
static struct bcfmt_new_set made;
static struct bcfmt_key *keys;
static uint64_t dev_bytes;

static void plan(uint32_t block_sectors, uint32_t bucket_sectors)
{
	params = write_params(block_sectors, bucket_sectors, N_KEYS);
	dev_bytes = params.nbuckets * bucket_sectors * BCFMT_SECTOR_BYTES;
	cr_assert_eq(bcfmt_new_set_plan(write_ctx, dev_bytes, 512, &params, &made), BCFMT_OK, "%s",
		     bcfmt_ctx_fault(write_ctx));
	free(keys);
	keys = write_make_keys(&made, N_KEYS);
}

static bcfmt_err write_to(struct bcfmt_dev *dev)
{
	struct write_stream stream = { keys, N_KEYS, 0 };

	return bcfmt_new_set_write(write_ctx, dev, &params, write_next, &stream, &made);
}

Test(write_set, layouts, .timeout = 60)
{
	static const uint32_t sizes[][2] = { { 1, 8 },	 { 8, 8 },    { 1, 16 },   { 4, 32 },
					     { 8, 256 }, { 2, 1024 }, { 8, 16384 } };

	for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
		struct write_found found;
		struct bcfmt_dev *dev;
		struct bcfmt_set *set;

		plan(sizes[i][0], sizes[i][1]);
		dev = write_mem(dev_bytes);
		cr_assert_eq(write_to(dev), BCFMT_OK, "%s", bcfmt_ctx_fault(write_ctx));
		set = write_open_clean(&dev, 1);
		write_collect(set, &found);
		write_expect_keys(&found, keys, N_KEYS);
		cr_expect_eq(set->cache.super.version, 3);
		cr_expect_eq(set->cache.faults, 0);
		cr_expect_str_eq(set->cache.super.label, "made by a test");
		/* As a kernel begins: entry 1 in the second bucket of the ring. */
		cr_assert_eq(set->journal.n_entries, 1);
		cr_expect_eq(set->journal.entries[0].seq, 1);
		cr_expect_eq(set->journal.entries[0].ring_index, 1);
		cr_expect(set->has_all_prios);
		cr_expect_eq(set->uuids_state, BCFMT_UUIDS_OK);
		for (uint64_t b = 0; b < set->geo.nbuckets; b++)
			cr_assert_eq(set->buckets[b].gen, set->buckets[b].disk_gen, "bucket %llu",
				     (unsigned long long)b);
		cr_expect_eq(set->buckets[made.uuid_bucket].prio, 65535);
		cr_expect_eq(set->buckets[made.prio_bucket].gen, 1);
		cr_expect_eq(set->buckets[made.data_bucket].prio, 32768);
		cr_expect_eq(set->buckets[made.geo.first_bucket].prio, 0);
		write_forget(&found);
		bcfmt_set_free(set);
		bcfmt_dev_free(dev);
	}
}

/* Above 65535 sectors a bucket's size is its logarithm, and the superblock of version 5. */
Test(write_set, large_buckets, .timeout = 60)
{
	struct bcfmt_dev *lower, *dev;
	struct bcfmt_set *set;

	plan(8, 1u << 16);
	params.max_keys = 0;
	params.nbuckets = 513;
	dev_bytes = 513ull << 25;
	/* 16 GiB that take no memory but where they are written. */
	lower = write_mem(dev_bytes);
	cr_assert_eq(bcfmt_dev_overlay(write_ctx, lower, &dev), BCFMT_OK);
	cr_assert_eq(bcfmt_new_set_write(write_ctx, dev, &params, write_next,
					 &(struct write_stream){ 0 }, &made),
		     BCFMT_OK, "%s", bcfmt_ctx_fault(write_ctx));
	set = write_open_clean(&dev, 1);
	cr_expect_eq(set->cache.super.version, 5);
	cr_expect_eq(set->cache.super.bucket_field, 16);
	cr_expect_eq(set->cache.super.bucket_sectors, 65536);
	cr_expect_eq(made.geo.meta_bytes, 4u << 20);
	bcfmt_set_free(set);
	bcfmt_dev_free(dev);
	bcfmt_dev_free(lower);
}

Test(write_set, keys_to_replay)
{
	struct bcfmt_key journal[3];
	struct write_found found;
	struct bcfmt_dev *dev;
	struct bcfmt_set *set;
	uint64_t free_bucket;

	plan(1, 16);
	free_bucket = made.geo.nbuckets - 1;
	journal[0] =
		bcfmt_key_make(0, 1 << 20, 8, true, true, bcfmt_ptr_make(0, free_bucket * 16, 3));
	journal[1] =
		bcfmt_key_make(2, 8, 8, true, true, bcfmt_ptr_make(0, free_bucket * 16 + 8, 3));
	journal[2] = bcfmt_key_make(1, 1 << 20, 50, false, false, 0);
	params.journal_keys = journal;
	params.n_journal_keys = 3;
	params.journal_seq = 500;
	dev = write_mem(dev_bytes);
	cr_assert_eq(write_to(dev), BCFMT_OK, "%s", bcfmt_ctx_fault(write_ctx));
	set = write_open_clean(&dev, 1);
	cr_expect_eq(set->newest.seq, 500);
	cr_expect_eq(set->newest.last_seq, 500);
	cr_expect_eq(set->newest.keys_field, 8);
	cr_expect_eq(set->buckets[free_bucket].disk_gen, 3);
	write_collect(set, &found);
	write_expect_keys(&found, keys, N_KEYS);
	for (size_t i = 0; i < found.extents.n; i++) {
		const struct bcfmt_extent *extent = VEC_AT(&found.extents, struct bcfmt_extent, i);

		if (extent->source == BCFMT_FROM_REPLAY)
			cr_expect_eq(bcfmt_ptr_bucket(&made.geo, extent->ptr), free_bucket);
		else
			cr_expect_neq(bcfmt_ptr_bucket(&made.geo, extent->ptr), free_bucket);
	}
	write_forget(&found);
	bcfmt_set_free(set);
	bcfmt_dev_free(dev);
}

/* An old set of the same uuid with a higher entry would otherwise come back. */
Test(write_set, an_old_set_is_gone)
{
	uint8_t *first, *second;
	struct bcfmt_dev *dev;
	struct bcfmt_set *set;

	plan(1, 16);
	dev = write_mem(dev_bytes);
	first = malloc(dev_bytes);
	second = malloc(dev_bytes);
	cr_assert_eq(write_to(dev), BCFMT_OK);
	cr_assert_eq(bcfmt_dev_read(dev, 0, first, dev_bytes), BCFMT_OK);
	/* Every block of the ring holds entry 900. */
	params.journal_seq = 900;
	cr_assert_eq(write_to(dev), BCFMT_OK);
	for (uint64_t b = made.geo.first_bucket; b < made.prio_bucket; b++)
		for (uint64_t s = 0; s < 16; s++) {
			uint8_t raw[512];
			uint64_t from = (made.geo.first_bucket + 1u) * 16 * 512;

			cr_assert_eq(bcfmt_dev_read(dev, from, raw, 512), BCFMT_OK);
			cr_assert_eq(bcfmt_dev_write(dev, (b * 16 + s) * 512, raw, 512), BCFMT_OK);
		}
	params.journal_seq = 0;
	cr_assert_eq(write_to(dev), BCFMT_OK);
	set = write_open_clean(&dev, 1);
	cr_expect_eq(set->newest.seq, 1);
	cr_expect_eq(set->journal.n_entries, 1);
	/* And so the bytes are those of a device that was empty. */
	cr_assert_eq(bcfmt_dev_read(dev, 0, second, dev_bytes), BCFMT_OK);
	cr_expect(!memcmp(first, second, dev_bytes));
	bcfmt_set_free(set);
	bcfmt_dev_free(dev);
	free(first);
	free(second);
}

static void expect_no_set(struct bcfmt_dev *dev)
{
	struct bcfmt_set *set;

	cr_assert_eq(bcfmt_set_open(write_ctx, &dev, 1, NULL, &set), BCFMT_OK);
	cr_expect(!set->cache.has_magic);
	bcfmt_set_free(set);
}

/* Until the last write there is no superblock: neither the old set nor half of the new. */
Test(write_set, every_write_and_flush_fails_once, .timeout = 60)
{
	uint64_t failed = 0;
	bcfmt_err err = BCFMT_E_IO;

	plan(1, 16);
	for (uint64_t at = 1; err; at++) {
		struct bcfmt_dev_faults faults = { .fail_write = at, .once = true };
		struct bcfmt_dev *lower = write_mem(dev_bytes), *dev;

		cr_assert_eq(bcfmt_dev_faulty(write_ctx, lower, &faults, &dev), BCFMT_OK);
		err = write_to(dev);
		if (err) {
			write_expect_fault(err, BCFMT_E_IO, "injected failure");
			expect_no_set(dev);
			failed++;
		}
		bcfmt_dev_free(dev);
	}
	/* A superblock wiped, a ring of 5 buckets, nodes, tables, an entry, a superblock. */
	cr_expect_gt(failed, 8);
	for (uint64_t at = 1; at <= 4; at++) {
		struct bcfmt_dev_faults faults = { .fail_flush = at, .once = true };
		struct bcfmt_dev *lower = write_mem(dev_bytes), *dev;

		cr_assert_eq(bcfmt_dev_faulty(write_ctx, lower, &faults, &dev), BCFMT_OK);
		write_expect_fault(write_to(dev), BCFMT_E_IO, "cannot flush");
		if (at < 4)
			expect_no_set(dev);
		bcfmt_dev_free(dev);
	}
}

Test(write_set, cancelled)
{
	struct bcfmt_dev *dev;

	plan(1, 16);
	dev = write_mem(dev_bytes);
	write_cancelled = 1;
	cr_expect_eq(write_to(dev), BCFMT_E_CANCELLED);
	write_cancelled = 0;
	expect_no_set(dev);
	bcfmt_dev_free(dev);
}

/* The first key is another one. */
static void expect_key(struct bcfmt_key key, const char *part)
{
	struct bcfmt_key good = keys[0];
	struct bcfmt_dev *dev = write_mem(dev_bytes);

	keys[0] = key;
	write_expect_fault(write_to(dev), BCFMT_E_ARG, part);
	expect_no_set(dev);
	keys[0] = good;
	bcfmt_dev_free(dev);
}

Test(write_set, keys_that_are_refused)
{
	uint64_t data;

	plan(1, 16);
	data = made.data_bucket * 16;
#define KEY(inode, end, sectors, sector, gen, part)                \
	expect_key(bcfmt_key_make(inode, end, sectors, true, true, \
				  bcfmt_ptr_make(0, sector, gen)), \
		   part)
	KEY(0, 8, 8, data - 16, 1, "bucket for metadata");
	KEY(0, 8, 8, made.uuid_bucket * 16, 1, "bucket for metadata");
	KEY(0, 8, 8, data, 2, "another gen than its bucket");
	KEY(0, 16, 16, data, 1, "overfills its bucket");
	KEY(3, 16, 8, data, 1, "of no device or volume");
	memset(write_uuids[0].uuid, 0, BCFMT_UUID_BYTES);
	KEY(0, 16, 8, data, 1, "of no device or volume");
	memset(write_uuids[0].uuid, 1, BCFMT_UUID_BYTES);
	write_uuids[0].flags = BCFMT_UUID_FLASH_ONLY;
	write_uuids[0].sectors = 15;
	KEY(0, 16, 8, data, 1, "ends behind its volume");
	write_uuids[0].flags = 0;
	KEY(0, 16, 8, data, 1, "size and is no volume");
	write_uuids[0].sectors = 0;
	KEY(1, 8, 8, data, 1, "lies before the end of the one before");
	params.max_keys = 10;
	expect_key(keys[0], "more than the 10 keys");
}

/* n keys of 8 sectors, a bucket each. */
static bcfmt_err use_buckets(struct bcfmt_dev *dev, uint64_t n)
{
	struct bcfmt_key *all = calloc(n, sizeof(*all));
	struct write_stream stream = { all, n, 0 };
	bcfmt_err err;

	for (uint64_t i = 0; i < n; i++)
		all[i] = bcfmt_key_make(0, 16 * (i + 1), 8, true, true,
					bcfmt_ptr_make(0, (made.data_bucket + i) * 16, 1));
	err = bcfmt_new_set_write(write_ctx, dev, &params, write_next, &stream, &made);
	free(all);
	return err;
}

/*
 * 600 buckets, of which the first 2, 4 of the journal, a prio set, a uuid table and 4 nodes are
 * taken, and a kernel needs one for another prio set and 32 for nodes.
 */
Test(write_set, free_buckets)
{
	struct bcfmt_dev *dev;

	plan(1, 16);
	dev = write_mem(dev_bytes);
	params.nbuckets = 600;
	params.max_keys = 560;
	cr_assert_eq(bcfmt_new_set_plan(write_ctx, dev_bytes, 512, &params, &made), BCFMT_OK);
	cr_expect_eq(made.data_bucket, 12);
	cr_expect_eq(made.data_buckets, 600 - 12 - 33);
	cr_expect_eq(use_buckets(dev, 600 - 12 - 33), BCFMT_OK, "%s", bcfmt_ctx_fault(write_ctx));
	cr_expect_eq(made.tree.nodes, 4);
	cr_expect_eq(made.used_buckets, 600 - 12 - 33);
	cr_expect_eq(made.free_buckets, 33);
	write_expect_fault(use_buckets(dev, 600 - 12 - 32), BCFMT_E_ARG,
			   "32 buckets left free, a kernel needs 33");
	expect_no_set(dev);
	bcfmt_dev_free(dev);
}

static void expect_plan(uint32_t block, uint32_t bucket, uint64_t nbuckets, const char *part)
{
	struct bcfmt_new_set_params wrong = params;

	wrong.block_sectors = block;
	wrong.bucket_sectors = bucket;
	wrong.nbuckets = nbuckets;
	write_expect_fault(bcfmt_new_set_plan(write_ctx, dev_bytes, 512, &wrong, &made),
			   BCFMT_E_ARG, part);
}

Test(write_set, sizes_that_are_refused)
{
	plan(1, 16);
	params.max_keys = 0;
	expect_plan(0, 16, 600, "not possible");
	expect_plan(3, 16, 600, "not possible");
	expect_plan(1, 12, 600, "not possible");
	expect_plan(16, 16, 600, "not possible");
	expect_plan(1, 0, 600, "not possible");
	expect_plan(1, 1, 0, "buckets are smaller than 4 KiB");
	expect_plan(1, 4, 0, "buckets are smaller than 4 KiB");
	expect_plan(1, 16, 512, "fewer than 513 buckets");
	expect_plan(1, 16, 1 << 20, "beyond the device");
	expect_plan(1, 1u << 31, 0, "fewer than 513 buckets");
	write_expect_fault(bcfmt_new_set_plan(write_ctx, dev_bytes, 4096, &params, &made),
			   BCFMT_E_ARG, "smaller than those of the device");
	params.max_keys = UINT64_MAX;
	expect_plan(1, 16, 600, "too few");
	params.max_keys = 0;
	params.n_uuids = 65;
	expect_plan(1, 16, 600, "65 devices");
	params.n_uuids = 0;
	params.label = "a label of thirty-three characters";
	expect_plan(1, 16, 600, "longer than 32");
	params.label = NULL;
	memset(params.set_uuid, 0, sizeof(params.set_uuid));
	expect_plan(1, 16, 600, "set uuid is zero");
}

/* ---- computed extents ---- */

Test(write_set, extents_without_end)
{
	struct extents extents = {
		.seed = 3,
		.inode = { { 700, 16, false }, { 0, 16, false }, { 300, 0, true } },
		.n_inodes = 3,
		.least_sectors = 2,
		.most_sectors = 8,
		.block_sectors = 2,
		.stride_sectors = 12,
		.dirty_percent = 50,
		.bucket_sectors = 64
	};
	struct extents_stream stream = { .extents = &extents };
	struct write_found found;
	struct bcfmt_dev *dev;
	struct bcfmt_set *set;
	uint64_t n_dirty = 0, n_short = 0;
	bool is_used[1024] = { false };

	params = write_params(2, 64, 1000);
	params.nbuckets = 800;
	dev_bytes = 800 * 64 * 512;
	cr_assert_eq(bcfmt_new_set_plan(write_ctx, dev_bytes, 512, &params, &made), BCFMT_OK);
	extents.first_bucket = made.data_bucket;
	extents.n_buckets = 125; /* 1000 slots: every one is taken */
	cr_assert_eq(extents_slots(&extents), extents_total(&extents));
	dev = write_mem(dev_bytes);
	cr_assert_eq(bcfmt_new_set_write(write_ctx, dev, &params, extents_next, &stream, &made),
		     BCFMT_OK, "%s", bcfmt_ctx_fault(write_ctx));
	cr_expect_eq(made.used_buckets, 125);
	set = write_open_clean(&dev, 1);
	write_collect(set, &found);
	cr_assert_eq(found.extents.n, 1000);
	for (size_t i = 0; i < 1000; i++) {
		const struct bcfmt_extent *extent = VEC_AT(&found.extents, struct bcfmt_extent, i);
		uint64_t slot = bcfmt_ptr_sector(extent->ptr) / 8 - made.data_bucket * 8;
		struct extent_at at = extents_get(&extents, extent->inode, i < 700 ? i : i - 700);

		cr_assert_lt(slot, 1000);
		cr_expect(!is_used[slot]);
		is_used[slot] = true;
		cr_expect_eq(extent->start_sector, at.start_sector);
		cr_expect_eq(extent->is_dirty, at.is_dirty);
		n_dirty += extent->is_dirty;
		n_short += extent->end_sector - extent->start_sector == 2;
		cr_expect(extent->inode != 2 || extent->is_dirty);
	}
	cr_expect(n_dirty > 550 && n_dirty < 750, "%llu", (unsigned long long)n_dirty);
	cr_expect(n_short > 150 && n_short < 350, "%llu", (unsigned long long)n_short);
	write_forget(&found);
	bcfmt_set_free(set);
	bcfmt_dev_free(dev);
}
