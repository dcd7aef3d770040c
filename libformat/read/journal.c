/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Reads the journal ring: every block of every ring bucket is looked at, so that entries which a
 * kernel no longer reaches are known too.
 */
#include <bcfmt/journal.h>

#include <stdlib.h>
#include <string.h>

#include "base/checked.h"
#include "base/vec.h"
#include "codec/jset_mend.h"
#include "dev/dev_impl.h"
#include "read/read.h"

#define CHUNK_BYTES (4u << 20)
#define ENTRIES_MAX (1u << 20)
#define STOPS_MAX 4096u

/* State while one ring bucket is scanned. */
struct scan {
	struct bcfmt_ctx *ctx;
	struct bcfmt_journal *journal;
	struct vec entries;
	struct vec stops;
	uint8_t *buf;
	size_t buf_bytes;
	uint32_t ring_index;
	bool is_in_sequence;
};

static uint64_t ring_bucket_sector(const struct bcfmt_geometry *geo, uint32_t ring_index)
{
	return bcfmt_bucket_sector(geo, (uint64_t)geo->first_bucket + ring_index);
}

static bcfmt_err add_entry(struct scan *scan, const struct bcfmt_jset *jset, uint32_t sector)
{
	struct bcfmt_journal_entry *entry;

	if (scan->entries.n >= ENTRIES_MAX) {
		scan->journal->is_capped = true;
		return BCFMT_OK;
	}
	entry = vec_push(&scan->entries, sizeof(*entry));
	if (!entry)
		return BCFMT_E_NOMEM;
	*entry = (struct bcfmt_journal_entry){
		.seq = jset->seq,
		.last_seq = jset->last_seq,
		.csum = jset->csum,
		.prio_bucket = jset->prio_bucket[scan->journal->geo.nr_this_dev],
		.root_ptr = jset->btree_root.ptr,
		.uuid_ptr = jset->uuid_bucket.ptr,
		.keys_words = jset->keys_field,
		.sector = sector,
		.blocks = jset->blocks,
		.ring_index = (uint16_t)scan->ring_index,
		.level = (uint8_t)jset->btree_level,
		.is_in_sequence = scan->is_in_sequence,
		.has_old_uuids = jset->version < 1,
	};
	return BCFMT_OK;
}

/* A kernel stops here; only the first place of a bucket is worth telling. */
static bcfmt_err add_stop(struct scan *scan, const struct bcfmt_jset *jset,
			  enum bcfmt_jset_fault fault, uint32_t sector)
{
	struct bcfmt_journal_stop *stop;

	if (!scan->is_in_sequence || scan->stops.n >= STOPS_MAX)
		return BCFMT_OK;
	stop = vec_push(&scan->stops, sizeof(*stop));
	if (!stop)
		return BCFMT_E_NOMEM;
	*stop = (struct bcfmt_journal_stop){
		.seq = jset->seq,
		.last_seq = jset->last_seq,
		.bytes = jset->bytes,
		.sector = sector,
		.ring_index = (uint16_t)scan->ring_index,
		.fault = fault,
	};
	return BCFMT_OK;
}

/* Looks at the block at raw; *blocks is how far to go on. */
static bcfmt_err scan_block(struct scan *scan, const uint8_t *raw, size_t avail_bytes,
			    uint32_t sector, uint32_t *blocks)
{
	struct bcfmt_jset jset;
	enum bcfmt_jset_fault fault =
		bcfmt_jset_decode(&scan->journal->geo, raw, avail_bytes, &jset);
	bcfmt_err err = BCFMT_OK;

	*blocks = 1;
	switch (fault) {
	case BCFMT_JSET_OK:
		err = add_entry(scan, &jset, sector);
		*blocks = jset.blocks;
		return err;
	case BCFMT_JSET_OTHER_ENDIAN:
		scan->journal->is_other_endian = true;
		break;
	case BCFMT_JSET_TOO_BIG:
	case BCFMT_JSET_CSUM:
		err = add_stop(scan, &jset, fault, sector);
		break;
	case BCFMT_JSET_MAGIC:
		break;
	}
	scan->is_in_sequence = false;
	return err;
}

/* Nothing was ever written to a hole of a sparse file, and reading it would tell nothing else. */
static bool is_hole(struct bcfmt_dev *dev, uint64_t start_bytes, uint64_t len_bytes)
{
	struct io_fault fault;
	uint64_t begin_bytes, end_bytes;
	bcfmt_err err;

	if (start_bytes + len_bytes > bcfmt_dev_bytes(dev))
		return false;
	err = dev_next_data_quiet(dev, start_bytes, &begin_bytes, &end_bytes, &fault);
	return err == BCFMT_END || (!err && begin_bytes >= start_bytes + len_bytes);
}

