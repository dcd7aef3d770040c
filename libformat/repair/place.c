/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Where the new journal entry goes: where a kernel's search of the ring ends with it, and where
 * nothing lies that the old state or its history still needs. Places are tried on an overlay that
 * is thrown away: the ring is read from it as from any device.
 */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "base/checked.h"
#include "repair/repair_impl.h"

/* How much of the ring an entry may destroy, if it is torn. */
enum harm {
	HARM_NONE,    /* no whole entry lies there */
	HARM_OLD,     /* one that is older than the replay window */
	HARM_FOREIGN, /* one that belongs to no window: newer, of another history */
	HARM_NEEDED,  /* one of the window */
};

struct place {
	uint32_t ring_index;
	uint32_t sector; /* in its bucket */
	enum harm harm;
	uint32_t order; /* of two with the same harm the first is better */
};

static enum harm harm_of(const struct bcfmt_repair_run *repair, const struct place *place,
			 uint32_t sectors)
{
	const struct bcfmt_set *set = repair->set;
	const struct bcfmt_journal *journal = &set->journal;
	enum harm harm = HARM_NONE;

	for (size_t i = 0; i < repair->room.n; i++) {
		const struct journal_room *room =
			VEC_AT(&repair->room, const struct journal_room, i);

		if (room->ring_index == place->ring_index &&
		    room->sector < place->sector + sectors &&
		    place->sector < room->sector + room->sectors)
			return HARM_NEEDED;
	}

	for (size_t i = 0; i < journal->n_mended; i++) {
		const struct bcfmt_journal_entry *entry = &journal->mended[i].entry;
		uint32_t end = entry->sector + entry->blocks * set->geo.block_sectors;

		if (entry->ring_index == place->ring_index && entry->seq >= set->window_seq &&
		    entry->sector < place->sector + sectors && end > place->sector)
			return HARM_NEEDED;
	}
	for (size_t i = 0; i < journal->n_entries; i++) {
		const struct bcfmt_journal_entry *entry = &journal->entries[i];
		uint32_t end = entry->sector + entry->blocks * set->geo.block_sectors;
		enum harm one = entry->seq < set->window_seq   ? HARM_OLD
				: entry->seq > set->newest.seq ? HARM_FOREIGN
							       : HARM_NEEDED;

		if (entry->ring_index != place->ring_index ||
		    entry->sector >= place->sector + sectors || end <= place->sector)
			continue;
		harm = one > harm ? one : harm;
	}
	return harm;
}

/* Behind everything that is read in sequence in a bucket. */
static uint32_t end_of_sequence(const struct bcfmt_set *set, uint32_t ring_index)
{
	const struct bcfmt_journal *journal = &set->journal;
	uint32_t end = 0;

	for (size_t i = 0; i < journal->n_entries; i++) {
		const struct bcfmt_journal_entry *entry = &journal->entries[i];

		if (entry->ring_index == ring_index && entry->is_in_sequence)
			end = (uint32_t)max_u64(
				end, entry->sector + entry->blocks * set->geo.block_sectors);
	}
	return end;
}

static bcfmt_err add_place(const struct bcfmt_repair_run *repair, struct vec *places,
			   uint32_t ring_index, uint32_t sector, uint32_t sectors)
{
	const struct bcfmt_set *set = repair->set;
	struct place *place;

	if (sector > set->geo.bucket_sectors || sectors > set->geo.bucket_sectors - sector)
		return BCFMT_OK;
	place = vec_push(places, sizeof(*place));
	if (!place)
		return bcfmt_fail(set->ctx, BCFMT_E_NOMEM, "out of memory for the journal");
	*place = (struct place){ ring_index, sector, HARM_NONE, (uint32_t)places->n };
	place->harm = harm_of(repair, place, sectors);
	return BCFMT_OK;
}

static int place_cmp(const void *a, const void *b)
{
	const struct place *x = a, *y = b;

	if (x->harm != y->harm)
		return x->harm < y->harm ? -1 : 1;
	return x->order < y->order ? -1 : x->order > y->order;
}

/*
 * Behind the newest entry, then the buckets of the ring from the next one on: at their start, and
 * behind what a kernel reads there. The least harmful first.
 */
static bcfmt_err find_places(const struct bcfmt_repair_run *repair, uint32_t sectors,
			     struct vec *places)
{
	const struct bcfmt_set *set = repair->set;
	const struct bcfmt_journal *journal = &set->journal;
	uint32_t n = set->geo.journal_buckets, first = 0;
	bcfmt_err err = BCFMT_OK;

