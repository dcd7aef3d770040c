/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Repairs: the plan, questions, the rehearsal, the undo file, the writes or the copies. */
#include "repair.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cli/message.h"
#include "cli/progress.h"

int repair_told(struct repair *repair, bcfmt_err err, const char *what)
{
	cli_progress_clear();
	return fsck_told(repair->ctx, err, what);
}

/* What the library refuses to write is no fault of the command line. */
static int failed(struct repair *repair, bcfmt_err err, const char *what)
{
	int bits = repair_told(repair, err, what);

	return bits & FSCK_USAGE ? (bits & ~FSCK_USAGE) | FSCK_OPERATIONAL : bits;
}

/* ---- consent ---- */

/* An answer to a question, or 'q' at the end of the input. */
static int read_answer(void)
{
	char line[64];

	while (fgets(line, sizeof(line), stdin)) {
		size_t at = strspn(line, " \t");

		if (line[at] && strchr("ynaqYNAQ", line[at]) && strchr(" \t\n", line[at + 1]))
			return line[at] | 0x20;
		if (*cli_cancelled())
			break;
		printf("y, n, a for yes to all, or q to stop? ");
		fflush(stdout);
	}
	return 'q';
}

/* False when the user wants to stop. */
static bool ask(struct repair *repair)
{
	bool is_all = false;

	for (size_t i = 0; i < bcfmt_repair_items(repair->run); i++) {
		const struct bcfmt_plan_item *item = bcfmt_repair_item(repair->run, i);
		int answer = 'y';

		if (item->state != BCFMT_PLAN_OPEN)
			continue;
		if (!is_all) {
			printf("BC%04d %s, found %" PRIu64 " times: %s (y/n/a/q)? ",
			       (int)item->problem->id, item->problem->slug, item->findings,
			       bcfmt_repair_name(item->problem->repair));
			fflush(stdout);
			answer = read_answer();
		}
		if (answer == 'q')
			return false;
		is_all |= answer == 'a';
		(void)bcfmt_repair_agree(repair->run, i, answer != 'n');
	}
	return true;
}

static bool agree(struct repair *repair)
{
	switch (repair->options->mode) {
	case FSCK_PREEN:
		bcfmt_repair_agree_all(repair->run, BCFMT_CONSENT_AUTO);
		return true;
	case FSCK_CHECK:
	case FSCK_YES:
		bcfmt_repair_agree_all(repair->run, BCFMT_CONSENT_ASK);
		return true;
	case FSCK_HOME:
		return true;
	case FSCK_ASK:
		break;
	}
	return ask(repair);
}

void repair_agree_again(struct repair *repair)
{
	if (repair->options->mode != FSCK_ASK)
		(void)agree(repair);
}

/* What comes of what was agreed to may ask for more. */
bcfmt_err repair_rehearse(struct repair *repair, enum bcfmt_rehearsal *result)
{
	bcfmt_err err = bcfmt_repair_rehearse(repair->run, result);

	while (!err && *result == BCFMT_REHEARSAL_MORE) {
		cli_progress_clear();
		if (!agree(repair))
			return BCFMT_E_CANCELLED;
		err = bcfmt_repair_rehearse(repair->run, result);
	}
	return err;
}

/* ---- what is written ---- */

/* Writes to the devices or to copies. */
static int carry_out(struct repair *repair)
{
	const struct fsck_options *options = repair->options;
	bcfmt_err err = BCFMT_OK;
	int bits = FSCK_CLEAN;

	if (options->verbose)
		err = bcfmt_repair_writes(repair->run, repair_tell_write, repair);
	if (err)
		return failed(repair, err, "nothing is written");
	if (options->mode == FSCK_CHECK) {
		repair_tell_counts(repair, "would be repaired");
		return FSCK_CLEAN;
	}
	if (options->copy_to)
		return FSCK_CLEAN;
	bits = undo_file_make(repair);
	if (bits)
		return bits;
	err = bcfmt_repair_commit(repair->run);
	if (err) {
		bits = failed(repair, err, "the repair is not complete: run it again");
		undo_file_close(repair, true);
		return bits | FSCK_OPERATIONAL;
	}
	if (!options->is_writeback)
		bits = undo_file_close(repair, false);
	repair->is_done = true;
	repair_tell_counts(repair, "repaired");
	return bits | FSCK_REPAIRED;
}

