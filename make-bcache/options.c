/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The command line of make-bcache. */
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <bcfmt/uuid.h>

#include "cli/message.h"
#include "make.h"

enum {
	OPT_CSET_UUID = CLI_ID_FIRST,
	OPT_UUID,
	OPT_WRITEBACK,
	OPT_DISCARD,
	OPT_POLICY,
	OPT_WIPE_BCACHE,
	OPT_FORCE,
	OPT_JSON,
	OPT_BACKUP,
};

/* Rows without help are other spellings of the row before them. */
static const struct cli_option table[] = {
	{ 'C', 'C', "cache", CLI_ARG_NONE, NULL, true, 0,
	  "the devices that follow are cache devices" },
	{ 'B', 'B', "bdev", CLI_ARG_NONE, NULL, true, 0,
	  "the devices that follow are backing devices" },
	{ 'b', 'b', "bucket", CLI_ARG_SIZE, "SIZE", false, 0, "bucket size (default: 512k)" },
	{ 'w', 'w', "block", CLI_ARG_SIZE, "SIZE", false, 0,
	  "block size (default: the largest logical block of all devices)" },
	{ 'o', 'o', "data-offset", CLI_ARG_NUMBER, "SECTORS", false, 0,
	  "where data begins on backing devices (default: 16)" },
	{ 'o', 0, "data_offset", CLI_ARG_NUMBER, "SECTORS", false, 0, NULL },
	{ OPT_CSET_UUID, 0, "cset-uuid", CLI_ARG_TEXT, "UUID", false, 0,
	  "uuid of the cache set (default: random)" },
	{ OPT_UUID, 0, "uuid", CLI_ARG_TEXT, "UUID", true, 0,
	  "uuid of the next device (default: random)" },
	{ 'l', 'l', "label", CLI_ARG_TEXT, "TEXT", false, 0,
	  "label of the devices, at most 31 bytes" },
	{ OPT_WRITEBACK, 0, "writeback", CLI_ARG_NONE, NULL, false, 0,
	  "backing devices begin in writeback mode, not writethrough" },
	{ OPT_DISCARD, 0, "discard", CLI_ARG_NONE, NULL, false, 0,
	  "discard the cache device, and let kernels discard buckets;\n"
	  "off by default, because caches were lost with it" },
	{ OPT_POLICY, 0, "cache_replacement_policy", CLI_ARG_CHOICE, "lru|fifo|random", false, 0,
	  "what the cache throws out first (default: lru)" },
	{ OPT_POLICY, 0, "cache-replacement-policy", CLI_ARG_CHOICE, "lru|fifo|random", false, 0,
	  NULL },
	{ OPT_WIPE_BCACHE, 0, "wipe-bcache", CLI_ARG_NONE, NULL, false, 0,
	  "overwrite an existing bcache superblock" },
	{ OPT_FORCE, 0, "force", CLI_ARG_NONE, NULL, false, 0,
	  "overwrite whatever is there: file systems, partition tables,\n"
	  "bcache superblocks" },
	{ 'n', 'n', "dry-run", CLI_ARG_NONE, NULL, false, 0,
	  "write nothing, print what would be written where" },
	{ OPT_BACKUP, 0, "backup", CLI_ARG_FILE, "FILE", false, 0,
	  "save what is overwritten to a new file; bcache-fsck --undo FILE\n"
	  "puts it back" },
	{ OPT_JSON, 0, "json", CLI_ARG_NONE, NULL, false, 0,
	  "print JSON Lines: issues, superblocks, steps, a summary" },
	{ 'q', 'q', "quiet", CLI_ARG_NONE, NULL, false, 0, "print only problems" },
	{ 'v', 'v', "verbose", CLI_ARG_NONE, NULL, true, 0,
	  "print also what comes next, and how the data is reached" },
};

static const struct cli_program program = {
	.name = "make-bcache",
	.operands = "[options] {-C|-B} DEVICE...",
	.summary = "Formats devices or image files for bcache: cache devices after -C, backing\n"
		   "devices after -B. Devices of one run belong to one cache set.",
	.options = table,
	.n_options = sizeof(table) / sizeof(table[0]),
	.notes = "exit status: 0 done, 1 failed or refused, 2 usage error",
	.usage_exit = MAKE_USAGE,
};

/* What an option says of the devices behind it. */
struct position {
	bool has_role;
	bool is_backing;
	bool has_uuid;
	uint8_t uuid[BCFMT_UUID_BYTES];
};

static void read_uuid(const struct cli_parser *parser, const char *value,
		      uint8_t uuid[BCFMT_UUID_BYTES])
{
	if (!bcfmt_uuid_parse(value, uuid))
		cli_usage(parser, "--%s: '%s' is not a uuid", parser->current->name, value);
}

