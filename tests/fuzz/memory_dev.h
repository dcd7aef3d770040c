/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The devices of a set that is an input (memory.h). */
#ifndef FUZZ_MEMORY_DEV_H
#define FUZZ_MEMORY_DEV_H

#include <bcfmt/dev.h>

#include "fuzz/memory.h"

#define MEMORY_DEVICES_MAX (1u + MEMORY_BACKING_MAX)

struct memory {
	struct memory_head head;
	struct memory_piece *pieces;
	uint32_t n;
	uint8_t *input; /* a copy: pieces are not written to, but not const either */
	uint32_t n_devices;
};

/* One with a thread and much memory, one with several and as little as there can be. */
void memory_contexts(struct bcfmt_ctx *ctxs[2]);
/* False when the input has no head. Ends with memory_close(). */
bool memory_open(struct memory *memory, const uint8_t *input, size_t input_bytes);
void memory_close(struct memory *memory);
uint32_t memory_page_bytes(const struct memory *memory);
/* The one whose reads or writes the head makes fail. */
uint32_t memory_failing_device(const struct memory *memory);
/* A device with the pieces of it; 0 is the cache. */
struct bcfmt_dev *memory_device(struct bcfmt_ctx *ctx, const struct memory *memory,
				uint32_t device);
/* The same, and reads or writes of it fail as told; owns what lies below. */
struct bcfmt_dev *memory_faulty(struct bcfmt_ctx *ctx, struct bcfmt_dev *dev, uint16_t fail_read,
				uint16_t fail_write);

#endif
