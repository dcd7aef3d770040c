/* SPDX-License-Identifier: GPL-2.0-or-later */
/* A repair from its beginning to its end: overlays, the check, the plan, the rehearsal. */
#include <stdlib.h>
#include <string.h>

#include "repair/repair_impl.h"

static bcfmt_err no_memory(struct bcfmt_ctx *ctx)
{
	return bcfmt_fail(ctx, BCFMT_E_NOMEM, "out of memory for a repair");
}

static bcfmt_err put_overlays(struct bcfmt_repair_run *repair, struct bcfmt_dev *const *devs)
{
	for (size_t i = 0; i < repair->n_members; i++) {
		struct repair_member *member = &repair->members[i];
		struct bcfmt_dev *lower = devs[i];

		member->dev = devs[i];
		for (unsigned int phase = 0; phase < BCFMT_REPAIR_PHASES; phase++) {
			bcfmt_err err =
				bcfmt_dev_overlay(repair->ctx, lower, &member->phase[phase]);

			if (err)
				return err;
			lower = member->phase[phase];
		}
		repair->tops[i] = lower;
	}
	return BCFMT_OK;
}

static bcfmt_err make(struct bcfmt_ctx *ctx, size_t n_devs,
		      const struct bcfmt_repair_params *params, struct bcfmt_repair_run **out)
{
	struct bcfmt_repair_run *repair = calloc(1, sizeof(*repair));

	*out = repair;
	if (!repair)
		return no_memory(ctx);
	repair->ctx = ctx;
	repair->params = *params;
	if (repair->params.check.level < BCFMT_LEVEL_FULL)
		repair->params.check.level = BCFMT_LEVEL_FULL;
	repair->members = calloc(n_devs, sizeof(*repair->members));
	repair->tops = calloc(n_devs, sizeof(struct bcfmt_dev *));
	repair->roles = calloc(n_devs, sizeof(*repair->roles));
	if (!repair->members || !repair->tops || !repair->roles)
		return no_memory(ctx);
	repair->n_members = n_devs;
	for (size_t i = 0; i < n_devs; i++)
		repair->roles[i] = params->roles ? params->roles[i] : BCFMT_ROLE_AUTO;
	return BCFMT_OK;
}

static bcfmt_err open_set(struct bcfmt_repair_run *repair, uint64_t incarnation_seq,
			  struct bcfmt_set **set)
{
	struct bcfmt_set_params params = {
		.page_bytes = repair->params.page_bytes,
		.roles = repair->roles,
		.incarnation_seq = incarnation_seq,
		.is_shallow = repair->params.is_shallow,
	};

	return bcfmt_set_open(repair->ctx, repair->tops, repair->n_members, &params, set);
}

/* Of two histories the one that is asked for, or proved; without either as a kernel would. */
static bcfmt_err open_history(struct bcfmt_repair_run *repair)
{
	bcfmt_err err = open_set(repair, repair->params.incarnation_seq, &repair->set);
	const struct bcfmt_journal_histories *histories;

	if (err || repair->params.incarnation_seq)
		return err;
	histories = &repair->set->histories;
	if (!histories->is_found || !histories->is_proved)
		return BCFMT_OK;
	repair->params.incarnation_seq = histories->newer_seq;
	bcfmt_set_free(repair->set);
	repair->set = NULL;
	return open_set(repair, repair->params.incarnation_seq, &repair->set);
}

bcfmt_err bcfmt_repair_open(struct bcfmt_ctx *ctx, struct bcfmt_dev *const *devs, size_t n_devs,
			    const struct bcfmt_repair_params *params, struct bcfmt_repair_run **out)
{
	struct bcfmt_repair_run *repair;
	bcfmt_err err;

	*out = NULL;
	if (!n_devs)
		return bcfmt_fail(ctx, BCFMT_E_ARG, "no device given");
	err = make(ctx, n_devs, params, &repair);
	if (!err)
		err = put_overlays(repair, devs);
	if (!err)
		err = supers_stage(repair);
	if (!err)
		err = open_history(repair);
	if (!err)
		err = bcfmt_report_new(ctx, &repair->report);
	if (!err)
		err = bcfmt_check_run(repair->set, &repair->params.check, repair->report,
				      &repair->verdict, repair->stats, &repair->n_stats);
	if (!err)
		err = supers_report(repair);
	if (!err) {
		bcfmt_report_finish(repair->report);
		err = plan_make(repair);
	}
	if (err) {
		bcfmt_repair_free(repair);
		return err;
	}
	*out = repair;
	return BCFMT_OK;
}

