/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Data (level data only).
 * Checks: every live extent can be read from the cache; clean ones equal the backing device where
 * that is given. A difference is no proof of which side is right: a kernel serves the cache's.
 * Needs: final gens of the tree pass. Reads in key order, which is the backing device's order.
 */
#include <stdlib.h>
#include <string.h>

#include "base/checked.h"
#include "check/check_impl.h"

#define PIECE_BYTES (1u << 20)

struct data_check {
	struct check *ck;
	uint8_t *cached;
	uint8_t *backed;
	uint8_t *is_bad; /* a byte a sector of a piece */
	uint64_t done_bytes;
};

/* Counts 512-byte sectors that differ. */
static uint64_t count_different(const uint8_t *a, const uint8_t *b, size_t len_bytes)
{
	uint64_t different = 0;

	for (size_t at = 0; at < len_bytes; at += BCFMT_SECTOR_BYTES)
		different += memcmp(a + at, b + at, BCFMT_SECTOR_BYTES) != 0;
	return different;
}

static void add_bad(struct bcfmt_bad_read *sum, const struct bcfmt_bad_read *bad)
{
	if (bad->sectors && !sum->sectors)
		sum->first_sector = bad->first_sector;
	sum->sectors += bad->sectors;
}

static bcfmt_err report_unreadable(struct check *ck, const struct bcfmt_extent *extent,
				   const struct bcfmt_bad_read *bad, const char *text)
{
	struct bcfmt_where where = check_where(ck, "data");

	where.sector = bad->first_sector;
	where.bucket = bad->first_sector >> ck->set->geo.bucket_shift;
	return CHECK_REPORT(ck, CACHE_DATA_UNREADABLE, &where, BCFMT_U64("sectors", bad->sectors),
			    BCFMT_TEXT("kind", extent->is_dirty ? "dirty" : "clean"),
			    BCFMT_TEXT("text", text), BCFMT_U64("sector", bad->first_sector));
}

static bcfmt_err report_backing(struct check *ck, const struct bcfmt_member *member,
				const struct bcfmt_extent *extent,
				const struct bcfmt_bad_read *bad, uint64_t different,
				const char *text)
{
	struct bcfmt_where where = BCFMT_WHERE_INIT;
	bcfmt_err err = BCFMT_OK;

	where.device = bcfmt_dev_name(member->dev);
	where.structure = "data";
	where.sector = extent->start_sector;
	if (bad->sectors) {
		where.sector = bad->first_sector;
		err = CHECK_REPORT(ck, BACKING_UNREADABLE, &where,
				   BCFMT_U64("sectors", bad->sectors),
				   BCFMT_U64("sector", bad->first_sector));
		where.sector = extent->start_sector;
	}
	if (!err && different)
		err = CHECK_REPORT(ck, BACKING_DIFFERS, &where, BCFMT_U64("sectors", different),
				   BCFMT_TEXT("text", text));
	return err;
}

/* The backing device to compare with; NULL for volumes, dirty data and devices not given. */
static const struct bcfmt_member *backing_of(const struct check *ck,
					     const struct bcfmt_extent *extent)
{
	const struct bcfmt_uuid_entry *entry;
	const struct bcfmt_member *member;

	if (extent->is_dirty || extent->inode >= ck->set->n_uuids)
		return NULL;
	entry = &ck->set->uuids[extent->inode];
	if (bcfmt_uuid_state(entry) != BCFMT_UUID_LIVE || entry->flags & BCFMT_UUID_FLASH_ONLY)
		return NULL;
	member = bcfmt_set_backing(ck->set, entry->uuid);
	if (!member || extent->end_sector > bcfmt_dev_bytes(member->dev) / BCFMT_SECTOR_BYTES)
		return NULL;
	return member;
}

/* Tells which sectors of a piece of a dirty extent are lost. */
static bcfmt_err lose_unreadable(struct data_check *dc, const struct bcfmt_extent *extent,
				 uint64_t cache_bytes, uint64_t start_sector, size_t len_bytes)
{
	uint64_t n = len_bytes / BCFMT_SECTOR_BYTES, first = 0;
	bcfmt_err err = bcfmt_dev_read_marked(dc->ck->set->cache.dev, cache_bytes, dc->cached,
					      len_bytes, dc->is_bad);

	while (!err && first < n) {
		uint64_t end = first;

		while (end < n && dc->is_bad[end])
			end++;
		if (end > first)
			err = check_loss(dc->ck, BCFMT_LOSS_UNREADABLE, extent->inode,
					 start_sector + first, start_sector + end);
		first = end + 1;
	}
	return err;
}

