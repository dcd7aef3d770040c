/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Tools of the bench: times commands and reads, makes input for cache_check. */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <linux/magic.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/vfs.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <bcfmt/set.h>
#include <bcfmt/tree.h>

#include "cli/message.h"
#include "cli/number.h"

#define THREADS_MAX 64u
#define FLAT_BYTES (1u << 20) /* of one read of a sequential file */

static int usage(void)
{
	fprintf(stderr,
		"usage: bench time [N] COMMAND...  runs it, prints seconds of wall, user and system,\n"
		"                                  and KiB of memory at most; it is to exit with N (0)\n"
		"       bench read CACHE THREADS reads all leaves in device order, prints seconds and bytes\n"
		"       bench flat CACHE OUT     writes the same bytes one behind the other\n"
		"       bench damage CACHE N     writes into every Nth leaf, in device order\n"
		"       bench seq FILE           reads a file from begin to end, prints seconds\n"
		"       bench drop FILE...       takes files out of the page cache; 3: that has no effect\n"
		"       bench xml MAPPINGS       input for cache_restore\n");
	return 2;
}

static double now_seconds(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (double)now.tv_sec + (double)now.tv_nsec / 1e9;
}

static int fail(const char *what)
{
	cli_error(what, "%s", strerror(errno));
	return 1;
}

/* ---- commands ---- */

static double seconds_of(const struct timeval *time)
{
	return (double)time->tv_sec + (double)time->tv_usec / 1e6;
}

static int time_command(char **argv, uint64_t exit_code)
{
	double begin = now_seconds();
	struct rusage used;
	int status;
	pid_t pid = fork();

	if (!pid) {
		int null = open("/dev/null", O_WRONLY | O_CLOEXEC);

		if (null >= 0)
			dup2(null, STDOUT_FILENO);
		execvp(argv[0], argv);
		_exit(127);
	}
	if (pid < 0 || wait4(pid, &status, 0, &used) != pid)
		return fail(argv[0]);
	if (!WIFEXITED(status) || (uint64_t)WEXITSTATUS(status) != exit_code) {
		cli_error(argv[0], "ended with wait status 0x%x", (unsigned int)status);
		return 1;
	}
	printf("%.4f %.4f %.4f %ld\n", now_seconds() - begin, seconds_of(&used.ru_utime),
	       seconds_of(&used.ru_stime), used.ru_maxrss);
	return 0;
}

/* ---- leaves ---- */

struct leaves {
	struct bcfmt_ctx *ctx;
	struct bcfmt_dev *dev;
	struct bcfmt_set *set;
	struct bcfmt_tree *tree;
	const struct bcfmt_node_ref **refs; /* in device order */
	size_t n;
	size_t next; /* atomic */
	int is_bad;  /* atomic */
};

static int by_place(const void *a, const void *b)
{
	uint64_t x = bcfmt_ptr_sector((*(const struct bcfmt_node_ref *const *)a)->ptr);
	uint64_t y = bcfmt_ptr_sector((*(const struct bcfmt_node_ref *const *)b)->ptr);

	return x < y ? -1 : x > y;
}

static bcfmt_err leaves_open(struct leaves *leaves, const char *path)
{
	bcfmt_err err = bcfmt_ctx_new(NULL, &leaves->ctx);

	if (!err)
		err = bcfmt_dev_open(leaves->ctx, path, 0, &leaves->dev);
	if (!err)
		err = bcfmt_set_open(leaves->ctx, &leaves->dev, 1, NULL, &leaves->set);
	if (!err)
		err = bcfmt_tree_open(leaves->set, NULL, &leaves->tree);
	if (err)
		return err;
	leaves->refs = calloc(bcfmt_tree_leaves(leaves->tree) + 1, sizeof(*leaves->refs));
	if (!leaves->refs)
		return BCFMT_E_NOMEM;
	for (size_t i = 0; i < bcfmt_tree_leaves(leaves->tree); i++)
		if (bcfmt_tree_leaf(leaves->tree, i)->sectors)
			leaves->refs[leaves->n++] = bcfmt_tree_leaf(leaves->tree, i);
	qsort(leaves->refs, leaves->n, sizeof(*leaves->refs), by_place);
	return BCFMT_OK;
}

