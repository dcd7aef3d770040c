/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The verdict: per device what the cache holds for it and whether it may run without; whether a
 * kernel would register the set. Nothing is guessed: what was not read or is in doubt makes a
 * number "at least" and never makes anything safe.
 */
#include <stdlib.h>
#include <string.h>

#include "check/check_impl.h"
#include "check/predict.h"

static const char *const reason_nothing_dirty = "the cache holds nothing that the device lacks";
static const char *const reason_dirty = "the newest data of the device is only in the cache";
static const char *const reason_stale =
	"it was run without its cache already; whose data is the newer one is open";
static const char *const reason_detached_dirty =
	"it is marked as attached to no cache; whose data is the newer one is open";
static const char *const reason_volume = "the volume is only in the cache";
static const char *const reason_unread = "not all of the cache's metadata was read";
static const char *const reason_doubtful =
	"damage leaves open whether the cache holds newer data of the device";
static const char *const reason_twins =
	"two slots of the cache's table hold one uuid, see the findings";
static const char *const reason_stranded =
	"the cache holds dirty data that belongs to no device, it may be this one's";
static const char *const reason_no_cache =
	"only its cache tells what it lacks, and a mark of clean can lag behind";
static const char *const reason_marked_dirty =
	"it is marked dirty, and the cache does not know it";
static const char *const reason_other_set =
	"it belongs to another set, and only the cache of that one tells what it lacks";
static const char *const reason_super_wrong = "its superblock is wrong, see the findings";
static const char *const reason_unknown =
	"the cache's table may have it under another uuid, see the findings";
static const char *const reason_detached = "it is marked as attached to no cache";
static const char *const reason_lost = "dirty data of the device is lost, what is on it is older";

/* Dirty data of inodes without a live entry: whose it is is open. */
static bool has_stranded(const struct check *ck)
{
	for (uint32_t i = 0; i < ck->set->n_uuids; i++)
		if (ck->inodes[i].dirty_sectors &&
		    bcfmt_uuid_state(&ck->set->uuids[i]) != BCFMT_UUID_LIVE)
			return true;
	return ck->beyond.dirty_sectors > 0;
}

static void judge_device(const struct check *ck, struct bcfmt_verdict_device *device)
{
	bool is_read = ck->tree != NULL;

	device->certainty = !is_read ? BCFMT_UNKNOWN :
			    ck->is_doubtful ? BCFMT_AT_LEAST : BCFMT_EXACT;
	if (device->is_flash_only) {
		device->safe_alone = BCFMT_NOT_SAFE;
		device->reason = reason_volume;
	} else if (device->dirty_bytes && device->member &&
		   bcfmt_super_bdev_state(&device->member->super) == BCFMT_BDEV_STALE) {
		device->safe_alone = BCFMT_SAFETY_UNKNOWN;
		device->reason = reason_stale;
	} else if (device->dirty_bytes && device->member &&
		   bcfmt_super_bdev_state(&device->member->super) == BCFMT_BDEV_NONE) {
		device->safe_alone = BCFMT_SAFETY_UNKNOWN;
		device->reason = reason_detached_dirty;
	} else if (device->dirty_bytes) {
		device->safe_alone = BCFMT_NOT_SAFE;
		device->reason = reason_dirty;
	} else if (!is_read) {
		device->safe_alone = BCFMT_SAFETY_UNKNOWN;
		device->reason = reason_unread;
	} else if (ck->is_doubtful) {
		device->safe_alone = BCFMT_SAFETY_UNKNOWN;
		device->reason = reason_doubtful;
	} else if (ck->on_cache[BCFMT_P_UUID_DUPLICATE]) {
		device->safe_alone = BCFMT_SAFETY_UNKNOWN;
		device->reason = reason_twins;
	} else if (has_stranded(ck)) {
		device->safe_alone = BCFMT_SAFETY_UNKNOWN;
		device->reason = reason_stranded;
	} else if (device->lost_bytes) {
		device->safe_alone = BCFMT_SAFETY_UNKNOWN;
		device->reason = reason_lost;
	} else {
		device->safe_alone = BCFMT_SAFE;
		device->reason = reason_nothing_dirty;
	}
}

static bcfmt_err add_doubtful(void *arg, const struct bcfmt_loss_range *range)
{
	uint64_t *sectors = arg;

	*sectors += range->is_lost ? 0 : range->end_sector - range->start_sector;
	return BCFMT_OK;
}

static bcfmt_err fill_doubtful(const struct check *ck, uint32_t inode,
			       struct bcfmt_verdict_device *device)
{
	uint64_t start = 0, end = 0, sectors = 0;
	bcfmt_err err;

	device->doubtful_bytes = BCFMT_NO_NUMBER;
	if (device->is_flash_only) {
		end = ck->set->uuids[inode].sectors;
	} else if (device->member) {
		start = device->member->super.data_offset_sectors;
		end = bcfmt_dev_bytes(device->member->dev) / BCFMT_SECTOR_BYTES;
	}
	if (!ck->verdict->losses || start >= end)
		return BCFMT_OK;
	err = bcfmt_losses_each(ck->verdict->losses, inode, start, end, add_doubtful, &sectors);
	device->doubtful_bytes = sectors * BCFMT_SECTOR_BYTES;
	return err;
}

static bcfmt_err fill_device(const struct check *ck, uint32_t inode,
			     struct bcfmt_verdict_device *device)
{
	const struct bcfmt_uuid_entry *entry = &ck->set->uuids[inode];
	const struct inode_use *use = &ck->inodes[inode];

