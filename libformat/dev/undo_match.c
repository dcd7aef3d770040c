/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Which device is which device of an undo file. Names change from one boot to the next, so it is
 * the contents that count: a device fits when every saved sector of it holds what it may hold.
 */
#include "dev/undo_impl.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "dev/dev_impl.h"

#define NOBODY SIZE_MAX

enum fit { FIT_UNKNOWN, FIT_NO, FIT_YES };

struct match {
	struct bcfmt_undo_file *file;
	struct bcfmt_dev *const *devs;
	size_t n_devs;
	uint8_t *fits;	/* enum fit: of device i of the file and dev j at i * n_devs + j */
	size_t *owner;	/* of each dev: a device of the file, or NOBODY */
	size_t *before; /* a copy of owner */
	bool *is_tried; /* of each dev, in one search */
	bool *is_known; /* of each dev: not by its contents alone */
};

static struct undo_file_device *device_at(const struct match *match, size_t i)
{
	return undo_file_device_at(match->file, i);
}

static bool has_size(const struct match *match, size_t i, size_t j)
{
	return device_at(match, i)->info.bytes == match->devs[j]->bytes;
}

static bcfmt_err stop_at_doubt(void *arg, const struct undo_piece *piece)
{
	struct bcfmt_undo_file *file = arg;
	size_t i;

	if (bcfmt_ctx_is_cancelled(file->ctx))
		return bcfmt_fail(file->ctx, BCFMT_E_CANCELLED, "%s: cancelled", file->store->name);
	for (i = 0; piece->states && i < piece->sectors; i++)
		if (piece->states[i] == BCFMT_UNDO_FOREIGN || piece->states[i] == BCFMT_UNDO_AHEAD)
			return BCFMT_END;
	return BCFMT_OK;
}

/* Reads as much of the device as is needed to tell, once. */
static bcfmt_err find_fit(struct match *match, size_t i, size_t j, bool *is_fit)
{
	uint8_t *fit = &match->fits[i * match->n_devs + j];
	bcfmt_err err = BCFMT_OK;

	if (*fit == FIT_UNKNOWN && !has_size(match, i, j))
		*fit = FIT_NO;
	if (*fit == FIT_UNKNOWN) {
		err = undo_walk(match->file, i, match->devs[j], UNDO_CLASSES_ALL, stop_at_doubt,
				match->file);
		if (err < 0)
			return err;
		*fit = err == BCFMT_END ? FIT_NO : FIT_YES;
	}
	*is_fit = *fit == FIT_YES;
	return BCFMT_OK;
}

static bool has_dev(const struct match *match, size_t i)
{
	size_t j;

	for (j = 0; j < match->n_devs; j++)
		if (match->owner[j] == i)
			return true;
	return false;
}

static const char *base_name(const char *path)
{
	const char *slash = strrchr(path, '/');

	return slash ? slash + 1 : path;
}

static bool has_name(const struct match *match, size_t i, size_t j)
{
	return !strcmp(device_at(match, i)->info.name, match->devs[j]->name);
}

static bool has_base_name(const struct match *match, size_t i, size_t j)
{
	return !strcmp(base_name(device_at(match, i)->info.name), base_name(match->devs[j]->name));
}

typedef bool (*alike_fn)(const struct match *match, size_t i, size_t j);

/* The only one on both sides that is alike. */
static bool is_only_alike(const struct match *match, size_t i, size_t j, alike_fn is_alike)
{
	size_t k;

	for (k = 0; k < match->file->devices.n; k++)
		if (k != i && has_size(match, k, j) && !has_dev(match, k) && is_alike(match, k, j))
			return false;
	for (k = 0; k < match->n_devs; k++)
		if (k != j && has_size(match, i, k) && match->owner[k] == NOBODY &&
		    is_alike(match, i, k))
			return false;
	return true;
}

/* Those that fit, and are alike besides as no others are. */
static bcfmt_err take_fits(struct match *match, alike_fn is_alike)
{
	size_t i, j;

	for (i = 0; i < match->file->devices.n; i++) {
		for (j = 0; j < match->n_devs && !has_dev(match, i); j++) {
			bool is_fit = false;
			bcfmt_err err;

			if (match->owner[j] != NOBODY || !is_alike(match, i, j) ||
			    !is_only_alike(match, i, j, is_alike))
				continue;
			err = find_fit(match, i, j, &is_fit);
			if (err)
				return err;
			if (is_fit)
				match->owner[j] = i;
			match->is_known[j] = is_fit;
		}
	}
	return BCFMT_OK;
}

static bcfmt_err find_dev(struct match *match, size_t i, bool *is_found);

