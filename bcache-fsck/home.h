/* SPDX-License-Identifier: GPL-2.0-or-later */
/* --writeback while it is done. */
#ifndef FSCK_HOME_H
#define FSCK_HOME_H

#include "repair.h"

/* One backing device. What is said of it in the end is here: the set may be gone by then. */
struct home_member {
	const char *name;
	uint8_t uuid[BCFMT_UUID_BYTES];
	enum bcfmt_home_refusal refusal;
	struct bcfmt_home_done *done; /* NULL: nothing of it is dirty, or it is refused */
	uint64_t dirty_bytes;
	uint64_t due_bytes; /* of them: those that are to be copied */
	bool is_refused;
	bool is_whole; /* nothing dirty is left of it, and nothing doubtful */
	bool is_marked;
	bool is_detached;
	const char *why_not; /* detached; static */
	bool is_final;	     /* not with -y either */
};

struct home_work {
	struct repair *repair;
	struct bcfmt_home *home;	  /* of the run's set */
	struct bcfmt_adoption *adoptions; /* what the first home came to */
	size_t n_adoptions;
	struct home_member *members;
	size_t n_members;
	bool may_mark;
	/* What failed was not writing the cache: run again this comes to its end, and half of it not. */
	bool is_stopped;
};

static inline const struct bcfmt_set *home_set(const struct home_work *work)
{
	return bcfmt_repair_set(work->repair->run);
}
static inline const char *home_name(const struct home_work *work, size_t i)
{
	return work->members[i].name;
}

/* For bcfmt_writeback_params, arg the work. */
bcfmt_err home_tell_left(void *arg, const struct bcfmt_home_left *left);
void home_tell_refused(struct home_work *work, size_t i);
/* Dirty data of backing devices that were not given stays where it is. Exit bits. */
int home_tell_absent(struct home_work *work);
/* -n: what would be done with a device. */
void home_tell_dry(struct home_work *work, size_t i);
/* What was done with all of them. */
void home_tell_members(const struct home_work *work);

#endif
