/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What the files of the set floor share. */
#ifndef SET_SET_IMPL_H
#define SET_SET_IMPL_H

#include <bcfmt/set.h>
#include <bcfmt/tree.h>

#include "base/runs.h"
#include "base/vec.h"
#include "read/read.h"

/* Bits of gen_flags in struct bcfmt_bucket. */
enum bucket_gen_flags {
	BUCKET_GEN_ON_DISK = 1u << 0, /* gen began with what a prio set tells */
	BUCKET_GEN_CLAIMED = 1u << 1, /* a thread stores the first gen of a bucket without one */
	BUCKET_GEN_SEEN = 1u << 2,    /* it did */
	BUCKET_GEN_JUDGED = 1u << 3,  /* a pointer was judged by gen: a later rise matters */
	BUCKET_HAS_DIRTY = 1u << 4,   /* holds live dirty data of tree or window: never given up */
	BUCKET_MAYBE_TWICE = 1u << 5, /* the check: two extents may have a sector in common */
	BUCKET_GEN_OLDER = 1u << 7,   /* what the disk tells of gen is from older prio sets */
	BUCKET_LOOK_AGAIN = 1u << 6,  /* the check: they may by the first look */
};

/* Bits of use that the extents of leaves set. */
#define USE_LIVE (BCFMT_USE_CLEAN | BCFMT_USE_DIRTY)

/* Raises a bucket's gen; true when pointers into that bucket had been judged by it before. */
bool set_raise_gen(struct bcfmt_set *set, uint64_t ptr);
/* It would raise it, or be the first that is known of the bucket. */
bool set_would_raise_gen(const struct bcfmt_set *set, uint64_t ptr);
/*
 * Does so for a key of a leaf or of the journal. One that no kernel would take does not, nor one
 * into a bucket of metadata: it is wrong, and must not make a node look freed.
 */
bool set_raise_gen_by_extent(struct bcfmt_set *set, const struct bcfmt_key *key);
/* Sets gen_flags of a bucket; with GEN_JUDGED pointers into it are judged by gen from now on. */
void set_mark_bucket(struct bcfmt_set *set, uint64_t bucket, unsigned int flags);
/*
 * Judges an extent: sets stale, and tells the bucket of one that is not: USE_LIVE, and before gens
 * are final BUCKET_HAS_DIRTY. Thread-safe.
 */
void set_judge(struct bcfmt_set *set, bool has_final_gens, struct bcfmt_extent *extent);
/*
 * All of a leaf: struct bcfmt_extent. Without marks_live no bucket is told USE_LIVE: that is for
 * set_mark_live(), when these are known to be what the leaf holds.
 */
void set_judge_all(struct bcfmt_set *set, bool has_final_gens, bool marks_live,
		   struct vec *extents);
void set_mark_live(struct bcfmt_set *set, const struct vec *extents);
/* Adds use bits; thread-safe. */
void set_mark_use(struct bcfmt_set *set, uint64_t bucket, unsigned int use);

/* Follows the prio chain of set->newest. */
bcfmt_err set_load_prios(struct bcfmt_set *set);
/* Looks for the newest older chain that is whole, if that one is not. */
bcfmt_err set_load_older_prios(struct bcfmt_set *set);
/* The geometry with the layout of prio sets that a machine with such pages writes. */
struct bcfmt_geometry prio_layout_for(const struct bcfmt_geometry *geo, uint32_t page_bytes);
/* Calls clean extents stale of which the gens do not tell whether they are. */
void set_drop_unproved_clean(const struct bcfmt_set *set, struct vec *extents);
/* Mends slots of it that cannot be right from the newest older table. */
bcfmt_err set_load_older_uuids(struct bcfmt_set *set);
/*
 * Why an entry cannot be what a kernel wrote; NULL when it can. Times prove nothing: clocks are
 * set back.
 */
const char *uuid_implausible(const struct bcfmt_uuid_entry *entry);
/*
 * What was read as the table is what came into its bucket after it: the bucket was handed out, no
 * device that is known is in it, and it has entries that cannot be.
 */
