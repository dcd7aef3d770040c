/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Which slot of the uuid table belongs to a backing device that no entry names. Older tables on the
 * cache prove it, so does clean cached data that is the same on the device. Else a device that is
 * marked dirty can only have a slot with dirty data, and when one slot and one device are left over
 * they belong together; what is told by neither stays as it is.
 */
#include <stdlib.h>
#include <string.h>

#include <bcfmt/owner.h>
#include <bcfmt/uuid.h>

#include "repair/repair_impl.h"
#include "repair/super_owner.h"

#define SLOTS_MAX 64u
#define DEVICES_MAX 64u

enum fit { FIT_NO, FIT_MAYBE, FIT_LABEL, FIT_PROVED };

struct naming {
	const struct bcfmt_repair_run *repair;
	const struct bcfmt_set *set;
	struct bcfmt_tree *tree;
	const struct inode_use *use;
	struct bcfmt_uuid_entry *entries;
	uint32_t slots[SLOTS_MAX];
	size_t n_slots;
	const struct bcfmt_member *devices[DEVICES_MAX];
	size_t n_devices;
	enum fit fit[DEVICES_MAX][SLOTS_MAX];
};

static bool is_live(const struct bcfmt_uuid_entry *entry)
{
	return bcfmt_uuid_state(entry) == BCFMT_UUID_LIVE;
}

static bool has_entry(const struct naming *naming, const struct bcfmt_member *member)
{
	for (uint32_t i = 0; i < naming->set->n_uuids; i++)
		if (is_live(&naming->entries[i]) &&
		    !memcmp(naming->entries[i].uuid, member->super.uuid, BCFMT_UUID_BYTES))
			return true;
	return false;
}

/* Those of the set that no entry names. Two with one uuid cannot be told apart: neither. */
static void find_devices(struct naming *naming)
{
	const struct bcfmt_set *set = naming->set;

	for (size_t i = 0; i < set->n_backing && naming->n_devices < DEVICES_MAX; i++) {
		const struct bcfmt_member *member = &set->backing[i];
		enum bcfmt_bdev_state state = bcfmt_super_bdev_state(&member->super);
		bool is_twin = false;

		for (size_t k = 0; k < set->n_backing; k++)
			is_twin |= k != i && !memcmp(set->backing[k].super.uuid, member->super.uuid,
						     BCFMT_UUID_BYTES);
		if (!is_twin && member->has_magic &&
		    (state == BCFMT_BDEV_DIRTY || state == BCFMT_BDEV_CLEAN) &&
		    !memcmp(member->super.set_uuid, set->cache.super.set_uuid, BCFMT_UUID_BYTES) &&
		    !has_entry(naming, member))
			naming->devices[naming->n_devices++] = member;
	}
}

/* Without a device that was given: a live one, or one that keys name. */
static bool is_open(const struct naming *naming, uint32_t slot)
{
	const struct bcfmt_uuid_entry *entry = &naming->entries[slot];
	const struct inode_use *use = &naming->use[slot];

	if (!is_live(entry))
		return use->dirty_sectors || use->clean_sectors;
	if (entry->flags & BCFMT_UUID_FLASH_ONLY &&
	    !uuids_is_implausible(&naming->set->uuids[slot]))
		return false;
	return !bcfmt_set_backing(naming->set, entry->uuid);
}

static bool find_slots(struct naming *naming)
{
	for (uint32_t i = 0; i < naming->set->n_uuids; i++) {
		if (!is_open(naming, i))
			continue;
		if (naming->n_slots == SLOTS_MAX)
			return false;
		naming->slots[naming->n_slots++] = i;
	}
	return true;
}

/* What the cache holds for the slot against the device. */
static bcfmt_err compare(struct naming *naming, size_t d, size_t s)
{
	const struct bcfmt_member *member = naming->devices[d];
	const struct bcfmt_uuid_entry *entry = &naming->entries[naming->slots[s]];
	const struct inode_use *use = &naming->use[naming->slots[s]];
	struct owners owners = { .set = naming->repair->set,
				 .tree = naming->tree,
				 .dev = member->dev };
	struct owner owner = { .inode = naming->slots[s], .entry = entry };
	bool is_dirty = bcfmt_super_bdev_state(&member->super) == BCFMT_BDEV_DIRTY;
	bcfmt_err err = owner_look(&owners, &owner);
	enum fit *fit = &naming->fit[d][s];

	*fit = FIT_NO;
	if (err || owner_is_excluded(&owners, &owner))
		return err;
	if (owner_is_proved(&owner))
		*fit = FIT_PROVED;
	else if (is_live(entry) && *entry->label && !strcmp(entry->label, member->super.label))
		*fit = FIT_LABEL;
	/* Nothing is lost with the slot of a clean device that was there once. */
	else if (is_dirty ? use->dirty_sectors > 0 : is_live(entry))
		*fit = FIT_MAYBE;
	return BCFMT_OK;
}

