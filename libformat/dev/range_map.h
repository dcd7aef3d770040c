/* SPDX-License-Identifier: GPL-2.0-or-later */
/* An ordered map from ranges of positions to values. Its memory follows the number of ranges. */
#ifndef DEV_RANGE_MAP_H
#define DEV_RANGE_MAP_H

#include <bcfmt/base.h>

#include "base/vec.h"

/* A value that stays the same when its range is cut; any other counts up with the position. */
#define RANGE_VALUE_FIXED UINT64_MAX

struct range {
	uint64_t start;
	uint64_t end;   /* exclusive, > start */
	uint64_t value; /* of position start */
};

/*
 * Zero it to start. Ranges do not overlap. They lie in sorted chunks of bounded size below one
 * sorted list of chunks, so that finding is a double binary search and changing moves little.
 * Lookups of one map may run on several threads while nobody changes it.
 */
struct range_map {
	struct vec chunks; /* of struct range_chunk * */
};

/* The first range that ends after position, whole; false when there is none. */
bool range_map_at(const struct range_map *map, uint64_t position, struct range *out);
/*
 * Maps [start, end), start < end, over whatever was there. E_NOMEM: either nothing changed or
 * [start, end) is mapped no more. Mapping a range that is there with the same bounds never fails.
 */
bcfmt_err range_map_set(struct range_map *map, uint64_t start, uint64_t end, uint64_t value);
/*
 * Maps [start, end) to RANGE_VALUE_FIXED and joins it with neighbours that touch, so that one lookup
 * tells how far one reaches; for maps without other values. Errors as above.
 */
bcfmt_err range_map_join(struct range_map *map, uint64_t start, uint64_t end);
/* Value at position, which lies in range. */
uint64_t range_value_at(const struct range *range, uint64_t position);
/* Empties and frees; the map can be used again. */
void range_map_clear(struct range_map *map);

#endif
