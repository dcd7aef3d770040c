/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What is found for lines of dmesg. */
#include <bcfmt/problem.h>

#include <criterion/criterion.h>
#include <criterion/parameterized.h>
#include <ctype.h>
#include <stdio.h>
#include <string.h>

static const char *pattern_of(const char *line)
{
	const struct bcfmt_kernel_line *found = bcfmt_kernel_line_find(line);

	return found ? found->pattern : "nothing";
}

/* Puts a value for each %s, as it may stand there. */
static void fill_in(const char *pattern, char *out, size_t out_bytes)
{
	static const char *const values[] = { "sdb1", "5468fb24-ebf3-4a51-856a-ac8bc44aeceb", "7",
					      "0:16 len 120 -> [0:377856 gen 1] dirty" };
	size_t used = strlen(out);
	unsigned int n = 0;

	while (*pattern && used + 80 < out_bytes) {
		if (strncmp(pattern, "%s", 2)) {
			out[used++] = *pattern++;
			continue;
		}
		pattern += 2;
		used += (size_t)snprintf(out + used, out_bytes - used, "%s",
					 isalnum((unsigned char)*pattern) ? "/usr/src/linux/"
									  : values[n++ % 4]);
	}
	out[used] = '\0';
}

Test(kernel_line, every_row_is_found_from_a_line_of_its_own)
{
	size_t n;
	const struct bcfmt_kernel_line *table = bcfmt_kernel_line_table(&n);

	cr_assert_gt(n, 150);
	for (size_t i = 0; i < n; i++) {
		char line[1024] = "[    7.123456] bcache: bch_some_function() ";

		fill_in(table[i].pattern, line, sizeof(line));
		cr_expect_str_eq(pattern_of(line), table[i].pattern, "%s", line);
		strcpy(line, "Nov 22 13:05:01 host kernel: bcache: ");
		fill_in(table[i].pattern, line, sizeof(line));
		strcat(line, "\n");
		cr_expect_str_eq(pattern_of(line), table[i].pattern, "%s", line);
		line[0] = '\0';
		fill_in(table[i].pattern, line, sizeof(line));
		cr_expect_str_eq(pattern_of(line), table[i].pattern, "%s", line);
	}
}

/* A reason for which a set stops must be found within the sentence around all of them. */
Test(kernel_line, the_reason_counts_and_not_its_wrapping)
{
	size_t n;
	const struct bcfmt_kernel_line *table = bcfmt_kernel_line_table(&n);

	for (size_t i = 0; i < n; i++) {
		char line[1024] = "[  7.1] bcache: bch_cache_set_error() error on "
				  "5468fb24-ebf3-4a51-856a-ac8bc44aeceb: ";

		if (strstr(table[i].pattern, "disabling caching"))
			continue;
		fill_in(table[i].pattern, line, sizeof(line));
		strcat(line, ", disabling caching");
		cr_expect_str_eq(pattern_of(line), table[i].pattern, "%s", line);
	}
}

Test(kernel_line, rows_are_written_out)
{
	size_t n;
	const struct bcfmt_kernel_line *table = bcfmt_kernel_line_table(&n);

	for (size_t i = 0; i < n; i++) {
		const char *meaning = table[i].meaning;

		cr_expect_geq(strlen(table[i].pattern), 8, "%s", table[i].pattern);
		cr_expect_gt(strlen(meaning), 40, "%s", table[i].pattern);
		cr_expect(isupper((unsigned char)meaning[0]) || !strncmp(meaning, "sysfs", 5) ||
				  !strncmp(meaning, "btrfs", 5) ||
				  !strncmp(meaning, "writeback_", 10),
			  "%s", meaning);
		cr_expect_eq(meaning[strlen(meaning) - 1], '.', "%s", meaning);
		cr_expect_null(strstr(meaning, "  "), "%s", meaning);
		cr_expect(table[i].id == BCFMT_P_NONE || bcfmt_problem_find(table[i].id));
		for (size_t j = 0; j < i; j++)
			cr_expect_str_neq(table[i].pattern, table[j].pattern);
		/* Only %s: anything else would be taken as a word. */
		for (const char *at = table[i].pattern; (at = strchr(at, '%')); at++)
			cr_expect_eq(at[1], 's', "%s", table[i].pattern);
	}
}

struct case_row {
	const char *line;
	const char *pattern;
	enum bcfmt_problem_id id;
};

