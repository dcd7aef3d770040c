/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Image files that are read by way of a mapping: a sweep reads the same bytes many thousand times.
 * The library opens them as ever, with all that it refuses then; only reads and holes are told from
 * here. A change of the file is seen at once.
 *
 * What an export reads of user data is not even copied, only noted: the sink, which alone looks at
 * it, asks for where it came from.
 */
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/checked.h"
#include "base/vec.h"
#include "dev/dev_impl.h"
#include "fields/fields.h"

struct run {
	uint64_t begin_bytes;
	uint64_t end_bytes;
};

struct mapped {
	char path[64];
	const uint8_t *bytes;
	struct vec runs; /* struct run: what is data, in ascending order */
};

struct mapped_dev {
	struct bcfmt_dev dev;
	struct bcfmt_dev *lower; /* owned */
	const struct mapped *file;
};

static struct mapped files[1 + RECIPE_BACKING_MAX];
static size_t n_files;
static struct vec notes; /* struct mapped_note */
static bool is_noting;

static bool find_runs(struct mapped *file, int fd, off_t end)
{
	off_t begin = 0;

	while (begin < end && (begin = lseek(fd, begin, SEEK_DATA)) >= 0) {
		struct run *run = vec_push(&file->runs, sizeof(*run));

		if (!run)
			return false;
		run->begin_bytes = (uint64_t)begin;
		begin = lseek(fd, begin, SEEK_HOLE);
		if (begin < 0)
			return false;
		run->end_bytes = (uint64_t)begin;
	}
	return true;
}

bool mapped_add(const char *path)
{
	struct mapped *file = &files[n_files];
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	struct stat st;
	void *map = MAP_FAILED;
	bool is_good;

	is_good = n_files < sizeof(files) / sizeof(files[0]) && strlen(path) < sizeof(file->path) &&
		  fd >= 0 && !fstat(fd, &st) && find_runs(file, fd, st.st_size);
	if (is_good)
		map = mmap(NULL, (size_t)st.st_size, PROT_READ, MAP_SHARED, fd, 0);
	if (fd >= 0)
		close(fd);
	if (map == MAP_FAILED)
		return false;
	strcpy(file->path, path);
	file->bytes = map;
	n_files++;
	return true;
}

const uint8_t *mapped_bytes(const char *path)
{
	for (size_t i = 0; i < n_files; i++)
		if (!strcmp(path, files[i].path))
			return files[i].bytes;
	return NULL;
}

/* ---- a device over the opened file ---- */

static bcfmt_err mapped_read(struct bcfmt_dev *dev, uint64_t offset_bytes, void *buf,
			     size_t len_bytes, struct io_fault *fault)
{
	(void)fault;
	memcpy(buf, ((struct mapped_dev *)dev)->file->bytes + offset_bytes, len_bytes);
	return BCFMT_OK;
}

static bcfmt_err mapped_next_data(struct bcfmt_dev *dev, uint64_t offset_bytes,
				  uint64_t *begin_bytes, uint64_t *end_bytes,
				  struct io_fault *fault)
{
	const struct vec *runs = &((struct mapped_dev *)dev)->file->runs;
	const struct run *run = runs->items;
	size_t low = 0, high = runs->n;

	(void)fault;
	while (low < high) {
		size_t middle = low + (high - low) / 2;

		if (run[middle].end_bytes <= offset_bytes)
			low = middle + 1;
		else
			high = middle;
	}
	if (low == runs->n || run[low].begin_bytes >= dev->bytes)
		return BCFMT_END;
	*begin_bytes = max_u64(run[low].begin_bytes, offset_bytes);
	*end_bytes = min_u64(run[low].end_bytes, dev->bytes);
	return BCFMT_OK;
}

static void mapped_free(struct bcfmt_dev *dev)
{
	bcfmt_dev_free(((struct mapped_dev *)dev)->lower);
	free(dev);
}

static const struct dev_ops mapped_ops = {
	.read = mapped_read,
	.next_data = mapped_next_data,
	.free = mapped_free,
};

/* ---- reads that are only noted ---- */

void mapped_note_reads(bool is_on)
{
	is_noting = is_on;
	notes.n = 0;
}

const struct mapped_note *mapped_notes(size_t *n)
{
	*n = notes.n;
	notes.n = 0;
	return notes.items;
}

/* By the linker's --wrap, as below. */
bcfmt_err __real_bcfmt_dev_read_marked(struct bcfmt_dev *dev, uint64_t offset_bytes, void *buf,
				       size_t len_bytes, uint8_t *is_bad);
bcfmt_err __wrap_bcfmt_dev_read_marked(struct bcfmt_dev *dev, uint64_t offset_bytes, void *buf,
				       size_t len_bytes, uint8_t *is_bad);

bcfmt_err __wrap_bcfmt_dev_read_marked(struct bcfmt_dev *dev, uint64_t offset_bytes, void *buf,
				       size_t len_bytes, uint8_t *is_bad)
{
	struct mapped_note *note = NULL;

	if (is_noting && dev->ops == &mapped_ops && offset_bytes <= dev->bytes &&
	    len_bytes <= dev->bytes - offset_bytes)
		note = vec_push(&notes, sizeof(*note));
	if (!note)
		return __real_bcfmt_dev_read_marked(dev, offset_bytes, buf, len_bytes, is_bad);
	note->to = buf;
	note->from = ((struct mapped_dev *)dev)->file->bytes + offset_bytes;
	note->len_bytes = len_bytes;
	memset(is_bad, 0, len_bytes / BCFMT_SECTOR_BYTES);
	return BCFMT_OK;
}

/* ---- opening ---- */

bcfmt_err __real_bcfmt_dev_open(struct bcfmt_ctx *ctx, const char *path, unsigned int flags,
				struct bcfmt_dev **out);
bcfmt_err __wrap_bcfmt_dev_open(struct bcfmt_ctx *ctx, const char *path, unsigned int flags,
				struct bcfmt_dev **out);

bcfmt_err __wrap_bcfmt_dev_open(struct bcfmt_ctx *ctx, const char *path, unsigned int flags,
				struct bcfmt_dev **out)
{
	bcfmt_err err = __real_bcfmt_dev_open(ctx, path, flags, out);
	struct mapped_dev *mapped;

	for (size_t i = 0; i < n_files && !err; i++) {
		if (strcmp(path, files[i].path) || bcfmt_dev_is_writable(*out))
			continue;
		mapped = calloc(1, sizeof(*mapped));
		if (!mapped || dev_init_above(&mapped->dev, &mapped_ops, ctx, *out)) {
			free(mapped);
			bcfmt_dev_free(*out);
			return bcfmt_fail(ctx, BCFMT_E_NOMEM, "%s: out of memory", path);
		}
		mapped->file = &files[i];
		mapped->lower = *out;
		*out = &mapped->dev;
		break;
	}
	return err;
}
