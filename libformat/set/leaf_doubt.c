/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What of a leaf that is damaged or missing nothing proves. The entries of the ring that are laid
 * on follow each other without a hole up to the newest, so where one of them says something the
 * last to do so is the last that was written there, whatever became of the leaf. Only where all of
 * them are silent the leaf's own word would count. (Where the last word is stale its data was
 * cleaned, moved or lost; that is told extent by extent.)
 */
#include <stdlib.h>

#include <string.h>

#include "set/tree_impl.h"

/* So many leaves are asked whether the journal knows all that they hold. */
#define ASKED_MAX 64u

static bool has_gens(const struct bcfmt_set *set)
{
	return set->has_all_prios || set->has_older_prios;
}

enum knows_all { KNOWS_ALL_UNKNOWN, KNOWS_ALL_YES, KNOWS_ALL_NO };

static int span_cmp(const void *a, const void *b)
{
	const struct bcfmt_span *x = a, *y = b;
	int order = bcfmt_pos_cmp(x->lo, y->lo);

	return order ? order : bcfmt_pos_cmp(x->hi, y->hi);
}

/* The ranges of the keys, sorted. */
static bcfmt_err take_words(struct worker *worker)
{
	const struct bcfmt_replay_key *keys = worker->replay.items;

	worker->words.n = 0;
	if (vec_reserve(&worker->words, worker->replay.n, sizeof(struct bcfmt_span)))
		return BCFMT_E_NOMEM;
	for (size_t i = 0; i < worker->replay.n; i++)
		*VEC_AT(&worker->words, struct bcfmt_span, worker->words.n++) =
			(struct bcfmt_span){ bcfmt_key_start(&keys[i].key),
					     bcfmt_key_end(&keys[i].key) };
	if (worker->words.n > 1)
		qsort(worker->words.items, worker->words.n, sizeof(struct bcfmt_span), span_cmp);
	return BCFMT_OK;
}

static bcfmt_err add_doubt(struct worker *worker, struct bcfmt_pos lo, struct bcfmt_pos hi)
{
	struct bcfmt_span *slot = vec_push(&worker->doubts, sizeof(*slot));

	if (!slot)
		return BCFMT_E_NOMEM;
	*slot = (struct bcfmt_span){ lo, hi };
	return BCFMT_OK;
}

static bcfmt_err list_doubts(struct worker *worker, struct bcfmt_node_view *view)
{
	struct bcfmt_pos at = view->ref->lo, hi = view->ref->hi;
	bcfmt_err err = take_words(worker);

	worker->doubts.n = 0;
	for (size_t i = 0; !err && i < worker->words.n && bcfmt_pos_cmp(at, hi) < 0; i++) {
		const struct bcfmt_span *word = VEC_AT(&worker->words, struct bcfmt_span, i);

		if (bcfmt_pos_cmp(word->lo, hi) >= 0)
			break;
		if (bcfmt_pos_cmp(word->lo, at) > 0)
			err = add_doubt(worker, at, word->lo);
		if (bcfmt_pos_cmp(word->hi, at) > 0)
			at = word->hi;
	}
	if (!err && bcfmt_pos_cmp(at, hi) < 0)
		err = add_doubt(worker, at, hi);
	view->doubts = worker->doubts.items;
	view->n_doubts = worker->doubts.n;
	return err;
}

/* Every dirty key of the leaf is one of the journal's. */
static bcfmt_err ask_leaf(struct bcfmt_tree *tree, struct worker *worker,
			  const struct bcfmt_node_ref *ref, bool *knows)
{
	struct replay *replay = tree->history ? tree->history : tree->replay;
	struct bcfmt_node_view view;
	bcfmt_err err = ref_read(tree->set, worker, ref, &view);

	if (!err)
		err = replay_slice(replay, ref->lo, ref->hi, &worker->replay);
	if (!err)
		err = leaf_resolve(&worker->leaf, &tree->set->geo, ref, view.node,
				   worker->replay.items, worker->replay.n, tree->set->window_seq);
	*knows = !err && leaf_is_in_journal(&worker->leaf);
	return err;
}

