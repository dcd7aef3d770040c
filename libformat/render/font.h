/* SPDX-License-Identifier: GPL-2.0-or-later */
/* A font of five by nine pixels for the legend of the bucket map. */
#ifndef RENDER_FONT_H
#define RENDER_FONT_H

#include <stdint.h>

#define FONT_COLUMNS 5u
#define FONT_ROWS 9u

/* Rows from the top, the leftmost pixel in bit 4. A letter that is not there gives a box. */
const uint8_t *font_glyph(char letter);

#endif
