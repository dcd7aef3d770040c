/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Writes a tree from a stream of leaf keys in order. One node a level is open; a key that does
 * not fit closes it, and the pointer to it goes to the level above. A node ends where its last
 * key ends; those that are open at the end of the stream are the right edge.
 */
#include <bcfmt/write_tree.h>

#include <inttypes.h>
#include <stdlib.h>
#include <sys/random.h>

#include "base/checked.h"
#include "codec/node_seq.h"
#include "write/write_impl.h"

#define FILL_PERCENT_DEFAULT 80u
#define FILL_PERCENT_MIN 10u
/* With 10 percent of 4 KiB, 15 pointers a node: more keys than a pointer has sectors to name. */
#define LEVELS_MAX 16u
#define KEY_WORDS_MAX 3u

struct level {
	uint8_t *buf;	       /* a node; NULL until the level has a key */
	uint32_t words;	       /* at buf + 32 */
	struct bcfmt_pos lo;   /* end of the node before it */
	struct bcfmt_pos last; /* end of its last key */
};

struct bcfmt_tree_writer {
	struct bcfmt_target target;
	struct bcfmt_tree_writer_params params;
	struct level level[LEVELS_MAX];
	struct bcfmt_node scratch;
	struct bcfmt_tree_written written;
	struct bcfmt_key kept; /* the last leaf that was kept */
	uint64_t seq_state;
	uint32_t words_max; /* of a node */
	bcfmt_err failed;   /* the first failure; every later call returns it */
};

static uint32_t node_words(const struct bcfmt_geometry *geo, unsigned int fill_percent)
{
	uint64_t bytes = (uint64_t)geo->node_sectors * BCFMT_SECTOR_BYTES *
			 (fill_percent ? fill_percent : FILL_PERCENT_DEFAULT) / 100;

	return bytes < BCFMT_BSET_HEADER_BYTES ? 0
					       : (uint32_t)(bytes - BCFMT_BSET_HEADER_BYTES) / 8;
}

uint64_t bcfmt_tree_nodes_max(const struct bcfmt_geometry *geo, unsigned int fill_percent,
			      uint64_t n_keys)
{
	/* Two keys a node at least, or the levels would not end. */
	uint64_t keys_a_node = max_u64(node_words(geo, fill_percent) / KEY_WORDS_MAX, 2);
	uint64_t nodes = 0, n = max_u64(n_keys, 1);

	do {
		n = div_round_up(n, keys_a_node);
		nodes += n;
	} while (n > 1);
	return nodes;
}

/* A permutation of the numbers, so that no two nodes of a tree get the same. */
static uint64_t next_seq(struct bcfmt_tree_writer *writer)
{
	uint64_t mixed;

	do {
		mixed = writer->seq_state += 0x9e3779b97f4a7c15ull;
		mixed = (mixed ^ mixed >> 30) * 0xbf58476d1ce4e5b9ull;
		mixed = (mixed ^ mixed >> 27) * 0x94d049bb133111ebull;
		mixed ^= mixed >> 31;
	} while (!mixed);
	return mixed;
}

static bcfmt_err check_params(const struct bcfmt_target *target,
			      const struct bcfmt_tree_writer_params *params)
{
	unsigned int fill = params->fill_percent;

	if (fill && (fill < FILL_PERCENT_MIN || fill > 100))
		return bcfmt_fail(target->ctx, BCFMT_E_ARG,
				  "%s: nodes filled to %u percent, not 10 to 100",
				  bcfmt_dev_name(target->dev), fill);
	if (node_words(target->geo, fill) < 2 * KEY_WORDS_MAX)
		return bcfmt_fail(target->ctx, BCFMT_E_ARG,
				  "%s: nodes of %" PRIu32 " sectors are too small for a tree",
				  bcfmt_dev_name(target->dev), target->geo->node_sectors);
	return BCFMT_OK;
}

bcfmt_err bcfmt_tree_writer_new(const struct bcfmt_target *target,
				const struct bcfmt_tree_writer_params *params,
				struct bcfmt_tree_writer **out)
{
	struct bcfmt_tree_writer *writer;
	bcfmt_err err = check_params(target, params);

