/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Which nodes, buckets and journal entries of a set a damage can name. */
#include <stdio.h>
#include <string.h>

#include <bcfmt/ctx.h>
#include <bcfmt/dev.h>
#include <bcfmt/set.h>
#include <bcfmt/tree.h>

#include "damage/damage.h"

#define NODES_MAX 4096u

struct finder {
	struct bcfmt_set *set;
	struct names *names;
	struct vec interior; /* uint64_t: buckets, without the root's */
	uint64_t cold;	     /* bucket of the leaf that the fewest keys to replay touch */
	uint32_t cold_keys;  /* so many; UINT32_MAX: no leaf but a root was met */
};

static void add(struct names *names, const char *text, uint64_t value)
{
	if (names->n < NAME_ITEMS_MAX)
		names->items[names->n++] = (struct name){ text, value };
}

static bcfmt_err push(struct vec *vec, uint64_t value)
{
	uint64_t *item = vec->n < NODES_MAX ? vec_push(vec, sizeof(*item)) : NULL;

	if (!item)
		return BCFMT_E_NOMEM;
	*item = value;
	return BCFMT_OK;
}

static bcfmt_err on_node(void *arg, const struct bcfmt_node_view *view)
{
	struct finder *finder = arg;

	if (!view->ref->level || view->ref->is_root)
		return BCFMT_OK;
	return push(&finder->interior, bcfmt_ptr_bucket(&finder->set->geo, view->ref->ptr));
}

static bcfmt_err on_leaf(void *arg, const struct bcfmt_node_view *view,
			 const struct bcfmt_extent *extents, size_t n_extents)
{
	struct finder *finder = arg;

	(void)extents, (void)n_extents;
	if (view->ref->is_root || view->replay_keys >= finder->cold_keys)
		return BCFMT_OK;
	finder->cold_keys = view->replay_keys;
	finder->cold = bcfmt_ptr_bucket(&finder->set->geo, view->ref->ptr);
	return BCFMT_OK;
}

static uint64_t leaf_bucket(const struct finder *finder, const struct bcfmt_tree *tree, size_t i)
{
	return bcfmt_ptr_bucket(&finder->set->geo, bcfmt_tree_leaf(tree, i)->ptr);
}

/* Two walks: the first may end with gens that still rise. */
static bcfmt_err find_nodes(struct finder *finder)
{
	const struct bcfmt_tree_visitor visitor = { .arg = finder,
						    .node = on_node,
						    .leaf = on_leaf };
	struct bcfmt_set *set = finder->set;
	struct bcfmt_tree *tree;
	bool again = true;
	size_t n = 0;
	bcfmt_err err = bcfmt_tree_open(set, &visitor, &tree);

	if (err)
		return err;
	n = bcfmt_tree_leaves(tree);
	while (!err && again) {
		finder->cold_keys = UINT32_MAX;
		err = bcfmt_tree_walk_leaves(tree, &visitor, &again);
	}
	add(finder->names, "root", bcfmt_ptr_bucket(&set->geo, set->newest.btree_root.ptr));
	if (set->newest.btree_level)
		add(finder->names, "upper", finder->names->items[finder->names->n - 1].value);
	if (n) {
		add(finder->names, "first", leaf_bucket(finder, tree, 0));
		add(finder->names, "leaf", leaf_bucket(finder, tree, n / 2));
		add(finder->names, "last", leaf_bucket(finder, tree, n - 1));
	}
	if (n > 2)
		add(finder->names, "next", leaf_bucket(finder, tree, n / 2 + 1));
	if (finder->interior.n)
		add(finder->names, "inner",
		    *VEC_AT(&finder->interior, uint64_t, finder->interior.n / 2));
	if (finder->cold_keys != UINT32_MAX)
		add(finder->names, "cold", finder->cold);
	bcfmt_tree_free(tree);
	return err;
}

/* Entries: the newest, the one before, the oldest and a middle one to replay, older ones. */
static void find_journal(struct finder *finder)
{
	const struct bcfmt_set *set = finder->set;
	uint64_t newest = set->newest.seq, last = set->newest.last_seq, oldest = newest;

	for (size_t i = 0; i < set->journal.n_entries; i++)
		if (set->journal.entries[i].seq < oldest)
			oldest = set->journal.entries[i].seq;
	add(finder->names, "newest", newest);
	if (newest - last >= 2) {
		add(finder->names, "before", newest - 1);
		add(finder->names, "replay", last);
		add(finder->names, "middle", last + (newest - last) / 2);
	}
	if (oldest < last) {
		add(finder->names, "oldest", oldest);
		add(finder->names, "history", oldest + (last - oldest) / 2);
		add(finder->names, "recent", last - 1);
	}
}

static bcfmt_err find_all(struct finder *finder)
{
	const struct bcfmt_set *set = finder->set;

	if (!set->has_newest)
		return BCFMT_E_DAMAGED;
	add(finder->names, "journal", set->geo.first_bucket);
	add(finder->names, "ring", set->geo.journal_buckets);
	add(finder->names, "uuids", bcfmt_ptr_bucket(&set->geo, set->newest.uuid_bucket.ptr));
	if (set->n_prio_links)
		add(finder->names, "prios", set->prio_links[0].bucket);
	find_journal(finder);
	return find_nodes(finder);
}

bool names_find(struct names *names)
{
	struct finder finder = { .names = names };
	struct bcfmt_ctx *ctx = NULL;
	struct bcfmt_dev *dev = NULL;
	bcfmt_err err = bcfmt_ctx_new(&(struct bcfmt_ctx_params){ .threads = 1 }, &ctx);

	names->n = 0;
	if (!err)
		err = bcfmt_dev_open(ctx, "cache.img", 0, &dev);
	if (!err)
		err = bcfmt_set_open(ctx, &dev, 1, NULL, &finder.set);
	if (!err)
		err = find_all(&finder);
	if (err)
		fprintf(stderr, "damage_suite: cache.img: %s\n",
			ctx ? bcfmt_ctx_fault(ctx) : "out of memory");
	vec_free(&finder.interior);
	bcfmt_set_free(finder.set);
	bcfmt_dev_free(dev);
	bcfmt_ctx_free(ctx);
	return !err;
}

bool names_get(const struct names *names, const char *text, size_t len, uint64_t *value)
{
	for (size_t i = 0; i < names->n; i++) {
		if (strlen(names->items[i].text) != len ||
		    strncmp(names->items[i].text, text, len) != 0)
			continue;
		*value = names->items[i].value;
		return true;
	}
	return false;
}
