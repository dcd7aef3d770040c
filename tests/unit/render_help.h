/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What the tests of rendering share: output caught in memory. */
#ifndef TESTS_UNIT_RENDER_HELP_H
#define TESTS_UNIT_RENDER_HELP_H

#include <criterion/criterion.h>

#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <bcfmt/render.h>

/* Of the running test; each test is a process of its own. */
static struct bcfmt_ctx *caught_ctx;
static FILE *caught_stream;
static char *caught_text;
static size_t caught_bytes;

static inline struct bcfmt_out *catch_begin(unsigned int flags)
{
	struct bcfmt_ctx_params params = { .threads = 1 };
	struct bcfmt_out *out;

	cr_assert_eq(bcfmt_ctx_new(&params, &caught_ctx), BCFMT_OK);
	caught_stream = open_memstream(&caught_text, &caught_bytes);
	cr_assert_not_null(caught_stream);
	cr_assert_eq(bcfmt_out_new(caught_ctx, caught_stream, flags, &out), BCFMT_OK);
	return out;
}

/* Closes out; caught_text is what was printed. */
static inline void catch_end(struct bcfmt_out *out)
{
	cr_assert_eq(bcfmt_out_close(out), BCFMT_OK);
	cr_assert_eq(fclose(caught_stream), 0);
}

static inline void catch_free(void)
{
	free(caught_text);
	caught_text = NULL;
	bcfmt_ctx_free(caught_ctx);
	caught_ctx = NULL;
}

/* Closes out and compares all of it. */
static inline void catch_expect(struct bcfmt_out *out, const char *want)
{
	catch_end(out);
	cr_expect_str_eq(caught_text, want);
	catch_free();
}

/* Closes out; line number i of the output as an object, to be dropped by json_decref(). */
static inline json_t *catch_json(size_t i)
{
	const char *line = caught_text;
	const char *end;
	json_error_t error;
	json_t *object;

	for (; i; i--) {
		line = strchr(line, '\n');
		cr_assert_not_null(line);
		line++;
	}
	end = strchr(line, '\n');
	cr_assert_not_null(end, "the last line has no end");
	object = json_loadb(line, (size_t)(end - line), JSON_REJECT_DUPLICATES, &error);
	cr_assert(json_is_object(object), "%s: %.*s", error.text, (int)(end - line), line);
	return object;
}

static inline const char *catch_string(const json_t *object, const char *key)
{
	const char *text = json_string_value(json_object_get(object, key));

	return text ? text : "(no string)";
}

static inline long long catch_number(const json_t *object, const char *key)
{
	const json_t *value = json_object_get(object, key);

	return json_is_integer(value) ? json_integer_value(value) : -1;
}

#endif
