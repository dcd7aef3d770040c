/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The interior levels, one at a time: all nodes of a level are read, all their keys raise gens
 * (tombstones of freed nodes included), and only then are child pointers judged stale. For that
 * the nodes are read again, one by one: no more keys than those of one node are ever held. Every
 * bucket is taken as a node once at most, so that no loop of pointers keeps the walk going.
 */
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "set/tree_impl.h"

/* Key of an interior node with its place in the order of writing. */
struct child_key {
	struct bcfmt_key key;
	uint32_t order;
};

struct level {
	struct bcfmt_tree *tree;
	const struct bcfmt_tree_visitor *visitor;
	struct bcfmt_node_ref *refs;
	size_t n_refs;
	bool *has_bad;	 /* per ref: sectors of it could not be read */
	struct vec keys; /* struct child_key, of one node */
	pthread_mutex_t lock;
	struct vec traces; /* uint64_t, buckets of freed nodes; sorted once all nodes were read */
	struct vec below;  /* struct bcfmt_node_ref of the next level */
};

bcfmt_err ref_read(struct bcfmt_set *set, struct worker *worker, const struct bcfmt_node_ref *ref,
		   struct bcfmt_node_view *view)
{
	bcfmt_err err =
		node_read(&worker->reader, set->cache.dev, &set->geo, ref->ptr, ref->sectors);

	memset(view, 0, sizeof(*view));
	view->ref = ref;
	view->node = &worker->reader.node;
	view->bad = worker->reader.bad;
	return err;
}

bcfmt_err ref_count(struct worker *worker, struct bcfmt_node_view *view)
{
	return node_view_count(view, &worker->reader.node, &worker->ranges);
}

static void raise_gens(struct bcfmt_set *set, const struct bcfmt_node *node)
{
	struct bcfmt_node_iter it = bcfmt_node_iter_init(node);
	struct bcfmt_key key;

	while (bcfmt_node_iter_next(&it, &key))
		if (bcfmt_key_sectors(&key) && bcfmt_key_ptr_count(&key))
			set_raise_gen(set, key.ptr);
}

/* Which nodes were freed, by what a node of the level above theirs says. */
static bcfmt_err collect_traces(struct level *level, const struct bcfmt_node *node)
{
	struct bcfmt_node_iter it = bcfmt_node_iter_init(node);
	struct bcfmt_key key;
	bcfmt_err err = BCFMT_OK;

	while (!err && bcfmt_node_iter_next(&it, &key)) {
		uint64_t *trace;

		if (!bcfmt_key_is_zero_pos(&key) || !bcfmt_key_ptr_count(&key))
			continue;
		pthread_mutex_lock(&level->lock);
		trace = vec_push(&level->traces, sizeof(*trace));
		if (trace)
			*trace = bcfmt_ptr_bucket(&level->tree->set->geo, key.ptr);
		else
			err = BCFMT_E_NOMEM;
		pthread_mutex_unlock(&level->lock);
	}
	return err;
}

static int bucket_cmp(const void *a, const void *b)
{
	const uint64_t *x = a, *y = b;

	return *x < *y ? -1 : *x > *y;
}

static bcfmt_err collect_keys(const struct bcfmt_node *node, struct vec *out)
{
	struct bcfmt_node_iter it = bcfmt_node_iter_init(node);
	struct bcfmt_key key;

	out->n = 0;
	while (bcfmt_node_iter_next(&it, &key)) {
		struct child_key *slot = vec_push(out, sizeof(*slot));

		if (!slot)
			return BCFMT_E_NOMEM;
		slot->key = key;
		slot->order = (uint32_t)out->n;
	}
	return BCFMT_OK;
}

static bcfmt_err read_interior(void *arg, struct worker *worker, uint32_t index)
{
	struct level *level = arg;
	const struct bcfmt_tree_visitor *visitor = level->visitor;
	struct bcfmt_node_view view;
	bcfmt_err err;

	if (!level->refs[index].sectors)
		return BCFMT_OK;
	err = ref_read(level->tree->set, worker, &level->refs[index], &view);
	if (!err)
		err = ref_count(worker, &view);
	if (err)
		return err;
	level->has_bad[index] = view.bad.sectors != 0;
	raise_gens(level->tree->set, view.node);
	err = collect_traces(level, view.node);
	if (err)
		return err;
	return visitor->node ? visitor->node(visitor->arg, &view) : BCFMT_OK;
}

