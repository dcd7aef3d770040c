/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Reading the ring: every block of it, large buckets, what is out of sequence, what is cut. */
#include <criterion/criterion.h>

#include <stdlib.h>
#include <string.h>

#include <bcfmt/journal.h>

#include "base/bytes.h"
#include "dev/dev_impl.h"
#include "kit/set_kit.h"

#define JSET_MAGIC 0x245235c1a3625032ull

static struct set_kit kit;
static struct bcfmt_journal journal;

static void begin_with(uint32_t bucket_sectors, uint32_t nbuckets, uint16_t journal_buckets)
{
	struct set_kit_shape shape = { .bucket_sectors = bucket_sectors,
				       .nbuckets = nbuckets,
				       .journal_buckets = journal_buckets };

	set_kit_init(&kit, &shape);
}

static void end(void)
{
	bcfmt_journal_clear(&journal);
	set_kit_clear(&kit);
}

TestSuite(journal_ring, .fini = end);

static void read_ring(void)
{
	bcfmt_journal_clear(&journal);
	cr_assert_eq(bcfmt_journal_read(kit.ctx, kit.dev, &kit.geo, &journal), BCFMT_OK);
}

/* Words that make an entry take so many sectors, with 512-byte blocks. */
static uint32_t words_for(uint32_t sectors)
{
	return (sectors * 512 - BCFMT_JSET_HEADER_BYTES) / 8;
}

static uint32_t put(uint32_t ring_index, uint32_t sector, uint64_t seq, uint32_t sectors)
{
	struct set_kit_jset jset = { .ring_index = ring_index,
				     .sector = sector,
				     .seq = seq,
				     .fill_words = sectors > 1 ? words_for(sectors) : 0 };

	return set_kit_jset(&kit, &jset);
}

static const struct bcfmt_journal_entry *find(uint64_t seq)
{
	size_t index;

	if (bcfmt_journal_find(&journal, seq, &index))
		return NULL;
	return &journal.entries[index];
}

Test(journal_ring, an_empty_ring_has_nothing)
{
	begin_with(16, 64, 8);
	read_ring();
	cr_expect_not(journal.has_entries);
	cr_expect_eq(journal.n_entries, 0);
	cr_expect_eq(journal.n_kernel, 0);
	cr_expect_eq(journal.n_stops, 0);
}

Test(journal_ring, a_ring_without_buckets_has_nothing)
{
	begin_with(16, 64, 8);
	kit.geo.journal_buckets = 0;
	read_ring();
	cr_expect_eq(journal.n_entries, 0);
}

Test(journal_ring, entries_carry_their_fields)
{
	struct bcfmt_key keys[] = { set_kit_dirty(0, 100, 8, 0) };
	struct set_kit_jset jset = { .ring_index = 3,
				     .sector = 2,
				     .seq = 9,
				     .last_seq = 4,
				     .root_ptr = 0xabcd01,
				     .level = 2,
				     .prio_bucket = 33,
				     .uuid_ptr = 0x770001,
				     .keys = keys,
				     .n_keys = 1 };
	const struct bcfmt_journal_entry *entry;

	begin_with(16, 64, 8);
	put(3, 0, 8, 2);
	set_kit_jset(&kit, &jset);
	read_ring();
	cr_assert_eq(journal.n_entries, 2);
	entry = find(9);
	cr_assert_not_null(entry);
	cr_expect_eq(entry->last_seq, 4);
	cr_expect_eq(entry->root_ptr, 0xabcd01);
	cr_expect_eq(entry->uuid_ptr, 0x770001);
	cr_expect_eq(entry->prio_bucket, 33);
	cr_expect_eq(entry->level, 2);
	cr_expect_eq(entry->keys_words, 3);
	cr_expect_eq(entry->ring_index, 3);
	cr_expect_eq(entry->sector, 2);
	cr_expect_eq(entry->blocks, 1);
	cr_expect(entry->is_in_sequence);
	cr_expect_eq(bcfmt_journal_entry_sector(&journal, (size_t)(entry - journal.entries)),
		     (kit.geo.first_bucket + 3) * 16 + 2);
	cr_expect_eq(journal.newest, (size_t)(entry - journal.entries));
	cr_expect_null(find(7));
	cr_expect_null(find(10));
}

