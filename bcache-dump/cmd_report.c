/* SPDX-License-Identifier: GPL-2.0-or-later */
/* bcache-dump report: what a check finds, and what it was found in, in one file to send or to read. */
#include "bad_nodes.h"
#include "bundle.h"
#include "dump.h"

#include <blkid/blkid.h>
#include <inttypes.h>
#include <jansson.h>
#include <png.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/utsname.h>
#include <time.h>
#include <unistd.h>
#include <zlib.h>

#include "cli/image.h"
#include "cli/progress.h"

#define FOLDER "bcache-report"
#define IMAGE_NAME "set.bci"
#define MAP_COLUMNS 100u
#define VERSIONS_MAX 12u

struct report {
	struct dump *d;
	struct bundle *bundle;
	FILE *image;
	struct bcfmt_image_stats stats;
	/*
	 * What all the rest tells of: the devices, read again; of a scrubbed report the image, so that
	 * nothing of the devices can get into it.
	 */
	struct cli_devices scrubbed;
	struct bcfmt_set *set;
	struct bcfmt_report *findings;
	struct bcfmt_verdict verdict;
	struct bcfmt_map *map; /* NULL: no cache with known sizes */
	struct bad_nodes nodes;
	struct bcfmt_page_row versions[VERSIONS_MAX];
	size_t n_versions;
	struct utsname system;
	char blkid_version[32];
	char made[32];
};

/* The files in the order in which they are packed. */
static const struct bcfmt_page_row files[] = {
	{ "index.html", "this page" },
	{ "findings.txt", "findings with what they mean, and the verdict" },
	{ "findings.json", "the same for programs, JSON Lines" },
	{ "verdict.txt", "what the cache holds for each device, and who may run alone" },
	{ "superblocks.txt", "all fields of all superblocks" },
	{ "superblocks.json", "the same for programs" },
	{ "journal.txt", "the entries of the journal" },
	{ "journal.json", "the same for programs" },
	{ "nodes.txt", "damaged nodes in full" },
	{ "map.png", "the bucket map" },
	{ "map.txt", "the same in letters" },
	{ "map.json", "the same for programs" },
	{ "geometry.txt", "sizes of buckets, blocks and nodes" },
	{ "geometry.json", "the same for programs" },
	{ "versions.txt", "kernel and libraries of the machine that made the report" },
	{ "versions.json", "the same for programs" },
	{ IMAGE_NAME, "all metadata, for bcache-fsck and bcache-dump" },
};

/* ---- what it is made of ---- */

static bcfmt_err write_stream(void *arg, const void *bytes, size_t len_bytes)
{
	return fwrite(bytes, 1, len_bytes, arg) == len_bytes ? BCFMT_OK : BCFMT_E_IO;
}

static bcfmt_err make_image(struct report *r)
{
	struct bcfmt_image_params params = { .is_scrubbed = r->d->opt.is_scrubbed,
					     .scan = r->d->opt.scan };
	bcfmt_err err = bundle_stream(r->bundle, &r->image);

	if (!err)
		err = bcfmt_image_make(r->d->set, &params, write_stream, r->image, &r->stats);
	if (!err && fflush(r->image))
		err = BCFMT_E_IO;
	return err == BCFMT_E_IO
		       ? bcfmt_fail(r->d->ctx, err, "cannot write the image to a temporary file")
		       : err;
}

static bcfmt_err open_scrubbed(struct report *r)
{
	struct bcfmt_dev *dev;
	bcfmt_err err;

	if (lseek(fileno(r->image), 0, SEEK_SET))
		return bcfmt_fail(r->d->ctx, BCFMT_E_IO, "cannot read a temporary file");
	err = bcfmt_dev_spool(r->d->ctx, IMAGE_NAME, fileno(r->image), &dev);
	return err ? err : cli_image_add(r->d->ctx, dev, BCFMT_ROLE_AUTO, &r->scrubbed);
}

static bcfmt_err open_set(struct report *r)
{
	const struct cli_devices *devices = &r->d->devices;
	struct bcfmt_set_params params = { .incarnation_seq = r->d->opt.incarnation_seq };
	bcfmt_err err = BCFMT_OK;

	if (r->d->opt.is_scrubbed) {
		err = open_scrubbed(r);
		devices = &r->scrubbed;
	}
	params.roles = devices->roles;
	return err ? err : bcfmt_set_open(r->d->ctx, devices->devs, devices->n, &params, &r->set);
}

