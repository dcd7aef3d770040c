/* SPDX-License-Identifier: GPL-2.0-or-later */
/* bcache-dump restore: the devices of a metadata image, as sparse files that programs can use. */
#include "dump.h"
#include "sink.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "cli/image.h"

#define ZEROS_BYTES (1u << 16)

struct restore {
	struct dump *d;
	struct bcfmt_dev *file; /* owned by image */
	struct bcfmt_image *image;
	const struct bcfmt_image_member *members;
	size_t n_members;

	/* The member at hand. */
	const struct bcfmt_image_member *member;
	const char *output;
	struct sink *sink;     /* to a file or stream, from front to back */
	struct bcfmt_dev *dev; /* to a block device, only what the image has */
	uint64_t done_bytes;   /* what the sink has */
	uint64_t content_bytes;
	uint64_t hole_sectors;
	FILE *map;
	uint64_t map_bytes; /* mapped so far */
};

/* ---- where it goes ------------------------------------------------------------------------- */

static int failed(struct restore *rs, bcfmt_err err)
{
	return dump_failed(rs->d, err);
}

static int failed_errno(const char *path, const char *what)
{
	cli_error(path, "%s: %s", what, strerror(errno));
	return DUMP_FAILED;
}

static bcfmt_err to_sink(struct restore *rs, enum bcfmt_image_part part, uint64_t offset_bytes,
			 const uint8_t *bytes, uint64_t len_bytes)
{
	bcfmt_err err;

	if (part != BCFMT_IMAGE_DATA)
		return BCFMT_OK;
	err = sink_zeros(rs->sink, offset_bytes - rs->done_bytes);
	if (!err)
		err = sink_write(rs->sink, bytes, (size_t)len_bytes);
	rs->done_bytes = offset_bytes + len_bytes;
	return err;
}

static bcfmt_err zeros_to_device(struct restore *rs, uint64_t offset_bytes, uint64_t len_bytes)
{
	static const uint8_t zeros[ZEROS_BYTES];
	bcfmt_err err = BCFMT_OK;

	while (len_bytes && !err) {
		size_t part = len_bytes < sizeof(zeros) ? (size_t)len_bytes : sizeof(zeros);

		err = bcfmt_dev_write(rs->dev, offset_bytes, zeros, part);
		offset_bytes += part;
		len_bytes -= part;
	}
	return err;
}

static bcfmt_err take_part(void *arg, enum bcfmt_image_part part, uint64_t offset_bytes,
			   const uint8_t *bytes, uint64_t len_bytes)
{
	struct restore *rs = arg;

	if (part == BCFMT_IMAGE_DATA)
		rs->content_bytes += len_bytes;
	if (part == BCFMT_IMAGE_HOLE)
		rs->hole_sectors += len_bytes / BCFMT_SECTOR_BYTES;
	if (rs->sink)
		return to_sink(rs, part, offset_bytes, bytes, len_bytes);
	if (part == BCFMT_IMAGE_DATA)
		return bcfmt_dev_write(rs->dev, offset_bytes, bytes, (size_t)len_bytes);
	return part == BCFMT_IMAGE_ZEROS ? zeros_to_device(rs, offset_bytes, len_bytes) : BCFMT_OK;
}

/* ---- what could not be read, for --bad-map ------------------------------------------------- */

static bool map_block(struct restore *rs, uint64_t end_bytes, char status)
{
	uint64_t begin = rs->map_bytes;

	rs->map_bytes = end_bytes;
	return begin == end_bytes || fprintf(rs->map, "0x%08" PRIX64 "  0x%08" PRIX64 "  %c\n",
					     begin, end_bytes - begin, status) > 0;
}

static bcfmt_err map_part(void *arg, enum bcfmt_image_part part, uint64_t offset_bytes,
			  const uint8_t *bytes, uint64_t len_bytes)
{
	struct restore *rs = arg;

	(void)bytes;
	if (part != BCFMT_IMAGE_HOLE || offset_bytes < rs->map_bytes)
		return BCFMT_OK;
	if (!map_block(rs, offset_bytes, '+') || !map_block(rs, offset_bytes + len_bytes, '-'))
		return BCFMT_E_IO;
	return BCFMT_OK;
}

