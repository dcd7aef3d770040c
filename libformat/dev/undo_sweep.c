/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Goes through the saved sectors of a device in ascending order: segments that the same records
 * cover, and pieces of them compared with what a device holds.
 *
 * Holds: every segment has one SAVE record. A sector is as before when it holds what that says,
 * and written when it holds what any record of it says that it held or was to hold.
 */
#include "dev/undo_impl.h"

#include <inttypes.h>
#include <string.h>

#include "base/bytes.h"
#include "base/checked.h"
#include "dev/dev_impl.h"

#define EDGE_SECTORS 256u

/* ---- segments ---- */

struct sweep {
	struct bcfmt_undo_file *file;
	size_t device;
	uint64_t left;		 /* records in the index that were not seen yet */
	struct undo_extent next; /* the first of them, when left is not 0 */
	struct undo_segment segment;
	bool has_save;
};

static bcfmt_err peek(struct sweep *sweep)
{
	const void *record;
	bcfmt_err err;

	if (!sweep->left)
		return BCFMT_OK;
	err = runs_next(sweep->file->extents, &record);
	if (err)
		return err == BCFMT_END ? BCFMT_E_DAMAGED : err;
	memcpy(&sweep->next, record, sizeof(sweep->next));
	return BCFMT_OK;
}

static bcfmt_err misplaced(const struct sweep *sweep, const struct undo_extent *extent,
			   const char *what)
{
	return bcfmt_fail(sweep->file->ctx, BCFMT_E_DAMAGED,
			  "%s: byte %" PRIu64 ": sector %" PRIu64 " of device %zu: %s",
			  sweep->file->store->name, extent->offset_bytes,
			  sweep->segment.start_sector, sweep->device, what);
}

/* In the order of the file; of too many the oldest goes. */
static void add_again(struct undo_segment *segment, const struct undo_extent *extent)
{
	size_t at;

	if (segment->n_again == UNDO_AGAIN_MAX) {
		if (extent->offset_bytes < segment->again[0].offset_bytes)
			return;
		segment->n_again--;
		memmove(segment->again, segment->again + 1,
			segment->n_again * sizeof(segment->again[0]));
	}
	for (at = segment->n_again++; at; at--) {
		if (segment->again[at - 1].offset_bytes < extent->offset_bytes)
			break;
		segment->again[at] = segment->again[at - 1];
	}
	segment->again[at] = *extent;
}

/* Takes in all records that begin where the segment does. */
static bcfmt_err take_begins(struct sweep *sweep)
{
	bcfmt_err err = BCFMT_OK;

	while (!err && sweep->left && sweep->next.start_sector == sweep->segment.start_sector) {
		if (sweep->next.type == UNDO_AGAIN) {
			add_again(&sweep->segment, &sweep->next);
		} else if (sweep->has_save) {
			return misplaced(sweep, &sweep->next, "saved twice");
		} else {
			sweep->segment.save = sweep->next;
			sweep->has_save = true;
		}
		sweep->left--;
		err = peek(sweep);
	}
	return err;
}

/* Up to where nothing begins or ends. */
static void find_end(struct sweep *sweep)
{
	struct undo_segment *segment = &sweep->segment;
	uint64_t end_sector = sweep->has_save ? segment->save.end_sector : UINT64_MAX;
	size_t i;

	for (i = 0; i < segment->n_again; i++)
		end_sector = min_u64(end_sector, segment->again[i].end_sector);
	if (sweep->left)
		end_sector = min_u64(end_sector, sweep->next.start_sector);
	segment->end_sector = end_sector;
}

/* Leaves out what ended, and moves on. */
static void drop_ends(struct sweep *sweep)
{
	struct undo_segment *segment = &sweep->segment;
	size_t i, kept = 0;

	if (segment->save.end_sector == segment->end_sector)
		sweep->has_save = false;
	for (i = 0; i < segment->n_again; i++)
		if (segment->again[i].end_sector != segment->end_sector)
			segment->again[kept++] = segment->again[i];
	segment->n_again = kept;
	segment->start_sector = segment->end_sector;
}

bcfmt_err undo_sweep(struct bcfmt_undo_file *file, size_t device, undo_segment_fn fn, void *arg)
{
	const struct undo_file_device *entry = undo_file_device_at(file, device);
	struct sweep sweep = { .file = file, .device = device, .left = entry->n_extents };
	bcfmt_err err;

	if (!sweep.left)
		return BCFMT_OK;
	err = runs_seek(file->extents, entry->first_extent);
	if (!err)
		err = peek(&sweep);
	while (!err && (sweep.left || sweep.has_save || sweep.segment.n_again)) {
		if (!sweep.has_save && !sweep.segment.n_again)
			sweep.segment.start_sector = sweep.next.start_sector;
		err = take_begins(&sweep);
		if (err)
			break;
		if (!sweep.has_save)
			return misplaced(&sweep, &sweep.segment.again[0],
					 "checksums of what was not saved");
		find_end(&sweep);
		err = fn(arg, &sweep.segment);
		drop_ends(&sweep);
	}
	return err;
}

