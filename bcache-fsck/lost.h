/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What of each volume is lost or doubtful, and the mapfiles that tell it. */
#ifndef FSCK_LOST_H
#define FSCK_LOST_H

#include <bcfmt/writeback.h>

#include "fsck.h"

struct lost_volume {
	uint8_t uuid[BCFMT_UUID_BYTES];
	char name[BCFMT_UUID_TEXT_BYTES];
	struct bcfmt_losses *losses; /* all of it under inode 0 */
	struct bcfmt_loss_map map;
};
struct lost {
	struct lost_volume *volumes; /* of the backing devices in their order, then of others */
	size_t n;
	bool is_known; /* the leaves were walked */
	bool is_finished;
};

/*
 * Takes over what a check found: of backing devices that were given, with the inodes that home (may
 * be NULL) has for them, and of flash-only volumes. Freed with lost_clear(), also after an error.
 */
bcfmt_err lost_take(struct bcfmt_ctx *ctx, const struct bcfmt_set *set,
		    const struct bcfmt_verdict *verdict, const struct bcfmt_home *home,
		    struct lost *lost);
/* A repair has named owners of inodes: what the check before it found of these is theirs, too. */
bcfmt_err lost_take_named(const struct bcfmt_set *after, const struct bcfmt_verdict *before,
			  struct lost *lost);
void lost_clear(struct lost *lost);
/* Ends adding to it; lost_write() does so, too. */
bcfmt_err lost_finish(struct lost *lost);
/*
 * Writes the maps: PREFIX-UUID.map, with has_all also of volumes that are whole, and says so. Exit
 * bits. prefix NULL: only says, when anything is lost, how to get maps.
 */
int lost_write(struct bcfmt_ctx *ctx, struct bcfmt_out *out, struct lost *lost, const char *prefix,
	       bool has_all);
/* --lost of a check that repairs nothing. Exit bits. */
int lost_of_check(struct bcfmt_ctx *ctx, struct bcfmt_out *out, const struct fsck_options *options,
		  const struct bcfmt_set *set, const struct bcfmt_verdict *verdict);

#endif
