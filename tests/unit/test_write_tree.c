/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Trees written from a stream of keys: of every shape, read back key by key; and what is refused. */
#include "write_help.h"

#include "base/checked.h"
#include "kit/set_kit.h"

TestSuite(write_tree, .init = write_begin, .fini = write_end);

struct shape {
	uint32_t block_sectors;
	uint32_t bucket_sectors;
	size_t n_keys;
	unsigned int fill_percent;
};

static struct bcfmt_dev *write_shape(const struct shape *shape, struct bcfmt_key **keys,
				     struct bcfmt_new_set *set)
{
	struct bcfmt_new_set_params params =
		write_params(shape->block_sectors, shape->bucket_sectors, shape->n_keys);
	uint64_t bytes;
	struct write_stream stream = { 0 };
	struct bcfmt_dev *dev;

	params.fill_percent = shape->fill_percent;
	if (shape->fill_percent)
		params.nbuckets += shape->n_keys / 5;
	bytes = params.nbuckets * shape->bucket_sectors * BCFMT_SECTOR_BYTES;
	cr_assert_eq(bcfmt_new_set_plan(write_ctx, bytes, 512, &params, set), BCFMT_OK, "%s",
		     bcfmt_ctx_fault(write_ctx));
	*keys = write_make_keys(set, shape->n_keys);
	dev = write_mem(bytes);
	stream = (struct write_stream){ *keys, shape->n_keys, 0 };
	cr_assert_eq(bcfmt_new_set_write(write_ctx, dev, &params, write_next, &stream, set),
		     BCFMT_OK, "%s", bcfmt_ctx_fault(write_ctx));
	return dev;
}

/* Returns what was written of the tree. */
static struct bcfmt_tree_written round_trip(const struct shape *shape)
{
	uint64_t node_bytes, fill = shape->fill_percent ? shape->fill_percent : 80;
	struct bcfmt_new_set made;
	struct bcfmt_key *keys;
	struct write_found found;
	struct bcfmt_dev *dev = write_shape(shape, &keys, &made);
	struct bcfmt_set *set = write_open_clean(&dev, 1);

	write_collect(set, &found);
	write_expect_keys(&found, keys, shape->n_keys);
	cr_expect_eq(made.tree.keys, shape->n_keys);
	cr_expect_eq(found.nodes, made.tree.nodes);
	cr_expect_leq(made.tree.nodes, made.node_buckets);
	cr_expect_eq(set->newest.btree_level, made.tree.level);
	cr_expect(!bcfmt_pos_cmp(bcfmt_key_end(&made.tree.root), bcfmt_pos_max()));
	/* No node is fuller than it may be; none but the last ones could take another key. */
	node_bytes = made.geo.node_sectors * 512ull;
	cr_expect_leq(32 + 8 * found.most_words, node_bytes * fill / 100);
	cr_expect_gt(32 + 8 * (found.least_words + 3), node_bytes * fill / 100);
	write_forget(&found);
	bcfmt_set_free(set);
	bcfmt_dev_free(dev);
	free(keys);
	return made.tree;
}

Test(write_tree, no_key_is_an_empty_leaf)
{
	struct bcfmt_tree_written tree = round_trip(&(struct shape){ 1, 16, 0, 0 });

	cr_expect_eq(tree.level, 0);
	cr_expect_eq(tree.nodes, 1);
	cr_expect_eq(tree.leaves, 1);
}

Test(write_tree, few_keys_are_one_leaf)
{
	for (size_t n = 1; n <= 8; n++) {
		struct bcfmt_tree_written tree = round_trip(&(struct shape){ 1, 16, n, 0 });

		cr_expect_eq(tree.level, 0);
		cr_expect_eq(tree.nodes, 1);
	}
}

/* 4 of 5 words of 4 KiB are 405; of five keys four have 3 words and one has 2. */
Test(write_tree, a_node_is_filled_to_the_last_word)
{
	struct bcfmt_tree_written tree;
	size_t n = 0, words = 0;

	while (words + (n % 5 == 4 ? 2 : 3) <= 405)
		words += n++ % 5 == 4 ? 2 : 3;
	for (size_t more = 0; more < 3; more++) {
		tree = round_trip(&(struct shape){ 1, 8, n + more, 0 });
		cr_expect_eq(tree.level, more != 0, "%zu keys", n + more);
		cr_expect_eq(tree.leaves, more ? 2 : 1, "%zu keys", n + more);
	}
	/* The same where the last key is a hole. */
	for (n = 140; n < 150; n++) {
		tree = round_trip(&(struct shape){ 1, 8, n, 0 });
		cr_expect_eq(tree.nodes, tree.leaves == 1 ? 1 : tree.leaves + 1);
	}
}

