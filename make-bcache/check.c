/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The check of bcache-fsck: over the new devices, and over old ones before they are gone. */
#include <stdlib.h>
#include <string.h>

#include <bcfmt/check.h>
#include <bcfmt/set.h>
#include <bcfmt/uuid.h>

#include "cli/message.h"
#include "cli/progress.h"
#include "make.h"

/* A check with all that belongs to it. */
struct checked {
	struct bcfmt_set *set;
	struct bcfmt_report *report;
	struct bcfmt_verdict verdict;
};

static bcfmt_err check(struct bcfmt_ctx *ctx, struct bcfmt_dev *const *devs, size_t n,
		       enum bcfmt_check_level level, struct checked *out)
{
	struct bcfmt_check_params check_params = { .level = level };
	struct bcfmt_set_params set_params = { 0 };
	bcfmt_err err;

	*out = (struct checked){ 0 };
	err = bcfmt_set_open(ctx, devs, n, &set_params, &out->set);
	if (!err)
		err = bcfmt_report_new(ctx, &out->report);
	if (!err)
		err = bcfmt_check_run(out->set, &check_params, out->report, &out->verdict, NULL,
				      NULL);
	if (!err)
		bcfmt_report_finish(out->report);
	cli_progress_clear();
	return err;
}

static void checked_clear(struct checked *checked)
{
	bcfmt_verdict_clear(&checked->verdict);
	bcfmt_report_free(checked->report);
	bcfmt_set_free(checked->set);
}

/* Findings that are worse than a note; those of a new device would be faults of this program. */
static bool tell_findings(const struct bcfmt_report *report)
{
	bool is_good = true;
	char text[512];

	for (size_t i = 0; i < bcfmt_report_count(report); i++) {
		const struct bcfmt_finding *finding = bcfmt_report_at(report, i);

		if (finding->problem->severity == BCFMT_SEV_NOTE)
			continue;
		bcfmt_finding_message(finding, text, sizeof(text));
		cli_error(finding->where.device, "BC%04d %s: %s", (int)finding->problem->id,
			  finding->problem->slug, text);
		is_good = false;
	}
	return is_good;
}

bool make_check(const struct make_run *run)
{
	struct checked checked;
	bool is_good = false;
	bcfmt_err err;

	err = check(run->ctx, run->devices.devs, run->devices.n, BCFMT_LEVEL_FULL, &checked);
	if (err)
		cli_error_ctx(NULL, run->ctx, err);
	else
		is_good = tell_findings(checked.report);
	if (!err && !is_good)
		cli_error(NULL, "what was written does not pass the check: do not use it");
	checked_clear(&checked);
	return is_good;
}

/* The kernel keeps the newline of who wrote a label to sysfs. */
static int label_length(const char *label)
{
	size_t len = strlen(label);

	while (len && (unsigned char)label[len - 1] <= ' ')
		len--;
	return (int)len;
}

static void tell_dirty(const struct make_run *run, const char *device,
		       const struct bcfmt_verdict_device *owner)
{
	int label_len = label_length(owner->label);
	char uuid[BCFMT_UUID_TEXT_BYTES], bytes[32];

	if (run->options->is_json) {
		bcfmt_row_begin(run->out, "old_dirty_data");
		bcfmt_row_text(run->out, "device", device);
		bcfmt_row_uuid(run->out, "uuid", owner->uuid);
		bcfmt_row_text(run->out, "label", owner->label);
		bcfmt_row_bool(run->out, "flash_only", owner->is_flash_only);
		bcfmt_row_u64(run->out, "dirty_bytes", owner->dirty_bytes);
		bcfmt_row_bool(run->out, "exact", owner->certainty == BCFMT_EXACT);
		bcfmt_row_end(run->out);
		return;
	}
	bcfmt_uuid_text(owner->uuid, uuid);
	bcfmt_bytes_text(owner->dirty_bytes, bytes);
	cli_error(device, "it holds %s%s of dirty data of %s %s%s%.*s",
		  owner->certainty == BCFMT_EXACT ? "" : "at least ", bytes,
		  owner->is_flash_only ? "flash-only volume" : "backing device", uuid,
		  label_len ? ", label " : "", label_len, owner->label);
}

/* A quick check reads few leaves: what it does not see is not said to be absent. */
static void tell_owners(const struct make_run *run, const char *device,
			const struct bcfmt_verdict *verdict)
{
	bool has_dirty = false, is_exact = verdict->is_complete;

	for (size_t i = 0; i < verdict->n_devices; i++) {
		const struct bcfmt_verdict_device *owner = &verdict->devices[i];

		is_exact = is_exact && owner->certainty == BCFMT_EXACT;
		if (!owner->dirty_bytes)
			continue;
		tell_dirty(run, device, owner);
		has_dirty = true;
	}
	if (has_dirty || run->options->is_json)
		return;
	if (is_exact)
		cli_error(device, "it holds no dirty data");
	else if (verdict->n_devices)
		cli_error(device,
			  "whether it holds dirty data, a full check tells: bcache-fsck -n %s",
			  device);
}

static void tell_cache(const struct make_run *run, struct bcfmt_dev *dev)
{
	struct checked checked;
	bcfmt_err err;

	err = check(run->ctx, &dev, 1, BCFMT_LEVEL_QUICK, &checked);
	if (err)
		cli_error_ctx(bcfmt_dev_name(dev), run->ctx, err);
	else
		tell_owners(run, bcfmt_dev_name(dev), &checked.verdict);
	checked_clear(&checked);
}

static void tell_backing(const struct make_run *run, const struct bcfmt_make_target *target)
{
	const char *device = bcfmt_dev_name(target->dev);
	static const char *const names[] = { "none", "clean", "dirty", "stale" };
	enum bcfmt_bdev_state state = bcfmt_super_bdev_state(&target->old);

	if (run->options->is_json) {
		bcfmt_row_begin(run->out, "old_state");
		bcfmt_row_text(run->out, "device", device);
		bcfmt_row_text(run->out, "state", names[(unsigned int)state & 3]);
		bcfmt_row_end(run->out);
		return;
	}
	switch (state) {
	case BCFMT_BDEV_DIRTY:
		cli_error(device, "marked dirty: its cache may hold data that is not on it;"
				  " bcache-dump export gets the whole volume");
		break;
	case BCFMT_BDEV_CLEAN:
		cli_error(device, "marked clean, attached to its cache");
		break;
	case BCFMT_BDEV_STALE:
		cli_error(device, "marked stale: it was used without its cache");
		break;
	case BCFMT_BDEV_NONE:
		break;
	}
}

void make_tell_old(const struct make_run *run, const struct bcfmt_make_target *target)
{
	if (target->old.is_backing)
		tell_backing(run, target);
	else
		tell_cache(run, target->dev);
}
