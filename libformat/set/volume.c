/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Volumes opened for reading: what of the leaves belongs to a chunk of one. It becomes pieces, of
 * which no two overlap.
 */
#include "set/volume_impl.h"

#include <stdlib.h>

#define LOST_BYTES_MIN (1u << 20)

static int lost_cmp(const void *a, const void *b)
{
	const struct lost_range *x = a, *y = b;

	return (x->start > y->start) - (x->start < y->start);
}

static bcfmt_err take_lost(void *arg, const struct bcfmt_loss_range *range)
{
	struct bcfmt_volume *volume = arg;
	uint64_t shift = volume->params.data_offset_sectors;
	struct lost_range lost = { range->start_sector - shift, range->end_sector - shift };

	return range->is_lost ? runs_add(volume->lost, &lost, 1) : BCFMT_OK;
}

static bcfmt_err take_losses(struct bcfmt_volume *volume, struct bcfmt_losses *losses)
{
	uint64_t shift = volume->params.data_offset_sectors;
	uint64_t max_bytes = max_u64(bcfmt_ctx_max_bytes(volume->ctx) / 8, LOST_BYTES_MIN);
	bcfmt_err err;

	if (!losses)
		return BCFMT_OK;
	err = runs_new(volume->ctx, sizeof(struct lost_range), max_bytes, lost_cmp, &volume->lost);
	if (!err)
		err = bcfmt_losses_each(losses, volume->params.inode, shift,
					shift + volume->params.sectors, take_lost, volume);
	if (!err)
		err = runs_sort(volume->lost);
	return err ? err : runs_flatten(volume->lost);
}

bcfmt_err bcfmt_volume_open(struct bcfmt_leaf_cache *leaves,
			    const struct bcfmt_volume_params *params, struct bcfmt_volume **out)
{
	struct bcfmt_set *set = leaf_cache_tree(leaves)->set;
	struct bcfmt_volume *volume;
	bcfmt_err err;

	*out = NULL;
	if (params->data_offset_sectors > BCFMT_KEY_MAX_OFFSET ||
	    params->sectors > BCFMT_KEY_MAX_OFFSET / BCFMT_SECTOR_BYTES)
		return bcfmt_fail(set->ctx, BCFMT_E_ARG, "a volume of impossible size");
	volume = calloc(1, sizeof(*volume));
	if (!volume)
		return bcfmt_fail(set->ctx, BCFMT_E_NOMEM, "no memory for a volume");
	volume->params = *params;
	volume->leaves = leaves;
	volume->ctx = set->ctx;
	volume->cache = set->cache.dev;
	if (pthread_mutex_init(&volume->lock, NULL)) {
		free(volume);
		return bcfmt_fail(set->ctx, BCFMT_E_SYSTEM, "no lock to be had");
	}
	volume->params.losses = NULL;
	err = take_losses(volume, params->losses);
	if (err)
		bcfmt_volume_free(volume);
	else
		*out = volume;
	return err;
}

void bcfmt_volume_free(struct bcfmt_volume *volume)
{
	if (!volume)
		return;
	while (volume->idle) {
		struct scratch *scratch = volume->idle;

		volume->idle = scratch->next;
		vec_free(&scratch->pieces);
		free(scratch);
	}
	runs_free(volume->lost);
	pthread_mutex_destroy(&volume->lock);
	free(volume);
}

uint64_t bcfmt_volume_sectors(const struct bcfmt_volume *volume)
{
	return volume->params.sectors;
}

struct scratch *volume_take_scratch(struct bcfmt_volume *volume)
{
	struct scratch *scratch;

	pthread_mutex_lock(&volume->lock);
	scratch = volume->idle;
	if (scratch)
		volume->idle = scratch->next;
	pthread_mutex_unlock(&volume->lock);
	return scratch ? scratch : calloc(1, sizeof(*scratch));
}

void volume_give_scratch(struct bcfmt_volume *volume, struct scratch *scratch)
{
	pthread_mutex_lock(&volume->lock);
	scratch->next = volume->idle;
	volume->idle = scratch;
	pthread_mutex_unlock(&volume->lock);
}

/* ---- what the cache has ---- */

size_t volume_first_extent(const struct cached_leaf *leaf, uint32_t inode, uint64_t key_sector)
{
	size_t low = 0, high = leaf->n_extents;

	while (low < high) {
		size_t mid = low + (high - low) / 2;
		const struct bcfmt_extent *extent = &leaf->extents[mid];

		if (extent->inode < inode ||
		    (extent->inode == inode && extent->end_sector <= key_sector))
			low = mid + 1;
		else
			high = mid;
	}
	return low;
}

enum piece_kind volume_kind_of(const struct bcfmt_volume *volume, const struct bcfmt_extent *extent)
{
	const struct bcfmt_set *set = leaf_cache_tree(volume->leaves)->set;
	uint64_t bucket = bcfmt_ptr_bucket(&set->geo, extent->ptr);

	if (extent->stale)
		return PIECE_STALE;
	if (!extent->is_dirty)
		return PIECE_CLEAN;
	/* Written back, the backing device would have it, but what is read is not that. */
	if (bucket < set->geo.nbuckets &&
	    __atomic_load_n(&set->buckets[bucket].use, __ATOMIC_RELAXED) & BCFMT_USE_METADATA)
		return PIECE_MISPLACED;
	return PIECE_DIRTY;
}

