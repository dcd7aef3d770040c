/* SPDX-License-Identifier: GPL-2.0-or-later */
/* How the library of e2fsprogs reads an ext file system of a volume. */
#include <stdlib.h>
#include <string.h>

#include "files_ext.h"

/* The library's unit before it knows the size of a block. */
#define EXT_SUPER_BYTES 1024

/* An I/O manager of the library has no argument but a name, and one volume is looked at. */
static struct files *reading;

static struct struct_io_manager manager;

static errcode_t volume_channel_open(const char *name, int flags, io_channel *out)
{
	io_channel channel = calloc(1, sizeof(*channel));

	(void)flags;
	if (!channel)
		return EXT2_ET_NO_MEMORY;
	channel->name = strdup(name);
	if (!channel->name) {
		free(channel);
		return EXT2_ET_NO_MEMORY;
	}
	channel->magic = EXT2_ET_MAGIC_IO_CHANNEL;
	channel->manager = &manager;
	channel->block_size = EXT_SUPER_BYTES;
	channel->refcount = 1;
	*out = channel;
	return 0;
}

static errcode_t volume_channel_close(io_channel channel)
{
	if (--channel->refcount > 0)
		return 0;
	free(channel->name);
	free(channel);
	return 0;
}

static errcode_t set_block_bytes(io_channel channel, int bytes)
{
	channel->block_size = bytes;
	return 0;
}

/* count: blocks, or below zero bytes. */
static errcode_t read_blocks(io_channel channel, unsigned long long block, int count, void *buf)
{
	uint64_t block_bytes = (uint64_t)channel->block_size;
	uint64_t len = count < 0 ? (uint64_t) - (int64_t)count : (uint64_t)count * block_bytes;

	if (block > reading->bytes / block_bytes)
		return EXT2_ET_SHORT_READ;
	return files_read(reading, block * block_bytes, buf, (size_t)len) ? 0 : EXT2_ET_SHORT_READ;
}

static errcode_t read_blocks_32(io_channel channel, unsigned long block, int count, void *buf)
{
	return read_blocks(channel, block, count, buf);
}

static errcode_t refuse_write_64(io_channel channel, unsigned long long block, int count,
				 const void *buf)
{
	(void)channel;
	(void)block;
	(void)count;
	(void)buf;
	return EXT2_ET_RO_FILSYS;
}

static errcode_t refuse_write(io_channel channel, unsigned long block, int count, const void *buf)
{
	return refuse_write_64(channel, block, count, buf);
}

static errcode_t nothing_to_flush(io_channel channel)
{
	(void)channel;
	return 0;
}

static struct struct_io_manager manager = {
	.magic = EXT2_ET_MAGIC_IO_MANAGER,
	.name = "bcache volume",
	.open = volume_channel_open,
	.close = volume_channel_close,
	.set_blksize = set_block_bytes,
	.read_blk = read_blocks_32,
	.write_blk = refuse_write,
	.flush = nothing_to_flush,
	.read_blk64 = read_blocks,
	.write_blk64 = refuse_write_64,
};

errcode_t files_ext_open(struct files *files, int flags, uint64_t super_block, uint32_t block_bytes,
			 ext2_filsys *fs)
{
	reading = files;
	return ext2fs_open2("volume", NULL, flags, (int)super_block, block_bytes, &manager, fs);
}

void files_ext_close(ext2_filsys fs)
{
	ext2fs_free(fs);
	reading = NULL;
}
