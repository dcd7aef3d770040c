/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Judges the picture that bcache-dump map made of a set: every square has the colour of what the
 * map says, at the place where Hilbert's curve has it; and every bucket that a finding of a full
 * check names, and that is worse than waste, is marked.
 *
 * map-judge PICTURE [--bad-map FILE]... [--cache|--backing] DEVICE...
 *
 * Prints what is wrong, then "KEY BUCKETS" for each use.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <png.h>

#include <bcfmt/check.h>
#include <bcfmt/map.h>

#include "cli/message.h"
#include "cli/open.h"

#define DEVICES_MAX 16u
#define WRONG_TOLD 10u

struct judge {
	const char *paths[DEVICES_MAX];
	enum bcfmt_role roles[DEVICES_MAX];
	const char *maps[DEVICES_MAX];
	size_t n_paths;
	size_t n_maps;
	struct bcfmt_ctx *ctx;
	struct cli_devices devices;
	struct bcfmt_set *set;
	struct bcfmt_map *map;
	uint8_t *rgb;
	uint32_t width;
	uint32_t height;
	unsigned int wrong;
};

#define WRONG(j, ...)                          \
	do {                                   \
		if ((j)->wrong++ < WRONG_TOLD) \
			printf(__VA_ARGS__);   \
	} while (0)

static uint32_t pixel(const struct judge *j, uint32_t x, uint32_t y)
{
	const uint8_t *at = j->rgb + 3 * ((size_t)y * j->width + x);

	if (x >= j->width || y >= j->height)
		return UINT32_MAX;
	return (uint32_t)at[0] << 16 | (uint32_t)at[1] << 8 | at[2];
}

static bool read_picture(struct judge *j, const char *path)
{
	png_image image = { .version = PNG_IMAGE_VERSION };

	if (!png_image_begin_read_from_file(&image, path))
		return false;
	image.format = PNG_FORMAT_RGB;
	j->width = image.width;
	j->height = image.height;
	j->rgb = malloc(PNG_IMAGE_SIZE(image));
	return j->rgb && png_image_finish_read(&image, NULL, j->rgb, 0, NULL);
}

/* What the corner and the middle of a square have to be. */
static void judge_square(struct judge *j, uint32_t place, uint32_t x, uint32_t y, uint32_t side)
{
	struct bcfmt_map_place at = bcfmt_map_place(j->map, place);
	uint32_t edge = pixel(j, x + side / 2, y), middle = pixel(j, x + side / 2, y + side / 2);
	uint32_t want = bcfmt_map_color(at.shows);

	if (edge != want)
		WRONG(j, "place %u at %u,%u is %06x, not %06x\n", place, x, y, edge, want);
	if (side < 7 || at.shows < BCFMT_MAP_DOUBTFUL)
		return;
	want = at.shows == BCFMT_MAP_DOUBTFUL ? bcfmt_map_color(at.base) : 0xffffff;
	if (middle != want)
		WRONG(j, "the mark of place %u is %06x, not %06x\n", place, middle, want);
}

/* The four parts of a square in the order of the curve, by the vectors along and across it. */
struct turtle {
	struct judge *j;
	uint32_t place;
	uint32_t side;
	int64_t x0, y0;
};

static void hilbert(struct turtle *t, int64_t x, int64_t y, int64_t ax, int64_t ay, int64_t bx,
		    int64_t by)
{
	uint32_t px, py, side;

	if (t->place == bcfmt_map_places(t->j->map))
		return;
	if (ax + ay == 1 || ax + ay == -1) {
		int64_t cx = x + (ax < 0 || bx < 0 ? -1 : 0), cy = y + (ay < 0 || by < 0 ? -1 : 0);

		bcfmt_map_square(t->j->map, t->place, &px, &py, &side);
		if (px != t->x0 + cx * t->side || py != t->y0 + cy * t->side)
			WRONG(t->j, "place %u is at %u,%u, not %lld,%lld\n", t->place, px, py,
			      (long long)(t->x0 + cx * t->side), (long long)(t->y0 + cy * t->side));
		judge_square(t->j, t->place, px, py, side);
		t->place++;
		return;
	}
	ax /= 2, ay /= 2, bx /= 2, by /= 2;
	hilbert(t, x, y, bx, by, ax, ay);
	hilbert(t, x + ax, y + ay, ax, ay, bx, by);
	hilbert(t, x + ax + bx, y + ay + by, ax, ay, bx, by);
	hilbert(t, x + ax + 2 * bx, y + ay + 2 * by, -bx, -by, -ax, -ay);
}

