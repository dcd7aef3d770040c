/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Progress of long work, and the signals that steer and end it. */
#include "cli/progress.h"

#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <time.h>
#include <unistd.h>

/* A bar that flashes up and goes again tells nobody anything. */
#define BAR_DELAY_NS	500000000ll
#define STEP_NS		100000000ll
#define BAR_COLUMNS_MAX 100
#define PASS_NAME_BYTES 32

static volatile int is_cancelled;
static volatile sig_atomic_t is_bar_on;

static struct {
	struct cli_progress_params params;
	char pass[PASS_NAME_BYTES];
	unsigned int pass_number; /* e2fsck(8) and those who read its lines count passes from 1 */
	int64_t begin_ns;
	int64_t shown_ns;
	bool is_bar_shown;
	bool is_started;
} progress;

static void on_cancel(int signal)
{
	(void)signal;
	is_cancelled = 1;
}

static void on_toggle(int signal)
{
	is_bar_on = signal == SIGUSR1;
}

void cli_signals_install(void)
{
	struct sigaction action = { .sa_handler = on_cancel };

	sigemptyset(&action.sa_mask);
	/* The second one finds the default: work that does not look at the flag can still be ended. */
	action.sa_flags = (int)(SA_RESETHAND | SA_RESTART);
	sigaction(SIGINT, &action, NULL);
	sigaction(SIGTERM, &action, NULL);
	action.sa_handler = on_toggle;
	action.sa_flags = SA_RESTART;
	sigaction(SIGUSR1, &action, NULL);
	sigaction(SIGUSR2, &action, NULL);
	action.sa_handler = SIG_IGN;
	sigaction(SIGPIPE, &action, NULL);
}

const volatile int *cli_cancelled(void)
{
	return &is_cancelled;
}

static int64_t now_ns(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (int64_t)now.tv_sec * 1000000000 + now.tv_nsec;
}

void cli_progress_start(const struct cli_progress_params *params)
{
	memset(&progress, 0, sizeof(progress));
	progress.params = *params;
	progress.begin_ns = now_ns();
	progress.is_started = true;
	is_bar_on = params->is_bar_allowed && isatty(STDERR_FILENO);
}

static int bar_columns(void)
{
	struct winsize size;

	if (ioctl(STDERR_FILENO, TIOCGWINSZ, &size) || size.ws_col < 40)
		return 40;
	return size.ws_col > BAR_COLUMNS_MAX ? BAR_COLUMNS_MAX : size.ws_col;
}

/* done / total in steps of 1/of, without overflow. */
static unsigned int share(uint64_t done, uint64_t total, unsigned int of)
{
	if (done >= total)
		return of;
	return (unsigned int)((long double)done / (long double)total * of);
}

static void show_bar(uint64_t done, uint64_t total)
{
	char hashes[BAR_COLUMNS_MAX + 1];
	unsigned int width;
	unsigned int full;

	progress.is_bar_shown = true;
	if (!total) {
		fprintf(stderr, "\r%-12.12s %" PRIu64 "\033[K", progress.pass, done);
		fflush(stderr);
		return;
	}
	width = (unsigned int)bar_columns() - 24;
	full = share(done, total, width);
	memset(hashes, '-', width);
	memset(hashes, '=', full);
	hashes[width] = 0;
	fprintf(stderr, "\r%-12.12s |%s| %5.1f%%\033[K", progress.pass, hashes,
		share(done, total, 1000) / 10.0);
	fflush(stderr);
}

static void write_line(uint64_t done, uint64_t total)
{
	char line[512];
	int len;

	len = snprintf(line, sizeof(line), "%u %" PRIu64 " %" PRIu64 " %.400s\n",
		       progress.pass_number, done, total,
		       progress.params.device ? progress.params.device : "-");
	/* Whoever reads may have gone; progress is no reason to fail. */
	if (len > 0 && write(progress.params.line_fd, line, (size_t)len) < 0)
		progress.params.line_fd = -1;
}

void cli_progress(void *arg, const char *pass, uint64_t done, uint64_t total)
{
	int64_t now = now_ns();
	bool is_new = strncmp(pass, progress.pass, PASS_NAME_BYTES - 1);
	bool is_end = total && done >= total;

	(void)arg;
	if (!progress.is_started)
		return;
	if (is_new) {
		snprintf(progress.pass, sizeof(progress.pass), "%s", pass);
		progress.pass_number++;
	}
	if (!is_new && !is_end && now - progress.shown_ns < STEP_NS)
		return;
	progress.shown_ns = now;
	if (progress.params.line_fd >= 0)
		write_line(done, total);
	if (is_bar_on && now - progress.begin_ns >= BAR_DELAY_NS)
		show_bar(done, total);
	else if (!is_bar_on)
		cli_progress_clear();
}

void cli_progress_clear(void)
{
	if (!progress.is_bar_shown)
		return;
	progress.is_bar_shown = false;
	fputs("\r\033[K", stderr);
	fflush(stderr);
}
