/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Finding bsets and prio sets that nothing points to. */
#include "check_help.h"

#include "base/bytes.h"
#include "ondisk/bset.h"
#include "read/scan.h"

#define FOUND_MAX 32u

static struct scan *scan;
static struct scan_found found[FOUND_MAX];
static size_t n_found;
static uint64_t bad_sectors;

static bcfmt_err note(void *arg, const struct scan_found *item)
{
	(void)arg;
	cr_assert_lt(n_found, FOUND_MAX);
	found[n_found] = *item;
	found[n_found++].raw = NULL;
	return BCFMT_OK;
}

static bcfmt_err note_bad(void *arg, uint64_t first_sector, uint64_t sectors)
{
	(void)arg;
	(void)first_sector;
	bad_sectors += sectors;
	return BCFMT_OK;
}

static void open_scan(size_t window_bytes)
{
	scan_free(scan);
	cr_assert_eq(scan_new(kit.ctx, kit.dev, &kit.geo, window_bytes, note_bad, NULL, &scan),
		     BCFMT_OK);
}

static void finish(void)
{
	scan_free(scan);
	scan = NULL;
	end();
}

static uint64_t sector_of(uint64_t bucket)
{
	return bcfmt_bucket_sector(&kit.geo, bucket);
}

static void scan_bucket(uint64_t bucket, bool is_head)
{
	n_found = 0;
	cr_assert_eq(scan_range(scan, sector_of(bucket), sector_of(bucket + 1), is_head, note,
				NULL),
		     BCFMT_OK);
}

TestSuite(scan, .init = begin, .fini = finish);

Test(scan, the_seed_says_whose_bset_it_is)
{
	struct bcfmt_key key = set_kit_clean(0, 64, 8, ptr_of(9));
	uint64_t budget = 1u << 20, left = budget;
	struct scan_bset bset;
	uint8_t raw[512];

	for (unsigned int gen = 0; gen < 256; gen += 5) {
		uint64_t sector = sector_of(nth(3));
		uint64_t ptr = bcfmt_ptr_make(0, sector, gen);

		set_kit_bset(&kit, ptr, 2, 99, &key, 1);
		set_kit_read(&kit, sector + 2, raw, sizeof(raw));
		cr_assert(scan_bset_at(&kit.geo, raw, sizeof(raw), sector + 2, &budget, &bset));
		cr_expect_eq(bset.ptr, ptr);
		cr_expect_eq(bset.seq, 99);
		cr_expect_eq(bset.words, 3);
		cr_expect_eq(bset.version, 1);
		left -= 56;
		cr_expect_eq(budget, left);
		/* In front of the node, or in another bucket, it is somebody else's. */
		cr_expect_not(scan_bset_at(&kit.geo, raw, sizeof(raw), sector - 1, &budget, &bset));
		cr_expect_not(
			scan_bset_at(&kit.geo, raw, sizeof(raw), sector + 16, &budget, &bset));
		left = budget;
	}
}

Test(scan, what_is_not_right_is_not_found)
{
	struct bcfmt_key key = set_kit_clean(0, 64, 8, ptr_of(9));
	uint64_t sector = sector_of(nth(3)), budget = 1u << 20, none = 55;
	struct scan_bset bset;
	uint8_t raw[512];

	set_kit_bset(&kit, bcfmt_ptr_make(0, sector, 7), 0, 99, &key, 1);
	set_kit_read(&kit, sector, raw, sizeof(raw));
	cr_assert(scan_bset_at(&kit.geo, raw, 56, sector, &budget, &bset));
	cr_expect_not(scan_bset_at(&kit.geo, raw, 55, sector, &budget, &bset));
	cr_expect_not(scan_bset_at(&kit.geo, raw, 16, sector, &budget, &bset));
	cr_expect_not(scan_bset_at(&kit.geo, raw, 56, sector, &none, &bset));
	cr_expect_eq(none, 55);
	for (unsigned int i = 0; i < 56; i++) {
		raw[i] ^= 0x10;
		cr_expect_not(scan_bset_at(&kit.geo, raw, 56, sector, &budget, &bset), "byte %u",
			      i);
		raw[i] ^= 0x10;
	}
}

Test(scan, bsets_without_a_seed_count_by_their_bucket)
{
	uint64_t sector = sector_of(nth(3)), budget = 1u << 20;
	uint8_t raw[512] = { 0 };
	struct scan_bset bset;

	store_le64(raw + 8, kit.geo.set_magic ^ DISK_BSET_MAGIC);
	store_le64(raw + 16, 5);
	store_le64(raw, bcfmt_bset_csum(raw, 0, 0, 0));
	cr_assert(scan_bset_at(&kit.geo, raw, sizeof(raw), sector + 3, &budget, &bset));
	cr_expect_eq(bset.ptr, bcfmt_ptr_make(0, sector, 0));
	store_le64(raw + 16, 0); /* no kernel writes such a seq */
	store_le64(raw, bcfmt_bset_csum(raw, 0, 0, 0));
	cr_expect_not(scan_bset_at(&kit.geo, raw, sizeof(raw), sector + 3, &budget, &bset));
}

