/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Gens where the prio sets of the newest entry are lost. Older entries name older prio sets, and
 * the buckets of those are used anew late. Their gens are too low by what was given up since then:
 * buckets with clean data only, and nodes that were replaced. So together with all pointers they
 * tell which dirty data is current. Of clean data they do not.
 */
#include <stdlib.h>
#include <string.h>

#include "base/checked.h"
#include "set/found.h"

/* So many older chains are tried. */
#define CHAINS_MAX 64u

struct older {
	struct bcfmt_set *set;
	struct bcfmt_geometry geo; /* in the layout that is tried */
	uint8_t *raw;
	uint64_t *buckets;  /* of the chain, in order */
	uint8_t *is_led_to; /* one a bucket, all 0: for a search */
	uint64_t n;
};

static bool is_in_chain(const struct older *older, uint64_t n, uint64_t bucket)
{
	for (uint64_t i = 0; i < n; i++)
		if (older->buckets[i] == bucket)
			return true;
	return false;
}

/* The chain that begins in a bucket is whole: all of its sets verify and were written at once. */
static bool has_chain(struct older *older, uint64_t bucket)
{
	const struct bcfmt_geometry *geo = &older->geo;
	uint64_t seq = 0;

	for (uint64_t i = 0; i < older->n; i++) {
		struct bcfmt_prio_set prio;

		if (bucket < geo->first_bucket || bucket >= geo->nbuckets ||
		    bcfmt_bucket_is_journal(geo, bucket) || is_in_chain(older, i, bucket) ||
		    prio_set_read(older->set->cache.dev, geo, bucket, older->raw, &prio) !=
			    PRIO_STATE_OK ||
		    (i && prio.seq != seq))
			return false;
		seq = prio.seq;
		older->buckets[i] = bucket;
		bucket = prio.next_bucket;
	}
	return true;
}

static void mark_taken(struct bcfmt_set *set, uint64_t bucket)
{
	struct found_prio *prio = set->found ? set->found->prios.items : NULL;

	for (size_t i = 0; prio && i < set->found->prios.n; i++)
		prio[i].is_taken |= prio[i].bucket == bucket;
}

/* Takes the gens of a chain for the buckets that no newer set tells of. */
static bool take_chain(struct older *older)
{
	struct bcfmt_set *set = older->set;
	struct bcfmt_prio_set prio;

	for (uint64_t i = 0; i < older->n; i++) {
		uint64_t first = i * older->geo.prios_per_bucket;
		uint64_t n = min_u64(older->geo.prios_per_bucket, set->geo.nbuckets - first);

		if (prio_set_read(set->cache.dev, &older->geo, older->buckets[i], older->raw,
				  &prio) != PRIO_STATE_OK)
			return false;
		mark_taken(set, older->buckets[i]);
		for (uint32_t j = 0; j < n; j++) {
			struct bcfmt_bucket *bucket = &set->buckets[first + j];

			if (bucket->gen_flags & BUCKET_GEN_ON_DISK)
				continue;
			bcfmt_prio_entry(older->raw, j, &bucket->prio, &bucket->disk_gen);
			bucket->gen = bucket->disk_gen;
			bucket->gen_flags = BUCKET_GEN_ON_DISK | BUCKET_GEN_OLDER;
		}
	}
	return true;
}

static bool try_entries(struct older *older)
{
	struct bcfmt_set *set = older->set;
	const struct bcfmt_journal_entry *entries = set->journal.entries;
	uint64_t last = entries[set->newest_index].prio_bucket;
	size_t begin = replay_history_begin(set);
	unsigned int tried = 0;

	for (size_t i = set->newest_index; i-- > begin && tried < CHAINS_MAX;) {
		if (entries[i].prio_bucket == last)
			continue;
		last = entries[i].prio_bucket;
		tried++;
		if (!has_chain(older, last))
			continue;
		set->prios_index = i;
		return take_chain(older);
	}
	return false;
}

