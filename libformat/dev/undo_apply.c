/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Checking devices against an undo file, and putting back.
 *
 * Holds: nothing is written before a check of all devices, and nothing but saved contents to saved
 * sectors, besides the text that stands in the first superblock sector in between. After each
 * step all devices are flushed, so a cut leaves whole steps behind:
 *   1. that sector is taken away where anything else of the device differs
 *   2. the body   3. both ends   4. that sector of all but caches   5. that sector of caches
 */
#include "dev/undo_impl.h"

#include <inttypes.h>
#include <string.h>

#include "dev/dev_impl.h"

/* ---- checking ---- */

struct check {
	struct bcfmt_undo_file *file;
	bcfmt_undo_range_fn fn;
	void *arg;
	struct bcfmt_undo_range range; /* what goes on; 0 sectors: nothing */
	uint64_t total_sectors;
};

static void advance(struct bcfmt_undo_file *file, const char *pass, uint64_t sectors,
		    uint64_t total_sectors)
{
	file->done_sectors += sectors;
	bcfmt_ctx_progress(file->ctx, pass, file->done_sectors * BCFMT_SECTOR_BYTES,
			   total_sectors * BCFMT_SECTOR_BYTES);
}

static void tell_range(struct check *check)
{
	struct bcfmt_undo_tally *tally;

	if (!check->range.sectors)
		return;
	tally = &undo_file_device_at(check->file, check->range.device)->tally;
	if (check->range.state >= BCFMT_UNDO_AHEAD && !tally->first_doubtful.sectors)
		tally->first_doubtful = check->range;
	if (check->fn)
		check->fn(check->arg, &check->range);
	check->range.sectors = 0;
}

/* Sectors of one state; they may continue what goes on. */
static void add_range(struct check *check, const struct undo_piece *piece, uint64_t first,
		      uint64_t sectors, enum bcfmt_undo_state state)
{
	struct undo_file_device *device = undo_file_device_at(check->file, piece->device);
	struct bcfmt_undo_range *range = &check->range;
	uint64_t first_sector = piece->first_sector + first;

	device->tally.sectors[state] += sectors;
	if (state != BCFMT_UNDO_AS_BEFORE && piece->class != UNDO_SUPER)
		device->differing_outside_super += sectors;
	if (range->device != piece->device || range->state != state ||
	    range->first_sector + range->sectors != first_sector)
		tell_range(check);
	if (!range->sectors)
		*range = (struct bcfmt_undo_range){ .device = piece->device,
						    .first_sector = first_sector,
						    .state = state };
	range->sectors += sectors;
}

/* How many sectors of a piece from first on have the state of that one. */
static uint64_t run_sectors(const struct undo_piece *piece, uint64_t first,
			    enum bcfmt_undo_state *state)
{
	uint64_t end = first + 1;

	*state = BCFMT_UNDO_AS_BEFORE;
	if (!piece->states)
		return piece->sectors - first;
	*state = (enum bcfmt_undo_state)piece->states[first];
	while (end < piece->sectors && piece->states[end] == piece->states[first])
		end++;
	return end - first;
}

static bcfmt_err check_piece(void *arg, const struct undo_piece *piece)
{
	struct check *check = arg;
	struct bcfmt_undo_file *file = check->file;
	enum bcfmt_undo_state state;
	uint64_t first, sectors;

	if (bcfmt_ctx_is_cancelled(file->ctx))
		return bcfmt_fail(file->ctx, BCFMT_E_CANCELLED, "%s: cancelled", file->store->name);
	for (first = 0; first < piece->sectors; first += sectors) {
		sectors = run_sectors(piece, first, &state);
		add_range(check, piece, first, sectors, state);
	}
	advance(file, "undo check", piece->sectors, check->total_sectors);
	return BCFMT_OK;
}

static uint64_t matched_sectors(const struct bcfmt_undo_file *file)
{
	uint64_t sectors = 0;
	size_t i;

	for (i = 0; i < file->devices.n; i++)
		if (undo_file_device_at(file, i)->dev)
			sectors += undo_file_device_at(file, i)->info.saved_sectors;
	return sectors;
}

