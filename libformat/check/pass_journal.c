/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The journal.
 * Checks: entries there at all; J1 every entry of the replay window; what a kernel's search finds
 * against what the ring holds; torn and damaged entries; J2 keys of the window; two histories;
 * root and uuid pointer of the newest entry; a ring with little or no room left.
 * Needs: journal and histories of the set. kernel: bch_journal_read(), bch_journal_mark(),
 * bch_journal_replay(), run_cache_set().
 */
#include <stdio.h>
#include <stdlib.h>

#include "base/checked.h"
#include "check/check_impl.h"
#include "check/predict.h"

static struct bcfmt_where where_entry(const struct check *ck, size_t index)
{
	const struct bcfmt_journal *journal = &ck->set->journal;
	struct bcfmt_where where = check_where(ck, "journal");

	where.bucket = (uint64_t)ck->set->geo.first_bucket + journal->entries[index].ring_index;
	where.sector = bcfmt_journal_entry_sector(journal, index);
	return where;
}

static bool is_needed(const struct bcfmt_set *set, uint64_t seq)
{
	return seq >= set->newest.last_seq && seq <= set->newest.seq;
}

/* Something damaged where a bucket's entries end: the tail of a power cut, a loss, or old junk. */
static bcfmt_err check_stop(struct check *ck, const struct bcfmt_journal_stop *stop)
{
	const struct bcfmt_set *set = ck->set;
	const struct bcfmt_journal_entry *newest = &set->journal.entries[set->newest_index];
	struct bcfmt_where where = check_where(ck, "journal");
	size_t index;

	where.bucket = (uint64_t)set->geo.first_bucket + stop->ring_index;
	where.sector = bcfmt_bucket_sector(&set->geo, where.bucket) + stop->sector;
	if (!set->has_newest)
		return BCFMT_OK;
	if (stop->seq == newest->seq + 1)
		return CHECK_REPORT(ck, JOURNAL_TORN, &where, BCFMT_U64("bytes", stop->bytes),
				    BCFMT_U64("seq", stop->seq));
	/* An entry that is not needed, or that stands whole elsewhere, is no loss. */
	if (!is_needed(set, stop->seq) ||
	    bcfmt_journal_find(&set->journal, stop->seq, &index) == BCFMT_OK)
		return BCFMT_OK;
	if (stop->fault == BCFMT_JSET_TOO_BIG)
		return CHECK_REPORT(ck, JOURNAL_TOO_BIG, &where, BCFMT_U64("seq", stop->seq),
				    BCFMT_U64("bytes", stop->bytes));
	return CHECK_REPORT(ck, JOURNAL_BAD_CSUM, &where, BCFMT_U64("seq", stop->seq),
			    BCFMT_U64("bytes", stop->bytes));
}

static const char *mend_text(const struct bcfmt_journal_mend *mend, char text[64])
{
	switch (mend->kind) {
	case BCFMT_MEND_BIT:
		snprintf(text, 64, "bit %u of byte %u is wrong", log2_floor(mend->mask),
			 mend->offset_bytes);
		return text;
	case BCFMT_MEND_MAGIC:
		return "its magic is wrong";
	case BCFMT_MEND_SEQ:
		break;
	}
	return "its number is wrong";
}

static bcfmt_err report_mended(struct check *ck, const struct bcfmt_journal_mended *mended)
{
	const struct bcfmt_geometry *geo = &ck->set->geo;
	struct bcfmt_where where = check_where(ck, "journal");
	char text[64];

	where.bucket = (uint64_t)geo->first_bucket + mended->entry.ring_index;
	where.sector = bcfmt_bucket_sector(geo, where.bucket) + mended->entry.sector;
	return CHECK_REPORT(ck, JOURNAL_MENDED, &where, BCFMT_U64("seq", mended->entry.seq),
			    BCFMT_TEXT("how", mend_text(&mended->mend, text)));
}

