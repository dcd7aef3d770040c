/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The time line of a range. Every key over it that journal, tree and given-up nodes have is
 * collected; keys of nodes are dated by the entries of the ring that are the same write. A sector of
 * the cache is written once in a generation of its bucket, so the inode, the distance from place to
 * sector and the generation name a write, whatever was cut off or merged since.
 */
#include <bcfmt/history.h>

#include <stdlib.h>
#include <string.h>

#include "base/checked.h"
#include "set/found.h"

struct span_of_write {
	uint64_t end_sector;
	uint64_t seq;
};
/* Entries that overlap at one place are rewrites of it; more than a few at once there are not. */
#define SPANS_MAX 64u
/* Nor so many keys of nodes; those that were met first may get a lower number then. */
#define WAITING_MAX 4096u

struct history {
	struct bcfmt_tree *tree;
	struct bcfmt_set *set;
	uint32_t inode;
	uint64_t start_sector;
	uint64_t end_sector;
	uint64_t first_seq;  /* of the entries that lead to the newest without a hole */
	struct runs *writes; /* struct bcfmt_past by write, see write_cmp() */
	struct runs *nodes;  /* those of nodes, by node */
	struct runs *line;   /* all, in the order of time */
	struct node_reader reader;
	struct vec waiting; /* struct bcfmt_past of nodes, that what follows may date */
	struct vec bset;    /* the same, of one bset */
	struct bcfmt_history_gaps gaps;
};

static uint64_t start_of(const struct bcfmt_past *past)
{
	return past->key.low - bcfmt_key_sectors(&past->key);
}

/* Which write it is, but for the sectors; without data, none. */
static uint64_t distance_of(const struct bcfmt_past *past)
{
	return bcfmt_ptr_sector(past->key.ptr) - start_of(past);
}

static int u64_cmp(uint64_t a, uint64_t b)
{
	return a < b ? -1 : a > b;
}

/* The rest of the order, so that it is a total one. */
static int place_cmp(const struct bcfmt_past *x, const struct bcfmt_past *y)
{
	int order = u64_cmp(x->source, y->source);

	if (!order)
		order = u64_cmp(x->node_ptr, y->node_ptr);
	if (!order)
		order = u64_cmp(x->block, y->block);
	if (!order)
		order = u64_cmp(x->seq, y->seq);
	return order ? order : u64_cmp(x->word, y->word);
}

/* By write; in it by first sector, entries before nodes. */
static int write_cmp(const void *a, const void *b)
{
	const struct bcfmt_past *x = a, *y = b;
	int order = u64_cmp(bcfmt_key_has_data(&x->key), bcfmt_key_has_data(&y->key));

	if (!order)
		order = u64_cmp(distance_of(x), distance_of(y));
	if (!order)
		order = u64_cmp(bcfmt_ptr_gen(x->key.ptr), bcfmt_ptr_gen(y->key.ptr));
	if (!order)
		order = u64_cmp(bcfmt_ptr_dev(x->key.ptr), bcfmt_ptr_dev(y->key.ptr));
	if (!order)
		order = u64_cmp(start_of(x), start_of(y));
	return order ? order : place_cmp(x, y);
}

static int node_cmp(const void *a, const void *b)
{
	return place_cmp(a, b);
}

static int time_cmp(const void *a, const void *b)
{
	const struct bcfmt_past *x = a, *y = b;
	int order = u64_cmp(x->after_seq, y->after_seq);

	return order ? order : place_cmp(x, y);
}

static bool is_in_range(const struct history *h, const struct bcfmt_key *key)
{
	uint64_t sectors = bcfmt_key_sectors(key);

	if (bcfmt_key_inode(key) != h->inode || !sectors || sectors > key->low)
		return false;
	return key->low - sectors < h->end_sector && key->low > h->start_sector;
}

static bcfmt_err take(struct history *h, struct bcfmt_past *past)
{
	if (bcfmt_key_has_data(&past->key))
		past->stale = (uint8_t)bcfmt_set_stale(h->set, past->key.ptr);
	return runs_add(h->writes, past, 1);
}

/* ---- what there is ---- */

static enum bcfmt_past_entry entry_kind(const struct history *h, uint64_t seq)
{
	if (!h->set->has_newest || seq > h->set->newest.seq)
		return BCFMT_PAST_OTHER;
	if (seq >= h->set->newest.last_seq)
		return BCFMT_PAST_TO_REPLAY;
	return seq >= h->first_seq ? BCFMT_PAST_HISTORY : BCFMT_PAST_CUT_OFF;
}

