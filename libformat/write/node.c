/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Writes nodes: whole ones by the rules, and single bsets as they are told. */
#include "write/write_impl.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include <bcfmt/node.h>

#include "base/bytes.h"
#include "base/checked.h"

/* Place of the version in a bset, for the one that bcfmt_bset_encode() does not write. */
#define BSET_VERSION_AT 24u

static bcfmt_err fail_node(const struct bcfmt_target *target, const struct bcfmt_node_ref *ref,
			   const char *why)
{
	return bcfmt_fail(target->ctx, BCFMT_E_ARG,
			  "%s: sector %" PRIu64 ": node of level %u not written: %s",
			  bcfmt_dev_name(target->dev), bcfmt_ptr_sector(ref->ptr), ref->level, why);
}

/* Place, size and range; keys are judged one by one. */
static bcfmt_err check_ref(const struct bcfmt_target *target, const struct bcfmt_node_ref *ref)
{
	const struct bcfmt_geometry *geo = target->geo;
	struct bcfmt_key key =
		bcfmt_key_make(ref->hi.inode, ref->hi.sector, ref->sectors, false, true, ref->ptr);
	const char *why;

	if (!is_pow2(ref->sectors) || ref->sectors < geo->block_sectors ||
	    ref->sectors > geo->bucket_sectors || ref->sectors > BCFMT_KEY_MAX_SECTORS)
		return fail_node(target, ref,
				 "its size is no power of two, or outside block and bucket");
	why = write_node_key_refusal(geo, &key);
	if (why)
		return write_fail_key(target, &key, why);
	if (ref->is_root && bcfmt_pos_cmp(ref->hi, bcfmt_pos_max()))
		return fail_node(target, ref, "it is a root and does not end at the last key");
	if (bcfmt_pos_cmp(ref->lo, ref->hi) >= 0)
		return fail_node(target, ref, "its range is empty");
	return BCFMT_OK;
}

/* last: the END of the key before it, or the begin of the node's range. */
static const char *order_refusal(const struct bcfmt_node_ref *ref, const struct bcfmt_key *key,
				 struct bcfmt_pos last)
{
	struct bcfmt_pos begin = ref->level ? bcfmt_key_end(key) : bcfmt_key_start(key);
	int order = bcfmt_pos_cmp(begin, last);

	if (order < 0 || (ref->level && !order))
		return "lies before the end of the one before it, or of its node's range";
	if (bcfmt_pos_cmp(bcfmt_key_end(key), ref->hi) > 0)
		return "ends behind its node's range";
	return NULL;
}

static bcfmt_err check_keys(const struct bcfmt_target *target, const struct bcfmt_node_ref *ref,
			    const struct bcfmt_bset *bset)
{
	struct bcfmt_key_iter it = bcfmt_key_iter_init(bset->keys, bset->words);
	struct bcfmt_pos last = ref->lo;
	struct bcfmt_key key;

	while (bcfmt_key_iter_next(&it, &key)) {
		const char *why = ref->level ? write_node_key_refusal(target->geo, &key)
					     : write_leaf_key_refusal(target->geo, &key);

		if (!why)
			why = order_refusal(ref, &key, last);
		if (why)
			return write_fail_key(target, &key, why);
		last = bcfmt_key_end(&key);
	}
	if (it.is_overrun)
		return fail_node(target, ref, "its keys do not end with the last word");
	if (ref->level && bcfmt_pos_cmp(last, ref->hi))
		return fail_node(target, ref, "its last child does not end where it ends");
	return BCFMT_OK;
}

bcfmt_err write_node(const struct bcfmt_target *target, const struct bcfmt_node_ref *ref,
		     uint64_t seq, uint8_t *buf, uint32_t words, struct bcfmt_node *scratch)
{
	uint64_t sector = bcfmt_ptr_sector(ref->ptr);
	size_t node_bytes = (size_t)ref->sectors * BCFMT_SECTOR_BYTES;
	size_t used_bytes = BCFMT_BSET_HEADER_BYTES + 8 * (size_t)words;
	bcfmt_err err = check_ref(target, ref);

	if (err)
		return err;
	if (!seq)
		return fail_node(target, ref, "its seq is 0");
	if (used_bytes > node_bytes)
		return fail_node(target, ref, "its keys do not fit");
	bcfmt_bset_encode(target->geo, buf, seq, words, ref->ptr);
	memset(buf + used_bytes, 0, node_bytes - used_bytes);
	err = bcfmt_node_decode(scratch, target->geo, buf, ref->sectors, ref->ptr);
	if (err)
		return bcfmt_fail(target->ctx, err, "%s: out of memory",
				  bcfmt_dev_name(target->dev));
	if (scratch->fault || scratch->n_bsets != 1 || scratch->seq != seq ||
	    scratch->bsets[0].words != words)
		return write_fail_verify(target, "node", sector);
	err = check_keys(target, ref, &scratch->bsets[0]);
	return err ? err
		   : bcfmt_dev_write(target->dev, sector * BCFMT_SECTOR_BYTES, buf, node_bytes);
}

