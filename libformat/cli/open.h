/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Opening the devices of a command line. */
#ifndef CLI_OPEN_H
#define CLI_OPEN_H

#include <bcfmt/base.h>
#include <bcfmt/ctx.h>
#include <bcfmt/dev.h>
#include <bcfmt/set.h>

struct cli_open_params {
	const char *const *paths;
	size_t n_paths;
	unsigned int flags;	     /* BCFMT_OPEN_WRITE, BCFMT_OPEN_EXCLUSIVE */
	bool is_in_use_ok;	     /* --force: also read a device that the kernel holds */
	const char *const *bad_maps; /* ddrescue mapfiles, one a device from the first on */
	size_t n_bad_maps;	     /* at most n_paths, else E_ARG */
	const enum bcfmt_role *roles; /* one a path; NULL: all AUTO */
};

struct cli_devices {
	struct bcfmt_dev **devs; /* in the order of paths; of a metadata image all its members */
	enum bcfmt_role *roles;	 /* one a device, for bcfmt_set_params */
	size_t n;
	size_t cap;
};

/*
 * Opens all of them or none. Errors are printed. A device that was in use and opened all the same
 * is told on stderr: the result may be inconsistent; so is what a damaged image lacks. E_ARG: more
 * maps than devices, a bad map, one for an image, one device named twice. Frees with
 * cli_devices_close().
 */
bcfmt_err cli_devices_open(struct bcfmt_ctx *ctx, const struct cli_open_params *params,
			   struct cli_devices *out);
void cli_devices_close(struct cli_devices *devices);

/* Appends a device, which *devices then owns; E_NOMEM, printed, frees it. */
bcfmt_err cli_devices_add(struct cli_devices *devices, struct bcfmt_dev *dev, enum bcfmt_role role);
/* A device of a metadata image; NULL when there is none. What it holds is no data. */
struct bcfmt_dev *cli_devices_image(const struct cli_devices *devices);

#endif
