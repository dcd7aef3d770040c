/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Power cuts at every write while devices are changed under an undo file, and while they are put
 * back. Devices and undo file lie on one timeline: a cut finds all of them at the same moment, each
 * with what it had not flushed lost, or in part, or torn by sector.
 */
#include "undo_help.h"

#define DEV_BYTES (640u * 512)
#define LOG_BYTES (64u << 20)
#define ROUNDS 3u
#define N_DISKS 3u
#define STORE 2u /* the disk with the undo file */

#include "timeline_help.h"

TestSuite(undo_crash, .init = help_begin, .fini = help_end);

/* ---- what is done to the devices ---- */

/* An old cache and an old backing device; what they hold then is in before. */
struct scene {
	struct bcfmt_dev *disks[N_DISKS];
	uint8_t *before[2];
};

static void scene_begin(struct scene *scene)
{
	uint8_t super[BCFMT_SUPER_BYTES];

	for (size_t i = 0; i < 2; i++) {
		uint8_t zeros[64 * 512] = { 0 };

		scene->disks[i] = help_mem(DEV_BYTES, (unsigned int)i + 1);
		cr_assert_eq(bcfmt_dev_write(scene->disks[i], 300 * 512, zeros, sizeof(zeros)),
			     BCFMT_OK);
		help_super(super, i == 1, (uint8_t)(1 + i), "old");
		cr_assert_eq(bcfmt_dev_write(scene->disks[i], BCFMT_SUPER_OFFSET_BYTES, super,
					     sizeof(super)),
			     BCFMT_OK);
		scene->before[i] = help_copy(scene->disks[i]);
	}
	scene->disks[STORE] = help_store();
}

static void scene_end(struct scene *scene)
{
	for (size_t i = 0; i < N_DISKS; i++)
		bcfmt_dev_free(scene->disks[i]);
	free(scene->before[0]);
	free(scene->before[1]);
}

static void save(struct bcfmt_undo *undo, unsigned int index, uint64_t sector, uint64_t sectors,
		 unsigned int seed)
{
	uint8_t *bytes = malloc(sectors * 512);

	help_fill(bytes, sector * 512, sectors * 512, seed);
	cr_assert_eq(bcfmt_undo_save(undo, index, sector * 512, seed ? bytes : NULL, sectors * 512),
		     BCFMT_OK);
	free(bytes);
}

static void write_fill(struct bcfmt_dev *dev, uint64_t sector, uint64_t sectors, unsigned int seed)
{
	uint8_t *bytes = calloc(sectors, 512);

	if (seed)
		help_fill(bytes, sector * 512, sectors * 512, seed);
	cr_assert_eq(bcfmt_dev_write(dev, sector * 512, bytes, sectors * 512), BCFMT_OK);
	free(bytes);
}

static void format(struct bcfmt_undo *undo, struct bcfmt_dev *const dev[2], bool is_finished)
{
	uint8_t super[2][BCFMT_SUPER_BYTES], buf[4096];
	struct bcfmt_dev *saving;
	unsigned int index;

	/* All is saved first, then written: the superblocks last. */
	for (unsigned int i = 0; i < 2; i++) {
		help_super(super[i], i == 0, (uint8_t)(10 + i), "new");
		cr_assert_eq(bcfmt_undo_add_device(undo, dev[i], &index), BCFMT_OK);
		cr_assert_eq(index, i);
		save(undo, i, 0, 8, 0);
		cr_assert_eq(bcfmt_undo_save(undo, i, BCFMT_SUPER_OFFSET_BYTES, super[i],
					     sizeof(super[i])),
			     BCFMT_OK);
	}
	save(undo, 0, 290, 40, 0);
	save(undo, 1, 600, 40, 7);
	cr_assert_eq(bcfmt_undo_sync(undo), BCFMT_OK);
	write_fill(dev[0], 0, 8, 0);
	write_fill(dev[0], 290, 40, 0);
	write_fill(dev[1], 600, 40, 7);
	write_fill(dev[1], 0, 8, 0);
	cr_assert_eq(bcfmt_dev_flush(dev[0]), BCFMT_OK);
	for (unsigned int i = 0; i < 2; i++)
		cr_assert_eq(bcfmt_dev_write(dev[i], BCFMT_SUPER_OFFSET_BYTES, super[i],
					     sizeof(super[i])),
			     BCFMT_OK);
	/* A second batch over the first, and writes that save for themselves. */
	save(undo, 0, 320, 20, 8);
	save(undo, 1, 0, 4, 9);
	cr_assert_eq(bcfmt_undo_sync(undo), BCFMT_OK);
	write_fill(dev[0], 320, 20, 8);
	write_fill(dev[1], 0, 4, 9);
	cr_assert_eq(bcfmt_dev_undo(help_ctx, dev[0], undo, 0, &saving), BCFMT_OK);
	for (unsigned int i = 0; i < 4; i++) {
		help_fill(buf, 0, sizeof(buf), 50 + i);
		cr_assert_eq(bcfmt_dev_write(saving, (322 + 4 * i) * 512, buf, sizeof(buf)),
			     BCFMT_OK);
		if (i == 2)
			cr_assert_eq(bcfmt_dev_flush(saving), BCFMT_OK);
	}
	bcfmt_dev_free(saving);
	cr_assert_eq(bcfmt_dev_flush(dev[0]), BCFMT_OK);
	cr_assert_eq(bcfmt_dev_flush(dev[1]), BCFMT_OK);
	if (is_finished)
		cr_assert_eq(bcfmt_undo_finish(undo), BCFMT_OK);
}

