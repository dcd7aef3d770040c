/* SPDX-License-Identifier: GPL-2.0-or-later */
/* --undo: puts back what an undo file saved. */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include <bcfmt/undo.h>
#include <bcfmt/uuid.h>

#include "cli/message.h"
#include "cli/open.h"
#include "cli/progress.h"
#include "fsck.h"

/* Ranges that stand against putting back: more than these are only counted. */
#define DOUBTFUL_SHOWN 8u

struct undo_work {
	struct bcfmt_ctx *ctx;
	const struct fsck_options *options;
	struct bcfmt_undo_file *file;
	struct bcfmt_out *out;
	uint64_t differing_sectors;
	uint64_t doubtful_sectors;
	uint64_t doubtful_ranges;
};

/* Indexed by enum bcfmt_undo_state: for people, and for JSON. */
static const char *const state_texts[BCFMT_UNDO_STATES] = {
	"as before",
	"to put back",
	"written before the undo file was safe, as it says: a mark of it is damaged",
	"changed since: neither what was saved nor what was to be written",
};
static const char *const state_keys[BCFMT_UNDO_STATES] = { "as_before", "written", "ahead",
							   "foreign" };

static const char *name_of(const struct undo_work *work, size_t device)
{
	struct bcfmt_dev *dev = bcfmt_undo_file_dev(work->file, device);

	return dev ? bcfmt_dev_name(dev) : bcfmt_undo_file_device(work->file, device)->name;
}

/* ---- what the file says of itself ---- */

static const char *time_text(uint64_t seconds, char text[32])
{
	time_t when = (time_t)seconds;
	struct tm tm;

	if (seconds > INT64_MAX || !gmtime_r(&when, &tm) ||
	    !strftime(text, 32, "%Y-%m-%d %H:%M:%S UTC", &tm))
		snprintf(text, 32, "second %" PRIu64, seconds);
	return text;
}

static void print_file(struct undo_work *work)
{
	const struct bcfmt_undo_info *info = bcfmt_undo_file_info(work->file);
	char text[32];

	if (bcfmt_out_is_json(work->out)) {
		bcfmt_row_begin(work->out, "undo_file");
		bcfmt_row_text(work->out, "name", work->options->undo);
		bcfmt_row_text(work->out, "reason", info->reason);
		bcfmt_row_text(work->out, "written_by_version", info->program_version);
		bcfmt_row_u64(work->out, "created_seconds", info->created_seconds);
		bcfmt_row_uuid(work->out, "id", info->id);
		bcfmt_row_u64(work->out, "bytes", info->bytes);
		bcfmt_row_u64(work->out, "records", info->records);
		bcfmt_row_bool(work->out, "complete", info->is_complete);
		bcfmt_row_bool(work->out, "torn", info->is_torn);
		bcfmt_row_end(work->out);
		return;
	}
	if (work->options->is_quiet)
		return;
	bcfmt_out_line(work->out, "%s: saved by %s %s on %s%s", work->options->undo, info->reason,
		       info->program_version, time_text(info->created_seconds, text),
		       info->is_complete ? "" : ", which did not come to its end");
	if (info->is_torn)
		bcfmt_out_line(work->out,
			       "%s: ends with a record that is not whole: nothing was written on"
			       " its account, and it does not count",
			       work->options->undo);
}

/* ---- ranges ---- */

/* "sector 8" or "sectors 8-15". */
static const char *range_text(const struct bcfmt_undo_range *range, char text[64])
{
	uint64_t last_sector = range->first_sector + range->sectors - 1;

	if (range->sectors == 1)
		snprintf(text, 64, "sector %" PRIu64, last_sector);
	else
		snprintf(text, 64, "sectors %" PRIu64 "-%" PRIu64, range->first_sector,
			 last_sector);
	return text;
}

static void print_range(void *arg, const struct bcfmt_undo_range *range)
{
	struct undo_work *work = arg;
	const char *name = name_of(work, range->device);
	char text[64];
	bool is_doubtful = range->state == BCFMT_UNDO_AHEAD || range->state == BCFMT_UNDO_FOREIGN;

	cli_progress_clear();
	if (is_doubtful) {
		work->doubtful_sectors += range->sectors;
		if (work->doubtful_ranges++ < DOUBTFUL_SHOWN || work->options->verbose)
			cli_error(name, "%s: %s", range_text(range, text),
				  state_texts[range->state]);
	}
	if (range->state != BCFMT_UNDO_AS_BEFORE)
		work->differing_sectors += range->sectors;
	if (!bcfmt_out_is_json(work->out)) {
		if (work->options->verbose && !is_doubtful)
			bcfmt_out_line(work->out, "%s: %s: %s", name, range_text(range, text),
				       state_texts[range->state]);
		return;
	}
	if (!work->options->verbose && !is_doubtful)
		return;
	bcfmt_row_begin(work->out, "undo_range");
	bcfmt_row_text(work->out, "device", name);
	bcfmt_row_u64(work->out, "first_sector", range->first_sector);
	bcfmt_row_u64(work->out, "sectors", range->sectors);
	bcfmt_row_text(work->out, "state", state_keys[range->state]);
	bcfmt_row_end(work->out);
}

