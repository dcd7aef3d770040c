/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The way for plain leaves against the general one: random leaves, most of them plain but for one
 * key of some other kind. Where a leaf is taken as plain both tell the same of it, and leave the
 * same behind in the bucket map.
 */
#include <criterion/criterion.h>

#include <stdlib.h>
#include <string.h>

#include "kit/set_kit.h"
#include "set/plain.h"
#include "set/tree_impl.h"

#define KEYS_MAX 300u
#define KINDS 22u

static struct set_kit kit;
static struct worker worker;
static struct leaf_scratch general;
static struct bcfmt_bucket *before, *after;
static uint32_t n_plain, n_other;

static void begin(void)
{
	struct set_kit_shape shape = { .bucket_sectors = 32 };

	set_kit_init(&kit, &shape);
	set_kit_tables(&kit);
	set_kit_first_jset(&kit, set_kit_node(&kit, kit.free_bucket, NULL, 0), 0);
	cr_assert_eq(set_kit_open(&kit), BCFMT_OK);
	before = malloc(kit.geo.nbuckets * sizeof(*before));
	after = malloc(kit.geo.nbuckets * sizeof(*after));
}

static void end(void)
{
	free(before);
	free(after);
	worker_clear(&worker);
	leaf_scratch_clear(&general);
	set_kit_clear(&kit);
}

TestSuite(leaf_plain, .init = begin, .fini = end);

/* Any gen, or none, of buckets of all uses. */
static void random_map(uint64_t *state)
{
	bool is_lost = !set_kit_below(state, 4);

	for (uint64_t i = 0; i < kit.geo.nbuckets; i++) {
		struct bcfmt_bucket *at = &kit.set->buckets[i];
		unsigned int known = is_lost ? 0 : BUCKET_GEN_ON_DISK;

		memset(at, 0, sizeof(*at));
		at->gen = at->disk_gen = (uint8_t)(250 + i % 9);
		at->gen_flags =
			(uint8_t)(known | (set_kit_random(state) >> 20 & BUCKET_GEN_JUDGED));
		if (is_lost && i % 3)
			at->gen_flags |= BUCKET_GEN_CLAIMED | BUCKET_GEN_SEEN;
		/* Walked before, mostly. */
		at->use = set_kit_below(state, 4) ? USE_LIVE : BCFMT_USE_CLEAN;
		if (i >= kit.geo.first_bucket && i < kit.geo.first_bucket + 8u)
			at->use = BCFMT_USE_JOURNAL;
		if (i % 50 == 49)
			at->use = BCFMT_USE_NODE;
	}
}

static uint64_t data_bucket(uint64_t *state)
{
	uint64_t bucket = 100 + set_kit_below(state, (uint32_t)kit.geo.nbuckets - 100);

	return bucket % 50 == 49 ? bucket - 1 : bucket;
}

static uint64_t random_ptr(uint64_t *state, uint32_t sectors, bool has_other_gens)
{
	uint64_t bucket = data_bucket(state);
	unsigned int gen = kit.set->buckets[bucket].gen;

	if (has_other_gens && !set_kit_below(state, 20))
		gen += set_kit_below(state, 6) ? 255 : set_kit_below(state, 256);
	return bcfmt_ptr_make(0, bucket * 32 + set_kit_below(state, 33 - sectors), gen & 0xff);
}

/* Makes one key something else; kinds from 20 on leave it as it is. */
static void spoil(uint64_t *state, struct bcfmt_key *key, unsigned int kind)
{
	uint64_t sector = bcfmt_ptr_sector(key->ptr), bucket = sector / 32;

	switch (kind) {
	case 0: /* size 0 */
		*key = bcfmt_key_make(bcfmt_key_inode(key), key->low, 0, false, true, key->ptr);
		break;
	case 1: /* a hole */
		key->high &= ~(7ull << 60);
		break;
	case 2: /* two pointers claimed: all behind is shifted */
		key->high ^= 3ull << 60;
		break;
	case 3:
		key->high |= 1ull << (56 + set_kit_below(state, 2));
		break;
	case 4: /* another member, or a placeholder */
		key->ptr |= set_kit_below(state, 2) ? 1ull << 51 : 0xfffull << 51;
		break;
	case 5: /* across the end of its bucket */
		key->ptr = bcfmt_ptr_make(0, bucket * 32 + 33 - bcfmt_key_sectors(key), 1);
		break;
	case 6:
		key->ptr = bcfmt_ptr_make(0, set_kit_below(state, 32), 1);
		break;
	case 7:
		key->ptr = bcfmt_ptr_make(0, (kit.geo.nbuckets + set_kit_below(state, 3)) * 32, 1);
		break;
	case 8: /* ahead of the inode's begin */
		key->low = set_kit_below(state, bcfmt_key_sectors(key));
		break;
	case 9:
		key->low |= 1ull << 63;
		break;
	case 10: /* back to what came before */
		key->low -= 200 + set_kit_below(state, 2000);
		break;
	case 11: /* into the next one, or beyond */
		key->low += 10 + set_kit_below(state, 2000);
		break;
	case 12:
		key->high ^= 1;
		break;
	case 13:
		key->ptr = bcfmt_ptr_make(0, (bucket / 50 * 50 + 49) * 32, 1);
		break;
	case 14:
		key->ptr = bcfmt_ptr_make(0, (kit.geo.first_bucket + 1ull) * 32, 1);
		break;
	default:
		break;
	}
}

