/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Where the keys of a journal entry begin when they do not fill it, or when one of them says that it
 * has more pointers than a set of one member can have. A kernel sets the highest bit of the first
 * word of every key it makes and leaves others at 0, and no other word of a key has that bit: if
 * all keys but one are seen by it, then the one is known too. kernel: KEY(), SET_KEY_PTRS().
 */
#ifndef CODEC_KEY_FRAME_H
#define CODEC_KEY_FRAME_H

#include <bcfmt/key.h>

#define KEY_FRAME_NONE UINT32_MAX

struct key_frame {
	uint32_t words;	    /* that keys fill; a single word may be left behind them */
	uint32_t odd_word;  /* the key that says a wrong number of pointers; NONE */
	uint32_t odd_words; /* words that it takes, 2 or 3 */
};

/* False when it is not known where keys begin. raw: words u64 words. */
bool key_frame_find(const uint8_t *raw, uint32_t words, struct key_frame *out);
/*
 * The entry ends within a key whose other words lie behind it, up to avail_words; all before it are
 * keys. Then the frame has these, and *out the key, which has a pointer.
 */
bool key_frame_find_tail(const uint8_t *raw, uint32_t words, uint32_t avail_words,
			 struct key_frame *frame, struct bcfmt_key *out);
/* Decodes the key at *word and goes on to the next; false at the end. */
bool key_frame_next(const struct key_frame *frame, const uint8_t *raw, uint32_t *word,
		    struct bcfmt_key *out);

#endif
