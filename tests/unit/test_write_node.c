/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Single nodes and bsets: what lies on the device afterwards, and what is refused. */
#include "write_help.h"

#include <bcfmt/node.h>

#include "kit/set_kit.h"

static struct set_kit kit;
static struct bcfmt_target target;

static void begin(void)
{
	write_begin();
	set_kit_init(&kit, &(struct set_kit_shape){ .block_sectors = 2 });
	target = (struct bcfmt_target){ write_ctx, kit.dev, &kit.geo };
}

static void end(void)
{
	set_kit_clear(&kit);
	write_end();
}

TestSuite(write_node, .init = begin, .fini = end);

static uint64_t data_ptr(uint64_t i)
{
	return set_kit_ptr(&kit, 100 + i, 0);
}

/* A leaf in the first free bucket for all keys. */
static struct bcfmt_node_ref leaf_ref(void)
{
	return (struct bcfmt_node_ref){ .ptr = set_kit_ptr(&kit, kit.free_bucket, 0),
					.hi = bcfmt_pos_max(),
					.sectors = kit.geo.node_sectors,
					.is_root = true };
}

/* The node as it lies on the device. To be cleared; *buf to be freed. */
static void read_node(const struct bcfmt_node_ref *ref, struct bcfmt_node *node, uint8_t **buf)
{
	*buf = malloc(ref->sectors * 512u);
	memset(node, 0, sizeof(*node));
	set_kit_read(&kit, bcfmt_ptr_sector(ref->ptr), *buf, ref->sectors * 512u);
	cr_assert_eq(bcfmt_node_decode(node, &kit.geo, *buf, ref->sectors, ref->ptr), BCFMT_OK);
}

/* Nothing of what was in the bucket is left, although all of it has the node's seq. */
Test(write_node, the_whole_node_is_written)
{
	struct bcfmt_node_ref ref = leaf_ref();
	struct bcfmt_key keys[3] = { set_kit_dirty(0, 16, 8, data_ptr(0)), set_kit_hole(0, 24, 100),
				     set_kit_clean(1, 0, 16, data_ptr(1)) };
	struct bcfmt_node_iter it;
	struct bcfmt_node node;
	struct bcfmt_key key;
	uint8_t *buf, beyond[512], before[512];

	for (uint32_t block = 0; block < 8; block++)
		set_kit_bset(&kit, ref.ptr, block, 77, keys, 3);
	memset(beyond, 0xab, sizeof(beyond));
	set_kit_write(&kit, bcfmt_ptr_sector(ref.ptr) + ref.sectors, beyond, sizeof(beyond));
	set_kit_write(&kit, bcfmt_ptr_sector(ref.ptr) - 1, beyond, sizeof(beyond));
	cr_assert_eq(bcfmt_node_write(&target, &ref, 77, keys, 3), BCFMT_OK, "%s",
		     bcfmt_ctx_fault(write_ctx));
	read_node(&ref, &node, &buf);
	cr_expect_eq(node.fault, BCFMT_BSET_OK);
	cr_assert_eq(node.n_bsets, 1);
	cr_expect_eq(node.seq, 77);
	cr_expect_eq(node.bsets[0].version, 1);
	it = bcfmt_node_iter_init(&node);
	for (unsigned int i = 0; i < 3; i++) {
		cr_assert(bcfmt_node_iter_next(&it, &key));
		cr_expect(!memcmp(&key, &keys[i], sizeof(key)));
	}
	cr_expect(!bcfmt_node_iter_next(&it, &key));
	for (size_t i = 32 + 8 * 8; i < ref.sectors * 512u; i++)
		cr_assert_eq(buf[i], 0, "byte %zu", i);
	set_kit_read(&kit, bcfmt_ptr_sector(ref.ptr) + ref.sectors, before, sizeof(before));
	cr_expect(!memcmp(before, beyond, sizeof(before)));
	set_kit_read(&kit, bcfmt_ptr_sector(ref.ptr) - 1, before, sizeof(before));
	cr_expect(!memcmp(before, beyond, sizeof(before)));
	bcfmt_node_clear(&node);
	free(buf);
}

Test(write_node, a_full_node_and_one_word_more)
{
	struct bcfmt_node_ref ref = leaf_ref();
	uint32_t n = (kit.geo.node_sectors * 512 - 32) / 24;
	struct bcfmt_key *keys = calloc(n + 1, sizeof(*keys));
	struct bcfmt_node node;
	uint8_t *buf;

	for (uint32_t i = 0; i <= n; i++)
		keys[i] = set_kit_dirty(0, 8 * i, 8, data_ptr(i % 400));
	cr_expect_eq(bcfmt_node_write(&target, &ref, 5, keys, n), BCFMT_OK);
	read_node(&ref, &node, &buf);
	cr_expect_eq(node.fault, BCFMT_BSET_OK);
	cr_expect_eq(node.bsets[0].words, 3 * n);
	bcfmt_node_clear(&node);
	free(buf);
	write_expect_fault(bcfmt_node_write(&target, &ref, 5, keys, n + 1), BCFMT_E_ARG,
			   "do not fit");
	free(keys);
}

