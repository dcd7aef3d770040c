/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Who holds a block device or an image file, as far as the kernel tells. */
#ifndef DEV_IN_USE_H
#define DEV_IN_USE_H

#include <stdbool.h>
#include <stddef.h>
#include <sys/stat.h>
#include <sys/types.h>

/* Where the kernel tells about itself; tests give folders of their own. */
struct host_view {
	const char *proc_dir;
	const char *sys_dir;
	const char *dev_dir;
};
#define HOST_VIEW ((struct host_view){ "/proc", "/sys", "/dev" })

/* A phrase such as "mounted at /srv". */
#define HOLDER_TEXT_BYTES 512u
struct holder {
	char text[HOLDER_TEXT_BYTES];
};

/*
 * Whether a holder of block device rdev can be named: a mount, swap, bcache, a device above it, or
 * one of these on a partition of it or on the disk it is a partition of. False does not mean
 * that nobody holds it: that is what opening with O_EXCL tells.
 */
bool in_use_block(const struct host_view *host, dev_t rdev, struct holder *out);

enum image_use {
	IMAGE_FREE,
	IMAGE_ATTACHED, /* a loop device stands on it that nobody holds */
	IMAGE_HELD,     /* such a loop device is held, or the file is swap */
};
/* *out is filled unless IMAGE_FREE. */
enum image_use in_use_image(const struct host_view *host, const struct stat *file,
			     struct holder *out);

/* The program that has a flock on the file or device node; false when it cannot be found. */
bool in_use_lock(const struct host_view *host, const struct stat *file, struct holder *out);

#endif
