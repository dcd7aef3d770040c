/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Runs a fuzz target without libFuzzer: over files, and over inputs made from a seed. */
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/time.h>
#include <unistd.h>

#include "fuzz/fuzz.h"

#define INPUT_BYTES_MAX (1u << 20)
#define MADE_BYTES_MAX 4096u
/* No input may take longer: so much of the processor, under sanitizers, and a busy machine more. */
#define CPU_SECONDS 60u
#define WALL_SECONDS 600u

/* Only targets whose inputs have a form bring one. */
#pragma weak LLVMFuzzerCustomMutator

static uint64_t state;
static const char *keep_path; /* each input is written there before it runs; NULL: none is */
static uint8_t input[INPUT_BYTES_MAX];

/* xorshift64*: the same seed gives the same inputs everywhere. */
static uint64_t next_random(void)
{
	state ^= state >> 12;
	state ^= state << 25;
	state ^= state >> 27;
	return state * 0x2545f4914f6cdd1dull;
}

static uint32_t below(uint64_t n)
{
	return (uint32_t)(next_random() >> 32) % (uint32_t)(n ? n : 1);
}

/* A byte, a bit, a few bytes from elsewhere, an end that is cut off or grows. */
size_t LLVMFuzzerMutate(uint8_t *bytes, size_t len_bytes, size_t max_bytes)
{
	for (uint32_t changes = 1 + below(4); changes; changes--) {
		size_t at = below(len_bytes), from = below(len_bytes), len = 1 + below(8);

		if (!len_bytes)
			return 0;
		len = len < len_bytes - at ? len : len_bytes - at;
		len = len < len_bytes - from ? len : len_bytes - from;
		switch (below(8)) {
		case 0:
			bytes[at] = (uint8_t)below(256);
			break;
		case 1:
			memmove(bytes + at, bytes + from, len);
			break;
		case 2:
			memset(bytes + at, below(2) ? 0xff : 0, len);
			break;
		case 3:
			/* Not less than half of it: what is left has to say something. */
			len_bytes -= below(len_bytes / 2);
			break;
		case 4:
			for (; len && len_bytes < max_bytes; len--)
				bytes[len_bytes++] = (uint8_t)below(256);
			break;
		default:
			bytes[at] ^= (uint8_t)(1u << below(8));
			break;
		}
	}
	return len_bytes;
}

static void keep(size_t input_bytes)
{
	FILE *file = fopen(keep_path, "wb");

	if (!file || fwrite(input, 1, input_bytes, file) != input_bytes || fclose(file)) {
		perror(keep_path);
		exit(1);
	}
}

static void run(size_t input_bytes)
{
	const struct itimerval cpu = { .it_value.tv_sec = CPU_SECONDS };

	if (keep_path)
		keep(input_bytes);
	setitimer(ITIMER_PROF, &cpu, NULL);
	alarm(WALL_SECONDS);
	LLVMFuzzerTestOneInput(input, input_bytes);
}

static bool load(const char *path, size_t *input_bytes)
{
	FILE *file = fopen(path, "rb");

	if (!file) {
		perror(path);
		return false;
	}
	*input_bytes = fread(input, 1, sizeof(input), file);
	fclose(file);
	return true;
}

/* The last line of a crash repeats it: replay --seed SEED 1 [FILE...]. */
static void say_seed(uint64_t seed)
{
	printf("seed %llu\n", (unsigned long long)seed);
	fflush(stdout);
	state = (seed + 1) * 0x9e3779b97f4a7c15ull;
}

static void run_made(uint64_t seed)
{
	size_t input_bytes;

	say_seed(seed);
	/* Short inputs change little, and so reach far. */
	input_bytes = (size_t)1 << below(13);
	input_bytes = below(input_bytes < MADE_BYTES_MAX ? input_bytes + 1 : MADE_BYTES_MAX);
	for (size_t i = 0; i < input_bytes; i++)
		input[i] = (uint8_t)below(256);
	run(input_bytes);
}

/* One of the files, changed. */
static bool run_changed(uint64_t seed, char **files, size_t n_files)
{
	size_t input_bytes;

	say_seed(seed);
	if (!load(files[below(n_files)], &input_bytes))
		return false;
	for (uint32_t changes = 1 + below(4); changes; changes--)
		input_bytes = LLVMFuzzerCustomMutator
				      ? LLVMFuzzerCustomMutator(input, input_bytes, sizeof(input),
								(unsigned int)next_random())
				      : LLVMFuzzerMutate(input, input_bytes, sizeof(input));
	run(input_bytes);
	return true;
}

/* replay [--keep FILE] FILE... | --seed FIRST RUNS [FILE...] */
int main(int argc, char **argv)
{
	bool is_good;

	if (argc >= 3 && !strcmp(argv[1], "--keep")) {
		keep_path = argv[2];
		argc -= 2;
		argv += 2;
	}
	is_good = argc > 1;
	LLVMFuzzerInitialize(&argc, &argv);
	if (argc >= 4 && !strcmp(argv[1], "--seed")) {
		uint64_t first = strtoull(argv[2], NULL, 10), runs = strtoull(argv[3], NULL, 10);

		for (uint64_t i = 0; i < runs && is_good; i++) {
			if (argc > 4)
				is_good = run_changed(first + i, argv + 4, (size_t)argc - 4);
			else
				run_made(first + i);
		}
		return !runs || !is_good;
	}
	for (int i = 1; i < argc; i++) {
		size_t input_bytes;

		printf("%s\n", argv[i]);
		fflush(stdout);
		if (load(argv[i], &input_bytes))
			run(input_bytes);
		else
			is_good = false;
	}
	return !is_good;
}
