/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Dispatch to the kinds of devices: bounds, faults and reads that salvage. */
#include "dev/dev_impl.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "base/checked.h"

#define SALVAGE_PIECE_BYTES 4096u
/* Pieces without one readable sector, in a row, after which the rest is given up. */
#define SALVAGE_FAILED_MAX 64u
/* So long a range is read to its end wherever it begins, however much of it fails. */
#define SALVAGE_WHOLE_BYTES (SALVAGE_PIECE_BYTES * (SALVAGE_FAILED_MAX - 1))
#define ZEROS_BYTES 65536u

bcfmt_err dev_init(struct bcfmt_dev *dev, const struct dev_ops *ops, struct bcfmt_ctx *ctx,
		   const char *name, uint64_t bytes)
{
	*dev = (struct bcfmt_dev){
		.ops = ops,
		.ctx = ctx,
		.name = strdup(name),
		.bytes = bytes - bytes % BCFMT_SECTOR_BYTES,
		.logical_block_bytes = BCFMT_SECTOR_BYTES,
	};
	return dev->name ? BCFMT_OK : BCFMT_E_NOMEM;
}

bcfmt_err dev_init_above(struct bcfmt_dev *dev, const struct dev_ops *ops, struct bcfmt_ctx *ctx,
			 const struct bcfmt_dev *lower)
{
	bcfmt_err err = dev_init(dev, ops, ctx, lower->name, lower->bytes);

	if (err)
		return err;
	dev->logical_block_bytes = lower->logical_block_bytes;
	dev->is_writable = lower->is_writable;
	dev->was_in_use = lower->was_in_use;
	dev->is_image = lower->is_image;
	return BCFMT_OK;
}

void bcfmt_dev_free(struct bcfmt_dev *dev)
{
	char *name;

	if (!dev)
		return;
	name = dev->name;
	dev->ops->free(dev);
	free(name);
}

const char *bcfmt_dev_name(const struct bcfmt_dev *dev)
{
	return dev->name;
}

uint64_t bcfmt_dev_bytes(const struct bcfmt_dev *dev)
{
	return dev->bytes;
}

uint32_t bcfmt_dev_logical_block_bytes(const struct bcfmt_dev *dev)
{
	return dev->logical_block_bytes;
}

bool bcfmt_dev_is_writable(const struct bcfmt_dev *dev)
{
	return dev->is_writable;
}

int bcfmt_dev_fd(const struct bcfmt_dev *dev)
{
	return file_dev_fd(dev);
}

bool bcfmt_dev_was_in_use(const struct bcfmt_dev *dev)
{
	return dev->was_in_use;
}

bool bcfmt_dev_is_image(const struct bcfmt_dev *dev)
{
	return dev->is_image;
}

bcfmt_err dev_io_fail(struct io_fault *fault, bcfmt_err err, uint64_t offset_bytes, int os_error,
		      const char *reason)
{
	*fault = (struct io_fault){ offset_bytes, os_error, reason };
	return err;
}

static bool is_inside(const struct bcfmt_dev *dev, uint64_t offset_bytes, uint64_t len_bytes)
{
	return offset_bytes <= dev->bytes && len_bytes <= dev->bytes - offset_bytes;
}

/* Records why an operation failed in the context of the device. */
static bcfmt_err report(struct bcfmt_dev *dev, bcfmt_err err, const char *verb,
			const struct io_fault *fault)
{
	char text[128];
	const char *reason = fault->reason;
	uint64_t sector = fault->offset_bytes / BCFMT_SECTOR_BYTES;

	if (!reason && fault->os_error)
		reason = strerror_r(fault->os_error, text, sizeof(text));
	if (!reason)
		reason = bcfmt_err_name(err);
	return bcfmt_fail(dev->ctx, err, "%s: sector %" PRIu64 ": cannot %s: %s", dev->name, sector,
			  verb, reason);
}

static bcfmt_err report_range(struct bcfmt_dev *dev, const char *verb, uint64_t offset_bytes,
			      uint64_t len_bytes)
{
	return bcfmt_fail(dev->ctx, BCFMT_E_RANGE,
			  "%s: sector %" PRIu64 ": cannot %s %" PRIu64 " bytes: the device ends at"
			  " sector %" PRIu64,
			  dev->name, offset_bytes / BCFMT_SECTOR_BYTES, verb, len_bytes,
			  dev->bytes / BCFMT_SECTOR_BYTES);
}