static bcfmt_err collect_entry(struct history *h, const struct bcfmt_jset *jset)
{
	struct bcfmt_key_iter it = bcfmt_key_iter_init(jset->keys, jset->keys_field);
	struct bcfmt_past past;
	bcfmt_err err = BCFMT_OK;

	memset(&past, 0, sizeof(past)); /* padding too: records are written to files */
	past.source = BCFMT_PAST_JOURNAL;
	past.entry = (uint8_t)entry_kind(h, jset->seq);
	past.order = BCFMT_PAST_IN_SEQUENCE;
	past.seq = past.after_seq = jset->seq;
	while (!err && bcfmt_key_iter_next(&it, &past.key)) {
		past.word = it.word;
		past.stale = 0;
		if (is_in_range(h, &past.key))
			err = take(h, &past);
	}
	return err;
}

static bcfmt_err collect_journal(struct history *h)
{
	const struct bcfmt_journal *journal = &h->set->journal;
	uint8_t *buf = NULL;
	size_t buf_bytes = 0;
	bcfmt_err err = BCFMT_OK;

	for (size_t i = 0; !err && i < journal->n_entries; i++) {
		struct bcfmt_jset jset;

		if (bcfmt_ctx_is_cancelled(h->set->ctx)) {
			err = BCFMT_E_CANCELLED;
			break;
		}
		err = bcfmt_journal_entry_load(journal, i, &buf, &buf_bytes, &jset);
		if (err == BCFMT_E_DAMAGED) {
			h->gaps.entries++;
			err = BCFMT_OK;
		} else if (!err) {
			err = collect_entry(h, &jset);
		}
	}
	free(buf);
	return err;
}

static bcfmt_err collect_node(struct history *h, enum bcfmt_past_source source, uint64_t ptr,
			      uint32_t sectors, bool is_found)
{
	const struct bcfmt_node *node = &h->reader.node;
	struct bcfmt_past past;
	bcfmt_err err;

	err = node_read(&h->reader, h->set->cache.dev, &h->set->geo, ptr, sectors);
	memset(&past, 0, sizeof(past));
	past.source = (uint8_t)source;
	past.order = BCFMT_PAST_NOT_PROVED;
	past.node_ptr = ptr;
	past.is_found_leaf = is_found;
	h->gaps.nodes += !err && (h->reader.bad.sectors || node->fault);
	for (uint32_t i = 0; !err && i < node->n_bsets; i++) {
		const struct bcfmt_bset *bset = &node->bsets[i];
		struct bcfmt_key_iter it = bcfmt_key_iter_init(bset->keys, bset->words);

		past.block = bset->block;
		past.is_stray = bset->is_stray;
		while (!err && !bset->fault && bcfmt_key_iter_next(&it, &past.key)) {
			past.word = it.word;
			past.stale = 0;
			if (is_in_range(h, &past.key))
				err = take(h, &past);
		}
	}
	return err;
}

static bcfmt_err collect_leaves(struct history *h)
{
	struct bcfmt_pos lo = { h->inode, h->start_sector }, hi = { h->inode, h->end_sector };
	bcfmt_err err = BCFMT_OK;

	for (size_t i = 0; !err && i < bcfmt_tree_leaves(h->tree); i++) {
		const struct bcfmt_node_ref *ref = bcfmt_tree_leaf(h->tree, i);

		if (bcfmt_pos_cmp(ref->hi, lo) <= 0)
			continue;
		if (bcfmt_pos_cmp(ref->lo, hi) >= 0)
			break;
		if (ref->sectors)
			err = collect_node(h, BCFMT_PAST_LEAF, ref->ptr, ref->sectors,
					   ref->is_found);
	}
	return err;
}

/* A leaf, by all that its keys tell, that the tree does not reach and that has keys over the range. */
static bool is_given_up(const struct history *h, const struct found_node *node)
{
	const struct bcfmt_bucket *at = &h->set->buckets[bcfmt_ptr_bucket(&h->set->geo, node->ptr)];
	struct bcfmt_pos lo = { h->inode, h->start_sector }, hi = { h->inode, h->end_sector };

	if (!node->keys ||
	    (node->level && (node->level != FOUND_LEVEL_UNKNOWN || node->is_like_interior)))
		return false;
	if (at->use & BCFMT_USE_NODE && found_is_current(h->set, node->ptr))
		return false;
	return bcfmt_pos_cmp(node->first, hi) < 0 && bcfmt_pos_cmp(node->last, lo) > 0;
}

