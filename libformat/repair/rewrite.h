/* SPDX-License-Identifier: GPL-2.0-or-later */
/* A rewrite while it is done. */
#ifndef REPAIR_REWRITE_H
#define REPAIR_REWRITE_H

#include "repair/repair_impl.h"

struct rewrite {
	struct bcfmt_repair_run *repair;
	struct bcfmt_set *set;
	const struct rewrite_params *params;
	struct bcfmt_tree *tree;
	struct repair_buckets *buckets;
	bool needs_keys;  /* of sound leaves, too */
	uint8_t *is_kept; /* a leaf of the old tree: it stays where it is */
	struct bcfmt_tree_writer *writer;
	struct bcfmt_tree_written written;
	struct bcfmt_extent pending; /* not yet given to the writer: the next may continue it */
	bool has_pending;
	struct inode_use *inodes; /* set->n_uuids; atomic while leaves are noted */
	uint64_t loose_extents;	  /* atomic: in leaves that cannot stay */
	struct vec twice;	  /* struct drop_range in key order, none touch */
	bool is_edited;		  /* something that the journal knows is not in the new tree */
};

/* Sectors whose keys are dropped because their place belongs to others as well. */
struct drop_range {
	struct bcfmt_pos start;
	uint64_t end_sector;
};

/* Finds them; leaves that have any do not stay. All leaves were noted. */
bcfmt_err twice_find(struct rewrite *rw);
/* The first range that ends after the position, or n of them. */
size_t twice_after(const struct rewrite *rw, uint32_t inode, uint64_t sector);

/*
 * Gives up clean data where there are too few buckets for what is to be written, or would be
 * afterwards; *is_made: leaves have to be noted once more.
 */
bcfmt_err room_make(struct rewrite *rw, bool *is_made);

/* The leaf that holds the position. */
size_t rewrite_leaf_at(const struct rewrite *rw, struct bcfmt_pos pos);

#endif