/* A ddrescue mapfile beside the file that a member went to. */
static int write_map(struct restore *rs, size_t index, const char *output)
{
	char *path = NULL;
	bool is_written;
	bcfmt_err err;

	rs->member = &rs->members[index];
	if (asprintf(&path, "%s.map", output) < 0)
		return failed(rs, BCFMT_E_NOMEM);
	rs->map = fopen(path, rs->d->opt.has_force ? "we" : "wxe");
	if (!rs->map) {
		int code = failed_errno(path, "cannot create");

		free(path);
		return code;
	}
	rs->map_bytes = 0;
	is_written = fprintf(rs->map, "# Mapfile. Made by bcache-dump restore\n"
				      "# current_pos  current_status\n0x00000000     +\n"
				      "#      pos        size  status\n") > 0;
	err = bcfmt_image_walk(rs->image, index, map_part, rs);
	is_written = is_written && !err && map_block(rs, rs->member->bytes, '+');
	is_written = !fclose(rs->map) && is_written;
	if (!is_written)
		cli_error(path, "cannot write");
	else if (!rs->d->opt.is_quiet)
		cli_error(output, "not all of it is in the image: use it with --bad-map %s", path);
	free(path);
	return is_written ? DUMP_DONE : DUMP_FAILED;
}

/* ---- one member ---------------------------------------------------------------------------- */

static int open_device(struct restore *rs)
{
	bcfmt_err err;

	if (!rs->d->opt.has_force) {
		cli_error(rs->output, "is a block device: --force writes the metadata over what is "
				      "there");
		return DUMP_FAILED;
	}
	err = bcfmt_dev_open(rs->d->ctx, rs->output, BCFMT_OPEN_WRITE | BCFMT_OPEN_EXCLUSIVE,
			     &rs->dev);
	if (err)
		return failed(rs, err);
	if (bcfmt_dev_bytes(rs->dev) >= rs->member->bytes)
		return DUMP_DONE;
	cli_error(rs->output, "too small: %" PRIu64 " bytes, %s has %" PRIu64,
		  bcfmt_dev_bytes(rs->dev), rs->member->name, rs->member->bytes);
	return DUMP_FAILED;
}

static int open_output(struct restore *rs)
{
	bool is_stream = !strcmp(rs->output, "-");
	struct stat st;
	bcfmt_err err;

	if (!is_stream && !stat(rs->output, &st)) {
		if (S_ISBLK(st.st_mode))
			return open_device(rs);
		if (S_ISREG(st.st_mode) && !rs->d->opt.has_force) {
			cli_error(rs->output, "is there already: --force overwrites it");
			return DUMP_FAILED;
		}
	}
	err = sink_open(rs->d->ctx, rs->output, rs->member->bytes, &rs->file, 1, &rs->sink);
	return err ? failed(rs, err) : DUMP_DONE;
}

static bcfmt_err write_member(struct restore *rs)
{
	bcfmt_err err =
		bcfmt_image_walk(rs->image, (size_t)(rs->member - rs->members), take_part, rs);

	if (err || !rs->sink)
		return err ? err : bcfmt_dev_flush(rs->dev);
	err = sink_zeros(rs->sink, rs->member->bytes - rs->done_bytes);
	return err ? err : sink_commit(rs->sink);
}

static void result_row(struct restore *rs)
{
	struct bcfmt_out *out = rs->d->out;

	bcfmt_row_begin(out, "restored");
	bcfmt_row_text(out, "member", rs->member->name);
	if (rs->member->source[0])
		bcfmt_row_text(out, "source", rs->member->source);
	bcfmt_row_text(out, "output", rs->output);
	bcfmt_row_u64(out, "bytes", rs->member->bytes);
	bcfmt_row_u64(out, "metadata_bytes", rs->content_bytes);
	if (rs->hole_sectors)
		bcfmt_row_u64(out, "unreadable_sectors", rs->hole_sectors);
	bcfmt_row_end(out);
}

/* *has_holes: the file lacks something, and a map of it is still to be written. */
static int restore_member(struct restore *rs, size_t index, const char *output, bool *has_holes)
{
	bool has_name = strcmp(output, "-") != 0;
	bcfmt_err err;
	int code;

	rs->member = &rs->members[index];
	rs->output = output;
	rs->done_bytes = rs->content_bytes = rs->hole_sectors = 0;
	code = open_output(rs);
	if (!code) {
		err = write_member(rs);
		code = err ? failed(rs, err) : DUMP_DONE;
	}
	*has_holes = rs->hole_sectors && rs->sink && sink_is_sparse(rs->sink);
	if (!code && rs->hole_sectors && !*has_holes)
		cli_error(rs->output,
			  "%" PRIu64 " sectors of %s are not in the image, and not in the output",
			  rs->hole_sectors, rs->member->name);
	if (!code && has_name && !rs->d->opt.is_quiet)
		result_row(rs);
	sink_free(rs->sink);
	rs->sink = NULL;
	bcfmt_dev_free(rs->dev);
	rs->dev = NULL;
	return code;
}