static void judge_picture(struct judge *j)
{
	struct turtle t = { .j = j };
	uint32_t x, y, side, order = 0;

	while (1u << 2 * order < bcfmt_map_places(j->map))
		order++;
	t.side = 1024u >> order < 32 ? 1024u >> order : 32;
	bcfmt_map_square(j->map, 0, &x, &y, &side);
	t.x0 = x;
	t.y0 = y;
	hilbert(&t, 0, 0, 1 << order, 0, 0, 1 << order);
}

static uint32_t place_of(const struct judge *j, uint64_t bucket)
{
	uint32_t place = (uint32_t)(bucket * bcfmt_map_places(j->map) / j->set->geo.nbuckets);

	while (bcfmt_map_place_bucket(j->map, place + 1) <= bucket)
		place++;
	return place;
}

/* It says of a bucket what the map cannot show: what a kernel would do, how a number came about. */
static bool is_of_no_bucket(enum bcfmt_problem_id id)
{
	switch (id) {
	/* Whole entries, in a ring that a kernel searches badly. */
	case BCFMT_P_JOURNAL_KERNEL_MISSES:
	case BCFMT_P_JOURNAL_SEARCH_HOLE:
	case BCFMT_P_JOURNAL_FULL:
	/* Entries that are not there: all data is doubtful then, not the newest entry. */
	case BCFMT_P_JOURNAL_GAP:
	case BCFMT_P_JOURNAL_GAP_DISCARD:
	case BCFMT_P_JOURNAL_BAD_WINDOW:
	case BCFMT_P_JOURNAL_EMPTY:
	case BCFMT_P_SET_BIG_ENDIAN:
	/* Of the slot of a table, which is as it was written. */
	case BCFMT_P_UUID_IMPLAUSIBLE:
	case BCFMT_P_UUID_VOLUME_EMPTY:
	case BCFMT_P_UUID_VOLUME_LARGE:
	case BCFMT_P_UUID_DUPLICATE:
	/* Older ones that stand in, and are whole. */
	case BCFMT_P_PRIO_OLDER:
	case BCFMT_P_UUIDS_OLDER:
	case BCFMT_P_PRIO_OTHER_PAGES:
	/* Data where the device it is of has no place for it; the bucket has. */
	case BCFMT_P_EXTENT_PAST_DEVICE:
	case BCFMT_P_EXTENT_BEFORE_DATA:
		return true;
	default:
		return false;
	}
}

static bcfmt_err judge_findings(struct judge *j)
{
	struct bcfmt_check_params params = { .level = BCFMT_LEVEL_FULL };
	struct bcfmt_verdict verdict = { 0 };
	struct bcfmt_report *report = NULL;
	bcfmt_err err = bcfmt_report_new(j->ctx, &report);

	if (!err)
		err = bcfmt_check_run(j->set, &params, report, &verdict, NULL, NULL);
	if (!err)
		bcfmt_report_finish(report);
	for (size_t i = 0; !err && i < bcfmt_report_count(report); i++) {
		const struct bcfmt_finding *finding = bcfmt_report_at(report, i);
		uint64_t bucket = finding->where.bucket;

		if (finding->problem->severity < BCFMT_SEV_ERROR ||
		    bucket >= j->set->geo.nbuckets || is_of_no_bucket(finding->problem->id) ||
		    finding->where.device != bcfmt_dev_name(j->set->cache.dev))
			continue;
		if (bcfmt_map_place(j->map, place_of(j, bucket)).shows < BCFMT_MAP_DOUBTFUL)
			WRONG(j, "bucket %llu is not marked: BC%04d %s\n",
			      (unsigned long long)bucket, (int)finding->problem->id,
			      finding->problem->slug);
	}
	/* And nothing is where there is nothing to tell. */
	if (!err && !bcfmt_report_severity_total(report, BCFMT_SEV_ERROR) &&
	    !bcfmt_report_severity_total(report, BCFMT_SEV_DATA_LOSS) &&
	    !bcfmt_report_severity_total(report, BCFMT_SEV_FATAL))
		for (unsigned int use = BCFMT_MAP_DOUBTFUL; use <= BCFMT_MAP_DAMAGED; use++)
			if (bcfmt_map_totals(j->map)[use].buckets)
				WRONG(j, "%llu buckets are %s, and the check finds nothing\n",
				      (unsigned long long)bcfmt_map_totals(j->map)[use].buckets,
				      bcfmt_map_use_name((enum bcfmt_map_use)use));
	bcfmt_verdict_clear(&verdict);
	bcfmt_report_free(report);
	return err;
}

