/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Names who holds a device: mounts, swap, bcache, device mapper, loop devices, locks. */
#include "dev/in_use.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include "dev/sysfs.h"

#define MOUNTINFO_FIELDS_MAX 64u

/* Cut where it does not fit. */
static void __attribute__((format(printf, 2, 3))) say(struct holder *out, const char *fmt, ...)
{
	va_list args;

	va_start(args, fmt);
	vsnprintf(out->text, sizeof(out->text), fmt, args);
	va_end(args);
}

/* Undoes the \040 that stands for a blank in the tables of /proc, in place. */
static void unescape(char *text)
{
	char *to = text;

	while (*text) {
		if (text[0] == '\\' && text[1] >= '0' && text[1] <= '3' && text[2] >= '0' &&
		    text[2] <= '7' && text[3] >= '0' && text[3] <= '7') {
			*to++ = (char)((text[1] - '0') << 6 | (text[2] - '0') << 3 |
				       (text[3] - '0'));
			text += 4;
		} else {
			*to++ = *text++;
		}
	}
	*to = '\0';
}

static bool is_block_device(const char *path, dev_t rdev)
{
	struct stat st;

	return !stat(path, &st) && S_ISBLK(st.st_mode) && st.st_rdev == rdev;
}

/*
 * One line of mountinfo: "id parent major:minor root mountpoint options [tags] - type source
 * options". Some file systems have a device number of their own, so the source counts as well.
 */
static bool is_mount_of(char *line, dev_t rdev, char **mountpoint)
{
	char *fields[MOUNTINFO_FIELDS_MAX];
	char *save, *field;
	unsigned int n = 0, major_nr, minor_nr;
	size_t dash;

	for (field = strtok_r(line, " \n", &save); field && n < MOUNTINFO_FIELDS_MAX;
	     field = strtok_r(NULL, " \n", &save))
		fields[n++] = field;
	if (n < 6 || sscanf(fields[2], "%u:%u", &major_nr, &minor_nr) != 2)
		return false;
	*mountpoint = fields[4];
	if (major_nr == major(rdev) && minor_nr == minor(rdev))
		return true;
	for (dash = 6; dash < n && strcmp(fields[dash], "-") != 0; dash++)
		;
	if (dash + 2 >= n || strncmp(fields[dash + 2], "/dev/", 5) != 0)
		return false;
	unescape(fields[dash + 2]);
	return is_block_device(fields[dash + 2], rdev);
}

static bool mount_holder(const struct host_view *host, dev_t rdev, struct holder *out)
{
	char path[PATH_MAX];
	char *line = NULL, *mountpoint;
	size_t line_bytes = 0;
	bool is_found = false;
	FILE *file;

	sysfs_path(path, "%s/self/mountinfo", host->proc_dir);
	file = fopen(path, "re");
	if (!file)
		return false;
	while (!is_found && getline(&line, &line_bytes, file) > 0) {
		is_found = is_mount_of(line, rdev, &mountpoint);
		/* The escapes stay: a mount point can hold any character. */
		if (is_found)
			say(out, "mounted at %s", mountpoint);
	}
	free(line);
	fclose(file);
	return is_found;
}

/* Whether the block device or file with this identity is swapped to. */
static bool is_swap(const struct host_view *host, const struct stat *what)
{
	char path[PATH_MAX];
	char *line = NULL;
	size_t line_bytes = 0;
	bool is_found = false;
	struct stat st;
	FILE *file;

	sysfs_path(path, "%s/swaps", host->proc_dir);
	file = fopen(path, "re");
	if (!file)
		return false;
	while (!is_found && getline(&line, &line_bytes, file) > 0) {
		line[strcspn(line, " \t\n")] = '\0';
		unescape(line);
		if (line[0] != '/' || stat(line, &st))
			continue;
		if (S_ISBLK(what->st_mode))
			is_found = S_ISBLK(st.st_mode) && st.st_rdev == what->st_rdev;
		else
			is_found = st.st_dev == what->st_dev && st.st_ino == what->st_ino;
	}
	free(line);
	fclose(file);
	return is_found;
}

