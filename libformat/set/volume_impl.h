/* SPDX-License-Identifier: GPL-2.0-or-later */
/* A volume that is read; shared by the files that do so. */
#ifndef SET_VOLUME_IMPL_H
#define SET_VOLUME_IMPL_H

#include <pthread.h>

#include <bcfmt/volume.h>

#include "base/checked.h"
#include "base/runs.h"
#include "base/vec.h"
#include "set/leaf_cache.h"
#include "set/tree_impl.h"

/* A range is read in such chunks. */
#define CHUNK_SECTORS 4096u

enum piece_kind { PIECE_DIRTY, PIECE_CLEAN, PIECE_STALE, PIECE_MISPLACED };

/* A part of the chunk that the cache has something for. */
struct piece {
	uint64_t cache_sector;
	uint32_t first;
	uint32_t end;
	enum piece_kind kind;
};

/* What one read at a time needs. */
struct scratch {
	struct scratch *next;
	struct vec pieces;	    /* struct piece, in order */
	uint8_t bad[CHUNK_SECTORS]; /* the last read of the sector failed */
};

struct bcfmt_volume {
	struct bcfmt_volume_params params;
	struct bcfmt_leaf_cache *leaves; /* borrowed */
	struct bcfmt_ctx *ctx;
	struct bcfmt_dev *cache;
	pthread_mutex_t lock;
	struct scratch *idle; /* never more than reads at one time */
	struct runs *lost;    /* struct lost_range in order, none overlaps; NULL: none */
	/* Of the backing device, by its sectors: no data in [hole_begin, data_begin), then data. */
	uint64_t hole_begin, data_begin, data_end;
};

/* Sectors of the volume. */
struct lost_range {
	uint64_t start;
	uint64_t end;
};

/* A chunk that is being read. */
struct chunk {
	struct bcfmt_volume *volume;
	struct scratch *scratch;
	uint64_t start_sector;
	uint32_t sectors;
	uint8_t *buf;
	uint8_t *state;
	struct bcfmt_volume_counts counts;
};

/* Scratch for one read, given back after it; NULL when memory is out. */
struct scratch *volume_take_scratch(struct bcfmt_volume *volume);
void volume_give_scratch(struct bcfmt_volume *volume, struct scratch *scratch);

static inline bool volume_has(const struct bcfmt_volume *volume, uint64_t start_sector,
			      uint64_t sectors)
{
	return start_sector <= volume->params.sectors &&
	       sectors <= volume->params.sectors - start_sector;
}
/* First extent of the leaf that ends after the sector of the inode. */
size_t volume_first_extent(const struct cached_leaf *leaf, uint32_t inode, uint64_t key_sector);
enum piece_kind volume_kind_of(const struct bcfmt_volume *volume,
			       const struct bcfmt_extent *extent);
/* What the cache has for the chunk, into chunk->scratch->pieces. */
bcfmt_err volume_find_pieces(struct chunk *chunk);
/* The next data of the backing device at or after the sector of the volume; END. */
bcfmt_err volume_backing_data(struct bcfmt_volume *volume, uint64_t sector, uint64_t *begin,
			      uint64_t *end);
/* The first of the volume's lost ranges, which it has, that ends after the sector. */
bcfmt_err volume_first_lost(struct runs *lost, uint64_t sector, uint64_t *index);

#endif
