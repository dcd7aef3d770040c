/* SPDX-License-Identifier: GPL-2.0-or-later */
/* bcache-dump files: the names of the files that lie on lost or doubtful ranges of a volume. */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "doubt.h"
#include "files.h"
#include "walk.h"

#include "dev/mapfile.h"

#define READ_SECTORS_MAX 8192u

/* ---- ranges ---- */

/* What was not tried is not known either. Neighbours of one sort are one range. */
static bcfmt_err take_range(void *arg, uint64_t start_bytes, uint64_t end_bytes, char status)
{
	struct files *files = arg;
	struct files_range *last = NULL, *slot;
	bool is_lost = status == '-';

	if (files->ranges.n)
		last = VEC_AT(&files->ranges, struct files_range, files->ranges.n - 1);
	if (status == '+')
		return BCFMT_OK;
	if (last && last->end == start_bytes && last->is_lost == is_lost) {
		last->end = end_bytes;
		return BCFMT_OK;
	}
	slot = vec_push(&files->ranges, sizeof(*slot));
	if (!slot)
		return BCFMT_E_NOMEM;
	*slot = (struct files_range){ start_bytes, end_bytes, is_lost };
	return BCFMT_OK;
}

/* The first range that ends after the place. */
static size_t first_range(const struct files *files, uint64_t at)
{
	size_t low = 0, high = files->ranges.n;

	while (low < high) {
		size_t mid = low + (high - low) / 2;

		if (VEC_AT(&files->ranges, struct files_range, mid)->end <= at)
			low = mid + 1;
		else
			high = mid;
	}
	return low;
}

static bool overlap(const struct files *files, uint64_t start, uint64_t end, struct files_hit *hit,
		    uint64_t *first)
{
	bool is_any = false;

	for (size_t i = first_range(files, start); i < files->ranges.n; i++) {
		const struct files_range *range = VEC_AT(&files->ranges, struct files_range, i);
		uint64_t from = range->start > start ? range->start : start;
		uint64_t to = range->end < end ? range->end : end;

		if (from >= to)
			break;
		if (!is_any)
			*first = from;
		is_any = true;
		*(range->is_lost ? &hit->lost_bytes : &hit->doubtful_bytes) += to - from;
	}
	return is_any;
}

bool files_overlap(const struct files *files, uint64_t start, uint64_t end, struct files_hit *hit)
{
	uint64_t first;

	return overlap(files, start, end, hit, &first);
}

bool files_overlap_data(const struct files *files, uint64_t start, uint64_t end, uint64_t file_byte,
			struct files_hit *hit)
{
	uint64_t first;

	if (!overlap(files, start, end, hit, &first))
		return false;
	first = file_byte + (first - start);
	if (!hit->has_first || first < hit->first_byte)
		hit->first_byte = first;
	hit->has_first = true;
	return true;
}

/* ---- output ---- */

static void hit_fields(struct bcfmt_out *out, const struct files_hit *hit)
{
	bcfmt_row_u64(out, "lost_bytes", hit->lost_bytes);
	bcfmt_row_u64(out, "doubtful_bytes", hit->doubtful_bytes);
	if (hit->has_first)
		bcfmt_row_u64(out, "first_byte", hit->first_byte);
	if (hit->has_map)
		bcfmt_row_bool(out, "block_map", true);
	bcfmt_row_end(out);
}

void files_tell_file(struct files *files, const char *kind, const char *path, uint64_t inode,
		     const struct files_hit *hit)
{
	struct bcfmt_out *out = files->d->out;

	files->n_files++;
	bcfmt_row_begin(out, kind);
	if (path)
		bcfmt_row_text(out, "path", path);
	bcfmt_row_u64(out, "inode", inode);
	hit_fields(out, hit);
}

void files_tell_metadata(struct files *files, const char *what, const struct files_hit *hit)
{
	struct bcfmt_out *out = files->d->out;

	files->n_metadata++;
	bcfmt_row_begin(out, "metadata");
	bcfmt_row_text(out, "of", what);
	hit_fields(out, hit);
}

void files_tell_partial(struct files *files, const char *what, const char *why)
{
	if (!files->n_partial++ || files->d->opt.is_verbose)
		cli_error(NULL, "%s: %s", what, why);
}

static void tell_more_partial(const struct files *files)
{
	if (files->n_partial > 1 && !files->d->opt.is_verbose)
		cli_error(NULL,
			  "%" PRIu64
			  " more places of the file system cannot be read: -v tells which",
			  files->n_partial - 1);
}

/* ---- the volume ---- */

void files_out_of_memory(struct files *files)
{
	if (!files->err)
		files->err = bcfmt_fail(files->d->ctx, BCFMT_E_NOMEM, "out of memory");
}

