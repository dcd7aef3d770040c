/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Entries that no kernel takes although they are known. Entries are written one behind the other,
 * and each takes the number after that of the one before; only where the rest of a bucket is too
 * small, or after a start, writing goes on at the begin of the next bucket. So what lies between
 * entries m - 1 and m + 1 is entry m, and nothing else can be, but what an older lap left when m
 * never arrived. kernel: journal_write_unlocked(), journal_reclaim(), bch_journal_next().
 *
 * Then a wrong bit is found by the checksum. Under a right checksum a wrong number or magic is told
 * from an entry of another lap or set by last_seq: it never falls from entry to entry, and a bucket
 * is written anew only when all its entries are below it.
 */
#include <stdlib.h>
#include <string.h>

#include "base/checked.h"
#include "base/vec.h"
#include "codec/jset_mend.h"
#include "read/read.h"

/* So many places are looked at, the newest first: each can cost 2^18 steps. */
#define TRIES_MAX 64u

struct mender {
	struct bcfmt_journal *journal;
	uint8_t *buf; /* of a largest entry */
	size_t buf_bytes;
	unsigned int tries;
	struct vec mended; /* struct bcfmt_journal_mended, the newest first */
};

/* Where entry m may lie: from start_sector on in a bucket, up to end_sector. */
struct gap {
	const struct bcfmt_journal_entry *before; /* m - 1 */
	const struct bcfmt_journal_entry *after;  /* m + 1 */
	uint32_t ring_index;
	uint32_t start_sector;
	uint32_t end_sector;
	bool is_filled; /* it ends where the gap ends */
};

static uint32_t end_of(const struct bcfmt_journal *journal, const struct bcfmt_journal_entry *entry)
{
	return entry->sector + entry->blocks * journal->geo.block_sectors;
}

static bool is_between(const struct gap *gap, uint64_t last_seq)
{
	return last_seq >= gap->before->last_seq && last_seq <= gap->after->last_seq;
}

static bcfmt_err push(struct mender *mender, const struct bcfmt_journal_entry *entry,
		      const struct bcfmt_journal_mend *mend)
{
	struct bcfmt_journal_mended *slot = vec_push(&mender->mended, sizeof(*slot));

	if (!slot)
		return BCFMT_E_NOMEM;
	*slot = (struct bcfmt_journal_mended){ *entry, *mend };
	return BCFMT_OK;
}

/* Takes the mended bytes in the buffer when they are the entry; *is_found tells. */
static bcfmt_err take(struct mender *mender, const struct gap *gap, size_t len_bytes,
		      const struct bcfmt_journal_mend *mend, bool *is_found)
{
	struct bcfmt_journal *journal = mender->journal;
	uint64_t seq = gap->before->seq + 1;
	struct bcfmt_journal_entry entry;
	struct bcfmt_jset jset;

	jset_mend_apply(&journal->geo, mender->buf, len_bytes, seq, mend);
	*is_found =
		bcfmt_jset_decode(&journal->geo, mender->buf, len_bytes, &jset) == BCFMT_JSET_OK &&
		jset.seq == seq && is_between(gap, jset.last_seq);
	if (!*is_found)
		return BCFMT_OK;
	entry = (struct bcfmt_journal_entry){
		.seq = seq,
		.last_seq = jset.last_seq,
		.csum = jset.csum,
		.prio_bucket = jset.prio_bucket[journal->geo.nr_this_dev],
		.root_ptr = jset.btree_root.ptr,
		.uuid_ptr = jset.uuid_bucket.ptr,
		.keys_words = jset.keys_field,
		.sector = gap->start_sector,
		.blocks = jset.blocks,
		.ring_index = (uint16_t)gap->ring_index,
		.level = (uint8_t)jset.btree_level,
	};
	return push(mender, &entry, mend);
}

/* A valid entry that fills the gap and says another number. */
static bcfmt_err mend_number(struct mender *mender, const struct gap *gap, bool *is_found)
{
	static const struct bcfmt_journal_mend mend = { .kind = BCFMT_MEND_SEQ };
	struct bcfmt_journal *journal = mender->journal;
	uint8_t *buf = mender->buf;
	size_t buf_bytes = mender->buf_bytes, len_bytes;
	struct bcfmt_jset jset;
	bcfmt_err err;

	for (size_t i = 0; i < journal->n_entries; i++) {
		struct bcfmt_journal_entry *entry = &journal->entries[i];

		if (entry->ring_index != gap->ring_index || entry->sector != gap->start_sector ||
		    end_of(journal, entry) != gap->end_sector || !is_between(gap, entry->last_seq))
			continue;
		len_bytes = (size_t)entry->blocks * bcfmt_block_bytes(&journal->geo);
		if (len_bytes > buf_bytes)
			continue;
		err = bcfmt_journal_entry_load(journal, i, &buf, &buf_bytes, &jset);
		if (err)
			return err == BCFMT_E_DAMAGED ? BCFMT_OK : err;
		err = take(mender, gap, len_bytes, &mend, is_found);
		entry->is_misnumbered = *is_found;
		return err;
	}
	return BCFMT_OK;
}

