/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Mapfiles of ddrescue that tell which parts of a volume are lost or doubtful. */
#include <bcfmt/writeback.h>

#include <errno.h>
#include <inttypes.h>
#include <libgen.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <fcntl.h>
#include <unistd.h>

#include "base/checked.h"

#define MARK_WHOLE '+'
#define MARK_LOST '-'
#define MARK_DOUBTFUL '/'

static uint64_t map_end(const struct bcfmt_loss_map *map)
{
	uint64_t end;

	if (add_overflows(map->data_offset_sectors, map->volume_sectors, &end))
		return UINT64_MAX;
	return end;
}

static bcfmt_err add_sum(void *arg, const struct bcfmt_loss_range *range)
{
	struct bcfmt_loss_sums *sums = arg;
	uint64_t bytes = (range->end_sector - range->start_sector) * BCFMT_SECTOR_BYTES;

	*(range->is_lost ? &sums->lost_bytes : &sums->doubtful_bytes) += bytes;
	return BCFMT_OK;
}

bcfmt_err bcfmt_losses_sum(struct bcfmt_losses *losses, const struct bcfmt_loss_map *map,
			   struct bcfmt_loss_sums *out)
{
	*out = (struct bcfmt_loss_sums){ 0 };
	return bcfmt_losses_each(losses, map->inode, map->data_offset_sectors, map_end(map),
				 add_sum, out);
}

struct map_writer {
	const struct bcfmt_loss_map *map;
	FILE *file;
	uint64_t at_sector; /* of the volume: written up to here */
};

static void put_line(struct map_writer *writer, uint64_t end_sector, char mark)
{
	uint64_t sectors = end_sector - writer->at_sector;

	if (!sectors)
		return;
	fprintf(writer->file, "0x%08" PRIX64 "  0x%08" PRIX64 "  %c\n",
		writer->at_sector * BCFMT_SECTOR_BYTES, sectors * BCFMT_SECTOR_BYTES, mark);
	writer->at_sector = end_sector;
}

/* What a write to the file failed with shows at its end. */
static bcfmt_err put_range(void *arg, const struct bcfmt_loss_range *range)
{
	struct map_writer *writer = arg;
	uint64_t offset = writer->map->data_offset_sectors;

	put_line(writer, range->start_sector - offset, MARK_WHOLE);
	put_line(writer, range->end_sector - offset, range->is_lost ? MARK_LOST : MARK_DOUBTFUL);
	return BCFMT_OK;
}

static bcfmt_err write_lines(struct bcfmt_losses *losses, struct map_writer *writer)
{
	const struct bcfmt_loss_map *map = writer->map;
	bcfmt_err err;

	fprintf(writer->file, "# Mapfile. Created by bcache-fsck version %s\n", bcfmt_version());
	fprintf(writer->file, "# Volume %s: %c lost, %c doubtful (may be older data), %c whole\n",
		map->volume, MARK_LOST, MARK_DOUBTFUL, MARK_WHOLE);
	fputs("# current_pos  current_status  current_pass\n", writer->file);
	fprintf(writer->file, "0x00000000     %c               1\n", MARK_WHOLE);
	fputs("#      pos        size  status\n", writer->file);
	err = bcfmt_losses_each(losses, map->inode, map->data_offset_sectors, map_end(map),
				put_range, writer);
	if (!err)
		put_line(writer, map->volume_sectors, MARK_WHOLE);
	return err;
}

static bcfmt_err fail(struct bcfmt_ctx *ctx, const char *path, const char *what)
{
	char text[128];
	int os_error = errno;

	return bcfmt_fail(ctx, BCFMT_E_SYSTEM, "%s: cannot %s the map of what is lost: %s", path,
			  what, strerror_r(os_error, text, sizeof(text)));
}

/* The name is durable when its folder is. A folder that cannot be synced is no error. */
static void sync_folder(const char *path)
{
	char *copy = strdup(path);
	int fd = copy ? open(dirname(copy), O_RDONLY | O_DIRECTORY | O_CLOEXEC) : -1;

	if (fd >= 0) {
		fsync(fd);
		close(fd);
	}
	free(copy);
}

static bcfmt_err close_map(struct bcfmt_ctx *ctx, FILE *file, const char *path)
{
	bool is_good = !ferror(file) && !fflush(file) && !fsync(fileno(file));
	bcfmt_err err = is_good ? BCFMT_OK : fail(ctx, path, "write");

	if (fclose(file) && !err)
		err = fail(ctx, path, "write");
	return err;
}

bcfmt_err bcfmt_losses_write_map(struct bcfmt_ctx *ctx, struct bcfmt_losses *losses,
				 const struct bcfmt_loss_map *map, const char *path)
{
	struct map_writer writer = { .map = map };
	char *new_path;
	bcfmt_err err, close_err;

	if (asprintf(&new_path, "%s.new", path) < 0)
		return bcfmt_fail(ctx, BCFMT_E_NOMEM, "%s: out of memory", path);
	writer.file = fopen(new_path, "we");
	if (!writer.file) {
		err = fail(ctx, path, "make");
		goto free_path;
	}
	err = write_lines(losses, &writer);
	close_err = close_map(ctx, writer.file, path);
	err = err ? err : close_err;
	if (!err && rename(new_path, path))
		err = fail(ctx, path, "name");
	if (err)
		unlink(new_path);
	else
		sync_folder(path);
free_path:
	free(new_path);
	return err;
}
