/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What of uuid tables may stay. They have no checksum: of slots that look like slots the fields,
 * of others hardly more than that they are there.
 */
#include <stdlib.h>
#include <string.h>

#include <bcfmt/uuid.h>

#include "base/bytes.h"
#include "image/image_impl.h"
#include "ondisk/uuid_entry.h"

#define RFC_4122_VARIANT 0x80u
/* The largest that a backing device or volume can be: 2^57 bytes. Text is never below it. */
#define VOLUME_SECTORS_MAX (1ull << 48)

/* Text is no uuid. */
static bool is_text(const uint8_t *bytes, size_t len_bytes)
{
	for (size_t i = 0; i < len_bytes; i++)
		if (bytes[i] < 0x20 || bytes[i] > 0x7e)
			return false;
	return true;
}

/* As pass "tables" of a check has it; tables of version 0 have neither flags nor size. */
static bool is_slot(const struct bcfmt_uuid_entry *entry)
{
	if (entry->flags & ~BCFMT_UUID_FLASH_ONLY ||
	    (!(entry->flags & BCFMT_UUID_FLASH_ONLY) && entry->sectors))
		return false;
	return !is_text(entry->uuid, sizeof(entry->uuid));
}

/*
 * What a table has to be where the place may be used again: all slots are slots to the last byte,
 * their uuids made by a generator, or of this set's devices.
 */
static bool is_strict_slot(const struct maker *maker, const uint8_t *raw, size_t entry_bytes,
			   const struct bcfmt_uuid_entry *entry)
{
	bool is_live = bcfmt_uuid_state(entry) == BCFMT_UUID_LIVE;
	uint32_t inode;

	if (bcfmt_uuid_state(entry) == BCFMT_UUID_FREE)
		return bytes_are_zero(raw, entry_bytes);
	if (!is_slot(entry) || (entry_bytes == BCFMT_UUID_ENTRY_BYTES &&
				!bytes_are_zero(raw + offsetof(struct uuid_entry_disk, pad),
						sizeof(((struct uuid_entry_disk *)0)->pad))))
		return false;
	return !is_live || (entry->uuid[8] & 0xc0) == RFC_4122_VARIANT ||
	       bcfmt_set_backing(maker->set, entry->uuid) ||
	       !bcfmt_set_inode(maker->set, entry->uuid, &inode);
}

struct table {
	const uint8_t *raw;
	size_t entry_bytes;
	uint32_t n;
	unsigned int version;
};

/* Whether the bytes are a table at all. */
static bool is_table(const struct maker *maker, const struct table *table, bool is_strict)
{
	uint32_t live = 0, odd = 0;

	for (uint32_t i = 0; i < table->n; i++) {
		const uint8_t *raw = table->raw + i * table->entry_bytes;
		struct bcfmt_uuid_entry entry;

		bcfmt_uuid_decode(raw, table->version, &entry);
		if (is_strict && !is_strict_slot(maker, raw, table->entry_bytes, &entry))
			return false;
		if (bcfmt_uuid_state(&entry) != BCFMT_UUID_LIVE)
			continue;
		live++;
		odd += !is_slot(&entry);
	}
	return is_strict ? live : odd * 2 <= live;
}

static int uuid_cmp(const void *a, const void *b)
{
	return memcmp(a, b, BCFMT_UUID_BYTES);
}

static bcfmt_err push_uuid(struct maker *maker, const uint8_t uuid[BCFMT_UUID_BYTES])
{
	uint8_t *slot = vec_push(&maker->uuids, BCFMT_UUID_BYTES);

	if (!slot)
		return bcfmt_fail(maker->ctx, BCFMT_E_NOMEM, "no memory for the uuids");
	memcpy(slot, uuid, BCFMT_UUID_BYTES);
	return BCFMT_OK;
}

