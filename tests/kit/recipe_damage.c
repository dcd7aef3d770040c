/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Damage to a built image, in the order of the recipe. */
#include "recipe_impl.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/checked.h"

#define POKE_BYTES_MAX 512u

static uint64_t bucket_bytes(const struct recipe_build *build)
{
	return (uint64_t)build->geo.bucket_sectors * BCFMT_SECTOR_BYTES;
}

/* Where the place of a statement begins; fails when it does not lie on the device. */
static bool resolve_place(struct recipe_build *build, const struct recipe_op *op,
			  uint64_t *at_bytes, uint64_t *len_bytes)
{
	uint64_t base_bytes = 0;

	*len_bytes = op->len_bytes;
	if (op->bucket != RECIPE_AUTO) {
		if (!build->has_geo || op->device != RECIPE_CACHE) {
			recipe_build_fail(build, op->line, "bucket", "only a cache has buckets");
			return false;
		}
		base_bytes = op->bucket * bucket_bytes(build);
		if (op->len_bytes == RECIPE_AUTO)
			*len_bytes =
				bucket_bytes(build) - min_u64(op->at_bytes, bucket_bytes(build));
	}
	*at_bytes = base_bytes + op->at_bytes;
	if (build->image[op->device].fd < 0 || *at_bytes > build->image[op->device].bytes) {
		recipe_build_fail(build, op->line, "at", "lies beyond the end of the device");
		return false;
	}
	return true;
}

static int hex_digit(char c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

static void poke_bytes(struct recipe_build *build, const struct recipe_op *op)
{
	size_t digits = strlen(op->value);
	uint8_t raw[POKE_BYTES_MAX];
	uint64_t at_bytes;
	uint64_t len_bytes;

	if (!digits || digits % 2 || digits / 2 > sizeof(raw)) {
		recipe_build_fail(build, op->line, op->value,
				  "is no string of up to 512 bytes in hex");
		return;
	}
	for (size_t i = 0; i < digits / 2; i++) {
		int high = hex_digit(op->value[2 * i]);
		int low = hex_digit(op->value[2 * i + 1]);

		if (high < 0 || low < 0) {
			recipe_build_fail(build, op->line, op->value, "is no hex");
			return;
		}
		raw[i] = (uint8_t)(high << 4 | low);
	}
	if (resolve_place(build, op, &at_bytes, &len_bytes))
		recipe_image_write(build, op->device, at_bytes, raw, digits / 2);
}

static void unreadable(struct recipe_build *build, const struct recipe_op *op)
{
	struct recipe_range *range;
	uint64_t at_bytes;
	uint64_t len_bytes;

	if (!resolve_place(build, op, &at_bytes, &len_bytes))
		return;
	range = vec_push(&build->image[op->device].bad, sizeof(*range));
	if (range)
		*range = (struct recipe_range){ at_bytes, len_bytes };
	else
		recipe_build_fail(build, op->line, "unreadable", "out of memory");
}

static void copy_bucket(struct recipe_build *build, const struct recipe_op *op, bool has_swap)
{
	uint64_t from_bytes = op->bucket * bucket_bytes(build);
	uint64_t to_bytes = op->to_bucket * bucket_bytes(build);
	size_t len_bytes = (size_t)bucket_bytes(build);
	uint8_t *from = malloc(len_bytes + 1);
	uint8_t *to = malloc(len_bytes + 1);

	if (!from || !to || !build->has_geo) {
		recipe_build_fail(build, op->line, "bucket", "no cache, or out of memory");
	} else if (recipe_image_read(build, RECIPE_CACHE, from_bytes, from, len_bytes) &&
		   recipe_image_read(build, RECIPE_CACHE, to_bytes, to, len_bytes)) {
		recipe_image_write(build, RECIPE_CACHE, to_bytes, from, len_bytes);
		if (has_swap)
			recipe_image_write(build, RECIPE_CACHE, from_bytes, to, len_bytes);
	}
	free(from);
	free(to);
}

static void truncate_device(struct recipe_build *build, const struct recipe_op *op)
{
	struct recipe_image *image = &build->image[op->device];

	if (image->fd < 0 || ftruncate(image->fd, (off_t)op->len_bytes))
		recipe_build_fail(build, op->line, "truncate", "cannot be done");
	else
		image->bytes = op->len_bytes;
}

static void apply(struct recipe_build *build, const struct recipe_op *op)
{
	uint64_t at_bytes;
	uint64_t len_bytes;

	switch (op->kind) {
	case RECIPE_SET:
	case RECIPE_POKE:
		recipe_field_write(build, op->line, op->path, op->value, op->kind == RECIPE_SET);
		break;
	case RECIPE_POKE_BYTES:
		poke_bytes(build, op);
		break;
	case RECIPE_ZERO:
		if (resolve_place(build, op, &at_bytes, &len_bytes))
			recipe_image_zero(build, op->device, at_bytes, len_bytes);
		break;
	case RECIPE_COPY:
	case RECIPE_SWAP:
		copy_bucket(build, op, op->kind == RECIPE_SWAP);
		break;
	case RECIPE_TRUNCATE:
		truncate_device(build, op);
		break;
	case RECIPE_UNREADABLE:
		unreadable(build, op);
		break;
	}
}

void recipe_damage(struct recipe_build *build)
{
	for (size_t i = 0; i < build->recipe->ops.n && !build->has_failed; i++)
		apply(build, VEC_AT(&build->recipe->ops, struct recipe_op, i));
}
