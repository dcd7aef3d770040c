/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What sysfs tells of a block device and of running sets. */
#ifndef DEV_TOPOLOGY_H
#define DEV_TOPOLOGY_H

#include <bcfmt/probe.h>

#include <sys/types.h>

#include "dev/in_use.h"

/* Fills start_sector, zones and bcache_name; what sysfs does not tell stays as it is. */
void topology_from_sysfs(const struct host_view *host, dev_t rdev, struct bcfmt_topology *out);
/* bcfmt_host_has_set() for a host of the caller's. */
bool topology_has_set(const struct host_view *host, const uint8_t set_uuid[BCFMT_UUID_BYTES],
		      uint32_t *block_bytes);

#endif
