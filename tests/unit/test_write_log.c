/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Logs of dm-log-writes: states after any entry, what may be lost, and damaged logs. */
#include "dev_help.h"

#include <bcfmt/write_log.h>

#include "base/bytes.h"

#define MAGIC 0x6a736677736872ull
#define LOG_BYTES_MAX (8u << 20)
#define DEVICE_SECTORS 256u
#define DEVICE_BYTES (DEVICE_SECTORS * 512u)
#define FLUSH BCFMT_WRITE_LOG_FLUSH
#define FUA BCFMT_WRITE_LOG_FUA
#define DISCARD BCFMT_WRITE_LOG_DISCARD
#define MARK BCFMT_WRITE_LOG_MARK

static uint8_t *raw;
static size_t raw_bytes;
static uint32_t raw_sector_bytes;

static void begin_log(uint32_t sector_bytes)
{
	memset(raw, 0, LOG_BYTES_MAX);
	store_le64(raw, MAGIC);
	store_le64(raw + 8, 1);
	store_le32(raw + 24, sector_bytes);
	raw_sector_bytes = sector_bytes;
	raw_bytes = sector_bytes;
}

static void begin(void)
{
	help_begin();
	raw = malloc(LOG_BYTES_MAX);
	begin_log(512);
}

static void end(void)
{
	free(raw);
	help_end();
}

TestSuite(write_log, .init = begin, .fini = end);

/* Sectors in the unit of the log. The data of entry i is help_byte(…, i). */
static void add(uint64_t sector, uint64_t sectors, uint64_t flags)
{
	uint8_t *header = raw + raw_bytes;
	uint64_t index = load_le64(raw + 16);

	store_le64(header, sector);
	store_le64(header + 8, sectors);
	store_le64(header + 16, flags);
	raw_bytes += raw_sector_bytes;
	if (!(flags & DISCARD)) {
		help_fill(raw + raw_bytes, sector * raw_sector_bytes, sectors * raw_sector_bytes,
			  (unsigned int)index);
		raw_bytes += sectors * raw_sector_bytes;
	}
	store_le64(raw + 16, index + 1);
}

static struct bcfmt_dev *log_dev;

static bcfmt_err open_log(struct bcfmt_write_log **log)
{
	bcfmt_err err;

	cr_assert_eq(bcfmt_dev_mem(help_ctx, "log", raw, raw_bytes, &log_dev), BCFMT_OK);
	err = bcfmt_write_log_open(help_ctx, log_dev, DEVICE_BYTES, log);
	if (err) {
		cr_expect_null(*log);
		bcfmt_dev_free(log_dev);
	}
	return err;
}

/* Which entry each sector comes from, -1 for zeros. */
static void expect_sources(struct bcfmt_dev *state, const int *sources, uint32_t unit)
{
	static uint8_t got[DEVICE_BYTES];
	unsigned int sector, i;

	cr_assert_eq(bcfmt_dev_read(state, 0, got, DEVICE_BYTES), BCFMT_OK);
	for (sector = 0; sector < DEVICE_SECTORS; sector++) {
		int source = sources[sector / unit];

		for (i = sector * 512; i < sector * 512 + 512; i++)
			cr_assert_eq(got[i], source < 0 ? 0 : help_byte(i, (unsigned int)source),
				     "sector %u is not of entry %d", sector, source);
	}
}

/* The same by going through the entries, as the format is defined. */
static void expect_state(struct bcfmt_dev *state, struct bcfmt_write_log *log, uint32_t n,
			 const uint8_t *left_out)
{
	int sources[DEVICE_SECTORS];
	uint32_t i;

	memset(sources, 0xff, sizeof(sources));
	for (i = 0; i < n; i++) {
		struct bcfmt_write_log_entry entry;
		uint64_t at;

		cr_assert_eq(bcfmt_write_log_entry(log, i, &entry), BCFMT_OK);
		if (left_out && left_out[i / 8] >> (i % 8) & 1)
			continue;
		for (at = 0; at < entry.sectors && !(entry.flags & MARK); at++)
			sources[entry.start_sector + at] = entry.flags & DISCARD ? -1 : (int)i;
	}
	expect_sources(state, sources, 1);
}

