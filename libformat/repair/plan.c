/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The plan: an item for every problem that was found and that has a repair. Metadata of the cache
 * has one repair for all its problems, which is to write it anew; so its items are done together or
 * not at all, but for keys that can also stay as they are.
 */
#include "repair/repair_impl.h"

/* Problems whose repair is a field of a superblock. */
static bool is_of_super(const struct bcfmt_problem *problem)
{
	return problem->repair == BCFMT_REPAIR_REWRITE_SUPER ||
	       problem->repair == BCFMT_REPAIR_SET_BACKING_STATE;
}

/* Keys that a new leaf can hold as well as the old one did: no other repair asks for their end. */
static bool is_optional(const struct bcfmt_problem *problem)
{
	switch (problem->id) {
	case BCFMT_P_EXTENT_STALE_DIRTY:
	case BCFMT_P_EXTENT_IN_METADATA:
	case BCFMT_P_EXTENT_TWICE:
	case BCFMT_P_EXTENT_PAST_DEVICE:
	case BCFMT_P_EXTENT_BEFORE_DATA:
	case BCFMT_P_BACKING_DIFFERS:
	case BCFMT_P_FREE_TOO_FEW:
	case BCFMT_P_JOURNAL_UNREADABLE:
	case BCFMT_P_UUID_DUPLICATE:
	case BCFMT_P_UUID_IMPLAUSIBLE:
	case BCFMT_P_UUID_VOLUME_EMPTY:
	case BCFMT_P_UUID_VOLUME_LARGE:
	case BCFMT_P_UUID_LEFT_FREE:
	case BCFMT_P_BACKING_NO_ENTRY:
	case BCFMT_P_BACKING_UNKNOWN:
		return true;
	default:
		return false;
	}
}

/*
 * A superblock that is seen as it is although it is wrong: nothing proves where the journal is, and
 * what is used. What would be written there might lie on what was not found, and a later repair
 * would take it for a proof of the layout.
 */
static bool has_doubtful_layout(const struct bcfmt_set *set)
{
	static const uint32_t harmless = BCFMT_SUPER_BAD_REPLACEMENT | BCFMT_SUPER_BAD_CACHE_MODE |
					 BCFMT_SUPER_OBSO_LARGE | BCFMT_SUPER_BLOCK_BELOW_DEVICE |
					 BCFMT_SUPER_BLOCK_ABOVE_PAGE |
					 BCFMT_SUPER_BUCKET_BELOW_PAGE;

	return (set->cache.faults & ~harmless) != 0;
}

/* Why no metadata can be written at all; NULL when it can. */
static const char *no_rewrite(const struct bcfmt_repair_run *repair)
{
	static const enum bcfmt_problem_id unknown[] = {
		BCFMT_P_SUPER_UNKNOWN_COMPAT,	BCFMT_P_SUPER_UNKNOWN_RO_COMPAT,
		BCFMT_P_SUPER_UNKNOWN_INCOMPAT, BCFMT_P_SET_SEVERAL_MEMBERS,
		BCFMT_P_SET_BIG_ENDIAN,
	};
	const struct bcfmt_set *set = repair->set;

	for (size_t i = 0; i < sizeof(unknown) / sizeof(unknown[0]); i++)
		if (bcfmt_report_total(repair->report, unknown[i]))
			return "nothing is written to a format that is not known";
	/* A superblock that is proposed anew may say that nothing is missing. */
	if (set->has_cache && set->cache.faults & BCFMT_SUPER_DEVICE_TOO_SMALL)
		return "the end of the device is missing: copy the whole of it back first";
	if (!set->has_cache)
		return "the cache device is not given";
	if (!set->has_geometry)
		return "nothing is known of the layout of the cache";
	if (has_doubtful_layout(set))
		return "the superblock of the cache is wrong, and nothing proves what is right: with"
		       " another layout the writes would hit other data";
	if (!set->has_tree)
		return "the journal has no entry, and nothing else of the set is found";
	if (set->histories.is_found && !repair->params.incarnation_seq)
		return "which of the two histories is the right one is not proved: name it with"
		       " --incarnation";
	return NULL;
}

/* Why an item cannot be done; NULL when it can. */
static const char *why_left(const struct bcfmt_repair_run *repair,
			    const struct bcfmt_problem *problem)
{
	if (problem->consent == BCFMT_CONSENT_NEVER)
		return problem->repair == BCFMT_REPAIR_ADOPT
			       ? "only with --adopt: the device may have been written since"
			       : "only by an option of its own";
	if (is_of_super(problem))
		return super_why_left(repair, problem);
	if (problem->id == BCFMT_P_JOURNAL_UNREADABLE)
		return "the disk cannot read there: copy it with ddrescue to another one";
	return no_rewrite(repair);
}

