/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The pieces of a leaf by their place on the cache: which sectors that a key of the journal made
 * dirty the tree has clean at the same place, and which places the journal knows.
 */
#include <stdlib.h>

#include "set/leaf_impl.h"

int leaf_mapping_cmp(const void *a, const void *b)
{
	const struct leaf_piece *x = a, *y = b;

	if (x->inode != y->inode)
		return x->inode < y->inode ? -1 : 1;
	if (leaf_mapping(x) != leaf_mapping(y))
		return leaf_mapping(x) < leaf_mapping(y) ? -1 : 1;
	return x->start_sector < y->start_sector ? -1 : x->start_sector > y->start_sector;
}

static bool is_of_journal(const struct leaf_piece *piece)
{
	return piece->source == BCFMT_FROM_REPLAY || piece->source == BCFMT_FROM_HISTORY;
}

/* Pieces of one place by their start, what the journal has first. */
static int mapping_start_cmp(const void *a, const void *b)
{
	int order = leaf_mapping_cmp(a, b);

	return order ? order : is_of_journal(b) - is_of_journal(a);
}

void leaf_join_mappings(struct vec *pieces)
{
	struct leaf_piece *piece = pieces->items;
	size_t n = 0;

	for (size_t i = 0; i < pieces->n; i++) {
		struct leaf_piece *last = n ? &piece[n - 1] : NULL;

		if (!last || !leaf_is_same_mapping(last, &piece[i]) ||
		    last->end_sector < piece[i].start_sector) {
			piece[n++] = piece[i];
			continue;
		}
		if (last->end_sector < piece[i].end_sector)
			last->end_sector = piece[i].end_sector;
		if (last->order < piece[i].order)
			last->order = piece[i].order;
	}
	pieces->n = n;
}

static int range_cmp(const void *a, const void *b)
{
	const struct leaf_piece *x = a, *y = b;

	if (x->inode != y->inode)
		return x->inode < y->inode ? -1 : 1;
	return x->start_sector < y->start_sector ? -1 : x->start_sector > y->start_sector;
}

bcfmt_err leaf_collect_wanted(struct leaf_scratch *scratch, const struct bcfmt_geometry *geo,
			      const struct bcfmt_node_ref *ref,
			      const struct bcfmt_replay_key *replay, size_t n_replay)
{
	struct leaf_piece *range, piece;
	size_t n = 0;

	scratch->wanted.n = 0;
	for (size_t i = 0; i < n_replay; i++)
		if (leaf_piece_of_key(scratch, geo, ref, &replay[i].key, BCFMT_FROM_REPLAY,
				      &piece) &&
		    piece.is_dirty && piece.has_data && leaf_push_piece(&scratch->wanted, &piece))
			return BCFMT_E_NOMEM;
	range = scratch->wanted.items;
	if (scratch->wanted.n > 1)
		qsort(range, scratch->wanted.n, sizeof(*range), range_cmp);
	for (size_t i = 0; i < scratch->wanted.n; i++) {
		if (!n || range[n - 1].inode != range[i].inode ||
		    range[n - 1].end_sector < range[i].start_sector)
			range[n++] = range[i];
		else if (range[n - 1].end_sector < range[i].end_sector)
			range[n - 1].end_sector = range[i].end_sector;
	}
	scratch->wanted.n = n;
	return BCFMT_OK;
}

static bool is_wanted(const struct vec *wanted, const struct leaf_piece *piece)
{
	const struct leaf_piece *range = wanted->items;
	size_t low = 0, high = wanted->n;

	/* The first range that ends after the piece begins. */
	while (low < high) {
		size_t mid = low + (high - low) / 2;

		if (range[mid].inode < piece->inode ||
		    (range[mid].inode == piece->inode &&
		     range[mid].end_sector <= piece->start_sector))
			low = mid + 1;
		else
			high = mid;
	}
	return low < wanted->n && range[low].inode == piece->inode &&
	       range[low].start_sector < piece->end_sector;
}

