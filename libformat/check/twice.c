/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Sectors of the cache that belong to two extents (D3). The walk over the leaves kept no more of
 * an extent than its place, and that tells in which buckets there may be such sectors: almost
 * never in any. Only when there are, the leaves are walked again for the extents in these
 * buckets: for a closer look where the first was coarse, and if that clears not all of them, to
 * sort the extents by place. Nothing lies across the end of a bucket, so those in other buckets
 * cannot matter.
 */
#include "base/checked.h"
#include "base/runs.h"
#include "check/check_impl.h"
#include "set/set_impl.h"

#define RANGE_BATCH 256u

/* One live extent, by its place on the cache. */
struct used_range {
	uint64_t cache_sector;
	uint64_t start_sector; /* of the inode */
	uint32_t sectors;
	uint32_t inode;
};

/* A walk for the extents in some buckets. */
struct collect {
	struct check *ck;
	unsigned int flag; /* of these buckets */
	struct used *used; /* for a closer look; NULL: to sort */
	struct runs *runs; /* struct used_range, under the check's lock */
};

static int range_cmp(const void *a, const void *b)
{
	const struct used_range *x = a, *y = b;

	if (x->cache_sector != y->cache_sector)
		return x->cache_sector < y->cache_sector ? -1 : 1;
	if (x->inode != y->inode)
		return x->inode < y->inode ? -1 : 1;
	if (x->start_sector != y->start_sector)
		return x->start_sector < y->start_sector ? -1 : 1;
	return x->sectors < y->sectors ? -1 : x->sectors > y->sectors;
}

/* One that counted as live, in one of the buckets. */
static bool is_wanted(const struct collect *collect, const struct bcfmt_extent *extent)
{
	const struct bcfmt_set *set = collect->ck->set;
	uint64_t bucket = bcfmt_ptr_bucket(&set->geo, extent->ptr);

	return !extent->stale && bucket < set->geo.nbuckets &&
	       __atomic_load_n(&set->buckets[bucket].gen_flags, __ATOMIC_RELAXED) & collect->flag &&
	       !(__atomic_load_n(&set->buckets[bucket].use, __ATOMIC_RELAXED) & BCFMT_USE_METADATA);
}

/* Saturating, as the count of the whole. */
static void add_bucket_sectors(struct bcfmt_bucket *bucket, uint64_t sectors)
{
	uint16_t old = __atomic_load_n(&bucket->sectors, __ATOMIC_RELAXED), sum;

	do {
		sum = (uint16_t)min_u64(UINT16_MAX, old + sectors);
	} while (!__atomic_compare_exchange_n(&bucket->sectors, &old, sum, true, __ATOMIC_RELAXED,
					      __ATOMIC_RELAXED));
}

static bcfmt_err add_ranges(struct collect *collect, const struct used_range *ranges, size_t n)
{
	struct bcfmt_set *set = collect->ck->set;
	bcfmt_err err;

	if (!n)
		return BCFMT_OK;
	for (size_t i = 0; i < n; i++)
		add_bucket_sectors(&set->buckets[ranges[i].cache_sector >> set->geo.bucket_shift],
				   ranges[i].sectors);
	pthread_mutex_lock(&collect->ck->lock);
	err = runs_add(collect->runs, ranges, n);
	pthread_mutex_unlock(&collect->ck->lock);
	return err;
}

static bcfmt_err collect_ranges(struct collect *collect, const struct bcfmt_extent *extents,
				size_t n_extents)
{
	struct used_range ranges[RANGE_BATCH];
	size_t n = 0;
	bcfmt_err err = BCFMT_OK;

	for (size_t i = 0; !err && i < n_extents; i++) {
		const struct bcfmt_extent *extent = &extents[i];

		if (!is_wanted(collect, extent))
			continue;
		ranges[n++] = (struct used_range){
			.cache_sector = bcfmt_ptr_sector(extent->ptr),
			.start_sector = extent->start_sector,
			.sectors = (uint32_t)(extent->end_sector - extent->start_sector),
			.inode = extent->inode,
		};
		if (n == RANGE_BATCH) {
			err = add_ranges(collect, ranges, n);
			n = 0;
		}
	}
	return err ? err : add_ranges(collect, ranges, n);
}

static bcfmt_err collect_places(const struct collect *collect, const struct bcfmt_extent *extents,
				size_t n_extents)
{
	struct used_shard *shard = used_take(collect->used);
	bcfmt_err err = BCFMT_OK;

	if (!shard)
		return BCFMT_E_NOMEM;
	for (size_t i = 0; !err && i < n_extents; i++)
		if (is_wanted(collect, &extents[i]))
			err = used_add(collect->used, shard, bcfmt_ptr_sector(extents[i].ptr),
				       extents[i].end_sector - extents[i].start_sector);
	used_give(collect->used, shard);
	return err;
}

static bcfmt_err collect_leaf(void *arg, const struct bcfmt_node_view *view,
			      const struct bcfmt_extent *extents, size_t n_extents)
{
	struct collect *collect = arg;

	/* Where it could be read before nobody knows now what it adds. */
	if (view->bad.sectors)
		__atomic_store_n(&collect->ck->is_doubtful, true, __ATOMIC_RELAXED);
	return collect->used ? collect_places(collect, extents, n_extents)
			     : collect_ranges(collect, extents, n_extents);
}

static bcfmt_err see_node(void *arg, const struct bcfmt_node_view *view)
{
	const struct collect *collect = arg;

	return check_node_again(collect->ck, view);
}

static bcfmt_err walk(struct collect *collect)
{
	struct bcfmt_tree_visitor visitor = { .arg = collect,
					      .node = see_node,
					      .leaf = collect_leaf };
	bool again; /* never: gens are final */

	return bcfmt_tree_walk_leaves(collect->ck->tree, &visitor, &again);
}

