/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What speaks against formatting: sizes, uuids, contents, and what kernels refuse to register. */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include <bcfmt/geometry.h>
#include <bcfmt/journal.h>
#include <bcfmt/uuid.h>

#include "base/checked.h"
#include "make/make_impl.h"

#define REFUSE(mk, id, target, ...) \
	make_issue(mk, BCFMT_ISSUE_##id, BCFMT_MAKE_REFUSAL, target, __VA_ARGS__)
#define WARN(mk, id, target, ...) \
	make_issue(mk, BCFMT_ISSUE_##id, BCFMT_MAKE_WARNING, target, __VA_ARGS__)

static bool judge_block(struct make *mk)
{
	uint64_t bytes = mk->block_bytes;

	if (bytes % BCFMT_SECTOR_BYTES || !is_pow2(bytes)) {
		REFUSE(mk, BLOCK_SIZE, NULL,
		       "blocks of %" PRIu64 " bytes: the size has to be a power of 2 and at least"
		       " a sector of 512 bytes",
		       bytes);
		return false;
	}
	if (bytes <= BCFMT_MAKE_BLOCK_BYTES_MAX)
		return true;
	REFUSE(mk, BLOCK_SIZE, NULL,
	       "blocks of %" PRIu64 " bytes: kernels with pages of 4096 bytes register no larger"
	       " ones than that",
	       bytes);
	return false;
}

static bool judge_bucket(struct make *mk, bool has_block)
{
	uint64_t bytes = mk->bucket_bytes;

	if (bytes % BCFMT_SECTOR_BYTES || !is_pow2(bytes)) {
		REFUSE(mk, BUCKET_SIZE, NULL,
		       "buckets of %" PRIu64 " bytes: the size has to be a power of 2 and at least"
		       " a page of 4096 bytes",
		       bytes);
		return false;
	}
	if (bytes > BCFMT_MAKE_BUCKET_BYTES_MAX) {
		REFUSE(mk, BUCKET_SIZE, NULL,
		       "buckets of %" PRIu64
		       " bytes: more than 2 GiB cannot be checked or repaired",
		       bytes);
		return false;
	}
	if (has_block && bytes < mk->block_bytes) {
		REFUSE(mk, BUCKET_SIZE, NULL,
		       "buckets of %" PRIu64 " bytes are smaller than blocks of %" PRIu64 " bytes",
		       bytes, mk->block_bytes);
		return false;
	}
	return true;
}

static void judge_uuids(struct make *mk)
{
	struct bcfmt_make_plan *plan = mk->plan;
	char text[BCFMT_UUID_TEXT_BYTES];

	if (bcfmt_uuid_is_zero(mk->params->set_uuid))
		REFUSE(mk, ZERO_UUID, NULL, "the set uuid is all zeros, kernels refuse it");
	for (size_t i = 0; i < plan->n_targets; i++) {
		const uint8_t *uuid = mk->devices[i]->uuid;

		bcfmt_uuid_text(uuid, text);
		if (bcfmt_uuid_is_zero(uuid))
			REFUSE(mk, ZERO_UUID, &plan->targets[i],
			       "its uuid is all zeros, kernels refuse it");
		else if (!memcmp(uuid, bcfmt_uuid_invalid(), BCFMT_UUID_BYTES))
			REFUSE(mk, DUPLICATE_UUID, &plan->targets[i],
			       "the uuid %s is the one by which kernels mark a detached device",
			       text);
		for (size_t j = 0; j < i; j++) {
			if (memcmp(uuid, mk->devices[j]->uuid, BCFMT_UUID_BYTES))
				continue;
			REFUSE(mk, DUPLICATE_UUID, &plan->targets[i],
			       "has the uuid %s of %s: a set attaches only one of them", text,
			       bcfmt_dev_name(mk->devices[j]->dev));
			break;
		}
	}
}

static void judge_set(struct make *mk, size_t n_caches)
{
	const struct bcfmt_make_params *params = mk->params;
	char text[BCFMT_UUID_TEXT_BYTES];

	if (n_caches > 1)
		REFUSE(mk, SEVERAL_CACHES, NULL,
		       "%zu cache devices: a set has exactly one since kernel 5.10, and no newer"
		       " kernel registers a second one; join them with RAID or LVM first",
		       n_caches);
	if (!params->is_set_uuid_given)
		return;
	bcfmt_uuid_text(params->set_uuid, text);
	if (params->is_set_running && n_caches)
		REFUSE(mk, SET_RUNNING, NULL,
		       "the kernel runs the set %s, which cannot take another cache device: leave"
		       " --cset-uuid out, or stop the set first",
		       text);
	if (params->is_set_running && params->set_block_bytes > mk->block_bytes)
		REFUSE(mk, BLOCK_BELOW_SET, NULL,
		       "blocks of %" PRIu64 " bytes are smaller than the %" PRIu32 " bytes of the"
		       " cache of set %s, which will not attach the device: use --block %" PRIu32,
		       mk->block_bytes, params->set_block_bytes, text, params->set_block_bytes);
	if (n_caches)
		make_issue(mk, BCFMT_ISSUE_SET_UUID_REUSED, BCFMT_MAKE_NOTE, NULL,
			   "if the set uuid %s was in use before, nothing of the old cache comes"
			   " back: the whole future journal is wiped; but a backing device that is"
			   " still marked dirty for the old one will not attach",
			   text);
}

void make_judge_run(struct make *mk)
{
	const struct bcfmt_make_params *params = mk->params;
	size_t n_caches = 0;
	bool has_block = judge_block(mk);

	mk->has_sizes = judge_bucket(mk, has_block) && has_block;
	for (size_t i = 0; i < mk->plan->n_targets; i++)
		n_caches += !mk->devices[i]->is_backing;
	judge_uuids(mk);
	judge_set(mk, n_caches);
	if (!n_caches || mk->plan->is_refused)
		return;
	if (mk->bucket_bytes < params->host_page_bytes)
		WARN(mk, BUCKET_BELOW_PAGE, NULL,
		     "buckets of %" PRIu64
		     " bytes are smaller than a page of this machine (%" PRIu32
		     " bytes): its kernel will not register the cache",
		     mk->bucket_bytes, params->host_page_bytes);
	if (mk->bucket_bytes / mk->block_bytes < BCFMT_JOURNAL_ROOM_ENTRIES)
		WARN(mk, BUCKET_FEW_BLOCKS, NULL,
		     "buckets of %" PRIu64 " bytes have only %" PRIu64
		     " blocks: a journal of such buckets is nearly full much of the time, and then"
		     " kernels can hang while they write or register; use --bucket %" PRIu64
		     " or more",
		     mk->bucket_bytes, mk->bucket_bytes / mk->block_bytes,
		     mk->block_bytes * BCFMT_JOURNAL_ROOM_ENTRIES);
	if (!params->is_discard)
		return;
	WARN(mk, DISCARD, NULL,
	     "discard is switched on: several users lost caches with it (bad checksums of priorities"
	     " after a reboot), and kernels from 6.19 on ignore it; leave it off unless the device"
	     " needs it");
	if (!params->may_discard)
		WARN(mk, DISCARD_LEFT_OUT, NULL,
		     "the device itself is not discarded now: no backup can bring back what was");
}

static void judge_old_super(struct make *mk, const struct bcfmt_make_target *target,
			    uint64_t data_offset)
{
	const char *role = target->old.is_backing ? "backing" : "cache";
	char uuid[BCFMT_UUID_TEXT_BYTES], set_uuid[BCFMT_UUID_TEXT_BYTES];
	bool is_same_set;

	bcfmt_uuid_text(target->old.uuid, uuid);
	bcfmt_uuid_text(target->old.set_uuid, set_uuid);
	if (!mk->params->may_wipe_bcache) {
		REFUSE(mk, IS_BCACHE, target,
		       "already a bcache %s device, uuid %s, set %s: overwrite it with"
		       " --wipe-bcache",
		       role, uuid, set_uuid);
		return;
	}
	is_same_set = !memcmp(target->old.set_uuid, mk->params->set_uuid, BCFMT_UUID_BYTES);
	WARN(mk, IS_BCACHE, target, "overwritten: a bcache %s device, uuid %s, %s %s", role, uuid,
	     is_same_set ? "of the same set" : "set", set_uuid);
	if (target->is_backing && target->old.is_backing && mk->has_sizes &&
	    target->old.data_offset_sectors != data_offset)
		WARN(mk, DATA_OFFSET, target,
		     "its data began at sector %" PRIu64 ", and will be looked for at sector"
		     " %" PRIu64 ": --data-offset %" PRIu64 " keeps the volume",
		     target->old.data_offset_sectors, data_offset, target->old.data_offset_sectors);
}

static void judge_signature(struct make *mk, const struct bcfmt_make_target *target,
			    const struct bcfmt_signature *signature)
{
	const char *label = signature->label, *uuid = signature->uuid;
	bool is_allowed = mk->params->may_overwrite;
	char where[40] = "";

	if (signature->magic_bytes)
		snprintf(where, sizeof(where), " at byte %" PRIu64, signature->offset_bytes);
	make_issue(mk, BCFMT_ISSUE_SIGNATURE, is_allowed ? BCFMT_MAKE_WARNING : BCFMT_MAKE_REFUSAL,
		   target, "%s %s%s%s%s%s%s%s%s", is_allowed ? "overwritten:" : "holds",
		   signature->type, signature->is_partition_table ? " partition table" : "", where,
		   *label ? ", label " : "", label, *uuid ? ", uuid " : "", uuid,
		   is_allowed ? "" : ": remove it with wipefs -a, or overwrite it with --force");
}

void make_judge_contents(struct make *mk, size_t i)
{
	const struct bcfmt_make_target *target = &mk->plan->targets[i];
	const struct bcfmt_make_device *device = mk->devices[i];

	if (*device->topology.bcache_name)
		REFUSE(mk, ON_BCACHE, target,
		       "is %s, or stands on it: with bcache on bcache kernels fail or crash",
		       device->topology.bcache_name);
	if (target->has_old)
		judge_old_super(mk, target, make_data_offset(mk, i));
	for (size_t j = 0; j < device->n_signatures; j++)
		judge_signature(mk, target, &device->signatures[j]);
}

static void refuse_few_buckets(struct make *mk, const struct bcfmt_make_target *target)
{
	uint64_t most_bytes = bcfmt_dev_bytes(target->dev) / BCFMT_MIN_BUCKETS;

	if (most_bytes < BCFMT_MAKE_BLOCK_BYTES_MAX) {
		REFUSE(mk, DEVICE_TOO_SMALL, target,
		       "%" PRIu64 " bytes are too small for a cache: kernels want at least %u"
		       " buckets of at least 4096 bytes",
		       bcfmt_dev_bytes(target->dev), BCFMT_MIN_BUCKETS);
		return;
	}
	REFUSE(mk, FEW_BUCKETS, target,
	       "%" PRIu64 " buckets of %" PRIu64 " bytes: kernels register no cache of less than"
	       " %u; use --bucket %" PRIu64 "k or less",
	       target->super.nbuckets_or_data_offset, mk->bucket_bytes, BCFMT_MIN_BUCKETS,
	       ((uint64_t)1 << log2_floor(most_bytes)) / 1024);
}

static void refuse_block(struct make *mk, const struct bcfmt_make_target *target)
{
	uint32_t device_bytes = bcfmt_dev_logical_block_bytes(target->dev);

	if (device_bytes > BCFMT_MAKE_BLOCK_BYTES_MAX)
		REFUSE(mk, BLOCK_BELOW_DEVICE, target,
		       "logical blocks of %" PRIu32 " bytes: kernels with pages of 4096 bytes"
		       " cannot use it",
		       device_bytes);
	else
		REFUSE(mk, BLOCK_BELOW_DEVICE, target,
		       "blocks of %" PRIu64 " bytes are smaller than the logical blocks of the"
		       " device: use --block %" PRIu32,
		       mk->block_bytes, device_bytes);
}

/* One fault of the superblock that would be written. */
static void refuse_fault(struct make *mk, const struct bcfmt_make_target *target, uint32_t fault)
{
	switch (fault) {
	case BCFMT_SUPER_BLOCK_BELOW_DEVICE:
		refuse_block(mk, target);
		break;
	case BCFMT_SUPER_BUCKET_BELOW_PAGE:
		REFUSE(mk, BUCKET_BELOW_PAGE, target,
		       "buckets of %" PRIu64 " bytes are smaller than a page, kernels want at least"
		       " 4096 bytes",
		       mk->bucket_bytes);
		break;
	case BCFMT_SUPER_FEW_BUCKETS:
		refuse_few_buckets(mk, target);
		break;
	case BCFMT_SUPER_BAD_DATA_OFFSET:
		REFUSE(mk, DATA_OFFSET, target, "data offset %" PRIu64 ": at least %u sectors",
		       target->super.data_offset_sectors, BCFMT_MAKE_DATA_OFFSET);
		break;
	case BCFMT_SUPER_DATA_PAST_END:
		REFUSE(mk, DEVICE_TOO_SMALL, target,
		       "ends with sector %" PRIu64 ", its data would begin at sector %" PRIu64,
		       bcfmt_dev_bytes(target->dev) / BCFMT_SECTOR_BYTES - 1,
		       target->super.data_offset_sectors);
		break;
	case BCFMT_SUPER_ZERO_UUID:
	case BCFMT_SUPER_ZERO_SET_UUID:
		break; /* of the run */
	default:
		REFUSE(mk, NO_KERNEL, target,
		       "no kernel would register it (superblock fault 0x%" PRIx32 ")", fault);
	}
}

void make_judge_super(struct make *mk, size_t i)
{
	const struct bcfmt_make_target *target = &mk->plan->targets[i];
	uint64_t dev_bytes = bcfmt_dev_bytes(target->dev);
	struct bcfmt_geometry geo;
	uint32_t faults;

	faults = bcfmt_super_faults(&target->super, dev_bytes,
				    bcfmt_dev_logical_block_bytes(target->dev),
				    BCFMT_MAKE_BLOCK_BYTES_MAX);
	for (uint32_t bit = 1; bit; bit <<= 1)
		if (faults & bit)
			refuse_fault(mk, target, bit);
	if (target->is_backing || faults)
		return;
	if (bcfmt_geometry_init(&target->super, dev_bytes, BCFMT_MAKE_BLOCK_BYTES_MAX, &geo))
		REFUSE(mk, NO_KERNEL, target,
		       "%" PRIu64 " buckets of %" PRIu64 " bytes are more than pointers can reach",
		       target->super.nbuckets_or_data_offset, mk->bucket_bytes);
}
