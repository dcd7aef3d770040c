/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Makes the image of a set: one pass over the cache from front to back. Where a pointer says that
 * a structure lies, right or wrong, what may stay of it is taken; everywhere else what proves by
 * its checksum that it is one. Of backing devices only the superblock is read.
 */
#include <stdlib.h>
#include <string.h>

#include <bcfmt/crc64.h>

#include "base/bytes.h"
#include "base/checked.h"
#include "image/image_impl.h"

/* Of buckets of which only the first block is wanted, reading ahead is in vain. */
#define HEADS_WINDOW_BYTES (64u << 10)
#define PROGRESS_BUCKETS 256u

static bcfmt_err note_bad(void *arg, uint64_t first_sector, uint64_t sectors)
{
	struct maker *maker = arg;

	if (range_map_set(&maker->bad, first_sector * BCFMT_SECTOR_BYTES,
			  (first_sector + sectors) * BCFMT_SECTOR_BYTES, RANGE_VALUE_FIXED))
		return bcfmt_fail(maker->ctx, BCFMT_E_NOMEM, "no memory for unreadable sectors");
	return BCFMT_OK;
}

static void count_holes(struct maker *maker)
{
	struct range range = { 0 };

	while (range_map_at(&maker->bad, range.end, &range))
		maker->stats->hole_sectors += (range.end - range.start) / BCFMT_SECTOR_BYTES;
}

/* Of a device that ends in its superblock, what there is of it. */
static bcfmt_err take_super(struct maker *maker, struct bcfmt_dev *dev)
{
	uint8_t raw[BCFMT_SUPER_BYTES] = { 0 };
	uint64_t dev_bytes = bcfmt_dev_bytes(dev);
	size_t len_bytes;
	struct bcfmt_bad_read bad;
	bcfmt_err err;

	if (dev_bytes <= BCFMT_SUPER_OFFSET_BYTES)
		return BCFMT_OK;
	len_bytes = (size_t)min_u64(sizeof(raw), dev_bytes - BCFMT_SUPER_OFFSET_BYTES);
	err = dev_read_salvage_each(dev, BCFMT_SUPER_OFFSET_BYTES, raw, len_bytes, &bad, note_bad,
				    maker);
	return err ? err : clean_super(maker, raw, len_bytes);
}

static bcfmt_err end_member(struct maker *maker)
{
	bcfmt_err err = image_writer_holes(maker->writer, &maker->bad);

	count_holes(maker);
	range_map_clear(&maker->bad);
	return err;
}

/* ---- the cache ----------------------------------------------------------------------------- */

static bcfmt_err take_found(void *arg, const struct scan_found *found)
{
	struct maker *maker = arg;

	if (found->kind == SCAN_PRIO)
		return add_prio(maker, found->offset_bytes, found->raw, found->bytes);
	maker->stats->found_bsets++;
	return add_bset(maker, found->offset_bytes, found->raw, found->bytes);
}

static bcfmt_err take_range(struct maker *maker, uint64_t first_sector, uint64_t end_sector)
{
	uint32_t bucket_sectors = maker->set->geo.bucket_sectors;
	bool is_head = maker->params->scan == BCFMT_IMAGE_SCAN_HEADS;

	if (maker->params->scan == BCFMT_IMAGE_SCAN_NONE ||
	    (is_head && first_sector % bucket_sectors))
		return BCFMT_OK;
	return scan_range(maker->scan, first_sector, end_sector, is_head, take_found, maker);
}

