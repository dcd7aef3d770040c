/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Leaves for the ranges whose interior nodes are gone. Of the leaves that were found and are in use
 * by the gens of the prio sets each takes the range of its own keys. Where several overlap, the one
 * whose bucket was handed out after the prio sets were written is the newer: an older one was split
 * or rewritten into it. An unsure one has only what no other reaches over. Whether what comes of it
 * is proved is told in the refs.
 */
#include <stdlib.h>
#include <string.h>

#include "base/checked.h"
#include "set/found.h"

#define PRIO_METADATA 65535u

struct candidate {
	const struct found_node *node;
	struct bcfmt_pos lo; /* cut to the region */
	struct bcfmt_pos hi;
	uint32_t rank; /* smaller is better; no two are equal */
	uint32_t overlaps;
};

struct fill {
	struct bcfmt_tree *tree;
	struct vec candidates; /* struct candidate by lo */
	struct vec heap;       /* size_t, indexes into candidates, the best on top */
	struct vec leaves;     /* struct bcfmt_node_ref, what tree->leaves will be */
	bool has_all;
	bool has_conflict;
};

static int span_cmp(const void *a, const void *b)
{
	const struct bcfmt_span *x = a, *y = b;
	int order = bcfmt_pos_cmp(x->lo, y->lo);

	return order ? order : bcfmt_pos_cmp(x->hi, y->hi);
}

bcfmt_err tree_add_region(struct bcfmt_tree *tree, struct bcfmt_pos lo, struct bcfmt_pos hi)
{
	struct bcfmt_span *slot;

	if (bcfmt_pos_cmp(lo, hi) >= 0)
		return BCFMT_OK;
	slot = vec_push(&tree->regions, sizeof(*slot));
	if (!slot)
		return BCFMT_E_NOMEM;
	*slot = (struct bcfmt_span){ lo, hi };
	return BCFMT_OK;
}

/* Sorts the regions and joins those that overlap. */
static void join_regions(struct vec *regions)
{
	struct bcfmt_span *region = regions->items;
	size_t n = 0;

	if (regions->n > 1)
		qsort(region, regions->n, sizeof(*region), span_cmp);
	for (size_t i = 0; i < regions->n; i++) {
		if (!n || bcfmt_pos_cmp(region[n - 1].hi, region[i].lo) <= 0)
			region[n++] = region[i];
		else if (bcfmt_pos_cmp(region[n - 1].hi, region[i].hi) < 0)
			region[n - 1].hi = region[i].hi;
	}
	regions->n = n;
}

/* ---- candidates of one region ---- */

static bool is_younger(const struct bcfmt_set *set, const struct found_node *node)
{
	return set->buckets[bcfmt_ptr_bucket(&set->geo, node->ptr)].prio != PRIO_METADATA;
}

static bool is_candidate(const struct bcfmt_set *set, const struct found_node *node)
{
	const struct bcfmt_bucket *at = &set->buckets[bcfmt_ptr_bucket(&set->geo, node->ptr)];

	if (node->level || !node->keys || node->is_old_root || !found_is_current(set, node->ptr))
		return false;
	/* A leaf of the tree can reach into a range that its parent does not give it. */
	return !(at->use & BCFMT_USE_METADATA & ~(unsigned int)BCFMT_USE_NODE);
}

static int candidate_cmp(const void *a, const void *b)
{
	const struct candidate *x = a, *y = b;
	int order = bcfmt_pos_cmp(x->lo, y->lo);

	if (!order)
		order = bcfmt_pos_cmp(x->hi, y->hi);
	return order ? order : x->node->ptr < y->node->ptr ? -1 : x->node->ptr > y->node->ptr;
}

static uint32_t score_of(const struct bcfmt_set *set, const struct found_node *node)
{
	if (node->is_unsure)
		return 0;
	return 1 + (is_younger(set, node) ? 2u : 0u) + (node->is_named ? 1u : 0u);
}

struct ranked {
	uint32_t score;
	uint32_t index;
};

static int ranked_cmp(const void *a, const void *b)
{
	const struct ranked *x = a, *y = b;

	if (x->score != y->score)
		return x->score > y->score ? -1 : 1;
	return x->index < y->index ? -1 : x->index > y->index;
}

static bcfmt_err rank_candidates(struct fill *fill)
{
	struct candidate *candidate = fill->candidates.items;
	struct ranked *ranked = calloc(fill->candidates.n + 1, sizeof(*ranked));

	if (!ranked)
		return BCFMT_E_NOMEM;
	for (uint32_t i = 0; i < fill->candidates.n; i++)
		ranked[i] = (struct ranked){ score_of(fill->tree->set, candidate[i].node), i };
	qsort(ranked, fill->candidates.n, sizeof(*ranked), ranked_cmp);
	for (uint32_t i = 0; i < fill->candidates.n; i++)
		candidate[ranked[i].index].rank = i;
	free(ranked);
	return BCFMT_OK;
}

