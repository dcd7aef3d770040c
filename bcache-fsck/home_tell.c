/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What --writeback says: what it left out and why, what it did with each device. */
#include <inttypes.h>

#include "cli/message.h"
#include "cli/progress.h"
#include "home.h"

static const char *why_left(enum bcfmt_home_why why)
{
	switch (why) {
	case BCFMT_HOME_UNREADABLE:
		return "unreadable";
	case BCFMT_HOME_OUTSIDE:
		return "outside";
	case BCFMT_HOME_PLACE:
		break;
	}
	return "place";
}

static const char *why_left_text(enum bcfmt_home_why why)
{
	switch (why) {
	case BCFMT_HOME_UNREADABLE:
		return "the cache cannot read it";
	case BCFMT_HOME_OUTSIDE:
		return "it lies outside the data of the device";
	case BCFMT_HOME_PLACE:
		break;
	}
	return "its place on the cache holds metadata, or is on another device";
}

bcfmt_err home_tell_left(void *arg, const struct bcfmt_home_left *left)
{
	struct home_work *work = arg;
	struct bcfmt_out *out = work->repair->out;
	const char *name = bcfmt_dev_name(left->device->member->dev);

	cli_progress_clear();
	cli_error(name,
		  "sectors %" PRIu64 "-%" PRIu64 " stay as they are, dirty data at sector %" PRIu64
		  " of the cache is not written: %s",
		  left->start_sector, left->start_sector + left->sectors - 1, left->cache_sector,
		  why_left_text(left->why));
	if (!bcfmt_out_is_json(out))
		return BCFMT_OK;
	bcfmt_row_begin(out, "left");
	bcfmt_row_text(out, "device", name);
	bcfmt_row_text(out, "why", why_left(left->why));
	bcfmt_row_u64(out, "inode", left->inode);
	bcfmt_row_u64(out, "sector", left->start_sector);
	bcfmt_row_u64(out, "sectors", left->sectors);
	bcfmt_row_u64(out, "cache_sector", left->cache_sector);
	bcfmt_row_end(out);
	return BCFMT_OK;
}

void home_tell_refused(struct home_work *work, size_t i)
{
	const struct bcfmt_home_device *device = &work->home->devices[i];
	bool is_word_missing =
		device->refusal == BCFMT_HOME_STALE || device->refusal == BCFMT_HOME_DETACHED;
	char uuid[BCFMT_UUID_TEXT_BYTES];

	bcfmt_uuid_text(device->member->super.uuid, uuid);
	if (is_word_missing && device->has_slot)
		cli_error(home_name(work, i),
			  "%" PRIu64 " dirty bytes are not written, it %s; look at both with "
			  "bcache-dump export, then --adopt %" PRIu32 "=%s writes them",
			  work->members[i].dirty_bytes, bcfmt_home_refusal_text(device->refusal),
			  device->inodes[0], uuid);
	else
		cli_error(home_name(work, i), "%" PRIu64 " dirty bytes are not written, it %s",
			  work->members[i].dirty_bytes, bcfmt_home_refusal_text(device->refusal));
}

/* Dirty data of backing devices that were not given stays where it is. */
int home_tell_absent(struct home_work *work)
{
	const struct bcfmt_verdict *verdict = bcfmt_repair_verdict(work->repair->run);
	int bits = FSCK_CLEAN;

	for (size_t i = 0; i < verdict->n_devices; i++) {
		const struct bcfmt_verdict_device *device = &verdict->devices[i];
		char uuid[BCFMT_UUID_TEXT_BYTES];

		if (!device->has_entry || device->is_flash_only || device->member ||
		    !(device->dirty_bytes + device->redirtied_bytes))
			continue;
		bcfmt_uuid_text(device->uuid, uuid);
		cli_error(bcfmt_dev_name(home_set(work)->cache.dev),
			  "%" PRIu64 " dirty bytes of inode %" PRIu32
			  " stay here: give their backing device, uuid %s, along with the cache",
			  device->dirty_bytes + device->redirtied_bytes, device->inode, uuid);
		bits = FSCK_PROBLEMS_LEFT;
	}
	return bits;
}

