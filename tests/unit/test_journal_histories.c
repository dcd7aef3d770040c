/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Two histories in one ring: what proves them, what hints at them, and what only looks so. */
#include <criterion/criterion.h>

#include <string.h>

#include <bcfmt/journal.h>

#include "kit/set_kit.h"

#define RING 8u
#define BLOCKS 16u

static struct set_kit kit;
static struct bcfmt_journal journal;
static struct bcfmt_journal_histories found;

static void begin(void)
{
	struct set_kit_shape shape = { .nbuckets = 640, .journal_buckets = RING };

	set_kit_init(&kit, &shape);
}

static void end(void)
{
	bcfmt_journal_clear(&journal);
	set_kit_clear(&kit);
}

TestSuite(journal_histories, .init = begin, .fini = end);

static void look(void)
{
	bcfmt_journal_clear(&journal);
	cr_assert_eq(bcfmt_journal_read(kit.ctx, kit.dev, &kit.geo, &journal), BCFMT_OK);
	cr_assert_eq(bcfmt_journal_histories(kit.ctx, &journal, &found), BCFMT_OK);
}

static void expect_one(void)
{
	look();
	cr_expect_not(found.is_found, "%s", found.evidence);
	cr_expect_not(found.is_proved);
	cr_expect_str_empty(found.evidence);
}

/* Where the next entry goes. */
struct pen {
	uint32_t ring_index;
	uint32_t sector;
	uint64_t seq;
	uint64_t window;
	uint64_t prio_bucket;
};

static void next_bucket(struct pen *pen)
{
	pen->ring_index = (pen->ring_index + 1) % RING;
	pen->sector = 0;
}

static void write_entries(struct pen *pen, uint32_t n)
{
	for (uint32_t i = 0; i < n; i++) {
		struct set_kit_jset jset = { .seq = pen->seq };

		if (pen->sector == BLOCKS)
			next_bucket(pen);
		jset.ring_index = pen->ring_index;
		jset.sector = pen->sector;
		jset.last_seq = pen->seq > pen->window ? pen->seq - pen->window : 1;
		jset.prio_bucket = pen->prio_bucket;
		pen->sector = set_kit_jset(&kit, &jset);
		pen->seq++;
	}
}

static struct pen fresh_pen(void)
{
	/* The first entry of a set lies in ring bucket 1. */
	return (struct pen){ .ring_index = 1, .seq = 1, .window = 6, .prio_bucket = 100 };
}

/* A prio set of this number in a bucket. */
static void write_prios(uint64_t bucket, uint64_t seq)
{
	kit.prio_seq = seq;
	set_kit_prios(&kit, &bucket, 1);
}

static uint64_t ring_sector(uint32_t ring_index, uint32_t sector)
{
	return bcfmt_bucket_sector(&kit.geo, (uint64_t)kit.geo.first_bucket + ring_index) + sector;
}

/* ---- one history ---- */

Test(journal_histories, an_empty_ring)
{
	expect_one();
}

Test(journal_histories, a_fresh_ring)
{
	struct pen pen = fresh_pen();

	write_prios(100, 1);
	write_entries(&pen, 40);
	expect_one();
	cr_expect_eq(found.older_seq, 40);
}

Test(journal_histories, laps_that_end_anywhere)
{
	for (uint32_t n = 1; n <= 3 * RING * BLOCKS; n += 7) {
		struct pen pen = fresh_pen();

		set_kit_zero(&kit, ring_sector(0, 0), RING * BLOCKS);
		write_entries(&pen, n);
		expect_one();
	}
}

/* Every registration goes on in the next bucket, whatever room is left. */
Test(journal_histories, restarts)
{
	uint64_t state = 0x3333;

	for (unsigned int round = 0; round < 100; round++) {
		struct pen pen = fresh_pen();

		set_kit_zero(&kit, ring_sector(0, 0), RING * BLOCKS);
		for (uint32_t i = 0; i < 30; i++) {
			write_entries(&pen, 1 + set_kit_below(&state, 10));
			next_bucket(&pen);
		}
		expect_one();
	}
}

Test(journal_histories, a_torn_tail_before_an_older_lap)
{
	struct pen pen = fresh_pen();

	write_entries(&pen, 200);
	set_kit_spoil(&kit, (uint64_t)kit.geo.first_bucket + pen.ring_index,
		      (pen.sector - 1) * 512 + 100);
	expect_one();
}

/* A registration after a torn tail: its number is used again in the next bucket. */
Test(journal_histories, a_torn_tail_and_a_restart)
{
	struct pen pen = fresh_pen();

	write_entries(&pen, 200);
	set_kit_spoil(&kit, (uint64_t)kit.geo.first_bucket + pen.ring_index,
		      (pen.sector - 1) * 512 + 100);
	pen.seq--;
	next_bucket(&pen);
	write_entries(&pen, 5);
	expect_one();
}

