/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Repairs, adopts, brings data home, as bcache-fsck -y does with these options. */
#include "repair/task.h"

#include <string.h>

/* Marks are written now and then, so that a cut comes between them. */
#define MARK_BYTES (8u << 20)

bool task_parse(const char *name, enum task_kind *kind)
{
	static const char *const names[] = { "repair", "adopt", "writeback", "detach" };

	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++)
		if (!strcmp(name, names[i])) {
			*kind = (enum task_kind)i;
			return true;
		}
	return false;
}

/* One run, from the rehearsal to the commit. */
static bcfmt_err finish(const struct task *task, struct bcfmt_repair_run *repair,
			struct bcfmt_undo *undo)
{
	enum bcfmt_rehearsal result;
	bcfmt_err err = bcfmt_repair_rehearse(repair, &result);

	while (!err && result == BCFMT_REHEARSAL_MORE) {
		bcfmt_repair_agree_all(repair, BCFMT_CONSENT_ASK);
		err = bcfmt_repair_rehearse(repair, &result);
	}
	if (!err && result == BCFMT_REHEARSAL_REJECTED)
		err = bcfmt_fail(task->ctx, BCFMT_E_DAMAGED, "the rehearsal is rejected: %s",
				 bcfmt_ctx_fault(task->ctx));
	if (err || result == BCFMT_REHEARSAL_NOTHING)
		return err;
	if (undo)
		err = bcfmt_repair_save(repair, undo);
	return err ? err : bcfmt_repair_commit(repair);
}

static bcfmt_err adopt(struct bcfmt_repair_run *repair)
{
	struct bcfmt_home *home;
	bcfmt_err err = bcfmt_home_new(bcfmt_repair_set(repair), NULL, 0, true, &home);

	if (!err)
		err = bcfmt_repair_order_adoption(repair, home);
	bcfmt_home_free(home);
	return err;
}

/* ---- bringing data home ---- */

struct way {
	const struct task *task;
	struct bcfmt_undo *undo;
	struct bcfmt_home_done *done[DEVICES_MAX]; /* one a backing device */
	bool is_through;
};

static bcfmt_err copy_device(struct way *way, struct bcfmt_repair_run *repair,
			     const struct bcfmt_home_device *device, struct bcfmt_home_done **done)
{
	struct bcfmt_writeback_params params = { .target = bcfmt_repair_device(repair,
									       device->member),
						 .undo = way->undo,
						 .stop_bytes = MARK_BYTES };
	bcfmt_err err = BCFMT_OK;

	if (!*done)
		err = bcfmt_home_done_new(way->task->ctx, device, done);
	if (!err && way->undo)
		err = bcfmt_undo_add_device(way->undo, params.target, &params.undo_index);
	if (!err)
		err = bcfmt_repair_writeback(repair, device, &params, *done);
	way->is_through &= !err && bcfmt_home_done_is_through(*done);
	return err;
}

static bcfmt_err order(struct way *way, struct bcfmt_repair_run *repair,
		       const struct bcfmt_home *home)
{
	struct bcfmt_home_order orders[DEVICES_MAX];
	bool is_last = way->is_through, is_detach = way->task->kind == TASK_DETACH;
	bool has_slot = false;
	size_t n = 0;

	for (size_t i = 0; i < home->n_devices; i++) {
		const struct bcfmt_home_device *device = &home->devices[i];

		if (device->refusal)
			continue;
		has_slot |= device->has_slot;
		orders[n++] = (struct bcfmt_home_order){ .device = device,
							 .done = way->done[i],
							 .is_clean = is_last,
							 .is_detached = is_last && is_detach,
							 .is_slot_freed = is_last && is_detach };
	}
	return n ? bcfmt_repair_order_home(repair, orders, n, has_slot) : BCFMT_OK;
}

static bcfmt_err step_home(struct way *way, struct bcfmt_repair_run *repair)
{
	struct bcfmt_home *home;
	bcfmt_err err = bcfmt_home_new(bcfmt_repair_set(repair), NULL, 0, false, &home);

	if (err)
		return err;
	way->is_through = true;
	/* One that is detached already has nothing more to come. */
	for (size_t i = 0; !err && i < home->n_devices; i++)
		if (!home->devices[i].refusal)
			err = copy_device(way, repair, &home->devices[i], &way->done[i]);
	if (!err)
		err = order(way, repair, home);
	if (!err)
		err = finish(way->task, repair, way->undo);
	bcfmt_home_free(home);
	return err;
}

static bcfmt_err bring_home(const struct task *task, struct bcfmt_dev *const *devs,
			    struct bcfmt_undo *undo)
{
	struct way way = { .task = task, .undo = undo };
	bcfmt_err err = BCFMT_OK;

	while (!err && !way.is_through) {
		struct bcfmt_repair_run *repair = NULL;

		err = bcfmt_repair_open(task->ctx, devs, task->n, &task->params, &repair);
		if (!err) {
			bcfmt_repair_agree_all(repair, BCFMT_CONSENT_ASK);
			err = step_home(&way, repair);
		}
		bcfmt_repair_free(repair);
	}
	for (size_t i = 0; i < DEVICES_MAX; i++)
		bcfmt_home_done_free(way.done[i]);
	return err;
}

bcfmt_err task_run(const struct task *task, struct bcfmt_dev *const *devs, struct bcfmt_undo *undo)
{
	struct bcfmt_repair_run *repair = NULL;
	bcfmt_err err = bcfmt_repair_open(task->ctx, devs, task->n, &task->params, &repair);

	if (!err) {
		bcfmt_repair_agree_all(repair, BCFMT_CONSENT_ASK);
		if (task->kind == TASK_ADOPT)
			err = adopt(repair);
	}
	if (!err)
		err = finish(task, repair, undo);
	bcfmt_repair_free(repair);
	/* As with the program the data follows when what was wrong is repaired. */
	if (!err && task->kind >= TASK_WRITEBACK)
		err = bring_home(task, devs, undo);
	return err;
}
