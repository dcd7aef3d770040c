/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The common leaf, which all but a few are where speed counts: one bset without a fault, its keys
 * in order, within the leaf's range, each with one pointer to a bucket of data on this member.
 * Such keys are the leaf's extents as they stand, and nobody has to look at them one by one again.
 * Leaves that are anything else go the general way, from their first key on; what both ways tell
 * of a plain leaf is the same.
 *
 * One pass over the keys judges by rule and looks the buckets up. Their entries in the map lie
 * anywhere in memory: each is asked for some keys ahead.
 */
#include "set/plain.h"
#include "set/standing.h"
#include "set/tree_impl.h"

#define AHEAD_KEYS 32u
#define PART_KEYS 256u /* after so many it is asked whether to go on */

/* Bits of a key's first word that tell the number of pointers and the checksum type. */
#define SHAPE_MASK (7ull << 60 | 3ull << 56)
#define SHAPE_PLAIN (1ull << 60)
/* Bits of a pointer that tell the member. */
#define DEV_MASK (0xfffull << 51)

static const uint8_t *raw_at(const struct bcfmt_node *node, size_t i)
{
	return node->bsets[0].keys + i * PLAIN_KEY_BYTES;
}

/* The pointer of a key that may need a look. */
static uint64_t look_ptr(const struct bcfmt_node *node, const struct vec *looks, size_t i)
{
	return plain_key(raw_at(node, *VEC_AT(looks, uint32_t, i))).ptr;
}

/*
 * Judges the keys [first, end) by rule and lists those that need a look at their bucket; false
 * when one of them is not plain. *last is the END of the key before.
 *
 * What must not be is gathered and asked for once: bits of odd, and the sign of below, to which
 * comparisons are added as differences. All that is subtracted lies below 2^63, or has a difference
 * of its own there.
 */
static bool scan_keys(const struct bcfmt_set *set, const struct bcfmt_node *node,
		      const struct standing *at, size_t first, size_t end, struct bcfmt_pos *last,
		      struct vec *looks)
{
	const uint8_t *raw = raw_at(node, first);
	const uint8_t *last_raw = raw_at(node, node->bsets[0].words / PLAIN_KEY_WORDS - 1);
	const struct bcfmt_bucket *buckets = set->buckets;
	const struct standing standing = *at;
	uint64_t bucket_sectors = set->geo.bucket_sectors, first_bucket = set->geo.first_bucket;
	uint64_t n_data = set->geo.nbuckets - first_bucket;
	uint64_t this_dev = bcfmt_ptr_make(set->geo.nr_this_dev, 0, 0);
	unsigned int shift = set->geo.bucket_shift;
	uint64_t last_sector = last->sector, odd = 0, below = 0;
	uint64_t last_inode = last->inode;
	uint32_t *look = looks->items;
	size_t n_looks = looks->n;

	for (size_t i = first; i < end; i++, raw += PLAIN_KEY_BYTES) {
		const uint8_t *ahead = raw + AHEAD_KEYS * PLAIN_KEY_BYTES;
		struct bcfmt_key key = plain_key(raw);
		uint64_t sectors = bcfmt_key_sectors(&key), start = key.low - sectors;
		uint64_t sector = bcfmt_ptr_sector(key.ptr);
		uint64_t index = (sector >> shift) - first_bucket;
		uint64_t inode = bcfmt_key_inode(&key);
		uint64_t ahead_ptr = load_le64((ahead < last_raw ? ahead : last_raw) + 16);

		/* A place that cannot be does no harm: nothing is read. */
		__builtin_prefetch(
			(const void *)((uintptr_t)buckets +
				       (bcfmt_ptr_sector(ahead_ptr) >> shift) * sizeof(*buckets)));
		odd |= (key.high & SHAPE_MASK) ^ SHAPE_PLAIN;
		odd |= (key.ptr ^ this_dev) & DEV_MASK;
		below |= key.low | start | (sectors - 1);
		below |= bucket_sectors - (sector & (bucket_sectors - 1)) - sectors;
		below |= index | (n_data - 1 - index);
		below |= inode - last_inode;
		below |= inode == last_inode ? start - last_sector : 0;
		last_inode = inode;
		last_sector = key.low;
		look[n_looks] = (uint32_t)i;
		n_looks += !stands_well(&standing,
					&buckets[first_bucket + (index < n_data ? index : 0)],
					key.ptr, bcfmt_key_is_dirty(&key));
	}
	*last = (struct bcfmt_pos){ (uint32_t)last_inode, last_sector };
	looks->n = n_looks;
	return !odd && !(below >> 63);
}

