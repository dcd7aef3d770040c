/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What a check of the set says against a copy of a volume. */
#include "doubt.h"

#include <stdio.h>
#include <string.h>

#include <bcfmt/check.h>

/* So many are told; bcache-fsck names all. */
#define TOLD_MAX 8u

bcfmt_err doubt_check(struct dump *d, struct bcfmt_report **report, struct bcfmt_losses **losses)
{
	struct bcfmt_check_params params = { .level = BCFMT_LEVEL_FULL };
	struct bcfmt_verdict verdict = { 0 };
	bcfmt_err err = bcfmt_report_new(d->ctx, report);

	if (!err)
		err = bcfmt_check_run(d->set, &params, *report, &verdict, NULL, NULL);
	*losses = verdict.losses;
	verdict.losses = NULL;
	bcfmt_verdict_clear(&verdict);
	if (!err)
		bcfmt_report_finish(*report);
	return err;
}

/*
 * Problems of journal, tables and tree say that something that should be in the copy may be missing
 * or another thing than was written. Not these:
 */
static bool is_told_or_harmless(enum bcfmt_problem_id id)
{
	switch (id) {
	/* Of no entry that is read here, whatever a kernel would do. */
	case BCFMT_P_JOURNAL_BAD_CSUM:
	case BCFMT_P_JOURNAL_TOO_BIG:
	case BCFMT_P_JOURNAL_KERNEL_MISSES:
	case BCFMT_P_JOURNAL_SEARCH_HOLE:
	case BCFMT_P_JOURNAL_FULL:
	/* Read all the same. */
	case BCFMT_P_JOURNAL_MENDED:
	/* Told when the tree is opened, or chosen with --incarnation. */
	case BCFMT_P_JOURNAL_GAP:
	case BCFMT_P_JOURNAL_GAP_DISCARD:
	case BCFMT_P_JOURNAL_TWO_HISTORIES:
	/* Another layout, that was read. */
	case BCFMT_P_PRIO_OTHER_PAGES:
	/* Slots that are known all the same. */
	case BCFMT_P_UUIDS_OLDER:
	/* Of another inode, whose data is told of. */
	case BCFMT_P_UUID_STRANDED:
	/* Nodes that are damaged or not there, with the ranges of their keys. */
	case BCFMT_P_NODE_BAD_HEADER:
	case BCFMT_P_NODE_BAD_VERSION:
	case BCFMT_P_NODE_OVERRUN:
	case BCFMT_P_NODE_BAD_MAGIC:
	case BCFMT_P_NODE_BAD_CSUM:
	case BCFMT_P_NODE_EMPTY_SET:
	case BCFMT_P_NODE_HOLE:
	case BCFMT_P_NODE_NOT_TILING:
	case BCFMT_P_NODE_DISORDER:
	case BCFMT_P_NODE_UNREADABLE:
	case BCFMT_P_NODE_TWICE:
	case BCFMT_P_NODE_TWO_LEVELS:
	case BCFMT_P_NODE_IN_METADATA:
	case BCFMT_P_NODE_NO_CHILDREN:
	case BCFMT_P_ROOT_NO_CHILDREN:
	case BCFMT_P_NODE_GAP:
	case BCFMT_P_NODE_BAD_CHILD:
	case BCFMT_P_NODE_DUPLICATE_CHILD:
	case BCFMT_P_NODE_OTHER_MEMBER:
	case BCFMT_P_LEAF_DOUBTFUL:
	/* Lost data, sector by sector; what lies outside the volume. */
	case BCFMT_P_EXTENT_STALE_DIRTY:
	case BCFMT_P_EXTENT_TOO_STALE:
	case BCFMT_P_EXTENT_PAST_DEVICE:
	case BCFMT_P_EXTENT_BEFORE_DATA:
	/* A bit that says nothing about where the data is. */
	case BCFMT_P_KEY_CSUM:
		return true;
	default:
		return id < BCFMT_P_JOURNAL_EMPTY ||
		       (id >= BCFMT_P_BACKING_CLEAN_DIRTY && id != BCFMT_P_BUCKET_TWO_USES);
	}
}

/* Problems of prio sets are no matter where older ones stand in for them. */
static bool is_mended(const struct bcfmt_report *report, enum bcfmt_problem_id id)
{
	return id >= BCFMT_P_PRIO_BAD_CSUM && id <= BCFMT_P_PRIO_UNREADABLE &&
	       bcfmt_report_total(report, BCFMT_P_PRIO_OLDER);
}

/* It is in a leaf none of whose keys can be of the volume. */
static bool is_elsewhere(const struct walk *walk, const struct bcfmt_finding *finding)
{
	const struct bcfmt_geometry *geo = &walk->d->set->geo;

	if (!finding->where.structure || strcmp(finding->where.structure, "node"))
		return false;
	for (size_t i = 0; i < bcfmt_tree_leaves(walk->tree); i++) {
		const struct bcfmt_node_ref *ref = bcfmt_tree_leaf(walk->tree, i);

		if (ref->sectors && bcfmt_ptr_bucket(geo, ref->ptr) == finding->where.bucket)
			return bcfmt_pos_cmp(ref->hi, walk->lo) <= 0 ||
			       bcfmt_pos_cmp(ref->lo, walk->hi) >= 0;
	}
	return false;
}

static void tell(const struct dump *d, const struct bcfmt_finding *finding)
{
	char message[512], code[16];

	snprintf(code, sizeof(code), "BC%04u", (unsigned int)finding->problem->id);
	bcfmt_finding_message(finding, message, sizeof(message));
	cli_error(finding->where.device, "%s %s: %s", code, finding->problem->slug, message);
	if (!bcfmt_out_is_json(d->out))
		return;
	bcfmt_row_begin(d->out, "problem");
	bcfmt_row_text(d->out, "code", code);
	bcfmt_row_text(d->out, "slug", finding->problem->slug);
	bcfmt_row_text(d->out, "message", message);
	bcfmt_row_end(d->out);
}

bool doubt_tell(const struct walk *walk, const struct bcfmt_report *report)
{
	uint64_t n = 0;

	for (size_t i = 0; i < bcfmt_report_count(report); i++) {
		const struct bcfmt_finding *finding = bcfmt_report_at(report, i);

		if (finding->problem->severity < BCFMT_SEV_WASTE ||
		    is_told_or_harmless(finding->problem->id) ||
		    is_mended(report, finding->problem->id) || is_elsewhere(walk, finding))
			continue;
		if (n++ < TOLD_MAX)
			tell(walk->d, finding);
	}
	if (n > TOLD_MAX)
		cli_error(dump_cache_name(walk->d), "and %llu more problems",
			  (unsigned long long)(n - TOLD_MAX));
	if (n)
		cli_error(dump_cache_name(walk->d),
			  "these problems put the copy in doubt; bcache-fsck -n names all");
	return n > 0;
}
