/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What follows from the checksum being linear: running it backwards, and making it come out right. */
#ifndef CODEC_CRC64_MATH_H
#define CODEC_CRC64_MATH_H

#include <stddef.h>
#include <stdint.h>

/*
 * What len_bytes zero bytes make of a register value. So the checksum of a message changes by
 * crc64_shift(diff, tail_bytes) when diff is added (xor) to the big-endian word that begins
 * tail_bytes before its end. Steps: log2(len_bytes).
 */
uint64_t crc64_shift(uint64_t value, uint64_t len_bytes);
/* The register value that len_bytes zero bytes turn into value. Steps: log2(len_bytes). */
uint64_t crc64_unshift(uint64_t value, uint64_t len_bytes);

/* The seed with which the seeded checksum of bytes is csum. There is exactly one. */
uint64_t crc64_seed(uint64_t csum, const void *bytes, size_t len_bytes);

#endif
