/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Changes to inputs that are whole sets: fields and keys of structures, pieces as a whole. Mostly
 * the checksums are made right afterwards, so that what lies behind them is reached.
 */
#include <string.h>

#include <bcfmt/jset.h>
#include <bcfmt/node.h>

#include "base/bytes.h"
#include "base/checked.h"
#include "fuzz/fuzz.h"
#include "fuzz/memory.h"

struct mutator {
	uint64_t state; /* of the numbers */
	uint8_t *input;
	size_t len_bytes;
	size_t max_bytes;
	struct memory_piece *pieces;
	uint32_t n;
};

/* xorshift64* */
static uint64_t next_random(struct mutator *m)
{
	m->state ^= m->state >> 12;
	m->state ^= m->state << 25;
	m->state ^= m->state >> 27;
	return m->state * 0x2545f4914f6cdd1dull;
}

static uint32_t below(struct mutator *m, uint32_t n)
{
	return n ? (uint32_t)(next_random(m) >> 33) % n : 0;
}

static const struct memory_piece *any_piece(struct mutator *m)
{
	return &m->pieces[below(m, m->n)];
}

/* A number in place of one of 1 to 8 bytes: often wrong, near the old one, or of elsewhere. */
static void change_number(struct mutator *m, const struct memory_piece *piece)
{
	static const uint64_t wrong[] = { 0,	      1,	  2,
					  7,	      8,	  0xff,
					  0xffff,     0x7fffffff, 0xffffffff,
					  1ull << 36, 1ull << 43, 1ull << 62,
					  INT64_MAX,  1ull << 63, UINT64_MAX - 1,
					  UINT64_MAX };
	const struct memory_piece *other = any_piece(m);
	uint32_t size = 1u << below(m, 4), at, from;
	uint64_t value = 0;

	if (piece->len_bytes < 8 || other->len_bytes < 8)
		return;
	at = below(m, piece->len_bytes / size) * size;
	from = below(m, other->len_bytes / size) * size;
	memcpy(&value, piece->bytes + at, size);
	value = le64toh(value);
	switch (below(m, 5)) {
	case 0:
		value = wrong[below(m, sizeof(wrong) / sizeof(wrong[0]))];
		break;
	case 1:
		value ^= 1ull << below(m, size * 8);
		break;
	case 2:
		value += below(m, 33) - 16ull;
		break;
	case 3:
		value += (below(m, 33) - 16ull) << below(m, 64);
		break;
	default:
		memcpy(&value, other->bytes + from, size);
		value = le64toh(value);
		break;
	}
	value = htole64(value);
	memcpy(piece->bytes + at, &value, size);
}

/* Where the keys of the structure begin that lies at a sector of the piece; 0 when none does. */
static uint32_t keys_of(const struct memory_piece *piece, uint32_t at, uint32_t *words)
{
	/* Both headers have their number of words at 28, and only one has a root key. */
	uint32_t header = BCFMT_BSET_HEADER_BYTES;

	if (at + BCFMT_JSET_HEADER_BYTES <= piece->len_bytes &&
	    load_le64(piece->bytes + at + 112) == BCFMT_KEY_MAX_OFFSET)
		header = BCFMT_JSET_HEADER_BYTES;
	if (at + header > piece->len_bytes)
		return 0;
	*words = load_le32(piece->bytes + at + 28);
	return *words <= (piece->len_bytes - at - header) / 8 ? at + header : 0;
}

/* Keys of three words: one is copied over another, two change places, the last one is cut off. */
static void change_keys(struct mutator *m, const struct memory_piece *piece)
{
	uint32_t at = below(m, piece->len_bytes / BCFMT_SECTOR_BYTES + 1) * BCFMT_SECTOR_BYTES;
	uint32_t words = 0, keys = keys_of(piece, at, &words), one, two;
	uint8_t kept[24];

	if (!keys || words < 6) {
		change_number(m, piece);
		return;
	}
	one = keys + 24 * below(m, words / 3);
	two = keys + 24 * below(m, words / 3);
	switch (below(m, 4)) {
	case 0:
		memmove(piece->bytes + one, piece->bytes + two, sizeof(kept));
		break;
	case 1:
		memcpy(kept, piece->bytes + one, sizeof(kept));
		memmove(piece->bytes + one, piece->bytes + two, sizeof(kept));
		memcpy(piece->bytes + two, kept, sizeof(kept));
		break;
	case 2:
		store_le32(piece->bytes + at + 28, words - 3);
		break;
	default:
		/* A field of a key. */
		store_le64(piece->bytes + one + 8ull * below(m, 3),
			   load_le64(piece->bytes + one + 8ull * below(m, 3)) ^
				   1ull << below(m, 64));
		break;
	}
}

