/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The table of extents at the begin of every chunk, and chunks without columns. */
#include "codec/image_columns.h"

#include <stdlib.h>
#include <string.h>

#include "base/bytes.h"
#include "ondisk/image.h"

static uint8_t *put_varint(uint8_t *to, uint64_t value)
{
	for (; value >= 0x80; value >>= 7)
		*to++ = (uint8_t)(value | 0x80);
	*to++ = (uint8_t)value;
	return to;
}

/* False at the end of the table, or when there are more bits than a number has. */
static bool get_varint(const uint8_t **from, const uint8_t *end, uint64_t *value)
{
	*value = 0;
	for (unsigned int shift = 0; shift < 64 && *from < end; shift += 7) {
		uint64_t bits = **from & 0x7f;

		if (shift == 63 && bits > 1)
			return false;
		*value |= bits << shift;
		if (!(*(*from)++ & 0x80))
			return true;
	}
	return false;
}

/* Where the next extent is counted from. */
static uint64_t cursor_after(const struct image_extent *extent)
{
	return extent->offset_bytes + (extent->kind == IMAGE_COVER ? 0 : extent->bytes);
}

uint8_t *image_table_encode(const struct image_chunk *chunk, uint8_t *to)
{
	uint64_t cursor = chunk->first_byte;

	for (uint32_t i = 0; i < chunk->n_extents; i++) {
		const struct image_extent *extent = &chunk->extents[i];

		*to++ = (uint8_t)extent->kind;
		to = put_varint(to, extent->offset_bytes - cursor);
		to = put_varint(to, extent->bytes);
		cursor = cursor_after(extent);
	}
	return to;
}

static bool get_extent(const uint8_t **from, const uint8_t *end, const struct image_chunk *chunk,
		       uint64_t cursor, struct image_extent *out)
{
	uint64_t gap;

	if (*from == end)
		return false;
	out->kind = (enum image_kind) * (*from)++;
	if (out->kind >= IMAGE_KINDS || !get_varint(from, end, &gap) ||
	    !get_varint(from, end, &out->bytes))
		return false;
	if (gap > chunk->end_byte - cursor || out->bytes > chunk->end_byte - cursor - gap)
		return false;
	out->offset_bytes = cursor + gap;
	return true;
}

/* The table must take all of its bytes, the extents all of the content. */
bcfmt_err image_table_decode(const uint8_t *from, uint32_t table_bytes, uint32_t n_extents,
			     struct image_chunk *chunk)
{
	const uint8_t *end = from + table_bytes;
	uint64_t cursor = chunk->first_byte;
	uint32_t content_at = 0;

	chunk->n_extents = 0;
	if (n_extents > DISK_IMAGE_EXTENTS_MAX || chunk->content_bytes > DISK_IMAGE_CONTENT_MAX ||
	    chunk->end_byte < chunk->first_byte)
		return BCFMT_E_DAMAGED;
	if (n_extents > chunk->extents_cap) {
		struct image_extent *grown =
			realloc(chunk->extents, n_extents * sizeof(*chunk->extents));

		if (!grown)
			return BCFMT_E_NOMEM;
		chunk->extents = grown;
		chunk->extents_cap = n_extents;
	}
	for (uint32_t i = 0; i < n_extents; i++) {
		struct image_extent *extent = &chunk->extents[i];

		if (!get_extent(&from, end, chunk, cursor, extent))
			return BCFMT_E_DAMAGED;
		cursor = cursor_after(extent);
		extent->content_at = content_at;
		if (extent->kind == IMAGE_COVER)
			continue;
		if (!extent->bytes || extent->bytes > chunk->content_bytes - content_at)
			return BCFMT_E_DAMAGED;
		content_at += (uint32_t)extent->bytes;
	}
	if (from != end || content_at != chunk->content_bytes)
		return BCFMT_E_DAMAGED;
	chunk->n_extents = n_extents;
	return BCFMT_OK;
}

/* ---- without columns --------------------------------------------------------------------- */

#define PLAIN_DIRECTORY_BYTES 8u

void image_plain_encode(const struct image_chunk *chunk, uint8_t *payload,
			struct image_segments *segments)
{
	uint8_t *content = image_table_encode(chunk, payload + PLAIN_DIRECTORY_BYTES);
	uint32_t table_bytes = (uint32_t)(content - payload) - PLAIN_DIRECTORY_BYTES;

	store_le32(payload, chunk->n_extents);
	store_le32(payload + 4, table_bytes);
	memcpy(content, chunk->content, chunk->content_bytes);
	segments->n = 0;
	image_segment_add(segments, PLAIN_DIRECTORY_BYTES + table_bytes);
	image_segment_add(segments, chunk->content_bytes);
}

bcfmt_err image_plain_decode(const uint8_t *payload, uint32_t payload_bytes,
			     struct image_chunk *chunk)
{
	uint64_t table_bytes;
	bcfmt_err err;

	chunk->n_extents = 0;
	if (payload_bytes < PLAIN_DIRECTORY_BYTES)
		return BCFMT_E_DAMAGED;
	table_bytes = load_le32(payload + 4);
	if (PLAIN_DIRECTORY_BYTES + table_bytes + chunk->content_bytes != payload_bytes)
		return BCFMT_E_DAMAGED;
	err = image_table_decode(payload + PLAIN_DIRECTORY_BYTES, (uint32_t)table_bytes,
				 load_le32(payload), chunk);
	if (!err)
		memcpy(chunk->content, payload + PLAIN_DIRECTORY_BYTES + table_bytes,
		       chunk->content_bytes);
	return err;
}
