/* SPDX-License-Identifier: GPL-2.0-or-later */
/* A device that lies in memory. */
#include <stdlib.h>
#include <string.h>

#include "dev/dev_impl.h"

struct mem_dev {
	struct bcfmt_dev dev;
	uint8_t *bytes;
};

static bcfmt_err mem_read(struct bcfmt_dev *dev, uint64_t offset_bytes, void *buf,
			  size_t len_bytes, struct io_fault *fault)
{
	const struct mem_dev *mem = (struct mem_dev *)dev;

	(void)fault;
	memcpy(buf, mem->bytes + offset_bytes, len_bytes);
	return BCFMT_OK;
}

static bcfmt_err mem_write(struct bcfmt_dev *dev, uint64_t offset_bytes, const void *buf,
			   size_t len_bytes, struct io_fault *fault)
{
	struct mem_dev *mem = (struct mem_dev *)dev;

	(void)fault;
	memcpy(mem->bytes + offset_bytes, buf, len_bytes);
	return BCFMT_OK;
}

static void mem_free(struct bcfmt_dev *dev)
{
	struct mem_dev *mem = (struct mem_dev *)dev;

	free(mem->bytes);
	free(mem);
}

static const struct dev_ops mem_ops = {
	.read = mem_read,
	.write = mem_write,
	.free = mem_free,
};

bcfmt_err bcfmt_dev_mem(struct bcfmt_ctx *ctx, const char *name, const void *bytes,
			size_t len_bytes, struct bcfmt_dev **out)
{
	struct mem_dev *mem = calloc(1, sizeof(*mem));
	size_t alloc_bytes = len_bytes ? len_bytes : 1;

	*out = NULL;
	if (!mem || dev_init(&mem->dev, &mem_ops, ctx, name, len_bytes)) {
		free(mem);
		return bcfmt_fail(ctx, BCFMT_E_NOMEM, "%s: out of memory", name);
	}
	mem->dev.is_writable = true;
	/* Zeros are left to calloc(): a large empty device then takes memory only where written. */
	mem->bytes = bytes ? malloc(alloc_bytes) : calloc(alloc_bytes, 1);
	if (!mem->bytes) {
		bcfmt_dev_free(&mem->dev);
		return bcfmt_fail(ctx, BCFMT_E_NOMEM, "%s: out of memory for %zu bytes", name,
				  len_bytes);
	}
	if (bytes && len_bytes)
		memcpy(mem->bytes, bytes, len_bytes);
	*out = &mem->dev;
	return BCFMT_OK;
}
