/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Whose data an inode is: live slots, adoptions, what older uuid tables prove, refusals. */
#include "check_help.h"

#include <bcfmt/owner.h>
#include <bcfmt/write.h>
#include <bcfmt/writeback.h>

TestSuite(home, .init = begin, .fini = end);

static struct bcfmt_home *home;

static bcfmt_err ask(const struct bcfmt_adoption *adoptions, size_t n, bool is_auto)
{
	bcfmt_home_free(home);
	bcfmt_ctx_fault_clear(kit.ctx);
	return bcfmt_home_new(kit.set, adoptions, n, is_auto, &home);
}

static void expect_refusal(size_t i, enum bcfmt_home_refusal refusal)
{
	cr_assert_lt(i, home->n_devices);
	cr_expect_eq(home->devices[i].refusal, refusal, "device %zu: %u", i,
		     home->devices[i].refusal);
	cr_expect_eq(!*bcfmt_home_refusal_text(refusal), refusal == BCFMT_HOME_OK);
}

static void expect_fault(const char *part)
{
	cr_expect_not_null(strstr(bcfmt_ctx_fault(kit.ctx), part), "%s", bcfmt_ctx_fault(kit.ctx));
}

static struct bcfmt_adoption adopt(uint32_t inode, uint8_t uuid_byte)
{
	struct bcfmt_adoption adoption = { .inode = inode };

	memset(adoption.uuid, uuid_byte, sizeof(adoption.uuid));
	return adoption;
}

static void open_with_root(uint64_t uuid_ptr)
{
	struct set_kit_jset jset = {
		.ring_index = 1, .seq = 8, .root_ptr = leaf_of(0, NULL, 0), .uuid_ptr = uuid_ptr
	};

	set_kit_tables(&kit);
	set_kit_jset(&kit, &jset);
	cr_assert_eq(set_kit_open(&kit), BCFMT_OK);
}

Test(home, a_live_slot_is_the_devices_own)
{
	set_kit_backing(&kit, 0, BCFMT_BDEV_DIRTY, 4096);
	set_kit_backing(&kit, 3, BCFMT_BDEV_CLEAN, 4096);
	open_with_root(0);
	cr_assert_eq(ask(NULL, 0, false), BCFMT_OK);
	cr_assert_eq(home->n_devices, 2);
	expect_refusal(0, BCFMT_HOME_OK);
	cr_expect(home->devices[1].has_slot);
	cr_assert_eq(home->devices[1].n_inodes, 1);
	cr_expect_eq(home->devices[1].inodes[0], 3);
	cr_expect_not(home->devices[1].is_adopted);
	bcfmt_home_free(home);
}

Test(home, stale_and_detached_devices_need_a_word)
{
	struct bcfmt_adoption words[] = { adopt(0, 0xb0), adopt(3, 0xb3) };

	set_kit_backing(&kit, 0, BCFMT_BDEV_STALE, 4096);
	set_kit_backing(&kit, 3, BCFMT_BDEV_NONE, 4096);
	open_with_root(0);
	cr_assert_eq(ask(NULL, 0, false), BCFMT_OK);
	expect_refusal(0, BCFMT_HOME_STALE);
	expect_refusal(1, BCFMT_HOME_DETACHED);
	cr_assert_eq(ask(words, 1, false), BCFMT_OK);
	expect_refusal(0, BCFMT_HOME_OK);
	expect_refusal(1, BCFMT_HOME_DETACHED);
	cr_assert_eq(ask(words, 2, false), BCFMT_OK);
	expect_refusal(1, BCFMT_HOME_OK);
	cr_expect_eq(home->devices[1].n_inodes, 1);
	cr_assert_eq(ask(NULL, 0, true), BCFMT_OK);
	expect_refusal(0, BCFMT_HOME_OK);
	expect_refusal(1, BCFMT_HOME_OK);
	bcfmt_home_free(home);
}

Test(home, devices_that_cannot_be_told_apart_or_are_wrong_get_nothing)
{
	uint8_t byte = 0xff;

	set_kit_backing(&kit, 0, BCFMT_BDEV_DIRTY, 4096);
	set_kit_backing(&kit, 0, BCFMT_BDEV_DIRTY, 4096);
	set_kit_backing(&kit, 2, BCFMT_BDEV_DIRTY, 4096);
	set_kit_backing(&kit, 3, BCFMT_BDEV_DIRTY, 4096);
	kit.uuids[5] = kit.uuids[3];
	/* The label; the checksum does not fit any more. */
	cr_assert_eq(bcfmt_dev_write(kit.backing[2], 4096 + 72, &byte, 1), BCFMT_OK);
	open_with_root(0);
	cr_assert_eq(ask(NULL, 0, false), BCFMT_OK);
	expect_refusal(0, BCFMT_HOME_TWIN);
	expect_refusal(1, BCFMT_HOME_TWIN);
	expect_refusal(2, BCFMT_HOME_SUPER);
	expect_refusal(3, BCFMT_HOME_SLOTS);
	bcfmt_home_free(home);
}

Test(home, a_device_of_another_set_gets_nothing)
{
	set_kit_backing(&kit, 0, BCFMT_BDEV_DIRTY, 4096);
	kit.super.set_uuid[3] ^= 1;
	open_with_root(0);
	cr_assert_eq(ask(NULL, 0, true), BCFMT_OK);
	expect_refusal(0, BCFMT_HOME_OTHER_SET);
	bcfmt_home_free(home);
}

