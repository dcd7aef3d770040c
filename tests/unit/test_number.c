/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Numbers, sizes and ranges as users type them. */
#include <criterion/criterion.h>

#include "cli/number.h"

#define UNTOUCHED 0xabcdefull

static void expect_bytes(const char *text, uint64_t want)
{
	uint64_t got = UNTOUCHED;

	cr_expect(cli_number_bytes(text, &got), "'%s' is refused", text);
	cr_expect_eq(got, want, "'%s' gives %llu", text, (unsigned long long)got);
}

static void refuse_bytes(const char *text)
{
	uint64_t got = UNTOUCHED;

	cr_expect_not(cli_number_bytes(text, &got), "'%s' is taken", text);
	cr_expect_eq(got, UNTOUCHED, "'%s' changes the value", text);
}

static void refuse_u64(const char *text, uint64_t max)
{
	uint64_t got = UNTOUCHED;

	cr_expect_not(cli_number_u64(text, max, &got), "'%s' is taken", text);
	cr_expect_eq(got, UNTOUCHED, "'%s' changes the value", text);
}

static void refuse_range(const char *text)
{
	uint64_t first = UNTOUCHED;
	uint64_t last = UNTOUCHED;

	cr_expect_not(cli_number_range(text, &first, &last), "'%s' is taken", text);
	cr_expect(first == UNTOUCHED && last == UNTOUCHED, "'%s' changes a value", text);
}

static void expect_range(const char *text, uint64_t want_first, uint64_t want_last)
{
	uint64_t first = UNTOUCHED;
	uint64_t last = UNTOUCHED;

	cr_expect(cli_number_range(text, &first, &last), "'%s' is refused", text);
	cr_expect(first == want_first && last == want_last, "'%s' gives %llu to %llu", text,
		  (unsigned long long)first, (unsigned long long)last);
}

Test(number, sizes_take_suffixes_of_1024)
{
	expect_bytes("0", 0);
	expect_bytes("512", 512);
	expect_bytes("64k", 65536);
	expect_bytes("64K", 65536);
	expect_bytes("2M", 2ull << 20);
	expect_bytes("1G", 1ull << 30);
	expect_bytes("4T", 4ull << 40);
	expect_bytes("007k", 7168);
	expect_bytes("18446744073709551615", UINT64_MAX);
	expect_bytes("16777215T", 16777215ull << 40);
}

Test(number, sizes_refuse_rubbish_signs_and_overflow)
{
	static const char *const bad[] = { "",		"k",
					   "-1",	"+1",
					   " 1",	"1 ",
					   "1kk",	"1kB",
					   "1.5k",	"0x200",
					   "1e3",	"64KiB",
					   "1P",	"one",
					   "1\n",	"--",
					   "k1",	"18446744073709551616",
					   "16777216T", "99999999999999999999999999999" };

	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
		refuse_bytes(bad[i]);
}

Test(number, numbers_are_decimal_or_hexadecimal)
{
	uint64_t got;

	cr_assert(cli_number_u64("0", 0, &got));
	cr_expect_eq(got, 0);
	cr_assert(cli_number_u64("0x1F", UINT64_MAX, &got));
	cr_expect_eq(got, 31);
	cr_assert(cli_number_u64("0Xff", 255, &got));
	cr_expect_eq(got, 255);
	/* No octal: people write leading zeros. */
	cr_assert(cli_number_u64("010", 100, &got));
	cr_expect_eq(got, 10);
	cr_assert(cli_number_u64("18446744073709551615", UINT64_MAX, &got));
	cr_expect_eq(got, UINT64_MAX);
	cr_assert(cli_number_u64("0xffffffffffffffff", UINT64_MAX, &got));
	cr_expect_eq(got, UINT64_MAX);
}

Test(number, numbers_refuse_rubbish_and_what_is_above_the_limit)
{
	refuse_u64("", UINT64_MAX);
	refuse_u64("0x", UINT64_MAX);
	refuse_u64("x1", UINT64_MAX);
	refuse_u64("-1", UINT64_MAX);
	refuse_u64("1k", UINT64_MAX);
	refuse_u64("12 ", UINT64_MAX);
	refuse_u64("256", 255);
	refuse_u64("0x100", 255);
	refuse_u64("18446744073709551616", UINT64_MAX);
	refuse_u64("0x10000000000000000", UINT64_MAX);
}

Test(number, ranges)
{
	expect_range("7", 7, 7);
	expect_range("7-", 7, UINT64_MAX);
	expect_range("7-7", 7, 7);
	expect_range("0-4095", 0, 4095);
	expect_range("0x10-0x1f", 16, 31);
	refuse_range("");
	refuse_range("-");
	refuse_range("-7");
	refuse_range("8-7");
	refuse_range("7-8-9");
	refuse_range("7 - 8");
	refuse_range("7-8k");
	refuse_range("1-18446744073709551616");
}
