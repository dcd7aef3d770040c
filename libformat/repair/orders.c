/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Orders: keys of adopted inodes come to their device, keys whose data is home become clean,
 * devices are detached. They are edits of a rewrite, a new uuid table, and superblocks.
 */
#include "repair/orders.h"

#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <bcfmt/uuid.h>

#include "repair/home_done.h"

#define BDEV_STATE_SHIFT 61
#define BDEV_STATE_MASK (3ull << BDEV_STATE_SHIFT)

static bcfmt_err no_memory(const struct bcfmt_repair_run *repair)
{
	return bcfmt_fail(repair->ctx, BCFMT_E_NOMEM, "no memory for orders of a repair");
}

void orders_free(struct orders *orders)
{
	if (!orders)
		return;
	free(orders->uuids);
	free(orders->inodes);
	free(orders->members);
	for (size_t i = 0; i < orders->n_targets; i++)
		free(orders->targets[i].sources);
	free(orders->targets);
	free(orders);
}

/* The run's orders, made when the first is given. */
static bcfmt_err take_orders(struct bcfmt_repair_run *repair)
{
	const struct bcfmt_set *set = repair->set;
	struct orders *orders = calloc(1, sizeof(*orders));

	if (repair->orders) {
		free(orders);
		return BCFMT_OK;
	}
	repair->orders = orders;
	if (!orders)
		return no_memory(repair);
	orders->set = set;
	orders->uuids = calloc((size_t)set->n_uuids + 1, sizeof(*orders->uuids));
	orders->inodes = calloc((size_t)set->n_uuids + 1, sizeof(*orders->inodes));
	orders->members = calloc(set->n_backing + 1, sizeof(*orders->members));
	orders->targets = calloc(set->n_backing + 1, sizeof(*orders->targets));
	if (!orders->uuids || !orders->inodes || !orders->members || !orders->targets)
		return no_memory(repair);
	if (set->n_uuids)
		memcpy(orders->uuids, set->uuids, set->n_uuids * sizeof(*orders->uuids));
	return BCFMT_OK;
}

const char *bcfmt_repair_why_no_orders(const struct bcfmt_repair_run *repair)
{
	return plan_why_no_rewrite(repair);
}

static bcfmt_err check_allowed(const struct bcfmt_repair_run *repair)
{
	const char *why = plan_why_no_rewrite(repair);

	return why ? bcfmt_fail(repair->ctx, BCFMT_E_ARG, "%s: its metadata is not written: %s",
				repair->set->has_cache ? bcfmt_dev_name(repair->set->cache.dev)
						       : "cache",
				why)
		   : BCFMT_OK;
}

static uint32_t now_seconds(void)
{
	return (uint32_t)time(NULL);
}

static size_t member_index(const struct bcfmt_repair_run *repair,
			   const struct bcfmt_home_device *device)
{
	return (size_t)(device->member - repair->set->backing);
}

/* ---- adoption ---- */

static int target_cmp(const void *a, const void *b)
{
	const struct order_target *x = a, *y = b;

	return x->inode < y->inode ? -1 : x->inode > y->inode;
}

/* A slot for a device that has none: that of the newest of its inodes. */
static void fill_slot(struct orders *orders, const struct bcfmt_home_device *device, uint32_t inode)
{
	struct bcfmt_uuid_entry *entry = &orders->uuids[inode];

	*entry = (struct bcfmt_uuid_entry){ .first_reg = entry->first_reg,
					    .last_reg = entry->last_reg };
	memcpy(entry->uuid, device->member->super.uuid, sizeof(entry->uuid));
	memcpy(entry->label, device->member->super.label, sizeof(entry->label));
}

