/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Simulates a kernel's merge of the bsets of a node. kernel: btree_mergesort(),
 * bch_extent_sort_fixup(), bch_bkey_try_merge().
 */
#include "check/predict_merge.h"

#include <string.h>

#include "base/bytes.h"
#include "base/checked.h"

/* The kernel's own loop ends after fewer; with keys around the end of all sectors it may not. */
#define STEPS_PER_WORD 4u

#define KEY_SIZE_BIT 20
#define KEY_SIZE_MASK ((uint64_t)BCFMT_KEY_MAX_SECTORS << KEY_SIZE_BIT)
#define PTR_SECTOR_BIT 8
#define PTR_SECTOR_MASK (0x7ffffffffffull << PTR_SECTOR_BIT)

struct cursor {
	const uint8_t *at;
	const uint8_t *end;
	uint32_t age; /* of the bset: the newest has the highest */
	struct merge_key key;
};

static struct bcfmt_key plain(const struct merge_key *key)
{
	return (struct bcfmt_key){ key->high, key->low, key->ptr[0] };
}

struct bcfmt_key merge_key_at(const struct merge_key *key, unsigned int i)
{
	return (struct bcfmt_key){ key->high, key->low, i < 7 ? key->ptr[i] : 0 };
}

static unsigned int ptr_count(const struct merge_key *key)
{
	struct bcfmt_key header = plain(key);

	return bcfmt_key_ptr_count(&header);
}

static uint32_t sectors_of(const struct merge_key *key)
{
	struct bcfmt_key header = plain(key);

	return bcfmt_key_sectors(&header);
}

static void set_sectors(struct merge_key *key, uint64_t sectors)
{
	key->high = (key->high & ~KEY_SIZE_MASK) | (sectors << KEY_SIZE_BIT & KEY_SIZE_MASK);
}

unsigned int merge_key_raw(const struct merge_key *key, uint8_t raw[MERGE_KEY_WORDS * 8])
{
	unsigned int n = ptr_count(key);

	store_le64(raw, key->high);
	store_le64(raw + 8, key->low);
	for (unsigned int i = 0; i < n; i++)
		store_le64(raw + 16 + 8 * i, key->ptr[i]);
	return 2 + n;
}

void merge_key_load(struct merge_key *out, const uint8_t *raw, size_t raw_words)
{
	unsigned int n;

	memset(out, 0, sizeof(*out));
	out->high = raw_words ? load_le64(raw) : 0;
	out->low = raw_words > 1 ? load_le64(raw + 8) : 0;
	n = ptr_count(out);
	for (unsigned int i = 0; i < n && 2 + i < raw_words; i++)
		out->ptr[i] = load_le64(raw + 16 + 8 * i);
}

/* kernel: bkey_cmp(), the distance of two places, which wraps. */
static int64_t distance(struct bcfmt_pos a, struct bcfmt_pos b)
{
	if (a.inode != b.inode)
		return (int64_t)a.inode - (int64_t)b.inode;
	return (int64_t)(a.sector - b.sector);
}

static struct bcfmt_pos end_of(const struct merge_key *key)
{
	struct bcfmt_key header = plain(key);

	return bcfmt_key_end(&header);
}

static struct bcfmt_pos start_of(const struct merge_key *key)
{
	struct bcfmt_key header = plain(key);

	return bcfmt_key_start(&header);
}

/* True when a comes out after b. */
static bool is_after(const struct merge *merge, const struct cursor *a, const struct cursor *b)
{
	int64_t order = merge->is_leaf ? distance(start_of(&a->key), start_of(&b->key))
				       : distance(end_of(&a->key), end_of(&b->key));

	return order ? order > 0 : a->age < b->age;
}

static struct cursor *at_index(struct merge *merge, size_t i)
{
	return VEC_AT(&merge->cursors, struct cursor, i);
}

static void sift_down(struct merge *merge, size_t i)
{
	for (;;) {
		size_t child = 2 * i + 1;
		struct cursor cursor;

		if (child >= merge->cursors.n)
			return;
		if (child + 1 < merge->cursors.n &&
		    is_after(merge, at_index(merge, child), at_index(merge, child + 1)))
			child++;
		if (!is_after(merge, at_index(merge, i), at_index(merge, child)))
			return;
		cursor = *at_index(merge, i);
		*at_index(merge, i) = *at_index(merge, child);
		*at_index(merge, child) = cursor;
		i = child;
	}
}

/* Loads the key that stands at the cursor; what lies behind the bset counts where it says so. */
static void load_key(struct merge *merge, struct cursor *cursor)
{
	size_t words = (size_t)(merge->node_end - cursor->at) / 8;

	merge_key_load(&cursor->key, cursor->at, words);
	if (2 + (size_t)ptr_count(&cursor->key) > words)
		merge->is_lost = true;
}

/* Goes on to the next key of cursor i, which leaves the heap at the end of its bset. */
static void go_on(struct merge *merge, size_t i, bool is_checked)
{
	struct cursor *cursor = at_index(merge, i);
	size_t words_left = (size_t)(cursor->end - cursor->at) / 8;
	size_t words = 2 + (size_t)ptr_count(&cursor->key);

	if (words > words_left) {
		merge->is_corrupt = true;
		/* Only one of the kernel's two ways to go on looks whether the end was passed. */
		if (!is_checked) {
			merge->is_lost = true;
			return;
		}
		words = words_left;
	}
	cursor->at += 8 * words;
	if (cursor->at < cursor->end)
		load_key(merge, cursor);
	else
		*cursor = *at_index(merge, --merge->cursors.n);
	if (i < merge->cursors.n)
		sift_down(merge, i);
}

