/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Recipes: from text to statements, and what belongs to no single statement. */
#include "recipe_parse.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/checked.h"

#define RECIPE_BYTES_MAX (1u << 20)

/* "wants SLUG...": for the runner of the cases; only the form is looked at here. */
static void parse_wants(struct recipe_parser *p)
{
	if (p->words.n < 2)
		recipe_words_fail(&p->words, "wants", "names no problem; say nothing");
	for (unsigned int i = 1; i < p->words.n; i++) {
		p->words.is_used[i] = true;
		if (!*p->words.word[i] ||
		    p->words.word[i][strspn(p->words.word[i],
					    "abcdefghijklmnopqrstuvwxyz0123456789-")])
			recipe_words_fail(&p->words, p->words.word[i], "is no slug");
	}
}

/* "verdict WORD...": for the runner too. */
static void parse_verdict(struct recipe_parser *p)
{
	if (p->words.n < 2)
		recipe_words_fail(&p->words, "verdict", "says nothing");
	for (unsigned int i = 1; i < p->words.n; i++)
		p->words.is_used[i] = true;
}

static void parse_base(struct recipe_parser *p)
{
	const char *name = recipe_words_next(&p->words, "name of the fixture");

	if (p->recipe->base[0] || p->recipe->device[RECIPE_CACHE].is_used ||
	    p->recipe->n_devices > 1)
		recipe_words_fail(&p->words, "base", "must come first");
	else if (name && (strlen(name) >= sizeof(p->recipe->base) || strpbrk(name, "/.")))
		recipe_words_fail(&p->words, name, "is no name of a fixture");
	else if (name)
		memcpy(p->recipe->base, name, strlen(name) + 1);
}

/* bucket=, at= and len=: a bucket with its sizes is resolved when a base image is known. */
static void parse_place(struct recipe_parser *p, struct recipe_op *op)
{
	struct recipe_words *w = &p->words;

	op->bucket = recipe_words_u64(w, "bucket", RECIPE_AUTO, 1ull << 32);
	if (op->bucket == RECIPE_AUTO)
		recipe_words_need(w, "at");
	op->at_bytes = recipe_words_bytes(w, "at", 0, RECIPE_DEVICE_BYTES_MAX);
	if (op->bucket == RECIPE_AUTO && op->kind != RECIPE_POKE_BYTES)
		recipe_words_need(w, "len");
	op->len_bytes = recipe_words_bytes(w, "len", RECIPE_AUTO, RECIPE_DEVICE_BYTES_MAX);
}

static char *copy_text(struct recipe_parser *p, const char *text)
{
	char *copy = text ? strdup(text) : NULL;

	if (text && !copy)
		recipe_words_fail(&p->words, text, "out of memory");
	return copy;
}

static void parse_optional_device(struct recipe_parser *p, struct recipe_op *op)
{
	op->device = RECIPE_CACHE;
	if (p->words.n > 1 && !p->words.is_used[1] && !strchr(p->words.word[1], '='))
		op->device = parse_device(p, recipe_words_next(&p->words, "device"));
}

static void parse_assignment(struct recipe_parser *p, struct recipe_op *op)
{
	struct recipe_words *w = &p->words;

	if (w->n != 4 || strcmp(w->word[2], "=")) {
		recipe_words_fail(w, w->word[0], "has the form PATH = VALUE");
		return;
	}
	for (unsigned int i = 1; i < 4; i++)
		w->is_used[i] = true;
	op->path = copy_text(p, w->word[1]);
	op->value = copy_text(p, w->word[3]);
}

void parse_damage(struct recipe_parser *p)
{
	static const struct {
		const char *word;
		enum recipe_op_kind kind;
	} kinds[] = {
		{ "set", RECIPE_SET },
		{ "poke", RECIPE_POKE },
		{ "zero", RECIPE_ZERO },
		{ "copy", RECIPE_COPY },
		{ "swap", RECIPE_SWAP },
		{ "truncate", RECIPE_TRUNCATE },
		{ "unreadable", RECIPE_UNREADABLE },
	};
	struct recipe_words *w = &p->words;
	struct recipe_op *op = parse_push(p, &p->recipe->ops, sizeof(*op));

	if (!op)
		return;
	op->line = w->line;
	for (size_t i = 0; i < sizeof(kinds) / sizeof(kinds[0]); i++)
		if (!strcmp(w->word[0], kinds[i].word))
			op->kind = kinds[i].kind;
	if (op->kind == RECIPE_POKE && recipe_words_flag(w, "bytes"))
		op->kind = RECIPE_POKE_BYTES;
	switch (op->kind) {
	case RECIPE_SET:
	case RECIPE_POKE:
		parse_assignment(p, op);
		return;
	case RECIPE_POKE_BYTES:
		recipe_words_need(w, "hex");
		op->value = copy_text(p, recipe_words_text(w, "hex"));
		break;
	case RECIPE_COPY:
	case RECIPE_SWAP:
		recipe_words_need(w, "bucket");
		recipe_words_need(w, op->kind == RECIPE_COPY ? "to" : "with");
		op->bucket = recipe_words_u64(w, "bucket", 0, 1ull << 32);
		op->to_bucket =
			recipe_words_u64(w, op->kind == RECIPE_COPY ? "to" : "with", 0, 1ull << 32);
		return;
	case RECIPE_TRUNCATE:
		recipe_words_need(w, "size");
		op->len_bytes = recipe_words_bytes(w, "size", 0, RECIPE_DEVICE_BYTES_MAX);
		parse_optional_device(p, op);
		return;
	case RECIPE_ZERO:
	case RECIPE_UNREADABLE:
		break;
	}
	parse_place(p, op);
	for (unsigned int i = 1; i < w->n; i++)
		if (!w->is_used[i] && !strchr(w->word[i], '='))
			op->device = parse_device(p, recipe_words_next(w, "device"));
}

