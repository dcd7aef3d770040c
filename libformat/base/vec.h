/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The one growing array. */
#ifndef BASE_VEC_H
#define BASE_VEC_H

#include <bcfmt/base.h>

/* Zero it to start. Items of one size only. Freed with vec_free(). */
struct vec {
	void *items;
	size_t n;
	size_t cap;
};

/* Room for one more item of item_bytes at the end, uninitialised; NULL when memory is out. */
void *vec_push(struct vec *vec, size_t item_bytes);
/* Makes cap at least n. */
bcfmt_err vec_reserve(struct vec *vec, size_t n, size_t item_bytes);
void vec_free(struct vec *vec);

#define VEC_AT(vec, type, i) ((type *)(vec)->items + (i))

#endif
