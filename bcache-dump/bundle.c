/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Several files in one compressed tar archive, as POSIX has it (ustar), compressed as gzip does. No
 * library for archives was found that reports when memory is out instead of ending the program.
 */
#include "bundle.h"

#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

/* What is compressed is not changed. */
#define ZLIB_CONST
#include <zlib.h>

#include "base/tmpfile.h"
#include "cli/number.h"
#include "sink.h"

#define COPY_BYTES (256u << 10)
#define BLOCK_BYTES 512u
#define GZIP_BITS (15 + 16) /* the largest window, and the head and tail of gzip */
#define LEVEL 6
#define OCTAL_BYTES_LIMIT (1ull << 33) /* of 11 digits */

/* POSIX.1-1988. Numbers are octal text, unused bytes 0. */
struct tar_header {
	char name[100];
	char mode[8];
	char uid[8];
	char gid[8];
	char size[12];
	char mtime[12];
	char checksum[8];
	char type;
	char link_name[100];
	char magic[6];
	char version[2];
	char owner[32];
	char group[32];
	char device_major[8];
	char device_minor[8];
	char prefix[155];
	char unused[12];
};
_Static_assert(sizeof(struct tar_header) == BLOCK_BYTES, "a header is a block");

struct bundle {
	struct bcfmt_ctx *ctx;
	const char *folder;
	struct sink *sink;
	z_stream zip;
	bool has_zip;
	uint8_t *in; /* COPY_BYTES each */
	uint8_t *out;
	uint64_t bytes;
	time_t now;
};

static time_t now(void)
{
	const char *given = getenv("SOURCE_DATE_EPOCH");
	uint64_t seconds;

	return given && cli_number_u64(given, INT32_MAX, &seconds) ? (time_t)seconds : time(NULL);
}

static bcfmt_err open_zip(struct bundle *bundle)
{
	bundle->in = malloc(COPY_BYTES);
	bundle->out = malloc(COPY_BYTES);
	bundle->has_zip = bundle->in && bundle->out &&
			  deflateInit2(&bundle->zip, LEVEL, Z_DEFLATED, GZIP_BITS, 8,
				       Z_DEFAULT_STRATEGY) == Z_OK;
	return bundle->has_zip
		       ? BCFMT_OK
		       : bcfmt_fail(bundle->ctx, BCFMT_E_NOMEM, "out of memory for an archive");
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
	bundle->now = now();
	err = sink_open(ctx, path, 0, inputs, n_inputs, &bundle->sink);
	if (!err)
		err = open_zip(bundle);
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

/* Compresses; with Z_FINISH all that is left goes out too. */
static bcfmt_err put(struct bundle *bundle, const void *bytes, size_t len_bytes, int flush)
{
	z_stream *zip = &bundle->zip;
	bcfmt_err err = BCFMT_OK;
	int status = Z_OK;

	zip->next_in = bytes;
	zip->avail_in = (uInt)len_bytes; /* COPY_BYTES at most */
	do {
		size_t made;

		zip->next_out = bundle->out;
		zip->avail_out = COPY_BYTES;
		status = deflate(zip, flush);
		made = COPY_BYTES - zip->avail_out;
		if (made)
			err = sink_write(bundle->sink, bundle->out, made);
		bundle->bytes += made;
	} while (!err && !zip->avail_out && status != Z_STREAM_END);
	if (!err && flush == Z_FINISH && status != Z_STREAM_END)
		err = bcfmt_fail(bundle->ctx, BCFMT_E_SYSTEM, "cannot compress the archive");
	return err;
}

/* Octal digits and a terminator; what has too many as the bytes of a number, as GNU tar has it. */
static void set_number(char *field, size_t field_bytes, uint64_t value)
{
	if (value < OCTAL_BYTES_LIMIT) {
		field[--field_bytes] = 0;
		for (; field_bytes--; value >>= 3)
			field[field_bytes] = (char)('0' + (value & 7));
		return;
	}
	memset(field, 0, field_bytes);
	for (size_t i = field_bytes; i-- > 1; value >>= 8)
		field[i] = (char)(value & 0xff);
	field[0] = (char)0x80;
}

static struct tar_header make_header(const struct bundle *bundle, const char *name,
				     uint64_t len_bytes)
{
	struct tar_header header = { .type = '0', .version = { '0', '0' } };
	const uint8_t *at = (const uint8_t *)&header;
	unsigned int sum = 0;

	/* The names are ours and fit. */
	snprintf(header.name, sizeof(header.name), "%s/%s", bundle->folder, name);
	memcpy(header.magic, "ustar", sizeof(header.magic));
	set_number(header.mode, sizeof(header.mode), 0644);
	set_number(header.uid, sizeof(header.uid), 0);
	set_number(header.gid, sizeof(header.gid), 0);
	set_number(header.size, sizeof(header.size), len_bytes);
	set_number(header.mtime, sizeof(header.mtime), (uint64_t)bundle->now);
	/* Summed up with blanks in its own place. */
	memset(header.checksum, ' ', sizeof(header.checksum));
	for (size_t i = 0; i < sizeof(header); i++)
		sum += at[i];
	set_number(header.checksum, sizeof(header.checksum) - 1, sum);
	return header;
}

static bcfmt_err add_bytes(struct bundle *bundle, const char *name, FILE *stream, uint64_t left)
{
	static const uint8_t zeros[BLOCK_BYTES];
	size_t tail = (size_t)(left % BLOCK_BYTES);
	bcfmt_err err = BCFMT_OK;

	while (!err && left) {
		size_t part = left < COPY_BYTES ? (size_t)left : COPY_BYTES;

		if (bcfmt_ctx_is_cancelled(bundle->ctx))
			return BCFMT_E_CANCELLED;
		if (fread(bundle->in, 1, part, stream) != part)
			return bcfmt_fail(bundle->ctx, BCFMT_E_IO,
					  "cannot read the temporary file of %s", name);
		err = put(bundle, bundle->in, part, Z_NO_FLUSH);
		left -= part;
	}
	return err || !tail ? err : put(bundle, zeros, BLOCK_BYTES - tail, Z_NO_FLUSH);
}

bcfmt_err bundle_add(struct bundle *bundle, const char *name, FILE *stream)
{
	struct tar_header header;
	off_t len_bytes;
	bcfmt_err err;

	if (fflush(stream) || ferror(stream) || fseeko(stream, 0, SEEK_END) ||
	    (len_bytes = ftello(stream)) < 0 || fseeko(stream, 0, SEEK_SET))
		return bcfmt_fail(bundle->ctx, BCFMT_E_IO, "cannot write the temporary file of %s",
				  name);
	header = make_header(bundle, name, (uint64_t)len_bytes);
	err = put(bundle, &header, sizeof(header), Z_NO_FLUSH);
	return err ? err : add_bytes(bundle, name, stream, (uint64_t)len_bytes);
}

bcfmt_err bundle_commit(struct bundle *bundle)
{
	static const uint8_t end[2 * BLOCK_BYTES];
	bcfmt_err err = put(bundle, end, sizeof(end), Z_FINISH);

	return err ? err : sink_commit(bundle->sink);
}

int64_t bundle_time(const struct bundle *bundle)
{
	return bundle->now;
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
	if (bundle->has_zip)
		deflateEnd(&bundle->zip);
	sink_free(bundle->sink);
	free(bundle->in);
	free(bundle->out);
	free(bundle);
}
