/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What --help and --complete-spec print of a table of options. */
#include "cli/help.h"

#include <stdio.h>
#include <string.h>

#define HELP_COLUMN 26
#define FORMS_BYTES 160

static const char *const arg_names[] = {
	[CLI_ARG_NONE] = "none", [CLI_ARG_TEXT] = "text",     [CLI_ARG_NUMBER] = "number",
	[CLI_ARG_SIZE] = "size", [CLI_ARG_CHOICE] = "choice", [CLI_ARG_FILE] = "file",
	[CLI_ARG_DIR] = "dir",	 [CLI_ARG_DEVICE] = "device",
};

static void add_form(char out[FORMS_BYTES], const char *sep, const char *dashes, const char *form)
{
	size_t len = strlen(out);

	snprintf(out + len, FORMS_BYTES - len, "%s%s%s", len ? sep : "", dashes, form);
}

/* All forms of an option, letters first, those of its other rows included. */
static void join_forms(const struct cli_program *program, const struct cli_option *option,
		       const char *sep, char out[FORMS_BYTES])
{
	char letter[2] = "";

	out[0] = 0;
	for (size_t i = 0; i < cli_rows(program); i++) {
		const struct cli_option *row = cli_row(program, i);

		letter[0] = row->letter;
		if (row->id == option->id && row->letter)
			add_form(out, sep, "-", letter);
	}
	for (size_t i = 0; i < cli_rows(program); i++) {
		const struct cli_option *row = cli_row(program, i);

		if (row->id == option->id && row->name)
			add_form(out, sep, "--", row->name);
	}
}

/* Lines parted by \n, each but the first indented. */
static void print_lines(const char *text, int indent)
{
	for (;;) {
		int len = (int)strcspn(text, "\n");

		printf("%.*s\n", len, text);
		text += len;
		if (!*text)
			return;
		text++;
		printf("%*s", indent, "");
	}
}

static void print_entry(const char *head, const char *help)
{
	int len = printf("  %s", head);

	if (len > HELP_COLUMN - 2) {
		putchar('\n');
		len = 0;
	}
	printf("%*s", HELP_COLUMN - len, "");
	print_lines(help, HELP_COLUMN);
}

static void print_options(const struct cli_parser *parser)
{
	const struct cli_program *program = parser->program;
	char forms[FORMS_BYTES];
	char head[FORMS_BYTES + 64];

	printf("\noptions:\n");
	for (size_t i = 0; i < cli_rows(program); i++) {
		const struct cli_option *option = cli_row(program, i);

		if (!option->help)
			continue;
		if (parser->command && option->commands &&
		    !(option->commands >> parser->command_index & 1))
			continue;
		join_forms(program, option, ", ", forms);
		snprintf(head, sizeof(head), "%s%s%s", forms, option->arg_name ? " " : "",
			 option->arg_name ? option->arg_name : "");
		print_entry(head, option->help);
	}
}

void cli_print_help(const struct cli_parser *parser)
{
	const struct cli_program *program = parser->program;

	if (parser->command) {
		printf("usage: %s %s %s\n", program->name, parser->command->name,
		       parser->command->operands);
		print_lines(parser->command->help, 0);
	} else {
		printf("usage: %s %s\n", program->name, program->operands);
		print_lines(program->summary, 0);
	}
	if (program->commands && !parser->command) {
		printf("\ncommands:\n");
		for (size_t i = 0; i < program->n_commands; i++)
			print_entry(program->commands[i].name, program->commands[i].help);
	}
	print_options(parser);
	if (program->notes) {
		putchar('\n');
		print_lines(program->notes, 0);
	}
}

static void print_commands(const struct cli_program *program, uint32_t mask)
{
	const char *sep = "";

	if (!mask || !program->commands) {
		putchar('-');
		return;
	}
	for (size_t i = 0; i < program->n_commands; i++) {
		if (!(mask >> i & 1))
			continue;
		printf("%s%s", sep, program->commands[i].name);
		sep = ",";
	}
}

void cli_print_spec(const struct cli_program *program)
{
	char forms[FORMS_BYTES];

	for (size_t i = 0; i < program->n_commands; i++)
		printf("command\t%s\t%s\t%.*s\n", program->commands[i].name,
		       program->commands[i].operands, (int)strcspn(program->commands[i].help, "\n"),
		       program->commands[i].help);
	for (size_t i = 0; i < cli_rows(program); i++) {
		const struct cli_option *option = cli_row(program, i);

		if (!option->help)
			continue;
		join_forms(program, option, ",", forms);
		printf("option\t%s\t%s\t%s\t", forms, arg_names[option->arg],
		       option->arg_name ? option->arg_name : "-");
		print_commands(program, option->commands);
		printf("\t%s\t%.*s\n", option->may_repeat ? "repeat" : "once",
		       (int)strcspn(option->help, "\n"), option->help);
	}
}
