/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Metadata images in place of devices. */
#include "cli/image.h"

#include <inttypes.h>

#include "cli/message.h"

#define LOSSES_TOLD 8u

bool cli_image_tell_losses(const char *path, const struct bcfmt_image *image)
{
	const struct bcfmt_image_member *members;
	const struct bcfmt_image_loss *losses;
	size_t n, n_members;

	members = bcfmt_image_members(image, &n_members);
	losses = bcfmt_image_losses(image, &n);
	for (size_t i = 0; i < n && i < LOSSES_TOLD; i++)
		cli_error(path, "damaged: %s sectors %" PRIu64 "-%" PRIu64 " of %s",
			  losses[i].is_of_holes ? "which are unreadable is lost of" : "lost are",
			  losses[i].first_byte / BCFMT_SECTOR_BYTES,
			  (losses[i].end_byte - 1) / BCFMT_SECTOR_BYTES,
			  members[losses[i].member].name);
	if (n > LOSSES_TOLD)
		cli_error(path, "damaged: and %zu more ranges", n - LOSSES_TOLD);
	return n != 0;
}

static bcfmt_err add_members(struct bcfmt_ctx *ctx, const char *path, struct bcfmt_image *image,
			     enum bcfmt_role role, struct cli_devices *devices)
{
	const struct bcfmt_image_member *members;
	bcfmt_err err = BCFMT_OK;
	size_t n;

	members = bcfmt_image_members(image, &n);
	for (size_t i = 0; i < n && !err; i++) {
		bool is_asked = n == 1 && role != BCFMT_ROLE_AUTO;
		struct bcfmt_dev *dev;

		err = bcfmt_image_dev(image, i, &dev);
		if (err) {
			cli_error_ctx(path, ctx, err);
			break;
		}
		if (members[i].was_in_use)
			cli_error(bcfmt_dev_name(dev), "was in use when the image was made, the "
						       "result may be inconsistent");
		err = cli_devices_add(devices, dev, is_asked ? role : members[i].role);
	}
	return err;
}

bcfmt_err cli_image_add(struct bcfmt_ctx *ctx, struct bcfmt_dev *dev, enum bcfmt_role role,
			struct cli_devices *devices)
{
	struct bcfmt_image *image;
	bcfmt_err err = bcfmt_image_open(ctx, dev, &image);

	if (err) {
		cli_error_ctx(NULL, ctx, err);
		bcfmt_dev_free(dev);
		return err;
	}
	(void)cli_image_tell_losses(bcfmt_dev_name(dev), image);
	err = add_members(ctx, bcfmt_dev_name(dev), image, role, devices);
	bcfmt_image_free(image); /* the devices keep it */
	return err;
}
