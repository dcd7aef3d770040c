/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Writing HTML: markup as it is, everything else escaped. */
#include "render/page_out.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "render/clean.h"

static void put(struct page_out *out, const char *text, size_t len)
{
	if (out->err || fwrite(text, 1, len, out->stream) == len)
		return;
	out->err = bcfmt_fail(out->ctx, BCFMT_E_IO, "cannot write the page");
}

void page_markup(struct page_out *out, const char *markup)
{
	put(out, markup, strlen(markup));
}

static void put_escaped(struct page_out *out, const char *text)
{
	while (*text) {
		size_t plain = strcspn(text, "&<>\"'");

		put(out, text, plain);
		text += plain;
		switch (*text) {
		case '&':
			page_markup(out, "&amp;");
			break;
		case '<':
			page_markup(out, "&lt;");
			break;
		case '>':
			page_markup(out, "&gt;");
			break;
		case '"':
			page_markup(out, "&quot;");
			break;
		case '\'':
			page_markup(out, "&#39;");
			break;
		}
		text += *text != 0;
	}
}

__attribute__((format(printf, 2, 0))) static void put_format(struct page_out *out, const char *fmt,
							     va_list args)
{
	char *text;

	if (out->err)
		return;
	if (vasprintf(&text, fmt, args) < 0) {
		out->err = bcfmt_fail(out->ctx, BCFMT_E_NOMEM, "out of memory for the page");
		return;
	}
	clean_for_terminal(text);
	put_escaped(out, text);
	free(text);
}

void page_text(struct page_out *out, const char *fmt, ...)
{
	va_list args;

	va_start(args, fmt);
	put_format(out, fmt, args);
	va_end(args);
}

static void put_tag(struct page_out *out, const char *begin, const char *tag)
{
	page_markup(out, begin);
	page_markup(out, tag);
	page_markup(out, ">");
}

void page_element(struct page_out *out, const char *tag, const char *fmt, ...)
{
	va_list args;

	put_tag(out, "<", tag);
	va_start(args, fmt);
	put_format(out, fmt, args);
	va_end(args);
	put_tag(out, "</", tag);
	page_markup(out, "\n");
}

/* Three bytes as four digits; fewer leave the last digits to '='. */
static void put_group(struct page_out *out, const uint8_t bytes[3], unsigned int n)
{
	static const char digits[] =
		"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
	uint32_t word = (uint32_t)bytes[0] << 16 | (uint32_t)bytes[1] << 8 | bytes[2];
	char text[4];

	for (unsigned int i = 0; i < 4; i++)
		text[i] = i <= n ? digits[word >> (18 - 6 * i) & 63] : '=';
	put(out, text, sizeof(text));
}

void page_base64(struct page_out *out, const void *bytes, size_t len_bytes)
{
	const uint8_t *at = bytes;

	for (size_t i = 0; i < len_bytes; i++) {
		out->rest[out->n_rest++] = at[i];
		if (out->n_rest < 3)
			continue;
		put_group(out, out->rest, 3);
		out->n_rest = 0;
	}
}

void page_base64_end(struct page_out *out)
{
	if (!out->n_rest)
		return;
	memset(out->rest + out->n_rest, 0, 3 - out->n_rest);
	put_group(out, out->rest, out->n_rest);
	out->n_rest = 0;
}