/* Takes dev j for device i, if the one that has it finds another. */
static bcfmt_err try_dev(struct match *match, size_t i, size_t j, bool *is_found)
{
	bcfmt_err err = find_fit(match, i, j, is_found);

	if (err || !*is_found)
		return err;
	match->is_tried[j] = true;
	if (match->owner[j] != NOBODY)
		err = find_dev(match, match->owner[j], is_found);
	if (!err && *is_found)
		match->owner[j] = i;
	return err;
}

/*
 * Finds a dev for device i, and others for those whose dev it takes, as long as all of them fit.
 * One that nobody has comes first. Each is tried once, so that the depth is at most their number.
 */
static bcfmt_err find_dev(struct match *match, size_t i, bool *is_found)
{
	bcfmt_err err = BCFMT_OK;
	unsigned int turn;
	size_t j;

	*is_found = false;
	for (turn = 0; turn < 2; turn++) {
		for (j = 0; j < match->n_devs && !err && !*is_found; j++)
			if (!match->is_tried[j] && (match->owner[j] == NOBODY) == !turn)
				err = try_dev(match, i, j, is_found);
	}
	return err;
}

/* Devices that something is to be put back to come first. */
static bcfmt_err find_devs(struct match *match)
{
	bool is_found;
	unsigned int turn;
	size_t i;

	for (turn = 0; turn < 2; turn++) {
		for (i = 0; i < match->file->devices.n; i++) {
			bcfmt_err err;

			if (device_at(match, i)->info.is_needed != !turn || has_dev(match, i))
				continue;
			memset(match->is_tried, 0, match->n_devs * sizeof(*match->is_tried));
			err = find_dev(match, i, &is_found);
			if (err)
				return err;
		}
	}
	return BCFMT_OK;
}

/*
 * Looks whether device i, which has dev j, could as well have another, with all others finding
 * theirs: then it is only the order that says which.
 */
static bcfmt_err find_other(struct match *match, size_t i, size_t j, bool *is_found)
{
	uint8_t *fit = &match->fits[i * match->n_devs + j];
	bcfmt_err err;

	memcpy(match->before, match->owner, match->n_devs * sizeof(*match->owner));
	memcpy(match->is_tried, match->is_known, match->n_devs * sizeof(*match->is_known));
	match->owner[j] = NOBODY;
	*fit = FIT_NO;
	err = find_dev(match, i, is_found);
	*fit = FIT_YES;
	memcpy(match->owner, match->before, match->n_devs * sizeof(*match->owner));
	return err;
}

static bcfmt_err find_guesses(struct match *match)
{
	bcfmt_err err = BCFMT_OK;
	size_t j;

	for (j = 0; j < match->n_devs && !err; j++) {
		size_t i = match->owner[j];

		if (i != NOBODY && !match->is_known[j])
			err = find_other(match, i, j, &device_at(match, i)->is_guess);
	}
	return err;
}

/* ---- what fits nowhere ---- */

static bool is_same_uuid(const struct bcfmt_undo_ident *a, const struct bcfmt_undo_ident *b)
{
	return a->role != BCFMT_UNDO_OTHER && a->role == b->role &&
	       !memcmp(a->uuid, b->uuid, BCFMT_UUID_BYTES);
}

/* The superblock that dev has now is one that the file knows. */
static bool has_uuid(const struct match *match, size_t i, size_t j)
{
	const struct bcfmt_undo_device *info = &device_at(match, i)->info;
	struct bcfmt_undo_ident now;
	struct io_fault fault;

	if (dev_read_quiet(match->devs[j], BCFMT_SUPER_OFFSET_BYTES, match->file->now,
			   BCFMT_SUPER_BYTES, &fault))
		return false;
	undo_ident_of(match->file->now, &now);
	return is_same_uuid(&now, &info->before) || is_same_uuid(&now, &info->after);
}

/* No other device of this size is left, on neither side. */
static bool is_last_of_size(const struct match *match, size_t i, size_t j)
{
	size_t k;

	for (k = 0; k < match->file->devices.n; k++)
		if (k != i && has_size(match, k, j) && !has_dev(match, k))
			return false;
	for (k = 0; k < match->n_devs; k++)
		if (k != j && has_size(match, i, k) && match->owner[k] == NOBODY)
			return false;
	return true;
}

static void take_alike(struct match *match)
{
	static const alike_fn ways[] = { has_name, has_base_name, has_uuid, is_last_of_size };
	size_t way, i, j;

	for (way = 0; way < sizeof(ways) / sizeof(ways[0]); way++) {
		for (i = 0; i < match->file->devices.n; i++) {
			for (j = 0; j < match->n_devs; j++) {
				if (match->owner[j] == NOBODY && !has_dev(match, i) &&
				    has_size(match, i, j) && ways[way](match, i, j) &&
				    is_only_alike(match, i, j, ways[way])) {
					match->owner[j] = i;
					match->is_known[j] = true;
				}
			}
		}
	}
}

