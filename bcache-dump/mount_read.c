/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Answers to reads of a mounted volume. */
#include "mount_read.h"

#include <fcntl.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <unistd.h>

/*
 * Reads of such sizes go from the memory of the kernel through a pipe, and are not copied here. It
 * holds twice the most, as pieces can begin within a page; larger ones libfuse would copy itself.
 */
#define MOVE_BYTES_MIN (64u << 10)
#define MOVE_BYTES_MAX (512u << 10)
#define PIPE_BYTES (1 << 20)
#define PLACES_MAX 16u

/* What a read is done with. */
struct buffer {
	struct buffer *next;
	size_t sectors;
	uint8_t *bytes;
	uint8_t *state;
	int pipe[2]; /* empty between reads; -1: none */
};

int mount_read_init(struct read_pool *pool)
{
	return pthread_mutex_init(&pool->lock, NULL);
}

static void close_pipe(struct buffer *buffer)
{
	if (buffer->pipe[0] < 0)
		return;
	close(buffer->pipe[0]);
	close(buffer->pipe[1]);
	buffer->pipe[0] = buffer->pipe[1] = -1;
}

static void buffer_free(struct buffer *buffer)
{
	if (buffer) {
		close_pipe(buffer);
		free(buffer->bytes);
		free(buffer->state);
		free(buffer);
	}
}

static struct buffer *take_buffer(struct read_pool *pool, size_t sectors)
{
	struct buffer *buffer;

	pthread_mutex_lock(&pool->lock);
	buffer = pool->idle;
	if (buffer)
		pool->idle = buffer->next;
	pthread_mutex_unlock(&pool->lock);
	if (buffer && buffer->sectors >= sectors)
		return buffer;
	buffer_free(buffer);
	buffer = calloc(1, sizeof(*buffer));
	if (!buffer)
		return NULL;
	buffer->pipe[0] = buffer->pipe[1] = -1;
	buffer->sectors = sectors;
	buffer->bytes = malloc(sectors * BCFMT_SECTOR_BYTES);
	buffer->state = malloc(sectors);
	if (buffer->bytes && buffer->state)
		return buffer;
	buffer_free(buffer);
	return NULL;
}

static void give_buffer(struct read_pool *pool, struct buffer *buffer)
{
	pthread_mutex_lock(&pool->lock);
	buffer->next = pool->idle;
	pool->idle = buffer;
	pthread_mutex_unlock(&pool->lock);
}

static bool has_pipe(struct read_pool *pool, struct buffer *buffer)
{
	if (__atomic_load_n(&pool->has_no_pipes, __ATOMIC_RELAXED))
		return false;
	if (buffer->pipe[0] >= 0)
		return true;
	if (!pipe2(buffer->pipe, O_CLOEXEC | O_NONBLOCK) &&
	    fcntl(buffer->pipe[0], F_SETPIPE_SZ, PIPE_BYTES) >= PIPE_BYTES)
		return true;
	__atomic_store_n(&pool->has_no_pipes, 1, __ATOMIC_RELAXED);
	close_pipe(buffer);
	return false;
}

/* All of it, or false. */
static bool fill_pipe(const struct buffer *buffer, const struct bcfmt_place *place)
{
	loff_t offset = (loff_t)(place->dev_sector * BCFMT_SECTOR_BYTES);
	size_t left = place->sectors * BCFMT_SECTOR_BYTES;
	int fd = bcfmt_dev_fd(place->dev);

	while (fd >= 0 && left) {
		ssize_t moved = splice(fd, &offset, buffer->pipe[1], NULL, left, SPLICE_F_NONBLOCK);

		if (moved <= 0)
			return false;
		left -= (size_t)moved;
	}
	return fd >= 0;
}

/*
 * Answers with data that never comes here. False when nothing was answered: it has to be read then.
 * All of it is in the pipe before: nothing that is short or cannot be read is given to the kernel.
 */
static bool move(struct read_pool *pool, fuse_req_t req, const struct mount_file *file,
		 struct buffer *buffer, uint64_t from, size_t size)
{
	struct fuse_bufvec data = FUSE_BUFVEC_INIT(size);
	struct bcfmt_place places[PLACES_MAX];
	size_t n = 0;
	int rest = 0;

	if (size < MOVE_BYTES_MIN || size > MOVE_BYTES_MAX || from % BCFMT_SECTOR_BYTES ||
	    size % BCFMT_SECTOR_BYTES || !has_pipe(pool, buffer) ||
	    bcfmt_volume_places(file->reader, from / BCFMT_SECTOR_BYTES, size / BCFMT_SECTOR_BYTES,
				places, PLACES_MAX, &n))
		return false;
	for (size_t i = 0; i < n; i++) {
		if (fill_pipe(buffer, &places[i]))
			continue;
		close_pipe(buffer);
		return false;
	}
	data.buf[0].flags = FUSE_BUF_IS_FD;
	data.buf[0].fd = buffer->pipe[0];
	fuse_reply_data(req, &data, 0);
	if (ioctl(buffer->pipe[0], FIONREAD, &rest) || rest)
		close_pipe(buffer);
	return true;
}

/* An errno, or 0 when all of it could be read. */
static int read_sectors(const struct mount_file *file, struct buffer *buffer, uint64_t first,
			size_t sectors)
{
	bcfmt_err err =
		bcfmt_volume_read(file->reader, first, buffer->bytes, sectors, buffer->state, NULL);

	if (err)
		return mount_errno(err);
	/* As from a disk: one bad sector, and the kernel asks again in smaller pieces. */
	for (size_t i = 0; i < sectors; i++)
		if (buffer->state[i] != BCFMT_SECTOR_OK)
			return EIO;
	return 0;
}

void mount_read_clear(struct read_pool *pool)
{
	while (pool->idle) {
		struct buffer *buffer = pool->idle;

		pool->idle = buffer->next;
		buffer_free(buffer);
	}
	pthread_mutex_destroy(&pool->lock);
}

void mount_read(struct read_pool *pool, fuse_req_t req, const struct mount_file *file,
		uint64_t from, size_t size)
{
	uint64_t first = from / BCFMT_SECTOR_BYTES;
	size_t sectors = (size_t)((from + size - 1) / BCFMT_SECTOR_BYTES - first + 1);
	struct buffer *buffer = take_buffer(pool, sectors);
	int error;

	if (!buffer) {
		fuse_reply_err(req, ENOMEM);
		return;
	}
	if (!move(pool, req, file, buffer, from, size)) {
		error = read_sectors(file, buffer, first, sectors);
		if (error)
			fuse_reply_err(req, error);
		else
			fuse_reply_buf(req, (char *)buffer->bytes + from % BCFMT_SECTOR_BYTES,
				       size);
	}
	give_buffer(pool, buffer);
}
