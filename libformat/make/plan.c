/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Making a plan: looks at all devices, judges, and lists the steps if nothing speaks against it. */
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/checked.h"
#include "make/make_impl.h"

/* kernel: run_cache_set(), the ring that the first registration makes */
#define JOURNAL_SHIFT 7
#define JOURNAL_LEAST 2u
#define SUPER_END_BYTES (BCFMT_SUPER_OFFSET_BYTES + BCFMT_SUPER_BYTES)

const char *bcfmt_make_issue_name(enum bcfmt_make_issue_id id)
{
	static const char *const names[] = {
#define ISSUE_NAME(name, text) [BCFMT_ISSUE_##name] = text,
		BCFMT_MAKE_ISSUES(ISSUE_NAME)
#undef ISSUE_NAME
	};

	return (size_t)id < sizeof(names) / sizeof(names[0]) ? names[id] : "unknown";
}

void make_issue(struct make *mk, enum bcfmt_make_issue_id id, enum bcfmt_make_level level,
		const struct bcfmt_make_target *target, const char *fmt, ...)
{
	struct bcfmt_make_issue *issue;
	va_list args;

	if (level == BCFMT_MAKE_REFUSAL)
		mk->plan->is_refused = true;
	issue = vec_push(&mk->issues, sizeof(*issue));
	if (!issue) {
		mk->err = BCFMT_E_NOMEM;
		return;
	}
	*issue = (struct bcfmt_make_issue){
		.id = id,
		.level = level,
		.dev = target ? target->dev : NULL,
	};
	va_start(args, fmt);
	vsnprintf(issue->text, sizeof(issue->text), fmt, args);
	va_end(args);
}

/* As bcache-tools: one block size for all, that of the device with the largest blocks. */
static uint64_t default_block_bytes(const struct make *mk)
{
	uint64_t bytes = BCFMT_SECTOR_BYTES;

	for (size_t i = 0; i < mk->plan->n_targets; i++)
		bytes = max_u64(bytes, mk->devices[i]->topology.preferred_block_bytes);
	/* What a file system calls its block can be far more than a page. */
	return min_u64(bytes, BCFMT_MAKE_BLOCK_BYTES_MAX);
}

static bcfmt_err read_old(struct bcfmt_make_target *target)
{
	uint8_t raw[BCFMT_SUPER_BYTES];
	bcfmt_err err = bcfmt_dev_read(target->dev, BCFMT_SUPER_OFFSET_BYTES, raw, sizeof(raw));

	if (err)
		return err;
	bcfmt_super_decode(raw, &target->old);
	target->has_old = !(bcfmt_super_faults(&target->old, bcfmt_dev_bytes(target->dev), 0,
					       BCFMT_MAKE_BLOCK_BYTES_MAX) &
			    BCFMT_SUPER_BAD_MAGIC);
	return BCFMT_OK;
}

static void look_at_super(struct make *mk, size_t i)
{
	struct bcfmt_make_target *target = &mk->plan->targets[i];
	uint8_t raw[BCFMT_SUPER_BYTES];
	uint64_t ring;

	make_super(mk, i, raw);
	bcfmt_super_decode(raw, &target->super);
	if (!target->is_backing) {
		ring = target->super.nbuckets_or_data_offset >> JOURNAL_SHIFT;
		ring = min_u64(max_u64(ring, JOURNAL_LEAST), BCFMT_SUPER_JOURNAL_MAX);
		target->journal_buckets = (uint32_t)ring;
	}
	make_judge_super(mk, i);
	make_judge_topology(mk, i);
}

