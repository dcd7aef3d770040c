/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Events of a simulated registration: keeping them, and the lines that a kernel prints for them. */
#include "check/predict.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "check/check_impl.h"
#include "check/predict_store.h"

static struct predict_kind *kind_of(struct predict *predict, const struct predict_event *event)
{
	struct predict_kind *kind;

	for (size_t i = 0; i < predict->kinds.n; i++) {
		kind = VEC_AT(&predict->kinds, struct predict_kind, i);
		if (kind->stage == event->stage && kind->id == event->id &&
		    kind->function == event->function && kind->line == event->line)
			return kind;
	}
	kind = vec_push(&predict->kinds, sizeof(*kind));
	if (!kind)
		return NULL;
	memset(kind, 0, sizeof(*kind));
	kind->stage = event->stage;
	kind->id = event->id;
	kind->function = event->function;
	kind->line = event->line;
	return kind;
}

static size_t values_bytes(const struct predict_event *event)
{
	const char *at = event->values;

	for (unsigned int i = 0; i < event->n_values; i++)
		at += strlen(at) + 1;
	return (size_t)(at - event->values);
}

int predict_event_cmp(const struct predict_event *a, const struct predict_event *b)
{
	size_t a_bytes = values_bytes(a), b_bytes = values_bytes(b);
	int order;

	if (a->order != b->order)
		return a->order < b->order ? -1 : 1;
	/* What hides others must not be lost. */
	if (a->has_node && b->has_node && a->level != b->level)
		return a->level > b->level ? -1 : 1;
	if (a->is_possible != b->is_possible)
		return a->is_possible ? 1 : -1;
	if (a->has_node && b->has_node) {
		order = bcfmt_pos_cmp(a->lo, b->lo);
		if (!order)
			order = bcfmt_pos_cmp(a->hi, b->hi);
		if (order)
			return order;
	}
	order = memcmp(a->values, b->values, a_bytes < b_bytes ? a_bytes : b_bytes);
	return order ? order : (a_bytes > b_bytes) - (a_bytes < b_bytes);
}

static bcfmt_err keep(struct predict_kind *kind, const struct predict_event *event)
{
	struct predict_event *slot, *last = NULL;

	for (size_t i = 0; i < kind->events.n; i++) {
		slot = VEC_AT(&kind->events, struct predict_event, i);
		if (!predict_event_cmp(slot, event))
			return BCFMT_OK;
		if (!last || predict_event_cmp(slot, last) > 0)
			last = slot;
	}
	if (kind->events.n < PREDICT_KEPT) {
		slot = vec_push(&kind->events, sizeof(*slot));
		if (!slot)
			return BCFMT_E_NOMEM;
		*slot = *event;
		return BCFMT_OK;
	}
	kind->has_more = true;
	if (predict_event_cmp(event, last) < 0) {
		kind->has_more_certain |= !last->is_possible;
		*last = *event;
	} else {
		kind->has_more_certain |= !event->is_possible;
	}
	return BCFMT_OK;
}

bcfmt_err predict_add(struct check *ck, const struct predict_event *event)
{
	struct predict_kind *kind;
	bcfmt_err err;

	pthread_mutex_lock(&ck->lock);
	kind = kind_of(ck->predict, event);
	err = kind ? keep(kind, event) : BCFMT_E_NOMEM;
	pthread_mutex_unlock(&ck->lock);
	return err;
}

void predict_value(struct predict_event *event, const char *text)
{
	size_t at = values_bytes(event), n = strlen(text);

	if (event->n_values == PREDICT_VALUES || n + 1 > sizeof(event->values) - at)
		return;
	memcpy(event->values + at, text, n + 1);
	event->n_values++;
}

void predict_value_u64(struct predict_event *event, uint64_t value)
{
	char text[24];

	snprintf(text, sizeof(text), "%" PRIu64, value);
	predict_value(event, text);
}

void predict_forget_leaves(struct check *ck)
{
	for (size_t i = 0; i < ck->predict->kinds.n; i++) {
		struct predict_kind *kind = VEC_AT(&ck->predict->kinds, struct predict_kind, i);
		size_t n = 0;

		for (size_t j = 0; j < kind->events.n; j++) {
			struct predict_event *event =
				VEC_AT(&kind->events, struct predict_event, j);

			if (!event->is_of_leaf)
				*VEC_AT(&kind->events, struct predict_event, n++) = *event;
		}
		/* A kind is of leaves altogether or not at all. */
		if (n < kind->events.n)
			kind->has_more = kind->has_more_certain = false;
		kind->events.n = n;
	}
}

