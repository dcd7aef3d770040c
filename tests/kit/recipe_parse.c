/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Statements of the recipe language that describe what is to be built. */
#include "recipe_parse.h"

#include <stdio.h>
#include <string.h>

#include "base/checked.h"

static const uint8_t super_magic[16] = { 0xc6, 0x85, 0x73, 0xf6, 0x4e, 0x1a, 0x45, 0xca,
					 0x82, 0x65, 0xf5, 0x7f, 0x48, 0xba, 0x6d, 0x81 };

#define SET_SEED      1u
#define CACHE_SEED    2u
#define BACKING_SEED  10u
#define MOUNT_SECONDS 0x60000000u
#define BACKING_BYTES (4u << 20)

void *parse_push(struct recipe_parser *p, struct vec *vec, size_t item_bytes)
{
	void *item;

	if (vec->n >= RECIPE_ITEMS_MAX) {
		recipe_words_fail(&p->words, p->words.word[0], "more than 65536 of them");
		return NULL;
	}
	item = vec_push(vec, item_bytes);
	if (!item)
		recipe_words_fail(&p->words, p->words.word[0], "out of memory");
	else
		memset(item, 0, item_bytes);
	return item;
}

static void copy_label(struct recipe_parser *p, char out[BCFMT_LABEL_BYTES + 1])
{
	const char *label = recipe_words_text(&p->words, "label");

	if (!label)
		return;
	if (strlen(label) > BCFMT_LABEL_BYTES)
		recipe_words_fail(&p->words, label, "is longer than 32 bytes");
	else
		memcpy(out, label, strlen(label) + 1);
}

static void cache_sizes(struct recipe_parser *p, struct bcfmt_super *super)
{
	struct recipe_words *w = &p->words;
	uint64_t bucket_sectors;
	uint64_t nbuckets;

	recipe_words_need(w, "buckets");
	recipe_words_need(w, "bucket");
	nbuckets = recipe_words_u64(w, "buckets", 1, 1ull << 32);
	bucket_sectors = recipe_words_sectors(w, "bucket", 8, 1u << 22);
	super->nbuckets_or_data_offset = nbuckets;
	super->block_sectors = (uint16_t)recipe_words_sectors(w, "block", 1, 128);
	if (!is_pow2(bucket_sectors) || !is_pow2(super->block_sectors))
		recipe_words_fail(w, "cache", "bucket and block must be powers of two; use set");
	super->bucket_field = (uint16_t)bucket_sectors;
	if (bucket_sectors > UINT16_MAX) {
		super->version = 5;
		super->feature_incompat = BCFMT_FEATURE_LARGE_BUCKET;
		super->bucket_field = (uint16_t)log2_floor(max_u64(bucket_sectors, 1));
	}
	super->first_bucket = (uint16_t)recipe_words_u64(
		w, "first", 23 / max_u64(bucket_sectors, 1) + 1, UINT16_MAX);
	super->keys = (uint16_t)recipe_words_u64(w, "journal",
						 max_u64(2, min_u64(nbuckets >> 7, 256)), 256);
	p->recipe->device[RECIPE_CACHE].bytes = recipe_words_bytes(
		w, "size", nbuckets * bucket_sectors * BCFMT_SECTOR_BYTES, RECIPE_DEVICE_BYTES_MAX);
}

/* Fields as a kernel leaves them after the first registration; fresh: as make-bcache does. */
void parse_cache(struct recipe_parser *p)
{
	struct recipe_device *device = &p->recipe->device[RECIPE_CACHE];
	struct bcfmt_super *super = &device->super;
	struct recipe_words *w = &p->words;
	struct bcfmt_super decoded;
	uint8_t raw[BCFMT_SUPER_BYTES] = { 0 };
	uint32_t page_bytes;

	if (device->is_used || p->recipe->base[0] || p->recipe->n_devices > 1)
		recipe_words_fail(w, "cache", "must come once, before backing, and not after base");
	device->is_used = true;
	*super = (struct bcfmt_super){ .offset_sector = 8, .version = 3, .seq = 1, .nr_in_set = 1 };
	memcpy(super->magic, super_magic, sizeof(super_magic));
	recipe_seed_uuid(SET_SEED, super->set_uuid);
	recipe_seed_uuid(CACHE_SEED, super->uuid);
	cache_sizes(p, super);
	p->recipe->is_fresh = recipe_words_flag(w, "fresh");
	if (p->recipe->is_fresh) {
		super->version = 0;
		super->seq = 0;
		super->keys = 0;
	}
	super->version = recipe_words_u64(w, "version", super->version, UINT64_MAX);
	super->flags = recipe_words_u64(w, "flags", p->recipe->is_fresh ? 0 : 1, UINT64_MAX);
	super->seq = recipe_words_u64(w, "seq", super->seq, UINT64_MAX);
	super->last_mount = (uint32_t)recipe_words_u64(
		w, "mount", p->recipe->is_fresh ? 0 : MOUNT_SECONDS, UINT32_MAX);
	recipe_words_uuid(w, "set", super->set_uuid);
	recipe_words_uuid(w, "uuid", super->uuid);
	copy_label(p, super->label);
	page_bytes = (uint32_t)recipe_words_bytes(w, "page", 4096, 65536);
	for (unsigned int i = 0; i < super->keys; i++)
		super->journal_bucket[i] = (uint64_t)super->first_bucket + i;
	bcfmt_super_encode(super, raw);
	bcfmt_super_decode(raw, &decoded);
	if (bcfmt_geometry_init(&decoded, device->bytes, page_bytes, &p->recipe->geo))
		recipe_words_fail(w, "cache", "gives no geometry; build a sane one and use set");
}

