/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Searches the whole cache for nodes and prio sets, bucket by bucket in the order of the device. */
#include <stdlib.h>
#include <string.h>

#include "base/checked.h"
#include "codec/node_seq.h"
#include "read/scan.h"
#include "set/found.h"

/* Of buckets up to this size everything is read in a row; of larger ones only the begin. */
#define WHOLE_BUCKET_BYTES (256u << 10)
#define HEAD_BYTES (64u << 10)

struct search {
	struct bcfmt_set *set;
	struct found *found;
	struct scan *scan;
	struct node_reader reader;
	uint64_t bucket;
};

void found_free(struct found *found)
{
	if (!found)
		return;
	vec_free(&found->nodes);
	vec_free(&found->prios);
	free(found->kinds);
	free(found);
}

/* The key is like those that interior nodes have, a tombstone included. */
static bool is_node_key(const struct bcfmt_geometry *geo, const struct bcfmt_key *key)
{
	return bcfmt_key_sectors(key) == geo->node_sectors && bcfmt_key_ptr_count(key) == 1 &&
	       bcfmt_ptr_is_available(key->ptr) &&
	       !(bcfmt_ptr_sector(key->ptr) & (geo->bucket_sectors - 1));
}

/* What the keys say of the node: where they lie, and whether it can be an interior one. */
static void look_at_keys(const struct bcfmt_geometry *geo, const struct bcfmt_node *node,
			 struct found_node *out)
{
	struct bcfmt_node_iter it = bcfmt_node_iter_init(node);
	struct bcfmt_key key;
	uint32_t of_nodes = 0, of_size = 0, dirty = 0, all = 0;

	while (bcfmt_node_iter_next(&it, &key)) {
		struct bcfmt_pos start = bcfmt_key_start(&key), end = bcfmt_key_end(&key);

		if (!bcfmt_key_sectors(&key))
			continue;
		all++;
		of_nodes += is_node_key(geo, &key);
		of_size += bcfmt_key_sectors(&key) == geo->node_sectors;
		dirty += bcfmt_key_is_dirty(&key);
		if (bcfmt_key_is_zero_pos(&key) || bcfmt_key_fault_extent(geo, &key))
			continue;
		if (!out->keys || bcfmt_pos_cmp(start, out->first) < 0)
			out->first = start;
		if (!out->keys || bcfmt_pos_cmp(end, out->last) > 0)
			out->last = end;
		out->keys++;
	}
	/* One key may be damaged in an interior node, and look like a node's in a leaf. */
	out->level = of_nodes < all - of_nodes || dirty > all / 2 ? 0 : FOUND_LEVEL_UNKNOWN;
	out->has_dirty = dirty > 0;
	out->is_like_interior = of_size >= all - of_size;
}

static bcfmt_err take_node(struct search *search, uint64_t ptr)
{
	struct bcfmt_set *set = search->set;
	struct found_node *slot;
	bcfmt_err err =
		node_read(&search->reader, set->cache.dev, &set->geo, ptr, set->geo.node_sectors);

	if (err)
		return err;
	search->found->is_partial |= search->reader.bad.sectors > 0;
	slot = vec_push(&search->found->nodes, sizeof(*slot));
	if (!slot)
		return BCFMT_E_NOMEM;
	*slot = (struct found_node){ .ptr = ptr };
	slot->is_unsure = set->is_without_journal && !search->reader.bad.sectors &&
			  node_is_of_search(&set->geo, &search->reader.node, ptr);
	look_at_keys(&set->geo, &search->reader.node, slot);
	search->found->kinds[search->bucket] = FOUND_NODE;
	return BCFMT_OK;
}

static bcfmt_err take_prio(struct search *search, const struct scan_found *item)
{
	struct bcfmt_geometry geo = search->set->geo;
	struct bcfmt_prio_set prio;
	struct found_prio *slot = vec_push(&search->found->prios, sizeof(*slot));

	if (!slot)
		return BCFMT_E_NOMEM;
	geo.meta_bytes = item->bytes;
	bcfmt_prio_decode(&geo, item->raw, &prio);
	*slot = (struct found_prio){ .bucket = search->bucket,
				     .seq = prio.seq,
				     .next_bucket = prio.next_bucket,
				     .meta_bytes = item->bytes };
	search->found->kinds[search->bucket] = FOUND_PRIO;
	return BCFMT_OK;
}

static bcfmt_err on_bad(void *arg, uint64_t first_sector, uint64_t sectors)
{
	struct search *search = arg;

	(void)first_sector;
	(void)sectors;
	search->found->is_partial = true;
	return BCFMT_OK;
}

