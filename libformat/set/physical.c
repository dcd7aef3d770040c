/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The extents of a tree in the order of their place on the cache. */
#include <string.h>

#include "base/checked.h"
#include "base/runs.h"
#include "set/tree_impl.h"

struct placed {
	struct bcfmt_extent extent;
	uint64_t leaf_ptr;
};

struct collect {
	struct bcfmt_set *set;
	struct runs *runs;
	struct bcfmt_pos lo;
	struct bcfmt_pos hi;
};

/* By place; extents that share sectors by key, then whatever else tells them apart. */
static int placed_cmp(const void *a, const void *b)
{
	const struct placed *x = a, *y = b;
	uint64_t x_sector = bcfmt_ptr_sector(x->extent.ptr);
	uint64_t y_sector = bcfmt_ptr_sector(y->extent.ptr);

	if (x_sector != y_sector)
		return x_sector < y_sector ? -1 : 1;
	if (x->extent.inode != y->extent.inode)
		return x->extent.inode < y->extent.inode ? -1 : 1;
	if (x->extent.start_sector != y->extent.start_sector)
		return x->extent.start_sector < y->extent.start_sector ? -1 : 1;
	return x->extent.ptr < y->extent.ptr ? -1 : x->extent.ptr > y->extent.ptr;
}

static bcfmt_err collect_leaf(void *arg, const struct bcfmt_node_view *view,
			      const struct bcfmt_extent *extents, size_t n_extents)
{
	struct collect *collect = arg;
	bcfmt_err err = BCFMT_OK;

	/* Its extents would be missing without a word: nothing but extents is told from here. */
	if (view->is_lost_since)
		return bcfmt_fail(collect->set->ctx, BCFMT_E_IO,
				  "%s: sector %llu: the btree node there cannot be read again",
				  bcfmt_dev_name(collect->set->cache.dev),
				  (unsigned long long)bcfmt_ptr_sector(view->ref->ptr));
	for (size_t i = 0; i < n_extents && !err; i++) {
		struct bcfmt_pos start = { extents[i].inode, extents[i].start_sector };
		struct bcfmt_pos end = { extents[i].inode, extents[i].end_sector };
		struct placed placed;

		if (bcfmt_pos_cmp(start, collect->hi) >= 0 || bcfmt_pos_cmp(end, collect->lo) <= 0)
			continue;
		memset(&placed, 0, sizeof(placed));
		placed.extent = extents[i];
		placed.leaf_ptr = view->ref->sectors ? view->ref->ptr : 0;
		err = runs_add(collect->runs, &placed, 1);
	}
	return err;
}

bcfmt_err bcfmt_tree_physical(struct bcfmt_tree *tree, struct bcfmt_pos lo, struct bcfmt_pos hi,
			      bcfmt_placed_fn placed, void *arg)
{
	struct bcfmt_ctx *ctx = tree->set->ctx;
	struct collect collect = { tree->set, NULL, lo, hi };
	struct bcfmt_tree_visitor visitor = { .arg = &collect, .leaf = collect_leaf };
	const void *record;
	bcfmt_err err;

	err = runs_new(ctx, sizeof(struct placed), max_u64(bcfmt_ctx_max_bytes(ctx) / 2, 1u << 20),
		       placed_cmp, &collect.runs);
	if (!err)
		err = bcfmt_tree_range(tree, lo, hi, &visitor);
	if (!err)
		err = runs_sort(collect.runs);
	while (!err) {
		err = runs_next(collect.runs, &record);
		if (!err)
			err = placed(arg, &((const struct placed *)record)->extent,
				     ((const struct placed *)record)->leaf_ptr);
		if (!err && bcfmt_ctx_is_cancelled(ctx))
			err = BCFMT_E_CANCELLED;
	}
	runs_free(collect.runs);
	return err == BCFMT_END ? BCFMT_OK : err;
}
