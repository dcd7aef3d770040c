/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Generations: which pointers raise them, which are stale, around the end of the numbers. */
#include <criterion/criterion.h>

#include <pthread.h>
#include <string.h>

#include "kit/set_kit.h"
#include "set/set_impl.h"

static struct set_kit kit;
static uint64_t bucket;

static void open_with(uint8_t disk_gen)
{
	struct set_kit_shape shape = { 0 };

	set_kit_init(&kit, &shape);
	bucket = kit.free_bucket + 3;
	kit.gens[bucket] = disk_gen;
	set_kit_tables(&kit);
	set_kit_first_jset(&kit, set_kit_node(&kit, kit.free_bucket, NULL, 0), 0);
	cr_assert_eq(set_kit_open(&kit), BCFMT_OK);
}

static void end(void)
{
	set_kit_clear(&kit);
}

TestSuite(gens, .fini = end);

static uint64_t ptr_of(unsigned int gen)
{
	return bcfmt_ptr_make(0, bucket * kit.geo.bucket_sectors + 5, gen);
}

Test(gens, a_distance_is_taken_around_the_end)
{
	cr_expect_eq(bcfmt_gen_after(5, 3), 2);
	cr_expect_eq(bcfmt_gen_after(3, 5), 0);
	cr_expect_eq(bcfmt_gen_after(2, 254), 4);
	cr_expect_eq(bcfmt_gen_after(254, 2), 0);
	cr_expect_eq(bcfmt_gen_after(128, 0), 128);
	cr_expect_eq(bcfmt_gen_after(0, 128), 128);
	cr_expect_eq(bcfmt_gen_after(129, 0), 0);
	cr_expect_eq(bcfmt_gen_after(0, 129), 127);
	cr_expect_eq(bcfmt_gen_after(7, 7), 0);
	for (unsigned int a = 0; a < 256; a++)
		for (unsigned int b = 0; b < 256; b++) {
			unsigned int distance = (a + 256 - b) % 256;

			cr_assert_eq(bcfmt_gen_after(a, b), distance <= 128 ? distance : 0);
		}
}

Test(gens, one_pointer_against_every_gen_on_the_disk)
{
	open_with(0);
	for (unsigned int disk = 0; disk < 256; disk++)
		for (unsigned int gen = 0; gen < 256; gen++) {
			unsigned int behind = (disk + 256 - gen) % 256;
			bool is_stale = behind >= 1 && behind <= 128;

			kit.set->buckets[bucket].gen = kit.set->buckets[bucket].disk_gen =
				(uint8_t)disk;
			cr_assert_eq(bcfmt_set_stale(kit.set, ptr_of(gen)), is_stale ? behind : 0,
				     "disk %u pointer %u", disk, gen);
			bcfmt_set_raise_gen(kit.set, ptr_of(gen));
			cr_assert_eq(kit.set->buckets[bucket].gen, is_stale ? disk : gen,
				     "disk %u pointer %u", disk, gen);
			cr_assert_eq(kit.set->buckets[bucket].disk_gen, disk);
		}
}

Test(gens, the_highest_of_several_stays_whatever_their_order)
{
	static const uint8_t gens[] = { 250, 3, 255, 0, 90, 249 };

	open_with(248);
	for (unsigned int first = 0; first < sizeof(gens); first++) {
		kit.set->buckets[bucket].gen = 248;
		for (unsigned int i = 0; i < sizeof(gens); i++)
			bcfmt_set_raise_gen(kit.set, ptr_of(gens[(first + i) % sizeof(gens)]));
		cr_expect_eq(kit.set->buckets[bucket].gen, 90, "from %u on", first);
	}
	cr_expect_eq(bcfmt_set_stale(kit.set, ptr_of(90)), 0);
	cr_expect_eq(bcfmt_set_stale(kit.set, ptr_of(250)), 96);
	cr_expect_eq(bcfmt_set_stale(kit.set, ptr_of(89)), 1);
}

/* Three that are each ahead of the one before could chase each other for ever. */
Test(gens, pointers_all_around_the_circle_come_to_rest)
{
	static const uint8_t orders[][3] = { { 0, 100, 200 }, { 0, 200, 100 }, { 100, 0, 200 },
					     { 100, 200, 0 }, { 200, 0, 100 }, { 200, 100, 0 } };

	open_with(0);
	for (size_t i = 0; i < sizeof(orders) / sizeof(orders[0]); i++) {
		kit.set->buckets[bucket].gen = 0;
		for (unsigned int k = 0; k < 9; k++)
			bcfmt_set_raise_gen(kit.set, ptr_of(orders[i][k % 3]));
		cr_expect_eq(kit.set->buckets[bucket].gen, 100, "order %zu gives %u", i,
			     kit.set->buckets[bucket].gen);
	}
}

