/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Reads and writes volumes where a kernel is tested, and files where the same is foretold: equal
 * arguments give equal bytes at equal places, on /dev/bcacheN and on a plain file.
 *
 * guest_io fill SEED FILE                          all of it
 * guest_io write SEED WRITES BLOCK MAX FILE        1 to MAX blocks at places drawn from SEED
 * guest_io write --no-flush ...                    the same, without a flush at the end
 * guest_io read SEED READS BLOCK MAX FILE          reads the places that write would write
 * guest_io copy FROM TO                            all of it
 *
 * Block devices are opened with O_DIRECT. Exits with 1 and a line with the place when I/O fails.
 */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define SECTOR_BYTES 512
#define CHUNK_BYTES (1 << 20)
#define DIRECT_ALIGN 4096

struct file {
	const char *name;
	int fd;
	uint64_t bytes;
};

struct draw {
	uint64_t state;
	uint64_t next_block;
};

static uint8_t *buffer;

static _Noreturn void fail(const struct file *file, uint64_t offset, const char *what)
{
	fprintf(stderr, "%s: %s at sector %" PRIu64 ": %s\n", file->name, what,
		offset / SECTOR_BYTES, strerror(errno));
	exit(1);
}

static uint64_t mix(uint64_t value)
{
	value = (value ^ (value >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
	value = (value ^ (value >> 27)) * UINT64_C(0x94d049bb133111eb);
	return value ^ (value >> 31);
}

static uint64_t draw(struct draw *draw)
{
	draw->state += UINT64_C(0x9e3779b97f4a7c15);
	return mix(draw->state);
}

static void open_file(struct file *file, const char *name, int flags)
{
	struct stat stat;
	off_t end;

	file->name = name;
	file->bytes = 0;
	file->fd = open(name, flags | O_CLOEXEC);
	if (file->fd < 0 || fstat(file->fd, &stat))
		fail(file, 0, "open");
	if (S_ISBLK(stat.st_mode)) {
		close(file->fd);
		file->fd = open(name, flags | O_CLOEXEC | O_DIRECT);
	}
	end = file->fd < 0 ? -1 : lseek(file->fd, 0, SEEK_END);
	if (end < 0)
		fail(file, 0, "open");
	file->bytes = (uint64_t)end;
}

static void close_file(struct file *file, bool must_flush)
{
	if (must_flush && fsync(file->fd))
		fail(file, 0, "flush");
	if (close(file->fd))
		fail(file, 0, "close");
}

static void transfer(const struct file *file, uint64_t offset, size_t bytes, bool is_write)
{
	size_t done = 0;

	while (done < bytes) {
		off_t at = (off_t)(offset + done);
		ssize_t n = is_write ? pwrite(file->fd, buffer + done, bytes - done, at)
				     : pread(file->fd, buffer + done, bytes - done, at);

		if (n < 0 && errno == EINTR)
			continue;
		if (n == 0)
			errno = EIO;
		if (n <= 0)
			fail(file, offset + done, is_write ? "write" : "read");
		done += (size_t)n;
	}
}

/* Tells sectors apart by seed, by the write that they belong to, and by their place. */
static void pattern(uint64_t seed, uint64_t number, uint64_t offset, size_t bytes)
{
	for (size_t i = 0; i < bytes; i += sizeof(uint64_t)) {
		uint64_t word = mix(mix(seed) + mix(number << 40 | (offset + i) / sizeof(word)));

		memcpy(buffer + i, &word, sizeof(word));
	}
}

/* Every second range follows the one before, so that keys can be merged and cut. */
static void draw_range(struct draw *from, uint64_t blocks, uint64_t max, uint64_t *first,
		       uint64_t *n)
{
	uint64_t choice = draw(from);

	*n = 1 + draw(from) % max;
	*first = choice & 1 ? from->next_block : draw(from) % blocks;
	if (*n > blocks)
		*n = blocks;
	if (*first > blocks - *n)
		*first = blocks - *n;
	from->next_block = *first + *n;
}

static void fill(uint64_t seed, const char *name)
{
	struct file file;

	open_file(&file, name, O_RDWR);
	for (uint64_t offset = 0; offset < file.bytes;) {
		uint64_t left = file.bytes - offset;
		size_t bytes = left < CHUNK_BYTES ? (size_t)left : CHUNK_BYTES;

		pattern(seed, 0, offset, bytes);
		transfer(&file, offset, bytes, true);
		offset += bytes;
	}
	close_file(&file, true);
}

static void ranges(uint64_t seed, uint64_t count, uint64_t block_bytes, uint64_t max,
		   const char *name, bool is_write, bool must_flush)
{
	struct draw from = { .state = mix(seed) };
	struct file file;

	open_file(&file, name, is_write ? O_RDWR : O_RDONLY);
	if (file.bytes < block_bytes) {
		errno = EINVAL;
		fail(&file, file.bytes, "too short");
	}
	for (uint64_t i = 1; i <= count; i++) {
		uint64_t first, n;

		draw_range(&from, file.bytes / block_bytes, max, &first, &n);
		if (is_write)
			pattern(seed, i, first * block_bytes, (size_t)(n * block_bytes));
		transfer(&file, first * block_bytes, (size_t)(n * block_bytes), is_write);
	}
	close_file(&file, must_flush);
}

static void copy(const char *from, const char *to)
{
	struct file source, target;

	open_file(&source, from, O_RDONLY);
	open_file(&target, to, O_RDWR);
	if (target.bytes < source.bytes) {
		errno = ENOSPC;
		fail(&target, target.bytes, "copy");
	}
	for (uint64_t offset = 0; offset < source.bytes;) {
		uint64_t left = source.bytes - offset;
		size_t bytes = left < CHUNK_BYTES ? (size_t)left : CHUNK_BYTES;

		transfer(&source, offset, bytes, false);
		transfer(&target, offset, bytes, true);
		offset += bytes;
	}
	close_file(&source, false);
	close_file(&target, true);
}

static uint64_t number(const char *text)
{
	char *end;
	unsigned long long value;

	errno = 0;
	value = strtoull(text, &end, 10);
	if (errno || end == text || *end) {
		fprintf(stderr, "guest_io: '%s' is not a number\n", text);
		exit(2);
	}
	return value;
}

int main(int argc, char **argv)
{
	const char *what = argc > 1 ? argv[1] : "";
	bool must_flush = true;

	buffer = aligned_alloc(DIRECT_ALIGN, CHUNK_BYTES);
	if (!buffer)
		return 1;
	if (argc > 2 && !strcmp(argv[2], "--no-flush")) {
		must_flush = false;
		argv++;
		argc--;
	}
	if (argc == 4 && !strcmp(what, "fill")) {
		fill(number(argv[2]), argv[3]);
	} else if (argc == 4 && !strcmp(what, "copy")) {
		copy(argv[2], argv[3]);
	} else if (argc == 7 && (!strcmp(what, "write") || !strcmp(what, "read"))) {
		uint64_t block_bytes = number(argv[4]);
		uint64_t max = number(argv[5]);
		bool is_write = !strcmp(what, "write");

		if (!block_bytes || block_bytes % SECTOR_BYTES || !max ||
		    max > CHUNK_BYTES / block_bytes) {
			fprintf(stderr, "guest_io: ranges are whole sectors, at most 1 MiB\n");
			return 2;
		}
		ranges(number(argv[2]), number(argv[3]), block_bytes, max, argv[6], is_write,
		       is_write && must_flush);
	} else {
		fprintf(stderr, "usage: guest_io fill|write|read|copy ...\n");
		return 2;
	}
	free(buffer);
	return 0;
}
