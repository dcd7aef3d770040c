/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Sorted runs: records of one size, sorted in memory, spilled to a temporary file when many.
 *
 * Holds: all spilled runs lie one behind the other in one unlinked file. Adding keeps at most
 * max_bytes / 2 of records, because the C library's qsort() may take as much again. Merging keeps
 * at most max_bytes / 2 in read buffers and max_bytes / 4 in the write buffer; more runs than
 * the read buffers can serve well are first merged into fewer.
 */
#include "base/runs.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/checked.h"
#include "base/tmpfile.h"
#include "base/vec.h"

#define RUNS_MIN_MAX_BYTES (1ull << 20)
#define RUNS_FIRST_BYTES (64u << 10)
#define RUNS_READ_BYTES (64u << 10)  /* below this a merge is all seeking */
#define RUNS_READ_BYTES_MAX (1u << 20)
#define RUNS_WRITE_BYTES_MAX (1u << 20)
#define RUNS_FANIN_MAX 512u
#define RUNS_CANCEL_MASK 0xffffu     /* look for a cancel every 64 Ki records */

struct run {
	uint64_t offset_bytes;
	uint64_t count;
};

/* Reads one run through a buffer of its own. */
struct cursor {
	uint64_t offset_bytes; /* of what is not buffered yet */
	uint64_t left;         /* records not buffered yet */
	uint8_t *buf;
	size_t n;              /* records in buf */
	size_t at;             /* the current one */
};

/* A k-way merge of consecutive runs of one file. */
struct merge {
	int fd;
	struct cursor *cursors;
	uint8_t *bufs;
	uint32_t *heap;      /* indexes of cursors, least record first */
	uint32_t heap_n;
	size_t buf_records;
	bool is_top_used;    /* the top was handed out: move on before the next look */
};

struct runs {
	struct bcfmt_ctx *ctx;
	size_t record_bytes;
	uint64_t max_bytes;
	runs_cmp_fn cmp;
	bcfmt_err failed;       /* first failure; every later call returns it */
	uint64_t count;
	bool is_sorted;

	uint8_t *buf;           /* records in memory; NULL once the rest went to the file */
	size_t n;
	size_t cap;
	size_t cap_max;
	uint64_t pos;           /* next record when all is in memory */

	int fd;                 /* -1 until the first spill */
	uint64_t file_bytes;
	uint64_t spilled_bytes;
	struct vec spilled;     /* struct run */
	struct merge merge;     /* open between runs_sort() and runs_free() when spilled */
};

/* ---- one merge ---- */

static void merge_close(struct merge *merge)
{
	free(merge->cursors);
	free(merge->bufs);
	free(merge->heap);
	*merge = (struct merge){ .fd = -1 };
}

/* After it at < n, or n is 0 at the end of the run. */
static bcfmt_err cursor_fill(struct runs *runs, const struct merge *merge, struct cursor *cursor)
{
	size_t n = (size_t)min_u64(cursor->left, merge->buf_records);
	size_t bytes = n * runs->record_bytes;
	bcfmt_err err;

	cursor->at = 0;
	cursor->n = 0;
	if (!n)
		return BCFMT_OK;
	err = tmpfile_read(runs->ctx, merge->fd, cursor->offset_bytes, cursor->buf, bytes);
	if (err)
		return err;
	cursor->n = n;
	cursor->left -= n;
	cursor->offset_bytes += bytes;
	return BCFMT_OK;
}

static const uint8_t *cursor_record(const struct runs *runs, const struct merge *merge,
				    uint32_t index)
{
	const struct cursor *cursor = &merge->cursors[index];

	return cursor->buf + cursor->at * runs->record_bytes;
}

static bool is_before(const struct runs *runs, const struct merge *merge, uint32_t a, uint32_t b)
{
	int order = runs->cmp(cursor_record(runs, merge, a), cursor_record(runs, merge, b));

	return order ? order < 0 : a < b;
}

static void sift_down(const struct runs *runs, struct merge *merge, uint32_t at)
{
	uint32_t *heap = merge->heap;

	for (;;) {
		uint32_t least = at, child = 2 * at + 1, moved;

		if (child < merge->heap_n && is_before(runs, merge, heap[child], heap[least]))
			least = child;
		child++;
		if (child < merge->heap_n && is_before(runs, merge, heap[child], heap[least]))
			least = child;
		if (least == at)
			return;
		moved = heap[at];
		heap[at] = heap[least];
		heap[least] = moved;
		at = least;
	}
}