bcfmt_err leaf_collect_clean(struct leaf_scratch *scratch)
{
	const struct leaf_piece *piece = scratch->pieces.items;

	scratch->clean.n = 0;
	if (!scratch->wanted.n)
		return BCFMT_OK;
	for (size_t i = 0; i < scratch->pieces.n; i++)
		if (piece[i].has_data && !piece[i].is_dirty &&
		    is_wanted(&scratch->wanted, &piece[i]) &&
		    leaf_push_piece(&scratch->clean, &piece[i]))
			return BCFMT_E_NOMEM;
	if (scratch->clean.n > 1)
		qsort(scratch->clean.items, scratch->clean.n, sizeof(*piece), leaf_mapping_cmp);
	leaf_join_mappings(&scratch->clean);
	return BCFMT_OK;
}

size_t leaf_find_clean(const struct leaf_scratch *scratch, const struct leaf_piece *like,
		       uint64_t sector)
{
	struct leaf_piece want = *like;
	size_t low = 0, high = scratch->clean.n;

	want.ptr += (sector - want.start_sector) << 8;
	want.start_sector = sector;
	want.end_sector = sector + 1;
	while (low < high) {
		size_t mid = low + (high - low) / 2;
		const struct leaf_piece *clean = VEC_AT(&scratch->clean, struct leaf_piece, mid);

		if (clean->inode != want.inode || leaf_mapping(clean) != leaf_mapping(&want)
			    ? leaf_mapping_cmp(clean, &want) < 0
			    : clean->end_sector <= sector)
			low = mid + 1;
		else
			high = mid;
	}
	return low;
}

/* How far the pieces of one mapping lead, in the order of mapping_start_cmp(). */
struct coverage {
	uint64_t journaled_end; /* pieces of the journal, without a hole since the last one */
	uint64_t wanted_end;	/* dirty pieces of the tree */
};

/* Takes the next piece; false when a dirty sector of the tree is known not to be the journal's. */
static bool cover(struct coverage *coverage, const struct leaf_piece *piece)
{
	bool is_behind = piece->start_sector > coverage->journaled_end;

	if (is_of_journal(piece)) {
		if (is_behind && coverage->wanted_end > coverage->journaled_end)
			return false;
		if (piece->end_sector > coverage->journaled_end)
			coverage->journaled_end = piece->end_sector;
		return true;
	}
	if (piece->start_sector >= coverage->journaled_end)
		return false;
	if (piece->end_sector > coverage->wanted_end)
		coverage->wanted_end = piece->end_sector;
	return true;
}

bool leaf_is_in_journal(struct leaf_scratch *scratch)
{
	struct leaf_piece *pieces = scratch->pieces.items;
	const struct leaf_piece *last = NULL;
	struct coverage coverage = { 0, 0 };

	if (scratch->pieces.n > 1)
		qsort(pieces, scratch->pieces.n, sizeof(*pieces), mapping_start_cmp);
	for (size_t i = 0; i < scratch->pieces.n; i++) {
		if (!pieces[i].has_data || !pieces[i].is_dirty)
			continue;
		if (!last || !leaf_is_same_mapping(last, &pieces[i])) {
			if (coverage.wanted_end > coverage.journaled_end)
				return false;
			coverage = (struct coverage){ 0, 0 };
		}
		last = &pieces[i];
		if (!cover(&coverage, last))
			return false;
	}
	return coverage.wanted_end <= coverage.journaled_end;
}

void leaf_sort_places(struct leaf_scratch *scratch)
{
	if (scratch->pieces.n > 1)
		qsort(scratch->pieces.items, scratch->pieces.n, sizeof(struct leaf_piece),
		      leaf_mapping_cmp);
}

bool leaf_has_place(const struct leaf_scratch *scratch, uint32_t inode, uint64_t sector,
		    uint64_t ptr)
{
	const struct leaf_piece want = { .inode = inode, .start_sector = sector, .ptr = ptr };
	const struct leaf_piece *piece = scratch->pieces.items;
	size_t low = 0, high = scratch->pieces.n;

	/* Behind the last piece of the mapping that begins at or before the sector. */
	while (low < high) {
		size_t mid = low + (high - low) / 2;

		if (leaf_mapping_cmp(&piece[mid], &want) <= 0)
			low = mid + 1;
		else
			high = mid;
	}
	return low && piece[low - 1].inode == inode && piece[low - 1].has_data &&
	       leaf_mapping(&piece[low - 1]) == leaf_mapping(&want) &&
	       piece[low - 1].end_sector > sector;
}
