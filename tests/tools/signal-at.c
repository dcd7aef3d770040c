/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * signal-at SIGNAL WRITE COUNT LIBRARY PROGRAM ARGUMENT...
 *
 * Runs the program with the library tests/faults/preload.c, so that the signal comes before the
 * write of that number, or never with 0. Its number of writes goes to the file COUNT. The exit
 * code is the program's, as a shell tells it: 128 and the signal when one ended it.
 */
#include <err.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include "faults/faults.h"

#define CANNOT 125 /* no code of the programs */

/* In the file of that name; what is in it stays there when the program is killed. */
static struct faults_shared *map_shared(const char *name)
{
	int fd = open(name, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
	struct faults_shared *shared;

	if (fd < 0 || ftruncate(fd, sizeof(*shared)))
		err(CANNOT, "%s", name);
	shared = mmap(NULL, sizeof(*shared), PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	if (shared == MAP_FAILED)
		err(CANNOT, "%s", name);
	close(fd);
	return shared;
}

/* Only for the program: what is preloaded here would count, too. */
static void run(const char *library, const char *shared, char **argv)
{
	if (setenv("LD_PRELOAD", library, 1) || setenv("FAULTS_SHARED", shared, 1))
		err(CANNOT, "setenv");
	execv(*argv, argv);
	err(CANNOT, "%s", *argv);
}

int main(int argc, char **argv)
{
	struct faults_shared *shared;
	uint64_t n_writes;
	FILE *count;
	int status;
	pid_t pid;

	if (argc < 6)
		errx(CANNOT, "usage: signal-at SIGNAL WRITE COUNT LIBRARY PROGRAM ARGUMENT...");
	shared = map_shared(argv[3]);
	shared->call = FAULTS_WRITE;
	shared->action = FAULTS_SIGNAL;
	shared->error = (uint32_t)strtoul(argv[1], NULL, 10);
	shared->number = strtoull(argv[2], NULL, 10);
	pid = fork();
	if (pid < 0)
		err(CANNOT, "fork");
	if (!pid)
		run(argv[4], argv[3], argv + 5);
	if (waitpid(pid, &status, 0) != pid)
		err(CANNOT, "waitpid");
	n_writes = shared->count[FAULTS_WRITE]; /* the file is about to shrink */
	count = fopen(argv[3], "w");
	if (!count || fprintf(count, "%" PRIu64 "\n", n_writes) < 0 || fclose(count))
		err(CANNOT, "%s", argv[3]);
	return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}
