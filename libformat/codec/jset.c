/* SPDX-License-Identifier: GPL-2.0-or-later */
/* One journal entry: bytes to fields and back. */
#include <bcfmt/jset.h>

#include <bcfmt/crc64.h>

#include "base/checked.h"
#include "ondisk/jset.h"

_Static_assert(sizeof(struct jset_disk) == BCFMT_JSET_HEADER_BYTES, "header");
_Static_assert(DISK_JSET_MEMBERS == BCFMT_MAX_MEMBERS, "members");

/* A key of seven pointers is a word longer than its place; only the first pointer is wanted. */
static struct bcfmt_key padded_key(const disk_le64 words[DISK_JSET_KEY_WORDS])
{
	struct bcfmt_key key = { .high = le64_get(&words[0]), .low = le64_get(&words[1]) };

	if (bcfmt_key_ptr_count(&key))
		key.ptr = le64_get(&words[2]);
	return key;
}

static uint64_t jset_csum(const uint8_t *raw, uint64_t bytes)
{
	return bcfmt_crc64(raw + 8, (size_t)bytes - 8);
}

enum bcfmt_jset_fault bcfmt_jset_decode(const struct bcfmt_geometry *geo, const uint8_t *raw,
					size_t avail_bytes, struct bcfmt_jset *out)
{
	const struct jset_disk *disk = (const struct jset_disk *)raw;

	*out = (struct bcfmt_jset){ 0 };
	if (avail_bytes < sizeof(*disk))
		return BCFMT_JSET_MAGIC;
	out->magic = le64_get(&disk->magic);
	if (out->magic != (geo->set_magic ^ DISK_JSET_MAGIC)) {
		uint64_t swapped = geo->set_magic ^ __builtin_bswap64(DISK_JSET_MAGIC);

		return out->magic == swapped ? BCFMT_JSET_OTHER_ENDIAN : BCFMT_JSET_MAGIC;
	}
	out->csum = le64_get(&disk->csum);
	out->seq = le64_get(&disk->seq);
	out->last_seq = le64_get(&disk->last_seq);
	out->version = le32_get(&disk->version);
	out->keys_field = le32_get(&disk->keys);
	out->uuid_bucket = padded_key(disk->uuid_bucket);
	out->btree_root = padded_key(disk->btree_root);
	out->btree_level = le16_get(&disk->btree_level);
	for (unsigned int i = 0; i < DISK_JSET_MEMBERS; i++)
		out->prio_bucket[i] = le64_get(&disk->prio_bucket[i]);
	out->keys = raw + sizeof(*disk);
	out->bytes = sizeof(*disk) + 8ull * out->keys_field;
	if (out->bytes > avail_bytes ||
	    out->bytes > (uint64_t)BCFMT_JSET_MAX_PAGES * geo->page_bytes)
		return BCFMT_JSET_TOO_BIG;
	out->blocks = (uint32_t)div_round_up(out->bytes, bcfmt_block_bytes(geo));
	out->csum_computed = jset_csum(raw, out->bytes);
	return out->csum == out->csum_computed ? BCFMT_JSET_OK : BCFMT_JSET_CSUM;
}

void bcfmt_jset_encode(const struct bcfmt_geometry *geo, const struct bcfmt_jset *jset,
		       uint8_t *raw)
{
	struct jset_disk *disk = (struct jset_disk *)raw;

	memset(disk, 0, sizeof(*disk));
	le64_set(&disk->magic, geo->set_magic ^ DISK_JSET_MAGIC);
	le64_set(&disk->seq, jset->seq);
	le32_set(&disk->version, jset->version);
	le32_set(&disk->keys, jset->keys_field);
	le64_set(&disk->last_seq, jset->last_seq);
	bcfmt_key_encode(&jset->uuid_bucket, disk->uuid_bucket[0].b);
	bcfmt_key_encode(&jset->btree_root, disk->btree_root[0].b);
	le16_set(&disk->btree_level, jset->btree_level);
	for (unsigned int i = 0; i < DISK_JSET_MEMBERS; i++)
		le64_set(&disk->prio_bucket[i], jset->prio_bucket[i]);
	le64_set(&disk->csum, jset_csum(raw, sizeof(*disk) + 8ull * jset->keys_field));
}
