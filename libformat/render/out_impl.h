/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The output itself; only out.c and row.c look into it. */
#ifndef RENDER_OUT_IMPL_H
#define RENDER_OUT_IMPL_H

#include <bcfmt/render.h>

#include <jansson.h>

struct bcfmt_out {
	struct bcfmt_ctx *ctx; /* borrowed */
	void *stream;	       /* FILE *, borrowed */
	unsigned int flags;    /* enum bcfmt_out_flags */
	bcfmt_err err;	       /* the first failure */
	json_t *row;	       /* JSON mode: the row being built */
	char *row_text;	       /* text mode: the same */
	size_t row_bytes;      /* used, without terminator */
	size_t row_cap;
};

/* Keeps the first failure for bcfmt_out_close(). */
void out_failed(struct bcfmt_out *out, bcfmt_err err);

#endif
