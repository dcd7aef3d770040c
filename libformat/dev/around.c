/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Reads with O_DIRECT. What is read once need not go through the page cache, which costs a copy
 * and the finding of pages for it.
 *
 * The bytes are those that the page cache would give: before such a read the kernel writes dirty
 * pages of the range to the device and waits for them, and clean pages hold what the device holds.
 * Nothing is put into the page cache, so that nothing of it can be old later.
 */
#include "dev/around.h"

#include <fcntl.h>
#include <stdio.h>
#include <sys/mman.h>
#include <unistd.h>

#include "base/checked.h"

/* Of a range that is longer its begin stands for all. */
#define LOOK_PAGES_MAX 512u

void around_init(struct around *around)
{
	around->direct_fd = -1;
}

void around_clear(struct around *around)
{
	if (around->direct_fd >= 0)
		close(around->direct_fd);
	around->direct_fd = -1;
}

/*
 * The same file or device, whatever its path means by now. That some file systems know no O_DIRECT,
 * and that there may be no /proc, is no error.
 */
static bool open_direct(struct around *around, int fd)
{
	int none = -1, direct_fd;
	char path[64];

	if (__atomic_load_n(&around->direct_fd, __ATOMIC_ACQUIRE) >= 0)
		return true;
	snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
	direct_fd = open(path, O_RDONLY | O_DIRECT | O_CLOEXEC);
	if (direct_fd < 0)
		return false;
	if (!__atomic_compare_exchange_n(&around->direct_fd, &none, direct_fd, false,
					 __ATOMIC_ACQ_REL, __ATOMIC_ACQUIRE))
		close(direct_fd);
	return true;
}

/*
 * Of single pages that are missing nobody need care. RWF_NOWAIT would tell as well, but it begins to
 * read what is not there. Kernels say of a file that the caller could not write to that all of it is
 * in memory.
 */
static bool is_mostly_in_page_cache(int fd, uint64_t offset_bytes, uint64_t len_bytes)
{
	uint64_t page_bytes = (uint64_t)sysconf(_SC_PAGESIZE), begin_bytes, pages, missing = 0;
	unsigned char is_in[LOOK_PAGES_MAX];
	void *map;

	begin_bytes = offset_bytes - offset_bytes % page_bytes;
	pages = div_round_up(offset_bytes - begin_bytes + len_bytes, page_bytes);
	pages = min_u64(pages, LOOK_PAGES_MAX);
	map = mmap(NULL, pages * page_bytes, PROT_NONE, MAP_SHARED, fd, (off_t)begin_bytes);
	if (map == MAP_FAILED)
		return true;
	if (!mincore(map, pages * page_bytes, is_in))
		for (uint64_t i = 0; i < pages; i++)
			missing += !(is_in[i] & 1);
	munmap(map, pages * page_bytes);
	return missing <= pages / 2;
}

bool around_is_far(struct around *around, int fd, uint64_t offset_bytes, uint64_t len_bytes)
{
	return !is_mostly_in_page_cache(fd, offset_bytes, len_bytes) && open_direct(around, fd);
}

bool around_read(struct around *around, int fd, uint64_t offset_bytes, void *buf, size_t len_bytes)
{
	return open_direct(around, fd) &&
	       pread(around->direct_fd, buf, len_bytes, (off_t)offset_bytes) == (ssize_t)len_bytes;
}