bcfmt_err dev_read_quiet(struct bcfmt_dev *dev, uint64_t offset_bytes, void *buf, size_t len_bytes,
			 struct io_fault *fault)
{
	if (!is_inside(dev, offset_bytes, len_bytes))
		return dev_io_fail(fault, BCFMT_E_RANGE, offset_bytes, 0, "beyond the end");
	if (!len_bytes)
		return BCFMT_OK;
	return dev->ops->read(dev, offset_bytes, buf, len_bytes, fault);
}

bcfmt_err dev_write_quiet(struct bcfmt_dev *dev, uint64_t offset_bytes, const void *buf,
			  size_t len_bytes, struct io_fault *fault)
{
	if (!dev->is_writable || !dev->ops->write)
		return dev_io_fail(fault, BCFMT_E_ARG, offset_bytes, 0, "opened for reading only");
	if (!is_inside(dev, offset_bytes, len_bytes))
		return dev_io_fail(fault, BCFMT_E_RANGE, offset_bytes, 0, "beyond the end");
	if (!len_bytes)
		return BCFMT_OK;
	return dev->ops->write(dev, offset_bytes, buf, len_bytes, fault);
}

static bcfmt_err write_zeros(struct bcfmt_dev *dev, uint64_t offset_bytes, uint64_t len_bytes,
			     struct io_fault *fault)
{
	static const uint8_t zeros[ZEROS_BYTES];
	bcfmt_err err = BCFMT_OK;

	while (!err && len_bytes) {
		size_t piece_bytes = min_u64(len_bytes, sizeof(zeros));

		err = dev->ops->write(dev, offset_bytes, zeros, piece_bytes, fault);
		offset_bytes += piece_bytes;
		len_bytes -= piece_bytes;
	}
	return err;
}

/* What has to hold before anything is changed. */
static bcfmt_err may_change(struct bcfmt_dev *dev, uint64_t offset_bytes, const char *verb)
{
	struct io_fault fault = { .offset_bytes = offset_bytes,
				  .reason = "opened for reading only" };

	if (dev->is_writable && dev->ops->write)
		return BCFMT_OK;
	return report(dev, BCFMT_E_ARG, verb, &fault);
}

bcfmt_err bcfmt_dev_zero(struct bcfmt_dev *dev, uint64_t offset_bytes, uint64_t len_bytes)
{
	struct io_fault fault = { .offset_bytes = offset_bytes };
	bcfmt_err err = may_change(dev, offset_bytes, "zero");

	if (err)
		return err;
	if (!is_inside(dev, offset_bytes, len_bytes))
		return report_range(dev, "zero", offset_bytes, len_bytes);
	if (!len_bytes)
		return BCFMT_OK;
	err = dev->ops->zero ? dev->ops->zero(dev, offset_bytes, len_bytes, &fault)
			     : BCFMT_E_UNSUPPORTED;
	if (err == BCFMT_E_UNSUPPORTED)
		err = write_zeros(dev, offset_bytes, len_bytes, &fault);
	return err ? report(dev, err, "zero", &fault) : BCFMT_OK;
}

bcfmt_err bcfmt_dev_discard(struct bcfmt_dev *dev, uint64_t offset_bytes, uint64_t len_bytes)
{
	struct io_fault fault = { .offset_bytes = offset_bytes };
	bcfmt_err err = may_change(dev, offset_bytes, "discard");

	if (err)
		return err;
	if (!is_inside(dev, offset_bytes, len_bytes))
		return report_range(dev, "discard", offset_bytes, len_bytes);
	if (!len_bytes)
		return BCFMT_OK;
	err = dev->ops->discard ? dev->ops->discard(dev, offset_bytes, len_bytes, &fault)
				: BCFMT_E_UNSUPPORTED;
	if (err && err != BCFMT_E_UNSUPPORTED)
		return report(dev, err, "discard", &fault);
	return err;
}

void bcfmt_dev_forget(struct bcfmt_dev *dev)
{
	dev_forget(dev);
}

bcfmt_err dev_flush_quiet(struct bcfmt_dev *dev, struct io_fault *fault)
{
	return dev->ops->flush ? dev->ops->flush(dev, fault) : BCFMT_OK;
}

bcfmt_err dev_next_data_quiet(struct bcfmt_dev *dev, uint64_t offset_bytes, uint64_t *begin_bytes,
			      uint64_t *end_bytes, struct io_fault *fault)
{
	if (offset_bytes >= dev->bytes)
		return BCFMT_END;
	if (dev->ops->next_data)
		return dev->ops->next_data(dev, offset_bytes, begin_bytes, end_bytes, fault);
	*begin_bytes = offset_bytes;
	*end_bytes = dev->bytes;
	return BCFMT_OK;
}

