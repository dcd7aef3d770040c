/* SPDX-License-Identifier: GPL-2.0-or-later */
/* A node key by key, in the form in which a kernel dumps it. */
#include <criterion/criterion.h>

#include "unit/codec_kit.h"
#include "unit/render_help.h"
#include "set/set_impl.h"

#define NODE_BUCKET   20u
#define NODE_BLOCKS   64u
#define SET_WORDS_MAX 64u
#define SEQ	      0x1122334455667788ull

/* The set and the node of the running test. */
static struct bcfmt_set set;
static struct bcfmt_bucket buckets[1024];
static uint8_t node_bytes[NODE_BLOCKS * 512];
static struct bcfmt_node node;
static struct bcfmt_node_ref ref;

static void begin(uint8_t level)
{
	struct bcfmt_super super = kit_cache_super();

	cr_assert_eq(bcfmt_geometry_init(&super, KIT_DEV_BYTES, 4096, &set.geo), BCFMT_OK);
	set.has_geometry = true;
	set.buckets = buckets;
	for (size_t i = 0; i < 1024; i++)
		buckets[i] = (struct bcfmt_bucket){ .prio = (uint16_t)(30000 + i),
						     .gen = 5,
						     .disk_gen = 5,
						     .gen_flags = BUCKET_GEN_ON_DISK };
	ref.ptr = bcfmt_ptr_make(0, bcfmt_bucket_sector(&set.geo, NODE_BUCKET), 1);
	ref.sectors = NODE_BLOCKS;
	ref.level = level;
}

/* Writes a bset of these keys at block; the words of a key are as bcfmt_key_encode() gives them. */
static void put_set(uint32_t block, const struct bcfmt_key *keys, size_t n)
{
	uint8_t *raw = node_bytes + block * 512;
	uint32_t words = 0;

	for (size_t i = 0; i < n; i++)
		words += bcfmt_key_encode(&keys[i], raw + BCFMT_BSET_HEADER_BYTES + 8 * words);
	bcfmt_bset_encode(&set.geo, raw, SEQ, words, ref.ptr);
}

static void dump(unsigned int flags)
{
	struct bcfmt_node_view view = { .ref = &ref, .node = &node };
	struct bcfmt_out *out = catch_begin(flags);

	cr_assert_eq(bcfmt_node_decode(&node, &set.geo, node_bytes, NODE_BLOCKS, ref.ptr),
		     BCFMT_OK);
	bcfmt_render_node_dump(out, &set, &view);
	catch_end(out);
	bcfmt_node_clear(&node);
}

static void expect_dump(const char *want)
{
	dump(0);
	cr_expect_str_eq(caught_text, want);
	catch_free();
}

/* A pointer offset_sectors into a bucket of 1024 sectors. */
static uint64_t ptr(uint64_t bucket, uint64_t offset_sectors, unsigned int gen)
{
	return bcfmt_ptr_make(0, bucket * 1024 + offset_sectors, gen);
}

