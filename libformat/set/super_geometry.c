/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Derives sizes and counts of a cache, and proves them by what lies in the places they give. */
#include "set/super_geometry.h"

#include <stdio.h>
#include <stdlib.h>

#include <bcfmt/journal.h>

#include "base/bytes.h"
#include "base/checked.h"
#include "read/scan.h"

#define PLAIN_BUCKET_MAX 65535u /* sectors that fit the field as they are */
#define SUPER_END_SECTOR 23u	/* the last that bcache-tools keep for the superblock */
#define RING_MIN 2u
#define RING_MAX 256u

static const uint32_t page_sizes[] = { 4096, 16384, 65536 };
#define N_PAGE_SIZES (sizeof(page_sizes) / sizeof(page_sizes[0]))

/* kernel: run_cache_set(), SB_JOURNAL_BUCKETS. */
uint32_t layout_ring_buckets(uint64_t nbuckets)
{
	return (uint32_t)min_u64(max_u64(nbuckets >> 7, RING_MIN), RING_MAX);
}

uint32_t layout_first_bucket(uint32_t bucket_sectors)
{
	return SUPER_END_SECTOR / bucket_sectors + 1;
}

void layout_to_super(const struct layout *layout, struct bcfmt_super *super)
{
	bool is_large = 1ull << layout->bucket_log2 > PLAIN_BUCKET_MAX;
	bool is_log2 = super->version == 5 && super->feature_incompat & BCFMT_FEATURE_LARGE_BUCKET;

	if (is_large && super->bucket_sectors != 1u << layout->bucket_log2) {
		super->version = 5;
		super->feature_compat = super->feature_ro_compat = 0;
		super->feature_incompat = BCFMT_FEATURE_LARGE_BUCKET;
		is_log2 = true;
	}
	if (is_log2 || super->bucket_sectors != 1u << layout->bucket_log2)
		super->bucket_field =
			(uint16_t)(is_log2 ? layout->bucket_log2 : 1u << layout->bucket_log2);
	super->bucket_sectors = 1u << layout->bucket_log2;
	super->block_sectors = (uint16_t)(1u << layout->block_log2);
	super->nbuckets_or_data_offset = layout->nbuckets;
	super->first_bucket = (uint16_t)layout->first_bucket;
	super->keys = (uint16_t)layout->journal_buckets;
	for (uint32_t i = 0; i < super->keys; i++)
		super->journal_bucket[i] = (uint64_t)layout->first_bucket + i;
}

/* ---- bucket size ------------------------------------------------------------------------ */

/* What speaks for buckets of one size. */
struct bucket_case {
	uint64_t faults;
	unsigned int score;
	bool has_prio; /* a prio set verifies where its bucket number says */
	bool has_uuids;
	bool has_root;
	bool has_length; /* prio sets are as long as they would be */
};

static bool is_meta_bytes(uint32_t bucket_sectors, uint64_t bytes)
{
	for (size_t i = 0; i < N_PAGE_SIZES; i++)
		if (bcfmt_geometry_meta_bytes(bucket_sectors, page_sizes[i]) == bytes)
			return true;
	return false;
}

static bool is_node_sectors(uint32_t bucket_sectors, uint32_t sectors)
{
	for (size_t i = 0; i < N_PAGE_SIZES; i++)
		if (bcfmt_geometry_node_sectors(bucket_sectors, page_sizes[i]) == sectors)
			return true;
	return false;
}

static bool is_kept_prio(const struct sight *sight, uint64_t sector)
{
	for (size_t i = 0; i < sight->n_kept_prios; i++)
		if (sight->prios[i].sector == sector)
			return true;
	return false;
}

/* Prio sets that name each other are found where the bucket size puts them. */
static void judge_prios(const struct sight *sight, unsigned int log2, struct bucket_case *out)
{
	for (size_t i = 0; i < sight->n_kept_prios; i++) {
		const struct sight_prio *prio = &sight->prios[i];

		out->has_length = out->has_length || is_meta_bytes(1u << log2, prio->bytes);
		out->faults += !is_meta_bytes(1u << log2, prio->bytes);
		out->has_prio = out->has_prio ||
				(prio->next_bucket && prio->next_bucket << log2 != prio->sector &&
				 is_kept_prio(sight, prio->next_bucket << log2));
	}
}

