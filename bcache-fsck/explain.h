/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What --explain has found out about a text, and showing it on devices. */
#ifndef FSCK_EXPLAIN_H
#define FSCK_EXPLAIN_H

#include "fsck.h"

#define EXPLAIN_IDS_MAX 32u

struct explained {
	const char *text;
	const struct bcfmt_kernel_line
		*line; /* NULL: a code, a name, or a line of the problem table */
	enum bcfmt_problem_id ids[EXPLAIN_IDS_MAX]; /* the problems behind it; of line the first */
	size_t n_ids;
};

/*
 * Checks the devices of the options and shows the place that the text speaks of, what is found
 * there, and whether that is what the text says. Returns exit bits.
 */
int explain_on_devices(const struct fsck_options *options, struct bcfmt_out *out,
		       const struct explained *ex);

/* Shows a place of a set that was checked: the structure as it is now. */
struct explain_shown {
	bool is_sound; /* it is there, and nothing is wrong with it */
	bool is_gone;  /* nothing of the kind is there */
};
bcfmt_err explain_show_place(struct bcfmt_out *out, struct bcfmt_set *set,
			     const struct bcfmt_kernel_place *place, struct explain_shown *shown);

#endif