#define P(name)	  BCFMT_P_##name
#define SET_ERROR "bcache: bch_cache_set_error() error on 5468fb24-ebf3-4a51-856a-ac8bc44aeceb: "

static const struct case_row real_lines[] = {
	{ "bcache: error on 804d6906-fa80-40ac-9081-a71a4d595378: bad checksum at bucket 7, "
	  "block 0, 5 keys, disabling caching",
	  "bad checksum at bucket %s, block %s, %s keys", P(NODE_BAD_CSUM) },
	{ "[   12.3] " SET_ERROR
	  "unsupported bset version at bucket 108857, block 0, 79054670 keys, "
	  "disabling caching",
	  "unsupported bset version at bucket %s, block %s, %s keys", P(NODE_BAD_VERSION) },
	{ SET_ERROR "corrupted btree at bucket 818470, block 267, 324 keys, disabling caching",
	  "corrupted btree at bucket %s, block %s, %s keys", P(NODE_HOLE) },
	{ SET_ERROR "empty set at bucket 1213, block 1, 0 keys, disabling caching",
	  "empty set at bucket %s, block %s, %s keys", P(NODE_EMPTY_SET) },
	{ SET_ERROR "IO error reading priorities, disabling caching", "IO error reading priorities",
	  P(PRIO_BAD_CSUM) },
	{ SET_ERROR "bad btree root, disabling caching", "bad btree root", P(JOURNAL_BAD_ROOT) },
	{ SET_ERROR "bcache: replay journal failed, disabling caching",
	  "bcache: replay journal failed", P(JOURNAL_GAP) },
	{ SET_ERROR "nvme0n1p3: too many IO errors writing btree\n, disabling caching",
	  "%s: too many IO errors %s", P(CACHE_DATA_UNREADABLE) },
	{ SET_ERROR "spotted extent 0:171384 len 64 -> [0:55496 gen 1] dirty: bad, short offset, "
		    "disabling caching",
	  "spotted extent %s: bad, short offset", P(EXTENT_INVALID) },
	{ SET_ERROR
	  "spotted btree ptr 1048575:9223372036854775679 len 128 -> [0:85120 gen 1]: bad, "
	  "offset past end of device, disabling caching",
	  "spotted btree ptr %s: bad, offset past end of device", P(NODE_BAD_CHILD) },
	{ SET_ERROR "something that no kernel of today says, disabling caching",
	  "error on %s: %s, disabling caching", P(NONE) },
	{ "bcache: error on 804d6906-fa80-40ac-9081-a71a4d595378: ", "bcache: error on %s:",
	  P(NONE) },
	{ "bad checksum at bucket 7, block 0, 5 keys",
	  "bad checksum at bucket %s, block %s, %s keys", P(NODE_BAD_CSUM) },
	{ "[  1.0] bcache: register_bcache() error : Bad checksum", "error %s: Bad checksum",
	  P(SUPER_BAD_CSUM) },
	{ "bcache: register_bcache() error /dev/sdb1: Not a bcache superblock",
	  "Not a bcache superblock", P(SUPER_BAD_MAGIC) },
	{ "bcache: register_bcache() error /dev/sdb1: Not a bcache superblock (bad offset)",
	  "Not a bcache superblock (bad offset)", P(SUPER_BAD_OFFSET) },
	{ "[ 119.844831] bcache: register_bcache() error opening /dev/sdb1: device already "
	  "registered",
	  "device already registered", P(NONE) },
	{ "bcache: register_cache() error sdb: failed to run cache set", "failed to run cache set",
	  P(NONE) },
	{ "bcache: register_bcache() error : failed to register device",
	  "failed to register device", P(NONE) },
	{ "bcache: cache_alloc() error sdb: ca->sb.nbuckets is too small",
	  "ca->sb.nbuckets is too small", P(SUPER_FEW_BUCKETS) },
	{ "bcache: register_cache() error sdb: ca->free[RESERVE_BTREE] alloc failed",
	  "ca->%s alloc failed", P(NONE) },
	{ "bcache: prio_read() bad csum reading priorities", "bad csum reading priorities",
	  P(PRIO_BAD_CSUM) },
	{ "bcache: journal_read_bucket() 48: bad csum, 32256 bytes, offset 0",
	  "%s: bad csum, %s bytes, offset %s", P(JOURNAL_BAD_CSUM) },
	{ "bcache: bch_journal_replay() journal entries 57-58 missing! (replaying 57-70)",
	  "journal entries %s missing! (replaying %s)", P(JOURNAL_GAP) },
	{ "bcache: error on e1b2: bcache: journal entries 57-58 missing! (replaying 57-70), "
	  "disabling caching",
	  "journal entries %s missing! (replaying %s)", P(JOURNAL_GAP) },
	{ "bcache: bch_extent_bad() stale dirty pointer, stale 1, key: 0:7168 len 8 -> [0:55 gen "
	  "1] dirty",
	  "stale dirty pointer, stale %s, key: %s", P(EXTENT_STALE_DIRTY) },
	{ "bcache: bch_dump_bset() block 9 key 3/504:  0:171384 len 64 -> [0:55496 gen 1] dirty "
	  "bucket 54 prio 32768 ",
	  "block %s key %s/%s:", P(NODE_DISORDER) },
	{ "bcache: bch_dump_bset() Key skipped backwards", "Key skipped backwards",
	  P(NODE_DISORDER) },
	{ "Kernel panic - not syncing: bch_check_keys error:  Duplicate keys:",
	  "bch_check_keys error: Duplicate keys", P(NODE_DUPLICATE_CHILD) },
	{ "[ 123.456] kernel BUG at drivers/md/bcache/bset.h:433!",
	  "kernel BUG at %sdrivers/md/bcache/bset.h:%s", P(NODE_DISORDER) },
	{ "kernel BUG at /build/linux-8B5M4n/linux-4.15.0/drivers/md/bcache/writeback.c:324!",
	  "kernel BUG at %sdrivers/md/bcache/writeback.c:%s", P(NONE) },
	{ "kernel BUG at drivers/md/bcache/util.h:555!", "kernel BUG at %sdrivers/md/bcache/%s",
	  P(NONE) },
	{ "WARNING: CPU: 3 PID: 1214 at drivers/md/bcache/alloc.c:81 bch_inc_gen+0x4b/0x60 "
	  "[bcache]",
	  "at drivers/md/bcache/alloc.c:%s bch_inc_gen", P(NONE) },
	{ "INFO: task bcache_writebac:286 blocked for more than 120 seconds.",
	  "task bcache_writebac%s blocked for more than %s seconds", P(NONE) },
	{ "INFO: task bcache-register:1012 blocked for more than 241 seconds.",
	  "task bcache-register:%s blocked for more than %s seconds", P(JOURNAL_FULL) },
	{ "bcache: conditional_stop_bcache_device() stop_when_cache_set_failed of bcache0 is "
	  "\"auto\" "
	  "and cache is dirty, stop it to avoid potential data corruption.",
	  "stop_when_cache_set_failed of %s is \"auto\" and cache is dirty, stop it to avoid "
	  "potential data corruption",
	  P(NONE) },
	{ "bcache: bch_cached_dev_attach() Couldn't find uuid for md5 in set",
	  "Couldn't find uuid for %s in set", P(BACKING_NO_ENTRY) },
	{ "bcache: __cached_dev_store() Can't attach 0226553a-37cf-41d5-b3ce-8b1e944543a8",
	  "Can't attach %s", P(NONE) },
	{ "bcache: __cached_dev_store() Can't attach 0226553a-37cf-41d5-b3ce-8b1e944543a8\n: "
	  "cache set not found",
	  "Can't attach %s: cache set not found", P(NONE) },
	{ ": cache set not found", "cache set not found", P(NONE) },
	{ "bcache: bch_count_io_errors() nvme0n1: IO error on writing btree.",
	  "%s: IO error on writing btree", P(NONE) },
	{ "bcache: bch_count_io_errors() sda: IO error on reading from cache, recovering.",
	  "%s: IO error on reading from cache, recovering", P(CACHE_DATA_UNREADABLE) },
	{ "bcache: run_cache_set() invalidating existing data", "invalidating existing data",
	  P(SUPER_NOT_SYNC) },
	{ "bcache: run_cache_set() Detected obsoleted large bucket layout, all attached bcache "
	  "device will be read-only",
	  "obsoleted large bucket layout, all attached bcache device will be read-only",
	  P(SUPER_OBSO_LARGE) },
	{ "bcache: bch_btree_insert() error -5", "bch_btree_insert() error %s", P(NODE_GAP) },
	{ "bcache: bcache_device_free() bcache0 stopped", "bcache_device_free() %s stopped",
	  P(NONE) },
	{ "blk_update_request: I/O error, dev sda, sector 2048 op 0x0:(READ) flags 0x0",
	  "I/O error, dev %s, sector %s", P(NONE) },
	{ "BTRFS error (device bcache0): parent transid verify failed on 1234 wanted 5 found 4",
	  "parent transid verify failed", P(NONE) },
	/* Words alone, as somebody remembers them. */
	{ "Bad checksum", "error %s: Bad checksum", P(SUPER_BAD_CSUM) },
	{ "bad csum, ", "%s: bad csum, %s bytes, offset %s", P(JOURNAL_BAD_CSUM) },
	/* Pasted without its end. */
	{ "bad magic at bucket 38", "bad magic at bucket %s, block %s, %s keys", P(NODE_BAD_MAGIC) },
	{ "[    7.1] bcache: bch_btree_node_read_done() bad checksum at bucket 38, bl",
	  "bad checksum at bucket %s, block %s, %s keys", P(NODE_BAD_CSUM) },
	{ "journal entries 5-7 missing", "journal entries %s missing! (replaying %s)",
	  P(JOURNAL_GAP) },
	{ "journal entries 5-7 missing!", "journal entries %s missing! (replaying %s)",
	  P(JOURNAL_GAP) },
	{ "inconsistent ptrs: mark = 2,", "inconsistent ptrs: mark = %s, level = %s",
	  P(EXTENT_IN_METADATA) },
	{ "prio_read() bad magic reading", "bad magic reading priorities", P(PRIO_BAD_MAGIC) },
	{ "cache is clean, keep it alive",
	  "stop_when_cache_set_failed of %s is \"auto\" and cache is clean, keep it alive",
	  P(NONE) },
};

