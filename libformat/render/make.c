/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Formatting: what is made, how it would be done, what speaks against it, what comes next. */
#include <inttypes.h>

#include "render/out.h"

/* Scripts read these lines: names, order and tabs are those of make-bcache of bcache-tools. */
static void summary_lines(struct bcfmt_out *out, const struct bcfmt_super *super)
{
	char uuid[BCFMT_UUID_TEXT_BYTES];

	if (*super->label)
		bcfmt_out_line(out, "Label\t\t\t%s", super->label);
	bcfmt_uuid_text(super->uuid, uuid);
	bcfmt_out_line(out, "UUID:\t\t\t%s", uuid);
	bcfmt_uuid_text(super->set_uuid, uuid);
	bcfmt_out_line(out, "Set UUID:\t\t%s", uuid);
	bcfmt_out_line(out, "version:\t\t%" PRIu64, super->version);
	if (super->is_backing) {
		bcfmt_out_line(out, "block_size:\t\t%u", super->block_sectors);
		bcfmt_out_line(out, "data_offset:\t\t%" PRIu64, super->data_offset_sectors);
		return;
	}
	bcfmt_out_line(out, "nbuckets:\t\t%" PRIu64, super->nbuckets_or_data_offset);
	bcfmt_out_line(out, "block_size:\t\t%u", super->block_sectors);
	bcfmt_out_line(out, "bucket_size:\t\t%" PRIu32, super->bucket_sectors);
	bcfmt_out_line(out, "nr_in_set:\t\t%u", super->nr_in_set);
	bcfmt_out_line(out, "nr_this_dev:\t\t%u", super->nr_this_dev);
	bcfmt_out_line(out, "first_bucket:\t\t%u", super->first_bucket);
}

void bcfmt_render_make_summary(struct bcfmt_out *out, const struct bcfmt_make_plan *plan)
{
	for (size_t i = 0; i < plan->n_targets; i++) {
		const struct bcfmt_make_target *target = &plan->targets[i];

		if (bcfmt_out_is_json(out))
			bcfmt_render_super(out, bcfmt_dev_name(target->dev), &target->super);
		else
			summary_lines(out, &target->super);
	}
}

static const char *action_name(enum bcfmt_make_action action)
{
	switch (action) {
	case BCFMT_MAKE_ZERO:
		return "zero";
	case BCFMT_MAKE_DISCARD:
		return "discard";
	case BCFMT_MAKE_WRITE:
		return "write";
	case BCFMT_MAKE_FLUSH:
		return "flush";
	}
	return "unknown";
}

static void step_line(struct bcfmt_out *out, const char *device, const struct bcfmt_make_step *step)
{
	char text[32];

	if (step->action == BCFMT_MAKE_FLUSH)
		bcfmt_out_line(out, "plan: %s: flush", device);
	else
		bcfmt_out_line(out, "plan: %s: %s bytes %" PRIu64 "-%" PRIu64 " (%s): %s", device,
			       action_name(step->action), step->offset_bytes,
			       step->offset_bytes + step->len_bytes - 1,
			       bcfmt_bytes_text(step->len_bytes, text), step->purpose);
}

void bcfmt_render_make_steps(struct bcfmt_out *out, const struct bcfmt_make_plan *plan)
{
	for (size_t i = 0; i < plan->n_steps; i++) {
		const struct bcfmt_make_step *step = &plan->steps[i];
		const char *device = bcfmt_dev_name(plan->targets[step->target].dev);

		if (!bcfmt_out_is_json(out)) {
			step_line(out, device, step);
			continue;
		}
		bcfmt_row_begin(out, "step");
		bcfmt_row_text(out, "device", device);
		bcfmt_row_text(out, "action", action_name(step->action));
		if (step->action != BCFMT_MAKE_FLUSH) {
			bcfmt_row_u64(out, "offset_bytes", step->offset_bytes);
			bcfmt_row_u64(out, "length_bytes", step->len_bytes);
			bcfmt_row_text(out, "purpose", step->purpose);
		}
		bcfmt_row_end(out);
	}
}

void bcfmt_render_make_issue(struct bcfmt_out *out, const struct bcfmt_make_issue *issue)
{
	static const char *const levels[] = { "note", "warning", "refusal" };

	if (!bcfmt_out_is_json(out))
		return;
	bcfmt_row_begin(out, "issue");
	bcfmt_row_text(out, "level", levels[issue->level]);
	bcfmt_row_text(out, "name", bcfmt_make_issue_name(issue->id));
	if (issue->dev)
		bcfmt_row_text(out, "device", bcfmt_dev_name(issue->dev));
	bcfmt_row_text(out, "message", issue->text);
	bcfmt_row_end(out);
}

static void next_lines(struct bcfmt_out *out, const struct bcfmt_make_target *target)
{
	const char *name = bcfmt_dev_name(target->dev);
	uint64_t data_offset = target->super.data_offset_sectors;
	uint64_t dev_sectors = bcfmt_dev_bytes(target->dev) / BCFMT_SECTOR_BYTES;

	if (target->is_block_device)
		bcfmt_out_line(out, "next: echo %s > /sys/fs/bcache/register", name);
	else
		bcfmt_out_line(out,
			       "next: losetup -f --show %s, and its output into"
			       " /sys/fs/bcache/register",
			       name);
	if (!target->is_backing)
		return;
	bcfmt_out_line(out,
		       "data begins at sector %" PRIu64 " of %s; without bcache it is reached by:"
		       " losetup -r -f --show -o %" PRIu64 " %s",
		       data_offset, name, data_offset * BCFMT_SECTOR_BYTES, name);
	if (target->is_block_device)
		bcfmt_out_line(out,
			       "or by: dmsetup create NAME --readonly --table '0 %" PRIu64
			       " linear %s %" PRIu64 "'",
			       dev_sectors - data_offset, name, data_offset);
}

void bcfmt_render_make_next(struct bcfmt_out *out, const struct bcfmt_make_plan *plan)
{
	for (size_t i = 0; i < plan->n_targets; i++)
		next_lines(out, &plan->targets[i]);
}
