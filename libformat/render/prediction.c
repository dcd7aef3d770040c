/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What kernels would do with the devices. */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "render/out.h"

#define BIT(outcome) (1u << BCFMT_OUTCOME_##outcome)
/* Kernels that are named one by one. */
#define NAMED_MAX 8u

static const char *outcome_text(enum bcfmt_outcome outcome, bool is_backing)
{
	switch (outcome) {
	case BCFMT_OUTCOME_UNKNOWN:
		break;
	case BCFMT_OUTCOME_REGISTERS:
		return is_backing ? "it is joined with the cache" : "it registers";
	case BCFMT_OUTCOME_UNCACHED:
		return "it runs without the cache";
	case BCFMT_OUTCOME_WAITS:
		return "it waits for its cache and shows no volume";
	case BCFMT_OUTCOME_REFUSES_DEVICE:
		return "the device is refused";
	case BCFMT_OUTCOME_STOPS_SET:
		return "an error shuts the set down";
	case BCFMT_OUTCOME_OOPS:
		return "the kernel crashes (BUG, oops or memory overrun)";
	case BCFMT_OUTCOME_HANGS:
		return "the kernel hangs";
	}
	return "something that was not looked at stops it";
}

/* "an error shuts the set down, or the kernel hangs" */
static void put_outcomes(struct bcfmt_out *out, unsigned int outcomes, bool is_backing)
{
	bool is_first = true;

	/* What is not known comes last. */
	for (unsigned int i = 1; i <= BCFMT_OUTCOME_HANGS + 1; i++) {
		unsigned int outcome = i > BCFMT_OUTCOME_HANGS ? BCFMT_OUTCOME_UNKNOWN : i;

		if (!(outcomes & 1u << outcome))
			continue;
		out_put(out, "%s%s", is_first ? "" : ", or ",
			outcome_text((enum bcfmt_outcome)outcome, is_backing));
		is_first = false;
	}
}

static bool is_first_of_kind(const struct bcfmt_verdict *verdict, size_t at)
{
	const struct bcfmt_prediction *prediction = &verdict->predictions[at];

	for (size_t i = 0; i < at; i++)
		if (verdict->predictions[i].member == prediction->member &&
		    verdict->predictions[i].outcomes == prediction->outcomes)
			return false;
	return true;
}

/* "6.1, 6.12": the kernels that do the same with the device as prediction at. */
static void put_kernels(struct bcfmt_out *out, const struct bcfmt_verdict *verdict, size_t at)
{
	const struct bcfmt_prediction *like = &verdict->predictions[at];
	bool is_first = true;
	char text[16];

	for (size_t i = at; i < verdict->n_predictions; i++) {
		const struct bcfmt_prediction *prediction = &verdict->predictions[i];

		if (prediction->member != like->member || prediction->outcomes != like->outcomes)
			continue;
		out_put(out, "%s%s", is_first ? "" : ", ",
			out_version_text(prediction->kernel, text));
		is_first = false;
	}
	if (like->page_bytes != 4096)
		out_put(out, " with pages of %" PRIu32 " KiB", like->page_bytes / 1024);
}

/* " (6.1, 6.12: it registers; 6.19: an error shuts the set down)" */
static void put_all_kernels(struct bcfmt_out *out, const struct bcfmt_verdict *verdict,
			    const struct bcfmt_member *member)
{
	const char *between = " (";

	for (size_t i = 0; i < verdict->n_predictions; i++) {
		const struct bcfmt_prediction *prediction = &verdict->predictions[i];

		if (prediction->member != member || !is_first_of_kind(verdict, i))
			continue;
		out_put(out, "%s", between);
		put_kernels(out, verdict, i);
		if (prediction->outcomes != BIT(REGISTERS) || between[0] == ';') {
			out_put(out, ": ");
			put_outcomes(out, prediction->outcomes, false);
		}
		between = "; ";
	}
	if (between[0] == ';')
		out_put(out, ")");
}

/* Lines of a backing device, of any kernel; they are the same for all but old ones. */
static const struct bcfmt_prediction *with_lines(const struct bcfmt_verdict *verdict,
						 const struct bcfmt_member *member)
{
	for (size_t i = 0; i < verdict->n_predictions; i++)
		if (verdict->predictions[i].member == member &&
		    verdict->predictions[i].n_first_lines)
			return &verdict->predictions[i];
	return NULL;
}

static void put_effect(struct bcfmt_out *out, const struct bcfmt_prediction_effect *effect)
{
	const struct bcfmt_problem *problem = bcfmt_problem_find(effect->id);

	bcfmt_out_line(out, "    once registered %s: BC%04u %s", out_effect_text(effect->effect),
		       (unsigned int)effect->id, problem ? problem->slug : "");
}

/* Each harm once, whichever kernel does it. */
static void put_effects(struct bcfmt_out *out, const struct bcfmt_verdict *verdict,
			const struct bcfmt_member *member)
{
	for (size_t i = 0; i < verdict->n_predictions; i++) {
		const struct bcfmt_prediction *prediction = &verdict->predictions[i];

		for (size_t j = 0; prediction->member == member && j < prediction->n_effects; j++) {
			bool is_told = false;

			for (size_t k = 0; k < i && !is_told; k++)
				for (size_t l = 0; verdict->predictions[k].member == member &&
						   l < verdict->predictions[k].n_effects;
				     l++)
					is_told |= verdict->predictions[k].effects[l].id ==
							   prediction->effects[j].id &&
						   verdict->predictions[k].effects[l].effect ==
							   prediction->effects[j].effect;
			if (!is_told)
				put_effect(out, &prediction->effects[j]);
		}
	}
}

