/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Goes through the stages of a registration with the events that were collected: what a kernel
 * meets first, which lines tell of it, and how it ends. kernel: run_cache_set(),
 * bch_cache_set_error().
 */
#include <stdlib.h>
#include <string.h>

#include "check/check_impl.h"
#include "check/predict_store.h"

#define BIT(outcome) (1u << BCFMT_OUTCOME_##outcome)

/* An event as a certain kernel takes it. */
struct item {
	const struct predict_event *event;
	const char *pattern;
	unsigned int outcome; /* bit */
	enum bcfmt_effect effect;
	bool has_values;
	bool is_certain;
	uint64_t order;
};

struct evaluation {
	struct check *ck;
	struct bcfmt_prediction *out;
	struct item *items;
	size_t n_items;
	bool is_first_told; /* some line has come for certain: later ones are no first lines */
	bool is_failing;    /* the set is being shut down, but its registration may go on */
	bool goes_on;	    /*   and does for certain */
	bool is_late;	    /* or will be, once an error has come in */
	bool is_unknown;    /* not all that can happen is known */
	bool is_over;
};

static unsigned int outcome_of(enum bcfmt_effect effect)
{
	switch (effect) {
	case BCFMT_EFFECT_REFUSES_DEVICE:
		return BIT(REFUSES_DEVICE);
	case BCFMT_EFFECT_STOPS_SET:
		return BIT(STOPS_SET);
	case BCFMT_EFFECT_OOPS:
		return BIT(OOPS);
	case BCFMT_EFFECT_HANGS:
		return BIT(HANGS);
	case BCFMT_EFFECT_NONE:
	case BCFMT_EFFECT_WARNS:
	case BCFMT_EFFECT_NOT_ATTACHED:
	case BCFMT_EFFECT_SERVES_WRONG:
	case BCFMT_EFFECT_LOSES_WRITES:
		break;
	}
	return 0;
}

/* False when it is no event, or none that this kernel minds. */
static bool item_of(const struct evaluation *ev, const struct predict_event *event,
		    struct item *out)
{
	unsigned int kernel = ev->out->kernel;
	const struct bcfmt_kernel_effect *row = NULL;
	enum bcfmt_effect effect = event->effect;

	if (event->stale_ptr && !bcfmt_set_stale(ev->ck->set, event->stale_ptr))
		return false;
	if (event->id != BCFMT_P_NONE) {
		row = predict_row(event, kernel);
		if (!row)
			return false;
		if (!effect)
			effect = row->effect;
	}
	*out = (struct item){ .event = event,
			      .outcome = outcome_of(effect),
			      .effect = effect,
			      .pattern = row	       ? row->line
					 : event->line ? event->line
						       : "",
			      .has_values = true,
			      .is_certain = !event->is_possible,
			      .order = event->order };
	return out->outcome || event->is_end_of_knowledge;
}

/* A set that was never used is made anew: nothing on it is looked at. */
static bool is_skipped(const struct check *ck, enum bcfmt_stage stage)
{
	return !(ck->set->cache.super.flags & BCFMT_SUPER_FLAG_SYNC) &&
	       ((stage >= BCFMT_STAGE_JOURNAL && stage <= BCFMT_STAGE_MARK) ||
		stage == BCFMT_STAGE_REPLAY);
}

static bool is_one_group(const struct item *a, const struct item *b)
{
	return a->event->stage == b->event->stage && a->order == b->order;
}

/* By stage and order; the rest only makes the output the same every time. */
static int item_cmp(const void *a, const void *b)
{
	const struct item *x = a, *y = b;
	int order;

	if (x->event->stage != y->event->stage)
		return x->event->stage < y->event->stage ? -1 : 1;
	if (x->order != y->order)
		return x->order < y->order ? -1 : 1;
	order = strcmp(x->pattern, y->pattern);
	if (!order && x->has_values != y->has_values)
		order = x->has_values ? -1 : 1;
	return order ? order : predict_event_cmp(x->event, y->event);
}

static void take_kind(struct evaluation *ev, const struct predict_kind *kind)
{
	const struct predict_event *last = NULL;
	struct item *item;

	for (size_t i = 0; i < kind->events.n; i++) {
		const struct predict_event *event = VEC_AT(&kind->events, struct predict_event, i);

		if (!last || event->order > last->order)
			last = event;
		if (item_of(ev, event, &ev->items[ev->n_items]))
			ev->n_items++;
	}
	/* Of more than are kept any may be the one. */
	item = &ev->items[ev->n_items];
	if (kind->has_more && last && item_of(ev, last, item)) {
		item->has_values = false;
		item->is_certain = kind->has_more_certain;
		ev->n_items++;
	}
}

