/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The tree: reads every node once (twice where a gen turned out higher than it was judged by).
 * Checks: root and child pointers (B3..B7), ranges without a child; node.c and leaf.c check what
 * is in the nodes. At level quick only the root is read, unless it is the only node.
 * Fills: bucket map (gens, use), inodes, used, is_doubtful. kernel: bch_btree_check().
 */
#include <string.h>

#include "base/checked.h"
#include "check/check_impl.h"
#include "check/predict.h"
#include "read/read.h"
#include "set/tree_impl.h"

static bcfmt_err check_child(void *arg, const struct bcfmt_node_ref *parent,
			     const struct bcfmt_key *key, enum bcfmt_child_fault fault,
			     enum bcfmt_key_fault key_fault)
{
	struct check *ck = arg;
	const struct bcfmt_geometry *geo = &ck->set->geo;
	uint64_t bucket = bcfmt_ptr_bucket(geo, key->ptr);
	struct bcfmt_where where = check_where_bucket(ck, "node", bucket);
	unsigned int level = parent ? parent->level : ck->set->newest.btree_level + 1u;
	struct bcfmt_arg child_level = BCFMT_U64("level", level - 1);
	char text[BCFMT_KEY_TEXT_BYTES];
	bcfmt_err err = predict_child(ck, parent, key, fault);

	/* Of the range of any other the leaves tell that. */
	if (!err && (fault == BCFMT_CHILD_DUPLICATE || bcfmt_key_is_zero_pos(key))) {
		ck->is_doubtful = true;
		err = bcfmt_losses_child(ck->verdict->losses, parent, key);
	}
	if (err)
		return err;
	bcfmt_key_text(text, key);
	switch (fault) {
	case BCFMT_CHILD_OK:
		break;
	case BCFMT_CHILD_INVALID:
		if (!parent && bcfmt_key_fault_btree(geo, key)) /* the journal pass told */
			return BCFMT_OK;
		if (parent)
			where = check_where_bucket(ck, "node", bcfmt_ptr_bucket(geo, parent->ptr));
		return CHECK_REPORT(ck, NODE_BAD_CHILD, &where, BCFMT_U64("level", level),
				    BCFMT_TEXT("text", text),
				    BCFMT_TEXT("status", bcfmt_key_fault_text(key_fault)));
	case BCFMT_CHILD_SEEN:
		return CHECK_REPORT(ck, NODE_TWICE, &where, child_level);
	case BCFMT_CHILD_OTHER_LEVEL:
		return CHECK_REPORT(ck, NODE_TWO_LEVELS, &where, child_level);
	case BCFMT_CHILD_METADATA:
		return CHECK_REPORT(ck, NODE_IN_METADATA, &where, child_level,
				    BCFMT_TEXT("owner", check_owner(ck->set->buckets[bucket].use)));
	case BCFMT_CHILD_DUPLICATE:
		return CHECK_REPORT(ck, NODE_DUPLICATE_CHILD, &where, BCFMT_U64("level", level),
				    BCFMT_TEXT("text", text));
	case BCFMT_CHILD_OTHER_MEMBER:
		return CHECK_REPORT(ck, NODE_OTHER_MEMBER, &where, BCFMT_U64("level", level),
				    BCFMT_U64("member", bcfmt_ptr_dev(key->ptr)),
				    BCFMT_U64("own", geo->nr_this_dev));
	}
	return BCFMT_OK;
}

static bcfmt_err check_gap(void *arg, const struct bcfmt_node_ref *parent, struct bcfmt_pos lo,
			   struct bcfmt_pos hi)
{
	struct check *ck = arg;
	struct bcfmt_where where =
		check_where_bucket(ck, "node", bcfmt_ptr_bucket(&ck->set->geo, parent->ptr));
	struct bcfmt_arg level = BCFMT_U64("level", parent->level);
	char from[64], to[64];
	bcfmt_err err;

	if (bcfmt_pos_cmp(lo, parent->lo) || bcfmt_pos_cmp(hi, parent->hi))
		return CHECK_REPORT(ck, NODE_GAP, &where, level,
				    BCFMT_TEXT("from", check_pos_text(from, lo)),
				    BCFMT_TEXT("to", check_pos_text(to, hi)));
	err = predict_childless_root(ck, parent);
	if (err)
		return err;
	if (parent->is_root)
		return CHECK_REPORT(ck, ROOT_NO_CHILDREN, &where, level);
	return CHECK_REPORT(ck, NODE_NO_CHILDREN, &where, level);
}

/* Level quick on a tree of several levels: the root alone. */
static bcfmt_err check_root_only(struct check *ck)
{
	const struct bcfmt_key *key = &ck->set->newest.btree_root;
	struct bcfmt_node_ref ref = { .ptr = key->ptr, .hi = bcfmt_pos_max(),
				      .sectors = bcfmt_key_sectors(key),
				      .level = (uint8_t)ck->set->newest.btree_level,
				      .is_root = true };
	struct bcfmt_node_view view = { .ref = &ref };
	struct node_reader reader;
	bcfmt_err err;

	ck->is_doubtful = true;
	if (bcfmt_key_fault_btree(&ck->set->geo, key) ||
	    bcfmt_ptr_bucket(&ck->set->geo, key->ptr) >= ck->set->geo.nbuckets)
		return BCFMT_OK;
	memset(&reader, 0, sizeof(reader));
	err = node_read(&reader, ck->set->cache.dev, &ck->set->geo, ref.ptr, ref.sectors);
	view.node = &reader.node;
	view.bad = reader.bad;
	if (!err)
		err = check_node(ck, &view);
	node_reader_clear(&reader);
	return err;
}

