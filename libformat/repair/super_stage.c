/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Superblocks that no kernel takes are proposed anew in the overlays before anything else is
 * looked at, so that the set can be opened at all. The plan holds what was wrong with them as they
 * are; without consent to that, nothing that was built upon the proposals is written.
 */
#include <stdlib.h>

#include "read/read.h"
#include "repair/repair_impl.h"
#include "repair/super_find.h"
#include "set/layout_find.h"

/* Faults of the machine or of the format, and those that are one bit of the flags. */
#define FAULTS_LEFT                                                                 \
	((uint32_t)(BCFMT_SUPER_BLOCK_BELOW_DEVICE | BCFMT_SUPER_BLOCK_ABOVE_PAGE | \
		    BCFMT_SUPER_BUCKET_BELOW_PAGE | BCFMT_SUPER_OBSO_LARGE |        \
		    BCFMT_SUPER_BAD_REPLACEMENT | BCFMT_SUPER_BAD_CACHE_MODE))

/* What a member is taken for, and whether its superblock has to be looked at. */
struct staged {
	enum bcfmt_role role; /* AUTO: not known */
	bool is_bad;
};

static struct staged stage_of(const struct bcfmt_repair_run *repair, size_t i)
{
	struct bcfmt_dev *dev = repair->tops[i];
	struct staged staged = { .role = repair->roles[i] };
	struct bcfmt_super super;
	bool is_readable = super_read(dev, &super);
	uint32_t page_bytes = repair->params.page_bytes ? repair->params.page_bytes : 4096;
	uint32_t faults;

	if (staged.role == BCFMT_ROLE_AUTO) {
		faults = bcfmt_super_faults(&super, bcfmt_dev_bytes(dev), 0, page_bytes);
		if (!is_readable || faults & (BCFMT_SUPER_BAD_MAGIC | BCFMT_SUPER_BAD_VERSION))
			return staged;
		staged.role = super.is_backing ? BCFMT_ROLE_BACKING : BCFMT_ROLE_CACHE;
	}
	if (super.is_backing != (staged.role == BCFMT_ROLE_BACKING)) {
		staged.is_bad = true;
		return staged;
	}
	faults = bcfmt_super_faults(&super, bcfmt_dev_bytes(dev),
				    bcfmt_dev_logical_block_bytes(dev), page_bytes);
	/* In use, and yet marked as never used. */
	staged.is_bad = !is_readable || faults & ~FAULTS_LEFT ||
			(staged.role == BCFMT_ROLE_CACHE && super.keys &&
			 !(super.flags & BCFMT_SUPER_FLAG_SYNC));
	return staged;
}

/* A superblock that breaks no rule, and yet something is not where it says. */
static bcfmt_err doubt(struct bcfmt_repair_run *repair, size_t i, bool *is_doubtful)
{
	char why[LAYOUT_TEXT_BYTES];
	struct layout layout = { 0 };
	struct bcfmt_super super;
	bcfmt_err err;

	if (!super_read(repair->tops[i], &super) || !(super.flags & BCFMT_SUPER_FLAG_SYNC))
		return BCFMT_OK;
	err = layout_verify(repair->ctx, repair->tops[i], &super, &layout, why);
	if (err && err != BCFMT_END)
		return err;
	/* Of several caches every journal entry would tell. */
	*is_doubtful = err || !layout_is_complete(&layout) || layout.stray_entries ||
		       (super.nr_in_set > 1 && !super.nr_this_dev);
	return BCFMT_OK;
}

/* What is wrong with the superblocks as they are. */
static bcfmt_err check_as_they_are(struct bcfmt_repair_run *repair)
{
	struct bcfmt_set_params params = { .page_bytes = repair->params.page_bytes,
					   .roles = repair->roles };
	struct bcfmt_check_params check = repair->params.check;
	struct bcfmt_verdict verdict = { 0 };
	struct bcfmt_set *set = NULL;
	bcfmt_err err = bcfmt_set_open(repair->ctx, repair->tops, repair->n_members, &params, &set);

	check.level = BCFMT_LEVEL_QUICK;
	if (!err)
		err = bcfmt_report_new(repair->ctx, &repair->report_supers);
	if (!err)
		err = bcfmt_check_run(set, &check, repair->report_supers, &verdict, NULL, NULL);
	if (!err)
		bcfmt_report_finish(repair->report_supers);
	bcfmt_verdict_clear(&verdict);
	bcfmt_set_free(set);
	return err;
}

