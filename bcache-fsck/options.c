/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The command line of bcache-fsck. */
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "cli/message.h"
#include "cli/number.h"
#include "fsck.h"

#define THREADS_MAX 256
#define MEMORY_LEAST (1ull << 20) /* what a sort needs at least */

enum {
	OPT_LEVEL = CLI_ID_FIRST,
	OPT_JSON,
	OPT_BAD_MAP,
	OPT_INCARNATION,
	OPT_KERNEL,
	OPT_PAGE_SIZE,
	OPT_FORCE,
	OPT_CACHE,
	OPT_BACKING,
	OPT_EXPLAIN,
	OPT_UNDO,
	OPT_NO_DEEP,
	OPT_UNDO_FILE,
	OPT_COPY_TO,
	OPT_WRITEBACK,
	OPT_DETACH,
	OPT_ADOPT,
	OPT_LOST,
	OPT_IGNORED, /* what fsck(8) may hand on */
};

/* Rows without help are known and not shown. */
static const struct cli_option table[] = {
	{ 'n', 'n', NULL, CLI_ARG_NONE, NULL, false, 0, "check only, write nothing" },
	{ 'p', 'p', NULL, CLI_ARG_NONE, NULL, false, 0,
	  "preen: repair what cannot lose anything, ask nothing" },
	{ 'p', 'a', NULL, CLI_ARG_NONE, NULL, false, 0, NULL },
	{ 'y', 'y', NULL, CLI_ARG_NONE, NULL, false, 0, "repair all, ask nothing" },
	{ OPT_LEVEL, 0, "level", CLI_ARG_CHOICE, "quick|full|data", false, 0,
	  "quick: superblocks, journal, prios, uuids, root\n"
	  "full (default): every node and key\n"
	  "data: also read dirty extents, and compare clean ones with\n"
	  "the backing device" },
	{ OPT_JSON, 0, "json", CLI_ARG_NONE, NULL, false, 0,
	  "print findings, verdict and summary as JSON Lines" },
	{ 'C', 'C', NULL, CLI_ARG_NUMBER, "FD", false, 0,
	  "write progress lines to this descriptor, as e2fsck does;\n"
	  "0: show a bar" },
	{ 'j', 'j', NULL, CLI_ARG_NUMBER, "N", false, 0, "use N threads" },
	{ 'm', 'm', NULL, CLI_ARG_SIZE, "SIZE", false, 0,
	  "memory for sorting before temporary files are used" },
	{ 't', 't', NULL, CLI_ARG_NONE, NULL, false, 0, "print the time of each pass, and memory" },
	{ OPT_BAD_MAP, 0, "bad-map", CLI_ARG_FILE, "FILE", true, 0,
	  "ddrescue mapfile of an image: what it does not call finished\n"
	  "is a read error; repeat it in the order of the devices" },
	{ OPT_NO_DEEP, 0, "no-deep", CLI_ARG_NONE, NULL, false, 0,
	  "do not use journal entries that are older than the replay\n"
	  "window where the tree is damaged" },
	{ OPT_INCARNATION, 0, "incarnation", CLI_ARG_NUMBER, "SEQ", false, 0,
	  "of two histories in the journal, check the one whose newest\n"
	  "entry has this sequence number" },
	{ OPT_KERNEL, 0, "kernel", CLI_ARG_TEXT, "VERSION", false, 0,
	  "predict what this kernel does (default: all known series)" },
	{ OPT_PAGE_SIZE, 0, "page-size", CLI_ARG_SIZE, "BYTES", false, 0,
	  "and on a machine with these pages: 4k (default), 16k, 64k" },
	{ OPT_FORCE, 0, "force", CLI_ARG_NONE, NULL, false, 0,
	  "also check devices that are in use" },
	{ OPT_CACHE, 0, "cache", CLI_ARG_DEVICE, "DEVICE", false, 0,
	  "this device is the cache, whatever its superblock says" },
	{ OPT_BACKING, 0, "backing", CLI_ARG_DEVICE, "DEVICE", true, 0,
	  "this is a backing device, whatever its superblock says" },
	{ OPT_EXPLAIN, 0, "explain", CLI_ARG_TEXT, "CODE|LINE", false, 0,
	  "explain a problem (BC0505, node-bad-csum) or a line that\n"
	  "a kernel printed; needs no device, but shows on devices that\n"
	  "are given what it speaks of, and whether it is still so" },
	{ OPT_COPY_TO, 0, "copy-to", CLI_ARG_DIR, "DIR", false, 0,
	  "write repaired copies of all devices there and leave the\n"
	  "devices as they are" },
	{ OPT_UNDO_FILE, 0, "undo-file", CLI_ARG_FILE, "FILE", false, 0,
	  "save there what a repair overwrites, or none (default: a new\n"
	  "file in $BCACHE_FSCK_UNDO_DIR or /var/lib/bcache-fsck)" },
	{ OPT_WRITEBACK, 0, "writeback", CLI_ARG_NONE, NULL, false, 0,
	  "after check and repair, copy all dirty data to the backing\n"
	  "devices and mark it clean" },
	{ OPT_DETACH, 0, "detach", CLI_ARG_NONE, NULL, false, 0,
	  "and then detach the devices, so that they run without the\n"
	  "cache" },
	{ OPT_ADOPT, 0, "adopt", CLI_ARG_TEXT, "INODE=UUID|auto", true, 0,
	  "dirty data of an inode without a device belongs to this\n"
	  "backing device (auto: where older tables prove it); also a\n"
	  "word for devices that are stale or detached" },
	{ OPT_LOST, 0, "lost", CLI_ARG_TEXT, "PREFIX", false, 0,
	  "write what is lost or doubtful of each volume to mapfiles of\n"
	  "ddrescue, PREFIX-UUID.map (default: beside the undo file)" },
	{ OPT_UNDO, 0, "undo", CLI_ARG_FILE, "FILE", false, 0,
	  "put back what this undo file saved of the devices; with -n\n"
	  "only tell; with --force also over what was changed since" },
	{ 'q', 'q', "quiet", CLI_ARG_NONE, NULL, false, 0, "print only problems and the verdict" },
	{ 'v', 'v', "verbose", CLI_ARG_NONE, NULL, true, 0,
	  "print all findings, what kernels do then, and what repairs" },
	/* From here on only under the name fsck.bcache: options of fsck(8) itself. */
	{ OPT_IGNORED, 'A', NULL, CLI_ARG_NONE, NULL, true, 0, NULL },
	{ OPT_IGNORED, 'M', NULL, CLI_ARG_NONE, NULL, true, 0, NULL },
	{ OPT_IGNORED, 'N', NULL, CLI_ARG_NONE, NULL, true, 0, NULL },
	{ OPT_IGNORED, 'P', NULL, CLI_ARG_NONE, NULL, true, 0, NULL },
	{ OPT_IGNORED, 'R', NULL, CLI_ARG_NONE, NULL, true, 0, NULL },
	{ OPT_IGNORED, 'T', NULL, CLI_ARG_NONE, NULL, true, 0, NULL },
	{ OPT_IGNORED, 'f', NULL, CLI_ARG_NONE, NULL, true, 0, NULL },
	{ OPT_IGNORED, 'l', NULL, CLI_ARG_NONE, NULL, true, 0, NULL },
	{ OPT_IGNORED, 'r', NULL, CLI_ARG_NONE, NULL, true, 0, NULL },
	{ OPT_IGNORED, 's', NULL, CLI_ARG_NONE, NULL, true, 0, NULL },
};
#define N_OF_FSCK8 10
#define N_TABLE (sizeof(table) / sizeof(table[0]))

