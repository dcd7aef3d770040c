/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Any bytes as a btree node. In front of them: which allocation fails (2 bytes), and one of flags:
 * bits 0 to 3 choose the geometry, 6 writes bsets one after the other with right headers and
 * checksums, as many as bits 4 and 5 say and one more.
 */
#include <bcfmt/node.h>

#include "base/bytes.h"
#include "fuzz/codec.h"
#include "fuzz/faults.h"
#include "fuzz/fuzz.h"

#define HEAD_BYTES 3u
#define NODE_PTR 0x1234500u /* any pointer word: the seed of the checksums */
#define NODE_SEQ 0x5eedull

int LLVMFuzzerInitialize(int *argc, char ***argv)
{
	(void)argc;
	(void)argv;
	return 0;
}

/* Writes up to n bsets; returns how many there was room for. Block after the last in *end. */
static uint32_t make_right(const struct bcfmt_geometry *geo, uint8_t *raw, size_t raw_bytes,
			   uint32_t n, uint32_t *end_block)
{
	uint32_t block_bytes = bcfmt_block_bytes(geo), block = 0, i;
	size_t whole_bytes = raw_bytes / block_bytes * block_bytes;

	for (i = 0; i < n && (size_t)block * block_bytes < whole_bytes; i++) {
		size_t at = (size_t)block * block_bytes;
		size_t room_bytes = whole_bytes - at - BCFMT_BSET_HEADER_BYTES;
		uint32_t words = wanted_words(raw + at + 28, room_bytes);

		/* Only the first may be empty. */
		if (i && !words)
			words = 1;
		bcfmt_bset_encode(geo, raw + at, NODE_SEQ, words, NODE_PTR);
		block += (uint32_t)((BCFMT_BSET_HEADER_BYTES + 8ull * words + block_bytes - 1) /
				    block_bytes);
	}
	*end_block = block;
	/* What follows is of another node. */
	for (; (size_t)(block + 1) * block_bytes <= raw_bytes; block++)
		if (load_le64(raw + (size_t)block * block_bytes + 16) == NODE_SEQ)
			raw[(size_t)block * block_bytes + 16] ^= 1;
	/* A part of a block at the end, which a kernel looks at too. */
	if (raw_bytes % block_bytes)
		raw[(size_t)block * block_bytes + 16] ^=
			load_le64(raw + (size_t)block * block_bytes + 16) == NODE_SEQ;
	return i;
}

static void check_bsets(const struct bcfmt_geometry *geo, const struct bcfmt_node *node,
			const uint8_t *raw, size_t raw_bytes)
{
	struct bcfmt_node_iter it = bcfmt_node_iter_init(node);
	uint32_t block = 0, usable_words = 0, seen_words = 0;
	struct bcfmt_key key;

	for (uint32_t i = 0; i < node->n_bsets; i++) {
		const struct bcfmt_bset *bset = &node->bsets[i];

		assert(bset->block >= block && bset->blocks);
		block = bset->block + bset->blocks;
		assert(block <= node->nblocks);
		assert(bset->keys == raw + (size_t)bset->block * node->block_bytes + 32);
		assert((uint64_t)bset->block * node->block_bytes + BCFMT_BSET_HEADER_BYTES +
			       8ull * bset->words <=
		       raw_bytes);
		assert(!bset->is_stray || !bset->fault);
		if (!bset->fault) {
			assert(bset->csum == bset->csum_computed);
			assert(bset->words == bset->keys_field);
			usable_words += bset->words;
		}
		check_keys(geo, bset->keys, bset->words);
	}
	while (bcfmt_node_iter_next(&it, &key))
		seen_words += bcfmt_key_words(&key);
	assert(seen_words <= usable_words);
}

int LLVMFuzzerTestOneInput(const uint8_t *input, size_t input_bytes)
{
	struct bcfmt_node node = { 0 };
	struct bcfmt_geometry geo;
	uint32_t node_sectors, n_made = 0, end_block = 0;
	bool has_failed;
	size_t raw_bytes;
	bcfmt_err err;
	uint8_t *raw;

	if (input_bytes < HEAD_BYTES)
		return 0;
	geo = small_geometry(input[2]);
	node_sectors = (uint32_t)((input_bytes - HEAD_BYTES) / BCFMT_SECTOR_BYTES + 1);
	raw_bytes = (size_t)node_sectors * BCFMT_SECTOR_BYTES;
	raw = exact_copy(input + HEAD_BYTES, input_bytes - HEAD_BYTES, raw_bytes);
	if (input[2] & 0x40)
		n_made = make_right(&geo, raw, raw_bytes, (input[2] >> 4 & 3) + 1u, &end_block);

	faults_arm(load_le16(input));
	err = bcfmt_node_decode(&node, &geo, raw, node_sectors, NODE_PTR);
	has_failed = faults_disarm();
	assert(err == (has_failed ? BCFMT_E_NOMEM : BCFMT_OK));
	if (!err) {
		check_bsets(&geo, &node, raw, raw_bytes);
		assert(*bcfmt_bset_fault_text(node.fault) || !node.fault);
	}
	if (!err && n_made) {
		assert(!node.fault && node.n_bsets == n_made && node.seq == NODE_SEQ);
		assert(node.bsets[n_made - 1].block + node.bsets[n_made - 1].blocks == end_block);
	}
	bcfmt_node_clear(&node);
	free(raw);
	return 0;
}
