/* SPDX-License-Identifier: GPL-2.0-or-later */
/* A btree node: a log of bsets that share one random seq. */
#ifndef BCFMT_NODE_H
#define BCFMT_NODE_H

#include <bcfmt/base.h>
#include <bcfmt/geometry.h>
#include <bcfmt/key.h>

BCFMT_BEGIN_DECLS

#define BCFMT_BSET_HEADER_BYTES 32u

/* Why the kernel stops reading a node. kernel: bch_btree_node_read_done(). */
enum bcfmt_bset_fault {
	BCFMT_BSET_OK = 0,
	BCFMT_BSET_ZERO_SEQ, /* first bset, seq 0: "bad btree header" */
	BCFMT_BSET_VERSION,  /* "unsupported bset version" */
	BCFMT_BSET_OVERRUN,  /* keys reach past the node: "bad btree header" */
	BCFMT_BSET_MAGIC,    /* "bad magic" */
	BCFMT_BSET_CSUM,     /* "bad checksum" */
	BCFMT_BSET_EMPTY,    /* no keys, not the first: "empty set" */
	BCFMT_BSET_HOLE,     /* same seq after the end: "corrupted btree" */
};

struct bcfmt_bset {
	uint32_t block;  /* of the node */
	uint32_t blocks; /* taken, >= 1 */
	uint32_t words;  /* of keys; 0 unless in bounds, of this set and of a known version */
	uint32_t keys_field;
	uint32_t version;
	uint64_t magic;
	uint64_t seq;
	uint64_t csum;
	uint64_t csum_computed; /* 0 when keys_field is out of bounds */
	const uint8_t *keys;    /* into the node's buffer */
	uint32_t skipped_backwards; /* keys out of order; counted by tree walks, else 0 */
	uint32_t key_count;         /* likewise */
	enum bcfmt_bset_fault fault;
	bool is_stray;          /* found after the place where the kernel stops; fault is OK */
};

struct bcfmt_node {
	const uint8_t *buf; /* borrowed from the caller of decode */
	uint32_t block_bytes;
	uint32_t nblocks;
	uint64_t seq;
	struct bcfmt_bset *bsets; /* in block order, damaged ones included */
	uint32_t n_bsets;
	uint32_t bsets_cap;
	enum bcfmt_bset_fault fault; /* what the kernel would say; OK: it accepts the layout */
	uint32_t fault_block;        /* block and keys of that message */
	uint32_t fault_keys;
	bool is_other_set;           /* first bset: fault MAGIC, yet its checksum is right */
};

/*
 * Finds every bset of a node. buf holds node_sectors sectors and must outlive *node. ptr is the
 * parent's pointer word, the seed of the checksum. *node must be zeroed or reused; it owns its
 * bset array: bcfmt_node_clear(). After a fault the rest of the node is searched block by block
 * for bsets with the node's seq and a right checksum: they are listed with is_stray. Where the
 * first bset is the damaged one its seq proves nothing, and seeded bsets of any seq are listed.
 * The checksums of that search cover at most 8 times the node, so made-up nodes end in time.
 * E_NOMEM only. node_sectors < block gives nblocks 0 and fault HOLE, as the kernel ends there
 * (ZERO_SEQ when the seq is 0).
 */
BCFMT_API bcfmt_err bcfmt_node_decode(struct bcfmt_node *node, const struct bcfmt_geometry *geo,
				      const uint8_t *buf, uint32_t node_sectors, uint64_t ptr);
BCFMT_API void bcfmt_node_clear(struct bcfmt_node *node);

/* Text of the kernel for a fault ("bad checksum"); static storage. */
BCFMT_API const char *bcfmt_bset_fault_text(enum bcfmt_bset_fault fault);

/* Checksum of a bset of this version at raw with its keys field. kernel: btree_csum_set(). */
BCFMT_API uint64_t bcfmt_bset_csum(const uint8_t *raw, uint32_t words, uint32_t version,
				   uint64_t ptr);
/* Writes header and checksum (version 1) before words of keys that lie at raw + 32 already. */
BCFMT_API void bcfmt_bset_encode(const struct bcfmt_geometry *geo, uint8_t *raw, uint64_t seq,
				 uint32_t words, uint64_t ptr);

/* All keys of a node's usable bsets (those without a fault), in physical order. */
struct bcfmt_node_iter {
	const struct bcfmt_node *node;
	uint32_t next_bset;
	struct bcfmt_key_iter keys;
};
static inline struct bcfmt_node_iter bcfmt_node_iter_init(const struct bcfmt_node *node)
{
	struct bcfmt_node_iter it = { node, 0, bcfmt_key_iter_init(NULL, 0) };

	return it;
}
static inline bool bcfmt_node_iter_next(struct bcfmt_node_iter *it, struct bcfmt_key *out)
{
	while (!bcfmt_key_iter_next(&it->keys, out)) {
		const struct bcfmt_bset *bset;

		if (it->next_bset == it->node->n_bsets)
			return false;
		bset = &it->node->bsets[it->next_bset++];
		if (!bset->fault)
			it->keys = bcfmt_key_iter_init(bset->keys, bset->words);
	}
	return true;
}

BCFMT_END_DECLS

#endif
