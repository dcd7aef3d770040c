/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Sectors used twice, found without sorting: a bit for every unit of the device, set by the
 * extents that touch it. Who finds a bit set has met another extent there. A unit is a block, or
 * up to 4 KiB where that makes the bitmap small: nearly all extents begin and end with them.
 *
 * Holds: the device is cut into parts of whole buckets, and each part has a lock. A worker collects
 * places in rows, one a part, so that a full row is worked off in a small piece of the bitmap under
 * one lock. Parts whose bitmap has no room in memory get their rows
 * written to one file instead, chained from the last to the first, and are worked off at the end,
 * a window of the part after the other. An extent lies in one bucket, so that parts and windows
 * know nothing of each other.
 */
#include "check/used.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/checked.h"
#include "base/large.h"
#include "base/tmpfile.h"
#include "set/tree_impl.h"

#define PARTS_MIN 64u
#define PARTS_MAX 1024u
#define PART_BYTES_BEST (1u << 20) /* of bitmap: more parts rather than larger ones */
#define MAP_BYTES_BEST (4u << 20)
#define UNIT_SHIFT_MAX 3u /* 8 sectors */
#define ROW_BYTES (8u * USED_ROW_WORDS)
#define NO_ROW UINT64_MAX
#define AHEAD 32u /* places whose memory is asked for ahead of their turn */

_Static_assert(43 + USED_SECTOR_BIT <= 64, "any sector of a pointer fits a place");

struct part {
	pthread_mutex_t lock;
	uint64_t *map;	   /* a bit a block; NULL: rows go to the file */
	uint64_t last_row; /* offset in the file, NO_ROW: none */
};

struct used {
	struct bcfmt_set *set;
	unsigned int unit_shift; /* log2 of its sectors, at most that of a bucket */
	unsigned int part_shift;
	uint64_t max_bytes;
	uint64_t n_parts;
	struct part *parts;
	uint64_t *maps;	      /* of the parts that have one */
	pthread_mutex_t lock; /* of what follows */
	struct used_shard *idle;
	int fd; /* -1: nothing was written yet */
	uint64_t file_bytes;
	int is_suspect; /* atomic */
};

static uint64_t part_map_bytes(const struct used *used)
{
	return max_u64((1ull << (used->part_shift - used->unit_shift)) / 8, sizeof(uint64_t));
}

/* Coarser units where the bitmap would not fit near the processor; parts of it small, but few. */
static void cut_parts(struct used *used, bool is_fine)
{
	const struct bcfmt_geometry *geo = &used->set->geo;
	uint64_t sectors = geo->nbuckets << geo->bucket_shift;

	used->unit_shift = log2_floor(geo->block_sectors);
	while (!is_fine && used->unit_shift < UNIT_SHIFT_MAX &&
	       used->unit_shift < geo->bucket_shift &&
	       (sectors >> used->unit_shift) / 8 > MAP_BYTES_BEST)
		used->unit_shift++;
	used->part_shift = (unsigned int)max_u64(geo->bucket_shift, log2_floor(sectors));
	while (used->part_shift > geo->bucket_shift &&
	       (sectors >> (used->part_shift - 1)) < PARTS_MAX &&
	       ((sectors >> used->part_shift) < PARTS_MIN / 2 ||
		part_map_bytes(used) > PART_BYTES_BEST))
		used->part_shift--;
	used->n_parts = div_round_up(sectors, 1ull << used->part_shift);
}

static bcfmt_err new_parts(struct used *used)
{
	uint64_t map_words = part_map_bytes(used) / sizeof(uint64_t);
	uint64_t n_maps = min_u64(used->n_parts, used->max_bytes / 8 / map_words);

	used->parts = calloc(used->n_parts, sizeof(*used->parts));
	used->maps = calloc(max_u64(n_maps, 1), map_words * sizeof(uint64_t));
	large_pages(used->maps, n_maps * map_words * sizeof(uint64_t));
	if (!used->parts || !used->maps)
		return BCFMT_E_NOMEM;
	for (uint64_t i = 0; i < used->n_parts; i++) {
		used->parts[i].map = i < n_maps ? used->maps + i * map_words : NULL;
		used->parts[i].last_row = NO_ROW;
		pthread_mutex_init(&used->parts[i].lock, NULL);
	}
	return BCFMT_OK;
}

