/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Buckets.
 * Checks: D3 no sector of the cache belongs to two extents; no bucket has two owners; F1 enough
 * wholly free buckets for a kernel to come up; B7 root and uuid table are not stale.
 * Needs: bucket map and used places of the tree pass. kernel: bch_initial_gc_finish(),
 * bch_allocator_thread().
 */
#include <stdio.h>

#include "check/check_impl.h"
#include "check/predict.h"

static bcfmt_err check_two_uses(struct check *ck, uint64_t bucket, unsigned int use)
{
	unsigned int owner = use & BCFMT_USE_METADATA;
	struct bcfmt_where where = check_where_bucket(ck, "set", bucket);
	unsigned int first = owner & (0u - owner); /* lowest bit */

	if (!(owner & ~first))
		return BCFMT_OK;
	return CHECK_REPORT(ck, BUCKET_TWO_USES, &where, BCFMT_TEXT("first", check_owner(first)),
			    BCFMT_TEXT("second", check_owner(owner & ~first)));
}

static bcfmt_err check_map(struct check *ck)
{
	const struct bcfmt_set *set = ck->set;
	uint64_t need = bcfmt_geometry_prio_buckets(&set->geo), free_buckets = 0;
	uint64_t clean_buckets = 0;
	struct bcfmt_where where = check_where(ck, "set");
	bcfmt_err err = BCFMT_OK;

	for (uint64_t i = 0; !err && i < set->geo.nbuckets; i++) {
		unsigned int use = set->buckets[i].use & ~(unsigned int)BCFMT_USE_DAMAGED;

		if (!use)
			free_buckets++;
		else if (use & (use - 1))
			err = check_two_uses(ck, i, use);
		clean_buckets += use == BCFMT_USE_CLEAN;
	}
	ck->verdict->free_buckets = free_buckets;
	ck->predict->are_buckets_counted = true;
	ck->predict->free_buckets = free_buckets;
	ck->predict->clean_buckets = clean_buckets;
	/* Without a tree nothing is known of what is free. */
	if (err || !ck->tree || free_buckets >= need)
		return err;
	return CHECK_REPORT(ck, FREE_TOO_FEW, &where, BCFMT_U64("free", free_buckets),
			    BCFMT_U64("need", need));
}

static bcfmt_err check_stale_roots(struct check *ck)
{
	const struct bcfmt_set *set = ck->set;
	const struct bcfmt_key *root = &set->newest.btree_root, *uuids = &set->newest.uuid_bucket;
	struct bcfmt_where where;
	unsigned int stale;
	bcfmt_err err = BCFMT_OK;

	if (!set->has_newest)
		return BCFMT_OK;
	stale = bcfmt_set_stale(set, root->ptr);
	if (stale && !bcfmt_key_fault_btree(&set->geo, root)) {
		ck->is_doubtful = true;
		where = check_where_bucket(ck, "node", bcfmt_ptr_bucket(&set->geo, root->ptr));
		err = CHECK_REPORT(ck, ROOT_STALE, &where, BCFMT_U64("stale", stale));
	}
	stale = bcfmt_set_stale(set, uuids->ptr);
	if (!err && stale && !bcfmt_key_fault_btree(&set->geo, uuids)) {
		where = check_where_bucket(ck, "uuid", bcfmt_ptr_bucket(&set->geo, uuids->ptr));
		err = CHECK_REPORT(ck, UUIDS_STALE, &where, BCFMT_U64("stale", stale));
	}
	return err;
}

bcfmt_err pass_buckets(struct check *ck)
{
	bcfmt_err err = check_twice(ck);

	if (!err)
		err = check_map(ck);
	return err ? err : check_stale_roots(ck);
}