/*
 * Leaves tell whether it is so: each of their dirty keys must have come from the journal. Threads
 * may do this at once, and come to the same end.
 */
static bcfmt_err find_knows_all(struct bcfmt_tree *tree, bool *knows_all)
{
	struct replay *replay = tree->history ? tree->history : tree->replay;
	size_t step = tree->leaves.n / ASKED_MAX + 1;
	struct worker worker;
	bcfmt_err err = BCFMT_OK;

	memset(&worker, 0, sizeof(worker));
	*knows_all = !tree->set->histories.is_found && !tree->is_cut_off &&
		     !replay_has_impossible(replay) && replay_is_of_new_set(replay);
	for (size_t i = 0; !err && *knows_all && i < tree->leaves.n; i += step) {
		const struct bcfmt_node_ref *ref = bcfmt_tree_leaf(tree, i);

		if (ref->sectors)
			err = ask_leaf(tree, &worker, ref, knows_all);
	}
	worker_clear(&worker);
	return err;
}

/*
 * What the leaf lacks cannot have been more than the journal knows. Where it only is out of order
 * nothing is lacking.
 */
static bcfmt_err is_all_known(struct bcfmt_tree *tree, const struct bcfmt_node_view *view,
			      bool *is_known)
{
	int state = __atomic_load_n(&tree->knows_all, __ATOMIC_RELAXED);
	bcfmt_err err;

	*is_known = view->has_all_history && has_gens(tree->set);
	if (!*is_known || tree->is_whole_life ||
	    (view->ref->sectors && !view->ref->is_found && !view->node->fault &&
	     !view->bad.sectors && !view->is_overrun))
		return BCFMT_OK;
	*is_known = state == KNOWS_ALL_YES;
	if (state != KNOWS_ALL_UNKNOWN)
		return BCFMT_OK;
	err = find_knows_all(tree, is_known);
	if (!err)
		__atomic_store_n(&tree->knows_all, *is_known ? KNOWS_ALL_YES : KNOWS_ALL_NO,
				 __ATOMIC_RELAXED);
	return err;
}

/* Bsets before the first that is damaged. */
static uint32_t whole_bsets(const struct bcfmt_node *node)
{
	uint32_t n = 0;

	while (n < node->n_bsets && !node->bsets[n].fault && !node->bsets[n].is_stray)
		n++;
	return n;
}

static int place_cmp(const void *a, const void *b)
{
	const struct bcfmt_extent *x = a, *y = b;
	uint64_t x_at = bcfmt_ptr_sector(x->ptr), y_at = bcfmt_ptr_sector(y->ptr);

	return x_at < y_at ? -1 : x_at > y_at;
}

static uint64_t place_end(const struct bcfmt_extent *extent)
{
	return bcfmt_ptr_sector(extent->ptr) + extent->end_sector - extent->start_sector;
}

/* The key has some sectors of the cache for other sectors than the word of the journal has. */
static bool is_at_odds(const struct bcfmt_extent *word, const struct bcfmt_key *key)
{
	return bcfmt_ptr_sector(word->ptr) < bcfmt_ptr_sector(key->ptr) + bcfmt_key_sectors(key) &&
	       bcfmt_ptr_sector(key->ptr) < place_end(word) &&
	       bcfmt_ptr_gen(word->ptr) == bcfmt_ptr_gen(key->ptr) &&
	       (word->inode != bcfmt_key_inode(key) ||
		word->ptr - (word->start_sector << 8) !=
			key->ptr - (bcfmt_key_start_sector(key) << 8));
}

/*
 * A key of the leaf has a place that the journal knows to be another's: then it was changed, and
 * what it covers now nobody wrote. words: what of the journal is live.
 */