Test(scan, all_blocks_or_only_heads)
{
	struct bcfmt_key keys[40];
	uint64_t ptr = bcfmt_ptr_make(0, sector_of(nth(3)), 7);

	for (uint32_t i = 0; i < 40; i++)
		keys[i] = set_kit_clean(0, 8 * i, 8, ptr_of(9));
	set_kit_bset(&kit, ptr, 0, 1, keys, 40); /* two blocks */
	set_kit_bset(&kit, ptr, 2, 1, keys, 1);
	set_kit_bset(&kit, ptr, 15, 2, keys, 1);
	/* Every size of the window gives the same. */
	for (size_t window = 512; window <= SCAN_WINDOW_BYTES; window *= 8) {
		open_scan(window);
		scan_bucket(nth(3), false);
		cr_assert_eq(n_found, 3);
		cr_expect_eq(found[0].bytes, 32 + 24 * 40);
		cr_expect_eq(found[1].offset_bytes, (sector_of(nth(3)) + 2) * 512);
		cr_expect_eq(found[2].bset.seq, 2);
		scan_bucket(nth(3), true);
		cr_assert_eq(n_found, 1);
		scan_bucket(nth(4), false);
		cr_assert_eq(n_found, 0);
	}
}

Test(scan, prio_sets_are_found_in_any_layout)
{
	static const uint32_t page_bytes[] = { 4096, 16384, 65536 };

	for (size_t i = 0; i < 3; i++) {
		struct set_kit_shape shape = { .bucket_sectors = 65536,
					       .nbuckets = 520,
					       .page_bytes = page_bytes[i] };

		scan_free(scan);
		scan = NULL;
		set_kit_clear(&kit);
		set_kit_init(&kit, &shape);
		set_kit_tables(&kit);
		open_scan(SCAN_WINDOW_BYTES);
		scan_bucket(kit.prio_bucket, true);
		cr_assert_eq(n_found, 1);
		cr_expect_eq(found[0].kind, SCAN_PRIO);
		cr_expect_eq(found[0].bytes, bcfmt_geometry_meta_bytes(65536, page_bytes[i]));
		set_kit_spoil(&kit, kit.prio_bucket, 4000);
		open_scan(SCAN_WINDOW_BYTES);
		scan_bucket(kit.prio_bucket, true);
		cr_expect_eq(n_found, 0);
	}
}

/* Claims of length must not cost a checksum of everything for every block. */
Test(scan, made_up_lengths_end_in_time)
{
	struct set_kit_shape shape = { .bucket_sectors = 65536, .nbuckets = 520 };
	uint8_t raw[512] = { 0 };

	set_kit_clear(&kit);
	set_kit_init(&kit, &shape);
	store_le64(raw + 8, kit.geo.set_magic ^ DISK_BSET_MAGIC);
	store_le64(raw + 16, 5);
	store_le32(raw + 24, 1);
	for (uint32_t i = 0; i < 65536; i++) {
		store_le32(raw + 28, (65535 - i) * 512 / 8);
		set_kit_write(&kit, sector_of(nth(3)) + i, raw, sizeof(raw));
	}
	open_scan(SCAN_WINDOW_BYTES);
	scan_bucket(nth(3), false);
	cr_expect_eq(n_found, 0);
}

Test(scan, unreadable_sectors_are_told_once_asked_for)
{
	struct bcfmt_key key = set_kit_clean(0, 64, 8, ptr_of(9));
	uint64_t ptr = bcfmt_ptr_make(0, sector_of(nth(3)), 7);
	struct bcfmt_dev_faults faults = { .fail_read = 1, .once = true };
	struct bcfmt_dev *sick;
	struct bcfmt_bad_read bad;
	const uint8_t *raw;

	set_kit_bset(&kit, ptr, 0, 1, &key, 1);
	/* The window fails, the range by itself does not. */
	cr_assert_eq(bcfmt_dev_faulty(kit.ctx, kit.dev, &faults, &sick), BCFMT_OK);
	kit.dev = sick;
	open_scan(SCAN_WINDOW_BYTES);
	cr_assert_eq(scan_read(scan, sector_of(nth(3)) * 512, 512, &raw, &bad), BCFMT_OK);
	cr_expect_eq(bad.sectors, 0);
	cr_expect_eq(load_le64(raw + 16), 1);
	cr_expect_eq(bad_sectors, 0);
	/* Beyond the end there is nothing, and nothing to tell of the medium. */
	cr_assert_eq(scan_read(scan, bcfmt_dev_bytes(kit.dev) - 512, 1024, &raw, &bad), BCFMT_OK);
	cr_expect_eq(bad.sectors, 1);
	cr_expect_eq(bad_sectors, 0);
}
