/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Images of sets: what is found on them is what is found on the devices, and no data is in them. */
#include "image_help.h"

#include <unistd.h>

TestSuite(image_make, .init = begin, .fini = finish);

Test(image_make, a_healthy_set_and_nothing_else)
{
	uint32_t covered = 208 + 8u * kit.super.keys;
	uint8_t buf[BCFMT_SUPER_BYTES];

	make_leaf_set(2);
	/* Data, slack of every structure, and free buckets. */
	write_secret(bucket_sector(nth(9)), 0, 16 * 512);
	write_secret(bucket_sector(nth(0)), 32 + 48, 512 - 80);
	write_secret(bucket_sector(nth(0)) + 5, 0, 512);
	write_secret(bucket_sector(nth(7)), 0, 16 * 512);
	write_secret(8, covered, 4096 - covered);
	write_secret(bucket_sector(kit.super.first_bucket + 1u), 240, 512 - 240);
	write_secret(bucket_sector(kit.super.first_bucket + 2u), 0, 4096);
	write_secret(0, 0, 4096);
	write_secret(bucket_sector(kit.uuid_bucket), 72, 56);
	make();
	expect_same(true);
	expect_no_secret();
	cr_expect_eq(stats.nodes, 1);
	cr_expect_eq(stats.journal_entries, 1);
	cr_expect_eq(stats.uuid_tables, 1);
	cr_expect_eq(stats.withheld, 0);
	cr_expect_eq(stats.found_bsets, 0);
	cr_expect_geq(stats.found_prios, 1);
	read_image(8, buf, sizeof(buf));
	cr_expect_eq(load_le64(buf), bcfmt_super_csum(buf));
}

Test(image_make, where_a_node_should_be_is_data)
{
	make_leaf_set(2);
	write_secret(bucket_sector(nth(0)), 0, 16 * 512);
	expect_problem("node-");
	make();
	expect_same(false);
	expect_no_secret();
	cr_expect_eq(stats.withheld, 1);
}

/* Each reason for which a kernel stops at data in place of a node stays the reason. */
Test(image_make, a_marker_stands_for_data_in_place_of_a_node)
{
	static const struct {
		uint32_t version;
		uint32_t keys;
		const char *slug;
	} heads[] = { { 1, 3, "node-bad-magic" },
		      { 0, 1, "node-bad-magic" },
		      { 1, 0x20202020, "node-overrun" },
		      { 0x6f6f6f6f, 3, "node-unsupported-version" } };

	for (size_t i = 0; i < sizeof(heads) / sizeof(heads[0]); i++) {
		uint8_t words[8];

		set_kit_clear(&kit);
		begin();
		make_leaf_set(2);
		write_secret(bucket_sector(nth(0)), 0, 16 * 512);
		store_le32(words, heads[i].version);
		store_le32(words + 4, heads[i].keys);
		cr_assert_eq(bcfmt_dev_write(kit.dev, bucket_sector(nth(0)) * 512 + 24, words, 8),
			     BCFMT_OK);
		expect_problem(heads[i].slug);
		make();
		expect_same(false);
		expect_no_secret();
		cr_expect_eq(stats.withheld, 1);
		close_image();
	}
	/* A seq of 0. */
	set_kit_zero(&kit, bucket_sector(nth(0)), 16);
	write_secret(bucket_sector(nth(0)), 32, 8192 - 32);
	expect_problem("node-bad-header");
	make();
	expect_same(true);
	expect_no_secret();
}

/* A bset that was written in part: the keys that were written stay, what was there before goes. */
Test(image_make, the_checksum_of_a_damaged_bset_stays_what_it_was)
{
	uint8_t want[16], got[16];

	make_leaf_set(20);
	write_secret(bucket_sector(nth(0)), 32 + 24 * 11, 24 * 9);
	expect_problem("node-bad-csum");
	make();
	expect_same(true); /* the message has both checksums */
	expect_no_secret();
	cr_assert_eq(bcfmt_dev_read(kit.dev, bucket_sector(nth(0)) * 512 + 32 + 240, want, 16),
		     BCFMT_OK);
	cr_assert_eq(bcfmt_dev_read(devs[0], bucket_sector(nth(0)) * 512 + 32 + 240, got, 16),
		     BCFMT_OK);
	cr_expect_arr_eq(got, want, 16, "the last key that is one");
}

