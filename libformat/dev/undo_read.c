/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Reading undo files: every record is verified and goes into a sorted index.
 *
 * Holds: behind the mark a record that is not whole ends the file; before it, it is damage. Nothing
 * of a file is used before all of it was verified.
 */
#include "dev/undo_impl.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include <bcfmt/crc64.h>

#include "base/bytes.h"
#include "base/checked.h"
#include "dev/dev_impl.h"

#define INDEX_BYTES_LEAST (1u << 20)

/* Where the reader is. */
struct reader {
	struct bcfmt_undo_file *file;
	uint64_t offset_bytes;
	uint64_t index;
	struct undo_header header; /* of the record there */
	const char *bad;	   /* why it is none, static; NULL: it is one */
};

struct undo_file_device *undo_file_device_at(const struct bcfmt_undo_file *file, size_t i)
{
	return VEC_AT(&file->devices, struct undo_file_device, i);
}

static bcfmt_err damaged(const struct reader *reader, const char *what)
{
	return bcfmt_fail(reader->file->ctx, BCFMT_E_DAMAGED,
			  "%s: byte %" PRIu64 ": record %" PRIu64 ": %s", reader->file->store->name,
			  reader->offset_bytes, reader->index, what);
}

/* ---- one record ---- */

static bcfmt_err check_range(const struct reader *reader)
{
	const struct undo_header *header = &reader->header;
	uint32_t flags = header->flags;
	uint64_t end_sector, device_sectors;

	if (flags & ~UNDO_FLAGS_ALL || (flags & UNDO_NEW_IS_ZERO && flags & UNDO_NEW_IS_OLD))
		return damaged(reader, "unknown flags");
	device_sectors =
		undo_file_device_at(reader->file, header->device)->info.bytes / BCFMT_SECTOR_BYTES;
	if (!header->sectors || add_overflows(header->first_sector, header->sectors, &end_sector) ||
	    end_sector > device_sectors)
		return damaged(reader, "sectors that the device does not have");
	if (!(flags & UNDO_OLD_IS_ZERO && flags & (UNDO_NEW_IS_ZERO | UNDO_NEW_IS_OLD)) &&
	    header->sectors > UNDO_PIECE_SECTORS)
		return damaged(reader, "more sectors than a record holds");
	if (header->payload_bytes != undo_old_bytes(header->type, flags, header->sectors) +
					     undo_new_bytes(flags, header->sectors))
		return damaged(reader, "another length than its sectors need");
	return BCFMT_OK;
}

/* What a header with a right checksum says that cannot be: made so, and no work of a power cut. */
static bcfmt_err check_header(const struct reader *reader)
{
	const struct undo_header *header = &reader->header;
	size_t n_devices = reader->file->devices.n;

	switch (header->type) {
	case UNDO_DEVICE:
		if (header->device != n_devices || n_devices == BCFMT_UNDO_DEVICES_MAX)
			return damaged(reader, "a device out of order, or too many");
		if (!header->device_bytes || header->device_bytes % BCFMT_SECTOR_BYTES ||
		    header->device_bytes > INT64_MAX)
			return damaged(reader, "a size that no device has");
		break;
	case UNDO_IDENT:
	case UNDO_SAVE:
	case UNDO_AGAIN:
		if (header->device >= n_devices)
			return damaged(reader, "a device that is not in the file");
		if (header->type != UNDO_IDENT)
			return check_range(reader);
		break;
	case UNDO_BEGIN:
	case UNDO_MARK:
	default:
		return bcfmt_fail(reader->file->ctx, BCFMT_E_UNSUPPORTED,
				  "%s: byte %" PRIu64 ": record of type %u",
				  reader->file->store->name, reader->offset_bytes,
				  (unsigned int)header->type);
	}
	if (header->payload_bytes)
		return damaged(reader, "payload where none belongs");
	return BCFMT_OK;
}

static bcfmt_err check_payload(struct reader *reader)
{
	struct bcfmt_undo_file *file = reader->file;
	uint64_t at_bytes = reader->offset_bytes + UNDO_HEADER_BYTES;
	uint64_t left_bytes = reader->header.payload_bytes;
	uint64_t csum = 0;

	file->info.is_torn = true;
	if (left_bytes > file->store->bytes - at_bytes) {
		reader->bad = "it ends behind the end of the file";
		return BCFMT_OK;
	}
	while (left_bytes) {
		size_t piece_bytes = min_u64(left_bytes, UNDO_PIECE_BYTES);
		bcfmt_err err = bcfmt_dev_read(file->store, at_bytes, file->old, piece_bytes);

		if (err)
			return err;
		/* The first of it is not seeded: ~0 is how a checksum begins. */
		csum = bcfmt_crc64_seeded(~csum, file->old, piece_bytes);
		at_bytes += piece_bytes;
		left_bytes -= piece_bytes;
	}
	file->info.is_torn = csum != reader->header.payload_csum;
	if (file->info.is_torn)
		reader->bad = "wrong checksum of what it holds";
	return BCFMT_OK;
}

