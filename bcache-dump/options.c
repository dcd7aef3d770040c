/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The command line of bcache-dump. */
#include "dump.h"

#include <stdlib.h>
#include <string.h>

#include "cli/number.h"

enum {
	OPT_FORCE = CLI_ID_FIRST,
	OPT_JSON,
	OPT_QUIET,
	OPT_VERBOSE,
	OPT_CACHE,
	OPT_BACKING,
	OPT_BAD_MAP,
	OPT_INCARNATION,
	OPT_PROGRESS_FD,
	OPT_THREADS,
	OPT_MEMORY,
	OPT_SEQ,
	OPT_KEYS,
	OPT_INODE,
	OPT_RANGE,
	OPT_NODE,
	OPT_DIRTY,
	OPT_PHYSICAL,
	OPT_HISTORY,
	OPT_LOST,
	OPT_BUCKET,
	OPT_DEVICE,
	OPT_OUTPUT,
	OPT_DATA_OFFSET,
	OPT_SCRUB,
	OPT_SCAN,
	OPT_MEMBER,
	OPT_TEXT,
	OPT_FOREGROUND,
	OPT_MOUNT,
};

#define FOR(command) (1u << CMD_##command)
#define FOR_DEVICES  (~FOR(RESTORE))
#define FOR_SETS     (FOR_DEVICES & ~FOR(SUPER))
#define FOR_KEYS     (FOR(JOURNAL) | FOR(KEYS))
#define FOR_BUCKETS  (FOR(PRIOS) | FOR(BUCKETS))

static const struct cli_option options[] = {
	{ OPT_SEQ, 0, "seq", CLI_ARG_TEXT, "A-B", false, FOR(JOURNAL),
	  "only entries with these sequence numbers" },
	{ OPT_KEYS, 0, "keys", CLI_ARG_NONE, NULL, false, FOR(JOURNAL) | FOR(BTREE),
	  "print the keys too" },
	{ OPT_INODE, 0, "inode", CLI_ARG_NUMBER, "N", false, FOR_KEYS, "only keys of this inode" },
	{ OPT_RANGE, 0, "range", CLI_ARG_TEXT, "SECTORS", false, FOR_KEYS,
	  "only keys that touch these sectors: A-B or A+COUNT, as the\n"
	  "keys count them (of a backing device: data offset included)" },
	{ OPT_NODE, 0, "node", CLI_ARG_NUMBER, "BUCKET", false, FOR(BTREE),
	  "one node in full, in the form in which a kernel dumps it" },
	{ OPT_DIRTY, 0, "dirty", CLI_ARG_NONE, NULL, false, FOR(KEYS), "only dirty keys" },
	{ OPT_PHYSICAL, 0, "physical", CLI_ARG_NONE, NULL, false, FOR(KEYS),
	  "in the order of their place on the cache" },
	{ OPT_HISTORY, 0, "history", CLI_ARG_NONE, NULL, false, FOR(KEYS),
	  "what journal, tree and given-up nodes say happened to the\n"
	  "sectors of --inode and --range" },
	{ OPT_LOST, 0, "lost", CLI_ARG_FILE, "MAPFILE", false, FOR(FILES),
	  "what of the volume is lost or doubtful, as bcache-fsck --lost\n"
	  "writes it" },
	{ OPT_BUCKET, 0, "bucket", CLI_ARG_TEXT, "A-B", false, FOR_BUCKETS, "only these buckets" },
	{ OPT_DEVICE, 'd', "device", CLI_ARG_TEXT, "UUID|INODE|LABEL", false,
	  FOR(EXPORT) | FOR(MOUNT) | FOR(FILES),
	  "which volume; of export, may be left out when there is one;\n"
	  "of mount, all without it" },
	{ OPT_FOREGROUND, 'f', "foreground", CLI_ARG_NONE, NULL, false, FOR(MOUNT),
	  "stay, until it is unmounted or interrupted" },
	{ OPT_OUTPUT, 'o', "output", CLI_ARG_FILE, "FILE|-", false,
	  FOR(EXPORT) | FOR(IMAGE) | FOR(RESTORE) | FOR(MAP) | FOR(REPORT),
	  "a file (volumes and devices are written sparse), a block\n"
	  "device, or - for a stream; restore takes a folder too" },
	{ OPT_MOUNT, 'o', "options", CLI_ARG_TEXT, "OPTION,...", true, FOR(MOUNT),
	  "options of FUSE, as allow_other" },
	{ OPT_SCRUB, 0, "scrub", CLI_ARG_NONE, NULL, false, FOR(IMAGE) | FOR(REPORT),
	  "replace uuids and labels throughout" },
	{ OPT_SCAN, 0, "scan", CLI_ARG_CHOICE, "all|heads|none", false, FOR(IMAGE) | FOR(REPORT),
	  "look for nodes that nothing points to in all blocks (default),\n"
	  "where buckets begin, or not at all" },
	{ OPT_MEMBER, 0, "member", CLI_ARG_TEXT, "NAME", false, FOR(RESTORE),
	  "only this device of the image: cache, backing0, ..." },
	{ OPT_TEXT, 0, "text", CLI_ARG_NONE, NULL, false, FOR(MAP),
	  "print the map as letters, for a terminal" },
	{ OPT_DATA_OFFSET, 0, "data-offset", CLI_ARG_NUMBER, "SECTORS", false,
	  FOR(EXPORT) | FOR(MOUNT),
	  "where the data of the backing device begins, when its\n"
	  "superblock cannot tell" },
	{ OPT_CACHE, 0, "cache", CLI_ARG_DEVICE, "DEVICE", false, FOR_SETS,
	  "this device is the cache, whatever its superblock says" },
	{ OPT_BACKING, 0, "backing", CLI_ARG_DEVICE, "DEVICE", true, FOR_SETS,
	  "this is a backing device, whatever its superblock says" },
	{ OPT_BAD_MAP, 0, "bad-map", CLI_ARG_FILE, "FILE", true, FOR_DEVICES,
	  "ddrescue mapfile of an image: what it does not call finished\n"
	  "is a read error; repeat it in the order of the devices" },
	{ OPT_INCARNATION, 0, "incarnation", CLI_ARG_NUMBER, "SEQ", false, FOR_SETS,
	  "read the set by the journal entry with this sequence number" },
	{ OPT_FORCE, 0, "force", CLI_ARG_NONE, NULL, false, 0,
	  "also read devices that are in use; of restore: overwrite" },
	{ OPT_JSON, 0, "json", CLI_ARG_NONE, NULL, false, 0, "print JSON Lines" },
	{ OPT_PROGRESS_FD, 'C', NULL, CLI_ARG_NUMBER, "FD", false, 0,
	  "write progress lines to this descriptor" },
	{ OPT_THREADS, 'j', NULL, CLI_ARG_NUMBER, "N", false, 0, "use N threads" },
	{ OPT_MEMORY, 'm', NULL, CLI_ARG_SIZE, "SIZE", false, 0,
	  "memory for sorting before temporary files are used" },
	{ OPT_QUIET, 'q', "quiet", CLI_ARG_NONE, NULL, false, 0, "no progress, no remarks" },
	{ OPT_VERBOSE, 'v', "verbose", CLI_ARG_NONE, NULL, false, 0, "say more" },
};

