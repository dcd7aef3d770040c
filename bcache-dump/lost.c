/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Ranges of an exported volume that are lost or doubtful, told as they are met. */
#include "lost.h"

static const struct {
	const char *word;
	const char *slug;
	const char *text;
} whys[LOST_COUNT] = {
	[LOST_NOTHING] = { "", "", "" },
	[LOST_STALE] = { "lost", "stale-dirty",
			 "the bucket of the dirty data was reused; older data is in its place" },
	[LOST_CACHE] = { "lost", "cache-unreadable",
			 "the cache cannot read the dirty data; zeros are in its place" },
	[LOST_BACKING] = { "lost", "backing-unreadable",
			   "the backing device cannot read it; zeros are in its place" },
	[LOST_PLACE] = { "lost", "impossible-place",
			 "dirty data at a place that cannot be; other data is in its place" },
	[LOST_LEAF] = { "doubtful", "node-unreadable", "btree damage; dirty data may be missing" },
	[LOST_ORDER] = { "doubtful", "node-out-of-order",
			 "the btree node is out of order; older data may be in its place" },
};

void lost_flush(struct lost *lost)
{
	uint64_t sectors = lost->end_sector - lost->start_sector;

	if (lost->is_silent)
		lost->why = LOST_NOTHING;
	if (lost->why == LOST_NOTHING)
		return;
	cli_error(NULL, "%s: sectors %llu-%llu (%llu sectors): %s", whys[lost->why].word,
		  (unsigned long long)lost->start_sector, (unsigned long long)lost->end_sector - 1,
		  (unsigned long long)sectors, whys[lost->why].text);
	if (bcfmt_out_is_json(lost->d->out)) {
		bcfmt_row_begin(lost->d->out, whys[lost->why].word);
		bcfmt_row_text(lost->d->out, "why", whys[lost->why].slug);
		bcfmt_row_u64(lost->d->out, "start_sector", lost->start_sector);
		bcfmt_row_u64(lost->d->out, "sectors", sectors);
		bcfmt_row_end(lost->d->out);
	}
	lost->why = LOST_NOTHING;
}

void lost_add(struct lost *lost, enum lost_why why, uint64_t start_sector, uint64_t sectors)
{
	if (!sectors || why == LOST_NOTHING)
		return;
	lost->sectors[why] += sectors;
	if (lost->why == why && lost->end_sector == start_sector) {
		lost->end_sector += sectors;
		return;
	}
	lost_flush(lost);
	lost->why = why;
	lost->start_sector = start_sector;
	lost->end_sector = start_sector + sectors;
}

bool lost_is_any(const struct lost *lost)
{
	for (int i = 0; i < LOST_COUNT; i++)
		if (lost->sectors[i])
			return true;
	return false;
}
