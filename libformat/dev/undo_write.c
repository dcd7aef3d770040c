/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Writing undo files.
 *
 * Holds: records are appended and never changed. The old contents of a sector stand in one SAVE
 * record, the first that covers it; what the same sector holds and will hold later is in AGAIN
 * records. A MARK is written after a flush and before the flush that lets the caller write: where
 * there is one, all before it was durable.
 */
#include "dev/undo_impl.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>
#include <uuid/uuid.h>

#include <bcfmt/crc64.h>

#include "base/bytes.h"
#include "base/checked.h"
#include "base/vec.h"
#include "dev/dev_impl.h"
#include "dev/range_map.h"

/* Zeros are told from data in steps of this: a header for less would cost more than it saves. */
#define STEP_SECTORS 8u

struct undo_target {
	struct bcfmt_dev *dev;	/* borrowed */
	struct range_map saved; /* sectors; the values mean nothing */
};

/* A range of one kind that becomes one record. */
struct undo_run {
	enum undo_type type;
	uint32_t flags;
	uint32_t device;
	uint64_t first_sector;
	uint64_t sectors; /* 0: none */
};

struct bcfmt_undo {
	struct bcfmt_ctx *ctx;
	struct bcfmt_dev *store; /* NULL after finish */
	bool is_store_owned;
	bool is_marked;	  /* nothing was written since the last mark */
	bcfmt_err failed; /* of the first write that did; it stays so */
	uint8_t id[BCFMT_UUID_BYTES];
	uint64_t next_bytes;
	uint64_t next_index;
	struct vec targets;	 /* of struct undo_target */
	struct undo_run pending; /* zeros that were and will be, and may go on */
	uint8_t *piece;		 /* UNDO_PIECE_BYTES: what the device holds */
	uint8_t *csums[2];	 /* UNDO_CSUMS_BYTES_MAX each, of old and new contents */
};

static struct undo_target *target_at(const struct bcfmt_undo *undo, size_t i)
{
	return VEC_AT(&undo->targets, struct undo_target, i);
}

static bcfmt_err put(struct bcfmt_undo *undo, const void *bytes, uint64_t len_bytes)
{
	bcfmt_err err = bcfmt_dev_write(undo->store, undo->next_bytes, bytes, len_bytes);

	undo->next_bytes += len_bytes;
	if (err)
		undo->failed = err;
	return err;
}

static bcfmt_err flush(struct bcfmt_undo *undo)
{
	bcfmt_err err = bcfmt_dev_flush(undo->store);

	if (err)
		undo->failed = err;
	return err;
}

/* Appends a record; the two parts of its payload are whole sectors, or nothing. */
static bcfmt_err put_record(struct bcfmt_undo *undo, struct undo_header *header, const void *first,
			    uint64_t first_bytes, const void *second, uint64_t second_bytes)
{
	uint8_t raw[UNDO_HEADER_BYTES];
	uint64_t csum = 0;
	bcfmt_err err;

	/* The checksum of nothing is 0, and one part goes on where the other ends. */
	if (first_bytes)
		csum = bcfmt_crc64(first, first_bytes);
	if (second_bytes)
		csum = bcfmt_crc64_seeded(~csum, second, second_bytes);
	header->index = undo->next_index++;
	header->offset_bytes = undo->next_bytes;
	header->payload_bytes = first_bytes + second_bytes;
	header->payload_csum = csum;
	undo_header_encode(header, undo->id, raw);
	undo->is_marked = header->type == UNDO_MARK || header->type == UNDO_END;
	err = put(undo, raw, sizeof(raw));
	if (!err && first_bytes)
		err = put(undo, first, first_bytes);
	if (!err && second_bytes)
		err = put(undo, second, second_bytes);
	return err;
}

/* Whether the file can still be written to. */
static bcfmt_err check_open(const struct bcfmt_undo *undo)
{
	if (undo->failed)
		return bcfmt_fail(undo->ctx, undo->failed,
				  "the undo file could not be written before");
	if (!undo->store)
		return bcfmt_fail(undo->ctx, BCFMT_E_ARG, "the undo file is finished");
	return BCFMT_OK;
}

static struct bcfmt_undo *undo_new(struct bcfmt_ctx *ctx)
{
	struct bcfmt_undo *undo = calloc(1, sizeof(*undo));

	if (!undo)
		return NULL;
	undo->ctx = ctx;
	undo->piece = malloc(UNDO_PIECE_BYTES);
	undo->csums[0] = malloc(UNDO_CSUMS_BYTES_MAX);
	undo->csums[1] = malloc(UNDO_CSUMS_BYTES_MAX);
	if (undo->piece && undo->csums[0] && undo->csums[1])
		return undo;
	bcfmt_undo_free(undo);
	return NULL;
}

static void cut_text(char text[BCFMT_UNDO_TEXT_BYTES], const char *whole)
{
	memcpy(text, whole, strnlen(whole, BCFMT_UNDO_TEXT_BYTES - 1));
}