static bcfmt_err report_gap(struct check *ck, uint64_t first, uint64_t last)
{
	const struct bcfmt_set *set = ck->set;
	struct bcfmt_where where = where_entry(ck, set->newest_index);
	bool is_tolerated =
		first == set->newest.last_seq && set->cache.super.flags & BCFMT_SUPER_FLAG_DISCARD;
	const struct bcfmt_journal_mended *mended = bcfmt_journal_mended_at(&set->journal, first);

	if (mended && first == last)
		return report_mended(ck, mended);
	ck->is_doubtful = true;
	if (is_tolerated)
		return CHECK_REPORT(ck, JOURNAL_GAP_DISCARD, &where, BCFMT_U64("first", first),
				    BCFMT_U64("last", last),
				    BCFMT_U64("from", set->newest.last_seq),
				    BCFMT_U64("to", set->newest.seq));
	return CHECK_REPORT(ck, JOURNAL_GAP, &where, BCFMT_U64("first", first),
			    BCFMT_U64("last", last), BCFMT_U64("from", set->newest.last_seq),
			    BCFMT_U64("to", set->newest.seq));
}

/* Every number from last_seq to the newest must be there. */
static bcfmt_err check_window(struct check *ck, size_t begin)
{
	const struct bcfmt_set *set = ck->set;
	const struct bcfmt_journal *journal = &set->journal;
	uint64_t expected = set->newest.last_seq;
	bcfmt_err err = BCFMT_OK;

	if (set->newest.last_seq > set->newest.seq ||
	    set->newest.seq - set->newest.last_seq > BCFMT_JOURNAL_PINS_MAX) {
		struct bcfmt_where where = where_entry(ck, set->newest_index);

		ck->is_doubtful = true;
		return CHECK_REPORT(ck, JOURNAL_BAD_WINDOW, &where,
				    BCFMT_U64("seq", set->newest.seq),
				    BCFMT_U64("last", set->newest.last_seq));
	}
	for (size_t i = begin; !err && i < journal->n_entries; i++) {
		uint64_t seq = journal->entries[i].seq;

		if (seq > set->newest.seq)
			break;
		if (seq > expected)
			err = report_gap(ck, expected, seq - 1);
		expected = seq + 1;
	}
	return err;
}

/* What no kernel wrote: such a key takes the words of the next ones, or a part of its own. */
static bcfmt_err check_form(struct check *ck, const struct bcfmt_where *where,
			    const struct bcfmt_key_iter *it, const struct bcfmt_key *key)
{
	char text[BCFMT_KEY_TEXT_BYTES];
	bcfmt_err err = BCFMT_OK;

	if (bcfmt_key_ptr_count(key) <= 1 && !bcfmt_key_csum_type(key))
		return BCFMT_OK;
	bcfmt_key_text_raw(text, it->raw, bcfmt_key_words(key), false);
	if (bcfmt_key_ptr_count(key) > 1)
		err = CHECK_REPORT(ck, KEY_SEVERAL_PTRS, where, BCFMT_TEXT("text", text),
				   BCFMT_U64("pointers", bcfmt_key_ptr_count(key)));
	if (!err && bcfmt_key_csum_type(key))
		err = CHECK_REPORT(ck, KEY_CSUM, where, BCFMT_TEXT("text", text));
	return err;
}

static bcfmt_err check_key(struct check *ck, const struct bcfmt_jset *jset,
			   struct bcfmt_where *where, const struct bcfmt_key_iter *it,
			   const struct bcfmt_key *key)
{
	const struct bcfmt_set *set = ck->set;
	enum bcfmt_key_fault fault = bcfmt_key_fault_extent(&set->geo, key);
	char text[BCFMT_KEY_TEXT_BYTES];
	bcfmt_err err = BCFMT_OK;

	where->key = it->word;
	bcfmt_key_text(text, key);
	if (!bcfmt_key_sectors(key) || !key->low)
		return CHECK_REPORT(ck, JOURNAL_ZERO_KEY, where, BCFMT_U64("seq", jset->seq),
				    BCFMT_TEXT("text", text));
	err = check_form(ck, where, it, key);
	if (!err && fault)
		err = CHECK_REPORT(ck, JOURNAL_BAD_KEY, where, BCFMT_U64("seq", jset->seq),
				   BCFMT_TEXT("text", text),
				   BCFMT_TEXT("status", bcfmt_key_fault_text(fault)));
	if (!err &&
	    (fault || (check_is_elsewhere(&set->geo, key) && !bcfmt_ptr_is_available(key->ptr))))
		err = check_invalid_extent(ck, key);
	if (!err && !fault && check_is_elsewhere(&set->geo, key))
		err = CHECK_REPORT(ck, EXTENT_OTHER_MEMBER, where, BCFMT_TEXT("text", text),
				   BCFMT_U64("member", bcfmt_ptr_dev(key->ptr)),
				   BCFMT_U64("own", set->geo.nr_this_dev));
	if (!err && bcfmt_key_is_dirty(key) && bcfmt_key_inode(key) >= set->n_uuids)
		err = CHECK_REPORT(ck, JOURNAL_INODE_RANGE, where, BCFMT_U64("seq", jset->seq),
				   BCFMT_U64("inode", bcfmt_key_inode(key)),
				   BCFMT_U64("slots", set->n_uuids));
	return err;
}

