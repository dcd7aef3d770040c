/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Reads the list of damages: "name: step; step", a line each; # begins a comment. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "damage/damage.h"

#define LINE_BYTES 1024u

static bool split_step(char *text, struct step *step)
{
	char *rest = NULL;
	size_t n = 0;

	for (char *word = strtok_r(text, " \t", &rest); word; word = strtok_r(NULL, " \t", &rest)) {
		if (n >= 4 || strlen(word) >= DAMAGE_WORD_BYTES)
			return false;
		strcpy(step->word[n++], word);
	}
	return n > 0;
}

static bool split_line(char *line, struct damage *damage)
{
	char *colon = strchr(line, ':');
	char *rest = NULL;

	if (!colon || (size_t)(colon - line) >= sizeof(damage->name))
		return false;
	*damage = (struct damage){ 0 };
	memcpy(damage->name, line, (size_t)(colon - line));
	for (char *step = strtok_r(colon + 1, ";", &rest); step; step = strtok_r(NULL, ";", &rest))
		if (damage->n_steps >= DAMAGE_STEPS_MAX ||
		    !split_step(step, &damage->steps[damage->n_steps++]))
			return false;
	return damage->n_steps > 0;
}

bool list_load(const char *path, struct damage **out, size_t *n)
{
	FILE *file = fopen(path, "re");
	struct vec list = { 0 };
	char line[LINE_BYTES];
	unsigned int number = 0;
	bool is_good = file != NULL;

	if (!file)
		fprintf(stderr, "damage_suite: %s: %s\n", path, strerror(errno));
	while (is_good && fgets(line, sizeof(line), file)) {
		struct damage *damage;

		number++;
		line[strcspn(line, "\n")] = 0;
		if (!line[0] || line[0] == '#')
			continue;
		damage = vec_push(&list, sizeof(*damage));
		is_good = damage && split_line(line, damage);
		if (!is_good)
			fprintf(stderr, "damage_suite: %s:%u: is no damage\n", path, number);
	}
	if (file)
		fclose(file);
	if (!is_good)
		vec_free(&list);
	*out = list.items;
	*n = list.n;
	return is_good;
}
