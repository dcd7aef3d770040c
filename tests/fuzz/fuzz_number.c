/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Any text as a number, a size and a range of a command line. */
#include <errno.h>
#include <stdio.h>

#include "cli/number.h"
#include "fuzz/codec.h"
#include "fuzz/fuzz.h"

int LLVMFuzzerInitialize(int *argc, char ***argv)
{
	(void)argc;
	(void)argv;
	return 0;
}

/* What strtoull() makes of len characters that all are digits of their base. */
static bool is_number(const char *text, size_t len, bool may_be_hex, uint64_t *value)
{
	const char *digits = "0123456789";
	char part[128];
	int base = 10;

	if (may_be_hex && len > 1 && text[0] == '0' && (text[1] == 'x' || text[1] == 'X')) {
		digits = "0123456789abcdefABCDEF";
		base = 16;
		text += 2;
		len -= 2;
	}
	if (!len || len >= sizeof(part) || strspn(text, digits) < len)
		return false;
	memcpy(part, text, len);
	part[len] = '\0';
	errno = 0;
	*value = strtoull(part, NULL, base);
	return !errno;
}

static void check_bytes(const char *text)
{
	uint64_t bytes = 7, wanted = 7;
	size_t digits = strspn(text, "0123456789");
	const char *suffix = strchr("kKmMgGtT", text[digits]);
	unsigned int shift = 0;
	bool is_right;

	if (text[digits] && suffix)
		shift = 10 * ((unsigned int)(suffix - "kKmMgGtT") / 2 + 1);
	is_right = is_number(text, digits, false, &wanted) &&
		   (!text[digits] || (suffix && !text[digits + 1])) &&
		   wanted << shift >> shift == wanted;
	assert(cli_number_bytes(text, &bytes) == is_right);
	assert(bytes == (is_right ? wanted << shift : 7));
}

static void check_range(const char *text)
{
	uint64_t first = 7, last = 7, wanted_first = 7, wanted_last = 7;
	size_t len = strlen(text), dash = strcspn(text, "-");
	bool is_right = is_number(text, dash, true, &wanted_first);

	if (dash == len)
		wanted_last = wanted_first;
	else if (dash + 1 == len)
		wanted_last = UINT64_MAX;
	else
		is_right =
			is_right && is_number(text + dash + 1, len - dash - 1, true, &wanted_last);
	is_right = is_right && wanted_first <= wanted_last;
	assert(cli_number_range(text, &first, &last) == is_right);
	assert(first == (is_right ? wanted_first : 7) && last == (is_right ? wanted_last : 7));
}

int LLVMFuzzerTestOneInput(const uint8_t *input, size_t input_bytes)
{
	char *text;
	uint64_t number = 7, wanted = 7;
	bool is_right;

	/* Longer than any number, and what is longer says nothing new. */
	if (input_bytes > 100)
		return 0;
	text = (char *)exact_copy(input, input_bytes, input_bytes + 1);
	is_right = is_number(text, strlen(text), true, &wanted);
	assert(cli_number_u64(text, UINT64_MAX, &number) == is_right);
	assert(number == (is_right ? wanted : 7));
	if (is_right && wanted)
		assert(!cli_number_u64(text, wanted - 1, &number));
	check_bytes(text);
	check_range(text);
	free(text);
	return 0;
}
