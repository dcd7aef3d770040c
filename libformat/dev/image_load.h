/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What the files that load an image share. */
#ifndef DEV_IMAGE_LOAD_H
#define DEV_IMAGE_LOAD_H

#include "dev/image_impl.h"

struct loader {
	struct bcfmt_image *image;
	struct vec blocks; /* struct image_block, numbered ones */
	struct vec ids;	   /* uint32_t, of each block, until the head tells the right one */
	uint8_t *piece;	   /* PIECE_BYTES */
	uint8_t *window;   /* WINDOW_BYTES, what is searched */
	uint64_t window_at;
	size_t window_bytes;
	uint64_t file_bytes;
	uint32_t id;	/* of the head */
	uint32_t total; /* of numbered blocks */
	bool has_head;
	bool has_total;
};

/*
 * Calls part (may be NULL) for the stored bytes of a block piece by piece; true when it took all of
 * them and their checksum is right. The last piece stays in loader->piece.
 */
bool loader_read(struct loader *loader, const struct image_block *block,
		 bool (*part)(void *arg, const uint8_t *bytes, size_t len_bytes), void *arg);
bcfmt_err loader_nomem(const struct loader *loader);

/*
 * Verifies every block and notes what is lost: in blocks whose bytes are damaged, and between
 * those whose numbers do not follow each other. Blocks are in the order of their numbers; what
 * is left of them are whole chunks in the order of members and places.
 */
bcfmt_err loader_verify(struct loader *loader);

#endif
