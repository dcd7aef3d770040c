/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A whole set in memory (memory.h), repaired. Nothing is written before the commit, and then nothing
 * but what was told; a check finds what the rehearsal did; a further repair finds nothing to write;
 * dirty data is where it was, or is told to be lost; the undo file brings every byte back. While an
 * allocation, a read or a write fails, the repair ends with an error or as it would have, and from
 * what it left behind a further one comes to the same end.
 */
#undef NDEBUG
#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "fuzz/faults.h"
#include "fuzz/fuzz.h"
#include "fuzz/places.h"
#include "fuzz/repair_set.h"
#include "repair/task.h"

#define UNDO_BYTES (128u << 20) /* of zeros, which take no memory */

static struct bcfmt_ctx *ctxs[2];
static struct bcfmt_dev *empty; /* what undo files are written over */

int LLVMFuzzerInitialize(int *argc, char ***argv)
{
	(void)argc;
	(void)argv;
	memory_contexts(ctxs);
	assert(bcfmt_dev_mem(ctxs[0], "undo", NULL, UNDO_BYTES, &empty) == BCFMT_OK);
	return 0;
}

size_t LLVMFuzzerCustomMutator(uint8_t *input, size_t input_bytes, size_t input_max,
			       unsigned int seed)
{
	return memory_mutate(input, input_bytes, input_max, seed);
}

struct work {
	struct bcfmt_ctx *ctx;
	const struct memory *memory;
	struct bcfmt_dev *base[MEMORY_DEVICES_MAX];
	struct bcfmt_repair_params params;
	enum bcfmt_consent most;
	bool is_adopting;
	struct places before; /* as the set is read before, by the history that the repair takes */
	bool has_before;
	struct places after; /* of the whole run, which committed */
	uint64_t left;	     /* findings then */
};

/* ---- what must hold ---- */

static struct bcfmt_losses *losses_of(const struct bcfmt_verdict *verdict)
{
	return verdict ? verdict->losses : NULL;
}

static void find_before(struct work *work, const struct repaired *repaired)
{
	const struct bcfmt_journal_histories *histories =
		&bcfmt_repair_set(repaired->run)->histories;
	struct bcfmt_set_params params = { .page_bytes = work->params.page_bytes,
					   .is_shallow = work->params.is_shallow };

	if (histories->is_found && histories->is_proved)
		params.incarnation_seq = histories->newer_seq;
	work->has_before = !repaired->has_new_cache_super;
	if (work->has_before)
		assert(places_find(work->ctx, work->base, work->memory->n_devices, &params,
				   &work->before) == BCFMT_OK);
}

/* Dirty data is where it was, or is told to be lost: by a check, or as dropped. */
static void assert_kept(const struct work *work, const struct repaired *repaired,
			const struct places *after)
{
	struct bcfmt_losses *losses[] = {
		losses_of(bcfmt_repair_verdict(repaired->run)),
		losses_of(bcfmt_repair_verdict_after(repaired->run)),
	};
	uint64_t dropped = bcfmt_repair_counts(repaired->run)->dropped_sectors;
	uint64_t missing, come;

	if (!work->has_before)
		return;
	missing = places_missing(&work->before, after, losses, 2);
	come = work->is_adopting ? 0 : places_missing(after, &work->before, losses, 2);
	if (missing <= dropped && !come)
		return;
	fprintf(stderr, "%llu sectors are lost, %llu were told; %llu have come\n",
		(unsigned long long)missing, (unsigned long long)dropped, (unsigned long long)come);
	abort();
}

static void find_after(const struct work *work, const struct disks *disks, struct places *after)
{
	struct bcfmt_set_params params = { .page_bytes = work->params.page_bytes,
					   .is_shallow = work->params.is_shallow };

	assert(places_find(work->ctx, disks->overlay, disks->n, &params, after) == BCFMT_OK);
}

static uint64_t count_left(const struct bcfmt_report *report)
{
	uint64_t left = 0;

	for (int severity = BCFMT_SEV_WASTE; severity <= BCFMT_SEV_FATAL; severity++)
		left += bcfmt_report_severity_total(report, (enum bcfmt_severity)severity);
	return left;
}

/*
 * A superblock that was mended may prove what another one lacked, which was left; metadata that was,
 * that the cache is in use. Clean data that was given up to make room may have spoken against what
 * was left for it.
 */
