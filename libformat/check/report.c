/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Collects findings: counts all, keeps the first in order, drops what follows from others. */
#include <bcfmt/problem.h>

#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "base/vec.h"
#include "check/suppress.h"
#include "check/template.h"

/*
 * The findings of one problem. Those kept are the first BCFMT_FINDINGS_KEPT in order, whatever the
 * order of adding: a heap with the last of them on top, which gives way to one that comes earlier.
 */
struct kept {
	struct vec findings; /* of struct bcfmt_finding *; sorted when the report is finished */
	uint64_t total;
};

struct bcfmt_report {
	struct bcfmt_ctx *ctx;
	const struct bcfmt_problem *problems;
	size_t n_problems;
	pthread_mutex_t lock; /* all below */
	struct kept *kept;    /* one a row of the table */
	size_t n_kept;        /* findings in all of kept */
	/*
	 * Of struct bcfmt_finding *, owned by kept; filled by finish. Its room grows with what is
	 * kept, so that finishing needs no memory and cannot lose what was found.
	 */
	struct vec sorted;
	uint64_t suppressed;
	bool is_finished;
};

#define KEPT_AT(kept, i) (*VEC_AT(&(kept)->findings, struct bcfmt_finding *, i))

static int compare_text(const char *a, const char *b)
{
	if (!a || !b)
		return (a != NULL) - (b != NULL);
	return strcmp(a, b);
}

static int compare_number(uint64_t a, uint64_t b)
{
	return (a > b) - (a < b);
}

static int compare_args(const struct bcfmt_finding *a, const struct bcfmt_finding *b)
{
	int order = 0;

	for (uint32_t i = 0; i < a->n_args && !order; i++) {
		if (a->args[i].type == BCFMT_ARG_TEXT)
			order = strcmp(a->args[i].text, b->args[i].text);
		else
			order = compare_number(a->args[i].u64, b->args[i].u64);
	}
	return order;
}

/* Of two findings of one problem. 0 only for findings that nobody can tell apart. */
static int compare(const struct bcfmt_finding *a, const struct bcfmt_finding *b)
{
	int order = compare_text(a->where.device, b->where.device);

	if (!order)
		order = compare_number(a->where.sector, b->where.sector);
	if (!order)
		order = compare_number(a->where.block, b->where.block);
	if (!order)
		order = compare_number(a->where.key, b->where.key);
	if (!order)
		order = compare_args(a, b);
	if (!order)
		order = compare_number(a->where.bucket, b->where.bucket);
	if (!order)
		order = compare_text(a->where.structure, b->where.structure);
	return order ? order : compare_text(a->where.field, b->where.field);
}

static int compare_pointers(const void *a, const void *b)
{
	return compare(*(const struct bcfmt_finding *const *)a,
		       *(const struct bcfmt_finding *const *)b);
}

/* The text arguments of a finding lie in itself. */
static void copy_finding(struct bcfmt_finding *to, const struct bcfmt_finding *from)
{
	*to = *from;
	for (uint32_t i = 0; i < to->n_args; i++)
		if (to->args[i].text)
			to->args[i].text = to->text + (from->args[i].text - from->text);
}

static void swap(struct kept *kept, size_t i, size_t j)
{
	struct bcfmt_finding *finding = KEPT_AT(kept, i);

	KEPT_AT(kept, i) = KEPT_AT(kept, j);
	KEPT_AT(kept, j) = finding;
}

static void sift_up(struct kept *kept, size_t i)
{
	while (i && compare(KEPT_AT(kept, (i - 1) / 2), KEPT_AT(kept, i)) < 0) {
		swap(kept, i, (i - 1) / 2);
		i = (i - 1) / 2;
	}
}

static void sift_down(struct kept *kept, size_t i)
{
	size_t n = kept->findings.n;

	for (;;) {
		size_t child = 2 * i + 1;

		if (child >= n)
			return;
		if (child + 1 < n && compare(KEPT_AT(kept, child), KEPT_AT(kept, child + 1)) < 0)
			child++;
		if (compare(KEPT_AT(kept, i), KEPT_AT(kept, child)) >= 0)
			return;
		swap(kept, i, child);
		i = child;
	}
}

/* Under the lock of the report. */
static bcfmt_err keep(struct bcfmt_report *report, struct kept *kept,
		      const struct bcfmt_finding *finding)
{
	struct bcfmt_finding *copy;
	struct bcfmt_finding **slot;

	if (kept->findings.n == BCFMT_FINDINGS_KEPT) {
		if (compare(finding, KEPT_AT(kept, 0)) < 0) {
			copy_finding(KEPT_AT(kept, 0), finding);
			sift_down(kept, 0);
		}
		return BCFMT_OK;
	}
	if (report->n_kept == report->sorted.cap &&
	    vec_reserve(&report->sorted, 2 * report->n_kept + 16, sizeof(struct bcfmt_finding *)))
		return BCFMT_E_NOMEM;
	copy = malloc(sizeof(*copy));
	if (!copy)
		return BCFMT_E_NOMEM;
	slot = vec_push(&kept->findings, sizeof(struct bcfmt_finding *));
	if (!slot) {
		free(copy);
		return BCFMT_E_NOMEM;
	}
	copy_finding(copy, finding);
	*slot = copy;
	report->n_kept++;
	sift_up(kept, kept->findings.n - 1);
	return BCFMT_OK;
}

