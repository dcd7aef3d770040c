/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Numbers and sizes as users type them. Trailing rubbish, signs, blanks and overflow are refused. */
#ifndef CLI_NUMBER_H
#define CLI_NUMBER_H

#include <bcfmt/base.h>

/* Decimal, or hexadecimal after 0x; at most max. *value is written only on success. */
bool cli_number_u64(const char *text, uint64_t max, uint64_t *value);
/* 512, 64k, 2M, 1G, 4T; powers of 1024, either case; a bare number is bytes. */
bool cli_number_bytes(const char *text, uint64_t *bytes);
/* "A-B" with A <= B, "A-" (last is UINT64_MAX), "A" (last is A). */
bool cli_number_range(const char *text, uint64_t *first, uint64_t *last);

#endif
