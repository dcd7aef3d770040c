/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Reading a logical volume at any place: what a kernel shows as /dev/bcacheN. */
#ifndef BCFMT_VOLUME_H
#define BCFMT_VOLUME_H

#include <bcfmt/base.h>
#include <bcfmt/dev.h>
#include <bcfmt/loss.h>
#include <bcfmt/tree.h>

BCFMT_BEGIN_DECLS

/* What became of a sector of a volume. All but the first are lost. */
enum bcfmt_sector {
	BCFMT_SECTOR_OK,
	BCFMT_SECTOR_STALE,   /* its dirty data lay in a bucket that was reused; older data is read */
	BCFMT_SECTOR_CACHE,   /* the cache cannot read its dirty data; zeros are read */
	BCFMT_SECTOR_BACKING, /* the backing device cannot read it; zeros are read */
	BCFMT_SECTOR_PLACE,   /* its dirty data would be at a place that cannot be; anything is read */
};
#define BCFMT_SECTOR_STATES 5u

/*
 * The final extents of leaves that were looked at last. Memory stays near max_bytes (0: 32 MiB),
 * however large the tree is; the leaves of one read are kept beyond it. tree must outlive it, and
 * its gens must be final: bcfmt_tree_walk_leaves() first. Thread-safe.
 */
struct bcfmt_leaf_cache;
BCFMT_API bcfmt_err bcfmt_leaf_cache_new(struct bcfmt_tree *tree, size_t max_bytes,
					 struct bcfmt_leaf_cache **out);
BCFMT_API void bcfmt_leaf_cache_free(struct bcfmt_leaf_cache *cache); /* NULL is fine */

struct bcfmt_volume_params {
	uint32_t inode;
	struct bcfmt_dev *backing;    /* borrowed; NULL: a flash-only volume */
	uint64_t data_offset_sectors; /* keys count from here before, backing data begins here */
	uint64_t sectors;             /* of the volume */
	/*
	 * Finished, and only needed while the volume is opened; NULL: none. What a check calls lost is,
	 * where no dirty data is known: it also knows of keys that no leaf takes.
	 */
	struct bcfmt_losses *losses;
};

/* A volume opened for reading. All calls are thread-safe. */
struct bcfmt_volume;
/* leaves is borrowed; several volumes of a set share one. E_ARG: an impossible size. E_NOMEM. */
BCFMT_API bcfmt_err bcfmt_volume_open(struct bcfmt_leaf_cache *leaves,
				      const struct bcfmt_volume_params *params,
				      struct bcfmt_volume **out);
BCFMT_API void bcfmt_volume_free(struct bcfmt_volume *volume); /* NULL is fine */
BCFMT_API uint64_t bcfmt_volume_sectors(const struct bcfmt_volume *volume);

/* Added up over reads; zero it to start. */
struct bcfmt_volume_counts {
	uint64_t dirty_sectors;   /* taken from the cache */
	uint64_t rescued_sectors; /* clean copies in place of unreadable backing sectors */
};

/*
 * Reads sectors from start_sector on: dirty data, else that of the backing device, or of a clean
 * copy where the device cannot read it. state has an enum bcfmt_sector for each sector. counts may
 * be NULL. OK even when all of it is lost. E_RANGE beyond the end; E_IO when a leaf that could be
 * read when the tree was walked cannot be read now; E_NOMEM, E_CANCELLED.
 */
BCFMT_API bcfmt_err bcfmt_volume_read(struct bcfmt_volume *volume, uint64_t start_sector, void *buf,
				      size_t sectors, uint8_t *state,
				      struct bcfmt_volume_counts *counts);
/* Sectors of a volume that lie one after the other on a device, the cache or the backing device. */
struct bcfmt_place {
	struct bcfmt_dev *dev; /* borrowed */
	uint64_t dev_sector;
	size_t sectors;
};
/*
 * Where the sectors lie that a read of the range would take, in order: for who moves them without
 * looking at them. END when only a read can tell: something of it is lost or lies nowhere, or there
 * are more than max_places; or sectors is more than 4096. A place that cannot be read must be read
 * with bcfmt_volume_read(), which knows what stands in for it. Errors as there.
 */
BCFMT_API bcfmt_err bcfmt_volume_places(struct bcfmt_volume *volume, uint64_t start_sector,
					size_t sectors, struct bcfmt_place *places,
					size_t max_places, size_t *n_places);
/*
 * The first run of sectors at or after start_sector where cache or backing device hold anything;
 * all before it reads as zeros. END when nothing comes any more. Errors as of reading.
 */
BCFMT_API bcfmt_err bcfmt_volume_next_data(struct bcfmt_volume *volume, uint64_t start_sector,
					   uint64_t *begin_sector, uint64_t *end_sector);

/* A range of a volume of which it is not proved what it holds, and why. */
typedef void (*bcfmt_doubt_fn)(void *arg, enum bcfmt_loss why, uint64_t start_sector,
			       uint64_t end_sector);
/* Calls fn for such ranges that begin in [start_sector, end_sector), in order. */
BCFMT_API bcfmt_err bcfmt_volume_doubts(struct bcfmt_volume *volume, uint64_t start_sector,
					uint64_t end_sector, bcfmt_doubt_fn fn, void *arg);

BCFMT_END_DECLS

#endif