static bcfmt_err judge_bucket(struct bcfmt_dev *dev, const struct sight *sight, unsigned int log2,
			      uint8_t *buf, struct bucket_case *out)
{
	struct bcfmt_geometry geo = {
		.set_magic = sight->set_magic,
		.nbuckets = bcfmt_dev_bytes(dev) / BCFMT_SECTOR_BYTES >> log2,
		.bucket_sectors = 1u << log2,
		.bucket_shift = log2,
		.meta_bytes = bcfmt_geometry_meta_bytes(1u << log2, page_sizes[0]),
	};
	bcfmt_err err = BCFMT_OK;

	*out = (struct bucket_case){ .faults = sight_bucket_faults(sight, log2) };
	judge_prios(sight, log2, out);
	if (sight->n_jsets) {
		const struct bcfmt_jset *newest = &sight->newest;
		struct bcfmt_prio_set prio;
		uint32_t meta_bytes;

		out->has_uuids = is_meta_bytes(1u << log2,
					       (uint64_t)bcfmt_key_sectors(&newest->uuid_bucket) *
						       BCFMT_SECTOR_BYTES);
		out->has_root = is_node_sectors(1u << log2, bcfmt_key_sectors(&newest->btree_root));
		err = scan_prio_read(dev, &geo, newest->prio_bucket[0], buf, &prio, &meta_bytes);
		out->has_prio = out->has_prio || meta_bytes;
	}
	out->score = 4u * out->has_prio + 2u * out->has_uuids + 2u * out->has_length +
		     1u * out->has_root;
	return err;
}

/* Negative: a is better. */
static int case_cmp(const struct bucket_case *a, const struct bucket_case *b)
{
	if (a->score != b->score)
		return a->score > b->score ? -1 : 1;
	return a->faults < b->faults ? -1 : a->faults > b->faults;
}

static void tell_bucket(const struct sight *sight, const struct bucket_case *best,
			struct layout *out)
{
	char *text = out->bucket_text;

	if (best->has_prio)
		snprintf(text, LAYOUT_TEXT_BYTES, "prio sets verify in the buckets that %s name",
			 sight->n_jsets ? "journal entries" : "other prio sets");
	else if (best->has_uuids || best->has_length)
		snprintf(text, LAYOUT_TEXT_BYTES, "%s are of that size",
			 best->has_uuids ? "the uuid table and the root that the journal names"
					 : "prio sets");
	else
		snprintf(text, LAYOUT_TEXT_BYTES,
			 "no other size fits the places of all nodes and keys that were seen");
}

static bcfmt_err pick_bucket(struct bcfmt_ctx *ctx, struct bcfmt_dev *dev,
			     const struct sight *sight, struct layout *out,
			     char why[LAYOUT_TEXT_BYTES])
{
	uint64_t dev_sectors = bcfmt_dev_bytes(dev) / BCFMT_SECTOR_BYTES;
	struct bucket_case best = { 0 };
	unsigned int n_best = 0;
	uint8_t *buf = malloc(bcfmt_geometry_meta_bytes(1u << SIGHT_BUCKET_LOG2_MAX, 65536));
	bcfmt_err err = BCFMT_OK;

	if (!buf)
		return bcfmt_fail(ctx, BCFMT_E_NOMEM, "no memory for a prio set");
	for (unsigned int log2 = SIGHT_BUCKET_LOG2_MIN; !err && log2 <= SIGHT_BUCKET_LOG2_MAX;
	     log2++) {
		struct bucket_case this;
		int order;

		if (dev_sectors >> log2 < BCFMT_MIN_BUCKETS)
			break;
		err = judge_bucket(dev, sight, log2, buf, &this);
		order = n_best ? case_cmp(&this, &best) : -1;
		if (order < 0) {
			best = this;
			out->bucket_log2 = log2;
			n_best = 0;
		}
		n_best += order <= 0;
	}
	free(buf);
	if (err)
		return err;
	/* Sizes alone, or one that is as good as another, would be a guess. */
	if (n_best == 1 && (best.score >= 2 || !best.faults)) {
		tell_bucket(sight, &best, out);
		return BCFMT_OK;
	}
	snprintf(why, LAYOUT_TEXT_BYTES, "%u bucket sizes fit equally well what is left of the set",
		 n_best);
	return BCFMT_END;
}