/* The check of the superblocks as they are tells of this one. */
static bool is_told(const struct bcfmt_repair_run *repair, size_t i)
{
	const struct bcfmt_report *found = repair->report_supers;

	for (size_t k = 0; k < bcfmt_report_count(found); k++) {
		const struct bcfmt_finding *finding = bcfmt_report_at(found, k);

		if (finding->problem->repair == BCFMT_REPAIR_REWRITE_SUPER &&
		    finding->where.device == bcfmt_dev_name(repair->tops[i]))
			return true;
	}
	return false;
}

static bcfmt_err propose(struct bcfmt_repair_run *repair, size_t i, enum bcfmt_role role)
{
	struct layout_difference differ[LAYOUT_DIFFERENCES];
	struct repair_member *member = &repair->members[i];
	struct bcfmt_dev **partners = calloc(repair->n_members, sizeof(*partners));
	size_t n = 0;
	bcfmt_err err;

	member->proposal = malloc(sizeof(*member->proposal));
	if (!partners || !member->proposal) {
		free(partners);
		return bcfmt_fail(repair->ctx, BCFMT_E_NOMEM, "out of memory for a superblock");
	}
	for (size_t k = 0; k < repair->n_members; k++)
		if (k != i)
			partners[n++] = repair->tops[k];
	err = (role == BCFMT_ROLE_CACHE ? repair_super_cache : repair_super_backing)(
		repair->ctx, repair->tops[i], partners, n, member->proposal);
	free(partners);
	if (err || member->proposal->outcome != SUPER_PROPOSED)
		return err;
	super_read(repair->tops[i], &member->stored);
	/* What cannot be told of, nobody can agree to. */
	if (!is_told(repair, i) &&
	    !layout_differences(&member->stored, &member->proposal->super, differ)) {
		member->proposal->outcome = SUPER_SOUND;
		return BCFMT_OK;
	}
	return bcfmt_dev_write(member->phase[PHASE_SUPERS], BCFMT_SUPER_OFFSET_BYTES,
			       member->proposal->raw, sizeof(member->proposal->raw));
}

bcfmt_err supers_stage(struct bcfmt_repair_run *repair)
{
	static const enum bcfmt_role order[] = { BCFMT_ROLE_CACHE, BCFMT_ROLE_BACKING };
	struct staged *staged = calloc(repair->n_members, sizeof(*staged));
	bool is_any_bad = false;
	bcfmt_err err = BCFMT_OK;

	if (!staged)
		return bcfmt_fail(repair->ctx, BCFMT_E_NOMEM, "out of memory for a repair");
	for (size_t i = 0; i < repair->n_members; i++)
		staged[i] = stage_of(repair, i);
	for (size_t i = 0; !err && i < repair->n_members; i++)
		if (staged[i].role == BCFMT_ROLE_CACHE && !staged[i].is_bad)
			err = doubt(repair, i, &staged[i].is_bad);
	for (size_t i = 0; i < repair->n_members; i++)
		is_any_bad = is_any_bad || staged[i].is_bad;
	if (!err && is_any_bad)
		err = check_as_they_are(repair);
	/* Of a backing device only its cache can tell. */
	for (size_t pass = 0; pass < 2; pass++)
		for (size_t i = 0; !err && i < repair->n_members; i++)
			if (staged[i].is_bad && staged[i].role == order[pass])
				err = propose(repair, i, order[pass]);
	free(staged);
	return err;
}

void supers_free(struct bcfmt_repair_run *repair)
{
	for (size_t i = 0; i < repair->n_members; i++)
		free(repair->members[i].proposal);
	bcfmt_report_free(repair->report_supers);
}

static const struct repair_member *member_named(const struct bcfmt_repair_run *repair,
						const char *name)
{
	for (size_t i = 0; name && i < repair->n_members; i++)
		if (bcfmt_dev_name(repair->tops[i]) == name)
			return &repair->members[i];
	return NULL;
}

static bool is_proposed(const struct repair_member *member)
{
	return member && member->proposal && member->proposal->outcome == SUPER_PROPOSED;
}