/* What a word means as a number; the words end with NULL. */
static uint64_t choice(struct recipe_words *w, const char *name, uint64_t otherwise,
		       const char *const *names)
{
	const char *text = recipe_words_text(w, name);

	if (!text)
		return otherwise;
	for (unsigned int i = 0; names[i]; i++)
		if (!strcmp(text, names[i]))
			return i;
	recipe_words_fail(w, text, "is none of the words that fit here");
	return otherwise;
}

/* Fields as bcache-tools 1.0.8 and an attach leave them. */
void parse_backing(struct recipe_parser *p)
{
	static const char *const states[] = { "none", "clean", "dirty", "stale", NULL };
	static const char *const modes[] = { "writethrough", "writeback", "writearound", "none",
					     NULL };
	const struct bcfmt_super *cache = &p->recipe->device[RECIPE_CACHE].super;
	struct recipe_words *w = &p->words;
	struct recipe_device *device;
	struct bcfmt_super *super;
	uint64_t offset_sectors;
	uint64_t state;

	if (p->recipe->base[0] || p->recipe->n_devices > RECIPE_BACKING_MAX) {
		recipe_words_fail(w, "backing", "at most 8, and not after base");
		return;
	}
	device = &p->recipe->device[p->recipe->n_devices];
	super = &device->super;
	device->is_used = true;
	device->bytes = recipe_words_bytes(w, "size", BACKING_BYTES, RECIPE_DEVICE_BYTES_MAX);
	offset_sectors = recipe_words_sectors(w, "offset", 16, UINT32_MAX);
	state = choice(w, "state", BCFMT_BDEV_NONE, states);
	*super = (struct bcfmt_super){ .offset_sector = 8, .version = 1 };
	memcpy(super->magic, super_magic, sizeof(super_magic));
	if (offset_sectors != 16) {
		super->version = 4;
		super->nbuckets_or_data_offset = offset_sectors;
	}
	super->version = recipe_words_u64(w, "version", super->version, UINT64_MAX);
	super->block_sectors = (uint16_t)recipe_words_sectors(
		w, "block", cache->block_sectors ? cache->block_sectors : 1, UINT16_MAX);
	super->bucket_field = cache->bucket_field;
	super->flags = state << 61 | choice(w, "mode", 1, modes);
	super->flags = recipe_words_u64(w, "flags", super->flags, UINT64_MAX);
	recipe_seed_uuid(BACKING_SEED + p->recipe->n_devices - 1, super->uuid);
	if (state != BCFMT_BDEV_NONE && p->recipe->device[RECIPE_CACHE].is_used)
		memcpy(super->set_uuid, cache->set_uuid, sizeof(super->set_uuid));
	else if (state != BCFMT_BDEV_NONE)
		recipe_seed_uuid(SET_SEED, super->set_uuid);
	recipe_words_uuid(w, "set", super->set_uuid);
	recipe_words_uuid(w, "uuid", super->uuid);
	copy_label(p, super->label);
	p->recipe->n_devices++;
}

/* "cache", "backing0" ...: the device's number; fails for one that is not there. */
uint32_t parse_device(struct recipe_parser *p, const char *name)
{
	uint64_t number;

	if (!strcmp(name, "cache"))
		return RECIPE_CACHE;
	if (!strncmp(name, "backing", 7) && recipe_number(name + 7, &number) &&
	    number < RECIPE_BACKING_MAX &&
	    (p->recipe->base[0] || p->recipe->device[number + 1].is_used))
		return (uint32_t)number + 1;
	recipe_words_fail(&p->words, name, "is no device");
	return RECIPE_CACHE;
}

