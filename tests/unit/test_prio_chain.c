/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The prio chain: its links, loops and wrong turns, layouts of other page sizes. */
#include <criterion/criterion.h>

#include <stdlib.h>
#include <string.h>

#include "base/bytes.h"
#include "kit/set_kit.h"

static struct set_kit kit;

static void end(void)
{
	set_kit_clear(&kit);
}

TestSuite(prio_chain, .fini = end);

/* Pages of 4 KiB: 1352 buckets a prio set. */
static void begin_with_links(uint32_t nbuckets)
{
	struct set_kit_shape shape = { .bucket_sectors = 8, .nbuckets = nbuckets };

	set_kit_init(&kit, &shape);
	for (uint64_t i = kit.free_bucket; i < nbuckets; i++)
		kit.gens[i] = (uint8_t)(i * 7);
	set_kit_tables(&kit);
	set_kit_first_jset(&kit, set_kit_node(&kit, kit.free_bucket, NULL, 0), 0);
}

static void expect_stop(size_t index, enum bcfmt_prio_state state)
{
	cr_assert_eq(set_kit_open(&kit), BCFMT_OK);
	cr_expect_not(kit.set->has_all_prios);
	cr_assert_eq(kit.set->n_prio_links, index + 1);
	for (size_t i = 0; i < index; i++)
		cr_expect_eq(kit.set->prio_links[i].state, BCFMT_PRIO_SET_OK);
	cr_expect_eq(kit.set->prio_links[index].state, state);
}

/* Makes link index name another bucket, checksum mended. */
static void redirect(size_t index, uint64_t next)
{
	uint8_t raw[4096];
	uint64_t sector = bcfmt_bucket_sector(&kit.geo, kit.prio_bucket + index);

	set_kit_read(&kit, sector, raw, sizeof(raw));
	bcfmt_prio_encode(&kit.geo, raw, kit.prio_seq, next);
	set_kit_write(&kit, sector, raw, sizeof(raw));
}

static void name_head(uint64_t bucket)
{
	struct set_kit_jset jset = { .ring_index = 1, .seq = 1, .prio_bucket = bucket };

	jset.root_ptr = set_kit_ptr(&kit, kit.free_bucket, 0);
	set_kit_jset(&kit, &jset);
}

Test(prio_chain, one_link_at_its_edge)
{
	begin_with_links(1352);
	cr_assert_eq(set_kit_open(&kit), BCFMT_OK);
	cr_expect(kit.set->has_all_prios);
	cr_expect_eq(kit.set->n_prio_links, 1);
	cr_expect_eq(kit.set->buckets[1351].gen, (uint8_t)(1351 * 7));
	cr_expect_eq(kit.set->buckets[1351].prio, BCFMT_PRIO_INITIAL);
}

Test(prio_chain, every_bucket_of_three_links_gets_its_gen)
{
	begin_with_links(3000);
	cr_assert_eq(set_kit_open(&kit), BCFMT_OK);
	cr_expect(kit.set->has_all_prios);
	cr_assert_eq(kit.set->n_prio_links, 3);
	for (uint64_t i = 0; i < 3000; i++) {
		cr_assert_eq(kit.set->buckets[i].gen, kit.gens[i], "bucket %llu",
			     (unsigned long long)i);
		cr_assert_eq(kit.set->buckets[i].disk_gen, kit.gens[i]);
	}
	for (uint64_t i = 0; i < 3; i++) {
		cr_expect_eq(kit.set->prio_links[i].bucket, kit.prio_bucket + i);
		cr_expect_eq(kit.set->prio_links[i].seq, 1);
		cr_expect_eq(kit.set->prio_links[i].csum, kit.set->prio_links[i].csum_computed);
		cr_expect_eq(kit.set->buckets[kit.prio_bucket + i].use, BCFMT_USE_PRIO);
	}
}

Test(prio_chain, the_last_link_leads_nowhere)
{
	begin_with_links(3000);
	redirect(2, kit.prio_bucket); /* an older chain may well lie there */
	cr_assert_eq(set_kit_open(&kit), BCFMT_OK);
	cr_expect(kit.set->has_all_prios);
}

Test(prio_chain, a_head_out_of_range)
{
	begin_with_links(3000);
	name_head(3000);
	expect_stop(0, BCFMT_PRIO_SET_RANGE);
	cr_expect_eq(kit.set->prio_links[0].bucket, 3000);
	name_head(UINT64_MAX);
	expect_stop(0, BCFMT_PRIO_SET_RANGE);
	name_head(1);
	expect_stop(0, BCFMT_PRIO_SET_RANGE);
	cr_expect_eq(kit.set->buckets[1].use, BCFMT_USE_RESERVED);
}

Test(prio_chain, a_head_inside_the_journal)
{
	begin_with_links(3000);
	name_head(kit.geo.first_bucket + 7u);
	expect_stop(0, BCFMT_PRIO_SET_JOURNAL);
}

Test(prio_chain, a_chain_that_comes_back)
{
	begin_with_links(3000);
	redirect(1, kit.prio_bucket);
	expect_stop(2, BCFMT_PRIO_SET_LOOP);
	redirect(1, kit.prio_bucket + 1);
	expect_stop(2, BCFMT_PRIO_SET_LOOP);
	redirect(0, kit.prio_bucket);
	expect_stop(1, BCFMT_PRIO_SET_LOOP);
}

