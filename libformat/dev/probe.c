/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Signatures and topology of a device, by libblkid. */
#include <bcfmt/probe.h>

#include <blkid.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/checked.h"
#include "base/tmpfile.h"
#include "dev/dev_impl.h"
#include "dev/probe.h"
#include "dev/topology.h"

/* Finds of a device are few; a hostile one must end too. */
#define FINDS_MAX 256u

static bcfmt_err fail(struct bcfmt_ctx *ctx, const char *name, const char *what)
{
	bool is_memory = errno == ENOMEM;

	return bcfmt_fail(ctx, is_memory ? BCFMT_E_NOMEM : BCFMT_E_IO, "%s: libblkid cannot %s%s",
			  name, what, is_memory ? ": out of memory" : "");
}

/* The descriptor is borrowed by the probe. */
static bcfmt_err new_probe(struct bcfmt_dev *dev, blkid_probe *out)
{
	int fd = file_dev_fd(dev);

	*out = NULL;
	if (fd < 0)
		return bcfmt_fail(dev->ctx, BCFMT_E_UNSUPPORTED,
				  "%s: neither block device nor file", dev->name);
	errno = 0;
	*out = blkid_new_probe();
	if (*out && !blkid_probe_set_device(*out, fd, 0, 0))
		return BCFMT_OK;
	blkid_free_probe(*out);
	*out = NULL;
	return fail(dev->ctx, dev->name, "read it");
}

static void take_text(blkid_probe probe, const char *name, char *out, size_t out_bytes)
{
	const char *value;
	size_t len;

	out[0] = '\0';
	if (blkid_probe_lookup_value(probe, name, &value, NULL))
		return;
	len = min_u64(strlen(value), out_bytes - 1);
	memcpy(out, value, len);
	out[len] = '\0';
}

static void take_magic(blkid_probe probe, const char *offset_name, const char *magic_name,
		       struct bcfmt_signature *out)
{
	const char *offset, *magic;
	size_t magic_bytes;

	if (blkid_probe_lookup_value(probe, offset_name, &offset, NULL) ||
	    blkid_probe_lookup_value(probe, magic_name, &magic, &magic_bytes))
		return;
	out->offset_bytes = strtoull(offset, NULL, 10);
	out->magic_bytes = (uint32_t)min_u64(magic_bytes, 4096);
}

static void take_find(blkid_probe probe, struct bcfmt_signature *out)
{
	*out = (struct bcfmt_signature){ 0 };
	take_text(probe, "TYPE", out->type, sizeof(out->type));
	if (*out->type) {
		take_text(probe, "LABEL", out->label, sizeof(out->label));
		take_text(probe, "UUID", out->uuid, sizeof(out->uuid));
		take_magic(probe, "SBMAGIC_OFFSET", "SBMAGIC", out);
		return;
	}
	out->is_partition_table = true;
	take_text(probe, "PTTYPE", out->type, sizeof(out->type));
	take_text(probe, "PTUUID", out->uuid, sizeof(out->uuid));
	take_magic(probe, "PTMAGIC_OFFSET", "PTMAGIC", out);
}

static void enable(blkid_probe probe)
{
	blkid_probe_enable_superblocks(probe, 1);
	blkid_probe_set_superblocks_flags(probe, BLKID_SUBLKS_MAGIC | BLKID_SUBLKS_TYPE |
							 BLKID_SUBLKS_LABEL | BLKID_SUBLKS_UUID |
							 BLKID_SUBLKS_BADCSUM);
	blkid_probe_enable_partitions(probe, 1);
	blkid_probe_set_partitions_flags(probe, BLKID_PARTS_MAGIC | BLKID_PARTS_FORCE_GPT);
}

/* All finds of a probe, which is told what it cannot do. */
static bcfmt_err run_probe(struct bcfmt_ctx *ctx, const char *name, blkid_probe probe,
			   struct bcfmt_signature out[BCFMT_SIGNATURES_MAX], size_t *n)
{
	struct bcfmt_signature found;
	int result = 0;

