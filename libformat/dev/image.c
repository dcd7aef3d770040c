/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A metadata image as the devices that it was made from. Chunks are expanded when they are read;
 * a few stay in memory, shared by all threads and devices of the image.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/checked.h"
#include "dev/dev_impl.h"
#include "dev/image_impl.h"
#include "ondisk/image.h"

#define SLOTS_MIN 8u
#define SLOTS_MAX 64u
/* Data that begins this close behind other data is told as one range with it. */
#define DATA_GAP_BYTES (64u << 10)
#define DATA_ALIGN_BYTES 4096u

struct image_dev {
	struct bcfmt_dev dev;
	struct bcfmt_image *image; /* a reference */
	const struct image_member *member;
};

/* ---- chunks in memory --------------------------------------------------------------------- */

static struct image_packer *packer_take(struct bcfmt_image *image)
{
	struct image_packer *packer = NULL;

	pthread_mutex_lock(&image->lock);
	if (image->n_packers)
		packer = image->packers[--image->n_packers];
	pthread_mutex_unlock(&image->lock);
	return packer ? packer : image_packer_new();
}

static void packer_give(struct bcfmt_image *image, struct image_packer *packer)
{
	pthread_mutex_lock(&image->lock);
	if (image->n_packers < image->n_slots) {
		image->packers[image->n_packers++] = packer;
		packer = NULL;
	}
	pthread_mutex_unlock(&image->lock);
	image_packer_free(packer);
}

/* Reads and expands a chunk whose checksum was right when the image was opened. */
static bcfmt_err chunk_load(struct bcfmt_image *image, size_t index, struct image_chunk *chunk)
{
	const struct image_block *block = &image->chunks[index];
	struct image_packer *packer = packer_take(image);
	uint8_t *stored = malloc(block->stored_bytes ? block->stored_bytes : 1);
	struct io_fault fault;
	bcfmt_err err = BCFMT_E_NOMEM;

	if (packer && stored)
		err = dev_read_quiet(image->file,
				     block->file_offset + sizeof(struct image_block_disk), stored,
				     block->stored_bytes, &fault);
	if (!err && !chunk->content)
		err = image_chunk_init(chunk);
	if (!err) {
		chunk->first_byte = block->first_byte;
		chunk->end_byte = block->end_byte;
		chunk->content_bytes = block->content_bytes;
		err = image_chunk_unpack(packer, stored, block->stored_bytes, block->method, chunk);
	}
	free(stored);
	if (packer)
		packer_give(image, packer);
	return err;
}

/* The slot that has the chunk or is getting it; else the one unused for longest, NULL: none. */
static struct image_slot *slot_find(struct bcfmt_image *image, size_t index)
{
	struct image_slot *oldest = NULL;

	for (size_t i = 0; i < image->n_slots; i++) {
		struct image_slot *slot = &image->slots[i];

		if (slot->index == index)
			return slot;
		if (!slot->users && (!oldest || slot->last_use < oldest->last_use))
			oldest = slot;
	}
	return oldest;
}

/* Holds a chunk in memory until chunk_put(). */
static bcfmt_err chunk_get(struct bcfmt_image *image, size_t index, struct image_slot **out)
{
	struct image_slot *slot;
	bcfmt_err err = BCFMT_OK;

	pthread_mutex_lock(&image->lock);
	for (;;) {
		slot = slot_find(image, index);
		if (slot && !(slot->index == index && slot->is_loading))
			break;
		pthread_cond_wait(&image->changed, &image->lock);
	}
	slot->users++;
	slot->last_use = ++image->uses;
	if (slot->index != index) {
		slot->index = index;
		slot->is_loading = true;
		pthread_mutex_unlock(&image->lock);
		err = chunk_load(image, index, &slot->chunk);
		pthread_mutex_lock(&image->lock);
		slot->is_loading = false;
		if (err) {
			slot->index = SIZE_MAX;
			slot->users--;
		}
		pthread_cond_broadcast(&image->changed);
	}
	pthread_mutex_unlock(&image->lock);
	*out = slot;
	return err;
}

static void chunk_put(struct bcfmt_image *image, struct image_slot *slot)
{
	pthread_mutex_lock(&image->lock);
	if (!--slot->users)
		pthread_cond_broadcast(&image->changed);
	pthread_mutex_unlock(&image->lock);
}

/* First chunk of a member that ends after a place. */
static size_t chunk_after(const struct bcfmt_image *image, const struct image_member *member,
			  uint64_t offset_bytes)
{
	size_t low = member->first_chunk, high = member->end_chunk;

	while (low < high) {
		size_t mid = low + (high - low) / 2;

		if (image->chunks[mid].end_byte <= offset_bytes)
			low = mid + 1;
		else
			high = mid;
	}
	return low;
}

