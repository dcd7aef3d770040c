/* SPDX-License-Identifier: GPL-2.0-or-later */
/* One damage of one image: inflicted, repaired as a user would, judged. */
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/checked.h"
#include "damage/suite.h"

#define WORDS_MAX 24u

void fail(struct pair *pair, const char *fmt, ...)
{
	size_t n = strlen(pair->faults);
	va_list args;

	pair->has_failed = true;
	if (n)
		n += (size_t)snprintf(pair->faults + n, sizeof(pair->faults) - n, "; ");
	va_start(args, fmt);
	if (n < sizeof(pair->faults))
		vsnprintf(pair->faults + n, sizeof(pair->faults) - n, fmt, args);
	va_end(args);
}

void count_run(struct pair *pair, const struct ran *ran, const char *what)
{
	struct suite *suite = pair->suite;

	suite->sum_microseconds += ran->microseconds;
	suite->most_microseconds = max_u64(suite->most_microseconds, ran->microseconds);
	suite->most_bytes = max_u64(suite->most_bytes, ran->peak_bytes);
	if (ran->status < 0)
		fail(pair, "%s ended by signal %d", what, ran->signal);
}

/* Repairs, told what was asked for; maps of what is lost begin with prefix. */
static struct ran run_fsck(struct pair *pair, const struct asked *asked, const char *prefix,
			   const char *out, const char *err)
{
	const struct suite *suite = pair->suite;
	const char *words[WORDS_MAX] = { "bcache-fsck", "-y",	  "-j1",  "--undo-file", "none",
					 "--json",	"--lost", prefix, NULL };
	char seq[24], owners[VOLUMES_MAX][64];
	size_t n = 8;

	if (asked->adopting == ADOPT_AUTO) {
		words[n++] = "--adopt";
		words[n++] = "auto";
	}
	for (size_t i = 0; asked->adopting == ADOPT_NAMED && i < suite->n_volumes; i++) {
		if (!suite->volumes[i].device)
			continue;
		snprintf(owners[i], sizeof(owners[i]), "%u=%s", suite->volumes[i].inode,
			 suite->volumes[i].uuid);
		words[n++] = "--adopt";
		words[n++] = owners[i];
	}
	snprintf(seq, sizeof(seq), "%llu", (unsigned long long)asked->incarnation_seq);
	if (asked->incarnation_seq) {
		words[n++] = "--incarnation";
		words[n++] = seq;
	}
	return run_program(bcache_fsck_main, words, &pair->suite->build, asked->has_roles, out,
			   err);
}

static void forget_maps(const struct suite *suite)
{
	char prefix[32], path[128];

	for (size_t i = 0; i < suite->n_volumes; i++) {
		for (unsigned int run = 0; run < RUNS_MAX; run++) {
			map_prefix(prefix, run);
			snprintf(path, sizeof(path), "%s-%s.map", prefix, suite->volumes[i].uuid);
			unlink(path);
		}
		snprintf(path, sizeof(path), "again-%s.map", suite->volumes[i].uuid);
		unlink(path);
	}
}

/* A run of those that repair; false when no other can follow it. */
static bool run_once(struct pair *pair)
{
	int status_before = pair->runs ? pair->first.status & 1 : 0;
	bool is_written;
	char prefix[32];

	map_prefix(prefix, pair->runs++);
	pair->first = run_fsck(pair, &pair->asked, prefix, "first.json", "first.err");
	count_run(pair, &pair->first, "the first run");
	is_written = take_touched(pair->suite);
	if (pair->first.status < 0)
		return false;
	if (pair->first.status & ~(1 | 4 | 8 | 16))
		fail(pair, "the first run exits with %d", pair->first.status);
	if (!told_load("first.json", "first.err", &pair->told))
		fail(pair, "the first run prints no JSON");
	if (is_written != ((pair->first.status & 1) != 0))
		fail(pair, "the first run exits with %d and has %swritten", pair->first.status,
		     is_written ? "" : "not ");
	if (pair->first.status & ~1 && !pair->told.reason[0])
		fail(pair, "the first run leaves something and does not say why");
	pair->first.status |= status_before;
	return !pair->has_failed;
}

/* Adds what the last run asked for; false when it is nothing that it was not told already. */
static bool take_asked(struct pair *pair)
{
	const struct asked *wanted = &pair->told.asked;
	struct asked *asked = &pair->asked;

	if (wanted->has_roles && !asked->has_roles)
		return asked->has_roles = true;
	if (wanted->incarnation_seq && !asked->incarnation_seq) {
		asked->incarnation_seq = wanted->incarnation_seq;
		return true;
	}
	if (wanted->adopting > asked->adopting) {
		asked->adopting = wanted->adopting;
		return true;
	}
	return false;
}

