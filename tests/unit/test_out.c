/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Where output goes: lines, rows, JSON, failures. */
#include <criterion/criterion.h>

#include "render/clean.h"
#include "unit/render_help.h"

static void expect_bytes_text(uint64_t bytes, const char *want)
{
	char text[32];

	cr_expect_str_eq(bcfmt_bytes_text(bytes, text), want);
}

Test(out, sizes_for_people)
{
	expect_bytes_text(0, "0 bytes");
	expect_bytes_text(1, "1 byte");
	expect_bytes_text(1023, "1023 bytes");
	expect_bytes_text(1024, "1.0 KiB");
	expect_bytes_text(1536, "1.5 KiB");
	expect_bytes_text(1048575, "1.0 MiB");
	expect_bytes_text(1047552, "1023.0 KiB");
	expect_bytes_text(43185152, "41.2 MiB");
	expect_bytes_text(20ull << 30, "20.0 GiB");
	expect_bytes_text(3ull << 40, "3.0 TiB");
	expect_bytes_text(1ull << 50, "1.0 PiB");
	expect_bytes_text(UINT64_MAX, "16.0 EiB");
}

Test(out, lines_hold_no_control_characters)
{
	struct bcfmt_out *out = catch_begin(0);

	bcfmt_out_line(out, "a%sb", "\033[31m\r\n\b\177");
	bcfmt_out_line(out, "tab\tstays, %s", "caf\xc3\xa9 too");
	bcfmt_out_line(out, "%s",
		       "c1 \xc2\x9b"
		       "0m, turned \xe2\x80\xae, bad \xc3( \xff");
	catch_expect(out, "a?[31m????b\ntab\tstays, caf\xc3\xa9 too\nc1 ?0m, turned ?, bad ?( ?\n");
}

Test(out, lines_are_not_printed_in_json)
{
	struct bcfmt_out *out = catch_begin(BCFMT_OUT_JSON);

	cr_expect(bcfmt_out_is_json(out));
	bcfmt_out_line(out, "nothing");
	catch_expect(out, "");
}

Test(out, rows_as_text)
{
	static const uint8_t uuid[BCFMT_UUID_BYTES] = { 0x12, 0x34 };
	struct bcfmt_out *out = catch_begin(0);

	bcfmt_row_begin(out, "thing");
	bcfmt_row_u64(out, "sector", UINT64_MAX);
	bcfmt_row_hex(out, "magic", 0xabc);
	bcfmt_row_bool(out, "dirty", true);
	bcfmt_row_bool(out, "clean", false);
	bcfmt_row_text(out, "plain", "word");
	bcfmt_row_text(out, "quoted", "two \"words\" \\");
	bcfmt_row_text(out, "empty", "");
	bcfmt_row_uuid(out, "uuid", uuid);
	bcfmt_row_end(out);
	bcfmt_row_begin(out, "next");
	bcfmt_row_end(out);
	catch_expect(out, "thing sector=18446744073709551615 magic=0x0000000000000abc dirty=yes "
			  "clean=no plain=word quoted=\"two \\\"words\\\" \\\\\" empty=\"\" "
			  "uuid=12340000-0000-0000-0000-000000000000\nnext\n");
}

Test(out, rows_as_json)
{
	struct bcfmt_out *out = catch_begin(BCFMT_OUT_JSON);

	bcfmt_row_begin(out, "thing");
	bcfmt_row_u64(out, "small", 1ull << 53 | 1);
	bcfmt_row_u64(out, "limit", INT64_MAX);
	bcfmt_row_u64(out, "above", 1ull << 63);
	bcfmt_row_hex(out, "magic", 0xabc);
	bcfmt_row_bool(out, "dirty", true);
	bcfmt_row_text(out, "text", "a\033\"\n");
	bcfmt_row_end(out);
	catch_expect(out, "{\"kind\":\"thing\",\"small\":9007199254740993,"
			  "\"limit\":9223372036854775807,\"above\":\"9223372036854775808\","
			  "\"magic\":\"0x0000000000000abc\",\"dirty\":true,"
			  "\"text\":\"a\\u001B\\\"\\n\"}\n");
}