	if (set->has_newest) {
		const struct bcfmt_journal_entry *newest = &journal->entries[set->newest_index];

		first = newest->ring_index;
		err = add_place(repair, places, first,
				newest->sector + newest->blocks * set->geo.block_sectors, sectors);
	}
	for (size_t i = 0; !err && i < repair->room.n; i++) {
		const struct journal_room *room =
			VEC_AT(&repair->room, const struct journal_room, i);

		err = add_place(repair, places, room->ring_index, room->sector + room->sectors,
				sectors);
	}
	for (uint32_t i = 0; !err && i < n; i++) {
		uint32_t ring_index = (first + 1 + i) % n;

		err = add_place(repair, places, ring_index, 0, sectors);
		if (!err)
			err = add_place(repair, places, ring_index,
					end_of_sequence(set, ring_index), sectors);
	}
	if (!err && places->n)
		qsort(places->items, places->n, sizeof(struct place), place_cmp);
	return err;
}

/* The kernel's search ends with the entry, and finds all that it needs. */
static bool is_found(const struct bcfmt_journal *journal, const struct bcfmt_jset *jset)
{
	return journal->has_entries && journal->entries[journal->newest].seq == jset->seq &&
	       journal->n_kernel == jset->seq - jset->last_seq + 1 &&
	       journal->kernel_list[journal->n_kernel - 1] == journal->newest;
}

static bcfmt_err try_place(struct bcfmt_repair_run *repair, const struct bcfmt_jset *jset,
			   const struct place *place, bool *is_good)
{
	const struct bcfmt_geometry *geo = &repair->set->geo;
	struct bcfmt_target target = { .ctx = repair->ctx, .geo = geo };
	struct bcfmt_journal_histories histories = { 0 };
	struct bcfmt_journal journal = { 0 };
	struct bcfmt_dev *trial;
	bcfmt_err err = bcfmt_dev_overlay(repair->ctx, repair->set->cache.dev, &trial);

	*is_good = false;
	if (err)
		return err;
	target.dev = trial;
	err = bcfmt_jset_write(&target, jset, place->ring_index, place->sector);
	if (!err)
		err = bcfmt_journal_read(repair->ctx, trial, geo, &journal);
	if (!err)
		err = bcfmt_journal_histories(repair->ctx, &journal, &histories);
	if (!err)
		*is_good = is_found(&journal, jset) && !histories.is_found;
	bcfmt_journal_clear(&journal);
	bcfmt_dev_free(trial);
	return err;
}

static bcfmt_err put(struct bcfmt_repair_run *repair, const struct bcfmt_jset *jset,
		     const struct place *place, enum repair_phase phase, uint32_t sectors)
{
	const struct bcfmt_geometry *geo = &repair->set->geo;
	struct bcfmt_target target = { repair->ctx, repair_cache(repair)->phase[phase], geo };

	if (phase == PHASE_ROOM) {
		struct journal_room *room = vec_push(&repair->room, sizeof(*room));

		if (!room)
			return bcfmt_fail(repair->ctx, BCFMT_E_NOMEM,
					  "out of memory for the journal");
		*room = (struct journal_room){ place->ring_index, place->sector, sectors };
	}
	repair->counts.journal_seq = jset->seq;
	repair->counts.journal_bucket = (uint64_t)geo->first_bucket + place->ring_index;
	repair->counts.journal_sector =
		bcfmt_bucket_sector(geo, repair->counts.journal_bucket) + place->sector;
	return bcfmt_jset_write(&target, jset, place->ring_index, place->sector);
}

bcfmt_err journal_place(struct bcfmt_repair_run *repair, const struct bcfmt_jset *jset,
			enum repair_phase phase)
{
	uint32_t block = repair->set->geo.block_sectors;
	uint32_t sectors = (uint32_t)div_round_up(BCFMT_JSET_HEADER_BYTES + 8ull * jset->keys_field,
						  (uint64_t)block * BCFMT_SECTOR_BYTES) *
			   block;
	struct vec places = { 0 };
	bool is_good = false;
	bcfmt_err err = find_places(repair, sectors, &places);

	for (size_t i = 0; !err && !is_good && i < places.n; i++) {
		const struct place *place = VEC_AT(&places, struct place, i);

		if (place->harm == HARM_NEEDED)
			break;
		err = try_place(repair, jset, place, &is_good);
		if (!err && is_good)
			err = put(repair, jset, place, phase, sectors);
	}
	vec_free(&places);
	if (!err && !is_good)
		err = bcfmt_fail(
			repair->ctx, BCFMT_E_UNSUPPORTED,
			"nothing is written: %s: no place in the journal for an entry that a kernel would find",
			bcfmt_dev_name(repair->set->cache.dev));
	return err;
}
