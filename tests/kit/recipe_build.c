/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Writes what a recipe describes: superblocks, prios, uuids, nodes, journal; then the damage. */
#include "recipe_impl.h"

#include <stdlib.h>
#include <string.h>

#include <bcfmt/jset.h>
#include <bcfmt/node.h>

#include "base/bytes.h"
#include "base/checked.h"

static void write_super(struct recipe_build *build, uint32_t device)
{
	uint8_t raw[BCFMT_SUPER_BYTES];

	if (!recipe_image_read(build, device, BCFMT_SUPER_OFFSET_BYTES, raw, sizeof(raw)))
		return;
	bcfmt_super_encode(&build->recipe->device[device].super, raw);
	recipe_image_write(build, device, BCFMT_SUPER_OFFSET_BYTES, raw, sizeof(raw));
	recipe_thing_add(build, RECIPE_SUPER, device, BCFMT_SUPER_OFFSET_BYTES, sizeof(raw));
}

static uint64_t bucket_at(const struct recipe_build *build, uint64_t bucket)
{
	return bcfmt_bucket_sector(&build->geo, bucket) * BCFMT_SECTOR_BYTES;
}

/* Entries beyond the last bucket keep what the image had there, as a kernel's buffer would. */
static void write_prio(struct recipe_build *build, const struct recipe_prio *prio)
{
	uint32_t meta_bytes = build->geo.meta_bytes;
	uint8_t *raw = malloc(meta_bytes);

	if (!raw)
		recipe_build_fail(build, prio->line, "prio", "out of memory");
	for (uint32_t i = 0; i < prio->n_buckets && !build->has_failed; i++) {
		uint64_t first = (uint64_t)i * build->geo.prios_per_bucket;
		uint64_t n = min_u64(build->geo.prios_per_bucket, build->geo.nbuckets - first);
		uint64_t at_bytes = bucket_at(build, prio->bucket[i]);

		if (!recipe_image_read(build, RECIPE_CACHE, at_bytes, raw, meta_bytes))
			break;
		for (uint64_t k = 0; k < n; k++)
			bcfmt_prio_entry_set(raw, (uint32_t)k, build->prio_values[first + k],
					     build->gens[first + k]);
		bcfmt_prio_encode(&build->geo, raw, prio->seq,
				  i + 1 < prio->n_buckets ? prio->bucket[i + 1] : prio->next);
		recipe_image_write(build, RECIPE_CACHE, at_bytes, raw, meta_bytes);
		recipe_thing_add(build, RECIPE_PRIO_SET, RECIPE_CACHE, at_bytes, meta_bytes);
	}
	free(raw);
}

static void write_uuids(struct recipe_build *build)
{
	const struct recipe *recipe = build->recipe;
	uint64_t at_bytes = bucket_at(build, build->uuids_bucket);
	struct recipe_thing *thing;

	recipe_image_zero(build, RECIPE_CACHE, at_bytes, build->geo.meta_bytes);
	for (size_t i = 0; i < recipe->slots.n; i++) {
		const struct recipe_slot *slot = VEC_AT(&recipe->slots, struct recipe_slot, i);
		uint32_t entry_bytes =
			recipe->uuids_version ? BCFMT_UUID_ENTRY_BYTES : BCFMT_UUID_ENTRY_V0_BYTES;
		uint8_t raw[BCFMT_UUID_ENTRY_BYTES];

		bcfmt_uuid_encode(&slot->entry, raw);
		if (!recipe->uuids_version)
			store_le32(raw + 60, 0); /* flags are padding there */
		recipe_image_write(build, RECIPE_CACHE,
				   at_bytes + (uint64_t)slot->slot * entry_bytes, raw, entry_bytes);
	}
	thing = recipe_thing_add(build, RECIPE_UUIDS, RECIPE_CACHE, at_bytes,
				 build->geo.meta_bytes);
	if (thing)
		thing->version = recipe->uuids_version;
}

static uint64_t node_ptr(const struct recipe_build *build, const struct recipe_node *node)
{
	return bcfmt_ptr_make(build->geo.nr_this_dev,
			      bcfmt_bucket_sector(&build->geo, node->bucket) + node->at_sector,
			      node->gen);
}

/* Lays the words of keys one after the other at raw, room_bytes long; false when too many. */
static bool lay_keys(const struct recipe_build *build, uint32_t first_key, uint32_t n_keys,
		     uint8_t *raw, uint64_t room_bytes, uint32_t *words)
{
	*words = 0;
	for (uint32_t i = 0; i < n_keys; i++) {
		const struct recipe_key *key =
			VEC_AT(&build->recipe->keys, struct recipe_key, first_key + i);

		for (uint32_t k = 0; k < key->n_words; k++, (*words)++) {
			uint64_t word = key->word[k];

			if (k == 2 && key->child >= 0)
				word = node_ptr(build, &build->nodes[key->child]);
			if (8ull * (*words + 1) > room_bytes)
				return false;
			store_le64(raw + 8 * (size_t)*words, word);
		}
	}
	return true;
}

