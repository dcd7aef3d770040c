/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Reading a volume at any place: every sector comes from where its newest data is. */
#include <criterion/criterion.h>

#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include <bcfmt/volume.h>

#include "alloc_help.h"
#include "kit/set_kit.h"

#define OFFSET 16u   /* of the data on the backing device, in sectors */
#define SECTORS 400u /* of the volume */

/* Where a sector comes from, and what is to be said of it. */
struct want {
	bool is_cached;
	uint64_t cache_sector;
	enum bcfmt_sector state;
};

static struct set_kit kit;
static struct bcfmt_dev *backing;
static struct bcfmt_tree *tree;
static struct bcfmt_leaf_cache *leaves;
static struct bcfmt_volume *volume;
static struct want wanted[SECTORS];
static uint8_t buf[SECTORS * BCFMT_SECTOR_BYTES], state[SECTORS];

static void begin(void)
{
	struct set_kit_shape shape = { .threads = 2 };

	set_kit_init(&kit, &shape);
}

static void end(void)
{
	is_counting = false;
	bcfmt_volume_free(volume);
	bcfmt_leaf_cache_free(leaves);
	bcfmt_tree_free(tree);
	set_kit_clear(&kit);
	bcfmt_dev_free(backing);
}

TestSuite(volume, .init = begin, .fini = end);

/* A sector that tells which one it is. */
static void fill_sector(uint8_t *at, char dev, uint64_t sector)
{
	memset(at, dev, BCFMT_SECTOR_BYTES);
	memcpy(at, &sector, sizeof(sector));
}

static uint64_t nth(uint64_t i)
{
	return kit.free_bucket + i;
}

static uint64_t ptr_of(uint64_t i)
{
	return set_kit_ptr(&kit, nth(i), 0);
}

static void write_bucket(uint64_t i)
{
	uint64_t first = bcfmt_ptr_sector(ptr_of(i));

	for (uint32_t k = 0; k < kit.geo.bucket_sectors; k++) {
		uint8_t sector[BCFMT_SECTOR_BYTES];

		fill_sector(sector, 'c', first + k);
		set_kit_write(&kit, first + k, sector, sizeof(sector));
	}
}

static void make_backing(void)
{
	uint8_t *bytes = malloc((OFFSET + SECTORS) * BCFMT_SECTOR_BYTES);

	for (uint64_t i = 0; i < OFFSET + SECTORS; i++)
		fill_sector(bytes + i * BCFMT_SECTOR_BYTES, 'b', i);
	cr_assert_eq(bcfmt_dev_mem(kit.ctx, "backing", bytes, (OFFSET + SECTORS) * 512u, &backing),
		     BCFMT_OK);
	free(bytes);
}

static void want_cached(uint64_t start, uint32_t n, uint64_t ptr, enum bcfmt_sector what)
{
	for (uint32_t i = 0; i < n; i++)
		wanted[start + i] = (struct want){ true, bcfmt_ptr_sector(ptr) + i, what };
}

static struct bcfmt_key dirty_at(uint64_t start, uint32_t n, uint64_t ptr)
{
	want_cached(start, n, ptr, BCFMT_SECTOR_OK);
	return set_kit_dirty(0, OFFSET + start, n, ptr);
}

/* Three leaves of inode 0, parted at 100 and 200 of the volume, and their data in buckets 10 on. */
static void make_tree(void)
{
	struct bcfmt_key keys[5], top[3];
	struct bcfmt_pos at = { 0, OFFSET + 100 };

	for (uint64_t i = 10; i < 16; i++)
		write_bucket(i);
	/* One after the other here, but not on the cache; then there too. */
	keys[0] = dirty_at(0, 4, ptr_of(10));
	keys[1] = dirty_at(4, 4, set_kit_ptr(&kit, nth(11), 8));
	keys[2] = dirty_at(20, 4, set_kit_ptr(&kit, nth(11), 0));
	keys[3] = dirty_at(24, 4, set_kit_ptr(&kit, nth(11), 4));
	keys[4] = set_kit_clean(0, OFFSET + 40, 8, ptr_of(12));
	top[0] = set_kit_child(&kit, at, set_kit_node(&kit, nth(1), keys, 5));
	at.sector = OFFSET + 200;
	keys[0] = dirty_at(100, 8, ptr_of(13));
	keys[1] = dirty_at(192, 8, set_kit_ptr(&kit, nth(13), 8));
	top[1] = set_kit_child(&kit, at, set_kit_node(&kit, nth(2), keys, 2));
	/* The first of it is stale, the second a node's bucket, the third lies half outside. */
	keys[0] = set_kit_dirty(0, OFFSET + 200, 8, ptr_of(14));
	for (uint32_t i = 0; i < 8; i++)
		wanted[200 + i].state = BCFMT_SECTOR_STALE;
	keys[1] = set_kit_dirty(0, OFFSET + 300, 4, set_kit_ptr(&kit, nth(1), 8));
	want_cached(300, 4, keys[1].ptr, BCFMT_SECTOR_PLACE);
	keys[2] = set_kit_dirty(0, OFFSET + SECTORS - 4, 8, ptr_of(15));
	want_cached(SECTORS - 4, 4, keys[2].ptr, BCFMT_SECTOR_OK);
	top[2] = set_kit_last_child(&kit, set_kit_node(&kit, nth(3), keys, 3));
	set_kit_node(&kit, nth(0), top, 3);
	kit.gens[nth(14)]++;
	set_kit_tables(&kit);
	set_kit_first_jset(&kit, ptr_of(0), 1);
}

