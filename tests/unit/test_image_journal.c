/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The journal in images: entries that are right, torn, or wrong in one thing that is known. */
#include "image_help.h"

#include <bcfmt/crc64.h>

#include "ondisk/jset.h"

TestSuite(image_journal, .init = begin, .fini = finish);

Test(image_journal, a_torn_entry_keeps_its_keys_and_no_more)
{
	struct bcfmt_key keys[6];
	uint64_t root = make_leaf_set(2);
	struct set_kit_jset jset = { .ring_index = 1,
				     .sector = 1,
				     .seq = 2,
				     .last_seq = 1,
				     .root_ptr = root,
				     .keys = keys,
				     .n_keys = 6 };
	uint64_t at = bucket_sector(kit.super.first_bucket + 1u) + 1;
	uint8_t got[512], want[512];

	for (uint32_t i = 0; i < 6; i++)
		keys[i] = set_kit_dirty(0, 800 + 8 * i, 8, set_kit_ptr(&kit, nth(9), 0));
	set_kit_jset(&kit, &jset);
	write_secret(at, 240 + 24 * 3, 24 * 3);
	expect_problem("journal-torn");
	make();
	expect_same(true);
	expect_no_secret();
	set_kit_read(&kit, at, want, sizeof(want));
	read_image(at, got, sizeof(got));
	cr_expect_arr_eq(got, want, 240 + 24 * 3);
}

/* Entries 1 to 3, the second with keys that no other has; the sector of that one. */
static uint64_t make_entries(uint32_t n_keys)
{
	struct bcfmt_key keys[6];
	struct set_kit_jset jset = { .ring_index = 1,
				     .sector = 1,
				     .seq = 2,
				     .last_seq = 1,
				     .root_ptr = make_leaf_set(20),
				     .keys = keys,
				     .n_keys = n_keys };

	for (uint32_t i = 0; i < n_keys; i++)
		keys[i] = set_kit_dirty(0, 800 + 8 * i, 8, set_kit_ptr(&kit, nth(9), 0));
	set_kit_jset(&kit, &jset);
	jset.sector = 2;
	jset.seq = 3;
	jset.n_keys = 0;
	set_kit_jset(&kit, &jset);
	return bucket_sector(kit.super.first_bucket + 1u) + 1;
}

/* Another value in the entry's header, and a checksum that is right over it. */
static void replace(uint64_t sector, size_t offset_bytes, uint64_t value, size_t len_bytes)
{
	uint8_t raw[512], bytes[8];

	store_le64(bytes, value);
	set_kit_read(&kit, sector, raw, sizeof(raw));
	memcpy(raw + offset_bytes, bytes, len_bytes);
	store_le64(raw, bcfmt_crc64(raw + 8, sizeof(struct jset_disk) - 8 +
						     8 * (size_t)load_le32(raw + 28)));
	set_kit_write(&kit, sector, raw, sizeof(raw));
}

/* The keys of an entry become those of another, too. */
static void copy_keys(uint64_t from_sector, uint64_t to_sector)
{
	uint8_t from[512], to[512];

	set_kit_read(&kit, from_sector, from, sizeof(from));
	set_kit_read(&kit, to_sector, to, sizeof(to));
	memcpy(to + 240, from + 240, sizeof(to) - 240);
	set_kit_write(&kit, to_sector, to, sizeof(to));
	replace(to_sector, 28, load_le32(from + 28), 4);
}

/* What an entry and no more was: the rest of its block is zero. */
static void expect_kept(uint64_t sector, uint32_t len_bytes)
{
	uint8_t got[512], want[512];

	set_kit_read(&kit, sector, want, sizeof(want));
	memset(want + len_bytes, 0, sizeof(want) - len_bytes);
	read_image(sector, got, sizeof(got));
	cr_expect_arr_eq(got, want, sizeof(got));
}

Test(image_journal, an_entry_that_can_be_mended_stays_whole_and_as_it_is)
{
	/* Checksum, magic, number, number of words, a key; then magic and number under a right sum. */
	static const uint32_t offsets[] = { 2, 9, 16, 28, 240 + 24 * 2 + 9, 0, 0 };

	for (size_t i = 0; i < sizeof(offsets) / sizeof(offsets[0]); i++) {
		uint64_t sector;
		uint8_t byte;

		set_kit_clear(&kit);
		begin();
		sector = make_entries(6);
		if (i == 5) {
			replace(sector, 8, 0x1234, 8);
		} else if (i == 6) {
			replace(sector, 16, 77, 8);
		} else {
			cr_assert_eq(bcfmt_dev_read(kit.dev, sector * 512 + offsets[i], &byte, 1),
				     BCFMT_OK);
			byte ^= 4;
			cr_assert_eq(bcfmt_dev_write(kit.dev, sector * 512 + offsets[i], &byte, 1),
				     BCFMT_OK);
		}
		write_secret(sector, 240 + 24 * 6, 512 - 240 - 24 * 6);
		expect_problem("journal-entry-mended");
		make();
		expect_same(true);
		expect_no_secret();
		expect_kept(sector, 240 + 24 * 6);
		cr_expect_eq(stats.journal_entries, 3);
		scrub();
		expect_same(true);
		expect_no_secret();
		expect_no_names();
		close_image();
	}
}

/* Entry 2 ends within a key, the rest of which lies behind; entry 1 has that key too, or has not. */
Test(image_journal, the_rest_of_a_key_that_an_entry_ends_in_stays)
{
	uint64_t sector = 0;

	for (uint32_t round = 0; round < 4; round++) {
		set_kit_clear(&kit);
		begin();
		sector = make_entries(4);
		if (round >= 2)
			copy_keys(sector, sector - 1);
		replace(sector, 28, 11 - round % 2, 4);
		write_secret(sector, 240 + 24 * 4, 512 - 240 - 24 * 4);
		set_kit_spoil(&kit, nth(0), 32 + 24 * 7 + 5);
		make();
		expect_same(true);
		expect_no_secret();
		expect_kept(sector, 240 + 24 * 4);
		close_image();
	}
	/* Behind whole keys nothing is looked for. */
	replace(sector, 28, 9, 4);
	make();
	expect_same(true);
	expect_kept(sector, 240 + 24 * 3);
}
