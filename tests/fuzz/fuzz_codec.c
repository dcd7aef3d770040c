/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Any bytes as a superblock, journal entry, prio set, uuid entry, node or keys. The first byte
 * chooses which, the second the geometry and whether header and checksum are mended.
 */
#undef NDEBUG
#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include <bcfmt/geometry.h>
#include <bcfmt/jset.h>
#include <bcfmt/key.h>
#include <bcfmt/node.h>
#include <bcfmt/prio.h>
#include <bcfmt/super.h>
#include <bcfmt/uuid.h>

#include "fuzz/fuzz.h"

#define FUZZ_PTR 0x1234500u /* any pointer word: the seed of node checksums */

int LLVMFuzzerInitialize(int *argc, char ***argv)
{
	(void)argc;
	(void)argv;
	return 0;
}

/* bytes of input in a buffer of exactly want bytes, so that a sanitizer sees one byte too many. */
static uint8_t *exact_copy(const uint8_t *input, size_t input_bytes, size_t want)
{
	uint8_t *buf = calloc(1, want ? want : 1);

	assert(buf);
	memcpy(buf, input, input_bytes < want ? input_bytes : want);
	return buf;
}

/* Words of keys for a mended structure: what the input says, as far as there is room. */
static uint32_t mended_words(const uint8_t *raw, size_t room_bytes)
{
	uint32_t wanted = (uint32_t)raw[0] << 8 | raw[1];

	return wanted % ((uint32_t)(room_bytes / 8) + 1);
}

/* The geometry of an ordinary cache: 64 KiB buckets, blocks of 512 bytes to 4 KiB. */
static void small_geometry(struct bcfmt_geometry *geo, uint8_t choice)
{
	struct bcfmt_super super = {
		.offset_sector = 8,
		.version = 3,
		.nbuckets_or_data_offset = 1024,
		.block_sectors = (uint16_t)(1u << (choice & 3)),
		.bucket_sectors = 16u << (choice >> 2 & 3),
		.first_bucket = 1,
		.keys = 8,
	};

	super.bucket_field = (uint16_t)super.bucket_sectors;
	assert(bcfmt_geometry_init(&super, 1024ull * super.bucket_sectors * BCFMT_SECTOR_BYTES,
				   4096, geo) == BCFMT_OK);
}

static void fuzz_super(const uint8_t *input, size_t input_bytes)
{
	uint8_t *raw = exact_copy(input, input_bytes, BCFMT_SUPER_BYTES);
	struct bcfmt_super super;
	struct bcfmt_geometry geo;
	uint64_t dev_bytes;

	bcfmt_super_decode(raw, &super);
	memcpy(&dev_bytes, raw + BCFMT_SUPER_BYTES - sizeof(dev_bytes), sizeof(dev_bytes));
	bcfmt_super_faults(&super, dev_bytes, 512, 4096);
	if (bcfmt_geometry_init(&super, dev_bytes, 4096, &geo) == BCFMT_OK) {
		/* What the readers rely on. */
		assert(geo.block_sectors && geo.bucket_sectors >= geo.block_sectors);
		assert(geo.nbuckets > geo.first_bucket);
		assert(geo.nr_this_dev < BCFMT_MAX_MEMBERS);
		assert(geo.nbuckets <= UINT64_MAX >> 9 >> geo.bucket_shift);
	}
	if (super.keys <= BCFMT_SUPER_JOURNAL_MAX) {
		struct bcfmt_super again;

		bcfmt_super_encode(&super, raw);
		bcfmt_super_decode(raw, &again);
		assert(again.csum == again.csum_computed);
		assert(again.nbuckets_or_data_offset == super.nbuckets_or_data_offset);
	}
	free(raw);
}

static void fuzz_keys(const struct bcfmt_geometry *geo, const uint8_t *keys, uint32_t words)
{
	struct bcfmt_key_iter it = bcfmt_key_iter_init(keys, words);
	struct bcfmt_key key;
	char text[BCFMT_KEY_TEXT_BYTES];

	while (bcfmt_key_iter_next(&it, &key)) {
		bcfmt_key_fault_btree(geo, &key);
		bcfmt_key_fault_extent(geo, &key);
		bcfmt_key_status_text(geo, &key, false);
		bcfmt_key_text(text, &key);
		assert(strlen(text) < BCFMT_KEY_TEXT_BYTES);
		bcfmt_key_text_raw(text, it.raw, words - it.word, true);
		assert(strlen(text) < 80);
	}
}