static uint64_t read_size(const struct cli_parser *parser, const char *value)
{
	uint64_t bytes = cli_value_bytes(parser, value);

	if (!bytes)
		cli_usage(parser, "--%s: '%s' is no size", parser->current->name, value);
	return bytes;
}

static uint64_t read_data_offset(const struct cli_parser *parser, const char *value)
{
	uint64_t sectors = cli_value_u64(parser, value, INT64_MAX / BCFMT_SECTOR_BYTES);

	if (sectors < BCFMT_MAKE_DATA_OFFSET)
		cli_usage(parser, "--data-offset: %s sectors, at least %u are needed", value,
			  BCFMT_MAKE_DATA_OFFSET);
	return sectors;
}

static void take_device(struct make_options *options, const struct cli_parser *parser,
			const char *path, struct position *at)
{
	struct make_operand *operand = &options->operands[options->n];

	if (!at->has_role)
		cli_usage(parser, "'%s' comes before -C or -B: say first what it is to be", path);
	options->paths[options->n++] = path;
	*operand = (struct make_operand){ .is_backing = at->is_backing, .has_uuid = at->has_uuid };
	memcpy(operand->uuid, at->uuid, sizeof(operand->uuid));
	at->has_uuid = false;
}

static void take(struct make_options *options, const struct cli_parser *parser, int id,
		 const char *value, struct position *at)
{
	struct bcfmt_make_params *params = &options->params;

	switch (id) {
	case CLI_OPERAND:
		take_device(options, parser, value, at);
		break;
	case 'C':
	case 'B':
		at->has_role = true;
		at->is_backing = id == 'B';
		break;
	case OPT_UUID:
		if (at->has_uuid)
			cli_usage(parser, "--uuid: no device between two of them");
		read_uuid(parser, value, at->uuid);
		at->has_uuid = true;
		break;
	case OPT_CSET_UUID:
		read_uuid(parser, value, params->set_uuid);
		params->is_set_uuid_given = true;
		break;
	case 'b':
		params->bucket_bytes = read_size(parser, value);
		break;
	case 'w':
		params->block_bytes = read_size(parser, value);
		break;
	case 'o':
		params->data_offset_sectors = read_data_offset(parser, value);
		break;
	case 'l':
		if (strlen(value) >= BCFMT_LABEL_BYTES)
			cli_usage(parser, "--label: '%s' is longer than %u bytes", value,
				  BCFMT_LABEL_BYTES - 1);
		params->label = value;
		break;
	case OPT_WRITEBACK:
		params->is_writeback = true;
		break;
	case OPT_DISCARD:
		params->is_discard = true;
		break;
	case OPT_POLICY:
		params->replacement = (enum bcfmt_replacement)cli_value_choice(parser, value);
		break;
	case OPT_FORCE:
		params->may_overwrite = true;
		params->may_wipe_bcache = true;
		break;
	case OPT_WIPE_BCACHE:
		params->may_wipe_bcache = true;
		break;
	case OPT_BACKUP:
		options->backup = value;
		break;
	case OPT_JSON:
		options->is_json = true;
		break;
	case 'n':
		options->is_dry_run = true;
		break;
	case 'q':
		options->is_quiet = true;
		break;
	case 'v':
		options->is_verbose = true;
		break;
	default:
		break;
	}
}

void make_options_parse(struct make_options *options, int argc, char **argv)
{
	struct position at = { 0 };
	struct cli_parser parser;
	const char *value;
	size_t room = (size_t)argc + 1;
	long page_bytes;
	int id;

	*options = (struct make_options){ 0 };
	cli_parse(&parser, &program, argc, argv);
	options->paths = calloc(room, sizeof(*options->paths));
	options->operands = calloc(room, sizeof(*options->operands));
	if (!options->paths || !options->operands) {
		cli_error(NULL, "out of memory");
		exit(MAKE_FAILED);
	}
	while ((id = cli_next(&parser, &value)) != CLI_END)
		take(options, &parser, id, value, &at);
	if (!options->n)
		cli_usage(&parser, "no device given");
	if (at.has_uuid)
		cli_usage(&parser, "--uuid: no device follows it");
	if (!options->params.is_set_uuid_given)
		bcfmt_make_uuid(options->params.set_uuid);
	/* What a discard throws away cannot be saved. */
	options->params.may_discard = options->params.is_discard && !options->backup;
	page_bytes = sysconf(_SC_PAGESIZE);
	if (page_bytes > 0)
		options->params.host_page_bytes = (uint32_t)page_bytes;
	cli_parser_free(&parser);
}

void make_options_free(struct make_options *options)
{
	free(options->paths);
	free(options->operands);
	*options = (struct make_options){ 0 };
}
