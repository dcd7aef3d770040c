/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Keys that a leaf has lost. A node does not say how many bsets it has, so that a lost last one
 * leaves no trace in it, nor does a key that was changed into another one behind a right checksum.
 * But the journal remembers: before an entry drops out of the replay window its keys are in the
 * leaf on the disk. Where the journal's last word is not there, and nothing is, or what an even
 * older entry put there, the leaf has lost it. (Moving gc moves data without telling the journal: a
 * place that no entry knows proves nothing. But it moves it to another bucket: another place in the
 * bucket of the journal's word is one that nothing can have put there.)
 *
 * That is a sign, no proof: after cleaning, the bucket of the key may have been given up, a rewrite
 * of the leaf may have dropped the key, and the rise of the gen may not be on the disk yet. But no
 * kernel gives up a bucket that holds dirty data. So one of the missing keys must share its bucket
 * with live dirty data, which the first walk over all leaves has noted. kernel:
 * bch_can_invalidate_bucket(), btree_gc_rewrite_node(), bch_moving_gc().
 */
#include "set/tree_impl.h"

/* First of the sorted extents that ends after the position. */
static size_t extent_after(const struct vec *extents, uint32_t inode, uint64_t sector)
{
	const struct bcfmt_extent *extent = extents->items;
	size_t low = 0, high = extents->n;

	while (low < high) {
		size_t mid = low + (high - low) / 2;

		if (extent[mid].inode < inode ||
		    (extent[mid].inode == inode && extent[mid].end_sector <= sector))
			low = mid + 1;
		else
			high = mid;
	}
	return low;
}

/* Another place in the same bucket, which has not been used anew in between. */
static bool is_same_bucket(const struct bcfmt_geometry *geo, uint64_t ptr, uint64_t want)
{
	return bcfmt_ptr_bucket(geo, ptr) == bcfmt_ptr_bucket(geo, want) &&
	       bcfmt_ptr_gen(ptr) == bcfmt_ptr_gen(want);
}

/*
 * Sectors of the journal's last word for which the leaf has nothing, something older or something
 * impossible; *first is the first of them.
 */
static uint64_t count_lost(const struct bcfmt_geometry *geo, const struct worker *worker,
			   const struct bcfmt_extent *word, uint64_t *first)
{
	const struct vec *extents = &worker->leaf.extents;
	const struct bcfmt_extent *extent = extents->items;
	uint64_t at = word->start_sector, lost = 0;

	for (size_t i = extent_after(extents, word->inode, at); at < word->end_sector; i++) {
		bool is_there = i < extents->n && extent[i].inode == word->inode &&
				extent[i].start_sector < word->end_sector;
		uint64_t begin = is_there && extent[i].start_sector > at ?
					 extent[i].start_sector : is_there ? at : word->end_sector;
		uint64_t end = is_there && extent[i].end_sector < word->end_sector ?
				       extent[i].end_sector : word->end_sector;
		uint64_t ptr, want;

		if (begin > at && !lost)
			*first = at;
		lost += begin - at;
		at = end;
		if (!is_there)
			continue;
		ptr = extent[i].ptr + ((begin - extent[i].start_sector) << 8);
		want = word->ptr + ((begin - word->start_sector) << 8);
		if (ptr == want || !(is_same_bucket(geo, ptr, want) ||
				     leaf_has_place(&worker->journal, word->inode, begin, ptr)))
			continue;
		if (!lost)
			*first = begin;
		lost += end - begin;
	}
	return lost;
}

/* Last word of the journal, put there before the window, and not given up since. */
static bool is_live(struct bcfmt_set *set, const struct bcfmt_extent *extent)
{
	uint64_t bucket = bcfmt_ptr_bucket(&set->geo, extent->ptr);

	if (extent->source != BCFMT_FROM_HISTORY || !extent->is_dirty ||
	    bucket >= set->geo.nbuckets ||
	    __atomic_load_n(&set->buckets[bucket].use, __ATOMIC_RELAXED) & BCFMT_USE_METADATA)
		return false;
	/* Another leaf may yet raise the gen. */
	set_mark_bucket(set, bucket, BUCKET_GEN_JUDGED);
	return !bcfmt_set_stale(set, extent->ptr);
}

/* Leaves of the journal's last words those that count. */
static void keep_live(struct bcfmt_set *set, struct vec *journal)
{
	struct bcfmt_extent *extent = journal->items;
	size_t n = 0;

	for (size_t i = 0; i < journal->n; i++)
		if (is_live(set, &extent[i]))
			extent[n++] = extent[i];
	journal->n = n;
}

static bool is_any_lost(const struct bcfmt_geometry *geo, const struct worker *worker)
{
	const struct bcfmt_extent *extent = worker->journal.extents.items;
	uint64_t first;

	for (size_t i = 0; i < worker->journal.extents.n; i++)
		if (count_lost(geo, worker, &extent[i], &first))
			return true;
	return false;
}

static bool has_dirty(const struct bcfmt_set *set, uint64_t ptr)
{
	const struct bcfmt_bucket *bucket = &set->buckets[bcfmt_ptr_bucket(&set->geo, ptr)];

	return __atomic_load_n(&bucket->gen_flags, __ATOMIC_RELAXED) & BUCKET_HAS_DIRTY;
}

bool leaf_lacks_keys(const struct worker *worker)
{
	const struct bcfmt_extent *extent = worker->leaf.extents.items;

	for (size_t i = 0; i < worker->leaf.extents.n; i++)
		if (extent[i].stale && extent[i].is_dirty && !extent[i].is_written_back &&
		    extent[i].source == BCFMT_FROM_TREE)
			return true;
	return false;
}

bcfmt_err leaf_find_lost(struct bcfmt_tree *tree, struct worker *worker,
			 struct bcfmt_node_view *view)
{
	static const struct bcfmt_node nothing;
	struct bcfmt_set *set = tree->set;
	const struct bcfmt_extent *extent;
	bool is_proved = false;
	bcfmt_err err = leaf_resolve(&worker->journal, &set->geo, view->ref, &nothing,
				     worker->replay.items, worker->replay.n, set->window_seq);

	if (err)
		return err;
	keep_live(set, &worker->journal.extents);
	leaf_sort_places(&worker->journal);
	if (!is_any_lost(&set->geo, worker))
		return BCFMT_OK;
	if (!tree->has_final_gens) {
		__atomic_store_n(&tree->has_suspect, 1, __ATOMIC_RELAXED);
		return BCFMT_OK;
	}
	extent = worker->journal.extents.items;
	for (size_t i = 0; i < worker->journal.extents.n; i++) {
		uint64_t first = 0, lost = count_lost(&set->geo, worker, &extent[i], &first);

		if (lost && !view->lost_sectors)
			view->lost_at = (struct bcfmt_pos){ extent[i].inode, first };
		view->lost_sectors += lost;
		is_proved |= lost && has_dirty(set, extent[i].ptr);
	}
	if (!is_proved)
		view->lost_sectors = 0;
	return BCFMT_OK;
}
