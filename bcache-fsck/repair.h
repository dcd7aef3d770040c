/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What the files of a repair share. */
#ifndef FSCK_REPAIR_H
#define FSCK_REPAIR_H

#include <bcfmt/repair.h>
#include <bcfmt/undo.h>

#include "fsck.h"
#include "lost.h"

struct repair {
	const struct fsck_options *options;
	struct bcfmt_ctx *ctx;
	struct bcfmt_out *out;
	struct cli_devices devices;
	struct bcfmt_repair_run *run;
	struct bcfmt_undo *undo; /* NULL: none is wanted */
	char *undo_path;
	struct lost lost;		   /* as the first check found it */
	struct bcfmt_repair_params params; /* of run */
	bool is_spent; /* the run was rehearsed: nothing else can be done with it */
	bool is_undo_failed;
	bool is_done; /* what the rehearsal came to is on the devices or in the copies */
};

/* Makes the undo file, when it is not there yet. Exit bits: not 0 when nothing may start. */
int undo_file_open(struct repair *repair);
/* The same, and saves what the run overwrites, and syncs. */
int undo_file_make(struct repair *repair);
/* After the writes: the end mark; where they failed, how to put things back. Exit bits. */
int undo_file_close(struct repair *repair, bool is_failed);
void undo_file_free(struct repair *repair);

/* --copy-to. Exit bits. */
int copies_make(struct repair *repair);
/* Bits of a copy that is none: zeros for what could not be read are a problem that is left. */
bool copies_have_failed(int bits);
/* The copies become the devices of the repair. Exit bits. */
int copies_open(struct repair *repair);

/* Tells why the work ended early; exit bits. */
int repair_told(struct repair *repair, bcfmt_err err, const char *what);
/*
 * Rehearses the run, and again for what only shows then, as far as it is agreed to; *result is
 * never MORE.
 */
bcfmt_err repair_rehearse(struct repair *repair, enum bcfmt_rehearsal *result);
/* Agrees to what the options say beforehand; to nothing where a question would be needed. */
void repair_agree_again(struct repair *repair);

static inline bool repair_is_adopting(const struct repair *repair)
{
	return repair->options->is_adopt_auto || repair->options->n_adoptions;
}

/* In repair_tell.c, in the order of the work. The superblocks are what consent is asked for. */
void repair_tell_superblocks(struct repair *repair);
void repair_tell_plan(struct repair *repair);
/* For bcfmt_repair_writes(), arg the repair. */
bcfmt_err repair_tell_write(void *arg, const struct bcfmt_repair_write *write);
/* what: "repaired". */
void repair_tell_counts(struct repair *repair, const char *what);
/* Verdict and summary; bits: the exit bits so far. */
void repair_tell_verdict(struct repair *repair, int bits);

/*
 * --writeback: copies dirty data home after all repairs, marks it clean, detaches. The run and its
 * set are others afterwards. Exit bits.
 */
int home_run(struct repair *repair);
/* --adopt without --writeback: gives the order to the run. Exit bits. */
int home_order_adoption(struct repair *repair);

#endif
