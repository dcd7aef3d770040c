/* SPDX-License-Identifier: GPL-2.0-or-later */
/* A prio set: bytes to fields and back. */
#include <bcfmt/prio.h>

#include <bcfmt/crc64.h>

#include "ondisk/prio_set.h"

_Static_assert(sizeof(struct prio_set_disk) == BCFMT_PRIO_HEADER_BYTES, "header");

static size_t entry_at(uint32_t index)
{
	return sizeof(struct prio_set_disk) + (size_t)index * sizeof(struct prio_entry_disk);
}

enum bcfmt_prio_fault bcfmt_prio_decode(const struct bcfmt_geometry *geo, const uint8_t *raw,
					struct bcfmt_prio_set *out)
{
	const struct prio_set_disk *disk = (const struct prio_set_disk *)raw;

	*out = (struct bcfmt_prio_set){
		.csum = le64_get(&disk->csum),
		.csum_computed = bcfmt_crc64(raw + 8, geo->meta_bytes - 8),
		.magic = le64_get(&disk->magic),
		.seq = le64_get(&disk->seq),
		.version = le32_get(&disk->version),
		.next_bucket = le64_get(&disk->next_bucket),
	};
	if (out->csum != out->csum_computed)
		return BCFMT_PRIO_CSUM;
	return out->magic == (geo->set_magic ^ DISK_PRIO_MAGIC) ? BCFMT_PRIO_OK : BCFMT_PRIO_MAGIC;
}

void bcfmt_prio_entry(const uint8_t *raw, uint32_t index, uint16_t *prio, uint8_t *gen)
{
	const struct prio_entry_disk *disk =
		(const struct prio_entry_disk *)(raw + entry_at(index));

	*prio = le16_get(&disk->prio);
	*gen = disk->gen;
}

void bcfmt_prio_entry_set(uint8_t *raw, uint32_t index, uint16_t prio, uint8_t gen)
{
	struct prio_entry_disk *disk = (struct prio_entry_disk *)(raw + entry_at(index));

	le16_set(&disk->prio, prio);
	disk->gen = gen;
}

void bcfmt_prio_encode(const struct bcfmt_geometry *geo, uint8_t *raw, uint64_t seq,
		       uint64_t next_bucket)
{
	struct prio_set_disk *disk = (struct prio_set_disk *)raw;

	le64_set(&disk->magic, geo->set_magic ^ DISK_PRIO_MAGIC);
	le64_set(&disk->seq, seq);
	le32_set(&disk->version, 0);
	le32_set(&disk->pad, 0);
	le64_set(&disk->next_bucket, next_bucket);
	le64_set(&disk->csum, bcfmt_crc64(raw + 8, geo->meta_bytes - 8));
}
