/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What the tests of writers share: a context, whole sets in memory, and reading them back. */
#ifndef TESTS_UNIT_WRITE_HELP_H
#define TESTS_UNIT_WRITE_HELP_H

#include <criterion/criterion.h>

#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include <bcfmt/check.h>
#include <bcfmt/tree.h>
#include <bcfmt/write_set.h>

#include "base/vec.h"

/* Of the running test; each test is a process of its own. */
static struct bcfmt_ctx *write_ctx;
static volatile int write_cancelled;

static inline void write_begin(void)
{
	struct bcfmt_ctx_params params = { .threads = 2, .cancelled = &write_cancelled };

	cr_assert_eq(bcfmt_ctx_new(&params, &write_ctx), BCFMT_OK);
}

static inline void write_end(void)
{
	bcfmt_ctx_free(write_ctx);
}

static inline struct bcfmt_dev *write_mem(uint64_t len_bytes)
{
	struct bcfmt_dev *dev;

	cr_assert_eq(bcfmt_dev_mem(write_ctx, "cache", NULL, (size_t)len_bytes, &dev), BCFMT_OK);
	return dev;
}

/* The call was refused, the fault names this; the next failure is then recorded anew. */
static inline void write_expect_fault(bcfmt_err err, bcfmt_err want, const char *part)
{
	cr_expect_eq(err, want, "%s, not %s, for '%s'", bcfmt_err_name(err), bcfmt_err_name(want),
		     part);
	cr_expect(strstr(bcfmt_ctx_fault(write_ctx), part), "fault '%s' does not name '%s'",
		  bcfmt_ctx_fault(write_ctx), part);
	bcfmt_ctx_fault_clear(write_ctx);
}

/* ---- keys ---- */

/* A stream over keys in memory, a bcfmt_key_fn. */
struct write_stream {
	const struct bcfmt_key *keys;
	size_t n;
	size_t next;
};
static inline bcfmt_err write_next(void *arg, struct bcfmt_key *key)
{
	struct write_stream *stream = arg;

	if (stream->next == stream->n)
		return BCFMT_END;
	*key = stream->keys[stream->next++];
	return BCFMT_OK;
}

/* Inode 0 and 1 are backing devices that nobody gave, 2 is a volume. */
#define WRITE_INODES 3u
#define WRITE_SLOT_SECTORS 8u
#define WRITE_VOLUME_SECTORS (1ull << 40)

static struct bcfmt_uuid_entry write_uuids[WRITE_INODES];

/* Room for max_keys keys of write_make_keys(). */
static inline struct bcfmt_new_set_params write_params(uint32_t block_sectors,
						       uint32_t bucket_sectors, uint64_t max_keys)
{
	struct bcfmt_new_set_params params = { .block_sectors = block_sectors,
					       .bucket_sectors = bucket_sectors,
					       .max_keys = max_keys,
					       .seed = 7,
					       .label = "made by a test",
					       .uuids = write_uuids,
					       .n_uuids = WRITE_INODES };
	uint64_t slots = bucket_sectors / WRITE_SLOT_SECTORS;

	memset(params.uuid, 0xca, sizeof(params.uuid));
	memset(params.set_uuid, 0x5e, sizeof(params.set_uuid));
	for (uint32_t i = 0; i < WRITE_INODES; i++)
		memset(write_uuids[i].uuid, (int)(0xb0 + i), BCFMT_UUID_BYTES);
	write_uuids[2].flags = BCFMT_UUID_FLASH_ONLY;
	write_uuids[2].sectors = WRITE_VOLUME_SECTORS;
	/* Data, tables, what a kernel needs, and nodes of at most three words a key. */
	params.nbuckets = 700 + max_keys / slots + max_keys / 50;
	return params;
}

/*
 * n keys of three inodes, some with gaps between them, every fifth a hole, every other dirty, of 1
 * to 8 sectors. To be freed.
 */
static inline struct bcfmt_key *write_make_keys(const struct bcfmt_new_set *set, size_t n)
{
	uint32_t slots = set->geo.bucket_sectors / WRITE_SLOT_SECTORS;
	struct bcfmt_key *keys = calloc(n + 1, sizeof(*keys));
	uint64_t end_sector = 0;
	uint32_t last_inode = 0;

	cr_assert_not_null(keys);
	for (size_t i = 0; i < n; i++) {
		uint32_t inode = (uint32_t)(i * WRITE_INODES / n);
		uint32_t sectors = 1 + (uint32_t)(i * 7 % WRITE_SLOT_SECTORS);
		bool has_ptr = i % 5 != 4;
		uint64_t sector = (set->data_bucket + i / slots) * set->geo.bucket_sectors +
				  i % slots * WRITE_SLOT_SECTORS;

		if (inode != last_inode)
			end_sector = 0;
		last_inode = inode;
		end_sector += (i % 3 ? 0 : 16) + sectors;
		keys[i] = bcfmt_key_make(
			inode, end_sector, sectors, has_ptr && (i % 2 || inode == 2), has_ptr,
			bcfmt_ptr_make(0, sector, 1 + (unsigned int)(i / slots % 3)));
	}
	return keys;
}