	device->inode = inode;
	device->has_inode = true;
	device->has_entry = bcfmt_uuid_state(entry) == BCFMT_UUID_LIVE;
	device->is_flash_only = device->has_entry && entry->flags & BCFMT_UUID_FLASH_ONLY;
	memcpy(device->uuid, entry->uuid, sizeof(device->uuid));
	memcpy(device->label, entry->label, sizeof(device->label));
	device->member = device->has_entry ? bcfmt_set_backing(ck->set, entry->uuid) : NULL;
	device->dirty_bytes = use->dirty_sectors * BCFMT_SECTOR_BYTES;
	device->redirtied_bytes = use->redirtied_sectors * BCFMT_SECTOR_BYTES;
	device->clean_bytes = use->clean_sectors * BCFMT_SECTOR_BYTES;
	device->lost_bytes = (use->lost_sectors + use->invalid_sectors) * BCFMT_SECTOR_BYTES;
	judge_device(ck, device);
	return fill_doubtful(ck, inode, device);
}

/* A given backing device that no entry of the cache names. */
static bool is_unknown_member(const struct check *ck, const struct bcfmt_member *member)
{
	uint32_t inode;

	return member->has_magic &&
	       bcfmt_set_inode(ck->set, member->super.uuid, &inode) != BCFMT_OK;
}

/* Attached to a set whose cache is not here. */
static bool is_of_other_set(const struct check *ck, const struct bcfmt_member *member)
{
	return ck->set->has_cache && ck->set->cache.has_magic &&
	       bcfmt_super_bdev_state(&member->super) != BCFMT_BDEV_NONE &&
	       memcmp(member->super.set_uuid, ck->set->cache.super.set_uuid, BCFMT_UUID_BYTES);
}

static void fill_member(const struct check *ck, const struct bcfmt_member *member,
			struct bcfmt_verdict_device *device)
{
	bool is_other = is_of_other_set(ck, member);
	bool is_known_whole = ck->tree && !ck->is_doubtful && !has_stranded(ck) && !is_other;
	enum bcfmt_bdev_state state = bcfmt_super_bdev_state(&member->super);

	memcpy(device->uuid, member->super.uuid, sizeof(device->uuid));
	memcpy(device->label, member->super.label, sizeof(device->label));
	device->member = member;
	device->doubtful_bytes = BCFMT_NO_NUMBER;
	device->certainty = is_known_whole ? BCFMT_EXACT : BCFMT_UNKNOWN;
	if (member->faults || member == ck->disguised) {
		device->reason = reason_super_wrong;
	} else if (is_other) {
		device->reason = reason_other_set;
	} else if (state == BCFMT_BDEV_NONE && (is_known_whole || !ck->set->has_newest)) {
		device->safe_alone = BCFMT_SAFE;
		device->reason = reason_detached;
	} else if (state == BCFMT_BDEV_DIRTY && ck->set->has_cache) {
		device->reason = reason_marked_dirty;
	} else if (ck->has_unknown) {
		device->certainty = BCFMT_UNKNOWN;
		device->reason = reason_unknown;
	} else if (is_known_whole) {
		device->safe_alone = BCFMT_SAFE;
		device->reason = reason_nothing_dirty;
	} else {
		device->reason = reason_no_cache;
	}
}

static bool is_listed(const struct check *ck, uint32_t inode)
{
	return bcfmt_uuid_state(&ck->set->uuids[inode]) == BCFMT_UUID_LIVE ||
	       ck->inodes[inode].dirty_sectors || ck->inodes[inode].lost_sectors ||
	       ck->inodes[inode].invalid_sectors;
}

static bcfmt_err fill_devices(struct check *ck)
{
	const struct bcfmt_set *set = ck->set;
	struct bcfmt_verdict *verdict = ck->verdict;
	bcfmt_err err = BCFMT_OK;
	size_t n = 0;

	for (uint32_t i = 0; i < set->n_uuids; i++)
		n += is_listed(ck, i);
	for (size_t i = 0; i < set->n_backing; i++)
		n += is_unknown_member(ck, &set->backing[i]);
	verdict->devices = calloc(n ? n : 1, sizeof(*verdict->devices));
	if (!verdict->devices)
		return BCFMT_E_NOMEM;
	if (verdict->losses)
		err = bcfmt_losses_finish(verdict->losses);
	for (uint32_t i = 0; !err && i < set->n_uuids; i++)
		if (is_listed(ck, i))
			err = fill_device(ck, i, &verdict->devices[verdict->n_devices++]);
	if (err)
		return err;
	for (size_t i = 0; i < set->n_backing; i++)
		if (is_unknown_member(ck, &set->backing[i]))
			fill_member(ck, &set->backing[i], &verdict->devices[verdict->n_devices++]);
	verdict->unplaced_dirty_bytes = ck->beyond.dirty_sectors * BCFMT_SECTOR_BYTES;
	for (uint32_t i = 0; ck->beyond.dirty_sectors && i < CHECK_INODE_BYTES; i++)
		verdict->unplaced_inodes += (unsigned int)__builtin_popcount(ck->beyond_dirty[i]);
	return BCFMT_OK;
}

bcfmt_err pass_verdict(struct check *ck)
{
	bcfmt_err err;

	/* Without all gens a stale extent can look valid, without the table owners are unknown. */
	if (ck->set->has_tree &&
	    (!(ck->set->has_all_prios || ck->set->has_older_prios) || ck->set->uuids_state != BCFMT_UUIDS_OK ||
	     ck->set->has_unproved_uuids))
		ck->is_doubtful = true;
	ck->verdict->is_complete = ck->tree && !ck->is_doubtful;
	err = predict_run(ck);
	return err ? err : fill_devices(ck);
}
