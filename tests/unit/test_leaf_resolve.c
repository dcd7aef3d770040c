/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What a leaf finally holds, against a table with a row a sector into which every key is written
 * in its turn. Keys are random: overlapping, out of order, holes, placeholders, impossible ones;
 * some of the tree's keys are those of the journal, written back since.
 */
#include <criterion/criterion.h>

#include <stdlib.h>
#include <string.h>

#include "base/bytes.h"
#include "codec_kit.h"
#include "kit/set_kit.h"
#include "set/set_impl.h"

#define INODES 3u
#define SECTORS 400u
#define BSETS_MAX 4u
#define KEYS_MAX 24u
#define REPLAY_MAX 24u
#define CLEAN_MAX (BSETS_MAX * KEYS_MAX)

struct cell {
	bool has_data;
	bool is_dirty;
	bool is_written_back;
	uint8_t source;
	uint64_t ptr;
	/* Where the tree has, or had, this sector clean. */
	uint64_t clean[CLEAN_MAX];
	uint32_t n_clean;
};

struct scene {
	struct bcfmt_node_ref ref;
	struct bcfmt_node node;
	struct bcfmt_bset bsets[BSETS_MAX];
	uint8_t raw[BSETS_MAX][KEYS_MAX * 72];
	struct bcfmt_key tree[BSETS_MAX * KEYS_MAX];
	uint32_t n_tree;
	struct bcfmt_replay_key replay[REPLAY_MAX];
	uint32_t n_replay;
	uint64_t window_seq;
};

static struct bcfmt_geometry geo;
static struct cell cells[INODES][SECTORS];
static struct scene scene;
static struct leaf_scratch scratch;

static void begin(void)
{
	geo = kit_geometry();
}

static void end(void)
{
	leaf_scratch_clear(&scratch);
}

TestSuite(leaf_resolve, .init = begin, .fini = end);

/* ---- the table ---- */

/* Sector s of the inode lies in (lo, hi]. */
static bool is_within(const struct bcfmt_node_ref *ref, uint32_t inode, uint64_t sector)
{
	struct bcfmt_pos begin_pos = { inode, sector }, end_pos = { inode, sector + 1 };

	return bcfmt_pos_cmp(begin_pos, ref->lo) >= 0 && bcfmt_pos_cmp(end_pos, ref->hi) <= 0;
}

/* FORMAT 4.7, for keys whose words are all there. */
static bool is_usable(const struct bcfmt_key *key)
{
	uint64_t sectors = bcfmt_key_sectors(key), bucket;

	if (!sectors || sectors > key->low)
		return false;
	if (!bcfmt_key_has_data(key))
		return true;
	bucket = bcfmt_ptr_sector(key->ptr) / geo.bucket_sectors;
	return bcfmt_ptr_sector(key->ptr) % geo.bucket_sectors + sectors <= geo.bucket_sectors &&
	       bucket >= geo.first_bucket && bucket < geo.nbuckets;
}

static bool was_cleaned(const struct cell *cell, uint64_t ptr)
{
	for (uint32_t i = 0; i < cell->n_clean; i++)
		if (cell->clean[i] == ptr)
			return true;
	return false;
}

static void write_key(const struct bcfmt_key *key, uint8_t source)
{
	uint64_t start = bcfmt_key_start_sector(key);
	uint32_t inode = bcfmt_key_inode(key);

	if (!is_usable(key) || inode >= INODES)
		return;
	for (uint64_t sector = start; sector < key->low && sector < SECTORS; sector++) {
		struct cell *cell = &cells[inode][sector];

		if (!is_within(&scene.ref, inode, sector))
			continue;
		cell->has_data = bcfmt_key_has_data(key);
		cell->is_dirty = bcfmt_key_is_dirty(key);
		cell->source = source;
		cell->ptr = bcfmt_ptr_make(bcfmt_ptr_dev(key->ptr),
					   bcfmt_ptr_sector(key->ptr) + (sector - start),
					   bcfmt_ptr_gen(key->ptr));
		cell->is_written_back =
			source != BCFMT_FROM_TREE && cell->is_dirty && was_cleaned(cell, cell->ptr);
		if (source == BCFMT_FROM_TREE && cell->has_data && !cell->is_dirty)
			cell->clean[cell->n_clean++] = cell->ptr;
	}
}

