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
	uint64_t peak_bytes;   /* the most that its process ever took */
	int status;	       /* wait status where a process did not come to its end */
	bool has_report;       /* a sanitizer said something when all was done */
};

/* What a volume has to be. */
struct truth {
	const char *name; /* for --device */
	const uint8_t *bytes;
	uint64_t len_bytes;
	/* Kept by the sink. */
	const uint8_t **from; /* of each sector: where a right one was mapped, or NULL */
	uint8_t *has_data;    /* of each piece: anything but zeros */
};

/* All changes to the image; *n of them, freed by the caller. NULL with a message. */
struct change *changes_list(struct recipe_build *build, uint64_t seed, size_t *n);
void change_apply(struct recipe_build *build, const struct change *change);
void change_undo(struct recipe_build *build, const struct change *change);

/* judge.c: why nothing can prove the change, NULL when something should; static. */
const char *change_excuse(struct recipe_build *build, const struct change *change);

/*
 * sink.c: exports are compared with the truth instead of being written. What an export took from
 * the same place as one before, and was right then, is right, but for what is told to be touched.
 */
void sink_compare_with(struct truth *truth);
void sink_touched(const uint8_t *begin, size_t len_bytes, const uint8_t *csum);
bool sink_was_truth(void);

/*
 * mapped.c: what the programs open read-only under that name is read by way of a mapping from now
 * on. What is data then stays data, and the other way round. False with errno.
 */
bool mapped_add(const char *path);
/* Where its bytes lie; NULL when it was not added. */
const uint8_t *mapped_bytes(const char *path);

/* A read that an export did not do: its buffer keeps what it was. */
struct mapped_note {
	const uint8_t *to;
	const uint8_t *from;
	size_t len_bytes;
};
/* From now on, or from now on no more, reads that mark what is bad are only noted. */
void mapped_note_reads(bool is_on);
/* Those since the last call, in their order; valid until the next read. */
const struct mapped_note *mapped_notes(size_t *n);

/* The two programs, their main() under another name. */
int bcache_fsck_main(int argc, char **argv);
int bcache_dump_main(int argc, char **argv);

#endif
