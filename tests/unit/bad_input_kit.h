/* SPDX-License-Identifier: GPL-2.0-or-later */
/* A healthy set with everything in it, to be damaged, and limits of time and memory. */
#ifndef BAD_INPUT_KIT_H
#define BAD_INPUT_KIT_H

#include <criterion/criterion.h>

#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>

#include "kit/set_kit.h"

#if defined(__SANITIZE_ADDRESS__)
#define BAD_SANITIZED 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
#define BAD_SANITIZED 1
#endif
#endif

/*
 * The set is 6 MiB and a check of it takes milliseconds. A sanitizer needs several times that, and
 * keeps what was freed.
 */
#define BAD_MIB (1ull << 20)
#ifdef BAD_SANITIZED
#define BAD_PEAK_BYTES	  (1024 * BAD_MIB)
#define BAD_CHECK_SECONDS 20.0
#else
#define BAD_PEAK_BYTES	  (256 * BAD_MIB)
#define BAD_CHECK_SECONDS 4.0
#endif
#define BAD_TEST_SECONDS 110u

#define BAD_BACKING_SECTORS 16384u
#define BAD_INODES	    2u /* the first has dirty data, the second only clean */
#define BAD_LEAVES	    4u

static struct set_kit bad_kit;
static uint8_t *bad_image; /* the healthy cache */
static size_t bad_bytes;
static uint64_t bad_root, bad_interior[2], bad_leaf[BAD_LEAVES], bad_data[BAD_LEAVES + 1];
static uint64_t bad_jset_sector[3];

static inline double bad_cpu_seconds(void)
{
	struct rusage usage;

	getrusage(RUSAGE_SELF, &usage);
	return (double)(usage.ru_utime.tv_sec + usage.ru_stime.tv_sec) +
	       (double)(usage.ru_utime.tv_usec + usage.ru_stime.tv_usec) / 1e6;
}

static inline void bad_limit(void)
{
	struct rlimit seconds = { BAD_TEST_SECONDS, BAD_TEST_SECONDS };
#ifndef BAD_SANITIZED
	struct rlimit bytes = { 2 * BAD_PEAK_BYTES, 2 * BAD_PEAK_BYTES };

	cr_assert_eq(setrlimit(RLIMIT_AS, &bytes), 0);
#endif
	cr_assert_eq(setrlimit(RLIMIT_CPU, &seconds), 0);
}

static inline uint64_t bad_take_bucket(void)
{
	return bad_kit.free_bucket++;
}

/* Leaf i: dirty data of inode 0 in the first two, clean data of inode 1 in the others. */
static inline void bad_add_leaf(uint32_t i)
{
	uint32_t inode = i / 2;
	uint64_t start = 1000ull * (i % 2 + 1);
	struct bcfmt_key keys[3];

	bad_data[i] = bad_take_bucket();
	keys[0] = bcfmt_key_make(inode, start + 2, 2, !inode, true,
				 set_kit_ptr(&bad_kit, bad_data[i], 0));
	keys[1] = bcfmt_key_make(inode, start + 6, 3, !inode, true,
				 set_kit_ptr(&bad_kit, bad_data[i], 2));
	keys[2] = set_kit_hole(inode, start + 10, 4);
	bad_leaf[i] = set_kit_node(&bad_kit, bad_take_bucket(), keys, 3);
}

static inline void bad_add_tree(void)
{
	static const struct bcfmt_pos ends[BAD_LEAVES] = {
		{ 0, 1500 },
		{ 0, 9000 },
		{ 1, 1500 },
		{ BCFMT_KEY_MAX_INODE, BCFMT_KEY_MAX_OFFSET },
	};
	struct bcfmt_key keys[2];

	for (uint32_t i = 0; i < BAD_LEAVES; i++)
		bad_add_leaf(i);
	for (uint32_t i = 0; i < 2; i++) {
		keys[0] = set_kit_child(&bad_kit, ends[2 * i], bad_leaf[2 * i]);
		keys[1] = set_kit_child(&bad_kit, ends[2 * i + 1], bad_leaf[2 * i + 1]);
		bad_interior[i] = set_kit_node(&bad_kit, bad_take_bucket(), keys, 2);
	}
	keys[0] = set_kit_child(&bad_kit, ends[1], bad_interior[0]);
	keys[1] = set_kit_last_child(&bad_kit, bad_interior[1]);
	bad_root = set_kit_node(&bad_kit, bad_take_bucket(), keys, 2);
}

