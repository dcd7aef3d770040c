/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Writing a whole new cache: what a kernel leaves that registered it, filled it and was shut
 * down. Superblock with SYNC, journal ring with one entry, prio chain, uuid table, tree.
 */
#ifndef BCFMT_WRITE_SET_H
#define BCFMT_WRITE_SET_H

#include <bcfmt/base.h>
#include <bcfmt/super.h>
#include <bcfmt/uuid.h>
#include <bcfmt/write_tree.h>

BCFMT_BEGIN_DECLS

struct bcfmt_new_set_params {
	uint8_t uuid[BCFMT_UUID_BYTES];     /* of the cache device */
	uint8_t set_uuid[BCFMT_UUID_BYTES];
	const char *label;                  /* at most 32 bytes; NULL: none */
	uint32_t block_sectors;
	uint32_t bucket_sectors;            /* above 65535: superblock version 5, else 3 */
	uint64_t nbuckets;                  /* 0: as many as the device holds */
	uint64_t flags;                     /* of the superblock, beside SYNC */
	uint32_t last_mount;                /* seconds */
	uint64_t journal_seq;               /* of the entry; 0: 1, that of a fresh cache */
	uint64_t max_keys;                  /* leaf keys at most: sets buckets aside for the nodes */
	uint64_t seed;                      /* as for a tree writer */
	unsigned int fill_percent;          /* likewise */
	const struct bcfmt_uuid_entry *uuids; /* entry i is inode i; others are free */
	uint32_t n_uuids;
	const struct bcfmt_key *journal_keys; /* leaf keys to be replayed, in order of writing */
	uint32_t n_journal_keys;
};

/* Where everything goes. Metadata lies behind the journal ring, data behind metadata. */
struct bcfmt_new_set {
	struct bcfmt_super super;
	struct bcfmt_geometry geo;
	uint64_t prio_bucket; /* the first of prio_buckets, one behind the other */
	uint64_t prio_buckets;
	uint64_t uuid_bucket;
	uint64_t node_bucket; /* the first of node_buckets set aside */
	uint64_t node_buckets;
	uint64_t data_bucket; /* first that data may lie in, up to nbuckets */
	uint64_t data_buckets; /* so many of them may be used at most, for a kernel to come up */
	/* What was written. */
	struct bcfmt_tree_written tree;
	uint64_t used_buckets; /* by data */
	uint64_t free_buckets;
};

/*
 * Lays out a set on a device of dev_bytes without touching any. E_ARG with a fault: sizes that no
 * kernel registers, more keys than there is room for nodes, more entries than slots.
 * logical_block_bytes is the device's, 512 when unknown. kernel: run_cache_set().
 */
BCFMT_API bcfmt_err bcfmt_new_set_plan(struct bcfmt_ctx *ctx, uint64_t dev_bytes,
				       uint32_t logical_block_bytes,
				       const struct bcfmt_new_set_params *params,
				       struct bcfmt_new_set *out);

/* The next leaf key into *key, in the order of keys; END after the last; an error ends the work. */
typedef bcfmt_err (*bcfmt_key_fn)(void *arg, struct bcfmt_key *key);

/*
 * Plans the set for dev and writes it: first it makes an old superblock and old journal entries
 * unreadable, then come nodes, tables, a flush, the journal entry, a flush, and last the
 * superblock. Data buckets are not touched. On success fills all of *out.
 *
 * Keys follow the rules of bcfmt_node_write(). E_ARG besides: data outside the buckets for data,
 * two gens in one bucket, more sectors of a bucket used than it has, a live entry missing for an
 * inode, an extent beyond its volume, more keys than
 * max_keys, too few buckets left free. Memory: 8 bytes a bucket, one node a level.
 */
BCFMT_API bcfmt_err bcfmt_new_set_write(struct bcfmt_ctx *ctx, struct bcfmt_dev *dev,
					const struct bcfmt_new_set_params *params,
					bcfmt_key_fn next, void *next_arg,
					struct bcfmt_new_set *out);

BCFMT_END_DECLS

#endif