/* ---- all of them --------------------------------------------------------------------------- */

static char *folder_path(const struct restore *rs, size_t index)
{
	char *path = NULL;

	if (asprintf(&path, "%s/%s.img", rs->d->opt.output, rs->members[index].name) < 0)
		return NULL;
	return path;
}

/* Maps belong to devices by their order: where one has a map, all have. */
static int restore_folder(struct restore *rs)
{
	bool has_holes = false;
	int code = DUMP_DONE;

	if (mkdir(rs->d->opt.output, 0777) && errno != EEXIST)
		return failed_errno(rs->d->opt.output, "cannot create");
	for (size_t i = 0; i < rs->n_members && !code; i++) {
		char *path = folder_path(rs, i);
		bool has_any = false;

		code = path ? restore_member(rs, i, path, &has_any) : failed(rs, BCFMT_E_NOMEM);
		has_holes |= has_any;
		free(path);
	}
	for (size_t i = 0; i < rs->n_members && !code && has_holes; i++) {
		char *path = folder_path(rs, i);

		code = path ? write_map(rs, i, path) : failed(rs, BCFMT_E_NOMEM);
		free(path);
	}
	return code;
}

static int restore_one(struct restore *rs)
{
	const char *wanted = rs->d->opt.member, *output = rs->d->opt.output;

	for (size_t i = 0; i < rs->n_members; i++) {
		bool has_holes = false;
		int code;

		if (wanted && strcmp(rs->members[i].name, wanted))
			continue;
		code = restore_member(rs, i, output, &has_holes);
		return code || !has_holes ? code : write_map(rs, i, output);
	}
	cli_error(rs->d->paths[0], "has no member '%s'", wanted);
	for (size_t i = 0; i < rs->n_members; i++)
		cli_error(rs->d->paths[0], "member %s", rs->members[i].name);
	return DUMP_USAGE;
}

/* A folder for several members, or where there is one. */
static bool is_for_folder(const struct restore *rs)
{
	const char *output = rs->d->opt.output;
	size_t len = strlen(output);
	struct stat st;

	if (rs->d->opt.member)
		return false;
	if (!stat(output, &st))
		return S_ISDIR(st.st_mode);
	return strcmp(output, "-") && (rs->n_members > 1 || (len && output[len - 1] == '/'));
}

static int restore_all(struct restore *rs)
{
	int code;

	rs->members = bcfmt_image_members(rs->image, &rs->n_members);
	if (is_for_folder(rs)) {
		code = restore_folder(rs);
	} else if (rs->n_members > 1 && !rs->d->opt.member) {
		cli_error(rs->d->paths[0],
			  "has %zu members: -o takes a folder, or --member says "
			  "which",
			  rs->n_members);
		return DUMP_USAGE;
	} else {
		code = restore_one(rs);
	}
	/* What could be restored was: the rest is told. */
	if (cli_image_tell_losses(bcfmt_dev_name(rs->file), rs->image) && !code)
		code = DUMP_DAMAGED;
	return code;
}

/* ---- the image ----------------------------------------------------------------------------- */

static bcfmt_err spool(struct restore *rs, const char *name, int fd)
{
	bcfmt_err err = bcfmt_dev_spool(rs->d->ctx, name, fd, &rs->file);

	if (fd != STDIN_FILENO)
		close(fd);
	return err;
}

/* A pipe is read to its end first: what is whole of an image is known from the end. */
static bcfmt_err open_file(struct restore *rs)
{
	const char *path = rs->d->paths[0];
	struct stat st;
	int fd;

	if (!strcmp(path, "-"))
		return spool(rs, "standard input", STDIN_FILENO);
	if (stat(path, &st) || S_ISREG(st.st_mode) || S_ISBLK(st.st_mode) || S_ISDIR(st.st_mode))
		return bcfmt_dev_open(rs->d->ctx, path, 0, &rs->file);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return bcfmt_fail(rs->d->ctx, BCFMT_E_SYSTEM, "%s: cannot open: %s", path,
				  strerror(errno));
	return spool(rs, path, fd);
}

int cmd_restore(struct dump *d)
{
	struct restore rs = { .d = d };
	bcfmt_err err = open_file(&rs);
	int code;

	if (err)
		return dump_failed(d, err);
	err = bcfmt_image_open(d->ctx, rs.file, &rs.image);
	if (err) {
		bcfmt_dev_free(rs.file);
		return dump_failed(d, err);
	}
	code = restore_all(&rs);
	bcfmt_image_free(rs.image);
	return code;
}
