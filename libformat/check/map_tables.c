/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The bucket map: marks of buckets, and those of the tables of the set. */
#include <stdlib.h>

#include "base/checked.h"
#include "check/check_impl.h"
#include "check/map_build.h"
#include "codec/key_iter.h"

static uint8_t *get_marks(struct map_build *b)
{
	uint8_t *marks;

	pthread_mutex_lock(&b->lock);
	if (!b->marks)
		b->marks = calloc(b->set->geo.nbuckets, 1);
	marks = b->marks;
	pthread_mutex_unlock(&b->lock);
	return marks;
}

void map_mark(struct map_build *b, uint64_t bucket, unsigned int bits)
{
	uint8_t *marks = bucket < b->set->geo.nbuckets ? get_marks(b) : NULL;

	if (marks)
		__atomic_fetch_or(&marks[bucket], (uint8_t)bits, __ATOMIC_RELAXED);
	else if (bucket < b->set->geo.nbuckets)
		__atomic_store_n(&b->is_out_of_memory, true, __ATOMIC_RELAXED);
	if (marks && bits & (MARK_DOUBTFUL_DATA | MARK_CLEAN))
		__atomic_store_n(&b->has_data_marks, true, __ATOMIC_RELAXED);
}

uint64_t map_entry_bucket(const struct map_build *b, size_t index)
{
	return (uint64_t)b->set->geo.first_bucket + b->set->journal.entries[index].ring_index;
}

static bool is_to_replay(const struct bcfmt_set *set, uint64_t seq)
{
	return seq >= set->window_seq && seq <= set->newest.seq;
}

/* The end of a bucket's entries: the tail of a power cut, unless the entry is one to replay. */
static void mark_stops(struct map_build *b)
{
	const struct bcfmt_journal *journal = &b->set->journal;
	size_t index;

	for (size_t i = 0; i < journal->n_stops; i++)
		if (is_to_replay(b->set, journal->stops[i].seq) &&
		    bcfmt_journal_find(journal, journal->stops[i].seq, &index) != BCFMT_OK)
			map_mark(b,
				 (uint64_t)b->set->geo.first_bucket + journal->stops[i].ring_index,
				 MARK_DAMAGED);
}

static bool has_bad_key(const struct map_build *b, const struct bcfmt_jset *jset)
{
	struct bcfmt_key_iter it = bcfmt_key_iter_init(jset->keys, jset->keys_field);
	struct bcfmt_key key;

	while (key_iter_step(&it, &key))
		if (!key.low || bcfmt_key_fault_extent(&b->set->geo, &key) ||
		    bcfmt_key_ptr_count(&key) > 1 || bcfmt_key_csum_type(&key) ||
		    check_is_elsewhere(&b->set->geo, &key) ||
		    (bcfmt_key_is_dirty(&key) && bcfmt_key_inode(&key) >= b->set->n_uuids))
			return true;
	return it.is_overrun;
}

static bcfmt_err mark_entries(struct map_build *b)
{
	const struct bcfmt_journal *journal = &b->set->journal;
	uint8_t *buf = NULL;
	size_t buf_bytes = 0;
	bcfmt_err err = BCFMT_OK;

	for (size_t i = 0; !err && i < journal->n_entries; i++) {
		struct bcfmt_jset jset;

		if (!is_to_replay(b->set, journal->entries[i].seq))
			continue;
		err = bcfmt_journal_entry_load(journal, i, &buf, &buf_bytes, &jset);
		b->map->unreadable += err == BCFMT_E_DAMAGED;
		if (err == BCFMT_E_DAMAGED || (!err && has_bad_key(b, &jset)))
			map_mark(b, map_entry_bucket(b, i), MARK_DAMAGED);
		if (err == BCFMT_E_DAMAGED)
			err = BCFMT_OK;
	}
	for (size_t i = 0; i < journal->n_mended; i++)
		if (is_to_replay(b->set, journal->mended[i].entry.seq))
			map_mark(b,
				 (uint64_t)b->set->geo.first_bucket +
					 journal->mended[i].entry.ring_index,
				 MARK_DAMAGED);
	free(buf);
	return err;
}

/* What the newest entry names. */
static void mark_roots(struct map_build *b)
{
	const struct bcfmt_set *set = b->set;
	const struct bcfmt_key *root = &set->newest.btree_root, *uuids = &set->newest.uuid_bucket;
	uint64_t uuid_bucket = bcfmt_ptr_bucket(&set->geo, uuids->ptr);

	if (bcfmt_key_fault_btree(&set->geo, root) || bcfmt_key_fault_btree(&set->geo, uuids) ||
	    set->newest.btree_level > log2_floor(set->geo.nbuckets) + 1 || set->is_level_mended ||
	    set->version_proof_seq || bcfmt_pos_cmp(bcfmt_key_end(root), bcfmt_pos_max()))
		map_mark(b, map_entry_bucket(b, set->newest_index), MARK_DAMAGED);
	else if (bcfmt_set_stale(set, root->ptr))
		map_mark(b, bcfmt_ptr_bucket(&set->geo, root->ptr), MARK_DAMAGED);
	if (set->uuids_state == BCFMT_UUIDS_BAD_SIZE ||
	    set->uuids_state == BCFMT_UUIDS_UNREADABLE || set->n_older_uuids ||
	    (!bcfmt_key_fault_btree(&set->geo, uuids) && bcfmt_set_stale(set, uuids->ptr)))
		map_mark(b, uuid_bucket, MARK_DAMAGED);
}

bcfmt_err map_mark_tables(struct map_build *b)
{
	const struct bcfmt_set *set = b->set;

	if (set->cache.faults)
		map_mark(b, 0, MARK_DAMAGED);
	for (size_t i = 0; i < set->n_prio_links; i++)
		if (set->prio_links[i].state != BCFMT_PRIO_SET_OK)
			map_mark(b, set->prio_links[i].bucket, MARK_DAMAGED);
	if (set->journal.bad_read.sectors)
		map_mark(b, set->journal.bad_read.first_sector >> set->geo.bucket_shift,
			 MARK_DAMAGED);
	if (!set->has_newest)
		return BCFMT_OK;
	mark_stops(b);
	mark_roots(b);
	return mark_entries(b);
}
