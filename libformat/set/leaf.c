/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What a leaf finally holds. Every key becomes a piece with its place in the order of writing; a
 * sweep over the pieces gives each sector to the last writer. One algorithm for sorted, overlapping
 * and disordered bsets: where the order of a bset is broken, its physical order counts.
 */
#include <stdlib.h>
#include <string.h>

#include "codec/key_iter.h"
#include "set/leaf_impl.h"

void leaf_scratch_clear(struct leaf_scratch *scratch)
{
	vec_free(&scratch->pieces);
	vec_free(&scratch->heap);
	vec_free(&scratch->clean);
	vec_free(&scratch->extents);
	vec_free(&scratch->strays);
	vec_free(&scratch->merged);
	vec_free(&scratch->runs);
	vec_free(&scratch->wanted);
	vec_free(&scratch->orders);
}

/* Cuts a piece to (lo, hi]; false when nothing is left. */
static bool cut_piece(struct leaf_piece *piece, struct bcfmt_pos lo, struct bcfmt_pos hi)
{
	uint64_t begin = 0, end = UINT64_MAX;

	if (piece->inode < lo.inode || piece->inode > hi.inode)
		return false;
	if (piece->inode == lo.inode)
		begin = lo.sector;
	if (piece->inode == hi.inode)
		end = hi.sector;
	if (piece->end_sector > end)
		piece->end_sector = end;
	if (piece->start_sector < begin) {
		if (piece->has_data)
			piece->ptr += (begin - piece->start_sector) << 8;
		piece->start_sector = begin;
	}
	return piece->start_sector < piece->end_sector;
}

bcfmt_err leaf_push_piece(struct vec *pieces, const struct leaf_piece *piece)
{
	struct leaf_piece *slot = vec_push(pieces, sizeof(*piece));

	if (!slot)
		return BCFMT_E_NOMEM;
	*slot = *piece;
	return BCFMT_OK;
}

bool leaf_piece_of_key(struct leaf_scratch *scratch, const struct bcfmt_geometry *geo,
		       const struct bcfmt_node_ref *ref, const struct bcfmt_key *key,
		       uint8_t source, struct leaf_piece *piece)
{
	/* No range of a node reaches past the last position. */
	if (bcfmt_key_fault_extent(geo, key) || key->low > BCFMT_KEY_MAX_OFFSET)
		return false;
	*piece = (struct leaf_piece){
		.start_sector = bcfmt_key_start_sector(key),
		.end_sector = key->low,
		.ptr = key->ptr,
		.inode = bcfmt_key_inode(key),
		.order = (uint32_t)scratch->pieces.n,
		.is_dirty = bcfmt_key_is_dirty(key),
		.has_data = bcfmt_key_has_data(key),
		.source = source,
	};
	return cut_piece(piece, ref->lo, ref->hi);
}

static bcfmt_err add_strays(struct leaf_scratch *scratch, const struct bcfmt_geometry *geo,
			    const struct bcfmt_node_ref *ref)
{
	for (size_t i = 0; i < scratch->strays.n; i++) {
		const struct bcfmt_replay_key *stray =
			VEC_AT(&scratch->strays, struct bcfmt_replay_key, i);
		struct leaf_piece piece;

		if (leaf_piece_of_key(scratch, geo, ref, &stray->key, BCFMT_FROM_SCAN, &piece) &&
		    leaf_push_piece(&scratch->pieces, &piece))
			return BCFMT_E_NOMEM;
	}
	return BCFMT_OK;
}

static bcfmt_err add_bsets(struct leaf_scratch *scratch, const struct bcfmt_geometry *geo,
			   const struct bcfmt_node_ref *ref, const struct bcfmt_node *node)
{
	struct bcfmt_node_iter it = bcfmt_node_iter_init(node);
	struct bcfmt_key key;

	while (node_iter_step(&it, &key)) {
		struct leaf_piece piece;

		if (leaf_piece_of_key(scratch, geo, ref, &key, BCFMT_FROM_TREE, &piece) &&
		    leaf_push_piece(&scratch->pieces, &piece))
			return BCFMT_E_NOMEM;
	}
	return BCFMT_OK;
}

static bcfmt_err add_replay(struct leaf_scratch *scratch, const struct bcfmt_geometry *geo,
			    const struct bcfmt_node_ref *ref, const struct bcfmt_replay_key *replay,
			    size_t n_replay, uint64_t window_seq)
{
	uint32_t begin = (uint32_t)scratch->pieces.n;
	bcfmt_err err = leaf_collect_wanted(scratch, geo, ref, replay, n_replay);

	if (!err)
		err = leaf_collect_clean(scratch);
	for (size_t i = 0; !err && i < n_replay; i++) {
		struct leaf_piece piece;

		if (!leaf_piece_of_key(scratch, geo, ref, &replay[i].key,
				       replay[i].seq < window_seq ? BCFMT_FROM_HISTORY
								  : BCFMT_FROM_REPLAY,
				       &piece))
			continue;
		piece.order = begin + (uint32_t)i;
		err = leaf_push_piece(&scratch->pieces, &piece);
	}
	return err;
}

