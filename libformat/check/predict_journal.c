/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The journal as a kernel's search finds it: which entry is the newest, keys that it marks and
 * replays, entries that it misses. kernel: bch_journal_read(), bch_journal_mark(),
 * bch_journal_replay().
 */
#include <stdlib.h>
#include <string.h>

#include "check/check_impl.h"
#include "check/predict_merge.h"
#include "check/predict_node.h"
#include "check/predict_store.h"
#include "ondisk/jset.h"

/* Steps of the kernel's loop over numbers that no entry has, beyond which it takes days. */
#define GAP_STEPS_MAX (1ull << 40)

/* The newest entry that the kernel finds, with all words of its two keys. */
static bcfmt_err load_newest(struct check *ck)
{
	const struct bcfmt_journal *journal = &ck->set->journal;
	struct predict *predict = ck->predict;
	uint8_t *buf = NULL;
	size_t buf_bytes = 0, index;
	bcfmt_err err;

	if (!journal->n_kernel)
		return BCFMT_OK;
	index = journal->kernel_list[journal->n_kernel - 1];
	err = bcfmt_journal_entry_load(journal, index, &buf, &buf_bytes, &predict->newest);
	if (!err) {
		predict->has_list = true;
		predict->newest.keys = NULL;
		memcpy(predict->root_raw, buf + offsetof(struct jset_disk, btree_root),
		       sizeof(predict->root_raw));
		memcpy(predict->uuid_raw, buf + offsetof(struct jset_disk, uuid_bucket),
		       sizeof(predict->uuid_raw));
	}
	free(buf);
	return err == BCFMT_E_DAMAGED ? BCFMT_OK : err; /* a device that fails now and then */
}

static bool is_same_key(const struct bcfmt_key *a, const struct bcfmt_key *b)
{
	return a->high == b->high && a->low == b->low && a->ptr == b->ptr;
}

bcfmt_err predict_begin(struct check *ck)
{
	const struct bcfmt_set *set = ck->set;
	struct predict *predict = calloc(1, sizeof(*predict));
	bcfmt_err err;

	ck->predict = predict;
	if (!predict)
		return BCFMT_E_NOMEM;
	if (!set->has_geometry)
		return BCFMT_OK;
	predict->journaled = calloc(1, set->geo.nbuckets / 8 + 1);
	predict->is_listed_seen = calloc(1, set->journal.n_kernel + 1);
	if (!predict->journaled || !predict->is_listed_seen)
		return BCFMT_E_NOMEM;
	err = load_newest(ck);
	if (err || !predict->has_list || !set->has_newest)
		return err;
	predict->is_same_tree = is_same_key(&predict->newest.btree_root, &set->newest.btree_root) &&
				predict->newest.btree_level == set->newest.btree_level;
	predict->is_same_uuids =
		is_same_key(&predict->newest.uuid_bucket, &set->newest.uuid_bucket) &&
		!predict->newest.version == !set->newest.version;
	predict->is_same_prios = predict->newest.prio_bucket[set->geo.nr_this_dev] ==
				 set->newest.prio_bucket[set->geo.nr_this_dev];
	return BCFMT_OK;
}

void predict_end(struct check *ck)
{
	struct predict *predict = ck->predict;

	if (!predict)
		return;
	for (size_t i = 0; i < predict->kinds.n; i++)
		vec_free(&VEC_AT(&predict->kinds, struct predict_kind, i)->events);
	vec_free(&predict->kinds);
	free(predict->is_listed_seen);
	free(predict->journaled);
	free(predict);
	ck->predict = NULL;
}

/* ---- keys ---- */

struct predict_entry predict_entry_begin(struct check *ck, size_t index)
{
	const struct bcfmt_journal *journal = &ck->set->journal;
	struct predict_entry entry = { false, 0 };
	size_t low = 0, high = journal->n_kernel;

	while (low < high) {
		size_t mid = low + (high - low) / 2;

		if (journal->kernel_list[mid] < index)
			low = mid + 1;
		else
			high = mid;
	}
	if (!ck->predict->has_list || low == journal->n_kernel ||
	    journal->kernel_list[low] != index)
		return entry;
	entry.is_listed = true;
	entry.position = low;
	ck->predict->is_listed_seen[low] = 1;
	return entry;
}

