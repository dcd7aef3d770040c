/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Which volume of the set is meant. */
#include "volume.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "cli/number.h"

/* Lists of volumes end here; uuids prints all of them. */
#define LIST_MAX 16u

static bool is_live(const struct dump *d, uint32_t inode)
{
	return inode < d->set->n_uuids &&
	       bcfmt_uuid_state(&d->set->uuids[inode]) == BCFMT_UUID_LIVE;
}

static bool is_flash_only(const struct bcfmt_uuid_entry *entry)
{
	return entry->flags & BCFMT_UUID_FLASH_ONLY;
}

/* Without the newline that echo puts behind a label. */
static int label_length(const char *label)
{
	return (int)strcspn(label, "\n");
}

static void list_volumes(const struct dump *d)
{
	unsigned int n = 0;

	for (uint32_t i = 0; i < d->set->n_uuids; i++) {
		const struct bcfmt_uuid_entry *entry = &d->set->uuids[i];
		char uuid[BCFMT_UUID_TEXT_BYTES];

		if (!is_live(d, i))
			continue;
		if (n++ == LIST_MAX) {
			cli_error(NULL, "and more: see bcache-dump uuids");
			return;
		}
		bcfmt_uuid_text(entry->uuid, uuid);
		cli_error(NULL, "inode %" PRIu32 ": uuid %s%s%.*s%s", i, uuid,
			  label_length(entry->label) ? " label " : "", label_length(entry->label),
			  entry->label, is_flash_only(entry) ? " (flash-only volume)" : "");
	}
}

static bool is_label(const char *label, const char *name)
{
	size_t len = (size_t)label_length(label);

	return len && strlen(name) == len && !memcmp(label, name, len);
}

/* The label that the backing device itself has counts like that of the table. */
static bool has_label(const struct dump *d, const struct bcfmt_uuid_entry *entry, const char *name)
{
	const struct bcfmt_member *member = bcfmt_set_backing(d->set, entry->uuid);

	return is_label(entry->label, name) || (member && is_label(member->super.label, name));
}

/* Live entries with that uuid or label. */
static unsigned int find_named(const struct dump *d, const char *name, uint32_t *inode)
{
	unsigned int n = 0;

	for (uint32_t i = 0; i < d->set->n_uuids; i++) {
		char uuid[BCFMT_UUID_TEXT_BYTES];

		if (!is_live(d, i))
			continue;
		bcfmt_uuid_text(d->set->uuids[i].uuid, uuid);
		if (strcasecmp(uuid, name) && !has_label(d, &d->set->uuids[i], name))
			continue;
		if (!n++)
			*inode = i;
	}
	return n;
}

/* Without --device: the volume of the only backing device, or the only volume. */
static unsigned int find_only(const struct dump *d, uint32_t *inode)
{
	unsigned int n = 0;

	if (d->set->n_backing == 1 &&
	    !bcfmt_set_inode(d->set, d->set->backing[0].super.uuid, inode))
		return 1;
	for (uint32_t i = 0; i < d->set->n_uuids; i++)
		if (is_live(d, i) && !n++)
			*inode = i;
	return n;
}

/* All of it is here, so what it does not have is not there. */
static bool has_whole_table(const struct dump *d)
{
	return d->set->uuids_state == BCFMT_UUIDS_OK && !d->set->uuids_bad_read.sectors;
}

static int choose_inode(const struct dump *d, uint32_t *inode)
{
	const char *name = d->opt.device;
	uint64_t number;
	unsigned int n;

	if (name && cli_number_u64(name, BCFMT_KEY_MAX_INODE, &number)) {
		*inode = (uint32_t)number;
		return DUMP_DONE;
	}
	n = name ? find_named(d, name, inode) : find_only(d, inode);
	if (n == 1)
		return DUMP_DONE;
	if (!n && !has_whole_table(d)) {
		cli_error(dump_cache_name(d), "the uuid table cannot be read in full: name the "
					      "volume by its inode, --device 0 is the first");
		return DUMP_DAMAGED;
	}
	if (name)
		cli_error(NULL,
			  n ? "several volumes are called %s; give uuid or inode"
			    : "the set has no volume %s",
			  name);
	else
		cli_error(NULL, n ? "the set has several volumes: choose one with --device"
				  : "the set has no live volume: choose an inode with --device");
	list_volumes(d);
	return DUMP_USAGE;
}

