/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Makes an allocation of the library fail, or the start of a thread, which allocates too. */
#ifndef FUZZ_FAULTS_H
#define FUZZ_FAULTS_H

#include <stdbool.h>
#include <stdint.h>

/*
 * In the first two bytes of an input: which allocation fails, 0 for none, and with this bit only
 * that one; else all later ones too.
 */
#define FAULTS_ONCE 0x8000u

/* Counts from here on. Calls of the target itself count too: it makes none while armed. */
void faults_arm(uint16_t fail_at);
/* Nothing fails any more. True when something did. */
bool faults_disarm(void);
/* The number of the next allocation, less 1; after faults_arm(0) how many there were. */
uint64_t faults_count(void);

#endif
