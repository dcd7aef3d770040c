/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A cache in use whose journal has no entry left. Nothing names the root, the prio sets and the uuid
 * table then. Prio sets have a checksum and a number, the newest chain of them is the right one; a
 * uuid table is known by the devices that are in it. What only the journal had is lost, and nothing
 * proves how much of it there was: leaves come from the search of found_fill.c, all in doubt.
 */
#include <stdlib.h>
#include <string.h>

#include "base/checked.h"
#include "set/found.h"

static bool is_live(const struct bcfmt_uuid_entry *entry)
{
	return bcfmt_uuid_state(entry) == BCFMT_UUID_LIVE;
}

/* What of a table tells it from an older one: slots are only ever added, and times only rise. */
struct age {
	uint32_t n_used;
	uint32_t last_reg;
};

static bool is_younger(struct age a, struct age b)
{
	return a.n_used != b.n_used ? a.n_used > b.n_used : a.last_reg > b.last_reg;
}

/* A given device is in it, and nothing in it is impossible. */
static bool is_table(const struct bcfmt_set *set, const struct bcfmt_uuid_entry *entries,
		     struct age *age)
{
	bool is_proved = false;

	*age = (struct age){ 0 };
	for (uint32_t i = 0; i < set->n_uuids; i++) {
		if (bcfmt_uuid_state(&entries[i]) == BCFMT_UUID_FREE)
			continue;
		age->n_used++;
		age->last_reg = (uint32_t)max_u64(age->last_reg, entries[i].last_reg);
		if (!is_live(&entries[i]))
			continue;
		if (uuid_implausible(&entries[i]))
			return false;
		is_proved |= bcfmt_set_backing(set, entries[i].uuid) != NULL;
	}
	return is_proved;
}

static bcfmt_err find_table(struct bcfmt_set *set, struct bcfmt_uuid_entry *entries)
{
	struct age best = { 0 }, age;
	bcfmt_err err = BCFMT_OK;

	for (uint64_t i = set->geo.first_bucket; !err && i < set->geo.nbuckets; i++) {
		uint64_t ptr =
			bcfmt_ptr_make(set->geo.nr_this_dev, bcfmt_bucket_sector(&set->geo, i), 0);
		struct bcfmt_key key = bcfmt_key_make(
			0, 0, set->geo.meta_bytes / BCFMT_SECTOR_BYTES, false, true, ptr);
		struct bcfmt_bad_read bad = { 0 };

		if (bcfmt_bucket_is_journal(&set->geo, i) || set->found->kinds[i] != FOUND_NOTHING)
			continue;
		if (bcfmt_ctx_is_cancelled(set->ctx))
			return BCFMT_E_CANCELLED;
		memset(entries, 0, set->n_uuids * sizeof(*entries));
		err = uuids_read(set->ctx, set->cache.dev, &key, 1, entries, set->n_uuids, &bad);
		if (err || bad.sectors || !is_table(set, entries, &age) || !is_younger(age, best))
			continue;
		best = age;
		set->found_uuids_ptr = ptr;
		memcpy(set->uuids, entries, set->n_uuids * sizeof(*entries));
	}
	set->has_unproved_uuids = true;
	return err;
}

bcfmt_err bcfmt_set_search(struct bcfmt_set *set)
{
	struct bcfmt_uuid_entry *entries;
	bcfmt_err err;

	if (!set->is_without_journal || set->found)
		return BCFMT_OK;
	entries = calloc(set->n_uuids, sizeof(*entries));
	if (!entries)
		return bcfmt_fail(set->ctx, BCFMT_E_NOMEM, "no memory for a uuid table");
	err = found_scan(set);
	if (!err)
		set->has_tree = set->found->nodes.n || set->found->prios.n;
	if (!err && set->has_tree)
		err = set_load_older_prios(set);
	if (!err && set->has_tree && set->n_backing)
		err = find_table(set, entries);
	free(entries);
	return err;
}
