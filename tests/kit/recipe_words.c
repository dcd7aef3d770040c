/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Words of a recipe line and the values in them. */
#include "recipe_impl.h"

#include <stdio.h>
#include <string.h>

#include "base/checked.h"

void recipe_words_fail(struct recipe_words *words, const char *word, const char *why)
{
	if (words->has_failed)
		return;
	words->has_failed = true;
	snprintf(words->error->text, sizeof(words->error->text), "%s:%u: '%.100s': %s", words->file,
		 words->line, word, why);
}

static bool is_blank(char c)
{
	return c == ' ' || c == '\t' || c == '\r';
}

/* Quotes hold blanks together and go; a # that begins a word begins a comment. */
bool recipe_words_split(struct recipe_words *words, const char *line, size_t len_bytes)
{
	size_t at = 0;
	char *to = words->text;

	words->n = 0;
	if (len_bytes >= sizeof(words->text) || memchr(line, 0, len_bytes)) {
		recipe_words_fail(words, "line", "is too long or holds a zero byte");
		return false;
	}
	while (true) {
		bool is_quoted = false;

		while (at < len_bytes && is_blank(line[at]))
			at++;
		if (at == len_bytes || line[at] == '#')
			return true;
		if (words->n == RECIPE_WORDS_MAX) {
			recipe_words_fail(words, "line", "has more than 64 words");
			return false;
		}
		words->is_used[words->n] = false;
		words->word[words->n++] = to;
		for (; at < len_bytes && (is_quoted || !is_blank(line[at])); at++) {
			if (line[at] == '"')
				is_quoted = !is_quoted;
			else
				*to++ = line[at];
		}
		*to++ = 0;
		if (is_quoted) {
			recipe_words_fail(words, words->word[words->n - 1], "open quote");
			return false;
		}
	}
}

bool recipe_words_end(struct recipe_words *words)
{
	for (unsigned int i = 0; i < words->n && !words->has_failed; i++)
		if (!words->is_used[i])
			recipe_words_fail(words, words->word[i],
					  "unknown here, or given a second time");
	return !words->has_failed;
}

bool recipe_words_flag(struct recipe_words *words, const char *name)
{
	for (unsigned int i = 0; i < words->n; i++) {
		if (words->is_used[i] || strcmp(words->word[i], name))
			continue;
		words->is_used[i] = true;
		return true;
	}
	return false;
}

static const char *find(struct recipe_words *words, const char *name, unsigned int *index)
{
	size_t len = strlen(name);

	for (unsigned int i = 0; i < words->n; i++) {
		if (words->is_used[i] || strncmp(words->word[i], name, len) ||
		    words->word[i][len] != '=')
			continue;
		*index = i;
		return words->word[i] + len + 1;
	}
	return NULL;
}

const char *recipe_words_text(struct recipe_words *words, const char *name)
{
	unsigned int index;
	const char *value = find(words, name, &index);

	if (value)
		words->is_used[index] = true;
	return value;
}

const char *recipe_words_next(struct recipe_words *words, const char *what)
{
	for (unsigned int i = 0; i < words->n; i++) {
		if (words->is_used[i] || strchr(words->word[i], '='))
			continue;
		words->is_used[i] = true;
		return words->word[i];
	}
	recipe_words_fail(words, what, "is missing");
	return NULL;
}

void recipe_words_need(struct recipe_words *words, const char *name)
{
	unsigned int index;

	if (!find(words, name, &index))
		recipe_words_fail(words, name, "is missing");
}

bool recipe_number(const char *text, uint64_t *out)
{
	unsigned int base = 10;
	uint64_t value = 0;

	if (text[0] == '0' && text[1] == 'x') {
		base = 16;
		text += 2;
	}
	if (!*text)
		return false;
	for (; *text; text++) {
		unsigned int digit;

		if (*text >= '0' && *text <= '9')
			digit = (unsigned int)(*text - '0');
		else if (*text >= 'a' && *text <= 'f' && base == 16)
			digit = (unsigned int)(*text - 'a') + 10;
		else
			return false;
		if (mul_overflows(value, base, &value) || add_overflows(value, digit, &value))
			return false;
	}
	*out = value;
	return true;
}

bool recipe_size(const char *text, uint64_t *bytes)
{
	static const struct {
		char letter;
		uint64_t bytes;
	} units[] = {
		{ 'b', 1 },	     { 's', 512 },	  { 'k', 1ull << 10 },
		{ 'M', 1ull << 20 }, { 'G', 1ull << 30 }, { 'T', 1ull << 40 },
	};
	size_t len = strlen(text);
	char digits[24];

	if (len < 2 || len > sizeof(digits))
		return false;
	memcpy(digits, text, len - 1);
	digits[len - 1] = 0;
	if (!recipe_number(digits, bytes))
		return false;
	for (size_t i = 0; i < sizeof(units) / sizeof(units[0]); i++)
		if (text[len - 1] == units[i].letter)
			return !mul_overflows(*bytes, units[i].bytes, bytes);
	return false;
}