void parse_uuid(struct recipe_parser *p)
{
	struct recipe_words *w = &p->words;
	struct recipe_slot *slot = parse_push(p, &p->recipe->slots, sizeof(*slot));
	const char *device = recipe_words_text(w, "device");
	uint64_t volume_sectors;

	if (!slot)
		return;
	recipe_words_need(w, "slot");
	slot->slot = (uint32_t)recipe_words_u64(w, "slot", 0, p->recipe->geo.nr_uuids - 1);
	if (device) {
		const struct bcfmt_super *super = &p->recipe->device[parse_device(p, device)].super;

		memcpy(slot->entry.uuid, super->uuid, sizeof(super->uuid));
		memcpy(slot->entry.label, super->label, sizeof(super->label));
	} else if (recipe_words_flag(w, "detached")) {
		memcpy(slot->entry.uuid, bcfmt_uuid_invalid(), BCFMT_UUID_BYTES);
		slot->entry.invalidated = MOUNT_SECONDS;
	} else {
		recipe_words_need(w, "uuid");
	}
	recipe_words_uuid(w, "uuid", slot->entry.uuid);
	copy_label(p, slot->entry.label);
	volume_sectors = recipe_words_sectors(w, "volume", UINT64_MAX, UINT64_MAX - 1);
	if (volume_sectors != UINT64_MAX) {
		slot->entry.flags = BCFMT_UUID_FLASH_ONLY;
		slot->entry.sectors = volume_sectors;
	}
	slot->entry.flags = (uint32_t)recipe_words_u64(w, "flags", slot->entry.flags, UINT32_MAX);
	slot->entry.first_reg = (uint32_t)recipe_words_u64(w, "first", MOUNT_SECONDS, UINT32_MAX);
	slot->entry.last_reg = (uint32_t)recipe_words_u64(w, "last", MOUNT_SECONDS, UINT32_MAX);
	slot->entry.invalidated =
		(uint32_t)recipe_words_u64(w, "invalidated", slot->entry.invalidated, UINT32_MAX);
}

void parse_uuids(struct recipe_parser *p)
{
	struct recipe_words *w = &p->words;

	p->recipe->uuids_bucket =
		recipe_words_u64(w, "bucket", RECIPE_AUTO, p->recipe->geo.nbuckets - 1);
	p->recipe->uuids_gen = (uint32_t)recipe_words_u64(w, "gen", 1, 255);
	p->recipe->uuids_version = (uint32_t)recipe_words_u64(w, "version", 1, 1);
}

void parse_prio(struct recipe_parser *p)
{
	struct recipe_words *w = &p->words;
	struct recipe_prio *prio = parse_push(p, &p->recipe->prios, sizeof(*prio));
	const char *list = recipe_words_text(w, "bucket");
	uint64_t chain = bcfmt_geometry_prio_buckets(&p->recipe->geo);

	if (!prio)
		return;
	prio->line = w->line;
	prio->seq = recipe_words_u64(w, "seq", p->recipe->prios.n, UINT64_MAX);
	prio->next = recipe_words_u64(w, "next", 0, UINT64_MAX);
	while (list && *list) {
		char number[24] = "";
		size_t len = strcspn(list, ",");
		uint64_t bucket = 0;

		if (len < sizeof(number))
			memcpy(number, list, len);
		if (!recipe_number(number, &bucket) || bucket >= p->recipe->geo.nbuckets ||
		    prio->n_buckets == RECIPE_CHAIN_MAX) {
			recipe_words_fail(w, list, "is no list of buckets (40 or 40,41)");
			return;
		}
		prio->bucket[prio->n_buckets++] = bucket;
		list += len + (list[len] == ',');
	}
	if (chain > RECIPE_CHAIN_MAX)
		recipe_words_fail(w, "prio", "more than 16 buckets in the chain");
	else if (prio->n_buckets && prio->n_buckets != chain)
		recipe_words_fail(w, "bucket", "is not as many as the chain has");
}

void parse_gen(struct recipe_parser *p)
{
	struct recipe_words *w = &p->words;
	struct recipe_gen *gen = parse_push(p, &p->recipe->gens, sizeof(*gen));

	if (!gen)
		return;
	recipe_words_need(w, "bucket");
	gen->bucket = recipe_words_u64(w, "bucket", 0, p->recipe->geo.nbuckets - 1);
	gen->gen = recipe_words_u64(w, "gen", RECIPE_AUTO, 255);
	gen->prio = recipe_words_u64(w, "prio", RECIPE_AUTO, 65535);
}

void parse_data(struct recipe_parser *p)
{
	struct recipe_words *w = &p->words;
	struct recipe_data *data = parse_push(p, &p->recipe->datas, sizeof(*data));
	uint64_t bucket = recipe_words_u64(w, "bucket", RECIPE_AUTO, p->recipe->geo.nbuckets - 1);
	uint64_t bucket_bytes = (uint64_t)p->recipe->geo.bucket_sectors * BCFMT_SECTOR_BYTES;
	uint64_t end_bytes;

	if (!data)
		return;
	recipe_words_need(w, "seed");
	data->seed = recipe_words_u64(w, "seed", 0, UINT32_MAX);
	data->at_bytes = recipe_words_bytes(w, "at", 0, RECIPE_DEVICE_BYTES_MAX);
	if (bucket == RECIPE_AUTO) {
		const char *name = recipe_words_next(w, "device or bucket=");

		recipe_words_need(w, "len");
		data->device = name ? parse_device(p, name) : RECIPE_CACHE;
	} else {
		data->at_bytes += bucket * bucket_bytes;
	}
	data->len_bytes = recipe_words_bytes(w, "len", bucket_bytes, 1u << 28);
	if (data->at_bytes % BCFMT_SECTOR_BYTES || data->len_bytes % BCFMT_SECTOR_BYTES ||
	    add_overflows(data->at_bytes, data->len_bytes, &end_bytes) ||
	    end_bytes > p->recipe->device[data->device].bytes)
		recipe_words_fail(w, "data", "is not whole sectors inside the device");
}
