/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The bucket map as a picture: a title, the buckets along a Hilbert curve, a legend. */
#include "render/map.h"

#include <png.h>
#include <stdlib.h>
#include <string.h>

#include "base/checked.h"
#include "check/map.h"
#include "render/font.h"

#define CONTENT_PIXELS 1024u /* width of all but the margins */
#define MARGIN_PIXELS 24u
#define SQUARE_MAX 32u
#define GAP_FROM 8u  /* squares of that size stand apart */
#define MARK_FROM 8u /* ... and have a mark beside a colour */
#define TEXT_SCALE 2u
#define LETTER_PIXELS ((FONT_COLUMNS + 1) * TEXT_SCALE)
#define LINE_PIXELS ((FONT_ROWS + 3) * TEXT_SCALE)
#define LINE_LETTERS (CONTENT_PIXELS / LETTER_PIXELS)
#define SWATCH_PIXELS 20u
#define SWATCH_LINE_PIXELS 30u
#define LEGEND_ROWS ((BCFMT_MAP_USES + 1) / 2)
#define TITLE_PIXELS (2 * LINE_PIXELS + MARGIN_PIXELS / 2)
#define LINES_MAX 12u
#define COMPRESSION 3 /* the largest map has to be fast; more gains little */

/* Colours of the picture; those of the uses follow. */
enum { PAPER, INK, FAINT, FIRST_USE };

/*
 * Any two differ for normal eyes and for the three kinds of colour blindness by 20 or more in CIE
 * Lab; free buckets are the lightest, damaged ones the most vivid.
 */
static const uint32_t colors[BCFMT_MAP_USES] = {
	[BCFMT_MAP_FREE] = 0xececec,	 [BCFMT_MAP_CLEAN] = 0x82c8ee,
	[BCFMT_MAP_DIRTY] = 0xf9c221,	 [BCFMT_MAP_NODE] = 0x002ef5,
	[BCFMT_MAP_UUIDS] = 0x659c46,	 [BCFMT_MAP_PRIOS] = 0x6b0aaa,
	[BCFMT_MAP_JOURNAL] = 0x1a5d46,	 [BCFMT_MAP_SUPER] = 0x191919,
	[BCFMT_MAP_DOUBTFUL] = 0xbe71f9, [BCFMT_MAP_DAMAGED] = 0xea0018,
};

uint32_t bcfmt_map_color(enum bcfmt_map_use use)
{
	return use < BCFMT_MAP_USES ? colors[use] : 0;
}

/* ---- the curve ---- */

/* Hilbert's curve over 2^order squares a side: from the top left to the bottom left. */
static void curve_at(unsigned int order, uint32_t place, uint32_t *x, uint32_t *y)
{
	uint32_t across = 0, down = 0;

	for (unsigned int i = 0; i < order; i++, place >>= 2) {
		uint32_t side = 1u << i, lower = place >> 1 & 1, right = (place & 1) ^ lower;
		uint32_t was = across;

		/* The parts at both ends are turned, so that they lead to their neighbours. */
		if (!right) {
			if (lower) {
				across = side - 1 - across;
				down = side - 1 - down;
				was = across;
			}
			across = down;
			down = was;
		}
		across += right * side;
		down += lower * side;
	}
	*x = across;
	*y = down;
}

static uint32_t square_pixels(const struct bcfmt_map *map)
{
	return (uint32_t)min_u64(CONTENT_PIXELS >> map->order, SQUARE_MAX);
}

static uint32_t gap_pixels(const struct bcfmt_map *map)
{
	return square_pixels(map) >= GAP_FROM ? 1 : 0;
}

void bcfmt_map_square(const struct bcfmt_map *map, uint32_t place, uint32_t *x, uint32_t *y,
		      uint32_t *side_pixels)
{
	curve_at(map->order, place, x, y);
	*x = *x * square_pixels(map) + MARGIN_PIXELS;
	*y = *y * square_pixels(map) + MARGIN_PIXELS + TITLE_PIXELS;
	*side_pixels = square_pixels(map) - gap_pixels(map);
}

/* Rows of squares that the curve reaches. */
static uint32_t curve_rows(const struct bcfmt_map *map)
{
	uint32_t rows = 0, x, y;

	if (map->n_places == 1u << 2 * map->order)
		return 1u << map->order;
	for (uint32_t place = 0; place < map->n_places; place++) {
		curve_at(map->order, place, &x, &y);
		rows = y >= rows ? y + 1 : rows;
	}
	return rows;
}

/* ---- drawing ---- */

struct canvas {
	uint8_t *pixels; /* a byte each, an index of the palette */
	uint32_t width;
	uint32_t height;
};

static void fill(struct canvas *canvas, uint32_t x, uint32_t y, uint32_t width, uint32_t height,
		 unsigned int color)
{
	for (uint32_t row = y; row < y + height && row < canvas->height; row++)
		if (x + width <= canvas->width)
			memset(canvas->pixels + (size_t)row * canvas->width + x, (int)color, width);
}

