/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Unlinked temporary files and whole-or-error transfers on a descriptor. */
#ifndef BASE_TMPFILE_H
#define BASE_TMPFILE_H

#include <bcfmt/ctx.h>

/* *fd: a nameless file in the context's temporary folder, close-on-exec, closed by the caller. */
bcfmt_err tmpfile_new(struct bcfmt_ctx *ctx, int *fd);
/* Thread-safe. Fewer bytes than asked for are an error. */
bcfmt_err tmpfile_read(struct bcfmt_ctx *ctx, int fd, uint64_t offset_bytes, void *buf,
		       size_t len_bytes);
bcfmt_err tmpfile_write(struct bcfmt_ctx *ctx, int fd, uint64_t offset_bytes, const void *buf,
			size_t len_bytes);

#endif
