/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Strings of unknown origin made fit for a terminal or for JSON. */
#include "render/clean.h"

#include <stdlib.h>
#include <string.h>

#define REPLACEMENT "\xef\xbf\xbd"

size_t clean_utf8(const char *text, uint32_t *code)
{
	static const uint32_t least[] = { 0, 0, 0x80, 0x800, 0x10000 };
	const uint8_t *at = (const uint8_t *)text;
	uint32_t value;
	size_t len;

	if (at[0] < 0x80) {
		*code = at[0];
		return 1;
	}
	if (at[0] >= 0xc2 && at[0] <= 0xdf)
		len = 2;
	else if (at[0] >= 0xe0 && at[0] <= 0xef)
		len = 3;
	else if (at[0] >= 0xf0 && at[0] <= 0xf4)
		len = 4;
	else
		return 0;
	value = at[0] & (0x7fu >> len);
	for (size_t i = 1; i < len; i++) {
		/* The terminator is no continuation: nothing behind it is read. */
		if ((at[i] & 0xc0) != 0x80)
			return 0;
		value = value << 6 | (at[i] & 0x3f);
	}
	if (value < least[len] || value > 0x10ffff || (value >= 0xd800 && value <= 0xdfff))
		return 0;
	*code = value;
	return len;
}

char *clean_for_json(const char *text)
{
	size_t len = strlen(text);
	char *copy;
	char *at;

	if (len > SIZE_MAX / 4)
		return NULL;
	at = copy = malloc(3 * len + 1);
	if (!copy)
		return NULL;
	while (*text) {
		uint32_t code;
		size_t n = clean_utf8(text, &code);

		if (n) {
			memcpy(at, text, n);
			at += n;
			text += n;
		} else {
			memcpy(at, REPLACEMENT, 3);
			at += 3;
			text++;
		}
	}
	*at = 0;
	return copy;
}

static bool is_control(uint32_t code)
{
	return (code < 0x20 && code != '\t') || (code >= 0x7f && code < 0xa0) ||
	       /* Line and paragraph separator, and what turns the direction of text around. */
	       (code >= 0x2028 && code <= 0x202e) || (code >= 0x2066 && code <= 0x2069);
}

void clean_for_terminal(char *text)
{
	char *to = text;

	while (*text) {
		uint32_t code;
		size_t n = clean_utf8(text, &code);

		if (!n || is_control(code)) {
			*to++ = '?';
			text += n ? n : 1;
			continue;
		}
		memmove(to, text, n);
		to += n;
		text += n;
	}
	*to = 0;
}