/* ---- pieces ---- */

struct walk {
	struct bcfmt_undo_file *file;
	size_t device;
	struct bcfmt_dev *dev;
	unsigned int classes;
	undo_piece_fn fn;
	void *arg;
};

/* The class of a sector and up to where it goes on. */
static enum undo_class class_of(uint64_t sector, uint64_t device_sectors, uint64_t *until_sector)
{
	uint64_t tail_sector = device_sectors > EDGE_SECTORS ? device_sectors - EDGE_SECTORS : 0;

	tail_sector = max_u64(tail_sector, EDGE_SECTORS);
	*until_sector = device_sectors;
	if (sector == UNDO_SUPER_SECTOR) {
		*until_sector = sector + 1;
		return UNDO_SUPER;
	}
	if (sector < UNDO_SUPER_SECTOR)
		*until_sector = UNDO_SUPER_SECTOR;
	else if (sector < EDGE_SECTORS)
		*until_sector = EDGE_SECTORS;
	else if (sector < tail_sector)
		*until_sector = tail_sector;
	return sector >= EDGE_SECTORS && sector < tail_sector ? UNDO_BODY : UNDO_EDGE;
}

/* Reads a part of the payload of a record: behind its header, from skip_bytes on. */
static bcfmt_err read_payload(const struct walk *walk, const struct undo_extent *extent,
			      uint64_t skip_bytes, void *buf, size_t len_bytes)
{
	return bcfmt_dev_read(walk->file->store,
			      extent->offset_bytes + UNDO_HEADER_BYTES + skip_bytes, buf,
			      len_bytes);
}

/* Where the checksums of new contents begin in the payload of a record. */
static uint64_t new_csums_at(const struct undo_extent *extent)
{
	return undo_old_bytes((enum undo_type)extent->type, extent->flags,
			      extent->end_sector - extent->start_sector);
}

/* Sectors that are not known yet and have one of the wanted checksums (NULL: zero_csum). */
static void settle(struct bcfmt_undo_file *file, size_t sectors, const uint8_t *wanted,
		   enum bcfmt_undo_state state)
{
	uint64_t zero_csum = wanted ? 0 : undo_zero_csum();
	size_t i;

	for (i = 0; i < sectors; i++) {
		uint64_t want = wanted ? load_le64(wanted + i * UNDO_CSUM_BYTES) : zero_csum;

		if (file->states[i] != BCFMT_UNDO_AS_BEFORE &&
		    file->states[i] != BCFMT_UNDO_WRITTEN &&
		    load_le64(file->csums + i * UNDO_CSUM_BYTES) == want)
			file->states[i] = (uint8_t)state;
	}
}

/* What one record says that the sectors held (AGAIN only) or were to hold. */
static bcfmt_err settle_by(const struct walk *walk, const struct undo_extent *extent,
			   uint64_t first_sector, size_t sectors)
{
	struct bcfmt_undo_file *file = walk->file;
	uint64_t skip_bytes = (first_sector - extent->start_sector) * UNDO_CSUM_BYTES;
	size_t csums_bytes = sectors * UNDO_CSUM_BYTES;
	bool is_ahead = extent->offset_bytes >= file->marked_bytes;
	bcfmt_err err = BCFMT_OK;

	if (!(extent->flags & UNDO_NEW_IS_OLD)) {
		bool is_zero = extent->flags & UNDO_NEW_IS_ZERO;

		if (!is_zero)
			err = read_payload(walk, extent, new_csums_at(extent) + skip_bytes,
					   file->wanted, csums_bytes);
		if (err)
			return err;
		settle(file, sectors, is_zero ? NULL : file->wanted,
		       is_ahead ? BCFMT_UNDO_AHEAD : BCFMT_UNDO_WRITTEN);
	}
	if (extent->type == UNDO_AGAIN) {
		bool is_zero = extent->flags & UNDO_OLD_IS_ZERO;

		if (!is_zero)
			err = read_payload(walk, extent, skip_bytes, file->wanted, csums_bytes);
		if (err)
			return err;
		settle(file, sectors, is_zero ? NULL : file->wanted, BCFMT_UNDO_WRITTEN);
	}
	return BCFMT_OK;
}

