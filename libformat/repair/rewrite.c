/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Writes the tree anew. A first walk over all leaves tells which of them are sound, untouched by
 * the journal and by edits: the new parents point to them. What all others finally hold is written
 * to new leaves in the order of keys.
 */
#include "repair/rewrite.h"

#include <stdlib.h>
#include <string.h>

#include "base/checked.h"
#include "write/write_impl.h"

/* ---- which leaves can stay ---- */

static bool is_key_sound(const struct bcfmt_set *set, const struct bcfmt_node_ref *ref,
			 const struct bcfmt_key *key)
{
	if (!bcfmt_key_sectors(key) || bcfmt_key_is_placeholder(key))
		return true;
	if (bcfmt_key_csum_type(key) || bcfmt_key_inode(key) >= set->n_uuids ||
	    bcfmt_pos_cmp(bcfmt_key_start(key), ref->lo) < 0 ||
	    bcfmt_pos_cmp(bcfmt_key_end(key), ref->hi) > 0)
		return false;
	return !write_leaf_key_refusal(&set->geo, key);
}

/* A place and a size that a kernel gives a node. */
static bool is_ref_sound(const struct bcfmt_set *set, const struct bcfmt_node_ref *ref)
{
	uint64_t bucket = bcfmt_ptr_bucket(&set->geo, ref->ptr);

	return !(!ref->sectors || ref->is_found || ref->sectors != set->geo.node_sectors ||
		 bucket >= set->geo.nbuckets || set->buckets[bucket].use & BCFMT_USE_DAMAGED ||
		 set->buckets[bucket].use & (BCFMT_USE_METADATA & ~(unsigned int)BCFMT_USE_NODE) ||
		 bcfmt_ptr_sector(ref->ptr) != bcfmt_bucket_sector(&set->geo, bucket) ||
		 bcfmt_set_stale(set, ref->ptr));
}

/* What lies in its bsets could have been written by a kernel that nothing disturbed. */
static bool is_node_sound(const struct bcfmt_set *set, const struct bcfmt_node_view *view)
{
	struct bcfmt_node_iter it = bcfmt_node_iter_init(view->node);
	const struct bcfmt_node_ref *ref = view->ref;
	struct bcfmt_key key;

	if (!is_ref_sound(set, ref))
		return false;
	if (view->node->fault || view->bad.sectors || view->is_disordered || view->is_overrun ||
	    view->uses_history || view->replay_keys || view->lost_sectors)
		return false;
	while (bcfmt_node_iter_next(&it, &key))
		if (!is_key_sound(set, ref, &key))
			return false;
	return true;
}

/* A place that a leaf must not point to, whoever agreed to what. */
static bool is_place_good(const struct bcfmt_set *set, const struct bcfmt_extent *extent)
{
	uint64_t sectors = extent->end_sector - extent->start_sector;
	struct bcfmt_key key;

	if (sectors > BCFMT_KEY_MAX_SECTORS || extent->inode >= set->n_uuids)
		return false;
	key = bcfmt_key_make(extent->inode, extent->end_sector, (uint32_t)sectors, extent->is_dirty,
			     true, extent->ptr);
	return !write_leaf_key_refusal(&set->geo, &key);
}

static bool is_given_up(const struct rewrite *rw, const struct bcfmt_extent *extent)
{
	return !extent->is_dirty &&
	       rw->buckets->marks[bcfmt_ptr_bucket(&rw->set->geo, extent->ptr)] & BUCKET_GIVEN_UP;
}

static void add_use(struct rewrite *rw, const struct bcfmt_extent *extent)
{
	struct inode_use *use = &rw->inodes[extent->inode];
	uint64_t end = __atomic_load_n(&use->end_sector, __ATOMIC_RELAXED);

	if (extent->stale)
		return;
	__atomic_fetch_add(extent->is_dirty ? &use->dirty_sectors : &use->clean_sectors,
			   extent->end_sector - extent->start_sector, __ATOMIC_RELAXED);
	while (end < extent->end_sector &&
	       !__atomic_compare_exchange_n(&use->end_sector, &end, extent->end_sector, false,
					    __ATOMIC_RELAXED, __ATOMIC_RELAXED))
		;
}

/*
 * What becomes of an extent; it may be changed. What is stale and clean has no meaning; the rest
 * is for the edit to decide.
 */
