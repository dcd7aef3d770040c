/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What a kernel says of keys and nodes. */
#ifndef CHECK_PREDICT_NODE_H
#define CHECK_PREDICT_NODE_H

#include "check/predict.h"
#include "check/predict_merge.h"

/* kernel: GC_MARK() of a bucket. */
#define PREDICT_MARK_RECLAIMABLE 1u
#define PREDICT_MARK_DIRTY 2u
#define PREDICT_MARK_METADATA 3u

/* Rules over all pointers of a key. kernel: __bch_extent_invalid(), __bch_btree_ptr_invalid(). */
bool predict_is_invalid(const struct bcfmt_geometry *geo, const struct merge_key *key,
			bool is_extent);
/*
 * Adds an event for "spotted ... KEY: STATUS", and a second where the status hangs on a generation
 * that changes while the set comes up.
 */
bcfmt_err predict_spotted(struct check *ck, const struct predict_event *event,
			  const struct merge_key *key);
/*
 * Reads the node at a pointer that the walk does not follow, and tells what a kernel says of it.
 * *is_good: its layout is accepted.
 */
bcfmt_err predict_probe(struct check *ck, const struct bcfmt_node_ref *ref, bool *is_good);

#endif
