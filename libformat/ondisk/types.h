/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Little-endian integers as they lie on a disk, and the assertion of their places. */
#ifndef ONDISK_TYPES_H
#define ONDISK_TYPES_H

#include "base/bytes.h"

/* Byte arrays: alignment 1, no padding, and arithmetic on a raw field does not compile. */
typedef struct { uint8_t b[2]; } disk_le16;
typedef struct { uint8_t b[4]; } disk_le32;
typedef struct { uint8_t b[8]; } disk_le64;

static inline uint16_t le16_get(const disk_le16 *at)
{
	return load_le16(at->b);
}
static inline uint32_t le32_get(const disk_le32 *at)
{
	return load_le32(at->b);
}
static inline uint64_t le64_get(const disk_le64 *at)
{
	return load_le64(at->b);
}
static inline void le16_set(disk_le16 *at, uint16_t value)
{
	store_le16(at->b, value);
}
static inline void le32_set(disk_le32 *at, uint32_t value)
{
	store_le32(at->b, value);
}
static inline void le64_set(disk_le64 *at, uint64_t value)
{
	store_le64(at->b, value);
}

#define DISK_AT(type, field, offset, bytes)                                           \
	_Static_assert(__builtin_offsetof(type, field) == (offset) &&                 \
		       sizeof(((type *)0)->field) == (bytes), #field " is misplaced")
#define DISK_SIZE(type, bytes) \
	_Static_assert(sizeof(type) == (bytes) && _Alignof(type) == 1, #type " is missized")

#endif