/* Uuids that are some: those of the given devices, and of the slots that are in order. */
static bcfmt_err find_uuids(struct maker *maker, const struct table *table, bool is_right)
{
	const struct bcfmt_set *set = maker->set;
	bcfmt_err err = BCFMT_OK;

	maker->uuids.n = 0;
	for (size_t i = 0; i < set->n_backing && !err; i++)
		if (set->backing[i].has_magic)
			err = push_uuid(maker, set->backing[i].super.uuid);
	for (uint32_t i = 0; i < table->n && is_right && !err; i++) {
		struct bcfmt_uuid_entry entry;

		bcfmt_uuid_decode(table->raw + i * table->entry_bytes, table->version, &entry);
		if (bcfmt_uuid_state(&entry) == BCFMT_UUID_LIVE && is_slot(&entry))
			err = push_uuid(maker, entry.uuid);
	}
	if (maker->uuids.n > 1)
		qsort(maker->uuids.items, maker->uuids.n, BCFMT_UUID_BYTES, uuid_cmp);
	return err;
}

static bool is_uuid(const struct maker *maker, const uint8_t uuid[BCFMT_UUID_BYTES])
{
	return maker->uuids.n &&
	       bsearch(uuid, maker->uuids.items, maker->uuids.n, BCFMT_UUID_BYTES, uuid_cmp);
}

/*
 * Of a slot that is none stays that it is there, what makes it implausible, and of its uuid, unless
 * that is known from elsewhere, a number in place of it.
 */
static void hide_slot(const struct maker *maker, struct bcfmt_uuid_entry *entry)
{
	if (is_uuid(maker, entry->uuid))
		scrub_uuid(&maker->scrub, entry->uuid);
	else
		scrub_hide_uuid(&maker->scrub, entry->uuid);
	memset(entry->label, 0, sizeof(entry->label));
	entry->first_reg = entry->last_reg = entry->invalidated = 0;
	if (entry->flags & ~BCFMT_UUID_FLASH_ONLY)
		entry->flags = 1u << 31 | (entry->flags & BCFMT_UUID_FLASH_ONLY);
	/* Nothing lies behind the end of a volume that is larger than any device. */
	if (entry->sectors >= VOLUME_SECTORS_MAX)
		entry->sectors = UINT64_MAX;
}

static void clean_slot(const struct maker *maker, bool is_right, struct bcfmt_uuid_entry *entry)
{
	size_t len = strlen(entry->label);

	memset(entry->label + len, 0, sizeof(entry->label) - len);
	if (bcfmt_uuid_state(entry) == BCFMT_UUID_LIVE && (!is_right || !is_slot(entry))) {
		hide_slot(maker, entry);
		return;
	}
	scrub_uuid(&maker->scrub, entry->uuid);
	scrub_label(&maker->scrub, (uint8_t *)entry->label);
}

bcfmt_err clean_uuids(struct maker *maker, const struct known *known, const uint8_t *raw)
{
	struct table table = { .raw = raw, .version = known->version ? 1 : 0 };
	bool is_old = known->kind == KNOWN_OLD_UUIDS, is_right;
	uint64_t offset_bytes = bcfmt_ptr_sector(known->ptr) * BCFMT_SECTOR_BYTES;
	bcfmt_err err = BCFMT_OK;

	table.entry_bytes = known->version ? BCFMT_UUID_ENTRY_BYTES : BCFMT_UUID_ENTRY_V0_BYTES;
	table.n = (uint32_t)(known->sectors * BCFMT_SECTOR_BYTES / table.entry_bytes);
	is_right = is_table(maker, &table, is_old);
	if (is_old && !is_right)
		return BCFMT_END;
	maker->stats->uuid_tables++;
	maker->stats->withheld += !is_right;
	err = find_uuids(maker, &table, is_right);
	if (!err)
		err = add_cover(maker, offset_bytes, known->sectors * (uint64_t)BCFMT_SECTOR_BYTES);
	for (uint32_t i = 0; i < table.n && !err; i++) {
		struct bcfmt_uuid_entry entry;
		uint8_t slot[BCFMT_UUID_ENTRY_BYTES];

		bcfmt_uuid_decode(raw + i * table.entry_bytes, table.version, &entry);
		if (bcfmt_uuid_state(&entry) == BCFMT_UUID_FREE)
			continue;
		clean_slot(maker, is_right, &entry);
		bcfmt_uuid_encode(&entry, slot);
		/* Old slots are as the new ones up to the times, and have nothing else. */
		err = add_raw(maker, offset_bytes + i * table.entry_bytes, slot,
			      known->version ? offsetof(struct uuid_entry_disk, pad)
					     : offsetof(struct uuid_entry_v0_disk, pad));
	}
	return err;
}