static void remove_piece(struct mutator *m, const struct memory_piece *piece)
{
	uint8_t *begin = piece->bytes - MEMORY_PIECE_BYTES;
	uint8_t *end = piece->bytes + piece->len_bytes;

	memmove(begin, end, (size_t)(m->input + m->len_bytes - end));
	m->len_bytes -= (size_t)(end - begin);
}

/* The contents of a piece once more, where another one lies. */
static void copy_piece(struct mutator *m, const struct memory_piece *piece)
{
	size_t bytes = MEMORY_PIECE_BYTES + piece->len_bytes;
	uint8_t *to = m->input + m->len_bytes;

	if (bytes > m->max_bytes - m->len_bytes || m->n == MEMORY_PIECES_MAX)
		return;
	memcpy(to, piece->bytes - MEMORY_PIECE_BYTES, bytes);
	store_le32(to, any_piece(m)->sector + below(m, 2) * 8);
	m->len_bytes += bytes;
}

/* Zeros or nothing from somewhere in the piece on, as after a torn write. */
static void cut_piece(struct mutator *m, const struct memory_piece *piece)
{
	uint32_t at = below(m, piece->len_bytes / 8) * 8;

	memset(piece->bytes + at, 0,
	       below(m, 2) ? piece->len_bytes - at : min_u64(piece->len_bytes - at, 512));
}

static void change_head(struct mutator *m)
{
	switch (below(m, 4)) {
	case 0:
		store_le16(m->input, (uint16_t)(below(m, 2) << 15 | below(m, 600)));
		break;
	case 1:
		store_le16(m->input + 2, (uint16_t)(below(m, 2) << 15 | below(m, 200)));
		break;
	case 2:
		m->input[4] = (uint8_t)below(m, 256);
		break;
	default:
		memset(m->input, 0, 4);
		break;
	}
}

static void change_piece(struct mutator *m)
{
	const struct memory_piece *piece = any_piece(m);

	switch (below(m, 16)) {
	case 0:
		remove_piece(m, piece);
		break;
	case 1:
		copy_piece(m, piece);
		break;
	case 2:
		cut_piece(m, piece);
		break;
	case 3:
		change_head(m);
		break;
	case 4:
		/* Only as many bytes as there are, so that the pieces stay whole. */
		LLVMFuzzerMutate(piece->bytes, piece->len_bytes, piece->len_bytes);
		break;
	case 5:
	case 6:
	case 7:
	case 8:
	case 9:
		change_keys(m, piece);
		break;
	default:
		change_number(m, piece);
		break;
	}
}

size_t memory_mutate(uint8_t *input, size_t input_bytes, size_t input_max, unsigned int seed)
{
	static struct memory_piece pieces[MEMORY_PIECES_MAX];
	struct mutator m = {
		.state = (seed + 1ull) * 0x9e3779b97f4a7c15ull,
		.input = input,
		.len_bytes = input_bytes,
		.max_bytes = input_max,
		.pieces = pieces,
	};
	uint32_t changes = 1 + below(&m, 3);

	if (input_bytes < MEMORY_HEAD_BYTES || !below(&m, 64))
		return LLVMFuzzerMutate(input, input_bytes, input_max);
	while (changes--) {
		m.n = memory_pieces(m.input, m.len_bytes, pieces);
		if (!m.n)
			return LLVMFuzzerMutate(input, m.len_bytes, input_max);
		change_piece(&m);
	}
	if (below(&m, 8))
		memory_mend(m.input, m.len_bytes);
	return m.len_bytes;
}
