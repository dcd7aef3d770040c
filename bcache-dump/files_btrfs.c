/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Files of a btrfs on lost ranges, from what btrfs inspect-internal dump-tree prints. */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/bytes.h"

#include "child.h"

#define SUPER_OFFSET 65536u
#define SUPER_BYTES 4096u
#define FS_TREE 5u
#define COPIES_MAX 4u
#define CHUNKS_MAX (1u << 20)
#define DIRECTORIES_MAX (1u << 22)
/* Names of one inode; there may be more, and these are told. */
#define NAMES_MAX 64u
/* Folders in folders; more there are only where they form a ring. */
#define DEPTH_MAX 512u

/* Where bytes [start, end) of the file system lie on the device. */
struct chunk {
	uint64_t start;
	uint64_t end;
	uint64_t place[COPIES_MAX];
	unsigned int copies;
};

/* The name of a directory, or of a subvolume (inode 0) in its parent. */
struct directory {
	uint64_t tree;
	uint64_t inode;
	uint64_t parent_tree;
	uint64_t parent;
	char *name;
};

struct name {
	uint64_t parent;
	char *text;
};

struct broken_file {
	uint64_t tree;
	uint64_t inode;
	struct files_hit hit;
	struct name *names;
	size_t n_names;
	const char *kind;
};

struct btrfs {
	struct files *files;
	uint64_t node_bytes;
	struct vec chunks;	/* struct chunk, ascending */
	struct vec directories; /* struct directory, sorted when all are there */
	struct vec broken;	/* struct broken_file */
	/* Where in the text we are. */
	uint64_t tree; /* whose items these are; 0: no tree of files */
	uint64_t key_object, key_offset;
	char key_type[24];
	struct broken_file at; /* the inode whose items these are */
	bool has_data;
	uint64_t disk_byte, disk_bytes, data_offset, data_bytes;
	bool is_prealloc;
};

/* ---- where things lie ---- */

static const struct chunk *chunk_of(const struct btrfs *fs, uint64_t at)
{
	size_t low = 0, high = fs->chunks.n;

	while (low < high) {
		size_t mid = low + (high - low) / 2;

		if (VEC_AT(&fs->chunks, struct chunk, mid)->end <= at)
			low = mid + 1;
		else
			high = mid;
	}
	if (low == fs->chunks.n || VEC_AT(&fs->chunks, struct chunk, low)->start > at)
		return NULL;
	return VEC_AT(&fs->chunks, struct chunk, low);
}

/*
 * Adds what of [start, end) is on the ranges in every copy that there is. With one whole copy
 * nothing is lost: then only *is_degraded is set.
 */
static bool overlap(const struct btrfs *fs, uint64_t start, uint64_t end, uint64_t file_byte,
		    struct files_hit *hit, bool *is_degraded)
{
	const struct chunk *chunk = chunk_of(fs, start);
	struct files_hit least = { 0 };
	unsigned int broken = 0;

	if (!chunk || end > chunk->end)
		return false;
	for (unsigned int i = 0; i < chunk->copies; i++) {
		uint64_t place = chunk->place[i] + (start - chunk->start);
		struct files_hit of_copy = { 0 };

		if (place < fs->files->bytes && end - start <= fs->files->bytes - place)
			files_overlap_data(fs->files, place, place + (end - start), file_byte,
					   &of_copy);
		if (files_is_hit(&of_copy) &&
		    (!broken++ || of_copy.lost_bytes + of_copy.doubtful_bytes <
					  least.lost_bytes + least.doubtful_bytes))
			least = of_copy;
	}
	*is_degraded = broken && broken < chunk->copies;
	if (!broken || *is_degraded)
		return false;
	hit->lost_bytes += least.lost_bytes;
	hit->doubtful_bytes += least.doubtful_bytes;
	if (!hit->has_first || least.first_byte < hit->first_byte)
		hit->first_byte = least.first_byte;
	hit->has_first = true;
	return true;
}

/* ---- the chunk tree ---- */