/* ---- cuts while they are changed ---- */

static bool is_as_before(const struct scene *scene, struct bcfmt_dev *const disks[N_DISKS])
{
	return help_holds(disks[0], scene->before[0]) && help_holds(disks[1], scene->before[1]);
}

static void expect_back(void *arg, const struct cut *cut, struct bcfmt_dev *const disks[N_DISKS])
{
	const struct scene *scene = arg;
	char name[CUT_NAME_BYTES];
	bool was_as_before = is_as_before(scene, disks);
	bcfmt_err err = help_put_back(disks[STORE], disks, 2, 0);

	cut_name(cut, name);
	/* Before its first record, or the devices, are durable a file is not used. */
	if (err) {
		cr_assert(was_as_before, "%s: %s", name, bcfmt_ctx_fault(help_ctx));
		cr_assert(err == BCFMT_E_DAMAGED || err == BCFMT_E_ARG, "%s: %s", name,
			  bcfmt_err_name(err));
		bcfmt_ctx_fault_clear(help_ctx);
	}
	cr_assert(is_as_before(scene, disks), "%s", name);
}

static void cut_while_changed(bool is_finished)
{
	struct scene scene;
	struct timeline line;
	struct bcfmt_undo *undo;

	scene_begin(&scene);
	timeline_begin(help_ctx, &line, scene.disks);
	cr_assert_eq(bcfmt_undo_create_on(help_ctx, line.dev[STORE], "a test", &undo), BCFMT_OK);
	format(undo, line.dev, is_finished);
	bcfmt_undo_free(undo);
	timeline_end(&line);
	cr_expect_gt(timeline_every_moment(&line, expect_back, &scene), 300);
	timeline_free(&line);
	scene_end(&scene);
}

Test(undo_crash, while_devices_are_changed, .timeout = 120)
{
	cut_while_changed(true);
}

/* ---- cuts while they are put back ---- */

/* What was there when putting back began; half of it must never look like a whole device. */
struct putting {
	const struct scene *scene;
	uint8_t *begin[2];
	unsigned int half; /* moments with a device in between */
};

static bool is_same_without_super(const uint8_t *now, const uint8_t *other)
{
	const size_t behind = BCFMT_SUPER_OFFSET_BYTES + 512;

	return !memcmp(now, other, BCFMT_SUPER_OFFSET_BYTES) &&
	       !memcmp(now + behind, other + behind, DEV_BYTES - behind);
}

static void expect_no_half(struct putting *putting, const char *name, size_t i,
			   struct bcfmt_dev *disk)
{
	uint8_t *now = help_copy(disk);
	struct bcfmt_super super;
	bool is_whole = is_same_without_super(now, putting->begin[i]) ||
			is_same_without_super(now, putting->scene->before[i]);

