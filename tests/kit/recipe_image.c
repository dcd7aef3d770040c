/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Image files of a recipe: sparse, written in place, with a map of what cannot be read. */
#include "recipe_impl.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/bytes.h"
#include "base/checked.h"

#define COPY_BYTES (1u << 20)

void recipe_build_fail(struct recipe_build *build, unsigned int line, const char *word,
		       const char *why)
{
	if (build->has_failed)
		return;
	build->has_failed = true;
	if (line)
		snprintf(build->error->text, sizeof(build->error->text), "%s:%u: '%.100s': %s",
			 build->recipe->name, line, word, why);
	else
		snprintf(build->error->text, sizeof(build->error->text), "%s: %.100s: %s",
			 build->recipe->name, word, why);
}

static bool is_inside(const struct recipe_image *image, uint64_t at_bytes, uint64_t len_bytes)
{
	return at_bytes <= image->bytes && len_bytes <= image->bytes - at_bytes;
}

bool recipe_image_read(struct recipe_build *build, uint32_t device, uint64_t at_bytes, void *buf,
		       size_t len_bytes)
{
	struct recipe_image *image = &build->image[device];
	uint8_t *to = buf;

	if (build->has_failed)
		return false;
	if (image->fd < 0 || !is_inside(image, at_bytes, len_bytes)) {
		recipe_build_fail(build, 0, image->file, "read beyond the end of the image");
		return false;
	}
	while (len_bytes) {
		ssize_t got = pread(image->fd, to, len_bytes, (off_t)at_bytes);

		if (got <= 0) {
			recipe_build_fail(build, 0, image->file,
					  got ? strerror(errno) : "too short");
			return false;
		}
		to += got;
		at_bytes += (uint64_t)got;
		len_bytes -= (size_t)got;
	}
	return true;
}

bool recipe_image_write(struct recipe_build *build, uint32_t device, uint64_t at_bytes,
			const void *buf, size_t len_bytes)
{
	struct recipe_image *image = &build->image[device];
	const uint8_t *from = buf;

	if (build->has_failed)
		return false;
	if (image->fd < 0 || !is_inside(image, at_bytes, len_bytes)) {
		recipe_build_fail(build, 0, image->file, "written beyond the end of the image");
		return false;
	}
	while (len_bytes) {
		ssize_t put = pwrite(image->fd, from, len_bytes, (off_t)at_bytes);

		if (put < 0) {
			recipe_build_fail(build, 0, image->file, strerror(errno));
			return false;
		}
		from += put;
		at_bytes += (uint64_t)put;
		len_bytes -= (size_t)put;
	}
	return true;
}

/* Punches a hole where the file system can, so that large images stay sparse. */
void recipe_image_zero(struct recipe_build *build, uint32_t device, uint64_t at_bytes,
		       uint64_t len_bytes)
{
	static const uint8_t zeros[4096];
	struct recipe_image *image = &build->image[device];

	if (image->fd < 0 || !is_inside(image, at_bytes, len_bytes)) {
		recipe_build_fail(build, 0, image->file, "zeroed beyond the end of the image");
		return;
	}
	if (len_bytes && !fallocate(image->fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE,
				    (off_t)at_bytes, (off_t)len_bytes))
		return;
	while (len_bytes && !build->has_failed) {
		size_t piece_bytes = (size_t)min_u64(len_bytes, sizeof(zeros));

		recipe_image_write(build, device, at_bytes, zeros, piece_bytes);
		at_bytes += piece_bytes;
		len_bytes -= piece_bytes;
	}
}

/* Depends on the seed and the sector of the range, so that a copy elsewhere can be told. */
void recipe_image_fill(struct recipe_build *build, const struct recipe_data *data)
{
	uint64_t sectors = data->len_bytes / BCFMT_SECTOR_BYTES;

	for (uint64_t sector = 0; sector < sectors && !build->has_failed; sector++) {
		uint8_t raw[BCFMT_SECTOR_BYTES];

		for (uint64_t i = 0; i < sizeof(raw) / 8; i++)
			store_le64(raw + 8 * i, recipe_mix(data->seed << 40 ^ sector << 8 ^ i));
		recipe_image_write(build, data->device,
				   data->at_bytes + sector * BCFMT_SECTOR_BYTES, raw, sizeof(raw));
	}
}

