/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Runs a program with a fault and keeps what it leaves. */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <bcfmt/crc64.h>

#include "faults/sweep.h"

#define SHARED_FILE "shared"
#define CPU_SECONDS 20u /* a run may take so much, and the machine may be busy */
#define WALL_SECONDS 600u
#define NAMES_MAX 64u

static void die(const char *what)
{
	perror(what);
	exit(2);
}

/* All of a file, terminated. */
char *sweep_load(const char *path, size_t *len_bytes)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	struct stat st;
	char *bytes;
	size_t at = 0;

	*len_bytes = 0;
	if (fd < 0)
		return NULL;
	if (fstat(fd, &st))
		die(path);
	bytes = malloc((size_t)st.st_size + 1);
	if (!bytes)
		die(path);
	while (at < (size_t)st.st_size) {
		ssize_t got = read(fd, bytes + at, (size_t)st.st_size - at);

		if (got <= 0)
			die(path);
		at += (size_t)got;
	}
	close(fd);
	bytes[at] = '\0';
	*len_bytes = at;
	return bytes;
}

void sweep_store(const char *path, const void *bytes, size_t len_bytes)
{
	int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);

	if (fd < 0 || write(fd, bytes, len_bytes) != (ssize_t)len_bytes || close(fd))
		die(path);
}

void fresh_load(struct fresh *fresh, const char *path)
{
	fresh->path = path;
	fresh->bytes = sweep_load(path, &fresh->len_bytes);
	if (!fresh->bytes)
		die(path);
}

/* What the program made of the files; changes where any byte or length does. */
uint64_t sweep_fresh_sum(const struct options *options)
{
	uint64_t sum = 0;

	for (size_t i = 0; i < options->n_fresh; i++) {
		size_t len_bytes;
		char *bytes = sweep_load(options->fresh[i].path, &len_bytes);

		sum = bcfmt_crc64_seeded(sum ^ len_bytes, bytes ? bytes : "", len_bytes);
		free(bytes);
	}
	return sum;
}

/* All that comes from a pipe, terminated. */
static char *drain(int fd)
{
	size_t cap = 4096, at = 0;
	char *text = malloc(cap + 1);
	ssize_t got = 1;

	while (text && got > 0) {
		if (at == cap)
			text = realloc(text, (cap *= 2) + 1);
		got = text ? read(fd, text + at, cap - at) : -1;
		at += got > 0 ? (size_t)got : 0;
	}
	if (!text || got < 0)
		die("stderr");
	text[at] = '\0';
	return text;
}

static int by_name(const void *a, const void *b)
{
	return strcmp(*(char *const *)a, *(char *const *)b);
}

/* "NAME SUM " of each file in the folder of the output but the output and the undo file. */
static char *list_folder(const struct options *options)
{
	DIR *dir = opendir("out");
	char path[512], *names[NAMES_MAX], *list = NULL;
	size_t n = 0, len_bytes;
	struct dirent *entry;
	FILE *to = open_memstream(&list, &len_bytes);

	if (!dir || !to)
		die("out");
	while ((entry = readdir(dir))) {
		snprintf(path, sizeof(path), "out/%s", entry->d_name);
		if (entry->d_name[0] == '.' || n == NAMES_MAX ||
		    (options->output && !strcmp(path, options->output)) ||
		    (options->undo && !strcmp(path, options->undo)))
			continue;
		names[n] = strdup(path);
		if (!names[n++])
			die(path);
	}
	closedir(dir);
	qsort(names, n, sizeof(*names), by_name);
	for (size_t i = 0; i < n; i++) {
		size_t bytes;
		char *file = sweep_load(names[i], &bytes);

		fprintf(to, "%s %016llx ", names[i],
			(unsigned long long)bcfmt_crc64_seeded(bytes, file ? file : "", bytes));
		free(file);
		free(names[i]);
	}
	if (fclose(to))
		die("out");
	return list;
}

void sweep_empty_folder(void)
{
	DIR *dir = opendir("out");
	struct dirent *entry;
	char path[512];

	if (!dir)
		die("out");
	while ((entry = readdir(dir))) {
		snprintf(path, sizeof(path), "out/%s", entry->d_name);
		if (strcmp(entry->d_name, ".") && strcmp(entry->d_name, "..") && unlink(path))
			die(path);
	}
	closedir(dir);
}

/* In a new process: its files and its limits. */
static void be_child(int out)
{
	struct rlimit core = { 0, 0 }, cpu = { CPU_SECONDS, CPU_SECONDS };
	int in = open("/dev/null", O_RDONLY);

	if (in < 0 || out < 0 || dup2(in, 0) < 0 || dup2(out, 1) < 0)
		_exit(126);
	setrlimit(RLIMIT_CORE, &core);
	setrlimit(RLIMIT_CPU, &cpu);
	alarm(WALL_SECONDS);
}

