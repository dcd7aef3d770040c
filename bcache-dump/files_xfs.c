/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Files of an XFS on lost ranges, as xfs_db names the owners of blocks. */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "child.h"

#define SUPER_BYTES 512u

struct owner;

struct xfs {
	struct files *files;
	uint64_t block_bytes;
	uint64_t blocks;
	uint64_t group_blocks;
	unsigned int group_shift; /* of the group in the number of a block */
	unsigned int inode_shift; /* of the block in the number of an inode */
	struct vec owners;	  /* struct owner, sorted when all are there */
	struct owner *at;	  /* whose map is being read; NULL: of none that is asked for */
	bool has_shared;	  /* blocks that are of several files */
};

/* A file, or metadata of one kind. */
struct owner {
	uint64_t inode; /* 0: metadata */
	char *name;	/* path, or what it is */
	const char *kind;
	struct files_hit hit;
	struct files_hit data; /* of it, in blocks of data */
};

static uint32_t be32(const uint8_t *raw)
{
	return (uint32_t)raw[0] << 24 | (uint32_t)raw[1] << 16 | (uint32_t)raw[2] << 8 | raw[3];
}

static bool read_super(struct xfs *xfs)
{
	uint8_t raw[SUPER_BYTES];

	if (!files_read(xfs->files, 0, raw, sizeof(raw)))
		return false;
	xfs->block_bytes = be32(raw + 4);
	xfs->blocks = (uint64_t)be32(raw + 8) << 32 | be32(raw + 12);
	xfs->group_blocks = be32(raw + 84);
	xfs->group_shift = raw[124];
	xfs->inode_shift = raw[123];
	/* Shifts and sizes that no XFS has would overflow. */
	return xfs->block_bytes >= 512 && xfs->block_bytes <= 65536 && xfs->group_blocks &&
	       xfs->group_shift < 32 && xfs->group_blocks <= 1ull << xfs->group_shift &&
	       xfs->inode_shift < 16 && xfs->blocks <= UINT64_MAX / 65536;
}

/* The number that xfs_db has for a block of the device. */
static uint64_t number_of(const struct xfs *xfs, uint64_t block)
{
	return block / xfs->group_blocks << xfs->group_shift | block % xfs->group_blocks;
}

static uint64_t block_of(const struct xfs *xfs, uint64_t number)
{
	uint64_t in_group = number & ((1ull << xfs->group_shift) - 1);

	return (number >> xfs->group_shift) * xfs->group_blocks + in_group;
}

/* Asks for every block on a range, group by group: that is how blocks are numbered. */
static void ask_for_range(const struct xfs *xfs, const struct files_range *range, FILE *input)
{
	uint64_t block = range->start / xfs->block_bytes;
	uint64_t end = range->end / xfs->block_bytes + (range->end % xfs->block_bytes > 0);

	end = end < xfs->blocks ? end : xfs->blocks;
	while (block < end) {
		uint64_t left = xfs->group_blocks - block % xfs->group_blocks;
		uint64_t n = end - block < left ? end - block : left;

		fprintf(input, "fsblock %" PRIu64 "\nblockuse -n -c %" PRIu64 "\n",
			number_of(xfs, block), n);
		block += n;
	}
}

static void ask_for_owners(const struct xfs *xfs, FILE *input)
{
	fprintf(input, "blockget -n\n");
	for (size_t i = 0; i < xfs->files->ranges.n; i++)
		ask_for_range(xfs, VEC_AT(&xfs->files->ranges, struct files_range, i), input);
}

static void ask_for_maps(const struct xfs *xfs, FILE *input)
{
	for (size_t i = 0; i < xfs->owners.n; i++) {
		const struct owner *owner = VEC_AT(&xfs->owners, struct owner, i);

		if (files_is_hit(&owner->data))
			fprintf(input, "inode %" PRIu64 "\ninode\nbmap\n", owner->inode);
	}
}

/* Blocks come in order: what the last ones belong to is near the end. */
static struct owner *find_owner(struct xfs *xfs, uint64_t inode, const char *name)
{
	for (size_t i = xfs->owners.n; i-- > 0 && i + 16 > xfs->owners.n;) {
		struct owner *owner = VEC_AT(&xfs->owners, struct owner, i);

		if (owner->inode == inode && !strcmp(owner->name, name))
			return owner;
	}
	return NULL;
}

