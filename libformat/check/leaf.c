/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The final extents of one leaf, tree and journal merged: D1 no dirty one is stale, D2 within its
 * device, D4 and J3 not in a bucket of metadata, D5 not too stale, U2 of an inode of the table.
 * Adds up what every inode holds, marks the buckets, and hands the places on to the search for
 * sectors used twice. Called from workers.
 */
#include <stdio.h>
#include <string.h>

#include "base/checked.h"
#include "check/check_impl.h"
#include "check/predict.h"

#define USED_BATCH 256u

struct leaf_check {
	struct check *ck;
	struct bcfmt_where where;
	struct used_range used[USED_BATCH];
	size_t n_used;
	/* Of one inode, added to the common count when it changes. */
	uint32_t inode;
	struct inode_use sum;
	uint64_t sum_extents;
	bool has_node_bucket; /* an extent lies in one, or did before it was stale */
};

static bcfmt_err flush_used(struct leaf_check *lc)
{
	bcfmt_err err;

	if (!lc->n_used)
		return BCFMT_OK;
	pthread_mutex_lock(&lc->ck->lock);
	err = runs_add(lc->ck->used, lc->used, lc->n_used);
	pthread_mutex_unlock(&lc->ck->lock);
	lc->n_used = 0;
	return err;
}

static void flush_sum(struct leaf_check *lc)
{
	struct check *ck = lc->ck;
	struct inode_use *use;

	if (!lc->sum_extents)
		return;
	pthread_mutex_lock(&ck->lock);
	use = lc->inode < ck->set->n_uuids ? &ck->inodes[lc->inode] : &ck->beyond;
	if (lc->sum.dirty_sectors) {
		if (!use->dirty_sectors || lc->sum.dirty_begin_sector < use->dirty_begin_sector)
			use->dirty_begin_sector = lc->sum.dirty_begin_sector;
		use->dirty_end_sector = max_u64(use->dirty_end_sector, lc->sum.dirty_end_sector);
	}
	use->dirty_sectors += lc->sum.dirty_sectors;
	use->redirtied_sectors += lc->sum.redirtied_sectors;
	use->clean_sectors += lc->sum.clean_sectors;
	use->lost_sectors += lc->sum.lost_sectors;
	ck->extents += lc->sum_extents;
	if (use == &ck->beyond) {
		if (!ck->beyond_keys || lc->inode < ck->beyond_first_inode)
			ck->beyond_first_inode = lc->inode;
		ck->beyond_keys += lc->sum_extents;
		if (lc->sum.dirty_sectors)
			ck->beyond_dirty[lc->inode / 8] |= (uint8_t)(1u << lc->inode % 8);
	}
	pthread_mutex_unlock(&ck->lock);
	memset(&lc->sum, 0, sizeof(lc->sum));
	lc->sum_extents = 0;
}

static const char *extent_text(char out[64], const struct bcfmt_extent *extent)
{
	return check_range_text(out, extent->inode, extent->start_sector,
				extent->end_sector - extent->start_sector);
}

static bool is_node_bucket(const struct leaf_check *lc, const struct bcfmt_extent *extent)
{
	const struct bcfmt_set *set = lc->ck->set;
	uint64_t bucket = bcfmt_ptr_bucket(&set->geo, extent->ptr);

	return bucket < set->geo.nbuckets &&
	       __atomic_load_n(&set->buckets[bucket].use, __ATOMIC_RELAXED) & BCFMT_USE_NODE;
}

static bcfmt_err check_stale(struct leaf_check *lc, const struct bcfmt_extent *extent)
{
	uint64_t sectors = extent->end_sector - extent->start_sector;
	char text[64];

	lc->has_node_bucket |= is_node_bucket(lc, extent);
	if (extent->stale > BCFMT_STALE_MAX) {
		bcfmt_err err = CHECK_REPORT(lc->ck, EXTENT_TOO_STALE, &lc->where,
					     BCFMT_TEXT("text", extent_text(text, extent)),
					     BCFMT_U64("stale", extent->stale));

		if (!err)
			err = predict_too_stale(lc->ck, extent->inode, extent->stale);
		if (err)
			return err;
	}
	if (!extent->is_dirty || extent->is_written_back)
		return BCFMT_OK;
	lc->sum.lost_sectors += sectors;
	return CHECK_REPORT(lc->ck, EXTENT_STALE_DIRTY, &lc->where,
			    BCFMT_U64("dirty", sectors * BCFMT_SECTOR_BYTES),
			    BCFMT_TEXT("text", extent_text(text, extent)),
			    BCFMT_U64("stale", extent->stale));
}

