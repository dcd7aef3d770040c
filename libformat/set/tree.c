/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Walks over the leaves of a tree: all of them in device order, or a range in key order. */
#include <stdlib.h>
#include <string.h>

#include "codec/key_iter.h"
#include "set/found.h"
#include "set/standing.h"
#include "set/tree_impl.h"

struct leaf_walk {
	struct bcfmt_tree *tree;
	const struct bcfmt_tree_visitor *visitor;
	int gen_rose; /* atomic: after it had been judged by */
};

static struct replay *journal_of(const struct bcfmt_tree *tree)
{
	return tree->history ? tree->history : tree->replay;
}

bcfmt_err bcfmt_tree_open(struct bcfmt_set *set, const struct bcfmt_tree_visitor *visitor,
			  struct bcfmt_tree **out)
{
	static const struct bcfmt_tree_visitor nobody = { NULL, NULL, NULL, NULL, NULL, NULL };
	struct bcfmt_tree *tree;
	bool gen_rose = false; /* nothing was judged yet */
	bcfmt_err err;

	*out = NULL;
	if (!set->has_geometry)
		return bcfmt_fail(set->ctx, BCFMT_E_DAMAGED, "%s: no usable cache superblock",
				  set->has_cache ? bcfmt_dev_name(set->cache.dev) : "cache");
	tree = calloc(1, sizeof(*tree));
	if (!tree)
		return BCFMT_E_NOMEM;
	if (pthread_mutex_init(&tree->stray_lock, NULL)) {
		free(tree);
		return bcfmt_fail(set->ctx, BCFMT_E_SYSTEM, "no lock to be had");
	}
	tree->set = set;
	/* A set may be walked more than once: nodes and what they lead to are marked anew. */
	for (uint64_t i = 0; i < set->geo.nbuckets; i++) {
		set->buckets[i].gen_flags &=
			(uint8_t) ~(BUCKET_HAS_DIRTY | BUCKET_MAYBE_TWICE | BUCKET_LOOK_AGAIN);
		set->buckets[i].use &= (uint8_t) ~(BCFMT_USE_NODE | USE_LIVE);
		set->buckets[i].sectors = 0;
	}
	err = bcfmt_set_search(set);
	if (!err)
		err = replay_load(set, false, &gen_rose, &tree->replay);
	if (!err && replay_has_history(set))
		err = replay_load(set, true, &gen_rose, &tree->history);
	if (!err && tree->history)
		err = replay_settle_tails(tree->history, tree->history, set->window_seq);
	if (!err)
		err = replay_settle_tails(tree->replay, journal_of(tree), set->window_seq);
	if (!err && set->has_newest)
		tree->is_whole_life = set_has_whole_life(set) &&
				      replay_is_of_new_set(journal_of(tree)) &&
				      !replay_has_impossible(journal_of(tree));
	if (!err)
		err = interior_walk(tree, visitor ? visitor : &nobody);
	if (!err && tree->regions.n && set->has_tree)
		err = found_fill(tree);
	if (!err && tree->leaves.n) {
		tree->has_bad = calloc(tree->leaves.n, 1);
		err = tree->has_bad ? BCFMT_OK : BCFMT_E_NOMEM;
	}
	if (err) {
		bcfmt_tree_free(tree);
		return err;
	}
	*out = tree;
	return BCFMT_OK;
}

void bcfmt_tree_free(struct bcfmt_tree *tree)
{
	if (!tree)
		return;
	replay_free(tree->replay);
	replay_free(tree->history);
	vec_free(&tree->leaves);
	vec_free(&tree->regions);
	replay_free(tree->strays);
	pthread_mutex_destroy(&tree->stray_lock);
	free(tree->has_bad);
	free(tree);
}

size_t bcfmt_tree_leaves(const struct bcfmt_tree *tree)
{
	return tree->leaves.n;
}

