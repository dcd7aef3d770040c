/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What a problem means, or a line that a kernel printed. */
#include <stdio.h>
#include <string.h>

#include "render/out.h"

#define EXPLAIN_COLUMNS 88u

/* Breaks at blanks; a longer word stands alone. Each line begins with indent. */
static void put_wrapped(struct bcfmt_out *out, const char *indent, const char *text)
{
	size_t room = EXPLAIN_COLUMNS - strlen(indent);

	while (*text == ' ')
		text++;
	while (*text) {
		size_t len = strlen(text);

		if (len > room) {
			len = room;
			while (len && text[len] != ' ')
				len--;
			if (!len)
				len = strcspn(text, " ");
		}
		bcfmt_out_line(out, "%s%.*s", indent, (int)len, text);
		text += len;
		while (*text == ' ')
			text++;
	}
}

/* The template with its values as <name>; cut when out is too small. */
static void message_form(const char *template, char *out, size_t out_bytes)
{
	size_t n = 0;
	size_t len;

	while (*template && n + 1 < out_bytes) {
		if (*template != '{') {
			out[n++] = *template ++;
			continue;
		}
		len = strcspn(++template, ":}");
		if (n + len + 3 > out_bytes)
			break;
		out[n++] = '<';
		memcpy(out + n, template, len);
		n += len;
		out[n++] = '>';
		template += strcspn(template, "}");
		template += *template == '}';
	}
	out[n] = 0;
}

static void problem_text(struct bcfmt_out *out, const struct bcfmt_problem *problem)
{
	size_t n;
	const struct bcfmt_kernel_effect *effect = out_effects(problem->id, &n);
	char form[512];
	char kernels[64];

	out_put_styled(out, out_severity_style(problem->severity), "BC%04d %s", (int)problem->id,
		       problem->slug);
	out_put(out, " (%s)", bcfmt_severity_name(problem->severity));
	out_end_line(out);
	message_form(problem->message, form, sizeof(form));
	put_wrapped(out, "  ", form);
	if (*problem->meaning) {
		bcfmt_out_line(out, "%s", "");
		put_wrapped(out, "  ", problem->meaning);
	}
	bcfmt_out_line(out, "%s", "");
	if (!n)
		bcfmt_out_line(out, "  no kernel looks at it");
	for (; n; n--, effect++) {
		bcfmt_out_line(out, "  %s: %s (%s)",
			       out_kernels_text(effect->since, effect->until, kernels),
			       out_effect_text(effect->effect), effect->function);
		if (*effect->line)
			bcfmt_out_line(out, "      prints \"%s\"", effect->line);
	}
	if (problem->repair == BCFMT_REPAIR_NONE)
		bcfmt_out_line(out, "  repair: none");
	else
		bcfmt_out_line(out, "  repair: %s, %s", bcfmt_repair_name(problem->repair),
			       out_consent_text(problem->consent));
}

static void problem_json(struct bcfmt_out *out, const struct bcfmt_problem *problem)
{
	json_t *object = out_json_object(out, "problem");

	out_json_problem(out, object, problem);
	out_json_set(out, object, "message", json_string(problem->message));
	if (*problem->meaning)
		out_json_set(out, object, "meaning", json_string(problem->meaning));
	out_json_set(out, object, "repair", out_json_repair(out, problem));
	out_json_set(out, object, "kernel", out_json_kernel(out, problem->id));
	out_json(out, object);
}

void bcfmt_render_explain(struct bcfmt_out *out, const struct bcfmt_problem *problem)
{
	if (bcfmt_out_is_json(out))
		problem_json(out, problem);
	else
		problem_text(out, problem);
}

void bcfmt_render_explain_line(struct bcfmt_out *out, const struct bcfmt_kernel_line *line)
{
	const struct bcfmt_problem *problem = bcfmt_problem_find(line->id);
	json_t *object;
	char code[16];

	if (!bcfmt_out_is_json(out)) {
		out_put_styled(out, OUT_STRONG, "kernel line: %s", line->pattern);
		out_end_line(out);
		put_wrapped(out, "  ", line->meaning);
		if (!problem)
			return;
		bcfmt_out_line(out, "%s", "");
		problem_text(out, problem);
		return;
	}
	object = out_json_object(out, "kernel_line");
	out_json_set(out, object, "pattern", json_string(line->pattern));
	out_json_set(out, object, "meaning", json_string(line->meaning));
	if (problem) {
		snprintf(code, sizeof(code), "BC%04d", (int)problem->id);
		out_json_set(out, object, "code", json_string(code));
	}
	out_json(out, object);
	if (problem)
		problem_json(out, problem);
}
