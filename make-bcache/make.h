/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What the files of make-bcache share. */
#ifndef MAKE_H
#define MAKE_H

#include <bcfmt/make.h>
#include <bcfmt/render.h>

#include "cli/open.h"
#include "cli/options.h"

enum make_exit {
	MAKE_DONE = 0,
	MAKE_FAILED = 1, /* or refused */
	MAKE_USAGE = 2,
};

/* A device as the command line names it. */
struct make_operand {
	bool is_backing;
	bool has_uuid;
	uint8_t uuid[BCFMT_UUID_BYTES];
};

struct make_options {
	const char **paths;	       /* in the order of the command line */
	struct make_operand *operands; /* one a path */
	size_t n;
	struct bcfmt_make_params params;
	const char *backup; /* NULL: none */
	bool is_dry_run;
	bool is_json;
	bool is_quiet;
	bool is_verbose;
};

/* Ends the program for usage errors. */
void make_options_parse(struct make_options *options, int argc, char **argv);
void make_options_free(struct make_options *options);

/* One run: what its steps hand on to each other. */
struct make_run {
	const struct make_options *options;
	struct bcfmt_ctx *ctx;
	struct cli_devices devices; /* in the order of options->paths */
	struct bcfmt_out *out;
	struct bcfmt_make_plan *plan;
};

/* Tells what speaks against the plan, and what is lost of bcache devices that are overwritten. */
void make_tell_issues(const struct make_run *run);
/* What is known of the contents of a bcache device that is to be overwritten. */
void make_tell_old(const struct make_run *run, const struct bcfmt_make_target *target);
/* Runs the check of bcache-fsck over the new devices; false, with messages, when it finds any. */
bool make_check(const struct make_run *run);
/* Tells how far a commit came that failed. */
void make_tell_state(const struct make_run *run);

#endif
