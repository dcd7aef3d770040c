/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Saving: ranges of a device become records of an undo file, one for each run of one kind. */
#include "dev/undo_write.h"

#include <inttypes.h>
#include <string.h>

#include "base/bytes.h"
#include "base/checked.h"
#include "dev/dev_impl.h"

/* Zeros are told from data in steps of this: a header for less would cost more than it saves. */
#define STEP_SECTORS 8u

bcfmt_err undo_put_run(struct bcfmt_undo *undo, const struct undo_run *run, const uint8_t *old,
		       const uint8_t *new)
{
	struct undo_header header = {
		.type = run->type,
		.device = run->device,
		.first_sector = run->first_sector,
		.sectors = run->sectors,
		.flags = run->flags,
	};
	uint64_t old_bytes = undo_old_bytes(run->type, run->flags, run->sectors);
	uint64_t new_bytes = undo_new_bytes(run->flags, run->sectors);
	const void *first = old;
	bcfmt_err err;

	if (old_bytes && run->type == UNDO_AGAIN) {
		memset(undo->csums[0], 0, old_bytes);
		undo_csums(old, run->sectors, undo->csums[0]);
		first = undo->csums[0];
	}
	if (new_bytes) {
		memset(undo->csums[1], 0, new_bytes);
		undo_csums(new, run->sectors, undo->csums[1]);
	}
	err = undo_put_record(undo, &header, first, old_bytes, undo->csums[1], new_bytes);
	if (err || run->type == UNDO_AGAIN)
		return err;
	err = range_map_join(&undo_target_at(undo, run->device)->saved, run->first_sector,
			     run->first_sector + run->sectors);
	if (!err)
		return BCFMT_OK;
	undo->failed = err;
	return bcfmt_fail(undo->ctx, err, "out of memory for the undo file");
}

static bcfmt_err put_pending(struct bcfmt_undo *undo)
{
	struct undo_run run = undo->pending;

	undo->pending.sectors = 0;
	return run.sectors ? undo_put_run(undo, &run, NULL, NULL) : BCFMT_OK;
}

/* A run of a piece that begins at piece_sector. Zeros that stay zeros are kept: they may go on. */
static bcfmt_err take_run(struct bcfmt_undo *undo, const struct undo_run *run,
			  uint64_t piece_sector, const uint8_t *new)
{
	struct undo_run *pending = &undo->pending;
	uint64_t at_bytes = (run->first_sector - piece_sector) * BCFMT_SECTOR_BYTES;
	bcfmt_err err;

	if (pending->sectors && pending->type == run->type && pending->flags == run->flags &&
	    pending->first_sector + pending->sectors == run->first_sector) {
		pending->sectors += run->sectors;
		return BCFMT_OK;
	}
	err = put_pending(undo);
	if (err)
		return err;
	if (run->flags == (UNDO_OLD_IS_ZERO | UNDO_NEW_IS_ZERO)) {
		*pending = *run;
		return BCFMT_OK;
	}
	return undo_put_run(undo, run, undo->piece + at_bytes, new ? new + at_bytes : NULL);
}

/* Whether a sector was saved before, and up to where, at most *until, that goes on. */
static enum undo_type type_at(const struct bcfmt_undo *undo, uint32_t device, uint64_t sector,
			      uint64_t *until)
{
	struct range range;

	if (!range_map_at(&undo_target_at(undo, device)->saved, sector, &range))
		return UNDO_SAVE;
	if (range.start > sector) {
		*until = min_u64(*until, range.start);
		return UNDO_SAVE;
	}
	*until = min_u64(*until, range.end);
	return UNDO_AGAIN;
}

/* A step of a piece, or what is left of one: which kind of record it belongs to. */
static void classify(const struct bcfmt_undo *undo, uint64_t piece_sector, uint64_t end_sector,
		     const uint8_t *new, struct undo_run *step)
{
	uint64_t sector = step->first_sector;
	uint64_t until = min_u64((sector / STEP_SECTORS + 1) * STEP_SECTORS, end_sector);
	uint64_t at_bytes = (sector - piece_sector) * BCFMT_SECTOR_BYTES;

	step->type = type_at(undo, step->device, sector, &until);
	step->sectors = until - sector;
	step->flags = 0;
	if (bytes_are_zero(undo->piece + at_bytes, step->sectors * BCFMT_SECTOR_BYTES))
		step->flags |= UNDO_OLD_IS_ZERO;
	if (!new || bytes_are_zero(new + at_bytes, step->sectors * BCFMT_SECTOR_BYTES))
		step->flags |= UNDO_NEW_IS_ZERO;
}

/* The piece is in memory. Steps of one kind become one run. */
static bcfmt_err save_piece(struct bcfmt_undo *undo, uint32_t device, uint64_t first_sector,
			    uint64_t sectors, const uint8_t *new)
{
	uint64_t end_sector = first_sector + sectors;
	struct undo_run run = { .device = device, .first_sector = first_sector };
	bcfmt_err err = BCFMT_OK;

	while (!err && run.first_sector < end_sector) {
		struct undo_run step;
		uint64_t until;

		classify(undo, first_sector, end_sector, new, &run);
		for (until = run.first_sector + run.sectors; until < end_sector;
		     until += step.sectors) {
			step = run;
			step.first_sector = until;
			classify(undo, first_sector, end_sector, new, &step);
			if (step.type != run.type || step.flags != run.flags)
				break;
		}
		run.sectors = until - run.first_sector;
		err = take_run(undo, &run, first_sector, new);
		run.first_sector = until;
	}
	return err;
}

