/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What the tests of devices share: a folder for files, contents that tell where they belong. */
#ifndef TESTS_UNIT_DEV_HELP_H
#define TESTS_UNIT_DEV_HELP_H

#include <criterion/criterion.h>

#include <ftw.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <bcfmt/ctx.h>
#include <bcfmt/dev.h>

#define HELP_PATH_BYTES 512u

/* Of the running test; each test is a process of its own. */
static char help_dir[HELP_PATH_BYTES];
static struct bcfmt_ctx *help_ctx;

static inline void help_begin(void)
{
	const char *parent = getenv("TMPDIR");
	struct bcfmt_ctx_params params = { .threads = 1, .tmp_dir = help_dir };

	snprintf(help_dir, sizeof(help_dir), "%s/bcfmt-dev-XXXXXX",
		 parent && *parent ? parent : "/tmp");
	cr_assert_not_null(mkdtemp(help_dir));
	cr_assert_eq(bcfmt_ctx_new(&params, &help_ctx), BCFMT_OK);
}

static inline int help_remove(const char *path, const struct stat *st, int kind, struct FTW *ftw)
{
	(void)st;
	(void)kind;
	(void)ftw;
	return remove(path);
}

static inline void help_end(void)
{
	bcfmt_ctx_free(help_ctx);
	nftw(help_dir, help_remove, 16, FTW_DEPTH | FTW_PHYS);
}

/* Path of a name in the test's folder, in a buffer of the caller. */
static inline const char *help_path(char path[HELP_PATH_BYTES], const char *name)
{
	int len = snprintf(path, HELP_PATH_BYTES, "%s/%s", help_dir, name);

	cr_assert(len > 0 && (size_t)len < HELP_PATH_BYTES);
	return path;
}

/* A file of these bytes; folders on the way are made. */
static inline void help_file(const char *name, const void *bytes, size_t len_bytes)
{
	char path[HELP_PATH_BYTES];
	char *slash = path + strlen(help_dir);
	FILE *file;

	help_path(path, name);
	while ((slash = strchr(slash + 1, '/'))) {
		*slash = '\0';
		mkdir(path, 0700);
		*slash = '/';
	}
	file = fopen(path, "we");
	cr_assert_not_null(file);
	cr_assert_eq(fwrite(bytes, 1, len_bytes, file), len_bytes);
	cr_assert_eq(fclose(file), 0);
}

static inline void help_text(const char *name, const char *text)
{
	help_file(name, text, strlen(text));
}

/* A byte that differs from its neighbours, its sector's neighbours and other seeds. */
static inline uint8_t help_byte(uint64_t offset_bytes, unsigned int seed)
{
	uint64_t mixed = (offset_bytes + 1) * 0x9e3779b97f4a7c15ull + seed * 0xc2b2ae3d27d4eb4full;

	return (uint8_t)(mixed >> 40);
}

static inline void help_fill(uint8_t *buf, uint64_t offset_bytes, size_t len_bytes,
			     unsigned int seed)
{
	size_t i;

	for (i = 0; i < len_bytes; i++)
		buf[i] = help_byte(offset_bytes + i, seed);
}

/* A memory device with help_fill() contents. */
static inline struct bcfmt_dev *help_mem(size_t len_bytes, unsigned int seed)
{
	uint8_t *bytes = malloc(len_bytes);
	struct bcfmt_dev *dev;

	help_fill(bytes, 0, len_bytes, seed);
	cr_assert_eq(bcfmt_dev_mem(help_ctx, "mem", bytes, len_bytes, &dev), BCFMT_OK);
	free(bytes);
	return dev;
}

static inline bool help_all_zero(const uint8_t *buf, size_t len_bytes)
{
	size_t i;

	for (i = 0; i < len_bytes; i++)
		if (buf[i])
			return false;
	return true;
}

/* A repeatable sequence of numbers. */
static inline uint64_t help_random(uint64_t *state)
{
	*state ^= *state << 13;
	*state ^= *state >> 7;
	*state ^= *state << 17;
	return *state;
}

/* The fault names this; the next failure is then recorded anew. */
static inline void help_expect_fault(const char *part)
{
	cr_expect(strstr(bcfmt_ctx_fault(help_ctx), part), "fault '%s' does not name '%s'",
		  bcfmt_ctx_fault(help_ctx), part);
	bcfmt_ctx_fault_clear(help_ctx);
}

#endif
