/* SPDX-License-Identifier: GPL-2.0-or-later */
/* A context: limits, cancellation, progress and the last failure. */
#include <bcfmt/ctx.h>

#include <pthread.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define CTX_THREADS_MAX 8
#define CTX_MAX_BYTES_DEFAULT (64ull << 20)
#define CTX_TMP_DIR_DEFAULT "/var/tmp"
#define CTX_FAULT_BYTES 1024u

struct bcfmt_ctx {
	struct bcfmt_ctx_params params;
	char *tmp_dir;
	pthread_mutex_t fault_lock;
	bool has_fault;               /* under fault_lock */
	char fault[CTX_FAULT_BYTES];  /* written once while has_fault is false, under fault_lock */
};

static unsigned int default_threads(void)
{
	long cpus = sysconf(_SC_NPROCESSORS_ONLN);

	if (cpus < 1)
		return 1;
	return cpus > CTX_THREADS_MAX ? CTX_THREADS_MAX : (unsigned int)cpus;
}

bcfmt_err bcfmt_ctx_new(const struct bcfmt_ctx_params *params, struct bcfmt_ctx **out)
{
	struct bcfmt_ctx *ctx;

	*out = NULL;
	ctx = calloc(1, sizeof(*ctx));
	if (!ctx)
		return BCFMT_E_NOMEM;
	if (params)
		ctx->params = *params;
	if (!ctx->params.threads)
		ctx->params.threads = default_threads();
	if (!ctx->params.max_bytes)
		ctx->params.max_bytes = CTX_MAX_BYTES_DEFAULT;
	ctx->tmp_dir = strdup(ctx->params.tmp_dir ? ctx->params.tmp_dir : CTX_TMP_DIR_DEFAULT);
	if (!ctx->tmp_dir)
		goto free_ctx;
	ctx->params.tmp_dir = ctx->tmp_dir;
	if (pthread_mutex_init(&ctx->fault_lock, NULL))
		goto free_tmp_dir;
	*out = ctx;
	return BCFMT_OK;

free_tmp_dir:
	free(ctx->tmp_dir);
free_ctx:
	free(ctx);
	return BCFMT_E_NOMEM;
}

void bcfmt_ctx_free(struct bcfmt_ctx *ctx)
{
	if (!ctx)
		return;
	pthread_mutex_destroy(&ctx->fault_lock);
	free(ctx->tmp_dir);
	free(ctx);
}

unsigned int bcfmt_ctx_threads(const struct bcfmt_ctx *ctx)
{
	return ctx->params.threads;
}

uint64_t bcfmt_ctx_max_bytes(const struct bcfmt_ctx *ctx)
{
	return ctx->params.max_bytes;
}

const char *bcfmt_ctx_tmp_dir(const struct bcfmt_ctx *ctx)
{
	return ctx->params.tmp_dir;
}

bool bcfmt_ctx_is_cancelled(const struct bcfmt_ctx *ctx)
{
	return ctx->params.cancelled && *ctx->params.cancelled;
}

void bcfmt_ctx_progress(struct bcfmt_ctx *ctx, const char *pass, uint64_t done, uint64_t total)
{
	if (ctx->params.progress)
		ctx->params.progress(ctx->params.progress_arg, pass, done, total);
}

bcfmt_err bcfmt_fail(struct bcfmt_ctx *ctx, bcfmt_err err, const char *fmt, ...)
{
	va_list args;

	if (!ctx)
		return err;
	va_start(args, fmt);
	pthread_mutex_lock(&ctx->fault_lock);
	if (!ctx->has_fault) {
		vsnprintf(ctx->fault, sizeof(ctx->fault), fmt, args);
		ctx->has_fault = true;
	}
	pthread_mutex_unlock(&ctx->fault_lock);
	va_end(args);
	return err;
}

const char *bcfmt_ctx_fault(const struct bcfmt_ctx *ctx)
{
	/* The lock is the one part of a context that a reader has to change. */
	pthread_mutex_t *lock = (pthread_mutex_t *)(uintptr_t)&ctx->fault_lock;
	bool has_fault;

	pthread_mutex_lock(lock);
	has_fault = ctx->has_fault;
	pthread_mutex_unlock(lock);
	return has_fault ? ctx->fault : "";
}

void bcfmt_ctx_fault_clear(struct bcfmt_ctx *ctx)
{
	pthread_mutex_lock(&ctx->fault_lock);
	ctx->has_fault = false;
	pthread_mutex_unlock(&ctx->fault_lock);
}