Test(image_make, one_damaged_key_costs_no_other)
{
	uint8_t want[512], got[512];

	make_leaf_set(20);
	set_kit_spoil(&kit, nth(0), 32 + 24 * 7 + 13); /* a sector number */
	expect_problem("node-bad-csum");
	make();
	expect_same(true);
	set_kit_read(&kit, bucket_sector(nth(0)), want, sizeof(want));
	read_image(bucket_sector(nth(0)), got, sizeof(got));
	cr_expect_arr_eq(got, want, 32 + 24 * 20);
	set_kit_spoil(&kit, nth(0), 32 + 24 * 7 + 5); /* bits that no key has */
	make();
	expect_same(true);
	set_kit_read(&kit, bucket_sector(nth(0)), want, sizeof(want));
	read_image(bucket_sector(nth(0)), got, sizeof(got));
	cr_expect_arr_eq(got, want, 32 + 24 * 7);
	cr_expect_arr_neq(got + 32 + 24 * 7, want + 32 + 24 * 7, 24);
	cr_expect_arr_eq(got + 32 + 24 * 8, want + 32 + 24 * 8, 24 * 12);
}

/* Only the header is damaged: the keys are proved by the checksum all the same. */
Test(image_make, keys_behind_a_damaged_header_stay)
{
	static const uint64_t places[] = { 9, 24 };

	for (size_t i = 0; i < 2; i++) {
		uint8_t want[512], got[512];

		set_kit_clear(&kit);
		begin();
		make_leaf_set(20);
		set_kit_spoil(&kit, nth(0), places[i]);
		make();
		expect_same(true);
		cr_expect_eq(stats.withheld, 0);
		set_kit_read(&kit, bucket_sector(nth(0)), want, sizeof(want));
		read_image(bucket_sector(nth(0)), got, sizeof(got));
		cr_expect_arr_eq(got, want, 32 + 24 * 20);
		close_image();
	}
}

Test(image_make, a_hole_and_what_is_behind_it)
{
	struct bcfmt_key key = set_kit_dirty(0, 400, 8, set_kit_ptr(&kit, nth(9), 0));
	uint64_t root = make_leaf_set(2), seq;
	uint8_t header[32];

	set_kit_read(&kit, bucket_sector(nth(0)), header, sizeof(header));
	seq = load_le64(header + 16);
	set_kit_bset(&kit, root, 4, seq, &key, 1);
	set_kit_bset(&kit, root, 7, seq, &key, 1);
	set_kit_spoil(&kit, nth(0), 7 * 512 + 40); /* and one that is not whole */
	write_secret(bucket_sector(nth(0)) + 5, 0, 512);
	expect_problem("node-hole");
	make();
	expect_same(true);
	expect_no_secret();
}

/* Older nodes, wherever they lie, are found by the seed of their checksum. */
Test(image_make, nodes_that_nothing_points_to_are_found)
{
	static const struct {
		enum bcfmt_image_scan scan;
		uint64_t found;
	} scans[] = { { BCFMT_IMAGE_SCAN_ALL, 4 },
		      { BCFMT_IMAGE_SCAN_HEADS, 1 + 1 },
		      { BCFMT_IMAGE_SCAN_NONE, 1 } };
	struct bcfmt_key key = set_kit_clean(0, 64, 8, set_kit_ptr(&kit, nth(9), 0));
	uint64_t root = make_leaf_set(2);
	uint8_t got[512], want[512];

	/* In a free bucket, at its start and behind data; an older one in the place of the root. */
	set_kit_bset(&kit, bcfmt_ptr_make(0, bucket_sector(nth(5)), 77), 0, 5, &key, 1);
	write_secret(bucket_sector(nth(6)), 0, 4 * 512);
	set_kit_bset(&kit, bcfmt_ptr_make(0, bucket_sector(nth(6)), 3), 4, 5, &key, 1);
	set_kit_bset(&kit, bcfmt_ptr_make(0, bucket_sector(nth(8)), 3), 15, 5, &key, 1);
	set_kit_bset(&kit, root ^ 0x40, 9, 5, &key, 1);
	/* Written for another place: no node of this cache. */
	set_kit_bset(&kit, bcfmt_ptr_make(0, bucket_sector(nth(7)), 3), 0, 5, &key, 1);
	set_kit_read(&kit, bucket_sector(nth(7)), got, 512);
	set_kit_zero(&kit, bucket_sector(nth(7)), 1);
	set_kit_write(&kit, bucket_sector(nth(4)), got, 512);
	for (size_t i = 0; i < sizeof(scans) / sizeof(scans[0]); i++) {
		struct bcfmt_image_params params = { .scan = scans[i].scan };

		make_with(&params);
		expect_same(true);
		expect_no_secret();
		cr_expect_eq(stats.found_bsets, scans[i].found, "%d: %llu", (int)scans[i].scan,
			     (unsigned long long)stats.found_bsets);
		read_image(bucket_sector(nth(5)), got, 512);
		set_kit_read(&kit, bucket_sector(nth(5)), want, 512);
		cr_expect_eq(!memcmp(got, want, 56), scans[i].scan != BCFMT_IMAGE_SCAN_NONE);
	}
}

