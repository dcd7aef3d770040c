/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Arithmetic that tells when it overflows, and small numeric helpers. */
#ifndef BASE_CHECKED_H
#define BASE_CHECKED_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* True when a + b, a * b does not fit; *out is then undefined. */
static inline bool add_overflows(uint64_t a, uint64_t b, uint64_t *out)
{
	return __builtin_add_overflow(a, b, out);
}
static inline bool mul_overflows(uint64_t a, uint64_t b, uint64_t *out)
{
	return __builtin_mul_overflow(a, b, out);
}
static inline uint64_t div_round_up(uint64_t a, uint64_t b)
{
	return a / b + (a % b != 0);
}
static inline uint64_t min_u64(uint64_t a, uint64_t b)
{
	return a < b ? a : b;
}
static inline uint64_t max_u64(uint64_t a, uint64_t b)
{
	return a > b ? a : b;
}
static inline bool is_pow2(uint64_t value)
{
	return value && !(value & (value - 1));
}
/* floor(log2(value)), value > 0. */
static inline unsigned int log2_floor(uint64_t value)
{
	return 63u - (unsigned int)__builtin_clzll(value);
}

#endif