/* What a set holds. */
struct write_found {
	struct vec keys;    /* struct bcfmt_key, of all leaves, in order */
	struct vec extents; /* struct bcfmt_extent, in order */
	uint64_t nodes;
	uint64_t most_words; /* of a node, and the least of one that is no last of its level */
	uint64_t least_words;
};

static inline bcfmt_err write_on_node(void *arg, const struct bcfmt_node_view *view)
{
	/* Interior levels are read by several threads. */
	static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
	struct bcfmt_node_iter it = bcfmt_node_iter_init(view->node);
	struct write_found *found = arg;
	struct bcfmt_key key, *copy;
	uint64_t words = 0;

	pthread_mutex_lock(&lock);
	found->nodes++;
	while (bcfmt_node_iter_next(&it, &key)) {
		words += bcfmt_key_words(&key);
		if (view->ref->level)
			continue;
		copy = vec_push(&found->keys, sizeof(*copy));
		cr_assert_not_null(copy);
		*copy = key;
	}
	if (words > found->most_words)
		found->most_words = words;
	if (words < found->least_words && bcfmt_pos_cmp(view->ref->hi, bcfmt_pos_max()))
		found->least_words = words;
	pthread_mutex_unlock(&lock);
	return BCFMT_OK;
}

static inline bcfmt_err write_on_leaf(void *arg, const struct bcfmt_node_view *view,
				      const struct bcfmt_extent *extents, size_t n_extents)
{
	struct write_found *found = arg;

	(void)view;
	for (size_t i = 0; i < n_extents; i++) {
		struct bcfmt_extent *copy = vec_push(&found->extents, sizeof(*copy));

		cr_assert_not_null(copy);
		*copy = extents[i];
	}
	return BCFMT_OK;
}

static inline void write_forget(struct write_found *found)
{
	vec_free(&found->keys);
	vec_free(&found->extents);
	found->nodes = 0;
	found->most_words = 0;
	found->least_words = UINT32_MAX;
}

static inline bcfmt_err write_ignore_leaf(void *arg, const struct bcfmt_node_view *view,
					  const struct bcfmt_extent *extents, size_t n_extents)
{
	(void)arg;
	(void)view;
	(void)extents;
	(void)n_extents;
	return BCFMT_OK;
}

/* Ended with write_forget(). */
static inline void write_collect(struct bcfmt_set *set, struct write_found *found)
{
	struct bcfmt_tree_visitor visitor = { .arg = found, .node = write_on_node };
	struct bcfmt_tree_visitor gens = { .leaf = write_ignore_leaf };
	struct bcfmt_tree *tree;
	bool again = true;

	memset(found, 0, sizeof(*found));
	found->least_words = UINT32_MAX;
	cr_assert_eq(bcfmt_tree_open(set, &visitor, &tree), BCFMT_OK);
	while (again)
		cr_assert_eq(bcfmt_tree_walk_leaves(tree, &gens, &again), BCFMT_OK);
	visitor.leaf = write_on_leaf;
	cr_assert_eq(bcfmt_tree_range(tree, (struct bcfmt_pos){ 0, 0 }, bcfmt_pos_max(), &visitor),
		     BCFMT_OK);
	bcfmt_tree_free(tree);
}

/* Opens what lies on the devices; a check of it has nothing to say. */
static inline struct bcfmt_set *write_open_clean(struct bcfmt_dev **devs, size_t n_devs)
{
	struct bcfmt_check_params params = { .level = BCFMT_LEVEL_FULL };
	struct bcfmt_verdict verdict;
	struct bcfmt_report *report;
	struct bcfmt_set *set;

	cr_assert_eq(bcfmt_set_open(write_ctx, devs, n_devs, NULL, &set), BCFMT_OK);
	cr_assert_eq(bcfmt_report_new(write_ctx, &report), BCFMT_OK);
	cr_assert_eq(bcfmt_check_run(set, &params, report, &verdict, NULL, NULL), BCFMT_OK);
	bcfmt_report_finish(report);
	for (size_t i = 0; i < bcfmt_report_count(report); i++) {
		const struct bcfmt_finding *finding = bcfmt_report_at(report, i);
		char text[512];

		/* Devices that were not given are noted. */
		bcfmt_finding_message(finding, text, sizeof(text));
		cr_expect_lt(finding->problem->severity, BCFMT_SEV_WASTE, "%s", text);
	}
	cr_expect_eq(verdict.registers, BCFMT_REGISTERS_YES);
	cr_expect(verdict.is_complete);
	bcfmt_verdict_clear(&verdict);
	bcfmt_report_free(report);
	return set;
}

static inline void write_expect_keys(const struct write_found *found, const struct bcfmt_key *keys,
				     size_t n)
{
	cr_assert_eq(found->keys.n, n, "%zu keys, not %zu", found->keys.n, n);
	for (size_t i = 0; i < n; i++)
		cr_assert(!memcmp(VEC_AT(&found->keys, struct bcfmt_key, i), &keys[i],
				  sizeof(keys[i])),
			  "key %zu is another one", i);
}

#endif
