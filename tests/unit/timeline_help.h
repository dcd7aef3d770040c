/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Disks on one timeline, and every moment at which a power cut can find them. Before it N_DISKS has
 * to be defined, LOG_BYTES of each log, and the ROUNDS of a loss that chance decides.
 */
#ifndef TESTS_UNIT_TIMELINE_HELP_H
#define TESTS_UNIT_TIMELINE_HELP_H

#include <criterion/criterion.h>

#include <string.h>

#include "kit/states.h"

/* Disks that are recorded. */
struct timeline {
	struct bcfmt_ctx *ctx; /* borrowed */
	struct bcfmt_recording *recording;
	struct bcfmt_dev *lower[N_DISKS];
	struct bcfmt_dev *log[N_DISKS];
	struct bcfmt_dev *dev[N_DISKS];
	struct states states[N_DISKS];
	uint32_t first, end; /* entries when it began and when it ended */
};

/* Borrows lower. */
static inline void timeline_begin(struct bcfmt_ctx *ctx, struct timeline *line,
				  struct bcfmt_dev *const lower[N_DISKS])
{
	memset(line, 0, sizeof(*line));
	line->ctx = ctx;
	cr_assert_eq(bcfmt_recording_new(line->ctx, &line->recording), BCFMT_OK);
	for (size_t i = 0; i < N_DISKS; i++) {
		line->lower[i] = lower[i];
		cr_assert_eq(bcfmt_dev_mem(line->ctx, "log", NULL, LOG_BYTES, &line->log[i]),
			     BCFMT_OK);
		cr_assert_eq(bcfmt_dev_recording(line->ctx, line->recording, lower[i], line->log[i],
						 &line->dev[i]),
			     BCFMT_OK);
	}
	line->first = bcfmt_recording_entries(line->recording);
}

static inline void timeline_end(struct timeline *line)
{
	line->end = bcfmt_recording_entries(line->recording);
	for (size_t i = 0; i < N_DISKS; i++)
		cr_assert(states_open_dev(&line->states[i], line->ctx, line->log[i],
					  bcfmt_dev_bytes(line->lower[i])));
}

static inline void timeline_free(struct timeline *line)
{
	for (size_t i = 0; i < N_DISKS; i++) {
		states_close(&line->states[i]);
		bcfmt_dev_free(line->dev[i]);
		bcfmt_dev_free(line->log[i]);
	}
	bcfmt_recording_free(line->recording);
}

typedef void (*moment_fn)(void *arg, const struct cut *cut, struct bcfmt_dev *const disks[N_DISKS]);

/* The disks as a cut leaves them, writable: what is written to them is lost afterwards. */
static inline void timeline_at(struct timeline *line, const struct cut *cut, moment_fn fn,
			       void *arg)
{
	struct bcfmt_dev *torn[N_DISKS], *disks[N_DISKS];

	for (size_t i = 0; i < N_DISKS; i++) {
		struct bcfmt_dev *state = states_make(&line->states[i], cut, &torn[i]);

		cr_assert_not_null(state);
		cr_assert_eq(bcfmt_dev_overlay(line->ctx, state, &disks[i]), BCFMT_OK);
	}
	fn(arg, cut, disks);
	for (size_t i = 0; i < N_DISKS; i++) {
		bcfmt_dev_free(disks[i]);
		bcfmt_dev_free(torn[i]);
	}
}

/* Every moment of a timeline and every way to lose what was not flushed. */
static inline unsigned int timeline_every_moment(struct timeline *line, moment_fn fn, void *arg)
{
	static const enum loss losses[] = { LOSE_NOTHING, LOSE_EVERYTHING, LOSE_SOME, LOSE_TORN };
	unsigned int moments = 0;

	for (uint32_t n = line->first; n <= line->end; n++) {
		for (size_t i = 0; i < N_DISKS; i++)
			cr_assert(states_advance(&line->states[i], n));
		for (size_t k = 0; k < 4; k++) {
			unsigned int rounds = losses[k] < LOSE_SOME ? 1 : ROUNDS;
			struct cut cut = { n, losses[k], 0 };
			uint32_t losable = 0;

			for (size_t i = 0; i < N_DISKS; i++)
				losable += states_losable(&line->states[i], &cut);
			for (; cut.round < rounds && (losable || cut.loss == LOSE_NOTHING);
			     cut.round++) {
				timeline_at(line, &cut, fn, arg);
				moments++;
			}
		}
	}
	return moments;
}

#endif