#define PROGRAM(program_name, rows)                                                         \
	{                                                                                   \
		.name = program_name, .operands = "[options] DEVICE...",                    \
		.summary = "Checks and repairs a bcache set: its cache device, and the "    \
			   "backing devices that\nare given with it, in any order.",        \
		.options = table, .n_options = (rows),                                      \
		.notes = "exit status, added up: 0 clean, 1 problems repaired, 4 problems " \
			 "left,\n8 operational error, 16 usage error, 32 cancelled",        \
		.usage_exit = FSCK_USAGE,                                                   \
	}
static const struct cli_program as_self = PROGRAM("bcache-fsck", N_TABLE - N_OF_FSCK8);
static const struct cli_program as_fsck = PROGRAM("fsck.bcache", N_TABLE);

/* "6.1" and "6.1.192" are 6001. */
static unsigned int read_kernel(const struct cli_parser *parser, const char *value)
{
	char text[32];
	char *part[3] = { text, NULL, NULL };
	uint64_t number[3] = { 0 };
	size_t n = 1;
	bool is_good = strlen(value) < sizeof(text);

	snprintf(text, sizeof(text), "%s", value);
	for (char *at = text; *at && is_good; at++) {
		if (*at != '.')
			continue;
		is_good = n < 3;
		if (is_good) {
			*at = 0;
			part[n++] = at + 1;
		}
	}
	for (size_t i = 0; i < n && is_good; i++)
		is_good = cli_number_u64(part[i], 999, &number[i]);
	if (!is_good || n < 2 || !number[0])
		cli_usage(parser, "--kernel: '%s' is not a version such as 6.1", value);
	return (unsigned int)(number[0] * 1000 + number[1]);
}