Test(kernel_line, real_lines_find_their_row)
{
	for (size_t i = 0; i < sizeof(real_lines) / sizeof(real_lines[0]); i++) {
		const struct bcfmt_kernel_line *found = bcfmt_kernel_line_find(real_lines[i].line);

		cr_expect_not_null(found, "%s", real_lines[i].line);
		if (!found)
			continue;
		cr_expect_str_eq(found->pattern, real_lines[i].pattern, "%s", real_lines[i].line);
		cr_expect_eq(found->id, real_lines[i].id, "%s", real_lines[i].line);
	}
}

Test(kernel_line, other_lines_find_nothing)
{
	static const char *const lines[] = {
		"",
		" \t\n",
		"x",
		"error",
		"%s: %s",
		"bcache:",
		"[    7.123456] bcache: ",
		"usb 1-1: new high-speed USB device number 2 using xhci_hcd",
		"EXT4-fs (sda1): mounted filesystem with ordered data mode",
		"EXT4-fs error (device bcache0): ext4_lookup:1602: inode #2: deleted inode",
		"kernel BUG at fs/ext4/inode.c:2721!",
		"INFO: task jbd2/bcache0-8:286 blocked for more than 120 seconds.",
		"unbad checksum at bucket 7, block 0, 5 keys",
		"bcache: invalidating existing database",
		"not a superblock",
		"device stopped",
		"bad magic at bucket 38 is what I read",
		"at bucket 38",
	};

	cr_expect_null(bcfmt_kernel_line_find(NULL));
	for (size_t i = 0; i < sizeof(lines) / sizeof(lines[0]); i++)
		cr_expect_str_eq(pattern_of(lines[i]), "nothing", "%s", lines[i]);
}

Test(kernel_line, long_and_odd_input_is_survived)
{
	static char line[1 << 20];

	memset(line, 'a', sizeof(line) - 1);
	cr_expect_null(bcfmt_kernel_line_find(line));
	memset(line, ' ', sizeof(line) - 1);
	memcpy(line + sizeof(line) - 100, "Key skipped backwards", 21);
	cr_expect_str_eq(pattern_of(line), "Key skipped backwards");
	memset(line, 0xff, sizeof(line) - 1);
	cr_expect_null(bcfmt_kernel_line_find(line));
	for (size_t i = 0; i + 8 < sizeof(line); i += 8)
		memcpy(line + i, "error : ", 8);
	cr_expect_null(bcfmt_kernel_line_find(line));
}
