/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Proposes the superblock of a backing device from what its cache knows of it. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <bcfmt/uuid.h>

#include "base/bytes.h"
#include "base/checked.h"
#include "ondisk/super.h"
#include "repair/super_impl.h"
#include "repair/super_owner.h"

#define TAKEN_MAX 64u
#define BLOCK_SECTORS_MAX 128u
#define MODE_WRITEBACK 1u
#define MODE_MAX 3u
#define MODE_MASK 15ull
#define STATE_SHIFT 61
#define STATE_MASK (3ull << STATE_SHIFT)

/* The data begins at one of these, or at a multiple of 1 MiB up to 64 MiB, or at a zone. */
static const uint64_t usual_offsets[] = { 16,  24,   32,   64,	 128,  256,
					  512, 1024, 2048, 4096, 8192, 524288 };
#define N_USUAL (sizeof(usual_offsets) / sizeof(usual_offsets[0]))
#define MIB_SECTORS 2048u
#define N_OFFSETS (N_USUAL + 64u)

struct homing {
	struct proposing *p;
	struct bcfmt_dev *const *partners;
	size_t n_partners;
	bool has_cache; /* readable: owners and cache are filled */
	struct bcfmt_super cache;
	struct owners owners;
	const struct owner *owner; /* whose slot is that of the device; NULL: not known */
	bool is_owner_guess;
	char owner_text[SUPER_NOTE_BYTES];
};

static bool is_backing_version(uint64_t version)
{
	return version == 1 || version == 4 || version == 6;
}

static uint64_t dev_sectors(const struct homing *h)
{
	return bcfmt_dev_bytes(h->p->dev) / BCFMT_SECTOR_BYTES;
}

static bool is_offset_possible(const struct homing *h, uint64_t sector)
{
	return sector >= DISK_SUPER_DATA_OFFSET_MIN && sector < dev_sectors(h) &&
	       !(h->owner && h->owner->has_extents && sector > h->owner->first_sector);
}

static bool is_block_possible(const struct homing *h, uint32_t sectors)
{
	return is_pow2(sectors) && sectors <= BLOCK_SECTORS_MAX &&
	       sectors * BCFMT_SECTOR_BYTES >= bcfmt_dev_logical_block_bytes(h->p->dev) &&
	       !(h->has_cache && sectors < h->cache.block_sectors);
}

/* The offset that the stored superblock means; 0 when it means none. */
static uint64_t stored_offset(const struct homing *h)
{
	const struct bcfmt_super *stored = &h->p->stored;

	if (!h->p->is_ours || !is_backing_version(stored->version))
		return 0;
	return stored->version == 1 ? DISK_SUPER_DATA_OFFSET_MIN : stored->nbuckets_or_data_offset;
}

/* ---- whose device it is ----------------------------------------------------------------- */

static bcfmt_err open_cache(struct homing *h)
{
	uint8_t taken[TAKEN_MAX][BCFMT_UUID_BYTES];
	struct bcfmt_super super;
	size_t n_taken = 0, index = 0;
	bcfmt_err err;

	for (size_t i = 0; n_taken < TAKEN_MAX &&
			   partner_super(h->partners, h->n_partners, true, &i, &super) == BCFMT_OK;
	     i++)
		memcpy(taken[n_taken++], super.uuid, BCFMT_UUID_BYTES);
	if (partner_super(h->partners, h->n_partners, false, &index, &h->cache))
		return BCFMT_OK;
	err = owners_find(h->p->ctx, h->partners[index], h->p->dev, taken, n_taken, &h->owners);
	if (err && err != BCFMT_END)
		return err;
	h->has_cache = !err;
	return BCFMT_OK;
}

