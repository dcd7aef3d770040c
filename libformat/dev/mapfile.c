/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Reads mapfiles of ddrescue. */
#include "dev/mapfile.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "base/checked.h"

#define MAP_LINES_MAX (1u << 20)
#define MAP_FIELD_LINE_BYTES 256u
/* ddrescue repeats its command line in a comment, so comments can be long. */
#define MAP_COMMENT_BYTES_MAX (4u << 20)

struct map_reader {
	struct bcfmt_ctx *ctx;
	const char *path;
	FILE *file;
	uint32_t line_number;
	char line[MAP_FIELD_LINE_BYTES]; /* terminated; of a comment only the begin */
};

static bcfmt_err bad_line(const struct map_reader *reader, const char *what)
{
	return bcfmt_fail(reader->ctx, BCFMT_E_ARG, "%s: line %" PRIu32 ": %s", reader->path,
			  reader->line_number, what);
}

/* Reads one line without its end. END after the last one. */
static bcfmt_err next_line(struct map_reader *reader)
{
	size_t len = 0, comment_bytes = 0;
	int c = getc(reader->file);

	if (c == EOF)
		return BCFMT_END;
	if (++reader->line_number > MAP_LINES_MAX)
		return bad_line(reader, "more than 2^20 lines");
	for (; c != EOF && c != '\n'; c = getc(reader->file)) {
		if (!c)
			return bad_line(reader, "a zero byte");
		if (len + 1 < sizeof(reader->line))
			reader->line[len++] = (char)c;
		else if (reader->line[0] != '#' || ++comment_bytes > MAP_COMMENT_BYTES_MAX)
			return bad_line(reader, "line too long");
	}
	reader->line[len] = '\0';
	return BCFMT_OK;
}

static const char *skip_blanks(const char *at)
{
	return at + strspn(at, " \t\r");
}

static int digit_value(char c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	if (c >= 'a' && c <= 'f')
		return c - 'a' + 10;
	if (c >= 'A' && c <= 'F')
		return c - 'A' + 10;
	return 16;
}

/* 0x hexadecimal, 0 octal, else decimal, followed by a blank. NULL when it is none of these. */
static const char *parse_number(const char *at, uint64_t *value)
{
	uint64_t base = 10;
	const char *first;

	if (at[0] == '0' && (at[1] == 'x' || at[1] == 'X')) {
		base = 16;
		at += 2;
	} else if (at[0] == '0') {
		base = 8;
	}
	*value = 0;
	for (first = at; (uint64_t)digit_value(*at) < base; at++) {
		if (mul_overflows(*value, base, value) ||
		    add_overflows(*value, (uint64_t)digit_value(*at), value))
			return NULL;
	}
	if (at == first || (*at != ' ' && *at != '\t'))
		return NULL;
	return skip_blanks(at);
}

/* One character of the set, followed by a blank or the end of the line. */
static const char *parse_status(const char *at, const char *set, char *status)
{
	if (!*at || !strchr(set, *at))
		return NULL;
	*status = *at++;
	if (*at && !strchr(" \t\r", *at))
		return NULL;
	return skip_blanks(at);
}

/* current_pos current_status [current_pass] */
static bool is_status_line(const char *at)
{
	uint64_t position;
	char status;

	at = parse_number(skip_blanks(at), &position);
	if (at)
		at = parse_status(at, "?*/-FG+", &status);
	if (!at)
		return false;
	at += strspn(at, "0123456789");
	return !*skip_blanks(at);
}

/* pos size status, in ascending order. */
static bcfmt_err take_data_line(const struct map_reader *reader, uint64_t *last_end_bytes,
				mapfile_fn take, void *arg)
{
	uint64_t start_bytes, len_bytes, end_bytes;
	const char *at = parse_number(skip_blanks(reader->line), &start_bytes);
	char status;

	if (at)
		at = parse_number(at, &len_bytes);
	if (at)
		at = parse_status(at, "?*/-+", &status);
	if (!at || *at)
		return bad_line(reader, "not 'position size status'");
	if (add_overflows(start_bytes, len_bytes, &end_bytes) || end_bytes > INT64_MAX)
		return bad_line(reader, "range ends beyond 2^63");
	if (start_bytes < *last_end_bytes)
		return bad_line(reader, "range begins before the end of the one before it");
	*last_end_bytes = end_bytes;
	if (!len_bytes)
		return BCFMT_OK;
	if (take(arg, start_bytes, end_bytes, status))
		return bcfmt_fail(reader->ctx, BCFMT_E_NOMEM, "%s: out of memory", reader->path);
	return BCFMT_OK;
}

static bcfmt_err read_map(struct map_reader *reader, mapfile_fn take, void *arg)
{
	uint64_t last_end_bytes = 0;
	bool has_status = false;
	bcfmt_err err;

	while (!(err = next_line(reader))) {
		const char *begin = skip_blanks(reader->line);

		if (!*begin || *begin == '#')
			continue;
		if (has_status)
			err = take_data_line(reader, &last_end_bytes, take, arg);
		else if (!is_status_line(begin))
			err = bad_line(reader, "not a status line 'position status'");
		if (err)
			return err;
		has_status = true;
	}
	if (err < 0)
		return err;
	if (ferror(reader->file))
		return bcfmt_fail(reader->ctx, BCFMT_E_SYSTEM, "%s: cannot read the mapfile",
				  reader->path);
	if (!has_status)
		return bad_line(reader, "no status line: not a ddrescue mapfile");
	return BCFMT_OK;
}

bcfmt_err mapfile_read(struct bcfmt_ctx *ctx, const char *path, mapfile_fn take, void *arg)
{
	struct map_reader reader = { .ctx = ctx, .path = path };
	char text[128];
	bcfmt_err err;

	reader.file = fopen(path, "re");
	if (!reader.file)
		return bcfmt_fail(ctx, BCFMT_E_SYSTEM, "%s: cannot open the mapfile: %s", path,
				  strerror_r(errno, text, sizeof(text)));
	err = read_map(&reader, take, arg);
	fclose(reader.file);
	return err;
}
