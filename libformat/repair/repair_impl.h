/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What the files of the repair floor share. */
#ifndef REPAIR_REPAIR_IMPL_H
#define REPAIR_REPAIR_IMPL_H

#include <bcfmt/repair.h>
#include <bcfmt/tree.h>
#include <bcfmt/write.h>
#include <bcfmt/write_tree.h>

#include "base/vec.h"

/*
 * The prio chain comes after all that it has the gens of: without a journal a search takes a whole
 * chain as the word that the nodes are there, too.
 */
enum repair_phase { PHASE_ROOM, PHASE_BUCKETS, PHASE_PRIOS, PHASE_JOURNAL, PHASE_SUPERS };

/*
 * A device with an overlay a phase, each over the one before. What is read through the last one is
 * the state after the repair; what is written goes to the overlay of its phase.
 */
struct repair_member {
	struct bcfmt_dev *dev; /* borrowed */
	struct bcfmt_dev *phase[BCFMT_REPAIR_PHASES];
	struct super_proposal *proposal; /* of a superblock that is bad, else NULL */
	struct bcfmt_super stored;	 /* with a proposal: the superblock as it is */
};

/* An entry that was added to the journal to make room. */
struct journal_room {
	uint32_t ring_index;
	uint32_t sector; /* in its bucket */
	uint32_t sectors;
};

struct bcfmt_repair_run {
	struct bcfmt_ctx *ctx;
	struct bcfmt_repair_params params;
	enum bcfmt_role *roles;
	struct repair_member *members;
	struct bcfmt_dev **tops; /* the last overlay of each */
	size_t n_members;

	struct bcfmt_report *report_supers; /* with the bad superblocks as they are, else NULL */
	struct bcfmt_set *set;		    /* with the proposed ones */
	struct bcfmt_report *report;
	struct bcfmt_verdict verdict;
	struct bcfmt_pass_stat stats[BCFMT_PASSES_MAX];
	size_t n_stats;
	struct vec items;      /* struct bcfmt_plan_item */
	struct orders *orders; /* NULL: none */

	/* Those of rehearsals after which there was more to do, the oldest first. */
	struct bcfmt_report *reports_more[BCFMT_REHEARSALS_MORE_MAX];
	size_t n_more;
	struct bcfmt_set *set_after;
	struct bcfmt_report *report_after;
	struct bcfmt_verdict verdict_after;
	enum bcfmt_rehearsal result;
	struct bcfmt_repair_counts counts;
	struct vec room; /* struct journal_room */
};

/* ---- plan ---- */

bcfmt_err plan_make(struct bcfmt_repair_run *repair);
/* The problem was found and may be repaired. */
bool plan_is_agreed(const struct bcfmt_repair_run *repair, enum bcfmt_problem_id id);
/*
 * Whether the metadata of the cache is to be written anew: something agreed to asks for it. Where
 * something that comes along with it was not agreed to, those that were become LEFT.
 */
bool plan_wants_rewrite(struct bcfmt_repair_run *repair);
/* Some repair that was agreed to hangs on the keys of sound leaves. */
bool plan_needs_keys(const struct bcfmt_repair_run *repair);
/* Entries of the uuid table are to be put right. */
bool plan_rebuilds_uuids(const struct bcfmt_repair_run *repair);
bool plan_is_any_agreed(const struct bcfmt_repair_run *repair);
/* Something was agreed to that is not done without being asked for. */
bool plan_may_ask(const struct bcfmt_repair_run *repair);
/* An item that can be left alone turned out to be one that must be; false for all others. */
bool plan_leave(struct bcfmt_repair_run *repair, enum bcfmt_problem_id id, const char *why);
/* Adoption was asked for; is_any: and there is something to adopt. */
void plan_adopt(struct bcfmt_repair_run *repair, bool is_any);
/*
 * A rehearsal found a problem, so many times, that the plan does not know of or not of all: true
 * when it has an open or agreed item for it now. Only for what superblocks alone mend.
 */