static bcfmt_err check_extent_data(struct data_check *dc, const struct bcfmt_extent *extent)
{
	const struct bcfmt_set *set = dc->ck->set;
	const struct bcfmt_member *member = backing_of(dc->ck, extent);
	uint64_t cache_bytes = bcfmt_ptr_sector(extent->ptr) * BCFMT_SECTOR_BYTES;
	uint64_t start_bytes = extent->start_sector * BCFMT_SECTOR_BYTES;
	uint64_t len = (extent->end_sector - extent->start_sector) * BCFMT_SECTOR_BYTES;
	struct bcfmt_bad_read cache_bad = { 0, 0 }, backing_bad = { 0, 0 };
	uint64_t different = 0;
	char text[64];
	bcfmt_err err = BCFMT_OK;

	for (uint64_t at = 0; !err && at < len; at += PIECE_BYTES) {
		size_t n = (size_t)min_u64(PIECE_BYTES, len - at);
		struct bcfmt_bad_read bad_a = { 0, 0 }, bad_b = { 0, 0 };

		err = bcfmt_dev_read_salvage(set->cache.dev, cache_bytes + at, dc->cached, n, &bad_a);
		if (!err && member)
			err = bcfmt_dev_read_salvage(member->dev, start_bytes + at, dc->backed, n,
						     &bad_b);
		if (!err && member && !bad_a.sectors && !bad_b.sectors)
			different += count_different(dc->cached, dc->backed, n);
		if (!err && bad_a.sectors && extent->is_dirty && !extent->is_written_back)
			err = lose_unreadable(dc, extent, cache_bytes + at,
					      extent->start_sector + at / BCFMT_SECTOR_BYTES, n);
		add_bad(&cache_bad, &bad_a);
		add_bad(&backing_bad, &bad_b);
	}
	dc->done_bytes += len;
	dc->ck->read_bytes += len;
	if (err)
		return err;
	check_range_text(text, extent->inode, extent->start_sector,
			 extent->end_sector - extent->start_sector);
	if (cache_bad.sectors)
		err = report_unreadable(dc->ck, extent, &cache_bad, text);
	if (!err && member)
		err = report_backing(dc->ck, member, extent, &backing_bad, different, text);
	return err;
}

static bcfmt_err check_leaf_data(void *arg, const struct bcfmt_node_view *view,
				 const struct bcfmt_extent *extents, size_t n_extents)
{
	struct data_check *dc = arg;
	bcfmt_err err = BCFMT_OK;

	if (view->is_lost_since) {
		struct bcfmt_where where =
			check_where_bucket(dc->ck, "node",
					   bcfmt_ptr_bucket(&dc->ck->set->geo, view->ref->ptr));

		where.sector = view->bad.first_sector;
		err = CHECK_REPORT(dc->ck, NODE_UNREADABLE, &where,
				   BCFMT_U64("sectors", view->bad.sectors),
				   BCFMT_U64("level", view->ref->level),
				   BCFMT_U64("sector", view->bad.first_sector));
	}
	for (size_t i = 0; !err && i < n_extents; i++) {
		if (extents[i].stale)
			continue;
		err = check_extent_data(dc, &extents[i]);
		if (!err && bcfmt_ctx_is_cancelled(dc->ck->ctx))
			err = BCFMT_E_CANCELLED;
	}
	bcfmt_ctx_progress(dc->ck->ctx, "data", dc->done_bytes, 0);
	return err;
}

bcfmt_err pass_data(struct check *ck)
{
	struct data_check dc = { .ck = ck };
	struct bcfmt_tree_visitor visitor = { .arg = &dc, .leaf = check_leaf_data };
	bcfmt_err err = BCFMT_E_NOMEM;

	if (!ck->tree)
		return BCFMT_OK;
	dc.cached = malloc(PIECE_BYTES);
	dc.backed = malloc(PIECE_BYTES);
	dc.is_bad = malloc(PIECE_BYTES / BCFMT_SECTOR_BYTES);
	if (dc.cached && dc.backed && dc.is_bad)
		err = bcfmt_tree_range(ck->tree, (struct bcfmt_pos){ 0, 0 }, bcfmt_pos_max(),
				       &visitor);
	free(dc.cached);
	free(dc.backed);
	free(dc.is_bad);
	return err;
}
