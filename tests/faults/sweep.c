/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * sweep [--step N] [--output out/FILE] [--undo out/FILE] [--fresh FILE]...
 *       [--after COMMAND]... [--resume COMMAND] [--mount FOLDER] LIBRARY PROGRAM ARGUMENT...
 *
 * Runs the program in the working folder without a fault, and then again and again: each of its
 * allocations, threads, opened files, reads, writes and flushes fails once, or from then on;
 * reads and writes move less than asked for; signals come; files may not grow beyond a size. It
 * has to do what it would have done, or to say what failed, with the code for it, and to leave no
 * half-written file under a final name. Every call is tried; with --step every Nth of the first 200,
 * and fewer behind. Files that it writes to in place are put back before each run.
 *
 * With --after the program is run again after each run that did not come to its end, without a
 * fault; then the commands have to say what they say when nothing failed. What --undo names must put
 * the files back. --resume is run instead where files are left that are not what they will be. What is
 * mounted on the folder of --mount is read and unmounted by another process (visit.c).
 *
 * Prints what went wrong, and "N passed, N failed".
 */
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "faults/sweep.h"

#define EVEN_UP_TO 200u
#define COMPLAINTS 20u
#define OLD_OUTPUT "what was there before\n"
#define STDOUT_STEP 4096u

static const struct program programs[] = {
	{ .name = "bcache-fsck", .failed = 8, .is_bits = true, .read_failed = 4, .cancelled = 32 },
	{ .name = "bcache-dump", .failed = 8, .read_failed = 1, .cancelled = 8 },
	{ .name = "make-bcache", .failed = 1, .cancelled = 1 },
};

struct kind {
	const char *name;
	enum faults_call call;
	enum faults_action action;
	int error;
};

static const struct kind kinds[] = {
	{ "allocation fails", FAULTS_ALLOC, FAULTS_FAIL, ENOMEM },
	{ "allocations fail from", FAULTS_ALLOC, FAULTS_FAIL_ON, ENOMEM },
	{ "thread fails", FAULTS_THREAD, FAULTS_FAIL, EAGAIN },
	{ "open fails", FAULTS_OPEN, FAULTS_FAIL, EMFILE },
	{ "read fails", FAULTS_READ, FAULTS_FAIL, EIO },
	{ "reads fail from", FAULTS_READ, FAULTS_FAIL_ON, EIO },
	{ "short read", FAULTS_READ, FAULTS_SHORT, 0 },
	{ "interrupted read", FAULTS_READ, FAULTS_FAIL, EINTR },
	{ "write fails", FAULTS_WRITE, FAULTS_FAIL, EIO },
	{ "no space from write", FAULTS_WRITE, FAULTS_FAIL_ON, ENOSPC },
	{ "short write", FAULTS_WRITE, FAULTS_SHORT, 0 },
	{ "interrupted write", FAULTS_WRITE, FAULTS_FAIL, EINTR },
	{ "flush fails", FAULTS_SYNC, FAULTS_FAIL, EIO },
	{ "name or size fails", FAULTS_NAME, FAULTS_FAIL, ENOSPC },
	{ "SIGINT at read", FAULTS_READ, FAULTS_SIGNAL, SIGINT },
	{ "SIGTERM at write", FAULTS_WRITE, FAULTS_SIGNAL, SIGTERM },
	{ "SIGTERM at allocation", FAULTS_ALLOC, FAULTS_SIGNAL, SIGTERM },
	{ "SIGINT at flush", FAULTS_SYNC, FAULTS_SIGNAL, SIGINT },
};

struct sweep {
	struct options options;
	struct result whole;	 /* nothing there before */
	struct result whole_old; /* an output is replaced */
	uint64_t passed;
	uint64_t failed;
};

static void complain(struct sweep *sweep, const char *what, uint64_t number, const char *wrong,
		     const struct result *result)
{
	if (++sweep->failed > COMPLAINTS)
		return;
	for (char **arg = sweep->options.argv; *arg; arg++)
		printf("%s ", arg == sweep->options.argv ? sweep->options.program->name : *arg);
	printf(": %s %llu: %s\n", what, (unsigned long long)number, wrong);
	printf("%.3000s", result->err);
	if (*result->err && result->err[strlen(result->err) - 1] != '\n')
		putchar('\n');
}

/* One run. False when the fault did not come any more. */
static bool try(struct sweep *sweep, const struct kind *kind, uint64_t number, bool has_old)
{
	struct faults_shared fault = {
		.call = kind->call,
		.action = kind->action,
		.number = number,
		.error = (uint32_t)kind->error,
	};
	const char *old_output = has_old ? OLD_OUTPUT : NULL, *wrong;
	const struct result *whole;
	struct result result;
	char buf[256];
	bool was_there;

	sweep_run(&sweep->options, &fault, 0, old_output, &result);
	whole = has_old ? &sweep->whole_old : &sweep->whole;
	wrong = sweep_judge(&sweep->options, whole, &result, old_output, buf);
	if (!wrong && !result_is_same(whole, &result))
		wrong = follow_check(&sweep->options, whole, &result, buf);
	was_there = result.faults.n_done;
	if (wrong)
		complain(sweep, kind->name, number, wrong, &result);
	else
		sweep->passed++;
	result_clear(&result);
	return was_there;
}

