/* SPDX-License-Identifier: GPL-2.0-or-later */
/* bcache-dump btree: the nodes by level, from the root down, or one of them in full. */
#include "filter.h"
#include "cli/lone_node.h"
#include "walk.h"

#include <stdlib.h>

/* What a row tells of a node; interior ones wait here until their level is in order. */
struct node_line {
	struct bcfmt_node_ref ref;
	uint64_t seq;
	uint64_t bad_sectors;
	uint32_t bsets;
	uint32_t blocks; /* taken by bsets */
	uint32_t nblocks;
	uint32_t keys;
	uint32_t skipped_backwards;
	uint32_t zero_size_keys;
	uint32_t placeholders;
	uint32_t fault_block;
	enum hurt_why why;
	enum bcfmt_bset_fault fault;
};

struct btree_dump {
	struct dump *d;
	struct walk walk;
	struct node_line *lines;
	size_t n_lines;
	size_t lines_cap;
	struct lone_node lone;
};

static struct node_line line_of(const struct bcfmt_node_view *view)
{
	const struct bcfmt_node *node = view->node;
	struct node_line line = {
		.ref = *view->ref,
		.seq = node->seq,
		.bad_sectors = view->bad.sectors,
		.nblocks = node->nblocks,
		.keys = view->keys,
		.skipped_backwards = view->skipped_backwards,
		.zero_size_keys = view->zero_size_keys,
		.placeholders = view->placeholders,
		.fault_block = node->fault_block,
		.why = walk_node_hurt(view),
		.fault = node->fault,
	};

	for (uint32_t i = 0; i < node->n_bsets; i++) {
		if (node->bsets[i].fault)
			continue;
		line.bsets++;
		line.blocks += node->bsets[i].blocks;
	}
	return line;
}

static void pos_fields(struct bcfmt_out *out, const char *inode_key, const char *sector_key,
		       struct bcfmt_pos pos)
{
	bcfmt_row_u64(out, inode_key, pos.inode);
	bcfmt_row_u64(out, sector_key, pos.sector);
}

static const char *fault_text(const struct node_line *line)
{
	switch (line->why) {
	case HURT_UNREADABLE:
		return "cannot be read";
	case HURT_FAULT:
		return bcfmt_bset_fault_text(line->fault);
	case HURT_OVERRUN:
		return "keys do not fill their set";
	case HURT_DISORDERED:
		return "out of order";
	case HURT_FOUND:
	case HURT_NONE:
	case HURT_GAP:
	case HURT_CHILD:
		break;
	}
	return NULL;
}

static void node_row(struct dump *d, const struct node_line *line)
{
	struct bcfmt_out *out = d->out;

	bcfmt_row_begin(out, "node");
	bcfmt_row_u64(out, "level", line->ref.level);
	bcfmt_row_u64(out, "bucket", bcfmt_ptr_bucket(&d->set->geo, line->ref.ptr));
	bcfmt_row_u64(out, "sector", bcfmt_ptr_sector(line->ref.ptr));
	bcfmt_row_u64(out, "gen", bcfmt_ptr_gen(line->ref.ptr));
	bcfmt_row_u64(out, "sectors", line->ref.sectors);
	bcfmt_row_u64(out, "bsets", line->bsets);
	bcfmt_row_u64(out, "keys", line->keys);
	if (line->nblocks)
		bcfmt_row_u64(out, "fill_percent", 100ull * line->blocks / line->nblocks);
	pos_fields(out, "from_inode", "from_sector", line->ref.lo);
	pos_fields(out, "to_inode", "to_sector", line->ref.hi);
	bcfmt_row_hex(out, "seq", line->seq);
	if (line->ref.is_root)
		bcfmt_row_bool(out, "root", true);
	if (line->skipped_backwards)
		bcfmt_row_u64(out, "skipped_backwards", line->skipped_backwards);
	if (line->zero_size_keys)
		bcfmt_row_u64(out, "zero_size_keys", line->zero_size_keys);
	if (line->placeholders)
		bcfmt_row_u64(out, "placeholders", line->placeholders);
	if (line->bad_sectors)
		bcfmt_row_u64(out, "bad_sectors", line->bad_sectors);
	if (fault_text(line))
		bcfmt_row_text(out, "fault", fault_text(line));
	if (line->why == HURT_FAULT)
		bcfmt_row_u64(out, "fault_block", line->fault_block);
	bcfmt_row_end(out);
}

