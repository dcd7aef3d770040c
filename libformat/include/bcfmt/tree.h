/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Walking the btree level by level, and what a leaf finally holds once the journal is laid on. */
#ifndef BCFMT_TREE_H
#define BCFMT_TREE_H

#include <bcfmt/base.h>
#include <bcfmt/node.h>
#include <bcfmt/set.h>

BCFMT_BEGIN_DECLS

/* A node as its parent (or the journal entry, for the root) describes it. */
struct bcfmt_node_ref {
	uint64_t ptr;
	struct bcfmt_pos lo; /* keys of the node lie after this position ... */
	struct bcfmt_pos hi; /* ... and end at or before this one, the node's own key */
	uint32_t sectors;    /* KEY_SIZE of the pointer; > 0 */
	uint8_t level;       /* 0: leaf */
	bool is_root;
	/*
	 * No parent names the node as it is here: it was found by a search of the device, or there
	 * is none and sectors is 0. is_proved: all that was written there is in the node, or in the
	 * entries of the ring that are laid on.
	 */
	bool is_found;
	bool is_proved;
};

/* Positions after lo and up to hi. */
struct bcfmt_span {
	struct bcfmt_pos lo;
	struct bcfmt_pos hi;
};

/* A node that was read. Valid during the callback only. */
struct bcfmt_node_view {
	const struct bcfmt_node_ref *ref;
	const struct bcfmt_node *node;
	struct bcfmt_bad_read bad;  /* sectors that could not be read are zero in the buffer */
	/* Leaves, after walk_leaves(): it could be read whole then, and cannot now. */
	bool is_lost_since;
	bool is_disordered;         /* a bset is out of order: keys count in physical order */
	uint32_t keys;              /* all keys of all usable bsets */
	uint32_t skipped_backwards; /* keys that a debug kernel would complain of */
	uint32_t zero_size_keys;
	uint32_t placeholders;
	uint32_t same_range_keys;   /* same range, other pointer, inside one bset */
	bool is_overrun;            /* keys of a bset do not tile its key area */
	/*
	 * Leaves: of no key there is anything to say. One sound bset, in order and in the leaf's
	 * range, every key with one pointer that is valid by bcfmt_key_fault_extent() and leads to
	 * a bucket of this member that holds no metadata; no checksums, no keys of size 0.
	 */
	bool is_plain;
	/* The extents are just these keys: the leaf is plain and no key of the journal changes it. */
	bool is_as_written;
	/*
	 * Leaves: damaged, out of order, or missing (ref->sectors 0). Then all entries of the ring
	 * that lead to the newest without a hole are laid on, not just those to replay.
	 */
	bool uses_history;
	/*
	 * They begin with entry 1, and every dirty key of the leaf is in one of them, or the prio
	 * sets prove that nothing was written before it: the journal knows every write. Then what
	 * none of them names is not among the extents.
	 */
	bool has_all_history;
	/*
	 * Leaves, before node(): keys are in it that no kernel puts there, and the prio sets prove
	 * that the journal knows every write. So they lose nothing; has_all_history will be set.
	 */
	bool has_foreign_keys;
	/*
	 * Leaves: where neither the node nor the journal proves what the cache finally holds, in
	 * order, within the ref's range. Stale extents are told as such and do not count here.
	 */
	const struct bcfmt_span *doubts;
	size_t n_doubts;
	/*
	 * Leaves: sectors that entries older than those to replay wrote or dropped, and of which the
	 * leaf does not know, or has what is older still: bsets or keys of it are lost. Then
	 * uses_history is set too.
	 */
	uint64_t lost_sectors;
	struct bcfmt_pos lost_at;   /* the first of them */
	/*
	 * Leaves: dirty data is stale, which no kernel lets come to pass before a newer key lies over
	 * it, so keys are missing, and which nobody knows. Then uses_history is set too.
	 */
	bool lacks_keys;
	/* Leaves: keys to replay that touch the range, their words, and whether one goes on behind. */
	uint32_t replay_keys;
	uint64_t replay_words;
	bool has_crossing_replay;
};

enum bcfmt_extent_source {
	BCFMT_FROM_TREE,
	BCFMT_FROM_REPLAY,
	BCFMT_FROM_HISTORY, /* an entry older than those to replay */
	BCFMT_FROM_SCAN,    /* a node that no parent names any more */
};

/*
 * One piece of the final, non-overlapping content of a leaf. ptr belongs to start_sector
 * already. Pieces without data (holes, placeholders) are not listed, stale ones are.
 */
struct bcfmt_extent {
	uint64_t start_sector;
	uint64_t end_sector;
	uint64_t ptr;
	uint32_t inode;
	uint8_t stale;       /* 0 valid, else how far, 1..128 */
	bool is_dirty;
	uint8_t source;      /* enum bcfmt_extent_source */
	/*
	 * Dirty only by a replayed key: the tree has the same sectors clean at the same place,
	 * so they were written back after the entry was written (cleaning is not journaled).
	 */
	bool is_written_back;
};

