/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Reads ahead of their turn: around the page cache, in a ring, and in a walk. */
#include "dev_help.h"

#include <fcntl.h>
#include <pthread.h>

#include "base/checked.h"
#include "dev/ahead.h"
#include "dev/around.h"
#include "kit/set_kit.h"
#include "set/tree_impl.h"

#define PIECE_BYTES 65536u
#define PIECES 700u /* more than twice round the ring */
#define BAD_PIECE 301u
#define NEAR_PIECE 302u
#define ALIGN 4096u

/* Pieces whose first bytes tell their place; one cannot be read around, one is near. */
struct ring_dev {
	struct bcfmt_dev dev;
	size_t n_around;  /* atomic */
	size_t n_asked;	  /* atomic */
	size_t in_flight; /* atomic */
	size_t in_flight_max;
};

static struct ring_dev ring_dev;

static bool ring_is_far(struct bcfmt_dev *dev, uint64_t offset_bytes, uint64_t len_bytes)
{
	(void)dev;
	(void)len_bytes;
	return offset_bytes / PIECE_BYTES != NEAR_PIECE;
}

static bool ring_read_around(struct bcfmt_dev *dev, uint64_t offset_bytes, void *buf,
			     size_t len_bytes)
{
	size_t in_flight = __atomic_add_fetch(&ring_dev.in_flight, 1, __ATOMIC_SEQ_CST);
	size_t seen = __atomic_load_n(&ring_dev.in_flight_max, __ATOMIC_SEQ_CST);
	bool is_read = offset_bytes / PIECE_BYTES != BAD_PIECE;

	(void)dev;
	while (seen < in_flight &&
	       !__atomic_compare_exchange_n(&ring_dev.in_flight_max, &seen, in_flight, false,
					    __ATOMIC_SEQ_CST, __ATOMIC_SEQ_CST))
		;
	cr_expect_eq((uintptr_t)buf % ALIGN, 0);
	cr_expect_leq(len_bytes, PIECE_BYTES);
	usleep(500);
	if (is_read)
		memcpy(buf, &offset_bytes, sizeof(offset_bytes));
	__atomic_add_fetch(&ring_dev.n_around, 1, __ATOMIC_SEQ_CST);
	__atomic_sub_fetch(&ring_dev.in_flight, 1, __ATOMIC_SEQ_CST);
	return is_read;
}

static void ring_ask(struct bcfmt_dev *dev, uint64_t offset_bytes, uint64_t len_bytes)
{
	(void)dev;
	(void)offset_bytes;
	(void)len_bytes;
	__atomic_add_fetch(&ring_dev.n_asked, 1, __ATOMIC_SEQ_CST);
}

static void ring_free(struct bcfmt_dev *dev)
{
	(void)dev;
}

static const struct dev_ops ring_ops = {
	.read_ahead = ring_ask,
	.is_far = ring_is_far,
	.read_around = ring_read_around,
	.free = ring_free,
};

static struct bcfmt_dev *new_ring_dev(void)
{
	memset(&ring_dev, 0, sizeof(ring_dev));
	cr_assert_eq(dev_init(&ring_dev.dev, &ring_ops, help_ctx, "ring",
			      (uint64_t)PIECES * PIECE_BYTES),
		     BCFMT_OK);
	return &ring_dev.dev;
}

/* Every tenth has nothing to be read. */
static void piece_place(void *arg, size_t i, uint64_t *offset_bytes, size_t *len_bytes)
{
	(void)arg;
	*offset_bytes = (uint64_t)i * PIECE_BYTES;
	*len_bytes = i % 10 == 9 ? 0 : PIECE_BYTES - i % 3 * 512;
}

struct taker {
	struct ahead *ahead;
	size_t next; /* atomic */
	size_t end;
	size_t n_read; /* atomic */
};

static void *take_some(void *arg)
{
	struct taker *taker = arg;
	size_t i;

	while ((i = __atomic_fetch_add(&taker->next, 1, __ATOMIC_SEQ_CST)) < taker->end) {
		const void *buf = ahead_take(taker->ahead, i);
		uint64_t offset_bytes;

		cr_expect_eq(!buf, i % 10 == 9 || i == BAD_PIECE || i == NEAR_PIECE, "%zu", i);
		if (buf) {
			/* A slot that is given to another piece too early would change here. */
			usleep(i % 7 ? 0 : 300);
			memcpy(&offset_bytes, buf, sizeof(offset_bytes));
			cr_expect_eq(offset_bytes, (uint64_t)i * PIECE_BYTES);
			__atomic_add_fetch(&taker->n_read, 1, __ATOMIC_SEQ_CST);
		}
		ahead_give(taker->ahead, i);
	}
	return NULL;
}

TestSuite(ahead, .init = help_begin, .fini = help_end, .timeout = 60);