/* Of a superblock, and a new one mends it. */
static bool is_mended(const struct bcfmt_repair_run *repair, const struct bcfmt_finding *finding)
{
	return finding->problem->repair == BCFMT_REPAIR_REWRITE_SUPER &&
	       is_proposed(member_named(repair, finding->where.device));
}

/* Of a superblock that breaks no rule, with which structures are not found that are with another. */
static bcfmt_err report_contradictions(struct bcfmt_repair_run *repair, size_t i)
{
	const struct repair_member *member = &repair->members[i];
	struct layout_difference differ[LAYOUT_DIFFERENCES];
	struct bcfmt_where where = BCFMT_WHERE_INIT;
	size_t n = layout_differences(&member->stored, &member->proposal->super, differ);
	bcfmt_err err = BCFMT_OK;

	where.device = bcfmt_dev_name(repair->tops[i]);
	where.structure = "super";
	where.sector = BCFMT_SUPER_OFFSET_BYTES / BCFMT_SECTOR_BYTES;
	for (size_t k = 0; !err && k < n; k++)
		err = bcfmt_report_add(
			repair->report, BCFMT_P_SUPER_CONTRADICTED, &where, 3,
			(const struct bcfmt_arg[]){ BCFMT_TEXT("field", differ[k].field),
						    BCFMT_U64("stored", differ[k].stored),
						    BCFMT_U64("found", differ[k].found) });
	return err;
}

bcfmt_err supers_report(struct bcfmt_repair_run *repair)
{
	const struct bcfmt_report *found = repair->report_supers;
	bcfmt_err err = BCFMT_OK;

	for (size_t i = 0; !err && i < repair->n_members; i++)
		if (is_proposed(&repair->members[i]) && !is_told(repair, i))
			err = report_contradictions(repair, i);

	for (size_t i = 0; !err && found && i < bcfmt_report_count(found); i++) {
		const struct bcfmt_finding *finding = bcfmt_report_at(found, i);

		if (is_mended(repair, finding))
			err = bcfmt_report_add(repair->report, finding->problem->id,
					       &finding->where, finding->n_args, finding->args);
	}
	return err;
}

bool supers_are_agreed(const struct bcfmt_repair_run *repair, bool *is_any)
{
	bool is_agreed = true;

	*is_any = false;
	for (size_t i = 0; i < repair->n_members; i++) {
		const struct repair_member *member = &repair->members[i];
		bool is_found = false;

		if (!is_proposed(member))
			continue;
		*is_any = true;
		for (size_t k = 0; k < bcfmt_report_count(repair->report); k++) {
			const struct bcfmt_finding *finding = bcfmt_report_at(repair->report, k);

			if (!is_mended(repair, finding) ||
			    member_named(repair, finding->where.device) != member)
				continue;
			is_found = true;
			is_agreed = is_agreed && plan_is_agreed(repair, finding->problem->id);
		}
		is_agreed = is_agreed && is_found;
	}
	return is_agreed;
}

const char *supers_why_left(const struct bcfmt_repair_run *repair,
			    const struct bcfmt_problem *problem)
{
	for (size_t i = 0; i < bcfmt_report_count(repair->report); i++) {
		const struct bcfmt_finding *finding = bcfmt_report_at(repair->report, i);
		const struct repair_member *member = member_named(repair, finding->where.device);

		if (finding->problem != problem || is_proposed(member))
			continue;
		if (!member || !member->proposal)
			return "name its role: give it as --cache DEVICE or as --backing DEVICE";
		if (member->proposal->outcome == SUPER_SOUND)
			return "nothing on the devices proves another value";
		return member->proposal->why;
	}
	return NULL;
}

size_t bcfmt_repair_super_fields(const struct bcfmt_repair_run *repair, size_t i)
{
	return i < repair->n_members && is_proposed(&repair->members[i])
		       ? repair->members[i].proposal->n_notes
		       : 0;
}

struct bcfmt_repair_field bcfmt_repair_super_field(const struct bcfmt_repair_run *repair, size_t i,
						   size_t k)
{
	const struct super_note *note = &repair->members[i].proposal->notes[k];

	return (struct bcfmt_repair_field){ super_field_name(note->field), note->value, note->text,
					    note->is_guess };
}

const char *bcfmt_repair_super_proof(const struct bcfmt_repair_run *repair, size_t i)
{
	return i < repair->n_members && is_proposed(&repair->members[i])
		       ? repair->members[i].proposal->why
		       : NULL;
}
