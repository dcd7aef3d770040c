/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What --help and --complete-spec print of a table of options. */
#ifndef CLI_HELP_H
#define CLI_HELP_H

#include "cli/options.h"

/* Rows of the program and, after them, the built-in ones. */
size_t cli_rows(const struct cli_program *program);
const struct cli_option *cli_row(const struct cli_program *program, size_t row);

/* To stdout. With a command, only what belongs to it. */
void cli_print_help(const struct cli_parser *parser);
/*
 * To stdout, one line an option, fields parted by tabs:
 *   option FORMS TYPE VALUE COMMANDS REPEAT HELP   FORMS "-n,--check"; TYPE none text number size
 *       choice file dir device; VALUE "quick|full|data" or "-"; COMMANDS "super,keys" or "-" for
 *       all; REPEAT once or repeat; HELP the first line
 *   command NAME OPERANDS HELP
 * Options that --help does not show are left out.
 */
void cli_print_spec(const struct cli_program *program);

#endif
