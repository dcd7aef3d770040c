/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What the files of formatting share. */
#ifndef MAKE_MAKE_IMPL_H
#define MAKE_MAKE_IMPL_H

#include <bcfmt/make.h>

#include "base/vec.h"

/* A plan in the making. */
struct make {
	struct bcfmt_ctx *ctx;
	const struct bcfmt_make_params *params;
	struct bcfmt_make_plan *plan;
	const struct bcfmt_make_device **devices; /* one a target */
	uint64_t block_bytes;			  /* as it will be */
	uint64_t bucket_bytes;
	bool has_sizes;	   /* block and bucket can be written into a superblock */
	struct vec issues; /* of struct bcfmt_make_issue */
	struct vec steps;  /* of struct bcfmt_make_step */
	bcfmt_err err;	   /* the first failure while something was added */
};

/* target NULL: of the whole run. Refusals make the plan a refused one. */
void make_issue(struct make *mk, enum bcfmt_make_issue_id id, enum bcfmt_make_level level,
		const struct bcfmt_make_target *target, const char *fmt, ...) BCFMT_PRINTF(5, 6);

/* Data offset of a backing device, with its zones in mind. */
uint64_t make_data_offset(const struct make *mk, size_t i);
/* The superblock of target i as it will be written. has_sizes must hold. */
void make_super(const struct make *mk, size_t i, uint8_t raw[BCFMT_SUPER_BYTES]);

/* Sizes, uuids and what concerns all; sets has_sizes. */
void make_judge_run(struct make *mk);
/* What is on the device, and what it stands on. */
void make_judge_contents(struct make *mk, size_t i);
/* What kernels say of the superblock that would be written. has_sizes must hold. */
void make_judge_super(struct make *mk, size_t i);
/* What the topology says of it. has_sizes must hold. */
void make_judge_topology(struct make *mk, size_t i);

/* Appends the steps for a target; reads what is only written in part. */
void make_steps(struct make *mk, size_t i);

#endif
