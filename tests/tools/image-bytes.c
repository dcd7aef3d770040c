/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Prints all bytes of metadata that an image holds, one piece behind the other: what other
 * compressors are measured by.
 *
 * image-bytes IMAGE
 */
#include <stdio.h>

#include <bcfmt/image.h>

static bcfmt_err print(void *arg, enum bcfmt_image_part part, uint64_t offset_bytes,
		       const uint8_t *bytes, uint64_t len_bytes)
{
	(void)arg;
	(void)offset_bytes;
	if (part != BCFMT_IMAGE_DATA || fwrite(bytes, 1, (size_t)len_bytes, stdout) == len_bytes)
		return BCFMT_OK;
	return BCFMT_E_IO;
}

int main(int argc, char **argv)
{
	struct bcfmt_ctx_params params = { .threads = 1 };
	struct bcfmt_image *image = NULL;
	struct bcfmt_dev *dev = NULL;
	struct bcfmt_ctx *ctx;
	size_t n = 0;
	bcfmt_err err;

	if (argc != 2 || bcfmt_ctx_new(&params, &ctx)) {
		fprintf(stderr, "usage: image-bytes IMAGE\n");
		return 2;
	}
	err = bcfmt_dev_open(ctx, argv[1], 0, &dev);
	if (!err)
		err = bcfmt_image_open(ctx, dev, &image);
	if (image)
		(void)bcfmt_image_members(image, &n);
	else
		bcfmt_dev_free(dev);
	for (size_t i = 0; i < n && !err; i++)
		err = bcfmt_image_walk(image, i, print, NULL);
	if (err)
		fprintf(stderr, "image-bytes: %s: %s\n", argv[1], bcfmt_ctx_fault(ctx));
	bcfmt_image_free(image);
	bcfmt_ctx_free(ctx);
	return fflush(stdout) || err;
}
