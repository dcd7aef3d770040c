/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Reads one btree node. */
#include <bcfmt/node.h>

#include <stdlib.h>
#include <string.h>

#include "read/read.h"

bcfmt_err node_read(struct node_reader *reader, struct bcfmt_dev *dev,
		    const struct bcfmt_geometry *geo, uint64_t ptr, uint32_t sectors)
{
	size_t len_bytes = (size_t)sectors * BCFMT_SECTOR_BYTES;
	const uint8_t *ready = reader->ready;
	bcfmt_err err;

	memset(&reader->bad, 0, sizeof(reader->bad));
	reader->ready = NULL;
	if (ready)
		return bcfmt_node_decode(&reader->node, geo, ready, sectors, ptr);
	if (reader->buf_bytes < len_bytes) {
		uint8_t *grown = realloc(reader->buf, len_bytes);

		if (!grown)
			return BCFMT_E_NOMEM;
		reader->buf = grown;
		reader->buf_bytes = len_bytes;
	}
	err = bcfmt_dev_read_salvage(dev, bcfmt_ptr_sector(ptr) * BCFMT_SECTOR_BYTES, reader->buf,
				     len_bytes, &reader->bad);
	if (err)
		return err;
	return bcfmt_node_decode(&reader->node, geo, reader->buf, sectors, ptr);
}

void node_reader_clear(struct node_reader *reader)
{
	bcfmt_node_clear(&reader->node);
	free(reader->buf);
	memset(reader, 0, sizeof(*reader));
}
