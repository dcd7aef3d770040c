/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Where output goes: clean lines of text or JSON Lines on a stream. */
#include "render/out.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "render/clean.h"
#include "render/out_impl.h"

#define OUT_JSON_FLAGS (JSON_COMPACT | JSON_PRESERVE_ORDER)

bcfmt_err bcfmt_out_new(struct bcfmt_ctx *ctx, void *stream, unsigned int flags,
			struct bcfmt_out **out)
{
	*out = NULL;
	if (flags & ~(unsigned int)BCFMT_OUT_ALL)
		return bcfmt_fail(ctx, BCFMT_E_ARG, "unknown output flags %#x", flags);
	*out = calloc(1, sizeof(**out));
	if (!*out)
		return bcfmt_fail(ctx, BCFMT_E_NOMEM, "out of memory for output");
	(*out)->ctx = ctx;
	(*out)->stream = stream;
	(*out)->flags = flags;
	return BCFMT_OK;
}

bcfmt_err bcfmt_out_close(struct bcfmt_out *out)
{
	bcfmt_err err;

	if (!out)
		return BCFMT_OK;
	if (fflush(out->stream) || ferror(out->stream))
		out_failed(out, BCFMT_E_IO);
	err = out->err;
	json_decref(out->row);
	free(out->row_text);
	free(out);
	return err;
}

bcfmt_err bcfmt_out_error(const struct bcfmt_out *out)
{
	return out->err;
}

void out_failed(struct bcfmt_out *out, bcfmt_err err)
{
	if (out->err)
		return;
	out->err = bcfmt_fail(out->ctx, err,
			      err == BCFMT_E_IO ? "cannot write the output"
						: "out of memory for output");
}

bool bcfmt_out_is_json(const struct bcfmt_out *out)
{
	return out->flags & BCFMT_OUT_JSON;
}

bool out_is_quiet(const struct bcfmt_out *out)
{
	return out->flags & BCFMT_OUT_QUIET;
}

/* ---- text ---- */

/* After a failure text ends: with a hole in it, it would say something else. */
static void put_raw(struct bcfmt_out *out, const char *text)
{
	if (out->err && !bcfmt_out_is_json(out))
		return;
	if (fputs(text, out->stream) == EOF)
		out_failed(out, BCFMT_E_IO);
}

__attribute__((format(printf, 2, 0))) static void put_clean(struct bcfmt_out *out, const char *fmt,
							    va_list args)
{
	char *text;

	if (vasprintf(&text, fmt, args) < 0) {
		out_failed(out, BCFMT_E_NOMEM);
		return;
	}
	clean_for_terminal(text);
	put_raw(out, text);
	free(text);
}

void bcfmt_out_line(struct bcfmt_out *out, const char *fmt, ...)
{
	va_list args;

	if (bcfmt_out_is_json(out))
		return;
	va_start(args, fmt);
	put_clean(out, fmt, args);
	va_end(args);
	out_end_line(out);
}

void out_put(struct bcfmt_out *out, const char *fmt, ...)
{
	va_list args;

	if (bcfmt_out_is_json(out))
		return;
	va_start(args, fmt);
	put_clean(out, fmt, args);
	va_end(args);
}

void out_put_styled(struct bcfmt_out *out, enum out_style style, const char *fmt, ...)
{
	static const char *const begin[] = {
		[OUT_PLAIN] = "",	  [OUT_NOTE] = "\033[36m", [OUT_WARN] = "\033[33m",
		[OUT_BAD] = "\033[1;31m", [OUT_GOOD] = "\033[32m", [OUT_STRONG] = "\033[1m",
	};
	bool is_styled = style != OUT_PLAIN && out->flags & BCFMT_OUT_COLOR && !out->err;
	va_list args;

	if (bcfmt_out_is_json(out))
		return;
	if (is_styled)
		put_raw(out, begin[style]);
	va_start(args, fmt);
	put_clean(out, fmt, args);
	va_end(args);
	/* Whatever became of the text: a terminal does not stay coloured. */
	if (is_styled && fputs("\033[0m", out->stream) == EOF)
		out_failed(out, BCFMT_E_IO);
}

void out_end_line(struct bcfmt_out *out)
{
	if (!bcfmt_out_is_json(out))
		put_raw(out, "\n");
}

/* ---- JSON ---- */

bool out_reserve(struct bcfmt_out *out, size_t bytes)
{
	size_t cap = 2 * bytes;
	char *grown;

	if (bytes <= out->row_cap)
		return true;
	grown = realloc(out->row_text, cap);
	if (!grown) {
		out_failed(out, BCFMT_E_NOMEM);
		return false;
	}
	out->row_text = grown;
	out->row_cap = cap;
	return true;
}

/*
 * The object as a line in out->row_text. What grows by itself in jansson leaves a part out when it
 * cannot; into a buffer of the right size it writes all.
 */
static bool make_line(struct bcfmt_out *out, const json_t *object)
{
	size_t len = json_dumpb(object, NULL, 0, OUT_JSON_FLAGS);

	if (!len || !out_reserve(out, len + 1) ||
	    json_dumpb(object, out->row_text, len, OUT_JSON_FLAGS) != len)
		return false;
	out->row_text[len] = '\0';
	return true;
}

/* A whole object or none: what is absent from one means unknown, not lost on the way. */
void out_json(struct bcfmt_out *out, json_t *object)
{
	if (out->is_row_lost || !make_line(out, object)) {
		out_failed(out, BCFMT_E_NOMEM);
	} else {
		put_raw(out, out->row_text);
		put_raw(out, "\n");
	}
	out->is_row_lost = false;
	json_decref(object);
}

json_t *out_json_u64(uint64_t value)
{
	char text[24];

	if (value <= INT64_MAX)
		return json_integer((json_int_t)value);
	snprintf(text, sizeof(text), "%llu", (unsigned long long)value);
	return json_string(text);
}

json_t *out_json_hex(uint64_t value)
{
	char text[24];

	snprintf(text, sizeof(text), "0x%016llx", (unsigned long long)value);
	return json_string(text);
}

json_t *out_json_text(const char *text)
{
	char *clean = clean_for_json(text);
	json_t *value = clean ? json_string(clean) : NULL;

	free(clean);
	return value;
}

json_t *out_json_uuid(const uint8_t uuid[BCFMT_UUID_BYTES])
{
	char text[BCFMT_UUID_TEXT_BYTES];

	bcfmt_uuid_text(uuid, text);
	return json_string(text);
}

void out_json_set(struct bcfmt_out *out, json_t *object, const char *key, json_t *value)
{
	if (!json_object_set_new(object, key, value))
		return;
	out->is_row_lost = true;
	out_failed(out, BCFMT_E_NOMEM);
}

void out_json_append(struct bcfmt_out *out, json_t *array, json_t *value)
{
	if (!json_array_append_new(array, value))
		return;
	out->is_row_lost = true;
	out_failed(out, BCFMT_E_NOMEM);
}

json_t *out_json_object(struct bcfmt_out *out, const char *kind)
{
	json_t *object = json_object();

	out_json_set(out, object, "kind", json_string(kind));
	return object;
}