static int choose_backing(const struct dump *d, struct volume *volume)
{
	const struct bcfmt_set *set = d->set;
	char uuid[BCFMT_UUID_TEXT_BYTES];

	if (volume->entry)
		volume->backing = bcfmt_set_backing(set, volume->entry->uuid);
	/* A superblock that is wrong cannot be asked whose it is. */
	if (!volume->backing && set->n_backing == 1 &&
	    (!volume->entry || !set->backing[0].has_magic))
		volume->backing = &set->backing[0];
	if (volume->backing)
		return DUMP_DONE;
	if (!volume->entry && !has_whole_table(d)) {
		cli_error(dump_cache_name(d),
			  "the uuid table cannot be read in full: inode %" PRIu32 " may be a "
			  "volume, or need its backing device",
			  volume->inode);
		return DUMP_DAMAGED;
	}
	if (!volume->entry) {
		cli_error(NULL,
			  "inode %" PRIu32 " has no live uuid entry: give the one backing "
			  "device that its data belongs to",
			  volume->inode);
		return DUMP_USAGE;
	}
	bcfmt_uuid_text(volume->entry->uuid, uuid);
	cli_error(NULL,
		  "inode %" PRIu32 " is a cached device: give its backing device, "
		  "uuid %s%s%.*s",
		  volume->inode, uuid, label_length(volume->entry->label) ? " label " : "",
		  label_length(volume->entry->label), volume->entry->label);
	return DUMP_USAGE;
}

static int measure_backing(const struct dump *d, struct volume *volume)
{
	const struct bcfmt_member *member = volume->backing;
	const char *name = bcfmt_dev_name(member->dev);
	uint64_t dev_sectors = bcfmt_dev_bytes(member->dev) / BCFMT_SECTOR_BYTES;

	volume->data_offset_sectors = member->super.data_offset_sectors;
	if (d->opt.has_data_offset) {
		volume->data_offset_sectors = d->opt.data_offset_sectors;
	} else if (!member->has_magic) {
		cli_error(name, "no bcache superblock: say where the data begins with "
				"--data-offset (mostly 16)");
		return DUMP_DAMAGED;
	}
	if (volume->data_offset_sectors >= dev_sectors) {
		cli_error(name, "data offset %" PRIu64 " is beyond the end, %" PRIu64 " sectors",
			  volume->data_offset_sectors, dev_sectors);
		return DUMP_DAMAGED;
	}
	volume->sectors = dev_sectors - volume->data_offset_sectors;
	if (bcfmt_super_bdev_state(&member->super) == BCFMT_BDEV_STALE && !d->opt.is_quiet)
		cli_error(name, "was used without its cache: what the cache holds may be older");
	return DUMP_DONE;
}

/* A volume that the table has; its backing device may be missing. */
static int measure(const struct dump *d, struct volume *out)
{
	int code;

	if (out->entry && is_flash_only(out->entry)) {
		out->sectors = out->entry->sectors;
		if (out->sectors && out->sectors <= BCFMT_KEY_MAX_OFFSET / BCFMT_SECTOR_BYTES)
			return DUMP_DONE;
		cli_error(dump_cache_name(d), "inode %" PRIu32 ": a volume of %" PRIu64 " sectors",
			  out->inode, out->sectors);
		return DUMP_DAMAGED;
	}
	code = choose_backing(d, out);
	return code ? code : measure_backing(d, out);
}

int volume_choose(struct dump *d, struct volume *out)
{
	int code;

	memset(out, 0, sizeof(*out));
	code = choose_inode(d, &out->inode);
	if (code)
		return code;
	if (is_live(d, out->inode))
		out->entry = &d->set->uuids[out->inode];
	return measure(d, out);
}

