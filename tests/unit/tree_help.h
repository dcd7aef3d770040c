/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What the tests of tree walks share: a visitor that remembers all it is told. */
#ifndef TESTS_UNIT_TREE_HELP_H
#define TESTS_UNIT_TREE_HELP_H

#include <criterion/criterion.h>

#include <pthread.h>
#include <string.h>

#include <bcfmt/tree.h>

#define TREE_EVENTS_MAX 512u

struct tree_child {
	uint64_t parent_ptr; /* 0: the journal entry */
	uint64_t ptr;
	enum bcfmt_child_fault fault;
	enum bcfmt_key_fault key_fault;
};

struct tree_events {
	pthread_mutex_t lock;
	struct tree_child child[TREE_EVENTS_MAX];
	size_t n_child;
	struct {
		struct bcfmt_pos lo, hi;
		uint64_t parent_ptr;
	} gap[TREE_EVENTS_MAX];
	size_t n_gap;
	struct {
		uint64_t ptr;
		uint8_t level;
	} node[TREE_EVENTS_MAX];
	size_t n_node;
	struct bcfmt_extent extent[TREE_EVENTS_MAX];
	size_t n_extent;
	size_t n_leaf;
	size_t n_with_history;
	size_t n_with_all_history;
	uint64_t bad_sectors;
	uint64_t lost_sectors;
	/* Where to fail, and how. */
	size_t fail_at_node;
	bcfmt_err fail_with;
	volatile int *cancel_at_leaf;
};

static inline bcfmt_err tree_on_node(void *arg, const struct bcfmt_node_view *view)
{
	struct tree_events *events = arg;
	bcfmt_err err = BCFMT_OK;

	pthread_mutex_lock(&events->lock);
	cr_assert_lt(events->n_node, TREE_EVENTS_MAX);
	events->node[events->n_node].ptr = view->ref->ptr;
	events->node[events->n_node++].level = view->ref->level;
	events->bad_sectors += view->bad.sectors;
	if (events->n_node == events->fail_at_node)
		err = events->fail_with;
	pthread_mutex_unlock(&events->lock);
	return err;
}

static inline bcfmt_err tree_on_leaf(void *arg, const struct bcfmt_node_view *view,
				     const struct bcfmt_extent *extents, size_t n_extents)
{
	struct tree_events *events = arg;

	pthread_mutex_lock(&events->lock);
	cr_assert_leq(events->n_extent + n_extents, TREE_EVENTS_MAX);
	if (n_extents)
		memcpy(&events->extent[events->n_extent], extents, n_extents * sizeof(*extents));
	events->n_extent += n_extents;
	events->n_leaf++;
	events->n_with_history += view->uses_history;
	events->n_with_all_history += view->has_all_history;
	events->lost_sectors += view->lost_sectors;
	if (events->cancel_at_leaf)
		*events->cancel_at_leaf = 1;
	pthread_mutex_unlock(&events->lock);
	return BCFMT_OK;
}

static inline bcfmt_err tree_on_child(void *arg, const struct bcfmt_node_ref *parent,
				      const struct bcfmt_key *key, enum bcfmt_child_fault fault,
				      enum bcfmt_key_fault key_fault)
{
	struct tree_events *events = arg;

	cr_assert_lt(events->n_child, TREE_EVENTS_MAX);
	events->child[events->n_child++] =
		(struct tree_child){ parent ? parent->ptr : 0, key->ptr, fault, key_fault };
	return BCFMT_OK;
}

static inline bcfmt_err tree_on_gap(void *arg, const struct bcfmt_node_ref *parent,
				    struct bcfmt_pos lo, struct bcfmt_pos hi)
{
	struct tree_events *events = arg;

	cr_assert_lt(events->n_gap, TREE_EVENTS_MAX);
	events->gap[events->n_gap].lo = lo;
	events->gap[events->n_gap].hi = hi;
	events->gap[events->n_gap++].parent_ptr = parent->ptr;
	return BCFMT_OK;
}

static inline struct bcfmt_tree_visitor tree_visitor(struct tree_events *events)
{
	return (struct bcfmt_tree_visitor){
		.arg = events,
		.node = tree_on_node,
		.leaf = tree_on_leaf,
		.child = tree_on_child,
		.gap = tree_on_gap,
	};
}

static inline void tree_forget(struct tree_events *events)
{
	events->n_child = events->n_gap = events->n_node = events->n_extent = 0;
	events->n_leaf = events->n_with_history = events->n_with_all_history = 0;
	events->bad_sectors = events->lost_sectors = 0;
}

#endif
