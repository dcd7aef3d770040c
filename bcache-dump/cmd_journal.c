/* SPDX-License-Identifier: GPL-2.0-or-later */
/* bcache-dump journal: every entry of the ring, what a kernel replays, what is missing. */
#include "filter.h"

#include <stdlib.h>

struct journal_dump {
	struct dump *d;
	const struct bcfmt_journal *journal;
	uint8_t *buf; /* of bcfmt_journal_entry_load() */
	size_t buf_bytes;
	size_t next_kernel; /* place in kernel_list */
	uint64_t gone;	    /* entries that are needed and not there */
	bool is_damaged;
};

static bool wants_keys(const struct dump_options *opt)
{
	return opt->with_keys || opt->has_inode || opt->has_range;
}

static void ring_row(struct journal_dump *jd)
{
	const struct bcfmt_journal *journal = jd->journal;
	struct dump *d = jd->d;

	bcfmt_row_begin(d->out, "journal");
	bcfmt_row_u64(d->out, "buckets", journal->geo.journal_buckets);
	bcfmt_row_u64(d->out, "first_bucket", journal->geo.first_bucket);
	bcfmt_row_u64(d->out, "bucket_sectors", journal->geo.bucket_sectors);
	bcfmt_row_u64(d->out, "entries", journal->n_entries);
	if (d->set->has_newest) {
		bcfmt_row_u64(d->out, "newest_seq", d->set->newest.seq);
		bcfmt_row_u64(d->out, "last_seq", d->set->newest.last_seq);
	}
	bcfmt_row_u64(d->out, "kernel_entries", journal->n_kernel);
	if (journal->n_kernel) {
		bcfmt_row_u64(d->out, "kernel_first_seq",
			      journal->entries[journal->kernel_list[0]].seq);
		bcfmt_row_u64(d->out, "kernel_newest_seq",
			      journal->entries[journal->kernel_list[journal->n_kernel - 1]].seq);
		bcfmt_row_u64(d->out, "kernel_ring_index", journal->kernel_ring_index);
	}
	bcfmt_row_end(d->out);
}

static void histories_row(struct journal_dump *jd)
{
	const struct bcfmt_journal_histories *two = &jd->d->set->histories;
	struct bcfmt_out *out = jd->d->out;

	if (!two->is_found)
		return;
	bcfmt_row_begin(out, "histories");
	if (two->newer_seq)
		bcfmt_row_u64(out, "newer_seq", two->newer_seq);
	bcfmt_row_u64(out, "older_seq", two->older_seq);
	bcfmt_row_bool(out, "proved", two->is_proved);
	bcfmt_row_text(out, "evidence", two->evidence);
	bcfmt_row_end(out);
}

/* "past" entries are history, a kernel replays "replay"; "unseen" ones its search does not find. */
static const char *entry_state(struct journal_dump *jd, size_t index)
{
	const struct bcfmt_journal *journal = jd->journal;
	const struct bcfmt_set *set = jd->d->set;
	uint64_t seq = journal->entries[index].seq;
	bool is_found = false;

	/* Both lists ascend. */
	while (jd->next_kernel < journal->n_kernel && journal->kernel_list[jd->next_kernel] < index)
		jd->next_kernel++;
	if (jd->next_kernel < journal->n_kernel)
		is_found = journal->kernel_list[jd->next_kernel] == index;
	if (!set->has_newest || seq > set->newest.seq)
		return "other";
	if (index == set->newest_index)
		return is_found ? "newest" : "newest-unseen";
	if (seq < set->newest.last_seq)
		return "past";
	return is_found ? "replay" : "unseen";
}

static void entry_row(struct journal_dump *jd, size_t index)
{
	const struct bcfmt_journal_entry *entry = &jd->journal->entries[index];
	const struct bcfmt_geometry *geo = &jd->journal->geo;
	struct bcfmt_out *out = jd->d->out;

	bcfmt_row_begin(out, "entry");
	bcfmt_row_u64(out, "seq", entry->seq);
	bcfmt_row_u64(out, "last_seq", entry->last_seq);
	bcfmt_row_text(out, "state", entry_state(jd, index));
	bcfmt_row_u64(out, "bucket", (uint64_t)geo->first_bucket + entry->ring_index);
	bcfmt_row_u64(out, "sector", bcfmt_journal_entry_sector(jd->journal, index));
	bcfmt_row_u64(out, "blocks", entry->blocks);
	bcfmt_row_u64(out, "keys_words", entry->keys_words);
	bcfmt_row_u64(out, "level", entry->level);
	bcfmt_row_u64(out, "root_bucket", bcfmt_ptr_bucket(geo, entry->root_ptr));
	bcfmt_row_u64(out, "root_gen", bcfmt_ptr_gen(entry->root_ptr));
	bcfmt_row_u64(out, "uuid_bucket", bcfmt_ptr_bucket(geo, entry->uuid_ptr));
	bcfmt_row_u64(out, "prio_bucket", entry->prio_bucket);
	if (!entry->is_in_sequence)
		bcfmt_row_bool(out, "in_sequence", false);
	if (jd->d->opt.is_verbose)
		bcfmt_row_hex(out, "csum", entry->csum);
	bcfmt_row_end(out);
}

