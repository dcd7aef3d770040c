/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Writing a whole btree from a stream of keys in order. */
#ifndef BCFMT_WRITE_TREE_H
#define BCFMT_WRITE_TREE_H

#include <bcfmt/base.h>
#include <bcfmt/write.h>

BCFMT_BEGIN_DECLS

/*
 * Gives a bucket for the next node and the gen of the pointer to it, which must be above that of
 * every pointer to the bucket that ever was. Buckets are asked for in the order of writing, a
 * node's children before the node: ascending numbers make large writes. An error ends the work.
 */
typedef bcfmt_err (*bcfmt_bucket_fn)(void *arg, uint64_t *bucket, uint8_t *gen);

struct bcfmt_tree_writer_params {
	bcfmt_bucket_fn bucket;
	void *bucket_arg;
	uint64_t seed;             /* of the nodes' seq numbers; 0: random */
	/*
	 * What is written comes from nodes that a search found, because no journal entry is left:
	 * their seq numbers say so, and as long as a kernel appends nothing a search takes what they
	 * hold only where it finds no other node. seed is not used.
	 */
	bool is_of_search;
	unsigned int fill_percent; /* of each node, 10..100; 0: 80, so that a kernel need not split */
};

/* What finish() hands out: what a journal entry has to say of the tree. */
struct bcfmt_tree_written {
	struct bcfmt_key root;
	uint16_t level;
	uint64_t nodes; /* written; leaves included */
	uint64_t leaves;
	uint64_t keys;
	uint64_t kept; /* leaves that were there already, in none of the counts above */
};

struct bcfmt_tree_writer;

/*
 * Nodes have the default size of the geometry. Memory: one node buffer a level, nothing a key.
 * *target is copied, what it points to borrowed. E_ARG: parameters out of range; E_NOMEM;
 * E_SYSTEM: no random numbers. Freed with bcfmt_tree_writer_free().
 */
BCFMT_API bcfmt_err bcfmt_tree_writer_new(const struct bcfmt_target *target,
					  const struct bcfmt_tree_writer_params *params,
					  struct bcfmt_tree_writer **out);
BCFMT_API void bcfmt_tree_writer_free(struct bcfmt_tree_writer *writer); /* NULL is fine */

/*
 * The next leaf key. One that bcfmt_node_write() would refuse, that lies before the last one or
 * overlaps it is E_ARG with a fault that names it. After an error every later call returns it.
 * Data in a bucket that a node is given is not noticed: the caller owns the bucket map. E_CANCELLED
 * is looked for at every node; E_UNSUPPORTED: more than 16 levels.
 */
BCFMT_API bcfmt_err bcfmt_tree_writer_add(struct bcfmt_tree_writer *writer,
					  const struct bcfmt_key *key);
/*
 * A leaf that lies on the device already, as its parent names it, comes next: it is pointed to and
 * not looked at. All its keys lie behind those that came before it and at or before leaf's own
 * position. Errors as above; a size other than the default, or a position that is not behind the
 * last key, is E_ARG.
 */
BCFMT_API bcfmt_err bcfmt_tree_writer_keep(struct bcfmt_tree_writer *writer,
					   const struct bcfmt_key *leaf);
/*
 * Writes what is left; a tree without keys is an empty leaf. The right edge of every level, and
 * the root, end at the last key. Nothing is flushed. Only bcfmt_tree_writer_free() may follow.
 */
BCFMT_API bcfmt_err bcfmt_tree_writer_finish(struct bcfmt_tree_writer *writer,
					     struct bcfmt_tree_written *out);

/* Nodes, and so buckets, that n_keys keys take at most. fill_percent as above. */
BCFMT_API uint64_t bcfmt_tree_nodes_max(const struct bcfmt_geometry *geo,
					unsigned int fill_percent, uint64_t n_keys);

BCFMT_END_DECLS

#endif
