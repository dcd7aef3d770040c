/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Writes journal entries. */
#include "write/write_impl.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include <bcfmt/journal.h>

#include "base/checked.h"

static bcfmt_err fail_jset(const struct bcfmt_target *target, const struct bcfmt_jset *jset,
			   const char *why)
{
	return bcfmt_fail(target->ctx, BCFMT_E_ARG, "%s: journal entry %" PRIu64 " not written: %s",
			  bcfmt_dev_name(target->dev), jset->seq, why);
}

static bool is_same_key(const struct bcfmt_key *a, const struct bcfmt_key *b)
{
	return a->high == b->high && a->low == b->low &&
	       (!bcfmt_key_ptr_count(a) || a->ptr == b->ptr);
}

/* raw decodes to the entry that was given; its keys were copied. */
static bool is_same(const struct bcfmt_geometry *geo, const struct bcfmt_jset *jset,
		    const uint8_t *raw, size_t len_bytes)
{
	struct bcfmt_jset got;
	enum bcfmt_jset_fault fault = bcfmt_jset_decode(geo, raw, len_bytes, &got);
	bool is_long = len_bytes > (size_t)BCFMT_JSET_MAX_PAGES * geo->page_bytes;

	return fault == (is_long ? BCFMT_JSET_TOO_BIG : BCFMT_JSET_OK) && got.seq == jset->seq &&
	       got.last_seq == jset->last_seq && got.version == jset->version &&
	       got.keys_field == jset->keys_field && got.btree_level == jset->btree_level &&
	       is_same_key(&got.btree_root, &jset->btree_root) &&
	       is_same_key(&got.uuid_bucket, &jset->uuid_bucket) &&
	       !memcmp(got.prio_bucket, jset->prio_bucket, sizeof(got.prio_bucket));
}

static bcfmt_err put_jset(const struct bcfmt_target *target, const struct bcfmt_jset *jset,
			  uint32_t ring_index, uint32_t sector, bool has_padding)
{
	const struct bcfmt_geometry *geo = target->geo;
	uint64_t len_bytes = BCFMT_JSET_HEADER_BYTES + 8ull * jset->keys_field;
	uint64_t padded_bytes =
		div_round_up(len_bytes, bcfmt_block_bytes(geo)) * bcfmt_block_bytes(geo);
	uint64_t room_bytes, at_sector;
	bcfmt_err err;
	uint8_t *raw;

	if (ring_index >= geo->journal_buckets || sector >= geo->bucket_sectors)
		return fail_jset(target, jset, "its place is outside the journal");
	room_bytes = (uint64_t)(geo->bucket_sectors - sector) * BCFMT_SECTOR_BYTES;
	if ((has_padding ? padded_bytes : len_bytes) > room_bytes)
		return fail_jset(target, jset, "it does not fit into its bucket");
	at_sector = bcfmt_bucket_sector(geo, (uint64_t)geo->first_bucket + ring_index) + sector;
	raw = calloc(1, (size_t)padded_bytes);
	if (!raw)
		return bcfmt_fail(target->ctx, BCFMT_E_NOMEM,
				  "%s: out of memory for a journal entry",
				  bcfmt_dev_name(target->dev));
	if (jset->keys_field)
		memcpy(raw + BCFMT_JSET_HEADER_BYTES, jset->keys, 8 * (size_t)jset->keys_field);
	bcfmt_jset_encode(geo, jset, raw);
	if (is_same(geo, jset, raw, (size_t)len_bytes))
		err = bcfmt_dev_write(target->dev, at_sector * BCFMT_SECTOR_BYTES, raw,
				      (size_t)(has_padding ? padded_bytes : len_bytes));
	else
		err = write_fail_verify(target, "journal entry", at_sector);
	free(raw);
	return err;
}

static const char *table_refusal(const struct bcfmt_geometry *geo, const struct bcfmt_jset *jset)
{
	const struct bcfmt_key *uuids = &jset->uuid_bucket;
	uint64_t prio = jset->prio_bucket[geo->nr_this_dev];

	if (bcfmt_key_fault_btree(geo, uuids) || !bcfmt_key_is_zero_pos(uuids) ||
	    bcfmt_key_sectors(uuids) != geo->meta_bytes / BCFMT_SECTOR_BYTES ||
	    bcfmt_key_ptr_count(uuids) != 1 || bcfmt_ptr_dev(uuids->ptr) != geo->nr_this_dev ||
	    bcfmt_ptr_sector(uuids->ptr) & (geo->bucket_sectors - 1) ||
	    !write_bucket_is_usable(geo, bcfmt_ptr_bucket(geo, uuids->ptr)))
		return "its pointer to the uuid table is wrong";
	if (!write_bucket_is_usable(geo, prio))
		return "its prio bucket cannot hold a prio set";
	for (unsigned int i = 0; i < BCFMT_MAX_MEMBERS; i++)
		if (i != geo->nr_this_dev && jset->prio_bucket[i])
			return "it has prio buckets for other members";
	return NULL;
}

static const char *header_refusal(const struct bcfmt_geometry *geo, const struct bcfmt_jset *jset,
				  uint32_t sector)
{
	const struct bcfmt_key *root = &jset->btree_root;
	uint64_t len_bytes = BCFMT_JSET_HEADER_BYTES + 8ull * jset->keys_field;

	if (sector % geo->block_sectors)
		return "its place is not aligned to blocks";
	if (len_bytes > (uint64_t)BCFMT_JSET_MAX_PAGES * geo->page_bytes)
		return "it is larger than 8 pages";
	if (!jset->last_seq || jset->last_seq > jset->seq ||
	    jset->seq - jset->last_seq >= BCFMT_JOURNAL_PINS_MAX)
		return "its first needed entry is not within 32766 entries";
	if (jset->version != 1)
		return "its version is not 1";
	if (jset->btree_level > UINT8_MAX)
		return "its root's level is above 255";
	if (write_node_key_refusal(geo, root) ||
	    bcfmt_pos_cmp(bcfmt_key_end(root), bcfmt_pos_max()) ||
	    !is_pow2(bcfmt_key_sectors(root)))
		return "its pointer to the root is wrong";
	return table_refusal(geo, jset);
}

bcfmt_err bcfmt_jset_write(const struct bcfmt_target *target, const struct bcfmt_jset *jset,
			   uint32_t ring_index, uint32_t sector)
{
	struct bcfmt_key_iter it = bcfmt_key_iter_init(jset->keys, jset->keys_field);
	const char *why = header_refusal(target->geo, jset, sector);
	struct bcfmt_key key;

	if (why)
		return fail_jset(target, jset, why);
	while (bcfmt_key_iter_next(&it, &key)) {
		why = write_leaf_key_refusal(target->geo, &key);
		if (why)
			return write_fail_key(target, &key, why);
	}
	if (it.is_overrun)
		return fail_jset(target, jset, "its keys do not end with the last word");
	return put_jset(target, jset, ring_index, sector, true);
}

bcfmt_err bcfmt_jset_write_raw(const struct bcfmt_target *target, const struct bcfmt_jset *jset,
			       uint32_t ring_index, uint32_t sector)
{
	return put_jset(target, jset, ring_index, sector, false);
}
