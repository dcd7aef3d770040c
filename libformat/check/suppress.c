/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Which findings only follow from others: one table. */
#include "check/suppress.h"

#include <string.h>

/*
 * A follow-up is hidden only if it is no news beside its cause and mending the cause mends it, so
 * that a second run does not come up with it as something new. A cause is at least as severe as
 * what it hides (the one exception is marked), never a mere note, and there are no circles: when
 * anything was found, something stays. Left out on purpose:
 *
 * - SUPER_MANY_JOURNAL hides no SUPER_BAD_CSUM: with such a count no checksum can be computed and
 *   none is reported; if it is, then it is a fact of its own.
 * - SUPER_BAD_CSUM hides nothing: what is wrong with single fields is what has to be mended before
 *   the checksum may be.
 * - SUPER_NOT_SYNC is never hidden: it says that everything is lost at the next registration.
 * - JOURNAL_TWO_HISTORIES hides nothing. Gaps, sectors used twice and lost prio sets are found in
 *   the history that was read; they are the evidence by which a person chooses, and those that
 *   belong to the chosen one are losses of their own.
 * - JOURNAL_UNREADABLE, JOURNAL_BAD_CSUM and JOURNAL_BAD_WINDOW hide no JOURNAL_GAP: they are why,
 *   but only the gap says that data is at stake.
 * - NODE_DISORDER does not hide NODE_INSERT_BUG, which says where the disorder comes from.
 * - What a damaged node did to the data below it (EXTENT_*) stays.
 */
#define P(name) BCFMT_P_##name
#define RULE(cause, first, last, scope)                                     \
	{                                                                   \
		P(cause), P(first), P(last), SUPPRESS_##scope, false, false \
	}
#define ONE(cause, follow_up, scope) RULE(cause, follow_up, follow_up, scope)
#define BLOCK0(cause, first, last)                                        \
	{                                                                 \
		P(cause), P(first), P(last), SUPPRESS_BUCKET, true, false \
	}
#define EXPLAINS_UNUSABLE(cause)                                                             \
	{                                                                                    \
		P(cause), P(SUPER_UNUSABLE), P(SUPER_UNUSABLE), SUPPRESS_DEVICE, false, true \
	}

/* Without its first part a node has no seq, no order and no ends that mean anything. */
#define LOST_NODE(cause)                                                                           \
	BLOCK0(cause, NODE_SHORT_KEY, NODE_DISORDER), BLOCK0(cause, NODE_LATE_KEY, NODE_LATE_KEY), \
		BLOCK0(cause, NODE_NO_CHILDREN, NODE_NO_CHILDREN),                                 \
		BLOCK0(cause, NODE_GAP, NODE_GAP)

