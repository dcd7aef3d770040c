/* SPDX-License-Identifier: GPL-2.0-or-later */
/* A tree prepared for walks; shared by the files that build and walk it. */
#ifndef SET_TREE_IMPL_H
#define SET_TREE_IMPL_H

#include <pthread.h>

#include <bcfmt/loss.h>

#include "set/leaf_impl.h"
#include "set/set_impl.h"

struct bcfmt_tree {
	struct bcfmt_set *set; /* borrowed */
	struct replay *replay;
	struct replay *history; /* with what is older than the replay window; NULL: nothing is */
	struct vec leaves;     /* struct bcfmt_node_ref in key order; sectors 0: a gap */
	uint8_t *has_bad;      /* a leaf: sectors of it could not be read when all were walked */
	size_t n_interior;
	bool has_final_gens;   /* all leaves were read once */
	int has_suspect; /* atomic: a leaf seems to lack its end */
	pthread_mutex_t stray_lock;
	struct replay *strays; /* keys outside of their leaves, see found_strays.c; NULL: none */
	struct vec regions; /* struct bcfmt_span: where the interior nodes do not tell all */
	bool is_cut_off;    /* interior nodes point beyond the last bucket */
	int knows_all;      /* atomic, enum: see leaf_doubt.c */
	bool is_whole_life; /* the ring holds all that was ever written, by set_has_whole_life() */
	uint64_t found_seq; /* leaves that were found hold the keys of older entries; 0: not proved */
};

/* What of a leaf is older than which entries: see leaf_age.c. */
struct leaf_age {
	struct vec places; /* struct leaf_piece by place; order: the last bset that has it */
	struct vec fresh;  /* struct leaf_piece by place: new in a bset, which is its order */
	struct vec oldest; /* uint64_t a bset: oldest entry with a key new behind it */
	bool has_placeholder;
	bool has_dirty_placeholder;
};
void leaf_age_clear(struct leaf_age *age);

/* What one worker needs for node after node. */
struct worker {
	struct node_reader reader;
	struct leaf_scratch leaf;
	struct vec replay; /* struct bcfmt_replay_key */
	struct vec looks;  /* uint32_t, keys of a plain leaf */
	struct leaf_scratch journal; /* what the journal alone says of a leaf */
	struct vec ranges;
	struct vec words;  /* struct bcfmt_span: ranges of the keys in replay */
	struct vec doubts; /* struct bcfmt_span */
	struct leaf_age age;
};
void worker_clear(struct worker *worker);

/* How many nodes of this size are asked for before their turn: enough to keep a device busy. */
size_t nodes_ahead(const struct bcfmt_geometry *geo);
/* Tells the device that the node will be read soon. */
void ref_read_ahead(struct bcfmt_dev *dev, const struct bcfmt_node_ref *ref);

/*
 * Calls work(arg, worker, i) for i in order[0..n) on the context's threads; the caller's thread is
 * one of them and shows progress. Where refs is not NULL the nodes refs[i] are read ahead. The first
 * error stops all and is returned. Where prio sets are lost the caller's thread is the only one:
 * pointers that contradict each other are then judged by which of them was met first, and that must
 * not change from run to run.
 */
typedef bcfmt_err (*crew_fn)(void *arg, struct worker *worker, uint32_t index);
bcfmt_err crew_run(struct bcfmt_set *set, const char *pass, const struct bcfmt_node_ref *refs,
		   const uint32_t *order, size_t n, crew_fn work, void *arg);

/* Indexes 0..n-1 of refs by place on the device; refs without sectors come first. Freed by the
 * caller; NULL when memory is out. */
uint32_t *device_order(const struct bcfmt_node_ref *refs, size_t n);

/* Reads a ref into the worker's reader; *view tells nothing of its keys yet. E_NOMEM. */
bcfmt_err ref_read(struct bcfmt_set *set, struct worker *worker, const struct bcfmt_node_ref *ref,
		   struct bcfmt_node_view *view);
/* Counts the keys of what the worker read last into *view. E_NOMEM. */
bcfmt_err ref_count(struct worker *worker, struct bcfmt_node_view *view);

/*
 * Fills worker->age for a leaf without a fault, its keys in order, with worker->replay as its slice
 * of the journal. E_NOMEM.
 */
bcfmt_err leaf_age_learn(const struct bcfmt_set *set, struct worker *worker,
			 const struct bcfmt_node_view *view);
/*
 * All keys of this bset and of those in front of it were there before an entry was begun; true only
 * where that is proved. flushed_seq: set_flushed_before() that entry.
 */
bool leaf_age_is_before(const struct leaf_age *age, uint32_t bset, uint64_t flushed_seq);
/* No bset behind this one has the sector at this place; UINT32_MAX: none has it. */
uint32_t leaf_age_bset(const struct leaf_age *age, uint32_t inode, uint64_t sector, uint64_t ptr);

/*
 * Looks for what entries before the replay window (the first n_old keys of worker->replay) put
 * into a leaf, or dropped from it, and its resolved content in worker->leaf lacks. The first walk only notes that there
 * is something to look at (tree->has_suspect); later ones fill view->lost_sectors, lost_at.
 */
bcfmt_err leaf_find_lost(struct bcfmt_tree *tree, struct worker *worker,
			 struct bcfmt_node_view *view);

/* The resolved content of a leaf in worker->leaf shows that newer keys of it are missing. */
bool leaf_lacks_keys(const struct worker *worker);

/*
 * Where neither the leaf nor the journal, all of worker->replay, proves what is finally there:
 * fills view->doubts. For leaves that use the history, when all else is set in *view.
 */
bcfmt_err leaf_find_doubts(struct bcfmt_tree *tree, struct worker *worker,
			   struct bcfmt_node_view *view);

/* First leaf whose range ends after lo; the number of leaves when there is none. */
size_t tree_first_leaf(const struct bcfmt_tree *tree, struct bcfmt_pos lo);
/* Why what a leaf cannot prove is doubtful: BCFMT_LOSS_NODE or BCFMT_LOSS_ORDER. */
enum bcfmt_loss leaf_doubts_why(const struct bcfmt_node_view *view);

/* Notes that the interior nodes do not tell all of (lo, hi]. */
bcfmt_err tree_add_region(struct bcfmt_tree *tree, struct bcfmt_pos lo, struct bcfmt_pos hi);
/* Searches the device for the leaves of the regions and puts them into tree->leaves. */
bcfmt_err found_fill(struct bcfmt_tree *tree);

/* The interior levels: fills tree->leaves and n_interior. */
bcfmt_err interior_walk(struct bcfmt_tree *tree, const struct bcfmt_tree_visitor *visitor);

#endif
