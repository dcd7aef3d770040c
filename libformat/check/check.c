/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The check: passes in a fixed order over a set that cannot be written.
 *
 *   super     superblocks of all members, roles, features
 *   journal   ring, replay window, keys of the window, two histories
 *   tables    prio chain, uuid table
 *   tree      every node: layout, order, ranges; every final extent: place, owner, staleness
 *   buckets   sectors used twice, buckets with two owners, buckets left free
 *   backing   state of the backing devices against what the cache holds for them
 *   data      clean extents against the backing devices (level data only)
 *   verdict   what it means
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/checked.h"
#include "check/check_impl.h"
#include "check/predict.h"

struct pass {
	const char *name;
	bcfmt_err (*run)(struct check *ck);
	enum bcfmt_check_level level; /* runs from this level on */
	bool needs_geometry;
};

static const struct pass passes[] = {
	{ "super", pass_super, BCFMT_LEVEL_QUICK, false },
	{ "journal", pass_journal, BCFMT_LEVEL_QUICK, true },
	{ "tables", pass_tables, BCFMT_LEVEL_QUICK, true },
	{ "tree", pass_tree, BCFMT_LEVEL_QUICK, true },
	{ "buckets", pass_buckets, BCFMT_LEVEL_FULL, true },
	{ "backing", pass_backing, BCFMT_LEVEL_QUICK, false },
	{ "data", pass_data, BCFMT_LEVEL_DATA, true },
	{ "verdict", pass_verdict, BCFMT_LEVEL_QUICK, false },
};
_Static_assert(sizeof(passes) / sizeof(passes[0]) <= BCFMT_PASSES_MAX, "stats hold every pass");

bcfmt_err check_report(struct check *ck, enum bcfmt_problem_id id, const struct bcfmt_where *where,
		       size_t n_args, const struct bcfmt_arg *args)
{
	/* Names of devices are told apart by address: two can be spelled alike. */
	if (ck->set->has_cache && where->device == bcfmt_dev_name(ck->set->cache.dev))
		__atomic_store_n(&ck->on_cache[id], 1, __ATOMIC_RELAXED);
	return bcfmt_report_add(ck->report, id, where, n_args, args);
}

bcfmt_err check_begin_losses(struct check *ck)
{
	return ck->verdict->losses ? BCFMT_OK : bcfmt_losses_new(ck->ctx, &ck->verdict->losses);
}

bcfmt_err check_loss(struct check *ck, enum bcfmt_loss kind, uint32_t inode, uint64_t start_sector,
		     uint64_t end_sector)
{
	if (!ck->verdict->losses)
		return BCFMT_OK;
	return bcfmt_losses_add(ck->verdict->losses, kind,
				(struct bcfmt_pos){ inode, start_sector },
				(struct bcfmt_pos){ inode, end_sector });
}

bcfmt_err check_loss_key(struct check *ck, enum bcfmt_loss kind, const struct bcfmt_key *key)
{
	uint64_t sectors = bcfmt_key_sectors(key), end = bcfmt_key_end_sector(key);

	if (end > BCFMT_KEY_MAX_OFFSET)
		return BCFMT_OK;
	return check_loss(ck, kind, bcfmt_key_inode(key), end > sectors ? end - sectors : 0, end);
}

bcfmt_err check_invalid_extent(struct check *ck, const struct bcfmt_key *key)
{
	__atomic_store_n(&ck->is_doubtful, true, __ATOMIC_RELAXED);
	if (!bcfmt_key_is_dirty(key) || bcfmt_key_inode(key) >= ck->set->n_uuids)
		return check_loss_key(ck, BCFMT_LOSS_NODE, key);
	pthread_mutex_lock(&ck->lock);
	ck->inodes[bcfmt_key_inode(key)].invalid_sectors += bcfmt_key_sectors(key);
	pthread_mutex_unlock(&ck->lock);
	return check_loss_key(ck, BCFMT_LOSS_PLACE, key);
}

struct bcfmt_where check_where(const struct check *ck, const char *structure)
{
	struct bcfmt_where where = BCFMT_WHERE_INIT;

	if (ck->set->has_cache)
		where.device = bcfmt_dev_name(ck->set->cache.dev);
	where.structure = structure;
	return where;
}