Test(write_log, entries_and_what_may_be_lost)
{
	static const uint32_t first[] = { 0, 0, 0, 3, 4, 4, 4, 4, 8, 8 };
	struct bcfmt_write_log_entry entry;
	struct bcfmt_write_log *log;
	uint32_t n;

	add(0, 8, 0);
	add(16, 2, 16);
	add(0, 0, FLUSH | FUA);
	add(40, 1, FUA);
	add(0, 4, 0);
	add(8, 8, DISCARD);
	add(0, 0, MARK);
	add(100, 3, FLUSH);
	add(60, 2, 0);
	cr_assert_eq(open_log(&log), BCFMT_OK);
	cr_expect_eq(bcfmt_write_log_entries(log), 9);
	cr_expect_eq(bcfmt_write_log_entry(log, 1, &entry), BCFMT_OK);
	cr_expect(entry.start_sector == 16 && entry.sectors == 2);
	cr_expect(entry.flags == BCFMT_WRITE_LOG_METADATA && entry.is_write);
	cr_expect_eq(bcfmt_write_log_entry(log, 2, &entry), BCFMT_OK);
	cr_expect(entry.flags == (FLUSH | FUA) && !entry.is_write);
	cr_expect_eq(bcfmt_write_log_entry(log, 5, &entry), BCFMT_OK);
	cr_expect(entry.sectors == 8 && !entry.is_write);
	cr_expect_eq(bcfmt_write_log_entry(log, 9, &entry), BCFMT_E_ARG);
	for (n = 0; n <= 9; n++)
		cr_expect_eq(bcfmt_write_log_first_volatile(log, n), first[n], "n %u", n);
	cr_expect(bcfmt_write_log_may_be_lost(log, 2, 0));
	cr_expect(bcfmt_write_log_may_be_lost(log, 2, 1));
	cr_expect_not(bcfmt_write_log_may_be_lost(log, 2, 2));
	cr_expect_not(bcfmt_write_log_may_be_lost(log, 3, 0));
	cr_expect_not(bcfmt_write_log_may_be_lost(log, 4, 3));
	cr_expect(bcfmt_write_log_may_be_lost(log, 7, 4));
	cr_expect_not(bcfmt_write_log_may_be_lost(log, 7, 5));
	cr_expect_not(bcfmt_write_log_may_be_lost(log, 7, 6));
	cr_expect_not(bcfmt_write_log_may_be_lost(log, 8, 7));
	cr_expect_not(bcfmt_write_log_may_be_lost(log, 9, 4));
	cr_expect(bcfmt_write_log_may_be_lost(log, 9, 8));
	bcfmt_write_log_free(log);
	bcfmt_dev_free(log_dev);
}

/* A log of writes, discards, flushes and FUA writes that overlap each other. */
static void add_many(unsigned int n, uint64_t seed)
{
	unsigned int i;

	for (i = 0; i < n; i++) {
		uint64_t kind = help_random(&seed) % 16;
		uint64_t sector = help_random(&seed) % DEVICE_SECTORS;
		uint64_t sectors = 1 + help_random(&seed) % 24;

		if (sectors > DEVICE_SECTORS - sector)
			sectors = DEVICE_SECTORS - sector;
		if (kind == 0)
			add(0, 0, FLUSH | FUA);
		else if (kind == 1)
			add(sector, sectors, FUA);
		else if (kind == 2)
			add(sector, sectors, DISCARD);
		else if (kind == 3)
			add(0, 0, MARK);
		else
			add(sector, sectors, 0);
	}
}

