/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What a kernel says of one node when it reads it and marks its buckets. kernel:
 * bch_btree_node_read(), bch_btree_node_read_done(), bch_initial_mark_key(), mca_data_alloc().
 */
#include "check/predict_node.h"

#include <string.h>

#include "base/checked.h"
#include "check/check_impl.h"
#include "read/read.h"

/* kernel: a node's search tree is looked at only when it has two lines of 128 bytes. */
#define SHORT_KEY_WORDS_MIN 28u
/* kernel: pages that can be had in one piece, 4 MiB with pages of 4 KiB. */
#define PAGE_ORDER_MAX 10u

/* A node while its keys come out of the merge. */
struct node_events {
	struct check *ck;
	const struct bcfmt_node_view *view;
	uint64_t index;	       /* of the key that comes out */
	bool is_lead;	       /* nothing certain was found yet: later errors are silent */
	bool is_of_leaf;       /* made while leaves are walked, maybe once more */
	struct merge_key last; /* that the merged set ends with */
	uint32_t words;
};

bool predict_is_invalid(const struct bcfmt_geometry *geo, const struct merge_key *key,
			bool is_extent)
{
	struct bcfmt_key at = merge_key_at(key, 0);
	unsigned int i = 0, n = bcfmt_key_ptr_count(&at);

	do {
		at = merge_key_at(key, i);
		if (is_extent ? bcfmt_key_fault_extent(geo, &at) : bcfmt_key_fault_btree(geo, &at))
			return true;
	} while (++i < n);
	return false;
}

/*
 * kernel: bch_ptr_status(). *stale_ptr: the text is "stale" instead when a kernel knows by then
 * that this pointer is; 0 when that cannot be.
 */
static const char *status_of(const struct check *ck, enum bcfmt_stage stage,
			     const struct merge_key *key, uint64_t *stale_ptr)
{
	const struct bcfmt_geometry *geo = &ck->set->geo;
	struct bcfmt_key at = merge_key_at(key, 0);
	unsigned int n = bcfmt_key_ptr_count(&at);

	*stale_ptr = 0;
	for (unsigned int i = 0; i < n; i++) {
		const struct bcfmt_bucket *bucket;
		const char *text;

		at = merge_key_at(key, i);
		if (!bcfmt_key_has_data(&at))
			continue;
		text = bcfmt_key_status_text(geo, &at, true);
		if (strcmp(text, "stale"))
			return text;
		bucket = &ck->set->buckets[bcfmt_ptr_bucket(geo, at.ptr)];
		if (bcfmt_gen_after(bucket->disk_gen, bcfmt_ptr_gen(at.ptr))) {
			*stale_ptr = 0;
			return text;
		}
		/* No pointer has raised a gen before the tree is gone through. */
		if (stage > BCFMT_STAGE_UUIDS)
			*stale_ptr = at.ptr;
	}
	at = merge_key_at(key, 0);
	return bcfmt_key_status_text(geo, &at, false);
}

bcfmt_err predict_spotted(struct check *ck, const struct predict_event *event,
			  const struct merge_key *key)
{
	struct predict_event fresh = *event, stale = *event;
	uint8_t raw[MERGE_KEY_WORDS * 8];
	char text[BCFMT_KEY_TEXT_BYTES];
	const char *status = status_of(ck, event->stage, key, &stale.stale_ptr);
	bcfmt_err err;

	bcfmt_key_text_raw(text, raw, merge_key_raw(key, raw), true);
	predict_value(&fresh, text);
	predict_value(&fresh, status);
	err = predict_add(ck, &fresh);
	if (err || !stale.stale_ptr)
		return err;
	predict_value(&stale, text);
	predict_value(&stale, "stale");
	return predict_add(ck, &stale);
}

bool predict_is_conflict(const struct bcfmt_set *set, const struct bcfmt_key *key)
{
	const struct bcfmt_bucket *at;
	uint64_t bucket;

	if (!bcfmt_key_has_data(key))
		return false;
	bucket = bcfmt_ptr_bucket(&set->geo, key->ptr);
	if (bucket >= set->geo.nbuckets)
		return false;
	at = &set->buckets[bucket];
	/* Stale by the gens on the disk already: no kernel looks at it. */
	return __atomic_load_n(&at->use, __ATOMIC_RELAXED) & BCFMT_USE_NODE &&
	       !bcfmt_gen_after(at->disk_gen, bcfmt_ptr_gen(key->ptr));
}

