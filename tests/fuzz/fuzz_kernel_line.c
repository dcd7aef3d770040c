/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Any text as a line of dmesg; and lines of the table whose values are any text, which are found
 * again. The first two bytes choose the row.
 */
#include <ctype.h>
#include <stdio.h>

#include <bcfmt/problem.h>

#include "base/bytes.h"
#include "fuzz/codec.h"
#include "fuzz/fuzz.h"

#define HEAD_BYTES 2u

int LLVMFuzzerInitialize(int *argc, char ***argv)
{
	(void)argc;
	(void)argv;
	return 0;
}

/* The pattern with value in place of every %s. */
static char *fill_in(const char *pattern, const char *value)
{
	char *line = calloc(1, strlen(pattern) * (strlen(value) + 1) + 1), *end = line;

	assert(line);
	while (*pattern) {
		if (pattern[0] == '%' && pattern[1] == 's') {
			end = stpcpy(end, value);
			pattern += 2;
		} else {
			*end++ = *pattern++;
		}
	}
	return line;
}

/* The end of the value and the words behind it are one word, and only whole ones count. */
static bool runs_into_words(const char *pattern, const char *value)
{
	size_t len = strlen(value);

	if (!len || !(isalnum((unsigned char)value[len - 1]) || value[len - 1] == '_'))
		return false;
	while ((pattern = strstr(pattern, "%s")))
		if (isalnum((unsigned char)*(pattern += 2)))
			return true;
	return false;
}

static size_t fixed_chars(const char *pattern)
{
	size_t n = strlen(pattern);

	for (; (pattern = strstr(pattern, "%s")); pattern += 2)
		n -= 2;
	return n;
}

/* The row is of the table, and the same question has the same answer. */
static const struct bcfmt_kernel_line *find(const char *line)
{
	const struct bcfmt_kernel_line *table, *found = bcfmt_kernel_line_find(line);
	size_t n;

	table = bcfmt_kernel_line_table(&n);
	assert(!found || (found >= table && found < table + n));
	assert(found == bcfmt_kernel_line_find(line));
	return found;
}

/* What stands before a place and in place of its words does not matter to what it is. */
static void check_place(const char *text, const uint8_t *input, size_t input_bytes)
{
	struct bcfmt_kernel_place place;
	char line[BCFMT_KEY_TEXT_BYTES + 64], key_text[BCFMT_KEY_TEXT_BYTES];
	struct bcfmt_key key, again;
	uint64_t words[3] = { 0 };
	size_t n = input_bytes < sizeof(words) ? input_bytes : sizeof(words);

	bcfmt_kernel_line_place(text, &place);
	assert(place.kind <= BCFMT_PLACE_SECTOR);
	assert(memchr(place.device, 0, sizeof(place.device)));
	assert(!place.has_key || bcfmt_key_inode(&place.key) <= BCFMT_KEY_MAX_INODE);
	memcpy(words, input, n);
	snprintf(line, sizeof(line), "bcache: x() bad magic at bucket %llu, block %u, 7 keys",
		 (unsigned long long)words[0], (unsigned int)words[1]);
	bcfmt_kernel_line_place(line, &place);
	assert(place.kind == BCFMT_PLACE_NODE && place.bucket == words[0] &&
	       place.block == (unsigned int)words[1]);
	key = bcfmt_key_make((uint32_t)words[0], words[1], (uint32_t)(words[0] >> 32),
			     words[0] >> 60 & 1, words[0] >> 61 & 1, words[2]);
	bcfmt_key_text(key_text, &key);
	assert(bcfmt_key_parse(key_text, &again));
	snprintf(line, sizeof(line), "spotted extent %s: ", key_text);
	bcfmt_kernel_line_place(line, &place);
	assert(place.kind == BCFMT_PLACE_EXTENT && place.key.high == again.high &&
	       place.key.low == again.low && place.key.ptr == again.ptr);
	assert(again.high == key.high && again.low == key.low);
	/* Of a placeholder the rest of the word is not in the text. */
	if (bcfmt_key_has_data(&key))
		assert(bcfmt_ptr_sector(again.ptr) == bcfmt_ptr_sector(key.ptr) &&
		       bcfmt_ptr_gen(again.ptr) == bcfmt_ptr_gen(key.ptr));
}

int LLVMFuzzerTestOneInput(const uint8_t *input, size_t input_bytes)
{
	const struct bcfmt_kernel_line *table, *row, *found;
	char *text, *line;
	bool is_whole;
	size_t n;

	if (input_bytes < HEAD_BYTES)
		return 0;
	text = (char *)exact_copy(input + HEAD_BYTES, input_bytes - HEAD_BYTES,
				  input_bytes - HEAD_BYTES + 1);
	find(text);
	check_place(text, input + HEAD_BYTES, input_bytes - HEAD_BYTES);

	table = bcfmt_kernel_line_table(&n);
	row = &table[load_le16(input) % n];
	line = fill_in(row->pattern, text);
	/* A value is not empty, and what is cut from a long line can be what it is known by. */
	if (strlen(line) < 2000 && *text && !isspace((unsigned char)*text) &&
	    !isspace((unsigned char)text[strlen(text) - 1])) {
		found = find(line);
		is_whole = !runs_into_words(row->pattern, text);
		assert(found || !is_whole);
		/* A value of one word cannot look like the words of another row. */
		if (is_whole && !strpbrk(text, " \t\r\n,:()") && !strstr(line, "disabling caching"))
			assert(fixed_chars(found->pattern) >= fixed_chars(row->pattern));
	}
	free(line);
	free(text);
	return 0;
}