#define TREE_OPERANDS "[options] CACHE [BACKING...]"

static const struct cli_command commands[CMD_COUNT] = {
	[CMD_SUPER] = { "super", "[options] DEVICE...", "superblocks, all fields" },
	[CMD_JOURNAL] = { "journal", TREE_OPERANDS, "journal entries, replay window, gaps" },
	[CMD_BTREE] = { "btree", TREE_OPERANDS, "nodes of the tree by level, or one in full" },
	[CMD_KEYS] = { "keys", TREE_OPERANDS, "final keys, tree and journal merged" },
	[CMD_UUIDS] = { "uuids", TREE_OPERANDS, "table of devices and volumes" },
	[CMD_PRIOS] = { "prios", TREE_OPERANDS, "priority and generation of each bucket" },
	[CMD_BUCKETS] = { "buckets", TREE_OPERANDS, "what each bucket holds, who points to it" },
	[CMD_VERDICT] = { "verdict", TREE_OPERANDS, "dirty bytes, and who may run alone" },
	[CMD_EXPORT] = { "export", "[options] -o FILE CACHE [BACKING]",
			 "copy a volume, dirty data over backing data" },
	[CMD_IMAGE] = { "image", "[options] -o FILE CACHE [BACKING...]",
			"all metadata and no data, in one small file" },
	[CMD_RESTORE] = { "restore", "[options] -o FOLDER|FILE IMAGE|-",
			  "make devices of an image again, as sparse files" },
	[CMD_MAP] = { "map", "[options] {-o FILE.png|--text|--json} CACHE [BACKING...]",
		      "a picture of what every bucket is used for" },
	[CMD_MOUNT] = { "mount", "[options] DIR CACHE [BACKING...]",
			"all volumes as read-only files of a folder" },
	[CMD_REPORT] = { "report", "[options] -o FILE.tar.gz CACHE [BACKING...]",
			 "image, findings and a page to read, in one file" },
	[CMD_FILES] = { "files", "--lost MAPFILE [options] CACHE [BACKING]",
			"name the files on lost or doubtful ranges" },
};

