/* SPDX-License-Identifier: GPL-2.0-or-later */
/* One repair of a set in memory, from its beginning to its commit, and what must hold on the way. */
#include "fuzz/repair_set.h"

#undef NDEBUG
#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* ---- devices ---- */

void disks_make(struct bcfmt_ctx *ctx, struct bcfmt_dev *const *base, size_t n, struct disks *disks)
{
	disks->n = n;
	for (size_t i = 0; i < n; i++) {
		disks->base[i] = base[i];
		assert(bcfmt_dev_overlay(ctx, base[i], &disks->overlay[i]) == BCFMT_OK);
		disks->given[i] = disks->overlay[i];
	}
}

void disks_fail(struct bcfmt_ctx *ctx, struct disks *disks, size_t i, uint16_t fail_read,
		uint16_t fail_write)
{
	if (i < disks->n)
		disks->given[i] = memory_faulty(ctx, disks->given[i], fail_read, fail_write);
}

void disks_free(struct disks *disks)
{
	for (size_t i = 0; i < disks->n; i++)
		bcfmt_dev_free(disks->given[i]);
	disks->n = 0;
}

bool disks_are_untouched(const struct disks *disks)
{
	uint64_t begin, end;

	for (size_t i = 0; i < disks->n; i++)
		if (bcfmt_dev_overlay_next(disks->overlay[i], 0, &begin, &end) != BCFMT_END)
			return false;
	return true;
}

static bool is_same(struct bcfmt_dev *dev, struct bcfmt_dev *other, uint64_t at, uint64_t len)
{
	uint8_t *a = malloc(len), *b = malloc(len);
	bool is_equal;

	assert(a && b);
	assert(bcfmt_dev_read(dev, at, a, len) == BCFMT_OK);
	assert(bcfmt_dev_read(other, at, b, len) == BCFMT_OK);
	is_equal = !memcmp(a, b, len);
	free(a);
	free(b);
	return is_equal;
}

bool disks_are_as_before(const struct disks *disks)
{
	for (size_t i = 0; i < disks->n; i++) {
		uint64_t begin, end = 0;

		while (bcfmt_dev_overlay_next(disks->overlay[i], end, &begin, &end) == BCFMT_OK)
			if (!is_same(disks->overlay[i], disks->base[i], begin, end - begin))
				return false;
	}
	return true;
}

/* ---- what is told and what is written ---- */

#define TOLD 1u
#define WRITTEN 2u

struct told {
	const struct disks *disks;
	uint8_t *marks[MEMORY_DEVICES_MAX]; /* one a sector */
	unsigned int phase;
};

static bcfmt_err take_write(void *arg, const struct bcfmt_repair_write *write)
{
	struct told *told = arg;
	size_t i = 0;

	while (i < told->disks->n && told->disks->given[i] != write->dev)
		i++;
	assert(i < told->disks->n);
	assert(write->phase >= told->phase && write->phase < BCFMT_REPAIR_PHASES);
	assert(write->len_bytes &&
	       !((write->offset_bytes | write->len_bytes) % BCFMT_SECTOR_BYTES));
	assert(write->offset_bytes + write->len_bytes <= bcfmt_dev_bytes(write->dev));
	told->phase = write->phase;
	memset(told->marks[i] + write->offset_bytes / BCFMT_SECTOR_BYTES, TOLD,
	       write->len_bytes / BCFMT_SECTOR_BYTES);
	return BCFMT_OK;
}

static void compare_written(struct told *told, bool is_whole)
{
	for (size_t i = 0; i < told->disks->n; i++) {
		uint64_t begin, end = 0;

		while (bcfmt_dev_overlay_next(told->disks->overlay[i], end, &begin, &end) ==
		       BCFMT_OK)
			for (uint64_t at = begin; at < end; at += BCFMT_SECTOR_BYTES) {
				assert(told->marks[i][at / BCFMT_SECTOR_BYTES] == TOLD);
				told->marks[i][at / BCFMT_SECTOR_BYTES] = WRITTEN;
			}
		assert(!is_whole || !memchr(told->marks[i], TOLD, MEMORY_SECTORS_MAX));
	}
}

/* ---- the repair ---- */

static bcfmt_err adopt(struct bcfmt_repair_run *run)
{
	struct bcfmt_home *home;
	bcfmt_err err;

	if (bcfmt_repair_why_no_orders(run))
		return BCFMT_OK;
	err = bcfmt_home_new(bcfmt_repair_set(run), NULL, 0, true, &home);
	if (!err)
		err = bcfmt_repair_order_adoption(run, home);
	bcfmt_home_free(home);
	return err;
}

static bcfmt_err rehearse(struct bcfmt_repair_run *run, enum bcfmt_consent most,
			  enum bcfmt_rehearsal *result)
{
	bcfmt_err err = bcfmt_repair_rehearse(run, result);

	for (unsigned int i = 0; !err && *result == BCFMT_REHEARSAL_MORE; i++) {
		assert(i < BCFMT_REHEARSALS_MORE_MAX);
		bcfmt_repair_agree_all(run, most);
		err = bcfmt_repair_rehearse(run, result);
	}
	return err;
}

