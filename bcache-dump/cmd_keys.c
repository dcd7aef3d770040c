/* SPDX-License-Identifier: GPL-2.0-or-later */
/* bcache-dump keys: what the tree finally says, the journal laid on. */
#include "filter.h"
#include "walk.h"

struct keys_dump {
	struct dump *d;
	struct walk walk;
	uint64_t lost_sectors; /* dirty, but their bucket was reused */
};

static void print_key(struct dump *d, const struct bcfmt_extent *extent)
{
	struct bcfmt_key key = extent_key(extent);
	char text[BCFMT_KEY_TEXT_BYTES];

	if (bcfmt_out_is_json(d->out)) {
		extent_row(d, "key", extent);
		return;
	}
	bcfmt_key_text(text, &key);
	if (extent->stale)
		bcfmt_out_line(d->out, "%s stale %u", text, extent->stale);
	else
		bcfmt_out_line(d->out, "%s", text);
}

static void take_key(struct keys_dump *kd, const struct bcfmt_extent *extent)
{
	const struct dump_options *opt = &kd->d->opt;

	if (!filter_has_sectors(opt, extent->inode, extent->start_sector, extent->end_sector) ||
	    (opt->only_dirty && !extent->is_dirty))
		return;
	if (extent_is_lost(extent))
		kd->lost_sectors += extent->end_sector - extent->start_sector;
	/* A kernel does not print keys into buckets that were reused. */
	if (!extent->stale || opt->is_verbose)
		print_key(kd->d, extent);
}

static bcfmt_err see_leaf(void *arg, const struct bcfmt_node_view *view,
			  const struct bcfmt_extent *extents, size_t n_extents)
{
	struct keys_dump *kd = arg;

	if (view->is_lost_since) {
		tell_lost_leaf(kd->d, view);
		kd->walk.is_damaged = true;
	}
	for (size_t i = 0; i < n_extents; i++)
		take_key(arg, &extents[i]);
	return BCFMT_OK;
}

static bcfmt_err see_placed(void *arg, const struct bcfmt_extent *extent, uint64_t leaf_ptr)
{
	(void)leaf_ptr;
	take_key(arg, extent);
	return BCFMT_OK;
}

int cmd_keys(struct dump *d)
{
	struct keys_dump kd = { .d = d };
	const struct dump_options *opt = &d->opt;
	struct bcfmt_tree_visitor visitor = { .arg = &kd, .leaf = see_leaf };
	struct bcfmt_pos lo = { 0, 0 }, hi = bcfmt_pos_max();
	bcfmt_err err;
	int code;

	if (opt->has_inode) {
		lo.inode = hi.inode = opt->inode;
		if (opt->has_range)
			lo.sector = opt->range_first;
		/* The last sector belongs to it, and the key that covers it ends behind it. */
		if (opt->has_range && opt->range_last < BCFMT_KEY_MAX_OFFSET)
			hi.sector = opt->range_last + 1;
	}
	if (opt->with_history)
		return keys_history(d, lo, hi);
	code = walk_open(&kd.walk, d, lo, hi, NULL, NULL);
	if (!code) {
		walk_tell_gaps(&kd.walk);
		err = walk_settle(&kd.walk, NULL, NULL, NULL);
		if (!err && opt->is_physical)
			err = bcfmt_tree_physical(kd.walk.tree, lo, hi, see_placed, &kd);
		else if (!err)
			err = bcfmt_tree_range(kd.walk.tree, lo, hi, &visitor);
		if (err)
			code = dump_failed(d, err);
	}
	if (!code && kd.lost_sectors)
		cli_error(dump_cache_name(d),
			  "%llu dirty sectors are lost: their buckets were "
			  "reused (-v shows them)",
			  (unsigned long long)kd.lost_sectors);
	if (!code && (kd.walk.is_damaged || kd.lost_sectors))
		code = DUMP_DAMAGED;
	walk_close(&kd.walk);
	return code;
}
