/* SPDX-License-Identifier: GPL-2.0-or-later */
/* One table of options: parsing, --help and the completion come from it. */
#ifndef CLI_OPTIONS_H
#define CLI_OPTIONS_H

#include <bcfmt/base.h>

/* What an option takes; completion knows what to offer from it. */
enum cli_arg {
	CLI_ARG_NONE,
	CLI_ARG_TEXT,
	CLI_ARG_NUMBER,
	CLI_ARG_SIZE,	/* 512, 64k, 2M, 1G, 4T */
	CLI_ARG_CHOICE, /* arg_name lists the words: "quick|full|data" */
	CLI_ARG_FILE,
	CLI_ARG_DIR,
	CLI_ARG_DEVICE, /* block device or image file */
};

/* Ids of options without a letter begin here; -h, -V and --complete-spec are built in. */
#define CLI_ID_FIRST 256
#define CLI_END	     0
#define CLI_OPERAND  1

struct cli_option {
	int id;		  /* what cli_next() returns; rows with one id are one option */
	char letter;	  /* 0: none; rows of different commands may share one */
	const char *name; /* long form without dashes; NULL: none */
	enum cli_arg arg;
	const char *arg_name; /* as shown by --help; NULL for CLI_ARG_NONE */
	bool may_repeat;      /* else a second use is a usage error */
	uint32_t commands;    /* bits 1 << index of the commands that take it; 0: all */
	const char *help;     /* lines parted by \n; NULL: accepted and not shown */
};

struct cli_command {
	const char *name;
	const char *operands; /* "[options] DEVICE..." */
	const char *help;
};

/* All strings static. */
struct cli_program {
	const char *name;
	const char *operands; /* after the name in the usage line */
	const char *summary;  /* what it does; lines parted by \n */
	const struct cli_option *options;
	size_t n_options;
	const struct cli_command *commands; /* NULL: the program has none; else the first operand */
	size_t n_commands;		    /* at most 32 */
	const char *notes; /* end of --help: exit codes and the like; may be NULL */
	int usage_exit;	   /* exit code of a usage error */
	int failed_exit;   /* when memory is out; 0: 8, as of fsck(8) */
};

/* One option or operand as it was given. */
struct cli_given {
	const struct cli_option *option; /* NULL: an operand */
	const char *value;		 /* NULL: the option takes none */
};

struct cli_parser {
	const struct cli_program *program;
	const struct cli_command *command; /* NULL when the program has none */
	unsigned int command_index;
	struct cli_given *given; /* in the order of the command line, without the command */
	size_t n_given;
	size_t given_cap;
	size_t next;
	const struct cli_option *current; /* of the last cli_next() */
};

/*
 * Parses all of argv; usage errors (unknown or doubled option, value missing or unwanted, unknown
 * command, option that the command does not take) end the program. So do --help, --version and
 * --complete-spec, with exit code 0. Sets the name that messages begin with. Values borrow argv.
 */
void cli_parse(struct cli_parser *parser, const struct cli_program *program, int argc, char **argv);
void cli_parser_free(struct cli_parser *parser);

/* The next option's id or CLI_OPERAND, in the order of the command line; CLI_END at the end. */
int cli_next(struct cli_parser *parser, const char **value);

/* Prints a usage error and where help is, and ends the program. */
_Noreturn void cli_usage(const struct cli_parser *parser, const char *fmt, ...) BCFMT_PRINTF(2, 3);

/* Values of the option that cli_next() just gave; a bad one is a usage error that names it. */
uint64_t cli_value_u64(const struct cli_parser *parser, const char *value, uint64_t max);
uint64_t cli_value_bytes(const struct cli_parser *parser, const char *value);
/* "A-B" (both included), "A-" and "A". */
void cli_value_range(const struct cli_parser *parser, const char *value, uint64_t *first,
		     uint64_t *last);
/* Index of the value in arg_name of the option. */
unsigned int cli_value_choice(const struct cli_parser *parser, const char *value);

#endif
