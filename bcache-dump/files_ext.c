/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Files of an ext2, ext3 or ext4 on lost ranges, by the library of e2fsprogs. */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "files_ext.h"

#define SUPER_OFFSET 1024u
#define MAGIC_OFFSET 56u
#define ERRORS_MAX 64u

static bool has_magic(struct files *files, uint64_t super_offset)
{
	uint8_t magic[2];

	return files_read(files, super_offset + MAGIC_OFFSET, magic, sizeof(magic)) &&
	       magic[0] == 0x53 && magic[1] == 0xef;
}

bool files_is_ext(struct files *files, uint64_t *super_block, uint32_t *block_bytes)
{
	/* Where mke2fs puts the first copy, by the size of a block. */
	static const struct {
		uint32_t block_bytes;
		uint64_t block;
	} copies[] = { { 4096, 32768 }, { 1024, 8193 }, { 2048, 16384 } };

	*super_block = 0;
	*block_bytes = 0;
	if (has_magic(files, SUPER_OFFSET))
		return true;
	for (size_t i = 0; i < sizeof(copies) / sizeof(copies[0]); i++) {
		if (!has_magic(files, copies[i].block * copies[i].block_bytes))
			continue;
		*super_block = copies[i].block;
		*block_bytes = copies[i].block_bytes;
		return true;
	}
	return false;
}

/* ---- what lies on the ranges ---- */

struct wanted {
	ext2_ino_t inode;
	struct files_hit hit;
	const char *kind;
	bool is_named;
};

struct ext {
	struct files *files;
	ext2_filsys fs;
	struct vec wanted; /* struct wanted by inode */
	unsigned int errors;
};

static void note_error(struct ext *ext, errcode_t code)
{
	if (code == EXT2_ET_NO_MEMORY || code == ENOMEM)
		files_out_of_memory(ext->files);
}

/* inode 0: of none. */
static void tell_error(struct ext *ext, const char *what, ext2_ino_t inode, errcode_t code)
{
	char text[64];

	note_error(ext, code);
	if (ext->files->err || ext->errors++ >= ERRORS_MAX)
		return;
	snprintf(text, sizeof(text), inode ? "%s of inode %u" : "%s", what, inode);
	files_tell_partial(ext->files, text, error_message(code));
}

static bool overlap_blocks(struct ext *ext, uint64_t block, uint64_t n, struct files_hit *hit)
{
	uint64_t bytes = ext->fs->blocksize;

	/* Numbers of a damaged file system can be anything. */
	if (block >= ext->files->bytes / bytes || n > ext->files->bytes / bytes - block)
		return false;
	return files_overlap(ext->files, block * bytes, (block + n) * bytes, hit);
}

static void tell_blocks(struct ext *ext, uint64_t block, uint64_t n, const char *what)
{
	struct files_hit hit = { 0 };

	if (overlap_blocks(ext, block, n, &hit))
		files_tell_metadata(ext->files, what, &hit);
}

/* The part of the inode table that is in use: the rest was perhaps never written. */
static void tell_inode_table(struct ext *ext, dgrp_t group)
{
	ext2_filsys fs = ext->fs;
	uint64_t per_block = fs->blocksize / EXT2_INODE_SIZE(fs->super);
	uint64_t used = fs->super->s_inodes_per_group;
	uint64_t first = (uint64_t)group * used + 1;
	uint64_t table = ext2fs_inode_table_loc(fs, group);
	char what[96];

	if (ext2fs_bg_flags_test(fs, group, EXT2_BG_INODE_UNINIT))
		return;
	if (ext2fs_has_group_desc_csum(fs) && ext2fs_bg_itable_unused(fs, group) <= used)
		used -= ext2fs_bg_itable_unused(fs, group);
	for (uint64_t i = 0; per_block && i < (used + per_block - 1) / per_block; i++) {
		struct files_hit hit = { 0 };

		if (!overlap_blocks(ext, table + i, 1, &hit))
			continue;
		snprintf(what, sizeof(what), "inode table of group %u, inodes %" PRIu64 "-%" PRIu64,
			 group, first + i * per_block, first + (i + 1) * per_block - 1);
		files_tell_metadata(ext->files, what, &hit);
	}
}