static bcfmt_err take_candidates(struct fill *fill, const struct bcfmt_span *region)
{
	const struct bcfmt_set *set = fill->tree->set;

	fill->candidates.n = 0;
	for (size_t i = 0; i < set->found->nodes.n; i++) {
		const struct found_node *node = VEC_AT(&set->found->nodes, struct found_node, i);
		struct candidate *slot;

		if (!is_candidate(set, node) || bcfmt_pos_cmp(node->last, region->lo) <= 0 ||
		    bcfmt_pos_cmp(node->first, region->hi) >= 0)
			continue;
		slot = vec_push(&fill->candidates, sizeof(*slot));
		if (!slot)
			return BCFMT_E_NOMEM;
		*slot = (struct candidate){ .node = node, .lo = node->first, .hi = node->last };
		if (bcfmt_pos_cmp(slot->lo, region->lo) < 0)
			slot->lo = region->lo;
		if (bcfmt_pos_cmp(slot->hi, region->hi) > 0)
			slot->hi = region->hi;
	}
	if (fill->candidates.n > 1)
		qsort(fill->candidates.items, fill->candidates.n, sizeof(struct candidate),
		      candidate_cmp);
	return rank_candidates(fill);
}

/*
 * Leaves that were in use at one time do not overlap. Of those older than the prio sets one that
 * overlaps several others is a root of the time when the tree was one leaf: it alone is given up
 * without a mark. Other overlaps nothing explains.
 */
static void drop_old_roots(struct fill *fill)
{
	struct candidate *candidate = fill->candidates.items;
	const struct bcfmt_set *set = fill->tree->set;
	size_t n = 0;

	for (size_t i = 0; i < fill->candidates.n; i++)
		for (size_t j = i + 1; j < fill->candidates.n &&
				       bcfmt_pos_cmp(candidate[j].lo, candidate[i].hi) < 0 &&
				       candidate[i].overlaps < 2;
		     j++) {
			if (is_younger(set, candidate[i].node) ||
			    is_younger(set, candidate[j].node))
				continue;
			candidate[i].overlaps++;
			candidate[j].overlaps++;
		}
	for (size_t i = 0; i < fill->candidates.n; i++) {
		if (candidate[i].overlaps > 1 && !candidate[i].node->is_named)
			continue;
		candidate[n++] = candidate[i];
	}
	fill->candidates.n = n;
	for (size_t i = 0; i < n; i++) {
		for (size_t j = i + 1; j < n && bcfmt_pos_cmp(candidate[j].lo, candidate[i].hi) < 0;
		     j++)
			if (!is_younger(set, candidate[i].node) &&
			    !is_younger(set, candidate[j].node)) {
				fill->has_conflict = true;
				return;
			}
	}
}

/* ---- the heap of those that hold a position ---- */

static bool is_better(const struct fill *fill, size_t a, size_t b)
{
	const size_t *heap = fill->heap.items;
	const struct candidate *candidate = fill->candidates.items;

	return candidate[heap[a]].rank < candidate[heap[b]].rank;
}

static void swap_at(size_t *heap, size_t a, size_t b)
{
	size_t index = heap[a];

	heap[a] = heap[b];
	heap[b] = index;
}

static bcfmt_err heap_push(struct fill *fill, size_t index)
{
	size_t *slot = vec_push(&fill->heap, sizeof(*slot));

	if (!slot)
		return BCFMT_E_NOMEM;
	*slot = index;
	for (size_t at = fill->heap.n - 1; at && is_better(fill, at, (at - 1) / 2);
	     at = (at - 1) / 2)
		swap_at(fill->heap.items, at, (at - 1) / 2);
	return BCFMT_OK;
}

static void heap_pop(struct fill *fill)
{
	size_t *heap = fill->heap.items, at = 0;

	heap[0] = heap[--fill->heap.n];
	for (;;) {
		size_t child = 2 * at + 1;

		if (child >= fill->heap.n)
			return;
		if (child + 1 < fill->heap.n && is_better(fill, child + 1, child))
			child++;
		if (!is_better(fill, child, at))
			return;
		swap_at(heap, child, at);
		at = child;
	}
}

/* ---- refs ---- */

static bcfmt_err push_ref(struct fill *fill, const struct found_node *node, struct bcfmt_pos lo,
			  struct bcfmt_pos hi, bool is_proved)
{
	struct bcfmt_node_ref *last =
		fill->leaves.n ? VEC_AT(&fill->leaves, struct bcfmt_node_ref, fill->leaves.n - 1)
			       : NULL;
	struct bcfmt_set *set = fill->tree->set;
	struct bcfmt_node_ref *ref;

