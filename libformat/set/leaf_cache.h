/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The final extents of the leaves that were looked at last. */
#ifndef SET_LEAF_CACHE_H
#define SET_LEAF_CACHE_H

#include <bcfmt/volume.h>

/* What a leaf holds that matters to a volume. Not changed while somebody has it. */
struct cached_leaf {
	struct bcfmt_extent *extents; /* in key order; stale ones only where dirty data is lost */
	size_t n_extents;
	struct bcfmt_span *doubts;
	size_t n_doubts;
	enum bcfmt_loss doubts_why;

	/* Of the cache. */
	size_t index;
	unsigned int users;
	bool is_ready;
	bcfmt_err err; /* it could not be read: not kept */
	struct cached_leaf *chain;
	struct cached_leaf *newer, *older;
};

/*
 * Leaf `index` of the tree, read if it is not there; handed back with leaf_cache_put(). Errors as
 * of bcfmt_volume_read().
 */
bcfmt_err leaf_cache_get(struct bcfmt_leaf_cache *cache, size_t index, struct cached_leaf **out);
void leaf_cache_put(struct bcfmt_leaf_cache *cache, struct cached_leaf *leaf);

struct bcfmt_tree *leaf_cache_tree(const struct bcfmt_leaf_cache *cache);

#endif
