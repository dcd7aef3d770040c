/* SPDX-License-Identifier: GPL-2.0-or-later */
/* bcache-dump prios: the prio chain, then priority and generation of each bucket as stored. */
#include "filter.h"

static const char *state_text(enum bcfmt_prio_state state)
{
	switch (state) {
	case BCFMT_PRIO_SET_OK:
		return "ok";
	case BCFMT_PRIO_SET_CSUM:
		return "bad-csum";
	case BCFMT_PRIO_SET_MAGIC:
		return "bad-magic";
	case BCFMT_PRIO_SET_RANGE:
		return "outside";
	case BCFMT_PRIO_SET_JOURNAL:
		return "in-journal";
	case BCFMT_PRIO_SET_LOOP:
		return "loop";
	case BCFMT_PRIO_SET_UNREADABLE:
		return "unreadable";
	}
	return "unknown";
}

static void link_row(struct dump *d, size_t index)
{
	const struct bcfmt_prio_link *link = &d->set->prio_links[index];
	bool is_read = link->state == BCFMT_PRIO_SET_OK || link->state == BCFMT_PRIO_SET_CSUM ||
		       link->state == BCFMT_PRIO_SET_MAGIC;

	bcfmt_row_begin(d->out, "prio_set");
	bcfmt_row_u64(d->out, "index", index);
	bcfmt_row_u64(d->out, "bucket", link->bucket);
	bcfmt_row_text(d->out, "state", state_text(link->state));
	if (is_read) {
		bcfmt_row_u64(d->out, "seq", link->seq);
		bcfmt_row_hex(d->out, "csum", link->csum);
	}
	if (link->state == BCFMT_PRIO_SET_CSUM)
		bcfmt_row_hex(d->out, "csum_computed", link->csum_computed);
	if (link->state == BCFMT_PRIO_SET_MAGIC)
		bcfmt_row_hex(d->out, "magic", link->magic);
	bcfmt_row_end(d->out);
}

/* Buckets whose entries were read: those of the links that are right, from the first on. */
static uint64_t known_buckets(const struct bcfmt_set *set)
{
	struct bcfmt_geometry geo = set->geo;
	uint64_t known = 0;

	if (set->has_all_prios)
		return geo.nbuckets;
	for (size_t i = 0; i < set->n_prio_links; i++)
		if (set->prio_links[i].state == BCFMT_PRIO_SET_OK)
			known += geo.prios_per_bucket;
	return known < geo.nbuckets ? known : geo.nbuckets;
}

int cmd_prios(struct dump *d)
{
	const struct bcfmt_set *set = d->set;
	uint64_t known = known_buckets(set);

	for (size_t i = 0; i < set->n_prio_links; i++)
		link_row(d, i);
	for (uint64_t bucket = 0; bucket < known; bucket++) {
		if (!filter_has_bucket(&d->opt, bucket))
			continue;
		bcfmt_row_begin(d->out, "prio");
		bcfmt_row_u64(d->out, "bucket", bucket);
		bcfmt_row_u64(d->out, "prio", set->buckets[bucket].prio);
		bcfmt_row_u64(d->out, "gen", set->buckets[bucket].disk_gen);
		bcfmt_row_end(d->out);
	}
	if (set->has_all_prios)
		return DUMP_DONE;
	if (!set->n_prio_links)
		cli_error(dump_cache_name(d), "no journal entry names a prio set");
	else
		cli_error(dump_cache_name(d),
			  "prio set %zu in bucket %llu: %s; %llu of %llu "
			  "buckets are known",
			  set->n_prio_links - 1,
			  (unsigned long long)set->prio_links[set->n_prio_links - 1].bucket,
			  state_text(set->prio_links[set->n_prio_links - 1].state),
			  (unsigned long long)known, (unsigned long long)set->geo.nbuckets);
	return DUMP_DAMAGED;
}
