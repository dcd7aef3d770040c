/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The order in which a kernel gets to see the keys of a node: its merge of the bsets into one, in
 * which newer keys cut what they overlap.
 */
#ifndef CHECK_PREDICT_MERGE_H
#define CHECK_PREDICT_MERGE_H

#include <bcfmt/node.h>

#include "base/vec.h"

#define MERGE_KEY_WORDS 9u

/* A key with all its pointers, in host order. */
struct merge_key {
	uint64_t high;
	uint64_t low;
	uint64_t ptr[7];
};

struct merge {
	const struct bcfmt_node *node;
	const uint8_t *node_end;
	bool is_leaf;
	struct vec cursors; /* a heap: the key that comes next on top */
	uint64_t steps_left;
	bool is_corrupt; /* a key reached past its bset: "bset was corrupt!" */
	bool is_lost;	 /* what a kernel does from here on depends on junk behind the keys */
};

/* Over the bsets of a node without a fault. E_NOMEM. Frees with merge_clear(). */
bcfmt_err merge_begin(struct merge *merge, const struct bcfmt_node *node, bool is_leaf);
/* The next key as it comes out, those of size 0 included; false at the end or when is_lost. */
bool merge_next(struct merge *merge, struct merge_key *out);
void merge_clear(struct merge *merge);

/* The key with its pointer i, or without any. */
struct bcfmt_key merge_key_at(const struct merge_key *key, unsigned int i);
/* Its words as they lie on disk; returns how many. */
unsigned int merge_key_raw(const struct merge_key *key, uint8_t raw[MERGE_KEY_WORDS * 8]);
void merge_key_load(struct merge_key *out, const uint8_t *raw, size_t raw_words);
/* Appends key to last where a kernel makes one of them. kernel: bch_bkey_try_merge(). */
bool merge_keys(const struct bcfmt_geometry *geo, struct merge_key *last, struct merge_key *key);

#endif
