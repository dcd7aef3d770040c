/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * field_sweep [--step N] [--only I] [--seed N] --volume NAME TRUTH... BASE_FOLDER WORK_FOLDER
 *
 * Copies the set in BASE_FOLDER to WORK_FOLDER and changes one field after the other, with and
 * without a right checksum; bcache-fsck -n checks each result and bcache-dump exports the volumes,
 * all in processes of their own with bounds of time and memory. Every run has to end by itself with
 * an exit code of its own. Where that is 0 the export has to be the truth, but for what nothing on
 * the devices can prove (judge.c). Prints what was wrong, and "N passed, N failed".
 */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "fields/fields.h"

#if defined(__SANITIZE_ADDRESS__)
#define IS_SANITIZED 1
#else
#define IS_SANITIZED 0
#endif

#define CPU_SECONDS    20u /* a change may take so much, and the machine may be busy */
#define WALL_SECONDS   600u
#define MEMORY_BYTES (512ull << 20)
#define CHUNK 64u /* changes that one process tries */
#define COMPLAINTS 40u
#define NOT_RUN 0xff
#define EXCUSES_MAX 8u

struct sweep {
	struct recipe_build build;
	struct truth volumes[VOLUMES_MAX];
	size_t n_volumes;
	struct change *changes;
	size_t n;
	/* Shared with the processes that try them. */
	struct shared {
		size_t current;
		uint64_t peak_bytes;
		struct outcome outcomes[];
	} * shared;
	uint64_t passed;
	uint64_t failed;
	struct {
		const char *text;
		uint64_t n;
	} excuses[EXCUSES_MAX];
};

static _Noreturn void die(const char *what)
{
	fprintf(stderr, "field_sweep: %s: %s\n", what, strerror(errno));
	exit(2);
}

/* ---- in the process that tries ---- */

static uint64_t cpu_microseconds(void)
{
	struct timespec now;

	clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &now);
	return (uint64_t)now.tv_sec * 1000000 + (uint64_t)now.tv_nsec / 1000;
}

/* Calls a program with the devices of the set behind its own words. */
static int call(int (*run)(int, char **), const struct sweep *sweep, const char *const *words)
{
	char *argv[16 + RECIPE_BACKING_MAX];
	int argc = 0;

	for (; *words; words++)
		argv[argc++] = (char *)(uintptr_t)*words;
	for (uint32_t i = 0; i <= RECIPE_BACKING_MAX; i++)
		if (sweep->build.image[i].fd >= 0)
			argv[argc++] = (char *)(uintptr_t)sweep->build.image[i].file;
	argv[argc] = NULL;
	return run(argc, argv);
}

static void try_change(struct sweep *sweep, size_t index)
{
	static const char *const fsck[] = { "bcache-fsck", "-n", "-q", "-j1", NULL };
	struct outcome *outcome = &sweep->shared->outcomes[index];
	const struct itimerval cpu = { .it_value.tv_sec = CPU_SECONDS };
	uint64_t begin = cpu_microseconds();
	struct rusage usage;

	setitimer(ITIMER_PROF, &cpu, NULL);
	alarm(WALL_SECONDS);
	change_apply(&sweep->build, &sweep->changes[index]);
	outcome->fsck = (uint8_t)call(bcache_fsck_main, sweep, fsck);
	for (size_t i = 0; i < sweep->n_volumes; i++) {
		const char *export[] = {
			"bcache-dump",		"export", "-q", "-j1", "-o", "-", "--device",
			sweep->volumes[i].name, NULL,
		};

		sink_compare_with(&sweep->volumes[i]);
		outcome->export[i] = (uint8_t)call(bcache_dump_main, sweep, export);
		outcome->is_truth[i] = sink_was_truth();
	}
	change_undo(&sweep->build, &sweep->changes[index]);
	outcome->microseconds = (uint32_t)(cpu_microseconds() - begin);
	getrusage(RUSAGE_SELF, &usage);
	sweep->shared->peak_bytes = (uint64_t)usage.ru_maxrss * 1024;
}

static _Noreturn void try_all(struct sweep *sweep, size_t begin, size_t end, bool is_quiet)
{
	struct rlimit memory = { MEMORY_BYTES, MEMORY_BYTES }, core = { 0, 0 };

	if (is_quiet && (!freopen("/dev/null", "w", stdout) || !freopen("/dev/null", "w", stderr)))
		_exit(126);
	setrlimit(RLIMIT_CORE, &core);
	if (!IS_SANITIZED)
		setrlimit(RLIMIT_AS, &memory);
	for (size_t i = begin; i < end; i++) {
		sweep->shared->current = i;
		try_change(sweep, i);
	}
	sweep->shared->current = end;
	exit(0);
}

