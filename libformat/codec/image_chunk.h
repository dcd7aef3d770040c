/* SPDX-License-Identifier: GPL-2.0-or-later */
/* A chunk of a metadata image: pieces of one device, and the bytes that they become in the file. */
#ifndef CODEC_IMAGE_CHUNK_H
#define CODEC_IMAGE_CHUNK_H

#include <bcfmt/base.h>

/* What a piece is; the numbers stand in files. */
enum image_kind {
	IMAGE_RAW = 0,
	IMAGE_BSET = 1,	 /* header, then keys */
	IMAGE_JSET = 2,	 /* header, then keys */
	IMAGE_KEYS = 3,	 /* keys: the rest of one of those that did not fit */
	IMAGE_PRIO = 4,	 /* header, then entries */
	IMAGE_PRIOS = 5, /* entries */
	/*
	 * Has no bytes: all of this range is metadata, zeros where no other piece lies. The pieces
	 * behind it begin where it does, or later.
	 */
	IMAGE_COVER = 6,
	IMAGE_KINDS,
};

struct image_extent {
	uint64_t offset_bytes; /* on the device */
	uint64_t bytes;
	uint32_t content_at; /* of its bytes in the content; meaningless for IMAGE_COVER */
	enum image_kind kind;
};

/* Extents ascend and, but for IMAGE_COVER, do not overlap; all lie in [first_byte, end_byte). */
struct image_chunk {
	uint64_t first_byte;
	uint64_t end_byte;
	struct image_extent *extents;
	uint32_t n_extents;
	uint32_t extents_cap;
	uint8_t *content; /* DISK_IMAGE_CONTENT_MAX */
	uint32_t content_bytes;
};

/* Room for the largest content, none for extents. E_NOMEM. Ended with image_chunk_clear(). */
bcfmt_err image_chunk_init(struct image_chunk *chunk);
void image_chunk_clear(struct image_chunk *chunk);

/* What one thread needs to pack or unpack chunk after chunk. */
struct image_packer;
struct image_packer *image_packer_new(void);
void image_packer_free(struct image_packer *packer);

/*
 * Makes the stored bytes of a chunk within the limits of ondisk/image.h in out, which has room
 * for DISK_IMAGE_STORED_MAX. Columns that do not give the same bytes back are not used. E_NOMEM.
 */
bcfmt_err image_chunk_pack(struct image_packer *packer, const struct image_chunk *chunk,
			   uint8_t *out, uint32_t *stored_bytes, uint8_t *method);

/*
 * The reverse. chunk was initialised; its first_byte, end_byte and content_bytes are those of the
 * block. E_DAMAGED when the stored bytes are not such a chunk, E_NOMEM.
 */
bcfmt_err image_chunk_unpack(struct image_packer *packer, const uint8_t *stored,
			     uint32_t stored_bytes, uint8_t method, struct image_chunk *chunk);

#endif
