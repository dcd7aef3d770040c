/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Memory that runs out: each allocation of opening and checking a set fails in turn, and all from
 * some point on. The call has to fail as a whole, without a leak and without a wrong answer.
 */
#include <criterion/criterion.h>

#include <stdlib.h>
#include <string.h>

#include "alloc_help.h"
#include "kit/set_kit.h"

/* ---- sets ---- */

static struct set_kit kit;

static void end(void)
{
	is_counting = false;
	set_kit_clear(&kit);
}

TestSuite(check_alloc, .fini = end);

static uint64_t nth(uint64_t i)
{
	return kit.free_bucket + i;
}

/* Two levels, all kinds of findings, a damaged leaf that asks for the history, backing devices. */
static void make_set(void)
{
	struct bcfmt_key keys[40], top[2], journal[3];
	struct set_kit_shape shape = { 0 };
	uint64_t root_ptr, ptr;

	set_kit_init(&kit, &shape);
	set_kit_backing(&kit, 0, BCFMT_BDEV_CLEAN, 4096);
	set_kit_backing(&kit, 1, BCFMT_BDEV_DIRTY, 4096);
	memset(kit.uuids[1].uuid, 0, BCFMT_UUID_BYTES);
	for (uint32_t i = 0; i < 40; i++)
		keys[i] = bcfmt_key_make(i / 20 * 3, 16 + (40 - i) * 8, 12, i & 1, i % 7 != 0,
					 set_kit_ptr(&kit, nth(10) + i / 3, 0));
	top[0] = set_kit_child(&kit, (struct bcfmt_pos){ 0, 200 },
			       set_kit_node(&kit, nth(1), keys, 40));
	top[1] = set_kit_last_child(&kit, set_kit_node(&kit, nth(2), keys, 5));
	root_ptr = set_kit_node(&kit, nth(0), top, 2);
	/* A second bset that is torn. */
	ptr = set_kit_ptr(&kit, nth(2), 0);
	set_kit_bset(&kit, ptr, 1, 0x5eed0000 + nth(2), keys, 3);
	set_kit_spoil(&kit, nth(2), 512 + 40);
	set_kit_tables(&kit);
	for (uint32_t i = 0; i < 3; i++)
		journal[i] = set_kit_dirty(0, 16 + i * 100, 8, set_kit_ptr(&kit, nth(40) + i, 0));
	for (uint64_t seq = 1; seq <= 12; seq++) {
		struct set_kit_jset jset = { .ring_index = 1,
					     .seq = seq,
					     .level = 1,
					     .last_seq = 1 + seq / 2,
					     .root_ptr = root_ptr,
					     .keys = journal,
					     .n_keys = 3 };

		jset.sector = (uint32_t)seq - 1;
		set_kit_jset(&kit, &jset);
	}
}

static void open_and_check(struct set_kit_result *result)
{
	bcfmt_set_free(kit.set);
	kit.set = NULL;
	n_allocations = 0;
	is_counting = true;
	set_kit_check(&kit, BCFMT_LEVEL_DATA, result);
	is_counting = false;
}

static char *text_of(struct set_kit_result *result)
{
	char *text = set_kit_result_text(result);

	set_kit_result_clear(result);
	return text;
}

/* Returns how many failures made the call fail. */
static uint64_t fail_each(void)
{
	struct set_kit_result result;
	uint64_t total, findings, refused = 0;
	char *whole, *text;

	fail_at = 0;
	open_and_check(&result);
	cr_assert_eq(result.err, BCFMT_OK);
	total = n_allocations;
	findings = set_kit_problems(&result, BCFMT_SEV_NOTE);
	cr_assert_gt(bcfmt_report_count(result.report), 5);
	whole = text_of(&result);
	for (fail_at = 1; fail_at <= total; fail_at++) {
		open_and_check(&result);
		cr_assert(result.err == BCFMT_OK || result.err == BCFMT_E_NOMEM,
			  "allocation %llu of %llu: %s", (unsigned long long)fail_at,
			  (unsigned long long)total, bcfmt_err_name(result.err));
		/* Without memory for its list a report still knows how much there is of each. */
		if (result.err == BCFMT_OK && !bcfmt_report_count(result.report)) {
			cr_assert_eq(set_kit_problems(&result, BCFMT_SEV_NOTE), findings);
			set_kit_result_clear(&result);
			continue;
		}
		if (result.err == BCFMT_OK) {
			/* What can do without the memory has to come to the same. */
			text = text_of(&result);
			cr_assert_str_eq(text, whole, "allocation %llu",
					 (unsigned long long)fail_at);
			free(text);
			continue;
		}
		refused++;
		cr_assert_null(result.verdict.devices);
		set_kit_result_clear(&result);
	}
	free(whole);
	cr_expect_gt(total, 60, "%llu", (unsigned long long)total);
	return refused;
}

Test(check_alloc, every_allocation_fails_once, .timeout = 60)
{
	make_set();
	cr_expect_gt(fail_each(), 60);
}

Test(check_alloc, memory_is_gone_from_some_point_on, .timeout = 60)
{
	make_set();
	is_failing_on = true;
	cr_expect_gt(fail_each(), 60);
}

/* The same at a set that has no tree, no journal, no superblock. */
Test(check_alloc, sets_that_are_hardly_there, .timeout = 60)
{
	struct set_kit_result result;

	for (unsigned int kind = 0; kind < 3; kind++) {
		set_kit_clear(&kit);
		make_set();
		if (kind == 0)
			set_kit_first_jset(&kit, 1, 0);
		if (kind == 1)
			set_kit_zero(&kit, kit.geo.first_bucket * 16u, 8 * 16);
		if (kind == 2)
			set_kit_zero(&kit, 8, 8);
		for (fail_at = 1;; fail_at++) {
			open_and_check(&result);
			if (n_allocations < fail_at)
				break;
			cr_assert(result.err == BCFMT_OK || result.err == BCFMT_E_NOMEM);
			set_kit_result_clear(&result);
		}
		cr_expect_eq(result.err, BCFMT_OK);
		cr_expect_gt(fail_at, 5);
		set_kit_result_clear(&result);
	}
}
