/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Brings the dirty data of a backing device home: which extents, in which order, how far. */
#include <bcfmt/writeback.h>

#include <string.h>

#include <bcfmt/tree.h>

#include "base/checked.h"
#include "base/vec.h"
#include "repair/home_done.h"
#include "repair/writeback_copy.h"

/* A part of an extent, by the sectors of the device. */
struct part {
	uint64_t start_sector;
	uint64_t end_sector;
	uint64_t cache_sector;
};

struct writeback {
	struct bcfmt_set *set;
	const struct bcfmt_home_device *device;
	const struct bcfmt_writeback_params *params;
	struct bcfmt_home_done *done;
	uint64_t before_bytes; /* copied by earlier calls */
	struct bcfmt_tree *tree;
	struct home_copy *copy;
	size_t inode_index;
	uint64_t from_sector;  /* of that inode: what lies before it is done */
	uint64_t begin_sector; /* of the data of the device */
	uint64_t end_sector;
	struct vec parts; /* struct part: of the leaf that is walked */
	struct vec cut;	  /* struct part: scratch */
	bool is_stopped;  /* stop_bytes are reached */
};

static bcfmt_err no_memory(const struct writeback *wb)
{
	return bcfmt_fail(wb->set->ctx, BCFMT_E_NOMEM, "no memory to copy dirty data");
}

static bcfmt_err push_part(struct writeback *wb, struct vec *parts, struct part part)
{
	struct part *slot = vec_push(parts, sizeof(part));

	if (!slot)
		return no_memory(wb);
	*slot = part;
	return BCFMT_OK;
}

static uint32_t inode_of(const struct writeback *wb)
{
	return wb->device->inodes[wb->inode_index];
}

/* The first of the inodes may be the device's own; all others are adopted. */
static bool is_adopted(const struct writeback *wb)
{
	return wb->inode_index || !wb->device->has_slot;
}

static bcfmt_err tell(struct writeback *wb, enum bcfmt_home_why why, uint64_t start_sector,
		      uint64_t sectors, uint64_t cache_sector)
{
	struct bcfmt_home_left left = {
		.device = wb->device,
		.why = why,
		.inode = inode_of(wb),
		.start_sector = start_sector,
		.sectors = sectors,
		.cache_sector = cache_sector,
	};
	struct bcfmt_writeback_sums *sums = &wb->done->sums;
	bcfmt_err err = home_done_leave(wb->done, wb->inode_index, start_sector, sectors);

	*(why == BCFMT_HOME_UNREADABLE ? &sums->unreadable_bytes : &sums->outside_bytes) +=
		sectors * BCFMT_SECTOR_BYTES;
	if (err)
		return err;
	return wb->params->left ? wb->params->left(wb->params->arg, &left) : BCFMT_OK;
}

static bcfmt_err bad_sectors(void *arg, uint64_t home_sector, uint64_t sectors,
			     uint64_t cache_sector)
{
	return tell(arg, BCFMT_HOME_UNREADABLE, home_sector, sectors, cache_sector);
}

/* ---- what newer inodes of the device have ---- */

/* Takes [start, end) out of the parts. */
static bcfmt_err cut_out(struct writeback *wb, uint64_t start_sector, uint64_t end_sector)
{
	struct vec swap;
	bcfmt_err err = BCFMT_OK;

	wb->cut.n = 0;
	for (size_t i = 0; !err && i < wb->parts.n; i++) {
		struct part part = *VEC_AT(&wb->parts, struct part, i), rest = part;
		uint64_t first = max_u64(part.start_sector, start_sector);
		uint64_t end = min_u64(part.end_sector, end_sector);

		if (first >= end) {
			err = push_part(wb, &wb->cut, part);
			continue;
		}
		wb->done->sums.covered_bytes += (end - first) * BCFMT_SECTOR_BYTES;
		part.end_sector = first;
		rest.cache_sector += end - rest.start_sector;
		rest.start_sector = end;
		if (part.start_sector < part.end_sector)
			err = push_part(wb, &wb->cut, part);
		if (!err && rest.start_sector < rest.end_sector)
			err = push_part(wb, &wb->cut, rest);
	}
	swap = wb->parts;
	wb->parts = wb->cut;
	wb->cut = swap;
	return err;
}

struct cover {
	struct writeback *wb;
	uint32_t inode;
};

/* Whatever it is, dirty or clean, stale or not: it was put there later. */
static bcfmt_err see_cover(void *arg, const struct bcfmt_node_view *view,
			   const struct bcfmt_extent *extents, size_t n_extents)
{
	struct cover *cover = arg;
	bcfmt_err err = BCFMT_OK;

	(void)view;
	for (size_t i = 0; !err && i < n_extents; i++)
		if (extents[i].inode == cover->inode)
			err = cut_out(cover->wb, extents[i].start_sector, extents[i].end_sector);
	return err;
}

