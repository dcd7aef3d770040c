/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What the tests of undo files share: devices that are changed under an undo file, and put back. */
#ifndef TESTS_UNIT_UNDO_HELP_H
#define TESTS_UNIT_UNDO_HELP_H

#include "dev_help.h"

#include <bcfmt/super.h>
#include <bcfmt/undo.h>

#include "ondisk/super.h"

#define HELP_UNDO_BYTES (8u << 20)

/* Room for an undo file. */
static inline struct bcfmt_dev *help_store(void)
{
	struct bcfmt_dev *store;

	cr_assert_eq(bcfmt_dev_mem(help_ctx, "undo", NULL, HELP_UNDO_BYTES, &store), BCFMT_OK);
	return store;
}

/* A copy of all that a device holds; freed by the caller. */
static inline uint8_t *help_copy(struct bcfmt_dev *dev)
{
	uint8_t *copy = malloc(bcfmt_dev_bytes(dev));

	cr_assert_eq(bcfmt_dev_read(dev, 0, copy, bcfmt_dev_bytes(dev)), BCFMT_OK);
	return copy;
}

static inline bool help_holds(struct bcfmt_dev *dev, const uint8_t *copy)
{
	uint8_t *now = help_copy(dev);
	bool is_same = !memcmp(now, copy, bcfmt_dev_bytes(dev));

	free(now);
	return is_same;
}

/* A valid superblock with this uuid; the rest of it is made of seed. */
static inline void help_super(uint8_t raw[BCFMT_SUPER_BYTES], bool is_backing, uint8_t seed,
			      const char *label)
{
	static const uint8_t magic[] = DISK_SUPER_MAGIC;
	struct bcfmt_super super = { .offset_sector = 8,
				     .version = is_backing ? 1 : 0,
				     .block_sectors = 1,
				     .bucket_field = 8,
				     .nr_in_set = 1,
				     .first_bucket = 1 };

	memcpy(super.magic, magic, sizeof(magic));
	memset(super.uuid, seed, sizeof(super.uuid));
	memset(super.set_uuid, 0x5e, sizeof(super.set_uuid));
	snprintf(super.label, sizeof(super.label), "%s", label);
	super.nbuckets_or_data_offset = is_backing ? 16 : 1000;
	memset(raw, 0, BCFMT_SUPER_BYTES);
	bcfmt_super_encode(&super, raw);
}

/* Saves, makes durable, writes; len_bytes of help_fill() with this seed, or zeros for seed 0. */
static inline void help_change(struct bcfmt_undo *undo, struct bcfmt_dev *dev,
			       uint64_t offset_bytes, size_t len_bytes, unsigned int seed)
{
	uint8_t *bytes = calloc(len_bytes, 1);
	unsigned int index;

	if (seed)
		help_fill(bytes, offset_bytes, len_bytes, seed);
	cr_assert_eq(bcfmt_undo_add_device(undo, dev, &index), BCFMT_OK);
	cr_assert_eq(bcfmt_undo_save(undo, index, offset_bytes, seed ? bytes : NULL, len_bytes),
		     BCFMT_OK);
	cr_assert_eq(bcfmt_undo_sync(undo), BCFMT_OK);
	cr_assert_eq(bcfmt_dev_write(dev, offset_bytes, bytes, len_bytes), BCFMT_OK);
	free(bytes);
}

/* Opens, matches, checks and, when that allows it, puts back; the first error. */
static inline bcfmt_err help_put_back(struct bcfmt_dev *store, struct bcfmt_dev *const *devs,
				      size_t n_devs, unsigned int flags)
{
	struct bcfmt_undo_file *file;
	bcfmt_err err = bcfmt_undo_file_open_dev(help_ctx, store, &file);

	if (err)
		return err;
	err = bcfmt_undo_file_match(file, devs, n_devs);
	if (!err)
		err = bcfmt_undo_file_check(file, NULL, NULL);
	if (!err)
		err = bcfmt_undo_file_apply(file, flags);
	bcfmt_undo_file_free(file);
	return err;
}

/* Sectors of all devices in a state, after a check. */
static inline uint64_t help_sectors(const struct bcfmt_undo_file *file, enum bcfmt_undo_state state)
{
	uint64_t sectors = 0;

	for (size_t i = 0; i < bcfmt_undo_file_info(file)->n_devices; i++)
		sectors += bcfmt_undo_file_tally(file, i)->sectors[state];
	return sectors;
}

#endif
