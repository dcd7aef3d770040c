/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Loads what the newest journal entry names: the prio chain and the uuid table. */
#include <stdlib.h>
#include <string.h>

#include "base/checked.h"
#include "set/set_impl.h"

/* Layouts that differ only above 4 MiB buckets: the page size of the writer decides. */
static const uint32_t writer_page_bytes[] = { 4096, 16384, 65536 };

static enum bcfmt_prio_state link_state(enum prio_state state)
{
	switch (state) {
	case PRIO_STATE_OK:
		return BCFMT_PRIO_SET_OK;
	case PRIO_STATE_CSUM:
		return BCFMT_PRIO_SET_CSUM;
	case PRIO_STATE_MAGIC:
		return BCFMT_PRIO_SET_MAGIC;
	case PRIO_STATE_UNREADABLE:
		break;
	}
	return BCFMT_PRIO_SET_UNREADABLE;
}

static void take_entries(struct bcfmt_set *set, const struct bcfmt_geometry *geo, uint64_t index,
			 const uint8_t *raw)
{
	uint64_t first = index * geo->prios_per_bucket;
	uint64_t n = min_u64(geo->prios_per_bucket, set->geo.nbuckets - first);

	for (uint32_t i = 0; i < n; i++) {
		struct bcfmt_bucket *bucket = &set->buckets[first + i];

		bcfmt_prio_entry(raw, i, &bucket->prio, &bucket->disk_gen);
		bucket->gen = bucket->disk_gen;
		bucket->gen_flags = BUCKET_GEN_ON_DISK;
	}
}

/* Reads link index in the layout of geo; raw has room for geo->meta_bytes. */
static void read_link(struct bcfmt_set *set, const struct bcfmt_geometry *geo, uint64_t index,
		      uint64_t bucket, uint8_t *raw, uint64_t *next)
{
	struct bcfmt_prio_link *link = &set->prio_links[index];
	struct bcfmt_prio_set prio;

	memset(link, 0, sizeof(*link));
	memset(&prio, 0, sizeof(prio));
	link->bucket = bucket;
	if (bucket < geo->first_bucket || bucket >= geo->nbuckets)
		link->state = BCFMT_PRIO_SET_RANGE;
	else if (bcfmt_bucket_is_journal(geo, bucket))
		link->state = BCFMT_PRIO_SET_JOURNAL;
	else if (set->buckets[bucket].use & BCFMT_USE_PRIO)
		link->state = BCFMT_PRIO_SET_LOOP;
	else
		link->state = link_state(prio_set_read(set->cache.dev, geo, bucket, raw, &prio));
	link->csum = prio.csum;
	link->csum_computed = prio.csum_computed;
	link->magic = prio.magic;
	link->seq = prio.seq;
	*next = prio.next_bucket;
}

/* Follows the chain in the layout of geo; true when all of it is right. */
static bool follow_chain(struct bcfmt_set *set, const struct bcfmt_geometry *geo, uint8_t *raw)
{
	uint64_t n = bcfmt_geometry_prio_buckets(geo);
	uint64_t bucket = set->newest.prio_bucket[geo->nr_this_dev];

	for (uint64_t i = 0; i < n; i++) {
		uint64_t next;

		read_link(set, geo, i, bucket, raw, &next);
		set->n_prio_links = i + 1;
		if (set->prio_links[i].state != BCFMT_PRIO_SET_OK)
			return false;
		take_entries(set, geo, i, raw);
		set->buckets[bucket].use |= BCFMT_USE_PRIO;
		bucket = next;
	}
	return true;
}

static void forget_chain(struct bcfmt_set *set)
{
	for (uint64_t i = 0; i < set->geo.nbuckets; i++) {
		struct bcfmt_bucket *bucket = &set->buckets[i];

		bucket->use &= (uint8_t)~BCFMT_USE_PRIO;
		bucket->prio = 0;
		bucket->gen = bucket->disk_gen = 0;
		bucket->gen_flags = 0;
	}
}

