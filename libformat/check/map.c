/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The bucket map: one walk over the tree, and what the tables of the set tell. It knows the places of
 * damage that a check tells of, not what follows from it.
 */
#include "check/map_build.h"

#include <stdlib.h>
#include <string.h>

#include <bcfmt/loss.h>

#include "base/checked.h"
#include "check/check_impl.h"
#include "codec/key_iter.h"
#include "set/plain.h"
#include "set/tree_impl.h"

#define ORDER_MAX 10u
_Static_assert(BCFMT_MAP_PLACES_MAX == 1u << 2 * ORDER_MAX, "the largest curve");
#define PART_PLACES 4096u

static uint64_t node_bucket(const struct map_build *b, const struct bcfmt_node_ref *ref)
{
	return bcfmt_ptr_bucket(&b->set->geo, ref->ptr);
}

/* ---- nodes ---- */

static bool is_bad_key(const struct map_build *b, const struct bcfmt_node_ref *ref,
		       const struct bcfmt_key *key)
{
	const struct bcfmt_geometry *geo = &b->set->geo;
	struct bcfmt_pos start = ref->level ? bcfmt_key_end(key) : bcfmt_key_start(key);
	int from_lo = bcfmt_pos_cmp(start, ref->lo);
	enum bcfmt_key_fault fault = ref->level ? BCFMT_KEY_OK : bcfmt_key_fault_extent(geo, key);

	if (bcfmt_key_ptr_count(key) > 1 || bcfmt_key_csum_type(key) ||
	    (!ref->level && check_is_elsewhere(geo, key)))
		return true;
	if (!bcfmt_key_sectors(key) || (ref->level && bcfmt_key_is_zero_pos(key)))
		return false;
	/* A range that a search gave may be another one than the node had. */
	return (fault && fault != BCFMT_KEY_ZERO_SIZE) ||
	       (!ref->is_found && (from_lo < 0 || (ref->level && !from_lo) ||
				   bcfmt_pos_cmp(bcfmt_key_end(key), ref->hi) > 0));
}

static bool is_odd_place(const struct map_build *b, const struct bcfmt_node_ref *ref)
{
	return bcfmt_ptr_sector(ref->ptr) & (b->set->geo.bucket_sectors - 1) ||
	       ref->sectors < b->set->geo.block_sectors || !is_pow2(ref->sectors) ||
	       check_is_cut_short(&b->set->geo, ref);
}

static bcfmt_err see_node(void *arg, const struct bcfmt_node_view *view)
{
	struct map_build *b = arg;
	struct bcfmt_node_iter it = bcfmt_node_iter_init(view->node);
	struct bcfmt_key key;
	bool is_bad = view->node->fault || view->bad.sectors || view->is_overrun ||
		      view->is_disordered || is_odd_place(b, view->ref);

	while (!view->is_plain && !is_bad && node_iter_step(&it, &key))
		is_bad = is_bad_key(b, view->ref, &key);
	if (is_bad)
		map_mark(b, node_bucket(b, view->ref), MARK_DAMAGED);
	if (view->bad.sectors)
		__atomic_fetch_add(&b->map->unreadable, 1, __ATOMIC_RELAXED);
	return BCFMT_OK;
}

static bcfmt_err see_child(void *arg, const struct bcfmt_node_ref *parent,
			   const struct bcfmt_key *key, enum bcfmt_child_fault fault,
			   enum bcfmt_key_fault key_fault)
{
	struct map_build *b = arg;

	(void)key_fault;
	if (fault == BCFMT_CHILD_OK)
		return BCFMT_OK;
	if (parent)
		map_mark(b, node_bucket(b, parent), MARK_DAMAGED);
	else
		map_mark(b, map_entry_bucket(b, b->set->newest_index), MARK_DAMAGED);
	if (fault != BCFMT_CHILD_INVALID && fault != BCFMT_CHILD_OTHER_MEMBER)
		map_mark(b, bcfmt_ptr_bucket(&b->set->geo, key->ptr), MARK_DAMAGED);
	b->map->is_partial |= fault != BCFMT_CHILD_SEEN;
	return BCFMT_OK;
}

