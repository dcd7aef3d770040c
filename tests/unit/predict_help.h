/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What the tests of predictions share: a check for one kernel, and what it has to foretell. */
#ifndef TESTS_UNIT_PREDICT_HELP_H
#define TESTS_UNIT_PREDICT_HELP_H

#include <stdarg.h>
#include <stdio.h>

#include "check_help.h"

#define BIT(outcome) (1u << BCFMT_OUTCOME_##outcome)

/* The prediction for the cache, or for backing device i. */
static inline const struct bcfmt_prediction *cache_prediction(void)
{
	for (size_t i = 0; i < result.verdict.n_predictions; i++)
		if (result.verdict.predictions[i].member == &kit.set->cache)
			return &result.verdict.predictions[i];
	cr_assert_fail("nothing is foretold for the cache");
	return NULL;
}

static inline const struct bcfmt_prediction *backing_prediction(size_t backing)
{
	for (size_t i = 0; i < result.verdict.n_predictions; i++)
		if (result.verdict.predictions[i].member == &kit.set->backing[backing])
			return &result.verdict.predictions[i];
	cr_assert_fail("nothing is foretold for backing device %zu", backing);
	return NULL;
}

static inline void show(const struct bcfmt_prediction *prediction, char *out, size_t out_bytes)
{
	size_t at = (size_t)snprintf(out, out_bytes, "outcomes %x stage %s", prediction->outcomes,
				     bcfmt_stage_name(prediction->stage));

	for (size_t i = 0; i < prediction->n_first_lines && at < out_bytes; i++)
		at += (size_t)snprintf(out + at, out_bytes - at, "\n  %s",
				       prediction->first_lines[i]);
}

/* Exactly these outcomes at this stage, and exactly these lines, in any order; NULL ends them. */
static inline void expect_told(const struct bcfmt_prediction *prediction, unsigned int outcomes,
			       enum bcfmt_stage stage, ...)
{
	char text[4096];
	va_list lines;
	const char *line;
	size_t n = 0;

	show(prediction, text, sizeof(text));
	cr_expect(prediction->outcomes == outcomes && prediction->stage == stage,
		  "outcomes %x at %s, not %s", outcomes, bcfmt_stage_name(stage), text);
	va_start(lines, stage);
	for (; (line = va_arg(lines, const char *)); n++) {
		bool is_told = false;

		for (size_t i = 0; i < prediction->n_first_lines; i++)
			is_told |= !strcmp(prediction->first_lines[i], line);
		cr_expect(is_told, "'%s' is not in %s", line, text);
	}
	va_end(lines);
	cr_expect_eq(prediction->n_first_lines, n, "%zu lines, not %s", n, text);
}

static inline bool has_effect(const struct bcfmt_prediction *prediction, enum bcfmt_effect effect,
			      enum bcfmt_problem_id id)
{
	for (size_t i = 0; i < prediction->n_effects; i++)
		if (prediction->effects[i].effect == effect && prediction->effects[i].id == id)
			return true;
	return false;
}

/* A line with numbers; good until eight more were made. */
static inline const char *line(const char *fmt, ...)
{
	static char lines[8][256];
	static unsigned int next;
	char *out = lines[next++ % 8];
	va_list args;

	va_start(args, fmt);
	vsnprintf(out, sizeof(lines[0]), fmt, args);
	va_end(args);
	return out;
}

static inline unsigned int bucket_of(uint64_t i)
{
	return (unsigned int)nth(i);
}

/* The set as it is now, for one kernel. */
static inline void check_for(enum bcfmt_check_level level, unsigned int kernel)
{
	struct bcfmt_check_params params = { .level = level, .kernel = kernel };

	set_kit_result_clear(&result);
	cr_assert_eq(set_kit_open(&kit), BCFMT_OK);
	cr_assert_eq(bcfmt_report_new(kit.ctx, &result.report), BCFMT_OK);
	cr_assert_eq(bcfmt_check_run(kit.set, &params, result.report, &result.verdict, NULL, NULL),
		     BCFMT_OK);
}

/* Changes the newest entry of a set that has one in ring bucket 1, and mends its checksum. */
static inline struct bcfmt_jset first_jset(uint8_t raw[4096])
{
	struct bcfmt_jset jset;

	set_kit_read(&kit, bcfmt_bucket_sector(&kit.geo, kit.geo.first_bucket + 1u), raw, 4096);
	cr_assert_eq(bcfmt_jset_decode(&kit.geo, raw, 4096, &jset), BCFMT_JSET_OK);
	return jset;
}

static inline void put_first_jset(struct bcfmt_jset *jset, uint8_t raw[4096])
{
	bcfmt_jset_encode(&kit.geo, jset, raw);
	set_kit_write(&kit, bcfmt_bucket_sector(&kit.geo, kit.geo.first_bucket + 1u), raw, 4096);
}

#endif
