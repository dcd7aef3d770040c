/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Inside of the making of a bucket map. */
#ifndef CHECK_MAP_BUILD_H
#define CHECK_MAP_BUILD_H

#include <pthread.h>

#include <bcfmt/tree.h>

#include "check/map.h"

/* Marks of a bucket. */
#define MARK_DAMAGED 1u
#define MARK_DOUBTFUL 2u
#define MARK_DOUBTFUL_DATA 4u /* by a leaf, which may be judged anew */
#define MARK_CLEAN 8u /* likewise; where gens are not sure the set's map calls more buckets clean */

struct map_build {
	struct bcfmt_set *set;
	struct bcfmt_map *map;
	struct bcfmt_tree *tree;
	struct used *used;
	uint8_t *marks;	       /* geo.nbuckets; NULL until there is one, as in most sets */
	pthread_mutex_t lock;  /* of making them */
	bool is_out_of_memory; /* atomic, as all that follows */
	bool has_data_marks;
	uint64_t dirty_sectors;
	uint64_t clean_sectors;
	uint64_t end_sector; /* of the extents by place so far */
};

/* Adds marks to a bucket; one that the cache does not have is none. On any thread. */
void map_mark(struct map_build *b, uint64_t bucket, unsigned int bits);

/* Where a journal entry lies. */
uint64_t map_entry_bucket(const struct map_build *b, size_t index);

/* Marks the damage that superblock, prio sets, journal and uuid tables tell of. */
bcfmt_err map_mark_tables(struct map_build *b);

#endif