bool uuids_are_overwritten(const struct bcfmt_set *set, uint64_t ptr);
/* Reads the uuid table of set->newest. */
bcfmt_err set_load_uuids(struct bcfmt_set *set);

/* Scratch of one thread for resolving leaves; zero to start, free with leaf_scratch_clear(). */
struct leaf_piece {
	uint64_t start_sector;
	uint64_t end_sector;
	uint64_t ptr;
	uint32_t inode;
	uint32_t order; /* of writing: the highest wins */
	bool is_dirty;
	bool has_data;
	uint8_t source;
};
struct leaf_scratch {
	struct vec pieces;  /* struct leaf_piece */
	struct vec heap;    /* uint32_t, indexes into pieces */
	struct vec clean;   /* struct leaf_piece: clean keys of the tree by mapping */
	struct vec extents; /* struct bcfmt_extent */
	struct vec strays;  /* struct bcfmt_replay_key: from other leaves, older than all else */
	struct vec merged;  /* struct leaf_piece, to sort the pieces */
	struct vec runs;    /* size_t, where sorted pieces begin */
	struct vec wanted;  /* struct leaf_piece: ranges of dirty keys of the journal */
	bool keeps_erased;  /* what keys without data have is listed, too: its ptr is 0 */
	struct vec orders;  /* uint32_t, with that: order of the piece of each extent */
};
void leaf_scratch_clear(struct leaf_scratch *scratch);

/*
 * What a leaf finally holds: bsets oldest to newest, then n_replay journal keys in order (those of
 * entries before window_seq count as history), the last writer wins a sector. Keys are cut to the
 * ref's range; invalid ones are left out. The result is in scratch->extents, staleness not judged
 * yet. E_NOMEM. kernel: bch_extent_sort_fixup(), bch_extent_insert_fixup(), bch_journal_replay().
 */
bcfmt_err leaf_resolve(struct leaf_scratch *scratch, const struct bcfmt_geometry *geo,
		       const struct bcfmt_node_ref *ref, const struct bcfmt_node *node,
		       const struct bcfmt_replay_key *replay, size_t n_replay,
		       uint64_t window_seq);
/*
 * Looks whether the leaf in view->node is plain; then sets view->is_plain and what is counted of
 * its keys, and lists in looks (uint32_t, indexes of keys) those that may be stale or whose bucket
 * lacks a mark that a judgement leaves. Of the others this was the judgement: they are valid. Of a
 * leaf that is not plain nothing is touched, of gens neither. E_NOMEM.
 */
bcfmt_err leaf_plain_scan(const struct bcfmt_set *set, struct vec *looks, bool has_final_gens,
			  struct bcfmt_node_view *view, struct bcfmt_node *node);
/* Raises gens by the keys of a plain leaf; looks may grow. True as from set_raise_gen(). */
bool leaf_plain_raise(struct bcfmt_set *set, struct vec *looks, const struct bcfmt_node *node);
/* Judges the keys that need it; true when none of the leaf's is stale. */
bool leaf_plain_is_valid(struct bcfmt_set *set, const struct vec *looks, bool has_final_gens,
			 const struct bcfmt_node *node);
/* Judges them, and makes an extent of every key of the leaf. E_NOMEM. */
bcfmt_err leaf_plain_extents(struct bcfmt_set *set, const struct vec *looks, bool has_final_gens,
			     const struct bcfmt_node *node, struct vec *extents);
/* Every dirty key that leaf_resolve() took from the tree is one that it took from the journal. */
bool leaf_is_in_journal(struct leaf_scratch *scratch);
/* Sorts the keys that leaf_resolve() took for leaf_has_place(); the extents stay as they are. */
void leaf_sort_places(struct leaf_scratch *scratch);
/* One of those keys put the sector of the inode at this place on the cache. */
bool leaf_has_place(const struct leaf_scratch *scratch, uint32_t inode, uint64_t sector,
		    uint64_t ptr);

/* Fills the counters of view and of its node's bsets: order, sizes, placeholders. E_NOMEM. */
bcfmt_err node_view_count(struct bcfmt_node_view *view, struct bcfmt_node *node,
			  struct vec *ranges);

