/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A ring of buffers: piece i goes to slot i modulo their number, as soon as the piece that had the
 * slot before is given back. Nobody waits for ever: the first piece that is not given back yet has
 * its slot, and is read or being worked on.
 */
#include "dev/ahead.h"

#include <pthread.h>
#include <stdlib.h>

#include "base/checked.h"
#include "base/large.h"

#define RING_BYTES (8u * LARGE_PAGE_BYTES)
/* Reads of less cost more in calls and wakings than the page cache does; of more, too few fit. */
#define PIECE_BYTES_MIN (64u << 10)
#define PIECE_BYTES_MAX (RING_BYTES / 4)
#define READERS 16u
#define BUF_ALIGN 4096u

enum slot_state {
	SLOT_FREE,
	SLOT_READING,
	SLOT_READ,
	SLOT_UNREAD, /* the caller is to read it */
};

struct slot {
	size_t piece;
	enum slot_state state;
};

struct ahead {
	struct bcfmt_dev *dev;
	ahead_fn place;
	void *arg;
	size_t n;
	size_t slot_bytes;
	size_t n_slots;
	uint8_t *bufs;
	pthread_t readers[READERS];
	unsigned int n_readers;
	pthread_mutex_t lock; /* of what follows */
	pthread_cond_t freed;
	pthread_cond_t read;
	size_t next;
	bool is_stopped;
	struct slot slots[RING_BYTES / PIECE_BYTES_MIN];
};

static uint8_t *slot_buf(const struct ahead *ahead, size_t i)
{
	return ahead->bufs + i % ahead->n_slots * ahead->slot_bytes;
}

static bool read_piece(struct ahead *ahead, size_t i)
{
	uint64_t offset_bytes;
	size_t len_bytes;

	ahead->place(ahead->arg, i, &offset_bytes, &len_bytes);
	if (!len_bytes)
		return false;
	if (len_bytes <= ahead->slot_bytes && dev_is_far(ahead->dev, offset_bytes, len_bytes) &&
	    dev_read_around(ahead->dev, offset_bytes, slot_buf(ahead, i), len_bytes))
		return true;
	dev_read_ahead(ahead->dev, offset_bytes, len_bytes);
	return false;
}

static void *reader(void *arg)
{
	struct ahead *ahead = arg;

	pthread_mutex_lock(&ahead->lock);
	while (!ahead->is_stopped && ahead->next < ahead->n) {
		struct slot *slot = &ahead->slots[ahead->next % ahead->n_slots];
		bool is_read;

		if (slot->state != SLOT_FREE) {
			pthread_cond_wait(&ahead->freed, &ahead->lock);
			continue;
		}
		*slot = (struct slot){ ahead->next++, SLOT_READING };
		pthread_mutex_unlock(&ahead->lock);
		is_read = read_piece(ahead, slot->piece);
		pthread_mutex_lock(&ahead->lock);
		slot->state = is_read ? SLOT_READ : SLOT_UNREAD;
		pthread_cond_broadcast(&ahead->read);
	}
	pthread_mutex_unlock(&ahead->lock);
	return NULL;
}

struct ahead *ahead_start(struct bcfmt_dev *dev, size_t piece_bytes, size_t n, ahead_fn place,
			  void *arg)
{
	struct ahead *ahead;
	size_t n_wanted;

	if (piece_bytes < PIECE_BYTES_MIN || piece_bytes > PIECE_BYTES_MAX)
		return NULL;
	ahead = calloc(1, sizeof(*ahead));
	if (!ahead)
		return NULL;
	*ahead = (struct ahead){ .dev = dev,
				 .place = place,
				 .arg = arg,
				 .n = n,
				 .slot_bytes = div_round_up(piece_bytes, BUF_ALIGN) * BUF_ALIGN,
				 .lock = PTHREAD_MUTEX_INITIALIZER,
				 .freed = PTHREAD_COND_INITIALIZER,
				 .read = PTHREAD_COND_INITIALIZER };
	ahead->n_slots = RING_BYTES / ahead->slot_bytes;
	n_wanted = min_u64(READERS, min_u64(ahead->n_slots, n));
	/* In large pages a piece is one run of memory, and a disk takes it as one transfer. */
	ahead->bufs = aligned_alloc(LARGE_PAGE_BYTES, RING_BYTES);
	large_pages(ahead->bufs, RING_BYTES);
	while (ahead->bufs && ahead->n_readers < n_wanted &&
	       !pthread_create(&ahead->readers[ahead->n_readers], NULL, reader, ahead))
		ahead->n_readers++;
	if (ahead->n_readers)
		return ahead;
	free(ahead->bufs);
	free(ahead);
	return NULL;
}

void *ahead_take(struct ahead *ahead, size_t i)
{
	struct slot *slot = &ahead->slots[i % ahead->n_slots];
	bool is_read;

	pthread_mutex_lock(&ahead->lock);
	while (slot->piece != i || slot->state < SLOT_READ)
		pthread_cond_wait(&ahead->read, &ahead->lock);
	is_read = slot->state == SLOT_READ;
	pthread_mutex_unlock(&ahead->lock);
	return is_read ? slot_buf(ahead, i) : NULL;
}

void ahead_give(struct ahead *ahead, size_t i)
{
	pthread_mutex_lock(&ahead->lock);
	ahead->slots[i % ahead->n_slots].state = SLOT_FREE;
	/* All readers wait for the same slot, and there may be free ones behind it. */
	if (ahead->slots[ahead->next % ahead->n_slots].state == SLOT_FREE)
		pthread_cond_broadcast(&ahead->freed);
	pthread_mutex_unlock(&ahead->lock);
}

void ahead_stop(struct ahead *ahead)
{
	if (!ahead)
		return;
	pthread_mutex_lock(&ahead->lock);
	ahead->is_stopped = true;
	pthread_cond_broadcast(&ahead->freed);
	pthread_mutex_unlock(&ahead->lock);
	for (unsigned int i = 0; i < ahead->n_readers; i++)
		pthread_join(ahead->readers[i], NULL);
	pthread_cond_destroy(&ahead->freed);
	pthread_cond_destroy(&ahead->read);
	pthread_mutex_destroy(&ahead->lock);
	free(ahead->bufs);
	free(ahead);
}