static bcfmt_err mend_gap(struct mender *mender, const struct gap *gap, bool *is_found)
{
	const struct bcfmt_geometry *geo = &mender->journal->geo;
	uint64_t sector = bcfmt_bucket_sector(geo, (uint64_t)geo->first_bucket + gap->ring_index) +
			  gap->start_sector;
	uint64_t len_bytes =
		min_u64(mender->buf_bytes,
			(uint64_t)(gap->end_sector - gap->start_sector) * BCFMT_SECTOR_BYTES);
	uint32_t blocks = 0;
	struct bcfmt_bad_read bad = { 0, 0 };
	struct bcfmt_journal_mend mend;
	bcfmt_err err = BCFMT_OK;

	*is_found = false;
	if (gap->start_sector >= gap->end_sector || mender->tries >= TRIES_MAX)
		return BCFMT_OK;
	mender->tries++;
	if (gap->is_filled) {
		blocks = (gap->end_sector - gap->start_sector) / geo->block_sectors;
		err = mend_number(mender, gap, is_found);
	}
	if (err || *is_found)
		return err;
	err = bcfmt_dev_read_salvage(mender->journal->dev, sector * BCFMT_SECTOR_BYTES, mender->buf,
				     (size_t)len_bytes, &bad);
	if (err || bad.sectors)
		return err;
	if (jset_mend_find_bit(geo, mender->buf, (size_t)len_bytes, gap->before->seq + 1, blocks,
			       &mend) ||
	    jset_mend_find_magic(geo, mender->buf, (size_t)len_bytes, gap->before->seq + 1, blocks,
				 &mend))
		err = take(mender, gap, (size_t)len_bytes, &mend, is_found);
	return err;
}

/* All places between the two entries. */
static bcfmt_err mend_between(struct mender *mender, const struct bcfmt_journal_entry *before,
			      const struct bcfmt_journal_entry *after, bool *is_found)
{
	const struct bcfmt_journal *journal = mender->journal;
	struct gap gap = { before,	  after, before->ring_index, end_of(journal, before),
			   after->sector, true };
	bcfmt_err err;

	*is_found = false;
	if (before->ring_index == after->ring_index)
		return mend_gap(mender, &gap, is_found);
	if (after->ring_index != (before->ring_index + 1u) % journal->geo.journal_buckets)
		return BCFMT_OK;
	gap.ring_index = after->ring_index;
	gap.start_sector = 0;
	err = mend_gap(mender, &gap, is_found);
	if (err || *is_found || after->sector)
		return err;
	gap.ring_index = before->ring_index;
	gap.start_sector = end_of(journal, before);
	gap.end_sector = journal->geo.bucket_sectors;
	gap.is_filled = false;
	return mend_gap(mender, &gap, is_found);
}

static int mended_cmp(const void *a, const void *b)
{
	const struct bcfmt_journal_mended *x = a, *y = b;

	return x->entry.seq < y->entry.seq ? -1 : x->entry.seq > y->entry.seq;
}

bcfmt_err journal_find_mended(struct bcfmt_ctx *ctx, struct bcfmt_journal *journal)
{
	const struct bcfmt_journal_entry *entries = journal->entries;
	struct mender mender = { .journal = journal };
	bcfmt_err err = BCFMT_OK;

	mender.buf_bytes = (size_t)BCFMT_JSET_MAX_PAGES * journal->geo.page_bytes;
	mender.buf = malloc(mender.buf_bytes);
	if (!mender.buf)
		return bcfmt_fail(ctx, BCFMT_E_NOMEM, "no memory for a journal entry");
	for (size_t i = journal->n_entries; !err && i-- > 1 && mender.tries < TRIES_MAX;) {
		bool is_found = false;

		/* Where two entries have one number, one of them may be the entry that is missing. */
		for (size_t k = i; !err && !is_found && k-- > 0 && i - k <= 4 &&
				   entries[k].seq + 2 >= entries[i].seq;)
			if (entries[k].seq + 2 == entries[i].seq &&
			    bcfmt_journal_find(journal, entries[k].seq + 1, &(size_t){ 0 }) &&
			    (!mender.mended.n || VEC_AT(&mender.mended, struct bcfmt_journal_mended,
							mender.mended.n - 1)
								 ->entry.seq != entries[k].seq + 1))
				err = mend_between(&mender, &entries[k], &entries[i], &is_found);
	}
	free(mender.buf);
	if (err) {
		vec_free(&mender.mended);
		return err;
	}
	if (mender.mended.n > 1)
		qsort(mender.mended.items, mender.mended.n, sizeof(struct bcfmt_journal_mended),
		      mended_cmp);
	journal->mended = mender.mended.items;
	journal->n_mended = mender.mended.n;
	return BCFMT_OK;
}
