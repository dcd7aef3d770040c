/* SPDX-License-Identifier: GPL-2.0-or-later */
/* A context: limits, cancellation, progress and the last failure of a piece of work. */
#ifndef BCFMT_CTX_H
#define BCFMT_CTX_H

#include <bcfmt/base.h>

BCFMT_BEGIN_DECLS

struct bcfmt_ctx;

/*
 * Called from the thread that called the library, never from a worker.
 * done and total are in the unit of the pass (nodes, bytes); total 0 means not known yet.
 */
typedef void (*bcfmt_progress_fn)(void *arg, const char *pass, uint64_t done, uint64_t total);

struct bcfmt_ctx_params {
	unsigned int threads;          /* worker threads; 0: as many as processors, at most 8 */
	uint64_t max_bytes;            /* memory for sorted runs before they spill; 0: 64 MiB */
	const volatile int *cancelled; /* borrowed, may be NULL; not 0: stop soon, E_CANCELLED */
	bcfmt_progress_fn progress;    /* may be NULL */
	void *progress_arg;
	const char *tmp_dir;           /* for spilled runs; NULL: /var/tmp. Copied */
};

/* *out is freed with bcfmt_ctx_free() after everything that was made with it. E_NOMEM. */
BCFMT_API bcfmt_err bcfmt_ctx_new(const struct bcfmt_ctx_params *params, struct bcfmt_ctx **out);
BCFMT_API void bcfmt_ctx_free(struct bcfmt_ctx *ctx);

BCFMT_API unsigned int bcfmt_ctx_threads(const struct bcfmt_ctx *ctx);
BCFMT_API uint64_t bcfmt_ctx_max_bytes(const struct bcfmt_ctx *ctx);
BCFMT_API const char *bcfmt_ctx_tmp_dir(const struct bcfmt_ctx *ctx);
BCFMT_API bool bcfmt_ctx_is_cancelled(const struct bcfmt_ctx *ctx);
BCFMT_API void bcfmt_ctx_progress(struct bcfmt_ctx *ctx, const char *pass, uint64_t done,
				  uint64_t total);

/*
 * Records why a call fails and returns err. The sentence names device, place and value, lower
 * case, no full stop. The first failure since bcfmt_ctx_fault_clear() is kept. Thread-safe.
 */
BCFMT_API bcfmt_err bcfmt_fail(struct bcfmt_ctx *ctx, bcfmt_err err, const char *fmt, ...)
	BCFMT_PRINTF(3, 4);
/* The recorded sentence, "" when there is none. Borrowed until the next bcfmt_fail() or clear. */
BCFMT_API const char *bcfmt_ctx_fault(const struct bcfmt_ctx *ctx);
BCFMT_API void bcfmt_ctx_fault_clear(struct bcfmt_ctx *ctx);

BCFMT_END_DECLS

#endif
