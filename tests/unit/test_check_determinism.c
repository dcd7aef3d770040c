/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * One input, one answer: made sets with random damage are checked with one thread and with eight,
 * and twice; with every read failing in turn, and cancelled at every read.
 */
#include <criterion/criterion.h>

#include <stdlib.h>
#include <string.h>

#include "dev/dev_impl.h"
#include "kit/set_kit.h"

#define LEAVES 40u
#define LEAF_KEYS 24u
#define INODE_SECTORS 40000u

static struct set_kit kit;
static volatile int cancelled;

static void end(void)
{
	set_kit_clear(&kit);
}

TestSuite(check_determinism, .fini = end);

static uint64_t random_ptr(uint64_t *state)
{
	uint64_t bucket = set_kit_below(state, 20) ? 300 + set_kit_below(state, 200)
						   : set_kit_below(state, 700);
	uint8_t gen = bucket < 640 ? kit.gens[bucket] : 0;

	/* Mostly of the gen of the disk, now and then ahead of or behind it. */
	if (!set_kit_below(state, 6))
		gen = (uint8_t)(gen + set_kit_below(state, 7) - 3);
	if (!set_kit_below(state, 200))
		gen = (uint8_t)set_kit_random(state);
	return bcfmt_ptr_make(set_kit_below(state, 100) ? 0 : 2,
			      bucket * 16 + set_kit_below(state, 3) * 4, gen);
}

static struct bcfmt_key random_key(uint64_t *state, uint64_t start)
{
	uint32_t inode = set_kit_below(state, 30) ? 0 : set_kit_below(state, 3) * 40;
	uint32_t sectors = 1 + set_kit_below(state, 8);

	if (!set_kit_below(state, 10))
		return set_kit_hole(inode, start, sectors);
	return bcfmt_key_make(inode, start + sectors, sectors, set_kit_random(state) >> 33 & 1,
			      true, random_ptr(state));
}

/* A leaf of some bsets for the range that ends at last_sector. */
static uint64_t random_leaf(uint64_t *state, uint64_t bucket, uint64_t last_sector)
{
	uint64_t ptr = set_kit_ptr(&kit, bucket, 0);
	uint32_t block = 0, n_bsets = 1 + set_kit_below(state, 3);

	for (uint32_t i = 0; i < n_bsets; i++) {
		struct bcfmt_key keys[LEAF_KEYS];
		uint32_t n = set_kit_below(state, LEAF_KEYS / 2) + 1;
		uint64_t start = last_sector - INODE_SECTORS / LEAVES + set_kit_below(state, 200);

		for (uint32_t k = 0; k < n; k++) {
			keys[k] = random_key(state, start);
			start += set_kit_below(state, 60) ? 8 + set_kit_below(state, 40) : 0;
		}
		block = set_kit_bset(&kit, ptr, block, 0x5eed + bucket, keys, n);
	}
	return ptr;
}

static uint64_t random_tree(uint64_t *state)
{
	struct bcfmt_key keys[LEAVES], top[4];
	uint32_t per_node = LEAVES / 4;

	for (uint32_t i = 0; i < LEAVES; i++) {
		uint64_t last_sector = (uint64_t)INODE_SECTORS / LEAVES * (i + 1);
		uint64_t ptr = random_leaf(state, 100 + i * 3, last_sector);

		keys[i] = i % per_node == per_node - 1 && i / per_node == 3
				  ? set_kit_last_child(&kit, ptr)
				  : set_kit_child(&kit, (struct bcfmt_pos){ 0, last_sector }, ptr);
		if (!set_kit_below(state, 60))
			keys[i].ptr = random_ptr(state);
	}
	for (uint32_t i = 0; i < 4; i++) {
		uint64_t ptr = set_kit_node(&kit, 60 + i, keys + i * per_node, per_node);

		top[i] = keys[(i + 1) * per_node - 1];
		top[i].ptr = ptr;
	}
	return set_kit_node(&kit, 50, top, 4);
}

