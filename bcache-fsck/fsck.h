/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What the files of bcache-fsck share. */
#ifndef FSCK_H
#define FSCK_H

#include <bcfmt/check.h>
#include <bcfmt/render.h>
#include <bcfmt/writeback.h>

#include "cli/open.h"
#include "cli/options.h"

/* Exit codes are the sum of these bits of fsck(8). What --undo puts back is no repair: 0. */
enum fsck_exit {
	FSCK_CLEAN = 0,
	FSCK_REPAIRED = 1,
	FSCK_PROBLEMS_LEFT = 4,
	FSCK_OPERATIONAL = 8,
	FSCK_USAGE = 16,
	FSCK_CANCELLED = 32,
};

/* What is done about problems. */
enum fsck_mode {
	FSCK_CHECK, /* -n, and what happens without an option where nobody can be asked */
	FSCK_PREEN, /* -p, -a */
	FSCK_YES,   /* -y */
	FSCK_ASK,
	FSCK_HOME,  /* --writeback where nobody can be asked: no repair, but what it orders */
};

struct fsck_options {
	const char *program; /* the name that it was called by */
	const char *explain; /* a code or a kernel line; NULL: check */
	const char *undo;    /* an undo file to put back; NULL: check */
	enum fsck_mode mode;
	const char *undo_file;	/* to be made; "none"; NULL: one with a name of its own */
	const char *copy_to;	/* a folder; NULL: the devices themselves are repaired */
	bool is_shallow;	/* --no-deep */
	bool is_writeback;	/* --writeback */
	bool is_detach;		/* --detach */
	bool is_adopt_auto;	/* --adopt auto */
	struct bcfmt_adoption *adoptions; /* --adopt INODE=UUID */
	size_t n_adoptions;
	const char *lost_prefix; /* --lost; NULL: beside the undo file, when anything is */
	const char **paths;	/* devices in the order of the command line */
	enum bcfmt_role *roles; /* one a path */
	size_t n_paths;
	const char **bad_maps;
	size_t n_bad_maps;
	struct bcfmt_check_params check;
	uint64_t incarnation_seq; /* 0: as a kernel would */
	uint64_t max_bytes;	  /* 0: the library's default */
	unsigned int threads;	  /* 0: the same */
	unsigned int verbose;
	int progress_fd; /* -1: none */
	bool is_json;
	bool is_quiet;
	bool is_timed;
	bool is_bar_wanted; /* -C 0, as e2fsck has it */
	bool is_in_use_ok;  /* --force */
	bool is_check_only; /* -n */
};

/* Ends the program for usage errors, and for what only repair could do. */
void fsck_options_parse(struct fsck_options *options, int argc, char **argv);
void fsck_options_free(struct fsck_options *options);

/* Context with limits, cancel flag and progress of the options. Errors are printed. */
bcfmt_err fsck_make_ctx(const struct fsck_options *options, struct bcfmt_ctx **ctx);
void fsck_start_progress(const struct fsck_options *options);
/* Tells why the work ended early and returns the exit bits for it. what: what is not complete. */
int fsck_told(struct bcfmt_ctx *ctx, bcfmt_err err, const char *what);
int fsck_bits_of(bcfmt_err err);
/* For bcfmt_out_new(). */
unsigned int fsck_out_flags(const struct fsck_options *options);

/* --explain; returns exit bits. */
int fsck_explain(const struct fsck_options *options);
/* --undo; returns exit bits. */
int fsck_undo(const struct fsck_options *options);

/* Checks, plans, repairs, or tells with -n what would be written; returns exit bits. */
int fsck_repair(const struct fsck_options *options);

/* What a check found, and how far it came. */
struct fsck_result {
	const struct bcfmt_set *set;	   /* NULL: not even opened */
	const struct bcfmt_report *report; /* NULL: not checked */
	const struct bcfmt_verdict *verdict;
	const struct bcfmt_pass_stat *stats;
	size_t n_stats;
	int exit_bits;
};
/* Prints header, findings, times and verdict; returns exit bits, those of result included. */
int fsck_print(struct bcfmt_ctx *ctx, const struct fsck_options *options,
	       const struct fsck_result *result);
/* After a failure: in JSON first and last object all the same. Returns bits and what is added. */
int fsck_print_nothing(struct bcfmt_ctx *ctx, const struct fsck_options *options, int bits);
/* Only findings and times. */
void fsck_print_check(struct bcfmt_out *out, const struct fsck_options *options,
		      const struct fsck_result *result);
/* FSCK_PROBLEMS_LEFT when the report has more than notes. */
int fsck_problem_bits(const struct bcfmt_report *report);
/* Whether --incarnation names a history that is there, and --level data can be had; errors printed. */
bool fsck_is_incarnation_there(const struct bcfmt_set *set, uint64_t seq);
bool fsck_is_data_there(const struct fsck_options *options, const struct cli_devices *devices);
/* How a set is opened to be looked at; its roles are those of devices, which has to stay. */
struct bcfmt_set_params fsck_set_params(const struct fsck_options *options,
					const struct cli_devices *devices);

#endif
