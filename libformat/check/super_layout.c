/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A superblock that breaks no rule and is wrong all the same: with its sizes and its set uuid the
 * structures on the device are not found, with others they are. Only looked for where something is
 * not in its place.
 */
#include <stdio.h>

#include "base/bytes.h"
#include "check/check_impl.h"
#include "set/layout_find.h"

/* The journal or the prio chain is not as a sound superblock finds them. */
static bool is_doubtful(const struct bcfmt_set *set)
{
	const struct bcfmt_journal *journal = &set->journal;
	uint64_t present = 0, last = 0;

	if (!set->has_newest || !set->has_all_prios)
		return true;
	for (size_t i = 0; i < journal->n_entries; i++) {
		const struct bcfmt_journal_entry *entry = &journal->entries[i];

		if (entry->seq < set->newest.last_seq || entry->seq > set->newest.seq ||
		    (present && entry->seq == last))
			continue;
		if (!entry->is_in_sequence)
			return true;
		present++;
		last = entry->seq;
	}
	return set->newest.last_seq > set->newest.seq ||
	       present != set->newest.seq - set->newest.last_seq + 1;
}

static bcfmt_err report_all(struct check *ck, const struct layout_search *found)
{
	const struct bcfmt_super *super = &ck->set->cache.super;
	const struct layout *layout = &found->layout;
	struct layout_difference differ[LAYOUT_DIFFERENCES];
	struct bcfmt_where where = check_where(ck, "super");
	struct bcfmt_super seen_super = *super;
	char stored[24], seen[24];
	size_t n;
	bcfmt_err err = BCFMT_OK;

	where.sector = BCFMT_SUPER_OFFSET_BYTES / BCFMT_SECTOR_BYTES;
	if (load_le64(super->set_uuid) != found->sight->set_magic) {
		snprintf(stored, sizeof(stored), "%016llx",
			 (unsigned long long)__builtin_bswap64(load_le64(super->set_uuid)));
		snprintf(seen, sizeof(seen), "%016llx",
			 (unsigned long long)__builtin_bswap64(found->sight->set_magic));
		err = CHECK_REPORT(ck, SUPER_OTHER_SET, &where, BCFMT_TEXT("stored", stored),
				   BCFMT_TEXT("found", seen));
	}
	seen_super.bucket_sectors = 1u << layout->bucket_log2;
	seen_super.block_sectors = (uint16_t)(1u << layout->block_log2);
	seen_super.nbuckets_or_data_offset = layout->nbuckets;
	seen_super.first_bucket = (uint16_t)layout->first_bucket;
	seen_super.keys = (uint16_t)layout->journal_buckets;
	n = layout_differences(super, &seen_super, differ);
	for (size_t i = 0; !err && i < n; i++)
		err = CHECK_REPORT(ck, SUPER_CONTRADICTED, &where,
				   BCFMT_TEXT("field", differ[i].field),
				   BCFMT_U64("stored", differ[i].stored),
				   BCFMT_U64("found", differ[i].found));
	return err;
}

bcfmt_err check_super_layout(struct check *ck)
{
	const struct bcfmt_set *set = ck->set;
	struct layout_search found = { .ctx = ck->ctx,
				       .dev = set->cache.dev,
				       .hints = { .stored = &set->cache.super },
				       .is_accepted = true };
	bcfmt_err err;

	if (set->cache.faults || !is_doubtful(set))
		return BCFMT_OK;
	for (size_t i = 0; i < set->n_backing; i++)
		if (set->backing[i].has_magic && !(set->backing[i].faults & BCFMT_SUPER_BAD_CSUM))
			layout_search_name(&found, load_le64(set->backing[i].super.set_uuid));
	found.n_partner_named = found.n_named;
	layout_search_name(&found, load_le64(set->cache.super.set_uuid));
	err = layout_search_run(&found);
	if (!err && !found.may_stay)
		err = report_all(ck, &found);
	layout_search_clear(&found);
	return err == BCFMT_END ? BCFMT_OK : err;
}
