/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Reads what a run of bcache-fsck said: its JSON Lines, its messages, its mapfiles. */
#include <inttypes.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <bcfmt/base.h>

#include "damage/damage.h"

static const char *text_of(const json_t *row, const char *key)
{
	const char *text = json_string_value(json_object_get(row, key));

	return text ? text : "";
}

static int by_text(const void *a, const void *b)
{
	return strcmp(a, b);
}

static void add_problem(struct told *told, const char *slug)
{
	for (size_t i = 0; i < told->n_problems; i++)
		if (!strcmp(told->problems[i], slug))
			return;
	if (told->n_problems < SLUGS_MAX)
		snprintf(told->problems[told->n_problems++], sizeof(told->problems[0]), "%s", slug);
}

static void take_reason(struct told *told, const char *what, const char *why)
{
	if (!told->reason[0])
		snprintf(told->reason, sizeof(told->reason), "%s: %s", what, why);
}

/* What only the user can say; the history is the one that a kernel takes. */
static void take_asked(struct told *told, const char *why)
{
	if (strstr(why, "--backing"))
		told->asked.has_roles = true;
	else if (strstr(why, "--incarnation"))
		told->asked.incarnation_seq = told->taken_seq;
	else if (strstr(why, "--adopt"))
		told->asked.adopting = strstr(why, "INODE=UUID") ? ADOPT_NAMED : ADOPT_AUTO;
}

static void take_row(struct told *told, const json_t *row)
{
	const char *kind = text_of(row, "kind");

	if (!strcmp(kind, "finding") && strcmp(text_of(row, "severity"), "note") != 0) {
		add_problem(told, text_of(row, "slug"));
		if (!strcmp(text_of(row, "slug"), "journal-two-histories"))
			told->taken_seq = (uint64_t)json_integer_value(
				json_object_get(json_object_get(row, "args"), "taken"));
		/* What is never repaired says so by itself. */
		if (!strcmp(text_of(json_object_get(row, "repair"), "consent"), "never"))
			take_reason(told, text_of(row, "slug"), "is never repaired");
	} else if (!strcmp(kind, "plan")) {
		take_asked(told, text_of(row, "why"));
		if (*text_of(row, "why"))
			take_reason(told, text_of(row, "slug"), text_of(row, "why"));
	} else if (!strcmp(kind, "verdict_device") && told->n_safe < SAFE_MAX &&
		   json_is_true(json_object_get(row, "safe_without_cache"))) {
		snprintf(told->safe[told->n_safe++], sizeof(told->safe[0]), "%s",
			 text_of(row, "uuid"));
	}
}

bool told_load(const char *out, const char *err, struct told *told)
{
	FILE *file = fopen(out, "re");
	char *line = NULL;
	size_t room = 0;
	bool is_good = file != NULL;

	*told = (struct told){ 0 };
	while (is_good && getline(&line, &room, file) > 0) {
		json_t *row = json_loads(line, 0, NULL);

		is_good = row != NULL;
		take_row(told, row);
		json_decref(row);
	}
	if (file)
		fclose(file);
	file = fopen(err, "re");
	while (file && getline(&line, &room, file) > 0) {
		line[strcspn(line, "\n")] = 0;
		if (strstr(line, "nothing is written"))
			told->reason[0] = 0;
		take_reason(told, "message", line);
		told->asked.has_roles |= strstr(line, "--backing") != NULL;
	}
	if (file)
		fclose(file);
	free(line);
	qsort(told->problems, told->n_problems, sizeof(told->problems[0]), by_text);
	return is_good;
}

void told_map(const char *path, uint8_t *marks, uint64_t sectors)
{
	FILE *file = fopen(path, "re");
	char line[256];

	if (!file)
		return;
	while (fgets(line, sizeof(line), file)) {
		uint64_t at, len;
		char mark;

		if (sscanf(line, "0x%" SCNx64 " 0x%" SCNx64 " %c", &at, &len, &mark) != 3 ||
		    mark == '+')
			continue;
		for (uint64_t sector = at / BCFMT_SECTOR_BYTES;
		     sector < sectors && sector < (at + len) / BCFMT_SECTOR_BYTES; sector++)
			marks[sector] = (uint8_t)mark;
	}
	fclose(file);
}
