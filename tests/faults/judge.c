/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What a program must have done about a fault. */
#include <jansson.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "faults/sweep.h"

/* Every line is a message of the program; *n of them. libfuse says some things itself. */
static bool is_clean(const struct options *options, const char *err, unsigned int *n)
{
	size_t len = strlen(options->program->name);

	for (*n = 0; *err; (*n)++) {
		const char *end = strchr(err, '\n');

		if (options->mount && end && !strncmp(err, "fuse: ", 6)) {
			err = end + 1;
			continue;
		}
		if (!end || strncmp(err, options->program->name, len) ||
		    strncmp(err + len, ": ", 2))
			return false;
		/* Lower case, and something behind the name. */
		if (err + len + 2 == end || err[len + 2] == ' ')
			return false;
		err = end + 1;
	}
	return true;
}

enum json_loss { JSON_WHOLE, JSON_ROWS_MISSING, JSON_CUT };

static const char *judge_row(const char *line, size_t len, int code, enum json_loss loss,
			     bool is_first, bool *is_summary)
{
	json_t *row = json_loadb(line, len, 0, NULL);
	const char *kind = NULL, *wrong = NULL;

	if (json_is_object(row))
		kind = json_string_value(json_object_get(row, "kind"));
	*is_summary = kind && !strcmp(kind, "summary");
	if (!kind)
		wrong = "a line is no JSON object with a kind";
	else if (is_first != !strcmp(kind, "header") && loss == JSON_WHOLE)
		wrong = "the header is not the first object of the JSON";
	else if (*is_summary && loss != JSON_CUT &&
		 json_integer_value(json_object_get(row, "exit_code")) != code)
		wrong = "the summary has another exit code";
	json_decref(row);
	return wrong;
}

/* Whole objects, header first, summary last; or as much of that as there can be. */
static const char *judge_json(const char *out, int code, enum json_loss loss)
{
	bool is_summary = false, is_first = true;

	while (*out) {
		const char *end = strchr(out, '\n'), *wrong;

		if (!end)
			return loss == JSON_CUT ? NULL : "the JSON ends within a line";
		if (is_summary)
			return "the JSON goes on behind its summary";
		wrong = judge_row(out, (size_t)(end - out), code, loss, is_first, &is_summary);
		if (wrong)
			return wrong;
		is_first = false;
		out = end + 1;
	}
	return is_summary || loss != JSON_WHOLE ? NULL : "the JSON has no summary at its end";
}

static bool has_code(const struct program *program, int code, int wanted)
{
	return program->is_bits ? code > 0 && (code & wanted) : code == wanted;
}

/* Which codes a fault may lead to. */
static bool is_code_right(const struct program *program, const struct faults_shared *faults,
			  int code)
{
	if (faults->n_done && faults->action == FAULTS_SIGNAL)
		return has_code(program, code, program->cancelled);
	if (faults->n_done && faults->call == FAULTS_READ && program->read_failed &&
	    has_code(program, code, program->read_failed))
		return true;
	return has_code(program, code, program->failed);
}

/* The output is what it was, or not there; or whole, where only telling it failed. */
static bool is_untouched(const struct result *whole, const struct result *result,
			 const char *old_output)
{
	if (result->file && whole->file && result->file_bytes == whole->file_bytes &&
	    !memcmp(result->file, whole->file, whole->file_bytes))
		return true;
	if (!old_output)
		return !result->file;
	return result->file && result->file_bytes == strlen(old_output) &&
	       !memcmp(result->file, old_output, result->file_bytes);
}

/* Codes after which a file may be there all the same: what could be read is in it. */
static bool may_have_file(const struct options *options, const struct result *result)
{
	return result->faults.call == FAULTS_READ && result->faults.action != FAULTS_SIGNAL &&
	       result->code == options->program->read_failed;
}