Test(home, adoptions_that_cannot_be)
{
	struct bcfmt_adoption twice[] = { adopt(2, 0xb0), adopt(2, 0xb1) };
	struct bcfmt_adoption wrong;

	set_kit_backing(&kit, 0, BCFMT_BDEV_DIRTY, 4096);
	set_kit_backing(&kit, 1, BCFMT_BDEV_DIRTY, 4096);
	open_with_root(0);
	wrong = adopt(2, 0x77);
	cr_expect_eq(ask(&wrong, 1, false), BCFMT_E_ARG);
	expect_fault("none of the given backing devices");
	wrong = adopt(1, 0xb0);
	cr_expect_eq(ask(&wrong, 1, false), BCFMT_E_ARG);
	expect_fault("it belongs to b1b1b1b1");
	wrong = adopt(kit.set->n_uuids, 0xb0);
	cr_expect_eq(ask(&wrong, 1, false), BCFMT_E_ARG);
	expect_fault("slots");
	cr_expect_eq(ask(twice, 2, false), BCFMT_E_ARG);
	expect_fault("twice");
	cr_expect_null(home);
}

Test(home, adopted_inodes_come_behind_the_own_one_the_newest_first)
{
	struct bcfmt_adoption words[] = { adopt(0, 0xb4), adopt(2, 0xb4) };

	set_kit_backing(&kit, 4, BCFMT_BDEV_CLEAN, 4096);
	memset(&kit.uuids[0], 0, sizeof(kit.uuids[0]));
	memcpy(kit.uuids[2].uuid, bcfmt_uuid_invalid(), BCFMT_UUID_BYTES);
	open_with_root(0);
	cr_assert_eq(ask(words, 2, false), BCFMT_OK);
	cr_assert_eq(home->devices[0].n_inodes, 3);
	cr_expect_eq(home->devices[0].inodes[0], 4);
	cr_expect_eq(home->devices[0].inodes[1], 2);
	cr_expect_eq(home->devices[0].inodes[2], 0);
	cr_expect(home->devices[0].is_adopted);
	bcfmt_home_free(home);
}

/* ---- older tables ---- */

/* An entry whose table, in a bucket of its own, has this uuid in slot 2. */
static void old_table(uint64_t seq, uint64_t bucket, uint8_t uuid_byte)
{
	struct bcfmt_uuid_entry entries[SET_KIT_UUIDS] = { { .first_reg = 1 } };
	struct bcfmt_target target = { kit.ctx, kit.dev, &kit.geo };
	struct set_kit_jset jset = { .ring_index = 1,
				     .seq = seq,
				     .uuid_ptr = set_kit_ptr(&kit, bucket, 0),
				     .root_ptr = ptr_of(0),
				     .sector = (uint32_t)seq };

	memset(entries[2].uuid, uuid_byte, BCFMT_UUID_BYTES);
	cr_assert_eq(bcfmt_uuids_write(&target, bucket, entries, SET_KIT_UUIDS), BCFMT_OK);
	set_kit_jset(&kit, &jset);
}

static void open_at_seq_8(void)
{
	struct set_kit_jset jset = {
		.ring_index = 1, .seq = 8, .sector = 8, .root_ptr = leaf_of(0, NULL, 0)
	};

	memcpy(kit.uuids[2].uuid, bcfmt_uuid_invalid(), BCFMT_UUID_BYTES);
	set_kit_tables(&kit);
	set_kit_jset(&kit, &jset);
	cr_assert_eq(set_kit_open(&kit), BCFMT_OK);
}

Test(home, an_older_table_proves_an_owner_that_exists)
{
	struct bcfmt_owner owners[SET_KIT_UUIDS * 64];

	set_kit_backing(&kit, 4, BCFMT_BDEV_CLEAN, 4096);
	old_table(3, nth(20), 0x33); /* nobody knows such a device */
	old_table(4, nth(21), 0xb4);
	open_at_seq_8();
	cr_assert_leq(kit.set->n_uuids, SET_KIT_UUIDS * 64);
	cr_assert_eq(bcfmt_owners_find(kit.set, owners), BCFMT_OK);
	cr_expect_eq(owners[2].proof, BCFMT_OWNER_PROVED);
	cr_expect_eq(owners[2].uuid[0], 0xb4);
	cr_expect_eq(owners[2].seq, 4);
	cr_expect_eq(owners[2].bucket, nth(21));
	cr_expect_eq(owners[0].proof, BCFMT_OWNER_UNKNOWN);
	cr_expect_eq(owners[4].proof, BCFMT_OWNER_UNKNOWN);
	cr_assert_eq(ask(NULL, 0, true), BCFMT_OK);
	cr_assert_eq(home->devices[0].n_inodes, 2);
	cr_expect_eq(home->devices[0].inodes[1], 2);
	bcfmt_home_free(home);
}

Test(home, tables_that_contradict_each_other_prove_nothing)
{
	struct bcfmt_owner owners[SET_KIT_UUIDS * 64];

	set_kit_backing(&kit, 4, BCFMT_BDEV_CLEAN, 4096);
	set_kit_backing(&kit, 5, BCFMT_BDEV_CLEAN, 4096);
	old_table(3, nth(20), 0xb5);
	old_table(4, nth(21), 0xb4);
	open_at_seq_8();
	cr_assert_eq(bcfmt_owners_find(kit.set, owners), BCFMT_OK);
	cr_expect_eq(owners[2].proof, BCFMT_OWNER_CONTRADICTED);
	cr_assert_eq(ask(NULL, 0, true), BCFMT_OK);
	cr_expect_eq(home->devices[0].n_inodes, 1);
	cr_expect_eq(home->devices[1].n_inodes, 1);
	bcfmt_home_free(home);
}
