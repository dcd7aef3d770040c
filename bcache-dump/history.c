/* SPDX-License-Identifier: GPL-2.0-or-later */
/* bcache-dump keys --history: what happened to a range, and what is there now. */
#include "filter.h"
#include "walk.h"

#include <bcfmt/history.h>

#include <inttypes.h>
#include <stdio.h>

struct history_dump {
	struct dump *d;
	struct walk walk;
	uint64_t next_sector; /* of the range, that the final state was not told of yet */
	uint64_t end_sector;
	bool has_lost;
};

static const char *entry_text(unsigned int entry)
{
	switch ((enum bcfmt_past_entry)entry) {
	case BCFMT_PAST_TO_REPLAY:
		return "to replay";
	case BCFMT_PAST_HISTORY:
		return "past";
	case BCFMT_PAST_CUT_OFF:
		return "past, behind a hole";
	case BCFMT_PAST_OTHER:
		break;
	}
	return "not used";
}

static const char *entry_slug(unsigned int entry)
{
	switch ((enum bcfmt_past_entry)entry) {
	case BCFMT_PAST_TO_REPLAY:
		return "replay";
	case BCFMT_PAST_HISTORY:
		return "past";
	case BCFMT_PAST_CUT_OFF:
		return "cut-off";
	case BCFMT_PAST_OTHER:
		break;
	}
	return "other";
}

/* What became of the place that the key points to. */
static void place_text(const struct dump *d, const struct bcfmt_key *key, unsigned int stale,
		       char *out, size_t out_bytes)
{
	const struct bcfmt_geometry *geo = &d->set->geo;
	uint64_t bucket = bcfmt_ptr_bucket(geo, key->ptr);

	if (bcfmt_key_is_placeholder(key))
		snprintf(out, out_bytes, "a read that was under way");
	else if (!bcfmt_key_has_data(key))
		snprintf(out, out_bytes, "not cached");
	else if (bcfmt_ptr_dev(key->ptr) != geo->nr_this_dev || bucket < geo->first_bucket ||
		 bucket >= geo->nbuckets)
		snprintf(out, out_bytes, "no such place");
	else if (stale)
		snprintf(out, out_bytes, "stale: bucket %" PRIu64 " has gen %u now", bucket,
			 d->set->buckets[bucket].gen);
	else
		snprintf(out, out_bytes, "valid: bucket %" PRIu64 " has this gen", bucket);
}

static void node_text(const struct dump *d, const struct bcfmt_past *past)
{
	char key[BCFMT_KEY_TEXT_BYTES], place[96], order[96] = "when is not proved";
	uint64_t bucket = bcfmt_ptr_bucket(&d->set->geo, past->node_ptr);
	const char *what = past->source == BCFMT_PAST_OLD_NODE ? "old node"
			   : past->is_found_leaf	       ? "found leaf"
							       : "leaf";

	if (past->order == BCFMT_PAST_SAME_WRITE)
		snprintf(order, sizeof(order), "the write of entry %" PRIu64, past->seq);
	else if (past->after_seq)
		snprintf(order, sizeof(order), "put there no earlier than entry %" PRIu64,
			 past->after_seq);
	bcfmt_key_text(key, &past->key);
	place_text(d, &past->key, past->stale, place, sizeof(place));
	bcfmt_out_line(d->out, "%s in bucket %" PRIu64 " gen %u block %u%s: %s; %s; %s", what,
		       bucket, bcfmt_ptr_gen(past->node_ptr), past->block,
		       past->is_stray ? " behind its end" : "", key, order, place);
}

static void entry_line(const struct dump *d, const struct bcfmt_past *past)
{
	char key[BCFMT_KEY_TEXT_BYTES], place[96];

	bcfmt_key_text(key, &past->key);
	place_text(d, &past->key, past->stale, place, sizeof(place));
	bcfmt_out_line(d->out, "entry %" PRIu64 " (%s): %s; %s", past->seq, entry_text(past->entry),
		       key, place);
}

