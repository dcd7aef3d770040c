/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The keys of a plain leaf (bcfmt_node_view.is_plain): three words each, in order. */
#ifndef SET_PLAIN_H
#define SET_PLAIN_H

#include <bcfmt/tree.h>

#include "base/bytes.h"

#define PLAIN_KEY_WORDS 3u
#define PLAIN_KEY_BYTES (8u * PLAIN_KEY_WORDS)

static inline struct bcfmt_key plain_key(const uint8_t *raw)
{
	return (struct bcfmt_key){ load_le64(raw), load_le64(raw + 8), load_le64(raw + 16) };
}

/* Its extent, not judged. */
static inline struct bcfmt_extent plain_extent(const uint8_t *raw)
{
	struct bcfmt_key key = plain_key(raw);

	return (struct bcfmt_extent){
		.start_sector = bcfmt_key_start_sector(&key),
		.end_sector = key.low,
		.ptr = key.ptr,
		.inode = bcfmt_key_inode(&key),
		.is_dirty = bcfmt_key_is_dirty(&key),
		.source = BCFMT_FROM_TREE,
	};
}

/* How many of n keys from raw on have the inode of the first. */
static inline size_t plain_run(const uint8_t *raw, size_t n)
{
	uint32_t inode = plain_extent(raw).inode;
	size_t low = 1, high = n;

	/* In order: those with another inode come last. */
	while (low < high) {
		size_t mid = low + (high - low) / 2;

		if (plain_extent(raw + mid * PLAIN_KEY_BYTES).inode == inode)
			low = mid + 1;
		else
			high = mid;
	}
	return low;
}

#endif