/* A level more begins with the one pointer that does not fit any longer. */
Test(write_tree, levels_begin_where_the_one_below_is_full)
{
	uint16_t level = 0;

	for (size_t n = 400; n < 1000; n += 9) {
		struct bcfmt_tree_written tree = round_trip(&(struct shape){ 1, 8, n, 10 });

		cr_expect_geq(tree.level, level);
		level = tree.level;
	}
	cr_expect_eq(level, 2);
}

Test(write_tree, a_hundred_thousand_keys, .timeout = 60)
{
	struct bcfmt_tree_written tree = round_trip(&(struct shape){ 1, 8, 100000, 0 });

	cr_expect_eq(tree.level, 2);
	cr_expect_gt(tree.leaves, 690);
}

Test(write_tree, five_levels, .timeout = 60)
{
	cr_expect_eq(round_trip(&(struct shape){ 1, 8, 60000, 10 }).level, 4);
}

Test(write_tree, geometries, .timeout = 60)
{
	static const struct shape shapes[] = {
		{ 1, 8, 500, 0 },     { 8, 8, 500, 0 },	      { 1, 64, 5000, 0 },
		{ 8, 64, 5000, 100 }, { 2, 128, 20000, 50 },  { 8, 1024, 30000, 0 },
		{ 8, 2048, 9000, 0 }, { 8, 4096, 40000, 99 }, { 4, 8192, 60000, 0 },
	};

	for (size_t i = 0; i < sizeof(shapes) / sizeof(shapes[0]); i++)
		round_trip(&shapes[i]);
}

/* ---- with buckets of the caller ---- */

static struct set_kit kit;

struct giver {
	uint64_t next;
	int step;
	uint64_t calls;
	uint64_t fail_at;
	bcfmt_err fail_with;
};

static bcfmt_err give(void *arg, uint64_t *bucket, uint8_t *gen)
{
	struct giver *giver = arg;

	if (++giver->calls == giver->fail_at)
		return giver->fail_with;
	*bucket = giver->next;
	*gen = (uint8_t)(1 + giver->calls % 200);
	if (kit.gens && *bucket < kit.geo.nbuckets)
		kit.gens[*bucket] = *gen;
	giver->next += (uint64_t)(int64_t)giver->step;
	return BCFMT_OK;
}

static struct bcfmt_tree_writer *start(struct giver *giver, uint64_t seed)
{
	struct bcfmt_target target = { write_ctx, kit.dev, &kit.geo };
	struct bcfmt_tree_writer_params params = { .bucket = give,
						   .bucket_arg = giver,
						   .seed = seed };
	struct bcfmt_tree_writer *writer;

	cr_assert_eq(bcfmt_tree_writer_new(&target, &params, &writer), BCFMT_OK);
	return writer;
}

static struct bcfmt_key nth_key(uint64_t i)
{
	return set_kit_dirty(0, 16 + 8 * i, 8, set_kit_ptr(&kit, 40 + i, 0));
}

static bcfmt_err add_keys(struct bcfmt_tree_writer *writer, uint64_t n)
{
	bcfmt_err err = BCFMT_OK;

	for (uint64_t i = 0; !err && i < n; i++) {
		struct bcfmt_key key = nth_key(i);

		err = bcfmt_tree_writer_add(writer, &key);
	}
	return err;
}

