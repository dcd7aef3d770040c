/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Puts a set together from its devices: members, journal, tables, bucket map. */
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/checked.h"
#include "base/large.h"
#include "set/found.h"
#include "set/set_impl.h"

static enum bcfmt_role role_of(const struct bcfmt_member *member, enum bcfmt_role wanted)
{
	if (wanted != BCFMT_ROLE_AUTO)
		return wanted;
	return member->super.is_backing ? BCFMT_ROLE_BACKING : BCFMT_ROLE_CACHE;
}

static void member_read(struct bcfmt_member *member, struct bcfmt_dev *dev, enum bcfmt_role wanted,
			uint32_t page_bytes)
{
	memset(member, 0, sizeof(*member));
	member->dev = dev;
	member->is_readable = super_read(dev, &member->super);
	member->role = role_of(member, wanted);
	/* A forced role decides how the shared fields are read. */
	member->super.is_backing = member->role == BCFMT_ROLE_BACKING;
	member->faults = bcfmt_super_faults(&member->super, bcfmt_dev_bytes(dev),
					    bcfmt_dev_logical_block_bytes(dev), page_bytes);
	member->has_magic = member->is_readable && !(member->faults & BCFMT_SUPER_BAD_MAGIC);
}

/* Sorts the devices into roles. What has no superblock at all is the cache only if nothing is. */
static bcfmt_err members_read(struct bcfmt_set *set, struct bcfmt_dev *const *devs, size_t n_devs,
			      const struct bcfmt_set_params *params)
{
	size_t unknown = n_devs;

	set->backing = calloc(n_devs, sizeof(*set->backing));
	if (!set->backing)
		return BCFMT_E_NOMEM;
	for (size_t i = 0; i < n_devs; i++) {
		enum bcfmt_role wanted = params->roles ? params->roles[i] : BCFMT_ROLE_AUTO;
		struct bcfmt_member member;

		member_read(&member, devs[i], wanted,
			    params->page_bytes ? params->page_bytes : 4096);
		if (member.role == BCFMT_ROLE_BACKING ||
		    (wanted == BCFMT_ROLE_AUTO && !member.has_magic)) {
			if (member.role == BCFMT_ROLE_CACHE && unknown == n_devs)
				unknown = set->n_backing;
			set->backing[set->n_backing++] = member;
			continue;
		}
		if (set->has_cache)
			return bcfmt_fail(set->ctx, BCFMT_E_ARG,
					  "%s and %s are both cache devices, give one set at a time; "
					  "where a superblock is wrong name roles with --cache and --backing",
					  bcfmt_dev_name(set->cache.dev), bcfmt_dev_name(devs[i]));
		set->cache = member;
		set->has_cache = true;
	}
	if (!set->has_cache && unknown < set->n_backing) {
		set->cache = set->backing[unknown];
		set->has_cache = true;
		memmove(&set->backing[unknown], &set->backing[unknown + 1],
			(--set->n_backing - unknown) * sizeof(*set->backing));
	}
	return BCFMT_OK;
}

/* The map must fit the machine: a superblock can claim any number of buckets for a sparse file. */
static bool is_too_large(uint64_t nbuckets)
{
	long pages = sysconf(_SC_PHYS_PAGES), page_bytes = sysconf(_SC_PAGESIZE);

	return pages > 0 && page_bytes > 0 &&
	       nbuckets >
		       (uint64_t)pages * (uint64_t)page_bytes / 4 * 3 / sizeof(struct bcfmt_bucket);
}

static bcfmt_err map_new(struct bcfmt_set *set)
{
	const struct bcfmt_geometry *geo = &set->geo;

	if (is_too_large(geo->nbuckets))
		return bcfmt_fail(set->ctx, BCFMT_E_NOMEM,
				  "%s: %llu buckets need %llu MiB of memory, more than is here",
				  bcfmt_dev_name(set->cache.dev), (unsigned long long)geo->nbuckets,
				  (unsigned long long)(geo->nbuckets >> 17));
	set->buckets = calloc(geo->nbuckets, sizeof(*set->buckets));
	large_pages(set->buckets, geo->nbuckets * sizeof(*set->buckets));
	set->n_uuids = geo->nr_uuids;
	set->uuids = calloc(set->n_uuids, sizeof(*set->uuids));
	if (!set->buckets || !set->uuids)
		return bcfmt_fail(set->ctx, BCFMT_E_NOMEM, "no memory for %llu buckets",
				  (unsigned long long)geo->nbuckets);
	for (uint64_t i = 0; i < geo->first_bucket; i++)
		set->buckets[i].use = BCFMT_USE_RESERVED;
	for (uint64_t i = 0; i < geo->journal_buckets; i++)
		set->buckets[geo->first_bucket + i].use = BCFMT_USE_JOURNAL;
	return BCFMT_OK;
}

/*
 * The entry to read the set by: the one that was asked for; else the highest number, but not one
 * that a kernel does not reach where two histories are mixed.
 */