static bool take_chunk_line(void *arg, char *line)
{
	struct btrfs *fs = arg;
	struct chunk *chunk =
		fs->chunks.n ? VEC_AT(&fs->chunks, struct chunk, fs->chunks.n - 1) : NULL;
	uint64_t start, length, offset;

	if (sscanf(line, " item %*u key (FIRST_CHUNK_TREE CHUNK_ITEM %" SCNu64 ")", &start) == 1) {
		if (fs->chunks.n == CHUNKS_MAX)
			return false;
		chunk = vec_push(&fs->chunks, sizeof(*chunk));
		if (!chunk)
			files_out_of_memory(fs->files);
		if (chunk)
			*chunk = (struct chunk){ .start = start, .end = start };
		return chunk != NULL;
	}
	if (!chunk)
		return true;
	if (sscanf(line, " length %" SCNu64 " owner", &length) == 1 &&
	    length <= UINT64_MAX - chunk->start)
		chunk->end = chunk->start + length;
	else if (sscanf(line, " stripe %*u devid %*u offset %" SCNu64, &offset) == 1 &&
		 chunk->copies < COPIES_MAX)
		chunk->place[chunk->copies++] = offset;
	return true;
}

static int chunk_cmp(const void *a, const void *b)
{
	const struct chunk *x = a, *y = b;

	return x->start < y->start ? -1 : x->start > y->start;
}

/* ---- trees of files ---- */

static void drop_names(struct broken_file *file)
{
	for (size_t i = 0; i < file->n_names; i++)
		free(file->names[i].text);
	free(file->names);
	file->names = NULL;
	file->n_names = 0;
}

/* The items of an inode are at their end: it is kept when its data is on a range. */
static void end_inode(struct btrfs *fs)
{
	struct broken_file *slot;

	if (fs->at.inode && files_is_hit(&fs->at.hit)) {
		slot = vec_push(&fs->broken, sizeof(*slot));
		if (!slot)
			files_out_of_memory(fs->files);
		if (slot) {
			*slot = fs->at;
			fs->at.names = NULL;
			fs->at.n_names = 0;
		}
	}
	drop_names(&fs->at);
	fs->at = (struct broken_file){ .kind = "file" };
}

static void begin_inode(struct btrfs *fs, uint64_t inode)
{
	if (fs->at.inode == inode && fs->at.tree == fs->tree)
		return;
	end_inode(fs);
	fs->at.tree = fs->tree;
	fs->at.inode = inode;
}

static void add_directory(struct btrfs *fs, uint64_t tree, uint64_t inode, uint64_t parent_tree,
			  uint64_t parent, const char *name)
{
	struct directory *slot;

	if (fs->directories.n == DIRECTORIES_MAX) {
		files_tell_partial(fs->files, "the names", "too many folders");
		return;
	}
	slot = vec_push(&fs->directories, sizeof(*slot));
	if (slot)
		*slot = (struct directory){ tree, inode, parent_tree, parent, strdup(name) };
	if (!slot || !slot->name) {
		fs->directories.n -= slot != NULL;
		files_out_of_memory(fs->files);
	}
}

static void add_name(struct btrfs *fs, uint64_t parent, const char *text)
{
	struct broken_file *at = &fs->at;
	struct name *grown;

	if (!strcmp(at->kind, "directory")) {
		/* The root of a tree is its own parent. */
		if (parent != at->inode)
			add_directory(fs, at->tree, at->inode, at->tree, parent, text);
		return;
	}
	if (at->n_names == NAMES_MAX)
		return;
	grown = realloc(at->names, (at->n_names + 1) * sizeof(*grown));
	if (grown) {
		at->names = grown;
		grown[at->n_names] = (struct name){ parent, strdup(text) };
		if (grown[at->n_names].text) {
			at->n_names++;
			return;
		}
	}
	files_out_of_memory(fs->files);
}

static void take_extent(struct btrfs *fs, unsigned int compression)
{
	uint64_t start = fs->disk_byte, end = start + fs->disk_bytes;
	bool is_degraded = false;

	if (!fs->has_data || fs->is_prealloc || !start)
		return;
	/* Of what is compressed every byte needs all of it. */
	if (!compression && fs->data_offset <= fs->disk_bytes &&
	    fs->data_bytes <= fs->disk_bytes - fs->data_offset) {
		start += fs->data_offset;
		end = start + fs->data_bytes;
	}
	fs->has_data = false;
	if (end > start)
		overlap(fs, start, end, fs->key_offset, &fs->at.hit, &is_degraded);
}

/* The text behind "name: ". */
static const char *name_in(const char *line)
{
	const char *name = strstr(line, "name: ");

	return name ? name + 6 : NULL;
}