static void draw_letter(struct canvas *canvas, uint32_t x, uint32_t y, char letter)
{
	const uint8_t *glyph = font_glyph(letter);

	for (uint32_t row = 0; row < FONT_ROWS; row++)
		for (uint32_t column = 0; column < FONT_COLUMNS; column++)
			if (glyph[row] & 1u << (FONT_COLUMNS - 1 - column))
				fill(canvas, x + column * TEXT_SCALE, y + row * TEXT_SCALE,
				     TEXT_SCALE, TEXT_SCALE, INK);
}

static void draw_text(struct canvas *canvas, uint32_t x, uint32_t y, const char *text, size_t len)
{
	for (size_t i = 0; i < len; i++, x += LETTER_PIXELS)
		draw_letter(canvas, x, y, text[i]);
}

static void draw_cross(struct canvas *canvas, uint32_t x, uint32_t y, uint32_t side)
{
	uint32_t thick = side / 8 + 1;

	for (uint32_t i = 0; i + thick <= side; i++) {
		fill(canvas, x + i, y + i, thick, 1, PAPER);
		fill(canvas, x + side - thick - i, y + i, thick, 1, PAPER);
	}
}

/* A damaged one is crossed out, a doubtful one framed: not the colour alone tells. */
static void draw_square(struct canvas *canvas, uint32_t x, uint32_t y, uint32_t side,
			struct bcfmt_map_place place)
{
	uint32_t frame = side / 4;

	fill(canvas, x, y, side, side, FIRST_USE + place.shows);
	if (side + 1 < MARK_FROM)
		return;
	if (place.shows == BCFMT_MAP_DAMAGED)
		draw_cross(canvas, x, y, side);
	else if (place.shows == BCFMT_MAP_DOUBTFUL)
		fill(canvas, x + frame, y + frame, side - 2 * frame, side - 2 * frame,
		     FIRST_USE + place.base);
}

static void draw_squares(struct canvas *canvas, const struct bcfmt_map *map)
{
	uint32_t x, y, side;

	for (uint32_t i = 0; i < map->n_places; i++) {
		bcfmt_map_square(map, i, &x, &y, &side);
		if (side == 1)
			canvas->pixels[(size_t)y * canvas->width + x] =
				(uint8_t)(FIRST_USE + bcfmt_map_place(map, i).shows);
		else
			draw_square(canvas, x, y, side, bcfmt_map_place(map, i));
	}
}

/* ---- words ---- */

/* The lines below the legend, cut to the width. */
struct words {
	char text[LINES_MAX][LINE_LETTERS + 1];
	unsigned int n;
};

static void add_words(struct words *words, const char *text)
{
	while (*text && words->n < LINES_MAX) {
		size_t len = strlen(text);

		if (len > LINE_LETTERS) {
			len = LINE_LETTERS;
			while (len && text[len] != ' ')
				len--;
			len = len ? len : LINE_LETTERS;
		}
		memcpy(words->text[words->n], text, len);
		words->text[words->n++][len] = 0;
		text += len + (text[len] == ' ');
	}
}

static void collect_words(const struct bcfmt_map *map, struct words *words)
{
	uint64_t each = map_buckets_each(map, map->n_places);
	char line[MAP_LINE_BYTES];

	words->n = 0;
	map_unit_line(map, square_pixels(map) > 1 ? "square" : "pixel", each, line);
	add_words(words, line);
	if (each > 1)
		add_words(words, map_order);
	add_words(words, "in the order of a Hilbert curve, from the top left to the bottom left");
	if (map->totals[BCFMT_MAP_DAMAGED].buckets || map->totals[BCFMT_MAP_DOUBTFUL].buckets)
		add_words(words, "damaged and doubtful ones are counted by their use as well");
	for (unsigned int i = 0; map_warning(map, i); i++)
		add_words(words, map_warning(map, i));
}

static void draw_legend(struct canvas *canvas, const struct bcfmt_map *map, uint32_t y)
{
	char line[MAP_LINE_BYTES];

	for (unsigned int use = 0; use < BCFMT_MAP_USES; use++) {
		struct bcfmt_map_place place = { (enum bcfmt_map_use)use,
						 use < BCFMT_MAP_DOUBTFUL ? (enum bcfmt_map_use)use
									  : BCFMT_MAP_DIRTY };
		uint32_t x = MARGIN_PIXELS + use / LEGEND_ROWS * (CONTENT_PIXELS / 2);
		uint32_t at = y + use % LEGEND_ROWS * SWATCH_LINE_PIXELS;

		fill(canvas, x, at, SWATCH_PIXELS + 2, SWATCH_PIXELS + 2, FAINT);
		draw_square(canvas, x + 1, at + 1, SWATCH_PIXELS, place);
		map_use_line(map, (enum bcfmt_map_use)use, line);
		draw_text(canvas, x + SWATCH_PIXELS + LETTER_PIXELS, at + 3, line, strlen(line));
	}
}