/* Those that are not as before: what else may be there. The last record is the likely one. */
static bcfmt_err settle_rest(const struct walk *walk, const struct undo_segment *segment,
			     uint64_t first_sector, size_t sectors)
{
	struct bcfmt_undo_file *file = walk->file;
	size_t i;
	bcfmt_err err = BCFMT_OK;

	undo_csums(file->now, sectors, file->csums);
	for (i = segment->n_again; !err && i--;)
		err = settle_by(walk, &segment->again[i], first_sector, sectors);
	if (!err)
		err = settle_by(walk, &segment->save, first_sector, sectors);
	if (!err && first_sector == UNDO_SUPER_SECTOR) {
		uint8_t stamp[BCFMT_SECTOR_BYTES];

		undo_stamp(file->info.id, (uint32_t)walk->device, stamp);
		if (!memcmp(file->now, stamp, sizeof(stamp)))
			file->states[0] = BCFMT_UNDO_WRITTEN;
	}
	return err;
}

/* Up to where zeros were saved and the device has a hole: first_sector, when it has none there. */
static bcfmt_err find_hole_end(const struct walk *walk, const struct undo_segment *segment,
			       uint64_t first_sector, uint64_t *end_sector)
{
	uint64_t begin_bytes = 0, end_bytes = 0;
	bcfmt_err err;

	*end_sector = first_sector;
	if (!(segment->save.flags & UNDO_OLD_IS_ZERO))
		return BCFMT_OK;
	err = bcfmt_dev_next_data(walk->dev, first_sector * BCFMT_SECTOR_BYTES, &begin_bytes,
				  &end_bytes);
	if (err < 0)
		return err;
	*end_sector = (err == BCFMT_END ? walk->dev->bytes : begin_bytes) / BCFMT_SECTOR_BYTES;
	return BCFMT_OK;
}

/* Fills states, and old, unless all is as before. */
static bcfmt_err compare(const struct walk *walk, const struct undo_segment *segment,
			 struct undo_piece *piece)
{
	struct bcfmt_undo_file *file = walk->file;
	uint64_t skip_sectors = piece->first_sector - segment->save.start_sector;
	size_t len_bytes = piece->sectors * BCFMT_SECTOR_BYTES;
	bcfmt_err err = BCFMT_OK;
	size_t i;

	if (segment->save.flags & UNDO_OLD_IS_ZERO)
		memset(file->old, 0, len_bytes);
	else
		err = read_payload(walk, &segment->save, skip_sectors * BCFMT_SECTOR_BYTES,
				   file->old, len_bytes);
	if (!err)
		err = bcfmt_dev_read(walk->dev, piece->first_sector * BCFMT_SECTOR_BYTES, file->now,
				     len_bytes);
	if (err || !memcmp(file->old, file->now, len_bytes))
		return err;
	for (i = 0; i < len_bytes; i += BCFMT_SECTOR_BYTES)
		file->states[i / BCFMT_SECTOR_BYTES] =
			memcmp(file->old + i, file->now + i, BCFMT_SECTOR_BYTES)
				? BCFMT_UNDO_FOREIGN
				: BCFMT_UNDO_AS_BEFORE;
	piece->states = file->states;
	piece->old = file->old;
	return settle_rest(walk, segment, piece->first_sector, piece->sectors);
}

/* The piece that begins at sector and ends at until_sector or before. */
static bcfmt_err walk_piece(const struct walk *walk, const struct undo_segment *segment,
			    uint64_t until_sector, struct undo_piece *piece)
{
	uint64_t hole_end;
	bcfmt_err err = find_hole_end(walk, segment, piece->first_sector, &hole_end);

	if (err)
		return err;
	piece->sectors = until_sector - piece->first_sector;
	if (hole_end > piece->first_sector) {
		piece->sectors = min_u64(piece->sectors, hole_end - piece->first_sector);
	} else {
		piece->sectors = min_u64(piece->sectors, UNDO_PIECE_SECTORS);
		err = compare(walk, segment, piece);
	}
	return err ? err : walk->fn(walk->arg, piece);
}

static bcfmt_err walk_segment(void *arg, const struct undo_segment *segment)
{
	const struct walk *walk = arg;
	uint64_t sector = segment->start_sector;
	uint64_t device_sectors = walk->dev->bytes / BCFMT_SECTOR_BYTES;
	bcfmt_err err = BCFMT_OK;

	while (!err && sector < segment->end_sector) {
		struct undo_piece piece = { .device = walk->device, .first_sector = sector };
		uint64_t until_sector;

		piece.class = class_of(sector, device_sectors, &until_sector);
		until_sector = min_u64(until_sector, segment->end_sector);
		if (walk->classes & UNDO_CLASS(piece.class))
			err = walk_piece(walk, segment, until_sector, &piece);
		else
			piece.sectors = until_sector - sector;
		sector += piece.sectors;
	}
	return err;
}

bcfmt_err undo_walk(struct bcfmt_undo_file *file, size_t device, struct bcfmt_dev *dev,
		    unsigned int classes, undo_piece_fn fn, void *arg)
{
	struct walk walk = { file, device, dev, classes, fn, arg };

	return undo_sweep(file, device, walk_segment, &walk);
}
