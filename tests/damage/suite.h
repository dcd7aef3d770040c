/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What the files of the damage suite share while it runs. */
#ifndef DAMAGE_SUITE_H
#define DAMAGE_SUITE_H

#include <limits.h>

#include "damage/damage.h"

#define CHUNK_BYTES (64u << 10)
#define RUNS_MAX 4u

struct suite {
	char base_dir[PATH_MAX];
	struct {
		int fd;
		uint64_t bytes;
		bool has_changed; /* the copy, since it was as the base */
	} base[1 + RECIPE_BACKING_MAX];
	uint8_t chunk[2][CHUNK_BYTES];
	struct recipe_build build;
	struct names names;
	struct volume volumes[VOLUMES_MAX];
	size_t n_volumes;
	uint8_t *marks; /* a sector of the largest volume */
	uint64_t most_microseconds;
	uint64_t most_bytes;
	uint64_t sum_microseconds;
	uint64_t failed;
};

/* One damage of one image. */
struct pair {
	struct suite *suite;
	const struct damage *damage;
	struct inflicted inflicted;
	struct missed missed;
	struct asked asked; /* what the program wanted to be told, and was */
	unsigned int runs;  /* that repaired, each with what the one before asked for */
	struct ran first;   /* the last of these, its status with what those before it wrote */
	struct told told;   /* by it */
	bool has_failed;
	const char *excuse;
	uint64_t lost;
	uint64_t doubtful;
	uint64_t right;
	uint64_t silent;
	uint64_t wrong;
	char faults[1024];
};

_Noreturn void die(const char *what);
void fail(struct pair *pair, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
/* Adds what a run took to the bounds of the suite. */
void count_run(struct pair *pair, const struct ran *ran, const char *what);
/* Does a damage, lets it be repaired, prints what came of it. */
void try_damage(struct suite *suite, const struct damage *damage);
/* Does a damage and no more. */
void leave_damage(struct suite *suite, const struct damage *damage);

/* ---- images.c ---- */

/* NULL with errno. */
const uint8_t *map_file(const char *path, uint64_t *bytes);
/* The first copy of the set. */
bool copy_base(struct suite *suite);
/* Whether anything was written since the last call. */
bool take_touched(struct suite *suite);
/* Sectors outside of the wounds that differ from the base; all are as in the base then. */
uint64_t restore(struct suite *suite, const struct vec *wounds);

/* ---- judge.c ---- */

/* The maps of lost sectors that run n of a pair wrote begin with this. */
void map_prefix(char out[32], unsigned int n);
/* Compares all volumes, as bcache-dump exports them, with the truth. */
void export_all(struct pair *pair);

#endif