/* D2: where the device that the inode means is known. */
static bcfmt_err check_bounds(struct leaf_check *lc, const struct bcfmt_extent *extent)
{
	const struct bcfmt_set *set = lc->ck->set;
	const struct bcfmt_uuid_entry *entry;
	const struct bcfmt_member *member;
	const char *kind = extent->is_dirty ? "dirty" : "clean";
	uint64_t begin = 0, end = UINT64_MAX;
	char text[64];

	if (extent->inode >= set->n_uuids)
		return BCFMT_OK;
	entry = &set->uuids[extent->inode];
	if (bcfmt_uuid_state(entry) != BCFMT_UUID_LIVE)
		return BCFMT_OK;
	member = bcfmt_set_backing(set, entry->uuid);
	if (entry->flags & BCFMT_UUID_FLASH_ONLY) {
		end = entry->sectors;
	} else if (member) {
		begin = member->super.data_offset_sectors;
		end = bcfmt_dev_bytes(member->dev) / BCFMT_SECTOR_BYTES;
	}
	if (extent->end_sector > end)
		return CHECK_REPORT(lc->ck, EXTENT_PAST_DEVICE, &lc->where,
				    BCFMT_TEXT("kind", kind),
				    BCFMT_TEXT("text", extent_text(text, extent)),
				    BCFMT_U64("end", end));
	if (extent->start_sector < begin)
		return CHECK_REPORT(lc->ck, EXTENT_BEFORE_DATA, &lc->where,
				    BCFMT_TEXT("kind", kind),
				    BCFMT_TEXT("text", extent_text(text, extent)),
				    BCFMT_U64("offset", begin));
	return BCFMT_OK;
}

/* D4, J3: true when the bucket belongs to metadata and the finding is made. */
static bool is_in_metadata(struct leaf_check *lc, const struct bcfmt_extent *extent,
			   uint64_t bucket, bcfmt_err *err)
{
	unsigned int use = __atomic_load_n(&lc->ck->set->buckets[bucket].use, __ATOMIC_RELAXED);
	char text[64];

	*err = BCFMT_OK;
	if (!(use & BCFMT_USE_METADATA))
		return false;
	lc->has_node_bucket |= (use & BCFMT_USE_NODE) != 0;
	if (extent->is_dirty && !extent->is_written_back)
		*err = check_loss(lc->ck, BCFMT_LOSS_PLACE, extent->inode, extent->start_sector,
				  extent->end_sector);
	if (*err)
		return true;
	if (use & BCFMT_USE_JOURNAL)
		*err = CHECK_REPORT(lc->ck, EXTENT_IN_JOURNAL, &lc->where,
				    BCFMT_TEXT("text", extent_text(text, extent)));
	else
		*err = CHECK_REPORT(lc->ck, EXTENT_IN_METADATA, &lc->where,
				    BCFMT_TEXT("text", extent_text(text, extent)),
				    BCFMT_TEXT("owner", check_owner(use)));
	return true;
}

static void add_bucket_sectors(struct bcfmt_bucket *bucket, uint64_t sectors)
{
	uint16_t old = __atomic_load_n(&bucket->sectors, __ATOMIC_RELAXED), sum;

	do {
		sum = (uint16_t)min_u64(UINT16_MAX, old + sectors);
	} while (!__atomic_compare_exchange_n(&bucket->sectors, &old, sum, true, __ATOMIC_RELAXED,
					      __ATOMIC_RELAXED));
}

static bcfmt_err add_used(struct leaf_check *lc, const struct bcfmt_extent *extent)
{
	if (lc->n_used == USED_BATCH) {
		bcfmt_err err = flush_used(lc);

		if (err)
			return err;
	}
	lc->used[lc->n_used++] = (struct used_range){
		.cache_sector = bcfmt_ptr_sector(extent->ptr),
		.start_sector = extent->start_sector,
		.sectors = (uint32_t)(extent->end_sector - extent->start_sector),
		.inode = extent->inode,
	};
	return BCFMT_OK;
}

