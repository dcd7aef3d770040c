/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Fields at their extremes behind right checksums, keys that do not tile, loops, what no kernel of
 * today handles: every check of it ends in time and memory, and says what is wrong.
 */
#include <stdio.h>

#include <bcfmt/crc64.h>

#include "base/bytes.h"
#include "bad_input_kit.h"

TestSuite(bad_fields, .init = bad_begin, .fini = bad_end, .timeout = 300);

static const uint64_t extremes[] = {
	0,
	1,
	2,
	7,
	9,
	0xff,
	0x100,
	0x7fff,
	0x8000,
	0xffff,
	1ull << 20,
	0x7fffffff,
	0x80000000,
	0xffffffff,
	1ull << 43,
	1ull << 62,
	INT64_MAX,
	1ull << 63,
	UINT64_MAX - 1,
	UINT64_MAX,
};
#define N_EXTREMES (sizeof(extremes) / sizeof(extremes[0]))

static void store(uint8_t *at, size_t size, uint64_t value)
{
	uint8_t raw[8];

	store_le64(raw, value);
	memcpy(at, raw, size);
}

/* Writes bytes over the cache, checks it and puts the healthy ones back. */
static void check_bytes(uint64_t offset_bytes, const uint8_t *bytes, size_t len_bytes,
			const char *what, struct set_kit_result *out)
{
	set_kit_write(&bad_kit, offset_bytes / BCFMT_SECTOR_BYTES, bytes, len_bytes);
	bad_check(NULL, what, out);
	set_kit_write(&bad_kit, offset_bytes / BCFMT_SECTOR_BYTES, bad_image + offset_bytes,
		      len_bytes);
}

/* ---- superblock ---------------------------------------------------------------------- */

static uint64_t super_problems(const struct set_kit_result *result)
{
	uint64_t n = 0;

	for (unsigned int id = BCFMT_P_SUPER_BAD_OFFSET; id < 200; id++)
		n += bcfmt_report_total(result->report, (enum bcfmt_problem_id)id);
	return n;
}

/* A rule of the kernel that is broken is a finding, and then no kernel takes the cache. */
static void check_super(const uint8_t raw[BCFMT_SUPER_BYTES], const char *what)
{
	const uint32_t harmless = BCFMT_SUPER_BAD_CACHE_MODE | BCFMT_SUPER_OBSO_LARGE;
	struct set_kit_result result;
	struct bcfmt_super super;
	uint32_t faults;

	bcfmt_super_decode(raw, &super);
	faults = bcfmt_super_faults(&super, bad_bytes, 512, 4096);
	check_bytes(BCFMT_SUPER_OFFSET_BYTES, raw, BCFMT_SUPER_BYTES, what, &result);
	if (faults) {
		cr_expect_gt(super_problems(&result), 0u, "%s: faults 0x%x", what, faults);
		cr_expect(super.is_backing || !(faults & ~harmless) ||
				  result.verdict.registers != BCFMT_REGISTERS_YES,
			  "%s: a kernel is said to take it, faults 0x%x", what, faults);
	}
	bad_clear(&result);
}

Test(bad_fields, every_field_of_the_superblock)
{
	uint8_t raw[BCFMT_SUPER_BYTES];
	char what[80];

	for (uint32_t at = 8; at < 208 + 8 * 8; at += 2) {
		for (size_t i = 0; i < N_EXTREMES; i++) {
			size_t size = extremes[i] > 0xffff ? 8 : 2;

			if (at + size > BCFMT_SUPER_BYTES || (size == 8 && at % 8))
				continue;
			memcpy(raw, bad_image + BCFMT_SUPER_OFFSET_BYTES, sizeof(raw));
			store(raw + at, size, extremes[i]);
			store_le64(raw, bcfmt_super_csum(raw));
			snprintf(what, sizeof(what), "superblock byte %u: 0x%llx", at,
				 (unsigned long long)extremes[i]);
			check_super(raw, what);
		}
	}
}

