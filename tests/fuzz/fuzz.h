/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The two functions of a fuzz target, as libFuzzer and the replay driver call them. */
#ifndef FUZZ_H
#define FUZZ_H

#include <stddef.h>
#include <stdint.h>

int LLVMFuzzerInitialize(int *argc, char ***argv);
int LLVMFuzzerTestOneInput(const uint8_t *input, size_t input_bytes);

#endif
