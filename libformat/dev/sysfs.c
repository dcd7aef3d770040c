/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Small files by which the kernel tells about block devices. */
#include "dev/sysfs.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>

void sysfs_path(char path[PATH_MAX], const char *fmt, ...)
{
	va_list args;
	int len;

	va_start(args, fmt);
	len = vsnprintf(path, PATH_MAX, fmt, args);
	va_end(args);
	if (len < 0 || len >= PATH_MAX)
		path[0] = '\0';
}

bool sysfs_line(const char *path, char *line, size_t line_bytes)
{
	FILE *file = fopen(path, "re");
	bool has_line;

	if (!file)
		return false;
	has_line = fgets(line, (int)line_bytes, file) != NULL;
	fclose(file);
	if (has_line)
		line[strcspn(line, "\n")] = '\0';
	return has_line;
}

bool sysfs_number(const char *path, uint64_t *number)
{
	char line[32];
	unsigned long long value;

	if (!sysfs_line(path, line, sizeof(line)) || sscanf(line, "%20llu", &value) != 1)
		return false;
	*number = value;
	return true;
}

bool sysfs_disk_dir(const struct host_view *host, dev_t rdev, char disk_dir[PATH_MAX])
{
	char path[PATH_MAX];

	sysfs_path(path, "%s/dev/block/%u:%u", host->sys_dir, major(rdev), minor(rdev));
	if (realpath(path, disk_dir))
		return true;
	disk_dir[0] = '\0';
	return false;
}

bool sysfs_rdev(const char *disk_dir, dev_t *rdev)
{
	char path[PATH_MAX], line[32];
	unsigned int major_nr, minor_nr;

	sysfs_path(path, "%s/dev", disk_dir);
	if (!sysfs_line(path, line, sizeof(line)) ||
	    sscanf(line, "%u:%u", &major_nr, &minor_nr) != 2)
		return false;
	*rdev = makedev(major_nr, minor_nr);
	return true;
}

bool sysfs_is_partition(const char *disk_dir)
{
	char path[PATH_MAX];
	struct stat st;

	sysfs_path(path, "%s/partition", disk_dir);
	return !stat(path, &st);
}