static void open_volume(bool has_backing, size_t max_bytes)
{
	struct bcfmt_volume_params params = {
		.backing = has_backing ? backing : NULL,
		.data_offset_sectors = OFFSET,
		.sectors = SECTORS,
	};

	cr_assert_eq(set_kit_open(&kit), BCFMT_OK);
	cr_assert_eq(bcfmt_tree_open(kit.set, NULL, &tree), BCFMT_OK);
	cr_assert_eq(bcfmt_tree_leaves(tree), 3);
	cr_assert_eq(bcfmt_tree_settle(tree), BCFMT_OK);
	cr_assert_eq(bcfmt_leaf_cache_new(tree, max_bytes, &leaves), BCFMT_OK);
	cr_assert_eq(bcfmt_volume_open(leaves, &params, &volume), BCFMT_OK);
}

static void make_all(size_t max_bytes)
{
	make_backing();
	make_tree();
	open_volume(true, max_bytes);
}

/* What of the sector is wrong; NULL when nothing. */
static const char *wrong(uint64_t sector, const uint8_t *bytes, uint8_t got_state)
{
	const struct want *want = &wanted[sector];
	uint8_t right[BCFMT_SECTOR_BYTES];

	if (got_state != want->state)
		return "state";
	/* What of a node is read there is of no interest. */
	if (want->state == BCFMT_SECTOR_PLACE)
		return NULL;
	if (want->is_cached)
		fill_sector(right, 'c', want->cache_sector);
	else
		fill_sector(right, 'b', OFFSET + sector);
	return memcmp(bytes, right, sizeof(right)) ? "bytes" : NULL;
}

static void expect_range(uint64_t start, size_t n)
{
	memset(buf, 0xee, sizeof(buf));
	memset(state, 0xee, sizeof(state));
	cr_assert_eq(bcfmt_volume_read(volume, start, buf, n, state, NULL), BCFMT_OK);
	for (size_t i = 0; i < n; i++) {
		const char *what = wrong(start + i, buf + i * BCFMT_SECTOR_BYTES, state[i]);

		cr_assert_null(what, "%s of sector %llu, read from %llu on", what ? what : "",
			       (unsigned long long)(start + i), (unsigned long long)start);
	}
	if (n < SECTORS)
		cr_assert_eq(state[n], 0xee, "written behind the end");
}

Test(volume, any_place_and_length)
{
	static const size_t lengths[] = { 1, 2, 7, 8, 64, 150 };

	make_all(0);
	expect_range(0, SECTORS);
	for (uint64_t start = 0; start < SECTORS; start++)
		for (size_t i = 0; i < sizeof(lengths) / sizeof(lengths[0]); i++)
			expect_range(start,
				     lengths[i] < SECTORS - start ? lengths[i] : SECTORS - start);
	expect_range(SECTORS, 0);
}

Test(volume, ends_where_it_ends)
{
	make_all(0);
	cr_expect_eq(bcfmt_volume_sectors(volume), SECTORS);
	cr_expect_eq(bcfmt_volume_read(volume, SECTORS - 1, buf, 2, state, NULL), BCFMT_E_RANGE);
	cr_expect_eq(bcfmt_volume_read(volume, UINT64_MAX, buf, 2, state, NULL), BCFMT_E_RANGE);
}

