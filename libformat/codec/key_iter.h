/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The walk over keys in a form that is compiled into the loops over millions of them. */
#ifndef CODEC_KEY_ITER_H
#define CODEC_KEY_ITER_H

#include <bcfmt/key.h>
#include <bcfmt/node.h>

#include "base/bytes.h"

#define KEY_PTRS_BIT 60

/* u64 words of a key by its first. */
static inline unsigned int key_words_of(uint64_t high)
{
	return 2 + (unsigned int)(high >> KEY_PTRS_BIT & 7);
}

/* As bcfmt_key_iter_next(). */
static inline bool key_iter_step(struct bcfmt_key_iter *it, struct bcfmt_key *out)
{
	const uint8_t *raw = it->next;
	uint32_t left = it->words_left;
	unsigned int words;
	uint64_t high;

	if (left < 2) {
		it->is_overrun |= left != 0;
		return false;
	}
	high = load_le64(raw);
	words = key_words_of(high);
	if (words > left) {
		it->is_overrun = true;
		return false;
	}
	out->high = high;
	out->low = load_le64(raw + 8);
	out->ptr = words > 2 ? load_le64(raw + 16) : 0;
	it->raw = raw;
	it->word = it->next_word;
	it->next = raw + 8 * words;
	it->next_word += words;
	it->words_left = left - words;
	return true;
}

/* As bcfmt_node_iter_next(). */
static inline bool node_iter_step(struct bcfmt_node_iter *it, struct bcfmt_key *out)
{
	while (!key_iter_step(&it->keys, out)) {
		const struct bcfmt_bset *bset;

		if (it->next_bset == it->node->n_bsets)
			return false;
		bset = &it->node->bsets[it->next_bset++];
		if (!bset->fault)
			it->keys = bcfmt_key_iter_init(bset->keys, bset->words);
	}
	return true;
}

#endif