	*out = NULL;
	if (err)
		return err;
	writer = calloc(1, sizeof(*writer));
	if (!writer)
		return bcfmt_fail(target->ctx, BCFMT_E_NOMEM, "%s: out of memory for a tree",
				  bcfmt_dev_name(target->dev));
	writer->target = *target;
	writer->params = *params;
	writer->words_max = node_words(target->geo, params->fill_percent);
	writer->seq_state = params->seed;
	if (!params->seed && getrandom(&writer->seq_state, sizeof(writer->seq_state), 0) !=
				     sizeof(writer->seq_state)) {
		bcfmt_tree_writer_free(writer);
		return bcfmt_fail(target->ctx, BCFMT_E_SYSTEM, "no random numbers to be had");
	}
	*out = writer;
	return BCFMT_OK;
}

void bcfmt_tree_writer_free(struct bcfmt_tree_writer *writer)
{
	if (!writer)
		return;
	for (unsigned int i = 0; i < LEVELS_MAX; i++)
		free(writer->level[i].buf);
	bcfmt_node_clear(&writer->scratch);
	free(writer);
}

/* Writes the open node of a level, which ends at hi; *key is the pointer to it. */
static bcfmt_err close_node(struct bcfmt_tree_writer *writer, unsigned int at, struct bcfmt_pos hi,
			    bool is_root, struct bcfmt_key *key)
{
	const struct bcfmt_geometry *geo = writer->target.geo;
	struct level *level = &writer->level[at];
	struct bcfmt_node_ref ref = { .lo = level->lo,
				      .hi = hi,
				      .sectors = geo->node_sectors,
				      .level = (uint8_t)at,
				      .is_root = is_root };
	uint64_t bucket, seq;
	uint8_t gen;
	bcfmt_err err;

	if (bcfmt_ctx_is_cancelled(writer->target.ctx))
		return BCFMT_E_CANCELLED;
	err = writer->params.bucket(writer->params.bucket_arg, &bucket, &gen);
	if (err)
		return err;
	if (!write_bucket_is_usable(geo, bucket))
		return bcfmt_fail(writer->target.ctx, BCFMT_E_ARG,
				  "%s: bucket %" PRIu64 " given for a node cannot hold one",
				  bcfmt_dev_name(writer->target.dev), bucket);
	ref.ptr = bcfmt_ptr_make(geo->nr_this_dev, bcfmt_bucket_sector(geo, bucket), gen);
	seq = writer->params.is_of_search ? node_seq_of_search(geo, ref.ptr) : next_seq(writer);
	err = write_node(&writer->target, &ref, seq, level->buf, level->words, &writer->scratch);
	if (err)
		return err;
	*key = bcfmt_key_make(hi.inode, hi.sector, ref.sectors, false, true, ref.ptr);
	writer->written.nodes++;
	writer->written.leaves += !at;
	level->words = 0;
	level->lo = hi;
	return BCFMT_OK;
}

static bcfmt_err open_level(struct bcfmt_tree_writer *writer, unsigned int at)
{
	size_t node_bytes = (size_t)writer->target.geo->node_sectors * BCFMT_SECTOR_BYTES;

	if (writer->level[at].buf)
		return BCFMT_OK;
	writer->level[at].buf = malloc(node_bytes);
	if (!writer->level[at].buf)
		return bcfmt_fail(writer->target.ctx, BCFMT_E_NOMEM, "%s: out of memory for a node",
				  bcfmt_dev_name(writer->target.dev));
	return BCFMT_OK;
}

/* Puts a key into the open node of a level; where it does not fit, closes as many as it must. */
static bcfmt_err push_key(struct bcfmt_tree_writer *writer, unsigned int at, struct bcfmt_key key)
{
	bcfmt_err err = BCFMT_OK;
	bool has_closed = true;

	for (; !err && has_closed; at++) {
		struct level *level = &writer->level[at];
		struct bcfmt_key parent;

		if (at == LEVELS_MAX)
			return bcfmt_fail(writer->target.ctx, BCFMT_E_UNSUPPORTED,
					  "%s: a tree of more than %u levels",
					  bcfmt_dev_name(writer->target.dev), LEVELS_MAX);
		err = open_level(writer, at);
		has_closed = level->words + bcfmt_key_words(&key) > writer->words_max;
		if (!err && has_closed)
			err = close_node(writer, at, level->last, false, &parent);
		if (err)
			break;
		level->words += bcfmt_key_encode(&key, level->buf + BCFMT_BSET_HEADER_BYTES +
							       8 * (size_t)level->words);
		level->last = bcfmt_key_end(&key);
		if (has_closed)
			key = parent;
	}
	return err;
}

