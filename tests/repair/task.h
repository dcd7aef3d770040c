/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What is done to a set while the power is cut, and what a set holds. */
#ifndef TESTS_REPAIR_TASK_H
#define TESTS_REPAIR_TASK_H

#include <bcfmt/repair.h>

#define DEVICES_MAX 8u

enum task_kind {
	TASK_REPAIR,	/* -y */
	TASK_ADOPT,	/* -y --adopt auto */
	TASK_WRITEBACK, /* -y --writeback, with marks now and then */
	TASK_DETACH,	/* -y --writeback --detach */
};

struct task {
	struct bcfmt_ctx *ctx;
	enum task_kind kind;
	size_t n; /* devices */
	struct bcfmt_repair_params params;
};

/* By its name, "repair" and so on. */
bool task_parse(const char *name, enum task_kind *kind);
/* Does it. What is overwritten is saved to undo unless that is NULL. */
bcfmt_err task_run(const struct task *task, struct bcfmt_dev *const *devs, struct bcfmt_undo *undo);

/* Checksum of the place of every sector, and the number of findings worse than notes. */
bcfmt_err task_look(const struct task *task, struct bcfmt_dev *const *devs, uint64_t *crc,
		    uint64_t *left);

#endif