static void fill_cells(void)
{
	for (uint32_t inode = 0; inode < INODES; inode++)
		for (uint32_t sector = 0; sector < SECTORS; sector++) {
			cells[inode][sector].has_data = false;
			cells[inode][sector].n_clean = 0;
		}
	for (uint32_t i = 0; i < scene.n_tree; i++)
		write_key(&scene.tree[i], BCFMT_FROM_TREE);
	for (uint32_t i = 0; i < scene.n_replay; i++)
		write_key(&scene.replay[i].key, scene.replay[i].seq < scene.window_seq
							? BCFMT_FROM_HISTORY
							: BCFMT_FROM_REPLAY);
}

static void expect_extent(const struct bcfmt_extent *extent, uint64_t seed)
{
	for (uint64_t sector = extent->start_sector; sector < extent->end_sector; sector++) {
		const struct cell *cell = &cells[extent->inode][sector];
		uint64_t ptr = extent->ptr + ((sector - extent->start_sector) << 8);

		cr_assert(cell->has_data && cell->ptr == ptr &&
				  cell->is_dirty == extent->is_dirty &&
				  cell->source == extent->source &&
				  cell->is_written_back == extent->is_written_back,
			  "seed %llu, %u:%llu: ptr %#llx dirty %d source %d back %d, "
			  "must be data %d ptr %#llx dirty %d source %d back %d",
			  (unsigned long long)seed, extent->inode, (unsigned long long)sector,
			  (unsigned long long)ptr, extent->is_dirty, extent->source,
			  extent->is_written_back, cell->has_data, (unsigned long long)cell->ptr,
			  cell->is_dirty, cell->source, cell->is_written_back);
	}
}

static void compare(uint64_t seed)
{
	const struct bcfmt_extent *extents;
	uint64_t covered = 0, wanted = 0;

	fill_cells();
	cr_assert_eq(leaf_resolve(&scratch, &geo, &scene.ref, &scene.node, scene.replay,
				  scene.n_replay, scene.window_seq),
		     BCFMT_OK);
	extents = scratch.extents.items;
	for (size_t i = 0; i < scratch.extents.n; i++) {
		cr_assert_lt(extents[i].inode, INODES);
		cr_assert_lt(extents[i].start_sector, extents[i].end_sector);
		cr_assert_leq(extents[i].end_sector, SECTORS);
		cr_assert(!i || extents[i - 1].inode < extents[i].inode ||
				  (extents[i - 1].inode == extents[i].inode &&
				   extents[i - 1].end_sector <= extents[i].start_sector),
			  "seed %llu: extent %zu is not behind the one before it",
			  (unsigned long long)seed, i);
		expect_extent(&extents[i], seed);
		covered += extents[i].end_sector - extents[i].start_sector;
	}
	for (uint32_t inode = 0; inode < INODES; inode++)
		for (uint32_t sector = 0; sector < SECTORS; sector++)
			wanted += cells[inode][sector].has_data;
	cr_assert_eq(covered, wanted, "seed %llu: %llu sectors, must be %llu",
		     (unsigned long long)seed, (unsigned long long)covered,
		     (unsigned long long)wanted);
}

/* ---- scenes ---- */

static void clear_scene(void)
{
	memset(&scene, 0, sizeof(scene));
	scene.ref.hi = bcfmt_pos_max();
	scene.node.bsets = scene.bsets;
}