static const struct cli_program program = {
	.name = "bcache-dump",
	.operands = "COMMAND [options] DEVICE...",
	.summary = "Shows what is on the devices of a bcache set, copies a volume or all metadata out\n"
		   "of it, or mounts its volumes. Never writes to them. Takes metadata images in place\n"
		   "of devices.",
	.options = options,
	.n_options = sizeof(options) / sizeof(options[0]),
	.commands = commands,
	.n_commands = CMD_COUNT,
	.notes = "exit status: 0 done, 1 damaged: not everything could be read, 2 usage error,\n"
		 "8 operational error",
	.usage_exit = DUMP_USAGE,
};

static _Noreturn void bad_range(const struct cli_parser *parser, const char *value)
{
	cli_usage(parser, "--range: '%s' is not a range such as 16-4095, 16+4080, 16- or 16",
		  value);
}

/* "A-B", "A-", "A" as cli_value_range() has them, and "A+COUNT". */
static void read_range(const struct cli_parser *parser, const char *value, uint64_t *first,
		       uint64_t *last)
{
	const char *plus = strchr(value, '+');
	uint64_t count;
	char begin[32];

	if (!plus) {
		cli_value_range(parser, value, first, last);
		return;
	}
	if ((size_t)(plus - value) >= sizeof(begin))
		bad_range(parser, value);
	memcpy(begin, value, (size_t)(plus - value));
	begin[plus - value] = 0;
	if (!cli_number_u64(begin, UINT64_MAX, first) ||
	    !cli_number_u64(plus + 1, UINT64_MAX, &count) || !count ||
	    count - 1 > UINT64_MAX - *first)
		bad_range(parser, value);
	*last = *first + (count - 1);
}

/* The options that choose what a command prints. False when id is none of them. */
static bool read_filter(struct dump_options *opt, const struct cli_parser *parser, int id,
			const char *value)
{
	switch (id) {
	case OPT_SEQ:
		opt->has_seqs = true;
		cli_value_range(parser, value, &opt->seq_first, &opt->seq_last);
		return true;
	case OPT_KEYS:
		opt->with_keys = true;
		return true;
	case OPT_INODE:
		opt->has_inode = true;
		opt->inode = (uint32_t)cli_value_u64(parser, value, BCFMT_KEY_MAX_INODE);
		return true;
	case OPT_RANGE:
		opt->has_range = true;
		read_range(parser, value, &opt->range_first, &opt->range_last);
		return true;
	case OPT_NODE:
		opt->has_node = true;
		opt->node_bucket = cli_value_u64(parser, value, UINT64_MAX);
		return true;
	case OPT_DIRTY:
		opt->only_dirty = true;
		return true;
	case OPT_TEXT:
		opt->with_text = true;
		return true;
	case OPT_PHYSICAL:
		opt->is_physical = true;
		return true;
	case OPT_LOST:
		opt->lost_map = value;
		return true;
	case OPT_HISTORY:
		opt->with_history = true;
		return true;
	case OPT_SCRUB:
		opt->is_scrubbed = true;
		return true;
	case OPT_SCAN:
		opt->scan = (enum bcfmt_image_scan)cli_value_choice(parser, value);
		return true;
	case OPT_MEMBER:
		opt->member = value;
		return true;
	case OPT_BUCKET:
		opt->has_buckets = true;
		cli_value_range(parser, value, &opt->bucket_first, &opt->bucket_last);
		return true;
	}
	return false;
}

static void read_option(struct dump_options *opt, const struct cli_parser *parser, int id,
			const char *value)
{
	if (read_filter(opt, parser, id, value))
		return;
	switch (id) {
	case OPT_DEVICE:
		opt->device = value;
		break;
	case OPT_FOREGROUND:
		opt->is_foreground = true;
		break;
	case OPT_MOUNT:
		opt->mount_options[opt->n_mount_options++] = value;
		break;
	case OPT_OUTPUT:
		opt->output = value;
		break;
	case OPT_DATA_OFFSET:
		opt->has_data_offset = true;
		opt->data_offset_sectors = cli_value_u64(parser, value, BCFMT_KEY_MAX_OFFSET);
		break;
	case OPT_INCARNATION:
		opt->incarnation_seq = cli_value_u64(parser, value, UINT64_MAX);
		break;
	case OPT_FORCE:
		opt->has_force = true;
		break;
	case OPT_JSON:
		opt->has_json = true;
		break;
	case OPT_PROGRESS_FD:
		opt->progress_fd = (int)cli_value_u64(parser, value, INT32_MAX);
		break;
	case OPT_THREADS:
		opt->threads = (unsigned int)cli_value_u64(parser, value, 256);
		break;
	case OPT_MEMORY:
		opt->max_bytes = cli_value_bytes(parser, value);
		break;
	case OPT_QUIET:
		opt->is_quiet = true;
		break;
	case OPT_VERBOSE:
		opt->is_verbose = true;
		break;
	}
}

