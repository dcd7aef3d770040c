/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Repairing a set: a plan, a rehearsal on overlays, and the commit. */
#ifndef BCFMT_REPAIR_H
#define BCFMT_REPAIR_H

#include <bcfmt/base.h>
#include <bcfmt/check.h>
#include <bcfmt/dev.h>
#include <bcfmt/problem.h>
#include <bcfmt/set.h>
#include <bcfmt/undo.h>
#include <bcfmt/writeback.h>

BCFMT_BEGIN_DECLS

/*
 * The order of calls, each of them once, but agree and rehearse once more where that is asked for:
 *
 *     open, agree..., rehearse, writes, save, commit or copy, free
 *
 * open() checks the set over overlays and makes the plan; agree() says which of its items may be
 * done; rehearse() writes to the overlays and checks what came out; nothing before commit() writes
 * to a device. What is written is written anew to buckets that the old state does not use; one
 * journal entry without keys is the switch between the states, superblocks come last. A power cut
 * at any write leaves the old state or the new one, and the same repair can be run again.
 */
struct bcfmt_repair_run;

struct bcfmt_repair_params {
	struct bcfmt_check_params check; /* level: at least FULL is used */
	uint32_t page_bytes;             /* of the set; 0: 4096 */
	const enum bcfmt_role *roles;    /* one a device, NULL: all AUTO */
	uint64_t incarnation_seq;        /* which of two histories; 0: the one that is proved */
	bool is_shallow;                 /* entries older than the replay window are not used */
};

/* What can become of an item of the plan. */
enum bcfmt_plan_state {
	BCFMT_PLAN_OPEN,     /* can be done, nobody agreed to it yet */
	BCFMT_PLAN_AGREED,
	BCFMT_PLAN_REFUSED,  /* the user said no */
	BCFMT_PLAN_LEFT,     /* cannot be done, or only by an option of its own: why tells */
};

/* All findings of one problem that asks for a repair. */
struct bcfmt_plan_item {
	const struct bcfmt_problem *problem;
	uint64_t findings;
	enum bcfmt_plan_state state;
	const char *why; /* of an item that is LEFT; borrowed from the repair */
};

/* What the rehearsal came to. */
enum bcfmt_rehearsal {
	BCFMT_REHEARSAL_NOTHING,  /* nothing was agreed to that needs a write */
	BCFMT_REHEARSAL_READY,    /* may be committed */
	BCFMT_REHEARSAL_REJECTED, /* the result would not be good: fault tells what is wrong with it */
	BCFMT_REHEARSAL_MORE,     /* the result shows more to repair: agree to it, rehearse again */
};
/* The result of a rehearsal is MORE so many times at most. */
#define BCFMT_REHEARSALS_MORE_MAX 3u

/* What a repair made of the set. */
struct bcfmt_repair_counts {
	uint64_t kept_leaves;    /* stay where they are */
	uint64_t written_leaves;
	uint64_t written_nodes;  /* leaves included */
	uint64_t written_buckets;/* nodes, prio sets, uuid table */
	uint64_t dropped_sectors;/* dirty, whose keys were dropped because they cannot be kept */
	uint64_t freed_buckets;  /* clean cached data that was given up to make room */
	uint64_t freed_sectors;
	uint64_t journal_seq;    /* of the new entry; 0: none */
	uint64_t journal_bucket;
	uint64_t journal_sector; /* of the device */
};

/* One range that a commit writes. */
struct bcfmt_repair_write {
	struct bcfmt_dev *dev;  /* as given to open() */
	uint64_t offset_bytes;
	uint64_t len_bytes;
	unsigned int phase; /* 0 room, 1 new buckets, 2 prio sets, 3 journal entry, 4 superblocks */
	const char *purpose;    /* static */
};
#define BCFMT_REPAIR_PHASES 5u
typedef bcfmt_err (*bcfmt_repair_write_fn)(void *arg, const struct bcfmt_repair_write *write);

