/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A real cache with changed metadata, for the fuzz targets that read it. BCFMT_FUZZ_CACHE and
 * BCFMT_FUZZ_BACKING name the images, which are not written to. An input is a row of changes, 8
 * bytes each: which structure, where in it, what to do, a value. Checksums of changed structures
 * are mended unless the change says not to, so that what lies behind them is reached.
 */
#ifndef FUZZ_DAMAGE_H
#define FUZZ_DAMAGE_H

#undef NDEBUG
#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <bcfmt/crc64.h>
#include <bcfmt/dev.h>
#include <bcfmt/set.h>
#include <bcfmt/tree.h>

#include "base/bytes.h"

#define TARGETS_MAX 4096u
#define CHANGE_BYTES 8u
#define CHANGES_MAX 64u

enum target_kind { TARGET_SUPER, TARGET_JSET, TARGET_PRIO, TARGET_UUID, TARGET_NODE };

/* One structure on the cache. */
struct target {
	enum target_kind kind;
	uint64_t offset_bytes;
	uint32_t len_bytes;
	uint64_t ptr;         /* of a node */
};

enum change_op {
	CHANGE_BYTE,
	CHANGE_FLIP_BIT,
	CHANGE_ADD,         /* to a 64-bit word */
	CHANGE_WORD,        /* a 64-bit word becomes one of the values that are often wrong */
	CHANGE_COPY_KEY,    /* three words from another place of the structure */
	CHANGE_COPY_BLOCK,  /* 512 bytes from another structure */
	CHANGE_ZERO_BLOCK,
	CHANGE_LEAVE_CSUM,  /* of this structure */
};

static struct bcfmt_ctx *ctx;
static struct bcfmt_dev *cache;
static struct bcfmt_dev *backing;
static struct target targets[TARGETS_MAX];
static uint32_t n_targets;
static uint32_t block_bytes;

static void add_target(enum target_kind kind, uint64_t offset_bytes, uint64_t len_bytes,
		       uint64_t ptr)
{
	if (n_targets < TARGETS_MAX)
		targets[n_targets++] = (struct target){ kind, offset_bytes, (uint32_t)len_bytes,
							ptr };
}

static void add_node(const struct bcfmt_node_ref *ref)
{
	add_target(TARGET_NODE, bcfmt_ptr_sector(ref->ptr) * BCFMT_SECTOR_BYTES,
		   (uint64_t)ref->sectors * BCFMT_SECTOR_BYTES, ref->ptr);
}

/* Nodes above the leaves; a single leaf that is the root comes with the leaves. */
static bcfmt_err add_interior(void *arg, const struct bcfmt_node_view *view)
{
	(void)arg;
	if (view->ref->level)
		add_node(view->ref);
	return BCFMT_OK;
}

static void find_targets(const struct bcfmt_set *set)
{
	const struct bcfmt_geometry *geo = &set->geo;

	add_target(TARGET_SUPER, BCFMT_SUPER_OFFSET_BYTES, BCFMT_SUPER_BYTES, 0);
	for (size_t i = 0; i < set->n_prio_links; i++)
		add_target(TARGET_PRIO,
			   bcfmt_bucket_sector(geo, set->prio_links[i].bucket) * BCFMT_SECTOR_BYTES,
			   geo->meta_bytes, 0);
	add_target(TARGET_UUID, bcfmt_ptr_sector(set->newest.uuid_bucket.ptr) * BCFMT_SECTOR_BYTES,
		   geo->meta_bytes, 0);
	/* The replay window and a little more: the rest of a long ring says the same again. */
	for (size_t i = 0; i < set->journal.n_entries && i < 64; i++) {
		size_t index = set->journal.n_entries - 1 - i;

		add_target(TARGET_JSET,
			   bcfmt_journal_entry_sector(&set->journal, index) * BCFMT_SECTOR_BYTES,
			   (uint64_t)set->journal.entries[index].blocks * block_bytes, 0);
	}
}

/* Opens the images and finds the structures in them. */
static void damage_init(void)
{
	/* Little memory for runs, so that spilling is part of it. */
	struct bcfmt_ctx_params params = { .threads = 2, .max_bytes = 65536 };
	struct bcfmt_set_params set_params = { 0 };
	struct bcfmt_tree_visitor visitor = { .node = add_interior };
	const char *cache_path = getenv("BCFMT_FUZZ_CACHE");
	const char *backing_path = getenv("BCFMT_FUZZ_BACKING");
	struct bcfmt_ctx *ordered;
	struct bcfmt_set *set;
	struct bcfmt_tree *tree;

	if (!cache_path || !backing_path) {
		fprintf(stderr, "BCFMT_FUZZ_CACHE and BCFMT_FUZZ_BACKING must name images\n");
		exit(2);
	}
	assert(bcfmt_ctx_new(&params, &ctx) == BCFMT_OK);
	assert(bcfmt_dev_open(ctx, cache_path, 0, &cache) == BCFMT_OK);
	assert(bcfmt_dev_open(ctx, backing_path, 0, &backing) == BCFMT_OK);

	/* One thread: the same input has to mean the same structures in every run. */
	params.threads = 1;
	assert(bcfmt_ctx_new(&params, &ordered) == BCFMT_OK);
	assert(bcfmt_set_open(ordered, &cache, 1, &set_params, &set) == BCFMT_OK);
	assert(set->has_geometry && set->has_newest);
	block_bytes = bcfmt_block_bytes(&set->geo);
	find_targets(set);
	assert(bcfmt_tree_open(set, &visitor, &tree) == BCFMT_OK);
	for (size_t i = 0; i < bcfmt_tree_leaves(tree); i++)
		add_node(bcfmt_tree_leaf(tree, i));
	bcfmt_tree_free(tree);
	bcfmt_set_free(set);
	bcfmt_ctx_free(ordered);
}

