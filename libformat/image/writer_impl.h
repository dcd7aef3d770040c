/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What the files of the writer share. */
#ifndef IMAGE_WRITER_IMPL_H
#define IMAGE_WRITER_IMPL_H

#include <pthread.h>

#include "base/vec.h"
#include "image/writer.h"

#define WRITER_THREADS_MAX 64u

enum job_state { JOB_FREE, JOB_READY, JOB_TAKEN, JOB_DONE };

/* A chunk on its way to the file. */
struct job {
	struct image_chunk chunk;
	uint16_t member;
	uint8_t *stored; /* DISK_IMAGE_STORED_MAX */
	uint32_t stored_bytes;
	uint8_t method;
	bcfmt_err err;
	enum job_state state; /* under the lock */
};

struct image_writer {
	struct bcfmt_ctx *ctx;
	bcfmt_image_write_fn write;
	void *arg;
	uint64_t offset_bytes; /* written so far */
	uint64_t content_bytes;
	uint8_t *head; /* stored bytes of HEAD */
	uint32_t head_bytes;
	uint32_t id;
	struct vec index; /* struct image_index_disk */
	uint16_t member;
	uint64_t cover_end; /* of a cover that chunks may still end in; 0: none */
	uint64_t position;  /* end of the last extent with bytes */

	pthread_mutex_t lock;
	pthread_cond_t changed;
	struct job *jobs; /* a ring */
	size_t n_jobs;
	size_t filling; /* the one that is filled */
	size_t oldest;	/* the next to be written */
	size_t next;	/* the next to be packed; under the lock */
	bool is_ending; /* under the lock */
	pthread_t threads[WRITER_THREADS_MAX];
	unsigned int n_threads;
	struct image_packer *packer; /* of the caller's thread, when it has to pack itself */
};

/* Hands the filled chunk to the threads; the next one is then free to be filled. */
bcfmt_err writer_flush(struct image_writer *writer);
/* The chunk at hand reaches to the end of the cover that was begun. */
void writer_cover_close(struct image_writer *writer);

#endif
