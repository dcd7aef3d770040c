/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What a kernel does with a backing device: whether it takes it, and whether it joins it with the
 * cache. kernel: register_bdev(), bch_cached_dev_attach(), bch_cached_dev_run().
 */
#include <string.h>

#include "check/check_impl.h"
#include "check/predict.h"

#define BIT(outcome) (1u << BCFMT_OUTCOME_##outcome)

/* Why a device is not joined with the set, in the order of the kernel's questions. */
enum attach {
	ATTACH_YES,
	ATTACH_OTHER_SET,
	ATTACH_BLOCK,
	ATTACH_DUPLICATE, /* one of the devices with this uuid is, the others are not */
	ATTACH_NO_ENTRY,
	ATTACH_NO_ROOM,
};

static bool is_taken(const struct bcfmt_member *member, uint32_t page_bytes)
{
	struct bcfmt_prediction alone = { .kernel = UINT32_MAX, .page_bytes = page_bytes };
	bool is_refused;

	if (!member->has_magic || predict_super(member, &alone))
		return false;
	is_refused = alone.outcomes != 0;
	predict_clear(&alone);
	return !is_refused;
}

static bool has_free_slot(const struct bcfmt_set *set)
{
	for (uint32_t i = 0; i < set->n_uuids; i++)
		if (bcfmt_uuid_is_zero(set->uuids[i].uuid))
			return true;
	return false;
}

static bool has_twin(const struct bcfmt_set *set, const struct bcfmt_member *member)
{
	for (size_t i = 0; i < set->n_backing; i++)
		if (&set->backing[i] != member && set->backing[i].has_magic &&
		    !memcmp(set->backing[i].super.uuid, member->super.uuid, BCFMT_UUID_BYTES) &&
		    !memcmp(set->backing[i].super.set_uuid, member->super.set_uuid,
			    BCFMT_UUID_BYTES))
			return true;
	return false;
}

static bool is_fresh(const struct bcfmt_set *set)
{
	return !(set->cache.super.flags & BCFMT_SUPER_FLAG_SYNC);
}

/* The slot that the kernel finds; none in a set that is made anew. */
static bool has_entry(const struct bcfmt_set *set, const struct bcfmt_member *member,
		      uint32_t *inode)
{
	return !is_fresh(set) && bcfmt_set_inode(set, member->super.uuid, inode) == BCFMT_OK;
}

static enum attach ask(const struct check *ck, const struct bcfmt_member *member)
{
	const struct bcfmt_set *set = ck->set;
	uint32_t inode;

	if (memcmp(member->super.set_uuid, set->cache.super.set_uuid, BCFMT_UUID_BYTES))
		return ATTACH_OTHER_SET;
	if (member->super.block_sectors < set->cache.super.block_sectors)
		return ATTACH_BLOCK;
	if (has_twin(set, member))
		return ATTACH_DUPLICATE;
	switch (bcfmt_super_bdev_state(&member->super)) {
	case BCFMT_BDEV_CLEAN:
	case BCFMT_BDEV_DIRTY:
		if (has_entry(set, member, &inode))
			return ATTACH_YES;
		if (bcfmt_super_bdev_state(&member->super) == BCFMT_BDEV_DIRTY)
			return ATTACH_NO_ENTRY;
		break;
	case BCFMT_BDEV_NONE:
	case BCFMT_BDEV_STALE:
		break;
	}
	return is_fresh(set) || has_free_slot(set) ? ATTACH_YES : ATTACH_NO_ROOM;
}

bool predict_attaches(const struct check *ck, const struct bcfmt_member *member)
{
	enum attach attach = ask(ck, member);

	return is_taken(member, ck->set->geo.page_bytes) &&
	       (attach == ATTACH_YES || attach == ATTACH_DUPLICATE);
}

/* The device without a cache. */
static unsigned int alone(const struct bcfmt_member *member)
{
	switch (bcfmt_super_bdev_state(&member->super)) {
	case BCFMT_BDEV_NONE:
	case BCFMT_BDEV_STALE:
		return BIT(UNCACHED);
	case BCFMT_BDEV_CLEAN:
	case BCFMT_BDEV_DIRTY:
		break;
	}
	return BIT(WAITS);
}

static bcfmt_err add_line(struct bcfmt_prediction *out, enum bcfmt_problem_id id, const char *line)
{
	struct predict_event event = { .id = id };
	const struct bcfmt_kernel_effect *row = id ? predict_row(&event, out->kernel) : NULL;

	return predict_line(out->first_lines, &out->n_first_lines, BCFMT_PREDICTION_LINES,
			    row ? row->line : line, NULL);
}