bcfmt_err used_new(struct bcfmt_set *set, uint64_t max_bytes, bool is_fine, struct used **out)
{
	struct used *used = calloc(1, sizeof(*used));

	*out = NULL;
	if (!used)
		return BCFMT_E_NOMEM;
	used->set = set;
	used->fd = -1;
	used->max_bytes = max_bytes;
	pthread_mutex_init(&used->lock, NULL);
	cut_parts(used, is_fine);
	if (new_parts(used)) {
		used_free(used);
		return BCFMT_E_NOMEM;
	}
	*out = used;
	return BCFMT_OK;
}

void used_free(struct used *used)
{
	if (!used)
		return;
	while (used->idle) {
		struct used_shard *next = used->idle->next;

		free(used->idle->fill);
		free(used->idle);
		used->idle = next;
	}
	for (uint64_t i = 0; used->parts && i < used->n_parts; i++)
		pthread_mutex_destroy(&used->parts[i].lock);
	pthread_mutex_destroy(&used->lock);
	if (used->fd >= 0)
		close(used->fd);
	free(used->parts);
	free(used->maps);
	free(used);
}

/* ---- shards ---- */

static struct used_shard *shard_new(const struct used *used)
{
	struct used_shard *shard = calloc(1, sizeof(*shard) + used->n_parts * ROW_BYTES);

	if (!shard)
		return NULL;
	shard->part_shift = used->part_shift;
	shard->fill = malloc(used->n_parts * sizeof(*shard->fill));
	if (!shard->fill) {
		free(shard);
		return NULL;
	}
	for (uint64_t i = 0; i < used->n_parts; i++)
		shard->fill[i] = USED_ROW_HEAD;
	return shard;
}

struct used_shard *used_take(struct used *used)
{
	struct used_shard *shard;

	pthread_mutex_lock(&used->lock);
	shard = used->idle;
	if (shard)
		used->idle = shard->next;
	pthread_mutex_unlock(&used->lock);
	return shard ? shard : shard_new(used);
}

void used_give(struct used *used, struct used_shard *shard)
{
	pthread_mutex_lock(&used->lock);
	shard->next = used->idle;
	used->idle = shard;
	pthread_mutex_unlock(&used->lock);
}

/* ---- places ---- */

static uint64_t place_sector(uint64_t place)
{
	return place >> USED_SECTOR_BIT;
}

static uint64_t place_sectors(uint64_t place)
{
	return place & 0xffff;
}

static void suspect(struct used *used, uint64_t place)
{
	set_mark_bucket(used->set, place_sector(place) >> used->set->geo.bucket_shift,
			BUCKET_MAYBE_TWICE);
	__atomic_store_n(&used->is_suspect, 1, __ATOMIC_RELAXED);
}

/* Sets the units [first, end) of a bitmap; true when one of them was set. */
static bool set_units(uint64_t *map, uint64_t first, uint64_t end)
{
	uint64_t found = 0;

	for (uint64_t word = first / 64; word <= (end - 1) / 64; word++) {
		uint64_t from = max_u64(first, word * 64) % 64;
		uint64_t n = min_u64(end - word * 64, 64) - from;
		uint64_t mask = (n < 64 ? (1ull << n) - 1 : UINT64_MAX) << from;

		found |= map[word] & mask;
		map[word] |= mask;
	}
	return found;
}

/* Sets the units of places in the bitmap of the device's sectors from first_sector on. */
static void set_places(struct used *used, uint64_t *map, uint64_t first_sector,
		       const uint64_t *places, size_t n)
{
	unsigned int shift = used->unit_shift;
	uint64_t in_unit = (1ull << shift) - 1, first_unit = first_sector >> shift;

	for (size_t i = 0; i < n; i++) {
		uint64_t sector = place_sector(places[i]), sectors = place_sectors(places[i]);
		uint64_t first = (sector >> shift) - first_unit, n_units = sectors >> shift;
		uint64_t bit = first % 64, mask = ((2ull << (n_units - 1) % 64) - 1) << bit;

		if (i + AHEAD < n)
			__builtin_prefetch(
				&map[((place_sector(places[i + AHEAD]) >> shift) - first_unit) / 64],
				1);
		if (!((sector | sectors) & in_unit) && bit + n_units <= 64) {
			if (map[first / 64] & mask)
				suspect(used, places[i]);
			map[first / 64] |= mask;
			continue;
		}
		if (((sector | sectors) & in_unit) |
		    set_units(map, first, ((sector + sectors - 1) >> shift) - first_unit + 1))
			suspect(used, places[i]);
	}
}

