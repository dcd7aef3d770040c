/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Signatures in bytes that are on no device as they are. */
#ifndef DEV_PROBE_H
#define DEV_PROBE_H

#include <bcfmt/probe.h>

/*
 * As bcfmt_dev_signatures(), of a device of total_bytes that begins with these bytes and is zero
 * behind them. name stands for it in faults. E_NOMEM, E_SYSTEM, E_IO.
 */
bcfmt_err probe_bytes(struct bcfmt_ctx *ctx, const char *name, const void *bytes, size_t len_bytes,
		      uint64_t total_bytes, struct bcfmt_signature out[BCFMT_SIGNATURES_MAX],
		      size_t *n);

#endif
