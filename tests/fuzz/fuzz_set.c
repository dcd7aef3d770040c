/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A real cache with changed metadata, read and checked. In front of the changes (damage.h): which
 * allocation fails, and which read of the cache, 2 bytes each. While an allocation fails the check
 * says so or says the same; while reads fail the set never looks safer than it is.
 */
#include "fuzz/damage.h"

#include "fuzz/check_set.h"
#include "fuzz/faults.h"
#include "fuzz/fuzz.h"

#define HEAD_BYTES 4u

int LLVMFuzzerInitialize(int *argc, char ***argv)
{
	(void)argc;
	(void)argv;
	damage_init();
	return 0;
}

/* Checks the changed cache while an allocation or a read of it fails; true when the former did. */
static bool check(struct bcfmt_dev *overlay, enum bcfmt_check_level level, uint16_t fail_alloc,
		  uint16_t fail_read, struct checked *out)
{
	struct bcfmt_dev_faults faults = {
		.fail_read = fail_read & ~FAULTS_ONCE,
		.once = fail_read & FAULTS_ONCE,
	};
	struct bcfmt_dev *devs[] = { NULL, backing };
	struct bcfmt_dev *upper;
	bool has_failed;

	/* What is made to fail owns what lies below it: a second overlay stands between. */
	assert(bcfmt_dev_overlay(ctx, overlay, &upper) == BCFMT_OK);
	assert(bcfmt_dev_faulty(ctx, upper, &faults, &devs[0]) == BCFMT_OK);
	faults_arm(fail_alloc);
	check_set(ctx, devs, 2, level, 4096, false, out);
	has_failed = faults_disarm();
	bcfmt_dev_free(devs[0]);
	return has_failed;
}

static void check_faults(struct bcfmt_dev *overlay, enum bcfmt_check_level level,
			 const uint8_t *head, const struct checked *whole)
{
	uint16_t fail_alloc = load_le16(head), fail_read = load_le16(head + 2);
	struct checked failed;

	if (check(overlay, level, fail_alloc, fail_read, &failed) && failed.err != BCFMT_E_IO)
		assert(!failed.err || failed.err == BCFMT_E_NOMEM || failed.err == BCFMT_E_SYSTEM);
	else
		/* A leaf that could be read in one walk and not in the next. */
		assert(!failed.err || (failed.err == BCFMT_E_IO && fail_read));
	if (!failed.err && fail_read)
		assert_not_safer(&failed, whole);
	else if (!failed.err)
		assert(!strcmp(failed.json, whole->json));
	checked_clear(&failed);
}

int LLVMFuzzerTestOneInput(const uint8_t *input, size_t input_bytes)
{
	enum bcfmt_check_level level;
	const uint8_t *head = input;
	struct bcfmt_dev *overlay;
	struct checked whole;

	if (input_bytes < HEAD_BYTES)
		return 0;
	level = input_bytes & 1 ? BCFMT_LEVEL_DATA : BCFMT_LEVEL_FULL;
	input += HEAD_BYTES;
	input_bytes -= HEAD_BYTES;
	overlay = damaged_cache(&input, &input_bytes);
	check(overlay, level, 0, 0, &whole);
	/* Two caches, or two backing devices: a superblock can be made to say so. */
	assert(!whole.err || (whole.err == BCFMT_E_ARG && !whole.is_opened));
	if (!whole.err && load_le32(head))
		check_faults(overlay, level, head, &whole);
	checked_clear(&whole);
	bcfmt_dev_free(overlay);
	return 0;
}