/*
 * Puts overlays over the devices, which need not be writable and must outlive *out, opens the set
 * there and checks it. A check that was cut short makes no plan: its error is returned. Errors of
 * bcfmt_set_open() and bcfmt_check_run(). Freed with bcfmt_repair_free().
 */
BCFMT_API bcfmt_err bcfmt_repair_open(struct bcfmt_ctx *ctx, struct bcfmt_dev *const *devs,
				      size_t n_devs, const struct bcfmt_repair_params *params,
				      struct bcfmt_repair_run **out);
BCFMT_API void bcfmt_repair_free(struct bcfmt_repair_run *repair); /* NULL is fine */

/* What open() found. All borrowed. */
BCFMT_API const struct bcfmt_set *bcfmt_repair_set(const struct bcfmt_repair_run *repair);
BCFMT_API const struct bcfmt_report *bcfmt_repair_report(const struct bcfmt_repair_run *repair);
BCFMT_API const struct bcfmt_verdict *bcfmt_repair_verdict(const struct bcfmt_repair_run *repair);
BCFMT_API const struct bcfmt_pass_stat *bcfmt_repair_stats(const struct bcfmt_repair_run *repair,
							   size_t *n_stats);
/* The device that was given for a member of that set; NULL when it is none. */
BCFMT_API struct bcfmt_dev *bcfmt_repair_device(const struct bcfmt_repair_run *repair,
						const struct bcfmt_member *member);
/* Items in the order of problem numbers; those that a rehearsal added come last. */
BCFMT_API size_t bcfmt_repair_items(const struct bcfmt_repair_run *repair);
BCFMT_API const struct bcfmt_plan_item *bcfmt_repair_item(const struct bcfmt_repair_run *repair,
							  size_t i);

/* A field of a superblock that is proposed anew. */
struct bcfmt_repair_field {
	const char *name;
	const char *value; /* with its unit; "" where there is only one */
	const char *text;  /* what it was derived from */
	bool is_guess;    /* nothing proves it */
};
/*
 * Superblocks that no kernel takes are proposed anew, from the journal, nodes and prio sets, from
 * the other devices of the set, from file systems that libblkid finds. open() checks the set with
 * them; they are written when all problems of all of them were agreed to, else nothing is. Fields
 * that change on device i, as given to open(); 0: its superblock stays.
 */
BCFMT_API size_t bcfmt_repair_super_fields(const struct bcfmt_repair_run *repair, size_t i);
/* Field k of them; borrowed. */
BCFMT_API struct bcfmt_repair_field
bcfmt_repair_super_field(const struct bcfmt_repair_run *repair, size_t i, size_t k);
/* What confirms the whole, "" for nothing; NULL when the superblock stays. */
BCFMT_API const char *bcfmt_repair_super_proof(const struct bcfmt_repair_run *repair, size_t i);

/* Says yes or no to item i. E_ARG for one that is LEFT. */
BCFMT_API bcfmt_err bcfmt_repair_agree(struct bcfmt_repair_run *repair, size_t i, bool is_agreed);
/* Yes to all that are OPEN and whose consent is at most this. */
BCFMT_API void bcfmt_repair_agree_all(struct bcfmt_repair_run *repair, enum bcfmt_consent most);

/* ---- orders, which no finding asks for ---- */

/*
 * Why the metadata of the cache cannot be written for an order, as things were agreed to; NULL when
 * it can. Static.
 */
BCFMT_API const char *bcfmt_repair_why_no_orders(const struct bcfmt_repair_run *repair);
/*
 * The keys of adopted inodes become keys of their device: under its slot, or under the newest of
 * the inodes where it has none, which then is its slot again. Only dirty ones do; clean ones can be
 * older than what the device holds. The device is marked as attached, and as dirty. Nothing is
 * ordered for a device that is attached and for which these inodes have nothing. home is that of
 * bcfmt_repair_set(), and borrowed. E_ARG when bcfmt_repair_why_no_orders() has a reason; devices
 * that are refused are left out. Where none is left nothing is ordered, and the plan says why.
 */