void out_predictions_of_cache(struct bcfmt_out *out, const struct bcfmt_set *set,
			      const struct bcfmt_verdict *verdict)
{
	size_t n = verdict->n_first_lines;

	put_all_kernels(out, verdict, &set->cache);
	if (n && verdict->registers == BCFMT_REGISTERS_UNKNOWN)
		out_put(out, "; %s",
			n > 1 ? "if it fails the first message is one of these:"
			      : "if it fails the first message is:");
	else if (n)
		out_put(out, "; %s",
			n > 1 ? "its first message is one of these:" : "its first message:");
	out_end_line(out);
	for (size_t i = 0; i < n; i++)
		bcfmt_out_line(out, "    %s", verdict->first_lines[i]);
	put_effects(out, verdict, &set->cache);
}

/* All kernels join the device with the cache, without any harm. */
static bool is_usual(const struct bcfmt_verdict *verdict, const struct bcfmt_member *member)
{
	for (size_t i = 0; i < verdict->n_predictions; i++)
		if (verdict->predictions[i].member == member &&
		    (verdict->predictions[i].outcomes != BIT(REGISTERS) ||
		     verdict->predictions[i].n_effects))
			return false;
	return true;
}

void out_predictions_of_backing(struct bcfmt_out *out, const struct bcfmt_verdict *verdict,
				const struct bcfmt_member *member)
{
	const struct bcfmt_prediction *told = with_lines(verdict, member);
	bool is_first = true;

	if (is_usual(verdict, member))
		return;
	out_put(out, "what a kernel would do with %s:", bcfmt_dev_name(member->dev));
	for (size_t i = 0; i < verdict->n_predictions; i++) {
		const struct bcfmt_prediction *prediction = &verdict->predictions[i];

		if (prediction->member != member || !is_first_of_kind(verdict, i))
			continue;
		out_put(out, "%s ", is_first ? "" : ";");
		put_outcomes(out, prediction->outcomes, true);
		out_put(out, " (");
		put_kernels(out, verdict, i);
		out_put(out, ")");
		is_first = false;
	}
	for (size_t i = 0; told && i < told->n_first_lines; i++)
		out_put(out, "%s%s", i ? " or " : "; its message: ", told->first_lines[i]);
	out_end_line(out);
	put_effects(out, verdict, member);
}

static void set_lines(struct bcfmt_out *out, json_t *object, const char *key, char *const *lines,
		      size_t n)
{
	json_t *array = json_array();

	for (size_t i = 0; i < n; i++)
		out_json_append(out, array, out_json_text(lines[i]));
	out_json_set(out, object, key, array);
}

static void set_effects(struct bcfmt_out *out, json_t *object,
			const struct bcfmt_prediction *prediction)
{
	json_t *array = json_array();

	for (size_t i = 0; i < prediction->n_effects; i++) {
		const struct bcfmt_problem *problem = bcfmt_problem_find(prediction->effects[i].id);
		json_t *row = json_object();

		out_json_set(out, row, "effect",
			     json_string(bcfmt_effect_name(prediction->effects[i].effect)));
		if (problem)
			out_json_problem(out, row, problem);
		out_json_append(out, array, row);
	}
	out_json_set(out, object, "effects", array);
}

void out_prediction_json(struct bcfmt_out *out, const struct bcfmt_prediction *prediction)
{
	json_t *object = out_json_object(out, "prediction");
	json_t *outcomes = json_array();
	char text[16];

	out_json_set(out, object, "kernel",
		     json_string(out_version_text(prediction->kernel, text)));
	out_json_set(out, object, "page_bytes", out_json_u64(prediction->page_bytes));
	out_json_set(out, object, "device", out_json_text(bcfmt_dev_name(prediction->member->dev)));
	out_json_set(out, object, "role",
		     json_string(prediction->member->role == BCFMT_ROLE_BACKING ? "backing"
										: "cache"));
	if (prediction->registers != BCFMT_REGISTERS_UNKNOWN)
		out_json_set(out, object, "registers",
			     json_boolean(prediction->registers == BCFMT_REGISTERS_YES));
	out_json_set(out, object, "outcome", json_string(bcfmt_outcome_name(prediction->outcome)));
	for (unsigned int i = 0; i <= BCFMT_OUTCOME_HANGS; i++)
		if (prediction->outcomes & 1u << i)
			out_json_append(out, outcomes,
					json_string(bcfmt_outcome_name((enum bcfmt_outcome)i)));
	out_json_set(out, object, "outcomes", outcomes);
	out_json_set(out, object, "stage", json_string(bcfmt_stage_name(prediction->stage)));
	set_lines(out, object, "first_lines", prediction->first_lines, prediction->n_first_lines);
	set_lines(out, object, "follow_lines", prediction->follow_lines,
		  prediction->n_follow_lines);
	set_effects(out, object, prediction);
	out_json(out, object);
}