/* n runs (1..RUNS_FANIN_MAX) of the spill file. On error merge stays closed. */
static bcfmt_err merge_open(struct runs *runs, struct merge *merge, const struct run *first,
			    uint32_t n)
{
	bcfmt_err err = BCFMT_E_NOMEM;
	size_t buf_bytes;

	*merge = (struct merge){ .fd = runs->fd };
	merge->buf_records = (size_t)(min_u64(runs->max_bytes / 2 / n, RUNS_READ_BYTES_MAX) /
				      runs->record_bytes);
	buf_bytes = merge->buf_records * runs->record_bytes;
	merge->cursors = calloc(n, sizeof(*merge->cursors));
	merge->heap = calloc(n, sizeof(*merge->heap));
	merge->bufs = malloc(n * buf_bytes);
	if (!merge->cursors || !merge->heap || !merge->bufs)
		goto close;
	for (uint32_t i = 0; i < n; i++) {
		struct cursor *cursor = &merge->cursors[i];

		cursor->buf = merge->bufs + i * buf_bytes;
		cursor->offset_bytes = first[i].offset_bytes;
		cursor->left = first[i].count;
		err = cursor_fill(runs, merge, cursor);
		if (err)
			goto close;
		if (cursor->n)
			merge->heap[merge->heap_n++] = i;
	}
	for (uint32_t i = merge->heap_n / 2; i-- > 0;)
		sift_down(runs, merge, i);
	return BCFMT_OK;

close:
	merge_close(merge);
	return err;
}

/* *record stays valid until the next call. */
static bcfmt_err merge_next(struct runs *runs, struct merge *merge, const void **record)
{
	if (merge->is_top_used) {
		struct cursor *top = &merge->cursors[merge->heap[0]];

		merge->is_top_used = false;
		if (++top->at == top->n) {
			bcfmt_err err = cursor_fill(runs, merge, top);

			if (err)
				return err;
		}
		if (!top->n)
			merge->heap[0] = merge->heap[--merge->heap_n];
		sift_down(runs, merge, 0);
	}
	if (!merge->heap_n)
		return BCFMT_END;
	*record = cursor_record(runs, merge, merge->heap[0]);
	merge->is_top_used = true;
	return BCFMT_OK;
}

/* ---- merging into a file ---- */

struct writer {
	int fd;
	uint64_t offset_bytes;
	uint8_t *buf;
	size_t fill_bytes;
	size_t buf_bytes;
};

static bcfmt_err writer_flush(struct runs *runs, struct writer *writer)
{
	bcfmt_err err = tmpfile_write(runs->ctx, writer->fd, writer->offset_bytes, writer->buf,
				      writer->fill_bytes);

	if (err)
		return err;
	writer->offset_bytes += writer->fill_bytes;
	writer->fill_bytes = 0;
	return BCFMT_OK;
}

/* Merges n runs from first on into one at the writer's place. */
static bcfmt_err merge_group(struct runs *runs, struct writer *writer, const struct run *first,
			     uint32_t n, struct run *out)
{
	struct merge merge;
	const void *record;
	bcfmt_err err;

	*out = (struct run){ .offset_bytes = writer->offset_bytes + writer->fill_bytes };
	err = merge_open(runs, &merge, first, n);
	if (err)
		return err;
	while (!(err = merge_next(runs, &merge, &record))) {
		if (writer->fill_bytes + runs->record_bytes > writer->buf_bytes) {
			err = writer_flush(runs, writer);
			if (err)
				break;
		}
		memcpy(writer->buf + writer->fill_bytes, record, runs->record_bytes);
		writer->fill_bytes += runs->record_bytes;
		if (!(++out->count & RUNS_CANCEL_MASK) && bcfmt_ctx_is_cancelled(runs->ctx)) {
			err = BCFMT_E_CANCELLED;
			break;
		}
	}
	merge_close(&merge);
	return err == BCFMT_END ? BCFMT_OK : err;
}

/* One pass over all runs: every fanin of them become one, in a new file that replaces the old. */
static bcfmt_err merge_pass(struct runs *runs, uint32_t fanin)
{
	struct writer writer = { .fd = -1 };
	struct vec merged = { 0 };
	bcfmt_err err;

	writer.buf_bytes = (size_t)min_u64(runs->max_bytes / 4, RUNS_WRITE_BYTES_MAX);
	writer.buf = malloc(writer.buf_bytes);
	if (!writer.buf)
		return BCFMT_E_NOMEM;
	err = tmpfile_new(runs->ctx, &writer.fd);
	if (err)
		goto free_buf;
	for (size_t i = 0; i < runs->spilled.n; i += fanin) {
		struct run *out = vec_push(&merged, sizeof(*out));

		err = BCFMT_E_NOMEM;
		if (!out)
			goto close;
		err = merge_group(runs, &writer, VEC_AT(&runs->spilled, struct run, i),
				  (uint32_t)min_u64(fanin, runs->spilled.n - i), out);
		if (err)
			goto close;
	}
	err = writer_flush(runs, &writer);
	if (err)
		goto close;
	close(runs->fd);
	runs->fd = writer.fd;
	vec_free(&runs->spilled);
	runs->spilled = merged;
	free(writer.buf);
	return BCFMT_OK;

close:
	vec_free(&merged);
	close(writer.fd);
free_buf:
	free(writer.buf);
	return err;
}

