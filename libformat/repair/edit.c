/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What the plan does with single extents: keeps them, cuts them to their device, drops them. */
#include <string.h>

#include <bcfmt/uuid.h>

#include "base/checked.h"
#include "repair/repair_impl.h"
#include "set/bounds.h"

/* Cuts what lies outside; false when nothing is left. */
static bool cut_to(struct bcfmt_extent *extent, uint64_t begin, uint64_t end, bool is_begin_cut,
		   bool is_end_cut, bool *is_changed)
{
	if (is_end_cut && extent->end_sector > end) {
		extent->end_sector = end;
		*is_changed = true;
	}
	if (is_begin_cut && extent->start_sector < begin) {
		extent->ptr += (begin - extent->start_sector) << 8;
		extent->start_sector = begin;
		*is_changed = true;
	}
	return extent->start_sector < extent->end_sector;
}

#define COMPARE_BYTES 16384u

/*
 * A clean extent that is not what its backing device has. What cannot be read on either side is no
 * difference.
 */
static bool differs(const struct bcfmt_set *set, const struct bcfmt_extent *extent)
{
	uint8_t cached[COMPARE_BYTES], backed[COMPARE_BYTES];
	uint64_t len = (extent->end_sector - extent->start_sector) * BCFMT_SECTOR_BYTES;
	uint64_t cache_at = bcfmt_ptr_sector(extent->ptr) * BCFMT_SECTOR_BYTES;
	uint64_t backing_at = extent->start_sector * BCFMT_SECTOR_BYTES;
	const struct bcfmt_member *member;

	if (extent->is_dirty || extent->inode >= set->n_uuids ||
	    bcfmt_uuid_state(&set->uuids[extent->inode]) != BCFMT_UUID_LIVE ||
	    set->uuids[extent->inode].flags & BCFMT_UUID_FLASH_ONLY)
		return false;
	member = bcfmt_set_backing(set, set->uuids[extent->inode].uuid);
	if (!member || extent->end_sector > bcfmt_dev_bytes(member->dev) / BCFMT_SECTOR_BYTES)
		return false;
	for (uint64_t at = 0; at < len; at += COMPARE_BYTES) {
		size_t n = (size_t)min_u64(COMPARE_BYTES, len - at);
		struct bcfmt_bad_read bad, other_bad;

		if (!bcfmt_dev_read_salvage(set->cache.dev, cache_at + at, cached, n, &bad) &&
		    !bcfmt_dev_read_salvage(member->dev, backing_at + at, backed, n, &other_bad) &&
		    !bad.sectors && !other_bad.sectors && memcmp(cached, backed, n))
			return true;
	}
	return false;
}

enum edit plan_edit(void *arg, struct bcfmt_extent *extent, bool *is_changed)
{
	const struct bcfmt_repair_run *repair = arg;
	const struct bcfmt_set *set = repair->set;
	uint64_t bucket = bcfmt_ptr_bucket(&set->geo, extent->ptr), begin, end;
	bool is_dropped = false;

	if (extent->stale) {
		is_dropped = plan_is_agreed(repair, BCFMT_P_EXTENT_STALE_DIRTY);
		*is_changed |= is_dropped;
		return is_dropped ? EDIT_DROP : EDIT_KEEP;
	}
	if (bucket < set->geo.nbuckets && set->buckets[bucket].use & BCFMT_USE_METADATA)
		is_dropped = plan_is_agreed(repair, BCFMT_P_EXTENT_IN_METADATA);
	if (!is_dropped && plan_is_agreed(repair, BCFMT_P_BACKING_DIFFERS))
		is_dropped = differs(set, extent);
	set_inode_bounds(set, extent->inode, &begin, &end);
	if (!is_dropped)
		is_dropped =
			!cut_to(extent, begin, end,
				plan_is_agreed(repair, BCFMT_P_EXTENT_BEFORE_DATA),
				plan_is_agreed(repair, BCFMT_P_EXTENT_PAST_DEVICE), is_changed);
	*is_changed |= is_dropped;
	return is_dropped ? EDIT_DROP : EDIT_KEEP;
}
