/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What of superblocks, journal and prio sets may stay: what a checksum covers that is right; of
 * damaged ones what their findings tell of.
 */
#include <stdlib.h>
#include <string.h>

#include <bcfmt/crc64.h>
#include <bcfmt/jset.h>
#include <bcfmt/prio.h>

#include "base/bytes.h"
#include "base/checked.h"
#include "codec/crc64_math.h"
#include "codec/jset_mend.h"
#include "codec/key_frame.h"
#include "image/image_impl.h"
#include "ondisk/jset.h"
#include "ondisk/prio_set.h"
#include "ondisk/super.h"

#define VERSION_MAX 6u
#define JOURNAL_PIECE_BYTES (4u << 20)

bcfmt_err add_cover(struct maker *maker, uint64_t offset_bytes, uint64_t len_bytes)
{
	uint64_t dev_bytes = bcfmt_dev_bytes(maker->set->cache.dev);

	if (offset_bytes >= dev_bytes)
		return BCFMT_OK;
	return image_writer_cover(maker->writer, offset_bytes,
				  min_u64(len_bytes, dev_bytes - offset_bytes));
}

bcfmt_err add_raw(struct maker *maker, uint64_t offset_bytes, const uint8_t *bytes,
		  size_t len_bytes)
{
	struct image_piece piece = { .offset_bytes = offset_bytes,
				     .bytes = bytes,
				     .len_bytes = len_bytes,
				     .kind = IMAGE_RAW };

	return image_writer_add(maker->writer, &piece);
}

/* A structure that begins with a checksum over the rest of it and a magic. */
static bcfmt_err add_structure(struct maker *maker, enum image_kind kind, uint64_t offset_bytes,
			       const uint8_t *raw, size_t len_bytes)
{
	uint8_t head[16];
	struct image_piece piece = { .offset_bytes = offset_bytes,
				     .bytes = raw,
				     .len_bytes = len_bytes,
				     .head = head,
				     .head_bytes = sizeof(head),
				     .kind = kind };

	memcpy(head, raw, sizeof(head));
	scrub_header(&maker->scrub, head, len_bytes - 8);
	return image_writer_add(maker->writer, &piece);
}

bcfmt_err add_bset(struct maker *maker, uint64_t offset_bytes, const uint8_t *raw,
		   uint32_t len_bytes)
{
	return add_structure(maker, IMAGE_BSET, offset_bytes, raw, len_bytes);
}

bcfmt_err add_prio(struct maker *maker, uint64_t offset_bytes, const uint8_t *raw,
		   uint32_t meta_bytes)
{
	maker->stats->found_prios++;
	return add_structure(maker, IMAGE_PRIO, offset_bytes, raw, meta_bytes);
}

/* ---- superblocks --------------------------------------------------------------------------- */

/* It is one but for its magic, or all is zero: nothing to hide. */
static bool is_super(const uint8_t raw[BCFMT_SUPER_BYTES])
{
	static const uint8_t magic[16] = { 0xc6, 0x85, 0x73, 0xf6, 0x4e, 0x1a, 0x45, 0xca,
					   0x82, 0x65, 0xf5, 0x7f, 0x48, 0xba, 0x6d, 0x81 };
	const struct super_disk *disk = (const struct super_disk *)raw;
	uint8_t mended[BCFMT_SUPER_BYTES];

	if (!memcmp(disk->magic, magic, sizeof(magic)))
		return true;
	memcpy(mended, raw, sizeof(mended));
	memcpy(((struct super_disk *)mended)->magic, magic, sizeof(magic));
	return le16_get(&disk->keys) <= DISK_SUPER_JOURNAL_MAX &&
	       bcfmt_super_csum(mended) == le64_get(&disk->csum);
}

static void scrub_super(const struct scrub *scrub, struct super_disk *disk)
{
	uint8_t *raw = (uint8_t *)disk;
	uint64_t before = bcfmt_super_csum(raw);

	scrub_uuid(scrub, disk->uuid);
	scrub_uuid(scrub, disk->set_uuid);
	scrub_label(scrub, disk->label);
	le64_set(&disk->csum, le64_get(&disk->csum) ^ before ^ bcfmt_super_csum(raw));
}