/* Marked are the newest entries first, replayed the oldest. */
static uint64_t mark_order(const struct check *ck, size_t position, uint32_t word)
{
	return (ck->set->journal.n_kernel - 1 - position) << 32 | word;
}

static uint64_t replay_order(size_t position, uint32_t word)
{
	return (uint64_t)position << 32 | word;
}

/* What makes a replayed key worse than an error. */
static bcfmt_err add_replay(struct check *ck, enum bcfmt_problem_id id, const char *function,
			    uint64_t order, bool is_possible)
{
	struct predict_event event = { .stage = BCFMT_STAGE_REPLAY,
				       .id = id,
				       .order = order,
				       .function = function,
				       .is_possible = is_possible };

	return predict_add(ck, &event);
}

static bcfmt_err add_bad_key(struct check *ck, const struct predict_entry *entry,
			     const struct bcfmt_key_iter *it, const struct bcfmt_key *key)
{
	struct predict_event event = { .stage = BCFMT_STAGE_MARK,
				       .id = BCFMT_P_JOURNAL_BAD_KEY,
				       .order = mark_order(ck, entry->position, it->word),
				       .flow = PREDICT_FLOW_GOES_ON };
	struct merge_key whole;
	bcfmt_err err;

	merge_key_load(&whole, it->raw, bcfmt_key_words(key));
	err = predict_spotted(ck, &event, &whole);
	if (err)
		return err;
	/* It is replayed all the same, and its bucket is counted down where there may be none. */
	for (unsigned int i = 0; i < bcfmt_key_ptr_count(key); i++) {
		struct bcfmt_key at = merge_key_at(&whole, i);

		if (bcfmt_key_has_data(&at) &&
		    bcfmt_ptr_bucket(&ck->set->geo, at.ptr) >= ck->set->geo.nbuckets)
			return add_replay(ck, BCFMT_P_JOURNAL_BAD_KEY, "bkey_put",
					  replay_order(entry->position, it->word), true);
	}
	return BCFMT_OK;
}

static void mark_journaled(struct check *ck, const struct bcfmt_key *key)
{
	uint64_t bucket = bcfmt_ptr_bucket(&ck->set->geo, key->ptr);

	if (bcfmt_key_has_data(key) && bucket < ck->set->geo.nbuckets)
		ck->predict->journaled[bucket / 8] |= (uint8_t)(1u << bucket % 8);
}

/* A root that is a leaf takes no key beyond its own: the insert goes round for ever. */
static bool is_beyond_root(const struct check *ck, const struct bcfmt_key *key)
{
	const struct bcfmt_jset *newest = &ck->predict->newest;

	return !(newest->btree_level & 0xff) &&
	       bcfmt_pos_cmp(bcfmt_key_end(key), bcfmt_key_end(&newest->btree_root)) > 0;
}

bcfmt_err predict_entry_key(struct check *ck, const struct predict_entry *entry,
			    const struct bcfmt_key_iter *it, const struct bcfmt_key *key)
{
	uint64_t order = replay_order(entry->position, it->word);
	bool is_bad, is_plain = bcfmt_key_ptr_count(key) < 2;
	struct merge_key whole;
	bcfmt_err err = BCFMT_OK;

	if (!entry->is_listed)
		return BCFMT_OK;
	if (!bcfmt_key_sectors(key))
		return add_replay(ck, BCFMT_P_JOURNAL_ZERO_KEY, "bch_btree_insert_key", order,
				  false);
	if (is_plain) {
		is_bad = bcfmt_key_fault_extent(&ck->set->geo, key) != BCFMT_KEY_OK;
	} else {
		merge_key_load(&whole, it->raw, bcfmt_key_words(key));
		is_bad = predict_is_invalid(&ck->set->geo, &whole, true);
	}
	if (is_bad)
		err = add_bad_key(ck, entry, it, key);
	else
		mark_journaled(ck, key);
	if (!err && !key->low)
		err = add_replay(ck, BCFMT_P_JOURNAL_ZERO_KEY, "bch_extent_insert_fixup", order,
				 false);
	if (!err && bcfmt_key_is_dirty(key) && bcfmt_key_inode(key) >= ck->set->n_uuids)
		err = add_replay(ck, BCFMT_P_JOURNAL_INODE_RANGE, NULL, order, true);
	if (!err && bcfmt_key_ptr_count(key) == 7)
		err = add_replay(ck, BCFMT_P_KEY_SEVERAL_PTRS, NULL, order, true);
	if (!err && is_beyond_root(ck, key))
		err = add_replay(ck, BCFMT_P_ROOT_NOT_MAX, "bch_btree_insert", order, false);
	return err;
}

