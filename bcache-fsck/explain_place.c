/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Shows the node, key, entry or structure that a line of a kernel names, as it is on the devices. */
#include <inttypes.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>

#include <bcfmt/history.h>

#include "cli/lone_node.h"
#include "explain.h"

/* Lines of one sort; who needs all has bcache-dump. */
#define SHOWN_MAX 16u

struct node_search {
	pthread_mutex_t lock;
	const struct bcfmt_geometry *geo;
	uint64_t bucket;
	struct bcfmt_node_ref ref; /* sectors 0: not found */
};

static bcfmt_err see_node(void *arg, const struct bcfmt_node_view *view)
{
	struct node_search *search = arg;

	if (!view->ref->sectors || bcfmt_ptr_bucket(search->geo, view->ref->ptr) != search->bucket)
		return BCFMT_OK;
	pthread_mutex_lock(&search->lock);
	search->ref = *view->ref;
	pthread_mutex_unlock(&search->lock);
	return BCFMT_OK;
}

/* The ref of the node in the bucket, where the tree has one. */
static bcfmt_err find_in_tree(struct bcfmt_set *set, uint64_t bucket, struct bcfmt_node_ref *ref)
{
	struct node_search search = {
		.lock = PTHREAD_MUTEX_INITIALIZER,
		.geo = &set->geo,
		.bucket = bucket,
	};
	struct bcfmt_tree_visitor visitor = { .arg = &search, .node = see_node };
	struct bcfmt_tree *tree = NULL;
	bcfmt_err err = BCFMT_OK;

	if (set->has_newest)
		err = bcfmt_tree_open(set, &visitor, &tree);
	for (size_t i = 0; !err && tree && i < bcfmt_tree_leaves(tree); i++) {
		const struct bcfmt_node_ref *leaf = bcfmt_tree_leaf(tree, i);

		if (leaf->sectors && bcfmt_ptr_bucket(&set->geo, leaf->ptr) == bucket)
			search.ref = *leaf;
	}
	*ref = search.ref;
	bcfmt_tree_free(tree);
	return err;
}

static bool is_on_cache(struct bcfmt_out *out, const struct bcfmt_set *set, uint64_t bucket)
{
	if (bucket >= set->geo.first_bucket && bucket < set->geo.nbuckets)
		return true;
	bcfmt_out_line(out,
		       "bucket %" PRIu64 " is not one of %u to %" PRIu64
		       ": the line is of another cache, or the pointer is damaged",
		       bucket, set->geo.first_bucket, set->geo.nbuckets - 1);
	return false;
}

static void bucket_row(struct bcfmt_out *out, const struct bcfmt_set *set, uint64_t bucket)
{
	static const struct {
		unsigned int bit;
		const char *word;
	} uses[] = {
		{ BCFMT_USE_JOURNAL, "journal" },     { BCFMT_USE_PRIO, "prios" },
		{ BCFMT_USE_UUID, "uuids" },	      { BCFMT_USE_NODE, "node" },
		{ BCFMT_USE_DIRTY, "dirty" },	      { BCFMT_USE_CLEAN, "clean" },
		{ BCFMT_USE_RESERVED, "superblock" },
	};
	const struct bcfmt_bucket *at = &set->buckets[bucket];
	char text[64] = "";

	for (size_t i = 0; i < sizeof(uses) / sizeof(uses[0]); i++) {
		size_t n = strlen(text);

		if (at->use & uses[i].bit)
			snprintf(text + n, sizeof(text) - n, "%s%s", n ? "," : "", uses[i].word);
	}
	bcfmt_row_begin(out, "bucket");
	bcfmt_row_u64(out, "bucket", bucket);
	bcfmt_row_u64(out, "sector", bcfmt_bucket_sector(&set->geo, bucket));
	bcfmt_row_u64(out, "gen", at->gen);
	bcfmt_row_u64(out, "stored_gen", at->disk_gen);
	bcfmt_row_u64(out, "prio", at->prio);
	bcfmt_row_text(out, "use", *text ? text : "none");
	bcfmt_row_end(out);
}

