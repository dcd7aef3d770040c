/* SPDX-License-Identifier: GPL-2.0-or-later */
/* bcache-dump uuids: which device or volume each inode number means. */
#include "dump.h"

#include <stdio.h>
#include <string.h>

static const char *state_text(enum bcfmt_uuids_state state)
{
	switch (state) {
	case BCFMT_UUIDS_OK:
		return "ok";
	case BCFMT_UUIDS_ABSENT:
		return "absent";
	case BCFMT_UUIDS_BAD_POINTER:
		return "bad-pointer";
	case BCFMT_UUIDS_BAD_SIZE:
		return "bad-size";
	case BCFMT_UUIDS_UNREADABLE:
		return "unreadable";
	}
	return "unknown";
}

static void table_row(struct dump *d)
{
	const struct bcfmt_set *set = d->set;
	uint32_t counts[3] = { 0, 0, 0 };

	for (uint32_t i = 0; i < set->n_uuids; i++)
		counts[bcfmt_uuid_state(&set->uuids[i])]++;
	bcfmt_row_begin(d->out, "uuids");
	bcfmt_row_text(d->out, "state", state_text(set->uuids_state));
	if (set->has_newest) {
		bcfmt_row_u64(d->out, "bucket",
			      bcfmt_ptr_bucket(&set->geo, set->newest.uuid_bucket.ptr));
		bcfmt_row_u64(d->out, "sectors", bcfmt_key_sectors(&set->newest.uuid_bucket));
		bcfmt_row_u64(d->out, "seq", set->newest.seq);
	}
	bcfmt_row_u64(d->out, "entries", set->n_uuids);
	bcfmt_row_u64(d->out, "live", counts[BCFMT_UUID_LIVE]);
	bcfmt_row_u64(d->out, "detached", counts[BCFMT_UUID_DETACHED]);
	bcfmt_row_end(d->out);
}

/* As --device takes it: JSON alone has the newline that echo puts behind a label. */
static void row_label(struct dump *d, const char *label)
{
	char text[BCFMT_LABEL_BYTES + 1];

	snprintf(text, sizeof(text), "%s", label);
	if (!bcfmt_out_is_json(d->out))
		text[strcspn(text, "\n")] = 0;
	bcfmt_row_text(d->out, "label", text);
}

static void entry_row(struct dump *d, uint32_t inode, const struct bcfmt_uuid_entry *entry)
{
	enum bcfmt_uuid_state state = bcfmt_uuid_state(entry);
	const struct bcfmt_member *member = bcfmt_set_backing(d->set, entry->uuid);
	bool is_volume = entry->flags & BCFMT_UUID_FLASH_ONLY;

	bcfmt_row_begin(d->out, "uuid");
	bcfmt_row_u64(d->out, "inode", inode);
	bcfmt_row_text(d->out, "state", state == BCFMT_UUID_LIVE ? "live" : "detached");
	bcfmt_row_uuid(d->out, "uuid", entry->uuid);
	row_label(d, entry->label);
	bcfmt_row_u64(d->out, "first_reg", entry->first_reg);
	bcfmt_row_u64(d->out, "last_reg", entry->last_reg);
	bcfmt_row_u64(d->out, "invalidated", entry->invalidated);
	bcfmt_row_u64(d->out, "flags", entry->flags);
	bcfmt_row_bool(d->out, "flash_only", is_volume);
	if (is_volume)
		bcfmt_row_u64(d->out, "sectors", entry->sectors);
	if (member)
		bcfmt_row_text(d->out, "device", bcfmt_dev_name(member->dev));
	bcfmt_row_end(d->out);
}

int cmd_uuids(struct dump *d)
{
	const struct bcfmt_set *set = d->set;
	const char *name = dump_cache_name(d);

	table_row(d);
	for (uint32_t i = 0; i < set->n_uuids; i++)
		if (bcfmt_uuid_state(&set->uuids[i]) != BCFMT_UUID_FREE)
			entry_row(d, i, &set->uuids[i]);
	if (set->uuids_state == BCFMT_UUIDS_OK)
		return DUMP_DONE;
	if (set->uuids_state == BCFMT_UUIDS_ABSENT)
		cli_error(name, "no journal entry names a table of uuids");
	else if (set->uuids_state == BCFMT_UUIDS_UNREADABLE)
		cli_error(name, "%llu sectors of the uuids cannot be read, the first is %llu",
			  (unsigned long long)set->uuids_bad_read.sectors,
			  (unsigned long long)set->uuids_bad_read.first_sector);
	else
		cli_error(name, "the pointer to the uuids is wrong: %s",
			  state_text(set->uuids_state));
	return DUMP_DAMAGED;
}
