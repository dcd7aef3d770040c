/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Sectors of the cache that belong to two extents. At most one of the two reads what was written
 * for it: the one whose key was written last, since a bucket is filled from its begin on and what
 * lies there was written by who got it last. The entries of the journal tell the order as far back
 * as they go; what none of them has is older. Else a bucket with clean data can be given away where
 * one with dirty data cannot. kernel: bch_alloc_sectors(), bch_can_invalidate_bucket().
 */
#include <stdlib.h>

#include "base/checked.h"
#include "repair/rewrite.h"
#include "set/set_impl.h"

/* What is dropped stays in memory; no set of this world has so much of it. */
#define DROPS_MAX (1u << 20)

struct twice {
	struct rewrite *rw;
	struct bcfmt_extent furthest; /* of those before, the one that reaches furthest */
	bool has_furthest;
};

static bcfmt_err drop(struct twice *tw, const struct bcfmt_extent *extent, uint64_t begin,
		      uint64_t end)
{
	struct rewrite *rw = tw->rw;
	uint64_t at = bcfmt_ptr_sector(extent->ptr);
	struct drop_range *slot;

	if (rw->twice.n == DROPS_MAX)
		return bcfmt_fail(rw->repair->ctx, BCFMT_E_UNSUPPORTED,
				  "%s: more than %u ranges of the cache are used twice",
				  bcfmt_dev_name(rw->set->cache.dev), DROPS_MAX);
	slot = vec_push(&rw->twice, sizeof(*slot));
	if (!slot)
		return bcfmt_fail(rw->repair->ctx, BCFMT_E_NOMEM, "out of memory");
	*slot = (struct drop_range){ { extent->inode, extent->start_sector + (begin - at) },
				     extent->start_sector + (end - at) };
	return BCFMT_OK;
}

/*
 * > 0 when the sector at `place` is a's, < 0 when it is b's, 0 when neither is worth keeping. Where
 * nothing tells whose dirty data it is the first keeps it: half of a chance is more than none, and
 * both are called doubtful.
 */
static bcfmt_err owner_cmp(const struct twice *tw, const struct bcfmt_extent *a,
			   const struct bcfmt_extent *b, uint64_t place, int *order)
{
	const struct bcfmt_extent *of[] = { a, b };
	uint64_t seq[2];
	bcfmt_err err = BCFMT_OK;

	for (unsigned int i = 0; !err && i < 2; i++)
		err = tree_put_seq(tw->rw->tree, of[i]->inode,
				   of[i]->start_sector + (place - bcfmt_ptr_sector(of[i]->ptr)),
				   place, &seq[i]);
	if (err)
		return err;
	*order =
		seq[0] != seq[1] ? (seq[0] > seq[1] ? 1 : -1) : (int)a->is_dirty - (int)b->is_dirty;
	if (!*order && a->is_dirty)
		*order = 1;
	return BCFMT_OK;
}

static uint64_t end_of(const struct bcfmt_extent *extent)
{
	return bcfmt_ptr_sector(extent->ptr) + extent->end_sector - extent->start_sector;
}

static bcfmt_err take_extent(void *arg, const struct bcfmt_extent *extent, uint64_t leaf_ptr)
{
	struct twice *tw = arg;
	const struct bcfmt_set *set = tw->rw->set;
	uint64_t begin = bcfmt_ptr_sector(extent->ptr), end = end_of(extent);
	uint64_t bucket = bcfmt_ptr_bucket(&set->geo, extent->ptr);
	bcfmt_err err = BCFMT_OK;

	(void)leaf_ptr;
	if (extent->stale || bucket >= set->geo.nbuckets ||
	    set->buckets[bucket].use & BCFMT_USE_METADATA)
		return BCFMT_OK;
	if (tw->has_furthest && begin < end_of(&tw->furthest)) {
		uint64_t stop = min_u64(end, end_of(&tw->furthest));
		int order;

		err = owner_cmp(tw, &tw->furthest, extent, begin, &order);
		if (!err && order <= 0)
			err = drop(tw, &tw->furthest, begin, stop);
		if (!err && order >= 0)
			err = drop(tw, extent, begin, stop);
	}
	if (!tw->has_furthest || end >= end_of(&tw->furthest))
		tw->furthest = *extent;
	tw->has_furthest = true;
	return err;
}

static int range_cmp(const void *a, const void *b)
{
	const struct drop_range *x = a, *y = b;
	int order = bcfmt_pos_cmp(x->start, y->start);

	if (order)
		return order;
	return x->end_sector < y->end_sector ? -1 : x->end_sector > y->end_sector;
}

/* Sorted, and joined where they touch. */
static void settle(struct vec *drops)
{
	struct drop_range *range = drops->items;
	size_t n = 0;

	if (drops->n > 1)
		qsort(range, drops->n, sizeof(*range), range_cmp);
	for (size_t i = 0; i < drops->n; i++) {
		struct drop_range *last = n ? &range[n - 1] : NULL;

		if (last && last->start.inode == range[i].start.inode &&
		    last->end_sector >= range[i].start.sector)
			last->end_sector = max_u64(last->end_sector, range[i].end_sector);
		else
			range[n++] = range[i];
	}
	drops->n = n;
}

size_t twice_after(const struct rewrite *rw, uint32_t inode, uint64_t sector)
{
	const struct drop_range *range = rw->twice.items;
	size_t low = 0, high = rw->twice.n;

	while (low < high) {
		size_t mid = low + (high - low) / 2;

		if (range[mid].start.inode < inode ||
		    (range[mid].start.inode == inode && range[mid].end_sector <= sector))
			low = mid + 1;
		else
			high = mid;
	}
	return low;
}

/* Leaves that hold a range do not stay. */
static void loosen(struct rewrite *rw, const struct drop_range *range)
{
	size_t n = bcfmt_tree_leaves(rw->tree);

	for (size_t i = rewrite_leaf_at(rw, range->start); i < n; i++) {
		const struct bcfmt_node_ref *ref = bcfmt_tree_leaf(rw->tree, i);

		if (ref->lo.inode > range->start.inode ||
		    (ref->lo.inode == range->start.inode && ref->lo.sector >= range->end_sector))
			break;
		if (rw->is_kept[i]) {
			uint8_t *marks =
				&rw->buckets->marks[bcfmt_ptr_bucket(&rw->set->geo, ref->ptr)];

			*marks = (uint8_t)((*marks & ~BUCKET_KEPT) | BUCKET_SOURCE);
		}
		rw->is_kept[i] = 0;
	}
}

bcfmt_err twice_find(struct rewrite *rw)
{
	struct twice tw = { .rw = rw };
	bcfmt_err err;

	rw->twice.n = 0;
	err = bcfmt_tree_physical(rw->tree, (struct bcfmt_pos){ 0, 0 }, bcfmt_pos_max(),
				  take_extent, &tw);
	if (err)
		return err;
	settle(&rw->twice);
	for (size_t i = 0; i < rw->twice.n; i++)
		loosen(rw, VEC_AT(&rw->twice, const struct drop_range, i));
	return BCFMT_OK;
}
