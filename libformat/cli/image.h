/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Metadata images in place of devices. */
#ifndef CLI_IMAGE_H
#define CLI_IMAGE_H

#include <bcfmt/image.h>

#include "cli/open.h"

/* Says on stderr what a damaged image lacks; true when that is anything. */
bool cli_image_tell_losses(const char *path, const struct bcfmt_image *image);

/*
 * Opens the image in dev and appends its members to the devices. dev is freed in any case. role:
 * what the command line says of the image; it counts when that has one member. Errors are printed.
 */
bcfmt_err cli_image_add(struct bcfmt_ctx *ctx, struct bcfmt_dev *dev, enum bcfmt_role role,
			struct cli_devices *devices);

#endif
