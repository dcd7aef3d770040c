/* SPDX-License-Identifier: GPL-2.0-or-later */
/* bcache-dump export: a logical volume, dirty data laid over its backing data. */
#include "copy.h"
#include "doubt.h"
#include "filter.h"
#include "volume.h"
#include "walk.h"

#include <inttypes.h>

struct export_dump {
	struct dump *d;
	struct walk walk;
	struct volume volume;
	struct sink *sink;
	struct bcfmt_report *report; /* of a check */
	struct bcfmt_losses *losses; /* the same */
	struct lost lost;
	struct bcfmt_leaf_cache *leaves;
	struct copy copy;
	uint64_t own_sectors;	  /* dirty data of the volume, stale included */
	uint64_t outside_sectors; /* what of it lies beyond the volume, but for stale that is home */
	/* Dirty data of other inodes that no live entry names. */
	uint64_t stranded_sectors;
	uint32_t stranded_inode; /* the lowest */
};

static void forget_dirty(void *arg)
{
	struct export_dump *ed = arg;

	ed->own_sectors = 0;
	ed->outside_sectors = 0;
	ed->stranded_sectors = 0;
	ed->stranded_inode = UINT32_MAX;
}

static bool is_stranded(const struct export_dump *ed, const struct bcfmt_extent *extent)
{
	const struct bcfmt_set *set = ed->d->set;

	return !extent->stale && (extent->inode >= set->n_uuids ||
				  bcfmt_uuid_state(&set->uuids[extent->inode]) != BCFMT_UUID_LIVE);
}

/* Of a dirty extent of the volume. */
static uint64_t outside_sectors(const struct volume *volume, const struct bcfmt_extent *extent)
{
	uint64_t begin = volume->data_offset_sectors, end = begin + volume->sectors;
	uint64_t first = extent->start_sector > begin ? extent->start_sector : begin;
	uint64_t last = extent->end_sector < end ? extent->end_sector : end;

	if (extent->stale && !extent_is_lost(extent))
		return 0;
	return extent->end_sector - extent->start_sector - (last > first ? last - first : 0);
}

static bcfmt_err count_dirty(void *arg, const struct bcfmt_node_view *view,
			     const struct bcfmt_extent *extents, size_t n_extents)
{
	struct export_dump *ed = arg;
	uint64_t own = 0, outside = 0, stranded = 0;
	uint32_t inode = UINT32_MAX;

	(void)view;
	for (size_t i = 0; i < n_extents; i++) {
		uint64_t sectors = extents[i].end_sector - extents[i].start_sector;

		if (!extents[i].is_dirty)
			continue;
		if (extents[i].inode == ed->volume.inode) {
			own += sectors;
			outside += outside_sectors(&ed->volume, &extents[i]);
		} else if (is_stranded(ed, &extents[i])) {
			stranded += sectors;
			inode = extents[i].inode < inode ? extents[i].inode : inode;
		}
	}
	if (!own && !stranded)
		return BCFMT_OK;
	pthread_mutex_lock(&ed->walk.lock);
	ed->own_sectors += own;
	ed->outside_sectors += outside;
	ed->stranded_sectors += stranded;
	ed->stranded_inode = inode < ed->stranded_inode ? inode : ed->stranded_inode;
	pthread_mutex_unlock(&ed->walk.lock);
	return BCFMT_OK;
}

/* The part of (lo, hi] that belongs to the volume, in its sectors. */
static void doubt_range(struct export_dump *ed, struct bcfmt_pos lo, struct bcfmt_pos hi,
			enum lost_why why)
{
	const struct volume *volume = &ed->volume;
	uint64_t shift = volume->data_offset_sectors;
	uint64_t start = 0, end = volume->sectors;

	if (lo.inode > volume->inode || hi.inode < volume->inode)
		return;
	if (lo.inode == volume->inode && lo.sector > shift)
		start = lo.sector - shift;
	if (hi.inode == volume->inode)
		end = hi.sector > shift ? hi.sector - shift : 0;
	end = end < volume->sectors ? end : volume->sectors;
	if (start < end)
		lost_add(&ed->lost, why, start, end - start);
}

/* Two nodes for one range: what is doubtful then is not for a leaf to tell. */
static void doubt_twins(struct export_dump *ed)
{
	for (size_t i = 0; i < ed->walk.n_hurts; i++) {
		const struct hurt *hurt = &ed->walk.hurts[i];

		if (hurt->why == HURT_CHILD && hurt->child_fault == BCFMT_CHILD_DUPLICATE)
			doubt_range(ed, hurt->lo, hurt->hi, LOST_LEAF);
	}
	lost_flush(&ed->lost);
}

