/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What a search of the whole cache finds: btree nodes, each with the pointer that its checksum was
 * seeded with, prio sets, and what is known of them. It is made once for a set, and only when
 * something is missing.
 */
#ifndef SET_FOUND_H
#define SET_FOUND_H

#include "set/tree_impl.h"

enum found_kind { FOUND_NOTHING, FOUND_NODE, FOUND_PRIO };

#define FOUND_LEVEL_UNKNOWN UINT8_MAX

/* A node whose first bset is whole. */
struct found_node {
	uint64_t ptr;
	/* The range that its keys reach over, or that an interior node gave it. */
	struct bcfmt_pos first;
	struct bcfmt_pos last;
	uint32_t keys; /* of a size, and of no size 0 */
	uint8_t level;
	bool has_dirty;	       /* keys with the dirty bit */
	bool is_like_interior; /* most keys have the size of a node */
	bool is_named;	       /* an interior node that was found names it */
	bool is_old_root;      /* an entry before the newest names it as the root */
	bool is_unsure;	       /* of a repair that may have been cut off: found_relate.c */
};

/* A prio set with a right checksum. */
struct found_prio {
	uint64_t bucket;
	uint64_t seq;
	uint64_t next_bucket;
	uint32_t meta_bytes; /* of its layout */
	bool is_taken;	     /* what is known of gens is what it says */
};

struct found {
	struct vec nodes; /* struct found_node by place */
	struct vec prios; /* struct found_prio by place */
	uint8_t *kinds;	  /* enum found_kind, one a bucket */
	bool is_partial;  /* not all could be read */
};

/* Searches the cache; fills set->found unless it is there. E_NOMEM, E_CANCELLED. */
bcfmt_err found_scan(struct bcfmt_set *set);
void found_free(struct found *found);
/* The node in a bucket; NULL: none was found there. */
struct found_node *found_node_at(const struct bcfmt_set *set, uint64_t bucket);
/* Levels of the nodes, and who is named by whom. Raises gens by interior nodes in use. */
bcfmt_err found_relate(struct bcfmt_set *set);
/* Its pointer's gen is that of its bucket: it was in use when the prio sets were written. */
bool found_is_current(const struct bcfmt_set *set, uint64_t ptr);

/*
 * Every node that was in use when the newest prio sets were written holds the keys of the entries
 * before *seq, and all entries from *seq on are in the ring. False: that is not proved.
 */
bool found_proved_seq(const struct bcfmt_set *set, uint64_t *seq);
/*
 * By the prio sets no bucket had a node when they were written that has none now. Nodes of the
 * tree as far as it could be walked are known by BCFMT_USE_NODE.
 */
bcfmt_err found_has_all(struct bcfmt_set *set, bool *has_all);

/* Notes the keys of a leaf that are outside its range, during the first walk. Thread-safe. */
bcfmt_err strays_collect(struct bcfmt_tree *tree, const struct bcfmt_node_view *view, size_t index);
/* After the first walk. */
bcfmt_err strays_finish(struct bcfmt_tree *tree);
/* Those that belong into this leaf, into worker->leaf.strays. */
bcfmt_err strays_take(struct bcfmt_tree *tree, struct worker *worker,
		      const struct bcfmt_node_view *view);

/* How many of the leaf's slice of the journal need not be laid on. */
size_t found_skip(const struct bcfmt_tree *tree, const struct bcfmt_node_ref *ref,
		  const struct bcfmt_replay_key *keys, size_t n_old);
/* What a leaf that was found says is marked so. */
void found_tell_source(struct vec *extents);

#endif