/* Nodes go where they are told, each with its own gen; a node's children before it. */
Test(write_tree, buckets_and_gens_of_the_caller)
{
	struct set_kit_shape shape = { .bucket_sectors = 8, .nbuckets = 2000 };
	struct giver giver = { .next = 1999, .step = -3 };
	struct bcfmt_tree_written tree;
	struct bcfmt_tree_writer *writer;
	struct set_kit_result result;

	set_kit_init(&kit, &shape);
	set_kit_backing(&kit, 0, BCFMT_BDEV_DIRTY, 1 << 16);
	for (uint64_t i = 40; i < 1500; i++)
		kit.gens[i] = 9;
	writer = start(&giver, 3);
	cr_assert_eq(add_keys(writer, 700), BCFMT_OK);
	cr_assert_eq(bcfmt_tree_writer_finish(writer, &tree), BCFMT_OK);
	bcfmt_tree_writer_free(writer);
	cr_expect_eq(tree.nodes, 7);
	cr_expect_eq(giver.calls, 7);
	cr_expect_eq(bcfmt_ptr_bucket(&kit.geo, tree.root.ptr), 1999 - 3 * 6);
	cr_expect_eq(bcfmt_ptr_gen(tree.root.ptr), 8);
	set_kit_tables(&kit);
	set_kit_first_jset(&kit, tree.root.ptr, tree.level);
	set_kit_check(&kit, BCFMT_LEVEL_FULL, &result);
	cr_expect_eq(set_kit_problems(&result, BCFMT_SEV_WASTE), 0, "%s",
		     set_kit_result_text(&result));
	cr_expect_eq(result.verdict.extents, 700);
	set_kit_result_clear(&result);
	set_kit_clear(&kit);
}

static void expect_refused(struct bcfmt_key first, struct bcfmt_key second, const char *part)
{
	struct giver giver = { .next = 30, .step = 1 };
	struct bcfmt_tree_writer *writer = start(&giver, 3);
	struct bcfmt_tree_written tree;

	cr_assert_eq(bcfmt_tree_writer_add(writer, &first), BCFMT_OK);
	write_expect_fault(bcfmt_tree_writer_add(writer, &second), BCFMT_E_ARG, part);
	/* What was begun cannot be finished without the key. */
	first = nth_key(500);
	cr_expect_eq(bcfmt_tree_writer_add(writer, &first), BCFMT_E_ARG);
	cr_expect_eq(bcfmt_tree_writer_finish(writer, &tree), BCFMT_E_ARG);
	cr_expect_eq(giver.calls, 0);
	bcfmt_tree_writer_free(writer);
}

Test(write_tree, keys_that_are_refused)
{
	uint64_t good = 0, data;
	struct bcfmt_key first, key;

	set_kit_init(&kit, &(struct set_kit_shape){ 0 });
	data = kit.free_bucket + 20;
	good = set_kit_ptr(&kit, data, 0);
	first = set_kit_dirty(1, 1000, 8, good);
#define REFUSED(k, part) expect_refused(first, k, part)
	REFUSED(set_kit_dirty(1, 992, 8, good), "1:992 len 8 -> [0:512 gen 1] dirty lies");
	REFUSED(set_kit_dirty(1, 992, 8, good), "before the end of the one before");
	REFUSED(set_kit_dirty(0, 5000, 8, good), "before the end of the one before");
	REFUSED(set_kit_dirty(1, 1000, 8, good), "before the end of the one before");
	REFUSED(set_kit_dirty(1, 1007, 8, good), "overlaps the one before");
	REFUSED(set_kit_hole(1, 1000, 100), "overlaps the one before");
	REFUSED(set_kit_dirty(1, 1008, 0, good), "has no size");
	REFUSED(set_kit_dirty(1, 1008, 17, good), "crosses the end of its bucket");
	REFUSED(set_kit_dirty(1, 1008, 8, set_kit_ptr(&kit, data, 9)), "crosses the end");
	REFUSED(set_kit_dirty(1, 1008, 8, bcfmt_ptr_make(0, 8, 1)), "before the first bucket");
	REFUSED(set_kit_dirty(1, 1008, 8, bcfmt_ptr_make(0, 640 * 16, 1)),
		"beyond the last bucket");
	REFUSED(set_kit_dirty(1, 1008, 8, set_kit_ptr(&kit, kit.geo.first_bucket + 7, 0)),
		"into the journal");
	REFUSED(set_kit_dirty(1, 1008, 8, good | 1ull << 51), "another member");
	REFUSED(set_kit_dirty(1, 1008, 8, good | 1ull << 63),
		"pointer with bits without a meaning");
	REFUSED(set_kit_clean(1, 1008, 8, good | 0xfffull << 51), "placeholder");
	REFUSED(set_kit_dirty(kit.geo.nr_uuids, 8, 8, good), "beyond the uuid table");
	REFUSED(bcfmt_key_make(2, 4, 8, true, true, good), "before sector 0");
	REFUSED(bcfmt_key_make(2, 1ull << 63, 8, true, true, good), "beyond the last sector");
	REFUSED(bcfmt_key_make(2, 800, 8, true, false, 0), "dirty and has no pointer");
	key = set_kit_dirty(1, 1008, 8, good);
	key.high |= 1ull << 61;
	REFUSED(key, "has several pointers");
	key.high = 0;
	REFUSED(key, "bits without a meaning");
	key = set_kit_dirty(1, 1008, 8, good);
	key.high |= 1ull << 56;
	REFUSED(key, "bits without a meaning");
	key.high = set_kit_dirty(1, 1008, 8, good).high & ~(1ull << 63);
	REFUSED(key, "bits without a meaning");
	set_kit_clear(&kit);
}