static void tell_groups(struct ext *ext)
{
	ext2_filsys fs = ext->fs;
	char what[64];

	for (dgrp_t group = 0; group < fs->group_desc_count; group++) {
		blk64_t super = 0, descriptors = 0, new_descriptors = 0;
		blk_t used = 0;

		ext2fs_super_and_bgd_loc2(fs, group, &super, &descriptors, &new_descriptors, &used);
		snprintf(what, sizeof(what),
			 group ? "copy of the superblock in group %u" : "superblock", group);
		if (!group || super)
			tell_blocks(ext, super, 1, what);
		snprintf(what, sizeof(what), "%sgroup descriptors in group %u",
			 group ? "copy of the " : "", group);
		if (descriptors)
			tell_blocks(ext, descriptors, fs->desc_blocks, what);
		if (new_descriptors)
			tell_blocks(ext, new_descriptors, 1, what);
		snprintf(what, sizeof(what), "block bitmap of group %u", group);
		tell_blocks(ext, ext2fs_block_bitmap_loc(fs, group), 1, what);
		snprintf(what, sizeof(what), "inode bitmap of group %u", group);
		tell_blocks(ext, ext2fs_inode_bitmap_loc(fs, group), 1, what);
		tell_inode_table(ext, group);
	}
}

/* An extent: data, or a block of the tree that tells where data is. */
static void take_extent(struct ext *ext, const struct ext2fs_extent *extent, struct files_hit *hit)
{
	uint64_t bytes = ext->fs->blocksize, all = ext->files->bytes / bytes;

	if (extent->e_flags & EXT2_EXTENT_FLAGS_SECOND_VISIT || extent->e_pblk >= all)
		return;
	if (!(extent->e_flags & EXT2_EXTENT_FLAGS_LEAF)) {
		hit->has_map |= overlap_blocks(ext, extent->e_pblk, 1, hit);
		return;
	}
	/* What was only reserved reads as zeros, whatever lies there. */
	if (extent->e_flags & EXT2_EXTENT_FLAGS_UNINIT || extent->e_len > all - extent->e_pblk)
		return;
	files_overlap_data(ext->files, extent->e_pblk * bytes,
			   (extent->e_pblk + extent->e_len) * bytes, extent->e_lblk * bytes, hit);
}

static errcode_t take_extents(struct ext *ext, ext2_ino_t inode, struct ext2_inode *raw,
			      struct files_hit *hit)
{
	ext2_extent_handle_t handle;
	struct ext2fs_extent extent;
	errcode_t code = ext2fs_extent_open2(ext->fs, inode, raw, &handle);

	if (code)
		return code;
	code = ext2fs_extent_get(handle, EXT2_EXTENT_ROOT, &extent);
	while (!code) {
		take_extent(ext, &extent, hit);
		code = ext2fs_extent_get(handle, EXT2_EXTENT_NEXT, &extent);
	}
	ext2fs_extent_free(handle);
	return code == EXT2_ET_EXTENT_NO_NEXT || code == EXT2_ET_NO_CURRENT_NODE ? 0 : code;
}

struct block_taker {
	struct ext *ext;
	struct files_hit *hit;
};

static int take_block(ext2_filsys fs, blk64_t *block, e2_blkcnt_t place, blk64_t parent, int offset,
		      void *arg)
{
	struct block_taker *taker = arg;
	uint64_t bytes = fs->blocksize;

	(void)parent;
	(void)offset;
	if (*block >= taker->ext->files->bytes / bytes)
		return 0;
	if (place < 0)
		taker->hit->has_map |= overlap_blocks(taker->ext, *block, 1, taker->hit);
	else
		files_overlap_data(taker->ext->files, *block * bytes, (*block + 1) * bytes,
				   (uint64_t)place * bytes, taker->hit);
	return 0;
}

static errcode_t take_data(struct ext *ext, ext2_ino_t inode, struct ext2_inode *raw,
			   struct files_hit *hit)
{
	struct block_taker taker = { ext, hit };