/* Entries of all sizes fill a bucket of several pieces, so that some lie across their borders. */
Test(journal_ring, no_entry_is_lost_at_a_border_of_pieces, .timeout = 60)
{
	uint32_t bucket_sectors = 32768; /* 16 MiB, read in pieces of 4 MiB */
	uint64_t state = 0x77, seq = 0;
	uint32_t sector = 0, across = 0;

	begin_with(bucket_sectors, 6, 2);
	while (sector < bucket_sectors) {
		uint32_t sectors = 1 + set_kit_below(&state, 64), next;

		if (sectors > bucket_sectors - sector)
			sectors = bucket_sectors - sector;
		next = put(0, sector, ++seq, sectors);
		across += sector / 8192 != (next - 1) / 8192;
		sector = next;
	}
	read_ring();
	cr_expect_geq(across, 2, "%u", across);
	cr_assert_eq(journal.n_entries, seq);
	for (uint64_t i = 0; i < seq; i++) {
		cr_assert_eq(journal.entries[i].seq, i + 1);
		cr_assert(journal.entries[i].is_in_sequence);
	}
	cr_expect_eq(journal.n_stops, 0);
	cr_expect_eq(journal.n_kernel, 1, "each entry needs only itself");
}

/* One entry at every place around a border. */
Test(journal_ring, an_entry_is_found_wherever_it_lies_around_a_border, .timeout = 60)
{
	begin_with(16384, 6, 2); /* 8 MiB */
	for (uint32_t sector = 8192 - 70; sector < 8192 + 4; sector++) {
		put(0, sector, sector, 64);
		read_ring();
		cr_assert_eq(journal.n_entries, 1, "at sector %u", sector);
		cr_assert_eq(journal.entries[0].sector, sector);
		cr_assert_not(journal.entries[0].is_in_sequence);
		set_kit_zero(&kit, bcfmt_bucket_sector(&kit.geo, kit.geo.first_bucket) + sector,
			     64);
	}
}

Test(journal_ring, the_largest_entry_may_end_with_the_bucket)
{
	begin_with(128, 64, 4);
	put(1, 64, 5, 64);
	read_ring();
	cr_assert_eq(journal.n_entries, 1);
	cr_expect_eq(journal.entries[0].blocks, 64);
}

Test(journal_ring, what_comes_after_a_gap_is_out_of_sequence)
{
	begin_with(16, 64, 8);
	put(0, 0, 1, 1);
	put(0, 1, 2, 1);
	put(0, 3, 4, 1);
	read_ring();
	cr_assert_eq(journal.n_entries, 3);
	cr_expect(find(1)->is_in_sequence);
	cr_expect(find(2)->is_in_sequence);
	cr_expect_not(find(4)->is_in_sequence);
	cr_expect_eq(journal.n_stops, 0, "a block without magic is no damage");
	cr_expect_eq(journal.n_kernel, 1);
	cr_expect_eq(journal.entries[journal.kernel_list[0]].seq, 2);
	cr_expect_eq(journal.entries[journal.newest].seq, 4);
}

Test(journal_ring, a_damaged_entry_is_a_stop_and_tells_its_number)
{
	begin_with(16, 64, 8);
	put(2, 0, 1, 1);
	put(2, 1, 2, 3);
	put(2, 4, 3, 1);
	set_kit_spoil(&kit, kit.geo.first_bucket + 2, 3 * 512 + 7);
	read_ring();
	cr_assert_eq(journal.n_entries, 2);
	cr_expect_not(find(3)->is_in_sequence);
	cr_assert_eq(journal.n_stops, 1);
	cr_expect_eq(journal.stops[0].seq, 2);
	cr_expect_eq(journal.stops[0].last_seq, 2);
	cr_expect_eq(journal.stops[0].ring_index, 2);
	cr_expect_eq(journal.stops[0].sector, 1);
	cr_expect_eq(journal.stops[0].fault, BCFMT_JSET_CSUM);
	cr_expect_eq(journal.stops[0].bytes, 240 + 8 * words_for(3));
}

