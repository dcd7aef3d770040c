/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The keys of the journal, sorted by place, so that every leaf can take its slice in any order of
 * leaves: those of the replay window, or all that are left. A ring can hold more keys than memory
 * should: they are sorted runs.
 */
#include <stdlib.h>
#include <string.h>

#include "base/checked.h"
#include "codec/key_frame.h"
#include "set/set_impl.h"

#define SLICE_BATCH 256u

/* A key within which an entry ends. */
struct tail {
	struct bcfmt_key key;
	uint64_t seq;
	bool is_range_known; /* it may be one without a pointer that says it has one */
};

struct replay {
	struct runs *runs;
	uint64_t n;
	uint64_t first_seq;
	bool is_of_new_set;
	bool has_impossible; /* keys were left out that should have been taken, or cannot be */
	uint64_t gens_until; /* set_gens_written_until() */
	bool is_garbled;     /* in an entry to replay it is not known where keys begin */
	struct vec doubts;   /* struct bcfmt_span */
	struct vec tails;    /* struct tail */
	bool gen_rose;
};

static int replay_cmp(const void *a, const void *b)
{
	const struct bcfmt_replay_key *x = a, *y = b;
	int order = bcfmt_pos_cmp(bcfmt_key_start(&x->key), bcfmt_key_start(&y->key));

	if (order)
		return order;
	if (x->seq != y->seq)
		return x->seq < y->seq ? -1 : 1;
	return x->word < y->word ? -1 : x->word > y->word;
}

static int journal_order_cmp(const void *a, const void *b)
{
	const struct bcfmt_replay_key *x = a, *y = b;

	if (x->seq != y->seq)
		return x->seq < y->seq ? -1 : 1;
	return x->word < y->word ? -1 : x->word > y->word;
}

/*
 * The key of an entry before the window is of a later use of its bucket than the prio sets know,
 * although they are newer than the entry. Which of the two is wrong does not show.
 */
static bool is_ahead(const struct bcfmt_set *set, const struct replay *replay,
		     const struct bcfmt_key *key, uint64_t seq)
{
	return seq <= replay->gens_until && seq < set->window_seq && bcfmt_key_has_data(key) &&
	       bcfmt_gen_after(bcfmt_ptr_gen(key->ptr),
			       set->buckets[bcfmt_ptr_bucket(&set->geo, key->ptr)].disk_gen);
}

/* A key of an entry at this word of it. */
static bcfmt_err add_key(struct bcfmt_set *set, struct replay *replay, const struct bcfmt_key *key,
			 uint64_t seq, uint32_t word)
{
	struct bcfmt_replay_key record;

	/* Size 0 and impossible keys change nothing; the journal pass reports them. */
	if (bcfmt_key_fault_extent(&set->geo, key)) {
		replay->has_impossible |= bcfmt_key_sectors(key) != 0;
		return BCFMT_OK;
	}
	replay->has_impossible |= is_ahead(set, replay, key, seq);
	if (set_raise_gen_by_extent(set, key))
		replay->gen_rose = true;
	memset(&record, 0, sizeof(record));
	record.key = *key;
	record.seq = seq;
	record.word = word;
	return runs_add(replay->runs, &record, 1);
}

/* What a key covers whose pointers are not what it says. */
static bcfmt_err doubt_key(struct replay *replay, const struct bcfmt_key *key)
{
	struct bcfmt_span *span;

	if (bcfmt_key_start_sector(key) >= key->low)
		return BCFMT_OK;
	span = vec_push(&replay->doubts, sizeof(*span));
	if (!span)
		return BCFMT_E_NOMEM;
	*span = (struct bcfmt_span){ bcfmt_key_start(key), bcfmt_key_end(key) };
	return BCFMT_OK;
}

static bcfmt_err add_framed(struct bcfmt_set *set, struct replay *replay,
			    const struct bcfmt_jset *jset, const struct key_frame *frame)
{
	uint32_t next = 0, word = 0;
	struct bcfmt_key key;
	bcfmt_err err = BCFMT_OK;

	while (!err && key_frame_next(frame, jset->keys, &next, &key)) {
		err = add_key(set, replay, &key, jset->seq, word);
		if (!err && word == frame->odd_word)
			err = doubt_key(replay, &key);
		word = next;
	}
	return err;
}

/* u64 words from the first key to the end of the entry's blocks. */
static uint32_t avail_words(const struct bcfmt_set *set, const struct bcfmt_jset *jset)
{
	uint64_t bytes = (uint64_t)jset->blocks * bcfmt_block_bytes(&set->geo);

	return (uint32_t)((bytes - BCFMT_JSET_HEADER_BYTES) / 8);
}

