/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Repairs of sets in memory: what stays, where new things go, what is agreed to, what is refused. */
#include "write_help.h"

#include <bcfmt/repair.h>

#include "codec/node_seq.h"
#include "kit/set_kit.h"

#define BLOCK_SECTORS 1u
#define BUCKET_SECTORS 16u
#define KEYS 4000u

TestSuite(repair, .init = write_begin, .fini = write_end);

static struct bcfmt_new_set made;
static struct bcfmt_key *keys;
static struct bcfmt_dev *cache, *over; /* what is repaired, and an overlay to commit to */
static struct bcfmt_repair_run *repair;
static enum bcfmt_rehearsal rehearsal;

static void make_set(void)
{
	struct bcfmt_new_set_params params = write_params(BLOCK_SECTORS, BUCKET_SECTORS, KEYS);
	uint64_t bytes = params.nbuckets * BUCKET_SECTORS * BCFMT_SECTOR_BYTES;
	struct write_stream stream;

	cr_assert_eq(bcfmt_new_set_plan(write_ctx, bytes, 512, &params, &made), BCFMT_OK);
	keys = write_make_keys(&made, KEYS);
	cache = write_mem(bytes);
	stream = (struct write_stream){ keys, KEYS, 0 };
	cr_assert_eq(bcfmt_new_set_write(write_ctx, cache, &params, write_next, &stream, &made),
		     BCFMT_OK, "%s", bcfmt_ctx_fault(write_ctx));
	cr_assert_gt(made.tree.leaves, 5);
}

static void clear(void)
{
	bcfmt_repair_free(repair);
	repair = NULL;
	bcfmt_dev_free(over);
	bcfmt_dev_free(cache);
	free(keys);
}

static void flip(uint64_t sector, uint64_t at)
{
	uint8_t byte;

	cr_assert_eq(bcfmt_dev_read(cache, sector * 512 + at, &byte, 1), BCFMT_OK);
	byte ^= 0x10;
	cr_assert_eq(bcfmt_dev_write(cache, sector * 512 + at, &byte, 1), BCFMT_OK);
}

/* Leaf i of the tree, by key. */
static struct bcfmt_node_ref leaf_at(size_t i)
{
	struct bcfmt_tree_visitor nobody = { .arg = NULL };
	struct bcfmt_node_ref ref;
	struct bcfmt_tree *tree;
	struct bcfmt_set *set;

	cr_assert_eq(bcfmt_set_open(write_ctx, &cache, 1, NULL, &set), BCFMT_OK);
	cr_assert_eq(bcfmt_tree_open(set, &nobody, &tree), BCFMT_OK);
	ref = *bcfmt_tree_leaf(tree, i);
	bcfmt_tree_free(tree);
	bcfmt_set_free(set);
	return ref;
}

static void open_repair(void)
{
	struct bcfmt_repair_params params = { .check.level = BCFMT_LEVEL_FULL };

	if (!over)
		cr_assert_eq(bcfmt_dev_overlay(write_ctx, cache, &over), BCFMT_OK);
	bcfmt_repair_free(repair);
	cr_assert_eq(bcfmt_repair_open(write_ctx, &over, 1, &params, &repair), BCFMT_OK, "%s",
		     bcfmt_ctx_fault(write_ctx));
}

static void rehearse(enum bcfmt_consent most)
{
	bcfmt_repair_agree_all(repair, most);
	cr_assert_eq(bcfmt_repair_rehearse(repair, &rehearsal), BCFMT_OK, "%s",
		     bcfmt_ctx_fault(write_ctx));
}

/* Opens, repairs and commits; what results is clean. */
static void repair_all(void)
{
	struct bcfmt_set *set;

	open_repair();
	rehearse(BCFMT_CONSENT_ASK);
	cr_assert_eq(rehearsal, BCFMT_REHEARSAL_READY, "%s", bcfmt_ctx_fault(write_ctx));
	cr_assert_eq(bcfmt_repair_commit(repair), BCFMT_OK);
	set = write_open_clean(&over, 1);
	bcfmt_set_free(set);
}

static size_t written_ranges(void)
{
	uint64_t begin, end, at = 0;
	size_t n = 0;

	while (bcfmt_dev_overlay_next(over, at, &begin, &end) == BCFMT_OK) {
		at = end;
		n++;
	}
	return n;
}

