/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Writes a volume out, one chunk after the other, and tells what of it is lost or doubtful. */
#include "copy.h"

#include <stdlib.h>

#define CHUNK_BYTES (COPY_CHUNK_SECTORS * BCFMT_SECTOR_BYTES)

struct chunk {
	uint64_t start_sector;
	uint64_t sectors;
	uint8_t *buf;
	uint8_t *state; /* one enum bcfmt_sector a sector */
};

static void tell_doubt(void *arg, enum bcfmt_loss why, uint64_t start_sector, uint64_t end_sector)
{
	lost_add(arg, why == BCFMT_LOSS_ORDER ? LOST_ORDER : LOST_LEAF, start_sector,
		 end_sector - start_sector);
}

static void tell_lost(struct copy *copy, const struct chunk *chunk)
{
	uint64_t at = 0;

	while (at < chunk->sectors) {
		uint64_t first = at;

		while (at < chunk->sectors && chunk->state[at] == chunk->state[first])
			at++;
		lost_add(copy->lost, lost_of_sector((enum bcfmt_sector)chunk->state[first]),
			 chunk->start_sector + first, at - first);
	}
}

/* Nothing here and nothing there: whole chunks of zeros need not be read. */
static bcfmt_err find_zeros(struct copy *copy, uint64_t at, uint64_t *sectors)
{
	uint64_t begin, end, all = bcfmt_volume_sectors(copy->volume);
	bcfmt_err err = bcfmt_volume_next_data(copy->volume, at, &begin, &end);

	*sectors = 0;
	if (err == BCFMT_END)
		*sectors = all - at;
	else if (!err)
		*sectors = (begin - at) - (begin - at) % COPY_CHUNK_SECTORS;
	return err == BCFMT_END ? BCFMT_OK : err;
}

static bcfmt_err copy_chunk(struct copy *copy, struct chunk *chunk)
{
	uint64_t left = bcfmt_volume_sectors(copy->volume) - chunk->start_sector, zeros;
	bcfmt_err err = find_zeros(copy, chunk->start_sector, &zeros);

	chunk->sectors = zeros ? zeros : left < COPY_CHUNK_SECTORS ? left : COPY_CHUNK_SECTORS;
	if (!err)
		err = bcfmt_volume_doubts(copy->volume, chunk->start_sector,
					  chunk->start_sector + chunk->sectors, tell_doubt,
					  copy->lost);
	if (!err && zeros)
		return sink_zeros(copy->sink, zeros * BCFMT_SECTOR_BYTES);
	if (!err)
		err = bcfmt_volume_read(copy->volume, chunk->start_sector, chunk->buf,
					(size_t)chunk->sectors, chunk->state, &copy->counts);
	if (!err)
		err = sink_write(copy->sink, chunk->buf,
				 (size_t)(chunk->sectors * BCFMT_SECTOR_BYTES));
	if (!err)
		tell_lost(copy, chunk);
	return err;
}

bcfmt_err copy_volume(struct copy *copy)
{
	uint64_t all = bcfmt_volume_sectors(copy->volume);
	struct chunk chunk = { .buf = malloc(CHUNK_BYTES), .state = malloc(COPY_CHUNK_SECTORS) };
	bcfmt_err err = BCFMT_OK;

	if (!chunk.buf || !chunk.state)
		err = bcfmt_fail(copy->ctx, BCFMT_E_NOMEM, "out of memory");
	while (!err && chunk.start_sector < all) {
		if (bcfmt_ctx_is_cancelled(copy->ctx))
			err = BCFMT_E_CANCELLED;
		else
			err = copy_chunk(copy, &chunk);
		chunk.start_sector += chunk.sectors;
		if (!err)
			bcfmt_ctx_progress(copy->ctx, "export",
					   chunk.start_sector * BCFMT_SECTOR_BYTES,
					   all * BCFMT_SECTOR_BYTES);
	}
	if (!err)
		lost_flush(copy->lost);
	free(chunk.buf);
	free(chunk.state);
	return err;
}
