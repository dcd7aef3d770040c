/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Where the dirty data of a set lies, and whether a repair has kept it. */
#include "fuzz/places.h"

#undef NDEBUG
#include <assert.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/checked.h"

/* What is home already is clean, whatever its key says. */
static bcfmt_err take_leaf(void *arg, const struct bcfmt_node_view *view,
			   const struct bcfmt_extent *extents, size_t n_extents)
{
	struct places *places = arg;

	(void)view;
	for (size_t i = 0; i < n_extents; i++) {
		struct bcfmt_extent *extent;

		if (extents[i].stale || !extents[i].is_dirty || extents[i].is_written_back)
			continue;
		extent = vec_push(&places->extents, sizeof(*extent));
		assert(extent);
		*extent = extents[i];
	}
	return BCFMT_OK;
}

bcfmt_err places_find(struct bcfmt_ctx *ctx, struct bcfmt_dev *const *devs, size_t n_devs,
		      const struct bcfmt_set_params *params, struct places *places)
{
	struct bcfmt_tree_visitor visitor = { .arg = places, .leaf = take_leaf };
	struct bcfmt_tree_visitor nobody = { .arg = NULL };
	struct bcfmt_tree *tree = NULL;
	struct bcfmt_set *set;
	bcfmt_err err = bcfmt_set_open(ctx, devs, n_devs, params, &set);

	if (err)
		return err;
	if (set->has_geometry)
		err = bcfmt_tree_open(set, &nobody, &tree);
	if (!err && tree)
		err = bcfmt_tree_settle(tree);
	if (!err && tree)
		err = bcfmt_tree_range(tree, (struct bcfmt_pos){ 0, 0 }, bcfmt_pos_max(), &visitor);
	bcfmt_tree_free(tree);
	bcfmt_set_free(set);
	return err;
}

void places_clear(struct places *places)
{
	vec_free(&places->extents);
}

/* ---- what is missing ---- */

/* What is left of one extent of before. */
struct rest {
	const struct bcfmt_extent *extent;
	struct bcfmt_losses *const *losses;
	size_t n_losses;
	size_t next; /* of the losses */
	uint64_t at_sector;
	uint64_t missing;
};

static void miss(struct rest *rest, uint64_t start_sector, uint64_t end_sector);

static bcfmt_err skip_range(void *arg, const struct bcfmt_loss_range *range)
{
	struct rest *rest = arg;

	miss(rest, rest->at_sector, range->start_sector);
	rest->at_sector = range->end_sector;
	return BCFMT_OK;
}

/* Sectors that are elsewhere or nowhere: one collection after the other may know why. */
static void miss(struct rest *rest, uint64_t start_sector, uint64_t end_sector)
{
	struct rest below = *rest;

	if (start_sector >= end_sector)
		return;
	if (rest->next == rest->n_losses) {
		rest->missing += end_sector - start_sector;
		if (getenv("FUZZ_VERBOSE"))
			fprintf(stderr, "missing: inode %u sectors %llu to %llu at %llu\n",
				rest->extent->inode, (unsigned long long)start_sector,
				(unsigned long long)end_sector,
				(unsigned long long)bcfmt_ptr_sector(rest->extent->ptr));
		return;
	}
	below.next++;
	below.at_sector = start_sector;
	if (rest->losses[rest->next])
		assert(bcfmt_losses_each(rest->losses[rest->next], rest->extent->inode,
					 start_sector, end_sector, skip_range, &below) == BCFMT_OK);
	miss(&below, below.at_sector, end_sector);
	rest->missing = below.missing;
}

/* Where the sector would be. */
static uint64_t base_of(const struct bcfmt_extent *extent)
{
	return bcfmt_ptr_sector(extent->ptr) - extent->start_sector;
}

static bool is_before(const struct bcfmt_extent *extent, const struct bcfmt_extent *other)
{
	return extent->inode < other->inode ||
	       (extent->inode == other->inode && extent->end_sector <= other->start_sector);
}

uint64_t places_missing(const struct places *before, const struct places *after,
			struct bcfmt_losses *const *losses, size_t n_losses)
{
	const struct bcfmt_extent *there = after->extents.items;
	uint64_t missing = 0;
	size_t k = 0;

	for (size_t i = 0; i < before->extents.n; i++) {
		const struct bcfmt_extent *extent =
			VEC_AT(&before->extents, const struct bcfmt_extent, i);
		struct rest rest = { .extent = extent, .losses = losses, .n_losses = n_losses };
		uint64_t at = extent->start_sector;

		while (k < after->extents.n && is_before(&there[k], extent))
			k++;
		for (size_t j = k; j < after->extents.n && !is_before(extent, &there[j]); j++) {
			if (base_of(&there[j]) != base_of(extent))
				continue;
			miss(&rest, at, max_u64(there[j].start_sector, at));
			at = max_u64(at, min_u64(there[j].end_sector, extent->end_sector));
		}
		miss(&rest, at, extent->end_sector);
		missing += rest.missing;
	}
	return missing;
}
