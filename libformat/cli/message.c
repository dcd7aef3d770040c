/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Messages to people, prefixed with program and device. */
#include "cli/message.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "cli/progress.h"

static const char *program_name = "bcfmt";

void cli_message_program(const char *name)
{
	program_name = name;
}

const char *cli_program_name(void)
{
	return program_name;
}

/* A device can be called anything, and a terminal obeys control characters. */
static void put_printable(const char *text)
{
	for (; *text; text++) {
		unsigned char c = (unsigned char)*text;

		putc(c < 0x20 || c == 0x7f ? '?' : c, stderr);
	}
}

static void put_message(const char *device, const char *text)
{
	cli_progress_clear();
	flockfile(stderr);
	put_printable(program_name);
	fputs(": ", stderr);
	if (device) {
		put_printable(device);
		fputs(": ", stderr);
	}
	put_printable(text);
	putc('\n', stderr);
	funlockfile(stderr);
}

void cli_error(const char *device, const char *fmt, ...)
{
	char text[2048];
	va_list args;

	va_start(args, fmt);
	vsnprintf(text, sizeof(text), fmt, args);
	va_end(args);
	put_message(device, text);
}

/* Sentences of the library mostly begin with the device that they are about. */
static bool names_device(const char *fault, const char *device)
{
	size_t len = strlen(device);

	return !strncmp(fault, device, len) && fault[len] == ':';
}

void cli_error_ctx(const char *device, struct bcfmt_ctx *ctx, bcfmt_err err)
{
	const char *fault = ctx ? bcfmt_ctx_fault(ctx) : "";

	if (!*fault)
		put_message(device, bcfmt_err_name(err));
	else
		put_message(device && !names_device(fault, device) ? device : NULL, fault);
	if (ctx)
		bcfmt_ctx_fault_clear(ctx);
}

bool cli_may_color(void)
{
	return !getenv("NO_COLOR") && isatty(STDOUT_FILENO);
}

bool cli_stdout_flush(void)
{
	errno = 0;
	if (!fflush(stdout) && !ferror(stdout))
		return true;
	cli_error(NULL, "cannot write to standard output%s%s", errno ? ": " : "",
		  errno ? strerror(errno) : "");
	return false;
}