Test(out, json_strings_are_valid_utf8)
{
	struct bcfmt_out *out = catch_begin(BCFMT_OUT_JSON);
	json_t *row;

	bcfmt_row_begin(out, "thing");
	bcfmt_row_text(out, "label", "ok \xc3\xa9 bad \xff\xc3 cut \xe2\x82");
	bcfmt_row_end(out);
	catch_end(out);
	row = catch_json(0);
	cr_expect_str_eq(catch_string(row, "label"),
			 "ok \xc3\xa9 bad \xef\xbf\xbd\xef\xbf\xbd cut \xef\xbf\xbd\xef\xbf\xbd");
	json_decref(row);
	catch_free();
}

Test(out, utf8_of_every_length_is_told_from_rubbish)
{
	static const struct {
		const char *text;
		size_t len;
		uint32_t code;
	} rows[] = {
		{ "a", 1, 'a' },
		{ "\x7f", 1, 0x7f },
		{ "\xc2\x80", 2, 0x80 },
		{ "\xe0\xa0\x80", 3, 0x800 },
		{ "\xef\xbf\xbf", 3, 0xffff },
		{ "\xf0\x90\x80\x80", 4, 0x10000 },
		{ "\xf4\x8f\xbf\xbf", 4, 0x10ffff },
		{ "\x80", 0, 0 },     /* continuation alone */
		{ "\xc0\x80", 0, 0 }, /* overlong */
		{ "\xc1\xbf", 0, 0 },
		{ "\xe0\x9f\xbf", 0, 0 },
		{ "\xf0\x8f\xbf\xbf", 0, 0 },
		{ "\xed\xa0\x80", 0, 0 },     /* surrogate */
		{ "\xf4\x90\x80\x80", 0, 0 }, /* beyond the last */
		{ "\xf8\x88\x80\x80", 0, 0 },
		{ "\xe2\x82", 0, 0 }, /* cut */
	};

	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		uint32_t code = 0;

		cr_expect_eq(clean_utf8(rows[i].text, &code), rows[i].len, "row %zu", i);
		cr_expect(!rows[i].len || code == rows[i].code, "row %zu: %#x", i, code);
	}
}

Test(out, a_failed_write_is_told_at_the_end)
{
	struct bcfmt_ctx_params params = { .threads = 1 };
	struct bcfmt_ctx *ctx;
	struct bcfmt_out *out;
	FILE *full = fopen("/dev/full", "we");

	cr_assert_not_null(full);
	cr_assert_eq(bcfmt_ctx_new(&params, &ctx), BCFMT_OK);
	cr_assert_eq(bcfmt_out_new(ctx, full, 0, &out), BCFMT_OK);
	bcfmt_out_line(out, "lost");
	cr_expect_eq(bcfmt_out_close(out), BCFMT_E_IO);
	cr_expect_str_eq(bcfmt_ctx_fault(ctx), "cannot write the output");
	fclose(full);
	bcfmt_ctx_free(ctx);
}

Test(out, unknown_flags_are_refused)
{
	struct bcfmt_ctx_params params = { .threads = 1 };
	struct bcfmt_ctx *ctx;
	struct bcfmt_out *out;

	cr_assert_eq(bcfmt_ctx_new(&params, &ctx), BCFMT_OK);
	cr_expect_eq(bcfmt_out_new(ctx, stdout, 1u << 30, &out), BCFMT_E_ARG);
	cr_expect_null(out);
	bcfmt_ctx_free(ctx);
}

Test(out, header_and_summary_are_there_only_in_json)
{
	struct bcfmt_out *out = catch_begin(0);

	bcfmt_render_header(out, "test", "check", NULL);
	bcfmt_render_summary(out, NULL, 4);
	catch_expect(out, "");
	out = catch_begin(BCFMT_OUT_JSON);
	bcfmt_render_header(out, "test", "check", NULL);
	bcfmt_render_summary(out, NULL, 4);
	catch_end(out);
	cr_expect_str_eq(strchr(caught_text, '\n'), "\n{\"kind\":\"summary\",\"exit_code\":4}\n");
	catch_free();
}
