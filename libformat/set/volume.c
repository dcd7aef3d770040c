/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Reads a logical volume at any place. A range is read in chunks: what the cache has for one becomes
 * pieces, of which no two overlap, and these are laid over what the backing device has.
 */
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include <bcfmt/volume.h>

#include "base/checked.h"
#include "base/runs.h"
#include "base/vec.h"
#include "set/leaf_cache.h"
#include "set/tree_impl.h"

#define CHUNK_SECTORS 4096u
#define LOST_BYTES_MIN (1u << 20)

enum piece_kind { PIECE_DIRTY, PIECE_CLEAN, PIECE_STALE, PIECE_MISPLACED };

/* A part of the chunk that the cache has something for. */
struct piece {
	uint64_t cache_sector;
	uint32_t first;
	uint32_t end;
	enum piece_kind kind;
};

/* What one read at a time needs. */
struct scratch {
	struct scratch *next;
	struct vec pieces;	    /* struct piece, in order */
	uint8_t bad[CHUNK_SECTORS]; /* the last read of the sector failed */
};

struct bcfmt_volume {
	struct bcfmt_volume_params params;
	struct bcfmt_leaf_cache *leaves; /* borrowed */
	struct bcfmt_ctx *ctx;
	struct bcfmt_dev *cache;
	pthread_mutex_t lock;
	struct scratch *idle; /* never more than reads at one time */
	struct runs *lost;    /* struct lost_range in order, none overlaps; NULL: none */
	/* Of the backing device, by its sectors: no data in [hole_begin, data_begin), then data. */
	uint64_t hole_begin, data_begin, data_end;
};

/* Sectors of the volume. */
struct lost_range {
	uint64_t start;
	uint64_t end;
};

/* A chunk that is being read. */
struct chunk {
	struct bcfmt_volume *volume;
	struct scratch *scratch;
	uint64_t start_sector;
	uint32_t sectors;
	uint8_t *buf;
	uint8_t *state;
	struct bcfmt_volume_counts counts;
};

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

static struct scratch *take_scratch(struct bcfmt_volume *volume)
{
	struct scratch *scratch;

	pthread_mutex_lock(&volume->lock);
	scratch = volume->idle;
	if (scratch)
		volume->idle = scratch->next;
	pthread_mutex_unlock(&volume->lock);
	return scratch ? scratch : calloc(1, sizeof(*scratch));
}

static void give_scratch(struct bcfmt_volume *volume, struct scratch *scratch)
{
	pthread_mutex_lock(&volume->lock);
	scratch->next = volume->idle;
	volume->idle = scratch;
	pthread_mutex_unlock(&volume->lock);
}

/* ---- what the cache has ---- */

/* First extent of the leaf that ends after the sector of the volume's inode. */
static size_t first_extent(const struct cached_leaf *leaf, uint32_t inode, uint64_t key_sector)
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

static enum piece_kind kind_of(const struct bcfmt_volume *volume, const struct bcfmt_extent *extent)
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

