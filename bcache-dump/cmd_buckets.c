/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * bcache-dump buckets: what each bucket holds and who points to it. Extents come in the order of
 * their place, so that one bucket after the other can be told; 8 bytes a bucket remember which
 * node points to which.
 */
#include "filter.h"
#include "walk.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define PARENT_BITS 44
#define PARENT_MASK ((1ull << PARENT_BITS) - 1)
#define NO_PARENT   0ull

/* Pointers of one leaf into one bucket, for one inode. */
struct group {
	uint64_t leaf_ptr; /* 0: of the journal */
	uint8_t source;	   /* enum bcfmt_extent_source */
	uint32_t inode;
	uint32_t extents;
	uint64_t dirty_sectors;
	uint64_t clean_sectors;
	uint64_t stale_sectors;
};
/* Of a bucket with more of them the rest is told as one. */
#define GROUPS_MAX 512u

struct journal_use {
	uint64_t first_seq;
	uint64_t last_seq;
	uint64_t entries;
};

struct buckets_dump {
	struct dump *d;
	struct walk walk;
	/* A bucket: parent bucket + 1, generation of the pointer, level of the node + 1. */
	uint64_t *owners;
	struct journal_use journal[BCFMT_SUPER_JOURNAL_MAX];
	struct group groups[GROUPS_MAX];
	size_t n_groups;
	struct group rest;
	uint64_t bucket;    /* the next to be told */
	uint64_t conflicts; /* buckets that hold two kinds of things */
	uint64_t lost_sectors;
};

static unsigned int owner_gen(uint64_t owner)
{
	return (unsigned int)(owner >> PARENT_BITS & 0xff);
}
static unsigned int owner_level(uint64_t owner)
{
	return (unsigned int)(owner >> (PARENT_BITS + 8) & 0xff);
}
static uint64_t owner_make(uint64_t parent, unsigned int gen, unsigned int level)
{
	return (parent & PARENT_MASK) | (uint64_t)(gen & 0xff) << PARENT_BITS |
	       (uint64_t)(level & 0xff) << (PARENT_BITS + 8);
}

/* A freed node's old pointer stays in its parent: the newest generation counts. */
static void note_pointer(struct buckets_dump *bd, uint64_t parent, const struct bcfmt_key *key)
{
	uint64_t bucket = bcfmt_ptr_bucket(&bd->d->set->geo, key->ptr);
	uint64_t owner;

	if (bcfmt_key_is_zero_pos(key) || !bcfmt_key_has_data(key) ||
	    bucket >= bd->d->set->geo.nbuckets)
		return;
	owner = bd->owners[bucket];
	if ((owner & PARENT_MASK) == NO_PARENT ||
	    bcfmt_gen_after(bcfmt_ptr_gen(key->ptr), owner_gen(owner)))
		bd->owners[bucket] =
			owner_make(parent + 1, bcfmt_ptr_gen(key->ptr), owner_level(owner));
}

static void note_level(struct buckets_dump *bd, const struct bcfmt_node_ref *ref)
{
	uint64_t *owner = &bd->owners[bcfmt_ptr_bucket(&bd->d->set->geo, ref->ptr)];

	*owner = owner_make(*owner & PARENT_MASK, owner_gen(*owner), ref->level + 1u);
}

static bcfmt_err see_interior(void *arg, const struct bcfmt_node_view *view)
{
	struct buckets_dump *bd = arg;
	uint64_t bucket = bcfmt_ptr_bucket(&bd->d->set->geo, view->ref->ptr);
	struct bcfmt_node_iter it = bcfmt_node_iter_init(view->node);
	struct bcfmt_key key;

	pthread_mutex_lock(&bd->walk.lock);
	note_level(bd, view->ref);
	while (bcfmt_node_iter_next(&it, &key))
		note_pointer(bd, bucket, &key);
	pthread_mutex_unlock(&bd->walk.lock);
	return BCFMT_OK;
}

