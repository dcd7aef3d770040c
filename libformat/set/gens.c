/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The bucket map's generations. On disk they are lower bounds: every valid pointer raises them
 * before anything is judged stale. How far a pointer is ahead is counted from the gen on the disk,
 * so that the result does not hang on the order in which pointers are met, and pointers all around
 * the circle of 256 do not chase each other for ever. Where the prio set is lost, the first
 * pointer that is met stands for it. Threads raise and judge at once; sequentially consistent
 * accesses make sure that a rise after a judgement is seen by one of the two.
 */
#include "set/standing.h"

static bool has_bucket(const struct bcfmt_set *set, uint64_t ptr, uint64_t *bucket)
{
	*bucket = bcfmt_ptr_bucket(&set->geo, ptr);
	return bcfmt_ptr_is_available(ptr) && set->buckets && *bucket >= set->geo.first_bucket &&
	       *bucket < set->geo.nbuckets;
}

static bool has_gen(const struct bcfmt_bucket *at)
{
	return __atomic_load_n(&at->gen_flags, __ATOMIC_SEQ_CST) &
	       (BUCKET_GEN_ON_DISK | BUCKET_GEN_SEEN);
}

/* True when gen became the first that is known of the bucket. */
static bool take_first_gen(struct bcfmt_bucket *at, uint8_t gen)
{
	if (__atomic_fetch_or(&at->gen_flags, BUCKET_GEN_CLAIMED, __ATOMIC_SEQ_CST) &
	    BUCKET_GEN_CLAIMED) {
		while (!has_gen(at))
			; /* another thread is between the two lines below */
		return false;
	}
	__atomic_store_n(&at->gen, gen, __ATOMIC_SEQ_CST);
	__atomic_fetch_or(&at->gen_flags, BUCKET_GEN_SEEN, __ATOMIC_SEQ_CST);
	return true;
}

/* How far gen is ahead of where the bucket is known to have been; 0 when it is behind. */
static unsigned int gen_ahead(const struct bcfmt_bucket *at, uint8_t gen, uint8_t current)
{
	uint8_t flags = __atomic_load_n(&at->gen_flags, __ATOMIC_SEQ_CST);
	uint8_t base = flags & BUCKET_GEN_ON_DISK ? at->disk_gen : current;
	unsigned int ahead = (unsigned int)(gen - base) & 0xff;

	return ahead < 128 ? ahead : 0;
}

bool set_would_raise_gen(const struct bcfmt_set *set, uint64_t ptr)
{
	const struct bcfmt_bucket *at;
	uint64_t bucket;
	uint8_t gen;

	if (!has_bucket(set, ptr, &bucket))
		return false;
	at = &set->buckets[bucket];
	gen = __atomic_load_n(&at->gen, __ATOMIC_SEQ_CST);
	return !has_gen(at) ||
	       gen_ahead(at, (uint8_t)bcfmt_ptr_gen(ptr), gen) > gen_ahead(at, gen, gen);
}

bool set_raise_gen(struct bcfmt_set *set, uint64_t ptr)
{
	uint8_t gen, ptr_gen = (uint8_t)bcfmt_ptr_gen(ptr);
	struct bcfmt_bucket *at;
	uint64_t bucket;

	if (!has_bucket(set, ptr, &bucket))
		return false;
	at = &set->buckets[bucket];
	if (has_gen(at) || !take_first_gen(at, ptr_gen)) {
		gen = __atomic_load_n(&at->gen, __ATOMIC_SEQ_CST);
		do {
			if (gen_ahead(at, ptr_gen, gen) <= gen_ahead(at, gen, gen))
				return false;
		} while (!__atomic_compare_exchange_n(&at->gen, &gen, ptr_gen, false,
						      __ATOMIC_SEQ_CST, __ATOMIC_SEQ_CST));
	}
	return __atomic_load_n(&at->gen_flags, __ATOMIC_SEQ_CST) & BUCKET_GEN_JUDGED;
}

void bcfmt_set_raise_gen(struct bcfmt_set *set, uint64_t ptr)
{
	set_raise_gen(set, ptr);
}

