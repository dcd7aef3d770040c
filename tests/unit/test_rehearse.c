/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What only a rehearsal shows is asked for, and done only with consent. */
#include "check_help.h"

#include <bcfmt/repair.h>

TestSuite(rehearse, .init = begin, .fini = end);

static struct bcfmt_repair_run *run;

/*
 * The tree has the data clean, as it was brought home, and the device is marked so; a replay makes it
 * dirty again. The prio set is damaged, so that the metadata is written anew.
 */
static void open_run(void)
{
	struct bcfmt_repair_params params = { .check.level = BCFMT_LEVEL_FULL };
	struct bcfmt_key in_tree = set_kit_clean(0, 100, 8, set_kit_ptr(&kit, nth(9), 0));
	struct bcfmt_key in_journal = set_kit_dirty(0, 100, 8, set_kit_ptr(&kit, nth(9), 0));
	struct set_kit_jset jset = { .ring_index = 1, .seq = 7, .last_seq = 7 };
	struct bcfmt_dev *devs[2];

	set_kit_backing(&kit, 0, BCFMT_BDEV_CLEAN, 4096);
	set_kit_tables(&kit);
	jset.root_ptr = leaf_of(0, &in_tree, 1);
	jset.keys = &in_journal;
	jset.n_keys = 1;
	set_kit_jset(&kit, &jset);
	set_kit_spoil(&kit, kit.prio_bucket, 40);
	devs[0] = kit.dev;
	devs[1] = kit.backing[0];
	cr_assert_eq(bcfmt_repair_open(kit.ctx, devs, 2, &params, &run), BCFMT_OK, "%s",
		     bcfmt_ctx_fault(kit.ctx));
	cr_assert_eq(bcfmt_report_total(bcfmt_repair_report(run), BCFMT_P_BACKING_CLEAN_DIRTY), 0);
}

/* The item that the first rehearsal adds; its index. */
static size_t rehearse_once(void)
{
	enum bcfmt_rehearsal rehearsal;
	const struct bcfmt_plan_item *item;
	size_t n;

	bcfmt_repair_agree_all(run, BCFMT_CONSENT_ASK);
	n = bcfmt_repair_items(run);
	cr_assert_eq(bcfmt_repair_rehearse(run, &rehearsal), BCFMT_OK);
	cr_assert_eq(rehearsal, BCFMT_REHEARSAL_MORE, "%s", bcfmt_ctx_fault(kit.ctx));
	cr_assert_eq(bcfmt_repair_items(run), n + 1);
	item = bcfmt_repair_item(run, n);
	cr_assert_eq(item->problem->id, BCFMT_P_BACKING_CLEAN_DIRTY);
	cr_assert_eq(item->state, BCFMT_PLAN_OPEN);
	cr_expect_eq(bcfmt_repair_commit(run), BCFMT_E_ARG);
	return n;
}

Test(rehearse, what_is_agreed_to_is_written_too)
{
	enum bcfmt_rehearsal rehearsal;

	open_run();
	cr_assert_eq(bcfmt_repair_agree(run, rehearse_once(), true), BCFMT_OK);
	cr_assert_eq(bcfmt_repair_rehearse(run, &rehearsal), BCFMT_OK);
	cr_assert_eq(rehearsal, BCFMT_REHEARSAL_READY, "%s", bcfmt_ctx_fault(kit.ctx));
	cr_assert_eq(bcfmt_repair_commit(run), BCFMT_OK);
	bcfmt_repair_free(run);
	check(BCFMT_LEVEL_FULL);
	expect_none();
	cr_expect_eq(bcfmt_super_bdev_state(&kit.set->backing[0].super), BCFMT_BDEV_DIRTY);
}

Test(rehearse, without_consent_nothing_is_written)
{
	enum bcfmt_rehearsal rehearsal;

	open_run();
	cr_assert_eq(bcfmt_repair_agree(run, rehearse_once(), false), BCFMT_OK);
	cr_assert_eq(bcfmt_repair_rehearse(run, &rehearsal), BCFMT_OK);
	cr_expect_eq(rehearsal, BCFMT_REHEARSAL_REJECTED);
	cr_expect_eq(bcfmt_repair_commit(run), BCFMT_E_ARG);
	bcfmt_repair_free(run);
}