void dev_read_ahead(struct bcfmt_dev *dev, uint64_t offset_bytes, uint64_t len_bytes)
{
	if (dev->ops->read_ahead && offset_bytes < dev->bytes)
		dev->ops->read_ahead(dev, offset_bytes,
				     min_u64(len_bytes, dev->bytes - offset_bytes));
}

void dev_forget(struct bcfmt_dev *dev)
{
	if (dev->ops->forget)
		dev->ops->forget(dev);
}

bcfmt_err bcfmt_dev_read(struct bcfmt_dev *dev, uint64_t offset_bytes, void *buf, size_t len_bytes)
{
	struct io_fault fault = { .offset_bytes = offset_bytes };
	bcfmt_err err;

	if (!is_inside(dev, offset_bytes, len_bytes))
		return report_range(dev, "read", offset_bytes, len_bytes);
	err = dev_read_quiet(dev, offset_bytes, buf, len_bytes, &fault);
	return err ? report(dev, err, "read", &fault) : BCFMT_OK;
}

bcfmt_err bcfmt_dev_write(struct bcfmt_dev *dev, uint64_t offset_bytes, const void *buf,
			  size_t len_bytes)
{
	struct io_fault fault = { .offset_bytes = offset_bytes };
	bcfmt_err err;

	if (!is_inside(dev, offset_bytes, len_bytes))
		return report_range(dev, "write", offset_bytes, len_bytes);
	err = dev_write_quiet(dev, offset_bytes, buf, len_bytes, &fault);
	return err ? report(dev, err, "write", &fault) : BCFMT_OK;
}

bcfmt_err bcfmt_dev_flush(struct bcfmt_dev *dev)
{
	struct io_fault fault = { 0 };
	char text[128];
	bcfmt_err err = dev_flush_quiet(dev, &fault);

	if (!err)
		return BCFMT_OK;
	if (!fault.reason && fault.os_error)
		fault.reason = strerror_r(fault.os_error, text, sizeof(text));
	return bcfmt_fail(dev->ctx, err, "%s: cannot flush: %s", dev->name,
			  fault.reason ? fault.reason : bcfmt_err_name(err));
}

bcfmt_err bcfmt_dev_next_data(struct bcfmt_dev *dev, uint64_t offset_bytes, uint64_t *begin_bytes,
			      uint64_t *end_bytes)
{
	struct io_fault fault = { .offset_bytes = offset_bytes };
	bcfmt_err err = dev_next_data_quiet(dev, offset_bytes, begin_bytes, end_bytes, &fault);

	return err < 0 ? report(dev, err, "look for data", &fault) : err;
}

/* What a salvaging read tells of sectors that it could not read. */
struct salvage {
	struct bcfmt_bad_read *sum;
	dev_bad_fn on_bad; /* may be NULL */
	void *arg;
};

static bcfmt_err note_bad(const struct salvage *salvage, uint64_t offset_bytes, uint64_t len_bytes)
{
	uint64_t first_sector = offset_bytes / BCFMT_SECTOR_BYTES;
	uint64_t sectors = len_bytes / BCFMT_SECTOR_BYTES;

	if (!salvage->sum->sectors)
		salvage->sum->first_sector = first_sector;
	salvage->sum->sectors += sectors;
	return salvage->on_bad ? salvage->on_bad(salvage->arg, first_sector, sectors) : BCFMT_OK;
}

/* Sector by sector; *has_any: at least one could be read. OK or what is no fault of the medium. */
static bcfmt_err salvage_sectors(struct bcfmt_dev *dev, uint64_t offset_bytes, uint8_t *buf,
				 size_t len_bytes, const struct salvage *salvage, bool *has_any,
				 struct io_fault *fault)
{
	size_t done;

	*has_any = false;
	for (done = 0; done < len_bytes; done += BCFMT_SECTOR_BYTES) {
		bcfmt_err err = dev_read_quiet(dev, offset_bytes + done, buf + done,
					       BCFMT_SECTOR_BYTES, fault);

		if (err && err != BCFMT_E_IO)
			return err;
		if (err) {
			memset(buf + done, 0, BCFMT_SECTOR_BYTES);
			err = note_bad(salvage, offset_bytes + done, BCFMT_SECTOR_BYTES);
			if (err)
				return err;
		} else {
			*has_any = true;
		}
	}
	return BCFMT_OK;
}

static bcfmt_err salvage_pieces(struct bcfmt_dev *dev, uint64_t offset_bytes, uint8_t *buf,
				size_t len_bytes, const struct salvage *salvage,
				struct io_fault *fault)
{
	unsigned int failed_in_row = 0;
	size_t done = 0;

