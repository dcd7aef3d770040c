/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Prio chain and uuid table.
 * Checks: P1 every link of the chain; U1 the table's place and size, plausible entries, no uuid
 * twice; B7 the table's pointer is not stale (after the tree pass: see pass_buckets).
 * Needs: prio_links and uuids of the set. kernel: prio_read(), uuid_read(), uuid_find().
 */
#include <stdlib.h>
#include <string.h>

#include "check/check_impl.h"
#include "set/set_impl.h"

static bcfmt_err check_link(struct check *ck, size_t index)
{
	const struct bcfmt_geometry *geo = &ck->set->geo;
	const struct bcfmt_prio_link *link = &ck->set->prio_links[index];
	struct bcfmt_where where = check_where_bucket(ck, "prio", link->bucket);

	switch (link->state) {
	case BCFMT_PRIO_SET_OK:
		break;
	case BCFMT_PRIO_SET_CSUM:
		return CHECK_REPORT(ck, PRIO_BAD_CSUM, &where, BCFMT_U64("index", index),
				    BCFMT_HEX("stored", link->csum),
				    BCFMT_HEX("computed", link->csum_computed));
	case BCFMT_PRIO_SET_MAGIC:
		return CHECK_REPORT(ck, PRIO_BAD_MAGIC, &where, BCFMT_U64("index", index),
				    BCFMT_HEX("magic", link->magic),
				    BCFMT_HEX("want", geo->set_magic ^ 0x6750e15f87337f91ull));
	case BCFMT_PRIO_SET_RANGE:
		return CHECK_REPORT(ck, PRIO_BAD_BUCKET, &where, BCFMT_U64("index", index),
				    BCFMT_U64("got", link->bucket),
				    BCFMT_U64("first", geo->first_bucket),
				    BCFMT_U64("last", geo->nbuckets - 1));
	case BCFMT_PRIO_SET_JOURNAL:
		return CHECK_REPORT(ck, PRIO_IN_JOURNAL, &where, BCFMT_U64("index", index),
				    BCFMT_U64("got", link->bucket));
	case BCFMT_PRIO_SET_LOOP:
		return CHECK_REPORT(ck, PRIO_LOOP, &where, BCFMT_U64("index", index),
				    BCFMT_U64("got", link->bucket));
	case BCFMT_PRIO_SET_UNREADABLE:
		return CHECK_REPORT(ck, PRIO_UNREADABLE, &where, BCFMT_U64("index", index));
	}
	return BCFMT_OK;
}

static bcfmt_err check_prios(struct check *ck)
{
	const struct bcfmt_set *set = ck->set;
	bcfmt_err err = BCFMT_OK;

	for (size_t i = 0; !err && i < set->n_prio_links; i++)
		err = check_link(ck, i);
	if (!err && set->has_older_prios) {
		const struct bcfmt_journal_entry *entry = &set->journal.entries[set->prios_index];
		struct bcfmt_where where = check_where_bucket(ck, "prio", entry->prio_bucket);

		err = CHECK_REPORT(ck, PRIO_OLDER, &where, BCFMT_U64("seq", entry->seq));
	}
	if (!err && set->has_all_prios && set->prio_page_bytes != set->geo.page_bytes) {
		struct bcfmt_where where =
			check_where_bucket(ck, "prio", set->prio_links[0].bucket);

		err = CHECK_REPORT(ck, PRIO_OTHER_PAGES, &where,
				   BCFMT_U64("page", set->prio_page_bytes));
	}
	return err;
}

static int uuid_cmp(const void *a, const void *b, void *arg)
{
	const struct bcfmt_uuid_entry *entries = arg;
	uint32_t i = *(const uint32_t *)a, j = *(const uint32_t *)b;
	int order = memcmp(entries[i].uuid, entries[j].uuid, BCFMT_UUID_BYTES);

	return order ? order : i < j ? -1 : i > j;
}

