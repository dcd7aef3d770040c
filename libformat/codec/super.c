/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The superblock: bytes to fields and back. */
#include <bcfmt/super.h>

#include <bcfmt/crc64.h>

#include "base/checked.h"
#include "ondisk/super.h"

static bool is_backing_version(uint64_t version)
{
	return version == 1 || version == 4 || version == 6;
}

uint64_t bcfmt_super_csum(const uint8_t raw[BCFMT_SUPER_BYTES])
{
	const struct super_disk *disk = (const struct super_disk *)raw;
	uint64_t keys = min_u64(le16_get(&disk->keys), DISK_SUPER_JOURNAL_MAX);

	return bcfmt_crc64(raw + DISK_SUPER_CSUM_FROM,
			   DISK_SUPER_JOURNAL_AT + 8 * keys - DISK_SUPER_CSUM_FROM);
}

/* kernel: get_bucket_size(). Features count in version 5 only. */
static uint32_t effective_bucket_sectors(const struct bcfmt_super *super)
{
	if (super->version != 5)
		return super->bucket_field;
	if (super->feature_incompat & BCFMT_FEATURE_LARGE_BUCKET)
		return super->bucket_field > 31 ? 0 : (uint32_t)1 << super->bucket_field;
	if (super->feature_incompat & BCFMT_FEATURE_OBSO_LARGE_BUCKET)
		return super->bucket_field | (uint32_t)super->obso_bucket_hi << 16;
	return super->bucket_field;
}

void bcfmt_super_decode(const uint8_t raw[BCFMT_SUPER_BYTES], struct bcfmt_super *out)
{
	const struct super_disk *disk = (const struct super_disk *)raw;

	*out = (struct bcfmt_super){
		.csum = le64_get(&disk->csum),
		.offset_sector = le64_get(&disk->offset_sector),
		.version = le64_get(&disk->version),
		.flags = le64_get(&disk->flags),
		.seq = le64_get(&disk->seq),
		.feature_compat = le64_get(&disk->feature_compat),
		.feature_incompat = le64_get(&disk->feature_incompat),
		.feature_ro_compat = le64_get(&disk->feature_ro_compat),
		.nbuckets_or_data_offset = le64_get(&disk->nbuckets_or_data_offset),
		.block_sectors = le16_get(&disk->block_sectors),
		.bucket_field = le16_get(&disk->bucket_field),
		.nr_in_set = le16_get(&disk->nr_in_set),
		.nr_this_dev = le16_get(&disk->nr_this_dev),
		.last_mount = le32_get(&disk->last_mount),
		.first_bucket = le16_get(&disk->first_bucket),
		.keys = le16_get(&disk->keys),
		.obso_bucket_hi = le16_get(&disk->obso_bucket_hi),
	};
	memcpy(out->magic, disk->magic, sizeof(disk->magic));
	memcpy(out->uuid, disk->uuid, sizeof(disk->uuid));
	memcpy(out->set_uuid, disk->set_uuid, sizeof(disk->set_uuid));
	memcpy(out->label, disk->label, sizeof(disk->label));
	for (unsigned int i = 0; i < DISK_SUPER_JOURNAL_MAX; i++)
		out->journal_bucket[i] = le64_get(&disk->journal_bucket[i]);

	out->csum_computed = out->keys > DISK_SUPER_JOURNAL_MAX ? out->csum
							       : bcfmt_super_csum(raw);
	out->is_backing = is_backing_version(out->version);
	out->bucket_sectors = effective_bucket_sectors(out);
	if (out->is_backing)
		out->data_offset_sectors = out->version == 1 ? DISK_SUPER_DATA_OFFSET_MIN
							     : out->nbuckets_or_data_offset;
}

void bcfmt_super_encode(const struct bcfmt_super *super, uint8_t raw[BCFMT_SUPER_BYTES])
{
	struct super_disk *disk = (struct super_disk *)raw;

	le64_set(&disk->offset_sector, super->offset_sector);
	le64_set(&disk->version, super->version);
	memcpy(disk->magic, super->magic, sizeof(disk->magic));
	memcpy(disk->uuid, super->uuid, sizeof(disk->uuid));
	memcpy(disk->set_uuid, super->set_uuid, sizeof(disk->set_uuid));
	memcpy(disk->label, super->label, sizeof(disk->label));
	le64_set(&disk->flags, super->flags);
	le64_set(&disk->seq, super->seq);
	le64_set(&disk->feature_compat, super->feature_compat);
	le64_set(&disk->feature_incompat, super->feature_incompat);
	le64_set(&disk->feature_ro_compat, super->feature_ro_compat);
	le64_set(&disk->nbuckets_or_data_offset, super->nbuckets_or_data_offset);
	le16_set(&disk->block_sectors, super->block_sectors);
	le16_set(&disk->bucket_field, super->bucket_field);
	le16_set(&disk->nr_in_set, super->nr_in_set);
	le16_set(&disk->nr_this_dev, super->nr_this_dev);
	le32_set(&disk->last_mount, super->last_mount);
	le16_set(&disk->first_bucket, super->first_bucket);
	le16_set(&disk->keys, super->keys);
	for (unsigned int i = 0; i < DISK_SUPER_JOURNAL_MAX; i++)
		le64_set(&disk->journal_bucket[i], super->journal_bucket[i]);
	le16_set(&disk->obso_bucket_hi, super->obso_bucket_hi);
	le64_set(&disk->csum, bcfmt_super_csum(raw));
}
