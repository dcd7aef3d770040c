/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Sorted runs, in memory and spilled. */
#include <criterion/criterion.h>

#include <dirent.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#include "base/runs.h"

struct record {
	uint64_t key;
	uint64_t number;
};

static int by_key_and_number(const void *left, const void *right)
{
	const struct record *a = left, *b = right;

	if (a->key != b->key)
		return a->key < b->key ? -1 : 1;
	return a->number < b->number ? -1 : a->number > b->number;
}

static struct bcfmt_ctx *new_ctx(const char *tmp_dir, const volatile int *cancelled)
{
	struct bcfmt_ctx_params params = { .tmp_dir = tmp_dir, .cancelled = cancelled };
	struct bcfmt_ctx *ctx;

	cr_assert_eq(bcfmt_ctx_new(&params, &ctx), BCFMT_OK);
	return ctx;
}

/* Keys repeat, numbers do not. */
static struct record record_at(uint64_t i)
{
	return (struct record){ .key = i * 0x9e3779b97f4a7c15 >> 40, .number = i };
}

static struct runs *filled(struct bcfmt_ctx *ctx, uint64_t n, uint64_t max_bytes)
{
	struct record batch[100];
	struct runs *runs;
	uint64_t i = 0;

	cr_assert_eq(runs_new(ctx, sizeof(batch[0]), max_bytes, by_key_and_number, &runs),
		     BCFMT_OK);
	while (i < n) {
		size_t part = 0;

		while (part < 1 + i % 100 && i + part < n) {
			batch[part] = record_at(i + part);
			part++;
		}
		cr_assert_eq(runs_add(runs, batch, part), BCFMT_OK);
		i += part;
	}
	cr_assert_eq(runs_count(runs), n);
	return runs;
}

/* Every record once and in order; the sum proves that none was swapped for another. */
static void expect_sorted(struct runs *runs, uint64_t n, uint64_t from)
{
	struct record last = { 0 };
	const void *at;
	uint64_t seen = 0, sum = 0;
	bcfmt_err err;

	while (!(err = runs_next(runs, &at))) {
		const struct record *record = at;

		cr_assert_eq(record->key, record_at(record->number).key);
		if (seen)
			cr_assert_lt(by_key_and_number(&last, record), 0);
		last = *record;
		sum += record->number;
		seen++;
	}
	cr_assert_eq(err, BCFMT_END);
	cr_assert_eq(seen, n - from);
	if (!from)
		cr_assert_eq(sum, n * (n - 1) / 2);
	cr_assert_eq(runs_next(runs, &at), BCFMT_END);
}

Test(runs, nothing_at_all)
{
	struct bcfmt_ctx *ctx = new_ctx("/tmp", NULL);
	struct runs *runs = filled(ctx, 0, 1 << 20);
	struct record record;
	const void *at;

	cr_assert_eq(runs_next(runs, &at), BCFMT_E_ARG);
	cr_assert_eq(runs_sort(runs), BCFMT_OK);
	cr_assert_eq(runs_next(runs, &at), BCFMT_END);
	cr_assert_eq(runs_flatten(runs), BCFMT_OK);
	cr_assert_eq(runs_get(runs, 0, &record, 0), BCFMT_OK);
	cr_assert_eq(runs_get(runs, 0, &record, 1), BCFMT_E_ARG);
	runs_free(runs);
	runs_free(NULL);
	bcfmt_ctx_free(ctx);
}

Test(runs, in_memory)
{
	struct bcfmt_ctx *ctx = new_ctx("/tmp", NULL);
	struct runs *runs = filled(ctx, 20000, 1 << 20);

	cr_assert_eq(runs_sort(runs), BCFMT_OK);
	cr_assert_eq(runs_spilled_bytes(runs), 0);
	expect_sorted(runs, 20000, 0);
	cr_assert_eq(runs_seek(runs, 0), BCFMT_OK);
	expect_sorted(runs, 20000, 0);
	cr_assert_eq(runs_seek(runs, 19000), BCFMT_OK);
	expect_sorted(runs, 20000, 19000);
	runs_free(runs);
	bcfmt_ctx_free(ctx);
}

Test(runs, spilled_in_a_few_runs)
{
	struct bcfmt_ctx *ctx = new_ctx("/tmp", NULL);
	struct runs *runs = filled(ctx, 150001, 1 << 20);

	cr_assert_eq(runs_sort(runs), BCFMT_OK);
	cr_assert_eq(runs_spilled_bytes(runs), 150001 * sizeof(struct record));
	expect_sorted(runs, 150001, 0);
	cr_assert_eq(runs_sort(runs), BCFMT_OK);
	expect_sorted(runs, 150001, 0);
	runs_free(runs);
	bcfmt_ctx_free(ctx);
}

