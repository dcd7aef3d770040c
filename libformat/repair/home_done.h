/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What of a device is home by now. */
#ifndef REPAIR_HOME_DONE_H
#define REPAIR_HOME_DONE_H

#include <bcfmt/writeback.h>

#include "dev/range_map.h"

struct bcfmt_home_done {
	struct bcfmt_ctx *ctx;
	uint32_t *inodes; /* of the device, the newest first */
	size_t n_inodes;
	/* All of the inodes before this one are done, and of it all sectors before the sector. */
	size_t inode_index;
	uint64_t sector;
	struct range_map *left; /* an inode: what was left out */
	bool has_left;
	struct bcfmt_writeback_sums sums;
};

/* Notes that sectors of inodes[index] were left out. */
bcfmt_err home_done_leave(struct bcfmt_home_done *done, size_t index, uint64_t start_sector,
			  uint64_t sectors);

#endif