Test(write_tree, parameters_that_are_refused)
{
	struct bcfmt_tree_writer_params params = { .bucket = give, .fill_percent = 9 };
	struct bcfmt_target target = { write_ctx, NULL, NULL };
	struct bcfmt_tree_writer *writer;
	struct bcfmt_geometry tiny;

	set_kit_init(&kit, &(struct set_kit_shape){ 0 });
	target.dev = kit.dev;
	target.geo = &kit.geo;
	write_expect_fault(bcfmt_tree_writer_new(&target, &params, &writer), BCFMT_E_ARG,
			   "9 percent");
	cr_expect_null(writer);
	params.fill_percent = 101;
	write_expect_fault(bcfmt_tree_writer_new(&target, &params, &writer), BCFMT_E_ARG,
			   "101 percent");
	params.fill_percent = 10;
	tiny = kit.geo;
	tiny.node_sectors = 1;
	target.geo = &tiny;
	write_expect_fault(bcfmt_tree_writer_new(&target, &params, &writer), BCFMT_E_ARG,
			   "too small");
	bcfmt_tree_writer_free(NULL);
	set_kit_clear(&kit);
}

static void expect_failing(struct giver giver, bcfmt_err want, const char *part)
{
	struct bcfmt_tree_writer *writer = start(&giver, 3);
	struct bcfmt_tree_written tree;
	bcfmt_err err = add_keys(writer, 700);

	if (!err)
		err = bcfmt_tree_writer_finish(writer, &tree);
	write_expect_fault(err, want, part);
	cr_expect_eq(bcfmt_tree_writer_finish(writer, &tree), want);
	cr_expect_eq(tree.nodes, 0);
	bcfmt_tree_writer_free(writer);
}

Test(write_tree, buckets_that_are_refused_or_run_out)
{
	struct set_kit_shape shape = { .bucket_sectors = 8, .nbuckets = 2000 };

	set_kit_init(&kit, &shape);
	for (uint64_t call = 1; call <= 7; call++)
		expect_failing((struct giver){ 1000, 1, 0, call, BCFMT_E_NOTFOUND },
			       BCFMT_E_NOTFOUND, "");
	expect_failing((struct giver){ .next = 0, .step = 1 }, BCFMT_E_ARG, "bucket 0 given");
	expect_failing((struct giver){ .next = kit.geo.first_bucket, .step = 1 }, BCFMT_E_ARG,
		       "cannot hold one");
	expect_failing((struct giver){ .next = 1997, .step = 1 }, BCFMT_E_ARG, "bucket 2000 given");
	write_cancelled = 1;
	expect_failing((struct giver){ .next = 1000, .step = 1 }, BCFMT_E_CANCELLED, "");
	set_kit_clear(&kit);
}

Test(write_tree, nothing_comes_after_the_end)
{
	struct giver giver = { .next = 1000, .step = 1 };
	struct set_kit_shape shape = { .bucket_sectors = 8, .nbuckets = 2000 };
	struct bcfmt_tree_writer *writer;
	struct bcfmt_tree_written tree;

	set_kit_init(&kit, &shape);
	writer = start(&giver, 3);
	cr_expect_eq(bcfmt_tree_writer_finish(writer, &tree), BCFMT_OK);
	cr_expect_eq(add_keys(writer, 1), BCFMT_E_ARG);
	cr_expect_eq(bcfmt_tree_writer_finish(writer, &tree), BCFMT_E_ARG);
	cr_expect_eq(giver.calls, 1);
	bcfmt_tree_writer_free(writer);
	set_kit_clear(&kit);
}

