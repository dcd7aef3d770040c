/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Any bytes as a prio set. The first byte: bits 0 to 3 choose the geometry, 6 makes header and
 * checksum right.
 */
#include <bcfmt/crc64.h>
#include <bcfmt/prio.h>

#include "base/bytes.h"
#include "fuzz/codec.h"
#include "fuzz/fuzz.h"

int LLVMFuzzerInitialize(int *argc, char ***argv)
{
	(void)argc;
	(void)argv;
	return 0;
}

/* The checksum of bcache from its definition, a bit at a time. */
static uint64_t slow_crc64(const uint8_t *bytes, size_t len_bytes)
{
	uint64_t crc = UINT64_MAX;

	for (size_t i = 0; i < len_bytes; i++) {
		crc ^= (uint64_t)bytes[i] << 56;
		for (int bit = 0; bit < 8; bit++)
			crc = crc << 1 ^ (crc >> 63 ? 0x42f0e1eba9ea3693ull : 0);
	}
	return ~crc;
}

/* Entries lie three bytes apart; one that is set changes nothing else. */
static void check_entries(const struct bcfmt_geometry *geo, uint8_t *raw, uint32_t chosen)
{
	uint8_t *before = exact_copy(raw, geo->meta_bytes, geo->meta_bytes);
	uint16_t prio;
	uint8_t gen;

	for (uint32_t i = 0; i < geo->prios_per_bucket; i++) {
		bcfmt_prio_entry(raw, i, &prio, &gen);
		assert(prio == load_le16(raw + 40 + 3ull * i) && gen == raw[42 + 3ull * i]);
	}
	chosen %= geo->prios_per_bucket;
	bcfmt_prio_entry(raw, chosen, &prio, &gen);
	bcfmt_prio_entry_set(raw, chosen, (uint16_t)~prio, (uint8_t)~gen);
	assert(memcmp(raw, before, geo->meta_bytes));
	bcfmt_prio_entry_set(raw, chosen, prio, gen);
	assert(!memcmp(raw, before, geo->meta_bytes));
	free(before);
}

int LLVMFuzzerTestOneInput(const uint8_t *input, size_t input_bytes)
{
	struct bcfmt_geometry geo;
	struct bcfmt_prio_set set;
	enum bcfmt_prio_fault fault;
	uint8_t *raw;

	if (!input_bytes)
		return 0;
	geo = small_geometry(input[0]);
	raw = exact_copy(input + 1, input_bytes - 1, geo.meta_bytes);
	if (input[0] & 0x40)
		bcfmt_prio_encode(&geo, raw, load_le64(raw + 16), load_le64(raw + 32));
	fault = bcfmt_prio_decode(&geo, raw, &set);
	assert(set.csum_computed == bcfmt_crc64(raw + 8, geo.meta_bytes - 8));
	/* Slow, so not of all bytes every time. */
	assert(bcfmt_crc64(input, input_bytes & 255) == slow_crc64(input, input_bytes & 255));
	assert(set.seq == load_le64(raw + 16) && set.next_bucket == load_le64(raw + 32));
	assert(fault == BCFMT_PRIO_OK || !(input[0] & 0x40));
	assert((fault == BCFMT_PRIO_CSUM) == (set.csum != set.csum_computed));
	check_entries(&geo, raw, (uint32_t)input_bytes * 7919u + input[0]);
	free(raw);
	return 0;
}
