/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Ranges that are lost or doubtful: merging, what a check says, and maps for ddrescue. */
#include "check_help.h"

#include <stdio.h>
#include <unistd.h>

#include <bcfmt/loss.h>
#include <bcfmt/writeback.h>

TestSuite(loss, .init = begin, .fini = end);

struct seen {
	struct bcfmt_loss_range range[16];
	size_t n;
};

static bcfmt_err note(void *arg, const struct bcfmt_loss_range *range)
{
	struct seen *seen = arg;

	cr_assert_lt(seen->n, 16);
	seen->range[seen->n++] = *range;
	return BCFMT_OK;
}

static void expect_range(const struct seen *seen, size_t i, uint64_t start, uint64_t range_end,
			 bool is_lost)
{
	cr_assert_lt(i, seen->n);
	cr_expect_eq(seen->range[i].start_sector, start, "range %zu begins at %llu", i,
		     (unsigned long long)seen->range[i].start_sector);
	cr_expect_eq(seen->range[i].end_sector, range_end, "range %zu ends at %llu", i,
		     (unsigned long long)seen->range[i].end_sector);
	cr_expect_eq(seen->range[i].is_lost, is_lost, "range %zu", i);
}

static void add(struct bcfmt_losses *losses, enum bcfmt_loss kind, uint32_t inode, uint64_t start,
		uint64_t range_end)
{
	cr_assert_eq(bcfmt_losses_add(losses, kind, pos(inode, start), pos(inode, range_end)),
		     BCFMT_OK);
}

static struct bcfmt_losses *some(void)
{
	struct bcfmt_losses *losses;

	cr_assert_eq(bcfmt_losses_new(kit.ctx, &losses), BCFMT_OK);
	return losses;
}

Test(loss, ranges_are_merged_and_lost_goes_before_doubtful)
{
	struct bcfmt_losses *losses = some();
	struct seen seen = { .n = 0 };

	add(losses, BCFMT_LOSS_NODE, 1, 100, 200);
	add(losses, BCFMT_LOSS_STALE, 1, 120, 130);
	add(losses, BCFMT_LOSS_UNREADABLE, 1, 130, 140);
	add(losses, BCFMT_LOSS_ORDER, 1, 150, 250);
	add(losses, BCFMT_LOSS_STALE, 1, 240, 260);
	add(losses, BCFMT_LOSS_STALE, 0, 100, 200);
	add(losses, BCFMT_LOSS_STALE, 2, 100, 200);
	add(losses, BCFMT_LOSS_STALE, 1, 300, 300);
	cr_expect(bcfmt_losses_has_any(losses));
	cr_assert_eq(bcfmt_losses_finish(losses), BCFMT_OK);
	cr_assert_eq(bcfmt_losses_each(losses, 1, 110, 1000, note, &seen), BCFMT_OK);
	cr_assert_eq(seen.n, 4);
	expect_range(&seen, 0, 110, 120, false);
	expect_range(&seen, 1, 120, 140, true);
	expect_range(&seen, 2, 140, 240, false);
	expect_range(&seen, 3, 240, 260, true);
	/* Asked once more for a part. */
	seen.n = 0;
	cr_assert_eq(bcfmt_losses_each(losses, 1, 0, 125, note, &seen), BCFMT_OK);
	cr_assert_eq(seen.n, 2);
	expect_range(&seen, 1, 120, 125, true);
	cr_expect_eq(bcfmt_losses_add(losses, BCFMT_LOSS_NODE, pos(0, 1), pos(0, 2)), BCFMT_E_ARG);
	bcfmt_losses_free(losses);
}

Test(loss, a_range_can_reach_over_inodes)
{
	struct bcfmt_losses *losses = some();
	struct seen seen = { .n = 0 };

	cr_assert_eq(bcfmt_losses_add(losses, BCFMT_LOSS_JOURNAL, pos(1, 500), pos(4, 20)),
		     BCFMT_OK);
	add(losses, BCFMT_LOSS_STALE, 3, 0, 8);
	cr_assert_eq(bcfmt_losses_finish(losses), BCFMT_OK);
	cr_assert_eq(bcfmt_losses_each(losses, 1, 0, 600, note, &seen), BCFMT_OK);
	cr_assert_eq(bcfmt_losses_each(losses, 3, 0, 64, note, &seen), BCFMT_OK);
	cr_assert_eq(bcfmt_losses_each(losses, 4, 0, 64, note, &seen), BCFMT_OK);
	cr_assert_eq(bcfmt_losses_each(losses, 5, 0, 64, note, &seen), BCFMT_OK);
	cr_assert_eq(seen.n, 4);
	expect_range(&seen, 0, 500, 600, false);
	expect_range(&seen, 1, 0, 8, true);
	expect_range(&seen, 2, 8, 64, false);
	expect_range(&seen, 3, 0, 20, false);
	bcfmt_losses_free(losses);
}

/* ---- what a check says ---- */