static bcfmt_err see_gap(void *arg, const struct bcfmt_node_ref *parent, struct bcfmt_pos lo,
			 struct bcfmt_pos hi)
{
	struct map_build *b = arg;

	(void)lo;
	(void)hi;
	map_mark(b, node_bucket(b, parent), MARK_DAMAGED);
	b->map->is_partial = true;
	return BCFMT_OK;
}

/* ---- leaves ---- */

static void add_sectors(struct map_build *b, uint64_t dirty_sectors, uint64_t clean_sectors)
{
	__atomic_fetch_add(&b->dirty_sectors, dirty_sectors, __ATOMIC_RELAXED);
	__atomic_fetch_add(&b->clean_sectors, clean_sectors, __ATOMIC_RELAXED);
}

/* Of the doubts, which are in order like the extents, those before the extent are left behind. */
static bool is_in_doubt(const struct bcfmt_node_view *view, const struct bcfmt_extent *extent,
			size_t *next)
{
	struct bcfmt_pos from = { extent->inode, extent->start_sector };
	struct bcfmt_pos to = { extent->inode, extent->end_sector };

	while (*next < view->n_doubts && bcfmt_pos_cmp(view->doubts[*next].hi, from) <= 0)
		(*next)++;
	return *next < view->n_doubts && bcfmt_pos_cmp(view->doubts[*next].lo, to) < 0;
}

static bcfmt_err see_extents(struct map_build *b, const struct bcfmt_node_view *view,
			     const struct bcfmt_extent *extents, size_t n_extents)
{
	size_t doubt = 0; /* the next of them */
	struct used_shard *shard = used_take(b->used);
	uint64_t dirty_sectors = 0, clean_sectors = 0;
	bcfmt_err err = shard ? BCFMT_OK : BCFMT_E_NOMEM;

	for (size_t i = 0; !err && i < n_extents; i++) {
		const struct bcfmt_extent *at = &extents[i];
		uint64_t bucket = bcfmt_ptr_bucket(&b->set->geo, at->ptr);
		uint64_t sectors = at->end_sector - at->start_sector;

		if (bucket >= b->set->geo.nbuckets)
			continue;
		if (at->stale > BCFMT_STALE_MAX ||
		    (at->stale && at->is_dirty && !at->is_written_back))
			map_mark(b, bucket, MARK_DOUBTFUL_DATA);
		if (at->stale)
			continue;
		dirty_sectors += at->is_dirty ? sectors : 0;
		clean_sectors += at->is_dirty ? 0 : sectors;
		if (!at->is_dirty && !b->set->has_all_prios)
			map_mark(b, bucket, MARK_CLEAN);
		if (is_in_doubt(view, at, &doubt))
			map_mark(b, bucket, MARK_DOUBTFUL_DATA);
		if (__atomic_load_n(&b->set->buckets[bucket].use, __ATOMIC_RELAXED) &
		    BCFMT_USE_METADATA)
			map_mark(b, bucket, MARK_DAMAGED);
		else
			err = used_add(b->used, shard, bcfmt_ptr_sector(at->ptr), sectors);
	}
	if (shard)
		used_give(b->used, shard);
	add_sectors(b, dirty_sectors, clean_sectors);
	return err;
}

static bcfmt_err see_leaf(void *arg, const struct bcfmt_node_view *view,
			  const struct bcfmt_extent *extents, size_t n_extents)
{
	struct map_build *b = arg;

	if (!view->ref->sectors)
		__atomic_store_n(&b->map->is_partial, true, __ATOMIC_RELAXED);
	else if (view->lost_sectors)
		map_mark(b, node_bucket(b, view->ref), MARK_DAMAGED);
	else if (view->n_doubts)
		map_mark(b, node_bucket(b, view->ref), MARK_DOUBTFUL_DATA);
	return n_extents ? see_extents(b, view, extents, n_extents) : BCFMT_OK;
}

