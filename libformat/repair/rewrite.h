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
	uint8_t *is_kept; /* a leaf of the old tree: it stays where it is */
	struct bcfmt_tree_writer *writer;
	struct bcfmt_tree_written written;
	struct bcfmt_extent pending; /* not yet given to the writer: the next may continue it */
	bool has_pending;
	bool is_edited; /* something that the journal knows is not in the new tree */
};

#endif
