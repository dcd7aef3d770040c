/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Statements of the recipe language for nodes, journal entries and keys. */
#include "recipe_parse.h"

#include <stdio.h>
#include <string.h>

#include "base/checked.h"

#define NODE_SEED   1000u
#define LAST_SECTOR ((1ull << 43) - 1)

/* Index of the node with this name, made when no line named it yet; -1 and a failure. */
static int node_named(struct recipe_parser *p, const char *name)
{
	struct recipe_node *node;

	for (size_t i = 0; i < p->recipe->nodes.n; i++)
		if (!strcmp(VEC_AT(&p->recipe->nodes, struct recipe_node, i)->name, name))
			return (int)i;
	if (!*name || strlen(name) >= RECIPE_NAME_BYTES || strpbrk(name, "[].:=")) {
		recipe_words_fail(&p->words, name, "is no name of a node");
		return -1;
	}
	node = parse_push(p, &p->recipe->nodes, sizeof(*node));
	if (!node)
		return -1;
	memcpy(node->name, name, strlen(name) + 1);
	node->line = p->words.line;
	return (int)p->recipe->nodes.n - 1;
}

void parse_node(struct recipe_parser *p)
{
	struct recipe_words *w = &p->words;
	const char *name = recipe_words_next(w, "name of the node");
	int index = name ? node_named(p, name) : -1;
	struct recipe_node *node;

	if (index < 0)
		return;
	node = VEC_AT(&p->recipe->nodes, struct recipe_node, index);
	if (node->is_defined)
		recipe_words_fail(w, name, "is defined twice");
	node->is_defined = true;
	node->line = w->line;
	node->level = (uint32_t)recipe_words_u64(w, "level", 0, UINT16_MAX);
	node->bucket = recipe_words_u64(w, "bucket", RECIPE_AUTO, p->recipe->geo.nbuckets - 1);
	node->gen = (uint32_t)recipe_words_u64(w, "gen", 1, 255);
	node->at_sector =
		(uint32_t)recipe_words_sectors(w, "at", 0, p->recipe->geo.bucket_sectors - 1);
	node->sectors = (uint32_t)recipe_words_sectors(w, "len", p->recipe->geo.node_sectors,
						       p->recipe->geo.bucket_sectors);
	node->seq = recipe_words_u64(w, "seq", recipe_mix(NODE_SEED + (uint64_t)index), UINT64_MAX);
	node->first_bset = (uint32_t)p->recipe->bsets.n;
	p->open = RECIPE_OPEN_NODE;
	p->node = index;
}

void parse_bset(struct recipe_parser *p)
{
	struct recipe_words *w = &p->words;
	struct recipe_bset *bset;

	if (p->open != RECIPE_OPEN_NODE) {
		recipe_words_fail(w, "bset", "stands below no node");
		return;
	}
	bset = parse_push(p, &p->recipe->bsets, sizeof(*bset));
	if (!bset)
		return;
	bset->block = recipe_words_u64(w, "block", RECIPE_AUTO, UINT32_MAX);
	bset->seq = recipe_words_u64(w, "seq", RECIPE_AUTO, UINT64_MAX);
	bset->version = (uint32_t)recipe_words_u64(w, "version", 1, 1);
	bset->first_key = (uint32_t)p->recipe->keys.n;
	VEC_AT(&p->recipe->nodes, struct recipe_node, p->node)->n_bsets++;
}

