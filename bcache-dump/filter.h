/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Which keys a command prints, and how a key becomes a row. */
#ifndef FILTER_H
#define FILTER_H

#include <bcfmt/tree.h>

#include "dump.h"

/* The sectors [start, end) of the inode are asked for by --inode and --range. */
static inline bool filter_has_sectors(const struct dump_options *opt, uint32_t inode,
				      uint64_t start_sector, uint64_t end_sector)
{
	if (opt->has_inode && inode != opt->inode)
		return false;
	return !opt->has_range ||
	       (start_sector <= opt->range_last && end_sector > opt->range_first);
}
static inline bool filter_has_bucket(const struct dump_options *opt, uint64_t bucket)
{
	return !opt->has_buckets || (bucket >= opt->bucket_first && bucket <= opt->bucket_last);
}

/* Dirty data that a later user of its bucket has overwritten, and that was not written back. */
static inline bool extent_is_lost(const struct bcfmt_extent *extent)
{
	return extent->stale && extent->is_dirty && !extent->is_written_back;
}

static inline struct bcfmt_key extent_key(const struct bcfmt_extent *extent)
{
	return bcfmt_key_make(extent->inode, extent->end_sector,
			      (uint32_t)(extent->end_sector - extent->start_sector),
			      extent->is_dirty, true, extent->ptr);
}

/* Name of an enum bcfmt_extent_source. */
const char *source_text(unsigned int source);
/* Fields of a key: inode, start_sector, sectors, dirty, and of its first pointer. */
void key_fields(struct dump *d, const struct bcfmt_key *key);
/* Fields of a pointer word: dev, cache_sector, bucket, gen. */
void ptr_fields(struct dump *d, uint64_t ptr);
/* A row of what is finally there. */
void extent_row(struct dump *d, const char *kind, const struct bcfmt_extent *extent);
/* A leaf could be read when all were walked, and cannot now. */
void tell_lost_leaf(const struct dump *d, const struct bcfmt_node_view *view);

/* keys --history: the range [lo, hi) of one inode; returns an enum dump_exit. */
int keys_history(struct dump *d, struct bcfmt_pos lo, struct bcfmt_pos hi);

#endif