	bcfmt_super_decode(now + BCFMT_SUPER_OFFSET_BYTES, &super);
	if (!is_whole) {
		putting->half++;
		cr_assert(bcfmt_super_faults(&super, DEV_BYTES, 512, 4096) & BCFMT_SUPER_BAD_MAGIC,
			  "%s: device %zu has a superblock, and is half put back", name, i);
		/* It says what to do about it. */
		cr_assert(strstr((char *)now + BCFMT_SUPER_OFFSET_BYTES, "bcache-fsck --undo"));
	}
	free(now);
}

static void expect_back_again(void *arg, const struct cut *cut,
			      struct bcfmt_dev *const disks[N_DISKS])
{
	struct putting *putting = arg;
	char name[CUT_NAME_BYTES];

	cut_name(cut, name);
	for (size_t i = 0; i < 2; i++)
		expect_no_half(putting, name, i, disks[i]);
	/* The cache is the last that gets its superblock back. */
	if (help_holds(disks[0], putting->scene->before[0]))
		cr_assert(help_holds(disks[1], putting->scene->before[1]), "%s", name);
	cr_assert_eq(help_put_back(disks[STORE], disks, 2, 0), BCFMT_OK, "%s: %s", name,
		     bcfmt_ctx_fault(help_ctx));
	cr_assert(is_as_before(putting->scene, disks), "%s", name);
}

/* Puts back from a moment of another timeline, recorded, and cuts that. */
static void cut_while_put_back(void *arg, const struct cut *cut,
			       struct bcfmt_dev *const disks[N_DISKS])
{
	struct putting *putting = arg;
	struct timeline line;

	(void)cut;
	for (size_t i = 0; i < 2; i++)
		putting->begin[i] = help_copy(disks[i]);
	timeline_begin(help_ctx, &line, disks);
	cr_assert_eq(help_put_back(line.dev[STORE], line.dev, 2, 0), BCFMT_OK, "%s",
		     bcfmt_ctx_fault(help_ctx));
	cr_assert(is_as_before(putting->scene, disks));
	timeline_end(&line);
	timeline_every_moment(&line, expect_back_again, putting);
	timeline_free(&line);
	free(putting->begin[0]);
	free(putting->begin[1]);
}

Test(undo_crash, while_devices_are_put_back, .timeout = 240)
{
	struct scene scene;
	struct putting putting = { .scene = &scene };
	struct timeline line;
	struct bcfmt_undo *undo;

	scene_begin(&scene);
	timeline_begin(help_ctx, &line, scene.disks);
	cr_assert_eq(bcfmt_undo_create_on(help_ctx, line.dev[STORE], "a test", &undo), BCFMT_OK);
	format(undo, line.dev, true);
	bcfmt_undo_free(undo);
	timeline_end(&line);
	/* From the end, and from some moments with half of it written. */
	for (uint32_t n = line.end - 40; n <= line.end; n += 8) {
		struct cut cut = { n, n == line.end ? LOSE_NOTHING : LOSE_TORN, n };

		for (size_t i = 0; i < N_DISKS; i++)
			cr_assert(states_advance(&line.states[i], n));
		timeline_at(&line, &cut, cut_while_put_back, &putting);
	}
	cr_expect_gt(putting.half, 100);
	timeline_free(&line);
	scene_end(&scene);
}

/*
 * The superblock was not to be changed, as in most repairs: it goes all the same until the rest is
 * there again.
 */
static void repair(struct bcfmt_undo *undo, struct bcfmt_dev *const dev[2])
{
	unsigned int index;

	for (unsigned int i = 0; i < 2; i++)
		cr_assert_eq(bcfmt_undo_add_device(undo, dev[i], &index), BCFMT_OK);
	for (unsigned int i = 0; i < 12; i++)
		help_change(undo, dev[i % 3 == 0], (280 + 9 * i) * 512, 4096, 70 + i);
	cr_assert_eq(bcfmt_undo_finish(undo), BCFMT_OK);
}

Test(undo_crash, superblocks_that_were_not_changed, .timeout = 120)
{
	struct scene scene;
	struct putting putting = { .scene = &scene };
	struct bcfmt_undo *undo;

	scene_begin(&scene);
	cr_assert_eq(bcfmt_undo_create_on(help_ctx, scene.disks[STORE], "a test", &undo), BCFMT_OK);
	repair(undo, scene.disks);
	bcfmt_undo_free(undo);
	cut_while_put_back(&putting, NULL, scene.disks);
	cr_expect_gt(putting.half, 20);
	scene_end(&scene);
}