static bcfmt_err add_tail(struct replay *replay, const struct bcfmt_key *key,
			  const struct bcfmt_jset *jset)
{
	struct tail *tail = vec_push(&replay->tails, sizeof(*tail));
	struct key_frame frame;

	if (!tail)
		return BCFMT_E_NOMEM;
	*tail = (struct tail){ *key, jset->seq,
			       key_frame_find(jset->keys, jset->keys_field, &frame) };
	return BCFMT_OK;
}

static bcfmt_err add_entry(struct bcfmt_set *set, struct replay *replay,
			   const struct bcfmt_jset *jset)
{
	struct bcfmt_key_iter it = bcfmt_key_iter_init(jset->keys, jset->keys_field);
	uint64_t ptrs_max = max_u64(1, set->cache.super.nr_in_set);
	struct key_frame frame;
	struct bcfmt_key key;
	bcfmt_err err = BCFMT_OK;
	bool is_garbled = false;

	if (ptrs_max == 1 && key_frame_find_tail(jset->keys, jset->keys_field,
						 avail_words(set, jset), &frame, &key)) {
		err = add_tail(replay, &key, jset);
		return err ? err : add_framed(set, replay, jset, &frame);
	}
	if (ptrs_max == 1 && key_frame_find(jset->keys, jset->keys_field, &frame))
		return add_framed(set, replay, jset, &frame);
	while (!err && bcfmt_key_iter_next(&it, &key)) {
		/* No set has such a key: its words are those of the keys behind it. */
		is_garbled |= bcfmt_key_ptr_count(&key) > ptrs_max;
		err = add_key(set, replay, &key, jset->seq, it.word);
	}
	is_garbled |= it.is_overrun;
	replay->is_garbled |= is_garbled && jset->seq >= set->window_seq;
	replay->has_impossible |= is_garbled;
	return err;
}

/* First entry to replay; a window that no kernel can have open is cut to what the ring holds. */
static size_t window_begin(const struct bcfmt_journal *journal, size_t newest, uint64_t last_seq)
{
	size_t begin = newest;

	while (begin && journal->entries[begin - 1].seq >= last_seq)
		begin--;
	return begin;
}

/* First entry of the gapless run that ends with newest. A mended entry fills a gap. */
static size_t history_begin(const struct bcfmt_journal *journal, size_t newest)
{
	uint64_t seq = journal->entries[newest].seq;
	size_t begin = newest;

	for (size_t i = newest; i-- > 0;) {
		const struct bcfmt_journal_entry *entry = &journal->entries[i];

		if (entry->is_misnumbered)
			continue;
		if (entry->seq + 1 < seq &&
		    (entry->seq + 2 < seq || !bcfmt_journal_mended_at(journal, entry->seq + 1)))
			break;
		seq = entry->seq;
		begin = i;
	}
	return begin;
}

/*
 * With it a kernel made the set: an empty leaf is the root, nothing was written yet, and no bucket
 * can be handed out before new prio sets are written. (A tool can give the first number to a set
 * that is in use.) kernel: run_cache_set(), bch_allocator_thread().
 */
static bool is_first_entry(const struct bcfmt_set *set, const struct bcfmt_journal_entry *entry)
{
	return entry->seq == 1 && !entry->level && !entry->keys_words &&
	       entry->prio_bucket != set->newest.prio_bucket[set->geo.nr_this_dev];
}

struct entry_buf {
	uint8_t *bytes;
	size_t len_bytes;
};

/*
 * Adds the keys of an entry that was loaded. Of one that could be read when the journal was, and
 * cannot now, nothing is known: nothing that rests on the journal is proved then.
 */
static bcfmt_err add_loaded(struct bcfmt_set *set, struct replay *replay, uint64_t seq,
			    const struct bcfmt_jset *jset, bcfmt_err loaded)
{
	if (loaded == BCFMT_END)
		return BCFMT_OK;
	if (loaded != BCFMT_E_DAMAGED)
		return loaded ? loaded : add_entry(set, replay, jset);
	replay->has_impossible = true;
	replay->is_garbled |= seq >= set->window_seq;
	replay->is_of_new_set = false;
	replay->first_seq = seq + 1;
	return BCFMT_OK;
}

