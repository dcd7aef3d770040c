/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What else is shown of a set that was checked: its volumes, what was there before, the report.
 * Allocations may fail meanwhile, so nothing is allocated here.
 */
#include "fuzz/check_views.h"

#undef NDEBUG
#include <assert.h>
#include <stdio.h>
#include <string.h>

#include <bcfmt/crc64.h>
#include <bcfmt/history.h>
#include <bcfmt/owner.h>
#include <bcfmt/page.h>
#include <bcfmt/volume.h>

#include "base/checked.h"

#define INODES_MAX 3u
#define READS_MAX 24u /* of one volume */
#define READ_SECTORS 64u
#define PLACES_MAX 8u
#define PAST_MAX 2000u /* keys of one inode */
#define LEAF_BYTES (1u << 16)

/* ---- volumes ---- */

struct reading {
	struct bcfmt_volume *volume;
	uint64_t *print;
	uint8_t buf[READ_SECTORS * BCFMT_SECTOR_BYTES];
	uint8_t state[READ_SECTORS];
	struct bcfmt_volume_counts counts;
};

static bool is_all_there(const uint8_t *state, size_t sectors)
{
	for (size_t i = 0; i < sectors; i++) {
		assert(state[i] < BCFMT_SECTOR_STATES);
		if (state[i] != BCFMT_SECTOR_OK)
			return false;
	}
	return true;
}

/* Where it says that the sectors lie, there they are. */
static bcfmt_err compare_places(struct reading *r, uint64_t start, size_t sectors)
{
	static uint8_t buf[READ_SECTORS * BCFMT_SECTOR_BYTES];
	struct bcfmt_place places[PLACES_MAX];
	size_t n = 0, at = 0;
	bcfmt_err err = bcfmt_volume_places(r->volume, start, sectors, places, PLACES_MAX, &n);

	if (err)
		return err == BCFMT_END ? BCFMT_OK : err;
	for (size_t i = 0; i < n; at += places[i].sectors, i++) {
		assert(places[i].sectors && places[i].sectors <= sectors - at);
		if (bcfmt_dev_read(places[i].dev, places[i].dev_sector * BCFMT_SECTOR_BYTES, buf,
				   places[i].sectors * BCFMT_SECTOR_BYTES))
			continue;
		if (is_all_there(r->state + at, places[i].sectors) && !r->counts.rescued_sectors)
			assert(!memcmp(buf, r->buf + at * BCFMT_SECTOR_BYTES,
				       places[i].sectors * BCFMT_SECTOR_BYTES));
	}
	assert(at == sectors);
	return BCFMT_OK;
}

struct doubting {
	uint64_t at, end;
};

static void take_doubt(void *arg, enum bcfmt_loss why, uint64_t start_sector, uint64_t end_sector)
{
	struct doubting *doubting = arg;

	assert((unsigned int)why < BCFMT_LOSS_KINDS);
	assert(start_sector < end_sector && start_sector < doubting->end);
	assert(start_sector >= doubting->at);
	doubting->at = start_sector;
}

static bcfmt_err read_piece(struct reading *r, uint64_t start, size_t sectors)
{
	struct doubting doubting = { start, start + sectors };
	bcfmt_err err;

	r->counts = (struct bcfmt_volume_counts){ 0 };
	err = bcfmt_volume_read(r->volume, start, r->buf, sectors, r->state, &r->counts);
	if (!err)
		err = compare_places(r, start, sectors);
	if (!err)
		err = bcfmt_volume_doubts(r->volume, start, start + sectors, take_doubt, &doubting);
	if (err)
		return err;
	assert(r->counts.dirty_sectors + r->counts.rescued_sectors <= sectors);
	*r->print = bcfmt_crc64_seeded(*r->print, r->buf, sectors * BCFMT_SECTOR_BYTES);
	*r->print = bcfmt_crc64_seeded(*r->print, r->state, sectors);
	return BCFMT_OK;
}

/* The first pieces of what holds something, and the end. */
static bcfmt_err read_volume(struct reading *r)
{
	uint64_t all = bcfmt_volume_sectors(r->volume), at = 0, begin, end;
	bcfmt_err err = BCFMT_OK;

	for (unsigned int i = 0; !err && i < READS_MAX && at < all; i++) {
		err = bcfmt_volume_next_data(r->volume, at, &begin, &end);
		if (err)
			break;
		assert(begin >= at && begin < end && end <= all);
		at = min_u64(begin + READ_SECTORS, end);
		err = read_piece(r, begin, (size_t)(at - begin));
	}
	if (err && err != BCFMT_END)
		return err;
	begin = all - min_u64(all, READ_SECTORS);
	err = all ? read_piece(r, begin, (size_t)(all - begin)) : BCFMT_OK;
	if (!err)
		assert(bcfmt_volume_read(r->volume, all, r->buf, 1, r->state, NULL) ==
		       BCFMT_E_RANGE);
	return err;
}

static bool volume_of(const struct bcfmt_set *set, const struct bcfmt_verdict_device *device,
		      struct bcfmt_volume_params *params)
{
	const struct bcfmt_uuid_entry *entry =
		device->inode < set->n_uuids ? &set->uuids[device->inode] : NULL;
	const struct bcfmt_member *member = entry ? bcfmt_set_backing(set, entry->uuid) : NULL;

