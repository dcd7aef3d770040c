/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Slots of the uuid table, and uuids as text. */
#include <bcfmt/uuid.h>

#include <uuid/uuid.h>

#include "ondisk/uuid_entry.h"

_Static_assert(sizeof(struct uuid_entry_disk) == BCFMT_UUID_ENTRY_BYTES, "entry");
_Static_assert(sizeof(struct uuid_entry_v0_disk) == BCFMT_UUID_ENTRY_V0_BYTES, "old entry");

/* kernel: invalid_uuid */
static const uint8_t invalid_uuid[BCFMT_UUID_BYTES] = {
	0xa0, 0x3e, 0xf8, 0xed, 0x3e, 0xe1, 0xb8, 0x78,
	0xc8, 0x50, 0xfc, 0x5e, 0xcb, 0x16, 0xcd, 0x99,
};

/* The two versions agree in the first 60 bytes. */
void bcfmt_uuid_decode(const uint8_t *raw, unsigned int version, struct bcfmt_uuid_entry *out)
{
	const struct uuid_entry_v0_disk *old = (const struct uuid_entry_v0_disk *)raw;

	*out = (struct bcfmt_uuid_entry){
		.first_reg = le32_get(&old->first_reg),
		.last_reg = le32_get(&old->last_reg),
		.invalidated = le32_get(&old->invalidated),
	};
	memcpy(out->uuid, old->uuid, sizeof(old->uuid));
	memcpy(out->label, old->label, sizeof(old->label));
	if (version) {
		const struct uuid_entry_disk *disk = (const struct uuid_entry_disk *)raw;

		out->flags = le32_get(&disk->flags);
		out->sectors = le64_get(&disk->sectors);
	}
}

void bcfmt_uuid_encode(const struct bcfmt_uuid_entry *entry, uint8_t *raw)
{
	struct uuid_entry_disk *disk = (struct uuid_entry_disk *)raw;

	memset(disk, 0, sizeof(*disk));
	memcpy(disk->uuid, entry->uuid, sizeof(disk->uuid));
	memcpy(disk->label, entry->label, sizeof(disk->label));
	le32_set(&disk->first_reg, entry->first_reg);
	le32_set(&disk->last_reg, entry->last_reg);
	le32_set(&disk->invalidated, entry->invalidated);
	le32_set(&disk->flags, entry->flags);
	le64_set(&disk->sectors, entry->sectors);
}

enum bcfmt_uuid_state bcfmt_uuid_state(const struct bcfmt_uuid_entry *entry)
{
	if (bcfmt_uuid_is_zero(entry->uuid))
		return BCFMT_UUID_FREE;
	if (!memcmp(entry->uuid, invalid_uuid, sizeof(invalid_uuid)))
		return BCFMT_UUID_DETACHED;
	return BCFMT_UUID_LIVE;
}

const uint8_t *bcfmt_uuid_invalid(void)
{
	return invalid_uuid;
}

void bcfmt_uuid_text(const uint8_t uuid[BCFMT_UUID_BYTES], char out[BCFMT_UUID_TEXT_BYTES])
{
	uuid_unparse_lower(uuid, out);
}

bool bcfmt_uuid_parse(const char *text, uint8_t uuid[BCFMT_UUID_BYTES])
{
	uuid_t parsed;

	if (strlen(text) != BCFMT_UUID_TEXT_BYTES - 1 || uuid_parse(text, parsed))
		return false;
	memcpy(uuid, parsed, BCFMT_UUID_BYTES);
	return true;
}

bool bcfmt_uuid_is_zero(const uint8_t uuid[BCFMT_UUID_BYTES])
{
	static const uint8_t zero[BCFMT_UUID_BYTES];

	return !memcmp(uuid, zero, sizeof(zero));
}
