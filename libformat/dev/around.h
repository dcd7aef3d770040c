/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Reads of a file or block device that go around the page cache. */
#ifndef DEV_AROUND_H
#define DEV_AROUND_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* A second descriptor of the file that fd, of the calls below, is one of. Threads may share it. */
struct around {
	int direct_fd; /* atomic; -1: not opened yet, or not to be had */
};

void around_init(struct around *around);
void around_clear(struct around *around);
/* Most of the range is not in the page cache, as far as can be told, and can be read around it. */
bool around_is_far(struct around *around, int fd, uint64_t offset_bytes, uint64_t len_bytes);
/* All of it or false. offset, length and buf are to be multiples of the device's block. */
bool around_read(struct around *around, int fd, uint64_t offset_bytes, void *buf, size_t len_bytes);

#endif