Test(ahead, every_piece_comes_in_its_turn)
{
	struct bcfmt_dev *dev = new_ring_dev();

	for (unsigned int n_threads = 1; n_threads <= 5; n_threads += 2) {
		struct taker taker = { .end = PIECES };
		pthread_t threads[5];

		taker.ahead = ahead_start(dev, PIECE_BYTES, PIECES, piece_place, NULL);
		cr_assert_not_null(taker.ahead);
		for (unsigned int i = 0; i < n_threads; i++)
			cr_assert_eq(pthread_create(&threads[i], NULL, take_some, &taker), 0);
		for (unsigned int i = 0; i < n_threads; i++)
			pthread_join(threads[i], NULL);
		ahead_stop(taker.ahead);
		cr_expect_eq(taker.n_read, PIECES - PIECES / 10 - 2);
	}
	cr_expect_gt(ring_dev.in_flight_max, 1);
	/* What is left to the caller is asked for all the same. */
	cr_expect_eq(ring_dev.n_asked, 3 * 2);
	bcfmt_dev_free(dev);
}

Test(ahead, an_end_before_the_last_piece)
{
	struct bcfmt_dev *dev = new_ring_dev();

	for (size_t end = 0; end < 20; end += 5) {
		struct taker taker = { .end = end };

		taker.ahead = ahead_start(dev, PIECE_BYTES, PIECES, piece_place, NULL);
		cr_assert_not_null(taker.ahead);
		take_some(&taker);
		ahead_stop(taker.ahead);
	}
	/* Nobody has read more than fits the ring. */
	cr_expect_leq(ring_dev.n_around, 4 * (256 + 20));
	bcfmt_dev_free(dev);
}

Test(ahead, pieces_of_a_size_that_does_not_pay)
{
	struct bcfmt_dev *dev = new_ring_dev();

	cr_expect_null(ahead_start(dev, PIECE_BYTES - 512, PIECES, piece_place, NULL));
	cr_expect_null(ahead_start(dev, 64u << 20, PIECES, piece_place, NULL));
	bcfmt_dev_free(dev);
}

/* ---- around the page cache ---- */

#define FILE_BYTES (1u << 20)

/* A file out of the page cache, opened; NULL where its file system lacks O_DIRECT. */
static struct bcfmt_dev *far_file(void)
{
	uint8_t *bytes = malloc(FILE_BYTES);
	char path[HELP_PATH_BYTES];
	struct bcfmt_dev *dev;
	int fd;

	help_fill(bytes, 0, FILE_BYTES, 1);
	help_file("far", bytes, FILE_BYTES);
	free(bytes);
	fd = open(help_path(path, "far"), O_RDONLY | O_DIRECT | O_CLOEXEC);
	if (fd < 0)
		return NULL;
	cr_assert_eq(fsync(fd), 0);
	cr_assert_eq(posix_fadvise(fd, 0, 0, POSIX_FADV_DONTNEED), 0);
	close(fd);
	cr_assert_eq(bcfmt_dev_open(help_ctx, path, BCFMT_OPEN_WRITE, &dev), BCFMT_OK);
	if (dev_is_far(dev, 0, FILE_BYTES))
		return dev;
	bcfmt_dev_free(dev);
	return NULL;
}

static void expect_around(struct bcfmt_dev *dev, uint64_t offset_bytes, size_t len_bytes,
			  unsigned int seed)
{
	uint8_t *got = aligned_alloc(ALIGN, FILE_BYTES), *want = malloc(FILE_BYTES);

	help_fill(want, offset_bytes, len_bytes, seed);
	memset(got, 0xee, FILE_BYTES);
	cr_expect(dev_read_around(dev, offset_bytes, got, len_bytes));
	cr_expect_arr_eq(got, want, len_bytes);
	free(got);
	free(want);
}

Test(ahead, around_the_page_cache)
{
	struct bcfmt_dev *dev = far_file();

	if (!dev)
		cr_skip_test("no O_DIRECT there");
	expect_around(dev, 65536, 262144, 1);
	/* Nothing of it was kept, and beyond the end there is nothing. */
	cr_expect(dev_is_far(dev, 65536, 262144));
	cr_expect_not(dev_is_far(dev, FILE_BYTES - 512, 1024));
	cr_expect_not(dev_is_far(dev, 0, 0));
	bcfmt_dev_free(dev);
}

Test(ahead, most_of_a_range_decides)
{
	struct bcfmt_dev *dev = far_file();
	uint8_t bytes[65536] = { 1 };

	if (!dev)
		cr_skip_test("no O_DIRECT there");
	/* Whole pages are written without reading any. */
	cr_assert_eq(bcfmt_dev_write(dev, 65536, bytes, sizeof(bytes)), BCFMT_OK);
	cr_expect(dev_is_far(dev, 0, FILE_BYTES));
	cr_expect(dev_is_far(dev, 65536, 3 * 65536));
	cr_expect_not(dev_is_far(dev, 65536, 2 * 65536));
	cr_expect_not(dev_is_far(dev, 61440, 69632));
	bcfmt_dev_free(dev);
}