/* What only the user can know, the user says when the program asks for it. */
static void run_first(struct pair *pair)
{
	forget_maps(pair->suite);
	take_touched(pair->suite);
	while (run_once(pair) && pair->first.status & ~1 && pair->runs < RUNS_MAX &&
	       take_asked(pair))
		;
}

static bool is_within(const struct told *some, const struct told *all, const char **extra)
{
	for (size_t i = 0; i < some->n_problems; i++) {
		bool is_there = false;

		for (size_t k = 0; k < all->n_problems && !is_there; k++)
			is_there = !strcmp(some->problems[i], all->problems[k]);
		if (!is_there) {
			*extra = some->problems[i];
			return false;
		}
	}
	return true;
}

/* Where all is repaired there is nothing more to be asked for. */
static void run_second(struct pair *pair)
{
	const struct asked nothing = { 0 };
	struct told told;
	const char *extra;
	struct ran second;

	take_touched(pair->suite);
	second = run_fsck(pair, pair->first.status & ~1 ? &pair->asked : &nothing, "again",
			  "second.json", "second.err");
	count_run(pair, &second, "the second run");
	if (second.status < 0)
		return;
	if (second.status != (pair->first.status & ~1))
		fail(pair, "the first run exits with %d, the second with %d", pair->first.status,
		     second.status);
	if (take_touched(pair->suite))
		fail(pair, "the second run writes");
	if (!told_load("second.json", "second.err", &told))
		fail(pair, "the second run prints no JSON");
	else if (!is_within(&told, &pair->told, &extra))
		fail(pair, "the second run finds %s", extra);
}

static const char *outcome(const struct pair *pair)
{
	if (pair->has_failed)
		return "fail";
	if (pair->excuse)
		return "untold";
	if (pair->first.status & ~1)
		return pair->first.status & 1 ? "part" : "left";
	return pair->lost || pair->doubtful ? "loss" : "full";
}

static void judge_pair(struct pair *pair)
{
	struct suite *suite = pair->suite;
	const char *image = suite->build.recipe->base;
	uint64_t strange;

	/* Then the damage is all that may differ. */
	strange = restore(suite, &pair->inflicted.wounds);
	if (strange && !(pair->first.status & 1))
		fail(pair, "the first run exits with %d, and %llu sectors have changed",
		     pair->first.status, (unsigned long long)strange);
	if (pair->silent || pair->wrong) {
		pair->excuse = damage_excuse(&suite->build, &pair->inflicted, &pair->missed);
		if (!pair->excuse)
			fail(pair,
			     "%llu sectors lost silently, %llu wrong, from inode %u sector %llu on",
			     (unsigned long long)pair->silent, (unsigned long long)pair->wrong,
			     VEC_AT(&pair->missed.ranges, struct missed_range, 0)->inode,
			     (unsigned long long)VEC_AT(&pair->missed.ranges, struct missed_range,
							0)
				     ->start);
	}
	printf("pair %s %s %s %llu %llu %llu %llu %llu %s%s%s%s\n", pair->damage->name, image,
	       outcome(pair), (unsigned long long)pair->lost, (unsigned long long)pair->doubtful,
	       (unsigned long long)pair->right, (unsigned long long)pair->silent,
	       (unsigned long long)pair->wrong, pair->asked.has_roles ? "roles," : "",
	       pair->asked.incarnation_seq ? "incarnation," : "",
	       pair->asked.adopting ? "adopt," : "", pair->runs > 1 ? "" : "-");
	if (pair->has_failed)
		printf("fail %s %s: exit code %d: %s\n", pair->damage->name, image,
		       pair->first.status, pair->faults);
	if (pair->first.status & ~1)
		printf("left %s %s: exit code %d: %s\n", pair->damage->name, image,
		       pair->first.status, pair->told.reason);
	if (pair->excuse)
		printf("cannot be told %s %s: %s\n", pair->damage->name, image, pair->excuse);
	suite->failed += pair->has_failed;
}

void try_damage(struct suite *suite, const struct damage *damage)
{
	struct pair pair = { .suite = suite, .damage = damage };

	if (damage_inflict(&suite->build, &suite->names, damage, &pair.inflicted)) {
		run_first(&pair);
		run_second(&pair);
		export_all(&pair);
		judge_pair(&pair);
	} else {
		restore(suite, &pair.inflicted.wounds);
	}
	vec_free(&pair.inflicted.wounds);
	vec_free(&pair.missed.ranges);
}

void leave_damage(struct suite *suite, const struct damage *damage)
{
	struct inflicted inflicted = { 0 };

	if (!damage_inflict(&suite->build, &suite->names, damage, &inflicted))
		printf("%s has no place for %s\n", suite->build.recipe->base, damage->name);
	vec_free(&inflicted.wounds);
}
