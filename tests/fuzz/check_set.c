/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Everything that the library does with a set, and what comes of it. */
#include "fuzz/check_set.h"

#undef NDEBUG
#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <bcfmt/map.h>
#include <bcfmt/render.h>
#include <bcfmt/tree.h>

#include "fuzz/check_views.h"

struct walk {
	struct bcfmt_set *set;
	struct bcfmt_out *out; /* nowhere */
	struct bcfmt_pos end;  /* of the last extent in the order of keys */
	uint64_t sector;       /* of the last one in the order of places */
};

static FILE *nowhere(void)
{
	static FILE *stream;

	if (!stream)
		stream = fopen("/dev/null", "w");
	assert(stream);
	return stream;
}

static bcfmt_err show_node(void *arg, const struct bcfmt_node_view *view)
{
	struct walk *walk = arg;

	bcfmt_render_node_dump(walk->out, walk->set, view);
	return BCFMT_OK;
}

/* What export relies on: pieces in key order that do not overlap. */
static bcfmt_err follow_keys(void *arg, const struct bcfmt_node_view *view,
			     const struct bcfmt_extent *extents, size_t n_extents)
{
	struct walk *walk = arg;

	(void)view;
	for (size_t i = 0; i < n_extents; i++) {
		struct bcfmt_pos start = { extents[i].inode, extents[i].start_sector };

		assert(extents[i].start_sector < extents[i].end_sector);
		assert(extents[i].stale <= 128);
		assert(bcfmt_pos_cmp(walk->end, start) <= 0);
		walk->end = (struct bcfmt_pos){ extents[i].inode, extents[i].end_sector };
	}
	return BCFMT_OK;
}

static bcfmt_err follow_places(void *arg, const struct bcfmt_extent *extent, uint64_t leaf_ptr)
{
	struct walk *walk = arg;
	uint64_t sector = bcfmt_ptr_sector(extent->ptr);

	(void)leaf_ptr;
	assert(sector >= walk->sector);
	walk->sector = sector;
	return BCFMT_OK;
}

/* What looks at the set with this tree, when all walks are done. */
struct views {
	const struct bcfmt_report *report;
	const struct bcfmt_verdict *verdict;
	uint64_t *print;
};

/* views: NULL for none */
static bcfmt_err walk_tree(struct walk *walk, const struct views *views)
{
	struct bcfmt_pos lo = { 0, 0 };
	struct bcfmt_pos hi = { UINT32_MAX, INT64_MAX };
	struct bcfmt_tree_visitor show = { .arg = walk, .node = show_node };
	struct bcfmt_tree_visitor quiet = { 0 };
	struct bcfmt_tree_visitor ordered = { .arg = walk, .leaf = follow_keys };
	struct bcfmt_tree *tree;
	bool again = false;
	bcfmt_err err;

	err = bcfmt_tree_open(walk->set, &show, &tree);
	if (err)
		return err;
	err = bcfmt_tree_walk_leaves(tree, &quiet, &again);
	if (!err && again) {
		err = bcfmt_tree_walk_leaves(tree, &quiet, &again);
		assert(err || !again);
	}
	ordered.node = show_node;
	if (!err)
		err = bcfmt_tree_range(tree, lo, hi, &ordered);
	if (!err)
		err = bcfmt_tree_physical(tree, lo, hi, follow_places, walk);
	if (!err && views)
		err = check_views(walk->set, views->report, views->verdict, tree, views->print);
	bcfmt_tree_free(tree);
	return err;
}

static bcfmt_err render(struct bcfmt_ctx *ctx, FILE *stream, unsigned int flags,
			const struct bcfmt_set *set, const struct bcfmt_report *report,
			const struct bcfmt_verdict *verdict)
{
	struct bcfmt_out *out;
	bcfmt_err err = bcfmt_out_new(ctx, stream, flags, &out);

	if (err)
		return err;
	bcfmt_render_header(out, "fuzz", "check", set);
	if (set->has_cache)
		bcfmt_render_super(out, "cache", &set->cache.super);
	for (size_t i = 0; i < set->n_backing; i++)
		bcfmt_render_super(out, "backing", &set->backing[i].super);
	bcfmt_render_report(out, report, true);
	bcfmt_render_verdict(out, set, verdict);
	bcfmt_render_summary(out, report, 0);
	return bcfmt_out_close(out);
}

/* What is kept must not depend on who reads: the numbers of the work are not part of it. */
static bcfmt_err render_all(struct bcfmt_ctx *ctx, const struct bcfmt_set *set,
			    const struct bcfmt_report *report, const struct bcfmt_verdict *verdict,
			    struct checked *out)
{
	size_t json_bytes;
	FILE *stream;
	bcfmt_err err;

	err = render(ctx, nowhere(), BCFMT_OUT_COLOR, set, report, verdict);
	if (err)
		return err;
	stream = open_memstream(&out->json, &json_bytes);
	assert(stream);
	err = render(ctx, stream, BCFMT_OUT_JSON, set, report, verdict);
	assert(!fclose(stream));
	return err;
}

