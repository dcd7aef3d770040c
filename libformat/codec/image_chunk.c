/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Packs chunks: the filter, then one zlib stream with a block of its own for every column. */
#include "codec/image_chunk.h"

#include <stdlib.h>
#include <string.h>

#define ZLIB_CONST
#include <zlib.h>

#include "codec/image_columns.h"
#include "ondisk/image.h"

#define LEVEL 6
#define WINDOW_BITS 15
/* A block begins with a table of codes: shorter segments share one with their neighbours. */
#define OWN_BLOCK_BYTES_MIN 64u

struct image_packer {
	struct image_columns *columns;
	uint8_t *payload; /* DISK_IMAGE_PAYLOAD_MAX */
	struct image_chunk trial;
	z_stream deflate;
	z_stream inflate;
	bool has_deflate;
	bool has_inflate;
};

bcfmt_err image_chunk_init(struct image_chunk *chunk)
{
	*chunk = (struct image_chunk){ .content = malloc(DISK_IMAGE_CONTENT_MAX) };
	return chunk->content ? BCFMT_OK : BCFMT_E_NOMEM;
}

void image_chunk_clear(struct image_chunk *chunk)
{
	free(chunk->extents);
	free(chunk->content);
	*chunk = (struct image_chunk){ 0 };
}

struct image_packer *image_packer_new(void)
{
	struct image_packer *packer = calloc(1, sizeof(*packer));

	if (packer)
		packer->payload = malloc(DISK_IMAGE_PAYLOAD_MAX);
	if (packer && packer->payload)
		return packer;
	image_packer_free(packer);
	return NULL;
}

void image_packer_free(struct image_packer *packer)
{
	if (!packer)
		return;
	if (packer->has_deflate)
		deflateEnd(&packer->deflate);
	if (packer->has_inflate)
		inflateEnd(&packer->inflate);
	image_columns_free(packer->columns);
	image_chunk_clear(&packer->trial);
	free(packer->payload);
	free(packer);
}

/* Only packing needs these. */
static bcfmt_err prepare(struct image_packer *packer)
{
	if (!packer->columns)
		packer->columns = image_columns_new();
	if (!packer->trial.content && image_chunk_init(&packer->trial))
		return BCFMT_E_NOMEM;
	if (!packer->has_deflate && deflateInit2(&packer->deflate, LEVEL, Z_DEFLATED, WINDOW_BITS,
						 MAX_MEM_LEVEL, Z_DEFAULT_STRATEGY) != Z_OK)
		return BCFMT_E_NOMEM;
	packer->has_deflate = true;
	return packer->columns ? BCFMT_OK : BCFMT_E_NOMEM;
}

static bool is_same(const struct image_chunk *a, const struct image_chunk *b)
{
	if (a->n_extents != b->n_extents || a->content_bytes != b->content_bytes)
		return false;
	for (uint32_t i = 0; i < a->n_extents; i++)
		if (a->extents[i].offset_bytes != b->extents[i].offset_bytes ||
		    a->extents[i].bytes != b->extents[i].bytes ||
		    a->extents[i].kind != b->extents[i].kind)
			return false;
	return !memcmp(a->content, b->content, a->content_bytes);
}

/* Compresses the payload into out; there is always room: nothing grows by more than a little. */
static void squeeze(struct image_packer *packer, const struct image_segments *segments,
		    uint8_t *out, uint32_t *stored_bytes)
{
	z_stream *z = &packer->deflate;

	deflateReset(z);
	z->next_in = packer->payload;
	z->next_out = out;
	z->avail_out = DISK_IMAGE_STORED_MAX;
	for (unsigned int i = 0; i < segments->n; i++) {
		z->avail_in = segments->bytes[i];
		deflate(z, segments->bytes[i] < OWN_BLOCK_BYTES_MIN ? Z_NO_FLUSH : Z_BLOCK);
	}
	deflate(z, Z_FINISH);
	*stored_bytes = DISK_IMAGE_STORED_MAX - z->avail_out;
}

static uint32_t payload_bytes(const struct image_segments *segments)
{
	uint32_t sum = 0;

	for (unsigned int i = 0; i < segments->n; i++)
		sum += segments->bytes[i];
	return sum;
}

bcfmt_err image_chunk_pack(struct image_packer *packer, const struct image_chunk *chunk,
			   uint8_t *out, uint32_t *stored_bytes, uint8_t *method)
{
	struct image_segments segments;
	bcfmt_err err = prepare(packer);

	if (err)
		return err;
	image_columns_encode(packer->columns, chunk, packer->payload, &segments);
	packer->trial.first_byte = chunk->first_byte;
	packer->trial.end_byte = chunk->end_byte;
	packer->trial.content_bytes = chunk->content_bytes;
	err = image_columns_decode(packer->payload, payload_bytes(&segments), &packer->trial);
	if (err == BCFMT_E_NOMEM)
		return err;
	*method = DISK_IMAGE_COLUMNS;
	if (err || !is_same(chunk, &packer->trial)) {
		image_plain_encode(chunk, packer->payload, &segments);
		*method = DISK_IMAGE_PLAIN;
	}
	squeeze(packer, &segments, out, stored_bytes);
	return BCFMT_OK;
}

/* The whole payload, which must end with the stored bytes. */
static bcfmt_err expand(struct image_packer *packer, const uint8_t *stored, uint32_t stored_bytes,
			uint32_t *len_bytes)
{
	z_stream *z = &packer->inflate;
	int status;

	if (!packer->has_inflate) {
		if (inflateInit2(z, WINDOW_BITS) != Z_OK)
			return BCFMT_E_NOMEM;
		packer->has_inflate = true;
	}
	inflateReset(z);
	z->next_in = stored;
	z->avail_in = stored_bytes;
	z->next_out = packer->payload;
	z->avail_out = DISK_IMAGE_PAYLOAD_MAX;
	status = inflate(z, Z_FINISH);
	if (status == Z_MEM_ERROR)
		return BCFMT_E_NOMEM;
	*len_bytes = DISK_IMAGE_PAYLOAD_MAX - z->avail_out;
	return status == Z_STREAM_END && !z->avail_in ? BCFMT_OK : BCFMT_E_DAMAGED;
}

bcfmt_err image_chunk_unpack(struct image_packer *packer, const uint8_t *stored,
			     uint32_t stored_bytes, uint8_t method, struct image_chunk *chunk)
{
	uint32_t len_bytes;
	bcfmt_err err;

	chunk->n_extents = 0;
	err = expand(packer, stored, stored_bytes, &len_bytes);
	if (err)
		return err;
	switch (method) {
	case DISK_IMAGE_PLAIN:
		err = image_plain_decode(packer->payload, len_bytes, chunk);
		break;
	case DISK_IMAGE_COLUMNS:
		err = image_columns_decode(packer->payload, len_bytes, chunk);
		break;
	default:
		err = BCFMT_E_DAMAGED;
	}
	if (err)
		chunk->n_extents = 0;
	return err;
}
