/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What the tests of checks share: a set per test, its check, and what is expected of it. */
#ifndef TESTS_UNIT_CHECK_HELP_H
#define TESTS_UNIT_CHECK_HELP_H

#include <criterion/criterion.h>

#include <stdlib.h>
#include <string.h>

#include "kit/set_kit.h"

/* Of the running test; each test is a process of its own. */
static struct set_kit kit;
static struct set_kit_result result;
static volatile int cancelled;

static inline void begin(void)
{
	struct set_kit_shape shape = { .cancelled = &cancelled };

	set_kit_init(&kit, &shape);
}

static inline void end(void)
{
	set_kit_result_clear(&result);
	set_kit_clear(&kit);
}

static inline uint64_t nth(uint64_t i)
{
	return kit.free_bucket + i;
}

static inline uint64_t ptr_of(uint64_t i)
{
	return set_kit_ptr(&kit, nth(i), 0);
}

static inline struct bcfmt_pos pos(uint32_t inode, uint64_t sector)
{
	return (struct bcfmt_pos){ inode, sector };
}

/* The set as it is now. */
static inline void check(enum bcfmt_check_level level)
{
	set_kit_result_clear(&result);
	bcfmt_set_free(kit.set);
	kit.set = NULL;
	set_kit_check(&kit, level, &result);
	cr_assert_eq(result.err, BCFMT_OK, "%s", bcfmt_ctx_fault(kit.ctx));
}

/* Tables, an entry without keys, and a check. */
static inline void check_tree(uint64_t root_ptr, uint16_t level)
{
	set_kit_tables(&kit);
	set_kit_first_jset(&kit, root_ptr, level);
	check(BCFMT_LEVEL_FULL);
}

/* So many findings worse than a note, all of them of this problem. */
static inline void expect_only(enum bcfmt_problem_id id, uint64_t n)
{
	char *text = set_kit_result_text(&result);

	cr_expect(bcfmt_report_total(result.report, id) == n &&
			  set_kit_problems(&result, BCFMT_SEV_WASTE) == n,
		  "problem %u, %llu times:\n%s", id, (unsigned long long)n, text);
	free(text);
}

static inline void expect_none(void)
{
	char *text = set_kit_result_text(&result);

	cr_expect_eq(set_kit_problems(&result, BCFMT_SEV_WASTE), 0, "%s", text);
	free(text);
}

static inline void expect_device(uint32_t inode, uint64_t dirty_sectors,
				 enum bcfmt_certainty certainty, enum bcfmt_safety safe_alone)
{
	const struct bcfmt_verdict_device *device = set_kit_device(&result, inode);

	cr_assert_not_null(device, "inode %u is not in the verdict", inode);
	cr_expect_eq(device->dirty_bytes, dirty_sectors * 512, "inode %u: %llu bytes", inode,
		     (unsigned long long)device->dirty_bytes);
	cr_expect_eq(device->certainty, certainty, "inode %u: %u", inode, device->certainty);
	cr_expect_eq(device->safe_alone, safe_alone, "inode %u: %u, %s", inode, device->safe_alone,
		     device->reason);
	cr_expect(device->reason && *device->reason);
}

static inline uint64_t leaf_of(uint64_t i, const struct bcfmt_key *keys, uint32_t n)
{
	return set_kit_node(&kit, nth(i), keys, n);
}

/* A root over two leaves, the first up to 0:1000 with the keys. */
static inline uint64_t two_leaves(const struct bcfmt_key *keys, uint32_t n)
{
	struct bcfmt_key top[] = { set_kit_child(&kit, pos(0, 1000), leaf_of(1, keys, n)),
				   set_kit_last_child(&kit, leaf_of(2, NULL, 0)) };

	return set_kit_node(&kit, nth(0), top, 2);
}

/* Entries of the ring from its second bucket on, but for one. The root is the first free bucket. */
static inline void write_entries(uint64_t first, uint64_t last, uint64_t left_out,
				 uint64_t last_seq)
{
	for (uint64_t seq = first; seq <= last; seq++) {
		struct set_kit_jset jset = {
			.ring_index = 1, .seq = seq, .last_seq = last_seq, .root_ptr = ptr_of(0)
		};

		jset.sector = (uint32_t)(seq - first);
		if (seq != left_out)
			set_kit_jset(&kit, &jset);
	}
}

#endif
