/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Which device is which of an undo file, and which of them may be written to. */
#include "undo_help.h"

#define DEV_BYTES (128u * 512)
#define N_MAX 4u

/* Devices of one size that were changed under one undo file. */
struct scene {
	struct bcfmt_dev *store;
	struct bcfmt_dev *devs[N_MAX];
	uint8_t *before[N_MAX];
	uint8_t *after[N_MAX];
	size_t n;
	struct bcfmt_undo_file *file;
};

static struct scene scene;

static void begin(void)
{
	help_begin();
	memset(&scene, 0, sizeof(scene));
}

static void end(void)
{
	bcfmt_undo_file_free(scene.file);
	for (size_t i = 0; i < scene.n; i++) {
		bcfmt_dev_free(scene.devs[i]);
		free(scene.before[i]);
		free(scene.after[i]);
	}
	bcfmt_dev_free(scene.store);
	help_end();
}

TestSuite(undo_match, .init = begin, .fini = end);

static struct bcfmt_dev *named(const char *name, const uint8_t *bytes, size_t len_bytes)
{
	struct bcfmt_dev *dev;

	cr_assert_eq(bcfmt_dev_mem(help_ctx, name, bytes, len_bytes, &dev), BCFMT_OK);
	return dev;
}

static void add(const char *name, unsigned int seed, size_t len_bytes)
{
	uint8_t *bytes = malloc(len_bytes);

	help_fill(bytes, 0, len_bytes, seed);
	scene.devs[scene.n++] = named(name, bytes, len_bytes);
	free(bytes);
}

/* Changes the first 16 sectors of all but the last n_unchanged, and opens the file. */
static void change_all(size_t n_unchanged)
{
	struct bcfmt_undo *undo;

	scene.store = help_store();
	cr_assert_eq(bcfmt_undo_create_on(help_ctx, scene.store, "a test", &undo), BCFMT_OK);
	for (size_t i = 0; i < scene.n; i++) {
		unsigned int index;

		scene.before[i] = help_copy(scene.devs[i]);
		cr_assert_eq(bcfmt_undo_add_device(undo, scene.devs[i], &index), BCFMT_OK);
		if (i + n_unchanged < scene.n)
			help_change(undo, scene.devs[i], 0, 8192, 100 + (unsigned int)i);
		scene.after[i] = help_copy(scene.devs[i]);
	}
	cr_assert_eq(bcfmt_undo_finish(undo), BCFMT_OK);
	bcfmt_undo_free(undo);
	cr_assert_eq(bcfmt_undo_file_open_dev(help_ctx, scene.store, &scene.file), BCFMT_OK);
}

/* Device i of the file under another name. */
static struct bcfmt_dev *renamed(size_t i, const char *name)
{
	return named(name, scene.after[i], bcfmt_dev_bytes(scene.devs[i]));
}

static void expect_match(struct bcfmt_dev *const *devs, size_t n_devs,
			 struct bcfmt_dev *const *wanted)
{
	cr_assert_eq(bcfmt_undo_file_match(scene.file, devs, n_devs), BCFMT_OK, "%s",
		     bcfmt_ctx_fault(help_ctx));
	for (size_t i = 0; i < scene.n; i++)
		cr_expect_eq(bcfmt_undo_file_dev(scene.file, i), wanted[i], "device %zu", i);
}

static void put_back(void)
{
	cr_assert_eq(bcfmt_undo_file_check(scene.file, NULL, NULL), BCFMT_OK);
	cr_assert_eq(bcfmt_undo_file_apply(scene.file, 0), BCFMT_OK, "%s",
		     bcfmt_ctx_fault(help_ctx));
}

Test(undo_match, contents_count_and_not_names)
{
	struct bcfmt_dev *devs[3];

	add("sda", 1, DEV_BYTES);
	add("sdb", 2, DEV_BYTES);
	add("sdc", 3, DEV_BYTES);
	change_all(0);
	/* Every name belongs to another now. */
	devs[0] = renamed(1, "sda");
	devs[1] = renamed(2, "sdb");
	devs[2] = renamed(0, "sdc");
	expect_match(devs, 3, (struct bcfmt_dev *[]){ devs[2], devs[0], devs[1] });
	for (size_t i = 0; i < 3; i++)
		cr_expect_not(bcfmt_undo_file_is_guess(scene.file, i));
	put_back();
	cr_expect(help_holds(devs[0], scene.before[1]));
	cr_expect(help_holds(devs[1], scene.before[2]));
	cr_expect(help_holds(devs[2], scene.before[0]));
	/* And once more, as they were before. */
	expect_match(devs, 3, (struct bcfmt_dev *[]){ devs[2], devs[0], devs[1] });
	for (size_t i = 0; i < 3; i++)
		bcfmt_dev_free(devs[i]);
}