static int piece_cmp(const void *a, const void *b)
{
	const struct leaf_piece *x = a, *y = b;

	if (x->inode != y->inode)
		return x->inode < y->inode ? -1 : 1;
	if (x->start_sector != y->start_sector)
		return x->start_sector < y->start_sector ? -1 : 1;
	return x->order < y->order ? -1 : x->order > y->order;
}

/* Merges the sorted pieces [from, middle) and [middle, end) to the same places of to. */
static void merge_runs(const struct leaf_piece *pieces, size_t from, size_t middle, size_t end,
		       struct leaf_piece *to)
{
	size_t a = from, b = middle;

	for (size_t i = from; i < end; i++)
		to[i] = b == end || (a < middle && piece_cmp(&pieces[a], &pieces[b]) < 0)
				? pieces[a++]
				: pieces[b++];
}

/* Notes where runs of pieces that are in order begin, and the end of the last. */
static bcfmt_err find_runs(struct leaf_scratch *scratch)
{
	const struct leaf_piece *pieces = scratch->pieces.items;
	size_t n = scratch->pieces.n;

	scratch->runs.n = 0;
	for (size_t i = 0; i <= n; i++) {
		size_t *run;

		if (i && i < n && piece_cmp(&pieces[i - 1], &pieces[i]) < 0)
			continue;
		run = vec_push(&scratch->runs, sizeof(*run));
		if (!run)
			return BCFMT_E_NOMEM;
		*run = i;
	}
	return BCFMT_OK;
}

/* Sorts the pieces: they come in a few runs, one a bset, that are in order by themselves. */
static bcfmt_err sort_pieces(struct leaf_scratch *scratch)
{
	bcfmt_err err = find_runs(scratch);
	size_t *run = scratch->runs.items, n_runs;

	if (!err)
		err = vec_reserve(&scratch->merged, scratch->pieces.n, sizeof(struct leaf_piece));
	if (err)
		return err;
	for (n_runs = scratch->runs.n - 1; n_runs > 1; n_runs = (n_runs + 1) / 2) {
		struct vec from = scratch->pieces;

		for (size_t i = 0; i < n_runs; i += 2) {
			size_t last = i + 2 < n_runs ? i + 2 : n_runs;

			merge_runs(from.items, run[i], run[i + 1], run[last],
				   scratch->merged.items);
			run[i / 2] = run[i];
		}
		run[(n_runs + 1) / 2] = from.n;
		scratch->pieces = scratch->merged;
		scratch->pieces.n = from.n;
		scratch->merged = from;
	}
	return BCFMT_OK;
}

static bool is_plain(const struct vec *pieces)
{
	const struct leaf_piece *piece = pieces->items;

	for (size_t i = 1; i < pieces->n; i++)
		if (piece[i - 1].inode > piece[i].inode ||
		    (piece[i - 1].inode == piece[i].inode &&
		     piece[i - 1].end_sector > piece[i].start_sector))
			return false;
	return true;
}

/* Heap of piece indexes, the last writer on top. */
static bool is_later(const struct leaf_piece *pieces, const uint32_t *heap, size_t a, size_t b)
{
	return pieces[heap[a]].order > pieces[heap[b]].order;
}

static void swap_at(uint32_t *heap, size_t a, size_t b)
{
	uint32_t index = heap[a];

	heap[a] = heap[b];
	heap[b] = index;
}

static bcfmt_err heap_push(struct vec *vec, const struct leaf_piece *pieces, uint32_t index)
{
	uint32_t *slot = vec_push(vec, sizeof(*slot));
	uint32_t *heap = vec->items;

	if (!slot)
		return BCFMT_E_NOMEM;
	*slot = index;
	for (size_t at = vec->n - 1; at && is_later(pieces, heap, at, (at - 1) / 2);
	     at = (at - 1) / 2)
		swap_at(heap, at, (at - 1) / 2);
	return BCFMT_OK;
}

static void heap_pop(struct vec *vec, const struct leaf_piece *pieces)
{
	uint32_t *heap = vec->items;
	size_t at = 0;

	heap[0] = heap[--vec->n];
	for (;;) {
		size_t child = 2 * at + 1;

		if (child >= vec->n)
			return;
		if (child + 1 < vec->n && is_later(pieces, heap, child + 1, child))
			child++;
		if (!is_later(pieces, heap, child, at))
			return;
		swap_at(heap, child, at);
		at = child;
	}
}

/* Appends [start, end) of a piece. */
static bcfmt_err push_extent(struct leaf_scratch *scratch, const struct leaf_piece *piece,
			     uint64_t start_sector, uint64_t end_sector, bool is_written_back)
{
	struct bcfmt_extent *extent = vec_push(&scratch->extents, sizeof(*extent));
	uint64_t shift = start_sector - piece->start_sector;

	if (!extent)
		return BCFMT_E_NOMEM;
	*extent = (struct bcfmt_extent){
		.start_sector = start_sector,
		.end_sector = end_sector,
		.ptr = piece->has_data ? piece->ptr + (shift << 8) : 0,
		.inode = piece->inode,
		.is_dirty = piece->is_dirty,
		.source = piece->source,
		.is_written_back = is_written_back,
	};
	if (scratch->keeps_erased) {
		uint32_t *order = vec_push(&scratch->orders, sizeof(*order));

		if (!order)
			return BCFMT_E_NOMEM;
		*order = piece->order;
	}
	return BCFMT_OK;
}