bcfmt_err bcfmt_node_write(const struct bcfmt_target *target, const struct bcfmt_node_ref *ref,
			   uint64_t seq, const struct bcfmt_key *keys, uint32_t n_keys)
{
	struct bcfmt_node scratch = { 0 };
	uint64_t words = 0;
	uint8_t *buf;
	bcfmt_err err = check_ref(target, ref);

	if (err)
		return err;
	for (uint32_t i = 0; i < n_keys; i++) {
		if (bcfmt_key_ptr_count(&keys[i]) > 1)
			return write_fail_key(target, &keys[i], "has several pointers");
		words += bcfmt_key_words(&keys[i]);
	}
	if (BCFMT_BSET_HEADER_BYTES + 8 * words > (uint64_t)ref->sectors * BCFMT_SECTOR_BYTES)
		return fail_node(target, ref, "its keys do not fit");
	buf = malloc((size_t)ref->sectors * BCFMT_SECTOR_BYTES);
	if (!buf)
		return bcfmt_fail(target->ctx, BCFMT_E_NOMEM, "%s: out of memory for a node",
				  bcfmt_dev_name(target->dev));
	bcfmt_keys_encode(keys, n_keys, buf + BCFMT_BSET_HEADER_BYTES);
	err = write_node(target, ref, seq, buf, (uint32_t)words, &scratch);
	bcfmt_node_clear(&scratch);
	free(buf);
	return err;
}

/* raw, padded to whole blocks, decodes to the bset that was given. */
static bcfmt_err check_bset(const struct bcfmt_target *target, const struct bcfmt_bset_raw *bset,
			    const uint8_t *raw, uint32_t sectors)
{
	struct bcfmt_node node = { 0 };
	bcfmt_err err = bcfmt_node_decode(&node, target->geo, raw, sectors, bset->ptr);
	const struct bcfmt_bset *got = node.bsets;

	if (err)
		err = bcfmt_fail(target->ctx, err, "%s: out of memory for a bset",
				 bcfmt_dev_name(target->dev));
	else if (!node.n_bsets || got->csum != got->csum_computed || got->seq != bset->seq ||
		 got->version != bset->version || got->words != bset->words)
		err = write_fail_verify(target, "bset", bcfmt_ptr_sector(bset->ptr));
	bcfmt_node_clear(&node);
	return err;
}

bcfmt_err bcfmt_bset_write_raw(const struct bcfmt_target *target, const struct bcfmt_bset_raw *bset)
{
	uint32_t block_bytes = bcfmt_block_bytes(target->geo);
	uint64_t len_bytes = BCFMT_BSET_HEADER_BYTES + 8ull * bset->words;
	uint64_t at_bytes = (uint64_t)bset->block * block_bytes;
	uint64_t node_bytes = (uint64_t)bset->node_sectors * BCFMT_SECTOR_BYTES;
	uint64_t padded_bytes = div_round_up(len_bytes, block_bytes) * block_bytes;
	uint64_t sector = bcfmt_ptr_sector(bset->ptr);
	uint8_t *raw;
	bcfmt_err err;

	if (at_bytes > node_bytes || len_bytes > node_bytes - at_bytes || bset->version > 1)
		return bcfmt_fail(target->ctx, BCFMT_E_ARG,
				  "%s: sector %" PRIu64 ": a bset of %" PRIu32
				  " words at block %" PRIu32 " does not fit into the node",
				  bcfmt_dev_name(target->dev), sector, bset->words, bset->block);
	raw = calloc(1, (size_t)padded_bytes);
	if (!raw)
		return bcfmt_fail(target->ctx, BCFMT_E_NOMEM, "%s: out of memory for a bset",
				  bcfmt_dev_name(target->dev));
	if (bset->words)
		memcpy(raw + BCFMT_BSET_HEADER_BYTES, bset->keys, 8 * (size_t)bset->words);
	bcfmt_bset_encode(target->geo, raw, bset->seq, bset->words, bset->ptr);
	if (!bset->version) {
		store_le32(raw + BSET_VERSION_AT, 0);
		store_le64(raw, bcfmt_bset_csum(raw, bset->words, 0, bset->ptr));
	}
	err = check_bset(target, bset, raw, (uint32_t)(padded_bytes / BCFMT_SECTOR_BYTES));
	if (!err)
		err = bcfmt_dev_write(target->dev, sector * BCFMT_SECTOR_BYTES + at_bytes, raw,
				      (size_t)len_bytes);
	free(raw);
	return err;
}
