/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The field sweep: one field of one structure of a real set is changed at a time. */
#ifndef FIELDS_FIELDS_H
#define FIELDS_FIELDS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "kit/recipe_impl.h"

#define VOLUMES_MAX 4u
#define FIELD_BYTES_MAX 32u
#define FIELD_PATH_BYTES 96u

/* A change to one field, with or without the checksum made right. */
struct change {
	char path[FIELD_PATH_BYTES];
	const struct recipe_thing *thing;
	uint64_t at_bytes; /* of the device of thing */
	uint32_t len_bytes;
	uint8_t before[FIELD_BYTES_MAX];
	uint8_t after[FIELD_BYTES_MAX];
	uint8_t csum_before[8]; /* of thing */
	bool is_mended;
	const char *kind; /* "zero", "one", ... */
};

/* What came of it; 0xff in a code: not run yet. */
struct outcome {
	uint8_t fsck;
	uint8_t export[VOLUMES_MAX];
	bool is_truth[VOLUMES_MAX];
	uint32_t microseconds; /* of processor time, all together */
};

/* What a volume has to be. */
struct truth {
	const char *name; /* for --device */
	const uint8_t *bytes;
	uint64_t len_bytes;
};

/* All changes to the image; *n of them, freed by the caller. NULL with a message. */
struct change *changes_list(struct recipe_build *build, uint64_t seed, size_t *n);
void change_apply(struct recipe_build *build, const struct change *change);
void change_undo(struct recipe_build *build, const struct change *change);

/* judge.c: why nothing can prove the change, NULL when something should; static. */
const char *change_excuse(struct recipe_build *build, const struct change *change);

/* sink.c: exports are compared with the truth instead of being written. */
void sink_compare_with(const struct truth *truth);
bool sink_was_truth(void);

/* The two programs, their main() under another name. */
int bcache_fsck_main(int argc, char **argv);
int bcache_dump_main(int argc, char **argv);

#endif
