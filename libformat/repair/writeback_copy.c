/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A batch is a buffer in the order of the backing device. It is filled in the order of the cache,
 * by several threads at once, and written in its own order: what lies side by side at home is one
 * write, wherever it lay on the cache.
 */
#include "repair/writeback_copy.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "base/checked.h"

#define BATCH_SECTORS 16384u
#define THREADS_MAX 64u

struct piece {
	uint64_t home_sector;
	uint64_t cache_sector;
	uint32_t at; /* first sector in the buffer */
	uint32_t sectors;
};

struct home_copy {
	struct home_copy_params params;
	uint8_t *buf;	      /* BATCH_SECTORS sectors */
	uint8_t *is_bad;      /* a byte a sector of buf */
	uint8_t *old;	      /* what target holds; made when it is first needed */
	struct piece *pieces; /* at most one a sector */
	uint32_t *order;      /* of reading: indexes into pieces */
	uint32_t n_pieces;
	uint32_t used; /* sectors of buf */
	uint64_t written_to;
	uint64_t copied_sectors;
	/* While a batch is read. */
	uint32_t next; /* atomic: into order */
	int first_err; /* atomic, a bcfmt_err */
};

bcfmt_err home_copy_new(const struct home_copy_params *params, struct home_copy **out)
{
	struct home_copy *copy = calloc(1, sizeof(*copy));

	*out = copy;
	if (copy) {
		copy->params = *params;
		copy->buf = malloc((size_t)BATCH_SECTORS * BCFMT_SECTOR_BYTES);
		copy->is_bad = malloc(BATCH_SECTORS);
		copy->pieces = calloc(BATCH_SECTORS, sizeof(*copy->pieces));
		copy->order = calloc(BATCH_SECTORS, sizeof(*copy->order));
		if (copy->buf && copy->is_bad && copy->pieces && copy->order)
			return BCFMT_OK;
	}
	home_copy_free(copy);
	*out = NULL;
	return bcfmt_fail(params->ctx, BCFMT_E_NOMEM, "no memory to copy dirty data");
}

void home_copy_free(struct home_copy *copy)
{
	if (!copy)
		return;
	free(copy->buf);
	free(copy->is_bad);
	free(copy->old);
	free(copy->pieces);
	free(copy->order);
	free(copy);
}

void home_copy_begin(struct home_copy *copy, uint64_t home_sector)
{
	copy->written_to = home_sector;
}

uint64_t home_copy_written_to(const struct home_copy *copy)
{
	return copy->written_to;
}

uint64_t home_copy_copied_sectors(const struct home_copy *copy)
{
	return copy->copied_sectors;
}

uint64_t home_copy_taken_sectors(const struct home_copy *copy)
{
	return copy->copied_sectors + copy->used;
}

/* ---- reading a batch ---- */

static int cache_order_cmp(const void *a, const void *b, void *arg)
{
	const struct piece *pieces = arg;
	uint32_t i = *(const uint32_t *)a, j = *(const uint32_t *)b;
	uint64_t x = pieces[i].cache_sector, y = pieces[j].cache_sector;

	if (x != y)
		return x < y ? -1 : 1;
	return i < j ? -1 : i > j;
}

static void read_pieces(struct home_copy *copy)
{
	while (!__atomic_load_n(&copy->first_err, __ATOMIC_RELAXED)) {
		uint32_t i = __atomic_fetch_add(&copy->next, 1, __ATOMIC_RELAXED);
		const struct piece *piece;
		int none = BCFMT_OK;
		bcfmt_err err;

		if (i >= copy->n_pieces)
			return;
		piece = &copy->pieces[copy->order[i]];
		err = bcfmt_dev_read_marked(copy->params.cache,
					    piece->cache_sector * BCFMT_SECTOR_BYTES,
					    copy->buf + (size_t)piece->at * BCFMT_SECTOR_BYTES,
					    (size_t)piece->sectors * BCFMT_SECTOR_BYTES,
					    copy->is_bad + piece->at);
		if (!err && bcfmt_ctx_is_cancelled(copy->params.ctx))
			err = BCFMT_E_CANCELLED;
		if (err)
			__atomic_compare_exchange_n(&copy->first_err, &none, (int)err, false,
						    __ATOMIC_SEQ_CST, __ATOMIC_SEQ_CST);
	}
}

