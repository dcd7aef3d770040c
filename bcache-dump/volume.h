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

/*
 * By --device, or all live ones of the set whose backing device was given; *out is freed by the
 * caller. Those that are left out are told. As of volume_choose() when there is none. *is_whole is
 * false when some may be missing or had to be left out because of damage.
 */
int volume_list(struct dump *d, struct volume **out, size_t *n, bool *is_whole);

/* The label of a volume, of the table or else of its backing device: "" when it has none. */
void volume_label(const struct volume *volume, char out[BCFMT_LABEL_BYTES + 1]);

/* Opens it for reading through leaves, see struct bcfmt_volume_params; bcfmt_volume_free(). */
bcfmt_err volume_open(const struct volume *volume, struct bcfmt_leaf_cache *leaves,
		      struct bcfmt_losses *losses, struct bcfmt_volume **out);

#endif
