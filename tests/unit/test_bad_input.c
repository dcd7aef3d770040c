/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Devices that end too early or cannot be read: every size, every structure, every read. */
#include <stdio.h>
#include <unistd.h>

#include "bad_input_kit.h"

TestSuite(bad_input, .init = bad_begin, .fini = bad_end, .timeout = 300);

Test(bad_input, the_set_to_be_damaged_is_healthy)
{
	struct set_kit_result result;

	for (int level = BCFMT_LEVEL_QUICK; level <= BCFMT_LEVEL_DATA; level++) {
		bad_check_level(NULL, (enum bcfmt_check_level)level, "healthy", &result);
		cr_expect_eq(set_kit_problems(&result, BCFMT_SEV_WASTE), 0);
		cr_expect_neq(result.verdict.registers, BCFMT_REGISTERS_NO);
		cr_assert_eq(result.verdict.n_devices, BAD_INODES);
		cr_expect_eq(set_kit_device(&result, 0)->safe_alone == BCFMT_NOT_SAFE,
			     level > BCFMT_LEVEL_QUICK);
		cr_expect_eq(set_kit_device(&result, 1)->safe_alone == BCFMT_SAFE,
			     level > BCFMT_LEVEL_QUICK);
		bad_clear(&result);
	}
}

/* The end of everything that is needed to know what is dirty. */
static uint64_t metadata_end_bytes(void)
{
	uint64_t end_sector = bad_jset_sector[2] + 1;

	for (uint32_t i = 0; i < BAD_LEAVES; i++)
		if (bcfmt_ptr_sector(bad_leaf[i]) + 1 > end_sector)
			end_sector = bcfmt_ptr_sector(bad_leaf[i]) + 1;
	if (bcfmt_ptr_sector(bad_root) + 1 > end_sector)
		end_sector = bcfmt_ptr_sector(bad_root) + 1;
	return end_sector * BCFMT_SECTOR_BYTES;
}

static void check_size(size_t len_bytes)
{
	struct bcfmt_dev *dev = bad_copy(len_bytes);
	struct set_kit_result result;
	char what[64];

	for (int level = BCFMT_LEVEL_QUICK; level <= BCFMT_LEVEL_DATA; level++) {
		snprintf(what, sizeof(what), "%zu bytes, level %d", len_bytes, level);
		bad_check_level(dev, (enum bcfmt_check_level)level, what, &result);
		if (len_bytes < BCFMT_SUPER_OFFSET_BYTES + BCFMT_SUPER_BYTES)
			cr_expect_eq(SET_KIT_TOTAL(&result, SUPER_UNREADABLE), 1, "%s", what);
		else
			cr_expect_eq(SET_KIT_TOTAL(&result, SUPER_DEVICE_TOO_SMALL), 1, "%s", what);
		cr_expect_neq(result.verdict.registers, BCFMT_REGISTERS_YES, "%s", what);
		for (size_t i = 0; i < result.verdict.n_devices; i++)
			cr_expect(len_bytes >= metadata_end_bytes() ||
					  result.verdict.devices[i].safe_alone != BCFMT_SAFE,
				  "%s: inode %u is called safe", what,
				  result.verdict.devices[i].inode);
		bad_clear(&result);
	}
	bcfmt_dev_free(dev);
}

Test(bad_input, every_size_up_to_64_kib)
{
	for (size_t len_bytes = BCFMT_SECTOR_BYTES; len_bytes <= 65536;
	     len_bytes += BCFMT_SECTOR_BYTES)
		check_size(len_bytes);
}

Test(bad_input, an_empty_device_is_an_error_or_a_finding)
{
	struct bcfmt_dev *dev;
	struct set_kit_result result;

	if (bcfmt_dev_mem(bad_kit.ctx, "cache", bad_image, 0, &dev))
		return;
	bad_check(dev, "0 bytes", &result);
	cr_expect_eq(SET_KIT_TOTAL(&result, SUPER_UNREADABLE), 1);
	bad_clear(&result);
	bcfmt_dev_free(dev);
}

/* One structure on the cache. */
struct place {
	uint64_t sector;
	uint32_t sectors;
	enum bcfmt_problem_id id; /* found when a sector of it cannot be read */
	const char *name;
};
#define PLACES_MAX 32u