bcfmt_err clean_super(struct maker *maker, const uint8_t raw[BCFMT_SUPER_BYTES], size_t len_bytes)
{
	union {
		struct super_disk disk;
		uint8_t raw[BCFMT_SUPER_BYTES];
	} clean;
	const struct super_disk *disk = (const struct super_disk *)raw;
	size_t covered =
		DISK_SUPER_JOURNAL_AT + 8 * min_u64(le16_get(&disk->keys), DISK_SUPER_JOURNAL_MAX);
	bcfmt_err err;

	memset(&clean, 0, sizeof(clean));
	if (is_super(raw)) {
		memcpy(clean.raw, raw, covered);
		/* Outside the checksum, and half of the bucket size with one feature. */
		if (le64_get(&disk->version) == 5 &&
		    le64_get(&disk->feature_incompat) & BCFMT_FEATURE_OBSO_LARGE_BUCKET)
			clean.disk.obso_bucket_hi = disk->obso_bucket_hi;
		scrub_super(&maker->scrub, &clean.disk);
	} else if (!bytes_are_zero(raw, BCFMT_SUPER_BYTES)) {
		/* Which role it would have, and whether its offset is right. */
		maker->stats->withheld++;
		if (le64_get(&disk->offset_sector) == DISK_SUPER_SECTOR)
			clean.disk.offset_sector = disk->offset_sector;
		if (le64_get(&disk->version) <= VERSION_MAX)
			clean.disk.version = disk->version;
	}
	/* On a device that had something else the zeros matter. */
	err = image_writer_cover(maker->writer, BCFMT_SUPER_OFFSET_BYTES, len_bytes);
	for (covered = len_bytes; covered && !clean.raw[covered - 1];)
		covered--;
	return err || !covered ? err : add_raw(maker, BCFMT_SUPER_OFFSET_BYTES, clean.raw, covered);
}

/* ---- the journal --------------------------------------------------------------------------- */

/* The header of a damaged entry and the keys that follow it, at most to the end of its block. */
static bcfmt_err add_damaged_jset(struct maker *maker, uint64_t offset_bytes, const uint8_t *raw)
{
	const struct bcfmt_geometry *geo = &maker->set->geo;
	uint8_t header[sizeof(struct jset_disk)];
	uint32_t keys = le32_get(&((const struct jset_disk *)raw)->keys);
	uint32_t words = (uint32_t)min_u64(keys, (bcfmt_block_bytes(geo) - sizeof(header)) / 8);
	struct image_piece piece = { .offset_bytes = offset_bytes + sizeof(header),
				     .bytes = raw + sizeof(header),
				     .kind = IMAGE_KEYS };
	uint32_t at = 0, key_words;
	bcfmt_err err;

	memcpy(header, raw, sizeof(header));
	scrub_header(&maker->scrub, header, sizeof(header) - 8 + 8ull * keys);
	err = add_raw(maker, offset_bytes, header, sizeof(header));
	while ((key_words = plausible_key(geo, piece.bytes + 8 * (size_t)at, words - at)))
		at += key_words;
	piece.len_bytes = 8 * (size_t)at;
	return err || !at ? err : image_writer_add(maker->writer, &piece);
}

/*
 * An entry with a right checksum, which is that of jset, and its bytes as they are on the disk,
 * where one thing in them may be wrong: scrubbed it is as wrong as it was. Where it ends within a
 * key, a check looks for the rest of that key behind it, one or two words.
 */