/* The first record, durable: a file without one was never used. */
static bcfmt_err begin(struct bcfmt_undo *undo, const char *reason)
{
	time_t now = time(NULL);
	struct undo_header header = {
		.type = UNDO_BEGIN,
		.version = UNDO_VERSION,
		.created_seconds = now > 0 ? (uint64_t)now : 0,
	};
	bcfmt_err err;

	cut_text(header.reason, reason);
	cut_text(header.program_version, bcfmt_version());
	uuid_generate(undo->id);
	err = put_record(undo, &header, NULL, 0, NULL, 0);
	return err ? err : flush(undo);
}

static bcfmt_err create(struct bcfmt_ctx *ctx, const char *path, struct bcfmt_dev *store,
			const char *reason, struct bcfmt_undo **out)
{
	struct bcfmt_undo *undo = undo_new(ctx);
	bcfmt_err err = BCFMT_OK;

	*out = NULL;
	if (!undo)
		return bcfmt_fail(ctx, BCFMT_E_NOMEM, "out of memory for an undo file");
	undo->is_store_owned = !store;
	if (store)
		undo->store = store;
	else
		err = dev_file_create(ctx, path, &undo->store);
	if (!err) {
		err = begin(undo, reason);
		/* Nothing was saved in it, and the name is wanted for the next try. */
		if (err && path)
			unlink(path);
	}
	if (err) {
		bcfmt_undo_free(undo);
		return err;
	}
	*out = undo;
	return BCFMT_OK;
}

bcfmt_err bcfmt_undo_create(struct bcfmt_ctx *ctx, const char *path, const char *reason,
			    struct bcfmt_undo **out)
{
	return create(ctx, path, NULL, reason, out);
}

bcfmt_err bcfmt_undo_create_on(struct bcfmt_ctx *ctx, struct bcfmt_dev *store, const char *reason,
			       struct bcfmt_undo **out)
{
	return create(ctx, NULL, store, reason, out);
}

/* ---- saving ---- */

