/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Memory that runs out and devices that fail while a superblock is looked for: an error, less
 * evidence, or the same proposal; never another one.
 */
#include <criterion/criterion.h>

#include <stdlib.h>
#include <string.h>

#include "alloc_help.h"
#include "base/bytes.h"
#include "kit/set_kit.h"
#include "repair/super_find.h"

static struct set_kit kit;
static struct bcfmt_super right[2];

static void begin(void)
{
	struct set_kit_shape shape = { .journal_buckets = 5 };
	struct bcfmt_key keys[40], journal[3];
	uint64_t ptr;

	set_kit_init(&kit, &shape);
	set_kit_backing(&kit, 0, BCFMT_BDEV_DIRTY, 4096);
	for (uint32_t i = 0; i < 40; i++)
		keys[i] = set_kit_dirty(0, 16 + i * 16, 8,
					set_kit_ptr(&kit, kit.free_bucket + 10 + i, 0));
	ptr = set_kit_ptr(&kit, kit.free_bucket, 0);
	set_kit_bset(&kit, ptr, set_kit_bset(&kit, ptr, 0, 9, keys, 20), 9, keys + 20, 20);
	set_kit_tables(&kit);
	for (uint32_t i = 0; i < 3; i++)
		journal[i] = set_kit_dirty(0, 700 + i * 100, 8,
					   set_kit_ptr(&kit, kit.free_bucket + 60 + i, 0));
	for (uint32_t seq = 1, sector = 0; seq <= 12; seq++) {
		struct set_kit_jset jset = { .ring_index = 1,
					     .sector = sector,
					     .seq = seq,
					     .last_seq = 1 + seq / 2,
					     .root_ptr = ptr,
					     .keys = journal,
					     .n_keys = seq % 4 };

		sector = set_kit_jset(&kit, &jset);
	}
	for (unsigned int i = 0; i < 2; i++) {
		uint8_t raw[BCFMT_SUPER_BYTES];

		cr_assert_eq(bcfmt_dev_read(i ? kit.backing[0] : kit.dev, 4096, raw, sizeof(raw)),
			     BCFMT_OK);
		bcfmt_super_decode(raw, &right[i]);
	}
	/* The backing device belongs to the kit's set. */
	memcpy(right[1].set_uuid, kit.super.set_uuid, BCFMT_UUID_BYTES);
	set_kit_zero(&kit, 8, 8);
	cr_assert_eq(bcfmt_dev_zero(kit.backing[0], 4096, 4096), BCFMT_OK);
}

static void end(void)
{
	is_counting = false;
	set_kit_clear(&kit);
}

TestSuite(repair_super_fail, .init = begin, .fini = end, .timeout = 100);

/* The cache's own superblock is put back for those who ask the cache. */
static void restore_cache(void)
{
	uint8_t raw[BCFMT_SUPER_BYTES] = { 0 };

	bcfmt_super_encode(&right[0], raw);
	cr_assert_eq(bcfmt_dev_write(kit.dev, 4096, raw, sizeof(raw)), BCFMT_OK);
}

static bcfmt_err propose(bool is_backing, struct bcfmt_dev *cache, struct bcfmt_dev *backing,
			 struct super_proposal *out)
{
	bcfmt_err err;

	bcfmt_ctx_fault_clear(kit.ctx);
	is_counting = fail_at != 0;
	n_allocations = 0;
	err = is_backing ? repair_super_backing(kit.ctx, backing, &cache, 1, out)
			 : repair_super_cache(kit.ctx, cache, &backing, 1, out);
	is_counting = false;
	return err;
}

