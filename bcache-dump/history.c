/* SPDX-License-Identifier: GPL-2.0-or-later */
/* bcache-dump keys --history: what happened to a range, and what is there now. */
#include "filter.h"
#include "walk.h"

#include <bcfmt/history.h>

#include <inttypes.h>

struct history_dump {
	struct dump *d;
	struct walk walk;
	uint64_t next_sector; /* of the range, that the final state was not told of yet */
	uint64_t end_sector;
	bool has_lost;
};

static bcfmt_err see_past(void *arg, const struct bcfmt_past *past)
{
	struct history_dump *hd = arg;

	bcfmt_render_past(hd->d->out, hd->d->set, past);
	return BCFMT_OK;
}

/* A part of the range for which the cache has nothing. */
static void tell_uncached(struct history_dump *hd, uint64_t end_sector)
{
	struct dump *d = hd->d;

	if (end_sector > hd->end_sector)
		end_sector = hd->end_sector;
	if (end_sector <= hd->next_sector)
		return;
	if (bcfmt_out_is_json(d->out)) {
		bcfmt_row_begin(d->out, "uncached");
		bcfmt_row_u64(d->out, "inode", d->opt.inode);
		bcfmt_row_u64(d->out, "start_sector", hd->next_sector);
		bcfmt_row_u64(d->out, "end_sector", end_sector);
		bcfmt_row_end(d->out);
	} else {
		bcfmt_out_line(d->out, "now: %" PRIu32 ":%" PRIu64 " len %" PRIu64 " not cached",
			       d->opt.inode, hd->next_sector, end_sector - hd->next_sector);
	}
}

static void tell_extent(struct history_dump *hd, const struct bcfmt_extent *extent)
{
	struct dump *d = hd->d;
	struct bcfmt_key key = extent_key(extent);
	char text[BCFMT_KEY_TEXT_BYTES], place[BCFMT_PLACE_TEXT_BYTES];

	tell_uncached(hd, extent->start_sector);
	hd->next_sector = extent->end_sector;
	hd->has_lost |= extent_is_lost(extent);
	if (bcfmt_out_is_json(d->out)) {
		extent_row(d, "now", extent);
		return;
	}
	bcfmt_key_text(text, &key);
	bcfmt_place_text(d->set, &key, extent->stale, place);
	bcfmt_out_line(d->out, "now: %s; from the %s; %s", text,
		       extent->source == BCFMT_FROM_REPLAY    ? "journal"
		       : extent->source == BCFMT_FROM_HISTORY ? "past journal"
		       : extent->source == BCFMT_FROM_SCAN    ? "found leaf"
							      : "tree",
		       place);
}

static void tell_doubt(struct history_dump *hd, const struct bcfmt_span *span)
{
	const struct dump_options *opt = &hd->d->opt;
	uint64_t start = span->lo.inode < opt->inode ? 0 : span->lo.sector;
	uint64_t end = span->hi.inode > opt->inode ? BCFMT_KEY_MAX_OFFSET : span->hi.sector;

	if (span->lo.inode > opt->inode || span->hi.inode < opt->inode)
		return;
	if (start < opt->range_first)
		start = opt->range_first;
	if (end > hd->end_sector)
		end = hd->end_sector;
	if (start >= end)
		return;
	hd->walk.is_damaged = true;
	if (bcfmt_out_is_json(hd->d->out)) {
		bcfmt_row_begin(hd->d->out, "doubtful");
		bcfmt_row_u64(hd->d->out, "inode", opt->inode);
		bcfmt_row_u64(hd->d->out, "start_sector", start);
		bcfmt_row_u64(hd->d->out, "end_sector", end);
		bcfmt_row_end(hd->d->out);
	} else {
		bcfmt_out_line(hd->d->out,
			       "doubtful: %" PRIu32 ":%" PRIu64 " len %" PRIu64
			       ": neither leaf nor journal proves what is there now",
			       opt->inode, start, end - start);
	}
}

static bcfmt_err see_leaf(void *arg, const struct bcfmt_node_view *view,
			  const struct bcfmt_extent *extents, size_t n_extents)
{
	struct history_dump *hd = arg;

	if (view->is_lost_since) {
		tell_lost_leaf(hd->d, view);
		hd->walk.is_damaged = true;
	}
	for (size_t i = 0; i < n_extents; i++)
		if (filter_has_sectors(&hd->d->opt, extents[i].inode, extents[i].start_sector,
				       extents[i].end_sector))
			tell_extent(hd, &extents[i]);
	for (size_t i = 0; i < view->n_doubts; i++)
		tell_doubt(hd, &view->doubts[i]);
	return BCFMT_OK;
}

static void tell_gaps(struct history_dump *hd, const struct bcfmt_history_gaps *gaps)
{
	const char *name = dump_cache_name(hd->d);

	if (gaps->entries)
		cli_error(name, "%" PRIu64 " journal entries cannot be read again", gaps->entries);
	if (gaps->nodes)
		cli_error(name, "%" PRIu64 " nodes of the range cannot be read in full",
			  gaps->nodes);
	if (gaps->is_search_partial)
		cli_error(name, "not all of the cache can be read: old nodes may be missing");
	hd->walk.is_damaged |= gaps->entries || gaps->nodes || gaps->is_search_partial;
}

static bcfmt_err tell_all(struct history_dump *hd, struct bcfmt_pos lo, struct bcfmt_pos hi)
{
	struct bcfmt_tree_visitor visitor = { .arg = hd, .leaf = see_leaf };
	struct bcfmt_history_gaps gaps;
	bcfmt_err err;

	walk_tell_gaps(&hd->walk);
	err = walk_settle(&hd->walk, NULL, NULL, NULL);
	if (!err)
		err = bcfmt_history_each(hd->walk.tree, lo.inode, lo.sector, hi.sector, see_past,
					 hd, &gaps);
	if (!err)
		err = bcfmt_tree_range(hd->walk.tree, lo, hi, &visitor);
	if (err)
		return err;
	tell_uncached(hd, hd->end_sector);
	tell_gaps(hd, &gaps);
	return BCFMT_OK;
}

int keys_history(struct dump *d, struct bcfmt_pos lo, struct bcfmt_pos hi)
{
	struct history_dump hd = {
		.d = d,
		.next_sector = lo.sector,
		.end_sector = hi.sector,
	};
	int code = walk_open(&hd.walk, d, lo, hi, NULL, NULL);
	bcfmt_err err;

	if (!code) {
		err = tell_all(&hd, lo, hi);
		if (err)
			code = dump_failed(d, err);
		else if (hd.walk.is_damaged || hd.has_lost)
			code = DUMP_DAMAGED;
	}
	walk_close(&hd.walk);
	return code;
}
