/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Lays the extents of one inode over its backing data and writes the volume out, one chunk after
 * the other: a chunk has at most one piece a sector, so memory does not grow with the volume.
 */
#include "copy.h"
#include "filter.h"

#include <stdlib.h>
#include <string.h>

#define CHUNK_BYTES (COPY_CHUNK_SECTORS * BCFMT_SECTOR_BYTES)

bcfmt_err copy_init(struct copy *copy, const struct copy_params *params)
{
	memset(copy, 0, sizeof(*copy));
	copy->params = *params;
	copy->buf = malloc(CHUNK_BYTES);
	copy->state = malloc(COPY_CHUNK_SECTORS);
	copy->bad = malloc(COPY_CHUNK_SECTORS);
	copy->pieces = calloc(COPY_CHUNK_SECTORS, sizeof(*copy->pieces));
	if (copy->buf && copy->state && copy->bad && copy->pieces)
		return BCFMT_OK;
	return bcfmt_fail(params->ctx, BCFMT_E_NOMEM, "out of memory");
}

void copy_clear(struct copy *copy)
{
	free(copy->buf);
	free(copy->state);
	free(copy->bad);
	free(copy->pieces);
}

static uint64_t chunk_sectors(const struct copy *copy)
{
	uint64_t left = copy->params.volume_sectors - copy->start_sector;

	return left < COPY_CHUNK_SECTORS ? left : COPY_CHUNK_SECTORS;
}

/* Reads sectors first..end of the chunk from dev and marks in state what cannot be read. */
static bcfmt_err read_part(struct copy *copy, struct bcfmt_dev *dev, uint64_t dev_sector,
			   uint32_t first, uint32_t end, enum lost_why why)
{
	bcfmt_err err;

	if (first >= end)
		return BCFMT_OK;
	err = bcfmt_dev_read_marked(dev, dev_sector * BCFMT_SECTOR_BYTES,
				    copy->buf + (size_t)first * BCFMT_SECTOR_BYTES,
				    (size_t)(end - first) * BCFMT_SECTOR_BYTES, copy->bad + first);
	for (uint32_t i = first; i < end && !err; i++)
		if (copy->bad[i])
			copy->state[i] = (uint8_t)why;
	return err;
}

/* Where the hole of the backing device at sector ends; sector itself when there is none. */
static bcfmt_err hole_end(struct copy *copy, uint64_t sector, uint64_t *end_sector)
{
	const struct copy_params *params = &copy->params;
	uint64_t offset_bytes = (params->data_offset_sectors + sector) * BCFMT_SECTOR_BYTES;
	uint64_t begin_bytes, end_bytes;
	bcfmt_err err;

	*end_sector = params->volume_sectors;
	if (!params->backing)
		return BCFMT_OK;
	if (sector >= copy->data_end_sector) {
		err = bcfmt_dev_next_data(params->backing, offset_bytes, &begin_bytes, &end_bytes);
		if (err && err != BCFMT_END)
			return err;
		if (err == BCFMT_END)
			begin_bytes = end_bytes = UINT64_MAX;
		copy->hole_end_sector = begin_bytes / BCFMT_SECTOR_BYTES;
		copy->data_end_sector = end_bytes / BCFMT_SECTOR_BYTES;
		if (copy->hole_end_sector >= params->data_offset_sectors)
			copy->hole_end_sector -= params->data_offset_sectors;
		if (copy->data_end_sector >= params->data_offset_sectors)
			copy->data_end_sector -= params->data_offset_sectors;
	}
	*end_sector = copy->hole_end_sector > sector ? copy->hole_end_sector : sector;
	if (*end_sector > params->volume_sectors)
		*end_sector = params->volume_sectors;
	return BCFMT_OK;
}

