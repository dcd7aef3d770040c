/* SPDX-License-Identifier: GPL-2.0-or-later */
/* A tree opened for reading: gens final, damage told. */
#include "walk.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

/* Room for a position: "1048575:9223372036854775807". */
#define POS_TEXT_BYTES 32u

static const char *pos_text(struct bcfmt_pos pos, char out[POS_TEXT_BYTES])
{
	if (!bcfmt_pos_cmp(pos, bcfmt_pos_max()))
		snprintf(out, POS_TEXT_BYTES, "end");
	else
		snprintf(out, POS_TEXT_BYTES, "%" PRIu32 ":%" PRIu64, pos.inode, pos.sector);
	return out;
}

static bcfmt_err add_hurt(struct walk *walk, const struct hurt *hurt)
{
	bcfmt_err err = BCFMT_OK;

	pthread_mutex_lock(&walk->lock);
	walk->total_hurts++;
	if (walk->n_hurts == walk->hurts_cap && walk->hurts_cap < HURTS_MAX) {
		size_t cap = walk->hurts_cap ? 4 * walk->hurts_cap : 16;
		struct hurt *grown = realloc(walk->hurts, cap * sizeof(*grown));

		if (grown) {
			walk->hurts = grown;
			walk->hurts_cap = cap;
		} else {
			err = BCFMT_E_NOMEM;
		}
	}
	if (walk->n_hurts < walk->hurts_cap)
		walk->hurts[walk->n_hurts++] = *hurt;
	pthread_mutex_unlock(&walk->lock);
	return err;
}

enum hurt_why walk_node_hurt(const struct bcfmt_node_view *view)
{
	if (!view->ref->sectors)
		return HURT_GAP;
	if (view->bad.sectors)
		return HURT_UNREADABLE;
	if (view->node->fault)
		return HURT_FAULT;
	if (view->is_overrun)
		return HURT_OVERRUN;
	/* Children are sorted before they are followed, whatever the order of their keys. */
	if (view->is_disordered && !view->ref->level)
		return HURT_DISORDERED;
	return view->ref->is_found && view->n_doubts ? HURT_FOUND : HURT_NONE;
}

static bcfmt_err note(struct walk *walk, const struct bcfmt_node_view *view, bool is_proved)
{
	enum hurt_why why = walk_node_hurt(view);
	struct hurt hurt = {
		.lo = view->ref->lo,
		.hi = view->ref->hi,
		.bucket = bcfmt_ptr_bucket(&walk->d->set->geo, view->ref->ptr),
		.why = why,
		.level = view->ref->level,
		.node_fault = view->node->fault,
		.fault_block = view->node->fault_block,
		.count = why == HURT_UNREADABLE ? view->bad.sectors : view->skipped_backwards,
		.of_count = view->keys,
		.is_proved = is_proved,
	};

	return why ? add_hurt(walk, &hurt) : BCFMT_OK;
}

bcfmt_err walk_note(struct walk *walk, const struct bcfmt_node_view *view)
{
	return note(walk, view, false);
}

static bcfmt_err see_interior(void *arg, const struct bcfmt_node_view *view)
{
	struct walk *walk = arg;
	bcfmt_err err;

	/* What is below is judged leaf by leaf, unless it is the nodes that are asked for. */
	err = note(walk, view, !walk->on_node);
	if (!err && walk->on_node)
		err = walk->on_node(walk->arg, view);
	return err;
}

static bcfmt_err see_child(void *arg, const struct bcfmt_node_ref *parent,
			   const struct bcfmt_key *key, enum bcfmt_child_fault fault,
			   enum bcfmt_key_fault key_fault)
{
	struct walk *walk = arg;
	struct hurt hurt = {
		.hi = bcfmt_key_end(key),
		.bucket = bcfmt_ptr_bucket(&walk->d->set->geo, key->ptr),
		.why = HURT_CHILD,
		.level = (uint8_t)(parent && parent->level ? parent->level - 1 : 0),
		.child_fault = fault,
		.key_fault = key_fault,
		/* Of the range it is known later what is proved, but not which of two is the newer. */
		.is_proved = !walk->on_node && fault != BCFMT_CHILD_DUPLICATE &&
			     !bcfmt_key_is_zero_pos(key),
	};

	if (!parent) {
		hurt.hi = bcfmt_pos_max();
		hurt.level = (uint8_t)walk->d->set->newest.btree_level;
	}
	return add_hurt(walk, &hurt);
}

/*
 * The range of a child that was not followed went to its right neighbour: it begins where the
 * leaf that has it now begins.
 */
