/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What a set holds: where every sector of it lies, and what is wrong with it. */
#include "repair/task.h"

#include <bcfmt/crc64.h>
#include <bcfmt/tree.h>

struct print {
	struct bcfmt_extent run; /* extents that go on are one */
	uint64_t crc;
};

static void add_run(struct print *print)
{
	const struct bcfmt_extent *run = &print->run;
	uint64_t words[5] = { run->inode, run->start_sector, run->end_sector,
			      bcfmt_ptr_sector(run->ptr), run->is_dirty };

	if (run->end_sector)
		print->crc = bcfmt_crc64_seeded(print->crc, words, sizeof(words));
}

static bcfmt_err add_leaf(void *arg, const struct bcfmt_node_view *view,
			  const struct bcfmt_extent *extents, size_t n_extents)
{
	struct print *print = arg;
	struct bcfmt_extent *run = &print->run;

	(void)view;
	for (size_t i = 0; i < n_extents; i++) {
		const struct bcfmt_extent *extent = &extents[i];
		uint64_t sectors = run->end_sector - run->start_sector;

		if (extent->stale)
			continue;
		if (run->end_sector == extent->start_sector && run->inode == extent->inode &&
		    run->is_dirty == extent->is_dirty &&
		    bcfmt_ptr_sector(run->ptr) + sectors == bcfmt_ptr_sector(extent->ptr)) {
			run->end_sector = extent->end_sector;
			continue;
		}
		add_run(print);
		*run = *extent;
	}
	return BCFMT_OK;
}

bcfmt_err task_look(const struct task *task, struct bcfmt_dev *const *devs, uint64_t *crc,
		    uint64_t *left)
{
	struct bcfmt_tree_visitor visitor = { .leaf = add_leaf };
	struct bcfmt_tree_visitor nobody = { .arg = NULL };
	struct bcfmt_set_params params = { 0 };
	struct bcfmt_verdict verdict = { 0 };
	struct print print = { 0 };
	struct bcfmt_report *report = NULL;
	struct bcfmt_set *set = NULL;
	struct bcfmt_tree *tree = NULL;
	bool again;
	bcfmt_err err = bcfmt_set_open(task->ctx, devs, task->n, &params, &set);

	visitor.arg = &print;
	*left = 0;
	if (!err)
		err = bcfmt_report_new(task->ctx, &report);
	if (!err)
		err = bcfmt_check_run(set, &task->params.check, report, &verdict, NULL, NULL);
	if (!err)
		err = bcfmt_tree_open(set, &nobody, &tree);
	if (!err)
		err = bcfmt_tree_walk_leaves(tree, &nobody, &again);
	if (!err)
		err = bcfmt_tree_range(tree, (struct bcfmt_pos){ 0, 0 }, bcfmt_pos_max(), &visitor);
	if (!err) {
		bcfmt_report_finish(report);
		for (int severity = BCFMT_SEV_WASTE; severity <= BCFMT_SEV_FATAL; severity++)
			*left += bcfmt_report_severity_total(report, (enum bcfmt_severity)severity);
		add_run(&print);
	}
	*crc = print.crc;
	bcfmt_tree_free(tree);
	bcfmt_verdict_clear(&verdict);
	bcfmt_report_free(report);
	bcfmt_set_free(set);
	return err;
}