static bcfmt_err check_duplicates(struct check *ck, struct bcfmt_where *where)
{
	const struct bcfmt_set *set = ck->set;
	uint32_t *live = calloc(set->n_uuids, sizeof(*live)), n = 0;
	bcfmt_err err = BCFMT_OK;

	if (!live)
		return BCFMT_E_NOMEM;
	for (uint32_t i = 0; i < set->n_uuids; i++)
		if (bcfmt_uuid_state(&set->uuids[i]) == BCFMT_UUID_LIVE)
			live[n++] = i;
	qsort_r(live, n, sizeof(*live), uuid_cmp, set->uuids);
	for (uint32_t i = 1; !err && i < n; i++) {
		char text[BCFMT_UUID_TEXT_BYTES];

		if (memcmp(set->uuids[live[i - 1]].uuid, set->uuids[live[i]].uuid,
			   BCFMT_UUID_BYTES))
			continue;
		bcfmt_uuid_text(set->uuids[live[i]].uuid, text);
		err = CHECK_REPORT(ck, UUID_DUPLICATE, where, BCFMT_U64("first", live[i - 1]),
				   BCFMT_U64("second", live[i]), BCFMT_TEXT("uuid", text));
	}
	free(live);
	return err;
}

static bcfmt_err check_entries(struct check *ck, struct bcfmt_where *where)
{
	const struct bcfmt_set *set = ck->set;
	bcfmt_err err = BCFMT_OK;

	for (uint32_t i = 0; !err && i < set->n_uuids; i++) {
		const struct bcfmt_uuid_entry *entry = &set->uuids[i];
		const char *why;

		if (bcfmt_uuid_state(entry) != BCFMT_UUID_LIVE)
			continue;
		why = uuid_implausible(entry);
		if (why)
			err = CHECK_REPORT(ck, UUID_IMPLAUSIBLE, where, BCFMT_U64("slot", i),
					   BCFMT_TEXT("why", why));
		else if (entry->flags & BCFMT_UUID_FLASH_ONLY && !entry->sectors)
			err = CHECK_REPORT(ck, UUID_VOLUME_EMPTY, where, BCFMT_U64("slot", i));
		else if (entry->sectors > BCFMT_VOLUME_MAX_SECTORS)
			err = CHECK_REPORT(ck, UUID_VOLUME_LARGE, where, BCFMT_U64("slot", i),
					   BCFMT_U64("sectors", entry->sectors));
	}
	return err ? err : check_duplicates(ck, where);
}

static bcfmt_err report_older(struct check *ck)
{
	const struct bcfmt_set *set = ck->set;
	const struct bcfmt_journal_entry *entry = &set->journal.entries[set->uuids_index];
	struct bcfmt_where where =
		check_where_bucket(ck, "uuid", bcfmt_ptr_bucket(&set->geo, entry->uuid_ptr));

	return CHECK_REPORT(ck, UUIDS_OLDER, &where, BCFMT_U64("slots", set->n_older_uuids),
			    BCFMT_U64("seq", entry->seq));
}

static bcfmt_err check_uuids(struct check *ck)
{
	const struct bcfmt_set *set = ck->set;
	const struct bcfmt_key *key = &set->newest.uuid_bucket;
	struct bcfmt_where where;

	if (set->n_older_uuids) {
		bcfmt_err err = report_older(ck);

		if (err)
			return err;
	}
	if (set->uuids_state == BCFMT_UUIDS_ABSENT || set->uuids_state == BCFMT_UUIDS_BAD_POINTER)
		return BCFMT_OK;
	where = check_where_bucket(ck, "uuid", bcfmt_ptr_bucket(&set->geo, key->ptr));
	if (set->uuids_state == BCFMT_UUIDS_UNREADABLE) {
		bcfmt_err err = CHECK_REPORT(ck, UUIDS_UNREADABLE, &where,
					     BCFMT_U64("sectors", set->uuids_bad_read.sectors),
					     BCFMT_U64("sector", set->uuids_bad_read.first_sector));

		if (err)
			return err;
	}
	if (bcfmt_key_sectors(key) != set->geo.meta_bytes / BCFMT_SECTOR_BYTES) {
		bcfmt_err err =
			CHECK_REPORT(ck, UUIDS_BAD_SIZE, &where,
				     BCFMT_U64("got", bcfmt_key_sectors(key)),
				     BCFMT_U64("want", set->geo.meta_bytes / BCFMT_SECTOR_BYTES));

		if (err)
			return err;
	}
	return check_entries(ck, &where);
}

bcfmt_err pass_tables(struct check *ck)
{
	bcfmt_err err;

	if (!ck->set->has_newest)
		return BCFMT_OK;
	err = check_prios(ck);
	return err ? err : check_uuids(ck);
}
