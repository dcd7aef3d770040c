/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Block devices and image files. */
#include <errno.h>
#include <fcntl.h>
#include <linux/fs.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/checked.h"
#include "dev/around.h"
#include "dev/dev_impl.h"
#include "dev/in_use.h"

/* The kernel moves at most 2 GiB less a page at once. */
#define TRANSFER_BYTES_MAX ((size_t)1 << 30)
#define LOGICAL_BLOCK_BYTES_MAX 65536

struct file_dev {
	struct bcfmt_dev dev;
	int fd;
	bool is_block;
	struct around around;
};

static bcfmt_err file_read(struct bcfmt_dev *dev, uint64_t offset_bytes, void *buf,
			   size_t len_bytes, struct io_fault *fault)
{
	const struct file_dev *file = (struct file_dev *)dev;
	uint8_t *to = buf;

	while (len_bytes) {
		ssize_t got = pread(file->fd, to, min_u64(len_bytes, TRANSFER_BYTES_MAX),
				    (off_t)offset_bytes);

		if (got < 0 && errno == EINTR)
			continue;
		if (got < 0)
			return dev_io_fail(fault, BCFMT_E_IO, offset_bytes, errno, NULL);
		if (!got)
			return dev_io_fail(fault, BCFMT_E_IO, offset_bytes, 0,
					   "it has become shorter since it was opened");
		to += got;
		offset_bytes += (size_t)got;
		len_bytes -= (size_t)got;
	}
	return BCFMT_OK;
}

static bcfmt_err file_write(struct bcfmt_dev *dev, uint64_t offset_bytes, const void *buf,
			    size_t len_bytes, struct io_fault *fault)
{
	const struct file_dev *file = (struct file_dev *)dev;
	const uint8_t *from = buf;

	while (len_bytes) {
		ssize_t put = pwrite(file->fd, from, min_u64(len_bytes, TRANSFER_BYTES_MAX),
				     (off_t)offset_bytes);

		if (put < 0 && errno == EINTR)
			continue;
		if (put <= 0)
			return dev_io_fail(fault, BCFMT_E_IO, offset_bytes, put ? errno : ENOSPC,
					   NULL);
		from += put;
		offset_bytes += (size_t)put;
		len_bytes -= (size_t)put;
	}
	return BCFMT_OK;
}

/* Never tried again after an error: the kernel has forgotten then what could not be written. */
static bcfmt_err file_flush(struct bcfmt_dev *dev, struct io_fault *fault)
{
	const struct file_dev *file = (struct file_dev *)dev;
	int result;

	if (!dev->is_writable)
		return BCFMT_OK;
	do {
		result = fsync(file->fd);
	} while (result && errno == EINTR);
	return result ? dev_io_fail(fault, BCFMT_E_IO, 0, errno, NULL) : BCFMT_OK;
}

static bcfmt_err file_next_data(struct bcfmt_dev *dev, uint64_t offset_bytes,
				uint64_t *begin_bytes, uint64_t *end_bytes,
				struct io_fault *fault)
{
	const struct file_dev *file = (struct file_dev *)dev;
	off_t begin, end;

	*begin_bytes = offset_bytes;
	*end_bytes = dev->bytes;
	if (file->is_block)
		return BCFMT_OK;
	begin = lseek(file->fd, (off_t)offset_bytes, SEEK_DATA);
	if (begin < 0 && errno == ENXIO)
		return BCFMT_END;
	if (begin < 0 && (errno == EINVAL || errno == EOPNOTSUPP))
		return BCFMT_OK;
	if (begin < 0)
		return dev_io_fail(fault, BCFMT_E_IO, offset_bytes, errno, NULL);
	end = lseek(file->fd, begin, SEEK_HOLE);
	/* Data may begin in the odd bytes behind the last whole sector. */
	if ((uint64_t)begin >= dev->bytes)
		return BCFMT_END;
	*begin_bytes = (uint64_t)begin - (uint64_t)begin % BCFMT_SECTOR_BYTES;
	*begin_bytes = max_u64(*begin_bytes, offset_bytes);
	if (end > begin)
		*end_bytes = min_u64(dev->bytes, div_round_up((uint64_t)end, BCFMT_SECTOR_BYTES) *
						 BCFMT_SECTOR_BYTES);
	return BCFMT_OK;
}