static void tell_unused_backing(const struct dump *d, const struct volume *volumes, size_t n)
{
	for (size_t i = 0; i < d->set->n_backing; i++) {
		bool is_used = false;

		for (size_t k = 0; k < n; k++)
			is_used |= volumes[k].backing == &d->set->backing[i];
		if (!is_used)
			cli_error(bcfmt_dev_name(d->set->backing[i].dev),
				  "no live uuid entry of the set names it: --device INODE says "
				  "whose data it has");
	}
}

/* A backing device without a superblock goes with any of the volumes that lack theirs. */
static int measure_listed(const struct dump *d, struct volume *volume)
{
	const struct bcfmt_set *set = d->set;
	unsigned int n_cached = 0;

	for (uint32_t i = 0; i < set->n_uuids; i++)
		n_cached += is_live(d, i) && !is_flash_only(&set->uuids[i]);
	if (n_cached < 2 || is_flash_only(volume->entry) ||
	    bcfmt_set_backing(set, volume->entry->uuid) || set->n_backing != 1 ||
	    set->backing[0].has_magic)
		return measure(d, volume);
	cli_error(bcfmt_dev_name(set->backing[0].dev),
		  "no bcache superblock: it may belong to inode %" PRIu32 " or to another one, "
		  "choose with --device",
		  volume->inode);
	return DUMP_USAGE;
}

static int list_live(struct dump *d, struct volume *volumes, size_t *n, bool *is_whole)
{
	int worst = DUMP_DONE;

	*n = 0;
	*is_whole = has_whole_table(d);
	if (!*is_whole)
		cli_error(dump_cache_name(d), "the uuid table cannot be read in full: volumes may "
					      "be missing");
	for (uint32_t i = 0; i < d->set->n_uuids; i++) {
		struct volume volume = { .inode = i, .entry = &d->set->uuids[i] };
		int code = is_live(d, i) ? measure_listed(d, &volume) : DUMP_USAGE;

		if (!is_live(d, i))
			continue;
		*is_whole &= code != DUMP_DAMAGED;
		worst = code > worst ? code : worst;
		if (code)
			cli_error(NULL, "inode %" PRIu32 " is left out", i);
		else
			volumes[(*n)++] = volume;
	}
	tell_unused_backing(d, volumes, *n);
	return *n ? DUMP_DONE : worst;
}

static size_t count_live(const struct dump *d)
{
	size_t n = 0;

	for (uint32_t i = 0; i < d->set->n_uuids; i++)
		n += is_live(d, i);
	return n;
}

int volume_list(struct dump *d, struct volume **out, size_t *n, bool *is_whole)
{
	size_t n_live = count_live(d);
	int code;

	*n = 0;
	*is_whole = true;
	*out = calloc(n_live ? n_live : 1, sizeof(**out));
	if (!*out)
		return dump_failed(d, bcfmt_fail(d->ctx, BCFMT_E_NOMEM, "out of memory"));
	/* With nothing to list, choosing tells what is missing. */
	if (!d->opt.device && n_live)
		return list_live(d, *out, n, is_whole);
	code = volume_choose(d, *out);
	*n = !code;
	return code;
}

void volume_label(const struct volume *volume, char out[BCFMT_LABEL_BYTES + 1])
{
	const char *label = volume->entry ? volume->entry->label : "";

	if (!label_length(label) && volume->backing)
		label = volume->backing->super.label;
	memcpy(out, label, (size_t)label_length(label));
	out[label_length(label)] = '\0';
}

bcfmt_err volume_open(const struct volume *volume, struct bcfmt_leaf_cache *leaves,
		      struct bcfmt_losses *losses, struct bcfmt_volume **out)
{
	struct bcfmt_volume_params params = {
		.inode = volume->inode,
		.backing = volume->backing ? volume->backing->dev : NULL,
		.data_offset_sectors = volume->data_offset_sectors,
		.sectors = volume->sectors,
		.losses = losses,
	};

	return bcfmt_volume_open(leaves, &params, out);
}