static bcfmt_err check_entry_keys(struct check *ck, size_t index, const struct bcfmt_jset *jset)
{
	struct bcfmt_key_iter it = bcfmt_key_iter_init(jset->keys, jset->keys_field);
	struct predict_entry predicted = predict_entry_begin(ck, index);
	struct bcfmt_where where = where_entry(ck, index);
	struct bcfmt_key key;
	bcfmt_err err = BCFMT_OK;

	while (!err && bcfmt_key_iter_next(&it, &key)) {
		err = check_key(ck, jset, &where, &it, &key);
		if (!err)
			err = predict_entry_key(ck, &predicted, &it, &key);
	}
	if (!err && it.is_overrun)
		err = predict_entry_overrun(ck, &predicted);
	if (err || !it.is_overrun)
		return err;
	where.key = BCFMT_NO_NUMBER;
	ck->is_doubtful = true;
	return CHECK_REPORT(ck, JOURNAL_NOT_TILING, &where, BCFMT_U64("seq", jset->seq),
			    BCFMT_U64("word", it.next_word), BCFMT_U64("words", jset->keys_field));
}

static bcfmt_err check_entries(struct check *ck, size_t begin)
{
	const struct bcfmt_journal *journal = &ck->set->journal;
	uint8_t *buf = NULL;
	size_t buf_bytes = 0;
	bcfmt_err err = BCFMT_OK;

	for (size_t i = begin; !err && i < journal->n_entries; i++) {
		struct bcfmt_jset jset;

		if (journal->entries[i].seq > ck->set->newest.seq)
			break;
		if (i && journal->entries[i].seq == journal->entries[i - 1].seq)
			continue;
		err = bcfmt_journal_entry_load(journal, i, &buf, &buf_bytes, &jset);
		if (err == BCFMT_E_DAMAGED) {
			err = BCFMT_OK; /* failing device; the ring pass has counted it */
			continue;
		}
		ck->verdict->replay_entries++;
		if (!err)
			err = check_entry_keys(ck, i, &jset);
	}
	free(buf);
	return err;
}

static bcfmt_err report_empty(struct check *ck)
{
	const struct bcfmt_geometry *geo = &ck->set->geo;
	struct bcfmt_where where = check_where_bucket(ck, "journal", geo->first_bucket);

	return CHECK_REPORT(ck, JOURNAL_EMPTY, &where, BCFMT_U64("buckets", geo->journal_buckets));
}

static bool is_on_kernel_list(const struct bcfmt_journal *journal, uint64_t seq, size_t *at)
{
	while (*at < journal->n_kernel && journal->entries[journal->kernel_list[*at]].seq < seq)
		(*at)++;
	return *at < journal->n_kernel && journal->entries[journal->kernel_list[*at]].seq == seq;
}

