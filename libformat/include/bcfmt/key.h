/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Keys and pointers: a range of sectors of an inode and where on the cache it lies. */
#ifndef BCFMT_KEY_H
#define BCFMT_KEY_H

#include <bcfmt/base.h>
#include <bcfmt/geometry.h>

BCFMT_BEGIN_DECLS

#define BCFMT_KEY_MAX_INODE 0xfffffu
#define BCFMT_KEY_MAX_OFFSET 0x7fffffffffffffffull
#define BCFMT_KEY_MAX_SECTORS 65535u
#define BCFMT_PTR_DEV_CHECK 0xfffu /* placeholder of a cache miss; the other bits are random */
#define BCFMT_MAX_MEMBERS 8u       /* kernel: MAX_CACHES_PER_SET */
#define BCFMT_STALE_MAX 96u        /* kernel: BUCKET_GC_GEN_MAX */

/* A key in host order. With several pointers only the first is kept; ptr is 0 without any. */
struct bcfmt_key {
	uint64_t high;
	uint64_t low; /* END sector, exclusive */
	uint64_t ptr;
};

/* A place in the order of keys. */
struct bcfmt_pos {
	uint32_t inode;
	uint64_t sector;
};

static inline uint32_t bcfmt_key_inode(const struct bcfmt_key *key)
{
	return (uint32_t)(key->high & 0xfffff);
}
static inline uint32_t bcfmt_key_sectors(const struct bcfmt_key *key)
{
	return (uint32_t)(key->high >> 20 & 0xffff);
}
static inline bool bcfmt_key_is_dirty(const struct bcfmt_key *key)
{
	return key->high >> 36 & 1;
}
static inline unsigned int bcfmt_key_csum_type(const struct bcfmt_key *key)
{
	return (unsigned int)(key->high >> 56 & 3);
}
static inline unsigned int bcfmt_key_ptr_count(const struct bcfmt_key *key)
{
	return (unsigned int)(key->high >> 60 & 7);
}
static inline uint64_t bcfmt_key_end_sector(const struct bcfmt_key *key)
{
	return key->low;
}
/* Wraps below zero for keys at sector 0, as the kernel's KEY_START does. */
static inline uint64_t bcfmt_key_start_sector(const struct bcfmt_key *key)
{
	return key->low - bcfmt_key_sectors(key);
}
/* u64 words that the key takes on disk, 2..9. */
static inline unsigned int bcfmt_key_words(const struct bcfmt_key *key)
{
	return 2 + bcfmt_key_ptr_count(key);
}
/* The position 0:0 of freed-node tombstones and of nothing else. */
static inline bool bcfmt_key_is_zero_pos(const struct bcfmt_key *key)
{
	return !bcfmt_key_inode(key) && !key->low;
}

static inline unsigned int bcfmt_ptr_gen(uint64_t ptr)
{
	return (unsigned int)(ptr & 0xff);
}
static inline uint64_t bcfmt_ptr_sector(uint64_t ptr)
{
	return ptr >> 8 & 0x7ffffffffffull;
}
static inline unsigned int bcfmt_ptr_dev(uint64_t ptr)
{
	return (unsigned int)(ptr >> 51 & 0xfff);
}
static inline uint64_t bcfmt_ptr_make(unsigned int dev, uint64_t sector, unsigned int gen)
{
	return (uint64_t)(dev & 0xfff) << 51 | (sector & 0x7ffffffffffull) << 8 | (gen & 0xff);
}
/* kernel: ptr_available(). */
static inline bool bcfmt_ptr_is_available(uint64_t ptr)
{
	return bcfmt_ptr_dev(ptr) < BCFMT_MAX_MEMBERS;
}
/* The key has a pointer that leads to a bucket (not none, not a placeholder). */
static inline bool bcfmt_key_has_data(const struct bcfmt_key *key)
{
	return bcfmt_key_ptr_count(key) && bcfmt_ptr_is_available(key->ptr);
}
static inline bool bcfmt_key_is_placeholder(const struct bcfmt_key *key)
{
	return bcfmt_key_ptr_count(key) && bcfmt_ptr_dev(key->ptr) == BCFMT_PTR_DEV_CHECK;
}
static inline uint64_t bcfmt_ptr_bucket(const struct bcfmt_geometry *geo, uint64_t ptr)
{
	return bcfmt_ptr_sector(ptr) >> geo->bucket_shift;
}

/* How far gen a is after gen b, 0..128; 0 also when a is before b. kernel: gen_after(). */
static inline unsigned int bcfmt_gen_after(unsigned int a, unsigned int b)
{
	unsigned int distance = (a - b) & 0xff;

	return distance > 128 ? 0 : distance;
}

