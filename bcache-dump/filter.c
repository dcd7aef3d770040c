/* SPDX-License-Identifier: GPL-2.0-or-later */
/* How a key becomes a row. */
#include "filter.h"

const char *source_text(unsigned int source)
{
	switch ((enum bcfmt_extent_source)source) {
	case BCFMT_FROM_TREE:
		return "tree";
	case BCFMT_FROM_REPLAY:
		return "replay";
	case BCFMT_FROM_HISTORY:
		return "history";
	case BCFMT_FROM_SCAN:
		return "scan";
	}
	return "unknown";
}

void ptr_fields(struct dump *d, uint64_t ptr)
{
	if (bcfmt_ptr_dev(ptr) == BCFMT_PTR_DEV_CHECK) {
		bcfmt_row_bool(d->out, "placeholder", true);
		return;
	}
	bcfmt_row_u64(d->out, "dev", bcfmt_ptr_dev(ptr));
	bcfmt_row_u64(d->out, "cache_sector", bcfmt_ptr_sector(ptr));
	bcfmt_row_u64(d->out, "bucket", bcfmt_ptr_bucket(&d->set->geo, ptr));
	bcfmt_row_u64(d->out, "gen", bcfmt_ptr_gen(ptr));
}

void key_fields(struct dump *d, const struct bcfmt_key *key)
{
	bcfmt_row_u64(d->out, "inode", bcfmt_key_inode(key));
	/* Tombstones of nodes lie at sector 0 and would begin before it. */
	if (bcfmt_key_sectors(key) <= key->low)
		bcfmt_row_u64(d->out, "start_sector", bcfmt_key_start_sector(key));
	bcfmt_row_u64(d->out, "end_sector", key->low);
	bcfmt_row_u64(d->out, "sectors", bcfmt_key_sectors(key));
	bcfmt_row_bool(d->out, "dirty", bcfmt_key_is_dirty(key));
	if (bcfmt_key_ptr_count(key))
		ptr_fields(d, key->ptr);
}

void extent_row(struct dump *d, const char *kind, const struct bcfmt_extent *extent)
{
	struct bcfmt_key key = extent_key(extent);

	bcfmt_row_begin(d->out, kind);
	key_fields(d, &key);
	if (extent->stale)
		bcfmt_row_u64(d->out, "stale", extent->stale);
	bcfmt_row_text(d->out, "source", source_text(extent->source));
	bcfmt_row_end(d->out);
}
