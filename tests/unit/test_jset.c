/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Journal entries. */
#include <criterion/criterion.h>

#include <string.h>

#include <bcfmt/jset.h>

#include "base/bytes.h"
#include "codec_kit.h"

#define KEY_HEX "000080001000009080000000000000000100a00000000000"

static struct bcfmt_jset sample(void)
{
	struct bcfmt_jset jset = { .seq = 7, .version = 1, .keys_field = 3, .last_seq = 7 };

	jset.uuid_bucket = bcfmt_key_make(0, 0, 1024, false, true, 0x940001);
	jset.btree_root = bcfmt_key_make(BCFMT_KEY_MAX_INODE, BCFMT_KEY_MAX_OFFSET, 512, false,
					 true, 0x900001);
	jset.prio_bucket[0] = 17;
	return jset;
}

/* raw holds 512 bytes. */
static void encode_sample(const struct bcfmt_geometry *geo, uint8_t *raw)
{
	struct bcfmt_jset jset = sample();

	memset(raw, 0xcc, 512);
	kit_hex(KEY_HEX, raw + 240);
	bcfmt_jset_encode(geo, &jset, raw);
}

Test(jset, checksum_of_the_sample)
{
	struct bcfmt_geometry geo = kit_geometry();
	uint8_t raw[512];

	encode_sample(&geo, raw);
	cr_assert_eq(load_le64(raw), 0xf6198c7e777faedf);
	cr_assert_eq(load_le64(raw + 8), 0x334420d5b0704122);
	for (unsigned int i = 264; i < 512; i++)
		cr_assert_eq(raw[i], 0xcc);
}

Test(jset, decode_gives_back_what_was_encoded)
{
	struct bcfmt_geometry geo = kit_geometry();
	struct bcfmt_jset jset;
	struct bcfmt_key key;
	uint8_t raw[512];

	encode_sample(&geo, raw);
	cr_assert_eq(bcfmt_jset_decode(&geo, raw, sizeof(raw), &jset), BCFMT_JSET_OK);
	cr_assert_eq(jset.seq, 7);
	cr_assert_eq(jset.last_seq, 7);
	cr_assert_eq(jset.version, 1);
	cr_assert_eq(jset.keys_field, 3);
	cr_assert_eq(jset.btree_level, 0);
	cr_assert_eq(jset.prio_bucket[0], 17);
	cr_assert_eq(jset.prio_bucket[7], 0);
	cr_assert_eq(jset.blocks, 1);
	cr_assert_eq(jset.bytes, 264);
	cr_assert_eq(jset.uuid_bucket.ptr, 0x940001);
	cr_assert_eq(jset.btree_root.ptr, 0x900001);
	cr_assert_eq(bcfmt_key_sectors(&jset.btree_root), 512);
	cr_assert(bcfmt_key_decode(jset.keys, 3, &key));
	cr_assert_eq(key.ptr, 0xa00001);
}

Test(jset, first_entry_of_a_real_cache)
{
	struct bcfmt_super super = kit_cache_super();
	struct bcfmt_geometry geo;
	struct bcfmt_jset jset;
	uint8_t raw[240] = { 0 };

	kit_hex("5468fb24ebf34a51856aac8bc44aeceb", super.set_uuid);
	geo = kit_geometry_of(&super);
	kit_hex("38664a5ae2aff1ab 663899872ac61875 0100000000000000 01000000 00000000"
		"0100000000000000 0000004000000090 0000000000000000 0100940000000000", raw);
	kit_hex("ffff0f2000000090 ffffffffffffff7f 0100900000000000", raw + 104);
	kit_hex("0000 000000000000 1100000000000000", raw + 168);
	cr_assert_eq(bcfmt_jset_decode(&geo, raw, sizeof(raw), &jset), BCFMT_JSET_OK);
	cr_assert_eq(jset.csum, 0xabf1afe25a4a6638);
	cr_assert_eq(jset.seq, 1);
	cr_assert_eq(bcfmt_ptr_sector(jset.uuid_bucket.ptr), 37888);
	cr_assert_eq(bcfmt_ptr_sector(jset.btree_root.ptr), 36864);
	cr_assert_eq(bcfmt_key_inode(&jset.btree_root), BCFMT_KEY_MAX_INODE);
	cr_assert_eq(jset.prio_bucket[0], 17);

	struct bcfmt_jset again = jset;
	uint8_t copy[240];

	bcfmt_jset_encode(&geo, &again, copy);
	cr_assert_arr_eq(copy, raw, sizeof(raw));
}