	if (!ext2fs_inode_has_valid_blocks2(ext->fs, raw))
		return 0;
	if (raw->i_flags & EXT4_EXTENTS_FL)
		return take_extents(ext, inode, raw, hit);
	return ext2fs_block_iterate3(ext->fs, inode, BLOCK_FLAG_READ_ONLY, NULL, take_block,
				     &taker);
}

/* Inodes that are no files of anybody; NULL for others. */
static const char *own_inode(const struct ext *ext, ext2_ino_t inode)
{
	const struct ext2_super_block *super = ext->fs->super;

	if (inode == super->s_journal_inum)
		return "journal";
	if (inode == EXT2_RESIZE_INO)
		return "blocks reserved for growing";
	if (inode == super->s_usr_quota_inum || inode == super->s_grp_quota_inum ||
	    inode == super->s_prj_quota_inum)
		return "quota file";
	if (inode == EXT2_BAD_INO)
		return "list of bad blocks";
	return inode < EXT2_FIRST_INO(super) && inode != EXT2_ROOT_INO ? "reserved inode" : NULL;
}

static const char *kind_of(const struct ext2_inode *raw)
{
	if (LINUX_S_ISREG(raw->i_mode))
		return "file";
	if (LINUX_S_ISDIR(raw->i_mode))
		return "directory";
	return LINUX_S_ISLNK(raw->i_mode) ? "symlink" : "other";
}

static void take_inode(struct ext *ext, ext2_ino_t inode, struct ext2_inode *raw)
{
	const char *own = own_inode(ext, inode);
	struct files_hit hit = { 0 };
	struct wanted *slot;
	errcode_t code = take_data(ext, inode, raw, &hit);

	if (code)
		tell_error(ext, "the block map", inode, code);
	if (ext2fs_file_acl_block(ext->fs, raw))
		overlap_blocks(ext, ext2fs_file_acl_block(ext->fs, raw), 1, &hit);
	if (!files_is_hit(&hit))
		return;
	if (own) {
		files_tell_metadata(ext->files, own, &hit);
		return;
	}
	slot = vec_push(&ext->wanted, sizeof(*slot));
	if (slot)
		*slot = (struct wanted){ inode, hit, kind_of(raw), false };
	else
		files_out_of_memory(ext->files);
}

typedef void (*inode_fn)(struct ext *ext, ext2_ino_t inode, struct ext2_inode *raw);

/*
 * The library forgets that it had no memory where it goes over blocks, and where it reads the list
 * of bad ones. errno was 0 before.
 */
static void note_forgotten(struct ext *ext)
{
	if (errno == ENOMEM)
		files_out_of_memory(ext->files);
}

/* All inodes in use. A part of the table that cannot be read is left out, and told once. */
static bool each_inode(struct ext *ext, inode_fn take)
{
	struct bcfmt_ctx *ctx = ext->files->d->ctx;
	ext2_inode_scan scan;
	struct ext2_inode raw;
	ext2_ino_t inode = 0;
	uint64_t bad = 0;
	errcode_t code;

	errno = 0;
	code = ext2fs_open_inode_scan(ext->fs, 0, &scan);
	if (code) {
		tell_error(ext, "the inode tables", 0, code);
		return false;
	}
	note_forgotten(ext);
	while (!bcfmt_ctx_is_cancelled(ctx) && !ext->files->err) {
		errno = 0;
		code = ext2fs_get_next_inode(scan, &inode, &raw);
		if (!code && !inode)
			break;
		if (code && (!inode || bad++ > ext->fs->super->s_inodes_count))
			break;
		if (code)
			tell_error(ext, "the entry", inode, code);
		else if (raw.i_links_count && raw.i_mode)
			take(ext, inode, &raw);
		note_forgotten(ext);
		if (!(inode & 4095))
			bcfmt_ctx_progress(ctx, "inodes", inode, ext->fs->super->s_inodes_count);
	}
	if (code && !inode)
		tell_error(ext, "the inode tables", 0, code);
	ext2fs_close_inode_scan(scan);
	return !bcfmt_ctx_is_cancelled(ctx) && !ext->files->err;
}

/* ---- names ---- */

static struct wanted *find_wanted(const struct ext *ext, ext2_ino_t inode)
{
	size_t low = 0, high = ext->wanted.n;

