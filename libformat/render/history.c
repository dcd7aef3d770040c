/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What is known of the past of a range, a key a line. */
#include <inttypes.h>
#include <stdio.h>

#include "render/out.h"

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
const char *bcfmt_place_text(const struct bcfmt_set *set, const struct bcfmt_key *key,
			     unsigned int stale, char out[BCFMT_PLACE_TEXT_BYTES])
{
	const struct bcfmt_geometry *geo = &set->geo;
	uint64_t bucket = bcfmt_ptr_bucket(geo, key->ptr);

	if (bcfmt_key_is_placeholder(key))
		snprintf(out, BCFMT_PLACE_TEXT_BYTES, "a read that was under way");
	else if (!bcfmt_key_has_data(key))
		snprintf(out, BCFMT_PLACE_TEXT_BYTES, "not cached");
	else if (bcfmt_ptr_dev(key->ptr) != geo->nr_this_dev || bucket < geo->first_bucket ||
		 bucket >= geo->nbuckets)
		snprintf(out, BCFMT_PLACE_TEXT_BYTES, "no such place");
	else if (stale)
		snprintf(out, BCFMT_PLACE_TEXT_BYTES, "stale: bucket %" PRIu64 " has gen %u now",
			 bucket, set->buckets[bucket].gen);
	else
		snprintf(out, BCFMT_PLACE_TEXT_BYTES, "valid: bucket %" PRIu64 " has this gen",
			 bucket);
	return out;
}

static void node_line(struct bcfmt_out *out, const struct bcfmt_set *set,
		      const struct bcfmt_past *past)
{
	char key[BCFMT_KEY_TEXT_BYTES], place[BCFMT_PLACE_TEXT_BYTES],
		order[96] = "when is not proved";
	uint64_t bucket = bcfmt_ptr_bucket(&set->geo, past->node_ptr);
	const char *what = past->source == BCFMT_PAST_OLD_NODE ? "old node"
			   : past->is_found_leaf	       ? "found leaf"
							       : "leaf";

	if (past->order == BCFMT_PAST_SAME_WRITE)
		snprintf(order, sizeof(order), "the write of entry %" PRIu64, past->seq);
	else if (past->after_seq)
		snprintf(order, sizeof(order), "put there no earlier than entry %" PRIu64,
			 past->after_seq);
	bcfmt_key_text(key, &past->key);
	bcfmt_place_text(set, &past->key, past->stale, place);
	bcfmt_out_line(out, "%s in bucket %" PRIu64 " gen %u block %u%s: %s; %s; %s", what, bucket,
		       bcfmt_ptr_gen(past->node_ptr), past->block,
		       past->is_stray ? " behind its end" : "", key, order, place);
}

static void entry_line(struct bcfmt_out *out, const struct bcfmt_set *set,
		       const struct bcfmt_past *past)
{
	char key[BCFMT_KEY_TEXT_BYTES], place[BCFMT_PLACE_TEXT_BYTES];

	bcfmt_key_text(key, &past->key);
	bcfmt_place_text(set, &past->key, past->stale, place);
	bcfmt_out_line(out, "entry %" PRIu64 " (%s): %s; %s", past->seq, entry_text(past->entry),
		       key, place);
}

static void past_row(struct bcfmt_out *out, const struct bcfmt_set *set,
		     const struct bcfmt_past *past)
{
	static const char *const sources[] = { "journal", "old-node", "leaf" };
	static const char *const orders[] = { "sequence", "same-write", "not-proved" };
	bool is_entry = past->source == BCFMT_PAST_JOURNAL;

	bcfmt_row_begin(out, "past");
	bcfmt_row_text(out, "source", sources[past->source]);
	if (is_entry)
		bcfmt_row_text(out, "state", entry_slug(past->entry));
	if (past->seq)
		bcfmt_row_u64(out, "seq", past->seq);
	if (past->after_seq && !is_entry)
		bcfmt_row_u64(out, "not_before_seq", past->after_seq);
	bcfmt_row_text(out, "order", orders[past->order]);
	if (!is_entry) {
		bcfmt_row_u64(out, "node_bucket", bcfmt_ptr_bucket(&set->geo, past->node_ptr));
		bcfmt_row_u64(out, "node_gen", bcfmt_ptr_gen(past->node_ptr));
		bcfmt_row_u64(out, "block", past->block);
	}
	bcfmt_row_u64(out, "word", past->word);
	if (past->is_stray)
		bcfmt_row_bool(out, "behind_end", true);
	if (past->is_found_leaf)
		bcfmt_row_bool(out, "found", true);
	bcfmt_row_key(out, &set->geo, &past->key);
	if (bcfmt_key_has_data(&past->key))
		bcfmt_row_bool(out, "valid", !past->stale);
	if (past->stale)
		bcfmt_row_u64(out, "stale", past->stale);
	bcfmt_row_end(out);
}

void bcfmt_render_past(struct bcfmt_out *out, const struct bcfmt_set *set,
		       const struct bcfmt_past *past)
{
	if (bcfmt_out_is_json(out))
		past_row(out, set, past);
	else if (past->source == BCFMT_PAST_JOURNAL)
		entry_line(out, set, past);
	else
		node_line(out, set, past);
}