/*
 * First extent with bytes that ends after a place. Those that have none are passed over, and so
 * do not disturb the order by end.
 */
static uint32_t extent_after(const struct image_chunk *chunk, uint64_t offset_bytes)
{
	uint32_t i = 0, step = chunk->n_extents;

	/* Extents begin in ascending order: the first that may reach is the last to begin before. */
	while (step) {
		uint32_t half = step / 2;

		if (chunk->extents[i + half].offset_bytes <= offset_bytes) {
			i += half + 1;
			step -= half + 1;
		} else {
			step = half;
		}
	}
	while (i &&
	       (chunk->extents[i - 1].kind == IMAGE_COVER ||
		chunk->extents[i - 1].offset_bytes + chunk->extents[i - 1].bytes > offset_bytes))
		i--;
	while (i < chunk->n_extents &&
	       (chunk->extents[i].kind == IMAGE_COVER ||
		chunk->extents[i].offset_bytes + chunk->extents[i].bytes <= offset_bytes))
		i++;
	return i;
}

/* ---- the device ---------------------------------------------------------------------------- */

/* Lays what a chunk holds of a range over buf. */
static void copy_out(const struct image_chunk *chunk, uint64_t offset_bytes, uint8_t *buf,
		     size_t len_bytes)
{
	for (uint32_t i = extent_after(chunk, offset_bytes); i < chunk->n_extents; i++) {
		const struct image_extent *extent = &chunk->extents[i];
		uint64_t begin = max_u64(extent->offset_bytes, offset_bytes);
		uint64_t end =
			min_u64(extent->offset_bytes + extent->bytes, offset_bytes + len_bytes);

		if (extent->offset_bytes >= offset_bytes + len_bytes)
			break;
		if (extent->kind != IMAGE_COVER && begin < end)
			memcpy(buf + (begin - offset_bytes),
			       chunk->content + extent->content_at + (begin - extent->offset_bytes),
			       (size_t)(end - begin));
	}
}

static bcfmt_err image_read(struct bcfmt_dev *dev, uint64_t offset_bytes, void *buf,
			    size_t len_bytes, struct io_fault *fault)
{
	const struct image_dev *at = (struct image_dev *)dev;
	struct bcfmt_image *image = at->image;
	struct range bad;

	if (range_map_at(&at->member->bad, offset_bytes, &bad) &&
	    bad.start < offset_bytes + len_bytes)
		return dev_io_fail(fault, BCFMT_E_IO, max_u64(bad.start, offset_bytes), 0,
				   "not in the image");
	memset(buf, 0, len_bytes);
	for (size_t i = chunk_after(image, at->member, offset_bytes);
	     i < at->member->end_chunk && image->chunks[i].first_byte < offset_bytes + len_bytes;
	     i++) {
		struct image_slot *slot;
		bcfmt_err err = chunk_get(image, i, &slot);

		if (err == BCFMT_E_NOMEM)
			return dev_io_fail(fault, err, offset_bytes, 0, "out of memory");
		if (err)
			return dev_io_fail(fault, BCFMT_E_IO,
					   max_u64(image->chunks[i].first_byte, offset_bytes), 0,
					   "a chunk of the image cannot be expanded");
		copy_out(&slot->chunk, offset_bytes, buf, len_bytes);
		chunk_put(image, slot);
	}
	return BCFMT_OK;
}

/* The first data of a chunk at or after a place; false when it has none there. */
static bool data_in(const struct image_chunk *chunk, uint64_t offset_bytes, uint64_t *begin_bytes,
		    uint64_t *end_bytes)
{
	uint32_t i = extent_after(chunk, offset_bytes);

	if (i == chunk->n_extents)
		return false;
	*begin_bytes = max_u64(chunk->extents[i].offset_bytes, offset_bytes);
	*end_bytes = chunk->extents[i].offset_bytes + chunk->extents[i].bytes;
	while (++i < chunk->n_extents &&
	       chunk->extents[i].offset_bytes <= *end_bytes + DATA_GAP_BYTES)
		if (chunk->extents[i].kind != IMAGE_COVER)
			*end_bytes = chunk->extents[i].offset_bytes + chunk->extents[i].bytes;
	return true;
}

