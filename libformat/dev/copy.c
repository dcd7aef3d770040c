/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Brings what an overlay holds to a device, and copies whole devices without filling their holes. */
#include <stdlib.h>
#include <string.h>

#include "base/checked.h"
#include "dev/dev_impl.h"

#define PIECE_BYTES (1u << 20)
/* Zeros of this size and alignment are left as holes. */
#define HOLE_BYTES 4096u

static bcfmt_err no_memory(struct bcfmt_dev *dev)
{
	return bcfmt_fail(dev->ctx, BCFMT_E_NOMEM, "%s: out of memory for a copy", dev->name);
}

bcfmt_err bcfmt_dev_overlay_commit(struct bcfmt_dev *overlay, struct bcfmt_dev *to)
{
	uint8_t *buf = malloc(PIECE_BYTES);
	uint64_t at = 0, begin, end;
	bool is_written = false;
	bcfmt_err err;

	if (!buf)
		return no_memory(overlay);
	while ((err = bcfmt_dev_overlay_next(overlay, at, &begin, &end)) == BCFMT_OK) {
		at = min_u64(end, begin + PIECE_BYTES);
		if (bcfmt_ctx_is_cancelled(overlay->ctx))
			err = BCFMT_E_CANCELLED;
		if (!err)
			err = bcfmt_dev_read(overlay, begin, buf, at - begin);
		if (!err)
			err = bcfmt_dev_write(to, begin, buf, at - begin);
		if (err)
			break;
		is_written = true;
	}
	free(buf);
	if (err != BCFMT_END)
		return err;
	return is_written ? bcfmt_dev_flush(to) : BCFMT_OK;
}

static bool is_zero(const uint8_t *buf, size_t len_bytes)
{
	return !buf[0] && !memcmp(buf, buf + 1, len_bytes - 1);
}

/* Writes what of a piece is not zero. */
static bcfmt_err write_data(struct bcfmt_dev *to, uint64_t offset_bytes, const uint8_t *buf,
			    size_t len_bytes)
{
	size_t begin = 0;
	bcfmt_err err = BCFMT_OK;

	while (!err && begin < len_bytes) {
		size_t end = begin;

		while (end < len_bytes && !is_zero(buf + end, min_u64(HOLE_BYTES, len_bytes - end)))
			end += min_u64(HOLE_BYTES, len_bytes - end);
		if (end > begin)
			err = bcfmt_dev_write(to, offset_bytes + begin, buf + begin, end - begin);
		begin = end + HOLE_BYTES;
	}
	return err;
}

static void add_bad(struct bcfmt_bad_read *sum, const struct bcfmt_bad_read *bad)
{
	if (bad->sectors && !sum->sectors)
		sum->first_sector = bad->first_sector;
	sum->sectors += bad->sectors;
}

bcfmt_err bcfmt_dev_copy(struct bcfmt_dev *from, struct bcfmt_dev *to, struct bcfmt_bad_read *bad)
{
	uint8_t *buf = malloc(PIECE_BYTES);
	uint64_t at = 0, begin, end;
	bcfmt_err err = BCFMT_OK;

	*bad = (struct bcfmt_bad_read){ 0 };
	if (!buf)
		return no_memory(from);
	while (at < from->bytes &&
	       (err = bcfmt_dev_next_data(from, at, &begin, &end)) == BCFMT_OK) {
		struct bcfmt_bad_read piece_bad;

		/* Pieces begin and end where holes can. */
		begin -= begin % HOLE_BYTES;
		at = min_u64(min_u64(end, from->bytes), begin + PIECE_BYTES);
		if (bcfmt_ctx_is_cancelled(from->ctx))
			err = BCFMT_E_CANCELLED;
		if (!err)
			err = bcfmt_dev_read_salvage(from, begin, buf, at - begin, &piece_bad);
		if (!err)
			err = write_data(to, begin, buf, at - begin);
		if (err)
			break;
		add_bad(bad, &piece_bad);
		bcfmt_ctx_progress(from->ctx, "copy", at, from->bytes);
	}
	free(buf);
	if (err && err != BCFMT_END)
		return err;
	return bcfmt_dev_flush(to);
}
