/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Writing single structures of a cache set.
 *
 * What is encoded is decoded again and compared before it goes to the device. Each structure can
 * be written in two ways. The plain call knows the rules: what a check of this library would
 * refuse is E_ARG with a fault that names it, and nothing is written; slack is zeroed. The call
 * ending in _raw has no rules but the bounds of the place, and leaves what lies around the
 * structure as it was: for tests that need sets which are wrong, and for those who know better.
 *
 * Errors: E_ARG as told here, or when the device cannot be written; E_NOMEM; E_IO and E_RANGE of
 * the device; E_DAMAGED when what was encoded does not decode to the same: nothing is written then.
 * Only bcfmt_super_write() flushes; the order of writes and flushes between them is the caller's.
 */
#ifndef BCFMT_WRITE_H
#define BCFMT_WRITE_H

#include <bcfmt/base.h>
#include <bcfmt/dev.h>
#include <bcfmt/geometry.h>
#include <bcfmt/jset.h>
#include <bcfmt/key.h>
#include <bcfmt/set.h>
#include <bcfmt/tree.h>

BCFMT_BEGIN_DECLS

/* The cache device that is written to. All three are borrowed. */
struct bcfmt_target {
	struct bcfmt_ctx *ctx;
	struct bcfmt_dev *dev;
	const struct bcfmt_geometry *geo;
};

/* ---- superblocks ---- */

/*
 * Writes the superblock of a cache or backing device with one write, and flushes. The bytes of
 * the block that have no field stay as they are (zeros where they cannot be read). Faults (enum
 * bcfmt_super_fault, for pages of 4 KiB) beside known_faults are E_ARG, more than 256 journal
 * buckets always; BAD_CSUM is none, the checksum is computed. kernel: __write_super().
 */
BCFMT_API bcfmt_err bcfmt_super_write(struct bcfmt_ctx *ctx, struct bcfmt_dev *dev,
				      const struct bcfmt_super *super, uint32_t known_faults);

/* ---- nodes ---- */

/*
 * Writes a whole node: one bset of version 1 with n keys, zeros behind it, so that nothing in the
 * node looks like a later bset. ref tells place, size, level and range; its pointer seeds the
 * checksum. seq is random and not 0.
 *
 * Rules. Node: at the start of a bucket for nodes (not journal or superblock), of a size that is
 * a power of two and fits; the range of a root ends at the last key. Leaf keys: in order without
 * overlap, within the range, size not 0, at most one pointer, to a place for data on this member,
 * inode in the uuid table, no bits without a meaning, no placeholders. Interior keys: pointers to
 * nodes, ascending, at least one, the last one is the end of the range.
 * kernel: bch_btree_node_write(), bch_btree_ptr_invalid(), bch_extent_invalid().
 */
BCFMT_API bcfmt_err bcfmt_node_write(const struct bcfmt_target *target,
				     const struct bcfmt_node_ref *ref, uint64_t seq,
				     const struct bcfmt_key *keys, uint32_t n_keys);

/* A bset as it is to lie in its node. */
struct bcfmt_bset_raw {
	uint64_t ptr;        /* of the node: place and seed of the checksum */
	uint32_t node_sectors;
	uint32_t block;      /* of the node */
	uint64_t seq;
	uint32_t version;    /* 0 or 1 */
	uint32_t words;
	const uint8_t *keys; /* words u64 as on disk; NULL when there are none */
};
/* Writes 32 + 8 * words bytes. E_ARG when they do not fit into the node. */
BCFMT_API bcfmt_err bcfmt_bset_write_raw(const struct bcfmt_target *target,
					 const struct bcfmt_bset_raw *bset);

/* ---- prio sets ---- */

/* Gens and priorities of all buckets, in a chain of prio sets. */
struct bcfmt_prio_chain {
	const uint64_t *links;  /* bucket of each set, in the order of the chain */
	size_t n_links;         /* bcfmt_geometry_prio_buckets() */
	uint64_t seq;           /* the last chain's + 1; a first one has 1 */
	uint64_t last_next;     /* next_bucket of the last set; a kernel never reads it */
	const struct bcfmt_bucket *buckets; /* geo->nbuckets; NULL: entry tells */
	void (*entry)(void *arg, uint64_t bucket, uint16_t *prio, uint8_t *gen);
	void *entry_arg;
};
/*
 * Writes the last set first, as a kernel does. Superblock and journal buckets get prio 0 and gen 0
 * whatever the entries say. Links must be buckets that can hold prio sets, each of them once.
 * kernel: bch_prio_write().
 */
BCFMT_API bcfmt_err bcfmt_prio_chain_write(const struct bcfmt_target *target,
					   const struct bcfmt_prio_chain *chain);
/* n_links as many as are given; entries behind the last bucket stay as they are on the device. */
BCFMT_API bcfmt_err bcfmt_prio_chain_write_raw(const struct bcfmt_target *target,
					       const struct bcfmt_prio_chain *chain);

/* ---- uuid table ---- */

/*
 * Writes a meta bucket with entry i in slot i and zeros behind the last. Live entries must differ
 * and be plausible: no unknown flag, a size for volumes and for nothing else. n_entries is at
 * most geo->nr_uuids. kernel: __uuid_write().
 */
BCFMT_API bcfmt_err bcfmt_uuids_write(const struct bcfmt_target *target, uint64_t bucket,
				      const struct bcfmt_uuid_entry *entries, uint32_t n_entries);
/* version 0: 64-byte slots, without flags and sizes. */
BCFMT_API bcfmt_err bcfmt_uuids_write_raw(const struct bcfmt_target *target, uint64_t bucket,
					  const struct bcfmt_uuid_entry *entries,
					  uint32_t n_entries, unsigned int version);

/* ---- journal entries ---- */

/*
 * Writes an entry at a sector of a ring bucket, with zeros up to the end of its last block. The
 * keys are jset->keys, keys_field words (NULL when there are none); csum, magic and sizes of
 * *jset are not looked at.
 *
 * Rules: block aligned, within the bucket and 8 pages; seq and last_seq at least 1 and no more
 * apart than a kernel keeps open; version 1; root and uuid table at the start of buckets that can
 * hold them, the root's key the last key, the table as large as a meta bucket; the prio bucket of
 * this member likewise, 0 for all others; keys tile and follow the rules for leaf keys, in any
 * order. kernel: journal_write_unlocked(), journal_read_bucket().
 */
BCFMT_API bcfmt_err bcfmt_jset_write(const struct bcfmt_target *target,
				     const struct bcfmt_jset *jset, uint32_t ring_index,
				     uint32_t sector);
/* Anything that fits between the sector and the end of its bucket; only its own bytes. */
BCFMT_API bcfmt_err bcfmt_jset_write_raw(const struct bcfmt_target *target,
					 const struct bcfmt_jset *jset, uint32_t ring_index,
					 uint32_t sector);

/* Encodes keys (at most one pointer each) one behind the other; returns the words, <= 3 * n. */
BCFMT_API uint32_t bcfmt_keys_encode(const struct bcfmt_key *keys, uint32_t n, uint8_t *raw);

BCFMT_END_DECLS

#endif
