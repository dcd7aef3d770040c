/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Btree nodes: what the kernel would say of each, and the bsets behind a fault. */
#include <criterion/criterion.h>

#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <bcfmt/node.h>

#include "base/bytes.h"
#include "codec_kit.h"

#define KEY_HEX "000080001000009080000000000000000100a00000000000"
#define SEQ 0x1122334455667788ull
#define PTR 0x900001ull
#define NODE_SECTORS 64u

/* A node of 64 blocks with bsets at blocks 0 (no keys), 1 (63 keys, 4 blocks) and 5 (1 key). */
struct fixture {
	struct bcfmt_geometry geo;
	struct bcfmt_node node;
	uint8_t buf[NODE_SECTORS * 512];
};

static void put_bset(struct fixture *fix, uint32_t block, uint32_t keys)
{
	uint8_t *raw = fix->buf + block * 512;

	for (uint32_t i = 0; i < keys; i++)
		kit_hex(KEY_HEX, raw + 32 + 24 * i);
	bcfmt_bset_encode(&fix->geo, raw, SEQ, 3 * keys, PTR);
}

static struct fixture *new_fixture(void)
{
	struct fixture *fix = calloc(1, sizeof(*fix));

	fix->geo = kit_geometry();
	memset(fix->buf, 0x5a, sizeof(fix->buf));
	put_bset(fix, 0, 0);
	put_bset(fix, 1, 63);
	put_bset(fix, 5, 1);
	return fix;
}

static void free_fixture(struct fixture *fix)
{
	bcfmt_node_clear(&fix->node);
	free(fix);
}

static void decode(struct fixture *fix)
{
	cr_assert_eq(bcfmt_node_decode(&fix->node, &fix->geo, fix->buf, NODE_SECTORS, PTR),
		     BCFMT_OK);
}

static void expect_fault(const struct fixture *fix, enum bcfmt_bset_fault fault, uint32_t block,
			 uint32_t keys)
{
	cr_assert_eq(fix->node.fault, fault, "fault %d", (int)fix->node.fault);
	cr_assert_eq(fix->node.fault_block, block);
	cr_assert_eq(fix->node.fault_keys, keys);
}

static uint8_t *bset_at(struct fixture *fix, uint32_t block)
{
	return fix->buf + block * 512;
}

/* Mends the checksum after a change of the header. */
static void sum_again(struct fixture *fix, uint32_t block)
{
	uint8_t *raw = bset_at(fix, block);

	store_le64(raw, bcfmt_bset_csum(raw, load_le32(raw + 28), load_le32(raw + 24), PTR));
}

Test(node, checksums_of_the_samples)
{
	struct bcfmt_geometry geo = kit_geometry();
	uint8_t raw[56];

	kit_hex(KEY_HEX, raw + 32);
	bcfmt_bset_encode(&geo, raw, SEQ, 3, PTR);
	cr_assert_eq(load_le64(raw), 0x478f7206414bb857);
	cr_assert_eq(load_le64(raw + 8), 0x8705496caa8c16e5);
	store_le32(raw + 24, 0);
	cr_assert_eq(bcfmt_bset_csum(raw, 3, 0, PTR), 0xc3ccad53e7a0501c);
	bcfmt_bset_encode(&geo, raw, SEQ, 0, PTR);
	cr_assert_eq(load_le64(raw), 0xa23f6dd534305c95);
}

Test(node, first_root_of_a_real_cache)
{
	struct bcfmt_super super = kit_cache_super();
	struct bcfmt_geometry geo;
	struct bcfmt_node node = { 0 };
	uint8_t raw[1024] = { 0 };

	kit_hex("5468fb24ebf34a51856aac8bc44aeceb", super.set_uuid);
	geo = kit_geometry_of(&super);
	kit_hex("d5095e1ef30dcb07 a16f659d93af59c1 febe85b0847589e5 01000000 00000000", raw);
	cr_assert_eq(bcfmt_node_decode(&node, &geo, raw, 2, 0x900001), BCFMT_OK);
	cr_assert_eq(node.fault, BCFMT_BSET_OK);
	cr_assert_eq(node.n_bsets, 1);
	bcfmt_node_clear(&node);
}

