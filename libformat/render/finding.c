/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Findings, one by one and as a report. */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "render/out.h"

/* Lines that one problem may take before -v is asked for. */
#define GROUP_LINES   10u
#define MESSAGE_BYTES 1024u

static const struct {
	enum bcfmt_severity severity;
	const char *key;
} severities[] = {
	{ BCFMT_SEV_FATAL, "fatal" }, { BCFMT_SEV_DATA_LOSS, "data_loss" },
	{ BCFMT_SEV_ERROR, "error" }, { BCFMT_SEV_WASTE, "waste" },
	{ BCFMT_SEV_NOTE, "note" },
};
#define N_SEVERITIES (sizeof(severities) / sizeof(severities[0]))

/* ---- text ---- */

const char *out_place_text(const struct bcfmt_where *where, char text[OUT_PLACE_BYTES])
{
	const struct {
		const char *name;
		uint64_t value;
	} places[] = {
		{ "bucket", where->bucket },
		{ "sector", where->sector },
		{ "block", where->block },
		{ "key", where->key },
	};
	size_t len = 0;

	*text = 0;
	for (size_t i = 0; i < sizeof(places) / sizeof(places[0]); i++)
		if (places[i].value != BCFMT_NO_NUMBER)
			len += (size_t)snprintf(text + len, OUT_PLACE_BYTES - len, "%s%s %" PRIu64,
						len ? " " : "", places[i].name, places[i].value);
	if (len)
		snprintf(text + len, OUT_PLACE_BYTES - len, ": ");
	return text;
}

static void put_finding(struct bcfmt_out *out, const struct bcfmt_finding *finding)
{
	char message[MESSAGE_BYTES], place[OUT_PLACE_BYTES];

	bcfmt_finding_message(finding, message, sizeof(message));
	if (finding->where.device)
		out_put(out, "%s: ", finding->where.device);
	out_put_styled(out, out_severity_style(finding->problem->severity), "BC%04d %s",
		       (int)finding->problem->id, finding->problem->slug);
	out_put(out, ": ");
	out_put(out, "%s%s", out_place_text(&finding->where, place), message);
	out_end_line(out);
}

/* Below the findings of a problem: what it means for the set. */
static void put_consequences(struct bcfmt_out *out, const struct bcfmt_problem *problem)
{
	size_t n;
	const struct bcfmt_kernel_effect *effect = out_effects(problem->id, &n);
	char kernels[64];

	bcfmt_out_line(out, "    severity: %s", bcfmt_severity_name(problem->severity));
	for (; n; n--, effect++) {
		out_put(out, "    kernel: %s: %s (%s)",
			out_kernels_text(effect->since, effect->until, kernels),
			out_effect_text(effect->effect), effect->function);
		if (*effect->line)
			out_put(out, ", \"%s\"", effect->line);
		out_end_line(out);
	}
	if (problem->repair != BCFMT_REPAIR_NONE)
		bcfmt_out_line(out, "    repair: %s, %s", bcfmt_repair_name(problem->repair),
			       out_consent_text(problem->consent));
	else
		bcfmt_out_line(out, "    repair: none");
}

/* ---- JSON ---- */

static json_t *json_args(struct bcfmt_out *out, const struct bcfmt_finding *finding)
{
	json_t *args = json_object();

	for (uint32_t i = 0; i < finding->n_args; i++) {
		const struct bcfmt_arg *arg = &finding->args[i];
		json_t *value = NULL;

		switch (arg->type) {
		case BCFMT_ARG_U64:
			value = out_json_u64(arg->u64);
			break;
		case BCFMT_ARG_HEX:
			value = out_json_hex(arg->u64);
			break;
		case BCFMT_ARG_TEXT:
			value = out_json_text(arg->text ? arg->text : "");
			break;
		}
		out_json_set(out, args, arg->name, value);
	}
	return args;
}

static void json_number(struct bcfmt_out *out, json_t *object, const char *key, uint64_t value)
{
	if (value != BCFMT_NO_NUMBER)
		out_json_set(out, object, key, out_json_u64(value));
}

static void json_name(struct bcfmt_out *out, json_t *object, const char *key, const char *value)
{
	if (value)
		out_json_set(out, object, key, out_json_text(value));
}

static void finding_json(struct bcfmt_out *out, const struct bcfmt_finding *finding)
{
	const struct bcfmt_where *where = &finding->where;
	const struct bcfmt_problem *problem = finding->problem;
	json_t *object = out_json_object(out, "finding");
	char message[MESSAGE_BYTES];

	out_json_problem(out, object, problem);
	json_name(out, object, "device", where->device);
	json_name(out, object, "structure", where->structure);
	json_name(out, object, "field", where->field);
	json_number(out, object, "sector", where->sector);
	json_number(out, object, "bucket", where->bucket);
	json_number(out, object, "block", where->block);
	json_number(out, object, "key", where->key);
	bcfmt_finding_message(finding, message, sizeof(message));
	out_json_set(out, object, "message", out_json_text(message));
	out_json_set(out, object, "args", json_args(out, finding));
	out_json_set(out, object, "repair", out_json_repair(out, problem));
	out_json_set(out, object, "kernel", out_json_kernel(out, problem->id));
	out_json(out, object);
}

