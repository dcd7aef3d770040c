/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Finds the structures of a base image, so that damage can name them. */
#include "recipe_impl.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <bcfmt/jset.h>
#include <bcfmt/node.h>

#define NODES_MAX 8192u

static uint64_t bucket_at(const struct recipe_build *build, uint64_t bucket)
{
	return bcfmt_bucket_sector(&build->geo, bucket) * BCFMT_SECTOR_BYTES;
}

static bool is_on_cache(const struct recipe_build *build, uint64_t at_bytes, uint64_t len_bytes)
{
	uint64_t bytes = build->image[RECIPE_CACHE].bytes;

	return at_bytes <= bytes && len_bytes <= bytes - at_bytes;
}

/* Entries from the start of each ring bucket on, as far as they are whole. */
static void index_journal(struct recipe_build *build, struct bcfmt_jset *newest)
{
	uint64_t bucket_bytes = (uint64_t)build->geo.bucket_sectors * BCFMT_SECTOR_BYTES;
	uint8_t *raw = malloc((size_t)bucket_bytes);

	if (!raw)
		recipe_build_fail(build, 0, "journal", "out of memory");
	for (uint32_t i = 0; i < build->geo.journal_buckets && !build->has_failed; i++) {
		uint64_t begin_bytes = bucket_at(build, (uint64_t)build->geo.first_bucket + i);
		uint64_t at_bytes = 0;
		struct bcfmt_jset jset;

		if (!recipe_image_read(build, RECIPE_CACHE, begin_bytes, raw, (size_t)bucket_bytes))
			break;
		while (bucket_bytes - at_bytes >= BCFMT_JSET_HEADER_BYTES &&
		       bcfmt_jset_decode(&build->geo, raw + at_bytes,
					 (size_t)(bucket_bytes - at_bytes),
					 &jset) == BCFMT_JSET_OK) {
			struct recipe_thing *thing =
				recipe_thing_add(build, RECIPE_JSET, RECIPE_CACHE,
						 begin_bytes + at_bytes, bucket_bytes - at_bytes);

			if (!thing)
				break;
			thing->number = jset.seq;
			if (jset.seq >= newest->seq)
				*newest = jset;
			at_bytes += (uint64_t)jset.blocks * bcfmt_block_bytes(&build->geo);
		}
	}
	free(raw);
}

static void index_prios(struct recipe_build *build, uint64_t bucket)
{
	uint64_t chain = bcfmt_geometry_prio_buckets(&build->geo);
	uint8_t *raw = malloc(build->geo.meta_bytes);

	for (uint64_t i = 0; raw && i < chain && bucket < build->geo.nbuckets; i++) {
		struct bcfmt_prio_set set;

		if (!recipe_image_read(build, RECIPE_CACHE, bucket_at(build, bucket), raw,
				       build->geo.meta_bytes))
			break;
		bcfmt_prio_decode(&build->geo, raw, &set);
		recipe_thing_add(build, RECIPE_PRIO_SET, RECIPE_CACHE, bucket_at(build, bucket),
				 build->geo.meta_bytes);
		bucket = set.next_bucket;
	}
	free(raw);
}

struct node_todo {
	uint64_t ptr;
	uint32_t sectors;
	unsigned int level;
};

/* Children that were not met yet; keys that are no pointers to nodes find no valid bset. */
static void push_children(struct recipe_build *build, struct vec *todo,
			  const struct bcfmt_bset *bset, unsigned int level)
{
	struct bcfmt_key_iter it = bcfmt_key_iter_init(bset->keys, bset->words);
	struct bcfmt_key key;

	while (bcfmt_key_iter_next(&it, &key) && todo->n < NODES_MAX) {
		bool is_known = !bcfmt_key_has_data(&key) || bcfmt_key_is_zero_pos(&key);
		struct node_todo *next;

		for (size_t i = 0; i < todo->n && !is_known; i++)
			is_known = VEC_AT(todo, struct node_todo, i)->ptr == key.ptr;
		if (is_known)
			continue;
		next = vec_push(todo, sizeof(*next));
		if (!next) {
			recipe_build_fail(build, 0, "nodes", "out of memory");
			return;
		}
		*next = (struct node_todo){ key.ptr, bcfmt_key_sectors(&key), level };
	}
}

