/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The kernel's search for the journal, simulated on the entries of a full scan: a hash probe over
 * the ring, a linear fall-back, a binary search for the newest bucket, then backwards until a
 * bucket gives nothing. kernel: bch_journal_read(), journal_read_bucket().
 */
#include <bcfmt/journal.h>

#include <stdlib.h>
#include <string.h>

#include "read/read.h"

/* Knuth's multiplicative hash as the kernel's probe uses it. */
#define GOLDEN_RATIO_32 2654435769u

struct search {
	struct bcfmt_journal *journal;
	size_t *by_place;     /* in-sequence entries by (ring_index, sector) */
	size_t n_by_place;
	size_t *ring_begin;   /* of each ring bucket in by_place, one more than buckets */
	uint64_t *bucket_seq; /* highest inserted per ring bucket */
	bool *is_read;
	bool *is_listed;      /* per entry: on the kernel's list */
	size_t lowest;        /* no entry below this index is listed */
	uint64_t newest_seq;  /* of the list, 0 when empty */
	uint64_t max_last_seq;
	bool has_any;
};

static int place_cmp(const void *a, const void *b, void *arg)
{
	const struct bcfmt_journal_entry *entries = arg;
	const struct bcfmt_journal_entry *x = &entries[*(const size_t *)a];
	const struct bcfmt_journal_entry *y = &entries[*(const size_t *)b];

	if (x->ring_index != y->ring_index)
		return x->ring_index < y->ring_index ? -1 : 1;
	return x->sector < y->sector ? -1 : x->sector > y->sector;
}

/* Another entry of the same seq is on the list. */
static bool has_twin(const struct search *search, size_t index)
{
	const struct bcfmt_journal *journal = search->journal;
	uint64_t seq = journal->entries[index].seq;

	for (size_t i = index; i-- > 0 && journal->entries[i].seq == seq;)
		if (search->is_listed[i])
			return true;
	for (size_t i = index + 1; i < journal->n_entries && journal->entries[i].seq == seq; i++)
		if (search->is_listed[i])
			return true;
	return false;
}

/* One entry as it is met while a bucket is read; true when it goes on the list. */
static bool list_entry(struct search *search, size_t index)
{
	const struct bcfmt_journal *journal = search->journal;
	const struct bcfmt_journal_entry *entry = &journal->entries[index];

	while (search->lowest < journal->n_entries &&
	       journal->entries[search->lowest].seq < entry->last_seq)
		search->is_listed[search->lowest++] = false;
	if (has_twin(search, index) || entry->seq < search->max_last_seq)
		return false;
	search->is_listed[index] = true;
	/* An entry older than its own last_seq is listed all the same, below the others. */
	if (index < search->lowest)
		search->lowest = index;
	if (entry->last_seq <= entry->seq && entry->last_seq > search->max_last_seq)
		search->max_last_seq = entry->last_seq;
	if (!search->has_any || entry->seq > search->newest_seq)
		search->newest_seq = entry->seq;
	search->has_any = true;
	return true;
}

/* Reads a ring bucket as the kernel does; true when it put anything on the list. */
static bool read_bucket(struct search *search, uint32_t ring_index)
{
	bool has_listed = false;

	search->is_read[ring_index] = true;
	for (size_t i = search->ring_begin[ring_index]; i < search->ring_begin[ring_index + 1];
	     i++) {
		size_t index = search->by_place[i];

		if (list_entry(search, index)) {
			uint64_t seq = search->journal->entries[index].seq;

			has_listed = true;
			if (seq > search->bucket_seq[ring_index])
				search->bucket_seq[ring_index] = seq;
		}
	}
	return has_listed;
}

/* Step 1 and 2: any bucket with entries; false when there is none. */
static bool find_any(struct search *search, uint32_t n, uint32_t *found)
{
	for (uint32_t i = 0; i < n; i++) {
		uint32_t l = (uint32_t)(i * GOLDEN_RATIO_32) % n;

		if (search->is_read[l])
			break;
		if (read_bucket(search, l)) {
			*found = l;
			return true;
		}
	}
	for (uint32_t l = 0; l < n; l++)
		if (!search->is_read[l] && read_bucket(search, l)) {
			*found = l;
			return true;
		}
	return false;
}

static void search_ring(struct search *search, uint32_t n)
{
	uint32_t left, right, mid, l;

	if (!find_any(search, n, &left))
		return;
	mid = left;
	for (right = left + 1; right < n && !search->is_read[right];)
		right++;
	while (left + 1 < right) {
		uint64_t before = search->newest_seq;

		mid = (left + right) / 2;
		read_bucket(search, mid);
		if (search->newest_seq != before)
			left = mid;
		else
			right = mid;
	}
	for (l = mid;;) {
		l = l ? l - 1 : n - 1;
		if (l == mid)
			break;
		if (!search->is_read[l] && !read_bucket(search, l))
			break;
	}
}

static bcfmt_err search_prepare(struct search *search)
{
	struct bcfmt_journal *journal = search->journal;
	uint32_t n = journal->geo.journal_buckets;
	size_t next = 0;

	search->by_place = calloc(journal->n_entries, sizeof(*search->by_place));
	search->is_listed = calloc(journal->n_entries, sizeof(*search->is_listed));
	search->ring_begin = calloc((size_t)n + 1, sizeof(*search->ring_begin));
	search->bucket_seq = calloc(n, sizeof(*search->bucket_seq));
	search->is_read = calloc(n, sizeof(*search->is_read));
	if (!search->by_place || !search->is_listed || !search->ring_begin ||
	    !search->bucket_seq || !search->is_read)
		return BCFMT_E_NOMEM;
	for (size_t i = 0; i < journal->n_entries; i++)
		if (journal->entries[i].is_in_sequence)
			search->by_place[search->n_by_place++] = i;
	qsort_r(search->by_place, search->n_by_place, sizeof(*search->by_place), place_cmp,
		journal->entries);
	for (uint32_t l = 0; l <= n; l++) {
		while (next < search->n_by_place &&
		       journal->entries[search->by_place[next]].ring_index < l)
			next++;
		search->ring_begin[l] = next;
	}
	return BCFMT_OK;
}

/* Step 5, and the list as indexes. */
static bcfmt_err search_result(struct search *search)
{
	struct bcfmt_journal *journal = search->journal;
	uint64_t highest = 0;

	for (size_t i = 0; i < journal->n_entries; i++)
		journal->n_kernel += search->is_listed[i];
	if (!journal->n_kernel)
		return BCFMT_OK;
	journal->kernel_list = calloc(journal->n_kernel, sizeof(*journal->kernel_list));
	if (!journal->kernel_list)
		return BCFMT_E_NOMEM;
	for (size_t i = 0, n = 0; i < journal->n_entries; i++)
		if (search->is_listed[i])
			journal->kernel_list[n++] = i;
	for (uint32_t l = 0; l < journal->geo.journal_buckets; l++)
		if (search->bucket_seq[l] > highest) {
			highest = search->bucket_seq[l];
			journal->kernel_ring_index = l;
		}
	return BCFMT_OK;
}

bcfmt_err journal_search_kernel(struct bcfmt_journal *journal)
{
	struct search search = { .journal = journal };
	bcfmt_err err;

	if (!journal->n_entries)
		return BCFMT_OK;
	err = search_prepare(&search);
	if (!err) {
		search_ring(&search, journal->geo.journal_buckets);
		err = search_result(&search);
	}
	free(search.by_place);
	free(search.is_listed);
	free(search.ring_begin);
	free(search.bucket_seq);
	free(search.is_read);
	return err;
}