size_t bcfmt_tree_nodes(const struct bcfmt_tree *tree)
{
	size_t n = tree->n_interior;

	for (size_t i = 0; i < tree->leaves.n; i++)
		n += VEC_AT(&tree->leaves, struct bcfmt_node_ref, i)->sectors != 0;
	return n;
}

const struct bcfmt_node_ref *bcfmt_tree_leaf(const struct bcfmt_tree *tree, size_t i)
{
	return VEC_AT(&tree->leaves, struct bcfmt_node_ref, i);
}

uint64_t bcfmt_tree_replay_keys(const struct bcfmt_tree *tree)
{
	return replay_count(tree->replay);
}

uint64_t bcfmt_tree_spilled_bytes(const struct bcfmt_tree *tree)
{
	return replay_spilled_bytes(tree->replay) +
	       (tree->history ? replay_spilled_bytes(tree->history) : 0);
}

bcfmt_err tree_put_seq(const struct bcfmt_tree *tree, uint32_t inode, uint64_t sector,
		       uint64_t cache_sector, uint64_t *seq)
{
	struct bcfmt_pos lo = { inode, sector }, hi = { inode, sector + 1 };
	struct vec slice = { 0 };
	bcfmt_err err = replay_slice(journal_of(tree), lo, hi, &slice);

	*seq = 0;
	for (size_t i = 0; !err && i < slice.n; i++) {
		const struct bcfmt_replay_key *put = VEC_AT(&slice, struct bcfmt_replay_key, i);
		uint64_t shift = sector - bcfmt_key_start_sector(&put->key);

		if (bcfmt_key_has_data(&put->key) &&
		    bcfmt_ptr_sector(put->key.ptr) + shift == cache_sector &&
		    !bcfmt_set_stale(tree->set, put->key.ptr))
			*seq = put->seq;
	}
	vec_free(&slice);
	return err;
}

/* Every key of the leaf raises its bucket's gen, overwritten ones too: each of them existed. */
static bool raise_from_leaf(struct bcfmt_set *set, struct worker *worker,
			    const struct bcfmt_node_view *view)
{
	struct bcfmt_node_iter it = bcfmt_node_iter_init(view->node);
	struct bcfmt_key key;
	bool rose = false;

	if (view->is_plain)
		return leaf_plain_raise(set, &worker->looks, view->node);
	while (node_iter_step(&it, &key)) {
		uint64_t bucket = bcfmt_ptr_bucket(&set->geo, key.ptr);

		if (bucket >= set->geo.nbuckets || !has_bucket_gen(&set->buckets[bucket], key.ptr))
			rose |= set_raise_gen_by_extent(set, &key);
	}
	return rose;
}

/* What the tree says of this leaf is not to be trusted alone. */
static bool needs_history(const struct bcfmt_node_view *view)
{
	return !view->ref->sectors || view->has_foreign_keys || view->ref->is_found ||
	       view->node->fault || view->bad.sectors || view->is_disordered || view->is_overrun;
}

/*
 * Resolves the leaf with the journal keys of the worker's slice: all of them, or only those from
 * the replay window, which come last in it.
 */
static bcfmt_err resolve(struct bcfmt_tree *tree, struct worker *worker,
			 struct bcfmt_node_view *view, size_t n_old, bool marks_live)
{
	const struct bcfmt_replay_key *keys = worker->replay.items;
	size_t skip = view->uses_history ? found_skip(tree, view->ref, keys, n_old) : n_old;
	bcfmt_err err = strays_take(tree, worker, view);

	if (!err)
		err = leaf_resolve(&worker->leaf, &tree->set->geo, view->ref, view->node,
				   keys ? keys + skip : NULL, worker->replay.n - skip,
				   tree->set->window_seq);
	if (err)
		return err;
	if (view->ref->is_found)
		found_tell_source(&worker->leaf.extents);
	set_judge_all(tree->set, tree->has_final_gens, marks_live, &worker->leaf.extents);
	if (!tree->set->has_all_prios)
		set_drop_unproved_clean(tree->set, &worker->leaf.extents);
	return BCFMT_OK;
}

