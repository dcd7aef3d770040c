/* SPDX-License-Identifier: GPL-2.0-or-later */
/* A reader of what a program mounts: waits for it, reads all files there once, and unmounts. */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <bcfmt/crc64.h>

#include "faults/sweep.h"

#define SEEN_FILE "seen"
#define POLL_MICROSECONDS 1000u
#define POLLS_OF_DEAD 100u
#define PIECE_BYTES (1u << 20)

enum mounted {
	NOT_MOUNTED,
	MOUNTED,
	MOUNTED_DEAD, /* of a server that died nothing can be asked */
};

static enum mounted look(const char *folder)
{
	struct stat in, out;

	if (stat(".", &out))
		return NOT_MOUNTED;
	if (stat(folder, &in))
		return errno != ENOENT ? MOUNTED_DEAD : NOT_MOUNTED;
	return in.st_dev != out.st_dev ? MOUNTED : NOT_MOUNTED;
}

/* A server that dies while it mounts unmounts by itself, and would tell of our being faster. */
static void wait_for_mount(const char *folder)
{
	enum mounted mounted;
	unsigned int n_dead = 0;

	while ((mounted = look(folder)) != MOUNTED) {
		n_dead = mounted == MOUNTED_DEAD ? n_dead + 1 : 0;
		if (n_dead == POLLS_OF_DEAD)
			return;
		usleep(POLL_MICROSECONDS);
	}
}

/* False when not all of the file could be read. */
static bool sum_file(const char *path, uint64_t *sum)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	uint8_t *buf = malloc(PIECE_BYTES);
	ssize_t got = -1;

	*sum = 0;
	if (fd >= 0 && buf)
		while ((got = read(fd, buf, PIECE_BYTES)) > 0)
			*sum = bcfmt_crc64_seeded(*sum ^ (uint64_t)got, buf, (size_t)got);
	free(buf);
	if (fd >= 0)
		close(fd);
	return !got;
}

/* "NAME SUM " of each file that can be read, in the order of the folder. */
static void read_all(const char *folder, FILE *to)
{
	DIR *dir = opendir(folder);
	struct dirent *entry;
	char path[512];
	uint64_t sum;

	while (dir && (entry = readdir(dir))) {
		snprintf(path, sizeof(path), "%s/%s", folder, entry->d_name);
		if (entry->d_name[0] != '.' && sum_file(path, &sum))
			fprintf(to, "%s %016llx ", entry->d_name, (unsigned long long)sum);
	}
	if (dir)
		closedir(dir);
}

pid_t visit_begin(const char *folder)
{
	pid_t pid;
	FILE *seen;

	unlink(SEEN_FILE);
	mkdir(folder, 0755);
	pid = fork();
	if (pid)
		return pid;
	wait_for_mount(folder);
	seen = fopen(SEEN_FILE, "we");
	if (!seen)
		_exit(1);
	read_all(folder, seen);
	fclose(seen);
	execlp("fusermount3", "fusermount3", "-u", "-q", folder, (char *)NULL);
	_exit(127);
}

char *visit_end(pid_t pid, const char *folder, bool *is_left)
{
	size_t len_bytes;
	char *seen;

	kill(pid, SIGKILL);
	while (waitpid(pid, NULL, 0) < 0 && errno == EINTR)
		continue;
	*is_left = look(folder) != NOT_MOUNTED;
	if (*is_left)
		umount2(folder, MNT_DETACH);
	seen = sweep_load(SEEN_FILE, &len_bytes);
	return seen ? seen : strdup("");
}