/* Sizes that multiply: several fields at once, as they are and as powers of two. */
Test(bad_fields, sizes_in_the_superblock_together)
{
	static const uint8_t versions[] = { 0, 3, 3, 3, 5, 5 };
	uint64_t seed = 0x5eed;
	uint8_t raw[BCFMT_SUPER_BYTES];
	char what[160];

	for (int round = 0; round < 3000; round++) {
		uint64_t nbuckets = extremes[set_kit_below(&seed, N_EXTREMES)];
		uint16_t first = (uint16_t)extremes[set_kit_below(&seed, N_EXTREMES)];
		uint16_t keys = (uint16_t)extremes[set_kit_below(&seed, 10)];
		uint16_t bucket = (uint16_t)(1u << set_kit_below(&seed, 16));
		uint16_t block = (uint16_t)(1u << set_kit_below(&seed, 16));
		uint8_t version = versions[set_kit_below(&seed, sizeof(versions))];

		memcpy(raw, bad_image + BCFMT_SUPER_OFFSET_BYTES, sizeof(raw));
		store(raw + 16, 8, version);
		if (version == 5)
			store(raw + 128, 8, set_kit_below(&seed, 4));
		if (set_kit_below(&seed, 2))
			store(raw + 184, 8, nbuckets);
		if (set_kit_below(&seed, 4))
			store(raw + 192, 2, block);
		store(raw + 194, 2, version == 5 ? set_kit_below(&seed, 40) : bucket);
		if (set_kit_below(&seed, 2))
			store(raw + 204, 2, first);
		if (set_kit_below(&seed, 2))
			store(raw + 206, 2, keys);
		for (uint32_t i = 0; i < 256; i++)
			store(raw + 208 + 8ull * i, 8, load_le16(raw + 204) + (uint64_t)i);
		store_le64(raw, bcfmt_super_csum(raw));
		snprintf(what, sizeof(what),
			 "round %d: nbuckets %llu block %u bucket %u version %u "
			 "first %u keys %u",
			 round, (unsigned long long)load_le64(raw + 184), load_le16(raw + 192),
			 load_le16(raw + 194), version, load_le16(raw + 204), load_le16(raw + 206));
		check_super(raw, what);
	}
}

/* ---- journal entry, node, tables ------------------------------------------------------ */

/* The newest entry of the ring takes one block. */
static void mend_jset(uint8_t *raw)
{
	uint64_t bytes = BCFMT_JSET_HEADER_BYTES + 8ull * load_le32(raw + 28);

	if (bytes <= BCFMT_SECTOR_BYTES)
		store_le64(raw, bcfmt_crc64(raw + 8, bytes - 8));
}

Test(bad_fields, every_field_of_the_newest_journal_entry)
{
	uint64_t offset_bytes = bad_jset_sector[2] * BCFMT_SECTOR_BYTES;
	uint8_t raw[BCFMT_SECTOR_BYTES];
	struct set_kit_result result;
	char what[80];

	for (uint32_t at = 8; at < BCFMT_JSET_HEADER_BYTES + 8 * 6; at += 4) {
		for (size_t i = 0; i < N_EXTREMES; i++) {
			size_t size = extremes[i] > 0xffffffff ? 8 : at == 168 ? 2 : 4;

			if (size == 8 && at % 8)
				continue;
			memcpy(raw, bad_image + offset_bytes, sizeof(raw));
			store(raw + at, size, extremes[i]);
			mend_jset(raw);
			snprintf(what, sizeof(what), "journal entry byte %u: 0x%llx", at,
				 (unsigned long long)extremes[i]);
			check_bytes(offset_bytes, raw, sizeof(raw), what, &result);
			bad_clear(&result);
		}
	}
}

static void mend_bset(uint8_t *raw, size_t room_bytes, uint64_t ptr)
{
	uint32_t words = load_le32(raw + 28);

	if (BCFMT_BSET_HEADER_BYTES + 8ull * words <= room_bytes)
		store_le64(raw, bcfmt_bset_csum(raw, words, load_le32(raw + 24), ptr));
}

static void try_node_fields(uint64_t ptr, const char *kind)
{
	uint64_t offset_bytes = bcfmt_ptr_sector(ptr) * BCFMT_SECTOR_BYTES;
	uint8_t raw[BCFMT_SECTOR_BYTES];
	uint32_t end = BCFMT_BSET_HEADER_BYTES + 8 * load_le32(bad_image + offset_bytes + 28);
	struct set_kit_result result;
	char what[80];

	for (uint32_t at = 8; at < end; at += 4) {
		for (size_t i = 0; i < N_EXTREMES; i++) {
			size_t size = extremes[i] > 0xffffffff ? 8 : 4;

			if (size == 8 && at % 8)
				continue;
			memcpy(raw, bad_image + offset_bytes, sizeof(raw));
			store(raw + at, size, extremes[i]);
			mend_bset(raw, sizeof(raw), ptr);
			snprintf(what, sizeof(what), "%s byte %u: 0x%llx", kind, at,
				 (unsigned long long)extremes[i]);
			check_bytes(offset_bytes, raw, sizeof(raw), what, &result);
			bad_clear(&result);
		}
	}
}

Test(bad_fields, every_field_of_nodes)
{
	try_node_fields(bad_root, "root");
	try_node_fields(bad_interior[0], "interior node");
	try_node_fields(bad_leaf[0], "leaf of dirty data");
	try_node_fields(bad_leaf[3], "last leaf");
}

