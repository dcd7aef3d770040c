/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Hints of what will be read soon: which reach a device, and which the walks give. */
#include "dev_help.h"

#include <pthread.h>

#include "base/checked.h"
#include "dev/dev_impl.h"
#include "kit/set_kit.h"
#include "set/tree_impl.h"

#define ASKED_MAX 1024u

/* Hands everything on and remembers what was asked for. */
struct listener {
	struct bcfmt_dev dev;
	struct bcfmt_dev *lower;
	pthread_mutex_t lock;
	struct asked {
		uint64_t offset_bytes, len_bytes;
	} asked[ASKED_MAX];
	size_t n;
	size_t n_unasked; /* reads of a node that nobody had asked for */
	uint64_t first_node_byte;
};

static struct listener listener;
static struct set_kit kit;

static bool was_asked(uint64_t offset_bytes)
{
	for (size_t i = 0; i < listener.n; i++)
		if (listener.asked[i].offset_bytes == offset_bytes)
			return true;
	return false;
}

static bcfmt_err on_read(struct bcfmt_dev *dev, uint64_t offset_bytes, void *buf, size_t len_bytes,
			 struct io_fault *fault)
{
	(void)dev;
	pthread_mutex_lock(&listener.lock);
	if (offset_bytes >= listener.first_node_byte && !was_asked(offset_bytes))
		listener.n_unasked++;
	pthread_mutex_unlock(&listener.lock);
	return dev_read_quiet(listener.lower, offset_bytes, buf, len_bytes, fault);
}

static void on_ask(struct bcfmt_dev *dev, uint64_t offset_bytes, uint64_t len_bytes)
{
	(void)dev;
	pthread_mutex_lock(&listener.lock);
	cr_assert_lt(listener.n, ASKED_MAX);
	listener.asked[listener.n++] = (struct asked){ offset_bytes, len_bytes };
	pthread_mutex_unlock(&listener.lock);
}

static void on_free(struct bcfmt_dev *dev)
{
	(void)dev;
	bcfmt_dev_free(listener.lower);
}

static const struct dev_ops listener_ops = {
	.read = on_read,
	.read_ahead = on_ask,
	.free = on_free,
};

static struct bcfmt_dev *listen(struct bcfmt_ctx *ctx, struct bcfmt_dev *lower)
{
	cr_assert_eq(dev_init_above(&listener.dev, &listener_ops, ctx, lower), BCFMT_OK);
	listener.lower = lower;
	listener.first_node_byte = UINT64_MAX;
	pthread_mutex_init(&listener.lock, NULL);
	return &listener.dev;
}

TestSuite(read_ahead, .init = help_begin, .fini = help_end);

Test(read_ahead, ends_with_the_device)
{
	struct bcfmt_dev *dev = listen(help_ctx, help_mem(4096, 1));

	dev_read_ahead(dev, 512, 1024);
	dev_read_ahead(dev, 3584, 1024);
	dev_read_ahead(dev, 4096, 512);
	dev_read_ahead(dev, UINT64_MAX - 511, UINT64_MAX);
	cr_assert_eq(listener.n, 2);
	cr_expect_eq(listener.asked[0].offset_bytes, 512);
	cr_expect_eq(listener.asked[0].len_bytes, 1024);
	cr_expect_eq(listener.asked[1].len_bytes, 512);
	bcfmt_dev_free(dev);
}

Test(read_ahead, a_device_of_no_such_use)
{
	struct bcfmt_dev *dev = help_mem(4096, 1);

	dev_read_ahead(dev, 0, 4096);
	bcfmt_dev_free(dev);
}

Test(read_ahead, passes_an_overlay)
{
	struct bcfmt_dev *lower = listen(help_ctx, help_mem(4096, 1)), *dev;

	cr_assert_eq(bcfmt_dev_overlay(help_ctx, lower, &dev), BCFMT_OK);
	dev_read_ahead(dev, 512, 8192);
	cr_assert_eq(listener.n, 1);
	cr_expect_eq(listener.asked[0].len_bytes, 3584);
	bcfmt_dev_free(dev);
	bcfmt_dev_free(lower);
}

