/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Writing HTML: markup as it is, everything else escaped. */
#ifndef RENDER_PAGE_OUT_H
#define RENDER_PAGE_OUT_H

#include <bcfmt/base.h>
#include <bcfmt/ctx.h>

struct page_out {
	struct bcfmt_ctx *ctx;
	void *stream;  /* FILE * */
	bcfmt_err err; /* the first failure; nothing is written after it */
	/* Bytes that wait for a third one. */
	uint8_t rest[3];
	unsigned int n_rest;
};

extern const char *const page_style;

/* Our own markup, never a string from elsewhere. */
void page_markup(struct page_out *out, const char *markup);
/* Escaped; what is no character a page may have becomes '?'. */
void page_text(struct page_out *out, const char *fmt, ...) BCFMT_PRINTF(2, 3);
/* <tag>text</tag>. */
void page_element(struct page_out *out, const char *tag, const char *fmt, ...) BCFMT_PRINTF(3, 4);
/* Bytes as base64: any number of calls, then an end. */
void page_base64(struct page_out *out, const void *bytes, size_t len_bytes);
void page_base64_end(struct page_out *out);

#endif