/*
 * Reads a ring bucket piece by piece. A piece overlaps the next by the largest entry, so that
 * every entry lies whole in the piece in which it begins.
 */
static bcfmt_err scan_bucket(struct scan *scan)
{
	const struct bcfmt_geometry *geo = &scan->journal->geo;
	uint64_t bucket_bytes = (uint64_t)geo->bucket_sectors * BCFMT_SECTOR_BYTES;
	uint64_t start_bytes = ring_bucket_sector(geo, scan->ring_index) * BCFMT_SECTOR_BYTES;
	uint64_t overlap_bytes = (uint64_t)BCFMT_JSET_MAX_PAGES * geo->page_bytes;
	uint32_t block_bytes = bcfmt_block_bytes(geo);
	uint64_t at = 0;

	scan->is_in_sequence = true;
	while (at < bucket_bytes) {
		uint64_t len = min_u64(scan->buf_bytes, bucket_bytes - at);
		bool is_last = at + len == bucket_bytes;
		uint64_t in_piece = 0;
		struct bcfmt_bad_read bad = { 0, 0 };
		bcfmt_err err = bcfmt_dev_read_salvage(scan->journal->dev, start_bytes + at,
						       scan->buf, len, &bad);

		if (err)
			return err;
		if (bad.sectors && !scan->journal->bad_read.sectors)
			scan->journal->bad_read.first_sector = bad.first_sector;
		scan->journal->bad_read.sectors += bad.sectors;
		while (in_piece + BCFMT_JSET_HEADER_BYTES <= len &&
		       (is_last || in_piece + overlap_bytes <= len)) {
			uint32_t blocks;

			err = scan_block(scan, scan->buf + in_piece, len - in_piece,
					 (uint32_t)((at + in_piece) / BCFMT_SECTOR_BYTES), &blocks);
			if (err)
				return err;
			in_piece += (uint64_t)blocks * block_bytes;
		}
		if (is_last)
			break;
		at += in_piece;
	}
	return BCFMT_OK;
}

static int entry_cmp(const void *a, const void *b)
{
	const struct bcfmt_journal_entry *x = a, *y = b;

	if (x->seq != y->seq)
		return x->seq < y->seq ? -1 : 1;
	if (x->is_in_sequence != y->is_in_sequence)
		return x->is_in_sequence ? -1 : 1;
	if (x->ring_index != y->ring_index)
		return x->ring_index < y->ring_index ? -1 : 1;
	return x->sector < y->sector ? -1 : x->sector > y->sector;
}

int journal_place_cmp(const void *a, const void *b, void *arg)
{
	const struct bcfmt_journal_entry *entries = arg;
	const struct bcfmt_journal_entry *x = &entries[*(const size_t *)a];
	const struct bcfmt_journal_entry *y = &entries[*(const size_t *)b];

	if (x->ring_index != y->ring_index)
		return x->ring_index < y->ring_index ? -1 : 1;
	return x->sector < y->sector ? -1 : x->sector > y->sector;
}

static void find_newest(struct bcfmt_journal *journal)
{
	for (size_t i = journal->n_entries; i-- > 0 && !journal->has_entries;)
		journal->has_entries =
			!bcfmt_journal_find(journal, journal->entries[i].seq, &journal->newest);
}

bcfmt_err bcfmt_journal_read(struct bcfmt_ctx *ctx, struct bcfmt_dev *dev,
			     const struct bcfmt_geometry *geo, struct bcfmt_journal *out)
{
	struct scan scan = { .ctx = ctx, .journal = out };
	uint64_t bucket_bytes = (uint64_t)geo->bucket_sectors * BCFMT_SECTOR_BYTES;
	bcfmt_err err = BCFMT_OK;

	memset(out, 0, sizeof(*out));
	out->dev = dev;
	out->geo = *geo;
	scan.buf_bytes = (size_t)min_u64(bucket_bytes, CHUNK_BYTES);
	scan.buf = malloc(scan.buf_bytes);
	if (!scan.buf)
		return bcfmt_fail(ctx, BCFMT_E_NOMEM, "no memory to read the journal");
	for (uint32_t i = 0; !err && i < geo->journal_buckets; i++) {
		bcfmt_ctx_progress(ctx, "journal", i, geo->journal_buckets);
		if (bcfmt_ctx_is_cancelled(ctx))
			err = BCFMT_E_CANCELLED;
		scan.ring_index = i;
		if (!err &&
		    !is_hole(dev, ring_bucket_sector(geo, i) * BCFMT_SECTOR_BYTES, bucket_bytes))
			err = scan_bucket(&scan);
	}
	free(scan.buf);
	out->entries = scan.entries.items;
	out->n_entries = scan.entries.n;
	out->stops = scan.stops.items;
	out->n_stops = scan.stops.n;
	if (out->n_entries > 1)
		qsort(out->entries, out->n_entries, sizeof(*out->entries), entry_cmp);
	if (!err)
		err = journal_search_kernel(out);
	if (!err)
		err = journal_find_mended(ctx, out);
	find_newest(out);
	if (err)
		bcfmt_journal_clear(out);
	return err;
}