/* Event of this node, at the place of its stage. */
static struct predict_event node_event(const struct node_events *ne, enum bcfmt_problem_id id)
{
	const struct bcfmt_node_ref *ref = ne->view->ref;
	struct predict_event event = { .stage = BCFMT_STAGE_TREE,
				       .id = id,
				       .order = PREDICT_ANY_ORDER,
				       .has_node = true,
				       .hides_below = true,
				       .level = ref->level,
				       .lo = ref->lo,
				       .hi = ref->hi };

	if (ref->is_root) {
		event.stage = BCFMT_STAGE_ROOT;
		event.order = ne->index;
	}
	return event;
}

/*
 * An error in the keys of a leaf is not handed on: what is read after it fails. Behind a root
 * nothing is read.
 */
static enum predict_flow flow_behind(const struct node_events *ne)
{
	return ne->view->ref->is_root ? PREDICT_FLOW_GOES_ON : PREDICT_FLOW_MAY_GO_ON;
}

static enum bcfmt_problem_id fault_problem(enum bcfmt_bset_fault fault)
{
	switch (fault) {
	case BCFMT_BSET_OK:
		break;
	case BCFMT_BSET_ZERO_SEQ:
		return BCFMT_P_NODE_BAD_HEADER;
	case BCFMT_BSET_VERSION:
		return BCFMT_P_NODE_BAD_VERSION;
	case BCFMT_BSET_OVERRUN:
		return BCFMT_P_NODE_OVERRUN;
	case BCFMT_BSET_MAGIC:
		return BCFMT_P_NODE_BAD_MAGIC;
	case BCFMT_BSET_CSUM:
		return BCFMT_P_NODE_BAD_CSUM;
	case BCFMT_BSET_EMPTY:
		return BCFMT_P_NODE_EMPTY_SET;
	case BCFMT_BSET_HOLE:
		return BCFMT_P_NODE_HOLE;
	}
	return BCFMT_P_NONE;
}

static void place_values(const struct node_events *ne, uint32_t block, uint32_t keys,
			 struct predict_event *event)
{
	predict_value_u64(event, bcfmt_ptr_bucket(&ne->ck->set->geo, ne->view->ref->ptr));
	predict_value_u64(event, block);
	predict_value_u64(event, keys);
}

/* The node cannot be read, or its layout is refused: nothing of it is used then. */
static bcfmt_err add_fault(struct node_events *ne)
{
	const struct bcfmt_node *node = ne->view->node;
	struct predict_event event = node_event(ne, BCFMT_P_NODE_UNREADABLE);

	if (ne->view->bad.sectors) {
		predict_value_u64(&event, bcfmt_ptr_bucket(&ne->ck->set->geo, ne->view->ref->ptr));
	} else {
		event.id = fault_problem(node->fault);
		place_values(ne, node->fault_block, node->fault_keys, &event);
	}
	return predict_add(ne->ck, &event);
}

/*
 * The memory for a node is a power of two of pages. A node that is larger than the usual one and no
 * power of two gets less than it has.
 */
static bcfmt_err check_memory(struct node_events *ne)
{
	const struct bcfmt_geometry *geo = &ne->ck->set->geo;
	uint32_t page_sectors = geo->page_bytes / BCFMT_SECTOR_BYTES;
	uint32_t pages = ne->view->ref->sectors / page_sectors;
	uint32_t usual = geo->node_sectors / page_sectors;
	struct predict_event event = node_event(ne, BCFMT_P_NODE_BAD_SIZE);
	unsigned int order = log2_floor(max_u64(max_u64(pages, usual), 1));

	event.is_possible = true;
	if (order > PAGE_ORDER_MAX && order > log2_floor(max_u64(usual, 1)))
		event.effect = BCFMT_EFFECT_STOPS_SET;
	else if (ne->view->ref->sectors <= (uint64_t)page_sectors << order)
		return BCFMT_OK;
	return predict_add(ne->ck, &event);
}

/* kernel: __bch_extent_invalid() and __bch_btree_ptr_invalid() on what comes out of the merge. */
static bcfmt_err check_key(struct node_events *ne, const struct merge_key *key, bool *is_dropped)
{
	bool is_leaf = ne->view->ref->level == 0;
	struct bcfmt_key header = merge_key_at(key, 0);
	struct predict_event event =
		node_event(ne, is_leaf ? BCFMT_P_EXTENT_INVALID : BCFMT_P_NODE_BAD_CHILD);
	bcfmt_err err;

	*is_dropped = is_leaf && !bcfmt_key_sectors(&header);
	if (*is_dropped || !predict_is_invalid(&ne->ck->set->geo, key, is_leaf))
		return BCFMT_OK;
	*is_dropped = true;
	/* A dropped key fails no read: only what is read after it fails. */
	if (is_leaf)
		event.flow = flow_behind(ne);
	err = ne->is_lead ? predict_spotted(ne->ck, &event, key) : BCFMT_OK;
	ne->is_lead = false;
	return err;
}

