/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * --writeback, --detach, --adopt: dirty data goes to its backing devices, is marked clean where the
 * cache can be written, and devices are detached. Copying goes on as long as it takes; now and then
 * what is home is marked, so that a run that is cut off has less to do the next time.
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cli/message.h"
#include "cli/progress.h"
#include "home.h"

/* Marking writes all metadata above the leaves: seldom enough to cost little. */
#define MARK_BYTES_MIN (1ull << 30)
#define MARK_PARTS 8u

static bool is_dry(const struct home_work *work)
{
	return work->repair->options->mode == FSCK_CHECK;
}

/* ---- whose it is ---- */

/* An adoption that cannot be is told; it is an error of the command line. */
static int make_home(struct repair *repair, struct bcfmt_home **home)
{
	const struct fsck_options *options = repair->options;
	bcfmt_err err = bcfmt_home_new(bcfmt_repair_set(repair->run), options->adoptions,
				       options->n_adoptions, options->is_adopt_auto, home);

	cli_progress_clear();
	return fsck_told(repair->ctx, err, "nothing is adopted");
}

/* After the set was opened anew older tables may be gone: what they proved is said again. */
static bcfmt_err keep_adoptions(struct home_work *work)
{
	size_t n = 0;

	for (size_t i = 0; i < work->home->n_devices; i++)
		n += work->home->devices[i].n_inodes;
	work->adoptions = calloc(n + 1, sizeof(*work->adoptions));
	if (!work->adoptions)
		return BCFMT_E_NOMEM;
	for (size_t i = 0; i < work->home->n_devices; i++) {
		const struct bcfmt_home_device *device = &work->home->devices[i];

		for (size_t j = 0; device->is_adopted && j < device->n_inodes; j++) {
			struct bcfmt_adoption *adoption = &work->adoptions[work->n_adoptions++];

			adoption->inode = device->inodes[j];
			memcpy(adoption->uuid, device->member->super.uuid, BCFMT_UUID_BYTES);
		}
	}
	return BCFMT_OK;
}

static uint64_t dirty_bytes_of(const struct bcfmt_verdict *verdict,
			       const struct bcfmt_home_device *device, bool has_redirtied)
{
	uint64_t bytes = 0;

	for (size_t i = 0; i < verdict->n_devices; i++)
		for (size_t j = 0; j < device->n_inodes; j++)
			if (verdict->devices[i].has_inode &&
			    verdict->devices[i].inode == device->inodes[j])
				bytes += verdict->devices[i].dirty_bytes +
					 (has_redirtied ? verdict->devices[i].redirtied_bytes : 0);
	return bytes;
}

/* ---- the set anew ---- */

/* The run is over what the devices hold now. */
static int open_again(struct home_work *work)
{
	struct repair *repair = work->repair;
	bcfmt_err err;

	bcfmt_home_free(work->home);
	work->home = NULL;
	bcfmt_repair_free(repair->run);
	repair->run = NULL;
	repair->is_done = repair->is_spent = false;
	/* What was chosen is the only history now. */
	repair->params.incarnation_seq = 0;
	repair->params.roles = repair->devices.roles;
	err = bcfmt_repair_open(repair->ctx, repair->devices.devs, repair->devices.n,
				&repair->params, &repair->run);
	if (err)
		return repair_told(repair, err, "dirty data is not copied");
	cli_progress_clear();
	if (work->may_mark)
		repair_agree_again(repair);
	return FSCK_CLEAN;
}

static int open_home_again(struct home_work *work)
{
	int bits = open_again(work);
	bcfmt_err err;

	if (bits)
		return bits;
	err = bcfmt_home_new(home_set(work), work->adoptions, work->n_adoptions, false,
			     &work->home);
	return repair_told(work->repair, err, "dirty data is not copied");
}

/* ---- copying ---- */

static int commit_marks(struct home_work *work, bool is_last);

static uint64_t mark_step(const struct home_work *work)
{
	uint64_t total = 0;

	for (size_t i = 0; i < work->n_members; i++)
		total += work->members[i].dirty_bytes;
	return total / MARK_PARTS > MARK_BYTES_MIN ? total / MARK_PARTS : MARK_BYTES_MIN;
}

/*
 * All that the check counted was met again. A node that could be read then and not now leaves less,
 * and a device that lacks something must not be called whole.
 */
