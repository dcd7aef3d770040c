/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What the tests of base and codec share: a geometry, uuids that count up, hex. */
#ifndef TESTS_CODEC_KIT_H
#define TESTS_CODEC_KIT_H

#include <stdio.h>
#include <string.h>

#include <bcfmt/geometry.h>
#include <bcfmt/super.h>

#define KIT_DEV_BYTES (1024ull * 1024 * 512)

/* uuid 00 01 .. 0f, set uuid 10 11 .. 1f, everything else that a test does not set is zero. */
static inline struct bcfmt_super kit_super(void)
{
	static const uint8_t magic[16] = { 0xc6, 0x85, 0x73, 0xf6, 0x4e, 0x1a, 0x45, 0xca,
					   0x82, 0x65, 0xf5, 0x7f, 0x48, 0xba, 0x6d, 0x81 };
	struct bcfmt_super super = { .offset_sector = 8 };

	memcpy(super.magic, magic, sizeof(magic));
	for (uint8_t i = 0; i < 16; i++) {
		super.uuid[i] = i;
		super.set_uuid[i] = (uint8_t)(0x10 + i);
	}
	return super;
}

/* A cache of 1024 buckets of 512 KiB with 512-byte blocks and 8 journal buckets. */
static inline struct bcfmt_super kit_cache_super(void)
{
	struct bcfmt_super super = kit_super();

	super.version = 3;
	super.flags = BCFMT_SUPER_FLAG_SYNC;
	super.nbuckets_or_data_offset = 1024;
	super.block_sectors = 1;
	super.bucket_field = 1024;
	super.bucket_sectors = 1024;
	super.nr_in_set = 1;
	super.first_bucket = 1;
	super.keys = 8;
	for (unsigned int i = 0; i < 8; i++)
		super.journal_bucket[i] = 1 + i;
	return super;
}

static inline struct bcfmt_geometry kit_geometry_of(const struct bcfmt_super *super)
{
	struct bcfmt_geometry geo;

	if (bcfmt_geometry_init(super, KIT_DEV_BYTES, 4096, &geo))
		memset(&geo, 0, sizeof(geo));
	return geo;
}

static inline struct bcfmt_geometry kit_geometry(void)
{
	struct bcfmt_super super = kit_cache_super();

	return kit_geometry_of(&super);
}

/* Blanks are skipped. Returns the bytes written. */
static inline size_t kit_hex(const char *hex, uint8_t *out)
{
	size_t n = 0;

	while (*hex) {
		unsigned int byte;

		if (*hex == ' ') {
			hex++;
			continue;
		}
		if (sscanf(hex, "%2x", &byte) != 1)
			break;
		out[n++] = (uint8_t)byte;
		hex += 2;
	}
	return n;
}

#endif