static void add_bset(const struct bcfmt_key *keys, uint32_t n)
{
	uint32_t index = scene.node.n_bsets++, words = 0;

	for (uint32_t i = 0; i < n; i++) {
		words += bcfmt_key_encode(&keys[i], scene.raw[index] + 8 * words);
		scene.tree[scene.n_tree++] = keys[i];
	}
	scene.bsets[index] = (struct bcfmt_bset){
		.block = index, .blocks = 1, .words = words, .keys = scene.raw[index]
	};
}

static void add_replay(struct bcfmt_key key, uint64_t seq)
{
	scene.replay[scene.n_replay] =
		(struct bcfmt_replay_key){ .key = key, .seq = seq, .word = scene.n_replay };
	scene.n_replay++;
}

/*
 * A place that belongs to the sector: version v of it is the same wherever a key begins, so that
 * keys of one version lie in one piece on the cache.
 */
static uint64_t place(uint32_t inode, uint64_t start, uint32_t version)
{
	uint64_t bucket = 100 + inode * 8 + version;

	return bcfmt_ptr_make(0, bucket * geo.bucket_sectors + start, version % 3);
}

static struct bcfmt_key random_key(uint64_t *state)
{
	uint32_t inode = set_kit_below(state, INODES);
	uint32_t sectors = 1 + set_kit_below(state, set_kit_below(state, 4) ? 40 : 200);
	uint64_t start = set_kit_below(state, SECTORS - sectors + 1);
	bool is_dirty = set_kit_random(state) >> 40 & 1;
	uint64_t ptr = place(inode, start, set_kit_below(state, 4));
	struct bcfmt_key key;

	switch (set_kit_below(state, 16)) {
	case 0: /* a hole */
		return bcfmt_key_make(inode, start + sectors, sectors, is_dirty, false, 0);
	case 1: /* a placeholder: noise but for its device */
		ptr = set_kit_random(state) | (uint64_t)BCFMT_PTR_DEV_CHECK << 51;
		break;
	case 2: /* overwritten in memory before it was written */
		sectors = 0;
		break;
	case 3: /* would start before sector 0 */
		start = 0u - (uint64_t)(1 + set_kit_below(state, 5));
		sectors += 5;
		break;
	case 4: /* crosses the end of its bucket, or lies outside */
		ptr = bcfmt_ptr_make(0,
				     set_kit_below(state, 2)
					     ? 100 * geo.bucket_sectors - 1
					     : (uint64_t)geo.nbuckets * geo.bucket_sectors,
				     0);
		sectors += 2;
		break;
	case 5: /* of another member, or of no device at all */
		ptr = bcfmt_ptr_make(3 + set_kit_below(state, 8), bcfmt_ptr_sector(ptr), 1);
		break;
	case 6: /* somewhere else */
		ptr = bcfmt_ptr_make(0,
				     (200 + set_kit_below(state, 100)) * geo.bucket_sectors +
					     set_kit_below(state, 200),
				     set_kit_below(state, 256));
		break;
	default:
		break;
	}
	key = bcfmt_key_make(inode, start + sectors, sectors, is_dirty, true, ptr);
	return key;
}

static int start_cmp(const void *a, const void *b)
{
	const struct bcfmt_key *x = a, *y = b;

	return bcfmt_pos_cmp(bcfmt_key_start(x), bcfmt_key_start(y));
}

static struct bcfmt_pos random_pos(uint64_t *state)
{
	return (struct bcfmt_pos){ set_kit_below(state, INODES), set_kit_below(state, SECTORS) };
}

static void random_range(uint64_t *state)
{
	struct bcfmt_pos a = random_pos(state), b = random_pos(state);

	if (!set_kit_below(state, 3))
		return;
	if (bcfmt_pos_cmp(a, b) > 0) {
		struct bcfmt_pos c = a;

		a = b;
		b = c;
	}
	scene.ref.lo = a;
	scene.ref.hi = b;
}

