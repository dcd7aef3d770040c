/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Any number of extents without a state for each: extent i of an inode is computed from the seed.
 * They come in the order of keys; their places on the cache are a permutation of equal slots, so
 * that none share sectors. For generators of large caches and their tests.
 */
#ifndef KIT_EXTENTS_H
#define KIT_EXTENTS_H

#include <bcfmt/key.h>
#include <bcfmt/uuid.h>

#define EXTENTS_INODES_MAX 32u

struct extents_inode {
	uint64_t n;		      /* extents */
	uint64_t data_offset_sectors; /* of keys; 0 for a volume */
	bool is_volume;		      /* flash-only: all is dirty */
};

struct extents {
	uint64_t seed;
	struct extents_inode inode[EXTENTS_INODES_MAX];
	uint32_t n_inodes;
	/* Lengths are spread evenly between least and most, all in multiples of a block. */
	uint32_t least_sectors;
	uint32_t most_sectors;
	uint32_t block_sectors;
	uint64_t stride_sectors; /* of the inode for each extent, >= most */
	unsigned int dirty_percent;
	/* Slots of most_sectors, in buckets from first_bucket on. */
	uint32_t bucket_sectors;
	uint64_t first_bucket;
	uint64_t n_buckets;
};

struct extent_at {
	uint32_t inode;
	uint64_t start_sector; /* of the key: data offset included */
	uint64_t cache_sector;
	uint32_t sectors;
	bool is_dirty;
};

/* All inodes. */
uint64_t extents_total(const struct extents *extents);
/* Slots that there are: extents_total() must not exceed it. */
uint64_t extents_slots(const struct extents *extents);
/* What the device or volume of an inode holds, without its data offset. */
uint64_t extents_sectors(const struct extents *extents, uint32_t inode);
/* index < inode[inode].n */
struct extent_at extents_get(const struct extents *extents, uint32_t inode, uint64_t index);

/* A key stream: set it up with the extents and zeros. */
struct extents_stream {
	const struct extents *extents;
	uint32_t inode;
	uint64_t index;
};
/* A bcfmt_key_fn over a struct extents_stream; gens are 1. */
bcfmt_err extents_next(void *arg, struct bcfmt_key *key);

/* What a sector of a volume holds where an extent covers it; sector counts without data offset. */
void extents_content(uint64_t seed, uint32_t inode, uint64_t sector,
		     uint8_t raw[BCFMT_SECTOR_BYTES]);

#endif
