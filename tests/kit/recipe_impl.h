/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What a parsed recipe holds, and what its builder shares between files. */
#ifndef KIT_RECIPE_IMPL_H
#define KIT_RECIPE_IMPL_H

#include <stdint.h>

#include <bcfmt/geometry.h>
#include <bcfmt/key.h>
#include <bcfmt/prio.h>
#include <bcfmt/super.h>
#include <bcfmt/uuid.h>
#include <bcfmt/write.h>

#include "base/vec.h"

#include "recipe.h"

#define RECIPE_LINE_BYTES	2048u
#define RECIPE_WORDS_MAX	64u
#define RECIPE_NAME_BYTES	64u
#define RECIPE_ITEMS_MAX	65536u /* of each kind: keys, nodes, entries, damages */
#define RECIPE_BACKING_MAX	8u
#define RECIPE_CHAIN_MAX	16u
#define RECIPE_DEVICE_BYTES_MAX (1ull << 44)
#define RECIPE_AUTO		UINT64_MAX /* the builder chooses */
#define RECIPE_CACHE		0u	   /* number of a device; backing K is K + 1 */

/* Words of a key as they lie on disk. child is the node whose pointer comes in, or -1. */
struct recipe_key {
	uint64_t word[4];
	uint32_t n_words;
	int child;
};

struct recipe_bset {
	uint64_t block; /* of the node, or AUTO */
	uint64_t seq;	/* AUTO: the node's */
	uint32_t version;
	uint32_t first_key;
	uint32_t n_keys;
};

struct recipe_node {
	char name[RECIPE_NAME_BYTES];
	unsigned int line;
	uint32_t level;
	uint64_t bucket; /* or AUTO */
	uint32_t gen;
	uint32_t at_sector; /* in its bucket; 0 in every sane node */
	uint32_t sectors;
	uint64_t seq;
	uint32_t first_bset;
	uint32_t n_bsets;
	bool is_defined; /* else only a child line names it so far */
};

struct recipe_jset {
	unsigned int line;
	uint64_t seq;
	uint64_t last_seq;
	uint64_t ring;	    /* or AUTO: where the entry before it ends */
	uint64_t at_sector; /* in its bucket, or AUTO */
	uint64_t level;	    /* AUTO: the root's */
	uint64_t prio;	    /* bucket; AUTO: of the last prio chain */
	uint64_t uuids;	    /* bucket; AUTO: of the table */
	int root;	    /* node */
	uint32_t version;
	uint32_t first_key;
	uint32_t n_keys;
};

struct recipe_prio {
	unsigned int line;
	uint64_t bucket[RECIPE_CHAIN_MAX];
	uint32_t n_buckets; /* 0: the builder chooses */
	uint64_t seq;
	uint64_t next; /* next_bucket of the last */
};

struct recipe_gen {
	uint64_t bucket;
	uint64_t gen;  /* or AUTO */
	uint64_t prio; /* or AUTO */
};

struct recipe_slot {
	uint32_t slot;
	struct bcfmt_uuid_entry entry;
};

struct recipe_data {
	uint32_t device;
	uint64_t at_bytes;
	uint64_t len_bytes;
	uint64_t seed;
};

struct recipe_device {
	bool is_used;
	struct bcfmt_super super;
	uint64_t bytes;
};

enum recipe_op_kind {
	RECIPE_SET,
	RECIPE_POKE,
	RECIPE_POKE_BYTES,
	RECIPE_ZERO,
	RECIPE_COPY,
	RECIPE_SWAP,
	RECIPE_TRUNCATE,
	RECIPE_UNREADABLE,
};

/* Damage, in the order of the recipe. */
struct recipe_op {
	enum recipe_op_kind kind;
	unsigned int line;
	uint32_t device;
	uint64_t at_bytes;
	uint64_t len_bytes;
	uint64_t to_bytes;
	uint64_t bucket; /* or AUTO; at_bytes counts from here. A base's bucket size comes late */
	uint64_t to_bucket; /* the same for to_bytes */
	char *path;	    /* owned */
	char *value;	    /* owned */
};

