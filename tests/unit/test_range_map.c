/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The ordered map of ranges against an array that holds every position. */
#include "dev_help.h"

#include "dev/range_map.h"

#define N_POSITIONS 6000u
#define UNMAPPED (UINT64_MAX - 1)

TestSuite(range_map);

/* Every position as the array has it, and ranges in order without overlap. */
static void expect_same(const struct range_map *map, const uint64_t *model)
{
	uint64_t position = 0;
	struct range range;

	while (range_map_at(map, position, &range)) {
		cr_assert(range.start >= position && range.end > range.start);
		cr_assert(range.end <= N_POSITIONS);
		for (; position < range.start; position++)
			cr_assert_eq(model[position], UNMAPPED);
		for (; position < range.end; position++)
			cr_assert_eq(model[position], range_value_at(&range, position));
	}
	for (; position < N_POSITIONS; position++)
		cr_assert_eq(model[position], UNMAPPED);
}

static void run(uint64_t seed, uint64_t max_len, unsigned int n_sets)
{
	uint64_t *model = malloc(N_POSITIONS * sizeof(*model));
	struct range_map map = { 0 };
	uint64_t i;
	unsigned int set;

	for (i = 0; i < N_POSITIONS; i++)
		model[i] = UNMAPPED;
	for (set = 0; set < n_sets; set++) {
		uint64_t start = help_random(&seed) % N_POSITIONS;
		uint64_t len = 1 + help_random(&seed) % max_len;
		uint64_t end = start + len < N_POSITIONS ? start + len : N_POSITIONS;
		bool is_fixed = help_random(&seed) % 8 == 0;
		uint64_t value = is_fixed ? RANGE_VALUE_FIXED : help_random(&seed) % 1000000;

		cr_assert_eq(range_map_set(&map, start, end, value), BCFMT_OK);
		for (i = start; i < end; i++)
			model[i] = is_fixed ? RANGE_VALUE_FIXED : value + (i - start);
		if (set % 64 == 0)
			expect_same(&map, model);
	}
	expect_same(&map, model);
	range_map_clear(&map);
	cr_expect_not(range_map_at(&map, 0, &(struct range){ 0 }));
	free(model);
}

Test(range_map, short_ranges_split_many_chunks)
{
	run(11, 3, 20000);
}

Test(range_map, long_ranges_empty_whole_chunks)
{
	run(12, 1500, 3000);
}

Test(range_map, mixed_lengths)
{
	run(13, 40, 8000);
}

Test(range_map, one_range_over_all)
{
	struct range_map map = { 0 };
	struct range range;
	uint64_t i;

	for (i = 0; i < 1000; i++)
		cr_assert_eq(range_map_set(&map, 3 * i, 3 * i + 2, i), BCFMT_OK);
	cr_expect(range_map_at(&map, 2, &range) && range.start == 3);
	cr_assert_eq(range_map_set(&map, 1, 2999, 7), BCFMT_OK);
	cr_expect(range_map_at(&map, 0, &range) && range.start == 0 && range.end == 1);
	cr_expect(range_map_at(&map, 1, &range) && range.start == 1 && range.end == 2999);
	cr_expect_eq(range_value_at(&range, 11), 17);
	cr_expect_not(range_map_at(&map, 2999, &range));
	range_map_clear(&map);
}
