/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Several files in one compressed tar archive. */
#ifndef BUNDLE_H
#define BUNDLE_H

#include <stdio.h>

#include <bcfmt/ctx.h>
#include <bcfmt/dev.h>

struct bundle;

/* As sink_open(): the archive takes its name when it is whole. folder goes before all names. */
bcfmt_err bundle_open(struct bcfmt_ctx *ctx, const char *path, const char *folder,
		      struct bcfmt_dev *const *inputs, size_t n_inputs, struct bundle **out);
/* A nameless temporary file to write to, and to read again. */
bcfmt_err bundle_stream(struct bundle *bundle, FILE **out);
/* Packs all that is in the stream, from its first byte on. The stream stays the caller's. */
bcfmt_err bundle_add(struct bundle *bundle, const char *name, FILE *stream);
/* All was added: makes it lasting, under its name. */
bcfmt_err bundle_commit(struct bundle *bundle);
/* When it is made, or what SOURCE_DATE_EPOCH says, so that it can be made again. */
int64_t bundle_time(const struct bundle *bundle);
bool bundle_is_stdout(const struct bundle *bundle);
uint64_t bundle_bytes(const struct bundle *bundle);
/* Takes away what was not committed; NULL is fine. */
void bundle_free(struct bundle *bundle);

#endif