static void random_scene(uint64_t *state, bool is_sorted)
{
	struct bcfmt_key keys[KEYS_MAX];
	uint32_t n_bsets = set_kit_below(state, BSETS_MAX + 1), n_replay;

	clear_scene();
	random_range(state);
	for (uint32_t i = 0; i < n_bsets; i++) {
		uint32_t n = set_kit_below(state, KEYS_MAX + 1);

		for (uint32_t k = 0; k < n; k++)
			keys[k] = random_key(state);
		if (is_sorted)
			qsort(keys, n, sizeof(keys[0]), start_cmp);
		add_bset(keys, n);
	}
	n_replay = set_kit_below(state, 2) ? set_kit_below(state, REPLAY_MAX + 1) : 0;
	scene.window_seq = set_kit_below(state, 20);
	for (uint32_t i = 0; i < n_replay; i++)
		add_replay(random_key(state), 1 + i / 2);
}

Test(leaf_resolve, bsets_out_of_order, .timeout = 100)
{
	uint64_t state = 0x51515151;

	for (uint64_t i = 0; i < 6000; i++) {
		random_scene(&state, false);
		compare(i);
	}
}

Test(leaf_resolve, bsets_in_order, .timeout = 100)
{
	uint64_t state = 0x62626262;

	for (uint64_t i = 0; i < 4000; i++) {
		random_scene(&state, true);
		compare(i);
	}
}

/* Hardly any keys but those of one version: nearly all of the journal was written back. */
Test(leaf_resolve, written_back_in_parts, .timeout = 100)
{
	uint64_t state = 0x73737373;

	for (uint64_t i = 0; i < 4000; i++) {
		struct bcfmt_key keys[KEYS_MAX];
		uint32_t n = set_kit_below(&state, 12), n_replay = 1 + set_kit_below(&state, 6);

		clear_scene();
		for (uint32_t k = 0; k < n; k++) {
			uint32_t start = set_kit_below(&state, 60);
			uint32_t sectors = 1 + set_kit_below(&state, 30);

			keys[k] = bcfmt_key_make(1, start + sectors, sectors,
						 !set_kit_below(&state, 4), true,
						 place(1, start, set_kit_below(&state, 2)));
		}
		add_bset(keys, n);
		for (uint32_t k = 0; k < n_replay; k++) {
			uint32_t start = set_kit_below(&state, 40);
			uint32_t sectors = 1 + set_kit_below(&state, 80);

			add_replay(bcfmt_key_make(1, start + sectors, sectors,
						  set_kit_below(&state, 5) != 0, true,
						  place(1, start, set_kit_below(&state, 2))),
				   1 + k);
		}
		compare(i);
	}
}

Test(leaf_resolve, keys_that_do_not_touch_pass_through)
{
	struct bcfmt_key keys[] = { set_kit_clean(0, 10, 10, place(0, 10, 1)),
				    set_kit_dirty(0, 20, 5, place(0, 20, 2)),
				    set_kit_clean(2, 0, 1, place(2, 0, 1)) };

	clear_scene();
	add_bset(keys, 3);
	compare(0);
	cr_assert_eq(scratch.extents.n, 3);
	cr_expect_eq(VEC_AT(&scratch.extents, struct bcfmt_extent, 1)->ptr, place(0, 20, 2));
	cr_expect_eq(VEC_AT(&scratch.extents, struct bcfmt_extent, 1)->stale, 0);
}

Test(leaf_resolve, an_older_key_shows_on_both_sides_of_a_newer)
{
	struct bcfmt_key low[] = { set_kit_clean(0, 0, 100, place(0, 0, 0)) };
	struct bcfmt_key high[] = { set_kit_dirty(0, 40, 20, place(0, 40, 1)) };
	const struct bcfmt_extent *extents;

	clear_scene();
	add_bset(low, 1);
	add_bset(high, 1);
	compare(0);
	cr_assert_eq(scratch.extents.n, 3);
	extents = scratch.extents.items;
	cr_expect_eq(extents[0].end_sector, 40);
	cr_expect_eq(extents[1].ptr, place(0, 40, 1));
	cr_expect_eq(extents[2].start_sector, 60);
	cr_expect_eq(extents[2].ptr, place(0, 60, 0));
}

