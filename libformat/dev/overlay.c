/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Copy on write: what is written stays in memory or a temporary file, the device below as it is. */
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/checked.h"
#include "base/tmpfile.h"
#include "dev/dev_impl.h"
#include "dev/range_map.h"

#define OVERLAY_BLOCK_BYTES 4096u
#define OVERLAY_BLOCK_SECTORS (OVERLAY_BLOCK_BYTES / BCFMT_SECTOR_BYTES)
#define OVERLAY_MEMORY_BYTES (64u << 20)
#define OVERLAY_MEMORY_SLOTS (OVERLAY_MEMORY_BYTES / OVERLAY_BLOCK_BYTES)
#define SLAB_SLOTS 256u
#define N_SLABS (OVERLAY_MEMORY_SLOTS / SLAB_SLOTS)

/*
 * The index maps a block to its slot and to the sectors of it that were written: a sector that
 * was not is still read from below, so a write never has to read a neighbour that may be bad.
 */
struct overlay_dev {
	struct bcfmt_dev dev;
	struct bcfmt_dev *lower; /* borrowed */
	struct range_map index;  /* block -> slot << 8 | mask of sectors */
	uint64_t n_slots;
	uint8_t *slabs[N_SLABS]; /* the first OVERLAY_MEMORY_SLOTS slots; allocated as needed */
	int spill_fd;            /* the slots behind them; -1 until needed */
};

static bcfmt_err slot_read(struct overlay_dev *overlay, uint64_t slot, size_t offset_bytes,
			   void *buf, size_t len_bytes)
{
	if (slot < OVERLAY_MEMORY_SLOTS) {
		const uint8_t *slab = overlay->slabs[slot / SLAB_SLOTS];

		memcpy(buf, slab + slot % SLAB_SLOTS * OVERLAY_BLOCK_BYTES + offset_bytes,
		       len_bytes);
		return BCFMT_OK;
	}
	slot -= OVERLAY_MEMORY_SLOTS;
	return tmpfile_read(overlay->dev.ctx, overlay->spill_fd,
			    slot * OVERLAY_BLOCK_BYTES + offset_bytes, buf, len_bytes);
}

static bcfmt_err slot_write(struct overlay_dev *overlay, uint64_t slot, size_t offset_bytes,
			    const void *buf, size_t len_bytes)
{
	uint8_t **slab = &overlay->slabs[slot / SLAB_SLOTS % N_SLABS];

	if (slot < OVERLAY_MEMORY_SLOTS) {
		if (!*slab)
			*slab = malloc((size_t)SLAB_SLOTS * OVERLAY_BLOCK_BYTES);
		if (!*slab)
			return BCFMT_E_NOMEM;
		memcpy(*slab + slot % SLAB_SLOTS * OVERLAY_BLOCK_BYTES + offset_bytes, buf,
		       len_bytes);
		return BCFMT_OK;
	}
	if (overlay->spill_fd < 0) {
		bcfmt_err err = tmpfile_new(overlay->dev.ctx, &overlay->spill_fd);

		if (err)
			return err;
	}
	slot -= OVERLAY_MEMORY_SLOTS;
	return tmpfile_write(overlay->dev.ctx, overlay->spill_fd,
			     slot * OVERLAY_BLOCK_BYTES + offset_bytes, buf, len_bytes);
}

static const struct dev_ops overlay_ops;

/* Slot and mask of a block; false when nothing of it was written. */
static bool lookup(const struct overlay_dev *overlay, uint64_t block, uint64_t *slot,
		   unsigned int *mask)
{
	struct range range;

	if (!range_map_at(&overlay->index, block, &range) || range.start != block)
		return false;
	*slot = range.value >> 8;
	*mask = (unsigned int)(range.value & 0xff);
	return true;
}

/* How many bytes from offset_bytes on, at most len_bytes, nothing was written to. */
static size_t untouched_bytes(const struct overlay_dev *overlay, uint64_t offset_bytes,
			      size_t len_bytes)
{
	struct range range;
	uint64_t start_bytes;

	if (!range_map_at(&overlay->index, offset_bytes / OVERLAY_BLOCK_BYTES, &range))
		return len_bytes;
	start_bytes = range.start * OVERLAY_BLOCK_BYTES;
	return start_bytes > offset_bytes ? min_u64(start_bytes - offset_bytes, len_bytes) : 0;
}

