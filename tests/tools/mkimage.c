/* SPDX-License-Identifier: GPL-2.0-or-later */
/* mkimage [--fill] [--base DIR] RECIPE OUT_DIR: builds the images that a recipe describes. */
#include <stdio.h>
#include <string.h>

#include "kit/recipe.h"

static int usage(void)
{
	fprintf(stderr, "usage: mkimage [--fill] [--base DIR] RECIPE OUT_DIR\n"
			"       mkimage --print-base RECIPE\n");
	return 2;
}

int main(int argc, char **argv)
{
	const char *base_dir = NULL;
	struct recipe_error error;
	struct recipe *recipe;
	bool is_fine, is_filled = argc > 1 && !strcmp(argv[1], "--fill");

	argc -= is_filled;
	argv += is_filled;
	if (argc == 5 && !strcmp(argv[1], "--base")) {
		base_dir = argv[2];
		argc -= 2;
		argv += 2;
	}
	if (argc != 3)
		return usage();
	if (!strcmp(argv[1], "--print-base")) {
		is_fine = recipe_load(argv[2], &recipe, &error);
		if (is_fine && recipe_base(recipe))
			puts(recipe_base(recipe));
	} else {
		is_fine = recipe_load(argv[1], &recipe, &error);
		if (is_fine && is_filled)
			recipe_fill(recipe);
		is_fine = is_fine && recipe_build(recipe, base_dir, argv[2], &error);
	}
	if (!is_fine)
		fprintf(stderr, "mkimage: %s\n", error.text);
	recipe_free(recipe);
	return is_fine ? 0 : 1;
}
