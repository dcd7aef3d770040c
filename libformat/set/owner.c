/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Reads the uuid tables that older journal entries name. */
#include <bcfmt/owner.h>

#include <stdlib.h>
#include <string.h>

#include "set/set_impl.h"

/* A table and the newest entry that names it. */
struct old_table {
	uint64_t ptr;
	uint64_t seq;
	size_t entry; /* index into the journal */
};

struct search {
	const struct bcfmt_set *set;
	struct bcfmt_owner *owners;
	struct bcfmt_uuid_entry *table; /* set->n_uuids */
	uint8_t *buf;
	size_t buf_bytes;
};

static int by_ptr(const void *a, const void *b)
{
	const struct old_table *x = a, *y = b;

	if (x->ptr != y->ptr)
		return x->ptr < y->ptr ? -1 : 1;
	return x->seq > y->seq ? -1 : x->seq < y->seq;
}

static int by_seq(const void *a, const void *b)
{
	const struct old_table *x = a, *y = b;

	if (x->seq != y->seq)
		return x->seq > y->seq ? -1 : 1;
	return x->ptr < y->ptr ? -1 : x->ptr > y->ptr;
}

/* Keeps each pointer once, the newest table first. */
static void keep_each_once(struct vec *tables)
{
	struct old_table *table = tables->items;
	size_t n = 0;

	if (!tables->n)
		return;
	qsort(table, tables->n, sizeof(*table), by_ptr);
	for (size_t i = 0; i < tables->n; i++)
		if (!n || table[n - 1].ptr != table[i].ptr)
			table[n++] = table[i];
	tables->n = n;
	qsort(table, n, sizeof(*table), by_seq);
}

static bcfmt_err collect(const struct bcfmt_set *set, struct vec *tables)
{
	const struct bcfmt_journal *journal = &set->journal;

	for (size_t i = 0; i < journal->n_entries; i++) {
		const struct bcfmt_journal_entry *entry = &journal->entries[i];
		struct old_table *table;

		if (entry->seq >= set->newest.seq || entry->uuid_ptr == set->newest.uuid_bucket.ptr)
			continue;
		table = vec_push(tables, sizeof(*table));
		if (!table)
			return bcfmt_fail(set->ctx, BCFMT_E_NOMEM, "no memory for uuid tables");
		*table = (struct old_table){ entry->uuid_ptr, entry->seq, i };
	}
	keep_each_once(tables);
	return BCFMT_OK;
}

/* A device that exists: given, or in the newest table. */
static bool is_known(const struct bcfmt_set *set, const uint8_t uuid[BCFMT_UUID_BYTES])
{
	uint32_t inode;

	return bcfmt_set_backing(set, uuid) || !bcfmt_set_inode(set, uuid, &inode);
}

static void look_at(struct search *search, const struct old_table *from)
{
	const struct bcfmt_set *set = search->set;

	for (uint32_t i = 0; i < set->n_uuids; i++) {
		const struct bcfmt_uuid_entry *entry = &search->table[i];
		struct bcfmt_owner *owner = &search->owners[i];

		if (bcfmt_uuid_state(&set->uuids[i]) == BCFMT_UUID_LIVE ||
		    bcfmt_uuid_state(entry) != BCFMT_UUID_LIVE || !is_known(set, entry->uuid))
			continue;
		if (owner->proof == BCFMT_OWNER_UNKNOWN) {
			owner->proof = BCFMT_OWNER_PROVED;
			owner->seq = from->seq;
			owner->bucket = bcfmt_ptr_bucket(&set->geo, from->ptr);
			memcpy(owner->uuid, entry->uuid, sizeof(owner->uuid));
		} else if (memcmp(owner->uuid, entry->uuid, sizeof(owner->uuid))) {
			owner->proof = BCFMT_OWNER_CONTRADICTED;
		}
	}
}

static bcfmt_err read_table(struct search *search, const struct old_table *from)
{
	const struct bcfmt_set *set = search->set;
	const struct bcfmt_geometry *geo = &set->geo;
	struct bcfmt_bad_read bad;
	struct bcfmt_jset jset;
	bcfmt_err err = bcfmt_journal_entry_load(&set->journal, from->entry, &search->buf,
						 &search->buf_bytes, &jset);

	if (err == BCFMT_E_NOMEM || err == BCFMT_E_CANCELLED)
		return err;
	if (err) {
		bcfmt_ctx_fault_clear(set->ctx);
		return BCFMT_OK;
	}
	if (bcfmt_key_fault_btree(geo, &jset.uuid_bucket) ||
	    !bcfmt_ptr_is_available(jset.uuid_bucket.ptr) ||
	    bcfmt_ptr_bucket(geo, jset.uuid_bucket.ptr) >= geo->nbuckets)
		return BCFMT_OK;
	memset(search->table, 0, set->n_uuids * sizeof(*search->table));
	err = uuids_read(set->ctx, set->cache.dev, &jset.uuid_bucket, jset.version, search->table,
			 set->n_uuids, &bad);
	if (!err)
		look_at(search, from);
	return err;
}

bcfmt_err bcfmt_owners_find(const struct bcfmt_set *set, struct bcfmt_owner *owners)
{
	struct search search = { .set = set, .owners = owners };
	struct vec tables = { NULL, 0, 0 };
	bcfmt_err err = BCFMT_OK;

	memset(owners, 0, set->n_uuids * sizeof(*owners));
	if (!set->has_newest || set->histories.is_found)
		return BCFMT_OK;
	search.table = calloc(set->n_uuids ? set->n_uuids : 1, sizeof(*search.table));
	if (!search.table)
		return bcfmt_fail(set->ctx, BCFMT_E_NOMEM, "no memory for a uuid table");
	err = collect(set, &tables);
	for (size_t i = 0; !err && i < tables.n; i++) {
		err = read_table(&search, VEC_AT(&tables, struct old_table, i));
		if (!err && bcfmt_ctx_is_cancelled(set->ctx))
			err = BCFMT_E_CANCELLED;
	}
	vec_free(&tables);
	free(search.table);
	free(search.buf);
	return err;
}
