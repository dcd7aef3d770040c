/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Runs a fuzz target without libFuzzer: over files, and over inputs made from a seed. */
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "fuzz/fuzz.h"

#define INPUT_BYTES_MAX 4096u
/* No input may take longer, under sanitizers and beside other tests. */
#define SECONDS_AN_INPUT 60u

static uint64_t state;

/* xorshift64*: the same seed gives the same inputs everywhere. */
static uint64_t next_random(void)
{
	state ^= state >> 12;
	state ^= state << 25;
	state ^= state >> 27;
	return state * 0x2545f4914f6cdd1dull;
}

static int run_file(const char *path)
{
	static uint8_t input[1u << 20];
	FILE *file = fopen(path, "rb");
	size_t input_bytes;

	if (!file) {
		perror(path);
		return 1;
	}
	input_bytes = fread(input, 1, sizeof(input), file);
	fclose(file);
	alarm(SECONDS_AN_INPUT);
	LLVMFuzzerTestOneInput(input, input_bytes);
	return 0;
}

/* The seed of a run stands on stdout before it: the last line of a crash repeats it. */
static void run_seed(uint64_t seed)
{
	uint8_t input[INPUT_BYTES_MAX];
	size_t input_bytes;

	printf("seed %llu\n", (unsigned long long)seed);
	fflush(stdout);
	state = (seed + 1) * 0x9e3779b97f4a7c15ull;
	/* Short inputs change little, and so reach far. */
	input_bytes = (size_t)(next_random() % 13);
	input_bytes = ((size_t)1 << input_bytes) - 1;
	input_bytes = (size_t)(next_random() % (input_bytes + 1));
	for (size_t i = 0; i < input_bytes; i++)
		input[i] = (uint8_t)(next_random() >> 32);
	alarm(SECONDS_AN_INPUT);
	LLVMFuzzerTestOneInput(input, input_bytes);
}

/* replay [FIRST_SEED RUNS] | [FILE...] */
int main(int argc, char **argv)
{
	int bad = 0;

	LLVMFuzzerInitialize(&argc, &argv);
	if (argc == 3 && access(argv[1], F_OK)) {
		uint64_t first = strtoull(argv[1], NULL, 10);
		uint64_t runs = strtoull(argv[2], NULL, 10);

		for (uint64_t i = 0; i < runs; i++)
			run_seed(first + i);
		return runs == 0;
	}
	for (int i = 1; i < argc; i++)
		bad |= run_file(argv[i]);
	return bad || argc < 2;
}
