/* SPDX-License-Identifier: GPL-2.0-or-later */
/* One run of a program with a fault, and what is left of it. */
#ifndef FAULTS_SWEEP_H
#define FAULTS_SWEEP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "faults/faults.h"

/* What a program does about a failure, by its contract. */
struct program {
	const char *name;
	int failed;	 /* exit code, or bits of it, for what failed */
	bool is_bits;	 /* it is a sum of bits */
	int read_failed; /* what else may come of a read that fails: damage was found */
	int cancelled;
};

#define FRESH_MAX 4u
#define AFTER_MAX 4u
#define WORDS_MAX 32u

/* A file that the program writes to, put back before every run. */
struct fresh {
	const char *path;
	char *bytes;
	size_t len_bytes;
};

/* A command that looks at what is left in the end, and what it says when nothing failed. */
struct after {
	char *argv[WORDS_MAX + 1];
	int code;
	char *out;
	size_t out_bytes;
};

struct options {
	const char *library; /* preloaded */
	const char *output;  /* in the folder out/ of the working folder; NULL: none */
	const char *mount;   /* where the program mounts what is to be read; NULL: nowhere */
	const char *undo;    /* the undo file of a repair, there too; NULL: none */
	struct after resume; /* goes on with what is left in out/; without words: nothing may be */
	struct fresh fresh[FRESH_MAX];
	size_t n_fresh;
	uint64_t fresh_sum; /* over what is in them before */
	struct after after[AFTER_MAX];
	size_t n_after;
	char **argv;
	const struct program *program;
	bool is_json;
	uint64_t step; /* 1; more: only a sample of the numbers */
};

/* Freed with result_clear(). */
struct result {
	int code; /* -1: ended by a signal, or out of time */
	int signal;
	char *out; /* what it printed; terminated */
	size_t out_bytes;
	char *err;
	char *file; /* the output file; NULL: not there */
	size_t file_bytes;
	/* Files in its folder besides, but for the undo file: "NAME SUM " each, sorted. */
	char *others;
	char *seen;	    /* of what it mounted: "NAME SUM " of each file that could be read */
	bool is_left;	    /* it is mounted still */
	uint64_t fresh_sum; /* over what is in the files that are put back */
	struct faults_shared faults;
};

/* Keeps what is in the file now. */
void fresh_load(struct fresh *fresh, const char *path);

/*
 * Runs the program in the working folder with one fault; out_limit is how many bytes a file may
 * have, stdout included, 0 for no limit. old_output is put under the name of the output before;
 * NULL: nothing is there.
 */
void sweep_run(const struct options *options, const struct faults_shared *fault, uint64_t out_limit,
	       const char *old_output, struct result *result);
void result_clear(struct result *result);
/* Runs a program without a fault and returns its exit code, -1 when it has none. */
int sweep_run_plain(char *const *argv, char **out, size_t *out_bytes);
/* Makes the folder of the output empty. */
void sweep_empty_folder(void);
/* Over what is in the files that are put back. */
uint64_t sweep_fresh_sum(const struct options *options);
/* All of a file, terminated; NULL when it is not there. */
char *sweep_load(const char *path, size_t *len_bytes);
void sweep_store(const char *path, const void *bytes, size_t len_bytes);

/* visit.c: a process that reads what is mounted on folder as soon as it is, and unmounts it. */
pid_t visit_begin(const char *folder);
/* After the program has ended: what was seen, to be freed; and whether it is mounted still. */
char *visit_end(pid_t pid, const char *folder, bool *is_left);

/* Each file that is there is what it is in the end. */
bool are_others_whole(const char *whole, const char *others);

/* follow.c: a command, split at blanks; false when it has too many words. */
bool follow_split(struct after *after, const char *words);
/* Notes what those commands say where nothing failed; NULL, or what is wrong. */
const char *follow_learn(struct options *options);
/*
 * What must be possible after a run that failed: the undo file puts all back, another run comes to
 * its end, and then all is as where nothing failed. NULL, or what is wrong; static or in buf.
 */
const char *follow_check(struct options *options, const struct result *whole,
			 const struct result *result, char buf[256]);

/* Code, texts and file are the same. */
bool result_is_same(const struct result *a, const struct result *b);

/*
 * Holds a run with a fault against one without. NULL when all is as it has to be, else what is
 * wrong; static or in buf.
 */
const char *sweep_judge(const struct options *options, const struct result *whole,
			const struct result *result, const char *old_output, char buf[256]);

#endif
