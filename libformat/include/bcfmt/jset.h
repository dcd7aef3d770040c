/* SPDX-License-Identifier: GPL-2.0-or-later */
/* One journal entry. */
#ifndef BCFMT_JSET_H
#define BCFMT_JSET_H

#include <bcfmt/base.h>
#include <bcfmt/geometry.h>
#include <bcfmt/key.h>

BCFMT_BEGIN_DECLS

#define BCFMT_JSET_HEADER_BYTES 240u
#define BCFMT_JSET_MAX_PAGES 8u /* kernel: JSET_BITS */

struct bcfmt_jset {
	uint64_t csum;
	uint64_t csum_computed;
	uint64_t magic;
	uint64_t seq;
	uint64_t last_seq;
	uint32_t version;
	uint32_t keys_field; /* u64 words */
	struct bcfmt_key uuid_bucket;
	struct bcfmt_key btree_root;
	uint16_t btree_level;
	uint64_t prio_bucket[BCFMT_MAX_MEMBERS];
	const uint8_t *keys; /* into the caller's buffer; keys_field words when fault is OK */
	uint32_t blocks;     /* taken; 0 unless fault is OK or CSUM */
	uint64_t bytes;      /* 240 + 8 * keys */
};

/* kernel: journal_read_bucket(). */
enum bcfmt_jset_fault {
	BCFMT_JSET_OK = 0,
	BCFMT_JSET_MAGIC,
	BCFMT_JSET_OTHER_ENDIAN, /* the magic of this set, big-endian */
	BCFMT_JSET_TOO_BIG,      /* beyond the bucket or 8 pages: "too big" */
	BCFMT_JSET_CSUM,         /* "bad csum" */
};

/*
 * raw: avail_bytes from here to the end of the journal bucket, >= 240. Fills the header fields
 * whenever the magic is right.
 */
BCFMT_API enum bcfmt_jset_fault bcfmt_jset_decode(const struct bcfmt_geometry *geo,
						  const uint8_t *raw, size_t avail_bytes,
						  struct bcfmt_jset *out);
/*
 * Writes the 240 header bytes and the checksum over them and keys_field words at raw + 240.
 * Of prio_bucket all eight slots are written; padding is zeroed.
 */
BCFMT_API void bcfmt_jset_encode(const struct bcfmt_geometry *geo, const struct bcfmt_jset *jset,
				 uint8_t *raw);

BCFMT_END_DECLS

#endif
