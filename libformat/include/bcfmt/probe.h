/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What a device holds besides bcache, how it wants to be used, and what it stands on. */
#ifndef BCFMT_PROBE_H
#define BCFMT_PROBE_H

#include <bcfmt/base.h>
#include <bcfmt/dev.h>

BCFMT_BEGIN_DECLS

/* Something that libblkid recognises. Strings come from the device and may hold anything. */
struct bcfmt_signature {
	char type[32];	/* "ext4", "gpt" */
	char label[64]; /* "" when there is none; cut where it does not fit */
	char uuid[64];
	uint64_t offset_bytes; /* of the magic; meaningless when magic_bytes is 0 */
	uint32_t magic_bytes;  /* 0: libblkid does not tell where it is */
	bool is_partition_table;
};
#define BCFMT_SIGNATURES_MAX 32u

/*
 * Everything that libblkid recognises on a block device or image file, wrong checksums included,
 * copies at other places too: superblocks and partition tables. bcache itself is left out.
 * Fills at most BCFMT_SIGNATURES_MAX entries of out and sets *n. E_UNSUPPORTED for a device that
 * is neither, E_IO when the device cannot be read, E_NOMEM.
 */
BCFMT_API bcfmt_err bcfmt_dev_signatures(struct bcfmt_dev *dev,
					 struct bcfmt_signature out[BCFMT_SIGNATURES_MAX],
					 size_t *n);

/* How the kernel describes a device. Of an image file only the first three are known. */
struct bcfmt_topology {
	bool is_block_device;
	uint32_t logical_block_bytes;
	uint32_t preferred_block_bytes; /* logical; of a file st_blksize: the default of make-bcache */
	uint32_t physical_block_bytes; /* logical when not told */
	uint64_t optimal_io_bytes;     /* io_opt; 0: not told */
	uint64_t misaligned_bytes; /* alignment offset: how far its start is off a physical block */
	uint64_t start_sector;	   /* of a partition on its disk; else 0 */
	uint32_t zone_sectors;	   /* 0: no zones */
	bool is_host_managed;	   /* zones can only be written in order */
	char bcache_name[32];	   /* "bcache0" when it is that, its partition, or stands on it */
};
/* Never fails for what the kernel does not tell; E_UNSUPPORTED as above. */
BCFMT_API bcfmt_err bcfmt_dev_topology(struct bcfmt_dev *dev, struct bcfmt_topology *out);

/* Whether the running kernel has this set, and the block size of its cache (0: not told). */
BCFMT_API bool bcfmt_host_has_set(const uint8_t set_uuid[BCFMT_UUID_BYTES], uint32_t *block_bytes);

BCFMT_END_DECLS

#endif
