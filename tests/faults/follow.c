/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What comes after a run that failed: what it saved can be put back, and it can be run again. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "faults/sweep.h"

bool follow_split(struct after *after, const char *words)
{
	char *copy = strdup(words), *rest = NULL;
	size_t n = 0;

	for (char *word = copy ? strtok_r(copy, " ", &rest) : NULL; word && n < WORDS_MAX;
	     word = strtok_r(NULL, " ", &rest))
		after->argv[n++] = word;
	after->argv[n] = NULL;
	return n && n < WORDS_MAX;
}

const char *follow_learn(struct options *options)
{
	for (size_t i = 0; i < options->n_after; i++) {
		struct after *after = &options->after[i];

		after->code = sweep_run_plain(after->argv, &after->out, &after->out_bytes);
		if (after->code)
			return "a command of --after fails where nothing else did";
	}
	return NULL;
}

/* Puts the files that were repaired back by the undo file, and takes that back again. */
static const char *check_undo(const struct options *options)
{
	char undo[] = "--undo", quiet[] = "-q", *argv[5 + FRESH_MAX], *saved[FRESH_MAX], *out,
	     *file;
	size_t saved_bytes[FRESH_MAX], len_bytes, n = 0;
	const char *wrong = NULL;

	file = sweep_load(options->undo, &len_bytes);
	free(file);
	if (!file)
		return NULL;
	argv[n++] = options->argv[0];
	argv[n++] = undo;
	argv[n++] = (char *)(uintptr_t)options->undo;
	argv[n++] = quiet;
	for (size_t i = 0; i < options->n_fresh; i++) {
		argv[n++] = (char *)(uintptr_t)options->fresh[i].path;
		saved[i] = sweep_load(options->fresh[i].path, &saved_bytes[i]);
	}
	argv[n] = NULL;
	/* Whatever it says: a file that is not finished stands for devices that nothing was done to. */
	sweep_run_plain(argv, &out, &len_bytes);
	free(out);
	for (size_t i = 0; i < options->n_fresh; i++) {
		const struct fresh *fresh = &options->fresh[i];

		file = sweep_load(fresh->path, &len_bytes);
		if (!file || len_bytes != fresh->len_bytes || memcmp(file, fresh->bytes, len_bytes))
			wrong = "the undo file does not put back what was there";
		free(file);
		if (saved[i])
			sweep_store(fresh->path, saved[i], saved_bytes[i]);
		free(saved[i]);
	}
	return wrong;
}

static bool is_read_fault(const struct result *result)
{
	return result->faults.call == FAULTS_READ && result->faults.action != FAULTS_SIGNAL;
}

/* A read that failed can be damage that was repaired, as far as it was told. */
static bool is_told_damage(const struct result *result)
{
	return is_read_fault(result) && (result->code & 1) && strstr(result->out, "BC0");
}

/*
 * A device is detached although its cache cannot be written, where its data is on it: what the cache
 * calls dirty then is left to be told. Nothing else may differ.
 */
static bool is_left_behind(const struct options *options, const struct result *result)
{
	bool is_detach = false;

	for (char **arg = options->argv; *arg; arg++)
		is_detach |= !strcmp(*arg, "--detach");
	return is_detach && result->faults.action != FAULTS_SIGNAL &&
	       (result->faults.call == FAULTS_WRITE || result->faults.call == FAULTS_SYNC);
}

const char *follow_check(struct options *options, const struct result *whole,
			 const struct result *result, char buf[256])
{
	/* What cannot be read is overwritten all the same, and was not there to be saved. */
	bool has_undo = options->undo && !is_read_fault(result);
	const char *wrong = has_undo ? check_undo(options) : NULL;
	size_t out_bytes;
	char *out;
	int code;

	if (wrong || !options->n_after)
		return wrong;
	/* What is not whole is gone on with, unless it never had all that was to be read. */
	if (*result->others && options->resume.argv[0] && strcmp(whole->others, result->others) &&
	    !is_read_fault(result)) {
		code = sweep_run_plain(options->resume.argv, &out, &out_bytes);
	} else {
		sweep_empty_folder();
		code = sweep_run_plain(options->argv, &out, &out_bytes);
	}
	if (is_left_behind(options, result))
		code &= ~4;
	if (code < 0 || (code & ~(whole->code | 1))) {
		snprintf(buf, 256, "another run ends with exit code %d: %.180s", code, out);
		free(out);
		return buf;
	}
	free(out);
	for (size_t i = 0; i < options->n_after && !is_told_damage(result); i++) {
		const struct after *after = &options->after[i];
		bool is_same;

		code = sweep_run_plain(after->argv, &out, &out_bytes);
		is_same = code == after->code && out_bytes == after->out_bytes &&
			  !memcmp(out, after->out, out_bytes);
		/* The check, which is the first. */
		is_same |= !i && is_left_behind(options, result) && !(code & ~4);
		free(out);
		if (is_same)
			continue;
		snprintf(buf, 256, "after another run %s %s exits with %d or says something else",
			 after->argv[0], after->argv[1] ? after->argv[1] : "", code);
		return buf;
	}
	return NULL;
}