bool plan_extend(struct bcfmt_repair_run *repair, const struct bcfmt_problem *problem,
		 uint64_t findings);
/* Nothing of what was agreed to is done. */
void plan_leave_all(struct bcfmt_repair_run *repair, const char *why);

/* Why the plan, as it was agreed to, lets no metadata be written; NULL when it does. */
const char *plan_why_no_rewrite(const struct bcfmt_repair_run *repair);

/* ---- buckets ---- */

/* What is known of a bucket beside the set's map; two bytes a bucket. */
struct repair_buckets {
	const struct bcfmt_set *set;
	uint8_t *gen;	   /* the highest that any pointer to the bucket has */
	uint8_t *marks;	   /* enum bucket_mark */
	uint64_t next;	   /* to be looked at for allocation */
	unsigned int ease; /* what may be allocated besides what nobody ever named */
	uint64_t taken;
	uint8_t *block; /* a block of a bucket that is looked at */
	struct scan *scan;
};
enum bucket_mark {
	BUCKET_NAMED = 1u << 0,	   /* by a pointer that is not stale, wherever it was found */
	BUCKET_TAKEN = 1u << 1,	   /* by the new state */
	BUCKET_KEPT = 1u << 2,	   /* of a leaf that stays */
	BUCKET_SOURCE = 1u << 4,   /* of a leaf that is yet to be read */
	BUCKET_GIVEN_UP = 1u << 3, /* clean data in it is dropped */
	BUCKET_TABLE = 1u << 5,	   /* a search found it, and the old state is read by it */
};

bcfmt_err buckets_new(const struct bcfmt_set *set, struct repair_buckets **out);
void buckets_free(struct repair_buckets *buckets); /* NULL is fine */
/* A pointer that was met anywhere: where it is not stale its bucket is evidence. Thread-safe. */
void buckets_name(struct repair_buckets *buckets, uint64_t ptr);
/* Tables that a search found, which nothing names. The set was searched. */
void buckets_keep_found(struct repair_buckets *buckets);
/* All pointers of all entries of the journal. */
bcfmt_err buckets_name_journal(struct repair_buckets *buckets);
/*
 * A bucket that the old state does not use and its gen there: above all that is known. Of those
 * that there are, the ones that are no evidence first. E_UNSUPPORTED when there is none.
 */
bcfmt_err buckets_take(struct repair_buckets *buckets, uint64_t *bucket, uint8_t *gen);
/* Buckets that could be taken now, structures or not. */
uint64_t buckets_unused(const struct repair_buckets *buckets);

/* ---- rewrite ---- */

/* What becomes of an extent. One that is moved comes back at another place of the key space. */
enum edit { EDIT_KEEP, EDIT_DROP, EDIT_MOVE };
/*
 * Asked for every final extent, from worker threads: it may change the extent (cut it, make it
 * clean) before it is kept. *is_changed is set when the leaf cannot stay as it is.
 */
typedef enum edit (*edit_fn)(void *arg, struct bcfmt_extent *extent, bool *is_changed);

typedef bcfmt_err (*emit_fn)(void *arg, const struct bcfmt_extent *extent);

struct rewrite_params {
	edit_fn edit; /* NULL: keep all */
	void *edit_arg;
	const struct bcfmt_uuid_entry *uuids; /* NULL: those of the set; n_uuids of the set */
	/*
	 * NULL, or what a leaf finally holds is asked for: merge gets its extents and calls emit for
	 * what it is to hold, in the order of keys. It is called for leaves that touches() says.
	 */
	bool (*touches)(void *arg, const struct bcfmt_node_ref *ref);
	bcfmt_err (*merge)(void *arg, struct bcfmt_tree *tree, const struct bcfmt_node_ref *ref,
			   const struct bcfmt_extent *extents, size_t n_extents, emit_fn emit,
			   void *emit_arg);
	void *merge_arg;
};

