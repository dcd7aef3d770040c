/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Whose data an inode is, and to which backing devices something may be written. */
#include <bcfmt/writeback.h>

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include <bcfmt/owner.h>

struct home_maker {
	const struct bcfmt_set *set;
	const struct bcfmt_adoption *adoptions;
	size_t n_adoptions;
	struct bcfmt_owner *owners; /* set->n_uuids; NULL: only what the user says */
};

const char *bcfmt_home_refusal_text(enum bcfmt_home_refusal refusal)
{
	switch (refusal) {
	case BCFMT_HOME_OK:
		break;
	case BCFMT_HOME_SUPER:
		return "has a wrong superblock: repair that first";
	case BCFMT_HOME_TWIN:
		return "has the uuid of another of the devices: give only the right one";
	case BCFMT_HOME_OTHER_SET:
		return "is attached to another set: give the cache of that one";
	case BCFMT_HOME_STALE:
		return "was run without its cache: old data could cover newer";
	case BCFMT_HOME_DETACHED:
		return "is marked as attached to no cache: old data could cover newer";
	case BCFMT_HOME_SLOTS:
		return "stands in two slots of the uuid table: which data is newer is open";
	}
	return "";
}

static bool is_live(const struct bcfmt_set *set, uint32_t inode)
{
	return inode < set->n_uuids && bcfmt_uuid_state(&set->uuids[inode]) == BCFMT_UUID_LIVE;
}

static bool has_uuid(const struct bcfmt_set *set, uint32_t inode, const uint8_t *uuid)
{
	return is_live(set, inode) && !memcmp(set->uuids[inode].uuid, uuid, BCFMT_UUID_BYTES);
}

/* What cannot be, with the reason. */
static bcfmt_err check_adoption(const struct home_maker *maker, size_t index)
{
	const struct bcfmt_set *set = maker->set;
	const struct bcfmt_adoption *adoption = &maker->adoptions[index];
	char uuid[BCFMT_UUID_TEXT_BYTES], owner[BCFMT_UUID_TEXT_BYTES];

	bcfmt_uuid_text(adoption->uuid, uuid);
	if (adoption->inode >= set->n_uuids)
		return bcfmt_fail(set->ctx, BCFMT_E_ARG,
				  "adopt %" PRIu32 "=%s: the uuid table has %" PRIu32 " slots",
				  adoption->inode, uuid, set->n_uuids);
	for (size_t i = 0; i < index; i++)
		if (maker->adoptions[i].inode == adoption->inode)
			return bcfmt_fail(set->ctx, BCFMT_E_ARG,
					  "adopt %" PRIu32 "=%s: the inode is adopted twice",
					  adoption->inode, uuid);
	if (!bcfmt_set_backing(set, adoption->uuid))
		return bcfmt_fail(set->ctx, BCFMT_E_ARG,
				  "adopt %" PRIu32 "=%s: none of the given backing devices has "
				  "this uuid",
				  adoption->inode, uuid);
	if (!is_live(set, adoption->inode) || has_uuid(set, adoption->inode, adoption->uuid))
		return BCFMT_OK;
	bcfmt_uuid_text(set->uuids[adoption->inode].uuid, owner);
	return bcfmt_fail(set->ctx, BCFMT_E_ARG,
			  "adopt %" PRIu32 "=%s: the inode is not stranded, it belongs to %s",
			  adoption->inode, uuid, owner);
}

/* Somebody says, or an older table proves, that the inode is the device's. */
static bool is_adopted_for(const struct home_maker *maker, uint32_t inode, const uint8_t *uuid)
{
	const struct bcfmt_owner *owner = maker->owners ? &maker->owners[inode] : NULL;

	/* What the user says of an inode goes before what a table says. */
	for (size_t i = 0; i < maker->n_adoptions; i++)
		if (maker->adoptions[i].inode == inode)
			return !memcmp(maker->adoptions[i].uuid, uuid, BCFMT_UUID_BYTES);
	if (!owner)
		return false;
	if (is_live(maker->set, inode))
		return has_uuid(maker->set, inode, uuid);
	return owner->proof == BCFMT_OWNER_PROVED && !memcmp(owner->uuid, uuid, BCFMT_UUID_BYTES);
}

