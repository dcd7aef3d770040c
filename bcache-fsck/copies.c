/* SPDX-License-Identifier: GPL-2.0-or-later */
/* --copy-to: repaired sparse copies of all devices under their base names. */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "cli/message.h"
#include "cli/progress.h"
#include "repair.h"

static int out_of_memory(void)
{
	cli_error(NULL, "out of memory");
	return FSCK_OPERATIONAL;
}

static char *path_of(const struct repair *repair, size_t i)
{
	const char *name = bcfmt_dev_name(repair->devices.devs[i]);
	const char *slash = strrchr(name, '/');
	char *path;

	if (asprintf(&path, "%s/%s", repair->options->copy_to, slash ? slash + 1 : name) < 0)
		return NULL;
	return path;
}

/* A new file with a hole as large as the device; nothing is ever overwritten. */
static int make_file(const char *path, uint64_t bytes)
{
	int fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
	int error = 0;

	if (fd < 0) {
		cli_error(path, "cannot be made: %s", strerror(errno));
		return FSCK_OPERATIONAL;
	}
	if (ftruncate(fd, (off_t)bytes))
		error = errno;
	if (close(fd) && !error)
		error = errno;
	if (!error)
		return FSCK_CLEAN;
	cli_error(path, "cannot be made %" PRIu64 " bytes long: %s", bytes, strerror(error));
	unlink(path);
	return FSCK_OPERATIONAL;
}

static int copy_one(struct repair *repair, size_t i, const char *path)
{
	struct bcfmt_bad_read bad = { 0 };
	struct bcfmt_dev *to = NULL;
	bcfmt_err err;

	err = bcfmt_dev_open(repair->ctx, path, BCFMT_OPEN_WRITE | BCFMT_OPEN_EXCLUSIVE, &to);
	if (!err)
		err = bcfmt_repair_copy(repair->run, i, to, &bad);
	bcfmt_dev_free(to);
	cli_progress_clear();
	if (err)
		return fsck_told(repair->ctx, err, "the copies are not complete");
	if (!bad.sectors)
		return FSCK_CLEAN;
	cli_error(path,
		  "%" PRIu64 " sectors could not be read and are zero here, the first is %" PRIu64,
		  bad.sectors, bad.first_sector);
	return FSCK_PROBLEMS_LEFT;
}

bool copies_have_failed(int bits)
{
	return bits & ~(FSCK_REPAIRED | FSCK_PROBLEMS_LEFT);
}

int copies_make(struct repair *repair)
{
	size_t n = repair->devices.n, made = 0;
	char **paths = calloc(n, sizeof(*paths));
	int bits = paths ? FSCK_CLEAN : out_of_memory();

	/* All names first: a copy takes long, and half of a set is none. */
	for (size_t i = 0; !bits && i < n; i++) {
		paths[i] = path_of(repair, i);
		bits = paths[i] ? make_file(paths[i], bcfmt_dev_bytes(repair->devices.devs[i]))
				: out_of_memory();
		made += !bits;
	}
	for (size_t i = 0; !copies_have_failed(bits) && i < n; i++)
		bits |= copy_one(repair, i, paths[i]);
	for (size_t i = 0; i < n && paths; i++) {
		if (copies_have_failed(bits) && i < made)
			unlink(paths[i]);
		free(paths[i]);
	}
	free(paths);
	return bits;
}

int copies_open(struct repair *repair)
{
	struct cli_open_params params = { .n_paths = repair->devices.n,
					  .flags = BCFMT_OPEN_WRITE | BCFMT_OPEN_EXCLUSIVE,
					  .roles = repair->devices.roles };
	char **paths = calloc(repair->devices.n, sizeof(*paths));
	const char **names = calloc(repair->devices.n, sizeof(*names));
	struct cli_devices copies = { 0 };
	int bits = paths && names ? FSCK_CLEAN : out_of_memory();

	for (size_t i = 0; !bits && i < repair->devices.n; i++) {
		names[i] = paths[i] = path_of(repair, i);
		bits = paths[i] ? FSCK_CLEAN : out_of_memory();
	}
	params.paths = names;
	if (!bits)
		bits = fsck_bits_of(cli_devices_open(repair->ctx, &params, &copies));
	if (!bits) {
		/* The run stands on the devices. */
		bcfmt_repair_free(repair->run);
		repair->run = NULL;
		cli_devices_close(&repair->devices);
		repair->devices = copies;
	}
	for (size_t i = 0; paths && i < params.n_paths; i++)
		free(paths[i]);
	free(paths);
	free(names);
	return bits;
}
