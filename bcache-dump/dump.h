/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What the commands of bcache-dump share: options, opened devices, output. */
#ifndef DUMP_H
#define DUMP_H

#include <bcfmt/image.h>
#include <bcfmt/render.h>
#include <bcfmt/set.h>

#include "cli/message.h"
#include "cli/open.h"
#include "cli/options.h"

enum dump_exit {
	DUMP_DONE = 0,
	DUMP_DAMAGED = 1, /* what could be read was printed */
	DUMP_USAGE = 2,
	DUMP_FAILED = 8,
};

enum dump_command {
	CMD_SUPER,
	CMD_JOURNAL,
	CMD_BTREE,
	CMD_KEYS,
	CMD_UUIDS,
	CMD_PRIOS,
	CMD_BUCKETS,
	CMD_VERDICT,
	CMD_EXPORT,
	CMD_IMAGE,
	CMD_RESTORE,
	CMD_MAP,
	CMD_MOUNT,
	CMD_REPORT,
	CMD_FILES,
	CMD_COUNT,
};

struct dump_options {
	bool has_json;
	bool has_force;
	bool is_quiet;
	bool is_verbose;
	bool with_keys;
	bool only_dirty;
	bool is_physical;
	bool with_text;
	bool with_history;

	bool has_seqs; /* seq_first..seq_last */
	bool has_inode;
	bool has_range; /* range_first..range_last, sectors of the keys */
	bool has_node;
	bool has_buckets; /* bucket_first..bucket_last */
	bool has_data_offset;
	uint64_t seq_first, seq_last;
	uint64_t range_first, range_last;
	uint64_t bucket_first, bucket_last;
	uint64_t node_bucket;
	uint64_t data_offset_sectors;
	uint32_t inode;

	const char *device; /* which volume; NULL: the only one */
	const char *output;
	const char *lost_map; /* of bcache-fsck --lost */
	const char *member; /* of an image; NULL: all */
	bool is_scrubbed;
	enum bcfmt_image_scan scan;
	uint64_t incarnation_seq;
	uint64_t max_bytes;
	unsigned int threads;
	int progress_fd; /* -1: none */

	const char *folder; /* to mount on */
	bool is_foreground;
	const char **mount_options;
	size_t n_mount_options;
};

struct dump {
	struct cli_parser parser;
	struct dump_options opt;
	const char **paths;
	enum bcfmt_role *roles;
	size_t n_paths;
	const char **bad_maps;
	size_t n_bad_maps;

	struct bcfmt_ctx *ctx;
	struct cli_devices devices;
	struct bcfmt_set *set; /* NULL for super and restore */
	struct bcfmt_out *out;
};

/* Reads the command line into *d; usage errors end the program. */
void dump_options_read(struct dump *d, int argc, char **argv);
void dump_options_free(struct dump *d);

/* One function a command; each prints and returns an enum dump_exit. */
int cmd_super(struct dump *d);
int cmd_journal(struct dump *d);
int cmd_btree(struct dump *d);
int cmd_keys(struct dump *d);
int cmd_uuids(struct dump *d);
int cmd_prios(struct dump *d);
int cmd_buckets(struct dump *d);
int cmd_verdict(struct dump *d);
int cmd_export(struct dump *d);
int cmd_image(struct dump *d);
int cmd_restore(struct dump *d);
int cmd_map(struct dump *d);
int cmd_files(struct dump *d);
int cmd_mount(struct dump *d);
int cmd_report(struct dump *d);

/* What the journal command prints, without a word on what is wrong. */
bcfmt_err journal_rows(struct dump *d);
/* Says what an image of d->set lacks that was asked for. True when there is any of it. */
bool image_tell_rest(const struct dump *d, const struct bcfmt_image_stats *stats);

/* Prints why a call of the library failed and returns the exit code for it. */
int dump_failed(struct dump *d, bcfmt_err err);
/* Name of the cache device, for messages. */
const char *dump_cache_name(const struct dump *d);

#endif