static void place_child(const struct walk *walk, struct hurt *hurt)
{
	size_t low = 0, high = bcfmt_tree_leaves(walk->tree);

	while (low < high) {
		size_t mid = low + (high - low) / 2;

		if (bcfmt_pos_cmp(bcfmt_tree_leaf(walk->tree, mid)->hi, hurt->hi) < 0)
			low = mid + 1;
		else
			high = mid;
	}
	if (low < bcfmt_tree_leaves(walk->tree))
		hurt->lo = bcfmt_tree_leaf(walk->tree, low)->lo;
}

/* A kernel reads the history with the highest numbers, which need not be the newest. */
static void tell_histories(struct walk *walk)
{
	const struct bcfmt_journal_histories *two = &walk->d->set->histories;
	const char *name = dump_cache_name(walk->d);

	if (!two->is_found || walk->d->opt.incarnation_seq)
		return;
	walk->is_damaged = true;
	cli_error(name, "the journal holds two histories of the set, read by entry %" PRIu64 ": %s",
		  walk->d->set->newest.seq, two->evidence);
	if (two->newer_seq)
		cli_error(name, "--incarnation %" PRIu64 " reads %s", two->newer_seq,
			  two->is_proved ? "what was written last" : "the other");
}

int walk_open(struct walk *walk, struct dump *d, struct bcfmt_pos lo, struct bcfmt_pos hi,
	      walk_node_fn on_node, void *arg)
{
	struct bcfmt_tree_visitor visitor = {
		.arg = walk,
		.node = see_interior,
		.child = see_child,
	};
	const struct bcfmt_journal *journal = &d->set->journal;
	bcfmt_err err;

	*walk = (struct walk){ .d = d, .lo = lo, .hi = hi, .on_node = on_node, .arg = arg };
	pthread_mutex_init(&walk->lock, NULL);
	err = bcfmt_set_search(d->set);
	if (err)
		return dump_failed(d, err);
	if (!d->set->has_tree) {
		cli_error(
			dump_cache_name(d), "%s",
			journal->is_other_endian ? "written by a big-endian machine"
			: journal->bad_read.sectors
				? "the journal cannot be read: no way to the tree"
			: journal->has_entries
				? "the newest journal entry cannot be read again: no way to the tree"
				: "the journal is empty: there is no tree");
		return DUMP_DAMAGED;
	}
	if (d->set->is_without_journal) {
		walk->is_damaged = true;
		cli_error(dump_cache_name(d),
			  "the journal is empty: the tree is what a search of the cache found");
	}
	tell_histories(walk);
	err = bcfmt_tree_open(d->set, &visitor, &walk->tree);
	if (err)
		return dump_failed(d, err);
	for (size_t i = 0; i < walk->n_hurts; i++)
		if (walk->hurts[i].why == HURT_CHILD)
			place_child(walk, &walk->hurts[i]);
	/* Of others it is known later what is proved of them. */
	for (size_t i = 0; on_node && i < bcfmt_tree_leaves(walk->tree) && !err; i++) {
		const struct bcfmt_node_ref *ref = bcfmt_tree_leaf(walk->tree, i);
		struct hurt hurt = { .lo = ref->lo, .hi = ref->hi, .why = HURT_GAP };

		if (!ref->sectors)
			err = add_hurt(walk, &hurt);
	}
	return err ? dump_failed(d, err) : DUMP_DONE;
}

void walk_tell_gaps(struct walk *walk)
{
	const struct bcfmt_set *set = walk->d->set;
	const struct bcfmt_journal *journal = &set->journal;
	uint64_t expected = set->newest.last_seq, gone = 0;

	for (size_t i = 0; i < journal->n_entries; i++) {
		uint64_t seq = journal->entries[i].seq;

		if (seq > set->newest.seq)
			break;
		if (seq < expected)
			continue;
		gone += seq - expected;
		expected = seq + 1;
	}
	if (!gone)
		return;
	walk->is_damaged = true;
	cli_error(dump_cache_name(walk->d),
		  "journal entries missing of %" PRIu64 "-%" PRIu64 ", which have to be replayed: "
		  "%" PRIu64 "; what they said may be older here",
		  set->newest.last_seq, set->newest.seq, gone);
}

struct settle {
	struct walk *walk;
	walk_leaf_fn leaf;
	void *arg;
};

static bcfmt_err settle_leaf(void *arg, const struct bcfmt_node_view *view,
			     const struct bcfmt_extent *extents, size_t n_extents)
{
	struct settle *settle = arg;
	bcfmt_err err = BCFMT_OK;

	if (view->ref->sectors || !settle->walk->on_node)
		err = note(settle->walk, view, walk_is_proved(view));
	if (!err && settle->leaf)
		err = settle->leaf(settle->arg, view, extents, n_extents);
	return err;
}

