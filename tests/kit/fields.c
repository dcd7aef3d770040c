/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Fields by name: node[root].bset[1].key[3].gen and the like. Offsets are written down here once
 * more, not taken from the library, so that a wrong layout there cannot hide in the tests.
 */
#include "recipe_impl.h"

#include <stdlib.h>
#include <string.h>

#include <bcfmt/crc64.h>
#include <bcfmt/node.h>

#include "base/bytes.h"

enum field_kind { FIELD_NUMBER, FIELD_SECTORS, FIELD_UUID, FIELD_TEXT };

struct field {
	const char *name;
	uint16_t at; /* bytes from the start of the structure */
	uint8_t shift;
	uint8_t bits; /* of a number; bytes of a uuid or text */
	enum field_kind kind;
};

static const struct field super_fields[] = {
	{ "csum", 0, 0, 64, FIELD_NUMBER },
	{ "offset", 8, 0, 64, FIELD_SECTORS },
	{ "version", 16, 0, 64, FIELD_NUMBER },
	{ "magic", 24, 0, 16, FIELD_UUID },
	{ "uuid", 40, 0, 16, FIELD_UUID },
	{ "set_uuid", 56, 0, 16, FIELD_UUID },
	{ "label", 72, 0, 32, FIELD_TEXT },
	{ "flags", 104, 0, 64, FIELD_NUMBER },
	{ "sync", 104, 0, 1, FIELD_NUMBER },
	{ "discard", 104, 1, 1, FIELD_NUMBER },
	{ "replacement", 104, 2, 3, FIELD_NUMBER },
	{ "cache_mode", 104, 0, 4, FIELD_NUMBER },
	{ "state", 104, 61, 2, FIELD_NUMBER },
	{ "seq", 112, 0, 64, FIELD_NUMBER },
	{ "feature_compat", 120, 0, 64, FIELD_NUMBER },
	{ "feature_incompat", 128, 0, 64, FIELD_NUMBER },
	{ "feature_ro_compat", 136, 0, 64, FIELD_NUMBER },
	{ "nbuckets", 184, 0, 64, FIELD_NUMBER },
	{ "data_offset", 184, 0, 64, FIELD_SECTORS },
	{ "block", 192, 0, 16, FIELD_SECTORS },
	{ "bucket", 194, 0, 16, FIELD_SECTORS },
	{ "nr_in_set", 196, 0, 16, FIELD_NUMBER },
	{ "nr_this_dev", 198, 0, 16, FIELD_NUMBER },
	{ "last_mount", 200, 0, 32, FIELD_NUMBER },
	{ "first_bucket", 204, 0, 16, FIELD_NUMBER },
	{ "keys", 206, 0, 16, FIELD_NUMBER },
	{ "obso_bucket_hi", 2256, 0, 16, FIELD_NUMBER },
	{ NULL, 0, 0, 0, FIELD_NUMBER },
};

static const struct field jset_fields[] = {
	{ "csum", 0, 0, 64, FIELD_NUMBER },    { "magic", 8, 0, 64, FIELD_NUMBER },
	{ "seq", 16, 0, 64, FIELD_NUMBER },    { "version", 24, 0, 32, FIELD_NUMBER },
	{ "keys", 28, 0, 32, FIELD_NUMBER },   { "last_seq", 32, 0, 64, FIELD_NUMBER },
	{ "level", 168, 0, 16, FIELD_NUMBER }, { NULL, 0, 0, 0, FIELD_NUMBER },
};

static const struct field bset_fields[] = {
	{ "csum", 0, 0, 64, FIELD_NUMBER },  { "magic", 8, 0, 64, FIELD_NUMBER },
	{ "seq", 16, 0, 64, FIELD_NUMBER },  { "version", 24, 0, 32, FIELD_NUMBER },
	{ "keys", 28, 0, 32, FIELD_NUMBER }, { NULL, 0, 0, 0, FIELD_NUMBER },
};

static const struct field prio_fields[] = {
	{ "csum", 0, 0, 64, FIELD_NUMBER },	    { "magic", 8, 0, 64, FIELD_NUMBER },
	{ "seq", 16, 0, 64, FIELD_NUMBER },	    { "version", 24, 0, 32, FIELD_NUMBER },
	{ "next_bucket", 32, 0, 64, FIELD_NUMBER }, { NULL, 0, 0, 0, FIELD_NUMBER },
};

