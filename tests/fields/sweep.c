/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * field_sweep [--from I] [--step N] [--path TEXT] [--only I] [--seed N] [--jobs N]
 *             [--excused TEXT] --volume NAME TRUTH... BASE_FOLDER WORK_FOLDER
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

#include "base/checked.h"
#include "fields/fields.h"

#if defined(__SANITIZE_ADDRESS__)
#define IS_SANITIZED 1
#else
#define IS_SANITIZED 0
#endif

#define CPU_SECONDS 20u /* a change may take so much, and the machine may be busy */
#define WALL_SECONDS 600u
/* Address space; under a sanitizer, which wants terabytes of that, what is in memory. */
#define MEMORY_BYTES ((IS_SANITIZED ? 1024ull : 512ull) << 20)
#define CHUNK 64u /* changes that one process tries */
#define JOBS_MAX 16u
#define COMPLAINTS 40u
#define NOT_RUN 0xff
#define EXCUSES_MAX 12u

struct sweep {
	struct recipe_build build;
	const char *base_dir;
	struct truth volumes[VOLUMES_MAX];
	size_t n_volumes;
	struct change *changes;
	size_t n;
	/* Shared with the processes that try them. */
	struct shared {
		size_t next;		  /* first change that no job has taken */
		size_t current[JOBS_MAX]; /* what a job is at */
		struct outcome outcomes[];
	} * shared;
	uint32_t job;
	uint64_t passed;
	uint64_t failed;
	const char *show_excuse; /* prints what is excused for a reason with this in it */
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

static int export(struct sweep *sweep, size_t volume)
{
	const char *words[] = {
		"bcache-dump", "export", "-q",	     "-j1",
		"-o",	       "-",	 "--device", sweep->volumes[volume].name,
		NULL,
	};

	sink_compare_with(&sweep->volumes[volume]);
	return call(bcache_dump_main, sweep, words);
}

static void try_change(struct sweep *sweep, size_t index)
{
	static const char *const fsck[] = { "bcache-fsck", "-n", "-q", "-j1", NULL };
	const struct change *change = &sweep->changes[index];
	const uint8_t *bytes = mapped_bytes(sweep->build.image[change->thing->device].file);
	struct outcome *outcome = &sweep->shared->outcomes[index];
	const struct itimerval cpu = { .it_value.tv_sec = CPU_SECONDS };
	uint64_t begin = cpu_microseconds();
	struct rusage usage;

	setitimer(ITIMER_PROF, &cpu, NULL);
	alarm(WALL_SECONDS);
	change_apply(&sweep->build, change);
	sink_touched(bytes + change->at_bytes, change->len_bytes, bytes + change->thing->at_bytes);
	outcome->fsck = (uint8_t)call(bcache_fsck_main, sweep, fsck);
	for (size_t i = 0; i < sweep->n_volumes; i++) {
		outcome->export[i] = (uint8_t) export(sweep, i);
		outcome->is_truth[i] = sink_was_truth();
	}
	change_undo(&sweep->build, change);
	outcome->microseconds = (uint32_t)(cpu_microseconds() - begin);
	getrusage(RUSAGE_SELF, &usage);
	outcome->peak_bytes = (uint64_t)usage.ru_maxrss * 1024;
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
		sweep->shared->current[sweep->job] = i;
		try_change(sweep, i);
	}
	sweep->shared->current[sweep->job] = end;
	exit(0);
}

/* ---- in the jobs, which watch over those ---- */

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
	pid_t pid = fork();

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
		size_t at = sweep->shared->current[sweep->job];

		if (at == end && WIFEXITED(status) && !WEXITSTATUS(status))
			return;
		if (at < end) {
			change_undo(&sweep->build, &sweep->changes[at]);
			sweep->shared->outcomes[at].status = status;
			begin = at + 1;
			continue;
		}
		/* Only what a sanitizer finds at the end: which of them leaked? */
		if (end - begin == 1) {
			sweep->shared->outcomes[begin].has_report = true;
			return;
		}
		try_chunk(sweep, begin, begin + (end - begin) / 2);
		begin += (end - begin) / 2;
	}
}

