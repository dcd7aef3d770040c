/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Reads a file in the ways that a file system must stand.
 *
 * read-file bad FILE [REFERENCE]: which sectors fail with EIO, "start+count" a line, past the memory
 *     of the kernel; all others are as in the reference.
 * read-file random FILE REFERENCE THREADS READS: reads at random places, of random lengths, by
 *     several threads at once, are as in the reference.
 * read-file holes FILE: the data that SEEK_DATA and SEEK_HOLE tell of, "start+bytes" a line.
 * Exit: 0 so it is, 1 it is not, 2 cannot be tried.
 */
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define BLOCK_BYTES (64u << 10)
#define SECTOR_BYTES 512u
#define LENGTH_MAX 300000u
#define THREADS_MAX 64u

static int open_or_die(const char *path, int flags)
{
	int fd = open(path, flags);

	if (fd < 0) {
		perror(path);
		exit(2);
	}
	return fd;
}

static uint64_t size_of(int fd)
{
	struct stat st;

	if (fstat(fd, &st) || st.st_size % SECTOR_BYTES) {
		fprintf(stderr, "no size in whole sectors\n");
		exit(2);
	}
	return (uint64_t)st.st_size;
}

/* False: EIO. Anything but all bytes or that ends the program. */
static bool read_at(int fd, uint64_t offset, void *buf, size_t len)
{
	ssize_t got = pread(fd, buf, len, (off_t)offset);

	if (got == (ssize_t)len)
		return true;
	if (got < 0 && errno == EIO)
		return false;
	fprintf(stderr, "sector %llu: %s\n", (unsigned long long)(offset / SECTOR_BYTES),
		got < 0 ? strerror(errno) : "read in part");
	exit(1);
}

struct bad_run {
	uint64_t start; /* of sectors */
	uint64_t n;
};

static void bad_flush(struct bad_run *run)
{
	if (run->n)
		printf("%llu+%llu\n", (unsigned long long)run->start, (unsigned long long)run->n);
	run->n = 0;
}

static void bad_add(struct bad_run *run, uint64_t sector)
{
	if (run->start + run->n != sector)
		bad_flush(run);
	if (!run->n)
		run->start = sector;
	run->n++;
}

/* A block at once; where that fails, each of its sectors. The number of those that differ. */
static uint64_t read_block(int fd, int ref_fd, uint64_t at, size_t len, struct bad_run *run)
{
	static uint8_t buf[BLOCK_BYTES] __attribute__((aligned(4096))), want[BLOCK_BYTES];
	size_t step = read_at(fd, at, buf, len) ? len : SECTOR_BYTES;
	uint64_t differ = 0;

	if (ref_fd >= 0 && !read_at(ref_fd, at, want, len))
		exit(2);
	for (size_t done = 0; done < len; done += step) {
		if (step == SECTOR_BYTES && !read_at(fd, at + done, buf, SECTOR_BYTES))
			bad_add(run, (at + done) / SECTOR_BYTES);
		else if (ref_fd >= 0)
			differ += memcmp(buf, want + done, step) != 0;
	}
	return differ;
}

static int do_bad(const char *path, const char *reference)
{
	int fd = open_or_die(path, O_RDONLY | O_DIRECT);
	int ref_fd = reference ? open_or_die(reference, O_RDONLY) : -1;
	uint64_t bytes = size_of(fd), differ = 0;
	struct bad_run run = { 0 };

	if (ref_fd >= 0 && size_of(ref_fd) != bytes) {
		fprintf(stderr, "%s: has another size\n", path);
		return 1;
	}
	for (uint64_t at = 0; at < bytes; at += BLOCK_BYTES) {
		uint64_t left = bytes - at;

		differ += read_block(fd, ref_fd, at, left < BLOCK_BYTES ? left : BLOCK_BYTES, &run);
	}
	bad_flush(&run);
	if (differ)
		fprintf(stderr, "%s: differs in %llu places\n", path, (unsigned long long)differ);
	close(fd);
	if (ref_fd >= 0)
		close(ref_fd);
	return differ != 0;
}