/* Reads what the backing device has under the chunk, as far as no dirty piece covers it. */
static bcfmt_err read_backing(struct copy *copy)
{
	uint32_t n = (uint32_t)chunk_sectors(copy);
	uint32_t first = 0, end = n;
	uint64_t data_sector;
	bcfmt_err err;

	memset(copy->buf, 0, (size_t)n * BCFMT_SECTOR_BYTES);
	memset(copy->state, LOST_NOTHING, n);
	if (!copy->params.backing)
		return BCFMT_OK;
	for (size_t i = 0; i < copy->n_pieces && copy->pieces[i].kind == COPY_DIRTY &&
			   copy->pieces[i].first == first;
	     i++)
		first = copy->pieces[i].end;
	for (size_t i = copy->n_pieces; i && copy->pieces[i - 1].kind == COPY_DIRTY &&
					copy->pieces[i - 1].end == end && first < end;
	     i--)
		end = copy->pieces[i - 1].first;
	err = hole_end(copy, copy->start_sector + first, &data_sector);
	if (err || data_sector >= copy->start_sector + end)
		return err;
	first = (uint32_t)(data_sector - copy->start_sector);
	return read_part(copy, copy->params.backing, copy->params.data_offset_sectors + data_sector,
			 first, end, LOST_BACKING);
}

/* A clean copy stands in for what the backing device could not read. */
static bcfmt_err rescue(struct copy *copy, const struct copy_piece *piece)
{
	uint32_t at = piece->first;
	bcfmt_err err = BCFMT_OK;

	while (!err && at < piece->end) {
		uint32_t first = at;

		while (at < piece->end && copy->state[at] == LOST_BACKING)
			at++;
		if (at == first) {
			at++;
			continue;
		}
		memset(copy->state + first, LOST_NOTHING, at - first);
		err = read_part(copy, copy->params.cache,
				piece->cache_sector + (first - piece->first), first, at,
				LOST_BACKING);
		for (uint32_t i = first; i < at; i++)
			copy->rescued_sectors += copy->state[i] == LOST_NOTHING;
	}
	return err;
}

static bcfmt_err lay_piece(struct copy *copy, const struct copy_piece *piece)
{
	uint32_t n = piece->end - piece->first;
	bcfmt_err err;

	switch (piece->kind) {
	case COPY_CLEAN:
		return rescue(copy, piece);
	case COPY_STALE:
		for (uint32_t i = piece->first; i < piece->end; i++)
			if (copy->state[i] == LOST_NOTHING)
				copy->state[i] = LOST_STALE;
		return BCFMT_OK;
	case COPY_DIRTY:
		break;
	}
	/* The backing device may have failed under it: that does not count any more. */
	memset(copy->state + piece->first, LOST_NOTHING, n);
	err = read_part(copy, copy->params.cache, piece->cache_sector, piece->first, piece->end,
			LOST_CACHE);
	copy->dirty_sectors += n;
	return err;
}

static void tell_lost(struct copy *copy)
{
	uint32_t n = (uint32_t)chunk_sectors(copy);
	uint32_t at = 0;

	while (at < n) {
		uint32_t first = at;

		while (at < n && copy->state[at] == copy->state[first])
			at++;
		lost_add(copy->params.lost, copy->state[first], copy->start_sector + first,
			 at - first);
	}
}

static void go_on(struct copy *copy, uint64_t sectors)
{
	copy->start_sector += sectors;
	copy->n_pieces = 0;
	bcfmt_ctx_progress(copy->params.ctx, "export", copy->start_sector * BCFMT_SECTOR_BYTES,
			   copy->params.volume_sectors * BCFMT_SECTOR_BYTES);
}

static bcfmt_err write_chunk(struct copy *copy)
{
	uint64_t n = chunk_sectors(copy);
	bcfmt_err err = read_backing(copy);

	for (size_t i = 0; i < copy->n_pieces && !err; i++)
		err = lay_piece(copy, &copy->pieces[i]);
	if (!err)
		err = sink_write(copy->params.sink, copy->buf, (size_t)(n * BCFMT_SECTOR_BYTES));
	if (err)
		return err;
	tell_lost(copy);
	go_on(copy, n);
	return BCFMT_OK;
}

