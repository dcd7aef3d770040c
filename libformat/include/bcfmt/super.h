/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The superblock of a cache or backing device. */
#ifndef BCFMT_SUPER_H
#define BCFMT_SUPER_H

#include <bcfmt/base.h>

BCFMT_BEGIN_DECLS

#define BCFMT_SUPER_OFFSET_BYTES 4096u
#define BCFMT_SUPER_BYTES 4096u
#define BCFMT_SUPER_JOURNAL_MAX 256u
#define BCFMT_LABEL_BYTES 32u
#define BCFMT_FEATURE_OBSO_LARGE_BUCKET 0x1ull
#define BCFMT_FEATURE_LARGE_BUCKET 0x2ull
#define BCFMT_SUPER_FLAG_SYNC 0x1ull
#define BCFMT_SUPER_FLAG_DISCARD 0x2ull
#define BCFMT_MIN_BUCKETS 513u /* kernel: cache_alloc() */

enum bcfmt_bdev_state { BCFMT_BDEV_NONE, BCFMT_BDEV_CLEAN, BCFMT_BDEV_DIRTY, BCFMT_BDEV_STALE };

/* Every field of the disk block, in host order; both readings of the union are filled. */
struct bcfmt_super {
	uint64_t csum;
	uint64_t csum_computed; /* over the covered bytes; = csum when keys > 256 made it unknown */
	uint64_t offset_sector; /* must be 8 */
	uint64_t version;
	uint8_t magic[16];
	uint8_t uuid[BCFMT_UUID_BYTES];
	uint8_t set_uuid[BCFMT_UUID_BYTES];
	char label[BCFMT_LABEL_BYTES + 1]; /* always terminated here */
	uint64_t flags;
	uint64_t seq;
	uint64_t feature_compat;
	uint64_t feature_incompat;
	uint64_t feature_ro_compat;
	uint64_t nbuckets_or_data_offset; /* raw field at 184 */
	uint16_t block_sectors;
	uint16_t bucket_field;   /* raw field at 194 */
	uint16_t nr_in_set;
	uint16_t nr_this_dev;
	uint32_t last_mount;
	uint16_t first_bucket;
	uint16_t keys;           /* journal buckets */
	uint16_t obso_bucket_hi; /* field at 2256, outside the checksum */
	uint64_t journal_bucket[BCFMT_SUPER_JOURNAL_MAX];

	bool is_backing;              /* version 1, 4, 6 */
	uint32_t bucket_sectors;      /* cache: effective; 0 when the log2 form overflows 2^31 */
	uint64_t data_offset_sectors; /* backing: 16 for version 1 */
};

/* What is wrong with a superblock; one bit a rule, so that all are seen at once (FORMAT 2.6). */
enum bcfmt_super_fault {
	BCFMT_SUPER_BAD_OFFSET = 1u << 0,
	BCFMT_SUPER_BAD_MAGIC = 1u << 1,
	BCFMT_SUPER_BAD_CSUM = 1u << 2,
	BCFMT_SUPER_ZERO_UUID = 1u << 3,
	BCFMT_SUPER_BLOCK_BELOW_DEVICE = 1u << 4,
	BCFMT_SUPER_BAD_DATA_OFFSET = 1u << 5,
	BCFMT_SUPER_BAD_VERSION = 1u << 6,
	BCFMT_SUPER_UNKNOWN_COMPAT = 1u << 7,
	BCFMT_SUPER_UNKNOWN_RO_COMPAT = 1u << 8,
	BCFMT_SUPER_UNKNOWN_INCOMPAT = 1u << 9,
	BCFMT_SUPER_MANY_JOURNAL = 1u << 10,    /* keys > 256 */
	BCFMT_SUPER_MANY_BUCKETS = 1u << 11,    /* nbuckets > LONG_MAX */
	BCFMT_SUPER_FEW_BUCKETS = 1u << 12,     /* < 513: read_super < 128, cache_alloc < 513 */
	BCFMT_SUPER_BLOCK_NOT_POW2 = 1u << 13,
	BCFMT_SUPER_BLOCK_ABOVE_PAGE = 1u << 14,
	BCFMT_SUPER_BUCKET_NOT_POW2 = 1u << 15,
	BCFMT_SUPER_BUCKET_BELOW_PAGE = 1u << 16,
	BCFMT_SUPER_DEVICE_TOO_SMALL = 1u << 17, /* nbuckets * bucket beyond what was opened */
	BCFMT_SUPER_ZERO_SET_UUID = 1u << 18,
	BCFMT_SUPER_BAD_MEMBER = 1u << 19,       /* nr_in_set, nr_this_dev */
	BCFMT_SUPER_JOURNAL_NOT_SEQ = 1u << 20,
	BCFMT_SUPER_JOURNAL_PAST_END = 1u << 21,
	BCFMT_SUPER_FIRST_BUCKET_LOW = 1u << 22,
	BCFMT_SUPER_BUCKET_OVERFLOW = 1u << 23,  /* log2 field > 31 */
	BCFMT_SUPER_BAD_REPLACEMENT = 1u << 24,  /* policy 3..7 */
	BCFMT_SUPER_BAD_CACHE_MODE = 1u << 25,   /* backing, 4..15 */
	BCFMT_SUPER_OBSO_LARGE = 1u << 26,       /* obsolete layout, read-only in the kernel */
	BCFMT_SUPER_DATA_PAST_END = 1u << 27,    /* data_offset >= device */
};

/*
 * Decodes 4096 bytes as they lie at offset 4096. Always fills *out; pure, never fails: what is
 * wrong is told by bcfmt_super_faults().
 */
BCFMT_API void bcfmt_super_decode(const uint8_t raw[BCFMT_SUPER_BYTES], struct bcfmt_super *out);

/*
 * Every rule that the superblock breaks, as a mask of enum bcfmt_super_fault. logical_block_bytes
 * is the device's (512 when unknown), page_bytes that of the machine to judge for (4096). After
 * BAD_MAGIC nothing but BAD_OFFSET is said, after BAD_VERSION nothing of the role. Of a backing
 * device only what the kernel looks at is judged, besides MANY_JOURNAL, which leaves its checksum
 * unknown, BAD_CACHE_MODE and DATA_PAST_END. kernel: read_super(), read_super_common(),
 * cache_alloc(), get_bucket_size().
 */
BCFMT_API uint32_t bcfmt_super_faults(const struct bcfmt_super *super, uint64_t dev_bytes,
				      uint32_t logical_block_bytes, uint32_t page_bytes);

/*
 * Writes every field over raw, which keeps its other bytes, and mends the checksum. The union
 * at 184 is taken from nbuckets_or_data_offset. keys must be <= 256.
 */
BCFMT_API void bcfmt_super_encode(const struct bcfmt_super *super, uint8_t raw[BCFMT_SUPER_BYTES]);
/* CRC over the covered bytes of raw; keys above 256 are read as 256. */
BCFMT_API uint64_t bcfmt_super_csum(const uint8_t raw[BCFMT_SUPER_BYTES]);

static inline unsigned int bcfmt_super_replacement(const struct bcfmt_super *super)
{
	return (unsigned int)(super->flags >> 2 & 7);
}
static inline unsigned int bcfmt_super_cache_mode(const struct bcfmt_super *super)
{
	return (unsigned int)(super->flags & 15);
}
static inline enum bcfmt_bdev_state bcfmt_super_bdev_state(const struct bcfmt_super *super)
{
	return (enum bcfmt_bdev_state)(super->flags >> 61 & 3);
}

BCFMT_END_DECLS

#endif
