/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The superblock as a kernel judges it: rule after rule, of which only the first that fails is
 * told. kernel: read_super(), read_super_common(), cache_alloc(), get_bucket_size().
 */
#include <string.h>

#include "base/checked.h"
#include "check/check_impl.h"
#include "check/predict.h"

#define OUTCOME_REFUSES (1u << BCFMT_OUTCOME_REFUSES_DEVICE)
#define READ_BUCKETS_MIN 128u /* kernel: read_super_common(); cache_alloc() needs more */

enum rule_kind { RULE_ALL, RULE_FEATURES, RULE_CACHE, RULE_BACKING };

struct rule {
	uint32_t fault;
	enum bcfmt_problem_id id;
	enum rule_kind kind;
	enum bcfmt_stage stage;
	const char *function; /* NULL: the problem has one row for a kernel */
};

#define RULE(kind, fault)                                                                        \
	{                                                                                        \
		BCFMT_SUPER_##fault, BCFMT_P_SUPER_##fault, RULE_##kind, BCFMT_STAGE_SUPER, NULL \
	}

static const struct rule rules[] = {
	RULE(ALL, BAD_OFFSET),
	RULE(ALL, BAD_MAGIC),
	RULE(ALL, BAD_CSUM),
	/* The count is part of what is summed up, and says how much that is. */
	{ BCFMT_SUPER_MANY_JOURNAL, BCFMT_P_SUPER_MANY_JOURNAL, RULE_ALL, BCFMT_STAGE_SUPER,
	  "read_super" },
	RULE(ALL, ZERO_UUID),
	RULE(ALL, BLOCK_BELOW_DEVICE),
	RULE(ALL, BAD_VERSION),
	RULE(BACKING, BAD_DATA_OFFSET),
	RULE(FEATURES, UNKNOWN_COMPAT),
	RULE(FEATURES, UNKNOWN_RO_COMPAT),
	RULE(FEATURES, UNKNOWN_INCOMPAT),
	RULE(CACHE, MANY_BUCKETS),
	{ BCFMT_SUPER_FEW_BUCKETS, BCFMT_P_SUPER_FEW_BUCKETS, RULE_CACHE, BCFMT_STAGE_SUPER,
	  "read_super_common" },
	RULE(CACHE, BLOCK_NOT_POW2),
	RULE(CACHE, BLOCK_ABOVE_PAGE),
	RULE(CACHE, BUCKET_NOT_POW2),
	RULE(CACHE, BUCKET_BELOW_PAGE),
	RULE(CACHE, DEVICE_TOO_SMALL),
	RULE(CACHE, ZERO_SET_UUID),
	RULE(CACHE, BAD_MEMBER),
	RULE(CACHE, JOURNAL_NOT_SEQ),
	RULE(CACHE, JOURNAL_PAST_END),
	RULE(CACHE, FIRST_BUCKET_LOW),
	{ BCFMT_SUPER_FEW_BUCKETS, BCFMT_P_SUPER_FEW_BUCKETS, RULE_CACHE, BCFMT_STAGE_ALLOC,
	  "cache_alloc" },
	{ BCFMT_SUPER_DATA_PAST_END, BCFMT_P_SUPER_DATA_PAST_END, RULE_BACKING, BCFMT_STAGE_ALLOC,
	  NULL },
};

/* A kernel goes by the version, whatever role the user gave. */
static bool is_backing(const struct bcfmt_super *super)
{
	return super->version == 1 || super->version == 4 || super->version == 6;
}

/* Faults as a kernel finds them, and the superblock as it reads it. */
static uint32_t kernel_faults(const struct bcfmt_member *member, uint32_t page_bytes,
			      struct bcfmt_super *super)
{
	uint64_t product;
	uint32_t faults;

	*super = member->super;
	super->is_backing = is_backing(super);
	faults = bcfmt_super_faults(super, bcfmt_dev_bytes(member->dev),
				    bcfmt_dev_logical_block_bytes(member->dev), page_bytes);
	if (faults & BCFMT_SUPER_BUCKET_OVERFLOW) {
		/* The processors that bcache runs on shift by the low five bits. */
		super->bucket_sectors = 1u << (super->bucket_field & 31);
		super->feature_incompat &= ~BCFMT_FEATURE_LARGE_BUCKET;
		faults |=
			bcfmt_super_faults(super, bcfmt_dev_bytes(member->dev),
					   bcfmt_dev_logical_block_bytes(member->dev), page_bytes);
	}
	/* The kernel's product wraps, and what it comes to can be small enough. */
	if (faults & BCFMT_SUPER_DEVICE_TOO_SMALL &&
	    mul_overflows(super->bucket_sectors, super->nbuckets_or_data_offset, &product) &&
	    super->bucket_sectors * super->nbuckets_or_data_offset <=
		    bcfmt_dev_bytes(member->dev) / BCFMT_SECTOR_BYTES)
		faults &= ~(uint32_t)BCFMT_SUPER_DEVICE_TOO_SMALL;
	return faults;
}

