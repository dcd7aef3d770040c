/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Inputs that are whole sets: reading them, and making their checksums right. */
#include "fuzz/memory.h"

#undef NDEBUG
#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include <bcfmt/crc64.h>
#include <bcfmt/jset.h>
#include <bcfmt/key.h>
#include <bcfmt/node.h>
#include <bcfmt/prio.h>
#include <bcfmt/super.h>

#include "base/bytes.h"
#include "base/checked.h"

#define JSET_MAGIC 0x245235c1a3625032ull
#define PRIO_MAGIC 0x6750e15f87337f91ull
#define BSET_MAGIC 0x90135c78b99e07f5ull

bool memory_head(const uint8_t *input, size_t input_bytes, struct memory_head *head)
{
	if (input_bytes < MEMORY_HEAD_BYTES)
		return false;
	*head = (struct memory_head){
		.fail_alloc = load_le16(input),
		.fail_read = load_le16(input + 2),
		.flags = input[4],
		.n_backing = input[5] % (MEMORY_BACKING_MAX + 1),
		.cache_sectors = load_le32(input + 8) % (MEMORY_SECTORS_MAX + 1),
		.backing_sectors = load_le32(input + 12) % (MEMORY_SECTORS_MAX + 1),
	};
	return true;
}

uint32_t memory_pieces(uint8_t *input, size_t input_bytes, struct memory_piece *pieces)
{
	size_t at = MEMORY_HEAD_BYTES;
	uint32_t n = 0;

	while (at + MEMORY_PIECE_BYTES < input_bytes && n < MEMORY_PIECES_MAX) {
		size_t left = input_bytes - at - MEMORY_PIECE_BYTES;

		pieces[n] = (struct memory_piece){
			.sector = load_le32(input + at),
			.len_bytes = (uint32_t)min_u64(load_le16(input + at + 4), left),
			.device = input[at + 6],
			.bytes = input + at + MEMORY_PIECE_BYTES,
		};
		at += MEMORY_PIECE_BYTES + pieces[n].len_bytes;
		n++;
	}
	return n;
}

struct mender {
	struct memory_piece *pieces;
	uint32_t n;
	uint64_t set_magic;
	uint32_t meta_bytes;
};

/* So many bytes of a structure, of which the piece may hold fewer: the rest is zero. */
static uint8_t *whole(const struct memory_piece *piece, size_t len_bytes)
{
	uint8_t *buf = calloc(1, len_bytes);

	assert(buf);
	memcpy(buf, piece->bytes, min_u64(piece->len_bytes, len_bytes));
	return buf;
}

static void mend_super(struct mender *mender, const struct memory_piece *piece)
{
	uint8_t *raw = whole(piece, BCFMT_SUPER_BYTES);
	struct bcfmt_super super;

	store_le64(piece->bytes, bcfmt_super_csum(raw));
	bcfmt_super_decode(raw, &super);
	if (!piece->device) {
		mender->set_magic = load_le64(super.set_uuid);
		mender->meta_bytes = bcfmt_geometry_meta_bytes(super.bucket_sectors, 4096);
	}
	free(raw);
}

/* A pointer to the sector among the words of all pieces: the key that leads to a node there. */
static uint64_t pointer_to(const struct mender *mender, uint32_t sector)
{
	for (uint32_t i = 0; i < mender->n; i++) {
		const struct memory_piece *piece = &mender->pieces[i];

		for (uint32_t at = 0; at + 8 <= piece->len_bytes; at += 8) {
			uint64_t word = load_le64(piece->bytes + at);

			if (bcfmt_ptr_sector(word) == sector && !bcfmt_ptr_dev(word) &&
			    !(word >> 63))
				return word;
		}
	}
	return 0;
}

/* Mends what begins here; node_ptr is the pointer to the piece, 0 when not known yet. */
static void mend_at(const struct mender *mender, const struct memory_piece *piece, uint32_t at,
		    uint64_t *node_ptr)
{
	uint8_t *raw = piece->bytes + at;
	uint64_t magic = load_le64(raw + 8) ^ mender->set_magic;
	uint64_t room_bytes = piece->len_bytes - at, words = load_le32(raw + 28);
	uint8_t *set;

	if (magic == JSET_MAGIC && room_bytes >= BCFMT_JSET_HEADER_BYTES + 8 * words) {
		store_le64(raw, bcfmt_crc64(raw + 8, BCFMT_JSET_HEADER_BYTES - 8 + 8 * words));
	} else if (magic == BSET_MAGIC && room_bytes >= BCFMT_BSET_HEADER_BYTES + 8 * words) {
		if (!*node_ptr)
			*node_ptr = pointer_to(mender, piece->sector);
		store_le64(raw,
			   bcfmt_bset_csum(raw, (uint32_t)words, load_le32(raw + 24), *node_ptr));
	} else if (magic == PRIO_MAGIC && !at && mender->meta_bytes > 8 &&
		   mender->meta_bytes <= 65536) {
		set = whole(piece, mender->meta_bytes);
		store_le64(raw, bcfmt_crc64(set + 8, mender->meta_bytes - 8));
		free(set);
	}
}

void memory_mend(uint8_t *input, size_t input_bytes)
{
	struct memory_piece *pieces = calloc(MEMORY_PIECES_MAX, sizeof(*pieces));
	struct mender mender = { .pieces = pieces };

	assert(pieces);
	mender.n = memory_pieces(input, input_bytes, pieces);
	for (uint32_t i = 0; i < mender.n; i++)
		if (pieces[i].sector == BCFMT_SUPER_OFFSET_BYTES / BCFMT_SECTOR_BYTES &&
		    pieces[i].len_bytes >= 256)
			mend_super(&mender, &pieces[i]);
	for (uint32_t i = 0; i < mender.n; i++) {
		uint64_t node_ptr = 0;

		if (pieces[i].device)
			continue;
		for (uint32_t at = 0; at + BCFMT_BSET_HEADER_BYTES <= pieces[i].len_bytes;
		     at += BCFMT_SECTOR_BYTES)
			mend_at(&mender, &pieces[i], at, &node_ptr);
	}
	free(pieces);
}