void parse_journal(struct recipe_parser *p)
{
	struct recipe_words *w = &p->words;
	uint64_t last_bucket = p->recipe->geo.nbuckets - 1;
	struct recipe_jset *jset;
	const char *root;

	if (recipe_words_flag(w, "none")) {
		p->recipe->has_journal_none = true;
		return;
	}
	jset = parse_push(p, &p->recipe->jsets, sizeof(*jset));
	if (!jset)
		return;
	recipe_words_need(w, "seq");
	jset->line = w->line;
	jset->seq = recipe_words_u64(w, "seq", 0, UINT64_MAX);
	jset->last_seq = recipe_words_u64(w, "last", jset->seq, UINT64_MAX);
	jset->ring = recipe_words_u64(w, "ring", RECIPE_AUTO,
				      max_u64(p->recipe->geo.journal_buckets, 1) - 1);
	jset->at_sector =
		recipe_words_sectors(w, "at", RECIPE_AUTO, p->recipe->geo.bucket_sectors - 1);
	jset->level = recipe_words_u64(w, "level", RECIPE_AUTO, UINT16_MAX);
	jset->prio = recipe_words_u64(w, "prio", RECIPE_AUTO, last_bucket);
	jset->uuids = recipe_words_u64(w, "uuids", RECIPE_AUTO, last_bucket);
	jset->version = (uint32_t)recipe_words_u64(w, "version", 1, UINT32_MAX);
	root = recipe_words_text(w, "root");
	jset->root = node_named(p, root ? root : "root");
	jset->first_key = (uint32_t)p->recipe->keys.n;
	p->open = RECIPE_OPEN_JSET;
}

/* Room for a key in what is open; a node's first key opens a bset. NULL and a failure. */
static struct recipe_key *key_push(struct recipe_parser *p)
{
	struct recipe_key *key;

	if (p->open == RECIPE_OPEN_NONE) {
		recipe_words_fail(&p->words, p->words.word[0], "stands below no node or journal");
		return NULL;
	}
	if (p->open == RECIPE_OPEN_NODE &&
	    !VEC_AT(&p->recipe->nodes, struct recipe_node, p->node)->n_bsets)
		parse_bset(p);
	key = parse_push(p, &p->recipe->keys, sizeof(*key));
	if (!key)
		return NULL;
	key->child = -1;
	if (p->open == RECIPE_OPEN_NODE)
		VEC_AT(&p->recipe->bsets, struct recipe_bset, p->recipe->bsets.n - 1)->n_keys++;
	else
		VEC_AT(&p->recipe->jsets, struct recipe_jset, p->recipe->jsets.n - 1)->n_keys++;
	return key;
}

static void put_key(struct recipe_parser *p, uint32_t inode, uint64_t end_sector, uint32_t sectors,
		    bool is_dirty, bool has_ptr, uint64_t ptr)
{
	struct bcfmt_key made = bcfmt_key_make(inode, end_sector, sectors, is_dirty, has_ptr, ptr);
	struct recipe_key *key = key_push(p);

	if (!key)
		return;
	key->word[0] = made.high;
	key->word[1] = made.low;
	key->word[2] = made.ptr;
	key->n_words = has_ptr ? 3 : 2;
}

/* What the words of key and keys say. */
struct key_words {
	uint32_t inode;
	uint64_t start_sector;
	uint32_t sectors;
	bool is_dirty;
	bool is_hole;
	bool is_placeholder;
	uint64_t ptr_sector;
	uint32_t gen;
	uint32_t dev;
};

/* "30+8s": bucket 30, sector 8 in it. */
static uint64_t place(struct recipe_parser *p, const char *text)
{
	const char *plus = strchr(text, '+');
	char bucket_text[24] = "";
	uint64_t bucket = 0;
	uint64_t bytes = 0;
	uint64_t sector;

	if (plus && (size_t)(plus - text) < sizeof(bucket_text))
		memcpy(bucket_text, text, (size_t)(plus - text));
	if (!plus || !recipe_number(bucket_text, &bucket) || !recipe_size(plus + 1, &bytes) ||
	    bytes % BCFMT_SECTOR_BYTES ||
	    mul_overflows(bucket, p->recipe->geo.bucket_sectors, &sector) ||
	    add_overflows(sector, bytes / BCFMT_SECTOR_BYTES, &sector) || sector > LAST_SECTOR) {
		recipe_words_fail(&p->words, text, "is no place on the cache (30+8s)");
		return 0;
	}
	return sector;
}

