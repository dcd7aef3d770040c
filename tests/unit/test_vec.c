/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The growing array, the context and the names of errors. */
#include <criterion/criterion.h>

#include <pthread.h>
#include <string.h>

#include <bcfmt/ctx.h>

#include "base/checked.h"
#include "base/vec.h"

Test(vec, items_stay_in_order_while_it_grows)
{
	struct vec vec = { 0 };

	for (uint64_t i = 0; i < 10000; i++) {
		uint64_t *item = vec_push(&vec, sizeof(*item));

		cr_assert_not_null(item);
		*item = i * i;
	}
	cr_assert_eq(vec.n, 10000);
	for (uint64_t i = 0; i < 10000; i++)
		cr_assert_eq(*VEC_AT(&vec, uint64_t, i), i * i);
	vec_free(&vec);
	cr_assert_null(vec.items);
	cr_assert_eq(vec.cap, 0);
}

Test(vec, reserve_does_not_shrink_and_keeps_items)
{
	struct vec vec = { 0 };
	uint32_t *item = vec_push(&vec, sizeof(*item));

	*item = 77;
	cr_assert_eq(vec_reserve(&vec, 500, sizeof(*item)), BCFMT_OK);
	cr_assert_eq(vec.cap, 500);
	cr_assert_eq(vec_reserve(&vec, 3, sizeof(*item)), BCFMT_OK);
	cr_assert_eq(vec.cap, 500);
	cr_assert_eq(vec.n, 1);
	cr_assert_eq(*VEC_AT(&vec, uint32_t, 0), 77);
	vec_free(&vec);
}

Test(vec, sizes_that_overflow_are_out_of_memory)
{
	struct vec vec = { 0 };

	cr_assert_eq(vec_reserve(&vec, SIZE_MAX / 4, 8), BCFMT_E_NOMEM);
	cr_assert_eq(vec_reserve(&vec, SIZE_MAX, 1), BCFMT_E_NOMEM);
	cr_assert_null(vec.items);
	vec.n = vec.cap = SIZE_MAX / 2 + 1;
	cr_assert_null(vec_push(&vec, 1));
	cr_assert_eq(vec.n, SIZE_MAX / 2 + 1);
}

Test(checked, arithmetic)
{
	uint64_t out;

	cr_assert(!add_overflows(UINT64_MAX - 1, 1, &out));
	cr_assert_eq(out, UINT64_MAX);
	cr_assert(add_overflows(UINT64_MAX, 1, &out));
	cr_assert(mul_overflows(1ull << 32, 1ull << 32, &out));
	cr_assert_eq(div_round_up(UINT64_MAX, 2), 1ull << 63);
	cr_assert_eq(log2_floor(1), 0);
	cr_assert_eq(log2_floor(UINT64_MAX), 63);
	cr_assert(is_pow2(1ull << 63) && !is_pow2(0) && !is_pow2(6));
}

Test(err, every_error_has_a_name_of_its_own)
{
	for (int i = BCFMT_E_NOTFOUND; i <= BCFMT_END; i++) {
		cr_assert_str_neq(bcfmt_err_name((bcfmt_err)i), "unknown error");
		for (int j = BCFMT_E_NOTFOUND; j < i; j++)
			cr_assert_str_neq(bcfmt_err_name((bcfmt_err)i),
					  bcfmt_err_name((bcfmt_err)j));
	}
	cr_assert_str_eq(bcfmt_err_name(BCFMT_E_IO), "i/o error");
	cr_assert_str_eq(bcfmt_err_name((bcfmt_err)-999), "unknown error");
	cr_assert_str_eq(bcfmt_version(), "0.1.0");
}

Test(ctx, defaults)
{
	struct bcfmt_ctx *ctx;

	cr_assert_eq(bcfmt_ctx_new(NULL, &ctx), BCFMT_OK);
	cr_assert(bcfmt_ctx_threads(ctx) >= 1 && bcfmt_ctx_threads(ctx) <= 8);
	cr_assert_eq(bcfmt_ctx_max_bytes(ctx), 64u << 20);
	cr_assert_str_eq(bcfmt_ctx_tmp_dir(ctx), "/var/tmp");
	cr_assert(!bcfmt_ctx_is_cancelled(ctx));
	bcfmt_ctx_progress(ctx, "pass", 1, 2);
	cr_assert_str_eq(bcfmt_ctx_fault(ctx), "");
	bcfmt_ctx_free(ctx);
	bcfmt_ctx_free(NULL);
}

static void note_progress(void *arg, const char *pass, uint64_t done, uint64_t total)
{
	uint64_t *seen = arg;

	*seen = !strcmp(pass, "nodes") ? done * 100 + total : 0;
}

Test(ctx, parameters_are_used_and_the_folder_is_copied)
{
	volatile int cancelled = 0;
	uint64_t seen = 0;
	char dir[] = "/some/where";
	struct bcfmt_ctx_params params = { .threads = 3, .max_bytes = 5, .cancelled = &cancelled,
					   .progress = note_progress, .progress_arg = &seen,
					   .tmp_dir = dir };
	struct bcfmt_ctx *ctx;

	cr_assert_eq(bcfmt_ctx_new(&params, &ctx), BCFMT_OK);
	dir[1] = 'X';
	cr_assert_eq(bcfmt_ctx_threads(ctx), 3);
	cr_assert_eq(bcfmt_ctx_max_bytes(ctx), 5);
	cr_assert_str_eq(bcfmt_ctx_tmp_dir(ctx), "/some/where");
	cancelled = 1;
	cr_assert(bcfmt_ctx_is_cancelled(ctx));
	bcfmt_ctx_progress(ctx, "nodes", 3, 4);
	cr_assert_eq(seen, 304);
	bcfmt_ctx_free(ctx);
}

Test(ctx, first_fault_is_kept_until_cleared)
{
	struct bcfmt_ctx *ctx;

	cr_assert_eq(bcfmt_ctx_new(NULL, &ctx), BCFMT_OK);
	cr_assert_eq(bcfmt_fail(ctx, BCFMT_E_IO, "sector %d", 5), BCFMT_E_IO);
	cr_assert_eq(bcfmt_fail(ctx, BCFMT_E_ARG, "sector %d", 6), BCFMT_E_ARG);
	cr_assert_str_eq(bcfmt_ctx_fault(ctx), "sector 5");
	bcfmt_ctx_fault_clear(ctx);
	cr_assert_str_eq(bcfmt_ctx_fault(ctx), "");
	bcfmt_fail(ctx, BCFMT_E_ARG, "%05000d", 7);
	cr_assert_lt(strlen(bcfmt_ctx_fault(ctx)), 5000);
	bcfmt_ctx_free(ctx);
}

static void *fail_often(void *arg)
{
	struct bcfmt_ctx *ctx = arg;

	for (int i = 0; i < 2000; i++)
		bcfmt_fail(ctx, BCFMT_E_IO, "one of many");
	return NULL;
}

Test(ctx, threads_may_fail_together)
{
	struct bcfmt_ctx *ctx;
	pthread_t threads[4];

	cr_assert_eq(bcfmt_ctx_new(NULL, &ctx), BCFMT_OK);
	for (unsigned int i = 0; i < 4; i++)
		cr_assert_eq(pthread_create(&threads[i], NULL, fail_often, ctx), 0);
	for (unsigned int i = 0; i < 4; i++)
		pthread_join(threads[i], NULL);
	cr_assert_str_eq(bcfmt_ctx_fault(ctx), "one of many");
	bcfmt_ctx_free(ctx);
}
