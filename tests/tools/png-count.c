/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Prints how many pixels of a PNG have a colour, of all that it has.
 *
 * png-count FILE RRGGBB
 */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include <png.h>

int main(int argc, char **argv)
{
	png_image image = { .version = PNG_IMAGE_VERSION };
	unsigned long want = argc == 3 ? strtoul(argv[2], NULL, 16) : 0;
	size_t n = 0, all = 0;
	uint8_t *rgb = NULL;

	if (argc != 3) {
		fprintf(stderr, "usage: png-count FILE RRGGBB\n");
		return 2;
	}
	if (png_image_begin_read_from_file(&image, argv[1])) {
		image.format = PNG_FORMAT_RGB;
		rgb = malloc(PNG_IMAGE_SIZE(image));
	}
	if (!rgb || !png_image_finish_read(&image, NULL, rgb, 0, NULL)) {
		fprintf(stderr, "png-count: %s: %s\n", argv[1], image.message);
		png_image_free(&image);
		free(rgb);
		return 1;
	}
	all = (size_t)image.width * image.height;
	for (size_t i = 0; i < all; i++)
		n += rgb[3 * i] == (want >> 16 & 0xff) && rgb[3 * i + 1] == (want >> 8 & 0xff) &&
		     rgb[3 * i + 2] == (want & 0xff);
	printf("%zu of %zu\n", n, all);
	free(rgb);
	return 0;
}