static void device_file(uint32_t device, const char *extension, char out[32])
{
	if (device == RECIPE_CACHE)
		snprintf(out, 32, "cache.%s", extension);
	else
		snprintf(out, 32, "backing%u.%s", device - 1, extension);
}

/* Left-overs of another recipe must not be taken for devices of this one. */
static bool open_images(struct recipe_build *build)
{
	for (uint32_t i = 0; i <= RECIPE_BACKING_MAX; i++) {
		char map[32];
		char path[4096];

		build->image[i].fd = -1;
		device_file(i, "img", build->image[i].file);
		device_file(i, "map", map);
		snprintf(path, sizeof(path), "%s/%s", build->out_dir, map);
		unlink(path);
		snprintf(path, sizeof(path), "%s/%s", build->out_dir, build->image[i].file);
		unlink(path);
		if (!build->recipe->device[i].is_used && !build->recipe->base[0])
			continue;
		build->image[i].fd = open(path, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0644);
		if (build->image[i].fd < 0) {
			recipe_build_fail(build, 0, path, strerror(errno));
			return false;
		}
	}
	return true;
}

static void set_size(struct recipe_build *build, uint32_t device, uint64_t bytes)
{
	build->image[device].bytes = bytes;
	if (ftruncate(build->image[device].fd, (off_t)bytes))
		recipe_build_fail(build, 0, build->image[device].file, strerror(errno));
}

bool recipe_images_create(struct recipe_build *build)
{
	if (!open_images(build))
		return false;
	for (uint32_t i = 0; i <= RECIPE_BACKING_MAX; i++)
		if (build->image[i].fd >= 0)
			set_size(build, i, build->recipe->device[i].bytes);
	return !build->has_failed;
}

void recipe_images_open(struct recipe_build *build)
{
	for (uint32_t i = 0; i <= RECIPE_BACKING_MAX && !build->has_failed; i++) {
		char path[4096];

		if (build->image[i].fd < 0)
			continue;
		snprintf(path, sizeof(path), "%s/%s", build->out_dir, build->image[i].file);
		if (bcfmt_dev_open(build->ctx, path, BCFMT_OPEN_WRITE, &build->image[i].dev))
			recipe_build_fail(build, 0, build->image[i].file,
					  bcfmt_ctx_fault(build->ctx));
	}
}

/* Copies what is data, so that holes stay holes. */
static void copy_data(struct recipe_build *build, int from, uint32_t device)
{
	uint8_t *buf = malloc(COPY_BYTES);
	off_t end = lseek(from, 0, SEEK_END);
	off_t at = 0;

	if (!buf || end < 0) {
		recipe_build_fail(build, 0, build->image[device].file, "cannot be copied");
		free(buf);
		return;
	}
	set_size(build, device, (uint64_t)end);
	while (!build->has_failed && (at = lseek(from, at, SEEK_DATA)) >= 0) {
		off_t stop = lseek(from, at, SEEK_HOLE);

		while (!build->has_failed && at < stop) {
			size_t want = (size_t)min_u64((uint64_t)(stop - at), COPY_BYTES);
			ssize_t got = pread(from, buf, want, at);

			if (got <= 0)
				recipe_build_fail(build, 0, "base", "cannot be read");
			else if (recipe_image_write(build, device, (uint64_t)at, buf, (size_t)got))
				at += got;
		}
	}
	free(buf);
}

