/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Parsing a command line by a table of options. */
#include "cli/options.h"

#include <getopt.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/vec.h"
#include "cli/help.h"
#include "cli/message.h"
#include "cli/number.h"

/* What getopt_long() returns for a long option: its row, beyond every letter and every sign. */
#define ROW_FIRST 1024

enum builtin { BUILTIN_HELP, BUILTIN_VERSION, BUILTIN_SPEC, BUILTIN_N };
static const struct cli_option builtins[BUILTIN_N] = {
	{ .id = CLI_ID_FIRST - 1, .letter = 'h', .name = "help", .help = "print this and exit" },
	{ .id = CLI_ID_FIRST - 2,
	  .letter = 'V',
	  .name = "version",
	  .help = "print the version and exit" },
	{ .id = CLI_ID_FIRST - 3, .name = "complete-spec" },
};

const struct cli_option *cli_row(const struct cli_program *program, size_t row)
{
	return row < program->n_options ? &program->options[row]
					: &builtins[row - program->n_options];
}

size_t cli_rows(const struct cli_program *program)
{
	return program->n_options + BUILTIN_N;
}

static _Noreturn void no_memory(const struct cli_program *program)
{
	cli_error(NULL, "out of memory");
	exit(program->failed_exit ? program->failed_exit : 8);
}

static void *must_alloc(const struct cli_program *program, size_t n, size_t bytes)
{
	void *memory = calloc(n ? n : 1, bytes);

	if (!memory)
		no_memory(program);
	return memory;
}

void cli_usage(const struct cli_parser *parser, const char *fmt, ...)
{
	char text[1024];
	va_list args;

	va_start(args, fmt);
	vsnprintf(text, sizeof(text), fmt, args);
	va_end(args);
	cli_error(NULL, "%s", text);
	cli_error(NULL, "try '%s --help'", parser->program->name);
	exit(parser->program->usage_exit);
}

/* "--level" or "-C", as the user most likely knows it. */
static const char *option_text(const struct cli_option *option, char out[64])
{
	if (option->name)
		snprintf(out, 64, "--%s", option->name);
	else
		snprintf(out, 64, "-%c", option->letter);
	return out;
}

static bool has_command(const struct cli_option *option, unsigned int command)
{
	return !option->commands || option->commands >> command & 1;
}

/* Tables for getopt_long() out of ours. Both are freed by the caller. */
static void make_tables(const struct cli_program *program, struct option **longs, char **shorts)
{
	size_t rows = cli_rows(program);
	struct option *at;
	char *letter;

	*longs = at = must_alloc(program, rows + 1, sizeof(**longs));
	*shorts = letter = must_alloc(program, 2 * rows + 3, 1);
	/* Operands come in their place among the options; complaints are ours. */
	*letter++ = '-';
	*letter++ = ':';
	for (size_t i = 0; i < rows; i++) {
		const struct cli_option *option = cli_row(program, i);
		bool has_value = option->arg != CLI_ARG_NONE;

		if (option->name)
			*at++ = (struct option){ option->name, has_value ? 1 : 0, NULL,
						 ROW_FIRST + (int)i };
		if (option->letter) {
			*letter++ = option->letter;
			if (has_value)
				*letter++ = ':';
		}
	}
}

/* A letter that commands share for options of their own is that of the command given before it. */
static const struct cli_option *find_row(const struct cli_parser *parser, int code)
{
	const struct cli_program *program = parser->program;
	const struct cli_option *first = NULL;

	if (code >= ROW_FIRST)
		return cli_row(program, (size_t)(code - ROW_FIRST));
	for (size_t i = 0; i < cli_rows(program); i++) {
		const struct cli_option *option = cli_row(program, i);

		if (option->letter != code)
			continue;
		if (!parser->command || has_command(option, parser->command_index))
			return option;
		first = first ? first : option;
	}
	return first;
}

/* One word of argv can hold many letters. */
static void add_given(struct cli_parser *parser, const struct cli_option *option, const char *value)
{
	struct vec vec = { parser->given, parser->n_given, parser->given_cap };
	struct cli_given *given = vec_push(&vec, sizeof(*given));

	if (!given)
		no_memory(parser->program);
	*given = (struct cli_given){ option, value };
	parser->given = vec.items;
	parser->n_given = vec.n;
	parser->given_cap = vec.cap;
}

static void take_operand(struct cli_parser *parser, const char *value)
{
	const struct cli_program *program = parser->program;

	if (!program->commands || parser->command) {
		add_given(parser, NULL, value);
		return;
	}
	for (unsigned int i = 0; i < program->n_commands; i++) {
		if (strcmp(program->commands[i].name, value))
			continue;
		parser->command = &program->commands[i];
		parser->command_index = i;
		return;
	}
	cli_usage(parser, "unknown command '%s'", value);
}