static void take_inode_line(struct btrfs *fs, const char *line)
{
	unsigned int mode, compression, type;
	uint64_t parent = fs->key_offset;
	const char *name;

	if (!strcmp(fs->key_type, "INODE_ITEM")) {
		if (sscanf(line, " block group %*u mode %o", &mode) == 1)
			fs->at.kind = (mode & 0170000) == 0040000   ? "directory"
				      : (mode & 0170000) == 0120000 ? "symlink"
								    : "file";
	} else if (!strcmp(fs->key_type, "INODE_REF") || !strcmp(fs->key_type, "INODE_EXTREF")) {
		name = name_in(line);
		if (!strcmp(fs->key_type, "INODE_EXTREF") &&
		    sscanf(line, " index %*u parent %" SCNu64, &parent) != 1)
			name = NULL;
		if (name)
			add_name(fs, parent, name);
	} else if (!strcmp(fs->key_type, "EXTENT_DATA")) {
		if (sscanf(line, " generation %*u type %u", &type) == 1)
			fs->is_prealloc = type != 1;
		else if (sscanf(line, " extent data disk byte %" SCNu64 " nr %" SCNu64,
				&fs->disk_byte, &fs->disk_bytes) == 2)
			fs->has_data = fs->disk_bytes <= UINT64_MAX - fs->disk_byte;
		else if (sscanf(line, " extent data offset %" SCNu64 " nr %" SCNu64,
				&fs->data_offset, &fs->data_bytes) == 2)
			;
		else if (sscanf(line, " extent compression %u", &compression) == 1)
			take_extent(fs, compression);
	}
}

static uint64_t tree_number(const char *text)
{
	uint64_t number;

	if (!strncmp(text, "FS_TREE", 7))
		return FS_TREE;
	return sscanf(text, "%" SCNu64, &number) == 1 ? number : 0;
}

/* "leaf 30441472 items 32 ... owner FS_TREE": a block of a tree. */
static void take_tree_block(struct btrfs *fs, const char *line)
{
	const char *owner = strstr(line, " owner ");
	struct files_hit hit = { 0 };
	bool is_degraded;
	char what[96];
	uint64_t at;

	if (sscanf(line, "%*s %" SCNu64, &at) != 1 || at > UINT64_MAX - fs->node_bytes || !owner ||
	    !strstr(line, " items "))
		return;
	overlap(fs, at, at + fs->node_bytes, 0, &hit, &is_degraded);
	hit.has_first = false;
	snprintf(what, sizeof(what), "tree block %" PRIu64 " of %.40s", at, owner + 7);
	if (files_is_hit(&hit))
		files_tell_metadata(fs->files, what, &hit);
}

/* The root tree says what subvolumes are called. */
static void take_root_ref(struct btrfs *fs, const char *line)
{
	uint64_t directory;
	const char *name = strstr(line, " name ");

	if (name && sscanf(line, " root ref key dirid %" SCNu64, &directory) == 1)
		add_directory(fs, fs->key_offset, 0, fs->key_object, directory, name + 6);
}

static bool take_key(struct btrfs *fs, const char *line)
{
	char object[32], offset[32];

	if (sscanf(line, " item %*u key (%31s %23s %31[^)])", object, fs->key_type, offset) != 3)
		return false;
	fs->key_object = tree_number(object);
	fs->key_offset = tree_number(offset);
	if (fs->tree)
		begin_inode(fs, fs->key_object);
	return true;
}

static bool take_line(void *arg, char *line)
{
	struct btrfs *fs = arg;
	char *key;

	if (!strncmp(line, "leaf ", 5) || !strncmp(line, "node ", 5)) {
		take_tree_block(fs, line);
	} else if (*line && *line != '\t' && *line != ' ' && (key = strstr(line, "tree"))) {
		end_inode(fs);
		key = strchr(key, '(');
		fs->tree = key && (!strncmp(line, "fs tree", 7) || !strncmp(line, "file tree", 9))
				   ? tree_number(key + 1)
				   : 0;
	} else if (!take_key(fs, line)) {
		if (fs->tree)
			take_inode_line(fs, line);
		else if (!strcmp(fs->key_type, "ROOT_REF"))
			take_root_ref(fs, line);
	}
	return !fs->files->err;
}

/* ---- names ---- */

static int directory_cmp(const void *a, const void *b)
{
	const struct directory *x = a, *y = b;

	if (x->tree != y->tree)
		return x->tree < y->tree ? -1 : 1;
	return x->inode < y->inode ? -1 : x->inode > y->inode;
}

static const struct directory *find_directory(const struct btrfs *fs, uint64_t tree, uint64_t inode)
{
	struct directory key = { .tree = tree, .inode = inode };

	return fs->directories.n ? bsearch(&key, fs->directories.items, fs->directories.n,
					   sizeof(key), directory_cmp)
				 : NULL;
}