static bcfmt_err image_next_data(struct bcfmt_dev *dev, uint64_t offset_bytes,
				 uint64_t *begin_bytes, uint64_t *end_bytes, struct io_fault *fault)
{
	const struct image_dev *at = (struct image_dev *)dev;
	struct bcfmt_image *image = at->image;
	bool is_found = false;
	struct range bad;

	for (size_t i = chunk_after(image, at->member, offset_bytes);
	     i < at->member->end_chunk && !is_found; i++) {
		struct image_slot *slot;
		bcfmt_err err = chunk_get(image, i, &slot);

		if (err == BCFMT_E_NOMEM)
			return dev_io_fail(fault, err, offset_bytes, 0, "out of memory");
		/* Not a hole either: reading it will tell. */
		*begin_bytes = max_u64(image->chunks[i].first_byte, offset_bytes);
		*end_bytes = image->chunks[i].end_byte;
		is_found = err && *begin_bytes < *end_bytes;
		if (!err) {
			is_found = data_in(&slot->chunk, offset_bytes, begin_bytes, end_bytes);
			chunk_put(image, slot);
		}
	}
	if (range_map_at(&at->member->bad, offset_bytes, &bad) &&
	    (!is_found || bad.start < *begin_bytes)) {
		*begin_bytes = max_u64(bad.start, offset_bytes);
		*end_bytes = bad.end;
		is_found = true;
	}
	if (!is_found)
		return BCFMT_END;
	*begin_bytes = max_u64(*begin_bytes - *begin_bytes % DATA_ALIGN_BYTES, offset_bytes);
	*end_bytes =
		min_u64(div_round_up(*end_bytes, DATA_ALIGN_BYTES) * DATA_ALIGN_BYTES, dev->bytes);
	return BCFMT_OK;
}

static void image_dev_free(struct bcfmt_dev *dev)
{
	struct image_dev *at = (struct image_dev *)dev;

	bcfmt_image_free(at->image);
	free(at);
}

static const struct dev_ops image_ops = {
	.read = image_read,
	.next_data = image_next_data,
	.free = image_dev_free,
};

bcfmt_err bcfmt_image_dev(struct bcfmt_image *image, size_t member, struct bcfmt_dev **out)
{
	struct image_dev *at = NULL;
	const struct bcfmt_image_member *public;
	char *name = NULL;

	*out = NULL;
	if (member >= image->n_members)
		return bcfmt_fail(image->ctx, BCFMT_E_ARG, "%s: has %zu members", image->file->name,
				  image->n_members);
	public = &image->public_members[member];
	at = calloc(1, sizeof(*at));
	if (asprintf(&name, "%s:%s", image->file->name, public->name) < 0)
		name = NULL;
	if (!at || !name || dev_init(&at->dev, &image_ops, image->ctx, name, public->bytes)) {
		free(name);
		free(at);
		return bcfmt_fail(image->ctx, BCFMT_E_NOMEM, "%s: out of memory",
				  image->file->name);
	}
	free(name);
	if (public->logical_block_bytes)
		at->dev.logical_block_bytes = public->logical_block_bytes;
	at->dev.is_image = true;
	at->dev.was_in_use = public->was_in_use;
	at->image = image;
	at->member = &image->members[member];
	__atomic_fetch_add(&image->refs, 1, __ATOMIC_RELAXED);
	*out = &at->dev;
	return BCFMT_OK;
}

/* ---- the image ----------------------------------------------------------------------------- */

bcfmt_err bcfmt_image_open(struct bcfmt_ctx *ctx, struct bcfmt_dev *dev, struct bcfmt_image **out)
{
	struct bcfmt_image *image = calloc(1, sizeof(*image));
	unsigned int n_slots = 2 * bcfmt_ctx_threads(ctx);
	bcfmt_err err;

	*out = NULL;
	if (!image)
		return bcfmt_fail(ctx, BCFMT_E_NOMEM, "%s: out of memory", dev->name);
	n_slots = n_slots < SLOTS_MIN ? SLOTS_MIN : n_slots;
	image->n_slots = n_slots < SLOTS_MAX ? n_slots : SLOTS_MAX;
	image->ctx = ctx;
	image->file = dev;
	image->refs = 1;
	pthread_mutex_init(&image->lock, NULL);
	pthread_cond_init(&image->changed, NULL);
	image->slots = calloc(image->n_slots, sizeof(*image->slots));
	image->packers = calloc(image->n_slots, sizeof(*image->packers));
	for (size_t i = 0; image->slots && i < image->n_slots; i++)
		image->slots[i].index = SIZE_MAX;
	if (image->slots && image->packers)
		err = image_load(image);
	else
		err = bcfmt_fail(ctx, BCFMT_E_NOMEM, "%s: out of memory", dev->name);
	if (err) {
		image->file = NULL; /* still the caller's */
		bcfmt_image_free(image);
		return err;
	}
	*out = image;
	return BCFMT_OK;
}