bool set_raise_gen_by_extent(struct bcfmt_set *set, const struct bcfmt_key *key)
{
	uint64_t bucket;

	if (!bcfmt_key_has_data(key) || bcfmt_key_fault_extent(&set->geo, key) ||
	    !has_bucket(set, key->ptr, &bucket) ||
	    __atomic_load_n(&set->buckets[bucket].use, __ATOMIC_RELAXED) & BCFMT_USE_METADATA)
		return false;
	return set_raise_gen(set, key->ptr);
}

void set_mark_bucket(struct bcfmt_set *set, uint64_t bucket, unsigned int flags)
{
	uint8_t *at = &set->buckets[bucket].gen_flags;

	/* Most are marked already, and to look is cheap. */
	if ((__atomic_load_n(at, __ATOMIC_SEQ_CST) & flags) != flags)
		__atomic_fetch_or(at, (uint8_t)flags, __ATOMIC_SEQ_CST);
}

unsigned int bcfmt_set_stale(const struct bcfmt_set *set, uint64_t ptr)
{
	uint64_t bucket;

	if (!has_bucket(set, ptr, &bucket) || !has_gen(&set->buckets[bucket]))
		return 0;
	return bcfmt_gen_after(__atomic_load_n(&set->buckets[bucket].gen, __ATOMIC_SEQ_CST),
			       bcfmt_ptr_gen(ptr));
}

void set_mark_use(struct bcfmt_set *set, uint64_t bucket, unsigned int use)
{
	uint8_t *at = &set->buckets[bucket].use;

	if ((__atomic_load_n(at, __ATOMIC_RELAXED) & use) != use)
		__atomic_fetch_or(at, (uint8_t)use, __ATOMIC_RELAXED);
}

static void mark_live(struct bcfmt_set *set, const struct bcfmt_extent *extent)
{
	uint64_t bucket = bcfmt_ptr_bucket(&set->geo, extent->ptr);

	if (!(__atomic_load_n(&set->buckets[bucket].use, __ATOMIC_RELAXED) & BCFMT_USE_METADATA))
		set_mark_use(set, bucket, extent->is_dirty ? BCFMT_USE_DIRTY : BCFMT_USE_CLEAN);
}

/*
 * That a bucket holds live dirty data is noted by the first walk only: nothing can make a kernel
 * give up such a bucket, which leaf_find_lost() rests on.
 */
static void judge(struct bcfmt_set *set, bool has_final_gens, bool marks_live,
		  struct bcfmt_extent *extent)
{
	uint64_t bucket = bcfmt_ptr_bucket(&set->geo, extent->ptr);

	extent->stale = 0;
	if (bucket >= set->geo.nbuckets)
		return;
	set_mark_bucket(set, bucket, BUCKET_GEN_JUDGED);
	extent->stale = (uint8_t)bcfmt_set_stale(set, extent->ptr);
	if (extent->stale)
		return;
	if (marks_live)
		mark_live(set, extent);
	if (!has_final_gens && extent->is_dirty && !extent->is_written_back &&
	    extent->source != BCFMT_FROM_HISTORY)
		set_mark_bucket(set, bucket, BUCKET_HAS_DIRTY);
}

void set_judge(struct bcfmt_set *set, bool has_final_gens, struct bcfmt_extent *extent)
{
	judge(set, has_final_gens, true, extent);
}

void set_judge_all(struct bcfmt_set *set, bool has_final_gens, bool marks_live, struct vec *extents)
{
	struct standing standing = standing_init(has_final_gens);
	struct bcfmt_extent *extent = extents->items;

	for (size_t i = 0; i < extents->n; i++) {
		uint64_t bucket = bcfmt_ptr_bucket(&set->geo, extent[i].ptr);

		if (bucket < set->geo.nbuckets && stands_well(&standing, &set->buckets[bucket],
							      extent[i].ptr, extent[i].is_dirty))
			extent[i].stale = 0;
		else
			judge(set, has_final_gens, marks_live, &extent[i]);
	}
}

void set_mark_live(struct bcfmt_set *set, const struct vec *extents)
{
	const struct bcfmt_extent *extent = extents->items;

	for (size_t i = 0; i < extents->n; i++)
		if (!extent[i].stale &&
		    bcfmt_ptr_bucket(&set->geo, extent[i].ptr) < set->geo.nbuckets)
			mark_live(set, &extent[i]);
}