/* By position; of equal ones the newer first, as the kernel sorts them. */
static int child_cmp(const void *a, const void *b)
{
	const struct child_key *x = a, *y = b;
	int order = bcfmt_pos_cmp(bcfmt_key_end(&x->key), bcfmt_key_end(&y->key));

	if (order)
		return order;
	return x->order > y->order ? -1 : x->order < y->order;
}

/* Why a child cannot be followed; marks its bucket when it can. */
static enum bcfmt_child_fault take_child(struct bcfmt_set *set, const struct bcfmt_key *key,
					 unsigned int level, enum bcfmt_key_fault *key_fault)
{
	uint64_t bucket = bcfmt_ptr_bucket(&set->geo, key->ptr);
	struct bcfmt_bucket *at;

	*key_fault = bcfmt_key_fault_btree(&set->geo, key);
	if (*key_fault)
		return BCFMT_CHILD_INVALID;
	if (bcfmt_ptr_dev(key->ptr) != set->geo.nr_this_dev)
		return BCFMT_CHILD_OTHER_MEMBER;
	/* The map ends with the device where that is shorter than its superblock says. */
	if (bucket >= set->geo.nbuckets) {
		*key_fault = BCFMT_KEY_PAST_END;
		return BCFMT_CHILD_INVALID;
	}
	at = &set->buckets[bucket];
	if (at->use & BCFMT_USE_NODE)
		return at->sectors == level + 1 ? BCFMT_CHILD_SEEN : BCFMT_CHILD_OTHER_LEVEL;
	if (at->use & BCFMT_USE_METADATA)
		return BCFMT_CHILD_METADATA;
	at->use |= BCFMT_USE_NODE;
	at->sectors = (uint16_t)(level + 1);
	return BCFMT_CHILD_OK;
}

static bcfmt_err report_child(const struct bcfmt_tree_visitor *visitor,
			      const struct bcfmt_node_ref *parent, const struct bcfmt_key *key,
			      enum bcfmt_child_fault fault, enum bcfmt_key_fault key_fault)
{
	if (!fault || !visitor->child)
		return BCFMT_OK;
	return visitor->child(visitor->arg, parent, key, fault, key_fault);
}

/* A range without a node becomes a ref without sectors: the journal may still have keys there. */
static bcfmt_err push_gap(struct level *level, const struct bcfmt_node_ref *parent,
			  struct bcfmt_pos lo, struct bcfmt_pos hi, bool is_told)
{
	struct bcfmt_node_ref *ref;

	if (bcfmt_pos_cmp(lo, hi) >= 0)
		return BCFMT_OK;
	if (is_told && level->visitor->gap) {
		bcfmt_err err = level->visitor->gap(level->visitor->arg, parent, lo, hi);

		if (err)
			return err;
	}
	if (tree_add_region(level->tree, lo, hi))
		return BCFMT_E_NOMEM;
	ref = vec_push(&level->below, sizeof(*ref));
	if (!ref)
		return BCFMT_E_NOMEM;
	*ref = (struct bcfmt_node_ref){ .lo = lo, .hi = hi, .level = (uint8_t)(parent->level - 1) };
	return BCFMT_OK;
}

/*
 * What a child that cannot be followed leaves open. Of twins the newer is followed; what a freed
 * node's trace does not say any more is not to be had elsewhere.
 */
static bcfmt_err add_child_region(struct level *level, const struct bcfmt_node_ref *parent,
				  enum bcfmt_child_fault fault, struct bcfmt_pos lo,
				  const struct bcfmt_key *key)
{
	const struct bcfmt_geometry *geo = &level->tree->set->geo;
	struct bcfmt_pos hi = bcfmt_key_end(key);

	/* There is more of the device than the superblock says: not all can be found then. */
	if (bcfmt_key_fault_btree(geo, key) == BCFMT_KEY_PAST_END &&
	    bcfmt_ptr_sector(key->ptr) < geo->dev_sectors)
		level->tree->is_cut_off = true;
	if (fault == BCFMT_CHILD_DUPLICATE || bcfmt_key_is_zero_pos(key))
		return BCFMT_OK;
	if (bcfmt_pos_cmp(hi, parent->hi) > 0)
		hi = parent->hi;
	/* Its place in the order is as wrong as the key may be. */
	if (bcfmt_pos_cmp(lo, hi) >= 0)
		return tree_add_region(level->tree, parent->lo, parent->hi);
	return tree_add_region(level->tree, lo, hi);
}

