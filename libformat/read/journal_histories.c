/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Two histories in one ring. A set that was formatted again under its old uuid finds its old
 * entries with right magic and checksum; their sequence numbers can be the higher ones, and then
 * a kernel takes them. What gives them away:
 *  - the prio set that the newest entry names has a sequence number below the number of prio
 *    writes that the journal itself proves (every prio write is followed by an entry with the
 *    new bucket), since the newer history has written over it: a proof;
 *  - two valid entries with one sequence number and different contents: a proof of two
 *    histories, not of which is the newer;
 *  - a jump of the sequence where the entries between could never have had room.
 */
#include <bcfmt/journal.h>
#include <bcfmt/prio.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "read/read.h"

#define RUN_ENTRIES_MAX 65536u
#define PRIO_READS_MAX 4096u /* prio writes of one ring; each costs a bucket to read */

/* Entries of consecutive sequence numbers, [begin, end) as indexes of entries by seq. */
struct run {
	size_t begin;
	size_t end;
	uint64_t prio_writes; /* prio writes that the run proves */
};

static struct run run_down_from(const struct bcfmt_journal *journal, size_t newest)
{
	const struct bcfmt_journal_entry *entries = journal->entries;
	struct run run = { newest, newest + 1, 1 };

	while (run.begin && run.end - run.begin < RUN_ENTRIES_MAX) {
		uint64_t seq = entries[run.begin].seq;
		size_t below = run.begin - 1;

		while (below && entries[below].seq == seq)
			below--;
		if (entries[below].seq + 1 != seq)
			break;
		/* Of entries with one number the first is the one that a kernel meets. */
		bcfmt_journal_find(journal, seq - 1, &below);
		if (entries[below].prio_bucket != entries[run.begin].prio_bucket)
			run.prio_writes++;
		run.begin = below;
	}
	return run;
}

/* Sequence number of the whole prio set in bucket; false when there is none. */
static bool prio_seq_at(const struct bcfmt_journal *journal, uint64_t bucket, uint8_t *raw,
			uint64_t *seq)
{
	struct bcfmt_prio_set prio;

	if (bucket >= journal->geo.nbuckets || bucket < journal->geo.first_bucket)
		return false;
	if (prio_set_read(journal->dev, &journal->geo, bucket, raw, &prio) != PRIO_STATE_OK)
		return false;
	*seq = prio.seq;
	return true;
}

/*
 * The newest entry of the newer history: with it, as many prio writes are proved from entry 1 on
 * as the newest prio set on the disk counts, and it names that set. 0 when it cannot be told.
 */
static uint64_t newer_history_end(const struct bcfmt_journal *journal, struct run run, uint8_t *raw)
{
	const struct bcfmt_journal_entry *entries = journal->entries;
	uint64_t writes = 0, last_bucket = 0, end_seq = 0, best_seq = 0;

	if (entries[run.begin].seq != 1)
		return 0;
	for (size_t i = run.begin; i < run.end; i++) {
		uint64_t prio_seq;

		if (i > run.begin && entries[i].seq == entries[i - 1].seq)
			continue;
		if (i == run.begin || entries[i].prio_bucket != last_bucket) {
			if (++writes > PRIO_READS_MAX)
				break;
			last_bucket = entries[i].prio_bucket;
			if (prio_seq_at(journal, last_bucket, raw, &prio_seq) &&
			    prio_seq == writes && prio_seq > best_seq)
				best_seq = prio_seq;
		}
		if (writes == best_seq)
			end_seq = entries[i].seq;
	}
	return best_seq ? end_seq : 0;
}

/*
 * Where the entries begin that count. A repair writes an entry without keys that needs no other and
 * leaves out the number before it, which no kernel does: what is older was done with when it was
 * written, whatever histories it comes from.
 */
static size_t first_living(const struct bcfmt_journal *journal)
{
	const struct bcfmt_journal_entry *entries = journal->entries;

	for (size_t i = journal->n_entries; i-- > 1;)
		if (!entries[i].keys_words && entries[i].last_seq == entries[i].seq &&
		    entries[i - 1].seq + 2 == entries[i].seq)
			return i;
	return 0;
}

static bool find_twins(const struct bcfmt_journal *journal, size_t first,
		       struct bcfmt_journal_histories *out)
{
	const struct bcfmt_journal_entry *entries = journal->entries;

	for (size_t i = first + 1; i < journal->n_entries; i++) {
		if (entries[i].seq != entries[i - 1].seq ||
		    entries[i].csum == entries[i - 1].csum || entries[i].is_misnumbered ||
		    entries[i - 1].is_misnumbered)
			continue;
		out->is_found = true;
		snprintf(out->evidence, sizeof(out->evidence),
			 "two different entries %llu, in ring bucket %u sector %u and %u sector %u",
			 (unsigned long long)entries[i].seq, entries[i - 1].ring_index,
			 entries[i - 1].sector, entries[i].ring_index, entries[i].sector);
		return true;
	}
	return false;
}

static uint32_t end_sector(const struct bcfmt_journal *journal,
			   const struct bcfmt_journal_entry *entry)
{
	return entry->sector + entry->blocks * journal->geo.block_sectors;
}