static void node_row(struct bcfmt_out *out, const struct bcfmt_node_view *view, bool is_reached)
{
	const struct bcfmt_node *node = view->node;
	uint64_t sound = 0;

	for (uint32_t i = 0; i < node->n_bsets; i++)
		sound += !node->bsets[i].fault;
	bcfmt_row_begin(out, "node");
	bcfmt_row_u64(out, "level", view->ref->level);
	bcfmt_row_u64(out, "gen", bcfmt_ptr_gen(view->ref->ptr));
	bcfmt_row_bool(out, "reached", is_reached);
	bcfmt_row_u64(out, "bsets", node->n_bsets);
	bcfmt_row_u64(out, "sound_bsets", sound);
	if (view->bad.sectors)
		bcfmt_row_u64(out, "bad_sectors", view->bad.sectors);
	if (node->fault) {
		bcfmt_row_text(out, "fault", bcfmt_bset_fault_text(node->fault));
		bcfmt_row_u64(out, "fault_block", node->fault_block);
		bcfmt_row_u64(out, "fault_keys", node->fault_keys);
	}
	bcfmt_row_end(out);
}

/* The bset that begins at the block, or all when none does. */
static void dump_node(struct bcfmt_out *out, const struct bcfmt_set *set,
		      const struct bcfmt_node_view *view, uint64_t block)
{
	struct bcfmt_node part = *view->node;
	struct bcfmt_node_view of_part = *view;

	of_part.node = &part;
	for (uint32_t i = 0; i < part.n_bsets; i++) {
		if (part.bsets[i].block != block)
			continue;
		part.bsets += i;
		part.n_bsets = 1;
		break;
	}
	bcfmt_render_node_dump(out, set, &of_part);
}

static bcfmt_err show_node(struct bcfmt_out *out, struct bcfmt_set *set, uint64_t bucket,
			   uint64_t block, struct explain_shown *shown)
{
	struct lone_node lone = { 0 };
	struct bcfmt_node_view view;
	struct bcfmt_node_ref ref;
	bool is_there = true, is_reached;
	bcfmt_err err;

	shown->is_gone = !is_on_cache(out, set, bucket);
	if (shown->is_gone)
		return BCFMT_OK;
	bucket_row(out, set, bucket);
	err = find_in_tree(set, bucket, &ref);
	is_reached = ref.sectors;
	if (!err && !is_reached)
		err = lone_node_guess(&lone, set, bucket, &ref, &is_there);
	if (!err && is_there)
		err = lone_node_read(&lone, set, &ref, &view);
	if (!err && !is_reached)
		bcfmt_out_line(out, "no pointer of the tree leads to bucket %" PRIu64 "%s", bucket,
			       is_there ? "" : ", and it holds no node of this set");
	if (!err && is_there) {
		node_row(out, &view, is_reached);
		dump_node(out, set, &view, block);
		shown->is_sound = !view.bad.sectors && !view.node->fault;
	}
	shown->is_gone = !is_there;
	lone_node_clear(&lone);
	return err;
}

struct key_search {
	struct bcfmt_out *out;
	const struct bcfmt_set *set;
	const struct bcfmt_key *key;
	uint64_t n;
};

static bcfmt_err see_past(void *arg, const struct bcfmt_past *past)
{
	struct key_search *search = arg;
	const struct bcfmt_key *key = search->key;

	if (past->key.low != key->low || bcfmt_key_sectors(&past->key) != bcfmt_key_sectors(key) ||
	    (bcfmt_key_has_data(key) && past->key.ptr != key->ptr))
		return BCFMT_OK;
	if (search->n++ < SHOWN_MAX)
		bcfmt_render_past(search->out, search->set, past);
	return BCFMT_OK;
}

