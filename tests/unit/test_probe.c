/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Signatures, topology, and what sysfs tells of a device that stands on bcache. */
#include "dev_help.h"

#include <sys/stat.h>
#include <sys/sysmacros.h>

#include <bcfmt/probe.h>

#include "base/bytes.h"
#include "dev/topology.h"
#include "ondisk/super.h"

#define IMAGE_BYTES (16u << 20)

static char sys_dir[HELP_PATH_BYTES];
static struct host_view host = { .proc_dir = "/nowhere",
				 .sys_dir = sys_dir,
				 .dev_dir = "/nowhere" };

static void begin(void)
{
	help_begin();
	help_path(sys_dir, "sys");
}

TestSuite(probe, .init = begin, .fini = help_end);

/* A sparse image with bytes at one or more places. */
static struct bcfmt_dev *image(void)
{
	char path[HELP_PATH_BYTES];
	struct bcfmt_dev *dev;

	help_text("image", "");
	cr_assert_eq(truncate(help_path(path, "image"), IMAGE_BYTES), 0);
	cr_assert_eq(bcfmt_dev_open(help_ctx, path, BCFMT_OPEN_WRITE, &dev), BCFMT_OK);
	return dev;
}

static void put_ext4(struct bcfmt_dev *dev)
{
	uint8_t super[1024] = { 0 };

	store_le32(super, 1024);	/* inodes */
	store_le32(super + 4, 16384);	/* blocks */
	store_le16(super + 56, 0xef53); /* magic */
	store_le32(super + 76, 1);	/* revision */
	store_le32(super + 92, 4);	/* has a journal */
	store_le32(super + 96, 0x40);	/* extents: ext4 */
	memset(super + 104, 0x11, 16);
	memcpy(super + 120, "home", 4);
	cr_assert_eq(bcfmt_dev_write(dev, 1024, super, sizeof(super)), BCFMT_OK);
}

static void put_iso9660(struct bcfmt_dev *dev)
{
	uint8_t sector[2048] = { 1, 'C', 'D', '0', '0', '1', 1 };

	memcpy(sector + 40, "DISC", 4);
	cr_assert_eq(bcfmt_dev_write(dev, 32768, sector, sizeof(sector)), BCFMT_OK);
}

/* One Linux partition from sector 2048 on. */
static void put_dos_table(struct bcfmt_dev *dev)
{
	uint8_t sector[512];

	cr_assert_eq(bcfmt_dev_read(dev, 0, sector, sizeof(sector)), BCFMT_OK);
	sector[446 + 4] = 0x83;
	store_le32(sector + 446 + 8, 2048);
	store_le32(sector + 446 + 12, 4096);
	store_le16(sector + 510, 0xaa55);
	cr_assert_eq(bcfmt_dev_write(dev, 0, sector, sizeof(sector)), BCFMT_OK);
}

static void put_bcache(struct bcfmt_dev *dev)
{
	static const uint8_t magic[16] = DISK_SUPER_MAGIC;
	uint8_t super[4096] = { 0 };

	store_le64(super + 8, 8);
	memcpy(super + 24, magic, sizeof(magic));
	super[40] = 1;
	cr_assert_eq(bcfmt_dev_write(dev, 4096, super, sizeof(super)), BCFMT_OK);
}

Test(probe, an_empty_image_has_no_signature)
{
	struct bcfmt_signature found[BCFMT_SIGNATURES_MAX];
	struct bcfmt_dev *dev = image();
	size_t n = 7;

	cr_expect_eq(bcfmt_dev_signatures(dev, found, &n), BCFMT_OK);
	cr_expect_eq(n, 0);
	bcfmt_dev_free(dev);
}

Test(probe, a_file_system_is_told_with_label_and_place)
{
	struct bcfmt_signature found[BCFMT_SIGNATURES_MAX];
	struct bcfmt_dev *dev = image();
	size_t n;

	put_ext4(dev);
	cr_assert_eq(bcfmt_dev_signatures(dev, found, &n), BCFMT_OK);
	cr_assert_eq(n, 1);
	cr_expect_str_eq(found[0].type, "ext4");
	cr_expect_str_eq(found[0].label, "home");
	cr_expect_str_eq(found[0].uuid, "11111111-1111-1111-1111-111111111111");
	cr_expect_eq(found[0].offset_bytes, 1080);
	cr_expect_eq(found[0].magic_bytes, 2);
	cr_expect_not(found[0].is_partition_table);
	bcfmt_dev_free(dev);
}