static bcfmt_err see_plain(void *arg, const struct bcfmt_node_view *view)
{
	struct map_build *b = arg;
	const uint8_t *raw = view->node->bsets[0].keys;
	struct used_shard *shard = used_take(b->used);
	uint64_t dirty_sectors = 0, all_sectors = 0;
	bcfmt_err err = shard ? BCFMT_OK : BCFMT_E_NOMEM;

	for (size_t left = view->keys; !err && left; left--, raw += PLAIN_KEY_BYTES) {
		struct bcfmt_key key = plain_key(raw);
		uint64_t sectors = bcfmt_key_sectors(&key);

		all_sectors += sectors;
		dirty_sectors += bcfmt_key_is_dirty(&key) ? sectors : 0;
		err = used_add(b->used, shard, bcfmt_ptr_sector(key.ptr), sectors);
	}
	if (shard)
		used_give(b->used, shard);
	add_sectors(b, dirty_sectors, all_sectors - dirty_sectors);
	return err;
}

static void forget_leaves(struct map_build *b)
{
	used_free(b->used);
	b->used = NULL;
	b->dirty_sectors = b->clean_sectors = 0;
	for (uint64_t i = 0; b->has_data_marks && i < b->set->geo.nbuckets; i++)
		b->marks[i] &= (uint8_t) ~(MARK_DOUBTFUL_DATA | MARK_CLEAN);
	b->has_data_marks = false;
}

/* Extents in the order of their place: one that begins before another ends shares sectors. */
static bcfmt_err see_placed(void *arg, const struct bcfmt_extent *extent, uint64_t leaf_ptr)
{
	struct map_build *b = arg;
	uint64_t sector = bcfmt_ptr_sector(extent->ptr);

	(void)leaf_ptr;
	if (extent->stale)
		return BCFMT_OK;
	if (sector < b->end_sector)
		map_mark(b, bcfmt_ptr_bucket(&b->set->geo, extent->ptr), MARK_DOUBTFUL);
	b->end_sector = max_u64(b->end_sector, sector + extent->end_sector - extent->start_sector);
	return BCFMT_OK;
}

static bcfmt_err mark_twice(struct map_build *b)
{
	bool is_suspect;
	bcfmt_err err = used_finish(b->used, false, &is_suspect);

	if (err || !is_suspect)
		return err;
	return bcfmt_tree_physical(b->tree, (struct bcfmt_pos){ 0, 0 }, bcfmt_pos_max(), see_placed,
				   b);
}

static bcfmt_err walk(struct map_build *b)
{
	struct bcfmt_tree_visitor visitor = {
		.arg = b, .node = see_node, .child = see_child, .gap = see_gap
	};
	uint64_t max_bytes = max_u64(bcfmt_ctx_max_bytes(b->set->ctx) / 2, 1u << 20);
	bool again = true;
	bcfmt_err err = bcfmt_tree_open(b->set, &visitor, &b->tree);

	visitor.leaf = see_leaf;
	visitor.plain = see_plain;
	while (!err && again) {
		forget_leaves(b);
		err = used_new(b->set, max_bytes, false, &b->used);
		if (!err)
			err = bcfmt_tree_walk_leaves(b->tree, &visitor, &again);
	}
	return err ? err : mark_twice(b);
}

/* ---- the result ---- */