static bool is_asked(const struct rule *rule, const struct bcfmt_super *super)
{
	switch (rule->kind) {
	case RULE_ALL:
		return true;
	case RULE_FEATURES:
		return super->version == 5;
	case RULE_CACHE:
		break;
	case RULE_BACKING:
		return is_backing(super);
	}
	if (rule->fault == BCFMT_SUPER_FEW_BUCKETS && rule->stage == BCFMT_STAGE_SUPER)
		return !is_backing(super) && super->nbuckets_or_data_offset < READ_BUCKETS_MIN;
	return !is_backing(super);
}

static bcfmt_err refuse(struct bcfmt_prediction *out, const struct rule *rule,
			const struct bcfmt_super *super)
{
	struct predict_event event = { .id = rule->id, .function = rule->function };
	const struct bcfmt_kernel_effect *row = predict_row(&event, out->kernel);
	bcfmt_err err;

	out->stage = rule->stage;
	out->outcomes = row && row->effect == BCFMT_EFFECT_OOPS ? 1u << BCFMT_OUTCOME_OOPS
								: OUTCOME_REFUSES;
	err = row ? predict_line(out->first_lines, &out->n_first_lines, BCFMT_PREDICTION_LINES,
				 row->line, NULL)
		  : BCFMT_OK;
	/* A checksum over what lies behind the superblock in memory can fit by chance. */
	if (!err && rule->id == BCFMT_P_SUPER_MANY_JOURNAL && !super->is_backing) {
		event.function = "read_super_common";
		row = predict_row(&event, out->kernel);
		if (row)
			err = predict_line(out->first_lines, &out->n_first_lines,
					   BCFMT_PREDICTION_LINES, row->line, NULL);
	}
	if (!err && rule->stage == BCFMT_STAGE_ALLOC)
		err = predict_line(out->follow_lines, &out->n_follow_lines,
				   BCFMT_PREDICTION_FOLLOWS,
				   super->is_backing ? "cannot allocate memory"
						     : "cache_alloc(): cache device is too small",
				   NULL);
	return err;
}

/* "Bucket size (1 << %u) overflows" is only a complaint: the registration goes on. */
static bcfmt_err complain(struct bcfmt_prediction *out, const struct bcfmt_super *super)
{
	struct predict_event event = { .id = BCFMT_P_SUPER_BUCKET_OVERFLOW };
	const struct bcfmt_kernel_effect *row = predict_row(&event, out->kernel);

	predict_value_u64(&event, super->bucket_field);
	return row ? predict_line(out->first_lines, &out->n_first_lines, BCFMT_PREDICTION_LINES,
				  row->line, &event)
		   : BCFMT_OK;
}

bcfmt_err predict_super(const struct bcfmt_member *member, struct bcfmt_prediction *out)
{
	struct bcfmt_super super;
	uint32_t faults;
	bcfmt_err err = BCFMT_OK;

	out->stage = BCFMT_STAGE_SUPER;
	/* What lies behind the end of a device reads as zeros. */
	if (!member->is_readable &&
	    bcfmt_dev_bytes(member->dev) >= BCFMT_SUPER_OFFSET_BYTES + BCFMT_SUPER_BYTES) {
		struct predict_event event = { .id = BCFMT_P_SUPER_UNREADABLE };
		const struct bcfmt_kernel_effect *row = predict_row(&event, out->kernel);

		out->outcomes = OUTCOME_REFUSES;
		return row ? predict_line(out->first_lines, &out->n_first_lines,
					  BCFMT_PREDICTION_LINES, row->line, NULL)
			   : BCFMT_OK;
	}
	faults = kernel_faults(member, out->page_bytes, &super);
	for (size_t i = 0; i < sizeof(rules) / sizeof(rules[0]); i++) {
		struct predict_event event = { .id = rules[i].id, .function = rules[i].function };

		/* Told before the rules about sizes. */
		if (rules[i].fault == BCFMT_SUPER_MANY_BUCKETS && !super.is_backing &&
		    faults & BCFMT_SUPER_BUCKET_OVERFLOW)
			err = complain(out, &super);
		if (err)
			return err;
		if (faults & rules[i].fault && is_asked(&rules[i], &super) &&
		    predict_row(&event, out->kernel))
			return refuse(out, &rules[i], &super);
	}
	return BCFMT_OK;
}
