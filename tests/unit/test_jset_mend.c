/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Entries that are damaged but known: every bit of one, and places of a ring. */
#include <criterion/criterion.h>

#include <stdlib.h>
#include <string.h>

#include <bcfmt/crc64.h>

#include "codec/jset_mend.h"
#include "kit/set_kit.h"
#include "set/set_impl.h"

static struct set_kit kit;

static void begin(void)
{
	struct set_kit_shape shape = { .bucket_sectors = 16 };

	set_kit_init(&kit, &shape);
	set_kit_tables(&kit);
	set_kit_node(&kit, kit.free_bucket, NULL, 0);
}

static void end(void)
{
	set_kit_clear(&kit);
}

TestSuite(jset_mend, .init = begin, .fini = end);

static uint32_t put(uint64_t seq, uint64_t last_seq, uint32_t ring_index, uint32_t sector,
		    uint32_t n_keys)
{
	struct bcfmt_key keys[32];
	struct set_kit_jset jset = { .ring_index = ring_index,
				     .sector = sector,
				     .seq = seq,
				     .last_seq = last_seq,
				     .keys = keys,
				     .n_keys = n_keys };

	for (uint32_t i = 0; i < n_keys; i++)
		keys[i] = set_kit_dirty(0, 100 * seq + 8 * i, 8,
					set_kit_ptr(&kit, kit.free_bucket + 1, 0));
	jset.root_ptr = set_kit_ptr(&kit, kit.free_bucket, 0);
	return set_kit_jset(&kit, &jset);
}

static uint64_t sector_of(uint32_t ring_index, uint32_t sector)
{
	return bcfmt_bucket_sector(&kit.geo, (uint64_t)kit.geo.first_bucket + ring_index) + sector;
}

static void write_field(uint32_t ring_index, uint32_t sector, uint32_t offset, uint64_t value)
{
	uint8_t raw[512];

	set_kit_read(&kit, sector_of(ring_index, sector), raw, sizeof(raw));
	memcpy(raw + offset, &value, sizeof(value));
	set_kit_write(&kit, sector_of(ring_index, sector), raw, sizeof(raw));
}

/* Gives the entry of `bytes` there another word and the checksum of that. */
static void set_field(uint32_t ring_index, uint32_t sector, uint32_t offset, uint64_t value,
		      size_t bytes)
{
	uint8_t raw[512];
	uint64_t csum;

	write_field(ring_index, sector, offset, value);
	set_kit_read(&kit, sector_of(ring_index, sector), raw, sizeof(raw));
	csum = bcfmt_crc64(raw + 8, bytes - 8);
	write_field(ring_index, sector, 0, csum);
}

static const struct bcfmt_journal_mended *mended(uint64_t seq)
{
	cr_assert_eq(set_kit_open(&kit), BCFMT_OK);
	return bcfmt_journal_mended_at(&kit.set->journal, seq);
}

Test(jset_mend, every_bit_is_found)
{
	uint8_t raw[1024];
	struct bcfmt_journal_mend mend;
	size_t bytes = 240 + 24 * 3;

	put(5, 4, 1, 0, 3);
	memset(raw, 0, sizeof(raw));
	set_kit_read(&kit, sector_of(1, 0), raw, 512);
	for (uint32_t bit = 0; bit < 8 * bytes; bit++) {
		raw[bit / 8] ^= (uint8_t)(1u << bit % 8);
		cr_assert(jset_mend_find_bit(&kit.geo, raw, sizeof(raw), 5, 1, &mend), "bit %u",
			  bit);
		cr_expect(mend.offset_bytes == bit / 8 && mend.mask == 1u << bit % 8, "bit %u",
			  bit);
		cr_expect_not(jset_mend_find_bit(&kit.geo, raw, sizeof(raw), 6, 1, &mend));
		cr_expect_not(jset_mend_find_bit(&kit.geo, raw, sizeof(raw), 5, 2, &mend));
		raw[(bit / 8 + 9) % bytes] ^= 1;
		cr_expect_not(jset_mend_find_bit(&kit.geo, raw, sizeof(raw), 5, 1, &mend),
			      "two bits, one of them %u", bit);
		raw[(bit / 8 + 9) % bytes] ^= 1;
		raw[bit / 8] ^= (uint8_t)(1u << bit % 8);
	}
}

