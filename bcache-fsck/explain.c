/* SPDX-License-Identifier: GPL-2.0-or-later */
/* --explain: a problem by its code or name, or a line that a kernel printed; then on the devices. */
#include "explain.h"

#include <stdio.h>
#include <string.h>

#include "cli/message.h"

/* Shorter fixed parts are in too many lines to tell anything. */
#define PATTERN_CHARS_LEAST 8u

/* A printf conversion at text: its length, 0 when there is none. */
static size_t conversion(const char *text)
{
	size_t len;

	if (*text != '%')
		return 0;
	len = 1 + strspn(text + 1, "0123456789.-+# lhzjt");
	if (!text[len])
		return 0;
	if (text[len] == 'p')
		return len + 1 + strspn(text + len + 1, "abcdefghijklmnopqrstuvwxyzU");
	return len + 1;
}

/*
 * Looks for the fixed parts of pattern one after the other in line. Returns how many characters
 * they have together, 0 when one is not there.
 */
static size_t match(const char *pattern, const char *line)
{
	size_t chars = 0;

	while (*pattern) {
		size_t len = conversion(pattern);
		char part[160];

		if (len) {
			pattern += len;
			continue;
		}
		len = strcspn(pattern + 1, "%") + 1;
		if (len >= sizeof(part))
			return 0;
		memcpy(part, pattern, len);
		part[len] = 0;
		line = strstr(line, part);
		if (!line)
			return 0;
		line += len;
		pattern += len;
		chars += len;
	}
	return chars;
}

/* The line of the problem table that text matches best, of one problem or, with NONE, of any. */
static const char *best_match(const char *text, enum bcfmt_problem_id id)
{
	size_t n;
	const struct bcfmt_kernel_effect *table = bcfmt_kernel_effect_table(&n);
	const char *best = NULL;
	size_t best_chars = PATTERN_CHARS_LEAST - 1;

	for (size_t i = 0; i < n; i++) {
		size_t chars;

		if (id != BCFMT_P_NONE && table[i].id != id)
			continue;
		chars = match(table[i].line, text);
		if (chars <= best_chars)
			continue;
		best = table[i].line;
		best_chars = chars;
	}
	return best;
}

static void add(struct explained *ex, enum bcfmt_problem_id id)
{
	for (size_t i = 0; i < ex->n_ids; i++)
		if (ex->ids[i] == id)
			return;
	if (ex->n_ids < EXPLAIN_IDS_MAX)
		ex->ids[ex->n_ids++] = id;
}

/* The problems that have a kernel print exactly this line. */
static void add_all(struct explained *ex, const char *line)
{
	size_t n;
	const struct bcfmt_kernel_effect *table = bcfmt_kernel_effect_table(&n);

	for (size_t i = 0; i < n; i++)
		if (!strcmp(table[i].line, line))
			add(ex, table[i].id);
}

static void look_up(struct explained *ex)
{
	const struct bcfmt_problem *problem = bcfmt_problem_by_name(ex->text);
	const char *same;

	if (problem) {
		add(ex, problem->id);
		return;
	}
	ex->line = bcfmt_kernel_line_find(ex->text);
	/* What is about a running kernel has no problem on disk behind it. */
	if (ex->line && ex->line->id == BCFMT_P_NONE)
		return;
	if (ex->line)
		add(ex, ex->line->id);
	same = best_match(ex->text, ex->line ? ex->line->id : BCFMT_P_NONE);
	if (same)
		add_all(ex, same);
}

/* The problem of the line itself is told together with it. */
static void tell(struct bcfmt_out *out, const struct explained *ex)
{
	size_t from = ex->line && ex->line->id != BCFMT_P_NONE ? 1 : 0;

	if (ex->line)
		bcfmt_render_explain_line(out, ex->line);
	for (size_t i = from; i < ex->n_ids; i++) {
		if (i)
			bcfmt_out_line(out, "%s", "");
		bcfmt_render_explain(out, bcfmt_problem_find(ex->ids[i]));
	}
}

int fsck_explain(const struct fsck_options *options)
{
	struct explained ex = { .text = options->explain };
	struct bcfmt_out *out;
	int bits = FSCK_CLEAN;
	bcfmt_err err;

	if (bcfmt_out_new(NULL, stdout, fsck_out_flags(options), &out)) {
		cli_error(NULL, "out of memory");
		return FSCK_OPERATIONAL;
	}
	bcfmt_render_header(out, options->program, "explain", NULL);
	look_up(&ex);
	tell(out, &ex);
	if (!ex.line && !ex.n_ids) {
		cli_error(NULL, "--explain: '%s' is no code, name or kernel line that is known",
			  options->explain);
		bits = FSCK_USAGE;
	} else if (options->n_paths) {
		bits = explain_on_devices(options, out, &ex);
	}
	if (bcfmt_out_error(out))
		bits |= FSCK_OPERATIONAL;
	bcfmt_render_summary(out, NULL, bits);
	err = bcfmt_out_close(out);
	/* A failed write is told at the end, by cli_stdout_flush(). */
	if (err && err != BCFMT_E_IO)
		cli_error_ctx(NULL, NULL, err);
	return err ? bits | FSCK_OPERATIONAL : bits;
}