/* old: what the sectors hold, new: what they will; NULL where the flags of the run say it. */
static bcfmt_err put_run(struct bcfmt_undo *undo, const struct undo_run *run, const uint8_t *old,
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
	err = put_record(undo, &header, first, old_bytes, undo->csums[1], new_bytes);
	if (err || run->type == UNDO_AGAIN)
		return err;
	err = range_map_join(&target_at(undo, run->device)->saved, run->first_sector,
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
	return run.sectors ? put_run(undo, &run, NULL, NULL) : BCFMT_OK;
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
	return put_run(undo, run, undo->piece + at_bytes, new ? new + at_bytes : NULL);
}

/* A step of a piece, or what is left of one: which kind of record it belongs to. */
static void classify(const struct bcfmt_undo *undo, uint64_t piece_sector, uint64_t end_sector,
		     const uint8_t *new, struct undo_run *step)
{
	uint64_t sector = step->first_sector;
	uint64_t until = (sector / STEP_SECTORS + 1) * STEP_SECTORS;
	uint64_t at_bytes = (sector - piece_sector) * BCFMT_SECTOR_BYTES;
	struct range range;

	until = min_u64(until, end_sector);
	step->type = UNDO_SAVE;
	if (range_map_at(&target_at(undo, step->device)->saved, sector, &range)) {
		if (range.start <= sector) {
			step->type = UNDO_AGAIN;
			until = min_u64(until, range.end);
		} else {
			until = min_u64(until, range.start);
		}
	}
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

/* Fills the piece; what lies in a hole is not read. */
static bcfmt_err read_piece(struct bcfmt_undo *undo, struct bcfmt_dev *dev, uint64_t offset_bytes,
			    size_t len_bytes)
{
	uint64_t begin_bytes = 0, end_bytes = 0;
	bcfmt_err err = bcfmt_dev_next_data(dev, offset_bytes, &begin_bytes, &end_bytes);

	if (err < 0)
		return err;
	if (err == BCFMT_END || begin_bytes >= offset_bytes + len_bytes) {
		memset(undo->piece, 0, len_bytes);
		return BCFMT_OK;
	}
	return bcfmt_dev_read(dev, offset_bytes, undo->piece, len_bytes);
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
	return put_record(undo, &header, NULL, 0, NULL, 0);
}

bcfmt_err bcfmt_undo_save(struct bcfmt_undo *undo, unsigned int index, uint64_t offset_bytes,
			  const void *new_bytes, uint64_t len_bytes)
{
	const uint8_t *new = new_bytes;
	struct bcfmt_dev *dev;
	uint64_t done_bytes;
	bcfmt_err err = check_open(undo);

	if (err)
		return err;
	if (index >= undo->targets.n)
		return bcfmt_fail(undo->ctx, BCFMT_E_ARG, "device %u is not in the undo file",
				  index);
	dev = target_at(undo, index)->dev;
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
	for (done_bytes = 0; !err && done_bytes < len_bytes;) {
		uint64_t at_bytes = offset_bytes + done_bytes;
		size_t piece_bytes = UNDO_PIECE_BYTES - at_bytes % UNDO_PIECE_BYTES;

		piece_bytes = min_u64(piece_bytes, len_bytes - done_bytes);
		err = read_piece(undo, dev, at_bytes, piece_bytes);
		if (!err)
			err = save_piece(undo, index, at_bytes / BCFMT_SECTOR_BYTES,
					 piece_bytes / BCFMT_SECTOR_BYTES,
					 new ? new + done_bytes : NULL);
		done_bytes += piece_bytes;
	}
	/* After an error too: what came before it is saved. */
	if (!undo->failed) {
		bcfmt_err pending_err = put_pending(undo);

		err = err ? err : pending_err;
	}
	return err;
}

/* ---- devices ---- */

static bcfmt_err put_device(struct bcfmt_undo *undo, uint32_t index, struct bcfmt_dev *dev)
{
	struct undo_header header = {
		.type = UNDO_DEVICE,
		.device = index,
		.device_bytes = dev->bytes,
		.logical_block_bytes = dev->logical_block_bytes,
	};
	struct undo_run super = {
		.type = UNDO_SAVE,
		.flags = UNDO_NEW_IS_OLD,
		.device = index,
		.first_sector = UNDO_SUPER_SECTOR,
		.sectors = 1,
	};
	size_t name_bytes = strlen(dev->name);
	size_t left_out = 0;
	struct io_fault fault;
	bcfmt_err err;

	if (name_bytes >= sizeof(header.name))
		left_out = name_bytes - (sizeof(header.name) - 1);
	memcpy(header.name, dev->name + left_out, name_bytes - left_out);
	/* A superblock that cannot be read is none; whoever overwrites it is told by its save. */
	if (!dev_read_quiet(dev, BCFMT_SUPER_OFFSET_BYTES, undo->piece, BCFMT_SUPER_BYTES, &fault))
		undo_ident_of(undo->piece, &header.ident);
	err = put_record(undo, &header, NULL, 0, NULL, 0);
	if (err || header.ident.role == BCFMT_UNDO_OTHER)
		return err;
	return put_run(undo, &super, undo->piece, NULL);
}

bcfmt_err bcfmt_undo_add_device(struct bcfmt_undo *undo, struct bcfmt_dev *dev, unsigned int *index)
{
	struct undo_target *target;
	size_t n = undo->targets.n;
	bcfmt_err err = check_open(undo);
	size_t i;

	if (err)
		return err;
	for (i = 0; i < n; i++) {
		if (target_at(undo, i)->dev == dev) {
			*index = (unsigned int)i;
			return BCFMT_OK;
		}
	}
	if (n == BCFMT_UNDO_DEVICES_MAX)
		return bcfmt_fail(undo->ctx, BCFMT_E_ARG,
				  "%s: more than %u devices in an undo file", dev->name,
				  BCFMT_UNDO_DEVICES_MAX);
	target = vec_push(&undo->targets, sizeof(*target));
	if (!target)
		return bcfmt_fail(undo->ctx, BCFMT_E_NOMEM, "%s: out of memory", dev->name);
	*target = (struct undo_target){ .dev = dev };
	err = put_device(undo, (uint32_t)n, dev);
	if (!err)
		*index = (unsigned int)n;
	return err;
}

/* ---- making durable ---- */

bcfmt_err bcfmt_undo_sync(struct bcfmt_undo *undo)
{
	struct undo_header mark = { .type = UNDO_MARK };
	bcfmt_err err = check_open(undo);

	if (err || undo->is_marked)
		return err;
	err = flush(undo);
	if (!err)
		err = put_record(undo, &mark, NULL, 0, NULL, 0);
	return err ? err : flush(undo);
}

static void close_store(struct bcfmt_undo *undo)
{
	if (undo->is_store_owned)
		bcfmt_dev_free(undo->store);
	undo->store = NULL;
}

bcfmt_err bcfmt_undo_finish(struct bcfmt_undo *undo)
{
	struct undo_header end = { .type = UNDO_END };
	bcfmt_err err = check_open(undo);

	if (err)
		return err;
	if (!undo->is_marked)
		err = flush(undo);
	if (!err)
		err = put_record(undo, &end, NULL, 0, NULL, 0);
	if (!err)
		err = flush(undo);
	close_store(undo);
	return err;
}

void bcfmt_undo_free(struct bcfmt_undo *undo)
{
	size_t i;

	if (!undo)
		return;
	for (i = 0; i < undo->targets.n; i++)
		range_map_clear(&target_at(undo, i)->saved);
	vec_free(&undo->targets);
	close_store(undo);
	free(undo->csums[0]);
	free(undo->csums[1]);
	free(undo->piece);
	free(undo);
}

uint64_t bcfmt_undo_bytes(const struct bcfmt_undo *undo)
{
	return undo->next_bytes;
}
