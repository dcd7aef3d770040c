/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Small files by which the kernel tells about block devices. */
#ifndef DEV_SYSFS_H
#define DEV_SYSFS_H

#include <limits.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "dev/in_use.h"

#define SYSFS_NAME_BYTES 64u

/* Builds a path; one that does not fit becomes empty, which no file has. */
void sysfs_path(char path[PATH_MAX], const char *fmt, ...) __attribute__((format(printf, 2, 3)));
/* The first line of a small file without its end; false when there is none. */
bool sysfs_line(const char *path, char *line, size_t line_bytes);
/* The decimal number that a file begins with; false when there is none. */
bool sysfs_number(const char *path, uint64_t *number);
/* The folder of a block device, links resolved; false and "" when there is none. */
bool sysfs_disk_dir(const struct host_view *host, dev_t rdev, char disk_dir[PATH_MAX]);
/* The device number in the file "dev" of a folder. */
bool sysfs_rdev(const char *disk_dir, dev_t *rdev);
bool sysfs_is_partition(const char *disk_dir);

#endif