	while (done < len_bytes && failed_in_row < SALVAGE_FAILED_MAX) {
		uint64_t at = offset_bytes + done;
		size_t piece_bytes = SALVAGE_PIECE_BYTES - at % SALVAGE_PIECE_BYTES;
		bool has_any = true;
		bcfmt_err err;

		piece_bytes = min_u64(piece_bytes, len_bytes - done);
		err = dev_read_quiet(dev, at, buf + done, piece_bytes, fault);
		if (err == BCFMT_E_IO)
			err = salvage_sectors(dev, at, buf + done, piece_bytes, salvage,
					      &has_any, fault);
		if (err)
			return err;
		failed_in_row = has_any ? 0 : failed_in_row + 1;
		done += piece_bytes;
	}
	if (done < len_bytes) {
		memset(buf + done, 0, len_bytes - done);
		return note_bad(salvage, offset_bytes + done, len_bytes - done);
	}
	return BCFMT_OK;
}

bcfmt_err bcfmt_dev_read_salvage(struct bcfmt_dev *dev, uint64_t offset_bytes, void *buf,
				 size_t len_bytes, struct bcfmt_bad_read *bad)
{
	return dev_read_salvage_each(dev, offset_bytes, buf, len_bytes, bad, NULL, NULL);
}

bcfmt_err dev_read_salvage_each(struct bcfmt_dev *dev, uint64_t offset_bytes, void *buf,
				size_t len_bytes, struct bcfmt_bad_read *bad, dev_bad_fn on_bad,
				void *arg)
{
	struct salvage salvage = { bad, on_bad, arg };
	struct io_fault fault = { .offset_bytes = offset_bytes };
	bcfmt_err err = BCFMT_OK;
	size_t inside_bytes = 0;

	*bad = (struct bcfmt_bad_read){ 0 };
	if (offset_bytes % BCFMT_SECTOR_BYTES || len_bytes % BCFMT_SECTOR_BYTES)
		return bcfmt_fail(dev->ctx, BCFMT_E_ARG,
				  "%s: byte %" PRIu64 ", length %zu: not whole sectors", dev->name,
				  offset_bytes, len_bytes);
	if (offset_bytes < dev->bytes)
		inside_bytes = min_u64(len_bytes, dev->bytes - offset_bytes);
	if (inside_bytes)
		err = dev_read_quiet(dev, offset_bytes, buf, inside_bytes, &fault);
	if (err == BCFMT_E_IO)
		err = salvage_pieces(dev, offset_bytes, buf, inside_bytes, &salvage, &fault);
	if (err)
		return report(dev, err, "read", &fault);
	if (inside_bytes < len_bytes) {
		memset((uint8_t *)buf + inside_bytes, 0, len_bytes - inside_bytes);
		err = note_bad(&salvage, offset_bytes + inside_bytes, len_bytes - inside_bytes);
	}
	return err;
}

/* What the marks of a read are counted from. */
struct marks {
	uint8_t *is_bad;
	uint64_t start_sector;
};

static bcfmt_err mark_bad(void *arg, uint64_t first_sector, uint64_t sectors)
{
	struct marks *marks = arg;

	memset(marks->is_bad + (first_sector - marks->start_sector), 1, sectors);
	return BCFMT_OK;
}

bcfmt_err bcfmt_dev_read_marked(struct bcfmt_dev *dev, uint64_t offset_bytes, void *buf,
				size_t len_bytes, uint8_t *is_bad)
{
	struct marks marks = { is_bad, offset_bytes / BCFMT_SECTOR_BYTES };
	struct io_fault fault = { .offset_bytes = offset_bytes };
	bcfmt_err err = BCFMT_OK;

	memset(is_bad, 0, len_bytes / BCFMT_SECTOR_BYTES);
	if (!(offset_bytes % BCFMT_SECTOR_BYTES) && !(len_bytes % BCFMT_SECTOR_BYTES) &&
	    is_inside(dev, offset_bytes, len_bytes)) {
		err = dev_read_quiet(dev, offset_bytes, buf, len_bytes, &fault);
		if (err != BCFMT_E_IO)
			return err ? report(dev, err, "read", &fault) : BCFMT_OK;
	}
	/* Parts so short that nothing of them is given up. */
	for (size_t done = 0; done < len_bytes; done += SALVAGE_WHOLE_BYTES) {
		size_t part_bytes = min_u64(SALVAGE_WHOLE_BYTES, len_bytes - done);
		struct bcfmt_bad_read bad;

		err = dev_read_salvage_each(dev, offset_bytes + done, (uint8_t *)buf + done,
					    part_bytes, &bad, mark_bad, &marks);
		if (!err && bcfmt_ctx_is_cancelled(dev->ctx))
			err = BCFMT_E_CANCELLED;
		if (err)
			return err;
	}
	return BCFMT_OK;
}