static void *read_thread(void *arg)
{
	read_pieces(arg);
	return NULL;
}

static bcfmt_err read_batch(struct home_copy *copy)
{
	pthread_t threads[THREADS_MAX];
	unsigned int wanted = bcfmt_ctx_threads(copy->params.ctx), n_threads = 0;

	for (uint32_t i = 0; i < copy->n_pieces; i++)
		copy->order[i] = i;
	qsort_r(copy->order, copy->n_pieces, sizeof(*copy->order), cache_order_cmp, copy->pieces);
	copy->next = 0;
	copy->first_err = BCFMT_OK;
	wanted = wanted < THREADS_MAX ? wanted : THREADS_MAX;
	/* A thread that cannot be had is no error: the caller's own does all the work. */
	while (n_threads + 1 < wanted && n_threads + 1 < copy->n_pieces &&
	       !pthread_create(&threads[n_threads], NULL, read_thread, copy))
		n_threads++;
	read_pieces(copy);
	for (unsigned int i = 0; i < n_threads; i++)
		pthread_join(threads[i], NULL);
	return (bcfmt_err)copy->first_err;
}

/* ---- writing it ---- */

/* Sectors of the buffer that lie side by side on the target and could be read. */
struct run {
	uint64_t home_sector;
	uint32_t at;
	uint32_t sectors;
};
typedef bcfmt_err (*run_fn)(struct home_copy *copy, const struct run *run);

static bcfmt_err each_run(struct home_copy *copy, run_fn fn)
{
	struct run run = { 0, 0, 0 };
	bcfmt_err err = BCFMT_OK;

	for (uint32_t i = 0; !err && i < copy->n_pieces; i++) {
		const struct piece *piece = &copy->pieces[i];

		for (uint32_t j = 0; !err && j < piece->sectors; j++) {
			bool is_bad = copy->is_bad[piece->at + j];

			if (run.sectors && !is_bad &&
			    run.home_sector + run.sectors == piece->home_sector + j) {
				run.sectors++;
				continue;
			}
			if (run.sectors)
				err = fn(copy, &run);
			run = (struct run){ piece->home_sector + j, piece->at + j, !is_bad };
		}
	}
	return !err && run.sectors ? fn(copy, &run) : err;
}

/* Saves what of the run target can still read; what it cannot is not there to be put back. */
static bcfmt_err save_readable(struct home_copy *copy, const struct run *run)
{
	const struct home_copy_params *params = &copy->params;
	size_t data_bytes = (size_t)BATCH_SECTORS * BCFMT_SECTOR_BYTES;
	const uint8_t *is_bad;
	uint32_t first = 0;
	bcfmt_err err;

	if (!copy->old)
		copy->old = malloc(data_bytes + BATCH_SECTORS);
	if (!copy->old)
		return bcfmt_fail(params->ctx, BCFMT_E_NOMEM, "no memory to copy dirty data");
	is_bad = copy->old + data_bytes;
	err = bcfmt_dev_read_marked(params->target, run->home_sector * BCFMT_SECTOR_BYTES,
				    copy->old, (size_t)run->sectors * BCFMT_SECTOR_BYTES,
				    copy->old + data_bytes);
	while (!err && first < run->sectors) {
		uint32_t end = first;

		while (end < run->sectors && !is_bad[end])
			end++;
		if (end > first)
			err = bcfmt_undo_save(params->undo, params->undo_index,
					      (run->home_sector + first) * BCFMT_SECTOR_BYTES,
					      copy->buf + (size_t)(run->at + first) *
								  BCFMT_SECTOR_BYTES,
					      (uint64_t)(end - first) * BCFMT_SECTOR_BYTES);
		first = end + 1;
	}
	return err;
}