/* 1 MiB holds 32768 records of 16 bytes and merges 8 runs at a time: this takes two passes. */
Test(runs, spilled_in_more_runs_than_one_merge_takes)
{
	struct bcfmt_ctx *ctx = new_ctx("/tmp", NULL);
	uint64_t n = 32768 * 70 + 5;
	struct runs *runs = filled(ctx, n, 1 << 20);

	cr_assert_eq(runs_sort(runs), BCFMT_OK);
	expect_sorted(runs, n, 0);
	runs_free(runs);
	bcfmt_ctx_free(ctx);
}

struct reader {
	struct runs *runs;
	const struct record *all;
	uint64_t n;
	unsigned int failures;
};

static void *read_here_and_there(void *arg)
{
	struct reader *reader = arg;
	struct record got[7];

	for (uint64_t i = 0; i < 3000; i++) {
		uint64_t index = i * 7919 % (reader->n - 6);

		if (runs_get(reader->runs, index, got, 7) ||
		    memcmp(got, reader->all + index, sizeof(got)))
			reader->failures++;
	}
	return NULL;
}

static void check_random_access(uint64_t n)
{
	struct bcfmt_ctx *ctx = new_ctx("/tmp", NULL);
	struct runs *runs = filled(ctx, n, 1 << 20);
	struct record *all = malloc(n * sizeof(*all));
	struct record one;
	struct reader readers[3];
	pthread_t threads[3];

	for (uint64_t i = 0; i < n; i++)
		all[i] = record_at(i);
	qsort(all, n, sizeof(*all), by_key_and_number);
	cr_assert_eq(runs_sort(runs), BCFMT_OK);
	cr_assert_eq(runs_flatten(runs), BCFMT_OK);
	expect_sorted(runs, n, 0);
	cr_assert_eq(runs_seek(runs, n / 2), BCFMT_OK);
	expect_sorted(runs, n, n / 2);
	for (unsigned int i = 0; i < 3; i++) {
		readers[i] = (struct reader){ runs, all, n, 0 };
		cr_assert_eq(pthread_create(&threads[i], NULL, read_here_and_there, &readers[i]),
			     0);
	}
	for (unsigned int i = 0; i < 3; i++) {
		pthread_join(threads[i], NULL);
		cr_assert_eq(readers[i].failures, 0);
	}
	cr_assert_eq(runs_get(runs, n - 1, &one, 1), BCFMT_OK);
	cr_assert_eq(one.number, all[n - 1].number);
	cr_assert_eq(runs_get(runs, n, &one, 1), BCFMT_E_ARG);
	cr_assert_eq(runs_get(runs, UINT64_MAX, &one, 2), BCFMT_E_ARG);
	cr_assert_eq(runs_get(runs, 1, &one, SIZE_MAX), BCFMT_E_ARG);
	free(all);
	runs_free(runs);
	bcfmt_ctx_free(ctx);
}

Test(runs, random_access_in_memory)
{
	check_random_access(5000);
}

Test(runs, random_access_after_flattening)
{
	check_random_access(200000);
}

Test(runs, seek_flattens_when_it_has_to)
{
	struct bcfmt_ctx *ctx = new_ctx("/tmp", NULL);
	struct runs *runs = filled(ctx, 100000, 1 << 20);
	struct record one;

	cr_assert_eq(runs_sort(runs), BCFMT_OK);
	cr_assert_eq(runs_get(runs, 5, &one, 1), BCFMT_E_ARG);
	cr_assert_eq(runs_seek(runs, 99000), BCFMT_OK);
	expect_sorted(runs, 100000, 99000);
	cr_assert_eq(runs_get(runs, 5, &one, 1), BCFMT_OK);
	cr_assert_eq(runs_seek(runs, 100001), BCFMT_E_ARG);
	runs_free(runs);
	bcfmt_ctx_free(ctx);
}

static int by_bytes(const void *a, const void *b)
{
	return memcmp(a, b, 256);
}

Test(runs, records_of_256_bytes)
{
	struct bcfmt_ctx *ctx = new_ctx("/tmp", NULL);
	uint8_t record[256], last[256] = { 0 };
	struct runs *runs;
	const void *at;
	unsigned int n = 0;

	cr_assert_eq(runs_new(ctx, 256, 1 << 20, by_bytes, &runs), BCFMT_OK);
	for (unsigned int i = 0; i < 9000; i++) {
		memset(record, (int)(i * 151 % 251), sizeof(record));
		record[255] = (uint8_t)i;
		cr_assert_eq(runs_add(runs, record, 1), BCFMT_OK);
	}
	cr_assert_eq(runs_sort(runs), BCFMT_OK);
	cr_assert_gt(runs_spilled_bytes(runs), 0);
	while (!runs_next(runs, &at)) {
		cr_assert_leq(memcmp(last, at, 256), 0);
		memcpy(last, at, 256);
		n++;
	}
	cr_assert_eq(n, 9000);
	runs_free(runs);
	bcfmt_ctx_free(ctx);
}