static bcfmt_err add_jset(struct maker *maker, uint64_t offset_bytes, const uint8_t *raw,
			  size_t avail_bytes, const struct bcfmt_jset *jset)
{
	const struct bcfmt_geometry *geo = &maker->set->geo;
	uint64_t room_bytes =
		min_u64(avail_bytes, (uint64_t)jset->blocks * bcfmt_block_bytes(geo)) -
		BCFMT_JSET_HEADER_BYTES;
	struct key_frame frame;
	struct bcfmt_key key;
	bcfmt_err err;

	maker->stats->journal_entries++;
	err = add_structure(maker, IMAGE_JSET, offset_bytes, raw, (size_t)jset->bytes);
	if (err || maker->set->cache.super.nr_in_set > 1 ||
	    !key_frame_find_tail(jset->keys, jset->keys_field, (uint32_t)(room_bytes / 8), &frame,
				 &key))
		return err;
	return add_raw(maker, offset_bytes + jset->bytes, raw + jset->bytes,
		       8 * (size_t)(frame.words + bcfmt_key_words(&key) - jset->keys_field));
}

/* The entry that lies there and is known, although no kernel takes it; NULL when there is none. */
static const struct bcfmt_journal_mended *mended_at(const struct maker *maker,
						    uint64_t offset_bytes)
{
	const struct bcfmt_journal *journal = &maker->set->journal;
	const struct bcfmt_geometry *geo = &maker->set->geo;

	for (size_t i = 0; i < journal->n_mended; i++) {
		const struct bcfmt_journal_entry *entry = &journal->mended[i].entry;
		uint64_t bucket = (uint64_t)geo->first_bucket + entry->ring_index;

		if ((bcfmt_bucket_sector(geo, bucket) + entry->sector) * BCFMT_SECTOR_BYTES ==
		    offset_bytes)
			return &journal->mended[i];
	}
	return NULL;
}

/* *blocks: 0 when what lies there is not that entry, which a device in use can have replaced. */
static bcfmt_err add_mended(struct maker *maker, uint64_t offset_bytes, const uint8_t *raw,
			    size_t avail_bytes, const struct bcfmt_journal_mended *mended,
			    uint32_t *blocks)
{
	const struct bcfmt_geometry *geo = &maker->set->geo;
	size_t len_bytes = (size_t)min_u64(avail_bytes,
					   (uint64_t)mended->entry.blocks * bcfmt_block_bytes(geo));
	uint8_t *copy = malloc(len_bytes);
	struct bcfmt_jset jset;
	bcfmt_err err = BCFMT_OK;

	*blocks = 0;
	if (!copy)
		return bcfmt_fail(maker->ctx, BCFMT_E_NOMEM, "no memory for a journal entry");
	memcpy(copy, raw, len_bytes);
	jset_mend_apply(geo, copy, len_bytes, mended->entry.seq, &mended->mend);
	if (bcfmt_jset_decode(geo, copy, len_bytes, &jset) == BCFMT_JSET_OK &&
	    jset.csum == mended->entry.csum) {
		*blocks = jset.blocks;
		err = add_jset(maker, offset_bytes, raw, len_bytes, &jset);
	}
	free(copy);
	return err;
}

/* One block of the ring, and the entry that begins there; *blocks is how far to go on. */
static bcfmt_err clean_block(struct maker *maker, uint64_t offset_bytes, const uint8_t *raw,
			     size_t avail_bytes, uint32_t *blocks)
{
	const struct bcfmt_journal_mended *mended;
	struct bcfmt_jset jset;
	enum bcfmt_jset_fault fault = bcfmt_jset_decode(&maker->set->geo, raw, avail_bytes, &jset);
	bcfmt_err err;

	if (fault && (mended = mended_at(maker, offset_bytes))) {
		err = add_mended(maker, offset_bytes, raw, avail_bytes, mended, blocks);
		if (err || *blocks)
			return err;
	}
	*blocks = 1;
	switch (fault) {
	case BCFMT_JSET_OK:
		*blocks = jset.blocks;
		return add_jset(maker, offset_bytes, raw, avail_bytes, &jset);
	case BCFMT_JSET_TOO_BIG:
	case BCFMT_JSET_CSUM:
		return add_damaged_jset(maker, offset_bytes, raw);
	case BCFMT_JSET_OTHER_ENDIAN: {
		uint8_t magic[16] = { 0 };

		memcpy(magic + 8, raw + 8, 8);
		/* Big-endian: the set magic takes part in it as it does here. */
		store_le64(magic + 8, load_le64(magic + 8) ^ maker->scrub.magic_diff);
		return add_raw(maker, offset_bytes + 8, magic + 8, 8);
	}
	case BCFMT_JSET_MAGIC:
		break;
	}
	return BCFMT_OK;
}