static void file_read_ahead(struct bcfmt_dev *dev, uint64_t offset_bytes, uint64_t len_bytes)
{
	const struct file_dev *file = (struct file_dev *)dev;

	(void)posix_fadvise(file->fd, (off_t)offset_bytes, (off_t)len_bytes, POSIX_FADV_WILLNEED);
}

static bool file_is_far(struct bcfmt_dev *dev, uint64_t offset_bytes, uint64_t len_bytes)
{
	struct file_dev *file = (struct file_dev *)dev;

	return around_is_far(&file->around, file->fd, offset_bytes, len_bytes);
}

static bool file_read_around(struct bcfmt_dev *dev, uint64_t offset_bytes, void *buf,
			     size_t len_bytes)
{
	struct file_dev *file = (struct file_dev *)dev;

	return around_read(&file->around, file->fd, offset_bytes, buf, len_bytes);
}

/* Zeros of one piece of data of a file. The first way that the file system knows is taken. */
static int zero_data(int fd, off_t offset_bytes, off_t len_bytes)
{
	static const int ways[] = {
		FALLOC_FL_ZERO_RANGE,
		FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE,
	};
	int result = -1;

	for (size_t i = 0; i < sizeof(ways) / sizeof(ways[0]); i++) {
		do {
			result = fallocate(fd, ways[i], offset_bytes, len_bytes);
		} while (result && errno == EINTR);
		if (!result || (errno != EOPNOTSUPP && errno != ENOSYS && errno != EINVAL))
			break;
	}
	return result;
}

/* Holes stay: only what lies between them is touched. */
static bcfmt_err zero_file(struct bcfmt_dev *dev, uint64_t offset_bytes, uint64_t len_bytes,
			   struct io_fault *fault)
{
	const struct file_dev *file = (struct file_dev *)dev;
	uint64_t end_bytes = offset_bytes + len_bytes;
	uint64_t begin, end;
	bcfmt_err err;

	while (offset_bytes < end_bytes) {
		err = file_next_data(dev, offset_bytes, &begin, &end, fault);
		if (err == BCFMT_END || (!err && begin >= end_bytes))
			return BCFMT_OK;
		if (err)
			return err;
		end = min_u64(end, end_bytes);
		if (zero_data(file->fd, (off_t)begin, (off_t)(end - begin))) {
			if (errno == EOPNOTSUPP || errno == ENOSYS || errno == EINVAL)
				return BCFMT_E_UNSUPPORTED;
			return dev_io_fail(fault, BCFMT_E_IO, begin, errno, NULL);
		}
		offset_bytes = end;
	}
	return BCFMT_OK;
}

/* A request of a range to the block layer. Kernels refuse odd ranges and what a device lacks. */
static bcfmt_err block_range(const struct file_dev *file, unsigned long request,
			     uint64_t offset_bytes, uint64_t len_bytes, struct io_fault *fault)
{
	uint64_t range[2] = { offset_bytes, len_bytes };
	int result;

	do {
		result = ioctl(file->fd, request, range);
	} while (result && errno == EINTR);
	if (!result)
		return BCFMT_OK;
	if (errno == EOPNOTSUPP || errno == ENOTTY || errno == EINVAL)
		return BCFMT_E_UNSUPPORTED;
	return dev_io_fail(fault, BCFMT_E_IO, offset_bytes, errno, NULL);
}

static bcfmt_err file_zero(struct bcfmt_dev *dev, uint64_t offset_bytes, uint64_t len_bytes,
			   struct io_fault *fault)
{
	const struct file_dev *file = (struct file_dev *)dev;