static bcfmt_err choose_newest(struct bcfmt_set *set, uint64_t incarnation_seq)
{
	struct bcfmt_journal *journal = &set->journal;
	uint8_t *buf = NULL;
	size_t buf_bytes = 0;
	bcfmt_err err;

	if (!journal->has_entries)
		return BCFMT_OK;
	set->newest_index = journal->newest;
	if (set->histories.is_found && journal->n_kernel)
		set->newest_index = journal->kernel_list[journal->n_kernel - 1];
	if (incarnation_seq && bcfmt_journal_find(journal, incarnation_seq, &set->newest_index))
		return bcfmt_fail(set->ctx, BCFMT_E_ARG, "%s: the journal has no entry %llu",
				  bcfmt_dev_name(set->cache.dev),
				  (unsigned long long)incarnation_seq);
	err = bcfmt_journal_entry_load(journal, set->newest_index, &buf, &buf_bytes, &set->newest);
	set->newest.keys = NULL;
	free(buf);
	if (err == BCFMT_E_DAMAGED) /* read well a moment ago: the device is failing */
		return BCFMT_OK;
	set->has_newest = !err;
	if (err)
		return err;
	set_mend_level(set);
	set_find_window(set);
	return err;
}

/*
 * By a version below 1 the uuid table is read as one of shorter entries, and devices get each
 * other's numbers. Whatever kernel wrote an entry with version 1 was not followed by one of the
 * time before. kernel: uuid_read(), bch_journal_write()
 */
static void prove_version(struct bcfmt_set *set)
{
	const struct bcfmt_journal_entry *entries = set->journal.entries;

	if (!set->has_newest || set->newest.version >= 1)
		return;
	for (size_t i = set->newest_index; i-- > replay_history_begin(set);)
		if (!entries[i].has_old_uuids && entries[i].seq < set->newest.seq) {
			set->version_proof_seq = entries[i].seq;
			set->newest.version = 1;
			return;
		}
}

/* A table that is larger than its device is a hostile one: the map must not follow it. */
static uint64_t map_limit_buckets(const struct bcfmt_geometry *geo)
{
	return geo->dev_sectors / geo->bucket_sectors;
}

static bcfmt_err cache_read(struct bcfmt_set *set, const struct bcfmt_set_params *params)
{
	uint32_t page_bytes = params->page_bytes ? params->page_bytes : 4096;
	bcfmt_err err;

	if (!set->cache.has_magic ||
	    bcfmt_geometry_init(&set->cache.super, bcfmt_dev_bytes(set->cache.dev), page_bytes,
				&set->geo))
		return BCFMT_OK;
	/* On a device cut short the buckets that are left can be read; the super pass tells. */
	if (set->geo.nbuckets > map_limit_buckets(&set->geo))
		set->geo.nbuckets = map_limit_buckets(&set->geo);
	if (set->geo.nbuckets <= (uint64_t)set->geo.first_bucket + set->geo.journal_buckets)
		return BCFMT_OK;
	set->has_geometry = true;
	err = map_new(set);
	if (!err)
		err = bcfmt_journal_read(set->ctx, set->cache.dev, &set->geo, &set->journal);
	if (!err)
		err = bcfmt_journal_histories(set->ctx, &set->journal, &set->histories);
	if (!err)
		err = choose_newest(set, params->incarnation_seq);
	prove_version(set);
	if (err || !set->has_newest) {
		set->uuids_state = BCFMT_UUIDS_ABSENT;
		set->is_without_journal = !err && !set->journal.has_entries &&
					  !set->journal.is_other_endian &&
					  set->cache.super.flags & BCFMT_SUPER_FLAG_SYNC;
		set->has_tree = set->is_without_journal;
		set->newest.version = 1;
		return err;
	}
	set->has_tree = true;
	err = set_load_prios(set);
	return err ? err : set_load_uuids(set);
}

bcfmt_err bcfmt_set_open(struct bcfmt_ctx *ctx, struct bcfmt_dev *const *devs, size_t n_devs,
			 const struct bcfmt_set_params *params, struct bcfmt_set **out)
{
	static const struct bcfmt_set_params defaults = { 0 };
	struct bcfmt_set *set;
	bcfmt_err err;

	*out = NULL;
	if (!n_devs)
		return bcfmt_fail(ctx, BCFMT_E_ARG, "no device given");
	set = calloc(1, sizeof(*set));
	if (!set)
		return BCFMT_E_NOMEM;
	set->ctx = ctx;
	if (!params)
		params = &defaults;
	set->is_shallow = params->is_shallow;
	err = members_read(set, devs, n_devs, params);
	if (!err && set->has_cache)
		err = cache_read(set, params);
	if (err) {
		bcfmt_set_free(set);
		return err;
	}
	*out = set;
	return BCFMT_OK;
}

void bcfmt_set_free(struct bcfmt_set *set)
{
	if (!set)
		return;
	bcfmt_journal_clear(&set->journal);
	found_free(set->found);
	free(set->prio_links);
	free(set->uuids);
	free(set->buckets);
	free(set->backing);
	free(set);
}

const struct bcfmt_member *bcfmt_set_backing(const struct bcfmt_set *set,
					     const uint8_t uuid[BCFMT_UUID_BYTES])
{
	for (size_t i = 0; i < set->n_backing; i++)
		if (!memcmp(set->backing[i].super.uuid, uuid, BCFMT_UUID_BYTES))
			return &set->backing[i];
	return NULL;
}

bcfmt_err bcfmt_set_inode(const struct bcfmt_set *set, const uint8_t uuid[BCFMT_UUID_BYTES],
			  uint32_t *inode)
{
	for (uint32_t i = 0; i < set->n_uuids; i++)
		if (bcfmt_uuid_state(&set->uuids[i]) == BCFMT_UUID_LIVE &&
		    !memcmp(set->uuids[i].uuid, uuid, BCFMT_UUID_BYTES)) {
			*inode = i;
			return BCFMT_OK;
		}
	return BCFMT_END;
}
