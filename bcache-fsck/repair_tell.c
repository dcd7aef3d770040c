/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What a repair says: the plan, the writes, what came of it. */
#include <inttypes.h>
#include <stdio.h>

#include "repair.h"

static const char *state_name(enum bcfmt_plan_state state)
{
	switch (state) {
	case BCFMT_PLAN_OPEN:
		break;
	case BCFMT_PLAN_AGREED:
		return "agreed";
	case BCFMT_PLAN_REFUSED:
		return "refused";
	case BCFMT_PLAN_LEFT:
		return "left";
	}
	return "open";
}

static void tell_item(struct repair *repair, const struct bcfmt_plan_item *item)
{
	char code[16];

	if (!bcfmt_out_is_json(repair->out)) {
		if (item->state == BCFMT_PLAN_LEFT)
			bcfmt_out_line(repair->out, "BC%04d %s is left: %s", (int)item->problem->id,
				       item->problem->slug, item->why);
		return;
	}
	snprintf(code, sizeof(code), "BC%04d", (int)item->problem->id);
	bcfmt_row_begin(repair->out, "plan");
	bcfmt_row_text(repair->out, "code", code);
	bcfmt_row_text(repair->out, "slug", item->problem->slug);
	bcfmt_row_u64(repair->out, "findings", item->findings);
	bcfmt_row_text(repair->out, "repair", bcfmt_repair_name(item->problem->repair));
	bcfmt_row_text(repair->out, "consent", bcfmt_consent_name(item->problem->consent));
	bcfmt_row_text(repair->out, "state", state_name(item->state));
	if (item->why)
		bcfmt_row_text(repair->out, "why", item->why);
	bcfmt_row_end(repair->out);
}

void repair_tell_plan(struct repair *repair)
{
	for (size_t i = 0; i < bcfmt_repair_items(repair->run); i++) {
		const struct bcfmt_plan_item *item = bcfmt_repair_item(repair->run, i);

		/* It is an order and no repair of the plan; --writeback adopts while it copies. */
		if (item->problem->repair != BCFMT_REPAIR_ADOPT ||
		    (item->state == BCFMT_PLAN_LEFT &&
		     !(repair->options->is_writeback && repair_is_adopting(repair))))
			tell_item(repair, item);
	}
}

static void tell_field(struct repair *repair, const char *device,
		       const struct bcfmt_repair_field *field)
{
	if (!bcfmt_out_is_json(repair->out)) {
		bcfmt_out_line(repair->out, "%s: new %s%s%s%s: %s", device, field->name,
			       *field->value ? " " : "", field->value,
			       field->is_guess ? " (a guess)" : "", field->text);
		return;
	}
	bcfmt_row_begin(repair->out, "superblock_field");
	bcfmt_row_text(repair->out, "device", device);
	bcfmt_row_text(repair->out, "field", field->name);
	if (*field->value)
		bcfmt_row_text(repair->out, "value", field->value);
	bcfmt_row_bool(repair->out, "guess", field->is_guess);
	bcfmt_row_text(repair->out, "evidence", field->text);
	bcfmt_row_end(repair->out);
}

void repair_tell_superblocks(struct repair *repair)
{
	for (size_t i = 0; i < repair->devices.n; i++) {
		const char *device = bcfmt_dev_name(repair->devices.devs[i]);
		const char *proof = bcfmt_repair_super_proof(repair->run, i);

		for (size_t k = 0; k < bcfmt_repair_super_fields(repair->run, i); k++) {
			struct bcfmt_repair_field field =
				bcfmt_repair_super_field(repair->run, i, k);

			tell_field(repair, device, &field);
		}
		if (proof && *proof && !bcfmt_out_is_json(repair->out))
			bcfmt_out_line(repair->out, "%s: new superblock: %s", device, proof);
	}
}