Test(read_ahead, a_bad_disk_is_not_asked_for_bad_sectors)
{
	struct bcfmt_dev *dev;
	char path[HELP_PATH_BYTES];

	help_text("map", "0x0 + 1\n0 0x800 +\n0x800 0x200 -\n0xa00 0x600 +\n");
	cr_assert_eq(bcfmt_dev_badmap(help_ctx, listen(help_ctx, help_mem(4096, 1)),
				      help_path(path, "map"), &dev),
		     BCFMT_OK);
	dev_read_ahead(dev, 0x600, 0x200);
	dev_read_ahead(dev, 0x600, 0x201);
	dev_read_ahead(dev, 0x800, 0x200);
	dev_read_ahead(dev, 0x800, 0x800);
	dev_read_ahead(dev, 0xa00, 0x600);
	cr_assert_eq(listener.n, 2);
	cr_expect_eq(listener.asked[0].offset_bytes, 0x600);
	cr_expect_eq(listener.asked[1].offset_bytes, 0xa00);
	bcfmt_dev_free(dev);
}

/* A tree of two levels with this many leaves from bucket 100 on, each of one key. */
static void open_tree(uint32_t leaves, unsigned int threads, struct bcfmt_tree **tree)
{
	struct set_kit_shape shape = { .threads = threads };
	struct bcfmt_key *keys = calloc(leaves, sizeof(*keys));

	set_kit_init(&kit, &shape);
	for (uint32_t i = 0; i < leaves; i++) {
		struct bcfmt_key key =
			set_kit_clean(0, 100ull * i, 8, set_kit_ptr(&kit, 600 + i % 30, 0));
		/* Not in the order of their places. */
		uint64_t ptr = set_kit_node(&kit, 100 + (i * 7) % leaves, &key, 1);

		keys[i] =
			i + 1 < leaves
				? set_kit_child(&kit, (struct bcfmt_pos){ 0, 100ull * i + 50 }, ptr)
				: set_kit_last_child(&kit, ptr);
	}
	set_kit_tables(&kit);
	set_kit_first_jset(&kit, set_kit_node(&kit, kit.free_bucket, keys, leaves), 1);
	free(keys);
	kit.dev = listen(kit.ctx, kit.dev);
	listener.n = listener.n_unasked = 0;
	cr_assert_eq(set_kit_open(&kit), BCFMT_OK);
	listener.first_node_byte = 100ull * 16 * 512;
	cr_assert_eq(bcfmt_tree_open(kit.set, NULL, tree), BCFMT_OK);
}

Test(read_ahead, every_leaf_is_asked_for_once_and_in_time)
{
	for (unsigned int threads = 1; threads <= 3; threads++) {
		struct bcfmt_tree_visitor visitor = { .arg = NULL };
		struct bcfmt_tree *tree;
		bool again;
		size_t n_before;

		open_tree(300, threads, &tree);
		n_before = listener.n;
		cr_assert_eq(bcfmt_tree_walk_leaves(tree, &visitor, &again), BCFMT_OK);
		cr_expect_eq(listener.n - n_before, 300);
		for (uint32_t i = 0; i < 300; i++)
			cr_expect(was_asked((100ull + i) * 16 * 512));
		/* With several threads one may read what another is about to ask for. */
		if (threads == 1)
			cr_expect_eq(listener.n_unasked, 0);
		bcfmt_tree_free(tree);
		set_kit_clear(&kit);
	}
}

Test(read_ahead, a_range_asks_for_no_more)
{
	struct bcfmt_tree_visitor visitor = { .arg = NULL };
	struct bcfmt_tree *tree;
	size_t n_before;

	open_tree(300, 1, &tree);
	n_before = listener.n;
	cr_assert_eq(bcfmt_tree_range(tree, (struct bcfmt_pos){ 0, 1000 },
				      (struct bcfmt_pos){ 0, 2000 }, &visitor),
		     BCFMT_OK);
	cr_expect_eq(listener.n - n_before, 11);
	cr_expect_eq(listener.n_unasked, 0);
	bcfmt_tree_free(tree);
	set_kit_clear(&kit);
}