static bcfmt_err check_order(struct bcfmt_tree_writer *writer, const struct bcfmt_key *key)
{
	struct bcfmt_pos last = writer->level[0].last;

	if ((!writer->written.keys && !writer->written.kept) ||
	    bcfmt_pos_cmp(bcfmt_key_start(key), last) >= 0)
		return BCFMT_OK;
	return write_fail_key(&writer->target, key,
			      bcfmt_pos_cmp(bcfmt_key_end(key), last) > 0
				      ? "overlaps the one before it"
				      : "lies before the end of the one before it");
}

bcfmt_err bcfmt_tree_writer_add(struct bcfmt_tree_writer *writer, const struct bcfmt_key *key)
{
	const char *why;

	if (writer->failed)
		return writer->failed;
	why = write_leaf_key_refusal(writer->target.geo, key);
	if (why)
		writer->failed = write_fail_key(&writer->target, key, why);
	else
		writer->failed = check_order(writer, key);
	if (!writer->failed)
		writer->failed = push_key(writer, 0, *key);
	if (!writer->failed)
		writer->written.keys++;
	return writer->failed;
}

static bcfmt_err check_kept(struct bcfmt_tree_writer *writer, const struct bcfmt_key *leaf)
{
	const char *why = write_node_key_refusal(writer->target.geo, leaf);

	if (!why && bcfmt_key_sectors(leaf) != writer->target.geo->node_sectors)
		why = "is a node of another size";
	if (!why && bcfmt_pos_cmp(bcfmt_key_end(leaf), writer->level[0].last) <= 0)
		why = "ends before the key before it";
	return why ? write_fail_key(&writer->target, leaf, why) : BCFMT_OK;
}

bcfmt_err bcfmt_tree_writer_keep(struct bcfmt_tree_writer *writer, const struct bcfmt_key *leaf)
{
	struct level *level = &writer->level[0];
	struct bcfmt_key parent;

	if (!writer->failed)
		writer->failed = check_kept(writer, leaf);
	if (!writer->failed && level->words) {
		writer->failed = close_node(writer, 0, level->last, false, &parent);
		if (!writer->failed)
			writer->failed = push_key(writer, 1, parent);
	}
	if (!writer->failed)
		writer->failed = push_key(writer, 1, *leaf);
	if (writer->failed)
		return writer->failed;
	level->lo = level->last = bcfmt_key_end(leaf);
	writer->kept = *leaf;
	writer->written.kept++;
	return BCFMT_OK;
}

/*
 * A leaf that was kept is the right edge: the open leaf below level 1 is not needed. It may be
 * the whole tree.
 */
static bool ends_kept(const struct bcfmt_tree_writer *writer)
{
	return writer->written.kept && !writer->level[0].words &&
	       !bcfmt_pos_cmp(writer->level[0].last, bcfmt_pos_max());
}

bcfmt_err bcfmt_tree_writer_finish(struct bcfmt_tree_writer *writer, struct bcfmt_tree_written *out)
{
	struct bcfmt_key key = writer->kept;
	unsigned int at = 0;
	bool is_root = false;

	*out = (struct bcfmt_tree_written){ 0 };
	if (ends_kept(writer)) {
		is_root = writer->written.kept == 1 && !writer->written.nodes;
		at = is_root ? 0 : 1;
	} else if (!writer->failed) {
		writer->failed = open_level(writer, 0);
	}
	/* A level has keys as soon as a node below it was closed for the next. */
	while (!writer->failed && !is_root) {
		is_root = at + 1 == LEVELS_MAX || !writer->level[at + 1].words;
		writer->failed = close_node(writer, at, bcfmt_pos_max(), is_root, &key);
		if (!writer->failed && !is_root)
			writer->failed = push_key(writer, ++at, key);
	}
	if (writer->failed)
		return writer->failed;
	writer->written.root = key;
	writer->written.level = (uint16_t)at;
	*out = writer->written;
	writer->failed = BCFMT_E_ARG;
	return BCFMT_OK;
}