void bcfmt_journal_clear(struct bcfmt_journal *journal)
{
	free(journal->entries);
	free(journal->mended);
	free(journal->stops);
	free(journal->kernel_list);
	memset(journal, 0, sizeof(*journal));
}

uint64_t bcfmt_journal_entry_sector(const struct bcfmt_journal *journal, size_t index)
{
	const struct bcfmt_journal_entry *entry = &journal->entries[index];

	return ring_bucket_sector(&journal->geo, entry->ring_index) + entry->sector;
}

/* The bytes of an entry into *buf, which grows. */
static bcfmt_err load_raw(const struct bcfmt_journal *journal,
			  const struct bcfmt_journal_entry *entry, uint8_t **buf, size_t *buf_bytes,
			  size_t *len_bytes)
{
	uint64_t sector = ring_bucket_sector(&journal->geo, entry->ring_index) + entry->sector;
	struct bcfmt_bad_read bad = { 0, 0 };

	*len_bytes = (size_t)entry->blocks * bcfmt_block_bytes(&journal->geo);
	if (*buf_bytes < *len_bytes) {
		uint8_t *grown = realloc(*buf, *len_bytes);

		if (!grown)
			return BCFMT_E_NOMEM;
		*buf = grown;
		*buf_bytes = *len_bytes;
	}
	return bcfmt_dev_read_salvage(journal->dev, sector * BCFMT_SECTOR_BYTES, *buf, *len_bytes,
				      &bad);
}

bcfmt_err bcfmt_journal_entry_load(const struct bcfmt_journal *journal, size_t index, uint8_t **buf,
				   size_t *buf_bytes, struct bcfmt_jset *out)
{
	const struct bcfmt_journal_entry *entry = &journal->entries[index];
	size_t len_bytes;
	bcfmt_err err = load_raw(journal, entry, buf, buf_bytes, &len_bytes);

	if (err)
		return err;
	if (bcfmt_jset_decode(&journal->geo, *buf, len_bytes, out) || out->csum != entry->csum)
		return BCFMT_E_DAMAGED;
	return BCFMT_OK;
}

const struct bcfmt_journal_mended *bcfmt_journal_mended_at(const struct bcfmt_journal *journal,
							   uint64_t seq)
{
	for (size_t i = 0; i < journal->n_mended; i++)
		if (journal->mended[i].entry.seq == seq)
			return &journal->mended[i];
	return NULL;
}

bcfmt_err bcfmt_journal_mended_load(const struct bcfmt_journal *journal, uint64_t seq,
				    uint8_t **buf, size_t *buf_bytes, struct bcfmt_jset *out)
{
	const struct bcfmt_journal_mended *mended = bcfmt_journal_mended_at(journal, seq);
	size_t len_bytes;
	bcfmt_err err;

	if (!mended)
		return BCFMT_END;
	err = load_raw(journal, &mended->entry, buf, buf_bytes, &len_bytes);
	if (err)
		return err;
	jset_mend_apply(&journal->geo, *buf, len_bytes, seq, &mended->mend);
	if (bcfmt_jset_decode(&journal->geo, *buf, len_bytes, out) ||
	    out->csum != mended->entry.csum)
		return BCFMT_E_DAMAGED;
	return BCFMT_OK;
}

bcfmt_err bcfmt_journal_find(const struct bcfmt_journal *journal, uint64_t seq, size_t *index)
{
	size_t low = 0, high = journal->n_entries;

	while (low < high) {
		size_t mid = low + (high - low) / 2;

		if (journal->entries[mid].seq < seq)
			low = mid + 1;
		else
			high = mid;
	}
	while (low < journal->n_entries && journal->entries[low].seq == seq &&
	       journal->entries[low].is_misnumbered)
		low++;
	if (low == journal->n_entries || journal->entries[low].seq != seq)
		return BCFMT_END;
	*index = low;
	return BCFMT_OK;
}