/* A child pointer that a walk did not follow, and why. */
enum bcfmt_child_fault {
	BCFMT_CHILD_OK = 0,
	BCFMT_CHILD_INVALID,     /* bcfmt_key_fault_btree() */
	BCFMT_CHILD_SEEN,        /* bucket already reached at this level */
	BCFMT_CHILD_OTHER_LEVEL, /* bucket already reached at another level */
	BCFMT_CHILD_METADATA,    /* bucket belongs to journal, prios, uuids or superblock */
	BCFMT_CHILD_DUPLICATE,   /* second live pointer at one key; only the newer is followed */
	BCFMT_CHILD_OTHER_MEMBER,/* PTR_DEV is another member */
};

/*
 * What a walk reports. All pointers may be NULL. node and leaf are called from worker threads,
 * several at once; child and gap from the walking thread. Return E_… to stop the walk.
 */
struct bcfmt_tree_visitor {
	void *arg;
	/* Every node that was read, damaged or not, before its children. */
	bcfmt_err (*node)(void *arg, const struct bcfmt_node_view *view);
	/*
	 * After node() for level 0, and for ranges that no node covers (ref->sectors 0, no node()
	 * before): final extents in key order, journal laid on. extents are borrowed.
	 */
	bcfmt_err (*leaf)(void *arg, const struct bcfmt_node_view *view,
			  const struct bcfmt_extent *extents, size_t n_extents);
	/*
	 * Called instead of leaf() for a plain leaf that no key of the journal reaches, when none of
	 * its extents is stale: they are just its keys, three words each, in view->node->bsets[0].
	 * NULL: leaf() is called for these too.
	 */
	bcfmt_err (*plain)(void *arg, const struct bcfmt_node_view *view);
	bcfmt_err (*child)(void *arg, const struct bcfmt_node_ref *parent,
			   const struct bcfmt_key *key, enum bcfmt_child_fault fault,
			   enum bcfmt_key_fault key_fault);
	/* Key range of an interior node that no child covers; all of it when it has none. */
	bcfmt_err (*gap)(void *arg, const struct bcfmt_node_ref *parent, struct bcfmt_pos lo,
			 struct bcfmt_pos hi);
};

struct bcfmt_tree; /* a set's tree, prepared for walks: interior levels read, journal keys sorted */

/*
 * Reads the journal keys of the replay window and all interior levels, calling node, child and
 * gap, and raises gens from them. Leaves are not read yet. set must outlive the tree.
 */
BCFMT_API bcfmt_err bcfmt_tree_open(struct bcfmt_set *set, const struct bcfmt_tree_visitor *visitor,
				    struct bcfmt_tree **out);
BCFMT_API void bcfmt_tree_free(struct bcfmt_tree *tree);
BCFMT_API size_t bcfmt_tree_leaves(const struct bcfmt_tree *tree);
BCFMT_API size_t bcfmt_tree_nodes(const struct bcfmt_tree *tree); /* interior ones and leaves */
/* Ref i of the leaves in key order. */
BCFMT_API const struct bcfmt_node_ref *bcfmt_tree_leaf(const struct bcfmt_tree *tree, size_t i);

/*
 * Reads all leaves in device order on the context's threads, raises gens, calls node and leaf.
 * Staleness is judged with the gens known so far; *again is set when a gen rose after it had
 * been judged by, or when a leaf seems to have lost its end, which only a second look can prove:
 * then forget what the callbacks collected and call once more, gens are final from then on
 * (*again stays false). Nothing is judged without a leaf callback.
 */
BCFMT_API bcfmt_err bcfmt_tree_walk_leaves(struct bcfmt_tree *tree,
					   const struct bcfmt_tree_visitor *visitor, bool *again);
/* Walks until gens are final and tells nobody: before tree_range() and tree_physical(). */
BCFMT_API bcfmt_err bcfmt_tree_settle(struct bcfmt_tree *tree);
/*
 * Calls leaf for the leaves that hold positions of [lo, hi) in key order, on the calling thread.
 * Gens must be final: walk_leaves() first.
 */
BCFMT_API bcfmt_err bcfmt_tree_range(struct bcfmt_tree *tree, struct bcfmt_pos lo,
				     struct bcfmt_pos hi,
				     const struct bcfmt_tree_visitor *visitor);

/* leaf_ptr: of the leaf that the extent belongs to, 0 where there is none. */
typedef bcfmt_err (*bcfmt_placed_fn)(void *arg, const struct bcfmt_extent *extent,
				     uint64_t leaf_ptr);
/*
 * Calls placed for the final extents that touch [lo, hi) in the order of their place on the
 * cache, stale ones included. Sorts in memory up to the context's limit, then in temporary files.
 * Gens must be final: walk_leaves() first. E_IO when a leaf that could be read then cannot now.
 */
BCFMT_API bcfmt_err bcfmt_tree_physical(struct bcfmt_tree *tree, struct bcfmt_pos lo,
					struct bcfmt_pos hi, bcfmt_placed_fn placed, void *arg);

/* One key of the replay window. */
struct bcfmt_replay_key {
	struct bcfmt_key key;
	uint64_t seq;
	uint32_t word; /* position in its entry */
};
/* Keys of the replay window that were taken; bytes that they take in temporary files. */
BCFMT_API uint64_t bcfmt_tree_replay_keys(const struct bcfmt_tree *tree);
BCFMT_API uint64_t bcfmt_tree_spilled_bytes(const struct bcfmt_tree *tree);

BCFMT_END_DECLS

#endif
