/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Buckets for what is written anew. The old state must not use them, so that it stays whole until
 * the switch. In a damaged set that is not enough: a bucket that a pointer of any time names, or
 * that holds a node, is evidence of what there was, and is taken only when nothing else is left.
 */
#include <inttypes.h>
#include <stdlib.h>

#include "base/bytes.h"
#include "ondisk/bset.h"
#include "ondisk/jset.h"
#include "ondisk/prio_set.h"
#include "read/scan.h"
#include "repair/repair_impl.h"
#include "set/found.h"

/* Journal entries, prio sets and bsets all have it there. */
#define BSET_MAGIC_AT 8u
#define SCAN_BYTES (64u << 10)
/* Of what is never to be written to. */
#define MARKS_NEVER (BUCKET_TAKEN | BUCKET_KEPT | BUCKET_SOURCE | BUCKET_TABLE)

/* Steps of allocation, each over all buckets. */
enum ease {
	EASE_NONE,  /* what nobody names and what holds no structure */
	EASE_NODES, /* also what holds one that nothing leads to */
	EASE_NAMED, /* also what an old pointer names */
	EASE_GIVEN, /* also where clean data was given up */
	EASE_END,
};

bcfmt_err buckets_new(const struct bcfmt_set *set, struct repair_buckets **out)
{
	struct repair_buckets *buckets = calloc(1, sizeof(*buckets));

	*out = buckets;
	if (!buckets)
		return bcfmt_fail(set->ctx, BCFMT_E_NOMEM, "out of memory");
	buckets->set = set;
	buckets->gen = malloc(set->geo.nbuckets);
	buckets->marks = calloc(1, set->geo.nbuckets);
	buckets->block = malloc(bcfmt_block_bytes(&set->geo));
	if (!buckets->gen || !buckets->marks || !buckets->block)
		return bcfmt_fail(set->ctx, BCFMT_E_NOMEM,
				  "out of memory to choose among %" PRIu64 " buckets",
				  set->geo.nbuckets);
	for (uint64_t i = 0; i < set->geo.nbuckets; i++)
		buckets->gen[i] = set->buckets[i].gen;
	buckets->next = (uint64_t)set->geo.first_bucket + set->geo.journal_buckets;
	return scan_new(set->ctx, set->cache.dev, &set->geo, SCAN_BYTES, NULL, NULL,
			&buckets->scan);
}

void buckets_free(struct repair_buckets *buckets)
{
	if (!buckets)
		return;
	free(buckets->gen);
	free(buckets->marks);
	free(buckets->block);
	scan_free(buckets->scan);
	free(buckets);
}

/* The bucket of a pointer of this member. */
static bool bucket_of(const struct repair_buckets *buckets, uint64_t ptr, uint64_t *bucket)
{
	const struct bcfmt_geometry *geo = &buckets->set->geo;

	*bucket = bcfmt_ptr_bucket(geo, ptr);
	return bcfmt_ptr_dev(ptr) == geo->nr_this_dev && *bucket >= geo->first_bucket &&
	       *bucket < geo->nbuckets;
}

/* Raises the highest known gen; false when the pointer is older than that. */
static bool raise(struct repair_buckets *buckets, uint64_t bucket, uint8_t gen)
{
	uint8_t *at = &buckets->gen[bucket];
	uint8_t known = __atomic_load_n(at, __ATOMIC_RELAXED);

	do {
		if (bcfmt_gen_after(known, gen))
			return false;
		if (known == gen)
			return true;
	} while (!__atomic_compare_exchange_n(at, &known, gen, true, __ATOMIC_RELAXED,
					      __ATOMIC_RELAXED));
	return true;
}

void buckets_name(struct repair_buckets *buckets, uint64_t ptr)
{
	uint64_t bucket;

	if (bucket_of(buckets, ptr, &bucket) && raise(buckets, bucket, (uint8_t)bcfmt_ptr_gen(ptr)))
		__atomic_fetch_or(&buckets->marks[bucket], BUCKET_NAMED, __ATOMIC_RELAXED);
}

static void name_keys(struct repair_buckets *buckets, const struct bcfmt_jset *jset)
{
	struct bcfmt_key_iter it = bcfmt_key_iter_init(jset->keys, jset->keys_field);
	const struct bcfmt_geometry *geo = &buckets->set->geo;
	uint64_t prio = jset->prio_bucket[geo->nr_this_dev];
	struct bcfmt_key key;

	while (bcfmt_key_iter_next(&it, &key))
		if (bcfmt_key_has_data(&key))
			buckets_name(buckets, key.ptr);
	if (bcfmt_key_has_data(&jset->btree_root))
		buckets_name(buckets, jset->btree_root.ptr);
	if (bcfmt_key_has_data(&jset->uuid_bucket))
		buckets_name(buckets, jset->uuid_bucket.ptr);
	if (prio >= geo->first_bucket && prio < geo->nbuckets)
		buckets->marks[prio] |= BUCKET_NAMED;
}

