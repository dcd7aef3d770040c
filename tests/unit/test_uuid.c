/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The uuid table. */
#include <criterion/criterion.h>

#include <string.h>

#include <bcfmt/uuid.h>

#include "codec_kit.h"

Test(uuid, fields_of_a_128_byte_entry)
{
	struct bcfmt_uuid_entry entry;
	uint8_t raw[128];

	for (uint8_t i = 0; i < 128; i++)
		raw[i] = i;
	bcfmt_uuid_decode(raw, 1, &entry);
	cr_assert_eq(entry.uuid[15], 15);
	cr_assert_eq(entry.label[0], 16);
	cr_assert_eq(entry.label[31], 47);
	cr_assert_eq(entry.label[32], 0);
	cr_assert_eq(entry.first_reg, 0x33323130);
	cr_assert_eq(entry.last_reg, 0x37363534);
	cr_assert_eq(entry.invalidated, 0x3b3a3938);
	cr_assert_eq(entry.flags, 0x3f3e3d3c);
	cr_assert_eq(entry.sectors, 0x4746454443424140);
}

Test(uuid, a_64_byte_entry_has_neither_flags_nor_sectors)
{
	struct bcfmt_uuid_entry entry;
	uint8_t raw[64];

	memset(raw, 0xff, sizeof(raw));
	bcfmt_uuid_decode(raw, 0, &entry);
	cr_assert_eq(entry.invalidated, 0xffffffff);
	cr_assert_eq(entry.flags, 0);
	cr_assert_eq(entry.sectors, 0);
}

Test(uuid, encode_and_decode_agree_and_padding_is_zero)
{
	struct bcfmt_uuid_entry entry = { .label = "photos", .first_reg = 1, .last_reg = 2,
					  .invalidated = 3, .flags = BCFMT_UUID_FLASH_ONLY,
					  .sectors = 16384 }, back;
	uint8_t raw[128];

	memset(raw, 0xaa, sizeof(raw));
	memset(entry.uuid, 7, sizeof(entry.uuid));
	bcfmt_uuid_encode(&entry, raw);
	bcfmt_uuid_decode(raw, 1, &back);
	cr_assert_arr_eq(back.uuid, entry.uuid, sizeof(entry.uuid));
	cr_assert_str_eq(back.label, "photos");
	cr_assert_eq(back.first_reg, 1);
	cr_assert_eq(back.last_reg, 2);
	cr_assert_eq(back.invalidated, 3);
	cr_assert_eq(back.flags, 1);
	cr_assert_eq(back.sectors, 16384);
	for (unsigned int i = 72; i < 128; i++)
		cr_assert_eq(raw[i], 0);
}

Test(uuid, states)
{
	struct bcfmt_uuid_entry entry = { 0 };
	uint8_t invalid[16];

	cr_assert_eq(kit_hex("a03ef8ed3ee1b878c850fc5ecb16cd99", invalid), 16);
	cr_assert_arr_eq(bcfmt_uuid_invalid(), invalid, 16);
	cr_assert_eq(bcfmt_uuid_state(&entry), BCFMT_UUID_FREE);
	memcpy(entry.uuid, invalid, 16);
	cr_assert_eq(bcfmt_uuid_state(&entry), BCFMT_UUID_DETACHED);
	entry.uuid[15] ^= 1;
	cr_assert_eq(bcfmt_uuid_state(&entry), BCFMT_UUID_LIVE);
}

Test(uuid, text_and_zero)
{
	struct bcfmt_super super = kit_super();
	char text[BCFMT_UUID_TEXT_BYTES];
	uint8_t zero[16] = { 0 };

	bcfmt_uuid_text(super.uuid, text);
	cr_assert_str_eq(text, "00010203-0405-0607-0809-0a0b0c0d0e0f");
	cr_assert(bcfmt_uuid_is_zero(zero));
	cr_assert(!bcfmt_uuid_is_zero(super.uuid));
}

Test(uuid, parse_takes_one_form_only)
{
	static const char *const wrong[] = {
		"",
		"00010203-0405-0607-0809-0a0b0c0d0e0",
		"00010203-0405-0607-0809-0a0b0c0d0e0f0",
		"00010203-0405-0607-0809-0a0b0c0d0e0f ",
		"0001020304050607-0809-0a0b0c0d0e0f---",
		"00010203-0405-0607-0809-0a0b0c0d0e0g",
		"{0010203-0405-0607-0809-0a0b0c0d0e0f",
	};
	struct bcfmt_super super = kit_super();
	uint8_t uuid[16] = { 0 };

	for (size_t i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++)
		cr_expect_not(bcfmt_uuid_parse(wrong[i], uuid), "%s", wrong[i]);
	cr_expect(bcfmt_uuid_is_zero(uuid));
	cr_expect(bcfmt_uuid_parse("00010203-0405-0607-0809-0A0b0C0d0e0F", uuid));
	cr_expect_arr_eq(uuid, super.uuid, 16);
}
