/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Maps of what is lost or doubtful, one a volume. */
#include "lost.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cli/message.h"

/* The collection that ranges of one inode go to. */
struct taker {
	struct bcfmt_losses *losses;
};

static bcfmt_err take_range(void *arg, const struct bcfmt_loss_range *range)
{
	const struct taker *taker = arg;

	return bcfmt_losses_add(taker->losses, range->is_lost ? BCFMT_LOSS_STALE : BCFMT_LOSS_NODE,
				(struct bcfmt_pos){ 0, range->start_sector },
				(struct bcfmt_pos){ 0, range->end_sector });
}

static bcfmt_err take_inode(struct lost_volume *volume, const struct bcfmt_verdict *verdict,
			    uint32_t inode)
{
	struct taker taker = { volume->losses };
	uint64_t start = volume->map.data_offset_sectors;

	return bcfmt_losses_each(verdict->losses, inode, start, start + volume->map.volume_sectors,
				 take_range, &taker);
}

static struct lost_volume *add_volume(struct bcfmt_ctx *ctx, struct lost *lost,
				      const uint8_t uuid[BCFMT_UUID_BYTES], uint64_t offset_sectors,
				      uint64_t sectors)
{
	struct lost_volume *volume = &lost->volumes[lost->n];

	if (bcfmt_losses_new(ctx, &volume->losses))
		return NULL;
	lost->n++;
	memcpy(volume->uuid, uuid, sizeof(volume->uuid));
	bcfmt_uuid_text(uuid, volume->name);
	volume->map = (struct bcfmt_loss_map){ .volume = volume->name,
					       .data_offset_sectors = offset_sectors,
					       .volume_sectors = sectors };
	return volume;
}

static bcfmt_err take_backing(struct bcfmt_ctx *ctx, const struct bcfmt_verdict *verdict,
			      const struct bcfmt_home_device *device, struct lost *lost)
{
	const struct bcfmt_member *member = device->member;
	uint64_t sectors = bcfmt_dev_bytes(member->dev) / BCFMT_SECTOR_BYTES;
	uint64_t offset = member->super.data_offset_sectors;
	struct lost_volume *volume = add_volume(ctx, lost, member->super.uuid, offset,
						sectors > offset ? sectors - offset : 0);
	bcfmt_err err = volume ? BCFMT_OK : BCFMT_E_NOMEM;

	for (size_t i = 0; !err && i < device->n_inodes; i++)
		err = take_inode(volume, verdict, device->inodes[i]);
	return err;
}

static bool is_volume(const struct bcfmt_uuid_entry *entry)
{
	return bcfmt_uuid_state(entry) == BCFMT_UUID_LIVE && entry->flags & BCFMT_UUID_FLASH_ONLY &&
	       entry->sectors <= BCFMT_KEY_MAX_OFFSET;
}

bcfmt_err lost_take(struct bcfmt_ctx *ctx, const struct bcfmt_set *set,
		    const struct bcfmt_verdict *verdict, const struct bcfmt_home *home,
		    struct lost *lost)
{
	bcfmt_err err = BCFMT_OK;

	*lost = (struct lost){ .is_known = verdict->losses != NULL };
	if (!lost->is_known)
		return BCFMT_OK;
	lost->volumes = calloc(home->n_devices + set->n_uuids + 1, sizeof(*lost->volumes));
	if (!lost->volumes)
		return BCFMT_E_NOMEM;
	for (size_t i = 0; !err && i < home->n_devices; i++)
		err = take_backing(ctx, verdict, &home->devices[i], lost);
	for (uint32_t i = 0; !err && i < set->n_uuids; i++) {
		const struct bcfmt_uuid_entry *entry = &set->uuids[i];
		struct lost_volume *volume;

		if (!is_volume(entry))
			continue;
		volume = add_volume(ctx, lost, entry->uuid, 0, entry->sectors);
		err = volume ? take_inode(volume, verdict, i) : BCFMT_E_NOMEM;
	}
	return err;
}

bcfmt_err lost_take_named(const struct bcfmt_set *after, const struct bcfmt_verdict *before,
			  struct lost *lost)
{
	struct bcfmt_home *home;
	bcfmt_err err = lost->is_known ? bcfmt_home_new(after, NULL, 0, false, &home) : BCFMT_OK;

