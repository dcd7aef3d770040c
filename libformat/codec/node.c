/* SPDX-License-Identifier: GPL-2.0-or-later */
/* A btree node: finds and verifies its bsets. */
#include <bcfmt/node.h>

#include <stdlib.h>

#include <bcfmt/crc64.h>

#include "base/checked.h"
#include "ondisk/bset.h"

/*
 * Stray bsets are looked for at every block, and each candidate may claim all the rest of the
 * node. So that a made-up node costs no more than linear time, the checksums of this search cover
 * at most this many times the node.
 */
#define STRAY_CSUM_FACTOR 8u
#define BSETS_FIRST_CAP 8u

_Static_assert(sizeof(struct bset_disk) == BCFMT_BSET_HEADER_BYTES, "header");

const char *bcfmt_bset_fault_text(enum bcfmt_bset_fault fault)
{
	switch (fault) {
	case BCFMT_BSET_OK:
		break;
	case BCFMT_BSET_ZERO_SEQ:
	case BCFMT_BSET_OVERRUN:
		return "bad btree header";
	case BCFMT_BSET_VERSION:
		return "unsupported bset version";
	case BCFMT_BSET_MAGIC:
		return "bad magic";
	case BCFMT_BSET_CSUM:
		return "bad checksum";
	case BCFMT_BSET_EMPTY:
		return "empty set";
	case BCFMT_BSET_HOLE:
		return "corrupted btree";
	}
	return "";
}

uint64_t bcfmt_bset_csum(const uint8_t *raw, uint32_t words, uint32_t version, uint64_t ptr)
{
	size_t bytes = sizeof(struct bset_disk) - 8 + 8 * (size_t)words;

	return version ? bcfmt_crc64_seeded(ptr, raw + 8, bytes) : bcfmt_crc64(raw + 8, bytes);
}

void bcfmt_bset_encode(const struct bcfmt_geometry *geo, uint8_t *raw, uint64_t seq,
		       uint32_t words, uint64_t ptr)
{
	struct bset_disk *disk = (struct bset_disk *)raw;

	le64_set(&disk->magic, geo->set_magic ^ DISK_BSET_MAGIC);
	le64_set(&disk->seq, seq);
	le32_set(&disk->version, DISK_BSET_VERSION);
	le32_set(&disk->keys, words);
	le64_set(&disk->csum, bcfmt_bset_csum(raw, words, DISK_BSET_VERSION, ptr));
}

/* What the search for bsets needs at every block. */
struct node_scan {
	struct bcfmt_node *node;
	uint64_t magic;
	uint64_t ptr;
};

static const uint8_t *block_raw(const struct bcfmt_node *node, uint32_t block)
{
	return node->buf + (size_t)block * node->block_bytes;
}

static uint64_t block_seq(const struct bcfmt_node *node, uint32_t block)
{
	return le64_get(&((const struct bset_disk *)block_raw(node, block))->seq);
}

/* Header fields; true when header and keys lie within the node. */
static bool load_header(const struct node_scan *scan, uint32_t block, struct bcfmt_bset *out)
{
	const struct bcfmt_node *node = scan->node;
	const struct bset_disk *disk = (const struct bset_disk *)block_raw(node, block);
	uint64_t bytes = sizeof(*disk) + 8ull * le32_get(&disk->keys);
	uint64_t blocks = div_round_up(bytes, node->block_bytes);
	bool is_inside = blocks <= node->nblocks - block;

	*out = (struct bcfmt_bset){
		.block = block,
		.blocks = is_inside ? (uint32_t)blocks : node->nblocks - block,
		.keys_field = le32_get(&disk->keys),
		.version = le32_get(&disk->version),
		.magic = le64_get(&disk->magic),
		.seq = le64_get(&disk->seq),
		.csum = le64_get(&disk->csum),
		.keys = (const uint8_t *)(disk + 1),
	};
	return is_inside;
}

static void sum_up(const struct node_scan *scan, struct bcfmt_bset *bset)
{
	bset->csum_computed = bcfmt_bset_csum(block_raw(scan->node, bset->block),
					      bset->keys_field, bset->version, scan->ptr);
}

/* Judges one bset in the order of the kernel. Needs block < nblocks. */
static void judge(const struct node_scan *scan, uint32_t block, struct bcfmt_bset *out)
{
	bool is_inside = load_header(scan, block, out);

	if (is_inside)
		sum_up(scan, out);
	if (is_inside && out->magic == scan->magic && out->version <= DISK_BSET_VERSION)
		out->words = out->keys_field;

	if (!block && !out->seq)
		out->fault = BCFMT_BSET_ZERO_SEQ;
	else if (out->version > DISK_BSET_VERSION)
		out->fault = BCFMT_BSET_VERSION;
	else if (!is_inside)
		out->fault = BCFMT_BSET_OVERRUN;
	else if (out->magic != scan->magic)
		out->fault = BCFMT_BSET_MAGIC;
	else if (out->csum != out->csum_computed)
		out->fault = BCFMT_BSET_CSUM;
	else if (block && !out->keys_field)
		out->fault = BCFMT_BSET_EMPTY;
}

