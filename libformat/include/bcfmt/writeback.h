/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Bringing dirty data home to its backing devices, whose it is, and maps of what is lost. */
#ifndef BCFMT_WRITEBACK_H
#define BCFMT_WRITEBACK_H

#include <bcfmt/base.h>
#include <bcfmt/loss.h>
#include <bcfmt/set.h>
#include <bcfmt/undo.h>

BCFMT_BEGIN_DECLS

/* ---- maps of what is lost ---- */

struct bcfmt_loss_map {
	const char *volume;           /* named in a comment of the file: label or uuid */
	uint32_t inode;               /* in the collection */
	uint64_t data_offset_sectors; /* what keys of the inode count in front of the volume */
	uint64_t volume_sectors;
};
struct bcfmt_loss_sums {
	uint64_t lost_bytes;
	uint64_t doubtful_bytes;
};
/* What of the volume is lost, and what is only doubtful. losses is finished. */
BCFMT_API bcfmt_err bcfmt_losses_sum(struct bcfmt_losses *losses, const struct bcfmt_loss_map *map,
				     struct bcfmt_loss_sums *out);
/*
 * Writes a mapfile of ddrescue that covers the whole volume: positions in bytes of the volume, lost
 * '-', doubtful '/', the rest '+'. It is written beside path, synced, and takes its place: a file of
 * that name is replaced, or nothing happens. E_SYSTEM with the path when it cannot be written.
 */
BCFMT_API bcfmt_err bcfmt_losses_write_map(struct bcfmt_ctx *ctx, struct bcfmt_losses *losses,
					   const struct bcfmt_loss_map *map, const char *path);

BCFMT_END_DECLS

#endif