/* Entries of the window that are whole but that a kernel's search does not find. */
static bcfmt_err check_search(struct check *ck, size_t begin)
{
	const struct bcfmt_journal *journal = &ck->set->journal;
	struct bcfmt_where where = where_entry(ck, ck->set->newest_index);
	uint64_t found = 0;
	size_t at = 0;

	if (ck->set->histories.is_found)
		return BCFMT_OK;
	if (journal->n_kernel)
		found = journal->entries[journal->kernel_list[journal->n_kernel - 1]].seq;
	if (found != ck->set->newest.seq) {
		bcfmt_err err = journal->n_kernel ? BCFMT_OK : report_empty(ck);

		return err ? err
			   : CHECK_REPORT(ck, JOURNAL_KERNEL_MISSES, &where,
					  BCFMT_U64("found", found),
					  BCFMT_U64("newest", ck->set->newest.seq));
	}
	/* Both lists are sorted: the window must be part of the kernel's list. */
	for (size_t i = begin; i <= ck->set->newest_index; i++) {
		if (is_on_kernel_list(journal, journal->entries[i].seq, &at))
			continue;
		where = where_entry(ck, i);
		return CHECK_REPORT(ck, JOURNAL_SEARCH_HOLE, &where,
				    BCFMT_U64("seq", journal->entries[i].seq));
	}
	return BCFMT_OK;
}

static bcfmt_err check_header(struct check *ck)
{
	const struct bcfmt_set *set = ck->set;
	const struct bcfmt_jset *newest = &set->newest;
	struct bcfmt_where where = where_entry(ck, set->newest_index);
	enum bcfmt_key_fault fault = bcfmt_key_fault_btree(&set->geo, &newest->btree_root);
	unsigned int deepest = log2_floor(set->geo.nbuckets) + 1;
	char text[BCFMT_KEY_TEXT_BYTES];
	bcfmt_err err = BCFMT_OK;

	if (set->version_proof_seq)
		err = CHECK_REPORT(ck, JOURNAL_OLD_VERSION, &where, BCFMT_U64("seq", newest->seq),
				   BCFMT_U64("before", set->version_proof_seq));
	if (err)
		return err;
	if (fault) {
		bcfmt_key_text(text, &newest->btree_root);
		err = CHECK_REPORT(ck, JOURNAL_BAD_ROOT, &where, BCFMT_U64("seq", newest->seq),
				   BCFMT_TEXT("text", text),
				   BCFMT_TEXT("status", bcfmt_key_fault_text(fault)));
	} else if (bcfmt_pos_cmp(bcfmt_key_end(&newest->btree_root), bcfmt_pos_max())) {
		bcfmt_key_text(text, &newest->btree_root);
		err = CHECK_REPORT(ck, ROOT_NOT_MAX, &where, BCFMT_TEXT("text", text));
	}
	if (!err && (set->is_level_mended || newest->btree_level > deepest))
		err = CHECK_REPORT(ck, JOURNAL_BAD_LEVEL, &where, BCFMT_U64("seq", newest->seq),
				   BCFMT_U64("level", set->is_level_mended ? set->said_level
									   : newest->btree_level));
	fault = bcfmt_key_fault_btree(&set->geo, &newest->uuid_bucket);
	if (!err && set->uuids_state == BCFMT_UUIDS_BAD_POINTER) {
		bcfmt_key_text(text, &newest->uuid_bucket);
		err = CHECK_REPORT(ck, JOURNAL_BAD_UUIDS, &where, BCFMT_U64("seq", newest->seq),
				   BCFMT_TEXT("text", text),
				   BCFMT_TEXT("status", bcfmt_key_fault_text(fault)));
	}
	return err;
}

/* Ring buckets behind the one of the newest entry that a kernel may write to before any is freed. */
static uint32_t free_buckets(const struct bcfmt_set *set, const bool *is_used)
{
	uint32_t newest = set->journal.entries[set->newest_index].ring_index, n = 0;

	while (n < set->geo.journal_buckets &&
	       !is_used[(newest + 1 + n) % set->geo.journal_buckets])
		n++;
	return n;
}

/*
 * Until the leaves are written into which the oldest entries are replayed, a kernel has only the
 * free buckets for what it writes itself, and it waits for ever for more: what it replays just then
 * is not to be written, and neither is a root that is a leaf.
 *
 * kernel: free_journal_buckets(), journal_reclaim(), btree_flush_write()
 */
