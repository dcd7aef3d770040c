/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Where a kernel goes in the tree and the walk of the check does not, and what is replayed into its
 * leaves. kernel: bch_btree_check(), bch_btree_node_get(), bch_btree_insert(), bch_extent_bad().
 */
#include <string.h>

#include "base/checked.h"
#include "check/check_impl.h"
#include "check/predict_node.h"

/* kernel: what bch_btree_map_nodes() returns when it met no leaf, MAP_CONTINUE. */
#define NO_LEAF_LEFT 1u
/* kernel: KEY_MAX_U64S, kept free for an extent that is split. */
#define SPLIT_WORDS 8u
#define BSET_HEADER_WORDS (BCFMT_BSET_HEADER_BYTES / 8)

/* ---- pointers that the walk does not follow ---- */

static bcfmt_err end_of_knowledge(struct check *ck)
{
	struct predict_event event = { .stage = BCFMT_STAGE_TREE,
				       .is_end_of_knowledge = true,
				       .order = PREDICT_ANY_ORDER };

	return predict_add(ck, &event);
}

/* The node behind the pointer; what lies below it is read only where the walk got there too. */
static bcfmt_err look_at(struct check *ck, const struct bcfmt_node_ref *ref, bool is_walked)
{
	bool is_good;
	bcfmt_err err;

	if (ck->predict->probes == PREDICT_PROBES)
		return end_of_knowledge(ck);
	ck->predict->probes++;
	err = predict_probe(ck, ref, &is_good);
	return !err && is_good && ref->level && !is_walked ? end_of_knowledge(ck) : err;
}

/* Event at the descent into a child, which is not reached when parent or those above fail. */
static struct predict_event descent_event(const struct bcfmt_node_ref *parent,
					  enum bcfmt_problem_id id)
{
	return (struct predict_event){
		.stage = BCFMT_STAGE_TREE,
		.id = id,
		.order = PREDICT_ANY_ORDER,
		.has_node = true,
		.level = (uint8_t)(parent->level - 1),
		.lo = parent->lo,
		.hi = parent->hi,
	};
}

/*
 * Whichever way the node is reached first, by the other the kernel meets it in memory with the
 * wrong level. A leaf it locks for itself before it looks at that, and waits for ever where the
 * node is one of those above. Before all that the keys are taken for what they are not, unless the
 * node is the root.
 */
static bcfmt_err add_two_levels(struct check *ck, const struct bcfmt_node_ref *parent,
				const struct bcfmt_key *key)
{
	struct predict_event event = descent_event(parent, BCFMT_P_NODE_TWO_LEVELS);
	static const enum bcfmt_problem_id misread[] = {
		BCFMT_P_EXTENT_IN_METADATA, BCFMT_P_NODE_BAD_CHILD, BCFMT_P_EXTENT_INVALID,
		BCFMT_P_NODE_BAD_HEADER,    BCFMT_P_NODE_BAD_MAGIC,
	};
	bool is_root = bcfmt_ptr_bucket(&ck->set->geo, key->ptr) ==
		       bcfmt_ptr_bucket(&ck->set->geo, ck->set->newest.btree_root.ptr);
	bool is_leaf = parent->level == 1;
	bcfmt_err err = BCFMT_OK;

	if (!is_root || !is_leaf)
		err = predict_add(ck, &event);
	if (!err && is_leaf) {
		event.function = "rw_lock";
		event.is_possible = !is_root;
		err = predict_add(ck, &event);
	}
	if (is_root)
		return err;
	for (size_t i = 0; !err && i < sizeof(misread) / sizeof(misread[0]); i++) {
		event = descent_event(parent, misread[i]);
		event.is_possible = true;
		err = predict_add(ck, &event);
	}
	return err;
}

bcfmt_err predict_child(struct check *ck, const struct bcfmt_node_ref *parent,
			const struct bcfmt_key *key, enum bcfmt_child_fault fault)
{
	struct bcfmt_node_ref ref = { .ptr = key->ptr,
				      .sectors = bcfmt_key_sectors(key),
				      .hi = bcfmt_pos_max(),
				      .is_root = !parent };

	/* What the kernel calls invalid is an event of the parent, or of the journal. */
	if (!ck->predict->is_same_tree || fault == BCFMT_CHILD_OK ||
	    bcfmt_key_fault_btree(&ck->set->geo, key))
		return BCFMT_OK;
	if (!parent) {
		ref.level = (uint8_t)ck->predict->newest.btree_level;
		ck->predict->has_unfollowed = true;
		return look_at(ck, &ref, false);
	}
	if (!bcfmt_ptr_is_available(key->ptr))
		return BCFMT_OK;
	ck->predict->has_unfollowed = true;
	ck->predict->has_unfollowed_root |= parent->is_root;
	if (fault == BCFMT_CHILD_OTHER_LEVEL)
		return add_two_levels(ck, parent, key);
	ref.level = (uint8_t)(parent->level - 1);
	ref.lo = parent->lo;
	ref.hi = parent->hi;
	return look_at(ck, &ref, fault == BCFMT_CHILD_SEEN);
}

