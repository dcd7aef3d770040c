/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Keys that a leaf has lost. A node does not say how many bsets it has, so that a lost last one
 * leaves no trace in it, nor does a key that was changed into another one behind a right checksum.
 * But the journal remembers: before an entry drops out of the replay window its keys are in the
 * leaf on the disk. Where the journal's last word is not there, and nothing is, or what an even
 * older entry put there, the leaf has lost it. (Moving gc moves data without telling the journal: a
 * place that no entry knows proves nothing, unless its bset is older than the entry of the last
 * word. But it moves it to another bucket: another place in the bucket of the journal's word is one
 * that nothing can have put there.)
 *
 * Something older is a proof, whatever the last word was, data or none: a kernel that drops a key
 * has cut before what lay below. Nothing at all is a sign only: after cleaning, the bucket of the
 * key may have been given up, a rewrite of the leaf may have dropped the key, and the rise of the
 * gen may not be on the disk yet. But a leaf that was begun before the entry was not rewritten
 * since. And no kernel gives up a bucket that holds dirty data: it is lost too where the first walk
 * over all leaves has noted live dirty data in the bucket of one of the missing keys. kernel:
 * bch_extent_insert_fixup(), bch_can_invalidate_bucket(), btree_gc_rewrite_node(), bch_moving_gc().
 */
#include "base/checked.h"
#include "set/tree_impl.h"

/* A search in one leaf. */
struct search {
	const struct bcfmt_set *set;
	struct worker *worker;
	const struct bcfmt_node_view *view;
	bool has_age; /* worker->age is of this leaf */
	bcfmt_err err;
	uint64_t lost_sectors;
	struct bcfmt_pos lost_at; /* the first of them */
	bool is_proved;
};

/* What the journal said last of some sectors, before the window. */
struct word {
	const struct bcfmt_extent *extent; /* ptr 0: that they have no data */
	uint64_t seq;
	bool is_live; /* dirty, and not given up since */
};

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

static bool learn_age(struct search *s)
{
	if (!s->has_age && !s->err)
		s->err = leaf_age_learn(s->set, s->worker, s->view);
	s->has_age = true;
	return !s->err;
}

/*
 * The bset and those in front of it are older than the entry of the word. So that one wrong number
 * proves nothing the two entries before it have to say so.
 */
static bool is_bset_before(struct search *s, uint32_t bset, const struct word *word)
{
	uint64_t flushed_seq;

	if (s->view->node->n_bsets < 2 || word->seq < 3)
		return false;
	flushed_seq = min_u64(set_flushed_before(s->set, word->seq),
			      set_flushed_before(s->set, word->seq - 1));
	return flushed_seq && learn_age(s) &&
	       leaf_age_is_before(&s->worker->age, bset, flushed_seq);
}

static bool has_dirty(const struct bcfmt_set *set, uint64_t ptr)
{
	const struct bcfmt_bucket *bucket = &set->buckets[bcfmt_ptr_bucket(&set->geo, ptr)];

	return __atomic_load_n(&bucket->gen_flags, __ATOMIC_RELAXED) & BUCKET_HAS_DIRTY;
}

static void add_lost(struct search *s, const struct word *word, uint64_t begin, uint64_t end)
{
	if (!s->lost_sectors)
		s->lost_at = (struct bcfmt_pos){ word->extent->inode, begin };
	s->lost_sectors += end - begin;
	s->is_proved |= word->is_live && has_dirty(s->set, word->extent->ptr);
}

/*
 * The leaf has nothing where the word has data. A placeholder is nothing, too, and newer; but none
 * is dirty: such a one was a key with data. kernel: bch_btree_insert_check_key().
 */
static void look_at_hole(struct search *s, const struct word *word, uint64_t begin, uint64_t end)
{
	const struct leaf_age *age = &s->worker->age;

	if (!word->is_live)
		return;
	add_lost(s, word, begin, end);
	if (s->is_proved || !s->set->has_all_prios || (s->view->placeholders && !learn_age(s)))
		return;
	s->is_proved = s->view->placeholders && age->has_dirty_placeholder;
	if (!s->is_proved && !(s->view->placeholders && age->has_placeholder))
		s->is_proved = is_bset_before(s, 0, word);
}

/* What the leaf has there is older than the word. */
static bool is_older(struct search *s, const struct word *word, uint64_t begin, uint64_t ptr)
{
	uint32_t inode = word->extent->inode;

	if (leaf_has_place(&s->worker->journal, inode, begin, ptr))
		return true;
	/* To ask for the bset fills the age. */
	return is_bset_before(s, 0, word) &&
	       is_bset_before(s, leaf_age_bset(&s->worker->age, inode, begin, ptr), word);
}

