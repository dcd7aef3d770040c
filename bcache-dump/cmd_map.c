/* SPDX-License-Identifier: GPL-2.0-or-later */
/* bcache-dump map: every bucket by what it is used for, as a picture, in letters, or as JSON. */
#include "dump.h"
#include "sink.h"

#include <inttypes.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <bcfmt/map.h>

#include "cli/progress.h"

#define COLUMNS_USUAL 80u

static unsigned int terminal_columns(void)
{
	struct winsize size;

	return !ioctl(STDOUT_FILENO, TIOCGWINSZ, &size) && size.ws_col ? size.ws_col
								       : COLUMNS_USUAL;
}

static bcfmt_err write_sink(void *arg, const void *bytes, size_t len_bytes)
{
	return sink_write(arg, bytes, len_bytes);
}

static void result_row(struct dump *d, const struct bcfmt_map *map)
{
	const struct bcfmt_map_total *totals = bcfmt_map_totals(map);
	struct bcfmt_out *out = d->out;

	bcfmt_row_begin(out, "map_file");
	bcfmt_row_text(out, "output", d->opt.output);
	bcfmt_row_u64(out, "buckets", d->set->geo.nbuckets);
	bcfmt_row_u64(out, "places", bcfmt_map_places(map));
	bcfmt_row_u64(out, "damaged", totals[BCFMT_MAP_DAMAGED].buckets);
	bcfmt_row_u64(out, "doubtful", totals[BCFMT_MAP_DOUBTFUL].buckets);
	bcfmt_row_end(out);
}

static bcfmt_err write_picture(struct dump *d, const struct bcfmt_map *map)
{
	struct sink *sink;
	bool is_stdout;
	bcfmt_err err;

	err = sink_open(d->ctx, d->opt.output, 0, d->devices.devs, d->devices.n, &sink);
	if (err)
		return err;
	err = bcfmt_map_png(map, write_sink, sink);
	if (!err)
		err = sink_commit(sink);
	is_stdout = sink_is_stdout(sink);
	sink_free(sink);
	if (!err && !is_stdout && !d->opt.is_quiet)
		result_row(d, map);
	return err;
}

/* True when there is anything to tell. */
static bool tell_marks(const struct dump *d, const struct bcfmt_map *map)
{
	const struct bcfmt_map_total *totals = bcfmt_map_totals(map);
	uint64_t damaged = totals[BCFMT_MAP_DAMAGED].buckets;
	uint64_t doubtful = totals[BCFMT_MAP_DOUBTFUL].buckets;
	bool is_partial = bcfmt_map_is_partial(map);

	if (!damaged && !doubtful && !is_partial)
		return false;
	if (!d->opt.is_quiet)
		cli_error(dump_cache_name(d),
			  "damaged buckets: %" PRIu64 ", doubtful: %" PRIu64
			  "%s; bcache-fsck -n names what is wrong",
			  damaged, doubtful, is_partial ? ", nodes are missing" : "");
	return true;
}

int cmd_map(struct dump *d)
{
	bool is_shown = d->opt.with_text || bcfmt_out_is_json(d->out);
	struct bcfmt_map *map;
	struct stat st;
	bcfmt_err err;
	int code = DUMP_DONE;

	if (d->opt.output && !stat(d->opt.output, &st) && S_ISBLK(st.st_mode)) {
		cli_error(d->opt.output, "is a block device, a picture is a file");
		return DUMP_USAGE;
	}
	err = bcfmt_map_make(d->set, &map);
	if (err)
		return dump_failed(d, err);
	cli_progress_clear();
	if (is_shown)
		bcfmt_render_map(d->out, map, terminal_columns(), !d->opt.output);
	if (d->opt.output)
		err = write_picture(d, map);
	if (err)
		code = dump_failed(d, err);
	else if (tell_marks(d, map))
		code = DUMP_DAMAGED;
	bcfmt_map_free(map);
	return code;
}
