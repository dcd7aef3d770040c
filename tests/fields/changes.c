/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Which fields of a real set are changed, and to what. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/bytes.h"
#include "fields/fields.h"

struct list {
	struct recipe_build *build;
	struct vec changes; /* struct change */
	uint64_t seed;
};

static uint64_t next_random(struct list *list)
{
	list->seed = recipe_mix(list->seed);
	return list->seed;
}

/* ---- values ---- */

static void load_value(const struct change *change, unsigned int shift, unsigned int bits,
		       uint64_t *value)
{
	uint8_t raw[8] = { 0 };

	memcpy(raw, change->before, change->len_bytes < 8 ? change->len_bytes : 8);
	*value = load_le64(raw) >> shift;
	if (bits < 64)
		*value &= (1ull << bits) - 1;
}

/* The bits of a number within its bytes. */
static void store_value(struct change *change, unsigned int shift, unsigned int bits,
			uint64_t value)
{
	uint64_t mask = bits < 64 ? (1ull << bits) - 1 : UINT64_MAX;
	uint8_t raw[8] = { 0 };

	memcpy(raw, change->before, change->len_bytes);
	store_le64(raw, (load_le64(raw) & ~(mask << shift)) | (value & mask) << shift);
	memcpy(change->after, raw, change->len_bytes);
}

/* With a right checksum and without, unless nothing changes. A table without one has no other. */
static void add_change(struct list *list, const struct change *change)
{
	bool has_csum = change->thing->kind != RECIPE_UUIDS;
	bool is_csum = has_csum && change->at_bytes == change->thing->at_bytes;

	if (!memcmp(change->before, change->after, change->len_bytes))
		return;
	for (int is_mended = is_csum ? 0 : has_csum; is_mended >= 0; is_mended--) {
		struct change *added = vec_push(&list->changes, sizeof(*added));

		if (!added) {
			recipe_build_fail(list->build, 0, "changes", "out of memory");
			return;
		}
		*added = *change;
		added->is_mended = is_mended;
	}
}

static void add_numbers(struct list *list, struct change *change, unsigned int shift,
			unsigned int bits)
{
	uint64_t old;
	const struct {
		const char *kind;
		uint64_t value;
	} values[] = {
		{ "zero", 0 },
		{ "one", 1 },
		{ "all ones", UINT64_MAX },
		{ "a bit flipped", 1ull << next_random(list) % bits },
		{ "one more", 1 },
		{ "one less", UINT64_MAX },
		{ "random", next_random(list) },
	};

	load_value(change, shift, bits, &old);
	for (size_t i = 0; i < sizeof(values) / sizeof(values[0]); i++) {
		uint64_t value = values[i].value;

		if (i == 3)
			value ^= old;
		if (i == 4 || i == 5)
			value += old;
		change->kind = values[i].kind;
		store_value(change, shift, bits, value);
		add_change(list, change);
	}
}

/* Uuids and texts. */
static void add_bytes(struct list *list, struct change *change)
{
	uint64_t bit = next_random(list) % (8ull * change->len_bytes);

	change->kind = "zero";
	memset(change->after, 0, change->len_bytes);
	add_change(list, change);
	change->after[0] = 1;
	change->kind = "one";
	add_change(list, change);
	change->kind = "all ones";
	memset(change->after, 0xff, change->len_bytes);
	add_change(list, change);
	change->kind = "a bit flipped";
	memcpy(change->after, change->before, change->len_bytes);
	change->after[bit / 8] ^= (uint8_t)(1u << bit % 8);
	add_change(list, change);
	change->kind = "random";
	for (uint32_t i = 0; i < change->len_bytes; i++)
		change->after[i] = (uint8_t)next_random(list);
	add_change(list, change);
}

/* ---- fields ---- */

static void add_field(struct list *list, const char *path)
{
	struct recipe_build *build = list->build;
	struct recipe_field_place place;
	struct change change = { 0 };

	if (!recipe_field_find(build, path, &place))
		return;
	snprintf(change.path, sizeof(change.path), "%s", path);
	change.thing = place.thing;
	change.at_bytes = place.at_bytes;
	change.len_bytes = (place.shift + place.bits + 7) / 8;
	if (!recipe_image_read(build, place.thing->device, place.at_bytes, change.before,
			       change.len_bytes) ||
	    !recipe_image_read(build, place.thing->device, place.thing->at_bytes,
			       change.csum_before, sizeof(change.csum_before)))
		return;
	if (place.bits <= 64)
		add_numbers(list, &change, place.shift, place.bits);
	else
		add_bytes(list, &change);
}

