/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * mkundo [--cut] UNDO_FILE CHANGE...
 *
 * Changes images under an undo file. A CHANGE is DEVICE:SECTOR+SECTORS=BYTE; what was changed is
 * all BYTE then. DEVICE+ALONE registers a device that is not changed. --cut: no end mark.
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <bcfmt/undo.h>

#define DEVICES_MAX 16u

static struct bcfmt_ctx *ctx;
static struct bcfmt_undo *undo;
static struct bcfmt_dev *devs[DEVICES_MAX];
static size_t n_devs;

/* Opens a device once. */
static bcfmt_err find_device(const char *path, struct bcfmt_dev **dev, unsigned int *index)
{
	bcfmt_err err = BCFMT_OK;
	size_t i = 0;

	while (i < n_devs && strcmp(bcfmt_dev_name(devs[i]), path))
		i++;
	if (i == DEVICES_MAX)
		return BCFMT_E_ARG;
	if (i == n_devs) {
		err = bcfmt_dev_open(ctx, path, BCFMT_OPEN_WRITE | BCFMT_OPEN_EXCLUSIVE, &devs[i]);
		n_devs += !err;
	}
	*dev = err ? NULL : devs[i];
	return err ? err : bcfmt_undo_add_device(undo, *dev, index);
}

static bcfmt_err change(struct bcfmt_dev *dev, unsigned int index, uint64_t sector,
			uint64_t sectors, int byte)
{
	uint8_t *bytes = malloc(sectors * BCFMT_SECTOR_BYTES);
	uint64_t offset_bytes = sector * BCFMT_SECTOR_BYTES;
	bcfmt_err err = bytes ? BCFMT_OK : BCFMT_E_NOMEM;

	if (!err) {
		memset(bytes, byte, sectors * BCFMT_SECTOR_BYTES);
		err = bcfmt_undo_save(undo, index, offset_bytes, bytes,
				      sectors * BCFMT_SECTOR_BYTES);
	}
	if (!err)
		err = bcfmt_undo_sync(undo);
	if (!err)
		err = bcfmt_dev_write(dev, offset_bytes, bytes, sectors * BCFMT_SECTOR_BYTES);
	free(bytes);
	return err;
}

static bcfmt_err do_change(char *text)
{
	struct bcfmt_dev *dev;
	uint64_t sector, sectors;
	unsigned int byte, index;
	char *colon = strrchr(text, ':');
	char *alone = strstr(text, "+ALONE");
	bcfmt_err err;

	if (alone) {
		*alone = '\0';
		return find_device(text, &dev, &index);
	}
	if (!colon || sscanf(colon, ":%" SCNu64 "+%" SCNu64 "=%x", &sector, &sectors, &byte) != 3 ||
	    sectors > 1u << 20)
		return BCFMT_E_ARG;
	*colon = '\0';
	err = find_device(text, &dev, &index);
	return err ? err : change(dev, index, sector, sectors, (int)byte);
}

int main(int argc, char **argv)
{
	bool is_cut = argc > 1 && !strcmp(argv[1], "--cut");
	bcfmt_err err;
	int i = is_cut ? 2 : 1;

	if (i >= argc) {
		fprintf(stderr, "usage: mkundo [--cut] UNDO_FILE DEVICE:SECTOR+SECTORS=BYTE...\n");
		return 2;
	}
	if (bcfmt_ctx_new(NULL, &ctx))
		return 1;
	err = bcfmt_undo_create(ctx, argv[i], "mkundo", &undo);
	while (!err && ++i < argc)
		err = do_change(argv[i]);
	if (!err && !is_cut)
		err = bcfmt_undo_finish(undo);
	if (err)
		fprintf(stderr, "mkundo: %s: %s\n", bcfmt_err_name(err), bcfmt_ctx_fault(ctx));
	bcfmt_undo_free(undo);
	while (n_devs)
		bcfmt_dev_free(devs[--n_devs]);
	bcfmt_ctx_free(ctx);
	return err ? 1 : 0;
}
