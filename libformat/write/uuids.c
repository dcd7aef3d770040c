/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Writes uuid tables. */
#include "write/write_impl.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include <bcfmt/uuid.h>

#include "base/bytes.h"

/* Place of the flags in a slot, where version 0 has padding. */
#define UUID_FLAGS_AT 60u

static bool is_same(const struct bcfmt_uuid_entry *entry, const uint8_t *raw, unsigned int version)
{
	struct bcfmt_uuid_entry decoded;

	bcfmt_uuid_decode(raw, version, &decoded);
	return !memcmp(decoded.uuid, entry->uuid, sizeof(decoded.uuid)) &&
	       !strncmp(decoded.label, entry->label, BCFMT_LABEL_BYTES) &&
	       decoded.first_reg == entry->first_reg && decoded.last_reg == entry->last_reg &&
	       decoded.invalidated == entry->invalidated &&
	       (!version || (decoded.flags == entry->flags && decoded.sectors == entry->sectors));
}

bcfmt_err bcfmt_uuids_write_raw(const struct bcfmt_target *target, uint64_t bucket,
				const struct bcfmt_uuid_entry *entries, uint32_t n_entries,
				unsigned int version)
{
	const struct bcfmt_geometry *geo = target->geo;
	size_t slot_bytes = version ? BCFMT_UUID_ENTRY_BYTES : BCFMT_UUID_ENTRY_V0_BYTES;
	uint64_t sector = bcfmt_bucket_sector(geo, bucket);
	bcfmt_err err = BCFMT_OK;
	uint8_t *raw;

	if (n_entries > geo->nr_uuids || bucket >= geo->nbuckets)
		return bcfmt_fail(target->ctx, BCFMT_E_ARG,
				  "%s: uuid table not written: %" PRIu32
				  " entries in bucket %" PRIu64 ", where %" PRIu32
				  " fit and %" PRIu64 " buckets are",
				  bcfmt_dev_name(target->dev), n_entries, bucket, geo->nr_uuids,
				  geo->nbuckets);
	raw = calloc(1, geo->meta_bytes);
	if (!raw)
		return bcfmt_fail(target->ctx, BCFMT_E_NOMEM, "%s: out of memory for a uuid table",
				  bcfmt_dev_name(target->dev));
	for (uint32_t i = 0; !err && i < n_entries; i++) {
		uint8_t slot[BCFMT_UUID_ENTRY_BYTES];

		bcfmt_uuid_encode(&entries[i], slot);
		if (!version)
			store_le32(slot + UUID_FLAGS_AT, 0);
		if (!is_same(&entries[i], slot, version))
			err = write_fail_verify(target, "uuid table", sector);
		memcpy(raw + i * slot_bytes, slot, slot_bytes);
	}
	if (!err)
		err = bcfmt_dev_write(target->dev, sector * BCFMT_SECTOR_BYTES, raw,
				      geo->meta_bytes);
	free(raw);
	return err;
}

static const char *entry_refusal(const struct bcfmt_uuid_entry *entry)
{
	bool is_volume = entry->flags & BCFMT_UUID_FLASH_ONLY;

	if (bcfmt_uuid_state(entry) != BCFMT_UUID_LIVE)
		return NULL;
	if (entry->flags & ~BCFMT_UUID_FLASH_ONLY)
		return "has unknown flags";
	if (is_volume && !entry->sectors)
		return "is a volume without a size";
	return !is_volume && entry->sectors ? "has a size and is no volume" : NULL;
}

static int by_uuid(const void *a, const void *b)
{
	return memcmp(a, b, BCFMT_UUID_BYTES);
}

static bcfmt_err check_twins(const struct bcfmt_target *target,
			     const struct bcfmt_uuid_entry *entries, uint32_t n_entries)
{
	uint8_t(*live)[BCFMT_UUID_BYTES] = malloc((n_entries + 1) * sizeof(*live));
	bcfmt_err err = BCFMT_OK;
	uint32_t n = 0;

	if (!live)
		return bcfmt_fail(target->ctx, BCFMT_E_NOMEM, "%s: out of memory for a uuid table",
				  bcfmt_dev_name(target->dev));
	for (uint32_t i = 0; i < n_entries; i++)
		if (bcfmt_uuid_state(&entries[i]) == BCFMT_UUID_LIVE)
			memcpy(live[n++], entries[i].uuid, BCFMT_UUID_BYTES);
	qsort(live, n, sizeof(*live), by_uuid);
	for (uint32_t i = 1; !err && i < n; i++) {
		char text[BCFMT_UUID_TEXT_BYTES];

		if (memcmp(live[i - 1], live[i], BCFMT_UUID_BYTES))
			continue;
		bcfmt_uuid_text(live[i], text);
		err = bcfmt_fail(target->ctx, BCFMT_E_ARG,
				 "%s: uuid table not written: %s stands in two slots",
				 bcfmt_dev_name(target->dev), text);
	}
	free(live);
	return err;
}

bcfmt_err bcfmt_uuids_write(const struct bcfmt_target *target, uint64_t bucket,
			    const struct bcfmt_uuid_entry *entries, uint32_t n_entries)
{
	bcfmt_err err;

	if (!write_bucket_is_usable(target->geo, bucket))
		return bcfmt_fail(target->ctx, BCFMT_E_ARG,
				  "%s: uuid table not written: bucket %" PRIu64 " cannot hold it",
				  bcfmt_dev_name(target->dev), bucket);
	for (uint32_t i = 0; i < n_entries; i++) {
		const char *why = entry_refusal(&entries[i]);

		if (why)
			return bcfmt_fail(target->ctx, BCFMT_E_ARG,
					  "%s: uuid table not written: slot %" PRIu32 " %s",
					  bcfmt_dev_name(target->dev), i, why);
	}
	err = check_twins(target, entries, n_entries);
	return err ? err : bcfmt_uuids_write_raw(target, bucket, entries, n_entries, 1);
}
