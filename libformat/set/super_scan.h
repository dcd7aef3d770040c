/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What a device holds of cache sets whose superblock nobody trusts: journal entries, bsets and
 * prio sets, told by their checksums alone, without block size, bucket size or set uuid. Memory
 * does not grow with the device: of each set there are counts, the newest entry, a few prio sets.
 */
#ifndef SET_SUPER_SCAN_H
#define SET_SUPER_SCAN_H

#include <bcfmt/ctx.h>
#include <bcfmt/dev.h>
#include <bcfmt/jset.h>

#define SIGHTS_MAX 64u
#define SIGHT_PRIOS_MAX 64u
#define SIGHT_BLOCK_LOG2_MAX 7u	  /* 64 KiB, the largest page */
#define SIGHT_BUCKET_LOG2_MIN 3u  /* 4 KiB, the smallest page */
#define SIGHT_BUCKET_LOG2_MAX 22u /* 2 GiB */
#define SIGHT_LOG2S 64u

struct sight_prio {
	uint64_t sector;
	uint64_t seq;
	uint64_t next_bucket;
	uint32_t bytes; /* the length that its checksum covers */
};

/* The head of a structure that may go on behind its end, to measure blocks by. */
struct sight_last {
	uint64_t sector; /* UINT64_MAX: none */
	uint64_t seq;
	uint64_t bytes;
};

/* All that was seen of one set. */
struct sight {
	uint64_t set_magic;
	bool is_named; /* something outside of the scan names this set */
	uint64_t n_jsets;
	uint64_t n_bsets;
	uint64_t n_prios;
	struct bcfmt_jset newest; /* highest seq; keys NULL */
	uint64_t newest_sector;
	uint64_t first_jset_sector;
	uint64_t end_jset_sector;
	uint64_t least_start_sector; /* of a bucket that is in no journal; UINT64_MAX: none */
	uint64_t end_sector;	     /* of all that was seen or pointed to */
	/*
	 * Structures that begin right behind another one, by the power of two that divides their
	 * sector, and in how many of them blocks of 1 << i sectors fit. Those at the start of a
	 * bucket do not count, when it is known where buckets begin.
	 */
	uint64_t pairs[SIGHT_LOG2S];
	uint64_t block_fits[SIGHT_BLOCK_LOG2_MAX + 1][SIGHT_LOG2S];
	/* Ranges that lie in one bucket only if that has 1 << i sectors or more. */
	uint64_t least_log2[SIGHT_LOG2S];
	/* Starts of buckets that can be such only up to 1 << i sectors. */
	uint64_t most_log2[SIGHT_LOG2S];
	struct sight_prio prios[SIGHT_PRIOS_MAX]; /* highest seq first come, lowest go */
	size_t n_kept_prios;
	struct sight_last last_jset;
	struct sight_last last_bset;
};

struct sights {
	struct sight *items; /* SIGHTS_MAX */
	size_t n;
	bool is_capped; /* more sets than that */
	uint64_t scanned_bytes;
	bool is_whole; /* the device to its end */
};

/* True: what was seen before offset_bytes is enough. */
typedef bool (*sights_enough_fn)(void *arg, const struct sights *sights, uint64_t offset_bytes);

/*
 * Reads the device from its front. named: set magics to expect, 0 is none. enough is asked each
 * time that the distance has doubled, from 1 MiB on; NULL: to the end. Unreadable sectors hold
 * nothing. E_NOMEM, E_CANCELLED. Freed with sights_free(), after an error too.
 */
bcfmt_err sights_scan(struct bcfmt_ctx *ctx, struct bcfmt_dev *dev, const uint64_t *named,
		      size_t n_named, sights_enough_fn enough, void *arg, struct sights *out);
void sights_free(struct sights *sights);

/* Of all pairs inside buckets of 1 << bucket_log2 sectors those that blocks of 1 << log2 fit. */
uint64_t sight_block_fits(const struct sight *sight, unsigned int bucket_log2, unsigned int log2,
			  uint64_t *n_pairs);
/* How many structures speak against buckets of 1 << log2 sectors. */
uint64_t sight_bucket_faults(const struct sight *sight, unsigned int log2);

#endif