/* Each device holds what any of them held: then the name counts, with or without its folder. */
Test(undo_match, names_where_contents_do_not_tell)
{
	struct bcfmt_dev *devs[3];

	add("/dev/sda", 1, DEV_BYTES);
	add("/dev/sdb", 1, DEV_BYTES);
	add("/dev/sdc", 1, DEV_BYTES);
	change_all(0);
	for (size_t i = 0; i < 3; i++)
		cr_assert_eq(bcfmt_dev_write(scene.devs[i], 0, scene.before[0], DEV_BYTES),
			     BCFMT_OK);
	devs[0] = scene.devs[2];
	devs[1] = scene.devs[0];
	devs[2] = scene.devs[1];
	expect_match(devs, 3, scene.devs);
	devs[0] = named("copies/sdc", scene.before[0], DEV_BYTES);
	devs[1] = named("copies/sdx", scene.before[0], DEV_BYTES);
	devs[2] = named("copies/sda", scene.before[0], DEV_BYTES);
	expect_match(devs, 3, (struct bcfmt_dev *[]){ devs[2], devs[1], devs[0] });
	for (size_t i = 0; i < 3; i++)
		bcfmt_dev_free(devs[i]);
	/* A name that two of them have is none. */
	devs[0] = named("one/sdb", scene.before[0], DEV_BYTES);
	devs[1] = named("two/sdb", scene.before[0], DEV_BYTES);
	devs[2] = named("one/sda", scene.before[0], DEV_BYTES);
	expect_match(devs, 3, (struct bcfmt_dev *[]){ devs[2], devs[0], devs[1] });
	for (size_t i = 0; i < 3; i++) {
		cr_expect_eq(bcfmt_undo_file_is_guess(scene.file, i), i > 0);
		bcfmt_dev_free(devs[i]);
	}
	/* Without any name the order counts. */
	devs[0] = named("x", scene.before[0], DEV_BYTES);
	devs[1] = named("y", scene.before[0], DEV_BYTES);
	devs[2] = named("z", scene.before[0], DEV_BYTES);
	expect_match(devs, 3, devs);
	for (size_t i = 0; i < 3; i++) {
		cr_expect(bcfmt_undo_file_is_guess(scene.file, i));
		bcfmt_dev_free(devs[i]);
	}
}

/* All were overwritten by the same, and none has its name: a guess, and no good one. */
Test(undo_match, a_guess_is_not_written_to)
{
	struct bcfmt_undo *undo;
	struct bcfmt_dev *devs[3], *swap;
	uint8_t *now;

	add("a", 1, DEV_BYTES);
	add("b", 2, DEV_BYTES);
	add("c", 3, DEV_BYTES);
	scene.store = help_store();
	cr_assert_eq(bcfmt_undo_create_on(help_ctx, scene.store, "a test", &undo), BCFMT_OK);
	for (size_t i = 0; i < 3; i++) {
		scene.before[i] = help_copy(scene.devs[i]);
		help_change(undo, scene.devs[i], 0, 8192, 0);
		scene.after[i] = help_copy(scene.devs[i]);
	}
	cr_assert_eq(bcfmt_undo_finish(undo), BCFMT_OK);
	bcfmt_undo_free(undo);
	cr_assert_eq(bcfmt_undo_file_open_dev(help_ctx, scene.store, &scene.file), BCFMT_OK);
	/* Of one the name is known; the other two could be either. */
	devs[0] = renamed(1, "x");
	devs[1] = renamed(0, "y");
	devs[2] = renamed(2, "copies/c");
	expect_match(devs, 3, devs);
	cr_expect(bcfmt_undo_file_is_guess(scene.file, 0));
	cr_expect(bcfmt_undo_file_is_guess(scene.file, 1));
	cr_expect_not(bcfmt_undo_file_is_guess(scene.file, 2));
	cr_assert_eq(bcfmt_undo_file_check(scene.file, NULL, NULL), BCFMT_OK);
	now = help_copy(devs[0]);
	cr_expect_eq(bcfmt_undo_file_apply(scene.file, 0), BCFMT_E_ARG);
	help_expect_fault("x: neither contents nor name tell which device of the undo file it is");
	cr_expect(help_holds(devs[0], now));
	free(now);
	/* The other way round, by force: the order counts then. */
	swap = devs[0];
	devs[0] = devs[1];
	devs[1] = swap;
	expect_match(devs, 3, devs);
	cr_assert_eq(bcfmt_undo_file_check(scene.file, NULL, NULL), BCFMT_OK);
	cr_expect_eq(bcfmt_undo_file_apply(scene.file, BCFMT_UNDO_FORCE), BCFMT_OK);
	for (size_t i = 0; i < 3; i++)
		cr_expect(help_holds(devs[i], scene.before[i]));
	/* Now they are as before and differ: nothing has to be guessed. */
	expect_match(devs, 3, devs);
	cr_expect_not(bcfmt_undo_file_is_guess(scene.file, 0));
	for (size_t i = 0; i < 3; i++)
		bcfmt_dev_free(devs[i]);
}

