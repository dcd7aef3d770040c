/* SPDX-License-Identifier: GPL-2.0-or-later */
/* bcache-dump image: all metadata of a set in one file, without the data. */
#include "dump.h"
#include "sink.h"

#include <inttypes.h>
#include <sys/stat.h>

static bcfmt_err write_sink(void *arg, const void *bytes, size_t len_bytes)
{
	return sink_write(arg, bytes, len_bytes);
}

static void result_row(struct dump *d, const struct bcfmt_image_stats *stats)
{
	struct bcfmt_out *out = d->out;

	bcfmt_row_begin(out, "image");
	bcfmt_row_text(out, "output", d->opt.output);
	bcfmt_row_u64(out, "image_bytes", stats->image_bytes);
	bcfmt_row_u64(out, "metadata_bytes", stats->content_bytes);
	bcfmt_row_u64(out, "journal_entries", stats->journal_entries);
	bcfmt_row_u64(out, "nodes", stats->nodes);
	bcfmt_row_u64(out, "found_bsets", stats->found_bsets);
	bcfmt_row_u64(out, "prio_sets", stats->found_prios);
	bcfmt_row_u64(out, "uuid_tables", stats->uuid_tables);
	if (stats->hole_sectors)
		bcfmt_row_u64(out, "unreadable_sectors", stats->hole_sectors);
	if (stats->withheld)
		bcfmt_row_u64(out, "withheld", stats->withheld);
	bcfmt_row_bool(out, "scrubbed", d->opt.is_scrubbed);
	bcfmt_row_end(out);
}

bool image_tell_rest(const struct dump *d, const struct bcfmt_image_stats *stats)
{
	const struct bcfmt_set *set = d->set;
	const char *name = set->has_cache ? dump_cache_name(d) : NULL;

	if (!set->has_cache)
		cli_error(NULL,
			  "none of the devices is a cache: only superblocks are in the image");
	else if (!set->has_geometry)
		cli_error(name, "the superblock cannot be used: only superblocks are in the image");
	if (stats->hole_sectors)
		cli_error(NULL, "%" PRIu64 " sectors cannot be read; the image says which",
			  stats->hole_sectors);
	if (stats->withheld && !d->opt.is_quiet)
		cli_error(name,
			  "in %" PRIu64
			  " places metadata should be and something else is: left out",
			  stats->withheld);
	return (set->has_cache && !set->has_geometry) || stats->hole_sectors;
}

int cmd_image(struct dump *d)
{
	struct bcfmt_image_params params = { .is_scrubbed = d->opt.is_scrubbed,
					     .scan = d->opt.scan };
	struct bcfmt_image_stats stats;
	struct sink *sink;
	struct stat st;
	bcfmt_err err;
	int code;

	if (!stat(d->opt.output, &st) && S_ISBLK(st.st_mode)) {
		cli_error(d->opt.output, "is a block device, an image is a file");
		return DUMP_USAGE;
	}
	err = sink_open(d->ctx, d->opt.output, 0, d->devices.devs, d->devices.n, &sink);
	if (err)
		return dump_failed(d, err);
	err = bcfmt_image_make(d->set, &params, write_sink, sink, &stats);
	if (!err)
		err = sink_commit(sink);
	code = err ? dump_failed(d, err) : DUMP_DONE;
	if (!code) {
		if (!sink_is_stdout(sink) && !d->opt.is_quiet)
			result_row(d, &stats);
		code = image_tell_rest(d, &stats) ? DUMP_DAMAGED : DUMP_DONE;
	}
	sink_free(sink);
	return code;
}