bool files_read(struct files *files, uint64_t start, void *buf, size_t len_bytes)
{
	uint64_t first = start / BCFMT_SECTOR_BYTES;
	uint64_t end = (start + len_bytes + BCFMT_SECTOR_BYTES - 1) / BCFMT_SECTOR_BYTES;
	uint8_t *out = buf, *sectors, *state;
	bool is_good = start <= files->bytes && len_bytes <= files->bytes - start;
	size_t n = READ_SECTORS_MAX;

	if (!is_good)
		return false;
	n = end - first < n ? (size_t)(end - first) : n;
	sectors = malloc(n * BCFMT_SECTOR_BYTES);
	state = malloc(n);
	is_good = sectors && state;
	if (!is_good)
		files_out_of_memory(files);
	for (uint64_t at = first; at < end && is_good; at += n) {
		uint64_t skip = at == first ? start % BCFMT_SECTOR_BYTES : 0;
		bcfmt_err err;
		size_t take;

		n = end - at < n ? (size_t)(end - at) : n;
		take = n * BCFMT_SECTOR_BYTES - (size_t)skip;
		take = take < len_bytes ? take : len_bytes;
		err = bcfmt_volume_read(files->volume, at, sectors, n, state, NULL);
		if (err && !files->err)
			files->err = err;
		is_good = !err;
		for (size_t i = 0; i < n && is_good; i++)
			is_good = state[i] == BCFMT_SECTOR_OK || state[i] == BCFMT_SECTOR_STALE;
		if (!is_good)
			break;
		memcpy(out, sectors + skip, take);
		out += take;
		len_bytes -= take;
	}
	free(sectors);
	free(state);
	return is_good;
}

static bool has_bytes(struct files *files, uint64_t at, const char *magic, size_t len_bytes)
{
	char found[16];

	return files_read(files, at, found, len_bytes) && !memcmp(found, magic, len_bytes);
}

static int look_at_file_system(struct files *files)
{
	uint64_t super_block;
	uint32_t block_bytes;

	if (has_bytes(files, 0, "XFSB", 4))
		return files_xfs(files);
	if (has_bytes(files, 0x10040, "_BHRfS_M", 8))
		return files_btrfs(files);
	if (files_is_ext(files, &super_block, &block_bytes))
		return files_ext(files, super_block, block_bytes);
	cli_error(NULL, "the volume does not begin with ext2, ext3, ext4, XFS or btrfs: its files "
			"cannot be named");
	return DUMP_DAMAGED;
}

static void result_row(struct files *files)
{
	struct bcfmt_out *out = files->d->out;
	uint64_t lost = 0, doubtful = 0;

	for (size_t i = 0; i < files->ranges.n; i++) {
		const struct files_range *range = VEC_AT(&files->ranges, struct files_range, i);

		*(range->is_lost ? &lost : &doubtful) += range->end - range->start;
	}
	bcfmt_row_begin(out, "files");
	bcfmt_row_u64(out, "inode", files->which.inode);
	if (files->which.entry)
		bcfmt_row_uuid(out, "uuid", files->which.entry->uuid);
	bcfmt_row_u64(out, "lost_bytes", lost);
	bcfmt_row_u64(out, "doubtful_bytes", doubtful);
	bcfmt_row_u64(out, "named", files->n_files);
	bcfmt_row_u64(out, "metadata", files->n_metadata);
	bcfmt_row_end(out);
}

static int look(struct files *files, struct walk *walk, struct bcfmt_losses *losses)
{
	struct bcfmt_leaf_cache *leaves = NULL;
	bcfmt_err err = walk_settle(walk, NULL, NULL, NULL);
	int code;

	if (!err)
		err = bcfmt_leaf_cache_new(walk->tree, 0, &leaves);
	if (!err)
		err = volume_open(&files->which, leaves, losses, &files->volume);
	code = err ? dump_failed(files->d, err) : look_at_file_system(files);
	if (!code && bcfmt_ctx_is_cancelled(files->d->ctx))
		files->err = BCFMT_E_CANCELLED;
	if ((!code || code == DUMP_DAMAGED) && files->err)
		code = dump_failed(files->d, files->err);
	if (!code || code == DUMP_DAMAGED)
		result_row(files);
	tell_more_partial(files);
	if (!code && (files->n_partial || walk->is_damaged))
		code = DUMP_DAMAGED;
	bcfmt_volume_free(files->volume);
	bcfmt_leaf_cache_free(leaves);
	return code;
}

int cmd_files(struct dump *d)
{
	struct files files = { .d = d };
	const struct bcfmt_dev *image = cli_devices_image(&d->devices);
	struct bcfmt_pos lo = { .sector = 0 }, hi = bcfmt_pos_max();
	struct bcfmt_report *report = NULL;
	struct bcfmt_losses *losses = NULL;
	struct walk walk = { 0 };
	bcfmt_err err;
	int code;

	if (image) {
		cli_error(bcfmt_dev_name(image), "a metadata image holds no data: files needs the "
						 "devices themselves");
		return DUMP_USAGE;
	}
	code = volume_choose(d, &files.which);
	if (code)
		return code;
	files.bytes = files.which.sectors * BCFMT_SECTOR_BYTES;
	lo.inode = hi.inode = files.which.inode;
	err = mapfile_read(d->ctx, d->opt.lost_map, take_range, &files);
	if (!err)
		err = doubt_check(d, &report, &losses);
	code = err ? dump_failed(d, err) : walk_open(&walk, d, lo, hi, NULL, NULL);
	if (!code)
		code = look(&files, &walk, losses);
	if (walk.d)
		walk_close(&walk);
	bcfmt_losses_free(losses);
	bcfmt_report_free(report);
	vec_free(&files.ranges);
	return code;
}
