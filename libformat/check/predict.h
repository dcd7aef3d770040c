/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What a kernel would do with the devices. The passes of the check hand over, as they go, all that
 * a registration would stumble over: events, each with the stage at which a kernel meets it. What
 * is kept is bounded. At the end the stages are gone through in the kernel's order, once for every
 * kernel asked for.
 */
#ifndef CHECK_PREDICT_H
#define CHECK_PREDICT_H

#include <bcfmt/check.h>
#include <bcfmt/tree.h>

#include "base/vec.h"

struct check;

#define PREDICT_VALUES 4u
#define PREDICT_VALUE_BYTES 144u

/* Order of an event that can be met before or after any other of its stage. */
#define PREDICT_ANY_ORDER UINT64_MAX

/* What the registration does behind an error, which it does not look at everywhere. */
enum predict_flow {
	PREDICT_FLOW_ENDS,
	PREDICT_FLOW_MAY_GO_ON,
	PREDICT_FLOW_GOES_ON, /* and can meet worse */
};

struct predict_event {
	enum bcfmt_stage stage;
	/*
	 * The problem whose KERNEL rows tell line and effect for a kernel, of those of the function
	 * where one is given. NONE: line and effect stand here.
	 */
	enum bcfmt_problem_id id;
	const char *function;	  /* static */
	const char *line;	  /* static */
	enum bcfmt_effect effect; /* NONE: the row's; else instead of it */
	bool is_possible;	  /* it happens or not: what decides is not known here */
	enum predict_flow flow;
	bool is_late;		  /* an error that comes in while the registration goes on */
	bool is_of_leaf;	  /* made from final extents: void when leaves are walked again */
	bool is_end_of_knowledge; /* what comes at this stage and after it was not read */
	uint64_t stale_ptr;	  /* only if this pointer is stale by the gens of the whole set */
	uint64_t order;		  /* within the stage, smaller first; or PREDICT_ANY_ORDER */
	bool has_node;		  /* level and range of the node it happens in are set */
	bool hides_below;	  /* nodes below that one are not reached then */
	uint8_t level;
	struct bcfmt_pos lo;
	struct bcfmt_pos hi;
	unsigned int n_values;		  /* for the line's conversions, in order */
	char values[PREDICT_VALUE_BYTES]; /* one string behind the other */
};

/* A node that a kernel reads although the walk does not go there: so many are looked at. */
#define PREDICT_PROBES 16u

struct predict {
	struct vec kinds; /* of events */
	bool has_list;	  /* the kernel's search of the ring finds entries; below is the newest */
	struct bcfmt_jset newest;
	uint8_t root_raw[9 * 8]; /* the two keys of it with all their pointers */
	uint8_t uuid_raw[9 * 8];
	bool is_same_tree; /* the tree of that entry is the one that the check walks */
	bool is_same_uuids;
	bool is_same_prios;
	bool is_tree_whole;	  /* it was walked to its leaves */
	bool has_unfollowed;	  /* a kernel follows pointers that the walk does not */
	bool has_unfollowed_root; /*   from the root */
	unsigned int probes;
	uint8_t *is_listed_seen; /* per entry on the kernel's list: its keys were handed over */
	uint8_t *journaled;	 /* a bit a bucket: a key to replay points there */
	bool are_buckets_counted;
	uint64_t free_buckets;	/* that nothing points to */
	uint64_t clean_buckets; /* with clean data only */
	bool has_no_bucket;	/* there will be none for the uuid table */
};

/* Before and after the passes. */
bcfmt_err predict_begin(struct check *ck);
void predict_end(struct check *ck);

/* Keeps an event; thread-safe. Of many of one kind those that come first are kept. */
bcfmt_err predict_add(struct check *ck, const struct predict_event *event);
/* Values for the line of an event; what no longer fits is left out, and those behind it. */
void predict_value(struct predict_event *event, const char *text);
void predict_value_u64(struct predict_event *event, uint64_t value);
/* Drops what was made from the extents of leaves. */
void predict_forget_leaves(struct check *ck);

/* ---- hooks of the passes ---- */

