/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Reads a volume at any place: what the cache has is laid over what the backing device has. */
#include <string.h>

#include "set/volume_impl.h"

/* The data is taken from the cache, whatever the backing device has. */
static bool is_over(const struct piece *piece)
{
	return piece->kind == PIECE_DIRTY || piece->kind == PIECE_MISPLACED;
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
	err = first < end ? volume_backing_data(chunk->volume, chunk->start_sector + first,
						&data_begin, &data_end)
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

/* Before anything is laid there: dirty data that is known takes it back. */
static bcfmt_err mark_lost(struct chunk *chunk)
{
	uint64_t begin = chunk->start_sector, end = begin + chunk->sectors, i;
	struct runs *lost = chunk->volume->lost;
	bcfmt_err err;

	memset(chunk->state, BCFMT_SECTOR_OK, chunk->sectors);
	if (!lost)
		return BCFMT_OK;
	err = volume_first_lost(lost, begin, &i);
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
	bcfmt_err err = volume_find_pieces(chunk);

	if (!err)
		err = mark_lost(chunk);
	if (!err)
		err = read_backing(chunk);
	for (size_t i = 0; !err && i < pieces->n; i++)
		err = lay_piece(chunk, VEC_AT(pieces, struct piece, i));
	return err;
}

bcfmt_err bcfmt_volume_read(struct bcfmt_volume *volume, uint64_t start_sector, void *buf,
			    size_t sectors, uint8_t *state, struct bcfmt_volume_counts *counts)
{
	struct chunk chunk = { .volume = volume, .start_sector = start_sector };
	bcfmt_err err = BCFMT_OK;
	size_t done = 0;

	if (!volume_has(volume, start_sector, sectors))
		return bcfmt_fail(volume->ctx, BCFMT_E_RANGE, "beyond the end of the volume");
	chunk.scratch = volume_take_scratch(volume);
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
	volume_give_scratch(volume, chunk.scratch);
	if (counts) {
		counts->dirty_sectors += chunk.counts.dirty_sectors;
		counts->rescued_sectors += chunk.counts.rescued_sectors;
	}
	return err;
}