static bcfmt_err examine(struct report *r)
{
	struct bcfmt_check_params params = { .level = BCFMT_LEVEL_FULL };
	bcfmt_err err = bcfmt_report_new(r->d->ctx, &r->findings);

	if (!err)
		err = bcfmt_check_run(r->set, &params, r->findings, &r->verdict, NULL, NULL);
	if (err)
		return err;
	bcfmt_report_finish(r->findings);
	return r->set->has_geometry ? bcfmt_map_make(r->set, &r->map) : BCFMT_OK;
}

static void add_version(struct report *r, const char *name, const char *value)
{
	if (r->n_versions < VERSIONS_MAX)
		r->versions[r->n_versions++] = (struct bcfmt_page_row){ name, value };
}

/* The name of the host is nobody's business. */
static void collect_versions(struct report *r)
{
	const char *version = NULL;
	time_t now = (time_t)bundle_time(r->bundle);
	struct tm tm;

	if (gmtime_r(&now, &tm) && strftime(r->made, sizeof(r->made), "%Y-%m-%d %H:%M UTC", &tm))
		add_version(r, "made", r->made);
	if (!uname(&r->system)) {
		add_version(r, "system", r->system.sysname);
		add_version(r, "kernel", r->system.release);
		add_version(r, "kernel_build", r->system.version);
		add_version(r, "machine", r->system.machine);
	}
	add_version(r, "libbcfmt", bcfmt_version());
	add_version(r, "zlib", zlibVersion());
	add_version(r, "libpng", png_get_libpng_ver(NULL));
	add_version(r, "jansson", jansson_version_str());
	if (blkid_get_library_version(&version, NULL) && version)
		snprintf(r->blkid_version, sizeof(r->blkid_version), "%s", version);
	add_version(r, "libblkid", r->blkid_version);
}

/* ---- files ---- */

typedef bcfmt_err (*print_fn)(struct report *r, struct bcfmt_out *out);

static bcfmt_err print_findings(struct report *r, struct bcfmt_out *out)
{
	bcfmt_render_report(out, r->findings, true);
	bcfmt_render_verdict(out, r->set, &r->verdict);
	return BCFMT_OK;
}

static bcfmt_err print_verdict(struct report *r, struct bcfmt_out *out)
{
	bcfmt_render_verdict(out, r->set, &r->verdict);
	return BCFMT_OK;
}

static void print_super(struct bcfmt_out *out, const struct bcfmt_member *member)
{
	const char *name = bcfmt_dev_name(member->dev);

	bcfmt_out_line(out, "device\t\t\t%s", name);
	if (member->is_readable)
		bcfmt_render_super(out, name, &member->super);
	else
		bcfmt_out_line(out, "the superblock cannot be read");
	bcfmt_out_line(out, "%s", "");
}

static bcfmt_err print_supers(struct report *r, struct bcfmt_out *out)
{
	if (r->set->has_cache)
		print_super(out, &r->set->cache);
	for (size_t i = 0; i < r->set->n_backing; i++)
		print_super(out, &r->set->backing[i]);
	return BCFMT_OK;
}

static bcfmt_err print_journal(struct report *r, struct bcfmt_out *out)
{
	struct dump view = *r->d;

	view.set = r->set;
	view.out = out;
	return r->set->has_geometry ? journal_rows(&view) : BCFMT_OK;
}

static bcfmt_err print_map(struct report *r, struct bcfmt_out *out)
{
	bcfmt_render_map(out, r->map, MAP_COLUMNS, true);
	return BCFMT_OK;
}