Test(leaf_resolve, bsets_that_a_kernel_does_not_reach_count_and_damaged_ones_do_not)
{
	struct bcfmt_key keys[] = { set_kit_clean(0, 0, 10, place(0, 0, 0)) };
	struct bcfmt_key bad[] = { set_kit_clean(0, 5, 10, place(0, 5, 1)) };
	struct bcfmt_key stray[] = { set_kit_clean(0, 8, 10, place(0, 8, 2)) };

	clear_scene();
	add_bset(keys, 1);
	add_bset(bad, 1);
	add_bset(stray, 1);
	scene.bsets[1].fault = BCFMT_BSET_CSUM;
	scene.bsets[2].is_stray = true;
	scene.tree[1] = scene.tree[2];
	scene.n_tree = 2;
	compare(0);
}

/* Keys of several pointers: only the first counts; one that does not fit is none. */
Test(leaf_resolve, keys_with_many_pointers_and_cut_ones)
{
	struct bcfmt_key first = set_kit_clean(0, 0, 10, place(0, 0, 0));
	struct bcfmt_key cut = set_kit_clean(0, 50, 10, place(0, 50, 0));

	clear_scene();
	first.high = (first.high & ~(7ull << 60)) | 3ull << 60;
	scene.tree[scene.n_tree++] = first;
	store_le64(scene.raw[0], first.high);
	store_le64(scene.raw[0] + 8, first.low);
	store_le64(scene.raw[0] + 16, first.ptr);
	store_le64(scene.raw[0] + 24, place(0, 0, 1));
	store_le64(scene.raw[0] + 32, place(0, 0, 2));
	store_le64(scene.raw[0] + 40, cut.high);
	store_le64(scene.raw[0] + 48, cut.low);
	scene.bsets[0] = (struct bcfmt_bset){ .words = 7, .keys = scene.raw[0] };
	scene.node.n_bsets = 1;
	compare(0);
	cr_assert_eq(scratch.extents.n, 1);
}

Test(leaf_resolve, the_far_end_of_the_key_space)
{
	uint64_t last = BCFMT_KEY_MAX_OFFSET;
	struct bcfmt_key keys[] = {
		set_kit_clean(BCFMT_KEY_MAX_INODE, last - 100, 100, place(0, 0, 0)),
		set_kit_clean(BCFMT_KEY_MAX_INODE, last - 50, 20, place(0, 50, 1)),
		/* Beyond any position: bit 63 of the sector. */
		bcfmt_key_make(5, UINT64_MAX - 3, 8, true, true, place(1, 0, 0)),
	};

	clear_scene();
	add_bset(keys, 2);
	cr_assert_eq(leaf_resolve(&scratch, &geo, &scene.ref, &scene.node, NULL, 0, 0), BCFMT_OK);
	cr_expect_eq(scratch.extents.n, 3);
	cr_expect_eq(VEC_AT(&scratch.extents, struct bcfmt_extent, 2)->end_sector, last);
	scene.ref.hi = (struct bcfmt_pos){ BCFMT_KEY_MAX_INODE, last - 60 };
	cr_assert_eq(leaf_resolve(&scratch, &geo, &scene.ref, &scene.node, NULL, 0, 0), BCFMT_OK);
	cr_assert_eq(scratch.extents.n, 1);
	cr_expect_eq(VEC_AT(&scratch.extents, struct bcfmt_extent, 0)->end_sector, last - 60);
	/* Whatever becomes of a sector with bit 63: no extent is empty or runs backwards. */
	add_replay(keys[2], 1);
	scene.ref.hi = bcfmt_pos_max();
	cr_assert_eq(leaf_resolve(&scratch, &geo, &scene.ref, &scene.node, scene.replay, 1, 0),
		     BCFMT_OK);
	for (size_t i = 0; i < scratch.extents.n; i++)
		cr_expect_lt(VEC_AT(&scratch.extents, struct bcfmt_extent, i)->start_sector,
			     VEC_AT(&scratch.extents, struct bcfmt_extent, i)->end_sector);
}

