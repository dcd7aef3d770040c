/* SPDX-License-Identifier: GPL-2.0-or-later */
/* bcache's checksum by way of ISA-L, whose ECMA-182 routine inverts before and after. */
#include <bcfmt/crc64.h>

#include <isa-l/crc64.h>

uint64_t bcfmt_crc64(const void *bytes, size_t len_bytes)
{
	return bcfmt_crc64_seeded(UINT64_MAX, bytes, len_bytes);
}

uint64_t bcfmt_crc64_seeded(uint64_t seed, const void *bytes, size_t len_bytes)
{
	if (!len_bytes)
		return ~seed;
	return crc64_ecma_norm(~seed, bytes, len_bytes);
}