static int do_holes(const char *path)
{
	int fd = open_or_die(path, O_RDONLY);
	off_t begin = lseek(fd, 0, SEEK_DATA), end;

	for (; begin >= 0; begin = lseek(fd, end, SEEK_DATA)) {
		end = lseek(fd, begin, SEEK_HOLE);
		if (end <= begin) {
			fprintf(stderr, "%s: data at %lld has no end\n", path, (long long)begin);
			return 1;
		}
		printf("%lld+%lld\n", (long long)begin, (long long)(end - begin));
	}
	if (errno != ENXIO) {
		perror(path);
		return 1;
	}
	close(fd);
	return 0;
}

struct reader {
	pthread_t thread;
	int fd;
	int ref_fd;
	uint64_t bytes;
	uint64_t reads;
	uint64_t state; /* of the random numbers */
	bool is_wrong;
};

/* xorshift64*: the same places in every run. */
static uint64_t next_random(struct reader *reader)
{
	reader->state ^= reader->state >> 12;
	reader->state ^= reader->state << 25;
	reader->state ^= reader->state >> 27;
	return reader->state * 0x2545f4914f6cdd1dull;
}

static void *read_randomly(void *arg)
{
	struct reader *reader = arg;
	uint8_t *buf = malloc(LENGTH_MAX), *want = malloc(LENGTH_MAX);

	reader->is_wrong = !buf || !want;
	for (uint64_t i = 0; !reader->is_wrong && i < reader->reads; i++) {
		uint64_t at = next_random(reader) % reader->bytes;
		size_t len = 1 + next_random(reader) % LENGTH_MAX;
		ssize_t got = pread(reader->fd, buf, len, (off_t)at);
		ssize_t wanted = pread(reader->ref_fd, want, len, (off_t)at);

		if (got == wanted && got > 0 && !memcmp(buf, want, (size_t)got))
			continue;
		fprintf(stderr, "%zu bytes at %llu are wrong\n", len, (unsigned long long)at);
		reader->is_wrong = true;
	}
	free(buf);
	free(want);
	return NULL;
}

static int do_random(const char *path, const char *reference, unsigned int n, uint64_t reads)
{
	static struct reader readers[THREADS_MAX];
	int fd = open_or_die(path, O_RDONLY), ref_fd = open_or_die(reference, O_RDONLY);
	bool is_wrong = false;

	for (unsigned int i = 0; i < n; i++) {
		/* Every second one by its own open file. */
		int own = i % 2 ? open_or_die(path, O_RDONLY) : fd;

		readers[i] = (struct reader){ .fd = own,
					      .ref_fd = ref_fd,
					      .bytes = size_of(fd),
					      .reads = reads,
					      .state = i + 1 };
		if (pthread_create(&readers[i].thread, NULL, read_randomly, &readers[i])) {
			fprintf(stderr, "no thread to be had\n");
			exit(2);
		}
	}
	for (unsigned int i = 0; i < n; i++) {
		pthread_join(readers[i].thread, NULL);
		is_wrong |= readers[i].is_wrong;
		if (readers[i].fd != fd)
			close(readers[i].fd);
	}
	close(fd);
	close(ref_fd);
	return is_wrong;
}

int main(int argc, char **argv)
{
	if ((argc == 3 || argc == 4) && !strcmp(argv[1], "bad"))
		return do_bad(argv[2], argv[3]);
	if (argc == 3 && !strcmp(argv[1], "holes"))
		return do_holes(argv[2]);
	if (argc == 6 && !strcmp(argv[1], "random")) {
		unsigned int n = (unsigned int)strtoul(argv[4], NULL, 10);

		if (n && n <= THREADS_MAX)
			return do_random(argv[2], argv[3], n, strtoull(argv[5], NULL, 10));
	}
	fprintf(stderr, "usage: read-file bad FILE [REFERENCE] | holes FILE |\n"
			"       random FILE REFERENCE THREADS READS\n");
	return 2;
}
