/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Where an exported volume goes: a new file, a block device, or a stream. */
#include "sink.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define HOLE_BYTES  4096u
#define ZEROS_BYTES (1u << 20)
#define TEMP_TRIES  1000u

enum sink_kind { SINK_FILE, SINK_DEVICE, SINK_STREAM };

struct sink {
	struct bcfmt_ctx *ctx;
	enum sink_kind kind;
	char *name;	 /* as given, for messages */
	char *path;	 /* the same; of a file with links resolved */
	char *temp_path; /* not NULL: there is something to take away */
	int fd;		 /* of a file or stream */
	bool is_stdout;
	struct bcfmt_dev *dev;
	struct bcfmt_dev **claims; /* inputs held so that dev cannot be part of them */
	size_t n_claims;
	uint64_t offset_bytes; /* where the next byte goes */
	uint8_t *zeros;	       /* ZEROS_BYTES, when they have to be written */
};

static bcfmt_err fail_errno(const struct sink *sink, bcfmt_err err, const char *what)
{
	char text[128];

	return bcfmt_fail(sink->ctx, err, "%s: %s: %s", sink->name, what,
			  strerror_r(errno, text, sizeof(text)));
}

static bcfmt_err check_inputs(const struct sink *sink, const struct stat *st,
			      struct bcfmt_dev *const *inputs, size_t n_inputs)
{
	struct stat in;

	for (size_t i = 0; i < n_inputs; i++) {
		if (stat(bcfmt_dev_name(inputs[i]), &in))
			continue;
		if (S_ISBLK(st->st_mode) && S_ISBLK(in.st_mode)
			    ? st->st_rdev != in.st_rdev
			    : st->st_dev != in.st_dev || st->st_ino != in.st_ino)
			continue;
		return bcfmt_fail(sink->ctx, BCFMT_E_ARG, "%s: is read from, cannot be written to",
				  sink->name);
	}
	return BCFMT_OK;
}

/*
 * The kernel lets one holder claim a disk or its partitions, not two both: an output that holds
 * an input, or lies in it, cannot be opened while the input is claimed.
 */
static bcfmt_err claim_inputs(struct sink *sink, struct bcfmt_dev *const *inputs, size_t n_inputs)
{
	bcfmt_err err;
	struct stat st;

	sink->claims = calloc(n_inputs, sizeof(*sink->claims));
	if (!sink->claims)
		return bcfmt_fail(sink->ctx, BCFMT_E_NOMEM, "out of memory");
	for (size_t i = 0; i < n_inputs; i++) {
		if (stat(bcfmt_dev_name(inputs[i]), &st) || !S_ISBLK(st.st_mode) ||
		    bcfmt_dev_was_in_use(inputs[i]))
			continue;
		err = bcfmt_dev_open(sink->ctx, bcfmt_dev_name(inputs[i]), BCFMT_OPEN_EXCLUSIVE,
				     &sink->claims[sink->n_claims]);
		if (err)
			return err;
		sink->n_claims++;
	}
	return BCFMT_OK;
}

static bcfmt_err open_device(struct sink *sink, uint64_t volume_bytes,
			     struct bcfmt_dev *const *inputs, size_t n_inputs)
{
	bcfmt_err err = claim_inputs(sink, inputs, n_inputs);

	if (!err)
		err = bcfmt_dev_open(sink->ctx, sink->path, BCFMT_OPEN_WRITE | BCFMT_OPEN_EXCLUSIVE,
				     &sink->dev);
	if (err)
		return err;
	sink->kind = SINK_DEVICE;
	if (bcfmt_dev_bytes(sink->dev) >= volume_bytes)
		return BCFMT_OK;
	return bcfmt_fail(sink->ctx, BCFMT_E_RANGE,
			  "%s: too small: %llu bytes, the volume has %llu", sink->name,
			  (unsigned long long)bcfmt_dev_bytes(sink->dev),
			  (unsigned long long)volume_bytes);
}

