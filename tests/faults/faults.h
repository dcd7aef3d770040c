/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What the preloaded library and the sweep tell each other. */
#ifndef FAULTS_FAULTS_H
#define FAULTS_FAULTS_H

#include <stdint.h>

/* Calls that are counted, and can fail. */
enum faults_call {
	FAULTS_ALLOC,  /* malloc() and its kin, of the libraries too */
	FAULTS_THREAD, /* pthread_create() */
	FAULTS_OPEN,
	FAULTS_READ,
	FAULTS_WRITE, /* not to stderr */
	FAULTS_SYNC,  /* fsync(), fdatasync() */
	FAULTS_NAME,  /* rename(), ftruncate(), fallocate(): what makes a file whole */
	FAULTS_CALLS,
};

/* A file of this, mapped by both; its name is in FAULTS_SHARED. */
struct faults_shared {
	/* Set by the sweep. */
	uint32_t call;	 /* enum faults_call */
	uint32_t action; /* enum faults_action */
	uint64_t number; /* which call of that kind, from 1; 0: none */
	uint32_t error;	 /* errno of what fails; signal number */
	/* Set by the library. */
	uint32_t n_done;	      /* how often it did so */
	uint64_t is_crash_of_library; /* of one that goes on with memory that it did not get */
	uint64_t count[FAULTS_CALLS];
};

enum faults_action {
	FAULTS_FAIL,	/* that call */
	FAULTS_FAIL_ON, /* and all later ones */
	FAULTS_SHORT,	/* moves only a part of the bytes; the rest is for another call */
	FAULTS_SIGNAL,	/* the signal comes before the call, which then goes on */
};

#endif