Test(repair, a_sound_set_has_nothing_to_do)
{
	make_set();
	open_repair();
	cr_expect_eq(bcfmt_repair_items(repair), 0);
	rehearse(BCFMT_CONSENT_ASK);
	cr_expect_eq(rehearsal, BCFMT_REHEARSAL_NOTHING);
	cr_expect_eq(bcfmt_repair_commit(repair), BCFMT_E_ARG);
	write_expect_fault(BCFMT_E_ARG, BCFMT_E_ARG, "nothing to commit");
	cr_expect_eq(written_ranges(), 0);
	clear();
}

Test(repair, sound_leaves_stay_where_they_are)
{
	const struct bcfmt_repair_counts *counts;
	struct write_found before, after;
	struct bcfmt_set *set;
	size_t n_lost = 0;

	make_set();
	set = write_open_clean(&cache, 1);
	write_collect(set, &before);
	bcfmt_set_free(set);
	flip(bcfmt_ptr_sector(leaf_at(2).ptr), 100);
	repair_all();
	counts = bcfmt_repair_counts(repair);
	cr_expect_eq(counts->kept_leaves, made.tree.leaves - 1);
	cr_expect_leq(counts->written_leaves, 1);
	set = write_open_clean(&over, 1);
	write_collect(set, &after);
	bcfmt_set_free(set);
	/* All extents but those of the damaged leaf, in order. */
	for (size_t i = 0, k = 0; i < before.extents.n; i++) {
		const struct bcfmt_extent *want =
			VEC_AT(&before.extents, const struct bcfmt_extent, i);
		const struct bcfmt_extent *got =
			VEC_AT(&after.extents, const struct bcfmt_extent, k);

		if (k < after.extents.n && !memcmp(got, want, sizeof(*got)))
			k++;
		else
			n_lost++;
	}
	cr_expect_eq(before.extents.n - n_lost, after.extents.n);
	cr_expect(n_lost > 0 && n_lost < before.extents.n / made.tree.leaves * 2);
	write_forget(&before);
	write_forget(&after);
	clear();
}

/* A prio set that is damaged costs nothing that the tree has. */
Test(repair, all_leaves_stay_when_only_tables_are_damaged)
{
	const struct bcfmt_repair_counts *counts;
	struct write_found found;
	struct bcfmt_set *set;

	make_set();
	flip(made.prio_bucket * BUCKET_SECTORS, 200);
	repair_all();
	counts = bcfmt_repair_counts(repair);
	cr_expect_eq(counts->kept_leaves, made.tree.leaves);
	cr_expect_eq(counts->written_leaves, 0);
	set = write_open_clean(&over, 1);
	write_collect(set, &found);
	write_expect_keys(&found, keys, KEYS);
	write_forget(&found);
	bcfmt_set_free(set);
	clear();
}

struct order {
	unsigned int phase;
	size_t n[BCFMT_REPAIR_PHASES];
};

/* In the order of phases; new buckets are none that the old state uses. */
static bcfmt_err expect_place(void *arg, const struct bcfmt_repair_write *write)
{
	struct order *order = arg;
	const struct bcfmt_set *set = bcfmt_repair_set(repair);
	uint64_t bucket = write->offset_bytes / 512 / BUCKET_SECTORS;
	uint64_t last = (write->offset_bytes + write->len_bytes - 1) / 512 / BUCKET_SECTORS;

	cr_expect_eq(write->dev, over);
	cr_expect_geq(write->phase, order->phase);
	order->phase = write->phase;
	order->n[write->phase]++;
	for (; bucket <= last; bucket++) {
		if (write->phase == 1 || write->phase == 2)
			cr_expect_eq(set->buckets[bucket].use, 0, "bucket %llu",
				     (unsigned long long)bucket);
		else if (write->phase == 3)
			cr_expect(bcfmt_bucket_is_journal(&set->geo, bucket));
	}
	return BCFMT_OK;
}

Test(repair, the_old_state_stays_whole_until_the_switch)
{
	struct order order = { 0 };

	make_set();
	flip(bcfmt_ptr_sector(leaf_at(0).ptr), 100);
	open_repair();
	rehearse(BCFMT_CONSENT_ASK);
	cr_assert_eq(rehearsal, BCFMT_REHEARSAL_READY);
	cr_assert_eq(bcfmt_repair_writes(repair, expect_place, &order), BCFMT_OK);
	cr_expect(order.n[1] > 0);
	cr_expect(order.n[2] > 0);
	cr_expect_eq(order.n[3], 1);
	/* Nothing of all that went to the device yet. */
	cr_expect_eq(written_ranges(), 0);
	clear();
}