Test(node_dump, keys_of_every_kind)
{
	const struct bcfmt_key keys[] = {
		bcfmt_key_make(0, 136, 120, true, true, ptr(54, 200, 5)),
		bcfmt_key_make(0, 144, 8, false, true, ptr(54, 320, 4)),
		bcfmt_key_make(0, 152, 8, false, false, 0),
		bcfmt_key_make(0, 160, 0, false, true, ptr(54, 328, 5)),
		bcfmt_key_make(0, 168, 8, false, true, ptr(0, 8, 5)),
		bcfmt_key_make(0, 176, 8, false, true, ptr(2000, 0, 5)),
		bcfmt_key_make(0, 184, 8, false, true, ptr(54, 1020, 5)),
		bcfmt_key_make(1, 8, 8, false, true, bcfmt_ptr_make(BCFMT_PTR_DEV_CHECK, 2048, 77)),
	};

	begin(0);
	put_set(0, keys, sizeof(keys) / sizeof(keys[0]));
	expect_dump(
		"block 0 key 0/23:  0:16 len 120 -> [0:55496 gen 5] dirty bucket 54 prio 30054 \n"
		"block 0 key 3/23:  0:136 len 8 -> [0:55616 gen 4] bucket 54 prio 30054 stale\n"
		"block 0 key 6/23:  0:144 len 8 -> [] bad, no pointers\n"
		"block 0 key 8/23:  0:160 len 0 -> [0:55624 gen 5] bucket 54 prio 30054 zeroed "
		"key\n"
		"block 0 key 11/23:  0:160 len 8 -> [0:8 gen 5] bucket 0 bad, short offset\n"
		"block 0 key 14/23:  0:168 len 8 -> [0:2048000 gen 5] bucket 2000 bad, offset past "
		"end of device\n"
		"block 0 key 17/23:  0:176 len 8 -> [0:56316 gen 5] bucket 54 prio 30054 bad, "
		"length too big\n"
		"block 0 key 20/23:  1:0 len 8 -> [check dev] bucket 2 prio 30002 \n");
}

Test(node_dump, keys_that_go_backwards_in_a_leaf)
{
	const struct bcfmt_key keys[] = {
		bcfmt_key_make(0, 32, 16, false, true, ptr(54, 0, 5)),
		/* Begins where the one before ends: in order. */
		bcfmt_key_make(0, 48, 16, false, true, ptr(54, 16, 5)),
		/* Begins one sector before the end of the one before. */
		bcfmt_key_make(0, 63, 16, false, true, ptr(54, 32, 5)),
		bcfmt_key_make(0, 24, 8, false, true, ptr(54, 48, 5)),
	};
	const struct bcfmt_key later[] = { bcfmt_key_make(0, 16, 8, false, true, ptr(54, 56, 5)) };

	begin(0);
	put_set(0, keys, 4);
	put_set(1, later, 1);
	expect_dump("block 0 key 0/12:  0:16 len 16 -> [0:55296 gen 5] bucket 54 prio 30054 \n"
		    "block 0 key 3/12:  0:32 len 16 -> [0:55312 gen 5] bucket 54 prio 30054 \n"
		    "Key skipped backwards\n"
		    "block 0 key 6/12:  0:47 len 16 -> [0:55328 gen 5] bucket 54 prio 30054 \n"
		    "Key skipped backwards\n"
		    "block 0 key 9/12:  0:16 len 8 -> [0:55344 gen 5] bucket 54 prio 30054 \n"
		    "block 1 key 0/3:  0:8 len 8 -> [0:55352 gen 5] bucket 54 prio 30054 \n");
}

Test(node_dump, interior_keys_compare_by_their_end)
{
	const struct bcfmt_key keys[] = {
		bcfmt_key_make(0, 100, 64, false, true, ptr(30, 0, 5)),
		/* Overlaps by its size, which in an interior node is that of the child. */
		bcfmt_key_make(0, 110, 64, false, true, ptr(31, 0, 5)),
		bcfmt_key_make(0, 0, 64, false, true, ptr(32, 0, 5)),
	};

	begin(1);
	put_set(0, keys, 3);
	expect_dump("block 0 key 0/9:  0:36 len 64 -> [0:30720 gen 5] bucket 30 prio 30030 \n"
		    "block 0 key 3/9:  0:46 len 64 -> [0:31744 gen 5] bucket 31 prio 30031 \n"
		    "Key skipped backwards\n"
		    "block 0 key 6/9:  0:18446744073709551552 len 64 -> [0:32768 gen 5] bucket 32 "
		    "prio 30032 bad, null key\n");
}

Test(node_dump, block_is_the_sector_in_the_node)
{
	const struct bcfmt_key key = bcfmt_key_make(0, 8, 8, false, false, 0);

	begin(0);
	set.geo.block_sectors = 8;
	put_set(0, &key, 1);
	put_set(8, &key, 1);
	expect_dump("block 0 key 0/2:  0:0 len 8 -> [] bad, no pointers\n"
		    "block 8 key 0/2:  0:0 len 8 -> [] bad, no pointers\n");
}

