/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Does to an image what a line of the list says. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/bytes.h"
#include "base/checked.h"
#include "damage/damage.h"

#define EXCUSE_TORN "the newest entry does not verify any more: so does one that a power cut tore"

struct inflicter {
	struct recipe_build *build;
	const struct names *names;
	struct inflicted *out;
	uint64_t seed;
	size_t n_steps;
};

static uint64_t next_random(struct inflicter *in)
{
	in->seed = recipe_mix(in->seed);
	return in->seed;
}

static bool wound(struct inflicter *in, uint32_t device, uint64_t at_bytes, uint64_t len_bytes)
{
	struct wound *item = vec_push(&in->out->wounds, sizeof(*item));

	if (item)
		*item = (struct wound){ device, at_bytes, len_bytes };
	return item != NULL;
}

/* ---- words ---- */

/* "last" or "mid" of so many, as a number. */
static bool which_of(const char *word, size_t len, uint64_t n, char out[24])
{
	uint64_t value = len == 3 && !strncmp(word, "mid", 3) ? n / 2 : n - 1;

	if (!n || len > 4)
		return false;
	snprintf(out, 24, "%llu", (unsigned long long)value);
	return true;
}

static uint64_t count_bsets(const struct recipe_build *build, uint64_t bucket)
{
	uint64_t n = 0;

	for (size_t i = 0; i < build->things.n; i++) {
		const struct recipe_thing *thing =
			VEC_AT(&build->things, const struct recipe_thing, i);

		if (thing->kind == RECIPE_BSET && thing->bucket == bucket && thing->number + 1 > n)
			n = thing->number + 1;
	}
	return n;
}

/* Where the path so far leads, by any of its fields. */
static bool find_thing(struct inflicter *in, const char *prefix, const struct recipe_thing **thing)
{
	struct recipe_field_place place;
	char path[FIELD_PATH_BYTES + 8];

	snprintf(path, sizeof(path), "%.95s.csum", prefix);
	if (!recipe_field_find(in->build, path, &place))
		return false;
	*thing = place.thing;
	return true;
}

/* The number that stands for "last" or "mid" after what is in out already. */
static bool count_here(struct inflicter *in, const char *out, uint64_t *n)
{
	const char *bucket = strstr(out, "bucket:");
	const struct recipe_thing *thing;
	char prefix[FIELD_PATH_BYTES];
	size_t len = strlen(out);

	if (len > 6 && !strcmp(out + len - 6, ".bset[")) {
		*n = bucket ? count_bsets(in->build, strtoull(bucket + 7, NULL, 10)) : 0;
		return true;
	}
	if (len <= 5 || strcmp(out + len - 5, ".key[") != 0)
		return false;
	snprintf(prefix, sizeof(prefix), "%.*s", (int)(len - 5), out);
	if (!find_thing(in, prefix, &thing))
		return false;
	*n = recipe_keys_count(in->build, thing);
	return true;
}

/* Puts numbers in the place of $NAME, [last] and [mid]. */
static bool expand(struct inflicter *in, const char *word, char out[FIELD_PATH_BYTES])
{
	size_t n = 0;

	out[0] = 0;
	while (*word) {
		size_t len = strspn(word + 1, "abcdefghijklmnopqrstuvwxyz");
		char number[24] = { 0 };
		uint64_t value;

		if (*word == '$') {
			if (!names_get(in->names, word + 1, len, &value))
				return false;
			snprintf(number, sizeof(number), "%llu", (unsigned long long)value);
			word += 1 + len;
		} else if (*word == '[' && len && word[1 + len] == ']' &&
			   strncmp(word + 1, "newest", 6) != 0) {
			if (n + 2 >= FIELD_PATH_BYTES)
				return false;
			out[n++] = '[';
			out[n] = 0;
			if (!count_here(in, out, &value) || !which_of(word + 1, len, value, number))
				return false;
			word += 1 + len;
		} else {
			number[0] = *word++;
		}
		if (n + strlen(number) >= FIELD_PATH_BYTES)
			return false;
		strcpy(out + n, number);
		n += strlen(number);
	}
	return true;
}

static bool expand_number(struct inflicter *in, const char *word, uint64_t *out)
{
	char text[FIELD_PATH_BYTES];

	return expand(in, word, text) && (recipe_number(text, out) || recipe_size(text, out));
}

/* ---- fields ---- */

static bool new_value(struct inflicter *in, const char *word, uint64_t old, uint64_t *value)
{
	if (!strcmp(word, "zero"))
		*value = 0;
	else if (!strcmp(word, "ones"))
		*value = UINT64_MAX;
	else if (!strcmp(word, "random"))
		*value = next_random(in);
	else if (word[0] == '+')
		*value = old + strtoull(word + 1, NULL, 0);
	else if (word[0] == '-')
		*value = old - strtoull(word + 1, NULL, 0);
	else if (word[0] == '^')
		*value = old ^ 1ull << strtoull(word + 1, NULL, 0);
	else
		return expand_number(in, word, value);
	return true;
}

