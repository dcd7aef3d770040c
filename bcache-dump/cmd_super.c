/* SPDX-License-Identifier: GPL-2.0-or-later */
/* bcache-dump super: the superblock of each device, right or wrong. */
#include "dump.h"

#include <string.h>

#define JUDGE_PAGE_BYTES 4096u

/* The problems of the superblock stand in the table in the order of the fault bits. */
_Static_assert(BCFMT_P_SUPER_BAD_OFFSET == 101 && BCFMT_P_SUPER_DATA_PAST_END == 128 &&
		       BCFMT_SUPER_DATA_PAST_END == 1u << 27,
	       "faults and problems of a superblock differ");

/* Says what is wrong; true when any of it is more than a remark. */
static bool tell_faults(struct dump *d, const char *name, uint32_t faults)
{
	bool is_wrong = false;

	for (unsigned int bit = 0; bit < 32; bit++) {
		const struct bcfmt_problem *problem;
		unsigned int number = BCFMT_P_SUPER_BAD_OFFSET + bit;

		if (!(faults >> bit & 1))
			continue;
		problem = bcfmt_problem_find((enum bcfmt_problem_id)number);
		if (!problem)
			continue;
		is_wrong |= problem->severity > BCFMT_SEV_NOTE;
		cli_error(name, "BC%04u %s", number, problem->slug);
		if (!bcfmt_out_is_json(d->out))
			continue;
		bcfmt_row_begin(d->out, "fault");
		bcfmt_row_text(d->out, "device", name);
		bcfmt_row_u64(d->out, "number", number);
		bcfmt_row_text(d->out, "slug", problem->slug);
		bcfmt_row_text(d->out, "severity", bcfmt_severity_name(problem->severity));
		bcfmt_row_end(d->out);
	}
	return is_wrong;
}

static int show(struct dump *d, struct bcfmt_dev *dev)
{
	const char *name = bcfmt_dev_name(dev);
	uint8_t raw[BCFMT_SUPER_BYTES];
	struct bcfmt_bad_read bad;
	struct bcfmt_super super;
	bcfmt_err err;

	memset(&bad, 0, sizeof(bad));
	err = bcfmt_dev_read_salvage(dev, BCFMT_SUPER_OFFSET_BYTES, raw, sizeof(raw), &bad);
	if (err)
		return dump_failed(d, err);
	if (bad.sectors == BCFMT_SUPER_BYTES / BCFMT_SECTOR_BYTES) {
		cli_error(name, "the superblock at sector 8 cannot be read");
		return DUMP_DAMAGED;
	}
	if (bad.sectors)
		cli_error(name, "%llu sectors from sector %llu on cannot be read",
			  (unsigned long long)bad.sectors, (unsigned long long)bad.first_sector);
	bcfmt_super_decode(raw, &super);
	if (d->devices.n > 1)
		bcfmt_out_line(d->out, "device\t\t\t%s", name);
	bcfmt_render_super(d->out, name, &super);
	return tell_faults(d, name,
			   bcfmt_super_faults(&super, bcfmt_dev_bytes(dev),
					      bcfmt_dev_logical_block_bytes(dev),
					      JUDGE_PAGE_BYTES)) ||
			       bad.sectors
		       ? DUMP_DAMAGED
		       : DUMP_DONE;
}

int cmd_super(struct dump *d)
{
	int code = DUMP_DONE;

	for (size_t i = 0; i < d->devices.n; i++) {
		int one;

		if (i)
			bcfmt_out_line(d->out, "%s", "");
		one = show(d, d->devices.devs[i]);
		if (one > code)
			code = one;
	}
	return code;
}