/* kernel: __bch_btree_mark_key(), data in a bucket that a node has. */
static bcfmt_err check_mark(struct node_events *ne, const struct bcfmt_key *key)
{
	const struct bcfmt_set *set = ne->ck->set;
	const struct bcfmt_bucket *at = &set->buckets[bcfmt_ptr_bucket(&set->geo, key->ptr)];
	struct predict_event event = node_event(ne, BCFMT_P_EXTENT_IN_METADATA);
	unsigned int node_level = at->sectors - 1u;
	unsigned int data_mark =
		bcfmt_key_is_dirty(key) ? PREDICT_MARK_DIRTY : PREDICT_MARK_RECLAIMABLE;
	unsigned int root_level = set->newest.btree_level & 0xff;
	/* The root's pointers are marked before any other node is read. */
	bool is_node_first = node_level + 1 >= root_level && !ne->view->ref->is_root;
	uint8_t node_gen = __atomic_load_n(&at->gen, __ATOMIC_RELAXED);
	bool is_stale = bcfmt_gen_after(node_gen, bcfmt_ptr_gen(key->ptr));
	bool is_newer = !is_stale && (uint8_t)bcfmt_ptr_gen(key->ptr) != node_gen;
	bcfmt_err err = BCFMT_OK;

	if (is_node_first && is_stale)
		return BCFMT_OK;
	event.function = "__bch_btree_mark_key";
	event.stage = BCFMT_STAGE_TREE;
	event.is_of_leaf = ne->is_of_leaf;
	event.flow = flow_behind(ne);
	event.is_possible = is_stale || (is_newer && !is_node_first);
	if (!event.is_possible)
		ne->is_lead = false;
	if (!is_newer && !is_node_first) {
		struct predict_event first = event;

		predict_value_u64(&first, data_mark);
		predict_value_u64(&first, node_level + 1);
		err = predict_add(ne->ck, &first);
	}
	if (err || is_stale || ne->view->ref->is_root)
		return err;
	predict_value_u64(&event, PREDICT_MARK_METADATA);
	predict_value_u64(&event, 0);
	return predict_add(ne->ck, &event);
}

static bcfmt_err take_marks(struct node_events *ne, const struct merge_key *key)
{
	struct bcfmt_key at = merge_key_at(key, 0);
	unsigned int n = bcfmt_key_ptr_count(&at);
	bcfmt_err err = BCFMT_OK;

	for (unsigned int i = 0; !err && ne->is_lead && i < n; i++) {
		at = merge_key_at(key, i);
		if (predict_is_conflict(ne->ck->set, &at))
			err = check_mark(ne, &at);
	}
	return err;
}

/* Appends a key to what the merged set ends with, and counts. */
static void append(struct node_events *ne, struct merge_key *key)
{
	struct bcfmt_key header = merge_key_at(key, 0);

	if (ne->words && !ne->view->ref->level && merge_keys(&ne->ck->set->geo, &ne->last, key))
		return;
	ne->words += bcfmt_key_words(&header);
	ne->last = *key;
}

static bcfmt_err add_short_key(struct node_events *ne)
{
	struct bcfmt_key last = merge_key_at(&ne->last, 0);
	const struct bcfmt_node_ref *ref = ne->view->ref;
	struct predict_event event = node_event(ne, BCFMT_P_NODE_SHORT_KEY);
	struct bcfmt_pos own = ref->hi;

	/* The walk takes a root as reaching to the end of all keys. */
	if (ref->is_root)
		own = bcfmt_key_end(&ne->ck->predict->newest.btree_root);
	if (ne->words < SHORT_KEY_WORDS_MIN || bcfmt_pos_cmp(bcfmt_key_end(&last), own) <= 0)
		return BCFMT_OK;
	/* The merged set is the first and only one now. */
	place_values(ne, 0, ne->words, &event);
	if (!ne->is_lead)
		return BCFMT_OK;
	ne->is_lead = false;
	return predict_add(ne->ck, &event);
}

/* Keys that reach past their bset: a warning, and then keys made of what lies there. */
static bcfmt_err add_corrupt(struct node_events *ne, const struct merge *merge)
{
	struct predict_event event = node_event(ne, BCFMT_P_NODE_NOT_TILING);

	event.is_possible = true;
	return merge->is_corrupt || merge->is_lost ? predict_add(ne->ck, &event) : BCFMT_OK;
}