static void draw(struct canvas *canvas, const struct bcfmt_map *map, const struct words *words,
		 uint32_t map_pixels)
{
	uint32_t y = MARGIN_PIXELS;
	char line[MAP_LINE_BYTES];

	map_title(map, line);
	draw_text(canvas, MARGIN_PIXELS, y, line, strlen(line));
	map_sizes(map, line);
	draw_text(canvas, MARGIN_PIXELS, y + LINE_PIXELS, line, strlen(line));
	y += TITLE_PIXELS;
	draw_squares(canvas, map);
	y += map_pixels + MARGIN_PIXELS;
	draw_legend(canvas, map, y);
	y += LEGEND_ROWS * SWATCH_LINE_PIXELS + MARGIN_PIXELS / 2;
	for (unsigned int i = 0; i < words->n; i++, y += LINE_PIXELS)
		draw_text(canvas, MARGIN_PIXELS, y, words->text[i], strlen(words->text[i]));
}

/* ---- PNG ---- */

struct png_job {
	const struct bcfmt_map *map;
	bcfmt_map_write_fn write;
	void *arg;
	bcfmt_err err;
};

static void on_write(png_structp png, png_bytep bytes, png_size_t len_bytes)
{
	struct png_job *job = png_get_io_ptr(png);

	job->err = job->write(job->arg, bytes, len_bytes);
	if (job->err)
		png_error(png, "not written");
}

static void on_flush(png_structp png)
{
	(void)png;
}

static _Noreturn void on_error(png_structp png, png_const_charp text)
{
	(void)text;
	png_longjmp(png, 1);
}

static void on_warning(png_structp png, png_const_charp text)
{
	(void)png;
	(void)text;
}

static void set_color(png_color *color, uint32_t rgb)
{
	color->red = (png_byte)(rgb >> 16);
	color->green = (png_byte)(rgb >> 8);
	color->blue = (png_byte)rgb;
}

static void write_rows(png_structp png, png_infop info, const struct canvas *canvas)
{
	png_color palette[FIRST_USE + BCFMT_MAP_USES];

	set_color(&palette[PAPER], 0xffffff);
	set_color(&palette[INK], 0x202020);
	set_color(&palette[FAINT], 0xa0a0a0);
	for (unsigned int use = 0; use < BCFMT_MAP_USES; use++)
		set_color(&palette[FIRST_USE + use], colors[use]);
	png_set_IHDR(png, info, canvas->width, canvas->height, 8, PNG_COLOR_TYPE_PALETTE,
		     PNG_INTERLACE_NONE, PNG_COMPRESSION_TYPE_DEFAULT, PNG_FILTER_TYPE_DEFAULT);
	png_set_PLTE(png, info, palette, FIRST_USE + BCFMT_MAP_USES);
	png_set_compression_level(png, COMPRESSION);
	png_set_filter(png, PNG_FILTER_TYPE_BASE, PNG_FILTER_NONE);
	png_write_info(png, info);
	for (uint32_t y = 0; y < canvas->height; y++)
		png_write_row(png, canvas->pixels + (size_t)y * canvas->width);
	png_write_end(png, info);
}

/* libpng leaves it by longjmp() when it fails: no variable of it changes after setjmp(). */
static bcfmt_err write_png(struct png_job *job, const struct canvas *canvas)
{
	png_structp png =
		png_create_write_struct(PNG_LIBPNG_VER_STRING, NULL, on_error, on_warning);
	png_infop info = png ? png_create_info_struct(png) : NULL;

	if (!info) {
		png_destroy_write_struct(&png, NULL);
		return BCFMT_E_NOMEM;
	}
	if (setjmp(png_jmpbuf(png))) {
		png_destroy_write_struct(&png, &info);
		/* Of all that is written it could only lack memory for. */
		return job->err ? job->err : BCFMT_E_NOMEM;
	}
	png_set_write_fn(png, job, on_write, on_flush);
	write_rows(png, info, canvas);
	png_destroy_write_struct(&png, &info);
	return BCFMT_OK;
}

bcfmt_err bcfmt_map_png(const struct bcfmt_map *map, bcfmt_map_write_fn write, void *arg)
{
	struct png_job job = { map, write, arg, BCFMT_OK };
	struct canvas canvas = { .width = CONTENT_PIXELS + 2 * MARGIN_PIXELS };
	uint32_t map_pixels = curve_rows(map) * square_pixels(map);
	struct words words;
	bcfmt_err err = BCFMT_E_NOMEM;

	collect_words(map, &words);
	canvas.height = 3 * MARGIN_PIXELS + TITLE_PIXELS + map_pixels +
			LEGEND_ROWS * SWATCH_LINE_PIXELS + words.n * LINE_PIXELS;
	canvas.pixels = calloc(canvas.height, canvas.width); /* all of it PAPER */
	if (canvas.pixels) {
		draw(&canvas, map, &words, map_pixels);
		err = write_png(&job, &canvas);
	}
	free(canvas.pixels);
	if (err == BCFMT_E_NOMEM)
		bcfmt_fail(map->ctx, err, "no memory for the picture of the map");
	return err;
}