static int tell_missed(const struct home_work *work, size_t i)
{
	const struct home_member *member = &work->members[i];
	const struct bcfmt_writeback_sums *sums = bcfmt_home_done_sums(member->done);
	uint64_t met = sums->copied_bytes + sums->unreadable_bytes + sums->outside_bytes +
		       sums->covered_bytes;

	if (met >= member->due_bytes)
		return FSCK_CLEAN;
	cli_error(member->name,
		  "%" PRIu64 " dirty bytes are not written: what the check read cannot be read any "
		  "more; run it again",
		  member->due_bytes - met);
	return FSCK_OPERATIONAL;
}

static int copy_home(struct home_work *work, size_t i)
{
	struct repair *repair = work->repair;
	struct home_member *member = &work->members[i];
	struct bcfmt_writeback_params params = { .undo = repair->undo,
						 .left = home_tell_left,
						 .arg = work,
						 .total_bytes = member->dirty_bytes };
	bcfmt_err err = bcfmt_home_done_new(repair->ctx, &work->home->devices[i], &member->done);
	int bits = FSCK_CLEAN;

	while (!err && !bits && !bcfmt_home_done_is_through(member->done)) {
		const struct bcfmt_home_device *device = &work->home->devices[i];

		params.target = bcfmt_repair_device(repair->run, device->member);
		params.stop_bytes = work->may_mark ? mark_step(work) : 0;
		if (repair->undo)
			err = bcfmt_undo_add_device(repair->undo, params.target,
						    &params.undo_index);
		if (!err)
			err = bcfmt_repair_writeback(repair->run, device, &params, member->done);
		if (!err && !bcfmt_home_done_is_through(member->done)) {
			bits = commit_marks(work, false);
			bits = bits & ~FSCK_REPAIRED ? bits : open_home_again(work);
		}
	}
	cli_progress_clear();
	if (err)
		bits |= repair_told(repair, err,
				    "dirty data is not all copied and stays dirty in the cache: "
				    "run it again") |
			(err == BCFMT_E_CANCELLED ? 0 : FSCK_OPERATIONAL);
	return bits ? bits : tell_missed(work, i);
}

/* ---- marks ---- */

/* Devices whose newest data may still be in the cache, for all that was read. */
static bool is_doubtful(struct home_work *work, size_t i)
{
	const struct bcfmt_set *set = home_set(work);
	struct lost *lost = &work->repair->lost;
	struct bcfmt_loss_sums sums = { 0 };

	/* The repair that was agreed to settled it. */
	if (work->repair->options->mode == FSCK_YES)
		return false;
	if (!lost->is_known || !set->has_all_prios || set->uuids_state != BCFMT_UUIDS_OK ||
	    i >= lost->n || bcfmt_losses_sum(lost->volumes[i].losses, &lost->volumes[i].map, &sums))
		return true;
	return sums.doubtful_bytes > 0;
}

static void judge_member(struct home_work *work, size_t i, struct bcfmt_home_order *order)
{
	const struct fsck_options *options = work->repair->options;
	const struct bcfmt_home_device *device = &work->home->devices[i];
	enum bcfmt_bdev_state state = bcfmt_super_bdev_state(&device->member->super);
	struct home_member *member = &work->members[i];
	bool is_copied =
		!member->dirty_bytes || (member->done && bcfmt_home_done_is_whole(member->done));
	bool is_doubt = is_doubtful(work, i);

	*order = (struct bcfmt_home_order){ .device = device, .done = member->done };
	member->is_whole = !member->is_refused && is_copied && !is_doubt;
	/* Nothing is dirty where all was marked before; but not where nothing was known to be. */
	order->is_clean = member->is_whole && work->may_mark && state == BCFMT_BDEV_DIRTY &&
			  (member->done || (device->has_slot && work->repair->lost.is_known));
	if (!options->is_detach || member->is_refused ||
	    (device->refusal && device->refusal != BCFMT_HOME_STALE) ||
	    (state == BCFMT_BDEV_NONE && !device->has_slot))
		return;
	/* What was not even looked at nobody can agree to lose. */
	if (!work->repair->lost.is_known && state == BCFMT_BDEV_DIRTY) {
		member->why_not = "the cache could not be read";
		member->is_final = true;
		return;
	}
	if (!member->is_whole && options->mode != FSCK_YES) {
		member->why_not = !is_copied ? "not all of its dirty data could be written"
					     : "damage leaves open whether the cache holds more";
		return;
	}
	order->is_detached = member->is_detached = true;
	order->is_slot_freed = is_copied;
}