struct recipe {
	char name[256];
	char base[RECIPE_NAME_BYTES];
	struct recipe_device device[1 + RECIPE_BACKING_MAX];
	uint32_t n_devices; /* backing devices + 1, whether or not there is a cache */
	struct bcfmt_geometry geo;
	bool is_fresh; /* only the superblock: never registered */
	bool has_journal_none;
	bool is_filled; /* data under every key */

	uint64_t uuids_bucket;
	uint32_t uuids_gen;
	uint32_t uuids_version;

	struct vec keys;  /* struct recipe_key */
	struct vec bsets; /* struct recipe_bset */
	struct vec nodes; /* struct recipe_node */
	struct vec jsets; /* struct recipe_jset */
	struct vec prios; /* struct recipe_prio */
	struct vec gens;  /* struct recipe_gen */
	struct vec slots; /* struct recipe_slot */
	struct vec datas; /* struct recipe_data */
	struct vec ops;	  /* struct recipe_op */
};

/* ---- words of a line (recipe_words.c) ---- */

/* Words that no getter took are an error, so a misspelt name is found. The first error is kept. */
struct recipe_words {
	const char *file;
	unsigned int line;
	unsigned int n;
	char *word[RECIPE_WORDS_MAX];
	bool is_used[RECIPE_WORDS_MAX];
	char text[RECIPE_LINE_BYTES];
	struct recipe_error *error;
	bool has_failed;
};

/* False: too long, too many words, an open quote. */
bool recipe_words_split(struct recipe_words *words, const char *line, size_t len_bytes);
void recipe_words_fail(struct recipe_words *words, const char *word, const char *why);
/* False when a getter failed or a word was left over. */
bool recipe_words_end(struct recipe_words *words);

bool recipe_words_flag(struct recipe_words *words, const char *name);
/* Value of name=value, NULL when it is not given. */
const char *recipe_words_text(struct recipe_words *words, const char *name);
/* The first unused word without '='; NULL and a failure when there is none. */
const char *recipe_words_next(struct recipe_words *words, const char *what);
uint64_t recipe_words_u64(struct recipe_words *words, const char *name, uint64_t otherwise,
			  uint64_t max);
/* Sizes have a unit: 8s (sectors), 512b, 4k, 2M, 1G, 4T. */
uint64_t recipe_words_bytes(struct recipe_words *words, const char *name, uint64_t otherwise,
			    uint64_t max);
/* The same in sectors, of which it must be a multiple. */
uint64_t recipe_words_sectors(struct recipe_words *words, const char *name, uint64_t otherwise,
			      uint64_t max);
/* Fails when the value is not given: for what has no sane default. */
void recipe_words_need(struct recipe_words *words, const char *name);
/* "seed:7", 32 hex digits with or without dashes, "zero". */
void recipe_words_uuid(struct recipe_words *words, const char *name,
		       uint8_t uuid[BCFMT_UUID_BYTES]);

bool recipe_number(const char *text, uint64_t *out);
bool recipe_size(const char *text, uint64_t *bytes);
bool recipe_uuid(const char *text, uint8_t uuid[BCFMT_UUID_BYTES]);
void recipe_seed_uuid(uint64_t seed, uint8_t uuid[BCFMT_UUID_BYTES]);
uint64_t recipe_mix(uint64_t seed); /* never 0 */

/* ---- images (recipe_image.c) ---- */

struct recipe_image {
	int fd;
	struct bcfmt_dev *dev; /* the same file, for the writers of the library; may be NULL */
	uint64_t bytes;
	char file[32];
	struct vec bad; /* struct recipe_range */
};
struct recipe_range {
	uint64_t at_bytes;
	uint64_t len_bytes;
};

enum recipe_thing_kind { RECIPE_SUPER, RECIPE_JSET, RECIPE_BSET, RECIPE_PRIO_SET, RECIPE_UUIDS };