/* Where the very key stands, in tree, journal and nodes that were given up. */
static bcfmt_err show_extent(struct bcfmt_out *out, struct bcfmt_set *set,
			     const struct bcfmt_kernel_place *place, struct explain_shown *shown)
{
	struct key_search search = { .out = out, .set = set, .key = &place->key };
	uint64_t bucket = bcfmt_ptr_bucket(&set->geo, place->key.ptr);
	uint64_t sectors = bcfmt_key_sectors(&place->key), end = place->key.low;
	struct bcfmt_tree *tree = NULL;
	bcfmt_err err = BCFMT_OK;

	if (set->has_newest)
		err = bcfmt_tree_open(set, NULL, &tree);
	if (!err && tree)
		err = bcfmt_tree_settle(tree);
	if (!err && tree && sectors && sectors <= end)
		err = bcfmt_history_each(tree, bcfmt_key_inode(&place->key), end - sectors, end,
					 see_past, &search, NULL);
	bcfmt_tree_free(tree);
	if (err)
		return err;
	if (search.n > SHOWN_MAX)
		bcfmt_out_line(out, "and in %" PRIu64 " more places", search.n - SHOWN_MAX);
	if (!search.n)
		bcfmt_out_line(out, "neither journal nor leaf nor old node has this key");
	shown->is_gone = !search.n;
	shown->is_sound = search.n > 0;
	if (bcfmt_key_has_data(&place->key) && is_on_cache(out, set, bucket))
		bucket_row(out, set, bucket);
	return BCFMT_OK;
}

static void entry_row(struct bcfmt_out *out, const struct bcfmt_set *set, size_t index)
{
	const struct bcfmt_journal_entry *entry = &set->journal.entries[index];

	bcfmt_row_begin(out, "entry");
	bcfmt_row_u64(out, "seq", entry->seq);
	bcfmt_row_u64(out, "last_seq", entry->last_seq);
	bcfmt_row_u64(out, "bucket", (uint64_t)set->geo.first_bucket + entry->ring_index);
	bcfmt_row_u64(out, "sector", bcfmt_journal_entry_sector(&set->journal, index));
	bcfmt_row_u64(out, "blocks", entry->blocks);
	bcfmt_row_end(out);
}

static void stop_row(struct bcfmt_out *out, const struct bcfmt_set *set,
		     const struct bcfmt_journal_stop *stop)
{
	uint64_t bucket = (uint64_t)set->geo.first_bucket + stop->ring_index;

	bcfmt_row_begin(out, "not_an_entry");
	bcfmt_row_u64(out, "claimed_seq", stop->seq);
	bcfmt_row_u64(out, "bucket", bucket);
	bcfmt_row_u64(out, "sector", bcfmt_bucket_sector(&set->geo, bucket) + stop->sector);
	bcfmt_row_u64(out, "bytes", stop->bytes);
	bcfmt_row_text(out, "fault", stop->fault == BCFMT_JSET_TOO_BIG ? "too big" : "bad csum");
	bcfmt_row_end(out);
}

/* The entries of a bucket of the ring around a sector in it, and what there is none. */
static void show_ring_bucket(struct bcfmt_out *out, const struct bcfmt_set *set,
			     const struct bcfmt_kernel_place *place, struct explain_shown *shown)
{
	const struct bcfmt_journal *journal = &set->journal;
	uint64_t sector = place->sector == BCFMT_NO_NUMBER ? 0 : place->sector;
	size_t none = journal->n_entries, before = none, behind = none;

	if (place->ring_index >= set->geo.journal_buckets) {
		bcfmt_out_line(out, "the journal has only %u buckets", set->geo.journal_buckets);
		shown->is_gone = true;
		return;
	}
	for (size_t i = 0; i < journal->n_entries; i++) {
		const struct bcfmt_journal_entry *entry = &journal->entries[i];

		if (entry->ring_index != place->ring_index)
			continue;
		if (entry->sector <= sector &&
		    (before == none || entry->sector > journal->entries[before].sector))
			before = i;
		if (entry->sector > sector &&
		    (behind == none || entry->sector < journal->entries[behind].sector))
			behind = i;
	}
	shown->is_sound = before != none && journal->entries[before].sector == sector;
	if (before != none)
		entry_row(out, set, before);
	for (size_t i = 0; i < journal->n_stops; i++) {
		if (journal->stops[i].ring_index != place->ring_index)
			continue;
		stop_row(out, set, &journal->stops[i]);
		shown->is_sound = false;
	}
	if (behind != none)
		entry_row(out, set, behind);
	if (before == none && behind == none)
		bcfmt_out_line(out, "no entry of this set is in journal bucket %" PRIu64,
			       place->ring_index);
}