/* ---- from the beginning to the end ---- */

static int rehearse(struct repair *repair)
{
	enum bcfmt_rehearsal result;
	bcfmt_err err;
	int bits = FSCK_CLEAN;

	if (!agree(repair)) {
		cli_error(NULL, "cancelled: nothing is written");
		return FSCK_CANCELLED;
	}
	/* --writeback adopts while it copies. */
	if (!repair->options->is_writeback && repair_is_adopting(repair))
		bits = home_order_adoption(repair);
	if (bits)
		return bits;
	repair->is_spent = true;
	err = repair_rehearse(repair, &result);
	repair->is_spent = err || result != BCFMT_REHEARSAL_NOTHING;
	cli_progress_clear();
	repair_tell_plan(repair);
	if (err)
		return failed(repair, err, "nothing is written");
	if (result == BCFMT_REHEARSAL_REJECTED) {
		cli_error_ctx(NULL, repair->ctx, BCFMT_E_DAMAGED);
		return FSCK_PROBLEMS_LEFT;
	}
	if (result == BCFMT_REHEARSAL_READY)
		bits = carry_out(repair);
	if (repair->options->copy_to && !(bits & ~FSCK_REPAIRED)) {
		bits |= copies_make(repair);
		if (!copies_have_failed(bits) && result == BCFMT_REHEARSAL_READY) {
			repair->is_done = true;
			repair_tell_counts(repair, "repaired in the copies");
			bits |= FSCK_REPAIRED;
		}
	}
	return bits;
}

/* As the first check found it: afterwards lost ranges are old data that nothing tells of. */
static bcfmt_err take_lost(struct repair *repair)
{
	const struct fsck_options *options = repair->options;
	const struct bcfmt_set *set = bcfmt_repair_set(repair->run);
	struct bcfmt_home *home;
	bcfmt_err err = bcfmt_home_new(set, options->adoptions, options->n_adoptions,
				       options->is_adopt_auto, &home);

	if (!err)
		err = lost_take(repair->ctx, set, bcfmt_repair_verdict(repair->run), home,
				&repair->lost);
	bcfmt_home_free(home);
	return err;
}

/* Maps go where --lost says, else beside the undo file. */
static int write_lost(struct repair *repair)
{
	const char *prefix = repair->options->lost_prefix, *undo = repair->undo_path;
	size_t len = undo ? strlen(undo) : 0;
	bool is_changed = repair->undo || repair->is_done;
	char *beside = NULL;
	int bits;

	if (!prefix && !is_changed)
		return FSCK_CLEAN;
	if (!prefix && len) {
		if (len > 5 && !strcmp(undo + len - 5, ".undo"))
			len -= 5;
		beside = strndup(undo, len);
		if (!beside) {
			cli_error(NULL, "out of memory");
			return FSCK_OPERATIONAL;
		}
	}
	bits = lost_write(repair->ctx, repair->out, &repair->lost, prefix ? prefix : beside,
			  prefix != NULL);
	free(beside);
	return bits;
}

/* Bits after which nothing more is done. */
static bool is_ended(int bits)
{
	return bits & (FSCK_OPERATIONAL | FSCK_USAGE | FSCK_CANCELLED);
}

static int work(struct repair *repair)
{
	const struct fsck_options *options = repair->options;
	int bits = rehearse(repair), closing;

	if (repair->is_done)
		bits |= repair_told(repair,
				    lost_take_named(bcfmt_repair_set_after(repair->run),
						    bcfmt_repair_verdict(repair->run),
						    &repair->lost),
				    "what is lost is not all known");
	/* A cache that cannot be repaired, or written at all, is a reason to bring its data home. */
	if (options->is_writeback && !(bits & (FSCK_USAGE | FSCK_CANCELLED)) &&
	    !repair->is_undo_failed && !(options->copy_to && is_ended(bits)))
		bits |= home_run(repair);
	if (repair->options->is_writeback && repair->undo) {
		closing = undo_file_close(repair, is_ended(bits));
		bits |= closing;
	}
	return bits | write_lost(repair);
}