static bool is_any_copied(const struct home_member *member)
{
	return member->done && bcfmt_home_done_sums(member->done)->copied_bytes;
}

static bool is_of_host(bcfmt_err err)
{
	return err == BCFMT_E_NOMEM || err == BCFMT_E_SYSTEM;
}

/* Rehearses and commits what was ordered. */
static int commit_orders(struct home_work *work)
{
	struct repair *repair = work->repair;
	enum bcfmt_rehearsal result;
	bcfmt_err err = repair_rehearse(repair, &result);
	int bits;

	cli_progress_clear();
	work->is_stopped |= is_of_host(err);
	if (err) {
		bits = repair_told(repair, err, "what is home stays dirty in the cache");
		return err == BCFMT_E_UNSUPPORTED ? FSCK_PROBLEMS_LEFT : bits;
	}
	if (result == BCFMT_REHEARSAL_REJECTED) {
		cli_error_ctx(NULL, repair->ctx, BCFMT_E_DAMAGED);
		return FSCK_PROBLEMS_LEFT;
	}
	if (result == BCFMT_REHEARSAL_NOTHING)
		return FSCK_CLEAN;
	bits = undo_file_make(repair);
	work->is_stopped |= bits;
	if (bits)
		return bits;
	err = bcfmt_repair_commit(repair->run);
	work->is_stopped |= is_of_host(err);
	if (err)
		return repair_told(repair, err, "not all is marked: run it again") |
		       FSCK_OPERATIONAL;
	repair->is_done = true;
	return FSCK_REPAIRED;
}

static int commit_marks(struct home_work *work, bool is_last)
{
	struct bcfmt_home_order *orders = calloc(work->n_members + 1, sizeof(*orders));
	bool has_marks = false;
	size_t n = 0;
	bcfmt_err err = orders ? BCFMT_OK : BCFMT_E_NOMEM;
	int bits;

	for (size_t i = 0; !err && i < work->n_members; i++) {
		struct bcfmt_home_order *order = &orders[n];

		if (is_last)
			judge_member(work, i, order);
		else
			*order = (struct bcfmt_home_order){ .device = &work->home->devices[i],
							    .done = work->members[i].done };
		has_marks |= is_any_copied(&work->members[i]) ||
			     (order->is_slot_freed && order->device->has_slot);
		n += is_any_copied(&work->members[i]) || order->is_clean || order->is_detached;
	}
	if (!err && n)
		err = bcfmt_repair_order_home(work->repair->run, orders, n,
					      has_marks && work->may_mark);
	work->is_stopped |= is_of_host(err);
	bits = repair_told(work->repair, err, "what is home stays dirty in the cache");
	if (!err && n)
		bits = commit_orders(work);
	for (size_t i = 0; i < work->n_members && is_last; i++) {
		struct home_member *member = &work->members[i];

		member->is_marked =
			work->may_mark && bits == FSCK_REPAIRED && is_any_copied(member);
		member->is_detached &= bits == FSCK_REPAIRED;
	}
	free(orders);
	return bits;
}

/* ---- from the beginning to the end ---- */

static int run_members(struct home_work *work)
{
	struct repair *repair = work->repair;
	const struct bcfmt_verdict *verdict = bcfmt_repair_verdict(repair->run);
	int bits = home_tell_absent(work);
	bool is_any = false;

	for (size_t i = 0; i < work->n_members; i++) {
		struct home_member *member = &work->members[i];
		const struct bcfmt_home_device *device = &work->home->devices[i];

		member->dirty_bytes = dirty_bytes_of(verdict, device, true);
		/* What was written back is not copied over what may be newer. */
		member->due_bytes = dirty_bytes_of(verdict, device, !device->is_adopted);
		member->is_refused = member->dirty_bytes && device->refusal;
		is_any |= member->dirty_bytes && !member->is_refused;
		if (member->is_refused) {
			home_tell_refused(work, i);
			bits |= FSCK_PROBLEMS_LEFT;
		}
		if (is_dry(work))
			home_tell_dry(work, i);
	}
	if (is_dry(work))
		return bits;
	if (is_any) {
		int undo_bits = undo_file_open(repair);

		if (undo_bits)
			return bits | undo_bits;
	}
	for (size_t i = 0; i < work->n_members; i++) {
		int copied;

		if (!work->members[i].dirty_bytes || work->members[i].is_refused)
			continue;
		copied = copy_home(work, i);
		bits |= copied;
		if (copied & ~(FSCK_REPAIRED | FSCK_PROBLEMS_LEFT))
			return bits;
	}
	return bits;
}