Test(jset, another_magic)
{
	struct bcfmt_geometry geo = kit_geometry();
	struct bcfmt_jset jset;
	uint8_t raw[512];

	encode_sample(&geo, raw);
	raw[8] ^= 1;
	cr_assert_eq(bcfmt_jset_decode(&geo, raw, sizeof(raw), &jset), BCFMT_JSET_MAGIC);
	cr_assert_eq(jset.blocks, 0);
	memset(raw, 0, sizeof(raw));
	cr_assert_eq(bcfmt_jset_decode(&geo, raw, sizeof(raw), &jset), BCFMT_JSET_MAGIC);
	cr_assert_eq(bcfmt_jset_decode(&geo, raw, 239, &jset), BCFMT_JSET_MAGIC);
}

Test(jset, magic_of_a_big_endian_writer)
{
	struct bcfmt_geometry geo = kit_geometry();
	uint8_t raw[512] = { 0 }, set_uuid[8], constant[8];
	struct bcfmt_jset jset;

	kit_hex("1011121314151617", set_uuid);
	kit_hex("245235c1a3625032", constant); /* as a big-endian machine stores it */
	for (unsigned int i = 0; i < 8; i++)
		raw[8 + i] = set_uuid[i] ^ constant[i];
	cr_assert_eq(bcfmt_jset_decode(&geo, raw, sizeof(raw), &jset), BCFMT_JSET_OTHER_ENDIAN);
}

Test(jset, too_big_for_the_bucket)
{
	struct bcfmt_geometry geo = kit_geometry();
	struct bcfmt_jset jset;
	uint8_t raw[512];

	encode_sample(&geo, raw);
	store_le32(raw + 28, 35);
	cr_assert_eq(bcfmt_jset_decode(&geo, raw, sizeof(raw), &jset), BCFMT_JSET_TOO_BIG);
	cr_assert_eq(jset.bytes, 520);
	cr_assert_eq(jset.blocks, 0);
	cr_assert_eq(jset.seq, 7);
	store_le32(raw + 28, 34);
	cr_assert_eq(bcfmt_jset_decode(&geo, raw, sizeof(raw), &jset), BCFMT_JSET_CSUM);
	store_le32(raw + 28, UINT32_MAX);
	cr_assert_eq(bcfmt_jset_decode(&geo, raw, sizeof(raw), &jset), BCFMT_JSET_TOO_BIG);
	cr_assert_eq(jset.bytes, 240 + 8ull * UINT32_MAX);
}

Test(jset, too_big_for_8_pages)
{
	static uint8_t raw[65536];
	struct bcfmt_geometry geo = kit_geometry();
	struct bcfmt_jset jset = sample();

	jset.keys_field = 4066;
	bcfmt_jset_encode(&geo, &jset, raw);
	cr_assert_eq(bcfmt_jset_decode(&geo, raw, sizeof(raw), &jset), BCFMT_JSET_OK);
	cr_assert_eq(jset.blocks, 64);
	jset.keys_field = 4067;
	bcfmt_jset_encode(&geo, &jset, raw);
	cr_assert_eq(bcfmt_jset_decode(&geo, raw, sizeof(raw), &jset), BCFMT_JSET_TOO_BIG);
	geo.page_bytes = 16384;
	cr_assert_eq(bcfmt_jset_decode(&geo, raw, sizeof(raw), &jset), BCFMT_JSET_OK);
	cr_assert_eq(jset.blocks, 65);
}

Test(jset, torn_entry)
{
	struct bcfmt_geometry geo = kit_geometry();
	struct bcfmt_jset jset;
	uint8_t raw[512];

	encode_sample(&geo, raw);
	raw[263] ^= 1;
	cr_assert_eq(bcfmt_jset_decode(&geo, raw, sizeof(raw), &jset), BCFMT_JSET_CSUM);
	cr_assert_eq(jset.blocks, 1);
	cr_assert_neq(jset.csum, jset.csum_computed);
	raw[263] ^= 1;
	raw[264] ^= 1; /* behind the keys: not covered */
	cr_assert_eq(bcfmt_jset_decode(&geo, raw, sizeof(raw), &jset), BCFMT_JSET_OK);
}

Test(jset, header_keys_of_seven_pointers_do_not_overrun)
{
	struct bcfmt_geometry geo = kit_geometry();
	struct bcfmt_jset jset;
	uint8_t raw[512];

	encode_sample(&geo, raw);
	raw[40 + 7] = 0xf0;
	raw[104 + 7] = 0xf0;
	store_le64(raw, 0);
	cr_assert_eq(bcfmt_jset_decode(&geo, raw, sizeof(raw), &jset), BCFMT_JSET_CSUM);
	cr_assert_eq(bcfmt_key_ptr_count(&jset.btree_root), 7);
	cr_assert_eq(jset.btree_root.ptr, 0x900001);
}
