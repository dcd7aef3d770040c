/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Finds out what an image file holds. The index at the end tells; where it is damaged or the file
 * was cut short, the blocks are looked for one after the other, and what lies between two of them
 * whose numbers do not follow each other is lost.
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <bcfmt/crc64.h>

#include "base/checked.h"
#include "dev/dev_impl.h"
#include "dev/image_load.h"
#include "ondisk/image.h"

#define HEADER_BYTES ((uint32_t)sizeof(struct image_block_disk))
#define CSUM_FROM ((uint32_t)offsetof(struct image_block_disk, stored_csum))
#define PIECE_BYTES (1u << 20)
#define WINDOW_BYTES (1u << 16)
#define HEAD_STORED_MAX                              \
	((uint32_t)(sizeof(struct image_head_disk) + \
		    DISK_IMAGE_MEMBERS_MAX * sizeof(struct image_member_disk)))

/* A header whose own checksum is right. */
struct header {
	struct image_block block;
	uint32_t id;
};

static bool read_file(struct loader *loader, uint64_t offset_bytes, void *buf, size_t len_bytes)
{
	struct io_fault fault;

	return !dev_read_quiet(loader->image->file, offset_bytes, buf, len_bytes, &fault);
}

static bool is_inside(const struct loader *loader, const struct image_block *block)
{
	uint64_t begin;

	return !add_overflows(block->file_offset, HEADER_BYTES, &begin) &&
	       begin <= loader->file_bytes && block->stored_bytes <= loader->file_bytes - begin;
}

static bool header_decode(const struct image_block_disk *disk, uint64_t file_offset,
			  struct header *out)
{
	if (memcmp(disk->magic, DISK_IMAGE_MAGIC, sizeof(disk->magic)) ||
	    le64_get(&disk->csum) !=
		    bcfmt_crc64((const uint8_t *)disk + CSUM_FROM, sizeof(*disk) - CSUM_FROM))
		return false;
	out->block = (struct image_block){
		.file_offset = file_offset,
		.stored_csum = le64_get(&disk->stored_csum),
		.first_byte = le64_get(&disk->first_byte),
		.end_byte = le64_get(&disk->end_byte),
		.stored_bytes = le32_get(&disk->stored_bytes),
		.content_bytes = le32_get(&disk->content_bytes),
		.number = le32_get(&disk->number),
		.member = le16_get(&disk->member),
		.kind = (uint8_t)min_u64(le32_get(&disk->kind), UINT8_MAX),
		.method = disk->method,
	};
	out->id = le32_get(&disk->id);
	return true;
}

static bool header_read(struct loader *loader, uint64_t file_offset, struct header *out)
{
	struct image_block_disk disk;

	return read_file(loader, file_offset, &disk, sizeof(disk)) &&
	       header_decode(&disk, file_offset, out);
}

bool loader_read(struct loader *loader, const struct image_block *block,
		 bool (*part)(void *arg, const uint8_t *bytes, size_t len_bytes), void *arg)
{
	/* A multiple of an index entry, so that none is cut. */
	const size_t piece_bytes = PIECE_BYTES - PIECE_BYTES % sizeof(struct image_index_disk);
	uint64_t at = block->file_offset + HEADER_BYTES, left = block->stored_bytes;
	uint64_t csum = bcfmt_crc64(NULL, 0);

	if (!is_inside(loader, block))
		return false;
	while (left) {
		size_t len = (size_t)min_u64(left, piece_bytes);

		if (!read_file(loader, at, loader->piece, len))
			return false;
		csum = bcfmt_crc64_seeded(~csum, loader->piece, len);
		if (part && !part(arg, loader->piece, len))
			return false;
		at += len;
		left -= len;
	}
	return csum == block->stored_csum;
}

/* ---- the head ----------------------------------------------------------------------------- */

bcfmt_err loader_nomem(const struct loader *loader)
{
	return bcfmt_fail(loader->image->ctx, BCFMT_E_NOMEM, "%s: out of memory",
			  loader->image->file->name);
}