/* Three entries in ring bucket 1, two of them to be replayed. */
static inline void bad_add_journal(void)
{
	uint64_t ring_sector = bcfmt_bucket_sector(&bad_kit.geo, bad_kit.geo.first_bucket + 1ull);
	struct bcfmt_key keys[2];
	struct set_kit_jset jset = { .ring_index = 1, .seq = 1, .root_ptr = bad_root, .level = 2 };

	bad_data[BAD_LEAVES] = bad_take_bucket();
	keys[0] = set_kit_dirty(0, 3000, 2, set_kit_ptr(&bad_kit, bad_data[BAD_LEAVES], 0));
	keys[1] = set_kit_dirty(0, 1400, 4, set_kit_ptr(&bad_kit, bad_data[BAD_LEAVES], 2));
	jset.keys = keys;
	for (uint32_t i = 0; i < 3; i++) {
		bad_jset_sector[i] = ring_sector + jset.sector;
		jset.sector = set_kit_jset(&bad_kit, &jset);
		jset.seq++;
		jset.last_seq = 2;
		jset.n_keys = i + 1 < 2 ? 1 : 2;
	}
}

/* Called before every test. */
static inline void bad_begin(void)
{
	struct set_kit_shape shape = { .bucket_sectors = 8, .nbuckets = 1400 };

	bad_limit();
	set_kit_init(&bad_kit, &shape);
	for (uint32_t i = 0; i < BAD_INODES; i++)
		set_kit_backing(&bad_kit, i, i ? BCFMT_BDEV_CLEAN : BCFMT_BDEV_DIRTY,
				BAD_BACKING_SECTORS);
	bad_add_tree();
	set_kit_tables(&bad_kit);
	bad_add_journal();
	bad_bytes = (size_t)bcfmt_dev_bytes(bad_kit.dev);
	bad_image = malloc(bad_bytes);
	set_kit_read(&bad_kit, 0, bad_image, bad_bytes);
}

static inline void bad_end(void)
{
	struct rusage usage;

	set_kit_clear(&bad_kit);
	free(bad_image);
	getrusage(RUSAGE_SELF, &usage);
	cr_expect_lt((unsigned long long)usage.ru_maxrss * 1024, BAD_PEAK_BYTES,
		     "%ld KiB were in use at once", usage.ru_maxrss);
}

static inline void bad_clear(struct set_kit_result *result)
{
	bcfmt_set_free(bad_kit.set);
	bad_kit.set = NULL;
	set_kit_result_clear(result);
}

/*
 * Checks cache (NULL: the kit's own) with both backing devices, and what has to hold whatever is
 * wrong: it ends in time, without an error, the findings fit the table, and what was not read is
 * not called sure or safe. what names the damage. Ends with bad_clear().
 */
static inline void bad_check_level(struct bcfmt_dev *cache, enum bcfmt_check_level level,
				   const char *what, struct set_kit_result *out)
{
	struct bcfmt_dev *devs[] = { cache ? cache : bad_kit.dev, bad_kit.backing[0],
				     bad_kit.backing[1] };
	double begin = bad_cpu_seconds();
	bcfmt_err err = bcfmt_set_open(bad_kit.ctx, devs, 3, NULL, &bad_kit.set);

	cr_assert_eq(err, BCFMT_OK, "%s: %s", what, bcfmt_ctx_fault(bad_kit.ctx));
	set_kit_check(&bad_kit, level, out);
	cr_assert_eq(out->err, BCFMT_OK, "%s: %s", what, bcfmt_ctx_fault(bad_kit.ctx));
	cr_assert_lt(bad_cpu_seconds() - begin, BAD_CHECK_SECONDS, "%s takes too long", what);
	cr_assert_not(strstr(bcfmt_ctx_fault(bad_kit.ctx), "argument"), "%s: %s", what,
		      bcfmt_ctx_fault(bad_kit.ctx));
	for (size_t i = 0; i < out->verdict.n_devices && !out->verdict.is_complete; i++) {
		const struct bcfmt_verdict_device *device = &out->verdict.devices[i];

		cr_expect_neq(device->certainty, BCFMT_EXACT, "%s: sure of inode %u", what,
			      device->inode);
		/* A device that was never attached, or is detached, needs no cache. */
		cr_expect(device->safe_alone != BCFMT_SAFE ||
				  (device->member &&
				   bcfmt_super_bdev_state(&device->member->super) ==
					   BCFMT_BDEV_NONE),
			  "%s: inode %u is called safe", what, device->inode);
	}
	bcfmt_ctx_fault_clear(bad_kit.ctx);
}

static inline void bad_check(struct bcfmt_dev *cache, const char *what, struct set_kit_result *out)
{
	bad_check_level(cache, BCFMT_LEVEL_FULL, what, out);
}

/* A device with the first len_bytes of the healthy cache. */
static inline struct bcfmt_dev *bad_copy(size_t len_bytes)
{
	struct bcfmt_dev *dev;

	cr_assert_eq(bcfmt_dev_mem(bad_kit.ctx, "cache", bad_image, len_bytes, &dev), BCFMT_OK);
	return dev;
}

#endif