/* One dev fits two devices and another only one of them: both find their place. */
Test(undo_match, no_dev_takes_the_place_of_another)
{
	struct bcfmt_dev *devs[2];

	add("a", 1, DEV_BYTES);
	add("b", 1, DEV_BYTES);
	change_all(0);
	/* As before, it fits both; written, only b. */
	devs[0] = named("x", scene.after[1], DEV_BYTES);
	devs[1] = named("y", scene.before[0], DEV_BYTES);
	expect_match(devs, 2, (struct bcfmt_dev *[]){ devs[1], devs[0] });
	bcfmt_dev_free(devs[0]);
	bcfmt_dev_free(devs[1]);
	devs[0] = named("b", scene.before[0], DEV_BYTES);
	devs[1] = named("y", scene.after[1], DEV_BYTES);
	/* Its name says b, but then nobody would be a. */
	expect_match(devs, 2, (struct bcfmt_dev *[]){ devs[0], devs[1] });
	bcfmt_dev_free(devs[0]);
	bcfmt_dev_free(devs[1]);
}

Test(undo_match, sizes_and_numbers)
{
	struct bcfmt_dev *devs[3];

	add("a", 1, DEV_BYTES);
	add("b", 2, DEV_BYTES + 512);
	change_all(0);
	devs[0] = scene.devs[1];
	devs[1] = scene.devs[0];
	expect_match(devs, 2, scene.devs);
	cr_expect_eq(bcfmt_undo_file_match(scene.file, devs, 1), BCFMT_E_ARG);
	help_expect_fault("device 0 of the undo file is missing: 65536 bytes, then a");
	devs[2] = named("c", NULL, DEV_BYTES);
	cr_expect_eq(bcfmt_undo_file_match(scene.file, devs, 3), BCFMT_E_ARG);
	help_expect_fault("undo: the undo file has 2 devices, 3 are given");
	bcfmt_dev_free(devs[2]);
	devs[1] = named("a", scene.after[0], DEV_BYTES - 512);
	cr_expect_eq(bcfmt_undo_file_match(scene.file, devs, 2), BCFMT_E_ARG);
	help_expect_fault("a: 65024 bytes: no device of this size is in the undo file");
	cr_expect_eq(bcfmt_undo_file_match(scene.file, NULL, 0), BCFMT_E_ARG);
	bcfmt_ctx_fault_clear(help_ctx);
	bcfmt_dev_free(devs[1]);
}

/* A device that nothing was written to may stay away, or be there. */
Test(undo_match, a_device_that_is_not_needed)
{
	uint8_t super[BCFMT_SUPER_BYTES];

	add("a", 1, DEV_BYTES);
	add("b", 2, DEV_BYTES);
	help_super(super, true, 3, "");
	cr_assert_eq(bcfmt_dev_write(scene.devs[1], 4096, super, 4096), BCFMT_OK);
	change_all(1);
	cr_expect(bcfmt_undo_file_device(scene.file, 0)->is_needed);
	cr_expect_not(bcfmt_undo_file_device(scene.file, 1)->is_needed);
	expect_match(scene.devs, 2, scene.devs);
	expect_match(scene.devs, 1, (struct bcfmt_dev *[]){ scene.devs[0], NULL });
	put_back();
	cr_expect(help_holds(scene.devs[0], scene.before[0]));
	cr_expect_eq(bcfmt_undo_file_match(scene.file, scene.devs + 1, 1), BCFMT_E_ARG);
	help_expect_fault("device 0 of the undo file is missing");
}

/* ---- devices that fit nowhere ---- */

static void spoil(struct bcfmt_dev *dev, uint64_t sector)
{
	uint8_t buf[512];

	help_fill(buf, sector * 512, 512, 4711);
	cr_assert_eq(bcfmt_dev_write(dev, sector * 512, buf, 512), BCFMT_OK);
}