/* ---- block size ------------------------------------------------------------------------- */

static bool is_block_possible(const struct layout *layout, uint32_t block_sectors)
{
	return is_pow2(block_sectors) && log2_floor(block_sectors) <= SIGHT_BLOCK_LOG2_MAX &&
	       log2_floor(block_sectors) <= layout->bucket_log2;
}

/* So many structures one behind the other prove a block size against what a superblock says. */
#define BLOCK_PAIRS_LEAST 4u

static bcfmt_err pick_block(const struct bcfmt_dev *dev, const struct sight *sight,
			    const struct layout_hints *hints, struct layout *out,
			    char why[LAYOUT_TEXT_BYTES])
{
	uint32_t told[] = { hints->stored ? hints->stored->block_sectors : 0,
			    hints->block_sectors };
	uint64_t fits[SIGHT_BLOCK_LOG2_MAX + 1], most = 0, n_pairs = 0;
	unsigned int n_most = 0;
	bool is_weak;

	for (unsigned int i = 0; i <= SIGHT_BLOCK_LOG2_MAX; i++) {
		fits[i] = sight_block_fits(sight, out->bucket_log2, i, &n_pairs);
		if (!fits[i] || !is_block_possible(out, 1u << i))
			continue;
		if (fits[i] > most) {
			most = fits[i];
			out->block_log2 = i;
			n_most = 0;
		}
		n_most += fits[i] == most;
	}
	is_weak = n_pairs < BLOCK_PAIRS_LEAST && is_block_possible(out, told[0]);
	if (n_most == 1 && !is_weak) {
		snprintf(out->block_text, LAYOUT_TEXT_BYTES,
			 "%llu of %llu structures follow another in this distance",
			 (unsigned long long)most, (unsigned long long)n_pairs);
		return BCFMT_OK;
	}
	for (size_t i = 0; i < sizeof(told) / sizeof(told[0]); i++) {
		if (!is_block_possible(out, told[i]) ||
		    told[i] * BCFMT_SECTOR_BYTES < bcfmt_dev_logical_block_bytes(dev) ||
		    (n_most && !is_weak && fits[log2_floor(told[i])] != most))
			continue;
		out->block_log2 = log2_floor(told[i]);
		out->is_block_guess = true;
		snprintf(out->block_text, LAYOUT_TEXT_BYTES,
			 "too little was written to prove it; %s",
			 i ? "a backing device of the set has it"
			   : "it is what the superblock says");
		return BCFMT_OK;
	}
	snprintf(why, LAYOUT_TEXT_BYTES,
		 "too little was ever written to prove the block size of the set");
	return BCFMT_END;
}

/* ---- all of it -------------------------------------------------------------------------- */

