/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Which rules a superblock breaks. */
#include <bcfmt/super.h>

#include <string.h>

#include "base/checked.h"
#include "ondisk/super.h"

#define INCOMPAT_KNOWN (BCFMT_FEATURE_OBSO_LARGE_BUCKET | BCFMT_FEATURE_LARGE_BUCKET)
#define BUCKET_LOG2_MAX 31u
#define MEMBERS_MAX 8u     /* kernel: MAX_CACHES_PER_SET */
#define REPLACEMENT_MAX 2u /* kernel: CACHE_REPLACEMENT_RANDOM */
#define CACHE_MODE_MAX 3u  /* kernel: CACHE_MODE_NONE */

static const uint8_t super_magic[16] = DISK_SUPER_MAGIC;

static bool is_zero_uuid(const uint8_t uuid[BCFMT_UUID_BYTES])
{
	static const uint8_t zero[BCFMT_UUID_BYTES];

	return !memcmp(uuid, zero, sizeof(zero));
}

/* Rules for every superblock, whatever its version. */
static uint32_t common_faults(const struct bcfmt_super *super, uint32_t logical_block_bytes)
{
	uint32_t faults = 0;

	if (super->keys > BCFMT_SUPER_JOURNAL_MAX)
		faults |= BCFMT_SUPER_MANY_JOURNAL; /* leaves the checksum without a range */
	else if (super->csum != super->csum_computed)
		faults |= BCFMT_SUPER_BAD_CSUM;
	if (is_zero_uuid(super->uuid))
		faults |= BCFMT_SUPER_ZERO_UUID;
	if ((uint32_t)super->block_sectors * BCFMT_SECTOR_BYTES < logical_block_bytes)
		faults |= BCFMT_SUPER_BLOCK_BELOW_DEVICE;
	return faults;
}

/* kernel: read_super() for backing devices, which looks at nothing else of theirs. */
static uint32_t backing_faults(const struct bcfmt_super *super, uint64_t dev_sectors)
{
	uint32_t faults = 0;

	if (super->data_offset_sectors < DISK_SUPER_DATA_OFFSET_MIN)
		faults |= BCFMT_SUPER_BAD_DATA_OFFSET;
	if (super->data_offset_sectors >= dev_sectors)
		faults |= BCFMT_SUPER_DATA_PAST_END;
	if (bcfmt_super_cache_mode(super) > CACHE_MODE_MAX)
		faults |= BCFMT_SUPER_BAD_CACHE_MODE;
	return faults;
}

static uint32_t feature_faults(const struct bcfmt_super *super)
{
	uint64_t incompat = super->feature_incompat;
	uint32_t faults = 0;

	if (super->feature_compat)
		faults |= BCFMT_SUPER_UNKNOWN_COMPAT;
	if (super->feature_ro_compat)
		faults |= BCFMT_SUPER_UNKNOWN_RO_COMPAT;
	if (incompat & ~INCOMPAT_KNOWN)
		faults |= BCFMT_SUPER_UNKNOWN_INCOMPAT;
	if (incompat & BCFMT_FEATURE_LARGE_BUCKET) {
		if (super->bucket_field > BUCKET_LOG2_MAX)
			faults |= BCFMT_SUPER_BUCKET_OVERFLOW;
	} else if (incompat & BCFMT_FEATURE_OBSO_LARGE_BUCKET) {
		faults |= BCFMT_SUPER_OBSO_LARGE;
	}
	return faults;
}

/* Block and bucket. Without a bucket size nothing can be said of what is counted in buckets. */
static uint32_t size_faults(const struct bcfmt_super *super, uint64_t dev_sectors,
			    uint32_t page_sectors)
{
	uint64_t used_sectors;
	uint32_t faults = 0;

	if (!is_pow2(super->block_sectors))
		faults |= BCFMT_SUPER_BLOCK_NOT_POW2;
	if (super->block_sectors > page_sectors)
		faults |= BCFMT_SUPER_BLOCK_ABOVE_PAGE;
	if (!is_pow2(super->bucket_sectors))
		faults |= BCFMT_SUPER_BUCKET_NOT_POW2;
	if (super->bucket_sectors < page_sectors)
		faults |= BCFMT_SUPER_BUCKET_BELOW_PAGE;
	if (mul_overflows(super->bucket_sectors, super->nbuckets_or_data_offset, &used_sectors) ||
	    used_sectors > dev_sectors)
		faults |= BCFMT_SUPER_DEVICE_TOO_SMALL;
	/* The kernel's product has 32 bits: a wrap to less than 16 is refused too. */
	if ((uint32_t)super->first_bucket * super->bucket_sectors < 2 * DISK_SUPER_SECTOR)
		faults |= BCFMT_SUPER_FIRST_BUCKET_LOW;
	return faults;
}

static bool is_journal_sequential(const struct bcfmt_super *super)
{
	for (unsigned int i = 0; i < super->keys; i++)
		if (super->journal_bucket[i] != (uint64_t)super->first_bucket + i)
			return false;
	return true;
}

/* kernel: read_super_common(), cache_alloc(); the replacement policy: invalidate_buckets(). */
static uint32_t cache_faults(const struct bcfmt_super *super)
{
	uint64_t nbuckets = super->nbuckets_or_data_offset;
	uint32_t faults = 0;

	if (nbuckets > INT64_MAX)
		faults |= BCFMT_SUPER_MANY_BUCKETS;
	if (nbuckets < BCFMT_MIN_BUCKETS)
		faults |= BCFMT_SUPER_FEW_BUCKETS;
	if (is_zero_uuid(super->set_uuid))
		faults |= BCFMT_SUPER_ZERO_SET_UUID;
	if (!super->nr_in_set || super->nr_in_set > MEMBERS_MAX ||
	    super->nr_this_dev >= super->nr_in_set)
		faults |= BCFMT_SUPER_BAD_MEMBER;
	if (super->keys <= BCFMT_SUPER_JOURNAL_MAX && !is_journal_sequential(super))
		faults |= BCFMT_SUPER_JOURNAL_NOT_SEQ;
	if ((uint64_t)super->first_bucket + super->keys > nbuckets)
		faults |= BCFMT_SUPER_JOURNAL_PAST_END;
	if (bcfmt_super_replacement(super) > REPLACEMENT_MAX)
		faults |= BCFMT_SUPER_BAD_REPLACEMENT;
	return faults;
}

uint32_t bcfmt_super_faults(const struct bcfmt_super *super, uint64_t dev_bytes,
			    uint32_t logical_block_bytes, uint32_t page_bytes)
{
	uint64_t dev_sectors = dev_bytes / BCFMT_SECTOR_BYTES;
	uint32_t faults = 0;

	if (super->offset_sector != DISK_SUPER_SECTOR)
		faults |= BCFMT_SUPER_BAD_OFFSET;
	if (memcmp(super->magic, super_magic, sizeof(super_magic)))
		return faults | BCFMT_SUPER_BAD_MAGIC;
	faults |= common_faults(super, logical_block_bytes ? logical_block_bytes
							   : BCFMT_SECTOR_BYTES);
	if (super->is_backing)
		return faults | backing_faults(super, dev_sectors);
	if (super->version != 0 && super->version != 3 && super->version != 5)
		return faults | BCFMT_SUPER_BAD_VERSION;
	if (super->version == 5)
		faults |= feature_faults(super);
	if (!(faults & BCFMT_SUPER_BUCKET_OVERFLOW))
		faults |= size_faults(super, dev_sectors, page_bytes / BCFMT_SECTOR_BYTES);
	return faults | cache_faults(super);
}
