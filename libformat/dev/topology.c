/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What sysfs tells of a block device: zones, its place on the disk, whether it stands on bcache. */
#include "dev/topology.h"

#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "dev/sysfs.h"

#include <bcfmt/uuid.h>

/* Stacks of devices are a few levels high; a forged one must end too. */
#define STACK_DEPTH_MAX 16u
#define STACK_VISITS_MAX 1024u

/* "bcache" and a number. kernel: bcache_device_init() */
static bool is_bcache_name(const char *name)
{
	if (strncmp(name, "bcache", 6) != 0 || !name[6])
		return false;
	return strspn(name + 6, "0123456789") == strlen(name + 6);
}

static bool is_on_bcache(const char *disk_dir, unsigned int depth, unsigned int *visits,
			 struct bcfmt_topology *out);

/* The devices that this one is made of. */
static bool are_slaves_on_bcache(const char *disk_dir, unsigned int depth, unsigned int *visits,
				 struct bcfmt_topology *out)
{
	char path[PATH_MAX];
	struct dirent *entry;
	bool is_found = false;
	char *slave_dir;
	DIR *dir;

	sysfs_path(path, "%s/slaves", disk_dir);
	dir = opendir(path);
	if (!dir)
		return false;
	while (!is_found && (entry = readdir(dir))) {
		if (entry->d_name[0] == '.')
			continue;
		sysfs_path(path, "%s/slaves/%s", disk_dir, entry->d_name);
		slave_dir = realpath(path, NULL);
		if (slave_dir)
			is_found = is_on_bcache(slave_dir, depth + 1, visits, out);
		free(slave_dir);
	}
	closedir(dir);
	return is_found;
}

static bool is_on_bcache(const char *disk_dir, unsigned int depth, unsigned int *visits,
			 struct bcfmt_topology *out)
{
	const char *slash = strrchr(disk_dir, '/');
	char parent[PATH_MAX];

	if (!slash || depth > STACK_DEPTH_MAX || ++*visits > STACK_VISITS_MAX)
		return false;
	if (is_bcache_name(slash + 1)) {
		snprintf(out->bcache_name, sizeof(out->bcache_name), "%.31s", slash + 1);
		return true;
	}
	if (sysfs_is_partition(disk_dir)) {
		sysfs_path(parent, "%.*s", (int)(slash - disk_dir), disk_dir);
		return is_on_bcache(parent, depth + 1, visits, out);
	}
	return are_slaves_on_bcache(disk_dir, depth, visits, out);
}

/* The queue belongs to the disk; a partition lies in its folder. */
static void read_zones(const char *disk_dir, bool is_partition, struct bcfmt_topology *out)
{
	const char *up = is_partition ? "/.." : "";
	char path[PATH_MAX], model[SYSFS_NAME_BYTES];
	uint64_t sectors;

	sysfs_path(path, "%s%s/queue/zoned", disk_dir, up);
	if (!sysfs_line(path, model, sizeof(model)) || !strcmp(model, "none"))
		return;
	sysfs_path(path, "%s%s/queue/chunk_sectors", disk_dir, up);
	if (!sysfs_number(path, &sectors) || !sectors || sectors > UINT32_MAX)
		return;
	out->zone_sectors = (uint32_t)sectors;
	out->is_host_managed = !strcmp(model, "host-managed");
}

void topology_from_sysfs(const struct host_view *host, dev_t rdev, struct bcfmt_topology *out)
{
	char disk_dir[PATH_MAX], path[PATH_MAX];
	unsigned int visits = 0;
	bool is_partition;

	if (!sysfs_disk_dir(host, rdev, disk_dir))
		return;
	is_partition = sysfs_is_partition(disk_dir);
	if (is_partition) {
		sysfs_path(path, "%s/start", disk_dir);
		(void)sysfs_number(path, &out->start_sector);
	}
	read_zones(disk_dir, is_partition, out);
	(void)is_on_bcache(disk_dir, 0, &visits, out);
}

/* "512" or "4.0k". kernel: bch_hprint() */
static uint32_t parse_block_bytes(const char *line)
{
	unsigned int number, tenths = 0;
	char *end;

	number = (unsigned int)strtoul(line, &end, 10);
	if (end == line || number > 65536)
		return 0;
	if (*end == '.')
		tenths = (unsigned int)strtoul(end + 1, &end, 10);
	if (!*end)
		return number;
	return *end == 'k' && !end[1] && !tenths && number <= 64 ? number * 1024 : 0;
}

bool topology_has_set(const struct host_view *host, const uint8_t set_uuid[BCFMT_UUID_BYTES],
		      uint32_t *block_bytes)
{
	char path[PATH_MAX], line[32], uuid[BCFMT_UUID_TEXT_BYTES];
	struct stat st;

	*block_bytes = 0;
	bcfmt_uuid_text(set_uuid, uuid);
	sysfs_path(path, "%s/fs/bcache/%s", host->sys_dir, uuid);
	if (stat(path, &st))
		return false;
	sysfs_path(path, "%s/fs/bcache/%s/block_size", host->sys_dir, uuid);
	if (sysfs_line(path, line, sizeof(line)))
		*block_bytes = parse_block_bytes(line);
	return true;
}

bool bcfmt_host_has_set(const uint8_t set_uuid[BCFMT_UUID_BYTES], uint32_t *block_bytes)
{
	return topology_has_set(&HOST_VIEW, set_uuid, block_bytes);
}