static void forget_leaves(struct check *ck, unsigned int interior_uses)
{
	struct bcfmt_set *set = ck->set;

	for (uint32_t i = 0; i < set->n_uuids; i++)
		ck->inodes[i] = (struct inode_use){
			.invalid_sectors = ck->inodes[i].invalid_sectors };
	memset(&ck->beyond, 0, sizeof(ck->beyond));
	ck->beyond_keys = 0;
	memset(ck->beyond_dirty, 0, CHECK_INODE_BYTES);
	ck->beyond_first_inode = 0;
	ck->extents = 0;
	ck->has_lost_keys = false;
	predict_forget_leaves(ck);
	for (uint64_t i = 0; i < set->geo.nbuckets; i++) {
		set->buckets[i].use &= (uint8_t)interior_uses;
		set->buckets[i].gen_flags &= (uint8_t)~BUCKET_MAYBE_TWICE;
		if (!(set->buckets[i].use & BCFMT_USE_NODE))
			set->buckets[i].sectors = 0;
	}
	used_free(ck->used);
	ck->used = NULL;
}

/* Nodes are as they were, but a device may fail now that did not the first time. */
bcfmt_err check_node_again(void *arg, const struct bcfmt_node_view *view)
{
	const struct check *ck = arg;
	uint64_t bucket = bcfmt_ptr_bucket(&ck->set->geo, view->ref->ptr);

	if (!view->bad.sectors ||
	    __atomic_load_n(&ck->set->buckets[bucket].use, __ATOMIC_RELAXED) & BCFMT_USE_DAMAGED)
		return BCFMT_OK;
	return check_node(arg, view);
}

/* Walks the leaves; again with final gens where one rose late. */
static bcfmt_err walk_leaves(struct check *ck)
{
	struct bcfmt_tree_visitor visitor = { .arg = ck, .node = check_node, .leaf = check_leaf,
					      .plain = check_plain };
	uint64_t max_bytes = max_u64(bcfmt_ctx_max_bytes(ck->ctx) / 2, 1u << 20);
	bool again = true;
	bcfmt_err err = BCFMT_OK;

	while (!err && again) {
		err = used_new(ck->set, max_bytes, false, &ck->used);
		if (!err)
			err = bcfmt_tree_walk_leaves(ck->tree, &visitor, &again);
		if (err || !again)
			break;
		/* Only what depends on gens is judged anew. */
		forget_leaves(ck, BCFMT_USE_METADATA | BCFMT_USE_DAMAGED);
		err = bcfmt_losses_forget_leaves(ck->verdict->losses);
		bcfmt_report_forget(ck->report, BCFMT_P_EXTENT_STALE_DIRTY,
				    BCFMT_P_EXTENT_IN_JOURNAL + 1);
		bcfmt_report_forget(ck->report, BCFMT_P_NODE_LOST_KEYS,
				    BCFMT_P_NODE_LOST_KEYS + 1);
		bcfmt_report_forget(ck->report, BCFMT_P_LEAF_DOUBTFUL,
				    BCFMT_P_LEAF_DOUBTFUL + 1);
		bcfmt_report_forget(ck->report, BCFMT_P_EXTENT_PAST_DEVICE,
				    BCFMT_P_EXTENT_BEFORE_DATA + 1);
		memset(&ck->on_cache[BCFMT_P_EXTENT_STALE_DIRTY], 0,
		       BCFMT_P_EXTENT_BEFORE_DATA - BCFMT_P_EXTENT_STALE_DIRTY + 1);
		visitor.node = check_node_again;
	}
	ck->is_doubtful |= ck->has_lost_keys;
	return err;
}

bcfmt_err pass_tree(struct check *ck)
{
	struct bcfmt_tree_visitor visitor = { .arg = ck, .node = check_node,
					      .child = check_child, .gap = check_gap };
	bcfmt_err err;

	if (ck->params->level == BCFMT_LEVEL_QUICK && !ck->set->has_newest)
		return BCFMT_OK;
	err = bcfmt_set_search(ck->set);
	if (err || !ck->set->has_tree)
		return err;
	if (ck->params->level == BCFMT_LEVEL_QUICK && ck->set->newest.btree_level)
		return check_root_only(ck);
	err = check_begin_losses(ck);
	if (!err)
		err = bcfmt_tree_open(ck->set, &visitor, &ck->tree);
	if (!err)
		err = bcfmt_losses_tree(ck->verdict->losses, ck->tree);
	/* The pass over the journal need not have met what was gone when its keys were read. */
	if (!err)
		ck->is_doubtful |= replay_is_garbled(ck->tree->replay);
	if (!err)
		err = walk_leaves(ck);
	if (err)
		return err;
	for (size_t i = 0; i < bcfmt_tree_leaves(ck->tree); i++)
		ck->verdict->leaves += bcfmt_tree_leaf(ck->tree, i)->sectors != 0;
	ck->verdict->nodes = bcfmt_tree_nodes(ck->tree);
	ck->verdict->replay_keys = bcfmt_tree_replay_keys(ck->tree);
	ck->verdict->spilled_bytes = bcfmt_tree_spilled_bytes(ck->tree);
	ck->verdict->extents = ck->extents;
	return BCFMT_OK;
}