BCFMT_API bcfmt_err bcfmt_repair_order_adoption(struct bcfmt_repair_run *repair,
						const struct bcfmt_home *home);

/* What became of a device's dirty data, and what is to become of the device. */
struct bcfmt_home_order {
	const struct bcfmt_home_device *device; /* of bcfmt_repair_set() */
	const struct bcfmt_home_done *done;     /* its keys that are home are marked clean */
	bool is_clean;    /* nothing dirty is left of it: mark it so, unless it is stale or detached */
	bool is_detached; /* mark it as attached to no cache, without a set */
	bool is_slot_freed; /* and its slot as that of a detached one; needs is_detached */
};
/*
 * Copying, see bcfmt_writeback_run(), with the set of this repair; before rehearse(). Writes to
 * params->target, not to an overlay.
 */
BCFMT_API bcfmt_err bcfmt_repair_writeback(struct bcfmt_repair_run *repair,
					   const struct bcfmt_home_device *device,
					   const struct bcfmt_writeback_params *params,
					   struct bcfmt_home_done *done);
/*
 * Marks what is home; orders are copied, what they point to is borrowed. Without
 * has_marks only superblocks are written, and keys stay as they are. Otherwise E_ARG as above.
 * kernel: bch_cached_dev_detach(), bcache_device_detach(), bch_writeback_thread().
 */
BCFMT_API bcfmt_err bcfmt_repair_order_home(struct bcfmt_repair_run *repair,
					    const struct bcfmt_home_order *orders, size_t n_orders,
					    bool has_marks);

/*
 * Writes what was agreed to into the overlays, opens and checks the result. REJECTED when a
 * problem that was to be repaired is still there or a new one has come, or when a kernel would not
 * register what it registers or ought to; the fault of the context then says which. A repair that
 * needs all of several items is not done for some of them: those become LEFT. MORE when what comes
 * of it can be mended in the superblocks: the plan then has items that are OPEN for it.
 */
BCFMT_API bcfmt_err bcfmt_repair_rehearse(struct bcfmt_repair_run *repair,
					  enum bcfmt_rehearsal *result);
BCFMT_API const struct bcfmt_repair_counts *
bcfmt_repair_counts(const struct bcfmt_repair_run *repair);
/* Set, findings and verdict after the repair; NULL before rehearse() or when there was nothing. */
BCFMT_API const struct bcfmt_set *bcfmt_repair_set_after(const struct bcfmt_repair_run *repair);
BCFMT_API const struct bcfmt_report *bcfmt_repair_report_after(const struct bcfmt_repair_run *repair);
BCFMT_API const struct bcfmt_verdict *
bcfmt_repair_verdict_after(const struct bcfmt_repair_run *repair);

/* Tells every write of the commit in its order. What it returns, if not OK, ends it. */
BCFMT_API bcfmt_err bcfmt_repair_writes(const struct bcfmt_repair_run *repair,
					bcfmt_repair_write_fn told, void *arg);
/* Saves what the commit overwrites, and syncs. undo is borrowed. */
BCFMT_API bcfmt_err bcfmt_repair_save(const struct bcfmt_repair_run *repair, struct bcfmt_undo *undo);
/*
 * Writes phase after phase to the devices, with a flush after each. E_ARG when a device that is
 * written to is not writable or when the result was not READY. Once the first journal entry is
 * being written it does not look at the cancel flag any more.
 */
BCFMT_API bcfmt_err bcfmt_repair_commit(struct bcfmt_repair_run *repair);
/*
 * Writes device i as it is after the repair to to: what it holds, holes left out, then phase after
 * phase. Allowed whatever the result was, except REJECTED. *bad: what could not be read.
 */
BCFMT_API bcfmt_err bcfmt_repair_copy(struct bcfmt_repair_run *repair, size_t i, struct bcfmt_dev *to,
				      struct bcfmt_bad_read *bad);

BCFMT_END_DECLS

#endif
