/* SPDX-License-Identifier: GPL-2.0-or-later */
/* bcache-dump mount: all logical volumes of a set as read-only files of a folder. */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "doubt.h"
#include "filter.h"
#include "mount_fs.h"

#include "cli/progress.h"

struct mount {
	struct dump *d;
	char *folder; /* absolute */
	struct volume *volumes;
	size_t n_volumes;
	bool is_damaged;
	struct bcfmt_report *report; /* of a check */
	struct bcfmt_losses *losses;
	struct walk walk;
	uint64_t own_sectors; /* dirty data of the only volume, stale included */
	struct bcfmt_leaf_cache *leaves;
	struct mount_files files;
	struct mount_fs *fs;
};

/* Before the long work, and by a name that is right whatever the working folder is. */
static int find_folder(struct mount *mount)
{
	const char *path = mount->d->opt.folder;
	struct stat st;

	mount->folder = realpath(path, NULL);
	if (!mount->folder || stat(mount->folder, &st)) {
		cli_error(path, "cannot be mounted on: %s", strerror(errno));
		return DUMP_FAILED;
	}
	if (S_ISDIR(st.st_mode))
		return DUMP_DONE;
	cli_error(path, "cannot be mounted on: not a folder");
	return DUMP_FAILED;
}

static void forget_dirty(void *arg)
{
	((struct mount *)arg)->own_sectors = 0;
}

static bcfmt_err count_dirty(void *arg, const struct bcfmt_node_view *view,
			     const struct bcfmt_extent *extents, size_t n_extents)
{
	struct mount *mount = arg;
	uint64_t own = 0;

	(void)view;
	for (size_t i = 0; i < n_extents; i++)
		if (extents[i].is_dirty && extents[i].inode == mount->volumes[0].inode)
			own += extents[i].end_sector - extents[i].start_sector;
	if (own) {
		pthread_mutex_lock(&mount->walk.lock);
		mount->own_sectors += own;
		pthread_mutex_unlock(&mount->walk.lock);
	}
	return BCFMT_OK;
}

/* The tree is read and judged, and what is wrong with it told. */
static bcfmt_err settle(struct mount *mount)
{
	const struct volume *first = &mount->volumes[0];
	bcfmt_err err = walk_settle(&mount->walk, count_dirty, forget_dirty, mount);

	/* A number that was mistyped must not show the backing device alone. */
	if (!err && !first->entry && !mount->own_sectors && !mount->walk.is_damaged)
		err = bcfmt_fail(mount->d->ctx, BCFMT_E_ARG,
				 "inode %" PRIu32 " has no live uuid entry and no dirty data",
				 first->inode);
	if (err)
		return err;
	walk_tell_gaps(&mount->walk);
	mount->is_damaged |= doubt_tell(&mount->walk, mount->report);
	mount->is_damaged |= mount->walk.is_damaged;
	return BCFMT_OK;
}

static int open_files(struct mount *mount)
{
	struct dump *d = mount->d;
	bcfmt_err err = bcfmt_leaf_cache_new(mount->walk.tree, 0, &mount->leaves);

	if (!err)
		err = mount_files_open(&mount->files, d, mount->volumes, mount->n_volumes,
				       mount->leaves, mount->losses);
	for (size_t i = 0; i < mount->files.n; i++)
		mount->is_damaged |=
			mount->files.at[i].lost_sectors || mount->files.at[i].doubtful_sectors;
	return err ? dump_failed(d, err) : DUMP_DONE;
}