static _Noreturn void run_child(const struct options *options, uint64_t out_limit, int err)
{
	struct rlimit size = { out_limit, out_limit };
	const char *asan = getenv("ASAN_OPTIONS");
	char text[512];

	be_child(open("stdout", O_WRONLY | O_CREAT | O_TRUNC, 0644));
	if (dup2(err, 2) < 0)
		_exit(126);
	signal(SIGXFSZ, SIG_IGN);
	if (out_limit && setrlimit(RLIMIT_FSIZE, &size))
		_exit(126);
	snprintf(text, sizeof(text), "%s%sverify_asan_link_order=0:allocator_may_return_null=1",
		 asan ? asan : "", asan ? ":" : "");
	setenv("ASAN_OPTIONS", text, 1);
	setenv("LD_PRELOAD", options->library, 1);
	setenv("FAULTS_SHARED", SHARED_FILE, 1);
	execv(options->argv[0], options->argv);
	_exit(126);
}

static int wait_for(pid_t pid)
{
	int status;

	while (waitpid(pid, &status, 0) < 0)
		if (errno != EINTR)
			die("waitpid");
	return status;
}

int sweep_run_plain(char *const *argv, char **out, size_t *out_bytes)
{
	pid_t pid = fork();
	int status, null;

	if (pid < 0)
		die("fork");
	if (!pid) {
		be_child(open("plain", O_WRONLY | O_CREAT | O_TRUNC, 0644));
		null = open("/dev/null", O_WRONLY);
		if (null < 0 || dup2(null, 2) < 0)
			_exit(126);
		execv(argv[0], argv);
		_exit(126);
	}
	status = wait_for(pid);
	*out = sweep_load("plain", out_bytes);
	if (!*out)
		die("plain");
	return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

void sweep_run(const struct options *options, const struct faults_shared *fault, uint64_t out_limit,
	       const char *old_output, struct result *result)
{
	size_t len_bytes;
	pid_t pid, visitor = 0;
	int status, err[2];
	char *shared;

	memset(result, 0, sizeof(*result));
	sweep_store(SHARED_FILE, fault, sizeof(*fault));
	sweep_empty_folder();
	for (size_t i = 0; i < options->n_fresh; i++)
		sweep_store(options->fresh[i].path, options->fresh[i].bytes,
			    options->fresh[i].len_bytes);
	if (options->output && old_output)
		sweep_store(options->output, old_output, strlen(old_output));
	if (options->mount)
		visitor = visit_begin(options->mount);
	if (visitor < 0 || pipe2(err, O_CLOEXEC))
		die("pipe");
	pid = fork();
	if (pid < 0)
		die("fork");
	if (!pid)
		run_child(options, out_limit, err[1]);
	close(err[1]);
	result->err = drain(err[0]);
	close(err[0]);
	status = wait_for(pid);
	if (visitor)
		result->seen = visit_end(visitor, options->mount, &result->is_left);
	result->code = WIFEXITED(status) ? WEXITSTATUS(status) : -1;
	result->signal = WIFSIGNALED(status) ? WTERMSIG(status) : 0;
	result->out = sweep_load("stdout", &result->out_bytes);
	if (options->output)
		result->file = sweep_load(options->output, &result->file_bytes);
	result->fresh_sum = sweep_fresh_sum(options);
	result->others = list_folder(options);
	shared = sweep_load(SHARED_FILE, &len_bytes);
	if (!result->out || !shared || len_bytes != sizeof(result->faults))
		die("what a run leaves");
	memcpy(&result->faults, shared, sizeof(result->faults));
	free(shared);
}

void result_clear(struct result *result)
{
	free(result->out);
	free(result->err);
	free(result->file);
	free(result->others);
	free(result->seen);
}

static bool is_same_bytes(const char *a, size_t a_bytes, const char *b, size_t b_bytes)
{
	return a_bytes == b_bytes && !a == !b && (!a || !memcmp(a, b, a_bytes));
}

bool result_is_same(const struct result *a, const struct result *b)
{
	return a->code == b->code && a->fresh_sum == b->fresh_sum &&
	       is_same_bytes(a->out, a->out_bytes, b->out, b->out_bytes) &&
	       !strcmp(a->err, b->err) &&
	       is_same_bytes(a->file, a->file_bytes, b->file, b->file_bytes) &&
	       !strcmp(a->others, b->others) && a->is_left == b->is_left &&
	       !strcmp(a->seen ? a->seen : "", b->seen ? b->seen : "");
}