static bcfmt_err collect_old_nodes(struct history *h)
{
	bcfmt_err err = found_scan(h->set);

	h->gaps.is_search_partial = !err && h->set->found->is_partial;
	for (size_t i = 0; !err && i < h->set->found->nodes.n; i++) {
		const struct found_node *node = VEC_AT(&h->set->found->nodes, struct found_node, i);

		if (bcfmt_ctx_is_cancelled(h->set->ctx))
			err = BCFMT_E_CANCELLED;
		else if (is_given_up(h, node))
			err = collect_node(h, BCFMT_PAST_OLD_NODE, node->ptr,
					   h->set->geo.node_sectors, false);
	}
	return err;
}

/* ---- when it was ---- */

static void add_span(struct span_of_write *spans, size_t *n, const struct bcfmt_past *past)
{
	struct span_of_write span = { past->key.low, past->seq };
	size_t at = 0;

	/* What ends before this one begins is behind all that follows. */
	for (size_t i = 0; i < *n; i++)
		if (spans[i].end_sector > start_of(past))
			spans[at++] = spans[i];
	*n = at;
	if (*n < SPANS_MAX) {
		spans[(*n)++] = span;
		return;
	}
	/* A lower number is still proved. */
	for (size_t i = 0; i < SPANS_MAX; i++) {
		if (spans[i].end_sector <= span.end_sector) {
			spans[i] = span;
			return;
		}
	}
}

static void date_key(struct bcfmt_past *past, uint64_t seq)
{
	if (seq <= past->seq)
		return;
	past->seq = seq;
	past->order = BCFMT_PAST_SAME_WRITE;
}

static bool is_same_place(const struct bcfmt_past *x, const struct bcfmt_past *y)
{
	return bcfmt_key_has_data(&x->key) && bcfmt_key_has_data(&y->key) &&
	       distance_of(x) == distance_of(y) &&
	       bcfmt_ptr_gen(x->key.ptr) == bcfmt_ptr_gen(y->key.ptr) &&
	       bcfmt_ptr_dev(x->key.ptr) == bcfmt_ptr_dev(y->key.ptr);
}

/* Hands on the keys of nodes that end at or before the sector; all but the last few when many wait. */
static bcfmt_err flush_waiting(struct history *h, uint64_t sector)
{
	size_t kept = 0, drop = h->waiting.n < WAITING_MAX ? 0 : WAITING_MAX / 2;
	bcfmt_err err = BCFMT_OK;

	for (size_t i = 0; !err && i < h->waiting.n; i++) {
		struct bcfmt_past *past = VEC_AT(&h->waiting, struct bcfmt_past, i);

		if (i < drop || past->key.low <= sector)
			err = runs_add(h->nodes, past, 1);
		else
			memcpy(VEC_AT(&h->waiting, struct bcfmt_past, kept++), past, sizeof(*past));
	}
	h->waiting.n = kept;
	return err;
}

/* What starts in the middle of a key that was met before dates it too: keys are merged. */
static bcfmt_err sweep(struct history *h, struct span_of_write *spans, size_t *n_spans,
		       struct bcfmt_past *past)
{
	struct bcfmt_past *slot;

	if (past->source == BCFMT_PAST_JOURNAL) {
		for (size_t i = 0; i < h->waiting.n && past->entry != BCFMT_PAST_OTHER; i++)
			date_key(VEC_AT(&h->waiting, struct bcfmt_past, i), past->seq);
		if (past->entry != BCFMT_PAST_OTHER)
			add_span(spans, n_spans, past);
		return runs_add(h->line, past, 1);
	}
	for (size_t i = 0; i < *n_spans; i++)
		if (spans[i].end_sector > start_of(past))
			date_key(past, spans[i].seq);
	slot = vec_push(&h->waiting, sizeof(*slot));
	if (!slot)
		return BCFMT_E_NOMEM;
	memcpy(slot, past, sizeof(*slot));
	return BCFMT_OK;
}

