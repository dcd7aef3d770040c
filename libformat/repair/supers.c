/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Fields of superblocks that follow from the rest: states of backing devices, flags. */
#include <string.h>

#include "repair/repair_impl.h"

#define REPLACEMENT_MASK (7ull << 2)
#define CACHE_MODE_MASK 15ull
#define BDEV_STATE_SHIFT 61
#define BDEV_STATE_MASK (3ull << BDEV_STATE_SHIFT)

/* The finding names the device as it was opened for the check. */
static bool is_in(const struct bcfmt_report *report, enum bcfmt_problem_id id,
		  const struct bcfmt_member *member)
{
	for (size_t i = 0; i < bcfmt_report_count(report); i++) {
		const struct bcfmt_finding *finding = bcfmt_report_at(report, i);

		if (finding->problem->id == id &&
		    finding->where.device == bcfmt_dev_name(member->dev))
			return true;
	}
	return false;
}

/* In any report up to now; the last may not have been taken yet. */
static bool is_in_any(const struct bcfmt_repair_run *repair, enum bcfmt_problem_id id,
		      const struct bcfmt_member *member)
{
	bool is_found = is_in(repair->report, id, member) ||
			(repair->report_after && is_in(repair->report_after, id, member));

	for (size_t i = 0; !is_found && i < repair->n_more; i++)
		is_found = is_in(repair->reports_more[i], id, member);
	return is_found;
}

/*
 * A new checksum would call right all else that a wrong one speaks against, and that of too many
 * journal buckets, which is none.
 */
static bool is_unproved(const struct bcfmt_member *member)
{
	return (member->faults & (BCFMT_SUPER_BAD_CSUM | BCFMT_SUPER_MANY_JOURNAL)) != 0;
}

static bool is_of_unproved(const struct bcfmt_repair_run *repair, enum bcfmt_problem_id id)
{
	const struct bcfmt_set *set = repair->set;
	bool is_any =
		set->has_cache && is_unproved(&set->cache) && is_in_any(repair, id, &set->cache);

	for (size_t i = 0; !is_any && i < set->n_backing; i++)
		is_any = is_unproved(&set->backing[i]) && is_in_any(repair, id, &set->backing[i]);
	return is_any;
}

const char *super_why_left(const struct bcfmt_repair_run *repair,
			   const struct bcfmt_problem *problem)
{
	switch (problem->id) {
	case BCFMT_P_BACKING_CLEAN_DIRTY:
	case BCFMT_P_SUPER_BAD_REPLACEMENT:
	case BCFMT_P_SUPER_BAD_CACHE_MODE:
		if (is_of_unproved(repair, problem->id))
			return "the superblock has no right checksum either, and nothing proves what"
			       " is right";
		return NULL;
	default:
		return supers_why_left(repair, problem);
	}
}

static bool is_found_of(const struct bcfmt_repair_run *repair, enum bcfmt_problem_id id,
			const struct bcfmt_member *member)
{
	return is_in_any(repair, id, member) && plan_is_agreed(repair, id);
}

/* The flags that the member ought to have. */
static uint64_t flags_of(const struct bcfmt_repair_run *repair, const struct bcfmt_member *member)
{
	uint64_t flags = member->super.flags;

	if (is_found_of(repair, BCFMT_P_SUPER_BAD_REPLACEMENT, member))
		flags &= ~REPLACEMENT_MASK;
	if (is_found_of(repair, BCFMT_P_SUPER_BAD_CACHE_MODE, member))
		flags &= ~CACHE_MODE_MASK;
	if (is_found_of(repair, BCFMT_P_BACKING_CLEAN_DIRTY, member))
		flags = (flags & ~BDEV_STATE_MASK) | (uint64_t)BCFMT_BDEV_DIRTY << BDEV_STATE_SHIFT;
	return flags;
}

static bcfmt_err write_super(struct bcfmt_repair_run *repair, const struct bcfmt_member *member,
			     bool *is_written)
{
	struct bcfmt_super super = member->super;
	uint32_t tolerated = member->faults;

	super.flags = flags_of(repair, member);
	if (member != &repair->set->cache)
		orders_super(repair->orders, (size_t)(member - repair->set->backing), &super);
	if (is_unproved(member) ||
	    (super.flags == member->super.flags &&
	     !memcmp(super.set_uuid, member->super.set_uuid, sizeof(super.set_uuid))))
		return BCFMT_OK;
	if (!super.is_backing)
		super.seq++;
	*is_written = true;
	for (size_t i = 0; i < repair->n_members; i++)
		if (repair->tops[i] == member->dev)
			return bcfmt_super_write(repair->ctx,
						 repair->members[i].phase[PHASE_SUPERS], &super,
						 tolerated);
	return BCFMT_OK;
}

bcfmt_err supers_write(struct bcfmt_repair_run *repair, bool *is_written)
{
	const struct bcfmt_set *set = repair->set;
	bcfmt_err err = BCFMT_OK;

	if (set->has_cache)
		err = write_super(repair, &set->cache, is_written);
	for (size_t i = 0; !err && i < set->n_backing; i++)
		err = write_super(repair, &set->backing[i], is_written);
	return err;
}