static bcfmt_err take_items(struct evaluation *ev)
{
	const struct predict *predict = ev->ck->predict;
	size_t most = 1;

	for (size_t i = 0; i < predict->kinds.n; i++)
		most += VEC_AT(&predict->kinds, struct predict_kind, i)->events.n + 1;
	ev->items = calloc(most, sizeof(*ev->items));
	if (!ev->items)
		return BCFMT_E_NOMEM;
	for (size_t i = 0; i < predict->kinds.n; i++) {
		const struct predict_kind *kind = VEC_AT(&predict->kinds, struct predict_kind, i);

		if (!is_skipped(ev->ck, kind->stage))
			take_kind(ev, kind);
	}
	if (ev->n_items > 1)
		qsort(ev->items, ev->n_items, sizeof(*ev->items), item_cmp);
	return BCFMT_OK;
}

/* A node above this one is one that ends the descent for certain. */
static bool is_hidden(const struct evaluation *ev, const struct item *item)
{
	const struct predict_event *event = item->event;

	if (!event->has_node)
		return false;
	for (size_t i = 0; i < ev->n_items; i++) {
		const struct predict_event *above = ev->items[i].event;

		if (ev->items[i].is_certain && above->hides_below && above->stage == event->stage &&
		    above->level > event->level && bcfmt_pos_cmp(above->lo, event->lo) <= 0 &&
		    bcfmt_pos_cmp(event->hi, above->hi) <= 0)
			return true;
	}
	return false;
}

static enum bcfmt_outcome gravest(unsigned int outcomes)
{
	static const enum bcfmt_outcome by_weight[] = {
		BCFMT_OUTCOME_OOPS,
		BCFMT_OUTCOME_HANGS,
		BCFMT_OUTCOME_STOPS_SET,
		BCFMT_OUTCOME_REFUSES_DEVICE,
	};

	for (size_t i = 0; i < sizeof(by_weight) / sizeof(by_weight[0]); i++)
		if (outcomes & 1u << by_weight[i])
			return by_weight[i];
	return BCFMT_OUTCOME_UNKNOWN;
}

/* Events that can happen in any order among each other. */
static bcfmt_err take_group(struct evaluation *ev, size_t begin, size_t end)
{
	struct bcfmt_prediction *out = ev->out;
	unsigned int certain = 0;
	bool ends = false, may_stop = false, is_late = false;
	bcfmt_err err = BCFMT_OK;

	for (size_t i = begin; !err && i < end; i++) {
		const struct item *item = &ev->items[i];

		if (item->event->stage == BCFMT_STAGE_RUNNING) {
			if (!ev->is_failing)
				predict_effect(out, item->effect, item->event->id);
			continue;
		}
		if (is_hidden(ev, item))
			continue;
		if (item->event->is_end_of_knowledge) {
			ev->is_unknown = true;
			continue;
		}
		/* A set that fails already says no more, but it can still do worse. */
		if (ev->is_failing && item->outcome == BIT(STOPS_SET)) {
			ends |= item->is_certain && item->event->flow == PREDICT_FLOW_ENDS;
			continue;
		}
		if (!out->outcomes && !ev->is_unknown && !ev->is_failing && !ev->is_late)
			out->stage = item->event->stage;
		out->outcomes |= item->outcome;
		if (!ev->is_first_told)
			err = predict_line(out->first_lines, &out->n_first_lines,
					   BCFMT_PREDICTION_LINES, item->pattern,
					   item->has_values ? item->event : NULL);
		may_stop |=
			item->outcome == BIT(STOPS_SET) && item->event->flow == PREDICT_FLOW_ENDS;
		if (!item->is_certain)
			continue;
		certain |= item->outcome;
		is_late |= item->event->is_late;
		ends |= item->event->flow == PREDICT_FLOW_ENDS && !item->event->is_late;
		ev->goes_on |= item->event->flow == PREDICT_FLOW_GOES_ON;
	}
	if (err)
		return err;
	if (certain && (!ev->is_failing || certain & ~BIT(STOPS_SET)))
		out->outcome = gravest(certain);
	/* The allocator has been started by then, and may be on its way to take a bucket. */
	if (may_stop && ev->items[begin].event->stage >= BCFMT_STAGE_REPLAY)
		out->outcomes |= BIT(OOPS);
	/* A cache that comes before its devices is registered by then. */
	if (ev->items[begin].event->stage == BCFMT_STAGE_ATTACH && !ev->is_failing)
		out->outcomes |= BIT(REGISTERS);
	ev->is_late |= is_late;
	ev->is_first_told |= certain && !is_late;
	ev->is_failing |= certain && !is_late;
	ev->is_over = ends;
	return BCFMT_OK;
}

/* Buckets enough, beyond doubt, for the allocator to collect a batch and to write the prios. */
static bool has_batch(const struct check *ck)
{
	const struct bcfmt_geometry *geo = &ck->set->geo;

	return ck->predict->free_buckets > bcfmt_geometry_prio_buckets(geo) +
						   2 * BCFMT_SUPER_JOURNAL_MAX +
						   2 * predict_batch_buckets(geo);
}

/*
 * An error that does not end the registration reaches the allocator, which gets no bucket for the
 * prios then and ends with a BUG, holding a lock. kernel: bch_bucket_alloc(), bch_prio_write().
 */
