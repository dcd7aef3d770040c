/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Whole sets as inputs of a fuzz target: a head of 16 bytes, then pieces of the devices. What no
 * piece covers is zero. All numbers are little-endian.
 *
 *   head   u16 failing allocation, u16 failing read (FAULTS_ONCE in both), u8 flags, u8 number of
 *          backing devices, u16 0, u32 sectors of the cache, u32 sectors of a backing device
 *   piece  u32 sector, u16 bytes, u8 device (0 the cache), u8 0; then so many bytes
 */
#ifndef FUZZ_MEMORY_H
#define FUZZ_MEMORY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define MEMORY_HEAD_BYTES 16u
#define MEMORY_PIECE_BYTES 8u
#define MEMORY_BACKING_MAX 2u
#define MEMORY_SECTORS_MAX 65536u
#define MEMORY_PIECES_MAX 1024u

#define MEMORY_FLAG_LEVEL 0x03u /* of the check; 3 is the same as 0 */
#define MEMORY_FLAG_PAGE_16K 0x04u
#define MEMORY_FLAG_THREADS 0x08u /* several, and as little memory as there can be */
#define MEMORY_FLAG_BACKING 0x10u /* the failing read is one of a backing device */
/* Of repairs. The level 3 is a consent to what is done without asking, all others one to all. */
#define MEMORY_FLAG_SHALLOW 0x20u
#define MEMORY_FLAG_WRITE 0x40u /* it is a write that fails, not a read */
#define MEMORY_FLAG_HOME 0x80u /* data without an owner is adopted, dirty data brought home */

struct memory_head {
	uint16_t fail_alloc;
	uint16_t fail_read;
	uint8_t flags;
	uint32_t n_backing;
	uint32_t cache_sectors;
	uint32_t backing_sectors;
};

struct memory_piece {
	uint32_t sector;
	uint32_t len_bytes;
	uint32_t device;
	uint8_t *bytes; /* in the input */
};

/* False when there is not even a head. Numbers are brought into their ranges. */
bool memory_head(const uint8_t *input, size_t input_bytes, struct memory_head *head);
/* The pieces, at most MEMORY_PIECES_MAX; the last one may be cut. Returns how many. */
uint32_t memory_pieces(uint8_t *input, size_t input_bytes, struct memory_piece *pieces);
/* Makes the checksums of everything right that looks like a structure of the set. */
void memory_mend(uint8_t *input, size_t input_bytes);
/* A LLVMFuzzerCustomMutator() for them. */
size_t memory_mutate(uint8_t *input, size_t input_bytes, size_t input_max, unsigned int seed);

#endif