/* Takes the leaf's slice of the journal; *n_old of its keys are older than the window. */
static bcfmt_err take_slice(struct bcfmt_tree *tree, struct worker *worker,
			    const struct bcfmt_node_ref *ref, size_t *n_old)
{
	bcfmt_err err = replay_slice(journal_of(tree), ref->lo, ref->hi, &worker->replay);
	const struct bcfmt_replay_key *keys = worker->replay.items;

	*n_old = 0;
	while (!err && *n_old < worker->replay.n && keys[*n_old].seq < tree->set->window_seq)
		(*n_old)++;
	return err;
}

static void count_replay(const struct worker *worker, size_t n_old, struct bcfmt_node_view *view)
{
	const struct bcfmt_replay_key *keys = worker->replay.items;

	for (size_t i = n_old; i < worker->replay.n; i++) {
		view->replay_keys++;
		view->replay_words += bcfmt_key_words(&keys[i].key);
		view->has_crossing_replay |=
			bcfmt_pos_cmp(bcfmt_key_end(&keys[i].key), view->ref->hi) > 0;
	}
}

/*
 * Where the journal knows every write, a dirty key of a damaged leaf that none of its keys lies over
 * was never written: moving and cleaning only change keys that are there.
 */
static void drop_unwritten(struct vec *extents)
{
	struct bcfmt_extent *extent = extents->items;
	size_t n = 0;

	for (size_t i = 0; i < extents->n; i++)
		if (!extent[i].is_dirty || extent[i].source == BCFMT_FROM_REPLAY ||
		    extent[i].source == BCFMT_FROM_HISTORY)
			extent[n++] = extent[i];
	extents->n = n;
}

/* The final extents of a leaf into worker->leaf, and in *view what they rest on. */
static bcfmt_err settle_leaf(struct bcfmt_tree *tree, struct worker *worker,
			     struct bcfmt_node_view *view, size_t n_old)
{
	/* Of leaves that were found only what is newer was laid on. */
	bool is_whole_life = tree->is_whole_life && !view->ref->is_proved;
	bool is_first_try;
	bcfmt_err err;

	view->uses_history = needs_history(view);
	view->is_as_written = view->is_plain && worker->replay.n == n_old;
	/* A walk that only finds a suspect is followed by another one, which marks anew. */
	is_first_try =
		!view->uses_history && tree->has_final_gens && tree->set->has_all_prios && n_old;
	if (view->is_as_written && !is_first_try)
		err = leaf_plain_extents(tree->set, &worker->looks, tree->has_final_gens,
					 view->node, &worker->leaf.extents);
	else
		err = resolve(tree, worker, view, n_old, !is_first_try);
	if (!err && !view->uses_history && n_old) {
		err = leaf_find_lost(tree, worker, view);
		view->uses_history = view->lost_sectors > 0;
		if (!err && view->uses_history) {
			view->is_as_written = false;
			err = resolve(tree, worker, view, n_old, true);
		}
	}
	if (!err && !view->uses_history && leaf_lacks_keys(worker)) {
		if (!tree->has_final_gens)
			__atomic_store_n(&tree->has_suspect, 1, __ATOMIC_RELAXED);
		view->lacks_keys = view->uses_history = tree->has_final_gens;
		if (view->lacks_keys)
			err = resolve(tree, worker, view, n_old, true);
	}
	if (!err && !view->uses_history && is_first_try)
		set_mark_live(tree->set, &worker->leaf.extents);
	if (!err && view->uses_history)
		view->has_all_history = is_whole_life || (!tree->set->histories.is_found &&
							  replay_is_whole(journal_of(tree)) &&
							  leaf_is_in_journal(&worker->leaf));
	if (!err && view->uses_history && is_whole_life)
		drop_unwritten(&worker->leaf.extents);
	return err || !view->uses_history ? err : leaf_find_doubts(tree, worker, view);
}