bcfmt_err plan_make(struct bcfmt_repair_run *repair)
{
	size_t n;
	const struct bcfmt_problem *table = bcfmt_problem_table(&n);

	for (size_t i = 0; i < n; i++) {
		uint64_t findings = bcfmt_report_total(repair->report, table[i].id);
		struct bcfmt_plan_item *item;

		if (!findings || table[i].repair == BCFMT_REPAIR_NONE)
			continue;
		item = vec_push(&repair->items, sizeof(*item));
		if (!item)
			return bcfmt_fail(repair->ctx, BCFMT_E_NOMEM, "out of memory for a plan");
		*item = (struct bcfmt_plan_item){ .problem = &table[i],
						  .findings = findings,
						  .why = why_left(repair, &table[i]) };
		item->state = item->why ? BCFMT_PLAN_LEFT : BCFMT_PLAN_OPEN;
	}
	return BCFMT_OK;
}

size_t bcfmt_repair_items(const struct bcfmt_repair_run *repair)
{
	return repair->items.n;
}

const struct bcfmt_plan_item *bcfmt_repair_item(const struct bcfmt_repair_run *repair, size_t i)
{
	return VEC_AT(&repair->items, const struct bcfmt_plan_item, i);
}

static struct bcfmt_plan_item *item_at(struct bcfmt_repair_run *repair, size_t i)
{
	return VEC_AT(&repair->items, struct bcfmt_plan_item, i);
}

bcfmt_err bcfmt_repair_agree(struct bcfmt_repair_run *repair, size_t i, bool is_agreed)
{
	if (i >= repair->items.n || item_at(repair, i)->state == BCFMT_PLAN_LEFT)
		return bcfmt_fail(repair->ctx, BCFMT_E_ARG, "no such item of the plan is open");
	item_at(repair, i)->state = is_agreed ? BCFMT_PLAN_AGREED : BCFMT_PLAN_REFUSED;
	return BCFMT_OK;
}

void bcfmt_repair_agree_all(struct bcfmt_repair_run *repair, enum bcfmt_consent most)
{
	for (size_t i = 0; i < repair->items.n; i++) {
		struct bcfmt_plan_item *item = item_at(repair, i);

		if (item->state == BCFMT_PLAN_OPEN && item->problem->consent <= most)
			item->state = BCFMT_PLAN_AGREED;
	}
}

bool plan_leave(struct bcfmt_repair_run *repair, enum bcfmt_problem_id id, const char *why)
{
	for (size_t i = 0; i < repair->items.n; i++) {
		struct bcfmt_plan_item *item = item_at(repair, i);

		if (item->problem->id != id || !is_optional(item->problem))
			continue;
		item->state = BCFMT_PLAN_LEFT;
		item->why = why;
		return true;
	}
	return false;
}

void plan_adopt(struct bcfmt_repair_run *repair, bool is_any)
{
	for (size_t i = 0; i < repair->items.n; i++) {
		struct bcfmt_plan_item *item = item_at(repair, i);

		if (item->problem->repair != BCFMT_REPAIR_ADOPT)
			continue;
		item->state = is_any ? BCFMT_PLAN_AGREED : BCFMT_PLAN_LEFT;
		item->why = is_any ? NULL
				   : "no older table of the cache proves whose the data is: say it"
				     " with --adopt INODE=UUID";
	}
}

bool plan_extend(struct bcfmt_repair_run *repair, const struct bcfmt_problem *problem,
		 uint64_t findings)
{
	struct bcfmt_plan_item *item;

	if (problem->repair != BCFMT_REPAIR_SET_BACKING_STATE ||
	    problem->consent == BCFMT_CONSENT_NEVER || super_why_left(repair, problem))
		return false;
	for (size_t i = 0; i < repair->items.n; i++) {
		item = item_at(repair, i);
		if (item->problem != problem)
			continue;
		item->findings += findings;
		return item->state == BCFMT_PLAN_AGREED;
	}
	item = vec_push(&repair->items, sizeof(*item));
	if (!item)
		return false;
	*item = (struct bcfmt_plan_item){ .problem = problem,
					  .findings = findings,
					  .state = BCFMT_PLAN_OPEN };
	return true;
}

