/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Prio sets. */
#include <criterion/criterion.h>

#include <stdlib.h>
#include <string.h>

#include <bcfmt/prio.h>

#include "base/bytes.h"
#include "codec_kit.h"

static struct bcfmt_geometry geometry_with_meta(uint32_t meta_bytes)
{
	struct bcfmt_geometry geo = kit_geometry();

	geo.meta_bytes = meta_bytes;
	geo.prios_per_bucket = (meta_bytes - 40) / 3;
	return geo;
}

Test(prio, checksum_of_an_empty_page)
{
	struct bcfmt_geometry geo = geometry_with_meta(4096);
	struct bcfmt_prio_set set;
	uint8_t raw[4096] = { 0 };

	bcfmt_prio_encode(&geo, raw, 1, 0);
	cr_assert_eq(load_le64(raw), 0xeb95ae78c4ec5bf3);
	cr_assert_eq(bcfmt_prio_decode(&geo, raw, &set), BCFMT_PRIO_OK);
	cr_assert_eq(set.magic, 0x7046f44b94216e81);
	cr_assert_eq(set.seq, 1);
}

Test(prio, checksum_of_a_full_bucket)
{
	struct bcfmt_geometry geo = kit_geometry();
	uint8_t *raw = calloc(1, geo.meta_bytes);

	cr_assert_eq(geo.prios_per_bucket, 174749);
	for (uint32_t i = 0; i < geo.prios_per_bucket; i++)
		bcfmt_prio_entry_set(raw, i, BCFMT_PRIO_INITIAL, 1);
	bcfmt_prio_encode(&geo, raw, 1, 0);
	cr_assert_eq(load_le64(raw), 0xe9f400e915f81885);
	free(raw);
}

Test(prio, entries_and_header_come_back)
{
	struct bcfmt_geometry geo = geometry_with_meta(4096);
	struct bcfmt_prio_set set;
	uint8_t raw[4096];
	uint16_t prio;
	uint8_t gen;

	memset(raw, 0xee, sizeof(raw));
	for (uint32_t i = 0; i < geo.prios_per_bucket; i++)
		bcfmt_prio_entry_set(raw, i, (uint16_t)(i * 47), (uint8_t)i);
	bcfmt_prio_encode(&geo, raw, 0x1122334455667788, 871);
	for (uint32_t i = 0; i < geo.prios_per_bucket; i++) {
		bcfmt_prio_entry(raw, i, &prio, &gen);
		cr_assert_eq(prio, (uint16_t)(i * 47));
		cr_assert_eq(gen, (uint8_t)i);
	}
	cr_assert_eq(raw[40 + 3 * 5], 235); /* low byte first: 5 * 47 */
	cr_assert_eq(bcfmt_prio_decode(&geo, raw, &set), BCFMT_PRIO_OK);
	cr_assert_eq(set.seq, 0x1122334455667788);
	cr_assert_eq(set.next_bucket, 871);
	cr_assert_eq(set.version, 0);
}

Test(prio, checksum_is_judged_before_magic)
{
	struct bcfmt_geometry geo = geometry_with_meta(4096);
	struct bcfmt_prio_set set;
	uint8_t raw[4096] = { 0 };

	cr_assert_eq(bcfmt_prio_decode(&geo, raw, &set), BCFMT_PRIO_CSUM);
	bcfmt_prio_encode(&geo, raw, 1, 0);
	raw[4095] ^= 1; /* slack is covered */
	cr_assert_eq(bcfmt_prio_decode(&geo, raw, &set), BCFMT_PRIO_CSUM);
	cr_assert_neq(set.csum, set.csum_computed);
	raw[4095] ^= 1;
	geo.set_magic ^= 1;
	cr_assert_eq(bcfmt_prio_decode(&geo, raw, &set), BCFMT_PRIO_MAGIC);
	cr_assert_eq(set.csum, set.csum_computed);
}

Test(prio, another_meta_size_does_not_verify)
{
	struct bcfmt_geometry geo = geometry_with_meta(8192);
	struct bcfmt_prio_set set;
	uint8_t raw[8192] = { 0 };

	bcfmt_prio_encode(&geo, raw, 1, 0);
	geo.meta_bytes = 4096;
	cr_assert_eq(bcfmt_prio_decode(&geo, raw, &set), BCFMT_PRIO_CSUM);
}
