/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Reads a superblock. */
#include <bcfmt/super.h>

#include "read/read.h"

bool super_read(struct bcfmt_dev *dev, struct bcfmt_super *out)
{
	uint8_t raw[BCFMT_SUPER_BYTES];
	struct bcfmt_bad_read bad = { 0, 0 };

	if (bcfmt_dev_read_salvage(dev, BCFMT_SUPER_OFFSET_BYTES, raw, sizeof(raw), &bad))
		return false;
	bcfmt_super_decode(raw, out);
	return bad.sectors == 0;
}