	params->inode = device->inode;
	if (entry && entry->flags & BCFMT_UUID_FLASH_ONLY) {
		params->sectors = entry->sectors;
		return true;
	}
	if (!member ||
	    member->super.data_offset_sectors >= bcfmt_dev_bytes(member->dev) / BCFMT_SECTOR_BYTES)
		return false;
	params->backing = member->dev;
	params->data_offset_sectors = member->super.data_offset_sectors;
	params->sectors = bcfmt_dev_bytes(member->dev) / BCFMT_SECTOR_BYTES -
			  member->super.data_offset_sectors;
	return true;
}

static bcfmt_err look_at_volume(const struct bcfmt_set *set, struct bcfmt_leaf_cache *leaves,
				const struct bcfmt_verdict *verdict,
				const struct bcfmt_verdict_device *device, uint64_t *print)
{
	static struct reading reading;
	struct bcfmt_volume_params params = { .losses = verdict->losses };
	bcfmt_err err;

	if (!device->has_inode || !volume_of(set, device, &params))
		return BCFMT_OK;
	err = bcfmt_volume_open(leaves, &params, &reading.volume);
	/* A size that cannot be. */
	if (err == BCFMT_E_ARG)
		return BCFMT_OK;
	reading.print = print;
	if (!err)
		err = read_volume(&reading);
	bcfmt_volume_free(reading.volume);
	return err;
}

/* ---- what was there before ---- */

struct past {
	uint64_t n;
	uint64_t *print;
	uint32_t inode;
};

static bcfmt_err take_past(void *arg, const struct bcfmt_past *past)
{
	struct past *seen = arg;
	uint64_t words[] = { past->key.high, past->key.low,   past->key.ptr,
			     past->seq,	     past->after_seq, past->source,
			     past->entry,    past->order,     past->stale };

	assert(bcfmt_key_inode(&past->key) == seen->inode);
	assert(past->source <= BCFMT_PAST_LEAF && past->entry <= BCFMT_PAST_OTHER);
	assert(past->order <= BCFMT_PAST_NOT_PROVED);
	if (past->source == BCFMT_PAST_JOURNAL)
		assert(past->seq && past->seq == past->after_seq);
	*seen->print = bcfmt_crc64_seeded(*seen->print, words, sizeof(words));
	/* As who has read enough. */
	return ++seen->n < PAST_MAX ? BCFMT_OK : BCFMT_END;
}

static bcfmt_err look_back(struct bcfmt_tree *tree, uint32_t inode, uint64_t *print)
{
	struct past past = { .print = print, .inode = inode };
	struct bcfmt_history_gaps gaps;
	bcfmt_err err = bcfmt_history_each(tree, inode, 0, INT64_MAX, take_past, &past, &gaps);

	return err == BCFMT_END ? BCFMT_OK : err;
}

/* ---- the page ---- */

static bcfmt_err draw_page(struct bcfmt_set *set, const struct bcfmt_report *report,
			   const struct bcfmt_verdict *verdict)
{
	static char text[1u << 22];
	static const char end[] = "</html>\n";
	struct bcfmt_page page = { .set = set, .report = report, .verdict = verdict };
	FILE *stream = fmemopen(text, sizeof(text), "w");
	long n;
	bcfmt_err err;

	assert(stream);
	err = bcfmt_render_page(set->ctx, stream, &page);
	fflush(stream);
	n = ftell(stream);
	assert(!fclose(stream));
	if (!err && n > (long)sizeof(end) && n < (long)sizeof(text) - 1)
		assert(!memcmp(text + n - (sizeof(end) - 1), end, sizeof(end) - 1));
	return err;
}

static bcfmt_err find_owners(const struct bcfmt_set *set, const struct bcfmt_verdict *verdict)
{
	static struct bcfmt_owner owners[4096];
	bcfmt_err err;

	(void)verdict;
	if (set->n_uuids > sizeof(owners) / sizeof(owners[0]))
		return BCFMT_OK;
	err = bcfmt_owners_find(set, owners);
	for (uint32_t i = 0; !err && i < set->n_uuids; i++)
		assert(owners[i].proof <= BCFMT_OWNER_CONTRADICTED);
	return err;
}

bcfmt_err check_views(struct bcfmt_set *set, const struct bcfmt_report *report,
		      const struct bcfmt_verdict *verdict, struct bcfmt_tree *tree, uint64_t *print)
{
	struct bcfmt_leaf_cache *leaves = NULL;
	bcfmt_err err = draw_page(set, report, verdict);

	if (!err)
		err = find_owners(set, verdict);
	if (!err)
		err = bcfmt_leaf_cache_new(tree, LEAF_BYTES, &leaves);
	for (size_t i = 0; !err && i < verdict->n_devices && i < INODES_MAX; i++) {
		err = look_at_volume(set, leaves, verdict, &verdict->devices[i], print);
		if (!err && verdict->devices[i].has_inode)
			err = look_back(tree, verdict->devices[i].inode, print);
	}
	bcfmt_leaf_cache_free(leaves);
	return err;
}
