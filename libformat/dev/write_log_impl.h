/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Layout of a dm-log-writes log, for the one who reads it and the one who writes it. */
#ifndef DEV_WRITE_LOG_IMPL_H
#define DEV_WRITE_LOG_IMPL_H

/*
 * kernel: struct log_write_super and log_write_entry of dm-log-writes, all little-endian. The
 * super takes the first sector of the log, each header one, in sectors of the log.
 */
#define SUPER_MAGIC 0x6a736677736872ull
#define SUPER_VERSION 1u
#define SUPER_BYTES 28u
#define SUPER_VERSION_AT 8u
#define SUPER_ENTRIES_AT 16u
#define SUPER_SECTOR_BYTES_AT 24u
#define ENTRY_BYTES 32u
#define ENTRY_SECTORS_AT 8u
#define ENTRY_FLAGS_AT 16u
#define ENTRY_DATA_BYTES_AT 24u
#define ENTRY_FLAGS_ALL 0x1full
#define LOG_SECTOR_BYTES_MAX 65536u

#endif