Test(journal_histories, a_zeroed_bucket_in_the_middle)
{
	for (uint32_t l = 0; l < RING; l++) {
		struct pen pen = fresh_pen();

		write_entries(&pen, 300);
		set_kit_zero(&kit, ring_sector(l, 0), BLOCKS);
		expect_one();
	}
}

Test(journal_histories, zeroed_buckets_side_by_side)
{
	struct pen pen = fresh_pen();

	write_entries(&pen, 300);
	set_kit_zero(&kit, ring_sector(2, 0), 3 * BLOCKS);
	expect_one();
}

Test(journal_histories, zeroed_entries_anywhere)
{
	for (uint32_t at = 0; at < RING * BLOCKS; at++) {
		struct pen pen = fresh_pen();

		write_entries(&pen, 300);
		set_kit_zero(&kit, ring_sector(at / BLOCKS, at % BLOCKS), 1);
		expect_one();
	}
}

/* The end of a bucket is lost, as by a discard that came too early. */
Test(journal_histories, zeroed_ends_of_buckets)
{
	for (uint32_t kept = 1; kept < BLOCKS; kept++) {
		struct pen pen = fresh_pen();

		write_entries(&pen, 300);
		set_kit_zero(&kit, ring_sector(3, kept), BLOCKS - kept);
		expect_one();
	}
}

/* Writes that never arrived: the older lap shows. */
Test(journal_histories, lost_writes_at_the_end_of_a_bucket)
{
	uint8_t old[BLOCKS * 512];

	for (uint32_t kept = 1; kept < BLOCKS; kept++) {
		struct pen pen = fresh_pen();

		write_entries(&pen, 5 * BLOCKS);
		set_kit_read(&kit, ring_sector(3, 0), old, sizeof(old));
		write_entries(&pen, RING * BLOCKS);
		set_kit_write(&kit, ring_sector(3, kept), old + kept * 512,
			      sizeof(old) - kept * 512);
		expect_one();
	}
}

Test(journal_histories, prio_writes_that_the_number_of_the_set_covers)
{
	struct pen pen = fresh_pen();

	write_entries(&pen, 10);
	for (uint64_t bucket = 101; bucket < 105; bucket++) {
		pen.prio_bucket = bucket;
		write_entries(&pen, 10);
	}
	write_prios(104, 5); /* exactly as many as the journal proves */
	expect_one();
	write_prios(104, 6);
	expect_one();
}

Test(journal_histories, a_spoiled_prio_set_proves_nothing)
{
	struct pen pen = fresh_pen();

	write_entries(&pen, 10);
	pen.prio_bucket = 101;
	write_entries(&pen, 10);
	write_prios(101, 1);
	set_kit_spoil(&kit, 101, 2000);
	expect_one();
	/* Nor does one outside the device. */
	pen.prio_bucket = 1ull << 50;
	write_entries(&pen, 1);
	expect_one();
}

/* ---- two histories ---- */

/* A history of n entries with a prio write every 10, from prio bucket 100 on. */
static void write_history(uint32_t n)
{
	struct pen pen = fresh_pen();

	for (uint32_t i = 0; i < n; i += 10) {
		pen.prio_bucket = 100 + i / 10 % 20;
		write_prios(pen.prio_bucket, 1 + i / 10);
		write_entries(&pen, 10);
	}
}

/* The prio set that the old one names is still its own: only the numbers of the entries tell. */
Test(journal_histories, a_new_one_over_a_long_one)
{
	write_history(1000);
	write_history(50);
	look();
	cr_expect(found.is_found);
	cr_expect_not(found.is_proved);
	cr_expect_eq(found.older_seq, 1000);
	cr_expect_eq(found.newer_seq, 50);
	cr_expect_eq(found.prio_seq_found, 0);
}

Test(journal_histories, an_old_one_that_was_overwritten_whole_is_gone)
{
	write_history(1000);
	write_history(8 * BLOCKS + 12);
	expect_one();
}

/* The old history goes on to be the one that a kernel takes; the prio set it names is the new's. */
Test(journal_histories, both_ends_are_named)
{
	struct pen pen = fresh_pen();

	/* Ring: 128 blocks. Old: 101..180, wrapped, named prios 100..107 in its run. */
	pen.seq = 101;
	pen.ring_index = 3;
	for (uint32_t i = 0; i < 8; i++) {
		pen.prio_bucket = 100 + i;
		write_entries(&pen, 10);
	}
	cr_assert_eq(pen.seq, 181);
	/* New: 1..30 with three prio writes, the last into the bucket that the old one names. */
	pen = fresh_pen();
	for (uint32_t i = 0; i < 3; i++) {
		pen.prio_bucket = i == 2 ? 107 : 120 + i;
		write_prios(pen.prio_bucket, 1 + i);
		write_entries(&pen, 10);
	}
	look();
	cr_expect(found.is_found);
	cr_expect(found.is_proved);
	cr_expect_eq(found.older_seq, 180);
	cr_expect_eq(found.newer_seq, 30);
	cr_expect_eq(found.prio_seq_found, 3);
	cr_expect_eq(found.prio_seq_least, 8);
	cr_expect(strstr(found.evidence, "prio set of entry 180 is number 3, 8 were written"));
}

