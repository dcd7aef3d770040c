/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Sizes for people. */
#include <bcfmt/render.h>

#include <inttypes.h>
#include <stdio.h>

const char *bcfmt_bytes_text(uint64_t bytes, char out[32])
{
	static const char units[] = "KMGTPE";
	unsigned int unit = 0;
	uint64_t whole = bytes;
	uint64_t rest = 0;
	uint64_t tenths;

	if (bytes < 1024) {
		snprintf(out, 32, "%" PRIu64 " byte%s", bytes, bytes == 1 ? "" : "s");
		return out;
	}
	for (;; unit++) {
		rest = whole & 1023;
		whole >>= 10;
		if (whole < 1024)
			break;
	}
	tenths = whole * 10 + (rest * 10 + 512) / 1024;
	/* 1023.96 KiB is 1.0 MiB, not 1024.0 KiB. */
	if (tenths >= 10240 && units[unit + 1]) {
		tenths = 10;
		unit++;
	}
	snprintf(out, 32, "%" PRIu64 ".%" PRIu64 " %ciB", tenths / 10, tenths % 10, units[unit]);
	return out;
}