Test(ahead, what_was_read_or_written_is_near)
{
	struct bcfmt_dev *dev = far_file();
	uint8_t *bytes = malloc(FILE_BYTES);

	if (!dev)
		cr_skip_test("no O_DIRECT there");
	help_fill(bytes, 0, FILE_BYTES, 2);
	cr_assert_eq(bcfmt_dev_write(dev, 0, bytes, FILE_BYTES), BCFMT_OK);
	cr_expect_not(dev_is_far(dev, 0, FILE_BYTES));
	/* What only the page cache has is read all the same. */
	expect_around(dev, 262144, 131072, 2);
	free(bytes);
	bcfmt_dev_free(dev);
}

/* A repair reads them again and again. */
Test(ahead, nodes_below_an_overlay_stay_in_memory)
{
	struct bcfmt_dev *lower = far_file(), *dev;
	uint8_t *buf = aligned_alloc(ALIGN, FILE_BYTES);

	if (!lower)
		cr_skip_test("no O_DIRECT there");
	cr_assert_eq(bcfmt_dev_overlay(help_ctx, lower, &dev), BCFMT_OK);
	cr_expect_not(dev_is_far(dev, 0, FILE_BYTES));
	cr_expect_not(dev_read_around(dev, 0, buf, FILE_BYTES));
	free(buf);
	bcfmt_dev_free(dev);
	bcfmt_dev_free(lower);
}

Test(ahead, bad_sectors_are_left_to_the_map)
{
	struct bcfmt_dev *lower = far_file(), *dev;
	char path[HELP_PATH_BYTES];

	if (!lower)
		cr_skip_test("no O_DIRECT there");
	help_text("map", "0x0 + 1\n0 0x20000 +\n0x20000 0x200 -\n0x20200 0xdfe00 +\n");
	cr_assert_eq(bcfmt_dev_badmap(help_ctx, lower, help_path(path, "map"), &dev), BCFMT_OK);
	cr_expect(dev_is_far(dev, 0, 0x20000));
	cr_expect_not(dev_is_far(dev, 0, 0x20200));
	cr_expect_not(dev_read_around(dev, 0, path, 0x20200));
	expect_around(dev, 0x10000, 0x10000, 1);
	bcfmt_dev_free(dev);
}

/* ---- the walk ---- */

#define LEAVES 60u

static struct set_kit kit;

/* Stands on the device of the kit and has all of it far. */
struct far_dev {
	struct bcfmt_dev dev;
	struct bcfmt_dev *lower;
	uint64_t first_leaf_byte;
	uint64_t near_from_byte;
	size_t n_around; /* atomic */
	size_t n_read;	 /* atomic; of leaves */
	uint64_t fail_at;
};

static struct far_dev far;

static bcfmt_err far_read(struct bcfmt_dev *dev, uint64_t offset_bytes, void *buf, size_t len_bytes,
			  struct io_fault *fault)
{
	(void)dev;
	if (offset_bytes >= far.first_leaf_byte)
		__atomic_add_fetch(&far.n_read, 1, __ATOMIC_SEQ_CST);
	return dev_read_quiet(far.lower, offset_bytes, buf, len_bytes, fault);
}

static bool far_is_far(struct bcfmt_dev *dev, uint64_t offset_bytes, uint64_t len_bytes)
{
	(void)dev;
	(void)len_bytes;
	return offset_bytes < far.near_from_byte;
}

static bool far_read_around(struct bcfmt_dev *dev, uint64_t offset_bytes, void *buf,
			    size_t len_bytes)
{
	struct io_fault fault;

	(void)dev;
	if (offset_bytes == far.fail_at)
		return false;
	__atomic_add_fetch(&far.n_around, 1, __ATOMIC_SEQ_CST);
	return !dev_read_quiet(far.lower, offset_bytes, buf, len_bytes, &fault);
}

static void far_free(struct bcfmt_dev *dev)
{
	(void)dev;
	bcfmt_dev_free(far.lower);
}

static const struct dev_ops far_ops = {
	.read = far_read,
	.is_far = far_is_far,
	.read_around = far_read_around,
	.free = far_free,
};