static bcfmt_err adopt_device(struct bcfmt_repair_run *repair,
			      const struct bcfmt_home_device *device)
{
	struct orders *orders = repair->orders;
	struct order_target *target = &orders->targets[orders->n_targets++];
	struct order_member *member = &orders->members[member_index(repair, device)];
	bool is_own_old = false;

	switch (bcfmt_super_bdev_state(&device->member->super)) {
	case BCFMT_BDEV_NONE:
	case BCFMT_BDEV_STALE:
		is_own_old = true;
		break;
	case BCFMT_BDEV_CLEAN:
	case BCFMT_BDEV_DIRTY:
		break;
	}
	*target = (struct order_target){ .inode = device->inodes[0],
					 .sources =
						 calloc(device->n_inodes, sizeof(*target->sources)),
					 .n_sources = device->n_inodes - 1 };
	if (!target->sources)
		return no_memory(repair);
	memcpy(target->sources, device->inodes + 1, target->n_sources * sizeof(*target->sources));
	if (!device->has_slot) {
		fill_slot(orders, device, target->inode);
		is_own_old = true;
	}
	orders->inodes[target->inode].is_without_clean = is_own_old;
	for (size_t i = 0; i < target->n_sources; i++)
		orders->inodes[target->sources[i]].is_moved = true;
	orders->wants_rewrite = true;
	member->has_state = true;
	member->state = BCFMT_BDEV_DIRTY;
	member->is_attached = true;
	return BCFMT_OK;
}

/* Something of it is not yet as it will be. */
static bool is_to_be_adopted(const struct bcfmt_repair_run *repair,
			     const struct bcfmt_home_device *device)
{
	enum bcfmt_bdev_state state;

	if (!device->is_adopted || device->refusal || !device->n_inodes)
		return false;
	state = bcfmt_super_bdev_state(&device->member->super);
	return state == BCFMT_BDEV_NONE || state == BCFMT_BDEV_STALE ||
	       (device->n_inodes > (device->has_slot ? 1u : 0u) &&
		bcfmt_report_total(repair->report, BCFMT_P_UUID_STRANDED));
}

bcfmt_err bcfmt_repair_order_adoption(struct bcfmt_repair_run *repair,
				      const struct bcfmt_home *home)
{
	bool is_any = false;
	bcfmt_err err = BCFMT_OK;

	for (size_t i = 0; i < home->n_devices; i++)
		is_any |= is_to_be_adopted(repair, &home->devices[i]);
	plan_adopt(repair, is_any);
	if (!is_any)
		return BCFMT_OK;
	err = check_allowed(repair);
	if (!err)
		err = take_orders(repair);
	for (size_t i = 0; !err && i < home->n_devices; i++)
		if (is_to_be_adopted(repair, &home->devices[i]))
			err = adopt_device(repair, &home->devices[i]);
	if (!err)
		qsort(repair->orders->targets, repair->orders->n_targets,
		      sizeof(*repair->orders->targets), target_cmp);
	return err;
}

/* ---- bringing home ---- */

bcfmt_err bcfmt_repair_writeback(struct bcfmt_repair_run *repair,
				 const struct bcfmt_home_device *device,
				 const struct bcfmt_writeback_params *params,
				 struct bcfmt_home_done *done)
{
	return bcfmt_writeback_run(repair->set, device, params, done);
}

static bool may_be_clean(const struct bcfmt_home_device *device)
{
	enum bcfmt_bdev_state state = bcfmt_super_bdev_state(&device->member->super);

	/* What the cache holds clean of a stale device can be older than what is on it. */
	return state == BCFMT_BDEV_CLEAN || state == BCFMT_BDEV_DIRTY;
}