static void key_row(struct dump *d, uint64_t bucket, const struct bcfmt_bset *bset,
		    const struct bcfmt_key_iter *it, const struct bcfmt_key *key)
{
	char text[BCFMT_KEY_TEXT_BYTES];

	if (!bcfmt_out_is_json(d->out)) {
		bcfmt_key_text_raw(text, it->raw, bcfmt_key_words(key), false);
		bcfmt_out_line(d->out, "bucket %llu block %u key %u/%u: %s",
			       (unsigned long long)bucket, bset->block, it->word, bset->words,
			       text);
		return;
	}
	bcfmt_row_begin(d->out, "node_key");
	bcfmt_row_u64(d->out, "node_bucket", bucket);
	bcfmt_row_u64(d->out, "block", bset->block);
	bcfmt_row_u64(d->out, "word", it->word);
	key_fields(d, key);
	bcfmt_row_end(d->out);
}

static void key_rows(struct dump *d, const struct bcfmt_node_ref *ref,
		     const struct bcfmt_node *node)
{
	uint64_t bucket = bcfmt_ptr_bucket(&d->set->geo, ref->ptr);

	for (uint32_t i = 0; i < node->n_bsets; i++) {
		const struct bcfmt_bset *bset = &node->bsets[i];
		struct bcfmt_key_iter it = bcfmt_key_iter_init(bset->keys, bset->words);
		struct bcfmt_key key;

		while (!bset->fault && bcfmt_key_iter_next(&it, &key))
			key_row(d, bucket, bset, &it, &key);
	}
}

static bcfmt_err see_interior(void *arg, const struct bcfmt_node_view *view)
{
	struct btree_dump *bd = arg;
	struct walk *walk = &bd->walk;
	bcfmt_err err = BCFMT_OK;

	pthread_mutex_lock(&walk->lock);
	if (bd->n_lines == bd->lines_cap) {
		size_t cap = bd->lines_cap ? 2 * bd->lines_cap : 64;
		struct node_line *grown = realloc(bd->lines, cap * sizeof(*grown));

		if (grown) {
			bd->lines = grown;
			bd->lines_cap = cap;
		} else {
			err = BCFMT_E_NOMEM;
		}
	}
	if (!err)
		bd->lines[bd->n_lines++] = line_of(view);
	pthread_mutex_unlock(&walk->lock);
	return err;
}

static bcfmt_err see_leaf_node(void *arg, const struct bcfmt_node_view *view)
{
	struct btree_dump *bd = arg;
	struct node_line line = line_of(view);

	node_row(bd->d, &line);
	if (bd->d->opt.with_keys)
		key_rows(bd->d, view->ref, view->node);
	return walk_note(&bd->walk, view);
}

/* From the root down, every level in the order of its keys. */
static int line_cmp(const void *a, const void *b)
{
	const struct node_line *x = a, *y = b;
	int order;

	if (x->ref.level != y->ref.level)
		return x->ref.level > y->ref.level ? -1 : 1;
	order = bcfmt_pos_cmp(x->ref.lo, y->ref.lo);
	return order ? order : bcfmt_pos_cmp(x->ref.hi, y->ref.hi);
}

static bcfmt_err show_interior(struct btree_dump *bd)
{
	struct bcfmt_node_view view;
	bcfmt_err err = BCFMT_OK;

	if (bd->n_lines)
		qsort(bd->lines, bd->n_lines, sizeof(*bd->lines), line_cmp);
	for (size_t i = 0; i < bd->n_lines && !err; i++) {
		node_row(bd->d, &bd->lines[i]);
		if (!bd->d->opt.with_keys)
			continue;
		err = lone_node_read(&bd->lone, bd->d->set, &bd->lines[i].ref, &view);
		if (!err)
			key_rows(bd->d, view.ref, view.node);
	}
	return err;
}

