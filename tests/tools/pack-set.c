/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * pack-set CACHE [BACKING...] >INPUT: the metadata of a set as an input of the fuzz target that
 * takes whole sets (tests/fuzz/memory.h). User data is left out; what is zero at the end of a
 * structure too.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <bcfmt/check.h>
#include <bcfmt/set.h>
#include <bcfmt/tree.h>

#include "base/bytes.h"
#include "fuzz/memory.h"

#define PIECE_BYTES_MAX 65024u /* whole sectors that the length of a piece can say */

static bool has_failed;

static void fail(const char *why)
{
	fprintf(stderr, "pack-set: %s\n", why);
	has_failed = true;
}

static void put_piece(uint64_t sector, const uint8_t *bytes, size_t len_bytes, uint32_t device)
{
	uint8_t head[MEMORY_PIECE_BYTES] = { 0 };

	store_le32(head, (uint32_t)sector);
	store_le16(head + 4, (uint16_t)len_bytes);
	head[6] = (uint8_t)device;
	if (fwrite(head, sizeof(head), 1, stdout) != 1 || fwrite(bytes, len_bytes, 1, stdout) != 1)
		fail("cannot write");
}

/* So many sectors of a device, less the zeros at the end. */
static void put_range(struct bcfmt_dev *dev, uint32_t device, uint64_t sector, uint64_t sectors)
{
	uint64_t dev_sectors = bcfmt_dev_bytes(dev) / BCFMT_SECTOR_BYTES;
	size_t len_bytes;
	uint8_t *buf;

	if (sector >= dev_sectors)
		return;
	sectors = sectors < dev_sectors - sector ? sectors : dev_sectors - sector;
	len_bytes = (size_t)sectors * BCFMT_SECTOR_BYTES;
	len_bytes = len_bytes < PIECE_BYTES_MAX ? len_bytes : PIECE_BYTES_MAX;
	buf = malloc(len_bytes);
	if (!buf || bcfmt_dev_read(dev, sector * BCFMT_SECTOR_BYTES, buf, len_bytes)) {
		fail("cannot read");
		free(buf);
		return;
	}
	while (len_bytes && !buf[len_bytes - 1])
		len_bytes--;
	if (len_bytes)
		put_piece(sector, buf, (len_bytes + 7) & ~(size_t)7, device);
	free(buf);
}

static bcfmt_err put_node(void *arg, const struct bcfmt_node_view *view)
{
	put_range(arg, 0, bcfmt_ptr_sector(view->ref->ptr), view->ref->sectors);
	return BCFMT_OK;
}

static bcfmt_err no_extents(void *arg, const struct bcfmt_node_view *view,
			    const struct bcfmt_extent *extents, size_t n_extents)
{
	(void)arg, (void)view, (void)extents, (void)n_extents;
	return BCFMT_OK;
}

static void put_tree(struct bcfmt_set *set)
{
	struct bcfmt_tree_visitor visitor = {
		.arg = set->cache.dev,
		.node = put_node,
		.leaf = no_extents,
	};
	struct bcfmt_tree_visitor quiet = { .leaf = no_extents };
	struct bcfmt_tree *tree;
	bool again;

	if (bcfmt_tree_open(set, &visitor, &tree) ||
	    bcfmt_tree_walk_leaves(tree, &visitor, &again) ||
	    (again && bcfmt_tree_walk_leaves(tree, &quiet, &again)))
		fail("cannot walk the tree");
	bcfmt_tree_free(tree);
}

static void put_set(struct bcfmt_set *set, struct bcfmt_dev *cache)
{
	const struct bcfmt_geometry *geo = &set->geo;

	for (uint32_t i = 0; i < geo->journal_buckets; i++)
		put_range(cache, 0, bcfmt_bucket_sector(geo, geo->first_bucket + i),
			  geo->bucket_sectors);
	for (size_t i = 0; i < set->n_prio_links; i++)
		if (set->prio_links[i].bucket < geo->nbuckets)
			put_range(cache, 0, bcfmt_bucket_sector(geo, set->prio_links[i].bucket),
				  geo->meta_bytes / BCFMT_SECTOR_BYTES);
	if (!set->has_newest)
		return;
	put_range(cache, 0, bcfmt_ptr_sector(set->newest.uuid_bucket.ptr),
		  geo->meta_bytes / BCFMT_SECTOR_BYTES);
	put_tree(set);
}

static void put_head(struct bcfmt_dev *const *devs, size_t n)
{
	uint8_t head[MEMORY_HEAD_BYTES] = { 0 };

	/* Level data, which does most. */
	head[4] = BCFMT_LEVEL_DATA;
	head[5] = (uint8_t)(n - 1);
	store_le32(head + 8, (uint32_t)(bcfmt_dev_bytes(devs[0]) / BCFMT_SECTOR_BYTES));
	if (n > 1)
		store_le32(head + 12, (uint32_t)(bcfmt_dev_bytes(devs[1]) / BCFMT_SECTOR_BYTES));
	if (fwrite(head, sizeof(head), 1, stdout) != 1)
		fail("cannot write");
	for (size_t i = 0; i < n; i++)
		if (bcfmt_dev_bytes(devs[i]) / BCFMT_SECTOR_BYTES > MEMORY_SECTORS_MAX)
			fail("a device is too large");
}

int main(int argc, char **argv)
{
	struct bcfmt_ctx_params params = { .threads = 1 };
	struct bcfmt_dev *devs[1 + MEMORY_BACKING_MAX] = { NULL };
	struct bcfmt_set *set = NULL;
	struct bcfmt_ctx *ctx = NULL;
	size_t n = 0;

	if (argc < 2 || (size_t)argc > 2 + MEMORY_BACKING_MAX) {
		fprintf(stderr, "usage: pack-set CACHE [BACKING [BACKING]] >INPUT\n");
		return 2;
	}
	if (bcfmt_ctx_new(&params, &ctx))
		fail("out of memory");
	for (; !has_failed && n + 1 < (size_t)argc; n++)
		if (bcfmt_dev_open(ctx, argv[n + 1], 0, &devs[n]))
			fail(bcfmt_ctx_fault(ctx));
	if (!has_failed)
		put_head(devs, n);
	for (size_t i = 0; i < n && !has_failed; i++)
		put_range(devs[i], (uint32_t)i, BCFMT_SUPER_OFFSET_BYTES / BCFMT_SECTOR_BYTES,
			  BCFMT_SUPER_BYTES / BCFMT_SECTOR_BYTES);
	if (!has_failed && bcfmt_set_open(ctx, devs, n, NULL, &set))
		fail(bcfmt_ctx_fault(ctx));
	if (!has_failed && set->has_geometry)
		put_set(set, devs[0]);
	bcfmt_set_free(set);
	for (size_t i = 0; i < n; i++)
		bcfmt_dev_free(devs[i]);
	bcfmt_ctx_free(ctx);
	if (fflush(stdout))
		fail("cannot write");
	return has_failed;
}