/* Entries by their numbers: which are there. */
static void show_entries(struct bcfmt_out *out, const struct bcfmt_set *set, uint64_t first,
			 uint64_t last, struct explain_shown *shown)
{
	uint64_t n = last >= first ? last - first + 1 : 0;
	size_t index;

	shown->is_sound = n > 0;
	for (uint64_t i = 0; i < n && i < SHOWN_MAX; i++) {
		if (bcfmt_journal_find(&set->journal, first + i, &index) == BCFMT_OK) {
			entry_row(out, set, index);
			continue;
		}
		shown->is_sound = false;
		bcfmt_row_begin(out, "missing");
		bcfmt_row_u64(out, "seq", first + i);
		bcfmt_row_end(out);
	}
}

static void show_journal(struct bcfmt_out *out, const struct bcfmt_set *set,
			 const struct bcfmt_kernel_place *place, struct explain_shown *shown)
{
	if (place->ring_index != BCFMT_NO_NUMBER) {
		show_ring_bucket(out, set, place, shown);
		return;
	}
	if (place->first_seq != BCFMT_NO_NUMBER)
		show_entries(out, set, place->first_seq, place->last_seq, shown);
	bcfmt_row_begin(out, "journal");
	bcfmt_row_u64(out, "buckets", set->geo.journal_buckets);
	bcfmt_row_u64(out, "entries", set->journal.n_entries);
	if (set->has_newest) {
		bcfmt_row_u64(out, "newest_seq", set->newest.seq);
		bcfmt_row_u64(out, "last_seq", set->newest.last_seq);
	}
	bcfmt_row_end(out);
}

static void show_prios(struct bcfmt_out *out, const struct bcfmt_set *set,
		       struct explain_shown *shown)
{
	size_t n = set->n_prio_links;

	for (size_t i = n > SHOWN_MAX ? n - SHOWN_MAX : 0; i < n; i++) {
		bcfmt_row_begin(out, "prio_set");
		bcfmt_row_u64(out, "index", i);
		bcfmt_row_u64(out, "bucket", set->prio_links[i].bucket);
		bcfmt_row_bool(out, "sound", set->prio_links[i].state == BCFMT_PRIO_SET_OK);
		bcfmt_row_end(out);
	}
	shown->is_sound = set->has_all_prios;
}

static void show_uuids(struct bcfmt_out *out, const struct bcfmt_set *set,
		       struct explain_shown *shown)
{
	uint64_t live = 0, used = 0;

	for (uint32_t i = 0; i < set->n_uuids; i++) {
		live += bcfmt_uuid_state(&set->uuids[i]) == BCFMT_UUID_LIVE;
		used += bcfmt_uuid_state(&set->uuids[i]) != BCFMT_UUID_FREE;
	}
	shown->is_sound = set->uuids_state == BCFMT_UUIDS_OK && !set->uuids_bad_read.sectors;
	bcfmt_row_begin(out, "uuids");
	if (set->has_newest)
		bcfmt_row_u64(out, "bucket",
			      bcfmt_ptr_bucket(&set->geo, set->newest.uuid_bucket.ptr));
	bcfmt_row_bool(out, "read", shown->is_sound);
	bcfmt_row_u64(out, "slots", set->n_uuids);
	bcfmt_row_u64(out, "live", live);
	bcfmt_row_u64(out, "detached", used - live);
	bcfmt_row_end(out);
}

static void show_supers(struct bcfmt_out *out, const struct bcfmt_set *set,
			struct explain_shown *shown)
{
	shown->is_sound = true;
	if (set->has_cache && set->cache.has_magic)
		bcfmt_render_super(out, bcfmt_dev_name(set->cache.dev), &set->cache.super);
	for (size_t i = 0; i < set->n_backing; i++)
		if (set->backing[i].has_magic)
			bcfmt_render_super(out, bcfmt_dev_name(set->backing[i].dev),
					   &set->backing[i].super);
}