static struct bcfmt_node_ref random_leaf(uint64_t *state)
{
	struct bcfmt_node_ref ref = { .ptr = set_kit_ptr(&kit, kit.free_bucket, 0),
				      .lo = { 2, 1000 },
				      .hi = { 4, 300000 },
				      .sectors = kit.geo.node_sectors };
	static struct bcfmt_key keys[KEYS_MAX];
	uint32_t n = set_kit_below(state, KEYS_MAX), inode = 2, half;
	uint64_t start = 1000 + (set_kit_below(state, 3) ? 0 : 20);
	bool has_other_gens = set_kit_below(state, 2);
	uint32_t block = 0;

	for (uint32_t i = 0; i < n; i++) {
		uint32_t sectors = 1 + set_kit_below(state, 32);

		if (inode < 4 && !set_kit_below(state, 200)) {
			inode++;
			start = set_kit_below(state, 9);
		}
		keys[i] = bcfmt_key_make(inode, start + sectors, sectors, set_kit_below(state, 2),
					 true, random_ptr(state, sectors, has_other_gens));
		start += sectors + (set_kit_below(state, 3) ? 0 : set_kit_below(state, 50));
	}
	if (n)
		spoil(state, &keys[set_kit_below(state, n)], set_kit_below(state, KINDS));
	/* The range may end with the last key, or before it. */
	if (!set_kit_below(state, 3))
		ref.hi = (struct bcfmt_pos){ inode, start - set_kit_below(state, 2) };
	set_kit_zero(&kit, kit.free_bucket * 32, 32);
	half = set_kit_below(state, 10) ? n : n / 2;
	if (n > half && half > 120)
		half = n;
	block = set_kit_bset(&kit, ref.ptr, 0, 77, keys, half);
	if (n > half)
		set_kit_bset(&kit, ref.ptr, block, 77, keys + half, n - half);
	if (!set_kit_below(state, 10))
		set_kit_spoil(&kit, kit.free_bucket, 8 * set_kit_below(state, 30));
	return ref;
}

static void save_map(struct bcfmt_bucket *to)
{
	memcpy(to, kit.set->buckets, kit.geo.nbuckets * sizeof(*to));
}

/* As a walk does where it takes no leaf for plain. */
static bool go_general(struct bcfmt_node_view *view, bool has_final_gens)
{
	struct bcfmt_node_iter it;
	struct bcfmt_key key;
	bool rose = false;

	worker.reader.node.bsets[0].key_count = 0;
	cr_assert_eq(ref_count(&worker, view), BCFMT_OK);
	it = bcfmt_node_iter_init(view->node);
	while (!has_final_gens && bcfmt_node_iter_next(&it, &key))
		rose |= set_raise_gen_by_extent(kit.set, &key);
	cr_assert_eq(leaf_resolve(&general, &kit.geo, view->ref, view->node, NULL, 0, 1), BCFMT_OK);
	for (size_t i = 0; i < general.extents.n; i++)
		set_judge(kit.set, has_final_gens,
			  VEC_AT(&general.extents, struct bcfmt_extent, i));
	return rose;
}

/* Keys of a right leaf that the plain way has to take. */
static void expect_ordinary(const struct bcfmt_node_view *view)
{
	cr_assert_eq(view->skipped_backwards, 0);
	cr_assert_eq(view->zero_size_keys, 0);
	cr_assert_eq(view->placeholders, 0);
	cr_assert_not(view->is_disordered);
	cr_assert_not(view->is_overrun);
}