/* The new one's entries and the old one's may be of one row of numbers. */
Test(journal_histories, numbers_that_meet)
{
	struct pen pen = fresh_pen();

	pen.seq = 31;
	pen.ring_index = 3;
	for (uint32_t i = 0; i < 5; i++) {
		pen.prio_bucket = 100 + i;
		write_entries(&pen, 10);
	}
	pen = fresh_pen();
	for (uint32_t i = 0; i < 3; i++) {
		pen.prio_bucket = i == 2 ? 104 : 120 + i;
		write_prios(pen.prio_bucket, 1 + i);
		write_entries(&pen, 10);
	}
	look();
	cr_expect(found.is_proved);
	cr_expect_eq(found.older_seq, 80);
	cr_expect_eq(found.newer_seq, 30);
	cr_expect_eq(found.prio_seq_least, 8);
}

Test(journal_histories, one_number_twice_is_proof_without_an_order)
{
	struct pen pen = fresh_pen();

	pen.window = 1;
	write_entries(&pen, 20);
	pen = (struct pen){ .ring_index = 5, .seq = 18, .window = 3, .prio_bucket = 100 };
	write_entries(&pen, 2);
	look();
	cr_expect(found.is_found);
	cr_expect_not(found.is_proved);
	cr_expect_eq(found.newer_seq, 0);
	cr_expect_eq(found.older_seq, 20);
	cr_expect(strstr(found.evidence, "two different entries 18"), "%s", found.evidence);
}

Test(journal_histories, one_entry_copied_is_one_history)
{
	struct pen pen = fresh_pen();
	uint8_t raw[512];

	write_entries(&pen, 20);
	set_kit_read(&kit, ring_sector(1, 4), raw, sizeof(raw));
	set_kit_write(&kit, ring_sector(6, 0), raw, sizeof(raw));
	expect_one();
}

/* More numbers are missing between two buckets than could ever have stood there. */
Test(journal_histories, a_jump_that_no_loss_explains)
{
	struct pen pen = fresh_pen();

	pen.seq = 500;
	pen.ring_index = 3;
	write_entries(&pen, 3 * BLOCKS);
	pen = fresh_pen();
	write_entries(&pen, 2 * BLOCKS);
	look();
	cr_expect(found.is_found);
	cr_expect_not(found.is_proved);
	cr_expect_eq(found.newer_seq, 2 * BLOCKS);
	cr_expect_eq(found.older_seq, 547);
	cr_expect(strstr(found.evidence,
			 "entry 32 in ring bucket 2 is followed by 500 in ring bucket 3"),
		  "%s", found.evidence);
}

/* The same with the old one's entries right behind the new one's in a bucket. */
Test(journal_histories, a_jump_inside_a_bucket)
{
	struct pen pen = fresh_pen();

	pen.seq = 500;
	pen.ring_index = 2;
	write_entries(&pen, 4 * BLOCKS);
	pen = fresh_pen();
	write_entries(&pen, BLOCKS + 5);
	look();
	cr_expect(found.is_found);
	cr_expect_eq(found.newer_seq, BLOCKS + 5);
}

/* ---- rings made to keep it busy ---- */

Test(journal_histories, a_prio_set_an_entry_ends_in_time, .timeout = 60)
{
	struct set_kit_shape shape = { .bucket_sectors = 1024,
				       .nbuckets = 64,
				       .journal_buckets = 16 };
	struct pen pen = fresh_pen();

	set_kit_clear(&kit);
	set_kit_init(&kit, &shape);
	write_prios(50, 1);
	write_prios(51, 2);
	for (uint32_t l = 0; l < 16; l++)
		for (uint32_t sector = 0; sector < 1024; sector++) {
			struct set_kit_jset jset = {
				.ring_index = l, .sector = sector, .seq = pen.seq, .last_seq = 1
			};

			jset.prio_bucket = 50 + pen.seq % 2;
			set_kit_jset(&kit, &jset);
			pen.seq++;
		}
	look();
	cr_expect_eq(journal.n_entries, 16384);
	cr_expect(found.is_found);
	cr_expect_eq(found.prio_seq_least, 16384);
}
