/* SPDX-License-Identifier: GPL-2.0-or-later */
/* One repair of a set in memory, from its beginning to its commit, and what must hold on the way. */
#ifndef FUZZ_REPAIR_SET_H
#define FUZZ_REPAIR_SET_H

#include <bcfmt/repair.h>

#include "fuzz/memory_dev.h"

/* Devices of which it is known what was written to them. */
struct disks {
	size_t n;
	struct bcfmt_dev *base[MEMORY_DEVICES_MAX];    /* borrowed; never written */
	struct bcfmt_dev *overlay[MEMORY_DEVICES_MAX]; /* takes what is written */
	struct bcfmt_dev *given[MEMORY_DEVICES_MAX];   /* owns overlay, and fails as told */
};

void disks_make(struct bcfmt_ctx *ctx, struct bcfmt_dev *const *base, size_t n,
		struct disks *disks);
/* Reads or writes of one of them fail. */
void disks_fail(struct bcfmt_ctx *ctx, struct disks *disks, size_t i, uint16_t fail_read,
		uint16_t fail_write);
void disks_free(struct disks *disks);
bool disks_are_untouched(const struct disks *disks);
/* What was written, if anything, is what the base holds there. */
bool disks_are_as_before(const struct disks *disks);

struct repaired {
	bcfmt_err err;
	enum bcfmt_rehearsal result;
	bool is_committed;	      /* wholly or in part */
	bool has_new_cache_super;     /* the cache is seen through another superblock */
	struct bcfmt_repair_run *run; /* for what it says; NULL when it could not be opened */
};

/*
 * Asserts that nothing is written before the commit, and then nothing but what was told. What is
 * overwritten is saved to undo unless that is NULL. Ends with repaired_clear().
 */
void repair_set(struct bcfmt_ctx *ctx, const struct disks *disks,
		const struct bcfmt_repair_params *params, enum bcfmt_consent most, bool is_adopting,
		struct bcfmt_undo *undo, struct repaired *out);
void repaired_clear(struct repaired *repaired);

/* A check of the devices finds just what the rehearsal did. */
void assert_as_rehearsed(struct bcfmt_ctx *ctx, const struct disks *disks,
			 const struct bcfmt_repair_params *params, const struct repaired *repaired);

#endif