static enum bcfmt_home_refusal judge(const struct home_maker *maker, size_t index,
				     const struct bcfmt_home_device *device)
{
	const struct bcfmt_set *set = maker->set;
	const struct bcfmt_member *member = device->member;
	unsigned int n_slots = 0;

	if (!member->has_magic || member->faults || !member->super.is_backing)
		return BCFMT_HOME_SUPER;
	for (size_t i = 0; i < set->n_backing; i++)
		if (i != index && set->backing[i].has_magic &&
		    !memcmp(set->backing[i].super.uuid, member->super.uuid, BCFMT_UUID_BYTES))
			return BCFMT_HOME_TWIN;
	for (uint32_t i = 0; i < set->n_uuids; i++)
		n_slots += has_uuid(set, i, member->super.uuid);
	if (n_slots > 1)
		return BCFMT_HOME_SLOTS;
	switch (bcfmt_super_bdev_state(&member->super)) {
	case BCFMT_BDEV_NONE:
		return device->is_adopted ? BCFMT_HOME_OK : BCFMT_HOME_DETACHED;
	case BCFMT_BDEV_STALE:
		if (!device->is_adopted)
			return BCFMT_HOME_STALE;
		break;
	case BCFMT_BDEV_CLEAN:
	case BCFMT_BDEV_DIRTY:
		break;
	}
	return memcmp(member->super.set_uuid, set->cache.super.set_uuid, BCFMT_UUID_BYTES)
		       ? BCFMT_HOME_OTHER_SET
		       : BCFMT_HOME_OK;
}

static bcfmt_err fill_device(const struct home_maker *maker, size_t index,
			     struct bcfmt_home_device *device)
{
	const struct bcfmt_set *set = maker->set;
	const uint8_t *uuid = set->backing[index].super.uuid;

	device->member = &set->backing[index];
	device->inodes = calloc((size_t)set->n_uuids + 1, sizeof(*device->inodes));
	if (!device->inodes)
		return bcfmt_fail(set->ctx, BCFMT_E_NOMEM, "no memory for the owners of inodes");
	for (uint32_t i = 0; i < set->n_uuids && !device->has_slot; i++) {
		if (!has_uuid(set, i, uuid) || set->uuids[i].flags & BCFMT_UUID_FLASH_ONLY)
			continue;
		device->inodes[device->n_inodes++] = i;
		device->has_slot = true;
	}
	for (uint32_t i = set->n_uuids; i-- > 0;) {
		if (!is_adopted_for(maker, i, uuid))
			continue;
		device->is_adopted = true;
		if (!is_live(set, i))
			device->inodes[device->n_inodes++] = i;
	}
	device->refusal = judge(maker, index, device);
	return BCFMT_OK;
}

bcfmt_err bcfmt_home_new(const struct bcfmt_set *set, const struct bcfmt_adoption *adoptions,
			 size_t n_adoptions, bool is_auto, struct bcfmt_home **out)
{
	struct home_maker maker = { .set = set,
				    .adoptions = adoptions,
				    .n_adoptions = n_adoptions };
	struct bcfmt_home *home = calloc(1, sizeof(*home));
	bcfmt_err err = BCFMT_OK;

	*out = NULL;
	if (!home)
		return bcfmt_fail(set->ctx, BCFMT_E_NOMEM, "no memory for the owners of inodes");
	for (size_t i = 0; !err && i < n_adoptions; i++)
		err = check_adoption(&maker, i);
	if (!err && is_auto) {
		maker.owners = calloc((size_t)set->n_uuids + 1, sizeof(*maker.owners));
		err = maker.owners ? bcfmt_owners_find(set, maker.owners) : BCFMT_E_NOMEM;
	}
	if (!err) {
		home->devices = calloc(set->n_backing + 1, sizeof(*home->devices));
		err = home->devices ? BCFMT_OK : BCFMT_E_NOMEM;
	}
	for (size_t i = 0; !err && i < set->n_backing; i++) {
		home->n_devices++;
		err = fill_device(&maker, i, &home->devices[i]);
	}
	free(maker.owners);
	if (err) {
		bcfmt_home_free(home);
		return err;
	}
	*out = home;
	return BCFMT_OK;
}

void bcfmt_home_free(struct bcfmt_home *home)
{
	if (!home)
		return;
	for (size_t i = 0; i < home->n_devices; i++)
		free(home->devices[i].inodes);
	free(home->devices);
	free(home);
}