bcfmt_err predict_entry_overrun(struct check *ck, const struct predict_entry *entry)
{
	struct predict_event event = { .stage = BCFMT_STAGE_MARK,
				       .id = BCFMT_P_JOURNAL_NOT_TILING,
				       .order = mark_order(ck, entry->position, UINT32_MAX),
				       .is_possible = true };

	bcfmt_err err;

	if (!entry->is_listed)
		return BCFMT_OK;
	err = predict_add(ck, &event);
	/* Of the last key a part is junk. */
	event.id = BCFMT_P_JOURNAL_BAD_KEY;
	event.function = "__bch_extent_invalid";
	return err ? err : predict_add(ck, &event);
}

static bcfmt_err take_entry(struct check *ck, size_t index, const struct bcfmt_jset *jset)
{
	struct bcfmt_key_iter it = bcfmt_key_iter_init(jset->keys, jset->keys_field);
	struct predict_entry entry = predict_entry_begin(ck, index);
	struct bcfmt_key key;
	bcfmt_err err = BCFMT_OK;

	while (!err && bcfmt_key_iter_next(&it, &key))
		err = predict_entry_key(ck, &entry, &it, &key);
	return !err && it.is_overrun ? predict_entry_overrun(ck, &entry) : err;
}

bcfmt_err predict_entries_rest(struct check *ck)
{
	const struct bcfmt_journal *journal = &ck->set->journal;
	uint8_t *buf = NULL;
	size_t buf_bytes = 0;
	bcfmt_err err = BCFMT_OK;

	for (size_t i = 0; !err && ck->predict->has_list && i < journal->n_kernel; i++) {
		struct bcfmt_jset jset;
		size_t index = journal->kernel_list[i];

		if (ck->predict->is_listed_seen[i])
			continue;
		err = bcfmt_journal_entry_load(journal, index, &buf, &buf_bytes, &jset);
		if (!err)
			err = take_entry(ck, index, &jset);
		else if (err == BCFMT_E_DAMAGED)
			err = BCFMT_OK;
	}
	free(buf);
	return err;
}

/* ---- keys against nodes ---- */

static bool is_journaled(const struct predict *predict, uint64_t bucket)
{
	return predict->journaled[bucket / 8] >> bucket % 8 & 1;
}

/* A key to replay into a bucket that is marked as metadata by then. */
static bcfmt_err check_mark(struct check *ck, const struct predict_entry *entry,
			    const struct bcfmt_key_iter *it, const struct bcfmt_key *key)
{
	struct predict_event event = { .stage = BCFMT_STAGE_MARK,
				       .id = BCFMT_P_EXTENT_IN_METADATA,
				       .function = "__bch_btree_mark_key",
				       .order = mark_order(ck, entry->position, it->word),
				       .flow = PREDICT_FLOW_GOES_ON };

	if (!bcfmt_key_sectors(key) || bcfmt_key_fault_extent(&ck->set->geo, key) ||
	    !predict_is_conflict(ck->set, key) || bcfmt_set_stale(ck->set, key->ptr))
		return BCFMT_OK;
	predict_value_u64(&event, PREDICT_MARK_METADATA);
	predict_value_u64(&event, 0);
	return predict_add(ck, &event);
}

static bcfmt_err check_entry_marks(struct check *ck, size_t position, const struct bcfmt_jset *jset)
{
	struct bcfmt_key_iter it = bcfmt_key_iter_init(jset->keys, jset->keys_field);
	struct predict_entry entry = { true, position };
	struct bcfmt_key key;
	bcfmt_err err = BCFMT_OK;

	while (!err && bcfmt_key_iter_next(&it, &key))
		err = check_mark(ck, &entry, &it, &key);
	return err;
}

