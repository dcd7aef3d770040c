/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Ranges of an exported volume that are lost or doubtful, told as they are met. */
#ifndef LOST_H
#define LOST_H

#include <bcfmt/volume.h>

#include "dump.h"

enum lost_why {
	LOST_NOTHING,
	LOST_STALE,   /* dirty data in a bucket that was reused */
	LOST_CACHE,   /* dirty data that the cache cannot read */
	LOST_BACKING, /* data that the backing device cannot read */
	LOST_PLACE,   /* dirty data at a place that cannot be */
	LOST_LEAF,    /* a node that would tell of dirty data cannot be read */
	LOST_ORDER,   /* a leaf out of order: the newest data may not be taken */
	LOST_COUNT,
};

struct lost {
	struct dump *d;
	uint64_t sectors[LOST_COUNT];
	bool is_silent;	   /* only added up */
	enum lost_why why; /* of the range that may still grow */
	uint64_t start_sector;
	uint64_t end_sector;
};

static inline enum lost_why lost_of_sector(enum bcfmt_sector sector)
{
	static const enum lost_why whys[BCFMT_SECTOR_STATES] = {
		[BCFMT_SECTOR_OK] = LOST_NOTHING,  [BCFMT_SECTOR_STALE] = LOST_STALE,
		[BCFMT_SECTOR_CACHE] = LOST_CACHE, [BCFMT_SECTOR_BACKING] = LOST_BACKING,
		[BCFMT_SECTOR_PLACE] = LOST_PLACE,
	};

	return whys[sector];
}

static inline struct lost lost_init(struct dump *d)
{
	return (struct lost){ .d = d };
}
/* Sectors of the volume. Ranges that touch and have one cause become one. */
void lost_add(struct lost *lost, enum lost_why why, uint64_t start_sector, uint64_t sectors);
/* Prints what is pending. */
void lost_flush(struct lost *lost);
bool lost_is_any(const struct lost *lost);

#endif