Test(undo_match, a_changed_device_is_known_by_name)
{
	struct bcfmt_dev *devs[2];

	add("a", 1, DEV_BYTES);
	add("b", 2, DEV_BYTES);
	change_all(0);
	spoil(scene.devs[0], 3);
	spoil(scene.devs[1], 3);
	devs[0] = scene.devs[1];
	devs[1] = scene.devs[0];
	expect_match(devs, 2, scene.devs);
	cr_assert_eq(bcfmt_undo_file_check(scene.file, NULL, NULL), BCFMT_OK);
	cr_expect_eq(help_sectors(scene.file, BCFMT_UNDO_FOREIGN), 2);
}

Test(undo_match, or_by_uuid_or_as_the_last)
{
	uint8_t super[BCFMT_SUPER_BYTES];
	struct bcfmt_dev *devs[3];

	add("a", 1, DEV_BYTES);
	add("b", 2, DEV_BYTES);
	add("c", 3, DEV_BYTES);
	help_super(super, true, 7, "");
	cr_assert_eq(bcfmt_dev_write(scene.devs[1], 4096, super, 4096), BCFMT_OK);
	change_all(0);
	devs[0] = renamed(0, "x");
	devs[1] = renamed(1, "y");
	devs[2] = renamed(2, "z");
	for (size_t i = 0; i < 3; i++)
		spoil(devs[i], 3);
	/* Two of a kind, and nothing tells. */
	cr_expect_eq(bcfmt_undo_file_match(scene.file, devs, 3), BCFMT_E_ARG);
	help_expect_fault("x: neither contents nor name tell which device of the undo file it is");
	cr_assert_eq(bcfmt_dev_write(devs[1], 4096, super, 4096), BCFMT_OK);
	cr_expect_eq(bcfmt_undo_file_match(scene.file, devs, 3), BCFMT_E_ARG);
	bcfmt_ctx_fault_clear(help_ctx);
	/* With the name of one of them the other is the last. */
	bcfmt_dev_free(devs[2]);
	devs[2] = renamed(2, "copies/c");
	spoil(devs[2], 3);
	expect_match(devs, 3, devs);
	for (size_t i = 0; i < 3; i++)
		bcfmt_dev_free(devs[i]);
}

Test(undo_match, a_read_error_is_one)
{
	struct bcfmt_dev *bad;
	struct bcfmt_dev_faults faults = { .fail_read = 1 };

	add("a", 1, DEV_BYTES);
	change_all(0);
	cr_assert_eq(bcfmt_dev_faulty(help_ctx, renamed(0, "a"), &faults, &bad), BCFMT_OK);
	cr_expect_eq(bcfmt_undo_file_match(scene.file, &bad, 1), BCFMT_E_IO);
	help_expect_fault("a: sector 0: cannot read: injected failure");
	bcfmt_dev_free(bad);
}

/* ---- what is there now ---- */

struct ranges {
	struct bcfmt_undo_range range[16];
	size_t n;
};

static void note(void *arg, const struct bcfmt_undo_range *range)
{
	struct ranges *ranges = arg;

	cr_assert_lt(ranges->n, 16);
	ranges->range[ranges->n++] = *range;
}

static void expect_range(const struct ranges *ranges, size_t i, size_t device, uint64_t sector,
			 uint64_t sectors, enum bcfmt_undo_state state)
{
	const struct bcfmt_undo_range *range = &ranges->range[i];

	cr_expect(i < ranges->n && range->device == device && range->first_sector == sector &&
			  range->sectors == sectors && range->state == state,
		  "range %zu: device %zu, %llu+%llu, state %d", i, range->device,
		  (unsigned long long)range->first_sector, (unsigned long long)range->sectors,
		  (int)range->state);
}

