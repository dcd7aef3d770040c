/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Sizes that follow from a cache superblock. */
#include <bcfmt/geometry.h>

#include <bcfmt/key.h>
#include <bcfmt/super.h>

#include "base/bytes.h"
#include "base/checked.h"
#include "ondisk/prio_set.h"
#include "ondisk/uuid_entry.h"

#define BUCKET_SECTORS_MAX (1u << 22)
#define POINTER_SECTORS (1ull << 43)  /* a pointer's offset has 43 bits */
#define META_PAGES_MAX 1024u          /* kernel: MAX_ORDER_NR_PAGES with 4 KiB pages */
#define META_BYTES_MAX (32768u * BCFMT_SECTOR_BYTES)
#define NODE_BYTES_DEFAULT (256u << 10) /* kernel: BTREE_MAX_PAGES */
#define PAGE_BYTES_MIN 4096u
#define PAGE_BYTES_MAX 65536u

/* Buckets smaller than a page, which no kernel takes, are their own meta bucket. */
uint32_t bcfmt_geometry_meta_bytes(uint32_t bucket_sectors, uint32_t page_bytes)
{
	uint64_t cap_bytes = min_u64((uint64_t)page_bytes * META_PAGES_MAX, META_BYTES_MAX);

	return (uint32_t)min_u64((uint64_t)bucket_sectors * BCFMT_SECTOR_BYTES, cap_bytes);
}

uint32_t bcfmt_geometry_node_sectors(uint32_t bucket_sectors, uint32_t page_bytes)
{
	uint32_t node_bytes = bcfmt_geometry_meta_bytes(bucket_sectors, page_bytes);

	if (node_bytes > NODE_BYTES_DEFAULT)
		node_bytes = (uint32_t)max_u64(node_bytes / 4, NODE_BYTES_DEFAULT);
	return node_bytes / BCFMT_SECTOR_BYTES;
}

uint64_t bcfmt_geometry_prio_buckets(const struct bcfmt_geometry *geo)
{
	return div_round_up(geo->nbuckets, geo->prios_per_bucket);
}

static bool is_usable(const struct bcfmt_super *super)
{
	uint64_t nbuckets = super->nbuckets_or_data_offset;

	if (super->is_backing)
		return false;
	if (!is_pow2(super->block_sectors) || !is_pow2(super->bucket_sectors) ||
	    super->bucket_sectors < super->block_sectors ||
	    super->bucket_sectors > BUCKET_SECTORS_MAX)
		return false;
	if (!nbuckets || nbuckets > POINTER_SECTORS / super->bucket_sectors)
		return false;
	return super->first_bucket < nbuckets && super->keys <= BCFMT_SUPER_JOURNAL_MAX &&
	       super->keys <= nbuckets - super->first_bucket &&
	       super->nr_this_dev < BCFMT_MAX_MEMBERS;
}

bcfmt_err bcfmt_geometry_init(const struct bcfmt_super *super, uint64_t dev_bytes,
			      uint32_t page_bytes, struct bcfmt_geometry *out)
{
	*out = (struct bcfmt_geometry){ 0 };
	if (!is_pow2(page_bytes) || page_bytes < PAGE_BYTES_MIN || page_bytes > PAGE_BYTES_MAX)
		return BCFMT_E_ARG;
	if (!is_usable(super))
		return BCFMT_E_DAMAGED;
	out->set_magic = load_le64(super->set_uuid);
	out->nbuckets = super->nbuckets_or_data_offset;
	out->dev_sectors = dev_bytes / BCFMT_SECTOR_BYTES;
	out->first_bucket = super->first_bucket;
	out->journal_buckets = super->keys;
	out->block_sectors = super->block_sectors;
	out->bucket_sectors = super->bucket_sectors;
	out->bucket_shift = log2_floor(super->bucket_sectors);
	out->nr_this_dev = super->nr_this_dev;
	out->page_bytes = page_bytes;
	out->meta_bytes = bcfmt_geometry_meta_bytes(super->bucket_sectors, page_bytes);
	out->node_sectors = bcfmt_geometry_node_sectors(super->bucket_sectors, page_bytes);
	out->nr_uuids = out->meta_bytes / (uint32_t)sizeof(struct uuid_entry_disk);
	out->prios_per_bucket = (out->meta_bytes - (uint32_t)sizeof(struct prio_set_disk)) /
				(uint32_t)sizeof(struct prio_entry_disk);
	return BCFMT_OK;
}
