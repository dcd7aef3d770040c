/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Compares what a cache holds for the slots of its table with a backing device. */
#include "repair/super_owner.h"

#include <stdlib.h>
#include <string.h>

#include "base/bytes.h"
#include "base/checked.h"
#include "dev/probe.h"

#define HEAD_BYTES (1u << 20)
#define SAMPLE_SECTORS 8u
#define SAMPLES_MAX 1024u
#define EQUAL_LEAST 8u /* sectors with contents, below which equality proves nothing */

struct look {
	const struct owners *owners;
	struct owner *owner;
	uint64_t samples;
};

static bool is_plain(const uint8_t *sector)
{
	return !memcmp(sector, sector + 1, BCFMT_SECTOR_BYTES - 1);
}

/* A clean piece of the cache against its place on the device. */
static bcfmt_err compare(struct look *look, const struct bcfmt_extent *extent)
{
	uint8_t cached[SAMPLE_SECTORS * BCFMT_SECTOR_BYTES], backed[sizeof(cached)];
	struct bcfmt_bad_read bad_cached = { 0, 0 }, bad_backed = { 0, 0 };
	uint64_t sectors = min_u64(extent->end_sector - extent->start_sector, SAMPLE_SECTORS);
	size_t len_bytes = (size_t)sectors * BCFMT_SECTOR_BYTES;
	bcfmt_err err;

	err = bcfmt_dev_read_salvage(look->owners->set->cache.dev,
				     bcfmt_ptr_sector(extent->ptr) * BCFMT_SECTOR_BYTES, cached,
				     len_bytes, &bad_cached);
	if (!err)
		err = bcfmt_dev_read_salvage(look->owners->dev,
					     extent->start_sector * BCFMT_SECTOR_BYTES, backed,
					     len_bytes, &bad_backed);
	if (err || bad_cached.sectors || bad_backed.sectors)
		return err;
	for (size_t at = 0; at < len_bytes; at += BCFMT_SECTOR_BYTES) {
		if (memcmp(cached + at, backed + at, BCFMT_SECTOR_BYTES))
			look->owner->other_sectors++;
		else if (!is_plain(cached + at))
			look->owner->equal_sectors++;
	}
	return BCFMT_OK;
}

static bcfmt_err look_at_leaf(void *arg, const struct bcfmt_node_view *view,
			      const struct bcfmt_extent *extents, size_t n_extents)
{
	struct look *look = arg;
	struct owner *owner = look->owner;
	uint64_t dev_sectors = bcfmt_dev_bytes(look->owners->dev) / BCFMT_SECTOR_BYTES;
	bcfmt_err err = BCFMT_OK;

	(void)view;
	for (size_t i = 0; !err && i < n_extents; i++) {
		const struct bcfmt_extent *extent = &extents[i];

		if (extent->stale || extent->inode != owner->inode)
			continue;
		if (!owner->has_extents || extent->start_sector < owner->first_sector)
			owner->first_sector = extent->start_sector;
		owner->has_extents = true;
		owner->end_sector = max_u64(owner->end_sector, extent->end_sector);
		if (extent->is_dirty && !extent->is_written_back)
			owner->dirty_sectors += extent->end_sector - extent->start_sector;
		else if (look->samples < SAMPLES_MAX && extent->end_sector <= dev_sectors) {
			look->samples++;
			err = compare(look, extent);
		}
	}
	return err;
}

static bool is_taken(const uint8_t (*taken)[BCFMT_UUID_BYTES], size_t n_taken, const uint8_t *uuid)
{
	for (size_t i = 0; i < n_taken; i++)
		if (!memcmp(taken[i], uuid, BCFMT_UUID_BYTES))
			return true;
	return false;
}

bcfmt_err owner_look(const struct owners *owners, struct owner *owner)
{
	struct look look = { .owners = owners, .owner = owner };
	struct bcfmt_tree_visitor visitor = { .arg = &look, .leaf = look_at_leaf };

	return bcfmt_tree_range(owners->tree, (struct bcfmt_pos){ owner->inode, 0 },
				(struct bcfmt_pos){ owner->inode + 1, 0 }, &visitor);
}