/* needs_cache: takes its sizes from the cache line, so it cannot follow base either. */
static const struct {
	const char *word;
	void (*parse)(struct recipe_parser *p);
	bool needs_cache;
	bool keeps_open; /* key lines still go to the container before it */
} statements[] = {
	{ "wants", parse_wants, false, false },
	{ "verdict", parse_verdict, false, false },
	{ "base", parse_base, false, false },
	{ "cache", parse_cache, false, false },
	{ "backing", parse_backing, false, false },
	{ "uuid", parse_uuid, true, false },
	{ "uuids", parse_uuids, true, false },
	{ "prio", parse_prio, true, false },
	{ "gen", parse_gen, true, false },
	{ "data", parse_data, false, false },
	{ "node", parse_node, true, false },
	{ "bset", parse_bset, true, true },
	{ "journal", parse_journal, true, false },
	{ "key", parse_key, true, true },
	{ "keys", parse_keys, true, true },
	{ "child", parse_child, true, true },
	{ "tombstone", parse_tombstone, true, true },
	{ "words", parse_words, true, true },
	{ "set", parse_damage, false, false },
	{ "poke", parse_damage, false, false },
	{ "zero", parse_damage, false, false },
	{ "copy", parse_damage, false, false },
	{ "swap", parse_damage, false, false },
	{ "truncate", parse_damage, false, false },
	{ "unreadable", parse_damage, false, false },
};

static bool parse_line(struct recipe_parser *p)
{
	struct recipe_words *w = &p->words;

	if (!w->n)
		return true;
	w->is_used[0] = true;
	for (size_t i = 0; i < sizeof(statements) / sizeof(statements[0]); i++) {
		if (strcmp(w->word[0], statements[i].word))
			continue;
		if (statements[i].needs_cache && !p->recipe->geo.nbuckets) {
			recipe_words_fail(w, w->word[0], "needs a cache line before it");
			return false;
		}
		if (!statements[i].keeps_open)
			p->open = RECIPE_OPEN_NONE;
		statements[i].parse(p);
		return recipe_words_end(w);
	}
	recipe_words_fail(w, w->word[0], "is no statement");
	return false;
}

bool recipe_parse(const char *name, const char *text, size_t len_bytes, struct recipe **out,
		  struct recipe_error *error)
{
	struct recipe_parser *p = calloc(1, sizeof(*p));
	struct recipe *recipe = calloc(1, sizeof(*recipe));
	const char *end = text + len_bytes;
	bool is_fine = p && recipe;

	*out = NULL;
	snprintf(error->text, sizeof(error->text), "%s: out of memory", name);
	if (is_fine) {
		snprintf(recipe->name, sizeof(recipe->name), "%s", name);
		recipe->n_devices = 1;
		recipe->uuids_bucket = RECIPE_AUTO;
		recipe->uuids_gen = 1;
		recipe->uuids_version = 1;
		p->recipe = recipe;
		p->words.file = recipe->name;
		p->words.error = error;
	}
	while (is_fine && text < end) {
		const char *newline = memchr(text, '\n', (size_t)(end - text));
		size_t line_bytes = (size_t)((newline ? newline : end) - text);

		p->words.line++;
		is_fine = recipe_words_split(&p->words, text, line_bytes) && parse_line(p);
		text += line_bytes + (newline != NULL);
	}
	is_fine = is_fine && parse_finish(p);
	if (is_fine && !recipe->base[0] && !recipe->device[0].is_used && recipe->n_devices == 1) {
		snprintf(error->text, sizeof(error->text), "%s: no cache, backing or base line",
			 name);
		is_fine = false;
	}
	if (is_fine) {
		error->text[0] = 0;
		*out = recipe;
	} else {
		recipe_free(recipe);
	}
	free(p);
	return is_fine;
}

bool recipe_load(const char *path, struct recipe **out, struct recipe_error *error)
{
	FILE *file = fopen(path, "r");
	char *text = file ? malloc(RECIPE_BYTES_MAX + 1) : NULL;
	size_t len_bytes = text ? fread(text, 1, RECIPE_BYTES_MAX + 1, file) : 0;
	bool is_fine = text && !ferror(file) && len_bytes <= RECIPE_BYTES_MAX;

	*out = NULL;
	if (is_fine)
		is_fine = recipe_parse(path, text, len_bytes, out, error);
	else
		snprintf(error->text, sizeof(error->text), "%s: cannot be read, or above 1 MiB",
			 path);
	free(text);
	if (file)
		fclose(file);
	return is_fine;
}

void recipe_free(struct recipe *recipe)
{
	if (!recipe)
		return;
	for (size_t i = 0; i < recipe->ops.n; i++) {
		free(VEC_AT(&recipe->ops, struct recipe_op, i)->path);
		free(VEC_AT(&recipe->ops, struct recipe_op, i)->value);
	}
	vec_free(&recipe->keys);
	vec_free(&recipe->bsets);
	vec_free(&recipe->nodes);
	vec_free(&recipe->jsets);
	vec_free(&recipe->prios);
	vec_free(&recipe->gens);
	vec_free(&recipe->slots);
	vec_free(&recipe->datas);
	vec_free(&recipe->ops);
	free(recipe);
}

void recipe_fill(struct recipe *recipe)
{
	recipe->is_filled = true;
}

const char *recipe_base(const struct recipe *recipe)
{
	return recipe->base[0] ? recipe->base : NULL;
}
