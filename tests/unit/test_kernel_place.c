/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Which place a line of dmesg names, and reading the text of a key back. */
#include <criterion/criterion.h>

#include <stdio.h>
#include <string.h>

#include <bcfmt/problem.h>

#define NONE BCFMT_NO_NUMBER
#define SET_ERROR \
	"[   12.3] bcache: bch_cache_set_error() error on 5468fb24-ebf3-4a51-856a-ac8bc44aeceb: "

static const struct {
	const char *line;
	enum bcfmt_place_kind kind;
	uint64_t bucket, block, ring_index, first_seq, last_seq, sector;
	const char *key;
} rows[] = {
	{ SET_ERROR "bad checksum at bucket 77, block 9, 504 keys, disabling caching",
	  BCFMT_PLACE_NODE, 77, 9, NONE, NONE, NONE, NONE, NULL },
	{ "bad\tmagic  at bucket  77,  block 0", BCFMT_PLACE_NODE, 77, 0, NONE, NONE, NONE, NONE,
	  NULL },
	/* Cut in the middle: what is whole counts. */
	{ "bad checksum at bucket 77, bl", BCFMT_PLACE_NODE, 77, NONE, NONE, NONE, NONE, NONE,
	  NULL },
	{ SET_ERROR "io error reading bucket 12, disabling caching", BCFMT_PLACE_NODE, 12, NONE,
	  NONE, NONE, NONE, NONE, NULL },
	{ SET_ERROR
	  "spotted btree ptr 1048575:9223372036854775679 len 128 -> [0:85120 gen 1]: bad, "
	  "offset past end of device, disabling caching",
	  BCFMT_PLACE_CHILD, NONE, NONE, NONE, NONE, NONE, NONE,
	  "1048575:9223372036854775679 len 128 -> [0:85120 gen 1]" },
	{ SET_ERROR "spotted extent 0:171384 len 64 -> [0:55496 gen 1] dirty: bad, short offset",
	  BCFMT_PLACE_EXTENT, NONE, NONE, NONE, NONE, NONE, NONE,
	  "0:171384 len 64 -> [0:55496 gen 1] dirty" },
	{ "bcache: bch_extent_bad() stale dirty pointer, stale 1, key: 0:7168 len 8 -> [0:55 gen 1] "
	  "dirty",
	  BCFMT_PLACE_EXTENT, NONE, NONE, NONE, NONE, NONE, NONE,
	  "0:7168 len 8 -> [0:55 gen 1] dirty" },
	{ SET_ERROR
	  "inconsistent btree pointer 0:4096 len 1024 -> [0:55296 gen 1]: bucket 54 pin 0 "
	  "prio 32768 gen 1 last_gc 1 mark 2, disabling caching",
	  BCFMT_PLACE_CHILD, 54, NONE, NONE, NONE, NONE, NONE,
	  "0:4096 len 1024 -> [0:55296 gen 1]" },
	{ "bcache: bch_dump_bset() block 9 key 3/504:  0:171384 len 64 -> [0:55496 gen 1] dirty "
	  "bucket 54 prio 32768 ",
	  BCFMT_PLACE_EXTENT, 54, NONE, NONE, NONE, NONE, NONE,
	  "0:171384 len 64 -> [0:55496 gen 1] dirty" },
	{ "bcache: journal_read_bucket() 48: bad csum, 32256 bytes, offset 8", BCFMT_PLACE_JOURNAL,
	  NONE, NONE, 48, NONE, NONE, 8, NULL },
	{ "bcache: bch_journal_replay() journal entries 57-58 missing! (replaying 57-70)",
	  BCFMT_PLACE_JOURNAL, NONE, NONE, NONE, 57, 58, NONE, NULL },
	{ "journal entries 57-58 may be discarded! (replaying 57-70)", BCFMT_PLACE_JOURNAL, NONE,
	  NONE, NONE, 57, 58, NONE, NULL },
	{ "blk_update_request: I/O error, dev sda, sector 2048 op 0x0:(READ) flags 0x0",
	  BCFMT_PLACE_SECTOR, NONE, NONE, NONE, NONE, NONE, 2048, NULL },
	{ "bcache: prio_read() bad csum reading priorities", BCFMT_PLACE_PRIOS, NONE, NONE, NONE,
	  NONE, NONE, NONE, NULL },
	{ SET_ERROR "bad btree root, disabling caching", BCFMT_PLACE_ROOT, NONE, NONE, NONE, NONE,
	  NONE, NONE, NULL },
	{ SET_ERROR "accessing uuids, disabling caching", BCFMT_PLACE_UUIDS, NONE, NONE, NONE, NONE,
	  NONE, NONE, NULL },
	/* By the problem alone. */
	{ "bcache: register_bcache() error : Too many journal buckets", BCFMT_PLACE_SUPER, NONE,
	  NONE, NONE, NONE, NONE, NONE, NULL },
	{ SET_ERROR "no journal entries found, disabling caching", BCFMT_PLACE_JOURNAL, NONE, NONE,
	  NONE, NONE, NONE, NONE, NULL },
	{ "bcache: bch_dump_bset() Key skipped backwards", BCFMT_PLACE_NONE, NONE, NONE, NONE, NONE,
	  NONE, NONE, NULL },
	/* Numbers that are none, or too large. */
	{ "io error reading bucket 99999999999999999999999", BCFMT_PLACE_NONE, NONE, NONE, NONE,
	  NONE, NONE, NONE, NULL },
	{ "io error reading bucket 12x", BCFMT_PLACE_NONE, NONE, NONE, NONE, NONE, NONE, NONE,
	  NULL },
	{ "xat bucket 77, block 9", BCFMT_PLACE_NONE, NONE, NONE, NONE, NONE, NONE, NONE, NULL },
	{ "", BCFMT_PLACE_NONE, NONE, NONE, NONE, NONE, NONE, NONE, NULL },
};