static bool is_one_sound_bset(const struct bcfmt_node_view *view)
{
	const struct bcfmt_node *node = view->node;

	return !view->ref->level && view->ref->lo.sector <= BCFMT_KEY_MAX_OFFSET &&
	       !view->bad.sectors && !node->fault && node->n_bsets == 1 &&
	       node->bsets[0].words % PLAIN_KEY_WORDS == 0;
}

static bool is_metadata(const struct bcfmt_set *set, uint64_t ptr)
{
	const struct bcfmt_bucket *at = &set->buckets[bcfmt_ptr_bucket(&set->geo, ptr)];

	return __atomic_load_n(&at->use, __ATOMIC_RELAXED) & BCFMT_USE_METADATA;
}

bcfmt_err leaf_plain_scan(const struct bcfmt_set *set, struct vec *looks, bool has_final_gens,
			  struct bcfmt_node_view *view, struct bcfmt_node *node)
{
	struct standing standing = standing_init(has_final_gens);
	struct bcfmt_pos last = view->ref->lo;
	size_t n_keys;

	if (!is_one_sound_bset(view))
		return BCFMT_OK;
	n_keys = node->bsets[0].words / PLAIN_KEY_WORDS;
	if (vec_reserve(looks, n_keys, sizeof(uint32_t)))
		return BCFMT_E_NOMEM;
	looks->n = 0;
	for (size_t first = 0; first < n_keys; first += PART_KEYS) {
		size_t end = first + PART_KEYS < n_keys ? first + PART_KEYS : n_keys;

		if (!scan_keys(set, node, &standing, first, end, &last, looks))
			return BCFMT_OK;
	}
	if (bcfmt_pos_cmp(last, view->ref->hi) > 0)
		return BCFMT_OK;
	for (size_t i = 0; i < looks->n; i++)
		if (is_metadata(set, look_ptr(node, looks, i)))
			return BCFMT_OK;
	node->bsets[0].key_count = (uint32_t)n_keys;
	view->keys = (uint32_t)n_keys;
	view->is_plain = true;
	return BCFMT_OK;
}

/* A key that needs no look has its bucket's gen: it raises nothing. */
static bool is_ahead(const struct bcfmt_set *set, const struct bcfmt_node *node,
		     const struct vec *looks)
{
	for (size_t i = 0; i < looks->n; i++)
		if (set_would_raise_gen(set, look_ptr(node, looks, i)))
			return true;
	return false;
}

bool leaf_plain_raise(struct bcfmt_set *set, struct vec *looks, const struct bcfmt_node *node)
{
	size_t n_keys = node->bsets[0].words / PLAIN_KEY_WORDS;
	bool rose = false;

	if (!is_ahead(set, node, looks))
		return false;
	/* Where gens are not known from the disk the order counts: all of them, as they stand. */
	for (size_t i = 0; i < n_keys; i++) {
		rose |= set_raise_gen(set, plain_key(raw_at(node, i)).ptr);
		*VEC_AT(looks, uint32_t, i) = (uint32_t)i;
	}
	looks->n = n_keys;
	return rose;
}

bool leaf_plain_is_valid(struct bcfmt_set *set, const struct vec *looks, bool has_final_gens,
			 const struct bcfmt_node *node)
{
	bool is_valid = true;

	for (size_t i = 0; i < looks->n; i++) {
		struct bcfmt_extent extent =
			plain_extent(raw_at(node, *VEC_AT(looks, uint32_t, i)));

		set_judge(set, has_final_gens, &extent);
		is_valid &= !extent.stale;
	}
	return is_valid;
}

bcfmt_err leaf_plain_extents(struct bcfmt_set *set, const struct vec *looks, bool has_final_gens,
			     const struct bcfmt_node *node, struct vec *extents)
{
	size_t n_keys = node->bsets[0].words / PLAIN_KEY_WORDS;
	struct bcfmt_extent *extent;

	if (vec_reserve(extents, n_keys, sizeof(*extent)))
		return BCFMT_E_NOMEM;
	extent = extents->items;
	for (size_t i = 0; i < n_keys; i++)
		extent[i] = plain_extent(raw_at(node, i));
	extents->n = n_keys;
	for (size_t i = 0; i < looks->n; i++)
		set_judge(set, has_final_gens, &extent[*VEC_AT(looks, uint32_t, i)]);
	return BCFMT_OK;
}
