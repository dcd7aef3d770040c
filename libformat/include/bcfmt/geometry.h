/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Sizes that follow from a cache superblock and the page size of the machine that wrote it. */
#ifndef BCFMT_GEOMETRY_H
#define BCFMT_GEOMETRY_H

#include <bcfmt/base.h>

BCFMT_BEGIN_DECLS

struct bcfmt_super;

struct bcfmt_geometry {
	uint64_t set_magic;        /* first 8 bytes of the set uuid, little-endian */
	uint64_t nbuckets;
	uint64_t dev_sectors;      /* what the opened device really holds */
	uint32_t first_bucket;
	uint32_t journal_buckets;  /* ring size, 0..256 */
	uint32_t block_sectors;    /* power of 2 */
	uint32_t bucket_sectors;   /* power of 2 */
	unsigned int bucket_shift; /* log2(bucket_sectors) */
	unsigned int nr_this_dev;
	uint32_t page_bytes;       /* 4096, 16384 or 65536 */
	uint32_t meta_bytes;       /* prio set and uuid bucket. kernel: meta_bucket_bytes() */
	uint32_t node_sectors;     /* default btree node. kernel: bch_cache_set_alloc() */
	uint32_t nr_uuids;         /* meta_bytes / 128 */
	uint32_t prios_per_bucket; /* (meta_bytes - 40) / 3 */
};

/*
 * Derives everything from a decoded cache superblock. E_DAMAGED, *out zeroed, when the fields
 * cannot carry any arithmetic: block or bucket size no power of two or 0, bucket smaller than a
 * block or above 2^22 sectors (2 GiB), nbuckets 0 or beyond 43-bit pointers, first_bucket >=
 * nbuckets, journal buckets > 256 or reaching past nbuckets, nr_this_dev >= 8.
 */
BCFMT_API bcfmt_err bcfmt_geometry_init(const struct bcfmt_super *super, uint64_t dev_bytes,
					uint32_t page_bytes, struct bcfmt_geometry *out);

/* Bytes of a meta bucket for another page size (prio layouts are tried with several). */
BCFMT_API uint32_t bcfmt_geometry_meta_bytes(uint32_t bucket_sectors, uint32_t page_bytes);
/* Default btree node in sectors. kernel: bch_cache_set_alloc(). */
BCFMT_API uint32_t bcfmt_geometry_node_sectors(uint32_t bucket_sectors, uint32_t page_bytes);
/* Prio buckets in the chain: ceil(nbuckets / prios_per_bucket). */
BCFMT_API uint64_t bcfmt_geometry_prio_buckets(const struct bcfmt_geometry *geo);

static inline uint32_t bcfmt_block_bytes(const struct bcfmt_geometry *geo)
{
	return geo->block_sectors * BCFMT_SECTOR_BYTES;
}
static inline uint64_t bcfmt_bucket_sector(const struct bcfmt_geometry *geo, uint64_t bucket)
{
	return bucket << geo->bucket_shift;
}
static inline bool bcfmt_bucket_is_journal(const struct bcfmt_geometry *geo, uint64_t bucket)
{
	return bucket >= geo->first_bucket && bucket - geo->first_bucket < geo->journal_buckets;
}

BCFMT_END_DECLS

#endif
