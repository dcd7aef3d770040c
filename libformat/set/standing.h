/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What most buckets say of a pointer, asked with one load: that there is nothing to do. */
#ifndef SET_STANDING_H
#define SET_STANDING_H

#include <stddef.h>

#include "set/set_impl.h"

/* A bucket's entry as one word, which is loaded at once. */
typedef uint64_t __attribute__((may_alias)) bucket_word;
#define WORD_GEN(byte) ((uint64_t)(byte) << 8 * offsetof(struct bcfmt_bucket, gen))
#define WORD_USE(byte) ((uint64_t)(byte) << 8 * offsetof(struct bcfmt_bucket, use))
#define WORD_FLAGS(byte) ((uint64_t)(byte) << 8 * offsetof(struct bcfmt_bucket, gen_flags))
_Static_assert(sizeof(struct bcfmt_bucket) == sizeof(bucket_word), "one word a bucket");

/*
 * What a word must say for a clean [0] and a dirty [1] extent to need no look: no metadata, a gen
 * from the disk, and the marks that a judgement leaves. The extent's gen is added to want.
 */
struct standing {
	uint64_t mask[2];
	uint64_t want[2];
};

static inline struct standing standing_init(bool has_final_gens)
{
	unsigned int flags = BUCKET_GEN_ON_DISK | BUCKET_GEN_JUDGED;
	struct standing standing;

	for (unsigned int dirty = 0; dirty < 2; dirty++) {
		unsigned int use = dirty ? BCFMT_USE_DIRTY : BCFMT_USE_CLEAN;

		if (dirty && !has_final_gens)
			flags |= BUCKET_HAS_DIRTY;
		standing.want[dirty] = WORD_FLAGS(flags) | WORD_USE(use);
		standing.mask[dirty] =
			WORD_FLAGS(flags) | WORD_GEN(0xff) | WORD_USE(use | BCFMT_USE_METADATA);
	}
	return standing;
}

/*
 * The extent is valid and its bucket, which is one of the map, is marked as set_judge() does. One
 * load for marks and gen: a rise of the gen after it is told to who raises it.
 */
static inline bool stands_well(const struct standing *standing, const struct bcfmt_bucket *bucket,
			       uint64_t ptr, bool is_dirty)
{
	uint64_t word =
		__atomic_load_n((const bucket_word *)(const void *)bucket, __ATOMIC_SEQ_CST);

	return !((word ^ standing->want[is_dirty] ^ WORD_GEN(bcfmt_ptr_gen(ptr))) &
		 standing->mask[is_dirty]);
}

/* The gen is that of the bucket, which is one of the map: it raises nothing. */
static inline bool has_bucket_gen(const struct bcfmt_bucket *bucket, uint64_t ptr)
{
	uint64_t word =
		__atomic_load_n((const bucket_word *)(const void *)bucket, __ATOMIC_SEQ_CST);

	return !((word ^ WORD_FLAGS(BUCKET_GEN_ON_DISK) ^ WORD_GEN(bcfmt_ptr_gen(ptr))) &
		 (WORD_FLAGS(BUCKET_GEN_ON_DISK) | WORD_GEN(0xff)));
}

#endif