static const char *judge_failed(const struct options *options, const struct result *whole,
				const struct result *result, const char *old_output, char buf[256])
{
	const struct faults_shared *faults = &result->faults;
	bool is_memory =
		faults->n_done && faults->call == FAULTS_ALLOC && faults->action != FAULTS_SIGNAL;
	const char *wrong;
	unsigned int n;

	if (!is_code_right(options->program, faults, result->code)) {
		snprintf(buf, 256, "exit code %d", result->code);
		return buf;
	}
	if (!is_clean(options, result->err, &n))
		return "stderr is no clean message";
	/* Damage is told by findings, all else on stderr. */
	if (!n && (faults->call != FAULTS_READ || !strstr(result->out, "BC0")))
		return "not a word on stderr";
	if (is_memory && !strstr(result->err, "memory"))
		return "stderr does not say that memory is out";
	if (faults->n_done && faults->action == FAULTS_SIGNAL && !strstr(result->err, "cancelled"))
		return "stderr does not say that it was cancelled";
	if (options->output && !may_have_file(options, result) &&
	    !is_untouched(whole, result, old_output))
		return "the output is neither whole nor untouched";
	/* Without memory rows can be missing, and a write that failed cuts what is printed. */
	if (options->is_json && *whole->out) {
		wrong = judge_json(result->out, result->code,
				   !faults->n_done ? JSON_CUT
				   : is_memory	   ? JSON_ROWS_MISSING
						   : JSON_WHOLE);
		if (wrong)
			return wrong;
	}
	return NULL;
}

bool are_others_whole(const char *whole, const char *others)
{
	char one[512];
	int len;

	/* Name and sum. */
	while (len = 0, sscanf(others, "%*s %*s %n", &len), len) {
		snprintf(one, sizeof(one), "%.*s", len, others);
		if (!strstr(whole, one))
			return false;
		others += len;
	}
	return !*others;
}

/*
 * What could not be read is zero in a copy, and lost in a map, and both are told; copies that
 * --resume goes on with need not be what they will be.
 */
static bool may_differ(const struct options *options, const struct result *result)
{
	const struct program *program = options->program;
	bool is_read = result->faults.call == FAULTS_READ && result->faults.n_done &&
		       result->faults.action != FAULTS_SIGNAL;

	return options->resume.argv[0] ||
	       (is_read && program->read_failed &&
		(program->is_bits ? result->code & (program->read_failed | program->failed)
				  : result->code == program->read_failed));
}

/*
 * What is read through a mount is right or an error, and it stays for as long as it can: it ends as if
 * nothing had failed, or with a message.
 */
static const char *judge_mount(const struct result *whole, const struct result *result)
{
	if (result->is_left)
		return "it is mounted still";
	if (!are_others_whole(whole->seen, result->seen))
		return "a file could be read and has other contents";
	return NULL;
}

/* A fault while it serves is told to who reads, or leaves a request open that nobody waits for. */
static bool has_served(const struct options *options, const struct result *whole,
		       const struct result *result)
{
	unsigned int n;

	return result->code == whole->code && !strcmp(result->out, whole->out) &&
	       is_clean(options, result->err, &n);
}

/* A sanitizer takes memory for each thread that begins, and ends the program without (ENOMEM). */
static bool has_no_memory_for_sanitizer(const struct result *result)
{
	return result->faults.n_done && result->faults.call == FAULTS_ALLOC &&
	       result->faults.action != FAULTS_SIGNAL &&
	       strstr(result->err, "Sanitizer: CHECK failed: ") &&
	       strstr(result->err, "pthread_getattr_np") && strstr(result->err, "(0xc, 0x0)");
}

const char *sweep_judge(const struct options *options, const struct result *whole,
			const struct result *result, const char *old_output, char buf[256])
{
	if (has_no_memory_for_sanitizer(result))
		return NULL;
	/* The library offers no other way to what it has there: preload.c names it. */
	if (result->faults.is_crash_of_library && result->faults.call == FAULTS_ALLOC)
		return NULL;
	if (strstr(result->err, "Sanitizer") || strstr(result->err, "runtime error"))
		return "a sanitizer reported";
	if (result->code < 0) {
		if (result->signal == SIGALRM || result->signal == SIGKILL)
			return "out of time";
		snprintf(buf, 256, "ended by signal %d", result->signal);
		return buf;
	}
	if (result_is_same(whole, result))
		return NULL;
	if (options->mount) {
		const char *wrong = judge_mount(whole, result);

		if (wrong || has_served(options, whole, result))
			return wrong;
	}
	if (!may_differ(options, result) && !are_others_whole(whole->others, result->others)) {
		snprintf(buf, 256, "left behind: %.200s", result->others);
		return buf;
	}
	if (whole->fresh_sum == options->fresh_sum && result->fresh_sum != whole->fresh_sum)
		return "a file that is only read was changed";
	if (result->faults.n_done && result->faults.action == FAULTS_SHORT)
		return "a short transfer made a difference";
	return judge_failed(options, whole, result, old_output, buf);
}