/* Reads and verifies the record at the reader's place. bad is set when there is none. */
static bcfmt_err read_record(struct reader *reader)
{
	struct bcfmt_undo_file *file = reader->file;
	uint8_t raw[UNDO_HEADER_BYTES];
	const uint8_t *id;
	bcfmt_err err = bcfmt_dev_read(file->store, reader->offset_bytes, raw, sizeof(raw));

	if (err)
		return err;
	reader->bad = NULL;
	if (!undo_header_decode(raw, &reader->header, &id)) {
		reader->bad = "no header, or a wrong checksum of it";
		file->info.is_torn = !bytes_are_zero(raw, sizeof(raw));
		return BCFMT_OK;
	}
	if (memcmp(file->info.id, id, BCFMT_UUID_BYTES) || reader->header.index != reader->index ||
	    reader->header.offset_bytes != reader->offset_bytes) {
		reader->bad = "it belongs elsewhere";
		file->info.is_torn = true;
		return BCFMT_OK;
	}
	err = check_header(reader);
	return err ? err : check_payload(reader);
}

/* ---- what a record says ---- */

static bcfmt_err take_device(const struct reader *reader)
{
	const struct undo_header *header = &reader->header;
	struct undo_file_device *device = vec_push(&reader->file->devices, sizeof(*device));

	if (!device)
		return bcfmt_fail(reader->file->ctx, BCFMT_E_NOMEM, "%s: out of memory",
				  reader->file->store->name);
	*device = (struct undo_file_device){
		.info.bytes = header->device_bytes,
		.info.logical_block_bytes = header->logical_block_bytes,
		.info.before = header->ident,
	};
	memcpy(device->info.name, header->name, sizeof(device->info.name));
	return BCFMT_OK;
}

static bcfmt_err take_range(const struct reader *reader)
{
	const struct undo_header *header = &reader->header;
	struct undo_file_device *device = undo_file_device_at(reader->file, header->device);
	struct undo_extent extent = {
		.start_sector = header->first_sector,
		.end_sector = header->first_sector + header->sectors,
		.offset_bytes = reader->offset_bytes,
		.device = header->device,
		.type = (uint16_t)header->type,
		.flags = (uint16_t)header->flags,
	};

	device->n_extents++;
	if (!(header->flags & UNDO_NEW_IS_OLD))
		device->info.is_needed = true;
	return runs_add(reader->file->extents, &extent, 1);
}

static bcfmt_err take_record(const struct reader *reader)
{
	struct bcfmt_undo_file *file = reader->file;

	switch (reader->header.type) {
	case UNDO_DEVICE:
		return take_device(reader);
	case UNDO_IDENT:
		undo_file_device_at(file, reader->header.device)->info.after = reader->header.ident;
		return BCFMT_OK;
	case UNDO_SAVE:
	case UNDO_AGAIN:
		return take_range(reader);
	case UNDO_BEGIN:
	case UNDO_MARK:
		break;
	}
	return BCFMT_E_UNSUPPORTED;
}

/* ---- the file ---- */

/* A header at one of the fixed places; false when there is none of this type. */
static bcfmt_err read_fixed(struct bcfmt_undo_file *file, uint64_t offset_bytes,
			    enum undo_type type, struct undo_header *header, uint8_t *id,
			    bool *is_there)
{
	uint8_t raw[UNDO_HEADER_BYTES];
	const uint8_t *its_id;
	bcfmt_err err;

	*is_there = false;
	if (file->store->bytes < offset_bytes + sizeof(raw))
		return BCFMT_OK;
	err = bcfmt_dev_read(file->store, offset_bytes, raw, sizeof(raw));
	if (err || !undo_header_decode(raw, header, &its_id) || header->type != type ||
	    header->offset_bytes != offset_bytes)
		return err;
	memcpy(id, its_id, BCFMT_UUID_BYTES);
	*is_there = true;
	return BCFMT_OK;
}

static bcfmt_err never_used(const struct bcfmt_undo_file *file, const char *what)
{
	return bcfmt_fail(file->ctx, BCFMT_E_DAMAGED,
			  "%s: %s; if that is because it was cut off here, it was never used",
			  file->store->name, what);
}

