/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Runs another program over a volume and hands on the lines that it prints. */
#include "child.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "copy.h"

#define MORE_FOLDERS ":/usr/local/sbin:/usr/sbin:/sbin"

/* ---- the program ---- */

/* The path of a program, to be freed; NULL when it is nowhere. */
static char *find_program(const char *name)
{
	const char *path = getenv("PATH");
	char *folders, *path_of = NULL;

	if (asprintf(&folders, "%s%s", path ? path : "", MORE_FOLDERS) < 0)
		return NULL;
	for (char *at = folders, *next; at && !path_of; at = next) {
		next = strchr(at, ':');
		if (next)
			*next++ = '\0';
		if (!*at || asprintf(&path_of, "%s/%s", at, name) < 0) {
			path_of = NULL;
			continue;
		}
		if (access(path_of, X_OK)) {
			free(path_of);
			path_of = NULL;
		}
	}
	free(folders);
	return path_of;
}

/* In the child: never returns. */
static _Noreturn void become(const struct child *child, const char *path, int out, int complaints)
{
	const char *args[32] = { child->program };
	size_t n = 1;

	while (child->args[n - 1] && n + 1 < sizeof(args) / sizeof(args[0])) {
		args[n] = child->args[n - 1];
		n++;
	}
	if (dup2(out, STDOUT_FILENO) < 0 || dup2(complaints, STDERR_FILENO) < 0)
		_exit(127);
	if (child->input && dup2(fileno(child->input), STDIN_FILENO) < 0)
		_exit(127);
	signal(SIGPIPE, SIG_DFL);
	setenv("LC_ALL", "C", 1);
	/* It keeps its words: the strings are not changed. */
	execv(path, (char *const *)(uintptr_t)args);
	_exit(127);
}

/* All lines, unless the caller has seen enough or somebody cancels. */
static void read_lines(const struct child *child, FILE *from)
{
	size_t room = 0;
	ssize_t len;
	char *line = NULL;

	while ((len = getline(&line, &room, from)) >= 0) {
		if (len && line[len - 1] == '\n')
			line[len - 1] = '\0';
		if (bcfmt_ctx_is_cancelled(child->files->d->ctx) || !child->line(child->arg, line))
			break;
	}
	free(line);
}

static void tell_failure(const struct child *child, FILE *complaints, int status)
{
	char line[256] = "";

	rewind(complaints);
	if (!fgets(line, sizeof(line), complaints) || *line == '\n')
		snprintf(line, sizeof(line), "%s %d",
			 WIFSIGNALED(status) ? "ended by signal" : "exit code",
			 WIFSIGNALED(status) ? WTERMSIG(status) : WEXITSTATUS(status));
	line[strcspn(line, "\n")] = '\0';
	files_tell_partial(child->files, child->program, line);
}

static int run(const struct child *child, const char *path, FILE *complaints)
{
	int ends[2], status = 0;
	FILE *from;
	pid_t pid;

	if (pipe2(ends, O_CLOEXEC)) {
		cli_error(NULL, "cannot start %s: %s", child->program, strerror(errno));
		return DUMP_FAILED;
	}
	/* What is buffered must not be written twice. */
	fflush(NULL);
	pid = fork();
	if (!pid)
		become(child, path, ends[1], fileno(complaints));
	close(ends[1]);
	from = pid < 0 ? NULL : fdopen(ends[0], "r");
	if (!from)
		cli_error(NULL, "cannot start %s: %s", child->program, strerror(errno));
	else
		read_lines(child, from);
	if (from)
		fclose(from);
	else
		close(ends[0]);
	if (pid < 0)
		return DUMP_FAILED;
	if (bcfmt_ctx_is_cancelled(child->files->d->ctx))
		kill(pid, SIGTERM);
	while (waitpid(pid, &status, 0) < 0 && errno == EINTR)
		;
	if (bcfmt_ctx_is_cancelled(child->files->d->ctx))
		return dump_failed(child->files->d, BCFMT_E_CANCELLED);
	if (!from)
		return DUMP_FAILED;
	if (status)
		tell_failure(child, complaints, status);
	return DUMP_DONE;
}

int child_run(const struct child *child)
{
	char *path = find_program(child->program);
	FILE *complaints = tmpfile();
	int code = DUMP_FAILED;

	if (!path)
		cli_error(NULL, "%s is not installed: it is in the package %s", child->program,
			  child->package);
	else if (!complaints)
		cli_error(NULL, "no temporary file: %s", strerror(errno));
	else
		code = run(child, path, complaints);
	if (complaints)
		fclose(complaints);
	free(path);
	return code;
}

/* ---- the volume as a file ---- */

static bcfmt_err write_volume(struct files *files, const char *path)
{
	struct dump *d = files->d;
	struct lost lost = lost_init(d);
	struct copy copy = { .ctx = d->ctx, .volume = files->volume, .lost = &lost };
	bcfmt_err err;

	/* The ranges that are asked for are those of the mapfile. */
	lost.is_silent = true;
	err = sink_open(d->ctx, path, files->bytes, d->devices.devs, d->devices.n, &copy.sink);
	if (!err)
		err = copy_volume(&copy);
	if (!err)
		err = sink_commit(copy.sink);
	sink_free(copy.sink);
	return err;
}

int volume_file_make(struct files *files, struct volume_file *out)
{
	const char *tmp = getenv("TMPDIR");
	bcfmt_err err;

	*out = (struct volume_file){ 0 };
	if (!tmp || !*tmp)
		tmp = bcfmt_ctx_tmp_dir(files->d->ctx);
	if (asprintf(&out->folder, "%s/bcache-dump.XXXXXX", tmp) < 0) {
		out->folder = NULL;
	} else if (!mkdtemp(out->folder)) {
		cli_error(out->folder, "cannot be made: %s", strerror(errno));
		free(out->folder);
		out->folder = NULL;
		return DUMP_FAILED;
	}
	if (!out->folder || asprintf(&out->path, "%s/volume", out->folder) < 0) {
		out->path = NULL;
		cli_error(NULL, "out of memory");
		return DUMP_FAILED;
	}
	err = write_volume(files, out->path);
	return err ? dump_failed(files->d, err) : DUMP_DONE;
}

void volume_file_remove(struct volume_file *file)
{
	if (file->path)
		unlink(file->path);
	if (file->folder)
		rmdir(file->folder);
	free(file->path);
	free(file->folder);
	*file = (struct volume_file){ 0 };
}
