/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Slots of the uuid table that cannot be what a kernel wrote, taken from the older tables that
 * older journal entries name. A table has no checksum. But a slot that was taken never becomes free
 * again, only one slot has a uuid, and fields exclude each other. kernel: uuid_find_empty(),
 * bch_cached_dev_detach_finish().
 */
#include <stdlib.h>
#include <string.h>

#include "base/checked.h"
#include "set/found.h"

/* So many older tables are looked at. */
#define TABLES_MAX 32u

const char *uuid_implausible(const struct bcfmt_uuid_entry *entry)
{
	if (entry->flags & ~BCFMT_UUID_FLASH_ONLY)
		return "unknown flags";
	if (!(entry->flags & BCFMT_UUID_FLASH_ONLY) && entry->sectors)
		return "a size without the flash-only flag";
	return NULL;
}

static bool is_live(const struct bcfmt_uuid_entry *entry)
{
	return bcfmt_uuid_state(entry) == BCFMT_UUID_LIVE;
}

static bool is_same(const struct bcfmt_uuid_entry *a, const struct bcfmt_uuid_entry *b)
{
	return !memcmp(a->uuid, b->uuid, BCFMT_UUID_BYTES);
}

/* Another live slot has the uuid of this one. */
static bool has_twin(const struct bcfmt_set *set, uint32_t slot)
{
	for (uint32_t i = 0; i < set->n_uuids; i++)
		if (i != slot && is_live(&set->uuids[i]) &&
		    is_same(&set->uuids[i], &set->uuids[slot]))
			return true;
	return false;
}

/* Something in the table, or what is missing in it, asks for another look. */
static bool is_suspect(const struct bcfmt_set *set)
{
	uint32_t n_live = 0, inode;

	for (uint32_t i = 0; i < set->n_uuids; i++) {
		if (!is_live(&set->uuids[i]))
			continue;
		n_live++;
		if (uuid_implausible(&set->uuids[i]) || has_twin(set, i))
			return true;
	}
	for (size_t i = 0; i < set->n_backing; i++)
		if (set->backing[i].has_magic &&
		    !memcmp(set->backing[i].super.set_uuid, set->cache.super.set_uuid,
			    BCFMT_UUID_BYTES) &&
		    bcfmt_super_bdev_state(&set->backing[i].super) != BCFMT_BDEV_NONE &&
		    bcfmt_set_inode(set, set->backing[i].super.uuid, &inode))
			return true;
	return !n_live || set->uuids_state != BCFMT_UUIDS_OK;
}

/*
 * It is a table of this set: its bucket was not handed out since, or a device that is known is in
 * it; and nothing in it is impossible.
 */
static bool is_table(const struct bcfmt_set *set, uint64_t ptr,
		     const struct bcfmt_uuid_entry *entries)
{
	bool is_proved = (set->has_all_prios || set->has_older_prios) && !bcfmt_set_stale(set, ptr);
	uint32_t n_live = 0;

	for (uint32_t i = 0; i < set->n_uuids; i++) {
		if (!is_live(&entries[i]))
			continue;
		if (uuid_implausible(&entries[i]))
			return false;
		n_live++;
		is_proved |= bcfmt_set_backing(set, entries[i].uuid) != NULL;
		for (uint32_t j = 0; j < set->n_uuids && !is_proved; j++)
			is_proved = is_live(&set->uuids[j]) && is_same(&set->uuids[j], &entries[i]);
	}
	return n_live && is_proved;
}

bool uuids_are_overwritten(const struct bcfmt_set *set, uint64_t ptr)
{
	bool is_odd = false;

	if (!bcfmt_set_stale(set, ptr))
		return false;
	for (uint32_t i = 0; i < set->n_uuids; i++) {
		if (!is_live(&set->uuids[i]))
			continue;
		if (bcfmt_set_backing(set, set->uuids[i].uuid))
			return false;
		is_odd |= uuid_implausible(&set->uuids[i]) || has_twin(set, i);
	}
	return is_odd;
}

