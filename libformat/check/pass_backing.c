/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Backing devices against the cache.
 * Checks: X1 state against the dirty data that the cache holds, X2 dirty without an entry, X3
 * block size, same set, no uuid twice; U2 data of inodes that belong to nobody.
 * Needs: inodes of the tree pass (level quick: none are known). kernel: bch_cached_dev_attach().
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <bcfmt/owner.h>

#include "check/check_impl.h"

static struct bcfmt_where where_member(const struct bcfmt_member *member)
{
	struct bcfmt_where where = BCFMT_WHERE_INIT;

	where.device = bcfmt_dev_name(member->dev);
	where.structure = "super";
	where.sector = BCFMT_SUPER_OFFSET_BYTES / BCFMT_SECTOR_BYTES;
	return where;
}

static bcfmt_err check_state(struct check *ck, const struct bcfmt_member *member,
			     struct bcfmt_where *where, uint64_t dirty_bytes)
{
	struct bcfmt_arg dirty = BCFMT_U64("dirty", dirty_bytes);

	if (!dirty_bytes)
		return BCFMT_OK;
	switch (bcfmt_super_bdev_state(&member->super)) {
	case BCFMT_BDEV_CLEAN:
		return CHECK_REPORT(ck, BACKING_CLEAN_DIRTY, where, dirty);
	case BCFMT_BDEV_NONE:
		return CHECK_REPORT(ck, BACKING_DETACHED_DIRTY, where, dirty);
	case BCFMT_BDEV_STALE:
		return CHECK_REPORT(ck, BACKING_STALE_DIRTY, where, dirty);
	case BCFMT_BDEV_DIRTY:
		break;
	}
	return BCFMT_OK;
}

/* A twin of an earlier member. */
static bcfmt_err check_twin(struct check *ck, size_t index, struct bcfmt_where *where)
{
	const struct bcfmt_set *set = ck->set;
	const struct bcfmt_member *member = &set->backing[index];
	char text[BCFMT_UUID_TEXT_BYTES];

	for (size_t i = 0; i < index; i++)
		if (!memcmp(set->backing[i].super.uuid, member->super.uuid, BCFMT_UUID_BYTES)) {
			bcfmt_uuid_text(member->super.uuid, text);
			return CHECK_REPORT(ck, BACKING_DUPLICATE, where, BCFMT_TEXT("uuid", text),
					    BCFMT_TEXT("other",
						       bcfmt_dev_name(set->backing[i].dev)));
		}
	return BCFMT_OK;
}

/*
 * A clean device that the table does not have. The table may have another uuid in its place: one of
 * a device that was not given. Detaching empties the slot and marks the device in two writes, on
 * two disks, so that a power cut in between leaves such a pair too.
 */
static bcfmt_err check_unknown(struct check *ck, struct bcfmt_where *where, const char *uuid)
{
	const struct bcfmt_set *set = ck->set;
	char other[BCFMT_UUID_TEXT_BYTES];
	uint32_t found = set->n_uuids;

	for (uint32_t i = 0; i < set->n_uuids; i++) {
		const struct bcfmt_uuid_entry *entry = &set->uuids[i];

		switch (bcfmt_uuid_state(entry)) {
		case BCFMT_UUID_DETACHED:
			return BCFMT_OK;
		case BCFMT_UUID_LIVE:
			if (found == set->n_uuids && !(entry->flags & BCFMT_UUID_FLASH_ONLY) &&
			    !bcfmt_set_backing(set, entry->uuid))
				found = i;
			break;
		case BCFMT_UUID_FREE:
			break;
		}
	}
	if (found == set->n_uuids)
		return BCFMT_OK;
	ck->has_unknown = true;
	bcfmt_uuid_text(set->uuids[found].uuid, other);
	return CHECK_REPORT(ck, BACKING_UNKNOWN, where, BCFMT_TEXT("uuid", uuid),
			    BCFMT_U64("inode", found), BCFMT_TEXT("other", other));
}

/* Checks a device that belongs to the set. */
static bcfmt_err check_attached(struct check *ck, const struct bcfmt_member *member,
				struct bcfmt_where *where)
{
	const struct bcfmt_set *set = ck->set;
	enum bcfmt_bdev_state state = bcfmt_super_bdev_state(&member->super);
	char text[BCFMT_UUID_TEXT_BYTES];
	uint32_t inode;
	bcfmt_err err = BCFMT_OK;

	if (member->super.block_sectors < set->geo.block_sectors)
		err = CHECK_REPORT(ck, BACKING_BLOCK_SIZE, where,
				   BCFMT_U64("backing", (uint64_t)member->super.block_sectors *
								BCFMT_SECTOR_BYTES),
				   BCFMT_U64("cache", bcfmt_block_bytes(&set->geo)));
	if (err || (set->uuids_state == BCFMT_UUIDS_ABSENT && !ck->tree))
		return err;
	if (bcfmt_set_inode(set, member->super.uuid, &inode) == BCFMT_OK)
		return check_state(ck, member, where,
				   ck->inodes[inode].dirty_sectors * BCFMT_SECTOR_BYTES);
	bcfmt_uuid_text(member->super.uuid, text);
	if (state == BCFMT_BDEV_CLEAN)
		return check_unknown(ck, where, text);
	if (state != BCFMT_BDEV_DIRTY)
		return BCFMT_OK;
	return CHECK_REPORT(ck, BACKING_NO_ENTRY, where, BCFMT_TEXT("uuid", text));
}