static enum edit edit_extent(const struct rewrite *rw, struct bcfmt_extent *extent,
			     bool *is_changed)
{
	if (extent->stale && (!extent->is_dirty || extent->is_written_back)) {
		*is_changed |= extent->stale > BCFMT_STALE_MAX;
		return EDIT_DROP;
	}
	if (!is_place_good(rw->set, extent) || is_given_up(rw, extent)) {
		*is_changed = true;
		return EDIT_DROP;
	}
	return rw->params->edit ? rw->params->edit(rw->params->edit_arg, extent, is_changed)
				: EDIT_KEEP;
}

/*
 * Keys that the tree has clean, and that the journal has dirty. Those of the replay window a kernel
 * makes dirty again, and so the newest copy outlives a disk that lost what it had in its cache;
 * those before it stay as they are, and those that nobody would write back.
 */
static void settle_written_back(const struct rewrite *rw, struct bcfmt_extent *extent)
{
	if (extent->is_written_back &&
	    (extent->source == BCFMT_FROM_HISTORY ||
	     bcfmt_uuid_state(&rw->set->uuids[extent->inode]) != BCFMT_UUID_LIVE))
		extent->is_dirty = false;
}

static bcfmt_err note_leaf(void *arg, const struct bcfmt_node_view *view,
			   const struct bcfmt_extent *extents, size_t n_extents)
{
	struct rewrite *rw = arg;
	size_t index = (size_t)(view->ref - bcfmt_tree_leaf(rw->tree, 0));
	struct bcfmt_node_iter it = bcfmt_node_iter_init(view->node);
	const struct rewrite_params *params = rw->params;
	bool is_changed = !is_node_sound(rw->set, view) ||
			  (params->touches && params->touches(params->merge_arg, view->ref));
	struct bcfmt_key key;

	while (bcfmt_node_iter_next(&it, &key))
		if (bcfmt_key_has_data(&key))
			buckets_name(rw->buckets, key.ptr);
	for (size_t i = 0; i < n_extents; i++) {
		struct bcfmt_extent extent = extents[i];

		if (edit_extent(rw, &extent, &is_changed) == EDIT_DROP)
			continue;
		settle_written_back(rw, &extent);
		buckets_name(rw->buckets, extent.ptr);
		add_use(rw, &extent);
	}
	if (is_changed)
		__atomic_fetch_add(&rw->loose_extents, n_extents, __ATOMIC_RELAXED);
	rw->is_kept[index] = !is_changed;
	return BCFMT_OK;
}

/*
 * Nothing is to be said of the keys of a plain leaf, which are what the check saw: where no edit
 * asks for them, they need not be looked at.
 */
static bcfmt_err note_plain(void *arg, const struct bcfmt_node_view *view)
{
	struct rewrite *rw = arg;
	const struct rewrite_params *params = rw->params;
	const struct bcfmt_bset *bset = &view->node->bsets[0];
	size_t index = (size_t)(view->ref - bcfmt_tree_leaf(rw->tree, 0));
	bool is_kept = is_ref_sound(rw->set, view->ref) &&
		       !(params->touches && params->touches(params->merge_arg, view->ref));
	struct bcfmt_key last;

	/* Inodes ascend. */
	if (view->keys && bcfmt_key_decode(bset->keys + 24ull * (view->keys - 1), 3, &last))
		is_kept &= bcfmt_key_inode(&last) < rw->set->n_uuids;
	rw->is_kept[index] = is_kept;
	if (!is_kept)
		__atomic_fetch_add(&rw->loose_extents, view->keys, __ATOMIC_RELAXED);
	return BCFMT_OK;
}