/* What joining does to the dirty data that the cache holds. */
static void add_effects(const struct check *ck, struct bcfmt_prediction *out)
{
	const struct bcfmt_member *member = out->member;
	uint32_t inode;

	if (!has_entry(ck->set, member, &inode) || !ck->tree || !ck->inodes[inode].dirty_sectors)
		return;
	switch (bcfmt_super_bdev_state(&member->super)) {
	case BCFMT_BDEV_NONE:
		predict_effect(out, BCFMT_EFFECT_LOSES_WRITES, BCFMT_P_BACKING_DETACHED_DIRTY);
		break;
	case BCFMT_BDEV_STALE:
		predict_effect(out, BCFMT_EFFECT_LOSES_WRITES, BCFMT_P_BACKING_STALE_DIRTY);
		break;
	case BCFMT_BDEV_CLEAN:
		predict_effect(out, BCFMT_EFFECT_LOSES_WRITES, BCFMT_P_BACKING_CLEAN_DIRTY);
		break;
	case BCFMT_BDEV_DIRTY:
		break;
	}
}

/* With a cache that comes up. */
static bcfmt_err join(const struct check *ck, struct bcfmt_prediction *out)
{
	switch (ask(ck, out->member)) {
	case ATTACH_YES:
		if (ck->predict->has_no_bucket) {
			out->outcomes |= BIT(HANGS);
			return BCFMT_OK;
		}
		out->outcomes |= BIT(REGISTERS);
		add_effects(ck, out);
		return BCFMT_OK;
	case ATTACH_OTHER_SET:
		out->outcomes |= alone(out->member);
		return BCFMT_OK;
	case ATTACH_BLOCK:
		out->outcomes |= alone(out->member);
		return add_line(out, BCFMT_P_BACKING_BLOCK_SIZE, "");
	case ATTACH_DUPLICATE:
		out->outcomes |= BIT(REGISTERS) | alone(out->member);
		return add_line(out, BCFMT_P_BACKING_DUPLICATE, "");
	case ATTACH_NO_ENTRY:
		out->outcomes |= alone(out->member);
		return add_line(out, BCFMT_P_BACKING_NO_ENTRY, "");
	case ATTACH_NO_ROOM:
		out->outcomes |= alone(out->member);
		return add_line(out, BCFMT_P_NONE, "Not caching %pg, no room for UUID");
	}
	return BCFMT_OK;
}

/* The uuids of the table decide, and they were read. */
static bool is_table_known(const struct check *ck)
{
	return is_fresh(ck->set) ||
	       (ck->predict->is_same_uuids && (ck->set->uuids_state == BCFMT_UUIDS_OK ||
					       ck->set->uuids_state == BCFMT_UUIDS_BAD_SIZE));
}

/* The device with a cache of its set, as that is foretold. */
static bcfmt_err with_cache(const struct check *ck, const struct bcfmt_prediction *cache,
			    struct bcfmt_prediction *out)
{
	bcfmt_err err = BCFMT_OK;

	if (cache->outcomes & BIT(REGISTERS) && is_table_known(ck))
		err = join(ck, out);
	else if (cache->outcomes & BIT(REGISTERS))
		out->outcomes |= BIT(UNKNOWN) | BIT(REGISTERS) | alone(out->member);
	/* An error while they are joined leaves the device without its cache. */
	if (cache->outcomes & BIT(STOPS_SET) && cache->stage == BCFMT_STAGE_ATTACH) {
		out->outcomes |= BIT(REGISTERS) | BIT(UNCACHED) | BIT(WAITS);
		for (size_t i = 0; !err && i < cache->n_first_lines; i++)
			err = add_line(out, BCFMT_P_NONE, cache->first_lines[i]);
	}
	/* A cache that hangs or dies holds the lock of all registrations. */
	if (cache->outcomes & (BIT(HANGS) | BIT(OOPS)))
		out->outcomes |= BIT(HANGS);
	if (cache->outcomes & ~(BIT(REGISTERS) | BIT(HANGS)))
		out->outcomes |= alone(out->member);
	return err;
}

bcfmt_err predict_backing(struct check *ck, const struct bcfmt_prediction *cache,
			  struct bcfmt_prediction *out)
{
	bcfmt_err err = predict_super(out->member, out);

	if (err || out->outcomes) {
		predict_settle(out);
		return err;
	}
	out->stage = BCFMT_STAGE_ATTACH;
	if (ck->set->has_geometry && cache &&
	    !memcmp(out->member->super.set_uuid, ck->set->cache.super.set_uuid, BCFMT_UUID_BYTES))
		err = with_cache(ck, cache, out);
	else
		out->outcomes = alone(out->member);
	predict_settle(out);
	if (out->registers == BCFMT_REGISTERS_YES && out->outcomes & BIT(REGISTERS))
		out->stage = BCFMT_STAGE_RUNNING;
	return err;
}