/* By the bits of use; of several the one that matters most. */
static void fill_bases(uint8_t bases[256])
{
	static const uint8_t by_bit[8] = {
		BCFMT_MAP_SUPER, BCFMT_MAP_JOURNAL, BCFMT_MAP_PRIOS, BCFMT_MAP_UUIDS,
		BCFMT_MAP_NODE,	 BCFMT_MAP_CLEAN,   BCFMT_MAP_DIRTY, BCFMT_MAP_FREE,
	};

	for (unsigned int use = 0; use < 256; use++) {
		unsigned int owners = use & BCFMT_USE_METADATA;

		bases[use] = BCFMT_MAP_FREE;
		for (unsigned int bit = 0; bit < 8; bit++)
			if (use & 1u << bit && by_bit[bit] > bases[use])
				bases[use] = by_bit[bit];
		if (owners & (owners - 1))
			bases[use] |= MAP_DAMAGED;
	}
}

struct classify {
	struct map_build *b;
	uint8_t bases[256];
	uint64_t buckets[BCFMT_MAP_USES]; /* atomic */
};

static uint8_t mark_value(const struct map_build *b, unsigned int marks, unsigned int value)
{
	bool is_data;

	if (value == BCFMT_MAP_CLEAN && !b->set->has_all_prios && !(marks & MARK_CLEAN))
		value = BCFMT_MAP_FREE;
	is_data = value == BCFMT_MAP_CLEAN || value == BCFMT_MAP_DIRTY;
	if (marks & MARK_DAMAGED)
		value |= MAP_DAMAGED;
	else if (marks & ~MARK_CLEAN || (is_data && b->map->has_journal_gap))
		value |= MAP_DOUBTFUL;
	return (uint8_t)(value & MAP_DAMAGED ? value & ~MAP_DOUBTFUL : value);
}

static bcfmt_err classify_part(void *arg, struct worker *worker, uint32_t part)
{
	struct classify *cl = arg;
	const struct map_build *b = cl->b;
	struct bcfmt_map *map = b->map;
	uint64_t buckets[MAP_DAMAGED + BCFMT_MAP_SUPER + 1] = { 0 };
	uint32_t place = part * PART_PLACES;
	uint32_t end = (uint32_t)min_u64((uint64_t)place + PART_PLACES, map->n_places);
	uint64_t bucket = bcfmt_map_place_bucket(map, place);
	bool is_special = b->marks || map->has_journal_gap || !b->set->has_all_prios;

	(void)worker;
	for (; place < end; place++) {
		uint64_t last = bcfmt_map_place_bucket(map, place + 1);
		uint8_t most = 0;

		for (; bucket < last; bucket++) {
			uint8_t value = cl->bases[b->set->buckets[bucket].use];

			if (is_special)
				value = mark_value(b, b->marks ? b->marks[bucket] : 0, value);
			buckets[value]++;
			most = value > most ? value : most;
		}
		map->places[place] = most;
	}
	for (unsigned int value = 0; value < sizeof(buckets) / sizeof(buckets[0]); value++) {
		if (!buckets[value])
			continue;
		__atomic_fetch_add(&cl->buckets[value & MAP_BASE_MASK], buckets[value],
				   __ATOMIC_RELAXED);
		if (value > MAP_BASE_MASK)
			__atomic_fetch_add(&cl->buckets[value & MAP_DAMAGED ? BCFMT_MAP_DAMAGED
									    : BCFMT_MAP_DOUBTFUL],
					   buckets[value], __ATOMIC_RELAXED);
	}
	return BCFMT_OK;
}

static bcfmt_err classify(struct map_build *b)
{
	struct classify cl = { .b = b };
	struct bcfmt_map *map = b->map;
	uint32_t n_parts = (uint32_t)div_round_up(map->n_places, PART_PLACES);
	uint32_t order[BCFMT_MAP_PLACES_MAX / PART_PLACES];
	bcfmt_err err;

	fill_bases(cl.bases);
	for (uint32_t i = 0; i < n_parts; i++)
		order[i] = i;
	err = crew_run(b->set, "buckets", NULL, order, n_parts, classify_part, &cl);
	for (unsigned int use = 0; use < BCFMT_MAP_USES; use++)
		map->totals[use] = (struct bcfmt_map_total){
			cl.buckets[use],
			cl.buckets[use] << map->geo.bucket_shift << 9,
		};
	map->totals[BCFMT_MAP_DIRTY].bytes = b->dirty_sectors * BCFMT_SECTOR_BYTES;
	map->totals[BCFMT_MAP_CLEAN].bytes = b->clean_sectors * BCFMT_SECTOR_BYTES;
	return err;
}