/* The leaf has something at these sectors of the word: extent, at its own place ptr. */
static void look_at_extent(struct search *s, const struct word *word,
			   const struct bcfmt_extent *extent, uint64_t begin, uint64_t end)
{
	uint64_t ptr = extent->ptr + ((begin - extent->start_sector) << 8);
	uint64_t want = word->extent->ptr;
	bool is_proof;

	if (want)
		want += (begin - word->extent->start_sector) << 8;
	if (ptr == want || (!word->is_live && extent->stale))
		return;
	is_proof = extent->source == BCFMT_FROM_TREE && is_older(s, word, begin, ptr);
	if (is_proof || (word->is_live && is_same_bucket(&s->set->geo, ptr, want)))
		add_lost(s, word, begin, end);
	s->is_proved |= is_proof && !extent->stale;
}

/* Sectors of the word for which the leaf has nothing, something older or something impossible. */
static void look_at_word(struct search *s, const struct word *word)
{
	const struct vec *extents = &s->worker->leaf.extents;
	const struct bcfmt_extent *extent = extents->items;
	uint64_t at = word->extent->start_sector, until = word->extent->end_sector;

	for (size_t i = extent_after(extents, word->extent->inode, at); at < until; i++) {
		bool is_there = i < extents->n && extent[i].inode == word->extent->inode &&
				extent[i].start_sector < until;
		uint64_t begin = is_there ? max_u64(extent[i].start_sector, at) : until;
		uint64_t end = is_there ? min_u64(extent[i].end_sector, until) : until;

		if (begin > at)
			look_at_hole(s, word, at, begin);
		if (is_there)
			look_at_extent(s, word, &extent[i], begin, end);
		at = end;
	}
}

/* Last word of the journal, put there before the window, and not given up since. */
static bool is_live(struct bcfmt_set *set, const struct bcfmt_extent *extent)
{
	uint64_t bucket = bcfmt_ptr_bucket(&set->geo, extent->ptr);

	if (extent->source != BCFMT_FROM_HISTORY || !extent->is_dirty || !extent->ptr ||
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

bool leaf_lacks_keys(const struct worker *worker)
{
	const struct bcfmt_extent *extent = worker->leaf.extents.items;

	for (size_t i = 0; i < worker->leaf.extents.n; i++)
		if (extent[i].stale && extent[i].is_dirty && !extent[i].is_written_back &&
		    extent[i].source == BCFMT_FROM_TREE)
			return true;
	return false;
}

static void look_at_all(struct search *s, struct bcfmt_set *set)
{
	const struct leaf_scratch *journal = &s->worker->journal;
	const struct bcfmt_extent *extent = journal->extents.items;
	const struct bcfmt_replay_key *keys = s->worker->replay.items;

	for (size_t i = 0; !s->err && i < journal->extents.n; i++) {
		struct word word = {
			.extent = &extent[i],
			.seq = keys[*VEC_AT(&journal->orders, uint32_t, i)].seq,
			.is_live = is_live(set, &extent[i]),
		};

		if (extent[i].source == BCFMT_FROM_HISTORY)
			look_at_word(s, &word);
	}
}

bcfmt_err leaf_find_lost(struct bcfmt_tree *tree, struct worker *worker,
			 struct bcfmt_node_view *view)
{
	static const struct bcfmt_node nothing;
	struct bcfmt_set *set = tree->set;
	struct search s = { .set = set, .worker = worker, .view = view };

	worker->journal.keeps_erased = true;
	s.err = leaf_resolve(&worker->journal, &set->geo, view->ref, &nothing, worker->replay.items,
			     worker->replay.n, set->window_seq);
	worker->journal.keeps_erased = false;
	if (s.err)
		return s.err;
	leaf_sort_places(&worker->journal);
	look_at_all(&s, set);
	keep_live(set, &worker->journal.extents);
	if (s.err || !s.lost_sectors)
		return s.err;
	if (!tree->has_final_gens) {
		__atomic_store_n(&tree->has_suspect, 1, __ATOMIC_RELAXED);
		return BCFMT_OK;
	}
	if (s.is_proved) {
		view->lost_sectors = s.lost_sectors;
		view->lost_at = s.lost_at;
	}
	return BCFMT_OK;
}