	while (low < high) {
		size_t mid = low + (high - low) / 2;
		struct wanted *wanted = VEC_AT(&ext->wanted, struct wanted, mid);

		if (wanted->inode == inode)
			return wanted;
		if (wanted->inode < inode)
			low = mid + 1;
		else
			high = mid;
	}
	return NULL;
}

/* directory NULL: the way to it is not known. */
static void tell_name(struct ext *ext, struct wanted *wanted, const char *directory,
		      const char *name, int name_bytes)
{
	const char *slash = directory && !strcmp(directory, "/") ? "" : "/";
	char *path;

	wanted->is_named = true;
	if (asprintf(&path, "%s%s%.*s", directory ? directory : "?", slash, name_bytes, name) < 0) {
		files_out_of_memory(ext->files);
		return;
	}
	files_tell_file(ext->files, wanted->kind, path, wanted->inode, &wanted->hit);
	free(path);
}

static int take_entry(ext2_ino_t directory, int place, struct ext2_dir_entry *entry, int offset,
		      int block_bytes, char *buf, void *arg)
{
	struct ext *ext = arg;
	int name_bytes = ext2fs_dirent_name_len(entry);
	struct wanted *wanted;
	char *path = NULL;
	errcode_t code;

	(void)place;
	(void)offset;
	(void)block_bytes;
	(void)buf;
	/* By their names: the library does not tell them apart where a directory lies in its inode. */
	if (!entry->inode || (name_bytes == 1 && entry->name[0] == '.') ||
	    (name_bytes == 2 && !memcmp(entry->name, "..", 2)))
		return 0;
	wanted = find_wanted(ext, entry->inode);
	if (!wanted)
		return 0;
	code = ext2fs_get_pathname(ext->fs, directory, 0, &path);
	note_error(ext, code);
	if (code)
		path = NULL;
	tell_name(ext, wanted, path, entry->name, name_bytes);
	ext2fs_free_mem(&path);
	return 0;
}

static void name_entries(struct ext *ext, ext2_ino_t inode, struct ext2_inode *raw)
{
	errcode_t code;

	if (!LINUX_S_ISDIR(raw->i_mode))
		return;
	code = ext2fs_dir_iterate2(ext->fs, inode, 0, NULL, take_entry, ext);
	if (code)
		tell_error(ext, "the directory", inode, code);
}

static void tell_names(struct ext *ext)
{
	struct wanted *root = find_wanted(ext, EXT2_ROOT_INO);

	if (root) {
		root->is_named = true;
		files_tell_file(ext->files, root->kind, "/", root->inode, &root->hit);
	}
	if (ext->wanted.n && !each_inode(ext, name_entries))
		return;
	for (size_t i = 0; i < ext->wanted.n; i++) {
		const struct wanted *wanted = VEC_AT(&ext->wanted, struct wanted, i);

		if (!wanted->is_named)
			files_tell_file(ext->files, wanted->kind, NULL, wanted->inode,
					&wanted->hit);
	}
}

int files_ext(struct files *files, uint64_t super_block, uint32_t block_bytes)
{
	struct ext ext = { .files = files };
	int flags = EXT2_FLAG_64BITS | EXT2_FLAG_SOFTSUPP_FEATURES | EXT2_FLAG_IGNORE_CSUM_ERRORS |
		    EXT2_FLAG_FORCE;
	errcode_t error;

	initialize_ext2_error_table();
	error = files_ext_open(files, flags, super_block, block_bytes, &ext.fs);
	note_error(&ext, error);
	if (error && !files->err)
		cli_error(NULL, "the ext file system cannot be opened: %s", error_message(error));
	if (error)
		return DUMP_DAMAGED;
	if (super_block)
		files_tell_partial(files, "the superblock",
				   "cannot be read, a copy of it was taken");
	if (ext2fs_has_feature_journal_needs_recovery(ext.fs->super) && !files->d->opt.is_quiet)
		cli_error(NULL,
			  "the file system was not unmounted: what its journal still holds is "
			  "not looked at");
	tell_groups(&ext);
	if (each_inode(&ext, take_inode))
		tell_names(&ext);
	vec_free(&ext.wanted);
	files_ext_close(ext.fs);
	return DUMP_DONE;
}