static void index_node(struct recipe_build *build, struct vec *todo, size_t at, uint8_t *buf)
{
	struct node_todo node = *VEC_AT(todo, struct node_todo, at);
	uint64_t at_bytes = bcfmt_ptr_sector(node.ptr) * BCFMT_SECTOR_BYTES;
	uint64_t node_bytes = (uint64_t)node.sectors * BCFMT_SECTOR_BYTES;
	struct bcfmt_node decoded = { 0 };

	if (node.sectors > build->geo.bucket_sectors || !is_on_cache(build, at_bytes, node_bytes) ||
	    !recipe_image_read(build, RECIPE_CACHE, at_bytes, buf, (size_t)node_bytes))
		return;
	if (bcfmt_node_decode(&decoded, &build->geo, buf, node.sectors, node.ptr))
		recipe_build_fail(build, 0, "nodes", "out of memory");
	for (uint32_t i = 0; i < decoded.n_bsets && !build->has_failed; i++) {
		const struct bcfmt_bset *bset = &decoded.bsets[i];
		uint64_t block_bytes = (uint64_t)bset->block * decoded.block_bytes;
		struct recipe_thing *thing;

		if (bset->fault != BCFMT_BSET_OK)
			continue;
		thing = recipe_thing_add(build, RECIPE_BSET, RECIPE_CACHE, at_bytes + block_bytes,
					 node_bytes - block_bytes);
		if (!thing)
			break;
		thing->seed = node.ptr;
		thing->number = i;
		thing->bucket = bcfmt_ptr_bucket(&build->geo, node.ptr);
		if (!at)
			snprintf(thing->node, sizeof(thing->node), "root");
		if (node.level)
			push_children(build, todo, bset, node.level - 1);
	}
	bcfmt_node_clear(&decoded);
}

static void index_tree(struct recipe_build *build, const struct bcfmt_jset *newest)
{
	uint8_t *buf = malloc((size_t)build->geo.bucket_sectors * BCFMT_SECTOR_BYTES);
	struct vec todo = { 0 };
	struct node_todo *root = vec_push(&todo, sizeof(*root));

	if (!buf || !root) {
		recipe_build_fail(build, 0, "nodes", "out of memory");
	} else {
		*root = (struct node_todo){ newest->btree_root.ptr,
					    bcfmt_key_sectors(&newest->btree_root),
					    newest->btree_level };
		for (size_t i = 0; i < todo.n && !build->has_failed; i++)
			index_node(build, &todo, i, buf);
	}
	vec_free(&todo);
	free(buf);
}

bool recipe_index_base(struct recipe_build *build)
{
	uint8_t raw[BCFMT_SUPER_BYTES];
	struct bcfmt_jset newest = { 0 };
	struct recipe_thing *uuids;
	struct bcfmt_super super;

	for (uint32_t i = 0; i <= RECIPE_BACKING_MAX; i++)
		if (build->image[i].fd >= 0)
			recipe_thing_add(build, RECIPE_SUPER, i, BCFMT_SUPER_OFFSET_BYTES,
					 BCFMT_SUPER_BYTES);
	if (!recipe_image_read(build, RECIPE_CACHE, BCFMT_SUPER_OFFSET_BYTES, raw, sizeof(raw)))
		return false;
	bcfmt_super_decode(raw, &super);
	if (bcfmt_geometry_init(&super, build->image[RECIPE_CACHE].bytes, 4096, &build->geo)) {
		recipe_build_fail(build, 0, "base", "its cache has no geometry");
		return false;
	}
	build->has_geo = true;
	index_journal(build, &newest);
	if (build->has_failed || !newest.seq)
		return !build->has_failed;
	index_prios(build, newest.prio_bucket[build->geo.nr_this_dev]);
	uuids = recipe_thing_add(build, RECIPE_UUIDS, RECIPE_CACHE,
				 bcfmt_ptr_sector(newest.uuid_bucket.ptr) * BCFMT_SECTOR_BYTES,
				 build->geo.meta_bytes);
	if (uuids)
		uuids->version = newest.version;
	index_tree(build, &newest);
	return !build->has_failed;
}
