/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Looks in standard input, at every byte, for what must not be there. Prints what it finds and
 * exits with 1.
 *
 * search-bytes [-w FILE]... [-x HEX]...
 *
 * -w FILE   16 bytes in a row of FILE, from any multiple of 16 on, of which 5 are different
 * -x HEX    these bytes
 */
#include <ctype.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define WINDOW_BYTES 16u
#define DIFFERENT_MIN 5u

struct bytes {
	uint8_t *at;
	size_t n;
};

static struct bytes input;

static _Noreturn void die(const char *what)
{
	perror(what);
	exit(2);
}

static struct bytes read_all(FILE *file, const char *name)
{
	struct bytes all = { NULL, 0 };
	size_t cap = 1u << 20, got;

	do {
		cap *= 2;
		all.at = realloc(all.at, cap);
		if (!all.at)
			die("memory");
		got = fread(all.at + all.n, 1, cap - all.n, file);
		all.n += got;
	} while (got && all.n == cap);
	if (ferror(file))
		die(name);
	return all;
}

static bool is_telling(const uint8_t *window)
{
	bool seen[256] = { false };
	unsigned int different = 0;

	for (unsigned int i = 0; i < WINDOW_BYTES; i++) {
		different += !seen[window[i]];
		seen[window[i]] = true;
	}
	return different >= DIFFERENT_MIN;
}

static int window_cmp(const void *a, const void *b)
{
	return memcmp(a, b, WINDOW_BYTES);
}

/* What the windows begin with, as a set of 2^16 numbers: most places of the input miss it. */
static bool search_windows(const char *path)
{
	static bool begins[1u << 16];
	FILE *file = fopen(path, "rb");
	struct bytes all;
	size_t n = 0;
	bool is_found = false;

	if (!file)
		die(path);
	all = read_all(file, path);
	fclose(file);
	memset(begins, 0, sizeof(begins));
	for (size_t at = 0; at + WINDOW_BYTES <= all.n; at += WINDOW_BYTES) {
		uint8_t *window = all.at + at;

		if (!is_telling(window))
			continue;
		begins[window[0] << 8 | window[1]] = true;
		memmove(all.at + n++ * WINDOW_BYTES, window, WINDOW_BYTES);
	}
	qsort(all.at, n, WINDOW_BYTES, window_cmp);
	for (size_t at = 0; at + WINDOW_BYTES <= input.n && !is_found; at++) {
		const uint8_t *window = input.at + at;

		is_found = begins[window[0] << 8 | window[1]] &&
			   bsearch(window, all.at, n, WINDOW_BYTES, window_cmp);
		if (is_found)
			printf("byte %zu: 16 bytes of %s\n", at, path);
	}
	printf("%zu windows of %s\n", n, path);
	free(all.at);
	return is_found;
}

static bool search_hex(const char *hex)
{
	uint8_t wanted[256];
	size_t n = strlen(hex) / 2;

	if (!n || n > sizeof(wanted) || strlen(hex) % 2)
		die(hex);
	for (size_t i = 0; i < n; i++) {
		char pair[3] = { hex[2 * i], hex[2 * i + 1], 0 };

		if (!isxdigit((unsigned char)pair[0]) || !isxdigit((unsigned char)pair[1]))
			die(hex);
		wanted[i] = (uint8_t)strtoul(pair, NULL, 16);
	}
	if (!memmem(input.at, input.n, wanted, n))
		return false;
	printf("%s is there\n", hex);
	return true;
}

int main(int argc, char **argv)
{
	bool is_found = false;

	input = read_all(stdin, "standard input");
	for (int i = 1; i + 1 < argc; i += 2) {
		if (!strcmp(argv[i], "-w"))
			is_found |= search_windows(argv[i + 1]);
		else if (!strcmp(argv[i], "-x"))
			is_found |= search_hex(argv[i + 1]);
		else
			die(argv[i]);
	}
	if (argc < 3 || argc % 2 == 0) {
		fprintf(stderr, "usage: search-bytes [-w FILE]... [-x HEX]...\n");
		return 2;
	}
	free(input.at);
	return is_found;
}