/* Every bucket is for one thing, and no more are marked than there are. */
static bcfmt_err draw(struct walk *walk)
{
	const struct bcfmt_map_total *totals;
	struct bcfmt_map *map;
	uint64_t sum = 0;
	bcfmt_err err = bcfmt_map_make(walk->set, &map);

	if (err)
		return err;
	totals = bcfmt_map_totals(map);
	for (unsigned int use = 0; use < BCFMT_MAP_DOUBTFUL; use++)
		sum += totals[use].buckets;
	assert(sum == walk->set->geo.nbuckets);
	assert(totals[BCFMT_MAP_DOUBTFUL].buckets + totals[BCFMT_MAP_DAMAGED].buckets <= sum);
	bcfmt_render_map(walk->out, map, 80, true);
	bcfmt_map_free(map);
	return BCFMT_OK;
}

static void keep_verdict(const struct bcfmt_verdict *verdict, struct checked *out)
{
	out->is_complete = verdict->is_complete;
	for (size_t i = 0; i < verdict->n_devices && i < CHECKED_DEVICES_MAX; i++) {
		const struct bcfmt_verdict_device *device = &verdict->devices[i];

		out->devices[out->n_devices++] = (struct checked_device){
			.inode = device->inode,
			.has_inode = device->has_inode,
			.certainty = device->certainty,
			.safe_alone = device->safe_alone,
			.dirty_bytes = device->dirty_bytes,
		};
	}
}

static bcfmt_err check(struct bcfmt_ctx *ctx, struct bcfmt_set *set, enum bcfmt_check_level level,
		       uint32_t page_bytes, bool with_views, struct checked *out)
{
	struct bcfmt_check_params params = { .level = level, .page_bytes = page_bytes };
	struct bcfmt_verdict verdict = { 0 };
	struct walk walk = { .set = set };
	struct views views = { .verdict = &verdict, .print = &out->print };
	struct bcfmt_report *report;
	bcfmt_err err;

	err = bcfmt_report_new(ctx, &report);
	if (err)
		return err;
	views.report = report;
	err = bcfmt_check_run(set, &params, report, &verdict, NULL, NULL);
	/* What was found until then can be shown all the same. */
	bcfmt_report_finish(report);
	if (!err)
		err = render_all(ctx, set, report, &verdict, out);
	if (!err)
		keep_verdict(&verdict, out);
	if (!err && set->has_geometry)
		err = bcfmt_out_new(ctx, nowhere(), 0, &walk.out);
	if (!err && set->has_geometry)
		err = walk_tree(&walk, with_views ? &views : NULL);
	if (!err && set->has_geometry)
		err = draw(&walk);
	if (walk.out && bcfmt_out_close(walk.out) && !err)
		err = BCFMT_E_NOMEM;
	bcfmt_verdict_clear(&verdict);
	bcfmt_report_free(report);
	return err;
}

void check_set(struct bcfmt_ctx *ctx, struct bcfmt_dev *const *devs, size_t n_devs,
	       enum bcfmt_check_level level, uint32_t page_bytes, bool with_views,
	       struct checked *out)
{
	struct bcfmt_set_params params = { .page_bytes = page_bytes };
	struct bcfmt_set *set;

	memset(out, 0, sizeof(*out));
	out->err = bcfmt_set_open(ctx, devs, n_devs, &params, &set);
	if (!out->err) {
		out->is_opened = true;
		out->err = check(ctx, set, level, page_bytes, with_views, out);
		bcfmt_set_free(set);
		/* A finding with wrong arguments is a fault of the library, and leaves this. */
		if (strstr(bcfmt_ctx_fault(ctx), "argument")) {
			fprintf(stderr, "%s\n", bcfmt_ctx_fault(ctx));
			abort();
		}
	}
	if (out->err) {
		/* Out of memory says enough by its name. */
		assert(*bcfmt_ctx_fault(ctx) || out->err == BCFMT_E_NOMEM);
		free(out->json);
		out->json = NULL;
	}
	bcfmt_ctx_fault_clear(ctx);
}

void checked_clear(struct checked *checked)
{
	free(checked->json);
	checked->json = NULL;
}

static const struct checked_device *same_device(const struct checked *checked, size_t i,
						const struct checked_device *device)
{
	for (size_t k = 0; k < checked->n_devices; k++)
		if (checked->devices[k].has_inode == device->has_inode &&
		    checked->devices[k].inode == device->inode && (device->has_inode || k == i))
			return &checked->devices[k];
	return NULL;
}

void assert_not_safer(const struct checked *less, const struct checked *whole)
{
	for (size_t i = 0; i < less->n_devices; i++) {
		const struct checked_device *device = &less->devices[i];
		const struct checked_device *same = same_device(whole, i, device);

		if (!same || !device->has_inode)
			continue;
		if (device->safe_alone == BCFMT_SAFE)
			assert(same->safe_alone == BCFMT_SAFE);
		if (device->certainty == BCFMT_EXACT && same->certainty == BCFMT_EXACT)
			assert(device->dirty_bytes == same->dirty_bytes);
	}
}