Test(write_log, every_state_in_turn_and_made_anew)
{
	struct bcfmt_dev *state, *fresh;
	struct bcfmt_write_log *log;
	uint32_t n;

	add_many(300, 4);
	cr_assert_eq(open_log(&log), BCFMT_OK);
	cr_assert_eq(bcfmt_write_log_state(help_ctx, log, 0, NULL, &state), BCFMT_OK);
	cr_expect_eq(bcfmt_dev_bytes(state), DEVICE_BYTES);
	cr_expect_not(bcfmt_dev_is_writable(state));
	for (n = 0; n <= 300; n++) {
		cr_assert_eq(bcfmt_write_log_advance(state, n), BCFMT_OK);
		expect_state(state, log, n, NULL);
		if (n % 20)
			continue;
		cr_assert_eq(bcfmt_write_log_state(help_ctx, log, n, NULL, &fresh), BCFMT_OK);
		expect_state(fresh, log, n, NULL);
		bcfmt_dev_free(fresh);
	}
	bcfmt_dev_free(state);
	bcfmt_write_log_free(log);
	bcfmt_dev_free(log_dev);
}

Test(write_log, any_choice_of_lost_writes)
{
	uint8_t left_out[(300 + 7) / 8];
	struct bcfmt_dev *state, *fresh;
	struct bcfmt_write_log *log;
	uint64_t seed = 77;
	uint32_t n, i;

	add_many(300, 5);
	cr_assert_eq(open_log(&log), BCFMT_OK);
	cr_assert_eq(bcfmt_write_log_state(help_ctx, log, 0, NULL, &state), BCFMT_OK);
	for (n = 0; n <= 300; n++) {
		cr_assert_eq(bcfmt_write_log_advance(state, n), BCFMT_OK);
		memset(left_out, 0, sizeof(left_out));
		for (i = 0; i < n; i++)
			if (bcfmt_write_log_may_be_lost(log, n, i) && help_random(&seed) % 2)
				left_out[i / 8] |= (uint8_t)(1u << (i % 8));
		cr_assert_eq(bcfmt_write_log_leave_out(state, left_out), BCFMT_OK);
		expect_state(state, log, n, left_out);
		if (n % 3 == 0) {
			cr_assert_eq(bcfmt_write_log_leave_out(state, NULL), BCFMT_OK);
			expect_state(state, log, n, NULL);
		}
		if (n % 20)
			continue;
		cr_assert_eq(bcfmt_write_log_state(help_ctx, log, n, left_out, &fresh), BCFMT_OK);
		expect_state(fresh, log, n, left_out);
		bcfmt_dev_free(fresh);
	}
	bcfmt_dev_free(state);
	bcfmt_write_log_free(log);
	bcfmt_dev_free(log_dev);
}

Test(write_log, durable_entries_cannot_be_left_out)
{
	uint8_t left_out[1] = { 0x01 };
	struct bcfmt_dev *state;
	struct bcfmt_write_log *log;

	add(0, 8, 0);
	add(0, 0, FLUSH);
	add(0, 8, 0);
	cr_assert_eq(open_log(&log), BCFMT_OK);
	cr_expect_eq(bcfmt_write_log_state(help_ctx, log, 3, left_out, &state), BCFMT_E_ARG);
	help_expect_fault("log: entry 0 cannot be lost after 3");
	cr_expect_null(state);
	/* Bits from n on mean nothing. */
	left_out[0] = 0xfc;
	cr_expect_eq(bcfmt_write_log_state(help_ctx, log, 3, left_out, &state), BCFMT_OK);
	expect_state(state, log, 2, NULL);
	cr_expect_eq(bcfmt_write_log_advance(state, 2), BCFMT_E_ARG);
	cr_expect_eq(bcfmt_write_log_advance(state, 4), BCFMT_E_ARG);
	cr_expect_eq(bcfmt_write_log_advance(log_dev, 3), BCFMT_E_ARG);
	cr_expect_eq(bcfmt_write_log_leave_out(log_dev, NULL), BCFMT_E_ARG);
	expect_state(state, log, 2, NULL);
	/* Going on applies what had been left out. */
	cr_expect_eq(bcfmt_write_log_advance(state, 3), BCFMT_OK);
	expect_state(state, log, 3, NULL);
	bcfmt_dev_free(state);
	cr_expect_eq(bcfmt_write_log_state(help_ctx, log, 4, NULL, &state), BCFMT_E_ARG);
	cr_expect_null(state);
	bcfmt_write_log_free(log);
	bcfmt_dev_free(log_dev);
}

