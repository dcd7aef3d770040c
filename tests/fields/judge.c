/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What nothing on the devices can prove. A change is excused by what it is, never by its name: each
 * rule says why the changed set is one that a kernel could have left.
 */
#include <stdlib.h>
#include <string.h>

#include <bcfmt/jset.h>
#include <bcfmt/key.h>

#include "base/bytes.h"
#include "base/checked.h"
#include "fields/fields.h"

#define EXCUSE_TORN "the newest entry does not verify any more: so does one that a power cut tore"
#define EXCUSE_ENTRY \
	"another key in an entry to replay: nothing else has the keys of an entry before a node does"
#define EXCUSE_CLEANED "a leaf's key is clean now: writeback leaves it like that"
#define EXCUSE_MOVED "a leaf's key points to another bucket now: moving gc leaves it like that"
#define EXCUSE_FORGOTTEN "another key in a leaf, and no entry that is left in the ring knows it"
#define EXCUSE_GIVEN_UP                                                                          \
	"a key of a leaf's first bset is gone that the ring knows, and with it all dirty data of its " \
	"bucket: cleaned, given up, the leaf rewritten, and the new gen is not on the disk yet"
#define EXCUSE_RESIZED \
	"another size of a flash-only volume: it can be resized, and nothing else has the size"
#define EXCUSE_SEQ \
	"a bset with another seq: where it changes a node ends, and what follows is of an older one"

struct excuser {
	struct recipe_build *build;
	const struct change *change;
	struct bcfmt_key before; /* the key that a change lies in */
	uint64_t key_bytes;	 /* where that is */
	struct bcfmt_key after;
};

static const struct recipe_thing *newest_jset(const struct recipe_build *build)
{
	const struct recipe_thing *newest = NULL;

	for (size_t i = 0; i < build->things.n; i++) {
		const struct recipe_thing *thing =
			VEC_AT(&build->things, const struct recipe_thing, i);

		if (thing->kind == RECIPE_JSET && (!newest || thing->number > newest->number))
			newest = thing;
	}
	return newest;
}

/* Decodes an entry with the change in it, when change is not NULL; *buf is freed by the caller. */
static bool load_jset(struct recipe_build *build, const struct recipe_thing *thing,
		      const struct change *change, struct bcfmt_jset *jset, uint8_t **buf)
{
	size_t len_bytes = (size_t)min_u64(thing->room_bytes, 1u << 20);
	bool is_good;

	*buf = malloc(len_bytes);
	if (!*buf)
		return false;
	if (change)
		change_apply(build, change);
	is_good = recipe_image_read(build, thing->device, thing->at_bytes, *buf, len_bytes) &&
		  bcfmt_jset_decode(&build->geo, *buf, len_bytes, jset) == BCFMT_JSET_OK;
	if (change)
		change_undo(build, change);
	return is_good;
}

/* The key before the change and after it; false when the change is in none. */
static bool load_key(struct excuser *e)
{
	char path[FIELD_PATH_BYTES];
	struct recipe_field_place place;
	uint8_t raw[24];
	char *dot;

	if (!strstr(e->change->path, ".key["))
		return false;
	memcpy(path, e->change->path, sizeof(path));
	dot = strrchr(path, '.');
	strcpy(dot, ".high");
	if (!recipe_field_find(e->build, path, &place) ||
	    !recipe_image_read(e->build, place.thing->device, place.at_bytes, raw, sizeof(raw)))
		return false;
	e->key_bytes = place.at_bytes;
	bcfmt_key_decode(raw, 3, &e->before);
	memcpy(raw + (e->change->at_bytes - place.at_bytes), e->change->after,
	       min_u64(e->change->len_bytes, sizeof(raw)));
	return bcfmt_key_decode(raw, 3, &e->after);
}

/* The ring has a key that put a sector of the old one where that has it. */
static bool is_in_ring(struct excuser *e)
{
	uint64_t start = bcfmt_key_start_sector(&e->before);
	bool is_there = false;

	for (size_t i = 0; i < e->build->things.n && !is_there; i++) {
		const struct recipe_thing *thing =
			VEC_AT(&e->build->things, const struct recipe_thing, i);
		struct bcfmt_jset jset;
		struct bcfmt_key_iter it;
		struct bcfmt_key key;
		uint8_t *buf;

		if (thing->kind != RECIPE_JSET)
			continue;
		if (!load_jset(e->build, thing, NULL, &jset, &buf)) {
			free(buf);
			continue;
		}
		it = bcfmt_key_iter_init(jset.keys, jset.keys_field);
		while (bcfmt_key_iter_next(&it, &key) && !is_there)
			is_there = bcfmt_key_inode(&key) == bcfmt_key_inode(&e->before) &&
				   bcfmt_key_start_sector(&key) < e->before.low &&
				   key.low > start && bcfmt_key_has_data(&key) &&
				   key.ptr - (bcfmt_key_start_sector(&key) << 8) ==
					   e->before.ptr - (start << 8);
		free(buf);
	}
	return is_there;
}