/* Mends newest.btree_level where older entries prove another one; needs has_newest. */
void set_mend_level(struct bcfmt_set *set);
/* Fills window_seq; needs has_newest. */
void set_find_window(struct bcfmt_set *set);
/* The ring holds every entry since the set was made, proved by the prio sets. Needs has_newest. */
bool set_has_whole_life(const struct bcfmt_set *set);

/*
 * Every key of entries before this one was in a leaf on the disk before entry seq was begun; 0: not
 * known. kernel: journal_write_unlocked(), bch_journal_next().
 */
uint64_t set_flushed_before(const struct bcfmt_set *set, uint64_t seq);
/* The prio sets have the gens of all places that entries up to this one name; 0: not known. */
uint64_t set_gens_written_until(const struct bcfmt_set *set);

/* Keys of the journal by place. */
struct replay;
/*
 * Those of the replay window; with_history of all entries that lead to the newest without a hole.
 * *gen_rose is set when a gen rose that had been judged by.
 */
bcfmt_err replay_load(struct bcfmt_set *set, bool with_history, bool *gen_rose,
		      struct replay **out);
/*
 * The ring holds usable entries from before the window: they lead to it without a hole, and are
 * not a mix of two histories.
 */
bool replay_has_history(const struct bcfmt_set *set);
/* First of the ring's entries that lead to the newest without a hole; needs has_newest. */
size_t replay_history_begin(const struct bcfmt_set *set);
/* The first entry taken is number 1: nothing was ever written that is not in an entry. */
bool replay_is_whole(const struct replay *replay);
/* Number of the first entry taken. */
uint64_t replay_first_seq(const struct replay *replay);
/* And it is one that a kernel begins a new set with. */
bool replay_is_of_new_set(const struct replay *replay);
/*
 * Keys were left out because they cannot be, or have a gen that was never given: what they cover is
 * not the last word.
 */
bool replay_has_impossible(const struct replay *replay);
/* In an entry to replay it is not known where keys begin: what it names may be anything. */
bool replay_is_garbled(const struct replay *replay);
/*
 * Entries that end within a key: the buffer in which a kernel makes an entry still has the words of
 * an older one behind it. A key that an older entry has is none of this one, since no place is
 * written twice; any other may be. `all` has the older entries, too. kernel: journal_write(),
 * bch_alloc_sectors().
 */
bcfmt_err replay_settle_tails(struct replay *replay, struct replay *all, uint64_t window_seq);
/* Ranges (struct bcfmt_span) of keys that were taken although they say a wrong number of pointers. */
const struct vec *replay_doubts(const struct replay *replay);
/*
 * Calls fn for the ranges, in order, that no key of the entries from this number on touches: one
 * ends where the next key begins, and the last is the end of the key space.
 */
typedef bcfmt_err (*replay_silent_fn)(void *arg, struct bcfmt_pos lo, struct bcfmt_pos hi);
bcfmt_err replay_each_silent(struct replay *replay, uint64_t from_seq, replay_silent_fn fn,
			     void *arg);
/*
 * Number of the newest entry, of all that lead to the newest without a hole, that put this sector of
 * the inode at this sector of the cache; 0: none did. E_NOMEM.
 */
bcfmt_err tree_put_seq(const struct bcfmt_tree *tree, uint32_t inode, uint64_t sector,
		       uint64_t cache_sector, uint64_t *seq);
/* An own collection of keys: new, add, finish. */
bcfmt_err replay_new(struct bcfmt_ctx *ctx, struct replay **out);
bcfmt_err replay_add(struct replay *replay, const struct bcfmt_replay_key *key);
bcfmt_err replay_finish(struct replay *replay);
void replay_free(struct replay *replay);
uint64_t replay_count(const struct replay *replay);
uint64_t replay_spilled_bytes(const struct replay *replay);
/*
 * The keys that overlap (lo, hi] in the order of the journal, into out (struct
 * bcfmt_replay_key). Thread-safe.
 */
bcfmt_err replay_slice(struct replay *replay, struct bcfmt_pos lo, struct bcfmt_pos hi,
		       struct vec *out);

#endif
