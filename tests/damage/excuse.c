/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What nothing on the devices can prove, of damages of any sort. As in tests/fields/judge.c a damage
 * is excused by what it is, never by its name.
 */
#include <stdlib.h>
#include <string.h>

#include <bcfmt/jset.h>
#include <bcfmt/key.h>

#include "base/bytes.h"
#include "base/checked.h"
#include "damage/damage.h"

#define EXCUSE_TORN \
	"keys of the newest entry, which does not verify any more: so does one that a power cut tore"
#define EXCUSE_FEWER \
	"a bset with fewer keys and a right checksum, and no entry that is left in the ring knows them"

#define EXCUSE_WINDOW                                                                              \
	"last_seq is higher: then nodes have the keys before it, or what they named was cleaned, " \
	"given up and forgotten since"
#define EXCUSE_GIVEN_UP                                                                               \
	"a leaf's key is gone: so it is when its data was cleaned and its bucket given up, which no " \
	"other dirty data shares"

#define ENTRY_BYTES_MAX (1u << 20)

/* ---- keys ---- */

static bool key_touches(const struct bcfmt_key *key, const struct missed_range *range)
{
	return bcfmt_key_inode(key) == range->inode && bcfmt_key_start_sector(key) < range->end &&
	       key->low > range->start;
}

/* What keys in words cover of the missed ranges, which shrink by it. */
static void forgive(struct missed *missed, const uint8_t *raw, uint32_t words)
{
	struct bcfmt_key_iter it = bcfmt_key_iter_init(raw, words);
	struct bcfmt_key key;

	while (bcfmt_key_iter_next(&it, &key))
		for (size_t i = 0; i < missed->ranges.n; i++) {
			struct missed_range *range =
				VEC_AT(&missed->ranges, struct missed_range, i);
			struct missed_range rest = *range, *added;

			if (!key_touches(&key, range))
				continue;
			rest.start = key.low;
			range->end = max_u64(bcfmt_key_start_sector(&key), range->start);
			if (rest.start >= rest.end)
				continue;
			added = vec_push(&missed->ranges, sizeof(*added));
			if (added)
				*added = rest;
		}
}

static bool is_empty(const struct missed *missed)
{
	for (size_t i = 0; i < missed->ranges.n; i++) {
		const struct missed_range *range =
			VEC_AT(&missed->ranges, const struct missed_range, i);

		if (range->start < range->end)
			return false;
	}
	return true;
}

static struct missed copy_of(const struct missed *missed)
{
	struct missed copy = { 0 };

	for (size_t i = 0; i < missed->ranges.n; i++) {
		struct missed_range *range = vec_push(&copy.ranges, sizeof(*range));

		if (range)
			*range = *VEC_AT(&missed->ranges, struct missed_range, i);
	}
	return copy;
}

/* ---- structures of the image ---- */

/* The decoded entry; *buf is freed by the caller. */
static bool load_jset(struct recipe_build *build, const struct recipe_thing *thing,
		      struct bcfmt_jset *jset, uint8_t **buf)
{
	size_t bytes = (size_t)min_u64(thing->room_bytes, ENTRY_BYTES_MAX);

	*buf = malloc(bytes);
	return *buf && recipe_image_read(build, thing->device, thing->at_bytes, *buf, bytes) &&
	       bcfmt_jset_decode(&build->geo, *buf, bytes, jset) == BCFMT_JSET_OK;
}

/* Raw keys of a bset, freed by the caller. */
static uint8_t *load_bset(struct recipe_build *build, const struct recipe_thing *thing,
			  uint32_t *words)
{
	uint8_t raw[4], *buf;

	if (!recipe_image_read(build, thing->device, thing->at_bytes + 28, raw, sizeof(raw)))
		return NULL;
	*words = load_le32(raw);
	if (32 + 8ull * *words > thing->room_bytes)
		return NULL;
	buf = malloc(8 * (size_t)*words + 1);
	if (buf && !recipe_image_read(build, thing->device, thing->at_bytes + 32, buf,
				      8 * (size_t)*words)) {
		free(buf);
		return NULL;
	}
	return buf;
}

/* ---- the newest entry ---- */

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

static bool is_wounded(const struct inflicted *inflicted, const struct recipe_thing *thing,
		       uint64_t bytes)
{
	for (size_t i = 0; i < inflicted->wounds.n; i++) {
		const struct wound *wound = VEC_AT(&inflicted->wounds, const struct wound, i);

		if (wound->device == thing->device && wound->at_bytes < thing->at_bytes + bytes &&
		    thing->at_bytes < wound->at_bytes + wound->len_bytes)
			return true;
	}
	return false;
}

/* The damage hit the newest entry so that it does not verify, and only its keys are missed. */
static bool is_torn(struct recipe_build *build, const struct inflicted *inflicted,
		    const struct missed *missed)
{
	const struct recipe_thing *newest = newest_jset(build);
	struct missed rest = copy_of(missed);
	struct bcfmt_jset jset;
	uint8_t *buf = NULL;
	bool is_it = false;

	if (newest && !(inflicted->change.thing && inflicted->change.is_mended) &&
	    load_jset(build, newest, &jset, &buf) &&
	    is_wounded(inflicted, newest, 240 + 8ull * jset.keys_field)) {
		forgive(&rest, jset.keys, jset.keys_field);
		is_it = is_empty(&rest);
	}
	free(buf);
	vec_free(&rest.ranges);
	return is_it;
}

