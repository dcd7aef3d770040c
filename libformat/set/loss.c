/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Collects ranges that are lost or doubtful, and hands them out merged. */
#include <bcfmt/loss.h>

#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "base/checked.h"
#include "set/tree_impl.h"

#define RUNS_BYTES_MIN (1u << 20)

struct loss_record {
	struct bcfmt_pos lo;
	struct bcfmt_pos hi;
	uint32_t kind;
	uint32_t padding;
};

struct bcfmt_losses {
	struct bcfmt_ctx *ctx; /* borrowed */
	pthread_mutex_t lock;
	struct runs *lasting; /* struct loss_record; of everything but leaves */
	struct runs *leaves;  /* the same; after finish() all of them */
	struct vec children;  /* struct child: pointers that were not followed */
	bool is_finished;
};

/* A child whose range is known when all that were followed are. */
struct child {
	struct bcfmt_pos hi;
	bool is_root;
};

const char *bcfmt_loss_name(enum bcfmt_loss kind)
{
	static const char *const names[BCFMT_LOSS_KINDS] = {
		[BCFMT_LOSS_STALE] = "stale", [BCFMT_LOSS_UNREADABLE] = "unreadable",
		[BCFMT_LOSS_PLACE] = "place", [BCFMT_LOSS_NODE] = "node",
		[BCFMT_LOSS_ORDER] = "order", [BCFMT_LOSS_JOURNAL] = "journal",
		[BCFMT_LOSS_TWICE] = "twice",
	};

	return (unsigned int)kind < BCFMT_LOSS_KINDS ? names[kind] : "";
}

static int record_cmp(const void *a, const void *b)
{
	const struct loss_record *x = a, *y = b;
	int order = bcfmt_pos_cmp(x->lo, y->lo);

	if (!order)
		order = bcfmt_pos_cmp(x->hi, y->hi);
	return order ? order : (x->kind > y->kind) - (x->kind < y->kind);
}

static bcfmt_err new_runs(struct bcfmt_ctx *ctx, struct runs **out)
{
	uint64_t max_bytes = max_u64(bcfmt_ctx_max_bytes(ctx) / 8, RUNS_BYTES_MIN);

	return runs_new(ctx, sizeof(struct loss_record), max_bytes, record_cmp, out);
}

bcfmt_err bcfmt_losses_new(struct bcfmt_ctx *ctx, struct bcfmt_losses **out)
{
	struct bcfmt_losses *losses = calloc(1, sizeof(*losses));
	bcfmt_err err;

	*out = NULL;
	if (!losses)
		return bcfmt_fail(ctx, BCFMT_E_NOMEM, "no memory for lost ranges");
	losses->ctx = ctx;
	if (pthread_mutex_init(&losses->lock, NULL)) {
		free(losses);
		return bcfmt_fail(ctx, BCFMT_E_SYSTEM, "no lock to be had");
	}
	err = new_runs(ctx, &losses->lasting);
	if (!err)
		err = new_runs(ctx, &losses->leaves);
	if (err) {
		bcfmt_losses_free(losses);
		return err;
	}
	*out = losses;
	return BCFMT_OK;
}

void bcfmt_losses_free(struct bcfmt_losses *losses)
{
	if (!losses)
		return;
	runs_free(losses->lasting);
	runs_free(losses->leaves);
	vec_free(&losses->children);
	pthread_mutex_destroy(&losses->lock);
	free(losses);
}

static bcfmt_err add(struct bcfmt_losses *losses, struct runs *runs, enum bcfmt_loss kind,
		     struct bcfmt_pos lo, struct bcfmt_pos hi)
{
	struct loss_record record = { lo, hi, (uint32_t)kind, 0 };
	bcfmt_err err;

