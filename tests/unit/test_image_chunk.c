/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Chunks of a metadata image: any bytes come back, and made-up ones do no harm. */
#include <criterion/criterion.h>

#include <stdlib.h>
#include <string.h>

#include <bcfmt/key.h>

#include "base/bytes.h"
#include "codec/image_chunk.h"
#include "codec/image_columns.h"
#include "ondisk/image.h"

static uint64_t state;

static uint64_t next_random(void)
{
	state ^= state << 13;
	state ^= state >> 7;
	state ^= state << 17;
	return state;
}

struct fixture {
	struct image_packer *packer;
	struct image_chunk chunk;
	struct image_chunk back;
	uint8_t *stored;
	uint32_t stored_bytes;
	uint8_t method;
};

static void begin(struct fixture *f)
{
	memset(f, 0, sizeof(*f));
	state = 0x9e3779b97f4a7c15;
	f->packer = image_packer_new();
	f->stored = malloc(DISK_IMAGE_STORED_MAX);
	cr_assert(f->packer && f->stored);
	cr_assert_eq(image_chunk_init(&f->chunk), BCFMT_OK);
	cr_assert_eq(image_chunk_init(&f->back), BCFMT_OK);
	f->chunk.extents = calloc(DISK_IMAGE_EXTENTS_MAX, sizeof(*f->chunk.extents));
	f->chunk.extents_cap = DISK_IMAGE_EXTENTS_MAX;
}

static void end(struct fixture *f)
{
	image_packer_free(f->packer);
	image_chunk_clear(&f->chunk);
	image_chunk_clear(&f->back);
	free(f->stored);
}

/* Appends an extent behind the others; its bytes are for the caller to fill. */
static uint8_t *add(struct fixture *f, enum image_kind kind, uint64_t gap_bytes, uint32_t len_bytes)
{
	struct image_chunk *chunk = &f->chunk;
	uint64_t offset = chunk->end_byte + gap_bytes;
	uint8_t *at = chunk->content + chunk->content_bytes;

	if (!chunk->n_extents)
		chunk->first_byte = offset;
	chunk->extents[chunk->n_extents++] = (struct image_extent){
		.offset_bytes = offset,
		.bytes = len_bytes,
		.content_at = chunk->content_bytes,
		.kind = kind,
	};
	if (kind != IMAGE_COVER) {
		chunk->content_bytes += len_bytes;
		chunk->end_byte = offset + len_bytes;
	}
	cr_assert_leq(chunk->content_bytes, DISK_IMAGE_CONTENT_MAX);
	return at;
}

static bcfmt_err unpack(struct fixture *f)
{
	f->back.first_byte = f->chunk.first_byte;
	f->back.end_byte = f->chunk.end_byte;
	f->back.content_bytes = f->chunk.content_bytes;
	return image_chunk_unpack(f->packer, f->stored, f->stored_bytes, f->method, &f->back);
}

static void expect_back(struct fixture *f)
{
	cr_assert_eq(image_chunk_pack(f->packer, &f->chunk, f->stored, &f->stored_bytes,
				      &f->method),
		     BCFMT_OK);
	cr_assert_eq(unpack(f), BCFMT_OK);
	cr_assert_eq(f->back.n_extents, f->chunk.n_extents);
	for (uint32_t i = 0; i < f->chunk.n_extents; i++) {
		cr_assert_eq(f->back.extents[i].offset_bytes, f->chunk.extents[i].offset_bytes);
		cr_assert_eq(f->back.extents[i].bytes, f->chunk.extents[i].bytes);
		cr_assert_eq(f->back.extents[i].kind, f->chunk.extents[i].kind);
	}
	cr_assert_arr_eq(f->back.content, f->chunk.content, f->chunk.content_bytes);
}

static void fill_random(uint8_t *at, uint32_t len_bytes)
{
	for (uint32_t i = 0; i < len_bytes; i++)
		at[i] = (uint8_t)(next_random() >> 32);
}

/* Keys as a leaf has them. */
static void fill_keys(uint8_t *at, uint32_t n_keys)
{
	uint64_t sector = 16;

	for (uint32_t i = 0; i < n_keys; i++) {
		uint32_t sectors = 8 + 8 * (uint32_t)(next_random() % 16);
		struct bcfmt_key key;

		sector += sectors + (next_random() % 3 ? 0 : 8 * (next_random() % 1000));
		key = bcfmt_key_make(0, sector, sectors, next_random() & 1, true,
				     bcfmt_ptr_make(0, 8 * (next_random() % (1u << 22)), 1));
		at += 8 * bcfmt_key_encode(&key, at);
	}
}

