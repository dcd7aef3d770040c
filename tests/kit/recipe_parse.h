/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What the files of the recipe parser share. */
#ifndef KIT_RECIPE_PARSE_H
#define KIT_RECIPE_PARSE_H

#include "recipe_impl.h"

/* What key lines go to. */
enum recipe_open { RECIPE_OPEN_NONE, RECIPE_OPEN_NODE, RECIPE_OPEN_JSET };

struct recipe_parser {
	struct recipe *recipe;
	struct recipe_words words;
	enum recipe_open open;
	int node; /* that key lines go to */
};

/* A zeroed item, or NULL and a failure. */
void *parse_push(struct recipe_parser *p, struct vec *vec, size_t item_bytes);
uint32_t parse_device(struct recipe_parser *p, const char *name);

/* recipe_parse.c: devices and tables */
void parse_cache(struct recipe_parser *p);
void parse_backing(struct recipe_parser *p);
void parse_uuid(struct recipe_parser *p);
void parse_uuids(struct recipe_parser *p);
void parse_prio(struct recipe_parser *p);
void parse_gen(struct recipe_parser *p);
void parse_data(struct recipe_parser *p);

/* recipe_keys.c: nodes, journal entries and their keys */
void parse_node(struct recipe_parser *p);
void parse_bset(struct recipe_parser *p);
void parse_journal(struct recipe_parser *p);
void parse_key(struct recipe_parser *p);
void parse_keys(struct recipe_parser *p);
void parse_child(struct recipe_parser *p);
void parse_tombstone(struct recipe_parser *p);
void parse_words(struct recipe_parser *p);
bool parse_finish(struct recipe_parser *p);

/* recipe.c: damage */
void parse_damage(struct recipe_parser *p);

#endif
