/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Writes what a recipe describes: superblocks, prios, uuids, nodes, journal; then the damage. */
#include "recipe_impl.h"

#include <stdlib.h>
#include <string.h>

#include <bcfmt/jset.h>
#include <bcfmt/node.h>

#include "base/bytes.h"
#include "base/checked.h"

/* Puts the failure of a writer into words; false when there was none. */
static bool has_failed(struct recipe_build *build, bcfmt_err err, unsigned int line,
		       const char *word)
{
	if (!err)
		return false;
	recipe_build_fail(build, line, word,
			  *bcfmt_ctx_fault(build->ctx) ? bcfmt_ctx_fault(build->ctx)
						       : bcfmt_err_name(err));
	return true;
}

static void write_super(struct recipe_build *build, uint32_t device)
{
	/* A recipe may break any rule. */
	bcfmt_err err = bcfmt_super_write(build->ctx, build->image[device].dev,
					  &build->recipe->device[device].super, UINT32_MAX);

	if (!has_failed(build, err, 0, build->image[device].file))
		recipe_thing_add(build, RECIPE_SUPER, device, BCFMT_SUPER_OFFSET_BYTES,
				 BCFMT_SUPER_BYTES);
}

static uint64_t bucket_at(const struct recipe_build *build, uint64_t bucket)
{
	return bcfmt_bucket_sector(&build->geo, bucket) * BCFMT_SECTOR_BYTES;
}

static void prio_entry(void *arg, uint64_t bucket, uint16_t *prio, uint8_t *gen)
{
	const struct recipe_build *build = arg;

	*prio = build->prio_values[bucket];
	*gen = build->gens[bucket];
}

/* Entries beyond the last bucket keep what the image had there, as a kernel's buffer would. */
static void write_prio(struct recipe_build *build, const struct recipe_prio *prio)
{
	struct bcfmt_prio_chain chain = { .links = prio->bucket,
					  .n_links = prio->n_buckets,
					  .seq = prio->seq,
					  .last_next = prio->next,
					  .entry = prio_entry,
					  .entry_arg = build };

	if (has_failed(build, bcfmt_prio_chain_write_raw(&build->target, &chain), prio->line,
		       "prio"))
		return;
	for (uint32_t i = 0; i < prio->n_buckets; i++)
		recipe_thing_add(build, RECIPE_PRIO_SET, RECIPE_CACHE,
				 bucket_at(build, prio->bucket[i]), build->geo.meta_bytes);
}

