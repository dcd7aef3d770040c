/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Tells whether two files have the same bytes, like cmp -s, but reads no hole that both have: images
 * are mostly holes, some of gigabytes.
 *
 * same-bytes FILE FILE
 *
 * Exits with 0 when they do, with 1 when not, with 2 when a file cannot be read.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define CHUNK_BYTES 65536u

struct file {
	const char *path;
	int fd;
	off_t bytes;
	off_t data_begin; /* of the data at or behind the last place that was asked for */
	off_t data_end;
};

static void die(const char *path)
{
	fprintf(stderr, "same-bytes: %s: %s\n", path, strerror(errno));
	exit(2);
}

static struct file open_file(const char *path)
{
	struct file file = { .path = path, .fd = open(path, O_RDONLY | O_CLOEXEC) };
	struct stat st;

	if (file.fd < 0 || fstat(file.fd, &st))
		die(path);
	file.bytes = st.st_size;
	return file;
}

/* Finds the data at or behind a place in front of the end; none is data of no bytes at the end. */
static void find_data(struct file *file, off_t at)
{
	if (at < file->data_end)
		return;
	file->data_begin = lseek(file->fd, at, SEEK_DATA);
	if (file->data_begin < 0 && errno == ENXIO) {
		file->data_begin = file->data_end = file->bytes;
		return;
	}
	if (file->data_begin >= 0)
		file->data_end = lseek(file->fd, file->data_begin, SEEK_HOLE);
	if (file->data_begin < 0 || file->data_end < 0)
		die(file->path);
}

static void read_whole(const struct file *file, off_t at, unsigned char *buf, size_t len)
{
	while (len) {
		ssize_t n = pread(file->fd, buf, len, at);

		if (n == 0)
			errno = EIO;
		if (n == 0 || (n < 0 && errno != EINTR))
			die(file->path);
		if (n > 0) {
			buf += n;
			at += n;
			len -= (size_t)n;
		}
	}
}

int main(int argc, char **argv)
{
	static unsigned char bytes[2][CHUNK_BYTES];
	struct file file[2];

	if (argc != 3) {
		fprintf(stderr, "same-bytes FILE FILE\n");
		return 2;
	}
	for (int i = 0; i < 2; i++)
		file[i] = open_file(argv[i + 1]);
	if (file[0].bytes != file[1].bytes)
		return 1;
	for (off_t at = 0; at < file[0].bytes;) {
		off_t begin, left;
		size_t n;

		find_data(&file[0], at);
		find_data(&file[1], at);
		begin = file[0].data_begin < file[1].data_begin ? file[0].data_begin
								: file[1].data_begin;
		if (begin > at)
			at = begin;
		left = file[0].bytes - at;
		n = left < (off_t)CHUNK_BYTES ? (size_t)left : CHUNK_BYTES;
		read_whole(&file[0], at, bytes[0], n);
		read_whole(&file[1], at, bytes[1], n);
		if (memcmp(bytes[0], bytes[1], n))
			return 1;
		at += (off_t)n;
	}
	return 0;
}