/* A name of its own in the folder of path; O_EXCL, so that no link can be in its place. */
static bcfmt_err open_temp(struct sink *sink)
{
	const char *slash = strrchr(sink->path, '/');
	int folder_len = slash ? (int)(slash - sink->path) + 1 : 0;
	char *name;

	for (unsigned int i = 0; i < TEMP_TRIES; i++) {
		if (asprintf(&name, "%.*s.bcache-dump.%ld.%u", folder_len, sink->path,
			     (long)getpid(), i) < 0)
			return bcfmt_fail(sink->ctx, BCFMT_E_NOMEM, "out of memory");
		sink->fd = open(name, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
		if (sink->fd >= 0) {
			sink->temp_path = name;
			return BCFMT_OK;
		}
		free(name);
		if (errno != EEXIST)
			break;
	}
	return fail_errno(sink, BCFMT_E_SYSTEM, "cannot create");
}

/* A file that a loop device or a mount lives on would be replaced under its feet. */
static bcfmt_err check_unused(const struct sink *sink)
{
	struct bcfmt_dev *dev;
	bcfmt_err err;

	err = bcfmt_dev_open(sink->ctx, sink->path, BCFMT_OPEN_WRITE | BCFMT_OPEN_EXCLUSIVE, &dev);
	bcfmt_dev_free(dev);
	if (err == BCFMT_E_BUSY)
		return err;
	/* An empty file is no device, and right here all the same. */
	if (err)
		bcfmt_ctx_fault_clear(sink->ctx);
	return BCFMT_OK;
}

/* The file that a link leads to is replaced, not the link. */
static bcfmt_err open_file(struct sink *sink, const struct stat *st)
{
	char *real = st ? realpath(sink->path, NULL) : NULL;
	bcfmt_err err = BCFMT_OK;

	if (real) {
		free(sink->path);
		sink->path = real;
	}
	if (st && access(sink->path, W_OK))
		return fail_errno(sink, BCFMT_E_SYSTEM, "cannot be replaced");
	if (st)
		err = check_unused(sink);
	if (!err)
		err = open_temp(sink);
	if (!err && st && fchmod(sink->fd, st->st_mode & 0777))
		return fail_errno(sink, BCFMT_E_SYSTEM, "cannot set the mode");
	sink->kind = SINK_FILE;
	return err;
}

static bcfmt_err open_stream(struct sink *sink)
{
	sink->kind = SINK_STREAM;
	if (sink->is_stdout)
		sink->fd = STDOUT_FILENO;
	else
		sink->fd = open(sink->path, O_WRONLY | O_CLOEXEC);
	if (sink->fd < 0)
		return fail_errno(sink, BCFMT_E_SYSTEM, "cannot open");
	if (isatty(sink->fd))
		return bcfmt_fail(sink->ctx, BCFMT_E_ARG, "%s: a terminal cannot take binary data",
				  sink->name);
	return BCFMT_OK;
}

static bcfmt_err open_any(struct sink *sink, uint64_t volume_bytes, struct bcfmt_dev *const *inputs,
			  size_t n_inputs)
{
	struct stat st;
	bcfmt_err err;

	if (sink->is_stdout)
		return open_stream(sink);
	if (stat(sink->path, &st)) {
		if (errno != ENOENT)
			return fail_errno(sink, BCFMT_E_SYSTEM, "cannot open");
		/* A link to a name that is not there would be replaced, not followed. */
		return lstat(sink->path, &st)
			       ? open_file(sink, NULL)
			       : bcfmt_fail(sink->ctx, BCFMT_E_SYSTEM,
					    "%s: a link that leads nowhere", sink->name);
	}
	err = check_inputs(sink, &st, inputs, n_inputs);
	if (err)
		return err;
	if (S_ISDIR(st.st_mode))
		return bcfmt_fail(sink->ctx, BCFMT_E_SYSTEM, "%s: is a folder", sink->name);
	if (S_ISBLK(st.st_mode))
		return open_device(sink, volume_bytes, inputs, n_inputs);
	return S_ISREG(st.st_mode) ? open_file(sink, &st) : open_stream(sink);
}

bcfmt_err sink_open(struct bcfmt_ctx *ctx, const char *path, uint64_t volume_bytes,
		    struct bcfmt_dev *const *inputs, size_t n_inputs, struct sink **out)
{
	struct sink *sink = calloc(1, sizeof(*sink));
	bcfmt_err err = BCFMT_OK;

	*out = NULL;
	if (!sink)
		return bcfmt_fail(ctx, BCFMT_E_NOMEM, "out of memory");
	sink->ctx = ctx;
	sink->fd = -1;
	sink->is_stdout = !strcmp(path, "-");
	sink->name = strdup(sink->is_stdout ? "standard output" : path);
	sink->path = strdup(path);
	sink->zeros = calloc(1, ZEROS_BYTES);
	if (!sink->name || !sink->path || !sink->zeros)
		err = bcfmt_fail(ctx, BCFMT_E_NOMEM, "out of memory");
	if (!err)
		err = open_any(sink, volume_bytes, inputs, n_inputs);
	if (err)
		sink_free(sink);
	else
		*out = sink;
	return err;
}

bool sink_is_sparse(const struct sink *sink)
{
	return sink->kind == SINK_FILE;
}

bool sink_is_stdout(const struct sink *sink)
{
	return sink->is_stdout;
}

static bcfmt_err write_fd(struct sink *sink, const uint8_t *from, size_t len_bytes)
{
	while (len_bytes) {
		ssize_t put = sink->kind == SINK_FILE
				      ? pwrite(sink->fd, from, len_bytes, (off_t)sink->offset_bytes)
				      : write(sink->fd, from, len_bytes);

		if (put < 0 && errno == EINTR && !bcfmt_ctx_is_cancelled(sink->ctx))
			continue;
		if (put < 0 && errno == EINTR)
			return BCFMT_E_CANCELLED;
		if (put <= 0) {
			errno = put ? errno : ENOSPC;
			return fail_errno(sink, BCFMT_E_IO, "cannot write");
		}
		from += put;
		len_bytes -= (size_t)put;
		sink->offset_bytes += (size_t)put;
	}
	return BCFMT_OK;
}

static bcfmt_err write_plain(struct sink *sink, const uint8_t *from, size_t len_bytes)
{
	bcfmt_err err;

	if (sink->kind != SINK_DEVICE)
		return write_fd(sink, from, len_bytes);
	err = bcfmt_dev_write(sink->dev, sink->offset_bytes, from, len_bytes);
	if (!err)
		sink->offset_bytes += len_bytes;
	return err;
}

static bool is_zero(const uint8_t *bytes, size_t len_bytes)
{
	return !len_bytes || (!bytes[0] && !memcmp(bytes, bytes + 1, len_bytes - 1));
}

/* Length of the run at from whose blocks are all zero, or all not. */
static size_t run_bytes(const uint8_t *from, size_t len_bytes, bool *is_hole)
{
	size_t at = len_bytes < HOLE_BYTES ? len_bytes : HOLE_BYTES;

	*is_hole = is_zero(from, at);
	while (at < len_bytes) {
		size_t block = len_bytes - at < HOLE_BYTES ? len_bytes - at : HOLE_BYTES;

		if (is_zero(from + at, block) != *is_hole)
			break;
		at += block;
	}
	return at;
}

bcfmt_err sink_write(struct sink *sink, const void *buf, size_t len_bytes)
{
	const uint8_t *from = buf;
	bcfmt_err err = BCFMT_OK;

	if (sink->kind != SINK_FILE)
		return write_plain(sink, from, len_bytes);
	while (len_bytes && !err) {
		bool is_hole;
		size_t run = run_bytes(from, len_bytes, &is_hole);

		if (is_hole)
			sink->offset_bytes += run;
		else
			err = write_plain(sink, from, run);
		from += run;
		len_bytes -= run;
	}
	return err;
}

bcfmt_err sink_zeros(struct sink *sink, uint64_t len_bytes)
{
	bcfmt_err err = BCFMT_OK;

	if (sink->kind == SINK_FILE) {
		sink->offset_bytes += len_bytes;
		return BCFMT_OK;
	}
	while (len_bytes && !err) {
		size_t part = len_bytes < ZEROS_BYTES ? (size_t)len_bytes : ZEROS_BYTES;

		if (bcfmt_ctx_is_cancelled(sink->ctx))
			return BCFMT_E_CANCELLED;
		err = write_plain(sink, sink->zeros, part);
		len_bytes -= part;
	}
	return err;
}

/* The name is lasting only when the folder is. Some file systems cannot: that is no failure. */
static void sync_folder(const char *path)
{
	const char *slash = strrchr(path, '/');
	char *folder = slash ? strndup(path, (size_t)(slash - path) + 1) : strdup(".");
	int fd = folder ? open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC) : -1;

	if (fd >= 0) {
		(void)fsync(fd);
		close(fd);
	}
	free(folder);
}