/* The data is taken from the cache, whatever the backing device has. */
static bool is_over(const struct piece *piece)
{
	return piece->kind == PIECE_DIRTY || piece->kind == PIECE_MISPLACED;
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
		.kind = kind_of(chunk->volume, extent),
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

static bcfmt_err find_pieces(struct chunk *chunk)
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
		for (size_t k = first_extent(leaf, inode, lo.sector); !err && k < leaf->n_extents;
		     k++) {
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

/* The next data of the backing device at or after the sector of the volume; END. */
static bcfmt_err backing_data(struct bcfmt_volume *volume, uint64_t sector, uint64_t *begin,
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

/* Reads sectors first..end of the chunk from dev and marks in state what cannot be read. */
static bcfmt_err read_part(struct chunk *chunk, struct bcfmt_dev *dev, uint64_t dev_sector,
			   uint32_t first, uint32_t end, enum bcfmt_sector why)
{
	const uint8_t *bad = chunk->scratch->bad;
	bcfmt_err err;

	if (first >= end)
		return BCFMT_OK;
	err = bcfmt_dev_read_marked(dev, dev_sector * BCFMT_SECTOR_BYTES,
				    chunk->buf + (size_t)first * BCFMT_SECTOR_BYTES,
				    (size_t)(end - first) * BCFMT_SECTOR_BYTES,
				    chunk->scratch->bad);
	for (uint32_t i = first; i < end && !err; i++)
		if (bad[i - first])
			chunk->state[i] = (uint8_t)why;
	return err;
}

/* Narrows *first..*end to what no dirty pieces cover at both ends. */
static void trim(const struct chunk *chunk, uint32_t *first, uint32_t *end)
{
	const struct piece *pieces = chunk->scratch->pieces.items;
	size_t n = chunk->scratch->pieces.n;

	for (size_t i = 0; i < n && is_over(&pieces[i]) && pieces[i].first == *first; i++)
		*first = pieces[i].end;
	for (size_t i = n;
	     i && is_over(&pieces[i - 1]) && pieces[i - 1].end == *end && *first < *end; i--)
		*end = pieces[i - 1].first;
}

/* Reads what the backing device has under the chunk, as far as no dirty piece covers it. */
static bcfmt_err read_backing(struct chunk *chunk)
{
	const struct bcfmt_volume_params *params = &chunk->volume->params;
	uint32_t first = 0, end = chunk->sectors;
	uint64_t data_begin, data_end;
	bcfmt_err err;

	trim(chunk, &first, &end);
	err = first < end ? backing_data(chunk->volume, chunk->start_sector + first, &data_begin,
					 &data_end)
			  : BCFMT_END;
	/* Where nothing is read or laid over it there are zeros. */
	if (err == BCFMT_END)
		data_begin = UINT64_MAX;
	else if (err)
		return err;
	data_begin = min_u64(data_begin - chunk->start_sector, end);
	if (first < data_begin)
		memset(chunk->buf + (size_t)first * BCFMT_SECTOR_BYTES, 0,
		       (size_t)(data_begin - first) * BCFMT_SECTOR_BYTES);
	if (err == BCFMT_END)
		return BCFMT_OK;
	return read_part(chunk, params->backing,
			 params->data_offset_sectors + chunk->start_sector + data_begin,
			 (uint32_t)data_begin, end, BCFMT_SECTOR_BACKING);
}

/* ---- the one over the other ---- */

/* A clean copy stands in for what the backing device could not read. */
static bcfmt_err rescue(struct chunk *chunk, const struct piece *piece)
{
	uint32_t at = piece->first;
	bcfmt_err err = BCFMT_OK;

	while (!err && at < piece->end) {
		uint32_t first = at;

		while (at < piece->end && chunk->state[at] == BCFMT_SECTOR_BACKING)
			at++;
		if (at == first) {
			at++;
			continue;
		}
		memset(chunk->state + first, BCFMT_SECTOR_OK, at - first);
		err = read_part(chunk, chunk->volume->cache,
				piece->cache_sector + (first - piece->first), first, at,
				BCFMT_SECTOR_BACKING);
		for (uint32_t i = first; i < at; i++)
			chunk->counts.rescued_sectors += chunk->state[i] == BCFMT_SECTOR_OK;
	}
	return err;
}

static bcfmt_err lay_piece(struct chunk *chunk, const struct piece *piece)
{
	uint32_t n = piece->end - piece->first;

	switch (piece->kind) {
	case PIECE_CLEAN:
		return rescue(chunk, piece);
	case PIECE_STALE:
		for (uint32_t i = piece->first; i < piece->end; i++)
			if (chunk->state[i] != BCFMT_SECTOR_BACKING)
				chunk->state[i] = BCFMT_SECTOR_STALE;
		return BCFMT_OK;
	case PIECE_DIRTY:
	case PIECE_MISPLACED:
		break;
	}
	/* The backing device may have failed under it: that does not count any more. */
	memset(chunk->state + piece->first,
	       piece->kind == PIECE_DIRTY ? BCFMT_SECTOR_OK : BCFMT_SECTOR_PLACE, n);
	chunk->counts.dirty_sectors += n;
	return read_part(chunk, chunk->volume->cache, piece->cache_sector, piece->first, piece->end,
			 BCFMT_SECTOR_CACHE);
}

/* The first lost range that ends after the sector. */
static bcfmt_err first_lost(struct runs *lost, uint64_t sector, uint64_t *index)
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

/* Before anything is laid there: dirty data that is known takes it back. */
static bcfmt_err mark_lost(struct chunk *chunk)
{
	uint64_t begin = chunk->start_sector, end = begin + chunk->sectors, i;
	struct runs *lost = chunk->volume->lost;
	bcfmt_err err;

	memset(chunk->state, BCFMT_SECTOR_OK, chunk->sectors);
	if (!lost)
		return BCFMT_OK;
	err = first_lost(lost, begin, &i);
	for (; !err && i < runs_count(lost); i++) {
		struct lost_range range;

		err = runs_get(lost, i, &range, 1);
		if (err || range.start >= end)
			break;
		range.start = max_u64(range.start, begin);
		range.end = min_u64(range.end, end);
		memset(chunk->state + (range.start - begin), BCFMT_SECTOR_PLACE,
		       range.end - range.start);
	}
	return err;
}

static bcfmt_err read_chunk(struct chunk *chunk)
{
	const struct vec *pieces = &chunk->scratch->pieces;
	bcfmt_err err = find_pieces(chunk);

	if (!err)
		err = mark_lost(chunk);
	if (!err)
		err = read_backing(chunk);
	for (size_t i = 0; !err && i < pieces->n; i++)
		err = lay_piece(chunk, VEC_AT(pieces, struct piece, i));
	return err;
}

static bool is_inside(const struct bcfmt_volume *volume, uint64_t start_sector, uint64_t sectors)
{
	return start_sector <= volume->params.sectors &&
	       sectors <= volume->params.sectors - start_sector;
}

bcfmt_err bcfmt_volume_read(struct bcfmt_volume *volume, uint64_t start_sector, void *buf,
			    size_t sectors, uint8_t *state, struct bcfmt_volume_counts *counts)
{
	struct chunk chunk = { .volume = volume, .start_sector = start_sector };
	bcfmt_err err = BCFMT_OK;
	size_t done = 0;

	if (!is_inside(volume, start_sector, sectors))
		return bcfmt_fail(volume->ctx, BCFMT_E_RANGE, "beyond the end of the volume");
	chunk.scratch = take_scratch(volume);
	if (!chunk.scratch)
		return bcfmt_fail(volume->ctx, BCFMT_E_NOMEM, "no memory for extents");
	while (!err && done < sectors) {
		chunk.start_sector = start_sector + done;
		chunk.sectors = (uint32_t)min_u64(sectors - done, CHUNK_SECTORS);
		chunk.buf = (uint8_t *)buf + done * BCFMT_SECTOR_BYTES;
		chunk.state = state + done;
		err = read_chunk(&chunk);
		done += chunk.sectors;
	}
	give_scratch(volume, chunk.scratch);
	if (counts) {
		counts->dirty_sectors += chunk.counts.dirty_sectors;
		counts->rescued_sectors += chunk.counts.rescued_sectors;
	}
	return err;
}

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
	bcfmt_err err = find_pieces(chunk);

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
	if (!is_inside(volume, start_sector, sectors))
		return bcfmt_fail(volume->ctx, BCFMT_E_RANGE, "beyond the end of the volume");
	if (!sectors || sectors > CHUNK_SECTORS)
		return BCFMT_END;
	if (volume->lost) {
		err = first_lost(volume->lost, start_sector, &lost);
		if (!err && lost < runs_count(volume->lost))
			err = runs_get(volume->lost, lost, &range, 1);
	}
	if (err || range.start < start_sector + sectors)
		return err ? err : BCFMT_END;
	chunk.scratch = take_scratch(volume);
	if (!chunk.scratch)
		return bcfmt_fail(volume->ctx, BCFMT_E_NOMEM, "no memory for extents");
	err = find_places(&chunk, &out);
	give_scratch(volume, chunk.scratch);
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
		for (size_t k = first_extent(leaf, inode, lo.sector); k < leaf->n_extents; k++) {
			const struct bcfmt_extent *extent = &leaf->extents[k];

			if (extent->inode != inode || extent->start_sector >= hi.sector)
				break;
			if (kind_of(volume, extent) == PIECE_CLEAN)
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
	backing = backing_data(volume, start_sector, &begin, &end);
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