/* A wrong slot would strand the data of the right one: only what nothing contradicts is taken. */
static void find_owner(struct homing *h)
{
	const struct bcfmt_super *stored = &h->p->stored;
	struct owner *only = NULL;
	size_t n_possible = 0, n_proved = 0;

	for (size_t i = 0; i < h->owners.n; i++) {
		struct owner *owner = &h->owners.items[i];

		if (!bcfmt_uuid_is_zero(stored->uuid) &&
		    !memcmp(owner->entry->uuid, stored->uuid, BCFMT_UUID_BYTES)) {
			h->owner = owner;
			snprintf(h->owner_text, sizeof(h->owner_text),
				 "slot %u of the cache's table", owner->inode);
			return;
		}
		if (owner_is_excluded(&h->owners, owner))
			continue;
		if (owner_is_proved(owner) && !n_proved++) {
			n_possible = 0;
			only = NULL;
		}
		if (n_proved && !owner_is_proved(owner))
			continue;
		n_possible++;
		only = owner;
	}
	if (n_possible != 1 || (h->owners.is_capped && !n_proved))
		return;
	h->owner = only;
	h->is_owner_guess = !n_proved;
	if (n_proved)
		snprintf(
			h->owner_text, sizeof(h->owner_text),
			"slot %u of the cache's table: %llu sectors that the cache holds clean are "
			"the same here",
			only->inode, (unsigned long long)only->equal_sectors);
	else
		snprintf(h->owner_text, sizeof(h->owner_text),
			 "slot %u of the cache's table is the only one that this device can have",
			 only->inode);
}

/* ---- the fields ------------------------------------------------------------------------- */

/* Where a file system or the like begins; 0: nothing found. *n: at how many places. */
static bcfmt_err find_signature(struct homing *h, struct bcfmt_signature *found, uint64_t *sector,
				size_t *n)
{
	uint64_t offsets[N_OFFSETS + 1];
	size_t n_offsets = 0;
	bcfmt_err err = BCFMT_OK;

	*sector = 0;
	*n = 0;
	offsets[n_offsets++] = stored_offset(h);
	for (size_t i = 0; i < N_USUAL; i++)
		offsets[n_offsets++] = usual_offsets[i];
	for (uint64_t i = 1; i <= 64; i++)
		offsets[n_offsets++] = i * MIB_SECTORS;
	for (size_t i = 0; !err && i < n_offsets; i++) {
		struct bcfmt_signature this;
		bool is_found;

		if (!is_offset_possible(h, offsets[i]) || offsets[i] == *sector)
			continue;
		if (bcfmt_ctx_is_cancelled(h->p->ctx))
			return BCFMT_E_CANCELLED;
		err = owners_signature(h->p->ctx, &h->owners, h->owner, h->p->dev, offsets[i],
				       &this, &is_found);
		if (err || !is_found)
			continue;
		if (!(*n)++) {
			*found = this;
			*sector = offsets[i];
		}
		/* What is inside of it, as behind a partition table, is no other beginning. */
		if (offsets[i] == stored_offset(h) || offsets[i] == DISK_SUPER_DATA_OFFSET_MIN ||
		    this.is_partition_table)
			break;
	}
	return err;
}

static bcfmt_err take_offset(struct homing *h)
{
	struct proposing *p = h->p;
	uint64_t stored = stored_offset(h), sector = 0;
	struct bcfmt_signature found;
	size_t n;
	bcfmt_err err;

	if (h->owner && h->owner->has_extents &&
	    h->owner->first_sector == DISK_SUPER_DATA_OFFSET_MIN) {
		sector = DISK_SUPER_DATA_OFFSET_MIN;
		proposing_note(p, SUPER_FIELD_DATA_OFFSET, false,
			       "the least that there is: the cache holds data of sector 16");
	} else if (p->has_csum_right && is_offset_possible(h, stored)) {
		sector = stored;
	} else {
		err = find_signature(h, &found, &sector, &n);
		if (err)
			return err;
		if (n)
			proposing_note(p, SUPER_FIELD_DATA_OFFSET, n > 1, "%.31s begins there%s",
				       found.type,
				       n > 1 ? ", and something else at another place" : "");
		else
			proposing_note(p, SUPER_FIELD_DATA_OFFSET, true,
				       "no file system is known at any usual place; this is the "
				       "%s",
				       is_offset_possible(h, stored) ? "stored value" : "default");
		if (!n)
			sector =
				is_offset_possible(h, stored) ? stored : DISK_SUPER_DATA_OFFSET_MIN;
	}
	if (sector == stored) {
		/* Version 1 has no field for it. */
		p->super.version = p->stored.version;
		return BCFMT_OK;
	}
	if (sector == DISK_SUPER_DATA_OFFSET_MIN && p->super.version != 4 &&
	    p->super.version != 6) {
		p->super.version = 1;
	} else {
		if (p->super.version != 6)
			p->super.version = 4;
		p->super.nbuckets_or_data_offset = sector;
	}
	if (p->super.version == 1 && !p->is_ours)
		p->super.nbuckets_or_data_offset = 0;
	proposing_note(p, SUPER_FIELD_VERSION, p->guessed >> SUPER_FIELD_DATA_OFFSET & 1,
		       "a backing device whose data begins at sector %llu",
		       (unsigned long long)sector);
	return BCFMT_OK;
}