static bcfmt_err look_at(struct make *mk, size_t i)
{
	struct bcfmt_make_target *target = &mk->plan->targets[i];
	uint64_t dev_bytes = bcfmt_dev_bytes(target->dev);
	bcfmt_err err;

	if (dev_bytes <= SUPER_END_BYTES) {
		make_issue(mk, BCFMT_ISSUE_DEVICE_TOO_SMALL, BCFMT_MAKE_REFUSAL, target,
			   "%llu bytes: there is no room for anything but the superblock",
			   (unsigned long long)dev_bytes);
		return BCFMT_OK;
	}
	err = read_old(target);
	if (err)
		return err;
	make_judge_contents(mk, i);
	if (mk->has_sizes)
		look_at_super(mk, i);
	return mk->err;
}

/* Caches first, each kind in the order given. */
static void sort_devices(struct make *mk, const struct bcfmt_make_device *devices, size_t n)
{
	struct bcfmt_make_plan *plan = mk->plan;

	for (int is_backing = 0; is_backing <= 1; is_backing++) {
		for (size_t i = 0; i < n; i++) {
			if (devices[i].is_backing != (is_backing == 1))
				continue;
			mk->devices[plan->n_targets] = &devices[i];
			plan->targets[plan->n_targets++] = (struct bcfmt_make_target){
				.dev = devices[i].dev,
				.is_backing = devices[i].is_backing,
				.is_block_device = devices[i].topology.is_block_device,
			};
		}
	}
}

static bcfmt_err make_plan(struct make *mk)
{
	const struct bcfmt_make_params *params = mk->params;
	struct bcfmt_make_plan *plan = mk->plan;
	bcfmt_err err;

	mk->block_bytes = params->block_bytes ? params->block_bytes : default_block_bytes(mk);
	mk->bucket_bytes = params->bucket_bytes ? params->bucket_bytes : BCFMT_MAKE_BUCKET_BYTES;
	make_judge_run(mk);
	for (size_t i = 0; i < plan->n_targets; i++) {
		err = look_at(mk, i);
		if (err)
			return err;
	}
	for (size_t i = 0; !plan->is_refused && i < plan->n_targets; i++)
		make_steps(mk, i);
	return mk->err;
}

bcfmt_err bcfmt_make_plan_new(struct bcfmt_ctx *ctx, const struct bcfmt_make_params *params,
			      const struct bcfmt_make_device *devices, size_t n_devices,
			      struct bcfmt_make_plan **out)
{
	struct make mk = { .ctx = ctx, .params = params };
	bcfmt_err err = BCFMT_E_NOMEM;

	*out = NULL;
	if (!n_devices)
		return bcfmt_fail(ctx, BCFMT_E_ARG, "no device to format");
	if (params->label && strlen(params->label) >= BCFMT_LABEL_BYTES)
		return bcfmt_fail(ctx, BCFMT_E_ARG, "a label has at most %u bytes",
				  BCFMT_LABEL_BYTES - 1);
	mk.devices = calloc(n_devices, sizeof(*mk.devices));
	mk.plan = calloc(1, sizeof(*mk.plan));
	if (mk.plan)
		mk.plan->targets = calloc(n_devices, sizeof(*mk.plan->targets));
	if (mk.devices && mk.plan && mk.plan->targets) {
		mk.plan->ctx = ctx;
		sort_devices(&mk, devices, n_devices);
		err = make_plan(&mk);
		mk.plan->issues = mk.issues.items;
		mk.plan->n_issues = mk.issues.n;
		mk.plan->steps = mk.steps.items;
		mk.plan->n_steps = mk.steps.n;
	}
	free(mk.devices);
	if (err == BCFMT_E_NOMEM)
		err = bcfmt_fail(ctx, err, "out of memory for a plan");
	if (err)
		bcfmt_make_plan_free(mk.plan);
	else
		*out = mk.plan;
	return err;
}

void bcfmt_make_plan_free(struct bcfmt_make_plan *plan)
{
	if (!plan)
		return;
	for (size_t i = 0; i < plan->n_steps; i++)
		free(plan->steps[i].bytes);
	free(plan->steps);
	free(plan->issues);
	free(plan->targets);
	free(plan);
}