static void read_key_words(struct recipe_parser *p, struct key_words *out)
{
	struct recipe_words *w = &p->words;
	const char *ptr;
	bool has_ptr;
	uint64_t end_sector;

	recipe_words_need(w, "len");
	out->inode = (uint32_t)recipe_words_u64(w, "inode", 0, BCFMT_KEY_MAX_INODE);
	out->sectors = (uint32_t)recipe_words_sectors(w, "len", 0, BCFMT_KEY_MAX_SECTORS);
	end_sector = recipe_words_sectors(w, "end", RECIPE_AUTO, BCFMT_KEY_MAX_OFFSET);
	if (end_sector == RECIPE_AUTO) {
		recipe_words_need(w, "start");
		out->start_sector = recipe_words_sectors(w, "start", 0, BCFMT_KEY_MAX_OFFSET);
	} else {
		out->start_sector = end_sector - out->sectors;
	}
	out->is_dirty = recipe_words_flag(w, "dirty");
	out->is_hole = recipe_words_flag(w, "hole");
	out->is_placeholder = recipe_words_flag(w, "placeholder");
	ptr = recipe_words_text(w, "ptr");
	has_ptr = ptr != NULL;
	if (has_ptr + out->is_hole + out->is_placeholder != 1)
		recipe_words_fail(w, w->word[0], "needs one of ptr=, hole and placeholder");
	if (!has_ptr)
		return;
	out->ptr_sector = place(p, ptr);
	out->gen = (uint32_t)recipe_words_u64(w, "gen", 1, 255);
	out->dev = (uint32_t)recipe_words_u64(w, "dev", p->recipe->geo.nr_this_dev, 0xfff);
}

static void put_words(struct recipe_parser *p, const struct key_words *k)
{
	uint64_t ptr = bcfmt_ptr_make(k->dev, k->ptr_sector, k->gen);

	/* Random in all other bits, bit 63 too, as the kernel leaves it. */
	if (k->is_placeholder)
		ptr = recipe_mix(k->start_sector ^ (uint64_t)p->words.line << 32) |
		      (uint64_t)BCFMT_PTR_DEV_CHECK << 51;
	put_key(p, k->inode, k->start_sector + k->sectors, k->sectors, k->is_dirty, !k->is_hole,
		ptr);
}

void parse_key(struct recipe_parser *p)
{
	struct key_words k = { 0 };

	read_key_words(p, &k);
	if (!p->words.has_failed)
		put_words(p, &k);
}

/* keys N ...: the first as key says; start goes on by step, the pointer by len within a bucket. */
void parse_keys(struct recipe_parser *p)
{
	struct recipe_words *w = &p->words;
	const char *text = recipe_words_next(w, "number of keys");
	uint32_t bucket_sectors = p->recipe->geo.bucket_sectors;
	struct key_words k = { 0 };
	uint64_t count = 0;
	uint64_t step_sectors;

	if (text && (!recipe_number(text, &count) || count > RECIPE_ITEMS_MAX))
		recipe_words_fail(w, text, "is no number of keys");
	read_key_words(p, &k);
	step_sectors = recipe_words_sectors(w, "step", k.sectors, UINT32_MAX);
	for (uint64_t i = 0; i < count && !w->has_failed; i++) {
		put_words(p, &k);
		k.start_sector += step_sectors;
		k.ptr_sector += k.sectors;
		if (k.ptr_sector % bucket_sectors + k.sectors > bucket_sectors)
			k.ptr_sector = (k.ptr_sector / bucket_sectors + 1) * bucket_sectors;
	}
}

/* "max" or "0:4096s". */
static struct bcfmt_pos position(struct recipe_parser *p, const char *text)
{
	const char *colon = strchr(text, ':');
	char inode_text[16] = "";
	char sector_text[24] = "";
	uint64_t inode = 0;
	uint64_t sector = 0;

