/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Numbers and sizes as users type them. */
#include "cli/number.h"

#include <string.h>

#include "base/checked.h"

static bool digit_value(char c, unsigned int base, unsigned int *value)
{
	if (c >= '0' && c <= '9')
		*value = (unsigned int)(c - '0');
	else if (c >= 'a' && c <= 'f')
		*value = (unsigned int)(c - 'a') + 10;
	else if (c >= 'A' && c <= 'F')
		*value = (unsigned int)(c - 'A') + 10;
	else
		return false;
	return *value < base;
}

/* Reads digits up to the first other character, at least one; strtoull() takes signs and blanks. */
static bool read_digits(const char **text, unsigned int base, uint64_t *value)
{
	const char *at = *text;
	unsigned int digit;
	uint64_t sum = 0;

	while (digit_value(*at, base, &digit)) {
		if (mul_overflows(sum, base, &sum) || add_overflows(sum, digit, &sum))
			return false;
		at++;
	}
	if (at == *text)
		return false;
	*text = at;
	*value = sum;
	return true;
}

static bool read_number(const char **text, uint64_t *value)
{
	const char *at = *text;
	bool is_hex = at[0] == '0' && (at[1] == 'x' || at[1] == 'X');

	if (is_hex)
		at += 2;
	if (!read_digits(&at, is_hex ? 16 : 10, value))
		return false;
	*text = at;
	return true;
}

bool cli_number_u64(const char *text, uint64_t max, uint64_t *value)
{
	uint64_t number;

	if (!read_number(&text, &number) || *text || number > max)
		return false;
	*value = number;
	return true;
}

bool cli_number_bytes(const char *text, uint64_t *bytes)
{
	static const char suffixes[] = "kmgtKMGT";
	const char *suffix;
	uint64_t number;

	if (!read_digits(&text, 10, &number))
		return false;
	if (*text) {
		suffix = strchr(suffixes, *text);
		if (!suffix || text[1])
			return false;
		if (mul_overflows(number, 1ull << 10 * ((suffix - suffixes) % 4 + 1), &number))
			return false;
	}
	*bytes = number;
	return true;
}

bool cli_number_range(const char *text, uint64_t *first, uint64_t *last)
{
	uint64_t begin;
	uint64_t end;

	if (!read_number(&text, &begin))
		return false;
	end = begin;
	if (*text == '-') {
		text++;
		if (!*text)
			end = UINT64_MAX;
		else if (!read_number(&text, &end))
			return false;
	}
	if (*text || begin > end)
		return false;
	*first = begin;
	*last = end;
	return true;
}
