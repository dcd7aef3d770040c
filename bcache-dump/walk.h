/* SPDX-License-Identifier: GPL-2.0-or-later */
/* A tree opened for reading: gens final, damage told. */
#ifndef WALK_H
#define WALK_H

#include <pthread.h>

#include <bcfmt/tree.h>

#include "dump.h"

typedef bcfmt_err (*walk_node_fn)(void *arg, const struct bcfmt_node_view *view);
typedef bcfmt_err (*walk_leaf_fn)(void *arg, const struct bcfmt_node_view *view,
				  const struct bcfmt_extent *extents, size_t n_extents);

enum hurt_why {
	HURT_NONE,
	HURT_GAP,   /* no pointer to a node */
	HURT_CHILD, /* a pointer that leads nowhere */
	HURT_UNREADABLE,
	HURT_FAULT,   /* the layout of the node */
	HURT_OVERRUN, /* keys do not tile a bset */
	HURT_DISORDERED,
	HURT_FOUND, /* a leaf that no parent names, and nothing proves that it is the newest */
};

/* A part of the key space whose keys may be missing or older than they should be. */
struct hurt {
	struct bcfmt_pos lo; /* keys that lie after it ... */
	struct bcfmt_pos hi; /* ... and end at or before this */
	uint64_t bucket;
	enum hurt_why why;
	uint8_t level;
	enum bcfmt_child_fault child_fault;
	enum bcfmt_key_fault key_fault;
	enum bcfmt_bset_fault node_fault;
	uint32_t fault_block;
	bool is_proved; /* the journal knows all that should be here */
	uint64_t count; /* sectors that cannot be read, keys out of order */
	uint64_t of_count;
};
#define HURTS_MAX 4096u

struct walk {
	struct dump *d;
	struct bcfmt_tree *tree;
	struct bcfmt_pos lo; /* damage elsewhere is of no interest: [lo, hi) */
	struct bcfmt_pos hi;
	bool is_damaged; /* within that range */
	pthread_mutex_t lock;
	struct hurt *hurts; /* at most HURTS_MAX */
	size_t n_hurts;
	size_t hurts_cap;
	uint64_t total_hurts; /* those not kept included */
	walk_node_fn on_node;
	void *arg;
};

/*
 * Reads the interior levels. lo, hi: what the caller wants to know of. on_node (may be NULL) sees
 * every interior node, on several threads at once. Without a journal entry to read by there is
 * no tree: DUMP_DAMAGED, with a message. Ends with walk_close() also after a failure.
 */
int walk_open(struct walk *walk, struct dump *d, struct bcfmt_pos lo, struct bcfmt_pos hi,
	      walk_node_fn on_node, void *arg);
/*
 * Reads all leaves, so that gens are final, and tells damage on stderr. leaf may be NULL; else it
 * is called on several threads at once, and reset before it sees leaves anew.
 */
bcfmt_err walk_settle(struct walk *walk, walk_leaf_fn leaf, void (*reset)(void *arg), void *arg);
/*
 * For callers whose result rests on the journal: entries that have to be replayed and are not there
 * are damage, and told.
 */
void walk_tell_gaps(struct walk *walk);
/* For callers that read the leaves themselves: takes note of a node; tells what was noted. */
bcfmt_err walk_note(struct walk *walk, const struct bcfmt_node_view *view);
void walk_tell(struct walk *walk);
void walk_close(struct walk *walk);

/* What is wrong with the node itself. */
enum hurt_why walk_node_hurt(const struct bcfmt_node_view *view);
/* Of a leaf, in a leaf callback: what it holds is proved all the same. */
static inline bool walk_is_proved(const struct bcfmt_node_view *view)
{
	return !view->n_doubts;
}

#endif