	if (bcfmt_pos_cmp(lo, hi) >= 0)
		return BCFMT_OK;
	if (losses->is_finished)
		return bcfmt_fail(losses->ctx, BCFMT_E_ARG, "lost ranges: added after their end");
	pthread_mutex_lock(&losses->lock);
	err = runs_add(runs, &record, 1);
	pthread_mutex_unlock(&losses->lock);
	return err;
}

bcfmt_err bcfmt_losses_add(struct bcfmt_losses *losses, enum bcfmt_loss kind, struct bcfmt_pos lo,
			   struct bcfmt_pos hi)
{
	return add(losses, losses->lasting, kind, lo, hi);
}

bcfmt_err bcfmt_losses_child(struct bcfmt_losses *losses, const struct bcfmt_node_ref *parent,
			     const struct bcfmt_key *key)
{
	struct child *child;

	/* What was freed may seem to be in use: which node it was is not known. */
	if (parent && bcfmt_key_is_zero_pos(key))
		return add(losses, losses->lasting, BCFMT_LOSS_NODE, parent->lo, parent->hi);
	pthread_mutex_lock(&losses->lock);
	child = vec_push(&losses->children, sizeof(*child));
	if (child)
		*child = (struct child){ bcfmt_key_end(key), !parent };
	pthread_mutex_unlock(&losses->lock);
	return child ? BCFMT_OK
		     : bcfmt_fail(losses->ctx, BCFMT_E_NOMEM, "no memory for lost ranges");
}

/*
 * The range of a child that was not followed went to its right neighbour: it begins where the
 * leaf that has it now begins.
 */
static struct bcfmt_pos child_begin(const struct bcfmt_tree *tree, struct bcfmt_pos hi)
{
	size_t low = 0, high = bcfmt_tree_leaves(tree);

	while (low < high) {
		size_t mid = low + (high - low) / 2;

		if (bcfmt_pos_cmp(bcfmt_tree_leaf(tree, mid)->hi, hi) < 0)
			low = mid + 1;
		else
			high = mid;
	}
	return low < bcfmt_tree_leaves(tree) ? bcfmt_tree_leaf(tree, low)->lo
					     : (struct bcfmt_pos){ 0, 0 };
}

static bcfmt_err doubt_journal(void *arg, struct bcfmt_pos lo, struct bcfmt_pos hi)
{
	struct bcfmt_losses *losses = arg;

	return add(losses, losses->lasting, BCFMT_LOSS_JOURNAL, lo, hi);
}

/*
 * An entry that is missing can have had keys of any range; but of what the entries behind it name
 * these have the last word. kernel: bch_journal_replay().
 */
static bcfmt_err doubt_gaps(struct bcfmt_losses *losses, const struct bcfmt_tree *tree)
{
	uint64_t after = bcfmt_set_after_gap(tree->set);

	return after ? replay_each_silent(tree->replay, after, doubt_journal, losses) : BCFMT_OK;
}

bcfmt_err bcfmt_losses_tree(struct bcfmt_losses *losses, const struct bcfmt_tree *tree)
{
	const struct vec *doubts = replay_doubts(tree->replay);
	bcfmt_err err = BCFMT_OK;

	for (size_t i = 0; !err && i < losses->children.n; i++) {
		const struct child *child = VEC_AT(&losses->children, struct child, i);
		struct bcfmt_pos lo = { 0, 0 }, hi = bcfmt_pos_max();

		if (!child->is_root) {
			lo = child_begin(tree, child->hi);
			hi = child->hi;
		}
		err = add(losses, losses->lasting, BCFMT_LOSS_NODE, lo, hi);
	}
	losses->children.n = 0;
	if (!err)
		err = doubt_gaps(losses, tree);
	for (size_t i = 0; !err && i < doubts->n; i++) {
		const struct bcfmt_span *span = VEC_AT(doubts, const struct bcfmt_span, i);

		err = doubt_journal(losses, span->lo, span->hi);
	}
	if (!err && replay_is_garbled(tree->replay))
		err = add(losses, losses->lasting, BCFMT_LOSS_JOURNAL, (struct bcfmt_pos){ 0, 0 },
			  bcfmt_pos_max());
	return err;
}