/* <0, 0, >0 in key order. kernel: bkey_cmp(), signed distances. */
static inline int bcfmt_pos_cmp(struct bcfmt_pos a, struct bcfmt_pos b)
{
	if (a.inode != b.inode)
		return a.inode < b.inode ? -1 : 1;
	return (int64_t)a.sector < (int64_t)b.sector ? -1 : (int64_t)a.sector > (int64_t)b.sector;
}
static inline struct bcfmt_pos bcfmt_key_end(const struct bcfmt_key *key)
{
	return (struct bcfmt_pos){ bcfmt_key_inode(key), key->low };
}
static inline struct bcfmt_pos bcfmt_key_start(const struct bcfmt_key *key)
{
	return (struct bcfmt_pos){ bcfmt_key_inode(key), bcfmt_key_start_sector(key) };
}
static inline struct bcfmt_pos bcfmt_pos_max(void)
{
	return (struct bcfmt_pos){ BCFMT_KEY_MAX_INODE, BCFMT_KEY_MAX_OFFSET };
}

/* Why the kernel refuses a key. Order is that of bch_ptr_status() where several hold. */
enum bcfmt_key_fault {
	BCFMT_KEY_OK = 0,
	BCFMT_KEY_LENGTH,       /* crosses the end of its bucket: "bad, length too big" */
	BCFMT_KEY_SHORT_OFFSET, /* bucket below first_bucket: "bad, short offset" */
	BCFMT_KEY_PAST_END,     /* bucket >= nbuckets: "bad, offset past end of device" */
	BCFMT_KEY_NO_PTR,       /* btree pointer without pointer: "bad, no pointers" */
	BCFMT_KEY_ZERO_SIZE,    /* "zeroed key"; legal and silent in leaves */
	BCFMT_KEY_DIRTY_NODE,   /* btree pointer with the dirty bit */
	BCFMT_KEY_BEFORE_START, /* extent that would start before sector 0 */
};

/* Rules for interior keys, root and uuid pointer. kernel: __bch_btree_ptr_invalid(). */
BCFMT_API enum bcfmt_key_fault bcfmt_key_fault_btree(const struct bcfmt_geometry *geo,
						     const struct bcfmt_key *key);
/* Rules for leaf and journal keys. kernel: __bch_extent_invalid(). */
BCFMT_API enum bcfmt_key_fault bcfmt_key_fault_extent(const struct bcfmt_geometry *geo,
						      const struct bcfmt_key *key);
/* Text of bch_ptr_status() without staleness, "" when it has none. Static storage. */
BCFMT_API const char *bcfmt_key_fault_text(enum bcfmt_key_fault fault);
/*
 * Text of bch_ptr_status() for a key at any level, "" when it has none; is_stale says what the
 * caller knows of the pointer's generation. Unlike the text of a fault it knows "bad, null key".
 */
BCFMT_API const char *bcfmt_key_status_text(const struct bcfmt_geometry *geo,
					    const struct bcfmt_key *key, bool is_stale);

/* Room for any key text, terminator included. */
#define BCFMT_KEY_TEXT_BYTES 320u

/*
 * raw: the key's words on disk, raw_words of them readable (>= 2; fewer than the key's own words
 * print the pointers that are there). kernel: bch_extent_to_text(); with as_kernel the text is
 * cut to 79 characters as kernel callers do. Returns the length written without terminator.
 */
BCFMT_API size_t bcfmt_key_text_raw(char out[BCFMT_KEY_TEXT_BYTES], const uint8_t *raw,
				    size_t raw_words, bool as_kernel);
/* The same for a decoded key (at most one pointer). */
BCFMT_API size_t bcfmt_key_text(char out[BCFMT_KEY_TEXT_BYTES], const struct bcfmt_key *key);

/*
 * Reads such a text, or only its range ("0:16 len 8"), and returns what stands behind it; NULL when
 * it does not begin with one. Of several pointers the first is kept, what was cut off is not there.
 */
BCFMT_API const char *bcfmt_key_parse(const char *text, struct bcfmt_key *out);

/* Decodes the key at raw; false when raw_words are fewer than the key takes. */
BCFMT_API bool bcfmt_key_decode(const uint8_t *raw, size_t raw_words, struct bcfmt_key *out);
/* Writes 2 words, or 3 when ptr_count is 1; returns the words written. ptr_count must be 0 or 1. */
BCFMT_API unsigned int bcfmt_key_encode(const struct bcfmt_key *key, uint8_t *raw);
/* Builds a key; sectors <= 65535; has_ptr selects KEY_PTRS 1 or 0; bit 63 set. */
BCFMT_API struct bcfmt_key bcfmt_key_make(uint32_t inode, uint64_t end_sector, uint32_t sectors,
					  bool is_dirty, bool has_ptr, uint64_t ptr);

/* Walks the keys of a bset or jset. Set up with bcfmt_key_iter_init(). */
struct bcfmt_key_iter {
	const uint8_t *raw;  /* of the key last returned; all its words are readable */
	const uint8_t *next;
	uint32_t words_left;
	uint32_t word;       /* u64 index of the key last returned */
	uint32_t next_word;
	bool is_overrun;     /* the last key would pass the end: the keys do not tile */
};
static inline struct bcfmt_key_iter bcfmt_key_iter_init(const uint8_t *keys, uint32_t words)
{
	struct bcfmt_key_iter it = { NULL, keys, words, 0, 0, false };

	return it;
}
/* False at the end or at a key that does not fit (is_overrun). */
BCFMT_API bool bcfmt_key_iter_next(struct bcfmt_key_iter *it, struct bcfmt_key *out);

BCFMT_END_DECLS

#endif
