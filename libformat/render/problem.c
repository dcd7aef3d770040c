/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What findings and explanations share: words and objects for a row of the problem table. */
#include <stdio.h>

#include "render/out.h"

const char *out_version_text(unsigned int version, char text[16])
{
	snprintf(text, 16, "%u.%u", version / 1000, version % 1000);
	return text;
}

const char *out_kernels_text(unsigned int since, unsigned int until, char text[64])
{
	char first[16];
	char last[16];

	out_version_text(since, first);
	out_version_text(until, last);
	if (!since && !until)
		snprintf(text, 64, "all kernels");
	else if (!since)
		snprintf(text, 64, "kernels before %s", last);
	else if (!until)
		snprintf(text, 64, "kernels since %s", first);
	else
		snprintf(text, 64, "kernels since %s and before %s", first, last);
	return text;
}

const char *out_effect_text(enum bcfmt_effect effect)
{
	switch (effect) {
	case BCFMT_EFFECT_NONE:
		return "no harm";
	case BCFMT_EFFECT_WARNS:
		return "it prints a message and goes on";
	case BCFMT_EFFECT_REFUSES_DEVICE:
		return "it does not register the device";
	case BCFMT_EFFECT_STOPS_SET:
		return "it does not start the cache set, or shuts it down";
	case BCFMT_EFFECT_NOT_ATTACHED:
		return "the backing device stays without its cache";
	case BCFMT_EFFECT_SERVES_WRONG:
		return "it returns old or wrong data";
	case BCFMT_EFFECT_LOSES_WRITES:
		return "it loses written data";
	case BCFMT_EFFECT_OOPS:
		return "it crashes (BUG, oops or memory overrun)";
	case BCFMT_EFFECT_HANGS:
		return "it hangs";
	}
	return "unknown";
}

const char *out_consent_text(enum bcfmt_consent consent)
{
	switch (consent) {
	case BCFMT_CONSENT_AUTO:
		return "cannot lose anything, preen may do it";
	case BCFMT_CONSENT_ASK:
		return "asks first";
	case BCFMT_CONSENT_NEVER:
		return "only by an option of its own";
	}
	return "unknown";
}

enum out_style out_severity_style(enum bcfmt_severity severity)
{
	switch (severity) {
	case BCFMT_SEV_NOTE:
		return OUT_NOTE;
	case BCFMT_SEV_WASTE:
	case BCFMT_SEV_ERROR:
		return OUT_WARN;
	case BCFMT_SEV_DATA_LOSS:
	case BCFMT_SEV_FATAL:
		break;
	}
	return OUT_BAD;
}

const struct bcfmt_kernel_effect *out_effects(enum bcfmt_problem_id id, size_t *n)
{
	size_t rows;
	const struct bcfmt_kernel_effect *table = bcfmt_kernel_effect_table(&rows);
	size_t begin = 0;
	size_t end;

	while (begin < rows && table[begin].id != id)
		begin++;
	for (end = begin; end < rows && table[end].id == id; end++)
		;
	*n = end - begin;
	return table + begin;
}

json_t *out_json_kernel(struct bcfmt_out *out, enum bcfmt_problem_id id)
{
	size_t n;
	const struct bcfmt_kernel_effect *effect = out_effects(id, &n);
	json_t *kernel = json_array();
	char text[16];

	for (; n; n--, effect++) {
		json_t *row = json_object();

		if (effect->since)
			out_json_set(out, row, "since",
				     json_string(out_version_text(effect->since, text)));
		if (effect->until)
			out_json_set(out, row, "until",
				     json_string(out_version_text(effect->until, text)));
		out_json_set(out, row, "effect", json_string(bcfmt_effect_name(effect->effect)));
		out_json_set(out, row, "function", json_string(effect->function));
		if (*effect->line)
			out_json_set(out, row, "line", json_string(effect->line));
		out_json_append(out, kernel, row);
	}
	return kernel;
}

void out_json_problem(struct bcfmt_out *out, json_t *object, const struct bcfmt_problem *problem)
{
	char code[16];

	snprintf(code, sizeof(code), "BC%04d", (int)problem->id);
	out_json_set(out, object, "code", json_string(code));
	out_json_set(out, object, "slug", json_string(problem->slug));
	out_json_set(out, object, "severity", json_string(bcfmt_severity_name(problem->severity)));
}

json_t *out_json_repair(struct bcfmt_out *out, const struct bcfmt_problem *problem)
{
	json_t *repair = json_object();

	out_json_set(out, repair, "action", json_string(bcfmt_repair_name(problem->repair)));
	out_json_set(out, repair, "consent", json_string(bcfmt_consent_name(problem->consent)));
	return repair;
}