Test(volume, counts_what_comes_from_the_cache)
{
	struct bcfmt_volume_counts counts = { 0 };

	make_all(0);
	cr_assert_eq(bcfmt_volume_read(volume, 0, buf, SECTORS, state, &counts), BCFMT_OK);
	cr_expect_eq(counts.dirty_sectors, 8 + 8 + 16 + 4 + 4);
	cr_expect_eq(counts.rescued_sectors, 0);
}

Test(volume, no_memory_for_more_than_one_leaf)
{
	make_all(1);
	for (int i = 0; i < 3; i++)
		expect_range(0, SECTORS);
	expect_range(150, 100);
}

Test(volume, a_backing_device_that_cannot_be_read)
{
	struct bcfmt_dev_faults faults = { .fail_read = 1 };
	struct bcfmt_volume_counts counts = { 0 };

	make_backing();
	cr_assert_eq(bcfmt_dev_faulty(kit.ctx, backing, &faults, &backing), BCFMT_OK);
	make_tree();
	open_volume(true, 0);
	cr_assert_eq(bcfmt_volume_read(volume, 0, buf, SECTORS, state, &counts), BCFMT_OK);
	for (uint64_t i = 0; i < SECTORS; i++) {
		bool is_clean = i >= 40 && i < 48;

		if (wanted[i].is_cached || is_clean)
			cr_assert_eq(state[i], wanted[i].state, "sector %llu",
				     (unsigned long long)i);
		else
			cr_assert_eq(state[i], BCFMT_SECTOR_BACKING, "sector %llu",
				     (unsigned long long)i);
	}
	cr_expect_eq(counts.rescued_sectors, 8);
	cr_expect_eq(buf[47 * BCFMT_SECTOR_BYTES + 100], 'c', "of the clean copy");
	cr_expect_eq(buf[48 * BCFMT_SECTOR_BYTES + 100], 0);
}

Test(volume, a_backing_device_that_was_cut)
{
	struct bcfmt_dev *whole;
	uint8_t *bytes = malloc(200u * BCFMT_SECTOR_BYTES);

	make_backing();
	cr_assert_eq(bcfmt_dev_read(backing, 0, bytes, 200u * BCFMT_SECTOR_BYTES), BCFMT_OK);
	whole = backing;
	cr_assert_eq(bcfmt_dev_mem(kit.ctx, "cut", bytes, 200u * BCFMT_SECTOR_BYTES, &backing),
		     BCFMT_OK);
	free(bytes);
	bcfmt_dev_free(whole);
	make_tree();
	open_volume(true, 0);
	for (uint64_t i = 200 - OFFSET; i < SECTORS; i++)
		if (!wanted[i].is_cached)
			wanted[i].state = BCFMT_SECTOR_BACKING;
	for (uint64_t i = 0; i < SECTORS; i++) {
		cr_assert_eq(bcfmt_volume_read(volume, i, buf, 1, state, NULL), BCFMT_OK);
		cr_assert_eq(state[0], wanted[i].state, "sector %llu", (unsigned long long)i);
	}
}

/* Where the sectors lie, by what places tells; they hold what a read gives. */
static void expect_places(uint64_t start, size_t n)
{
	struct bcfmt_place places[16];
	uint8_t sector[BCFMT_SECTOR_BYTES];
	uint64_t at = start;
	size_t n_places;

	cr_assert_eq(bcfmt_volume_places(volume, start, n, places, 16, &n_places), BCFMT_OK);
	cr_assert_gt(n_places, 0);
	for (size_t i = 0; i < n_places; i++)
		for (size_t k = 0; k < places[i].sectors; k++, at++) {
			cr_assert_lt(at, SECTORS);
			cr_assert_eq(bcfmt_dev_read(places[i].dev,
						    (places[i].dev_sector + k) * BCFMT_SECTOR_BYTES,
						    sector, sizeof(sector)),
				     BCFMT_OK);
			cr_assert_null(wrong(at, sector, BCFMT_SECTOR_OK), "sector %llu",
				       (unsigned long long)at);
		}
	cr_assert_eq(at, start + n);
}

static bcfmt_err places_of(uint64_t start, size_t n, size_t max)
{
	struct bcfmt_place places[16];
	size_t n_places = 77;
	bcfmt_err err = bcfmt_volume_places(volume, start, n, places, max, &n_places);

	cr_assert(!err || !n_places);
	return err;
}