Test(gens, pointers_that_mean_no_bucket_change_nothing)
{
	uint64_t past = bcfmt_ptr_make(0, kit.geo.nbuckets * 16, 9);

	open_with(1);
	past = bcfmt_ptr_make(0, kit.geo.nbuckets * kit.geo.bucket_sectors, 9);
	bcfmt_set_raise_gen(kit.set, past);
	bcfmt_set_raise_gen(kit.set, bcfmt_ptr_make(0, 0x7ffffffffff, 9));
	bcfmt_set_raise_gen(kit.set, bcfmt_ptr_make(BCFMT_PTR_DEV_CHECK,
						    bucket * kit.geo.bucket_sectors, 9));
	bcfmt_set_raise_gen(kit.set, bcfmt_ptr_make(0, 0, 9));
	cr_expect_eq(kit.set->buckets[bucket].gen, 1);
	cr_expect_eq(kit.set->buckets[0].gen, 0);
	cr_expect_eq(bcfmt_set_stale(kit.set, past), 0);
	cr_expect_eq(bcfmt_set_stale(kit.set, bcfmt_ptr_make(0, 0, 200)), 0);
}

Test(gens, a_rise_after_a_judgement_is_told)
{
	open_with(10);
	cr_expect_not(set_raise_gen(kit.set, ptr_of(11)));
	set_mark_bucket(kit.set, bucket, BUCKET_GEN_JUDGED);
	cr_expect_not(set_raise_gen(kit.set, ptr_of(11)), "nothing rose");
	cr_expect_not(set_raise_gen(kit.set, ptr_of(9)), "a stale one raises nothing");
	cr_expect(set_raise_gen(kit.set, ptr_of(12)));
}

/* Without a prio set nothing is known of a gen until a pointer is seen. */
Test(gens, without_prios_the_pointers_tell_the_gens)
{
	static const uint8_t orders[][3] = { { 200, 199, 203 },
					     { 203, 200, 199 },
					     { 199, 203, 200 } };

	for (size_t i = 0; i < sizeof(orders) / sizeof(orders[0]); i++) {
		open_with(200);
		set_kit_spoil(&kit, kit.prio_bucket, 1000);
		cr_assert_eq(set_kit_open(&kit), BCFMT_OK);
		cr_expect_not(kit.set->has_all_prios);
		cr_expect_eq(bcfmt_set_stale(kit.set, ptr_of(200)), 0);
		for (unsigned int k = 0; k < 3; k++)
			bcfmt_set_raise_gen(kit.set, ptr_of(orders[i][k]));
		cr_expect_eq(kit.set->buckets[bucket].gen, 203);
		cr_expect_eq(bcfmt_set_stale(kit.set, ptr_of(203)), 0);
		cr_expect_eq(bcfmt_set_stale(kit.set, ptr_of(200)), 3);
		set_kit_clear(&kit);
	}
	open_with(1);
}

static void *raise_all(void *arg)
{
	const unsigned int *first = arg;

	for (unsigned int i = 0; i < 20000; i++)
		bcfmt_set_raise_gen(kit.set, ptr_of(10 + (*first + i * 7) % 100));
	return NULL;
}

Test(gens, threads_agree)
{
	pthread_t threads[4];
	unsigned int firsts[4] = { 0, 31, 62, 93 };

	open_with(10);
	for (unsigned int i = 0; i < 4; i++)
		cr_assert_eq(pthread_create(&threads[i], NULL, raise_all, &firsts[i]), 0);
	for (unsigned int i = 0; i < 4; i++)
		pthread_join(threads[i], NULL);
	cr_expect_eq(kit.set->buckets[bucket].gen, 109);
}

Test(gens, use_bits_add_up)
{
	open_with(0);
	set_mark_use(kit.set, bucket, BCFMT_USE_NODE);
	set_mark_use(kit.set, bucket, BCFMT_USE_DIRTY);
	set_mark_use(kit.set, bucket, BCFMT_USE_NODE);
	cr_expect_eq(kit.set->buckets[bucket].use, BCFMT_USE_NODE | BCFMT_USE_DIRTY);
}