static bool bcache_holder(const char *disk_dir, struct holder *out)
{
	char path[PATH_MAX], target[PATH_MAX];
	const char *set;
	struct stat st;
	ssize_t len;

	sysfs_path(path, "%s/bcache", disk_dir);
	if (stat(path, &st))
		return false;
	/* A cache links to its set as "set", a backing device as "cache". */
	sysfs_path(path, "%s/bcache/set", disk_dir);
	len = readlink(path, target, sizeof(target) - 1);
	if (len < 0) {
		sysfs_path(path, "%s/bcache/cache", disk_dir);
		len = readlink(path, target, sizeof(target) - 1);
	}
	if (len < 0) {
		say(out, "registered with bcache");
		return true;
	}
	target[len] = '\0';
	set = strrchr(target, '/');
	say(out, "registered with bcache, set %s", set ? set + 1 : target);
	return true;
}

/* Device mapper, md and others list themselves in the folder holders of what they stand on. */
static bool upper_holder(const struct host_view *host, const char *disk_dir, struct holder *out)
{
	char path[PATH_MAX], name[SYSFS_NAME_BYTES * 2];
	struct dirent *entry;
	bool is_found = false;
	DIR *dir;

	sysfs_path(path, "%s/holders", disk_dir);
	dir = opendir(path);
	if (!dir)
		return false;
	while (!is_found && (entry = readdir(dir))) {
		if (entry->d_name[0] == '.')
			continue;
		is_found = true;
		sysfs_path(path, "%s/class/block/%s/dm/name", host->sys_dir, entry->d_name);
		if (sysfs_line(path, name, sizeof(name)))
			say(out, "held by %s (%s)", entry->d_name, name);
		else
			say(out, "held by %s", entry->d_name);
	}
	closedir(dir);
	return is_found;
}

/* What holds this very device. disk_dir: its folder in sysfs, "" when unknown. */
static bool own_holder(const struct host_view *host, const char *disk_dir, dev_t rdev,
		       struct holder *out)
{
	struct stat what = { .st_mode = S_IFBLK, .st_rdev = rdev };

	if (*disk_dir && bcache_holder(disk_dir, out))
		return true;
	if (mount_holder(host, rdev, out))
		return true;
	if (is_swap(host, &what)) {
		say(out, "in use as swap");
		return true;
	}
	return *disk_dir && upper_holder(host, disk_dir, out);
}

/* Holder of a part or of the whole, told with the name of that device. */
static bool related_holder(const struct host_view *host, const char *disk_dir, const char *what,
			   struct holder *out)
{
	struct holder inner;
	dev_t rdev;

	if (!sysfs_rdev(disk_dir, &rdev) || !own_holder(host, disk_dir, rdev, &inner))
		return false;
	say(out, "%s %s is %s", what, strrchr(disk_dir, '/') + 1, inner.text);
	return true;
}

static bool partition_holder(const struct host_view *host, const char *disk_dir,
			     struct holder *out)
{
	char path[PATH_MAX];
	struct dirent *entry;
	bool is_found = false;
	DIR *dir = opendir(disk_dir);

	if (!dir)
		return false;
	while (!is_found && (entry = readdir(dir))) {
		if (entry->d_name[0] == '.')
			continue;
		sysfs_path(path, "%s/%s", disk_dir, entry->d_name);
		is_found = sysfs_is_partition(path) && related_holder(host, path, "partition", out);
	}
	closedir(dir);
	return is_found;
}

bool in_use_block(const struct host_view *host, dev_t rdev, struct holder *out)
{
	char disk_dir[PATH_MAX];

	(void)sysfs_disk_dir(host, rdev, disk_dir);
	if (own_holder(host, disk_dir, rdev, out))
		return true;
	if (!*disk_dir)
		return false;
	if (!sysfs_is_partition(disk_dir))
		return partition_holder(host, disk_dir, out);
	*strrchr(disk_dir, '/') = '\0';
	return *disk_dir && related_holder(host, disk_dir, "its disk", out);
}