Test(volume, lost_is_what_a_check_says)
{
	struct bcfmt_losses *losses;
	struct bcfmt_volume_params params = { .backing = NULL,
					      .data_offset_sectors = OFFSET,
					      .sectors = SECTORS };

	make_all(0);
	cr_assert_eq(bcfmt_losses_new(kit.ctx, &losses), BCFMT_OK);
	/* The second lies on dirty data that is known, the third is only doubtful. */
	cr_assert_eq(bcfmt_losses_add(losses, BCFMT_LOSS_PLACE,
				      (struct bcfmt_pos){ 0, OFFSET + 50 },
				      (struct bcfmt_pos){ 0, OFFSET + 60 }),
		     BCFMT_OK);
	cr_assert_eq(bcfmt_losses_add(losses, BCFMT_LOSS_PLACE,
				      (struct bcfmt_pos){ 0, OFFSET + 18 },
				      (struct bcfmt_pos){ 0, OFFSET + 30 }),
		     BCFMT_OK);
	cr_assert_eq(bcfmt_losses_add(losses, BCFMT_LOSS_NODE, (struct bcfmt_pos){ 0, OFFSET + 70 },
				      (struct bcfmt_pos){ 0, OFFSET + 80 }),
		     BCFMT_OK);
	cr_assert_eq(bcfmt_losses_finish(losses), BCFMT_OK);
	bcfmt_volume_free(volume);
	params.backing = backing;
	params.losses = losses;
	cr_assert_eq(bcfmt_volume_open(leaves, &params, &volume), BCFMT_OK);
	bcfmt_losses_free(losses);
	for (uint64_t i = 0; i < SECTORS; i++)
		if ((i >= 50 && i < 60) || i == 18 || i == 19 || i == 28 || i == 29)
			wanted[i].state = BCFMT_SECTOR_PLACE;
	for (uint64_t start = 0; start < 100; start++)
		expect_range(start, 13);
	cr_expect_eq(places_of(30, 20, 16), BCFMT_OK);
	cr_expect_eq(places_of(30, 21, 16), BCFMT_END);
	cr_expect_eq(places_of(59, 1, 16), BCFMT_END);
	cr_expect_eq(places_of(60, 1, 16), BCFMT_OK);
	expect_range(0, SECTORS);
}

Test(volume, where_data_is)
{
	static const uint64_t runs[][2] = { { 0, 4 },	  { 4, 8 },	{ 20, 24 },
					    { 24, 28 },	  { 100, 108 }, { 192, 200 },
					    { 200, 208 }, { 300, 304 }, { 396, 400 } };
	uint64_t at = 0, begin_sector, end_sector;

	make_tree();
	open_volume(false, 0);
	for (size_t i = 0; i < sizeof(runs) / sizeof(runs[0]); i++) {
		cr_assert_eq(bcfmt_volume_next_data(volume, at, &begin_sector, &end_sector),
			     BCFMT_OK);
		cr_assert_eq(begin_sector, runs[i][0], "run %zu", i);
		cr_assert_eq(end_sector, runs[i][1], "run %zu", i);
		at = end_sector;
	}
	cr_expect_eq(bcfmt_volume_next_data(volume, at, &begin_sector, &end_sector), BCFMT_END);
	cr_assert_eq(bcfmt_volume_next_data(volume, 2, &begin_sector, &end_sector), BCFMT_OK);
	cr_expect_eq(begin_sector, 2);
	/* Holes are zeros. */
	cr_assert_eq(bcfmt_volume_read(volume, 28, buf, 72, state, NULL), BCFMT_OK);
	for (size_t i = 0; i < 72u * BCFMT_SECTOR_BYTES; i++)
		cr_assert_eq(buf[i], 0, "byte %zu", i);
}

Test(volume, where_sectors_lie)
{
	make_all(0);
	for (uint64_t start = 0; start < 200; start++)
		for (size_t n = 1; n <= 200 - start; n += 7)
			expect_places(start, n);
	/* Stale, misplaced, too many, too long, beyond the end. */
	cr_expect_eq(places_of(150, 51, 16), BCFMT_END);
	cr_expect_eq(places_of(303, 1, 16), BCFMT_END);
	cr_expect_eq(places_of(304, 92, 16), BCFMT_OK);
	cr_expect_eq(places_of(0, 30, 5), BCFMT_OK);
	cr_expect_eq(places_of(0, 30, 4), BCFMT_END);
	cr_expect_eq(places_of(0, 0, 3), BCFMT_END);
	cr_expect_eq(places_of(SECTORS - 1, 2, 16), BCFMT_E_RANGE);
	/* In memory there is nothing that a kernel could move. */
	cr_expect_eq(bcfmt_dev_fd(backing), -1);
}

