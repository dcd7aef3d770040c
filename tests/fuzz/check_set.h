/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Everything that the library does with a set, and what comes of it. */
#ifndef FUZZ_CHECK_SET_H
#define FUZZ_CHECK_SET_H

#include <bcfmt/check.h>

#define CHECKED_DEVICES_MAX 64u

/* The verdict on one inode or backing device. */
struct checked_device {
	uint32_t inode;
	bool has_inode;
	enum bcfmt_certainty certainty;
	enum bcfmt_safety safe_alone;
	uint64_t dirty_bytes;
};

struct checked {
	bcfmt_err err;
	bool is_opened;
	bool is_complete;
	char *json;	/* report and verdict; NULL after an error */
	uint64_t print; /* of what check_views() sees */
	struct checked_device devices[CHECKED_DEVICES_MAX];
	size_t n_devices;
};

/*
 * Opens and checks the set, prints everything nowhere, walks the tree in the order of keys and in
 * that of places, and asserts what export relies on; with_views also all of check_views(). The fault
 * of the context is cleared. Ends with checked_clear().
 */
void check_set(struct bcfmt_ctx *ctx, struct bcfmt_dev *const *devs, size_t n_devs,
	       enum bcfmt_check_level level, uint32_t page_bytes, bool with_views,
	       struct checked *out);
void checked_clear(struct checked *checked);

/*
 * A set of which less could be read than of whole never looks safer: asserts that what is called
 * safe is so in whole, and what is called exact has its number.
 */
void assert_not_safer(const struct checked *less, const struct checked *whole);

#endif
