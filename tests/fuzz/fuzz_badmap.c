/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Any text as a ddrescue mapfile, over a device of 32 KiB. In front of it: which allocation fails,
 * which read of the device fails (2 bytes each).
 */
#include <ctype.h>
#include <stdio.h>
#include <sys/mman.h>
#include <unistd.h>

#include <bcfmt/dev.h>

#include "base/bytes.h"
#include "fuzz/codec.h"
#include "fuzz/faults.h"
#include "fuzz/fuzz.h"

#define HEAD_BYTES 4u
#define DEVICE_BYTES 32768u
#define SECTORS (DEVICE_BYTES / BCFMT_SECTOR_BYTES)

static struct bcfmt_ctx *ctx;
static uint8_t contents[DEVICE_BYTES];

int LLVMFuzzerInitialize(int *argc, char ***argv)
{
	struct bcfmt_ctx_params params = { .threads = 1 };

	(void)argc;
	(void)argv;
	for (size_t i = 0; i < sizeof(contents); i++)
		contents[i] = (uint8_t)(i * 31 + i / 512);
	assert(bcfmt_ctx_new(&params, &ctx) == BCFMT_OK);
	return 0;
}

/*
 * Which bytes a map that was taken calls finished, read with the C library: lines of two numbers
 * and a character; the first line that is no comment is another.
 */
static void read_map(char *text, bool *is_finished)
{
	bool has_status = false;
	char *rest, *line;

	memset(is_finished, 0, DEVICE_BYTES);
	for (line = strtok_r(text, "\n", &rest); line; line = strtok_r(NULL, "\n", &rest)) {
		char *at = line + strspn(line, " \t\r"), *end;
		uint64_t start, len;

		if (!*at || *at == '#')
			continue;
		if (!has_status) {
			has_status = true;
			continue;
		}
		start = strtoull(at, &end, 0);
		len = strtoull(end, &end, 0);
		end += strspn(end, " \t\r");
		if (*end == '+')
			for (uint64_t i = start; i < DEVICE_BYTES && i - start < len; i++)
				is_finished[i] = true;
	}
	assert(has_status);
}

static bool is_whole(const bool *is_finished, uint64_t begin, uint64_t end)
{
	return !memchr(is_finished + begin, false, (size_t)(end - begin));
}

static void check_reads(struct bcfmt_dev *dev, const bool *is_finished)
{
	uint64_t at_bytes = 0, begin_bytes, end_bytes;
	uint8_t buf[DEVICE_BYTES];
	bcfmt_err err;

	for (uint64_t i = 0; i < SECTORS; i++) {
		bool is_there = is_whole(is_finished, i * 512, i * 512 + 512);

		err = bcfmt_dev_read(dev, i * 512, buf, 512);
		assert(err == (is_there ? BCFMT_OK : BCFMT_E_IO));
		assert(err || !memcmp(buf, contents + i * 512, 512));
	}
	err = bcfmt_dev_read(dev, 0, buf, DEVICE_BYTES);
	assert(err == (is_whole(is_finished, 0, DEVICE_BYTES) ? BCFMT_OK : BCFMT_E_IO));
	/* All of it is data; each piece is one that can be read or one that cannot. */
	while (bcfmt_dev_next_data(dev, at_bytes, &begin_bytes, &end_bytes) == BCFMT_OK) {
		assert(begin_bytes == at_bytes && end_bytes > begin_bytes &&
		       end_bytes <= DEVICE_BYTES);
		for (uint64_t i = begin_bytes; i < end_bytes; i++)
			assert(is_finished[i] == is_finished[begin_bytes]);
		at_bytes = end_bytes;
	}
	assert(at_bytes == DEVICE_BYTES);
}

/* A read that the device itself refuses fails through the map, and only that. */
static void check_failing_read(struct bcfmt_dev *dev, const bool *is_finished, uint64_t fail_at)
{
	uint64_t reads = 0;
	uint8_t buf[512];

	for (uint64_t i = 0; i < SECTORS; i++) {
		bool is_there = is_whole(is_finished, i * 512, i * 512 + 512);
		bcfmt_err err = bcfmt_dev_read(dev, i * 512, buf, 512);

		reads += is_there;
		assert(err == (is_there && reads < fail_at ? BCFMT_OK : BCFMT_E_IO));
	}
}

static bcfmt_err open_map(const char *path, uint64_t fail_read, struct bcfmt_dev **out)
{
	struct bcfmt_dev_faults faults = { .fail_read = fail_read };
	struct bcfmt_dev *mem, *faulty;
	bcfmt_err err;

	*out = NULL;
	err = bcfmt_dev_mem(ctx, "device", contents, DEVICE_BYTES, &mem);
	if (err)
		return err;
	err = bcfmt_dev_faulty(ctx, mem, &faults, &faulty);
	if (err) {
		bcfmt_dev_free(mem);
		return err;
	}
	err = bcfmt_dev_badmap(ctx, faulty, path, out);
	if (err)
		bcfmt_dev_free(faulty);
	return err;
}

int LLVMFuzzerTestOneInput(const uint8_t *input, size_t input_bytes)
{
	bool is_finished[DEVICE_BYTES];
	struct bcfmt_dev *dev;
	uint16_t fail_read;
	bool has_failed;
	char path[64], *text;
	bcfmt_err err;
	int fd;

	if (input_bytes < HEAD_BYTES)
		return 0;
	fail_read = load_le16(input + 2);
	fd = memfd_create("map", MFD_CLOEXEC);
	assert(fd >= 0);
	assert(write(fd, input + HEAD_BYTES, input_bytes - HEAD_BYTES) ==
	       (ssize_t)(input_bytes - HEAD_BYTES));
	snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);

	faults_arm(load_le16(input));
	err = open_map(path, fail_read, &dev);
	has_failed = faults_disarm();
	assert(!has_failed || err == BCFMT_E_NOMEM);
	assert(!err || err == BCFMT_E_NOMEM || *bcfmt_ctx_fault(ctx));
	if (!err) {
		text = (char *)exact_copy(input + HEAD_BYTES, input_bytes - HEAD_BYTES,
					  input_bytes - HEAD_BYTES + 1);
		read_map(text, is_finished);
		free(text);
		if (fail_read)
			check_failing_read(dev, is_finished, fail_read);
		else
			check_reads(dev, is_finished);
	}
	bcfmt_ctx_fault_clear(ctx);
	bcfmt_dev_free(dev);
	close(fd);
	return 0;
}