static void tell_text(const struct home_work *work, size_t i)
{
	const struct home_member *member = &work->members[i];
	const struct bcfmt_writeback_sums *sums = bcfmt_home_done_sums(member->done);
	struct bcfmt_out *out = work->repair->out;
	char text[32];

	bcfmt_out_line(out, "%s: %s (%" PRIu64 " bytes) of dirty data written home, %s%s",
		       home_name(work, i), bcfmt_bytes_text(sums->copied_bytes, text),
		       sums->copied_bytes, member->is_marked ? "marked clean in the cache" : "",
		       member->is_marked ? "" : "still marked dirty in the cache");
	if (sums->unreadable_bytes || sums->outside_bytes)
		bcfmt_out_line(out,
			       "%s: %" PRIu64 " dirty bytes could not be read, %" PRIu64
			       " have no place on it: they stay dirty in the cache",
			       home_name(work, i), sums->unreadable_bytes, sums->outside_bytes);
	if (sums->covered_bytes)
		bcfmt_out_line(out,
			       "%s: %" PRIu64 " adopted bytes yielded to newer data of the device",
			       home_name(work, i), sums->covered_bytes);
}

static void tell_json(const struct home_work *work, size_t i)
{
	static const struct bcfmt_writeback_sums none;
	const struct home_member *member = &work->members[i];
	const struct bcfmt_writeback_sums *sums =
		member->done ? bcfmt_home_done_sums(member->done) : &none;
	struct bcfmt_out *out = work->repair->out;

	bcfmt_row_begin(out, "writeback");
	bcfmt_row_text(out, "device", home_name(work, i));
	bcfmt_row_uuid(out, "uuid", member->uuid);
	bcfmt_row_u64(out, "dirty_bytes", member->dirty_bytes);
	bcfmt_row_u64(out, "copied_bytes", sums->copied_bytes);
	bcfmt_row_u64(out, "unreadable_bytes", sums->unreadable_bytes);
	bcfmt_row_u64(out, "outside_bytes", sums->outside_bytes);
	bcfmt_row_u64(out, "covered_bytes", sums->covered_bytes);
	bcfmt_row_bool(out, "marked_clean", member->is_marked);
	bcfmt_row_bool(out, "detached", member->is_detached);
	if (member->is_refused)
		bcfmt_row_text(out, "refused", bcfmt_home_refusal_text(member->refusal));
	if (member->why_not)
		bcfmt_row_text(out, "why_not_detached", member->why_not);
	bcfmt_row_end(out);
}

void home_tell_members(const struct home_work *work)
{
	struct bcfmt_out *out = work->repair->out;
	bool is_quiet = work->repair->options->is_quiet;

	for (size_t i = 0; i < work->n_members; i++) {
		const struct home_member *member = &work->members[i];

		if (bcfmt_out_is_json(out)) {
			tell_json(work, i);
			continue;
		}
		if (member->done && !is_quiet)
			tell_text(work, i);
		if (member->is_detached && !is_quiet)
			bcfmt_out_line(out, "%s: detached, it runs by itself", home_name(work, i));
		if (member->why_not)
			cli_error(home_name(work, i), "not detached: %s%s", member->why_not,
				  member->is_final ? "" : "; -y detaches it all the same");
	}
}

void home_tell_dry(struct home_work *work, size_t i)
{
	const struct bcfmt_home_device *device = &work->home->devices[i];
	struct bcfmt_out *out = work->repair->out;

	if (bcfmt_out_is_json(out)) {
		tell_json(work, i);
		return;
	}
	if (work->members[i].dirty_bytes && !device->refusal)
		bcfmt_out_line(out, "%s: %" PRIu64 " dirty bytes would be written home%s",
			       home_name(work, i), work->members[i].dirty_bytes,
			       work->repair->options->is_detach ? ", and it would be detached"
								: "");
}