static void take_option(struct cli_parser *parser, const struct cli_option *option,
			const char *value)
{
	char text[64];

	if (option >= builtins && option < builtins + BUILTIN_N) {
		if (option == &builtins[BUILTIN_HELP])
			cli_print_help(parser);
		else if (option == &builtins[BUILTIN_VERSION])
			printf("%s %s\n", parser->program->name, bcfmt_version());
		else
			cli_print_spec(parser->program);
		exit(cli_stdout_flush() ? 0 : 8);
	}
	for (size_t i = 0; i < parser->n_given && !option->may_repeat; i++)
		if (parser->given[i].option && parser->given[i].option->id == option->id)
			cli_usage(parser, "%s given twice", option_text(option, text));
	add_given(parser, option, value);
}

static _Noreturn void refuse(const struct cli_parser *parser, int code, const char *word)
{
	const struct cli_option *option = find_row(parser, optopt);
	char text[64];

	if (code == ':')
		cli_usage(parser, "%s needs a value", option ? option_text(option, text) : word);
	if (optopt >= ROW_FIRST && option)
		cli_usage(parser, "%s takes no value", option_text(option, text));
	if (optopt && optopt < ROW_FIRST)
		cli_usage(parser, "unknown option '-%c'", optopt);
	cli_usage(parser, "unknown option '%s'", word);
}

void cli_parse(struct cli_parser *parser, const struct cli_program *program, int argc, char **argv)
{
	struct option *longs;
	char *shorts;
	char text[64];
	int code;

	*parser = (struct cli_parser){ .program = program };
	cli_message_program(program->name);
	make_tables(program, &longs, &shorts);
	optind = 0; /* glibc: start anew */
	opterr = 0;
	while ((code = getopt_long(argc, argv, shorts, longs, NULL)) != -1) {
		if (code == '?' || code == ':')
			refuse(parser, code, argv[optind > 0 ? optind - 1 : 0]);
		if (code == 1)
			take_operand(parser, optarg);
		else
			take_option(parser, find_row(parser, code), optarg);
	}
	while (optind < argc)
		take_operand(parser, argv[optind++]);
	free(longs);
	free(shorts);
	if (!program->commands)
		return;
	if (!parser->command)
		cli_usage(parser, "no command given");
	for (size_t i = 0; i < parser->n_given; i++) {
		const struct cli_option *option = parser->given[i].option;

		if (option && !has_command(option, parser->command_index))
			cli_usage(parser, "%s does not belong to '%s'", option_text(option, text),
				  parser->command->name);
	}
}

void cli_parser_free(struct cli_parser *parser)
{
	free(parser->given);
	*parser = (struct cli_parser){ 0 };
}

int cli_next(struct cli_parser *parser, const char **value)
{
	const struct cli_given *given;

	*value = NULL;
	parser->current = NULL;
	if (parser->next >= parser->n_given)
		return CLI_END;
	given = &parser->given[parser->next++];
	*value = given->value;
	parser->current = given->option;
	return given->option ? given->option->id : CLI_OPERAND;
}

static _Noreturn void refuse_value(const struct cli_parser *parser, const char *value,
				   const char *want)
{
	char text[64];

	cli_usage(parser, "%s: '%s' is not %s",
		  parser->current ? option_text(parser->current, text) : "operand", value, want);
}

uint64_t cli_value_u64(const struct cli_parser *parser, const char *value, uint64_t max)
{
	char want[64];
	uint64_t number;

	if (cli_number_u64(value, max, &number))
		return number;
	snprintf(want, sizeof(want), "a number from 0 to %llu", (unsigned long long)max);
	refuse_value(parser, value, want);
}

uint64_t cli_value_bytes(const struct cli_parser *parser, const char *value)
{
	uint64_t bytes;

	if (cli_number_bytes(value, &bytes))
		return bytes;
	refuse_value(parser, value, "a size such as 512, 64k, 2M, 1G or 4T");
}

void cli_value_range(const struct cli_parser *parser, const char *value, uint64_t *first,
		     uint64_t *last)
{
	if (!cli_number_range(value, first, last))
		refuse_value(parser, value, "a range such as 16-4095, 16- or 16");
}

unsigned int cli_value_choice(const struct cli_parser *parser, const char *value)
{
	const char *word = parser->current ? parser->current->arg_name : "";
	char want[160];
	size_t len;

	for (unsigned int i = 0; *word; i++) {
		len = strcspn(word, "|");
		if (strlen(value) == len && !strncmp(value, word, len))
			return i;
		word += len + (word[len] == '|');
	}
	snprintf(want, sizeof(want), "one of %s", parser->current ? parser->current->arg_name : "");
	refuse_value(parser, value, want);
}
