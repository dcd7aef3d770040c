/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Whether devices show what a code or a line of a kernel says. */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "cli/message.h"
#include "cli/progress.h"
#include "explain.h"

/* So many findings are told; bcache-fsck -n tells all. */
#define FINDINGS_MAX 16u

struct on_devices {
	const struct explained *ex;
	struct bcfmt_out *out;
	struct bcfmt_set *set;
	struct bcfmt_report *report;
	struct bcfmt_verdict verdict;
	struct bcfmt_kernel_place place;
	struct explain_shown shown;
	uint64_t here;	     /* findings of what is asked for, at the place */
	uint64_t elsewhere;  /* the same at other places */
	uint64_t other_here; /* other findings at the place */
	uint64_t foretold;
	bool does_follow; /* the line comes after others, and those are foretold */
};

static bool is_asked_for(const struct explained *ex, enum bcfmt_problem_id id)
{
	for (size_t i = 0; i < ex->n_ids; i++)
		if (ex->ids[i] == id)
			return true;
	return false;
}

/* Some text of the finding is a range that the key touches. */
static bool tells_of_key(const struct bcfmt_finding *finding, const struct bcfmt_key *key)
{
	uint64_t sectors = bcfmt_key_sectors(key);
	struct bcfmt_key other;

	for (uint32_t i = 0; i < finding->n_args; i++) {
		const struct bcfmt_arg *arg = &finding->args[i];
		uint64_t start;

		if (arg->type != BCFMT_ARG_TEXT || !arg->text ||
		    !bcfmt_key_parse(arg->text, &other) ||
		    bcfmt_key_inode(&other) != bcfmt_key_inode(key))
			continue;
		start = bcfmt_key_start_sector(&other);
		if (other.low == key->low || (start < key->low && other.low > key->low - sectors))
			return true;
	}
	return false;
}

/* Where something was found; NEAR: at the place, and the place is a narrow one. */
enum nearness { FAR, WIDE, NEAR };

static enum nearness nearness(const struct on_devices *od, const struct bcfmt_finding *finding)
{
	const struct bcfmt_kernel_place *place = &od->place;
	uint64_t bucket = finding->where.bucket;

	switch (place->kind) {
	case BCFMT_PLACE_NODE:
		return bucket == place->bucket ? NEAR : FAR;
	case BCFMT_PLACE_CHILD:
		return tells_of_key(finding, &place->key) ||
				       bucket == bcfmt_ptr_bucket(&od->set->geo, place->key.ptr)
			       ? NEAR
			       : FAR;
	case BCFMT_PLACE_EXTENT:
		return tells_of_key(finding, &place->key) ? NEAR : FAR;
	case BCFMT_PLACE_JOURNAL:
		if (place->ring_index == BCFMT_NO_NUMBER)
			return WIDE;
		return bucket == od->set->geo.first_bucket + place->ring_index ? NEAR : FAR;
	case BCFMT_PLACE_NONE:
	case BCFMT_PLACE_SUPER:
	case BCFMT_PLACE_PRIOS:
	case BCFMT_PLACE_UUIDS:
	case BCFMT_PLACE_ROOT:
	case BCFMT_PLACE_SECTOR:
		break;
	}
	return WIDE;
}

enum choice { ASKED_HERE, ASKED_ELSEWHERE, OTHER_HERE };

static bool is_chosen(const struct on_devices *od, enum choice choice,
		      const struct bcfmt_finding *finding)
{
	enum nearness near = nearness(od, finding);
	bool is_asked = is_asked_for(od->ex, finding->problem->id);

	switch (choice) {
	case ASKED_HERE:
		return is_asked && near != FAR;
	case ASKED_ELSEWHERE:
		return is_asked && near == FAR;
	case OTHER_HERE:
		break;
	}
	return !is_asked && near == NEAR;
}

static uint64_t tell_findings(const struct on_devices *od, enum choice choice)
{
	uint64_t n = 0;

	for (size_t i = 0; i < bcfmt_report_count(od->report); i++) {
		const struct bcfmt_finding *finding = bcfmt_report_at(od->report, i);

		if (is_chosen(od, choice, finding) && n++ < FINDINGS_MAX)
			bcfmt_render_finding(od->out, finding, false);
	}
	if (n > FINDINGS_MAX)
		bcfmt_out_line(od->out, "and %" PRIu64 " more: see bcache-fsck -n",
			       n - FINDINGS_MAX);
	return n;
}

static bool is_same_line(const struct on_devices *od, const char *line)
{
	struct bcfmt_kernel_place place;

	if (!od->ex->line || bcfmt_kernel_line_find(line) != od->ex->line)
		return false;
	bcfmt_kernel_line_place(line, &place);
	return od->place.bucket == BCFMT_NO_NUMBER || place.bucket == od->place.bucket;
}

static void foretold_row(const struct on_devices *od, const struct bcfmt_prediction *prediction,
			 const char *line)
{
	char version[16];

	snprintf(version, sizeof(version), "%u.%u", prediction->kernel / 1000,
		 prediction->kernel % 1000);
	bcfmt_row_begin(od->out, "foretold");
	bcfmt_row_text(od->out, "kernel", version);
	bcfmt_row_text(od->out, "device", bcfmt_dev_name(prediction->member->dev));
	bcfmt_row_text(od->out, "line", line);
	bcfmt_row_end(od->out);
}