static void key_row(struct dump *d, const struct bcfmt_jset *jset, const struct bcfmt_key_iter *it,
		    const struct bcfmt_key *key)
{
	char text[BCFMT_KEY_TEXT_BYTES];

	if (!bcfmt_out_is_json(d->out)) {
		bcfmt_key_text_raw(text, it->raw, bcfmt_key_words(key), false);
		bcfmt_out_line(d->out, "seq %llu word %u: %s", (unsigned long long)jset->seq,
			       it->word, text);
		return;
	}
	bcfmt_row_begin(d->out, "key");
	bcfmt_row_u64(d->out, "seq", jset->seq);
	bcfmt_row_u64(d->out, "word", it->word);
	key_fields(d, key);
	bcfmt_row_end(d->out);
}

static bool has_key(const struct dump_options *opt, const struct bcfmt_key *key)
{
	uint64_t sectors = bcfmt_key_sectors(key);

	return filter_has_sectors(opt, bcfmt_key_inode(key),
				  key->low > sectors ? key->low - sectors : 0, key->low);
}

static uint32_t matching_keys(const struct dump_options *opt, const struct bcfmt_jset *jset)
{
	struct bcfmt_key_iter it = bcfmt_key_iter_init(jset->keys, jset->keys_field);
	struct bcfmt_key key;
	uint32_t n = 0;

	while (bcfmt_key_iter_next(&it, &key))
		n += has_key(opt, &key);
	return n;
}

/* An entry without a key that was asked for is left out. */
static bcfmt_err show_entry(struct journal_dump *jd, size_t index)
{
	struct dump *d = jd->d;
	struct bcfmt_jset jset;
	struct bcfmt_key_iter it;
	struct bcfmt_key key;
	bcfmt_err err;

	if (!wants_keys(&d->opt)) {
		entry_row(jd, index);
		return BCFMT_OK;
	}
	err = bcfmt_journal_entry_load(jd->journal, index, &jd->buf, &jd->buf_bytes, &jset);
	if (err == BCFMT_E_DAMAGED) {
		cli_error(dump_cache_name(d), "journal entry %llu cannot be read again",
			  (unsigned long long)jd->journal->entries[index].seq);
		jd->is_damaged = true;
		return BCFMT_OK;
	}
	if (err)
		return err;
	if ((d->opt.has_inode || d->opt.has_range) && !matching_keys(&d->opt, &jset))
		return BCFMT_OK;
	entry_row(jd, index);
	it = bcfmt_key_iter_init(jset.keys, jset.keys_field);
	while (bcfmt_key_iter_next(&it, &key))
		if (has_key(&d->opt, &key))
			key_row(d, &jset, &it, &key);
	if (it.is_overrun) {
		cli_error(dump_cache_name(d), "journal entry %llu: the keys do not fill it",
			  (unsigned long long)jset.seq);
		jd->is_damaged = true;
	}
	return BCFMT_OK;
}

static bool has_seq(const struct dump_options *opt, uint64_t seq)
{
	return !opt->has_seqs || (seq >= opt->seq_first && seq <= opt->seq_last);
}

/* An entry that no kernel takes, but that is known. */
static void mended_row(struct journal_dump *jd, const struct bcfmt_journal_mended *mended)
{
	static const char *const wrong[] = {
		[BCFMT_MEND_BIT] = "bit", [BCFMT_MEND_MAGIC] = "magic", [BCFMT_MEND_SEQ] = "number"
	};
	const struct bcfmt_journal_entry *entry = &mended->entry;
	const struct bcfmt_geometry *geo = &jd->journal->geo;
	uint64_t bucket = (uint64_t)geo->first_bucket + entry->ring_index;
	struct bcfmt_out *out = jd->d->out;

	if (!has_seq(&jd->d->opt, entry->seq))
		return;
	bcfmt_row_begin(out, "mended");
	bcfmt_row_u64(out, "seq", entry->seq);
	bcfmt_row_u64(out, "last_seq", entry->last_seq);
	bcfmt_row_text(out, "wrong", wrong[mended->mend.kind]);
	bcfmt_row_u64(out, "bucket", bucket);
	bcfmt_row_u64(out, "sector", bcfmt_bucket_sector(geo, bucket) + entry->sector);
	bcfmt_row_u64(out, "blocks", entry->blocks);
	bcfmt_row_u64(out, "keys_words", entry->keys_words);
	bcfmt_row_end(out);
}