static bool is_right(bool is_backing, const struct super_proposal *proposal)
{
	const struct bcfmt_super *got = &proposal->super, *want = &right[is_backing];

	if (is_backing)
		return got->version == want->version && got->data_offset_sectors == 16 &&
		       !memcmp(got->uuid, want->uuid, BCFMT_UUID_BYTES) &&
		       !memcmp(got->set_uuid, want->set_uuid, BCFMT_UUID_BYTES) &&
		       bcfmt_super_bdev_state(got) == BCFMT_BDEV_DIRTY;
	return got->bucket_sectors == want->bucket_sectors &&
	       got->block_sectors == want->block_sectors && got->keys == want->keys &&
	       got->first_bucket == want->first_bucket && got->version == want->version &&
	       got->nbuckets_or_data_offset == want->nbuckets_or_data_offset &&
	       load_le64(got->set_uuid) == load_le64(want->set_uuid);
}

static void each_allocation(bool is_backing, bool is_lasting)
{
	struct super_proposal proposal;
	bcfmt_err err;

	is_failing_on = is_lasting;
	fail_at = 0;
	cr_assert_eq(propose(is_backing, kit.dev, kit.backing[0], &proposal), BCFMT_OK);
	cr_assert_eq(proposal.outcome, SUPER_PROPOSED, "%s", proposal.why);
	cr_assert(is_right(is_backing, &proposal));
	for (fail_at = 1; fail_at < 100000; fail_at++) {
		err = propose(is_backing, kit.dev, kit.backing[0], &proposal);
		if (n_allocations < fail_at)
			break;
		cr_assert(err == BCFMT_E_NOMEM ||
				  (err == BCFMT_OK && proposal.outcome == SUPER_PROPOSED &&
				   is_right(is_backing, &proposal)),
			  "allocation %llu: %s, outcome %u", (unsigned long long)fail_at,
			  bcfmt_err_name(err), proposal.outcome);
	}
	cr_assert_gt(fail_at, 5);
	cr_assert_eq(err, BCFMT_OK);
}

Test(repair_super_fail, memory_cache)
{
	each_allocation(false, false);
	each_allocation(false, true);
}

Test(repair_super_fail, memory_backing)
{
	restore_cache();
	each_allocation(true, false);
	each_allocation(true, true);
}

/* From read n on nothing can be read of one device. */
static void each_read(bool is_backing, bool of_backing)
{
	uint64_t n = 0;
	unsigned int n_right = 0, n_less = 0;
	bool is_same = false;

	for (n = 1; n < 20000 && !is_same; n++) {
		struct bcfmt_dev_faults faults = { .fail_read = n };
		struct bcfmt_dev *overlay, *faulty;
		struct super_proposal proposal;
		bcfmt_err err;

		cr_assert_eq(bcfmt_dev_overlay(kit.ctx, of_backing ? kit.backing[0] : kit.dev,
					       &overlay),
			     BCFMT_OK);
		cr_assert_eq(bcfmt_dev_faulty(kit.ctx, overlay, &faults, &faulty), BCFMT_OK);
		err = propose(is_backing, of_backing ? kit.dev : faulty,
			      of_backing ? faulty : kit.backing[0], &proposal);
		cr_assert_eq(err, BCFMT_OK, "read %llu: %s", (unsigned long long)n,
			     bcfmt_ctx_fault(kit.ctx));
		if (proposal.outcome == SUPER_PROPOSED) {
			cr_assert(is_right(is_backing, &proposal) || proposal.guessed,
				  "read %llu: %s", (unsigned long long)n, proposal.why);
			n_right++;
		} else {
			n_less++;
		}
		/* Past the last read there is no fault to be had: a read of ours must fail. */
		{
			uint8_t sector[512];

			is_same = bcfmt_dev_read(faulty, 0, sector, sizeof(sector)) == BCFMT_OK;
		}
		bcfmt_dev_free(faulty);
	}
	cr_assert(is_same, "%llu reads", (unsigned long long)n);
	cr_assert_gt(n_right, 0);
	cr_assert_gt(n_less, 0);
}

Test(repair_super_fail, reads_of_the_cache)
{
	each_read(false, false);
	restore_cache();
	each_read(true, false);
}