/* The structure that is known to be in a bucket, and what lies before and behind it. */
static bcfmt_err take_known(struct maker *maker, const struct known *known)
{
	const struct bcfmt_geometry *geo = &maker->set->geo;
	uint64_t bucket_sector = bcfmt_bucket_sector(geo, known->bucket);
	uint64_t end_sector = bucket_sector + geo->bucket_sectors;
	uint64_t at = known->kind == KNOWN_PRIO ? bucket_sector : bcfmt_ptr_sector(known->ptr);
	/* Nodes may begin anywhere, blocks do not. */
	uint64_t before = at - at % geo->block_sectors;
	uint64_t behind =
		div_round_up(at + known->sectors, geo->block_sectors) * geo->block_sectors;
	size_t len_bytes = (size_t)known->sectors * BCFMT_SECTOR_BYTES;
	struct bcfmt_bad_read bad;
	const uint8_t *raw;
	bcfmt_err err = BCFMT_OK;

	if (before > bucket_sector)
		err = take_range(maker, bucket_sector, before);
	if (!err)
		err = scan_read(maker->scan, at * BCFMT_SECTOR_BYTES, len_bytes, &raw, &bad);
	if (err)
		return err;
	switch (known->kind) {
	case KNOWN_PRIO:
		/* A part of one is none, for a kernel and for us. */
		err = bad.sectors ? add_cover(maker, at * BCFMT_SECTOR_BYTES, len_bytes)
				  : clean_prio(maker, known, raw, len_bytes);
		break;
	case KNOWN_UUIDS:
	case KNOWN_OLD_UUIDS:
		err = clean_uuids(maker, known, raw);
		break;
	case KNOWN_NODE:
		err = clean_node(maker, known, raw);
		break;
	}
	if (err == BCFMT_END) /* not that after all: whatever it is */
		return take_range(maker, before, end_sector);
	if (!err && behind < end_sector)
		err = take_range(maker, behind, end_sector);
	return err;
}

/* Where the next data begins, as far as the device tells. */
static bcfmt_err next_data(struct maker *maker, uint64_t at, uint64_t *begin, uint64_t *end)
{
	bcfmt_err err = bcfmt_dev_next_data(maker->set->cache.dev, at, begin, end);

	if (err < 0)
		return err;
	scan_hint(maker->scan, err == BCFMT_END ? 0 : *end);
	if (err == BCFMT_END)
		*begin = *end = UINT64_MAX;
	return BCFMT_OK;
}

static bcfmt_err take_buckets(struct maker *maker)
{
	const struct bcfmt_geometry *geo = &maker->set->geo;
	const struct known *known = maker->known.items;
	const struct known *end = known ? known + maker->known.n : NULL;
	uint64_t bucket_bytes = (uint64_t)geo->bucket_sectors * BCFMT_SECTOR_BYTES;
	uint64_t data_begin = 0, data_end = 0;
	bcfmt_err err = BCFMT_OK;

	for (uint64_t bucket = geo->first_bucket; bucket < geo->nbuckets && !err; bucket++) {
		uint64_t at = bucket * bucket_bytes;

		if (!(bucket % PROGRESS_BUCKETS)) {
			bcfmt_ctx_progress(maker->ctx, "image", bucket, geo->nbuckets);
			if (bcfmt_ctx_is_cancelled(maker->ctx))
				return BCFMT_E_CANCELLED;
		}
		while (known < end && known->bucket < bucket)
			known++;
		if (at >= data_end)
			err = next_data(maker, at, &data_begin, &data_end);
		if (err)
			break;
		if (bcfmt_bucket_is_journal(geo, bucket))
			err = clean_journal(maker, bucket);
		else if (known < end && known->bucket == bucket)
			err = take_known(maker, known);
		else if (data_begin < at + bucket_bytes)
			err = take_range(maker, at / BCFMT_SECTOR_BYTES,
					 (at + bucket_bytes) / BCFMT_SECTOR_BYTES);
	}
	return err;
}

static bcfmt_err take_cache(struct maker *maker)
{
	struct bcfmt_set *set = maker->set;
	bool is_head = maker->params->scan != BCFMT_IMAGE_SCAN_ALL;
	bcfmt_err err = take_super(maker, set->cache.dev);

	if (err || !set->has_geometry)
		return err;
	err = scan_new(maker->ctx, set->cache.dev, &set->geo,
		       is_head ? HEADS_WINDOW_BYTES : SCAN_WINDOW_BYTES, note_bad, maker,
		       &maker->scan);
	return err ? err : take_buckets(maker);
}

/* ---- the image ----------------------------------------------------------------------------- */

static const char *base_name(const char *path)
{
	const char *slash = strrchr(path, '/');

	return slash ? slash + 1 : path;
}