static const struct field uuid_fields[] = {
	{ "uuid", 0, 0, 16, FIELD_UUID },	    { "label", 16, 0, 32, FIELD_TEXT },
	{ "first_reg", 48, 0, 32, FIELD_NUMBER },   { "last_reg", 52, 0, 32, FIELD_NUMBER },
	{ "invalidated", 56, 0, 32, FIELD_NUMBER }, { "flags", 60, 0, 32, FIELD_NUMBER },
	{ "sectors", 64, 0, 64, FIELD_SECTORS },    { NULL, 0, 0, 0, FIELD_NUMBER },
};

static const struct field key_fields[] = {
	{ "high", 0, 0, 64, FIELD_NUMBER },  { "inode", 0, 0, 20, FIELD_NUMBER },
	{ "len", 0, 20, 16, FIELD_SECTORS }, { "dirty", 0, 36, 1, FIELD_NUMBER },
	{ "csum", 0, 56, 2, FIELD_NUMBER },  { "ptrs", 0, 60, 3, FIELD_NUMBER },
	{ "end", 8, 0, 64, FIELD_SECTORS },  { "ptr", 16, 0, 64, FIELD_NUMBER },
	{ "gen", 16, 0, 8, FIELD_NUMBER },   { "sector", 16, 8, 43, FIELD_SECTORS },
	{ "dev", 16, 51, 12, FIELD_NUMBER }, { NULL, 0, 0, 0, FIELD_NUMBER },
};

static const struct field entry_fields[] = {
	{ "prio", 0, 0, 16, FIELD_NUMBER },
	{ "gen", 2, 0, 8, FIELD_NUMBER },
	{ NULL, 0, 0, 0, FIELD_NUMBER },
};

static const struct field word_fields[] = {
	{ "", 0, 0, 64, FIELD_NUMBER },
	{ NULL, 0, 0, 0, FIELD_NUMBER },
};

const char *recipe_field_name(enum recipe_field_table table, size_t i)
{
	static const struct field *const tables[] = {
		[RECIPE_SUPER_FIELDS] = super_fields, [RECIPE_JSET_FIELDS] = jset_fields,
		[RECIPE_BSET_FIELDS] = bset_fields,   [RECIPE_PRIO_FIELDS] = prio_fields,
		[RECIPE_UUID_FIELDS] = uuid_fields,   [RECIPE_KEY_FIELDS] = key_fields,
		[RECIPE_ENTRY_FIELDS] = entry_fields,
	};

	return tables[table][i].name;
}

/* ---- paths ---- */

struct part {
	char name[RECIPE_NAME_BYTES];
	char which[RECIPE_NAME_BYTES]; /* between brackets */
	bool has_which;
};

struct resolver {
	struct recipe_build *build;
	unsigned int line;
	const char *path;
	const char *rest;
	struct recipe_thing *thing;
	uint64_t at_bytes; /* of the structure within the device, keys and slots included */
	const struct field *fields;
	const struct field *field;
};

static void fail(const struct resolver *r, const char *why)
{
	recipe_build_fail(r->build, r->line, r->path, why);
}

static bool next_part(struct resolver *r, struct part *part)
{
	size_t name_bytes = strcspn(r->rest, ".[");
	const char *at = r->rest + name_bytes;

	memset(part, 0, sizeof(*part));
	if (r->build->has_failed)
		return false;
	if (!*r->rest || !name_bytes || name_bytes >= sizeof(part->name)) {
		fail(r, "names no field");
		return false;
	}
	memcpy(part->name, r->rest, name_bytes);
	if (*at == '[') {
		size_t which_bytes = strcspn(++at, "]");

		if (!which_bytes || which_bytes >= sizeof(part->which) || at[which_bytes] != ']') {
			fail(r, "has a bracket that does not close");
			return false;
		}
		memcpy(part->which, at, which_bytes);
		part->has_which = true;
		at += which_bytes + 1;
	}
	if (*at && *at != '.') {
		fail(r, "needs a dot after the bracket");
		return false;
	}
	r->rest = at + (*at == '.');
	return true;
}

/* The number between brackets, below limit. */
static uint64_t which_number(const struct resolver *r, const struct part *part, uint64_t limit)
{
	uint64_t number = 0;

	if (!part->has_which || !recipe_number(part->which, &number) || number >= limit) {
		fail(r, "has no such number in brackets");
		return 0;
	}
	return number;
}

