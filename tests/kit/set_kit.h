/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A small cache set in memory, laid out structure by structure with the library's writers, for the
 * tests of the read, set and check floors. Whatever a call is not told is what a healthy set has.
 * A call that cannot do its work ends the program: that is a fault of the test.
 */
#ifndef KIT_SET_KIT_H
#define KIT_SET_KIT_H

#include <bcfmt/check.h>
#include <bcfmt/set.h>
#include <bcfmt/tree.h>

#define SET_KIT_UUIDS 8u
#define SET_KIT_BACKING_MAX 4u

/* 0 in a field: the value in brackets. */
struct set_kit_shape {
	uint32_t bucket_sectors;  /* [16] */
	uint32_t block_sectors;	  /* [1] */
	uint32_t nbuckets;	  /* [640] */
	uint16_t journal_buckets; /* [8] */
	uint32_t page_bytes;	  /* of the machine that wrote the prio sets [4096] */
	unsigned int threads;	  /* [1] */
	const volatile int *cancelled;
};

struct set_kit {
	struct bcfmt_ctx *ctx;
	struct bcfmt_super super;
	struct bcfmt_geometry geo;
	struct bcfmt_dev *dev; /* the cache */
	struct bcfmt_dev *backing[SET_KIT_BACKING_MAX];
	size_t n_backing;
	uint8_t *gens; /* a bucket; 1 to start with */
	struct bcfmt_uuid_entry uuids[SET_KIT_UUIDS];
	uint64_t uuid_bucket;
	uint64_t prio_bucket; /* the chain is this one and those after it */
	uint64_t prio_seq;
	uint64_t free_bucket;  /* the first that no table has */
	struct bcfmt_set *set; /* after set_kit_open() */
};

/* The device is zeros; slot 0 of the uuids is a backing device. Ended with set_kit_clear(). */
void set_kit_init(struct set_kit *kit, const struct set_kit_shape *shape);
void set_kit_clear(struct set_kit *kit);

/* Pointer to a sector of a bucket with the bucket's gen. */
uint64_t set_kit_ptr(const struct set_kit *kit, uint64_t bucket, uint32_t sector);
/* A key [start, start + sectors) of an inode. */
struct bcfmt_key set_kit_clean(uint32_t inode, uint64_t start_sector, uint32_t sectors,
			       uint64_t ptr);
struct bcfmt_key set_kit_dirty(uint32_t inode, uint64_t start_sector, uint32_t sectors,
			       uint64_t ptr);
struct bcfmt_key set_kit_hole(uint32_t inode, uint64_t start_sector, uint32_t sectors);
/* A child pointer of the default size; pos is the child's last key. */
struct bcfmt_key set_kit_child(const struct set_kit *kit, struct bcfmt_pos pos, uint64_t ptr);
struct bcfmt_key set_kit_last_child(const struct set_kit *kit, uint64_t ptr);

/* Writes a bset at block of the node at ptr; returns the block after it. */
uint32_t set_kit_bset(struct set_kit *kit, uint64_t ptr, uint32_t block, uint64_t seq,
		      const struct bcfmt_key *keys, uint32_t n_keys);
/* A node of one bset at the start of a bucket; returns the pointer to it. */
uint64_t set_kit_node(struct set_kit *kit, uint64_t bucket, const struct bcfmt_key *keys,
		      uint32_t n_keys);

struct set_kit_jset {
	uint32_t ring_index;
	uint32_t sector; /* in its bucket */
	uint64_t seq;
	uint64_t last_seq; /* [seq] */
	uint64_t root_ptr;
	uint16_t level;
	uint64_t prio_bucket; /* [the kit's] */
	uint64_t uuid_ptr;    /* [of the kit's bucket] */
	const struct bcfmt_key *keys;
	uint32_t n_keys;
	uint32_t fill_words; /* instead of keys: so many words of a key that is never looked at */
};
/* Writes a journal entry; returns the sector after it in its bucket. */
uint32_t set_kit_jset(struct set_kit *kit, const struct set_kit_jset *jset);
/* One entry, seq 1 in ring bucket 1, that names this root. */
void set_kit_first_jset(struct set_kit *kit, uint64_t root_ptr, uint16_t level);

/* Writes the superblock, the uuid table, and the prio chain with the kit's gens. */
void set_kit_tables(struct set_kit *kit);
/* Only the prio chain, over what is at buckets[0..n). */
void set_kit_prios(struct set_kit *kit, const uint64_t *buckets, size_t n_buckets);

/* A backing device known to slot, which the uuid table must still be written with. */
void set_kit_backing(struct set_kit *kit, uint32_t slot, enum bcfmt_bdev_state state,
		     uint64_t sectors);

void set_kit_write(struct set_kit *kit, uint64_t sector, const void *bytes, size_t len_bytes);
void set_kit_read(const struct set_kit *kit, uint64_t sector, void *bytes, size_t len_bytes);
/* Changes one byte at an offset in a bucket, without mending a checksum. */
void set_kit_spoil(struct set_kit *kit, uint64_t bucket, uint64_t offset_bytes);
void set_kit_zero(struct set_kit *kit, uint64_t sector, uint32_t sectors);

/* Opens kit->set over the cache and the backing devices; an open one is closed before. */
bcfmt_err set_kit_open(struct set_kit *kit);

/* A check and what came of it. Ended with set_kit_result_clear(). */
struct set_kit_result {
	bcfmt_err err;
	struct bcfmt_report *report;
	struct bcfmt_verdict verdict;
};
/* Opens the set when it is not, and checks it for a kernel 6.1. */
void set_kit_check(struct set_kit *kit, enum bcfmt_check_level level, struct set_kit_result *out);
void set_kit_result_clear(struct set_kit_result *result);
/* How often a problem was found. */
#define SET_KIT_TOTAL(result, id) bcfmt_report_total((result)->report, BCFMT_P_##id)
/* All findings of at least this severity, those only counted included. */
uint64_t set_kit_problems(const struct set_kit_result *result, enum bcfmt_severity least);
/* What was found, a line a finding, and the verdict in numbers; to be freed. */
char *set_kit_result_text(const struct set_kit_result *result);
/* What the verdict says of an inode; NULL when nothing. */
const struct bcfmt_verdict_device *set_kit_device(const struct set_kit_result *result,
						  uint32_t inode);

/* A repeatable sequence of numbers; *state is not 0. */
uint64_t set_kit_random(uint64_t *state);
/* 0..n-1 */
uint32_t set_kit_below(uint64_t *state, uint32_t n);

#endif
