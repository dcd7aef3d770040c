/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The damage suite: a real set is damaged, repaired, and its volumes compared with the truth. */
#ifndef DAMAGE_DAMAGE_H
#define DAMAGE_DAMAGE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <bcfmt/uuid.h>

#include "fields/fields.h"
#include "kit/recipe_impl.h"

#define DAMAGE_STEPS_MAX 16u
#define DAMAGE_WORD_BYTES 96u
#define NAME_ITEMS_MAX 32u

/* ---- names.c: what the places of an image are called in the list of damages ---- */

struct name {
	const char *text;
	uint64_t value;
};
struct names {
	struct name items[NAME_ITEMS_MAX];
	size_t n;
};
/* Of the set in the current folder, opened for reading. False with a message on stderr. */
bool names_find(struct names *names);
bool names_get(const struct names *names, const char *text, size_t len, uint64_t *value);

/* ---- list.c: the list of damages ---- */

struct step {
	char word[4][DAMAGE_WORD_BYTES]; /* what to do, and with what; empty ones at the end */
};
struct damage {
	char name[64];
	struct step steps[DAMAGE_STEPS_MAX];
	size_t n_steps;
};
/* *out is freed by the caller. False with a message. */
bool list_load(const char *path, struct damage **out, size_t *n);

/* ---- inflict.c ---- */

/* Bytes that were changed. */
struct wound {
	uint32_t device;
	uint64_t at_bytes;
	uint64_t len_bytes;
};
/* Sectors [start, end) of an inode, counted as keys do. */
struct missed_range {
	uint32_t inode;
	uint64_t start;
	uint64_t end;
};
struct missed {
	struct vec ranges; /* struct missed_range */
};
struct inflicted {
	struct vec wounds;    /* struct wound; vec_free() */
	struct change change; /* when the damage is a single field, else thing is NULL */
};
/*
 * Damages the image. False when it has nothing of the sort: then it may be damaged in part.
 * Everything random comes from the name of the damage.
 */
bool damage_inflict(struct recipe_build *build, const struct names *names,
		    const struct damage *damage, struct inflicted *out);
/*
 * Why nothing on the devices could tell; NULL when something should. The image is whole again.
 * missed: sectors that have to be excused.
 */
const char *damage_excuse(struct recipe_build *build, const struct inflicted *inflicted,
			  const struct missed *missed);

/* ---- sink.c: exports are compared with the truth instead of being written ---- */

enum sector_state {
	SECTOR_RIGHT,
	SECTOR_OLD, /* what the backing device has, or zeros: silent loss unless reported */
	SECTOR_WRONG,
};
struct volume {
	uint32_t inode;
	uint32_t device; /* the backing device, 0: none */
	char uuid[BCFMT_UUID_TEXT_BYTES];
	const uint8_t *truth;
	const uint8_t *old; /* of the backing device, as long as the truth; NULL: zeros */
	uint64_t bytes;
	/* Shared with the process that exports. */
	struct exported {
		bool is_whole; /* written to its end */
		bool is_other_size;
		uint8_t sectors[]; /* enum sector_state */
	} * exported;
};
void sink_compare(const struct volume *volume);

/* ---- run.c: the programs, in processes of their own with bounds of time and memory ---- */

struct ran {
	int status; /* exit code; -1: a signal, see signal */
	int signal;
	uint64_t microseconds; /* processor time */
	uint64_t peak_bytes;
};
/*
 * Calls a program with argv and the devices of the set behind it, has_roles: with --cache and
 * --backing before them; standard output and error go to files in the current folder.
 */
struct ran run_program(int (*program)(int, char **), const char *const *argv,
		       const struct recipe_build *build, bool has_roles, const char *out,
		       const char *err);

/* ---- told.c: what a run said ---- */

/* Options that a run calls for, because nothing but the user can know. */
struct asked {
	bool has_roles; /* --cache and --backing */
	enum adopting { ADOPT_NOTHING, ADOPT_AUTO, ADOPT_NAMED } adopting; /* --adopt */
	uint64_t incarnation_seq; /* --incarnation; 0: not */
};

#define SLUGS_MAX 64u
#define SAFE_MAX 16u
struct told {
	char problems[SLUGS_MAX][40]; /* worse than a note, of the check before a repair; sorted */
	size_t n_problems;
	char reason[200]; /* why nothing, or not all, is repaired; "": nothing says it */
	char safe[SAFE_MAX][BCFMT_UUID_TEXT_BYTES]; /* devices that may run without the cache */
	size_t n_safe;
	struct asked asked;
	uint64_t taken_seq; /* of two histories, the one that a kernel takes; 0: there is one */
};
/* out and err: files of a run. False: is no JSON. */
bool told_load(const char *out, const char *err, struct told *told);
/* One byte a sector: '/' or '-' where the map has it. */
void told_map(const char *path, uint8_t *marks, uint64_t sectors);

#endif