static bool has_seven_pointers(const struct merge_key *key)
{
	struct bcfmt_key header = merge_key_at(key, 0);

	return bcfmt_key_ptr_count(&header) == 7;
}

/* Two words more than a kernel has room for. */
static bcfmt_err add_seven(struct node_events *ne)
{
	struct predict_event event = node_event(ne, BCFMT_P_KEY_SEVERAL_PTRS);

	event.is_possible = true;
	return predict_add(ne->ck, &event);
}

/* All keys in the order of the merge. */
static bcfmt_err take_keys(struct node_events *ne)
{
	bool is_leaf = ne->view->ref->level == 0, is_dropped;
	struct merge_key key;
	struct merge merge;
	bcfmt_err err = merge_begin(&merge, ne->view->node, is_leaf);

	while (!err && merge_next(&merge, &key)) {
		ne->index++;
		if (has_seven_pointers(&key))
			err = add_seven(ne);
		if (!err)
			err = check_key(ne, &key, &is_dropped);
		if (!err && !is_dropped)
			append(ne, &key);
	}
	if (!err)
		err = add_corrupt(ne, &merge);
	merge_clear(&merge);
	return err ? err : add_short_key(ne);
}

/*
 * The keys that are left are marked in the order of the merge. An invalid one was told of before,
 * and errors behind it are silent.
 */
static bcfmt_err mark_leaf(struct node_events *ne)
{
	const struct bcfmt_geometry *geo = &ne->ck->set->geo;
	struct merge_key key;
	struct merge merge;
	bcfmt_err err = merge_begin(&merge, ne->view->node, true);

	while (!err && ne->is_lead && merge_next(&merge, &key)) {
		struct bcfmt_key header = merge_key_at(&key, 0);

		ne->index++;
		if (!bcfmt_key_sectors(&header))
			continue;
		if (predict_is_invalid(geo, &key, true))
			break;
		err = take_marks(ne, &key);
	}
	merge_clear(&merge);
	return err;
}

/* A key of the leaf leads into a bucket that a node has. */
static bool has_conflict(const struct check *ck, const struct bcfmt_node *node)
{
	struct bcfmt_node_iter it = bcfmt_node_iter_init(node);
	struct bcfmt_key key;

	while (bcfmt_node_iter_next(&it, &key))
		if (predict_is_conflict(ck->set, &key))
			return true;
	return false;
}

bcfmt_err predict_leaf_marks(struct check *ck, const struct bcfmt_node_view *view, bool is_met)
{
	struct node_events ne = { .ck = ck, .view = view, .is_lead = true, .is_of_leaf = true };

	if (!ck->predict->is_same_tree || !view->ref->sectors || view->ref->is_found ||
	    view->node->fault || view->bad.sectors)
		return BCFMT_OK;
	/* What the journal or the order of writing hides is marked all the same. */
	if (!is_met && (view->replay_keys || view->uses_history))
		is_met = has_conflict(ck, view->node);
	return is_met ? mark_leaf(&ne) : BCFMT_OK;
}

static bcfmt_err take_node(struct check *ck, const struct bcfmt_node_view *view, bool is_odd)
{
	struct node_events ne = { .ck = ck, .view = view, .is_lead = true };
	bcfmt_err err = check_memory(&ne);

	if (err)
		return err;
	if (view->bad.sectors || view->node->fault)
		return add_fault(&ne);
	return is_odd || view->is_overrun ? take_keys(&ne) : BCFMT_OK;
}

bcfmt_err predict_node(struct check *ck, const struct bcfmt_node_view *view, bool is_odd)
{
	return ck->predict->is_same_tree ? take_node(ck, view, is_odd) : BCFMT_OK;
}

bcfmt_err predict_probe(struct check *ck, const struct bcfmt_node_ref *ref, bool *is_good)
{
	struct bcfmt_node_view view = { .ref = ref };
	struct node_reader reader;
	bcfmt_err err;

	memset(&reader, 0, sizeof(reader));
	err = node_read(&reader, ck->set->cache.dev, &ck->set->geo, ref->ptr, ref->sectors);
	view.node = &reader.node;
	view.bad = reader.bad;
	*is_good = !err && !reader.bad.sectors && !reader.node.fault;
	if (!err)
		err = take_node(ck, &view, true);
	if (!err && *is_good && !ref->level) {
		struct node_events ne = { .ck = ck, .view = &view, .is_lead = true };

		err = mark_leaf(&ne);
	}
	node_reader_clear(&reader);
	return err;
}