static bcfmt_err add_entries(struct bcfmt_set *set, struct replay *replay, size_t begin)
{
	const struct bcfmt_journal *journal = &set->journal;
	uint64_t seq = 0, newest_seq = set->newest.seq;
	struct entry_buf buf = { NULL, 0 };
	bcfmt_err err = BCFMT_OK;

	replay->first_seq = journal->entries[begin].seq;
	replay->gens_until = set_gens_written_until(set);
	replay->is_of_new_set = is_first_entry(set, &journal->entries[begin]);
	for (size_t i = begin;
	     !err && i < journal->n_entries && journal->entries[i].seq <= newest_seq; i++) {
		const struct bcfmt_journal_entry *entry = &journal->entries[i];
		struct bcfmt_jset jset;

		/* Of entries with one number only the first counts. */
		if (entry->is_misnumbered || (seq && entry->seq == seq))
			continue;
		if (seq && entry->seq == seq + 2)
			err = add_loaded(set, replay, seq + 1, &jset,
					 bcfmt_journal_mended_load(journal, seq + 1, &buf.bytes,
								   &buf.len_bytes, &jset));
		seq = entry->seq;
		if (!err)
			err = add_loaded(set, replay, seq, &jset,
					 bcfmt_journal_entry_load(journal, i, &buf.bytes,
								  &buf.len_bytes, &jset));
	}
	free(buf.bytes);
	return err;
}

static size_t begin_of(const struct bcfmt_set *set, bool with_history)
{
	size_t window = window_begin(&set->journal, set->newest_index, set->window_seq);
	size_t history = history_begin(&set->journal, set->newest_index);

	return with_history && history < window ? history : window;
}

size_t replay_history_begin(const struct bcfmt_set *set)
{
	return history_begin(&set->journal, set->newest_index);
}

bool replay_has_history(const struct bcfmt_set *set)
{
	return set->has_newest && !set->is_shallow && !set->histories.is_found &&
	       begin_of(set, true) < begin_of(set, false);
}

bcfmt_err replay_new(struct bcfmt_ctx *ctx, struct replay **out)
{
	struct replay *replay = calloc(1, sizeof(*replay));
	bcfmt_err err;

	*out = NULL;
	if (!replay)
		return BCFMT_E_NOMEM;
	err = runs_new(ctx, sizeof(struct bcfmt_replay_key),
		       max_u64(bcfmt_ctx_max_bytes(ctx) / 4, 1u << 20), replay_cmp, &replay->runs);
	if (err)
		replay_free(replay);
	else
		*out = replay;
	return err;
}

bcfmt_err replay_add(struct replay *replay, const struct bcfmt_replay_key *key)
{
	return runs_add(replay->runs, key, 1);
}

bcfmt_err replay_finish(struct replay *replay)
{
	bcfmt_err err = runs_sort(replay->runs);

	if (!err)
		err = runs_flatten(replay->runs);
	replay->n = err ? 0 : runs_count(replay->runs);
	return err;
}

bcfmt_err replay_load(struct bcfmt_set *set, bool with_history, bool *gen_rose, struct replay **out)
{
	struct replay *replay;
	bcfmt_err err = replay_new(set->ctx, &replay);

	if (err)
		return err;
	if (set->has_newest)
		err = add_entries(set, replay, begin_of(set, with_history));
	if (!err)
		err = replay_finish(replay);
	if (err) {
		replay_free(replay);
		return err;
	}
	*gen_rose |= replay->gen_rose;
	*out = replay;
	return BCFMT_OK;
}

void replay_free(struct replay *replay)
{
	if (!replay)
		return;
	runs_free(replay->runs);
	vec_free(&replay->doubts);
	vec_free(&replay->tails);
	free(replay);
}

bool replay_is_whole(const struct replay *replay)
{
	return replay->first_seq == 1;
}

uint64_t replay_first_seq(const struct replay *replay)
{
	return replay->first_seq;
}

bool replay_is_of_new_set(const struct replay *replay)
{
	return replay->is_of_new_set;
}

bool replay_has_impossible(const struct replay *replay)
{
	return replay->has_impossible;
}

const struct vec *replay_doubts(const struct replay *replay)
{
	return &replay->doubts;
}

bool replay_is_garbled(const struct replay *replay)
{
	return replay->is_garbled;
}

uint64_t replay_count(const struct replay *replay)
{
	return replay->n;
}

uint64_t replay_spilled_bytes(const struct replay *replay)
{
	return runs_spilled_bytes(replay->runs);
}