/* Claims the device for a moment: whatever holds it without a name still holds it. */
static bool is_claimed(const struct host_view *host, const char *name)
{
	char path[PATH_MAX];
	int fd;

	sysfs_path(path, "%s/%s", host->dev_dir, name);
	fd = open(path, O_RDONLY | O_EXCL | O_NONBLOCK | O_CLOEXEC);
	if (fd < 0)
		return errno == EBUSY;
	close(fd);
	return false;
}

static enum image_use loop_use(const struct host_view *host, const char *name, struct holder *out)
{
	char path[PATH_MAX];
	struct holder inner;
	dev_t rdev;

	sysfs_path(path, "%s/block/%s", host->sys_dir, name);
	if (sysfs_rdev(path, &rdev) && in_use_block(host, rdev, &inner)) {
		say(out, "attached to %s, which is %s", name, inner.text);
		return IMAGE_HELD;
	}
	if (is_claimed(host, name)) {
		say(out, "attached to %s, which is held by the kernel or another program", name);
		return IMAGE_HELD;
	}
	say(out, "attached to %s", name);
	return IMAGE_ATTACHED;
}

enum image_use in_use_image(const struct host_view *host, const struct stat *file,
			     struct holder *out)
{
	char path[PATH_MAX], backing[PATH_MAX];
	enum image_use use = IMAGE_FREE;
	struct dirent *entry;
	struct stat st;
	DIR *dir;

	if (is_swap(host, file)) {
		say(out, "in use as swap");
		return IMAGE_HELD;
	}
	sysfs_path(path, "%s/block", host->sys_dir);
	dir = opendir(path);
	if (!dir)
		return IMAGE_FREE;
	while (use != IMAGE_HELD && (entry = readdir(dir))) {
		if (strncmp(entry->d_name, "loop", 4) != 0)
			continue;
		sysfs_path(path, "%s/block/%s/loop/backing_file", host->sys_dir, entry->d_name);
		if (!sysfs_line(path, backing, sizeof(backing)) || stat(backing, &st) ||
		    st.st_dev != file->st_dev || st.st_ino != file->st_ino)
			continue;
		/* A file can be attached twice; the held one counts. */
		use = loop_use(host, entry->d_name, out);
	}
	closedir(dir);
	return use;
}

bool in_use_lock(const struct host_view *host, const struct stat *file, struct holder *out)
{
	char path[PATH_MAX], name[SYSFS_NAME_BYTES];
	char *line = NULL;
	size_t line_bytes = 0;
	bool is_found = false;
	unsigned int major_nr, minor_nr;
	unsigned long inode;
	int pid = 0;
	FILE *locks;

	sysfs_path(path, "%s/locks", host->proc_dir);
	locks = fopen(path, "re");
	if (!locks)
		return false;
	while (!is_found && getline(&line, &line_bytes, locks) > 0) {
		/* "1: FLOCK  ADVISORY  WRITE 4711 fe:00:1234 0 EOF"; waiting ones have a "->". */
		if (sscanf(line, "%*d: FLOCK %*s %*s %d %x:%x:%lu", &pid, &major_nr, &minor_nr,
			   &inode) != 4)
			continue;
		is_found = pid > 0 && inode == file->st_ino &&
			   makedev(major_nr, minor_nr) == file->st_dev;
	}
	free(line);
	fclose(locks);
	if (!is_found)
		return false;
	sysfs_path(path, "%s/%d/comm", host->proc_dir, pid);
	if (sysfs_line(path, name, sizeof(name)))
		say(out, "locked by %s (process %d)", name, pid);
	else
		say(out, "locked by process %d", pid);
	return true;
}