/* Number index among the structures of a kind, or NULL. */
static struct recipe_thing *nth_thing(const struct resolver *r, enum recipe_thing_kind kind,
				      uint64_t index)
{
	for (size_t i = 0; i < r->build->things.n; i++) {
		struct recipe_thing *thing = VEC_AT(&r->build->things, struct recipe_thing, i);

		if (thing->kind == kind && !index--)
			return thing;
	}
	return NULL;
}

/* journal[0], journal[newest], journal[seq:17]. */
static struct recipe_thing *find_jset(const struct resolver *r, const struct part *part)
{
	bool is_newest = !strcmp(part->which, "newest");
	struct recipe_thing *best = NULL;
	uint64_t seq = 0;

	if (!is_newest && strncmp(part->which, "seq:", 4))
		return nth_thing(r, RECIPE_JSET, which_number(r, part, RECIPE_ITEMS_MAX));
	if (!is_newest && !recipe_number(part->which + 4, &seq))
		return NULL;
	for (size_t i = 0; i < r->build->things.n; i++) {
		struct recipe_thing *thing = VEC_AT(&r->build->things, struct recipe_thing, i);

		if (thing->kind != RECIPE_JSET || (!is_newest && thing->number != seq))
			continue;
		if (!best || thing->number > best->number)
			best = thing;
	}
	return best;
}

/* node[NAME] or node[bucket:20], then bset[N]. */
static struct recipe_thing *find_bset(struct resolver *r, const struct part *node)
{
	bool is_bucket = !strncmp(node->which, "bucket:", 7);
	struct part part;
	uint64_t bucket = 0;
	uint64_t number;

	if (is_bucket && !recipe_number(node->which + 7, &bucket))
		return NULL;
	if (!next_part(r, &part) || strcmp(part.name, "bset"))
		return NULL;
	number = which_number(r, &part, RECIPE_ITEMS_MAX);
	for (size_t i = 0; i < r->build->things.n; i++) {
		struct recipe_thing *thing = VEC_AT(&r->build->things, struct recipe_thing, i);

		if (thing->kind == RECIPE_BSET && thing->number == number &&
		    (is_bucket ? thing->bucket == bucket : !strcmp(thing->node, node->which)))
			return thing;
	}
	return NULL;
}

static struct recipe_thing *find_super(const struct resolver *r, uint32_t device)
{
	for (size_t i = 0; i < r->build->things.n; i++) {
		struct recipe_thing *thing = VEC_AT(&r->build->things, struct recipe_thing, i);

		if (thing->kind == RECIPE_SUPER && thing->device == device)
			return thing;
	}
	return NULL;
}

static void resolve_thing(struct resolver *r)
{
	struct part part;
	uint64_t number;

	if (!next_part(r, &part))
		return;
	if (!strcmp(part.name, "super")) {
		r->thing = find_super(r, RECIPE_CACHE);
		r->fields = super_fields;
	} else if (!strncmp(part.name, "backing", 7) && recipe_number(part.name + 7, &number) &&
		   number < RECIPE_BACKING_MAX) {
		if (next_part(r, &part) && !strcmp(part.name, "super"))
			r->thing = find_super(r, (uint32_t)number + 1);
		r->fields = super_fields;
	} else if (!strcmp(part.name, "journal")) {
		r->thing = find_jset(r, &part);
		r->fields = jset_fields;
	} else if (!strcmp(part.name, "prio")) {
		r->thing = nth_thing(r, RECIPE_PRIO_SET, which_number(r, &part, RECIPE_ITEMS_MAX));
		r->fields = prio_fields;
	} else if (!strcmp(part.name, "uuid")) {
		r->thing = nth_thing(r, RECIPE_UUIDS, 0);
		r->fields = uuid_fields;
	} else if (!strcmp(part.name, "node")) {
		r->thing = find_bset(r, &part);
		r->fields = bset_fields;
	}
	if (!r->thing) {
		fail(r, "names no structure of this image");
		return;
	}
	r->at_bytes = r->thing->at_bytes;
	if (r->thing->kind == RECIPE_UUIDS) {
		uint64_t entry_bytes = r->thing->version ? 128 : 64;

		r->at_bytes +=
			entry_bytes * which_number(r, &part, r->thing->room_bytes / entry_bytes);
	}
}