/* Reads inside one block that was written to in part or whole. */
static bcfmt_err read_block(struct overlay_dev *overlay, uint64_t offset_bytes, uint8_t *buf,
			    size_t len_bytes, struct io_fault *fault)
{
	size_t in_block = offset_bytes % OVERLAY_BLOCK_BYTES;
	uint64_t block_bytes = offset_bytes - in_block;
	unsigned int mask = 0;
	uint64_t slot = 0;
	size_t done = 0;

	lookup(overlay, offset_bytes / OVERLAY_BLOCK_BYTES, &slot, &mask);
	while (done < len_bytes) {
		size_t at = in_block + done;
		size_t end = at / BCFMT_SECTOR_BYTES;
		bool is_above = mask >> end & 1;
		size_t piece_bytes;
		bcfmt_err err;

		/* All sectors that come from the same place are read at once. */
		while (end < OVERLAY_BLOCK_SECTORS && (mask >> end & 1) == is_above)
			end++;
		piece_bytes = min_u64(end * BCFMT_SECTOR_BYTES - at, len_bytes - done);
		if (!is_above) {
			err = dev_read_quiet(overlay->lower, block_bytes + at, buf + done,
					     piece_bytes, fault);
			if (err)
				return err;
		} else {
			err = slot_read(overlay, slot, at, buf + done, piece_bytes);
			if (err)
				return dev_io_fail(fault, err, block_bytes + at, 0, NULL);
		}
		done += piece_bytes;
	}
	return BCFMT_OK;
}

static bcfmt_err overlay_read(struct bcfmt_dev *dev, uint64_t offset_bytes, void *buf,
			      size_t len_bytes, struct io_fault *fault)
{
	struct overlay_dev *overlay = (struct overlay_dev *)dev;
	uint8_t *to = buf;

	while (len_bytes) {
		size_t piece_bytes = untouched_bytes(overlay, offset_bytes, len_bytes);
		bcfmt_err err;

		if (piece_bytes) {
			err = dev_read_quiet(overlay->lower, offset_bytes, to, piece_bytes, fault);
		} else {
			piece_bytes = OVERLAY_BLOCK_BYTES - offset_bytes % OVERLAY_BLOCK_BYTES;
			piece_bytes = min_u64(piece_bytes, len_bytes);
			err = read_block(overlay, offset_bytes, to, piece_bytes, fault);
		}
		if (err)
			return err;
		offset_bytes += piece_bytes;
		to += piece_bytes;
		len_bytes -= piece_bytes;
	}
	return BCFMT_OK;
}

/* Writes whole sectors inside one block. */
static bcfmt_err write_sectors(struct overlay_dev *overlay, uint64_t offset_bytes,
			       const uint8_t *buf, size_t len_bytes, struct io_fault *fault)
{
	uint64_t block = offset_bytes / OVERLAY_BLOCK_BYTES;
	size_t in_block = offset_bytes % OVERLAY_BLOCK_BYTES;
	unsigned int first = (unsigned int)(in_block / BCFMT_SECTOR_BYTES);
	unsigned int n = (unsigned int)(len_bytes / BCFMT_SECTOR_BYTES);
	unsigned int mask = 0;
	uint64_t slot = overlay->n_slots;
	bool is_new = !lookup(overlay, block, &slot, &mask);
	bcfmt_err err = slot_write(overlay, slot, in_block, buf, len_bytes);

	if (err)
		return dev_io_fail(fault, err, offset_bytes, 0, NULL);
	mask |= ((1u << n) - 1) << first;
	err = range_map_set(&overlay->index, block, block + 1, slot << 8 | mask);
	if (err)
		return dev_io_fail(fault, err, offset_bytes, 0, NULL);
	if (is_new)
		overlay->n_slots++;
	return BCFMT_OK;
}

/* Writes inside one block; the sectors at the ends are filled up with what they hold. */
static bcfmt_err write_block(struct overlay_dev *overlay, uint64_t offset_bytes,
			     const uint8_t *buf, size_t len_bytes, struct io_fault *fault)
{
	uint8_t sectors[OVERLAY_BLOCK_BYTES];
	size_t head_bytes = offset_bytes % BCFMT_SECTOR_BYTES;
	uint64_t start_bytes = offset_bytes - head_bytes;
	size_t whole_bytes = head_bytes + len_bytes;
	size_t tail_bytes = whole_bytes % BCFMT_SECTOR_BYTES;
	bcfmt_err err = BCFMT_OK;

	if (!head_bytes && !tail_bytes)
		return write_sectors(overlay, offset_bytes, buf, len_bytes, fault);
	if (tail_bytes)
		whole_bytes += BCFMT_SECTOR_BYTES - tail_bytes;
	if (head_bytes)
		err = overlay_read(&overlay->dev, start_bytes, sectors, BCFMT_SECTOR_BYTES, fault);
	if (!err && tail_bytes)
		err = overlay_read(&overlay->dev, start_bytes + whole_bytes - BCFMT_SECTOR_BYTES,
				   sectors + whole_bytes - BCFMT_SECTOR_BYTES, BCFMT_SECTOR_BYTES,
				   fault);
	if (err)
		return err;
	memcpy(sectors + head_bytes, buf, len_bytes);
	return write_sectors(overlay, start_bytes, sectors, whole_bytes, fault);
}

static bcfmt_err overlay_write(struct bcfmt_dev *dev, uint64_t offset_bytes, const void *buf,
			       size_t len_bytes, struct io_fault *fault)
{
	struct overlay_dev *overlay = (struct overlay_dev *)dev;
	const uint8_t *from = buf;

	while (len_bytes) {
		size_t piece_bytes = OVERLAY_BLOCK_BYTES - offset_bytes % OVERLAY_BLOCK_BYTES;
		bcfmt_err err;

		piece_bytes = min_u64(piece_bytes, len_bytes);
		err = write_block(overlay, offset_bytes, from, piece_bytes, fault);
		if (err)
			return err;
		offset_bytes += piece_bytes;
		from += piece_bytes;
		len_bytes -= piece_bytes;
	}
	return BCFMT_OK;
}