/* ---- keys that are gone ---- */

/* Words of the changed bset that hold no keys any more. */
struct gone {
	uint32_t begin;
	uint32_t end;
	uint16_t *gens; /* of each bucket where dirty data of theirs lies: 1 + its gen */
	uint64_t node;	/* pointer to a node that may have been freed */
	bool is_freed;	/* and it was */
};

typedef bool (*key_fn)(struct excuser *e, struct gone *gone, const struct recipe_thing *thing,
		       uint32_t word, const struct bcfmt_key *key);

/* Calls fn for all keys with data of a bset as it was; false when it says so, or is damaged. */
static bool each_key(struct excuser *e, struct gone *gone, const struct recipe_thing *thing,
		     key_fn fn)
{
	struct bcfmt_key_iter it;
	struct bcfmt_key key;
	uint8_t head[32], *raw = NULL;
	uint64_t bytes = 0;
	bool is_good;

	is_good = recipe_image_read(e->build, thing->device, thing->at_bytes, head, 32);
	if (is_good)
		bytes = 8ull * load_le32(head + 28);
	if (is_good && bytes <= thing->room_bytes - 32)
		raw = malloc(bytes + 1);
	is_good =
		raw && recipe_image_read(e->build, thing->device, thing->at_bytes + 32, raw, bytes);
	it = bcfmt_key_iter_init(raw, (uint32_t)(bytes / 8));
	while (is_good && bcfmt_key_iter_next(&it, &key))
		if (bcfmt_key_has_data(&key))
			is_good = fn(e, gone, thing, it.word, &key);
	free(raw);
	return is_good;
}

static bool is_within(const struct excuser *e, const struct gone *gone,
		      const struct recipe_thing *thing, uint32_t word)
{
	return thing == e->change->thing && word >= gone->begin && word < gone->end;
}

static bool is_dirty(const struct bcfmt_key *key)
{
	return bcfmt_key_is_dirty(key) && bcfmt_key_sectors(key);
}

static bool mark_bucket(struct excuser *e, struct gone *gone, const struct recipe_thing *thing,
			uint32_t word, const struct bcfmt_key *key)
{
	uint64_t bucket = bcfmt_ptr_bucket(&e->build->geo, key->ptr);

	if (is_dirty(key) && is_within(e, gone, thing, word) && bucket < e->build->geo.nbuckets)
		gone->gens[bucket] = (uint16_t)(1 + bcfmt_ptr_gen(key->ptr));
	return true;
}

static bool is_elsewhere(struct excuser *e, struct gone *gone, const struct recipe_thing *thing,
			 uint32_t word, const struct bcfmt_key *key)
{
	uint64_t bucket = bcfmt_ptr_bucket(&e->build->geo, key->ptr);

	if (!is_dirty(key) || is_within(e, gone, thing, word) || bucket >= e->build->geo.nbuckets ||
	    !gone->gens[bucket])
		return true;
	/* A key of an earlier use of the bucket is stale, and keeps nothing. */
	return bcfmt_gen_after(gone->gens[bucket] - 1u, bcfmt_ptr_gen(key->ptr));
}

static bool find_tombstone(struct excuser *e, struct gone *gone, const struct recipe_thing *thing,
			   uint32_t word, const struct bcfmt_key *key)
{
	(void)thing;
	(void)word;
	if (bcfmt_key_is_zero_pos(key) &&
	    bcfmt_ptr_bucket(&e->build->geo, key->ptr) ==
		    bcfmt_ptr_bucket(&e->build->geo, gone->node) &&
	    bcfmt_gen_after(bcfmt_ptr_gen(key->ptr), bcfmt_ptr_gen(gone->node)))
		gone->is_freed = true;
	return true;
}

/*
 * Of a node that was split, merged or written anew the parent keeps the pointer until it is written
 * anew itself, but the tombstone beside it raised the gen: gc does not walk there any more, so its
 * keys keep no bucket. They are copies of those that the tree has, as old as the freeing. kernel:
 * make_btree_freeing_key(), bch_initial_mark_key(), btree_gc_recurse().
 */
static bool is_freed(struct excuser *e, struct gone *gone, const struct recipe_thing *node)
{
	bool is_good = true;

	gone->node = node->seed;
	gone->is_freed = false;
	for (size_t i = 0; i < e->build->things.n && is_good && !gone->is_freed; i++) {
		const struct recipe_thing *thing =
			VEC_AT(&e->build->things, const struct recipe_thing, i);

		if (thing->kind == RECIPE_BSET)
			is_good = each_key(e, gone, thing, find_tombstone);
	}
	return is_good && gone->is_freed;
}