/* Bits set of n (a power of 2) from first on, a multiple of it. */
static uint64_t count_units(const uint64_t *map, uint64_t first, uint64_t n)
{
	uint64_t count = 0;

	if (n < 64)
		return (uint64_t)__builtin_popcountll(map[first / 64] >> first % 64 &
						      ((1ull << n) - 1));
	for (uint64_t word = first / 64; word < (first + n) / 64; word++)
		count += map[word] ? (uint64_t)__builtin_popcountll(map[word]) : 0;
	return count;
}

/* What the bitmap of the device's sectors from first_sector on, units long, tells the buckets. */
static void tell_buckets(struct used *used, const uint64_t *map, uint64_t first_sector,
			 uint64_t units)
{
	const struct bcfmt_geometry *geo = &used->set->geo;
	uint64_t per_bucket = 1ull << (geo->bucket_shift - used->unit_shift);
	struct bcfmt_bucket *at = &used->set->buckets[first_sector >> geo->bucket_shift];
	uint64_t n_buckets =
		min_u64(units / per_bucket, geo->nbuckets - (first_sector >> geo->bucket_shift));

	for (uint64_t i = 0; i < n_buckets; i++) {
		uint64_t set = count_units(map, i * per_bucket, per_bucket);

		if (set && !(at[i].gen_flags & BUCKET_MAYBE_TWICE))
			at[i].sectors = (uint16_t)min_u64(set << used->unit_shift, UINT16_MAX);
	}
}

/* Appends a row, whose head is made here, to the chain of a part. */
static bcfmt_err spill_row(struct used *used, struct part *part, uint64_t *row, uint64_t fill)
{
	uint64_t offset_bytes;
	bcfmt_err err = BCFMT_OK;

	pthread_mutex_lock(&used->lock);
	if (used->fd < 0)
		err = tmpfile_new(used->set->ctx, &used->fd);
	offset_bytes = used->file_bytes;
	used->file_bytes += ROW_BYTES;
	pthread_mutex_unlock(&used->lock);
	if (err)
		return err;
	row[0] = part->last_row;
	row[1] = fill;
	part->last_row = offset_bytes;
	return tmpfile_write(used->set->ctx, used->fd, offset_bytes, row, ROW_BYTES);
}

bcfmt_err used_flush(struct used *used, struct used_shard *shard, uint64_t index)
{
	struct part *part = &used->parts[index];
	uint64_t *row = shard->rows + index * USED_ROW_WORDS, fill = shard->fill[index];
	bcfmt_err err = BCFMT_OK;

	shard->fill[index] = USED_ROW_HEAD;
	pthread_mutex_lock(&part->lock);
	if (part->map)
		set_places(used, part->map, index << used->part_shift, row + USED_ROW_HEAD,
			   fill - USED_ROW_HEAD);
	else
		err = spill_row(used, part, row, fill);
	pthread_mutex_unlock(&part->lock);
	return err;
}

/* ---- the end ---- */

/* What the threads share that work off the parts without a bitmap. */
struct rest {
	struct used *used;
	unsigned int window_shift; /* log2 of the sectors of a window, not below that of a bucket */
	bool with_sums;
};

/* Rows of a part hold places of all its windows; those of one are moved to the front. */
static size_t pick_window(uint64_t *places, size_t n, unsigned int window_shift, uint64_t window)
{
	size_t n_picked = 0;

	for (size_t i = 0; i < n; i++) {
		places[n_picked] = places[i];
		n_picked += place_sector(places[i]) >> window_shift == window;
	}
	return n_picked;
}