/* The chain of the sets with this number, whose first one no other of them leads to, is whole. */
static bool has_chain_of(struct older *older, uint64_t seq)
{
	const struct found *found = older->set->found;
	const struct found_prio *prio = found->prios.items;
	uint8_t *is_led_to = older->is_led_to;
	unsigned int tried = 0;
	bool is_whole = false;

	for (size_t i = 0; i < found->prios.n; i++)
		if (prio[i].seq == seq && prio[i].next_bucket < older->geo.nbuckets)
			is_led_to[prio[i].next_bucket] = 1;
	for (size_t i = 0; i < found->prios.n && !is_whole && tried < CHAINS_MAX; i++) {
		if (prio[i].seq != seq || is_led_to[prio[i].bucket])
			continue;
		tried++;
		is_whole = has_chain(older, prio[i].bucket);
	}
	for (size_t i = 0; i < found->prios.n; i++)
		if (prio[i].next_bucket < older->geo.nbuckets)
			is_led_to[prio[i].next_bucket] = 0;
	return is_whole;
}

/* Of all that a search found, the whole chain with the highest number. */
static bool try_found(struct older *older)
{
	const struct found *found = older->set->found;
	const struct found_prio *prio = found->prios.items;
	uint64_t below = UINT64_MAX;
	bool is_found = false;

	for (unsigned int tried = 0; !is_found && tried < CHAINS_MAX; tried++) {
		uint64_t best = 0;

		for (size_t i = 0; i < found->prios.n; i++)
			if (prio[i].seq < below && prio[i].seq > best)
				best = prio[i].seq;
		if (!best)
			break;
		below = best;
		is_found = has_chain_of(older, best);
	}
	return is_found && take_chain(older);
}

bcfmt_err set_load_older_prios(struct bcfmt_set *set)
{
	static const uint32_t writer_page_bytes[] = { 0, 4096, 16384, 65536 };
	struct older older = { .set = set };
	bcfmt_err err = BCFMT_OK;

	if (set->has_all_prios || set->histories.is_found)
		return BCFMT_OK;
	for (size_t i = 0; !err && !set->has_older_prios && i < 4; i++) {
		uint32_t page_bytes =
			writer_page_bytes[i] ? writer_page_bytes[i] : set->geo.page_bytes;

		older.geo = prio_layout_for(&set->geo, page_bytes);
		/* Layouts differ only where buckets are large. */
		if (i && older.geo.meta_bytes == set->geo.meta_bytes)
			continue;
		older.n = bcfmt_geometry_prio_buckets(&older.geo);
		older.raw = malloc(older.geo.meta_bytes);
		older.buckets = calloc(older.n, sizeof(*older.buckets));
		if (!set->has_newest)
			older.is_led_to = calloc(set->geo.nbuckets, 1);
		if (older.raw && older.buckets && (set->has_newest || older.is_led_to))
			set->has_older_prios =
				set->has_newest ? try_entries(&older) : try_found(&older);
		else
			err = bcfmt_fail(set->ctx, BCFMT_E_NOMEM, "no memory for the prio sets");
		free(older.is_led_to);
		free(older.raw);
		free(older.buckets);
	}
	return err;
}

void set_drop_unproved_clean(const struct bcfmt_set *set, struct vec *extents)
{
	for (size_t i = 0; i < extents->n; i++) {
		struct bcfmt_extent *extent = VEC_AT(extents, struct bcfmt_extent, i);
		uint64_t bucket = bcfmt_ptr_bucket(&set->geo, extent->ptr);

		if (extent->is_dirty || extent->stale || bucket >= set->geo.nbuckets ||
		    (set->buckets[bucket].gen_flags & (BUCKET_GEN_ON_DISK | BUCKET_GEN_OLDER)) ==
			    BUCKET_GEN_ON_DISK)
			continue;
		extent->stale = 1;
	}
}