Test(node, good_node)
{
	struct fixture *fix = new_fixture();

	decode(fix);
	expect_fault(fix, BCFMT_BSET_OK, 0, 0);
	cr_assert_eq(fix->node.nblocks, 64);
	cr_assert_eq(fix->node.seq, SEQ);
	cr_assert_eq(fix->node.n_bsets, 3);
	cr_assert_eq(fix->node.bsets[0].words, 0);
	cr_assert_eq(fix->node.bsets[1].block, 1);
	cr_assert_eq(fix->node.bsets[1].blocks, 4);
	cr_assert_eq(fix->node.bsets[1].words, 189);
	cr_assert_eq(fix->node.bsets[1].keys, fix->buf + 512 + 32);
	cr_assert_eq(fix->node.bsets[2].block, 5);
	for (unsigned int i = 0; i < 3; i++) {
		cr_assert_eq(fix->node.bsets[i].fault, BCFMT_BSET_OK);
		cr_assert(!fix->node.bsets[i].is_stray);
		cr_assert_eq(fix->node.bsets[i].csum, fix->node.bsets[i].csum_computed);
	}
	free_fixture(fix);
}

Test(node, bset_to_the_last_byte)
{
	struct fixture *fix = new_fixture();

	put_bset(fix, 5, (59 * 512 - 32) / 24);
	decode(fix);
	expect_fault(fix, BCFMT_BSET_OK, 0, 0);
	cr_assert_eq(fix->node.n_bsets, 3);
	cr_assert_eq(fix->node.bsets[2].blocks, 59);
	free_fixture(fix);
}

Test(node, version_0_has_the_plain_checksum)
{
	struct fixture *fix = new_fixture();

	store_le32(bset_at(fix, 5) + 24, 0);
	sum_again(fix, 5);
	decode(fix);
	expect_fault(fix, BCFMT_BSET_OK, 0, 0);
	cr_assert_eq(fix->node.n_bsets, 3);
	free_fixture(fix);
}

Test(node, zero_seq)
{
	struct fixture *fix = new_fixture();

	store_le64(bset_at(fix, 0) + 16, 0);
	store_le32(bset_at(fix, 0) + 28, 9);
	decode(fix);
	expect_fault(fix, BCFMT_BSET_ZERO_SEQ, 0, 9);
	memset(fix->buf, 0, sizeof(fix->buf));
	decode(fix);
	expect_fault(fix, BCFMT_BSET_ZERO_SEQ, 0, 0);
	cr_assert_eq(fix->node.n_bsets, 1);
	cr_assert_eq(fix->node.bsets[0].words, 0);
	free_fixture(fix);
}

Test(node, unknown_version)
{
	struct fixture *fix = new_fixture();

	store_le32(bset_at(fix, 5) + 24, 2);
	sum_again(fix, 5);
	decode(fix);
	expect_fault(fix, BCFMT_BSET_VERSION, 5, 3);
	cr_assert_eq(fix->node.n_bsets, 3);
	cr_assert_eq(fix->node.bsets[2].fault, BCFMT_BSET_VERSION);
	cr_assert_eq(fix->node.bsets[2].words, 0);
	free_fixture(fix);
}

Test(node, keys_past_the_end)
{
	struct fixture *fix = new_fixture();

	store_le32(bset_at(fix, 5) + 28, (59 * 512 - 32) / 8 + 1);
	decode(fix);
	expect_fault(fix, BCFMT_BSET_OVERRUN, 5, (59 * 512 - 32) / 8 + 1);
	cr_assert_eq(fix->node.bsets[2].words, 0);
	cr_assert_eq(fix->node.bsets[2].csum_computed, 0);
	store_le32(bset_at(fix, 5) + 28, UINT32_MAX);
	decode(fix);
	expect_fault(fix, BCFMT_BSET_OVERRUN, 5, UINT32_MAX);
	store_le32(bset_at(fix, 5) + 24, 2); /* the version comes first */
	decode(fix);
	expect_fault(fix, BCFMT_BSET_VERSION, 5, UINT32_MAX);
	free_fixture(fix);
}

Test(node, wrong_magic)
{
	struct fixture *fix = new_fixture();

	bset_at(fix, 1)[8] ^= 1;
	decode(fix);
	expect_fault(fix, BCFMT_BSET_MAGIC, 1, 189);
	cr_assert(!fix->node.is_other_set);
	cr_assert_eq(fix->node.bsets[1].words, 0);
	free_fixture(fix);
}