static bcfmt_err set_window(const struct rest *rest, const struct part *part, uint64_t *map,
			    uint64_t window)
{
	struct used *used = rest->used;
	uint64_t row[USED_ROW_WORDS];
	bcfmt_err err = BCFMT_OK;

	for (uint64_t at = part->last_row; !err && at != NO_ROW; at = row[0]) {
		err = tmpfile_read(used->set->ctx, used->fd, at, row, sizeof(row));
		if (!err)
			set_places(used, map, window << rest->window_shift, row + USED_ROW_HEAD,
				   pick_window(row + USED_ROW_HEAD, row[1] - USED_ROW_HEAD,
					       rest->window_shift, window));
		if (!err && bcfmt_ctx_is_cancelled(used->set->ctx))
			err = BCFMT_E_CANCELLED;
	}
	return err;
}

static uint64_t window_bytes(const struct rest *rest)
{
	return max_u64((1ull << (rest->window_shift - rest->used->unit_shift)) / 8,
		       sizeof(uint64_t));
}

static bool is_beyond_end(const struct rest *rest, uint64_t window)
{
	const struct bcfmt_geometry *geo = &rest->used->set->geo;

	return window << rest->window_shift >= geo->nbuckets << geo->bucket_shift;
}

static bcfmt_err set_part(void *arg, struct worker *worker, uint32_t index)
{
	const struct rest *rest = arg;
	const struct part *part = &rest->used->parts[index];
	unsigned int shift = rest->used->part_shift - rest->window_shift;
	uint64_t *map;
	bcfmt_err err = BCFMT_OK;

	(void)worker;
	if (part->last_row == NO_ROW)
		return BCFMT_OK;
	map = malloc(window_bytes(rest));
	if (!map)
		return BCFMT_E_NOMEM;
	for (uint64_t i = 0; !err && i < 1ull << shift; i++) {
		uint64_t window = ((uint64_t)index << shift) + i;

		if (is_beyond_end(rest, window))
			break;
		memset(map, 0, window_bytes(rest));
		err = set_window(rest, part, map, window);
		if (rest->with_sums)
			tell_buckets(rest->used, map, window << rest->window_shift,
				     1ull << (rest->window_shift - rest->used->unit_shift));
	}
	free(map);
	return err;
}

static bcfmt_err tell_part(void *arg, struct worker *worker, uint32_t index)
{
	struct used *used = arg;

	(void)worker;
	if (used->parts[index].map)
		tell_buckets(used, used->parts[index].map, (uint64_t)index << used->part_shift,
			     1ull << (used->part_shift - used->unit_shift));
	return BCFMT_OK;
}

/* All parts in their order, on all threads. */
static bcfmt_err for_parts(struct used *used, crew_fn work, void *arg)
{
	uint32_t *order = malloc(used->n_parts * sizeof(*order));
	bcfmt_err err;

	if (!order)
		return BCFMT_E_NOMEM;
	for (uint32_t i = 0; i < used->n_parts; i++)
		order[i] = i;
	err = crew_run(used->set, "sectors", NULL, order, used->n_parts, work, arg);
	free(order);
	return err;
}

bcfmt_err used_finish(struct used *used, bool with_sums, bool *is_suspect)
{
	struct rest rest = { used, used->part_shift, with_sums };
	uint64_t most_bytes = used->max_bytes / bcfmt_ctx_threads(used->set->ctx);
	bcfmt_err err = BCFMT_OK;

	*is_suspect = false;
	for (struct used_shard *shard = used->idle; shard; shard = shard->next)
		for (uint64_t i = 0; !err && i < used->n_parts; i++)
			if (shard->fill[i] > USED_ROW_HEAD)
				err = used_flush(used, shard, i);
	if (!err && with_sums)
		err = for_parts(used, tell_part, used);
	/* The windows of the others take their place. */
	free(used->maps);
	used->maps = NULL;
	while (window_bytes(&rest) > most_bytes && rest.window_shift > used->set->geo.bucket_shift)
		rest.window_shift--;
	if (!err && used->fd >= 0)
		err = for_parts(used, set_part, &rest);
	*is_suspect = used->is_suspect;
	return err;
}

bool used_is_coarse(const struct used *used)
{
	return used->unit_shift > log2_floor(used->set->geo.block_sectors);
}

uint64_t used_spilled_bytes(const struct used *used)
{
	return used->file_bytes;
}