bcfmt_err walk_settle(struct walk *walk, walk_leaf_fn leaf, void (*reset)(void *arg), void *arg)
{
	struct settle settle = { walk, leaf, arg };
	struct bcfmt_tree_visitor visitor = { .arg = &settle, .leaf = settle_leaf };
	size_t n_hurts = walk->n_hurts;
	uint64_t total_hurts = walk->total_hurts;
	bool again = false;
	bcfmt_err err;

	do {
		if (reset)
			reset(arg);
		walk->n_hurts = n_hurts;
		walk->total_hurts = total_hurts;
		err = bcfmt_tree_walk_leaves(walk->tree, &visitor, &again);
	} while (!err && again);
	if (!err)
		walk_tell(walk);
	return err;
}

/* By place, nodes before the children they do not know. */
static int hurt_cmp(const void *a, const void *b)
{
	const struct hurt *x = a, *y = b;
	int order = bcfmt_pos_cmp(x->lo, y->lo);

	if (!order)
		order = bcfmt_pos_cmp(x->hi, y->hi);
	if (order)
		return order;
	if (x->level != y->level)
		return x->level > y->level ? -1 : 1;
	if (x->bucket != y->bucket)
		return x->bucket < y->bucket ? -1 : 1;
	return x->why < y->why ? -1 : x->why > y->why;
}

static const char *child_text(const struct hurt *hurt)
{
	const char *text = bcfmt_key_fault_text(hurt->key_fault);

	switch (hurt->child_fault) {
	case BCFMT_CHILD_INVALID:
		return *text ? text : "bad";
	case BCFMT_CHILD_SEEN:
		return "leads to a node that was reached before";
	case BCFMT_CHILD_OTHER_LEVEL:
		return "leads to a node of another level";
	case BCFMT_CHILD_METADATA:
		return "leads to a bucket of other metadata";
	case BCFMT_CHILD_DUPLICATE:
		return "a second one for its range";
	case BCFMT_CHILD_OTHER_MEMBER:
		return "leads to another cache device";
	case BCFMT_CHILD_OK:
		break;
	}
	return "not followed";
}

static void tell_hurt(const struct walk *walk, const struct hurt *hurt)
{
	const char *name = dump_cache_name(walk->d);
	char lo[POS_TEXT_BYTES], hi[POS_TEXT_BYTES];
	char place[160];

	snprintf(place, sizeof(place), "bucket %" PRIu64 " (level %u, %s to %s)", hurt->bucket,
		 hurt->level, pos_text(hurt->lo, lo), pos_text(hurt->hi, hi));
	switch (hurt->why) {
	case HURT_GAP:
		cli_error(name, "no btree node for %s to %s", lo, hi);
		break;
	case HURT_CHILD:
		cli_error(name, "btree pointer to %s: %s", place, child_text(hurt));
		break;
	case HURT_UNREADABLE:
		cli_error(name, "node in %s: %" PRIu64 " sectors cannot be read", place,
			  hurt->count);
		break;
	case HURT_FAULT:
		cli_error(name, "node in %s: %s at block %" PRIu32, place,
			  bcfmt_bset_fault_text(hurt->node_fault), hurt->fault_block);
		break;
	case HURT_OVERRUN:
		cli_error(name, "node in %s: the keys do not fill their set", place);
		break;
	case HURT_DISORDERED:
		cli_error(name, "node in %s: out of order at %" PRIu64 " of %" PRIu64 " keys; %s",
			  place, hurt->count, hurt->of_count,
			  hurt->is_proved ? "the journal proves what it holds"
					  : "read in physical order");
		break;
	case HURT_FOUND:
		cli_error(name, "node in %s: found by a search, nothing proves that it is the newest",
			  place);
		break;
	case HURT_NONE:
		break;
	}
}

void walk_tell(struct walk *walk)
{
	if (walk->n_hurts)
		qsort(walk->hurts, walk->n_hurts, sizeof(*walk->hurts), hurt_cmp);
	for (size_t i = 0; i < walk->n_hurts; i++) {
		const struct hurt *hurt = &walk->hurts[i];

		if (bcfmt_pos_cmp(hurt->lo, walk->hi) >= 0 ||
		    bcfmt_pos_cmp(hurt->hi, walk->lo) <= 0)
			continue;
		walk->is_damaged |= !hurt->is_proved;
		tell_hurt(walk, hurt);
	}
	if (walk->total_hurts == walk->n_hurts)
		return;
	walk->is_damaged = true;
	cli_error(dump_cache_name(walk->d), "btree damage in %" PRIu64 " more places",
		  walk->total_hurts - walk->n_hurts);
}

void walk_close(struct walk *walk)
{
	bcfmt_tree_free(walk->tree);
	free(walk->hurts);
	pthread_mutex_destroy(&walk->lock);
}
