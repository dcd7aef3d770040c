/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Which sectors of the cache live extents take, and in which buckets two may take the same. */
#ifndef CHECK_USED_H
#define CHECK_USED_H

#include <bcfmt/set.h>

/*
 * An extent's place on the cache in a word: sector and length. They are collected in rows, one row
 * for each part of the device, and handed over a row at a time.
 */
#define USED_SECTOR_BIT 16u
#define USED_ROW_WORDS 512u
#define USED_ROW_HEAD 2u /* words in front of the places, for the file */

struct used;

/* What one worker has collected and not handed over yet. */
struct used_shard {
	struct used_shard *next;
	unsigned int part_shift; /* log2 of the sectors of a part, not below that of a bucket */
	uint32_t *fill;		 /* words of each row, its head included */
	uint64_t rows[];
};

/*
 * Collects the places of a set's live extents. Keeps at most max_bytes (>= 1 MiB) beside the
 * shards; the rest goes to an unlinked file. is_fine: a unit of the bitmap is a block, else it
 * may be larger. Freed with used_free().
 */
bcfmt_err used_new(struct bcfmt_set *set, uint64_t max_bytes, bool is_fine, struct used **out);
void used_free(struct used *used);

/* A shard for one worker, to be given back after some work; NULL when memory is out. */
struct used_shard *used_take(struct used *used);
void used_give(struct used *used, struct used_shard *shard);
/* Hands a row over. Threads may do so at once, each with its own shard. */
bcfmt_err used_flush(struct used *used, struct used_shard *shard, uint64_t part);

/* Adds an extent of 1..65535 sectors, all of them in one bucket of the map. */
static inline bcfmt_err used_add(struct used *used, struct used_shard *shard, uint64_t sector,
				 uint64_t sectors)
{
	uint64_t part = sector >> shard->part_shift;
	uint32_t fill = shard->fill[part]++;

	shard->rows[part * USED_ROW_WORDS + fill] = sector << USED_SECTOR_BIT | sectors;
	return fill + 1 == USED_ROW_WORDS ? used_flush(used, shard, part) : BCFMT_OK;
}

/*
 * Ends the collecting, with all shards given back; with_sums adds up the live sectors of every
 * bucket. Where two extents may have a sector in common, BUCKET_MAYBE_TWICE marks the bucket instead and
 * *is_suspect is set. None is missed; wrong suspects are buckets where an extent does not begin
 * and end with a unit of the bitmap.
 */
bcfmt_err used_finish(struct used *used, bool with_sums, bool *is_suspect);
/* Some of its suspects may be none by the block. */
bool used_is_coarse(const struct used *used);
uint64_t used_spilled_bytes(const struct used *used);

#endif