static void compare(const struct bcfmt_node_ref *ref, bool has_final_gens)
{
	struct bcfmt_node_view view, other;
	struct vec extents = { 0 };
	bool rose = false, other_rose, is_valid, has_stale = false;

	cr_assert_eq(ref_read(kit.set, &worker, ref, &view), BCFMT_OK);
	other = view;
	save_map(before);
	cr_assert_eq(leaf_plain_scan(kit.set, &worker.looks, has_final_gens, &view,
				     &worker.reader.node),
		     BCFMT_OK);
	cr_assert_arr_eq(before, kit.set->buckets, kit.geo.nbuckets * sizeof(*before));
	if (!view.is_plain) {
		cr_assert_arr_eq(&other, &view, sizeof(view));
		n_other++;
		return;
	}
	n_plain++;
	if (!has_final_gens)
		rose = leaf_plain_raise(kit.set, &worker.looks, view.node);
	/* Once without the extents and once with them. */
	is_valid = leaf_plain_is_valid(kit.set, &worker.looks, has_final_gens, view.node);
	cr_assert_eq(leaf_plain_extents(kit.set, &worker.looks, has_final_gens, view.node,
					&extents),
		     BCFMT_OK);
	save_map(after);
	memcpy(kit.set->buckets, before, kit.geo.nbuckets * sizeof(*before));
	other_rose = go_general(&other, has_final_gens);
	expect_ordinary(&other);
	cr_assert_eq(view.keys, other.keys);
	cr_assert_eq(rose, other_rose);
	cr_assert_eq(extents.n, general.extents.n);
	for (size_t i = 0; i < extents.n; i++) {
		const struct bcfmt_extent *extent = VEC_AT(&extents, struct bcfmt_extent, i);

		cr_assert_arr_eq(extent, VEC_AT(&general.extents, struct bcfmt_extent, i),
				 sizeof(*extent));
		has_stale |= extent->stale != 0;
	}
	cr_assert_eq(is_valid, !has_stale);
	cr_assert_arr_eq(after, kit.set->buckets, kit.geo.nbuckets * sizeof(*after));
	vec_free(&extents);
}

Test(leaf_plain, random_leaves)
{
	uint64_t state = 5;

	for (unsigned int i = 0; i < 6000; i++) {
		struct bcfmt_node_ref ref;

		random_map(&state);
		ref = random_leaf(&state);
		compare(&ref, set_kit_below(&state, 4) == 0);
	}
	cr_expect_gt(n_plain, 1000);
	cr_expect_gt(n_other, 2000);
}

/* A leaf without any fault is plain, an empty one too. */
Test(leaf_plain, a_right_leaf_is_plain)
{
	struct bcfmt_node_ref ref = { .ptr = set_kit_ptr(&kit, kit.free_bucket, 0),
				      .hi = bcfmt_pos_max(),
				      .sectors = kit.geo.node_sectors };
	struct bcfmt_key keys[] = { set_kit_dirty(0, 0, 8, set_kit_ptr(&kit, 200, 24)),
				    set_kit_clean(0, 8, 32, set_kit_ptr(&kit, 201, 0)),
				    set_kit_clean(1, 4, 1, set_kit_ptr(&kit, 639, 31)) };
	struct bcfmt_node_view view;

	for (uint32_t n = 0; n <= 3; n++) {
		set_kit_bset(&kit, ref.ptr, 0, 77, keys, n);
		cr_assert_eq(ref_read(kit.set, &worker, &ref, &view), BCFMT_OK);
		cr_assert_eq(leaf_plain_scan(kit.set, &worker.looks, false, &view,
					     &worker.reader.node),
			     BCFMT_OK);
		cr_expect(view.is_plain);
		cr_expect_eq(view.keys, n);
	}
	cr_expect_eq(plain_run(worker.reader.node.bsets[0].keys, 3), 2);
	cr_expect_eq(plain_run(worker.reader.node.bsets[0].keys, 2), 2);
	cr_expect_eq(plain_run(worker.reader.node.bsets[0].keys + 2 * PLAIN_KEY_BYTES, 1), 1);
	/* A node of a higher level is none. */
	ref.level = 1;
	cr_assert_eq(ref_read(kit.set, &worker, &ref, &view), BCFMT_OK);
	cr_assert_eq(leaf_plain_scan(kit.set, &worker.looks, false, &view, &worker.reader.node),
		     BCFMT_OK);
	cr_expect_not(view.is_plain);
}