static uint32_t read_page_size(const struct cli_parser *parser, const char *value)
{
	uint64_t bytes = cli_value_bytes(parser, value);

	if (bytes != 4096 && bytes != 16384 && bytes != 65536)
		cli_usage(parser, "--page-size: '%s' is none of 4k, 16k, 64k", value);
	return (uint32_t)bytes;
}

static void read_progress_fd(struct fsck_options *options, const struct cli_parser *parser,
			     const char *value)
{
	int fd = (int)cli_value_u64(parser, value, INT_MAX);

	if (!fd) {
		options->is_bar_wanted = true;
		return;
	}
	if (fcntl(fd, F_GETFD) < 0)
		cli_usage(parser, "-C: descriptor %d is not open", fd);
	options->progress_fd = fd;
}

static void add_path(struct fsck_options *options, const char *path, enum bcfmt_role role)
{
	options->paths[options->n_paths] = path;
	options->roles[options->n_paths++] = role;
}

static void add_adoption(struct fsck_options *options, const struct cli_parser *parser,
			 const char *value)
{
	struct bcfmt_adoption *adoption = &options->adoptions[options->n_adoptions];
	const char *uuid = strchr(value, '=');
	char number[16];
	uint64_t inode;

	if (!strcmp(value, "auto")) {
		options->is_adopt_auto = true;
		return;
	}
	snprintf(number, sizeof(number), "%.*s", uuid ? (int)(uuid - value) : 0, value);
	if (!uuid || uuid - value >= (int)sizeof(number) ||
	    !cli_number_u64(number, BCFMT_KEY_MAX_INODE, &inode) ||
	    !bcfmt_uuid_parse(uuid + 1, adoption->uuid))
		cli_usage(parser, "--adopt: '%s' is neither INODE=UUID nor auto", value);
	adoption->inode = (uint32_t)inode;
	options->n_adoptions++;
}

static void take(struct fsck_options *options, const struct cli_parser *parser, int id,
		 const char *value)
{
	switch (id) {
	case CLI_OPERAND:
		add_path(options, value, BCFMT_ROLE_AUTO);
		break;
	case OPT_CACHE:
		add_path(options, value, BCFMT_ROLE_CACHE);
		break;
	case OPT_BACKING:
		add_path(options, value, BCFMT_ROLE_BACKING);
		break;
	case OPT_LEVEL:
		options->check.level = (enum bcfmt_check_level)cli_value_choice(parser, value);
		break;
	case OPT_JSON:
		options->is_json = true;
		break;
	case OPT_BAD_MAP:
		options->bad_maps[options->n_bad_maps++] = value;
		break;
	case OPT_INCARNATION:
		options->incarnation_seq = cli_value_u64(parser, value, UINT64_MAX);
		if (!options->incarnation_seq)
			cli_usage(parser, "--incarnation: sequence numbers begin with 1");
		break;
	case OPT_KERNEL:
		options->check.kernel = read_kernel(parser, value);
		break;
	case OPT_PAGE_SIZE:
		options->check.page_bytes = read_page_size(parser, value);
		break;
	case OPT_FORCE:
		options->is_in_use_ok = true;
		break;
	case OPT_EXPLAIN:
		options->explain = value;
		break;
	case OPT_UNDO:
		options->undo = value;
		break;
	case 'C':
		read_progress_fd(options, parser, value);
		break;
	case 'j':
		options->threads = (unsigned int)cli_value_u64(parser, value, THREADS_MAX);
		if (!options->threads)
			cli_usage(parser, "-j: at least one thread is needed");
		break;
	case 'm':
		options->max_bytes = cli_value_bytes(parser, value);
		if (options->max_bytes < MEMORY_LEAST)
			cli_usage(parser, "-m: at least 1M is needed");
		break;
	case 'n':
		options->is_check_only = true;
		break;
	case 'p':
		options->mode = FSCK_PREEN;
		break;
	case 'y':
		options->mode = FSCK_YES;
		break;
	case OPT_NO_DEEP:
		options->is_shallow = true;
		break;
	case OPT_UNDO_FILE:
		options->undo_file = value;
		break;
	case OPT_COPY_TO:
		options->copy_to = value;
		break;
	case OPT_WRITEBACK:
		options->is_writeback = true;
		break;
	case OPT_DETACH:
		options->is_detach = true;
		break;
	case OPT_ADOPT:
		add_adoption(options, parser, value);
		break;
	case OPT_LOST:
		options->lost_prefix = value;
		break;
	case 'q':
		options->is_quiet = true;
		break;
	case 't':
		options->is_timed = true;
		break;
	case 'v':
		options->verbose++;
		break;
	default:
		break;
	}
}