static void note_journal(struct buckets_dump *bd)
{
	const struct bcfmt_journal *journal = &bd->d->set->journal;

	for (size_t i = 0; i < journal->n_entries; i++) {
		const struct bcfmt_journal_entry *entry = &journal->entries[i];
		struct journal_use *use = &bd->journal[entry->ring_index % BCFMT_SUPER_JOURNAL_MAX];

		if (!use->entries++)
			use->first_seq = entry->seq;
		use->last_seq = entry->seq;
	}
}

/* What a bucket is, as words; more than one is a conflict. */
struct holds {
	char text[64];
	unsigned int n;
};

static void add_use(struct holds *holds, const char *word)
{
	size_t len = strlen(holds->text);

	/* All words together fit; see the callers. */
	snprintf(holds->text + len, sizeof(holds->text) - len, "%s%s", len ? "," : "", word);
	holds->n++;
}

/* Place of the bucket in the prio chain, or -1. */
static long prio_index(const struct bcfmt_set *set, uint64_t bucket)
{
	if (!(set->buckets[bucket].use & BCFMT_USE_PRIO))
		return -1;
	for (size_t i = 0; i < set->n_prio_links; i++)
		if (set->prio_links[i].bucket == bucket &&
		    set->prio_links[i].state == BCFMT_PRIO_SET_OK)
			return (long)i;
	return -1;
}

static struct holds what_holds(const struct buckets_dump *bd, uint64_t bucket,
			       const struct group *sum)
{
	const struct bcfmt_set *set = bd->d->set;
	const struct bcfmt_geometry *geo = &set->geo;
	struct holds holds = { "", 0 };

	if (bucket < geo->first_bucket)
		add_use(&holds, "superblock");
	else if (bucket < (uint64_t)geo->first_bucket + geo->journal_buckets)
		add_use(&holds, "journal");
	if (set->buckets[bucket].use & BCFMT_USE_PRIO)
		add_use(&holds, "prios");
	if (set->buckets[bucket].use & BCFMT_USE_UUID)
		add_use(&holds, "uuids");
	if (owner_level(bd->owners[bucket]))
		add_use(&holds, "node");
	if (sum->dirty_sectors || sum->clean_sectors)
		add_use(&holds, "data");
	if (!holds.n)
		add_use(&holds, bd->walk.tree ? "free" : "unknown");
	return holds;
}

static void bucket_row(struct buckets_dump *bd, uint64_t bucket, const struct holds *holds,
		       const struct group *sum)
{
	const struct bcfmt_set *set = bd->d->set;
	struct bcfmt_out *out = bd->d->out;

	bcfmt_row_begin(out, "bucket");
	bcfmt_row_u64(out, "bucket", bucket);
	bcfmt_row_text(out, "holds", holds->text);
	bcfmt_row_u64(out, "gen", set->buckets[bucket].gen);
	bcfmt_row_u64(out, "prio", set->buckets[bucket].prio);
	if (owner_level(bd->owners[bucket]))
		bcfmt_row_u64(out, "level", owner_level(bd->owners[bucket]) - 1);
	if (sum->dirty_sectors)
		bcfmt_row_u64(out, "dirty_sectors", sum->dirty_sectors);
	if (sum->clean_sectors)
		bcfmt_row_u64(out, "clean_sectors", sum->clean_sectors);
	if (sum->stale_sectors)
		bcfmt_row_u64(out, "stale_sectors", sum->stale_sectors);
	bcfmt_row_end(out);
}

static void pointer_begin(struct buckets_dump *bd, uint64_t bucket, const char *from)
{
	bcfmt_row_begin(bd->d->out, "pointer");
	bcfmt_row_u64(bd->d->out, "bucket", bucket);
	bcfmt_row_text(bd->d->out, "from", from);
}

static void journal_pointer(struct buckets_dump *bd, uint64_t bucket, uint64_t ring_index)
{
	const struct journal_use *use = &bd->journal[ring_index];
	struct bcfmt_out *out = bd->d->out;

	pointer_begin(bd, bucket, "superblock");
	bcfmt_row_u64(out, "ring_index", ring_index);
	bcfmt_row_u64(out, "entries", use->entries);
	if (use->entries) {
		bcfmt_row_u64(out, "first_seq", use->first_seq);
		bcfmt_row_u64(out, "last_seq", use->last_seq);
	}
	bcfmt_row_end(out);
}

