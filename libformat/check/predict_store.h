/* SPDX-License-Identifier: GPL-2.0-or-later */
/* How the events of a simulated registration are kept. */
#ifndef CHECK_PREDICT_STORE_H
#define CHECK_PREDICT_STORE_H

#include "check/predict.h"

/* So many of one kind, those that come first in order. */
#define PREDICT_KEPT 16u

/* Events with one pattern for their line, at one stage. */
struct predict_kind {
	enum bcfmt_stage stage;
	enum bcfmt_problem_id id;
	const char *function;
	const char *line;
	struct vec events; /* struct predict_event */
	bool has_more;	   /* than are kept: any values are possible */
	bool has_more_certain;
};

/*
 * The order in which events of one kind are kept: those that are met first, and among equals one
 * that does not hang on which thread came first.
 */
int predict_event_cmp(const struct predict_event *a, const struct predict_event *b);

#endif
