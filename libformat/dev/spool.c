/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What came out of a pipe, in an unlinked temporary file, as a device. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/tmpfile.h"
#include "dev/dev_impl.h"

#include <bcfmt/image.h>

#define PIECE_BYTES (1u << 20)

struct spool_dev {
	struct bcfmt_dev dev;
	int fd;
};

static bcfmt_err spool_read(struct bcfmt_dev *dev, uint64_t offset_bytes, void *buf,
			    size_t len_bytes, struct io_fault *fault)
{
	const struct spool_dev *spool = (struct spool_dev *)dev;

	if (tmpfile_read(dev->ctx, spool->fd, offset_bytes, buf, len_bytes))
		return dev_io_fail(fault, BCFMT_E_SYSTEM, offset_bytes, 0,
				   "the temporary file cannot be read");
	return BCFMT_OK;
}

static void spool_free(struct bcfmt_dev *dev)
{
	struct spool_dev *spool = (struct spool_dev *)dev;

	if (spool->fd >= 0)
		close(spool->fd);
	free(spool);
}

static const struct dev_ops spool_ops = {
	.read = spool_read,
	.free = spool_free,
};

/* Copies until the end; *total is how much there was. */
static bcfmt_err copy(struct bcfmt_ctx *ctx, const char *name, int from, int to, uint64_t *total)
{
	uint8_t *piece = malloc(PIECE_BYTES);
	bcfmt_err err =
		piece ? BCFMT_OK : bcfmt_fail(ctx, BCFMT_E_NOMEM, "%s: out of memory", name);

	*total = 0;
	while (!err) {
		ssize_t got = read(from, piece, PIECE_BYTES);

		if (bcfmt_ctx_is_cancelled(ctx))
			err = BCFMT_E_CANCELLED;
		else if (got < 0 && errno != EINTR)
			err = bcfmt_fail(ctx, BCFMT_E_IO, "%s: cannot read: %s", name,
					 strerror(errno));
		else if (!got)
			break;
		else if (got > 0)
			err = tmpfile_write(ctx, to, *total, piece, (size_t)got);
		if (got > 0)
			*total += (uint64_t)got;
	}
	free(piece);
	return err;
}

bcfmt_err bcfmt_dev_spool(struct bcfmt_ctx *ctx, const char *name, int fd, struct bcfmt_dev **out)
{
	struct spool_dev *spool = calloc(1, sizeof(*spool));
	uint64_t bytes;
	bcfmt_err err;

	*out = NULL;
	if (!spool || dev_init(&spool->dev, &spool_ops, ctx, name, 0)) {
		free(spool);
		return bcfmt_fail(ctx, BCFMT_E_NOMEM, "%s: out of memory", name);
	}
	spool->fd = -1;
	err = tmpfile_new(ctx, &spool->fd);
	if (!err)
		err = copy(ctx, name, fd, spool->fd, &bytes);
	if (!err) {
		spool->dev.bytes = bytes - bytes % BCFMT_SECTOR_BYTES;
		if (!spool->dev.bytes)
			err = bcfmt_fail(ctx, BCFMT_E_SYSTEM, "%s: no sector long", name);
	}
	if (err) {
		bcfmt_dev_free(&spool->dev);
		return err;
	}
	*out = &spool->dev;
	return BCFMT_OK;
}