	if (bcfmt_pos_cmp(lo, hi) >= 0)
		return BCFMT_OK;
	if (last && node && last->is_found && last->ptr == node->ptr &&
	    !bcfmt_pos_cmp(last->hi, lo)) {
		last->hi = hi;
		return BCFMT_OK;
	}
	ref = vec_push(&fill->leaves, sizeof(*ref));
	if (!ref)
		return BCFMT_E_NOMEM;
	*ref = (struct bcfmt_node_ref){
		.lo = lo, .hi = hi, .is_found = true, .is_proved = is_proved
	};
	if (!node)
		return BCFMT_OK;
	ref->ptr = node->ptr;
	ref->sectors = set->geo.node_sectors;
	return BCFMT_OK;
}

/* A position that no leaf's keys reach: in a whole tree it belongs to a leaf beside it. */
static bcfmt_err push_between(struct fill *fill, const struct found_node *next, struct bcfmt_pos lo,
			      struct bcfmt_pos hi, bool is_proved)
{
	struct bcfmt_node_ref *last =
		fill->leaves.n ? VEC_AT(&fill->leaves, struct bcfmt_node_ref, fill->leaves.n - 1)
			       : NULL;

	if (!is_proved || next)
		return push_ref(fill, is_proved ? next : NULL, lo, hi, is_proved);
	if (last && last->is_found && last->sectors && !bcfmt_pos_cmp(last->hi, lo)) {
		last->hi = hi;
		return BCFMT_OK;
	}
	return push_ref(fill, NULL, lo, hi, true);
}

/* Gives every position of the region to the best candidate whose keys reach over it. */
static bcfmt_err sweep(struct fill *fill, const struct bcfmt_span *region, bool is_proved)
{
	const struct candidate *candidate = fill->candidates.items;
	struct bcfmt_pos at = region->lo;
	size_t i = 0;
	bcfmt_err err = BCFMT_OK;

	fill->heap.n = 0;
	while (!err && bcfmt_pos_cmp(at, region->hi) < 0) {
		struct bcfmt_pos next = region->hi;
		const struct candidate *top = NULL;

		for (; !err && i < fill->candidates.n && bcfmt_pos_cmp(candidate[i].lo, at) <= 0;
		     i++)
			err = heap_push(fill, i);
		while (fill->heap.n &&
		       bcfmt_pos_cmp(candidate[*VEC_AT(&fill->heap, size_t, 0)].hi, at) <= 0)
			heap_pop(fill);
		if (err)
			break;
		if (fill->heap.n)
			top = &candidate[*VEC_AT(&fill->heap, size_t, 0)];
		if (top)
			next = top->hi;
		if (i < fill->candidates.n && bcfmt_pos_cmp(candidate[i].lo, next) < 0)
			next = candidate[i].lo;
		if (top)
			err = push_ref(fill, top->node, at, next, is_proved);
		else
			err = push_between(fill, i < fill->candidates.n ? candidate[i].node : NULL,
					   at, next, is_proved && fill->has_all);
		at = next;
	}
	return err;
}

/* Marks the buckets of the leaves that are used. */
static void mark_nodes(struct fill *fill)
{
	struct bcfmt_set *set = fill->tree->set;

	for (size_t i = 0; i < fill->leaves.n; i++) {
		const struct bcfmt_node_ref *ref = VEC_AT(&fill->leaves, struct bcfmt_node_ref, i);
		struct bcfmt_bucket *at = &set->buckets[bcfmt_ptr_bucket(&set->geo, ref->ptr)];

		if (!ref->is_found || !ref->sectors)
			continue;
		at->use |= BCFMT_USE_NODE;
		at->sectors = 1;
	}
}

static bcfmt_err fill_region(struct fill *fill, const struct bcfmt_span *region)
{
	uint64_t seq;
	const struct bcfmt_tree *tree = fill->tree;
	struct replay *replay = tree->history ? tree->history : tree->replay;
	bool is_proved = found_proved_seq(tree->set, &seq) && !tree->is_cut_off &&
			 !replay_has_impossible(replay);
	bcfmt_err err;

	fill->has_conflict = false;
	err = take_candidates(fill, region);
	if (err)
		return err;
	drop_old_roots(fill);
	return sweep(fill, region, is_proved && !fill->has_conflict);
}

/* ---- the leaves that the tree knows, without what lies in regions ---- */

static bool is_inside(const struct bcfmt_span *region, const struct bcfmt_node_ref *ref)
{
	return bcfmt_pos_cmp(ref->lo, region->hi) < 0 && bcfmt_pos_cmp(ref->hi, region->lo) > 0;
}