static bool store_number(struct inflicter *in, struct change *change,
			 const struct recipe_field_place *place, const char *word)
{
	uint64_t mask = place->bits < 64 ? (1ull << place->bits) - 1 : UINT64_MAX;
	uint8_t raw[8] = { 0 };
	uint64_t value;

	memcpy(raw, change->before, change->len_bytes);
	if (!new_value(in, word, load_le64(raw) >> place->shift & mask, &value))
		return false;
	store_le64(raw, (load_le64(raw) & ~(mask << place->shift)) | (value & mask)
									     << place->shift);
	memcpy(change->after, raw, change->len_bytes);
	return true;
}

static bool store_bytes(struct inflicter *in, struct change *change, const char *word)
{
	memcpy(change->after, change->before, change->len_bytes);
	if (word[0] == '^')
		change->after[0] ^= 1;
	for (uint32_t i = 0; word[0] != '^' && i < change->len_bytes; i++)
		change->after[i] = !strcmp(word, "zero")   ? 0
				   : !strcmp(word, "ones") ? 0xff
							   : (uint8_t)next_random(in);
	return true;
}

static bool write_field(struct inflicter *in, const struct step *step)
{
	struct change *change = &in->out->change;
	struct recipe_field_place place;
	bool is_good;

	*change = (struct change){ .is_mended = !strcmp(step->word[0], "set"), .kind = "" };
	if (!expand(in, step->word[1], change->path) ||
	    !recipe_field_find(in->build, change->path, &place))
		return false;
	change->thing = place.thing;
	change->at_bytes = place.at_bytes;
	change->len_bytes = (place.shift + place.bits + 7) / 8;
	if (change->len_bytes > FIELD_BYTES_MAX ||
	    !recipe_image_read(in->build, place.thing->device, place.at_bytes, change->before,
			       change->len_bytes) ||
	    !recipe_image_read(in->build, place.thing->device, place.thing->at_bytes,
			       change->csum_before, sizeof(change->csum_before)))
		return false;
	is_good = place.bits <= 64 ? store_number(in, change, &place, step->word[2])
				   : store_bytes(in, change, step->word[2]);
	if (!is_good || !memcmp(change->before, change->after, change->len_bytes))
		return false;
	change_apply(in->build, change);
	return wound(in, place.thing->device, change->at_bytes, change->len_bytes) &&
	       wound(in, place.thing->device, place.thing->at_bytes, 8);
}

/* ---- ranges ---- */

static uint64_t thing_bytes(const struct recipe_build *build, const struct recipe_thing *thing)
{
	uint64_t header_bytes = thing->kind == RECIPE_JSET ? 240 : 32;
	uint64_t bytes, block = bcfmt_block_bytes(&build->geo);
	uint8_t raw[4];

	if (thing->kind != RECIPE_JSET && thing->kind != RECIPE_BSET)
		return thing->room_bytes;
	if (!recipe_image_read((struct recipe_build *)(uintptr_t)build, thing->device,
			       thing->at_bytes + 28, raw, 4))
		return 0;
	bytes = header_bytes + 8ull * load_le32(raw);
	return min_u64((bytes + block - 1) / block * block, thing->room_bytes);
}

/*
 * "bucket:N" and "DEVICE" with a place and a length behind, or "ring" (all of the journal),
 * "all:PATH", "tail:PATH".
 */
static bool find_range(struct inflicter *in, const struct step *step, struct wound *range)
{
	uint64_t bucket_bytes = (uint64_t)in->build->geo.bucket_sectors * BCFMT_SECTOR_BYTES;
	const char *word = step->word[1];
	const char *colon = strchr(word, ':');
	uint64_t at_bytes = 0, len_bytes = bucket_bytes, bucket = 0;

	*range = (struct wound){ 0 };
	if (colon && (!strncmp(word, "all:", 4) || !strncmp(word, "tail:", 5))) {
		const struct recipe_thing *thing;
		char path[FIELD_PATH_BYTES];

		if (!expand(in, colon + 1, path) || !find_thing(in, path, &thing))
			return false;
		len_bytes = thing_bytes(in->build, thing);
		*range = (struct wound){ thing->device, thing->at_bytes, len_bytes };
		if (word[0] == 't') {
			uint64_t unit = len_bytes > BCFMT_SECTOR_BYTES ? BCFMT_SECTOR_BYTES : 8;
			uint64_t keep_bytes = len_bytes / 2 / unit * unit;

			range->at_bytes += keep_bytes;
			range->len_bytes -= keep_bytes;
			return keep_bytes > 0;
		}
		return true;
	}
	if (colon && !strncmp(word, "bucket:", 7)) {
		if (!expand_number(in, colon + 1, &bucket))
			return false;
	} else if (!strncmp(word, "backing", 7)) {
		range->device = 1 + (uint32_t)strtoul(word + 7, NULL, 10);
	} else if (!strcmp(word, "ring")) {
		bucket = in->build->geo.first_bucket;
		len_bytes = bucket_bytes * in->build->geo.journal_buckets;
	} else if (strcmp(word, "cache") != 0) {
		return false;
	}
	if ((step->word[2][0] && !expand_number(in, step->word[2], &at_bytes)) ||
	    (step->word[3][0] && !expand_number(in, step->word[3], &len_bytes)))
		return false;
	range->at_bytes = bucket * bucket_bytes + at_bytes;
	range->len_bytes = len_bytes;
	return range->device <= RECIPE_BACKING_MAX && in->build->image[range->device].fd >= 0 &&
	       range->at_bytes + range->len_bytes <= in->build->image[range->device].bytes;
}

