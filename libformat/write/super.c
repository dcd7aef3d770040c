/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Writes superblocks. */
#include "write/write_impl.h"

#include <string.h>

#include <bcfmt/super.h>

static const struct {
	uint32_t fault;
	const char *text;
} fault_texts[] = {
	{ BCFMT_SUPER_BAD_OFFSET, "its own sector is not 8" },
	{ BCFMT_SUPER_BAD_MAGIC, "its magic is wrong" },
	{ BCFMT_SUPER_ZERO_UUID, "its uuid is zero" },
	{ BCFMT_SUPER_BLOCK_BELOW_DEVICE, "its blocks are smaller than those of the device" },
	{ BCFMT_SUPER_BAD_DATA_OFFSET, "its data offset is below 16 sectors" },
	{ BCFMT_SUPER_BAD_VERSION, "its version is unknown" },
	{ BCFMT_SUPER_UNKNOWN_COMPAT, "it has an unknown compatible feature" },
	{ BCFMT_SUPER_UNKNOWN_RO_COMPAT, "it has an unknown read-only feature" },
	{ BCFMT_SUPER_UNKNOWN_INCOMPAT, "it has an unknown incompatible feature" },
	{ BCFMT_SUPER_MANY_BUCKETS, "it has too many buckets" },
	{ BCFMT_SUPER_FEW_BUCKETS, "it has fewer than 513 buckets" },
	{ BCFMT_SUPER_BLOCK_NOT_POW2, "its block size is no power of two" },
	{ BCFMT_SUPER_BLOCK_ABOVE_PAGE, "its blocks are larger than 4 KiB" },
	{ BCFMT_SUPER_BUCKET_NOT_POW2, "its bucket size is no power of two" },
	{ BCFMT_SUPER_BUCKET_BELOW_PAGE, "its buckets are smaller than 4 KiB" },
	{ BCFMT_SUPER_DEVICE_TOO_SMALL, "its buckets reach beyond the device" },
	{ BCFMT_SUPER_ZERO_SET_UUID, "its set uuid is zero" },
	{ BCFMT_SUPER_BAD_MEMBER, "its number in the set is not below the members" },
	{ BCFMT_SUPER_JOURNAL_NOT_SEQ, "its journal buckets do not follow each other" },
	{ BCFMT_SUPER_JOURNAL_PAST_END, "its journal reaches beyond the last bucket" },
	{ BCFMT_SUPER_FIRST_BUCKET_LOW, "its first bucket lies over the superblock" },
	{ BCFMT_SUPER_BUCKET_OVERFLOW, "its bucket size is beyond 2^31 sectors" },
	{ BCFMT_SUPER_BAD_REPLACEMENT, "its replacement policy is unknown" },
	{ BCFMT_SUPER_BAD_CACHE_MODE, "its cache mode is unknown" },
	{ BCFMT_SUPER_OBSO_LARGE, "it has the obsolete form of large buckets" },
	{ BCFMT_SUPER_DATA_PAST_END, "its data begins beyond the device" },
};

const char *write_super_refusal(uint32_t faults)
{
	for (size_t i = 0; i < sizeof(fault_texts) / sizeof(fault_texts[0]); i++)
		if (faults & fault_texts[i].fault)
			return fault_texts[i].text;
	return faults ? "it has too many journal buckets, or a wrong checksum" : NULL;
}

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
	const char *why;
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
	why = write_super_refusal(bcfmt_super_faults(&decoded, bcfmt_dev_bytes(dev),
						     bcfmt_dev_logical_block_bytes(dev), 4096) &
				  ~known_faults);
	if (why)
		return bcfmt_fail(ctx, BCFMT_E_ARG, "%s: superblock not written: %s",
				  bcfmt_dev_name(dev), why);
	err = bcfmt_dev_write(dev, BCFMT_SUPER_OFFSET_BYTES, raw, sizeof(raw));
	return err ? err : bcfmt_dev_flush(dev);
}
