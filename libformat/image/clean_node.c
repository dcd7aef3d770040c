/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What of a node may stay. Bsets with a right checksum stay whole, those that an earlier node left
 * in its place too. Of the one that ends the node for a kernel, what its finding tells of stays:
 * the header, if it is one, and words that are keys; the other words of it become zero but one,
 * which makes the checksum come out as it did. Everything else may be anybody's data and goes.
 */
#include <stdlib.h>
#include <string.h>

#include <bcfmt/crc64.h>

#include "base/bytes.h"
#include "base/checked.h"
#include "codec/crc64_math.h"
#include "image/image_impl.h"
#include "ondisk/bset.h"

#define HEADER_BYTES BCFMT_BSET_HEADER_BYTES
#define HEADER_WORDS (HEADER_BYTES / 8)

enum word_use {
	WORD_FREE,
	WORD_KEPT, /* something that was kept covers it */
	WORD_KEY,  /* of a damaged bset, but a key */
};

struct node_clean {
	struct maker *maker;
	const struct bcfmt_geometry *geo;
	uint64_t ptr;
	const uint8_t *raw;
	uint32_t len_bytes;
};

uint32_t plausible_key(const struct bcfmt_geometry *geo, const uint8_t *raw, uint32_t words)
{
	/* Bit 63 is set, and of the rest nothing but inode, size, dirty and at most one pointer. */
	static const uint64_t fixed_bits = 0xefffffe000000000ull;
	struct bcfmt_key key;

	if (words < 2 || !bcfmt_key_decode(raw, words, &key) ||
	    (key.high & fixed_bits) != 1ull << 63 || key.low > BCFMT_KEY_MAX_OFFSET)
		return 0;
	if (!bcfmt_key_ptr_count(&key) || bcfmt_key_is_placeholder(&key))
		return bcfmt_key_words(&key);
	if (key.ptr >> 63 || bcfmt_ptr_dev(key.ptr) != geo->nr_this_dev ||
	    bcfmt_ptr_sector(key.ptr) >= geo->dev_sectors)
		return 0;
	return bcfmt_key_words(&key);
}

static bcfmt_err keep(struct node_clean *clean, uint32_t offset_bytes, uint32_t len_bytes,
		      enum image_kind kind, const uint8_t *own)
{
	struct kept *kept = vec_push(&clean->maker->kept, sizeof(*kept));

	if (!kept)
		return bcfmt_fail(clean->maker->ctx, BCFMT_E_NOMEM, "no memory for a node");
	*kept = (struct kept){
		.offset_bytes = offset_bytes, .len_bytes = len_bytes, .kind = kind, .is_own = own
	};
	if (own)
		memcpy(kept->own, own, len_bytes);
	memset(clean->maker->word_use + offset_bytes / 8, WORD_KEPT, len_bytes / 8);
	return BCFMT_OK;
}

static bool is_free(const struct node_clean *clean, uint32_t offset_bytes, uint32_t len_bytes)
{
	const uint8_t *use = clean->maker->word_use + offset_bytes / 8;

	for (uint32_t i = 0; i < len_bytes / 8; i++)
		if (use[i] == WORD_KEPT)
			return false;
	return true;
}

static uint32_t block_at(const struct node_clean *clean, uint32_t block)
{
	return block * bcfmt_block_bytes(clean->geo);
}

static uint64_t covered_bytes(const uint8_t *header)
{
	const struct bset_disk *disk = (const struct bset_disk *)header;

	return HEADER_BYTES - 8 + 8ull * le32_get(&disk->keys);
}

/* A header by itself, the keys of which are not there or not all. */
static bcfmt_err keep_header(struct node_clean *clean, uint32_t offset_bytes)
{
	uint8_t header[HEADER_BYTES];

	if (!is_free(clean, offset_bytes, HEADER_BYTES))
		return BCFMT_OK;
	memcpy(header, clean->raw + offset_bytes, HEADER_BYTES);
	scrub_header(&clean->maker->scrub, header, covered_bytes(header));
	return keep(clean, offset_bytes, HEADER_BYTES, IMAGE_RAW, header);
}

