/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Where the data of an inode may lie. */
#ifndef SET_BOUNDS_H
#define SET_BOUNDS_H

#include <bcfmt/set.h>
#include <bcfmt/uuid.h>

/*
 * Sectors [*begin, *end) that the owner of an inode has, as far as it is known. A device that was
 * given is asked before the table, which has no checksum: an entry that calls it a volume, or a
 * volume of size 0, says nothing of where data ends.
 */
static inline void set_inode_bounds(const struct bcfmt_set *set, uint32_t inode, uint64_t *begin,
				    uint64_t *end)
{
	const struct bcfmt_uuid_entry *entry;
	const struct bcfmt_member *member;

	*begin = 0;
	*end = UINT64_MAX;
	if (inode >= set->n_uuids || bcfmt_uuid_state(&set->uuids[inode]) != BCFMT_UUID_LIVE)
		return;
	entry = &set->uuids[inode];
	member = bcfmt_set_backing(set, entry->uuid);
	if (member) {
		*begin = member->super.data_offset_sectors;
		*end = bcfmt_dev_bytes(member->dev) / BCFMT_SECTOR_BYTES;
	} else if (entry->flags & BCFMT_UUID_FLASH_ONLY && entry->sectors) {
		*end = entry->sectors;
	}
}

#endif