static bcfmt_err print_geometry(struct report *r, struct bcfmt_out *out)
{
	const struct bcfmt_geometry *geo = &r->set->geo;

	if (!r->set->has_geometry)
		return BCFMT_OK;
	bcfmt_row_begin(out, "geometry");
	bcfmt_row_u64(out, "buckets", geo->nbuckets);
	bcfmt_row_u64(out, "first_bucket", geo->first_bucket);
	bcfmt_row_u64(out, "bucket_sectors", geo->bucket_sectors);
	bcfmt_row_u64(out, "block_sectors", geo->block_sectors);
	bcfmt_row_u64(out, "node_sectors", geo->node_sectors);
	bcfmt_row_u64(out, "journal_buckets", geo->journal_buckets);
	bcfmt_row_u64(out, "device_sectors", geo->dev_sectors);
	bcfmt_row_u64(out, "page_bytes", geo->page_bytes);
	bcfmt_row_u64(out, "uuid_slots", geo->nr_uuids);
	bcfmt_row_u64(out, "prios_per_bucket", geo->prios_per_bucket);
	bcfmt_row_end(out);
	return BCFMT_OK;
}

static bcfmt_err print_versions(struct report *r, struct bcfmt_out *out)
{
	bcfmt_row_begin(out, "versions");
	for (size_t i = 0; i < r->n_versions; i++)
		bcfmt_row_text(out, r->versions[i].name, r->versions[i].value);
	bcfmt_row_end(out);
	return BCFMT_OK;
}

/* A file that the library prints: text, or JSON Lines with their first and last object. */
static bcfmt_err add_printed(struct report *r, const char *name, print_fn print)
{
	const char *dot = strrchr(name, '.');
	unsigned int flags = dot && !strcmp(dot, ".json") ? BCFMT_OUT_JSON : 0;
	struct bcfmt_out *out = NULL;
	FILE *stream;
	bcfmt_err err = bundle_stream(r->bundle, &stream), close_err;

	if (!err)
		err = bcfmt_out_new(r->d->ctx, stream, flags, &out);
	if (!err) {
		bcfmt_render_header(out, "bcache-dump", "report", r->set);
		err = print(r, out);
		bcfmt_render_summary(out, r->findings, DUMP_DONE);
		close_err = bcfmt_out_close(out);
		err = err ? err : close_err;
	}
	if (!err)
		err = bundle_add(r->bundle, name, stream);
	if (stream)
		fclose(stream);
	return err;
}

static bcfmt_err add_nodes(struct report *r, FILE *stream)
{
	if (!r->set->has_geometry) {
		fputs("there is no cache of which the sizes are known\n", stream);
		return BCFMT_OK;
	}
	return bad_nodes_dump(r->set, r->findings, stream, &r->nodes);
}

static bcfmt_err add_picture(struct report *r, FILE *stream)
{
	return bcfmt_map_png(r->map, write_stream, stream);
}

static bool is_of_map(const char *name)
{
	return !strncmp(name, "map.", 4);
}

static bcfmt_err add_page(struct report *r, FILE *stream)
{
	struct bcfmt_page_row rows[sizeof(files) / sizeof(files[0])];
	struct bcfmt_page page = {
		.set = r->set,
		.report = r->findings,
		.verdict = &r->verdict,
		.map = r->map,
		.nodes = r->nodes.nodes,
		.n_nodes = r->nodes.n_nodes,
		.all_nodes = r->nodes.all,
		.versions = r->versions,
		.n_versions = r->n_versions,
		.files = rows,
		.is_scrubbed = r->d->opt.is_scrubbed,
	};

	for (size_t i = 0; i < sizeof(files) / sizeof(files[0]); i++)
		if (r->map || !is_of_map(files[i].name))
			rows[page.n_files++] = files[i];
	return bcfmt_render_page(r->d->ctx, stream, &page);
}

/* A file that is made here. */
static bcfmt_err add_made(struct report *r, const char *name,
			  bcfmt_err (*make)(struct report *r, FILE *stream))
{
	FILE *stream;
	bcfmt_err err = bundle_stream(r->bundle, &stream);

	if (!err)
		err = make(r, stream);
	if (!err)
		err = bundle_add(r->bundle, name, stream);
	if (stream)
		fclose(stream);
	return err;
}

