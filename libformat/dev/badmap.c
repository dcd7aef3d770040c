/* SPDX-License-Identifier: GPL-2.0-or-later */
/* A device of which only those ranges can be read that a ddrescue mapfile calls finished. */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/checked.h"
#include "dev/dev_impl.h"
#include "dev/range_map.h"

#define MAP_LINES_MAX (1u << 20)
#define MAP_FIELD_LINE_BYTES 256u
/* ddrescue repeats its command line in a comment, so comments can be long. */
#define MAP_COMMENT_BYTES_MAX (4u << 20)

struct badmap_dev {
	struct bcfmt_dev dev;
	struct bcfmt_dev *lower;   /* owned once the map is read */
	struct range_map finished; /* bytes; the values mean nothing */
};

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

/* pos size status, in ascending order. What lies between two lines is not finished. */
static bcfmt_err add_data_line(struct badmap_dev *badmap, const struct map_reader *reader,
			       uint64_t *last_end_bytes)
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
	if (status != '+' || !len_bytes)
		return BCFMT_OK;
	if (range_map_join(&badmap->finished, start_bytes, end_bytes))
		return bcfmt_fail(reader->ctx, BCFMT_E_NOMEM, "%s: out of memory", reader->path);
	return BCFMT_OK;
}

static bcfmt_err read_map(struct badmap_dev *badmap, struct map_reader *reader)
{
	uint64_t last_end_bytes = 0;
	bool has_status = false;
	bcfmt_err err;

	while (!(err = next_line(reader))) {
		const char *begin = skip_blanks(reader->line);

		if (!*begin || *begin == '#')
			continue;
		if (has_status)
			err = add_data_line(badmap, reader, &last_end_bytes);
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

/* How far what is finished reaches from offset_bytes on; offset_bytes when nothing there is. */
static uint64_t finished_until(const struct badmap_dev *badmap, uint64_t offset_bytes,
			       uint64_t end_bytes)
{
	struct range range;

	if (!range_map_at(&badmap->finished, offset_bytes, &range) || range.start > offset_bytes)
		return offset_bytes;
	return min_u64(range.end, end_bytes);
}

static bcfmt_err badmap_read(struct bcfmt_dev *dev, uint64_t offset_bytes, void *buf,
			     size_t len_bytes, struct io_fault *fault)
{
	const struct badmap_dev *badmap = (struct badmap_dev *)dev;
	uint64_t end_bytes = offset_bytes + len_bytes;
	uint64_t until_bytes = finished_until(badmap, offset_bytes, end_bytes);

	if (until_bytes < end_bytes)
		return dev_io_fail(fault, BCFMT_E_IO, until_bytes, 0,
				   "not finished in the bad-sector map");
	return dev_read_quiet(badmap->lower, offset_bytes, buf, len_bytes, fault);
}

/* What was written can be read again, as on a disk that replaces its bad sectors. */
static bcfmt_err badmap_write(struct bcfmt_dev *dev, uint64_t offset_bytes, const void *buf,
			      size_t len_bytes, struct io_fault *fault)
{
	struct badmap_dev *badmap = (struct badmap_dev *)dev;
	uint64_t end_bytes = offset_bytes + len_bytes;
	bcfmt_err err = dev_write_quiet(badmap->lower, offset_bytes, buf, len_bytes, fault);

	if (err || finished_until(badmap, offset_bytes, end_bytes) == end_bytes)
		return err;
	err = range_map_join(&badmap->finished, offset_bytes, end_bytes);
	return err ? dev_io_fail(fault, err, offset_bytes, 0, NULL) : BCFMT_OK;
}

static bcfmt_err badmap_flush(struct bcfmt_dev *dev, struct io_fault *fault)
{
	return dev_flush_quiet(((struct badmap_dev *)dev)->lower, fault);
}

/* What is not finished is no hole, though ddrescue leaves one there: it counts as data. */
static bcfmt_err badmap_next_data(struct bcfmt_dev *dev, uint64_t offset_bytes,
				  uint64_t *begin_bytes, uint64_t *end_bytes,
				  struct io_fault *fault)
{
	const struct badmap_dev *badmap = (struct badmap_dev *)dev;
	uint64_t until_bytes = finished_until(badmap, offset_bytes, dev->bytes);
	struct range range;

	if (until_bytes > offset_bytes) {
		bcfmt_err err = dev_next_data_quiet(badmap->lower, offset_bytes, begin_bytes,
						    end_bytes, fault);

		if (err < 0)
			return err;
		if (!err && *begin_bytes < until_bytes) {
			*end_bytes = min_u64(*end_bytes, until_bytes);
			return BCFMT_OK;
		}
		if (until_bytes == dev->bytes)
			return BCFMT_END;
	}
	*begin_bytes = until_bytes;
	*end_bytes = dev->bytes;
	if (range_map_at(&badmap->finished, until_bytes, &range))
		*end_bytes = min_u64(range.start, dev->bytes);
	return BCFMT_OK;
}

/* A bad disk is not asked for what is known to be bad. */
static bool is_finished(const struct badmap_dev *badmap, uint64_t offset_bytes, uint64_t len_bytes)
{
	uint64_t end_bytes = offset_bytes + len_bytes;

	return finished_until(badmap, offset_bytes, end_bytes) == end_bytes;
}

static void badmap_read_ahead(struct bcfmt_dev *dev, uint64_t offset_bytes, uint64_t len_bytes)
{
	const struct badmap_dev *badmap = (struct badmap_dev *)dev;

	if (is_finished(badmap, offset_bytes, len_bytes))
		dev_read_ahead(badmap->lower, offset_bytes, len_bytes);
}

static bool badmap_is_far(struct bcfmt_dev *dev, uint64_t offset_bytes, uint64_t len_bytes)
{
	const struct badmap_dev *badmap = (struct badmap_dev *)dev;

	return is_finished(badmap, offset_bytes, len_bytes) &&
	       dev_is_far(badmap->lower, offset_bytes, len_bytes);
}

static bool badmap_read_around(struct bcfmt_dev *dev, uint64_t offset_bytes, void *buf,
			       size_t len_bytes)
{
	const struct badmap_dev *badmap = (struct badmap_dev *)dev;

	return is_finished(badmap, offset_bytes, len_bytes) &&
	       dev_read_around(badmap->lower, offset_bytes, buf, len_bytes);
}

static void badmap_free(struct bcfmt_dev *dev)
{
	struct badmap_dev *badmap = (struct badmap_dev *)dev;

	bcfmt_dev_free(badmap->lower);
	range_map_clear(&badmap->finished);
	free(badmap);
}

static const struct dev_ops badmap_ops = {
	.read = badmap_read,
	.write = badmap_write,
	.flush = badmap_flush,
	.next_data = badmap_next_data,
	.read_ahead = badmap_read_ahead,
	.is_far = badmap_is_far,
	.read_around = badmap_read_around,
	.free = badmap_free,
};

bcfmt_err bcfmt_dev_badmap(struct bcfmt_ctx *ctx, struct bcfmt_dev *lower, const char *map_path,
			   struct bcfmt_dev **out)
{
	struct map_reader reader = { .ctx = ctx, .path = map_path };
	struct badmap_dev *badmap = calloc(1, sizeof(*badmap));
	char text[128];
	bcfmt_err err;

	*out = NULL;
	if (!badmap || dev_init_above(&badmap->dev, &badmap_ops, ctx, lower)) {
		free(badmap);
		return bcfmt_fail(ctx, BCFMT_E_NOMEM, "%s: out of memory", lower->name);
	}
	reader.file = fopen(map_path, "re");
	if (!reader.file) {
		err = bcfmt_fail(ctx, BCFMT_E_SYSTEM, "%s: cannot open the mapfile: %s", map_path,
				 strerror_r(errno, text, sizeof(text)));
		goto free_badmap;
	}
	err = read_map(badmap, &reader);
	fclose(reader.file);
	if (err)
		goto free_badmap;
	badmap->lower = lower;
	*out = &badmap->dev;
	return BCFMT_OK;

free_badmap:
	bcfmt_dev_free(&badmap->dev);
	return err;
}
