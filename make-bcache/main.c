/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Formats cache and backing devices: plans, tells, saves, writes, reads back, checks. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "backup.h"
#include "cli/message.h"
#include "cli/progress.h"
#include "make.h"

static int told(struct bcfmt_ctx *ctx, bcfmt_err err)
{
	if (err == BCFMT_E_CANCELLED) {
		bcfmt_ctx_fault_clear(ctx);
		cli_error(NULL, "cancelled");
	} else {
		cli_error_ctx(NULL, ctx, err);
	}
	return MAKE_FAILED;
}

/* What the plan is made from. Signatures of all devices lie in one array. */
struct request {
	struct bcfmt_make_device *devices;
	struct bcfmt_signature *signatures;
};

static void request_clear(struct request *request)
{
	free(request->devices);
	free(request->signatures);
}

static bcfmt_err look_at(const struct make_run *run, size_t i, struct request *request)
{
	const struct make_operand *operand = &run->options->operands[i];
	struct bcfmt_signature *signatures = request->signatures + i * BCFMT_SIGNATURES_MAX;
	struct bcfmt_make_device *device = &request->devices[i];
	bcfmt_err err;

	device->dev = run->devices.devs[i];
	device->is_backing = operand->is_backing;
	device->signatures = signatures;
	if (operand->has_uuid)
		memcpy(device->uuid, operand->uuid, sizeof(device->uuid));
	else
		bcfmt_make_uuid(device->uuid);
	err = bcfmt_dev_topology(device->dev, &device->topology);
	if (!err)
		err = bcfmt_dev_signatures(device->dev, signatures, &device->n_signatures);
	return err;
}

static bcfmt_err look_at_all(const struct make_run *run, struct request *request)
{
	size_t n = run->options->n;
	bcfmt_err err = BCFMT_OK;

	request->devices = calloc(n, sizeof(*request->devices));
	request->signatures = calloc(n * BCFMT_SIGNATURES_MAX, sizeof(*request->signatures));
	if (!request->devices || !request->signatures)
		return bcfmt_fail(run->ctx, BCFMT_E_NOMEM, "out of memory");
	for (size_t i = 0; !err && i < n; i++)
		err = look_at(run, i, request);
	return err;
}

static bcfmt_err make_plan(struct make_run *run)
{
	struct bcfmt_make_params params = run->options->params;
	struct request request = { 0 };
	bcfmt_err err;

	params.is_set_running = bcfmt_host_has_set(params.set_uuid, &params.set_block_bytes);
	err = look_at_all(run, &request);
	if (!err)
		err = bcfmt_make_plan_new(run->ctx, &params, request.devices, run->options->n,
					  &run->plan);
	request_clear(&request);
	return err;
}

/* Writes, reads back and checks. */
static int carry_out(struct make_run *run, struct backup *backup)
{
	bcfmt_err err;

	err = bcfmt_make_commit(run->plan);
	if (!err)
		err = bcfmt_make_verify(run->plan);
	cli_progress_clear();
	if (err) {
		(void)told(run->ctx, err);
		make_tell_state(run);
		backup_tell(backup);
		return MAKE_FAILED;
	}
	err = backup_finish(backup);
	if (err)
		return told(run->ctx, err);
	return make_check(run) ? MAKE_DONE : MAKE_FAILED;
}

static void print_plan(const struct make_run *run)
{
	const struct make_options *options = run->options;

	if (options->is_json || !options->is_quiet)
		bcfmt_render_make_summary(run->out, run->plan);
	if (options->is_json || options->is_dry_run)
		bcfmt_render_make_steps(run->out, run->plan);
	fflush(stdout);
}

static bool is_next_wanted(const struct make_options *options)
{
	return !options->is_quiet && (options->is_verbose || isatty(STDOUT_FILENO));
}

static int format(struct make_run *run)
{
	struct backup *backup = NULL;
	bcfmt_err err;
	int status;

	err = make_plan(run);
	if (err)
		return told(run->ctx, err);
	make_tell_issues(run);
	if (run->plan->is_refused)
		return MAKE_FAILED;
	err = run->options->is_dry_run ? BCFMT_OK : backup_save(run, &backup);
	if (err)
		return told(run->ctx, err);
	/* Before a device is written to, as bcache-tools has it. */
	print_plan(run);
	if (run->options->is_dry_run)
		return MAKE_DONE;
	status = carry_out(run, backup);
	backup_close(backup);
	if (!status && is_next_wanted(run->options))
		bcfmt_render_make_next(run->out, run->plan);
	return status;
}

/* JSON has its first and last object whatever happens. */
static int run_with_output(struct make_run *run)
{
	const struct make_options *options = run->options;
	struct cli_open_params open_params = {
		.paths = options->paths,
		.n_paths = options->n,
		.flags = BCFMT_OPEN_EXCLUSIVE | (options->is_dry_run ? 0 : BCFMT_OPEN_WRITE),
	};
	int status = MAKE_FAILED;

	bcfmt_render_header(run->out, "make-bcache", options->is_dry_run ? "dry-run" : "format",
			    NULL);
	if (!cli_devices_open(run->ctx, &open_params, &run->devices))
		status = format(run);
	bcfmt_render_summary(run->out, NULL, status);
	bcfmt_make_plan_free(run->plan);
	cli_devices_close(&run->devices);
	return status;
}

static int make(const struct make_options *options)
{
	struct bcfmt_ctx_params ctx_params = {
		.cancelled = cli_cancelled(),
		.progress = cli_progress,
	};
	struct cli_progress_params progress = {
		.device = options->paths[0],
		.is_bar_allowed = !options->is_quiet && !options->is_json,
		.line_fd = -1,
	};
	struct make_run run = { .options = options };
	int status = MAKE_FAILED;
	bcfmt_err err;

	err = bcfmt_ctx_new(&ctx_params, &run.ctx);
	if (err) {
		cli_error(NULL, "%s", bcfmt_err_name(err));
		return MAKE_FAILED;
	}
	cli_progress_start(&progress);
	err = bcfmt_out_new(run.ctx, stdout, options->is_json ? BCFMT_OUT_JSON : 0, &run.out);
	if (!err) {
		status = run_with_output(&run);
		err = bcfmt_out_close(run.out);
	}
	/* A failed write is told at the end, by cli_stdout_flush(). */
	if (err && err != BCFMT_E_IO)
		cli_error_ctx(NULL, run.ctx, err);
	cli_progress_clear();
	bcfmt_ctx_free(run.ctx);
	return err ? MAKE_FAILED : status;
}

int main(int argc, char **argv)
{
	struct make_options options;
	int status;

	make_options_parse(&options, argc, argv);
	cli_signals_install();
	status = make(&options);
	if (!cli_stdout_flush())
		status = MAKE_FAILED;
	make_options_free(&options);
	return status;
}
