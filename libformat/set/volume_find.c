/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Of a volume, without reading it: where its sectors lie, where data is, what is not proved. */
#include "set/volume_impl.h"

/* ---- where it lies ---- */

struct places {
	struct bcfmt_place *at;
	size_t n;
	size_t max;
};

/* END when there are too many, or the device ends before. */
static bcfmt_err add_place(struct places *places, struct bcfmt_dev *dev, uint64_t dev_sector,
			   size_t sectors)
{
	uint64_t dev_sectors = dev ? bcfmt_dev_bytes(dev) / BCFMT_SECTOR_BYTES : 0;

	if (!sectors)
		return BCFMT_OK;
	if (places->n == places->max || dev_sector > dev_sectors ||
	    sectors > dev_sectors - dev_sector)
		return BCFMT_END;
	places->at[places->n++] = (struct bcfmt_place){ dev, dev_sector, sectors };
	return BCFMT_OK;
}

static bcfmt_err find_places(struct chunk *chunk, struct places *places)
{
	const struct bcfmt_volume *volume = chunk->volume;
	uint64_t shift = volume->params.data_offset_sectors + chunk->start_sector;
	const struct vec *pieces = &chunk->scratch->pieces;
	uint32_t at = 0;
	bcfmt_err err = volume_find_pieces(chunk);

	for (size_t i = 0; !err && i < pieces->n; i++) {
		const struct piece *piece = VEC_AT(pieces, struct piece, i);

		if (piece->kind == PIECE_CLEAN)
			continue;
		if (piece->kind != PIECE_DIRTY)
			return BCFMT_END;
		err = add_place(places, volume->params.backing, shift + at, piece->first - at);
		if (!err)
			err = add_place(places, volume->cache, piece->cache_sector,
					piece->end - piece->first);
		at = piece->end;
	}
	if (!err)
		err = add_place(places, volume->params.backing, shift + at, chunk->sectors - at);
	return err;
}

bcfmt_err bcfmt_volume_places(struct bcfmt_volume *volume, uint64_t start_sector, size_t sectors,
			      struct bcfmt_place *places, size_t max_places, size_t *n_places)
{
	struct places out = { .at = places, .max = max_places };
	struct chunk chunk = { .volume = volume,
			       .start_sector = start_sector,
			       .sectors = (uint32_t)sectors };
	uint64_t lost = 0;
	struct lost_range range = { .start = UINT64_MAX };
	bcfmt_err err = BCFMT_OK;

	*n_places = 0;
	if (!volume_has(volume, start_sector, sectors))
		return bcfmt_fail(volume->ctx, BCFMT_E_RANGE, "beyond the end of the volume");
	if (!sectors || sectors > CHUNK_SECTORS)
		return BCFMT_END;
	if (volume->lost) {
		err = volume_first_lost(volume->lost, start_sector, &lost);
		if (!err && lost < runs_count(volume->lost))
			err = runs_get(volume->lost, lost, &range, 1);
	}
	if (err || range.start < start_sector + sectors)
		return err ? err : BCFMT_END;
	chunk.scratch = volume_take_scratch(volume);
	if (!chunk.scratch)
		return bcfmt_fail(volume->ctx, BCFMT_E_NOMEM, "no memory for extents");
	err = find_places(&chunk, &out);
	volume_give_scratch(volume, chunk.scratch);
	*n_places = err ? 0 : out.n;
	return err;
}

/* ---- where anything is ---- */

