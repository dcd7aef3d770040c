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
	bool is_row_lost;      /* a part of the object that comes next could not be made */
	char *row_text;	       /* text mode: the same; JSON mode: an object as a line */
	size_t row_bytes;      /* used, without terminator */
	size_t row_cap;
};

/* Keeps the first failure for bcfmt_out_close(). */
void out_failed(struct bcfmt_out *out, bcfmt_err err);
/* Room for so many bytes in row_text; false, and noted as a failure, when memory is out. */
bool out_reserve(struct bcfmt_out *out, size_t bytes);

#endif