/* A stale key may well lead to where a node, a prio set or the uuid table lies by now. */
static bool is_in_metadata(const struct bcfmt_set *set, const struct bcfmt_key *key)
{
	return bcfmt_key_has_data(key) && !bcfmt_set_stale(set, key->ptr) &&
	       __atomic_load_n(&set->buckets[bcfmt_ptr_bucket(&set->geo, key->ptr)].use,
			       __ATOMIC_RELAXED) &
		       BCFMT_USE_METADATA;
}

/* A key is none that a kernel takes, leads into metadata, or lies outside of the leaf. */
static bool has_foreign_keys(const struct bcfmt_set *set, const struct bcfmt_node_view *view)
{
	struct bcfmt_node_iter it = bcfmt_node_iter_init(view->node);
	struct bcfmt_key key;

	while (node_iter_step(&it, &key))
		if (bcfmt_key_sectors(&key) &&
		    (bcfmt_key_fault_extent(&set->geo, &key) || is_in_metadata(set, &key) ||
		     bcfmt_pos_cmp(bcfmt_key_start(&key), view->ref->lo) < 0 ||
		     bcfmt_pos_cmp(bcfmt_key_end(&key), view->ref->hi) > 0))
			return true;
	return false;
}

/* Reads a leaf and tells of its keys. */
static bcfmt_err leaf_read(struct bcfmt_tree *tree, struct worker *worker,
			   const struct bcfmt_node_ref *ref, struct bcfmt_node_view *view)
{
	bcfmt_err err = ref_read(tree->set, worker, ref, view);

	if (!err && !ref->is_found && tree->set->has_all_prios)
		err = leaf_plain_scan(tree->set, &worker->looks, tree->has_final_gens, view,
				      &worker->reader.node);
	if (!err && !view->is_plain)
		err = ref_count(worker, view);
	view->has_foreign_keys = !err && !view->is_plain && tree->is_whole_life && !ref->is_found &&
				 has_foreign_keys(tree->set, view);
	return err;
}

/* Reads, resolves and judges one leaf, and hands it to the visitor. */
static bcfmt_err visit_leaf(struct bcfmt_tree *tree, struct worker *worker, size_t index,
			    const struct bcfmt_tree_visitor *visitor, bool *gen_rose)
{
	static const struct bcfmt_node empty;
	const struct bcfmt_node_ref *ref = bcfmt_tree_leaf(tree, index);
	struct bcfmt_set *set = tree->set;
	struct bcfmt_node_view view = { .ref = ref, .node = &empty };
	bcfmt_err err = BCFMT_OK;
	size_t n_old;

	if (ref->sectors) {
		err = leaf_read(tree, worker, ref, &view);
		if (!err && !tree->has_final_gens)
			tree->has_bad[index] = view.bad.sectors > 0;
		view.is_lost_since =
			tree->has_final_gens && view.bad.sectors && !tree->has_bad[index];
		if (!err)
			err = strays_collect(tree, &view, index);
		if (!err && visitor->node)
			err = visitor->node(visitor->arg, &view);
		if (!err && !tree->has_final_gens && raise_from_leaf(set, worker, &view))
			*gen_rose = true;
	}
	if (err || !visitor->leaf)
		return err;
	err = take_slice(tree, worker, ref, &n_old);
	if (!err)
		count_replay(worker, n_old, &view);
	if (!err && visitor->plain && view.is_plain && !worker->replay.n &&
	    leaf_plain_is_valid(set, &worker->looks, tree->has_final_gens, view.node))
		return visitor->plain(visitor->arg, &view);
	if (!err)
		err = settle_leaf(tree, worker, &view, n_old);
	if (err)
		return err;
	return visitor->leaf(visitor->arg, &view, worker->leaf.extents.items,
			     worker->leaf.extents.n);
}

