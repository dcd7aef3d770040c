/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Any bytes as a superblock, and the sizes that follow from it. In front of them one byte of flags:
 * bit 0 mends the checksum, 1 puts the magic in place, 2 and 3 choose the page size; and eight
 * bytes: of how many bytes the device is.
 */
#include <bcfmt/super.h>

#include "base/bytes.h"
#include "fuzz/codec.h"
#include "fuzz/fuzz.h"

#define HEAD_BYTES 9u

static const uint8_t magic[16] = { 0xc6, 0x85, 0x73, 0xf6, 0x4e, 0x1a, 0x45, 0xca,
				   0x82, 0x65, 0xf5, 0x7f, 0x48, 0xba, 0x6d, 0x81 };

int LLVMFuzzerInitialize(int *argc, char ***argv)
{
	(void)argc;
	(void)argv;
	return 0;
}

/* Written again, no byte but the checksum differs, and that is right then. */
static void check_again(const struct bcfmt_super *super, const uint8_t *raw)
{
	uint8_t again[BCFMT_SUPER_BYTES];
	struct bcfmt_super same;

	memcpy(again, raw, sizeof(again));
	bcfmt_super_encode(super, again);
	assert(!memcmp(again + 8, raw + 8, sizeof(again) - 8));
	bcfmt_super_decode(again, &same);
	assert(same.csum == same.csum_computed && same.csum == bcfmt_super_csum(raw));
}

/* What the readers rely on. */
static void check_geometry(const struct bcfmt_super *super, const struct bcfmt_geometry *geo)
{
	assert(!super->is_backing);
	assert(geo->block_sectors && geo->bucket_sectors >= geo->block_sectors);
	assert(geo->bucket_sectors == 1u << geo->bucket_shift);
	assert(geo->nbuckets > geo->first_bucket);
	assert(geo->journal_buckets <= geo->nbuckets - geo->first_bucket);
	assert(geo->nr_this_dev < BCFMT_MAX_MEMBERS);
	assert(geo->nbuckets <= UINT64_MAX >> 9 >> geo->bucket_shift);
	assert(geo->meta_bytes && geo->meta_bytes <= (uint64_t)geo->bucket_sectors * 512);
	assert(geo->node_sectors && geo->node_sectors <= geo->bucket_sectors);
	assert(geo->nr_uuids && geo->prios_per_bucket && bcfmt_geometry_prio_buckets(geo));
	assert(bcfmt_geometry_prio_buckets(geo) * geo->prios_per_bucket >= geo->nbuckets);
}

/* A mask of faults that is empty means a device that a kernel takes. */
static void check_faults(const struct bcfmt_super *super, const uint8_t *raw, uint32_t faults,
			 uint64_t dev_bytes)
{
	bool has_magic = !memcmp(raw + 24, magic, sizeof(magic));

	assert(!(faults & BCFMT_SUPER_BAD_MAGIC) == has_magic);
	assert(!(faults & BCFMT_SUPER_BAD_OFFSET) == (load_le64(raw + 8) == 8));
	if (!has_magic) {
		assert(!(faults & ~(uint32_t)(BCFMT_SUPER_BAD_MAGIC | BCFMT_SUPER_BAD_OFFSET)));
		return;
	}
	assert(!(faults & BCFMT_SUPER_BAD_CSUM) == (super->csum == super->csum_computed));
	if (super->is_backing || super->version == 2 || super->version > 6)
		return;
	if (!(faults & (BCFMT_SUPER_DEVICE_TOO_SMALL | BCFMT_SUPER_BUCKET_OVERFLOW)))
		assert((unsigned __int128)load_le64(raw + 184) * super->bucket_sectors * 512 <=
		       dev_bytes);
}

int LLVMFuzzerTestOneInput(const uint8_t *input, size_t input_bytes)
{
	struct bcfmt_super super;
	struct bcfmt_geometry geo;
	uint64_t dev_bytes;
	uint32_t page_bytes, faults;
	uint8_t *raw;

	if (input_bytes < HEAD_BYTES)
		return 0;
	dev_bytes = load_le64(input + 1);
	page_bytes = 4096u << (input[0] >> 2 & 3);
	raw = exact_copy(input + HEAD_BYTES, input_bytes - HEAD_BYTES, BCFMT_SUPER_BYTES);
	if (input[0] & 2)
		memcpy(raw + 24, magic, sizeof(magic));
	if (input[0] & 1)
		store_le64(raw, bcfmt_super_csum(raw));
	bcfmt_super_decode(raw, &super);
	faults = bcfmt_super_faults(&super, dev_bytes, 512, page_bytes);
	check_faults(&super, raw, faults, dev_bytes);
	if (bcfmt_geometry_init(&super, dev_bytes, page_bytes, &geo) == BCFMT_OK)
		check_geometry(&super, &geo);
	else if (page_bytes <= 65536 && !super.is_backing && !faults)
		/* Only what a pointer of 43 bits cannot reach, or a bucket above 2 GiB. */
		assert(super.bucket_sectors > 1u << 22 ||
		       super.nbuckets_or_data_offset > (1ull << 43) / super.bucket_sectors);
	if (super.keys <= BCFMT_SUPER_JOURNAL_MAX)
		check_again(&super, raw);
	free(raw);
	return 0;
}
