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
#include "set/bounds.h"
#include "set/plain.h"

struct leaf_check {
	struct check *ck;
	const struct bcfmt_node_view *view;
	struct used_shard *shard;
	struct bcfmt_where where; /* of the extent that is reported */
	/* Of one inode, added to the common count when it changes. */
	uint32_t inode;
	struct inode_use sum;
	uint64_t sum_extents;
	/* Where the data of that inode can be; 0 and UINT64_MAX: not known. */
	uint64_t begin_sector;
	uint64_t end_sector;
	bool has_node_bucket; /* an extent lies in one, or did before it was stale */
};

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

/* D2: where the device that the inode means is known. */
static void take_inode(struct leaf_check *lc, uint32_t inode)
{
	flush_sum(lc);
	lc->inode = inode;
	set_inode_bounds(lc->ck->set, inode, &lc->begin_sector, &lc->end_sector);
}

static const struct bcfmt_where *where_of(struct leaf_check *lc, const struct bcfmt_extent *extent)
{
	lc->where.bucket = bcfmt_ptr_bucket(&lc->ck->set->geo, extent->ptr);
	lc->where.sector = bcfmt_ptr_sector(extent->ptr);
	return &lc->where;
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
		bcfmt_err err = CHECK_REPORT(lc->ck, EXTENT_TOO_STALE, where_of(lc, extent),
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
	return CHECK_REPORT(lc->ck, EXTENT_STALE_DIRTY, where_of(lc, extent),
			    BCFMT_U64("dirty", sectors * BCFMT_SECTOR_BYTES),
			    BCFMT_TEXT("text", extent_text(text, extent)),
			    BCFMT_U64("stale", extent->stale));
}

static bool is_out_of_bounds(const struct leaf_check *lc, const struct bcfmt_extent *extent)
{
	return extent->end_sector > lc->end_sector || extent->start_sector < lc->begin_sector;
}

static bcfmt_err report_bounds(struct leaf_check *lc, const struct bcfmt_extent *extent)
{
	const char *kind = extent->is_dirty ? "dirty" : "clean";
	char text[64];

	if (extent->end_sector > lc->end_sector)
		return CHECK_REPORT(lc->ck, EXTENT_PAST_DEVICE, where_of(lc, extent),
				    BCFMT_TEXT("kind", kind),
				    BCFMT_TEXT("text", extent_text(text, extent)),
				    BCFMT_U64("end", lc->end_sector));
	return CHECK_REPORT(lc->ck, EXTENT_BEFORE_DATA, where_of(lc, extent),
			    BCFMT_TEXT("kind", kind), BCFMT_TEXT("text", extent_text(text, extent)),
			    BCFMT_U64("offset", lc->begin_sector));
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
		*err = CHECK_REPORT(lc->ck, EXTENT_IN_JOURNAL, where_of(lc, extent),
				    BCFMT_TEXT("text", extent_text(text, extent)));
	else
		*err = CHECK_REPORT(lc->ck, EXTENT_IN_METADATA, where_of(lc, extent),
				    BCFMT_TEXT("text", extent_text(text, extent)),
				    BCFMT_TEXT("owner", check_owner(use)));
	return true;
}

/* Extents of an inode come in the order of their sectors. */
static inline void add_dirty(struct inode_use *sum, const struct bcfmt_extent *extent)
{
	if (!sum->dirty_sectors)
		sum->dirty_begin_sector = extent->start_sector;
	sum->dirty_end_sector = extent->end_sector;
	sum->dirty_sectors += extent->end_sector - extent->start_sector;
}

static inline bcfmt_err check_extent(struct leaf_check *lc, const struct bcfmt_extent *extent)
{
	const struct bcfmt_set *set = lc->ck->set;
	uint64_t bucket = bcfmt_ptr_bucket(&set->geo, extent->ptr);
	uint64_t sectors = extent->end_sector - extent->start_sector;
	bcfmt_err err = BCFMT_OK;

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
	if (is_out_of_bounds(lc, extent))
		err = report_bounds(lc, extent);
	/* Of a leaf as it was written it is known that its buckets hold data. */
	if (err || (!lc->view->is_as_written && is_in_metadata(lc, extent, bucket, &err)))
		return err;
	return used_add(lc->ck->used, lc->shard, bcfmt_ptr_sector(extent->ptr), sectors);
}

static bcfmt_err check_extents(struct leaf_check *lc, const struct bcfmt_extent *extents,
			       size_t n_extents)
{
	bcfmt_err err = BCFMT_OK;

	lc->shard = used_take(lc->ck->used);
	if (!lc->shard)
		return BCFMT_E_NOMEM;
	for (size_t i = 0; !err && i < n_extents; i++) {
		if (!i || extents[i].inode != lc->inode)
			take_inode(lc, extents[i].inode);
		lc->sum_extents++;
		err = check_extent(lc, &extents[i]);
	}
	flush_sum(lc);
	used_give(lc->ck->used, lc->shard);
	return err;
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
			    BCFMT_U64("seq", set->window_seq),
			    BCFMT_TEXT("text", check_pos_text(text, view->lost_at)));
}

