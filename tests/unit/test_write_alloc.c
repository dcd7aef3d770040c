/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Memory that runs out while a whole cache is written: refused without a leak, and no cache. */
#include "write_help.h"

#include "alloc_help.h"

static struct bcfmt_dev *dev;

static void end(void)
{
	is_counting = false;
	bcfmt_dev_free(dev);
	write_end();
}

TestSuite(write_alloc, .init = write_begin, .fini = end);

/* Several levels, a chain of several sets, keys in the journal. */
static void fail_each(void)
{
	struct bcfmt_new_set_params params = write_params(1, 8, 3000);
	uint64_t dev_bytes, refused = 0;
	struct bcfmt_key journal, *keys;
	struct bcfmt_new_set made;
	bcfmt_err err = BCFMT_E_NOMEM;

	params.fill_percent = 20;
	params.nbuckets = 5000;
	params.journal_keys = &journal;
	params.n_journal_keys = 1;
	journal = bcfmt_key_make(0, 8, 8, false, false, 0);
	dev_bytes = params.nbuckets * 8 * 512;
	cr_assert_eq(bcfmt_new_set_plan(write_ctx, dev_bytes, 512, &params, &made), BCFMT_OK, "%s",
		     bcfmt_ctx_fault(write_ctx));
	keys = write_make_keys(&made, 3000);
	dev = write_mem(dev_bytes);
	for (fail_at = 1; err; fail_at++) {
		struct write_stream stream = { keys, 3000, 0 };
		struct bcfmt_set *set;

		n_allocations = 0;
		is_counting = true;
		err = bcfmt_new_set_write(write_ctx, dev, &params, write_next, &stream, &made);
		is_counting = false;
		if (!err)
			break;
		write_expect_fault(err, BCFMT_E_NOMEM, "out of memory");
		refused++;
		cr_assert_eq(bcfmt_set_open(write_ctx, &dev, 1, NULL, &set), BCFMT_OK);
		cr_expect(!set->cache.has_magic);
		bcfmt_set_free(set);
	}
	cr_expect_eq(made.tree.level, 2);
	cr_expect_gt(refused, 10, "%llu", (unsigned long long)refused);
	cr_expect_lt(n_allocations, fail_at);
	bcfmt_set_free(write_open_clean(&dev, 1));
	free(keys);
}

Test(write_alloc, every_allocation_fails_once)
{
	fail_each();
}

Test(write_alloc, memory_is_gone_from_some_point_on)
{
	is_failing_on = true;
	fail_each();
}
