/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The rehearsal: the same check over the overlays, and whether its result may be committed. */
#include <inttypes.h>

#include "repair/repair_impl.h"

static bcfmt_err reject(struct bcfmt_repair_run *repair, const struct bcfmt_problem *problem,
			const char *what, uint64_t before, uint64_t after)
{
	repair->result = BCFMT_REHEARSAL_REJECTED;
	(void)bcfmt_fail(repair->ctx, BCFMT_E_DAMAGED,
			 "nothing is written: in the rehearsal BC%04d %s %s: %" PRIu64
			 " findings before, %" PRIu64 " after",
			 (int)problem->id, problem->slug, what, before, after);
	return BCFMT_OK;
}

/*
 * What was written shows that more is to be written, which only the plan may order: the report stays
 * to say where.
 */
static bool take_more(struct bcfmt_repair_run *repair)
{
	size_t n;
	const struct bcfmt_problem *table = bcfmt_problem_table(&n);
	bool is_more = false;

	for (size_t i = 0; repair->n_more < BCFMT_REHEARSALS_MORE_MAX && i < n; i++) {
		uint64_t after = bcfmt_report_total(repair->report_after, table[i].id);
		uint64_t before = bcfmt_report_total(repair->report, table[i].id);

		if (after && (after > before || plan_is_agreed(repair, table[i].id)) &&
		    !orders_expect(repair->orders, table[i].id))
			is_more |= plan_extend(repair, &table[i], after);
	}
	if (!is_more)
		return false;
	repair->reports_more[repair->n_more++] = repair->report_after;
	repair->report_after = NULL;
	return true;
}

/* Problems that were to be repaired are gone, and none has come. */
static bcfmt_err judge_findings(struct bcfmt_repair_run *repair)
{
	size_t n;
	const struct bcfmt_problem *table = bcfmt_problem_table(&n);

	for (size_t i = 0; i < n; i++) {
		uint64_t before = bcfmt_report_total(repair->report, table[i].id);
		uint64_t after = bcfmt_report_total(repair->report_after, table[i].id);

		if (table[i].severity == BCFMT_SEV_NOTE || !after)
			continue;
		/* Other devices may have data that nobody adopts. */
		if (plan_is_agreed(repair, table[i].id) && table[i].repair != BCFMT_REPAIR_ADOPT &&
		    (after > before ||
		     !plan_leave(repair, table[i].id, "what would be right is not known")))
			return reject(repair, &table[i], "is not repaired", before, after);
		if (after > before && !orders_expect(repair->orders, table[i].id))
			return reject(repair, &table[i], "has come", before, after);
	}
	return BCFMT_OK;
}

/* Problems that are left, and by which a kernel may rightly refuse the result. */
static bool is_any_left(const struct bcfmt_repair_run *repair)
{
	for (int severity = BCFMT_SEV_ERROR; severity <= BCFMT_SEV_FATAL; severity++)
		if (bcfmt_report_severity_total(repair->report_after,
						(enum bcfmt_severity)severity))
			return true;
	return false;
}

static bcfmt_err judge_verdict(struct bcfmt_repair_run *repair)
{
	const struct bcfmt_verdict *before = &repair->verdict, *after = &repair->verdict_after;

	if (after->registers == BCFMT_REGISTERS_YES)
		return BCFMT_OK;
	if (is_any_left(repair) && (before->registers != BCFMT_REGISTERS_YES))
		return BCFMT_OK;
	repair->result = BCFMT_REHEARSAL_REJECTED;
	(void)bcfmt_fail(repair->ctx, BCFMT_E_DAMAGED,
			 "nothing is written: in the rehearsal a kernel does not register the "
			 "result%s%s",
			 after->n_first_lines ? ": " : "",
			 after->n_first_lines ? after->first_lines[0] : "");
	return BCFMT_OK;
}

static bool has_proposals(const struct bcfmt_repair_run *repair)
{
	for (size_t i = 0; i < repair->n_members; i++)
		if (repair->members[i].proposal)
			return true;
	return false;
}

/* Of a rehearsal before. */
static void forget_after(struct bcfmt_repair_run *repair)
{
	bcfmt_verdict_clear(&repair->verdict_after);
	bcfmt_report_free(repair->report_after);
	bcfmt_set_free(repair->set_after);
	repair->report_after = NULL;
	repair->set_after = NULL;
}

bcfmt_err rehearse_check(struct bcfmt_repair_run *repair)
{
	struct bcfmt_set_params params = { .page_bytes = repair->params.page_bytes,
					   .roles = repair->roles,
					   .is_shallow = repair->params.is_shallow };
	bcfmt_err err;

	forget_after(repair);
	err = bcfmt_set_open(repair->ctx, repair->tops, repair->n_members, &params,
			     &repair->set_after);

	if (!err)
		err = bcfmt_report_new(repair->ctx, &repair->report_after);
	if (!err)
		err = bcfmt_check_run(repair->set_after, &repair->params.check,
				      repair->report_after, &repair->verdict_after, NULL, NULL);
	if (err)
		return err;
	bcfmt_report_finish(repair->report_after);
	if (take_more(repair)) {
		repair->result = BCFMT_REHEARSAL_MORE;
		return BCFMT_OK;
	}
	repair->result = BCFMT_REHEARSAL_READY;
	err = judge_findings(repair);
	if (!err && repair->result == BCFMT_REHEARSAL_READY)
		err = judge_verdict(repair);
	/* What was agreed to may all have turned out to be of no use. */
	if (!err && repair->result == BCFMT_REHEARSAL_READY && !repair->orders &&
	    !plan_is_any_agreed(repair) && !has_proposals(repair))
		repair->result = BCFMT_REHEARSAL_NOTHING;
	return err;
}
