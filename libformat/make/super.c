/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The superblocks of new devices: byte for byte those of bcache-tools. */
#include <string.h>

#include <bcfmt/uuid.h>

#include <uuid/uuid.h>

#include "base/checked.h"
#include "make/make_impl.h"
#include "ondisk/super.h"

#define VERSION_CACHE 0u
#define VERSION_BACKING 1u
#define VERSION_BACKING_OFFSET 4u
#define VERSION_CACHE_FEATURES 5u
#define MODE_WRITEBACK 1u
#define REPLACEMENT_SHIFT 2
/* The superblock ends with this sector. */
#define LAST_SUPER_SECTOR (DISK_SUPER_SECTOR + BCFMT_SUPER_BYTES / BCFMT_SECTOR_BYTES - 1)
/* Where bcache-tools takes the first bucket from: eight sectors further than it had to be. */
#define FIRST_BUCKET_AFTER (LAST_SUPER_SECTOR + 8)

uint64_t make_data_offset(const struct make *mk, size_t i)
{
	uint32_t zone_sectors = mk->devices[i]->topology.zone_sectors;

	if (mk->params->data_offset_sectors)
		return mk->params->data_offset_sectors;
	return max_u64(BCFMT_MAKE_DATA_OFFSET, zone_sectors);
}

static void fill_backing(const struct make *mk, size_t i, struct bcfmt_super *super)
{
	uint64_t data_offset = make_data_offset(mk, i);
	uint64_t bucket_sectors = mk->bucket_bytes / BCFMT_SECTOR_BYTES;

	super->version = VERSION_BACKING;
	/* Means nothing here, but bcache-tools 1.0.8 writes it. */
	if (bucket_sectors <= UINT16_MAX)
		super->bucket_field = (uint16_t)bucket_sectors;
	/* kernel: writeback needs to write anywhere at any time, which zones do not allow. */
	if (mk->params->is_writeback && !mk->devices[i]->topology.zone_sectors)
		super->flags = MODE_WRITEBACK;
	if (data_offset != BCFMT_MAKE_DATA_OFFSET) {
		super->version = VERSION_BACKING_OFFSET;
		super->nbuckets_or_data_offset = data_offset;
	}
}

static void fill_cache(const struct make *mk, size_t i, struct bcfmt_super *super)
{
	uint64_t dev_sectors = bcfmt_dev_bytes(mk->devices[i]->dev) / BCFMT_SECTOR_BYTES;
	uint64_t bucket_sectors = mk->bucket_bytes / BCFMT_SECTOR_BYTES;

	super->version = VERSION_CACHE;
	super->bucket_field = (uint16_t)bucket_sectors;
	if (bucket_sectors > UINT16_MAX) {
		super->version = VERSION_CACHE_FEATURES;
		super->feature_incompat = BCFMT_FEATURE_LARGE_BUCKET;
		super->bucket_field = (uint16_t)log2_floor(bucket_sectors);
	}
	super->nbuckets_or_data_offset = dev_sectors / bucket_sectors;
	super->nr_in_set = 1;
	super->first_bucket = (uint16_t)(FIRST_BUCKET_AFTER / bucket_sectors + 1);
	if (mk->params->is_discard)
		super->flags |= BCFMT_SUPER_FLAG_DISCARD;
	super->flags |= (uint64_t)mk->params->replacement << REPLACEMENT_SHIFT;
}

void make_super(const struct make *mk, size_t i, uint8_t raw[BCFMT_SUPER_BYTES])
{
	static const uint8_t magic[] = DISK_SUPER_MAGIC;
	const struct bcfmt_make_device *device = mk->devices[i];
	struct bcfmt_super super = {
		.offset_sector = DISK_SUPER_SECTOR,
		.block_sectors = (uint16_t)(mk->block_bytes / BCFMT_SECTOR_BYTES),
	};

	memcpy(super.magic, magic, sizeof(magic));
	memcpy(super.uuid, device->uuid, sizeof(super.uuid));
	memcpy(super.set_uuid, mk->params->set_uuid, sizeof(super.set_uuid));
	if (mk->params->label)
		memcpy(super.label, mk->params->label, strlen(mk->params->label));
	if (device->is_backing)
		fill_backing(mk, i, &super);
	else
		fill_cache(mk, i, &super);
	memset(raw, 0, BCFMT_SUPER_BYTES);
	bcfmt_super_encode(&super, raw);
}

void bcfmt_make_uuid(uint8_t uuid[BCFMT_UUID_BYTES])
{
	uuid_generate_random(uuid);
}
