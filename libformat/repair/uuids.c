/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Entries of the uuid table that cannot be right. The keys say which of them are in use, and the
 * backing devices that were given say who they are. What neither decides stays as it is.
 */
#include <string.h>

#include <bcfmt/uuid.h>

#include "repair/repair_impl.h"

static bool is_used(const struct inode_use *use)
{
	return use->dirty_sectors || use->clean_sectors;
}

static bool is_live(const struct bcfmt_uuid_entry *entry)
{
	return bcfmt_uuid_state(entry) == BCFMT_UUID_LIVE;
}

/*
 * Never used again by a kernel, so that keys which are left harm nobody; and no slot that was taken
 * once is ever empty again.
 */
static void detach(struct bcfmt_uuid_entry *entry)
{
	uint32_t first_reg = entry->first_reg, last_reg = entry->last_reg;

	*entry = (struct bcfmt_uuid_entry){ .first_reg = first_reg, .last_reg = last_reg };
	memcpy(entry->uuid, bcfmt_uuid_invalid(), BCFMT_UUID_BYTES);
}

/*
 * A volume without a size, or with an impossible one, ends with its last extent; without any it
 * holds nothing.
 */
static void mend_volume(const struct bcfmt_set *set, struct bcfmt_uuid_entry *entry,
			const struct inode_use *use)
{
	if (bcfmt_set_backing(set, entry->uuid) || use->clean_sectors) {
		entry->flags &= ~BCFMT_UUID_FLASH_ONLY;
		entry->sectors = 0;
	} else if (use->end_sector) {
		entry->sectors = use->end_sector;
	} else {
		detach(entry);
	}
}

/*
 * Data of volumes is always dirty; clean data is a copy of what a backing device has. may_be_volume:
 * no device is left that the dirty data could belong to.
 */
static void mend_entry(const struct bcfmt_set *set, struct bcfmt_uuid_entry *entry,
		       const struct inode_use *use, bool may_be_volume)
{
	if (bcfmt_set_backing(set, entry->uuid) || use->clean_sectors) {
		entry->flags = 0;
		entry->sectors = 0;
	} else if (!is_used(use)) {
		detach(entry);
	} else if (may_be_volume && entry->flags & BCFMT_UUID_FLASH_ONLY &&
		   entry->sectors >= use->end_sector) {
		entry->flags = BCFMT_UUID_FLASH_ONLY;
	}
}

bool uuids_is_implausible(const struct bcfmt_uuid_entry *entry)
{
	return is_live(entry) && ((entry->flags & ~BCFMT_UUID_FLASH_ONLY) ||
				  (!(entry->flags & BCFMT_UUID_FLASH_ONLY) && entry->sectors));
}

/* The slot that the keys speak for stays: the one with dirty data, else the first, as in a kernel. */
static void mend_pair(struct bcfmt_uuid_entry *entries, const struct inode_use *use, uint32_t first,
		      uint32_t second)
{
	if (use[first].dirty_sectors && use[second].dirty_sectors)
		return;
	if (use[second].dirty_sectors)
		detach(&entries[first]);
	else
		detach(&entries[second]);
}

static void mend_duplicates(uint32_t n, struct bcfmt_uuid_entry *entries,
			    const struct inode_use *use)
{
	for (uint32_t i = 0; i < n; i++)
		for (uint32_t j = i + 1; j < n && is_live(&entries[i]); j++)
			if (is_live(&entries[j]) &&
			    !memcmp(entries[i].uuid, entries[j].uuid, BCFMT_UUID_BYTES))
				mend_pair(entries, use, i, j);
}

bcfmt_err uuids_mend(const struct bcfmt_repair_run *repair, struct bcfmt_tree *tree,
		     const struct inode_use *use, struct bcfmt_uuid_entry *entries)
{
	const struct bcfmt_set *set = repair->set;
	bool fills_volumes = plan_is_agreed(repair, BCFMT_P_UUID_VOLUME_EMPTY);
	bool cuts_volumes = plan_is_agreed(repair, BCFMT_P_UUID_VOLUME_LARGE);
	bool closes_slots = plan_is_agreed(repair, BCFMT_P_UUID_LEFT_FREE);
	bool mends_entries = plan_is_agreed(repair, BCFMT_P_UUID_IMPLAUSIBLE);
	bool is_all_named = true;
	bcfmt_err err = BCFMT_OK;

	for (uint32_t i = 0; mends_entries && i < set->n_uuids; i++)
		if (uuids_is_implausible(&entries[i]) && !is_used(&use[i]) &&
		    !bcfmt_set_backing(set, entries[i].uuid))
			detach(&entries[i]);
	if (plan_rebuilds_uuids(repair))
		err = uuids_name(repair, tree, use, entries, &is_all_named);
	for (uint32_t i = 0; i < set->n_uuids; i++) {
		struct bcfmt_uuid_entry *entry = &entries[i];

		if (mends_entries && uuids_is_implausible(entry))
			mend_entry(set, entry, &use[i], is_all_named);
		if (is_live(entry) && entry->flags & BCFMT_UUID_FLASH_ONLY &&
		    ((fills_volumes && !entry->sectors) ||
		     (cuts_volumes && entry->sectors > BCFMT_VOLUME_MAX_SECTORS)))
			mend_volume(set, entry, &use[i]);
		if (closes_slots && bcfmt_uuid_state(entry) == BCFMT_UUID_FREE &&
		    use[i].clean_sectors && !use[i].dirty_sectors)
			detach(entry);
	}
	/* What two slots have may be the name of neither. */
	if (plan_is_agreed(repair, BCFMT_P_UUID_DUPLICATE))
		mend_duplicates(set->n_uuids, entries, use);
	return err;
}