Test(runs, arguments_out_of_range)
{
	struct bcfmt_ctx *ctx = new_ctx("/tmp", NULL);
	struct runs *runs;
	struct record record = { 0 };

	cr_assert_eq(runs_new(ctx, 7, 1 << 20, by_bytes, &runs), BCFMT_E_ARG);
	cr_assert_eq(runs_new(ctx, 257, 1 << 20, by_bytes, &runs), BCFMT_E_ARG);
	cr_assert_eq(runs_new(ctx, 8, (1 << 20) - 1, by_bytes, &runs), BCFMT_E_ARG);
	cr_assert_null(runs);
	runs = filled(ctx, 10, 1 << 20);
	cr_assert_eq(runs_flatten(runs), BCFMT_E_ARG);
	cr_assert_eq(runs_sort(runs), BCFMT_OK);
	cr_assert_eq(runs_add(runs, &record, 1), BCFMT_E_ARG);
	runs_free(runs);
	bcfmt_ctx_free(ctx);
}

/* Adds until an error comes, at most n records. */
static bcfmt_err add_until_error(struct runs *runs, uint64_t n)
{
	for (uint64_t i = 0; i < n; i++) {
		struct record record = record_at(i);
		bcfmt_err err = runs_add(runs, &record, 1);

		if (err)
			return err;
	}
	return BCFMT_OK;
}

Test(runs, no_folder_to_spill_to)
{
	struct bcfmt_ctx *ctx = new_ctx("/nonexistent/folder", NULL);
	struct runs *runs = filled(ctx, 10, 1 << 20);
	const void *at;

	cr_assert_eq(add_until_error(runs, 100000), BCFMT_E_SYSTEM);
	cr_assert_not_null(strstr(bcfmt_ctx_fault(ctx), "/nonexistent/folder"));
	cr_assert_eq(runs_sort(runs), BCFMT_E_SYSTEM);
	cr_assert_eq(runs_next(runs, &at), BCFMT_E_SYSTEM);
	runs_free(runs);
	bcfmt_ctx_free(ctx);
}

/* A limit on the length of files stands in for a full disk. */
static void limit_files(uint64_t bytes)
{
	struct rlimit limit = { bytes, bytes };

	signal(SIGXFSZ, SIG_IGN);
	cr_assert_eq(setrlimit(RLIMIT_FSIZE, &limit), 0);
}

Test(runs, disk_fills_up_while_adding)
{
	struct bcfmt_ctx *ctx = new_ctx("/tmp", NULL);
	struct runs *runs = filled(ctx, 10, 1 << 20);

	limit_files(1300000);
	cr_assert_eq(add_until_error(runs, 200000), BCFMT_E_SYSTEM);
	cr_assert_not_null(strstr(bcfmt_ctx_fault(ctx), "write of"));
	cr_assert_eq(runs_sort(runs), BCFMT_E_SYSTEM);
	runs_free(runs);
	bcfmt_ctx_free(ctx);
}

Test(runs, disk_fills_up_while_flattening)
{
	struct bcfmt_ctx *ctx = new_ctx("/tmp", NULL);
	struct runs *runs = filled(ctx, 200000, 1 << 20);
	struct record one;

	cr_assert_eq(runs_sort(runs), BCFMT_OK);
	limit_files(1000000);
	cr_assert_eq(runs_flatten(runs), BCFMT_E_SYSTEM);
	cr_assert_eq(runs_get(runs, 0, &one, 1), BCFMT_E_SYSTEM);
	runs_free(runs);
	bcfmt_ctx_free(ctx);
}

Test(runs, cancelled_while_merging)
{
	volatile int cancelled = 0;
	struct bcfmt_ctx *ctx = new_ctx("/tmp", &cancelled);
	struct runs *runs = filled(ctx, 200000, 1 << 20);

	cr_assert_eq(runs_sort(runs), BCFMT_OK);
	cancelled = 1;
	cr_assert_eq(runs_flatten(runs), BCFMT_E_CANCELLED);
	runs_free(runs);
	bcfmt_ctx_free(ctx);
}

static unsigned int open_files(void)
{
	DIR *dir = opendir("/proc/self/fd");
	unsigned int n = 0;

	while (readdir(dir))
		n++;
	closedir(dir);
	return n;
}

Test(runs, leaves_neither_descriptors_nor_names_behind)
{
	char dir[] = "/tmp/test-runs-XXXXXX";
	struct bcfmt_ctx *ctx;
	struct runs *runs;
	unsigned int before = open_files(), names = 0;
	DIR *open_dir;

	cr_assert_not_null(mkdtemp(dir));
	ctx = new_ctx(dir, NULL);
	runs = filled(ctx, 100000, 1 << 20);
	cr_assert_eq(runs_sort(runs), BCFMT_OK);
	cr_assert_eq(runs_flatten(runs), BCFMT_OK);
	open_dir = opendir(dir);
	while (readdir(open_dir))
		names++;
	closedir(open_dir);
	cr_assert_eq(names, 2); /* . and .. */
	runs_free(runs);
	cr_assert_eq(open_files(), before);
	bcfmt_ctx_free(ctx);
	cr_assert_eq(rmdir(dir), 0);
}