static bcfmt_err build(struct map_build *b)
{
	struct bcfmt_map *map = b->map;
	struct bcfmt_set *set = b->set;
	bcfmt_err err;

	map->ctx = set->ctx;
	map->geo = set->geo;
	memcpy(map->set_uuid, set->cache.super.set_uuid, BCFMT_UUID_BYTES);
	map->n_places = (uint32_t)min_u64(set->geo.nbuckets, BCFMT_MAP_PLACES_MAX);
	while (1u << 2 * map->order < map->n_places)
		map->order++;
	map->places = malloc(map->n_places);
	if (!map->places)
		return BCFMT_E_NOMEM;
	err = bcfmt_set_search(set);
	map->has_tree = set->has_tree;
	map->is_partial = !map->has_tree;
	if (!err && map->has_tree)
		err = walk(b);
	map->has_journal_gap = map->has_tree && bcfmt_set_after_gap(b->set);
	if (!err)
		err = map_mark_tables(b);
	if (!err && b->is_out_of_memory)
		err = BCFMT_E_NOMEM;
	return err ? err : classify(b);
}

bcfmt_err bcfmt_map_make(struct bcfmt_set *set, struct bcfmt_map **out)
{
	struct map_build b = { .set = set };
	bcfmt_err err;

	*out = NULL;
	if (!set->has_geometry)
		return bcfmt_fail(set->ctx, BCFMT_E_DAMAGED, "%s: no usable cache superblock",
				  set->has_cache ? bcfmt_dev_name(set->cache.dev) : "cache");
	if (pthread_mutex_init(&b.lock, NULL))
		return bcfmt_fail(set->ctx, BCFMT_E_SYSTEM, "no lock to be had");
	b.map = calloc(1, sizeof(*b.map));
	err = b.map ? build(&b) : BCFMT_E_NOMEM;
	if (err == BCFMT_E_NOMEM)
		bcfmt_fail(set->ctx, err, "no memory for a map of %llu buckets",
			   (unsigned long long)set->geo.nbuckets);
	bcfmt_tree_free(b.tree);
	used_free(b.used);
	free(b.marks);
	pthread_mutex_destroy(&b.lock);
	if (err)
		bcfmt_map_free(b.map);
	else
		*out = b.map;
	return err;
}

void bcfmt_map_free(struct bcfmt_map *map)
{
	if (!map)
		return;
	free(map->places);
	free(map);
}

const struct bcfmt_map_total *bcfmt_map_totals(const struct bcfmt_map *map)
{
	return map->totals;
}

uint64_t bcfmt_map_unreadable(const struct bcfmt_map *map)
{
	return map->unreadable;
}

bool bcfmt_map_is_partial(const struct bcfmt_map *map)
{
	return map->is_partial;
}

uint32_t bcfmt_map_places(const struct bcfmt_map *map)
{
	return map->n_places;
}

/* Below 2^43 buckets, at most 2^20 places: no overflow. */
uint64_t bcfmt_map_place_bucket(const struct bcfmt_map *map, uint32_t place)
{
	return map->geo.nbuckets * place / map->n_places;
}

struct bcfmt_map_place bcfmt_map_place(const struct bcfmt_map *map, uint32_t place)
{
	unsigned int value = map->places[place];
	enum bcfmt_map_use base = (enum bcfmt_map_use)(value & MAP_BASE_MASK);

	return (struct bcfmt_map_place){ value & MAP_DAMAGED	? BCFMT_MAP_DAMAGED
					 : value & MAP_DOUBTFUL ? BCFMT_MAP_DOUBTFUL
								: base,
					 base };
}