/* What could not be brought home joins what is lost. */
static bcfmt_err add_losses(struct home_work *work)
{
	struct lost *lost = &work->repair->lost;
	bcfmt_err err = BCFMT_OK;

	for (size_t i = 0; !err && i < work->n_members && i < lost->n; i++)
		if (work->members[i].done)
			err = bcfmt_home_done_add_losses(work->members[i].done,
							 lost->volumes[i].losses, 0);
	return err ? err : lost_finish(lost);
}

/* Where the cache cannot be written after all, the superblocks of the devices still can. */
static int finish(struct home_work *work)
{
	bool may_mark = work->may_mark;
	int bits = commit_marks(work, true), again;

	if (!may_mark || !(bits & ~FSCK_REPAIRED) || bits & FSCK_CANCELLED || work->is_stopped)
		return bits;
	work->may_mark = false;
	again = open_home_again(work);
	return bits | (again ? again : commit_marks(work, true));
}

static void name_members(struct home_work *work)
{
	for (size_t i = 0; i < work->n_members; i++) {
		const struct bcfmt_home_device *device = &work->home->devices[i];

		work->members[i].name =
			bcfmt_dev_name(bcfmt_repair_device(work->repair->run, device->member));
		work->members[i].refusal = device->refusal;
		memcpy(work->members[i].uuid, device->member->super.uuid, BCFMT_UUID_BYTES);
	}
}

static int home_work_run(struct home_work *work)
{
	const char *why;
	int bits;

	bits = make_home(work->repair, &work->home);
	if (!bits)
		bits = repair_told(work->repair, keep_adoptions(work), "dirty data is not copied");
	if (bits)
		return bits;
	work->members = calloc(work->home->n_devices + 1, sizeof(*work->members));
	if (!work->members)
		return repair_told(work->repair, BCFMT_E_NOMEM, "dirty data is not copied");
	work->n_members = work->home->n_devices;
	name_members(work);
	why = bcfmt_repair_why_no_orders(work->repair->run);
	work->may_mark = !why;
	bits = run_members(work);
	if (is_dry(work))
		return bits;
	bits |= repair_told(work->repair, add_losses(work), "what is lost is not all known");
	if (!(bits & ~(FSCK_REPAIRED | FSCK_PROBLEMS_LEFT)))
		bits |= finish(work);
	home_tell_members(work);
	for (size_t i = 0; i < work->n_members; i++) {
		const struct home_member *member = &work->members[i];

		if (is_any_copied(member))
			bits |= FSCK_REPAIRED;
		if (member->why_not || (member->done && !bcfmt_home_done_is_whole(member->done)))
			bits |= FSCK_PROBLEMS_LEFT;
	}
	if (why && bits & FSCK_REPAIRED)
		cli_error(NULL, "the cache is left as it is, with its dirty marks: %s", why);
	return bits;
}

int home_run(struct repair *repair)
{
	struct home_work work = { .repair = repair, .may_mark = true };
	int bits = FSCK_CLEAN;

	if (repair->options->copy_to)
		bits = copies_open(repair);
	if (!bits && (repair->is_spent || repair->options->copy_to))
		bits = open_again(&work);
	if (!bits)
		bits = home_work_run(&work);
	if (repair->options->copy_to && bits & (FSCK_OPERATIONAL | FSCK_CANCELLED))
		cli_error(repair->options->copy_to,
			  "the copies are there: run bcache-fsck with --writeback on them");
	for (size_t i = 0; i < work.n_members; i++)
		bcfmt_home_done_free(work.members[i].done);
	free(work.members);
	free(work.adoptions);
	bcfmt_home_free(work.home);
	return bits;
}

int home_order_adoption(struct repair *repair)
{
	struct bcfmt_home *home;
	int bits = make_home(repair, &home);
	bcfmt_err err;

	if (bits)
		return bits;
	err = bcfmt_repair_order_adoption(repair->run, home);
	bcfmt_home_free(home);
	return repair_told(repair, err, "nothing is adopted");
}
