/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Several files in one compressed tar archive. */
#include "bundle.h"

#include <archive.h>
#include <archive_entry.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "base/tmpfile.h"
#include "sink.h"

#define COPY_BYTES (256u << 10)

struct bundle {
	struct bcfmt_ctx *ctx;
	const char *folder;
	struct sink *sink;
	struct archive *archive;
	uint8_t *buf; /* COPY_BYTES */
	uint64_t bytes;
	time_t now;
	bcfmt_err err; /* of the sink */
};

static la_ssize_t on_write(struct archive *archive, void *arg, const void *bytes, size_t len_bytes)
{
	struct bundle *bundle = arg;

	bundle->err = sink_write(bundle->sink, bytes, len_bytes);
	if (bundle->err) {
		archive_set_error(archive, EIO, "not written");
		return -1;
	}
	bundle->bytes += len_bytes;
	return (la_ssize_t)len_bytes;
}

/* Why the archive fails: the sink knows better. */
static bcfmt_err fail(const struct bundle *bundle, const char *name)
{
	const char *why = archive_error_string(bundle->archive);

	if (bundle->err)
		return bundle->err;
	if (archive_errno(bundle->archive) == ENOMEM)
		return bcfmt_fail(bundle->ctx, BCFMT_E_NOMEM, "out of memory to pack %s", name);
	return bcfmt_fail(bundle->ctx, BCFMT_E_SYSTEM, "cannot pack %s: %s", name,
			  why ? why : "no reason given");
}

/* The same files give the same bytes: no time in the head of the compressed stream. */
static bcfmt_err open_archive(struct bundle *bundle)
{
	bundle->archive = archive_write_new();
	bundle->buf = malloc(COPY_BYTES);
	if (!bundle->archive || !bundle->buf)
		return bcfmt_fail(bundle->ctx, BCFMT_E_NOMEM, "out of memory for an archive");
	if (archive_write_add_filter_gzip(bundle->archive) != ARCHIVE_OK ||
	    archive_write_set_format_pax_restricted(bundle->archive) != ARCHIVE_OK ||
	    archive_write_set_options(bundle->archive, "gzip:!timestamp") != ARCHIVE_OK ||
	    archive_write_set_bytes_in_last_block(bundle->archive, 1) != ARCHIVE_OK ||
	    archive_write_open(bundle->archive, bundle, NULL, on_write, NULL) != ARCHIVE_OK)
		return fail(bundle, "an archive");
	return BCFMT_OK;
}

bcfmt_err bundle_open(struct bcfmt_ctx *ctx, const char *path, const char *folder,
		      struct bcfmt_dev *const *inputs, size_t n_inputs, struct bundle **out)
{
	struct bundle *bundle = calloc(1, sizeof(*bundle));
	bcfmt_err err;

	*out = NULL;
	if (!bundle)
		return bcfmt_fail(ctx, BCFMT_E_NOMEM, "out of memory for an archive");
	bundle->ctx = ctx;
	bundle->folder = folder;
	bundle->now = time(NULL);
	err = sink_open(ctx, path, 0, inputs, n_inputs, &bundle->sink);
	if (!err)
		err = open_archive(bundle);
	if (err)
		bundle_free(bundle);
	else
		*out = bundle;
	return err;
}

bcfmt_err bundle_stream(struct bundle *bundle, FILE **out)
{
	int fd;
	bcfmt_err err = tmpfile_new(bundle->ctx, &fd);

	*out = NULL;
	if (err)
		return err;
	*out = fdopen(fd, "w+");
	if (*out)
		return BCFMT_OK;
	close(fd);
	return bcfmt_fail(bundle->ctx, BCFMT_E_NOMEM, "out of memory for a temporary file");
}

static bcfmt_err add_bytes(struct bundle *bundle, const char *name, FILE *stream, uint64_t left)
{
	while (left) {
		size_t part = left < COPY_BYTES ? (size_t)left : COPY_BYTES;

		if (bcfmt_ctx_is_cancelled(bundle->ctx))
			return BCFMT_E_CANCELLED;
		if (fread(bundle->buf, 1, part, stream) != part)
			return bcfmt_fail(bundle->ctx, BCFMT_E_IO,
					  "cannot read the temporary file of %s", name);
		if (archive_write_data(bundle->archive, bundle->buf, part) != (la_ssize_t)part)
			return fail(bundle, name);
		left -= part;
	}
	return BCFMT_OK;
}

bcfmt_err bundle_add(struct bundle *bundle, const char *name, FILE *stream)
{
	struct archive_entry *entry = archive_entry_new();
	char path[256];
	off_t bytes;
	bcfmt_err err = BCFMT_OK;

	if (!entry)
		return bcfmt_fail(bundle->ctx, BCFMT_E_NOMEM, "out of memory to pack %s", name);
	if (fflush(stream) || ferror(stream) || fseeko(stream, 0, SEEK_END) ||
	    (bytes = ftello(stream)) < 0 || fseeko(stream, 0, SEEK_SET)) {
		err = bcfmt_fail(bundle->ctx, BCFMT_E_IO, "cannot write the temporary file of %s",
				 name);
		goto out;
	}
	snprintf(path, sizeof(path), "%s/%s", bundle->folder, name);
	archive_entry_set_pathname(entry, path);
	archive_entry_set_filetype(entry, AE_IFREG);
	archive_entry_set_perm(entry, 0644);
	archive_entry_set_size(entry, bytes);
	archive_entry_set_mtime(entry, bundle->now, 0);
	if (archive_write_header(bundle->archive, entry) != ARCHIVE_OK)
		err = fail(bundle, name);
	if (!err)
		err = add_bytes(bundle, name, stream, (uint64_t)bytes);
out:
	archive_entry_free(entry);
	return err;
}

bcfmt_err bundle_commit(struct bundle *bundle)
{
	if (archive_write_close(bundle->archive) != ARCHIVE_OK)
		return fail(bundle, "the archive");
	return sink_commit(bundle->sink);
}

bool bundle_is_stdout(const struct bundle *bundle)
{
	return sink_is_stdout(bundle->sink);
}

uint64_t bundle_bytes(const struct bundle *bundle)
{
	return bundle->bytes;
}

void bundle_free(struct bundle *bundle)
{
	if (!bundle)
		return;
	/* Nothing more goes to the sink: what is not whole is taken away. */
	if (bundle->archive) {
		archive_write_fail(bundle->archive);
		archive_write_free(bundle->archive);
	}
	sink_free(bundle->sink);
	free(bundle->buf);
	free(bundle);
}
