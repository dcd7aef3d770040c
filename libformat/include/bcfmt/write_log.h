/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Logs of dm-log-writes: every state that a power cut could have left; and writing such logs. */
#ifndef BCFMT_WRITE_LOG_H
#define BCFMT_WRITE_LOG_H

#include <bcfmt/base.h>
#include <bcfmt/ctx.h>

BCFMT_BEGIN_DECLS

struct bcfmt_dev;
struct bcfmt_write_log;

#define BCFMT_WRITE_LOG_ENTRIES_MAX (1u << 22)

/* Bits of an entry. kernel: dm-log-writes. */
#define BCFMT_WRITE_LOG_FLUSH 0x1u   /* REQ_PREFLUSH: all writes before it are durable */
#define BCFMT_WRITE_LOG_FUA 0x2u     /* durable itself */
#define BCFMT_WRITE_LOG_DISCARD 0x4u /* its sectors read as zeros afterwards */
#define BCFMT_WRITE_LOG_MARK 0x8u    /* a name put into the log; changes nothing */
#define BCFMT_WRITE_LOG_METADATA 0x10u

struct bcfmt_write_log_entry {
	uint64_t start_sector; /* 512 bytes, whatever unit the log has */
	uint64_t sectors;      /* 0: a flush without data, or a mark */
	uint32_t flags;
	bool is_write;         /* has data that changes the device */
};

/*
 * Reads the headers of all entries of log, which must outlive *out. device_bytes is the size of
 * the device that was recorded, a multiple of 512. E_DAMAGED when it is no such log or an entry
 * reaches past the end of the log, E_RANGE when one reaches past device_bytes, E_UNSUPPORTED for
 * another version, sectors that are no power of 2 in 512..65536, or more than 2^22 entries; the
 * fault names the entry. Memory follows the number of entries. Freed with bcfmt_write_log_free().
 */
BCFMT_API bcfmt_err bcfmt_write_log_open(struct bcfmt_ctx *ctx, struct bcfmt_dev *log,
					 uint64_t device_bytes, struct bcfmt_write_log **out);
/* After all states that were made of it; NULL is fine. */
BCFMT_API void bcfmt_write_log_free(struct bcfmt_write_log *log);

BCFMT_API uint32_t bcfmt_write_log_entries(const struct bcfmt_write_log *log);
/* E_ARG when index is no entry. */
BCFMT_API bcfmt_err bcfmt_write_log_entry(const struct bcfmt_write_log *log, uint32_t index,
					  struct bcfmt_write_log_entry *out);

/*
 * The first entry behind the last one that carries FLUSH or FUA among the first n (0 without
 * one, n when that one is the last). Everything before it is durable after the first n entries.
 * That holds before a FUA entry too: the kernel target puts a write into the log only when it
 * was flushed or is FUA itself, so what stands before a FUA entry was flushed before it.
 * n is at most the number of entries.
 */
BCFMT_API uint32_t bcfmt_write_log_first_volatile(const struct bcfmt_write_log *log, uint32_t n);
/*
 * Whether a power cut after the first n entries may have lost entry index: a write from
 * first_volatile(n) on and before n. Discards and marks are always applied.
 */
BCFMT_API bool bcfmt_write_log_may_be_lost(const struct bcfmt_write_log *log, uint32_t n,
					   uint32_t index);

/*
 * A read-only device: zeros with the first n entries applied in order but those left out.
 * left_out, NULL for none, is a bitmap of at least n bits: entry i is bit i % 8 of byte i / 8.
 * E_ARG when it names an entry before n that may not be lost. log must outlive the device.
 */
BCFMT_API bcfmt_err bcfmt_write_log_state(struct bcfmt_ctx *ctx, struct bcfmt_write_log *log,
					  uint32_t n, const uint8_t *left_out,
					  struct bcfmt_dev **out);
/*
 * Makes such a device the state after the first n entries, with all of them. n must not be less
 * than before. Costs what the entries in between cost. Not while the device is read. E_ARG
 * changes nothing; after E_NOMEM the device can only be freed.
 */
BCFMT_API bcfmt_err bcfmt_write_log_advance(struct bcfmt_dev *state, uint32_t n);
/*
 * The same n with other entries left out (NULL: none). Costs what the entries that may be lost
 * cost. Otherwise like bcfmt_write_log_advance().
 */
BCFMT_API bcfmt_err bcfmt_write_log_leave_out(struct bcfmt_dev *state, const uint8_t *left_out);

/*
 * Several devices that are recorded on one timeline, each into a log of its own. Every entry of
 * one log stands in all the others as a mark, so the first n entries of each of the logs are what
 * was on the devices at one moment, whatever was not flushed then.
 */
struct bcfmt_recording;

/* Freed with bcfmt_recording_free() after all devices that record on it. E_NOMEM. */
BCFMT_API bcfmt_err bcfmt_recording_new(struct bcfmt_ctx *ctx, struct bcfmt_recording **out);
BCFMT_API void bcfmt_recording_free(struct bcfmt_recording *recording);
/* How many entries each log has by now. */
BCFMT_API uint32_t bcfmt_recording_entries(const struct bcfmt_recording *recording);

/*
 * A device over lower that writes whatever changes it to log, and then to lower. What lower holds
 * at that time goes into the log first, as entries that are durable: they end with a flush, and
 * the state after bcfmt_recording_entries() entries is the device as it was found. A log is a
 * valid one at any time. Both devices are borrowed and must outlive *out; log must be writable,
 * and what it holds is overwritten.
 *
 * Writes of *out are whole sectors, else E_ARG. E_RANGE when a log of the recording is full: then
 * neither log nor device was changed. A write that fails on lower stands in the log all the same.
 */
BCFMT_API bcfmt_err bcfmt_dev_recording(struct bcfmt_ctx *ctx, struct bcfmt_recording *recording,
					struct bcfmt_dev *lower, struct bcfmt_dev *log,
					struct bcfmt_dev **out);

BCFMT_END_DECLS

#endif
