/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Another program that reads a volume, line by line. */
#ifndef CHILD_H
#define CHILD_H

#include <stdio.h>

#include "files.h"

/* Without its end. False ends the reading, and the program. */
typedef bool (*child_line_fn)(void *arg, char *line);

struct child {
	struct files *files;
	const char *program;	 /* looked for in PATH, and where programs of root are */
	const char *package;	 /* of Debian, that has it */
	const char *const *args; /* without its name; NULL at the end */
	FILE *input;		 /* standard input from its begin; NULL: none */
	child_line_fn line;
	void *arg;
};

/*
 * Runs it to its end. When it fails, its first words of complaint are told, and what was read is
 * partial. DUMP_FAILED: it is not there, told with its package; or was cancelled, told too.
 */
int child_run(const struct child *child);

/* The volume as a sparse file with a name, in the folder for temporary files. */
struct volume_file {
	char *folder;
	char *path;
};
int volume_file_make(struct files *files, struct volume_file *out);
void volume_file_remove(struct volume_file *file);

#endif
