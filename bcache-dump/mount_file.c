/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The files of a mounted set: one a volume, what they are called and what is known of them. */
#include "mount_file.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

/* An extended attribute holds 64 KiB. */
#define LIST_BYTES (60u << 10)
/* So many ranges of a volume are told one by one; the attributes and --json have more. */
#define TOLD_MAX 16u

/* ---- names ---- */

/* Usable as a name, and not one that another volume may get. */
static bool is_name(const char *label)
{
	uint8_t uuid[BCFMT_UUID_BYTES];

	if (!*label || *label == '.' || bcfmt_uuid_parse(label, uuid) ||
	    !strncmp(label, "inode-", strlen("inode-")))
		return false;
	for (; *label; label++)
		if (*label == '/' || (unsigned char)*label < 0x20 || *label == 0x7f)
			return false;
	return true;
}

/* Of no other volume of the set, whether it is mounted or not: names must not come and go. */
static bool is_only(const struct dump *d, const struct volume *volume, const char *label)
{
	const struct bcfmt_set *set = d->set;

	for (uint32_t i = 0; i < set->n_uuids; i++) {
		struct volume other = { .inode = i, .entry = &set->uuids[i] };
		char text[BCFMT_LABEL_BYTES + 1];

		if (i == volume->inode || bcfmt_uuid_state(other.entry) != BCFMT_UUID_LIVE)
			continue;
		other.backing = bcfmt_set_backing(set, other.entry->uuid);
		volume_label(&other, text);
		if (!strcmp(text, label))
			return false;
	}
	return true;
}

static bool has_file(const struct mount_files *files, const char *name)
{
	for (size_t i = 0; i < files->n; i++)
		if (files->at[i].name && !strcmp(files->at[i].name, name))
			return true;
	return false;
}

static bcfmt_err name_file(const struct mount_files *files, struct dump *d, struct mount_file *file)
{
	const struct volume *volume = &file->volume;
	char label[BCFMT_LABEL_BYTES + 1], name[BCFMT_UUID_TEXT_BYTES];

	volume_label(volume, label);
	if (volume->entry)
		bcfmt_uuid_text(volume->entry->uuid, name);
	/* In a damaged table a uuid can be there twice. */
	if (!volume->entry || has_file(files, name))
		snprintf(name, sizeof(name), "inode-%" PRIu32, volume->inode);
	file->name =
		strdup(volume->entry && is_name(label) && is_only(d, volume, label) ? label : name);
	return file->name ? BCFMT_OK : bcfmt_fail(d->ctx, BCFMT_E_NOMEM, "out of memory");
}

/* ---- times ---- */

/* Image files tell when they were written; of devices the table knows the last registration. */
static void look_at(const struct bcfmt_dev *dev, const struct volume *volume, time_t *changed)
{
	struct stat st;
	time_t at = volume->entry ? (time_t)volume->entry->last_reg : 0;

	if (!stat(bcfmt_dev_name(dev), &st) && S_ISREG(st.st_mode))
		at = st.st_mtime;
	*changed = at > *changed ? at : *changed;
}

/* ---- lost and doubtful ranges ---- */

struct list {
	char *text;
	size_t n;
	bool is_full;
};

struct taker {
	struct dump *d;
	struct mount_file *file;
	struct list lost;
	struct list doubtful;
	unsigned int n_told;
	unsigned int n_more;
};

static bcfmt_err list_add(struct bcfmt_ctx *ctx, struct list *list, uint64_t start_sector,
			  uint64_t sectors)
{
	char line[64];
	size_t len = (size_t)snprintf(line, sizeof(line), "%" PRIu64 "+%" PRIu64 "\n", start_sector,
				      sectors);
	char *grown;

	if (list->is_full)
		return BCFMT_OK;
	if (list->n + len > LIST_BYTES) {
		list->is_full = true;
		len = (size_t)snprintf(line, sizeof(line), "...\n");
	}
	grown = realloc(list->text, list->n + len + 1);
	if (!grown)
		return bcfmt_fail(ctx, BCFMT_E_NOMEM, "out of memory");
	list->text = grown;
	memcpy(grown + list->n, line, len + 1);
	list->n += len;
	return BCFMT_OK;
}

