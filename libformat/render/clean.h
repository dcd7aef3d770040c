/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Strings of unknown origin made fit for a terminal or for JSON. */
#ifndef RENDER_CLEAN_H
#define RENDER_CLEAN_H

#include <bcfmt/base.h>

/*
 * Length of the valid UTF-8 sequence at text, 0 when there is none; *code is its character. text
 * is terminated. Overlong forms, surrogates and codes above 0x10ffff are invalid.
 */
size_t clean_utf8(const char *text, uint32_t *code);
/* A copy in valid UTF-8, bad bytes replaced by U+FFFD; NULL when memory is out. */
char *clean_for_json(const char *text);
/* In place: bad bytes and control characters other than tab become '?'. */
void clean_for_terminal(char *text);

#endif
