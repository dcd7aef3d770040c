/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Parsing a command line by a table. Messages are tested by the transcripts of the programs. */
#include <criterion/criterion.h>
#include <criterion/redirect.h>

#include <string.h>

#include "cli/options.h"

#define USAGE_EXIT 16
#define MAX_ARGS   16

enum { OPT_LEVEL = CLI_ID_FIRST, OPT_MAP, OPT_SIZE, OPT_RANGE, OPT_ORDER, OPT_OUTPUT };
enum { COMMAND_SHOW, COMMAND_COPY, COMMANDS };

static const struct cli_option options[] = {
	{ 'n', 'n', "check", CLI_ARG_NONE, NULL, false, 0, "check" },
	{ 'p', 'p', NULL, CLI_ARG_NONE, NULL, false, 0, "preen" },
	{ 'p', 'a', NULL, CLI_ARG_NONE, NULL, false, 0, NULL },
	{ 'j', 'j', NULL, CLI_ARG_NUMBER, "N", false, 0, "threads" },
	{ 'v', 'v', NULL, CLI_ARG_NONE, NULL, true, 0, "verbose" },
	{ OPT_LEVEL, 0, "level", CLI_ARG_CHOICE, "quick|full|data", false, 0, "level" },
	{ OPT_MAP, 0, "map", CLI_ARG_FILE, "FILE", true, 0, "map" },
	{ OPT_SIZE, 0, "size", CLI_ARG_SIZE, "SIZE", false, 1u << COMMAND_COPY, "size" },
	{ OPT_RANGE, 0, "range", CLI_ARG_TEXT, "A-B", false, 0, "range" },
	{ OPT_ORDER, 'o', "order", CLI_ARG_TEXT, "TEXT", false, 1u << COMMAND_SHOW, "order" },
	{ OPT_OUTPUT, 'o', "output", CLI_ARG_FILE, "FILE", true, 1u << COMMAND_COPY, "output" },
};
static const struct cli_command commands[COMMANDS] = {
	[COMMAND_SHOW] = { "show", "DEVICE", "show it" },
	[COMMAND_COPY] = { "copy", "DEVICE", "copy it" },
};
static const struct cli_program plain = {
	.name = "test",
	.operands = "DEVICE...",
	.summary = "A test.",
	.options = options,
	.n_options = sizeof(options) / sizeof(options[0]),
	.usage_exit = USAGE_EXIT,
};
static const struct cli_program commanded = {
	.name = "test",
	.operands = "COMMAND DEVICE...",
	.summary = "A test.",
	.options = options,
	.n_options = sizeof(options) / sizeof(options[0]),
	.commands = commands,
	.n_commands = COMMANDS,
	.usage_exit = USAGE_EXIT,
};

/* Parses words parted by single blanks. */
static struct cli_parser parse(const struct cli_program *program, const char *words)
{
	static char line[512];
	static char *argv[MAX_ARGS + 1];
	struct cli_parser parser;
	int argc = 0;

	snprintf(line, sizeof(line), "test %s", words);
	for (char *word = strtok(line, " "); word && argc < MAX_ARGS; word = strtok(NULL, " "))
		argv[argc++] = word;
	argv[argc] = NULL;
	cli_parse(&parser, program, argc, argv);
	return parser;
}

static void expect_next(struct cli_parser *parser, int want_id, const char *want_value)
{
	const char *value;
	int id = cli_next(parser, &value);

	cr_expect_eq(id, want_id, "id %d, wanted %d", id, want_id);
	if (want_value)
		cr_expect_str_eq(value ? value : "(null)", want_value);
	else
		cr_expect_null(value);
}

Test(options, come_in_the_order_of_the_command_line)
{
	struct cli_parser parser =
		parse(&plain, "a --level full -n b --map=x --map y -vj 3 -v -- -n");

	expect_next(&parser, CLI_OPERAND, "a");
	expect_next(&parser, OPT_LEVEL, "full");
	expect_next(&parser, 'n', NULL);
	expect_next(&parser, CLI_OPERAND, "b");
	expect_next(&parser, OPT_MAP, "x");
	expect_next(&parser, OPT_MAP, "y");
	expect_next(&parser, 'v', NULL);
	expect_next(&parser, 'j', "3");
	expect_next(&parser, 'v', NULL);
	expect_next(&parser, CLI_OPERAND, "-n");
	expect_next(&parser, CLI_END, NULL);
	expect_next(&parser, CLI_END, NULL);
	cli_parser_free(&parser);
}