bool plan_is_agreed(const struct bcfmt_repair_run *repair, enum bcfmt_problem_id id)
{
	for (size_t i = 0; i < repair->items.n; i++) {
		const struct bcfmt_plan_item *item = bcfmt_repair_item(repair, i);

		if (item->problem->id == id)
			return item->state == BCFMT_PLAN_AGREED;
	}
	return false;
}

bool plan_rebuilds_uuids(const struct bcfmt_repair_run *repair)
{
	for (size_t i = 0; i < repair->items.n; i++) {
		const struct bcfmt_plan_item *item = bcfmt_repair_item(repair, i);

		if (item->state == BCFMT_PLAN_AGREED &&
		    item->problem->repair == BCFMT_REPAIR_REBUILD_UUIDS)
			return true;
	}
	return false;
}

bool plan_needs_keys(const struct bcfmt_repair_run *repair)
{
	static const enum bcfmt_problem_id asking[] = {
		BCFMT_P_EXTENT_PAST_DEVICE, BCFMT_P_EXTENT_BEFORE_DATA, BCFMT_P_BACKING_DIFFERS,
		BCFMT_P_UUID_DUPLICATE,	    BCFMT_P_UUID_IMPLAUSIBLE,	BCFMT_P_UUID_VOLUME_EMPTY,
		BCFMT_P_UUID_VOLUME_LARGE,  BCFMT_P_UUID_LEFT_FREE,	BCFMT_P_BACKING_NO_ENTRY,
		BCFMT_P_BACKING_UNKNOWN,
	};

	for (size_t i = 0; i < sizeof(asking) / sizeof(asking[0]); i++)
		if (plan_is_agreed(repair, asking[i]))
			return true;
	return plan_rebuilds_uuids(repair);
}

bool plan_is_any_agreed(const struct bcfmt_repair_run *repair)
{
	for (size_t i = 0; i < repair->items.n; i++)
		if (bcfmt_repair_item(repair, i)->state == BCFMT_PLAN_AGREED)
			return true;
	return false;
}

bool plan_may_ask(const struct bcfmt_repair_run *repair)
{
	for (size_t i = 0; i < repair->items.n; i++) {
		const struct bcfmt_plan_item *item = bcfmt_repair_item(repair, i);

		if (item->state == BCFMT_PLAN_AGREED && item->problem->consent == BCFMT_CONSENT_ASK)
			return true;
	}
	return false;
}

void plan_leave_all(struct bcfmt_repair_run *repair, const char *why)
{
	for (size_t i = 0; i < repair->items.n; i++) {
		struct bcfmt_plan_item *item = item_at(repair, i);

		if (item->state != BCFMT_PLAN_AGREED)
			continue;
		item->state = BCFMT_PLAN_LEFT;
		item->why = why;
	}
}

/* Whether items of the metadata of the cache are agreed to, and whether some are not. */
static void sum_up(const struct bcfmt_repair_run *repair, bool *is_wanted, bool *is_blocked)
{
	*is_wanted = *is_blocked = false;
	for (size_t i = 0; i < repair->items.n; i++) {
		const struct bcfmt_plan_item *item = bcfmt_repair_item(repair, i);

		if (is_of_super(item->problem) || item->problem->consent == BCFMT_CONSENT_NEVER)
			continue;
		*is_wanted |= item->state == BCFMT_PLAN_AGREED;
		*is_blocked |= item->state != BCFMT_PLAN_AGREED && !is_optional(item->problem);
	}
}

const char *plan_why_no_rewrite(const struct bcfmt_repair_run *repair)
{
	bool is_wanted, is_blocked;

	sum_up(repair, &is_wanted, &is_blocked);
	if (is_blocked)
		return "the cache has problems that nobody agreed to repair, or that cannot be";
	return no_rewrite(repair);
}

bool plan_wants_rewrite(struct bcfmt_repair_run *repair)
{
	bool is_wanted, is_blocked;

	sum_up(repair, &is_wanted, &is_blocked);
	if (!is_wanted || !is_blocked)
		return is_wanted;
	for (size_t i = 0; i < repair->items.n; i++) {
		struct bcfmt_plan_item *item = item_at(repair, i);

		if (is_of_super(item->problem) || item->state != BCFMT_PLAN_AGREED)
			continue;
		item->state = BCFMT_PLAN_LEFT;
		item->why = "done only together with what was not agreed to";
	}
	return false;
}
