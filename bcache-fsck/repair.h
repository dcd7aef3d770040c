/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What the files of a repair share. */
#ifndef FSCK_REPAIR_H
#define FSCK_REPAIR_H

#include <bcfmt/repair.h>
#include <bcfmt/undo.h>

#include "fsck.h"

struct repair {
	const struct fsck_options *options;
	struct bcfmt_ctx *ctx;
	struct bcfmt_out *out;
	struct cli_devices devices;
	struct bcfmt_repair_run *run;
	struct bcfmt_undo *undo; /* NULL: none is wanted */
	char *undo_path;
	bool is_done; /* what the rehearsal came to is on the devices or in the copies */
};

/* Makes the undo file, saves what is overwritten, syncs. Exit bits: not 0 when nothing may start. */
int undo_file_make(struct repair *repair);
/* After the writes: the end mark; where they failed, how to put things back. Exit bits. */
int undo_file_close(struct repair *repair, bool is_failed);
void undo_file_free(struct repair *repair);

/* --copy-to. Exit bits. */
int copies_make(struct repair *repair);

#endif
