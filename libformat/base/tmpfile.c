/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Unlinked temporary files and whole-or-error transfers on a descriptor. */
#include "base/tmpfile.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* Not every file system knows O_TMPFILE: then a name is made and taken away at once. */
static int open_named(const char *dir)
{
	char path[PATH_MAX];
	int len, fd;

	len = snprintf(path, sizeof(path), "%s/bcfmt-XXXXXX", dir);
	if (len < 0 || (size_t)len >= sizeof(path)) {
		errno = ENAMETOOLONG;
		return -1;
	}
	fd = mkostemp(path, O_CLOEXEC);
	if (fd >= 0)
		unlink(path);
	return fd;
}

bcfmt_err tmpfile_new(struct bcfmt_ctx *ctx, int *fd)
{
	const char *dir = bcfmt_ctx_tmp_dir(ctx);

	*fd = open(dir, O_TMPFILE | O_RDWR | O_EXCL | O_CLOEXEC, 0600);
	if (*fd < 0)
		*fd = open_named(dir);
	if (*fd < 0)
		return bcfmt_fail(ctx, BCFMT_E_SYSTEM, "cannot make a temporary file in %s: %s",
				  dir, strerror(errno));
	return BCFMT_OK;
}

bcfmt_err tmpfile_read(struct bcfmt_ctx *ctx, int fd, uint64_t offset_bytes, void *buf,
		       size_t len_bytes)
{
	uint8_t *at = buf;

	while (len_bytes) {
		ssize_t got = pread(fd, at, len_bytes, (off_t)offset_bytes);

		if (got < 0 && errno == EINTR)
			continue;
		if (got <= 0)
			return bcfmt_fail(ctx, BCFMT_E_SYSTEM,
					  "temporary file in %s: read of %zu bytes at %llu: %s",
					  bcfmt_ctx_tmp_dir(ctx), len_bytes,
					  (unsigned long long)offset_bytes,
					  got ? strerror(errno) : "unexpected end");
		at += got;
		offset_bytes += (uint64_t)got;
		len_bytes -= (size_t)got;
	}
	return BCFMT_OK;
}

bcfmt_err tmpfile_write(struct bcfmt_ctx *ctx, int fd, uint64_t offset_bytes, const void *buf,
			size_t len_bytes)
{
	const uint8_t *at = buf;

	while (len_bytes) {
		ssize_t put = pwrite(fd, at, len_bytes, (off_t)offset_bytes);

		if (put < 0 && errno == EINTR)
			continue;
		if (put <= 0)
			return bcfmt_fail(ctx, BCFMT_E_SYSTEM,
					  "temporary file in %s: write of %zu bytes at %llu: %s",
					  bcfmt_ctx_tmp_dir(ctx), len_bytes,
					  (unsigned long long)offset_bytes,
					  put ? strerror(errno) : "nothing written");
		at += put;
		offset_bytes += (uint64_t)put;
		len_bytes -= (size_t)put;
	}
	return BCFMT_OK;
}
