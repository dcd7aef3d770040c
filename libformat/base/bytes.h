/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Unaligned little-endian loads and stores, and whether bytes are zeros. */
#ifndef BASE_BYTES_H
#define BASE_BYTES_H

#include <endian.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

static inline uint16_t load_le16(const void *at)
{
	uint16_t value;

	memcpy(&value, at, sizeof(value));
	return le16toh(value);
}
static inline uint32_t load_le32(const void *at)
{
	uint32_t value;

	memcpy(&value, at, sizeof(value));
	return le32toh(value);
}
static inline uint64_t load_le64(const void *at)
{
	uint64_t value;

	memcpy(&value, at, sizeof(value));
	return le64toh(value);
}
static inline void store_le16(void *at, uint16_t value)
{
	value = htole16(value);
	memcpy(at, &value, sizeof(value));
}
static inline void store_le32(void *at, uint32_t value)
{
	value = htole32(value);
	memcpy(at, &value, sizeof(value));
}
static inline void store_le64(void *at, uint64_t value)
{
	value = htole64(value);
	memcpy(at, &value, sizeof(value));
}

static inline bool bytes_are_zero(const void *at, size_t len_bytes)
{
	const uint8_t *bytes = (const uint8_t *)at;

	return !len_bytes || (!bytes[0] && !memcmp(bytes, bytes + 1, len_bytes - 1));
}

#endif