static bcfmt_err overlay_next_data(struct bcfmt_dev *dev, uint64_t offset_bytes,
				   uint64_t *begin_bytes, uint64_t *end_bytes,
				   struct io_fault *fault)
{
	struct overlay_dev *overlay = (struct overlay_dev *)dev;
	struct range range;
	uint64_t block_begin, block_end;
	bcfmt_err err = dev_next_data_quiet(overlay->lower, offset_bytes, begin_bytes, end_bytes,
					    fault);

	if (err < 0 || !range_map_at(&overlay->index, offset_bytes / OVERLAY_BLOCK_BYTES, &range))
		return err;
	block_begin = max_u64(range.start * OVERLAY_BLOCK_BYTES, offset_bytes);
	block_end = min_u64(range.end * OVERLAY_BLOCK_BYTES, dev->bytes);
	/* Whichever comes first; the other is found by the next call. */
	if (err == BCFMT_END || block_begin < *begin_bytes) {
		*begin_bytes = block_begin;
		*end_bytes = block_end;
	}
	return BCFMT_OK;
}

/* First sector from at on whose bit in the mask is set or clear as wanted; the block's end if none. */
static unsigned int find_bit(unsigned int mask, unsigned int at, bool is_set)
{
	while (at < OVERLAY_BLOCK_SECTORS && (mask >> at & 1) != is_set)
		at++;
	return at;
}

bcfmt_err bcfmt_dev_overlay_next(struct bcfmt_dev *dev, uint64_t offset_bytes,
				 uint64_t *begin_bytes, uint64_t *end_bytes)
{
	const struct overlay_dev *overlay = (const struct overlay_dev *)dev;
	uint64_t sector = offset_bytes / BCFMT_SECTOR_BYTES, begin = UINT64_MAX, end = 0;
	struct range range;

	if (dev->ops != &overlay_ops)
		return bcfmt_fail(dev->ctx, BCFMT_E_ARG, "%s: no overlay", dev->name);
	/* Runs go on over blocks that follow each other as long as their sectors do. */
	while (range_map_at(&overlay->index, sector / OVERLAY_BLOCK_SECTORS, &range)) {
		uint64_t first = range.start * OVERLAY_BLOCK_SECTORS;
		unsigned int mask = (unsigned int)(range.value & 0xff);
		unsigned int at = (unsigned int)(sector > first ? sector - first : 0);
		unsigned int set = find_bit(mask, at, true);

		if (begin != UINT64_MAX && first + set != end)
			break;
		if (begin == UINT64_MAX && set < OVERLAY_BLOCK_SECTORS)
			begin = first + set;
		end = first + find_bit(mask, set, false);
		sector = end;
		if (begin != UINT64_MAX && end < first + OVERLAY_BLOCK_SECTORS)
			break;
	}
	if (begin == UINT64_MAX)
		return BCFMT_END;
	*begin_bytes = begin * BCFMT_SECTOR_BYTES;
	*end_bytes = end * BCFMT_SECTOR_BYTES;
	return BCFMT_OK;
}

static void overlay_free(struct bcfmt_dev *dev)
{
	struct overlay_dev *overlay = (struct overlay_dev *)dev;
	size_t i;

	for (i = 0; i < N_SLABS; i++)
		free(overlay->slabs[i]);
	if (overlay->spill_fd >= 0)
		close(overlay->spill_fd);
	range_map_clear(&overlay->index);
	free(overlay);
}

static void overlay_read_ahead(struct bcfmt_dev *dev, uint64_t offset_bytes, uint64_t len_bytes)
{
	dev_read_ahead(((struct overlay_dev *)dev)->lower, offset_bytes, len_bytes);
}

/*
 * Nothing is far or read around: whoever plans a repair on an overlay reads all nodes several times,
 * and only the first time they should have to come from the medium.
 */
static const struct dev_ops overlay_ops = {
	.read = overlay_read,
	.write = overlay_write,
	.next_data = overlay_next_data,
	.read_ahead = overlay_read_ahead,
	.free = overlay_free,
};

bcfmt_err bcfmt_dev_overlay(struct bcfmt_ctx *ctx, struct bcfmt_dev *lower, struct bcfmt_dev **out)
{
	struct overlay_dev *overlay = calloc(1, sizeof(*overlay));

	*out = NULL;
	if (!overlay || dev_init_above(&overlay->dev, &overlay_ops, ctx, lower)) {
		free(overlay);
		return bcfmt_fail(ctx, BCFMT_E_NOMEM, "%s: out of memory", lower->name);
	}
	overlay->dev.is_writable = true;
	overlay->lower = lower;
	overlay->spill_fd = -1;
	*out = &overlay->dev;
	return BCFMT_OK;
}