Test(node, node_of_another_set)
{
	struct fixture *fix = new_fixture();

	fix->geo.set_magic ^= 0x100;
	decode(fix);
	expect_fault(fix, BCFMT_BSET_MAGIC, 0, 0);
	cr_assert(fix->node.is_other_set);
	cr_assert_eq(fix->node.n_bsets, 1);
	fix->geo.set_magic ^= 0x100;
	bset_at(fix, 0)[8] ^= 1; /* damage, not another set: the checksum is wrong too */
	decode(fix);
	expect_fault(fix, BCFMT_BSET_MAGIC, 0, 0);
	cr_assert(!fix->node.is_other_set);
	free_fixture(fix);
}

Test(node, wrong_checksum)
{
	struct fixture *fix = new_fixture();

	bset_at(fix, 1)[100] ^= 1;
	decode(fix);
	expect_fault(fix, BCFMT_BSET_CSUM, 1, 189);
	cr_assert_eq(fix->node.bsets[1].fault, BCFMT_BSET_CSUM);
	cr_assert_eq(fix->node.bsets[1].words, 189);
	free_fixture(fix);
}

Test(node, checksum_depends_on_the_whole_pointer)
{
	struct fixture *fix = new_fixture();

	cr_assert_eq(bcfmt_node_decode(&fix->node, &fix->geo, fix->buf, NODE_SECTORS, PTR + 1),
		     BCFMT_OK);
	expect_fault(fix, BCFMT_BSET_CSUM, 0, 0);
	cr_assert_eq(bcfmt_node_decode(&fix->node, &fix->geo, fix->buf, NODE_SECTORS,
				       PTR | 1ull << 63), BCFMT_OK);
	expect_fault(fix, BCFMT_BSET_CSUM, 0, 0);
	free_fixture(fix);
}

Test(node, empty_bset_that_is_not_the_first)
{
	struct fixture *fix = new_fixture();

	put_bset(fix, 6, 0);
	decode(fix);
	expect_fault(fix, BCFMT_BSET_EMPTY, 6, 0);
	cr_assert_eq(fix->node.n_bsets, 4);
	cr_assert_eq(fix->node.bsets[3].fault, BCFMT_BSET_EMPTY);
	free_fixture(fix);
}

Test(node, hole_with_a_good_bset_behind_it)
{
	struct fixture *fix = new_fixture();

	put_bset(fix, 20, 21);
	put_bset(fix, 30, 2);
	decode(fix);
	expect_fault(fix, BCFMT_BSET_HOLE, 20, 63);
	cr_assert_eq(fix->node.n_bsets, 5);
	cr_assert_eq(fix->node.bsets[3].block, 20);
	cr_assert(fix->node.bsets[3].is_stray);
	cr_assert_eq(fix->node.bsets[3].fault, BCFMT_BSET_OK);
	cr_assert_eq(fix->node.bsets[3].words, 63);
	cr_assert_eq(fix->node.bsets[4].block, 30);
	cr_assert(fix->node.bsets[4].is_stray);
	free_fixture(fix);
}

Test(node, hole_with_only_a_seq_behind_it)
{
	struct fixture *fix = new_fixture();

	store_le64(bset_at(fix, 63) + 16, SEQ);
	store_le32(bset_at(fix, 63) + 28, 17);
	decode(fix);
	expect_fault(fix, BCFMT_BSET_HOLE, 63, 17);
	cr_assert_eq(fix->node.n_bsets, 3);
	free_fixture(fix);
}

Test(node, another_seq_ends_the_node)
{
	struct fixture *fix = new_fixture();
	uint8_t *raw = bset_at(fix, 6);

	kit_hex(KEY_HEX, raw + 32);
	bcfmt_bset_encode(&fix->geo, raw, SEQ + 1, 3, PTR);
	decode(fix);
	expect_fault(fix, BCFMT_BSET_OK, 0, 0);
	cr_assert_eq(fix->node.n_bsets, 3);
	free_fixture(fix);
}

Test(node, stray_bsets_behind_each_kind_of_fault)
{
	static const enum bcfmt_bset_fault kinds[] = { BCFMT_BSET_VERSION, BCFMT_BSET_OVERRUN,
						       BCFMT_BSET_MAGIC, BCFMT_BSET_CSUM };

	for (unsigned int i = 0; i < 4; i++) {
		struct fixture *fix = new_fixture();
		uint8_t *raw = bset_at(fix, 1);

		if (kinds[i] == BCFMT_BSET_VERSION)
			store_le32(raw + 24, 77);
		else if (kinds[i] == BCFMT_BSET_OVERRUN)
			store_le32(raw + 28, 1u << 31);
		else
			raw[kinds[i] == BCFMT_BSET_MAGIC ? 9 : 33] ^= 4;
		decode(fix);
		cr_assert_eq(fix->node.fault, kinds[i]);
		cr_assert_eq(fix->node.fault_block, 1);
		cr_assert_eq(fix->node.n_bsets, 3);
		cr_assert_eq(fix->node.bsets[2].block, 5);
		cr_assert(fix->node.bsets[2].is_stray);
		cr_assert_eq(fix->node.bsets[2].words, 3);
		free_fixture(fix);
	}
}