Test(volume, nothing_lies_nowhere)
{
	make_tree();
	open_volume(false, 0);
	cr_expect_eq(places_of(20, 8, 16), BCFMT_OK);
	cr_expect_eq(places_of(20, 9, 16), BCFMT_END);
}

struct job {
	pthread_t thread;
	unsigned int seed;
	const char *what;
};

static void *read_often(void *arg)
{
	struct job *job = arg;
	uint8_t bytes[40 * BCFMT_SECTOR_BYTES], states[40];

	for (unsigned int i = 0; i < 3000 && !job->what; i++) {
		uint64_t start = (uint64_t)rand_r(&job->seed) % (SECTORS - 40);

		if (bcfmt_volume_read(volume, start, bytes, 40, states, NULL))
			job->what = "error";
		for (size_t k = 0; k < 40 && !job->what; k++)
			job->what = wrong(start + k, bytes + k * BCFMT_SECTOR_BYTES, states[k]);
	}
	return NULL;
}

Test(volume, many_readers_at_once)
{
	struct job jobs[6] = { 0 };

	/* Leaves come and go all the time. */
	make_all(1);
	for (unsigned int i = 0; i < 6; i++) {
		jobs[i].seed = i;
		cr_assert_eq(pthread_create(&jobs[i].thread, NULL, read_often, &jobs[i]), 0);
	}
	for (unsigned int i = 0; i < 6; i++) {
		pthread_join(jobs[i].thread, NULL);
		cr_expect_null(jobs[i].what, "%s", jobs[i].what ? jobs[i].what : "");
	}
}

Test(volume, memory_that_runs_out)
{
	uint64_t refused = 0;
	bcfmt_err err = BCFMT_E_NOMEM;

	make_all(1);
	for (fail_at = 1; err; fail_at++) {
		bcfmt_volume_free(volume);
		bcfmt_leaf_cache_free(leaves);
		bcfmt_tree_free(tree);
		volume = NULL;
		leaves = NULL;
		tree = NULL;
		open_volume(true, 1);
		n_allocations = 0;
		is_counting = true;
		err = bcfmt_volume_read(volume, 0, buf, SECTORS, state, NULL);
		is_counting = false;
		cr_assert(!err || err == BCFMT_E_NOMEM, "%d", (int)err);
		refused += err != BCFMT_OK;
		/* And nothing of the failure stays. */
		expect_range(0, SECTORS);
	}
	cr_expect_gt(refused, 8, "%llu", (unsigned long long)refused);
}

/* A leaf that cannot be read any more is no empty leaf. */
Test(volume, a_leaf_that_cannot_be_read_any_more)
{
	struct bcfmt_dev *whole;
	unsigned int n_errors = 0;

	make_backing();
	make_tree();
	whole = kit.dev;
	for (uint64_t i = 1; i < 400; i++) {
		struct bcfmt_dev_faults faults = { .fail_read = i };
		struct bcfmt_dev *lower;
		bcfmt_err err = BCFMT_OK;

		cr_assert_eq(bcfmt_dev_overlay(kit.ctx, whole, &lower), BCFMT_OK);
		cr_assert_eq(bcfmt_dev_faulty(kit.ctx, lower, &faults, &kit.dev), BCFMT_OK);
		if (!set_kit_open(&kit) && kit.set->has_geometry && kit.set->has_newest &&
		    !bcfmt_tree_open(kit.set, NULL, &tree)) {
			struct bcfmt_volume_params params = { .backing = backing,
							      .data_offset_sectors = OFFSET,
							      .sectors = SECTORS };

			cr_assert_eq(bcfmt_tree_settle(tree), BCFMT_OK);
			cr_assert_eq(bcfmt_leaf_cache_new(tree, 0, &leaves), BCFMT_OK);
			cr_assert_eq(bcfmt_volume_open(leaves, &params, &volume), BCFMT_OK);
			err = bcfmt_volume_read(volume, 0, buf, SECTORS, state, NULL);
		}
		cr_assert(!err || err == BCFMT_E_IO);
		n_errors += err == BCFMT_E_IO;
		bcfmt_volume_free(volume);
		bcfmt_leaf_cache_free(leaves);
		bcfmt_tree_free(tree);
		volume = NULL;
		leaves = NULL;
		tree = NULL;
		bcfmt_set_free(kit.set);
		kit.set = NULL;
		bcfmt_dev_free(kit.dev);
		bcfmt_ctx_fault_clear(kit.ctx);
	}
	kit.dev = whole;
	/* One a leaf, and some more if the tree was walked twice before. */
	cr_expect(n_errors >= 3 && n_errors <= 6, "%u", n_errors);
}