/* Goes over the keys as they lie on the image now. */
static void resolve_key(struct resolver *r, const struct part *part, uint64_t header_bytes)
{
	uint64_t wanted = which_number(r, part, RECIPE_ITEMS_MAX);
	uint64_t at_bytes = r->at_bytes + header_bytes;
	uint8_t raw[8];
	uint64_t words;

	if (!recipe_image_read(r->build, r->thing->device, r->at_bytes + 28, raw, 4))
		return;
	words = load_le32(raw);
	while (true) {
		uint64_t key_words;

		if (words < 2 || at_bytes + 16 > r->thing->at_bytes + r->thing->room_bytes) {
			fail(r, "has no such key");
			return;
		}
		if (!wanted--)
			break;
		if (!recipe_image_read(r->build, r->thing->device, at_bytes, raw, 8))
			return;
		key_words = 2 + (load_le64(raw) >> 60 & 7);
		at_bytes += 8 * key_words;
		words -= key_words < words ? key_words : words;
	}
	r->at_bytes = at_bytes;
	r->fields = key_fields;
}

/* A structure inside a structure: key[3], btree_root, entry[7], journal[2]. */
static void resolve_inner(struct resolver *r)
{
	const char *before = r->rest;
	enum recipe_thing_kind kind;
	struct part part;

	if (!next_part(r, &part))
		return;
	kind = r->thing->kind;
	if (!strcmp(part.name, "key") && (kind == RECIPE_JSET || kind == RECIPE_BSET)) {
		resolve_key(r, &part, kind == RECIPE_JSET ? 240 : 32);
	} else if (!strcmp(part.name, "uuid_bucket") && kind == RECIPE_JSET) {
		r->at_bytes += 40;
		r->fields = key_fields;
	} else if (!strcmp(part.name, "btree_root") && kind == RECIPE_JSET) {
		r->at_bytes += 104;
		r->fields = key_fields;
	} else if (!strcmp(part.name, "prio_bucket") && kind == RECIPE_JSET) {
		r->at_bytes += 176 + 8 * which_number(r, &part, 8);
		r->fields = word_fields;
	} else if (!strcmp(part.name, "journal") && kind == RECIPE_SUPER) {
		r->at_bytes += 208 + 8 * which_number(r, &part, 256);
		r->fields = word_fields;
	} else if (!strcmp(part.name, "entry") && kind == RECIPE_PRIO_SET) {
		r->at_bytes += 40 + 3 * which_number(r, &part, (r->thing->room_bytes - 40) / 3);
		r->fields = entry_fields;
	} else {
		r->rest = before;
	}
}

static bool resolve(struct resolver *r)
{
	struct part part;

	resolve_thing(r);
	if (r->build->has_failed)
		return false;
	resolve_inner(r);
	if (r->build->has_failed)
		return false;
	if (r->fields == word_fields && !*r->rest) {
		r->field = word_fields;
		return true;
	}
	if (!next_part(r, &part))
		return false;
	for (const struct field *field = r->fields; field->name; field++)
		if (!part.has_which && !*r->rest && !strcmp(part.name, field->name))
			r->field = field;
	if (!r->field)
		fail(r, "names no field of this structure");
	return !r->build->has_failed;
}

/* ---- values ---- */

static uint64_t field_mask(const struct field *field)
{
	return field->bits == 64 ? UINT64_MAX : (1ull << field->bits) - 1;
}

static size_t field_bytes(const struct field *field)
{
	return ((size_t)field->shift + field->bits + 7) / 8;
}

/* All of a number's bytes, other fields in them included. */
static bool read_word(const struct resolver *r, uint64_t *word)
{
	uint8_t raw[8] = { 0 };

	if (!recipe_image_read(r->build, r->thing->device, r->at_bytes + r->field->at, raw,
			       field_bytes(r->field)))
		return false;
	*word = load_le64(raw);
	return true;
}

/* A number, a size where the field counts sectors, or another field of the image. */
static bool number_value(const struct resolver *r, const char *text, uint64_t *value)
{
	struct resolver other = { .build = r->build, .line = r->line, .path = text, .rest = text };

	if (recipe_number(text, value))
		return true;
	if (r->field->kind == FIELD_SECTORS && recipe_size(text, value)) {
		*value /= BCFMT_SECTOR_BYTES;
		return true;
	}
	if (!strchr(text, '.') || !resolve(&other) || other.field->kind > FIELD_SECTORS ||
	    !read_word(&other, value)) {
		fail(r, "needs a number, or a field that is one");
		return false;
	}
	*value = *value >> other.field->shift & field_mask(other.field);
	return true;
}

