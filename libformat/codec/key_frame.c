/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Finds the keys of a journal entry that do not tile. */
#include "codec/key_frame.h"

#include "base/bytes.h"
#include "codec/key_iter.h"

#define HIGH_BIT (1ull << 63)
#define PTRS_MASK (7ull << KEY_PTRS_BIT)
/* Bits of the first word that no kernel sets: 37 to 55, 58, 59. */
#define UNUSED_MASK (0x7ffffull << 37 | 3ull << 58)

static uint64_t word_at(const uint8_t *raw, uint32_t word)
{
	return load_le64(raw + 8 * (size_t)word);
}

/* A key may begin with it, whatever number of pointers it says. */
static bool is_first_word(uint64_t word)
{
	return word & HIGH_BIT && !(word & UNUSED_MASK);
}

/* Words of the key that begins here; 0 when none does that a set of one member can have. */
static uint32_t key_at(const uint8_t *raw, uint32_t words, uint32_t at)
{
	uint32_t n = 0;

	if (words - at < 2 || !is_first_word(word_at(raw, at)))
		return 0;
	n = key_words_of(word_at(raw, at));
	if (n > 3 || n > words - at)
		return 0;
	for (uint32_t i = 1; i < n; i++)
		if (word_at(raw, at + i) & HIGH_BIT)
			return 0;
	return n;
}

/* Where the keys that follow each other from here on end; *last is the last of them. */
static uint32_t run_end(const uint8_t *raw, uint32_t words, uint32_t at, uint32_t *last)
{
	uint32_t n;

	while (at < words && (n = key_at(raw, words, at))) {
		*last = at;
		at += n;
	}
	return at;
}

/* Only plain words up to `to`, and only keys behind it. */
static bool fits(const uint8_t *raw, uint32_t words, uint32_t from, uint32_t to)
{
	uint32_t last;

	if (to > words)
		return false;
	for (uint32_t i = from; i < to; i++)
		if (word_at(raw, i) & HIGH_BIT)
			return false;
	return run_end(raw, words, to, &last) == words;
}

bool key_frame_find(const uint8_t *raw, uint32_t words, struct key_frame *out)
{
	uint32_t last = KEY_FRAME_NONE, stop = run_end(raw, words, 0, &last);
	uint64_t high;

	*out = (struct key_frame){ words, KEY_FRAME_NONE, 0 };
	if (stop == words)
		return true;
	high = word_at(raw, stop);
	/* A key with another number of pointers. */
	for (uint32_t n = 2; is_first_word(high) && n <= 3; n++)
		if (fits(raw, words, stop + 1, stop + n) && n != key_words_of(high)) {
			*out = (struct key_frame){ words, stop, n };
			return true;
		}
	if (high & HIGH_BIT)
		return false;
	/* The pointer of a key that says that it has none. */
	if (last != KEY_FRAME_NONE && stop - last == 2 && fits(raw, words, stop, stop + 1)) {
		*out = (struct key_frame){ words, last, 3 };
		return true;
	}
	/* No key is so short. */
	out->words = stop;
	return words - stop == 1;
}

bool key_frame_find_tail(const uint8_t *raw, uint32_t words, uint32_t avail_words,
			 struct key_frame *frame, struct bcfmt_key *out)
{
	uint32_t last, stop = run_end(raw, words, 0, &last);

	*frame = (struct key_frame){ stop, KEY_FRAME_NONE, 0 };
	return stop < words && words - stop < 3 && avail_words >= words &&
	       key_at(raw, avail_words, stop) == 3 &&
	       bcfmt_key_decode(raw + 8 * (size_t)stop, avail_words - stop, out);
}

bool key_frame_next(const struct key_frame *frame, const uint8_t *raw, uint32_t *word,
		    struct bcfmt_key *out)
{
	uint32_t at = *word, n;

	if (at >= frame->words)
		return false;
	out->high = word_at(raw, at);
	n = at == frame->odd_word ? frame->odd_words : key_words_of(out->high);
	out->high = (out->high & ~PTRS_MASK) | (uint64_t)(n - 2) << KEY_PTRS_BIT;
	out->low = word_at(raw, at + 1);
	out->ptr = n > 2 ? word_at(raw, at + 2) : 0;
	*word = at + n;
	return true;
}