/* Writes chunks until sector lies in the current one, or all when it is the end. */
static bcfmt_err advance(struct copy *copy, uint64_t sector)
{
	bcfmt_err err = BCFMT_OK;

	while (!err && copy->start_sector < copy->params.volume_sectors &&
	       copy->start_sector + chunk_sectors(copy) <= sector) {
		uint64_t end_sector = copy->start_sector;

		if (bcfmt_ctx_is_cancelled(copy->params.ctx))
			return BCFMT_E_CANCELLED;
		/* Nothing here and nothing there: whole chunks of zeros need not be read. */
		if (!copy->n_pieces)
			err = hole_end(copy, copy->start_sector, &end_sector);
		if (end_sector > sector)
			end_sector = sector;
		if (end_sector - copy->start_sector < chunk_sectors(copy)) {
			if (!err)
				err = write_chunk(copy);
			continue;
		}
		if (end_sector < copy->params.volume_sectors)
			end_sector -= (end_sector - copy->start_sector) % COPY_CHUNK_SECTORS;
		if (!err)
			err = sink_zeros(copy->params.sink,
					 (end_sector - copy->start_sector) * BCFMT_SECTOR_BYTES);
		if (!err)
			go_on(copy, end_sector - copy->start_sector);
	}
	return err;
}

static void add_piece(struct copy *copy, enum copy_kind kind, uint64_t sector, uint64_t sectors,
		      uint64_t cache_sector)
{
	uint32_t first = (uint32_t)(sector - copy->start_sector);
	struct copy_piece *last = copy->n_pieces ? &copy->pieces[copy->n_pieces - 1] : NULL;

	/* Small writes that came one after the other lie so on the cache: one read for all. */
	if (last && last->kind == kind && last->end == first &&
	    last->cache_sector + (last->end - last->first) == cache_sector) {
		last->end += (uint32_t)sectors;
		return;
	}
	copy->pieces[copy->n_pieces++] = (struct copy_piece){
		.cache_sector = cache_sector,
		.first = first,
		.end = first + (uint32_t)sectors,
		.kind = kind,
	};
}

bcfmt_err copy_extent(struct copy *copy, const struct bcfmt_extent *extent)
{
	uint64_t shift = copy->params.data_offset_sectors;
	uint64_t limit = copy->params.volume_sectors;
	uint64_t start = extent->start_sector < shift ? 0 : extent->start_sector - shift;
	uint64_t end = extent->end_sector < shift ? 0 : extent->end_sector - shift;
	enum copy_kind kind = extent->stale	 ? COPY_STALE
			      : extent->is_dirty ? COPY_DIRTY
						 : COPY_CLEAN;
	uint64_t inside;
	bcfmt_err err;

	/* Clean, or written back: the backing device has it. */
	if (extent->stale && !extent_is_lost(extent))
		return BCFMT_OK;
	start = start < limit ? start : limit;
	end = end < limit ? end : limit;
	start = start < copy->next_sector ? copy->next_sector : start;
	inside = end > start ? end - start : 0;
	if (extent->is_dirty && inside < extent->end_sector - extent->start_sector)
		copy->outside_sectors += extent->end_sector - extent->start_sector - inside;
	while (start < end) {
		uint64_t part;

		err = advance(copy, start);
		if (err)
			return err;
		part = copy->start_sector + chunk_sectors(copy) - start;
		part = part < end - start ? part : end - start;
		/* ptr belongs to the first sector of the whole extent. */
		add_piece(copy, kind, start, part,
			  bcfmt_ptr_sector(extent->ptr) + (start + shift - extent->start_sector));
		start += part;
		copy->next_sector = start;
	}
	return BCFMT_OK;
}

bcfmt_err copy_finish(struct copy *copy)
{
	bcfmt_err err = advance(copy, copy->params.volume_sectors);

	if (!err)
		lost_flush(copy->params.lost);
	return err;
}