static void tell_range(struct taker *taker, const char *word, uint64_t start, uint64_t sectors)
{
	struct bcfmt_out *out = taker->d->out;

	if (taker->n_told++ < TOLD_MAX)
		cli_error(taker->file->name,
			  "%s: sectors %" PRIu64 "-%" PRIu64 " (%" PRIu64 " sectors)", word, start,
			  start + sectors - 1, sectors);
	else
		taker->n_more++;
	if (!bcfmt_out_is_json(out))
		return;
	bcfmt_row_begin(out, word);
	bcfmt_row_text(out, "file", taker->file->name);
	bcfmt_row_u64(out, "start_sector", start);
	bcfmt_row_u64(out, "sectors", sectors);
	bcfmt_row_end(out);
}

static bcfmt_err take_range(void *arg, const struct bcfmt_loss_range *range)
{
	struct taker *taker = arg;
	uint64_t start = range->start_sector - taker->file->volume.data_offset_sectors;
	uint64_t sectors = range->end_sector - range->start_sector;

	tell_range(taker, range->is_lost ? "lost" : "doubtful", start, sectors);
	*(range->is_lost ? &taker->file->lost_sectors : &taker->file->doubtful_sectors) += sectors;
	return list_add(taker->d->ctx, range->is_lost ? &taker->lost : &taker->doubtful, start,
			sectors);
}

static bcfmt_err take_losses(struct dump *d, struct mount_file *file, struct bcfmt_losses *losses)
{
	const struct volume *volume = &file->volume;
	struct taker taker = { .d = d, .file = file };
	bcfmt_err err;

	if (!losses)
		return BCFMT_OK;
	err = bcfmt_losses_each(losses, volume->inode, volume->data_offset_sectors,
				volume->data_offset_sectors + volume->sectors, take_range, &taker);
	file->lost = taker.lost.text;
	file->doubtful = taker.doubtful.text;
	if (taker.n_more)
		cli_error(file->name,
			  "and %u more ranges: see user.bcache.lost and "
			  "user.bcache.doubtful with getfattr",
			  taker.n_more);
	return err;
}

static void file_row(struct dump *d, const struct mount_file *file)
{
	bcfmt_row_begin(d->out, "file");
	bcfmt_row_text(d->out, "name", file->name);
	bcfmt_row_u64(d->out, "inode", file->volume.inode);
	if (file->volume.entry)
		bcfmt_row_uuid(d->out, "uuid", file->volume.entry->uuid);
	bcfmt_row_u64(d->out, "sectors", file->volume.sectors);
	bcfmt_row_u64(d->out, "lost_sectors", file->lost_sectors);
	bcfmt_row_u64(d->out, "doubtful_sectors", file->doubtful_sectors);
	bcfmt_row_end(d->out);
}

bcfmt_err mount_files_open(struct mount_files *files, struct dump *d, const struct volume *volumes,
			   size_t n, struct bcfmt_leaf_cache *leaves, struct bcfmt_losses *losses)
{
	bcfmt_err err = BCFMT_OK;

	*files = (struct mount_files){ .at = calloc(n, sizeof(*files->at)) };
	if (!files->at)
		return bcfmt_fail(d->ctx, BCFMT_E_NOMEM, "out of memory");
	for (size_t i = 0; !err && i < n; i++) {
		struct mount_file *file = &files->at[i];

		file->volume = volumes[i];
		err = name_file(files, d, file);
		files->n = i + 1;
		look_at(d->set->cache.dev, &file->volume, &file->changed);
		if (file->volume.backing)
			look_at(file->volume.backing->dev, &file->volume, &file->changed);
		if (!err)
			err = volume_open(&file->volume, leaves, losses, &file->reader);
		if (!err)
			err = take_losses(d, file, losses);
		if (!err && !d->opt.is_quiet)
			file_row(d, file);
	}
	return err;
}

void mount_files_free(struct mount_files *files)
{
	for (size_t i = 0; i < files->n; i++) {
		bcfmt_volume_free(files->at[i].reader);
		free(files->at[i].name);
		free(files->at[i].lost);
		free(files->at[i].doubtful);
	}
	free(files->at);
	*files = (struct mount_files){ 0 };
}
