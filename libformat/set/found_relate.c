/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What the nodes that were found say of each other, and what proves that they are all there is.
 *
 * A bucket is used anew only after a prio set with its raised gen is on the disk, and a node that
 * is given up gets a raised gen, too (only of old roots that can be late). So a node whose pointer
 * has the gen that the newest prio sets tell was in use when they were written, or is younger.
 * Before an entry drops out of the replay window all its keys are in nodes on the disk. If the ring
 * goes back to an entry that was still open when those prio sets were written, such a node and the
 * entries since then hold all that was ever written to its range, even if the node was split later
 * and its successors are lost. kernel: bch_allocator_thread(), bch_prio_write(),
 * make_btree_freeing_key(), journal_reclaim().
 *
 * Where no journal is left a repair may have been cut off before its own entry: then some of its new
 * nodes lie beside those that it read. What such a node holds as long as nothing was appended to it,
 * those have, too, and more where something was dropped: it comes behind all others. The prio chain
 * comes only when all of the new nodes are on the disk, and raises the gens of the old ones.
 */
#include <stdlib.h>
#include <string.h>

#include "base/checked.h"
#include "set/found.h"

/* kernel: what metadata has for a prio; data has less. */
#define PRIO_METADATA 65535u

bool found_is_current(const struct bcfmt_set *set, uint64_t ptr)
{
	const struct bcfmt_bucket *at = &set->buckets[bcfmt_ptr_bucket(&set->geo, ptr)];

	return bcfmt_ptr_gen(ptr) == at->gen;
}

static void mark_old_roots(struct bcfmt_set *set)
{
	for (size_t i = 0; i < set->journal.n_entries; i++) {
		uint64_t ptr = set->journal.entries[i].root_ptr;
		struct found_node *node;

		if (ptr == set->newest.btree_root.ptr)
			continue;
		node = found_node_at(set, bcfmt_ptr_bucket(&set->geo, ptr));
		if (node && node->ptr == ptr)
			node->is_old_root = true;
	}
}

/* The node that a key of an interior node points to. */
static struct found_node *child_of(const struct bcfmt_set *set, const struct bcfmt_key *key)
{
	uint64_t bucket = bcfmt_ptr_bucket(&set->geo, key->ptr);
	struct found_node *child;

	if (!bcfmt_key_sectors(key) || bcfmt_key_is_zero_pos(key) || !bcfmt_key_has_data(key) ||
	    bucket >= set->geo.nbuckets)
		return NULL;
	child = found_node_at(set, bucket);
	return child && child->ptr == key->ptr ? child : NULL;
}

/* A node of unknown level gets that of its children, once that is known. */
static void find_level(struct bcfmt_set *set, const struct bcfmt_node *raw, struct found_node *node)
{
	struct bcfmt_node_iter it = bcfmt_node_iter_init(raw);
	struct bcfmt_key key;

	while (bcfmt_node_iter_next(&it, &key)) {
		const struct found_node *child = child_of(set, &key);

		if (child && child->level < FOUND_LEVEL_UNKNOWN - 1 && child != node) {
			node->level = (uint8_t)(child->level + 1);
			return;
		}
	}
}

static int pos_cmp(const void *a, const void *b)
{
	return bcfmt_pos_cmp(*(const struct bcfmt_pos *)a, *(const struct bcfmt_pos *)b);
}

/* The positions of all keys of an interior node, sorted. */
static bcfmt_err take_ends(const struct bcfmt_node *raw, struct vec *ends)
{
	struct bcfmt_node_iter it = bcfmt_node_iter_init(raw);
	struct bcfmt_key key;

	ends->n = 0;
	while (bcfmt_node_iter_next(&it, &key)) {
		struct bcfmt_pos *slot;

		if (bcfmt_key_is_zero_pos(&key) || !bcfmt_key_sectors(&key))
			continue;
		slot = vec_push(ends, sizeof(*slot));
		if (!slot)
			return BCFMT_E_NOMEM;
		*slot = bcfmt_key_end(&key);
	}
	if (ends->n > 1)
		qsort(ends->items, ends->n, sizeof(struct bcfmt_pos), pos_cmp);
	return BCFMT_OK;
}

/*
 * The range of a node does not change while it lives: it begins where the key before its own ends.
 * Keys that came in between before its time or after it only make the range smaller here.
 */