/* ---- bsets that are right ------------------------------------------------------------------ */

static bcfmt_err keep_usable(struct node_clean *clean)
{
	const struct bcfmt_node *node = &clean->maker->node;
	bcfmt_err err = BCFMT_OK;

	for (uint32_t i = 0; i < node->n_bsets && !err; i++)
		if (!node->bsets[i].fault)
			err = keep(clean, block_at(clean, node->bsets[i].block),
				   HEADER_BYTES + 8 * node->bsets[i].words, IMAGE_BSET, NULL);
	return err;
}

/* Those of other nodes that had this place. */
static bcfmt_err keep_older(struct node_clean *clean)
{
	uint64_t budget = scan_budget(clean->len_bytes);
	bcfmt_err err = BCFMT_OK;

	for (uint32_t block = 0; block < clean->maker->node.nblocks && !err; block++) {
		uint32_t at = block_at(clean, block);
		struct scan_bset bset;

		if (!is_free(clean, at, HEADER_BYTES) ||
		    !scan_bset_at(clean->geo, clean->raw + at, clean->len_bytes - at,
				  bcfmt_ptr_sector(clean->ptr) + at / BCFMT_SECTOR_BYTES, &budget,
				  &bset) ||
		    !is_free(clean, at, HEADER_BYTES + 8 * bset.words))
			continue;
		err = keep(clean, at, HEADER_BYTES + 8 * bset.words, IMAGE_BSET, NULL);
		clean->maker->stats->found_bsets++;
	}
	return err;
}

/* ---- the bset that is not ------------------------------------------------------------------ */

/* Marks the keys among words from a place on; is_run: only those up to the first that is none. */
static void mark_keys(struct node_clean *clean, uint32_t offset_bytes, uint32_t words, bool is_run)
{
	uint8_t *use = clean->maker->word_use + offset_bytes / 8;

	for (uint32_t i = 0; i < words;) {
		uint32_t key_words = plausible_key(
			clean->geo, clean->raw + offset_bytes + 8 * (size_t)i, words - i);

		if (key_words && is_free(clean, offset_bytes + 8 * i, 8 * key_words)) {
			memset(use + i, WORD_KEY, key_words);
			i += key_words;
		} else if (is_run) {
			break;
		} else {
			i++;
		}
	}
}

/*
 * One word among those that are taken out makes up for them: the checksum over what is left comes
 * out as it did over what was there.
 */
static bcfmt_err keep_csum(struct node_clean *clean, const struct bcfmt_bset *bset)
{
	uint32_t at = block_at(clean, bset->block), words = HEADER_WORDS + bset->keys_field;
	const uint8_t *use = clean->maker->word_use + at / 8;
	uint32_t first = words;
	uint8_t *left, word[8];
	uint64_t diff;

	for (uint32_t i = HEADER_WORDS; i < words && first == words; i++)
		if (use[i] == WORD_FREE)
			first = i;
	if (first == words)
		return BCFMT_OK;
	left = malloc(8 * (size_t)words);
	if (!left)
		return bcfmt_fail(clean->maker->ctx, BCFMT_E_NOMEM, "no memory for a node");
	memcpy(left, clean->raw + at, 8 * (size_t)words);
	for (uint32_t i = HEADER_WORDS; i < words; i++)
		if (use[i] == WORD_FREE)
			memset(left + 8 * (size_t)i, 0, 8);
	diff = bset->csum_computed ^
	       bcfmt_bset_csum(left, bset->keys_field, bset->version, clean->ptr);
	free(left);
	store_le64(word, __builtin_bswap64(crc64_unshift(diff, 8ull * (words - first))));
	return keep(clean, at + 8 * first, sizeof(word), IMAGE_RAW, word);
}

static bool is_inside(const struct node_clean *clean, uint32_t offset_bytes, uint32_t words)
{
	return HEADER_BYTES + 8ull * words <= clean->len_bytes - offset_bytes;
}

