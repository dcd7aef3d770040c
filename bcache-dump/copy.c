/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Writes a volume out, many chunks being read at once, and tells what of it is lost or doubtful. */
#include "copy.h"

#include <pthread.h>
#include <stdlib.h>

#define CHUNK_SECTORS 1024u
#define CHUNK_BYTES (CHUNK_SECTORS * BCFMT_SECTOR_BYTES)
/* So many chunks are read or wait to be written, by so many threads: a disk is kept busy. */
#define CHUNKS_MAX 16u
#define READERS_MAX 8u

struct chunk {
	uint64_t start_sector;
	uint64_t sectors;
	bool is_zeros; /* nothing is there, and nothing was read */
	bool is_read;
	bcfmt_err err;
	uint8_t *buf;
	uint8_t *state; /* one enum bcfmt_sector a sector */
	struct bcfmt_volume_counts counts;
};

/* Chunk i of the volume is chunks[i % n_chunks] from when it is begun until it is written. */
struct reading {
	struct bcfmt_volume *volume;
	pthread_mutex_t lock;
	pthread_cond_t is_changed;
	struct chunk chunks[CHUNKS_MAX];
	unsigned int n_chunks;
	uint64_t n_begun;
	uint64_t n_written;
	uint64_t next_sector; /* no chunk has it yet */
	bool is_stopped;
	pthread_t readers[READERS_MAX];
	unsigned int n_readers;
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

/* ---- reading, by any thread ---- */

/* Nothing here and nothing there: whole chunks of zeros need not be read. */
static bcfmt_err find_zeros(struct bcfmt_volume *volume, uint64_t at, uint64_t *sectors)
{
	uint64_t begin, end, all = bcfmt_volume_sectors(volume);
	bcfmt_err err = bcfmt_volume_next_data(volume, at, &begin, &end);

	*sectors = 0;
	if (err == BCFMT_END)
		*sectors = all - at;
	else if (!err)
		*sectors = (begin - at) - (begin - at) % CHUNK_SECTORS;
	return err == BCFMT_END ? BCFMT_OK : err;
}

/* Under the lock: how long the next chunk is depends on where the last one ended. */
static struct chunk *begin_chunk(struct reading *reading)
{
	uint64_t left = bcfmt_volume_sectors(reading->volume) - reading->next_sector, zeros;
	struct chunk *chunk = &reading->chunks[reading->n_begun++ % reading->n_chunks];