static void fuzz_jset(const struct bcfmt_geometry *geo, const uint8_t *input, size_t input_bytes,
		      bool is_mended)
{
	size_t raw_bytes = input_bytes;
	struct bcfmt_jset jset;
	uint8_t *raw;

	if (raw_bytes < BCFMT_JSET_HEADER_BYTES)
		raw_bytes = BCFMT_JSET_HEADER_BYTES;
	raw = exact_copy(input, input_bytes, raw_bytes);
	if (is_mended) {
		struct bcfmt_jset made = { .seq = 2, .last_seq = 1, .version = 1 };

		made.keys_field = mended_words(raw, raw_bytes - BCFMT_JSET_HEADER_BYTES);
		bcfmt_jset_encode(geo, &made, raw);
	}
	if (bcfmt_jset_decode(geo, raw, raw_bytes, &jset) == BCFMT_JSET_OK) {
		assert(jset.bytes <= raw_bytes);
		fuzz_keys(geo, jset.keys, jset.keys_field);
	} else {
		assert(!is_mended || raw_bytes > 8u * geo->page_bytes ||
		       raw_bytes > (size_t)geo->bucket_sectors * BCFMT_SECTOR_BYTES);
	}
	free(raw);
}

static void fuzz_prio(const struct bcfmt_geometry *geo, const uint8_t *input, size_t input_bytes,
		      bool is_mended)
{
	uint8_t *raw = exact_copy(input, input_bytes, geo->meta_bytes);
	struct bcfmt_prio_set set;
	uint16_t prio;
	uint8_t gen;

	if (is_mended)
		bcfmt_prio_encode(geo, raw, 1, 2);
	assert(bcfmt_prio_decode(geo, raw, &set) == BCFMT_PRIO_OK || !is_mended);
	for (uint32_t i = 0; i < geo->prios_per_bucket; i++)
		bcfmt_prio_entry(raw, i, &prio, &gen);
	free(raw);
}

static void fuzz_uuid(const uint8_t *input, size_t input_bytes)
{
	uint8_t *raw = exact_copy(input, input_bytes, BCFMT_UUID_ENTRY_BYTES);
	struct bcfmt_uuid_entry entry;
	char text[BCFMT_UUID_TEXT_BYTES];

	for (unsigned int version = 0; version < 2; version++) {
		bcfmt_uuid_decode(raw, version, &entry);
		bcfmt_uuid_state(&entry);
		bcfmt_uuid_text(entry.uuid, text);
		assert(strlen(text) + 1 == BCFMT_UUID_TEXT_BYTES);
		assert(strlen(entry.label) <= BCFMT_LABEL_BYTES);
	}
	free(raw);
}

static void fuzz_node(const struct bcfmt_geometry *geo, const uint8_t *input, size_t input_bytes,
		      bool is_mended)
{
	uint32_t node_sectors = (uint32_t)(input_bytes / BCFMT_SECTOR_BYTES + 1);
	size_t raw_bytes = (size_t)node_sectors * BCFMT_SECTOR_BYTES;
	uint8_t *raw = exact_copy(input, input_bytes, raw_bytes);
	struct bcfmt_node node = { 0 };

	if (is_mended)
		bcfmt_bset_encode(geo, raw, 1, mended_words(raw, raw_bytes - BCFMT_BSET_HEADER_BYTES),
				  FUZZ_PTR);
	if (bcfmt_node_decode(&node, geo, raw, node_sectors, FUZZ_PTR) == BCFMT_OK) {
		for (uint32_t i = 0; i < node.n_bsets; i++) {
			const struct bcfmt_bset *bset = &node.bsets[i];

			assert((uint64_t)bset->block * node.block_bytes +
				       BCFMT_BSET_HEADER_BYTES + 8ull * bset->words <= raw_bytes);
			fuzz_keys(geo, bset->keys, bset->words);
		}
	}
	bcfmt_node_clear(&node);
	free(raw);
}

int LLVMFuzzerTestOneInput(const uint8_t *input, size_t input_bytes)
{
	struct bcfmt_geometry geo;
	bool is_mended;
	uint8_t *raw;

	if (input_bytes < 2)
		return 0;
	small_geometry(&geo, input[1]);
	is_mended = input[1] & 0x40;
	switch (input[0] % 6) {
	case 0:
		fuzz_super(input + 2, input_bytes - 2);
		break;
	case 1:
		fuzz_jset(&geo, input + 2, input_bytes - 2, is_mended);
		break;
	case 2:
		fuzz_prio(&geo, input + 2, input_bytes - 2, is_mended);
		break;
	case 3:
		fuzz_uuid(input + 2, input_bytes - 2);
		break;
	case 4:
		fuzz_node(&geo, input + 2, input_bytes - 2, is_mended);
		break;
	default:
		raw = exact_copy(input + 2, input_bytes - 2, (input_bytes - 2) / 8 * 8);
		fuzz_keys(&geo, raw, (uint32_t)((input_bytes - 2) / 8));
		free(raw);
		break;
	}
	return 0;
}