Test(write_log, larger_sectors)
{
	struct bcfmt_write_log_entry entry;
	struct bcfmt_write_log *log;
	struct bcfmt_dev *state;
	int sources[DEVICE_SECTORS / 8];

	begin_log(4096);
	add(1, 3, 0);
	add(2, 1, FUA);
	cr_assert_eq(open_log(&log), BCFMT_OK);
	cr_expect_eq(bcfmt_write_log_entry(log, 0, &entry), BCFMT_OK);
	cr_expect(entry.start_sector == 8 && entry.sectors == 24);
	cr_assert_eq(bcfmt_write_log_state(help_ctx, log, 2, NULL, &state), BCFMT_OK);
	memset(sources, 0xff, sizeof(sources));
	sources[1] = 0;
	sources[2] = 1;
	sources[3] = 0;
	expect_sources(state, sources, 8);
	bcfmt_dev_free(state);
	bcfmt_write_log_free(log);
	bcfmt_dev_free(log_dev);
}

Test(write_log, reads_of_any_alignment_and_holes)
{
	struct bcfmt_write_log *log;
	struct bcfmt_dev *state;
	uint64_t begin_bytes = 0, end_bytes = 0;
	uint8_t buf[3000];
	size_t i;

	add(4, 2, 0);
	add(20, 4, FUA);
	add(21, 1, DISCARD);
	cr_assert_eq(open_log(&log), BCFMT_OK);
	cr_assert_eq(bcfmt_write_log_state(help_ctx, log, 3, NULL, &state), BCFMT_OK);
	cr_assert_eq(bcfmt_dev_read(state, 2000, buf, sizeof(buf)), BCFMT_OK);
	for (i = 0; i < sizeof(buf); i++) {
		uint64_t at = 2000 + i;

		cr_assert_eq(buf[i], at / 512 == 4 || at / 512 == 5 ? help_byte(at, 0) : 0);
	}
	cr_assert_eq(bcfmt_dev_read(state, 2100, buf, 600), BCFMT_OK);
	for (i = 0; i < 600; i++)
		cr_assert_eq(buf[i], help_byte(2100 + i, 0));
	cr_expect_eq(bcfmt_dev_write(state, 0, buf, 512), BCFMT_E_ARG);
	cr_expect_eq(bcfmt_dev_next_data(state, 0, &begin_bytes, &end_bytes), BCFMT_OK);
	cr_expect(begin_bytes == 2048 && end_bytes == 3072);
	cr_expect_eq(bcfmt_dev_next_data(state, 2900, &begin_bytes, &end_bytes), BCFMT_OK);
	cr_expect(begin_bytes == 2900 && end_bytes == 3072);
	cr_expect_eq(bcfmt_dev_next_data(state, 3072, &begin_bytes, &end_bytes), BCFMT_OK);
	cr_expect(begin_bytes == 10240 && end_bytes == 10752);
	cr_expect_eq(bcfmt_dev_next_data(state, 10752, &begin_bytes, &end_bytes), BCFMT_OK);
	cr_expect(begin_bytes == 11264 && end_bytes == 12288);
	cr_expect_eq(bcfmt_dev_next_data(state, 12288, &begin_bytes, &end_bytes), BCFMT_END);
	bcfmt_dev_free(state);
	bcfmt_write_log_free(log);
	bcfmt_dev_free(log_dev);
}