/* ---- in the one that watches ---- */

static void complain(struct sweep *sweep, size_t index, const char *what)
{
	const struct change *change = &sweep->changes[index];

	if (++sweep->failed > COMPLAINTS)
		return;
	printf("%s[%zu] %s: %s, checksum %s: %s\n", sweep->build.recipe->base, index, change->path,
	       change->kind, change->is_mended ? "made right" : "left", what);
}

static int wait_for(pid_t pid)
{
	int status;

	while (waitpid(pid, &status, 0) < 0)
		if (errno != EINTR)
			die("waitpid");
	return status;
}

static int run_chunk(struct sweep *sweep, size_t begin, size_t end)
{
	pid_t pid;

	fflush(stdout);
	pid = fork();
	if (pid < 0)
		die("fork");
	if (!pid)
		try_all(sweep, begin, end, true);
	return wait_for(pid);
}

/* A process that did not come to its end stopped at one change: that is told, and left out. */
static void try_chunk(struct sweep *sweep, size_t begin, size_t end)
{
	while (begin < end) {
		int status = run_chunk(sweep, begin, end);
		size_t at = sweep->shared->current;
		char what[80];

		if (at == end && WIFEXITED(status) && !WEXITSTATUS(status))
			return;
		if (at < end) {
			change_undo(&sweep->build, &sweep->changes[at]);
			if (WIFSIGNALED(status))
				snprintf(what, sizeof(what), "ended by signal %d",
					 WTERMSIG(status));
			else
				snprintf(what, sizeof(what), "ended with exit code %d",
					 WEXITSTATUS(status));
			complain(sweep, at, what);
			begin = at + 1;
			continue;
		}
		/* Only what a sanitizer finds at the end: which of them leaked? */
		if (end - begin == 1) {
			complain(sweep, begin, "a sanitizer reported at the end");
			return;
		}
		try_chunk(sweep, begin, begin + (end - begin) / 2);
		begin += (end - begin) / 2;
	}
}

/* A wrong export under exit code 0: is there an excuse? Each is counted. */
static bool is_excused(struct sweep *sweep, size_t index)
{
	const char *excuse = change_excuse(&sweep->build, &sweep->changes[index]);

	if (!excuse)
		return false;
	for (size_t i = 0; i < EXCUSES_MAX; i++) {
		if (sweep->excuses[i].text && strcmp(sweep->excuses[i].text, excuse))
			continue;
		sweep->excuses[i].text = excuse;
		sweep->excuses[i].n++;
		break;
	}
	return true;
}

static const char *judge(struct sweep *sweep, size_t index, char buf[160])
{
	const struct outcome *outcome = &sweep->shared->outcomes[index];

	if (outcome->fsck & ~20u) {
		snprintf(buf, 160, "bcache-fsck exits with %u", outcome->fsck);
		return buf;
	}
	for (size_t i = 0; i < sweep->n_volumes; i++) {
		if (outcome->export[i] > 2) {
			snprintf(buf, 160, "export of %s exits with %u", sweep->volumes[i].name,
				 outcome->export[i]);
			return buf;
		}
		if (outcome->is_truth[i] || (outcome->fsck && outcome->export[i]))
			continue;
		if (is_excused(sweep, index))
			return NULL;
		snprintf(buf, 160, "%s is not the truth, and %s%s%s with 0", sweep->volumes[i].name,
			 outcome->fsck ? "" : "bcache-fsck",
			 outcome->fsck || outcome->export[i] ? "" : " and ",
			 outcome->export[i] ? " exits" : "its export exit");
		return buf;
	}
	return NULL;
}