Test(repair, nothing_is_done_without_consent)
{
	make_set();
	flip(bcfmt_ptr_sector(leaf_at(1).ptr), 100);
	open_repair();
	cr_assert(bcfmt_repair_items(repair) > 0);
	rehearse(BCFMT_CONSENT_AUTO);
	cr_expect_eq(rehearsal, BCFMT_REHEARSAL_NOTHING);
	cr_expect_eq(bcfmt_repair_item(repair, 0)->state, BCFMT_PLAN_OPEN);
	cr_expect_eq(bcfmt_repair_agree(repair, bcfmt_repair_items(repair), true), BCFMT_E_ARG);
	write_expect_fault(BCFMT_E_ARG, BCFMT_E_ARG, "no such item");
	clear();
}

/* All problems of the metadata have one repair. */
Test(repair, half_a_consent_is_none)
{
	size_t n;

	make_set();
	flip(bcfmt_ptr_sector(leaf_at(1).ptr), 100);
	flip(made.prio_bucket * BUCKET_SECTORS, 200);
	open_repair();
	n = bcfmt_repair_items(repair);
	cr_assert_geq(n, 2);
	for (size_t i = 0; i < n; i++)
		cr_assert_eq(bcfmt_repair_agree(repair, i, i > 0), BCFMT_OK);
	cr_assert_eq(bcfmt_repair_rehearse(repair, &rehearsal), BCFMT_OK);
	cr_expect_eq(rehearsal, BCFMT_REHEARSAL_NOTHING);
	cr_expect_eq(bcfmt_repair_item(repair, 0)->state, BCFMT_PLAN_REFUSED);
	cr_expect_eq(bcfmt_repair_item(repair, 1)->state, BCFMT_PLAN_LEFT);
	cr_expect_not_null(bcfmt_repair_item(repair, 1)->why);
	clear();
}

Test(repair, devices_that_cannot_be_written_are_not_committed_to)
{
	struct bcfmt_repair_params params = { .check.level = BCFMT_LEVEL_FULL };
	struct bcfmt_dev_faults faults = { .fail_write = 1 };
	struct bcfmt_dev *faulty;

	make_set();
	flip(bcfmt_ptr_sector(leaf_at(1).ptr), 100);
	cr_assert_eq(bcfmt_dev_faulty(write_ctx, cache, &faults, &faulty), BCFMT_OK);
	cache = NULL; /* it has an owner now */
	cr_assert_eq(bcfmt_repair_open(write_ctx, &faulty, 1, &params, &repair), BCFMT_OK);
	rehearse(BCFMT_CONSENT_ASK);
	cr_assert_eq(rehearsal, BCFMT_REHEARSAL_READY);
	cr_expect_eq(bcfmt_repair_commit(repair), BCFMT_E_IO);
	bcfmt_ctx_fault_clear(write_ctx);
	bcfmt_repair_free(repair);
	repair = NULL;
	bcfmt_dev_free(faulty);
	clear();
}

Test(repair, a_cancelled_repair_writes_nothing)
{
	make_set();
	flip(bcfmt_ptr_sector(leaf_at(1).ptr), 100);
	open_repair();
	bcfmt_repair_agree_all(repair, BCFMT_CONSENT_ASK);
	write_cancelled = 1;
	cr_expect_eq(bcfmt_repair_rehearse(repair, &rehearsal), BCFMT_E_CANCELLED);
	write_cancelled = 0;
	cr_expect_eq(bcfmt_repair_commit(repair), BCFMT_E_ARG);
	bcfmt_ctx_fault_clear(write_ctx);
	cr_expect_eq(written_ranges(), 0);
	clear();
}

Test(repair, a_copy_is_what_a_commit_makes)
{
	struct bcfmt_bad_read bad;
	struct bcfmt_dev *to;
	uint64_t bytes;
	uint8_t *a, *b;

	make_set();
	flip(bcfmt_ptr_sector(leaf_at(3).ptr), 100);
	open_repair();
	rehearse(BCFMT_CONSENT_ASK);
	bytes = bcfmt_dev_bytes(cache);
	to = write_mem(bytes);
	a = malloc(bytes);
	b = malloc(bytes);
	cr_assert_eq(bcfmt_repair_copy(repair, 0, to, &bad), BCFMT_OK);
	cr_expect_eq(bad.sectors, 0);
	cr_expect_eq(written_ranges(), 0);
	cr_assert_eq(bcfmt_repair_commit(repair), BCFMT_OK);
	cr_assert_eq(bcfmt_dev_read(to, 0, a, bytes), BCFMT_OK);
	cr_assert_eq(bcfmt_dev_read(over, 0, b, bytes), BCFMT_OK);
	cr_expect(!memcmp(a, b, bytes));
	cr_expect_eq(bcfmt_repair_copy(repair, 1, to, &bad), BCFMT_E_ARG);
	free(a);
	free(b);
	bcfmt_dev_free(to);
	clear();
}