static void result_row(struct export_dump *ed)
{
	struct bcfmt_out *out = ed->d->out;
	uint64_t lost = 0, doubtful;

	for (int why = LOST_NOTHING; why < LOST_LEAF; why++)
		lost += ed->lost.sectors[why];
	doubtful = ed->lost.sectors[LOST_LEAF] + ed->lost.sectors[LOST_ORDER];
	bcfmt_row_begin(out, "export");
	bcfmt_row_u64(out, "inode", ed->volume.inode);
	if (ed->volume.entry)
		bcfmt_row_uuid(out, "uuid", ed->volume.entry->uuid);
	bcfmt_row_text(out, "output", ed->d->opt.output);
	bcfmt_row_u64(out, "sectors", ed->volume.sectors);
	bcfmt_row_u64(out, "from_cache_sectors", ed->copy.counts.dirty_sectors);
	if (ed->copy.counts.rescued_sectors)
		bcfmt_row_u64(out, "rescued_sectors", ed->copy.counts.rescued_sectors);
	bcfmt_row_u64(out, "lost_sectors", lost);
	bcfmt_row_u64(out, "doubtful_sectors", doubtful);
	bcfmt_row_end(out);
}

/* What the user should know besides the ranges. True when the volume is not whole. */
static bool tell_rest(const struct export_dump *ed)
{
	const char *name = dump_cache_name(ed->d);

	if (ed->outside_sectors)
		cli_error(name, "%" PRIu64 " dirty sectors lie outside the volume, left out",
			  ed->outside_sectors);
	if (ed->copy.counts.rescued_sectors && !ed->d->opt.is_quiet)
		cli_error(name,
			  "%" PRIu64 " sectors that the backing device cannot read were taken "
			  "from clean copies",
			  ed->copy.counts.rescued_sectors);
	if (ed->stranded_sectors && !ed->d->opt.is_quiet)
		cli_error(name,
			  "%" PRIu64 " dirty sectors belong to inodes without a live uuid "
			  "entry, the first is %" PRIu32 ": --device %" PRIu32 " exports it",
			  ed->stranded_sectors, ed->stranded_inode, ed->stranded_inode);
	return ed->outside_sectors || lost_is_any(&ed->lost) || ed->walk.is_damaged;
}

static bcfmt_err copy_out(struct export_dump *ed)
{
	const struct volume *volume = &ed->volume;
	bcfmt_err err = walk_settle(&ed->walk, count_dirty, forget_dirty, ed);

	/* A number that was mistyped must not give a copy of the backing device alone. */
	if (!err && !volume->entry && !ed->own_sectors && !ed->walk.is_damaged)
		err = bcfmt_fail(ed->d->ctx, BCFMT_E_ARG,
				 "inode %" PRIu32 " has no live uuid entry and no dirty data",
				 volume->inode);
	if (err)
		return err;
	walk_tell_gaps(&ed->walk);
	if (doubt_tell(&ed->walk, ed->report))
		ed->walk.is_damaged = true;
	doubt_twins(ed);
	err = bcfmt_leaf_cache_new(ed->walk.tree, 0, &ed->leaves);
	if (!err)
		err = volume_open(volume, ed->leaves, ed->losses, &ed->copy.volume);
	if (!err)
		err = copy_volume(&ed->copy);
	return err ? err : sink_commit(ed->sink);
}

static int export_volume(struct export_dump *ed)
{
	struct dump *d = ed->d;
	struct bcfmt_pos lo = { .sector = 0 }, hi = bcfmt_pos_max();
	bcfmt_err err;
	int code;

	code = volume_choose(d, &ed->volume);
	if (code)
		return code;
	lo.inode = hi.inode = ed->volume.inode;
	err = sink_open(d->ctx, d->opt.output, ed->volume.sectors * BCFMT_SECTOR_BYTES,
			d->devices.devs, d->devices.n, &ed->sink);
	if (!err)
		err = doubt_check(d, &ed->report, &ed->losses);
	if (err) {
		code = dump_failed(d, err);
		goto free_sink;
	}
	code = walk_open(&ed->walk, d, lo, hi, NULL, NULL);
	if (!code) {
		ed->copy.ctx = d->ctx;
		ed->copy.sink = ed->sink;
		ed->copy.lost = &ed->lost;
		err = copy_out(ed);
		code = err ? dump_failed(d, err) : DUMP_DONE;
	}
	if (!code) {
		if (!sink_is_stdout(ed->sink) && !d->opt.is_quiet)
			result_row(ed);
		code = tell_rest(ed) ? DUMP_DAMAGED : DUMP_DONE;
	}
	bcfmt_volume_free(ed->copy.volume);
	bcfmt_leaf_cache_free(ed->leaves);
	walk_close(&ed->walk);
free_sink:
	sink_free(ed->sink);
	bcfmt_report_free(ed->report);
	bcfmt_losses_free(ed->losses);
	return code;
}

int cmd_export(struct dump *d)
{
	struct export_dump ed = { .d = d, .lost = lost_init(d) };
	const struct bcfmt_dev *image = cli_devices_image(&d->devices);

	if (!image)
		return export_volume(&ed);
	cli_error(bcfmt_dev_name(image), "a metadata image holds no data: export needs the devices "
					 "themselves");
	return DUMP_USAGE;
}