/* ---- rows and lines ---- */

bool predict_is_meant(const struct bcfmt_kernel_effect *row, unsigned int kernel)
{
	return kernel >= row->since && (!row->until || kernel < row->until);
}

const struct bcfmt_kernel_effect *predict_row(const struct predict_event *event,
					      unsigned int kernel)
{
	size_t n;
	const struct bcfmt_kernel_effect *rows = bcfmt_kernel_effect_table(&n);

	for (size_t i = 0; i < n; i++)
		if (rows[i].id == event->id && predict_is_meant(&rows[i], kernel) &&
		    (!event->function || !strcmp(event->function, rows[i].function)))
			return &rows[i];
	return NULL;
}

/* Length of a conversion of the kernel's printk at its '%', 0 when it is none. */
static size_t conversion_length(const char *at)
{
	size_t n = 1 + strspn(at + 1, "0123456789lzh");

	if (at[n] == 'p')
		return n + 1 + (at[n + 1] == 'g' || at[n + 1] == 'U');
	return at[n] && strchr("diuxs", at[n]) ? n + 1 : 0;
}

bcfmt_err predict_line(char **lines, size_t *n, size_t max, const char *pattern,
		       const struct predict_event *event)
{
	const char *value = event ? event->values : NULL;
	unsigned int left = event ? event->n_values : 0;
	char text[512];
	size_t at = 0;

	if (!*pattern || *n == max)
		return BCFMT_OK;
	while (*pattern && at + 1 < sizeof(text)) {
		size_t skip = *pattern == '%' ? conversion_length(pattern) : 0;

		if (skip && left) {
			int put = snprintf(text + at, sizeof(text) - at, "%s", value);

			at += (size_t)put < sizeof(text) - at ? (size_t)put : sizeof(text) - at - 1;
			value += strlen(value) + 1;
			left--;
			pattern += skip;
		} else {
			text[at++] = *pattern++;
		}
	}
	text[at] = '\0';
	for (size_t i = 0; i < *n; i++)
		if (!strcmp(lines[i], text))
			return BCFMT_OK;
	lines[*n] = strdup(text);
	if (!lines[*n])
		return BCFMT_E_NOMEM;
	(*n)++;
	return BCFMT_OK;
}

void predict_effect(struct bcfmt_prediction *out, enum bcfmt_effect effect,
		    enum bcfmt_problem_id id)
{
	for (size_t i = 0; i < out->n_effects; i++)
		if (out->effects[i].effect == effect && out->effects[i].id == id)
			return;
	if (out->n_effects < BCFMT_PREDICTION_EFFECTS)
		out->effects[out->n_effects++] = (struct bcfmt_prediction_effect){ effect, id };
}

const char *bcfmt_stage_name(enum bcfmt_stage stage)
{
	static const char *const names[] = {
		[BCFMT_STAGE_SUPER] = "superblock",	 [BCFMT_STAGE_ALLOC] = "allocation",
		[BCFMT_STAGE_JOURNAL] = "journal",	 [BCFMT_STAGE_PRIOS] = "prios",
		[BCFMT_STAGE_ROOT_PTR] = "root-pointer", [BCFMT_STAGE_ROOT] = "root",
		[BCFMT_STAGE_UUIDS] = "uuids",		 [BCFMT_STAGE_TREE] = "tree",
		[BCFMT_STAGE_MARK] = "journal-marks",	 [BCFMT_STAGE_START] = "start",
		[BCFMT_STAGE_REPLAY] = "replay",	 [BCFMT_STAGE_ATTACH] = "attach",
		[BCFMT_STAGE_RUNNING] = "running",
	};

	return (size_t)stage < sizeof(names) / sizeof(names[0]) ? names[stage] : "unknown";
}

const char *bcfmt_outcome_name(enum bcfmt_outcome outcome)
{
	static const char *const names[] = {
		[BCFMT_OUTCOME_UNKNOWN] = "unknown",
		[BCFMT_OUTCOME_REGISTERS] = "registers",
		[BCFMT_OUTCOME_UNCACHED] = "uncached",
		[BCFMT_OUTCOME_WAITS] = "waits",
		[BCFMT_OUTCOME_REFUSES_DEVICE] = "refuses-device",
		[BCFMT_OUTCOME_STOPS_SET] = "stops-set",
		[BCFMT_OUTCOME_OOPS] = "oops",
		[BCFMT_OUTCOME_HANGS] = "hangs",
	};

	return (size_t)outcome < sizeof(names) / sizeof(names[0]) ? names[outcome] : "unknown";
}
