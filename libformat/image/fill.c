/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Fills chunks with pieces of a device: none is larger than a chunk may be, none overlaps. */
#include <stdlib.h>
#include <string.h>

#include <bcfmt/node.h>

#include "base/bytes.h"
#include "base/checked.h"
#include "image/writer_impl.h"
#include "ondisk/image.h"
#include "ondisk/jset.h"
#include "ondisk/prio_set.h"

#define PRIO_BYTES sizeof(struct prio_entry_disk)

static bcfmt_err push_extent(struct image_writer *writer, enum image_kind kind,
			     uint64_t offset_bytes, uint64_t len_bytes)
{
	struct image_chunk *chunk = &writer->jobs[writer->filling].chunk;

	if (chunk->n_extents == chunk->extents_cap) {
		uint32_t cap = chunk->extents_cap ? 2 * chunk->extents_cap : 64;
		struct image_extent *grown = realloc(chunk->extents, cap * sizeof(*grown));

		if (!grown)
			return bcfmt_fail(writer->ctx, BCFMT_E_NOMEM, "no memory for a chunk");
		chunk->extents = grown;
		chunk->extents_cap = cap;
	}
	if (!chunk->n_extents) {
		chunk->first_byte = offset_bytes;
		chunk->end_byte = offset_bytes;
	}
	chunk->extents[chunk->n_extents++] = (struct image_extent){
		.offset_bytes = offset_bytes,
		.bytes = len_bytes,
		.content_at = chunk->content_bytes,
		.kind = kind,
	};
	return BCFMT_OK;
}

void writer_cover_close(struct image_writer *writer)
{
	struct image_chunk *chunk = &writer->jobs[writer->filling].chunk;

	if (writer->cover_end)
		chunk->end_byte = max_u64(chunk->end_byte, writer->cover_end);
	writer->cover_end = 0;
}

static bcfmt_err cover_open(struct image_writer *writer, uint64_t offset_bytes, uint64_t end_byte)
{
	bcfmt_err err = push_extent(writer, IMAGE_COVER, offset_bytes, end_byte - offset_bytes);

	if (!err)
		writer->cover_end = end_byte;
	return err;
}

/* Begins another chunk. An open cover is cut in two: chunks do not overlap. */
static bcfmt_err next_chunk(struct image_writer *writer)
{
	struct image_chunk *chunk = &writer->jobs[writer->filling].chunk;
	struct image_extent *last = chunk->extents + chunk->n_extents;
	uint64_t cover_end = writer->cover_end, rest = chunk->end_byte;
	bcfmt_err err;

	if (cover_end) {
		do
			last--;
		while (last->kind != IMAGE_COVER);
		if (last == chunk->extents + chunk->n_extents - 1) {
			/* Nothing of it is in the chunk yet. */
			rest = last->offset_bytes;
			chunk->n_extents--;
		} else {
			last->bytes = rest - last->offset_bytes;
		}
		writer->cover_end = 0;
	}
	err = writer_flush(writer);
	return err || cover_end <= rest ? err : cover_open(writer, rest, cover_end);
}

/* For one extent with these bytes, and a cover. */
static bcfmt_err make_room(struct image_writer *writer, size_t len_bytes)
{
	const struct image_chunk *chunk = &writer->jobs[writer->filling].chunk;

	if (chunk->content_bytes + len_bytes <= DISK_IMAGE_CONTENT_MAX &&
	    chunk->n_extents + 2 <= DISK_IMAGE_EXTENTS_MAX)
		return BCFMT_OK;
	return next_chunk(writer);
}

bcfmt_err image_writer_cover(struct image_writer *writer, uint64_t offset_bytes, uint64_t len_bytes)
{
	uint64_t end_byte = offset_bytes + len_bytes;
	bcfmt_err err;

	writer_cover_close(writer);
	/* Buckets may begin in front of the superblock's end where its numbers are wrong. */
	offset_bytes = max_u64(offset_bytes, writer->position);
	if (offset_bytes >= end_byte)
		return BCFMT_OK;
	err = make_room(writer, 0);
	return err ? err : cover_open(writer, offset_bytes, end_byte);
}

/* Bytes of what goes into a chunk of its own: as many as fit without cutting a key or a prio. */
static size_t first_part(enum image_kind kind, const uint8_t *bytes, size_t len_bytes)
{
	size_t at = 0;

	if (len_bytes <= DISK_IMAGE_CONTENT_MAX)
		return len_bytes;
	switch (kind) {
	case IMAGE_PRIO:
	case IMAGE_PRIOS:
		at = kind == IMAGE_PRIO ? sizeof(struct prio_set_disk) : 0;
		return DISK_IMAGE_CONTENT_MAX - (DISK_IMAGE_CONTENT_MAX - at) % PRIO_BYTES;
	case IMAGE_BSET:
	case IMAGE_JSET:
	case IMAGE_KEYS:
		if (kind != IMAGE_KEYS)
			at = kind == IMAGE_BSET ? BCFMT_BSET_HEADER_BYTES
						: sizeof(struct jset_disk);
		for (;;) {
			size_t key_bytes = 16 + 8 * (load_le64(bytes + at) >> 60 & 7);

			if (key_bytes > DISK_IMAGE_CONTENT_MAX - at)
				return at;
			at += key_bytes;
		}
	default:
		return DISK_IMAGE_CONTENT_MAX;
	}
}

static enum image_kind rest_kind(enum image_kind kind)
{
	switch (kind) {
	case IMAGE_PRIO:
		return IMAGE_PRIOS;
	case IMAGE_BSET:
	case IMAGE_JSET:
		return IMAGE_KEYS;
	default:
		return kind;
	}
}

bcfmt_err image_writer_add(struct image_writer *writer, const struct image_piece *piece)
{
	enum image_kind kind = piece->kind;
	size_t at = 0;
	bcfmt_err err = BCFMT_OK;

	if (piece->offset_bytes < writer->position)
		return BCFMT_OK;
	if (piece->offset_bytes >= writer->cover_end)
		writer_cover_close(writer);
	writer->position = piece->offset_bytes + piece->len_bytes;
	writer->content_bytes += piece->len_bytes;
	while (at < piece->len_bytes && !err) {
		size_t part = first_part(kind, piece->bytes + at, piece->len_bytes - at);
		struct image_chunk *chunk;

		err = make_room(writer, part);
		chunk = &writer->jobs[writer->filling].chunk;
		if (!err)
			err = push_extent(writer, kind, piece->offset_bytes + at, part);
		if (err)
			break;
		memcpy(chunk->content + chunk->content_bytes, piece->bytes + at, part);
		if (!at && piece->head)
			memcpy(chunk->content + chunk->content_bytes, piece->head,
			       piece->head_bytes);
		chunk->content_bytes += (uint32_t)part;
		at += part;
		chunk->end_byte = piece->offset_bytes + at;
		kind = rest_kind(kind);
	}
	return err;
}
