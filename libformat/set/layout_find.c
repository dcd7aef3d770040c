/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Chooses the set that a cache device holds, and whether its superblock agrees with it. */
#include "set/layout_find.h"

#include <stdio.h>
#include <string.h>

#include "base/bytes.h"

#define SCAN_LEAST_BYTES (64ull << 20)

struct candidate {
	struct sight *sight;
	struct layout layout;
	bool is_found;
	char why[LAYOUT_TEXT_BYTES];
};

static uint64_t set_magic_of(const struct bcfmt_super *super)
{
	return load_le64(super->set_uuid);
}

static bool is_seen(const struct sight *sight)
{
	return sight->n_jsets || sight->n_bsets || sight->n_prios;
}

static bool is_complete(const struct layout *layout)
{
	return layout->has_root && layout->has_chain && !layout->missing_entries;
}

/* The best witnesses are partners, then the superblock itself. */
static bool is_named_best(const struct layout_search *search, uint64_t set_magic)
{
	size_t n = search->n_partner_named ? search->n_partner_named : search->n_named;

	for (size_t i = 0; i < n; i++)
		if (search->named[i] == set_magic)
			return true;
	return false;
}

/*
 * A superblock that is taken is only compared with what its ring and the beginning hold; but where
 * nothing of its set is there, something is wrong.
 */
static bool is_far_enough(const struct layout_search *search, const struct sights *sights,
			  uint64_t offset_bytes)
{
	const struct bcfmt_super *stored = search->hints.stored;
	uint64_t end_bucket;
	bool is_known = false;

	if (!search->is_accepted || !stored)
		return false;
	for (size_t i = 0; i < sights->n; i++)
		is_known = is_known || (is_seen(&sights->items[i]) &&
					sights->items[i].set_magic == set_magic_of(stored));
	end_bucket = (uint64_t)stored->first_bucket + stored->keys;
	return is_known && offset_bytes >= SCAN_LEAST_BYTES &&
	       offset_bytes / 2 >= end_bucket * stored->bucket_sectors * BCFMT_SECTOR_BYTES;
}

/*
 * A set that something else names, whole in its places, with its ring behind us, needs no further
 * look. One that nothing names could be a leftover.
 */
static bool is_enough(void *arg, const struct sights *sights, uint64_t offset_bytes)
{
	struct layout_search *search = arg;

	for (size_t i = 0; !search->err && i < sights->n; i++) {
		const struct sight *sight = &sights->items[i];
		struct layout layout;
		char why[LAYOUT_TEXT_BYTES];

		if (!is_named_best(search, sight->set_magic) || !sight->n_jsets ||
		    sight->end_jset_sector * BCFMT_SECTOR_BYTES > offset_bytes / 2)
			continue;
		search->err = layout_derive(search->ctx, search->dev, sight, &search->hints,
					    &layout, why);
		if (search->err == BCFMT_END) {
			search->err = BCFMT_OK;
			continue;
		}
		if (!search->err && is_complete(&layout) && !layout.is_block_guess &&
		    layout.newest_seq == sight->newest.seq &&
		    (uint64_t)layout.first_bucket + layout.journal_buckets <=
			    offset_bytes / BCFMT_SECTOR_BYTES >> layout.bucket_log2)
			return true;
	}
	return search->err != BCFMT_OK || is_far_enough(search, sights, offset_bytes);
}

/* How much a candidate is preferred: named by a partner, by the superblock, whole. */
static unsigned int rank(const struct layout_search *search, const struct candidate *candidate)
{
	unsigned int rank = 0;

	for (size_t i = 0; i < search->n_named; i++)
		if (search->named[i] == candidate->sight->set_magic)
			rank = i < search->n_partner_named ? 8 : 4;
	return rank + 2u * is_complete(&candidate->layout) + 1u * candidate->layout.has_root;
}

/* The one set that the device holds; END when there is none or no single one. */
static bcfmt_err choose(struct layout_search *search, struct candidate *best,
			char why[LAYOUT_WHY_BYTES])
{
	unsigned int best_rank = 0, n_best = 0;
	uint64_t other = 0;

	snprintf(why, LAYOUT_WHY_BYTES,
		 "no journal entry, node or prio set of any set is on the device");
	best->is_found = false;
	for (size_t i = 0; i < search->sights.n; i++) {
		struct candidate this = { .sight = &search->sights.items[i] };
		unsigned int this_rank;
		bcfmt_err err;

		if (!is_seen(this.sight))
			continue;
		err = layout_derive(search->ctx, search->dev, this.sight, &search->hints,
				    &this.layout, this.why);
		if (err && err != BCFMT_END)
			return err;
		if (err) {
			if (!best->is_found)
				snprintf(why, LAYOUT_WHY_BYTES,
					 "%llu journal entries and %llu nodes' parts of a set are "
					 "there, but %s",
					 (unsigned long long)this.sight->n_jsets,
					 (unsigned long long)this.sight->n_bsets, this.why);
			continue;
		}
		this.is_found = true;
		this_rank = rank(search, &this);
		if (!best->is_found || this_rank > best_rank) {
			*best = this;
			best_rank = this_rank;
			n_best = 0;
		} else if (this_rank == best_rank) {
			other = this.sight->set_magic;
		}
		n_best += this_rank == best_rank;
	}
	if (n_best > 1)
		snprintf(why, LAYOUT_WHY_BYTES,
			 "remains of %u sets are equally good, their set uuids begin with "
			 "%016llx and %016llx: give a backing device of the right one along",
			 n_best, (unsigned long long)__builtin_bswap64(best->sight->set_magic),
			 (unsigned long long)__builtin_bswap64(other));
	return n_best == 1 ? BCFMT_OK : BCFMT_END;
}