static void drop_all(struct kept *kept)
{
	for (size_t i = 0; i < kept->findings.n; i++)
		free(KEPT_AT(kept, i));
	vec_free(&kept->findings);
	*kept = (struct kept){ .total = 0 };
}

bcfmt_err bcfmt_report_new(struct bcfmt_ctx *ctx, struct bcfmt_report **out)
{
	struct bcfmt_report *report = calloc(1, sizeof(*report));

	*out = NULL;
	if (!report)
		return bcfmt_fail(ctx, BCFMT_E_NOMEM, "no memory for a report");
	report->ctx = ctx;
	report->problems = bcfmt_problem_table(&report->n_problems);
	report->kept = calloc(report->n_problems, sizeof(*report->kept));
	if (!report->kept || pthread_mutex_init(&report->lock, NULL)) {
		free(report->kept);
		free(report);
		return bcfmt_fail(ctx, BCFMT_E_NOMEM, "no memory for a report");
	}
	*out = report;
	return BCFMT_OK;
}

void bcfmt_report_free(struct bcfmt_report *report)
{
	if (!report)
		return;
	for (size_t i = 0; i < report->n_problems; i++)
		drop_all(&report->kept[i]);
	vec_free(&report->sorted);
	pthread_mutex_destroy(&report->lock);
	free(report->kept);
	free(report);
}

static const struct bcfmt_arg *find_arg(size_t n_args, const struct bcfmt_arg *args,
					const struct template_part *part)
{
	for (size_t i = 0; i < n_args; i++)
		if (args[i].name && strlen(args[i].name) == part->name_bytes &&
		    !memcmp(args[i].name, part->name, part->name_bytes))
			return &args[i];
	return NULL;
}

/* Puts the arguments into the finding in the order of the template. */
static bcfmt_err fill_args(struct bcfmt_ctx *ctx, struct bcfmt_finding *finding, size_t n_args,
			   const struct bcfmt_arg *args)
{
	const char *slug = finding->problem->slug;
	const char *at = finding->problem->message;
	struct template_part part;
	size_t text_used = 0;

	while (template_next(&at, &part) == BCFMT_OK) {
		const struct bcfmt_arg *arg;
		struct bcfmt_arg *filled;

		if (!part.name)
			continue;
		arg = find_arg(n_args, args, &part);
		if (!arg || finding->n_args == BCFMT_FINDING_ARGS)
			return bcfmt_fail(ctx, BCFMT_E_ARG, "finding %s: no argument %.*s", slug,
					  (int)part.name_bytes, part.name);
		if (arg->type != part.type || (part.type == BCFMT_ARG_TEXT && !arg->text))
			return bcfmt_fail(ctx, BCFMT_E_ARG, "finding %s: argument %s is no %s",
					  slug, arg->name, template_type_name(part.type));
		filled = &finding->args[finding->n_args++];
		*filled = *arg;
		filled->text = NULL;
		if (part.type != BCFMT_ARG_TEXT)
			continue;
		filled->u64 = 0;
		filled->text = finding->text + text_used;
		text_used += template_clean_text(arg->text, finding->text + text_used,
						 sizeof(finding->text) - text_used);
		/* The last byte stays for the terminator of all that does not fit. */
		if (text_used + 1 < sizeof(finding->text))
			text_used++;
	}
	if (finding->n_args != n_args)
		return bcfmt_fail(ctx, BCFMT_E_ARG, "finding %s: %zu arguments, must be %u", slug,
				  n_args, finding->n_args);
	return BCFMT_OK;
}

bcfmt_err bcfmt_report_add(struct bcfmt_report *report, enum bcfmt_problem_id id,
			   const struct bcfmt_where *where, size_t n_args,
			   const struct bcfmt_arg *args)
{
	static const struct bcfmt_where nowhere = BCFMT_WHERE_INIT;
	struct bcfmt_finding finding = { .problem = bcfmt_problem_find(id) };
	struct kept *kept;
	bcfmt_err err;

	if (!finding.problem)
		return bcfmt_fail(report->ctx, BCFMT_E_ARG, "no problem has the number %u",
				  (unsigned int)id);
	finding.where = where ? *where : nowhere;
	err = fill_args(report->ctx, &finding, n_args, args);
	if (err)
		return err;
	kept = &report->kept[finding.problem - report->problems];
	pthread_mutex_lock(&report->lock);
	if (report->is_finished) {
		err = BCFMT_E_ARG;
	} else {
		kept->total++;
		err = keep(report, kept, &finding);
	}
	pthread_mutex_unlock(&report->lock);
	if (err == BCFMT_E_ARG)
		return bcfmt_fail(report->ctx, err, "finding %s comes after the end of the report",
				  finding.problem->slug);
	if (err)
		return bcfmt_fail(report->ctx, err, "no memory for a finding");
	return BCFMT_OK;
}