static bcfmt_err member_decode(struct loader *loader, size_t index,
			       const struct image_member_disk *disk, const unsigned int counts[2])
{
	struct bcfmt_image_member *public = &loader->image->public_members[index];
	struct image_member *member = &loader->image->members[index];
	bool is_cache = le16_get(&disk->role) == DISK_IMAGE_CACHE;
	int len;

	member->source = strndup((const char *)disk->name, sizeof(disk->name));
	if (is_cache && !counts[0])
		len = asprintf(&member->name, "cache");
	else
		len = asprintf(&member->name, is_cache ? "cache%u" : "backing%u",
			       counts[is_cache ? 0 : 1]);
	if (len < 0)
		member->name = NULL;
	if (!member->source || !member->name)
		return loader_nomem(loader);
	*public = (struct bcfmt_image_member){
		.name = member->name,
		.source = member->source,
		.bytes = le64_get(&disk->bytes) & ~(uint64_t)(BCFMT_SECTOR_BYTES - 1),
		.logical_block_bytes = le32_get(&disk->logical_block_bytes),
		.role = is_cache ? BCFMT_ROLE_CACHE : BCFMT_ROLE_BACKING,
		.was_in_use = le16_get(&disk->flags) & DISK_IMAGE_MEMBER_IN_USE,
	};
	return BCFMT_OK;
}

static bcfmt_err members_decode(struct loader *loader, const uint8_t *raw, uint32_t n,
				uint32_t member_bytes)
{
	struct bcfmt_image *image = loader->image;
	unsigned int counts[2] = { 0, 0 };
	bcfmt_err err = BCFMT_OK;

	image->members = calloc(n, sizeof(*image->members));
	image->public_members = calloc(n, sizeof(*image->public_members));
	if (!image->members || !image->public_members)
		return loader_nomem(loader);
	image->n_members = n;
	for (uint32_t i = 0; i < n && !err; i++) {
		const struct image_member_disk *disk =
			(const struct image_member_disk *)(raw + (size_t)i * member_bytes);

		err = member_decode(loader, i, disk, counts);
		if (!err)
			counts[image->public_members[i].role == BCFMT_ROLE_CACHE ? 0 : 1]++;
	}
	return err;
}

/* Takes the head at a place, when there is one. OK also when there is none. */
static bcfmt_err head_load(struct loader *loader, uint64_t file_offset)
{
	const struct image_head_disk *disk = (const struct image_head_disk *)loader->piece;
	struct header header;
	uint32_t n, member_bytes;
	bcfmt_err err;

	if (loader->has_head || !header_read(loader, file_offset, &header) ||
	    header.block.kind != DISK_IMAGE_HEAD || header.block.stored_bytes < sizeof(*disk) ||
	    header.block.stored_bytes > HEAD_STORED_MAX ||
	    !loader_read(loader, &header.block, NULL, NULL))
		return BCFMT_OK;
	n = le32_get(&disk->n_members);
	member_bytes = le32_get(&disk->member_bytes);
	if (le32_get(&disk->version) != DISK_IMAGE_VERSION)
		return bcfmt_fail(loader->image->ctx, BCFMT_E_UNSUPPORTED,
				  "%s: an image in format %" PRIu32 ", only %u is known",
				  loader->image->file->name, le32_get(&disk->version),
				  DISK_IMAGE_VERSION);
	if (!n || n > DISK_IMAGE_MEMBERS_MAX || member_bytes != sizeof(struct image_member_disk) ||
	    header.block.stored_bytes != sizeof(*disk) + n * member_bytes)
		return BCFMT_OK;
	err = members_decode(loader, loader->piece + sizeof(*disk), n, member_bytes);
	loader->image->is_scrubbed = le32_get(&disk->flags) & DISK_IMAGE_FLAG_SCRUBBED;
	loader->id = (uint32_t)header.block.stored_csum;
	loader->has_head = !err;
	return err;
}

/* ---- the index ---------------------------------------------------------------------------- */

static bool index_part(void *arg, const uint8_t *bytes, size_t len_bytes)
{
	struct loader *loader = arg;

	for (size_t at = 0; at + sizeof(struct image_index_disk) <= len_bytes;
	     at += sizeof(struct image_index_disk)) {
		const struct image_index_disk *disk = (const struct image_index_disk *)(bytes + at);
		struct image_block *block = vec_push(&loader->blocks, sizeof(*block));

		if (!block)
			return false;
		*block = (struct image_block){
			.file_offset = le64_get(&disk->file_offset),
			.stored_csum = le64_get(&disk->stored_csum),
			.first_byte = le64_get(&disk->first_byte),
			.end_byte = le64_get(&disk->end_byte),
			.stored_bytes = le32_get(&disk->stored_bytes),
			.content_bytes = le32_get(&disk->content_bytes),
			.number = le32_get(&disk->number),
			.member = le16_get(&disk->member),
			.kind = disk->kind,
			.method = disk->method,
		};
		if (block->number != loader->blocks.n - 1)
			return false;
	}
	return true;
}

