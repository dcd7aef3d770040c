/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Rules for keys that are written, and the words for what breaks them. */
#include "write/write_impl.h"

#include <inttypes.h>

/* Inode, size, dirty bit, number of pointers, and the bit that is always set. */
#define KEY_ALWAYS_SET (1ull << 63)
#define KEY_WITH_MEANING (KEY_ALWAYS_SET | 7ull << 60 | ((1ull << 37) - 1))
#define PTR_UNUSED (1ull << 63)

bool write_bucket_is_usable(const struct bcfmt_geometry *geo, uint64_t bucket)
{
	return bucket >= geo->first_bucket && bucket < geo->nbuckets &&
	       !bcfmt_bucket_is_journal(geo, bucket);
}

/* What is wrong with any key, and with the pointer of one that has data. */
static const char *common_refusal(const struct bcfmt_geometry *geo, const struct bcfmt_key *key)
{
	if ((key->high & ~KEY_WITH_MEANING) || !(key->high & KEY_ALWAYS_SET))
		return "has bits without a meaning";
	if (key->low > BCFMT_KEY_MAX_OFFSET)
		return "ends beyond the last sector";
	if (bcfmt_key_ptr_count(key) > 1)
		return "has several pointers";
	if (!bcfmt_key_sectors(key))
		return "has no size";
	if (!bcfmt_key_ptr_count(key))
		return NULL;
	if (bcfmt_key_is_placeholder(key))
		return "is a placeholder, which has no place";
	if (bcfmt_ptr_dev(key->ptr) != geo->nr_this_dev)
		return "points to another member of the set";
	if (key->ptr & PTR_UNUSED)
		return "has a pointer with bits without a meaning";
	return NULL;
}

const char *write_leaf_key_refusal(const struct bcfmt_geometry *geo, const struct bcfmt_key *key)
{
	const char *why = common_refusal(geo, key);

	if (why)
		return why;
	switch (bcfmt_key_fault_extent(geo, key)) {
	case BCFMT_KEY_OK:
		break;
	case BCFMT_KEY_LENGTH:
		return "crosses the end of its bucket";
	case BCFMT_KEY_SHORT_OFFSET:
		return "points before the first bucket";
	case BCFMT_KEY_PAST_END:
		return "points beyond the last bucket";
	case BCFMT_KEY_BEFORE_START:
		return "begins before sector 0";
	case BCFMT_KEY_NO_PTR:
	case BCFMT_KEY_ZERO_SIZE:
	case BCFMT_KEY_DIRTY_NODE:
		return "is no extent";
	}
	if (bcfmt_key_inode(key) >= geo->nr_uuids)
		return "has an inode beyond the uuid table";
	if (!bcfmt_key_ptr_count(key))
		return bcfmt_key_is_dirty(key) ? "is dirty and has no pointer" : NULL;
	if (bcfmt_bucket_is_journal(geo, bcfmt_ptr_bucket(geo, key->ptr)))
		return "points into the journal";
	return NULL;
}

const char *write_node_key_refusal(const struct bcfmt_geometry *geo, const struct bcfmt_key *key)
{
	const char *why = common_refusal(geo, key);

	if (why)
		return why;
	if (bcfmt_key_fault_btree(geo, key))
		return "is no pointer to a node";
	if (!write_bucket_is_usable(geo, bcfmt_ptr_bucket(geo, key->ptr)))
		return "points to a bucket that cannot hold a node";
	if (bcfmt_ptr_sector(key->ptr) & (geo->bucket_sectors - 1))
		return "points into the middle of a bucket";
	if (bcfmt_key_is_zero_pos(key))
		return "has the position of a freed node";
	return NULL;
}

bcfmt_err write_fail_key(const struct bcfmt_target *target, const struct bcfmt_key *key,
			 const char *why)
{
	char text[BCFMT_KEY_TEXT_BYTES];

	bcfmt_key_text(text, key);
	return bcfmt_fail(target->ctx, BCFMT_E_ARG, "%s: not written: key %s %s",
			  bcfmt_dev_name(target->dev), text, why);
}

bcfmt_err write_fail_verify(const struct bcfmt_target *target, const char *structure,
			    uint64_t sector)
{
	return bcfmt_fail(target->ctx, BCFMT_E_DAMAGED,
			  "%s: sector %" PRIu64 ": not written: the %s does not verify",
			  bcfmt_dev_name(target->dev), sector, structure);
}

uint32_t bcfmt_keys_encode(const struct bcfmt_key *keys, uint32_t n, uint8_t *raw)
{
	uint32_t words = 0;

	for (uint32_t i = 0; i < n; i++)
		words += bcfmt_key_encode(&keys[i], raw + 8 * (size_t)words);
	return words;
}
