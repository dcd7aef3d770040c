/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What journal, tree and nodes that were given up say happened to a range of sectors. */
#ifndef BCFMT_HISTORY_H
#define BCFMT_HISTORY_H

#include <bcfmt/base.h>
#include <bcfmt/tree.h>

BCFMT_BEGIN_DECLS

/* Where a key was met. */
enum bcfmt_past_source {
	BCFMT_PAST_JOURNAL,  /* an entry of the ring */
	BCFMT_PAST_OLD_NODE, /* a node that the tree does not reach, found by a search of the cache */
	BCFMT_PAST_LEAF,     /* the leaf that has the range now */
};

/* What an entry of the ring counts for. */
enum bcfmt_past_entry {
	BCFMT_PAST_TO_REPLAY, /* from last_seq of the newest entry on */
	BCFMT_PAST_HISTORY,   /* older, and leads to the newest without a hole */
	BCFMT_PAST_CUT_OFF,   /* older, behind a hole */
	BCFMT_PAST_OTHER,     /* has a higher number than the entry that the set is read by */
};

/* What is proved of when a key of a node was written. */
enum bcfmt_past_order {
	BCFMT_PAST_IN_SEQUENCE, /* of the journal: its own number */
	/*
	 * An entry of the ring put the same data at the same place of the cache, with the same
	 * generation of the bucket, and nothing else can have that place then: the key is that write.
	 */
	BCFMT_PAST_SAME_WRITE,
	BCFMT_PAST_NOT_PROVED, /* read fills and what gc moved are not journaled; others are older */
};

/* One key over the range. */
struct bcfmt_past {
	struct bcfmt_key key;
	uint64_t seq;       /* the entry; of a node's key the newest entry that is the same write, or 0 */
	/*
	 * The bset cannot have been written before this entry: it, or one before it in its node, holds
	 * what the entry says of the range. 0: not known. Of an entry its own number.
	 */
	uint64_t after_seq;
	uint64_t node_ptr;  /* of a node, with its generation */
	uint32_t block;     /* bset in its node */
	uint32_t word;      /* of the key in its bset or entry */
	uint8_t source;     /* enum bcfmt_past_source */
	uint8_t entry;      /* enum bcfmt_past_entry, of the journal */
	uint8_t order;      /* enum bcfmt_past_order */
	uint8_t stale;      /* of the pointer by the gens that are known now; 0: valid, or none */
	bool is_stray;      /* the bset lies behind the place where a kernel stops reading */
	bool is_found_leaf; /* no parent names the leaf */
};

/* What could not be read, so that what it said is missing. */
struct bcfmt_history_gaps {
	uint64_t entries;	 /* of the ring, that cannot be read again */
	uint64_t nodes;		 /* sectors of them cannot be read, or a set of keys is damaged */
	bool is_search_partial;  /* sectors of the cache that may hold old nodes */
};

/* What it returns, if not OK, ends the walk and is returned. */
typedef bcfmt_err (*bcfmt_past_fn)(void *arg, const struct bcfmt_past *past);

/*
 * Calls past for every key of the inode that touches [start_sector, end_sector): first by after_seq,
 * entries before nodes, given-up nodes before the leaf, bsets and keys in their order. Gens must be
 * final: bcfmt_tree_settle(). The whole cache is searched for nodes, once for a set. Sorts in
 * memory up to the context's limit, then in temporary files. gaps may be NULL.
 */
BCFMT_API bcfmt_err bcfmt_history_each(struct bcfmt_tree *tree, uint32_t inode,
				       uint64_t start_sector, uint64_t end_sector,
				       bcfmt_past_fn past, void *arg, struct bcfmt_history_gaps *gaps);

BCFMT_END_DECLS

#endif