static bcfmt_err note_leaves(struct rewrite *rw)
{
	struct bcfmt_tree_visitor visitor = { .arg = rw, .leaf = note_leaf };
	size_t n = bcfmt_tree_leaves(rw->tree);
	bool again = true;
	bcfmt_err err = BCFMT_OK;

	if (!rw->needs_keys && !rw->repair->room.n)
		visitor.plain = note_plain;
	free(rw->is_kept);
	rw->is_kept = calloc(max_u64(n, 1), sizeof(*rw->is_kept));
	if (!rw->is_kept)
		return bcfmt_fail(rw->repair->ctx, BCFMT_E_NOMEM, "out of memory for leaves");
	while (!err && again) {
		memset(rw->inodes, 0, rw->set->n_uuids * sizeof(*rw->inodes));
		rw->loose_extents = 0;
		err = bcfmt_tree_walk_leaves(rw->tree, &visitor, &again);
	}
	for (size_t i = 0; !err && i < n; i++) {
		const struct bcfmt_node_ref *ref = bcfmt_tree_leaf(rw->tree, i);
		uint64_t bucket = bcfmt_ptr_bucket(&rw->set->geo, ref->ptr);

		if (ref->sectors && bucket < rw->set->geo.nbuckets)
			rw->buckets->marks[bucket] |= rw->is_kept[i] ? BUCKET_KEPT : BUCKET_SOURCE;
	}
	return err;
}

/* ---- new leaves ---- */

static bcfmt_err push_pending(struct rewrite *rw)
{
	const struct bcfmt_extent *extent = &rw->pending;
	struct bcfmt_key key;

	if (!rw->has_pending)
		return BCFMT_OK;
	rw->has_pending = false;
	key = bcfmt_key_make(extent->inode, extent->end_sector,
			     (uint32_t)(extent->end_sector - extent->start_sector),
			     extent->is_dirty, true, extent->ptr);
	return bcfmt_tree_writer_add(rw->writer, &key);
}

/* Two extents that one key can name. kernel: bch_extent_merge(). */
static bool is_continued(const struct bcfmt_geometry *geo, const struct bcfmt_extent *a,
			 const struct bcfmt_extent *b)
{
	uint64_t sectors = a->end_sector - a->start_sector;

	return a->inode == b->inode && a->end_sector == b->start_sector &&
	       a->is_dirty == b->is_dirty && b->ptr == a->ptr + (sectors << 8) &&
	       bcfmt_ptr_bucket(geo, a->ptr) == bcfmt_ptr_bucket(geo, b->ptr) &&
	       b->end_sector - a->start_sector <= BCFMT_KEY_MAX_SECTORS;
}

static bcfmt_err write_extent(void *arg, const struct bcfmt_extent *given)
{
	struct rewrite *rw = arg;
	struct bcfmt_extent extent = *given;
	struct bcfmt_repair_counts *counts = &rw->repair->counts;
	uint64_t sectors = extent.end_sector - extent.start_sector;
	bool is_lost = extent.is_dirty && !extent.is_written_back;
	bool is_changed = false;
	enum edit decision;
	bcfmt_err err;

	decision = edit_extent(rw, &extent, &is_changed);
	rw->is_edited |= is_changed && !extent.stale;
	if (decision == EDIT_MOVE)
		return BCFMT_OK;
	if (decision == EDIT_DROP) {
		counts->dropped_sectors += is_lost ? sectors : 0;
		counts->freed_sectors += !extent.stale && is_given_up(rw, &extent) ? sectors : 0;
		return BCFMT_OK;
	}
	counts->dropped_sectors +=
		is_lost ? sectors - (extent.end_sector - extent.start_sector) : 0;
	settle_written_back(rw, &extent);
	/* What older entries say of its bucket would look like lost keys beside a dirty one. */
	rw->is_edited |= extent.is_written_back && extent.is_dirty;
	if (rw->has_pending && is_continued(&rw->set->geo, &rw->pending, &extent)) {
		rw->pending.end_sector = extent.end_sector;
		return BCFMT_OK;
	}
	err = push_pending(rw);
	rw->pending = extent;
	rw->has_pending = true;
	return err;
}

/* Leaves out what is dropped because its place belongs to others as well. */
static bcfmt_err write_parts(struct rewrite *rw, const struct bcfmt_extent *extent)
{
	const struct drop_range *drop = rw->twice.items;
	bcfmt_err err = BCFMT_OK;

	for (uint64_t at = extent->start_sector; !err && at < extent->end_sector;) {
		size_t i = extent->stale ? rw->twice.n : twice_after(rw, extent->inode, at);
		bool is_hit = i < rw->twice.n && drop[i].start.inode == extent->inode &&
			      drop[i].start.sector < extent->end_sector;
		struct bcfmt_extent part = *extent;

		part.ptr += (at - extent->start_sector) << 8;
		part.start_sector = at;
		if (is_hit)
			part.end_sector = max_u64(drop[i].start.sector, at);
		if (part.end_sector > at)
			err = write_extent(rw, &part);
		at = part.end_sector;
		if (!is_hit)
			continue;
		part.end_sector = min_u64(drop[i].end_sector, extent->end_sector);
		rw->is_edited = true;
		rw->repair->counts.dropped_sectors +=
			extent->is_dirty && !extent->is_written_back ? part.end_sector - at : 0;
		at = part.end_sector;
	}
	return err;
}

