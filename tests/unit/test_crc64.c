/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The checksum against values that were computed by another implementation. */
#include <criterion/criterion.h>

#include <stdlib.h>
#include <string.h>

#include <bcfmt/crc64.h>

#include "codec/crc64_math.h"

static uint64_t crc_of_filled(uint8_t fill, size_t n)
{
	uint8_t *bytes = malloc(n);
	uint64_t crc;

	memset(bytes, fill, n);
	crc = bcfmt_crc64(bytes, n);
	free(bytes);
	return crc;
}

Test(crc64, plain_form_of_short_strings)
{
	cr_assert_eq(bcfmt_crc64("", 0), 0);
	cr_assert_eq(bcfmt_crc64("\0", 1), 0x9afce626ce85b5f8);
	cr_assert_eq(bcfmt_crc64("a", 1), 0xce73f427acc0a99a);
	cr_assert_eq(bcfmt_crc64("123456789", 9), 0x62ec59e3f1a4f00a);
}

Test(crc64, plain_form_of_longer_runs)
{
	uint8_t counting[256];

	cr_assert_eq(crc_of_filled(0, 8), 0x03534142a6ce566d);
	cr_assert_eq(crc_of_filled(0, 200), 0x9c0a134888dd67fa);
	cr_assert_eq(crc_of_filled(0, 4096), 0xa50f57a429cbcb64);
	cr_assert_eq(crc_of_filled(0xff, 8), 0xffffffffffffffff);
	for (unsigned int i = 0; i < sizeof(counting); i++)
		counting[i] = (uint8_t)i;
	cr_assert_eq(bcfmt_crc64(counting, sizeof(counting)), 0x59c3325b2927a19a);
}

Test(crc64, seeded_form_replaces_the_init)
{
	cr_assert_eq(bcfmt_crc64_seeded(0, "123456789", 9), 0x93bf20a0f4b68cb8);
	cr_assert_eq(bcfmt_crc64_seeded(0x200005, "123456789", 9), 0x0bae2da0a4431f5d);
	cr_assert_eq(bcfmt_crc64_seeded(UINT64_MAX, "123456789", 9), 0x62ec59e3f1a4f00a);
	cr_assert_eq(bcfmt_crc64_seeded(5, "", 0), ~5ull);
}

Test(crc64, raw_update_shows_through_the_seeded_form)
{
	/* init 0 without the final xor */
	cr_assert_eq(~bcfmt_crc64_seeded(0, "123456789", 9), 0x6c40df5f0b497347);
	/* the entries of the table: one byte, init 0 */
	cr_assert_eq(~bcfmt_crc64_seeded(0, "\x01", 1), 0x42f0e1eba9ea3693);
	cr_assert_eq(~bcfmt_crc64_seeded(0, "\x02", 1), 0x85e1c3d753d46d26);
	cr_assert_eq(~bcfmt_crc64_seeded(0, "\xff", 1), 0x9afce626ce85b507);
}

/* The fast routine works in blocks; each length and alignment has to agree with one bit a time. */
Test(crc64, agrees_with_the_definition_at_all_lengths)
{
	uint8_t bytes[600];

	for (unsigned int i = 0; i < sizeof(bytes); i++)
		bytes[i] = (uint8_t)(i * 167 + i / 7);
	for (size_t n = 0; n < 590; n++) {
		const uint8_t *at = bytes + n % 9;
		uint64_t crc = 0x1234567890abcdef;

		for (size_t i = 0; i < n; i++) {
			crc ^= (uint64_t)at[i] << 56;
			for (int bit = 0; bit < 8; bit++)
				crc = crc << 1 ^ (crc >> 63 ? 0x42f0e1eba9ea3693 : 0);
		}
		cr_assert_eq(bcfmt_crc64_seeded(0x1234567890abcdef, at, n), ~crc, "length %zu", n);
	}
}

Test(crc64, the_seed_follows_from_the_checksum)
{
	uint8_t bytes[5000];

	for (unsigned int i = 0; i < sizeof(bytes); i++)
		bytes[i] = (uint8_t)(i * 101 + i / 13);
	for (size_t n = 0; n < sizeof(bytes); n += 1 + n / 3) {
		uint64_t seed = 0x80a4003c00001ffull * (n + 1);

		cr_assert_eq(crc64_seed(bcfmt_crc64_seeded(seed, bytes, n), bytes, n), seed,
			     "length %zu", n);
	}
}

Test(crc64, zeros_can_be_taken_back)
{
	static const uint8_t zeros[300];

	/* Without the inversions the seeded form is the register itself. */
	for (size_t n = 0; n < sizeof(zeros); n++)
		cr_assert_eq(crc64_unshift(~bcfmt_crc64_seeded(0x123456789abcdef, zeros, n), n),
			     0x123456789abcdef, "length %zu", n);
}

Test(crc64, a_word_makes_any_checksum)
{
	uint8_t bytes[256];

	for (unsigned int i = 0; i < sizeof(bytes); i++)
		bytes[i] = (uint8_t)(i * 167 + i / 7);
	for (size_t at = 0; at + 8 <= sizeof(bytes); at++) {
		uint8_t patched[sizeof(bytes)];
		uint64_t want = 0xfeedfacecafebeefull + at, word;

		memcpy(patched, bytes, sizeof(bytes));
		word = crc64_unshift(want ^ bcfmt_crc64_seeded(77, bytes, sizeof(bytes)),
				     sizeof(bytes) - at);
		for (unsigned int i = 0; i < 8; i++)
			patched[at + i] ^= (uint8_t)(word >> (56 - 8 * i));
		cr_assert_eq(bcfmt_crc64_seeded(77, patched, sizeof(patched)), want, "place %zu",
			     at);
		cr_assert_eq(crc64_shift(word, sizeof(bytes) - at),
			     want ^ bcfmt_crc64_seeded(77, bytes, sizeof(bytes)));
	}
}
