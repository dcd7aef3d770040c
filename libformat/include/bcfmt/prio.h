/* SPDX-License-Identifier: GPL-2.0-or-later */
/* A prio set: priority and generation of a run of buckets. */
#ifndef BCFMT_PRIO_H
#define BCFMT_PRIO_H

#include <bcfmt/base.h>
#include <bcfmt/geometry.h>

BCFMT_BEGIN_DECLS

#define BCFMT_PRIO_HEADER_BYTES 40u
#define BCFMT_PRIO_BTREE 65535u
#define BCFMT_PRIO_INITIAL 32768u

struct bcfmt_prio_set {
	uint64_t csum;
	uint64_t csum_computed;
	uint64_t magic;
	uint64_t seq;
	uint32_t version;
	uint64_t next_bucket; /* of the last set of a chain: meaningless */
};

enum bcfmt_prio_fault { BCFMT_PRIO_OK = 0, BCFMT_PRIO_CSUM, BCFMT_PRIO_MAGIC };

/* raw holds geo->meta_bytes. Checks in the kernel's order: csum, then magic. kernel: prio_read(). */
BCFMT_API enum bcfmt_prio_fault bcfmt_prio_decode(const struct bcfmt_geometry *geo,
						  const uint8_t *raw, struct bcfmt_prio_set *out);
/* Entry index (< geo->prios_per_bucket) of a prio set of geo->meta_bytes. */
BCFMT_API void bcfmt_prio_entry(const uint8_t *raw, uint32_t index, uint16_t *prio, uint8_t *gen);
BCFMT_API void bcfmt_prio_entry_set(uint8_t *raw, uint32_t index, uint16_t prio, uint8_t gen);
/* Writes header and checksum of a set whose entries are in place. */
BCFMT_API void bcfmt_prio_encode(const struct bcfmt_geometry *geo, uint8_t *raw, uint64_t seq,
				 uint64_t next_bucket);

BCFMT_END_DECLS

#endif