/* The window begins later, and only keys of entries before it are missed. */
static bool is_window(struct recipe_build *build, const struct change *change,
		      const struct missed *missed)
{
	const struct recipe_thing *newest = newest_jset(build);
	uint64_t before = load_le64(change->before), after = load_le64(change->after);
	struct missed rest;
	bool is_it;

	if (change->thing != newest || !change->is_mended ||
	    change->at_bytes != newest->at_bytes + 32 || after <= before || after > newest->number)
		return false;
	rest = copy_of(missed);
	for (size_t i = 0; i < build->things.n; i++) {
		const struct recipe_thing *thing =
			VEC_AT(&build->things, const struct recipe_thing, i);
		struct bcfmt_jset jset;
		uint8_t *buf = NULL;

		if (thing->kind == RECIPE_JSET && thing->number >= before &&
		    thing->number < after && load_jset(build, thing, &jset, &buf))
			forgive(&rest, jset.keys, jset.keys_field);
		free(buf);
	}
	is_it = is_empty(&rest);
	vec_free(&rest.ranges);
	return is_it;
}

/* ---- bsets that are right in themselves ---- */

/* An entry of the ring has a key that put data where one that is cut off has it. */
static bool is_known_to_ring(struct recipe_build *build, const struct bcfmt_key *cut)
{
	bool is_known = false;

	for (size_t i = 0; i < build->things.n && !is_known; i++) {
		const struct recipe_thing *thing =
			VEC_AT(&build->things, const struct recipe_thing, i);
		struct bcfmt_key_iter it;
		struct bcfmt_jset jset;
		struct bcfmt_key key;
		uint8_t *buf = NULL;

		if (thing->kind == RECIPE_JSET && load_jset(build, thing, &jset, &buf)) {
			it = bcfmt_key_iter_init(jset.keys, jset.keys_field);
			while (bcfmt_key_iter_next(&it, &key) && !is_known)
				is_known = bcfmt_key_inode(&key) == bcfmt_key_inode(cut) &&
					   bcfmt_key_start_sector(&key) < cut->low &&
					   key.low > bcfmt_key_start_sector(cut) &&
					   bcfmt_key_has_data(&key) && bcfmt_key_has_data(cut) &&
					   key.ptr - (bcfmt_key_start_sector(&key) << 8) ==
						   cut->ptr - (bcfmt_key_start_sector(cut) << 8);
		}
		free(buf);
	}
	return is_known;
}

static bool has_fewer_keys(struct recipe_build *build, const struct change *change)
{
	const struct recipe_thing *thing = change->thing;
	uint32_t before = load_le32(change->before), after = load_le32(change->after);
	struct bcfmt_key_iter it;
	struct bcfmt_key key;
	uint32_t words = 0;
	uint8_t *buf;
	bool is_it;

	if (!change->is_mended || thing->kind != RECIPE_BSET ||
	    change->at_bytes != thing->at_bytes + 28 || after >= before)
		return false;
	buf = load_bset(build, thing, &words);
	is_it = buf && words == before;
	if (is_it) {
		it = bcfmt_key_iter_init(buf + 8 * (size_t)after, before - after);
		while (is_it && bcfmt_key_iter_next(&it, &key))
			is_it = !is_known_to_ring(build, &key);
	}
	free(buf);
	return is_it;
}

/* Other dirty keys in any bset, overwritten ones included, that lead to the bucket of a key. */
static bool shares_bucket(struct recipe_build *build, const struct bcfmt_key *key)
{
	bool is_shared = false;

	for (size_t i = 0; i < build->things.n && !is_shared; i++) {
		const struct recipe_thing *thing =
			VEC_AT(&build->things, const struct recipe_thing, i);
		struct bcfmt_key_iter it;
		struct bcfmt_key other;
		uint32_t words = 0;
		uint8_t *buf = thing->kind == RECIPE_BSET ? load_bset(build, thing, &words) : NULL;

		it = bcfmt_key_iter_init(buf, buf ? words : 0);
		while (!is_shared && bcfmt_key_iter_next(&it, &other))
			is_shared = bcfmt_key_is_dirty(&other) && bcfmt_key_has_data(&other) &&
				    bcfmt_ptr_bucket(&build->geo, other.ptr) ==
					    bcfmt_ptr_bucket(&build->geo, key->ptr) &&
				    other.ptr != key->ptr;
		free(buf);
	}
	return is_shared;
}

/* A dirty key of a leaf has size 0 now. */
static bool is_given_up(struct recipe_build *build, const struct change *change)
{
	struct recipe_field_place place;
	char path[FIELD_PATH_BYTES];
	struct bcfmt_key key;
	uint8_t raw[24];
	char *dot;

	memcpy(path, change->path, sizeof(path));
	dot = strrchr(path, '.');
	if (!change->is_mended || change->thing->kind != RECIPE_BSET || !strstr(path, ".key[") ||
	    strcmp(dot, ".len") != 0)
		return false;
	strcpy(dot, ".high");
	if (!recipe_field_find(build, path, &place) ||
	    !recipe_image_read(build, place.thing->device, place.at_bytes, raw, sizeof(raw)) ||
	    !bcfmt_key_decode(raw, 3, &key) || !bcfmt_key_is_dirty(&key))
		return false;
	memcpy(raw + (change->at_bytes - place.at_bytes), change->after, change->len_bytes);
	return !shares_bucket(build, &key) && bcfmt_key_decode(raw, 3, &key) &&
	       !bcfmt_key_sectors(&key);
}

const char *damage_excuse(struct recipe_build *build, const struct inflicted *inflicted,
			  const struct missed *missed)
{
	if (is_torn(build, inflicted, missed))
		return EXCUSE_TORN;
	if (!inflicted->change.thing)
		return NULL;
	if (has_fewer_keys(build, &inflicted->change))
		return EXCUSE_FEWER;
	if (is_window(build, &inflicted->change, missed))
		return EXCUSE_WINDOW;
	if (is_given_up(build, &inflicted->change))
		return EXCUSE_GIVEN_UP;
	return change_excuse(build, &inflicted->change);
}