Test(node_dump, text_is_cut_as_a_kernel_cuts_it)
{
	const struct bcfmt_key key =
		bcfmt_key_make(BCFMT_KEY_MAX_INODE, BCFMT_KEY_MAX_OFFSET, 65535, true, true,
			       bcfmt_ptr_make(4094, 0x7ffffffffffull, 255));

	begin(0);
	put_set(0, &key, 1);
	/* Longest with one pointer, still below 79 characters: not cut. */
	expect_dump(
		"block 0 key 0/3:  1048575:9223372036854710272 len 65535 -> [4094:8796093022207 "
		"gen 255] dirty bucket 8589934591 \n");
}

Test(node_dump, a_damaged_set_is_named_and_shown)
{
	const struct bcfmt_key key = bcfmt_key_make(0, 8, 8, false, false, 0);

	begin(0);
	put_set(0, &key, 1);
	put_set(1, &key, 1);
	node_bytes[512 + BCFMT_BSET_HEADER_BYTES + 8] = 16;
	dump(0);
	cr_expect(strstr(caught_text, "block 0 key 0/2:  0:0 len 8 -> [] bad, no pointers\n"
				      "bad checksum at bucket 20, block 1, 2 keys\n"),
		  "got:\n%s", caught_text);
	catch_free();
}

Test(node_dump, an_empty_node_has_no_lines)
{
	begin(0);
	put_set(0, NULL, 0);
	expect_dump("");
}

Test(node_dump, no_node_at_all)
{
	begin(0);
	expect_dump("bad btree header at bucket 20, block 0, 0 keys\n");
}

Test(node_dump, keys_that_do_not_fill_their_set)
{
	const struct bcfmt_key key = bcfmt_key_make(0, 8, 8, false, true, ptr(54, 0, 5));
	uint8_t *raw = node_bytes;

	begin(0);
	bcfmt_key_encode(&key, raw + BCFMT_BSET_HEADER_BYTES);
	bcfmt_key_encode(&key, raw + BCFMT_BSET_HEADER_BYTES + 24);
	bcfmt_bset_encode(&set.geo, raw, SEQ, 5, ref.ptr);
	expect_dump("block 0 key 0/5:  0:0 len 8 -> [0:55296 gen 5] bucket 54 prio 30054 \n"
		    "block 0 key 3/5: passes the end of its set\n");
}

Test(node_dump, json)
{
	const struct bcfmt_key keys[] = {
		bcfmt_key_make(0, 136, 120, true, true, ptr(54, 200, 5)),
		bcfmt_key_make(0, 16, 8, false, true, ptr(54, 0, 4)),
	};
	json_t *row;

	begin(0);
	put_set(0, keys, 2);
	dump(BCFMT_OUT_JSON);
	row = catch_json(0);
	cr_expect_str_eq(catch_string(row, "kind"), "node_set");
	cr_expect_str_eq(catch_string(row, "sequence"), "0x1122334455667788");
	cr_expect_eq(catch_number(row, "words"), 6);
	cr_expect_null(json_object_get(row, "fault"));
	json_decref(row);
	row = catch_json(1);
	cr_expect_str_eq(catch_string(row, "kind"), "node_key");
	cr_expect_str_eq(catch_string(row, "text"), "0:16 len 120 -> [0:55496 gen 5] dirty");
	cr_expect_eq(catch_number(row, "bucket"), 54);
	cr_expect_eq(catch_number(row, "cache_sector"), 55496);
	cr_expect(json_is_true(json_object_get(row, "skipped_backwards")));
	json_decref(row);
	row = catch_json(2);
	cr_expect_eq(catch_number(row, "word"), 3);
	cr_expect_str_eq(catch_string(row, "status"), "stale");
	cr_expect(json_is_false(json_object_get(row, "skipped_backwards")));
	json_decref(row);
	catch_free();
}
