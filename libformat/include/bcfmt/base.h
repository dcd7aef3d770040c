/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Error codes and the export mark shared by every public header. */
#ifndef BCFMT_BASE_H
#define BCFMT_BASE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define BCFMT_API __attribute__((visibility("default")))
#define BCFMT_PRINTF(fmt, first) __attribute__((format(printf, fmt, first)))
/* Around the declarations of each header, for C++. */
#ifdef __cplusplus
#define BCFMT_BEGIN_DECLS extern "C" {
#define BCFMT_END_DECLS }
#else
#define BCFMT_BEGIN_DECLS
#define BCFMT_END_DECLS
#endif

BCFMT_BEGIN_DECLS

/* A sector is 512 bytes everywhere in bcache, whatever the device says. */
#define BCFMT_SECTOR_BYTES 512u
#define BCFMT_UUID_BYTES 16u

/*
 * Result of a call that can fail. Damage of the medium is no failure of a call that checks: it is
 * described in the structures that the call fills. Numbers are never reused.
 */
typedef enum bcfmt_err {
	BCFMT_OK = 0,
	BCFMT_END = 1,            /* iterators: nothing more, not an error */
	BCFMT_E_NOMEM = -1,       /* an allocation failed or would pass the memory cap */
	BCFMT_E_IO = -2,          /* the device could not read or write */
	BCFMT_E_ARG = -3,         /* the caller's argument is out of its documented range */
	BCFMT_E_DAMAGED = -4,     /* the structure on the device is not what was asked for */
	BCFMT_E_UNSUPPORTED = -5, /* valid but of a kind that this library does not handle */
	BCFMT_E_BUSY = -6,        /* the kernel or another program holds the device */
	BCFMT_E_RANGE = -7,       /* the range lies beyond the end of the device */
	BCFMT_E_CANCELLED = -8,   /* the caller asked to stop */
	BCFMT_E_SYSTEM = -9,      /* the host refused: open, thread, temporary file */
	BCFMT_E_NOTFOUND = -10,   /* nothing with that name */
} bcfmt_err;

/* Short lower-case name of an error ("i/o error"); static storage, never NULL. */
BCFMT_API const char *bcfmt_err_name(bcfmt_err err);

/* "0.1.0"; static storage. */
BCFMT_API const char *bcfmt_version(void);

BCFMT_END_DECLS

#endif
