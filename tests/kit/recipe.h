/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Recipes: text from which cache and backing images are built. Language: fixtures/recipes/. */
#ifndef KIT_RECIPE_H
#define KIT_RECIPE_H

#include <stdbool.h>
#include <stddef.h>

struct recipe;

/* One line: file, line number, the word that is wrong, and why. */
struct recipe_error {
	char text[512];
};

/*
 * Parses len_bytes of text; name stands for it in messages. False: *error is filled and *out is
 * NULL. Freed with recipe_free().
 */
bool recipe_parse(const char *name, const char *text, size_t len_bytes, struct recipe **out,
		  struct recipe_error *error);
/* The same for a file of at most 1 MiB. */
bool recipe_load(const char *path, struct recipe **out, struct recipe_error *error);
void recipe_free(struct recipe *recipe); /* NULL is fine */

/* Name of the fixture to start from, NULL when the recipe builds everything itself. */
const char *recipe_base(const struct recipe *recipe);

/*
 * Data is put under every key, before all else: backing devices hold patterns, clean keys what
 * their device holds there, dirty keys patterns of their own. Not of a base, which has data.
 */
void recipe_fill(struct recipe *recipe);

/*
 * Writes cache.img, backing0.img ... and, when something is unreadable, cache.map ... to out_dir,
 * which must exist; files of these names are replaced. base_dir holds the unpacked fixture that
 * recipe_base() names, else it is NULL. The same recipe gives the same bytes. False: *error.
 */
bool recipe_build(const struct recipe *recipe, const char *base_dir, const char *out_dir,
		  struct recipe_error *error);

#endif
