/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Devices that write a dm-log-writes log of what is done to them, several on one timeline. */
#include <bcfmt/write_log.h>

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "base/bytes.h"
#include "base/checked.h"
#include "base/vec.h"
#include "dev/dev_impl.h"
#include "dev/write_log_impl.h"

/* Of the contents at the begin: what is one entry, or none when it is all zeros. */
#define BASE_PIECE_BYTES 65536u

struct bcfmt_recording {
	uint32_t entries;
	struct vec devices; /* of struct recording_dev *, borrowed */
};

struct recording_dev {
	struct bcfmt_dev dev;
	struct bcfmt_recording *recording; /* borrowed */
	struct bcfmt_dev *lower;	   /* borrowed */
	struct bcfmt_dev *log;		   /* borrowed */
	uint64_t next_bytes;		   /* of the log: where the next header goes */
};

static struct recording_dev *device_at(const struct bcfmt_recording *recording, size_t i)
{
	return *VEC_AT(&recording->devices, struct recording_dev *, i);
}

/* Appends one entry with data_bytes of data and makes the log count entries of them. */
static bcfmt_err append(struct recording_dev *rec, uint64_t start_bytes, const void *data,
			uint64_t data_bytes, uint32_t flags, uint32_t entries,
			struct io_fault *fault)
{
	uint8_t header[BCFMT_SECTOR_BYTES] = { 0 };
	uint8_t count[sizeof(uint64_t)];
	bcfmt_err err;

	store_le64(header, start_bytes / BCFMT_SECTOR_BYTES);
	store_le64(header + ENTRY_SECTORS_AT, data_bytes / BCFMT_SECTOR_BYTES);
	store_le64(header + ENTRY_FLAGS_AT, flags);
	store_le64(count, entries);
	err = dev_write_quiet(rec->log, rec->next_bytes, header, sizeof(header), fault);
	if (!err)
		err = dev_write_quiet(rec->log, rec->next_bytes + sizeof(header), data, data_bytes,
				      fault);
	/* Counted last: until then nobody sees it. */
	if (!err)
		err = dev_write_quiet(rec->log, SUPER_ENTRIES_AT, count, sizeof(count), fault);
	if (!err)
		rec->next_bytes += sizeof(header) + data_bytes;
	return err;
}

/* Every log has room for a header, that of rec for data_bytes more. */
static bool has_room(const struct recording_dev *rec, uint64_t data_bytes)
{
	const struct bcfmt_recording *recording = rec->recording;
	size_t i;

	for (i = 0; i < recording->devices.n; i++) {
		const struct recording_dev *other = device_at(recording, i);
		uint64_t need = BCFMT_SECTOR_BYTES + (other == rec ? data_bytes : 0);

		if (other->log->bytes - other->next_bytes < need)
			return false;
	}
	return true;
}

/* One entry in the log of rec, and a mark in each of the others. */
static bcfmt_err record(struct recording_dev *rec, uint64_t start_bytes, const void *data,
			uint64_t data_bytes, uint32_t flags, struct io_fault *fault)
{
	struct bcfmt_recording *recording = rec->recording;
	uint32_t entries = recording->entries + 1;
	bcfmt_err err = BCFMT_OK;
	size_t i;

	if (entries > BCFMT_WRITE_LOG_ENTRIES_MAX || !has_room(rec, data_bytes))
		return dev_io_fail(fault, BCFMT_E_RANGE, start_bytes, 0, "a write log is full");
	for (i = 0; !err && i < recording->devices.n; i++) {
		struct recording_dev *other = device_at(recording, i);

		if (other == rec)
			err = append(rec, start_bytes, data, data_bytes, flags, entries, fault);
		else
			err = append(other, 0, NULL, 0, BCFMT_WRITE_LOG_MARK, entries, fault);
	}
	if (!err)
		recording->entries = entries;
	return err;
}

static bcfmt_err recording_read(struct bcfmt_dev *dev, uint64_t offset_bytes, void *buf,
				size_t len_bytes, struct io_fault *fault)
{
	struct recording_dev *rec = (struct recording_dev *)dev;

	return dev_read_quiet(rec->lower, offset_bytes, buf, len_bytes, fault);
}

static bcfmt_err recording_write(struct bcfmt_dev *dev, uint64_t offset_bytes, const void *buf,
				 size_t len_bytes, struct io_fault *fault)
{
	struct recording_dev *rec = (struct recording_dev *)dev;
	bcfmt_err err;

	if (offset_bytes % BCFMT_SECTOR_BYTES || len_bytes % BCFMT_SECTOR_BYTES)
		return dev_io_fail(fault, BCFMT_E_ARG, offset_bytes, 0, "not whole sectors");
	err = record(rec, offset_bytes, buf, len_bytes, 0, fault);
	return err ? err : dev_write_quiet(rec->lower, offset_bytes, buf, len_bytes, fault);
}

/* The entry comes second: it says that what stands before it is durable. */
static bcfmt_err recording_flush(struct bcfmt_dev *dev, struct io_fault *fault)
{
	struct recording_dev *rec = (struct recording_dev *)dev;
	bcfmt_err err = dev_flush_quiet(rec->lower, fault);

	return err ? err : record(rec, 0, NULL, 0, BCFMT_WRITE_LOG_FLUSH, fault);
}

static bcfmt_err recording_next_data(struct bcfmt_dev *dev, uint64_t offset_bytes,
				     uint64_t *begin_bytes, uint64_t *end_bytes,
				     struct io_fault *fault)
{
	struct recording_dev *rec = (struct recording_dev *)dev;

