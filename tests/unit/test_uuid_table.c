/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Reading the uuid table: place, size, versions, what cannot be read. */
#include <criterion/criterion.h>

#include <stdlib.h>
#include <string.h>

#include "dev/dev_impl.h"
#include "kit/set_kit.h"
#include "read/read.h"

static struct set_kit kit;

static void begin(void)
{
	struct set_kit_shape shape = { 0 };

	set_kit_init(&kit, &shape);
	memset(kit.uuids[7].uuid, 0x77, BCFMT_UUID_BYTES);
	strcpy(kit.uuids[7].label, "seven");
	kit.uuids[7].flags = BCFMT_UUID_FLASH_ONLY;
	kit.uuids[7].sectors = 4096;
	set_kit_tables(&kit);
	set_kit_first_jset(&kit, set_kit_node(&kit, kit.free_bucket, NULL, 0), 0);
}

static void end(void)
{
	set_kit_clear(&kit);
}

TestSuite(uuid_table, .init = begin, .fini = end);

static void name_table(uint64_t uuid_ptr)
{
	struct set_kit_jset jset = { .ring_index = 1, .seq = 1, .uuid_ptr = uuid_ptr };

	jset.root_ptr = set_kit_ptr(&kit, kit.free_bucket, 0);
	set_kit_jset(&kit, &jset);
	cr_assert_eq(set_kit_open(&kit), BCFMT_OK);
}

Test(uuid_table, all_slots_are_read)
{
	cr_assert_eq(set_kit_open(&kit), BCFMT_OK);
	cr_expect_eq(kit.set->uuids_state, BCFMT_UUIDS_OK);
	cr_expect_eq(kit.set->n_uuids, 8192 / 128);
	cr_expect_str_eq(kit.set->uuids[7].label, "seven");
	cr_expect_eq(kit.set->uuids[7].flags, BCFMT_UUID_FLASH_ONLY);
	cr_expect_eq(kit.set->uuids[7].sectors, 4096);
	cr_expect_eq(bcfmt_uuid_state(&kit.set->uuids[8]), BCFMT_UUID_FREE);
}

Test(uuid_table, pointers_that_a_kernel_refuses)
{
	uint64_t sector = bcfmt_bucket_sector(&kit.geo, kit.uuid_bucket);

	name_table(bcfmt_ptr_make(0, sector + 1, 1)); /* crosses the end of the bucket */
	cr_expect_eq(kit.set->uuids_state, BCFMT_UUIDS_BAD_POINTER);
	name_table(bcfmt_ptr_make(0, kit.geo.nbuckets * 16, 1));
	cr_expect_eq(kit.set->uuids_state, BCFMT_UUIDS_BAD_POINTER);
	name_table(bcfmt_ptr_make(0, 8, 1));
	cr_expect_eq(kit.set->uuids_state, BCFMT_UUIDS_BAD_POINTER);
	/* A pointer to no device passes the kernel's test, yet leads nowhere. */
	name_table(bcfmt_ptr_make(BCFMT_PTR_DEV_CHECK, sector, 1));
	cr_expect_eq(kit.set->uuids_state, BCFMT_UUIDS_BAD_POINTER);
	for (uint32_t i = 0; i < kit.set->n_uuids; i++)
		cr_assert_eq(bcfmt_uuid_state(&kit.set->uuids[i]), BCFMT_UUID_FREE);
}

static struct bcfmt_key table_key(uint32_t sectors)
{
	return bcfmt_key_make(0, 0, sectors, false, true, set_kit_ptr(&kit, kit.uuid_bucket, 0));
}

Test(uuid_table, a_shorter_table_is_read_as_far_as_it_goes)
{
	struct bcfmt_uuid_entry entries[64];
	struct bcfmt_key key = table_key(1);
	struct bcfmt_bad_read bad = { 0, 0 };

	memset(entries, 0, sizeof(entries));
	cr_assert_eq(uuids_read(kit.ctx, kit.dev, &key, 1, entries, 64, &bad), BCFMT_OK);
	cr_expect_eq(entries[0].uuid[0], 0xb0);
	cr_expect_eq(entries[3].uuid[0], 0);
	cr_expect_eq(entries[7].uuid[0], 0, "slot 7 lies in the second sector");
	key = table_key(2);
	cr_assert_eq(uuids_read(kit.ctx, kit.dev, &key, 1, entries, 64, &bad), BCFMT_OK);
	cr_expect_eq(entries[7].uuid[0], 0x77);
}

/* Entries of 64 bytes, in the first half of the table. */
Test(uuid_table, version_0)
{
	struct bcfmt_uuid_entry entries[64];
	struct bcfmt_key key = table_key(16);
	struct bcfmt_bad_read bad = { 0, 0 };
	uint8_t raw[8192] = { 0 };

	memset(raw + 64, 0x11, 16);
	memcpy(raw + 64 + 16, "one", 3);
	memset(raw + 64 * 63, 0x63, 16);
	memset(raw + 4096, 0xff, 4096); /* not of the table any more */
	set_kit_write(&kit, bcfmt_bucket_sector(&kit.geo, kit.uuid_bucket), raw, sizeof(raw));
	memset(entries, 0, sizeof(entries));
	cr_assert_eq(uuids_read(kit.ctx, kit.dev, &key, 0, entries, 64, &bad), BCFMT_OK);
	cr_expect_eq(bcfmt_uuid_state(&entries[0]), BCFMT_UUID_FREE);
	cr_expect_str_eq(entries[1].label, "one");
	cr_expect_eq(entries[63].uuid[5], 0x63);
}

Test(uuid_table, sectors_that_cannot_be_read_are_counted)
{
	struct bcfmt_uuid_entry entries[64];
	struct bcfmt_bad_read bad = { 0, 0 };
	struct bcfmt_key key = table_key(16);
	struct bcfmt_dev *cut;
	size_t kept_bytes = kit.uuid_bucket * 8192 + 512;
	uint8_t *bytes = malloc(kept_bytes);

	set_kit_read(&kit, 0, bytes, kept_bytes);
	cr_assert_eq(bcfmt_dev_mem(kit.ctx, "cut", bytes, kept_bytes, &cut), BCFMT_OK);
	free(bytes);
	memset(entries, 0, sizeof(entries));
	cr_assert_eq(uuids_read(kit.ctx, cut, &key, 1, entries, 64, &bad), BCFMT_OK);
	cr_expect_eq(bad.sectors, 15);
	cr_expect_eq(entries[0].uuid[0], 0xb0);
	cr_expect_eq(entries[7].uuid[0], 0);
	bcfmt_dev_free(cut);
}

Test(uuid_table, no_sectors_at_all)
{
	struct bcfmt_uuid_entry entries[1];
	struct bcfmt_bad_read bad = { 0, 0 };
	struct bcfmt_key key = table_key(0);

	memset(entries, 0, sizeof(entries));
	cr_assert_eq(uuids_read(kit.ctx, kit.dev, &key, 1, entries, 1, &bad), BCFMT_OK);
	cr_expect_eq(entries[0].uuid[0], 0);
}