	if (!strcmp(text, "max"))
		return bcfmt_pos_max();
	if (colon && (size_t)(colon - text) < sizeof(inode_text) && colon[1] &&
	    strlen(colon + 1) < sizeof(sector_text)) {
		memcpy(inode_text, text, (size_t)(colon - text));
		memcpy(sector_text, colon + 1, strlen(colon + 1) - 1);
	}
	if (!recipe_number(inode_text, &inode) || inode > BCFMT_KEY_MAX_INODE ||
	    !recipe_number(sector_text, &sector) || text[strlen(text) - 1] != 's')
		recipe_words_fail(&p->words, text, "is no position (0:4096s or max)");
	return (struct bcfmt_pos){ (uint32_t)inode, sector };
}

/* The pointer is put in when the node has its bucket. */
void parse_child(struct recipe_parser *p)
{
	struct recipe_words *w = &p->words;
	const char *name = recipe_words_next(w, "name of the node");
	const char *upto;
	struct bcfmt_pos pos;
	uint32_t sectors;
	int index;

	recipe_words_need(w, "upto");
	upto = recipe_words_text(w, "upto");
	if (!name || !upto)
		return;
	pos = position(p, upto);
	sectors = (uint32_t)recipe_words_sectors(w, "len", p->recipe->geo.node_sectors,
						 BCFMT_KEY_MAX_SECTORS);
	index = node_named(p, name);
	put_key(p, pos.inode, pos.sector, sectors, false, true, 0);
	if (!w->has_failed)
		VEC_AT(&p->recipe->keys, struct recipe_key, p->recipe->keys.n - 1)->child = index;
}

/* A freed node: key 0:0 whose pointer has the bucket's new gen. */
void parse_tombstone(struct recipe_parser *p)
{
	struct recipe_words *w = &p->words;
	uint64_t bucket;
	uint32_t gen;

	recipe_words_need(w, "bucket");
	recipe_words_need(w, "gen");
	bucket = recipe_words_u64(w, "bucket", 0, p->recipe->geo.nbuckets - 1);
	gen = (uint32_t)recipe_words_u64(w, "gen", 0, 255);
	put_key(p, 0, 0, p->recipe->geo.node_sectors, false, true,
		bcfmt_ptr_make(p->recipe->geo.nr_this_dev,
			       bcfmt_bucket_sector(&p->recipe->geo, bucket), gen));
}

/* Up to 4 raw words of the key area. */
void parse_words(struct recipe_parser *p)
{
	struct recipe_words *w = &p->words;
	struct recipe_key *key = key_push(p);

	for (unsigned int i = 1; key && i < w->n && !w->has_failed; i++) {
		w->is_used[i] = true;
		if (i > 4 || !recipe_number(w->word[i], &key->word[i - 1]))
			recipe_words_fail(w, w->word[i], "is no word, or more than 4");
		key->n_words = i;
	}
}

/* What the recipe leaves out: a prio chain, a journal entry, an empty leaf as root. */
bool parse_finish(struct recipe_parser *p)
{
	struct recipe *recipe = p->recipe;
	struct recipe_words *w = &p->words;

	if (!recipe->device[RECIPE_CACHE].is_used || recipe->is_fresh)
		return true;
	recipe_words_split(w, "", 0);
	w->word[0] = w->text;
	if (!recipe->prios.n)
		parse_prio(p);
	if (!recipe->jsets.n && !recipe->has_journal_none) {
		recipe_words_split(w, "seq=1", 5);
		parse_journal(p);
	}
	for (size_t i = 0; i < recipe->nodes.n && !w->has_failed; i++) {
		struct recipe_node *node = VEC_AT(&recipe->nodes, struct recipe_node, i);

		if (node->is_defined)
			continue;
		if (strcmp(node->name, "root")) {
			w->line = node->line;
			recipe_words_fail(w, node->name, "is named but no node line defines it");
			break;
		}
		recipe_words_split(w, node->name, strlen(node->name));
		parse_node(p);
	}
	return !w->has_failed;
}