static void random_journal(uint64_t *state, uint64_t root_ptr)
{
	uint32_t n = 1 + set_kit_below(state, 40), sector = 0, ring_index = 1;

	for (uint64_t seq = 1; seq <= n; seq++) {
		struct bcfmt_key keys[16];
		struct set_kit_jset jset = {
			.seq = seq, .root_ptr = root_ptr, .level = 2, .keys = keys
		};

		jset.n_keys = set_kit_below(state, 16);
		for (uint32_t i = 0; i < jset.n_keys; i++)
			keys[i] = random_key(state, set_kit_below(state, INODE_SECTORS));
		jset.last_seq = 1 + set_kit_below(state, (uint32_t)seq);
		if (sector + 2 > 16) {
			ring_index = (ring_index + 1) % 8;
			sector = 0;
		}
		jset.ring_index = ring_index;
		jset.sector = sector;
		sector = set_kit_jset(&kit, &jset);
	}
}

static void random_damage(uint64_t *state)
{
	uint32_t n = set_kit_below(state, 4);

	for (uint32_t i = 0; i < n; i++) {
		static const uint64_t buckets[] = { 50, 60, 61, 62, 63 };
		uint64_t bucket = set_kit_below(state, 3) ? 100 + 3 * set_kit_below(state, LEAVES)
							  : buckets[set_kit_below(state, 5)];

		if (!set_kit_below(state, 8))
			bucket = kit.geo.first_bucket + set_kit_below(state, 8);
		if (!set_kit_below(state, 12))
			bucket = set_kit_below(state, 2) ? kit.prio_bucket : kit.uuid_bucket;
		if (set_kit_below(state, 3))
			set_kit_spoil(&kit, bucket, set_kit_below(state, 1500));
		else
			set_kit_zero(&kit, bucket * 16 + set_kit_below(state, 16), 1);
	}
}

static void make_random(uint64_t seed, unsigned int threads)
{
	struct set_kit_shape shape = { .threads = threads, .cancelled = &cancelled };
	uint64_t state = seed * 0x9e3779b97f4a7c15ull + 1;
	uint64_t root_ptr;

	cancelled = 0;
	set_kit_clear(&kit);
	set_kit_init(&kit, &shape);
	for (uint64_t i = 300; i < 640; i++)
		kit.gens[i] = (uint8_t)set_kit_random(&state);
	set_kit_backing(&kit, 0, (enum bcfmt_bdev_state)set_kit_below(&state, 4), INODE_SECTORS);
	root_ptr = random_tree(&state);
	set_kit_tables(&kit);
	random_journal(&state, root_ptr);
	random_damage(&state);
	/* Gens that nothing but the pointers tells are the hardest. */
	if (seed % 5 == 0)
		set_kit_spoil(&kit, kit.prio_bucket, 77);
}

static char *check_once(void)
{
	struct set_kit_result result;
	char *text;

	set_kit_check(&kit, BCFMT_LEVEL_DATA, &result);
	cr_assert_eq(result.err, BCFMT_OK);
	text = set_kit_result_text(&result);
	set_kit_result_clear(&result);
	return text;
}

Test(check_determinism, threads_do_not_matter, .timeout = 110)
{
	size_t longest = 0;

	for (uint64_t seed = 1; seed <= 160; seed++) {
		char *alone, *crowd;

		make_random(seed, 1);
		alone = check_once();
		make_random(seed, 8);
		crowd = check_once();
		cr_assert_str_eq(alone, crowd, "seed %llu", (unsigned long long)seed);
		if (strlen(alone) > longest)
			longest = strlen(alone);
		free(alone);
		free(crowd);
	}
	cr_expect_gt(longest, 2000, "the sets are not that healthy");
}