/* The checksum is right once a damaged magic or version is put right: nothing else is damaged. */
static bool is_right_but_for_header(const struct node_clean *clean, uint32_t offset_bytes)
{
	const struct bset_disk *disk = (const struct bset_disk *)(clean->raw + offset_bytes);
	uint32_t words = le32_get(&disk->keys);
	struct bset_disk mended = *disk;

	if (!is_inside(clean, offset_bytes, words))
		return false;
	for (uint32_t i = 0; i < 4; i++) {
		uint32_t version = i & 1;
		uint64_t csum = version ? clean->ptr : UINT64_MAX;

		mended.magic = disk->magic;
		if (i < 2)
			le64_set(&mended.magic, clean->geo->set_magic ^ DISK_BSET_MAGIC);
		le32_set(&mended.version, version);
		csum = bcfmt_crc64_seeded(csum, mended.magic.b, sizeof(mended) - 8);
		if (words)
			csum = bcfmt_crc64_seeded(~csum, disk + 1, 8 * (size_t)words);
		if (csum == le64_get(&disk->csum))
			return true;
	}
	return false;
}

/*
 * What stands where the node should be is none. So much stays that a reader stops for the same
 * reason: no magic, and a version or length that cannot be where that was the reason.
 */
static bcfmt_err keep_marker(struct node_clean *clean, enum bcfmt_bset_fault fault)
{
	struct bset_disk marker;

	/* Zeros are nobody's data. */
	clean->maker->stats->withheld += !bytes_are_zero(clean->raw, clean->len_bytes);
	if (fault == BCFMT_BSET_ZERO_SEQ)
		return BCFMT_OK;
	memset(&marker, 0, sizeof(marker));
	le64_set(&marker.seq, 1);
	le32_set(&marker.version, fault == BCFMT_BSET_VERSION ? DISK_BSET_VERSION + 1 : 1);
	le32_set(&marker.keys, fault == BCFMT_BSET_OVERRUN ? UINT32_MAX : 0);
	/* Not the checksum of this, which a set of another uuid could have written. */
	le64_set(&marker.csum, ~bcfmt_bset_csum(marker.csum.b, 0, 1, clean->ptr));
	return keep(clean, 0, sizeof(marker), IMAGE_RAW, marker.csum.b);
}

static bcfmt_err keep_damaged(struct node_clean *clean, uint32_t block,
			      const struct bcfmt_bset *bset, enum bcfmt_bset_fault fault)
{
	uint32_t at = block_at(clean, block);
	const struct bset_disk *disk = (const struct bset_disk *)(clean->raw + at);
	uint32_t words = le32_get(&disk->keys);
	bool has_magic = le64_get(&disk->magic) == (clean->geo->set_magic ^ DISK_BSET_MAGIC);
	bcfmt_err err;

	/* A later one has the seq of the first, 64 bits that nobody writes by chance. */
	if (is_right_but_for_header(clean, at) && is_free(clean, at, HEADER_BYTES + 8 * words))
		return keep(clean, at, HEADER_BYTES + 8 * words, IMAGE_BSET, NULL);
	if (!block && !has_magic)
		return keep_marker(clean, fault);
	err = keep_header(clean, at);
	if (err)
		return err;
	words = (uint32_t)min_u64(words, (clean->len_bytes - at - HEADER_BYTES) / 8);
	mark_keys(clean, at + HEADER_BYTES, words, fault != BCFMT_BSET_CSUM);
	return fault == BCFMT_BSET_CSUM && bset ? keep_csum(clean, bset) : BCFMT_OK;
}

/* Headers with the node's seq behind its end: a kernel stops at the first of them. */
static bcfmt_err keep_behind(struct node_clean *clean)
{
	const struct bcfmt_node *node = &clean->maker->node;
	bcfmt_err err = BCFMT_OK;

	for (uint32_t at = block_at(clean, node->fault_block); at < clean->len_bytes && !err;
	     at += bcfmt_block_bytes(clean->geo)) {
		const struct bset_disk *disk = (const struct bset_disk *)(clean->raw + at);

		if (le64_get(&disk->seq) == node->seq)
			err = keep_header(clean, at);
	}
	return err;
}