static const char *base_name(const char *path)
{
	const char *slash = strrchr(path, '/');

	return slash ? slash + 1 : path;
}

/* Drives have other names after a restart, and partitions begin somewhere: that is said. */
static void show_sector(struct bcfmt_out *out, const struct bcfmt_set *set,
			const struct bcfmt_kernel_place *place)
{
	uint64_t bucket = place->sector >> set->geo.bucket_shift;
	const char *name = bcfmt_dev_name(set->cache.dev);

	if (strcmp(base_name(name), place->device))
		bcfmt_out_line(out,
			       "if %s was %s, and not a partition of it, sector %" PRIu64
			       " lies here:",
			       place->device, name, place->sector);
	if (bucket < set->geo.nbuckets)
		bucket_row(out, set, bucket);
	else
		bcfmt_out_line(out, "sector %" PRIu64 " is behind the last bucket of the cache",
			       place->sector);
}

static void place_row(struct bcfmt_out *out, const struct bcfmt_kernel_place *place)
{
	const struct {
		const char *key;
		uint64_t value;
	} numbers[] = {
		{ "bucket", place->bucket },	     { "block", place->block },
		{ "ring_index", place->ring_index }, { "first_seq", place->first_seq },
		{ "last_seq", place->last_seq },     { "sector", place->sector },
	};
	char text[BCFMT_KEY_TEXT_BYTES];

	bcfmt_row_begin(out, "place");
	bcfmt_row_text(out, "of", bcfmt_place_kind_name(place->kind));
	for (size_t i = 0; i < sizeof(numbers) / sizeof(numbers[0]); i++)
		if (numbers[i].value != BCFMT_NO_NUMBER)
			bcfmt_row_u64(out, numbers[i].key, numbers[i].value);
	if (*place->device)
		bcfmt_row_text(out, "device", place->device);
	if (place->has_key) {
		bcfmt_key_text(text, &place->key);
		bcfmt_row_text(out, "key", text);
	}
	bcfmt_row_end(out);
}

bcfmt_err explain_show_place(struct bcfmt_out *out, struct bcfmt_set *set,
			     const struct bcfmt_kernel_place *place, struct explain_shown *shown)
{
	*shown = (struct explain_shown){ 0 };
	if (place->kind == BCFMT_PLACE_NONE)
		return BCFMT_OK;
	place_row(out, place);
	if (place->kind == BCFMT_PLACE_SUPER) {
		show_supers(out, set, shown);
		return BCFMT_OK;
	}
	if (!set->has_cache || !set->has_geometry) {
		bcfmt_out_line(out, "without the superblock of the cache its place is not known");
		return BCFMT_OK;
	}
	switch (place->kind) {
	case BCFMT_PLACE_JOURNAL:
		show_journal(out, set, place, shown);
		return BCFMT_OK;
	case BCFMT_PLACE_PRIOS:
		show_prios(out, set, shown);
		return BCFMT_OK;
	case BCFMT_PLACE_UUIDS:
		show_uuids(out, set, shown);
		return BCFMT_OK;
	case BCFMT_PLACE_ROOT:
		if (!set->has_newest)
			return BCFMT_OK;
		return show_node(out, set, bcfmt_ptr_bucket(&set->geo, set->newest.btree_root.ptr),
				 BCFMT_NO_NUMBER, shown);
	case BCFMT_PLACE_NODE:
		return show_node(out, set, place->bucket, place->block, shown);
	case BCFMT_PLACE_CHILD:
		return show_node(out, set, bcfmt_ptr_bucket(&set->geo, place->key.ptr),
				 BCFMT_NO_NUMBER, shown);
	case BCFMT_PLACE_EXTENT:
		return show_extent(out, set, place, shown);
	case BCFMT_PLACE_SECTOR:
		show_sector(out, set, place);
		return BCFMT_OK;
	case BCFMT_PLACE_SUPER:
	case BCFMT_PLACE_NONE:
		break;
	}
	return BCFMT_OK;
}
