/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Progress of long work, and the signals that steer and end it. One per process. */
#ifndef CLI_PROGRESS_H
#define CLI_PROGRESS_H

#include <bcfmt/base.h>
#include <bcfmt/ctx.h>

struct cli_progress_params {
	const char *device;  /* named in the lines; borrowed */
	bool is_bar_allowed; /* a bar on stderr when that is a terminal; else only after SIGUSR1 */
	int line_fd;	     /* e2fsck-style lines "pass done total device" go there; -1: none */
};

/*
 * Installs handlers: SIGINT and SIGTERM set the cancelled flag (a second one ends the program at
 * once), SIGUSR1 turns the bar on, SIGUSR2 off. SIGPIPE is ignored: writing fails instead.
 */
void cli_signals_install(void);
/* For bcfmt_ctx_params.cancelled. */
const volatile int *cli_cancelled(void);

void cli_progress_start(const struct cli_progress_params *params);
/* A bcfmt_progress_fn; arg is not used. */
void cli_progress(void *arg, const char *pass, uint64_t done, uint64_t total);
/* Takes the bar off the terminal; call before printing and at the end. */
void cli_progress_clear(void);

#endif