bcfmt_err bcfmt_undo_file_check(struct bcfmt_undo_file *file, bcfmt_undo_range_fn range, void *arg)
{
	struct check check = {
		.file = file, .fn = range, .arg = arg, .total_sectors = matched_sectors(file)
	};
	bcfmt_err err = BCFMT_OK;
	size_t i;

	file->is_checked = false;
	file->done_sectors = 0;
	for (i = 0; !err && i < file->devices.n; i++) {
		struct undo_file_device *device = undo_file_device_at(file, i);

		device->tally = (struct bcfmt_undo_tally){ 0 };
		device->differing_outside_super = 0;
		if (!device->dev) {
			if (device->info.is_needed)
				err = bcfmt_fail(file->ctx, BCFMT_E_ARG,
						 "%s: not all its devices are known",
						 file->store->name);
			continue;
		}
		err = undo_walk(file, i, device->dev, UNDO_CLASSES_ALL, check_piece, &check);
		tell_range(&check);
	}
	file->is_checked = !err;
	return err;
}

const struct bcfmt_undo_tally *bcfmt_undo_file_tally(const struct bcfmt_undo_file *file, size_t i)
{
	return &undo_file_device_at(file, i)->tally;
}

/* ---- putting back ---- */

struct apply {
	struct bcfmt_undo_file *file;
	bool is_forced;
	uint64_t total_sectors;
};

static bcfmt_err apply_piece(void *arg, const struct undo_piece *piece)
{
	struct apply *apply = arg;
	struct bcfmt_dev *dev = undo_file_device_at(apply->file, piece->device)->dev;
	bcfmt_err err = BCFMT_OK;
	enum bcfmt_undo_state state;
	uint64_t first, sectors;

	for (first = 0; !err && first < piece->sectors; first += sectors) {
		sectors = run_sectors(piece, first, &state);
		if (state == BCFMT_UNDO_AS_BEFORE)
			continue;
		if (state != BCFMT_UNDO_WRITTEN && !apply->is_forced)
			return bcfmt_fail(apply->file->ctx, BCFMT_E_BUSY,
					  "%s: sector %" PRIu64 ": changed since it was checked",
					  dev->name, piece->first_sector + first);
		err = bcfmt_dev_write(dev, (piece->first_sector + first) * BCFMT_SECTOR_BYTES,
				      piece->old + first * BCFMT_SECTOR_BYTES,
				      sectors * BCFMT_SECTOR_BYTES);
	}
	advance(apply->file, "put back", piece->sectors, apply->total_sectors);
	return err;
}

static bcfmt_err verify_piece(void *arg, const struct undo_piece *piece)
{
	struct apply *apply = arg;
	enum bcfmt_undo_state state;
	uint64_t sectors = run_sectors(piece, 0, &state);

	if (state == BCFMT_UNDO_AS_BEFORE && sectors == piece->sectors) {
		advance(apply->file, "verify", piece->sectors, apply->total_sectors);
		return BCFMT_OK;
	}
	if (state != BCFMT_UNDO_AS_BEFORE)
		sectors = 0;
	return bcfmt_fail(apply->file->ctx, BCFMT_E_IO,
			  "%s: sector %" PRIu64 ": something else comes back than was written",
			  undo_file_device_at(apply->file, piece->device)->dev->name,
			  piece->first_sector + sectors);
}

static bcfmt_err flush_all(const struct bcfmt_undo_file *file)
{
	bcfmt_err err = BCFMT_OK;
	size_t i;

	for (i = 0; !err && i < file->devices.n; i++)
		if (undo_file_device_at(file, i)->dev)
			err = bcfmt_dev_flush(undo_file_device_at(file, i)->dev);
	return err;
}

/* Takes the superblocks away of those devices that are half put back for a time. */
static bcfmt_err stamp_all(const struct bcfmt_undo_file *file)
{
	bcfmt_err err = BCFMT_OK;
	size_t i;

	for (i = 0; !err && i < file->devices.n; i++) {
		const struct undo_file_device *device = undo_file_device_at(file, i);
		uint8_t sector[BCFMT_SECTOR_BYTES];

		if (!device->has_super_sector || !device->differing_outside_super)
			continue;
		err = bcfmt_dev_read(device->dev, BCFMT_SUPER_OFFSET_BYTES, sector, sizeof(sector));
		if (err || !undo_is_super_sector(sector))
			continue;
		undo_stamp(file->info.id, (uint32_t)i, sector);
		err = bcfmt_dev_write(device->dev, BCFMT_SUPER_OFFSET_BYTES, sector,
				      sizeof(sector));
	}
	return err ? err : flush_all(file);
}

