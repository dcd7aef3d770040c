/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Which findings only follow from others. */
#ifndef CHECK_SUPPRESS_H
#define CHECK_SUPPRESS_H

#include <bcfmt/problem.h>

/* What cause and follow-up must have in common. */
enum suppress_scope {
	SUPPRESS_SET,	 /* nothing: the cause is about the whole set */
	SUPPRESS_DEVICE, /* the device */
	SUPPRESS_BUCKET, /* device and bucket: the same node, the same prio set */
	SUPPRESS_KEY,	 /* device, bucket, block and key */
};

struct suppress_rule {
	enum bcfmt_problem_id cause;
	enum bcfmt_problem_id first; /* follow-ups: first to last, the cause itself left out */
	enum bcfmt_problem_id last;
	enum suppress_scope scope;
	bool is_first_block; /* only a cause in block 0 counts */
	bool may_be_weaker;  /* the cause may be less severe than the follow-up */
};

const struct suppress_rule *suppress_table(size_t *n);

/* True when rule, whose problems fit, hides follow_up because of cause. */
bool suppress_applies(const struct suppress_rule *rule, const struct bcfmt_finding *cause,
		      const struct bcfmt_finding *follow_up);

#endif