Test(kernel_place, lines_name_their_place)
{
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct bcfmt_kernel_place place;
		char text[BCFMT_KEY_TEXT_BYTES];

		bcfmt_kernel_line_place(rows[i].line, &place);
		cr_expect_eq(place.kind, rows[i].kind, "%s", rows[i].line);
		cr_expect_eq(place.bucket, rows[i].bucket, "%s", rows[i].line);
		cr_expect_eq(place.block, rows[i].block, "%s", rows[i].line);
		cr_expect_eq(place.ring_index, rows[i].ring_index, "%s", rows[i].line);
		cr_expect_eq(place.first_seq, rows[i].first_seq, "%s", rows[i].line);
		cr_expect_eq(place.last_seq, rows[i].last_seq, "%s", rows[i].line);
		cr_expect_eq(place.sector, rows[i].sector, "%s", rows[i].line);
		cr_expect_eq(place.has_key, rows[i].key != NULL, "%s", rows[i].line);
		if (!place.has_key || !rows[i].key)
			continue;
		bcfmt_key_text(text, &place.key);
		cr_expect_str_eq(text, rows[i].key);
	}
}

Test(kernel_place, no_line_names_nothing)
{
	struct bcfmt_kernel_place place;

	bcfmt_kernel_line_place(NULL, &place);
	cr_expect_eq(place.kind, BCFMT_PLACE_NONE);
	for (int kind = BCFMT_PLACE_NONE; kind <= BCFMT_PLACE_SECTOR; kind++)
		for (int other = BCFMT_PLACE_NONE; other < kind; other++)
			cr_expect_str_neq(bcfmt_place_kind_name((enum bcfmt_place_kind)kind),
					  bcfmt_place_kind_name((enum bcfmt_place_kind)other));
}

Test(kernel_place, the_text_of_a_key_is_read_back)
{
	const struct bcfmt_key keys[] = {
		bcfmt_key_make(0, 24, 8, false, true, bcfmt_ptr_make(0, 55296, 1)),
		bcfmt_key_make(1048575, BCFMT_KEY_MAX_OFFSET, 65535, true, true,
			       bcfmt_ptr_make(7, 0x7ffffffffffull, 255)),
		bcfmt_key_make(3, 100, 100, false, false, 0),
		bcfmt_key_make(3, 100, 0, true, false, 0),
		/* It begins before sector 0. */
		bcfmt_key_make(3, 4, 8, true, true, bcfmt_ptr_make(0, 8, 0)),
		bcfmt_key_make(3, 100, 8, false, true, bcfmt_ptr_make(BCFMT_PTR_DEV_CHECK, 0, 0)),
	};

	for (size_t i = 0; i < sizeof(keys) / sizeof(keys[0]); i++) {
		char text[BCFMT_KEY_TEXT_BYTES + 8];
		struct bcfmt_key key;
		const char *end;

		bcfmt_key_text(text, &keys[i]);
		strcat(text, " rest");
		end = bcfmt_key_parse(text, &key);
		cr_assert_not_null(end, "%s", text);
		cr_expect_str_eq(end, " rest");
		cr_expect(key.high == keys[i].high && key.low == keys[i].low &&
				  key.ptr == keys[i].ptr,
			  "%s", text);
	}
}

Test(kernel_place, what_is_no_key_is_refused)
{
	static const char *const texts[] = {
		"",
		"0",
		"0:16",
		"0:16 len",
		"0:16 len ",
		":16 len 8",
		"x:16 len 8",
		"1048576:16 len 8",
		"0:16 len 65536",
		"0:18446744073709551616 len 8",
	};
	struct bcfmt_key key;

	for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++)
		cr_expect_null(bcfmt_key_parse(texts[i], &key), "%s", texts[i]);
	cr_expect_str_eq(bcfmt_key_parse("0:16 len 8, 3", &key), ", 3");
	cr_expect_not(bcfmt_key_has_data(&key));
	/* Several pointers; and one that was cut off. */
	cr_expect_str_eq(bcfmt_key_parse("0:16 len 8 -> [0:8 gen 1, 1:9 gen 2] dirty!", &key), "!");
	cr_expect_eq(key.ptr, bcfmt_ptr_make(0, 8, 1));
	cr_expect_str_eq(bcfmt_key_parse("0:16 len 8 -> [0:8 ge", &key), " -> [0:8 ge");
	cr_expect_not(bcfmt_key_has_data(&key));
}