Test(journal_ring, only_the_first_damage_of_a_bucket_is_a_stop)
{
	begin_with(16, 64, 8);
	put(2, 0, 1, 1);
	put(2, 1, 2, 1);
	set_kit_spoil(&kit, kit.geo.first_bucket + 2, 100);
	set_kit_spoil(&kit, kit.geo.first_bucket + 2, 612);
	read_ring();
	cr_expect_eq(journal.n_entries, 0);
	cr_expect_eq(journal.n_stops, 1);
	cr_expect_eq(journal.stops[0].seq, 1);
}

/* Writes the header of an entry with so many words of keys, whatever room there is. */
static void put_claiming(uint32_t ring_index, uint32_t sector, uint32_t words)
{
	uint8_t raw[512];
	uint64_t at =
		bcfmt_bucket_sector(&kit.geo, (uint64_t)kit.geo.first_bucket + ring_index) + sector;

	put(ring_index, sector, 6, 1);
	set_kit_read(&kit, at, raw, sizeof(raw));
	store_le32(raw + 28, words);
	set_kit_write(&kit, at, raw, sizeof(raw));
}

Test(journal_ring, an_entry_beyond_its_bucket_or_eight_pages_is_too_big)
{
	static const uint32_t words[] = { 2018 + 1, 4066 + 1, UINT32_MAX };

	begin_with(128, 64, 8);
	for (size_t i = 0; i < sizeof(words) / sizeof(words[0]); i++) {
		/* The first reaches past the bucket only, from its last 16 KiB. */
		put_claiming(1, i ? 0 : 96, words[i]);
		if (!i)
			for (uint32_t sector = 0; sector < 96; sector += 32)
				put(1, sector, 1 + sector, 32);
		read_ring();
		cr_assert_eq(journal.n_stops, 1, "%u words", words[i]);
		cr_expect_eq(journal.stops[0].fault, BCFMT_JSET_TOO_BIG);
		cr_expect_eq(journal.stops[0].seq, 6);
		cr_expect_eq(journal.stops[0].bytes, 240 + 8ull * words[i]);
	}
}

Test(journal_ring, another_set_is_seen_as_nothing)
{
	begin_with(16, 64, 8);
	put(0, 0, 1, 1);
	kit.geo.set_magic ^= 0x100;
	read_ring();
	cr_expect_eq(journal.n_entries, 0);
	cr_expect_eq(journal.n_stops, 0);
	cr_expect_not(journal.is_other_endian);
}

Test(journal_ring, a_big_endian_machine_is_recognised)
{
	uint8_t raw[512] = { 0 };

	begin_with(16, 64, 8);
	store_le64(raw + 8, __builtin_bswap64(JSET_MAGIC) ^ kit.geo.set_magic);
	set_kit_write(&kit, kit.geo.first_bucket * 16, raw, sizeof(raw));
	read_ring();
	cr_expect(journal.is_other_endian);
	cr_expect_eq(journal.n_entries, 0);
}

Test(journal_ring, of_two_entries_with_one_number_the_one_in_sequence_counts)
{
	begin_with(16, 64, 8);
	put(0, 4, 7, 1); /* behind a gap */
	put(5, 0, 7, 1);
	read_ring();
	cr_assert_eq(journal.n_entries, 2);
	cr_expect_eq(find(7)->ring_index, 5);
	cr_expect_eq(journal.entries[journal.newest].ring_index, 5);
}

