/* SPDX-License-Identifier: GPL-2.0-or-later */
/* A read-only file system of the volumes of a set, by FUSE. */
#ifndef MOUNT_FS_H
#define MOUNT_FS_H

#include "mount_file.h"

struct mount_fs;

/*
 * Mounts it on folder, an absolute path: from then on the kernel waits for mount_fs_serve().
 * options: of FUSE, each may be a list with commas. Why it fails is printed; DUMP_FAILED, or
 * DUMP_USAGE for an option that is none. files outlives it.
 */
int mount_fs_open(struct dump *d, const char *folder, const char *const *options, size_t n_options,
		  const struct mount_files *files, struct mount_fs **out);
/* Answers until the folder is unmounted, or SIGINT, SIGTERM or SIGHUP comes; then unmounts it. */
int mount_fs_serve(struct mount_fs *fs);
/* Frees it; what is mounted stays. NULL is fine. */
void mount_fs_free(struct mount_fs *fs);
/* Takes back what mount_fs_open() did, when nobody will serve it. */
void mount_fs_unmount(struct mount_fs *fs);

#endif