static void expect_ref(struct bcfmt_node_ref ref, const char *part)
{
	uint8_t before[512], after[512];

	set_kit_read(&kit, bcfmt_bucket_sector(&kit.geo, kit.free_bucket), before, 512);
	write_expect_fault(bcfmt_node_write(&target, &ref, 5, NULL, 0), BCFMT_E_ARG, part);
	set_kit_read(&kit, bcfmt_bucket_sector(&kit.geo, kit.free_bucket), after, 512);
	cr_expect(!memcmp(before, after, sizeof(before)));
}

Test(write_node, places_that_are_refused)
{
	struct bcfmt_node_ref ref = leaf_ref();

#define REF(field, value, part)                    \
	do {                                       \
		struct bcfmt_node_ref wrong = ref; \
		wrong.field = value;               \
		expect_ref(wrong, part);           \
	} while (0)
	REF(sectors, 0, "power of two");
	REF(sectors, 1, "power of two");
	REF(sectors, 12, "power of two");
	REF(sectors, 32, "power of two");
	REF(ptr, ref.ptr + (1 << 8), "no pointer to a node");
	REF(ptr, set_kit_ptr(&kit, 1, 0), "no pointer to a node");
	REF(ptr, set_kit_ptr(&kit, kit.geo.first_bucket, 0), "cannot hold a node");
	REF(ptr, set_kit_ptr(&kit, kit.geo.nbuckets - 1, 0) + (16 << 8), "no pointer to a node");
	REF(ptr, ref.ptr | 1ull << 51, "another member");
	REF(hi.sector, 500, "root");
	REF(lo, bcfmt_pos_max(), "range is empty");
	ref.sectors = 8;
	REF(ptr, ref.ptr + (8 << 8), "middle of a bucket");
	ref = leaf_ref();
	write_expect_fault(bcfmt_node_write(&target, &ref, 0, NULL, 0), BCFMT_E_ARG, "seq is 0");
	ref.level = 1;
	expect_ref(ref, "last child");
}

Test(write_node, keys_out_of_the_range)
{
	struct bcfmt_node_ref ref = leaf_ref();
	struct bcfmt_key key;

	ref.is_root = false;
	ref.lo = (struct bcfmt_pos){ 1, 100 };
	ref.hi = (struct bcfmt_pos){ 1, 200 };
	key = set_kit_dirty(1, 100, 16, data_ptr(0));
	cr_expect_eq(bcfmt_node_write(&target, &ref, 5, &key, 1), BCFMT_OK);
	key = set_kit_dirty(1, 184, 16, data_ptr(0));
	cr_expect_eq(bcfmt_node_write(&target, &ref, 5, &key, 1), BCFMT_OK);
	key = set_kit_dirty(1, 99, 16, data_ptr(0));
	write_expect_fault(bcfmt_node_write(&target, &ref, 5, &key, 1), BCFMT_E_ARG,
			   "lies before the end");
	key = set_kit_dirty(1, 185, 16, data_ptr(0));
	write_expect_fault(bcfmt_node_write(&target, &ref, 5, &key, 1), BCFMT_E_ARG,
			   "ends behind its node's range");
	key.high |= 3ull << 60;
	write_expect_fault(bcfmt_node_write(&target, &ref, 5, &key, 1), BCFMT_E_ARG,
			   "several pointers");
}

