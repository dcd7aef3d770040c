/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The final extents of the leaves that were looked at last. A leaf is read by the first who asks
 * for it; others wait. Those that nobody has are dropped, the longest unused first.
 */
#include "set/leaf_cache.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "set/tree_impl.h"

#define MAX_BYTES_DEFAULT ((size_t)32 << 20)
#define CHAINS 1024u

struct bcfmt_leaf_cache {
	struct bcfmt_tree *tree; /* borrowed */
	size_t max_bytes;
	size_t bytes;
	pthread_mutex_t lock;
	pthread_cond_t is_ready;	     /* one of the leaves */
	struct cached_leaf *chains[CHAINS];  /* by index */
	struct cached_leaf *newest, *oldest; /* of those that are ready */
	size_t next;			     /* behind the leaf that was read last */
	size_t ahead;			     /* leaves before it were asked for */
};

bcfmt_err bcfmt_leaf_cache_new(struct bcfmt_tree *tree, size_t max_bytes,
			       struct bcfmt_leaf_cache **out)
{
	struct bcfmt_leaf_cache *cache = calloc(1, sizeof(*cache));

	*out = NULL;
	if (!cache)
		return bcfmt_fail(tree->set->ctx, BCFMT_E_NOMEM, "no memory for leaves");
	cache->tree = tree;
	cache->max_bytes = max_bytes ? max_bytes : MAX_BYTES_DEFAULT;
	if (pthread_mutex_init(&cache->lock, NULL)) {
		free(cache);
		return bcfmt_fail(tree->set->ctx, BCFMT_E_SYSTEM, "no lock to be had");
	}
	if (pthread_cond_init(&cache->is_ready, NULL)) {
		pthread_mutex_destroy(&cache->lock);
		free(cache);
		return bcfmt_fail(tree->set->ctx, BCFMT_E_SYSTEM, "no lock to be had");
	}
	*out = cache;
	return BCFMT_OK;
}

static void leaf_free(struct cached_leaf *leaf)
{
	free(leaf->extents);
	free(leaf->doubts);
	free(leaf);
}

static size_t leaf_bytes(const struct cached_leaf *leaf)
{
	return sizeof(*leaf) + leaf->n_extents * sizeof(*leaf->extents) +
	       leaf->n_doubts * sizeof(*leaf->doubts);
}

void bcfmt_leaf_cache_free(struct bcfmt_leaf_cache *cache)
{
	if (!cache)
		return;
	while (cache->newest) {
		struct cached_leaf *leaf = cache->newest;

		cache->newest = leaf->older;
		leaf_free(leaf);
	}
	pthread_cond_destroy(&cache->is_ready);
	pthread_mutex_destroy(&cache->lock);
	free(cache);
}

struct bcfmt_tree *leaf_cache_tree(const struct bcfmt_leaf_cache *cache)
{
	return cache->tree;
}

/* ---- the list by use, and the chains; all under the lock ---- */

static void list_remove(struct bcfmt_leaf_cache *cache, struct cached_leaf *leaf)
{
	*(leaf->newer ? &leaf->newer->older : &cache->newest) = leaf->older;
	*(leaf->older ? &leaf->older->newer : &cache->oldest) = leaf->newer;
}

static void list_add(struct bcfmt_leaf_cache *cache, struct cached_leaf *leaf)
{
	leaf->newer = NULL;
	leaf->older = cache->newest;
	*(cache->newest ? &cache->newest->newer : &cache->oldest) = leaf;
	cache->newest = leaf;
}

static void chain_remove(struct bcfmt_leaf_cache *cache, struct cached_leaf *leaf)
{
	struct cached_leaf **at = &cache->chains[leaf->index % CHAINS];

	while (*at != leaf)
		at = &(*at)->chain;
	*at = leaf->chain;
}

static struct cached_leaf *find(const struct bcfmt_leaf_cache *cache, size_t index)
{
	struct cached_leaf *leaf = cache->chains[index % CHAINS];

	while (leaf && leaf->index != index)
		leaf = leaf->chain;
	return leaf;
}

static void drop_unused(struct bcfmt_leaf_cache *cache)
{
	struct cached_leaf *leaf = cache->oldest;

	while (leaf && cache->bytes > cache->max_bytes) {
		struct cached_leaf *newer = leaf->newer;

		if (!leaf->users) {
			list_remove(cache, leaf);
			chain_remove(cache, leaf);
			cache->bytes -= leaf_bytes(leaf);
			leaf_free(leaf);
		}
		leaf = newer;
	}
}

/* ---- reading ---- */

static bool is_of_use(const struct bcfmt_extent *extent)
{
	/* Stale, but clean or written back: the backing device has it. */
	return !extent->stale || (extent->is_dirty && !extent->is_written_back);
}