static bcfmt_err keep_fault(struct node_clean *clean)
{
	const struct bcfmt_node *node = &clean->maker->node;

	if (!node->fault)
		return BCFMT_OK;
	for (uint32_t i = 0; i < node->n_bsets; i++)
		if (node->bsets[i].fault)
			return keep_damaged(clean, node->bsets[i].block, &node->bsets[i],
					    node->bsets[i].fault);
	/* Smaller than a block. */
	if (!node->nblocks)
		return keep_damaged(clean, 0, NULL, node->fault);
	return keep_behind(clean);
}

/* ---- to the image -------------------------------------------------------------------------- */

/* Keys of damaged bsets, run by run. */
static bcfmt_err keep_keys(struct node_clean *clean)
{
	const uint8_t *use = clean->maker->word_use;
	uint32_t words = clean->len_bytes / 8;
	bcfmt_err err = BCFMT_OK;

	for (uint32_t i = 0; i < words && !err;) {
		uint32_t begin = i;

		while (i < words && use[i] == WORD_KEY)
			i++;
		if (i == begin)
			i++;
		else
			err = keep(clean, 8 * begin, 8 * (i - begin), IMAGE_KEYS, NULL);
	}
	return err;
}

static int kept_cmp(const void *a, const void *b)
{
	const struct kept *x = a, *y = b;

	return x->offset_bytes < y->offset_bytes ? -1 : x->offset_bytes > y->offset_bytes;
}

static bcfmt_err add_kept(struct node_clean *clean)
{
	struct maker *maker = clean->maker;
	uint64_t node_byte = bcfmt_ptr_sector(clean->ptr) * BCFMT_SECTOR_BYTES;
	const struct kept *kept = maker->kept.items;
	bcfmt_err err = BCFMT_OK;

	if (maker->kept.n > 1)
		qsort(maker->kept.items, maker->kept.n, sizeof(*kept), kept_cmp);
	for (size_t i = 0; i < maker->kept.n && !err; i++) {
		struct image_piece piece = {
			.offset_bytes = node_byte + kept[i].offset_bytes,
			.bytes = kept[i].is_own ? kept[i].own : clean->raw + kept[i].offset_bytes,
			.len_bytes = kept[i].len_bytes,
			.kind = kept[i].kind,
		};

		if (kept[i].kind == IMAGE_BSET)
			err = add_bset(maker, piece.offset_bytes, piece.bytes, kept[i].len_bytes);
		else
			err = image_writer_add(maker->writer, &piece);
	}
	return err;
}

bcfmt_err clean_node(struct maker *maker, const struct known *known, const uint8_t *raw)
{
	struct node_clean clean = {
		.maker = maker,
		.geo = &maker->set->geo,
		.ptr = known->ptr,
		.raw = raw,
		.len_bytes = known->sectors * BCFMT_SECTOR_BYTES,
	};
	bcfmt_err err;

	if (maker->word_use_bytes < clean.len_bytes / 8) {
		uint8_t *grown = realloc(maker->word_use, clean.len_bytes / 8);

		if (!grown)
			return bcfmt_fail(maker->ctx, BCFMT_E_NOMEM, "no memory for a node");
		maker->word_use = grown;
		maker->word_use_bytes = clean.len_bytes / 8;
	}
	memset(maker->word_use, WORD_FREE, clean.len_bytes / 8);
	maker->kept.n = 0;
	maker->stats->nodes++;
	err = bcfmt_node_decode(&maker->node, clean.geo, raw, known->sectors, known->ptr);
	if (!err)
		err = add_cover(maker, bcfmt_ptr_sector(known->ptr) * BCFMT_SECTOR_BYTES,
				clean.len_bytes);
	if (!err)
		err = keep_usable(&clean);
	if (!err)
		err = keep_older(&clean);
	if (!err)
		err = keep_fault(&clean);
	if (!err)
		err = keep_keys(&clean);
	return err ? err : add_kept(&clean);
}
