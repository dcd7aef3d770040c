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
	bcfmt_row_ptr(d->out, &d->set->geo, ptr);
}

void key_fields(struct dump *d, const struct bcfmt_key *key)
{
	bcfmt_row_key(d->out, &d->set->geo, key);
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

void tell_lost_leaf(const struct dump *d, const struct bcfmt_node_view *view)
{
	cli_error(dump_cache_name(d), "node in bucket %llu cannot be read again; keys are missing",
		  (unsigned long long)bcfmt_ptr_bucket(&d->set->geo, view->ref->ptr));
}