static bcfmt_err commit(const struct disks *disks, struct bcfmt_repair_run *run,
			struct bcfmt_undo *undo, struct repaired *out)
{
	static uint8_t marks[MEMORY_DEVICES_MAX][MEMORY_SECTORS_MAX];
	struct told told = { .disks = disks };
	bcfmt_err err;

	memset(marks, 0, sizeof(marks));
	for (size_t i = 0; i < disks->n; i++)
		told.marks[i] = marks[i];
	err = bcfmt_repair_writes(run, take_write, &told);
	if (!err && undo)
		err = bcfmt_repair_save(run, undo);
	assert(disks_are_untouched(disks));
	if (err)
		return err;
	out->is_committed = true;
	err = bcfmt_repair_commit(run);
	compare_written(&told, !err);
	return err;
}

/* Fields of the cache's superblock are proposed anew. */
static bool has_new_cache_super(const struct disks *disks, const struct bcfmt_repair_run *run)
{
	struct bcfmt_dev *cache = bcfmt_repair_device(run, &bcfmt_repair_set(run)->cache);

	for (size_t i = 0; i < disks->n; i++)
		if (disks->given[i] == cache && bcfmt_repair_super_fields(run, i))
			return true;
	return false;
}

void repair_set(struct bcfmt_ctx *ctx, const struct disks *disks,
		const struct bcfmt_repair_params *params, enum bcfmt_consent most, bool is_adopting,
		struct bcfmt_undo *undo, struct repaired *out)
{
	memset(out, 0, sizeof(*out));
	out->result = BCFMT_REHEARSAL_NOTHING;
	out->err = bcfmt_repair_open(ctx, disks->given, disks->n, params, &out->run);
	if (!out->err) {
		out->has_new_cache_super = has_new_cache_super(disks, out->run);
		bcfmt_repair_agree_all(out->run, most);
		if (is_adopting)
			out->err = adopt(out->run);
	}
	if (!out->err)
		out->err = rehearse(out->run, most, &out->result);
	assert(disks_are_untouched(disks));
	if (!out->err && out->result == BCFMT_REHEARSAL_REJECTED)
		assert(*bcfmt_ctx_fault(ctx));
	if (!out->err && out->result == BCFMT_REHEARSAL_READY)
		out->err = commit(disks, out->run, undo, out);
	else if (!out->err)
		assert(bcfmt_repair_commit(out->run) == BCFMT_E_ARG && disks_are_untouched(disks));
	if (out->err)
		assert(*bcfmt_ctx_fault(ctx) || out->err == BCFMT_E_NOMEM);
	if (out->run)
		for (size_t i = 0; i < bcfmt_repair_items(out->run); i++) {
			const struct bcfmt_plan_item *item = bcfmt_repair_item(out->run, i);

			assert((item->state == BCFMT_PLAN_LEFT) == (item->why != NULL));
		}
	if (strstr(bcfmt_ctx_fault(ctx), "argument")) {
		fprintf(stderr, "%s\n", bcfmt_ctx_fault(ctx));
		abort();
	}
	bcfmt_ctx_fault_clear(ctx);
}

void repaired_clear(struct repaired *repaired)
{
	bcfmt_repair_free(repaired->run);
	repaired->run = NULL;
}

void assert_as_rehearsed(struct bcfmt_ctx *ctx, const struct disks *disks,
			 const struct bcfmt_repair_params *params, const struct repaired *repaired)
{
	const struct bcfmt_report *foretold = bcfmt_repair_report_after(repaired->run);
	struct bcfmt_set_params set_params = { .page_bytes = params->page_bytes,
					       .is_shallow = params->is_shallow };
	struct bcfmt_check_params check = { .level = BCFMT_LEVEL_FULL,
					    .page_bytes = params->page_bytes };
	struct bcfmt_verdict verdict = { 0 };
	struct bcfmt_report *report;
	struct bcfmt_set *set;
	size_t n;
	const struct bcfmt_problem *table = bcfmt_problem_table(&n);

	assert(foretold);
	assert(bcfmt_set_open(ctx, disks->overlay, disks->n, &set_params, &set) == BCFMT_OK);
	assert(bcfmt_report_new(ctx, &report) == BCFMT_OK);
	assert(bcfmt_check_run(set, &check, report, &verdict, NULL, NULL) == BCFMT_OK);
	bcfmt_report_finish(report);
	for (size_t i = 0; i < n; i++) {
		uint64_t want = bcfmt_report_total(foretold, table[i].id);
		uint64_t got = bcfmt_report_total(report, table[i].id);

		if (want == got)
			continue;
		fprintf(stderr, "BC%04d %s: %llu findings foretold, %llu found\n", (int)table[i].id,
			table[i].slug, (unsigned long long)want, (unsigned long long)got);
		abort();
	}
	bcfmt_verdict_clear(&verdict);
	bcfmt_report_free(report);
	bcfmt_set_free(set);
}