Test(jset_mend, a_wrong_number_between_its_neighbours)
{
	for (uint64_t wrong = 1; wrong < 9; wrong++) {
		const struct bcfmt_journal_mended *found;
		struct bcfmt_jset jset;
		uint8_t *buf = NULL;
		size_t buf_bytes = 0;

		set_kit_zero(&kit, sector_of(1, 0), 16);
		put(4, 3, 1, 0, 1);
		put(5, 4, 1, 1, 2);
		put(6, 4, 1, 2, 1);
		set_field(1, 1, 16, wrong, 240 + 24 * 2);
		found = mended(5);
		if (wrong == 5) {
			cr_expect_null(found);
			continue;
		}
		cr_assert(found);
		cr_expect_eq(found->mend.kind, BCFMT_MEND_SEQ);
		cr_expect_eq(found->entry.sector, 1);
		cr_expect_eq(kit.set->newest.seq, 6);
		cr_expect_not(kit.set->histories.is_found);
		cr_assert_eq(bcfmt_journal_mended_load(&kit.set->journal, 5, &buf, &buf_bytes,
						       &jset),
			     BCFMT_OK);
		cr_expect(jset.seq == 5 && jset.keys_field == 6);
		free(buf);
		cr_expect_eq(bcfmt_journal_mended_load(&kit.set->journal, 4, &buf, &buf_bytes,
						       &jset),
			     BCFMT_END);
	}
}

/* What an older lap left there when the entry never arrived. */
Test(jset_mend, an_older_lap_is_no_misnumbered_entry)
{
	put(104, 103, 1, 0, 1);
	put(5, 4, 1, 1, 2);
	put(106, 103, 1, 2, 1);
	cr_expect_null(mended(105));
}

Test(jset_mend, another_magic_between_its_neighbours)
{
	put(4, 3, 1, 0, 1);
	put(5, 4, 1, 1, 2);
	put(6, 4, 1, 2, 1);
	set_field(1, 1, 8, 77, 240 + 24 * 2);
	cr_assert(mended(5));
	cr_expect_eq(mended(5)->mend.kind, BCFMT_MEND_MAGIC);
	/* Of a set that was here before: its window is another. */
	set_field(1, 1, 32, 2, 240 + 24 * 2);
	cr_expect_null(mended(5));
}

Test(jset_mend, places_at_the_ends_of_buckets)
{
	/* The last of its bucket, then the first of the next one. */
	put(4, 3, 1, 0, 1);
	put(5, 4, 1, 1, 2);
	put(6, 4, 2, 0, 1);
	write_field(1, 1, 0, 1);
	cr_expect_null(mended(5), "more than a bit");
	put(5, 4, 1, 1, 2);
	set_kit_spoil(&kit, kit.geo.first_bucket + 1u, 512 + 250);
	cr_expect_null(mended(5), "all bits of a byte");
	put(5, 4, 1, 1, 2);
	set_field(1, 1, 8, 77, 240 + 24 * 2);
	cr_expect(mended(5));
	set_kit_zero(&kit, sector_of(1, 1), 1);
	put(5, 4, 2, 0, 2);
	put(6, 4, 2, 1, 1);
	set_field(2, 0, 8, 77, 240 + 24 * 2);
	cr_expect(mended(5));
	/* Not behind each other. */
	put(6, 4, 2, 2, 1);
	set_kit_zero(&kit, sector_of(2, 1), 1);
	cr_expect_null(mended(5));
}

/* The window goes on through it, and its keys are replayed. */
Test(jset_mend, a_mended_entry_is_replayed)
{
	bool gen_rose = false;
	struct replay *replay;

	put(4, 4, 1, 0, 1);
	put(5, 4, 1, 1, 2);
	put(6, 4, 1, 2, 1);
	set_field(1, 1, 8, 77, 240 + 24 * 2);
	cr_assert(mended(5));
	cr_assert_eq(replay_load(kit.set, true, &gen_rose, &replay), BCFMT_OK);
	cr_expect_eq(replay_count(replay), 4);
	replay_free(replay);
}