static bool is_something_for_later(const struct bcfmt_repair_run *run, size_t n_devices)
{
	bool is_any_mended = false;

	if (bcfmt_repair_counts(run)->freed_sectors)
		return true;
	for (size_t i = 0; i < n_devices; i++)
		is_any_mended |= bcfmt_repair_super_fields(run, i) != 0;
	for (size_t i = 0; i < bcfmt_repair_items(run); i++) {
		const struct bcfmt_plan_item *item = bcfmt_repair_item(run, i);

		if (item->state == BCFMT_PLAN_LEFT &&
		    item->problem->repair == BCFMT_REPAIR_REWRITE_SUPER &&
		    (is_any_mended || item->problem->id == BCFMT_P_SUPER_NOT_SYNC))
			return true;
	}
	return false;
}

/* What was agreed to is done: nothing is left that another run would write. */
static void assert_finished(const struct work *work, const struct disks *disks,
			    const struct bcfmt_repair_run *run, unsigned int runs)
{
	bool is_more = is_something_for_later(run, disks->n);
	struct disks again;
	struct repaired repaired;

	disks_make(work->ctx, disks->overlay, disks->n, &again);
	repair_set(work->ctx, &again, &work->params, work->most, false, NULL, &repaired);
	assert(!repaired.err);
	if (repaired.result == BCFMT_REHEARSAL_READY) {
		assert(is_more && runs < disks->n);
		assert_finished(work, &again, repaired.run, runs + 1);
	}
	repaired_clear(&repaired);
	disks_free(&again);
}

static void take_back(const struct work *work, const struct disks *disks, struct bcfmt_dev *store)
{
	struct bcfmt_undo_file *file;

	assert(bcfmt_undo_file_open_dev(work->ctx, store, &file) == BCFMT_OK);
	assert(bcfmt_undo_file_info(file)->is_complete);
	assert(bcfmt_undo_file_match(file, disks->overlay, disks->n) == BCFMT_OK);
	assert(bcfmt_undo_file_check(file, NULL, NULL) == BCFMT_OK);
	/* Two devices that hold the same: it cannot tell, and need not, which was which. */
	assert(bcfmt_undo_file_apply(file, BCFMT_UNDO_FORCE) == BCFMT_OK);
	assert(disks_are_as_before(disks));
	bcfmt_undo_file_free(file);
}

/* ---- whole runs ---- */

/* Brings the data home from what was repaired; what remains can be repaired once more. */
static void bring_home(const struct work *work, const struct disks *disks)
{
	struct task task = {
		.ctx = work->ctx, .kind = TASK_DETACH, .n = disks->n, .params = work->params
	};
	struct disks home;
	bcfmt_err err;

	disks_make(work->ctx, disks->overlay, disks->n, &home);
	err = task_run(&task, home.given, NULL);
	assert(!err || *bcfmt_ctx_fault(work->ctx));
	bcfmt_ctx_fault_clear(work->ctx);
	disks_free(&home);
}

/* False when the devices are no set. */
static bool run_whole(struct work *work, struct disks *disks, struct repaired *repaired)
{
	struct bcfmt_dev *store;
	struct bcfmt_undo *undo;

	disks_make(work->ctx, work->base, work->memory->n_devices, disks);
	assert(bcfmt_dev_overlay(work->ctx, empty, &store) == BCFMT_OK);
	assert(bcfmt_undo_create_on(work->ctx, store, "fuzz", &undo) == BCFMT_OK);
	repair_set(work->ctx, disks, &work->params, work->most, work->is_adopting, undo, repaired);
	/* Two caches, or two backing devices with one uuid. */
	assert(!repaired->err || (repaired->err == BCFMT_E_ARG && !repaired->run));
	if (repaired->is_committed) {
		find_before(work, repaired);
		assert_as_rehearsed(work->ctx, disks, &work->params, repaired);
		find_after(work, disks, &work->after);
		work->left = count_left(bcfmt_repair_report_after(repaired->run));
		assert_kept(work, repaired, &work->after);
		assert_finished(work, disks, repaired->run, 1);
	}
	if (!repaired->err && work->memory->head.flags & MEMORY_FLAG_HOME)
		bring_home(work, disks);
	if (repaired->is_committed) {
		assert(bcfmt_undo_finish(undo) == BCFMT_OK);
		take_back(work, disks, store);
	}
	bcfmt_undo_free(undo);
	bcfmt_dev_free(store);
	return !repaired->err;
}

/* ---- runs in which something fails ---- */

static bool are_same(const struct places *a, const struct places *b)
{
	return !places_missing(a, b, NULL, 0) && !places_missing(b, a, NULL, 0);
}