	return dev_next_data_quiet(rec->lower, offset_bytes, begin_bytes, end_bytes, fault);
}

static void recording_free(struct bcfmt_dev *dev)
{
	struct recording_dev *rec = (struct recording_dev *)dev;
	struct vec *devices = &rec->recording->devices;
	size_t i, kept = 0;

	for (i = 0; i < devices->n; i++)
		if (device_at(rec->recording, i) != rec)
			*VEC_AT(devices, struct recording_dev *, kept++) =
				device_at(rec->recording, i);
	devices->n = kept;
	free(rec);
}

static const struct dev_ops recording_ops = {
	.read = recording_read,
	.write = recording_write,
	.flush = recording_flush,
	.next_data = recording_next_data,
	.free = recording_free,
};

/* An empty log, filled up with marks to where the timeline is. */
static bcfmt_err begin_log(struct recording_dev *rec, struct io_fault *fault)
{
	uint8_t super[BCFMT_SECTOR_BYTES] = { 0 };
	uint32_t i;
	bcfmt_err err;

	store_le64(super, SUPER_MAGIC);
	store_le64(super + SUPER_VERSION_AT, SUPER_VERSION);
	store_le32(super + SUPER_SECTOR_BYTES_AT, BCFMT_SECTOR_BYTES);
	err = dev_write_quiet(rec->log, 0, super, sizeof(super), fault);
	rec->next_bytes = sizeof(super);
	for (i = 0; !err && i < rec->recording->entries; i++) {
		if (rec->log->bytes - rec->next_bytes < BCFMT_SECTOR_BYTES)
			return dev_io_fail(fault, BCFMT_E_RANGE, 0, 0, "a write log is full");
		err = append(rec, 0, NULL, 0, BCFMT_WRITE_LOG_MARK, i + 1, fault);
	}
	return err;
}

/* What a state of the log does not begin with: all that is not zero. */
static bcfmt_err record_base(struct recording_dev *rec, struct io_fault *fault)
{
	uint8_t *buf = malloc(BASE_PIECE_BYTES);
	uint64_t at_bytes = 0, begin_bytes = 0, end_bytes = 0;
	bcfmt_err err = BCFMT_OK;

	if (!buf)
		return dev_io_fail(fault, BCFMT_E_NOMEM, 0, 0, NULL);
	while (!err) {
		size_t piece_bytes;

		if (at_bytes == end_bytes)
			err = dev_next_data_quiet(rec->lower, at_bytes, &begin_bytes, &end_bytes,
						  fault);
		if (err)
			break;
		at_bytes = max_u64(at_bytes, begin_bytes);
		piece_bytes = min_u64(end_bytes - at_bytes, BASE_PIECE_BYTES);
		err = dev_read_quiet(rec->lower, at_bytes, buf, piece_bytes, fault);
		if (!err && !bytes_are_zero(buf, piece_bytes))
			err = record(rec, at_bytes, buf, piece_bytes, 0, fault);
		at_bytes += piece_bytes;
	}
	free(buf);
	if (err != BCFMT_END)
		return err;
	return record(rec, 0, NULL, 0, BCFMT_WRITE_LOG_FLUSH, fault);
}

static bcfmt_err begin_recording(struct recording_dev *rec, struct bcfmt_ctx *ctx)
{
	struct io_fault fault = { 0 };
	struct recording_dev **slot;
	bcfmt_err err;

	if (rec->log->bytes < 2 * BCFMT_SECTOR_BYTES)
		return bcfmt_fail(ctx, BCFMT_E_RANGE, "%s: no room for a write log of %s",
				  rec->log->name, rec->dev.name);
	err = begin_log(rec, &fault);
	slot = err ? NULL : vec_push(&rec->recording->devices, sizeof(*slot));
	if (slot) {
		*slot = rec;
		err = record_base(rec, &fault);
	} else if (!err) {
		err = BCFMT_E_NOMEM;
	}
	if (!err)
		return BCFMT_OK;
	return bcfmt_fail(ctx, err, "%s: cannot record to %s: %s", rec->dev.name, rec->log->name,
			  fault.reason ? fault.reason : bcfmt_err_name(err));
}

bcfmt_err bcfmt_dev_recording(struct bcfmt_ctx *ctx, struct bcfmt_recording *recording,
			      struct bcfmt_dev *lower, struct bcfmt_dev *log,
			      struct bcfmt_dev **out)
{
	struct recording_dev *rec = calloc(1, sizeof(*rec));
	bcfmt_err err;

	*out = NULL;
	if (!rec || dev_init_above(&rec->dev, &recording_ops, ctx, lower)) {
		free(rec);
		return bcfmt_fail(ctx, BCFMT_E_NOMEM, "%s: out of memory", lower->name);
	}
	rec->recording = recording;
	rec->lower = lower;
	rec->log = log;
	err = begin_recording(rec, ctx);
	if (err) {
		bcfmt_dev_free(&rec->dev);
		return err;
	}
	*out = &rec->dev;
	return BCFMT_OK;
}

bcfmt_err bcfmt_recording_new(struct bcfmt_ctx *ctx, struct bcfmt_recording **out)
{
	*out = calloc(1, sizeof(**out));
	if (!*out)
		return bcfmt_fail(ctx, BCFMT_E_NOMEM, "out of memory for a recording");
	return BCFMT_OK;
}

void bcfmt_recording_free(struct bcfmt_recording *recording)
{
	if (!recording)
		return;
	vec_free(&recording->devices);
	free(recording);
}

uint32_t bcfmt_recording_entries(const struct bcfmt_recording *recording)
{
	return recording->entries;
}