static bool is_any_changed(const struct bcfmt_node_view *view, struct vec *words)
{
	struct bcfmt_node_iter it = bcfmt_node_iter_init(view->node);
	const struct bcfmt_extent *word = words->items;
	struct bcfmt_key key;

	if (words->n > 1)
		qsort(words->items, words->n, sizeof(*word), place_cmp);
	while (bcfmt_node_iter_next(&it, &key)) {
		size_t low = 0, high = words->n;

		if (!bcfmt_key_sectors(&key) || !bcfmt_key_has_data(&key))
			continue;
		while (low < high) {
			size_t mid = low + (high - low) / 2;

			if (place_end(&word[mid]) <= bcfmt_ptr_sector(key.ptr))
				low = mid + 1;
			else
				high = mid;
		}
		for (;
		     low < words->n && bcfmt_ptr_sector(word[low].ptr) <
					       bcfmt_ptr_sector(key.ptr) + bcfmt_key_sectors(&key);
		     low++)
			if (is_at_odds(&word[low], &key))
				return true;
	}
	return false;
}

/*
 * The journal knows all that damaged bsets behind whole ones can have held. Where a whole one has a
 * key of entry e, it was written after that entry was begun; and by then the keys of all entries
 * before the last_seq of the entry before e were in bsets on the disk, this one or those in front
 * of it. So what is behind it are keys of later entries only, and if the ring has all of these their
 * words are the last. The same holds when nothing is seen of the damage but that the leaf lacks what
 * the journal put there: then bsets at its end are lost. kernel: bch_journal_next(), journal_write_unlocked(), bch_btree_leaf_dirty(),
 * btree_node_write_done().
 */
static bcfmt_err is_end_known(struct bcfmt_tree *tree, struct worker *worker,
			      const struct bcfmt_node_view *view, bool *is_known)
{
	struct replay *replay = tree->history ? tree->history : tree->replay;
	const struct bcfmt_replay_key *keys = worker->replay.items;
	struct bcfmt_node whole = *view->node;
	uint64_t first_seq = replay_first_seq(replay);
	bcfmt_err err;

	*is_known = false;
	whole.n_bsets = whole_bsets(view->node);
	if (!(view->node->fault || view->lost_sectors) || !whole.n_bsets || view->ref->is_found ||
	    view->bad.sectors || view->is_disordered || view->is_overrun)
		return BCFMT_OK;
	if (!view->node->fault && is_any_changed(view, &worker->journal.extents))
		return BCFMT_OK;
	err = leaf_resolve(&worker->journal, &tree->set->geo, view->ref, &whole, NULL, 0, 0);
	if (err)
		return err;
	leaf_sort_places(&worker->journal);
	for (size_t i = worker->replay.n; !*is_known && i-- > 0;) {
		const struct bcfmt_key *key = &keys[i].key;

		*is_known = bcfmt_key_has_data(key) &&
			    leaf_has_place(&worker->journal, bcfmt_key_inode(key),
					   bcfmt_key_start_sector(key), key->ptr) &&
			    set_flushed_before(tree->set, keys[i].seq) >= first_seq;
	}
	return BCFMT_OK;
}

bcfmt_err leaf_find_doubts(struct bcfmt_tree *tree, struct worker *worker,
			   struct bcfmt_node_view *view)
{
	struct replay *replay = tree->history ? tree->history : tree->replay;
	bool is_known = view->ref->is_proved;
	bcfmt_err err = is_known ? BCFMT_OK : is_all_known(tree, view, &is_known);

	if (err || is_known)
		return err;
	/* Keys that cannot be may have been the last words, and without gens any can be stale. */
	if (replay_has_impossible(replay) || !has_gens(tree->set) ||
	    tree->set->histories.is_found)
		worker->replay.n = 0;
	else if (!tree->set->cache.faults)
		err = is_end_known(tree, worker, view, &is_known);
	if (err || is_known)
		return err;
	return list_doubts(worker, view);
}