static void check(const struct dump *d)
{
	const struct dump_options *opt = &d->opt;

	if (d->parser.command_index == CMD_MOUNT && !opt->folder)
		cli_usage(&d->parser, "no folder given to mount on");
	if (!d->n_paths)
		cli_usage(&d->parser, "no device given");
	if (d->parser.command_index == CMD_MOUNT && opt->has_data_offset && !opt->device &&
	    d->n_paths > 2)
		cli_usage(&d->parser, "--data-offset of several devices: choose one with --device");
	if (opt->is_quiet && opt->is_verbose)
		cli_usage(&d->parser, "-q and -v exclude each other");
	if (opt->has_node && opt->with_keys)
		cli_usage(&d->parser, "--node and --keys exclude each other");
	if (opt->with_history && (!opt->has_inode || !opt->has_range))
		cli_usage(&d->parser, "--history needs --inode and --range");
	if (opt->with_history && (opt->only_dirty || opt->is_physical))
		cli_usage(&d->parser, "--history tells all, in the order of time: not with --dirty "
				      "or --physical");
	if (d->parser.command_index == CMD_EXPORT && !opt->output)
		cli_usage(&d->parser, "export needs -o FILE");
	if (d->parser.command_index == CMD_IMAGE && !opt->output)
		cli_usage(&d->parser, "image needs -o FILE");
	if (d->parser.command_index == CMD_REPORT && !opt->output)
		cli_usage(&d->parser, "report needs -o FILE.tar.gz");
	if (d->parser.command_index == CMD_FILES && !opt->lost_map)
		cli_usage(&d->parser, "files needs --lost MAPFILE: bcache-fsck --lost PREFIX writes it");
	if (d->parser.command_index == CMD_RESTORE && !opt->output)
		cli_usage(&d->parser, "restore needs -o FOLDER or -o FILE");
	if (d->parser.command_index == CMD_RESTORE && d->n_paths > 1)
		cli_usage(&d->parser, "restore takes one image");
	if (d->parser.command_index == CMD_MAP && !opt->output && !opt->with_text && !opt->has_json)
		cli_usage(&d->parser, "map needs -o FILE.png, --text or --json");
	if (opt->with_text && opt->has_json)
		cli_usage(&d->parser, "--text and --json exclude each other");
	if (opt->output && !strcmp(opt->output, "-") && opt->with_text)
		cli_usage(&d->parser, "--text and -o - both want standard output");
	if (opt->output && !strcmp(opt->output, "-") && opt->has_json)
		cli_usage(&d->parser, "--json and -o - both want standard output");
}

void dump_options_read(struct dump *d, int argc, char **argv)
{
	struct cli_parser *parser = &d->parser;
	const char *value;
	int id;

	cli_parse(parser, &program, argc, argv);
	d->opt.progress_fd = -1;
	d->paths = calloc(parser->n_given + 1, sizeof(*d->paths));
	d->roles = calloc(parser->n_given + 1, sizeof(*d->roles));
	d->bad_maps = calloc(parser->n_given + 1, sizeof(*d->bad_maps));
	d->opt.mount_options = calloc(parser->n_given + 1, sizeof(*d->opt.mount_options));
	if (!d->paths || !d->roles || !d->bad_maps || !d->opt.mount_options) {
		cli_error(NULL, "out of memory");
		exit(DUMP_FAILED);
	}
	while ((id = cli_next(parser, &value)) != CLI_END) {
		if (id == OPT_CACHE)
			d->roles[d->n_paths] = BCFMT_ROLE_CACHE;
		else if (id == OPT_BACKING)
			d->roles[d->n_paths] = BCFMT_ROLE_BACKING;
		if (id == CLI_OPERAND && parser->command_index == CMD_MOUNT && !d->opt.folder)
			d->opt.folder = value;
		else if (id == CLI_OPERAND || id == OPT_CACHE || id == OPT_BACKING)
			d->paths[d->n_paths++] = value;
		else if (id == OPT_BAD_MAP)
			d->bad_maps[d->n_bad_maps++] = value;
		else
			read_option(&d->opt, parser, id, value);
	}
	check(d);
}

void dump_options_free(struct dump *d)
{
	free(d->paths);
	free(d->roles);
	free(d->bad_maps);
	free(d->opt.mount_options);
	cli_parser_free(&d->parser);
}
