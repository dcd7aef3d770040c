/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Saving what a plan overwrites, carrying it out, and reading back whether all of it is there. */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "base/checked.h"
#include "make/make_impl.h"

/* Between two pieces somebody may cancel, and progress is told. */
#define ZERO_PIECE_BYTES (16u << 20)
#define DISCARD_PIECE_BYTES (1u << 30)
#define VERIFY_PIECE_BYTES (1u << 20)

/* Bytes that the steps move; flushes have none, discards cost little. */
static uint64_t total_bytes(const struct bcfmt_make_plan *plan)
{
	uint64_t bytes = 0;

	for (size_t i = 0; i < plan->n_steps; i++)
		if (plan->steps[i].action != BCFMT_MAKE_DISCARD)
			bytes += plan->steps[i].len_bytes;
	return bytes;
}

/*
 * Both writes of the superblock's place are told: a cut may leave the zeros between them, and
 * putting back has to know that they are of this plan.
 */
bcfmt_err bcfmt_make_save(const struct bcfmt_make_plan *plan, struct bcfmt_undo *undo)
{
	uint64_t done_bytes = 0;
	unsigned int index;
	bcfmt_err err;

	if (plan->is_refused)
		return bcfmt_fail(plan->ctx, BCFMT_E_ARG, "the plan is refused");
	for (size_t i = 0; i < plan->n_steps; i++) {
		const struct bcfmt_make_step *step = &plan->steps[i];

		if (step->action != BCFMT_MAKE_ZERO && step->action != BCFMT_MAKE_WRITE)
			continue;
		if (bcfmt_ctx_is_cancelled(plan->ctx))
			return bcfmt_fail(plan->ctx, BCFMT_E_CANCELLED, "cancelled");
		err = bcfmt_undo_add_device(undo, plan->targets[step->target].dev, &index);
		if (!err)
			err = bcfmt_undo_save(undo, index, step->offset_bytes, step->bytes,
					      step->len_bytes);
		if (err)
			return err;
		done_bytes += step->len_bytes;
		bcfmt_ctx_progress(plan->ctx, "save", done_bytes, total_bytes(plan));
	}
	return bcfmt_undo_sync(undo);
}

struct commit {
	struct bcfmt_make_plan *plan;
	uint64_t done_bytes;
	uint64_t total_bytes;
};

static bcfmt_err zero(struct commit *run, const struct bcfmt_make_step *step)
{
	struct bcfmt_dev *dev = run->plan->targets[step->target].dev;
	bcfmt_err err = BCFMT_OK;

	for (uint64_t done = 0; !err && done < step->len_bytes;) {
		uint64_t piece_bytes = min_u64(step->len_bytes - done, ZERO_PIECE_BYTES);

		if (bcfmt_ctx_is_cancelled(run->plan->ctx))
			return bcfmt_fail(run->plan->ctx, BCFMT_E_CANCELLED, "cancelled");
		err = bcfmt_dev_zero(dev, step->offset_bytes + done, piece_bytes);
		done += piece_bytes;
		bcfmt_ctx_progress(run->plan->ctx, "format", run->done_bytes + done,
				   run->total_bytes);
	}
	run->done_bytes += step->len_bytes;
	return err;
}

/* It is a hint to the device: that it takes none is fine, and what it did so far does not matter. */
static bcfmt_err discard(const struct commit *run, const struct bcfmt_make_step *step)
{
	struct bcfmt_dev *dev = run->plan->targets[step->target].dev;
	bcfmt_err err = BCFMT_OK;

	for (uint64_t done = 0; !err && done < step->len_bytes;) {
		uint64_t piece_bytes = min_u64(step->len_bytes - done, DISCARD_PIECE_BYTES);

		if (bcfmt_ctx_is_cancelled(run->plan->ctx))
			return bcfmt_fail(run->plan->ctx, BCFMT_E_CANCELLED, "cancelled");
		err = bcfmt_dev_discard(dev, step->offset_bytes + done, piece_bytes);
		done += piece_bytes;
	}
	return err == BCFMT_E_UNSUPPORTED ? BCFMT_OK : err;
}

static bcfmt_err carry_out(struct commit *run, const struct bcfmt_make_step *step)
{
	struct bcfmt_make_target *target = &run->plan->targets[step->target];

	switch (step->action) {
	case BCFMT_MAKE_ZERO:
		return zero(run, step);
	case BCFMT_MAKE_DISCARD:
		return discard(run, step);
	case BCFMT_MAKE_WRITE:
		run->done_bytes += step->len_bytes;
		return bcfmt_dev_write(target->dev, step->offset_bytes, step->bytes,
				       step->len_bytes);
	case BCFMT_MAKE_FLUSH:
		return bcfmt_dev_flush(target->dev);
	}
	return BCFMT_E_ARG;
}