/* The slot cannot be right, and the older table has something else there. */
static bool is_lost(const struct bcfmt_set *set, uint32_t slot,
		    const struct bcfmt_uuid_entry *older)
{
	const struct bcfmt_uuid_entry *entry = &set->uuids[slot];

	if (bcfmt_uuid_state(older) == BCFMT_UUID_FREE)
		return false;
	if (bcfmt_uuid_state(entry) == BCFMT_UUID_FREE)
		return true;
	return is_live(entry) && !is_same(entry, older) &&
	       (uuid_implausible(entry) || has_twin(set, slot));
}

/* A slot with right uuid and a wrong field is mended, too. */
static bool is_spoilt(const struct bcfmt_uuid_entry *entry, const struct bcfmt_uuid_entry *older)
{
	return is_live(entry) && is_live(older) && is_same(entry, older) && uuid_implausible(entry);
}

/*
 * The device itself says that this set has newer data for it. One that does not may have been
 * attached anew since: then its old slot is not its own any more, and what is dirty there is old.
 */
static bool is_confirmed(const struct bcfmt_member *member)
{
	return member && bcfmt_super_bdev_state(&member->super) == BCFMT_BDEV_DIRTY;
}

static uint32_t take_slots(struct bcfmt_set *set, const struct bcfmt_uuid_entry *older)
{
	uint32_t n = 0;

	for (uint32_t i = 0; i < set->n_uuids; i++) {
		const struct bcfmt_member *member = bcfmt_set_backing(set, older[i].uuid);

		if (!is_lost(set, i, &older[i]) && !is_spoilt(&set->uuids[i], &older[i]))
			continue;
		if (member && !is_confirmed(member))
			continue;
		set->has_unproved_uuids |= is_live(&older[i]) && !is_confirmed(member);
		set->uuids[i] = older[i];
		n++;
	}
	return n;
}

static bcfmt_err read_older(struct bcfmt_set *set, uint64_t ptr, struct bcfmt_uuid_entry *entries,
			    bool *is_one)
{
	uint64_t bucket = bcfmt_ptr_bucket(&set->geo, ptr);
	struct bcfmt_key key =
		bcfmt_key_make(0, 0, set->geo.meta_bytes / BCFMT_SECTOR_BYTES, false, true, ptr);
	struct bcfmt_bad_read bad = { 0 };
	bcfmt_err err;

	*is_one = false;
	if (bcfmt_key_fault_btree(&set->geo, &key) || !bcfmt_ptr_is_available(ptr) ||
	    bucket >= set->geo.nbuckets || set->buckets[bucket].use & BCFMT_USE_METADATA)
		return BCFMT_OK;
	memset(entries, 0, set->n_uuids * sizeof(*entries));
	err = uuids_read(set->ctx, set->cache.dev, &key, set->newest.version, entries, set->n_uuids,
			 &bad);
	*is_one = !err && !bad.sectors && is_table(set, ptr, entries);
	return err;
}

bcfmt_err set_load_older_uuids(struct bcfmt_set *set)
{
	const struct bcfmt_journal_entry *entries = set->journal.entries;
	struct bcfmt_uuid_entry *older;
	uint64_t last = set->newest.uuid_bucket.ptr;
	size_t begin = replay_history_begin(set);
	unsigned int tried = 0;
	bcfmt_err err = BCFMT_OK;

	if (set->histories.is_found || !is_suspect(set))
		return BCFMT_OK;
	older = calloc(set->n_uuids, sizeof(*older));
	if (!older)
		return bcfmt_fail(set->ctx, BCFMT_E_NOMEM, "no memory for an older uuid table");
	for (size_t i = set->newest_index;
	     !err && !set->n_older_uuids && i-- > begin && tried < TABLES_MAX;) {
		bool is_one;

		if (entries[i].uuid_ptr == last)
			continue;
		last = entries[i].uuid_ptr;
		tried++;
		err = read_older(set, last, older, &is_one);
		if (err || !is_one)
			continue;
		set->n_older_uuids = take_slots(set, older);
		set->uuids_index = i;
	}
	free(older);
	return err;
}
