/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Reads one prio set. */
#include <bcfmt/prio.h>

#include "read/read.h"

enum prio_state prio_set_read(struct bcfmt_dev *dev, const struct bcfmt_geometry *geo,
			      uint64_t bucket, uint8_t *raw, struct bcfmt_prio_set *out)
{
	struct bcfmt_bad_read bad = { 0, 0 };
	uint64_t offset_bytes = bcfmt_bucket_sector(geo, bucket) * BCFMT_SECTOR_BYTES;

	if (bcfmt_dev_read_salvage(dev, offset_bytes, raw, geo->meta_bytes, &bad) || bad.sectors)
		return PRIO_STATE_UNREADABLE;
	switch (bcfmt_prio_decode(geo, raw, out)) {
	case BCFMT_PRIO_CSUM:
		return PRIO_STATE_CSUM;
	case BCFMT_PRIO_MAGIC:
		return PRIO_STATE_MAGIC;
	case BCFMT_PRIO_OK:
		break;
	}
	return PRIO_STATE_OK;
}