/* ---- devices ---- */

static void print_ident(struct undo_work *work, const char *name, const char *when,
			const struct bcfmt_undo_ident *ident)
{
	char uuid[BCFMT_UUID_TEXT_BYTES];

	if (ident->role == BCFMT_UNDO_OTHER)
		return;
	bcfmt_uuid_text(ident->uuid, uuid);
	bcfmt_out_line(work->out, "%s: %s: bcache %s %s%s%s", name, when,
		       ident->role == BCFMT_UNDO_CACHE ? "cache" : "backing device", uuid,
		       *ident->label ? " " : "", ident->label);
}

static void row_ident(struct bcfmt_out *out, const char *role_key, const char *uuid_key,
		      const struct bcfmt_undo_ident *ident)
{
	if (ident->role == BCFMT_UNDO_OTHER)
		return;
	bcfmt_row_text(out, role_key, ident->role == BCFMT_UNDO_CACHE ? "cache" : "backing");
	bcfmt_row_uuid(out, uuid_key, ident->uuid);
}

static void print_device_json(struct undo_work *work, size_t i)
{
	const struct bcfmt_undo_device *info = bcfmt_undo_file_device(work->file, i);
	const struct bcfmt_undo_tally *tally = bcfmt_undo_file_tally(work->file, i);
	struct bcfmt_dev *dev = bcfmt_undo_file_dev(work->file, i);

	bcfmt_row_begin(work->out, "undo_device");
	if (dev)
		bcfmt_row_text(work->out, "name", bcfmt_dev_name(dev));
	bcfmt_row_text(work->out, "name_then", info->name);
	bcfmt_row_u64(work->out, "bytes", info->bytes);
	bcfmt_row_u64(work->out, "saved_sectors", info->saved_sectors);
	row_ident(work->out, "role_before", "uuid_before", &info->before);
	row_ident(work->out, "role_written", "uuid_written", &info->after);
	if (dev)
		bcfmt_row_bool(work->out, "by_order", bcfmt_undo_file_is_guess(work->file, i));
	for (size_t state = 0; dev && state < BCFMT_UNDO_STATES; state++)
		bcfmt_row_u64(work->out, state_keys[state], tally->sectors[state]);
	bcfmt_row_end(work->out);
}

static void print_device_text(struct undo_work *work, size_t i)
{
	const struct bcfmt_undo_device *info = bcfmt_undo_file_device(work->file, i);
	uint64_t same = bcfmt_undo_file_tally(work->file, i)->sectors[BCFMT_UNDO_AS_BEFORE];
	uint64_t differing = info->saved_sectors - same;
	const char *name = name_of(work, i);
	bool is_renamed = strcmp(name, info->name) != 0;

	if (work->options->verbose) {
		print_ident(work, name, "was", &info->before);
		print_ident(work, name, "was to become", &info->after);
	}
	if (!bcfmt_undo_file_dev(work->file, i))
		bcfmt_out_line(work->out, "%s: not given, and nothing of it to put back", name);
	else
		bcfmt_out_line(work->out, "%s%s%s: %" PRIu64 " sector%s, %" PRIu64 " %s as before",
			       name, is_renamed ? ", then " : "", is_renamed ? info->name : "",
			       differing, differing == 1 ? " differs" : "s differ", same,
			       same == 1 ? "is" : "are");
}

static void print_devices(struct undo_work *work, const struct cli_devices *devices)
{
	size_t n = bcfmt_undo_file_info(work->file)->n_devices;

	for (size_t i = 0; i < n; i++) {
		if (bcfmt_out_is_json(work->out))
			print_device_json(work, i);
		else if (!work->options->is_quiet)
			print_device_text(work, i);
	}
	for (size_t j = 0; j < devices->n; j++) {
		bool is_known = false;

		for (size_t i = 0; i < n; i++)
			is_known |= bcfmt_undo_file_dev(work->file, i) == devices->devs[j];
		if (!is_known)
			cli_error(bcfmt_dev_name(devices->devs[j]),
				  "not in the undo file, and left alone");
	}
}

/* ---- putting back ---- */

static int refuse(const struct undo_work *work)
{
	if (work->doubtful_ranges > DOUBTFUL_SHOWN && !work->options->verbose)
		cli_error(NULL, "and %" PRIu64 " ranges more",
			  work->doubtful_ranges - DOUBTFUL_SHOWN);
	cli_error(NULL,
		  "nothing is put back; sectors that were changed since: %" PRIu64
		  "; --force puts back all the same, over what is there now",
		  work->doubtful_sectors);
	return FSCK_PROBLEMS_LEFT;
}