/* The first header, and the newer of the two marks. */
static bcfmt_err read_begin(struct bcfmt_undo_file *file)
{
	struct bcfmt_undo_info *info = &file->info;
	struct undo_header header;
	uint64_t newest = 0;
	uint8_t id[BCFMT_UUID_BYTES];
	bool is_there;
	unsigned int i;
	bcfmt_err err = read_fixed(file, 0, UNDO_BEGIN, &header, info->id, &is_there);

	if (err)
		return err;
	if (!is_there)
		return never_used(file, "does not begin as an undo file does");
	if (header.version != UNDO_VERSION)
		return bcfmt_fail(file->ctx, BCFMT_E_UNSUPPORTED,
				  "%s: undo file of version %" PRIu32 ", this program knows %u",
				  file->store->name, header.version, UNDO_VERSION);
	info->version = header.version;
	info->created_seconds = header.created_seconds;
	memcpy(info->reason, header.reason, sizeof(info->reason));
	memcpy(info->program_version, header.program_version, sizeof(info->program_version));
	for (i = 0; i < UNDO_MARKS; i++) {
		err = read_fixed(file, UNDO_MARK_AT(i), UNDO_MARK, &header, id, &is_there);
		if (err)
			return err;
		if (!is_there || memcmp(id, info->id, sizeof(id)) || header.index <= newest)
			continue;
		newest = header.index;
		file->marked_bytes = header.marked_bytes;
		info->is_complete = header.is_complete;
	}
	if (!newest)
		return never_used(file, "has no mark");
	if (file->marked_bytes < UNDO_RECORDS_AT || file->marked_bytes % UNDO_HEADER_BYTES)
		return bcfmt_fail(file->ctx, BCFMT_E_DAMAGED, "%s: a mark at byte %" PRIu64,
				  file->store->name, file->marked_bytes);
	if (file->marked_bytes > file->store->bytes)
		return bcfmt_fail(file->ctx, BCFMT_E_DAMAGED,
				  "%s: %" PRIu64 " bytes of it were durable, %" PRIu64
				  " are there: its end is lost",
				  file->store->name, file->marked_bytes, file->store->bytes);
	return BCFMT_OK;
}

/* There is no whole record at the reader's place. */
static bcfmt_err judge_end(const struct reader *reader)
{
	struct bcfmt_undo_file *file = reader->file;

	if (reader->offset_bytes >= file->marked_bytes)
		return BCFMT_OK;
	return damaged(reader, reader->bad);
}

static bcfmt_err read_records(struct bcfmt_undo_file *file)
{
	struct reader reader = { .file = file, .offset_bytes = UNDO_RECORDS_AT };
	uint64_t end_bytes = file->info.is_complete ? file->marked_bytes : file->store->bytes;
	bcfmt_err err = BCFMT_OK;

	while (!err && reader.offset_bytes < end_bytes &&
	       end_bytes - reader.offset_bytes >= UNDO_HEADER_BYTES) {
		if (bcfmt_ctx_is_cancelled(file->ctx))
			return bcfmt_fail(file->ctx, BCFMT_E_CANCELLED, "%s: cancelled",
					  file->store->name);
		bcfmt_ctx_progress(file->ctx, "undo file", reader.offset_bytes, end_bytes);
		err = read_record(&reader);
		if (err)
			return err;
		if (reader.bad) {
			err = judge_end(&reader);
			break;
		}
		err = take_record(&reader);
		reader.offset_bytes += UNDO_HEADER_BYTES + reader.header.payload_bytes;
		reader.index++;
	}
	if (!err && file->info.is_complete && reader.offset_bytes != end_bytes)
		err = damaged(&reader, "it ends behind the end that the file says it has");
	file->info.records = reader.index;
	file->info.bytes = reader.offset_bytes;
	file->info.n_devices = file->devices.n;
	bcfmt_ctx_progress(file->ctx, "undo file", end_bytes, end_bytes);
	return err;
}

/* ---- the index ---- */

static int order_of(uint64_t a, uint64_t b)
{
	return (a > b) - (a < b);
}

static int extent_cmp(const void *a, const void *b)
{
	const struct undo_extent *one = a, *two = b;
	int order = order_of(one->device, two->device);

	if (!order)
		order = order_of(one->start_sector, two->start_sector);
	if (!order)
		order = order_of(one->offset_bytes, two->offset_bytes);
	return order;
}