/* Extents of an inode come in the order of their sectors. */
static void add_dirty(struct inode_use *sum, const struct bcfmt_extent *extent)
{
	if (!sum->dirty_sectors)
		sum->dirty_begin_sector = extent->start_sector;
	sum->dirty_end_sector = extent->end_sector;
	sum->dirty_sectors += extent->end_sector - extent->start_sector;
}

static bcfmt_err check_extent(struct leaf_check *lc, const struct bcfmt_extent *extent)
{
	struct bcfmt_set *set = lc->ck->set;
	uint64_t bucket = bcfmt_ptr_bucket(&set->geo, extent->ptr);
	uint64_t sectors = extent->end_sector - extent->start_sector;
	bcfmt_err err;

	lc->where.bucket = bucket;
	lc->where.sector = bcfmt_ptr_sector(extent->ptr);
	lc->sum_extents++;
	if (extent->stale)
		return check_stale(lc, extent);
	/* The map ends with the device where that is shorter than its superblock says. */
	if (bucket >= set->geo.nbuckets) {
		lc->sum.lost_sectors += extent->is_dirty && !extent->is_written_back ? sectors : 0;
		return BCFMT_OK;
	}
	if (extent->is_written_back)
		lc->sum.redirtied_sectors += sectors;
	else if (extent->is_dirty)
		add_dirty(&lc->sum, extent);
	else
		lc->sum.clean_sectors += sectors;
	err = check_bounds(lc, extent);
	if (err || is_in_metadata(lc, extent, bucket, &err))
		return err;
	__atomic_fetch_or(&set->buckets[bucket].use,
			  extent->is_dirty ? BCFMT_USE_DIRTY : BCFMT_USE_CLEAN, __ATOMIC_RELAXED);
	add_bucket_sectors(&set->buckets[bucket], sectors);
	return add_used(lc, extent);
}

static bcfmt_err report_lost(struct leaf_check *lc, const struct bcfmt_node_view *view)
{
	struct bcfmt_set *set = lc->ck->set;
	uint64_t bucket = bcfmt_ptr_bucket(&set->geo, view->ref->ptr);
	struct bcfmt_where where = check_where_bucket(lc->ck, "node", bucket);
	char text[64];

	__atomic_fetch_or(&set->buckets[bucket].use, BCFMT_USE_DAMAGED, __ATOMIC_RELAXED);
	return CHECK_REPORT(lc->ck, NODE_LOST_KEYS, &where,
			    BCFMT_U64("sectors", view->lost_sectors),
			    BCFMT_U64("seq", set->newest.last_seq),
			    BCFMT_TEXT("text", check_pos_text(text, view->lost_at)));
}

bcfmt_err check_leaf(void *arg, const struct bcfmt_node_view *view,
		     const struct bcfmt_extent *extents, size_t n_extents)
{
	struct leaf_check lc = { .ck = arg, .where = check_where(arg, "key") };
	bcfmt_err err = BCFMT_OK;

	/*
	 * A journal that goes back to its first entry proves what a leaf in disorder holds; of what
	 * is missing it tells all that was written, but nothing says that this was all.
	 */
	if (view->lost_sectors)
		__atomic_store_n(&lc.ck->has_lost_keys, true, __ATOMIC_RELAXED);
	else if (view->uses_history &&
		 (!view->has_all_history || !view->ref->sectors || view->node->fault ||
		  view->bad.sectors || view->is_overrun))
		__atomic_store_n(&lc.ck->is_doubtful, true, __ATOMIC_RELAXED);
	err = predict_leaf_replay(lc.ck, view);
	if (!err)
		err = bcfmt_losses_leaf(lc.ck->verdict->losses, lc.ck->set, view, extents,
					n_extents);
	if (!err && view->lost_sectors)
		err = report_lost(&lc, view);
	for (size_t i = 0; !err && i < n_extents; i++) {
		if (extents[i].inode != lc.inode)
			flush_sum(&lc);
		lc.inode = extents[i].inode;
		err = check_extent(&lc, &extents[i]);
	}
	flush_sum(&lc);
	if (!err)
		err = predict_leaf_marks(lc.ck, view, lc.has_node_bucket);
	return err ? err : flush_used(&lc);
}