	if (file->is_block)
		return block_range(file, BLKZEROOUT, offset_bytes, len_bytes, fault);
	return zero_file(dev, offset_bytes, len_bytes, fault);
}

static bcfmt_err file_discard(struct bcfmt_dev *dev, uint64_t offset_bytes, uint64_t len_bytes,
			      struct io_fault *fault)
{
	const struct file_dev *file = (struct file_dev *)dev;

	if (!file->is_block)
		return BCFMT_E_UNSUPPORTED;
	return block_range(file, BLKDISCARD, offset_bytes, len_bytes, fault);
}

static void file_forget(struct bcfmt_dev *dev)
{
	/* A wish: what it does not do makes reading back prove less, and nothing else. */
	(void)posix_fadvise(((struct file_dev *)dev)->fd, 0, 0, POSIX_FADV_DONTNEED);
}

static void file_free(struct bcfmt_dev *dev)
{
	struct file_dev *file = (struct file_dev *)dev;

	around_clear(&file->around);
	if (file->fd >= 0)
		close(file->fd);
	free(file);
}

static const struct dev_ops file_ops = {
	.read = file_read,
	.write = file_write,
	.flush = file_flush,
	.next_data = file_next_data,
	.read_ahead = file_read_ahead,
	.is_far = file_is_far,
	.read_around = file_read_around,
	.zero = file_zero,
	.discard = file_discard,
	.forget = file_forget,
	.free = file_free,
};

int file_dev_fd(const struct bcfmt_dev *dev)
{
	return dev->ops == &file_ops ? ((const struct file_dev *)dev)->fd : -1;
}

static bcfmt_err fail_errno(struct bcfmt_ctx *ctx, const char *path, const char *what)
{
	char text[128];

	return bcfmt_fail(ctx, BCFMT_E_SYSTEM, "%s: %s: %s", path, what,
			  strerror_r(errno, text, sizeof(text)));
}

/* Opens what was looked at; O_NONBLOCK, because a pipe put in its place would block. */
static bcfmt_err open_same(struct bcfmt_ctx *ctx, const char *path, int mode,
			   const struct stat *seen, int *fd)
{
	struct stat st;
	bcfmt_err err;

	*fd = open(path, mode | O_NONBLOCK | O_CLOEXEC);
	if (*fd < 0)
		return errno == EBUSY ? BCFMT_E_BUSY : fail_errno(ctx, path, "cannot open");
	if (!fstat(*fd, &st) && st.st_dev == seen->st_dev && st.st_ino == seen->st_ino &&
	    (st.st_mode & S_IFMT) == (seen->st_mode & S_IFMT))
		return BCFMT_OK;
	err = bcfmt_fail(ctx, BCFMT_E_SYSTEM, "%s: replaced while it was opened", path);
	close(*fd);
	*fd = -1;
	return err;
}

/*
 * Opening with O_EXCL fails when anybody holds the device. The claim lasts as long as the
 * descriptor, so one that is not to be exclusive is opened again.
 */
static bcfmt_err open_block(struct bcfmt_ctx *ctx, const char *path, unsigned int flags,
			    const struct stat *seen, struct file_dev *file)
{
	int mode = flags & BCFMT_OPEN_WRITE ? O_RDWR : O_RDONLY;
	bool may_share = flags & BCFMT_OPEN_IN_USE_OK &&
			 !(flags & (BCFMT_OPEN_WRITE | BCFMT_OPEN_EXCLUSIVE));
	struct holder holder = { .text = "held by the kernel or another program" };
	bcfmt_err err = open_same(ctx, path, mode | O_EXCL, seen, &file->fd);

	if (err == BCFMT_E_BUSY && !may_share) {
		if (!in_use_block(&HOST_VIEW, seen->st_rdev, &holder))
			(void)in_use_lock(&HOST_VIEW, seen, &holder);
		return bcfmt_fail(ctx, BCFMT_E_BUSY, "%s: %s", path, holder.text);
	}
	if (err && err != BCFMT_E_BUSY)
		return err;
	if (!err && flags & BCFMT_OPEN_EXCLUSIVE)
		return BCFMT_OK;
	file->dev.was_in_use = err == BCFMT_E_BUSY;
	if (file->fd >= 0)
		close(file->fd);
	err = open_same(ctx, path, mode, seen, &file->fd);
	if (err == BCFMT_E_BUSY)
		return bcfmt_fail(ctx, err, "%s: %s", path, holder.text);
	return err;
}

