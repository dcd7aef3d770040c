/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Devices that record what is done to them, one and several on one timeline. */
#include "dev_help.h"

#include <bcfmt/write_log.h>

#define DEVICE_SECTORS 400u
#define DEVICE_BYTES (DEVICE_SECTORS * 512u)
#define LOG_BYTES (4u << 20)
#define STEPS 120u

TestSuite(recording, .init = help_begin, .fini = help_end);

static struct bcfmt_dev *log_of(size_t len_bytes)
{
	struct bcfmt_dev *log;

	cr_assert_eq(bcfmt_dev_mem(help_ctx, "log", NULL, len_bytes, &log), BCFMT_OK);
	return log;
}

static void read_all(struct bcfmt_dev *dev, uint8_t *buf)
{
	cr_assert_eq(bcfmt_dev_read(dev, 0, buf, DEVICE_BYTES), BCFMT_OK);
}

/* One device of a timeline, and what it held after each entry. */
struct recorded {
	struct bcfmt_dev *lower;
	struct bcfmt_dev *log;
	struct bcfmt_dev *dev;
	struct bcfmt_write_log *written;
	uint8_t *after[3 * STEPS];
	uint32_t flushed[3 * STEPS]; /* entries that are durable after so many */
};

static void begin_recorded(struct recorded *one, struct bcfmt_recording *recording,
			   unsigned int seed)
{
	one->lower = help_mem(DEVICE_BYTES, seed);
	one->log = log_of(LOG_BYTES);
	cr_assert_eq(bcfmt_dev_recording(help_ctx, recording, one->lower, one->log, &one->dev),
		     BCFMT_OK);
}

static void end_recorded(struct recorded *one, uint32_t first, uint32_t end)
{
	while (first < end)
		free(one->after[first++]);
	bcfmt_write_log_free(one->written);
	bcfmt_dev_free(one->dev);
	bcfmt_dev_free(one->log);
	bcfmt_dev_free(one->lower);
}

static void remember(struct recorded *one, uint32_t n)
{
	one->after[n] = malloc(DEVICE_BYTES);
	read_all(one->lower, one->after[n]);
}

static void expect_cut(struct recorded *one, uint32_t n)
{
	uint8_t *got = malloc(DEVICE_BYTES);
	struct bcfmt_dev *state;

	cr_assert_eq(bcfmt_write_log_state(help_ctx, one->written, n, NULL, &state), BCFMT_OK);
	read_all(state, got);
	cr_assert_eq(memcmp(got, one->after[n], DEVICE_BYTES), 0, "after %u entries", n);
	cr_assert_eq(bcfmt_write_log_first_volatile(one->written, n), one->flushed[n],
		     "durable after %u entries", n);
	bcfmt_dev_free(state);
	free(got);
}

static void write_somewhere(struct bcfmt_dev *dev, uint64_t *seed, unsigned int step)
{
	uint64_t sector = help_random(seed) % DEVICE_SECTORS;
	uint64_t sectors = 1 + help_random(seed) % 16;
	uint8_t buf[16 * 512], got[16 * 512];

	if (sectors > DEVICE_SECTORS - sector)
		sectors = DEVICE_SECTORS - sector;
	help_fill(buf, sector * 512, sectors * 512, 1000 + step);
	cr_assert_eq(bcfmt_dev_write(dev, sector * 512, buf, sectors * 512), BCFMT_OK);
	cr_assert_eq(bcfmt_dev_read(dev, sector * 512, got, sectors * 512), BCFMT_OK);
	cr_assert_eq(memcmp(buf, got, sectors * 512), 0);
}