Test(journal_ring, an_entry_is_loaded_with_its_keys)
{
	struct bcfmt_key keys[] = { set_kit_dirty(2, 100, 8, 0x1234501), set_kit_hole(2, 8, 4) };
	struct set_kit_jset jset = { .seq = 5, .keys = keys, .n_keys = 2 };
	struct bcfmt_jset loaded;
	struct bcfmt_key_iter it;
	struct bcfmt_key key;
	uint8_t *buf = NULL;
	size_t buf_bytes = 0;

	begin_with(16, 64, 8);
	set_kit_jset(&kit, &jset);
	read_ring();
	cr_assert_eq(bcfmt_journal_entry_load(&journal, 0, &buf, &buf_bytes, &loaded), BCFMT_OK);
	cr_expect_eq(loaded.seq, 5);
	it = bcfmt_key_iter_init(loaded.keys, loaded.keys_field);
	cr_assert(bcfmt_key_iter_next(&it, &key));
	cr_expect(key.high == keys[0].high && key.low == keys[0].low && key.ptr == keys[0].ptr);
	cr_assert(bcfmt_key_iter_next(&it, &key));
	cr_expect(key.high == keys[1].high && key.low == keys[1].low && !key.ptr);
	cr_assert_not(bcfmt_key_iter_next(&it, &key));
	/* It is not the entry any more: another one, as right as it. */
	jset.n_keys = 1;
	set_kit_jset(&kit, &jset);
	cr_expect_eq(bcfmt_journal_entry_load(&journal, 0, &buf, &buf_bytes, &loaded),
		     BCFMT_E_DAMAGED);
	set_kit_spoil(&kit, kit.geo.first_bucket, 30);
	cr_expect_eq(bcfmt_journal_entry_load(&journal, 0, &buf, &buf_bytes, &loaded),
		     BCFMT_E_DAMAGED);
	free(buf);
}

Test(journal_ring, the_seq_may_be_the_highest_there_is)
{
	begin_with(16, 64, 8);
	put(0, 0, UINT64_MAX, 1);
	put(0, 1, 1, 1);
	read_ring();
	cr_assert_eq(journal.n_entries, 2);
	cr_expect_eq(journal.entries[journal.newest].seq, UINT64_MAX);
}

/* ---- a device that makes its blocks up or cannot read them ---- */

struct made_dev {
	struct bcfmt_dev dev;
	uint64_t bad_begin_bytes;
	uint64_t bad_end_bytes;
};

static bcfmt_err made_read(struct bcfmt_dev *dev, uint64_t offset_bytes, void *buf,
			   size_t len_bytes, struct io_fault *fault)
{
	const struct made_dev *made = (const struct made_dev *)dev;
	uint8_t block[512];
	struct bcfmt_jset jset = { .seq = 3, .last_seq = 3, .version = 1 };

	if (offset_bytes < made->bad_end_bytes && offset_bytes + len_bytes > made->bad_begin_bytes)
		return dev_io_fail(fault, BCFMT_E_IO, offset_bytes, 0, "made to fail");
	memset(block, 0, sizeof(block));
	bcfmt_jset_encode(&kit.geo, &jset, block);
	for (size_t at = 0; at < len_bytes; at += 512)
		memcpy((uint8_t *)buf + at, block, 512);
	return BCFMT_OK;
}

static void made_free(struct bcfmt_dev *dev)
{
	(void)dev;
}

/* All the data there is; what lies outside of it is no hole for made_read(). */
static uint64_t made_data_begin;
static uint64_t made_data_end;

static bcfmt_err made_next_data(struct bcfmt_dev *dev, uint64_t offset_bytes, uint64_t *begin_bytes,
				uint64_t *end_bytes, struct io_fault *fault)
{
	if (!made_data_end)
		return dev_io_fail(fault, BCFMT_E_IO, offset_bytes, 0, "made to fail");
	if (offset_bytes >= made_data_end || offset_bytes >= dev->bytes)
		return BCFMT_END;
	*begin_bytes = offset_bytes > made_data_begin ? offset_bytes : made_data_begin;
	*end_bytes = made_data_end;
	return BCFMT_OK;
}

static const struct dev_ops made_ops = { .read = made_read, .free = made_free };
static const struct dev_ops made_sparse_ops = { .read = made_read,
						.next_data = made_next_data,
						.free = made_free };

