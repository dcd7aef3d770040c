/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Which volume of the set is meant. */
#ifndef VOLUME_H
#define VOLUME_H

#include <bcfmt/volume.h>

#include "dump.h"

struct volume {
	uint32_t inode;
	const struct bcfmt_uuid_entry *entry; /* NULL: the inode has no live one */
	const struct bcfmt_member *backing;   /* NULL: flash-only */
	uint64_t data_offset_sectors;	      /* 0 for flash-only */
	uint64_t sectors;
};

/*
 * By --device, or the only one, or the one of the only backing device given. Prints what is
 * wrong: DUMP_USAGE when it cannot be told or its backing device is not among those given.
 */
int volume_choose(struct dump *d, struct volume *out);

/* Opens it for reading through leaves; freed with bcfmt_volume_free(). */
bcfmt_err volume_open(const struct volume *volume, struct bcfmt_leaf_cache *leaves,
		      struct bcfmt_volume **out);

#endif