	chunk->start_sector = reading->next_sector;
	chunk->counts = (struct bcfmt_volume_counts){ 0 };
	chunk->is_read = false;
	chunk->err = find_zeros(reading->volume, chunk->start_sector, &zeros);
	chunk->is_zeros = zeros;
	chunk->sectors = zeros ? zeros : left < CHUNK_SECTORS ? left : CHUNK_SECTORS;
	reading->next_sector += chunk->sectors;
	return chunk;
}

static bool has_next(const struct reading *reading)
{
	return !reading->is_stopped && reading->next_sector < bcfmt_volume_sectors(reading->volume);
}

/* The lock is held, and while the chunk is read it is not. False when there is no room. */
static bool read_next(struct reading *reading)
{
	struct chunk *chunk;

	if (reading->n_begun - reading->n_written == reading->n_chunks)
		return false;
	chunk = begin_chunk(reading);
	if (!chunk->err && !chunk->is_zeros) {
		pthread_mutex_unlock(&reading->lock);
		chunk->err =
			bcfmt_volume_read(reading->volume, chunk->start_sector, chunk->buf,
					  (size_t)chunk->sectors, chunk->state, &chunk->counts);
		pthread_mutex_lock(&reading->lock);
	}
	chunk->is_read = true;
	reading->is_stopped |= chunk->err != BCFMT_OK;
	pthread_cond_broadcast(&reading->is_changed);
	return true;
}

static void *reader(void *arg)
{
	struct reading *reading = arg;

	pthread_mutex_lock(&reading->lock);
	while (has_next(reading))
		if (!read_next(reading))
			pthread_cond_wait(&reading->is_changed, &reading->lock);
	pthread_mutex_unlock(&reading->lock);
	return NULL;
}

/* What cannot be had of threads is no error: then the writer reads too. */
static bcfmt_err start_reading(struct reading *reading, struct copy *copy)
{
	bool is_alone = bcfmt_ctx_threads(copy->ctx) == 1;

	*reading =
		(struct reading){ .volume = copy->volume, .n_chunks = is_alone ? 1 : CHUNKS_MAX };
	pthread_mutex_init(&reading->lock, NULL);
	pthread_cond_init(&reading->is_changed, NULL);
	for (unsigned int i = 0; i < reading->n_chunks; i++) {
		struct chunk *chunk = &reading->chunks[i];

		chunk->buf = malloc(CHUNK_BYTES);
		chunk->state = malloc(CHUNK_SECTORS);
		if (!chunk->buf || !chunk->state)
			return bcfmt_fail(copy->ctx, BCFMT_E_NOMEM, "out of memory");
	}
	while (!is_alone && reading->n_readers < READERS_MAX &&
	       !pthread_create(&reading->readers[reading->n_readers], NULL, reader, reading))
		reading->n_readers++;
	return BCFMT_OK;
}

static void stop_reading(struct reading *reading)
{
	pthread_mutex_lock(&reading->lock);
	reading->is_stopped = true;
	pthread_cond_broadcast(&reading->is_changed);
	pthread_mutex_unlock(&reading->lock);
	for (unsigned int i = 0; i < reading->n_readers; i++)
		pthread_join(reading->readers[i], NULL);
	for (unsigned int i = 0; i < reading->n_chunks; i++) {
		free(reading->chunks[i].buf);
		free(reading->chunks[i].state);
	}
	pthread_cond_destroy(&reading->is_changed);
	pthread_mutex_destroy(&reading->lock);
}

/* ---- writing, in the order of the volume ---- */

static const struct chunk *take_chunk(struct reading *reading)
{
	const struct chunk *chunk = &reading->chunks[reading->n_written % reading->n_chunks];

	pthread_mutex_lock(&reading->lock);
	if (reading->n_begun == reading->n_written)
		read_next(reading);
	while (!chunk->is_read)
		pthread_cond_wait(&reading->is_changed, &reading->lock);
	pthread_mutex_unlock(&reading->lock);
	return chunk;
}

static void give_chunk(struct reading *reading)
{
	pthread_mutex_lock(&reading->lock);
	reading->n_written++;
	pthread_cond_broadcast(&reading->is_changed);
	pthread_mutex_unlock(&reading->lock);
}

static bcfmt_err write_chunk(struct copy *copy, const struct chunk *chunk)
{
	bcfmt_err err = chunk->err;

	if (!err)
		err = bcfmt_volume_doubts(copy->volume, chunk->start_sector,
					  chunk->start_sector + chunk->sectors, tell_doubt,
					  copy->lost);
	if (!err && chunk->is_zeros)
		return sink_zeros(copy->sink, chunk->sectors * BCFMT_SECTOR_BYTES);
	if (!err)
		err = sink_write(copy->sink, chunk->buf,
				 (size_t)(chunk->sectors * BCFMT_SECTOR_BYTES));
	if (err)
		return err;
	tell_lost(copy, chunk);
	copy->counts.dirty_sectors += chunk->counts.dirty_sectors;
	copy->counts.rescued_sectors += chunk->counts.rescued_sectors;
	return BCFMT_OK;
}

bcfmt_err copy_volume(struct copy *copy)
{
	uint64_t all = bcfmt_volume_sectors(copy->volume), at = 0;
	struct reading reading;
	bcfmt_err err = start_reading(&reading, copy);

	while (!err && at < all) {
		const struct chunk *chunk = take_chunk(&reading);

		if (bcfmt_ctx_is_cancelled(copy->ctx))
			err = BCFMT_E_CANCELLED;
		else
			err = write_chunk(copy, chunk);
		at += chunk->sectors;
		give_chunk(&reading);
		if (!err)
			bcfmt_ctx_progress(copy->ctx, "export", at * BCFMT_SECTOR_BYTES,
					   all * BCFMT_SECTOR_BYTES);
	}
	stop_reading(&reading);
	if (!err)
		lost_flush(copy->lost);
	return err;
}