static int left_bits(const struct repair *repair)
{
	if (!repair->run)
		return FSCK_CLEAN;
	return fsck_problem_bits(repair->is_done ? bcfmt_repair_report_after(repair->run)
						 : bcfmt_repair_report(repair->run));
}

static int run_checked(struct repair *repair)
{
	struct fsck_result found = {
		.set = bcfmt_repair_set(repair->run),
		.report = bcfmt_repair_report(repair->run),
		.verdict = bcfmt_repair_verdict(repair->run),
	};
	bcfmt_err err;
	int bits;

	found.stats = bcfmt_repair_stats(repair->run, &found.n_stats);
	if (!fsck_is_incarnation_there(found.set, repair->options->incarnation_seq))
		return FSCK_USAGE;
	bcfmt_render_header(repair->out, repair->options->program,
			    repair->options->mode == FSCK_CHECK ? "check" : "repair", found.set);
	fsck_print_check(repair->out, repair->options, &found);
	repair_tell_superblocks(repair);
	fflush(stdout);
	/* An adoption that cannot be is a fault of the command line. */
	err = take_lost(repair);
	cli_progress_clear();
	bits = err ? fsck_told(repair->ctx, err, "nothing is written") : work(repair);
	bits |= left_bits(repair);
	if (bcfmt_out_error(repair->out))
		bits |= FSCK_OPERATIONAL;
	repair_tell_verdict(repair, bits);
	return bits;
}

static int run(struct repair *repair)
{
	const struct fsck_options *options = repair->options;
	bool is_written = options->mode != FSCK_CHECK && !options->copy_to;
	struct cli_open_params open_params = {
		.paths = options->paths,
		.n_paths = options->n_paths,
		.flags = is_written ? BCFMT_OPEN_WRITE | BCFMT_OPEN_EXCLUSIVE : 0,
		.is_in_use_ok = options->is_in_use_ok && !is_written,
		.bad_maps = options->bad_maps,
		.n_bad_maps = options->n_bad_maps,
		.roles = options->roles,
	};
	bcfmt_err err;

	repair->params = (struct bcfmt_repair_params){
		.check = options->check,
		.page_bytes = options->check.page_bytes,
		.incarnation_seq = options->incarnation_seq,
		.is_shallow = options->is_shallow,
	};
	err = cli_devices_open(repair->ctx, &open_params, &repair->devices);
	if (err)
		return fsck_print_nothing(repair->ctx, options, fsck_bits_of(err));
	if (!fsck_is_data_there(options, &repair->devices))
		return fsck_print_nothing(repair->ctx, options, FSCK_USAGE);
	repair->params.roles = repair->devices.roles;
	err = bcfmt_repair_open(repair->ctx, repair->devices.devs, repair->devices.n,
				&repair->params, &repair->run);
	if (err)
		return fsck_print_nothing(repair->ctx, options,
					  fsck_told(repair->ctx, err, "the check is not complete"));
	cli_progress_clear();
	return run_checked(repair);
}

int fsck_repair(const struct fsck_options *options)
{
	struct repair repair = { .options = options };
	bcfmt_err err = fsck_make_ctx(options, &repair.ctx);
	int bits;

	if (err)
		return fsck_bits_of(err);
	fsck_start_progress(options);
	err = bcfmt_out_new(repair.ctx, stdout, fsck_out_flags(options), &repair.out);
	if (err) {
		bits = fsck_told(repair.ctx, err, "");
	} else {
		bits = run(&repair);
		cli_progress_clear();
		err = bcfmt_out_close(repair.out);
		/* A failed write is told at the end, by cli_stdout_flush(). */
		if (err && err != BCFMT_E_IO)
			cli_error_ctx(NULL, repair.ctx, err);
		bits |= err ? FSCK_OPERATIONAL : 0;
	}
	bcfmt_repair_free(repair.run);
	cli_devices_close(&repair.devices);
	undo_file_free(&repair);
	lost_clear(&repair.lost);
	bcfmt_ctx_free(repair.ctx);
	return bits;
}
