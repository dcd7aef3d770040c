/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Writes superblocks. */
#include "write/write_impl.h"

#include <string.h>

#include <bcfmt/super.h>

/* The fields that were written are those that were given. */
static bool is_same(const struct bcfmt_super *given, const uint8_t raw[BCFMT_SUPER_BYTES])
{
	uint8_t again[BCFMT_SUPER_BYTES];
	struct bcfmt_super decoded;

	bcfmt_super_decode(raw, &decoded);
	memcpy(again, raw, sizeof(again));
	bcfmt_super_encode(&decoded, again);
	return decoded.csum == decoded.csum_computed && !memcmp(again, raw, sizeof(again)) &&
	       decoded.version == given->version && decoded.flags == given->flags &&
	       decoded.nbuckets_or_data_offset == given->nbuckets_or_data_offset &&
	       decoded.block_sectors == given->block_sectors &&
	       decoded.bucket_field == given->bucket_field && decoded.keys == given->keys &&
	       !memcmp(decoded.uuid, given->uuid, sizeof(decoded.uuid)) &&
	       !memcmp(decoded.set_uuid, given->set_uuid, sizeof(decoded.set_uuid));
}

bcfmt_err bcfmt_super_write(struct bcfmt_ctx *ctx, struct bcfmt_dev *dev,
			    const struct bcfmt_super *super, uint32_t known_faults)
{
	struct bcfmt_target target = { .ctx = ctx, .dev = dev };
	uint8_t raw[BCFMT_SUPER_BYTES];
	struct bcfmt_super decoded;
	struct bcfmt_bad_read bad;
	uint32_t faults;
	bcfmt_err err;

	if (super->keys > BCFMT_SUPER_JOURNAL_MAX)
		return bcfmt_fail(ctx, BCFMT_E_ARG,
				  "%s: superblock not written: %u journal buckets are more than %u",
				  bcfmt_dev_name(dev), super->keys, BCFMT_SUPER_JOURNAL_MAX);
	err = bcfmt_dev_read_salvage(dev, BCFMT_SUPER_OFFSET_BYTES, raw, sizeof(raw), &bad);
	if (err)
		return err;
	bcfmt_super_encode(super, raw);
	if (!is_same(super, raw))
		return write_fail_verify(&target, "superblock",
					 BCFMT_SUPER_OFFSET_BYTES / BCFMT_SECTOR_BYTES);
	bcfmt_super_decode(raw, &decoded);
	faults = bcfmt_super_faults(&decoded, bcfmt_dev_bytes(dev),
				    bcfmt_dev_logical_block_bytes(dev), 4096) &
		 ~known_faults;
	if (faults)
		return bcfmt_fail(ctx, BCFMT_E_ARG,
				  "%s: superblock not written: it breaks rules 0x%x",
				  bcfmt_dev_name(dev), faults);
	err = bcfmt_dev_write(dev, BCFMT_SUPER_OFFSET_BYTES, raw, sizeof(raw));
	return err ? err : bcfmt_dev_flush(dev);
}
