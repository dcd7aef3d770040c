/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What the files share that resolve a leaf. */
#ifndef SET_LEAF_IMPL_H
#define SET_LEAF_IMPL_H

#include "set/set_impl.h"

/* A key as a piece within the ref's range; false when it adds nothing there. */
bool leaf_piece_of_key(struct leaf_scratch *scratch, const struct bcfmt_geometry *geo,
		       const struct bcfmt_node_ref *ref, const struct bcfmt_key *key,
		       uint8_t source, struct leaf_piece *piece);
bcfmt_err leaf_push_piece(struct vec *pieces, const struct leaf_piece *piece);

/*
 * The pointer that sector 0 of the inode would have: equal for all pieces of one extent on the
 * cache, however they were cut.
 */
static inline uint64_t leaf_mapping(const struct leaf_piece *piece)
{
	return piece->ptr - (piece->start_sector << 8);
}
static inline bool leaf_is_same_mapping(const struct leaf_piece *a, const struct leaf_piece *b)
{
	return a->inode == b->inode && leaf_mapping(a) == leaf_mapping(b);
}
/* By mapping, then by start; for qsort(). */
int leaf_mapping_cmp(const void *a, const void *b);
/*
 * Joins sorted pieces of one mapping that overlap or touch, so that a sector is in one of them only;
 * a joint piece has the highest of their orders.
 */
void leaf_join_mappings(struct vec *pieces);
/* The ranges that dirty keys of the journal have in the leaf, none of them twice, in order. */
bcfmt_err leaf_collect_wanted(struct leaf_scratch *scratch, const struct bcfmt_geometry *geo,
			      const struct bcfmt_node_ref *ref,
			      const struct bcfmt_replay_key *replay, size_t n_replay);
/* The clean pieces of the tree in these ranges, by mapping. */
bcfmt_err leaf_collect_clean(struct leaf_scratch *scratch);
/* First clean piece of the same mapping that ends after sector; n of them when there is none. */
size_t leaf_find_clean(const struct leaf_scratch *scratch, const struct leaf_piece *like,
		       uint64_t sector);

#endif