Test(undo_match, a_device_that_was_used_since_is_left_alone)
{
	struct ranges ranges = { 0 };
	uint8_t *spoiled;
	const struct bcfmt_undo_tally *tally;

	add("a", 1, DEV_BYTES);
	add("b", 2, DEV_BYTES);
	change_all(0);
	spoil(scene.devs[0], 11);
	spoil(scene.devs[0], 12);
	spoil(scene.devs[0], 15);
	/* What was not saved may change. */
	spoil(scene.devs[0], 16);
	/* Half of a write. */
	cr_assert_eq(bcfmt_dev_write(scene.devs[0], 0, scene.before[0], 1024), BCFMT_OK);
	spoiled = help_copy(scene.devs[0]);

	expect_match(scene.devs, 2, scene.devs);
	cr_expect_eq(bcfmt_undo_file_apply(scene.file, 0), BCFMT_E_ARG);
	help_expect_fault("undo: the devices are not checked");
	cr_assert_eq(bcfmt_undo_file_check(scene.file, note, &ranges), BCFMT_OK);
	cr_expect_eq(ranges.n, 6);
	expect_range(&ranges, 0, 0, 0, 2, BCFMT_UNDO_AS_BEFORE);
	expect_range(&ranges, 1, 0, 2, 9, BCFMT_UNDO_WRITTEN);
	expect_range(&ranges, 2, 0, 11, 2, BCFMT_UNDO_FOREIGN);
	expect_range(&ranges, 3, 0, 13, 2, BCFMT_UNDO_WRITTEN);
	expect_range(&ranges, 4, 0, 15, 1, BCFMT_UNDO_FOREIGN);
	expect_range(&ranges, 5, 1, 0, 16, BCFMT_UNDO_WRITTEN);
	tally = bcfmt_undo_file_tally(scene.file, 0);
	cr_expect(tally->sectors[BCFMT_UNDO_FOREIGN] == 3 &&
		  tally->first_doubtful.first_sector == 11 && tally->first_doubtful.sectors == 2);
	cr_expect_eq(bcfmt_undo_file_apply(scene.file, 0), BCFMT_E_ARG);
	help_expect_fault("a: 3 sectors were changed since, the first is 11");
	cr_expect(help_holds(scene.devs[0], spoiled));
	cr_expect(help_holds(scene.devs[1], scene.after[1]));
	/* By force, and only what was saved. */
	cr_expect_eq(bcfmt_undo_file_apply(scene.file, BCFMT_UNDO_FORCE), BCFMT_OK);
	memcpy(spoiled, scene.before[0], 8192);
	cr_expect(help_holds(scene.devs[0], spoiled));
	cr_expect(help_holds(scene.devs[1], scene.before[1]));
	cr_expect_eq(bcfmt_undo_file_apply(scene.file, BCFMT_UNDO_FORCE), BCFMT_E_ARG);
	bcfmt_ctx_fault_clear(help_ctx);
	free(spoiled);
}

Test(undo_match, a_device_that_cannot_be_written)
{
	char path[HELP_PATH_BYTES];
	struct bcfmt_dev *dev;

	add("a", 1, DEV_BYTES);
	change_all(0);
	help_file("image", scene.after[0], DEV_BYTES);
	cr_assert_eq(bcfmt_dev_open(help_ctx, help_path(path, "image"), 0, &dev), BCFMT_OK);
	expect_match(&dev, 1, &dev);
	cr_assert_eq(bcfmt_undo_file_check(scene.file, NULL, NULL), BCFMT_OK);
	cr_expect_eq(bcfmt_undo_file_apply(scene.file, 0), BCFMT_E_ARG);
	help_expect_fault("image: opened for reading only");
	bcfmt_dev_free(dev);
}

/* The device changes between check and putting back: what was not checked is not overwritten. */
Test(undo_match, changed_after_the_check)
{
	uint8_t *now;

	add("a", 1, DEV_BYTES);
	change_all(0);
	expect_match(scene.devs, 1, scene.devs);
	cr_assert_eq(bcfmt_undo_file_check(scene.file, NULL, NULL), BCFMT_OK);
	spoil(scene.devs[0], 0);
	now = help_copy(scene.devs[0]);
	cr_expect_eq(bcfmt_undo_file_apply(scene.file, 0), BCFMT_E_BUSY);
	help_expect_fault("a: sector 0: changed since it was checked");
	cr_expect(help_holds(scene.devs[0], now));
	free(now);
}

/* Registered since: a kernel writes the superblock then, and nothing else that was saved. */
Test(undo_match, registered_since)
{
	uint8_t super[BCFMT_SUPER_BYTES];
	struct bcfmt_undo *undo;
	unsigned int index;

	add("a", 1, DEV_BYTES);
	help_super(super, false, 3, "");
	cr_assert_eq(bcfmt_dev_write(scene.devs[0], 4096, super, 4096), BCFMT_OK);
	scene.store = help_store();
	cr_assert_eq(bcfmt_undo_create_on(help_ctx, scene.store, "a test", &undo), BCFMT_OK);
	cr_assert_eq(bcfmt_undo_add_device(undo, scene.devs[0], &index), BCFMT_OK);
	help_change(undo, scene.devs[0], 64 * 512, 4096, 9);
	cr_assert_eq(bcfmt_undo_finish(undo), BCFMT_OK);
	bcfmt_undo_free(undo);
	super[100] ^= 1;
	cr_assert_eq(bcfmt_dev_write(scene.devs[0], 4096, super, 4096), BCFMT_OK);
	cr_expect_eq(help_put_back(scene.store, scene.devs, 1, 0), BCFMT_E_ARG);
	help_expect_fault("a: 1 sectors were changed since, the first is 8");
}