/* Zeros over a hole of any length: nothing is read. */
static bcfmt_err save_hole(struct bcfmt_undo *undo, uint32_t device, uint64_t first_sector,
			   uint64_t end_sector)
{
	bcfmt_err err = BCFMT_OK;

	while (!err && first_sector < end_sector) {
		struct undo_run run = { .flags = UNDO_OLD_IS_ZERO | UNDO_NEW_IS_ZERO,
					.device = device,
					.first_sector = first_sector };
		uint64_t until = end_sector;

		run.type = type_at(undo, device, first_sector, &until);
		run.sectors = until - first_sector;
		err = take_run(undo, &run, first_sector, NULL);
		first_sector = until;
	}
	return err;
}

/* Saves some of a range, from offset_bytes on: *done_bytes. new is what will be there, or NULL. */
static bcfmt_err save_some(struct bcfmt_undo *undo, uint32_t device, uint64_t offset_bytes,
			   const uint8_t *new, uint64_t len_bytes, uint64_t *done_bytes)
{
	struct bcfmt_dev *dev = undo_target_at(undo, device)->dev;
	uint64_t first_sector = offset_bytes / BCFMT_SECTOR_BYTES;
	uint64_t begin_bytes = 0, end_bytes = 0;
	size_t piece_bytes = UNDO_PIECE_BYTES - offset_bytes % UNDO_PIECE_BYTES;
	bcfmt_err err = bcfmt_dev_next_data(dev, offset_bytes, &begin_bytes, &end_bytes);

	if (err < 0)
		return err;
	begin_bytes = err == BCFMT_END ? dev->bytes : begin_bytes;
	begin_bytes -= begin_bytes % BCFMT_SECTOR_BYTES;
	if (!new &&begin_bytes > offset_bytes) {
		*done_bytes = min_u64(begin_bytes - offset_bytes, len_bytes);
		return save_hole(undo, device, first_sector,
				 first_sector + *done_bytes / BCFMT_SECTOR_BYTES);
	}
	piece_bytes = min_u64(piece_bytes, len_bytes);
	*done_bytes = piece_bytes;
	err = bcfmt_dev_read(dev, offset_bytes, undo->piece, piece_bytes);
	if (err)
		return err;
	return save_piece(undo, device, first_sector, piece_bytes / BCFMT_SECTOR_BYTES, new);
}

/* The superblock that is going to be written, when it is one. */
static bcfmt_err save_ident(struct bcfmt_undo *undo, uint32_t device, uint64_t offset_bytes,
			    const uint8_t *new, uint64_t len_bytes)
{
	struct undo_header header = { .type = UNDO_IDENT, .device = device };
	uint64_t before_bytes;

	if (!new || offset_bytes > BCFMT_SUPER_OFFSET_BYTES)
		return BCFMT_OK;
	before_bytes = BCFMT_SUPER_OFFSET_BYTES - offset_bytes;
	if (len_bytes < before_bytes + BCFMT_SUPER_BYTES)
		return BCFMT_OK;
	undo_ident_of(new + before_bytes, &header.ident);
	if (header.ident.role == BCFMT_UNDO_OTHER)
		return BCFMT_OK;
	return undo_put_record(undo, &header, NULL, 0, NULL, 0);
}

bcfmt_err bcfmt_undo_save(struct bcfmt_undo *undo, unsigned int index, uint64_t offset_bytes,
			  const void *new_bytes, uint64_t len_bytes)
{
	const uint8_t *new = new_bytes;
	struct bcfmt_dev *dev;
	uint64_t at_bytes, done_bytes = 0;
	bcfmt_err err = undo_check_open(undo);

	if (err)
		return err;
	if (index >= undo->targets.n)
		return bcfmt_fail(undo->ctx, BCFMT_E_ARG, "device %u is not in the undo file",
				  index);
	dev = undo_target_at(undo, index)->dev;
	if (offset_bytes % BCFMT_SECTOR_BYTES || len_bytes % BCFMT_SECTOR_BYTES)
		return bcfmt_fail(undo->ctx, BCFMT_E_ARG,
				  "%s: byte %" PRIu64 ", length %" PRIu64 ": not whole sectors",
				  dev->name, offset_bytes, len_bytes);
	if (offset_bytes > dev->bytes || len_bytes > dev->bytes - offset_bytes)
		return bcfmt_fail(undo->ctx, BCFMT_E_RANGE,
				  "%s: sector %" PRIu64 ": cannot save %" PRIu64
				  " bytes: the device ends at sector %" PRIu64,
				  dev->name, offset_bytes / BCFMT_SECTOR_BYTES, len_bytes,
				  dev->bytes / BCFMT_SECTOR_BYTES);
	err = save_ident(undo, index, offset_bytes, new, len_bytes);
	for (at_bytes = 0; !err && at_bytes < len_bytes; at_bytes += done_bytes)
		err = save_some(undo, index, offset_bytes + at_bytes, new ? new + at_bytes : NULL,
				len_bytes - at_bytes, &done_bytes);
	/* After an error too: what came before it is saved. */
	if (!undo->failed) {
		bcfmt_err pending_err = put_pending(undo);

		err = err ? err : pending_err;
	}
	return err;
}