static int show_all(struct btree_dump *bd)
{
	struct bcfmt_tree_visitor visitor = { .arg = bd, .node = see_leaf_node };
	struct bcfmt_pos lo = { 0, 0 };
	bcfmt_err err;
	int code;

	code = walk_open(&bd->walk, bd->d, lo, bcfmt_pos_max(), see_interior, bd);
	if (code)
		return code;
	bcfmt_row_begin(bd->d->out, "btree");
	bcfmt_row_u64(bd->d->out, "levels", bd->d->set->newest.btree_level + 1ull);
	bcfmt_row_u64(bd->d->out, "nodes", bcfmt_tree_nodes(bd->walk.tree));
	bcfmt_row_u64(bd->d->out, "leaves", bcfmt_tree_leaves(bd->walk.tree));
	bcfmt_row_u64(bd->d->out, "root_bucket",
		      bcfmt_ptr_bucket(&bd->d->set->geo, bd->d->set->newest.btree_root.ptr));
	bcfmt_row_u64(bd->d->out, "seq", bd->d->set->newest.seq);
	bcfmt_row_end(bd->d->out);
	err = show_interior(bd);
	if (!err)
		err = bcfmt_tree_range(bd->walk.tree, lo, bcfmt_pos_max(), &visitor);
	if (err)
		return dump_failed(bd->d, err);
	walk_tell(&bd->walk);
	return bd->walk.is_damaged ? DUMP_DAMAGED : DUMP_DONE;
}

/* The ref of the node in the bucket; sectors 0 when the tree has none there. */
static struct bcfmt_node_ref find_ref(const struct btree_dump *bd, uint64_t bucket)
{
	const struct bcfmt_geometry *geo = &bd->d->set->geo;

	for (size_t i = 0; i < bd->n_lines; i++)
		if (bcfmt_ptr_bucket(geo, bd->lines[i].ref.ptr) == bucket)
			return bd->lines[i].ref;
	for (size_t i = 0; bd->walk.tree && i < bcfmt_tree_leaves(bd->walk.tree); i++) {
		const struct bcfmt_node_ref *ref = bcfmt_tree_leaf(bd->walk.tree, i);

		if (ref->sectors && bcfmt_ptr_bucket(geo, ref->ptr) == bucket)
			return *ref;
	}
	return (struct bcfmt_node_ref){ 0 };
}

static int show_one(struct btree_dump *bd)
{
	struct dump *d = bd->d;
	uint64_t bucket = d->opt.node_bucket;
	struct bcfmt_pos nowhere = { 0, 0 };
	struct bcfmt_node_ref ref;
	struct bcfmt_node_view view;
	bool is_found = true;
	bcfmt_err err;
	int code;

	if (bucket < d->set->geo.first_bucket || bucket >= d->set->geo.nbuckets) {
		cli_error(dump_cache_name(d), "bucket %llu is not one of %u to %llu",
			  (unsigned long long)bucket, d->set->geo.first_bucket,
			  (unsigned long long)d->set->geo.nbuckets - 1);
		return DUMP_USAGE;
	}
	/* Damage elsewhere is not asked for; and without a tree the bucket may still hold a node. */
	code = walk_open(&bd->walk, d, nowhere, nowhere, see_interior, bd);
	if (code == DUMP_FAILED)
		return code;
	/* The dump says which pointers are stale, and leaves raise generations too. */
	err = code ? BCFMT_OK : walk_settle(&bd->walk, NULL, NULL, NULL);
	if (err)
		return dump_failed(d, err);
	ref = find_ref(bd, bucket);
	if (!ref.sectors) {
		cli_error(dump_cache_name(d), "no pointer of the tree leads to bucket %llu",
			  (unsigned long long)bucket);
		err = lone_node_guess(&bd->lone, d->set, bucket, &ref, &is_found);
		if (err)
			return dump_failed(d, err);
	}
	if (!is_found) {
		cli_error(dump_cache_name(d), "bucket %llu holds no node of this set",
			  (unsigned long long)bucket);
		return DUMP_DAMAGED;
	}
	err = lone_node_read(&bd->lone, d->set, &ref, &view);
	if (err)
		return dump_failed(d, err);
	bcfmt_render_node_dump(d->out, d->set, &view);
	if (view.bad.sectors)
		cli_error(dump_cache_name(d), "%llu sectors of the node cannot be read",
			  (unsigned long long)view.bad.sectors);
	return view.bad.sectors || view.node->fault || code ? DUMP_DAMAGED : DUMP_DONE;
}

int cmd_btree(struct dump *d)
{
	struct btree_dump bd = { .d = d };
	int code = d->opt.has_node ? show_one(&bd) : show_all(&bd);

	walk_close(&bd.walk);
	lone_node_clear(&bd.lone);
	free(bd.lines);
	return code;
}
