/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Copies pieces of a cache to their places on a backing device, a batch at a time. */
#ifndef REPAIR_WRITEBACK_COPY_H
#define REPAIR_WRITEBACK_COPY_H

#include <bcfmt/dev.h>
#include <bcfmt/undo.h>

/* Sectors that the cache could not read: nothing was written for them. */
typedef bcfmt_err (*home_bad_fn)(void *arg, uint64_t home_sector, uint64_t sectors,
				 uint64_t cache_sector);

struct home_copy_params {
	struct bcfmt_ctx *ctx;
	struct bcfmt_dev *cache;
	struct bcfmt_dev *target;
	struct bcfmt_undo *undo; /* NULL: nothing is saved */
	unsigned int undo_index;
	home_bad_fn bad;
	void *arg;
};

struct home_copy;

/* Freed with home_copy_free(). E_NOMEM. */
bcfmt_err home_copy_new(const struct home_copy_params *params, struct home_copy **out);
void home_copy_free(struct home_copy *copy); /* NULL is fine */

/* Pieces from this sector on follow; before it all is done. After home_copy_sync(). */
void home_copy_begin(struct home_copy *copy, uint64_t home_sector);
/* The next piece; home sectors ascend and do not overlap until the next home_copy_begin(). */
bcfmt_err home_copy_add(struct home_copy *copy, uint64_t home_sector, uint64_t cache_sector,
			uint64_t sectors);
/* Writes what is left and flushes the target. */
bcfmt_err home_copy_sync(struct home_copy *copy);
/* All pieces before this sector were written, or told as bad; not flushed yet. */
uint64_t home_copy_written_to(const struct home_copy *copy);
uint64_t home_copy_copied_sectors(const struct home_copy *copy);
/* Those, and what waits to be written. */
uint64_t home_copy_taken_sectors(const struct home_copy *copy);

#endif
