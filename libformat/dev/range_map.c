/* SPDX-License-Identifier: GPL-2.0-or-later */
/* An ordered map of ranges: a sorted list of sorted chunks. */
#include "dev/range_map.h"

#include <stdlib.h>
#include <string.h>

#define CHUNK_RANGES 128u

struct range_chunk {
	size_t n; /* never 0 in the list */
	struct range ranges[CHUNK_RANGES];
};

/* A place in the map: ranges[index] of chunk, or one behind the last. */
struct place {
	size_t chunk;
	size_t index;
};

static struct range_chunk *chunk_at(const struct range_map *map, size_t i)
{
	return *VEC_AT(&map->chunks, struct range_chunk *, i);
}

/* The first range that ends after position; {number of chunks, 0} when there is none. */
static struct place find(const struct range_map *map, uint64_t position)
{
	size_t low = 0, high = map->chunks.n;
	struct place place;

	while (low < high) {
		size_t mid = low + (high - low) / 2;
		const struct range_chunk *chunk = chunk_at(map, mid);

		if (chunk->ranges[chunk->n - 1].end > position)
			high = mid;
		else
			low = mid + 1;
	}
	place = (struct place){ low, 0 };
	if (low == map->chunks.n)
		return place;
	high = chunk_at(map, low)->n;
	low = 0;
	while (low < high) {
		size_t mid = low + (high - low) / 2;

		if (chunk_at(map, place.chunk)->ranges[mid].end > position)
			high = mid;
		else
			low = mid + 1;
	}
	place.index = low;
	return place;
}

static struct range *range_at(const struct range_map *map, struct place place)
{
	if (place.chunk == map->chunks.n)
		return NULL;
	return &chunk_at(map, place.chunk)->ranges[place.index];
}

bool range_map_at(const struct range_map *map, uint64_t position, struct range *out)
{
	const struct range *range = range_at(map, find(map, position));

	if (range)
		*out = *range;
	return range != NULL;
}

uint64_t range_value_at(const struct range *range, uint64_t position)
{
	if (range->value == RANGE_VALUE_FIXED)
		return RANGE_VALUE_FIXED;
	return range->value + (position - range->start);
}

/* A new empty chunk at index of the list, which must get a range at once. */
static struct range_chunk *add_chunk(struct range_map *map, size_t index)
{
	struct range_chunk *chunk = malloc(sizeof(*chunk));
	struct range_chunk **slot;

	if (!chunk || !vec_push(&map->chunks, sizeof(chunk))) {
		free(chunk);
		return NULL;
	}
	slot = VEC_AT(&map->chunks, struct range_chunk *, index);
	memmove(slot + 1, slot, (map->chunks.n - 1 - index) * sizeof(*slot));
	*slot = chunk;
	chunk->n = 0;
	return chunk;
}

/* Inserts before place. The map is unchanged on E_NOMEM. */
static bcfmt_err insert(struct range_map *map, struct place place, struct range range)
{
	struct range_chunk *chunk;

	if (place.chunk == map->chunks.n && place.chunk) {
		place.chunk--;
		place.index = chunk_at(map, place.chunk)->n;
	}
	if (!map->chunks.n) {
		chunk = add_chunk(map, 0);
		if (!chunk)
			return BCFMT_E_NOMEM;
	} else {
		chunk = chunk_at(map, place.chunk);
	}
	if (chunk->n == CHUNK_RANGES) {
		/* What is only ever appended fills its chunks. */
		size_t kept = place.index == CHUNK_RANGES ? CHUNK_RANGES : CHUNK_RANGES / 2;
		struct range_chunk *upper = add_chunk(map, place.chunk + 1);

		if (!upper)
			return BCFMT_E_NOMEM;
		upper->n = CHUNK_RANGES - kept;
		memcpy(upper->ranges, chunk->ranges + kept, upper->n * sizeof(range));
		chunk->n = kept;
		if (place.index > kept || kept == CHUNK_RANGES) {
			place.index -= kept;
			chunk = upper;
		}
	}
	memmove(chunk->ranges + place.index + 1, chunk->ranges + place.index,
		(chunk->n - place.index) * sizeof(range));
	chunk->ranges[place.index] = range;
	chunk->n++;
	return BCFMT_OK;
}

static void drop_chunks(struct range_map *map, size_t first, size_t n)
{
	struct range_chunk **slot;
	size_t i;

	if (!n)
		return;
	for (i = first; i < first + n; i++)
		free(chunk_at(map, i));
	slot = VEC_AT(&map->chunks, struct range_chunk *, first);
	memmove(slot, slot + n, (map->chunks.n - first - n) * sizeof(*slot));
	map->chunks.n -= n;
}

/* Unmaps [start, end). No range may reach over both ends. */
static void cut(struct range_map *map, uint64_t start, uint64_t end)
{
	struct place place = find(map, start);
	struct range *range = range_at(map, place);
	size_t first_empty = 0, n_empty = 0;

	if (range && range->start < start) {
		range->end = start;
		place.index++;
	}
	for (; place.chunk < map->chunks.n; place.chunk++, place.index = 0) {
		struct range_chunk *chunk = chunk_at(map, place.chunk);
		size_t behind = place.index;

		while (behind < chunk->n && chunk->ranges[behind].end <= end)
			behind++;
		if (behind < chunk->n) {
			range = &chunk->ranges[behind];
			if (range->start < end) {
				range->value = range_value_at(range, end);
				range->start = end;
			}
			memmove(chunk->ranges + place.index, chunk->ranges + behind,
				(chunk->n - behind) * sizeof(*range));
			chunk->n -= behind - place.index;
			break;
		}
		chunk->n = place.index;
		if (!chunk->n && !n_empty++)
			first_empty = place.chunk;
	}
	drop_chunks(map, first_empty, n_empty);
}

bcfmt_err range_map_set(struct range_map *map, uint64_t start, uint64_t end, uint64_t value)
{
	struct place place = find(map, start);
	struct range *range = range_at(map, place);

	if (range && range->start == start && range->end == end) {
		range->value = value;
		return BCFMT_OK;
	}
	if (range && range->start < start && range->end > end) {
		struct range behind = { end, range->end, range_value_at(range, end) };
		bcfmt_err err;

		/*
		 * Shortened first, so that the map stays ordered, and mended if there is no
		 * memory for the part behind.
		 */
		range->end = start;
		place.index++;
		err = insert(map, place, behind);
		if (err) {
			range->end = behind.end;
			return err;
		}
	}
	cut(map, start, end);
	return insert(map, find(map, start), (struct range){ start, end, value });
}

bcfmt_err range_map_join(struct range_map *map, uint64_t start, uint64_t end)
{
	struct range range;

	if (start && range_map_at(map, start - 1, &range) && range.start < start)
		start = range.start;
	if (range_map_at(map, end, &range) && range.start <= end)
		end = range.end;
	return range_map_set(map, start, end, RANGE_VALUE_FIXED);
}

void range_map_clear(struct range_map *map)
{
	size_t i;

	for (i = 0; i < map->chunks.n; i++)
		free(chunk_at(map, i));
	vec_free(&map->chunks);
}