static const uint32_t header_bytes[IMAGE_KINDS] = { 0, 32, 240, 0, 40, 0, 0 };

Test(image_chunk, real_keys_come_back_and_take_little)
{
	struct fixture f;
	uint8_t *at;

	begin(&f);
	at = add(&f, IMAGE_BSET, 4096, 32 + 24 * 2000);
	fill_random(at, 32);
	fill_keys(at + 32, 2000);
	expect_back(&f);
	cr_expect_eq(f.method, DISK_IMAGE_COLUMNS);
	/* Size, place and a little of the start differ from key to key: some 6 bytes of 24. */
	cr_expect_lt(f.stored_bytes, 2000 * 8, "%u", f.stored_bytes);
	end(&f);
}

Test(image_chunk, any_bytes_of_any_kind_come_back)
{
	static const uint32_t lengths[] = { 1,	 7,   8,   15,	16,  17,  24,  31,  32,	  33,
					    39,	 40,  41,  43,	47,  48,  56,  72,  239,  240,
					    241, 255, 256, 257, 264, 300, 511, 512, 4095, 5000 };

	for (enum image_kind kind = IMAGE_RAW; kind < IMAGE_COVER; kind++) {
		struct fixture f;

		begin(&f);
		for (size_t i = 0; i < sizeof(lengths) / sizeof(lengths[0]); i++)
			fill_random(add(&f, kind, i * 13, lengths[i]), lengths[i]);
		expect_back(&f);
		cr_expect_eq(f.method, DISK_IMAGE_COLUMNS, "kind %d", (int)kind);
		end(&f);
	}
}

Test(image_chunk, mixtures_of_random_and_ordered_bytes_come_back)
{
	for (uint64_t round = 1; round < 200; round++) {
		struct fixture f;

		begin(&f);
		state ^= round * 0x2545f4914f6cdd1d;
		while (f.chunk.content_bytes < 20000) {
			enum image_kind kind = (enum image_kind)(next_random() % IMAGE_KINDS);
			uint32_t len = 1 + (uint32_t)(next_random() % 3000);
			uint8_t *at = add(&f, kind, next_random() % 100000, len);

			if (kind == IMAGE_COVER)
				f.chunk.end_byte =
					f.chunk.extents[f.chunk.n_extents - 1].offset_bytes + len;
			else if (next_random() & 1)
				fill_random(at, len);
			else
				memset(at, (int)next_random(), len);
			if (kind != IMAGE_COVER && len > header_bytes[kind] + 240)
				fill_keys(at + header_bytes[kind], (len - header_bytes[kind]) / 24);
		}
		expect_back(&f);
		end(&f);
	}
}

Test(image_chunk, the_largest_chunks_fit)
{
	for (enum image_kind kind = IMAGE_RAW; kind < IMAGE_COVER; kind++) {
		struct fixture f;

		/* As many extents as can be, far apart. */
		begin(&f);
		for (uint32_t i = 0; i < DISK_IMAGE_EXTENTS_MAX; i++) {
			uint32_t len = DISK_IMAGE_CONTENT_MAX / DISK_IMAGE_EXTENTS_MAX;

			fill_random(add(&f, kind, 1ull << 45, len), len);
		}
		expect_back(&f);
		end(&f);
		/* One of bytes that cannot be made smaller. */
		begin(&f);
		fill_random(add(&f, kind, 0, DISK_IMAGE_CONTENT_MAX), DISK_IMAGE_CONTENT_MAX);
		expect_back(&f);
		end(&f);
		/* The most values that columns can have. */
		begin(&f);
		memset(add(&f, kind, 0, DISK_IMAGE_CONTENT_MAX), 0, DISK_IMAGE_CONTENT_MAX);
		expect_back(&f);
		end(&f);
		begin(&f);
		memset(add(&f, kind, 0, DISK_IMAGE_CONTENT_MAX), 0xff, DISK_IMAGE_CONTENT_MAX);
		expect_back(&f);
		end(&f);
	}
}

Test(image_chunk, an_empty_chunk_comes_back)
{
	struct fixture f;

	begin(&f);
	add(&f, IMAGE_COVER, 512, 4096);
	f.chunk.end_byte = f.chunk.first_byte + 4096;
	expect_back(&f);
	end(&f);
}

