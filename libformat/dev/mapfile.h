/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Mapfiles of ddrescue: what of a device was read, and what was not. */
#ifndef DEV_MAPFILE_H
#define DEV_MAPFILE_H

#include <bcfmt/ctx.h>

/* A range that is not empty, of one status of ddrescue: + / - * ?. Returns E_NOMEM or OK. */
typedef bcfmt_err (*mapfile_fn)(void *arg, uint64_t start_bytes, uint64_t end_bytes, char status);

/*
 * Calls take for the ranges of the file in ascending order; none overlap. What lies between two
 * was not tried. E_ARG: it is no mapfile, the fault names the line. E_SYSTEM, E_NOMEM.
 */
bcfmt_err mapfile_read(struct bcfmt_ctx *ctx, const char *path, mapfile_fn take, void *arg);

#endif
