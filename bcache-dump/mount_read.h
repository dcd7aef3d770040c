/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Answers to reads of a mounted volume. */
#ifndef MOUNT_READ_H
#define MOUNT_READ_H

#include <errno.h>
#include <pthread.h>

#define FUSE_USE_VERSION 312
#include <fuse_lowlevel.h>

#include "mount_file.h"

struct buffer;

/* Memory and pipes of reads, kept for the next ones. */
struct read_pool {
	pthread_mutex_t lock;
	struct buffer *idle; /* never more than reads at one time */
	int has_no_pipes;    /* atomic: they cannot be had large enough */
};

/* Zeroed before. An errno, or 0; a failure needs no clearing. */
int mount_read_init(struct read_pool *pool);
void mount_read_clear(struct read_pool *pool);

/* Answers req with size (> 0) bytes from the byte `from` on; they lie in the file. On any thread. */
void mount_read(struct read_pool *pool, fuse_req_t req, const struct mount_file *file,
		uint64_t from, size_t size);

/* What the kernel is told of a failure. */
static inline int mount_errno(bcfmt_err err)
{
	return err == BCFMT_E_NOMEM ? ENOMEM : EIO;
}

#endif