bcfmt_err buckets_name_journal(struct repair_buckets *buckets)
{
	const struct bcfmt_journal *journal = &buckets->set->journal;
	uint8_t *buf = NULL;
	size_t buf_bytes = 0;
	bcfmt_err err = BCFMT_OK;

	for (size_t i = 0; !err && i < journal->n_entries; i++) {
		struct bcfmt_jset jset;

		err = bcfmt_journal_entry_load(journal, i, &buf, &buf_bytes, &jset);
		if (err == BCFMT_E_DAMAGED) {
			err = BCFMT_OK; /* read well a moment ago: the device is failing */
			continue;
		}
		if (!err)
			name_keys(buckets, &jset);
		if (!err && bcfmt_ctx_is_cancelled(buckets->set->ctx))
			err = BCFMT_E_CANCELLED;
	}
	free(buf);
	return err;
}

void buckets_keep_found(struct repair_buckets *buckets)
{
	const struct bcfmt_set *set = buckets->set;

	if (set->found_uuids_ptr)
		buckets->marks[bcfmt_ptr_bucket(&set->geo, set->found_uuids_ptr)] |= BUCKET_TABLE;
	for (size_t i = 0; set->found && i < set->found->prios.n; i++) {
		const struct found_prio *prio = VEC_AT(&set->found->prios, struct found_prio, i);

		if (prio->is_taken)
			buckets->marks[prio->bucket] |= BUCKET_TABLE;
	}
}

static bool has_magic(const struct repair_buckets *buckets)
{
	const struct bcfmt_geometry *geo = &buckets->set->geo;
	uint64_t magic = load_le64(buckets->block + BSET_MAGIC_AT);

	return magic == (geo->set_magic ^ DISK_BSET_MAGIC) ||
	       magic == (geo->set_magic ^ DISK_PRIO_MAGIC) ||
	       magic == (geo->set_magic ^ DISK_JSET_MAGIC);
}

static bcfmt_err take_gen(void *arg, const struct scan_found *found)
{
	struct repair_buckets *buckets = arg;

	if (found->kind == SCAN_BSET && found->bset.version)
		raise(buckets, buckets->next, (uint8_t)bcfmt_ptr_gen(found->bset.ptr));
	return BCFMT_OK;
}

/* A node says which gen its bucket had. */
static bool has_gen_of_node(struct repair_buckets *buckets, uint64_t first_sector)
{
	return !scan_range(buckets->scan, first_sector,
			   first_sector + buckets->set->geo.bucket_sectors, true, take_gen,
			   buckets);
}

/* Looks at a bucket that the old state does not use: true when it may be taken now. */
static bool is_free(struct repair_buckets *buckets, uint64_t bucket)
{
	const struct bcfmt_set *set = buckets->set;
	struct bcfmt_bad_read bad;
	unsigned int marks = buckets->marks[bucket];

	if (marks & MARKS_NEVER || (marks & BUCKET_NAMED && buckets->ease < EASE_NAMED))
		return false;
	if (marks & BUCKET_GIVEN_UP ? buckets->ease < EASE_GIVEN : set->buckets[bucket].use != 0)
		return false;
	if (bcfmt_dev_read_salvage(set->cache.dev,
				   bcfmt_bucket_sector(&set->geo, bucket) * BCFMT_SECTOR_BYTES,
				   buckets->block, bcfmt_block_bytes(&set->geo), &bad) ||
	    bad.sectors)
		return false;
	return !has_magic(buckets) ||
	       (buckets->ease >= EASE_NODES &&
		has_gen_of_node(buckets, bcfmt_bucket_sector(&set->geo, bucket)));
}

uint64_t buckets_unused(const struct repair_buckets *buckets)
{
	const struct bcfmt_geometry *geo = &buckets->set->geo;
	uint64_t n = 0;

	for (uint64_t i = (uint64_t)geo->first_bucket + geo->journal_buckets; i < geo->nbuckets;
	     i++)
		n += !buckets->set->buckets[i].use && !(buckets->marks[i] & MARKS_NEVER);
	return n;
}

bcfmt_err buckets_take(struct repair_buckets *buckets, uint64_t *bucket, uint8_t *gen)
{
	const struct bcfmt_geometry *geo = &buckets->set->geo;

	for (; buckets->ease < EASE_END; buckets->ease++) {
		for (; buckets->next < geo->nbuckets; buckets->next++) {
			if (!is_free(buckets, buckets->next))
				continue;
			*bucket = buckets->next++;
			*gen = ++buckets->gen[*bucket];
			buckets->marks[*bucket] |= BUCKET_TAKEN;
			buckets->taken++;
			return BCFMT_OK;
		}
		buckets->next = (uint64_t)geo->first_bucket + geo->journal_buckets;
	}
	return bcfmt_fail(buckets->set->ctx, BCFMT_E_UNSUPPORTED,
			  "nothing is written: %s: no bucket is left after %" PRIu64
			  " new ones: write dirty data back first",
			  bcfmt_dev_name(buckets->set->cache.dev), buckets->taken);
}
