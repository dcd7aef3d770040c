/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Room for what is written, where a cache is full. Clean cached data is given up: journal entries
 * with keys without a pointer come first, which say that nothing is cached there; once they are
 * durable, the buckets are of no use to the old state either. It is the last resort: what is called
 * clean can be the only good copy where a disk lost what it was given.
 */
#include <stdlib.h>

#include "base/checked.h"
#include "repair/rewrite.h"

/* Kernels since 6.16 want as many for new nodes; older ones as many as there are journal buckets. */
#define RESERVE_LEAST 32u
#define HOLE_WORDS 2u
/* Of hole keys; enough for any cache that can be repaired at all. */
#define ENTRIES_MAX 64u

struct room {
	struct rewrite *rw;
	uint8_t *keys; /* of the entry that is being filled */
	uint32_t words;
	uint32_t words_max;
	uint64_t seq; /* of the last entry */
};

/* Buckets that may be written at most: leaves, what is above them, tables. */
static uint64_t estimate(const struct rewrite *rw)
{
	const struct bcfmt_geometry *geo = &rw->set->geo;
	size_t n = bcfmt_tree_leaves(rw->tree);
	uint64_t loose = 0, leaves;

	for (size_t i = 0; i < n; i++)
		loose += !rw->is_kept[i];
	leaves = loose ? bcfmt_tree_nodes_max(geo, 0, rw->loose_extents) + loose : 0;
	return leaves + bcfmt_tree_nodes_max(geo, 0, n + leaves) +
	       bcfmt_geometry_prio_buckets(geo) + 1;
}

/* Buckets of the old metadata, which the new state does not use. */
static uint64_t freed_metadata(const struct rewrite *rw)
{
	const struct bcfmt_set *set = rw->set;
	uint64_t n = 0;

	for (uint64_t i = 0; i < set->geo.nbuckets; i++)
		n += set->buckets[i].use & (BCFMT_USE_NODE | BCFMT_USE_PRIO | BCFMT_USE_UUID) &&
		     !(rw->buckets->marks[i] & BUCKET_KEPT);
	return n;
}

static bool is_clean_only(const struct rewrite *rw, uint64_t bucket)
{
	return (rw->set->buckets[bucket].use & ~(unsigned int)BCFMT_USE_DAMAGED) == BCFMT_USE_CLEAN;
}

/*
 * Marks so many buckets with clean data, those with the lowest priority first, as a kernel does;
 * returns how many there were.
 */
static uint64_t choose(struct rewrite *rw, uint64_t wanted)
{
	const struct bcfmt_set *set = rw->set;
	uint64_t chosen = 0, of_prio[256] = { 0 }, sum = 0;
	unsigned int most = 0;

	for (uint64_t i = 0; i < set->geo.nbuckets; i++)
		if (is_clean_only(rw, i))
			of_prio[set->buckets[i].prio >> 8]++;
	while (most < 255 && sum + of_prio[most] < wanted)
		sum += of_prio[most++];
	for (uint64_t i = 0; i < set->geo.nbuckets && chosen < wanted; i++) {
		if (!is_clean_only(rw, i) || set->buckets[i].prio >> 8 > most)
			continue;
		rw->buckets->marks[i] |= BUCKET_GIVEN_UP;
		chosen++;
	}
	return chosen;
}

static bcfmt_err end_entry(struct room *room)
{
	struct bcfmt_repair_run *repair = room->rw->repair;
	struct bcfmt_jset jset = room->rw->set->newest;

	if (!room->words)
		return BCFMT_OK;
	if (repair->room.n == ENTRIES_MAX)
		return bcfmt_fail(repair->ctx, BCFMT_E_UNSUPPORTED,
				  "%s: too much clean data would have to be given up",
				  bcfmt_dev_name(room->rw->set->cache.dev));
	jset.seq = ++room->seq;
	jset.keys = room->keys;
	jset.keys_field = room->words;
	for (unsigned int i = 0; i < BCFMT_MAX_MEMBERS; i++)
		if (i != room->rw->set->geo.nr_this_dev)
			jset.prio_bucket[i] = 0;
	room->words = 0;
	return journal_place(repair, &jset, PHASE_ROOM);
}

static bcfmt_err add_holes(void *arg, const struct bcfmt_node_view *view,
			   const struct bcfmt_extent *extents, size_t n_extents)
{
	struct room *room = arg;
	const struct rewrite *rw = room->rw;
	bcfmt_err err = BCFMT_OK;

	(void)view;
	for (size_t i = 0; !err && i < n_extents; i++) {
		const struct bcfmt_extent *extent = &extents[i];
		uint64_t bucket = bcfmt_ptr_bucket(&rw->set->geo, extent->ptr);
		struct bcfmt_key key;

		if (extent->stale || extent->is_dirty || bucket >= rw->set->geo.nbuckets ||
		    !(rw->buckets->marks[bucket] & BUCKET_GIVEN_UP))
			continue;
		if (room->words + HOLE_WORDS > room->words_max)
			err = end_entry(room);
		key = bcfmt_key_make(extent->inode, extent->end_sector,
				     (uint32_t)(extent->end_sector - extent->start_sector), false,
				     false, 0);
		if (!err)
			room->words += bcfmt_key_encode(&key, room->keys + 8ull * room->words);
	}
	return err;
}

static bcfmt_err write_holes(struct rewrite *rw)
{
	const struct bcfmt_geometry *geo = &rw->set->geo;
	uint64_t bytes = min_u64((uint64_t)geo->bucket_sectors * BCFMT_SECTOR_BYTES,
				 (uint64_t)BCFMT_JSET_MAX_PAGES * geo->page_bytes);
	struct room room = { .rw = rw, .seq = rw->set->newest.seq };
	struct bcfmt_tree_visitor visitor = { .arg = &room, .leaf = add_holes };
	bcfmt_err err;

	room.words_max = (uint32_t)(bytes - BCFMT_JSET_HEADER_BYTES) / 8;
	room.keys = malloc(8ull * room.words_max);
	if (!room.keys)
		return bcfmt_fail(rw->repair->ctx, BCFMT_E_NOMEM, "out of memory for the journal");
	err = bcfmt_tree_range(rw->tree, (struct bcfmt_pos){ 0, 0 }, bcfmt_pos_max(), &visitor);
	if (!err)
		err = end_entry(&room);
	free(room.keys);
	return err;
}

bcfmt_err room_make(struct rewrite *rw, bool *is_made)
{
	uint64_t need = estimate(rw), unused = buckets_unused(rw->buckets);
	uint64_t reserve = bcfmt_geometry_prio_buckets(&rw->set->geo);
	uint64_t left = unused + freed_metadata(rw), wanted = 0, chosen;

	*is_made = false;
	if (unused < need)
		wanted = need - unused;
	if (left < need + reserve)
		wanted = max_u64(wanted, need + reserve - left + RESERVE_LEAST);
	if (!wanted || !plan_may_ask(rw->repair))
		return BCFMT_OK;
	chosen = choose(rw, wanted);
	rw->repair->counts.freed_buckets = chosen;
	*is_made = chosen > 0;
	return chosen ? write_holes(rw) : BCFMT_OK;
}
