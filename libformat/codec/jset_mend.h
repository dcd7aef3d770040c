/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Journal entries of which one thing is wrong and can be told: what they should be is known from
 * their place, and that the rest is whole from the checksum.
 */
#ifndef CODEC_JSET_MEND_H
#define CODEC_JSET_MEND_H

#include <bcfmt/journal.h>

/*
 * Finds the one bit that makes the bytes at raw the entry `seq` of so many blocks (0: any number
 * that fits), with a right magic and checksum. That another content has such a checksum by chance
 * is as likely as 1 to 2^64 a bit of the entry, so that it proves itself. False: there is none.
 * raw holds avail_bytes (>= BCFMT_JSET_HEADER_BYTES) and is left as it was.
 */
bool jset_mend_find_bit(const struct bcfmt_geometry *geo, uint8_t *raw, size_t avail_bytes,
			uint64_t seq, uint32_t blocks, struct bcfmt_journal_mend *out);
/* The bytes are that entry but for another magic, which their checksum covers. */
bool jset_mend_find_magic(const struct bcfmt_geometry *geo, uint8_t *raw, size_t avail_bytes,
			  uint64_t seq, uint32_t blocks, struct bcfmt_journal_mend *out);
/* Mends the bytes, and where they were covered by a right checksum that too. */
void jset_mend_apply(const struct bcfmt_geometry *geo, uint8_t *raw, size_t avail_bytes,
		     uint64_t seq, const struct bcfmt_journal_mend *mend);

#endif