static bcfmt_err count_segment(void *arg, const struct undo_segment *segment)
{
	struct undo_file_device *device = arg;

	device->info.saved_sectors += segment->end_sector - segment->start_sector;
	if (segment->start_sector <= UNDO_SUPER_SECTOR && segment->end_sector > UNDO_SUPER_SECTOR)
		device->has_super_sector = true;
	return BCFMT_OK;
}

/* Sorts the index, and goes through it once to see that the ranges belong together. */
static bcfmt_err make_index(struct bcfmt_undo_file *file)
{
	uint64_t first_extent = 0;
	bcfmt_err err = runs_sort(file->extents);
	size_t i;

	for (i = 0; !err && i < file->devices.n; i++) {
		struct undo_file_device *device = undo_file_device_at(file, i);

		device->first_extent = first_extent;
		first_extent += device->n_extents;
		err = undo_sweep(file, i, count_segment, device);
	}
	return err;
}

/* ---- opening ---- */

static struct bcfmt_undo_file *file_new(struct bcfmt_ctx *ctx)
{
	struct bcfmt_undo_file *file = calloc(1, sizeof(*file));

	if (!file)
		return NULL;
	file->ctx = ctx;
	file->now = malloc(UNDO_PIECE_BYTES);
	file->old = malloc(UNDO_PIECE_BYTES);
	file->csums = malloc(UNDO_CSUMS_BYTES_MAX);
	file->wanted = malloc(UNDO_CSUMS_BYTES_MAX);
	file->states = malloc(UNDO_PIECE_SECTORS);
	if (file->now && file->old && file->csums && file->wanted && file->states)
		return file;
	bcfmt_undo_file_free(file);
	return NULL;
}

/* Too short to be opened as a device: what a power cut can leave of a new file. */
static bool is_too_short(const char *path)
{
	struct stat st;

	return !stat(path, &st) && S_ISREG(st.st_mode) && st.st_size < UNDO_HEADER_BYTES;
}

static bcfmt_err open_store(struct bcfmt_undo_file *file, const char *path, struct bcfmt_dev *store)
{
	file->is_store_owned = !store;
	file->store = store;
	if (store)
		return BCFMT_OK;
	if (is_too_short(path))
		return bcfmt_fail(file->ctx, BCFMT_E_DAMAGED,
				  "%s: too short for an undo file; if that is because it was cut"
				  " off here, it was never used",
				  path);
	return bcfmt_dev_open(file->ctx, path, 0, &file->store);
}

static bcfmt_err open_file(struct bcfmt_ctx *ctx, const char *path, struct bcfmt_dev *store,
			   struct bcfmt_undo_file **out)
{
	struct bcfmt_undo_file *file = file_new(ctx);
	bcfmt_err err;

	*out = NULL;
	if (!file)
		return bcfmt_fail(ctx, BCFMT_E_NOMEM, "out of memory for an undo file");
	err = open_store(file, path, store);
	if (!err)
		err = runs_new(ctx, sizeof(struct undo_extent),
			       max_u64(bcfmt_ctx_max_bytes(ctx), INDEX_BYTES_LEAST), extent_cmp,
			       &file->extents);
	if (!err)
		err = read_begin(file);
	if (!err)
		err = read_records(file);
	if (!err)
		err = make_index(file);
	if (err) {
		bcfmt_undo_file_free(file);
		return err;
	}
	*out = file;
	return BCFMT_OK;
}

bcfmt_err bcfmt_undo_file_open(struct bcfmt_ctx *ctx, const char *path,
			       struct bcfmt_undo_file **out)
{
	return open_file(ctx, path, NULL, out);
}

bcfmt_err bcfmt_undo_file_open_dev(struct bcfmt_ctx *ctx, struct bcfmt_dev *dev,
				   struct bcfmt_undo_file **out)
{
	return open_file(ctx, NULL, dev, out);
}

void bcfmt_undo_file_free(struct bcfmt_undo_file *file)
{
	if (!file)
		return;
	if (file->is_store_owned)
		bcfmt_dev_free(file->store);
	vec_free(&file->devices);
	runs_free(file->extents);
	free(file->now);
	free(file->old);
	free(file->csums);
	free(file->wanted);
	free(file->states);
	free(file);
}

const struct bcfmt_undo_info *bcfmt_undo_file_info(const struct bcfmt_undo_file *file)
{
	return &file->info;
}

const struct bcfmt_undo_device *bcfmt_undo_file_device(const struct bcfmt_undo_file *file, size_t i)
{
	return &undo_file_device_at(file, i)->info;
}
