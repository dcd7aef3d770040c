/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Writing undo files.
 *
 * Holds: records are appended and never changed. The old contents of a sector stand in one SAVE
 * record, the first that covers it; what the same sector holds and will hold later is in AGAIN
 * records. A mark is written after a flush of what it is about, and is flushed itself before the
 * caller may write.
 */
#include "dev/undo_write.h"

#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>
#include <uuid/uuid.h>

#include <bcfmt/crc64.h>

#include "dev/dev_impl.h"

struct undo_target *undo_target_at(const struct bcfmt_undo *undo, size_t i)
{
	return VEC_AT(&undo->targets, struct undo_target, i);
}

static bcfmt_err put_at(struct bcfmt_undo *undo, uint64_t offset_bytes, const void *bytes,
			uint64_t len_bytes)
{
	bcfmt_err err = bcfmt_dev_write(undo->store, offset_bytes, bytes, len_bytes);

	if (err)
		undo->failed = err;
	return err;
}

static bcfmt_err put(struct bcfmt_undo *undo, const void *bytes, uint64_t len_bytes)
{
	undo->next_bytes += len_bytes;
	return put_at(undo, undo->next_bytes - len_bytes, bytes, len_bytes);
}

static bcfmt_err flush(struct bcfmt_undo *undo)
{
	bcfmt_err err = bcfmt_dev_flush(undo->store);

	if (err)
		undo->failed = err;
	return err;
}

bcfmt_err undo_put_record(struct bcfmt_undo *undo, struct undo_header *header, const void *first,
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
	undo->is_marked = false;
	err = put(undo, raw, sizeof(raw));
	if (!err && first_bytes)
		err = put(undo, first, first_bytes);
	if (!err && second_bytes)
		err = put(undo, second, second_bytes);
	return err;
}

/* Everything so far is durable, and is said to be. */
static bcfmt_err mark(struct bcfmt_undo *undo, bool is_complete)
{
	struct undo_header header = {
		.type = UNDO_MARK,
		.index = undo->next_mark,
		.offset_bytes = UNDO_MARK_AT(undo->next_mark % UNDO_MARKS),
		.marked_bytes = undo->next_bytes,
		.is_complete = is_complete,
	};
	uint8_t raw[UNDO_HEADER_BYTES];
	bcfmt_err err = undo->is_marked ? BCFMT_OK : flush(undo);

	if (err)
		return err;
	undo_header_encode(&header, undo->id, raw);
	err = put_at(undo, header.offset_bytes, raw, sizeof(raw));
	if (!err)
		err = flush(undo);
	undo->next_mark++;
	undo->is_marked = !err;
	return err;
}

bcfmt_err undo_check_open(const struct bcfmt_undo *undo)
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

/* The whole of it before the first record. A file without it was never used. */
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
	undo->next_bytes = UNDO_RECORDS_AT;
	undo->next_mark = 1;
	/* Zeros up to there, so that a file that is shorter has lost something. */
	memset(undo->piece, 0, UNDO_RECORDS_AT);
	undo_header_encode(&header, undo->id, undo->piece);
	err = put_at(undo, 0, undo->piece, UNDO_RECORDS_AT);
	return err ? err : mark(undo, false);
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
	err = undo_put_record(undo, &header, NULL, 0, NULL, 0);
	if (err || header.ident.role == BCFMT_UNDO_OTHER)
		return err;
	return undo_put_run(undo, &super, undo->piece, NULL);
}

bcfmt_err bcfmt_undo_add_device(struct bcfmt_undo *undo, struct bcfmt_dev *dev, unsigned int *index)
{
	struct undo_target *target;
	size_t n = undo->targets.n;
	bcfmt_err err = undo_check_open(undo);
	size_t i;

	if (err)
		return err;
	for (i = 0; i < n; i++) {
		if (undo_target_at(undo, i)->dev == dev) {
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
	bcfmt_err err = undo_check_open(undo);

	return err || undo->is_marked ? err : mark(undo, false);
}

static void close_store(struct bcfmt_undo *undo)
{
	if (undo->is_store_owned)
		bcfmt_dev_free(undo->store);
	undo->store = NULL;
}

bcfmt_err bcfmt_undo_finish(struct bcfmt_undo *undo)
{
	bcfmt_err err = undo_check_open(undo);

	if (err)
		return err;
	err = mark(undo, true);
	close_store(undo);
	return err;
}

void bcfmt_undo_free(struct bcfmt_undo *undo)
{
	size_t i;

	if (!undo)
		return;
	for (i = 0; i < undo->targets.n; i++)
		range_map_clear(&undo_target_at(undo, i)->saved);
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