Test(node, only_good_bsets_of_the_node_are_strays)
{
	struct fixture *fix = new_fixture();

	bset_at(fix, 1)[40] ^= 1;
	bcfmt_bset_encode(&fix->geo, bset_at(fix, 10), SEQ + 1, 0, PTR); /* other seq */
	bcfmt_bset_encode(&fix->geo, bset_at(fix, 12), SEQ, 0, PTR + 1); /* other seed */
	put_bset(fix, 14, 1);
	store_le32(bset_at(fix, 14) + 24, 2);
	sum_again(fix, 14); /* other version */
	put_bset(fix, 16, 1);
	bset_at(fix, 16)[8] ^= 1;
	sum_again(fix, 16); /* other magic */
	put_bset(fix, 18, 1);
	store_le32(bset_at(fix, 18) + 28, 1u << 20); /* out of bounds */
	put_bset(fix, 20, 1);
	decode(fix);
	expect_fault(fix, BCFMT_BSET_CSUM, 1, 189);
	cr_assert_eq(fix->node.n_bsets, 4);
	cr_assert_eq(fix->node.bsets[2].block, 5);
	cr_assert_eq(fix->node.bsets[3].block, 20);
	free_fixture(fix);
}

/* With its head gone a node still has bsets that the pointer's checksum proves to be its own. */
Test(node, stray_bsets_when_the_first_block_is_lost)
{
	struct fixture *fix = new_fixture();

	memset(bset_at(fix, 0), 0, 512);
	decode(fix);
	expect_fault(fix, BCFMT_BSET_ZERO_SEQ, 0, 0);
	cr_assert_eq(fix->node.n_bsets, 3);
	cr_assert_eq(fix->node.bsets[1].block, 1);
	cr_assert_eq(fix->node.bsets[1].seq, SEQ);
	cr_assert(fix->node.bsets[1].is_stray);
	cr_assert_eq(fix->node.bsets[2].block, 5);
	free_fixture(fix);
}

Test(node, larger_blocks)
{
	struct bcfmt_super super = kit_cache_super();
	struct fixture *fix = calloc(1, sizeof(*fix));

	super.block_sectors = 8;
	fix->geo = kit_geometry_of(&super);
	put_bset(fix, 0, 100);
	put_bset(fix, 8, 200);
	decode(fix);
	expect_fault(fix, BCFMT_BSET_OK, 0, 0);
	cr_assert_eq(fix->node.nblocks, 8);
	cr_assert_eq(fix->node.n_bsets, 2);
	cr_assert_eq(fix->node.bsets[1].block, 1);
	cr_assert_eq(fix->node.bsets[1].blocks, 2);
	free_fixture(fix);
}

/* The kernel looks for the seq by sectors, so it also meets the block that is not all there. */
Test(node, part_of_a_block_at_the_end)
{
	struct bcfmt_super super = kit_cache_super();
	struct fixture *fix = calloc(1, sizeof(*fix));

	super.block_sectors = 8;
	fix->geo = kit_geometry_of(&super);
	put_bset(fix, 0, 1);
	cr_assert_eq(bcfmt_node_decode(&fix->node, &fix->geo, fix->buf, 9, PTR), BCFMT_OK);
	expect_fault(fix, BCFMT_BSET_OK, 0, 0);
	cr_assert_eq(fix->node.nblocks, 1);
	put_bset(fix, 8, 1);
	cr_assert_eq(bcfmt_node_decode(&fix->node, &fix->geo, fix->buf, 9, PTR), BCFMT_OK);
	expect_fault(fix, BCFMT_BSET_HOLE, 1, 3);
	cr_assert_eq(fix->node.n_bsets, 1);
	free_fixture(fix);
}