static bool fill_range(struct inflicter *in, const struct step *step)
{
	struct wound range;
	uint8_t raw[BCFMT_SECTOR_BYTES];

	if (!find_range(in, step, &range))
		return false;
	for (uint64_t at = 0; at < range.len_bytes; at += sizeof(raw)) {
		for (size_t i = 0; i < sizeof(raw); i += 8)
			store_le64(raw + i, !strcmp(step->word[0], "zero")   ? 0
					    : !strcmp(step->word[0], "ones") ? UINT64_MAX
									     : next_random(in));
		if (!recipe_image_write(in->build, range.device, range.at_bytes + at, raw,
					(size_t)min_u64(sizeof(raw), range.len_bytes - at)))
			return false;
	}
	return wound(in, range.device, range.at_bytes, range.len_bytes);
}

/* ---- buckets ---- */

static bool copy_bucket(struct inflicter *in, const struct step *step)
{
	uint64_t bytes = (uint64_t)in->build->geo.bucket_sectors * BCFMT_SECTOR_BYTES;
	uint64_t from = 0, to = 0;
	uint8_t *buf;
	bool is_good = expand_number(in, step->word[1], &from) &&
		       expand_number(in, step->word[2], &to) && from != to;

	if (!is_good)
		return false;
	buf = malloc((size_t)(2 * bytes));
	is_good = buf &&
		  recipe_image_read(in->build, RECIPE_CACHE, from * bytes, buf, (size_t)bytes) &&
		  recipe_image_read(in->build, RECIPE_CACHE, to * bytes, buf + bytes,
				    (size_t)bytes) &&
		  recipe_image_write(in->build, RECIPE_CACHE, to * bytes, buf, (size_t)bytes) &&
		  wound(in, RECIPE_CACHE, to * bytes, bytes);
	if (is_good && !strcmp(step->word[0], "swap"))
		is_good = recipe_image_write(in->build, RECIPE_CACHE, from * bytes, buf + bytes,
					     (size_t)bytes) &&
			  wound(in, RECIPE_CACHE, from * bytes, bytes);
	free(buf);
	return is_good;
}

static bool cut_off(struct inflicter *in, const struct step *step)
{
	struct recipe_image *image = &in->build->image[RECIPE_CACHE];
	uint64_t percent;

	if (!expand_number(in, step->word[2], &percent) || strcmp(step->word[1], "cache") != 0)
		return false;
	image->bytes = image->bytes / 100 * percent / BCFMT_SECTOR_BYTES * BCFMT_SECTOR_BYTES;
	return !ftruncate(image->fd, (off_t)image->bytes) &&
	       wound(in, RECIPE_CACHE, image->bytes, UINT64_MAX - image->bytes);
}

static bool take_step(struct inflicter *in, const struct step *step)
{
	static const struct {
		const char *word;
		bool (*take)(struct inflicter *, const struct step *);
	} kinds[] = {
		{ "set", write_field },	 { "poke", write_field }, { "zero", fill_range },
		{ "ones", fill_range },	 { "junk", fill_range },  { "copy", copy_bucket },
		{ "swap", copy_bucket }, { "cut", cut_off },
	};

	for (size_t i = 0; i < sizeof(kinds) / sizeof(kinds[0]); i++)
		if (!strcmp(step->word[0], kinds[i].word))
			return kinds[i].take(in, step);
	return false;
}

bool damage_inflict(struct recipe_build *build, const struct names *names,
		    const struct damage *damage, struct inflicted *out)
{
	struct inflicter in = { .build = build, .names = names, .out = out, .seed = 1 };
	bool is_good = true;

	*out = (struct inflicted){ 0 };
	for (const char *c = damage->name; *c; c++)
		in.seed = recipe_mix(in.seed ^ (uint8_t)*c);
	for (size_t i = 0; i < damage->n_steps && is_good; i++)
		is_good = take_step(&in, &damage->steps[i]);
	if (damage->n_steps != 1 || !is_good)
		out->change.thing = NULL;
	/* That the image has no such thing is no failure of the builder. */
	build->has_failed = false;
	return is_good;
}
