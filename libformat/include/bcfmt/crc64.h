/* SPDX-License-Identifier: GPL-2.0-or-later */
/* bcache's checksum: CRC-64/WE, most significant bit first. */
#ifndef BCFMT_CRC64_H
#define BCFMT_CRC64_H

#include <bcfmt/base.h>

BCFMT_BEGIN_DECLS

/* Plain form: init and final xor all ones. */
BCFMT_API uint64_t bcfmt_crc64(const void *bytes, size_t len_bytes);
/* Seeded form: init is seed (the node's pointer word), final xor all ones. */
BCFMT_API uint64_t bcfmt_crc64_seeded(uint64_t seed, const void *bytes, size_t len_bytes);

BCFMT_END_DECLS

#endif