Test(image_make, a_damaged_prio_set_keeps_its_checksum)
{
	make_leaf_set(2);
	write_secret(bucket_sector(kit.prio_bucket), 1000, 600);
	expect_problem("prio-bad-csum");
	make();
	expect_same(true);
	expect_no_secret();
	cr_expect_eq(stats.withheld, 0);
	/* Nothing left that says that it is one. */
	write_secret(bucket_sector(kit.prio_bucket), 0, 4096);
	make();
	expect_same(false);
	expect_no_secret();
	cr_expect_eq(stats.withheld, 1);
}

Test(image_make, where_the_uuid_table_should_be_is_data)
{
	make_leaf_set(2);
	write_secret(bucket_sector(kit.uuid_bucket), 0, 16 * 512);
	expect_problem("uuid-implausible");
	make();
	expect_same(false);
	expect_no_secret();
	cr_expect_eq(stats.withheld, 1);
}

Test(image_make, one_wrong_slot_hides_itself_alone)
{
	uint8_t uuid[16];

	make_leaf_set(2);
	write_secret(bucket_sector(kit.uuid_bucket), 128 * 3, 128);
	make();
	expect_same(false);
	expect_no_secret();
	memcpy(uuid, kit.uuids[0].uuid, 16);
	cr_expect(has_bytes(uuid, 16));
}

/* The table that an older entry names, but only where it still is one. */
Test(image_make, older_uuid_tables_are_kept_while_they_are_tables)
{
	uint64_t root = make_leaf_set(2), old = bucket_sector(nth(12));
	struct set_kit_jset jset = { .ring_index = 1,
				     .seq = 1,
				     .last_seq = 1,
				     .root_ptr = root,
				     .uuid_ptr = set_kit_ptr(&kit, nth(12), 0) };
	struct bcfmt_uuid_entry entry = { .first_reg = 5, .last_reg = 6 };
	uint8_t slot[128];
	uint32_t sector;

	sector = set_kit_jset(&kit, &jset);
	jset.seq = jset.last_seq = 2;
	jset.sector = sector;
	jset.uuid_ptr = 0;
	set_kit_jset(&kit, &jset);
	memset(entry.uuid, 0x81, sizeof(entry.uuid));
	strcpy(entry.label, "attic");
	bcfmt_uuid_encode(&entry, slot);
	set_kit_write(&kit, old, slot, sizeof(slot));
	make();
	expect_same(true);
	cr_expect_eq(stats.uuid_tables, 2);
	cr_expect(has_bytes("attic", 5));
	/* By now it is data. */
	write_secret(old, 0, 4096);
	make();
	expect_same(true);
	expect_no_secret();
	cr_expect_eq(stats.uuid_tables, 1);
	/* Text that could pass for a slot, and all zero behind it. */
	set_kit_zero(&kit, old, 16);
	write_secret(old, 0, 56);
	make();
	expect_no_secret();
	cr_expect_eq(stats.uuid_tables, 1);
}

Test(image_make, a_device_without_superblock_tells_nothing_of_itself)
{
	make_leaf_set(2);
	write_secret(0, 0, 16384);
	make();
	expect_no_secret();
	cr_expect_eq(stats.withheld, 1);
	cr_expect_leq(stats.content_bytes, 8 + BCFMT_SUPER_BYTES);
}

/* ---- scrubbing ----------------------------------------------------------------------------- */

Test(image_make, scrubbed_it_has_other_names_and_the_same_findings)
{
	make_leaf_set(20);
	strcpy(kit.uuids[0].label, "attic");
	strcpy(kit.super.label, "attic too");
	set_kit_tables(&kit);
	make();
	cr_expect(has_bytes(kit.super.set_uuid, 16));
	cr_expect(has_bytes("attic", 5));
	scrub();
	expect_same(true);
	expect_no_names();
	cr_expect(bcfmt_image_is_scrubbed(image));
}

Test(image_make, scrubbed_what_was_wrong_stays_wrong)
{
	static const struct {
		uint64_t offset_bytes;
		int structure;
	} spoils[] = { { 9, 0 }, { 2, 0 }, { 40, 0 }, { 24, 0 }, { 9, 1 }, { 900, 1 }, { 300, 2 } };

	for (size_t i = 0; i < sizeof(spoils) / sizeof(spoils[0]); i++) {
		uint64_t buckets[3];

		set_kit_clear(&kit);
		begin();
		make_leaf_set(20);
		buckets[0] = nth(0);
		buckets[1] = kit.prio_bucket;
		buckets[2] = kit.super.first_bucket + 1u;
		set_kit_spoil(&kit, buckets[spoils[i].structure], spoils[i].offset_bytes);
		scrub();
		expect_same(false);
		expect_no_names();
		close_image();
	}
}