static void add_table(struct list *list, const char *prefix, enum recipe_field_table table)
{
	char path[FIELD_PATH_BYTES];
	const char *name;

	for (size_t i = 0; (name = recipe_field_name(table, i)); i++) {
		snprintf(path, sizeof(path), "%.63s.%.31s", prefix, name);
		add_field(list, path);
	}
}

/* The first, the last and one in between. */
static void add_keys(struct list *list, const char *prefix, const struct recipe_thing *thing)
{
	uint64_t n = recipe_keys_count(list->build, thing);
	uint64_t which[] = { 0, n / 2, n - 1 };
	char path[FIELD_PATH_BYTES];

	for (size_t i = 0; n && i < 3; i++) {
		if (i && which[i] == which[i - 1])
			continue;
		snprintf(path, sizeof(path), "%.40s.key[%llu]", prefix,
			 (unsigned long long)which[i]);
		add_table(list, path, RECIPE_KEY_FIELDS);
	}
}

static void add_super(struct list *list, const struct recipe_thing *thing)
{
	char prefix[FIELD_PATH_BYTES], path[FIELD_PATH_BYTES + 16];

	if (thing->device == RECIPE_CACHE)
		snprintf(prefix, sizeof(prefix), "super");
	else
		snprintf(prefix, sizeof(prefix), "backing%u.super", thing->device - 1);
	add_table(list, prefix, RECIPE_SUPER_FIELDS);
	if (thing->device != RECIPE_CACHE)
		return;
	for (unsigned int i = 0; i < 2; i++) {
		snprintf(path, sizeof(path), "%.40s.journal[%u]", prefix, i);
		add_field(list, path);
	}
}

static void add_jset(struct list *list, const struct recipe_thing *thing)
{
	char prefix[FIELD_PATH_BYTES / 2], path[FIELD_PATH_BYTES];

	snprintf(prefix, sizeof(prefix), "journal[seq:%llu]", (unsigned long long)thing->number);
	add_table(list, prefix, RECIPE_JSET_FIELDS);
	snprintf(path, sizeof(path), "%.47s.uuid_bucket", prefix);
	add_table(list, path, RECIPE_KEY_FIELDS);
	snprintf(path, sizeof(path), "%.47s.btree_root", prefix);
	add_table(list, path, RECIPE_KEY_FIELDS);
	snprintf(path, sizeof(path), "%.47s.prio_bucket[0]", prefix);
	add_field(list, path);
	add_keys(list, prefix, thing);
}

static void add_prio_set(struct list *list, unsigned int index, const struct recipe_thing *thing)
{
	char prefix[FIELD_PATH_BYTES / 2], path[FIELD_PATH_BYTES];
	unsigned int n = (unsigned int)(thing->room_bytes - 40) / 3;
	const unsigned int entries[] = { 0, 1, 40, 100, n / 2, n - 1 };

	snprintf(prefix, sizeof(prefix), "prio[%u]", index);
	add_table(list, prefix, RECIPE_PRIO_FIELDS);
	for (size_t i = 0; i < sizeof(entries) / sizeof(entries[0]); i++) {
		if (entries[i] >= n)
			continue;
		snprintf(path, sizeof(path), "%.40s.entry[%u]", prefix, entries[i]);
		add_table(list, path, RECIPE_ENTRY_FIELDS);
	}
}

static void add_uuids(struct list *list)
{
	char path[FIELD_PATH_BYTES];

	for (unsigned int i = 0; i < 4; i++) {
		snprintf(path, sizeof(path), "uuid[%u]", i);
		add_table(list, path, RECIPE_UUID_FIELDS);
	}
}

