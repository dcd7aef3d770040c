/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Mends a journal entry in memory: a flipped bit, a magic, a number. */
#include "codec/jset_mend.h"

#include <stddef.h>

#include <bcfmt/crc64.h>

#include "base/bytes.h"
#include "base/checked.h"
#include "ondisk/jset.h"

#define CRC64_POLY 0x42f0e1eba9ea3693ull
#define CSUM_BYTES sizeof(uint64_t)

static uint64_t csum_of(const uint8_t *raw, uint64_t bytes)
{
	return bcfmt_crc64(raw + CSUM_BYTES, (size_t)bytes - CSUM_BYTES);
}

/* Bytes that the entry takes by its keys field; 0 when it cannot be one of so many blocks. */
static uint64_t bytes_of(const struct bcfmt_geometry *geo, const uint8_t *raw, size_t avail_bytes,
			 uint32_t blocks)
{
	uint64_t bytes =
		BCFMT_JSET_HEADER_BYTES + 8ull * load_le32(raw + offsetof(struct jset_disk, keys));

	if (bytes > avail_bytes || bytes > (uint64_t)BCFMT_JSET_MAX_PAGES * geo->page_bytes ||
	    (blocks && div_round_up(bytes, bcfmt_block_bytes(geo)) != blocks))
		return 0;
	return bytes;
}

static bool is_entry(const struct bcfmt_geometry *geo, const uint8_t *raw, size_t avail_bytes,
		     uint64_t seq, uint32_t blocks)
{
	struct bcfmt_jset jset;

	return bcfmt_jset_decode(geo, raw, avail_bytes, &jset) == BCFMT_JSET_OK &&
	       jset.seq == seq && (!blocks || jset.blocks == blocks);
}

/* Flips the bit, looks, and flips it back. */
static bool try_bit(const struct bcfmt_geometry *geo, uint8_t *raw, size_t avail_bytes,
		    uint64_t seq, uint32_t blocks, struct bcfmt_journal_mend *mend)
{
	bool is_it;

	raw[mend->offset_bytes] ^= mend->mask;
	is_it = is_entry(geo, raw, avail_bytes, seq, blocks);
	raw[mend->offset_bytes] ^= mend->mask;
	return is_it;
}

/*
 * The bit of the checksum, or of what it covers, that explains the difference: a bit that has n
 * others behind it changes the checksum by the polynomial shifted n times.
 */
static bool find_bit(uint64_t difference, uint64_t bytes, struct bcfmt_journal_mend *mend)
{
	uint64_t change = CRC64_POLY;

	if (!difference)
		return false;
	if (!(difference & (difference - 1))) {
		unsigned int bit = log2_floor(difference);

		mend->offset_bytes = bit / 8;
		mend->mask = (uint8_t)(1u << bit % 8);
		return true;
	}
	for (uint64_t n = 0; n < 8 * (bytes - CSUM_BYTES); n++) {
		if (change == difference) {
			mend->offset_bytes = (uint32_t)(bytes - 1 - n / 8);
			mend->mask = (uint8_t)(1u << n % 8);
			return true;
		}
		change = change << 1 ^ (change >> 63 ? CRC64_POLY : 0);
	}
	return false;
}

bool jset_mend_find_bit(const struct bcfmt_geometry *geo, uint8_t *raw, size_t avail_bytes,
			uint64_t seq, uint32_t blocks, struct bcfmt_journal_mend *out)
{
	uint64_t bytes = bytes_of(geo, raw, avail_bytes, blocks);

	*out = (struct bcfmt_journal_mend){ .kind = BCFMT_MEND_BIT };
	if (bytes && find_bit(load_le64(raw) ^ csum_of(raw, bytes), bytes, out) &&
	    try_bit(geo, raw, avail_bytes, seq, blocks, out))
		return true;
	/* A bit of the number of words: then the checksum covers other bytes. */
	for (uint32_t bit = 0; bit < 32; bit++) {
		out->offset_bytes = (uint32_t)offsetof(struct jset_disk, keys) + bit / 8;
		out->mask = (uint8_t)(1u << bit % 8);
		if (try_bit(geo, raw, avail_bytes, seq, blocks, out))
			return true;
	}
	return false;
}

bool jset_mend_find_magic(const struct bcfmt_geometry *geo, uint8_t *raw, size_t avail_bytes,
			  uint64_t seq, uint32_t blocks, struct bcfmt_journal_mend *out)
{
	uint64_t bytes = bytes_of(geo, raw, avail_bytes, blocks);

	*out = (struct bcfmt_journal_mend){ .kind = BCFMT_MEND_MAGIC };
	return bytes && load_le64(raw + offsetof(struct jset_disk, seq)) == seq &&
	       load_le64(raw) == csum_of(raw, bytes);
}

void jset_mend_apply(const struct bcfmt_geometry *geo, uint8_t *raw, size_t avail_bytes,
		     uint64_t seq, const struct bcfmt_journal_mend *mend)
{
	uint64_t bytes = bytes_of(geo, raw, avail_bytes, 0);
	bool is_whole = bytes && load_le64(raw) == csum_of(raw, bytes);

	switch (mend->kind) {
	case BCFMT_MEND_BIT:
		if (mend->offset_bytes < avail_bytes)
			raw[mend->offset_bytes] ^= mend->mask;
		return;
	case BCFMT_MEND_MAGIC:
		store_le64(raw + offsetof(struct jset_disk, magic),
			   geo->set_magic ^ DISK_JSET_MAGIC);
		break;
	case BCFMT_MEND_SEQ:
		store_le64(raw + offsetof(struct jset_disk, seq), seq);
		break;
	}
	if (is_whole)
		store_le64(raw, csum_of(raw, bytes));
}
