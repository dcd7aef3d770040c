/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Runs a program with bounds of time and memory. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <unistd.h>

#include "damage/damage.h"

#if defined(__SANITIZE_ADDRESS__)
#define IS_SANITIZED 1
#else
#define IS_SANITIZED 0
#endif

#define CPU_SECONDS 20u
#define WALL_SECONDS 300u
#define MEMORY_BYTES (512ull << 20)

static void limit(int what, uint64_t value)
{
	struct rlimit limit = { value, value };

	setrlimit(what, &limit);
}

static _Noreturn void call(int (*program)(int, char **), const char *const *argv,
			   const struct recipe_build *build, bool has_roles, const char *out,
			   const char *err)
{
	static char roles[][10] = { "--cache", "--backing" };
	char *words[24 + 2 * (1 + RECIPE_BACKING_MAX)];
	int n = 0;

	if (!freopen(out, "w", stdout) || !freopen(err, "w", stderr))
		_exit(126);
	limit(RLIMIT_CORE, 0);
	limit(RLIMIT_CPU, CPU_SECONDS);
	if (!IS_SANITIZED)
		limit(RLIMIT_AS, MEMORY_BYTES);
	alarm(WALL_SECONDS);
	for (; argv[n] && n < 23; n++)
		words[n] = (char *)(uintptr_t)argv[n];
	for (uint32_t i = 0; i <= RECIPE_BACKING_MAX; i++) {
		if (build->image[i].fd < 0)
			continue;
		if (has_roles)
			words[n++] = roles[i != RECIPE_CACHE];
		words[n++] = (char *)(uintptr_t)build->image[i].file;
	}
	words[n] = NULL;
	exit(program(n, words));
}

struct ran run_program(int (*program)(int, char **), const char *const *argv,
		       const struct recipe_build *build, bool has_roles, const char *out,
		       const char *err)
{
	struct ran ran = { .status = -1 };
	struct rusage usage = { 0 };
	int status = 0;
	pid_t pid;

	fflush(stdout);
	pid = fork();
	if (!pid)
		call(program, argv, build, has_roles, out, err);
	while (pid > 0 && wait4(pid, &status, 0, &usage) < 0)
		if (errno != EINTR)
			break;
	if (pid > 0 && WIFEXITED(status))
		ran.status = WEXITSTATUS(status);
	else if (pid > 0 && WIFSIGNALED(status))
		ran.signal = WTERMSIG(status);
	ran.microseconds = (uint64_t)(usage.ru_utime.tv_sec + usage.ru_stime.tv_sec) * 1000000 +
			   (uint64_t)(usage.ru_utime.tv_usec + usage.ru_stime.tv_usec);
	ran.peak_bytes = (uint64_t)usage.ru_maxrss * 1024;
	return ran;
}