Test(probe, all_signatures_are_told_and_bcache_is_not)
{
	struct bcfmt_signature found[BCFMT_SIGNATURES_MAX];
	struct bcfmt_dev *dev = image();
	unsigned int seen = 0;
	size_t n;

	put_iso9660(dev);
	put_ext4(dev);
	put_dos_table(dev);
	put_bcache(dev);
	cr_assert_eq(bcfmt_dev_signatures(dev, found, &n), BCFMT_OK);
	for (size_t i = 0; i < n; i++) {
		cr_expect_str_neq(found[i].type, "bcache");
		if (!strcmp(found[i].type, "ext4"))
			seen |= 1;
		if (!strcmp(found[i].type, "iso9660"))
			seen |= 2;
		if (found[i].is_partition_table && !strcmp(found[i].type, "dos")) {
			seen |= 4;
			cr_expect_eq(found[i].offset_bytes, 510);
		}
	}
	cr_expect_eq(seen, 7, "%x", seen);
	cr_expect_eq(n, 3);
	bcfmt_dev_free(dev);
}

Test(probe, memory_cannot_be_probed)
{
	struct bcfmt_signature found[BCFMT_SIGNATURES_MAX];
	struct bcfmt_dev *dev = help_mem(8192, 1);
	struct bcfmt_topology topology;
	size_t n;

	cr_expect_eq(bcfmt_dev_signatures(dev, found, &n), BCFMT_E_UNSUPPORTED);
	help_expect_fault("mem: neither block device nor file");
	cr_expect_eq(bcfmt_dev_topology(dev, &topology), BCFMT_E_UNSUPPORTED);
	cr_expect_eq(topology.logical_block_bytes, 512);
	bcfmt_dev_free(dev);
}

Test(probe, of_a_file_only_the_block_sizes_are_known)
{
	struct bcfmt_dev *dev = image();
	struct bcfmt_topology topology;
	struct stat st;

	cr_assert_eq(stat(bcfmt_dev_name(dev), &st), 0);
	cr_expect_eq(bcfmt_dev_topology(dev, &topology), BCFMT_OK);
	cr_expect_not(topology.is_block_device);
	cr_expect_eq(topology.logical_block_bytes, 512);
	cr_expect_eq(topology.physical_block_bytes, 512);
	cr_expect_eq(topology.preferred_block_bytes, (uint32_t)st.st_blksize);
	cr_expect_eq(topology.optimal_io_bytes, 0);
	cr_expect_str_eq(topology.bcache_name, "");
	bcfmt_dev_free(dev);
}

/* ---- sysfs of a made host ---- */

static void folder(const char *name)
{
	char file[HELP_PATH_BYTES];

	snprintf(file, sizeof(file), "sys/%s/uevent", name);
	help_text(file, "");
}

/* A link below sys/ to another place below sys/. */
static void sys_link(const char *name, const char *to)
{
	char from[HELP_PATH_BYTES * 2], target[HELP_PATH_BYTES * 2];

	snprintf(from, sizeof(from), "%s/%s", sys_dir, name);
	snprintf(target, sizeof(target), "%s/%s", sys_dir, to);
	cr_assert_eq(symlink(target, from), 0, "%s -> %s", from, target);
}

static void sys_text(const char *name, const char *text)
{
	char file[HELP_PATH_BYTES];

	snprintf(file, sizeof(file), "sys/%s", name);
	help_text(file, text);
}

static struct bcfmt_topology look(unsigned int minor_nr)
{
	struct bcfmt_topology topology = { 0 };

	topology_from_sysfs(&host, makedev(9, minor_nr), &topology);
	return topology;
}

/* sda with sda1; bcache0 with bcache0p1; dm-0 on bcache0p1; dm-1 on dm-0 and sda1; dm-2 on sda1. */
static void make_host(void)
{
	folder("dev/block");
	folder("devices/sda/sda1");
	sys_text("devices/sda/sda1/partition", "1\n");
	sys_text("devices/sda/sda1/start", "2049\n");
	folder("devices/bcache0/bcache0p1");
	sys_text("devices/bcache0/bcache0p1/partition", "1\n");
	folder("devices/dm-0/slaves");
	folder("devices/dm-1/slaves");
	folder("devices/dm-2/slaves");
	sys_link("devices/dm-0/slaves/bcache0p1", "devices/bcache0/bcache0p1");
	sys_link("devices/dm-1/slaves/sda1", "devices/sda/sda1");
	sys_link("devices/dm-1/slaves/dm-0", "devices/dm-0");
	sys_link("devices/dm-2/slaves/sda1", "devices/sda/sda1");
	sys_link("dev/block/9:0", "devices/sda");
	sys_link("dev/block/9:1", "devices/sda/sda1");
	sys_link("dev/block/9:2", "devices/bcache0");
	sys_link("dev/block/9:3", "devices/bcache0/bcache0p1");
	sys_link("dev/block/9:4", "devices/dm-0");
	sys_link("dev/block/9:5", "devices/dm-1");
	sys_link("dev/block/9:6", "devices/dm-2");
}