/* First index whose key starts at or after pos. */
static bcfmt_err lower_bound(struct replay *replay, struct bcfmt_pos pos, uint64_t *index)
{
	uint64_t low = 0, high = replay->n;

	while (low < high) {
		uint64_t mid = low + (high - low) / 2;
		struct bcfmt_replay_key record;
		bcfmt_err err = runs_get(replay->runs, mid, &record, 1);

		if (err)
			return err;
		if (bcfmt_pos_cmp(bcfmt_key_start(&record.key), pos) < 0)
			low = mid + 1;
		else
			high = mid;
	}
	*index = low;
	return BCFMT_OK;
}

bcfmt_err replay_slice(struct replay *replay, struct bcfmt_pos lo, struct bcfmt_pos hi,
		       struct vec *out)
{
	/* A key that begins before lo can reach into the range by its size at most. */
	struct bcfmt_pos from = { lo.inode, lo.sector > BCFMT_KEY_MAX_SECTORS
						    ? lo.sector - BCFMT_KEY_MAX_SECTORS
						    : 0 };
	struct bcfmt_replay_key batch[SLICE_BATCH];
	uint64_t index;
	bcfmt_err err;

	out->n = 0;
	if (!replay->n)
		return BCFMT_OK;
	err = lower_bound(replay, from, &index);
	while (!err && index < replay->n) {
		size_t n = (size_t)min_u64(SLICE_BATCH, replay->n - index);

		err = runs_get(replay->runs, index, batch, n);
		for (size_t i = 0; !err && i < n; i++) {
			struct bcfmt_replay_key *slot;

			if (bcfmt_pos_cmp(bcfmt_key_start(&batch[i].key), hi) >= 0)
				goto sorted;
			if (bcfmt_pos_cmp(bcfmt_key_end(&batch[i].key), lo) <= 0)
				continue;
			slot = vec_push(out, sizeof(*slot));
			if (!slot)
				return BCFMT_E_NOMEM;
			*slot = batch[i];
		}
		index += n;
	}
sorted:
	if (!err && out->n > 1)
		qsort(out->items, out->n, sizeof(struct bcfmt_replay_key), journal_order_cmp);
	return err;
}

bcfmt_err replay_each_silent(struct replay *replay, uint64_t from_seq, replay_silent_fn fn,
			     void *arg)
{
	struct bcfmt_replay_key batch[SLICE_BATCH];
	struct bcfmt_pos at = { 0, 0 };
	bcfmt_err err = BCFMT_OK;

	for (uint64_t index = 0; !err && index < replay->n;) {
		size_t n = (size_t)min_u64(SLICE_BATCH, replay->n - index);

		err = runs_get(replay->runs, index, batch, n);
		for (size_t i = 0; !err && i < n; i++) {
			struct bcfmt_pos start = bcfmt_key_start(&batch[i].key);
			struct bcfmt_pos end = bcfmt_key_end(&batch[i].key);

			if (batch[i].seq < from_seq)
				continue;
			if (bcfmt_pos_cmp(at, start) < 0)
				err = fn(arg, at, start);
			if (bcfmt_pos_cmp(at, end) < 0)
				at = end;
		}
		index += n;
	}
	return err || bcfmt_pos_cmp(at, bcfmt_pos_max()) >= 0 ? err : fn(arg, at, bcfmt_pos_max());
}

/* An entry before the tail's has the very same key. */
static bcfmt_err is_left_over(struct replay *all, const struct tail *tail, bool *is_it)
{
	struct vec slice = { 0 };
	bcfmt_err err =
		replay_slice(all, bcfmt_key_start(&tail->key), bcfmt_key_end(&tail->key), &slice);

	*is_it = false;
	for (size_t i = 0; !err && i < slice.n; i++) {
		const struct bcfmt_replay_key *key = VEC_AT(&slice, struct bcfmt_replay_key, i);

		*is_it |= key->seq < tail->seq && key->key.high == tail->key.high &&
			  key->key.low == tail->key.low && key->key.ptr == tail->key.ptr;
	}
	vec_free(&slice);
	return err;
}

bcfmt_err replay_settle_tails(struct replay *replay, struct replay *all, uint64_t window_seq)
{
	bcfmt_err err = BCFMT_OK;

	for (size_t i = 0; !err && i < replay->tails.n; i++) {
		const struct tail *tail = VEC_AT(&replay->tails, struct tail, i);
		bool is_it = false;

		if (bcfmt_pos_cmp(bcfmt_key_start(&tail->key), bcfmt_key_end(&tail->key)) < 0)
			err = is_left_over(all, tail, &is_it);
		if (!err && !is_it && tail->is_range_known) {
			err = doubt_key(replay, &tail->key);
			is_it = true;
		}
		replay->is_garbled |= !is_it && tail->seq >= window_seq;
		replay->has_impossible |= !is_it;
	}
	return err;
}