static uint32_t runs_fanin(const struct runs *runs)
{
	return (uint32_t)min_u64(runs->max_bytes / 2 / RUNS_READ_BYTES, RUNS_FANIN_MAX);
}

/* ---- adding ---- */

bcfmt_err runs_new(struct bcfmt_ctx *ctx, size_t record_bytes, uint64_t max_bytes,
		   runs_cmp_fn cmp, struct runs **out)
{
	struct runs *runs;

	*out = NULL;
	if (record_bytes < 8 || record_bytes > 256 || max_bytes < RUNS_MIN_MAX_BYTES)
		return BCFMT_E_ARG;
	runs = calloc(1, sizeof(*runs));
	if (!runs)
		return BCFMT_E_NOMEM;
	runs->ctx = ctx;
	runs->record_bytes = record_bytes;
	runs->max_bytes = min_u64(max_bytes, PTRDIFF_MAX);
	runs->cmp = cmp;
	runs->fd = -1;
	runs->merge.fd = -1;
	runs->cap_max = (size_t)(runs->max_bytes / 2 / record_bytes);
	*out = runs;
	return BCFMT_OK;
}

void runs_free(struct runs *runs)
{
	if (!runs)
		return;
	merge_close(&runs->merge);
	vec_free(&runs->spilled);
	if (runs->fd >= 0)
		close(runs->fd);
	free(runs->buf);
	free(runs);
}

static bcfmt_err runs_fail(struct runs *runs, bcfmt_err err)
{
	runs->failed = err;
	return bcfmt_fail(runs->ctx, err, "sorting %llu records of %zu bytes: %s",
			  (unsigned long long)runs->count, runs->record_bytes,
			  bcfmt_err_name(err));
}

/* Much comes in order already, and to see that is cheaper than to sort. */
static void sort_buf(struct runs *runs)
{
	const uint8_t *at = runs->buf;

	for (size_t i = 1; i < runs->n; i++, at += runs->record_bytes) {
		if (runs->cmp(at, at + runs->record_bytes) > 0) {
			qsort(runs->buf, runs->n, runs->record_bytes, runs->cmp);
			return;
		}
	}
}

static bcfmt_err spill(struct runs *runs)
{
	size_t bytes = runs->n * runs->record_bytes;
	struct run *run;
	bcfmt_err err;

	if (!runs->n)
		return BCFMT_OK;
	sort_buf(runs);
	if (runs->fd < 0) {
		err = tmpfile_new(runs->ctx, &runs->fd);
		if (err)
			return err;
	}
	err = tmpfile_write(runs->ctx, runs->fd, runs->file_bytes, runs->buf, bytes);
	if (err)
		return err;
	run = vec_push(&runs->spilled, sizeof(*run));
	if (!run)
		return BCFMT_E_NOMEM;
	*run = (struct run){ .offset_bytes = runs->file_bytes, .count = runs->n };
	runs->file_bytes += bytes;
	runs->spilled_bytes += bytes;
	runs->n = 0;
	return BCFMT_OK;
}

/* Room for at least one more record. */
static bcfmt_err make_room(struct runs *runs)
{
	size_t cap;
	uint8_t *buf;

	if (runs->n < runs->cap)
		return BCFMT_OK;
	if (runs->cap == runs->cap_max)
		return spill(runs);
	cap = runs->cap ? runs->cap * 2 : RUNS_FIRST_BYTES / runs->record_bytes;
	if (cap > runs->cap_max)
		cap = runs->cap_max;
	buf = realloc(runs->buf, cap * runs->record_bytes);
	if (!buf)
		return BCFMT_E_NOMEM;
	runs->buf = buf;
	runs->cap = cap;
	return BCFMT_OK;
}

