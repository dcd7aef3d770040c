/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Whether the set of a cache lies where a superblock says. */
#include "set/super_geometry.h"

#include <stdio.h>
#include <stdlib.h>

#include <bcfmt/journal.h>
#include <bcfmt/prio.h>

#include "base/bytes.h"
#include "base/checked.h"
#include "ondisk/prio_set.h"
#include "read/read.h"
#include "read/scan.h"

#define PAGE_BYTES_MIN 4096u
#define PAGE_BYTES_MAX 65536u

unsigned int layout_quality(const struct layout *layout)
{
	return 8u * layout->has_root + 4u * layout->has_chain + 2u * layout->has_pointers +
	       1u * !layout->missing_entries;
}

/* Whether the chain of the newest entry has as many links as so many buckets need. */
static bcfmt_err verify_chain(struct bcfmt_ctx *ctx, struct bcfmt_dev *dev,
			      const struct bcfmt_geometry *geo, uint64_t head,
			      struct layout *layout, bool *is_longer)
{
	uint8_t *buf = malloc(scan_prio_bytes_max(geo));
	struct bcfmt_prio_set prio = { .next_bucket = head };
	uint64_t seq = 0, links = 1;
	bcfmt_err err = BCFMT_OK;

	layout->prio_links = 0;
	*is_longer = false;
	if (!buf)
		return bcfmt_fail(ctx, BCFMT_E_NOMEM, "no memory for a prio set");
	/* One more than there should be is looked at: it belongs to the chain before. */
	for (uint64_t i = 0; !err && i <= links; i++) {
		uint32_t meta_bytes;

		if (bcfmt_ctx_is_cancelled(ctx))
			err = BCFMT_E_CANCELLED;
		if (!err)
			err = scan_prio_read(dev, geo, prio.next_bucket, buf, &prio, &meta_bytes);
		if (err || !meta_bytes)
			break;
		if (!i) {
			uint64_t per = (meta_bytes - BCFMT_PRIO_HEADER_BYTES) /
				       sizeof(struct prio_entry_disk);

			seq = prio.seq;
			links = div_round_up(geo->nbuckets, per);
			/* Kernels zero the buffer, and only a longer chain leaves rests in it. */
			*is_longer = links == 1 &&
				     !bytes_are_zero(buf + BCFMT_PRIO_HEADER_BYTES +
							     geo->nbuckets *
								     sizeof(struct prio_entry_disk),
						     (size_t)((per - geo->nbuckets) *
							      sizeof(struct prio_entry_disk)));
		} else if (prio.seq != seq) {
			break;
		}
		if (i == links)
			*is_longer = true;
		else
			layout->prio_links++;
	}
	layout->has_chain = layout->prio_links == links && !*is_longer;
	free(buf);
	return err;
}

static bcfmt_err verify_root(struct bcfmt_dev *dev, const struct bcfmt_geometry *geo,
			     const struct bcfmt_key *root, struct layout *layout)
{
	struct node_reader reader = { 0 };
	bcfmt_err err;

	if (!bcfmt_key_has_data(root) || !bcfmt_key_sectors(root))
		return BCFMT_OK;
	err = node_read(&reader, dev, geo, root->ptr, bcfmt_key_sectors(root));
	if (!err)
		layout->has_root = reader.node.n_bsets && !reader.node.bsets[0].fault;
	node_reader_clear(&reader);
	return err;
}

static bool is_in_ring(const struct bcfmt_geometry *geo, const struct bcfmt_key *key)
{
	return bcfmt_key_has_data(key) &&
	       bcfmt_bucket_is_journal(geo, bcfmt_ptr_bucket(geo, key->ptr));
}

static bcfmt_err verify_newest(struct bcfmt_ctx *ctx, struct bcfmt_dev *dev,
			       const struct bcfmt_journal *journal, struct layout *layout,
			       char why[LAYOUT_TEXT_BYTES])
{
	const struct bcfmt_geometry *geo = &journal->geo;
	struct bcfmt_jset newest;
	size_t buf_bytes = 0, index;
	uint8_t *buf = NULL;
	bool is_longer = false;
	bcfmt_err err =
		bcfmt_journal_entry_load(journal, journal->newest, &buf, &buf_bytes, &newest);

	newest.keys = NULL;
	free(buf);
	if (err)
		return err == BCFMT_E_DAMAGED ? BCFMT_END : err;
	layout->newest_seq = newest.seq;
	layout->first_seq = journal->entries[0].seq;
	layout->n_entries = journal->n_entries;
	/* Each entry that is there is one that is not missing: the loop is bounded by them. */
	if (newest.last_seq <= newest.seq) {
		uint64_t present = 0, last = UINT64_MAX;

		for (index = 0; index < journal->n_entries; index++) {
			uint64_t seq = journal->entries[index].seq;

			if (seq < newest.last_seq || seq > newest.seq || seq == last)
				continue;
			present++;
			layout->stray_entries += !journal->entries[index].is_in_sequence;
			last = seq;
		}
		layout->missing_entries = newest.seq - newest.last_seq + 1 - present;
	}
	if (is_in_ring(geo, &newest.btree_root) || is_in_ring(geo, &newest.uuid_bucket) ||
	    bcfmt_bucket_is_journal(geo, newest.prio_bucket[geo->nr_this_dev])) {
		snprintf(why, LAYOUT_TEXT_BYTES,
			 "with %llu buckets the journal would reach over what entry %llu names",
			 (unsigned long long)geo->nbuckets, (unsigned long long)newest.seq);
		return BCFMT_END;
	}
	err = verify_root(dev, geo, &newest.btree_root, layout);
	if (!err)
		err = verify_chain(ctx, dev, geo, newest.prio_bucket[geo->nr_this_dev], layout,
				   &is_longer);
	if (!err && is_longer) {
		snprintf(why, LAYOUT_TEXT_BYTES,
			 "the prio sets are of more than %llu buckets: the device was larger",
			 (unsigned long long)geo->nbuckets);
		return BCFMT_END;
	}
	return err;
}

bcfmt_err layout_verify(struct bcfmt_ctx *ctx, struct bcfmt_dev *dev,
			const struct bcfmt_super *super, struct layout *layout,
			char why[LAYOUT_TEXT_BYTES])
{
	struct bcfmt_journal journal = { 0 };
	struct bcfmt_geometry geo;
	bcfmt_err err;

	layout->n_entries = 0;
	layout->has_root = layout->has_chain = false;
	layout->missing_entries = layout->stray_entries = layout->prio_links = 0;
	if (bcfmt_geometry_init(super, bcfmt_dev_bytes(dev), PAGE_BYTES_MIN, &geo)) {
		snprintf(why, LAYOUT_TEXT_BYTES, "the counts do not fit the device");
		return BCFMT_END;
	}
	/* A larger page lets longer entries pass, and hides none. */
	geo.page_bytes = PAGE_BYTES_MAX;
	err = bcfmt_journal_read(ctx, dev, &geo, &journal);
	if (!err && !journal.has_entries) {
		snprintf(why, LAYOUT_TEXT_BYTES, "no journal entry of the set is in its ring");
		err = BCFMT_END;
	}
	if (!err)
		err = verify_newest(ctx, dev, &journal, layout, why);
	bcfmt_journal_clear(&journal);
	return err;
}
