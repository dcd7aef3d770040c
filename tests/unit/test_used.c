/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Sectors that two extents share, against a comparison of all with all: bitmaps in memory and rows
 * in a file, parts of one window and of many, units that extents keep to and that they do not.
 */
#include <criterion/criterion.h>

#include <stdlib.h>
#include <string.h>

#include "base/checked.h"
#include "check/used.h"
#include "kit/set_kit.h"
#include "set/set_impl.h"

#define MAX_BYTES (1ull << 20)
#define PLACES_MAX 4000u

struct place {
	uint64_t sector;
	uint32_t sectors;
};

static struct bcfmt_set set;
static struct place places[PLACES_MAX];
static size_t n_places;
static struct used *used;
static bool is_suspect;

/* A set of which only the map counts. */
static void begin_with(uint64_t nbuckets, uint32_t bucket_sectors, uint32_t block_sectors,
		       unsigned int threads, bool is_fine)
{
	struct bcfmt_ctx_params params = { .threads = threads };

	memset(&set, 0, sizeof(set));
	cr_assert_eq(bcfmt_ctx_new(&params, &set.ctx), BCFMT_OK);
	set.has_all_prios = true;
	set.geo.nbuckets = nbuckets;
	set.geo.bucket_sectors = bucket_sectors;
	set.geo.bucket_shift = log2_floor(bucket_sectors);
	set.geo.block_sectors = block_sectors;
	set.buckets = calloc(nbuckets, sizeof(*set.buckets));
	cr_assert_not_null(set.buckets);
	cr_assert_eq(used_new(&set, MAX_BYTES, is_fine, &used), BCFMT_OK);
	n_places = 0;
}

static void end(void)
{
	used_free(used);
	free(set.buckets);
	bcfmt_ctx_free(set.ctx);
}

TestSuite(used, .fini = end);

static void add(uint64_t sector, uint32_t sectors)
{
	struct used_shard *shard = used_take(used);

	cr_assert_not_null(shard);
	cr_assert_lt(n_places, PLACES_MAX);
	places[n_places++] = (struct place){ sector, sectors };
	cr_assert_eq(used_add(used, shard, sector, sectors), BCFMT_OK);
	used_give(used, shard);
}

static bool overlaps(const struct place *a, const struct place *b)
{
	return a->sector < b->sector + b->sectors && b->sector < a->sector + a->sectors;
}

static int by_sector(const void *a, const void *b)
{
	const struct place *x = a, *y = b;

	return x->sector < y->sector ? -1 : x->sector > y->sector;
}

static bool is_marked(uint64_t bucket)
{
	return set.buckets[bucket].gen_flags & BUCKET_MAYBE_TWICE;
}

/*
 * Every bucket with an overlap is marked; with may_err others may be too. The buckets that are not
 * know their sectors.
 */
static void finish_and_compare(bool may_err)
{
	bool has_overlap = false, has_marked = false;

	cr_assert_eq(used_finish(used, true, &is_suspect), BCFMT_OK);
	qsort(places, n_places, sizeof(places[0]), by_sector);
	for (size_t i = 0; i < n_places;) {
		uint64_t bucket = places[i].sector >> set.geo.bucket_shift, sum = 0;
		bool is_twice = false;

		for (; i < n_places && places[i].sector >> set.geo.bucket_shift == bucket; i++) {
			sum += places[i].sectors;
			for (size_t k = i; k > 0 && places[k - 1].sector + 65535 > places[i].sector;
			     k--)
				is_twice |= overlaps(&places[k - 1], &places[i]);
		}
		has_overlap |= is_twice;
		has_marked |= is_marked(bucket);
		if (is_twice)
			cr_assert(is_marked(bucket), "bucket %llu", (unsigned long long)bucket);
		if (!is_twice && !may_err)
			cr_assert_not(is_marked(bucket), "bucket %llu", (unsigned long long)bucket);
		if (!is_marked(bucket))
			cr_assert_eq(set.buckets[bucket].sectors, min_u64(sum, UINT16_MAX));
	}
	cr_assert_eq(is_suspect, has_marked);
	cr_assert(is_suspect || !has_overlap);
}

/* Random extents of whole steps, none across the end of a bucket; few or many share sectors. */
static void add_random(uint64_t *state, size_t n, uint32_t step_sectors, uint32_t most_sectors,
		       uint64_t first_bucket, uint64_t n_buckets)
{
	for (size_t i = 0; i < n; i++) {
		uint32_t steps = set.geo.bucket_sectors / step_sectors;
		uint32_t from = set_kit_below(state, steps);
		uint32_t len = 1 + set_kit_below(state, most_sectors / step_sectors);
		uint64_t bucket = first_bucket + (set_kit_random(state) >> 8) % n_buckets;

		len = (uint32_t)min_u64(len, steps - from);
		add((bucket << set.geo.bucket_shift) + (uint64_t)from * step_sectors,
		    (uint32_t)min_u64((uint64_t)len * step_sectors, 65535));
	}
}

