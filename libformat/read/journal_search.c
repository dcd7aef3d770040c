/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The kernel's search for the journal, simulated on the entries of a full scan: a hash probe over
 * the ring, a linear fall-back, a binary search for the newest bucket, then backwards until a
 * bucket gives nothing. kernel: bch_journal_read(), journal_read_bucket().
 */
#include <bcfmt/journal.h>

#include <stdlib.h>
#include <string.h>

#include "base/checked.h"
#include "read/read.h"

/* Knuth's multiplicative hash as the kernel's probe uses it. */
#define GOLDEN_RATIO_32 2654435769u

#define NONE SIZE_MAX

/*
 * The kernel's list is sorted by seq, as the entries are: it is a set of indexes into them. A
 * binary tree over the entries keeps what it asks about in few steps, because a made-up ring can
 * put a million entries on it and take them off again.
 */
struct search {
	struct bcfmt_journal *journal;
	size_t *by_place;     /* in-sequence entries by (ring_index, sector) */
	size_t n_by_place;
	size_t *ring_begin;   /* of each ring bucket in by_place, one more than buckets */
	uint64_t *bucket_seq; /* highest inserted per ring bucket */
	bool *is_read;
	size_t leaves;        /* power of 2; entry i is node leaves + i, the root is node 1 */
	bool *has_listed;     /* per node: an entry below is on the list */
	uint64_t *last_seq;   /* per node: the highest last_seq of those */
};

static void set_listed(struct search *search, size_t index, bool is_listed)
{
	size_t node = search->leaves + index;

	search->has_listed[node] = is_listed;
	search->last_seq[node] = is_listed ? search->journal->entries[index].last_seq : 0;
	for (node /= 2; node; node /= 2) {
		search->has_listed[node] = search->has_listed[2 * node] ||
					   search->has_listed[2 * node + 1];
		search->last_seq[node] = max_u64(search->last_seq[2 * node],
						 search->last_seq[2 * node + 1]);
	}
}

/* First or last entry below a node that has any. */
static size_t listed_below(const struct search *search, size_t node, size_t side)
{
	while (node < search->leaves)
		node = 2 * node + (search->has_listed[2 * node + side] ? side : !side);
	return node - search->leaves;
}

static size_t first_listed(const struct search *search)
{
	return search->has_listed[1] ? listed_below(search, 1, 0) : NONE;
}

static size_t listed_before(const struct search *search, size_t index)
{
	for (size_t node = search->leaves + index; node > 1; node /= 2)
		if (node & 1 && search->has_listed[node - 1])
			return listed_below(search, node - 1, 1);
	return NONE;
}

static size_t listed_after(const struct search *search, size_t index)
{
	for (size_t node = search->leaves + index; node > 1; node /= 2)
		if (!(node & 1) && search->has_listed[node + 1])
			return listed_below(search, node + 1, 0);
	return NONE;
}

static uint64_t newest_seq(const struct search *search)
{
	if (!search->has_listed[1])
		return 0;
	return search->journal->entries[listed_below(search, 1, 1)].seq;
}

/*
 * Going down the list from the newest, the kernel skips an entry when it meets its number, or one
 * that no longer needs it; it stops behind the first older one, which it has looked at too.
 */
static bool is_skipped(const struct search *search, size_t index)
{
	const struct bcfmt_journal_entry *entries = search->journal->entries;
	size_t before = listed_before(search, index), after = listed_after(search, index);
	uint64_t seq = entries[index].seq;

	for (size_t node = search->leaves + index; node > 1; node /= 2)
		if (!(node & 1) && search->last_seq[node + 1] > seq)
			return true;
	if (after != NONE && entries[after].seq == seq)
		return true;
	return before != NONE && (entries[before].seq == seq || entries[before].last_seq > seq);
}

/* One entry as it is met while a bucket is read; true when it goes on the list. */
static bool list_entry(struct search *search, size_t index)
{
	const struct bcfmt_journal_entry *entries = search->journal->entries;
	size_t first;

	while ((first = first_listed(search)) != NONE &&
	       entries[first].seq < entries[index].last_seq)
		set_listed(search, first, false);
	if (is_skipped(search, index))
		return false;
	set_listed(search, index, true);
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
		uint64_t before = newest_seq(search);

		mid = (left + right) / 2;
		read_bucket(search, mid);
		if (newest_seq(search) != before)
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

	for (search->leaves = 1; search->leaves < journal->n_entries;)
		search->leaves *= 2;
	search->by_place = calloc(journal->n_entries, sizeof(*search->by_place));
	search->has_listed = calloc(2 * search->leaves, sizeof(*search->has_listed));
	search->last_seq = calloc(2 * search->leaves, sizeof(*search->last_seq));
	search->ring_begin = calloc((size_t)n + 1, sizeof(*search->ring_begin));
	search->bucket_seq = calloc(n, sizeof(*search->bucket_seq));
	search->is_read = calloc(n, sizeof(*search->is_read));
	if (!search->by_place || !search->has_listed || !search->last_seq || !search->ring_begin ||
	    !search->bucket_seq || !search->is_read)
		return BCFMT_E_NOMEM;
	for (size_t i = 0; i < journal->n_entries; i++)
		if (journal->entries[i].is_in_sequence)
			search->by_place[search->n_by_place++] = i;
	qsort_r(search->by_place, search->n_by_place, sizeof(*search->by_place), journal_place_cmp,
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
		journal->n_kernel += search->has_listed[search->leaves + i];
	if (!journal->n_kernel)
		return BCFMT_OK;
	journal->kernel_list = calloc(journal->n_kernel, sizeof(*journal->kernel_list));
	if (!journal->kernel_list)
		return BCFMT_E_NOMEM;
	for (size_t i = 0, n = 0; i < journal->n_entries; i++)
		if (search->has_listed[search->leaves + i])
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
	free(search.has_listed);
	free(search.last_seq);
	free(search.ring_begin);
	free(search.bucket_seq);
	free(search.is_read);
	return err;
}
