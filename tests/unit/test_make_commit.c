/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Carrying plans out: everything is there, reading back sees what is not, failures are told. */
#include "make_help.h"

static volatile int cancelled;

TestSuite(make_commit, .init = help_make_begin, .fini = help_make_end);

static void expect_formatted(struct bcfmt_dev *dev, size_t target, unsigned int seed,
			     uint64_t bytes)
{
	const struct bcfmt_make_target *made = &help_plan->targets[target];
	uint64_t journal_begin = (uint64_t)made->super.first_bucket * 8192;
	uint64_t journal_end = journal_begin + (uint64_t)made->journal_buckets * 8192;
	uint8_t raw[BCFMT_SUPER_BYTES] = { 0 };
	uint8_t *buf = malloc(bytes);

	help_read(dev, 0, buf, bytes);
	bcfmt_super_encode(&made->super, raw);
	cr_expect(help_all_zero(buf, 4096));
	cr_expect_arr_eq(buf + 4096, raw, 4096);
	for (uint64_t i = 8192; i < bytes; i++) {
		bool is_journal = i >= journal_begin && i < journal_end;

		cr_assert_eq(buf[i], is_journal ? 0 : help_byte(i, seed), "byte %llu",
			     (unsigned long long)i);
	}
	free(buf);
}

Test(make_commit, nothing_else_is_touched)
{
	help_cache();
	help_backing();
	help_make_plan();
	cr_assert_eq(bcfmt_make_commit(help_plan), BCFMT_OK);
	cr_expect_eq(bcfmt_make_verify(help_plan), BCFMT_OK);
	cr_expect_eq(help_plan->targets[0].state, BCFMT_MAKE_COMPLETE);
	cr_expect_eq(help_plan->targets[1].state, BCFMT_MAKE_COMPLETE);
	expect_formatted(help_devices[0].dev, 0, 1, HELP_CACHE_BYTES);
	expect_formatted(help_devices[1].dev, 1, 2, 1 << 20);
}

/* One byte anywhere in what was written, turned over, is found. */
Test(make_commit, reading_back_sees_every_difference)
{
	const uint64_t places[] = { 0,	  4095,	 4096,		4096 + 104,
				    8191, 16384, 16384 + 70000, 16384 + 131071 };
	struct bcfmt_dev *dev = help_cache()->dev;
	uint8_t byte;

	help_make_plan();
	cr_assert_eq(bcfmt_make_commit(help_plan), BCFMT_OK);
	for (size_t i = 0; i < sizeof(places) / sizeof(places[0]); i++) {
		char want[64];

		help_read(dev, places[i], &byte, 1);
		byte ^= 0x10;
		cr_assert_eq(bcfmt_dev_write(dev, places[i], &byte, 1), BCFMT_OK);
		cr_expect_eq(bcfmt_make_verify(help_plan), BCFMT_E_DAMAGED, "byte %llu",
			     (unsigned long long)places[i]);
		snprintf(want, sizeof(want), "mem: sector %llu: the ",
			 (unsigned long long)places[i] / 512);
		help_expect_fault(want);
		byte ^= 0x10;
		cr_assert_eq(bcfmt_dev_write(dev, places[i], &byte, 1), BCFMT_OK);
	}
	cr_expect_eq(bcfmt_make_verify(help_plan), BCFMT_OK);
	/* Beside it nothing matters. */
	byte = 0x77;
	cr_assert_eq(bcfmt_dev_write(dev, 16384 + 131072, &byte, 1), BCFMT_OK);
	cr_assert_eq(bcfmt_dev_write(dev, 8192, &byte, 1), BCFMT_OK);
	cr_expect_eq(bcfmt_make_verify(help_plan), BCFMT_OK);
}

Test(make_commit, a_device_without_write_access_is_an_error)
{
	char path[HELP_PATH_BYTES];
	struct bcfmt_dev *dev;

	bcfmt_dev_free(help_sparse("cache", HELP_CACHE_BYTES));
	cr_assert_eq(bcfmt_dev_open(help_ctx, help_path(path, "cache"), 0, &dev), BCFMT_OK);
	help_backing();
	help_device(dev, false);
	help_make_plan();
	cr_expect_eq(bcfmt_make_commit(help_plan), BCFMT_E_ARG);
	help_expect_fault("cache: opened for reading only");
	cr_expect_eq(help_plan->targets[0].state, BCFMT_MAKE_UNTOUCHED);
	cr_expect_eq(help_plan->targets[1].state, BCFMT_MAKE_UNTOUCHED);
}

/* The states that a failure at each write and each flush of the second device leaves. */
Test(make_commit, a_failure_tells_how_far_it_came)
{
	for (uint64_t at = 1; at <= 4; at++) {
		bool is_flush = at > 2;
		struct bcfmt_dev_faults faults = { .fail_write = is_flush ? 0 : at,
						   .fail_flush = is_flush ? at - 2 : 0 };
		struct bcfmt_dev *dev;

		help_n_devices = 0;
		help_cache();
		cr_assert_eq(bcfmt_dev_faulty(help_ctx, help_mem(1 << 20, 2), &faults, &dev),
			     BCFMT_OK);
		help_device(dev, true);
		help_make_plan();
		cr_expect_eq(bcfmt_make_commit(help_plan), BCFMT_E_IO);
		help_expect_fault("injected failure");
		cr_expect_eq(help_plan->targets[0].state, BCFMT_MAKE_COMPLETE);
		cr_expect_eq(help_plan->targets[1].state, BCFMT_MAKE_ERASED);
		bcfmt_dev_free(help_devices[0].dev);
		bcfmt_dev_free(help_devices[1].dev);
	}
	help_n_devices = 0;
}

/* Cancels when the first bytes are done. */
static void cancel(void *arg, const char *pass, uint64_t done, uint64_t total)
{
	(void)arg;
	(void)pass;
	cancelled = done > 0 && total > 0;
}

Test(make_commit, cancelled_work_stops)
{
	struct bcfmt_ctx_params params = { .cancelled = &cancelled, .progress = cancel };
	uint8_t raw[BCFMT_SUPER_BYTES];

	bcfmt_ctx_free(help_ctx);
	cr_assert_eq(bcfmt_ctx_new(&params, &help_ctx), BCFMT_OK);
	help_cache();
	help_make_plan();
	cr_expect_eq(bcfmt_make_commit(help_plan), BCFMT_E_CANCELLED);
	cr_expect_eq(help_plan->targets[0].state, BCFMT_MAKE_ERASED);
	help_read(help_devices[0].dev, 4096, raw, sizeof(raw));
	cr_expect(help_all_zero(raw, sizeof(raw)));
	bcfmt_ctx_fault_clear(help_ctx);
	cancelled = 1;
	cr_expect_eq(bcfmt_make_verify(help_plan), BCFMT_E_CANCELLED);
	/* Before the first write nothing is begun. */
	help_make_plan();
	cr_expect_eq(bcfmt_make_commit(help_plan), BCFMT_E_CANCELLED);
	cr_expect_eq(help_plan->targets[0].state, BCFMT_MAKE_UNTOUCHED);
}
