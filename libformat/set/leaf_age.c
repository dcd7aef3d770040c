/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Which bsets of a leaf are older than an entry of the journal. A kernel adds keys to the last bset
 * only, which is not written yet, and begins the next when that is on its way. So if one key of a
 * bset came later than an entry was begun, all keys that are new in the bsets behind it did. But a
 * key comes into a leaf while its entry is held, and the last_seq of the entry before that one says
 * up to where none was held any more. A new key of such an old entry in a bset therefore proves that
 * the bsets in front of it are older than the entry. (When a journal is replayed keys come again,
 * but none of these: last_seq never falls.) kernel: bch_btree_insert_node(), bch_btree_init_next(),
 * bch_btree_leaf_dirty(), journal_write_unlocked(), bch_journal_next(), bch_journal_replay().
 *
 * A key is new in its bset when it is dirty and has a place that the journal knows. What is not
 * journaled either goes to a place of its own (moving gc, read fills) or is clean (writeback). Only
 * where a key cuts an older one in two the part behind it is put in again, right behind that key:
 * what begins where another key of the bset ends does not count. kernel: bch_extent_insert_fixup().
 */
#include <stdlib.h>

#include "codec/key_iter.h"
#include "set/leaf_impl.h"
#include "set/tree_impl.h"

/* By place, then by bset. */
static int age_cmp(const void *a, const void *b)
{
	const struct leaf_piece *x = a, *y = b;
	int order = leaf_mapping_cmp(x, y);

	return order ? order : (x->order > y->order) - (x->order < y->order);
}

/* The first of the sorted pieces that is not before this one. */
static size_t lower_bound(const struct vec *pieces, const struct leaf_piece *want)
{
	const struct leaf_piece *piece = pieces->items;
	size_t low = 0, high = pieces->n;

	while (low < high) {
		size_t mid = low + (high - low) / 2;

		if (age_cmp(&piece[mid], want) < 0)
			low = mid + 1;
		else
			high = mid;
	}
	return low;
}

static bcfmt_err list_bset(struct leaf_age *age, struct worker *worker,
			   const struct bcfmt_geometry *geo, const struct bcfmt_node_view *view,
			   uint32_t index)
{
	const struct bcfmt_bset *bset = &view->node->bsets[index];
	struct bcfmt_key_iter it = bcfmt_key_iter_init(bset->keys, bset->words);
	struct bcfmt_pos end = { 0, 0 }, end_of_some = { 0, 0 };
	struct bcfmt_key key;
	bcfmt_err err = BCFMT_OK;

	while (!err && key_iter_step(&it, &key)) {
		struct bcfmt_pos start = bcfmt_key_start(&key);
		bool is_behind = !bcfmt_pos_cmp(start, end) || !bcfmt_pos_cmp(start, end_of_some);
		struct leaf_piece piece;

		if (bcfmt_key_is_placeholder(&key) && bcfmt_key_sectors(&key))
			*(bcfmt_key_is_dirty(&key) ? &age->has_dirty_placeholder
						   : &age->has_placeholder) = true;
		end = bcfmt_key_end(&key);
		if (bcfmt_key_sectors(&key))
			end_of_some = end;
		if (!leaf_piece_of_key(&worker->journal, geo, view->ref, &key, BCFMT_FROM_TREE,
				       &piece) ||
		    !piece.has_data)
			continue;
		piece.order = index;
		err = leaf_push_piece(&age->places, &piece);
		if (!err && index && piece.is_dirty && !is_behind &&
		    piece.start_sector == start.sector)
			err = leaf_push_piece(&age->fresh, &piece);
	}
	return err;
}

/* For each bset the oldest entry of which a key is new in a bset behind it. */
static void find_oldest(struct leaf_age *age, struct worker *worker,
			const struct bcfmt_geometry *geo, const struct bcfmt_node_ref *ref)
{
	const struct bcfmt_replay_key *keys = worker->replay.items;
	uint64_t *oldest = age->oldest.items;

	for (size_t i = 0; i < age->oldest.n; i++)
		oldest[i] = UINT64_MAX;
	for (size_t i = 0; i < worker->replay.n; i++) {
		const struct leaf_piece *fresh = age->fresh.items;
		struct leaf_piece want;
		size_t at;

		if (!leaf_piece_of_key(&worker->journal, geo, ref, &keys[i].key, BCFMT_FROM_HISTORY,
				       &want) ||
		    !want.has_data)
			continue;
		want.order = 0;
		at = lower_bound(&age->fresh, &want);
		if (at < age->fresh.n && leaf_is_same_mapping(&fresh[at], &want) &&
		    fresh[at].start_sector < want.end_sector &&
		    keys[i].seq < oldest[fresh[at].order - 1])
			oldest[fresh[at].order - 1] = keys[i].seq;
	}
	for (size_t i = age->oldest.n; i-- > 1;)
		if (oldest[i] < oldest[i - 1])
			oldest[i - 1] = oldest[i];
}

bcfmt_err leaf_age_learn(const struct bcfmt_set *set, struct worker *worker,
			 const struct bcfmt_node_view *view)
{
	struct leaf_age *age = &worker->age;
	bcfmt_err err = vec_reserve(&age->oldest, view->node->n_bsets, sizeof(uint64_t));

	age->places.n = age->fresh.n = age->oldest.n = 0;
	age->has_placeholder = age->has_dirty_placeholder = false;
	for (uint32_t i = 0; !err && i < view->node->n_bsets; i++)
		if (!view->node->bsets[i].fault)
			err = list_bset(age, worker, &set->geo, view, i);
	if (err)
		return err;
	if (age->places.n > 1)
		qsort(age->places.items, age->places.n, sizeof(struct leaf_piece), age_cmp);
	if (age->fresh.n > 1)
		qsort(age->fresh.items, age->fresh.n, sizeof(struct leaf_piece), age_cmp);
	leaf_join_mappings(&age->places);
	age->oldest.n = view->node->n_bsets;
	find_oldest(age, worker, &set->geo, view->ref);
	return BCFMT_OK;
}

bool leaf_age_is_before(const struct leaf_age *age, uint32_t bset, uint64_t flushed_seq)
{
	return bset < age->oldest.n && *VEC_AT(&age->oldest, uint64_t, bset) < flushed_seq;
}

uint32_t leaf_age_bset(const struct leaf_age *age, uint32_t inode, uint64_t sector, uint64_t ptr)
{
	const struct leaf_piece want = {
		.inode = inode, .start_sector = sector, .ptr = ptr, .order = UINT32_MAX
	};
	size_t at = lower_bound(&age->places, &want);
	const struct leaf_piece *piece =
		at ? VEC_AT(&age->places, struct leaf_piece, at - 1) : NULL;

	return piece && leaf_is_same_mapping(piece, &want) && piece->end_sector > sector
		       ? piece->order
		       : UINT32_MAX;
}

void leaf_age_clear(struct leaf_age *age)
{
	vec_free(&age->places);
	vec_free(&age->fresh);
	vec_free(&age->oldest);
}