static uint32_t list_places(struct place *places)
{
	const struct bcfmt_geometry *geo = &bad_kit.geo;
	uint32_t meta_sectors = geo->meta_bytes / BCFMT_SECTOR_BYTES, n = 0;

#define PLACE(...) places[n++] = (struct place){ __VA_ARGS__ }
	PLACE(8, 8, BCFMT_P_SUPER_UNREADABLE, "superblock");
	PLACE(bcfmt_bucket_sector(geo, geo->first_bucket), 8, BCFMT_P_JOURNAL_UNREADABLE,
	      "empty journal bucket");
	for (uint32_t i = 0; i < 3; i++)
		PLACE(bad_jset_sector[i], 1, BCFMT_P_JOURNAL_UNREADABLE, "journal entry");
	for (uint32_t i = 0; i < 2; i++)
		PLACE(bcfmt_bucket_sector(geo, bad_kit.prio_bucket + i), meta_sectors,
		      BCFMT_P_PRIO_UNREADABLE, "prio set");
	PLACE(bcfmt_bucket_sector(geo, bad_kit.uuid_bucket), meta_sectors, BCFMT_P_UUIDS_UNREADABLE,
	      "uuid table");
	PLACE(bcfmt_ptr_sector(bad_root), geo->node_sectors, BCFMT_P_NODE_UNREADABLE, "root");
	for (uint32_t i = 0; i < 2; i++)
		PLACE(bcfmt_ptr_sector(bad_interior[i]), geo->node_sectors, BCFMT_P_NODE_UNREADABLE,
		      "interior node");
	for (uint32_t i = 0; i < BAD_LEAVES; i++)
		PLACE(bcfmt_ptr_sector(bad_leaf[i]), geo->node_sectors, BCFMT_P_NODE_UNREADABLE,
		      "leaf");
	for (uint32_t i = 0; i < BAD_LEAVES; i++)
		PLACE(bcfmt_bucket_sector(geo, bad_data[i]), 5, BCFMT_P_CACHE_DATA_UNREADABLE,
		      "data");
	PLACE(bcfmt_bucket_sector(geo, bad_data[BAD_LEAVES]), 2, BCFMT_P_CACHE_DATA_UNREADABLE,
	      "data of the journal");
#undef PLACE
	cr_assert_leq(n, PLACES_MAX);
	return n;
}

Test(bad_input, the_end_lies_in_every_structure)
{
	struct place places[PLACES_MAX];
	uint32_t n = list_places(places);

	for (uint32_t i = 0; i < n; i++) {
		for (uint32_t k = 0; k <= places[i].sectors; k++)
			check_size((size_t)(places[i].sector + k) * BCFMT_SECTOR_BYTES);
	}
	check_size(bad_bytes - BCFMT_SECTOR_BYTES);
}

/* lower, which it takes, with sectors that cannot be read. */
static struct bcfmt_dev *with_bad_sectors(struct bcfmt_dev *lower, uint64_t sector,
					  uint64_t sectors)
{
	const char *parent = getenv("TMPDIR");
	char path[512];
	int len = snprintf(path, sizeof(path), "%s/bcfmt-map-XXXXXX",
			   parent && *parent ? parent : "/tmp");
	int fd = len < (int)sizeof(path) ? mkstemp(path) : -1;
	FILE *file = fd < 0 ? NULL : fdopen(fd, "w");
	uint64_t end = sector + sectors, all = bcfmt_dev_bytes(lower) / BCFMT_SECTOR_BYTES;
	struct bcfmt_dev *dev = NULL;

	cr_assert_not_null(file);
	fprintf(file, "0x0 + 1\n");
	if (sector)
		fprintf(file, "0x0 0x%llx +\n", (unsigned long long)sector * BCFMT_SECTOR_BYTES);
	fprintf(file, "0x%llx 0x%llx -\n", (unsigned long long)sector * BCFMT_SECTOR_BYTES,
		(unsigned long long)sectors * BCFMT_SECTOR_BYTES);
	if (end < all)
		fprintf(file, "0x%llx 0x%llx +\n", (unsigned long long)end * BCFMT_SECTOR_BYTES,
			(unsigned long long)(all - end) * BCFMT_SECTOR_BYTES);
	cr_assert_eq(fclose(file), 0);
	cr_assert_eq(bcfmt_dev_badmap(bad_kit.ctx, lower, path, &dev), BCFMT_OK, "%s",
		     bcfmt_ctx_fault(bad_kit.ctx));
	unlink(path);
	return dev;
}