static uint64_t tell_foretold_of(const struct on_devices *od, bool has_all,
				 const struct bcfmt_prediction *prediction)
{
	uint64_t n = 0;

	for (size_t i = 0; i < prediction->n_first_lines + prediction->n_follow_lines; i++) {
		bool is_first = i < prediction->n_first_lines;
		const char *line =
			is_first ? prediction->first_lines[i]
				 : prediction->follow_lines[i - prediction->n_first_lines];

		if (!(has_all && is_first) && !is_same_line(od, line))
			continue;
		foretold_row(od, prediction, line);
		n++;
	}
	return n;
}

/*
 * Kernels that would print the line, or one of the same kind for the same place. A line that only
 * follows from others has no problem of its own: then those are told that come first.
 */
static void tell_foretold(struct on_devices *od)
{
	const struct bcfmt_verdict *verdict = &od->verdict;
	bool does_follow = od->ex->line && od->ex->line->id == BCFMT_P_NONE &&
			   verdict->registers == BCFMT_REGISTERS_NO;

	for (size_t i = 0; i < verdict->n_predictions; i++)
		od->foretold += tell_foretold_of(od, false, &verdict->predictions[i]);
	for (size_t i = 0; i < verdict->n_predictions && does_follow && !od->foretold; i++)
		od->does_follow |= tell_foretold_of(od, true, &verdict->predictions[i]) > 0;
}

static void conclude(struct on_devices *od)
{
	const char *shown = "no", *text;

	if (od->here || od->foretold) {
		shown = "yes";
		text = "the devices show what it says";
	} else if (od->other_here) {
		shown = "other";
		text = "the devices do not show it, or not any more, but something else at this place";
	} else if (od->elsewhere) {
		shown = "elsewhere";
		text = "the devices do not show it at this place, or not any more, but at another";
	} else if (od->does_follow) {
		shown = "follows";
		text = "if it came after one of the lines that are foretold, it only follows from it";
	} else if (!od->ex->n_ids) {
		shown = "unknown";
		text = "it tells of something that happened, which leaves no trace to look for";
	} else if (od->shown.is_gone) {
		text = "the devices do not show it, or not any more: what it names is not there";
	} else if (od->shown.is_sound) {
		text = "the devices do not show it, or not any more: what it names is there and sound";
	} else {
		text = "the devices do not show it, or not any more";
	}
	if (bcfmt_out_is_json(od->out)) {
		bcfmt_row_begin(od->out, "shown");
		bcfmt_row_text(od->out, "shown", shown);
		bcfmt_row_text(od->out, "text", text);
		bcfmt_row_end(od->out);
	} else {
		bcfmt_out_line(od->out, "%s", text);
	}
}

static bcfmt_err look(struct on_devices *od, const struct bcfmt_check_params *params)
{
	struct bcfmt_pass_stat stats[BCFMT_PASSES_MAX];
	size_t n_stats;
	bcfmt_err err;

	bcfmt_kernel_line_place(od->ex->line ? od->ex->text : NULL, &od->place);
	err = bcfmt_check_run(od->set, params, od->report, &od->verdict, stats, &n_stats);
	if (err)
		return err;
	bcfmt_report_finish(od->report);
	bcfmt_out_line(od->out, "%s", "");
	bcfmt_out_line(od->out, "on the devices:");
	od->here = tell_findings(od, ASKED_HERE);
	tell_foretold(od);
	err = explain_show_place(od->out, od->set, &od->place, &od->shown);
	if (err)
		return err;
	if (!od->here) {
		od->other_here = tell_findings(od, OTHER_HERE);
		od->elsewhere = tell_findings(od, ASKED_ELSEWHERE);
	}
	conclude(od);
	return BCFMT_OK;
}

static int look_at_set(struct bcfmt_ctx *ctx, const struct fsck_options *options,
		       const struct cli_devices *devices, struct bcfmt_out *out,
		       const struct explained *ex)
{
	struct bcfmt_set_params params = fsck_set_params(options, devices);
	struct on_devices od = { .ex = ex, .out = out };
	bcfmt_err err = bcfmt_set_open(ctx, devices->devs, devices->n, &params, &od.set);
	int bits;

	if (!err)
		err = bcfmt_report_new(ctx, &od.report);
	if (!err)
		err = look(&od, &options->check);
	bits = fsck_told(ctx, err, "not all of the devices was looked at");
	if (!err)
		bits |= fsck_problem_bits(od.report);
	if (!err && !od.verdict.is_complete)
		cli_error(NULL, "not all that the set holds is known: see bcache-fsck -n");
	bcfmt_verdict_clear(&od.verdict);
	bcfmt_report_free(od.report);
	bcfmt_set_free(od.set);
	return bits;
}

int explain_on_devices(const struct fsck_options *options, struct bcfmt_out *out,
		       const struct explained *ex)
{
	struct cli_open_params params = {
		.paths = options->paths,
		.n_paths = options->n_paths,
		.is_in_use_ok = options->is_in_use_ok,
		.bad_maps = options->bad_maps,
		.n_bad_maps = options->n_bad_maps,
		.roles = options->roles,
	};
	struct cli_devices devices = { 0 };
	struct bcfmt_ctx *ctx;
	bcfmt_err err = fsck_make_ctx(options, &ctx);
	int bits;

	if (err)
		return fsck_bits_of(err);
	fsck_start_progress(options);
	err = cli_devices_open(ctx, &params, &devices);
	if (err)
		bits = fsck_bits_of(err);
	else if (!fsck_is_data_there(options, &devices))
		bits = FSCK_USAGE;
	else
		bits = look_at_set(ctx, options, &devices, out, ex);
	cli_progress_clear();
	cli_devices_close(&devices);
	bcfmt_ctx_free(ctx);
	return bits;
}
