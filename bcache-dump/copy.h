/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Writes a volume out, from its begin to its end. */
#ifndef COPY_H
#define COPY_H

#include <bcfmt/volume.h>

#include "lost.h"
#include "sink.h"

struct copy {
	struct bcfmt_ctx *ctx;
	struct bcfmt_volume *volume;
	struct sink *sink;
	struct lost *lost; /* gets what is lost or doubtful */
	struct bcfmt_volume_counts counts;
};

/* Writes all of it to the sink, which is committed by the caller. */
bcfmt_err copy_volume(struct copy *copy);

#endif