static void add_bset(struct list *list, const struct recipe_thing *thing)
{
	char prefix[FIELD_PATH_BYTES / 2];

	snprintf(prefix, sizeof(prefix), "node[bucket:%llu].bset[%llu]",
		 (unsigned long long)thing->bucket, (unsigned long long)thing->number);
	add_table(list, prefix, RECIPE_BSET_FIELDS);
	add_keys(list, prefix, thing);
}

/* ---- which structures ---- */

static const struct recipe_thing *nth(const struct recipe_build *build, size_t i)
{
	return VEC_AT(&build->things, const struct recipe_thing, i);
}

static int by_seq(const void *a, const void *b)
{
	const struct recipe_thing *const *left = a, *const *right = b;

	return (*left)->number < (*right)->number ? -1 : (*left)->number > (*right)->number;
}

/* The newest entries, the oldest that is replayed, one in between, the oldest of the ring. */
static void add_journal(struct list *list)
{
	const struct recipe_build *build = list->build;
	const struct recipe_thing **jsets = calloc(build->things.n + 1, sizeof(*jsets));
	uint64_t last_seq;
	uint8_t raw[8];
	size_t n = 0, oldest = 0;

	if (!jsets)
		recipe_build_fail(list->build, 0, "changes", "out of memory");
	for (size_t i = 0; jsets && i < build->things.n; i++)
		if (nth(build, i)->kind == RECIPE_JSET)
			jsets[n++] = nth(build, i);
	if (n) {
		qsort(jsets, n, sizeof(*jsets), by_seq);
		recipe_image_read(list->build, RECIPE_CACHE, jsets[n - 1]->at_bytes + 32, raw, 8);
		last_seq = load_le64(raw);
		while (oldest + 1 < n && jsets[oldest]->number < last_seq)
			oldest++;
		for (size_t i = 0; i < n; i++)
			if (i + 2 >= n || i == oldest || i == oldest + (n - oldest) / 2 || !i ||
			    i + 1 == oldest)
				add_jset(list, jsets[i]);
	}
	free(jsets);
}

/* Of the nodes: the root, and of the others some; of each its first and its last bset. */
static void add_nodes(struct list *list)
{
	const struct recipe_build *build = list->build;
	size_t n_nodes = 0, node = 0;

	for (size_t i = 0; i < build->things.n; i++)
		n_nodes += nth(build, i)->kind == RECIPE_BSET && !nth(build, i)->number;
	for (size_t i = 0; i < build->things.n; i++) {
		const struct recipe_thing *thing = nth(build, i);
		bool is_last = i + 1 == build->things.n || nth(build, i + 1)->kind != RECIPE_BSET ||
			       !nth(build, i + 1)->number;

		if (thing->kind != RECIPE_BSET)
			continue;
		node += !thing->number;
		if (node > 3 && node < n_nodes - 1 && node != n_nodes / 2)
			continue;
		if (!thing->number || is_last)
			add_bset(list, thing);
	}
}

struct change *changes_list(struct recipe_build *build, uint64_t seed, size_t *n)
{
	struct list list = { .build = build, .seed = seed };
	unsigned int n_prios = 0;

	for (size_t i = 0; i < build->things.n; i++) {
		const struct recipe_thing *thing = nth(build, i);

		if (thing->kind == RECIPE_SUPER)
			add_super(&list, thing);
		else if (thing->kind == RECIPE_PRIO_SET)
			add_prio_set(&list, n_prios++, thing);
		else if (thing->kind == RECIPE_UUIDS)
			add_uuids(&list);
	}
	add_journal(&list);
	add_nodes(&list);
	*n = list.changes.n;
	if (build->has_failed) {
		fprintf(stderr, "%s\n", build->error->text);
		vec_free(&list.changes);
		return NULL;
	}
	return list.changes.items;
}

void change_apply(struct recipe_build *build, const struct change *change)
{
	recipe_image_write(build, change->thing->device, change->at_bytes, change->after,
			   change->len_bytes);
	if (change->is_mended)
		recipe_mend(build, change->thing);
}

void change_undo(struct recipe_build *build, const struct change *change)
{
	recipe_image_write(build, change->thing->device, change->thing->at_bytes,
			   change->csum_before, sizeof(change->csum_before));
	recipe_image_write(build, change->thing->device, change->at_bytes, change->before,
			   change->len_bytes);
}