Test(loss, a_check_names_stale_dirty_data_and_damaged_leaves)
{
	struct bcfmt_key keys[] = { set_kit_dirty(0, 100, 8, set_kit_ptr(&kit, nth(9), 0)),
				    set_kit_dirty(0, 108, 8, set_kit_ptr(&kit, nth(10), 0)) };
	uint64_t root;
	struct seen seen = { .n = 0 };

	set_kit_backing(&kit, 0, BCFMT_BDEV_DIRTY, 4096);
	root = two_leaves(keys, 2);
	/* The bucket of the second was handed out again; the leaf up to the end is spoilt. */
	kit.gens[nth(10)] += 1;
	set_kit_spoil(&kit, nth(2), 8);
	check_tree(root, 1);
	cr_assert_not_null(result.verdict.losses);
	cr_assert_eq(bcfmt_losses_each(result.verdict.losses, 0, 16, 4096, note, &seen), BCFMT_OK);
	/* Newer keys of its leaf are missing, and nobody knows which. */
	cr_assert_eq(seen.n, 3);
	expect_range(&seen, 0, 16, 108, false);
	expect_range(&seen, 1, 108, 116, true);
	expect_range(&seen, 2, 116, 4096, false);
	cr_expect_eq(set_kit_device(&result, 0)->lost_bytes, 8 * 512);
	cr_expect_eq(set_kit_device(&result, 0)->doubtful_bytes, (4096 - 16 - 8) * 512);
}

/* Three entries of the ring: a leaf that was lost is proved where they wrote. */
Test(loss, what_the_journal_holds_of_a_lost_leaf_is_not_doubtful)
{
	struct bcfmt_key key = set_kit_dirty(0, 2000, 16, set_kit_ptr(&kit, nth(9), 0));
	struct set_kit_jset jset = { .ring_index = 1, .seq = 7, .last_seq = 7, .level = 1 };
	struct seen seen = { .n = 0 };

	set_kit_backing(&kit, 0, BCFMT_BDEV_DIRTY, 4096);
	jset.root_ptr = two_leaves(NULL, 0);
	set_kit_zero(&kit, bcfmt_bucket_sector(&kit.geo, nth(2)), 16);
	set_kit_tables(&kit);
	jset.keys = &key;
	jset.n_keys = 1;
	set_kit_jset(&kit, &jset);
	check(BCFMT_LEVEL_FULL);
	cr_assert_eq(bcfmt_losses_each(result.verdict.losses, 0, 16, 4096, note, &seen), BCFMT_OK);
	cr_assert_eq(seen.n, 2);
	expect_range(&seen, 0, 1000, 2000, false);
	expect_range(&seen, 1, 2016, 4096, false);
}

Test(loss, a_missing_entry_of_the_window_makes_all_doubtful)
{
	uint64_t root = leaf_of(0, NULL, 0);

	set_kit_backing(&kit, 0, BCFMT_BDEV_DIRTY, 4096);
	cr_assert_eq(root, ptr_of(0));
	set_kit_tables(&kit);
	write_entries(5, 9, 7, 5);
	check(BCFMT_LEVEL_FULL);
	cr_expect_eq(set_kit_device(&result, 0)->doubtful_bytes, (4096 - 16) * 512);
}

/* Where entry seq put 8 sectors: all in one bucket. */
static uint64_t put_at(uint64_t seq)
{
	return set_kit_ptr(&kit, nth(9), (uint32_t)(seq - 11) * 2);
}

static struct bcfmt_key put_by(uint64_t seq)
{
	return set_kit_dirty(0, 100 * seq, 2, put_at(seq));
}

/* A root leaf, entries 11 to 15, and what is doubtful then. */
static uint64_t doubtful_sectors(const struct bcfmt_key *first, uint32_t n_first, bool has_spoiled)
{
	uint64_t root = ptr_of(0);
	uint32_t block = set_kit_bset(&kit, root, 0, 77, first, n_first);
	struct bcfmt_key key = put_by(14);

	set_kit_zero(&kit, bcfmt_bucket_sector(&kit.geo, nth(0)) + block, 1);
	if (has_spoiled) {
		set_kit_bset(&kit, root, block, 77, &key, 1);
		set_kit_spoil(&kit, nth(0), 512ull * block + 40);
	}
	for (uint64_t seq = 11; seq <= 15; seq++) {
		struct set_kit_jset jset = { .ring_index = 1,
					     .sector = (uint32_t)seq - 11,
					     .seq = seq,
					     .root_ptr = root,
					     .keys = &key,
					     .n_keys = 1 };

		key = put_by(seq);
		set_kit_jset(&kit, &jset);
	}
	check(BCFMT_LEVEL_FULL);
	return set_kit_device(&result, 0)->doubtful_bytes / 512;
}

/*
 * Before entry 12 was begun all keys of entries before 11 were on the disk: what was written behind
 * one of its keys is in the ring.
 */