/* A set that stays open is not changed by a check. */
Test(check_determinism, a_second_check_finds_the_same, .timeout = 60)
{
	for (uint64_t seed = 1; seed <= 60; seed++) {
		char *first, *second;

		make_random(seed, 2);
		cr_assert_eq(set_kit_open(&kit), BCFMT_OK);
		first = check_once();
		second = check_once();
		cr_assert_str_eq(first, second, "seed %llu", (unsigned long long)seed);
		free(first);
		free(second);
	}
}

/* ---- a device that counts its reads ---- */

struct counting_dev {
	struct bcfmt_dev dev;
	struct bcfmt_dev *lower;
	uint64_t reads;	  /* atomic */
	uint64_t fail_at; /* 0: never */
	uint64_t cancel_at;
};

static bcfmt_err counting_read(struct bcfmt_dev *dev, uint64_t offset_bytes, void *buf,
			       size_t len_bytes, struct io_fault *fault)
{
	struct counting_dev *counting = (struct counting_dev *)dev;
	uint64_t n = __atomic_add_fetch(&counting->reads, 1, __ATOMIC_RELAXED);

	if (n == counting->cancel_at)
		cancelled = 1;
	if (n == counting->fail_at)
		return dev_io_fail(fault, BCFMT_E_IO, offset_bytes, 0, "made to fail");
	return dev_read_quiet(counting->lower, offset_bytes, buf, len_bytes, fault);
}

static void counting_free(struct bcfmt_dev *dev)
{
	bcfmt_dev_free(((struct counting_dev *)dev)->lower);
	free(dev);
}

/* Puts a counter between the kit and its cache. */
static struct counting_dev *count_reads(void)
{
	static const struct dev_ops ops = { .read = counting_read, .free = counting_free };
	struct counting_dev *counting = calloc(1, sizeof(*counting));

	cr_assert_eq(dev_init_above(&counting->dev, &ops, kit.ctx, kit.dev), BCFMT_OK);
	counting->lower = kit.dev;
	kit.dev = &counting->dev;
	return counting;
}

/* A read that fails once is damage that is told, never an error of the check. */
Test(check_determinism, any_read_may_fail, .timeout = 110)
{
	for (uint64_t seed = 1; seed <= 3; seed++) {
		uint64_t n = 1, reads = 1;

		for (n = 1; n <= reads; n++) {
			struct counting_dev *counting;
			struct set_kit_result result;

			make_random(seed, 1);
			counting = count_reads();
			counting->fail_at = n;
			set_kit_check(&kit, BCFMT_LEVEL_FULL, &result);
			cr_assert_eq(result.err, BCFMT_OK, "read %llu", (unsigned long long)n);
			reads = counting->reads;
			set_kit_result_clear(&result);
		}
		cr_expect_gt(n, LEAVES);
	}
}

Test(check_determinism, it_can_be_cancelled_at_any_read, .timeout = 110)
{
	uint64_t stopped = 0;
	bool is_over = false;

	for (uint64_t n = 1; !is_over; n++) {
		struct counting_dev *counting;
		struct set_kit_result result;

		make_random(7, 1);
		counting = count_reads();
		counting->cancel_at = n;
		set_kit_check(&kit, BCFMT_LEVEL_DATA, &result);
		is_over = counting->reads < n;
		cr_assert_eq(result.err, is_over ? BCFMT_OK : BCFMT_E_CANCELLED, "read %llu",
			     (unsigned long long)n);
		stopped += !is_over;
		set_kit_result_clear(&result);
	}
	cr_expect_gt(stopped, LEAVES);
}

/* With threads the first to see it stops the others. */
Test(check_determinism, threads_can_be_cancelled, .timeout = 60)
{
	for (uint64_t n = 20; n < 100; n += 7) {
		struct counting_dev *counting;
		struct set_kit_result result;

		make_random(7, 8);
		counting = count_reads();
		counting->cancel_at = n;
		set_kit_check(&kit, BCFMT_LEVEL_FULL, &result);
		cr_assert_eq(result.err, BCFMT_E_CANCELLED);
		set_kit_result_clear(&result);
	}
}