/*
 * Whoever frees a node puts its trace into the parent, by the same write that names the nodes in its
 * place, and only then its pointer becomes stale; what is written anew leaves both out. A pointer
 * that is stale without a trace, and without another one in its place, means that a write to the
 * parent is lost or that a gen is wrong. (The trace may be in another node since the parent was
 * split.) kernel: btree_split(), btree_gc_coalesce(), make_btree_freeing_key().
 */
static bool is_freed(const struct level *level, const struct bcfmt_key *stale)
{
	const struct bcfmt_set *set = level->tree->set;
	uint64_t bucket = bcfmt_ptr_bucket(&set->geo, stale->ptr);

	if (level->traces.n &&
	    bsearch(&bucket, level->traces.items, level->traces.n, sizeof(bucket), bucket_cmp))
		return true;
	for (size_t i = 0; i < level->keys.n; i++) {
		const struct bcfmt_key *key = &VEC_AT(&level->keys, const struct child_key, i)->key;

		if (!bcfmt_pos_cmp(bcfmt_key_end(key), bcfmt_key_end(stale)) &&
		    bcfmt_key_ptr_count(key) && !bcfmt_set_stale(set, key->ptr))
			return true;
	}
	return false;
}

/* Appends the children of one node to the next level. */
static bcfmt_err take_children(struct level *level, const struct bcfmt_node_ref *parent)
{
	struct bcfmt_set *set = level->tree->set;
	const struct child_key *child = level->keys.items;
	struct bcfmt_pos lo = parent->lo;

	if (level->keys.n > 1)
		qsort(level->keys.items, level->keys.n, sizeof(*child), child_cmp);
	for (size_t i = 0; i < level->keys.n; i++) {
		const struct bcfmt_key *key = &child[i].key;
		struct bcfmt_pos hi = bcfmt_key_end(key);
		enum bcfmt_key_fault key_fault = BCFMT_KEY_OK;
		enum bcfmt_child_fault fault = BCFMT_CHILD_OK;
		struct bcfmt_node_ref *ref;
		bcfmt_err err;

		/* A kernel refuses impossible pointers before it asks whether they are stale. */
		key_fault = bcfmt_key_fault_btree(&set->geo, key);
		if (!key_fault && bcfmt_key_is_zero_pos(key))
			continue;
		if (!key_fault && bcfmt_set_stale(set, key->ptr)) {
			if (!is_freed(level, key) &&
			    add_child_region(level, parent, BCFMT_CHILD_OK, lo, key))
				return BCFMT_E_NOMEM;
			continue;
		}
		if (bcfmt_pos_cmp(hi, parent->hi) > 0)
			hi = parent->hi;
		if (!key_fault && bcfmt_pos_cmp(hi, lo) <= 0)
			fault = BCFMT_CHILD_DUPLICATE;
		else
			fault = take_child(set, key, parent->level - 1u, &key_fault);
		err = report_child(level->visitor, parent, key, fault, key_fault);
		if (err)
			return err;
		if (fault && add_child_region(level, parent, fault, lo, key))
			return BCFMT_E_NOMEM;
		if (fault)
			continue;
		ref = vec_push(&level->below, sizeof(*ref));
		if (!ref)
			return BCFMT_E_NOMEM;
		*ref = (struct bcfmt_node_ref){ .ptr = key->ptr,
						.lo = lo,
						.hi = hi,
						.sectors = bcfmt_key_sectors(key),
						.level = (uint8_t)(parent->level - 1) };
		lo = hi;
	}
	return push_gap(level, parent, lo, parent->hi, parent->sectors != 0);
}

/*
 * Reads one node again for its children; without a node its range stays a gap. A device may fail
 * now that did not the first time: then the node is told as it is now.
 */