/* Three devices, of which the last joins late: at every cut each is what it was then. */
Test(recording, several_devices_on_one_timeline)
{
	struct recorded devices[3] = { 0 };
	struct bcfmt_recording *recording;
	uint32_t first, joined = 0, n;
	uint64_t seed = 8;
	size_t i;

	cr_assert_eq(bcfmt_recording_new(help_ctx, &recording), BCFMT_OK);
	begin_recorded(&devices[0], recording, 1);
	begin_recorded(&devices[1], recording, 2);
	first = bcfmt_recording_entries(recording);
	for (n = first; n < first + STEPS; n = bcfmt_recording_entries(recording)) {
		size_t which = help_random(&seed) % 3;

		if (!joined && n > first + STEPS / 3) {
			begin_recorded(&devices[2], recording, 3);
			joined = bcfmt_recording_entries(recording);
			/* What was found of it is entries of the timeline as well. */
			for (uint32_t k = n; k < joined; k++)
				for (i = 0; i < 2; i++) {
					remember(&devices[i], k);
					devices[i].flushed[k] = devices[i].flushed[n];
				}
			for (i = 0; i < 2; i++)
				devices[i].flushed[joined] = devices[i].flushed[n];
			n = joined;
			devices[2].flushed[n] = n;
		} else if (n == first) {
			/* The second one joined later, and its flush is its last entry. */
			devices[1].flushed[n] = n;
			devices[0].flushed[n] = n - bcfmt_recording_entries(recording) / 2;
		}
		for (i = 0; i < (joined ? 3 : 2); i++)
			remember(&devices[i], n);
		if (which == 2 && !joined)
			which = 0;
		for (i = 0; i < 3; i++)
			devices[i].flushed[n + 1] = devices[i].flushed[n];
		if (help_random(&seed) % 5) {
			write_somewhere(devices[which].dev, &seed, n);
		} else {
			cr_assert_eq(bcfmt_dev_flush(devices[which].dev), BCFMT_OK);
			devices[which].flushed[n + 1] = n + 1;
		}
		cr_assert_eq(bcfmt_recording_entries(recording), n + 1);
	}
	for (i = 0; i < 3; i++) {
		uint32_t from = i == 2 ? joined : first;

		cr_assert_eq(bcfmt_write_log_open(help_ctx, devices[i].log, DEVICE_BYTES,
						  &devices[i].written),
			     BCFMT_OK);
		cr_expect_eq(bcfmt_write_log_entries(devices[i].written), n);
		for (uint32_t k = from; k < n; k++)
			expect_cut(&devices[i], k);
		end_recorded(&devices[i], from, n);
	}
	bcfmt_recording_free(recording);
}

/* Holes and zeros take no room in the log, and the size of the device none either. */
Test(recording, only_what_is_not_zero_is_in_the_log_at_first)
{
	const size_t big_bytes = (size_t)1 << 30;
	struct bcfmt_dev *lower, *log = log_of(LOG_BYTES), *dev, *state;
	struct bcfmt_recording *recording;
	struct bcfmt_write_log *written;
	char path[HELP_PATH_BYTES];
	uint8_t buf[4096], got[4096];

	help_text("big", "");
	cr_assert_eq(truncate(help_path(path, "big"), (off_t)big_bytes), 0);
	cr_assert_eq(bcfmt_dev_open(help_ctx, path, BCFMT_OPEN_WRITE, &lower), BCFMT_OK);
	help_fill(buf, 0, sizeof(buf), 7);
	cr_assert_eq(bcfmt_dev_write(lower, big_bytes - 4096, buf, 4096), BCFMT_OK);
	cr_assert_eq(bcfmt_dev_write(lower, 1u << 20, buf, 4096), BCFMT_OK);
	cr_assert_eq(bcfmt_recording_new(help_ctx, &recording), BCFMT_OK);
	cr_assert_eq(bcfmt_dev_recording(help_ctx, recording, lower, log, &dev), BCFMT_OK);
	cr_expect_eq(bcfmt_recording_entries(recording), 3);
	cr_expect_eq(bcfmt_dev_bytes(dev), big_bytes);
	cr_assert_eq(bcfmt_write_log_open(help_ctx, log, big_bytes, &written), BCFMT_OK);
	cr_expect_eq(bcfmt_write_log_first_volatile(written, 3), 3);
	cr_assert_eq(bcfmt_write_log_state(help_ctx, written, 3, NULL, &state), BCFMT_OK);
	cr_assert_eq(bcfmt_dev_read(state, big_bytes - 4096, got, 4096), BCFMT_OK);
	cr_expect_arr_eq(got, buf, 4096);
	cr_assert_eq(bcfmt_dev_read(state, big_bytes - 8192, got, 4096), BCFMT_OK);
	cr_expect(help_all_zero(got, 4096));
	bcfmt_dev_free(state);
	bcfmt_write_log_free(written);
	bcfmt_dev_free(dev);
	bcfmt_recording_free(recording);
	bcfmt_dev_free(log);
	bcfmt_dev_free(lower);
}