/* ---- bytes ---- */

/* The bytes of a cache; to be freed. */
static uint8_t *image_of(uint64_t seed, size_t *len_bytes)
{
	struct set_kit_shape shape = { .bucket_sectors = 8, .nbuckets = 2000 };
	struct giver giver = { .next = 1000, .step = 1 };
	struct bcfmt_tree_written tree;
	struct bcfmt_tree_writer *writer;
	uint8_t *bytes;

	set_kit_init(&kit, &shape);
	writer = start(&giver, seed);
	cr_assert_eq(add_keys(writer, 700), BCFMT_OK);
	cr_assert_eq(bcfmt_tree_writer_finish(writer, &tree), BCFMT_OK);
	bcfmt_tree_writer_free(writer);
	*len_bytes = (size_t)bcfmt_dev_bytes(kit.dev);
	bytes = malloc(*len_bytes);
	set_kit_read(&kit, 0, bytes, *len_bytes);
	set_kit_clear(&kit);
	return bytes;
}

Test(write_tree, one_seed_one_image)
{
	size_t len_bytes;
	uint8_t *first = image_of(5, &len_bytes), *again = image_of(5, &len_bytes);
	uint8_t *other = image_of(6, &len_bytes);

	cr_expect(!memcmp(first, again, len_bytes));
	cr_expect(memcmp(first, other, len_bytes));
	free(again);
	free(other);
	/* Without a seed no two are alike. */
	again = image_of(0, &len_bytes);
	other = image_of(0, &len_bytes);
	cr_expect(memcmp(again, other, len_bytes));
	free(first);
	free(again);
	free(other);
}

/* Each write of the seven nodes fails once. */
Test(write_tree, every_write_fails_once)
{
	struct set_kit_shape shape = { .bucket_sectors = 8, .nbuckets = 2000 };
	struct giver giver = { .next = 1000, .step = 1 };
	uint64_t failed = 0;

	for (uint64_t at = 1; at <= 8; at++) {
		struct bcfmt_dev_faults faults = { .fail_write = at, .once = true };
		struct bcfmt_tree_writer *writer;
		struct bcfmt_tree_written tree;
		bcfmt_err err;

		set_kit_init(&kit, &shape);
		cr_assert_eq(bcfmt_dev_faulty(write_ctx, kit.dev, &faults, &kit.dev), BCFMT_OK);
		writer = start(&giver, 3);
		err = add_keys(writer, 700);
		if (!err)
			err = bcfmt_tree_writer_finish(writer, &tree);
		failed += err != BCFMT_OK;
		if (err)
			write_expect_fault(err, BCFMT_E_IO, "injected failure");
		cr_expect_eq(err != BCFMT_OK, at < 8);
		bcfmt_tree_writer_free(writer);
		set_kit_clear(&kit);
		giver = (struct giver){ .next = 1000, .step = 1 };
	}
	cr_expect_eq(failed, 7);
}

/* The number of nodes never passes what was set aside, nor is it far from it. */
Test(write_tree, nodes_are_counted_beforehand)
{
	struct bcfmt_geometry geo = { .node_sectors = 8 };

	cr_expect_eq(bcfmt_tree_nodes_max(&geo, 0, 0), 1);
	cr_expect_eq(bcfmt_tree_nodes_max(&geo, 0, 135), 1);
	cr_expect_eq(bcfmt_tree_nodes_max(&geo, 0, 136), 3);
	cr_expect_eq(bcfmt_tree_nodes_max(&geo, 0, 135 * 135), 136);
	cr_expect_eq(bcfmt_tree_nodes_max(&geo, 0, 135 * 135 + 1), 136 + 1 + 2);
	cr_expect_eq(bcfmt_tree_nodes_max(&geo, 100, 169), 1);
	/* Nodes without room would never come to an end. */
	geo.node_sectors = 1;
	cr_expect_gt(bcfmt_tree_nodes_max(&geo, 10, 1000), 999);
}