Test(options, commands_share_a_letter)
{
	struct cli_parser parser = parse(&commanded, "copy -o a -ob x");

	expect_next(&parser, OPT_OUTPUT, "a");
	expect_next(&parser, OPT_OUTPUT, "b");
	expect_next(&parser, CLI_OPERAND, "x");
	expect_next(&parser, CLI_END, NULL);
	cli_parser_free(&parser);
	parser = parse(&commanded, "show -o a x");
	expect_next(&parser, OPT_ORDER, "a");
	cli_parser_free(&parser);
}

Test(options, many_letters_in_one_word)
{
	struct cli_parser parser = parse(&plain, "-vvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvv");

	for (int i = 0; i < 44; i++)
		expect_next(&parser, 'v', NULL);
	expect_next(&parser, CLI_END, NULL);
	cli_parser_free(&parser);
}

Test(options, a_single_dash_is_an_operand)
{
	struct cli_parser parser = parse(&plain, "-");

	expect_next(&parser, CLI_OPERAND, "-");
	cli_parser_free(&parser);
}

Test(options, values_are_read)
{
	struct cli_parser parser = parse(&plain, "-j 0x10 --level data --size 4k --range 3-9");
	const char *value;
	uint64_t first;
	uint64_t last;

	cli_next(&parser, &value);
	cr_expect_eq(cli_value_u64(&parser, value, 16), 16);
	cli_next(&parser, &value);
	cr_expect_eq(cli_value_choice(&parser, value), 2);
	cli_next(&parser, &value);
	cr_expect_eq(cli_value_bytes(&parser, value), 4096);
	cli_next(&parser, &value);
	cli_value_range(&parser, value, &first, &last);
	cr_expect(first == 3 && last == 9);
	cli_parser_free(&parser);
}

Test(options, the_command_is_the_first_operand)
{
	struct cli_parser parser = parse(&commanded, "-v copy --size 1k disk");

	cr_expect_eq(parser.command_index, COMMAND_COPY);
	cr_expect_str_eq(parser.command->name, "copy");
	expect_next(&parser, 'v', NULL);
	expect_next(&parser, OPT_SIZE, "1k");
	expect_next(&parser, CLI_OPERAND, "disk");
	expect_next(&parser, CLI_END, NULL);
	cli_parser_free(&parser);
}

#define REFUSED(name, program, words)                \
	Test(options, name, .exit_code = USAGE_EXIT) \
	{                                            \
		struct cli_parser parser;            \
                                                     \
		cr_redirect_stderr();                \
		parser = parse(&program, words);     \
		cli_parser_free(&parser);            \
	}
REFUSED(an_option_twice_is_refused, plain, "-n -n")
REFUSED(both_forms_of_an_option_are_the_same_option, plain, "-n --check")
REFUSED(two_letters_of_one_option_are_the_same_option, plain, "-p -a")
REFUSED(an_unknown_letter_is_refused, plain, "-x")
REFUSED(an_unknown_word_is_refused, plain, "--unknown")
REFUSED(a_missing_value_is_refused, plain, "-j")
REFUSED(a_missing_value_of_a_word_is_refused, plain, "--level")
REFUSED(an_unwanted_value_is_refused, plain, "--check=yes")
REFUSED(a_missing_command_is_refused, commanded, "-n")
REFUSED(an_unknown_command_is_refused, commanded, "move disk")
REFUSED(an_option_of_another_command_is_refused, commanded, "show --size 1k disk")

#define REFUSED_VALUE(name, words, read)             \
	Test(options, name, .exit_code = USAGE_EXIT) \
	{                                            \
		struct cli_parser parser;            \
		const char *value;                   \
                                                     \
		cr_redirect_stderr();                \
		parser = parse(&plain, words);       \
		cli_next(&parser, &value);           \
		read;                                \
		cli_parser_free(&parser);            \
	}
REFUSED_VALUE(a_number_above_the_limit_is_refused, "-j 17", cli_value_u64(&parser, value, 16))
REFUSED_VALUE(a_size_with_rubbish_is_refused, "--size 4kB", cli_value_bytes(&parser, value))
REFUSED_VALUE(an_unknown_choice_is_refused, "--level all", cli_value_choice(&parser, value))
REFUSED_VALUE(half_a_choice_is_refused, "--level qui", cli_value_choice(&parser, value))

#define ENDS_WELL(name, words)                 \
	Test(options, name, .exit_code = 0)    \
	{                                      \
		struct cli_parser parser;      \
                                               \
		cr_redirect_stdout();          \
		parser = parse(&plain, words); \
		cli_parser_free(&parser);      \
		exit(1);                       \
	}
ENDS_WELL(help_ends_the_program, "-n --help --unknown")
ENDS_WELL(version_ends_the_program, "-V")
ENDS_WELL(the_specification_ends_the_program, "--complete-spec")