static bcfmt_err add_leaf(struct bcfmt_losses *losses, enum bcfmt_loss kind, uint32_t inode,
			  uint64_t start_sector, uint64_t end_sector)
{
	return add(losses, losses->leaves, kind, (struct bcfmt_pos){ inode, start_sector },
		   (struct bcfmt_pos){ inode, end_sector });
}

/* Keys that lie outside the range of their leaf count nowhere: what they name may be newer. */
static bcfmt_err doubt_outside(struct bcfmt_losses *losses, const struct bcfmt_node_view *view)
{
	struct bcfmt_node_iter it = bcfmt_node_iter_init(view->node);
	struct bcfmt_key key;
	bcfmt_err err = BCFMT_OK;

	while (!err && bcfmt_node_iter_next(&it, &key)) {
		uint64_t end = bcfmt_key_end_sector(&key), sectors = bcfmt_key_sectors(&key);
		uint32_t inode = bcfmt_key_inode(&key);
		struct bcfmt_pos start = { inode, end > sectors ? end - sectors : 0 };

		if (end > BCFMT_KEY_MAX_OFFSET ||
		    (bcfmt_pos_cmp(start, view->ref->lo) >= 0 &&
		     bcfmt_pos_cmp(bcfmt_key_end(&key), view->ref->hi) <= 0))
			continue;
		err = add_leaf(losses, BCFMT_LOSS_NODE, inode, start.sector, end);
	}
	return err;
}

enum bcfmt_loss leaf_doubts_why(const struct bcfmt_node_view *view)
{
	bool is_ordered = !view->ref->sectors || view->ref->is_found || view->node->fault ||
			  view->bad.sectors || view->is_overrun || view->lost_sectors ||
			  view->lacks_keys;

	return is_ordered ? BCFMT_LOSS_NODE : BCFMT_LOSS_ORDER;
}

/* What of the leaf's range nothing proves. */
static bcfmt_err doubt_leaf(struct bcfmt_losses *losses, const struct bcfmt_node_view *view)
{
	bcfmt_err err = view->ref->is_found ? BCFMT_OK : doubt_outside(losses, view);

	for (size_t i = 0; !err && i < view->n_doubts; i++)
		err = add(losses, losses->leaves, leaf_doubts_why(view), view->doubts[i].lo,
			  view->doubts[i].hi);
	return err;
}

bcfmt_err bcfmt_losses_leaf(struct bcfmt_losses *losses, const struct bcfmt_set *set,
			    const struct bcfmt_node_view *view, const struct bcfmt_extent *extents,
			    size_t n_extents)
{
	bcfmt_err err = view->n_doubts ? doubt_leaf(losses, view) : BCFMT_OK;

	for (size_t i = 0; !err && i < n_extents; i++) {
		const struct bcfmt_extent *extent = &extents[i];

		if (!extent->is_dirty || extent->is_written_back)
			continue;
		if (extent->stale)
			err = add_leaf(losses, BCFMT_LOSS_STALE, extent->inode,
				       extent->start_sector, extent->end_sector);
		else if (bcfmt_ptr_bucket(&set->geo, extent->ptr) >= set->geo.nbuckets)
			err = add_leaf(losses, BCFMT_LOSS_PLACE, extent->inode,
				       extent->start_sector, extent->end_sector);
	}
	return err;
}

bcfmt_err bcfmt_losses_forget_leaves(struct bcfmt_losses *losses)
{
	runs_free(losses->leaves);
	losses->leaves = NULL;
	return new_runs(losses->ctx, &losses->leaves);
}