/*
 * A finding names the first sector that could not be read. A superblock is one sector to a kernel:
 * for any part of it the first is named. A prio set is named by its bucket alone.
 */
static void expect_sector(const struct set_kit_result *result, const struct place *place,
			  uint64_t sector, const char *what)
{
	bool is_named = place->id == BCFMT_P_PRIO_UNREADABLE;

	if (place->id == BCFMT_P_SUPER_UNREADABLE)
		sector = place->sector;
	for (size_t i = 0; i < bcfmt_report_count(result->report); i++) {
		const struct bcfmt_finding *finding = bcfmt_report_at(result->report, i);

		if (finding->problem->id != place->id)
			continue;
		cr_expect_neq(finding->where.sector, BCFMT_NO_NUMBER, "%s", what);
		for (uint32_t k = 0; k < finding->n_args; k++)
			is_named |= !strcmp(finding->args[k].name, "sector") &&
				    finding->args[k].u64 == sector;
	}
	cr_expect(is_named, "%s: no finding with its first sector", what);
}

static void check_unreadable(const struct place *place, uint32_t first, uint32_t sectors)
{
	struct bcfmt_dev *dev =
		with_bad_sectors(bad_copy(bad_bytes), place->sector + first, sectors);
	struct set_kit_result result;
	char what[96];

	snprintf(what, sizeof(what), "%s, sectors %llu..%llu", place->name,
		 (unsigned long long)place->sector + first,
		 (unsigned long long)place->sector + first + sectors - 1);
	bad_check_level(dev, BCFMT_LEVEL_DATA, what, &result);
	cr_expect_gt(bcfmt_report_total(result.report, place->id), 0u, "%s", what);
	expect_sector(&result, place, place->sector + first, what);
	bad_clear(&result);
	bcfmt_dev_free(dev);
}

Test(bad_input, every_sector_of_every_structure_can_be_unreadable)
{
	struct place places[PLACES_MAX];
	uint32_t n = list_places(places);

	for (uint32_t i = 0; i < n; i++) {
		for (uint32_t k = 0; k < places[i].sectors; k++)
			check_unreadable(&places[i], k, 1);
		check_unreadable(&places[i], 0, places[i].sectors);
	}
}

/* A leaf of inode 0 that cannot be read leaves its neighbours and the other device as they are. */
Test(bad_input, what_can_be_read_around_a_bad_leaf_is_read)
{
	struct bcfmt_dev *dev =
		with_bad_sectors(bad_copy(bad_bytes), bcfmt_ptr_sector(bad_leaf[1]), 1);
	struct set_kit_result result;
	uint64_t dirty_bytes;

	bad_check(NULL, "healthy", &result);
	dirty_bytes = set_kit_device(&result, 0)->dirty_bytes;
	bad_clear(&result);
	bad_check(dev, "bad leaf", &result);
	/* The leaf had 5 sectors; the journal's in its range are still there. */
	cr_expect_eq(set_kit_device(&result, 0)->dirty_bytes, dirty_bytes - 5 * 512);
	cr_expect_eq(set_kit_device(&result, 1)->clean_bytes, 10u * 512);
	cr_expect_eq(SET_KIT_TOTAL(&result, NODE_UNREADABLE), 1);
	cr_expect_eq(SET_KIT_TOTAL(&result, LEAF_DOUBTFUL), 1);
	cr_expect_eq(set_kit_problems(&result, BCFMT_SEV_WASTE), 2);
	bad_clear(&result);
	bcfmt_dev_free(dev);
}

Test(bad_input, unreadable_sectors_of_a_backing_device)
{
	struct bcfmt_dev *whole = bad_kit.backing[1];
	struct set_kit_result result;
	uint8_t *bytes = malloc(BAD_BACKING_SECTORS * BCFMT_SECTOR_BYTES);
	static const struct {
		uint64_t sector;
		enum bcfmt_problem_id id;
	} cases[] = { { 8, BCFMT_P_SUPER_UNREADABLE },
		      { 15, BCFMT_P_SUPER_UNREADABLE },
		      { 1001, BCFMT_P_BACKING_UNREADABLE } };

	cr_assert_eq(bcfmt_dev_read(whole, 0, bytes, BAD_BACKING_SECTORS * BCFMT_SECTOR_BYTES),
		     BCFMT_OK);
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct bcfmt_dev *copy;

		cr_assert_eq(bcfmt_dev_mem(bad_kit.ctx, "backing1", bytes,
					   BAD_BACKING_SECTORS * BCFMT_SECTOR_BYTES, &copy),
			     BCFMT_OK);
		bad_kit.backing[1] = with_bad_sectors(copy, cases[i].sector, 1);
		bad_check_level(NULL, BCFMT_LEVEL_DATA, "backing device", &result);
		cr_expect_eq(bcfmt_report_total(result.report, cases[i].id), 1, "sector %llu",
			     (unsigned long long)cases[i].sector);
		bad_clear(&result);
		bcfmt_dev_free(bad_kit.backing[1]);
	}
	bad_kit.backing[1] = whole;
	free(bytes);
}