/* Cleaned twice: once whole, and, dirty again by a replay, a second time in part. */
Test(leaf_resolve, written_back_where_clean_keys_overlap)
{
	struct bcfmt_key whole[] = { set_kit_clean(0, 0, 100, place(0, 0, 0)) };
	struct bcfmt_key part[] = { set_kit_clean(0, 10, 10, place(0, 10, 0)) };

	clear_scene();
	add_bset(whole, 1);
	add_bset(part, 1);
	add_replay(set_kit_dirty(0, 0, 100, place(0, 0, 0)), 1);
	compare(0);
	for (size_t i = 0; i < scratch.extents.n; i++)
		cr_expect(VEC_AT(&scratch.extents, struct bcfmt_extent, i)->is_written_back);
}

Test(leaf_resolve, the_same_sectors_at_another_place_or_gen_are_not_written_back)
{
	struct bcfmt_key keys[] = { set_kit_clean(0, 0, 10, place(0, 0, 0)),
				    set_kit_clean(0, 20, 10, place(0, 20, 0) + 1),
				    set_kit_clean(1, 40, 10, place(0, 40, 0)) };
	const struct bcfmt_extent *extents;

	clear_scene();
	add_bset(keys, 3);
	add_replay(set_kit_dirty(0, 0, 10, place(0, 1, 0)), 1);
	add_replay(set_kit_dirty(0, 20, 10, place(0, 20, 0)), 1);
	add_replay(set_kit_dirty(0, 40, 10, place(0, 40, 0)), 1);
	compare(0);
	cr_assert_eq(scratch.extents.n, 4);
	extents = scratch.extents.items;
	for (size_t i = 0; i < 3; i++)
		cr_expect(extents[i].is_dirty && !extents[i].is_written_back);
}

Test(leaf_resolve, a_later_write_covers_what_was_written_back)
{
	struct bcfmt_key keys[] = { set_kit_clean(0, 0, 10, place(0, 0, 0)) };
	const struct bcfmt_extent *extents;

	clear_scene();
	add_bset(keys, 1);
	add_replay(set_kit_dirty(0, 0, 10, place(0, 0, 0)), 1);
	add_replay(set_kit_dirty(0, 4, 2, place(0, 4, 1)), 2);
	add_replay(set_kit_hole(0, 8, 2), 3);
	compare(0);
	cr_assert_eq(scratch.extents.n, 3);
	extents = scratch.extents.items;
	cr_expect(extents[0].is_written_back);
	cr_expect_not(extents[1].is_written_back);
	cr_expect(extents[2].is_written_back);
	cr_expect_eq(extents[2].end_sector, 8);
}

/* Every other sector was written back, and many keys of the journal lie over all of them. */
Test(leaf_resolve, parts_of_keys_do_not_multiply)
{
	struct bcfmt_replay_key *replay = calloc(20000, sizeof(*replay));
	struct bcfmt_key keys[KEYS_MAX];

	clear_scene();
	for (uint32_t i = 0; i < KEYS_MAX; i++)
		keys[i] = set_kit_clean(0, i * 2, 1, place(0, i * 2, 0));
	add_bset(keys, KEYS_MAX);
	for (uint32_t i = 0; i < 20000; i++)
		replay[i] = (struct bcfmt_replay_key){
			.key = set_kit_dirty(0, 0, 2 * KEYS_MAX, place(0, 0, 0)), .seq = 1 + i
		};
	cr_assert_eq(leaf_resolve(&scratch, &geo, &scene.ref, &scene.node, replay, 20000, 0),
		     BCFMT_OK);
	cr_expect_eq(scratch.pieces.n, KEYS_MAX + 20000);
	cr_expect_eq(scratch.extents.n, 2 * KEYS_MAX);
	free(replay);
}