/* Numbers that no entry has, first..last; needed ones make the set incomplete. */
static void gap_row(struct journal_dump *jd, uint64_t first_seq, uint64_t last_seq)
{
	const struct bcfmt_set *set = jd->d->set;
	struct bcfmt_out *out = jd->d->out;
	bool is_needed =
		set->has_newest && last_seq >= set->newest.last_seq && first_seq <= set->newest.seq;

	if (first_seq == last_seq && bcfmt_journal_mended_at(jd->journal, first_seq)) {
		mended_row(jd, bcfmt_journal_mended_at(jd->journal, first_seq));
		return;
	}
	if (is_needed) {
		uint64_t from = first_seq > set->newest.last_seq ? first_seq : set->newest.last_seq;

		jd->gone += (last_seq < set->newest.seq ? last_seq : set->newest.seq) - from + 1;
	}
	if (!has_seq(&jd->d->opt, first_seq) && !has_seq(&jd->d->opt, last_seq))
		return;
	bcfmt_row_begin(out, "gap");
	bcfmt_row_u64(out, "first_seq", first_seq);
	bcfmt_row_u64(out, "last_seq", last_seq);
	bcfmt_row_bool(out, "needed", is_needed);
	bcfmt_row_end(out);
}

static bcfmt_err show_entries(struct journal_dump *jd)
{
	const struct bcfmt_journal *journal = jd->journal;
	const struct bcfmt_set *set = jd->d->set;
	uint64_t expected = 0;
	bcfmt_err err = BCFMT_OK;

	/* The window may begin before the first entry that is left. */
	if (journal->n_entries) {
		expected = journal->entries[0].seq;
		if (set->has_newest && set->newest.last_seq < expected)
			expected = set->newest.last_seq;
	}
	for (size_t i = 0; i < journal->n_entries && !err; i++) {
		uint64_t seq = journal->entries[i].seq;

		if (seq > expected)
			gap_row(jd, expected, seq - 1);
		expected = seq + 1;
		if (has_seq(&jd->d->opt, seq))
			err = show_entry(jd, i);
		if (bcfmt_ctx_is_cancelled(jd->d->ctx))
			err = BCFMT_E_CANCELLED;
	}
	return err;
}

static void stop_rows(struct journal_dump *jd)
{
	const struct bcfmt_journal *journal = jd->journal;
	struct bcfmt_out *out = jd->d->out;

	for (size_t i = 0; i < journal->n_stops; i++) {
		const struct bcfmt_journal_stop *stop = &journal->stops[i];
		uint64_t bucket = (uint64_t)journal->geo.first_bucket + stop->ring_index;

		if (!has_seq(&jd->d->opt, stop->seq))
			continue;
		bcfmt_row_begin(out, "torn");
		bcfmt_row_u64(out, "seq", stop->seq);
		bcfmt_row_u64(out, "last_seq", stop->last_seq);
		bcfmt_row_u64(out, "bucket", bucket);
		bcfmt_row_u64(out, "sector", bucket * journal->geo.bucket_sectors + stop->sector);
		bcfmt_row_u64(out, "bytes", stop->bytes);
		bcfmt_row_text(out, "fault",
			       stop->fault == BCFMT_JSET_TOO_BIG ? "too-big" : "bad-csum");
		bcfmt_row_end(out);
	}
}

/* What keeps the journal from being whole. */
static void tell_damage(struct journal_dump *jd)
{
	const struct bcfmt_journal *journal = jd->journal;
	const char *name = dump_cache_name(jd->d);

	if (journal->is_other_endian)
		cli_error(name, "the journal was written by a big-endian machine");
	else if (!journal->n_entries)
		cli_error(name, "the journal has no entry");
	else if (!jd->d->set->has_newest)
		cli_error(name, "the newest journal entry cannot be read again");
	if (journal->bad_read.sectors)
		cli_error(name, "%llu sectors of the journal cannot be read, the first is %llu",
			  (unsigned long long)journal->bad_read.sectors,
			  (unsigned long long)journal->bad_read.first_sector);
	if (jd->gone)
		cli_error(name, "%llu entries that have to be replayed are missing",
			  (unsigned long long)jd->gone);
	if (!jd->d->set->has_newest || journal->bad_read.sectors || jd->gone)
		jd->is_damaged = true;
}

static bcfmt_err show(struct journal_dump *jd)
{
	bcfmt_err err;

	ring_row(jd);
	histories_row(jd);
	err = show_entries(jd);
	free(jd->buf);
	if (!err)
		stop_rows(jd);
	return err;
}

bcfmt_err journal_rows(struct dump *d)
{
	struct journal_dump jd = { .d = d, .journal = &d->set->journal };

	return show(&jd);
}

int cmd_journal(struct dump *d)
{
	struct journal_dump jd = { .d = d, .journal = &d->set->journal };
	bcfmt_err err = show(&jd);

	if (err)
		return dump_failed(d, err);
	tell_damage(&jd);
	return jd.is_damaged ? DUMP_DAMAGED : DUMP_DONE;
}