/* ---- leaves that a tree writer is told to keep ---- */

static bcfmt_err no_bucket(void *arg, uint64_t *bucket, uint8_t *gen)
{
	(void)arg;
	(void)bucket;
	(void)gen;
	cr_assert(false, "nothing is to be written");
	return BCFMT_E_ARG;
}

static struct bcfmt_tree_writer *writer_of(void)
{
	static struct bcfmt_target target;
	struct bcfmt_tree_writer_params params = { .bucket = no_bucket, .seed = 1 };
	struct bcfmt_tree_writer *writer;

	target = (struct bcfmt_target){ write_ctx, cache, &made.geo };
	cr_assert_eq(bcfmt_tree_writer_new(&target, &params, &writer), BCFMT_OK);
	return writer;
}

static struct bcfmt_key kept_key(struct bcfmt_pos hi, uint32_t sectors)
{
	return bcfmt_key_make(hi.inode, hi.sector, sectors, false, true,
			      bcfmt_ptr_make(0, made.node_bucket * BUCKET_SECTORS, 1));
}

Test(repair, a_kept_leaf_can_be_the_whole_tree)
{
	struct bcfmt_tree_writer *writer;
	struct bcfmt_tree_written out;
	struct bcfmt_key key;

	make_set();
	writer = writer_of();
	key = kept_key(bcfmt_pos_max(), made.geo.node_sectors);
	cr_assert_eq(bcfmt_tree_writer_keep(writer, &key), BCFMT_OK);
	cr_assert_eq(bcfmt_tree_writer_finish(writer, &out), BCFMT_OK);
	cr_expect_eq(out.level, 0);
	cr_expect_eq(out.nodes, 0);
	cr_expect_eq(out.kept, 1);
	cr_expect(!memcmp(&out.root, &key, sizeof(key)));
	bcfmt_tree_writer_free(writer);
	clear();
}

Test(repair, leaves_that_cannot_be_kept)
{
	struct bcfmt_pos middle = { 1, 5000 };
	struct bcfmt_tree_writer *writer;
	struct bcfmt_key key;

	make_set();
	writer = writer_of();
	key = kept_key(middle, made.geo.node_sectors / 2);
	write_expect_fault(bcfmt_tree_writer_keep(writer, &key), BCFMT_E_ARG, "another size");
	/* After an error every call fails. */
	key = kept_key(middle, made.geo.node_sectors);
	cr_expect_eq(bcfmt_tree_writer_keep(writer, &key), BCFMT_E_ARG);
	bcfmt_tree_writer_free(writer);

	writer = writer_of();
	cr_assert_eq(bcfmt_tree_writer_keep(writer, &key), BCFMT_OK);
	write_expect_fault(bcfmt_tree_writer_keep(writer, &key), BCFMT_E_ARG,
			   "ends before the key before it");
	bcfmt_tree_writer_free(writer);

	writer = writer_of();
	cr_assert_eq(bcfmt_tree_writer_keep(writer, &key), BCFMT_OK);
	key = bcfmt_key_make(1, 5004, 8, false, false, 0);
	write_expect_fault(bcfmt_tree_writer_add(writer, &key), BCFMT_E_ARG, "overlaps");
	bcfmt_tree_writer_free(writer);
	clear();
}

/* ---- without a journal ---- */

static void wipe(struct bcfmt_dev *dev, uint64_t bucket, uint64_t buckets)
{
	static const uint8_t zero[BUCKET_SECTORS * BCFMT_SECTOR_BYTES];

	for (uint64_t i = 0; i < buckets; i++)
		cr_assert_eq(bcfmt_dev_write(dev, (bucket + i) * sizeof(zero), zero, sizeof(zero)),
			     BCFMT_OK);
}

static void wipe_ring(struct bcfmt_dev *dev)
{
	wipe(dev, made.geo.first_bucket, made.geo.journal_buckets);
}