/* Slots that older tables give to one of the devices. */
static bcfmt_err ask_older_tables(struct naming *naming)
{
	struct bcfmt_set view = *naming->set;
	struct bcfmt_owner *owners = calloc(view.n_uuids, sizeof(*owners));
	bcfmt_err err = BCFMT_E_NOMEM;

	view.uuids = malloc(view.n_uuids * sizeof(*view.uuids));
	if (owners && view.uuids) {
		memcpy(view.uuids, naming->entries, view.n_uuids * sizeof(*view.uuids));
		for (size_t s = 0; s < naming->n_slots; s++)
			view.uuids[naming->slots[s]] = (struct bcfmt_uuid_entry){ 0 };
		err = bcfmt_owners_find(&view, owners);
	}
	for (size_t d = 0; !err && d < naming->n_devices; d++)
		for (size_t s = 0; s < naming->n_slots; s++) {
			const struct bcfmt_owner *owner = &owners[naming->slots[s]];

			if (owner->proof == BCFMT_OWNER_PROVED &&
			    !memcmp(owner->uuid, naming->devices[d]->super.uuid, BCFMT_UUID_BYTES))
				naming->fit[d][s] = FIT_PROVED;
		}
	free(view.uuids);
	free(owners);
	return err;
}

/* The only slot of the device, or the other way round, that fits so well; false for several. */
static bool is_only(const struct naming *naming, size_t d, size_t s, enum fit least)
{
	for (size_t i = 0; i < naming->n_slots; i++)
		if (i != s && naming->fit[d][i] >= least)
			return false;
	for (size_t i = 0; i < naming->n_devices; i++)
		if (i != d && naming->fit[i][s] >= least)
			return false;
	return naming->fit[d][s] >= least;
}

static void name_after(struct bcfmt_uuid_entry *entry, const struct bcfmt_member *member)
{
	uint32_t first_reg = entry->first_reg, last_reg = entry->last_reg;

	*entry = (struct bcfmt_uuid_entry){ .first_reg = first_reg, .last_reg = last_reg };
	memcpy(entry->uuid, member->super.uuid, BCFMT_UUID_BYTES);
	memcpy(entry->label, member->super.label, sizeof(entry->label));
}

/* Names what is alone with each other; true when there was any, which can leave others alone. */
static bool name_some(struct naming *naming, enum fit least)
{
	bool is_any = false;

	for (size_t d = 0; d < naming->n_devices; d++)
		for (size_t s = 0; s < naming->n_slots; s++) {
			if (!is_only(naming, d, s, least))
				continue;
			name_after(&naming->entries[naming->slots[s]], naming->devices[d]);
			for (size_t i = 0; i < naming->n_slots; i++)
				naming->fit[d][i] = FIT_NO;
			for (size_t i = 0; i < naming->n_devices; i++)
				naming->fit[i][s] = FIT_NO;
			is_any = true;
		}
	return is_any;
}

bcfmt_err uuids_name(const struct bcfmt_repair_run *repair, struct bcfmt_tree *tree,
		     const struct inode_use *use, struct bcfmt_uuid_entry *entries,
		     bool *is_all_named)
{
	struct naming *naming = calloc(1, sizeof(*naming));
	bcfmt_err err = BCFMT_OK;

	if (!naming)
		return bcfmt_fail(repair->ctx, BCFMT_E_NOMEM, "out of memory for uuids");
	naming->repair = repair;
	naming->set = repair->set;
	naming->tree = tree;
	naming->use = use;
	naming->entries = entries;
	find_devices(naming);
	if (!naming->n_devices || !find_slots(naming))
		goto end;
	for (size_t d = 0; !err && d < naming->n_devices; d++)
		for (size_t s = 0; !err && s < naming->n_slots; s++)
			err = compare(naming, d, s);
	if (!err)
		err = ask_older_tables(naming);
	for (int least = FIT_PROVED; !err && least >= FIT_MAYBE; least--)
		while (name_some(naming, (enum fit)least))
			;
end:
	for (size_t d = 0; d < naming->n_devices; d++)
		*is_all_named &= has_entry(naming, naming->devices[d]);
	free(naming);
	return err;
}