void bcfmt_image_free(struct bcfmt_image *image)
{
	if (!image || __atomic_sub_fetch(&image->refs, 1, __ATOMIC_ACQ_REL))
		return;
	for (size_t i = 0; image->slots && i < image->n_slots; i++)
		image_chunk_clear(&image->slots[i].chunk);
	for (size_t i = 0; i < image->n_packers; i++)
		image_packer_free(image->packers[i]);
	for (size_t i = 0; i < image->n_members; i++) {
		range_map_clear(&image->members[i].bad);
		free(image->members[i].name);
		free(image->members[i].source);
	}
	pthread_cond_destroy(&image->changed);
	pthread_mutex_destroy(&image->lock);
	vec_free(&image->losses);
	free(image->slots);
	free(image->packers);
	free(image->members);
	free(image->public_members);
	free(image->chunks);
	bcfmt_dev_free(image->file);
	free(image);
}

const struct bcfmt_image_member *bcfmt_image_members(const struct bcfmt_image *image, size_t *n)
{
	*n = image->n_members;
	return image->public_members;
}

const struct bcfmt_image_loss *bcfmt_image_losses(const struct bcfmt_image *image, size_t *n)
{
	*n = image->losses.n;
	return image->losses.items;
}

bool bcfmt_image_is_scrubbed(const struct bcfmt_image *image)
{
	return image->is_scrubbed;
}

static bcfmt_err walk_chunk(const struct image_chunk *chunk, bcfmt_image_part_fn part, void *arg)
{
	bcfmt_err err = BCFMT_OK;

	for (uint32_t i = 0; i < chunk->n_extents && !err; i++) {
		const struct image_extent *extent = &chunk->extents[i];
		bool is_cover = extent->kind == IMAGE_COVER;

		err = part(arg, is_cover ? BCFMT_IMAGE_ZEROS : BCFMT_IMAGE_DATA,
			   extent->offset_bytes,
			   is_cover ? NULL : chunk->content + extent->content_at, extent->bytes);
	}
	return err;
}

/*
 * A chunk whose checksum was right, and which cannot be read now or does not expand: lost like those
 * that opening found, and for good, so that no later walk says something else of its range.
 */
static bcfmt_err lose_chunk(struct bcfmt_image *image, const struct image_block *block)
{
	struct range_map *bad = &image->members[block->member].bad;
	uint64_t first = block->first_byte - block->first_byte % BCFMT_SECTOR_BYTES;
	uint64_t end = div_round_up(block->end_byte, BCFMT_SECTOR_BYTES) * BCFMT_SECTOR_BYTES;
	struct bcfmt_image_loss *loss;
	struct range known;

	if (first == end ||
	    (range_map_at(bad, first, &known) && known.start <= first && known.end >= end))
		return BCFMT_OK;
	loss = vec_push(&image->losses, sizeof(*loss));
	if (!loss)
		return BCFMT_E_NOMEM;
	*loss = (struct bcfmt_image_loss){ block->member, first, end, false };
	return range_map_set(bad, first, end, RANGE_VALUE_FIXED);
}

bcfmt_err bcfmt_image_walk(struct bcfmt_image *image, size_t member, bcfmt_image_part_fn part,
			   void *arg)
{
	const struct image_member *at;
	uint64_t position = 0;
	struct range bad;
	bcfmt_err err = BCFMT_OK;

	if (member >= image->n_members)
		return bcfmt_fail(image->ctx, BCFMT_E_ARG, "%s: has %zu members", image->file->name,
				  image->n_members);
	at = &image->members[member];
	for (size_t i = at->first_chunk; i < at->end_chunk && !err; i++) {
		struct image_slot *slot;

		if (bcfmt_ctx_is_cancelled(image->ctx))
			return BCFMT_E_CANCELLED;
		bcfmt_ctx_progress(image->ctx, "chunks", i, image->n_chunks);
		err = chunk_get(image, i, &slot);
		if (!err) {
			err = walk_chunk(&slot->chunk, part, arg);
			chunk_put(image, slot);
			continue;
		}
		if (err != BCFMT_E_NOMEM)
			err = lose_chunk(image, &image->chunks[i]);
		if (err)
			return bcfmt_fail(image->ctx, err, "%s: out of memory", image->file->name);
	}
	while (!err && range_map_at(&at->bad, position, &bad)) {
		err = part(arg, BCFMT_IMAGE_HOLE, bad.start, NULL, bad.end - bad.start);
		position = bad.end;
	}
	return err;
}