bcfmt_err repair_tell_write(void *arg, const struct bcfmt_repair_write *write)
{
	struct repair *repair = arg;
	uint64_t first = write->offset_bytes / BCFMT_SECTOR_BYTES;
	uint64_t sectors = write->len_bytes / BCFMT_SECTOR_BYTES;

	if (!bcfmt_out_is_json(repair->out)) {
		bcfmt_out_line(repair->out, "write %s sector %" PRIu64 " len %" PRIu64 ": %s",
			       bcfmt_dev_name(write->dev), first, sectors, write->purpose);
		return BCFMT_OK;
	}
	bcfmt_row_begin(repair->out, "write");
	bcfmt_row_text(repair->out, "device", bcfmt_dev_name(write->dev));
	bcfmt_row_u64(repair->out, "sector", first);
	bcfmt_row_u64(repair->out, "sectors", sectors);
	bcfmt_row_u64(repair->out, "phase", write->phase);
	bcfmt_row_text(repair->out, "purpose", write->purpose);
	bcfmt_row_end(repair->out);
	return BCFMT_OK;
}

void repair_tell_counts(struct repair *repair, const char *what)
{
	const struct bcfmt_repair_counts *counts = bcfmt_repair_counts(repair->run);

	if (bcfmt_out_is_json(repair->out)) {
		bcfmt_row_begin(repair->out, "repair");
		bcfmt_row_text(repair->out, "result", what);
		bcfmt_row_u64(repair->out, "kept_leaves", counts->kept_leaves);
		bcfmt_row_u64(repair->out, "written_leaves", counts->written_leaves);
		bcfmt_row_u64(repair->out, "written_nodes", counts->written_nodes);
		bcfmt_row_u64(repair->out, "written_buckets", counts->written_buckets);
		bcfmt_row_u64(repair->out, "dropped_dirty_sectors", counts->dropped_sectors);
		bcfmt_row_u64(repair->out, "freed_buckets", counts->freed_buckets);
		bcfmt_row_u64(repair->out, "freed_clean_sectors", counts->freed_sectors);
		bcfmt_row_u64(repair->out, "journal_seq", counts->journal_seq);
		if (repair->undo_path)
			bcfmt_row_text(repair->out, "undo_file", repair->undo_path);
		bcfmt_row_end(repair->out);
		return;
	}
	if (counts->journal_seq && !repair->options->is_quiet)
		bcfmt_out_line(repair->out,
			       "%s: %" PRIu64 " nodes with %" PRIu64
			       " leaves written anew, %" PRIu64 " leaves kept, %" PRIu64
			       " buckets used, journal entry %" PRIu64,
			       what, counts->written_nodes, counts->written_leaves,
			       counts->kept_leaves, counts->written_buckets, counts->journal_seq);
	else if (!repair->options->is_quiet)
		bcfmt_out_line(repair->out, "%s: superblocks", what);
	if (counts->dropped_sectors)
		bcfmt_out_line(repair->out,
			       "%" PRIu64 " dirty sectors are lost: their keys were "
			       "dropped",
			       counts->dropped_sectors);
	if (counts->freed_buckets)
		bcfmt_out_line(repair->out,
			       "%" PRIu64 " buckets with %" PRIu64
			       " sectors of clean cached data were given up",
			       counts->freed_buckets, counts->freed_sectors);
}

void repair_tell_verdict(struct repair *repair, int bits)
{
	const struct bcfmt_report *report;

	/* Nothing, when the set could not be opened again. */
	if (!repair->run) {
		bcfmt_render_summary(repair->out, NULL, bits);
		return;
	}
	if (repair->is_done) {
		report = bcfmt_repair_report_after(repair->run);
		bcfmt_render_verdict(repair->out, bcfmt_repair_set_after(repair->run),
				     bcfmt_repair_verdict_after(repair->run));
	} else {
		report = bcfmt_repair_report(repair->run);
		bcfmt_render_verdict(repair->out, bcfmt_repair_set(repair->run),
				     bcfmt_repair_verdict(repair->run));
	}
	/* Each row may be one that there was no memory for. */
	if (bcfmt_out_error(repair->out))
		bits |= FSCK_OPERATIONAL;
	bcfmt_render_summary(repair->out, report, bits);
}