bcfmt_err owners_find(struct bcfmt_ctx *ctx, struct bcfmt_dev *cache, struct bcfmt_dev *dev,
		      const uint8_t (*taken)[BCFMT_UUID_BYTES], size_t n_taken, struct owners *out)
{
	static const enum bcfmt_role role = BCFMT_ROLE_CACHE;
	struct bcfmt_set_params params = { .roles = &role };
	static const struct bcfmt_tree_visitor nobody;
	bcfmt_err err;

	*out = (struct owners){ .dev = dev };
	err = bcfmt_set_open(ctx, &cache, 1, &params, &out->set);
	if (!err && !out->set->has_tree)
		return BCFMT_END;
	if (!err)
		err = bcfmt_tree_open(out->set, &nobody, &out->tree);
	if (!err)
		err = bcfmt_tree_settle(out->tree);
	for (uint32_t i = 0; !err && i < out->set->n_uuids; i++) {
		const struct bcfmt_uuid_entry *entry = &out->set->uuids[i];
		struct owner *owner;

		if (bcfmt_uuid_state(entry) != BCFMT_UUID_LIVE ||
		    entry->flags & BCFMT_UUID_FLASH_ONLY || is_taken(taken, n_taken, entry->uuid))
			continue;
		if (out->n == OWNERS_MAX) {
			out->is_capped = true;
			break;
		}
		owner = &out->items[out->n++];
		*owner = (struct owner){ .inode = i, .entry = entry };
		err = owner_look(out, owner);
	}
	return err;
}

void owners_free(struct owners *owners)
{
	bcfmt_tree_free(owners->tree);
	bcfmt_set_free(owners->set);
	*owners = (struct owners){ 0 };
}

bool owner_is_proved(const struct owner *owner)
{
	return owner->equal_sectors >= EQUAL_LEAST &&
	       owner->equal_sectors / 8 >= owner->other_sectors;
}

bool owner_is_excluded(const struct owners *owners, const struct owner *owner)
{
	return owner->end_sector > bcfmt_dev_bytes(owners->dev) / BCFMT_SECTOR_BYTES ||
	       (owner->other_sectors >= EQUAL_LEAST && owner->other_sectors > owner->equal_sectors);
}

/* The head of a volume. */
struct head {
	struct bcfmt_dev *cache;
	uint8_t *bytes;
	uint64_t first_sector;
	uint64_t end_sector;
	uint32_t inode;
};

static bcfmt_err lay_over(void *arg, const struct bcfmt_node_view *view,
			  const struct bcfmt_extent *extents, size_t n_extents)
{
	struct head *head = arg;
	bcfmt_err err = BCFMT_OK;

	(void)view;
	for (size_t i = 0; !err && i < n_extents; i++) {
		const struct bcfmt_extent *extent = &extents[i];
		uint64_t start = max_u64(extent->start_sector, head->first_sector);
		uint64_t end = min_u64(extent->end_sector, head->end_sector);
		uint64_t from = bcfmt_ptr_sector(extent->ptr) + (start - extent->start_sector);
		struct bcfmt_bad_read bad;

		if (extent->stale || extent->inode != head->inode || start >= end)
			continue;
		err = bcfmt_dev_read_salvage(head->cache, from * BCFMT_SECTOR_BYTES,
					     head->bytes + (start - head->first_sector) *
								   BCFMT_SECTOR_BYTES,
					     (size_t)(end - start) * BCFMT_SECTOR_BYTES, &bad);
	}
	return err;
}

bcfmt_err owners_signature(struct bcfmt_ctx *ctx, const struct owners *owners,
			   const struct owner *owner, struct bcfmt_dev *dev, uint64_t offset_sector,
			   struct bcfmt_signature *found, bool *is_found)
{
	struct bcfmt_signature all[BCFMT_SIGNATURES_MAX];
	uint64_t offset_bytes = offset_sector * BCFMT_SECTOR_BYTES;
	uint64_t rest_bytes = bcfmt_dev_bytes(dev) - offset_bytes;
	size_t len_bytes = (size_t)min_u64(HEAD_BYTES, rest_bytes), n = 0;
	struct head head = { .first_sector = offset_sector };
	struct bcfmt_tree_visitor visitor = { .arg = &head, .leaf = lay_over };
	struct bcfmt_bad_read bad;
	bcfmt_err err;

	*is_found = false;
	head.bytes = malloc(len_bytes);
	if (!head.bytes)
		return bcfmt_fail(ctx, BCFMT_E_NOMEM, "%s: no memory for the head of a volume",
				  bcfmt_dev_name(dev));
	err = bcfmt_dev_read_salvage(dev, offset_bytes, head.bytes, len_bytes, &bad);
	if (!err && owner) {
		head.cache = owners->set->cache.dev;
		head.end_sector = offset_sector + len_bytes / BCFMT_SECTOR_BYTES;
		head.inode = owner->inode;
		err = bcfmt_tree_range(owners->tree,
				       (struct bcfmt_pos){ owner->inode, offset_sector },
				       (struct bcfmt_pos){ owner->inode, head.end_sector },
				       &visitor);
	}
	if (!err && !bytes_are_zero(head.bytes, len_bytes))
		err = probe_bytes(ctx, bcfmt_dev_name(dev), head.bytes, len_bytes, rest_bytes, all,
				  &n);
	free(head.bytes);
	if (err && err != BCFMT_E_IO)
		return err;
	*is_found = !err && n;
	if (*is_found)
		*found = all[0];
	return BCFMT_OK;
}