void bcfmt_report_forget(struct bcfmt_report *report, unsigned int from, unsigned int to)
{
	size_t n = 0;

	pthread_mutex_lock(&report->lock);
	for (size_t i = 0; i < report->sorted.n; i++) {
		struct bcfmt_finding *finding = *VEC_AT(&report->sorted, struct bcfmt_finding *, i);

		if (finding->problem->id < from || finding->problem->id >= to)
			*VEC_AT(&report->sorted, struct bcfmt_finding *, n++) = finding;
	}
	report->sorted.n = n;
	for (size_t i = 0; i < report->n_problems; i++)
		if (report->problems[i].id >= from && report->problems[i].id < to) {
			report->n_kept -= report->kept[i].findings.n;
			drop_all(&report->kept[i]);
		}
	pthread_mutex_unlock(&report->lock);
}

static struct kept *kept_of(const struct bcfmt_report *report, enum bcfmt_problem_id id)
{
	const struct bcfmt_problem *problem = bcfmt_problem_find(id);

	return problem ? &report->kept[problem - report->problems] : NULL;
}

/* True when any finding of the cause hides the follow-up by this rule. */
static bool is_hidden(const struct suppress_rule *rule, const struct kept *causes,
		      const struct bcfmt_finding *follow_up)
{
	for (size_t i = 0; i < causes->findings.n; i++)
		if (suppress_applies(rule, KEPT_AT(causes, i), follow_up))
			return true;
	return false;
}

/*
 * Hidden findings are marked by n_args beyond the last possible, and dropped when all rules have
 * been asked: what is hidden itself still hides its follow-ups.
 */
#define HIDDEN (BCFMT_FINDING_ARGS + 1)

static void mark_hidden(struct bcfmt_report *report, const struct suppress_rule *rule)
{
	const struct kept *causes = kept_of(report, rule->cause);

	for (size_t i = 0; causes->findings.n && i < report->n_problems; i++) {
		enum bcfmt_problem_id id = report->problems[i].id;
		struct kept *kept = &report->kept[i];
		bool is_all = rule->scope == SUPPRESS_SET && kept->findings.n;

		if (id < rule->first || id > rule->last || id == rule->cause)
			continue;
		for (size_t j = 0; j < kept->findings.n; j++) {
			if (is_hidden(rule, causes, KEPT_AT(kept, j)))
				KEPT_AT(kept, j)->n_args = HIDDEN;
			else
				is_all = false;
		}
		/* Those that were only counted are no different. */
		if (is_all) {
			report->suppressed += kept->total - kept->findings.n;
			kept->total = kept->findings.n;
		}
	}
}

static void drop_hidden(struct bcfmt_report *report, struct kept *kept)
{
	size_t n = 0;

	for (size_t i = 0; i < kept->findings.n; i++) {
		struct bcfmt_finding *finding = KEPT_AT(kept, i);

		if (finding->n_args != HIDDEN) {
			KEPT_AT(kept, n++) = finding;
			continue;
		}
		free(finding);
		kept->total--;
		report->suppressed++;
	}
	kept->findings.n = n;
}

void bcfmt_report_finish(struct bcfmt_report *report)
{
	const struct suppress_rule *rules;
	size_t n_rules;

	rules = suppress_table(&n_rules);
	pthread_mutex_lock(&report->lock);
	if (report->is_finished)
		goto unlock;
	report->is_finished = true;
	for (size_t i = 0; i < n_rules; i++)
		mark_hidden(report, &rules[i]);
	for (size_t i = 0; i < report->n_problems; i++) {
		struct kept *kept = &report->kept[i];

		drop_hidden(report, kept);
		if (kept->findings.n)
			qsort(kept->findings.items, kept->findings.n,
			      sizeof(struct bcfmt_finding *), compare_pointers);
		for (size_t j = 0; j < kept->findings.n; j++)
			*VEC_AT(&report->sorted, struct bcfmt_finding *, report->sorted.n++) =
				KEPT_AT(kept, j);
	}
unlock:
	pthread_mutex_unlock(&report->lock);
}

size_t bcfmt_report_count(const struct bcfmt_report *report)
{
	return report->sorted.n;
}

const struct bcfmt_finding *bcfmt_report_at(const struct bcfmt_report *report, size_t i)
{
	return i < report->sorted.n ? *VEC_AT(&report->sorted, struct bcfmt_finding *, i) : NULL;
}

uint64_t bcfmt_report_total(const struct bcfmt_report *report, enum bcfmt_problem_id id)
{
	const struct kept *kept = kept_of(report, id);

	return kept ? kept->total : 0;
}

uint64_t bcfmt_report_severity_total(const struct bcfmt_report *report,
				     enum bcfmt_severity severity)
{
	uint64_t total = 0;

	for (size_t i = 0; i < report->n_problems; i++)
		if (report->problems[i].severity == severity)
			total += report->kept[i].total;
	return total;
}

uint64_t bcfmt_report_suppressed(const struct bcfmt_report *report)
{
	return report->suppressed;
}