static bcfmt_err check_backing(struct check *ck, size_t index)
{
	const struct bcfmt_set *set = ck->set;
	const struct bcfmt_member *member = &set->backing[index];
	struct bcfmt_where where = where_member(member);
	char ours[BCFMT_UUID_TEXT_BYTES], theirs[BCFMT_UUID_TEXT_BYTES];
	uint32_t inode;
	bcfmt_err err;

	if (!member->has_magic)
		return BCFMT_OK;
	err = check_twin(ck, index, &where);
	if (err || !set->has_geometry)
		return err;
	/* A detached device names no set; the table may still know it. */
	if (!memcmp(member->super.set_uuid, set->cache.super.set_uuid, BCFMT_UUID_BYTES) ||
	    bcfmt_set_inode(set, member->super.uuid, &inode) == BCFMT_OK)
		return check_attached(ck, member, &where);
	bcfmt_uuid_text(set->cache.super.set_uuid, ours);
	bcfmt_uuid_text(member->super.set_uuid, theirs);
	return CHECK_REPORT(ck, BACKING_OTHER_SET, &where, BCFMT_TEXT("theirs", theirs),
			    BCFMT_TEXT("ours", ours));
}

/* Dirty data of nobody: where it lies, whose it was, and how he gets it back. */
static bcfmt_err report_stranded(struct check *ck, uint32_t inode, const char *state,
				 const struct bcfmt_owner *owner)
{
	const struct inode_use *use = &ck->inodes[inode];
	struct bcfmt_where where = check_where(ck, "uuid");
	char uuid[BCFMT_UUID_TEXT_BYTES], text[128];

	bcfmt_uuid_text(owner->uuid, uuid);
	if (owner->proof == BCFMT_OWNER_PROVED)
		snprintf(text, sizeof(text), "an older table gives it to %s: --adopt %u=%s", uuid,
			 inode, uuid);
	else
		snprintf(text, sizeof(text), "%s: --adopt %u=UUID if you know",
			 owner->proof == BCFMT_OWNER_UNKNOWN ? "no older table tells whose it is"
							     : "older tables contradict each other",
			 inode);
	return CHECK_REPORT(ck, UUID_STRANDED, &where,
			    BCFMT_U64("dirty", use->dirty_sectors * BCFMT_SECTOR_BYTES),
			    BCFMT_U64("inode", inode), BCFMT_U64("first", use->dirty_begin_sector),
			    BCFMT_U64("last", use->dirty_end_sector - 1),
			    BCFMT_TEXT("state", state), BCFMT_TEXT("owner", text));
}

/* What one inode holds against its slot. */
static bcfmt_err check_inode(struct check *ck, uint32_t inode, const struct bcfmt_owner *owner)
{
	const struct bcfmt_uuid_entry *entry = &ck->set->uuids[inode];
	const struct inode_use *use = &ck->inodes[inode];
	enum bcfmt_uuid_state state = bcfmt_uuid_state(entry);
	struct bcfmt_where where = check_where(ck, "uuid");
	char text[BCFMT_UUID_TEXT_BYTES];

	if (state != BCFMT_UUID_LIVE) {
		if (use->dirty_sectors)
			return report_stranded(
				ck, inode, state == BCFMT_UUID_FREE ? "free" : "detached", owner);
		if (use->clean_sectors && state == BCFMT_UUID_FREE)
			return CHECK_REPORT(ck, UUID_LEFT_FREE, &where,
					    BCFMT_U64("clean",
						      use->clean_sectors * BCFMT_SECTOR_BYTES),
					    BCFMT_U64("inode", inode));
		if (use->clean_sectors)
			return CHECK_REPORT(ck, UUID_LEFT_CLEAN, &where,
					    BCFMT_U64("clean",
						      use->clean_sectors * BCFMT_SECTOR_BYTES),
					    BCFMT_U64("inode", inode));
		return BCFMT_OK;
	}
	if (entry->flags & BCFMT_UUID_FLASH_ONLY || bcfmt_set_backing(ck->set, entry->uuid))
		return BCFMT_OK;
	bcfmt_uuid_text(entry->uuid, text);
	return CHECK_REPORT(ck, BACKING_ABSENT, &where, BCFMT_TEXT("uuid", text));
}

/* The older tables are looked at when somebody asks for an owner, which is seldom. */
static bcfmt_err check_inodes(struct check *ck)
{
	const struct bcfmt_set *set = ck->set;
	struct bcfmt_owner *owners = calloc(set->n_uuids ? set->n_uuids : 1, sizeof(*owners));
	bool is_any = false;
	bcfmt_err err = BCFMT_OK;

	if (!owners)
		return bcfmt_fail(ck->ctx, BCFMT_E_NOMEM, "no memory for the owners of inodes");
	for (uint32_t i = 0; i < set->n_uuids; i++)
		is_any |= ck->inodes[i].dirty_sectors &&
			  bcfmt_uuid_state(&set->uuids[i]) != BCFMT_UUID_LIVE;
	if (is_any)
		err = bcfmt_owners_find(set, owners);
	for (uint32_t i = 0; !err && i < set->n_uuids; i++)
		err = check_inode(ck, i, &owners[i]);
	free(owners);
	return err;
}

bcfmt_err pass_backing(struct check *ck)
{
	const struct bcfmt_set *set = ck->set;
	bcfmt_err err = BCFMT_OK;

	for (size_t i = 0; !err && i < set->n_backing; i++)
		err = check_backing(ck, i);
	if (!set->has_newest && !ck->tree)
		return err;
	if (!err)
		err = check_inodes(ck);
	if (!err && ck->beyond_keys) {
		struct bcfmt_where where = check_where(ck, "key");

		err = CHECK_REPORT(ck, UUID_INODE_RANGE, &where, BCFMT_U64("keys", ck->beyond_keys),
				   BCFMT_U64("inode", ck->beyond_first_inode),
				   BCFMT_U64("slots", set->n_uuids));
	}
	return err;
}
