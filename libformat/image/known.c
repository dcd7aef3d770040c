/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Where pointers say that structures lie, damaged or not: a scan finds only what is right. */
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "base/checked.h"
#include "image/image_impl.h"

struct collect {
	struct bcfmt_set *set;
	struct vec *out;
	pthread_mutex_t lock; /* of out, while nodes are read */
};

static bcfmt_err push(struct collect *collect, const struct known *known)
{
	struct known *slot;

	/* Of a device that was cut short the end is not there. */
	if (known->bucket >= collect->set->geo.nbuckets)
		return BCFMT_OK;
	slot = vec_push(collect->out, sizeof(*slot));
	if (!slot)
		return bcfmt_fail(collect->set->ctx, BCFMT_E_NOMEM, "no memory for the nodes");
	*slot = *known;
	return BCFMT_OK;
}

static bcfmt_err push_node(struct collect *collect, const struct bcfmt_node_ref *ref)
{
	struct known known = {
		.bucket = bcfmt_ptr_bucket(&collect->set->geo, ref->ptr),
		.ptr = ref->ptr,
		.seq = collect->set->newest.seq,
		.sectors = ref->sectors,
		.kind = KNOWN_NODE,
	};

	return ref->sectors ? push(collect, &known) : BCFMT_OK;
}

static bcfmt_err see_interior(void *arg, const struct bcfmt_node_view *view)
{
	struct collect *collect = arg;
	bcfmt_err err;

	pthread_mutex_lock(&collect->lock);
	err = push_node(collect, view->ref);
	pthread_mutex_unlock(&collect->lock);
	return err;
}

static bcfmt_err collect_nodes(struct collect *collect)
{
	struct bcfmt_tree_visitor visitor = { .arg = collect, .node = see_interior };
	struct bcfmt_tree *tree = NULL;
	bcfmt_err err = bcfmt_tree_open(collect->set, &visitor, &tree);

	for (size_t i = 0; !err && i < bcfmt_tree_leaves(tree); i++)
		err = push_node(collect, bcfmt_tree_leaf(tree, i));
	bcfmt_tree_free(tree);
	return err;
}

static bcfmt_err collect_prios(struct collect *collect)
{
	const struct bcfmt_set *set = collect->set;
	uint32_t page_bytes = set->prio_page_bytes ? set->prio_page_bytes : set->geo.page_bytes;
	uint32_t meta_bytes = bcfmt_geometry_meta_bytes(set->geo.bucket_sectors, page_bytes);
	bcfmt_err err = BCFMT_OK;

	for (size_t i = 0; i < set->n_prio_links && !err; i++) {
		const struct bcfmt_prio_link *link = &set->prio_links[i];
		struct known known = {
			.bucket = link->bucket,
			.seq = set->newest.seq,
			.sectors = meta_bytes / BCFMT_SECTOR_BYTES,
			.kind = KNOWN_PRIO,
		};

		/* Only where a prio set was looked for. */
		if (link->state == BCFMT_PRIO_SET_RANGE || link->state == BCFMT_PRIO_SET_JOURNAL ||
		    link->state == BCFMT_PRIO_SET_LOOP)
			continue;
		err = push(collect, &known);
	}
	return err;
}

static bcfmt_err push_uuids(struct collect *collect, const struct bcfmt_jset *jset,
			    enum known_kind kind)
{
	const struct bcfmt_geometry *geo = &collect->set->geo;
	const struct bcfmt_key *key = &jset->uuid_bucket;
	struct known known = {
		.bucket = bcfmt_ptr_bucket(geo, key->ptr),
		.ptr = key->ptr,
		.seq = jset->seq,
		.sectors = bcfmt_key_sectors(key),
		.version = jset->version,
		.kind = kind,
	};

	if (bcfmt_key_fault_btree(geo, key) || !bcfmt_ptr_is_available(key->ptr) ||
	    known.bucket < geo->first_bucket || known.bucket >= geo->nbuckets)
		return BCFMT_OK;
	/* Something else may have its place by now; what it is, is told apart when it is read. */
	if (kind == KNOWN_OLD_UUIDS && collect->set->buckets[known.bucket].use & BCFMT_USE_METADATA)
		return BCFMT_OK;
	return push(collect, &known);
}