bcfmt_err bcfmt_make_commit(struct bcfmt_make_plan *plan)
{
	struct commit run = { .plan = plan, .total_bytes = total_bytes(plan) };
	bcfmt_err err;

	if (plan->is_refused)
		return bcfmt_fail(plan->ctx, BCFMT_E_ARG, "the plan is refused");
	for (size_t i = 0; i < plan->n_targets; i++)
		if (!bcfmt_dev_is_writable(plan->targets[i].dev))
			return bcfmt_fail(plan->ctx, BCFMT_E_ARG, "%s: opened for reading only",
					  bcfmt_dev_name(plan->targets[i].dev));
	for (size_t i = 0; i < plan->n_steps; i++) {
		const struct bcfmt_make_step *step = &plan->steps[i];
		bool is_last = i + 1 == plan->n_steps || step[1].target != step->target;

		if (bcfmt_ctx_is_cancelled(plan->ctx))
			return bcfmt_fail(plan->ctx, BCFMT_E_CANCELLED, "cancelled");
		plan->targets[step->target].state = BCFMT_MAKE_ERASED;
		err = carry_out(&run, step);
		if (err)
			return err;
		if (is_last)
			plan->targets[step->target].state = BCFMT_MAKE_COMPLETE;
	}
	return BCFMT_OK;
}

/*
 * What a piece of a device holds after all steps: zeros and writes of later steps lie over those
 * of earlier ones. All of the piece is written by one step or another.
 */
static void expect_piece(const struct bcfmt_make_plan *plan, size_t target, uint64_t begin_bytes,
			 uint64_t end_bytes, uint8_t *buf)
{
	for (size_t i = 0; i < plan->n_steps; i++) {
		const struct bcfmt_make_step *step = &plan->steps[i];
		uint64_t begin = max_u64(begin_bytes, step->offset_bytes);
		uint64_t end = min_u64(end_bytes, step->offset_bytes + step->len_bytes);

		if (step->target != target || begin >= end)
			continue;
		if (step->action == BCFMT_MAKE_ZERO)
			memset(buf + (begin - begin_bytes), 0, end - begin);
		else if (step->action == BCFMT_MAKE_WRITE)
			memcpy(buf + (begin - begin_bytes),
			       step->bytes + (begin - step->offset_bytes), end - begin);
	}
}

static bcfmt_err differs(const struct bcfmt_make_plan *plan, const struct bcfmt_make_step *step,
			 uint64_t begin_bytes, const uint8_t *want, const uint8_t *have)
{
	uint64_t at = 0;

	while (want[at] == have[at])
		at++;
	return bcfmt_fail(plan->ctx, BCFMT_E_DAMAGED,
			  "%s: sector %" PRIu64 ": the %s was written and reads back as something"
			  " else",
			  bcfmt_dev_name(plan->targets[step->target].dev),
			  (begin_bytes + at) / BCFMT_SECTOR_BYTES, step->purpose);
}

/* buf holds two pieces. */
static bcfmt_err verify_step(const struct bcfmt_make_plan *plan, const struct bcfmt_make_step *step,
			     uint64_t *done_bytes, uint8_t *buf)
{
	struct bcfmt_dev *dev = plan->targets[step->target].dev;
	uint64_t end_bytes = step->offset_bytes + step->len_bytes;
	uint8_t *want = buf + VERIFY_PIECE_BYTES;
	bcfmt_err err;

	for (uint64_t at = step->offset_bytes; at < end_bytes;) {
		size_t piece_bytes = min_u64(end_bytes - at, VERIFY_PIECE_BYTES);

		if (bcfmt_ctx_is_cancelled(plan->ctx))
			return bcfmt_fail(plan->ctx, BCFMT_E_CANCELLED, "cancelled");
		err = bcfmt_dev_read(dev, at, buf, piece_bytes);
		if (err)
			return err;
		expect_piece(plan, step->target, at, at + piece_bytes, want);
		if (memcmp(want, buf, piece_bytes))
			return differs(plan, step, at, want, buf);
		at += piece_bytes;
		*done_bytes += piece_bytes;
		bcfmt_ctx_progress(plan->ctx, "read back", *done_bytes, total_bytes(plan));
	}
	return BCFMT_OK;
}

bcfmt_err bcfmt_make_verify(const struct bcfmt_make_plan *plan)
{
	uint64_t done_bytes = 0;
	bcfmt_err err = BCFMT_OK;
	uint8_t *buf;

	if (plan->is_refused)
		return bcfmt_fail(plan->ctx, BCFMT_E_ARG, "the plan is refused");
	buf = malloc(2 * (size_t)VERIFY_PIECE_BYTES);
	if (!buf)
		return bcfmt_fail(plan->ctx, BCFMT_E_NOMEM, "out of memory to read back");
	for (size_t i = 0; i < plan->n_targets; i++)
		bcfmt_dev_forget(plan->targets[i].dev);
	for (size_t i = 0; !err && i < plan->n_steps; i++)
		if (plan->steps[i].action == BCFMT_MAKE_ZERO ||
		    plan->steps[i].action == BCFMT_MAKE_WRITE)
			err = verify_step(plan, &plan->steps[i], &done_bytes, buf);
	free(buf);
	return err;
}