Test(loss, the_end_of_a_leaf_is_known_when_the_ring_has_all_since)
{
	struct bcfmt_key keys[2];

	set_kit_backing(&kit, 0, BCFMT_BDEV_DIRTY, 4096);
	set_kit_tables(&kit);
	keys[0] = put_by(12);
	cr_expect_eq(doubtful_sectors(keys, 1, true), 0);
	/* A key of the oldest entry may stand before others of older ones. */
	keys[0] = put_by(11);
	cr_expect_eq(doubtful_sectors(keys, 1, true), 4096 - 16 - 5 * 2);
	/* None that an entry knows. */
	cr_expect_eq(doubtful_sectors(keys, 0, true), 4096 - 16 - 5 * 2);
}

Test(loss, a_leaf_that_only_lacks_its_end_is_known_unless_a_key_was_changed)
{
	struct bcfmt_key keys[2];

	set_kit_backing(&kit, 0, BCFMT_BDEV_DIRTY, 4096);
	set_kit_tables(&kit);
	keys[0] = put_by(11);
	keys[1] = put_by(12);
	cr_expect_eq(doubtful_sectors(keys, 2, false), 0);
	cr_expect_eq(SET_KIT_TOTAL(&result, NODE_LOST_KEYS), 1);
	/* What entry 13 put there is called another's. */
	keys[1] = set_kit_dirty(0, 1202, 2, put_at(13));
	keys[0] = put_by(12);
	cr_expect_gt(doubtful_sectors(keys, 2, false), 4000);
	cr_expect_eq(SET_KIT_TOTAL(&result, NODE_LOST_KEYS), 1);
}

/* ---- maps ---- */

static char *read_file(const char *path)
{
	static char text[4096];
	FILE *file = fopen(path, "re");
	size_t n;

	cr_assert_not_null(file);
	n = fread(text, 1, sizeof(text) - 1, file);
	text[n] = 0;
	fclose(file);
	return text;
}

Test(loss, a_map_covers_the_volume_and_our_own_reader_takes_it)
{
	static const char lines[] = "0x00000000     +               1\n"
				    "#      pos        size  status\n"
				    "0x00000000  0x00002000  +\n"
				    "0x00002000  0x00001000  -\n"
				    "0x00003000  0x00000200  /\n"
				    "0x00003200  0x00004E00  +\n";
	struct bcfmt_losses *losses = some();
	struct bcfmt_loss_map map = {
		.volume = "mail", .inode = 2, .data_offset_sectors = 16, .volume_sectors = 64
	};
	char path[] = "/tmp/bcfmt-loss-XXXXXX";
	struct bcfmt_dev *volume, *mapped;
	struct bcfmt_loss_sums sums;
	uint8_t buf[512];
	int fd = mkstemp(path);

	cr_assert_geq(fd, 0);
	close(fd);
	add(losses, BCFMT_LOSS_STALE, 2, 32, 40);
	add(losses, BCFMT_LOSS_TWICE, 2, 39, 41);
	add(losses, BCFMT_LOSS_STALE, 2, 0, 16);   /* in front of the data */
	add(losses, BCFMT_LOSS_NODE, 2, 80, 9000); /* behind the device */
	cr_assert_eq(bcfmt_losses_finish(losses), BCFMT_OK);
	cr_assert_eq(bcfmt_losses_sum(losses, &map, &sums), BCFMT_OK);
	cr_expect_eq(sums.lost_bytes, 8 * 512);
	cr_expect_eq(sums.doubtful_bytes, 512);
	cr_assert_eq(bcfmt_losses_write_map(kit.ctx, losses, &map, path), BCFMT_OK);
	cr_expect_not_null(strstr(read_file(path), lines), "%s", read_file(path));

	cr_assert_eq(bcfmt_dev_mem(kit.ctx, "volume", NULL, 64 * 512, &volume), BCFMT_OK);
	cr_assert_eq(bcfmt_dev_badmap(kit.ctx, volume, path, &mapped), BCFMT_OK, "%s",
		     bcfmt_ctx_fault(kit.ctx));
	for (uint64_t i = 0; i < 64; i++)
		cr_expect_eq(!bcfmt_dev_read(mapped, i * 512, buf, 512), i < 16 || i >= 25,
			     "sector %llu", (unsigned long long)i);
	bcfmt_dev_free(mapped);
	bcfmt_losses_free(losses);
	unlink(path);
}

Test(loss, a_map_that_cannot_be_written_leaves_nothing)
{
	struct bcfmt_losses *losses = some();
	struct bcfmt_loss_map map = { .volume = "mail", .volume_sectors = 64 };

	cr_assert_eq(bcfmt_losses_finish(losses), BCFMT_OK);
	cr_expect_eq(bcfmt_losses_write_map(kit.ctx, losses, &map, "/nowhere/at/all.map"),
		     BCFMT_E_SYSTEM);
	cr_expect_not_null(strstr(bcfmt_ctx_fault(kit.ctx), "/nowhere/at/all.map"));
	bcfmt_losses_free(losses);
}
