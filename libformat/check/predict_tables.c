/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What the newest entry names: prio chain, root, uuid table, in the layout of the kernel's pages;
 * and the buckets that are left to start with. kernel: prio_read(), run_cache_set(), uuid_read(),
 * bch_initial_gc_finish(), bch_allocator_thread().
 */
#include <stdlib.h>
#include <string.h>

#include "base/checked.h"
#include "check/check_impl.h"
#include "check/predict_node.h"
#include "read/read.h"

static bcfmt_err add_end_of_knowledge(struct check *ck, enum bcfmt_stage stage)
{
	struct predict_event event = { .stage = stage,
				       .is_end_of_knowledge = true,
				       .order = PREDICT_ANY_ORDER };

	return predict_add(ck, &event);
}

/* ---- prios ---- */

static bcfmt_err add_prio(struct check *ck, enum bcfmt_problem_id id, const char *function)
{
	struct predict_event event = { .stage = BCFMT_STAGE_PRIOS, .id = id, .function = function };

	return predict_add(ck, &event);
}

/* Numbers of buckets are not checked: only what lies beyond the device cannot be read. */
static bool is_beyond_device(const struct bcfmt_geometry *geo, uint64_t bucket)
{
	uint64_t sector = bucket << geo->bucket_shift; /* wraps as the kernel's product does */
	uint64_t sectors = geo->meta_bytes / BCFMT_SECTOR_BYTES;

	return sectors > geo->dev_sectors || sector > geo->dev_sectors - sectors;
}

static bcfmt_err follow_chain(struct check *ck, uint8_t *raw)
{
	const struct bcfmt_geometry *geo = &ck->set->geo;
	uint64_t n = bcfmt_geometry_prio_buckets(geo);
	uint64_t bucket = ck->predict->newest.prio_bucket[geo->nr_this_dev];

	for (uint64_t i = 0; i < n; i++) {
		struct bcfmt_prio_set prio;

		if (is_beyond_device(geo, bucket))
			return add_prio(ck, BCFMT_P_PRIO_BAD_BUCKET, "prio_endio");
		switch (prio_set_read(ck->set->cache.dev, geo,
				      bucket << geo->bucket_shift >> geo->bucket_shift, raw,
				      &prio)) {
		case PRIO_STATE_OK:
			break;
		case PRIO_STATE_CSUM:
			return add_prio(ck, BCFMT_P_PRIO_BAD_CSUM, NULL);
		case PRIO_STATE_MAGIC:
			return add_prio(ck, BCFMT_P_PRIO_BAD_MAGIC, NULL);
		case PRIO_STATE_UNREADABLE:
			return add_prio(ck, BCFMT_P_PRIO_UNREADABLE, NULL);
		}
		bucket = prio.next_bucket;
	}
	/*
	 * A chain that only a kernel likes, or an older one: other generations than the check judged
	 * child pointers by.
	 */
	return ck->predict->newest.btree_level & 0xff ? add_end_of_knowledge(ck, BCFMT_STAGE_TREE)
						      : BCFMT_OK;
}

bcfmt_err predict_prios(struct check *ck)
{
	const struct bcfmt_set *set = ck->set;
	uint8_t *raw;
	bcfmt_err err;

	if (!ck->predict->has_list)
		return BCFMT_OK;
	/* The set has followed the chain, in the layout that fits. */
	if (ck->predict->is_same_prios && set->has_all_prios &&
	    bcfmt_geometry_meta_bytes(set->geo.bucket_sectors, set->prio_page_bytes) ==
		    set->geo.meta_bytes)
		return BCFMT_OK;
	raw = malloc(set->geo.meta_bytes);
	if (!raw)
		return BCFMT_E_NOMEM;
	err = follow_chain(ck, raw);
	free(raw);
	return err;
}

/* ---- root and uuids ---- */

/* A root that the check does not read, because it goes by another entry. */
static bcfmt_err look_at_root(struct check *ck)
{
	const struct bcfmt_jset *newest = &ck->predict->newest;
	struct bcfmt_node_ref ref = { .ptr = newest->btree_root.ptr,
				      .hi = bcfmt_pos_max(),
				      .sectors = bcfmt_key_sectors(&newest->btree_root),
				      .level = (uint8_t)newest->btree_level,
				      .is_root = true };
	bool is_good;

	return predict_probe(ck, &ref, &is_good);
}

static bcfmt_err check_root(struct check *ck)
{
	struct predict *predict = ck->predict;
	struct predict_event event = { .stage = BCFMT_STAGE_ROOT_PTR,
				       .id = BCFMT_P_JOURNAL_BAD_ROOT };
	struct merge_key key;
	bcfmt_err err = BCFMT_OK;

	merge_key_load(&key, predict->root_raw, MERGE_KEY_WORDS);
	if (predict_is_invalid(&ck->set->geo, &key, false))
		return predict_spotted(ck, &event, &key);
	if (!predict->is_same_tree)
		err = look_at_root(ck);
	if (!err && !predict->is_tree_whole)
		err = add_end_of_knowledge(ck, BCFMT_STAGE_TREE);
	return err;
}