Test(write_log, a_log_that_cannot_be_read_is_an_error_of_the_state)
{
	char path[HELP_PATH_BYTES];
	struct bcfmt_dev *file, *state;
	struct bcfmt_write_log *log;
	uint8_t buf[1024];

	add(0, 1, 0);
	add(1, 1, 0);
	help_file("log", raw, raw_bytes);
	cr_assert_eq(bcfmt_dev_open(help_ctx, help_path(path, "log"), 0, &file), BCFMT_OK);
	cr_assert_eq(bcfmt_write_log_open(help_ctx, file, DEVICE_BYTES, &log), BCFMT_OK);
	cr_assert_eq(bcfmt_write_log_state(help_ctx, log, 2, NULL, &state), BCFMT_OK);
	cr_assert_eq(truncate(path, 2000), 0);
	cr_expect_eq(bcfmt_dev_read(state, 0, buf, 512), BCFMT_OK);
	cr_expect_eq(bcfmt_dev_read(state, 0, buf, 1024), BCFMT_E_IO);
	bcfmt_dev_free(state);
	bcfmt_write_log_free(log);
	bcfmt_dev_free(file);
}

/* The log as it stands is refused so; the next case begins anew. */
static void expect_refused(bcfmt_err expected, const char *fault)
{
	struct bcfmt_write_log *log;

	cr_expect_eq(open_log(&log), expected, "%s", fault);
	help_expect_fault(fault);
	begin_log(512);
	add(0, 8, 0);
}

Test(write_log, damaged_logs_are_refused)
{
	struct bcfmt_write_log *log;

	add(0, 8, 0);
	store_le64(raw, MAGIC + 1);
	expect_refused(BCFMT_E_DAMAGED, "log: not a log of dm-log-writes");
	store_le64(raw + 8, 2);
	expect_refused(BCFMT_E_UNSUPPORTED, "log: log version 2");
	store_le32(raw + 24, 0);
	expect_refused(BCFMT_E_UNSUPPORTED, "log: log sectors of 0 bytes");
	store_le32(raw + 24, 513);
	expect_refused(BCFMT_E_UNSUPPORTED, "log: log sectors of 513 bytes");
	store_le32(raw + 24, 1u << 31);
	expect_refused(BCFMT_E_UNSUPPORTED, "log: log sectors of 2147483648 bytes");
	store_le64(raw + 16, UINT64_MAX);
	expect_refused(BCFMT_E_UNSUPPORTED, "log: 18446744073709551615 log entries");
	store_le64(raw + 16, 2);
	expect_refused(BCFMT_E_DAMAGED, "log: entry 1 lies beyond the end of the log");
	raw_bytes -= 512;
	expect_refused(BCFMT_E_DAMAGED, "log: entry 0: data beyond the end of the log");
	store_le64(raw + 512 + 16, 0x20);
	expect_refused(BCFMT_E_DAMAGED, "log: entry 0: flags 0x20");
	add(DEVICE_SECTORS - 1, 2, 0);
	expect_refused(BCFMT_E_RANGE, "log: entry 1 ends at sector 257 of a device of 256 sectors");
	add(0, 0, 0);
	store_le64(raw + raw_bytes - 512 + 8, UINT64_MAX);
	expect_refused(BCFMT_E_RANGE, "log: entry 1 ends at sector 18446744073709551615");
	add(1, UINT64_MAX, DISCARD);
	expect_refused(BCFMT_E_DAMAGED, "log: entry 1: sectors beyond 2^64");
	begin_log(65536);
	add(1ull << 60, 0, 0);
	expect_refused(BCFMT_E_DAMAGED, "log: entry 0: sectors beyond 2^64");
	raw_bytes = 0;
	expect_refused(BCFMT_E_RANGE, "log: sector 0: cannot read 28 bytes");

	cr_assert_eq(bcfmt_dev_mem(help_ctx, "log", raw, raw_bytes, &log_dev), BCFMT_OK);
	cr_expect_eq(bcfmt_write_log_open(help_ctx, log_dev, 0, &log), BCFMT_E_ARG);
	cr_expect_eq(bcfmt_write_log_open(help_ctx, log_dev, 513, &log), BCFMT_E_ARG);
	cr_expect_eq(bcfmt_write_log_open(help_ctx, log_dev, 4096, &log), BCFMT_OK);
	bcfmt_write_log_free(log);
	bcfmt_write_log_free(NULL);
	bcfmt_dev_free(log_dev);
}