static void metadata_pointers(struct buckets_dump *bd, uint64_t bucket)
{
	const struct bcfmt_set *set = bd->d->set;
	uint64_t ring_index = bucket - set->geo.first_bucket;
	uint64_t owner = bd->owners[bucket];
	struct bcfmt_out *out = bd->d->out;
	long index = prio_index(set, bucket);

	if (bucket >= set->geo.first_bucket && ring_index < set->geo.journal_buckets)
		journal_pointer(bd, bucket, ring_index);
	if (index >= 0) {
		pointer_begin(bd, bucket, index ? "prio-set" : "journal");
		bcfmt_row_u64(out, "index", (uint64_t)index);
		if (index)
			bcfmt_row_u64(out, "from_bucket", set->prio_links[index - 1].bucket);
		else
			bcfmt_row_u64(out, "seq", set->newest.seq);
		bcfmt_row_end(out);
	}
	if (set->buckets[bucket].use & BCFMT_USE_UUID) {
		pointer_begin(bd, bucket, "journal");
		bcfmt_row_u64(out, "seq", set->newest.seq);
		bcfmt_row_end(out);
	}
	if (!owner_level(owner))
		return;
	if (bcfmt_ptr_bucket(&set->geo, set->newest.btree_root.ptr) == bucket) {
		pointer_begin(bd, bucket, "journal");
		bcfmt_row_u64(out, "seq", set->newest.seq);
		bcfmt_row_bool(out, "root", true);
	} else {
		pointer_begin(bd, bucket, "node");
		if ((owner & PARENT_MASK) != NO_PARENT)
			bcfmt_row_u64(out, "from_bucket", (owner & PARENT_MASK) - 1);
	}
	bcfmt_row_end(out);
}

static void group_row(struct buckets_dump *bd, uint64_t bucket, const struct group *group,
		      const char *from)
{
	struct bcfmt_out *out = bd->d->out;

	pointer_begin(bd, bucket, from);
	if (group != &bd->rest) {
		if (group->leaf_ptr)
			bcfmt_row_u64(out, "from_bucket",
				      bcfmt_ptr_bucket(&bd->d->set->geo, group->leaf_ptr));
		bcfmt_row_u64(out, "inode", group->inode);
	}
	bcfmt_row_u64(out, "extents", group->extents);
	if (group->dirty_sectors)
		bcfmt_row_u64(out, "dirty_sectors", group->dirty_sectors);
	if (group->clean_sectors)
		bcfmt_row_u64(out, "clean_sectors", group->clean_sectors);
	if (group->stale_sectors)
		bcfmt_row_u64(out, "stale_sectors", group->stale_sectors);
	bcfmt_row_end(out);
}

static void add_to(struct group *group, const struct bcfmt_extent *extent)
{
	uint64_t sectors = extent->end_sector - extent->start_sector;

	group->extents++;
	if (extent->stale)
		group->stale_sectors += sectors;
	else if (extent->is_dirty)
		group->dirty_sectors += sectors;
	else
		group->clean_sectors += sectors;
}

/* Tells the bucket that is next, with the extents collected for it. */
static void tell_bucket(struct buckets_dump *bd)
{
	uint64_t bucket = bd->bucket++;
	struct group sum = bd->rest;
	struct holds holds;

	for (size_t i = 0; i < bd->n_groups; i++) {
		sum.dirty_sectors += bd->groups[i].dirty_sectors;
		sum.clean_sectors += bd->groups[i].clean_sectors;
		sum.stale_sectors += bd->groups[i].stale_sectors;
	}
	holds = what_holds(bd, bucket, &sum);
	if (filter_has_bucket(&bd->d->opt, bucket)) {
		bucket_row(bd, bucket, &holds, &sum);
		metadata_pointers(bd, bucket);
		for (size_t i = 0; i < bd->n_groups; i++)
			group_row(bd, bucket, &bd->groups[i],
				  bd->groups[i].leaf_ptr ? "leaf"
							 : source_text(bd->groups[i].source));
		if (bd->rest.extents)
			group_row(bd, bucket, &bd->rest, "others");
	}
	bd->conflicts += holds.n > 1;
	bd->n_groups = 0;
	memset(&bd->rest, 0, sizeof(bd->rest));
}