static struct image_writer_member member_of(const struct maker *maker,
					    const struct bcfmt_member *member, bool is_cache)
{
	const struct bcfmt_dev *dev = member->dev;

	return (struct image_writer_member){
		.source = maker->params->is_scrubbed ? "" : base_name(bcfmt_dev_name(dev)),
		.bytes = bcfmt_dev_bytes(dev),
		.logical_block_bytes = bcfmt_dev_logical_block_bytes(dev),
		.is_cache = is_cache,
		.was_in_use = bcfmt_dev_was_in_use(dev),
	};
}

/* Tells images of two states of a set apart, and nothing about the set. */
static uint64_t stamp_of(const struct maker *maker)
{
	const struct bcfmt_set *set = maker->set;
	uint8_t state[BCFMT_UUID_BYTES + 24];

	memcpy(state, set->cache.super.set_uuid, BCFMT_UUID_BYTES);
	scrub_uuid(&maker->scrub, state);
	store_le64(state + BCFMT_UUID_BYTES, set->newest.seq);
	store_le64(state + BCFMT_UUID_BYTES + 8, set->journal.n_entries);
	store_le64(state + BCFMT_UUID_BYTES + 16, set->cache.super.seq);
	return bcfmt_crc64(state, sizeof(state));
}

static bcfmt_err open_writer(struct maker *maker, bcfmt_image_write_fn write, void *arg)
{
	const struct bcfmt_set *set = maker->set;
	struct image_writer_head head = { .stamp = stamp_of(maker),
					  .is_scrubbed = maker->params->is_scrubbed };
	struct image_writer_member *members = calloc(set->n_backing + 1, sizeof(*members));
	bcfmt_err err;

	if (!members)
		return bcfmt_fail(maker->ctx, BCFMT_E_NOMEM, "no memory for an image");
	if (set->has_cache)
		members[head.n_members++] = member_of(maker, &set->cache, true);
	for (size_t i = 0; i < set->n_backing; i++)
		members[head.n_members++] = member_of(maker, &set->backing[i], false);
	head.members = members;
	err = image_writer_new(maker->ctx, &head, write, arg, &maker->writer);
	free(members);
	return err;
}

static bcfmt_err take_members(struct maker *maker)
{
	const struct bcfmt_set *set = maker->set;
	uint16_t member = 0;
	bcfmt_err err = BCFMT_OK;

	if (set->has_cache) {
		err = image_writer_begin(maker->writer, member++);
		if (!err)
			err = take_cache(maker);
		if (!err)
			err = end_member(maker);
	}
	for (size_t i = 0; i < set->n_backing && !err; i++) {
		err = image_writer_begin(maker->writer, member++);
		if (!err)
			err = take_super(maker, set->backing[i].dev);
		if (!err)
			err = end_member(maker);
	}
	return err ? err : image_writer_finish(maker->writer);
}

static void maker_clear(struct maker *maker)
{
	scan_free(maker->scan);
	image_writer_free(maker->writer);
	range_map_clear(&maker->bad);
	vec_free(&maker->known);
	vec_free(&maker->kept);
	vec_free(&maker->uuids);
	bcfmt_node_clear(&maker->node);
	free(maker->word_use);
}

bcfmt_err bcfmt_image_make(struct bcfmt_set *set, const struct bcfmt_image_params *params,
			   bcfmt_image_write_fn write, void *arg, struct bcfmt_image_stats *stats)
{
	struct bcfmt_image_stats unused;
	struct maker maker = { .ctx = set->ctx, .set = set, .params = params };
	bcfmt_err err;

	maker.stats = stats ? stats : &unused;
	memset(maker.stats, 0, sizeof(*maker.stats));
	scrub_init(&maker.scrub, params->is_scrubbed, set->cache.super.set_uuid);
	err = known_collect(set, &maker.known);
	if (!err)
		err = open_writer(&maker, write, arg);
	if (!err)
		err = take_members(&maker);
	if (!err) {
		maker.stats->content_bytes = image_writer_content(maker.writer);
		maker.stats->image_bytes = image_writer_bytes(maker.writer);
	}
	maker_clear(&maker);
	return err;
}
