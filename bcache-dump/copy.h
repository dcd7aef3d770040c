/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Lays the extents of one inode over its backing data and writes the volume out. */
#ifndef COPY_H
#define COPY_H

#include "lost.h"
#include "sink.h"

#define COPY_CHUNK_SECTORS 4096u

enum copy_kind { COPY_DIRTY, COPY_CLEAN, COPY_STALE };

/* A part of the chunk that the cache has something for. Not two of them overlap. */
struct copy_piece {
	uint64_t cache_sector;
	uint32_t first;
	uint32_t end;
	enum copy_kind kind;
};

struct copy_params {
	struct bcfmt_ctx *ctx;
	struct bcfmt_dev *cache;
	struct bcfmt_dev *backing;    /* NULL: a flash-only volume */
	uint64_t data_offset_sectors; /* what keys count from and the backing data begins at */
	uint64_t volume_sectors;
	struct sink *sink;
	struct lost *lost;
};

struct copy {
	struct copy_params params;
	uint8_t *buf;	/* the chunk */
	uint8_t *state; /* one enum lost_why a sector of the chunk */
	uint8_t *bad;	/* a byte a sector: the last read of it failed */
	struct copy_piece *pieces;
	size_t n_pieces;
	uint64_t start_sector;	  /* of the chunk */
	uint64_t next_sector;	  /* extents end before it */
	uint64_t hole_end_sector; /* up to here the backing device holds nothing */
	uint64_t data_end_sector; /* ... and from there on data up to here; 0: not known yet */

	uint64_t dirty_sectors;	  /* taken from the cache */
	uint64_t rescued_sectors; /* clean copies in place of unreadable backing sectors */
	uint64_t outside_sectors; /* dirty but beyond the volume */
};

bcfmt_err copy_init(struct copy *copy, const struct copy_params *params);
void copy_clear(struct copy *copy);
/* The next extent in key order. */
bcfmt_err copy_extent(struct copy *copy, const struct bcfmt_extent *extent);
/* Writes up to the end of the volume. */
bcfmt_err copy_finish(struct copy *copy);

#endif
