/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Checks that standard input is JSON Lines as --json promises them: one object a line, a kind in
 * each, the header first and only there, the summary last and only there. Prints how many objects
 * of each kind there are, in the order in which the kinds first came; with KEY... also the values
 * of these keys, as they come. Exits with 1 and a message when something is wrong.
 *
 * json-lines [KEY...]
 */
#include <jansson.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define KINDS_MAX 64

static struct {
	char name[64];
	size_t n;
} kinds[KINDS_MAX];
static size_t n_kinds;

static _Noreturn void refuse(size_t line, const char *what)
{
	fprintf(stderr, "json-lines: line %zu: %s\n", line, what);
	exit(1);
}

static void count(size_t line, const char *kind)
{
	size_t i = 0;

	while (i < n_kinds && strcmp(kinds[i].name, kind))
		i++;
	if (i == n_kinds) {
		if (n_kinds == KINDS_MAX || strlen(kind) >= sizeof(kinds[0].name))
			refuse(line, "too many kinds, or one with a long name");
		strcpy(kinds[n_kinds++].name, kind);
	}
	kinds[i].n++;
}

static void print_value(const json_t *object, const char *key)
{
	const json_t *value = json_object_get(object, key);
	char *text;

	if (!value)
		return;
	text = json_dumps(value, JSON_COMPACT | JSON_ENCODE_ANY);
	printf("%s %s\n", key, text ? text : "?");
	free(text);
}

int main(int argc, char **argv)
{
	char *text = NULL;
	size_t room = 0;
	size_t line = 0;
	ssize_t len;
	bool has_summary = false;

	while ((len = getline(&text, &room, stdin)) > 0) {
		json_error_t error;
		json_t *object;
		const char *kind;

		line++;
		if (text[len - 1] != '\n')
			refuse(line, "no newline at its end");
		object = json_loadb(text, (size_t)len, JSON_REJECT_DUPLICATES, &error);
		if (!object)
			refuse(line, error.text);
		kind = json_string_value(json_object_get(object, "kind"));
		if (!json_is_object(object) || !kind)
			refuse(line, "no object with a kind");
		if (has_summary)
			refuse(line, "something follows the summary");
		if (!strcmp(kind, "header") != (line == 1))
			refuse(line, "the first line, and no other, is the header");
		has_summary = !strcmp(kind, "summary");
		count(line, kind);
		for (int i = 1; i < argc; i++)
			print_value(object, argv[i]);
		json_decref(object);
	}
	free(text);
	if (!has_summary)
		refuse(line, "the last line is no summary");
	for (size_t i = 0; i < n_kinds; i++)
		printf("%zu %s\n", kinds[i].n, kinds[i].name);
	return 0;
}