	if (err || !lost->is_known)
		return err;
	for (size_t i = 0; !err && i < home->n_devices && i < lost->n; i++)
		for (size_t k = 0; !err && k < home->devices[i].n_inodes; k++)
			err = take_inode(&lost->volumes[i], before, home->devices[i].inodes[k]);
	bcfmt_home_free(home);
	return err;
}

void lost_clear(struct lost *lost)
{
	for (size_t i = 0; i < lost->n; i++)
		bcfmt_losses_free(lost->volumes[i].losses);
	free(lost->volumes);
	*lost = (struct lost){ 0 };
}

bcfmt_err lost_finish(struct lost *lost)
{
	bcfmt_err err = BCFMT_OK;

	for (size_t i = 0; !err && !lost->is_finished && i < lost->n; i++)
		err = bcfmt_losses_finish(lost->volumes[i].losses);
	lost->is_finished = true;
	return err;
}

static void tell_map(struct bcfmt_out *out, const struct lost_volume *volume,
		     const struct bcfmt_loss_sums *sums, const char *path)
{
	if (!bcfmt_out_is_json(out)) {
		bcfmt_out_line(out,
			       "%s: %" PRIu64 " bytes lost and %" PRIu64
			       " doubtful; which, is in %s",
			       volume->name, sums->lost_bytes, sums->doubtful_bytes, path);
		return;
	}
	bcfmt_row_begin(out, "lost_map");
	bcfmt_row_uuid(out, "uuid", volume->uuid);
	bcfmt_row_text(out, "path", path);
	bcfmt_row_u64(out, "lost_bytes", sums->lost_bytes);
	bcfmt_row_u64(out, "doubtful_bytes", sums->doubtful_bytes);
	bcfmt_row_end(out);
}

static bcfmt_err write_one(struct bcfmt_ctx *ctx, struct bcfmt_out *out, struct lost_volume *volume,
			   const char *prefix, bool has_all, bool *is_any)
{
	struct bcfmt_loss_sums sums;
	bcfmt_err err = bcfmt_losses_sum(volume->losses, &volume->map, &sums);
	char *path;

	if (!err)
		*is_any |= sums.lost_bytes || sums.doubtful_bytes;
	if (err || !prefix || (!has_all && !sums.lost_bytes && !sums.doubtful_bytes))
		return err;
	if (asprintf(&path, "%s-%s.map", prefix, volume->name) < 0)
		return BCFMT_E_NOMEM;
	err = bcfmt_losses_write_map(ctx, volume->losses, &volume->map, path);
	if (!err)
		tell_map(out, volume, &sums, path);
	free(path);
	return err;
}

int lost_write(struct bcfmt_ctx *ctx, struct bcfmt_out *out, struct lost *lost, const char *prefix,
	       bool has_all)
{
	bcfmt_err err;
	bool is_any = false;

	if (!lost->is_known && has_all)
		cli_error(NULL, "--lost: no map, the tree could not be walked");
	err = lost_finish(lost);
	for (size_t i = 0; !err && i < lost->n; i++)
		err = write_one(ctx, out, &lost->volumes[i], prefix, has_all, &is_any);
	if (!err && is_any && !prefix)
		cli_error(NULL, "what is lost or doubtful reads as old data now: --lost PREFIX "
				"names its sectors");
	return fsck_told(ctx, err, "not all maps are written") & ~FSCK_USAGE;
}

int lost_of_check(struct bcfmt_ctx *ctx, struct bcfmt_out *out, const struct fsck_options *options,
		  const struct bcfmt_set *set, const struct bcfmt_verdict *verdict)
{
	struct bcfmt_home *home;
	struct lost lost = { 0 };
	bcfmt_err err = bcfmt_home_new(set, NULL, 0, false, &home);
	int bits;

	if (!err)
		err = lost_take(ctx, set, verdict, home, &lost);
	bits = fsck_told(ctx, err, "no map is written");
	if (!err)
		bits = lost_write(ctx, out, &lost, options->lost_prefix, true);
	lost_clear(&lost);
	bcfmt_home_free(home);
	return bits;
}