static void take_identity(struct homing *h)
{
	struct proposing *p = h->p;

	if (!h->owner)
		return;
	memcpy(p->super.uuid, h->owner->entry->uuid, BCFMT_UUID_BYTES);
	proposing_note(p, SUPER_FIELD_UUID, h->is_owner_guess, "%s", h->owner_text);
	memcpy(p->super.set_uuid, h->cache.set_uuid, BCFMT_UUID_BYTES);
	proposing_note(p, SUPER_FIELD_SET_UUID, h->is_owner_guess, "that of the cache; %s",
		       h->owner_text);
	if (!p->is_ours) {
		memcpy(p->super.label, h->owner->entry->label, sizeof(p->super.label));
		proposing_note(p, SUPER_FIELD_LABEL, false, "%s", h->owner_text);
	}
}

static bool is_flags_plausible(uint64_t flags)
{
	return (flags & MODE_MASK) <= MODE_MAX && !(flags & ~(MODE_MASK | STATE_MASK));
}

static void take_flags(struct homing *h)
{
	struct proposing *p = h->p;
	bool is_dirty = h->owner && h->owner->dirty_sectors;
	uint64_t state = p->super.flags >> STATE_SHIFT & 3;
	uint64_t mode = p->super.flags & MODE_MASK;

	if (!p->is_ours || !is_flags_plausible(p->super.flags)) {
		state = h->owner ? BCFMT_BDEV_CLEAN : BCFMT_BDEV_NONE;
		mode = is_dirty ? MODE_WRITEBACK : 0;
		proposing_note(p, SUPER_FIELD_FLAGS, false, "%s",
			       is_dirty ? "the cache holds dirty data" : "the safest");
	}
	/* Whether a device was run without its cache is in its superblock alone. */
	if (is_dirty && state == BCFMT_BDEV_CLEAN) {
		state = BCFMT_BDEV_DIRTY;
		proposing_note(p, SUPER_FIELD_STATE, !p->is_ours,
			       "the cache holds %llu dirty sectors for it%s",
			       (unsigned long long)h->owner->dirty_sectors,
			       p->is_ours ? ""
					  : "; if it was run without its cache, they are stale");
	} else {
		proposing_note(p, SUPER_FIELD_STATE, !h->owner, "%s",
			       h->owner ? "the cache holds nothing dirty for it"
					: "no cache says that it holds anything of it");
	}
	p->super.flags = mode | state << STATE_SHIFT;
}

static void take_block(struct homing *h)
{
	struct proposing *p = h->p;
	uint32_t least =
		(uint32_t)max_u64(bcfmt_dev_logical_block_bytes(p->dev) / BCFMT_SECTOR_BYTES,
				  h->has_cache ? h->cache.block_sectors : 1);

	if (!is_block_possible(h, p->super.block_sectors))
		p->super.block_sectors = (uint16_t)least;
	proposing_note(p, SUPER_FIELD_BLOCK, false, "%s",
		       h->has_cache ? "that of the cache, the least that it takes"
				    : "that of the device");
}

/* Settings that the checksum proves, if just one field is damaged. */
static void take_by_csum(struct homing *h)
{
	struct proposing *p = h->p;
	struct bcfmt_super kept = p->super;

	if (!p->is_ours || p->has_csum_right || !p->stored.csum)
		return;
	p->is_csum_proof = true;
	if (proposing_csum(p) == p->stored.csum)
		return;
	for (uint64_t flags = 0; flags < 16; flags++) {
		p->super.flags = (flags & 3) | (flags >> 2) << STATE_SHIFT;
		if (proposing_csum(p) != p->stored.csum)
			continue;
		proposing_note(p, SUPER_FIELD_FLAGS, false,
			       "of all values the one that the stored checksum has");
		proposing_note(p, SUPER_FIELD_STATE, false,
			       "of all values the one that the stored checksum has");
		return;
	}
	p->super = kept;
	for (uint32_t block = 1; block <= BLOCK_SECTORS_MAX; block *= 2) {
		p->super.block_sectors = (uint16_t)block;
		if (!is_block_possible(h, block) || proposing_csum(p) != p->stored.csum)
			continue;
		proposing_note(p, SUPER_FIELD_BLOCK, false,
			       "of all values the one that the stored checksum has");
		return;
	}
	p->super = kept;
	p->is_csum_proof = false;
}