static bcfmt_err yield_to_newer(struct writeback *wb)
{
	bcfmt_err err = BCFMT_OK;

	for (size_t i = 0; !err && i < wb->inode_index && wb->parts.n; i++) {
		struct cover cover = { wb, wb->device->inodes[i] };
		struct bcfmt_tree_visitor visitor = { .arg = &cover, .leaf = see_cover };
		const struct part *first = wb->parts.items, *last = first + wb->parts.n - 1;

		err = bcfmt_tree_range(wb->tree,
				       (struct bcfmt_pos){ cover.inode, first->start_sector },
				       (struct bcfmt_pos){ cover.inode, last->end_sector },
				       &visitor);
	}
	return err;
}

/* ---- extents ---- */

static bool is_wanted(const struct writeback *wb, const struct bcfmt_extent *extent)
{
	if (extent->inode != inode_of(wb) || !extent->is_dirty || extent->stale ||
	    extent->end_sector <= wb->from_sector)
		return false;
	/*
	 * One's own data may as well come twice: a kernel does not wait for the disk before it marks
	 * data clean. A device that was used without its cache may have newer data by now.
	 */
	return !extent->is_written_back || !is_adopted(wb);
}

/* What of the extent can go to the device; the rest is told. */
static bcfmt_err take_extent(struct writeback *wb, const struct bcfmt_extent *extent)
{
	const struct bcfmt_geometry *geo = &wb->set->geo;
	uint64_t bucket = bcfmt_ptr_bucket(geo, extent->ptr);
	uint64_t start = max_u64(extent->start_sector, wb->from_sector), end = extent->end_sector;
	uint64_t cache_sector = bcfmt_ptr_sector(extent->ptr) + (start - extent->start_sector);
	uint64_t inside_start = max_u64(start, wb->begin_sector);
	uint64_t inside_end = min_u64(end, wb->end_sector);
	bcfmt_err err = BCFMT_OK;

	if (bcfmt_ptr_dev(extent->ptr) != geo->nr_this_dev ||
	    (bucket < geo->nbuckets && wb->set->buckets[bucket].use & BCFMT_USE_METADATA))
		return tell(wb, BCFMT_HOME_PLACE, start, end - start, cache_sector);
	if (inside_start >= inside_end)
		return tell(wb, BCFMT_HOME_OUTSIDE, start, end - start, cache_sector);
	if (start < inside_start)
		err = tell(wb, BCFMT_HOME_OUTSIDE, start, inside_start - start, cache_sector);
	if (!err)
		err = push_part(wb, &wb->parts,
				(struct part){ inside_start, inside_end,
					       cache_sector + (inside_start - start) });
	if (!err && inside_end < end)
		err = tell(wb, BCFMT_HOME_OUTSIDE, inside_end, end - inside_end,
			   cache_sector + (inside_end - start));
	return err;
}

static void count_copied(struct writeback *wb)
{
	wb->done->sums.copied_bytes =
		wb->before_bytes + home_copy_copied_sectors(wb->copy) * BCFMT_SECTOR_BYTES;
}

static bcfmt_err see_leaf(void *arg, const struct bcfmt_node_view *view,
			  const struct bcfmt_extent *extents, size_t n_extents)
{
	struct writeback *wb = arg;
	bcfmt_err err = BCFMT_OK;

	/* What was not there to be judged must not decide what is the newest. */
	if (view->is_lost_since)
		return bcfmt_fail(wb->set->ctx, BCFMT_E_IO,
				  "%s: a node that could be read cannot be read any more",
				  bcfmt_dev_name(wb->set->cache.dev));
	wb->parts.n = 0;
	for (size_t i = 0; !err && i < n_extents; i++)
		if (is_wanted(wb, &extents[i]))
			err = take_extent(wb, &extents[i]);
	if (!err && is_adopted(wb))
		err = yield_to_newer(wb);
	for (size_t i = 0; !err && i < wb->parts.n; i++) {
		const struct part *part = VEC_AT(&wb->parts, struct part, i);

		err = home_copy_add(wb->copy, part->start_sector, part->cache_sector,
				    part->end_sector - part->start_sector);
	}
	count_copied(wb);
	bcfmt_ctx_progress(wb->set->ctx, "writeback", wb->done->sums.copied_bytes,
			   wb->params->total_bytes);
	return err;
}

/* ---- all of it ---- */