static bcfmt_err open_image(struct bcfmt_ctx *ctx, const char *path, unsigned int flags,
			    const struct stat *seen, struct file_dev *file)
{
	bool is_for_change = flags & (BCFMT_OPEN_WRITE | BCFMT_OPEN_EXCLUSIVE);
	struct holder holder;
	enum image_use use = in_use_image(&HOST_VIEW, seen, &holder);
	bcfmt_err err;

	if (use == IMAGE_HELD && !is_for_change && flags & BCFMT_OPEN_IN_USE_OK)
		file->dev.was_in_use = true;
	else if (use == IMAGE_HELD || (use == IMAGE_ATTACHED && is_for_change))
		return bcfmt_fail(ctx, BCFMT_E_BUSY, "%s: %s", path, holder.text);
	err = open_same(ctx, path, flags & BCFMT_OPEN_WRITE ? O_RDWR : O_RDONLY, seen, &file->fd);
	/* No file says EBUSY for a claim, but some file systems do for reasons of their own. */
	return err == BCFMT_E_BUSY ? fail_errno(ctx, path, "cannot open") : err;
}

static bcfmt_err lock(struct bcfmt_ctx *ctx, const char *path, const struct stat *seen, int fd)
{
	struct holder holder = { .text = "locked by another program" };
	int result;

	do {
		result = flock(fd, LOCK_EX | LOCK_NB);
	} while (result && errno == EINTR);
	if (!result)
		return BCFMT_OK;
	if (errno != EWOULDBLOCK)
		return fail_errno(ctx, path, "cannot lock");
	(void)in_use_lock(&HOST_VIEW, seen, &holder);
	return bcfmt_fail(ctx, BCFMT_E_BUSY, "%s: %s", path, holder.text);
}

/* Fills size and logical block of an opened device. */
static bcfmt_err measure(struct bcfmt_ctx *ctx, const char *path, unsigned int flags,
			 struct file_dev *file)
{
	int block_bytes = 0, is_read_only = 0;
	uint64_t bytes = 0;
	struct stat st;

	if (!file->is_block) {
		if (fstat(file->fd, &st))
			return fail_errno(ctx, path, "cannot tell its size");
		bytes = st.st_size > 0 ? (uint64_t)st.st_size : 0;
	} else {
		if (ioctl(file->fd, BLKGETSIZE64, &bytes))
			return fail_errno(ctx, path, "cannot tell its size");
		if (!ioctl(file->fd, BLKSSZGET, &block_bytes) &&
		    block_bytes >= (int)BCFMT_SECTOR_BYTES &&
		    block_bytes <= LOGICAL_BLOCK_BYTES_MAX)
			file->dev.logical_block_bytes = (uint32_t)block_bytes;
		if (flags & BCFMT_OPEN_WRITE && !ioctl(file->fd, BLKROGET, &is_read_only) &&
		    is_read_only)
			return bcfmt_fail(ctx, BCFMT_E_SYSTEM, "%s: the device is read-only", path);
		/*
		 * bcache and file systems write past this cache. While they hold the device
		 * what somebody read before would stay in it and be seen again.
		 */
		file_forget(&file->dev);
	}
	file->dev.bytes = bytes - bytes % BCFMT_SECTOR_BYTES;
	if (!file->dev.bytes)
		return bcfmt_fail(ctx, BCFMT_E_SYSTEM, "%s: no sector long", path);
	return BCFMT_OK;
}

