/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What loading and reading an image share. */
#ifndef DEV_IMAGE_IMPL_H
#define DEV_IMAGE_IMPL_H

#include <pthread.h>

#include <bcfmt/image.h>

#include "base/vec.h"
#include "codec/image_chunk.h"
#include "dev/range_map.h"

/* A numbered block, as its header or the index describes it. */
struct image_block {
	uint64_t file_offset; /* of its header */
	uint64_t stored_csum;
	uint64_t first_byte;
	uint64_t end_byte;
	uint32_t stored_bytes;
	uint32_t content_bytes;
	uint32_t number;
	uint16_t member;
	uint8_t kind;
	uint8_t method;
	bool is_lost; /* its stored bytes are not what they should be */
};

struct image_member {
	char *name;
	char *source;
	struct range_map bad; /* bytes that cannot be read; the values mean nothing */
	size_t first_chunk;   /* [first_chunk, end_chunk) of the image's chunks */
	size_t end_chunk;
};

/* A chunk in memory. */
struct image_slot {
	struct image_chunk chunk;
	size_t index; /* which; SIZE_MAX: none */
	uint64_t last_use;
	unsigned int users;
	bool is_loading;
};

struct bcfmt_image {
	struct bcfmt_ctx *ctx;
	struct bcfmt_dev *file; /* owned */
	unsigned int refs;	/* of the caller and of devices; atomic */
	bool is_scrubbed;
	struct bcfmt_image_member *public_members;
	struct image_member *members;
	size_t n_members;
	struct image_block *chunks; /* by member and place, none lost, not overlapping */
	size_t n_chunks;
	struct vec losses; /* struct bcfmt_image_loss */

	pthread_mutex_t lock; /* of all below */
	pthread_cond_t changed;
	struct image_slot *slots;
	size_t n_slots;
	uint64_t uses;
	struct image_packer **packers; /* those that no thread works with */
	size_t n_packers;
};

/* Fills members, chunks, losses and bad ranges from the file. Errors as bcfmt_image_open(). */
bcfmt_err image_load(struct bcfmt_image *image);

#endif
