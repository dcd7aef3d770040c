/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Any bytes as a row of keys. The first byte chooses the geometry. */
#include "fuzz/codec.h"
#include "fuzz/fuzz.h"

int LLVMFuzzerInitialize(int *argc, char ***argv)
{
	(void)argc;
	(void)argv;
	return 0;
}

int LLVMFuzzerTestOneInput(const uint8_t *input, size_t input_bytes)
{
	struct bcfmt_geometry geo;
	size_t words = input_bytes / 8;
	uint8_t *raw;

	if (!input_bytes)
		return 0;
	geo = small_geometry(input[0]);
	if (words * 8 > input_bytes - 1)
		words--;
	raw = exact_copy(input + 1, input_bytes - 1, words * 8);
	check_keys(&geo, raw, (uint32_t)words);
	free(raw);
	return 0;
}