/* Adds the part of an extent that lies in the chunk and behind the pieces so far. */
static bcfmt_err add_piece(struct chunk *chunk, const struct bcfmt_extent *extent)
{
	struct vec *pieces = &chunk->scratch->pieces;
	struct piece *last = pieces->n ? VEC_AT(pieces, struct piece, pieces->n - 1) : NULL;
	uint64_t shift = chunk->volume->params.data_offset_sectors + chunk->start_sector;
	uint64_t start = max_u64(extent->start_sector, shift + (last ? last->end : 0));
	uint64_t end = min_u64(extent->end_sector, shift + chunk->sectors);
	struct piece piece;

	if (start >= end)
		return BCFMT_OK;
	piece = (struct piece){
		/* ptr belongs to the first sector of the whole extent. */
		.cache_sector = bcfmt_ptr_sector(extent->ptr) + (start - extent->start_sector),
		.first = (uint32_t)(start - shift),
		.end = (uint32_t)(end - shift),
		.kind = volume_kind_of(chunk->volume, extent),
	};
	/* Small writes that came one after the other lie so on the cache: one read for all. */
	if (last && last->kind == piece.kind && last->end == piece.first &&
	    last->cache_sector + (last->end - last->first) == piece.cache_sector) {
		last->end = piece.end;
		return BCFMT_OK;
	}
	last = vec_push(pieces, sizeof(*last));
	if (!last)
		return bcfmt_fail(chunk->volume->ctx, BCFMT_E_NOMEM, "no memory for extents");
	*last = piece;
	return BCFMT_OK;
}

bcfmt_err volume_find_pieces(struct chunk *chunk)
{
	const struct bcfmt_volume *volume = chunk->volume;
	const struct bcfmt_tree *tree = leaf_cache_tree(volume->leaves);
	uint32_t inode = volume->params.inode;
	struct bcfmt_pos lo = { inode, volume->params.data_offset_sectors + chunk->start_sector };
	struct bcfmt_pos hi = { inode, lo.sector + chunk->sectors };
	bcfmt_err err = BCFMT_OK;

	chunk->scratch->pieces.n = 0;
	for (size_t i = tree_first_leaf(tree, lo); !err && i < bcfmt_tree_leaves(tree); i++) {
		struct cached_leaf *leaf;

		if (bcfmt_pos_cmp(bcfmt_tree_leaf(tree, i)->lo, hi) >= 0)
			break;
		err = leaf_cache_get(volume->leaves, i, &leaf);
		if (err)
			break;
		for (size_t k = volume_first_extent(leaf, inode, lo.sector);
		     !err && k < leaf->n_extents; k++) {
			if (leaf->extents[k].inode != inode ||
			    leaf->extents[k].start_sector >= hi.sector)
				break;
			err = add_piece(chunk, &leaf->extents[k]);
		}
		leaf_cache_put(volume->leaves, leaf);
	}
	return err;
}

/* ---- what the backing device has ---- */

bcfmt_err volume_backing_data(struct bcfmt_volume *volume, uint64_t sector, uint64_t *begin,
			      uint64_t *end)
{
	uint64_t shift = volume->params.data_offset_sectors, at = sector + shift;
	uint64_t begin_bytes, end_bytes;
	bcfmt_err err = BCFMT_OK;

	if (!volume->params.backing)
		return BCFMT_END;
	pthread_mutex_lock(&volume->lock);
	if (at < volume->hole_begin || at >= volume->data_end) {
		err = bcfmt_dev_next_data(volume->params.backing, at * BCFMT_SECTOR_BYTES,
					  &begin_bytes, &end_bytes);
		if (err == BCFMT_OK) {
			volume->hole_begin = at;
			volume->data_begin = begin_bytes / BCFMT_SECTOR_BYTES;
			volume->data_end = end_bytes / BCFMT_SECTOR_BYTES;
		}
	}
	*begin = max_u64(volume->data_begin, at) - shift;
	*end = volume->data_end - shift;
	pthread_mutex_unlock(&volume->lock);
	/* A volume can be longer than its device, which was cut: those sectors are lost, not empty. */
	if (err == BCFMT_END) {
		*begin = max_u64(bcfmt_dev_bytes(volume->params.backing) / BCFMT_SECTOR_BYTES, at) -
			 shift;
		*end = volume->params.sectors;
		err = BCFMT_OK;
	}
	if (!err && *begin >= volume->params.sectors)
		return BCFMT_END;
	*end = min_u64(*end, volume->params.sectors);
	return err;
}

bcfmt_err volume_first_lost(struct runs *lost, uint64_t sector, uint64_t *index)
{
	uint64_t low = 0, high = runs_count(lost);
	bcfmt_err err = BCFMT_OK;

	while (!err && low < high) {
		uint64_t mid = low + (high - low) / 2;
		struct lost_range range = { 0 };

		err = runs_get(lost, mid, &range, 1);
		if (range.end <= sector)
			low = mid + 1;
		else
			high = mid;
	}
	*index = low;
	return err;
}