/* First leaf that ends behind the position. */
static size_t leaf_after(const struct bcfmt_tree *tree, struct bcfmt_pos pos)
{
	size_t low = 0, high = bcfmt_tree_leaves(tree);

	while (low < high) {
		size_t mid = low + (high - low) / 2;

		if (bcfmt_pos_cmp(bcfmt_tree_leaf(tree, mid)->hi, pos) <= 0)
			low = mid + 1;
		else
			high = mid;
	}
	return low;
}

/* Leaf by leaf, so that it can stop between two of them: at *stop_sector then. */
static bcfmt_err walk_inode(struct writeback *wb, uint64_t *stop_sector)
{
	struct bcfmt_tree_visitor visitor = { .arg = wb, .leaf = see_leaf };
	struct bcfmt_pos lo = { inode_of(wb), wb->from_sector };
	struct bcfmt_pos end = { inode_of(wb), BCFMT_KEY_MAX_OFFSET };

	for (size_t i = leaf_after(wb->tree, lo); i < bcfmt_tree_leaves(wb->tree); i++) {
		const struct bcfmt_node_ref *ref = bcfmt_tree_leaf(wb->tree, i);
		bcfmt_err err;

		if (bcfmt_pos_cmp(ref->lo, end) >= 0)
			break;
		err = bcfmt_tree_range(wb->tree, ref->lo, ref->hi, &visitor);
		if (err)
			return err;
		wb->is_stopped = wb->params->stop_bytes && ref->hi.inode == end.inode &&
				 home_copy_taken_sectors(wb->copy) * BCFMT_SECTOR_BYTES >=
					 wb->params->stop_bytes;
		*stop_sector = ref->hi.sector;
		if (wb->is_stopped)
			break;
	}
	return BCFMT_OK;
}

static bcfmt_err copy_inode(struct writeback *wb)
{
	struct bcfmt_home_done *done = wb->done;
	uint64_t stop_sector = done->sector;
	bcfmt_err err, sync_err;

	wb->inode_index = done->inode_index;
	wb->from_sector = done->sector;
	home_copy_begin(wb->copy, done->sector);
	err = walk_inode(wb, &stop_sector);
	/* Of a walk that was cut off, what is written already is made durable. */
	sync_err = err ? bcfmt_dev_flush(wb->params->target) : home_copy_sync(wb->copy);
	count_copied(wb);
	if (sync_err)
		return err ? err : sync_err;
	if (err) {
		done->sector = home_copy_written_to(wb->copy);
	} else if (wb->is_stopped) {
		done->sector = stop_sector;
	} else {
		done->inode_index++;
		done->sector = 0;
	}
	return err;
}

bcfmt_err bcfmt_writeback_run(struct bcfmt_set *set, const struct bcfmt_home_device *device,
			      const struct bcfmt_writeback_params *params,
			      struct bcfmt_home_done *done)
{
	struct writeback wb = {
		.set = set,
		.device = device,
		.params = params,
		.done = done,
		.before_bytes = done->sums.copied_bytes,
		.begin_sector = device->member->super.data_offset_sectors,
		.end_sector = bcfmt_dev_bytes(params->target) / BCFMT_SECTOR_BYTES,
	};
	struct home_copy_params copy_params = {
		.ctx = set->ctx,
		.cache = set->cache.dev,
		.target = params->target,
		.undo = params->undo,
		.undo_index = params->undo_index,
		.bad = bad_sectors,
		.arg = &wb,
	};
	bcfmt_err err;

	if (device->refusal)
		return bcfmt_fail(set->ctx, BCFMT_E_ARG, "%s: not written to, it %s",
				  bcfmt_dev_name(device->member->dev),
				  bcfmt_home_refusal_text(device->refusal));
	if (done->n_inodes != device->n_inodes ||
	    (device->n_inodes &&
	     memcmp(done->inodes, device->inodes, device->n_inodes * sizeof(*device->inodes))))
		return bcfmt_fail(set->ctx, BCFMT_E_ARG, "%s: has other inodes than before",
				  bcfmt_dev_name(device->member->dev));
	/* Without an entry to read by there is no tree, and no telling what is dirty. */
	if (!set->has_tree || bcfmt_home_done_is_through(done))
		return BCFMT_OK;
	err = home_copy_new(&copy_params, &wb.copy);
	if (!err)
		err = bcfmt_tree_open(set, NULL, &wb.tree);
	if (!err)
		err = bcfmt_tree_settle(wb.tree);
	while (!err && !wb.is_stopped && !bcfmt_home_done_is_through(done))
		err = copy_inode(&wb);
	bcfmt_tree_free(wb.tree);
	home_copy_free(wb.copy);
	vec_free(&wb.parts);
	vec_free(&wb.cut);
	return err;
}