/*
 * Writes the metadata of the cache anew: leaves that are not sound or that the journal touches,
 * everything above the leaves, uuid table, prio chain, a journal entry. Fills repair->counts.
 */
bcfmt_err rewrite_cache(struct bcfmt_repair_run *repair, const struct rewrite_params *params);

/* The decisions that the plan asks for, as an edit; arg is the repair. */
enum edit plan_edit(void *arg, struct bcfmt_extent *extent, bool *is_changed);

/* ---- orders ---- */

/* Of the run; NULL is fine. */
void orders_free(struct orders *orders);
/* They ask for new metadata; what they add to a rewrite is put into *params. */
bool orders_want_rewrite(const struct orders *orders);
void orders_fill(const struct bcfmt_repair_run *repair, struct rewrite_params *params);
/* What they do to a superblock of member i of the backing devices. */
void orders_super(const struct orders *orders, size_t backing, struct bcfmt_super *super);
/* The problem may come of them. */
bool orders_expect(const struct orders *orders, enum bcfmt_problem_id id);

struct tables {
	struct bcfmt_key uuid_bucket;
	uint64_t prio_bucket;
};
/* Writes uuid table and prio chain to buckets of phase 0. */
/* What the new tree has of an inode. */
struct inode_use {
	uint64_t dirty_sectors;
	uint64_t clean_sectors;
	uint64_t end_sector; /* of its last extent */
};
/* Puts entries right, as far as the plan says; has set->n_uuids of both. tree: of the set. */
bcfmt_err uuids_mend(const struct bcfmt_repair_run *repair, struct bcfmt_tree *tree,
		     const struct inode_use *use, struct bcfmt_uuid_entry *entries);
/* A live entry whose fields exclude each other. */
bool uuids_is_implausible(const struct bcfmt_uuid_entry *entry);
/*
 * Gives devices of the set that no entry names the slots that are theirs, where that can be told;
 * where it cannot, *is_all_named becomes false.
 */
bcfmt_err uuids_name(const struct bcfmt_repair_run *repair, struct bcfmt_tree *tree,
		     const struct inode_use *use, struct bcfmt_uuid_entry *entries,
		     bool *is_all_named);
bcfmt_err tables_write(struct bcfmt_repair_run *repair, struct repair_buckets *buckets,
		       const struct bcfmt_uuid_entry *uuids, struct tables *out);
/*
 * Puts an entry, in its phase, where a kernel's search finds it and where nothing that is needed
 * lies. One of PHASE_JOURNAL is found alone, one of PHASE_ROOM with the window that it ends.
 */
bcfmt_err journal_place(struct bcfmt_repair_run *repair, const struct bcfmt_jset *jset,
			enum repair_phase phase);

/* Why a problem of a superblock cannot be repaired; borrowed, NULL when it can. */
const char *super_why_left(const struct bcfmt_repair_run *repair,
			   const struct bcfmt_problem *problem);
/* Superblock changes that the plan has, to phase 2. */
bcfmt_err supers_write(struct bcfmt_repair_run *repair, bool *is_written);

/* Proposes the superblocks of members where they are bad; what is proposed goes to phase 2. */
bcfmt_err supers_stage(struct bcfmt_repair_run *repair);
void supers_free(struct bcfmt_repair_run *repair);
/* Adds what is wrong with the superblocks that are replaced to the report. */
bcfmt_err supers_report(struct bcfmt_repair_run *repair);
/* All proposals were agreed to; *is_any: there are some. */
bool supers_are_agreed(const struct bcfmt_repair_run *repair, bool *is_any);
/* Why a superblock with this problem is not replaced; borrowed, NULL when it is. */
const char *supers_why_left(const struct bcfmt_repair_run *repair,
			    const struct bcfmt_problem *problem);

/* Checks what lies in the overlays, and judges. */
bcfmt_err rehearse_check(struct bcfmt_repair_run *repair);

/* Member of the cache; the set has one. */
struct repair_member *repair_cache(struct bcfmt_repair_run *repair);

#endif