static void home_device(struct bcfmt_repair_run *repair, const struct bcfmt_home_order *order,
			bool has_marks)
{
	const struct bcfmt_home_device *device = order->device;
	struct orders *orders = repair->orders;
	struct order_member *member = &orders->members[member_index(repair, device)];

	for (size_t i = 0; has_marks && i < device->n_inodes; i++)
		orders->inodes[device->inodes[i]].done = order->done;
	orders->wants_rewrite |= has_marks;
	if (order->is_detached) {
		*member = (struct order_member){ .has_state = true,
						 .state = BCFMT_BDEV_NONE,
						 .is_freed = true };
		orders->has_detached = true;
	} else if (order->is_clean && (has_marks || !order->done) && may_be_clean(device)) {
		/* Without marks what was copied is still dirty; what an earlier run marked is not. */
		member->has_state = true;
		member->state = BCFMT_BDEV_CLEAN;
	}
	if (!order->is_detached || !order->is_slot_freed || !has_marks || !device->has_slot)
		return;
	memcpy(orders->uuids[device->inodes[0]].uuid, bcfmt_uuid_invalid(), BCFMT_UUID_BYTES);
	orders->uuids[device->inodes[0]].flags &= ~BCFMT_UUID_FLASH_ONLY;
	orders->uuids[device->inodes[0]].invalidated = now_seconds();
}

bcfmt_err bcfmt_repair_order_home(struct bcfmt_repair_run *repair,
				  const struct bcfmt_home_order *given, size_t n_orders,
				  bool has_marks)
{
	bcfmt_err err = has_marks ? check_allowed(repair) : BCFMT_OK;

	if (!err)
		err = take_orders(repair);
	for (size_t i = 0; !err && i < n_orders; i++)
		home_device(repair, &given[i], has_marks);
	return err;
}

/* ---- what they do to a rewrite ---- */

bool orders_want_rewrite(const struct orders *orders)
{
	return orders && orders->wants_rewrite;
}

static enum edit orders_edit(void *arg, struct bcfmt_extent *extent, bool *is_changed)
{
	const struct bcfmt_repair_run *repair = arg;
	const struct orders *orders = repair->orders;
	const struct order_inode *inode =
		extent->inode < orders->set->n_uuids ? &orders->inodes[extent->inode] : NULL;

	if (inode && inode->is_moved) {
		*is_changed = true;
		return EDIT_MOVE;
	}
	if (inode && inode->is_without_clean && (!extent->is_dirty || extent->is_written_back)) {
		*is_changed = true;
		return EDIT_DROP;
	}
	if (inode && inode->done && extent->is_dirty && !extent->stale &&
	    bcfmt_home_done_has(inode->done, extent)) {
		*is_changed = true;
		extent->is_dirty = false;
	}
	return plan_edit(arg, extent, is_changed);
}

static bool orders_touch(void *arg, const struct bcfmt_node_ref *ref)
{
	const struct orders *orders = arg;

	for (size_t i = 0; i < orders->n_targets; i++)
		if (orders->targets[i].n_sources && orders->targets[i].inode >= ref->lo.inode &&
		    orders->targets[i].inode <= ref->hi.inode)
			return true;
	return false;
}

void orders_fill(const struct bcfmt_repair_run *repair, struct rewrite_params *params)
{
	params->edit = orders_edit;
	params->uuids = repair->orders->uuids;
	params->touches = orders_touch;
	params->merge = orders_merge;
	params->merge_arg = repair->orders;
}

void orders_super(const struct orders *orders, size_t backing, struct bcfmt_super *super)
{
	const struct order_member *member = orders ? &orders->members[backing] : NULL;

	if (!member || !member->has_state)
		return;
	super->flags = (super->flags & ~BDEV_STATE_MASK) | (uint64_t)member->state
								   << BDEV_STATE_SHIFT;
	if (member->is_freed)
		memset(super->set_uuid, 0, sizeof(super->set_uuid));
	if (member->is_attached)
		memcpy(super->set_uuid, orders->set->cache.super.set_uuid, sizeof(super->set_uuid));
}

bool orders_expect(const struct orders *orders, enum bcfmt_problem_id id)
{
	/* Keys of a device that is detached stay dirty where they cannot be written. */
	return orders && orders->has_detached && id == BCFMT_P_BACKING_DETACHED_DIRTY;
}