/* "/" before what is there already. */
static bool put_before(char **path, const char *name)
{
	char *longer;

	if (asprintf(&longer, "/%s%s", name, *path) < 0)
		return false;
	free(*path);
	*path = longer;
	return true;
}

/* From the file up to the root of the file system; NULL without memory. */
static char *path_of(const struct btrfs *fs, uint64_t tree, uint64_t parent, const char *name)
{
	char *path = strdup("");
	bool is_good = path && put_before(&path, name);

	for (unsigned int depth = 0; is_good && depth < DEPTH_MAX; depth++) {
		const struct directory *up = find_directory(fs, tree, parent);

		/* The root of a tree has no name in it, but may have one in another. */
		if (!up)
			up = find_directory(fs, tree, 0);
		if (!up)
			break;
		is_good = put_before(&path, up->name);
		tree = up->parent_tree;
		parent = up->parent;
	}
	if (is_good)
		return path;
	free(path);
	return NULL;
}

static void tell_file(struct btrfs *fs, const struct broken_file *file)
{
	for (size_t i = 0; i < file->n_names; i++) {
		char *path = path_of(fs, file->tree, file->names[i].parent, file->names[i].text);

		if (!path)
			files_out_of_memory(fs->files);
		files_tell_file(fs->files, file->kind, path, file->inode, &file->hit);
		free(path);
	}
	if (!file->n_names)
		files_tell_file(fs->files, file->kind, NULL, file->inode, &file->hit);
}

static void tell_supers(struct btrfs *fs)
{
	static const uint64_t places[] = { SUPER_OFFSET, 64ull << 20, 256ull << 30 };

	for (size_t i = 0; i < sizeof(places) / sizeof(places[0]); i++) {
		struct files_hit hit = { 0 };

		if (files_overlap(fs->files, places[i], places[i] + SUPER_BYTES, &hit))
			files_tell_metadata(fs->files, i ? "copy of the superblock" : "superblock",
					    &hit);
	}
}

static int dump_tree(struct btrfs *fs, const char *path, bool only_chunks, child_line_fn line)
{
	const char *const chunks[] = { "inspect-internal", "dump-tree", "-t", "chunk", path, NULL };
	const char *const all[] = { "inspect-internal", "dump-tree", path, NULL };
	struct child child = {
		.files = fs->files,
		.program = "btrfs",
		.package = "btrfs-progs",
		.args = only_chunks ? chunks : all,
		.line = line,
		.arg = fs,
	};

	return child_run(&child);
}

static int look(struct btrfs *fs, const char *path)
{
	int code = dump_tree(fs, path, true, take_chunk_line);

	if (code)
		return code;
	if (fs->chunks.n)
		qsort(fs->chunks.items, fs->chunks.n, sizeof(struct chunk), chunk_cmp);
	tell_supers(fs);
	code = dump_tree(fs, path, false, take_line);
	end_inode(fs);
	if (fs->directories.n)
		qsort(fs->directories.items, fs->directories.n, sizeof(struct directory),
		      directory_cmp);
	for (size_t i = 0; i < fs->broken.n && !code; i++)
		tell_file(fs, VEC_AT(&fs->broken, struct broken_file, i));
	return code;
}

static void clear(struct btrfs *fs)
{
	for (size_t i = 0; i < fs->broken.n; i++)
		drop_names(VEC_AT(&fs->broken, struct broken_file, i));
	for (size_t i = 0; i < fs->directories.n; i++)
		free(VEC_AT(&fs->directories, struct directory, i)->name);
	vec_free(&fs->broken);
	vec_free(&fs->directories);
	vec_free(&fs->chunks);
	drop_names(&fs->at);
}

int files_btrfs(struct files *files)
{
	struct btrfs fs = { .files = files, .at = { .kind = "file" } };
	struct volume_file file = { 0 };
	uint8_t super[SUPER_BYTES];
	int code;

	if (!files_read(files, SUPER_OFFSET, super, sizeof(super)))
		return DUMP_DAMAGED;
	fs.node_bytes = load_le32(super + 0x94);
	if (load_le64(super + 0x88) != 1) {
		cli_error(NULL,
			  "the btrfs has %" PRIu64 " devices: only one of one device can be "
			  "looked at",
			  load_le64(super + 0x88));
		return DUMP_DAMAGED;
	}
	code = volume_file_make(files, &file);
	if (!code)
		code = look(&fs, file.path);
	clear(&fs);
	volume_file_remove(&file);
	return code;
}