struct bcfmt_geometry prio_layout_for(const struct bcfmt_geometry *geo, uint32_t page_bytes)
{
	struct bcfmt_geometry other = *geo;

	other.page_bytes = page_bytes;
	other.meta_bytes = bcfmt_geometry_meta_bytes(geo->bucket_sectors, page_bytes);
	other.prios_per_bucket = (other.meta_bytes - BCFMT_PRIO_HEADER_BYTES) / 3;
	return other;
}

/* The first link does not verify in the layout it was read in: another may be the right one. */
static bool is_other_layout(const struct bcfmt_set *set)
{
	return set->n_prio_links && set->prio_links[0].state == BCFMT_PRIO_SET_CSUM;
}

bcfmt_err set_load_prios(struct bcfmt_set *set)
{
	uint32_t most_bytes = bcfmt_geometry_meta_bytes(set->geo.bucket_sectors, 65536);
	struct bcfmt_geometry most_links = prio_layout_for(&set->geo, 4096);
	uint8_t *raw = malloc(max_u64(most_bytes, set->geo.meta_bytes));

	set->prio_links = calloc(max_u64(bcfmt_geometry_prio_buckets(&most_links),
					 bcfmt_geometry_prio_buckets(&set->geo)),
				 sizeof(*set->prio_links));
	if (!raw || !set->prio_links) {
		free(raw);
		return bcfmt_fail(set->ctx, BCFMT_E_NOMEM, "no memory for the prio sets");
	}
	set->prio_page_bytes = set->geo.page_bytes;
	set->has_all_prios = follow_chain(set, &set->geo, raw);
	for (size_t i = 0; i < 3 && is_other_layout(set); i++) {
		struct bcfmt_geometry other = prio_layout_for(&set->geo, writer_page_bytes[i]);

		if (other.meta_bytes == set->geo.meta_bytes)
			continue;
		forget_chain(set);
		set->has_all_prios = follow_chain(set, &other, raw);
		set->prio_page_bytes = other.page_bytes;
	}
	/* Tell of the layout that was expected when none fits. */
	if (is_other_layout(set)) {
		forget_chain(set);
		follow_chain(set, &set->geo, raw);
		set->prio_page_bytes = set->geo.page_bytes;
	}
	free(raw);
	set->prios_index = set->newest_index;
	return set_load_older_prios(set);
}

bcfmt_err set_load_uuids(struct bcfmt_set *set)
{
	const struct bcfmt_key *key = &set->newest.uuid_bucket;
	uint64_t bucket = bcfmt_ptr_bucket(&set->geo, key->ptr);
	bcfmt_err err;

	if (bcfmt_key_fault_btree(&set->geo, key) || !bcfmt_ptr_is_available(key->ptr) ||
	    bucket < set->geo.first_bucket || bucket >= set->geo.nbuckets) {
		set->uuids_state = BCFMT_UUIDS_BAD_POINTER;
		return set_load_older_uuids(set);
	}
	err = uuids_read(set->ctx, set->cache.dev, key, set->newest.version, set->uuids,
			 set->n_uuids, &set->uuids_bad_read);
	if (err)
		return err;
	if (uuids_are_overwritten(set, key->ptr))
		memset(set->uuids, 0, set->n_uuids * sizeof(*set->uuids));
	else
		set_mark_use(set, bucket, BCFMT_USE_UUID);
	if (set->uuids_bad_read.sectors)
		set->uuids_state = BCFMT_UUIDS_UNREADABLE;
	else if (bcfmt_key_sectors(key) != set->geo.meta_bytes / BCFMT_SECTOR_BYTES)
		set->uuids_state = BCFMT_UUIDS_BAD_SIZE;
	else
		set->uuids_state = BCFMT_UUIDS_OK;
	return set_load_older_uuids(set);
}