/* Everything that can be said before it is mounted is said then. */
static int prepare(struct mount *mount)
{
	struct dump *d = mount->d;
	struct bcfmt_pos lo = { .inode = 0 }, hi = bcfmt_pos_max();
	bool is_whole;
	bcfmt_err err;
	int code = find_folder(mount);

	if (!code)
		code = volume_list(d, &mount->volumes, &mount->n_volumes, &is_whole);
	if (code)
		return code;
	mount->is_damaged = !is_whole;
	if (d->opt.device)
		lo.inode = hi.inode = mount->volumes[0].inode;
	err = doubt_check(d, &mount->report, &mount->losses);
	if (err)
		return dump_failed(d, err);
	code = walk_open(&mount->walk, d, lo, hi, NULL, NULL);
	if (code)
		return code;
	err = settle(mount);
	return err ? dump_failed(d, err) : open_files(mount);
}

static int mount_it(struct mount *mount)
{
	const struct dump_options *opt = &mount->d->opt;

	return mount_fs_open(mount->d, mount->folder, opt->mount_options, opt->n_mount_options,
			     &mount->files, &mount->fs);
}

/* Without the terminal and the working folder of whoever called it. */
static int leave(void)
{
	int null = open("/dev/null", O_RDWR | O_CLOEXEC);

	for (int fd = STDIN_FILENO; fd <= STDERR_FILENO && null >= 0; fd++)
		dup2(null, fd);
	if (null > STDERR_FILENO)
		close(null);
	return null < 0 || setsid() < 0 || chdir("/") ? DUMP_FAILED : DUMP_DONE;
}

/* The process that stays; tells through fd whether it is mounted. */
static int serve_behind(struct mount *mount, int fd)
{
	int code = mount_it(mount);
	uint8_t told;

	if (!code)
		code = leave();
	else
		leave();
	told = (uint8_t)code;
	while (write(fd, &told, 1) < 0 && errno == EINTR)
		continue;
	close(fd);
	if (!code)
		return mount_fs_serve(mount->fs);
	if (mount->fs)
		mount_fs_unmount(mount->fs);
	return code;
}

/* What the other process tells; it ends without a word when it was killed. */
static int wait_for_mount(int fd)
{
	uint8_t told = DUMP_FAILED;

	while (read(fd, &told, 1) < 0 && errno == EINTR)
		continue;
	close(fd);
	return told;
}

static int go_behind(struct mount *mount)
{
	int fds[2];
	pid_t pid;

	if (pipe2(fds, O_CLOEXEC)) {
		cli_error(NULL, "cannot go to the background: %s", strerror(errno));
		return DUMP_FAILED;
	}
	pid = fork();
	if (pid < 0) {
		cli_error(NULL, "cannot go to the background: %s", strerror(errno));
		close(fds[0]);
		close(fds[1]);
		return DUMP_FAILED;
	}
	close(fds[pid ? 1 : 0]);
	return pid ? wait_for_mount(fds[0]) : serve_behind(mount, fds[1]);
}

static int serve(struct mount *mount)
{
	int code;

	cli_progress_clear();
	if (!mount->d->opt.is_foreground)
		/* What is buffered must not be written by both. */
		return cli_stdout_flush() ? go_behind(mount) : DUMP_FAILED;
	code = mount_it(mount);
	if (code)
		return code;
	if (cli_stdout_flush())
		return mount_fs_serve(mount->fs);
	mount_fs_unmount(mount->fs);
	return DUMP_FAILED;
}

int cmd_mount(struct dump *d)
{
	struct mount mount = { .d = d };
	const struct bcfmt_dev *image = cli_devices_image(&d->devices);
	int code;

	if (image) {
		cli_error(bcfmt_dev_name(image), "a metadata image holds no data: mount needs the "
						 "devices themselves");
		return DUMP_USAGE;
	}
	code = prepare(&mount);
	if (!code)
		code = serve(&mount);
	if (!code && mount.is_damaged)
		code = DUMP_DAMAGED;
	mount_fs_free(mount.fs);
	mount_files_free(&mount.files);
	bcfmt_leaf_cache_free(mount.leaves);
	if (mount.walk.d)
		walk_close(&mount.walk);
	bcfmt_losses_free(mount.losses);
	bcfmt_report_free(mount.report);
	free(mount.volumes);
	free(mount.folder);
	return code;
}
