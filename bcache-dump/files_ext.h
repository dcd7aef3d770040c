/* SPDX-License-Identifier: GPL-2.0-or-later */
/* An ext file system of a volume, as the library of e2fsprogs has it. */
#ifndef FILES_EXT_H
#define FILES_EXT_H

#include <ext2fs/ext2fs.h>

#include "files.h"

/*
 * One at a time. super_block 0: the first superblock, and block_bytes is not looked at. Errors are
 * the library's; EXT2_ET_SHORT_READ also where sectors are lost.
 */
errcode_t files_ext_open(struct files *files, int flags, uint64_t super_block, uint32_t block_bytes,
			 ext2_filsys *fs);
void files_ext_close(ext2_filsys fs);

#endif
