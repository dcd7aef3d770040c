/* SPDX-License-Identifier: GPL-2.0-or-later */
/* A real cache with changed metadata, read and checked. */
#include "fuzz/damage.h"

#include <bcfmt/check.h>
#include <bcfmt/render.h>

#include "fuzz/fuzz.h"

static FILE *nowhere;

static FILE *open_nowhere(void)
{
	FILE *stream = fopen("/dev/null", "w");

	assert(stream);
	return stream;
}

int LLVMFuzzerInitialize(int *argc, char ***argv)
{
	(void)argc;
	(void)argv;
	nowhere = open_nowhere();
	damage_init();
	return 0;
}

/* What export relies on: pieces in key order that do not overlap. */
static bcfmt_err order_of_extents(void *arg, const struct bcfmt_node_view *view,
				  const struct bcfmt_extent *extents, size_t n_extents)
{
	struct bcfmt_pos *end = arg;

	(void)view;
	for (size_t i = 0; i < n_extents; i++) {
		assert(extents[i].start_sector < extents[i].end_sector);
		assert(end->inode <= extents[i].inode);
		assert(end->inode < extents[i].inode || end->sector <= extents[i].start_sector);
		*end = (struct bcfmt_pos){ extents[i].inode, extents[i].end_sector };
	}
	return BCFMT_OK;
}

static void walk_in_order(struct bcfmt_set *set)
{
	struct bcfmt_pos lo = { 0, 0 };
	struct bcfmt_pos hi = { UINT32_MAX, INT64_MAX };
	struct bcfmt_pos end = lo;
	struct bcfmt_tree_visitor quiet = { 0 };
	struct bcfmt_tree_visitor ordered = { .arg = &end, .leaf = order_of_extents };
	struct bcfmt_tree *tree;
	bool again = false;

	assert(bcfmt_tree_open(set, &quiet, &tree) == BCFMT_OK);
	assert(bcfmt_tree_walk_leaves(tree, &quiet, &again) == BCFMT_OK);
	if (again)
		assert(bcfmt_tree_walk_leaves(tree, &quiet, &again) == BCFMT_OK && !again);
	assert(bcfmt_tree_range(tree, lo, hi, &ordered) == BCFMT_OK);
	bcfmt_tree_free(tree);
}

static void check(struct bcfmt_dev *overlay, enum bcfmt_check_level level)
{
	struct bcfmt_dev *devs[] = { overlay, backing };
	struct bcfmt_set_params set_params = { 0 };
	struct bcfmt_check_params params = { .level = level };
	struct bcfmt_verdict verdict = { 0 };
	struct bcfmt_report *report;
	struct bcfmt_set *set;
	struct bcfmt_out *out;
	bcfmt_err err;

	assert(bcfmt_report_new(ctx, &report) == BCFMT_OK);
	err = bcfmt_set_open(ctx, devs, 2, &set_params, &set);
	if (err == BCFMT_E_ARG) {
		/* Two caches, or two backing devices: a superblock can be made to say so. */
		bcfmt_ctx_fault_clear(ctx);
		bcfmt_report_free(report);
		return;
	}
	assert(err == BCFMT_OK);
	err = bcfmt_check_run(set, &params, report, &verdict, NULL, NULL);
	if (err != BCFMT_OK) {
		fprintf(stderr, "bcfmt_check_run: %s: %s\n", bcfmt_err_name(err),
			bcfmt_ctx_fault(ctx));
		abort();
	}
	bcfmt_report_finish(report);
	for (unsigned int flags = 0; flags <= BCFMT_OUT_JSON; flags += BCFMT_OUT_JSON) {
		assert(bcfmt_out_new(ctx, nowhere, flags, &out) == BCFMT_OK);
		bcfmt_render_report(out, report, true);
		bcfmt_render_verdict(out, set, &verdict);
		assert(bcfmt_out_close(out) == BCFMT_OK);
	}
	/* A bug of ours, a finding with wrong arguments, leaves a fault. */
	if (*bcfmt_ctx_fault(ctx) && strstr(bcfmt_ctx_fault(ctx), "argument")) {
		fprintf(stderr, "%s\n", bcfmt_ctx_fault(ctx));
		abort();
	}
	bcfmt_ctx_fault_clear(ctx);
	bcfmt_verdict_clear(&verdict);
	if (set->has_geometry)
		walk_in_order(set);
	bcfmt_set_free(set);
	bcfmt_report_free(report);
}

int LLVMFuzzerTestOneInput(const uint8_t *input, size_t input_bytes)
{
	struct bcfmt_dev *overlay = damaged_cache(&input, &input_bytes);

	check(overlay, input_bytes & 1 ? BCFMT_LEVEL_DATA : BCFMT_LEVEL_FULL);
	bcfmt_dev_free(overlay);
	return 0;
}