/* What neither the leaf nor the journal proves. */
static bcfmt_err report_doubts(struct leaf_check *lc, const struct bcfmt_node_view *view)
{
	struct bcfmt_set *set = lc->ck->set;
	struct bcfmt_where where = check_where(lc->ck, "node");
	const struct bcfmt_span *last = &view->doubts[view->n_doubts - 1];
	const char *why = !view->ref->sectors	? "there is no leaf" :
			  view->ref->is_found	? "the leaf was found by a search" :
			  view->is_disordered	? "the leaf is out of order" :
			  view->lacks_keys	? "keys of the leaf are missing" :
						  "the leaf is damaged";
	char from[64], to[64];

	__atomic_store_n(&lc->ck->is_doubtful, true, __ATOMIC_RELAXED);
	if (view->ref->sectors)
		where = check_where_bucket(lc->ck, "node",
					   bcfmt_ptr_bucket(&set->geo, view->ref->ptr));
	return CHECK_REPORT(lc->ck, LEAF_DOUBTFUL, &where, BCFMT_U64("ranges", view->n_doubts),
			    BCFMT_TEXT("from", check_pos_text(from, view->doubts[0].lo)),
			    BCFMT_TEXT("to", check_pos_text(to, last->hi)),
			    BCFMT_TEXT("why", why));
}

bcfmt_err check_leaf(void *arg, const struct bcfmt_node_view *view,
		     const struct bcfmt_extent *extents, size_t n_extents)
{
	struct leaf_check lc = { .ck = arg, .view = view, .where = check_where(arg, "key") };
	bcfmt_err err = BCFMT_OK;

	if (view->lost_sectors)
		__atomic_store_n(&lc.ck->has_lost_keys, true, __ATOMIC_RELAXED);
	else if (view->n_doubts)
		err = report_doubts(&lc, view);
	if (!err)
		err = predict_leaf_replay(lc.ck, view);
	if (!err)
		err = bcfmt_losses_leaf(lc.ck->verdict->losses, lc.ck->set, view, extents,
					n_extents);
	if (!err && view->lost_sectors)
		err = report_lost(&lc, view);
	if (!err && n_extents)
		err = check_extents(&lc, extents, n_extents);
	return err ? err : predict_leaf_marks(lc.ck, view, lc.has_node_bucket);
}

static bcfmt_err report_plain_bounds(struct leaf_check *lc, const uint8_t *raw, size_t n_keys)
{
	bcfmt_err err = BCFMT_OK;

	for (; !err && n_keys; n_keys--, raw += PLAIN_KEY_BYTES) {
		struct bcfmt_extent extent = plain_extent(raw);

		if (is_out_of_bounds(lc, &extent))
			err = report_bounds(lc, &extent);
	}
	return err;
}

/*
 * Keys of one inode that are live extents in buckets of data, as they stand: the sums and bounds
 * are all there is to check. They are in order: the first and the last tell of the bounds.
 */
static bcfmt_err check_plain_keys(struct leaf_check *lc, const uint8_t *raw, size_t n_keys)
{
	struct bcfmt_extent first = plain_extent(raw);
	struct bcfmt_extent last = plain_extent(raw + (n_keys - 1) * PLAIN_KEY_BYTES);
	const uint8_t *at = raw;
	uint64_t dirty_sectors = 0, all_sectors = 0;
	bcfmt_err err = BCFMT_OK;

	for (size_t i = 0; !err && i < n_keys; i++, at += PLAIN_KEY_BYTES) {
		struct bcfmt_key key = plain_key(at);
		uint64_t sectors = bcfmt_key_sectors(&key);

		all_sectors += sectors;
		dirty_sectors += bcfmt_key_is_dirty(&key) ? sectors : 0;
		err = used_add(lc->ck->used, lc->shard, bcfmt_ptr_sector(key.ptr), sectors);
	}
	lc->sum_extents += n_keys;
	/* Of a run that has dirty keys its bounds are taken, not those of the first and last. */
	if (dirty_sectors) {
		if (!lc->sum.dirty_sectors)
			lc->sum.dirty_begin_sector = first.start_sector;
		lc->sum.dirty_end_sector = last.end_sector;
	}
	lc->sum.dirty_sectors += dirty_sectors;
	lc->sum.clean_sectors += all_sectors - dirty_sectors;
	if (!err && (is_out_of_bounds(lc, &first) || is_out_of_bounds(lc, &last)))
		err = report_plain_bounds(lc, raw, n_keys);
	return err;
}

bcfmt_err check_plain(void *arg, const struct bcfmt_node_view *view)
{
	struct leaf_check lc = { .ck = arg, .view = view, .where = check_where(arg, "key") };
	const uint8_t *raw = view->node->bsets[0].keys;
	bcfmt_err err = BCFMT_OK;
	size_t n_run;

	lc.shard = used_take(lc.ck->used);
	if (!lc.shard)
		return BCFMT_E_NOMEM;
	for (size_t left = view->keys; !err && left;
	     left -= n_run, raw += n_run * PLAIN_KEY_BYTES) {
		n_run = plain_run(raw, left);
		take_inode(&lc, plain_extent(raw).inode);
		err = check_plain_keys(&lc, raw, n_run);
	}
	flush_sum(&lc);
	used_give(lc.ck->used, lc.shard);
	return err;
}
