/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Sorted runs: records of one size, sorted in memory, spilled to a temporary file when many. */
#ifndef BASE_RUNS_H
#define BASE_RUNS_H

#include <bcfmt/ctx.h>

struct runs;

/* Total order; equal records may come out in any order, so compare every field that matters. */
typedef int (*runs_cmp_fn)(const void *a, const void *b);

/*
 * Collects records of record_bytes (8..256). At most max_bytes (>= 1 MiB) stay in memory; the
 * rest lies in unlinked files in the context's temporary folder. Freed with runs_free().
 */
bcfmt_err runs_new(struct bcfmt_ctx *ctx, size_t record_bytes, uint64_t max_bytes,
		   runs_cmp_fn cmp, struct runs **out);
void runs_free(struct runs *runs);
/* Not thread-safe: callers that add from workers hold their own lock and add in batches. */
bcfmt_err runs_add(struct runs *runs, const void *records, size_t n);
/* Ends adding and sorts. Afterwards runs_next() and, after runs_seek(), again. */
bcfmt_err runs_sort(struct runs *runs);
/* OK and *record (borrowed until the next call), END, or an error. */
bcfmt_err runs_next(struct runs *runs, const void **record);
/*
 * The next runs_next() gives record index (<= count). Flattens first when records are spilled and
 * index is not 0.
 */
bcfmt_err runs_seek(struct runs *runs, uint64_t index);
uint64_t runs_count(const struct runs *runs);
uint64_t runs_spilled_bytes(const struct runs *runs);

/*
 * Random access by index into the sorted whole; needs runs_flatten() first, which merges spilled
 * runs into one file and starts runs_next() anew. Thread-safe after that. n records are copied to
 * out.
 */
bcfmt_err runs_flatten(struct runs *runs);
bcfmt_err runs_get(struct runs *runs, uint64_t index, void *out, size_t n);

#endif