static void leaves_close(struct leaves *leaves)
{
	free(leaves->refs);
	bcfmt_tree_free(leaves->tree);
	bcfmt_set_free(leaves->set);
	bcfmt_dev_free(leaves->dev);
	bcfmt_ctx_free(leaves->ctx);
}

static size_t leaf_bytes(const struct bcfmt_node_ref *ref)
{
	return (size_t)ref->sectors * BCFMT_SECTOR_BYTES;
}

static bool read_leaf(const struct leaves *leaves, size_t i, void *buf)
{
	const struct bcfmt_node_ref *ref = leaves->refs[i];

	return !bcfmt_dev_read(leaves->dev, bcfmt_ptr_sector(ref->ptr) * BCFMT_SECTOR_BYTES, buf,
			       leaf_bytes(ref));
}

static void *read_some(void *arg)
{
	struct leaves *leaves = arg;
	uint8_t *buf = malloc((size_t)BCFMT_KEY_MAX_SECTORS * BCFMT_SECTOR_BYTES);
	size_t i;

	while (buf && (i = __atomic_fetch_add(&leaves->next, 1, __ATOMIC_RELAXED)) < leaves->n)
		if (!read_leaf(leaves, i, buf))
			__atomic_store_n(&leaves->is_bad, 1, __ATOMIC_RELAXED);
	free(buf);
	return NULL;
}

static bool read_all(struct leaves *leaves, unsigned int n_threads)
{
	pthread_t threads[THREADS_MAX];
	unsigned int n = 0;

	leaves->next = 0;
	while (n + 1 < n_threads && !pthread_create(&threads[n], NULL, read_some, leaves))
		n++;
	read_some(leaves);
	while (n)
		pthread_join(threads[--n], NULL);
	return !leaves->is_bad;
}

static bool write_flat(struct leaves *leaves, const char *path)
{
	uint8_t *buf = malloc((size_t)BCFMT_KEY_MAX_SECTORS * BCFMT_SECTOR_BYTES);
	FILE *out = fopen(path, "we");
	bool is_fine = buf && out;

	for (size_t i = 0; is_fine && i < leaves->n; i++)
		is_fine = read_leaf(leaves, i, buf) && fwrite(buf, 1, leaf_bytes(leaves->refs[i]),
							      out) == leaf_bytes(leaves->refs[i]);
	if (out && fclose(out))
		is_fine = false;
	free(buf);
	return is_fine;
}

#define BSET_BYTES 32u /* of its header */

/*
 * By turns: bytes in the middle of the keys, so that all of them are lost, and behind the keys a
 * further bset that did not get to the disk whole, so that the leaf has to be written anew.
 */
static bool damage_leaf(int fd, const struct bcfmt_node_ref *ref, uint32_t block_bytes,
			bool is_torn)
{
	uint64_t start_bytes = bcfmt_ptr_sector(ref->ptr) * BCFMT_SECTOR_BYTES, at_bytes;
	uint8_t bytes[BCFMT_SECTOR_BYTES];
	uint32_t words = 32;

	at_bytes = start_bytes + leaf_bytes(ref) / 4 / block_bytes * block_bytes;
	memset(bytes, 0xdb, sizeof(bytes));
	if (is_torn) {
		if (pread(fd, bytes, sizeof(bytes), (off_t)start_bytes) != (ssize_t)sizeof(bytes))
			return false;
		memcpy(&words, bytes + BSET_BYTES - sizeof(words), sizeof(words));
		at_bytes = BSET_BYTES + (uint64_t)words * 8 + block_bytes - 1;
		at_bytes = start_bytes + at_bytes / block_bytes * block_bytes;
		words = 32;
		memcpy(bytes + BSET_BYTES - sizeof(words), &words, sizeof(words));
	}
	return at_bytes + sizeof(bytes) <= start_bytes + leaf_bytes(ref) &&
	       pwrite(fd, bytes, sizeof(bytes), (off_t)at_bytes) == (ssize_t)sizeof(bytes);
}

static int damage(const char *cache, uint64_t every)
{
	struct leaves leaves = { 0 };
	bcfmt_err err = leaves_open(&leaves, cache);
	int fd = err ? -1 : open(cache, O_RDWR | O_CLOEXEC), result = 0;
	uint32_t block_bytes = err ? 0 : bcfmt_block_bytes(&leaves.set->geo);

	if (err)
		cli_error_ctx(cache, leaves.ctx, err);
	else if (fd < 0)
		result = fail(cache);
	for (size_t i = every / 2; fd >= 0 && !result && i < leaves.n; i += every)
		if (!damage_leaf(fd, leaves.refs[i], block_bytes, i / every % 2))
			result = fail(cache);
	if (fd >= 0)
		close(fd);
	leaves_close(&leaves);
	return err ? 1 : result;
}