/*
 * Whether an accepted superblock may stay, though another can be made of what was found. It may
 * belong to a set that was made anew over the old one, of which nothing is written yet.
 */
static bcfmt_err may_stay(struct layout_search *search, bool *may)
{
	const struct bcfmt_super *stored = search->hints.stored;
	const struct layout *layout = &search->layout;
	struct layout own = { 0 };
	char why[LAYOUT_TEXT_BYTES];
	bcfmt_err err;

	*may = true;
	if (!(stored->flags & BCFMT_SUPER_FLAG_SYNC) && !stored->keys)
		return BCFMT_OK;
	if (set_magic_of(stored) != search->sight->set_magic) {
		*may = !is_complete(layout) ||
		       stored->bucket_sectors != 1u << layout->bucket_log2 ||
		       stored->nbuckets_or_data_offset != layout->nbuckets ||
		       stored->keys != layout->journal_buckets;
		return BCFMT_OK;
	}
	/* Without an entry the sizes are all that can be compared. */
	if (!search->sight->n_jsets) {
		*may = stored->bucket_sectors == 1u << layout->bucket_log2 &&
		       (layout->is_block_guess ||
			stored->block_sectors == 1u << layout->block_log2);
		return BCFMT_OK;
	}
	err = layout_verify(search->ctx, search->dev, stored, &own, why);
	if (err && err != BCFMT_END)
		return err;
	own.has_pointers = stored->nbuckets_or_data_offset * stored->bucket_sectors >=
			   search->sight->end_sector;
	if (err || layout_quality(&own) < layout_quality(layout) ||
	    own.newest_seq < layout->newest_seq || own.n_entries < layout->n_entries ||
	    (!layout->is_block_guess && stored->block_sectors != 1u << layout->block_log2))
		*may = false;
	return BCFMT_OK;
}

bool layout_is_complete(const struct layout *layout)
{
	return is_complete(layout);
}

size_t layout_differences(const struct bcfmt_super *stored, const struct bcfmt_super *found,
			  struct layout_difference out[LAYOUT_DIFFERENCES])
{
	const struct layout_difference all[LAYOUT_DIFFERENCES] = {
		{ "bucket size in sectors", stored->bucket_sectors, found->bucket_sectors },
		{ "block size in sectors", stored->block_sectors, found->block_sectors },
		{ "number of buckets", stored->nbuckets_or_data_offset,
		  found->nbuckets_or_data_offset },
		{ "first bucket", stored->first_bucket, found->first_bucket },
		{ "number of journal buckets", stored->keys, found->keys },
		{ "number of caches in the set", stored->nr_in_set, found->nr_in_set },
	};
	size_t n = 0;

	for (size_t i = 0; i < LAYOUT_DIFFERENCES; i++)
		if (all[i].stored != all[i].found)
			out[n++] = all[i];
	return n;
}

void layout_search_name(struct layout_search *search, uint64_t set_magic)
{
	for (size_t i = 0; i < search->n_named; i++)
		if (search->named[i] == set_magic)
			return;
	if (set_magic && search->n_named < LAYOUT_NAMED_MAX)
		search->named[search->n_named++] = set_magic;
}

bcfmt_err layout_search_run(struct layout_search *search)
{
	struct candidate best = { 0 };
	bcfmt_err err = sights_scan(search->ctx, search->dev, search->named, search->n_named,
				    is_enough, search, &search->sights);

	if (!err)
		err = search->err;
	if (!err)
		err = choose(search, &best, search->why);
	for (size_t i = 0; i < search->sights.n; i++)
		search->is_any_seen = search->is_any_seen || is_seen(&search->sights.items[i]);
	if (err)
		return err;
	search->sight = best.sight;
	search->layout = best.layout;
	return search->is_accepted ? may_stay(search, &search->may_stay) : BCFMT_OK;
}

void layout_search_clear(struct layout_search *search)
{
	sights_free(&search->sights);
}