/* A count and a ring to try. */
static bcfmt_err try_counts(struct bcfmt_ctx *ctx, struct bcfmt_dev *dev, const struct sight *sight,
			    const struct layout *counts, struct layout *best, bool *is_found,
			    char why[LAYOUT_TEXT_BYTES])
{
	struct bcfmt_super super = { .version = 3 };
	struct layout layout = *counts;
	uint64_t ring_sector = (uint64_t)layout.first_bucket << layout.bucket_log2;
	uint64_t ring_end = ring_sector + ((uint64_t)layout.journal_buckets << layout.bucket_log2);
	bcfmt_err err = BCFMT_OK;

	if (layout.nbuckets < BCFMT_MIN_BUCKETS || layout.journal_buckets > RING_MAX ||
	    layout.nbuckets > bcfmt_dev_bytes(dev) / BCFMT_SECTOR_BYTES >> layout.bucket_log2)
		return BCFMT_OK;
	layout.has_pointers = layout.nbuckets << layout.bucket_log2 >= sight->end_sector;
	if (!layout.has_pointers) {
		snprintf(why, LAYOUT_TEXT_BYTES,
			 "they lead to sector %llu, behind the last of %llu buckets: the device "
			 "was cut",
			 (unsigned long long)sight->end_sector - 1,
			 (unsigned long long)layout.nbuckets);
		return BCFMT_OK;
	}
	if (sight->least_start_sector < ring_end) {
		snprintf(why, LAYOUT_TEXT_BYTES,
			 "with %llu buckets the journal would reach over a node or table",
			 (unsigned long long)layout.nbuckets);
		return BCFMT_OK;
	}
	if (sight->n_jsets) {
		store_le64(super.set_uuid, sight->set_magic);
		layout_to_super(&layout, &super);
		if (sight->newest_sector < ring_sector || sight->newest_sector >= ring_end) {
			snprintf(why, LAYOUT_TEXT_BYTES,
				 "journal entry %llu lies outside of the ring of such a cache",
				 (unsigned long long)sight->newest.seq);
			return BCFMT_OK;
		}
		err = layout_verify(ctx, dev, &super, &layout, why);
		if (err)
			return err == BCFMT_END ? BCFMT_OK : err;
	}
	if (!*is_found || layout_quality(&layout) > layout_quality(best)) {
		*best = layout;
		*is_found = true;
	}
	return BCFMT_OK;
}

bcfmt_err layout_derive(struct bcfmt_ctx *ctx, struct bcfmt_dev *dev, const struct sight *sight,
			const struct layout_hints *hints, struct layout *out,
			char why[LAYOUT_TEXT_BYTES])
{
	const struct bcfmt_super *stored = hints->stored;
	struct layout layout = { 0 };
	bool is_found = false;
	bcfmt_err err;

	*out = (struct layout){ 0 };
	snprintf(why, LAYOUT_TEXT_BYTES, "the device is too small for the set");
	err = pick_bucket(ctx, dev, sight, &layout, why);
	if (!err)
		err = pick_block(dev, sight, hints, &layout, why);
	if (err)
		return err;
	layout.nbuckets = bcfmt_dev_bytes(dev) / BCFMT_SECTOR_BYTES >> layout.bucket_log2;
	layout.first_bucket = layout_first_bucket(1u << layout.bucket_log2);
	layout.journal_buckets = layout_ring_buckets(layout.nbuckets);
	layout.is_ring_by_rule = true;
	err = try_counts(ctx, dev, sight, &layout, out, &is_found, why);
	/* A cache on a device that has grown since. */
	if (!err && stored && stored->nbuckets_or_data_offset != layout.nbuckets) {
		layout.nbuckets = stored->nbuckets_or_data_offset;
		layout.journal_buckets = layout_ring_buckets(layout.nbuckets);
		err = try_counts(ctx, dev, sight, &layout, out, &is_found, why);
	}
	/* A ring that other tools made. */
	if (!err && stored &&
	    (stored->first_bucket != layout.first_bucket ||
	     stored->keys != layout.journal_buckets)) {
		layout.first_bucket = stored->first_bucket;
		layout.journal_buckets = stored->keys;
		layout.is_ring_by_rule = false;
		err = try_counts(ctx, dev, sight, &layout, out, &is_found, why);
		layout.nbuckets = bcfmt_dev_bytes(dev) / BCFMT_SECTOR_BYTES >> layout.bucket_log2;
		if (!err)
			err = try_counts(ctx, dev, sight, &layout, out, &is_found, why);
	}
	return err ? err : is_found ? BCFMT_OK : BCFMT_END;
}