struct bset_place {
	const struct recipe_node *node;
	uint64_t at_bytes;
	uint64_t room_bytes; /* to the end of the node */
	uint32_t index;
};

/* Returns the bytes it takes. Slack behind the keys keeps what the image had there. */
static uint64_t write_bset(struct recipe_build *build, const struct recipe_bset *bset,
			   const struct bset_place *place)
{
	uint64_t ptr = node_ptr(build, place->node);
	uint8_t *raw = calloc(1, (size_t)place->room_bytes + BCFMT_BSET_HEADER_BYTES);
	struct recipe_thing *thing;
	uint64_t len_bytes = 0;
	uint32_t words;

	if (!raw || place->room_bytes < BCFMT_BSET_HEADER_BYTES ||
	    !lay_keys(build, bset->first_key, bset->n_keys, raw + BCFMT_BSET_HEADER_BYTES,
		      place->room_bytes - BCFMT_BSET_HEADER_BYTES, &words)) {
		recipe_build_fail(build, place->node->line, place->node->name,
				  "a bset does not fit into the node");
	} else {
		len_bytes = BCFMT_BSET_HEADER_BYTES + 8ull * words;
		bcfmt_bset_encode(&build->geo, raw,
				  bset->seq == RECIPE_AUTO ? place->node->seq : bset->seq, words,
				  ptr);
		if (!bset->version) {
			store_le32(raw + 24, 0);
			store_le64(raw, bcfmt_bset_csum(raw, words, 0, ptr));
		}
		recipe_image_write(build, RECIPE_CACHE, place->at_bytes, raw, (size_t)len_bytes);
		thing = recipe_thing_add(build, RECIPE_BSET, RECIPE_CACHE, place->at_bytes,
					 place->room_bytes);
		if (thing) {
			thing->seed = ptr;
			thing->number = place->index;
			thing->bucket = place->node->bucket;
			memcpy(thing->node, place->node->name, sizeof(thing->node));
		}
	}
	free(raw);
	return len_bytes;
}

static void write_node(struct recipe_build *build, const struct recipe_node *node)
{
	static const struct recipe_bset empty = { .seq = RECIPE_AUTO,
						  .block = RECIPE_AUTO,
						  .version = 1 };
	uint64_t block_bytes = bcfmt_block_bytes(&build->geo);
	uint64_t nblocks = (uint64_t)node->sectors / build->geo.block_sectors;
	uint64_t begin_bytes =
		bucket_at(build, node->bucket) + (uint64_t)node->at_sector * BCFMT_SECTOR_BYTES;
	uint64_t block = 0;

	for (uint32_t i = 0; i < node->n_bsets + !node->n_bsets && !build->has_failed; i++) {
		const struct recipe_bset *bset =
			node->n_bsets ? VEC_AT(&build->recipe->bsets, struct recipe_bset,
					       node->first_bset + i)
				      : &empty;
		struct bset_place place = { .node = node, .index = i };

		if (bset->block != RECIPE_AUTO)
			block = bset->block;
		if (block < nblocks) {
			place.at_bytes = begin_bytes + block * block_bytes;
			place.room_bytes = (nblocks - block) * block_bytes;
		}
		block += div_round_up(write_bset(build, bset, &place), block_bytes);
	}
}

struct ring_place {
	uint64_t ring;
	uint64_t used_sectors[BCFMT_SUPER_JOURNAL_MAX];
	bool has_begun;
};

/* Entries follow each other; what does not fit goes to the next bucket. The first is in 1. */
static uint64_t place_jset(struct recipe_build *build, const struct recipe_jset *jset,
			   uint64_t bytes, struct ring_place *place)
{
	uint64_t sectors =
		div_round_up(bytes, bcfmt_block_bytes(&build->geo)) * build->geo.block_sectors;
	uint64_t at_sector;

	if (jset->ring != RECIPE_AUTO)
		place->ring = jset->ring;
	else if (!place->has_begun)
		place->ring = build->geo.journal_buckets > 1;
	else if (place->used_sectors[place->ring] + sectors > build->geo.bucket_sectors)
		place->ring = (place->ring + 1) % build->geo.journal_buckets;
	place->has_begun = true;
	at_sector =
		jset->at_sector != RECIPE_AUTO ? jset->at_sector : place->used_sectors[place->ring];
	if (at_sector + sectors > build->geo.bucket_sectors)
		recipe_build_fail(build, jset->line, "journal", "does not fit into its bucket");
	place->used_sectors[place->ring] = at_sector + sectors;
	return bcfmt_bucket_sector(&build->geo, build->geo.first_bucket + place->ring) + at_sector;
}