/* What the range has in these sectors of the cache may have been overwritten by the other. */
static bcfmt_err doubt_part(struct check *ck, const struct used_range *range,
			    uint64_t first_cache_sector, uint64_t end_cache_sector)
{
	uint64_t shift = range->start_sector - range->cache_sector;

	return check_loss(ck, BCFMT_LOSS_TWICE, range->inode, first_cache_sector + shift,
			  end_cache_sector + shift);
}

/*
 * Both ranges have these sectors of the cache. That of which an entry of the journal tells later
 * that it was put there has its own data; without such a word it may be either's.
 */
static bcfmt_err doubt_both(struct check *ck, const struct used_range *first,
			    const struct used_range *second, uint64_t end)
{
	const struct used_range *of[] = { first, second };
	uint64_t begin = second->cache_sector, seq[2] = { 0, 0 };
	bcfmt_err err = BCFMT_OK;

	for (unsigned int i = 0; !err && i < 2; i++)
		err = tree_put_seq(ck->tree, of[i]->inode,
				   of[i]->start_sector + (begin - of[i]->cache_sector), begin,
				   &seq[i]);
	if (!err && seq[0] <= seq[1])
		err = doubt_part(ck, first, begin, end);
	if (!err && seq[1] <= seq[0])
		err = doubt_part(ck, second, begin, end);
	return err;
}

static bcfmt_err report_twice(struct check *ck, const struct used_range *first,
			      const struct used_range *second)
{
	uint64_t first_end = first->cache_sector + first->sectors;
	uint64_t second_end = second->cache_sector + second->sectors;
	uint64_t end = first_end < second_end ? first_end : second_end;
	struct bcfmt_where where = check_where(ck, "key");
	char a[64], b[64];
	bcfmt_err err = doubt_both(ck, first, second, end);

	if (err)
		return err;
	where.sector = second->cache_sector;
	where.bucket = second->cache_sector >> ck->set->geo.bucket_shift;
	return CHECK_REPORT(
		ck, EXTENT_TWICE, &where, BCFMT_U64("sectors", end - second->cache_sector),
		BCFMT_TEXT("first",
			   check_range_text(a, first->inode, first->start_sector, first->sectors)),
		BCFMT_TEXT("second", check_range_text(b, second->inode, second->start_sector,
						      second->sectors)));
}

/*
 * A range and the next in the order of places on the cache. Pieces of one key that was split lie
 * apart there too, so any overlap is wrong.
 */
static bcfmt_err compare_ranges(struct check *ck, struct runs *runs)
{
	struct used_range furthest = { 0, 0, 0, 0 };
	const void *record;
	bcfmt_err err = runs_sort(runs);

	while (!err && (err = runs_next(runs, &record)) == BCFMT_OK) {
		const struct used_range *range = record;

		if (range->cache_sector < furthest.cache_sector + furthest.sectors)
			err = report_twice(ck, &furthest, range);
		if (range->cache_sector + range->sectors >=
		    furthest.cache_sector + furthest.sectors)
			furthest = *range;
	}
	return err == BCFMT_END ? BCFMT_OK : err;
}

static bcfmt_err sort_suspects(struct check *ck)
{
	struct collect collect = { .ck = ck, .flag = BUCKET_MAYBE_TWICE };
	uint64_t max_bytes = max_u64(bcfmt_ctx_max_bytes(ck->ctx) / 2, 1u << 20);
	bcfmt_err err =
		runs_new(ck->ctx, sizeof(struct used_range), max_bytes, range_cmp, &collect.runs);

	if (!err)
		err = walk(&collect);
	if (!err)
		err = compare_ranges(ck, collect.runs);
	if (collect.runs)
		ck->verdict->spilled_bytes += runs_spilled_bytes(collect.runs);
	runs_free(collect.runs);
	return err;
}

static bcfmt_err finish(struct check *ck, struct used *used, bool *is_suspect)
{
	bcfmt_err err = used_finish(used, true, is_suspect);

	ck->verdict->spilled_bytes += used_spilled_bytes(used);
	return err;
}

/* With blocks for units. */
static bcfmt_err look_closer(struct check *ck, bool *is_suspect)
{
	struct collect collect = { .ck = ck, .flag = BUCKET_LOOK_AGAIN };
	struct bcfmt_set *set = ck->set;
	uint64_t max_bytes = max_u64(bcfmt_ctx_max_bytes(ck->ctx) / 2, 1u << 20);
	bcfmt_err err;

	for (uint64_t i = 0; i < set->geo.nbuckets; i++)
		if (set->buckets[i].gen_flags & BUCKET_MAYBE_TWICE)
			set->buckets[i].gen_flags ^= BUCKET_MAYBE_TWICE | BUCKET_LOOK_AGAIN;
	err = used_new(set, max_bytes, true, &collect.used);
	if (!err)
		err = walk(&collect);
	if (!err)
		err = finish(ck, collect.used, is_suspect);
	used_free(collect.used);
	return err;
}

bcfmt_err check_twice(struct check *ck)
{
	bool is_suspect, is_coarse;
	bcfmt_err err;

	if (!ck->used)
		return BCFMT_OK;
	err = finish(ck, ck->used, &is_suspect);
	is_coarse = used_is_coarse(ck->used);
	/* Its memory makes room for the other ways. */
	used_free(ck->used);
	ck->used = NULL;
	if (!err && is_suspect && is_coarse)
		err = look_closer(ck, &is_suspect);
	return !err && is_suspect ? sort_suspects(ck) : err;
}
