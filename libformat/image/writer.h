/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Writes an image file front to back: chunks are packed by threads and go out in order. */
#ifndef IMAGE_WRITER_H
#define IMAGE_WRITER_H

#include <bcfmt/image.h>

#include "codec/image_chunk.h"
#include "dev/range_map.h"

struct image_writer;

/* Who is in the image. */
struct image_writer_member {
	const char *source; /* "": not told */
	uint64_t bytes;
	uint32_t logical_block_bytes;
	bool is_cache;
	bool was_in_use;
};
struct image_writer_head {
	const struct image_writer_member *members;
	size_t n_members;
	uint64_t stamp;
	bool is_scrubbed;
};

/* Writes the head. Freed with image_writer_free(), also after an error. E_ARG: too many members. */
bcfmt_err image_writer_new(struct bcfmt_ctx *ctx, const struct image_writer_head *head,
			   bcfmt_image_write_fn write, void *arg, struct image_writer **out);

/* What is added from now on is of this member; they ascend. */
bcfmt_err image_writer_begin(struct image_writer *writer, uint16_t member);
/* A range of a member; len_bytes > 0. */
struct image_piece {
	uint64_t offset_bytes;
	const uint8_t *bytes;
	size_t len_bytes;
	const uint8_t *head; /* head_bytes that stand in for the first ones; may be NULL */
	size_t head_bytes;
	enum image_kind kind;
};
/* Bytes are copied. Offsets ascend within a member; what overlaps an earlier piece is left out. */
bcfmt_err image_writer_add(struct image_writer *writer, const struct image_piece *piece);
/* All of the range is metadata; what is added next lies at or behind its begin. */
bcfmt_err image_writer_cover(struct image_writer *writer, uint64_t offset_bytes,
			     uint64_t len_bytes);
/* The last of a member: bytes of it that could not be read. */
bcfmt_err image_writer_holes(struct image_writer *writer, const struct range_map *bad);

/* Writes what is left, the head once more, index and end. */
bcfmt_err image_writer_finish(struct image_writer *writer);
uint64_t image_writer_bytes(const struct image_writer *writer);	  /* of the file so far */
uint64_t image_writer_content(const struct image_writer *writer); /* metadata so far */
void image_writer_free(struct image_writer *writer);

#endif