/*
 * Piece by piece as the ring is read for a check, so that the same sectors count as unreadable: a
 * piece overlaps the next by the largest entry.
 */
bcfmt_err clean_journal(struct maker *maker, uint64_t bucket)
{
	const struct bcfmt_geometry *geo = &maker->set->geo;
	uint64_t start = bcfmt_bucket_sector(geo, bucket) * BCFMT_SECTOR_BYTES, at = 0;
	uint64_t bucket_bytes = (uint64_t)geo->bucket_sectors * BCFMT_SECTOR_BYTES;
	uint64_t overlap_bytes = (uint64_t)BCFMT_JSET_MAX_PAGES * geo->page_bytes;
	bcfmt_err err = add_cover(maker, start, bucket_bytes);

	while (!err && at < bucket_bytes) {
		size_t len = (size_t)min_u64(JOURNAL_PIECE_BYTES, bucket_bytes - at), in_piece = 0;
		bool is_last = at + len == bucket_bytes;
		struct bcfmt_bad_read bad;
		const uint8_t *raw;

		err = scan_read(maker->scan, start + at, len, &raw, &bad);
		while (!err && in_piece + sizeof(struct jset_disk) <= len &&
		       (is_last || in_piece + overlap_bytes <= len)) {
			uint32_t blocks;

			err = clean_block(maker, start + at + in_piece, raw + in_piece,
					  len - in_piece, &blocks);
			in_piece += (size_t)blocks * bcfmt_block_bytes(geo);
		}
		at += is_last ? len : in_piece;
	}
	return err;
}

/* ---- prio sets ----------------------------------------------------------------------------- */

bcfmt_err clean_prio(struct maker *maker, const struct known *known, const uint8_t *raw,
		     size_t len_bytes)
{
	uint64_t offset_bytes =
		bcfmt_bucket_sector(&maker->set->geo, known->bucket) * BCFMT_SECTOR_BYTES;
	const struct prio_set_disk *disk = (const struct prio_set_disk *)raw;
	uint64_t csum = bcfmt_crc64(raw + 8, len_bytes - 8);
	uint32_t meta_bytes = scan_prio_at(&maker->set->geo, raw, len_bytes);
	uint8_t header[sizeof(*disk)], word[8];
	uint64_t left;
	bcfmt_err err = add_cover(maker, offset_bytes, len_bytes);

	if (err)
		return err;
	/* With a right checksum it is a prio set, be it of another set of the same device. */
	if (meta_bytes || le64_get(&disk->csum) == csum)
		return add_prio(maker, offset_bytes, raw,
				meta_bytes ? meta_bytes : (uint32_t)len_bytes);
	if (le64_get(&disk->magic) != (maker->set->geo.set_magic ^ DISK_PRIO_MAGIC)) {
		maker->stats->withheld += !bytes_are_zero(raw, len_bytes);
		return BCFMT_OK;
	}
	/* Entries are three bytes of anything. A word at the end keeps the checksum what it was. */
	memcpy(header, raw, sizeof(header));
	left = ~crc64_shift(~bcfmt_crc64(header + 8, sizeof(header) - 8),
			    len_bytes - sizeof(header));
	store_le64(word, __builtin_bswap64(crc64_unshift(csum ^ left, sizeof(word))));
	scrub_header(&maker->scrub, header, len_bytes - 8);
	err = add_raw(maker, offset_bytes, header, sizeof(header));
	return err ? err
		   : add_raw(maker, offset_bytes + len_bytes - sizeof(word), word, sizeof(word));
}