static bcfmt_err check_room(struct check *ck, size_t begin)
{
	const struct bcfmt_geometry *geo = &ck->set->geo;
	const struct bcfmt_journal *journal = &ck->set->journal;
	struct bcfmt_where where = check_where(ck, "journal");
	struct predict_event event = { .stage = BCFMT_STAGE_REPLAY, .is_possible = true };
	bool is_used[BCFMT_SUPER_JOURNAL_MAX] = { false }, has_keys = false;
	uint32_t used = 0, n_free;
	uint64_t entries;
	bcfmt_err err;

	for (size_t i = begin; i < journal->n_entries; i++) {
		const struct bcfmt_journal_entry *entry = &journal->entries[i];

		if (!is_needed(ck->set, entry->seq))
			continue;
		used += !is_used[entry->ring_index];
		is_used[entry->ring_index] = true;
		has_keys |= entry->keys_words != 0;
	}
	n_free = free_buckets(ck->set, is_used);
	entries = (uint64_t)n_free * (geo->bucket_sectors / geo->block_sectors);
	if (used == geo->journal_buckets) {
		event.id = BCFMT_P_JOURNAL_FULL;
		err = CHECK_REPORT(ck, JOURNAL_FULL, &where, BCFMT_U64("buckets", used));
	} else if (has_keys && entries < BCFMT_JOURNAL_ROOM_ENTRIES) {
		event.id = BCFMT_P_JOURNAL_LITTLE_ROOM;
		err = CHECK_REPORT(ck, JOURNAL_LITTLE_ROOM, &where, BCFMT_U64("entries", entries),
				   BCFMT_U64("free", n_free),
				   BCFMT_U64("buckets", geo->journal_buckets));
	} else {
		return BCFMT_OK;
	}
	return err || !has_keys ? err : predict_add(ck, &event);
}

static bcfmt_err check_empty(struct check *ck)
{
	const struct bcfmt_set *set = ck->set;
	struct bcfmt_where where = check_where_bucket(ck, "journal", set->geo.first_bucket);

	if (set->journal.is_other_endian)
		return CHECK_REPORT_PLAIN(ck, SET_BIG_ENDIAN, &where);
	if (!(set->cache.super.flags & BCFMT_SUPER_FLAG_SYNC))
		return BCFMT_OK;
	return report_empty(ck);
}

static bcfmt_err check_histories(struct check *ck)
{
	const struct bcfmt_journal_histories *histories = &ck->set->histories;
	struct bcfmt_where where = check_where(ck, "journal");

	if (!histories->is_found)
		return BCFMT_OK;
	ck->is_doubtful = true;
	return CHECK_REPORT(ck, JOURNAL_TWO_HISTORIES, &where,
			    BCFMT_U64("taken", histories->older_seq),
			    BCFMT_U64("other", histories->newer_seq),
			    BCFMT_TEXT("evidence", histories->evidence));
}

bcfmt_err pass_journal(struct check *ck)
{
	const struct bcfmt_set *set = ck->set;
	const struct bcfmt_journal *journal = &set->journal;
	size_t begin = set->newest_index;
	bcfmt_err err = BCFMT_OK;

	if (journal->bad_read.sectors) {
		struct bcfmt_where where = check_where(ck, "journal");

		where.sector = journal->bad_read.first_sector;
		where.bucket = where.sector >> set->geo.bucket_shift;
		err = CHECK_REPORT(ck, JOURNAL_UNREADABLE, &where,
				   BCFMT_U64("sectors", journal->bad_read.sectors),
				   BCFMT_U64("sector", journal->bad_read.first_sector));
	}
	if (err || !set->has_newest)
		return err ? err : check_empty(ck);
	while (begin && journal->entries[begin - 1].seq >= set->newest.last_seq)
		begin--;
	err = check_histories(ck);
	for (size_t i = 0; !err && i < journal->n_stops; i++)
		err = check_stop(ck, &journal->stops[i]);
	if (!err)
		err = check_window(ck, begin);
	if (!err && (ck->params->level != BCFMT_LEVEL_QUICK || !set->newest.btree_level))
		err = check_begin_losses(ck);
	if (!err)
		err = check_entries(ck, begin);
	if (!err)
		err = predict_entries_rest(ck);
	if (!err)
		err = check_search(ck, begin);
	if (!err)
		err = check_header(ck);
	return err ? err : check_room(ck, begin);
}