static void write_number(const struct resolver *r, const char *text)
{
	uint64_t mask = field_mask(r->field);
	uint64_t value;
	uint64_t word;
	uint8_t raw[8];

	if (!number_value(r, text, &value) || !read_word(r, &word))
		return;
	if (value & ~mask) {
		fail(r, "has fewer bits than the value");
		return;
	}
	word = (word & ~(mask << r->field->shift)) | value << r->field->shift;
	store_le64(raw, word);
	recipe_image_write(r->build, r->thing->device, r->at_bytes + r->field->at, raw,
			   field_bytes(r->field));
}

static void write_bytes(const struct resolver *r, const char *text)
{
	uint8_t raw[32] = { 0 };

	if (r->field->kind == FIELD_UUID && !recipe_uuid(text, raw))
		fail(r, "needs a uuid (seed:7, 32 hex digits or zero)");
	if (r->field->kind == FIELD_TEXT && strlen(text) > r->field->bits)
		fail(r, "is shorter than the text");
	else if (r->field->kind == FIELD_TEXT)
		memcpy(raw, text, strlen(text));
	recipe_image_write(r->build, r->thing->device, r->at_bytes + r->field->at, raw,
			   r->field->bits);
}

bool recipe_field_find(struct recipe_build *build, const char *path,
		       struct recipe_field_place *place)
{
	struct resolver r = { .build = build, .path = path, .rest = path };

	if (!resolve(&r))
		return false;
	*place = (struct recipe_field_place){
		.thing = r.thing,
		.at_bytes = r.at_bytes + r.field->at,
		.shift = r.field->shift,
		.bits = r.field->kind <= FIELD_SECTORS ? r.field->bits : 8u * r.field->bits,
	};
	return true;
}

uint64_t recipe_keys_count(struct recipe_build *build, const struct recipe_thing *thing)
{
	uint64_t at_bytes = thing->at_bytes + (thing->kind == RECIPE_JSET ? 240 : 32);
	uint64_t n = 0, words;
	uint8_t raw[8];

	if ((thing->kind != RECIPE_JSET && thing->kind != RECIPE_BSET) ||
	    !recipe_image_read(build, thing->device, thing->at_bytes + 28, raw, 4))
		return 0;
	for (words = load_le32(raw); words >= 2; n++) {
		uint64_t key_words;

		if (!recipe_image_read(build, thing->device, at_bytes, raw, 8))
			return 0;
		key_words = 2 + (load_le64(raw) >> 60 & 7);
		if (key_words > words)
			break;
		words -= key_words;
		at_bytes += 8 * key_words;
	}
	return n;
}

/* A structure whose own length no longer fits its place keeps the checksum it has. */
void recipe_mend(struct recipe_build *build, const struct recipe_thing *thing)
{
	uint8_t *raw = malloc((size_t)thing->room_bytes);
	uint64_t header_bytes = thing->kind == RECIPE_JSET ? 240 : 32;
	uint64_t csum = 0;
	bool is_known = raw && recipe_image_read(build, thing->device, thing->at_bytes, raw,
						 (size_t)thing->room_bytes);

	if (is_known && (thing->kind == RECIPE_JSET || thing->kind == RECIPE_BSET))
		is_known = header_bytes + 8ull * load_le32(raw + 28) <= thing->room_bytes;
	if (!is_known) {
		free(raw);
		return;
	}
	switch (thing->kind) {
	case RECIPE_SUPER:
		csum = bcfmt_super_csum(raw);
		break;
	case RECIPE_JSET:
		csum = bcfmt_crc64(raw + 8, 240 + 8 * (size_t)load_le32(raw + 28) - 8);
		break;
	case RECIPE_BSET:
		csum = bcfmt_bset_csum(raw, load_le32(raw + 28), load_le32(raw + 24), thing->seed);
		break;
	case RECIPE_PRIO_SET:
		csum = bcfmt_crc64(raw + 8, (size_t)thing->room_bytes - 8);
		break;
	case RECIPE_UUIDS:
		free(raw);
		return;
	}
	store_le64(raw, csum);
	recipe_image_write(build, thing->device, thing->at_bytes, raw, 8);
	free(raw);
}

bool recipe_field_write(struct recipe_build *build, unsigned int line, const char *path,
			const char *value, bool has_mending)
{
	struct resolver r = { .build = build, .line = line, .path = path, .rest = path };

	if (!resolve(&r))
		return false;
	if (r.field->kind <= FIELD_SECTORS)
		write_number(&r, value);
	else
		write_bytes(&r, value);
	if (has_mending && !build->has_failed)
		recipe_mend(build, r.thing);
	return !build->has_failed;
}