/* A leaf that only a damaged parent names is a candidate like others. */
static void forget_leaf(struct fill *fill, const struct bcfmt_node_ref *ref)
{
	struct bcfmt_set *set = fill->tree->set;
	uint64_t bucket = bcfmt_ptr_bucket(&set->geo, ref->ptr);

	if (!ref->sectors)
		return;
	set->buckets[bucket].use &= (uint8_t)~BCFMT_USE_NODE;
	set->buckets[bucket].sectors = 0;
	/* Named, and not there: its range is not known. */
	if (!found_node_at(set, bucket) || found_node_at(set, bucket)->ptr != ref->ptr)
		fill->has_all = false;
}

static void forget_leaves(struct fill *fill)
{
	const struct vec *leaves = &fill->tree->leaves, *regions = &fill->tree->regions;
	size_t r = 0;

	for (size_t i = 0; i < leaves->n; i++) {
		const struct bcfmt_node_ref *ref = VEC_AT(leaves, struct bcfmt_node_ref, i);

		while (r < regions->n &&
		       bcfmt_pos_cmp(VEC_AT(regions, struct bcfmt_span, r)->hi, ref->lo) <= 0)
			r++;
		/* One that reaches out of the region is known by its neighbour's parent. */
		if (r < regions->n && is_inside(VEC_AT(regions, struct bcfmt_span, r), ref) &&
		    bcfmt_pos_cmp(ref->hi, VEC_AT(regions, struct bcfmt_span, r)->hi) <= 0)
			forget_leaf(fill, ref);
	}
}

/* Appends the leaves that begin before the region, cut to what lies before it. */
static bcfmt_err copy_before(struct fill *fill, struct bcfmt_pos from, struct bcfmt_pos until,
			     size_t *next)
{
	const struct vec *leaves = &fill->tree->leaves;

	for (; *next < leaves->n; (*next)++) {
		struct bcfmt_node_ref ref = *VEC_AT(leaves, struct bcfmt_node_ref, *next);
		struct bcfmt_node_ref *slot;
		bool goes_on = bcfmt_pos_cmp(ref.hi, until) > 0;

		if (bcfmt_pos_cmp(ref.lo, until) >= 0)
			break;
		if (bcfmt_pos_cmp(ref.lo, from) < 0)
			ref.lo = from;
		if (goes_on)
			ref.hi = until;
		if (bcfmt_pos_cmp(ref.lo, ref.hi) < 0) {
			slot = vec_push(&fill->leaves, sizeof(*slot));
			if (!slot)
				return BCFMT_E_NOMEM;
			*slot = ref;
		}
		if (goes_on)
			break;
	}
	return BCFMT_OK;
}

bcfmt_err found_fill(struct bcfmt_tree *tree)
{
	struct fill fill = { .tree = tree };
	struct bcfmt_pos from = { 0, 0 };
	size_t next = 0;
	bcfmt_err err = found_scan(tree->set);

	if (!err)
		err = found_relate(tree->set);
	if (!err)
		err = found_has_all(tree->set, &fill.has_all);
	if (err)
		return err;
	if (!found_proved_seq(tree->set, &tree->found_seq))
		tree->found_seq = 0;
	join_regions(&tree->regions);
	forget_leaves(&fill);
	for (size_t i = 0; !err && i < tree->regions.n; i++) {
		const struct bcfmt_span *region = VEC_AT(&tree->regions, struct bcfmt_span, i);

		err = copy_before(&fill, from, region->lo, &next);
		if (!err)
			err = fill_region(&fill, region);
		from = region->hi;
	}
	if (!err)
		err = copy_before(&fill, from, bcfmt_pos_max(), &next);
	vec_free(&fill.candidates);
	vec_free(&fill.heap);
	if (err) {
		vec_free(&fill.leaves);
		return err;
	}
	vec_free(&tree->leaves);
	tree->leaves = fill.leaves;
	mark_nodes(&fill);
	return BCFMT_OK;
}

size_t found_skip(const struct bcfmt_tree *tree, const struct bcfmt_node_ref *ref,
		  const struct bcfmt_replay_key *keys, size_t n_old)
{
	size_t n = 0;

	/* Where there is no leaf every word counts. */
	if (!ref->is_found || !ref->is_proved || !ref->sectors)
		return 0;
	while (n < n_old && keys[n].seq < tree->found_seq)
		n++;
	return n;
}

void found_tell_source(struct vec *extents)
{
	for (size_t i = 0; i < extents->n; i++) {
		struct bcfmt_extent *extent = VEC_AT(extents, struct bcfmt_extent, i);

		if (extent->source == BCFMT_FROM_TREE)
			extent->source = BCFMT_FROM_SCAN;
	}
}