static void read_made_as(struct made_dev *made, const struct dev_ops *ops, uint64_t bytes)
{
	bcfmt_journal_clear(&journal);
	cr_assert_eq(dev_init(&made->dev, ops, kit.ctx, "made", bytes), BCFMT_OK);
	cr_assert_eq(bcfmt_journal_read(kit.ctx, &made->dev, &kit.geo, &journal), BCFMT_OK);
	bcfmt_dev_free(&made->dev);
}

static void read_made(struct made_dev *made, uint64_t bytes)
{
	read_made_as(made, &made_ops, bytes);
}

Test(journal_ring, sectors_that_cannot_be_read_are_counted)
{
	struct made_dev made = { .bad_begin_bytes = 0 };

	begin_with(16, 64, 8);
	made.bad_begin_bytes = (kit.geo.first_bucket + 1) * 8192 + 1024;
	made.bad_end_bytes = made.bad_begin_bytes + 512;
	read_made(&made, 64 * 8192);
	cr_expect_eq(journal.bad_read.sectors, 1);
	cr_expect_eq(journal.bad_read.first_sector, (kit.geo.first_bucket + 1) * 16 + 2);
	cr_expect_eq(journal.n_entries, 8 * 16 - 1);
	for (size_t i = 0; i < journal.n_entries; i++)
		cr_expect_eq(journal.entries[i].is_in_sequence,
			     journal.entries[i].ring_index != 1 || journal.entries[i].sector < 2);
}

Test(journal_ring, a_ring_past_the_end_of_the_device_is_read_as_far_as_it_goes)
{
	struct made_dev made = { .bad_begin_bytes = 0 };

	begin_with(16, 64, 8);
	read_made(&made, (kit.geo.first_bucket + 3) * 8192 + 512);
	cr_expect_eq(journal.n_entries, 3 * 16 + 1);
	cr_expect_eq(journal.bad_read.sectors, 5 * 16 - 1);
}

/* Buckets 2 and 4 of the ring have a sector of data each, bucket 3 is full of it. */
Test(journal_ring, buckets_without_data_are_not_read)
{
	struct made_dev made = { .bad_begin_bytes = 0 };
	uint64_t first_byte;

	begin_with(16, 64, 8);
	first_byte = kit.geo.first_bucket * 8192;
	made_data_begin = first_byte + 3 * 8192 - 512;
	made_data_end = first_byte + 4 * 8192 + 512;
	made.bad_begin_bytes = first_byte;
	made.bad_end_bytes = first_byte + 2 * 8192;
	read_made_as(&made, &made_sparse_ops, 64 * 8192);
	cr_expect_eq(journal.bad_read.sectors, 0);
	cr_expect_eq(journal.n_entries, 3 * 16);
	for (size_t i = 0; i < journal.n_entries; i++)
		cr_expect(journal.entries[i].ring_index >= 2 && journal.entries[i].ring_index <= 4);
}

Test(journal_ring, what_lies_beyond_the_end_is_no_hole)
{
	struct made_dev made = { .bad_begin_bytes = 0 };

	begin_with(16, 64, 8);
	made_data_end = 1;
	read_made_as(&made, &made_sparse_ops, (kit.geo.first_bucket + 3) * 8192 + 512);
	cr_expect_eq(journal.n_entries, 1);
	cr_expect_eq(journal.bad_read.sectors, 5 * 16 - 1);
}

Test(journal_ring, where_holes_cannot_be_told_all_is_read)
{
	struct made_dev made = { .bad_begin_bytes = 0 };

	begin_with(16, 64, 8);
	read_made_as(&made, &made_sparse_ops, 64 * 8192);
	cr_expect_eq(journal.n_entries, 8 * 16);
}

/* A ring of 256 buckets of 4 MiB that is full of the smallest entries. */
Test(journal_ring, more_entries_than_any_ring_has_are_not_kept, .timeout = 120)
{
	struct made_dev made = { .bad_begin_bytes = 0 };

	begin_with(8192, 16, 8);
	kit.geo.journal_buckets = 256;
	read_made(&made, 300ull * 8192 * 512);
	cr_expect(journal.is_capped);
	cr_expect_eq(journal.n_entries, 1u << 20);
	cr_expect_eq(journal.n_kernel, 1);
}