static bcfmt_err add_files(struct report *r)
{
	static const struct {
		const char *name;
		print_fn print;
	} printed[] = {
		{ "findings.txt", print_findings },
		{ "findings.json", print_findings },
		{ "verdict.txt", print_verdict },
		{ "superblocks.txt", print_supers },
		{ "superblocks.json", print_supers },
		{ "journal.txt", print_journal },
		{ "journal.json", print_journal },
		{ "map.txt", print_map },
		{ "map.json", print_map },
		{ "geometry.txt", print_geometry },
		{ "geometry.json", print_geometry },
		{ "versions.txt", print_versions },
		{ "versions.json", print_versions },
	};
	/* The page shows nodes: they come before it. */
	bcfmt_err err = add_made(r, "nodes.txt", add_nodes);

	if (!err)
		err = add_made(r, "index.html", add_page);
	for (size_t i = 0; !err && i < sizeof(printed) / sizeof(printed[0]); i++)
		if (r->map || !is_of_map(printed[i].name))
			err = add_printed(r, printed[i].name, printed[i].print);
	if (!err && r->map)
		err = add_made(r, "map.png", add_picture);
	return err ? err : bundle_add(r->bundle, IMAGE_NAME, r->image);
}

/* ---- the command ---- */

static bcfmt_err make_report(struct report *r)
{
	bcfmt_err err = make_image(r);

	if (!err)
		err = open_set(r);
	if (!err)
		err = examine(r);
	collect_versions(r);
	if (!err)
		err = add_files(r);
	return err ? err : bundle_commit(r->bundle);
}

static void result_row(const struct report *r)
{
	struct bcfmt_out *out = r->d->out;
	uint64_t problems = 0;

	for (int severity = BCFMT_SEV_WASTE; severity <= BCFMT_SEV_FATAL; severity++)
		problems += bcfmt_report_severity_total(r->findings, (enum bcfmt_severity)severity);
	bcfmt_row_begin(out, "report");
	bcfmt_row_text(out, "output", r->d->opt.output);
	bcfmt_row_u64(out, "report_bytes", bundle_bytes(r->bundle));
	bcfmt_row_u64(out, "image_bytes", r->stats.image_bytes);
	bcfmt_row_u64(out, "problems", problems);
	bcfmt_row_u64(out, "damaged_nodes", r->nodes.all);
	bcfmt_row_bool(out, "scrubbed", r->d->opt.is_scrubbed);
	bcfmt_row_end(out);
}

/* The image says so itself; here of what was read after it was made. */
static bool tell_unreadable(const struct report *r)
{
	uint64_t n = r->nodes.unreadable + (r->map ? bcfmt_map_unreadable(r->map) : 0);

	/* It was there when the ring was searched. */
	n += r->set->has_geometry && r->set->journal.has_entries && !r->set->has_newest;
	for (size_t i = 0; i < bcfmt_report_count(r->findings); i++)
		n += strstr(bcfmt_report_at(r->findings, i)->problem->slug, "unreadable") != NULL;
	if (n)
		cli_error(NULL, "not all of the set could be read; findings.txt says what");
	return n != 0;
}

static void clear(struct report *r)
{
	bundle_free(r->bundle);
	if (r->image)
		fclose(r->image);
	bad_nodes_clear(&r->nodes);
	bcfmt_map_free(r->map);
	bcfmt_verdict_clear(&r->verdict);
	bcfmt_report_free(r->findings);
	bcfmt_set_free(r->set);
	cli_devices_close(&r->scrubbed);
}

int cmd_report(struct dump *d)
{
	struct report r = { .d = d };
	struct stat st;
	bcfmt_err err;
	int code;

	if (!stat(d->opt.output, &st) && S_ISBLK(st.st_mode)) {
		cli_error(d->opt.output, "is a block device, a report is a file");
		return DUMP_USAGE;
	}
	err = bundle_open(d->ctx, d->opt.output, FOLDER, d->devices.devs, d->devices.n, &r.bundle);
	if (!err)
		err = make_report(&r);
	cli_progress_clear();
	code = err ? dump_failed(d, err) : DUMP_DONE;
	if (!code) {
		if (!bundle_is_stdout(r.bundle) && !d->opt.is_quiet)
			result_row(&r);
		code = image_tell_rest(d, &r.stats) ? DUMP_DAMAGED : DUMP_DONE;
		if (tell_unreadable(&r))
			code = DUMP_DAMAGED;
	}
	clear(&r);
	return code;
}
