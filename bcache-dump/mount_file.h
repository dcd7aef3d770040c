/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The files of a mounted set: one a volume, what they are called and what is known of them. */
#ifndef MOUNT_FILE_H
#define MOUNT_FILE_H

#include <time.h>

#include "volume.h"

struct mount_file {
	struct volume volume;
	struct bcfmt_volume *reader;
	char *name;
	time_t changed;	       /* 0: not known */
	uint64_t lost_sectors; /* those known before reading */
	uint64_t doubtful_sectors;
	/* Lines of "start+sectors", of the volume; a last line "..." where there are too many. */
	char *lost;
	char *doubtful;
};

struct mount_files {
	struct mount_file *at;
	size_t n;
};

/*
 * Makes a file of each of n volumes. Prints what of each is lost or doubtful; losses (of the whole
 * set) may be NULL. Ends with mount_files_free() also after a failure.
 */
bcfmt_err mount_files_open(struct mount_files *files, struct dump *d, const struct volume *volumes,
			   size_t n, struct bcfmt_leaf_cache *leaves, struct bcfmt_losses *losses);
void mount_files_free(struct mount_files *files);

#endif