void bcfmt_render_finding(struct bcfmt_out *out, const struct bcfmt_finding *finding, bool verbose)
{
	if (bcfmt_out_is_json(out)) {
		finding_json(out, finding);
		return;
	}
	put_finding(out, finding);
	if (verbose)
		put_consequences(out, finding->problem);
}

/* ---- report ---- */

static size_t group_end(const struct bcfmt_report *report, size_t begin)
{
	enum bcfmt_problem_id id = bcfmt_report_at(report, begin)->problem->id;
	size_t end = begin + 1;

	while (end < bcfmt_report_count(report) && bcfmt_report_at(report, end)->problem->id == id)
		end++;
	return end;
}

static void group_text(struct bcfmt_out *out, const struct bcfmt_report *report, size_t begin,
		       size_t end, bool verbose)
{
	const struct bcfmt_problem *problem = bcfmt_report_at(report, begin)->problem;
	uint64_t total = bcfmt_report_total(report, problem->id);
	size_t kept = end - begin;
	size_t shown = kept;

	/* "and 1 more" would be as long as the one. */
	if (!verbose && total > GROUP_LINES + 1 && kept > GROUP_LINES)
		shown = GROUP_LINES;
	for (size_t i = begin; i < begin + shown; i++)
		put_finding(out, bcfmt_report_at(report, i));
	if (total > shown)
		bcfmt_out_line(out, "    and %" PRIu64 " more BC%04d %s%s", total - shown,
			       (int)problem->id, problem->slug,
			       shown < kept ? " (-v shows more)" : "");
	if (verbose)
		put_consequences(out, problem);
}

static void group_json(struct bcfmt_out *out, const struct bcfmt_report *report, size_t begin,
		       size_t end)
{
	const struct bcfmt_problem *problem = bcfmt_report_at(report, begin)->problem;
	uint64_t total = bcfmt_report_total(report, problem->id);
	json_t *more;

	for (size_t i = begin; i < end; i++)
		finding_json(out, bcfmt_report_at(report, i));
	if (total <= end - begin)
		return;
	more = out_json_object(out, "more_findings");
	out_json_problem(out, more, problem);
	out_json_set(out, more, "count", out_json_u64(total - (end - begin)));
	out_json(out, more);
}

static void totals_text(struct bcfmt_out *out, const struct bcfmt_report *report)
{
	uint64_t problems = 0;
	const char *sep = ": ";

	for (size_t i = 0; i < N_SEVERITIES; i++)
		if (severities[i].severity != BCFMT_SEV_NOTE)
			problems += bcfmt_report_severity_total(report, severities[i].severity);
	if (problems)
		out_put_styled(out, OUT_BAD, "%" PRIu64 " problem%s", problems,
			       problems == 1 ? "" : "s");
	else
		out_put_styled(out, OUT_GOOD, "no problems");
	for (size_t i = 0; i < N_SEVERITIES; i++) {
		uint64_t n = bcfmt_report_severity_total(report, severities[i].severity);

		if (!n || severities[i].severity == BCFMT_SEV_NOTE)
			continue;
		out_put(out, "%s%" PRIu64 " %s", sep, n,
			bcfmt_severity_name(severities[i].severity));
		sep = ", ";
	}
	if (bcfmt_report_severity_total(report, BCFMT_SEV_NOTE)) {
		uint64_t n = bcfmt_report_severity_total(report, BCFMT_SEV_NOTE);

		out_put(out, "; %" PRIu64 " note%s", n, n == 1 ? "" : "s");
	}
	if (bcfmt_report_suppressed(report))
		out_put(out, "; %" PRIu64 " that only follow from these are left out",
			bcfmt_report_suppressed(report));
	out_end_line(out);
}

void bcfmt_render_report(struct bcfmt_out *out, const struct bcfmt_report *report, bool verbose)
{
	size_t count = bcfmt_report_count(report);

	for (size_t begin = 0; begin < count;) {
		size_t end = group_end(report, begin);
		enum bcfmt_severity severity = bcfmt_report_at(report, begin)->problem->severity;

		if (bcfmt_out_is_json(out))
			group_json(out, report, begin, end);
		else if (severity != BCFMT_SEV_NOTE || !out_is_quiet(out))
			group_text(out, report, begin, end, verbose);
		begin = end;
	}
	if (!bcfmt_out_is_json(out) && !out_is_quiet(out))
		totals_text(out, report);
}

void bcfmt_render_summary(struct bcfmt_out *out, const struct bcfmt_report *report, int exit_code)
{
	json_t *summary;
	json_t *findings;

	if (!bcfmt_out_is_json(out))
		return;
	summary = out_json_object(out, "summary");
	out_json_set(out, summary, "exit_code", json_integer(exit_code));
	if (report) {
		findings = json_object();
		for (size_t i = 0; i < N_SEVERITIES; i++)
			out_json_set(out, findings, severities[i].key,
				     out_json_u64(bcfmt_report_severity_total(
					     report, severities[i].severity)));
		out_json_set(out, summary, "findings", findings);
		out_json_set(out, summary, "suppressed",
			     out_json_u64(bcfmt_report_suppressed(report)));
	}
	out_json(out, summary);
}