/*
 * b follows a on the disk, with sectors between them in which entries may have been lost; true
 * when more numbers lie between them than blocks.
 */
static bool is_jump(const struct bcfmt_journal *journal, const struct bcfmt_journal_entry *a,
		    const struct bcfmt_journal_entry *b, uint32_t sectors)
{
	return b->seq > a->seq && b->seq - a->seq - 1 > sectors / journal->geo.block_sectors;
}

static void tell_jump(const struct bcfmt_journal_entry *a, const struct bcfmt_journal_entry *b,
		      struct bcfmt_journal_histories *out)
{
	out->is_found = true;
	out->newer_seq = a->seq;
	snprintf(out->evidence, sizeof(out->evidence),
		 "entry %llu in ring bucket %u is followed by %llu in ring bucket %u",
		 (unsigned long long)a->seq, a->ring_index, (unsigned long long)b->seq,
		 b->ring_index);
}

/*
 * Within a bucket numbers rise one by one, then fall to an older lap; the next bucket goes on
 * after the rise, wherever a restart left room. A rise that is too steep is another history.
 */
static bcfmt_err find_jump(const struct bcfmt_journal *journal, size_t first,
			   struct bcfmt_journal_histories *out)
{
	const struct bcfmt_journal_entry *entries = journal->entries;
	const struct bcfmt_journal_entry *rise = NULL; /* last of the rise from a bucket's start */
	bool is_rising = false;
	size_t n = journal->n_entries - first;
	size_t *by_place = calloc(n, sizeof(*by_place));

	if (!by_place)
		return BCFMT_E_NOMEM;
	n = 0;
	for (size_t i = first; i < journal->n_entries; i++)
		if (!entries[i].is_misnumbered)
			by_place[n++] = i;
	qsort_r(by_place, n, sizeof(*by_place), journal_place_cmp, journal->entries);
	for (size_t i = 0; i < n && !out->is_found; i++) {
		const struct bcfmt_journal_entry *entry = &entries[by_place[i]];
		const struct bcfmt_journal_entry *before = i ? &entries[by_place[i - 1]] : NULL;

		if (before && before->ring_index == entry->ring_index) {
			if (is_jump(journal, before, entry,
				    entry->sector - end_sector(journal, before)))
				tell_jump(before, entry, out);
			is_rising = is_rising && entry->seq > before->seq;
		} else {
			if (rise && rise->ring_index + 1u == entry->ring_index && !entry->sector &&
			    is_jump(journal, rise, entry,
				    journal->geo.bucket_sectors - end_sector(journal, rise)))
				tell_jump(rise, entry, out);
			is_rising = true;
		}
		if (is_rising)
			rise = entry;
	}
	free(by_place);
	return BCFMT_OK;
}

static void find_by_prios(const struct bcfmt_journal *journal, size_t newest, uint8_t *raw,
			  struct bcfmt_journal_histories *out)
{
	struct run run = run_down_from(journal, newest);
	uint64_t prio_seq;

	if (!prio_seq_at(journal, journal->entries[newest].prio_bucket, raw, &prio_seq) ||
	    prio_seq >= run.prio_writes)
		return;
	out->is_found = true;
	out->prio_seq_found = prio_seq;
	out->prio_seq_least = run.prio_writes;
	snprintf(out->evidence, sizeof(out->evidence),
		 "the prio set of entry %llu is number %llu, %llu were written before it",
		 (unsigned long long)journal->entries[newest].seq, (unsigned long long)prio_seq,
		 (unsigned long long)run.prio_writes);
	out->newer_seq = newer_history_end(journal, run, raw);
	/* The newer one may lie below a hole in the numbers: then it begins with entry 1. */
	if (!out->newer_seq && journal->entries[run.begin].seq != 1) {
		struct run low = { 0, 1, 1 };

		while (low.end < run.begin &&
		       journal->entries[low.end].seq <= journal->entries[low.end - 1].seq + 1)
			low.end++;
		out->newer_seq = newer_history_end(journal, low, raw);
	}
	out->is_proved = out->newer_seq != 0;
}

bcfmt_err bcfmt_journal_histories(struct bcfmt_ctx *ctx, const struct bcfmt_journal *journal,
				  struct bcfmt_journal_histories *out)
{
	size_t newest, first;
	uint8_t *raw;
	bcfmt_err err = BCFMT_OK;

	memset(out, 0, sizeof(*out));
	if (!journal->has_entries)
		return BCFMT_OK;
	newest = journal->n_kernel ? journal->kernel_list[journal->n_kernel - 1] : journal->newest;
	out->older_seq = journal->entries[newest].seq;
	raw = malloc(journal->geo.meta_bytes);
	if (!raw)
		return bcfmt_fail(ctx, BCFMT_E_NOMEM, "no memory for a prio set");
	find_by_prios(journal, newest, raw, out);
	free(raw);
	first = first_living(journal);
	if (!out->is_found && !find_twins(journal, first, out))
		err = find_jump(journal, first, out);
	return err;
}
