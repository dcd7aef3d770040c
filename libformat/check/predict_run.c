/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Predictions for every kernel asked for and every device, and what the verdict makes of them. */
#include <stdlib.h>
#include <string.h>

#include "check/check_impl.h"
#include "check/predict.h"

#define BIT(outcome) (1u << BCFMT_OUTCOME_##outcome)

/* Series whose rules are known, for a prediction without --kernel. */
static const unsigned int known_kernels[] = { 6001, 6012, 6019 };
#define N_KNOWN (sizeof(known_kernels) / sizeof(known_kernels[0]))

void predict_clear(struct bcfmt_prediction *prediction)
{
	for (size_t i = 0; i < prediction->n_first_lines; i++)
		free(prediction->first_lines[i]);
	for (size_t i = 0; i < prediction->n_follow_lines; i++)
		free(prediction->follow_lines[i]);
	prediction->n_first_lines = prediction->n_follow_lines = 0;
}

static struct bcfmt_prediction *next_prediction(struct check *ck, unsigned int kernel,
						const struct bcfmt_member *member)
{
	struct bcfmt_verdict *verdict = ck->verdict;
	struct bcfmt_prediction *out = &verdict->predictions[verdict->n_predictions++];

	out->kernel = kernel;
	out->page_bytes = ck->params->page_bytes ? ck->params->page_bytes : 4096;
	out->member = member;
	return out;
}

/* Without journal buckets there is nothing to look for. */
static bcfmt_err predict_no_journal(struct bcfmt_prediction *out)
{
	struct predict_event event = { .id = BCFMT_P_JOURNAL_EMPTY };
	const struct bcfmt_kernel_effect *row = predict_row(&event, out->kernel);

	out->stage = BCFMT_STAGE_JOURNAL;
	out->outcomes = BIT(STOPS_SET);
	return row ? predict_line(out->first_lines, &out->n_first_lines, BCFMT_PREDICTION_LINES,
				  row->line, NULL)
		   : BCFMT_OK;
}

/* The cache: its superblock, and what that leads to. */
static bcfmt_err predict_cache(struct check *ck, unsigned int kernel)
{
	struct bcfmt_prediction *out = next_prediction(ck, kernel, &ck->set->cache);
	bcfmt_err err = predict_super(&ck->set->cache, out);

	if (err || out->outcomes) {
		predict_settle(out);
		return err;
	}
	if (ck->set->has_geometry)
		return predict_evaluate(ck, out);
	/* A superblock that a kernel takes and that nothing here can be read by. */
	out->outcomes = BIT(UNKNOWN) | BIT(REGISTERS);
	if (ck->set->cache.super.flags & BCFMT_SUPER_FLAG_SYNC && !ck->set->cache.super.keys)
		err = predict_no_journal(out);
	predict_settle(out);
	return err;
}

static bcfmt_err predict_all(struct check *ck)
{
	const struct bcfmt_set *set = ck->set;
	const unsigned int *kernels = ck->params->kernel ? &ck->params->kernel : known_kernels;
	size_t n_kernels = ck->params->kernel ? 1 : N_KNOWN;
	struct bcfmt_verdict *verdict = ck->verdict;
	bcfmt_err err = BCFMT_OK;

	verdict->predictions = calloc(n_kernels * (set->has_cache + set->n_backing) + 1,
				      sizeof(*verdict->predictions));
	if (!verdict->predictions)
		return BCFMT_E_NOMEM;
	for (size_t i = 0; !err && set->has_cache && i < n_kernels; i++)
		err = predict_cache(ck, kernels[i]);
	for (size_t j = 0; !err && j < set->n_backing; j++)
		for (size_t i = 0; !err && i < n_kernels; i++) {
			struct bcfmt_prediction *out =
				next_prediction(ck, kernels[i], &set->backing[j]);

			err = predict_backing(ck, set->has_cache ? &verdict->predictions[i] : NULL,
					      out);
		}
	return err;
}

/* All kernels together: what one of them refuses is not registered. */
static void summarise(struct check *ck)
{
	struct bcfmt_verdict *verdict = ck->verdict;
	size_t n_yes = 0, n = 0;

	for (size_t i = 0; i < verdict->n_predictions; i++) {
		const struct bcfmt_prediction *prediction = &verdict->predictions[i];

		if (prediction->member != &ck->set->cache)
			continue;
		n++;
		n_yes += prediction->registers == BCFMT_REGISTERS_YES;
		if (prediction->registers == BCFMT_REGISTERS_NO)
			verdict->registers = BCFMT_REGISTERS_NO;
		for (size_t j = 0; j < prediction->n_first_lines; j++) {
			const char *line = prediction->first_lines[j];
			size_t at = 0;

			while (at < verdict->n_first_lines &&
			       strcmp(verdict->first_lines[at], line))
				at++;
			if (at == verdict->n_first_lines &&
			    at < sizeof(verdict->first_lines) / sizeof(verdict->first_lines[0]))
				verdict->first_lines[verdict->n_first_lines++] = line;
		}
	}
	if (n && n_yes == n)
		verdict->registers = BCFMT_REGISTERS_YES;
}

bcfmt_err predict_run(struct check *ck)
{
	bcfmt_err err = BCFMT_OK;

	ck->predict->is_tree_whole = ck->tree && ck->predict->is_same_tree;
	if (ck->set->has_geometry) {
		err = predict_ring(ck);
		if (!err)
			err = predict_prios(ck);
		if (!err)
			err = predict_pointers(ck);
		if (!err)
			err = predict_marks(ck);
		if (!err)
			err = predict_start(ck);
	}
	if (!err)
		err = predict_all(ck);
	if (!err)
		summarise(ck);
	return err;
}