void bcfmt_repair_free(struct bcfmt_repair_run *repair)
{
	if (!repair)
		return;
	for (size_t i = 0; i < repair->n_more; i++)
		bcfmt_report_free(repair->reports_more[i]);
	bcfmt_verdict_clear(&repair->verdict_after);
	bcfmt_report_free(repair->report_after);
	bcfmt_set_free(repair->set_after);
	bcfmt_verdict_clear(&repair->verdict);
	bcfmt_report_free(repair->report);
	bcfmt_set_free(repair->set);
	supers_free(repair);
	for (size_t i = 0; i < repair->n_members; i++)
		for (unsigned int phase = BCFMT_REPAIR_PHASES; phase-- > 0;)
			bcfmt_dev_free(repair->members[i].phase[phase]);
	vec_free(&repair->items);
	vec_free(&repair->room);
	orders_free(repair->orders);
	free(repair->members);
	free(repair->tops);
	free(repair->roles);
	free(repair);
}

struct repair_member *repair_cache(struct bcfmt_repair_run *repair)
{
	for (size_t i = 0; i < repair->n_members; i++)
		if (repair->tops[i] == repair->set->cache.dev)
			return &repair->members[i];
	return NULL;
}

/* What the last rehearsal asked for is written over what that one wrote. */
static bcfmt_err rehearse_more(struct bcfmt_repair_run *repair)
{
	bool is_written = false;
	bcfmt_err err;

	repair->result = BCFMT_REHEARSAL_REJECTED;
	err = supers_write(repair, &is_written);
	return err ? err : rehearse_check(repair);
}

bcfmt_err bcfmt_repair_rehearse(struct bcfmt_repair_run *repair, enum bcfmt_rehearsal *result)
{
	struct rewrite_params rewrite = { .edit = plan_edit, .edit_arg = repair };
	bool is_written = false, is_wanted;
	bcfmt_err err = BCFMT_OK;

	if (repair->result == BCFMT_REHEARSAL_MORE) {
		err = rehearse_more(repair);
		*result = repair->result;
		return err;
	}
	repair->result = BCFMT_REHEARSAL_REJECTED;
	/* All else is seen through the proposed superblocks. */
	if (!supers_are_agreed(repair, &is_written)) {
		plan_leave_all(repair, "done only together with all superblocks");
		*result = repair->result = BCFMT_REHEARSAL_NOTHING;
		return BCFMT_OK;
	}
	is_wanted = plan_wants_rewrite(repair);
	if (repair->orders)
		orders_fill(repair, &rewrite);
	if (is_wanted || orders_want_rewrite(repair->orders)) {
		err = rewrite_cache(repair, &rewrite);
		is_written = true;
	}
	if (!err)
		err = supers_write(repair, &is_written);
	/* What cannot be written is no failure of this run: the fault tells why. */
	if (err == BCFMT_E_UNSUPPORTED) {
		plan_leave_all(repair, "there is no place for what would have to be written");
		*result = repair->result;
		return BCFMT_OK;
	}
	if (!err && is_written)
		err = rehearse_check(repair);
	else if (!err)
		repair->result = BCFMT_REHEARSAL_NOTHING;
	*result = repair->result;
	return err;
}

const struct bcfmt_set *bcfmt_repair_set(const struct bcfmt_repair_run *repair)
{
	return repair->set;
}

const struct bcfmt_report *bcfmt_repair_report(const struct bcfmt_repair_run *repair)
{
	return repair->report;
}

const struct bcfmt_verdict *bcfmt_repair_verdict(const struct bcfmt_repair_run *repair)
{
	return &repair->verdict;
}

const struct bcfmt_pass_stat *bcfmt_repair_stats(const struct bcfmt_repair_run *repair,
						 size_t *n_stats)
{
	*n_stats = repair->n_stats;
	return repair->stats;
}

const struct bcfmt_repair_counts *bcfmt_repair_counts(const struct bcfmt_repair_run *repair)
{
	return &repair->counts;
}

const struct bcfmt_set *bcfmt_repair_set_after(const struct bcfmt_repair_run *repair)
{
	return repair->set_after;
}

const struct bcfmt_report *bcfmt_repair_report_after(const struct bcfmt_repair_run *repair)
{
	return repair->report_after;
}

const struct bcfmt_verdict *bcfmt_repair_verdict_after(const struct bcfmt_repair_run *repair)
{
	return repair->set_after ? &repair->verdict_after : NULL;
}

struct bcfmt_dev *bcfmt_repair_device(const struct bcfmt_repair_run *repair,
				      const struct bcfmt_member *member)
{
	for (size_t i = 0; i < repair->n_members; i++)
		if (repair->tops[i] == member->dev)
			return repair->members[i].dev;
	return NULL;
}