bcfmt_err predict_childless_root(struct check *ck, const struct bcfmt_node_ref *root)
{
	struct predict_event event = { .stage = BCFMT_STAGE_TREE,
				       .id = BCFMT_P_ROOT_NO_CHILDREN,
				       .order = PREDICT_ANY_ORDER };

	if (!ck->predict->is_same_tree || !root->is_root || ck->predict->has_unfollowed_root)
		return BCFMT_OK;
	return predict_add(ck, &event);
}

/* ---- extents and keys of leaves ---- */

/* The device of the inode is there and counts its dirty sectors, which looks at every key. */
static bool is_counted(const struct check *ck, uint32_t inode)
{
	const struct bcfmt_uuid_entry *entry;
	const struct bcfmt_member *member;

	if (inode >= ck->set->n_uuids)
		return false;
	entry = &ck->set->uuids[inode];
	if (entry->flags & BCFMT_UUID_FLASH_ONLY)
		return entry->sectors != 0;
	member = bcfmt_uuid_state(entry) == BCFMT_UUID_LIVE
			 ? bcfmt_set_backing(ck->set, entry->uuid)
			 : NULL;
	/* Others get an inode of their own. */
	return member && predict_attaches(ck, member) &&
	       (bcfmt_super_bdev_state(&member->super) == BCFMT_BDEV_CLEAN ||
		bcfmt_super_bdev_state(&member->super) == BCFMT_BDEV_DIRTY);
}

bcfmt_err predict_too_stale(struct check *ck, uint32_t inode, unsigned int stale)
{
	struct predict_event event = { .stage = BCFMT_STAGE_RUNNING,
				       .id = BCFMT_P_EXTENT_TOO_STALE,
				       .order = PREDICT_ANY_ORDER,
				       .is_of_leaf = true };

	if (is_counted(ck, inode)) {
		event.stage = BCFMT_STAGE_ATTACH;
		/*
		 * A root that is a leaf is counted without a look at the generations, but the search
		 * for partitions that follows reads through the cache.
		 */
		event.is_possible = !(ck->predict->newest.btree_level & 0xff);
	}
	predict_value_u64(&event, stale);
	return ck->predict->is_same_tree ? predict_add(ck, &event) : BCFMT_OK;
}

/* Words of a node that are taken once keys of so many words are inserted, at most. */
static uint64_t words_after(const struct check *ck, const struct bcfmt_node_view *view)
{
	const struct bcfmt_geometry *geo = &ck->set->geo;
	const struct bcfmt_node *node = view->node;
	uint64_t block_words = bcfmt_block_bytes(geo) / 8, used_blocks = 0, growth, flushes;

	for (uint32_t i = 0; i < node->n_bsets; i++)
		used_blocks = max_u64(used_blocks,
				      (uint64_t)node->bsets[i].block + node->bsets[i].blocks);
	/* A key in the middle of another one leaves two pieces of that. */
	growth = (uint64_t)view->replay_words + 3ull * view->replay_keys;
	/* An open set is written when it comes near a page, and the next begins at a block. */
	flushes = growth * 8 / (geo->page_bytes - 48) + 1;
	return used_blocks * block_words + growth + flushes * (block_words + BSET_HEADER_WORDS);
}

/*
 * Kernels take it for a failure when a key that is replayed reaches past the end of its leaf and
 * that leaf has no room: the rest of the key is then offered to the wrong leaf once.
 */
static bcfmt_err check_split(struct check *ck, const struct bcfmt_node_view *view)
{
	struct predict_event event = { .stage = BCFMT_STAGE_REPLAY,
				       .is_possible = true,
				       .line = "bcache: replay journal failed",
				       .effect = BCFMT_EFFECT_STOPS_SET,
				       .is_of_leaf = true };
	uint64_t node_words = (uint64_t)view->node->nblocks * view->node->block_bytes / 8;

	if (!view->has_crossing_replay ||
	    words_after(ck, view) + SPLIT_WORDS + BSET_HEADER_WORDS <= node_words)
		return BCFMT_OK;
	return predict_add(ck, &event);
}

bcfmt_err predict_leaf_replay(struct check *ck, const struct bcfmt_node_view *view)
{
	struct predict_event event = { .stage = BCFMT_STAGE_REPLAY,
				       .id = BCFMT_P_NODE_GAP,
				       .function = "bch_btree_insert",
				       .effect = BCFMT_EFFECT_STOPS_SET,
				       .is_possible = true,
				       .is_of_leaf = true };
	bcfmt_err err;

	if (!ck->predict->is_same_tree || !view->replay_keys)
		return BCFMT_OK;
	if (view->ref->sectors && !view->ref->is_found)
		return check_split(ck, view);
	/* In any other gap the next leaf takes the key, whatever its range. */
	if (bcfmt_pos_cmp(view->ref->hi, bcfmt_pos_max()) || ck->predict->has_unfollowed)
		return BCFMT_OK;
	predict_value_u64(&event, NO_LEAF_LEFT);
	/* Which of the keys comes first is not known here, only that one comes. */
	err = predict_add(ck, &event);
	event.is_possible = false;
	event.order = PREDICT_ANY_ORDER;
	return err ? err : predict_add(ck, &event);
}