/* The first extent that matters where the backing device holds nothing; END. */
static bcfmt_err cached_data(struct bcfmt_volume *volume, uint64_t sector, uint64_t until,
			     uint64_t *begin, uint64_t *end)
{
	const struct bcfmt_tree *tree = leaf_cache_tree(volume->leaves);
	uint64_t shift = volume->params.data_offset_sectors;
	uint32_t inode = volume->params.inode;
	struct bcfmt_pos lo = { inode, sector + shift }, hi = { inode, until + shift };
	bcfmt_err err = BCFMT_END;

	for (size_t i = tree_first_leaf(tree, lo); err == BCFMT_END && i < bcfmt_tree_leaves(tree);
	     i++) {
		struct cached_leaf *leaf;
		bcfmt_err got;

		if (bcfmt_pos_cmp(bcfmt_tree_leaf(tree, i)->lo, hi) >= 0)
			break;
		got = leaf_cache_get(volume->leaves, i, &leaf);
		if (got)
			return got;
		for (size_t k = volume_first_extent(leaf, inode, lo.sector); k < leaf->n_extents;
		     k++) {
			const struct bcfmt_extent *extent = &leaf->extents[k];

			if (extent->inode != inode || extent->start_sector >= hi.sector)
				break;
			if (volume_kind_of(volume, extent) == PIECE_CLEAN)
				continue;
			*begin = max_u64(extent->start_sector, lo.sector) - shift;
			*end = min_u64(extent->end_sector, hi.sector) - shift;
			err = BCFMT_OK;
			break;
		}
		leaf_cache_put(volume->leaves, leaf);
	}
	return err;
}

bcfmt_err bcfmt_volume_next_data(struct bcfmt_volume *volume, uint64_t start_sector,
				 uint64_t *begin_sector, uint64_t *end_sector)
{
	uint64_t begin = 0, end = 0, until = volume->params.sectors;
	bcfmt_err backing, cached = BCFMT_END;

	if (start_sector >= until)
		return BCFMT_END;
	backing = volume_backing_data(volume, start_sector, &begin, &end);
	if (backing && backing != BCFMT_END)
		return backing;
	if (!backing)
		until = begin;
	if (start_sector < until)
		cached = cached_data(volume, start_sector, until, begin_sector, end_sector);
	if (cached != BCFMT_END)
		return cached;
	*begin_sector = begin;
	*end_sector = end;
	return backing;
}

/* ---- where it is not known what is right ---- */

/* The part of a doubt that belongs to the volume; false when there is none. */
static bool cut_doubt(const struct bcfmt_volume_params *params, const struct bcfmt_span *doubt,
		      uint64_t *start, uint64_t *end)
{
	uint64_t shift = params->data_offset_sectors;

	if (doubt->lo.inode > params->inode || doubt->hi.inode < params->inode)
		return false;
	*start = 0;
	*end = params->sectors;
	if (doubt->lo.inode == params->inode && doubt->lo.sector > shift)
		*start = doubt->lo.sector - shift;
	if (doubt->hi.inode == params->inode)
		*end = min_u64(*end, doubt->hi.sector > shift ? doubt->hi.sector - shift : 0);
	return *start < *end;
}

bcfmt_err bcfmt_volume_doubts(struct bcfmt_volume *volume, uint64_t start_sector,
			      uint64_t end_sector, bcfmt_doubt_fn fn, void *arg)
{
	const struct bcfmt_volume_params *params = &volume->params;
	const struct bcfmt_tree *tree = leaf_cache_tree(volume->leaves);
	/* One that begins before the volume does begins at sector 0 of it. */
	struct bcfmt_pos lo = { params->inode,
				start_sector ? params->data_offset_sectors + start_sector : 0 };
	struct bcfmt_pos hi = { params->inode, params->data_offset_sectors + end_sector };
	bcfmt_err err = BCFMT_OK;

	for (size_t i = tree_first_leaf(tree, lo); i < bcfmt_tree_leaves(tree); i++) {
		struct cached_leaf *leaf;

		if (bcfmt_pos_cmp(bcfmt_tree_leaf(tree, i)->lo, hi) >= 0)
			break;
		err = leaf_cache_get(volume->leaves, i, &leaf);
		if (err)
			break;
		for (size_t k = 0; k < leaf->n_doubts; k++) {
			uint64_t start, end;

			if (cut_doubt(params, &leaf->doubts[k], &start, &end) &&
			    start >= start_sector && start < end_sector)
				fn(arg, leaf->doubts_why, start, end);
		}
		leaf_cache_put(volume->leaves, leaf);
	}
	return err;
}
