/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Checks a bcache set and gives the verdict. */
#include <inttypes.h>
#include <stdio.h>

#include "cli/message.h"
#include "cli/progress.h"
#include "fsck.h"

int fsck_bits_of(bcfmt_err err)
{
	if (!err)
		return FSCK_CLEAN;
	if (err == BCFMT_E_CANCELLED)
		return FSCK_CANCELLED;
	return err == BCFMT_E_ARG ? FSCK_USAGE : FSCK_OPERATIONAL;
}

int fsck_told(struct bcfmt_ctx *ctx, bcfmt_err err, const char *what)
{
	if (err == BCFMT_E_CANCELLED) {
		bcfmt_ctx_fault_clear(ctx);
		cli_error(NULL, "cancelled: %s", what);
	} else if (err) {
		cli_error_ctx(NULL, ctx, err);
	}
	return fsck_bits_of(err);
}

bcfmt_err fsck_make_ctx(const struct fsck_options *options, struct bcfmt_ctx **ctx)
{
	struct bcfmt_ctx_params params = {
		.threads = options->threads,
		.max_bytes = options->max_bytes,
		.cancelled = cli_cancelled(),
		.progress = cli_progress,
	};
	bcfmt_err err = bcfmt_ctx_new(&params, ctx);

	if (err)
		cli_error(NULL, "%s", bcfmt_err_name(err));
	return err;
}

void fsck_start_progress(const struct fsck_options *options)
{
	struct cli_progress_params progress = {
		.device = options->paths[0],
		.is_bar_allowed =
			options->is_bar_wanted || (!options->is_quiet && !options->is_json),
		.line_fd = options->progress_fd,
	};

	cli_progress_start(&progress);
}

static int told(struct bcfmt_ctx *ctx, bcfmt_err err)
{
	return fsck_told(ctx, err, "the check is not complete");
}

static int check_set(struct bcfmt_ctx *ctx, const struct fsck_options *options,
		     struct bcfmt_set *set)
{
	struct bcfmt_pass_stat stats[BCFMT_PASSES_MAX];
	struct bcfmt_verdict verdict = { 0 };
	struct bcfmt_report *report;
	struct fsck_result result = { .set = set, .verdict = &verdict, .stats = stats };
	bcfmt_err err;
	int bits;

	err = bcfmt_report_new(ctx, &report);
	if (err)
		return told(ctx, err);
	err = bcfmt_check_run(set, &options->check, report, &verdict, stats, &result.n_stats);
	result.exit_bits = told(ctx, err);
	/* A check that was cut short still has something to say, and its verdict knows less. */
	if (err)
		verdict.is_complete = false;
	bcfmt_report_finish(report);
	result.report = report;
	bits = fsck_print(ctx, options, &result);
	bcfmt_verdict_clear(&verdict);
	bcfmt_report_free(report);
	return bits;
}

/* JSON has its first and last object whatever happens. */
int fsck_print_nothing(struct bcfmt_ctx *ctx, const struct fsck_options *options, int bits)
{
	struct fsck_result result = { .exit_bits = bits };

	return options->is_json ? fsck_print(ctx, options, &result) : bits;
}

/* Read by an entry in the middle of a history, a set looks damaged that is not. */
bool fsck_is_incarnation_there(const struct bcfmt_set *set, uint64_t seq)
{
	const struct bcfmt_journal_histories *histories = &set->histories;
	const struct bcfmt_journal *journal = &set->journal;

	if (!seq || !journal->has_entries)
		return true;
	if (!histories->is_found && seq != journal->entries[journal->newest].seq) {
		cli_error(
			bcfmt_dev_name(set->cache.dev),
			"--incarnation: the journal holds one history, its newest entry is %" PRIu64,
			journal->entries[journal->newest].seq);
		return false;
	}
	if (histories->is_found && histories->newer_seq && seq != histories->newer_seq &&
	    seq != histories->older_seq) {
		cli_error(bcfmt_dev_name(set->cache.dev),
			  "--incarnation: the newest entries of the two histories are %" PRIu64
			  " and %" PRIu64,
			  histories->older_seq, histories->newer_seq);
		return false;
	}
	return true;
}

/* In an image all data is zeros: comparing it would find fault, or none, with the wrong thing. */
bool fsck_is_data_there(const struct fsck_options *options, const struct cli_devices *devices)
{
	const struct bcfmt_dev *image = cli_devices_image(devices);

	if (!image || (options->check.level != BCFMT_LEVEL_DATA && !options->is_writeback))
		return true;
	cli_error(bcfmt_dev_name(image),
		  "a metadata image holds no data: %s needs the devices themselves",
		  options->is_writeback ? "--writeback" : "--level data");
	return false;
}

struct bcfmt_set_params fsck_set_params(const struct fsck_options *options,
					const struct cli_devices *devices)
{
	return (struct bcfmt_set_params){
		.page_bytes = options->check.page_bytes,
		.roles = devices->roles,
		.incarnation_seq = options->incarnation_seq,
		.is_shallow = options->is_shallow,
	};
}

static int check_devices(struct bcfmt_ctx *ctx, const struct fsck_options *options,
			 const struct cli_devices *devices)
{
	struct bcfmt_set_params params = fsck_set_params(options, devices);
	struct bcfmt_set *set;
	bcfmt_err err;
	int bits;

	if (!fsck_is_data_there(options, devices))
		return fsck_print_nothing(ctx, options, FSCK_USAGE);
	err = bcfmt_set_open(ctx, devices->devs, devices->n, &params, &set);
	if (err)
		return fsck_print_nothing(ctx, options, told(ctx, err));
	if (fsck_is_incarnation_there(set, options->incarnation_seq))
		bits = check_set(ctx, options, set);
	else
		bits = fsck_print_nothing(ctx, options, FSCK_USAGE);
	bcfmt_set_free(set);
	return bits;
}

static int check(const struct fsck_options *options)
{
	struct cli_open_params open_params = {
		.paths = options->paths,
		.n_paths = options->n_paths,
		.is_in_use_ok = options->is_in_use_ok,
		.bad_maps = options->bad_maps,
		.n_bad_maps = options->n_bad_maps,
		.roles = options->roles,
	};
	struct cli_devices devices;
	struct bcfmt_ctx *ctx;
	bcfmt_err err;
	int bits;

	err = fsck_make_ctx(options, &ctx);
	if (err)
		return fsck_bits_of(err);
	fsck_start_progress(options);
	err = cli_devices_open(ctx, &open_params, &devices);
	if (err)
		bits = fsck_print_nothing(ctx, options, fsck_bits_of(err));
	else
		bits = check_devices(ctx, options, &devices);
	cli_progress_clear();
	cli_devices_close(&devices);
	bcfmt_ctx_free(ctx);
	return bits;
}

int main(int argc, char **argv)
{
	struct fsck_options options;
	int bits;

	cli_signals_install();
	fsck_options_parse(&options, argc, argv);
	if (options.explain)
		bits = fsck_explain(&options);
	else if (options.undo)
		bits = fsck_undo(&options);
	else if (options.mode != FSCK_CHECK || options.verbose || options.is_writeback ||
		 options.is_adopt_auto || options.n_adoptions)
		bits = fsck_repair(&options);
	else
		bits = check(&options);
	if (!cli_stdout_flush())
		bits |= FSCK_OPERATIONAL;
	fsck_options_free(&options);
	return bits;
}