	enable(probe);
	for (unsigned int i = 0; i < FINDS_MAX && *n < BCFMT_SIGNATURES_MAX; i++) {
		errno = 0;
		result = blkid_do_probe(probe);
		if (result)
			break;
		take_find(probe, &found);
		if (strcmp(found.type, "bcache") != 0)
			out[(*n)++] = found;
		/* Once this one is out of sight, the same prober may see a copy elsewhere. */
		if (found.magic_bytes &&
		    !blkid_probe_hide_range(probe, found.offset_bytes, found.magic_bytes))
			blkid_probe_step_back(probe);
	}
	return result < 0 ? fail(ctx, name, "look for signatures") : BCFMT_OK;
}

bcfmt_err bcfmt_dev_signatures(struct bcfmt_dev *dev,
			       struct bcfmt_signature out[BCFMT_SIGNATURES_MAX], size_t *n)
{
	blkid_probe probe;
	bcfmt_err err;

	*n = 0;
	err = new_probe(dev, &probe);
	if (err)
		return err;
	err = run_probe(dev->ctx, dev->name, probe, out, n);
	blkid_free_probe(probe);
	return err;
}

bcfmt_err probe_bytes(struct bcfmt_ctx *ctx, const char *name, const void *bytes, size_t len_bytes,
		      uint64_t total_bytes, struct bcfmt_signature out[BCFMT_SIGNATURES_MAX],
		      size_t *n)
{
	int fd = memfd_create("bcfmt-probe", MFD_CLOEXEC);
	blkid_probe probe = NULL;
	bcfmt_err err;

	*n = 0;
	if (fd < 0)
		return bcfmt_fail(ctx, BCFMT_E_SYSTEM, "%s: no file in memory to look into", name);
	err = tmpfile_write(ctx, fd, 0, bytes, len_bytes);
	if (!err && ftruncate(fd, (off_t)min_u64(max_u64(total_bytes, len_bytes), INT64_MAX)))
		err = bcfmt_fail(ctx, BCFMT_E_SYSTEM, "%s: no file in memory to look into", name);
	errno = 0;
	if (!err) {
		probe = blkid_new_probe();
		if (!probe || blkid_probe_set_device(probe, fd, 0, 0))
			err = fail(ctx, name, "read it");
	}
	if (!err)
		err = run_probe(ctx, name, probe, out, n);
	blkid_free_probe(probe);
	close(fd);
	return err;
}

/* Wide numbers of sysfs that no device has are cut. */
static uint32_t block_bytes_of(unsigned long told, uint32_t logical_block_bytes)
{
	return told >= logical_block_bytes && told <= UINT32_MAX ? (uint32_t)told
								 : logical_block_bytes;
}

bcfmt_err bcfmt_dev_topology(struct bcfmt_dev *dev, struct bcfmt_topology *out)
{
	struct stat st = { 0 };
	blkid_topology told;
	blkid_probe probe;
	bcfmt_err err;

	*out = (struct bcfmt_topology){
		.logical_block_bytes = dev->logical_block_bytes,
		.preferred_block_bytes = dev->logical_block_bytes,
		.physical_block_bytes = dev->logical_block_bytes,
	};
	err = new_probe(dev, &probe);
	if (err)
		return err;
	if (fstat(file_dev_fd(dev), &st)) {
		blkid_free_probe(probe);
		return fail(dev->ctx, dev->name, "read it");
	}
	out->is_block_device = S_ISBLK(st.st_mode);
	if (!out->is_block_device) {
		if (st.st_blksize >= (blksize_t)BCFMT_SECTOR_BYTES && st.st_blksize <= 1 << 20)
			out->preferred_block_bytes = (uint32_t)st.st_blksize;
		blkid_free_probe(probe);
		return BCFMT_OK;
	}
	told = blkid_probe_get_topology(probe);
	if (told) {
		out->physical_block_bytes = block_bytes_of(
			blkid_topology_get_physical_sector_size(told), out->logical_block_bytes);
		out->optimal_io_bytes = blkid_topology_get_optimal_io_size(told);
		out->misaligned_bytes = blkid_topology_get_alignment_offset(told);
	}
	blkid_free_probe(probe);
	topology_from_sysfs(&HOST_VIEW, st.st_rdev, out);
	return BCFMT_OK;
}
