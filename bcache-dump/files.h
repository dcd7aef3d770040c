/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What the file systems share that bcache-dump files knows: the ranges, and how a file is told. */
#ifndef FILES_H
#define FILES_H

#include <bcfmt/volume.h>

#include "base/vec.h"

#include "volume.h"

struct files_range {
	uint64_t start; /* bytes of the volume */
	uint64_t end;
	bool is_lost; /* else doubtful */
};

struct files {
	struct dump *d;
	struct volume which;
	struct bcfmt_volume *volume;
	uint64_t bytes;	   /* of the volume */
	struct vec ranges; /* struct files_range, ascending; none overlap */
	uint64_t n_files;
	uint64_t n_metadata;
	uint64_t n_partial; /* places of the file system that could not be looked at */
	bcfmt_err err; /* what the whole failed with, told in the end; not a sector that is lost */
};

/* How much of something lies on the ranges. Zero it to start. */
struct files_hit {
	uint64_t lost_bytes;
	uint64_t doubtful_bytes;
	uint64_t first_byte; /* of a file, where that begins; with has_first */
	bool has_first;
	bool has_map; /* blocks that tell where its data is lie there */
};
static inline bool files_is_hit(const struct files_hit *hit)
{
	return hit->lost_bytes || hit->doubtful_bytes;
}

/* Adds what of [start, end) of the volume lies on the ranges. True when anything does. */
bool files_overlap(const struct files *files, uint64_t start, uint64_t end, struct files_hit *hit);
/* The same of data of a file; file_byte is the place of start in it. */
bool files_overlap_data(const struct files *files, uint64_t start, uint64_t end, uint64_t file_byte,
			struct files_hit *hit);

/* path NULL: no name leads to it. kind: "file", "directory", "symlink", "other". */
void files_tell_file(struct files *files, const char *kind, const char *path, uint64_t inode,
		     const struct files_hit *hit);
/* Metadata of the file system: "inode table of group 3". */
void files_tell_metadata(struct files *files, const char *what, const struct files_hit *hit);
/* Something of the file system cannot be read, and what it would tell is missing. */
void files_tell_partial(struct files *files, const char *what, const char *why);

/* Notes that it failed for want of memory. */
void files_out_of_memory(struct files *files);

/* Reads bytes of the volume; false when some of them are lost and zeros, or on errors: see err. */
bool files_read(struct files *files, uint64_t start, void *buf, size_t len_bytes);

/* A file system each; they return an enum dump_exit. False of is_...(): none of this kind. */
bool files_is_ext(struct files *files, uint64_t *super_block, uint32_t *block_bytes);
int files_ext(struct files *files, uint64_t super_block, uint32_t block_bytes);
int files_xfs(struct files *files);
int files_btrfs(struct files *files);

#endif