/* A structure with a checksum, and how to find and mend it. */
struct recipe_thing {
	enum recipe_thing_kind kind;
	uint32_t device;
	uint64_t at_bytes;
	uint64_t room_bytes; /* to the end of its container */
	uint64_t seed;	     /* bset: pointer to its node */
	uint64_t number;     /* bset: index in its node; jset: seq; others: index */
	uint64_t bucket;     /* bset: of its node */
	uint32_t version;    /* uuids */
	char node[RECIPE_NAME_BYTES];
};

struct recipe_build {
	const struct recipe *recipe;
	const char *out_dir;
	struct recipe_error *error;
	bool has_failed;
	struct bcfmt_ctx *ctx;
	struct bcfmt_target target; /* the cache, once it has sizes */
	struct bcfmt_geometry geo;
	bool has_geo;
	struct recipe_image image[1 + RECIPE_BACKING_MAX];
	struct vec things;	   /* struct recipe_thing */
	struct recipe_node *nodes; /* placed copies */
	uint64_t uuids_bucket;
	struct recipe_prio *prios; /* placed copies */
	uint8_t *gens;		   /* of every bucket */
	uint16_t *prio_values;
};

/* Records the first failure; line 0 for what belongs to no line. */
void recipe_build_fail(struct recipe_build *build, unsigned int line, const char *word,
		       const char *why);
bool recipe_image_read(struct recipe_build *build, uint32_t device, uint64_t at_bytes, void *buf,
		       size_t len_bytes);
bool recipe_image_write(struct recipe_build *build, uint32_t device, uint64_t at_bytes,
			const void *buf, size_t len_bytes);
void recipe_image_zero(struct recipe_build *build, uint32_t device, uint64_t at_bytes,
		       uint64_t len_bytes);
void recipe_image_fill(struct recipe_build *build, const struct recipe_data *data);
bool recipe_images_create(struct recipe_build *build);
/* Opens what was created for the writers of the library. */
void recipe_images_open(struct recipe_build *build);
bool recipe_images_copy(struct recipe_build *build, const char *base_dir);
void recipe_images_maps(struct recipe_build *build);
void recipe_images_close(struct recipe_build *build);
struct recipe_thing *recipe_thing_add(struct recipe_build *build, enum recipe_thing_kind kind,
				      uint32_t device, uint64_t at_bytes, uint64_t room_bytes);

/* ---- the rest of the builder ---- */

/* recipe_place.c: chooses the buckets that the recipe leaves open, and all gens. */
bool recipe_place(struct recipe_build *build);
/* recipe_fill.c: data under the keys, and on the backing devices. */
void recipe_fill_keys(struct recipe_build *build);
/* recipe_index.c: finds the structures of a base image. */
bool recipe_index_base(struct recipe_build *build);
/* recipe_damage.c */
void recipe_damage(struct recipe_build *build);
/* fields.c: the fields of a structure, and of what lies inside one. */
enum recipe_field_table {
	RECIPE_SUPER_FIELDS,
	RECIPE_JSET_FIELDS,
	RECIPE_BSET_FIELDS,
	RECIPE_PRIO_FIELDS,
	RECIPE_UUID_FIELDS,
	RECIPE_KEY_FIELDS,
	RECIPE_ENTRY_FIELDS,
};
/* Name of field i, NULL behind the last one. */
const char *recipe_field_name(enum recipe_field_table table, size_t i);

/* Where a field lies: bits from shift on in the bytes at at_bytes of the device of thing. */
struct recipe_field_place {
	const struct recipe_thing *thing;
	uint64_t at_bytes;
	unsigned int shift;
	unsigned int bits; /* 1 to 64; of uuids and texts whole bytes, more than 64 */
};
bool recipe_field_find(struct recipe_build *build, const char *path,
		       struct recipe_field_place *place);
/* Keys of an entry or bset; 0 when they do not fill it. */
uint64_t recipe_keys_count(struct recipe_build *build, const struct recipe_thing *thing);
/* Makes the checksum of the structure right, as far as its own length fits its place. */
void recipe_mend(struct recipe_build *build, const struct recipe_thing *thing);
/* fields.c: one field by path. has_mending: mends the checksum of the structure afterwards. */
bool recipe_field_write(struct recipe_build *build, unsigned int line, const char *path,
			const char *value, bool has_mending);

#endif