/* Blocks by the index; true when it can be trusted. Leaves no blocks else. */
static bcfmt_err index_load(struct loader *loader, bool *is_found)
{
	struct header end, index;
	bcfmt_err err;

	*is_found = false;
	if (loader->file_bytes < HEADER_BYTES ||
	    !header_read(loader, loader->file_bytes - HEADER_BYTES, &end) ||
	    end.block.kind != DISK_IMAGE_END || end.block.end_byte != loader->file_bytes ||
	    !header_read(loader, end.block.first_byte, &index) ||
	    index.block.kind != DISK_IMAGE_INDEX || index.id != end.id ||
	    index.block.number > DISK_IMAGE_NUMBERED_MAX ||
	    index.block.stored_bytes !=
		    (uint64_t)index.block.number * sizeof(struct image_index_disk))
		return BCFMT_OK;
	err = head_load(loader, index.block.first_byte);
	if (err || !loader->has_head || loader->id != index.id)
		return err;
	*is_found = loader_read(loader, &index.block, index_part, loader);
	if (!*is_found) {
		loader->blocks.n = 0;
		return BCFMT_OK;
	}
	loader->total = index.block.number;
	loader->has_total = true;
	return BCFMT_OK;
}

/* ---- without an index --------------------------------------------------------------------- */

static bcfmt_err push_block(struct loader *loader, const struct header *header)
{
	struct image_block *block;
	uint32_t *id;

	if (loader->blocks.n >= DISK_IMAGE_NUMBERED_MAX)
		return BCFMT_OK;
	block = vec_push(&loader->blocks, sizeof(*block));
	id = vec_push(&loader->ids, sizeof(*id));
	if (!block || !id)
		return loader_nomem(loader);
	*block = header->block;
	*id = header->id;
	return BCFMT_OK;
}

/* Fills the window from a place on. Parts that cannot be read count as zeros, a sector at a time. */
static void window_fill(struct loader *loader, uint64_t at)
{
	size_t len = (size_t)min_u64(WINDOW_BYTES, loader->file_bytes - at);

	if (!read_file(loader, at, loader->window, len)) {
		len = (size_t)min_u64(BCFMT_SECTOR_BYTES, len);
		if (!read_file(loader, at, loader->window, len))
			memset(loader->window, 0, len);
	}
	loader->window_at = at;
	loader->window_bytes = len;
}

/* Where the next block may begin at or after a place; the end of the file when nowhere. */
static uint64_t find_magic(struct loader *loader, uint64_t at)
{
	at = div_round_up(at, DISK_IMAGE_ALIGN) * DISK_IMAGE_ALIGN;
	for (; at < loader->file_bytes; at += DISK_IMAGE_ALIGN) {
		if (at < loader->window_at || at - loader->window_at >= loader->window_bytes)
			window_fill(loader, at);
		if (!memcmp(loader->window + (at - loader->window_at), DISK_IMAGE_MAGIC, 8))
			return at;
	}
	return loader->file_bytes;
}

static bcfmt_err take_block(struct loader *loader, const struct header *header)
{
	bcfmt_err err = BCFMT_OK;

	switch (header->block.kind) {
	case DISK_IMAGE_CHUNK:
	case DISK_IMAGE_HOLES:
		return push_block(loader, header);
	case DISK_IMAGE_HEAD:
		err = head_load(loader, header->block.file_offset);
		if (!header->block.file_offset)
			return err;
		break;
	case DISK_IMAGE_INDEX:
	case DISK_IMAGE_END:
		break;
	default:
		return BCFMT_OK;
	}
	if (loader->has_head && header->id == loader->id) {
		loader->total = header->block.number;
		loader->has_total = true;
	}
	return err;
}