static void widen(struct found_node *child, struct bcfmt_pos hi, const struct vec *ends)
{
	const struct bcfmt_pos *end = ends->items;
	size_t low = 0, high = ends->n;

	while (low < high) {
		size_t mid = low + (high - low) / 2;

		if (bcfmt_pos_cmp(end[mid], hi) < 0)
			low = mid + 1;
		else
			high = mid;
	}
	if (low && bcfmt_pos_cmp(end[low - 1], child->first) < 0)
		child->first = end[low - 1];
	if (bcfmt_pos_cmp(hi, child->last) > 0)
		child->last = hi;
}

static bcfmt_err name_children(struct bcfmt_set *set, const struct bcfmt_node *raw,
			       const struct found_node *node, struct vec *ends)
{
	struct bcfmt_node_iter it = bcfmt_node_iter_init(raw);
	bool is_current = found_is_current(set, node->ptr);
	struct bcfmt_key key;
	bcfmt_err err = take_ends(raw, ends);

	while (!err && bcfmt_node_iter_next(&it, &key)) {
		struct found_node *child = child_of(set, &key);

		if (child && child->level + 1 == node->level) {
			child->is_named = true;
			widen(child, bcfmt_key_end(&key), ends);
		}
		if (is_current && bcfmt_key_sectors(&key) && bcfmt_key_ptr_count(&key))
			set_raise_gen(set, key.ptr);
	}
	return err;
}

/* The tree has it as an interior node, its keys do not say so. */
static bool is_disputed(const struct bcfmt_set *set, const struct found_node *node)
{
	const struct bcfmt_bucket *at = &set->buckets[bcfmt_ptr_bucket(&set->geo, node->ptr)];

	return (!node->level || node->level == FOUND_LEVEL_UNKNOWN) && at->use & BCFMT_USE_NODE &&
	       at->sectors > 1;
}

/* Trees are at most so high; a level is found in each round. */
#define ROUNDS_MAX 16u

static bcfmt_err find_levels(struct bcfmt_set *set, struct node_reader *reader)
{
	struct vec *nodes = &set->found->nodes;
	bool has_more = true;
	bcfmt_err err = BCFMT_OK;

	for (unsigned int round = 0; !err && has_more && round < ROUNDS_MAX; round++) {
		has_more = false;
		for (size_t i = 0; !err && i < nodes->n; i++) {
			struct found_node *node = VEC_AT(nodes, struct found_node, i);
			uint8_t before = node->level;

			if (!node->keys ||
			    (before != FOUND_LEVEL_UNKNOWN && !is_disputed(set, node)))
				continue;
			err = node_read(reader, set->cache.dev, &set->geo, node->ptr,
					set->geo.node_sectors);
			if (err)
				break;
			find_level(set, &reader->node, node);
			has_more |= node->level != before;
		}
	}
	return err;
}

/* What no child tells: no interior node has dirty keys, but the tree may know better. */
static void settle_levels(struct bcfmt_set *set)
{
	struct vec *nodes = &set->found->nodes;

	for (size_t i = 0; i < nodes->n; i++) {
		struct found_node *node = VEC_AT(nodes, struct found_node, i);

		if (is_disputed(set, node) && node->is_like_interior)
			node->level = FOUND_LEVEL_UNKNOWN;
		else if (node->level == FOUND_LEVEL_UNKNOWN && node->has_dirty)
			node->level = 0;
	}
}

bcfmt_err found_relate(struct bcfmt_set *set)
{
	struct vec *nodes = &set->found->nodes;
	struct node_reader reader;
	struct vec ends = { 0 };
	bcfmt_err err;

	memset(&reader, 0, sizeof(reader));
	mark_old_roots(set);
	/* A node that was written proves the gen of its bucket, whatever older prio sets say. */
	for (size_t i = 0; i < nodes->n; i++)
		set_raise_gen(set, VEC_AT(nodes, struct found_node, i)->ptr);
	err = find_levels(set, &reader);
	settle_levels(set);
	/* The parents of those that have a level only now. */
	if (!err)
		err = find_levels(set, &reader);
	for (size_t i = 0; !err && i < nodes->n; i++) {
		const struct found_node *node = VEC_AT(nodes, struct found_node, i);

		if (!node->level || node->level == FOUND_LEVEL_UNKNOWN)
			continue;
		err = node_read(&reader, set->cache.dev, &set->geo, node->ptr,
				set->geo.node_sectors);
		if (!err)
			err = name_children(set, &reader.node, node, &ends);
	}
	vec_free(&ends);
	node_reader_clear(&reader);
	return err;
}