/* A visitor's leaf(): what is given there is borrowed. */
static bcfmt_err keep_leaf(void *arg, const struct bcfmt_node_view *view,
			   const struct bcfmt_extent *extents, size_t n_extents)
{
	struct cached_leaf *leaf = arg;
	size_t n = 0;

	if (view->is_lost_since)
		return BCFMT_E_IO;
	for (size_t i = 0; i < n_extents; i++)
		n += is_of_use(&extents[i]);
	leaf->extents = malloc((n ? n : 1) * sizeof(*leaf->extents));
	leaf->doubts = malloc((view->n_doubts ? view->n_doubts : 1) * sizeof(*leaf->doubts));
	if (!leaf->extents || !leaf->doubts)
		return BCFMT_E_NOMEM;
	for (size_t i = 0; i < n_extents; i++)
		if (is_of_use(&extents[i]))
			leaf->extents[leaf->n_extents++] = extents[i];
	if (view->n_doubts)
		memcpy(leaf->doubts, view->doubts, view->n_doubts * sizeof(*leaf->doubts));
	leaf->n_doubts = view->n_doubts;
	leaf->doubts_why = leaf_doubts_why(view);
	return BCFMT_OK;
}

static bcfmt_err load(struct bcfmt_tree *tree, struct cached_leaf *leaf)
{
	const struct bcfmt_node_ref *ref = bcfmt_tree_leaf(tree, leaf->index);
	struct bcfmt_tree_visitor visitor = { .arg = leaf, .leaf = keep_leaf };
	bcfmt_err err = bcfmt_tree_range(tree, ref->lo, ref->hi, &visitor);

	if (err == BCFMT_E_IO)
		return bcfmt_fail(tree->set->ctx, err,
				  "%s: a leaf that could be read before cannot be read now",
				  bcfmt_dev_name(tree->set->cache.dev));
	return err;
}

/* Who reads leaf after leaf gets them read ahead; [*from, *until) are to be asked for. */
static void plan_ahead(struct bcfmt_leaf_cache *cache, size_t index, size_t *from, size_t *until)
{
	size_t n = bcfmt_tree_leaves(cache->tree);

	*from = *until = 0;
	if (index == cache->next && index) {
		*from = cache->ahead > index + 1 ? cache->ahead : index + 1;
		*until = index + 1 + nodes_ahead(&cache->tree->set->geo);
		*until = *until < n ? *until : n;
		cache->ahead = *until > *from ? *until : *from;
	} else {
		cache->ahead = index + 1;
	}
	cache->next = index + 1;
}

/* The lock is held, and while the leaf is read it is not. */
static void read_leaf(struct bcfmt_leaf_cache *cache, struct cached_leaf *leaf)
{
	size_t from, until;
	bcfmt_err err;

	plan_ahead(cache, leaf->index, &from, &until);
	pthread_mutex_unlock(&cache->lock);
	for (; from < until; from++)
		ref_read_ahead(cache->tree->set->cache.dev, bcfmt_tree_leaf(cache->tree, from));
	err = load(cache->tree, leaf);
	pthread_mutex_lock(&cache->lock);
	leaf->err = err;
	leaf->is_ready = true;
	if (err) {
		chain_remove(cache, leaf);
	} else {
		list_add(cache, leaf);
		cache->bytes += leaf_bytes(leaf);
		drop_unused(cache);
	}
	pthread_cond_broadcast(&cache->is_ready);
}

bcfmt_err leaf_cache_get(struct bcfmt_leaf_cache *cache, size_t index, struct cached_leaf **out)
{
	struct cached_leaf *leaf;
	bcfmt_err err = BCFMT_OK;

	*out = NULL;
	pthread_mutex_lock(&cache->lock);
	leaf = find(cache, index);
	if (leaf) {
		leaf->users++;
		while (!leaf->is_ready)
			pthread_cond_wait(&cache->is_ready, &cache->lock);
		if (!leaf->err && cache->newest != leaf) {
			list_remove(cache, leaf);
			list_add(cache, leaf);
		}
	} else {
		leaf = calloc(1, sizeof(*leaf));
		if (leaf) {
			leaf->index = index;
			leaf->users = 1;
			leaf->chain = cache->chains[index % CHAINS];
			cache->chains[index % CHAINS] = leaf;
			read_leaf(cache, leaf);
		}
	}
	err = leaf ? leaf->err : BCFMT_E_NOMEM;
	pthread_mutex_unlock(&cache->lock);
	if (!err)
		*out = leaf;
	else if (leaf)
		leaf_cache_put(cache, leaf);
	return err == BCFMT_E_NOMEM ? bcfmt_fail(cache->tree->set->ctx, err, "no memory for leaves")
				    : err;
}

void leaf_cache_put(struct bcfmt_leaf_cache *cache, struct cached_leaf *leaf)
{
	bool is_gone;

	pthread_mutex_lock(&cache->lock);
	/* One that could not be read is in no list: the last one frees it. */
	is_gone = !--leaf->users && leaf->err;
	if (!is_gone)
		drop_unused(cache);
	pthread_mutex_unlock(&cache->lock);
	if (is_gone)
		leaf_free(leaf);
}