static bcfmt_err check_uuids(struct check *ck)
{
	struct predict *predict = ck->predict;
	struct predict_event event = { .stage = BCFMT_STAGE_UUIDS,
				       .id = BCFMT_P_JOURNAL_BAD_UUIDS };
	const struct bcfmt_key *pointer = &predict->newest.uuid_bucket;
	struct merge_key key;

	merge_key_load(&key, predict->uuid_raw, MERGE_KEY_WORDS);
	if (predict_is_invalid(&ck->set->geo, &key, false))
		return predict_spotted(ck, &event, &key);
	if ((uint64_t)bcfmt_key_sectors(pointer) * BCFMT_SECTOR_BYTES > ck->set->geo.meta_bytes) {
		event.id = BCFMT_P_UUIDS_BAD_SIZE;
		event.function = "uuid_read";
		event.is_possible = true;
		return predict_add(ck, &event);
	}
	if (!predict->is_same_uuids || ck->set->uuids_state != BCFMT_UUIDS_UNREADABLE)
		return BCFMT_OK;
	/* The table is read while the registration goes on. */
	event.id = BCFMT_P_UUIDS_UNREADABLE;
	event.is_late = true;
	return predict_add(ck, &event);
}

bcfmt_err predict_pointers(struct check *ck)
{
	bcfmt_err err;

	if (!ck->predict->has_list)
		return BCFMT_OK;
	err = check_root(ck);
	return err ? err : check_uuids(ck);
}

/* ---- buckets to start with ---- */

/* Given devices that would take a bucket for the uuid table when they attach. */
static size_t count_attaching(const struct check *ck)
{
	size_t n = 0;

	for (size_t i = 0; i < ck->set->n_backing; i++)
		n += predict_attaches(ck, &ck->set->backing[i]);
	return n;
}

/* The stage at which a bucket is first asked for. */
static enum bcfmt_stage stage_of_need(const struct check *ck)
{
	if (!(ck->set->cache.super.flags & BCFMT_SUPER_FLAG_SYNC))
		return BCFMT_STAGE_START;
	return count_attaching(ck) ? BCFMT_STAGE_ATTACH : BCFMT_STAGE_RUNNING;
}

/* kernel: cache_alloc(). */
uint64_t predict_batch_buckets(const struct bcfmt_geometry *geo)
{
	uint64_t rounded = 1;

	while (rounded < geo->nbuckets)
		rounded *= 2;
	rounded = (rounded >> 10) * 4;
	return rounded > 4 ? rounded - 1 : rounded;
}

/*
 * Of the buckets without an owner the prio reserve gets the first; what is left over is for the
 * tree and the uuid table. Without any the allocator has to give up clean data, of which it
 * collects a batch first.
 */
static bcfmt_err check_free(struct check *ck)
{
	const struct bcfmt_geometry *geo = &ck->set->geo;
	uint64_t prios = bcfmt_geometry_prio_buckets(geo);
	struct predict_event event = { .id = BCFMT_P_FREE_TOO_FEW,
				       .stage = BCFMT_STAGE_START,
				       .function = "bch_allocator_thread" };
	bcfmt_err err = BCFMT_OK;

	if (!ck->predict->is_tree_whole || !ck->predict->are_buckets_counted ||
	    ck->predict->free_buckets > prios)
		return BCFMT_OK;
	if (ck->predict->free_buckets < prios)
		err = predict_add(ck, &event);
	if (err ||
	    ck->predict->free_buckets + ck->predict->clean_buckets >= predict_batch_buckets(geo))
		return err;
	event.stage = stage_of_need(ck);
	event.function = "bch_bucket_alloc";
	ck->predict->has_no_bucket = true;
	return predict_add(ck, &event);
}

/* A fresh set takes its first buckets behind the journal. */
static bcfmt_err check_fresh(struct check *ck)
{
	const struct bcfmt_geometry *geo = &ck->set->geo;
	struct predict_event event = { .id = BCFMT_P_FREE_TOO_FEW, .stage = BCFMT_STAGE_START };
	uint64_t journal = geo->nbuckets >> 7;

	journal = min_u64(max_u64(journal, 2), BCFMT_SUPER_JOURNAL_MAX);
	/* Besides the prios a table of uuids and a root. */
	if (geo->first_bucket + journal + bcfmt_geometry_prio_buckets(geo) + 2 <= geo->nbuckets)
		return BCFMT_OK;
	return predict_add(ck, &event);
}

bcfmt_err predict_start(struct check *ck)
{
	const struct bcfmt_super *super = &ck->set->cache.super;
	struct predict_event event = { .id = BCFMT_P_SUPER_BAD_REPLACEMENT,
				       .stage = BCFMT_STAGE_START };
	bcfmt_err err = BCFMT_OK;

	/* The allocator goes round for ever from its start on, with a processor and a lock. */
	if (bcfmt_super_replacement(super) > 2)
		err = predict_add(ck, &event);
	/* Counted where there is no counter as soon as it is written over. */
	if (!err && ck->on_cache[BCFMT_P_UUID_INODE_RANGE]) {
		event = (struct predict_event){ .id = BCFMT_P_UUID_INODE_RANGE,
						.stage = BCFMT_STAGE_RUNNING };
		err = predict_add(ck, &event);
	}
	if (err)
		return err;
	return super->flags & BCFMT_SUPER_FLAG_SYNC ? check_free(ck) : check_fresh(ck);
}