Test(used, nothing_at_all)
{
	begin_with(640, 16, 1, 2, false);
	finish_and_compare(false);
	cr_expect_not(is_suspect);
	cr_expect_eq(used_spilled_bytes(used), 0);
}

Test(used, neighbours_and_one_shared_sector)
{
	begin_with(640, 128, 1, 1, false);
	for (uint64_t bucket = 0; bucket < 640; bucket += 9) {
		add(bucket * 128, 64);
		add(bucket * 128 + 64, 63);
		add(bucket * 128 + 127, 1);
	}
	add(63 * 128 + 63, 2);
	finish_and_compare(false);
	cr_expect(is_marked(63));
	cr_expect_eq(set.buckets[9].sectors, 128);
}

/* From one bit a bucket to many words. */
Test(used, random_places_in_memory)
{
	uint64_t state = 7;

	for (uint32_t bucket_sectors = 1; bucket_sectors <= 1024; bucket_sectors *= 4)
		for (uint32_t n = 10; n <= 2000; n *= 3) {
			begin_with(5000, bucket_sectors, 1, 2, false);
			add_random(&state, n, 1, (uint32_t)min_u64(bucket_sectors, 99), 0, 5000);
			finish_and_compare(false);
			cr_assert_eq(used_spilled_bytes(used), 0);
			end();
		}
	begin_with(640, 16, 1, 1, false);
}

/* A bitmap beyond the memory: the rows of some parts, or of all, are in the file. */
Test(used, random_places_in_a_file)
{
	uint64_t state = 11;

	for (unsigned int threads = 1; threads <= 2; threads++) {
		begin_with(1u << 20, 16, 1, threads, true);
		add_random(&state, PLACES_MAX, 1, 16, 0, 1u << 20);
		finish_and_compare(false);
		cr_assert_gt(used_spilled_bytes(used), 0);
		end();
		begin_with(1u << 20, 16, 1, threads, true);
		add_random(&state, PLACES_MAX, 1, 16, (1u << 20) - 500, 500);
		finish_and_compare(false);
		cr_assert_gt(used_spilled_bytes(used), 0);
		cr_assert(is_suspect);
		end();
	}
	begin_with(640, 16, 1, 1, false);
}

/* The bitmap of one part is larger than the memory. */
Test(used, parts_of_many_windows)
{
	uint64_t state = 13;

	begin_with(8192, 1u << 22, 1, 2, true);
	add_random(&state, 300, 1, 65535, 0, 40);
	add_random(&state, 300, 1, 65535, 4090, 40);
	add_random(&state, 1000, 1, 99, 8150, 42);
	finish_and_compare(false);
	cr_assert(is_suspect);
	cr_assert_gt(used_spilled_bytes(used), 0);
}

/* Extents that keep to the coarse unit are told as by the sector, and others err on one side. */
Test(used, a_coarse_unit)
{
	uint64_t state = 17;

	begin_with(1u << 16, 1024, 1, 2, false);
	cr_assert(used_is_coarse(used));
	add_random(&state, PLACES_MAX, 8, 64, 0, 3000);
	finish_and_compare(false);
	cr_assert(is_suspect);
	end();
	begin_with(1u << 16, 1024, 1, 2, false);
	add_random(&state, 2000, 8, 64, 0, 3000);
	add_random(&state, 500, 1, 9, 2000, 2000);
	finish_and_compare(true);
	end();
	begin_with(1u << 16, 1024, 8, 2, false);
	cr_assert_not(used_is_coarse(used));
	add_random(&state, PLACES_MAX, 8, 1024, 0, 1u << 16);
	finish_and_compare(false);
	end();
	begin_with(1u << 16, 1024, 1, 2, true);
	cr_assert_not(used_is_coarse(used));
	add_random(&state, PLACES_MAX, 1, 9, 0, 3000);
	finish_and_compare(false);
}

Test(used, sectors_saturate)
{
	begin_with(64, 1u << 20, 1, 1, false);
	for (uint64_t i = 0; i < 5; i++)
		add((3ull << 20) + i * 30000, 30000);
	finish_and_compare(false);
	cr_expect_eq(set.buckets[3].sectors, UINT16_MAX);
}