enum apply_who { APPLY_ALL, APPLY_ALL_BUT_CACHES, APPLY_CACHES };

/* One class of all devices, or of some. */
static bcfmt_err apply_class(struct apply *apply, enum undo_class class, enum apply_who who)
{
	struct bcfmt_undo_file *file = apply->file;
	bcfmt_err err = BCFMT_OK;
	size_t i;

	for (i = 0; !err && i < file->devices.n; i++) {
		struct undo_file_device *device = undo_file_device_at(file, i);
		bool is_cache = device->info.before.role == BCFMT_UNDO_CACHE;

		if (!device->dev || (who == APPLY_CACHES && !is_cache) ||
		    (who == APPLY_ALL_BUT_CACHES && is_cache))
			continue;
		err = undo_walk(file, i, device->dev, UNDO_CLASS(class), apply_piece, apply);
	}
	return err ? err : flush_all(file);
}

static bcfmt_err verify_all(struct apply *apply)
{
	struct bcfmt_undo_file *file = apply->file;
	bcfmt_err err = BCFMT_OK;
	size_t i;

	file->done_sectors = 0;
	for (i = 0; !err && i < file->devices.n; i++) {
		struct bcfmt_dev *dev = undo_file_device_at(file, i)->dev;

		if (!dev)
			continue;
		dev_forget(dev);
		err = undo_walk(file, i, dev, UNDO_CLASSES_ALL, verify_piece, apply);
	}
	return err;
}

/* What stands against putting back; *differing: sectors that have to be. */
static bcfmt_err check_allowed(const struct bcfmt_undo_file *file, bool is_forced,
			       uint64_t *differing)
{
	size_t i;

	*differing = 0;
	if (!file->is_checked)
		return bcfmt_fail(file->ctx, BCFMT_E_ARG, "%s: the devices are not checked",
				  file->store->name);
	for (i = 0; i < file->devices.n; i++) {
		const struct undo_file_device *device = undo_file_device_at(file, i);
		const uint64_t *sectors = device->tally.sectors;
		uint64_t doubtful = sectors[BCFMT_UNDO_AHEAD] + sectors[BCFMT_UNDO_FOREIGN];

		*differing += sectors[BCFMT_UNDO_WRITTEN] + doubtful;
		if (device->is_guess && sectors[BCFMT_UNDO_WRITTEN] && !is_forced)
			return bcfmt_fail(file->ctx, BCFMT_E_ARG,
					  "%s: neither contents nor name tell which device of the"
					  " undo file it is",
					  device->dev->name);
		if (doubtful && !is_forced)
			return bcfmt_fail(file->ctx, BCFMT_E_ARG,
					  "%s: %" PRIu64 " sectors were changed since, the first"
					  " is %" PRIu64,
					  device->dev->name, doubtful,
					  device->tally.first_doubtful.first_sector);
		if (device->dev && !device->dev->is_writable)
			return bcfmt_fail(file->ctx, BCFMT_E_ARG, "%s: opened for reading only",
					  device->dev->name);
	}
	return BCFMT_OK;
}

bcfmt_err bcfmt_undo_file_apply(struct bcfmt_undo_file *file, unsigned int flags)
{
	struct apply apply = { .file = file,
			       .is_forced = flags & BCFMT_UNDO_FORCE,
			       .total_sectors = matched_sectors(file) };
	uint64_t differing;
	bcfmt_err err = check_allowed(file, apply.is_forced, &differing);

	if (err || !differing)
		return err;
	file->is_checked = false;
	file->done_sectors = 0;
	err = stamp_all(file);
	if (!err)
		err = apply_class(&apply, UNDO_BODY, APPLY_ALL);
	if (!err)
		err = apply_class(&apply, UNDO_EDGE, APPLY_ALL);
	if (!err)
		err = apply_class(&apply, UNDO_SUPER, APPLY_ALL_BUT_CACHES);
	if (!err)
		err = apply_class(&apply, UNDO_SUPER, APPLY_CACHES);
	return err ? err : verify_all(&apply);
}