/* Every byte of a payload changed in turn: another chunk or none, never harm. */
Test(image_chunk, changed_payloads_are_refused_or_read)
{
	uint8_t *payload = malloc(DISK_IMAGE_PAYLOAD_MAX);
	struct image_columns *columns = image_columns_new();
	struct image_segments segments;
	struct fixture f;
	uint32_t len = 0, refused = 0;

	begin(&f);
	fill_keys(add(&f, IMAGE_KEYS, 0, 24 * 20), 20);
	fill_random(add(&f, IMAGE_BSET, 5, 32 + 24), 32 + 24);
	fill_random(add(&f, IMAGE_PRIO, 5, 100), 100);
	add(&f, IMAGE_COVER, 5, 0);
	fill_random(add(&f, IMAGE_JSET, 5, 240 + 50), 240 + 50);
	image_columns_encode(columns, &f.chunk, payload, &segments);
	for (unsigned int i = 0; i < segments.n; i++)
		len += segments.bytes[i];
	f.back.first_byte = f.chunk.first_byte;
	f.back.end_byte = f.chunk.end_byte;
	f.back.content_bytes = f.chunk.content_bytes;
	cr_assert_eq(image_columns_decode(payload, len, &f.back), BCFMT_OK);
	for (uint32_t i = 0; i < len; i++) {
		uint8_t was = payload[i];

		for (unsigned int change = 0; change < 4; change++) {
			static const uint8_t changes[] = { 0x01, 0x80, 0xff, 0x40 };
			bcfmt_err err;

			payload[i] = was ^ changes[change];
			err = image_columns_decode(payload, len, &f.back);
			cr_assert(err == BCFMT_OK || err == BCFMT_E_DAMAGED);
			refused += err != BCFMT_OK;
		}
		payload[i] = was;
		cr_assert_eq(image_columns_decode(payload, i, &f.back), BCFMT_E_DAMAGED);
	}
	/* The directory at least. */
	cr_expect_gt(refused, 4u * 40);
	free(payload);
	image_columns_free(columns);
	end(&f);
}

Test(image_chunk, stored_bytes_that_are_no_chunk_are_refused)
{
	struct fixture f;

	begin(&f);
	fill_keys(add(&f, IMAGE_KEYS, 0, 24 * 100), 100);
	expect_back(&f);
	for (uint32_t len = 0; len < f.stored_bytes; len++) {
		uint32_t whole = f.stored_bytes;

		f.stored_bytes = len;
		cr_assert_eq(unpack(&f), BCFMT_E_DAMAGED);
		f.stored_bytes = whole;
	}
	f.stored_bytes++; /* something behind it */
	cr_expect_eq(unpack(&f), BCFMT_E_DAMAGED);
	f.stored_bytes--;
	f.method = 3;
	cr_expect_eq(unpack(&f), BCFMT_E_DAMAGED);
	f.method = DISK_IMAGE_PLAIN;
	cr_expect_eq(unpack(&f), BCFMT_E_DAMAGED);
	f.method = DISK_IMAGE_COLUMNS;
	f.chunk.content_bytes--;
	cr_expect_eq(unpack(&f), BCFMT_E_DAMAGED);
	f.chunk.content_bytes++;
	f.chunk.end_byte--;
	cr_expect_eq(unpack(&f), BCFMT_E_DAMAGED);
	end(&f);
}

Test(image_chunk, chunks_without_columns_come_back)
{
	uint8_t *payload = malloc(DISK_IMAGE_PAYLOAD_MAX);
	struct image_segments segments;
	struct fixture f;

	begin(&f);
	fill_random(add(&f, IMAGE_BSET, 7, 300), 300);
	fill_random(add(&f, IMAGE_RAW, 7, 5), 5);
	image_plain_encode(&f.chunk, payload, &segments);
	f.back.first_byte = f.chunk.first_byte;
	f.back.end_byte = f.chunk.end_byte;
	f.back.content_bytes = f.chunk.content_bytes;
	cr_assert_eq(image_plain_decode(payload, segments.bytes[0] + segments.bytes[1], &f.back),
		     BCFMT_OK);
	cr_expect_eq(f.back.n_extents, 2);
	cr_expect_arr_eq(f.back.content, f.chunk.content, 305);
	store_le32(payload, 3);
	cr_expect_eq(image_plain_decode(payload, segments.bytes[0] + segments.bytes[1], &f.back),
		     BCFMT_E_DAMAGED);
	free(payload);
	end(&f);
}