/* Devices whose order alone says which they are, and that something would be written to. */
static int refuse_guesses(const struct undo_work *work)
{
	int bits = FSCK_CLEAN;

	for (size_t i = 0; i < bcfmt_undo_file_info(work->file)->n_devices; i++) {
		if (!bcfmt_undo_file_is_guess(work->file, i) ||
		    !bcfmt_undo_file_tally(work->file, i)->sectors[BCFMT_UNDO_WRITTEN])
			continue;
		cli_error(name_of(work, i), "only by its place in the order it is %s",
			  bcfmt_undo_file_device(work->file, i)->name);
		bits = FSCK_USAGE;
	}
	if (bits)
		cli_error(NULL, "nothing is put back: neither contents nor names tell these devices"
				" apart; --force takes them in this order");
	return bits;
}

static void print_result(struct undo_work *work, bool is_put_back)
{
	if (bcfmt_out_is_json(work->out)) {
		bcfmt_row_begin(work->out, "undo_result");
		bcfmt_row_u64(work->out, "differing_sectors", work->differing_sectors);
		bcfmt_row_bool(work->out, "put_back", is_put_back);
		bcfmt_row_end(work->out);
		return;
	}
	if (work->options->is_quiet)
		return;
	if (is_put_back)
		bcfmt_out_line(work->out, "%" PRIu64 " sector%s put back: all is as before",
			       work->differing_sectors,
			       work->differing_sectors == 1 ? " is" : "s are");
	else if (work->differing_sectors)
		bcfmt_out_line(work->out, "%" PRIu64 " sector%s would be put back",
			       work->differing_sectors, work->differing_sectors == 1 ? "" : "s");
	else
		bcfmt_out_line(work->out, "nothing to put back: all is as before");
}

static int put_back(struct undo_work *work)
{
	const struct fsck_options *options = work->options;
	bcfmt_err err = BCFMT_OK;
	int bits;

	if (work->doubtful_sectors && !options->is_in_use_ok)
		return refuse(work);
	bits = options->is_in_use_ok ? FSCK_CLEAN : refuse_guesses(work);
	if (bits)
		return bits;
	if (work->differing_sectors && !options->is_check_only) {
		err = bcfmt_undo_file_apply(work->file,
					    options->is_in_use_ok ? BCFMT_UNDO_FORCE : 0);
		cli_progress_clear();
		if (err) {
			cli_error_ctx(NULL, work->ctx, err);
			cli_error(NULL, "not all is put back: mend that, and run this again");
			return FSCK_OPERATIONAL;
		}
	}
	print_result(work, work->differing_sectors && !options->is_check_only);
	return FSCK_CLEAN;
}

static int undo_devices(struct undo_work *work, const struct cli_devices *devices)
{
	bcfmt_err err = bcfmt_undo_file_match(work->file, devices->devs, devices->n);

	if (!err)
		err = bcfmt_undo_file_check(work->file, print_range, work);
	cli_progress_clear();
	if (err)
		return fsck_told(work->ctx, err, "nothing is put back");
	print_devices(work, devices);
	return put_back(work);
}

static int undo(struct undo_work *work)
{
	const struct fsck_options *options = work->options;
	struct cli_open_params open_params = {
		.paths = options->paths,
		.n_paths = options->n_paths,
		.flags = options->is_check_only ? 0 : BCFMT_OPEN_WRITE | BCFMT_OPEN_EXCLUSIVE,
		.is_in_use_ok = options->is_in_use_ok,
	};
	struct cli_devices devices;
	bcfmt_err err = bcfmt_undo_file_open(work->ctx, options->undo, &work->file);
	int bits;

	cli_progress_clear();
	if (err)
		return fsck_told(work->ctx, err, "nothing is put back");
	print_file(work);
	err = cli_devices_open(work->ctx, &open_params, &devices);
	bits = err ? fsck_bits_of(err) : undo_devices(work, &devices);
	bcfmt_undo_file_free(work->file);
	cli_devices_close(&devices);
	return bits;
}

int fsck_undo(const struct fsck_options *options)
{
	struct undo_work work = { .options = options };
	bcfmt_err err = fsck_make_ctx(options, &work.ctx);
	int bits;

	if (err)
		return fsck_bits_of(err);
	err = bcfmt_out_new(work.ctx, stdout, fsck_out_flags(options), &work.out);
	if (err) {
		bits = fsck_told(work.ctx, err, "");
	} else {
		fsck_start_progress(options);
		bcfmt_render_header(work.out, options->program, "undo", NULL);
		bits = undo(&work);
		cli_progress_clear();
		bcfmt_render_summary(work.out, NULL, bits);
		err = bcfmt_out_close(work.out);
		/* A failed write is told at the end, by cli_stdout_flush(). */
		if (err && err != BCFMT_E_IO)
			cli_error_ctx(NULL, work.ctx, err);
		bits |= err ? FSCK_OPERATIONAL : 0;
	}
	bcfmt_ctx_free(work.ctx);
	return bits;
}