static bcfmt_err see_placed(void *arg, const struct bcfmt_extent *extent, uint64_t leaf_ptr)
{
	struct buckets_dump *bd = arg;
	uint64_t bucket = bcfmt_ptr_bucket(&bd->d->set->geo, extent->ptr);
	struct group *group = NULL;

	/* What only the journal has is in no leaf. */
	if (extent->source != BCFMT_FROM_TREE)
		leaf_ptr = 0;
	if (bucket >= bd->d->set->geo.nbuckets || bucket < bd->bucket)
		return BCFMT_OK;
	while (bd->bucket < bucket)
		tell_bucket(bd);
	if (extent_is_lost(extent))
		bd->lost_sectors += extent->end_sector - extent->start_sector;
	/* The last group is the most likely one: a bucket is filled by one writer at a time. */
	for (size_t i = bd->n_groups; i && !group; i--)
		if (bd->groups[i - 1].leaf_ptr == leaf_ptr &&
		    bd->groups[i - 1].source == extent->source &&
		    bd->groups[i - 1].inode == extent->inode)
			group = &bd->groups[i - 1];
	if (!group && bd->n_groups < GROUPS_MAX) {
		group = &bd->groups[bd->n_groups++];
		*group = (struct group){
			.leaf_ptr = leaf_ptr,
			.inode = extent->inode,
			.source = extent->source,
		};
	}
	add_to(group ? group : &bd->rest, extent);
	return BCFMT_OK;
}

static int show(struct buckets_dump *bd)
{
	struct dump *d = bd->d;
	struct bcfmt_pos lo = { 0, 0 }, hi = bcfmt_pos_max();
	int code = walk_open(&bd->walk, d, lo, hi, see_interior, bd);
	bcfmt_err err = BCFMT_OK;

	if (code == DUMP_FAILED)
		return code;
	note_journal(bd);
	for (size_t i = 0; !code && i < bcfmt_tree_leaves(bd->walk.tree); i++)
		if (bcfmt_tree_leaf(bd->walk.tree, i)->sectors)
			note_level(bd, bcfmt_tree_leaf(bd->walk.tree, i));
	if (!code)
		walk_tell_gaps(&bd->walk);
	if (!code)
		err = walk_settle(&bd->walk, NULL, NULL, NULL);
	if (!code && !err)
		err = bcfmt_tree_physical(bd->walk.tree, lo, hi, see_placed, bd);
	if (err)
		return dump_failed(d, err);
	while (bd->bucket < d->set->geo.nbuckets)
		tell_bucket(bd);
	if (bd->conflicts)
		cli_error(dump_cache_name(d), "%llu buckets hold more than one thing",
			  (unsigned long long)bd->conflicts);
	if (bd->lost_sectors)
		cli_error(dump_cache_name(d),
			  "%llu dirty sectors are lost: their buckets were reused",
			  (unsigned long long)bd->lost_sectors);
	return code || bd->walk.is_damaged || bd->conflicts || bd->lost_sectors ? DUMP_DAMAGED
										: DUMP_DONE;
}

int cmd_buckets(struct dump *d)
{
	struct buckets_dump *bd = calloc(1, sizeof(*bd));
	int code;

	if (bd)
		bd->owners = calloc(d->set->geo.nbuckets, sizeof(*bd->owners));
	if (!bd || !bd->owners) {
		free(bd);
		return dump_failed(d, BCFMT_E_NOMEM);
	}
	bd->d = d;
	code = show(bd);
	walk_close(&bd->walk);
	free(bd->owners);
	free(bd);
	return code;
}
