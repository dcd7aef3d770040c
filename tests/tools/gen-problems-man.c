/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Writes the manual page bcache-problems(7) from the tables of problems and of kernel lines. */
#include <bcfmt/problem.h>

#include <ctype.h>
#include <stdio.h>

/* What roff would take for an escape is made harmless. */
static void put_char(char c)
{
	if (c == '\\')
		fputs("\\e", stdout);
	else
		putchar(c);
}

/* At the start of a line: what roff would take for a request is made harmless. */
static void put_guard(const char *text)
{
	if (*text == '.' || *text == '\'')
		fputs("\\&", stdout);
}

static void put_text(const char *text)
{
	put_guard(text);
	for (; *text; text++)
		put_char(*text);
}

/* A sentence a line, as roff likes it. */
static void put_paragraph(const char *text)
{
	while (*text) {
		put_guard(text);
		while (*text && !(text[0] == '.' && text[1] == ' '))
			put_char(*text++);
		if (*text)
			put_char(*text++);
		putchar('\n');
		while (*text == ' ')
			text++;
	}
}

/* A template, {name:type} shown as NAME. */
static void put_message(const char *text)
{
	bool is_name = false;
	bool is_type = false;

	put_guard(text);
	for (; *text; text++) {
		if (*text == '{')
			is_name = true;
		else if (*text == '}')
			is_name = is_type = false;
		else if (is_name && *text == ':')
			is_type = true;
		else if (is_name && !is_type)
			putchar(toupper((unsigned char)*text));
		else if (!is_name)
			put_char(*text);
	}
	putchar('\n');
}

static void put_version(unsigned int version)
{
	printf("%u.%u", version / 1000, version % 1000);
}

static void put_effect(const struct bcfmt_kernel_effect *effect)
{
	fputs("Kernels", stdout);
	if (effect->since) {
		fputs(" from ", stdout);
		put_version(effect->since);
	}
	if (effect->until) {
		fputs(" before ", stdout);
		put_version(effect->until);
	}
	printf(": %s", bcfmt_effect_name(effect->effect));
	if (*effect->function)
		printf(", in %s()", effect->function);
	if (*effect->line) {
		fputs(", printing \\(lq", stdout);
		put_text(effect->line);
		fputs("\\(rq", stdout);
	}
	puts(".");
}

static void put_problem(const struct bcfmt_problem *problem)
{
	size_t n_effects;
	const struct bcfmt_kernel_effect *effects = bcfmt_kernel_effect_table(&n_effects);

	printf(".Ss BC%04d %s\n", (int)problem->id, problem->slug);
	puts(".Bd -filled -offset indent -compact");
	put_message(problem->message);
	puts(".Ed");
	puts(".Pp");
	if (*problem->meaning) {
		put_paragraph(problem->meaning);
		puts(".Pp");
	}
	printf("Severity %s, repair %s", bcfmt_severity_name(problem->severity),
	       bcfmt_repair_name(problem->repair));
	if (problem->repair != BCFMT_REPAIR_NONE)
		printf(", consent %s", bcfmt_consent_name(problem->consent));
	puts(".");
	for (size_t i = 0; i < n_effects; i++) {
		if (effects[i].id == problem->id)
			put_effect(&effects[i]);
	}
}

static void put_head(void)
{
	puts(".\\\" SPDX-License-Identifier: GPL-2.0-or-later\n"
	     ".\\\" Made from the table of problems by \"make man\": change that, not this.\n"
	     ".Dd November 22, 2025\n"
	     ".Dt BCACHE-PROBLEMS 7\n"
	     ".Os\n"
	     ".Sh NAME\n"
	     ".Nm bcache-problems\n"
	     ".Nd what bcache-fsck finds, and what kernels say\n"
	     ".Sh DESCRIPTION\n"
	     "Each problem that\n"
	     ".Xr bcache-fsck 8\n"
	     "reports has a code and a name, which do not change.\n"
	     "Below them stands the message, with the values that it gives in capitals.\n"
	     ".Pp\n"
	     "The severity is one of\n"
	     ".Em note\n"
	     "(nothing is wrong; does not count for the exit code),\n"
	     ".Em waste\n"
	     "(space or speed is lost),\n"
	     ".Em error\n"
	     "(the metadata is wrong, no data is lost by it),\n"
	     ".Em data-loss\n"
	     "(data is gone or doubtful, or will be when a kernel goes on) and\n"
	     ".Em fatal\n"
	     "(the set cannot be read any further).\n"
	     "The consent tells who has to agree to the repair:\n"
	     ".Em auto\n"
	     "(nothing can be lost by it),\n"
	     ".Em ask ,\n"
	     "or\n"
	     ".Em never\n"
	     "(only by an option of its own).\n"
	     "Under them stands what kernels do with such a set, and in which function.\n"
	     "Where nothing stands, it is not known.\n"
	     ".Pp\n"
	     "The same is printed by\n"
	     ".Dl bcache-fsck --explain CODE");
}

int main(void)
{
	size_t n_problems;
	size_t n_lines;
	const struct bcfmt_problem *problems = bcfmt_problem_table(&n_problems);
	const struct bcfmt_kernel_line *lines = bcfmt_kernel_line_table(&n_lines);

	put_head();
	puts(".Sh PROBLEMS");
	for (size_t i = 0; i < n_problems; i++)
		put_problem(&problems[i]);

	puts(".Sh KERNEL LINES\n"
	     "What the kernel prints and the devices alone do not explain; %s stands for any value.\n"
	     ".Bl -tag -width Ds");
	for (size_t i = 0; i < n_lines; i++) {
		fputs(".It Xo\n", stdout);
		put_text(lines[i].pattern);
		puts("\n.Xc");
		put_paragraph(lines[i].meaning);
		if (lines[i].id != BCFMT_P_NONE)
			printf("See BC%04d.\n", (int)lines[i].id);
	}
	puts(".El\n"
	     ".Sh SEE ALSO\n"
	     ".Xr bcache-dump 8 ,\n"
	     ".Xr bcache-fsck 8");
	return fflush(stdout) || ferror(stdout) ? 1 : 0;
}
