/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Any bytes as a journal entry. The first byte: bits 0 to 3 choose the geometry, 6 makes header
 * and checksum right.
 */
#include <bcfmt/jset.h>

#include "base/bytes.h"
#include "fuzz/codec.h"
#include "fuzz/fuzz.h"

int LLVMFuzzerInitialize(int *argc, char ***argv)
{
	(void)argc;
	(void)argv;
	return 0;
}

static void make_right(const struct bcfmt_geometry *geo, uint8_t *raw, size_t raw_bytes)
{
	struct bcfmt_jset made = {
		.seq = load_le64(raw + 16),
		.last_seq = load_le64(raw + 32),
		.version = load_le32(raw + 24),
		.btree_level = load_le16(raw + 168),
	};

	/* Keys of one pointer or none: others are not written. */
	made.uuid_bucket.high = load_le64(raw + 40) & ~(6ull << 60);
	made.uuid_bucket.low = load_le64(raw + 48);
	made.btree_root.high = load_le64(raw + 104) & ~(6ull << 60);
	made.btree_root.low = load_le64(raw + 112);
	if (bcfmt_key_ptr_count(&made.uuid_bucket))
		made.uuid_bucket.ptr = load_le64(raw + 56);
	if (bcfmt_key_ptr_count(&made.btree_root))
		made.btree_root.ptr = load_le64(raw + 120);
	for (unsigned int i = 0; i < BCFMT_MAX_MEMBERS; i++)
		made.prio_bucket[i] = load_le64(raw + 176 + 8ull * i);
	made.keys_field = wanted_words(raw + 28, raw_bytes - BCFMT_JSET_HEADER_BYTES);
	bcfmt_jset_encode(geo, &made, raw);
}

static bool is_same_key(const struct bcfmt_key *a, const struct bcfmt_key *b)
{
	return a->high == b->high && a->low == b->low && a->ptr == b->ptr;
}

/* The fields stand where they are written down, and writing them again says the same. */
static void check_fields(const struct bcfmt_geometry *geo, const uint8_t *raw, size_t raw_bytes,
			 const struct bcfmt_jset *jset)
{
	uint8_t *again = exact_copy(raw, raw_bytes, raw_bytes);
	struct bcfmt_jset same;

	assert(jset->seq == load_le64(raw + 16) && jset->version == load_le32(raw + 24));
	assert(jset->keys_field == load_le32(raw + 28) && jset->last_seq == load_le64(raw + 32));
	assert(jset->btree_level == load_le16(raw + 168));
	assert(jset->bytes == 240 + 8ull * jset->keys_field);
	if (bcfmt_key_ptr_count(&jset->uuid_bucket) < 2 &&
	    bcfmt_key_ptr_count(&jset->btree_root) < 2) {
		bcfmt_jset_encode(geo, jset, again);
		assert(bcfmt_jset_decode(geo, again, raw_bytes, &same) == BCFMT_JSET_OK);
		assert(is_same_key(&same.uuid_bucket, &jset->uuid_bucket));
		assert(is_same_key(&same.btree_root, &jset->btree_root));
		assert(!memcmp(same.prio_bucket, jset->prio_bucket, sizeof(same.prio_bucket)));
		assert(same.seq == jset->seq && same.last_seq == jset->last_seq &&
		       same.btree_level == jset->btree_level && same.blocks == jset->blocks);
	}
	free(again);
}

int LLVMFuzzerTestOneInput(const uint8_t *input, size_t input_bytes)
{
	struct bcfmt_geometry geo;
	struct bcfmt_jset jset;
	enum bcfmt_jset_fault fault;
	size_t raw_bytes, limit_bytes;
	uint8_t *raw;

	if (!input_bytes)
		return 0;
	geo = small_geometry(input[0]);
	limit_bytes = 8u * geo.page_bytes;
	raw_bytes = input_bytes - 1 < BCFMT_JSET_HEADER_BYTES ? BCFMT_JSET_HEADER_BYTES
							      : input_bytes - 1;
	raw = exact_copy(input + 1, input_bytes - 1, raw_bytes);
	if (input[0] & 0x40)
		make_right(&geo, raw, raw_bytes);
	fault = bcfmt_jset_decode(&geo, raw, raw_bytes, &jset);
	if (fault == BCFMT_JSET_OK) {
		assert(jset.bytes <= raw_bytes && jset.bytes <= limit_bytes);
		assert(jset.blocks &&
		       (uint64_t)jset.blocks * bcfmt_block_bytes(&geo) >= jset.bytes);
		check_keys(&geo, jset.keys, jset.keys_field);
		check_fields(&geo, raw, raw_bytes, &jset);
		/* Less room than it says of itself. */
		if (jset.keys_field)
			assert(bcfmt_jset_decode(&geo, raw, (size_t)jset.bytes - 1, &jset) ==
			       BCFMT_JSET_TOO_BIG);
	} else if (input[0] & 0x40) {
		assert(fault == BCFMT_JSET_TOO_BIG && jset.bytes > limit_bytes);
	}
	free(raw);
	return 0;
}