static void judge_all(struct sweep *sweep)
{
	uint64_t most = 0, sum = 0;
	char buf[160];

	for (size_t i = 0; i < sweep->n; i++) {
		const char *wrong;

		/* Complained of before, or not part of the sample. */
		if (sweep->shared->outcomes[i].fsck == NOT_RUN)
			continue;
		wrong = judge(sweep, i, buf);
		if (wrong)
			complain(sweep, i, wrong);
		else
			sweep->passed++;
		sum += sweep->shared->outcomes[i].microseconds;
		if (sweep->shared->outcomes[i].microseconds > most)
			most = sweep->shared->outcomes[i].microseconds;
	}
	printf("%s: %llu changes, %.1f s of processor time, the longest %.3f s, %llu MiB at most\n",
	       sweep->build.recipe->base, (unsigned long long)(sweep->passed + sweep->failed),
	       (double)sum / 1e6, (double)most / 1e6,
	       (unsigned long long)sweep->shared->peak_bytes >> 20);
	for (size_t i = 0; i < EXCUSES_MAX && sweep->excuses[i].text; i++)
		printf("%s: %llu are not the truth and cannot be told: %s\n",
		       sweep->build.recipe->base, (unsigned long long)sweep->excuses[i].n,
		       sweep->excuses[i].text);
}

static void load_truth(struct truth *truth, const char *name, const char *path)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	struct stat st;
	void *map;

	if (fd < 0 || fstat(fd, &st))
		die(path);
	map = mmap(NULL, (size_t)st.st_size, PROT_READ, MAP_PRIVATE, fd, 0);
	if (map == MAP_FAILED)
		die(path);
	close(fd);
	*truth = (struct truth){ name, map, (uint64_t)st.st_size };
}

static void make_shared(struct sweep *sweep)
{
	size_t bytes = sizeof(*sweep->shared) + sweep->n * sizeof(struct outcome);

	sweep->shared =
		mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	if (sweep->shared == MAP_FAILED)
		die("mmap");
	for (size_t i = 0; i < sweep->n; i++)
		sweep->shared->outcomes[i].fsck = NOT_RUN;
}

/* A sample: every so manieth, moved to the front. */
static void keep_every(struct sweep *sweep, uint64_t step)
{
	size_t n = 0;

	for (size_t i = 0; i < sweep->n; i += step)
		sweep->changes[n++] = sweep->changes[i];
	sweep->n = n;
}

int main(int argc, char **argv)
{
	struct recipe_error error = { { 0 } };
	struct recipe recipe = { 0 };
	struct sweep sweep = { .build = { .recipe = &recipe, .error = &error } };
	uint64_t step = 1, only = UINT64_MAX, seed = 1;
	int at = 1;

	for (; at + 1 < argc && !strncmp(argv[at], "--", 2); at += 2) {
		if (!strcmp(argv[at], "--step"))
			step = strtoull(argv[at + 1], NULL, 10);
		else if (!strcmp(argv[at], "--only"))
			only = strtoull(argv[at + 1], NULL, 10);
		else if (!strcmp(argv[at], "--seed"))
			seed = strtoull(argv[at + 1], NULL, 10);
		else if (!strcmp(argv[at], "--volume") && at + 2 < argc &&
			 sweep.n_volumes < VOLUMES_MAX)
			load_truth(&sweep.volumes[sweep.n_volumes++], argv[at + 1], argv[at + 2]),
				at++;
		else
			break;
	}
	if (argc - at != 2 || !step || !sweep.n_volumes) {
		fprintf(stderr, "usage: field_sweep [--step N] [--only I] [--seed N] "
				"--volume NAME TRUTH... BASE_FOLDER WORK_FOLDER\n");
		return 2;
	}
	snprintf(recipe.base, sizeof(recipe.base), "%s",
		 strrchr(argv[at], '/') ? strrchr(argv[at], '/') + 1 : argv[at]);
	sweep.build.out_dir = argv[at + 1];
	if (!recipe_images_copy(&sweep.build, argv[at]) || !recipe_index_base(&sweep.build) ||
	    chdir(argv[at + 1])) {
		fprintf(stderr, "field_sweep: %s\n", error.text);
		return 2;
	}
	sweep.changes = changes_list(&sweep.build, seed, &sweep.n);
	if (!sweep.changes)
		return 2;
	keep_every(&sweep, step);
	make_shared(&sweep);
	if (only < sweep.n)
		try_all(&sweep, only, only + 1, false);
	for (size_t i = 0; i < sweep.n; i += CHUNK)
		try_chunk(&sweep, i, i + CHUNK < sweep.n ? i + CHUNK : sweep.n);
	judge_all(&sweep);
	recipe_images_close(&sweep.build);
	vec_free(&sweep.build.things);
	free(sweep.changes);
	printf("%llu passed, %llu failed\n", (unsigned long long)sweep.passed,
	       (unsigned long long)sweep.failed);
	return sweep.failed != 0;
}