bcfmt_err bcfmt_dev_open(struct bcfmt_ctx *ctx, const char *path, unsigned int flags,
			 struct bcfmt_dev **out)
{
	struct file_dev *file;
	struct stat seen;
	bcfmt_err err;

	*out = NULL;
	if (flags & ~(unsigned int)BCFMT_OPEN_ALL)
		return bcfmt_fail(ctx, BCFMT_E_ARG, "%s: unknown open flags 0x%x", path, flags);
	/* Looked at before it is opened: opening can do things to tapes, watchdogs and pipes. */
	if (stat(path, &seen))
		return fail_errno(ctx, path, "cannot open");
	if (!S_ISREG(seen.st_mode) && !S_ISBLK(seen.st_mode))
		return bcfmt_fail(ctx, BCFMT_E_SYSTEM, "%s: neither block device nor file", path);
	file = calloc(1, sizeof(*file));
	if (!file || dev_init(&file->dev, &file_ops, ctx, path, 0)) {
		free(file);
		return bcfmt_fail(ctx, BCFMT_E_NOMEM, "%s: out of memory", path);
	}
	file->fd = -1;
	around_init(&file->around);
	file->is_block = S_ISBLK(seen.st_mode);
	file->dev.is_writable = flags & BCFMT_OPEN_WRITE;
	err = file->is_block ? open_block(ctx, path, flags, &seen, file)
			     : open_image(ctx, path, flags, &seen, file);
	if (!err && flags & BCFMT_OPEN_EXCLUSIVE)
		err = lock(ctx, path, &seen, file->fd);
	if (!err)
		err = measure(ctx, path, flags, file);
	if (err) {
		bcfmt_dev_free(&file->dev);
		return err;
	}
	*out = &file->dev;
	return BCFMT_OK;
}

/* Without it a power cut can take the name of a file away whose contents are durable. */
static bcfmt_err sync_folder_of(struct bcfmt_ctx *ctx, const char *path)
{
	const char *slash = strrchr(path, '/');
	char *folder = slash ? strndup(path, slash > path ? (size_t)(slash - path) : 1)
			     : strdup(".");
	bcfmt_err err = BCFMT_OK;
	int fd;

	if (!folder)
		return bcfmt_fail(ctx, BCFMT_E_NOMEM, "%s: out of memory", path);
	fd = open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (fd < 0)
		err = fail_errno(ctx, folder, "cannot open the folder");
	else if (fsync(fd) && errno != EINVAL)
		err = fail_errno(ctx, folder, "cannot make the new name durable");
	if (fd >= 0)
		close(fd);
	free(folder);
	return err;
}

bcfmt_err dev_file_create(struct bcfmt_ctx *ctx, const char *path, struct bcfmt_dev **out)
{
	struct file_dev *file = calloc(1, sizeof(*file));
	bcfmt_err err = BCFMT_OK;

	*out = NULL;
	if (!file || dev_init(&file->dev, &file_ops, ctx, path, INT64_MAX)) {
		free(file);
		return bcfmt_fail(ctx, BCFMT_E_NOMEM, "%s: out of memory", path);
	}
	file->dev.is_writable = true;
	around_init(&file->around);
	file->fd = open(path, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, S_IRUSR | S_IWUSR);
	if (file->fd < 0 && errno == EEXIST)
		err = bcfmt_fail(ctx, BCFMT_E_ARG, "%s: is there already, and is not overwritten",
				 path);
	else if (file->fd < 0)
		err = fail_errno(ctx, path, "cannot make the file");
	else
		err = sync_folder_of(ctx, path);
	if (err) {
		if (file->fd >= 0)
			unlink(path);
		bcfmt_dev_free(&file->dev);
		return err;
	}
	*out = &file->dev;
	return BCFMT_OK;
}
