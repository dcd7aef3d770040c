/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What every kind of device provides, and the calls by which one device stands on another. */
#ifndef DEV_DEV_IMPL_H
#define DEV_DEV_IMPL_H

#include <bcfmt/dev.h>

/* Why a read, write or flush failed, filled by the device that met the failure. */
struct io_fault {
	uint64_t offset_bytes;
	int os_error;       /* errno, or 0 */
	const char *reason; /* static storage, or NULL: os_error tells */
};

/*
 * The range is checked before a call: it lies inside the device and len_bytes is not 0. Nothing
 * here records a fault in the context, because a failed try is no failed call: salvaging reads
 * go on after it.
 */
struct dev_ops {
	/* Called from several threads at once. */
	bcfmt_err (*read)(struct bcfmt_dev *dev, uint64_t offset_bytes, void *buf,
			  size_t len_bytes, struct io_fault *fault);
	/* Only called on a writable device, from one thread and during no read of it. */
	bcfmt_err (*write)(struct bcfmt_dev *dev, uint64_t offset_bytes, const void *buf,
			   size_t len_bytes, struct io_fault *fault);
	/* NULL: nothing to flush. */
	bcfmt_err (*flush)(struct bcfmt_dev *dev, struct io_fault *fault);
	/* NULL: all is data. offset_bytes is inside the device, and so must the answer be. */
	bcfmt_err (*next_data)(struct bcfmt_dev *dev, uint64_t offset_bytes, uint64_t *begin_bytes,
			       uint64_t *end_bytes, struct io_fault *fault);
	/* NULL: no use. Only a hint: the range will be read soon. Called from several threads. */
	void (*read_ahead)(struct bcfmt_dev *dev, uint64_t offset_bytes, uint64_t len_bytes);
	/*
	 * Whether a read of the range would have to fetch most of it from the medium and
	 * read_around() can take its place, as far as can be told. NULL: no. Called from several
	 * threads.
	 */
	bool (*is_far)(struct bcfmt_dev *dev, uint64_t offset_bytes, uint64_t len_bytes);
	/*
	 * Reads without keeping anything in the memory of this machine for later, into memory at a
	 * multiple of 4 KiB. False for any reason: read() will do it, or tell why not. There where
	 * is_far() is.
	 */
	bool (*read_around)(struct bcfmt_dev *dev, uint64_t offset_bytes, void *buf,
			    size_t len_bytes);
	/* NULL or E_UNSUPPORTED: zeros are written. Called like write. */
	bcfmt_err (*zero)(struct bcfmt_dev *dev, uint64_t offset_bytes, uint64_t len_bytes,
			  struct io_fault *fault);
	/* NULL or E_UNSUPPORTED: there is no discarding. Called like write. */
	bcfmt_err (*discard)(struct bcfmt_dev *dev, uint64_t offset_bytes, uint64_t len_bytes,
			     struct io_fault *fault);
	/*
	 * What is read next comes from the medium and not from the memory of this machine, as far
	 * as it can be had. NULL: nothing is kept. After a flush.
	 */
	void (*forget)(struct bcfmt_dev *dev);
	/* Frees the structure that dev is the first member of, and the devices it owns. */
	void (*free)(struct bcfmt_dev *dev);
};

/* First member of every kind of device. */
struct bcfmt_dev {
	const struct dev_ops *ops;
	struct bcfmt_ctx *ctx;
	char *name; /* owned; freed by bcfmt_dev_free() */
	uint64_t bytes; /* whole sectors */
	uint32_t logical_block_bytes;
	bool is_writable;
	bool was_in_use;
	bool is_image;
};

/* bytes is rounded down to whole sectors. E_NOMEM leaves *dev without anything to free. */
bcfmt_err dev_init(struct bcfmt_dev *dev, const struct dev_ops *ops, struct bcfmt_ctx *ctx,
		   const char *name, uint64_t bytes);
/* The same with name, size, block and state of lower. */
bcfmt_err dev_init_above(struct bcfmt_dev *dev, const struct dev_ops *ops, struct bcfmt_ctx *ctx,
			 const struct bcfmt_dev *lower);

/* As the public calls, but the fault goes to *fault and not to the context. */
bcfmt_err dev_read_quiet(struct bcfmt_dev *dev, uint64_t offset_bytes, void *buf, size_t len_bytes,
			 struct io_fault *fault);
bcfmt_err dev_write_quiet(struct bcfmt_dev *dev, uint64_t offset_bytes, const void *buf,
			  size_t len_bytes, struct io_fault *fault);
bcfmt_err dev_flush_quiet(struct bcfmt_dev *dev, struct io_fault *fault);
bcfmt_err dev_next_data_quiet(struct bcfmt_dev *dev, uint64_t offset_bytes, uint64_t *begin_bytes,
			      uint64_t *end_bytes, struct io_fault *fault);

/* Tells that a range, of which anything may lie beyond the end, will be read soon. */
void dev_read_ahead(struct bcfmt_dev *dev, uint64_t offset_bytes, uint64_t len_bytes);
/* As the operations of these names; false where anything of the range lies beyond the end. */
bool dev_is_far(struct bcfmt_dev *dev, uint64_t offset_bytes, uint64_t len_bytes);
bool dev_read_around(struct bcfmt_dev *dev, uint64_t offset_bytes, void *buf, size_t len_bytes);
void dev_forget(struct bcfmt_dev *dev);

/*
 * A new and empty file, for its owner only, that can be written to and grows; its name is durable.
 * E_ARG when something of that name is there. Its size is not that of the file: what was not
 * written cannot be read.
 */
bcfmt_err dev_file_create(struct bcfmt_ctx *ctx, const char *path, struct bcfmt_dev **out);

/* A run of sectors that could not be read; what it returns ends the reading. */
typedef bcfmt_err (*dev_bad_fn)(void *arg, uint64_t first_sector, uint64_t sectors);
/* bcfmt_dev_read_salvage() that tells each run of them, in ascending order. on_bad may be NULL. */
bcfmt_err dev_read_salvage_each(struct bcfmt_dev *dev, uint64_t offset_bytes, void *buf,
				size_t len_bytes, struct bcfmt_bad_read *bad, dev_bad_fn on_bad,
				void *arg);

/* Fills *fault and returns err. os_error 0 when reason says all. */
bcfmt_err dev_io_fail(struct io_fault *fault, bcfmt_err err, uint64_t offset_bytes, int os_error,
		      const char *reason);

/* Descriptor of an opened block device or image file, borrowed; -1 for all other kinds. */
int file_dev_fd(const struct bcfmt_dev *dev);

#endif