/* The key begins at where at the earliest. */
static void cut_front(struct bcfmt_pos where, struct merge_key *key)
{
	uint64_t sectors = 0, old = sectors_of(key);

	if (distance(where, start_of(key)) <= 0)
		return;
	if (distance(where, end_of(key)) < 0) {
		sectors = key->low - where.sector;
	} else {
		key->high = (key->high & ~(uint64_t)BCFMT_KEY_MAX_INODE) | where.inode;
		key->low = where.sector;
	}
	for (unsigned int i = 0; i < ptr_count(key); i++)
		key->ptr[i] =
			(key->ptr[i] & ~PTR_SECTOR_MASK) |
			((key->ptr[i] + ((old - sectors) << PTR_SECTOR_BIT)) & PTR_SECTOR_MASK);
	set_sectors(key, sectors);
}

/* The key ends at where at the latest. */
static void cut_back(struct bcfmt_pos where, struct merge_key *key)
{
	uint64_t sectors = 0;

	if (distance(where, end_of(key)) >= 0)
		return;
	if (distance(where, start_of(key)) > 0)
		sectors = where.sector - start_of(key).sector;
	key->high = (key->high & ~(uint64_t)BCFMT_KEY_MAX_INODE) | where.inode;
	key->low = where.sector;
	set_sectors(key, sectors);
}

/* Index of the cursor that is next after the top. */
static size_t second(struct merge *merge)
{
	return merge->cursors.n > 2 && is_after(merge, at_index(merge, 1), at_index(merge, 2)) ? 2
											       : 1;
}

/*
 * Settles what the top overlaps; true when a part of it comes out alone, because a newer key lies
 * within it.
 */
static bool fix_overlaps(struct merge *merge, struct merge_key *out)
{
	while (merge->cursors.n > 1 && !merge->is_lost) {
		struct cursor *top = at_index(merge, 0);
		size_t i = second(merge);
		struct cursor *other = at_index(merge, i);

		if (!merge->steps_left) {
			merge->is_lost = true;
			return false;
		}
		merge->steps_left--;
		if (distance(end_of(&top->key), start_of(&other->key)) <= 0)
			return false;
		if (!sectors_of(&other->key)) {
			go_on(merge, i, false);
		} else if (top->age > other->age) {
			if (distance(end_of(&top->key), end_of(&other->key)) >= 0) {
				go_on(merge, i, false);
				continue;
			}
			cut_front(end_of(&top->key), &other->key);
			sift_down(merge, i);
		} else if (distance(end_of(&other->key), end_of(&top->key)) < 0) {
			*out = top->key;
			cut_back(start_of(&other->key), out);
			cut_front(end_of(&other->key), &top->key);
			sift_down(merge, 0);
			return true;
		} else {
			cut_back(start_of(&other->key), &top->key);
		}
	}
	return false;
}

bcfmt_err merge_begin(struct merge *merge, const struct bcfmt_node *node, bool is_leaf)
{
	memset(merge, 0, sizeof(*merge));
	merge->node = node;
	merge->is_leaf = is_leaf;
	merge->node_end = node->buf + (size_t)node->nblocks * node->block_bytes;
	for (uint32_t i = 0; i < node->n_bsets; i++) {
		const struct bcfmt_bset *bset = &node->bsets[i];
		struct cursor *cursor;

		if (bset->fault || bset->is_stray || !bset->words)
			continue;
		cursor = vec_push(&merge->cursors, sizeof(*cursor));
		if (!cursor)
			return BCFMT_E_NOMEM;
		cursor->at = bset->keys;
		cursor->end = bset->keys + 8 * (size_t)bset->words;
		cursor->age = i;
		load_key(merge, cursor);
		merge->steps_left += (uint64_t)bset->words * STEPS_PER_WORD;
	}
	for (size_t i = merge->cursors.n / 2; i-- > 0;)
		sift_down(merge, i);
	return BCFMT_OK;
}

bool merge_next(struct merge *merge, struct merge_key *out)
{
	if (merge->is_leaf && fix_overlaps(merge, out))
		return true;
	if (merge->is_lost || !merge->cursors.n)
		return false;
	*out = at_index(merge, 0)->key;
	go_on(merge, 0, true);
	return true;
}

void merge_clear(struct merge *merge)
{
	vec_free(&merge->cursors);
}

bool merge_keys(const struct bcfmt_geometry *geo, struct merge_key *last, struct merge_key *key)
{
	uint64_t sum = (uint64_t)sectors_of(last) + sectors_of(key);
	/* Dirty bit, number of pointers and kind of checksum. */
	uint64_t same_bits = 1ull << 36 | 7ull << 60 | 3ull << 56;

	if (((last->high ^ key->high) & same_bits) || distance(end_of(last), start_of(key)))
		return false;
	for (unsigned int i = 0; i < ptr_count(last); i++)
		if (last->ptr[i] + ((uint64_t)sectors_of(last) << PTR_SECTOR_BIT) != key->ptr[i] ||
		    bcfmt_ptr_bucket(geo, last->ptr[i]) != bcfmt_ptr_bucket(geo, key->ptr[i]))
			return false;
	if (sum > BCFMT_KEY_MAX_SECTORS) {
		last->low += BCFMT_KEY_MAX_SECTORS - sectors_of(last);
		set_sectors(last, BCFMT_KEY_MAX_SECTORS);
		cut_front(end_of(last), key);
		return false;
	}
	last->low += sectors_of(key);
	set_sectors(last, sum);
	return true;
}