/* The bucket that each leaf of a set lies in, of gaps 0; returns how many leaves there are. */
static size_t find_leaves(struct bcfmt_dev *dev, uint64_t buckets[64])
{
	struct bcfmt_tree *tree;
	struct bcfmt_set *set;
	size_t n;

	cr_assert_eq(bcfmt_set_open(write_ctx, &dev, 1, NULL, &set), BCFMT_OK);
	cr_assert_eq(bcfmt_tree_open(set, NULL, &tree), BCFMT_OK);
	n = bcfmt_tree_leaves(tree);
	cr_assert_leq(n, 64);
	for (size_t i = 0; i < n; i++) {
		const struct bcfmt_node_ref *ref = bcfmt_tree_leaf(tree, i);

		buckets[i] = ref->sectors ? bcfmt_ptr_bucket(&set->geo, ref->ptr) : 0;
	}
	bcfmt_tree_free(tree);
	bcfmt_set_free(set);
	return n;
}

static bool is_in(uint64_t bucket, const uint64_t *buckets, size_t n)
{
	for (size_t i = 0; i < n; i++)
		if (buckets[i] == bucket)
			return true;
	return false;
}

/* All leaves that there are are among these, and there are some. */
static void expect_leaves_among(struct bcfmt_dev *dev, const uint64_t *buckets, size_t n_buckets)
{
	uint64_t found[64];
	size_t n = find_leaves(dev, found), n_leaves = 0;

	for (size_t i = 0; i < n; i++) {
		n_leaves += found[i] != 0;
		cr_expect(!found[i] || is_in(found[i], buckets, n_buckets), "bucket %llu",
			  (unsigned long long)found[i]);
	}
	cr_expect(n_leaves > 0);
}

static bcfmt_err take_chain(void *arg, const struct bcfmt_repair_write *write)
{
	uint64_t *chain = arg;

	if (write->phase == 2) {
		chain[0] = write->offset_bytes / 512 / BUCKET_SECTORS;
		chain[1] = write->len_bytes / 512 / BUCKET_SECTORS;
	}
	return BCFMT_OK;
}

/* What it gave up does not come back, and what it wrote counts as long as anything proves it. */
Test(repair, of_nodes_that_a_search_finds_the_proved_ones_count)
{
	uint64_t before[64], after[64], chain[2] = { 0, 0 };
	size_t n_before, n_after;

	make_set();
	n_before = find_leaves(cache, before);
	wipe_ring(cache);
	expect_leaves_among(cache, before, n_before);
	open_repair();
	rehearse(BCFMT_CONSENT_ASK);
	cr_assert_eq(bcfmt_repair_commit(repair), BCFMT_OK, "%s", bcfmt_ctx_fault(write_ctx));
	cr_assert_eq(bcfmt_repair_writes(repair, take_chain, chain), BCFMT_OK);
	cr_assert(chain[0] && chain[1]);
	n_after = find_leaves(over, after);
	for (size_t i = 0; i < n_after; i++)
		cr_expect(!is_in(after[i], before, n_before));

	/* Its entry is lost, its prio chain is there. */
	wipe_ring(over);
	expect_leaves_among(over, after, n_after);
	/* As if it had been cut off before the chain. */
	wipe(over, chain[0], chain[1]);
	expect_leaves_among(over, before, n_before);
	/* All that is left. */
	for (size_t i = 0; i < n_before; i++)
		wipe(over, before[i], 1);
	expect_leaves_among(over, after, n_after);
	clear();
}

/* A kernel appended to it: then it was in use, whatever else there is. */
Test(repair, a_node_that_was_appended_to_is_no_new_one)
{
	struct bcfmt_key key = bcfmt_key_make(1, 100, 8, false, false, 0);
	struct bcfmt_node node = { 0 };
	uint64_t ptr, seq;
	uint8_t *raw;

	make_set();
	raw = calloc(made.geo.node_sectors, BCFMT_SECTOR_BYTES);
	cr_assert_not_null(raw);
	ptr = kept_key(bcfmt_pos_max(), made.geo.node_sectors).ptr;
	seq = node_seq_of_search(&made.geo, ptr);
	for (unsigned int i = 0; i < 2; i++) {
		uint32_t words = bcfmt_key_encode(&key, raw + i * 512 + BCFMT_BSET_HEADER_BYTES);

		bcfmt_bset_encode(&made.geo, raw + i * 512, seq, words, ptr);
		cr_assert_eq(bcfmt_node_decode(&node, &made.geo, raw, made.geo.node_sectors, ptr),
			     BCFMT_OK);
		cr_assert_eq(node.n_bsets, i + 1);
		cr_expect_eq(node_is_of_search(&made.geo, &node, ptr), !i);
		cr_expect(!node_is_of_search(&made.geo, &node, ptr + 1));
	}
	bcfmt_node_clear(&node);
	free(raw);
	clear();
}
