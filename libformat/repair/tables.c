/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The new uuid table and the new prio chain, which has every bucket's generation. */
#include <stdlib.h>

#include "base/checked.h"
#include "read/read.h"
#include "repair/repair_impl.h"
#include "set/found.h"

/* The old state has a node there, or a search found one: the new state has none. */
static bool is_given_up(const struct repair_buckets *buckets, uint64_t bucket)
{
	const struct bcfmt_set *set = buckets->set;

	return set->buckets[bucket].use & BCFMT_USE_NODE ||
	       (set->found && set->found->kinds[bucket] == FOUND_NODE);
}

static void prio_entry(void *arg, uint64_t bucket, uint16_t *prio, uint8_t *gen)
{
	const struct repair_buckets *buckets = arg;
	const struct bcfmt_bucket *at = &buckets->set->buckets[bucket];
	bool has_data = at->use & (BCFMT_USE_CLEAN | BCFMT_USE_DIRTY);

	/* What live data rests on is the gen that it was judged by. */
	*gen = has_data ? at->gen : buckets->gen[bucket];
	*prio = at->prio;
	if (buckets->marks[bucket] & (BUCKET_TAKEN | BUCKET_KEPT))
		*prio = BCFMT_PRIO_BTREE;
	else if (*prio == BCFMT_PRIO_BTREE || (has_data && !*prio))
		*prio = has_data ? BCFMT_PRIO_INITIAL : 0;
	/* No search takes it for a node of the tree any more. kernel: make_btree_freeing_key() */
	if (!has_data && !(buckets->marks[bucket] & (BUCKET_TAKEN | BUCKET_KEPT)) &&
	    is_given_up(buckets, bucket))
		++*gen;
}

/* Seq of a prio set that a journal entry names; 0 when there is none. */
static uint64_t prio_seq_at(const struct bcfmt_set *set, uint64_t bucket, uint8_t *raw)
{
	struct bcfmt_prio_set prio;

	if (bucket < set->geo.first_bucket || bucket >= set->geo.nbuckets ||
	    prio_set_read(set->cache.dev, &set->geo, bucket, raw, &prio) != PRIO_STATE_OK)
		return 0;
	return prio.seq;
}

/*
 * Above that of every chain that the ring names or a search found, and above the number of chains
 * that the ring names: a history that ends with this one is then the newest by any measure.
 */
static uint64_t next_prio_seq(const struct bcfmt_set *set, uint8_t *raw)
{
	const struct bcfmt_journal *journal = &set->journal;
	uint64_t seq = 0, last = UINT64_MAX, chains = 0;

	/* Without a journal a search takes the highest number. */
	for (size_t i = 0; set->found && i < set->found->prios.n; i++)
		seq = max_u64(seq, VEC_AT(&set->found->prios, struct found_prio, i)->seq);
	for (size_t i = 0; i < set->n_prio_links; i++)
		if (set->prio_links[i].state == BCFMT_PRIO_SET_OK)
			seq = max_u64(seq, set->prio_links[i].seq);
	for (size_t i = 0; i < journal->n_entries; i++) {
		if (journal->entries[i].prio_bucket == last)
			continue;
		last = journal->entries[i].prio_bucket;
		chains++;
		seq = max_u64(seq, prio_seq_at(set, last, raw));
	}
	return max_u64(seq, chains) + 1;
}

static bcfmt_err write_chain(const struct bcfmt_target *target, struct repair_buckets *buckets,
			     const uint64_t *links, size_t n_links)
{
	struct bcfmt_prio_chain chain = {
		.links = links, .n_links = n_links, .entry = prio_entry, .entry_arg = buckets
	};
	uint8_t *raw = malloc(target->geo->meta_bytes);

	if (!raw)
		return bcfmt_fail(target->ctx, BCFMT_E_NOMEM, "out of memory for a prio set");
	chain.seq = next_prio_seq(buckets->set, raw);
	free(raw);
	if (!chain.seq)
		return bcfmt_fail(target->ctx, BCFMT_E_UNSUPPORTED,
				  "%s: the numbers of prio chains are used up",
				  bcfmt_dev_name(target->dev));
	return bcfmt_prio_chain_write(target, &chain);
}

/* What nobody agreed to mend is written as it is. */
static bcfmt_err write_uuids(const struct bcfmt_target *target, uint64_t bucket,
			     const struct bcfmt_uuid_entry *uuids, uint32_t n_uuids)
{
	bcfmt_err err = bcfmt_uuids_write(target, bucket, uuids, n_uuids);

	if (err != BCFMT_E_ARG)
		return err;
	bcfmt_ctx_fault_clear(target->ctx);
	return bcfmt_uuids_write_raw(target, bucket, uuids, n_uuids, 1);
}

bcfmt_err tables_write(struct bcfmt_repair_run *repair, struct repair_buckets *buckets,
		       const struct bcfmt_uuid_entry *uuids, struct tables *out)
{
	const struct bcfmt_set *set = repair->set;
	const struct bcfmt_geometry *geo = &set->geo;
	struct bcfmt_target target = { repair->ctx, repair_cache(repair)->phase[PHASE_BUCKETS],
				       geo };
	size_t n_links = (size_t)bcfmt_geometry_prio_buckets(geo);
	uint64_t *links = malloc(n_links * sizeof(*links));
	uint64_t uuid_bucket = 0;
	uint8_t gen = 0;
	bcfmt_err err = BCFMT_OK;

	if (!links)
		return bcfmt_fail(repair->ctx, BCFMT_E_NOMEM, "out of memory for a prio chain");
	/* All buckets first: the chain has the gens of its own, too. */
	for (size_t i = 0; !err && i < n_links; i++)
		err = buckets_take(buckets, &links[i], &gen);
	if (!err)
		err = buckets_take(buckets, &uuid_bucket, &gen);
	if (!err)
		err = write_uuids(&target, uuid_bucket, uuids, set->n_uuids);
	target.dev = repair_cache(repair)->phase[PHASE_PRIOS];
	if (!err)
		err = write_chain(&target, buckets, links, n_links);
	*out = (struct tables){
		.uuid_bucket =
			bcfmt_key_make(0, 0, geo->meta_bytes / BCFMT_SECTOR_BYTES, false, true,
				       bcfmt_ptr_make(geo->nr_this_dev,
						      bcfmt_bucket_sector(geo, uuid_bucket), gen)),
		.prio_bucket = links[0],
	};
	free(links);
	return err;
}