uint64_t recipe_words_u64(struct recipe_words *words, const char *name, uint64_t otherwise,
			  uint64_t max)
{
	const char *text = recipe_words_text(words, name);
	uint64_t value;

	if (!text)
		return otherwise;
	if (!recipe_number(text, &value))
		recipe_words_fail(words, text, "is no number (7 or 0x1f)");
	else if (value > max)
		recipe_words_fail(words, text, "is too large");
	else
		return value;
	return otherwise;
}

uint64_t recipe_words_bytes(struct recipe_words *words, const char *name, uint64_t otherwise,
			    uint64_t max)
{
	const char *text = recipe_words_text(words, name);
	uint64_t value;

	if (!text)
		return otherwise;
	if (!recipe_size(text, &value))
		recipe_words_fail(words, text, "is no size with a unit (8s, 512b, 4k, 2M, 1G)");
	else if (value > max)
		recipe_words_fail(words, text, "is too large");
	else
		return value;
	return otherwise;
}

uint64_t recipe_words_sectors(struct recipe_words *words, const char *name, uint64_t otherwise,
			      uint64_t max)
{
	unsigned int index;
	const char *text = find(words, name, &index);
	uint64_t bytes;

	if (!text)
		return otherwise;
	/* Offsets of keys go to 2^63 - 1 sectors, which no number of bytes can say. */
	if (text[0] && text[strlen(text) - 1] == 's') {
		char digits[24] = "";
		uint64_t value;

		if (strlen(text) <= sizeof(digits))
			memcpy(digits, text, strlen(text) - 1);
		words->is_used[index] = true;
		if (!recipe_number(digits, &value))
			recipe_words_fail(words, text, "is no number of sectors");
		else if (value > max)
			recipe_words_fail(words, text, "is too large");
		else
			return value;
		return otherwise;
	}
	bytes = recipe_words_bytes(words, name, 0, UINT64_MAX);
	if (bytes % BCFMT_SECTOR_BYTES)
		recipe_words_fail(words, text, "is no multiple of 512 bytes");
	else if (bytes / BCFMT_SECTOR_BYTES > max)
		recipe_words_fail(words, text, "is too large");
	return bytes / BCFMT_SECTOR_BYTES;
}

/* The finaliser of splitmix64. */
uint64_t recipe_mix(uint64_t seed)
{
	uint64_t z = seed * 0x9e3779b97f4a7c15ull + 0x9e3779b97f4a7c15ull;

	z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9ull;
	z = (z ^ z >> 27) * 0x94d049bb133111ebull;
	z ^= z >> 31;
	return z ? z : 1;
}

/* As random uuids look: version 4, variant 1. */
void recipe_seed_uuid(uint64_t seed, uint8_t uuid[BCFMT_UUID_BYTES])
{
	for (unsigned int i = 0; i < BCFMT_UUID_BYTES; i++)
		uuid[i] = (uint8_t)(recipe_mix(2 * seed + i / 8) >> 8 * (i % 8));
	uuid[6] = (uint8_t)((uuid[6] & 0x0f) | 0x40);
	uuid[8] = (uint8_t)((uuid[8] & 0x3f) | 0x80);
}

bool recipe_uuid(const char *text, uint8_t uuid[BCFMT_UUID_BYTES])
{
	unsigned int nibbles = 0;
	uint64_t seed;

	memset(uuid, 0, BCFMT_UUID_BYTES);
	if (!strcmp(text, "zero"))
		return true;
	if (!strncmp(text, "seed:", 5)) {
		if (!recipe_number(text + 5, &seed))
			return false;
		recipe_seed_uuid(seed, uuid);
		return true;
	}
	for (; *text; text++) {
		static const char digits[] = "0123456789abcdef";
		const char *digit;

		if (*text == '-')
			continue;
		digit = strchr(digits, *text);
		if (!digit || nibbles == 2 * BCFMT_UUID_BYTES)
			return false;
		uuid[nibbles / 2] = (uint8_t)(uuid[nibbles / 2] << 4 | (digit - digits));
		nibbles++;
	}
	return nibbles == 2 * BCFMT_UUID_BYTES;
}

void recipe_words_uuid(struct recipe_words *words, const char *name, uint8_t uuid[BCFMT_UUID_BYTES])
{
	const char *text = recipe_words_text(words, name);

	if (text && !recipe_uuid(text, uuid))
		recipe_words_fail(words, text, "is no uuid (seed:7, 32 hex digits or zero)");
}