static void write_uuids(struct recipe_build *build)
{
	const struct recipe *recipe = build->recipe;
	struct bcfmt_uuid_entry *entries = calloc(build->geo.nr_uuids, sizeof(*entries));
	uint32_t n_entries = 0;
	struct recipe_thing *thing;
	bcfmt_err err;

	if (!entries)
		recipe_build_fail(build, 0, "uuids", "out of memory");
	for (size_t i = 0; entries && i < recipe->slots.n; i++) {
		const struct recipe_slot *slot = VEC_AT(&recipe->slots, struct recipe_slot, i);

		entries[slot->slot] = slot->entry;
		n_entries = (uint32_t)max_u64(n_entries, slot->slot + 1);
	}
	if (!build->has_failed) {
		err = bcfmt_uuids_write_raw(&build->target, build->uuids_bucket, entries, n_entries,
					    recipe->uuids_version);
		has_failed(build, err, 0, "uuids");
	}
	free(entries);
	thing = build->has_failed ? NULL
				  : recipe_thing_add(build, RECIPE_UUIDS, RECIPE_CACHE,
						     bucket_at(build, build->uuids_bucket),
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

/* Writes a bset and returns the bytes it takes. */
static uint64_t write_bset(struct recipe_build *build, const struct recipe_node *node,
			   const struct recipe_bset *bset, uint32_t index, uint64_t block)
{
	uint64_t block_bytes = bcfmt_block_bytes(&build->geo);
	uint64_t node_bytes = (uint64_t)node->sectors * BCFMT_SECTOR_BYTES;
	uint64_t node_at =
		bucket_at(build, node->bucket) + (uint64_t)node->at_sector * BCFMT_SECTOR_BYTES;
	uint64_t at_bytes = min_u64(block * block_bytes, node_bytes);
	uint8_t *keys = malloc((size_t)node_bytes + 1);
	struct bcfmt_bset_raw raw = { .ptr = node_ptr(build, node),
				      .node_sectors = node->sectors,
				      .block = (uint32_t)block,
				      .seq = bset->seq == RECIPE_AUTO ? node->seq : bset->seq,
				      .version = bset->version,
				      .keys = keys };
	struct recipe_thing *thing = NULL;

	if (!keys || !lay_keys(build, bset->first_key, bset->n_keys, keys, node_bytes - at_bytes,
			       &raw.words))
		recipe_build_fail(build, node->line, node->name,
				  "a bset does not fit into the node");
	else if (!has_failed(build, bcfmt_bset_write_raw(&build->target, &raw), node->line,
			     node->name))
		thing = recipe_thing_add(build, RECIPE_BSET, RECIPE_CACHE, node_at + at_bytes,
					 node_bytes - at_bytes);
	if (thing) {
		thing->seed = raw.ptr;
		thing->number = index;
		thing->bucket = node->bucket;
		memcpy(thing->node, node->name, sizeof(thing->node));
	}
	free(keys);
	return BCFMT_BSET_HEADER_BYTES + 8ull * raw.words;
}

static void write_node(struct recipe_build *build, const struct recipe_node *node)
{
	static const struct recipe_bset empty = { .seq = RECIPE_AUTO,
						  .block = RECIPE_AUTO,
						  .version = 1 };
	uint64_t block = 0;

	for (uint32_t i = 0; i < node->n_bsets + !node->n_bsets && !build->has_failed; i++) {
		const struct recipe_bset *bset =
			node->n_bsets ? VEC_AT(&build->recipe->bsets, struct recipe_bset,
					       node->first_bset + i)
				      : &empty;

		if (bset->block != RECIPE_AUTO)
			block = bset->block;
		block += div_round_up(write_bset(build, node, bset, i, block),
				      bcfmt_block_bytes(&build->geo));
	}
}

struct ring_place {
	uint64_t ring;
	uint64_t used_sectors[BCFMT_SUPER_JOURNAL_MAX];
	bool has_begun;
};

/*
 * Entries follow each other; what does not fit goes to the next bucket. The first is in 1.
 * place->ring is that of the entry; returns its sector there.
 */
static uint32_t place_jset(struct recipe_build *build, const struct recipe_jset *jset,
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
	return (uint32_t)at_sector;
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
	uint64_t room_bytes = min_u64((uint64_t)build->geo.bucket_sectors * BCFMT_SECTOR_BYTES,
				      (uint64_t)BCFMT_JSET_MAX_PAGES * build->geo.page_bytes);
	uint8_t *keys = malloc((size_t)room_bytes);
	struct bcfmt_jset jset = { .keys = keys };
	uint32_t at_sector;

	if (!keys || !build->geo.journal_buckets ||
	    !lay_keys(build, from->first_key, from->n_keys, keys,
		      room_bytes - BCFMT_JSET_HEADER_BYTES, &jset.keys_field)) {
		recipe_build_fail(build, from->line, "journal", "the entry is too large");
		free(keys);
		return;
	}
	fill_jset(build, from, &jset);
	at_sector =
		place_jset(build, from, BCFMT_JSET_HEADER_BYTES + 8ull * jset.keys_field, place);
	if (!build->has_failed &&
	    !has_failed(build,
			bcfmt_jset_write_raw(&build->target, &jset, (uint32_t)place->ring,
					     at_sector),
			from->line, "journal")) {
		uint64_t sector =
			bcfmt_bucket_sector(&build->geo, build->geo.first_bucket + place->ring) +
			at_sector;
		struct recipe_thing *thing = recipe_thing_add(
			build, RECIPE_JSET, RECIPE_CACHE, sector * BCFMT_SECTOR_BYTES,
			(uint64_t)(build->geo.bucket_sectors - at_sector) * BCFMT_SECTOR_BYTES);

		if (thing)
			thing->number = from->seq;
	}
	free(keys);
}

static void write_cache(struct recipe_build *build)
{
	const struct recipe *recipe = build->recipe;
	struct ring_place place = { 0 };

	build->geo = recipe->geo;
	build->has_geo = true;
	build->target =
		(struct bcfmt_target){ build->ctx, build->image[RECIPE_CACHE].dev, &build->geo };
	if (build->has_failed || recipe->is_fresh || !recipe_place(build))
		return;
	for (size_t i = 0; i < recipe->prios.n && !build->has_failed; i++)
		write_prio(build, &build->prios[i]);
	if (!build->has_failed)
		write_uuids(build);
	for (size_t i = 0; i < recipe->nodes.n && !build->has_failed; i++)
		write_node(build, &build->nodes[i]);
	for (size_t i = 0; i < recipe->jsets.n && !build->has_failed; i++)
		write_jset(build, VEC_AT(&recipe->jsets, struct recipe_jset, i), &place);
}

static void build_all(struct recipe_build *build)
{
	const struct recipe *recipe = build->recipe;

	if (!recipe_images_create(build))
		return;
	if (recipe->is_filled)
		recipe_fill_keys(build);
	for (size_t i = 0; i < recipe->datas.n; i++)
		recipe_image_fill(build, VEC_AT(&recipe->datas, struct recipe_data, i));
	recipe_images_open(build);
	for (uint32_t i = 0; i <= RECIPE_BACKING_MAX && !build->has_failed; i++)
		if (recipe->device[i].is_used)
			write_super(build, i);
	if (recipe->device[RECIPE_CACHE].is_used)
		write_cache(build);
}

bool recipe_build(const struct recipe *recipe, const char *base_dir, const char *out_dir,
		  struct recipe_error *error)
{
	struct recipe_build build = { .recipe = recipe, .out_dir = out_dir, .error = error };

	error->text[0] = 0;
	for (uint32_t i = 0; i <= RECIPE_BACKING_MAX; i++)
		build.image[i].fd = -1;
	if (bcfmt_ctx_new(NULL, &build.ctx))
		recipe_build_fail(&build, 0, "context", "out of memory");
	else if (!recipe->base[0])
		build_all(&build);
	else if (!base_dir)
		recipe_build_fail(&build, 0, recipe->base, "needs the unpacked fixture");
	else if (recipe_images_copy(&build, base_dir))
		recipe_index_base(&build);
	recipe_damage(&build);
	recipe_images_maps(&build);
	recipe_images_close(&build);
	bcfmt_ctx_free(build.ctx);
	vec_free(&build.things);
	free(build.nodes);
	free(build.prios);
	free(build.gens);
	free(build.prio_values);
	return !build.has_failed;
}