/*
 * Appends what [start, end) of a piece finally holds. A dirty key of the journal comes in parts: a
 * part that the tree has clean at the very same place was written back after the entry was
 * written, since a place is written once only. It is split here and not before, when hardly
 * anything of many keys is left: the parts are never more than keys and clean pieces.
 */
static bcfmt_err emit(struct leaf_scratch *scratch, const struct leaf_piece *piece,
		      uint64_t start_sector, uint64_t end_sector)
{
	uint64_t at = start_sector;
	bcfmt_err err = BCFMT_OK;

	if (!piece->has_data && !scratch->keeps_erased)
		return BCFMT_OK;
	if (!piece->has_data || !piece->is_dirty || piece->source == BCFMT_FROM_TREE || !scratch->clean.n)
		return push_extent(scratch, piece, start_sector, end_sector, false);
	while (!err && at < end_sector) {
		size_t i = leaf_find_clean(scratch, piece, at);
		const struct leaf_piece *clean = VEC_AT(&scratch->clean, struct leaf_piece, i);
		uint64_t end = end_sector;
		bool is_written_back = false;

		if (i < scratch->clean.n && clean->inode == piece->inode &&
		    leaf_mapping(clean) == leaf_mapping(piece) && clean->start_sector < end) {
			is_written_back = clean->start_sector <= at;
			if (!is_written_back)
				end = clean->start_sector;
			else if (clean->end_sector < end)
				end = clean->end_sector;
		}
		err = push_extent(scratch, piece, at, end, is_written_back);
		at = end;
	}
	return err;
}

/* A piece that no other one reaches into; those before it all ended. */
static bool is_alone(const struct leaf_piece *pieces, size_t n, size_t i)
{
	return i + 1 == n || pieces[i + 1].inode != pieces[i].inode ||
	       pieces[i + 1].start_sector >= pieces[i].end_sector;
}

static bcfmt_err sweep(struct leaf_scratch *scratch)
{
	const struct leaf_piece *pieces = scratch->pieces.items;
	size_t n = scratch->pieces.n, i = 0;
	uint64_t at = 0, run_start = 0;
	const struct leaf_piece *run = NULL; /* the piece that is on top since run_start */
	uint32_t inode = 0;
	bcfmt_err err = BCFMT_OK;

	scratch->heap.n = 0;
	while (!err && (i < n || scratch->heap.n)) {
		const struct leaf_piece *top;
		uint64_t next;

		if (!scratch->heap.n && is_alone(pieces, n, i)) {
			err = emit(scratch, &pieces[i], pieces[i].start_sector,
				   pieces[i].end_sector);
			i++;
			continue;
		}
		if (!scratch->heap.n) {
			at = pieces[i].start_sector;
			inode = pieces[i].inode;
		}
		for (; !err && i < n && pieces[i].inode == inode && pieces[i].start_sector == at;
		     i++)
			err = heap_push(&scratch->heap, pieces, (uint32_t)i);
		while (scratch->heap.n &&
		       pieces[*VEC_AT(&scratch->heap, uint32_t, 0)].end_sector <= at)
			heap_pop(&scratch->heap, pieces);
		top = scratch->heap.n ? &pieces[*VEC_AT(&scratch->heap, uint32_t, 0)] : NULL;
		if (run && run != top && !err)
			err = emit(scratch, run, run_start, at);
		if (run != top)
			run_start = at;
		run = top;
		if (!top)
			continue;
		next = top->end_sector;
		if (i < n && pieces[i].inode == inode && pieces[i].start_sector < next)
			next = pieces[i].start_sector;
		at = next;
	}
	return err;
}

bcfmt_err leaf_resolve(struct leaf_scratch *scratch, const struct bcfmt_geometry *geo,
		       const struct bcfmt_node_ref *ref, const struct bcfmt_node *node,
		       const struct bcfmt_replay_key *replay, size_t n_replay, uint64_t window_seq)
{
	bcfmt_err err;

	scratch->pieces.n = 0;
	scratch->extents.n = scratch->orders.n = 0;
	err = add_strays(scratch, geo, ref);
	if (!err)
		err = add_bsets(scratch, geo, ref, node);
	if (!err)
		err = add_replay(scratch, geo, ref, replay, n_replay, window_seq);
	if (err)
		return err;
	if (is_plain(&scratch->pieces)) {
		const struct leaf_piece *piece = scratch->pieces.items;

		for (size_t i = 0; !err && i < scratch->pieces.n; i++)
			err = emit(scratch, &piece[i], piece[i].start_sector, piece[i].end_sector);
		return err;
	}
	err = sort_pieces(scratch);
	return err ? err : sweep(scratch);
}