static bool belongs_to_undo(int id)
{
	switch (id) {
	case CLI_OPERAND:
	case OPT_UNDO:
	case OPT_JSON:
	case OPT_FORCE:
	case OPT_IGNORED:
	case 'n':
	case 'C':
	case 'j':
	case 'm':
	case 'q':
	case 'v':
		return true;
	default:
		return false;
	}
}

/* At most one of -n, -p, -y; without any, questions where there is somebody to answer. */
static void settle_mode(struct fsck_options *options, const struct cli_parser *parser,
			unsigned int n_modes)
{
	if (n_modes > 1)
		cli_usage(parser, "only one of -n, -p, -a and -y can be given");
	if (!n_modes && !options->is_json && isatty(STDIN_FILENO) && isatty(STDOUT_FILENO))
		options->mode = FSCK_ASK;
	else if (!n_modes && options->is_writeback)
		options->mode = FSCK_HOME;
	if (options->is_detach && !options->is_writeback)
		cli_usage(parser, "--detach needs --writeback: a device without its dirty data is "
				  "of no use");
	if (!n_modes && options->mode == FSCK_CHECK &&
	    (options->is_adopt_auto || options->n_adoptions))
		cli_usage(parser, "--adopt needs -p, -y, --writeback or a terminal to ask on");
	if (options->lost_prefix && options->check.level == BCFMT_LEVEL_QUICK)
		cli_usage(parser, "--lost needs all of the set: not with --level quick");
	if (options->mode == FSCK_CHECK && options->copy_to)
		cli_usage(parser, "--copy-to needs -p, -y, --writeback or a terminal to ask on");
	if (options->copy_to && options->undo_file)
		cli_usage(parser, "--copy-to changes no device: there is nothing to undo");
	if (options->mode != FSCK_CHECK && options->check.level == BCFMT_LEVEL_QUICK)
		cli_usage(parser, "a repair needs all of the set: --level quick goes with -n only");
}

static const struct cli_program *program_of(const char *argv0)
{
	const char *slash = argv0 ? strrchr(argv0, '/') : NULL;
	const char *name = slash ? slash + 1 : argv0;

	return name && !strcmp(name, as_fsck.name) ? &as_fsck : &as_self;
}

void fsck_options_parse(struct fsck_options *options, int argc, char **argv)
{
	const struct cli_option *check_option = NULL; /* one that only a check knows */
	struct cli_parser parser;
	const char *value;
	size_t room = (size_t)argc + 1;
	unsigned int n_modes = 0;
	int id;

	*options = (struct fsck_options){ .progress_fd = -1, .check.level = BCFMT_LEVEL_FULL };
	cli_parse(&parser, program_of(argv[0]), argc, argv);
	options->program = parser.program->name;
	options->paths = calloc(room, sizeof(*options->paths));
	options->roles = calloc(room, sizeof(*options->roles));
	options->bad_maps = calloc(room, sizeof(*options->bad_maps));
	options->adoptions = calloc(room, sizeof(*options->adoptions));
	if (!options->paths || !options->roles || !options->bad_maps || !options->adoptions) {
		cli_error(NULL, "out of memory");
		exit(FSCK_OPERATIONAL);
	}
	while ((id = cli_next(&parser, &value)) != CLI_END) {
		n_modes += id == 'n' || id == 'p' || id == 'y';
		if (!belongs_to_undo(id) && !check_option)
			check_option = parser.current;
		take(options, &parser, id, value);
	}
	if (!options->explain && !options->n_paths)
		cli_usage(&parser, "no device given");
	if (options->undo && check_option)
		cli_usage(&parser, "--undo does not go with %s%s", check_option->name ? "--" : "-",
			  check_option->name ? check_option->name
					     : (const char[]){ check_option->letter, 0 });
	if (options->explain && (options->mode != FSCK_CHECK || options->is_writeback))
		cli_usage(&parser, "--explain only looks: not with -p, -y or --writeback");
	if (options->n_bad_maps > options->n_paths)
		cli_usage(&parser, "%zu bad maps for %zu devices", options->n_bad_maps,
			  options->n_paths);
	if (!options->explain && !options->undo)
		settle_mode(options, &parser, n_modes);
	cli_parser_free(&parser);
}

void fsck_options_free(struct fsck_options *options)
{
	free(options->paths);
	free(options->roles);
	free(options->bad_maps);
	free(options->adoptions);
	*options = (struct fsck_options){ 0 };
}