/* A copy of the set of its own, in a folder of its own, which becomes the working folder. */
static void settle(struct sweep *sweep, uint32_t job)
{
	char dir[16];

	snprintf(dir, sizeof(dir), "%u", job);
	recipe_images_close(&sweep->build);
	sweep->job = job;
	sweep->build.out_dir = dir;
	if (mkdir(dir, 0755) || !recipe_images_copy(&sweep->build, sweep->base_dir) || chdir(dir))
		die(dir);
	/* What a change touches is no hole from now on. */
	for (size_t i = 0; i < sweep->n; i++)
		change_undo(&sweep->build, &sweep->changes[i]);
	for (uint32_t i = 0; i <= RECIPE_BACKING_MAX; i++)
		if (sweep->build.image[i].fd >= 0 && !mapped_add(sweep->build.image[i].file))
			die(sweep->build.image[i].file);
	/* The sink learns where each sector comes from; the processes that follow have that from here. */
	for (size_t i = 0; i < sweep->n_volumes; i++) {
		if (!export(sweep, i) && sink_was_truth())
			continue;
		fprintf(stderr, "field_sweep: %s is not the truth without a change\n",
			sweep->volumes[i].name);
		exit(2);
	}
}

static _Noreturn void work(struct sweep *sweep, uint32_t job)
{
	size_t begin;

	settle(sweep, job);
	for (;;) {
		begin = __atomic_fetch_add(&sweep->shared->next, CHUNK, __ATOMIC_RELAXED);
		if (begin >= sweep->n)
			_exit(sweep->build.has_failed);
		try_chunk(sweep, begin, begin + CHUNK < sweep->n ? begin + CHUNK : sweep->n);
	}
}

static void run_jobs(struct sweep *sweep, uint32_t n_jobs)
{
	pid_t pid[JOBS_MAX];

	fflush(stdout);
	for (uint32_t i = 0; i < n_jobs; i++) {
		pid[i] = fork();
		if (pid[i] < 0)
			die("fork");
		if (!pid[i])
			work(sweep, i);
	}
	for (uint32_t i = 0; i < n_jobs; i++)
		if (wait_for(pid[i]))
			die("a job");
}

/* ---- in the one that judges ---- */

static void print_change(const struct sweep *sweep, size_t index, const char *what)
{
	const struct change *change = &sweep->changes[index];

	printf("%s[%zu] %s: %s, checksum %s: %s\n", sweep->build.recipe->base, index, change->path,
	       change->kind, change->is_mended ? "made right" : "left", what);
}

static void complain(struct sweep *sweep, size_t index, const char *what)
{
	if (++sweep->failed <= COMPLAINTS)
		print_change(sweep, index, what);
}