/* Bytes at the front of a structure that hold something; changes behind them change nothing. */
static uint32_t used_bytes(const struct target *target, const uint8_t *buf)
{
	uint32_t used = target->len_bytes;

	while (used > 512 && !buf[used - 1])
		used--;
	return used & ~7u;
}

static void apply(const struct target *target, uint8_t *buf, const uint8_t *change)
{
	static const uint64_t words[] = { 0, 1, 2, 7, 8, 0xff, 0xffff, 0x7fffffff, 0xffffffff,
					  1ull << 32, 1ull << 43, 1ull << 62, INT64_MAX,
					  1ull << 63, UINT64_MAX - 1, UINT64_MAX };
	uint32_t used = used_bytes(target, buf);
	uint32_t at = (uint32_t)load_le16(change + 2) * 8 % used;
	uint32_t from = (uint32_t)load_le16(change + 6) * 8 % used;
	uint8_t value = change[5];
	const struct target *other;

	switch ((enum change_op)(change[4] & 7)) {
	case CHANGE_BYTE:
		buf[at + (change[4] >> 3 & 7)] = value;
		break;
	case CHANGE_FLIP_BIT:
		buf[at + (change[4] >> 3 & 7)] ^= (uint8_t)(1u << (value & 7));
		break;
	case CHANGE_ADD:
		store_le64(buf + at, load_le64(buf + at) +
				     ((uint64_t)(int64_t)(int8_t)value << (change[4] >> 3)));
		break;
	case CHANGE_WORD:
		store_le64(buf + at, words[value % (sizeof(words) / sizeof(words[0]))]);
		break;
	case CHANGE_COPY_KEY:
		if (at + 24 <= target->len_bytes && from + 24 <= target->len_bytes)
			memmove(buf + at, buf + from, 24);
		break;
	case CHANGE_COPY_BLOCK:
		other = &targets[load_le16(change + 6) % n_targets];
		assert(bcfmt_dev_read(cache, other->offset_bytes, buf + (at & ~511u), 512) ==
		       BCFMT_OK);
		break;
	case CHANGE_ZERO_BLOCK:
		memset(buf + (at & ~511u), 0, 512);
		break;
	case CHANGE_LEAVE_CSUM:
		break;
	}
}

static uint32_t keys_within(const uint8_t *raw, uint64_t room_bytes)
{
	uint32_t words = load_le32(raw + 28);

	return words <= room_bytes / 8 ? words : 0;
}

static void mend(const struct target *target, uint8_t *buf)
{
	uint32_t words;

	switch (target->kind) {
	case TARGET_SUPER:
		store_le64(buf, bcfmt_super_csum(buf));
		break;
	case TARGET_JSET:
		words = keys_within(buf, target->len_bytes - BCFMT_JSET_HEADER_BYTES);
		store_le64(buf, bcfmt_crc64(buf + 8, BCFMT_JSET_HEADER_BYTES - 8 + 8ull * words));
		break;
	case TARGET_PRIO:
		store_le64(buf, bcfmt_crc64(buf + 8, target->len_bytes - 8));
		break;
	case TARGET_UUID:
		break;
	case TARGET_NODE:
		for (uint64_t at = 0; at + BCFMT_BSET_HEADER_BYTES <= target->len_bytes;) {
			uint8_t *bset = buf + at;
			uint64_t bytes = BCFMT_BSET_HEADER_BYTES;

			words = keys_within(bset, target->len_bytes - at - bytes);
			if (load_le64(bset + 8))
				store_le64(bset, bcfmt_bset_csum(bset, words, load_le32(bset + 24),
								 target->ptr));
			bytes += 8ull * words;
			at += (bytes + block_bytes - 1) / block_bytes * block_bytes;
		}
		break;
	}
}

static void change_one(struct bcfmt_dev *overlay, const uint8_t *change)
{
	const struct target *target = &targets[load_le16(change) % n_targets];
	uint8_t *buf = malloc(target->len_bytes);

	assert(buf);
	assert(bcfmt_dev_read(overlay, target->offset_bytes, buf, target->len_bytes) == BCFMT_OK);
	apply(target, buf, change);
	if ((change[4] & 7) != CHANGE_LEAVE_CSUM)
		mend(target, buf);
	else
		buf[load_le16(change + 2) % target->len_bytes] = change[5];
	assert(bcfmt_dev_write(overlay, target->offset_bytes, buf, target->len_bytes) == BCFMT_OK);
	free(buf);
}

/* A device with the changes of an input over the cache; what is left of the input stays in it. */
static struct bcfmt_dev *damaged_cache(const uint8_t **input, size_t *input_bytes)
{
	struct bcfmt_dev *overlay;

	assert(bcfmt_dev_overlay(ctx, cache, &overlay) == BCFMT_OK);
	for (uint32_t i = 0; i < CHANGES_MAX && *input_bytes >= CHANGE_BYTES; i++) {
		change_one(overlay, *input);
		*input += CHANGE_BYTES;
		*input_bytes -= CHANGE_BYTES;
	}
	return overlay;
}

#endif