static bcfmt_err write_leaf(void *arg, const struct bcfmt_node_view *view,
			    const struct bcfmt_extent *extents, size_t n_extents)
{
	struct rewrite *rw = arg;
	const struct rewrite_params *params = rw->params;
	bcfmt_err err = BCFMT_OK;

	/* What is written must be what the check saw. */
	if (view->is_lost_since)
		return bcfmt_fail(rw->repair->ctx, BCFMT_E_IO,
				  "%s: a node that could be read cannot be read any more",
				  bcfmt_dev_name(rw->set->cache.dev));
	if (params->touches && params->touches(params->merge_arg, view->ref))
		return params->merge(params->merge_arg, rw->tree, view->ref, extents, n_extents,
				     write_extent, rw);
	for (size_t i = 0; !err && i < n_extents; i++)
		err = write_parts(rw, &extents[i]);
	return err;
}

static bcfmt_err keep_leaf(struct rewrite *rw, const struct bcfmt_node_ref *ref)
{
	struct bcfmt_key key =
		bcfmt_key_make(ref->hi.inode, ref->hi.sector, ref->sectors, false, true, ref->ptr);
	bcfmt_err err = push_pending(rw);

	return err ? err : bcfmt_tree_writer_keep(rw->writer, &key);
}

static bcfmt_err take_node_bucket(void *arg, uint64_t *bucket, uint8_t *gen)
{
	struct rewrite *rw = arg;

	return buckets_take(rw->buckets, bucket, gen);
}

static bcfmt_err write_leaves(struct rewrite *rw)
{
	struct bcfmt_tree_visitor visitor = { .arg = rw, .leaf = write_leaf };
	size_t n = bcfmt_tree_leaves(rw->tree);
	bcfmt_err err = BCFMT_OK;

	for (size_t i = 0; !err && i < n; i++) {
		const struct bcfmt_node_ref *ref = bcfmt_tree_leaf(rw->tree, i);

		if (bcfmt_ctx_is_cancelled(rw->repair->ctx))
			return BCFMT_E_CANCELLED;
		if (rw->is_kept[i])
			err = keep_leaf(rw, ref);
		else
			err = bcfmt_tree_range(rw->tree, ref->lo, ref->hi, &visitor);
		bcfmt_ctx_progress(rw->repair->ctx, "rewrite", i + 1, n);
	}
	return err ? err : push_pending(rw);
}

static bcfmt_err write_tree(struct rewrite *rw)
{
	struct bcfmt_target target = { rw->repair->ctx,
				       repair_cache(rw->repair)->phase[PHASE_BUCKETS],
				       &rw->set->geo };
	struct bcfmt_tree_writer_params params = { .bucket = take_node_bucket,
						   .bucket_arg = rw,
						   .is_of_search = rw->set->is_without_journal };
	bcfmt_err err = bcfmt_tree_writer_new(&target, &params, &rw->writer);

	if (!err)
		err = write_leaves(rw);
	if (!err)
		err = bcfmt_tree_writer_finish(rw->writer, &rw->written);
	bcfmt_tree_writer_free(rw->writer);
	rw->writer = NULL;
	return err;
}

/* ---- all together ---- */

static bcfmt_err write_entry(struct rewrite *rw, const struct tables *tables)
{
	const struct bcfmt_geometry *geo = &rw->set->geo;
	const struct bcfmt_journal *journal = &rw->set->journal;
	struct bcfmt_jset jset = { .version = 1,
				   .btree_root = rw->written.root,
				   .btree_level = rw->written.level,
				   .uuid_bucket = tables->uuid_bucket };
	uint64_t newest = journal->n_entries ? journal->entries[journal->n_entries - 1].seq : 0;

	if (newest >= UINT64_MAX - BCFMT_JOURNAL_PINS_MAX)
		return bcfmt_fail(rw->repair->ctx, BCFMT_E_UNSUPPORTED,
				  "%s: the numbers of journal entries are used up",
				  bcfmt_dev_name(rw->set->cache.dev));
	/*
	 * What old entries say may be used where a leaf is damaged later; a number that is left out
	 * says that it must not, because it is not what was written.
	 */
	jset.seq = jset.last_seq = newest + (rw->is_edited || rw->set->histories.is_found ? 2 : 1);
	jset.prio_bucket[geo->nr_this_dev] = tables->prio_bucket;
	return journal_place(rw->repair, &jset, PHASE_JOURNAL);
}