static void past_row(struct dump *d, const struct bcfmt_past *past)
{
	static const char *const sources[] = { "journal", "old-node", "leaf" };
	static const char *const orders[] = { "sequence", "same-write", "not-proved" };
	bool is_entry = past->source == BCFMT_PAST_JOURNAL;

	bcfmt_row_begin(d->out, "past");
	bcfmt_row_text(d->out, "source", sources[past->source]);
	if (is_entry)
		bcfmt_row_text(d->out, "state", entry_slug(past->entry));
	if (past->seq)
		bcfmt_row_u64(d->out, "seq", past->seq);
	if (past->after_seq && !is_entry)
		bcfmt_row_u64(d->out, "not_before_seq", past->after_seq);
	bcfmt_row_text(d->out, "order", orders[past->order]);
	if (!is_entry) {
		bcfmt_row_u64(d->out, "node_bucket",
			      bcfmt_ptr_bucket(&d->set->geo, past->node_ptr));
		bcfmt_row_u64(d->out, "node_gen", bcfmt_ptr_gen(past->node_ptr));
		bcfmt_row_u64(d->out, "block", past->block);
	}
	bcfmt_row_u64(d->out, "word", past->word);
	if (past->is_stray)
		bcfmt_row_bool(d->out, "behind_end", true);
	if (past->is_found_leaf)
		bcfmt_row_bool(d->out, "found", true);
	key_fields(d, &past->key);
	if (bcfmt_key_has_data(&past->key))
		bcfmt_row_bool(d->out, "valid", !past->stale);
	if (past->stale)
		bcfmt_row_u64(d->out, "stale", past->stale);
	bcfmt_row_end(d->out);
}

static bcfmt_err see_past(void *arg, const struct bcfmt_past *past)
{
	struct history_dump *hd = arg;

	if (bcfmt_out_is_json(hd->d->out))
		past_row(hd->d, past);
	else if (past->source == BCFMT_PAST_JOURNAL)
		entry_line(hd->d, past);
	else
		node_text(hd->d, past);
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
	char text[BCFMT_KEY_TEXT_BYTES], place[96];

	tell_uncached(hd, extent->start_sector);
	hd->next_sector = extent->end_sector;
	hd->has_lost |= extent_is_lost(extent);
	if (bcfmt_out_is_json(d->out)) {
		extent_row(d, "now", extent);
		return;
	}
	bcfmt_key_text(text, &key);
	place_text(d, &key, extent->stale, place, sizeof(place));
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

	for (size_t i = 0; i < n_extents; i++)
		if (filter_has_sectors(&hd->d->opt, extents[i].inode, extents[i].start_sector,
				       extents[i].end_sector))
			tell_extent(hd, &extents[i]);
	for (size_t i = 0; i < view->n_doubts; i++)
		tell_doubt(hd, &view->doubts[i]);
	return BCFMT_OK;
}

static bcfmt_err tell_all(struct history_dump *hd, struct bcfmt_pos lo, struct bcfmt_pos hi)
{
	struct bcfmt_tree_visitor visitor = { .arg = hd, .leaf = see_leaf };
	uint64_t unread = 0;
	bcfmt_err err;

	walk_tell_gaps(&hd->walk);
	err = walk_settle(&hd->walk, NULL, NULL, NULL);
	if (!err)
		err = bcfmt_history_each(hd->walk.tree, lo.inode, lo.sector, hi.sector, see_past,
					 hd, &unread);
	if (!err)
		err = bcfmt_tree_range(hd->walk.tree, lo, hi, &visitor);
	if (err)
		return err;
	tell_uncached(hd, hd->end_sector);
	if (unread) {
		cli_error(dump_cache_name(hd->d),
			  "%" PRIu64 " journal entries cannot be read again", unread);
		hd->walk.is_damaged = true;
	}
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