Test(image_make, two_scrubs_have_no_name_in_common)
{
	struct bcfmt_super one, other;
	uint8_t raw[BCFMT_SUPER_BYTES];

	make_leaf_set(2);
	scrub();
	read_image(8, raw, sizeof(raw));
	bcfmt_super_decode(raw, &one);
	scrub();
	read_image(8, raw, sizeof(raw));
	bcfmt_super_decode(raw, &other);
	cr_expect_arr_neq(one.set_uuid, other.set_uuid, 16);
	cr_expect_eq(one.csum, one.csum_computed);
}

/* ---- what cannot be read ------------------------------------------------------------------- */

Test(image_make, read_errors_stay_read_errors)
{
	struct bcfmt_dev *whole = kit.dev;
	struct bcfmt_bad_read bad;
	uint8_t buf[16 * 512];
	char path[] = "/tmp/bcfmt-image-map-XXXXXX";
	uint64_t at;
	FILE *map;

	make_leaf_set(2);
	at = bucket_sector(nth(0)) * 512;
	map = fdopen(mkstemp(path), "w");
	fprintf(map, "0 +\n0 %llu +\n%llu 512 -\n%llu 0x10000000 +\n",
		(unsigned long long)at + 1024, (unsigned long long)at + 1024,
		(unsigned long long)at + 1536);
	fclose(map);
	cr_assert_eq(bcfmt_dev_badmap(kit.ctx, whole, path, &kit.dev), BCFMT_OK, "%s",
		     bcfmt_ctx_fault(kit.ctx));
	remove(path);
	expect_problem("node-unreadable");
	make();
	expect_same(true);
	cr_expect_eq(stats.hole_sectors, 1);
	cr_assert_eq(bcfmt_dev_read_salvage(devs[0], at, buf, sizeof(buf), &bad), BCFMT_OK);
	cr_expect_eq(bad.sectors, 1);
	cr_expect_eq(bad.first_sector, at / 512 + 2);
}

Test(image_make, an_image_of_an_image_is_the_same)
{
	struct bcfmt_dev *original = kit.dev;
	uint8_t *first;
	size_t n;

	make_leaf_set(20);
	set_kit_spoil(&kit, nth(0), 32 + 24 * 7 + 5);
	make();
	original = kit.dev;
	first = file.bytes;
	n = file.n;
	file.bytes = NULL;
	file.n = 0;
	{
		struct bcfmt_image_params params = { .is_scrubbed = false };
		struct bcfmt_set *set;

		cr_assert_eq(bcfmt_set_open(kit.ctx, devs, n_devs, NULL, &set), BCFMT_OK);
		cr_assert_eq(bcfmt_image_make(set, &params, append, NULL, &stats), BCFMT_OK);
		bcfmt_set_free(set);
	}
	cr_expect_eq(original, kit.dev);
	/* All but the names of the devices, which are in both heads and their checksums. */
	cr_assert_eq(file.n, n);
	cr_expect_eq(stats.withheld, 0);
	free(first);
}

static bcfmt_err lay_over(void *arg, enum bcfmt_image_part part, uint64_t offset_bytes,
			  const uint8_t *bytes, uint64_t len_bytes)
{
	uint8_t *zeros = part == BCFMT_IMAGE_ZEROS ? calloc(1, len_bytes) : NULL;
	bcfmt_err err = bcfmt_dev_write(arg, offset_bytes, zeros ? zeros : bytes, len_bytes);

	free(zeros);
	return err;
}

/* As restored to a block device that had something else. */
Test(image_make, over_junk_the_findings_are_the_same)
{
	uint64_t bytes = bcfmt_dev_bytes(kit.dev);
	uint8_t *junk = malloc(bytes);
	struct bcfmt_dev *over[1];

	memset(junk, 0x41, bytes);
	make_leaf_set(2);
	kit.n_backing = 0; /* the cache alone */
	make();
	cr_assert_eq(bcfmt_dev_mem(kit.ctx, "over", junk, bytes, &over[0]), BCFMT_OK);
	cr_assert_eq(bcfmt_image_walk(image, 0, lay_over, over[0]), BCFMT_OK);
	{
		char *want = text_of_kit(), *got = text_of(over, 1);

		cr_expect_str_eq(got, want);
		free(want);
		free(got);
	}
	bcfmt_dev_free(over[0]);
	free(junk);
	kit.n_backing = 1;
}
