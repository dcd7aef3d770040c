/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Reads the uuid table. */
#include <bcfmt/uuid.h>

#include <stdlib.h>

#include "base/checked.h"
#include "read/read.h"

bcfmt_err uuids_read(struct bcfmt_ctx *ctx, struct bcfmt_dev *dev, const struct bcfmt_key *key,
		     unsigned int version, struct bcfmt_uuid_entry *entries, uint32_t n_entries,
		     struct bcfmt_bad_read *bad)
{
	size_t entry_bytes = version ? BCFMT_UUID_ENTRY_BYTES : BCFMT_UUID_ENTRY_V0_BYTES;
	uint64_t table_bytes = (uint64_t)bcfmt_key_sectors(key) * BCFMT_SECTOR_BYTES;
	uint64_t n = min_u64(n_entries, table_bytes / entry_bytes);
	uint8_t *raw = malloc(table_bytes ? table_bytes : 1);
	bcfmt_err err;

	if (!raw)
		return bcfmt_fail(ctx, BCFMT_E_NOMEM, "no memory for the uuid table");
	err = bcfmt_dev_read_salvage(dev, bcfmt_ptr_sector(key->ptr) * BCFMT_SECTOR_BYTES, raw,
				     table_bytes, bad);
	for (uint64_t i = 0; !err && i < n; i++)
		bcfmt_uuid_decode(raw + i * entry_bytes, version ? 1 : 0, &entries[i]);
	free(raw);
	return err;
}