static void judge_totals(struct judge *j)
{
	const struct bcfmt_map_total *totals = bcfmt_map_totals(j->map);
	uint64_t sum = 0;

	for (unsigned int use = 0; use < BCFMT_MAP_DOUBTFUL; use++)
		sum += totals[use].buckets;
	if (sum != j->set->geo.nbuckets)
		WRONG(j, "the totals add up to %llu of %llu buckets\n", (unsigned long long)sum,
		      (unsigned long long)j->set->geo.nbuckets);
	for (unsigned int use = 0; use < BCFMT_MAP_USES; use++)
		printf("%s: %llu\n", bcfmt_map_use_name((enum bcfmt_map_use)use),
		       (unsigned long long)totals[use].buckets);
}

static bcfmt_err judge(struct judge *j)
{
	struct cli_open_params open_params = {
		.paths = j->paths,
		.n_paths = j->n_paths,
		.bad_maps = j->maps,
		.n_bad_maps = j->n_maps,
		.roles = j->roles,
	};
	struct bcfmt_set_params params = { 0 };
	bcfmt_err err = cli_devices_open(j->ctx, &open_params, &j->devices);

	params.roles = j->devices.roles;
	if (!err)
		err = bcfmt_set_open(j->ctx, j->devices.devs, j->devices.n, &params, &j->set);
	if (!err)
		err = bcfmt_map_make(j->set, &j->map);
	if (err)
		return err;
	judge_picture(j);
	judge_totals(j);
	return judge_findings(j);
}

int main(int argc, char **argv)
{
	struct bcfmt_ctx_params params = { .threads = 1 };
	struct judge j = { 0 };
	bcfmt_err err;

	for (int i = 2; i < argc && j.n_paths < DEVICES_MAX && j.n_maps < DEVICES_MAX; i++) {
		if (!strcmp(argv[i], "--bad-map") && i + 1 < argc)
			j.maps[j.n_maps++] = argv[++i];
		else if (!strcmp(argv[i], "--cache"))
			j.roles[j.n_paths] = BCFMT_ROLE_CACHE;
		else if (!strcmp(argv[i], "--backing"))
			j.roles[j.n_paths] = BCFMT_ROLE_BACKING;
		else
			j.paths[j.n_paths++] = argv[i];
	}
	if (!j.n_paths || bcfmt_ctx_new(&params, &j.ctx)) {
		fprintf(stderr, "usage: map-judge PICTURE [--bad-map FILE]... DEVICE...\n");
		return 2;
	}
	if (!read_picture(&j, argv[1])) {
		fprintf(stderr, "map-judge: %s: no picture\n", argv[1]);
		return 2;
	}
	err = judge(&j);
	if (err)
		fprintf(stderr, "map-judge: %s: %s\n", bcfmt_err_name(err), bcfmt_ctx_fault(j.ctx));
	bcfmt_map_free(j.map);
	bcfmt_set_free(j.set);
	cli_devices_close(&j.devices);
	bcfmt_ctx_free(j.ctx);
	free(j.rgb);
	return err ? 2 : j.wrong != 0;
}