/* A tree of leaves of 64 KiB from bucket 100 on, each of one extent, on a device that is far. */
static void open_far_tree(unsigned int threads, struct bcfmt_tree **tree)
{
	struct set_kit_shape shape = { .threads = threads, .bucket_sectors = 128, .nbuckets = 240 };
	struct bcfmt_key keys[LEAVES];

	set_kit_init(&kit, &shape);
	for (uint32_t i = 0; i < LEAVES; i++) {
		struct bcfmt_key key =
			set_kit_clean(0, 100ull * i, 8, set_kit_ptr(&kit, 200 + i % 30, 0));
		uint64_t ptr = set_kit_node(&kit, 100 + (i * 7) % LEAVES, &key, 1);

		keys[i] =
			i + 1 < LEAVES
				? set_kit_child(&kit, (struct bcfmt_pos){ 0, 100ull * i + 50 }, ptr)
				: set_kit_last_child(&kit, ptr);
	}
	set_kit_tables(&kit);
	set_kit_first_jset(&kit, set_kit_node(&kit, kit.free_bucket, keys, LEAVES), 1);
	memset(&far, 0, sizeof(far));
	cr_assert_eq(dev_init_above(&far.dev, &far_ops, kit.ctx, kit.dev), BCFMT_OK);
	far.lower = kit.dev;
	far.first_leaf_byte = 100ull * 65536;
	far.near_from_byte = UINT64_MAX;
	kit.dev = &far.dev;
	cr_assert_eq(set_kit_open(&kit), BCFMT_OK);
	cr_assert_eq(bcfmt_tree_open(kit.set, NULL, tree), BCFMT_OK);
	far.n_read = 0;
}

struct seen {
	size_t n_leaves;
	size_t n_extents;
	uint64_t sum;
};

static bcfmt_err see_leaf(void *arg, const struct bcfmt_node_view *view,
			  const struct bcfmt_extent *extents, size_t n_extents)
{
	struct seen *seen = arg;

	cr_expect_eq(view->bad.sectors, 0);
	__atomic_add_fetch(&seen->n_leaves, 1, __ATOMIC_SEQ_CST);
	__atomic_add_fetch(&seen->n_extents, n_extents, __ATOMIC_SEQ_CST);
	for (size_t i = 0; i < n_extents; i++)
		__atomic_add_fetch(&seen->sum, extents[i].start_sector, __ATOMIC_SEQ_CST);
	return BCFMT_OK;
}

static bcfmt_err fail_at_a_leaf(void *arg, const struct bcfmt_node_view *view,
				const struct bcfmt_extent *extents, size_t n_extents)
{
	bcfmt_err err = see_leaf(arg, view, extents, n_extents);

	return view->ref->hi.sector == 1050 ? BCFMT_E_DAMAGED : err;
}

Test(ahead, a_walk_reads_far_leaves_ahead)
{
	for (unsigned int threads = 1; threads <= 3; threads++) {
		struct seen seen = { 0 };
		struct bcfmt_tree_visitor visitor = { .arg = &seen, .leaf = see_leaf };
		struct bcfmt_tree *tree;
		bool again;

		open_far_tree(threads, &tree);
		/* One of them is left to the walk. */
		far.fail_at = 120ull * 65536;
		cr_assert_eq(bcfmt_tree_walk_leaves(tree, &visitor, &again), BCFMT_OK);
		cr_expect_eq(far.n_around, LEAVES - 1);
		cr_expect_eq(far.n_read, 1);
		cr_expect_eq(seen.n_leaves, LEAVES);
		cr_expect_eq(seen.n_extents, LEAVES);
		cr_expect_eq(seen.sum, 100ull * LEAVES * (LEAVES - 1) / 2);
		bcfmt_tree_free(tree);
		set_kit_clear(&kit);
	}
}

/* A few that are not in memory are asked for like all others. */
Test(ahead, a_walk_over_leaves_most_of_which_are_near)
{
	struct seen seen = { 0 };
	struct bcfmt_tree_visitor visitor = { .arg = &seen, .leaf = see_leaf };
	struct bcfmt_tree *tree;
	bool again;

	open_far_tree(2, &tree);
	far.near_from_byte = (100ull + LEAVES / 3) * 65536;
	cr_assert_eq(bcfmt_tree_walk_leaves(tree, &visitor, &again), BCFMT_OK);
	cr_expect_eq(far.n_around, 0);
	cr_expect_eq(far.n_read, LEAVES);
	cr_expect_eq(seen.n_leaves, LEAVES);
	bcfmt_tree_free(tree);
	set_kit_clear(&kit);
}

Test(ahead, a_walk_that_fails_ends_the_reading)
{
	for (unsigned int threads = 1; threads <= 3; threads++) {
		struct seen seen = { 0 };
		struct bcfmt_tree_visitor visitor = { .arg = &seen, .leaf = fail_at_a_leaf };
		struct bcfmt_tree *tree;
		bool again;

		open_far_tree(threads, &tree);
		cr_expect_eq(bcfmt_tree_walk_leaves(tree, &visitor, &again), BCFMT_E_DAMAGED);
		cr_expect_lt(seen.n_leaves, LEAVES);
		bcfmt_tree_free(tree);
		set_kit_clear(&kit);
	}
}