static bcfmt_err commit_file(struct sink *sink)
{
	int fd = sink->fd;

	if (ftruncate(fd, (off_t)sink->offset_bytes) || fsync(fd))
		return fail_errno(sink, BCFMT_E_IO, "cannot write");
	sink->fd = -1;
	if (close(fd))
		return fail_errno(sink, BCFMT_E_IO, "cannot write");
	if (rename(sink->temp_path, sink->path))
		return fail_errno(sink, BCFMT_E_SYSTEM, "cannot be given its name");
	free(sink->temp_path);
	sink->temp_path = NULL;
	sync_folder(sink->path);
	return BCFMT_OK;
}

bcfmt_err sink_commit(struct sink *sink)
{
	int fd = sink->fd;

	if (sink->kind == SINK_FILE)
		return commit_file(sink);
	if (sink->kind == SINK_DEVICE)
		return bcfmt_dev_flush(sink->dev);
	sink->fd = -1;
	if (!sink->is_stdout && close(fd))
		return fail_errno(sink, BCFMT_E_IO, "cannot write");
	return BCFMT_OK;
}

void sink_free(struct sink *sink)
{
	if (!sink)
		return;
	if (sink->fd >= 0 && !sink->is_stdout)
		close(sink->fd);
	if (sink->temp_path)
		(void)unlink(sink->temp_path);
	bcfmt_dev_free(sink->dev);
	for (size_t i = 0; i < sink->n_claims; i++)
		bcfmt_dev_free(sink->claims[i]);
	free(sink->claims);
	free(sink->temp_path);
	free(sink->zeros);
	free(sink->name);
	free(sink->path);
	free(sink);
}