static bool is_told(const struct set_kit_result *result)
{
	static const enum bcfmt_problem_id ids[] = {
		BCFMT_P_SUPER_UNREADABLE, BCFMT_P_JOURNAL_UNREADABLE, BCFMT_P_PRIO_UNREADABLE,
		BCFMT_P_UUIDS_UNREADABLE, BCFMT_P_NODE_UNREADABLE,    BCFMT_P_CACHE_DATA_UNREADABLE,
		BCFMT_P_JOURNAL_EMPTY,
	};
	uint64_t n = 0;

	for (size_t i = 0; i < sizeof(ids) / sizeof(ids[0]); i++)
		n += bcfmt_report_total(result->report, ids[i]);
	return n != 0;
}

static char *failing_read_text(uint64_t fail_read, bool once, bool *told)
{
	struct bcfmt_dev_faults faults = { .fail_read = fail_read, .once = once };
	struct set_kit_result result;
	struct bcfmt_dev *dev;
	char what[64], *text;

	snprintf(what, sizeof(what), "read %llu fails%s", (unsigned long long)fail_read,
		 once ? " once" : "");
	cr_assert_eq(bcfmt_dev_faulty(bad_kit.ctx, bad_copy(bad_bytes), &faults, &dev), BCFMT_OK);
	bad_check_level(dev, BCFMT_LEVEL_DATA, what, &result);
	*told = is_told(&result);
	text = set_kit_result_text(&result);
	bad_clear(&result);
	bcfmt_dev_free(dev);
	return text;
}

/* Whichever read fails: it is told, or a second try made up for it and nothing is different. */
static void fail_every_read(void)
{
	bool told;
	char *whole = failing_read_text(0, false, &told);
	uint64_t n_reads = 0;

	cr_expect_not(told);
	for (int once = 0; once < 2; once++) {
		for (uint64_t k = 1; k < 2000 && (!once || k < n_reads); k++) {
			char *text = failing_read_text(k, once, &told);
			bool is_same = !strcmp(text, whole);

			cr_expect(told || is_same, "read %llu, once %d:\n%s\nnot\n%s",
				  (unsigned long long)k, once, text, whole);
			free(text);
			/* Not even when it fails for good: there are no more reads than that. */
			if (!once && is_same) {
				n_reads = k;
				break;
			}
		}
	}
	cr_expect(n_reads > 20, "%llu reads", (unsigned long long)n_reads);
	free(whole);
}

Test(bad_input, every_read_can_fail)
{
	fail_every_read();
}

/* The last leaf raises a gen that the first was judged by: all leaves are read once more. */
Test(bad_input, every_read_can_fail_when_leaves_are_read_twice)
{
	uint64_t bucket = bcfmt_ptr_bucket(&bad_kit.geo, bad_leaf[BAD_LEAVES - 1]);
	struct set_kit_result result;
	struct bcfmt_key key;

	bad_kit.gens[bad_data[0]] = 2;
	key = set_kit_clean(1, 4000, 1, set_kit_ptr(&bad_kit, bad_data[0], 6));
	set_kit_bset(&bad_kit, bad_leaf[BAD_LEAVES - 1], 1, 0x5eed0000 + bucket, &key, 1);
	set_kit_read(&bad_kit, 0, bad_image, bad_bytes);
	bad_check(NULL, "raised gen", &result);
	cr_expect_eq(SET_KIT_TOTAL(&result, EXTENT_STALE_DIRTY), 2);
	cr_expect_eq(SET_KIT_TOTAL(&result, LEAF_DOUBTFUL), 1);
	cr_expect_eq(set_kit_problems(&result, BCFMT_SEV_WASTE), 3);
	bad_clear(&result);
	fail_every_read();
}
