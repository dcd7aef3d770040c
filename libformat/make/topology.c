/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What the topology of a device says against formatting it, or of how fast it will be. */
#include <inttypes.h>
#include <limits.h>

#include "base/checked.h"
#include "make/make_impl.h"

#define WARN(mk, id, target, ...) \
	make_issue(mk, BCFMT_ISSUE_##id, BCFMT_MAKE_WARNING, target, __VA_ARGS__)
/* Memory for the stripes of one device that is worth a word. */
#define STRIPE_MEMORY_BYTES (64ull << 20)

/*
 * kernel: bcache_device_init() takes io_opt as its stripe and keeps a counter and a bit for each;
 * from 6.7 on stripes have at least 4 MiB.
 */
static void judge_stripe_count(struct make *mk, const struct bcfmt_make_target *target,
			       uint64_t stripe_sectors, uint64_t sectors)
{
	uint64_t stripes = div_round_up(sectors, stripe_sectors);
	uint64_t memory_bytes = stripes * sizeof(int) + stripes / CHAR_BIT;

	if (stripes > INT_MAX)
		make_issue(mk, BCFMT_ISSUE_STRIPES_OVERFLOW,
			   mk->params->may_overwrite ? BCFMT_MAKE_WARNING : BCFMT_MAKE_REFUSAL,
			   target,
			   "its optimal i/o size of %" PRIu64 " bytes makes %" PRIu64 " stripes of"
			   " it: kernels before 6.7 take at most %d and will not register it%s",
			   stripe_sectors * BCFMT_SECTOR_BYTES, stripes, INT_MAX,
			   mk->params->may_overwrite ? "" : "; --force formats it for newer ones");
	else if (memory_bytes >= STRIPE_MEMORY_BYTES)
		WARN(mk, STRIPES_MANY, target,
		     "its optimal i/o size of %" PRIu64 " bytes makes %" PRIu64 " stripes of it:"
		     " kernels before 6.7 need %" PRIu64 " MiB of memory for them",
		     stripe_sectors * BCFMT_SECTOR_BYTES, stripes, memory_bytes >> 20);
}

static void judge_stripes(struct make *mk, size_t i)
{
	const struct bcfmt_make_target *target = &mk->plan->targets[i];
	uint64_t stripe_sectors = mk->devices[i]->topology.optimal_io_bytes / BCFMT_SECTOR_BYTES;
	uint64_t data_offset = target->super.data_offset_sectors;
	uint64_t dev_sectors = bcfmt_dev_bytes(target->dev) / BCFMT_SECTOR_BYTES;

	if (!stripe_sectors || data_offset >= dev_sectors)
		return;
	judge_stripe_count(mk, target, stripe_sectors, dev_sectors - data_offset);
	/* kernel: bcache_dev_sectors_dirty_add() masks with the size of a stripe */
	if (!is_pow2(stripe_sectors))
		WARN(mk, STRIPE_ODD, target,
		     "its optimal i/o size of %" PRIu64 " bytes is no power of 2: kernels count"
		     " dirty data of stripes wrong then",
		     stripe_sectors * BCFMT_SECTOR_BYTES);
	if (data_offset % stripe_sectors)
		WARN(mk, STRIPE_MISALIGNED, target,
		     "data would begin at sector %" PRIu64 ", inside a stripe of %" PRIu64
		     " sectors: --data-offset %" PRIu64 " begins with one",
		     data_offset, stripe_sectors,
		     div_round_up(data_offset, stripe_sectors) * stripe_sectors);
}

static void judge_alignment(struct make *mk, size_t i)
{
	const struct bcfmt_make_target *target = &mk->plan->targets[i];
	const struct bcfmt_topology *topology = &mk->devices[i]->topology;
	uint32_t physical_bytes = topology->physical_block_bytes;
	uint32_t physical_sectors = physical_bytes / BCFMT_SECTOR_BYTES;

	if (topology->misaligned_bytes)
		WARN(mk, DEVICE_MISALIGNED, target,
		     "begins %" PRIu64 " bytes off its physical blocks of %" PRIu32 " bytes, which"
		     " makes writing slow: move the partition",
		     topology->misaligned_bytes, physical_bytes);
	else if (physical_sectors && topology->start_sector % physical_sectors)
		WARN(mk, DEVICE_MISALIGNED, target,
		     "begins at sector %" PRIu64 " of its disk, inside a physical block of %" PRIu32
		     " bytes, which makes writing slow: move the partition",
		     topology->start_sector, physical_bytes);
	if (target->is_backing && physical_sectors &&
	    target->super.data_offset_sectors % physical_sectors)
		WARN(mk, DEVICE_MISALIGNED, target,
		     "data would begin at sector %" PRIu64 ", inside a physical block of %" PRIu32
		     " bytes, which makes writing slow",
		     target->super.data_offset_sectors, physical_bytes);
}

static void judge_blocks(struct make *mk, size_t i)
{
	const struct bcfmt_make_target *target = &mk->plan->targets[i];
	const struct bcfmt_topology *topology = &mk->devices[i]->topology;

	if (mk->block_bytes < topology->physical_block_bytes &&
	    topology->physical_block_bytes <= BCFMT_MAKE_BLOCK_BYTES_MAX)
		WARN(mk, BLOCK_BELOW_PHYSICAL, target,
		     "blocks of %" PRIu64 " bytes are smaller than its physical blocks: --block"
		     " %" PRIu32 " writes faster, as long as everything above takes such blocks",
		     mk->block_bytes, topology->physical_block_bytes);
	if (!target->is_backing && topology->logical_block_bytes > BCFMT_SECTOR_BYTES)
		WARN(mk, LARGE_BLOCKS, target,
		     "logical blocks of %" PRIu32 " bytes: users have seen kernels send such cache"
		     " devices i/o that is not aligned to them; try it before you rely on it",
		     topology->logical_block_bytes);
}

static void judge_zones(struct make *mk, size_t i)
{
	const struct bcfmt_make_target *target = &mk->plan->targets[i];
	const struct bcfmt_topology *topology = &mk->devices[i]->topology;
	uint64_t data_offset = target->super.data_offset_sectors;
	uint32_t zone_sectors = topology->zone_sectors;

	if (!zone_sectors)
		return;
	if (!target->is_backing) {
		make_issue(mk, BCFMT_ISSUE_ZONED_CACHE,
			   topology->is_host_managed ? BCFMT_MAKE_REFUSAL : BCFMT_MAKE_WARNING,
			   target, "has zones%s",
			   topology->is_host_managed
				   ? " that are written in order only: a cache is written anywhere"
				   : ": as a cache it is written anywhere, which is slow");
		return;
	}
	if (mk->params->is_writeback)
		WARN(mk, ZONED_WRITETHROUGH, target,
		     "has zones: formatted for writethrough, writeback does not work with them");
	if (data_offset < zone_sectors)
		make_issue(mk, BCFMT_ISSUE_ZONED_OFFSET, BCFMT_MAKE_REFUSAL, target,
			   "data offset %" PRIu64 ": the first zone of %" PRIu32 " sectors is for"
			   " the superblock",
			   data_offset, zone_sectors);
	else if (data_offset % zone_sectors)
		WARN(mk, ZONED_OFFSET, target,
		     "data offset %" PRIu64 " is no multiple of its zones of %" PRIu32 " sectors",
		     data_offset, zone_sectors);
	else if (!mk->params->data_offset_sectors)
		make_issue(mk, BCFMT_ISSUE_ZONED_OFFSET, BCFMT_MAKE_NOTE, target,
			   "has zones: the first one, of %" PRIu32
			   " sectors, is for the superblock",
			   zone_sectors);
}

void make_judge_topology(struct make *mk, size_t i)
{
	if (mk->devices[i]->is_backing)
		judge_stripes(mk, i);
	judge_blocks(mk, i);
	judge_alignment(mk, i);
	judge_zones(mk, i);
}