bcfmt_err predict_marks(struct check *ck)
{
	const struct bcfmt_journal *journal = &ck->set->journal;
	uint8_t *buf = NULL;
	size_t buf_bytes = 0;
	bool is_met = false;
	bcfmt_err err = BCFMT_OK;

	if (!ck->predict->is_tree_whole)
		return BCFMT_OK;
	for (uint64_t i = 0; !is_met && i < ck->set->geo.nbuckets; i++)
		is_met = ck->set->buckets[i].use & BCFMT_USE_NODE && is_journaled(ck->predict, i);
	/* Only then are the entries read again. */
	for (size_t i = 0; is_met && !err && i < journal->n_kernel; i++) {
		struct bcfmt_jset jset;

		err = bcfmt_journal_entry_load(journal, journal->kernel_list[i], &buf, &buf_bytes,
					       &jset);
		if (!err)
			err = check_entry_marks(ck, i, &jset);
		else if (err == BCFMT_E_DAMAGED)
			err = BCFMT_OK;
	}
	free(buf);
	return err;
}

/* ---- entries ---- */

/*
 * A gap at the begin can be the doing of discards, which a kernel forgives where they are on. That
 * hangs on the flag and on whether the device can discard, which an image does not tell.
 */
static bool has_discard(const struct check *ck)
{
	return ck->set->cache.super.flags & BCFMT_SUPER_FLAG_DISCARD;
}

/* Numbers of the window that no entry has. */
static bcfmt_err add_gaps(struct check *ck)
{
	const struct bcfmt_journal *journal = &ck->set->journal;
	const struct bcfmt_jset *newest = &ck->predict->newest;
	uint64_t expected = newest->last_seq;
	bcfmt_err err = BCFMT_OK;

	for (size_t i = 0; !err && i < journal->n_kernel; i++) {
		uint64_t seq = journal->entries[journal->kernel_list[i]].seq;
		struct predict_event event = { .stage = BCFMT_STAGE_REPLAY,
					       .id = BCFMT_P_JOURNAL_GAP,
					       .order = replay_order(i, 0) };

		if (seq == expected + 1 && bcfmt_journal_mended_at(journal, expected))
			event.id = BCFMT_P_JOURNAL_MENDED;
		if (seq != expected) {
			predict_value_u64(&event, expected);
			predict_value_u64(&event, seq - 1);
			predict_value_u64(&event, newest->last_seq);
			predict_value_u64(&event, newest->seq);
			event.is_possible = expected == newest->last_seq && has_discard(ck);
			err = predict_add(ck, &event);
		}
		/* Kernels that have given up discards forgive nothing. */
		if (!err && event.is_possible) {
			event.id = BCFMT_P_JOURNAL_GAP_DISCARD;
			event.is_possible = false;
			err = predict_add(ck, &event);
		}
		expected = seq + 1;
	}
	return err;
}

/* The kernel counts through all numbers between two entries. */
static bcfmt_err add_endless(struct check *ck)
{
	const struct bcfmt_journal *journal = &ck->set->journal;
	struct predict_event event = { .stage = BCFMT_STAGE_MARK,
				       .id = BCFMT_P_JOURNAL_BAD_WINDOW,
				       .function = "bch_journal_mark" };
	uint64_t first = journal->entries[journal->kernel_list[0]].seq;

	if (ck->predict->newest.seq - first < GAP_STEPS_MAX)
		return BCFMT_OK;
	return predict_add(ck, &event);
}

bcfmt_err predict_ring(struct check *ck)
{
	struct predict_event event = { .stage = BCFMT_STAGE_JOURNAL, .id = BCFMT_P_JOURNAL_EMPTY };
	bcfmt_err err;

	if (ck->set->journal.is_capped || (ck->set->journal.n_kernel && !ck->predict->has_list)) {
		event.id = BCFMT_P_NONE;
		event.is_end_of_knowledge = true;
		return predict_add(ck, &event);
	}
	if (!ck->predict->has_list)
		return predict_add(ck, &event);
	err = add_gaps(ck);
	return err ? err : add_endless(ck);
}