static void fill_jset(const struct recipe_build *build, const struct recipe_jset *from,
		      struct bcfmt_jset *out)
{
	const struct recipe_node *root = &build->nodes[from->root];
	unsigned int dev = build->geo.nr_this_dev;
	uint64_t uuids = from->uuids == RECIPE_AUTO ? build->uuids_bucket : from->uuids;

	out->seq = from->seq;
	out->last_seq = from->last_seq;
	out->version = from->version;
	out->btree_level = (uint16_t)(from->level == RECIPE_AUTO ? root->level : from->level);
	out->btree_root = bcfmt_key_make(BCFMT_KEY_MAX_INODE, BCFMT_KEY_MAX_OFFSET, root->sectors,
					 false, true, node_ptr(build, root));
	out->uuid_bucket =
		bcfmt_key_make(0, 0, build->geo.meta_bytes / BCFMT_SECTOR_BYTES, false, true,
			       bcfmt_ptr_make(dev, bcfmt_bucket_sector(&build->geo, uuids),
					      build->recipe->uuids_gen));
	out->prio_bucket[dev] = from->prio == RECIPE_AUTO
					? build->prios[build->recipe->prios.n - 1].bucket[0]
					: from->prio;
}

static void write_jset(struct recipe_build *build, const struct recipe_jset *from,
		       struct ring_place *place)
{
	uint64_t bucket_bytes = (uint64_t)build->geo.bucket_sectors * BCFMT_SECTOR_BYTES;
	uint64_t room_bytes =
		min_u64(bucket_bytes, (uint64_t)BCFMT_JSET_MAX_PAGES * build->geo.page_bytes);
	uint8_t *raw = calloc(1, (size_t)room_bytes);
	struct bcfmt_jset jset = { 0 };
	uint64_t len_bytes;
	uint64_t sector;

	if (!raw || !build->geo.journal_buckets ||
	    !lay_keys(build, from->first_key, from->n_keys, raw + BCFMT_JSET_HEADER_BYTES,
		      room_bytes - BCFMT_JSET_HEADER_BYTES, &jset.keys_field)) {
		recipe_build_fail(build, from->line, "journal", "the entry is too large");
	} else {
		struct recipe_thing *thing;

		len_bytes = BCFMT_JSET_HEADER_BYTES + 8ull * jset.keys_field;
		fill_jset(build, from, &jset);
		bcfmt_jset_encode(&build->geo, &jset, raw);
		sector = place_jset(build, from, len_bytes, place);
		recipe_image_write(build, RECIPE_CACHE, sector * BCFMT_SECTOR_BYTES, raw,
				   (size_t)len_bytes);
		thing = recipe_thing_add(build, RECIPE_JSET, RECIPE_CACHE,
					 sector * BCFMT_SECTOR_BYTES,
					 bucket_bytes - sector * BCFMT_SECTOR_BYTES % bucket_bytes);
		if (thing)
			thing->number = from->seq;
	}
	free(raw);
}

static void write_cache(struct recipe_build *build)
{
	const struct recipe *recipe = build->recipe;
	struct ring_place place = { 0 };

	build->geo = recipe->geo;
	build->has_geo = true;
	if (recipe->is_fresh || !recipe_place(build))
		return;
	for (size_t i = 0; i < recipe->prios.n; i++)
		write_prio(build, &build->prios[i]);
	write_uuids(build);
	for (size_t i = 0; i < recipe->nodes.n; i++)
		write_node(build, &build->nodes[i]);
	for (size_t i = 0; i < recipe->jsets.n; i++)
		write_jset(build, VEC_AT(&recipe->jsets, struct recipe_jset, i), &place);
}

bool recipe_build(const struct recipe *recipe, const char *base_dir, const char *out_dir,
		  struct recipe_error *error)
{
	struct recipe_build build = { .recipe = recipe, .out_dir = out_dir, .error = error };

	error->text[0] = 0;
	for (uint32_t i = 0; i <= RECIPE_BACKING_MAX; i++)
		build.image[i].fd = -1;
	if (recipe->base[0]) {
		if (!base_dir)
			recipe_build_fail(&build, 0, recipe->base, "needs the unpacked fixture");
		else if (recipe_images_copy(&build, base_dir))
			recipe_index_base(&build);
	} else if (recipe_images_create(&build)) {
		for (size_t i = 0; i < recipe->datas.n; i++)
			recipe_image_fill(&build, VEC_AT(&recipe->datas, struct recipe_data, i));
		for (uint32_t i = 0; i <= RECIPE_BACKING_MAX; i++)
			if (recipe->device[i].is_used)
				write_super(&build, i);
		if (recipe->device[RECIPE_CACHE].is_used)
			write_cache(&build);
	}
	recipe_damage(&build);
	recipe_images_maps(&build);
	recipe_images_close(&build);
	vec_free(&build.things);
	free(build.nodes);
	free(build.prios);
	free(build.gens);
	free(build.prio_values);
	return !build.has_failed;
}
