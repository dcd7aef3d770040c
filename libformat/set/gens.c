/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The bucket map's generations. On disk they are lower bounds: every valid pointer raises them
 * before anything is judged stale. Threads raise and judge at once; sequentially consistent
 * accesses make sure that a rise after a judgement is seen by one of the two.
 */
#include "set/set_impl.h"

static bool has_bucket(const struct bcfmt_set *set, uint64_t ptr, uint64_t *bucket)
{
	*bucket = bcfmt_ptr_bucket(&set->geo, ptr);
	return bcfmt_ptr_is_available(ptr) && set->buckets && *bucket >= set->geo.first_bucket &&
	       *bucket < set->geo.nbuckets;
}

bool set_raise_gen(struct bcfmt_set *set, uint64_t ptr)
{
	uint8_t gen, ptr_gen = (uint8_t)bcfmt_ptr_gen(ptr);
	uint64_t bucket;

	if (!has_bucket(set, ptr, &bucket))
		return false;
	gen = __atomic_load_n(&set->buckets[bucket].gen, __ATOMIC_SEQ_CST);
	do {
		/* Equal, or the bucket is ahead: the pointer tells nothing new. */
		if (gen == ptr_gen || bcfmt_gen_after(gen, ptr_gen))
			return false;
	} while (!__atomic_compare_exchange_n(&set->buckets[bucket].gen, &gen, ptr_gen, false,
					      __ATOMIC_SEQ_CST, __ATOMIC_SEQ_CST));
	return __atomic_load_n(&set->buckets[bucket].judged, __ATOMIC_SEQ_CST);
}

void bcfmt_set_raise_gen(struct bcfmt_set *set, uint64_t ptr)
{
	set_raise_gen(set, ptr);
}

void set_mark_judged(struct bcfmt_set *set, uint64_t bucket)
{
	if (!__atomic_load_n(&set->buckets[bucket].judged, __ATOMIC_RELAXED))
		__atomic_store_n(&set->buckets[bucket].judged, 1, __ATOMIC_SEQ_CST);
}

unsigned int bcfmt_set_stale(const struct bcfmt_set *set, uint64_t ptr)
{
	uint64_t bucket;

	if (!has_bucket(set, ptr, &bucket))
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