/* First of the entries up to index that name the same prio sets. */
static size_t same_prios_begin(const struct bcfmt_journal *journal, size_t begin, size_t index)
{
	while (index > begin &&
	       journal->entries[index - 1].prio_bucket == journal->entries[index].prio_bucket)
		index--;
	return index;
}

bool found_proved_seq(const struct bcfmt_set *set, uint64_t *seq)
{
	const struct bcfmt_journal *journal = &set->journal;
	size_t begin, at;

	if (!set->has_newest || !(set->has_all_prios || set->has_older_prios) ||
	    set->cache.faults || set->histories.is_found)
		return false;
	begin = replay_history_begin(set);
	at = same_prios_begin(journal, begin, set->prios_index);
	/*
	 * The gens were gathered before the first entry that names them was written, but after the
	 * first that names those before them.
	 */
	if (at == begin)
		return false;
	at = same_prios_begin(journal, begin, at - 1);
	if (at == begin && journal->entries[begin].seq != 1)
		return false;
	*seq = journal->entries[at].last_seq;
	return *seq >= journal->entries[begin].seq;
}

/* It was given up, or it is known what it is. An empty one says nothing of any range. */
static bool is_known(const struct bcfmt_set *set, const struct found_node *node)
{
	return !node->keys || node->level != FOUND_LEVEL_UNKNOWN ||
	       !found_is_current(set, node->ptr);
}

/* It looks like a uuid table: at least one entry is one of the set's, none is impossible. */
static bcfmt_err is_uuid_table(struct bcfmt_set *set, uint64_t bucket,
			       struct bcfmt_uuid_entry *entries, bool *is_one)
{
	struct bcfmt_key key = { .ptr = bcfmt_ptr_make(set->geo.nr_this_dev,
						       bcfmt_bucket_sector(&set->geo, bucket), 0) };
	struct bcfmt_bad_read bad = { 0 };
	bcfmt_err err;

	key = bcfmt_key_make(0, 0, set->geo.meta_bytes / BCFMT_SECTOR_BYTES, false, true, key.ptr);
	memset(entries, 0, set->n_uuids * sizeof(*entries));
	*is_one = false;
	err = uuids_read(set->ctx, set->cache.dev, &key, set->newest.version, entries, set->n_uuids,
			 &bad);
	for (uint32_t i = 0; !err && i < set->n_uuids; i++) {
		if (bcfmt_uuid_state(&entries[i]) != BCFMT_UUID_LIVE)
			continue;
		if (entries[i].flags & ~BCFMT_UUID_FLASH_ONLY) {
			*is_one = false;
			break;
		}
		for (uint32_t j = 0; j < set->n_uuids && !*is_one; j++)
			*is_one = !memcmp(entries[i].uuid, set->uuids[j].uuid, BCFMT_UUID_BYTES);
	}
	return err;
}

bcfmt_err found_has_all(struct bcfmt_set *set, bool *has_all)
{
	struct bcfmt_uuid_entry *entries = NULL;
	bcfmt_err err = BCFMT_OK;

	*has_all = set->has_all_prios || set->has_older_prios;
	for (uint64_t i = set->geo.first_bucket; !err && *has_all && i < set->geo.nbuckets; i++) {
		const struct bcfmt_bucket *bucket = &set->buckets[i];

		if (bucket->prio != PRIO_METADATA || bucket->use & BCFMT_USE_METADATA ||
		    set->found->kinds[i] == FOUND_PRIO)
			continue;
		if (set->found->kinds[i] == FOUND_NODE) {
			*has_all = is_known(set, found_node_at(set, i));
			continue;
		}
		if (!entries)
			entries = calloc(set->n_uuids, sizeof(*entries));
		err = entries ? is_uuid_table(set, i, entries, has_all) : BCFMT_E_NOMEM;
	}
	free(entries);
	return err;
}