Test(prio_chain, a_link_out_of_range)
{
	begin_with_links(3000);
	redirect(0, 1ull << 60);
	expect_stop(1, BCFMT_PRIO_SET_RANGE);
}

Test(prio_chain, a_spoiled_link_keeps_those_before_it)
{
	begin_with_links(3000);
	set_kit_spoil(&kit, kit.prio_bucket + 1, 4000);
	expect_stop(1, BCFMT_PRIO_SET_CSUM);
	cr_expect_neq(kit.set->prio_links[1].csum, kit.set->prio_links[1].csum_computed);
	cr_expect_eq(kit.set->buckets[1351].gen, kit.gens[1351]);
	cr_expect_eq(kit.set->buckets[1352].gen, 0);
	cr_expect_eq(kit.set->buckets[2999].gen, 0);
}

Test(prio_chain, a_link_of_another_set)
{
	uint64_t bucket;

	begin_with_links(3000);
	bucket = kit.prio_bucket + 2;
	kit.geo.set_magic ^= 0xff00;
	redirect(2, 0);
	kit.geo.set_magic ^= 0xff00;
	expect_stop(2, BCFMT_PRIO_SET_MAGIC);
	cr_expect_eq(kit.set->prio_links[2].magic, kit.geo.set_magic ^ 0xff00 ^ 0x6750e15f87337f91);
	cr_expect_eq(kit.set->prio_links[2].bucket, bucket);
}

Test(prio_chain, a_link_that_cannot_be_read)
{
	struct bcfmt_dev *cut;
	uint64_t kept_bytes;
	uint8_t *bytes;

	begin_with_links(3000);
	/* The device ends within the second link, and says so by its size alone. */
	kept_bytes = (kit.prio_bucket + 2) * 4096;
	bytes = malloc(kept_bytes);
	redirect(0, kit.prio_bucket + 2);
	set_kit_read(&kit, 0, bytes, kept_bytes);
	cr_assert_eq(bcfmt_dev_mem(kit.ctx, "cut", bytes, kept_bytes, &cut), BCFMT_OK);
	free(bytes);
	cr_assert_eq(bcfmt_set_open(kit.ctx, &cut, 1, NULL, &kit.set), BCFMT_OK);
	cr_expect_eq(kit.set->geo.nbuckets, kit.prio_bucket + 2);
	/* Of a map cut that short one link is all. */
	cr_expect_eq(kit.set->n_prio_links, 1);
	cr_expect(kit.set->has_all_prios);
	bcfmt_set_free(kit.set);
	kit.set = NULL;
	bcfmt_dev_free(cut);
}

/* 8 MiB buckets: 4 MiB of them hold the set of a 4 KiB machine, all 8 that of larger pages. */
static void begin_with_pages(uint32_t page_bytes)
{
	struct set_kit_shape shape = { .bucket_sectors = 16384,
				       .nbuckets = 8,
				       .journal_buckets = 2,
				       .page_bytes = page_bytes };

	set_kit_init(&kit, &shape);
	kit.gens[7] = 77;
	set_kit_tables(&kit);
	set_kit_first_jset(&kit, set_kit_node(&kit, kit.free_bucket, NULL, 0), 0);
}

Test(prio_chain, the_layout_of_the_same_page_size)
{
	begin_with_pages(4096);
	cr_assert_eq(set_kit_open(&kit), BCFMT_OK);
	cr_expect(kit.set->has_all_prios);
	cr_expect_eq(kit.set->prio_page_bytes, 4096);
	cr_expect_eq(kit.set->buckets[7].gen, 77);
}

Test(prio_chain, the_layout_of_larger_pages_is_found_by_its_checksum)
{
	begin_with_pages(16384);
	cr_assert_eq(set_kit_open(&kit), BCFMT_OK);
	cr_expect(kit.set->has_all_prios);
	cr_expect_eq(kit.set->prio_page_bytes, 16384);
	cr_expect_eq(kit.set->buckets[7].gen, 77);
	cr_expect_eq(kit.set->buckets[kit.prio_bucket].use, BCFMT_USE_PRIO);
}

Test(prio_chain, where_no_layout_fits_the_expected_one_is_told)
{
	begin_with_pages(4096);
	set_kit_spoil(&kit, kit.prio_bucket, 100);
	expect_stop(0, BCFMT_PRIO_SET_CSUM);
	cr_expect_eq(kit.set->prio_page_bytes, 4096);
	cr_expect_eq(kit.set->buckets[7].gen, 0);
	cr_expect_eq(kit.set->buckets[kit.prio_bucket].use, 0);
}

Test(prio_chain, the_layout_of_smaller_pages_is_found_too)
{
	struct bcfmt_set_params params = { .page_bytes = 65536 };

	begin_with_pages(4096);
	cr_assert_eq(bcfmt_set_open(kit.ctx, &kit.dev, 1, &params, &kit.set), BCFMT_OK);
	cr_expect(kit.set->has_all_prios);
	cr_expect_eq(kit.set->prio_page_bytes, 4096);
	cr_expect_eq(kit.set->buckets[7].gen, 77);
}