Test(bad_fields, every_field_of_a_uuid_entry_and_a_prio_set)
{
	uint64_t uuids =
		bcfmt_bucket_sector(&bad_kit.geo, bad_kit.uuid_bucket) * BCFMT_SECTOR_BYTES;
	uint64_t prios =
		bcfmt_bucket_sector(&bad_kit.geo, bad_kit.prio_bucket) * BCFMT_SECTOR_BYTES;
	struct set_kit_result result;
	uint8_t raw[4096];

	for (uint32_t at = 0; at < BCFMT_UUID_ENTRY_BYTES; at += 8) {
		for (size_t i = 0; i < N_EXTREMES; i++) {
			memcpy(raw, bad_image + uuids, sizeof(raw));
			store(raw + at, 8, extremes[i]);
			check_bytes(uuids, raw, sizeof(raw), "uuid entry", &result);
			bad_clear(&result);
			if (at < 8 || at >= BCFMT_PRIO_HEADER_BYTES + 16)
				continue;
			memcpy(raw, bad_image + prios, sizeof(raw));
			store(raw + at, 8, extremes[i]);
			store_le64(raw, bcfmt_crc64(raw + 8, sizeof(raw) - 8));
			check_bytes(prios, raw, sizeof(raw), "prio set", &result);
			bad_clear(&result);
		}
	}
}

/* ---- what has to be named ------------------------------------------------------------- */

static void expect_found(enum bcfmt_problem_id id, const char *what)
{
	struct set_kit_result result;

	bad_check(NULL, what, &result);
	if (!bcfmt_report_total(result.report, id)) {
		char *text = set_kit_result_text(&result);

		cr_expect(false, "%s: not found, but:\n%s", what, text);
		free(text);
	}
	bad_clear(&result);
	set_kit_write(&bad_kit, 0, bad_image, bad_bytes);
}

/* One word less than the keys take: the last one is cut off. */
static void cut_bset(uint64_t ptr)
{
	uint8_t raw[BCFMT_SECTOR_BYTES];

	set_kit_read(&bad_kit, bcfmt_ptr_sector(ptr), raw, sizeof(raw));
	store(raw + 28, 4, load_le32(raw + 28) - 1);
	mend_bset(raw, sizeof(raw), ptr);
	set_kit_write(&bad_kit, bcfmt_ptr_sector(ptr), raw, sizeof(raw));
}

Test(bad_fields, keys_that_do_not_tile)
{
	uint8_t raw[BCFMT_SECTOR_BYTES];

	cut_bset(bad_leaf[0]);
	expect_found(BCFMT_P_NODE_NOT_TILING, "leaf");
	cut_bset(bad_interior[1]);
	expect_found(BCFMT_P_NODE_NOT_TILING, "interior node");
	cut_bset(bad_root);
	expect_found(BCFMT_P_NODE_NOT_TILING, "root");
	set_kit_read(&bad_kit, bad_jset_sector[2], raw, sizeof(raw));
	store(raw + 28, 4, load_le32(raw + 28) - 1);
	mend_jset(raw);
	set_kit_write(&bad_kit, bad_jset_sector[2], raw, sizeof(raw));
	expect_found(BCFMT_P_JOURNAL_NOT_TILING, "journal entry");
}

/* The second child of a node becomes another one; gens are 1 everywhere. */
static void set_second_child(uint64_t parent, uint64_t child)
{
	uint8_t raw[BCFMT_SECTOR_BYTES];

	set_kit_read(&bad_kit, bcfmt_ptr_sector(parent), raw, sizeof(raw));
	store(raw + BCFMT_BSET_HEADER_BYTES + 24 + 16, 8, child);
	mend_bset(raw, sizeof(raw), parent);
	set_kit_write(&bad_kit, bcfmt_ptr_sector(parent), raw, sizeof(raw));
}

Test(bad_fields, loops_in_the_tree)
{
	set_second_child(bad_root, bad_root);
	expect_found(BCFMT_P_NODE_TWO_LEVELS, "root is its own child");
	set_second_child(bad_interior[1], bad_root);
	expect_found(BCFMT_P_NODE_TWO_LEVELS, "root is its grandchild");
	set_second_child(bad_interior[0], bad_interior[0]);
	expect_found(BCFMT_P_NODE_TWO_LEVELS, "interior node is its own child");
	set_second_child(bad_root, bad_interior[0]);
	expect_found(BCFMT_P_NODE_TWICE, "one interior node twice");
	set_second_child(bad_interior[1], bad_leaf[0]);
	expect_found(BCFMT_P_NODE_TWICE, "one leaf below two parents");
	set_second_child(bad_interior[1],
			 set_kit_ptr(&bad_kit, bad_kit.geo.first_bucket + 1ull, 0));
	expect_found(BCFMT_P_NODE_IN_METADATA, "leaf in the journal");
	set_second_child(bad_interior[1], set_kit_ptr(&bad_kit, bad_kit.prio_bucket, 0));
	expect_found(BCFMT_P_NODE_IN_METADATA, "leaf in the prio set");
}