static bcfmt_err on_found(void *arg, const struct scan_found *item)
{
	struct search *search = arg;
	const struct bcfmt_geometry *geo = &search->set->geo;

	if (item->kind == SCAN_PRIO)
		return take_prio(search, item);
	/* Of version 0 no checksum says what it was written for. */
	if (!item->bset.version ||
	    bcfmt_ptr_sector(item->bset.ptr) != bcfmt_bucket_sector(geo, search->bucket))
		return BCFMT_OK;
	return take_node(search, item->bset.ptr);
}

/* The first bucket from this one on that is no hole of the device's. */
static bcfmt_err skip_hole(struct search *search, uint64_t *bucket, uint64_t *data_end)
{
	const struct bcfmt_geometry *geo = &search->set->geo;
	uint64_t at = bcfmt_bucket_sector(geo, *bucket) * BCFMT_SECTOR_BYTES, begin;
	bcfmt_err err;

	if (at < *data_end)
		return BCFMT_OK;
	err = bcfmt_dev_next_data(search->set->cache.dev, at, &begin, data_end);
	if (err == BCFMT_END) {
		*bucket = geo->nbuckets;
		return BCFMT_OK;
	}
	/* A device that cannot tell is read throughout. */
	if (err == BCFMT_E_NOMEM || err == BCFMT_E_CANCELLED)
		return err;
	if (err) {
		*data_end = UINT64_MAX;
		return BCFMT_OK;
	}
	if (begin > at)
		*bucket = begin / BCFMT_SECTOR_BYTES >> geo->bucket_shift;
	scan_hint(search->scan, *data_end);
	return BCFMT_OK;
}

static bcfmt_err search_all(struct search *search)
{
	const struct bcfmt_geometry *geo = &search->set->geo;
	struct bcfmt_ctx *ctx = search->set->ctx;
	uint64_t data_end = 0;
	bcfmt_err err = BCFMT_OK;

	for (uint64_t i = geo->first_bucket; !err && i < geo->nbuckets; i++) {
		uint64_t first;

		err = skip_hole(search, &i, &data_end);
		if (err || i >= geo->nbuckets)
			break;
		if (i < geo->first_bucket || bcfmt_bucket_is_journal(geo, i))
			continue;
		search->bucket = i;
		first = bcfmt_bucket_sector(geo, i);
		err = scan_range(search->scan, first, first + geo->bucket_sectors, true, on_found,
				 search);
		if (!err && bcfmt_ctx_is_cancelled(ctx))
			err = BCFMT_E_CANCELLED;
		if (!(i & 1023))
			bcfmt_ctx_progress(ctx, "search", i, geo->nbuckets);
	}
	bcfmt_ctx_progress(ctx, "search", geo->nbuckets, geo->nbuckets);
	return err;
}

bcfmt_err found_scan(struct bcfmt_set *set)
{
	struct search search = { .set = set };
	uint64_t bucket_bytes = (uint64_t)set->geo.bucket_sectors * BCFMT_SECTOR_BYTES;
	bcfmt_err err;

	if (set->found)
		return BCFMT_OK;
	search.found = calloc(1, sizeof(*search.found));
	if (search.found)
		search.found->kinds = calloc(set->geo.nbuckets, 1);
	if (!search.found || !search.found->kinds) {
		found_free(search.found);
		return bcfmt_fail(set->ctx, BCFMT_E_NOMEM, "no memory to search %llu buckets",
				  (unsigned long long)set->geo.nbuckets);
	}
	err = scan_new(set->ctx, set->cache.dev, &set->geo,
		       bucket_bytes > WHOLE_BUCKET_BYTES ? HEAD_BYTES : SCAN_WINDOW_BYTES, on_bad,
		       &search, &search.scan);
	if (!err)
		err = search_all(&search);
	scan_free(search.scan);
	node_reader_clear(&search.reader);
	if (err) {
		found_free(search.found);
		return err;
	}
	set->found = search.found;
	return BCFMT_OK;
}

struct found_node *found_node_at(const struct bcfmt_set *set, uint64_t bucket)
{
	const struct vec *nodes = &set->found->nodes;
	size_t low = 0, high = nodes->n;

	while (low < high) {
		size_t mid = low + (high - low) / 2;
		struct found_node *node = VEC_AT(nodes, struct found_node, mid);
		uint64_t at = bcfmt_ptr_bucket(&set->geo, node->ptr);

		if (at == bucket)
			return node;
		if (at < bucket)
			low = mid + 1;
		else
			high = mid;
	}
	return NULL;
}
