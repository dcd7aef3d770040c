/* SPDX-License-Identifier: GPL-2.0-or-later */
/* bcache-dump: shows what is on the devices of a bcache set. */
#include "dump.h"

#include <signal.h>
#include <stdio.h>

#include "cli/progress.h"

/* Which function a command is and what it works on; the words are in options.c. */
static const struct {
	int (*run)(struct dump *d);
	bool needs_set;
} commands[CMD_COUNT] = {
	[CMD_SUPER] = { cmd_super, false },	[CMD_JOURNAL] = { cmd_journal, true },
	[CMD_BTREE] = { cmd_btree, true },	[CMD_KEYS] = { cmd_keys, true },
	[CMD_UUIDS] = { cmd_uuids, true },	[CMD_PRIOS] = { cmd_prios, true },
	[CMD_BUCKETS] = { cmd_buckets, true },	[CMD_VERDICT] = { cmd_verdict, true },
	[CMD_EXPORT] = { cmd_export, true },	[CMD_IMAGE] = { cmd_image, true },
	[CMD_RESTORE] = { cmd_restore, false }, [CMD_MAP] = { cmd_map, true },
	[CMD_MOUNT] = { cmd_mount, true },	[CMD_REPORT] = { cmd_report, true },
	[CMD_FILES] = { cmd_files, true },
};

/* Commands that write a file, and have it to take away when they fail. */
static bool is_writing(unsigned int command)
{
	return command == CMD_EXPORT || command == CMD_IMAGE || command == CMD_RESTORE ||
	       command == CMD_MAP || command == CMD_REPORT || command == CMD_FILES;
}

int dump_failed(struct dump *d, bcfmt_err err)
{
	if (err == BCFMT_E_CANCELLED)
		cli_error(NULL, "cancelled");
	else
		cli_error_ctx(NULL, d->ctx, err);
	if (err == BCFMT_E_DAMAGED)
		return DUMP_DAMAGED;
	return err == BCFMT_E_ARG ? DUMP_USAGE : DUMP_FAILED;
}

const char *dump_cache_name(const struct dump *d)
{
	return bcfmt_dev_name(d->set->cache.dev);
}

/* The set must have a cache whose sizes are known; without them nothing on it has a place. */
static int check_cache(struct dump *d)
{
	if (!d->set->has_cache) {
		cli_error(NULL, "none of the devices is a cache");
		return DUMP_USAGE;
	}
	if (d->set->has_geometry)
		return DUMP_DONE;
	if (!d->set->cache.is_readable)
		cli_error(dump_cache_name(d), "the superblock cannot be read");
	else if (!d->set->cache.has_magic)
		cli_error(dump_cache_name(d), "no bcache superblock");
	else
		cli_error(dump_cache_name(d), "the sizes in the superblock cannot be used");
	return DUMP_DAMAGED;
}

static int open_set(struct dump *d)
{
	struct bcfmt_set_params params = {
		.roles = d->devices.roles,
		.incarnation_seq = d->opt.incarnation_seq,
	};
	bcfmt_err err;

	err = bcfmt_set_open(d->ctx, d->devices.devs, d->devices.n, &params, &d->set);
	if (err)
		return dump_failed(d, err);
	/* There is something to say, or to keep, of a set without a cache too. */
	if (d->parser.command_index == CMD_VERDICT || d->parser.command_index == CMD_IMAGE ||
	    d->parser.command_index == CMD_REPORT)
		return DUMP_DONE;
	return check_cache(d);
}

static int open_all(struct dump *d)
{
	bool is_mount = d->parser.command_index == CMD_MOUNT;
	struct bcfmt_ctx_params ctx_params = {
		.threads = d->opt.threads,
		.max_bytes = d->opt.max_bytes,
		.cancelled = cli_cancelled(),
		.progress = cli_progress,
	};
	struct cli_open_params open_params = {
		.paths = d->paths,
		.n_paths = d->n_paths,
		.is_in_use_ok = d->opt.has_force,
		.bad_maps = d->bad_maps,
		.n_bad_maps = d->n_bad_maps,
		.roles = d->roles,
		/* It is read for long: nobody may write to it meanwhile. */
		.flags = is_mount && !d->opt.has_force ? BCFMT_OPEN_EXCLUSIVE : 0,
	};
	struct cli_progress_params progress = {
		.device = d->paths[0],
		.is_bar_allowed = !d->opt.is_quiet,
		.line_fd = d->opt.progress_fd,
	};
	bcfmt_err err;

	err = bcfmt_ctx_new(&ctx_params, &d->ctx);
	if (err)
		return dump_failed(d, err);
	cli_progress_start(&progress);
	if (d->parser.command_index == CMD_RESTORE) /* its image may come out of a pipe */
		return DUMP_DONE;
	err = cli_devices_open(d->ctx, &open_params, &d->devices);
	if (err == BCFMT_E_BUSY && is_mount && !d->opt.has_force)
		cli_error(NULL, "use --force to mount it all the same");
	if (err)
		return err == BCFMT_E_ARG ? DUMP_USAGE : DUMP_FAILED;
	return commands[d->parser.command_index].needs_set ? open_set(d) : DUMP_DONE;
}

/* JSON has its first and last object whatever happens. */
static int run(struct dump *d)
{
	unsigned int flags =
		(d->opt.has_json ? BCFMT_OUT_JSON : 0) | (cli_may_color() ? BCFMT_OUT_COLOR : 0);
	int code = open_all(d);
	bcfmt_err err;

	if (!d->ctx)
		return code;
	err = bcfmt_out_new(d->ctx, stdout, flags, &d->out);
	if (err)
		return dump_failed(d, err);
	bcfmt_render_header(d->out, "bcache-dump", d->parser.command->name, d->set);
	if (!code)
		code = commands[d->parser.command_index].run(d);
	cli_progress_clear();
	if (bcfmt_out_error(d->out))
		code = DUMP_FAILED;
	bcfmt_render_summary(d->out, NULL, code);
	err = bcfmt_out_close(d->out);
	/* A failed write is told by cli_stdout_flush(). */
	if (err && err != BCFMT_E_IO)
		dump_failed(d, err);
	return cli_stdout_flush() && !err ? code : DUMP_FAILED;
}

int main(int argc, char **argv)
{
	struct dump d = { 0 };
	int code;

	cli_signals_install();
	dump_options_read(&d, argc, argv);
	/* A pager that was left ends the work, unless there is a file to take away first. */
	if (!is_writing(d.parser.command_index))
		signal(SIGPIPE, SIG_DFL);
	code = run(&d);
	cli_progress_clear();
	bcfmt_set_free(d.set);
	cli_devices_close(&d.devices);
	bcfmt_ctx_free(d.ctx);
	dump_options_free(&d);
	return code;
}
