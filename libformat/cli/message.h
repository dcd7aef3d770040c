/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Messages to people: stderr, prefixed with program and device; and the end of stdout. */
#ifndef CLI_MESSAGE_H
#define CLI_MESSAGE_H

#include <bcfmt/base.h>
#include <bcfmt/ctx.h>

/* The name that messages begin with; cli_parse() sets it. Borrowed. */
void cli_message_program(const char *name);
const char *cli_program_name(void);

/* "program: device: text" to stderr. device may be NULL. Disk strings are made printable. */
void cli_error(const char *device, const char *fmt, ...) BCFMT_PRINTF(2, 3);
/* The failure that ctx holds, or the name of err when it holds none; clears it. */
void cli_error_ctx(const char *device, struct bcfmt_ctx *ctx, bcfmt_err err);

/* A colour may be used on stdout: it is a terminal and NO_COLOR is unset. */
bool cli_may_color(void);
/* Flushes stdout. False, with a message, when anything written to it was lost. */
bool cli_stdout_flush(void);

#endif