/* The deepest tree that can be said: a root of level 255 and more that is its own child. */
Test(bad_fields, a_tree_of_65535_levels)
{
	static const uint16_t levels[] = { 13, 255, 256, 32768, 65535 };

	for (size_t i = 0; i < sizeof(levels) / sizeof(levels[0]); i++) {
		uint8_t raw[BCFMT_SECTOR_BYTES];

		set_second_child(bad_root, bad_root);
		set_kit_read(&bad_kit, bad_jset_sector[2], raw, sizeof(raw));
		store(raw + 168, 2, levels[i]);
		mend_jset(raw);
		set_kit_write(&bad_kit, bad_jset_sector[2], raw, sizeof(raw));
		expect_found(BCFMT_P_JOURNAL_BAD_LEVEL, "level");
	}
}

static void set_next_prio(uint64_t bucket)
{
	uint64_t sector = bcfmt_bucket_sector(&bad_kit.geo, bad_kit.prio_bucket);
	uint8_t raw[4096];

	set_kit_read(&bad_kit, sector, raw, sizeof(raw));
	store(raw + 32, 8, bucket);
	store_le64(raw, bcfmt_crc64(raw + 8, sizeof(raw) - 8));
	set_kit_write(&bad_kit, sector, raw, sizeof(raw));
}

Test(bad_fields, loops_in_the_prio_chain)
{
	cr_assert_eq(bcfmt_geometry_prio_buckets(&bad_kit.geo), 2u);
	set_next_prio(bad_kit.prio_bucket);
	expect_found(BCFMT_P_PRIO_LOOP, "names itself");
	set_next_prio(bad_kit.geo.first_bucket);
	expect_found(BCFMT_P_PRIO_IN_JOURNAL, "in the journal");
	set_next_prio(0);
	expect_found(BCFMT_P_PRIO_BAD_BUCKET, "bucket 0");
	set_next_prio(UINT64_MAX);
	expect_found(BCFMT_P_PRIO_BAD_BUCKET, "bucket 2^64 - 1");
	set_next_prio(UINT64_MAX / 4096 + 1);
	expect_found(BCFMT_P_PRIO_BAD_BUCKET, "a bucket whose bytes overflow");
}

Test(bad_fields, a_set_of_two_caches_and_a_big_endian_one)
{
	uint8_t raw[BCFMT_SUPER_BYTES];

	memcpy(raw, bad_image + BCFMT_SUPER_OFFSET_BYTES, sizeof(raw));
	store(raw + 196, 2, 2);
	store_le64(raw, bcfmt_super_csum(raw));
	set_kit_write(&bad_kit, BCFMT_SUPER_OFFSET_BYTES / BCFMT_SECTOR_BYTES, raw, sizeof(raw));
	expect_found(BCFMT_P_SET_SEVERAL_MEMBERS, "nr_in_set 2");

	/* Every entry as the other kind of machine would have begun it. */
	for (int i = 0; i < 3; i++) {
		set_kit_read(&bad_kit, bad_jset_sector[i], raw, BCFMT_SECTOR_BYTES);
		store_le64(raw + 8,
			   __builtin_bswap64(bad_kit.geo.set_magic) ^ 0x245235c1a3625032ull);
		store_le64(raw + 8, __builtin_bswap64(load_le64(raw + 8)));
		set_kit_write(&bad_kit, bad_jset_sector[i], raw, BCFMT_SECTOR_BYTES);
	}
	expect_found(BCFMT_P_SET_BIG_ENDIAN, "big-endian");
}

/* Counts from just beyond the container to what would take gigabytes. */
Test(bad_fields, counts_beyond_their_container)
{
	uint8_t raw[BCFMT_SECTOR_BYTES];

	for (uint64_t words = 509; words <= UINT32_MAX; words = words * 2 + 1) {
		set_kit_read(&bad_kit, bcfmt_ptr_sector(bad_leaf[0]), raw, sizeof(raw));
		store(raw + 28, 4, words);
		set_kit_write(&bad_kit, bcfmt_ptr_sector(bad_leaf[0]), raw, sizeof(raw));
		expect_found(BCFMT_P_NODE_OVERRUN, "keys of a bset");
		set_kit_read(&bad_kit, bad_jset_sector[1], raw, sizeof(raw));
		store(raw + 28, 4, words);
		set_kit_write(&bad_kit, bad_jset_sector[1], raw, sizeof(raw));
		expect_found(words > 4066 ? BCFMT_P_JOURNAL_TOO_BIG : BCFMT_P_JOURNAL_GAP,
			     "keys of a journal entry");
	}
}