Test(node, smaller_than_a_block)
{
	struct bcfmt_super super = kit_cache_super();
	struct fixture *fix = calloc(1, sizeof(*fix));

	super.block_sectors = 8;
	fix->geo = kit_geometry_of(&super);
	put_bset(fix, 0, 2);
	cr_assert_eq(bcfmt_node_decode(&fix->node, &fix->geo, fix->buf, 7, PTR), BCFMT_OK);
	expect_fault(fix, BCFMT_BSET_HOLE, 0, 6);
	cr_assert_eq(fix->node.nblocks, 0);
	cr_assert_eq(fix->node.n_bsets, 0);
	cr_assert_eq(bcfmt_node_decode(&fix->node, &fix->geo, NULL, 0, PTR), BCFMT_OK);
	expect_fault(fix, BCFMT_BSET_HOLE, 0, 0);
	free_fixture(fix);
}

Test(node, fault_texts)
{
	static const char *const texts[] = {
		[BCFMT_BSET_OK] = "",
		[BCFMT_BSET_ZERO_SEQ] = "bad btree header",
		[BCFMT_BSET_VERSION] = "unsupported bset version",
		[BCFMT_BSET_OVERRUN] = "bad btree header",
		[BCFMT_BSET_MAGIC] = "bad magic",
		[BCFMT_BSET_CSUM] = "bad checksum",
		[BCFMT_BSET_EMPTY] = "empty set",
		[BCFMT_BSET_HOLE] = "corrupted btree",
	};

	for (unsigned int i = 0; i <= BCFMT_BSET_HOLE; i++)
		cr_assert_str_eq(bcfmt_bset_fault_text((enum bcfmt_bset_fault)i), texts[i]);
}

/*
 * 65535 candidates, each of which claims all the rest of 32 MiB. Summing every claim would take
 * minutes; the search gives up on them long before.
 */
Test(node, hostile_claims_take_bounded_time)
{
	struct bcfmt_geometry geo = kit_geometry();
	struct bcfmt_node node = { 0 };
	uint32_t sectors = 1u << 16;
	uint8_t *buf = calloc(sectors, 512);
	struct timespec before, after;

	for (uint32_t block = 0; block < sectors; block++) {
		uint8_t *raw = buf + (size_t)block * 512;

		store_le64(raw + 8, 0x8705496caa8c16e5);
		store_le64(raw + 16, SEQ);
		store_le32(raw + 24, 1);
		store_le32(raw + 28, (sectors - block) * 64 - 4);
	}
	clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &before);
	cr_assert_eq(bcfmt_node_decode(&node, &geo, buf, sectors, PTR), BCFMT_OK);
	clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &after);
	cr_assert_eq(node.fault, BCFMT_BSET_CSUM);
	cr_assert_eq(node.n_bsets, 1);
	cr_assert_lt(after.tv_sec - before.tv_sec, 10);
	bcfmt_node_clear(&node);
	free(buf);
}

Test(node, random_bytes_are_survived)
{
	struct bcfmt_geometry geo = kit_geometry();
	struct bcfmt_node node = { 0 };
	uint64_t state = 88172645463325252u;

	for (unsigned int round = 0; round < 2000; round++) {
		uint32_t sectors = 1 + round % 16;
		uint8_t *buf = malloc(sectors * 512);

		for (uint32_t i = 0; i < sectors * 64; i++) {
			state ^= state << 13;
			state ^= state >> 7;
			state ^= state << 17;
			store_le64(buf + 8 * i, state);
		}
		for (uint32_t block = 0; block < sectors; block++) {
			store_le64(buf + block * 512 + 8, 0x8705496caa8c16e5);
			store_le64(buf + block * 512 + 16, SEQ);
			store_le32(buf + block * 512 + 24, (uint32_t)(state >> block & 1));
			store_le32(buf + block * 512 + 28, (uint32_t)(state >> 20 & 1023));
			if (state >> 40 & 1)
				store_le64(buf + block * 512,
					   bcfmt_bset_csum(buf + block * 512, 0, 1, PTR));
		}
		geo.block_sectors = 1u << (round % 4);
		cr_assert_eq(bcfmt_node_decode(&node, &geo, buf, sectors, PTR), BCFMT_OK);
		cr_assert_leq(node.n_bsets, sectors);
		for (uint32_t i = 0; i < node.n_bsets; i++) {
			struct bcfmt_key_iter it =
				bcfmt_key_iter_init(node.bsets[i].keys, node.bsets[i].words);
			struct bcfmt_key key;

			while (bcfmt_key_iter_next(&it, &key))
				cr_assert_leq(it.next_word, node.bsets[i].words);
		}
		free(buf);
	}
	bcfmt_node_clear(&node);
}