static const struct suppress_rule rules[] = {
	/* Fields of something that was not read or is no superblock. */
	RULE(SUPER_UNREADABLE, SUPER_BAD_OFFSET, SUPER_DATA_PAST_END, DEVICE),
	ONE(SUPER_UNREADABLE, SUPER_FRESH, DEVICE),
	ONE(SUPER_UNREADABLE, SUPER_UNUSABLE, DEVICE),
	RULE(SUPER_BAD_MAGIC, SUPER_BAD_OFFSET, SUPER_DATA_PAST_END, DEVICE),
	ONE(SUPER_BAD_MAGIC, SUPER_FRESH, DEVICE),
	ONE(SUPER_BAD_MAGIC, SUPER_UNUSABLE, DEVICE),
	/* Without a bucket size nothing counted in buckets can be judged. */
	RULE(SUPER_BUCKET_OVERFLOW, SUPER_BUCKET_NOT_POW2, SUPER_DEVICE_TOO_SMALL, DEVICE),
	ONE(SUPER_BUCKET_OVERFLOW, SUPER_FIRST_BUCKET_LOW, DEVICE),
	ONE(SUPER_MANY_JOURNAL, SUPER_JOURNAL_PAST_END, DEVICE),
	/* The general word is needed only where no field can be named. */
	EXPLAINS_UNUSABLE(SUPER_BAD_VERSION),
	EXPLAINS_UNUSABLE(SUPER_MANY_JOURNAL),
	EXPLAINS_UNUSABLE(SUPER_MANY_BUCKETS),
	EXPLAINS_UNUSABLE(SUPER_BLOCK_NOT_POW2),
	EXPLAINS_UNUSABLE(SUPER_BUCKET_NOT_POW2),
	EXPLAINS_UNUSABLE(SUPER_BAD_MEMBER),
	EXPLAINS_UNUSABLE(SUPER_JOURNAL_PAST_END),
	EXPLAINS_UNUSABLE(SUPER_BUCKET_OVERFLOW),
	EXPLAINS_UNUSABLE(SUPER_DEVICE_TOO_SMALL),
	/* Sets that are read in the wrong way. */
	ONE(SET_BIG_ENDIAN, JOURNAL_EMPTY, SET),
	ONE(SET_SEVERAL_MEMBERS, NODE_OTHER_MEMBER, SET),
	ONE(SET_SEVERAL_MEMBERS, EXTENT_OTHER_MEMBER, SET),
	ONE(PRIO_OTHER_PAGES, PRIO_BAD_CSUM, SET),
	/* A prio set that is not where the chain says. */
	RULE(PRIO_IN_JOURNAL, PRIO_BAD_CSUM, PRIO_BAD_MAGIC, BUCKET),
	RULE(PRIO_UNREADABLE, PRIO_BAD_CSUM, PRIO_BAD_MAGIC, BUCKET),
	/* Entries of a table that is something else by now. */
	RULE(UUIDS_STALE, UUID_DUPLICATE, UUID_IMPLAUSIBLE, SET),
	ONE(UUIDS_STALE, UUID_VOLUME_EMPTY, SET),
	ONE(UUIDS_STALE, UUID_VOLUME_LARGE, SET),
	/* A node that another structure or another use has replaced. */
	RULE(NODE_IN_METADATA, NODE_BAD_HEADER, NODE_BAD_CSUM, BUCKET),
	ONE(NODE_IN_METADATA, BUCKET_TWO_USES, BUCKET),
	RULE(ROOT_STALE, NODE_BAD_HEADER, NODE_BAD_CSUM, BUCKET),
	ONE(NODE_TWO_LEVELS, NODE_TWICE, BUCKET),
	/* Sectors that cannot be read are seen as zeros by what comes after. */
	RULE(NODE_UNREADABLE, NODE_BAD_HEADER, NODE_HOLE, BUCKET),
	LOST_NODE(NODE_BAD_HEADER),
	LOST_NODE(NODE_BAD_VERSION),
	LOST_NODE(NODE_OVERRUN),
	LOST_NODE(NODE_BAD_MAGIC),
	LOST_NODE(NODE_BAD_CSUM),
	LOST_NODE(NODE_UNREADABLE),
	/* The same key twice. */
	ONE(EXTENT_STALE_DIRTY, EXTENT_TOO_STALE, KEY),
};

const struct suppress_rule *suppress_table(size_t *n)
{
	*n = sizeof(rules) / sizeof(rules[0]);
	return rules;
}

static bool is_same_device(const struct bcfmt_where *a, const struct bcfmt_where *b)
{
	if (!a->device || !b->device)
		return a->device == b->device;
	return !strcmp(a->device, b->device);
}

static bool is_same_number(uint64_t a, uint64_t b)
{
	return a == b && a != BCFMT_NO_NUMBER;
}

bool suppress_applies(const struct suppress_rule *rule, const struct bcfmt_finding *cause,
		      const struct bcfmt_finding *follow_up)
{
	const struct bcfmt_where *a = &cause->where;
	const struct bcfmt_where *b = &follow_up->where;

	if (rule->is_first_block && a->block != 0)
		return false;
	if (!rule->may_be_weaker && cause->problem->severity < follow_up->problem->severity)
		return false;
	if (rule->scope >= SUPPRESS_DEVICE && !is_same_device(a, b))
		return false;
	if (rule->scope >= SUPPRESS_BUCKET && !is_same_number(a->bucket, b->bucket))
		return false;
	return rule->scope < SUPPRESS_KEY ||
	       (is_same_number(a->block, b->block) && is_same_number(a->key, b->key));
}