static bcfmt_err write_tables(struct rewrite *rw, struct tables *tables)
{
	const struct bcfmt_uuid_entry *from =
		rw->params->uuids ? rw->params->uuids : rw->set->uuids;
	size_t bytes = rw->set->n_uuids * sizeof(*from);
	struct bcfmt_uuid_entry *uuids = malloc(bytes);
	bcfmt_err err;

	if (!uuids)
		return bcfmt_fail(rw->repair->ctx, BCFMT_E_NOMEM, "out of memory for uuids");
	memcpy(uuids, from, bytes);
	err = uuids_mend(rw->repair, rw->tree, rw->inodes, uuids);
	if (!err)
		err = tables_write(rw->repair, rw->buckets, uuids, tables);
	free(uuids);
	return err;
}

size_t rewrite_leaf_at(const struct rewrite *rw, struct bcfmt_pos pos)
{
	size_t low = 0, high = bcfmt_tree_leaves(rw->tree);

	while (low < high) {
		size_t mid = low + (high - low) / 2;

		if (bcfmt_pos_cmp(bcfmt_tree_leaf(rw->tree, mid)->hi, pos) <= 0)
			low = mid + 1;
		else
			high = mid;
	}
	return low;
}

/* Which leaves stay, what is dropped, and where there is room for the rest. */
static bcfmt_err look_at_leaves(struct rewrite *rw)
{
	bool is_made = false;
	bcfmt_err err = note_leaves(rw);

	if (!err && plan_is_agreed(rw->repair, BCFMT_P_EXTENT_TWICE))
		err = twice_find(rw);
	if (!err)
		err = room_make(rw, &is_made);
	if (err || !is_made)
		return err;
	for (uint64_t i = 0; i < rw->set->geo.nbuckets; i++)
		rw->buckets->marks[i] &= (uint8_t) ~(BUCKET_KEPT | BUCKET_SOURCE);
	err = note_leaves(rw);
	if (!err && plan_is_agreed(rw->repair, BCFMT_P_EXTENT_TWICE))
		err = twice_find(rw);
	return err;
}

static void count(struct rewrite *rw)
{
	struct bcfmt_repair_counts *counts = &rw->repair->counts;

	counts->kept_leaves = rw->written.kept;
	counts->written_leaves = rw->written.leaves;
	counts->written_nodes = rw->written.nodes;
	counts->written_buckets = rw->buckets->taken;
}

bcfmt_err rewrite_cache(struct bcfmt_repair_run *repair, const struct rewrite_params *params)
{
	static const struct bcfmt_tree_visitor nobody;
	struct rewrite rw = { .repair = repair,
			      .set = repair->set,
			      .params = params,
			      .is_edited = repair->set->is_shallow };
	struct tables tables;
	bcfmt_err err = buckets_new(repair->set, &rw.buckets);

	if (!err)
		err = bcfmt_tree_open(repair->set, &nobody, &rw.tree);
	if (!err) {
		buckets_keep_found(rw.buckets);
		err = buckets_name_journal(rw.buckets);
	}
	rw.needs_keys = params->merge || (params->edit && plan_needs_keys(repair));
	rw.inodes = calloc(max_u64(repair->set->n_uuids, 1), sizeof(*rw.inodes));
	if (!err && !rw.inodes)
		err = bcfmt_fail(repair->ctx, BCFMT_E_NOMEM, "out of memory for inodes");
	if (!err)
		err = look_at_leaves(&rw);
	if (!err)
		err = write_tree(&rw);
	if (!err)
		err = write_tables(&rw, &tables);
	if (!err)
		err = write_entry(&rw, &tables);
	if (!err)
		count(&rw);
	bcfmt_tree_free(rw.tree);
	buckets_free(rw.buckets);
	vec_free(&rw.twice);
	free(rw.inodes);
	free(rw.is_kept);
	return err;
}