Test(recording, a_full_log_changes_nothing)
{
	struct bcfmt_dev *lower[2], *log[2], *dev[2];
	struct bcfmt_recording *recording;
	uint8_t buf[1024], got[1024];
	uint32_t n;

	cr_assert_eq(bcfmt_recording_new(help_ctx, &recording), BCFMT_OK);
	for (n = 0; n < 2; n++) {
		cr_assert_eq(bcfmt_dev_mem(help_ctx, "mem", NULL, 8192, &lower[n]), BCFMT_OK);
		log[n] = log_of(6 * 512);
		cr_assert_eq(bcfmt_dev_recording(help_ctx, recording, lower[n], log[n], &dev[n]),
			     BCFMT_OK);
	}
	help_fill(buf, 0, sizeof(buf), 1);
	/* Of six sectors the super has one, and two flushes one each. */
	cr_expect_eq(bcfmt_dev_write(dev[0], 512, buf, 1024), BCFMT_OK);
	n = bcfmt_recording_entries(recording);
	cr_expect_eq(n, 3);
	cr_expect_eq(bcfmt_dev_flush(dev[0]), BCFMT_E_RANGE);
	help_expect_fault("mem: cannot flush: a write log is full");
	/* There is room in the other log, but not for its mark in this one. */
	cr_expect_eq(bcfmt_dev_write(dev[1], 0, buf, 512), BCFMT_E_RANGE);
	help_expect_fault("mem: sector 0: cannot write: a write log is full");
	cr_expect_eq(bcfmt_recording_entries(recording), n);
	cr_assert_eq(bcfmt_dev_read(lower[1], 0, got, 1024), BCFMT_OK);
	cr_expect(help_all_zero(got, 1024));
	/* Without the first there is. */
	bcfmt_dev_free(dev[0]);
	cr_expect_eq(bcfmt_dev_write(dev[1], 0, buf, 512), BCFMT_OK);
	bcfmt_dev_free(dev[1]);
	for (n = 0; n < 2; n++) {
		bcfmt_dev_free(log[n]);
		bcfmt_dev_free(lower[n]);
	}
	bcfmt_recording_free(recording);
}

Test(recording, what_it_refuses)
{
	struct bcfmt_dev *lower = help_mem(8192, 1), *dev;
	struct bcfmt_dev *small = log_of(512), *short_log = log_of(4096), *log = log_of(LOG_BYTES);
	struct bcfmt_recording *recording;
	uint8_t buf[1024] = { 0 };

	cr_assert_eq(bcfmt_recording_new(help_ctx, &recording), BCFMT_OK);
	cr_expect_eq(bcfmt_dev_recording(help_ctx, recording, lower, small, &dev), BCFMT_E_RANGE);
	help_expect_fault("log: no room for a write log of mem");
	cr_expect_null(dev);
	cr_expect_eq(bcfmt_dev_recording(help_ctx, recording, lower, short_log, &dev),
		     BCFMT_E_RANGE);
	help_expect_fault("mem: cannot record to log: a write log is full");
	cr_expect_eq(bcfmt_recording_entries(recording), 0);
	cr_assert_eq(bcfmt_dev_recording(help_ctx, recording, lower, log, &dev), BCFMT_OK);
	cr_expect_eq(bcfmt_dev_write(dev, 256, buf, 512), BCFMT_E_ARG);
	help_expect_fault("mem: sector 0: cannot write: not whole sectors");
	cr_expect_eq(bcfmt_dev_write(dev, 0, buf, 100), BCFMT_E_ARG);
	cr_expect_eq(bcfmt_dev_write(dev, 8192, buf, 512), BCFMT_E_RANGE);
	cr_expect_eq(bcfmt_recording_entries(recording), 2);
	bcfmt_dev_free(dev);
	bcfmt_recording_free(recording);
	bcfmt_recording_free(NULL);
	bcfmt_dev_free(small);
	bcfmt_dev_free(short_log);
	bcfmt_dev_free(log);
	bcfmt_dev_free(lower);
}

/* Each write of the logs fails once: the error comes through, the device keeps what it had. */
Test(recording, a_log_that_cannot_be_written)
{
	uint64_t at;

	for (at = 1;; at++) {
		struct bcfmt_dev_faults faults = { .fail_write = at, .once = true };
		struct bcfmt_dev *lower = help_mem(8192, 1), *log, *dev = NULL;
		struct bcfmt_recording *recording;
		uint8_t buf[1024], got[1024];
		bcfmt_err err;

		help_fill(buf, 0, sizeof(buf), 9);
		cr_assert_eq(bcfmt_dev_faulty(help_ctx, log_of(LOG_BYTES), &faults, &log),
			     BCFMT_OK);
		cr_assert_eq(bcfmt_recording_new(help_ctx, &recording), BCFMT_OK);
		err = bcfmt_dev_recording(help_ctx, recording, lower, log, &dev);
		if (!err)
			err = bcfmt_dev_write(dev, 0, buf, 1024);
		cr_assert_eq(bcfmt_dev_read(lower, 0, got, 1024), BCFMT_OK);
		cr_expect_eq(err ? help_byte(1023, 1) : help_byte(1023, 9), got[1023]);
		bcfmt_dev_free(dev);
		bcfmt_recording_free(recording);
		bcfmt_dev_free(log);
		bcfmt_dev_free(lower);
		if (!err)
			break;
		cr_assert_eq(err, BCFMT_E_IO);
		help_expect_fault("injected failure");
	}
	/* The super; header, data and count of what was found; header and count of its flush. */
	cr_expect_eq(at, 1 + 3 + 2 + 3 + 1);
}
