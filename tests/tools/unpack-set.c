/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * unpack-set INPUT FOLDER: an input of a fuzz target that takes whole sets (tests/fuzz/memory.h) as
 * the images cache.img, backing0.img and so on, for the programs to look at.
 */
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include <bcfmt/base.h>

#include "base/checked.h"
#include "fuzz/memory.h"

#define INPUT_BYTES_MAX (1u << 20)

static bool put_device(const struct memory_head *head, const struct memory_piece *pieces,
		       uint32_t n_pieces, uint32_t device)
{
	uint64_t bytes = (uint64_t)(device ? head->backing_sectors : head->cache_sectors) *
			 BCFMT_SECTOR_BYTES;
	bool is_good;
	char name[32];
	int fd;

	snprintf(name, sizeof(name), "backing%u.img", device - 1);
	fd = open(device ? name : "cache.img", O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
	is_good = fd >= 0 && !ftruncate(fd, (off_t)bytes);
	for (uint32_t i = 0; is_good && i < n_pieces; i++) {
		uint64_t at = (uint64_t)pieces[i].sector * BCFMT_SECTOR_BYTES;
		size_t len;

		if (pieces[i].device != device || at >= bytes)
			continue;
		len = (size_t)min_u64(pieces[i].len_bytes, bytes - at);
		is_good = pwrite(fd, pieces[i].bytes, len, (off_t)at) == (ssize_t)len;
	}
	if (!is_good)
		perror("unpack-set");
	if (fd >= 0)
		close(fd);
	return is_good;
}

int main(int argc, char **argv)
{
	static struct memory_piece pieces[MEMORY_PIECES_MAX];
	static uint8_t input[INPUT_BYTES_MAX];
	struct memory_head head;
	size_t input_bytes = 0;
	bool is_good = true;
	uint32_t n;
	FILE *file;

	if (argc != 3) {
		fputs("usage: unpack-set INPUT FOLDER\n", stderr);
		return 2;
	}
	file = fopen(argv[1], "rb");
	if (file) {
		input_bytes = fread(input, 1, sizeof(input), file);
		fclose(file);
	}
	if (!memory_head(input, input_bytes, &head) || chdir(argv[2])) {
		fputs("unpack-set: no input, or no folder\n", stderr);
		return 1;
	}
	n = memory_pieces(input, input_bytes, pieces);
	for (uint32_t i = 0; is_good && i <= head.n_backing; i++)
		is_good = put_device(&head, pieces, n, i);
	printf("failing allocation %u, failing read %u, flags 0x%02x\n", head.fail_alloc,
	       head.fail_read, head.flags);
	return !is_good;
}