/* A wrong export under exit code 0: is there an excuse? Each is counted. */
static bool is_excused(struct sweep *sweep, size_t index)
{
	const char *excuse = change_excuse(&sweep->build, &sweep->changes[index]);

	if (!excuse)
		return false;
	if (sweep->show_excuse && strstr(excuse, sweep->show_excuse))
		print_change(sweep, index, excuse);
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

	if (WIFSIGNALED(outcome->status))
		snprintf(buf, 160, "ended by signal %d", WTERMSIG(outcome->status));
	else if (outcome->status)
		snprintf(buf, 160, "ended with exit code %d", WEXITSTATUS(outcome->status));
	else if (outcome->fsck == NOT_RUN)
		snprintf(buf, 160, "was not tried");
	else if (outcome->peak_bytes > MEMORY_BYTES)
		snprintf(buf, 160, "took %llu MiB of memory",
			 (unsigned long long)outcome->peak_bytes >> 20);
	else
		buf[0] = '\0';
	if (buf[0])
		return buf;
	if (outcome->has_report)
		return "a sanitizer reported at the end";
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
	uint64_t most = 0, sum = 0, peak_bytes = 0;
	char buf[160];

	for (size_t i = 0; i < sweep->n; i++) {
		const struct outcome *outcome = &sweep->shared->outcomes[i];
		const char *wrong = judge(sweep, i, buf);

		if (wrong)
			complain(sweep, i, wrong);
		else
			sweep->passed++;
		sum += outcome->microseconds;
		most = max_u64(most, outcome->microseconds);
		peak_bytes = max_u64(peak_bytes, outcome->peak_bytes);
	}
	printf("%s: %llu changes, %.1f s of processor time, the longest %.3f s, %llu MiB at most\n",
	       sweep->build.recipe->base, (unsigned long long)(sweep->passed + sweep->failed),
	       (double)sum / 1e6, (double)most / 1e6, (unsigned long long)peak_bytes >> 20);
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
	*truth = (struct truth){ .name = name, .bytes = map, .len_bytes = (uint64_t)st.st_size };
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

struct settings {
	uint64_t from;	  /* index of the first change */
	uint64_t step;	  /* a sample: every so manieth change */
	const char *path; /* those of fields with this in their path; NULL: all */
	uint64_t only;	  /* index of the one change to try, of those, in this process */
	uint64_t seed;
	uint32_t jobs;
};

/* A sample: every so manieth from one on, and of these those of some fields, moved to the front. */
static void keep_sample(struct sweep *sweep, const struct settings *settings)
{
	size_t n = 0;

	for (size_t i = settings->from; i < sweep->n; i += settings->step)
		if (!settings->path || strstr(sweep->changes[i].path, settings->path))
			sweep->changes[n++] = sweep->changes[i];
	sweep->n = n;
}

static bool read_options(struct sweep *sweep, int argc, char **argv, struct settings *settings)
{
	int at = 1;

	for (; at + 1 < argc && !strncmp(argv[at], "--", 2); at += 2) {
		if (!strcmp(argv[at], "--step"))
			settings->step = strtoull(argv[at + 1], NULL, 10);
		else if (!strcmp(argv[at], "--from"))
			settings->from = strtoull(argv[at + 1], NULL, 10);
		else if (!strcmp(argv[at], "--path"))
			settings->path = argv[at + 1];
		else if (!strcmp(argv[at], "--only"))
			settings->only = strtoull(argv[at + 1], NULL, 10);
		else if (!strcmp(argv[at], "--seed"))
			settings->seed = strtoull(argv[at + 1], NULL, 10);
		else if (!strcmp(argv[at], "--jobs"))
			settings->jobs = (uint32_t)strtoul(argv[at + 1], NULL, 10);
		else if (!strcmp(argv[at], "--excused"))
			sweep->show_excuse = argv[at + 1];
		else if (!strcmp(argv[at], "--volume") && at + 2 < argc &&
			 sweep->n_volumes < VOLUMES_MAX)
			load_truth(&sweep->volumes[sweep->n_volumes++], argv[at + 1], argv[at + 2]),
				at++;
		else
			break;
	}
	if (argc - at != 2 || !settings->step || !settings->jobs || settings->jobs > JOBS_MAX ||
	    !sweep->n_volumes)
		return false;
	sweep->base_dir = realpath(argv[at], NULL);
	if (!sweep->base_dir)
		die(argv[at]);
	if (chdir(argv[at + 1]))
		die(argv[at + 1]);
	return true;
}

int main(int argc, char **argv)
{
	struct recipe_error error = { { 0 } };
	struct recipe recipe = { 0 };
	struct sweep sweep = {
		.build = { .recipe = &recipe, .error = &error, .out_dir = "." },
	};
	struct settings settings = { .step = 1, .only = UINT64_MAX, .seed = 1, .jobs = 1 };

	if (!read_options(&sweep, argc, argv, &settings)) {
		fprintf(stderr,
			"usage: field_sweep [--from I] [--step N] [--path TEXT] [--only I] "
			"[--seed N] [--jobs N] [--excused TEXT] --volume NAME TRUTH... "
			"BASE_FOLDER WORK_FOLDER\n");
		return 2;
	}
	snprintf(recipe.base, sizeof(recipe.base), "%s", strrchr(sweep.base_dir, '/') + 1);
	if (!recipe_images_copy(&sweep.build, sweep.base_dir) || !recipe_index_base(&sweep.build)) {
		fprintf(stderr, "field_sweep: %s\n", error.text);
		return 2;
	}
	sweep.changes = changes_list(&sweep.build, settings.seed, &sweep.n);
	if (!sweep.changes)
		return 2;
	keep_sample(&sweep, &settings);
	make_shared(&sweep);
	if (settings.only < sweep.n) {
		settle(&sweep, 0);
		try_all(&sweep, settings.only, settings.only + 1, false);
	}
	run_jobs(&sweep, settings.jobs);
	judge_all(&sweep);
	recipe_images_close(&sweep.build);
	vec_free(&sweep.build.things);
	free(sweep.changes);
	free((void *)(uintptr_t)sweep.base_dir);
	printf("%llu passed, %llu failed\n", (unsigned long long)sweep.passed,
	       (unsigned long long)sweep.failed);
	return sweep.failed != 0;
}