static bcfmt_err search(struct loader *loader)
{
	uint64_t at = 0;
	bcfmt_err err = BCFMT_OK;

	while (!err && (at = find_magic(loader, at)) < loader->file_bytes) {
		struct header header;

		if (bcfmt_ctx_is_cancelled(loader->image->ctx))
			return BCFMT_E_CANCELLED;
		if (!header_read(loader, at, &header)) {
			at += DISK_IMAGE_ALIGN;
			continue;
		}
		err = take_block(loader, &header);
		at += HEADER_BYTES;
		/* One that was cut short hides nothing behind it. */
		if (is_inside(loader, &header.block))
			at += header.block.stored_bytes;
	}
	return err;
}

/* Blocks of other images go; then each number is there once at most, in order. */
static int number_cmp(const void *a, const void *b)
{
	const struct image_block *x = a, *y = b;

	if (x->number != y->number)
		return x->number < y->number ? -1 : 1;
	return x->file_offset < y->file_offset ? -1 : x->file_offset > y->file_offset;
}

static void sort_numbers(struct loader *loader)
{
	struct image_block *blocks = loader->blocks.items;
	const uint32_t *ids = loader->ids.items;
	size_t n = 0;

	for (size_t i = 0; i < loader->blocks.n; i++)
		if (ids[i] == loader->id)
			blocks[n++] = blocks[i];
	if (n > 1)
		qsort(blocks, n, sizeof(*blocks), number_cmp);
	loader->blocks.n = 0;
	for (size_t i = 0; i < n; i++)
		if (!loader->blocks.n || blocks[loader->blocks.n - 1].number != blocks[i].number)
			blocks[loader->blocks.n++] = blocks[i];
}

static bcfmt_err settle(struct loader *loader)
{
	struct bcfmt_image *image = loader->image;
	bcfmt_err err = loader_verify(loader);

	if (err)
		return err;
	image->chunks = loader->blocks.items;
	image->n_chunks = loader->blocks.n;
	loader->blocks = (struct vec){ 0 };
	for (size_t i = 0, at = 0; i < image->n_members; i++) {
		image->members[i].first_chunk = at;
		while (at < image->n_chunks && image->chunks[at].member == i)
			at++;
		image->members[i].end_chunk = at;
	}
	for (size_t i = 0; i < image->losses.n; i++) {
		const struct bcfmt_image_loss *loss =
			VEC_AT(&image->losses, struct bcfmt_image_loss, i);

		if (!loss->is_of_holes &&
		    range_map_set(&image->members[loss->member].bad, loss->first_byte,
				  loss->end_byte, RANGE_VALUE_FIXED))
			return loader_nomem(loader);
	}
	return BCFMT_OK;
}

bcfmt_err image_load(struct bcfmt_image *image)
{
	struct loader loader = { .image = image, .file_bytes = bcfmt_dev_bytes(image->file) };
	bool has_index = false;
	bcfmt_err err;

	loader.piece = malloc(PIECE_BYTES);
	loader.window = malloc(WINDOW_BYTES);
	err = loader.piece && loader.window ? head_load(&loader, 0) : loader_nomem(&loader);
	if (!err)
		err = index_load(&loader, &has_index);
	if (!err && !has_index)
		err = search(&loader);
	if (!err && !loader.has_head)
		err = bcfmt_fail(image->ctx, BCFMT_E_DAMAGED,
				 "%s: not a metadata image, or no part of it says what it holds",
				 image->file->name);
	if (!err && !has_index)
		sort_numbers(&loader);
	if (!err)
		err = settle(&loader);
	vec_free(&loader.blocks);
	vec_free(&loader.ids);
	free(loader.window);
	free(loader.piece);
	return err;
}

bool bcfmt_image_is(struct bcfmt_dev *dev)
{
	struct image_block_disk disk;
	struct header header;
	struct io_fault fault;
	uint64_t bytes = bcfmt_dev_bytes(dev);

	if (bytes < sizeof(disk))
		return false;
	if (!dev_read_quiet(dev, 0, &disk, sizeof(disk), &fault) &&
	    !memcmp(disk.magic, DISK_IMAGE_MAGIC, sizeof(disk.magic)))
		return true;
	return !dev_read_quiet(dev, bytes - sizeof(disk), &disk, sizeof(disk), &fault) &&
	       header_decode(&disk, bytes - sizeof(disk), &header) &&
	       header.block.kind == DISK_IMAGE_END;
}