static struct bcfmt_bset *push_bset(struct bcfmt_node *node)
{
	if (node->n_bsets == node->bsets_cap) {
		uint32_t cap = node->bsets_cap ? node->bsets_cap * 2 : BSETS_FIRST_CAP;
		struct bcfmt_bset *bsets = realloc(node->bsets, cap * sizeof(*bsets));

		if (!bsets)
			return NULL;
		node->bsets = bsets;
		node->bsets_cap = cap;
	}
	return &node->bsets[node->n_bsets++];
}

static void set_fault(struct bcfmt_node *node, enum bcfmt_bset_fault fault, uint32_t block)
{
	const struct bset_disk *disk = (const struct bset_disk *)block_raw(node, block);

	node->fault = fault;
	node->fault_block = block;
	node->fault_keys = le32_get(&disk->keys);
}

/*
 * Lists the good bsets from a block on. Where the first bset is damaged the seq in it proves
 * nothing; the checksum seeded with the pointer, generation included, then says whose a bset is.
 */
static bcfmt_err find_strays(const struct node_scan *scan, uint32_t block)
{
	struct bcfmt_node *node = scan->node;
	bool is_seq_known = node->n_bsets && !node->bsets[0].fault;
	uint64_t csum_bytes_left =
		(uint64_t)STRAY_CSUM_FACTOR * node->nblocks * node->block_bytes;

	while (block < node->nblocks) {
		struct bcfmt_bset bset, *slot;
		uint64_t seq = block_seq(node, block);
		uint64_t bytes;

		if ((seq != node->seq && is_seq_known) || !seq ||
		    !load_header(scan, block, &bset) || bset.magic != scan->magic ||
		    bset.version > DISK_BSET_VERSION || (!bset.version && seq != node->seq)) {
			block++;
			continue;
		}
		bytes = sizeof(struct bset_disk) + 8ull * bset.keys_field;
		if (bytes > csum_bytes_left) {
			block++;
			continue;
		}
		csum_bytes_left -= bytes;
		sum_up(scan, &bset);
		if (bset.csum != bset.csum_computed) {
			block++;
			continue;
		}
		slot = push_bset(node);
		if (!slot)
			return BCFMT_E_NOMEM;
		bset.words = bset.keys_field;
		bset.is_stray = true;
		*slot = bset;
		block += bset.blocks;
	}
	return BCFMT_OK;
}

/*
 * The kernel's look behind the last bset. It goes by sectors, so a part of a block at the end
 * counts too. True, with the fault set, when the node's seq is found.
 */
static bool find_hole(struct bcfmt_node *node, uint32_t block, uint32_t node_sectors)
{
	uint32_t block_sectors = node->block_bytes / BCFMT_SECTOR_BYTES;
	uint32_t end_block = (uint32_t)div_round_up(node_sectors, block_sectors);

	for (; block < end_block; block++) {
		if (block_seq(node, block) == node->seq) {
			set_fault(node, BCFMT_BSET_HOLE, block);
			return true;
		}
	}
	return false;
}

bcfmt_err bcfmt_node_decode(struct bcfmt_node *node, const struct bcfmt_geometry *geo,
			    const uint8_t *buf, uint32_t node_sectors, uint64_t ptr)
{
	struct node_scan scan = { node, geo->set_magic ^ DISK_BSET_MAGIC, ptr };
	uint32_t block = 0;

	node->buf = buf;
	node->block_bytes = bcfmt_block_bytes(geo);
	node->nblocks = node_sectors / geo->block_sectors;
	node->seq = 0;
	node->n_bsets = 0;
	node->fault = BCFMT_BSET_OK;
	node->fault_block = 0;
	node->fault_keys = 0;
	node->is_other_set = false;
	if (!node_sectors) {
		node->fault = BCFMT_BSET_HOLE;
		return BCFMT_OK;
	}
	node->seq = block_seq(node, 0);
	if (!node->nblocks) {
		set_fault(node, node->seq ? BCFMT_BSET_HOLE : BCFMT_BSET_ZERO_SEQ, 0);
		return BCFMT_OK;
	}

	do {
		struct bcfmt_bset *bset = push_bset(node);

		if (!bset)
			return BCFMT_E_NOMEM;
		judge(&scan, block, bset);
		if (bset->fault) {
			set_fault(node, bset->fault, block);
			node->is_other_set = !block && bset->fault == BCFMT_BSET_MAGIC &&
					     bset->csum == bset->csum_computed;
			return find_strays(&scan, block + 1);
		}
		block += bset->blocks;
	} while (block < node->nblocks && block_seq(node, block) == node->seq);

	if (find_hole(node, block, node_sectors))
		return find_strays(&scan, node->fault_block);
	return BCFMT_OK;
}

void bcfmt_node_clear(struct bcfmt_node *node)
{
	free(node->bsets);
	*node = (struct bcfmt_node){ 0 };
}
