/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Progress lines, the bar, and the signals. */
#include <criterion/criterion.h>
#include <criterion/redirect.h>

#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "cli/progress.h"

static int line_pipe[2];

static void start(bool with_lines)
{
	struct cli_progress_params params = { .device = "sdb",
					      .is_bar_allowed = true,
					      .line_fd = -1 };

	if (with_lines) {
		cr_assert_eq(pipe(line_pipe), 0);
		params.line_fd = line_pipe[1];
	}
	cli_signals_install();
	cli_progress_start(&params);
}

static const char *lines(void)
{
	static char text[4096];
	ssize_t len;

	close(line_pipe[1]);
	len = read(line_pipe[0], text, sizeof(text) - 1);
	cr_assert_geq(len, 0);
	text[len] = 0;
	return text;
}

/* What went to stderr since it was redirected. */
static const char *shown(void)
{
	static char text[4096];
	FILE *file = cr_get_redirected_stderr();
	size_t len;

	fflush(stderr);
	len = fread(text, 1, sizeof(text) - 1, file);
	text[len] = 0;
	return text;
}

Test(progress, lines_number_the_passes)
{
	start(true);
	cli_progress(NULL, "journal", 0, 8);
	cli_progress(NULL, "journal", 8, 8);
	cli_progress(NULL, "tree", 0, 1ull << 40);
	cli_progress(NULL, "tree", 1ull << 40, 1ull << 40);
	cr_expect_str_eq(lines(), "1 0 8 sdb\n1 8 8 sdb\n2 0 1099511627776 sdb\n"
				  "2 1099511627776 1099511627776 sdb\n");
}

Test(progress, lines_are_not_written_for_every_step)
{
	const char *text;
	size_t n = 0;

	start(true);
	for (uint64_t i = 0; i <= 10000; i++)
		cli_progress(NULL, "tree", i, 10000);
	text = lines();
	for (const char *at = text; *at; at++)
		n += *at == '\n';
	cr_expect_geq(n, 2);
	cr_expect_lt(n, 100, "%zu lines", n);
	cr_expect(!strncmp(text, "1 0 10000 sdb\n", 14));
	cr_expect_str_eq(text + strlen(text) - 18, "1 10000 10000 sdb\n");
}

Test(progress, a_reader_that_went_is_no_failure)
{
	start(true);
	close(line_pipe[0]);
	cli_progress(NULL, "tree", 0, 2);
	cli_progress(NULL, "tree", 2, 2);
	close(line_pipe[1]);
}

Test(progress, no_bar_where_there_is_no_terminal)
{
	cr_redirect_stderr();
	start(false);
	usleep(600000);
	cli_progress(NULL, "tree", 1, 2);
	cli_progress_clear();
	cr_expect_str_empty(shown());
}

Test(progress, signals_turn_the_bar_on_and_off)
{
	cr_redirect_stderr();
	start(false);
	usleep(600000);
	raise(SIGUSR1);
	cli_progress(NULL, "tree", 1, 2);
	raise(SIGUSR2);
	usleep(150000);
	cli_progress(NULL, "tree", 1, 2);
	cli_progress_clear();
	cr_expect_str_eq(shown(), "\rtree         |========--------|  50.0%\033[K\r\033[K");
}

Test(progress, a_total_that_is_not_known)
{
	cr_redirect_stderr();
	start(false);
	usleep(600000);
	raise(SIGUSR1);
	cli_progress(NULL, "a pass with a very long name indeed", 77, 0);
	cli_progress_clear();
	cr_expect_str_eq(shown(), "\ra pass with  77\033[K\r\033[K");
}

Test(progress, more_done_than_there_is)
{
	cr_redirect_stderr();
	start(false);
	usleep(600000);
	raise(SIGUSR1);
	cli_progress(NULL, "tree", UINT64_MAX, 1);
	cli_progress_clear();
	cr_expect_str_eq(shown(), "\rtree         |================| 100.0%\033[K\r\033[K");
}

Test(progress, interrupts_set_the_flag)
{
	cli_signals_install();
	cr_expect_eq(*cli_cancelled(), 0);
	raise(SIGINT);
	cr_expect_eq(*cli_cancelled(), 1);
}

Test(progress, the_second_interrupt_ends_it, .signal = SIGTERM)
{
	cli_signals_install();
	raise(SIGTERM);
	cr_expect_eq(*cli_cancelled(), 1);
	raise(SIGTERM);
}
