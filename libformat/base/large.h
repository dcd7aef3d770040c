/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Tables that are large and looked up anywhere. */
#ifndef BASE_LARGE_H
#define BASE_LARGE_H

#include <stdint.h>
#include <sys/mman.h>

#define LARGE_PAGE_BYTES (2ull << 20)

/*
 * Asks for large pages where they fit into the memory at table, which is not touched yet: with
 * small ones most lookups would first miss the processor's table of pages. Only a wish.
 */
static inline void large_pages(void *table, uint64_t bytes)
{
	uintptr_t first = ((uintptr_t)table + LARGE_PAGE_BYTES - 1) & ~(LARGE_PAGE_BYTES - 1);
	uintptr_t end = ((uintptr_t)table + bytes) & ~(LARGE_PAGE_BYTES - 1);

	if (table && first < end)
		(void)madvise((void *)first, end - first, MADV_HUGEPAGE);
}

#endif
