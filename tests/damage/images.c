/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The copies of a set that are damaged and repaired, and the way back to what they were. */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <bcfmt/super.h>

#include "base/checked.h"
#include "damage/suite.h"

const uint8_t *map_file(const char *path, uint64_t *bytes)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	struct stat st;
	void *map;

	if (fd < 0 || fstat(fd, &st))
		return NULL;
	map = mmap(NULL, (size_t)st.st_size, PROT_READ, MAP_PRIVATE, fd, 0);
	close(fd);
	*bytes = (uint64_t)st.st_size;
	return map == MAP_FAILED ? NULL : map;
}

/* Images have a time that no write gives them, so that a write shows. */
static const struct timespec untouched[2] = { { .tv_sec = 1 }, { .tv_sec = 1 } };

static bool is_touched(const struct recipe_image *image)
{
	struct stat st;

	return image->fd >= 0 && !fstat(image->fd, &st) &&
	       (st.st_mtim.tv_sec != untouched[0].tv_sec || st.st_mtim.tv_nsec);
}

/* Whether anything was written since the last call. What was, has to be put back some time. */
bool take_touched(struct suite *suite)
{
	bool is_any = false;

	for (uint32_t i = 0; i <= RECIPE_BACKING_MAX; i++) {
		const struct recipe_image *image = &suite->build.image[i];

		if (!is_touched(image))
			continue;
		is_any = true;
		suite->base[i].has_changed = true;
		if (futimens(image->fd, untouched))
			die(image->file);
	}
	return is_any;
}

static bool is_wounded(const struct vec *wounds, uint32_t device, uint64_t at_bytes)
{
	for (size_t i = 0; i < wounds->n; i++) {
		const struct wound *item = VEC_AT(wounds, const struct wound, i);

		if (item->device == device && at_bytes + BCFMT_SECTOR_BYTES > item->at_bytes &&
		    at_bytes <
			    item->at_bytes + min_u64(item->len_bytes, UINT64_MAX - item->at_bytes))
			return true;
	}
	return false;
}

static void read_chunk(int fd, const char *name, uint8_t *buf, size_t len_bytes, uint64_t at_bytes)
{
	if (pread(fd, buf, len_bytes, (off_t)at_bytes) != (ssize_t)len_bytes)
		die(name);
}

/* Sectors that were not damaged and differ from the base; all are as in the base then. */
static uint64_t restore_image(struct suite *suite, uint32_t device, const struct vec *wounds)
{
	struct recipe_image *image = &suite->build.image[device];
	uint64_t bytes = suite->base[device].bytes, strange = 0;

	image->bytes = bytes;
	if (!suite->base[device].has_changed)
		return 0;
	suite->base[device].has_changed = false;
	if (ftruncate(image->fd, (off_t)bytes))
		die(image->file);
	for (uint64_t at = 0; at < bytes; at += CHUNK_BYTES) {
		size_t len_bytes = (size_t)min_u64(CHUNK_BYTES, bytes - at);

		read_chunk(suite->base[device].fd, image->file, suite->chunk[0], len_bytes, at);
		read_chunk(image->fd, image->file, suite->chunk[1], len_bytes, at);
		if (!memcmp(suite->chunk[0], suite->chunk[1], len_bytes))
			continue;
		for (size_t in = 0; in < len_bytes; in += BCFMT_SECTOR_BYTES)
			strange += memcmp(suite->chunk[0] + in, suite->chunk[1] + in,
					  BCFMT_SECTOR_BYTES) != 0 &&
				   !is_wounded(wounds, device, at + in);
		if (!recipe_image_write(&suite->build, device, at, suite->chunk[0], len_bytes))
			die(suite->build.error->text);
	}
	return strange;
}

uint64_t restore(struct suite *suite, const struct vec *wounds)
{
	uint64_t strange = 0;

	take_touched(suite);
	for (uint32_t i = 0; i <= RECIPE_BACKING_MAX; i++)
		if (suite->build.image[i].fd >= 0)
			strange += restore_image(suite, i, wounds);
	for (uint32_t i = 0; i <= RECIPE_BACKING_MAX; i++)
		if (is_touched(&suite->build.image[i]) &&
		    futimens(suite->build.image[i].fd, untouched))
			die(suite->build.image[i].file);
	return strange;
}

/* The first copy, and the way back to it. */
bool copy_base(struct suite *suite)
{
	if (!recipe_images_copy(&suite->build, suite->base_dir))
		return false;
	for (uint32_t i = 0; i <= RECIPE_BACKING_MAX; i++) {
		char file[PATH_MAX + 64];

		if (suite->build.image[i].fd < 0)
			continue;
		snprintf(file, sizeof(file), "%s/%s", suite->base_dir, suite->build.image[i].file);
		suite->base[i].fd = open(file, O_RDONLY | O_CLOEXEC);
		suite->base[i].bytes = suite->build.image[i].bytes;
		if (suite->base[i].fd < 0)
			die(file);
	}
	restore(suite, &(struct vec){ 0 });
	return true;
}