bool recipe_images_copy(struct recipe_build *build, const char *base_dir)
{
	if (!open_images(build))
		return false;
	for (uint32_t i = 0; i <= RECIPE_BACKING_MAX && !build->has_failed; i++) {
		char path[4096];
		int from;

		snprintf(path, sizeof(path), "%s/%s", base_dir, build->image[i].file);
		from = open(path, O_RDONLY | O_CLOEXEC);
		if (from >= 0) {
			copy_data(build, from, i);
			close(from);
			continue;
		}
		if (i == RECIPE_CACHE)
			recipe_build_fail(build, 0, path, strerror(errno));
		close(build->image[i].fd);
		build->image[i].fd = -1;
		snprintf(path, sizeof(path), "%s/%s", build->out_dir, build->image[i].file);
		unlink(path);
	}
	return !build->has_failed;
}

static int by_place(const void *a, const void *b)
{
	const struct recipe_range *left = a;
	const struct recipe_range *right = b;

	return left->at_bytes < right->at_bytes ? -1 : left->at_bytes > right->at_bytes;
}

static void map_line(FILE *file, uint64_t at_bytes, uint64_t end_bytes, char status)
{
	if (end_bytes > at_bytes)
		fprintf(file, "0x%08llx  0x%08llx  %c\n", (unsigned long long)at_bytes,
			(unsigned long long)(end_bytes - at_bytes), status);
}

static void write_map(struct recipe_build *build, uint32_t device)
{
	struct recipe_image *image = &build->image[device];
	uint64_t at_bytes = 0;
	char name[32];
	char path[4096];
	FILE *file;

	device_file(device, "map", name);
	snprintf(path, sizeof(path), "%s/%s", build->out_dir, name);
	file = fopen(path, "w");
	if (!file) {
		recipe_build_fail(build, 0, path, strerror(errno));
		return;
	}
	if (image->bad.n)
		qsort(image->bad.items, image->bad.n, sizeof(struct recipe_range), by_place);
	fprintf(file, "# Mapfile\n# current_pos  current_status  current_pass\n");
	fprintf(file, "0x00000000     +               1\n#      pos        size  status\n");
	for (size_t i = 0; i < image->bad.n; i++) {
		const struct recipe_range *range = VEC_AT(&image->bad, struct recipe_range, i);
		uint64_t begin_bytes = max_u64(at_bytes, min_u64(range->at_bytes, image->bytes));
		uint64_t end_bytes = min_u64(range->at_bytes + range->len_bytes, image->bytes);

		map_line(file, at_bytes, begin_bytes, '+');
		map_line(file, begin_bytes, end_bytes, '-');
		at_bytes = max_u64(begin_bytes, end_bytes);
	}
	map_line(file, at_bytes, image->bytes, '+');
	if (fclose(file))
		recipe_build_fail(build, 0, path, "cannot be written");
}

/* One for every device as soon as one is needed: programs take them in the devices' order. */
void recipe_images_maps(struct recipe_build *build)
{
	bool is_needed = false;

	for (uint32_t i = 0; i <= RECIPE_BACKING_MAX; i++)
		is_needed |= build->image[i].bad.n != 0;
	for (uint32_t i = 0; is_needed && i <= RECIPE_BACKING_MAX && !build->has_failed; i++)
		if (build->image[i].fd >= 0)
			write_map(build, i);
}

void recipe_images_close(struct recipe_build *build)
{
	for (uint32_t i = 0; i <= RECIPE_BACKING_MAX; i++) {
		bcfmt_dev_free(build->image[i].dev);
		if (build->image[i].fd >= 0 && close(build->image[i].fd))
			recipe_build_fail(build, 0, build->image[i].file, strerror(errno));
		vec_free(&build->image[i].bad);
	}
}

struct recipe_thing *recipe_thing_add(struct recipe_build *build, enum recipe_thing_kind kind,
				      uint32_t device, uint64_t at_bytes, uint64_t room_bytes)
{
	struct recipe_thing *thing = vec_push(&build->things, sizeof(*thing));

	if (!thing) {
		recipe_build_fail(build, 0, "index", "out of memory");
		return NULL;
	}
	*thing = (struct recipe_thing){
		.kind = kind,
		.device = device,
		.at_bytes = at_bytes,
		.room_bytes = room_bytes,
	};
	return thing;
}