/* ---- the whole -------------------------------------------------------------------------- */

/* Without a cache to ask, only what is left of a superblock says that there was one. */
static bool is_mendable_alone(const struct proposing *p)
{
	return p->is_ours && !bcfmt_uuid_is_zero(p->stored.uuid);
}

static bcfmt_err give_up(struct homing *h)
{
	const char *why = "of this device nothing tells that it belongs to bcache: give its cache "
			  "device along, whose table has its uuid";

	if (h->has_cache && h->owners.n)
		why = "no slot of the cache's table, or more than one, can be that of this device: "
		      "give the other backing devices of the set along";
	else if (h->has_cache)
		why = "the cache knows no backing device that is not given";
	return proposing_give_up(h->p, false, why);
}

/* What a kernel takes, with an offset that nothing contradicts. */
static bool is_accepted(const struct homing *h)
{
	const struct proposing *p = h->p;

	return p->has_csum_right && !p->faults && is_offset_possible(h, stored_offset(h));
}

static bcfmt_err propose(struct homing *h)
{
	struct proposing *p = h->p;
	bcfmt_err err = open_cache(h);

	if (err)
		return err;
	find_owner(h);
	/*
	 * A superblock that names another set, or has a uuid under a right checksum, is a better
	 * witness than a free place in the table.
	 */
	if (h->owner && h->is_owner_guess && p->is_ours &&
	    ((p->has_csum_right && !bcfmt_uuid_is_zero(p->stored.uuid)) ||
	     memcmp(p->stored.set_uuid, h->cache.set_uuid, BCFMT_UUID_BYTES)))
		h->owner = NULL;
	/* Where only the magic was hit, uuids still tell. */
	if (h->has_cache &&
	    (!memcmp(p->stored.set_uuid, h->cache.set_uuid, BCFMT_UUID_BYTES) ||
	     (h->owner && !memcmp(p->stored.uuid, h->owner->entry->uuid, BCFMT_UUID_BYTES))))
		p->is_ours = true;
	proposing_base(p);
	if (is_accepted(h)) {
		proposing_end(p);
		return BCFMT_OK;
	}
	if (!h->owner && !is_mendable_alone(p))
		return give_up(h);
	err = take_offset(h);
	if (err)
		return err;
	if (!p->has_csum_right || bcfmt_uuid_is_zero(p->stored.uuid))
		take_identity(h);
	take_flags(h);
	take_block(h);
	take_by_csum(h);
	snprintf(p->out->why, sizeof(p->out->why), "%s%s%s", h->owner ? h->owner_text : "",
		 h->owner && p->is_csum_proof ? "; " : "",
		 p->is_csum_proof ? "the stored checksum is right with it" : "");
	proposing_end(p);
	return BCFMT_OK;
}

bcfmt_err repair_super_backing(struct bcfmt_ctx *ctx, struct bcfmt_dev *dev,
			       struct bcfmt_dev *const *partners, size_t n_partners,
			       struct super_proposal *out)
{
	struct homing *h = calloc(1, sizeof(*h));
	struct proposing *p = malloc(sizeof(*p));
	bcfmt_err err;

	*out = (struct super_proposal){ 0 };
	if (!h || !p) {
		err = bcfmt_fail(ctx, BCFMT_E_NOMEM, "%s: no memory for a superblock",
				 bcfmt_dev_name(dev));
		goto out;
	}
	proposing_begin(p, ctx, dev, true, out);
	*h = (struct homing){ .p = p, .partners = partners, .n_partners = n_partners };
	err = propose(h);
out:
	if (h)
		owners_free(&h->owners);
	free(h);
	free(p);
	return err;
}