/* ---- what cannot be right ---- */

/* How many devices of the file have the size of dev j, and how many of them have no dev. */
static void count_size(const struct match *match, size_t j, size_t *n, size_t *n_open)
{
	size_t i;

	*n = 0;
	*n_open = 0;
	for (i = 0; i < match->file->devices.n; i++) {
		*n += has_size(match, i, j);
		*n_open += has_size(match, i, j) && !has_dev(match, i);
	}
}

/* A dev that is no device of the file. One that was cut off may never have come to know it. */
static bcfmt_err check_extra(const struct match *match, size_t j)
{
	const struct bcfmt_undo_file *file = match->file;
	const struct bcfmt_dev *dev = match->devs[j];
	size_t n, n_open;

	count_size(match, j, &n, &n_open);
	if (!file->info.is_complete && !n_open)
		return BCFMT_OK;
	if (!n)
		return bcfmt_fail(file->ctx, BCFMT_E_ARG,
				  "%s: %" PRIu64 " bytes: no device of this size is in the undo"
				  " file",
				  dev->name, dev->bytes);
	return bcfmt_fail(file->ctx, BCFMT_E_ARG,
			  "%s: neither contents nor name tell which device of the undo file it is",
			  dev->name);
}

static bcfmt_err check_devs(const struct match *match)
{
	bcfmt_err err = BCFMT_OK;
	size_t i, j;

	for (j = 0; !err && j < match->n_devs; j++)
		if (match->owner[j] == NOBODY)
			err = check_extra(match, j);
	for (i = 0; !err && i < match->file->devices.n; i++) {
		const struct bcfmt_undo_device *info = &device_at(match, i)->info;

		if (info->is_needed && !has_dev(match, i))
			err = bcfmt_fail(match->file->ctx, BCFMT_E_ARG,
					 "device %zu of the undo file is missing: %" PRIu64
					 " bytes, then %s",
					 i, info->bytes, info->name);
	}
	return err;
}

static bcfmt_err find_all(struct match *match)
{
	size_t i, j;
	bcfmt_err err;

	for (j = 0; j < match->n_devs; j++)
		match->owner[j] = NOBODY;
	err = take_fits(match, has_name);
	if (!err)
		err = take_fits(match, has_base_name);
	if (!err)
		err = find_devs(match);
	if (err)
		return err;
	take_alike(match);
	err = check_devs(match);
	for (i = 0; !err && i < match->file->devices.n; i++) {
		device_at(match, i)->dev = NULL;
		device_at(match, i)->is_guess = false;
	}
	if (!err)
		err = find_guesses(match);
	for (j = 0; !err && j < match->n_devs; j++)
		if (match->owner[j] != NOBODY)
			device_at(match, match->owner[j])->dev = match->devs[j];
	return err;
}

bcfmt_err bcfmt_undo_file_match(struct bcfmt_undo_file *file, struct bcfmt_dev *const *devs,
				size_t n_devs)
{
	struct match match = { .file = file, .devs = devs, .n_devs = n_devs };
	bcfmt_err err;

	file->is_checked = false;
	if (n_devs > file->devices.n && file->info.is_complete)
		return bcfmt_fail(file->ctx, BCFMT_E_ARG,
				  "%s: the undo file has %zu devices, %zu are given",
				  file->store->name, file->devices.n, n_devs);
	/* One more of each: there may be no device at all. */
	match.fits = calloc(file->devices.n * n_devs + 1, sizeof(*match.fits));
	match.owner = calloc(n_devs + 1, sizeof(*match.owner));
	match.before = calloc(n_devs + 1, sizeof(*match.before));
	match.is_tried = calloc(n_devs + 1, sizeof(*match.is_tried));
	match.is_known = calloc(n_devs + 1, sizeof(*match.is_known));
	if (match.fits && match.owner && match.before && match.is_tried && match.is_known)
		err = find_all(&match);
	else
		err = bcfmt_fail(file->ctx, BCFMT_E_NOMEM, "%s: out of memory", file->store->name);
	free(match.fits);
	free(match.owner);
	free(match.before);
	free(match.is_tried);
	free(match.is_known);
	return err;
}

struct bcfmt_dev *bcfmt_undo_file_dev(const struct bcfmt_undo_file *file, size_t i)
{
	return undo_file_device_at(file, i)->dev;
}

bool bcfmt_undo_file_is_guess(const struct bcfmt_undo_file *file, size_t i)
{
	return undo_file_device_at(file, i)->is_guess;
}
