/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The functions of a fuzz target, as libFuzzer and the replay driver call them. */
#ifndef FUZZ_H
#define FUZZ_H

#include <stddef.h>
#include <stdint.h>

int LLVMFuzzerInitialize(int *argc, char ***argv);
int LLVMFuzzerTestOneInput(const uint8_t *input, size_t input_bytes);

/*
 * Of targets whose inputs have a form: changes input in place, returns its new length, at most
 * input_max. The same seed and input give the same output.
 */
size_t LLVMFuzzerCustomMutator(uint8_t *input, size_t input_bytes, size_t input_max,
			       unsigned int seed);
/* libFuzzer's own changes, without regard to form; the replay driver brings a simple one. */
size_t LLVMFuzzerMutate(uint8_t *input, size_t input_bytes, size_t input_max);

#endif
