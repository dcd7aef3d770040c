/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Sizes and counts of a cache, from what was seen of its set. */
#ifndef SET_SUPER_GEOMETRY_H
#define SET_SUPER_GEOMETRY_H

#include <bcfmt/super.h>

#include "set/super_scan.h"

#define LAYOUT_TEXT_BYTES 200u

struct layout {
	unsigned int bucket_log2;
	unsigned int block_log2;
	uint64_t nbuckets;
	uint32_t first_bucket;
	uint32_t journal_buckets;
	bool is_block_guess;
	bool is_ring_by_rule; /* place and length of the ring as kernels choose them */
	/* What is in its places with this geometry. */
	uint64_t n_entries;
	uint64_t first_seq;
	uint64_t newest_seq;
	uint64_t missing_entries; /* of those that the newest one needs */
	uint64_t stray_entries;	  /* of those, not reached by reading a bucket from its start */
	uint64_t prio_links;	  /* of the chain of the newest entry that verify */
	bool has_chain;		  /* all of them, and no more */
	bool has_root;		  /* its first bset verifies */
	bool has_pointers;	  /* no pointer leads behind the last bucket */
	char bucket_text[LAYOUT_TEXT_BYTES];
	char block_text[LAYOUT_TEXT_BYTES];
};

/* What outside of the journal is known of a cache. Zero: nothing. */
struct layout_hints {
	const struct bcfmt_super *stored; /* NULL: nothing of it can be believed */
	uint32_t block_sectors;		  /* of a backing device of the set */
};

/*
 * OK: *out is proved by the checksums of what lies where it says, but for what it calls a guess.
 * END: there is no such geometry, or no single one; why (LAYOUT_TEXT_BYTES) tells. E_NOMEM,
 * E_CANCELLED. kernel: run_cache_set(), prio_read(), bch_cache_set_alloc()
 */
bcfmt_err layout_derive(struct bcfmt_ctx *ctx, struct bcfmt_dev *dev, const struct sight *sight,
			const struct layout_hints *hints, struct layout *out,
			char why[LAYOUT_TEXT_BYTES]);

/* The geometry of layout as fields of a superblock with this set magic; other fields stay. */
void layout_to_super(const struct layout *layout, struct bcfmt_super *super);

/* Ring and first bucket as they are made on a cache of so many buckets. */
uint32_t layout_ring_buckets(uint64_t nbuckets);
uint32_t layout_first_bucket(uint32_t bucket_sectors);

/* How much of the set is where the layout says; compare two of them. */
unsigned int layout_quality(const struct layout *layout);

/*
 * Fills what of layout can be seen when the device is read by this superblock. END when that
 * contradicts it: nothing is where it says, or something lies where it must not.
 */
bcfmt_err layout_verify(struct bcfmt_ctx *ctx, struct bcfmt_dev *dev,
			const struct bcfmt_super *super, struct layout *layout,
			char why[LAYOUT_TEXT_BYTES]);

#endif
