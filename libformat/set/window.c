/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Which entries have to be replayed, at what level the root is, and whether the ring holds all that
 * there ever were. The newest entry says where replay begins with its last_seq; where that cannot
 * be, the entries before it say from where on at the latest. A kernel takes last_seq from the front
 * of a queue that is only ever shortened there, so the number never falls from one entry to the
 * next, and an entry that is written holds no smaller one than the entry before. To be safe from a
 * damaged number two entries must agree on one. Had the newest entry not been written, a kernel
 * would replay from there, so that to do so is right whatever the true number is. kernel:
 * journal_reclaim(), journal_write_unlocked(), last_seq().
 */
#include "base/checked.h"
#include "set/set_impl.h"

/* The highest number that two of the entries of the run before the newest have reached; 0: none. */
static uint64_t agreed_last_seq(const struct bcfmt_journal *journal, size_t begin, size_t newest)
{
	uint64_t highest = 0, agreed = 0;

	for (size_t i = begin; i < newest; i++) {
		const struct bcfmt_journal_entry *entry = &journal->entries[i];

		if (entry->last_seq > entry->seq || entry->is_misnumbered ||
		    entry->seq == journal->entries[newest].seq ||
		    (i > begin && journal->entries[i - 1].seq == entry->seq))
			continue;
		agreed = max_u64(agreed, min_u64(entry->last_seq, highest));
		highest = max_u64(highest, entry->last_seq);
	}
	return agreed;
}

/*
 * The level of the root is written beside its pointer, which is a new one whenever the tree grows:
 * two entries with the very same pointer have the same level. kernel: bch_btree_set_root(),
 * bch_journal_meta().
 */
void set_mend_level(struct bcfmt_set *set)
{
	const struct bcfmt_journal *journal = &set->journal;
	struct bcfmt_jset *newest = &set->newest;
	unsigned int n = 0;
	uint8_t level = 0;

	for (size_t i = 0; i < set->newest_index && !set->histories.is_found; i++) {
		const struct bcfmt_journal_entry *entry = &journal->entries[i];

		if (entry->root_ptr != newest->btree_root.ptr || entry->seq >= newest->seq)
			continue;
		if (n && entry->level != level)
			return;
		level = entry->level;
		n++;
	}
	if (n < 2 || newest->btree_level == level)
		return;
	set->is_level_mended = true;
	set->said_level = newest->btree_level;
	newest->btree_level = level;
}

void set_find_window(struct bcfmt_set *set)
{
	const struct bcfmt_jset *newest = &set->newest;
	size_t begin = replay_history_begin(set);
	uint64_t agreed = agreed_last_seq(&set->journal, begin, set->newest_index);

	set->window_seq = newest->last_seq;
	if (set->histories.is_found)
		return;
	if (newest->last_seq > newest->seq)
		set->window_seq = agreed ? agreed : newest->last_seq;
	else
		set->window_seq = max_u64(agreed, newest->last_seq);
	/* A kernel gives the first entry number 1. kernel: run_cache_set(), bch_journal_next(). */
	if (!set->window_seq && set->journal.entries[begin].seq == 1)
		set->window_seq = 1;
}

uint64_t set_flushed_before(const struct bcfmt_set *set, uint64_t seq)
{
	size_t index;

	return bcfmt_journal_find(&set->journal, seq - 1, &index)
		       ? 0
		       : set->journal.entries[index].last_seq;
}

/*
 * The gens of a prio set are taken after the set before it was named by an entry, and the places of
 * that entry's keys were handed out before. (Only a gen that a bucket got at a start or by the
 * freeing of a node, all of whose keys were dropped before the next start, can be lost between.)
 * kernel: bch_prio_write(), journal_write_unlocked(), bch_initial_mark_key().
 */
uint64_t set_gens_written_until(const struct bcfmt_set *set)
{
	const struct bcfmt_journal_entry *entries = set->journal.entries;
	size_t begin = replay_history_begin(set), i = set->newest_index;

	if (!set->has_all_prios || set->histories.is_found)
		return 0;
	while (i > begin && entries[i - 1].prio_bucket == entries[set->newest_index].prio_bucket)
		i--;
	if (i == begin)
		return 0;
	for (i--; i > begin && entries[i - 1].prio_bucket == entries[i].prio_bucket;)
		i--;
	return i == begin ? 0 : entries[i].seq;
}

/*
 * A prio write is followed by an entry of its own that names the new sets, and their number rises
 * by one with each from 1 on, over restarts too. So when the entries from number 1 on name as many
 * different ones in turn as the newest counts, nothing was written to the set before entry 1, by no
 * kernel and no tool. kernel: bch_prio_write(), run_cache_set().
 */
bool set_has_whole_life(const struct bcfmt_set *set)
{
	const struct bcfmt_journal_entry *entries = set->journal.entries;
	size_t begin = replay_history_begin(set);
	uint64_t writes = 1;

	if (!set->has_all_prios || set->histories.is_found || set->cache.faults || entries[begin].seq != 1)
		return false;
	for (size_t i = begin + 1; i <= set->newest_index; i++)
		writes += entries[i].prio_bucket != entries[i - 1].prio_bucket;
	return set->prio_links[0].seq == writes;
}

uint64_t bcfmt_set_after_gap(const struct bcfmt_set *set)
{
	const struct bcfmt_journal *journal = &set->journal;
	uint64_t expected = set->window_seq, gap_end = 0;

	if (!set->has_newest)
		return 0;
	/* A window that begins behind the newest entry cannot be: where it began is not known. */
	if (expected > set->newest.seq)
		gap_end = set->newest.seq;
	for (size_t i = 0; i < journal->n_entries; i++) {
		uint64_t seq = journal->entries[i].seq;

		if (seq < expected || journal->entries[i].is_misnumbered)
			continue;
		if (seq > set->newest.seq)
			break;
		if (seq > expected &&
		    (seq > expected + 1 || !bcfmt_journal_mended_at(journal, expected)))
			gap_end = seq;
		expected = seq + 1;
	}
	/* Of two histories, what is behind a gap need not be the newer. */
	return gap_end && set->histories.is_found ? set->newest.seq + 1 : gap_end;
}
