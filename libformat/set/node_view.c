/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Counts what is odd in the keys of a node: order, sizes, placeholders. */
#include <stdlib.h>
#include <string.h>

#include "codec/key_iter.h"
#include "set/set_impl.h"

struct range {
	struct bcfmt_pos start;
	uint64_t end_sector;
	uint64_t ptr;
};

static int range_cmp(const void *a, const void *b)
{
	const struct range *x = a, *y = b;
	int order = bcfmt_pos_cmp(x->start, y->start);

	if (order)
		return order;
	if (x->end_sector != y->end_sector)
		return x->end_sector < y->end_sector ? -1 : 1;
	return x->ptr < y->ptr ? -1 : x->ptr > y->ptr;
}

/* Keys of one bset with the same range and different pointers: never made by a right insert. */
static bcfmt_err count_same_ranges(const struct bcfmt_bset *bset, struct vec *ranges,
				   uint32_t *same)
{
	struct bcfmt_key_iter it = bcfmt_key_iter_init(bset->keys, bset->words);
	struct bcfmt_key key;
	const struct range *range;

	ranges->n = 0;
	while (key_iter_step(&it, &key)) {
		struct range *slot;

		if (!bcfmt_key_sectors(&key) || !bcfmt_key_has_data(&key))
			continue;
		slot = vec_push(ranges, sizeof(*slot));
		if (!slot)
			return BCFMT_E_NOMEM;
		*slot = (struct range){ bcfmt_key_start(&key), key.low, key.ptr };
	}
	if (ranges->n < 2)
		return BCFMT_OK;
	qsort(ranges->items, ranges->n, sizeof(struct range), range_cmp);
	range = ranges->items;
	for (size_t i = 1; i < ranges->n; i++)
		if (!bcfmt_pos_cmp(range[i - 1].start, range[i].start) &&
		    range[i - 1].end_sector == range[i].end_sector &&
		    range[i - 1].ptr != range[i].ptr)
			(*same)++;
	return BCFMT_OK;
}

/* kernel: bch_btree_iter_next_check(). */
static bool is_skipped(const struct bcfmt_key *key, const struct bcfmt_key *next, bool is_leaf)
{
	struct bcfmt_pos end = bcfmt_key_end(key);

	return bcfmt_pos_cmp(end, is_leaf ? bcfmt_key_start(next) : bcfmt_key_end(next)) > 0;
}

static void count_bset(struct bcfmt_node_view *view, struct bcfmt_bset *bset)
{
	struct bcfmt_key_iter it = bcfmt_key_iter_init(bset->keys, bset->words);
	bool is_leaf = view->ref->level == 0;
	struct bcfmt_key key, last;
	bool has_last = false;

	while (key_iter_step(&it, &key)) {
		bset->key_count++;
		view->zero_size_keys += !bcfmt_key_sectors(&key);
		view->placeholders += bcfmt_key_is_placeholder(&key);
		if (has_last && is_skipped(&last, &key, is_leaf))
			bset->skipped_backwards++;
		last = key;
		has_last = true;
	}
	view->is_overrun |= it.is_overrun;
	view->keys += bset->key_count;
	view->skipped_backwards += bset->skipped_backwards;
}

bcfmt_err node_view_count(struct bcfmt_node_view *view, struct bcfmt_node *node,
			  struct vec *ranges)
{
	for (uint32_t i = 0; i < node->n_bsets; i++) {
		struct bcfmt_bset *bset = &node->bsets[i];

		if (bset->fault)
			continue;
		count_bset(view, bset);
		if (bset->skipped_backwards && !view->ref->level) {
			bcfmt_err err = count_same_ranges(bset, ranges, &view->same_range_keys);

			if (err)
				return err;
		}
	}
	view->is_disordered = view->skipped_backwards > 0;
	return BCFMT_OK;
}