Test(probe, what_stands_on_bcache_is_told)
{
	make_host();
	cr_expect_str_eq(look(0).bcache_name, "");
	cr_expect_str_eq(look(1).bcache_name, "");
	cr_expect_str_eq(look(2).bcache_name, "bcache0");
	cr_expect_str_eq(look(3).bcache_name, "bcache0");
	cr_expect_str_eq(look(4).bcache_name, "bcache0");
	cr_expect_str_eq(look(5).bcache_name, "bcache0");
	cr_expect_str_eq(look(6).bcache_name, "");
	cr_expect_str_eq(look(7).bcache_name, "");
}

Test(probe, only_bcache_and_a_number_is_a_name_of_bcache)
{
	folder("dev/block");
	folder("devices/bcache");
	folder("devices/bcachefs0");
	folder("devices/bcache12");
	sys_link("dev/block/9:0", "devices/bcache");
	sys_link("dev/block/9:1", "devices/bcachefs0");
	sys_link("dev/block/9:2", "devices/bcache12");
	cr_expect_str_eq(look(0).bcache_name, "");
	cr_expect_str_eq(look(1).bcache_name, "");
	cr_expect_str_eq(look(2).bcache_name, "bcache12");
}

Test(probe, a_stack_in_a_circle_ends)
{
	folder("dev/block");
	folder("devices/dm-0/slaves");
	folder("devices/dm-1/slaves");
	for (int i = 0; i < 8; i++) {
		char name[64];

		snprintf(name, sizeof(name), "devices/dm-0/slaves/%d", i);
		sys_link(name, "devices/dm-1");
		snprintf(name, sizeof(name), "devices/dm-1/slaves/%d", i);
		sys_link(name, "devices/dm-0");
	}
	sys_link("dev/block/9:0", "devices/dm-0");
	cr_expect_str_eq(look(0).bcache_name, "");
}

Test(probe, partitions_tell_where_they_begin)
{
	make_host();
	cr_expect_eq(look(0).start_sector, 0);
	cr_expect_eq(look(1).start_sector, 2049);
}

Test(probe, zones_are_read_from_the_disk_of_a_partition_too)
{
	make_host();
	sys_text("devices/sda/queue/zoned", "host-managed\n");
	sys_text("devices/sda/queue/chunk_sectors", "524288\n");
	cr_expect_eq(look(0).zone_sectors, 524288);
	cr_expect(look(0).is_host_managed);
	cr_expect_eq(look(1).zone_sectors, 524288);
	sys_text("devices/sda/queue/zoned", "host-aware\n");
	cr_expect_eq(look(1).zone_sectors, 524288);
	cr_expect_not(look(1).is_host_managed);
	/* RAID has chunks without having zones. */
	sys_text("devices/sda/queue/zoned", "none\n");
	cr_expect_eq(look(0).zone_sectors, 0);
	cr_expect_eq(look(2).zone_sectors, 0);
}

Test(probe, running_sets_tell_their_block_size)
{
	const uint8_t uuid[BCFMT_UUID_BYTES] = { 0x11, 0x22 };
	const char *file = "fs/bcache/11220000-0000-0000-0000-000000000000/block_size";
	const struct {
		const char *text;
		uint32_t bytes;
	} rows[] = { { "512\n", 512 }, { "4.0k\n", 4096 },     { "1.0k\n", 1024 }, { "1.5k\n", 0 },
		     { "\n", 0 },      { "99999999999\n", 0 }, { "4.0M\n", 0 } };
	uint32_t block_bytes = 7;

	cr_expect_not(topology_has_set(&host, uuid, &block_bytes));
	cr_expect_eq(block_bytes, 0);
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		sys_text(file, rows[i].text);
		cr_expect(topology_has_set(&host, uuid, &block_bytes));
		cr_expect_eq(block_bytes, rows[i].bytes, "%s", rows[i].text);
	}
}