static const char *kind_of(const char *type)
{
	if (!strcmp(type, "dir"))
		return "directory";
	return !strcmp(type, "symlink") ? "symlink" : "file";
}

static void add_hit(struct xfs *xfs, uint64_t block, uint64_t inode, const char *name,
		    const char *type)
{
	struct owner *owner = find_owner(xfs, inode, name);
	bool is_data = !strcmp(type, "data") || !strcmp(type, "rldata");
	uint64_t start = block * xfs->block_bytes;

	if (!owner) {
		owner = vec_push(&xfs->owners, sizeof(*owner));
		if (owner)
			*owner = (struct owner){ .inode = inode,
						 .name = strdup(name),
						 .kind = kind_of(type) };
		if (!owner || !owner->name) {
			xfs->owners.n -= owner != NULL;
			files_out_of_memory(xfs->files);
			return;
		}
	}
	if (files_overlap(xfs->files, start, start + xfs->block_bytes,
			  is_data ? &owner->data : &owner->hit)) {
		owner->hit.has_map |= !strncmp(type, "bmapbt", 6);
		xfs->has_shared |= !strcmp(type, "rldata");
	}
}

static const char *metadata_name(const char *type)
{
	static const struct {
		const char *type;
		const char *name;
	} names[] = {
		{ "sb", "superblock and headers of a group" },
		{ "log", "journal" },
		{ "btbno", "btree of free space by block" },
		{ "btcnt", "btree of free space by size" },
		{ "btino", "btree of inodes" },
		{ "btfino", "btree of free inodes" },
		{ "btrmap", "btree of owners" },
		{ "btrefcnt", "btree of shared blocks" },
		{ "freelist", "free list of a group" },
		{ "quota", "quotas" },
		{ "rtbitmap", "bitmap of the realtime device" },
		{ "rtsummary", "summary of the realtime device" },
	};

	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++)
		if (!strcmp(type, names[i].type))
			return names[i].name;
	return type;
}

static void take_metadata(struct xfs *xfs, uint64_t number, const char *type)
{
	char name[96];
	uint64_t first = number << xfs->inode_shift;

	if (strcmp(type, "inode")) {
		snprintf(name, sizeof(name), "%s", metadata_name(type));
	} else {
		snprintf(name, sizeof(name), "inodes %" PRIu64 "-%" PRIu64, first,
			 first + ((uint64_t)1 << xfs->inode_shift) - 1);
	}
	add_hit(xfs, block_of(xfs, number), 0, name, type);
}

/* "block 32792 (1/24) type data inode 262273 d/one"; free ones belong to nobody. */
static bool take_line(void *arg, char *line)
{
	struct xfs *xfs = arg;
	uint64_t number, inode;
	char type[32];
	int behind = 0, name = 0;

	if (sscanf(line, "block %" SCNu64 " (%*u/%*u) type %31s%n", &number, type, &behind) < 2 ||
	    !behind || !strcmp(type, "free1") || !strcmp(type, "free2"))
		return true;
	if (sscanf(line + behind, " inode %" SCNu64 "%n", &inode, &name) < 1) {
		take_metadata(xfs, number, type);
		return !xfs->files->err;
	}
	name += behind;
	name += line[name] == ' ';
	add_hit(xfs, block_of(xfs, number), inode, line + name, type);
	return !xfs->files->err;
}

static int owner_cmp(const void *a, const void *b)
{
	const struct owner *x = a, *y = b;
	int order = strcmp(x->name, y->name);

	if (order)
		return order;
	return x->inode < y->inode ? -1 : x->inode > y->inode;
}

static void add_hits(struct files_hit *to, const struct files_hit *from)
{
	to->lost_bytes += from->lost_bytes;
	to->doubtful_bytes += from->doubtful_bytes;
	to->has_map |= from->has_map;
	if (from->has_first && (!to->has_first || from->first_byte < to->first_byte))
		to->first_byte = from->first_byte;
	to->has_first |= from->has_first;
}

/* What was met in several places is one. */
static void merge_owners(struct xfs *xfs)
{
	struct owner *owners = xfs->owners.items;
	size_t kept = 0;

	if (xfs->owners.n)
		qsort(owners, xfs->owners.n, sizeof(*owners), owner_cmp);
	for (size_t i = 0; i < xfs->owners.n; i++) {
		if (!kept || owner_cmp(&owners[kept - 1], &owners[i])) {
			owners[kept++] = owners[i];
			continue;
		}
		add_hits(&owners[kept - 1].hit, &owners[i].hit);
		add_hits(&owners[kept - 1].data, &owners[i].data);
		free(owners[i].name);
	}
	xfs->owners.n = kept;
}