Test(write_node, interior_nodes)
{
	struct bcfmt_node_ref ref = leaf_ref();
	struct bcfmt_key keys[3];
	struct bcfmt_node node;
	uint8_t *buf;

	ref.level = 1;
	keys[0] = set_kit_child(&kit, (struct bcfmt_pos){ 0, 500 }, data_ptr(0));
	keys[1] = set_kit_child(&kit, (struct bcfmt_pos){ 3, 7 }, data_ptr(1));
	keys[2] = set_kit_last_child(&kit, data_ptr(2));
	cr_assert_eq(bcfmt_node_write(&target, &ref, 5, keys, 3), BCFMT_OK, "%s",
		     bcfmt_ctx_fault(write_ctx));
	read_node(&ref, &node, &buf);
	cr_expect_eq(node.bsets[0].words, 9);
	bcfmt_node_clear(&node);
	free(buf);
#define CHILDREN(n, part) \
	write_expect_fault(bcfmt_node_write(&target, &ref, 5, keys, n), BCFMT_E_ARG, part)
	CHILDREN(2, "last child does not end");
	keys[1] = keys[0];
	CHILDREN(3, "lies before the end");
	keys[1] = set_kit_child(&kit, (struct bcfmt_pos){ 0, 499 }, data_ptr(1));
	CHILDREN(3, "lies before the end");
	keys[0] = set_kit_child(&kit, (struct bcfmt_pos){ 0, 0 }, data_ptr(0));
	CHILDREN(3, "freed node");
	keys[0] = set_kit_dirty(0, 8, 8, data_ptr(0));
	CHILDREN(3, "no pointer to a node");
	keys[0] = set_kit_hole(0, 8, 8);
	CHILDREN(3, "no pointer to a node");
	keys[0] = set_kit_child(&kit, (struct bcfmt_pos){ 0, 5 }, set_kit_ptr(&kit, 4, 0));
	CHILDREN(3, "cannot hold a node");
	/* The range of a node that is no first one begins after the end of its sibling. */
	ref.lo = (struct bcfmt_pos){ 0, 500 };
	keys[0] = set_kit_child(&kit, (struct bcfmt_pos){ 0, 500 }, data_ptr(0));
	CHILDREN(3, "lies before the end");
}

/* ---- bsets as they are told ---- */

Test(write_node, bsets_without_rules)
{
	struct bcfmt_node_ref ref = leaf_ref();
	struct bcfmt_key keys[2] = { set_kit_dirty(0, 100, 8, data_ptr(0)),
				     set_kit_dirty(0, 16, 0, 5) };
	uint8_t raw[48], *buf, junk[1024];
	struct bcfmt_bset_raw bset = { .ptr = ref.ptr,
				       .node_sectors = ref.sectors,
				       .seq = 9,
				       .version = 0,
				       .words = bcfmt_keys_encode(keys, 2, raw),
				       .keys = raw };
	struct bcfmt_node node;

	memset(junk, 0xee, sizeof(junk));
	set_kit_write(&kit, bcfmt_ptr_sector(ref.ptr), junk, sizeof(junk));
	cr_assert_eq(bset.words, 6);
	cr_expect_eq(bcfmt_bset_write_raw(&target, &bset), BCFMT_OK);
	bset.block = 3;
	bset.version = 1;
	cr_expect_eq(bcfmt_bset_write_raw(&target, &bset), BCFMT_OK);
	read_node(&ref, &node, &buf);
	/* The hole between them is left, and so are the bytes behind the keys. */
	cr_expect_eq(node.fault, BCFMT_BSET_HOLE);
	cr_assert_eq(node.n_bsets, 2);
	cr_expect_eq(node.bsets[0].version, 0);
	cr_expect_eq(node.bsets[1].block, 3);
	cr_expect_eq(node.bsets[1].words, 6);
	for (size_t i = 32 + 8 * 6; i < sizeof(junk); i++)
		cr_assert_eq(buf[i], 0xee);
	bcfmt_node_clear(&node);
	free(buf);
	bset.seq = 0;
	cr_expect_eq(bcfmt_bset_write_raw(&target, &bset), BCFMT_OK);
}

Test(write_node, bsets_that_do_not_fit)
{
	struct bcfmt_node_ref ref = leaf_ref();
	uint8_t *raw = calloc(1, ref.sectors * 512u);
	uint32_t words = (ref.sectors * 512 - 32) / 8;
	struct bcfmt_bset_raw bset = {
		.ptr = ref.ptr, .node_sectors = ref.sectors, .seq = 9, .version = 1, .keys = raw
	};

	bset.words = words;
	cr_expect_eq(bcfmt_bset_write_raw(&target, &bset), BCFMT_OK);
	bset.words = words + 1;
	write_expect_fault(bcfmt_bset_write_raw(&target, &bset), BCFMT_E_ARG, "does not fit");
	bset.words = UINT32_MAX;
	write_expect_fault(bcfmt_bset_write_raw(&target, &bset), BCFMT_E_ARG, "does not fit");
	bset.words = 0;
	bset.keys = NULL;
	bset.block = ref.sectors / 2 - 1;
	cr_expect_eq(bcfmt_bset_write_raw(&target, &bset), BCFMT_OK);
	bset.block++;
	write_expect_fault(bcfmt_bset_write_raw(&target, &bset), BCFMT_E_ARG, "does not fit");
	bset.block = UINT32_MAX;
	write_expect_fault(bcfmt_bset_write_raw(&target, &bset), BCFMT_E_ARG, "does not fit");
	bset.block = 0;
	bset.version = 2;
	write_expect_fault(bcfmt_bset_write_raw(&target, &bset), BCFMT_E_ARG, "does not fit");
	free(raw);
}
