/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Lays the keys of adopted inodes under those of their device. Where the device's own inode has a
 * key, whatever it is, it stays; the gaps between are filled with what the next older inode has
 * there, and its gaps with that of the one before. Nothing is kept but a position for each.
 */
#include "repair/orders.h"

#include "base/checked.h"

struct merge {
	struct bcfmt_tree *tree;
	const struct bcfmt_set *set;
	const struct order_target *target;
	emit_fn emit;
	void *emit_arg;
};

/* One older inode in a gap of the newer ones. */
struct gap {
	const struct merge *merge;
	size_t level; /* into sources */
	uint64_t at;
	uint64_t end;
};

static bcfmt_err fill_gap(const struct merge *merge, size_t level, uint64_t start, uint64_t end);

static bool is_kept(const struct bcfmt_extent *extent)
{
	return extent->is_dirty && !extent->stale && !extent->is_written_back;
}

static bcfmt_err emit_part(const struct merge *merge, const struct bcfmt_extent *extent,
			   uint64_t start, uint64_t end)
{
	struct bcfmt_extent part = *extent;

	part.inode = merge->target->inode;
	part.ptr += (start - extent->start_sector) << 8;
	part.start_sector = start;
	part.end_sector = end;
	return merge->emit(merge->emit_arg, &part);
}

static bcfmt_err see_source(void *arg, const struct bcfmt_node_view *view,
			    const struct bcfmt_extent *extents, size_t n_extents)
{
	struct gap *gap = arg;
	const struct merge *merge = gap->merge;
	bcfmt_err err = BCFMT_OK;

	if (view->is_lost_since)
		return bcfmt_fail(merge->set->ctx, BCFMT_E_IO,
				  "%s: a node that could be read cannot be read any more",
				  bcfmt_dev_name(merge->set->cache.dev));
	for (size_t i = 0; !err && i < n_extents; i++) {
		uint64_t start = max_u64(extents[i].start_sector, gap->at);
		uint64_t end = min_u64(extents[i].end_sector, gap->end);

		if (extents[i].inode != merge->target->sources[gap->level] || start >= end)
			continue;
		err = fill_gap(merge, gap->level + 1, gap->at, start);
		if (!err && is_kept(&extents[i]))
			err = emit_part(merge, &extents[i], start, end);
		gap->at = end;
	}
	return err;
}

/* Ends: every call goes one source further. */
static bcfmt_err fill_gap(const struct merge *merge, size_t level, uint64_t start, uint64_t end)
{
	struct gap gap = { merge, level, start, end };
	struct bcfmt_tree_visitor visitor = { .arg = &gap, .leaf = see_source };
	uint32_t inode;
	bcfmt_err err;

	if (level >= merge->target->n_sources || start >= end)
		return BCFMT_OK;
	inode = merge->target->sources[level];
	err = bcfmt_tree_range(merge->tree, (struct bcfmt_pos){ inode, start },
			       (struct bcfmt_pos){ inode, end }, &visitor);
	return err ? err : fill_gap(merge, level + 1, gap.at, end);
}

/* Sectors of the inode within the leaf's range. */
static void bounds(const struct bcfmt_node_ref *ref, uint32_t inode, uint64_t *start, uint64_t *end)
{
	*start = inode == ref->lo.inode ? ref->lo.sector : 0;
	*end = inode == ref->hi.inode ? ref->hi.sector : BCFMT_KEY_MAX_OFFSET;
}

bcfmt_err orders_merge(void *arg, struct bcfmt_tree *tree, const struct bcfmt_node_ref *ref,
		       const struct bcfmt_extent *extents, size_t n_extents, emit_fn emit,
		       void *emit_arg)
{
	const struct orders *orders = arg;
	struct merge merge = {
		.tree = tree, .set = orders->set, .emit = emit, .emit_arg = emit_arg
	};
	size_t next = 0;
	bcfmt_err err = BCFMT_OK;

	for (size_t t = 0; !err && t < orders->n_targets; t++) {
		uint64_t at, end;

		merge.target = &orders->targets[t];
		if (merge.target->inode < ref->lo.inode || merge.target->inode > ref->hi.inode)
			continue;
		bounds(ref, merge.target->inode, &at, &end);
		for (; !err && next < n_extents && extents[next].inode < merge.target->inode;
		     next++)
			err = emit(emit_arg, &extents[next]);
		for (; !err && next < n_extents && extents[next].inode == merge.target->inode;
		     next++) {
			err = fill_gap(&merge, 0, at, extents[next].start_sector);
			if (!err)
				err = emit(emit_arg, &extents[next]);
			at = extents[next].end_sector;
		}
		if (!err)
			err = fill_gap(&merge, 0, at, end);
	}
	for (; !err && next < n_extents; next++)
		err = emit(emit_arg, &extents[next]);
	return err;
}