static uint64_t next_number(const struct sweep *sweep, uint64_t number)
{
	uint64_t step = sweep->options.step;

	return number + (step > 1 && number >= EVEN_UP_TO ? number / 16 * step : step);
}

/* Every number until the fault comes no more, which is how the work ends undisturbed. */
static void sweep_kind(struct sweep *sweep, const struct kind *kind)
{
	uint64_t number = 1;

	while (try(sweep, kind, number, sweep->options.output && number % 2))
		number = next_number(sweep, number);
}

/* A file may have fewer bytes than are to be printed. */
static void sweep_stdout(struct sweep *sweep)
{
	struct faults_shared none = { 0 };
	char buf[256];

	for (uint64_t limit = 1; limit < sweep->whole.out_bytes; limit += STDOUT_STEP) {
		struct result result;
		const char *wrong;

		sweep_run(&sweep->options, &none, limit, NULL, &result);
		wrong = sweep_judge(&sweep->options, &sweep->whole, &result, NULL, buf);
		if (!wrong && result_is_same(&sweep->whole, &result))
			wrong = "it did not notice";
		if (!wrong)
			wrong = follow_check(&sweep->options, &sweep->whole, &result, buf);
		if (wrong)
			complain(sweep, "files end at byte", limit, wrong, &result);
		else
			sweep->passed++;
		result_clear(&result);
	}
}

static bool read_options(struct sweep *sweep, int argc, char **argv)
{
	struct options *options = &sweep->options;
	const char *name;
	int at = 1;

	options->step = 1;
	for (; at < argc && argv[at][0] == '-'; at++) {
		if (!strcmp(argv[at], "--step") && at + 1 < argc)
			options->step = strtoull(argv[++at], NULL, 10);
		else if (!strcmp(argv[at], "--output") && at + 1 < argc)
			options->output = argv[++at];
		else if (!strcmp(argv[at], "--fresh") && at + 1 < argc &&
			 options->n_fresh < FRESH_MAX)
			fresh_load(&options->fresh[options->n_fresh++], argv[++at]);
		else if (!strcmp(argv[at], "--mount") && at + 1 < argc)
			options->mount = argv[++at];
		else if (!strcmp(argv[at], "--undo") && at + 1 < argc)
			options->undo = argv[++at];
		else if (!strcmp(argv[at], "--after") && at + 1 < argc &&
			 options->n_after < AFTER_MAX) {
			if (!follow_split(&options->after[options->n_after++], argv[++at]))
				return false;
		} else if (!strcmp(argv[at], "--resume") && at + 1 < argc) {
			if (!follow_split(&options->resume, argv[++at]))
				return false;
		} else
			return false;
	}
	if (argc - at < 2 || !options->step)
		return false;
	options->library = argv[at++];
	options->argv = argv + at;
	name = strrchr(argv[at], '/');
	name = name ? name + 1 : argv[at];
	for (size_t i = 0; i < sizeof(programs) / sizeof(programs[0]); i++)
		if (!strcmp(name, programs[i].name))
			options->program = &programs[i];
	for (char **arg = options->argv; *arg; arg++)
		options->is_json |= !strcmp(*arg, "--json");
	return options->program != NULL;
}

int main(int argc, char **argv)
{
	struct faults_shared none = { 0 };
	struct sweep sweep = { 0 };
	const char *wrong;
	struct result again;

	if (!read_options(&sweep, argc, argv)) {
		fprintf(stderr, "usage: sweep [--step N] [--output out/FILE] "
				"[--undo out/FILE] [--fresh FILE]... [--after COMMAND]... "
				"[--resume COMMAND] [--mount FOLDER] "
				"LIBRARY PROGRAM ARGUMENT...\n");
		return 2;
	}
	mkdir("out", 0755);
	sweep.options.fresh_sum = sweep_fresh_sum(&sweep.options);
	sweep_run(&sweep.options, &none, 0, NULL, &sweep.whole);
	sweep_run(&sweep.options, &none, 0, OLD_OUTPUT, &sweep.whole_old);
	sweep_run(&sweep.options, &none, 0, NULL, &again);
	/* Else nothing that differs would mean anything. */
	if (!result_is_same(&sweep.whole, &again) || sweep.whole.code < 0 ||
	    !sweep.whole.faults.count[FAULTS_ALLOC])
		complain(&sweep, "run without a fault", 0, "it cannot be repeated", &again);
	if (sweep.options.mount && !*sweep.whole.seen)
		complain(&sweep, "run without a fault", 0, "nothing could be read there", &again);
	result_clear(&again);
	wrong = follow_learn(&sweep.options);
	if (wrong)
		complain(&sweep, "run without a fault", 0, wrong, &sweep.whole);
	for (size_t i = 0; i < sizeof(kinds) / sizeof(kinds[0]); i++)
		sweep_kind(&sweep, &kinds[i]);
	if (!sweep.failed)
		sweep_stdout(&sweep);
	result_clear(&sweep.whole);
	result_clear(&sweep.whole_old);
	for (size_t i = 0; i < sweep.options.n_fresh; i++)
		free(sweep.options.fresh[i].bytes);
	for (size_t i = 0; i < sweep.options.n_after; i++) {
		free(sweep.options.after[i].argv[0]);
		free(sweep.options.after[i].out);
	}
	free(sweep.options.resume.argv[0]);
	printf("%llu passed, %llu failed\n", (unsigned long long)sweep.passed,
	       (unsigned long long)sweep.failed);
	return sweep.failed != 0;
}