static bcfmt_err descend(struct level *level, struct worker *worker, size_t index)
{
	const struct bcfmt_tree_visitor *visitor = level->visitor;
	const struct bcfmt_node_ref *ref = &level->refs[index];
	struct bcfmt_node_view view;
	bcfmt_err err = BCFMT_OK;

	level->keys.n = 0;
	if (ref->sectors) {
		level->tree->n_interior++;
		err = ref_read(level->tree->set, worker, ref, &view);
		if (!err)
			err = ref_count(worker, &view);
		/* A part of a node does not show that it is one. */
		if (!err && (view.node->fault || view.bad.sectors || view.is_overrun ||
			     ref->sectors < level->tree->set->geo.node_sectors))
			err = tree_add_region(level->tree, ref->lo, ref->hi);
		if (!err && view.bad.sectors && !level->has_bad[index] && visitor->node)
			err = visitor->node(visitor->arg, &view);
		if (!err)
			err = collect_keys(view.node, &level->keys);
	}
	return err ? err : take_children(level, ref);
}

static bcfmt_err read_level(struct level *level)
{
	uint32_t *order = device_order(level->refs, level->n_refs);
	struct worker worker;
	bcfmt_err err;

	level->has_bad = calloc(level->n_refs, sizeof(*level->has_bad));
	if (!order || !level->has_bad) {
		free(order);
		free(level->has_bad);
		return BCFMT_E_NOMEM;
	}
	err = crew_run(level->tree->set, "interior nodes", level->refs, order, level->n_refs,
		       read_interior, level);
	free(order);
	if (level->traces.n)
		qsort(level->traces.items, level->traces.n, sizeof(uint64_t), bucket_cmp);
	memset(&worker, 0, sizeof(worker));
	for (size_t i = 0; !err && i < level->n_refs; i++)
		err = descend(level, &worker, i);
	worker_clear(&worker);
	free(level->has_bad);
	vec_free(&level->keys);
	vec_free(&level->traces);
	return err;
}

/* The root as the only node of its level, or a gap over everything when there is none. */
static bcfmt_err take_root(struct bcfmt_tree *tree, const struct bcfmt_tree_visitor *visitor,
			   struct bcfmt_node_ref *root)
{
	struct bcfmt_set *set = tree->set;
	const struct bcfmt_key *key = &set->newest.btree_root;
	enum bcfmt_key_fault key_fault = BCFMT_KEY_OK;
	enum bcfmt_child_fault fault;

	*root = (struct bcfmt_node_ref){ .hi = bcfmt_pos_max(), .is_root = true };
	if (!set->has_newest)
		return BCFMT_OK;
	/* The kernel keeps the level in 8 bits. */
	root->level = (uint8_t)set->newest.btree_level;
	set_raise_gen(set, key->ptr);
	fault = take_child(set, key, root->level, &key_fault);
	if (fault)
		return report_child(visitor, NULL, key, fault, key_fault);
	root->ptr = key->ptr;
	root->sectors = bcfmt_key_sectors(key);
	return BCFMT_OK;
}

bcfmt_err interior_walk(struct bcfmt_tree *tree, const struct bcfmt_tree_visitor *visitor)
{
	struct bcfmt_node_ref root;
	struct vec refs = { 0 };
	struct bcfmt_node_ref *slot;
	bcfmt_err err = take_root(tree, visitor, &root);

	if (err)
		return err;
	slot = vec_push(&refs, sizeof(*slot));
	if (!slot)
		return BCFMT_E_NOMEM;
	*slot = root;
	/* Without a root there is one leaf-level gap over the whole key space. */
	if (!root.sectors) {
		slot->level = 0;
		err = tree_add_region(tree, root.lo, root.hi);
	}
	for (unsigned int height = slot->level; !err && height > 0; height--) {
		struct level level = { .tree = tree,
				       .visitor = visitor,
				       .refs = refs.items,
				       .n_refs = refs.n,
				       .lock = PTHREAD_MUTEX_INITIALIZER };

		err = read_level(&level);
		vec_free(&refs);
		refs = level.below;
	}
	if (err) {
		vec_free(&refs);
		return err;
	}
	tree->leaves = refs;
	return BCFMT_OK;
}