bcfmt_err bcfmt_losses_finish(struct bcfmt_losses *losses)
{
	const void *record;
	bcfmt_err err = losses->leaves ? runs_sort(losses->lasting) : BCFMT_E_NOMEM;

	losses->is_finished = true;
	while (!err) {
		err = runs_next(losses->lasting, &record);
		if (!err)
			err = runs_add(losses->leaves, record, 1);
	}
	return err == BCFMT_END ? runs_sort(losses->leaves) : err;
}

bool bcfmt_losses_has_any(const struct bcfmt_losses *losses)
{
	return runs_count(losses->leaves) || (!losses->is_finished && runs_count(losses->lasting));
}

/* Sweeps over sorted ranges: what lies behind `at` and how far each sort reaches by now. */
struct sweep {
	bcfmt_loss_fn fn;
	void *arg;
	uint64_t at;
	uint64_t lost_end;
	uint64_t doubtful_end;
	struct bcfmt_loss_range pending; /* may still grow; end 0: nothing */
};

static bcfmt_err put(struct sweep *sweep, uint64_t start_sector, uint64_t end_sector, bool is_lost)
{
	struct bcfmt_loss_range *pending = &sweep->pending;
	bcfmt_err err = BCFMT_OK;

	if (pending->end_sector == start_sector && pending->is_lost == is_lost) {
		pending->end_sector = end_sector;
		return BCFMT_OK;
	}
	if (pending->end_sector)
		err = sweep->fn(sweep->arg, pending);
	*pending = (struct bcfmt_loss_range){ start_sector, end_sector, is_lost };
	return err;
}

/* Hands out what is known up to `to`: no range that is still to come begins before it. */
static bcfmt_err sweep_to(struct sweep *sweep, uint64_t to)
{
	bcfmt_err err = BCFMT_OK;

	while (!err && sweep->at < to) {
		bool is_lost = sweep->lost_end > sweep->at;
		uint64_t end = is_lost ? sweep->lost_end : sweep->doubtful_end;

		if (end <= sweep->at) {
			sweep->at = to;
			break;
		}
		end = min_u64(end, to);
		err = put(sweep, sweep->at, end, is_lost);
		sweep->at = end;
	}
	return err;
}

/* The part of the record within the inode and [start, end); false when there is none. */
static bool cut(const struct loss_record *record, uint32_t inode, uint64_t *start, uint64_t *end)
{
	if (record->lo.inode > inode || record->hi.inode < inode)
		return false;
	if (record->lo.inode == inode)
		*start = max_u64(*start, record->lo.sector);
	if (record->hi.inode == inode)
		*end = min_u64(*end, record->hi.sector);
	return *start < *end;
}

bcfmt_err bcfmt_losses_each(struct bcfmt_losses *losses, uint32_t inode, uint64_t start_sector,
			    uint64_t end_sector, bcfmt_loss_fn fn, void *arg)
{
	struct sweep sweep = { .fn = fn, .arg = arg, .at = start_sector };
	const void *at;
	bcfmt_err err;

	if (!losses->is_finished)
		return bcfmt_fail(losses->ctx, BCFMT_E_ARG, "lost ranges: asked before their end");
	err = runs_seek(losses->leaves, 0);
	while (!err && !(err = runs_next(losses->leaves, &at))) {
		const struct loss_record *record = at;
		uint64_t start = start_sector, end = end_sector;

		if (record->lo.inode > inode) {
			err = BCFMT_END;
			break;
		}
		if (!cut(record, inode, &start, &end))
			continue;
		/* Ranges that began in an inode before this one come first, all at start_sector. */
		err = sweep_to(&sweep, start);
		if (bcfmt_loss_is_lost((enum bcfmt_loss)record->kind))
			sweep.lost_end = max_u64(sweep.lost_end, end);
		else
			sweep.doubtful_end = max_u64(sweep.doubtful_end, end);
	}
	if (err == BCFMT_END)
		err = sweep_to(&sweep, end_sector);
	if (!err && sweep.pending.end_sector)
		err = fn(arg, &sweep.pending);
	return err;
}