/* From what a commit left that was cut off a further run comes to the same end. */
static void finish_later(const struct work *work, const struct disks *disks)
{
	struct disks later;
	struct repaired repaired;
	struct places after = { 0 };
	uint64_t left;

	disks_make(work->ctx, disks->overlay, disks->n, &later);
	repair_set(work->ctx, &later, &work->params, work->most, work->is_adopting, NULL,
		   &repaired);
	assert(!repaired.err);
	assert(repaired.result != BCFMT_REHEARSAL_REJECTED);
	left = count_left(repaired.is_committed ? bcfmt_repair_report_after(repaired.run)
						: bcfmt_repair_report(repaired.run));
	if (left > work->left)
		fprintf(stderr, "%llu findings are left, after a whole run %llu\n",
			(unsigned long long)left, (unsigned long long)work->left);
	assert(left <= work->left);
	find_after(work, &later, &after);
	assert(are_same(&after, &work->after));
	places_clear(&after);
	repaired_clear(&repaired);
	disks_free(&later);
}

static void judge_failed(const struct work *work, const struct disks *disks,
			 const struct repaired *failed, const struct repaired *whole,
			 bool fails_read)
{
	struct places after = { 0 };

	if (failed->err) {
		if (failed->is_committed && !fails_read)
			finish_later(work, disks);
		else
			assert(failed->is_committed || disks_are_untouched(disks));
		return;
	}
	if (!fails_read)
		assert(failed->result == whole->result);
	if (!failed->is_committed)
		return;
	find_after(work, disks, &after);
	if (fails_read) {
		assert_kept(work, failed, &after);
	} else {
		assert_as_rehearsed(work->ctx, disks, &work->params, failed);
		assert(are_same(&after, &work->after));
	}
	places_clear(&after);
}

static void run_failing(struct work *work, const struct repaired *whole)
{
	const struct memory_head *head = &work->memory->head;
	bool fails_write = head->flags & MEMORY_FLAG_WRITE && head->fail_read;
	bool fails_read = !fails_write && head->fail_read;
	struct disks disks;
	struct repaired failed;
	bool has_failed;

	disks_make(work->ctx, work->base, work->memory->n_devices, &disks);
	disks_fail(work->ctx, &disks, memory_failing_device(work->memory),
		   fails_read ? head->fail_read : 0, fails_write ? head->fail_read : 0);
	faults_arm(head->fail_alloc);
	repair_set(work->ctx, &disks, &work->params, work->most, work->is_adopting, NULL, &failed);
	has_failed = faults_disarm();
	if (failed.err == BCFMT_E_IO)
		assert(head->fail_read);
	else if (failed.err)
		assert(has_failed && (failed.err == BCFMT_E_NOMEM || failed.err == BCFMT_E_SYSTEM));
	/* What was not known while a read failed is compared with what is. */
	if (fails_read && !whole->is_committed)
		find_before(work, whole);
	judge_failed(work, &disks, &failed, whole, fails_read);
	repaired_clear(&failed);
	disks_free(&disks);
}

int LLVMFuzzerTestOneInput(const uint8_t *input, size_t input_bytes)
{
	struct repaired repaired;
	struct memory memory;
	struct disks disks;
	struct work work = { .memory = &memory };

	if (!memory_open(&memory, input, input_bytes))
		return 0;
	work.ctx = ctxs[(memory.head.flags & MEMORY_FLAG_THREADS) != 0];
	work.params = (struct bcfmt_repair_params){
		.page_bytes = memory_page_bytes(&memory),
		.check = { .page_bytes = memory_page_bytes(&memory) },
		.is_shallow = memory.head.flags & MEMORY_FLAG_SHALLOW,
	};
	work.most = (memory.head.flags & MEMORY_FLAG_LEVEL) == MEMORY_FLAG_LEVEL
			    ? BCFMT_CONSENT_AUTO
			    : BCFMT_CONSENT_ASK;
	work.is_adopting = memory.head.flags & MEMORY_FLAG_HOME;
	for (uint32_t i = 0; i < memory.n_devices; i++)
		work.base[i] = memory_device(work.ctx, &memory, i);
	if (run_whole(&work, &disks, &repaired) &&
	    (memory.head.fail_alloc || memory.head.fail_read))
		run_failing(&work, &repaired);
	repaired_clear(&repaired);
	disks_free(&disks);
	places_clear(&work.before);
	places_clear(&work.after);
	for (uint32_t i = 0; i < memory.n_devices; i++)
		bcfmt_dev_free(work.base[i]);
	memory_close(&memory);
	return 0;
}