/* No key elsewhere in the tree that is not stale, overwritten or not, keeps their buckets. */
static bool are_alone(struct excuser *e, uint32_t begin, uint32_t end)
{
	struct gone gone = { begin, end, calloc(e->build->geo.nbuckets, sizeof(uint16_t)), 0,
			     false };
	bool are_alone = gone.gens && each_key(e, &gone, e->change->thing, mark_bucket);

	for (size_t i = 0; i < e->build->things.n && are_alone; i++) {
		const struct recipe_thing *thing =
			VEC_AT(&e->build->things, const struct recipe_thing, i);

		if (thing->kind == RECIPE_BSET)
			are_alone = each_key(e, &gone, thing, is_elsewhere) ||
				    is_freed(e, &gone, thing);
	}
	free(gone.gens);
	return are_alone;
}

/*
 * What was there is not there any more, and nothing that could be read is in its place. No
 * placeholder is dirty.
 */
static bool is_gone(const struct excuser *e)
{
	return !bcfmt_key_sectors(&e->after) ||
	       (e->before.low == e->after.low && !bcfmt_ptr_is_available(e->after.ptr) &&
		!bcfmt_key_is_dirty(&e->after));
}

/*
 * Only a rewrite drops a key, and puts what is left into one bset, the first. What is behind it
 * came later.
 */
static bool is_first_bset(const struct excuser *e)
{
	return e->change->thing->number == 0;
}

static const char *excuse_jset(struct excuser *e)
{
	const struct recipe_thing *newest = newest_jset(e->build);
	struct bcfmt_jset jset;
	bool is_good;
	uint64_t last_seq;
	uint8_t *buf;

	is_good = load_jset(e->build, newest, e->change, &jset, &buf);
	free(buf);
	if (e->change->thing == newest && !is_good)
		return EXCUSE_TORN;
	is_good = load_jset(e->build, newest, NULL, &jset, &buf);
	last_seq = jset.last_seq;
	free(buf);
	/* Fewer keys of an entry are other keys, too. */
	if (is_good && e->change->is_mended && e->change->thing->number >= last_seq &&
	    (load_key(e) || e->change->at_bytes == e->change->thing->at_bytes + 28))
		return EXCUSE_ENTRY;
	return NULL;
}

static const char *excuse_bset(struct excuser *e)
{
	struct bcfmt_key cleaned;
	uint32_t word;

	if (!e->change->is_mended)
		return NULL;
	if (e->change->at_bytes == e->change->thing->at_bytes + 16)
		return EXCUSE_SEQ;
	/* The field keys: the last ones are gone. */
	if (e->change->at_bytes == e->change->thing->at_bytes + 28 &&
	    load_le32(e->change->after) < load_le32(e->change->before))
		return is_first_bset(e) && are_alone(e, load_le32(e->change->after),
						     load_le32(e->change->before))
			       ? EXCUSE_GIVEN_UP
			       : NULL;
	if (!load_key(e))
		return NULL;
	cleaned = e->before;
	cleaned.high &= ~(1ull << 36);
	if (bcfmt_key_is_dirty(&e->before) && cleaned.high == e->after.high &&
	    cleaned.low == e->after.low && cleaned.ptr == e->after.ptr)
		return EXCUSE_CLEANED;
	if (e->before.high == e->after.high && e->before.low == e->after.low &&
	    bcfmt_key_has_data(&e->after) &&
	    bcfmt_ptr_bucket(&e->build->geo, e->before.ptr) !=
		    bcfmt_ptr_bucket(&e->build->geo, e->after.ptr))
		return EXCUSE_MOVED;
	if (!is_in_ring(e))
		return EXCUSE_FORGOTTEN;
	word = (uint32_t)(e->key_bytes - e->change->thing->at_bytes - 32) / 8;
	if (is_gone(e) && is_first_bset(e) && are_alone(e, word, word + bcfmt_key_words(&e->before)))
		return EXCUSE_GIVEN_UP;
	return NULL;
}

/* All its keys lie within it, or that would have been found. */
static const char *excuse_uuid(struct excuser *e)
{
	const char *name = strrchr(e->change->path, '.');
	uint64_t sectors = load_le64(e->change->after);

	if (name && !strcmp(name, ".sectors") && load_le64(e->change->before) &&
	    sectors <= BCFMT_VOLUME_MAX_SECTORS)
		return EXCUSE_RESIZED;
	return NULL;
}

const char *change_excuse(struct recipe_build *build, const struct change *change)
{
	struct excuser e = { .build = build, .change = change };

	if (change->thing->kind == RECIPE_JSET)
		return excuse_jset(&e);
	if (change->thing->kind == RECIPE_UUIDS)
		return excuse_uuid(&e);
	return change->thing->kind == RECIPE_BSET ? excuse_bset(&e) : NULL;
}