/* Entries go to the line; keys of nodes, with what entry they come from, to the nodes. */
static bcfmt_err date_keys(struct history *h)
{
	struct span_of_write spans[SPANS_MAX];
	struct bcfmt_past last, past;
	size_t n_spans = 0;
	const void *record;
	bcfmt_err err = runs_sort(h->writes);

	memset(&last, 0, sizeof(last));
	while (!err && !(err = runs_next(h->writes, &record))) {
		bool is_same;

		memcpy(&past, record, sizeof(past));
		is_same = is_same_place(&last, &past);
		if (!is_same)
			n_spans = 0;
		last = past;
		err = flush_waiting(h, is_same ? start_of(&past) : UINT64_MAX);
		if (!err)
			err = sweep(h, spans, &n_spans, &past);
	}
	return err == BCFMT_END ? flush_waiting(h, UINT64_MAX) : err;
}

static bcfmt_err flush_bset(struct history *h, uint64_t after_seq)
{
	bcfmt_err err = BCFMT_OK;

	for (size_t i = 0; !err && i < h->bset.n; i++) {
		struct bcfmt_past *past = VEC_AT(&h->bset, struct bcfmt_past, i);

		past->after_seq = after_seq;
		err = runs_add(h->line, past, 1);
	}
	h->bset.n = 0;
	return err;
}

/* Bsets of a node are written one after the other. */
static bcfmt_err date_bsets(struct history *h)
{
	uint64_t after_seq = 0;
	const void *record;
	bcfmt_err err = runs_sort(h->nodes);

	while (!err && !(err = runs_next(h->nodes, &record))) {
		const struct bcfmt_past *past = record, *first = h->bset.items;
		bool is_same_node = h->bset.n && first->node_ptr == past->node_ptr &&
				    first->source == past->source;
		struct bcfmt_past *slot;

		if (!is_same_node || first->block != past->block)
			err = flush_bset(h, after_seq);
		if (!is_same_node)
			after_seq = 0;
		after_seq = max_u64(after_seq, past->seq);
		slot = err ? NULL : vec_push(&h->bset, sizeof(*slot));
		if (!slot)
			err = err ? err : BCFMT_E_NOMEM;
		else
			memcpy(slot, past, sizeof(*slot));
	}
	return err == BCFMT_END ? flush_bset(h, after_seq) : err;
}

static bcfmt_err make_runs(struct history *h)
{
	uint64_t max_bytes = max_u64(bcfmt_ctx_max_bytes(h->set->ctx) / 3, 1u << 20);
	bcfmt_err err;

	err = runs_new(h->set->ctx, sizeof(struct bcfmt_past), max_bytes, write_cmp, &h->writes);
	if (!err)
		err = runs_new(h->set->ctx, sizeof(struct bcfmt_past), max_bytes, node_cmp,
			       &h->nodes);
	if (!err)
		err = runs_new(h->set->ctx, sizeof(struct bcfmt_past), max_bytes, time_cmp,
			       &h->line);
	return err;
}

static bcfmt_err tell(struct history *h, bcfmt_past_fn past, void *arg)
{
	const void *record;
	bcfmt_err err = runs_sort(h->line);

	while (!err && !(err = runs_next(h->line, &record)))
		err = past(arg, record);
	return err == BCFMT_END ? BCFMT_OK : err;
}

bcfmt_err bcfmt_history_each(struct bcfmt_tree *tree, uint32_t inode, uint64_t start_sector,
			     uint64_t end_sector, bcfmt_past_fn past, void *arg,
			     struct bcfmt_history_gaps *gaps)
{
	struct history h = {
		.tree = tree,
		.set = tree->set,
		.inode = inode,
		.start_sector = start_sector,
		.end_sector = end_sector,
	};
	bcfmt_err err = make_runs(&h);

	if (h.set->has_newest)
		h.first_seq = h.set->journal.entries[replay_history_begin(h.set)].seq;
	if (!err)
		err = collect_journal(&h);
	if (!err)
		err = collect_leaves(&h);
	if (!err)
		err = collect_old_nodes(&h);
	if (!err)
		err = date_keys(&h);
	if (!err)
		err = date_bsets(&h);
	if (!err)
		err = tell(&h, past, arg);
	if (gaps)
		*gaps = h.gaps;
	runs_free(h.writes);
	runs_free(h.nodes);
	runs_free(h.line);
	vec_free(&h.waiting);
	vec_free(&h.bset);
	node_reader_clear(&h.reader);
	return err;
}