bcfmt_err runs_add(struct runs *runs, const void *records, size_t n)
{
	const uint8_t *at = records;

	if (runs->failed)
		return runs->failed;
	if (runs->is_sorted)
		return BCFMT_E_ARG;
	while (n) {
		bcfmt_err err = make_room(runs);
		size_t part;

		if (err)
			return runs_fail(runs, err);
		part = (size_t)min_u64(n, runs->cap - runs->n);
		memcpy(runs->buf + runs->n * runs->record_bytes, at, part * runs->record_bytes);
		at += part * runs->record_bytes;
		runs->n += part;
		runs->count += part;
		n -= part;
	}
	return BCFMT_OK;
}

/* ---- reading ---- */

static bcfmt_err reopen_merge(struct runs *runs)
{
	merge_close(&runs->merge);
	return merge_open(runs, &runs->merge, runs->spilled.items, (uint32_t)runs->spilled.n);
}

bcfmt_err runs_sort(struct runs *runs)
{
	uint32_t fanin = runs_fanin(runs);
	bcfmt_err err;

	if (runs->failed)
		return runs->failed;
	if (runs->is_sorted)
		return runs_seek(runs, 0);
	if (!runs->spilled.n) {
		sort_buf(runs);
		runs->is_sorted = true;
		return BCFMT_OK;
	}
	err = spill(runs);
	if (err)
		return runs_fail(runs, err);
	free(runs->buf);
	runs->buf = NULL;
	runs->cap = 0;
	while (runs->spilled.n > fanin) {
		err = merge_pass(runs, fanin);
		if (err)
			return runs_fail(runs, err);
	}
	err = reopen_merge(runs);
	if (err)
		return runs_fail(runs, err);
	runs->is_sorted = true;
	return BCFMT_OK;
}

bcfmt_err runs_next(struct runs *runs, const void **record)
{
	bcfmt_err err;

	if (runs->failed)
		return runs->failed;
	if (!runs->is_sorted)
		return BCFMT_E_ARG;
	if (!runs->spilled.n) {
		if (runs->pos >= runs->n)
			return BCFMT_END;
		*record = runs->buf + runs->pos++ * runs->record_bytes;
		return BCFMT_OK;
	}
	err = merge_next(runs, &runs->merge, record);
	return err < 0 ? runs_fail(runs, err) : err;
}

bcfmt_err runs_flatten(struct runs *runs)
{
	bcfmt_err err;

	if (runs->failed)
		return runs->failed;
	if (!runs->is_sorted)
		return BCFMT_E_ARG;
	if (runs->spilled.n > 1) {
		/* The reading merge would hold its buffers beside those of the pass. */
		merge_close(&runs->merge);
		err = merge_pass(runs, (uint32_t)runs->spilled.n);
		if (err)
			return runs_fail(runs, err);
	}
	return runs_seek(runs, 0);
}

bcfmt_err runs_seek(struct runs *runs, uint64_t index)
{
	bcfmt_err err;

	if (runs->failed)
		return runs->failed;
	if (!runs->is_sorted || index > runs->count)
		return BCFMT_E_ARG;
	if (!runs->spilled.n) {
		runs->pos = index;
		return BCFMT_OK;
	}
	if (index && runs->spilled.n > 1) {
		err = runs_flatten(runs);
		if (err)
			return err;
	}
	merge_close(&runs->merge);
	if (runs->spilled.n == 1) {
		struct run rest = *VEC_AT(&runs->spilled, struct run, 0);

		rest.offset_bytes += index * runs->record_bytes;
		rest.count -= index;
		err = merge_open(runs, &runs->merge, &rest, 1);
	} else {
		err = reopen_merge(runs);
	}
	return err ? runs_fail(runs, err) : BCFMT_OK;
}

bcfmt_err runs_get(struct runs *runs, uint64_t index, void *out, size_t n)
{
	if (runs->failed)
		return runs->failed;
	if (!runs->is_sorted || runs->spilled.n > 1)
		return BCFMT_E_ARG;
	if (index > runs->count || n > runs->count - index)
		return BCFMT_E_ARG;
	if (!n)
		return BCFMT_OK;
	if (runs->spilled.n) {
		const struct run *run = VEC_AT(&runs->spilled, struct run, 0);

		return tmpfile_read(runs->ctx, runs->fd,
				    run->offset_bytes + index * runs->record_bytes, out,
				    n * runs->record_bytes);
	}
	memcpy(out, runs->buf + index * runs->record_bytes, n * runs->record_bytes);
	return BCFMT_OK;
}

uint64_t runs_count(const struct runs *runs)
{
	return runs->count;
}

uint64_t runs_spilled_bytes(const struct runs *runs)
{
	return runs->spilled_bytes;
}
