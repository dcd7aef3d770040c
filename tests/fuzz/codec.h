/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What the targets of the codec share: exact buffers, geometries, checks of keys. */
#ifndef FUZZ_CODEC_H
#define FUZZ_CODEC_H

/* Targets consist of assertions, whatever the flags of the build. */
#undef NDEBUG
#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include <bcfmt/geometry.h>
#include <bcfmt/key.h>
#include <bcfmt/super.h>

/*
 * len_bytes of a buffer that has exactly so many, so that a sanitizer sees one byte too many. What
 * the input does not have is zero.
 */
static inline uint8_t *exact_copy(const uint8_t *input, size_t input_bytes, size_t len_bytes)
{
	uint8_t *buf = calloc(1, len_bytes ? len_bytes : 1);

	assert(buf);
	if (input_bytes && len_bytes)
		memcpy(buf, input, input_bytes < len_bytes ? input_bytes : len_bytes);
	return buf;
}

/* Words of keys for a structure made right: what two bytes of it say, as far as there is room. */
static inline uint32_t wanted_words(const uint8_t *raw, size_t room_bytes)
{
	uint32_t wanted = (uint32_t)raw[0] << 8 | raw[1];

	return wanted % ((uint32_t)(room_bytes / 8) + 1);
}

/* The geometry of an ordinary cache: buckets of 8 to 64 KiB, blocks of 512 bytes to 4 KiB. */
static inline struct bcfmt_geometry small_geometry(uint8_t choice)
{
	struct bcfmt_super super = {
		.offset_sector = 8,
		.version = 3,
		.set_uuid = { 1, 2, 3, 4, 5, 6, 7, 8 },
		.nbuckets_or_data_offset = 1024,
		.block_sectors = (uint16_t)(1u << (choice & 3)),
		.bucket_sectors = 16u << (choice >> 2 & 3),
		.first_bucket = 1,
		.keys = 8,
	};
	struct bcfmt_geometry geo;

	super.bucket_field = (uint16_t)super.bucket_sectors;
	assert(bcfmt_geometry_init(&super, 1024ull * super.bucket_sectors * BCFMT_SECTOR_BYTES,
				   4096, &geo) == BCFMT_OK);
	return geo;
}

/* Walks words of keys and holds every one against the rules and forms that it has. */
void check_keys(const struct bcfmt_geometry *geo, const uint8_t *keys, uint32_t words);

#endif
