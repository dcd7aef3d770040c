/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The filter in front of zlib: keys and prios by columns, predicted from what is before them. */
#ifndef CODEC_IMAGE_COLUMNS_H
#define CODEC_IMAGE_COLUMNS_H

#include "codec/image_chunk.h"

/* Runs of bytes of one nature, one behind the other in the payload. */
#define IMAGE_SEGMENTS_MAX 48u
struct image_segments {
	uint32_t bytes[IMAGE_SEGMENTS_MAX];
	unsigned int n;
};
static inline void image_segment_add(struct image_segments *segments, size_t len_bytes)
{
	segments->bytes[segments->n++] = (uint32_t)len_bytes;
}

/* Kind, gap and length of every extent. */
#define IMAGE_TABLE_BYTES_MAX (DISK_IMAGE_EXTENTS_MAX * (1u + 2u * 10u))
/* Returns where the table ends. */
uint8_t *image_table_encode(const struct image_chunk *chunk, uint8_t *to);
/*
 * Fills the extents of a chunk whose first_byte, end_byte and content_bytes are known. The table
 * must take all of its bytes, the extents all of the content: else E_DAMAGED. E_NOMEM.
 */
bcfmt_err image_table_decode(const uint8_t *from, uint32_t table_bytes, uint32_t n_extents,
			     struct image_chunk *chunk);

/* Columns of one chunk before they are cut into bytes. */
struct image_columns;
struct image_columns *image_columns_new(void);
void image_columns_free(struct image_columns *columns);

/*
 * Writes the payload (DISK_IMAGE_PAYLOAD_MAX) of a chunk within the limits and tells its segments;
 * their sum is its length.
 */
void image_columns_encode(struct image_columns *columns, const struct image_chunk *chunk,
			  uint8_t *payload, struct image_segments *segments);
void image_plain_encode(const struct image_chunk *chunk, uint8_t *payload,
			struct image_segments *segments);

/*
 * Fill extents and content of a chunk whose first_byte, end_byte and content_bytes are known.
 * E_DAMAGED when the payload is no such chunk; E_NOMEM.
 */
bcfmt_err image_columns_decode(const uint8_t *payload, uint32_t payload_bytes,
			       struct image_chunk *chunk);
bcfmt_err image_plain_decode(const uint8_t *payload, uint32_t payload_bytes,
			     struct image_chunk *chunk);

#endif