static bcfmt_err save_run(struct home_copy *copy, const struct run *run)
{
	const struct home_copy_params *params = &copy->params;
	bcfmt_err err = bcfmt_undo_save(params->undo, params->undo_index,
					run->home_sector * BCFMT_SECTOR_BYTES,
					copy->buf + (size_t)run->at * BCFMT_SECTOR_BYTES,
					(uint64_t)run->sectors * BCFMT_SECTOR_BYTES);

	if (err != BCFMT_E_IO)
		return err;
	bcfmt_ctx_fault_clear(params->ctx);
	return save_readable(copy, run);
}

static bcfmt_err write_run(struct home_copy *copy, const struct run *run)
{
	copy->copied_sectors += run->sectors;
	return bcfmt_dev_write(copy->params.target, run->home_sector * BCFMT_SECTOR_BYTES,
			       copy->buf + (size_t)run->at * BCFMT_SECTOR_BYTES,
			       (size_t)run->sectors * BCFMT_SECTOR_BYTES);
}

static bcfmt_err tell_bad(struct home_copy *copy)
{
	bcfmt_err err = BCFMT_OK;

	for (uint32_t i = 0; !err && i < copy->n_pieces; i++) {
		const struct piece *piece = &copy->pieces[i];
		uint32_t first = 0;

		while (!err && first < piece->sectors) {
			uint32_t end = first;

			while (end < piece->sectors && copy->is_bad[piece->at + end])
				end++;
			if (end > first)
				err = copy->params.bad(copy->params.arg, piece->home_sector + first,
						       end - first, piece->cache_sector + first);
			first = end + 1;
		}
	}
	return err;
}

static bcfmt_err write_batch(struct home_copy *copy)
{
	const struct piece *last;
	bcfmt_err err;

	if (!copy->n_pieces)
		return BCFMT_OK;
	last = &copy->pieces[copy->n_pieces - 1];
	err = read_batch(copy);
	/* Everything is saved before anything of the batch is overwritten: one sync is enough. */
	if (!err && copy->params.undo) {
		err = each_run(copy, save_run);
		if (!err)
			err = bcfmt_undo_sync(copy->params.undo);
	}
	if (!err)
		err = each_run(copy, write_run);
	if (!err)
		err = tell_bad(copy);
	if (!err)
		copy->written_to = last->home_sector + last->sectors;
	copy->n_pieces = 0;
	copy->used = 0;
	return err;
}

bcfmt_err home_copy_add(struct home_copy *copy, uint64_t home_sector, uint64_t cache_sector,
			uint64_t sectors)
{
	bcfmt_err err = BCFMT_OK;

	while (!err && sectors) {
		uint32_t part = (uint32_t)min_u64(sectors, BATCH_SECTORS - copy->used);
		struct piece *last = copy->n_pieces ? &copy->pieces[copy->n_pieces - 1] : NULL;

		/* Small writes that came one after the other lie so on the cache: one read. */
		if (last && last->home_sector + last->sectors == home_sector &&
		    last->cache_sector + last->sectors == cache_sector)
			last->sectors += part;
		else
			copy->pieces[copy->n_pieces++] =
				(struct piece){ home_sector, cache_sector, copy->used, part };
		copy->used += part;
		home_sector += part;
		cache_sector += part;
		sectors -= part;
		if (copy->used == BATCH_SECTORS)
			err = write_batch(copy);
	}
	return err;
}

bcfmt_err home_copy_sync(struct home_copy *copy)
{
	bcfmt_err err = write_batch(copy);

	return err ? err : bcfmt_dev_flush(copy->params.target);
}
