/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What of a leaf that is damaged or missing nothing proves. The entries of the ring that are laid
 * on follow each other without a hole up to the newest, so where one of them says something the
 * last to do so is the last that was written there, whatever became of the leaf. Only where all of
 * them are silent the leaf's own word would count. (Where the last word is stale its data was
 * cleaned, moved or lost; that is told extent by extent.)
 */
#include <stdlib.h>

#include "set/tree_impl.h"

static int span_cmp(const void *a, const void *b)
{
	const struct bcfmt_span *x = a, *y = b;
	int order = bcfmt_pos_cmp(x->lo, y->lo);

	return order ? order : bcfmt_pos_cmp(x->hi, y->hi);
}

/* The ranges of the keys, sorted. */
static bcfmt_err take_words(struct worker *worker)
{
	const struct bcfmt_replay_key *keys = worker->replay.items;

	worker->words.n = 0;
	if (vec_reserve(&worker->words, worker->replay.n, sizeof(struct bcfmt_span)))
		return BCFMT_E_NOMEM;
	for (size_t i = 0; i < worker->replay.n; i++)
		*VEC_AT(&worker->words, struct bcfmt_span, worker->words.n++) =
			(struct bcfmt_span){ bcfmt_key_start(&keys[i].key),
					     bcfmt_key_end(&keys[i].key) };
	if (worker->words.n > 1)
		qsort(worker->words.items, worker->words.n, sizeof(struct bcfmt_span), span_cmp);
	return BCFMT_OK;
}

static bcfmt_err add_doubt(struct worker *worker, struct bcfmt_pos lo, struct bcfmt_pos hi)
{
	struct bcfmt_span *slot = vec_push(&worker->doubts, sizeof(*slot));

	if (!slot)
		return BCFMT_E_NOMEM;
	*slot = (struct bcfmt_span){ lo, hi };
	return BCFMT_OK;
}

bcfmt_err leaf_find_doubts(struct worker *worker, struct bcfmt_node_view *view)
{
	struct bcfmt_pos at = view->ref->lo, hi = view->ref->hi;
	bcfmt_err err = take_words(worker);

	worker->doubts.n = 0;
	for (size_t i = 0; !err && i < worker->words.n && bcfmt_pos_cmp(at, hi) < 0; i++) {
		const struct bcfmt_span *word = VEC_AT(&worker->words, struct bcfmt_span, i);

		if (bcfmt_pos_cmp(word->lo, hi) >= 0)
			break;
		if (bcfmt_pos_cmp(word->lo, at) > 0)
			err = add_doubt(worker, at, word->lo);
		if (bcfmt_pos_cmp(word->hi, at) > 0)
			at = word->hi;
	}
	if (!err && bcfmt_pos_cmp(at, hi) < 0)
		err = add_doubt(worker, at, hi);
	view->doubts = worker->doubts.items;
	view->n_doubts = worker->doubts.n;
	return err;
}