struct bcfmt_where check_where_bucket(const struct check *ck, const char *structure,
				      uint64_t bucket)
{
	struct bcfmt_where where = check_where(ck, structure);

	where.bucket = bucket;
	/* A bucket number from the disk can be anything. */
	if (bucket < ck->set->geo.nbuckets)
		where.sector = bcfmt_bucket_sector(&ck->set->geo, bucket);
	return where;
}

const char *check_owner(unsigned int use)
{
	if (use & BCFMT_USE_RESERVED)
		return "superblock";
	if (use & BCFMT_USE_JOURNAL)
		return "journal";
	if (use & BCFMT_USE_PRIO)
		return "prios";
	if (use & BCFMT_USE_UUID)
		return "uuid table";
	if (use & BCFMT_USE_NODE)
		return "btree";
	return "data";
}

const char *check_range_text(char out[64], uint32_t inode, uint64_t start_sector, uint64_t sectors)
{
	snprintf(out, 64, "%u:%llu len %llu", inode, (unsigned long long)start_sector,
		 (unsigned long long)sectors);
	return out;
}

const char *check_pos_text(char out[64], struct bcfmt_pos pos)
{
	if (!bcfmt_pos_cmp(pos, bcfmt_pos_max()))
		snprintf(out, 64, "the last key");
	else
		snprintf(out, 64, "%u:%llu", pos.inode, (unsigned long long)pos.sector);
	return out;
}

static double now_seconds(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (double)now.tv_sec + (double)now.tv_nsec / 1e9;
}

static bcfmt_err check_prepare(struct check *ck)
{
	bcfmt_err err = predict_begin(ck);

	if (err || !ck->set->has_geometry)
		return err;
	ck->inodes = calloc(ck->set->n_uuids, sizeof(*ck->inodes));
	ck->beyond_dirty = calloc(1, CHECK_INODE_BYTES);
	if (!ck->inodes || !ck->beyond_dirty)
		return bcfmt_fail(ck->ctx, BCFMT_E_NOMEM, "no memory to count %u inodes",
				  ck->set->n_uuids);
	return BCFMT_OK;
}

static void check_clear(struct check *ck)
{
	bcfmt_tree_free(ck->tree);
	used_free(ck->used);
	free(ck->inodes);
	free(ck->beyond_dirty);
	predict_end(ck);
	pthread_mutex_destroy(&ck->lock);
}

bcfmt_err bcfmt_check_run(struct bcfmt_set *set, const struct bcfmt_check_params *params,
			  struct bcfmt_report *report, struct bcfmt_verdict *verdict,
			  struct bcfmt_pass_stat *stats, size_t *n_stats)
{
	struct check ck = { .ctx = set->ctx, .set = set, .params = params, .report = report,
			    .verdict = verdict };
	bcfmt_err err;

	memset(verdict, 0, sizeof(*verdict));
	if (n_stats)
		*n_stats = 0;
	if (pthread_mutex_init(&ck.lock, NULL))
		return bcfmt_fail(set->ctx, BCFMT_E_SYSTEM, "no lock to be had");
	err = check_prepare(&ck);
	for (size_t i = 0; !err && i < sizeof(passes) / sizeof(passes[0]); i++) {
		const struct pass *pass = &passes[i];
		double begin = now_seconds();

		if (params->level < pass->level || (pass->needs_geometry && !set->has_geometry))
			continue;
		ck.read_bytes = 0;
		err = pass->run(&ck);
		if (stats && n_stats)
			stats[(*n_stats)++] = (struct bcfmt_pass_stat){
				pass->name, now_seconds() - begin, ck.read_bytes };
		if (!err && bcfmt_ctx_is_cancelled(set->ctx))
			err = BCFMT_E_CANCELLED;
	}
	check_clear(&ck);
	if (err)
		bcfmt_verdict_clear(verdict);
	return err;
}

void bcfmt_verdict_clear(struct bcfmt_verdict *verdict)
{
	free(verdict->devices);
	bcfmt_losses_free(verdict->losses);
	for (size_t i = 0; i < verdict->n_predictions; i++)
		predict_clear(&verdict->predictions[i]);
	free(verdict->predictions);
	memset(verdict, 0, sizeof(*verdict));
}