/* ---- where in a file ---- */

static struct owner *owner_of(struct xfs *xfs, uint64_t inode)
{
	for (size_t i = 0; inode && i < xfs->owners.n; i++) {
		struct owner *owner = VEC_AT(&xfs->owners, struct owner, i);

		if (owner->inode == inode && files_is_hit(&owner->data))
			return owner;
	}
	return NULL;
}

/*
 * "data offset 0 startblock 32792 (1/24) count 49 flag 0" behind "current inode number is 262273":
 * the place in the file, and with flag 1 what was only reserved and reads as zeros.
 */
static bool take_map_line(void *arg, char *line)
{
	struct xfs *xfs = arg;
	uint64_t inode, place, number, count, start;
	unsigned int flag;
	struct owner *owner;

	if (sscanf(line, "current inode number is %" SCNu64, &inode) == 1) {
		owner = owner_of(xfs, inode);
		if (owner)
			owner->data = (struct files_hit){ 0 };
		xfs->at = owner;
		return true;
	}
	if (!xfs->at ||
	    sscanf(line,
		   "data offset %" SCNu64 " startblock %" SCNu64 " (%*u/%*u) count %" SCNu64
		   " flag %u",
		   &place, &number, &count, &flag) != 4 ||
	    flag || place > UINT64_MAX / 65536)
		return true;
	start = block_of(xfs, number);
	if (start < xfs->blocks && count <= xfs->blocks - start)
		files_overlap_data(xfs->files, start * xfs->block_bytes,
				   (start + count) * xfs->block_bytes, place * xfs->block_bytes,
				   &xfs->at->data);
	return true;
}

static void tell_owner(struct xfs *xfs, const struct owner *owner)
{
	struct files_hit hit = owner->hit;
	char *path = NULL;

	add_hits(&hit, &owner->data);
	if (!files_is_hit(&hit))
		return;
	if (!owner->inode) {
		files_tell_metadata(xfs->files, owner->name, &hit);
		return;
	}
	if (*owner->name && asprintf(&path, "/%s", owner->name) < 0) {
		files_out_of_memory(xfs->files);
		return;
	}
	files_tell_file(xfs->files, owner->kind, path, owner->inode, &hit);
	free(path);
}

/* Asks xfs_db; put writes the questions. */
static int ask(struct xfs *xfs, const char *path, void (*put)(const struct xfs *xfs, FILE *input),
	       child_line_fn line)
{
	const char *const args[] = { "-r", path, NULL };
	struct child child = {
		.files = xfs->files,
		.program = "xfs_db",
		.package = "xfsprogs",
		.args = args,
		.input = tmpfile(),
		.line = line,
		.arg = xfs,
	};
	int code = DUMP_FAILED;

	if (child.input) {
		put(xfs, child.input);
		fprintf(child.input, "quit\n");
	}
	if (!child.input || fflush(child.input) || fseek(child.input, 0, SEEK_SET))
		cli_error(NULL, "no temporary file for the questions to xfs_db");
	else
		code = child_run(&child);
	if (child.input)
		fclose(child.input);
	return code;
}

static int look(struct xfs *xfs, const char *path)
{
	int code = ask(xfs, path, ask_for_owners, take_line);

	merge_owners(xfs);
	if (!code)
		code = ask(xfs, path, ask_for_maps, take_map_line);
	if (!code && xfs->has_shared)
		files_tell_partial(xfs->files, "xfs_db",
				   "of files that share blocks it names only one");
	for (size_t i = 0; i < xfs->owners.n && !code; i++)
		tell_owner(xfs, VEC_AT(&xfs->owners, struct owner, i));
	return code;
}

int files_xfs(struct files *files)
{
	struct xfs xfs = { .files = files };
	struct volume_file file = { 0 };
	int code;

	if (!read_super(&xfs)) {
		cli_error(NULL, "the superblock of the XFS cannot be used");
		return DUMP_DAMAGED;
	}
	code = volume_file_make(files, &file);
	if (!code)
		code = look(&xfs, file.path);
	for (size_t i = 0; i < xfs.owners.n; i++)
		free(VEC_AT(&xfs.owners, struct owner, i)->name);
	vec_free(&xfs.owners);
	volume_file_remove(&file);
	return code;
}
