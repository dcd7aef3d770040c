/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Keys in leaves that are out of order, outside the range of their leaf. Where interior nodes are
 * out of order, too, a lookup went to the wrong leaf, and what was written then lies there. Such a
 * key counts where it belongs, as older than all else: how it stands to the keys of that leaf
 * nothing tells.
 */
#include <stdlib.h>

#include "set/found.h"

static bool is_outside(const struct bcfmt_node_ref *ref, const struct bcfmt_key *key)
{
	return bcfmt_pos_cmp(bcfmt_key_start(key), ref->lo) < 0 ||
	       bcfmt_pos_cmp(bcfmt_key_end(key), ref->hi) > 0;
}

static bcfmt_err add_stray(struct bcfmt_tree *tree, const struct bcfmt_replay_key *record)
{
	bcfmt_err err = BCFMT_OK;

	pthread_mutex_lock(&tree->stray_lock);
	if (!tree->strays)
		err = replay_new(tree->set->ctx, &tree->strays);
	if (!err)
		err = replay_add(tree->strays, record);
	pthread_mutex_unlock(&tree->stray_lock);
	return err;
}

bcfmt_err strays_collect(struct bcfmt_tree *tree, const struct bcfmt_node_view *view, size_t index)
{
	struct bcfmt_node_iter it = bcfmt_node_iter_init(view->node);
	struct bcfmt_replay_key record = { .seq = index };
	bcfmt_err err = BCFMT_OK;

	/* Leaves that were found were cut to ranges that were never theirs. */
	if (!view->is_disordered || view->ref->is_found || tree->has_final_gens)
		return BCFMT_OK;
	while (!err && bcfmt_node_iter_next(&it, &record.key)) {
		record.word++;
		if (!bcfmt_key_fault_extent(&tree->set->geo, &record.key) &&
		    is_outside(view->ref, &record.key))
			err = add_stray(tree, &record);
	}
	return err;
}

bcfmt_err strays_finish(struct bcfmt_tree *tree)
{
	return tree->strays ? replay_finish(tree->strays) : BCFMT_OK;
}

bcfmt_err strays_take(struct bcfmt_tree *tree, struct worker *worker,
		      const struct bcfmt_node_view *view)
{
	const struct replay *replay = tree->history ? tree->history : tree->replay;
	struct bcfmt_replay_key *stray;
	size_t n = 0;
	bcfmt_err err;

	worker->leaf.strays.n = 0;
	/* They are complete when all leaves were read once. A whole journal knows better. */
	if (!tree->strays || !tree->has_final_gens || !view->uses_history ||
	    replay_is_whole(replay))
		return BCFMT_OK;
	err = replay_slice(tree->strays, view->ref->lo, view->ref->hi, &worker->leaf.strays);
	/* One that is stale tells nothing: what replaced it may lie anywhere. */
	stray = worker->leaf.strays.items;
	for (size_t i = 0; !err && i < worker->leaf.strays.n; i++)
		if (!bcfmt_key_has_data(&stray[i].key) ||
		    !bcfmt_set_stale(tree->set, stray[i].key.ptr))
			stray[n++] = stray[i];
	worker->leaf.strays.n = n;
	return err;
}
