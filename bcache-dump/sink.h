/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Where an exported volume goes: a new file, a block device, or a stream. */
#ifndef SINK_H
#define SINK_H

#include <bcfmt/ctx.h>
#include <bcfmt/dev.h>

struct sink;

/*
 * path: "-" is standard output, and what is neither file nor block device (a pipe, /dev/null) is a
 * stream too. A file is written beside path and takes its place when it is whole. A block device
 * must hold volume_bytes and be used by nobody; it must not be, hold or lie in one of the inputs.
 * E_ARG: an input, a terminal; E_BUSY, E_RANGE, E_SYSTEM. On error nothing is left behind.
 */
bcfmt_err sink_open(struct bcfmt_ctx *ctx, const char *path, uint64_t volume_bytes,
		    struct bcfmt_dev *const *inputs, size_t n_inputs, struct sink **out);

/* Both go on where the last call ended. Zeros in a file become holes. */
bcfmt_err sink_write(struct sink *sink, const void *buf, size_t len_bytes);
bcfmt_err sink_zeros(struct sink *sink, uint64_t len_bytes);
/* Writing zeros takes no time and no room. */
bool sink_is_sparse(const struct sink *sink);
bool sink_is_stdout(const struct sink *sink);

/* All was written: makes it lasting, under its name. */
bcfmt_err sink_commit(struct sink *sink);
/* Takes away what was not committed; NULL is fine. */
void sink_free(struct sink *sink);

#endif