/* The tables that other entries than the newest name. */
static bcfmt_err collect_old_uuids(struct collect *collect)
{
	const struct bcfmt_journal *journal = &collect->set->journal;
	uint64_t last_ptr = 0;
	uint8_t *buf = NULL;
	size_t buf_bytes = 0;
	bcfmt_err err = BCFMT_OK;

	for (size_t i = 0; i < journal->n_entries && !err; i++) {
		struct bcfmt_jset jset;

		if (journal->entries[i].uuid_ptr == last_ptr)
			continue;
		last_ptr = journal->entries[i].uuid_ptr;
		err = bcfmt_journal_entry_load(journal, i, &buf, &buf_bytes, &jset);
		if (!err)
			err = push_uuids(collect, &jset, KNOWN_OLD_UUIDS);
		if (err == BCFMT_E_DAMAGED) /* read well a moment ago: the device is failing */
			err = BCFMT_OK;
	}
	free(buf);
	return err;
}

static int known_cmp(const void *a, const void *b)
{
	const struct known *x = a, *y = b;

	if (x->bucket != y->bucket)
		return x->bucket < y->bucket ? -1 : 1;
	if (x->kind != y->kind)
		return x->kind < y->kind ? -1 : 1;
	if (x->seq != y->seq)
		return x->seq > y->seq ? -1 : 1;
	return x->ptr < y->ptr ? -1 : x->ptr > y->ptr;
}

/* Without a journal nothing names the table. Nodes and prio sets the image finds by itself. */
static bcfmt_err collect_found_uuids(struct collect *collect)
{
	const struct bcfmt_geometry *geo = &collect->set->geo;
	struct known known = { .version = 1, .kind = KNOWN_UUIDS };
	bcfmt_err err = bcfmt_set_search(collect->set);

	if (err || !collect->set->found_uuids_ptr)
		return err;
	known.ptr = collect->set->found_uuids_ptr;
	known.bucket = bcfmt_ptr_bucket(geo, known.ptr);
	known.sectors = geo->meta_bytes / BCFMT_SECTOR_BYTES;
	return push(collect, &known);
}

static bcfmt_err collect_set(struct bcfmt_set *set, struct vec *out)
{
	struct collect collect = { .set = set, .out = out };
	bcfmt_err err;

	if (!set->has_newest)
		return collect_found_uuids(&collect);
	if (pthread_mutex_init(&collect.lock, NULL))
		return bcfmt_fail(set->ctx, BCFMT_E_SYSTEM, "no lock to be had");
	err = collect_nodes(&collect);
	if (!err)
		err = collect_prios(&collect);
	if (!err)
		err = push_uuids(&collect, &set->newest, KNOWN_UUIDS);
	if (!err)
		err = collect_old_uuids(&collect);
	pthread_mutex_destroy(&collect.lock);
	return err;
}

/* The set as the entry with this number describes it; 0: as a kernel would read it. */
static bcfmt_err collect_other(struct bcfmt_set *set, uint64_t seq, struct vec *out)
{
	struct bcfmt_set_params params = { .page_bytes = set->geo.page_bytes,
					   .incarnation_seq = seq };
	enum bcfmt_role role = BCFMT_ROLE_CACHE;
	struct bcfmt_set *other = NULL;
	bcfmt_err err;

	params.roles = &role;
	err = bcfmt_set_open(set->ctx, &set->cache.dev, 1, &params, &other);
	if (!err && (!other->has_newest || other->newest.seq != set->newest.seq))
		err = collect_set(other, out);
	bcfmt_set_free(other);
	return err;
}

bcfmt_err known_collect(struct bcfmt_set *set, struct vec *out)
{
	struct known *known;
	size_t n = 0;
	bcfmt_err err;

	if (!set->has_cache || !set->has_geometry)
		return BCFMT_OK;
	err = collect_set(set, out);
	if (!err && set->has_newest && set->histories.is_found)
		err = collect_other(set, 0, out);
	if (!err && set->has_newest && set->histories.newer_seq)
		err = collect_other(set, set->histories.newer_seq, out);
	if (err)
		return err;
	if (out->n > 1)
		qsort(out->items, out->n, sizeof(*known), known_cmp);
	known = out->items;
	for (size_t i = 0; i < out->n; i++)
		if (!n || known[n - 1].bucket != known[i].bucket)
			known[n++] = known[i];
	out->n = n;
	return BCFMT_OK;
}
