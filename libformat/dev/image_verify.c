/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What of an image file is whole, and what is lost. */
#include <string.h>

#include "base/checked.h"
#include "dev/dev_impl.h"
#include "dev/image_load.h"
#include "ondisk/image.h"

/* A range of one member. Losses come in order; those that touch are joined. */
static bcfmt_err add_loss(struct loader *loader, size_t member, uint64_t first_byte,
			  uint64_t end_byte, bool is_of_holes)
{
	struct bcfmt_image *image = loader->image;
	struct bcfmt_image_loss *loss;

	if (first_byte >= end_byte)
		return BCFMT_OK;
	first_byte -= first_byte % BCFMT_SECTOR_BYTES;
	if (image->losses.n) {
		loss = VEC_AT(&image->losses, struct bcfmt_image_loss, image->losses.n - 1);
		if (loss->member == member && loss->is_of_holes == is_of_holes &&
		    loss->end_byte >= first_byte) {
			loss->end_byte = max_u64(loss->end_byte, end_byte);
			return BCFMT_OK;
		}
	}
	loss = vec_push(&image->losses, sizeof(*loss));
	if (!loss)
		return loader_nomem(loader);
	*loss = (struct bcfmt_image_loss){ member, first_byte, end_byte, is_of_holes };
	return BCFMT_OK;
}

/* Everything from one place to another. */
static bcfmt_err add_losses(struct loader *loader, size_t member, uint64_t first_byte,
			    size_t end_member, uint64_t end_byte)
{
	bcfmt_err err = BCFMT_OK;

	for (; member < end_member && !err; member++) {
		err = add_loss(loader, member, first_byte,
			       loader->image->public_members[member].bytes, false);
		first_byte = 0;
	}
	if (!err && member < loader->image->n_members)
		err = add_loss(loader, member, first_byte, end_byte, false);
	return err;
}

static bool is_plausible(const struct loader *loader, const struct image_block *block)
{
	const struct bcfmt_image *image = loader->image;

	if (block->kind != DISK_IMAGE_CHUNK && block->kind != DISK_IMAGE_HOLES)
		return false;
	if (block->member >= image->n_members || block->first_byte > block->end_byte ||
	    block->end_byte > image->public_members[block->member].bytes)
		return false;
	if (block->kind == DISK_IMAGE_HOLES)
		return block->stored_bytes <= DISK_IMAGE_HOLES_MAX * sizeof(struct image_hole_disk);
	return block->stored_bytes <= DISK_IMAGE_STORED_MAX &&
	       block->content_bytes <= DISK_IMAGE_CONTENT_MAX;
}

static bool holes_part(void *arg, const uint8_t *bytes, size_t len_bytes)
{
	(void)arg;
	(void)bytes;
	return !(len_bytes % sizeof(struct image_hole_disk));
}

/* Ranges that could not be read when the image was made; loader_read() has left them in piece. */
static bcfmt_err take_holes(struct loader *loader, const struct image_block *block)
{
	struct image_member *member = &loader->image->members[block->member];
	uint64_t sectors = loader->image->public_members[block->member].bytes / BCFMT_SECTOR_BYTES;

	for (size_t at = 0; at < block->stored_bytes; at += sizeof(struct image_hole_disk)) {
		const struct image_hole_disk *disk =
			(const struct image_hole_disk *)(loader->piece + at);
		uint64_t first = min_u64(le64_get(&disk->first_sector), sectors);
		uint64_t n = min_u64(le64_get(&disk->sectors), sectors - first);

		if (n && range_map_set(&member->bad, first * BCFMT_SECTOR_BYTES,
				       (first + n) * BCFMT_SECTOR_BYTES, RANGE_VALUE_FIXED))
			return loader_nomem(loader);
	}
	return BCFMT_OK;
}

/* How far the blocks reach that were verified so far. */
struct progress {
	size_t member;
	uint64_t end_byte;
	uint32_t number; /* that should come next */
};

static bcfmt_err verify_block(struct loader *loader, struct progress *progress,
			      const struct image_block *block, bool *is_kept)
{
	bool is_chunk = block->kind == DISK_IMAGE_CHUNK;
	uint64_t bytes = loader->image->public_members[block->member].bytes;
	/* The holes of a member come after its chunks, wherever they lie. */
	uint64_t from = is_chunk ? block->first_byte : bytes;
	uint64_t to = is_chunk ? block->end_byte : bytes;
	bcfmt_err err = BCFMT_OK;

	/* Out of order: whoever made it did not mean it to be read. */
	if (block->member < progress->member ||
	    (block->member == progress->member && from < progress->end_byte))
		return BCFMT_OK;
	if (block->number != progress->number)
		err = add_losses(loader, progress->member, progress->end_byte, block->member, from);
	*progress = (struct progress){ block->member, to, block->number + 1 };
	if (err)
		return err;
	if (!loader_read(loader, block, is_chunk ? NULL : holes_part, NULL))
		return add_loss(loader, block->member, block->first_byte, block->end_byte,
				!is_chunk);
	*is_kept = is_chunk;
	return is_chunk ? BCFMT_OK : take_holes(loader, block);
}

bcfmt_err loader_verify(struct loader *loader)
{
	struct bcfmt_ctx *ctx = loader->image->ctx;
	struct image_block *blocks = loader->blocks.items;
	struct progress progress = { 0, 0, 0 };
	size_t kept = 0;
	bcfmt_err err = BCFMT_OK;

	for (size_t i = 0; i < loader->blocks.n && !err; i++) {
		bool is_kept = false;

		if (bcfmt_ctx_is_cancelled(ctx))
			return BCFMT_E_CANCELLED;
		if (!(i % 64))
			bcfmt_ctx_progress(ctx, "image", i, loader->blocks.n);
		if (is_plausible(loader, &blocks[i]) &&
		    (!loader->has_total || blocks[i].number < loader->total))
			err = verify_block(loader, &progress, &blocks[i], &is_kept);
		if (is_kept)
			blocks[kept++] = blocks[i];
	}
	if (!err && (!loader->has_total || progress.number != loader->total))
		err = add_losses(loader, progress.member, progress.end_byte,
				 loader->image->n_members, 0);
	loader->blocks.n = kept;
	return err;
}