static bcfmt_err walk_one(void *arg, struct worker *worker, uint32_t index)
{
	struct leaf_walk *walk = arg;
	bool gen_rose = false;
	bcfmt_err err = visit_leaf(walk->tree, worker, index, walk->visitor, &gen_rose);

	if (gen_rose)
		__atomic_store_n(&walk->gen_rose, 1, __ATOMIC_SEQ_CST);
	return err;
}

bcfmt_err bcfmt_tree_walk_leaves(struct bcfmt_tree *tree, const struct bcfmt_tree_visitor *visitor,
				 bool *again)
{
	struct leaf_walk walk = { tree, visitor, 0 };
	uint32_t *order = device_order(tree->leaves.items, tree->leaves.n);
	bool is_first;
	bcfmt_err err;

	*again = false;
	if (!order)
		return BCFMT_E_NOMEM;
	err = crew_run(tree->set, "leaves", tree->leaves.items, order, tree->leaves.n, walk_one,
		       &walk);
	free(order);
	is_first = !tree->has_final_gens;
	if (!err && is_first)
		err = strays_finish(tree);
	tree->has_final_gens |= !err;
	*again = !err && (walk.gen_rose || (is_first && (tree->has_suspect || tree->strays)));
	/* What is live is judged anew then. */
	for (uint64_t i = 0; *again && i < tree->set->geo.nbuckets; i++)
		tree->set->buckets[i].use &= (uint8_t)~USE_LIVE;
	return err;
}

/* Without it nothing is judged, and a leaf that has lost its end would not be known. */
static bcfmt_err pass_leaf(void *arg, const struct bcfmt_node_view *view,
			   const struct bcfmt_extent *extents, size_t n_extents)
{
	(void)arg;
	(void)view;
	(void)extents;
	(void)n_extents;
	return BCFMT_OK;
}

bcfmt_err bcfmt_tree_settle(struct bcfmt_tree *tree)
{
	static const struct bcfmt_tree_visitor nobody = { .leaf = pass_leaf };
	bool again = true;
	bcfmt_err err = BCFMT_OK;

	while (!err && again)
		err = bcfmt_tree_walk_leaves(tree, &nobody, &again);
	return err;
}

size_t tree_first_leaf(const struct bcfmt_tree *tree, struct bcfmt_pos lo)
{
	size_t low = 0, high = tree->leaves.n;

	while (low < high) {
		size_t mid = low + (high - low) / 2;

		if (bcfmt_pos_cmp(bcfmt_tree_leaf(tree, mid)->hi, lo) <= 0)
			low = mid + 1;
		else
			high = mid;
	}
	return low;
}

bcfmt_err bcfmt_tree_range(struct bcfmt_tree *tree, struct bcfmt_pos lo, struct bcfmt_pos hi,
			   const struct bcfmt_tree_visitor *visitor)
{
	size_t first = tree_first_leaf(tree, lo), ahead = first,
	       depth = nodes_ahead(&tree->set->geo);
	struct worker worker;
	bool gen_rose = false;
	bcfmt_err err = BCFMT_OK;

	memset(&worker, 0, sizeof(worker));
	for (size_t i = first; !err && i < tree->leaves.n; i++) {
		const struct bcfmt_node_ref *ref = bcfmt_tree_leaf(tree, i);

		if (bcfmt_pos_cmp(ref->lo, hi) >= 0)
			break;
		for (; ahead < tree->leaves.n && ahead <= i + depth &&
		       bcfmt_pos_cmp(bcfmt_tree_leaf(tree, ahead)->lo, hi) < 0;
		     ahead++)
			ref_read_ahead(tree->set->cache.dev, bcfmt_tree_leaf(tree, ahead));
		err = visit_leaf(tree, &worker, i, visitor, &gen_rose);
		if (!err && bcfmt_ctx_is_cancelled(tree->set->ctx))
			err = BCFMT_E_CANCELLED;
	}
	worker_clear(&worker);
	return err;
}