static int with_leaves(const char *cache, const char *flat_path, unsigned int n_threads)
{
	struct leaves leaves = { 0 };
	bcfmt_err err = leaves_open(&leaves, cache);
	uint64_t bytes = 0;
	bool is_fine = !err;

	for (size_t i = 0; i < leaves.n; i++)
		bytes += leaf_bytes(leaves.refs[i]);
	if (is_fine && flat_path) {
		is_fine = write_flat(&leaves, flat_path);
	} else if (is_fine) {
		double begin = now_seconds();

		is_fine = read_all(&leaves, n_threads);
		printf("%.4f %" PRIu64 "\n", now_seconds() - begin, bytes);
	}
	if (!is_fine)
		cli_error_ctx(cache, leaves.ctx, err ? err : BCFMT_E_IO);
	leaves_close(&leaves);
	return is_fine ? 0 : 1;
}

/* ---- files ---- */

static int read_sequential(const char *path)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	uint8_t *buf = malloc(FLAT_BYTES);
	double begin = now_seconds();
	ssize_t got = -1;

	if (fd >= 0 && buf && !posix_fadvise(fd, 0, 0, POSIX_FADV_SEQUENTIAL))
		while ((got = read(fd, buf, FLAT_BYTES)) > 0)
			;
	if (!got)
		printf("%.4f\n", now_seconds() - begin);
	free(buf);
	if (fd >= 0)
		close(fd);
	return got ? fail(path) : 0;
}

static int drop(const char *path)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC), result = 0;
	struct statfs fs;

	if (fd < 0 || fstatfs(fd, &fs) || fsync(fd) || posix_fadvise(fd, 0, 0, POSIX_FADV_DONTNEED))
		result = fail(path);
	else if (fs.f_type == TMPFS_MAGIC)
		result = 3;
	if (fd >= 0)
		close(fd);
	return result;
}

/* ---- cache_restore ---- */

/* Every block of the cache holds one of four times as many, each once; half of them are dirty. */
static int write_xml(uint64_t n)
{
	printf("<superblock uuid=\"\" block_size=\"128\" nr_cache_blocks=\"%" PRIu64
	       "\" policy=\"smq\" hint_width=\"4\">\n<mappings>\n",
	       n);
	for (uint64_t i = 0; i < n; i++)
		printf("<mapping cache_block=\"%" PRIu64 "\" origin_block=\"%" PRIu64
		       "\" dirty=\"%s\"/>\n",
		       i, i * 2654435761u % (4 * n), i * 40503 >> 3 & 1 ? "true" : "false");
	puts("</mappings>\n<hints>\n</hints>\n</superblock>");
	return cli_stdout_flush() ? 0 : 1;
}

int main(int argc, char **argv)
{
	uint64_t number;
	int result = 0;

	if (argc > 3 && !strcmp(argv[1], "time") && cli_number_u64(argv[2], 255, &number))
		result = time_command(argv + 3, number);
	else if (argc > 2 && !strcmp(argv[1], "time"))
		result = time_command(argv + 2, 0);
	else if (argc == 4 && !strcmp(argv[1], "read") &&
		 cli_number_u64(argv[3], THREADS_MAX, &number) && number)
		result = with_leaves(argv[2], NULL, (unsigned int)number);
	else if (argc == 4 && !strcmp(argv[1], "flat"))
		result = with_leaves(argv[2], argv[3], 1);
	else if (argc == 4 && !strcmp(argv[1], "damage") &&
		 cli_number_u64(argv[3], UINT32_MAX, &number) && number)
		result = damage(argv[2], number);
	else if (argc == 3 && !strcmp(argv[1], "seq"))
		result = read_sequential(argv[2]);
	else if (argc > 2 && !strcmp(argv[1], "drop"))
		for (int i = 2; !result && i < argc; i++)
			result = drop(argv[i]);
	else if (argc == 3 && !strcmp(argv[1], "xml") &&
		 cli_number_u64(argv[2], 1ull << 32, &number))
		result = write_xml(number);
	else
		result = usage();
	return result;
}