/* Place of an entry on the kernel's list. */
struct predict_entry {
	bool is_listed;
	size_t position;
};
struct predict_entry predict_entry_begin(struct check *ck, size_t index);
/* One key of an entry; it: where it stands. */
bcfmt_err predict_entry_key(struct check *ck, const struct predict_entry *entry,
			    const struct bcfmt_key_iter *it, const struct bcfmt_key *key);
/* The keys of an entry do not fill it. */
bcfmt_err predict_entry_overrun(struct check *ck, const struct predict_entry *entry);
/* What a kernel replays and the check does not. After all entries of the window. */
bcfmt_err predict_entries_rest(struct check *ck);

/* True for a key of a leaf into a bucket that a node has, unless all kernels know it stale. */
bool predict_is_conflict(const struct bcfmt_set *set, const struct bcfmt_key *key);
/* A node that was read; is_odd: a key of it is one that a kernel may stumble over. */
bcfmt_err predict_node(struct check *ck, const struct bcfmt_node_view *view, bool is_odd);
/* A pointer that the walk does not follow; parent NULL: the root's. */
bcfmt_err predict_child(struct check *ck, const struct bcfmt_node_ref *parent,
			const struct bcfmt_key *key, enum bcfmt_child_fault fault);
/* The root has no child to go on with. */
bcfmt_err predict_childless_root(struct check *ck, const struct bcfmt_node_ref *root);
/* A final extent that is staler than kernels take. */
bcfmt_err predict_too_stale(struct check *ck, uint32_t inode, unsigned int stale);
/* The keys of a leaf that are marked; is_met: one of them in a bucket that a node has. */
bcfmt_err predict_leaf_marks(struct check *ck, const struct bcfmt_node_view *view, bool is_met);
/* A leaf, or a gap without one, and what is replayed into it. */
bcfmt_err predict_leaf_replay(struct check *ck, const struct bcfmt_node_view *view);

/* ---- at the end ---- */

/* Adds the events of headers and tables, evaluates, and fills the verdict. */
bcfmt_err predict_run(struct check *ck);
/* The events of one stage each, or of two. */
bcfmt_err predict_ring(struct check *ck); /* entries that are not found */
bcfmt_err predict_prios(struct check *ck);
bcfmt_err predict_pointers(struct check *ck);
bcfmt_err predict_marks(struct check *ck); /* journal keys against the nodes of the tree */
bcfmt_err predict_start(struct check *ck);

/* Buckets that the allocator collects before it writes their gens. */
uint64_t predict_batch_buckets(const struct bcfmt_geometry *geo);

/* The superblock's first fault; out->outcomes stays 0 when there is none. */
bcfmt_err predict_super(const struct bcfmt_member *member, struct bcfmt_prediction *out);
/* Walks the stages. */
bcfmt_err predict_evaluate(struct check *ck, struct bcfmt_prediction *out);
/* A backing device; cache: the prediction for the same kernel, NULL when no cache was given. */
bcfmt_err predict_backing(struct check *ck, const struct bcfmt_prediction *cache,
			  struct bcfmt_prediction *out);

/* The device is joined with the set when that comes up. */
bool predict_attaches(const struct check *ck, const struct bcfmt_member *member);
void predict_clear(struct bcfmt_prediction *prediction);

/* True when kernels like this one are meant by the row. */
bool predict_is_meant(const struct bcfmt_kernel_effect *row, unsigned int kernel);
/* The row of an event for a kernel; NULL: this kernel does not mind. */
const struct bcfmt_kernel_effect *predict_row(const struct predict_event *event,
					      unsigned int kernel);
/* Adds a line, with the values of the event (NULL: none), once. */
bcfmt_err predict_line(char **lines, size_t *n, size_t max, const char *pattern,
		       const struct predict_event *event);
/* Sets what follows from the outcomes that are possible. */
void predict_settle(struct bcfmt_prediction *out);
/* Adds an effect once. */
void predict_effect(struct bcfmt_prediction *out, enum bcfmt_effect effect,
		    enum bcfmt_problem_id id);

#endif