static void take_allocator(struct evaluation *ev)
{
	if (!ev->is_failing && !ev->is_late)
		return;
	ev->out->outcomes |= BIT(OOPS);
	/* Rarely the set is gone before the allocator comes that far. */
	if (ev->goes_on && has_batch(ev->ck))
		ev->out->outcome = BCFMT_OUTCOME_OOPS;
}

static bcfmt_err take_stages(struct evaluation *ev)
{
	size_t begin = 0;
	bool is_started = false;
	bcfmt_err err = BCFMT_OK;

	while (!err && !ev->is_over && begin < ev->n_items) {
		const struct item *first = &ev->items[begin];
		size_t end = begin + 1;

		if (first->event->stage > BCFMT_STAGE_MARK && !is_started) {
			is_started = true;
			take_allocator(ev);
		}
		while (end < ev->n_items && is_one_group(first, &ev->items[end]))
			end++;
		err = take_group(ev, begin, end);
		begin = end;
	}
	if (!ev->is_over && !is_started)
		take_allocator(ev);
	return err;
}

/* What is always printed behind a failure of a stage. */
static const char *follow_line(enum bcfmt_stage stage)
{
	switch (stage) {
	case BCFMT_STAGE_PRIOS:
		return "IO error reading priorities";
	case BCFMT_STAGE_REPLAY:
		return "bcache: replay journal failed";
	default:
		return "";
	}
}

static bcfmt_err add_follows(struct evaluation *ev)
{
	struct bcfmt_prediction *out = ev->out;
	bcfmt_err err = BCFMT_OK;

	if (out->outcomes & BIT(REFUSES_DEVICE))
		return BCFMT_OK;
	if (out->outcomes & BIT(STOPS_SET)) {
		err = predict_line(out->follow_lines, &out->n_follow_lines,
				   BCFMT_PREDICTION_FOLLOWS, follow_line(out->stage), NULL);
		if (!err && ev->is_over)
			err = predict_line(out->follow_lines, &out->n_follow_lines,
					   BCFMT_PREDICTION_FOLLOWS, "failed to register device",
					   NULL);
		if (!err)
			err = predict_line(out->follow_lines, &out->n_follow_lines,
					   BCFMT_PREDICTION_FOLLOWS, "Cache set %pU unregistered",
					   NULL);
	}
	return err;
}

void predict_settle(struct bcfmt_prediction *out)
{
	unsigned int running = BIT(REGISTERS) | BIT(UNCACHED) | BIT(WAITS);

	if (!(out->outcomes & running))
		out->registers = BCFMT_REGISTERS_NO;
	else if (!(out->outcomes & ~running))
		out->registers = BCFMT_REGISTERS_YES;
	else
		out->registers = BCFMT_REGISTERS_UNKNOWN;
	/* Of several ways not to register the one that is told is the usual one. */
	if (out->registers == BCFMT_REGISTERS_NO && out->outcome)
		return;
	out->outcome = BCFMT_OUTCOME_UNKNOWN;
	for (unsigned int i = 0; i <= BCFMT_OUTCOME_HANGS; i++)
		if (out->outcomes == 1u << i)
			out->outcome = (enum bcfmt_outcome)i;
	if (out->registers == BCFMT_REGISTERS_NO && !out->outcome)
		out->outcome = gravest(out->outcomes);
}

/* What harms data of a set that registers; what harms the kernel are events. */
static void add_effects(const struct check *ck, struct bcfmt_prediction *out)
{
	size_t n;
	const struct bcfmt_kernel_effect *rows = bcfmt_kernel_effect_table(&n);

	if (!(out->outcomes & BIT(REGISTERS)))
		return;
	for (size_t i = 0; i < n; i++) {
		bool is_harm = rows[i].effect == BCFMT_EFFECT_SERVES_WRONG ||
			       rows[i].effect == BCFMT_EFFECT_LOSES_WRITES;

		/* A finding on a backing device is that device's. */
		if (is_harm && ck->on_cache[rows[i].id] && predict_is_meant(&rows[i], out->kernel))
			predict_effect(out, rows[i].effect, rows[i].id);
	}
}

bcfmt_err predict_evaluate(struct check *ck, struct bcfmt_prediction *out)
{
	struct evaluation ev = { .ck = ck, .out = out };
	bcfmt_err err = take_items(&ev);

	out->stage = BCFMT_STAGE_RUNNING;
	if (!err)
		err = take_stages(&ev);
	free(ev.items);
	if (err)
		return err;
	if (ev.is_unknown)
		out->outcomes |= BIT(UNKNOWN);
	if (!ev.is_over)
		out->outcomes |= ev.is_failing || ev.is_late ? BIT(STOPS_SET) : BIT(REGISTERS);
	/* An oops or a hang for certain leaves the error before it without consequence. */
	if (out->stage == BCFMT_STAGE_RUNNING && ev.is_unknown)
		out->stage = BCFMT_STAGE_TREE;
	predict_settle(out);
	add_effects(ck, out);
	return add_follows(&ev);
}
