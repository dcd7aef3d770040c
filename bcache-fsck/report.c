/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What a check prints: findings, times, the verdict. */
#include <inttypes.h>
#include <stdio.h>
#include <sys/resource.h>

#include "cli/message.h"
#include "cli/progress.h"
#include "fsck.h"
#include "lost.h"

int fsck_problem_bits(const struct bcfmt_report *report)
{
	for (int severity = BCFMT_SEV_WASTE; severity <= BCFMT_SEV_FATAL; severity++)
		if (bcfmt_report_severity_total(report, (enum bcfmt_severity)severity))
			return FSCK_PROBLEMS_LEFT;
	return FSCK_CLEAN;
}

static uint64_t peak_bytes(void)
{
	struct rusage usage;

	if (getrusage(RUSAGE_SELF, &usage))
		return 0;
	return (uint64_t)usage.ru_maxrss * 1024;
}

static void print_times(struct bcfmt_out *out, const struct fsck_result *result)
{
	char text[32];

	for (size_t i = 0; i < result->n_stats; i++) {
		const struct bcfmt_pass_stat *stat = &result->stats[i];

		if (!bcfmt_out_is_json(out)) {
			bcfmt_out_line(out, "pass %-10s %8.3f s  %s read", stat->name,
				       stat->seconds, bcfmt_bytes_text(stat->read_bytes, text));
			continue;
		}
		bcfmt_row_begin(out, "pass");
		bcfmt_row_text(out, "name", stat->name);
		bcfmt_row_u64(out, "microseconds", (uint64_t)(stat->seconds * 1e6));
		bcfmt_row_u64(out, "read_bytes", stat->read_bytes);
		bcfmt_row_end(out);
	}
	if (!bcfmt_out_is_json(out)) {
		bcfmt_out_line(out, "memory: %s at most", bcfmt_bytes_text(peak_bytes(), text));
		return;
	}
	bcfmt_row_begin(out, "memory");
	bcfmt_row_u64(out, "peak_bytes", peak_bytes());
	bcfmt_row_end(out);
}

/* What was looked at: -v. */
static void print_extent_of_work(struct bcfmt_out *out, const struct bcfmt_verdict *verdict)
{
	char text[32];

	bcfmt_out_line(out,
		       "read %" PRIu64 " nodes (%" PRIu64 " leaves) with %" PRIu64
		       " extents, and %" PRIu64 " keys of %" PRIu64 " journal entries to replay",
		       verdict->nodes, verdict->leaves, verdict->extents, verdict->replay_keys,
		       verdict->replay_entries);
	if (verdict->is_complete)
		bcfmt_out_line(out, "%" PRIu64 " buckets are free", verdict->free_buckets);
	if (verdict->spilled_bytes)
		bcfmt_out_line(out, "%s went to temporary files",
			       bcfmt_bytes_text(verdict->spilled_bytes, text));
}

unsigned int fsck_out_flags(const struct fsck_options *options)
{
	unsigned int flags = 0;

	if (options->is_json)
		flags |= BCFMT_OUT_JSON;
	if (options->is_quiet)
		flags |= BCFMT_OUT_QUIET;
	if (cli_may_color())
		flags |= BCFMT_OUT_COLOR;
	return flags;
}

void fsck_print_check(struct bcfmt_out *out, const struct fsck_options *options,
		      const struct fsck_result *result)
{
	if (result->report)
		bcfmt_render_report(out, result->report, options->verbose > 0);
	if (result->verdict && options->verbose)
		print_extent_of_work(out, result->verdict);
	if (result->n_stats && options->is_timed)
		print_times(out, result);
}

int fsck_print(struct bcfmt_ctx *ctx, const struct fsck_options *options,
	       const struct fsck_result *result)
{
	int bits = result->exit_bits;
	struct bcfmt_out *out;
	bcfmt_err err;

	cli_progress_clear();
	err = bcfmt_out_new(ctx, stdout, fsck_out_flags(options), &out);
	if (err) {
		cli_error_ctx(NULL, ctx, err);
		return bits | FSCK_OPERATIONAL;
	}
	if (result->report)
		bits |= fsck_problem_bits(result->report);
	bcfmt_render_header(out, options->program, "check", result->set);
	fsck_print_check(out, options, result);
	if (result->verdict)
		bcfmt_render_verdict(out, result->set, result->verdict);
	if (result->verdict && options->lost_prefix)
		bits |= lost_of_check(ctx, out, options, result->set, result->verdict);
	if (bcfmt_out_error(out))
		bits |= FSCK_OPERATIONAL;
	bcfmt_render_summary(out, result->report, bits);
	err = bcfmt_out_close(out);
	/* A failed write is told at the end, by cli_stdout_flush(). */
	if (err && err != BCFMT_E_IO)
		cli_error_ctx(NULL, ctx, err);
	return err ? bits | FSCK_OPERATIONAL : bits;
}
