/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Caches of a real kernel, tree and journal merged, go through the tree writer into a fresh
 * device and come back the same.
 */
#include "write_help.h"

#include <stdio.h>
#include <unistd.h>

static char dir[64];

static void begin(void)
{
	snprintf(dir, sizeof(dir), "/tmp/bcfmt-image-XXXXXX");
	cr_assert_not_null(mkdtemp(dir));
	write_begin();
}

static void end(void)
{
	char command[128];

	write_end();
	snprintf(command, sizeof(command), "rm -r %s", dir);
	cr_assert_eq(system(command), 0);
}

TestSuite(write_image, .init = begin, .fini = end);

static struct bcfmt_set *open_image(const char *name, struct bcfmt_dev **dev)
{
	char path[96], command[256];
	struct bcfmt_set *set;

	snprintf(command, sizeof(command), "tar -xJSf fixtures/%s.tar.xz -C %s cache.img", name,
		 dir);
	cr_assert_eq(system(command), 0, "%s", command);
	snprintf(path, sizeof(path), "%s/cache.img", dir);
	cr_assert_eq(bcfmt_dev_open(write_ctx, path, 0, dev), BCFMT_OK);
	cr_assert_eq(bcfmt_set_open(write_ctx, dev, 1, NULL, &set), BCFMT_OK);
	return set;
}

/* Valid extents as keys whose data lies by_buckets higher; to be freed. */
static struct bcfmt_key *keys_of(const struct write_found *found, const struct bcfmt_geometry *geo,
				 uint64_t by_buckets, size_t *n)
{
	struct bcfmt_key *keys = calloc(found->extents.n + 1, sizeof(*keys));

	*n = 0;
	for (size_t i = 0; i < found->extents.n; i++) {
		const struct bcfmt_extent *extent = VEC_AT(&found->extents, struct bcfmt_extent, i);
		uint64_t sector = bcfmt_ptr_sector(extent->ptr) + (by_buckets << geo->bucket_shift);

		if (extent->stale)
			continue;
		keys[(*n)++] =
			bcfmt_key_make(extent->inode, extent->end_sector,
				       (uint32_t)(extent->end_sector - extent->start_sector),
				       extent->is_dirty, true,
				       bcfmt_ptr_make(0, sector, bcfmt_ptr_gen(extent->ptr)));
	}
	return keys;
}

/* Writes what set holds to a device of its own, which is larger by the buckets for metadata. */
static struct bcfmt_dev *write_again(const struct bcfmt_set *set, const struct write_found *found,
				     struct bcfmt_new_set *made)
{
	struct bcfmt_new_set_params params = { .block_sectors = set->geo.block_sectors,
					       .bucket_sectors = set->geo.bucket_sectors,
					       .max_keys = found->extents.n,
					       .seed = 1,
					       .uuids = set->uuids,
					       .n_uuids = set->n_uuids };
	struct write_stream stream = { 0 };
	struct bcfmt_key *keys;
	struct bcfmt_dev *dev;
	uint64_t bytes;

	memcpy(params.uuid, set->cache.super.uuid, sizeof(params.uuid));
	memcpy(params.set_uuid, set->cache.super.set_uuid, sizeof(params.set_uuid));
	/* Room for metadata and what has to be free, whatever the old one was full of. */
	params.nbuckets = 2 * set->geo.nbuckets + 1000;
	bytes = params.nbuckets * set->geo.bucket_sectors * BCFMT_SECTOR_BYTES;
	cr_assert_eq(bcfmt_new_set_plan(write_ctx, bytes, 512, &params, made), BCFMT_OK, "%s",
		     bcfmt_ctx_fault(write_ctx));
	keys = keys_of(found, &set->geo, made->data_bucket, &stream.n);
	stream.keys = keys;
	dev = write_mem(bytes);
	cr_assert_eq(bcfmt_new_set_write(write_ctx, dev, &params, write_next, &stream, made),
		     BCFMT_OK, "%s", bcfmt_ctx_fault(write_ctx));
	free(keys);
	return dev;
}

static void round_trip(const char *name, uint16_t level, size_t least)
{
	struct bcfmt_key *before, *after;
	size_t n_before, n_after;
	struct write_found found, again;
	struct bcfmt_new_set made;
	struct bcfmt_dev *dev, *fresh;
	struct bcfmt_set *set = open_image(name, &dev), *copy;

	write_collect(set, &found);
	fresh = write_again(set, &found, &made);
	cr_expect_eq(made.tree.level, level, "%s: level %u", name, made.tree.level);
	copy = write_open_clean(&fresh, 1);
	write_collect(copy, &again);
	before = keys_of(&found, &set->geo, made.data_bucket, &n_before);
	after = keys_of(&again, &set->geo, 0, &n_after);
	cr_expect_geq(n_before, least, "%s: %zu extents", name, n_before);
	cr_assert_eq(n_after, n_before, "%s: %zu extents, not %zu", name, n_after, n_before);
	cr_expect(!memcmp(before, after, n_before * sizeof(*before)), "%s", name);
	free(before);
	free(after);
	write_forget(&found);
	write_forget(&again);
	bcfmt_set_free(copy);
	bcfmt_set_free(set);
	bcfmt_dev_free(fresh);
	bcfmt_dev_free(dev);
}

Test(write_image, a_deep_tree, .timeout = 60)
{
	round_trip("deep2", 1, 1000);
}

Test(write_image, several_devices_and_a_volume, .timeout = 60)
{
	round_trip("multi", 1, 100);
}

Test(write_image, a_full_cache, .timeout = 60)
{
	round_trip("full", 1, 100);
}

Test(write_image, blocks_of_4k, .timeout = 60)
{
	round_trip("blk4k", 0, 100);
}
