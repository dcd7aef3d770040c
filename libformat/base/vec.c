/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The one growing array. */
#include "base/vec.h"

#include <stdlib.h>

#define VEC_FIRST_CAP 16u

bcfmt_err vec_reserve(struct vec *vec, size_t n, size_t item_bytes)
{
	size_t bytes;
	void *items;

	if (n <= vec->cap)
		return BCFMT_OK;
	if (__builtin_mul_overflow(n, item_bytes, &bytes) || bytes > PTRDIFF_MAX)
		return BCFMT_E_NOMEM;
	items = realloc(vec->items, bytes);
	if (!items)
		return BCFMT_E_NOMEM;
	vec->items = items;
	vec->cap = n;
	return BCFMT_OK;
}

void *vec_push(struct vec *vec, size_t item_bytes)
{
	if (vec->n == vec->cap) {
		size_t cap = vec->cap ? vec->cap : VEC_FIRST_CAP / 2;

		if (cap > SIZE_MAX / 2 || vec_reserve(vec, cap * 2, item_bytes))
			return NULL;
	}
	return (uint8_t *)vec->items + vec->n++ * item_bytes;
}

void vec_free(struct vec *vec)
{
	free(vec->items);
	*vec = (struct vec){ 0 };
}
