/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A register of the checksum is a polynomial over GF(2) modulo P, bit 63 its highest power. A zero
 * byte multiplies it by x^8; P has a constant term, so x has an inverse and that can be undone.
 */
#include "codec/crc64_math.h"

#include <bcfmt/crc64.h>

#define POLY 0x42f0e1eba9ea3693ull /* P without x^64 */

static uint64_t times_x(uint64_t value)
{
	return value << 1 ^ (value >> 63 ? POLY : 0);
}

static uint64_t multiply(uint64_t a, uint64_t b)
{
	uint64_t sum = 0;

	for (; b; b >>= 1) {
		if (b & 1)
			sum ^= a;
		a = times_x(a);
	}
	return sum;
}

/* value * byte^len_bytes, where byte is what one zero byte multiplies by. */
static uint64_t multiply_power(uint64_t value, uint64_t byte, uint64_t len_bytes)
{
	for (; len_bytes; len_bytes >>= 1) {
		if (len_bytes & 1)
			value = multiply(value, byte);
		byte = multiply(byte, byte);
	}
	return value;
}

uint64_t crc64_shift(uint64_t value, uint64_t len_bytes)
{
	return multiply_power(value, 1u << 8, len_bytes);
}

uint64_t crc64_unshift(uint64_t value, uint64_t len_bytes)
{
	/* x^-1 = (P - 1) / x. */
	uint64_t byte = POLY >> 1 | 1ull << 63;

	for (unsigned int i = 0; i < 3; i++)
		byte = multiply(byte, byte);
	return multiply_power(value, byte, len_bytes);
}

uint64_t crc64_seed(uint64_t csum, const void *bytes, size_t len_bytes)
{
	return crc64_unshift(csum ^ bcfmt_crc64_seeded(0, bytes, len_bytes), len_bytes);
}
